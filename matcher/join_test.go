// SPDX-License-Identifier: EUPL-1.2

package matcher_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/registry"
)

// joined collects all pairs of a join, in order.
func joined(t testing.TB, build, probe []registry.Idx) []matcher.Pair {
	t.Helper()
	var mu sync.Mutex
	var all []matcher.Pair
	err := matcher.Join(context.Background(), build, probe, func(pairs []matcher.Pair) error {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, pairs...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all, comparePairs)
	return all
}

func comparePairs(a, b matcher.Pair) int {
	if a.Build != b.Build {
		return int(int64(a.Build) - int64(b.Build))
	}
	return int(int64(a.Probe) - int64(b.Probe))
}

func nested(build, probe []registry.Idx) (all []matcher.Pair) {
	for b := range build {
		for p := range probe {
			if build[b] == probe[p] {
				all = append(all, matcher.Pair{Build: uint32(b), Probe: uint32(p)})
			}
		}
	}
	return all
}

// crowd draws n keys out of a pool of so many; the masks say which bits of a key may
// differ from the next.
func crowd(r *rand.Rand, n, pool int, lead, tail uint64) []registry.Idx {
	keys := make([]registry.Idx, n)
	for i := range keys {
		id := rand.New(rand.NewPCG(r.Uint64N(uint64(pool)), 1))
		binary.BigEndian.PutUint64(keys[i][:8], id.Uint64()&lead)
		binary.BigEndian.PutUint64(keys[i][8:], id.Uint64()&tail)
	}
	return keys
}

func TestJoinAgainstNestedLoop(t *testing.T) {
	const all = ^uint64(0)
	for _, c := range []struct {
		name       string
		lead, tail uint64
	}{
		{"uniform", all, all},
		{"all_in_one_part", all >> 20, all},
		{"alike_but_for_the_lead", all, 0},
		{"alike_but_for_the_tail", 0, all},
		{"alike_but_for_the_last_bits", 0, 7},
		{"alike_but_for_the_first_bits", 7 << 61, 7 << 61},
		{"all_equal", 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			for range 12 {
				n, m, pool := r.IntN(300), r.IntN(300), 1+r.IntN(400)
				build, probe := crowd(r, n, pool, c.lead, c.tail), crowd(r, m, pool, c.lead, c.tail)
				if got, want := joined(t, build, probe), nested(build, probe); !slices.Equal(got, want) {
					t.Fatalf("%d ⋈ %d: %d pairs, want %d", n, m, len(got), len(want))
				}
			}
		})
	}
}

// TestJoinOfManyParts is large enough for many parts and batches; a map is the judge.
func TestJoinOfManyParts(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for i, n := range [][2]int{{60_000, 90_000}, {90_000, 60_000}, {60_000, 60_000}, {0, 10}, {10, 0}, {1, 100_000}} {
		lead := ^uint64(0)
		if i == 2 {
			lead >>= 2 // all in a quarter of the parts
		}
		build, probe := crowd(r, n[0], 100_000, lead, ^uint64(0)), crowd(r, n[1], 100_000, lead, ^uint64(0))
		rows := make(map[registry.Idx][]uint32)
		for i, k := range build {
			rows[k] = append(rows[k], uint32(i))
		}
		var want []matcher.Pair
		for i, k := range probe {
			for _, b := range rows[k] {
				want = append(want, matcher.Pair{Build: b, Probe: uint32(i)})
			}
		}
		slices.SortFunc(want, comparePairs)
		if got := joined(t, build, probe); !slices.Equal(got, want) {
			t.Errorf("%d ⋈ %d: %d pairs, want %d", n[0], n[1], len(got), len(want))
		}
	}
}

// Equal keys ask for more room than their part has.
func TestJoinOfManyEqualKeys(t *testing.T) {
	const n = 20_000
	equal := make([]registry.Idx, n)
	for i := range equal {
		equal[i][3] = 7
	}
	one := make([]registry.Idx, 3)
	one[1][3] = 7
	for _, pairs := range [][]matcher.Pair{joined(t, equal, one), joined(t, one, equal)} {
		seen := make(map[uint32]bool)
		for _, p := range pairs {
			seen[max(p.Build, p.Probe)] = true // the other one is 1
		}
		if len(pairs) != n || len(seen) < n-1 {
			t.Errorf("%d pairs of %d rows, want %d", len(pairs), len(seen), n)
		}
	}
}

func TestJoinEndsAtTheFirstError(t *testing.T) {
	no := errors.New("no")
	keys := make([]registry.Idx, 300) // all equal: 90,000 pairs
	calls := 0
	var mu sync.Mutex
	err := matcher.Join(t.Context(), keys, keys, func([]matcher.Pair) error {
		mu.Lock()
		defer mu.Unlock()
		calls++
		return no
	})
	if !errors.Is(err, no) || calls > 2 {
		t.Errorf("%v after %d calls", err, calls)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := matcher.Join(ctx, keys, keys, func([]matcher.Pair) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled join gave %v", err)
	}
}

func FuzzJoin(f *testing.F) {
	f.Add([]byte{1, 2, 1, 1}, []byte{1, 1, 3})
	f.Add([]byte{}, []byte{0})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		keys := func(bytes []byte) []registry.Idx {
			list := make([]registry.Idx, min(len(bytes), 200))
			for i := range list { // few values, in the lead, the tail, or both
				list[i][bytes[i]&8] = bytes[i] & 3
				list[i][15] = bytes[i] & 16
			}
			return list
		}
		build, probe := keys(a), keys(b)
		if got, want := joined(t, build, probe), nested(build, probe); !slices.Equal(got, want) {
			t.Errorf("%d pairs, want %d", len(got), len(want))
		}
	})
}

// BenchmarkJoin tells keys of both sides a second; one in ten probe keys has a
// partner. `make bench WHAT=join` sets it beside its peers.
func BenchmarkJoin(b *testing.B) {
	const build = 1_000_000
	for _, probe := range []int{1_000_000, 10_000_000} {
		r := rand.New(rand.NewPCG(5, 6))
		left, right := make([]registry.Idx, build), make([]registry.Idx, probe)
		for _, side := range [][]registry.Idx{left, right} {
			for i := range side {
				binary.BigEndian.PutUint64(side[i][:8], r.Uint64())
				binary.BigEndian.PutUint64(side[i][8:], r.Uint64())
			}
		}
		for i := 0; i < probe; i += 10 {
			right[i] = left[r.IntN(build)]
		}
		b.Run(fmt.Sprintf("%d_%d", build, probe), func(b *testing.B) {
			for b.Loop() {
				err := matcher.Join(context.Background(), left, right, func([]matcher.Pair) error { return nil })
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(build+probe)*float64(b.N)/b.Elapsed().Seconds(), "keys/s")
		})
	}
}
