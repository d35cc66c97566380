// SPDX-License-Identifier: EUPL-1.2

//go:build race

package soak

// Race tells that the race detector is in the program.
const Race = true
