// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"crypto/sha256"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// An EventKind says what an event tells.
type EventKind string

// Kinds of events. The registry sends joined, left, ended, card, answer and handover; the
// others are reserved for what follows a match.
const (
	EventJoined     EventKind = "joined"     // another party signals the same child
	EventLeft       EventKind = "left"       // its signal ended, for whatever reason
	EventEnded      EventKind = "ended"      // fewer than two are left: the match is over
	EventCard       EventKind = "card"       // it has a new revision of its card
	EventAnswer     EventKind = "answer"     // it has answered the match
	EventUnanswered EventKind = "unanswered" //
	EventLead       EventKind = "lead"       //
	EventHandover   EventKind = "handover"   // one party takes over, or may take over, the signal of another
	EventExpiring   EventKind = "expiring"   //
	EventRemoved    EventKind = "removed"    //
)

// An EventID is stable: a feed holds it once, however often it was told.
type EventID [16]byte

// EventIDOf is SHA-256(E("seinhuis/1/event", recipient, own sid, other party,
// other sid, kind, rev))[:16]; rev is the other's revision that caused it, and of an
// answer its number: 1 for the other's first answer to the recipient, then 2, ….
func EventIDOf(recipient PartyID, own SID, other PartyID, otherSID SID, kind EventKind, rev uint64) (EventID, error) {
	b, err := encoding.E(labelEvent, []byte(recipient), own[:], []byte(other), otherSID[:], []byte(kind), encoding.Int(rev))
	if err != nil {
		return EventID{}, err
	}
	h := sha256.Sum256(b)
	return EventID(h[:16]), nil
}

// MarshalText writes 32 hexadecimal digits.
func (e EventID) MarshalText() ([]byte, error) { return MatchID(e).MarshalText() }

// UnmarshalText reads what MarshalText writes.
func (e *EventID) UnmarshalText(b []byte) error { return encoding.ParseHex(e[:], b) }

func (e EventID) String() string { return MatchID(e).String() }

// An Event is one item of a party's feed, as it travels. It says of the other
// party who it is and, sealed, how to reach it; of the recipient it gives back
// what it needs to open that without memory.
type Event struct {
	ID    EventID    `json:"id"`
	Kind  EventKind  `json:"kind"`
	Match MatchID    `json:"match"`
	Epoch uint64     `json:"epoch"`
	Other EventOther `json:"other"`
	Own   EventOwn   `json:"own"`
	// Answer is there with kind answer, as long as both signals live: the other's last
	// one to the recipient, whose number is Other.Rev.
	Answer Answer `json:"answer,omitempty"`
	// Mistake is there with kind left where the other has withdrawn its signal as one.
	Mistake bool `json:"mistake,omitempty"`
	// Until is there with kind handover and no Own.SID, as long as the recipient may take over
	// the other's signal: the last day on which it may.
	Until encoding.Date `json:"until,omitzero"`
}

// EventOther is what an event says of the other party. Rev is the revision of
// Card, the newest that stands; with no Card it is the revision that the event
// is about, or the number of the answer or of what is offered. Card is absent when the signal has ended
// since.
type EventOther struct {
	Party PartyID         `json:"party"`
	SID   SID             `json:"sid"`
	Rev   uint64          `json:"rev"`
	Card  encoding.Base64 `json:"card,omitempty"`
	// TakesOver is there with kind handover to who is in the match with Other, as long as both
	// signals live: the signal that Other has taken over.
	TakesOver SID `json:"takesOver,omitzero"`
}

// EventOwn is the recipient's own signal: its statement and the keybox of the
// event's epoch. Both are absent when the recipient's signal has ended since. SID and Match are
// zero where a handover is offered: that is about no signal of the recipient's.
type EventOwn struct {
	SID SID `json:"sid"`
	Signed
	Keybox encoding.Base64 `json:"keybox,omitempty"`
}
