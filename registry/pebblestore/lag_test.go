// SPDX-License-Identifier: EUPL-1.2

package pebblestore_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/registry"
)

func TestBehindAndOldestDue(t *testing.T) {
	s := open(t, vfs.NewMem(), newKeys(t))
	defer s.Close()
	behind := func(first uint64, n int) {
		t.Helper()
		if gotFirst, got, err := s.Behind(t.Context(), party(1)); err != nil || gotFirst != first || got != n {
			t.Errorf("behind from %d by %d (%v), want from %d by %d", gotFirst, got, err, first, n)
		}
	}
	behind(0, 0)
	for n := range 3 {
		update(t, s, idxOf(n), func(tx registry.Tx) error { return tx.Emit(event(1, n), day) })
	}
	behind(1, 3)
	s.Acknowledge(party(1), 2)
	behind(3, 1)
	s.Acknowledge(party(1), 3)
	behind(0, 0)

	// Event ids are kept by day as well, and are no signals.
	if _, due, err := s.OldestDue(t.Context(), day.AddDate(0, 0, 9)); err != nil || due {
		t.Errorf("due without a signal (%v)", err)
	}
	for i, ago := range []int{3, 5, 4} {
		update(t, s, idxOf(i), func(tx registry.Tx) error { return tx.PutSignal(signal(t, 1, day.AddDate(0, 0, ago))) })
	}
	if _, due, err := s.OldestDue(t.Context(), day.AddDate(0, 0, 2)); err != nil || due {
		t.Errorf("due before its day (%v)", err)
	}
	if got, due, err := s.OldestDue(t.Context(), day.AddDate(0, 0, 5)); err != nil || !due || got != day.AddDate(0, 0, 3) {
		t.Errorf("oldest is %v, %v (%v)", got, due, err)
	}
}
