// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/seinhuis/seinhuis/api"
)

// Messages lists the inbox behind a seq, the oldest first. Owners are those at the
// time and those who joined since.
func (p *Party) Messages(from uint64, limit int) ([]Message, error) {
	return p.messages(from, limit, nil)
}

// AwaitMessages is Messages, but when there are none it waits until there are, or
// until ctx is done, which is no error.
func (p *Party) AwaitMessages(ctx context.Context, from uint64, limit int) ([]Message, error) {
	return p.awaitMessages(ctx, from, limit, nil)
}

func (p *Party) awaitMessages(ctx context.Context, from uint64, limit int, by *Access) ([]Message, error) {
	for {
		arrived := p.inbox.wait()
		list, err := p.messages(from, limit, by)
		if err != nil || len(list) > 0 {
			return list, err
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return nil, nil
		}
	}
}

// lookThrough is how many messages are looked at, all of them, before it pays to find
// those of somebody by his signals.
const lookThrough = 100

// messages leaves out what is beyond the reach of by; nil reaches everything. Who sees
// little and has read all of it polls from the same place for ever, with ever more of
// others' messages behind it: those are not read.
func (p *Party) messages(from uint64, limit int, by *Access) (list []Message, err error) {
	v, release := p.g.store.snapshot()
	defer release()
	take := func(msg Message) (more bool, err error) {
		if msg.Owners, err = p.ownersNow(v, msg.SID, msg.Owners); err != nil {
			return false, err
		}
		if !by.reachesAll() {
			if msg.Owners = by.SeesOwners(msg.Owners); len(msg.Owners) == 0 {
				return true, nil
			}
		}
		list = append(list, msg)
		return len(list) < limit, nil
	}
	last, err := p.lastSeq(v)
	if err != nil {
		return nil, err
	}
	if by.reachesAll() || last <= from+lookThrough {
		err := scan(v, p.key.table(tableMessage), p.key.message(from), false, func(_ []byte, msg Message) (bool, error) { return take(msg) })
		return list, err
	}
	seqs, err := p.seqsWithin(v, by, from)
	if err != nil {
		return nil, err
	}
	for _, seq := range seqs {
		msg, err := get[Message](v, p.key.message(seq))
		if err != nil {
			return nil, err
		}
		if more, err := take(msg); err != nil || !more {
			return list, err
		}
	}
	return list, nil
}

// reachesAll tells whether nothing is beyond reach: what has no owner either.
func (a *Access) reachesAll() bool { return a == nil || a.Reach == ReachAll }

// seqsWithin are the messages behind a seq that are about signals of professionals
// within reach.
func (p *Party) seqsWithin(v view, by *Access, from uint64) (seqs []uint64, err error) {
	signals, err := p.signalsWithin(v, by)
	if err != nil {
		return nil, err
	}
	for sid := range signals {
		err := scan(v, p.key.messagesOn(sid), p.key.messageOn(sid, from), false, func(key []byte, _ struct{}) (bool, error) {
			seqs = append(seqs, binary.BigEndian.Uint64(key[len(key)-8:]))
			return true, nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(seqs)
	return seqs, nil
}

// signalsWithin are all that professionals within reach own, or owned when they ended.
func (p *Party) signalsWithin(v view, by *Access) (map[api.SID]bool, error) {
	signals := map[api.SID]bool{}
	for _, owner := range by.people() {
		err := scan(v, p.key.ownedBy(p.g.store.index.of("owner", p.key, owner)), nil, false, func(key []byte, _ struct{}) (bool, error) {
			reg, err := get[Registration](v, p.key.registration(idAt(key)))
			if err == nil && !reg.SID.IsZero() {
				signals[reg.SID] = true
			}
			return true, err
		})
		if err != nil {
			return nil, err
		}
	}
	return signals, nil
}

// fillMessagesOn makes the rows that tell what messages are about, in a store from
// before there were any.
func (p *Party) fillMessagesOn() error {
	made := p.key.table(tableMessageOn)
	if _, err := get[bool](p.g.store.view, made); !errors.Is(err, errAbsent) {
		return err
	}
	b := p.g.store.batch()
	defer b.close()
	err := scan(p.g.store.view, p.key.table(tableMessage), nil, false, func(_ []byte, msg Message) (bool, error) {
		b.put(p.key.messageOn(msg.SID, msg.Seq), struct{}{})
		return true, nil
	})
	if err != nil {
		return err
	}
	b.put(made, true)
	return b.commit()
}
