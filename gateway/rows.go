// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/seal"
)

// An ID names a registration, job, report, import or match within its party: milliseconds (6
// bytes) ‖ sequence (2) ‖ random (8), so that ids grow with time. It is local:
// the registry never sees it.
type ID [16]byte

var lastID struct {
	sync.Mutex
	millis int64
	seq    uint16
}

func newID(now time.Time) (id ID) {
	lastID.Lock()
	defer lastID.Unlock()
	if ms := now.UnixMilli(); ms > lastID.millis {
		lastID.millis, lastID.seq = ms, 0
	} else if lastID.seq++; lastID.seq == 0 {
		lastID.millis++
	}
	binary.BigEndian.PutUint64(id[:], uint64(lastID.millis)<<16|uint64(lastID.seq))
	rand.Read(id[8:])
	return id
}

// ParseID reads 32 lower-case hexadecimal digits.
func ParseID(s string) (id ID, err error) {
	err = encoding.ParseHex(id[:], []byte(s))
	return id, err
}

func (id ID) String() string { return hex.EncodeToString(id[:]) }

// IsZero tells whether the id is absent.
func (id ID) IsZero() bool { return id == ID{} }

// MarshalText writes 32 hexadecimal digits.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (id *ID) UnmarshalText(b []byte) error { return encoding.ParseHex(id[:], b) }

// A State is where a registration stands.
type State string

// States of a registration.
const (
	StateQueued     State = "queued"      // its job is not done
	StateRegistered State = "registered"  // it made the signal that stands at the registry
	StateMerged     State = "merged"      // it joined a signal that stood
	StateRefused    State = "refused"     // it will not become a signal
	StateWithdrawn  State = "withdrawn"   // the party ended it
	StateExpired    State = "expired"     // the clock ended it
	StateHandedOver State = "handed over" // another party has taken it over
	StateLost       State = "lost"        // its signal was destroyed, and is to be made anew; see KindLost
)

// Stands tells whether a registration in this state owns a signal.
func (s State) Stands() bool { return s == StateRegistered || s == StateMerged }

// Ended tells whether nothing more will come of it.
func (s State) Ended() bool {
	return s == StateRefused || s == StateWithdrawn || s == StateExpired || s == StateHandedOver
}

// A Registration (aanmelding) is one professional's signal of one child.
type Registration struct {
	ID        ID          `json:"id"`
	Created   time.Time   `json:"created"`
	Owner     string      `json:"owner"`     // the professional, by the party's own name for him
	Reference string      `json:"reference"` // the party's own file number
	Report    ID          `json:"report,omitzero"`
	Import    ID          `json:"import,omitzero"`
	TermDays  int         `json:"termDays,omitempty"` // as asked; zero is the policy's
	State     State       `json:"state"`
	SID       api.SID     `json:"sid,omitzero"`  // the signal it points to
	Into      ID          `json:"into,omitzero"` // the registration that it repeats
	Job       ID          `json:"job,omitzero"`  // what is still to be done for it, the latest
	Ending    string      `json:"ending,omitempty"`
	Ended     time.Time   `json:"ended,omitzero"`
	HandedTo  api.PartyID `json:"handedTo,omitempty"` // who has taken it over
	Renewal   Renewal     `json:"renewal,omitzero"`   // the last that was asked
	Shielded  bool        `json:"shielded,omitempty"` // its owner is; see shield.go
	Warnings  []Code      `json:"warnings,omitempty"`
	Faults    []Fault     `json:"faults,omitempty"`

	Card     Card `json:"card,omitzero"`     // that the signal is still to get
	Transfer ID   `json:"transfer,omitzero"` // whose card that is
	Loss     Loss `json:"loss,omitzero"`     // until its signal stands again; SID is the one before
}

// LogValue logs the id and the state.
func (r Registration) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", r.ID.String()), slog.String("state", string(r.State)))
}

// A Card is a contact card as the store keeps it. It prints as [contact card].
type Card seal.Card

// Format prints [contact card], whatever the verb.
func (Card) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[contact card]") }

// LogValue logs [contact card].
func (Card) LogValue() slog.Value { return slog.StringValue("[contact card]") }

// IsZero tells whether nothing is on the card.
func (c Card) IsZero() bool { return c == Card{} }

// A Signal is what stands of one child at the registry under the party's name.
type Signal struct {
	SID api.SID `json:"sid"`
	Rev uint64  `json:"rev"`
	// Statement and Receipt are absent, and Expires too, when the registry told
	// of a signal that this store does not know.
	Statement api.Signed    `json:"statement,omitzero"`
	Receipt   api.Signed    `json:"receipt,omitzero"`
	Faces     []Face        `json:"faces"`
	Card      Card          `json:"card,omitzero"`
	CardOf    ID            `json:"cardOf,omitzero"` // the registration that brought it; zero is the first
	Expires   encoding.Date `json:"expires,omitzero"`
	Others    uint64        `json:"others"`         // other parties met at the receipt
	User      string        `json:"user,omitempty"` // who made the statement; see pseudonym
	Given     Given         `json:"given,omitzero"` // whether another may take it over
}

