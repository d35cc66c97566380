// SPDX-License-Identifier: EUPL-1.2

package matcher

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/registry"
)

// An Imported is what became of one submission of an import: an outcome, or the
// refusal.
type Imported struct {
	Outcome
	Refused error // *api.Error, or nil
}

// Import takes at most api.MaxImport submissions of one party, as if each had been sent alone, and
// answers in their order. All that are not refused become durable at once, with
// their matches and the events to all concerned. A refusal concerns its own
// submission only. An error means that nothing was stored; the same submissions can
// be sent again, now or after a crash.
func (m *Matcher) Import(ctx context.Context, from api.PartyID, subs []api.Submission) ([]Imported, error) {
	if len(subs) > api.MaxImport {
		return nil, api.Refuse(api.CodeTooLarge, nil)
	}
	adm, err := m.admission(ctx)
	if err != nil {
		return nil, err
	}
	if err := m.ready(ctx, adm.Manifest); err != nil {
		return nil, err
	}
	if err := m.ReadOnly.refusal(); err != nil {
		return nil, err
	}
	if err := m.openCounts(ctx, adm); err != nil {
		return nil, err
	}
	out := make([]Imported, len(subs))
	signals := make([]registry.Signal, len(subs))
	refusals := make([]error, len(subs))
	inParallel(len(subs), func(i int) {
		var st api.Statement
		st, refusals[i] = adm.Statement(from, subs[i])
		signals[i] = registry.Signal{Statement: st, Signed: subs[i].Signed, Sealed: subs[i].Faces}
	})

	// Several of one child are taken one after the other, in their order.
	rows := make(map[registry.Idx][]int, len(subs))
	idxs := make([]registry.Idx, 0, len(subs))
	for i := range signals {
		if signals[i].Rev == 0 {
			out[i].Refused = refusals[i]
			continue
		}
		idx := m.place(signals[i].Statement)
		if rows[idx] == nil {
			idxs = append(idxs, idx)
		}
		rows[idx] = append(rows[idx], i)
	}
	var taken atomic.Int64
	err = m.Store.UpdateAll(ctx, idxs, func(idx registry.Idx, tx registry.Tx) error {
		return m.changeIn(adm, idx, tx, func(c *change) error {
			defer func() { taken.Add(int64(c.taken)) }()
			for _, i := range rows[idx] {
				var err error
				c.user = subs[i].User
				out[i].Created, err = c.submit(&signals[i], refusals[i])
				if _, refused := errors.AsType[*api.Error](err); refused {
					out[i].Refused = err
				} else if err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		m.giveBack(adm, from, int(taken.Load()))
		return nil, err
	}
	failed := make([]error, len(subs))
	inParallel(len(subs), func(i int) {
		if out[i].Refused == nil {
			out[i].Outcome, failed[i] = m.receiptOf(signals[i], out[i].Created)
		}
	})
	return out, errors.Join(failed...)
}

// inParallel calls do for 0 to n-1, on all processors.
func inParallel(n int, do func(i int)) {
	var g errgroup.Group
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		g.Go(func() error {
			for i := n * w / workers; i < n*(w+1)/workers; i++ {
				do(i)
			}
			return nil
		})
	}
	g.Wait()
}
