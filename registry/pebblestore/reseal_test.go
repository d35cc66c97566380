// SPDX-License-Identifier: EUPL-1.2

package pebblestore_test

import (
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

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
	for _, want := range []bool{true, false} { // the second time there is nothing left to do
		n, err := s.Reseal(t.Context())
		if err != nil || (n >= 5) != want || n > 0 && !want {
			t.Errorf("%d rows were sealed anew (%v)", n, err)
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
