// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/identity"
)

const (
	sweepEvery  = time.Hour
	keepEnded   = 30 * 24 * time.Hour // registrations, messages and matches, after the end
	keepReplays = 7 * 24 * time.Hour  // what idempotency keys led to

	keepReportYears = 2 // reports with somebody who has no number
)

func (g *Gateway) keepSweeping(ctx context.Context) {
	for {
		for _, p := range g.order {
			if err := p.sweep(); err != nil {
				g.log.Error("sweep failed", "party", string(p.id), "cause", err)
			}
		}
		if !sleep(ctx, sweepEvery) {
			return
		}
	}
}

// sweep ends what the clock has ended, and destroys what is kept no longer.
// Nothing waits for it: whoever reads looks at the clock himself.
func (p *Party) sweep() error {
	if err := p.sweepSignals(); err != nil {
		return err
	}
	if err := p.sweepLost(); err != nil {
		return err
	}
	outlived, err := p.outlived()
	if err != nil {
		return err
	}
	if err := p.forget(outlived); err != nil {
		return err
	}
	if err := p.sweepRest(); err != nil {
		return err
	}
	if err := p.sweepTargets(); err != nil {
		return err
	}
	v, release := p.g.store.snapshot()
	err = errors.Join(p.sweepMatches(v), p.sweepDoubts(v), p.sweepReminders(v))
	release()
	if err != nil {
		return err
	}
	return p.g.store.scrub(p.key)
}

// expireAtOnce is how many signals end in one commit: what a professional does
// waits for no more than these.
const expireAtOnce = 500

