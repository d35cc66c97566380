// SPDX-License-Identifier: EUPL-1.2

package disktest

import (
	"math/rand/v2"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A Camera is a file system that takes a picture of its disk, as a loss of power
// would leave it, before and after everything that is synced: with nothing, half or
// all of what was not synced.
type Camera struct {
	vfs.FS // a MemFS that can crash
	// Shot, when there is one, is called with how many pictures there are now.
	Shot func(n int)
	// Kept is how much there is, in per cent, of what was not synced: in turn, from
	// picture to picture. 0, 50 and 100 when there is nothing.
	Kept []int

	disk *vfs.MemFS
	rng  *rand.Rand

	mu       sync.Mutex
	on       bool
	pictures []*vfs.MemFS
}

// NewCamera makes one that is off. What is kept of what was not synced comes from rng,
// which is the camera's alone from now on: pictures are taken on any goroutine.
func NewCamera(disk *vfs.MemFS, rng *rand.Rand) *Camera {
	return &Camera{FS: disk, disk: disk, rng: rng}
}

// Shoot takes a picture, when it is on.
func (c *Camera) Shoot() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.on {
		return
	}
	kept := c.Kept
	if kept == nil {
		kept = []int{0, 50, 100}
	}
	cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: kept[len(c.pictures)%len(kept)], RNG: c.rng}
	c.pictures = append(c.pictures, c.disk.CrashClone(cfg))
	if c.Shot != nil {
		c.Shot(len(c.pictures))
	}
}

// Taken is how many pictures there are.
func (c *Camera) Taken() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pictures)
}

// Pictures are those that were taken, in their order.
func (c *Camera) Pictures() []*vfs.MemFS {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pictures[:len(c.pictures):len(c.pictures)]
}

// Turn turns it on or off.
func (c *Camera) Turn(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on = on
}

type watchedFile struct {
	vfs.File
	c *Camera
}

func (c *Camera) watch(file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return watchedFile{file, c}, nil
}

// Create is of vfs.FS.
func (c *Camera) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return c.watch(c.FS.Create(name, category))
}

// OpenReadWrite is of vfs.FS.
func (c *Camera) OpenReadWrite(name string, category vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return c.watch(c.FS.OpenReadWrite(name, category, o...))
}

// OpenDir is of vfs.FS.
func (c *Camera) OpenDir(name string) (vfs.File, error) { return c.watch(c.FS.OpenDir(name)) }

// Link and ReuseForWrite of a MemFS take a lock twice, and so get stuck when a
// picture is taken in between.

// Link is of vfs.FS.
func (c *Camera) Link(old, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.FS.Link(old, name)
}

// ReuseForWrite is of vfs.FS.
func (c *Camera) ReuseForWrite(old, name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.watch(c.FS.ReuseForWrite(old, name, category))
}

func (f watchedFile) Sync() error {
	f.c.Shoot()
	defer f.c.Shoot()
	return f.File.Sync()
}

func (f watchedFile) SyncData() error {
	f.c.Shoot()
	defer f.c.Shoot()
	return f.File.SyncData()
}
