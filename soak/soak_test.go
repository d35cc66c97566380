// SPDX-License-Identifier: EUPL-1.2

package soak

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestRowTriesEachSeedAndSaysSo(t *testing.T) {
	lines := filepath.Join(t.TempDir(), "lines")
	t.Setenv(envLines, lines)
	t.Setenv(envCount, "")
	t.Setenv(envSeed, "")
	var seeds []uint64
	try := func(_ *testing.T, seed uint64) Found {
		seeds = append(seeds, seed)
		return Found{"lost": 0, "kept": int(seed)}
	}
	Row(t, 99, "nothing at all", 2, try)
	t.Setenv(envCount, "3")
	t.Setenv(envSeed, "7")
	Row(t, 99, "nothing at all", 2, try)
	if want := []uint64{1, 2, 7, 8, 9}; !slices.Equal(seeds, want) {
		t.Errorf("seeds %v, want %v", seeds, want)
	}
	got, err := os.ReadFile(lines)
	want := "row 99, nothing at all: 2 tried from seed 1, 0 broke a promise; kept 3, lost 0\n" +
		"row 99, nothing at all: 3 tried from seed 7, 0 broke a promise; kept 24, lost 0\n"
	if err != nil || string(got) != want {
		t.Errorf("said %q, want %q (%v)", got, want, err)
	}
}
