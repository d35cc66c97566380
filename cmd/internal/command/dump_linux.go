// SPDX-License-Identifier: EUPL-1.2

package command

import (
	"os"

	"golang.org/x/sys/unix"
)

// NeverDump keeps the process from leaving its memory, with the keys in it, in a file when
// it crashes. A core dump that is piped to a program knows no limit of size, so the process
// is made undumpable as well; then only root can trace it or read /proc/PID/mem. What it
// starts inherits the limit alone.
func NeverDump() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return os.NewSyscallError("setrlimit", err)
	}
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
}
