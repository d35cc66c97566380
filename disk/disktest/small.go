// SPDX-License-Identifier: EUPL-1.2

// Package disktest has a disk that is small, in memory, for tests of what is done
// when it is full.
package disktest

import (
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Small is a file system in memory with so much room. Whoever writes beyond it is
// told ENOSPC, and what there is room for is written.
type Small struct {
	vfs.FS
	size uint64

	mu    sync.Mutex // held while anything is written
	taken uint64
}

// New makes an empty one, of a size in bytes.
func New(size uint64) *Small { return &Small{FS: vfs.NewMem(), size: size} }

// Take says how many bytes others take on the disk.
func (s *Small) Take(bytes uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = bytes
}

// free is the room there is; s.mu is held. It counts the bytes of all files, in the
// root and in folders.
func (s *Small) free() uint64 {
	return s.size - min(s.size, s.taken+s.used(""))
}

func (s *Small) used(folder string) (n uint64) {
	names, err := s.List(folder)
	if err != nil {
		return 0 // it has gone
	}
	for _, name := range names {
		path := s.PathJoin(folder, name)
		info, err := s.Stat(path)
		if err != nil {
			continue
		}
		if info.IsDir() {
			n += s.used(path)
		} else {
			n += uint64(info.Size())
		}
	}
	return n
}

// GetDiskUsage tells how much room there is.
func (s *Small) GetDiskUsage(string) (vfs.DiskUsage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	free := s.free()
	return vfs.DiskUsage{AvailBytes: free, TotalBytes: s.size, UsedBytes: s.size - free}, nil
}

func (s *Small) file(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &smallFile{f, s}, nil
}

// Create is of vfs.FS.
func (s *Small) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return s.file(s.FS.Create(name, c))
}

// OpenReadWrite is of vfs.FS.
func (s *Small) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return s.file(s.FS.OpenReadWrite(name, c, o...))
}

// ReuseForWrite is of vfs.FS.
func (s *Small) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return s.file(s.FS.ReuseForWrite(from, to, c))
}

type smallFile struct {
	vfs.File
	disk *Small
}

// grow writes what there is room for; at is where it begins, and -1 the file's end.
func (f *smallFile) grow(p []byte, at int64, write func([]byte) (int, error)) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if at < 0 {
		at = info.Size()
	}
	room := info.Size() - at + int64(f.disk.free())
	fits := max(0, min(int64(len(p)), room))
	n, err := write(p[:fits])
	if err == nil && n < len(p) {
		err = syscall.ENOSPC
	}
	return n, err
}

func (f *smallFile) Write(p []byte) (int, error) { return f.grow(p, -1, f.File.Write) }

func (f *smallFile) WriteAt(p []byte, at int64) (int, error) {
	return f.grow(p, at, func(p []byte) (int, error) {
		if len(p) == 0 {
			return 0, nil
		}
		return f.File.WriteAt(p, at)
	})
}
