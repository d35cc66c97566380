// SPDX-License-Identifier: EUPL-1.2

package matcher_test

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/anishathalye/porcupine"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// The registry of one child, one deed after the other, for porcupine.

type deedIn struct {
	kind    string // submit, withdraw, answer, read, sweep or midnight
	child   int
	party   int
	sid     api.SID
	rev     uint64
	hash    api.Hash
	expires encoding.Date // or the new day
	other   api.SID       // who is answered
	match   api.MatchID   // in which match
	born    string        // the same, by who made it
}

type deedOut struct {
	unknown bool
	code    string // "" is taken
	created bool
	sid     api.SID
	rev     uint64
	others  int
	told    []toldLine
}

// A toldLine is an event as its recipient reads it.
type toldLine struct {
	kind       api.EventKind
	own, other api.SID
	match      api.MatchID
	born       string // of joined
}

type modelSignal struct {
	party, others int
	sid           api.SID
	rev           uint64
	hash          api.Hash
	expires       encoding.Date
}

type modelGrave struct {
	act    api.Hash
	others int
}

// A childState is not changed: each deed makes another one.
type childState struct {
	today   encoding.Date
	live    map[api.SID]modelSignal // the clock's work done or not
	members []api.SID               // in the order in which they came
	born    string
	answers map[api.SID]map[api.Hash]api.SID // by who answered: the act, and whom
	graves  map[api.SID]modelGrave
	told    [tellers][]toldLine
	name    string // everything above, spelt
}

var childModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		parts := make([][]porcupine.Operation, childrenOfRow6)
		for _, op := range history {
			child := op.Input.(deedIn).child
			parts[child] = append(parts[child], op)
		}
		return parts
	},
	Init: func() any { return &childState{} },
	Step: func(before, in, out any) (bool, any) {
		return before.(*childState).step(in.(deedIn), out.(deedOut))
	},
	Equal: func(a, b any) bool { return a.(*childState).name == b.(*childState).name },
}

// step tells whether a deed may come to what it came to, and what is so after it.
func (s *childState) step(in deedIn, out deedOut) (bool, *childState) {
	switch in.kind {
	case "read":
		return slices.Equal(s.told[in.party], out.told), s
	case "midnight":
		next := s.clone()
		next.today = in.expires
		return true, next.named()
	}
	next := s.clone()
	next.expire()
	got := deedOut{}
	switch in.kind {
	case "submit":
		got = next.submit(in)
	case "withdraw", "answer":
		got = next.act(in)
	}
	if !out.unknown && (got.code != out.code || got.created != out.created || got.sid != out.sid || got.rev != out.rev || got.others != out.others && in.kind != "answer") {
		return false, s
	}
	if got.code != "" {
		return true, s // a refusal leaves nothing behind, not the clock's work either
	}
	return true, next.named()
}

func (s *childState) submit(in deedIn) deedOut {
	var stored *modelSignal
	for _, o := range s.live {
		if o.party == in.party {
			stored = &o
		}
	}
	same := stored != nil && stored.sid == in.sid
	_, ended := s.graves[in.sid]
	switch {
	case same && stored.hash == in.hash:
		return deedOut{sid: stored.sid, rev: stored.rev, others: stored.others}
	case in.expires.Compare(s.day()) <= 0:
		return deedOut{code: string(api.CodeExpires)}
	case same && in.rev != stored.rev+1:
		return deedOut{code: string(api.CodeRevision)}
	case !same && ended:
		return deedOut{code: string(api.CodeGone)}
	case !same && in.rev != 1:
		return deedOut{code: string(api.CodeRevision)}
	case !same && stored != nil:
		return deedOut{sid: stored.sid, rev: stored.rev, others: stored.others}
	}
	now := modelSignal{party: in.party, sid: in.sid, rev: in.rev, hash: in.hash, expires: in.expires, others: len(s.live)}
	if same {
		now.others--
	}
	s.live[in.sid] = now
	s.settle(in.sid)
	for _, o := range s.live {
		if same && o.sid != in.sid {
			s.tell(o.sid, api.EventCard, in.sid)
		}
	}
	return deedOut{created: true, sid: in.sid, rev: in.rev, others: now.others}
}

// day is the day that the history began on until a midnight says another.
func (s *childState) day() encoding.Date {
	if s.today == (encoding.Date{}) {
		return firstDay
	}
	return s.today
}

var firstDay = encoding.Date{Year: 2026, Month: 3, Day: 10} // of matchertest

func (s *childState) act(in deedIn) deedOut {
	grave, gone := s.graves[in.sid]
	if gone && grave.act == in.hash {
		return deedOut{sid: in.sid, rev: in.rev, others: grave.others}
	}
	stored, stands := s.live[in.sid]
	_, said := s.answers[in.sid][in.hash]
	switch {
	case said:
		return deedOut{sid: in.sid, rev: in.rev}
	case !gone && !stands:
		return deedOut{code: string(api.CodeUnknownSignal)}
	case !stands:
		return deedOut{code: string(api.CodeGone)}
	case in.rev != stored.rev:
		return deedOut{code: string(api.CodeRevision)}
	case in.kind == "withdraw":
		others := len(s.live) - 1
		s.bury(in.sid, modelGrave{in.hash, others})
		s.settle(api.SID{})
		return deedOut{created: true, sid: in.sid, rev: in.rev, others: others}
	case s.born == "" || in.born != s.born || !slices.Contains(s.members, in.other) || in.other == in.sid:
		return deedOut{code: string(api.CodeMatch)}
	}
	if s.answers[in.sid] == nil {
		s.answers[in.sid] = make(map[api.Hash]api.SID)
	}
	s.answers[in.sid][in.hash] = in.other
	s.tell(in.other, api.EventAnswer, in.sid)
	return deedOut{created: true, sid: in.sid, rev: in.rev}
}

