// SPDX-License-Identifier: EUPL-1.2

package disk

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Limits say when a disk is low, in bytes.
type Limits struct {
	Low     uint64 // there is little room with less than this; 0 is never
	Ballast uint64 // the size of the ballast file; 0 is none
}

// enough is the room from which a low disk is no longer low: somewhat more than the
// mark, so that it does not go to and fro.
func (l Limits) enough() uint64 { return l.Low + l.Low/4 }

// ballastFile is the name of the ballast, in the folder that is watched.
const ballastFile = "ballast"

// A Watch watches the room on the disk that a folder is on. Its methods may be
// called at the same time.
type Watch struct {
	fs      vfs.FS
	folder  string
	limits  Limits
	changed func(low bool)

	mu   sync.Mutex // held by who looks, or gives the ballast up
	held bool       // the ballast is there, whole

	now  sync.Mutex // guards what is below
	low  bool
	free uint64
}

// NewWatch watches the disk that an existing folder of a file system is on. It calls
// changed whenever the disk becomes low, or no longer is; it is not low at first. Look
// says how it is.
func NewWatch(fs vfs.FS, folder string, l Limits, changed func(low bool)) *Watch {
	w := &Watch{fs: fs, folder: folder, limits: l, changed: changed}
	info, err := fs.Stat(w.ballast())
	w.held = err == nil && uint64(info.Size()) == l.Ballast
	return w
}

// FS is the file system for the database. A write for which there is no room gives up
// the ballast and is tried once more.
func (w *Watch) FS() vfs.FS { return vfs.OnDiskFull(w.fs, w.full) }

// every is how often Keep looks. It costs one call of the system.
const every = time.Second

// Keep looks, again and again, until the context ends. It reports where it cannot;
// nothing is known then, and nothing changes.
func (w *Watch) Keep(ctx context.Context, report func(error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	failed := false
	for {
		err := w.Look()
		if err != nil && !failed {
			report(err)
		}
		failed = err != nil
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Look looks how much room there is. It fills the ballast if it is not there and there
// is enough room for it.
func (w *Watch) Look() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	usage, err := w.fs.GetDiskUsage(w.folder)
	if err != nil {
		return err
	}
	if l := w.limits; l.Ballast > 0 && !w.held && usage.AvailBytes >= l.enough()+l.Ballast {
		if err := w.fill(); err != nil {
			return errors.Join(err, w.give())
		}
		w.held = true
		if usage, err = w.fs.GetDiskUsage(w.folder); err != nil {
			return err
		}
	}
	w.set(usage.AvailBytes)
	return nil
}

func (w *Watch) set(free uint64) {
	w.now.Lock()
	defer w.now.Unlock()
	w.free = free
	was := w.low
	if was {
		w.low = free < w.limits.enough()
	} else {
		w.low = free < w.limits.Low
	}
	if w.low != was {
		w.changed(w.low)
	}
}

// Free is the room in bytes that there was when somebody last looked.
func (w *Watch) Free() uint64 {
	w.now.Lock()
	defer w.now.Unlock()
	return w.free
}

// Low tells whether there is little room.
func (w *Watch) Low() bool {
	w.now.Lock()
	defer w.now.Unlock()
	return w.low
}

// full gives the ballast up, while all writes wait. Whoever has no ballast, or a mark
// of 0, is low all the same: there was no room.
func (w *Watch) full() {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.give() // what was to be written is tried again, and fails, if this does
	w.now.Lock()
	defer w.now.Unlock()
	w.free = 0
	if !w.low {
		w.low = true
		w.changed(true)
	}
}

func (w *Watch) ballast() string { return w.fs.PathJoin(w.folder, ballastFile) }

func (w *Watch) give() error {
	w.held = false
	if err := w.fs.Remove(w.ballast()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// fill makes the ballast. Where the system cannot set room aside, it is written out.
func (w *Watch) fill() (err error) {
	if err := w.give(); err != nil { // one of another size
		return err
	}
	f, err := w.fs.OpenReadWrite(w.ballast(), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size := int64(w.limits.Ballast)
	if f.Preallocate(0, size) == nil {
		_, err := f.WriteAt([]byte{0}, size-1)
		return err
	}
	block := make([]byte, 1<<20)
	for at := int64(0); at < size && err == nil; at += int64(len(block)) {
		_, err = f.WriteAt(block[:min(size-at, int64(len(block)))], at)
	}
	return err
}
