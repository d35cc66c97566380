// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"errors"
	"slices"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/calendar"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/identity"
)

// What the gateway tells by itself: that a signal is about to expire, and that nobody has
// looked at who has joined a match. Such a message goes the way of all others: to the inbox,
// to subscriptions and by mail. No registry tells it.

// KindUnseen rings once more, each working day, until somebody has seen who joined.
const KindUnseen api.EventKind = "unseen"

// expiresIn is how many days before a signal expires its owners are told, the last first.
var expiresIn = []int{7, 30}

// ringFrom is from what hour of a working day somebody is rung once more.
const ringFrom = 9

// ownKind tells whether messages of a kind are the gateway's own.
func ownKind(kind api.EventKind) bool {
	return kind == KindLost || kind == KindUnseen || kind == api.EventExpiring
}

// RenewalReasons are why a signal is renewed, by the API's names. The registry is not told.
var RenewalReasons = []string{"nogBetrokken", "nieuweZorgen", "opvolging", "overdracht"}

// A Renewal is the last that was asked of a registration.
type Renewal struct {
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"` // one of RenewalReasons, or none was given
}

// sweepReminders tells what is to be told by now, and was not.
func (p *Party) sweepReminders(v view) error {
	var due []Message
	if err := errors.Join(p.expiring(v, &due), p.unseen(v, &due)); err != nil || len(due) == 0 {
		return err
	}
	return p.keep(due, func(*feedState) {}, time.Time{})
}

// remind adds a message unless it was told before. Its id is made of what it is about, so that
// a crash does not have it told twice.
func (p *Party) remind(v view, due *[]Message, msg Message, number uint64) (err error) {
	other, sid := msg.Other.Party, msg.Other.SID
	if other == "" {
		other, sid = p.id, msg.SID
	}
	if msg.ID, err = api.EventIDOf(p.id, msg.SID, other, sid, msg.Kind, number); err != nil {
		return err
	}
	_, err = get[uint64](v, p.key.event(msg.ID))
	if errors.Is(err, errAbsent) {
		msg.Received = p.g.now().UTC()
		*due, err = append(*due, msg), nil
	}
	return err
}

// expiring finds signals that expire soon. One that was made or renewed for no longer than
// that is nobody's surprise.
func (p *Party) expiring(v view, due *[]Message) error {
	today := identity.Today(p.g.now())
	return scan(v, p.key.table(tableSignal), nil, false, func(_ []byte, s Signal) (bool, error) {
		if s.Expires.IsZero() || !s.Live(today) {
			return true, nil
		}
		for _, days := range expiresIn {
			from := s.Expires.AddDate(0, 0, -days)
			if today.Compare(from) < 0 {
				continue
			}
			st, err := api.ParseStatement(s.Statement.Signed)
			if err != nil || identity.Today(st.Issued).Compare(from) >= 0 {
				continue
			}
			msg := Message{Kind: api.EventExpiring, SID: s.SID, Until: s.Expires}
			return true, p.remind(v, due, msg, numberOf(s.Expires)*100+uint64(days))
		}
		return true, nil
	})
}

// numberOf writes a day as yyyymmdd.
func numberOf(d encoding.Date) uint64 {
	return uint64(d.Year)*10000 + uint64(d.Month)*100 + uint64(d.Day)
}

// unseen finds matches with somebody in them who joined before the last working day and
// whom nobody has seen.
func (p *Party) unseen(v view, due *[]Message) error {
	now := p.g.now()
	m, _ := p.g.roots.known()
	if m == nil || now.In(encoding.Amsterdam).Hour() < ringFrom {
		return nil
	}
	today := identity.Today(now)
	days, ok := calendar.ByName(m.Policy.Calendar)
	if !ok || !days.Working(today.In(time.UTC)) {
		return nil
	}
	return scan(v, p.key.table(tableMatch), nil, false, func(_ []byte, m Match) (bool, error) {
		i := slices.IndexFunc(m.Others, func(o Member) bool {
			return o.unseen() && encoding.DateOf(days.AddWorkingDays(identity.Today(o.Since).In(time.UTC), 1)).Compare(today) <= 0
		})
		if i < 0 || !m.Ended.IsZero() {
			return true, nil
		}
		signal, err := get[Signal](v, p.key.signal(m.SID))
		if errors.Is(err, errAbsent) || err == nil && !signal.Live(today) {
			return true, nil
		} else if err != nil {
			return false, err
		}
		o := m.Others[i]
		msg := Message{Kind: KindUnseen, Match: m.Match, SID: m.SID, Other: Other{Party: o.Party, Name: o.Name, Kind: o.Kind, SID: o.SID}}
		return true, p.remind(v, due, msg, numberOf(today))
	})
}

// unseen tells whether a member is there and nobody has looked.
func (o Member) unseen() bool {
	return o.Present && o.Seen.IsZero() && o.Ours.Word == "" && o.Asked.Job.IsZero()
}

// see marks all that are in a match as seen, and tells whether any was not.
func (m *Match) see(now time.Time) (any bool) {
	for i := range m.Others {
		if o := &m.Others[i]; o.unseen() {
			o.Seen, any = now.UTC(), true
		}
	}
	return any
}

// See says that somebody has seen who is in a match, so that it rings no more.
func (a *Access) See(name api.MatchID) (MatchStatus, error) {
	s, err := a.MatchOutcome(name)
	if err != nil {
		return s, err
	}
	p := a.Party
	p.mu.Lock()
	defer p.mu.Unlock()
	m, err := p.matchNamed(p.g.store.view, name)
	if errors.Is(err, errAbsent) {
		return MatchStatus{}, ErrNotFound
	} else if err != nil {
		return MatchStatus{}, err
	}
	if m.see(p.g.now()) {
		b := p.g.store.batch()
		defer b.close()
		b.put(p.key.match(m.ID), m)
		p.logAccess(b, a, Touch{Event: LogMatchSeen, ObjectType: ObjectMatch, ObjectID: m.Match.String(), SID: m.SID})
		if err := p.commit(b); err != nil {
			return MatchStatus{}, err
		}
	}
	s.Match = m
	return a.plain(s), nil
}
