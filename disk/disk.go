// SPDX-License-Identifier: EUPL-1.2

// Package disk stands between a database and its disk, and knows some rules.
//
// [Strict] ends the process when a sync fails. After that nobody knows what is on
// disk, and a second try would hide it: the kernel may have dropped what it could
// not write, and says so once.
//
// A [Watch] sees to it that a full disk is met before it is full. Under a low-water
// mark whoever asks is told, and can stop taking on what can wait. Should the disk
// fill up faster than that is noticed, a ballast file goes: what could not be written
// is tried again in its room, and so the database gets through. When there is room
// again, the ballast is filled again, and what stopped can go on.
package disk

import (
	"bytes"
	"errors"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Strict is a file system on which a sync that fails is the end: it is given to end,
// which must not return. The files that are only read are as they were.
func Strict(fs vfs.FS, end func(format string, args ...any)) vfs.FS {
	return &strict{fs, end}
}

type strict struct {
	vfs.FS
	end func(format string, args ...any)
}

// Unwrap gives the file system beneath.
func (s *strict) Unwrap() vfs.FS { return s.FS }

func (s *strict) file(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &strictFile{f, s.end}, nil
}

// Create syncs the folder before it makes a marker of Pebble's, which points to another
// file there. Pebble leaves it to the file system that, after a loss of power, the
// marker is not there without that file: a database that nobody can open.
func (s *strict) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(s.PathBase(name), "marker.") {
		if err := SyncFolder(s, s.PathDir(name)); err != nil {
			return nil, err
		}
	}
	return s.file(s.FS.Create(name, c))
}

func (s *strict) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return s.file(s.FS.OpenReadWrite(name, c, o...))
}

func (s *strict) OpenDir(name string) (vfs.File, error) { return s.file(s.FS.OpenDir(name)) }

func (s *strict) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return s.file(s.FS.ReuseForWrite(from, to, c))
}

// SyncFolder makes the names in a folder durable: of files that were made, renamed or
// removed there.
func SyncFolder(fs vfs.FS, folder string) error {
	dir, err := fs.OpenDir(folder)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Replace puts text in a file, in place of what it held. Whoever reads it after a crash finds
// the one or the other, whole; when this returns nil, it is the new one.
func Replace(fs vfs.FS, path string, text []byte) error {
	f, err := fs.Create(path+".new", vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(bytes.Clone(text)) // which the file may keep
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := fs.Rename(path+".new", path); err != nil {
		return err
	}
	return SyncFolder(fs, fs.PathDir(path))
}

type strictFile struct {
	vfs.File
	end func(format string, args ...any)
}

func (f *strictFile) checked(err error) error {
	if err != nil {
		f.end("disk: a sync failed, and nobody knows what is on disk: %v", err)
	}
	return err
}

func (f *strictFile) Sync() error     { return f.checked(f.File.Sync()) }
func (f *strictFile) SyncData() error { return f.checked(f.File.SyncData()) }

func (f *strictFile) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	return full, f.checked(err)
}
