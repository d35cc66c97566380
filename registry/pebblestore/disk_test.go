// SPDX-License-Identifier: EUPL-1.2

package pebblestore_test

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"slices"
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

// A read that fails while tables are written anew leaves every row as it was. Pebble wrote
// the last one without its value, and went on, where that stood in a block of its own.
func TestACompactionThatCannotReadKeepsEveryRow(t *testing.T) {
	idx := idxOf(1)
	under := func(n byte) []byte { return append(append([]byte("s"), idx[:]...), 1, n) }
	for name, write := range map[string]func(*pebblestore.Store) error{
		"log": func(s *pebblestore.Store) (err error) {
			for n := range byte(2) {
				err = errors.Join(err, s.Put(under(n), bytes.Repeat([]byte("row"), 100)))
			}
			return err
		},
		"tables": func(s *pebblestore.Store) error {
			return s.Update(t.Context(), idx, func(tx registry.Tx) (err error) {
				for p := range 2 {
					err = errors.Join(err, tx.PutSignal(signal(t, p, day)))
				}
				return err
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			read := int64(0)
			for failed := true; failed; read++ {
				failed = compactWithout(t, read, write)
			}
			if read < 5 {
				t.Errorf("only %d reads failed", read-1)
			}
		})
	}
}

// compactWithout has a read fail while rows that were written are compacted; false where
// there are not so many.
func compactWithout(t *testing.T, read int64, write func(*pebblestore.Store) error) bool {
	t.Helper()
	var armed, failed atomic.Bool
	var reads atomic.Int64
	disk := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if armed.Load() && op.Kind == errorfs.OpFileReadAt && reads.Add(1) == read+1 {
			failed.Store(true)
			return errors.New("the disk says no")
		}
		return nil
	}))
	o, keys := pebblestore.Options{FS: disk, Ingest: 2000}, newKeys(t) // two signals are more
	s := openWith(t, keys, o)
	if err := errors.Join(write(s), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = openWith(t, keys, o)
	before, err := s.Rows()
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	first := ""
	for _, key := range slices.Sorted(maps.Keys(before)) {
		if first == "" && key[0] == 's' {
			first = key
		}
	}
	s = openWith(t, keys, o) // with nothing in its cache
	// Between two of them, or their table would go down as it is.
	if err := errors.Join(s.Put([]byte("s"), nil), s.Put([]byte(first+"0"), nil)); err != nil {
		t.Fatal(err)
	}
	armed.Store(true)
	err = s.Compact(t.Context(), []byte("s"), []byte("t"))
	armed.Store(false)
	if err != nil && !failed.Load() {
		t.Fatal(err)
	}
	after, err := s.Rows()
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	for key, row := range before {
		if !bytes.Equal(after[key], row) {
			t.Errorf("after read %d failed a row %q of %d bytes has %d", read, key[0], len(row), len(after[key]))
		}
	}
	return failed.Load()
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
