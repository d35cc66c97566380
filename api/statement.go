// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// Labels of what parties and the registry sign and hash.
const (
	labelSignal  = "seinhuis/1/signal"
	labelAct     = "seinhuis/1/act"
	labelReceipt = "seinhuis/1/receipt"
	labelEvent   = "seinhuis/1/event"
)

// ErrMalformed says that signed bytes are not the one encoding of a statement.
var ErrMalformed = errors.New("api: malformed statement")

// A Hash is a SHA-256.
type Hash [32]byte

// Signed is a statement as it travels: the very bytes that were signed, and the
// signature over them. It is parsed, never rebuilt.
type Signed struct {
	Signed    encoding.Base64 `json:"signed,omitempty"`
	Signature encoding.Base64 `json:"signature,omitempty"`
}

// Sign signs statement bytes with Ed25519 (RFC 8032).
func Sign(key ed25519.PrivateKey, statement []byte) Signed {
	return Signed{Signed: statement, Signature: ed25519.Sign(key, statement)}
}

// Verify checks the signature; a key or signature of a wrong length fails.
func (s Signed) Verify(key ed25519.PublicKey) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, s.Signed, s.Signature)
}

// Hash is the SHA-256 of the signed bytes.
func (s Signed) Hash() Hash { return sha256.Sum256(s.Signed) }

// KindChild is the one kind of signal; "family" is reserved.
const KindChild = "child"

// MaxFaces is how many epochs can be open side by side.
const MaxFaces = 2

// A Face is a signal in one epoch: the tag it matches on there, and the hashes
// of the card and keybox that belong to it.
type Face struct {
	Epoch  uint64
	Tag    Tag
	Card   Hash // SHA-256 of the sealed card
	Keybox Hash // SHA-256 of the keybox
}

// A Statement is a party's signed word that it signals a child.
type Statement struct {
	Dep         string
	Party       PartyID
	KeyID       encoding.KeyID // the party's signing key
	SID         SID
	Rev         uint64        // 1 for a new signal, then one more each revision
	Kind        string        // KindChild
	TakesOver   SID           // the giver's signal in a warm handover, else zero
	Expires     encoding.Date // first day on which the signal no longer lives
	ReceiptHash *Hash         // SHA-256 of the family's receipt code, if one was given
	Issued      time.Time
	Faces       []Face // one per open epoch, oldest first
}

// Encode gives the bytes to sign.
func (s Statement) Encode() ([]byte, error) {
	if len(s.Faces) == 0 || len(s.Faces) > MaxFaces {
		return nil, fmt.Errorf("%w: a signal has one or two faces", ErrMalformed)
	}
	fields := [][]byte{
		[]byte(s.Dep), []byte(s.Party), s.KeyID[:], s.SID[:], encoding.Int(s.Rev), []byte(s.Kind),
		optional(s.TakesOver), s.Expires.Field(), optionalHash(s.ReceiptHash),
		encoding.Time(s.Issued), encoding.Int(uint64(len(s.Faces))),
	}
	for _, f := range s.Faces {
		fields = append(fields, encoding.Int(f.Epoch), f.Tag[:], f.Card[:], f.Keybox[:])
	}
	return encoding.E(labelSignal, fields...)
}