// expire ends day by day what the clock has ended.
func (s *childState) expire() {
	days := make(map[encoding.Date][]api.SID)
	for sid, o := range s.live {
		if o.expires.Compare(s.day()) <= 0 {
			days[o.expires] = append(days[o.expires], sid)
		}
	}
	for _, day := range slices.SortedFunc(maps.Keys(days), encoding.Date.Compare) {
		for _, sid := range days[day] {
			s.bury(sid, modelGrave{})
		}
		s.settle(api.SID{})
	}
}

func (s *childState) bury(sid api.SID, grave modelGrave) {
	delete(s.live, sid)
	s.graves[sid] = grave
	delete(s.answers, sid)
	for _, acts := range s.answers {
		maps.DeleteFunc(acts, func(_ api.Hash, to api.SID) bool { return to == sid })
	}
}

// settle brings the match in line with who lives; the newcomer is the last of them.
func (s *childState) settle(newcomer api.SID) {
	var stay, left []api.SID
	for _, m := range s.members {
		if _, lives := s.live[m]; lives {
			stay = append(stay, m)
		} else {
			left = append(left, m)
		}
	}
	for _, gone := range left {
		for _, m := range stay {
			s.tell(m, api.EventLeft, gone)
		}
	}
	if len(s.live) < 2 {
		for _, m := range stay {
			s.tell(m, api.EventEnded, left[len(left)-1])
		}
		s.members, s.born = nil, ""
		return
	}
	if len(stay) == 0 { // two make it, and are told when the second joins
		for sid := range s.live {
			if sid != newcomer {
				stay = append(stay, sid)
			}
		}
	}
	if _, lives := s.live[newcomer]; lives && !slices.Contains(stay, newcomer) {
		joined := newcomer
		if s.born == "" {
			s.born = bornName(stay[0], joined)
		}
		for _, m := range stay {
			s.tell(m, api.EventJoined, joined)
			s.tell(joined, api.EventJoined, m)
		}
		stay = append(stay, joined)
	}
	s.members = stay
}

func (s *childState) tell(to api.SID, kind api.EventKind, other api.SID) {
	l := toldLine{kind: kind, own: to, other: other}
	if kind == api.EventJoined {
		l.born = s.born
	}
	party := s.live[to].party
	s.told[party] = append(slices.Clip(s.told[party]), l)
}

func (s *childState) clone() *childState {
	next := *s
	next.live, next.graves = maps.Clone(s.live), maps.Clone(s.graves)
	next.answers = make(map[api.SID]map[api.Hash]api.SID, len(s.answers))
	for from, acts := range s.answers {
		next.answers[from] = maps.Clone(acts)
	}
	if next.live == nil {
		next.live, next.graves = make(map[api.SID]modelSignal), make(map[api.SID]modelGrave)
	}
	return &next
}

// named spells a state, so that two can be compared. It is most of what porcupine does.
func (s *childState) named() *childState {
	b := make([]byte, 0, 1024)
	number := func(numbers ...int) {
		for _, n := range numbers {
			b = binary.AppendVarint(b, int64(n))
		}
	}
	date := func(d encoding.Date) { number(d.Year, int(d.Month), d.Day) }
	text := func(t string) {
		number(len(t))
		b = append(b, t...)
	}
	date(s.today)
	number(len(s.live))
	for _, sid := range sorted(s.live) {
		o := s.live[sid]
		b = append(append(append(b, sid[:]...), o.sid[:]...), o.hash[:]...)
		number(o.party, o.others, int(o.rev))
		date(o.expires)
	}
	number(len(s.members))
	for _, sid := range s.members {
		b = append(b, sid[:]...)
	}
	text(s.born)
	number(len(s.answers))
	for _, from := range sorted(s.answers) {
		b = append(b, from[:]...)
		number(len(s.answers[from]))
		for _, act := range slices.SortedFunc(maps.Keys(s.answers[from]), func(a, b api.Hash) int { return bytes.Compare(a[:], b[:]) }) {
			to := s.answers[from][act]
			b = append(append(b, act[:]...), to[:]...)
		}
	}
	number(len(s.graves))
	for _, sid := range sorted(s.graves) {
		g := s.graves[sid]
		b = append(append(b, sid[:]...), g.act[:]...)
		number(g.others)
	}
	for _, told := range s.told {
		number(len(told))
		for _, l := range told {
			b = append(append(append(b, l.own[:]...), l.other[:]...), l.match[:]...)
			text(string(l.kind))
			text(l.born)
		}
	}
	s.name = string(b)
	return s
}

func sorted[V any](of map[api.SID]V) []api.SID {
	return slices.SortedFunc(maps.Keys(of), func(a, b api.SID) int { return bytes.Compare(a[:], b[:]) })
}