// Live tells whether the signal lives on a day, as far as is known here.
func (s Signal) Live(today encoding.Date) bool {
	return s.Expires.IsZero() || s.Expires.Compare(today) > 0
}

// A Face is what a gateway keeps of a signal in one epoch. The keybox is bound to
// the sid and rev beside it: those of the signal, or, when the registry told of
// it, those of the statement that was answered so.
type Face struct {
	Epoch  uint64          `json:"epoch"`
	SID    api.SID         `json:"sid"`
	Rev    uint64          `json:"rev"`
	Keybox encoding.Base64 `json:"keybox"`
	// Card as it was sent, sealed; absent where it was not kept, or another was sent.
	Card encoding.Base64 `json:"card,omitempty"`
}

// A JobKind says what is still to be done.
type JobKind string

// Kinds of jobs.
const (
	JobSignal   JobKind = "signal"
	JobRenew    JobKind = "renew"
	JobWithdraw JobKind = "withdraw"
	JobAnswer   JobKind = "answer"
	JobHandover JobKind = "handover"
	JobResend   JobKind = "resend" // what stood at a registry that was restored since
)

// act tells whether the job sends an act, and not a statement.
func (k JobKind) act() bool { return k == JobWithdraw || k == JobAnswer || k == JobHandover }

// A Job is what a gateway still has to do. It is deleted in the batch that stores
// its outcome.
type Job struct {
	ID           ID        `json:"id"` // of the first JobSignal of a registration: the registration's
	Kind         JobKind   `json:"kind"`
	Created      time.Time `json:"created"`
	Registration ID        `json:"registration"`    // zero of a JobAnswer, a JobHandover and a JobResend
	Import       ID        `json:"import,omitzero"` // the import that it comes from: single acts go first
	Report       ID        `json:"report,omitzero"` // the report that it comes from
	SID          api.SID   `json:"sid,omitzero"`    // of the signal, where it stands already
	Card         Card      `json:"card,omitzero"`
	TermDays     int       `json:"termDays,omitempty"`
	Reason       string    `json:"reason,omitempty"`   // of a withdrawal
	User         string    `json:"user,omitempty"`     // who asked, as the registry's log names him; see pseudonym
	TakesOver    api.SID   `json:"takesOver,omitzero"` // the signal of another party whose place it takes
	Bulk         bool      `json:"bulk,omitempty"`     // a card alone, of a transfer: nobody waits for it, and the term stays

	// Of a JobAnswer: which match, which signal in it, and what. Of a JobHandover: what is given.
	// Of both: the job that goes first.
	Match    ID           `json:"match,omitzero"`
	Other    api.SID      `json:"other,omitzero"`
	Answer   api.Answer   `json:"answer,omitempty"`
	Handover api.Handover `json:"handover,omitzero"`
	After    ID           `json:"after,omitzero"`

	// Again says of a JobAnswer or JobHandover that nobody asked for it: the registry was restored. Of a
	// JobResend it says that the very bytes were not taken.
	Again bool `json:"again,omitempty"`

	// Identity and Cohort are there while the job waits for the evaluators, and are
	// erased in the batch that stores Prepared.
	Identity []byte    `json:"identity,omitempty"`
	Cohort   int       `json:"cohort,omitempty"`
	Prepared *Prepared `json:"prepared,omitempty"`

	asked encoding.Base64 // the registry's incarnation when it was asked, as the feed had told; see overtaken
}

// Format prints the kind and the id: a job holds an identity.
func (j Job) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "[job %s %s]", j.Kind, j.ID) }

// LogValue logs the kind and the id.
func (j Job) LogValue() slog.Value { return slog.StringValue(fmt.Sprintf("%v", j)) }

// Prepared is what is sent, byte for byte, until there is a receipt.
type Prepared struct {
	SID     api.SID          `json:"sid"`
	Rev     uint64           `json:"rev"`
	Signed  api.Signed       `json:"signed"` // a statement or an act
	Epochs  []uint64         `json:"epochs,omitempty"`
	Faces   []api.SealedFace `json:"faces,omitempty"`
	Expires encoding.Date    `json:"expires,omitzero"`
}

// A Report (melding) is the reporting of several persons at once.
type Report struct {
	ID        ID            `json:"id"`
	Created   time.Time     `json:"created"`
	Reference string        `json:"reference"`
	Owner     string        `json:"owner"`
	Repeats   ID            `json:"repeats,omitzero"`  // the first report with this reference
	Before    ID            `json:"before,omitzero"`   // the one before this, with this reference
	DecideBy  encoding.Date `json:"decideBy,omitzero"` // by when its triage is decided; zero is unknown
	Persons   []Outcome     `json:"persons"`
}

