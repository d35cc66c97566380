// SPDX-License-Identifier: EUPL-1.2

package pebblestore_test

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/registry/pebblestore"
)

// file reads the newest file of the store whose name has a part in it.
func file(t *testing.T, fs vfs.FS, part string) (path string, text []byte) {
	t.Helper()
	names, err := fs.List("db")
	if err != nil {
		t.Fatal(err)
	}
	newest := ""
	for _, name := range names {
		if strings.Contains(name, part) && !strings.HasPrefix(name, "marker") {
			newest = max(newest, name)
		}
	}
	path = fs.PathJoin("db", newest)
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if text, err = io.ReadAll(f); err != nil {
		t.Fatal(err)
	}
	return path, text
}

func rewrite(t *testing.T, fs vfs.FS, path string, text []byte) {
	t.Helper()
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(text); err != nil {
		t.Fatal(err)
	}
}

// tried opens a store that may be damaged, and verifies it.
func tried(t *testing.T, fs vfs.FS, keys registry.Keys) (s *pebblestore.Store, err error) {
	t.Helper()
	if s, err = pebblestore.Open("db", keys, pebblestore.Options{FS: fs, Logger: loud{}}); err != nil {
		return nil, err
	}
	if err := s.Verify(t.Context()); err != nil {
		return nil, cmp.Or(err, s.Close())
	}
	return s, nil
}

// kept makes a store with some commits in a table and the last one in the log.
func kept(t *testing.T, keys registry.Keys) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewCrashableMem()
	for n := range 2 {
		s := open(t, fs, keys)
		for i := range 3 - 2*n {
			update(t, s, idxOf(10*n+i), func(tx registry.Tx) error { return tx.PutSignal(signal(t, 1, day)) })
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	folder, err := fs.OpenDir("db") // so that what was removed is
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(folder.Sync(), folder.Close()); err != nil {
		t.Fatal(err)
	}
	return fs
}

// copied is a disk as it is, with what was not synced.
func copied(fs *vfs.MemFS) *vfs.MemFS {
	return fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(0, 0))})
}

