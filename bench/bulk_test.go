// SPDX-License-Identifier: EUPL-1.2

package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
	"github.com/seinhuis/seinhuis/registry"
)

// benchBulk has a party join with many signals, one in ten of a child whom another
// party has signalled. Ours come in imports of the most that one takes; PostgreSQL
// copies all of them in and joins, in one transaction on each of its two
// connections. The signatures are ours alone, as in benchSubmit; the second row
// counts only the time that ours spent in the store and the rules.
func benchBulk(r *run) {
	r.reps = r.durable
	r.newcomers = r.reps
	h := newHouse(r)
	h.fill(r.bulkStored, true)
	sets, files := make([][]api.Submission, r.reps), make([]string, r.reps)
	for rep := range sets {
		papers := h.batch(r.bulk, func(int) int { return r.parties + rep })
		sets[rep] = submissions(papers)
		if r.peers != nil {
			files[rep] = h.mirror(fmt.Sprint("bulk", rep), papers)
		}
	}
	rate := func(took time.Duration) float64 { return float64(r.bulk) / took.Seconds() }
	var alone []float64
	work := fmt.Sprintf("bulk %s into %s, ", millions(r.bulk), millions(r.bulkStored))
	o, p := r.alternate("bulk", func(rep int) float64 {
		whole, store := h.importAll(r.parties+rep, sets[rep])
		alone = append(alone, rate(store))
		return rate(whole)
	}, r.peer(func(rep int) float64 {
		var got struct{ Seconds float64 }
		r.ask("registry.bulk", map[string]any{"rows": files[rep], "sizes": h.sizes}, &got)
		return float64(r.bulk) / got.Seconds
	}))
	h.compare(r.reps * (r.bulk / 10))
	r.row(Row{Work: work + "all that ours does", Peer: "PostgreSQL", Unit: "signals/s", Aim: atLeast(5),
		Why: "two thirds of the CPU time is Ed25519, which PostgreSQL is spared; with nothing else to do two cores could not take more than 16,000 signals/s"}, o, p)
	r.row(Row{Work: work + "store alone", Peer: "PostgreSQL", Unit: "signals/s", Aim: atLeast(5),
		Why: "of some 50 µs CPU a signal, 30 are the transactions (8 to find that nothing stands there, 12 to seal the signal and its leaf, 8 to allocate), 7 sort and write the tables, and compactions of what was there before take the rest; five times PostgreSQL would be 11 µs"}, alone, p)
}

// importAll gives how long imports took, and how much of that in the store.
func (h *house) importAll(party int, subs []api.Submission) (whole, store time.Duration) {
	watch := &stopwatch{Store: h.Store}
	h.Store = watch
	defer func() { h.Store = watch.Store }()
	start := time.Now()
	for len(subs) > 0 {
		n := min(len(subs), api.MaxImport)
		got, err := h.Import(context.Background(), matchertest.Party(party), subs[:n])
		h.r.must(err)
		for _, one := range got {
			if one.Refused != nil || !one.Created {
				h.r.Fatal("a new signal was not taken: ", one.Refused)
			}
		}
		subs = subs[n:]
	}
	return time.Since(start), watch.inside
}

// A stopwatch adds up the time that bulk takes in the store, the rules included.
type stopwatch struct {
	registry.Store
	inside time.Duration
}

func (s *stopwatch) UpdateAll(ctx context.Context, idxs []registry.Idx, fn func(registry.Idx, registry.Tx) error) error {
	start := time.Now()
	defer func() { s.inside += time.Since(start) }()
	return s.Store.UpdateAll(ctx, idxs, fn)
}
