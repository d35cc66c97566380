// SPDX-License-Identifier: EUPL-1.2

package pebblestore_test

import (
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sync/errgroup"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/registry"
)

func parsed(t testing.TB, file []byte, err error) registry.Keys {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := registry.ParseKeys(file)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// Rows of before are read under the renewed key, sealed anew, and then need nothing of the
// generation before.
func TestReseal(t *testing.T) {
	file := registry.NewKeyFile()
	fs := vfs.NewMem()
	s := open(t, fs, parsed(t, file, nil))
	fill := func(idx int) {
		t.Helper()
		update(t, s, idxOf(idx), func(tx registry.Tx) error {
			sig, gone := signal(t, 1, day), signal(t, 2, day)
			leaf, err := audit.NewLeaf(audit.Record{
				Event: "signal.register", Action: audit.Create, Outcome: audit.Success, Time: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), System: "registry",
			})
			return errors.Join(err, tx.PutSignal(sig), tx.PutSignal(gone), tx.EndSignal(gone, registry.Tombstone{Rev: 1, Until: day}),
				tx.Emit(event(1, idx), day), tx.Log(leaf), tx.PutMatch(registry.Match{ID: api.NewMatchID(), Members: []registry.Member{{Party: party(1), SID: sig.SID}}}))
		})
	}
	fill(1)
	again := func(keys registry.Keys) {
		t.Helper()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, fs, keys)
		if err := s.Verify(t.Context()); err != nil {
			t.Error(err)
		}
	}
	renewed, err := registry.KeyFileForm.Renew(file)
	both := parsed(t, renewed, err)
	again(both)
	fill(2)
	for more := true; more; {
		if more, err = s.Reseal(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	newest, err := registry.KeyFileForm.Newest(renewed)
	alone := parsed(t, newest, err)
	if alone.Rows.Opens(1) || alone.Rows.Generation() != 2 || alone.Idx(1, api.Tag{1}) != both.Idx(1, api.Tag{1}) {
		t.Error("the newest alone is another key, or not alone")
	}
	again(alone)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, fs, parsed(t, file, nil))
	defer s.Close()
	if err := s.Verify(t.Context()); !errors.Is(err, registry.ErrCorrupt) {
		t.Errorf("under the generation before alone: %v, want ErrCorrupt", err)
	}
}

// What is destroyed or revised while rows are sealed anew stays so.
func TestResealWhileTheStoreIsUsed(t *testing.T) {
	file := registry.NewKeyFile()
	fs := vfs.NewMem()
	s := open(t, fs, parsed(t, file, nil))
	stored := func(idx int) registry.Signal {
		sig := signal(t, 1, day)
		update(t, s, idxOf(idx), func(tx registry.Tx) error { return tx.PutSignal(sig) })
		return sig
	}
	gone, revised := stored(1), stored(2)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	renewed, err := registry.KeyFileForm.Renew(file)
	s = open(t, fs, parsed(t, renewed, err))
	err = s.ResealLate(func() {
		update(t, s, idxOf(1), func(tx registry.Tx) error {
			return tx.EndSignal(gone, registry.Tombstone{Rev: 1, Until: day})
		})
		revised.Granted.Others = 7
		update(t, s, idxOf(2), func(tx registry.Tx) error { return tx.PutSignal(revised) })
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.Signal(t.Context(), idxOf(1), party(1)); ok || err != nil {
		t.Errorf("what was destroyed is there again (%v)", err)
	}
	if got, _, err := s.Signal(t.Context(), idxOf(2), party(1)); got.Granted.Others != 7 || err != nil {
		t.Errorf("a revision is undone: %d (%v)", got.Granted.Others, err)
	}

	// And with everything going on at once.
	var g errgroup.Group
	done := make(chan struct{})
	g.Go(func() error {
		for i := 0; ; i++ {
			select {
			case <-done:
				return nil
			default:
			}
			sig := signal(t, 1, day)
			err := s.Update(t.Context(), idxOf(100+i%50), func(tx registry.Tx) error {
				return errors.Join(tx.PutSignal(sig), tx.EndSignal(sig, registry.Tombstone{Rev: 1, Until: day}))
			})
			if err != nil {
				return err
			}
		}
	})
	for more := true; more; {
		if more, err = s.Reseal(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	if err := errors.Join(g.Wait(), s.Verify(t.Context()), s.Close()); err != nil {
		t.Fatal(err)
	}
	newest, err := registry.KeyFileForm.Newest(renewed)
	s = open(t, fs, parsed(t, newest, err))
	defer s.Close()
	if err := s.Verify(t.Context()); err != nil {
		t.Errorf("under the newest generation alone: %v", err)
	}
}
