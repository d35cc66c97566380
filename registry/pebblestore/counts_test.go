// SPDX-License-Identifier: EUPL-1.2

package pebblestore_test

import (
	"cmp"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/registry"
)

func TestCountsAreKept(t *testing.T) {
	fs, keys := vfs.NewCrashableMem(), newKeys(t)
	s := open(t, fs, keys)
	keep := func(ago int, counts ...registry.Counts) {
		t.Helper()
		if err := s.KeepCounts(t.Context(), day.AddDate(0, 0, -ago), counts); err != nil {
			t.Fatal(err)
		}
	}
	one, other := registry.Counts{Party: "nl-kvk:00000001", Signals: 7}, registry.Counts{Party: "be-kbo:0123456789/team-a", Signals: 300, Acts: 2}
	keep(0, one)
	keep(0, other)
	one.Signals = 8
	keep(0, one)
	keep(1, one)
	keep(7, one)
	keep(8, one)
	after := open(t, fs.CrashClone(vfs.CrashCloneCfg{}), keys)
	defer after.Close()
	s.Close()
	got, err := after.Counts(t.Context(), day)
	slices.SortFunc(got, func(a, b registry.Counts) int { return cmp.Compare(a.Signals, b.Signals) })
	if err != nil || !slices.Equal(got, []registry.Counts{one, other}) {
		t.Errorf("after a loss of power %v (%v)", got, err)
	}
	if _, err := after.Trim(t.Context(), day, 10); err != nil {
		t.Fatal(err)
	}
	for ago, want := range map[int]int{0: 2, 1: 1, 7: 1, 8: 0} {
		if got, err := after.Counts(t.Context(), day.AddDate(0, 0, -ago)); err != nil || len(got) != want {
			t.Errorf("of %d days ago there are %d (%v), want %d", ago, len(got), err, want)
		}
	}
}
