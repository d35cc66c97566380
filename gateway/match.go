// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/identity"
)

// A Match is the network around one child as the feed told it of one of our signals.
// It is written in the batch that keeps the messages it follows from.
type Match struct {
	ID     ID            `json:"id"`    // local; grows with time
	Match  api.MatchID   `json:"match"` // by which the registry knows it now
	Was    []api.MatchID `json:"was,omitempty"`
	SID    api.SID       `json:"sid"` // our own signal
	Began  time.Time     `json:"began"`
	Last   time.Time     `json:"last"`           // its last message
	Ended  time.Time     `json:"ended,omitzero"` // when there was nobody left, or our own signal ended
	Owners []Ownership   `json:"owners,omitempty"`
	Others []Member      `json:"others"`
}

// LogValue logs the match's id.
func (m Match) LogValue() slog.Value { return slog.StringValue(m.Match.String()) }

// A Member is another party in a match, once: with its last signal.
type Member struct {
	Other
	Present  bool      `json:"present,omitempty"`
	Since    time.Time `json:"since"`             // present, or gone
	Mistake  bool      `json:"mistake,omitempty"` // gone: its signal was one
	Seen     time.Time `json:"seen,omitzero"`     // when somebody first looked at who it is
	Last     time.Time `json:"last"`              // its last message
	Rev      uint64    `json:"rev,omitempty"`     // of its signal, whose card this is; zero when that was not kept
	Theirs   Said      `json:"theirs,omitzero"`   // what it last answered us
	Ours     Said      `json:"ours,omitzero"`     // what we last answered it, receipted
	TookOver TookOver  `json:"tookOver,omitzero"` // whose place it took
	Asked    Asked     `json:"asked,omitzero"`    // what we want to answer, not receipted
	Again    ID        `json:"again,omitzero"`    // the job that gives ours once more; see sendAgain
	Doubt    time.Time `json:"doubt,omitzero"`    // since when the registry may not know of it any more; see retold
}

// TookOver is a party of the match, and its signal, that another has taken over.
type TookOver struct {
	Party api.PartyID `json:"party"`
	Name  string      `json:"name,omitempty"`
	SID   api.SID     `json:"sid"`
}

// Said is an answer that was given.
type Said struct {
	Word   api.Answer `json:"word,omitempty"`
	At     time.Time  `json:"at,omitzero"`
	Number uint64     `json:"number,omitempty"` // of theirs
	User   string     `json:"user,omitempty"`   // who gave ours; see pseudonym
	Issued time.Time  `json:"issued,omitzero"`  // when the last act was signed that gave ours

	Incarnation encoding.Base64 `json:"incarnation,omitempty"` // the registry's that gave the receipt for ours
}

// Asked is an answer on its way, or one that was given up.
type Asked struct {
	Word  api.Answer `json:"word,omitempty"`
	At    time.Time  `json:"at,omitzero"`
	Job   ID         `json:"job,omitzero"`    // zero when it was given up
	Fault Code       `json:"fault,omitempty"` // why
}

// Present counts the others that are in the match now.
func (m Match) Present() (n int) {
	for _, o := range m.Others {
		if o.Present {
			n++
		}
	}
	return n
}

// told finds whom a message is about. A party chooses its sid: it can be another's.
func (m *Match) told(of Other) *Member {
	for i := range m.Others {
		if m.Others[i].Party == of.Party && m.Others[i].SID == of.SID {
			return &m.Others[i]
		}
	}
	return nil
}

// member finds the party that has a signal in the match.
func (m *Match) member(sid api.SID) *Member {
	for i := range m.Others {
		if m.Others[i].SID == sid {
			return &m.Others[i]
		}
	}
	return nil
}

// follow puts into a batch that can be read what a message makes of its match. A
// message that did not verify proves nothing, and changes nothing. It uses no more of
// the party than its part of the keys.
func (p *Party) follow(b *batch, msg Message) error {
	if msg.Problem != "" || msg.Match.IsZero() { // of a handover: to us, or of a signal that met nobody
		return nil
	}
	m, err := p.matchOf(b.view(), msg)
	if err != nil {
		return err
	}
	if m == nil {
		if msg.Other.Card.IsZero() { // about somebody whom we were never shown
			return nil
		}
		m = &Match{ID: newID(msg.Received), Match: msg.Match, SID: msg.SID, Began: msg.Received}
		if earlier, err := p.matchNamed(b.view(), msg.Match); err == nil { // of a signal of ours that has ended
			if err := p.forgetMatch(b, b.view(), earlier); err != nil {
				return err
			}
		} else if !errors.Is(err, errAbsent) {
			return err
		}
		b.put(p.key.matchOn(msg.SID, m.ID), struct{}{})
	}
	// Of one that left, an earlier name can be told late.
	if gone := msg.Kind == api.EventLeft || msg.Kind == api.EventEnded; !gone || !slices.Contains(m.Was, msg.Match) {
		p.rename(b, m, msg.Match)
	}
	b.put(p.key.matchID(msg.Match), m.ID)
	m.Last, m.Owners = msg.Received, msg.Owners
	m.hear(msg)
	b.put(p.key.match(m.ID), *m)
	return nil
}

