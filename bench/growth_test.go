// SPDX-License-Identifier: EUPL-1.2

package bench

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"github.com/seinhuis/seinhuis/matcher/matchertest"
	"github.com/seinhuis/seinhuis/registry"
)

const whyGrowth = "every other repetition writes out a memtable of 32 MiB, and where a compaction follows it takes 29 % of the CPU time of the same two processors, longer the more there is: the p99 is 36 ms there, 13 to 17 in repetitions whose profile has no compaction"

// benchGrowth compares the slowest submission in a hundred, of 64 clients, in small
// and large stores side by side.
func benchGrowth(r *run) {
	base := r.grown[0]
	for _, level := range r.grown[1:] {
		sides := [2]side{}
		for i, n := range []int{level, base} {
			h := r.houseOf(n)
			sets := make([][]matchertest.Paper, r.reps)
			for rep := range sets {
				sets[rep] = h.batch(r.submits, func(i int) int { return i * 17 % h.parties })
			}
			sides[i] = func(rep int) float64 {
				_, p99, err := drive(len(sets[rep]), clients, func(i int) error { return h.send(sets[rep][i]) })
				r.must(err)
				return float64(p99.Microseconds()) / 1000
			}
		}
		work := fmt.Sprintf("submit p99 at %s stored", millions(level))
		o, p := r.alternate(work, sides[0], sides[1])
		r.row(Row{Work: work, Peer: fmt.Sprintf("itself at %s", millions(base)), Unit: "ms", Aim: atMost(1.5),
			Why: whyGrowth, Read: "ea8fae6b921c"}, o, p)
	}
}

// benchSize measures the folder of a store, beside what was sent and beside all that
// has to be kept, which is the log's record and its salt too; and opens it. Closing flushes nothing, so
// opening replays the log as it would after a crash.
func benchSize(r *run) {
	for _, level := range r.grown[1:] {
		h := r.houseOf(level)
		one := h.Write(0, matchertest.Child(0), [16]byte{1}, 1).Submission
		payload := len(one.Signed.Signed) + len(one.Signature)
		for _, f := range one.Faces {
			payload += len(f.Card) + len(f.Keybox)
		}
		r.must(h.Store.Close())
		tables, rest := bytesIn(r, h.folder)
		each := func(bytes int64) float64 { return float64(bytes) / float64(h.signals) }
		for i, peer := range []string{"what was sent", "that and the log's record"} {
			bytes := payload + i*h.record
			r.row(Row{
				Work: fmt.Sprintf("bytes on disk per signal at %s", millions(level)), Peer: peer, Unit: "bytes", Aim: atMost(1.25),
				Note: fmt.Sprintf("%.0f in tables, %.0f in write-ahead logs and the like", each(tables), each(rest)),
				Why: fmt.Sprintf("a sealed signal with its key is %d bytes, its day of expiry 38, its leaf in the outbox %d until a sequencer takes it away; the rest is Pebble's filters, indexes and logs",
					h.sizes.Signal+34, h.sizes.Leaf+17),
			}, []float64{each(tables + rest)}, []float64{float64(bytes)})
		}

		var opened []float64
		for range r.reps {
			start := time.Now()
			h.open()
			opened = append(opened, time.Since(start).Seconds())
			if _, ok, err := h.Store.Signal(context.Background(), h.idxOf(0), matchertest.Party(h.signaller(0))); err != nil || !ok {
				r.Fatal("a stored signal is not there: ", err)
			}
			r.must(h.Store.Close())
		}
		h.open()
		limit := 1.0
		if level > 1_000_000 {
			limit = 5
		}
		r.row(Row{Work: fmt.Sprintf("open %s signals", millions(level)), Unit: "s", Aim: under(limit)}, opened, nil)
	}
}

func (h *house) idxOf(child int) registry.Idx { return h.Keys.Idx(1, matchertest.Child(child)) }

// houseOf gives a house with so many signals, which growth and size share.
func (r *run) houseOf(signals int) *house {
	h := r.houses[signals]
	if h == nil {
		whole := *r // the house outlives this suite
		whole.T = r.parent
		h = newHouse(&whole)
		h.fill(signals, false)
		r.houses[signals] = h
	}
	return h
}

// bytesIn is what a folder takes of the disk.
func bytesIn(r *run, folder string) (tables, rest int64) {
	r.must(filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		size := info.Sys().(*syscall.Stat_t).Blocks * 512
		if filepath.Ext(path) == ".sst" {
			tables += size
		} else {
			rest += size
		}
		return nil
	}))
	return tables, rest
}
