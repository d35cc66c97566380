// SPDX-License-Identifier: EUPL-1.2

package pebblestore_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/registry/pebblestore"
)

func TestEpochIsKept(t *testing.T) {
	fs, keys := vfs.NewCrashableMem(), newKeys(t)
	s := open(t, fs, keys)
	if at, err := s.Epoch(t.Context()); !reflect.DeepEqual(at, registry.Epoch{}) || err != nil {
		t.Errorf("a new store is of epoch %v (%v)", at, err)
	}
	since := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	for _, want := range []registry.Epoch{{Number: 1}, {Number: 7, Since: since}, {Number: 8, Since: since, Purged: []uint64{3, 7}}} {
		if err := s.SetEpoch(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		after := open(t, fs.CrashClone(vfs.CrashCloneCfg{}), keys)
		if got, err := after.Epoch(t.Context()); !reflect.DeepEqual(got, want) || err != nil {
			t.Errorf("after a loss of power the epoch is %v, want %v (%v)", got, want, err)
		}
		after.Close()
	}
	s.Close()
}

// A signal that moves is under one idx or the other, and leaves no day of expiry
// and no tombstone where it was.
func TestSignalMoves(t *testing.T) {
	for name, ingest := range map[string]int{"log": 0, "ingest": 1} {
		t.Run(name, func(t *testing.T) {
			s := openWith(t, newKeys(t), pebblestore.Options{FS: vfs.NewMem(), Ingest: ingest})
			defer s.Close()
			one, other := signal(t, 1, day), signal(t, 2, day)
			update(t, s, idxOf(1), func(tx registry.Tx) error { return errors.Join(tx.PutSignal(one), tx.PutSignal(other)) })
			err := s.UpdateAll(t.Context(), []registry.Idx{idxOf(1), idxOf(2)}, func(idx registry.Idx, tx registry.Tx) error {
				if idx == idxOf(2) {
					return tx.PutSignal(one)
				}
				if err := tx.RemoveSignal(one); err != nil {
					return err
				}
				if left, err := tx.Signals(); err != nil || len(left) != 1 || left[0].SID != other.SID {
					t.Errorf("%d signals are left in the transaction (%v)", len(left), err)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, ok, err := s.Signal(t.Context(), idxOf(1), party(1)); ok || err != nil {
				t.Errorf("the signal is still where it was (%v)", err)
			}
			if got, ok, err := s.Signal(t.Context(), idxOf(2), party(1)); !ok || got.SID != one.SID || err != nil {
				t.Errorf("the signal is not where it went (%v)", err)
			}
			update(t, s, idxOf(1), func(tx registry.Tx) error {
				if _, ended, err := tx.Tombstone(party(1), one.SID); ended || err != nil {
					t.Errorf("the signal has a tombstone (%v)", err)
				}
				return nil
			})
			due, err := s.Due(t.Context(), day, 10)
			if err != nil || len(due) != 2 { // the other's, and the one that moved
				t.Errorf("%d days of expiry are due, want 2 (%v)", len(due), err)
			}
		})
	}
}

// Readdressed events keep their positions and whatever else they hold, and stay so
// when the power goes.
func TestReaddress(t *testing.T) {
	fs, keys := vfs.NewCrashableMem(), newKeys(t)
	s := open(t, fs, keys)
	defer s.Close()
	const each = 50
	for n := range each {
		for to := range 3 {
			update(t, s, idxOf(n), func(tx registry.Tx) error { return tx.Emit(event(to, n), day) })
		}
	}
	before, last, err := s.Events(t.Context(), party(1), 0, 2*each)
	if err != nil || len(before) != each {
		t.Fatal(len(before), err)
	}
	move := func(e registry.Event) (registry.Event, error) {
		if e.Recipient.Party == party(1) {
			e.Idx, e.Epoch = idxOf(1000+int(e.Rev)), 2
		}
		e.Kind, e.Other.Party = api.EventLeft, party(5) // not fn's to change
		return e, nil
	}
	for round, want := range []int{each, 0} {
		if n, err := s.Readdress(t.Context(), move); n != want || err != nil {
			t.Errorf("round %d: %d events readdressed, want %d (%v)", round, n, want, err)
		}
	}
	no := errors.New("no")
	if _, err := s.Readdress(t.Context(), func(e registry.Event) (registry.Event, error) { return e, no }); !errors.Is(err, no) {
		t.Errorf("got %v", err)
	}
	after := open(t, fs.CrashClone(vfs.CrashCloneCfg{}), keys)
	defer after.Close()
	got, at, err := after.Events(t.Context(), party(1), 0, 2*each)
	if err != nil || len(got) != each || at != last {
		t.Fatalf("%d events up to %d, want %d up to %d (%v)", len(got), at, each, last, err)
	}
	for i, e := range got {
		want := before[i]
		want.Idx, want.Epoch = idxOf(1000+int(e.Rev)), 2
		if e != want {
			t.Fatalf("event %d is not what it was, but for its address", i)
		}
	}
	if others, _, err := after.Events(t.Context(), party(2), 0, 2*each); err != nil || others[0].Epoch != 1 {
		t.Errorf("another's event was readdressed (%v)", err)
	}
}
