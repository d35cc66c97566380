// SPDX-License-Identifier: EUPL-1.2

package bench

import (
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/registry"
)

// pairs is what a join found, for comparison: how many, and a sum over all.
type pairs struct {
	Count int
	Sum   uint64
}

func (p *pairs) add(build, probe uint32) {
	p.Count++
	p.Sum += (uint64(build)*2654435761 + uint64(probe)*40503) & 0xffffffff
}

// benchJoin joins keys in memory. Everybody has them loaded when the clock starts,
// and holds all pairs in memory when it stops. One probe key in ten has a partner.
func benchJoin(r *run) {
	build := randomKeys(r.build)
	r.loadKeys("build", build)
	for i, n := range r.probe {
		probe, partners := randomKeys(n), 0
		for at := range probe {
			if mathrand.N(10) == 0 {
				probe[at] = build[mathrand.N(len(build))]
				partners++
			}
		}
		name := fmt.Sprintf("probe%d", i)
		r.loadKeys(name, probe)
		work := fmt.Sprintf("join %s ⋈ %s", millions(r.build), millions(n))
		rate := func(took time.Duration) float64 { return float64(r.build+n) / 1e6 / took.Seconds() }
		var found pairs
		ours := func(int) float64 {
			runtime.GC()
			start := time.Now()
			batches := joinAll(r, build, probe)
			took := time.Since(start)
			found = pairs{}
			for _, b := range batches {
				for _, p := range b {
					found.add(p.Build, p.Probe)
				}
			}
			return rate(took)
		}
		compare := func(peer string, got pairs) {
			if got != found {
				r.Fatalf("%s: %s finds %+v, ours %+v", work, peer, got, found)
			}
		}
		o, p := r.alternate(work+" duckdb", ours, r.peer(func(int) float64 {
			var got struct {
				pairs
				Seconds float64
			}
			r.ask("join.run", map[string]any{"build": "build", "probe": name}, &got)
			compare("DuckDB", got.pairs)
			return rate(time.Duration(got.Seconds * float64(time.Second)))
		}))
		if found.Count != partners {
			r.Fatalf("%s: %d pairs of %d", work, found.Count, partners)
		}
		why := "half of the time deals rows into parts, and waits for memory, not for the processor: the same loop without its arithmetic takes as long; a third matches parts in cache, an eighth fetches the keys of pairs to compare them"
		r.row(Row{Work: work, Peer: "DuckDB", Unit: "M keys/s", Aim: atLeast([]float64{8, 4}[i]), Why: why}, o, p)
		if i > 0 {
			continue
		}
		o, p = r.alternate(work+" map", ours, func(int) float64 {
			runtime.GC()
			start := time.Now()
			list := joinByMap(build, probe)
			took := time.Since(start)
			var got pairs
			for _, p := range list {
				got.add(p.Build, p.Probe)
			}
			compare("a Go map", got)
			return rate(took)
		})
		r.row(Row{Work: work, Peer: "Go map", Unit: "M keys/s", Aim: atLeast(25), Why: why}, o, p)
	}
}

func randomKeys(n int) []registry.Idx {
	keys := make([]registry.Idx, n)
	var seed [32]byte
	rand.Read(seed[:])
	random := mathrand.NewChaCha8(seed)
	for i := range keys {
		random.Read(keys[i][:])
	}
	return keys
}

// loadKeys gives keys to the peer.
func (r *run) loadKeys(name string, keys []registry.Idx) {
	if r.peers == nil {
		return
	}
	r.say("DuckDB loads %s keys", millions(len(keys)))
	path := filepath.Join(r.TempDir(), name)
	raw := make([]byte, 0, len(keys)*len(registry.Idx{}))
	for _, k := range keys {
		raw = append(raw, k[:]...)
	}
	r.must(os.WriteFile(path, raw, 0o600))
	r.ask("join.load", map[string]any{"table": name, "keys": path, "threads": runtime.GOMAXPROCS(0)}, nil)
	r.must(os.Remove(path))
}

// joinAll keeps all pairs of a join.
func joinAll(r *run, build, probe []registry.Idx) (all [][]matcher.Pair) {
	var mu sync.Mutex
	r.must(matcher.Join(context.Background(), build, probe, func(pairs []matcher.Pair) error {
		pairs = slices.Clone(pairs)
		mu.Lock()
		defer mu.Unlock()
		all = append(all, pairs)
		return nil
	}))
	return all
}

// joinByMap is what one writes without thinking long.
func joinByMap(build, probe []registry.Idx) (all []matcher.Pair) {
	rows := make(map[registry.Idx]uint32, len(build))
	for i, k := range build {
		rows[k] = uint32(i)
	}
	for i, k := range probe {
		if at, ok := rows[k]; ok {
			all = append(all, matcher.Pair{Build: at, Probe: uint32(i)})
		}
	}
	return all
}

func millions(n int) string {
	switch {
	case n >= 1_000_000 && n%100_000 == 0:
		return fmt.Sprintf("%g M", float64(n)/1e6)
	case n >= 1000 && n%100 == 0:
		return fmt.Sprintf("%g k", float64(n)/1e3)
	}
	return fmt.Sprint(n)
}
