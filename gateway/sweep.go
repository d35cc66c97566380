// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"context"
	"time"

	"github.com/seinhuis/seinhuis/crypto/identity"
)

const (
	sweepEvery  = time.Hour
	keepEnded   = 30 * 24 * time.Hour // registrations and messages, after the end
	keepReplays = 7 * 24 * time.Hour  // what idempotency keys led to
)

func (g *Gateway) keepSweeping(ctx context.Context) {
	for {
		for _, p := range g.order {
			if err := p.sweep(); err != nil {
				p.halt("sweep failed", err)
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
	if err := p.sweepRest(); err != nil {
		return err
	}
	return p.g.store.scrub(p.key)
}

func (p *Party) sweepSignals() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.g.now()
	today := identity.Today(now)
	b := p.g.store.batch()
	defer b.close()
	err := scan(p.g.store.view, p.key.table(tableSignal), nil, false, func(key []byte, s Signal) (bool, error) {
		if s.Live(today) {
			return true, nil
		}
		owners, err := p.owners(p.g.store.view, s.SID)
		if err != nil {
			return false, err
		}
		for _, id := range owners {
			reg, err := get[Registration](p.g.store.view, p.key.registration(id))
			if err != nil {
				return false, err
			}
			reg.end(StateExpired, now)
			b.put(p.key.registration(id), reg)
			b.delete(p.key.owner(s.SID, id))
		}
		b.delete(p.key.signal(s.SID))
		return true, nil
	})
	if err != nil {
		return err
	}
	return p.commit(b)
}

func (p *Party) sweepRest() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.g.store.view
	old := p.g.now().Add(-keepEnded)
	b := p.g.store.batch()
	defer b.close()
	err := scan(v, p.key.table(tableRegistration), nil, false, func(key []byte, reg Registration) (bool, error) {
		s, err := p.complete(v, reg)
		if err == ErrNotFound { // a repeat of one that has been swept
			b.delete(key)
			return true, nil
		}
		if err == nil && reg.State.Ended() && reg.Ended.Before(old) && s.Settled() {
			b.delete(key)
		}
		return true, err
	})
	if err != nil {
		return err
	}
	err = scan(v, p.key.table(tableMessage), nil, false, func(key []byte, msg Message) (bool, error) {
		if !msg.Received.Before(old) {
			return true, nil
		}
		_, err := get[Signal](v, p.key.signal(msg.SID))
		if err == errAbsent {
			b.delete(key)
			b.delete(p.key.event(msg.ID))
			return true, nil
		}
		return true, err
	})
	if err != nil {
		return err
	}
	forgotten := p.g.now().Add(-keepReplays)
	err = scan(v, p.key.table(tableReplay), nil, false, func(key []byte, row replay) (bool, error) {
		if row.Created.Before(forgotten) {
			b.delete(key)
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	return p.commit(b)
}