// The last that was committed can go without Pebble's notice: it is at the end.
func TestWhatIsMissingAtTheEndIsNoticed(t *testing.T) {
	keys := newKeys(t)
	whole := kept(t, keys)
	for name, damage := range map[string]func(*testing.T, vfs.FS){
		"log_cut": func(t *testing.T, fs vfs.FS) {
			path, text := file(t, fs, ".log")
			rewrite(t, fs, path, text[:len(text)/2])
		},
		"log_emptied": func(t *testing.T, fs vfs.FS) {
			path, _ := file(t, fs, ".log")
			rewrite(t, fs, path, nil)
		},
		"log_zeroed": func(t *testing.T, fs vfs.FS) {
			path, text := file(t, fs, ".log")
			rewrite(t, fs, path, make([]byte, len(text)))
		},
		"log_flipped": func(t *testing.T, fs vfs.FS) {
			path, text := file(t, fs, ".log")
			text[len(text)/2] ^= 1
			rewrite(t, fs, path, text)
		},
		"log_gone": func(t *testing.T, fs vfs.FS) {
			path, _ := file(t, fs, ".log")
			if err := fs.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
		"mark_of_no_number": func(t *testing.T, fs vfs.FS) {
			path, text := file(t, fs, "committed")
			rewrite(t, fs, path, make([]byte, len(text)))
		},
		"mark_emptied": func(t *testing.T, fs vfs.FS) {
			path, _ := file(t, fs, "committed")
			rewrite(t, fs, path, nil)
		},
	} {
		t.Run("rejects/"+name, func(t *testing.T) {
			fs := copied(whole)
			damage(t, fs)
			if s, err := tried(t, fs, keys); !errors.Is(err, registry.ErrCorrupt) {
				t.Errorf("got %v", err)
				if s != nil {
					s.Close()
				}
			}
		})
	}
	for name, harmless := range map[string]func(*testing.T, vfs.FS){
		"nothing": func(*testing.T, vfs.FS) {},
		"no_mark_as_in_a_backup": func(t *testing.T, fs vfs.FS) {
			path, _ := file(t, fs, "committed")
			if err := fs.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
		"one_slot_of_the_mark": func(t *testing.T, fs vfs.FS) {
			path, text := file(t, fs, "committed")
			text[0] ^= 1
			rewrite(t, fs, path, text)
		},
	} {
		t.Run(name, func(t *testing.T) {
			fs := copied(whole)
			harmless(t, fs)
			for range 2 {
				s, err := tried(t, fs, keys)
				if err != nil {
					t.Fatal(err)
				}
				update(t, s, idxOf(99), func(tx registry.Tx) error { return tx.PutSignal(signal(t, 1, day)) })
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// Pebble's list of files, cut anywhere, is read up to there. What its last entries were
// of may then be in no file any more; but never in silence.
func TestAListOfFilesThatWasCutLosesNothingInSilence(t *testing.T) {
	keys := newKeys(t)
	whole := kept(t, keys)
	path, text := file(t, whole, "MANIFEST")
	refused := 0
	for n := range text {
		fs := copied(whole)
		rewrite(t, fs, path, text[:n])
		s, err := func() (s *pebblestore.Store, err error) {
			defer func() {
				if p := recover(); p != nil { // Pebble cannot go on
					err = registry.ErrCorrupt
				}
			}()
			return tried(t, fs, keys)
		}()
		if err != nil {
			refused++
			continue
		}
		for _, i := range []int{0, 1, 2, 10} {
			if _, found, err := s.Signal(t.Context(), idxOf(i), party(1)); !found {
				t.Fatalf("cut after %d of %d bytes, a signal is gone (%v)", n, len(text), err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if refused == 0 {
		t.Error("it was never refused: nothing was tried")
	}
}

func TestNumbersOfCommitsAreForgotten(t *testing.T) {
	defer pebblestore.KeepNumbers(5)()
	keys, fs := newKeys(t), vfs.NewMem()
	for range 3 {
		s := open(t, fs, keys)
		for i := range 10 {
			update(t, s, idxOf(i), func(tx registry.Tx) error { return tx.PutSignal(signal(t, 1, day)) })
			if _, err := s.Trim(t.Context(), day.AddDate(0, 0, -1), 1000); err != nil {
				t.Fatal(err)
			}
		}
		all, err := s.Keys()
		if err != nil {
			t.Fatal(err)
		}
		if n := len(slices.DeleteFunc(all, func(key []byte) bool { return key[0] != 'n' })); n < 5 || n > 7 {
			t.Errorf("%d are kept, want some 5", n)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVerifyFindsARowThatIsDamaged(t *testing.T) {
	made := func(t *testing.T) *pebblestore.Store {
		s := open(t, vfs.NewMem(), newKeys(t))
		leaf, err := audit.NewLeaf(audit.Record{Event: "signal.register", Action: audit.Create, Outcome: audit.Success, Party: string(party(1)), ObjectType: "signal", ObjectID: "x", System: "registry", Time: time.Unix(1e9, 0).UTC()})
		if err != nil {
			t.Fatal(err)
		}
		update(t, s, idxOf(1), func(tx registry.Tx) error {
			gone := signal(t, 2, day)
			return errors.Join(tx.PutSignal(signal(t, 1, day)), tx.PutSignal(gone), tx.Log(leaf), tx.Emit(event(1, 1), day),
				tx.EndSignal(gone, registry.Tombstone{Rev: 1, Until: day}),
				tx.PutMatch(registry.Match{ID: api.NewMatchID(), Members: []registry.Member{{Party: party(1)}, {Party: party(2)}}}))
		})
		if err := errors.Join(s.SetJournaled(registry.Journaled{}), s.Reincarnate(time.Time{}, time.Time{}), s.SetEpoch(t.Context(), registry.Epoch{Number: 1, Since: day.In(time.UTC)}), s.KeepCounts(t.Context(), day, []registry.Counts{{Party: party(1), Signals: 1}})); err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := made(t)
	keys, err := s.Keys()
	if err := errors.Join(err, s.Verify(t.Context()), s.Close()); err != nil {
		t.Fatal(err)
	}
	seen := map[byte]bool{}
	for i, key := range keys {
		seen[key[0]] = true
		t.Run("rejects/value_under_"+string(key[0]), func(t *testing.T) {
			s := made(t)
			defer s.Close()
			keys, err := s.Keys()
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Put(keys[i], []byte("nonsense")); err != nil {
				t.Fatal(err)
			}
			if err := s.Verify(t.Context()); !errors.Is(err, registry.ErrCorrupt) {
				t.Errorf("got %v", err)
			}
		})
		t.Run("rejects/key_under_"+string(key[0]), func(t *testing.T) {
			s := made(t)
			defer s.Close()
			if err := s.Put(append(bytes.Clone(key), 0), nil); err != nil {
				t.Fatal(err)
			}
			if err := s.Verify(t.Context()); !errors.Is(err, registry.ErrCorrupt) {
				t.Errorf("got %v", err)
			}
		})
	}
	if len(seen) != 12 {
		t.Errorf("there are rows under %d prefixes, want all 12", len(seen))
	}
	t.Run("rejects/a_signal_that_never_goes", func(t *testing.T) {
		s := made(t)
		defer s.Close()
		keys, err := s.Keys()
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			if key[0] == 'x' && key[5] == 's' {
				if err := s.Delete(key); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := s.Verify(t.Context()); !errors.Is(err, registry.ErrCorrupt) {
			t.Errorf("got %v", err)
		}
	})
}
