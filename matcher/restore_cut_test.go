// SPDX-License-Identifier: EUPL-1.2

package matcher_test

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/seinhuis/seinhuis/disk"
	"github.com/seinhuis/seinhuis/disk/disktest"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/registry/journal"
	"github.com/seinhuis/seinhuis/soak"
)

// cutEvery is how many seeds in a row try everything.
const cutEvery = 40

// TestRow10ARestoreThatIsCutShort has each operation on the disk fail while a backup is
// restored, in one of which the process is killed or goes on, and loses power at every
// sync. A restore leaves nothing or all; and where it left nothing it goes once more.
func TestRow10ARestoreThatIsCutShort(t *testing.T) {
	soak.Row(t, 10, "a restore that is cut short", soak.Short(8), func(t *testing.T, seed uint64) soak.Found {
		r := rand.New(rand.NewPCG(seed, 12))
		w := matchertest.New(t, 2)
		mem := vfs.NewCrashableMem()
		if err := w.Store.Close(); err != nil {
			t.Fatal(err)
		}
		w.Open(mem)
		w.KeepJournal()
		stays, ends := w.Signal(0, matchertest.Child(1)), w.Signal(1, matchertest.Child(1))
		w.Backup("backup")
		w.Withdraw(ends)
		lost := w.Store.Incarnation()
		if err := errors.Join(w.Store.Close(), w.Journal.Close(), mem.RemoveAll("db"), disk.SyncFolder(mem, "/")); err != nil {
			t.Fatal(err)
		}
		w.Abandon()
		w.Journal = nil
		copied := func(of *vfs.MemFS, kept int) *vfs.MemFS {
			return of.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: rand.New(rand.NewPCG(r.Uint64(), 0))})
		}
		found := soak.Found{}
		// whole holds that there is nothing on a disk or all, and restores what is not there.
		whole := func(what string, at vfs.FS) {
			t.Helper()
			w.FS, w.Journal = at, nil
			if _, err := at.Stat("db"); err != nil {
				found["nothing"]++
				if done, err := w.TryRestore("backup"); err != nil || done.Known != 1 {
					t.Fatalf("%s: once more: %+v, %v", what, done, err)
				}
			} else {
				found["all"]++
				if w.Journal, err = journal.Open(at, "journal", w.Keys.Rows, w.Now); err != nil {
					t.Fatalf("%s: %v", what, err)
				}
			}
			w.Open(at)
			if n := len(w.Store.Restores()); n != 1 || w.Store.Incarnation() == lost {
				t.Fatalf("%s: %d restores", what, n)
			}
			here := 0
			err := w.Store.Scan(t.Context(), registry.Idx{}, func(_ registry.Idx, signals []registry.Signal, _ registry.Match) error {
				for _, s := range signals {
					if here++; s.SID != stays.Statement.SID {
						t.Fatalf("%s: what was withdrawn is there", what)
					}
				}
				return nil
			})
			if err != nil || here != 1 {
				t.Fatalf("%s: %d signals are there: %v", what, here, err)
			}
			if err := errors.Join(w.Store.Close(), w.Journal.Close()); err != nil {
				t.Fatal(err)
			}
			w.Abandon()
			w.Journal = nil
		}

		for index := int(seed % cutEvery); ; index += cutEvery {
			at := copied(mem, 100)
			var count atomic.Int64
			ended := make(ending, 1)
			// Where Pebble fails to open after it has read its log, it may leave a goroutine
			// that compacts, and panics: that is the end of the process.
			var replayed, closed atomic.Bool
			w.FS = disktest.Faulty(at, func(op errorfs.Op) error {
				if op.Kind == errorfs.OpRename && op.Path == "db.partial" {
					closed.Store(true)
				}
				if count.Add(1) == int64(index)+1 {
					if replayed.Load() && !closed.Load() {
						ended.Fatalf("killed")
					}
					return errorfs.ErrInjected
				}
				if op.Kind == errorfs.OpOpen && strings.HasPrefix(op.Path, "db.partial") && strings.HasSuffix(op.Path, ".log") {
					replayed.Store(true)
				}
				return nil
			})
			w.Logger, w.Journal = ended, nil
			done := make(chan error, 1)
			go func() { _, err := w.TryRestore("backup"); done <- err }()
			select {
			case err := <-done:
				if err == nil && count.Load() > int64(index) {
					found["errors that did no harm"]++
				}
			case <-ended:
				found["ends"]++
			}
			w.Abandon()
			w.Logger = nil
			if count.Load() <= int64(index) {
				break
			}
			found["errors"]++
			whole("an error", copied(at, []int{0, 50, 100}[r.IntN(3)]))
		}

		camera := disktest.NewCamera(copied(mem, 100), r)
		w.FS, w.Journal = camera, nil
		camera.Turn(true)
		if _, err := w.TryRestore("backup"); err != nil {
			t.Fatal(err)
		}
		camera.Turn(false)
		for i, picture := range camera.Pictures() {
			if uint64(i)%cutEvery == seed%cutEvery {
				found["power losses"]++
				whole("power lost", picture)
			}
		}
		runtime.GC() // of the disks
		return found
	})
}