// sweepSignals looks for signals that have expired without keeping anybody waiting,
// and ends them a few at a time.
func (p *Party) sweepSignals() error {
	today := identity.Today(p.g.now())
	v, release := p.g.store.snapshot()
	defer release()
	var dead []api.SID
	err := scan(v, p.key.table(tableSignal), nil, false, func(_ []byte, s Signal) (bool, error) {
		if !s.Live(today) {
			dead = append(dead, s.SID)
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	for sids := range slices.Chunk(dead, expireAtOnce) {
		if err := p.expire(sids); err != nil {
			return err
		}
	}
	return nil
}

// expire ends those of the signals that have still expired.
func (p *Party) expire(sids []api.SID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.g.now()
	b := p.g.store.batch()
	defer b.close()
	for _, sid := range sids {
		s, err := get[Signal](p.g.store.view, p.key.signal(sid))
		if errors.Is(err, errAbsent) {
			continue
		} else if err != nil {
			return err
		}
		// Of one that is being renewed the registry may have taken the renewal, and the
		// answer is to come.
		if s.Live(identity.Today(now)) || p.queue.renewing(sid) {
			continue
		}
		owners, err := p.owners(p.g.store.view, sid)
		if err != nil {
			return err
		}
		for _, id := range owners {
			reg, err := get[Registration](p.g.store.view, p.key.registration(id))
			if err != nil {
				return err
			}
			reg.end(StateExpired, now)
			b.put(p.key.registration(id), reg)
			b.delete(p.key.owner(sid, id))
		}
		b.delete(p.key.signal(sid))
	}
	return p.commit(b)
}

// outlived finds the registrations that are kept no longer, without keeping anybody
// waiting: what has ended stays so.
func (p *Party) outlived() (ids []ID, err error) {
	v, release := p.g.store.snapshot()
	defer release()
	old := p.g.now().Add(-keepEnded)
	imports, err := p.keptImports(v)
	if err != nil {
		return nil, err
	}
	err = scan(v, p.key.table(tableRegistration), nil, false, func(key []byte, reg Registration) (bool, error) {
		switch {
		case imports[reg.Import]: // its rows say what became of them as long as they are kept
		case reg.State.Ended() && reg.Ended.Before(old):
			ids = append(ids, reg.ID)
		case !reg.Into.IsZero(): // a repeat goes when what it repeats is gone
			_, err := p.original(v, reg.ID)
			if err == ErrNotFound {
				ids = append(ids, reg.ID)
			} else if err != nil {
				return false, err
			}
		}
		return true, nil
	})
	return ids, err
}

// forget deletes registrations a few at a time, each from him who owns it by then: a
// repeat can have gone to a colleague since it was found.
func (p *Party) forget(ids []ID) error {
	some := func(ids []ID) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		b := p.g.store.batch()
		defer b.close()
		for _, id := range ids {
			reg, err := get[Registration](p.g.store.view, p.key.registration(id))
			if errors.Is(err, errAbsent) {
				continue
			} else if err != nil {
				return err
			}
			b.delete(p.key.registration(id))
			b.delete(p.ownerRow(reg.Owner, id))
		}
		return p.commit(b)
	}
	for chunk := range slices.Chunk(ids, expireAtOnce) {
		if err := some(chunk); err != nil {
			return err
		}
	}
	return nil
}

// sweepRest destroys the rest of what is kept no longer.
func (p *Party) sweepRest() error {
	v, release := p.g.store.snapshot()
	defer release()
	old := p.g.now().Add(-keepEnded)
	b := p.g.store.batch()
	defer b.close()
	reports, err := p.oldReports(v)
	if err != nil {
		return err
	}
	replays, err := p.oldReplays(v)
	if err != nil {
		return err
	}
	if err := errors.Join(p.sweepLog(b, v), p.sweepLastOwners(b, v), p.sweepOffers(b, v)); err != nil {
		return err
	}
	lapsed, err := p.newLapses(v)
	if err != nil {
		return err
	}
	err = scan(v, p.key.table(tableMessage), nil, false, func(key []byte, msg Message) (bool, error) {
		if !msg.Received.Before(old) || msg.Seq > lapsed.delivered {
			return true, nil
		}
		_, err := get[Signal](v, p.key.signal(msg.SID))
		if err == errAbsent {
			b.delete(key)
			b.delete(p.key.messageOn(msg.SID, msg.Seq))
			b.delete(p.key.event(msg.ID))
			return true, p.lapse(v, lapsed, msg)
		}
		return true, err
	})
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := errors.Join(p.forgetReports(b, reports), p.forgetReplays(b, replays), p.sweepImports(b), p.sweepTransfers(b), p.putLapses(b, lapsed)); err != nil {
		return err
	}
	return p.commit(b)
}

// oldReplays finds idempotency keys of which it is forgotten what they led to.
func (p *Party) oldReplays(v view) (keys [][]byte, err error) {
	forgotten := p.g.now().Add(-keepReplays)
	err = scan(v, p.key.table(tableReplay), nil, false, func(key []byte, row replay) (bool, error) {
		if row.Created.Before(forgotten) {
			keys = append(keys, bytes.Clone(key))
		}
		return true, nil
	})
	return keys, err
}

// forgetReplays deletes what idempotency keys led to, unless one was used again
// meanwhile. p.mu is held.
func (p *Party) forgetReplays(b *batch, keys [][]byte) error {
	forgotten := p.g.now().Add(-keepReplays)
	for _, key := range keys {
		row, err := get[replay](p.g.store.view, key)
		if err == nil && row.Created.Before(forgotten) {
			b.delete(key)
		} else if err != nil && !errors.Is(err, errAbsent) {
			return err
		}
	}
	return nil
}

// oldReports finds the reports of which all registrations are forgotten and nobody may
// still be signalled, or that are too old for that.
func (p *Party) oldReports(v view) (list []Report, err error) {
	tooOld := p.g.now().AddDate(-keepReportYears, 0, 0)
	recent := p.g.now().Add(-keepEnded)
	err = scan(v, p.key.table(tableReport), nil, false, func(key []byte, r Report) (bool, error) {
		if r.Created.After(recent) {
			return true, nil
		}
		status, err := p.withStatus(v, r)
		if err != nil {
			return false, err
		}
		inUse := r.Open() && r.Created.After(tooOld)
		for _, s := range status.Status {
			inUse = inUse || s != nil
		}
		if !inUse {
			list = append(list, r)
		}
		return true, nil
	})
	return list, err
}

// forgetReports deletes reports, and their names unless they have become another's. p.mu
// is held.
func (p *Party) forgetReports(b *batch, list []Report) error {
	for _, r := range list {
		b.delete(p.key.report(r.ID))
		for _, use := range []string{"report", "report last"} {
			named := p.key.reportKey(p.g.store.index.of(use, p.key, r.Reference))
			if id, err := get[ID](p.g.store.view, named); err == nil && id == r.ID {
				b.delete(named)
			} else if err != nil && !errors.Is(err, errAbsent) {
				return err
			}
		}
	}
	return nil
}