// rename has a match go on under another name: two have met, one has parted, or it has
// formed again at a registry that was restored.
func (p *Party) rename(b *batch, m *Match, name api.MatchID) {
	if name == m.Match {
		return
	}
	if !slices.Contains(m.Was, m.Match) {
		m.Was = append(m.Was, m.Match)
	}
	m.Match = name
	b.put(p.key.matchID(name), m.ID)
}

// hear changes a match by a message.
func (m *Match) hear(msg Message) {
	other := m.told(msg.Other)
	switch msg.Kind {
	case api.EventJoined, api.EventCard:
		if msg.Other.Card.IsZero() { // it has left since
			return
		}
		if other == nil {
			m.Others = slices.DeleteFunc(m.Others, func(o Member) bool { return o.Party == msg.Other.Party })
			m.Others = append(m.Others, Member{Since: msg.Received})
			other = &m.Others[len(m.Others)-1]
		} else if !other.Present {
			other.Since, other.Seen = msg.Received, time.Time{}
		}
		other.Other, other.Rev, other.Present, other.Last, other.Doubt = msg.Other, msg.Rev, true, msg.Received, time.Time{}
		other.Mistake = false
	case api.EventLeft:
		if other != nil && other.Present {
			other.Present, other.Since, other.Last, other.Doubt = false, msg.Received, msg.Received, time.Time{}
			other.Mistake = msg.Mistake
		}
	case api.EventAnswer:
		if other != nil && msg.Answer != "" && msg.Number >= other.Theirs.Number {
			other.Theirs, other.Last = Said{Word: msg.Answer, At: msg.Received, Number: msg.Number}, msg.Received
		}
	case api.EventHandover:
		if from := m.member(msg.TookOver); other != nil && from != nil {
			other.TookOver, other.Last = TookOver{from.Party, from.Name, from.SID}, msg.Received
		}
	case api.EventEnded:
		for i := range m.Others {
			if o := &m.Others[i]; o.Present {
				o.Present, o.Since = false, msg.Received
			}
		}
		m.Ended = msg.Received
	}
}

// matchOf finds the match that a message is about: the one of that name, or else the
// one that our signal is in now. Nil when there is none.
func (p *Party) matchOf(v view, msg Message) (*Match, error) {
	named, err := p.matchNamed(v, msg.Match)
	switch {
	case err == nil && named.SID == msg.SID:
		return &named, nil
	case err != nil && !errors.Is(err, errAbsent):
		return nil, err
	}
	m, err := p.currentMatch(v, msg.SID)
	if m != nil && !m.Ended.IsZero() {
		m = nil
	}
	return m, err
}

// matchNamed reads the match that the registry has, or had, under a name; errAbsent when
// there is none.
func (p *Party) matchNamed(v view, name api.MatchID) (Match, error) {
	id, err := get[ID](v, p.key.matchID(name))
	if err != nil {
		return Match{}, err
	}
	return get[Match](v, p.key.match(id))
}

