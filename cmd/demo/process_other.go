// SPDX-License-Identifier: EUPL-1.2

//go:build !linux

package main

import "syscall"

// outliveNobody does nothing here: only Linux can tie a child's life to ours.
func outliveNobody(*syscall.SysProcAttr) {}
