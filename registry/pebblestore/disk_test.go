// SPDX-License-Identifier: EUPL-1.2

package pebblestore_test

import (
	"errors"
	"io/fs"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/registry/pebblestore"
)

// A sync that fails, of the log or of a table to ingest, ends the process: nothing of
// what it was to keep is answered.
func TestAFailedSyncEndsTheProcess(t *testing.T) {
	for name, c := range map[string]struct {
		ingest int
		file   string
	}{"log": {0, ".log"}, "ingest": {1, "ingest-"}} {
		t.Run(name, func(t *testing.T) {
			var failing atomic.Bool
			disk := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
				syncs := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
				if failing.Load() && syncs && strings.Contains(op.Path, c.file) {
					return errors.New("the disk says no")
				}
				return nil
			}))
			end := make(ended, 1)
			s, err := pebblestore.Open("db", newKeys(t), pebblestore.Options{FS: disk, Ingest: c.ingest, Logger: end})
			if err != nil {
				t.Fatal(err)
			}
			failing.Store(true)
			answered := make(chan error, 1)
			go func() {
				answered <- s.Update(t.Context(), idxOf(1), func(tx registry.Tx) error { return tx.PutSignal(signal(t, 1, day)) })
			}()
			select {
			case <-end:
			case err := <-answered:
				t.Errorf("it was answered: %v", err)
			case <-time.After(time.Minute):
				t.Error("the store goes on")
			}
		})
	}
}

// ended is told when the process would have ended, and lets nothing go on after it.
type ended chan struct{}

func (ended) Infof(string, ...any)  {}
func (ended) Errorf(string, ...any) {}
func (e ended) Fatalf(string, ...any) {
	select {
	case e <- struct{}{}:
	default: // it was told
	}
	select {}
}

func TestTablesThatACrashLeftAreRemoved(t *testing.T) {
	disk, keys := vfs.NewMem(), newKeys(t)
	if err := open(t, disk, keys).Close(); err != nil {
		t.Fatal(err)
	}
	const left = "db/ingest-1.tmp"
	f, err := disk.Create(left, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	defer open(t, disk, keys).Close()
	if _, err := disk.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there (%v)", err)
	}
}
