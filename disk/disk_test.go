// SPDX-License-Identifier: EUPL-1.2

package disk_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/seinhuis/seinhuis/disk"
	"github.com/seinhuis/seinhuis/disk/disktest"
)

const mib = 1 << 14 // of a small scale

func TestADiskIsLowUnderTheMarkAndNotAgainBeforeThereIsEnough(t *testing.T) {
	small := disktest.New(100 * mib)
	var said []bool
	w := disk.NewWatch(small, "", disk.Limits{Low: 20 * mib}, func(low bool) { said = append(said, low) })
	for _, c := range []struct {
		other uint64 // bytes that somebody else takes
		low   bool
	}{{0, false}, {80 * mib, false}, {81 * mib, true}, {80 * mib, true}, {76 * mib, true}, {75 * mib, false}, {80 * mib, false}, {100 * mib, true}, {0, false}} {
		small.Take(c.other)
		if err := w.Look(); err != nil || w.Low() != c.low || w.Free() != 100*mib-c.other {
			t.Errorf("with %d MiB taken: low is %v, %d free (%v)", c.other/mib, w.Low(), w.Free(), err)
		}
	}
	if want := []bool{true, false, true, false}; !slices.Equal(said, want) {
		t.Errorf("it said %v, want %v", said, want)
	}
}

func TestTheBallastIsFilledWhereThereIsRoomAndGoesWhenThereIsNone(t *testing.T) {
	small := disktest.New(100 * mib)
	limits := disk.Limits{Low: 20 * mib, Ballast: 10 * mib}
	w := disk.NewWatch(small, "", limits, func(bool) {})
	ballast := func() int64 {
		info, err := small.Stat("ballast")
		if errors.Is(err, fs.ErrNotExist) {
			return 0
		}
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	look := func(other uint64, want int64, low bool) {
		t.Helper()
		small.Take(other)
		if err := w.Look(); err != nil || ballast() != want || w.Low() != low {
			t.Errorf("with %d MiB taken the ballast has %d bytes, and low is %v (%v)", other/mib, ballast(), w.Low(), err)
		}
	}
	look(66*mib, 0, false) // it would be low with it
	look(65*mib, 10*mib, false)
	look(75*mib, 10*mib, true)

	f, err := w.FS().Create("data", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	small.Take(89 * mib)
	if _, err := f.Write(make([]byte, 5*mib)); err != nil || ballast() != 0 {
		t.Fatalf("a write for which there was no room: %v, and a ballast of %d", err, ballast())
	}
	look(80*mib, 0, true) // 15 free
	look(70*mib, 0, false)
	look(20*mib, 10*mib, false)
	if n, err := f.Write(make([]byte, 200*mib)); !errors.Is(err, syscall.ENOSPC) || n > 75*mib {
		t.Errorf("what does not fit even so: %d written, %v", n, err)
	}

	// A watch finds what one before it has left.
	if err := small.Remove("data"); err != nil {
		t.Fatal(err)
	}
	look(0, 10*mib, false)
	w = disk.NewWatch(small, "", limits, func(bool) {})
	look(20*mib, 10*mib, false)
	limits.Ballast = 5 * mib
	w = disk.NewWatch(small, "", limits, func(bool) {})
	look(20*mib, 5*mib, false)
}

func TestNoRoomIsLowWhateverTheMark(t *testing.T) {
	small := disktest.New(mib)
	low := false
	w := disk.NewWatch(small, "", disk.Limits{}, func(l bool) { low = l })
	if _, err := w.FS().Create("data", vfs.WriteCategoryUnspecified); err != nil {
		t.Fatal(err)
	}
	f, err := w.FS().Create("data", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, 2*mib)); err == nil || !low || !w.Low() {
		t.Errorf("a disk that is full is not low (%v)", err)
	}
}

func TestAFailedSyncIsTheEnd(t *testing.T) {
	no := errors.New("the disk says no")
	broken := false
	under := disktest.Faulty(vfs.NewMem(), func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
			if broken {
				return no
			}
		}
		return nil
	})
	ends := 0
	strict := disk.Strict(under, func(string, ...any) { ends++ })
	files := map[string]vfs.File{}
	for name, open := range map[string]func() (vfs.File, error){
		"create":     func() (vfs.File, error) { return strict.Create("a", vfs.WriteCategoryUnspecified) },
		"read_write": func() (vfs.File, error) { return strict.OpenReadWrite("b", vfs.WriteCategoryUnspecified) },
		"folder":     func() (vfs.File, error) { return strict.OpenDir("") },
	} {
		f, err := open()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files[name] = f
	}
	f, err := strict.ReuseForWrite("a", "c", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	files["reuse"] = f
	if vfs.Root(strict) == strict {
		t.Error("the file system beneath cannot be reached")
	}
	for name, f := range files {
		for how, sync := range map[string]func() error{
			"sync": f.Sync, "data": f.SyncData, "to": func() error { _, err := f.SyncTo(1); return err },
		} {
			broken, ends = false, 0
			if err := sync(); err != nil || ends > 0 {
				t.Fatalf("%s, %s: %v", name, how, err)
			}
			broken = true
			if err := sync(); !errors.Is(err, no) || ends != 1 {
				t.Errorf("%s, %s: %d ends, %v", name, how, ends, err)
			}
		}
	}
}

// A marker of Pebble's points to a file by its name. It is made where that file's own
// name may not be on disk yet.
func TestAMarkerIsNotOnDiskWithoutItsFile(t *testing.T) {
	fs := vfs.NewCrashableMem()
	strict := disk.Strict(fs, t.Errorf)
	f, err := strict.Create("MANIFEST-000001", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	marker, err := strict.Create("marker.manifest.000001.MANIFEST-000001", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	marker.Close()
	lost := 0
	for seed := range uint64(40) {
		after := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(seed, 0))})
		_, noFile := after.Stat("MANIFEST-000001")
		_, noMarker := after.Stat("marker.manifest.000001.MANIFEST-000001")
		if noMarker != nil {
			lost++
		} else if noFile != nil {
			t.Fatal("the marker is there, and its file is not")
		}
	}
	if lost == 0 || lost == 40 {
		t.Errorf("the marker was lost %d times of 40: nothing was tried", lost)
	}
}