// currentMatch is the last match of a signal of ours, ended or not; nil when it never
// had one.
func (p *Party) currentMatch(v view, sid api.SID) (found *Match, err error) {
	err = scan(v, p.key.matchesOn(sid), nil, true, func(key []byte, _ struct{}) (bool, error) {
		m, err := get[Match](v, p.key.match(idAt(key)))
		found = &m
		return false, err
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// endMatches ends the match of every signal that goes with a batch. p.mu is held.
func (p *Party) endMatches(b *batch) error {
	for _, sid := range slices.Clone(b.ended) {
		m, err := p.currentMatch(p.g.store.view, sid)
		if err != nil {
			return err
		}
		if m == nil || !m.Ended.IsZero() {
			continue
		}
		m.Ended = p.g.now().UTC()
		b.put(p.key.match(m.ID), *m)
	}
	return nil
}

// sweepMatches forgets what is kept no longer, as it is with messages: of a signal that
// has ended, what came more than keepEnded ago. It looks without keeping anybody
// waiting.
func (p *Party) sweepMatches(v view) error {
	old := p.g.now().Add(-keepEnded)
	gone := func(o Member) bool { return o.Last.Before(old) }
	var ids []ID
	err := scan(v, p.key.table(tableMatch), nil, false, func(_ []byte, m Match) (bool, error) {
		_, err := get[Signal](v, p.key.signal(m.SID))
		if !errors.Is(err, errAbsent) {
			return true, err
		}
		if m.Last.Before(old) || slices.ContainsFunc(m.Others, gone) {
			ids = append(ids, m.ID)
		}
		return true, nil
	})
	if err != nil || len(ids) == 0 {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.g.store.batch()
	defer b.close()
	for _, id := range ids {
		m, err := get[Match](p.g.store.view, p.key.match(id))
		if errors.Is(err, errAbsent) {
			continue
		} else if err != nil {
			return err
		}
		m.Others = slices.DeleteFunc(m.Others, gone)
		if len(m.Others) > 0 && !m.Last.Before(old) {
			b.put(p.key.match(id), m)
		} else if err := p.forgetMatch(b, p.g.store.view, m); err != nil {
			return err
		}
	}
	return p.commit(b)
}

func (p *Party) forgetMatch(b *batch, v view, m Match) error {
	b.delete(p.key.match(m.ID))
	b.delete(p.key.matchOn(m.SID, m.ID))
	for _, name := range append(m.Was, m.Match) {
		if id, err := get[ID](v, p.key.matchID(name)); err == nil && id == m.ID {
			b.delete(p.key.matchID(name))
		} else if err != nil && !errors.Is(err, errAbsent) {
			return err
		}
	}
	return nil
}

// A MatchStatus is a match as it stands now.
type MatchStatus struct {
	Match
	Over bool // nobody is left, or our own signal has ended
}

// Settled tells whether no answer of ours is on its way.
func (s MatchStatus) Settled() bool {
	return !slices.ContainsFunc(s.Others, func(o Member) bool { return !o.Asked.Job.IsZero() })
}

// matchStatus completes a row: its owners are those at the time and those of now, and
// it is over when our signal is, swept or not.
func (p *Party) matchStatus(v view, m Match) (MatchStatus, error) {
	s := MatchStatus{Match: m, Over: !m.Ended.IsZero() || m.Present() == 0}
	var err error
	if s.Owners, err = p.ownersNow(v, m.SID, m.Owners); err != nil {
		return s, err
	}
	signal, err := get[Signal](v, p.key.signal(m.SID))
	switch {
	case errors.Is(err, errAbsent):
		s.Over = true
		return s, nil
	case err == nil && !signal.Live(identity.Today(p.g.now())):
		s.Over = true
	}
	return s, err
}

// matchByName reads a match by a name that the registry has or had for it.
func (p *Party) matchByName(v view, name api.MatchID) (MatchStatus, error) {
	m, err := p.matchNamed(v, name)
	if errors.Is(err, errAbsent) {
		return MatchStatus{}, ErrNotFound
	}
	if err != nil {
		return MatchStatus{}, err
	}
	return p.matchStatus(v, m)
}

// A MatchFilter chooses matches; the zero value chooses all.
type MatchFilter struct {
	Registration ID   // of the signal that this registration points to
	Active, Over bool // only those; both is all
}

// Matches lists matches, the newest first, beginning behind the one called from. more
// tells whether there are others.
func (p *Party) Matches(from ID, limit int, only MatchFilter) ([]MatchStatus, bool, error) {
	return p.matches(from, limit, only, nil)
}

// matches leaves out what is beyond the reach of by; nil reaches everything.
func (p *Party) matches(from ID, limit int, only MatchFilter, by *Access) (list []MatchStatus, more bool, err error) {
	v, release := p.g.store.snapshot()
	defer release()
	take := func(_ []byte, m Match) (bool, error) {
		s, err := p.matchStatus(v, m)
		if err != nil || only.Active != only.Over && s.Over != only.Over {
			return true, err
		}
		if !by.reachesAll() {
			if _, ok := by.sight(s); !ok {
				return true, nil
			}
		}
		if len(list) == limit {
			more = true
			return false, nil
		}
		list = append(list, s)
		return true, nil
	}
	var signals map[api.SID]bool
	switch {
	case !only.Registration.IsZero():
		reg, err := p.original(v, only.Registration)
		if err != nil || reg.SID.IsZero() {
			return nil, false, err
		}
		signals = map[api.SID]bool{reg.SID: true}
	case !by.reachesAll():
		if signals, err = p.signalsWithin(v, by); err != nil {
			return nil, false, err
		}
	default:
		var start []byte
		if !from.IsZero() {
			start = p.key.match(from)
		}
		err := scan(v, p.key.table(tableMatch), start, true, take)
		return list, more, err
	}
	ids, err := p.matchIDs(v, signals, from)
	if err != nil {
		return nil, false, err
	}
	for _, id := range ids {
		m, err := get[Match](v, p.key.match(id))
		if err != nil {
			return nil, false, err
		}
		if next, err := take(nil, m); err != nil || !next {
			return list, more, err
		}
	}
	return list, more, nil
}

// matchIDs are the matches of some signals, the newest first, behind the one called
// from.
func (p *Party) matchIDs(v view, signals map[api.SID]bool, from ID) (ids []ID, err error) {
	for sid := range signals {
		err := scan(v, p.key.matchesOn(sid), nil, false, func(key []byte, _ struct{}) (bool, error) {
			if id := idAt(key); from.IsZero() || bytes.Compare(id[:], from[:]) < 0 {
				ids = append(ids, id)
			}
			return true, nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(ids, func(x, y ID) int { return bytes.Compare(y[:], x[:]) })
	return ids, nil
}

// MatchByID reads one match by its name at the registry, now or earlier.
func (p *Party) MatchByID(name api.MatchID) (MatchStatus, error) {
	v, release := p.g.store.snapshot()
	defer release()
	return p.matchByName(v, name)
}

// sight is a match as an access may see it: without the owners out of its reach, and
// not at all where none is left.
func (a *Access) sight(s MatchStatus) (MatchStatus, bool) {
	s.Owners = a.SeesOwners(s.Owners)
	return s, a.Reach == ReachAll || len(s.Owners) > 0
}

// Matches lists as the party's, of what is within reach, without cards and codes; that
// they were read is in the log.
func (a *Access) Matches(from ID, limit int, only MatchFilter) (list []MatchStatus, more bool, err error) {
	if !only.Registration.IsZero() {
		if _, err := a.Party.within(a, only.Registration); err != nil {
			return nil, false, err
		}
	}
	list, more, err = a.Party.matches(from, limit, only, a)
	var touches []Touch
	for i := range list {
		list[i] = a.plain(list[i])
		touches = append(touches, Touch{Event: LogMatchRead, ObjectType: ObjectMatch, ObjectID: list[i].Match.Match.String(), SID: list[i].SID})
	}
	if err != nil {
		return nil, false, err
	}
	return list, more, a.Party.LogAccess(a, touches...)
}

// plain is a match without cards and codes.
func (a *Access) plain(s MatchStatus) MatchStatus {
	s, _ = a.sight(s)
	s.Others = slices.Clone(s.Others)
	for i := range s.Others {
		s.Others[i].Card, s.Others[i].Code = Card{}, ""
	}
	return s
}

// MatchOutcome is a match without cards and codes, for who has just done something
// about it: that is in the log already.
func (a *Access) MatchOutcome(name api.MatchID) (MatchStatus, error) {
	s, err := a.Party.MatchByID(name)
	if err != nil {
		return MatchStatus{}, err
	}
	if _, ok := a.sight(s); !ok {
		return MatchStatus{}, ErrNotFound
	}
	return a.plain(s), nil
}

// MatchByID reads one match with cards and codes; that they were read is in the log.
func (a *Access) MatchByID(name api.MatchID) (MatchStatus, error) {
	s, err := a.Party.MatchByID(name)
	if err != nil {
		return MatchStatus{}, err
	}
	s, ok := a.sight(s)
	if !ok {
		return MatchStatus{}, ErrNotFound
	}
	if a.Person != "" && slices.ContainsFunc(s.Others, Member.unseen) { // somebody looks, and not a program by itself
		if _, err := a.See(name); err != nil {
			return MatchStatus{}, err
		}
	}
	touches := []Touch{{Event: LogMatchRead, ObjectType: ObjectMatch, ObjectID: s.Match.Match.String(), SID: s.SID}}
	for _, o := range s.Others {
		touches = append(touches, TouchedMessages([]Message{{Match: s.Match.Match, SID: s.SID, Other: o.Other}})...)
	}
	return s, a.Party.LogAccess(a, touches...)
}
