// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"regexp"
	"time"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// Version is the full version of the HTTP APIs, in the API-Version header of
// every response.
const Version = "1.0.0"

// Limits of what travels, in force on both sides.
const (
	MaxElements   = 64       // elements in one evaluation
	MaxCard       = 4096     // bytes of a sealed card; the length follows its version
	MaxKeybox     = 4096     // bytes of a keybox; the length follows its version
	MaxStatement  = 4096     // bytes of a signed statement or act
	MaxBody       = 64 << 10 // bytes of a request body
	MaxEvents     = 100      // events in one answer
	MaxWait       = 60       // seconds of a long poll
	MaxEventsBody = 2 << 20  // bytes of an answer with events
	MaxImport     = 10_000   // submissions in one import: they become durable together
	MaxImportBody = 32 << 20 // bytes of a body of an import
)

// AnswerNumbers is of what the numbers of answers begin at a multiple when the registry was
// restored from a backup: as many times as seconds since 1970 had passed by then. So none
// is given that was given before, even by a restored registry that was restored again.
const AnswerNumbers = 1 << 20

// Evaluate asks an evaluator to evaluate blinded elements under its share of one
// cohort's key in one epoch.
type Evaluate struct {
	Epoch    uint64            `json:"epoch"`
	Cohort   int               `json:"cohort"`
	Sharing  uint64            `json:"sharing"`
	Elements []encoding.Base64 `json:"elements"` // 1 to MaxElements, 32 bytes each
	Purpose  string            `json:"purpose,omitempty"`
}

// PurposeReport says that an evaluation is for persons in a report alone: the
// evaluator spends its reserve for reports when the budget is spent.
const PurposeReport = "report"

// Limit is how much may be done until it is new, and how much of it has been done.
type Limit struct {
	Limit int       `json:"limit"`
	Spent int       `json:"spent"`
	Until time.Time `json:"until"` // the start of the next UTC day or month
}

// Budget is what a party has left at an evaluator, in elements. Left fit now without
// the reserve; with grants in force that can be less than Day and Month say.
type Budget struct {
	Left    int   `json:"left"`
	Day     Limit `json:"day"`
	Month   Limit `json:"month"`
	Reserve Limit `json:"reserve"` // for reports, above the other two
}

// Quota is what a party has left at the registry. Withdrawals are no acts here.
type Quota struct {
	Signals Limit `json:"signals"` // new ones and revisions
	Acts    Limit `json:"acts"`
}

// Usage is what the registry took of every party on a UTC day.
type Usage struct {
	Day   encoding.Date `json:"day"`
	Items []PartyUsage  `json:"items"` // by party; those who did nothing are left out
}

// PartyUsage is what the registry took of one party.
type PartyUsage struct {
	Party   PartyID `json:"party"`
	Signals int     `json:"signals"` // new ones and revisions, also of a child that the party signals already
	Acts    int     `json:"acts"`    // withdrawals aside
}

// MaxLogQuery is how many leaves are asked for at once.
const MaxLogQuery = 500

// LogQuery asks where leaves are in the log, when it had a size.
type LogQuery struct {
	Size   int64  `json:"size"`
	Leaves []Hash `json:"leaves"`
}

// LogProofs answers a LogQuery, in its order; what is not in the log is left out.
type LogProofs struct {
	Items []LogProof `json:"items"`
}

// LogProof says which number a leaf has, and proves it (RFC 6962, section 2.1.1).
type LogProof struct {
	Leaf   Hash   `json:"leaf"`
	Number int64  `json:"number"`
	Hashes []Hash `json:"hashes"`
}

// LogConsistency proves that the log of one size goes on from that of another (RFC 6962,
// section 2.1.2).
type LogConsistency struct {
	Hashes []Hash `json:"hashes"`
}

// Evaluated answers Evaluate: the elements in the same order, and one proof for
// the batch against the evaluator's share key.
type Evaluated struct {
	Index    int               `json:"index"` // of the evaluator, from 1
	Sharing  uint64            `json:"sharing"`
	Elements []encoding.Base64 `json:"elements"`
	Proof    encoding.Base64   `json:"proof"` // 64 bytes: c ‖ s
}

// Submission is a new signal or a new revision of one. Faces are in the order
// of the statement's.
type Submission struct {
	Signed
	Faces []SealedFace `json:"faces"`
	User  string       `json:"user,omitempty"` // see ValidUser
}

// ValidUser tells whether a text can stand for the professional in the registry's log: a
// pseudonym that only the party resolves (NEN 7513), or nothing. It is not signed, and
// nothing but the log has it.
func ValidUser(user string) bool { return user == "" || pseudonym.MatchString(user) }

var pseudonym = regexp.MustCompile(`^[A-Za-z0-9_-]{8,32}$`)

// SealedFace is what the statement's hashes speak of.
type SealedFace struct {
	Card   encoding.Base64 `json:"card"`
	Keybox encoding.Base64 `json:"keybox"`
}

// Accepted answers a submission or an act. With status 201 the statement is
// stored; with 200 it had been stored before (the receipt is the same again), or
// the party signals this child already: then SID and Rev are the existing
// signal's and the receipt is that one's.
type Accepted struct {
	SID     SID    `json:"sid"`
	Rev     uint64 `json:"rev"`
	Receipt Signed `json:"receipt"`
}

// Imported answers one submission of an import: the status and the body that it
// would have got alone, or the status and code of its refusal.
type Imported struct {
	Status  int     `json:"status"`
	Code    Code    `json:"code,omitempty"`
	SID     SID     `json:"sid,omitzero"`
	Rev     uint64  `json:"rev,omitempty"`
	Receipt *Signed `json:"receipt,omitempty"`
}

// ActRequest carries a signed act.
type ActRequest struct {
	Signed
	User string `json:"user,omitempty"` // see ValidUser
}

// Events is a piece of a party's feed. Next is the cursor to ask with the next
// time; asking with it says that everything before it has been kept.
type Events struct {
	Items []Event `json:"items"`
	Next  string  `json:"next"`
	// Lacks is there when the registry was restored from a backup since the cursor was
	// given: what its receipts date from then on it may not have any more.
	Lacks time.Time `json:"lacks,omitzero"`
	// Incarnation is the registry's now, as in the receipts that it gives; 16 bytes.
	Incarnation encoding.Base64 `json:"incarnation,omitempty"`
}
