// SPDX-License-Identifier: EUPL-1.2

// Package registry is the domain of the blind signal registry: signals, the
// matches they form, the events that tell parties of them, and the [Store] that
// keeps all three.
//
// The registry sees who signals, when, until when, and which signals meet. It
// does not see about whom: a child is a tag, and here a tag becomes an [Idx],
// its keyed hash. Nothing in this package can open a card or evaluate an
// identity, and it imports nothing that could.
//
// Data flows one way. A statement comes in, [Admission] judges it by signature,
// clock and policy, the matcher runs one transaction on one idx, and parties read
// their feeds with [Deliver]. Only the matcher changes a match.
package registry

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// ErrCorrupt says that a stored row is not what was stored: it does not open
// under its key, or does not decode. It is never ignored.
var ErrCorrupt = errors.New("registry: a stored row is damaged")

// An Idx stands for one child in one epoch: HMAC-SHA-256(pepper, u32 epoch ‖
// tag)[:16]. It is uniform, so any range of it is a fair share of the whole, and
// without the pepper it says nothing. It prints as [idx].
type Idx [16]byte

// Format prints [idx], whatever the verb.
func (Idx) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[idx]") }

// LogValue logs [idx].
func (Idx) LogValue() slog.Value { return slog.StringValue("[idx]") }

// A Signal is one party's stored registration of one child: the statement as it
// was signed, what it seals, and what the registry granted it.
type Signal struct {
	api.Statement
	Signed  api.Signed
	Sealed  []api.SealedFace
	Granted Granted
	Before  Before
	Offer   Offer
}

// Before is what is kept of a signal's earlier revisions. It is zero of a signal's
// first, and of one that was revised last before this was kept.
type Before struct {
	First  time.Time // when the registry took the first
	Others uint64    // the most others that any of them met
}

// An Offer is what a party last said of a signal of its own that another may take over; see
// api.Handover. It stays with the signal's revisions.
type Offer struct {
	api.Handover
	Number uint64 // of this one among the signal's, from 1; 0 of one that was never offered
	Taken  Acts   // that said so
}

// History is when the registry first took a signal, and the most others that any of
// its revisions met, as far as that was kept.
func (s Signal) History() Before {
	h := s.Before
	if h.First.IsZero() {
		h.First = s.Granted.Time
	}
	h.Others = max(h.Others, s.Granted.Others)
	return h
}

// Live tells whether the signal lives on the given day, swept or not.
func (s Signal) Live(today encoding.Date) bool { return s.Expires.Compare(today) > 0 }

// Face is the sealed card and keybox of an epoch.
func (s Signal) Face(epoch uint64) (api.SealedFace, bool) {
	for i, f := range s.Faces {
		if f.Epoch == epoch {
			return s.Sealed[i], true
		}
	}
	return api.SealedFace{}, false
}

// Granted is what a receipt says beyond the statement it answers. It is stored
// with the signal, so that the same statement gets the same receipt again.
type Granted struct {
	Incarnation [16]byte
	Others      uint64
	Leaf        api.Hash
	Time        time.Time
}

// A Tombstone stands where a signal has ended. It keeps no tag, card or keybox,
// and goes on Until.
type Tombstone struct {
	Rev     uint64   // the last revision
	Act     api.Hash // of the signed act that ended it; zero when the clock did
	Granted Granted  // of that act
	Until   encoding.Date
}

// A Match is the network around one child: two or more members, each of another
// party, and what they have answered each other. Answers are at most one for each
// ordered pair of members, and go with either of the two.
type Match struct {
	ID      api.MatchID
	Members []Member
	Answers []Answer
}

// Answer finds what one member answered another.
func (m Match) Answer(from, to Member) (Answer, bool) {
	i := slices.IndexFunc(m.Answers, Answer{From: from, To: to}.SamePair)
	if i < 0 {
		return Answer{}, false
	}
	return m.Answers[i], true
}

// An Answer is what one member of a match last answered another.
type Answer struct {
	From, To Member
	Word     api.Answer
	Number   uint64 // of this one among the sender's answers to the other, from 1
	Taken    Acts   // that said so
}

// SamePair tells whether an answer is of the same member to the same other.
func (a Answer) SamePair(b Answer) bool { return a.From == b.From && a.To == b.To }

// Taken is an act that was taken, by the hash of what was signed, and what it was
// granted.
type Taken struct {
	Act     api.Hash
	Granted Granted
}

// Acts are acts that said the same kind of thing, the last one at the end, and those before
// it that may still come again: none is taken twice, and each has its own receipt.
type Acts []Taken

// Find looks for an act among those taken.
func (a Acts) Find(act api.Hash) (Granted, bool) {
	i := slices.IndexFunc(a, func(t Taken) bool { return t.Act == act })
	if i < 0 {
		return Granted{}, false
	}
	return a[i].Granted, true
}

// Recent are the acts taken that may come again at a time. Of any other the time of
// issue is refused by then.
func (a Acts) Recent(now time.Time) (list Acts) {
	for _, t := range a {
		if !t.Granted.Time.Before(now.Add(-MaxAge - maxAhead)) {
			list = append(list, t)
		}
	}
	return list
}

// A Member is a party's signal in a match.
type Member struct {
	Party api.PartyID
	SID   api.SID
}

// An Event is one item of a feed, as stored. It holds no card, statement or answer:
// those are read from the signals and the match when the event is delivered, so what
// is destroyed in the meantime is not delivered.
type Event struct {
	ID        api.EventID
	Kind      api.EventKind
	Match     api.MatchID
	Epoch     uint64
	Idx       Idx
	Recipient Member
	Other     Member
	Rev       uint64 // the other's revision that caused the event, or the number of its answer or offer; or ByMistake
}

// ByMistake is the Rev of an event of kind left where the other has withdrawn its signal as
// a mistake. The event's id has 0, whatever the reason.
const ByMistake = 1

// An Epoch is what the idxs of a store are of.
type Epoch struct {
	Number uint64
	Since  time.Time // when the store moved to it; zero for its first
	Purged []uint64  // compromised epochs of which it holds no card and no lone signal any more
}

// Counts are what the registry took of a party on a UTC day: signals, new or revised,
// and acts other than withdrawals.
type Counts struct {
	Party   api.PartyID
	Signals uint64
	Acts    uint64
}

// A LogEntry is a leaf on its way to the log.
type LogEntry audit.Leaf

// Since is how long ago a day began in Europe/Amsterdam.
func Since(day encoding.Date, now time.Time) time.Duration {
	return now.Sub(day.In(encoding.Amsterdam))
}

// Today is the day it is in Europe/Amsterdam, where signals begin and end.
func Today(now time.Time) encoding.Date { return encoding.DateOf(now.In(encoding.Amsterdam)) }
