// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/seinhuis/seinhuis/gateway/mail"
	"github.com/seinhuis/seinhuis/gateway/webhook"
)

// A delivery is one attempt: of the message behind a target's cursor, or of a dead
// letter that is replayed.
type delivery struct {
	t   Target
	seq uint64
	msg Message     // of a webhook
	of  *DeadLetter // of a replay
}

// nextDelivery finds what is due for a target; nil when nothing is.
func (p *Party) nextDelivery(id ID) (*delivery, error) {
	v, release := p.g.store.snapshot()
	defer release()
	t, err := get[Target](v, p.key.target(id))
	if errors.Is(err, errAbsent) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	now := p.g.now()
	pause, head, replay := t.waits(now)
	if t.Off != OffNot || pause.After(now) {
		return nil, nil
	}
	if !head.After(now) {
		if d, err := p.head(v, t); d != nil || err != nil {
			return d, err
		}
	}
	if !replay.IsZero() && !replay.After(now) {
		return p.nextReplay(v, t, now)
	}
	return nil, nil
}

// head finds what is behind the cursor, and takes the cursor past what is not for this
// target.
func (p *Party) head(v view, t Target) (d *delivery, err error) {
	if t.Kind == TargetMail {
		if t.Upto > t.Cursor {
			d = &delivery{t: t, seq: t.Upto}
		}
		return d, nil
	}
	passed, err := p.lastSeq(v) // what is not in the inbox any more is done with
	if err != nil {
		return nil, err
	}
	err = scan(v, p.key.table(tableMessage), p.key.message(t.Cursor), false, func(_ []byte, msg Message) (bool, error) {
		ours, err := p.forTarget(v, t, &msg)
		if ours {
			d = &delivery{t: t, seq: msg.Seq, msg: msg}
		}
		return !ours, err
	})
	if err != nil || d != nil || passed <= t.Cursor {
		return d, err
	}
	return nil, p.changeTarget(t.ID, func(now *Target) {
		if now.Turn == t.Turn { // else it may ask for other messages by now
			now.Cursor = max(now.Cursor, passed)
		}
	})
}

// forTarget tells whether a message is for a webhook. It has the owners of today.
func (p *Party) forTarget(v view, t Target, msg *Message) (_ bool, err error) {
	then := msg.Owners
	if msg.Owners, err = p.ownersNow(v, msg.SID, then); err != nil {
		return false, err
	}
	return p.sends(t.Subscription, msg, then), nil
}

// nextReplay finds a dead letter that is due, or else notes when the next one is.
func (p *Party) nextReplay(v view, t Target, now time.Time) (d *delivery, err error) {
	var next time.Time
	var gone []uint64
	err = scan(v, p.key.deadLetters(t.ID), nil, false, func(_ []byte, dead DeadLetter) (bool, error) {
		switch at := notBeyond(dead.Tries.Next, now, retryWait); {
		case !dead.Replay:
			return true, nil
		case at.After(now):
			if next.IsZero() || at.Before(next) {
				next = at
			}
			return true, nil
		}
		msg, err := get[Message](v, p.key.message(dead.Seq))
		if errors.Is(err, errAbsent) {
			gone = append(gone, dead.Seq)
			return true, nil
		} else if err != nil {
			return false, err
		}
		if t.Kind == TargetWebhook {
			// What it asked for may be another thing by now; somebody asked for this.
			all := t
			all.Subscription.Kinds = nil
			if ours, err := p.forTarget(v, all, &msg); err != nil {
				return false, err
			} else if !ours {
				gone = append(gone, dead.Seq)
				return true, nil
			}
		}
		d = &delivery{t: t, seq: dead.Seq, msg: msg, of: &dead}
		return false, nil
	})
	if err != nil || d != nil {
		return d, err
	}
	return nil, p.changeTarget(t.ID, func(now *Target) {
		if now.Replay.Equal(t.Replay) {
			now.Replay = next
		}
	}, gone...)
}