// ParseStatement reads what Encode writes, and nothing else. It checks form
// only: whether the party may say this is the registry's to judge.
func ParseStatement(b []byte) (Statement, error) {
	var s Statement
	d := encoding.NewDecoder(b)
	d.Expect(labelSignal)
	s.Dep = d.String()
	s.Party = PartyID(d.String())
	d.Fixed(s.KeyID[:])
	d.Fixed(s.SID[:])
	s.Rev = d.Int()
	s.Kind = d.String()
	s.TakesOver = decodeOptional(d)
	s.Expires = d.Date()
	s.ReceiptHash = decodeOptionalHash(d)
	s.Issued = d.Time()
	count := d.Int()
	for i := uint64(0); i < min(count, MaxFaces); i++ {
		var f Face
		f.Epoch = d.Int()
		d.Fixed(f.Tag[:])
		d.Fixed(f.Card[:])
		d.Fixed(f.Keybox[:])
		s.Faces = append(s.Faces, f)
	}
	if err := d.Done(); err != nil {
		return Statement{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if _, err := ParseParty(string(s.Party)); err != nil {
		return Statement{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	switch {
	case s.Kind != KindChild:
		return Statement{}, fmt.Errorf("%w: kind is %q; others are reserved", ErrMalformed, KindChild)
	case s.Rev == 0 || s.SID.IsZero() || s.Expires.IsZero():
		return Statement{}, fmt.Errorf("%w: sid, rev and expires are obligatory", ErrMalformed)
	case count == 0 || count > MaxFaces:
		return Statement{}, fmt.Errorf("%w: a signal has one or two faces", ErrMalformed)
	case count == 2 && s.Faces[0].Epoch >= s.Faces[1].Epoch:
		return Statement{}, fmt.Errorf("%w: faces go from the oldest epoch to the newest", ErrMalformed)
	}
	return s, nil
}

// Acts that a party can do to a signal after it stands.
const (
	ActWithdraw = "withdraw"
	ActAnswer   = "answer"
	ActLead     = "lead"
	ActHandover = "handover"
)

// Reasons of a withdrawal: its body.
const (
	ReasonEnded   = "ended"
	ReasonMistake = "mistake"
)

// An Answer is what a party says of a match to another party in it: the body of the
// act answer. These four words are all that a registry ever learns of what followed.
type Answer string

// Answers to a match.
const (
	AnswerInContact   Answer = "in-contact"   // the two were in contact already
	AnswerWillCall    Answer = "will-call"    // the sender will call
	AnswerNotInvolved Answer = "not-involved" // the sender is no longer involved
	AnswerContactMade Answer = "contact-made" // the two have spoken
)

// Known tells whether it is one of the four.
func (a Answer) Known() bool {
	switch a {
	case AnswerInContact, AnswerWillCall, AnswerNotInvolved, AnswerContactMade:
		return true
	}
	return false
}

// An Act is a party's signed word on a signal that stands.
type Act struct {
	Dep      string
	Party    PartyID
	KeyID    encoding.KeyID
	Act      string
	SID      SID
	Rev      uint64 // the revision that the party knows as the last
	Tag      Tag    // the tag of the face in the oldest open epoch
	Match    MatchID
	OtherSID SID
	Issued   time.Time
	Body     string
}

// Encode gives the bytes to sign.
func (a Act) Encode() ([]byte, error) {
	return encoding.E(labelAct, []byte(a.Dep), []byte(a.Party), a.KeyID[:], []byte(a.Act), a.SID[:],
		encoding.Int(a.Rev), a.Tag[:], optional(a.Match), optional(a.OtherSID), encoding.Time(a.Issued), []byte(a.Body))
}

// ParseAct reads what Encode writes, and nothing else.
func ParseAct(b []byte) (Act, error) {
	var a Act
	d := encoding.NewDecoder(b)
	d.Expect(labelAct)
	a.Dep = d.String()
	a.Party = PartyID(d.String())
	d.Fixed(a.KeyID[:])
	a.Act = d.String()
	d.Fixed(a.SID[:])
	a.Rev = d.Int()
	d.Fixed(a.Tag[:])
	a.Match = MatchID(decodeOptional(d))
	a.OtherSID = decodeOptional(d)
	a.Issued = d.Time()
	a.Body = d.String()
	if err := d.Done(); err != nil {
		return Act{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if _, err := ParseParty(string(a.Party)); err != nil {
		return Act{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	switch a.Act {
	case ActWithdraw, ActAnswer, ActLead, ActHandover:
	default:
		return Act{}, fmt.Errorf("%w: act is one of withdraw, answer, lead, handover", ErrMalformed)
	}
	if a.Rev == 0 || a.SID.IsZero() {
		return Act{}, fmt.Errorf("%w: sid and rev are obligatory", ErrMalformed)
	}
	return a, nil
}

// A Receipt is the registry's signed word that a statement or act is durable.
type Receipt struct {
	Dep         string
	Incarnation [16]byte // new after every restore of the registry
	Party       PartyID
	SID         SID
	Rev         uint64
	Statement   Hash   // SHA-256 of the signed bytes it answers
	Others      uint64 // how many other parties were met
	Leaf        Hash   // leaf hash in the registry's log
	Time        time.Time
}

// Encode gives the bytes to sign.
func (r Receipt) Encode() ([]byte, error) {
	return encoding.E(labelReceipt, []byte(r.Dep), r.Incarnation[:], []byte(r.Party), r.SID[:], encoding.Int(r.Rev),
		r.Statement[:], encoding.Int(r.Others), r.Leaf[:], encoding.Time(r.Time))
}

// ParseReceipt reads what Encode writes, and nothing else.
func ParseReceipt(b []byte) (Receipt, error) {
	var r Receipt
	d := encoding.NewDecoder(b)
	d.Expect(labelReceipt)
	r.Dep = d.String()
	d.Fixed(r.Incarnation[:])
	r.Party = PartyID(d.String())
	d.Fixed(r.SID[:])
	r.Rev = d.Int()
	d.Fixed(r.Statement[:])
	r.Others = d.Int()
	d.Fixed(r.Leaf[:])
	r.Time = d.Time()
	if err := d.Done(); err != nil {
		return Receipt{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return r, nil
}

func optional[T ~[16]byte](id T) []byte {
	if id == *new(T) {
		return nil
	}
	return id[:]
}

func decodeOptional(d *encoding.Decoder) (id SID) {
	f := d.Bytes()
	switch {
	case len(f) == 0:
	case len(f) != len(id) || SID(f).IsZero():
		d.Fail("an id is 16 bytes or absent")
	default:
		id = SID(f)
	}
	return id
}

func optionalHash(h *Hash) []byte {
	if h == nil {
		return nil
	}
	return h[:]
}

func decodeOptionalHash(d *encoding.Decoder) *Hash {
	f := d.Bytes()
	switch len(f) {
	case 0:
		return nil
	case 32:
		h := Hash(f)
		return &h
	}
	d.Fail("a hash is 32 bytes or absent")
	return nil
}
