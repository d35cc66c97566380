// SPDX-License-Identifier: EUPL-1.2

package pebblestore_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/registry/pebblestore"
)

// raw reads every file of a store.
func raw(t *testing.T, disk vfs.FS) (all []byte) {
	t.Helper()
	names, err := disk.List("db")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		f, err := disk.Open(disk.PathJoin("db", name))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		all = append(all, text...)
	}
	return all
}

// scrub calls Scrub as often as a registry does in some time.
func scrub(t *testing.T, s *pebblestore.Store, from time.Time, d time.Duration) (done int) {
	t.Helper()
	for at := from; at.Before(from.Add(d)); at = at.Add(15 * time.Minute) {
		did, err := s.Scrub(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		if did {
			done++
		}
	}
	return done
}

// What is destroyed is in no file of the store after a week: not the row of a signal,
// of a match, of an event that was fetched, of a leaf, nor the log through which it came.
func TestWhatIsDestroyedLeavesTheDisk(t *testing.T) {
	leavesTheDisk(t, func(s *pebblestore.Store, from time.Time) { scrub(t, s, from, 7*24*time.Hour) })
}

// Or at once, when that is asked.
func TestPurge(t *testing.T) {
	leavesTheDisk(t, func(s *pebblestore.Store, from time.Time) {
		if err := s.Purge(t.Context(), from.AddDate(0, 0, 7)); err != nil {
			t.Fatal(err)
		}
	})
}

func leavesTheDisk(t *testing.T, leave func(s *pebblestore.Store, from time.Time)) {
	t.Helper()
	const signals = 400
	disk, keys := vfs.NewMem(), newKeys(t)
	s := open(t, disk, keys)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	if n := scrub(t, s, now, 7*24*time.Hour); n < pebblestore.Slices {
		t.Fatalf("%d slices in a week, there are %d", n, pebblestore.Slices)
	}
	now = now.AddDate(0, 0, 7)

	before := map[string][]byte{}
	rows := func() map[string][]byte {
		all, err := s.Rows()
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	for key, row := range rows() {
		before[key] = row
	}
	stored := make([]registry.Signal, signals)
	for i := range stored {
		stored[i] = signal(t, 1, day)
		update(t, s, idxOf(i), func(tx registry.Tx) error {
			m := registry.Match{Members: []registry.Member{{Party: party(1), SID: stored[i].SID}, {Party: party(2)}}}
			m.ID[0] = 1
			if err := tx.PutMatch(m); err != nil {
				return err
			}
			if err := tx.Emit(event(2, i), day); err != nil {
				return err
			}
			return tx.PutSignal(stored[i])
		})
		if i == signals/2 { // one half in tables of the lowest level, the other in a log
			scrub(t, s, now, 7*24*time.Hour)
		}
	}
	secret := map[string][]byte{}
	for key, row := range rows() {
		if _, was := before[key]; !was && len(row) >= 48 { // sealed
			secret[key] = row[:48]
		}
	}
	if len(secret) < 3*signals {
		t.Fatalf("there are %d rows to destroy", len(secret))
	}

	for i := range stored {
		if i == 0 {
			continue // one stays
		}
		update(t, s, idxOf(i), func(tx registry.Tx) error {
			if err := tx.PutMatch(registry.Match{}); err != nil {
				return err
			}
			return tx.EndSignal(stored[i], registry.Tombstone{Rev: 1, Until: day.AddDate(2, 0, 0)})
		})
	}
	_, last, err := s.Events(t.Context(), party(2), 0, signals)
	if err != nil {
		t.Fatal(err)
	}
	s.Acknowledge(party(2), last)
	if _, err := s.Trim(t.Context(), day, signals); err != nil {
		t.Fatal(err)
	}
	for key := range rows() {
		delete(secret, key)
	}
	found := func() (n int) {
		files := raw(t, disk)
		for _, row := range secret {
			if bytes.Contains(files, row) {
				n++
			}
		}
		return n
	}
	if n := found(); n < len(secret)*9/10 { // some are cut in two by the blocks of a log
		t.Fatalf("%d of %d destroyed rows are found at once: the search is no good", n, len(secret))
	}

	destroyed := now.AddDate(0, 0, 7)
	leave(s, destroyed)
	if since, err := s.Scrubbed(t.Context(), destroyed.AddDate(0, 0, 7)); err != nil || since.Before(destroyed) {
		t.Errorf("nothing was left since %s (%v)", since, err)
	}
	if _, ok, err := s.Signal(t.Context(), idxOf(0), party(1)); !ok || err != nil {
		t.Errorf("what was not destroyed is gone (%v)", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := found(); n > 0 {
		t.Errorf("%d of %d destroyed rows are in the files", n, len(secret))
	}
}

// The slices take their turns: how far it got outlives a restart, a clock that comes back
// loses no time, and who is late catches up.
func TestScrubTakesItsTime(t *testing.T) {
	disk, keys := vfs.NewMem(), newKeys(t)
	s := open(t, disk, keys)
	now := time.Now().Truncate(time.Second)
	if n := scrub(t, s, now, time.Duration(pebblestore.Slices)*15*time.Minute); n != pebblestore.Slices {
		t.Errorf("at first %d slices, there are %d", n, pebblestore.Slices)
	}
	now = now.Add(time.Duration(pebblestore.Slices) * 15 * time.Minute)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, disk, keys)
	n := scrub(t, s, now, 24*time.Hour)
	if n < pebblestore.Slices/10 || n > pebblestore.Slices/5 {
		t.Errorf("%d slices in a day, of %d in six", n, pebblestore.Slices)
	}
	now = now.AddDate(0, 0, 30) // stopped for a month
	if since, err := s.Scrubbed(t.Context(), now); err != nil || now.Sub(since) < 29*24*time.Hour {
		t.Errorf("after a month all was done since %s (%v)", since, err)
	}
	if n := scrub(t, s, now, 5*24*time.Hour); n < pebblestore.Slices {
		t.Errorf("%d slices after a month, there are %d", n, pebblestore.Slices)
	}
	back := now.AddDate(-1, 0, 0)
	if n := scrub(t, s, back, 5*24*time.Hour); n < pebblestore.Slices {
		t.Errorf("%d slices with a clock that is a year back", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Trim takes so many at a time, and what has yet to come and signals not at all.
func TestTrimTakesSoManyAtATime(t *testing.T) {
	disk, keys := vfs.NewMem(), newKeys(t)
	s := open(t, disk, keys)
	defer s.Close()
	for i := range 25 {
		update(t, s, idxOf(i), func(tx registry.Tx) error {
			sig := signal(t, 1, day)
			until := day
			if i >= 20 {
				until = day.AddDate(0, 0, 1)
			}
			return errors.Join(tx.PutSignal(signal(t, 2, day)), tx.PutSignal(sig), tx.EndSignal(sig, registry.Tombstone{Rev: 1, Until: until}))
		})
	}
	count := func() (signals, tombstones int) {
		rows, err := s.Rows()
		if err != nil {
			t.Fatal(err)
		}
		for key := range rows {
			switch key[0] {
			case 's':
				signals++
			case 't':
				tombstones++
			}
		}
		return signals, tombstones
	}
	for _, left := range []int{17, 9, 5} {
		more, err := s.Trim(t.Context(), day, 8)
		signals, tombstones := count()
		if err != nil || more != (left > 5) || tombstones != left || signals != 25 {
			t.Errorf("%d tombstones and %d signals are left, want %d and 25; more is %v (%v)", tombstones, signals, left, more, err)
		}
	}
}
