// SPDX-License-Identifier: EUPL-1.2

//go:build !unix

package disk

// Same takes every folder for one on a disk of its own.
func Same(string, string) (bool, error) { return false, nil }
