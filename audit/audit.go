// SPDX-License-Identifier: EUPL-1.2

// Package audit is the record of who did what, and its place in a Merkle log.
//
// A [Record] holds the fields of NEN 7513. It goes into the log as a [Leaf]:
//
//	leaf data = SHA-256(salt(32) ‖ record)
//	leaf hash = RFC 6962 record hash of the leaf data = SHA-256(0x00 ‖ leaf data)
//
// The log knows hashes only. Whoever erases a record and its salt leaves a tree
// that still proves everything else, and a hash that can no longer be guessed
// back: without the random salt, the few values a record can take could be
// tried one by one.
//
// A record never holds a tag or a national number, and its user is a pseudonym
// that only the party can resolve.
package audit

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// An Action is what was done to the object (NEN 7513, after DICOM).
type Action string

// Actions.
const (
	Create  Action = "C"
	Read    Action = "R"
	Update  Action = "U"
	Delete  Action = "D"
	Execute Action = "E"
)

// An Outcome tells how the act ended.
type Outcome string

// Outcomes.
const (
	Success Outcome = "success"
	Refused Outcome = "refused" // by a rule
	Failed  Outcome = "failed"  // by a fault
)

// ErrRecord says that a record lacks what it must have, or that bytes are not
// the one encoding of a record.
var ErrRecord = errors.New("audit: not a record")

// A Record is one line of the log of access. Event, Action, Outcome, Time and
// System are obligatory; the rest may be empty.
type Record struct {
	Event      string    // what happened, from the list of the system that writes it
	Action     Action    //
	Outcome    Outcome   //
	Time       time.Time // UTC, whole milliseconds
	Party      string    // the organisation that acted
	User       string    // pseudonym; only the party resolves it
	Role       string    // of the user
	OnBehalfOf string    // pseudonym
	Purpose    string    //
	Access     string    // network access point
	ObjectType string    // "signal", "match"
	ObjectID   string    // the signal's id, never a tag or a national number
	System     string    // the part that writes the record
	TraceID    string    //
}

const (
	labelRecord    = "seinhuis/1/record"
	labelPublished = "seinhuis/1/published"
	timeLayout     = "2006-01-02T15:04:05.000Z"
)

// Marshal gives the bytes of the record: E("seinhuis/1/record", event, action,
// outcome, time, party, user, role, on behalf of, purpose, access, object type,
// object id, system, trace id), time in RFC 3339 UTC with three decimals.
func (r Record) Marshal() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	return encoding.E(labelRecord, []byte(r.Event), []byte(r.Action), []byte(r.Outcome),
		[]byte(r.Time.UTC().Format(timeLayout)), []byte(r.Party), []byte(r.User), []byte(r.Role),
		[]byte(r.OnBehalfOf), []byte(r.Purpose), []byte(r.Access), []byte(r.ObjectType),
		[]byte(r.ObjectID), []byte(r.System), []byte(r.TraceID))
}

// ParseRecord reads what Marshal writes, and nothing else.
func ParseRecord(b []byte) (Record, error) {
	var r Record
	d := encoding.NewDecoder(b)
	d.Expect(labelRecord)
	r.Event = d.String()
	r.Action = Action(d.String())
	r.Outcome = Outcome(d.String())
	at := d.String()
	r.Party = d.String()
	r.User = d.String()
	r.Role = d.String()
	r.OnBehalfOf = d.String()
	r.Purpose = d.String()
	r.Access = d.String()
	r.ObjectType = d.String()
	r.ObjectID = d.String()
	r.System = d.String()
	r.TraceID = d.String()
	if err := d.Done(); err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	var err error
	if r.Time, err = time.Parse(timeLayout, at); err != nil || r.Time.Format(timeLayout) != at {
		return Record{}, fmt.Errorf("%w: its time is not UTC in milliseconds", ErrRecord)
	}
	if err := r.check(); err != nil {
		return Record{}, err
	}
	return r, nil
}

func (r Record) check() error {
	switch {
	case r.Event == "" || r.System == "":
		return fmt.Errorf("%w: event and system are obligatory", ErrRecord)
	case !slices.Contains([]Action{Create, Read, Update, Delete, Execute}, r.Action):
		return fmt.Errorf("%w: action is one of C, R, U, D, E", ErrRecord)
	case !slices.Contains([]Outcome{Success, Refused, Failed}, r.Outcome):
		return fmt.Errorf("%w: outcome is one of success, refused, failed", ErrRecord)
	case r.Time.Year() < 2000 || r.Time.Year() > 9999:
		return fmt.Errorf("%w: time is obligatory", ErrRecord)
	}
	return nil
}

// A Leaf is a record with the salt that hides it.
type Leaf struct {
	Salt   [32]byte
	Record []byte // as Record.Marshal gives it
}

// NewLeaf draws a salt for a record.
func NewLeaf(r Record) (Leaf, error) {
	record, err := r.Marshal()
	if err != nil {
		return Leaf{}, err
	}
	l := Leaf{Record: record}
	rand.Read(l.Salt[:])
	return l, nil
}

// A Kind is one of the notes that everybody may read.
type Kind string

// Kinds.
const (
	Manifest    Kind = "manifest"
	Directory   Kind = "directory"
	Destruction Kind = "destruction" // the certificate of a key that is no more
)

// Published is the leaf of a note that everybody may read. Its record is
// E("seinhuis/1/published", kind, SHA-256 of the note's text), and its salt is zero: so
// whoever has the note knows the hash to look for.
func Published(kind Kind, text [32]byte) Leaf {
	record, err := encoding.E(labelPublished, []byte(kind), text[:])
	if err != nil {
		panic(err) // of a kind that is longer than 65,535 bytes
	}
	return Leaf{Record: record}
}

// ParsePublished reads the record of a Published leaf.
func ParsePublished(record []byte) (kind Kind, text [32]byte, ok bool) {
	d := encoding.NewDecoder(record)
	d.Expect(labelPublished)
	kind = Kind(d.String())
	d.Fixed(text[:])
	return kind, text, d.Done() == nil
}

// Hash is the leaf's hash in the tree (RFC 6962 section 2.1).
func (l Leaf) Hash() [32]byte {
	data := sha256.Sum256(append(l.Salt[:], l.Record...))
	return tlog.RecordHash(data[:])
}
