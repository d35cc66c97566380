// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"errors"
	"time"
)

// What is kept no longer is not kept for a subscription that is off, or for dead letters
// that nobody has replayed: how long messages are kept is a promise to others. What
// lapses so is counted, and the log and the API tell.

// lapses count what the sweep takes from subscriptions that have not had it.
type lapses struct {
	targets   []Target
	delivered uint64 // the seq up to which every one that is on is done with the inbox
	of        map[ID]int
}

func (p *Party) newLapses(v view) (lapses, error) {
	l := lapses{delivered: ^uint64(0), of: map[ID]int{}}
	err := scan(v, p.key.table(tableTarget), nil, false, func(_ []byte, t Target) (bool, error) {
		if t.Kind != TargetWebhook {
			return true, nil
		}
		if t.Off == OffNot {
			l.delivered = min(l.delivered, t.Cursor)
		}
		l.targets = append(l.targets, t)
		return true, nil
	})
	return l, err
}

// lapse notes who has waited for a message that goes.
func (p *Party) lapse(v view, l lapses, msg Message) error {
	for _, t := range l.targets {
		if msg.Seq <= t.Cursor {
			continue
		}
		its := msg
		if wanted, err := p.forTarget(v, t, &its); err != nil {
			return err
		} else if wanted {
			l.of[t.ID]++
		}
	}
	return nil
}

// putLapses tells of them with the targets. p.mu is held.
func (p *Party) putLapses(b *batch, l lapses) error {
	for id, n := range l.of {
		t, err := p.Target(id)
		if errors.Is(err, ErrNotFound) {
			continue
		} else if err != nil {
			return err
		}
		t.Lapsed += n
		b.put(p.key.target(id), t)
		p.tellLapsed(b, t, n)
	}
	return nil
}

func (p *Party) tellLapsed(b *batch, t Target, n int) {
	b.then = append(b.then, func() {
		p.g.log.Warn("messages lapsed", "party", string(p.id), "target", t.ID.String(), "kind", string(t.Kind), "count", n)
	})
}

// mailIdle is how long a recipient of mail is remembered whom nothing waits for.
const mailIdle = 24 * time.Hour

// sweepTargets forgets dead letters whose message is gone, and recipients of mail whom
// nothing waits for.
func (p *Party) sweepTargets() error {
	var list []Target
	err := scan(p.g.store.view, p.key.table(tableTarget), nil, false, func(_ []byte, t Target) (bool, error) {
		list = append(list, t)
		return true, nil
	})
	if err != nil {
		return err
	}
	for _, t := range list {
		if err := p.sweepTarget(t); err != nil {
			return err
		}
	}
	return nil
}

func (p *Party) sweepTarget(t Target) error {
	if t.Dead > 0 {
		var gone []uint64
		err := scan(p.g.store.view, p.key.deadLetters(t.ID), nil, false, func(_ []byte, dead DeadLetter) (bool, error) {
			_, err := get[Message](p.g.store.view, p.key.message(dead.Seq))
			if errors.Is(err, errAbsent) {
				gone, err = append(gone, dead.Seq), nil
			}
			return true, err
		})
		if err != nil || len(gone) == 0 {
			return err
		}
		return p.changeTarget(t.ID, func(*Target) {}, gone...)
	}
	if t.Kind != TargetMail {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t, err := p.Target(t.ID) // news may have come
	if err != nil || t.Upto > t.Cursor || t.Dead > 0 || t.LastAt.After(p.g.now().Add(-mailIdle)) {
		return err
	}
	b := p.g.store.batch()
	defer b.close()
	b.delete(p.key.target(t.ID))
	return p.commit(b)
}
