// SPDX-License-Identifier: EUPL-1.2

package bench

import (
	"fmt"
	"os"
	"syscall"
	"testing"
)

// tmpfs is the type of a file system in memory (statfs(2)).
const tmpfs = 0x01021994

// warnOfMemory says so when the data would lie in memory, where durability costs
// nothing.
func warnOfMemory(t *testing.T) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(os.TempDir(), &s); err != nil {
		t.Fatal(err)
	}
	if s.Type == tmpfs {
		fmt.Fprintf(os.Stderr, "%s is in memory: set TMPDIR to a folder on a disk, or what is durable is compared at no cost\n", os.TempDir())
	}
}
