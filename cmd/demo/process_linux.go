// SPDX-License-Identifier: EUPL-1.2

package main

import "syscall"

// outliveNobody has the system kill the child when we die without a word.
func outliveNobody(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