// changeTarget changes a target as it is now, and forgets dead letters of it.
func (p *Party) changeTarget(id ID, change func(*Target), forget ...uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, err := p.Target(id)
	if errors.Is(err, ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	change(&t)
	b := p.g.store.batch()
	defer b.close()
	was := t.Lapsed
	for _, seq := range forget {
		if _, err := get[DeadLetter](p.g.store.view, p.key.deadLetter(id, seq)); err == nil {
			b.delete(p.key.deadLetter(id, seq))
			t.Dead--
			t.Lapsed++
		}
	}
	if n := t.Lapsed - was; n > 0 {
		p.tellLapsed(b, t, n)
	}
	b.put(p.key.target(id), t)
	return p.commit(b)
}

// attempt sends once, and records what came of it.
func (p *Party) attempt(ctx context.Context, d *delivery) error {
	var result Result
	var pause time.Duration
	switch d.t.Kind {
	case TargetMail:
		result = p.sendMail(ctx, d)
		if result == Result(mail.Stopped) {
			return nil
		}
	default:
		answer, err := p.post(ctx, d)
		if err != nil || answer.Outcome == webhook.Stopped {
			return err
		}
		result, pause = Result(answer.Outcome), answer.RetryAfter
	}
	p.g.metrics.deliveries.WithLabelValues(string(d.t.Kind), string(result)).Inc()
	return p.record(d, result, pause)
}

// record keeps what came of an attempt. A crash before it makes another attempt.
func (p *Party) record(d *delivery, result Result, pause time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, err := p.Target(d.t.ID)
	if errors.Is(err, ErrNotFound) { // meanwhile
		return nil
	} else if err != nil {
		return err
	}
	if d.of != nil {
		if _, err := get[DeadLetter](p.g.store.view, p.key.deadLetter(t.ID, d.seq)); errors.Is(err, errAbsent) { // meanwhile
			return nil
		} else if err != nil {
			return err
		}
	}
	b := p.g.store.batch()
	defer b.close()
	now := p.g.now()
	switch result {
	case Result(webhook.Delivered), Result(mail.Sent):
		t.Done = now.UTC()
		p.reached(b, &t, d, now)
	case NoAddress: // nobody is left to be told
		p.reached(b, &t, d, now)
	default:
		if t.Turn != d.t.Turn {
			return nil
		}
		p.missed(b, &t, d, result, pause, now)
	}
	t.Last, t.LastAt = result, now.UTC()
	b.put(p.key.target(t.ID), t)
	return p.commit(b)
}

func (p *Party) reached(b *batch, t *Target, d *delivery, now time.Time) {
	t.Failing, t.Pause = time.Time{}, time.Time{}
	if d.of != nil {
		b.delete(p.key.deadLetter(t.ID, d.seq))
		t.Dead--
		t.Replay = now // look for the next one
		return
	}
	p.pass(t, d.seq, now)
}

// pass takes the cursor past what is done with.
func (p *Party) pass(t *Target, seq uint64, now time.Time) {
	if t.Cursor = max(t.Cursor, seq); t.Kind == TargetMail {
		t.Head = Tries{Next: now.Add(mailApart)}
		return
	}
	t.Head = Tries{}
}

func (p *Party) missed(b *batch, t *Target, d *delivery, result Result, pause time.Duration, now time.Time) {
	paused, _, _ := t.waits(now)
	due := func(tries Tries) time.Time {
		if next := notBeyond(tries.Next, now, retryWait); next.After(paused) {
			return next
		}
		return paused
	}
	if pause > 0 {
		t.Pause = now.Add(pause)
	}
	if result == Result(webhook.Gone) {
		p.turnOff(b, t, OffGone)
		return
	}
	final := t.Kind == TargetMail && result == Result(mail.Refused)
	if d.of != nil {
		dead := *d.of
		dead.Last = result
		if over := dead.Tries.failed(due(dead.Tries), now); over || final {
			dead.Replay, dead.Died = false, now.UTC()
		}
		b.put(p.key.deadLetter(t.ID, d.seq), dead)
		t.Replay = now
		return
	}
	if t.Failing.IsZero() || t.Failing.After(now) {
		t.Failing = now
	}
	if over := t.Head.failed(due(t.Head), now); !over && !final {
		return
	}
	p.giveUp(b, t, d, result, now)
	if t.Kind == TargetWebhook && now.Sub(t.Failing) >= offAfter {
		p.turnOff(b, t, OffFailing)
	}
}

// giveUp makes a dead letter of what is behind the cursor, and goes on.
func (p *Party) giveUp(b *batch, t *Target, d *delivery, result Result, now time.Time) {
	dead := DeadLetter{Seq: d.seq, Event: d.msg.ID, Kind: d.msg.Kind, Tries: t.Head, Died: now.UTC(), Last: result}
	b.put(p.key.deadLetter(t.ID, d.seq), dead)
	t.Dead++
	p.pass(t, d.seq, now)
	id, kind := t.ID.String(), string(t.Kind)
	b.then = append(b.then, func() {
		p.g.log.Error("delivery given up", "party", string(p.id), "target", id, "kind", kind, "result", string(result))
	})
}

func (p *Party) turnOff(b *batch, t *Target, why Off) {
	t.Off = why
	id := t.ID.String()
	b.then = append(b.then, func() {
		p.g.log.Error("subscription turned off", "party", string(p.id), "target", id, "reason", string(why))
	})
}
