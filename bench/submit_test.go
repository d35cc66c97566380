// SPDX-License-Identifier: EUPL-1.2

package bench

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/seinhuis/seinhuis/matcher/matchertest"
	"github.com/seinhuis/seinhuis/registry"
)

// clients send at the same time.
const clients = 64

// benchSubmit sends signals one by one, each durable before it is answered. One in
// ten makes a match and two events. PostgreSQL is given rows that are ready: it
// checks no signature and seals nothing.
//
// The first row is all that the product does at a submission, signature and receipt
// included. The second leaves both out, so that the two stores do the same.
func benchSubmit(r *run) {
	r.reps = r.durable
	h := newHouse(r)
	h.fill(r.stored, true)
	made := 0
	for _, mode := range []struct {
		work   string
		submit func(*house, []matchertest.Paper) time.Duration
		why    string
	}{
		{"submit, all that ours does", submitWhole,
			"two thirds of the CPU time is Ed25519, which PostgreSQL is spared: 95 µs to verify a statement, 27 µs to sign its receipt; with nothing else to do two cores could not take more than 16,000 signals/s"},
		{"submit, store alone", submitStore,
			"of some 70 µs CPU a signal, 45 are the transaction (17 to find that nothing stands there, 13 to seal), 15 the log and the memtable, 10 flushes and compactions; sealing is ours alone"},
	} {
		sets, files := make([][]matchertest.Paper, r.reps), make([]string, r.reps)
		for rep := range sets {
			sets[rep] = h.batch(r.submits, func(i int) int { return i * 17 % h.parties })
			if r.peers != nil {
				files[rep] = h.mirror(fmt.Sprint("submit", rep), sets[rep])
			}
		}
		rate := func(took time.Duration) float64 { return float64(r.submits) / took.Seconds() }
		o, p := r.alternate(mode.work, func(rep int) float64 {
			return rate(mode.submit(h, sets[rep]))
		}, r.peer(func(rep int) float64 { return rate(h.submitPeer(files[rep])) }))
		made += r.reps * (r.submits / 10)
		h.compare(made)
		r.row(Row{Work: mode.work, Peer: "PostgreSQL", Unit: "signals/s", Aim: atLeast(5), Why: mode.why}, o, p)
	}
}

func (h *house) submitPeer(file string) time.Duration {
	h.r.Helper()
	var got struct{ Seconds float64 }
	h.r.ask("registry.submit", map[string]any{"rows": file, "clients": clients, "sizes": h.sizes}, &got)
	return time.Duration(got.Seconds * float64(time.Second))
}

// submitWhole is the product's whole path behind HTTP.
func submitWhole(h *house, papers []matchertest.Paper) time.Duration {
	took, _, err := drive(len(papers), clients, func(i int) error { return h.send(papers[i]) })
	h.r.must(err)
	return took
}

func (h *house) send(p matchertest.Paper) error {
	out, err := h.Send(p)
	if err == nil && !out.Created {
		return fmt.Errorf("a new signal was known already")
	}
	return err
}

// submitStore times the store and the rules alone. All submissions are admitted
// first, then wait at the store's door; when it opens 64 clients take them in, and
// who comes out waits for the last before its receipt is signed.
func submitStore(h *house, papers []matchertest.Paper) time.Duration {
	door := &door{Store: h.Store, visits: make(chan func(), len(papers)), left: make(chan struct{})}
	door.before.Add(len(papers))
	door.inside.Add(len(papers))
	h.Store = door
	defer func() { h.Store = door.Store }()

	ended := make(chan error, 1)
	go func() {
		_, _, err := drive(len(papers), len(papers), func(i int) error { return h.send(papers[i]) })
		ended <- err
	}()
	door.before.Wait()
	start := time.Now()
	for range clients {
		go func() {
			for visit := range door.visits {
				visit()
			}
		}()
	}
	door.inside.Wait()
	took := time.Since(start)
	close(door.left)
	close(door.visits)
	h.r.must(<-ended)
	return took
}

// A door holds transactions back before and after. Clients carry them through it:
// ten thousand goroutines would each have to grow a stack on the clock.
type door struct {
	registry.Store
	before, inside sync.WaitGroup
	visits         chan func()
	left           chan struct{}
}

func (d *door) Update(ctx context.Context, idx registry.Idx, fn func(registry.Tx) error) error {
	var err error
	d.visits <- func() {
		err = d.Store.Update(ctx, idx, fn)
		d.inside.Done()
	}
	d.before.Done()
	<-d.left
	return err
}
