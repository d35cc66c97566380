// SPDX-License-Identifier: EUPL-1.2

package disktest

import (
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// Faulty is a file system on which an injector decides what fails. It is that of
// errorfs, which would let everything pass on a file that is used again.
func Faulty(fs vfs.FS, inject errorfs.InjectorFunc) vfs.FS {
	return faulty{errorfs.Wrap(fs, inject)}
}

type faulty struct{ *errorfs.FS }

func (f faulty) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.Rename(from, to); err != nil {
		return nil, err
	}
	return f.OpenReadWrite(to, c)
}
