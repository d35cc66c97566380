// SPDX-License-Identifier: EUPL-1.2

package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
)

// sweepClients send at the same time: so many that the machine is busy, and not so many
// that one waits for the other rather than for the sweep.
const sweepClients = 8

// benchSweep holds the slowest of a hundred submissions while many signals end at one
// midnight against the same when none do. For each submission four signals end: as many
// as the sweep comes to, or so.
func benchSweep(r *run) {
	r.reps = r.durable
	h := newHouse(r)
	child, swept := 0, 0
	papers := func(n int) []matchertest.Paper {
		child += n
		return h.write(n, func(i int) (int, int) { return i * 17 % h.parties, child - n + i })
	}
	submit := func() float64 {
		sent := papers(r.submits)
		_, p99, err := drive(len(sent), sweepClients, func(i int) error { return h.send(sent[i]) })
		r.must(err)
		return float64(p99) / float64(time.Millisecond)
	}
	o, p := r.alternate("sweep", func(int) float64 {
		for _, part := range chunks(papers(4*r.submits), h.parties) {
			_, err := h.Import(context.Background(), part[0].Statement.Party, submissions(part))
			r.must(err)
		}
		h.SetClock(h.Now().AddDate(1, 0, 1))
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() {
			n, err := h.Sweep(ctx)
			swept += n
			ended <- err
		}()
		p99 := submit()
		stop()
		<-ended
		_, err := h.Sweep(context.Background())
		r.must(err)
		return p99
	}, func(int) float64 { return submit() })
	r.row(Row{
		Work: fmt.Sprintf("submit while the sweep ends %s signals, 99th percentile", millions(4*r.submits)), Peer: "itself without a sweep",
		Unit: "ms", Aim: atMost(2), Note: fmt.Sprintf("%d swept meanwhile", swept),
	}, o, p)
}

// chunks sorts papers by party.
func chunks(papers []matchertest.Paper, parties int) map[api.PartyID][]matchertest.Paper {
	by := make(map[api.PartyID][]matchertest.Paper, parties)
	for _, p := range papers {
		by[p.Statement.Party] = append(by[p.Statement.Party], p)
	}
	return by
}