// An Outcome is what became of one person in a report or row of an import: a
// registration, or the faults for which there is none.
type Outcome struct {
	Role         string  `json:"role"`
	Reference    string  `json:"reference"`
	Registration ID      `json:"registration,omitzero"`
	NotSignalled Code    `json:"notSignalled,omitempty"` // why there is no signal, if there may still be one
	Faults       []Fault `json:"faults,omitempty"`

	Elsewhere bool `json:"-"` // the signal has gone to somebody out of reach of who asks
}

// An Import is a file of signals that is handed over in chunks, each of them kept
// as importRows. Its rows are numbered from 1.
type Import struct {
	ID        ID        `json:"id"`
	Created   time.Time `json:"created"`
	Reference string    `json:"reference"`       // the party's own name for it, and its identity
	Of        string    `json:"of,omitempty"`    // whose name for it: of who does not see everything
	Round     int       `json:"round"`           // from 1: the same may be imported again
	Owner     string    `json:"owner,omitempty"` // of rows without one, like Card and TermDays
	Card      Card      `json:"card,omitzero"`
	TermDays  int       `json:"termDays,omitempty"`
	Total     int       `json:"total"` // rows that it will have
	Taken     int       `json:"taken"` // rows that are kept here, the first ones
	Counts    Counts    `json:"counts"`
	Settled   time.Time `json:"settled,omitzero"` // when the last row had its outcome
}

// Counts are how many rows of an import have which outcome. What ends a signal
// later is not counted.
type Counts struct {
	Queued       int `json:"queued,omitempty"`
	Registered   int `json:"registered,omitempty"`
	Merged       int `json:"merged,omitempty"`
	Refused      int `json:"refused,omitempty"`
	Adult        int `json:"adult,omitempty"`     // of those refused, for nothing but that
	Withdrawn    int `json:"withdrawn,omitempty"` // before it stood
	NotSignalled int `json:"notSignalled,omitempty"`
}

// importRows are the rows of one chunk of an import, and what became of them when
// they were taken on. The fingerprint is of what was sent.
type importRows struct {
	First       int       `json:"first"`
	Fingerprint [16]byte  `json:"fingerprint"`
	Rows        []Outcome `json:"rows"`
}

// replay remembers what an idempotency key led to. The fingerprint is of what the
// request says beside the identity.
type replay struct {
	Created      time.Time `json:"created"`
	Fingerprint  [16]byte  `json:"fingerprint"`
	Registration ID        `json:"registration,omitzero"`
	Report       ID        `json:"report,omitzero"`
}

// feedState is how far a party's feed has been kept.
type feedState struct {
	Cursor string    `json:"cursor"`
	Seq    uint64    `json:"seq"`            // of the last message
	Lacks  time.Time `json:"lacks,omitzero"` // what the registry may lack is still to be sent from

	Incarnation encoding.Base64 `json:"incarnation,omitempty"` // the registry's
}

// A Message is an event of the feed as the inbox keeps it.
type Message struct {
	Seq      uint64        `json:"seq"`
	ID       api.EventID   `json:"id"`
	Received time.Time     `json:"received"`
	Kind     api.EventKind `json:"kind"`
	Match    api.MatchID   `json:"match"`
	SID      api.SID       `json:"sid"` // our own signal
	Owners   []Ownership   `json:"owners,omitempty"`
	Other    Other         `json:"other"`
	Answer   api.Answer    `json:"answer,omitempty"`  // the other's last one; absent when it or we have left since
	Number   uint64        `json:"number,omitempty"`  // of the answer
	TookOver api.SID       `json:"tookOver,omitzero"` // the signal of our match whose place the other's has taken
	Mistake  bool          `json:"mistake,omitempty"` // why the other has left
	Until    encoding.Date `json:"until,omitzero"`    // the last day on which the other's signal can be taken over
	Rev      uint64        `json:"rev,omitempty"`     // of the other's signal, whose card this is
	Problem  Code          `json:"problem,omitempty"` // why it was not verified or opened

	nothing bool // it tells of a handover to somebody who has left since
}

// Ownership names a registration behind a signal.
type Ownership struct {
	Registration ID     `json:"registration"`
	Owner        string `json:"owner"`
	Reference    string `json:"reference"`
	Team         string `json:"team,omitempty"` // of the owner, when a message came

	forgotten bool // the registration: who had it last is not known any more
}

// Other is the other party of an event. Card and Code are there only when all
// has been verified.
type Other struct {
	Party api.PartyID `json:"party"`
	Name  string      `json:"name,omitempty"`
	Kind  string      `json:"kind,omitempty"`
	SID   api.SID     `json:"sid"`
	Card  Card        `json:"card,omitzero"`
	Code  string      `json:"code,omitempty"`
}
