// SPDX-License-Identifier: EUPL-1.2

// Package manifest is the root of trust: two signed notes
// (golang.org/x/mod/sumdb/note) and the rules that they keep.
//
//	note       says                                            signed by
//	manifest   epochs, evaluators, key commitments, policy     governance and ≥ t evaluators
//	directory  parties and their keys                          the manifest's DirectorySigner
//
// The text of either is one line with its label, indented JSON, and a newline.
// It has one form: what parses writes the same text again, so two notes with the
// same content have the same hash.
//
//	seinhuis/1/manifest
//	{
//	  "dep": "demo",
//	  "version": 1,
//	  …
//	}
//
//	— governance Az3grlgtzPIC…
//	— evaluator-1 PzJz9Gk0bJy…
//
// A reader pins the signers ([Pins]), opens a manifest with [OpenManifest], asks
// whether it [Manifest.Follows] the highest one it has seen, keeps it, and opens
// the directory by it. One honest evaluator among the signers is enough to keep
// a key from being swapped: C_0, the public key of an (epoch, cohort), never
// changes, whoever signs.
//
// Every refusal is a [Rule], so errors.Is tells which one was broken. Only the
// form of commitments is checked here; whether they are points of the group is
// for package oprf.
package manifest

import (
	"crypto/ed25519"
	"slices"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// States of an epoch. A closed epoch never opens again, and a compromised one is closed:
// its keys are believed stolen, so what was made with them is destroyed at once.
const (
	EpochOpen        = "open"
	EpochClosed      = "closed"
	EpochCompromised = "compromised"
)

// A Manifest is what governance and the evaluators agree on.
type Manifest struct {
	Dep             string      `json:"dep"`
	Version         uint64      `json:"version"`           // from 1
	Previous        api.Hash    `json:"previous,omitzero"` // Hash of version-1; absent for 1
	NotAfter        time.Time   `json:"notAfter"`
	Threshold       int         `json:"threshold"`
	Epochs          []Epoch     `json:"epochs"`             // oldest first
	Evaluators      []Evaluator `json:"evaluators"`         // by index
	Sharings        []Sharing   `json:"sharings,omitempty"` // by epoch, then cohort
	Registry        Registry    `json:"registry"`
	Governance      string      `json:"governance"`      // vkey; must be the pinned one
	DirectorySigner string      `json:"directorySigner"` // vkey
	Policy          Policy      `json:"policy"`
}

// An Epoch is a generation of keys.
type Epoch struct {
	Number uint64        `json:"number"` // from 1
	State  string        `json:"state"`  // EpochOpen, EpochClosed or EpochCompromised
	Opens  encoding.Date `json:"opens"`
	Closes encoding.Date `json:"closes,omitzero"`
}

// An Evaluator holds share Index of every key.
type Evaluator struct {
	Index int    `json:"index"` // from 1
	Name  string `json:"name"`
	URL   string `json:"url"`  // of its API, without /v1
	TLS   Pin    `json:"tls"`  // SPKI hash of its server key
	Note  string `json:"note"` // vkey that it signs manifests and dealings with
	// Box is the X25519 key to which parts of dealings are sealed for it, 32 bytes.
	Box encoding.Base64 `json:"box,omitempty"`
	// Witness is the vkey of its cosignatures of the registry's log (type 0x04).
	Witness string `json:"witness,omitempty"`
}

// A Sharing is one splitting of the key of an (epoch, cohort).
type Sharing struct {
	Epoch       uint64            `json:"epoch"`
	Cohort      int               `json:"cohort"`      // birth year
	Number      uint64            `json:"number"`      // from 1; grows with each resharing
	Commitments []encoding.Base64 `json:"commitments"` // C_0 … C_{t-1}, 32 bytes each; C_0 is the public key
}

// Points are the commitments as package oprf reads them.
func (s Sharing) Points() [][]byte {
	points := make([][]byte, len(s.Commitments))
	for i, c := range s.Commitments {
		points[i] = c
	}
	return points
}

// Registry is where the registry is and which keys it signs with.
type Registry struct {
	URL         string `json:"url"`       // with client certificates, without /v1
	PublicURL   string `json:"publicUrl"` // what everybody may read
	TLS         Pin    `json:"tls"`
	ReceiptKeys []Key  `json:"receiptKeys"` // Use empty
	// Log is the vkey of the log's checkpoints, whose name is the log's origin. It takes
	// as many witnesses as it takes evaluators.
	Log string `json:"log,omitempty"`
}

// Policy holds the terms that all parts keep.
type Policy struct {
	TermDays           int           `json:"termDays"`           // of a signal, 1 to 731
	LegalBasisEnds     encoding.Date `json:"legalBasisEnds"`     // from this day nothing matches
	TimeZone           string        `json:"timeZone"`           // Europe/Amsterdam
	Calendar           string        `json:"calendar"`           // of working days: "nl", "vl"
	AnswerDays         int           `json:"answerDays"`         // working days to answer a match
	SignalPerpetrators bool          `json:"signalPerpetrators"` // a suspected perpetrator under 23 in a report is signalled too
	DailyBudget        int           `json:"dailyBudget"`        // evaluations of a party a UTC day
	MonthlyBudget      int           `json:"monthlyBudget"`      // and a UTC month
	ReportReserve      int           `json:"reportReserve"`      // a UTC day, above both budgets, for reports alone

	// What the registry takes of a party a UTC day; absent, ten times DailyBudget. A
	// withdrawal is no act here: it is always taken.
	DailySignals int `json:"dailySignals,omitempty"`
	DailyActs    int `json:"dailyActs,omitempty"`
}

// OpenManifest verifies a manifest's note: a signature of governance and of at
// least pins.Threshold different evaluator keys, in force at now, by the rules.
func OpenManifest(msg []byte, pins Pins, now time.Time) (*Manifest, error) {
	text, err := pins.open(msg)
	if err != nil {
		return nil, err
	}
	m, err := ParseManifest(text)
	if err != nil {
		return nil, err
	}
	switch {
	case m.Dep != pins.Dep:
		return nil, ErrDeployment
	case m.Governance != pins.Governance:
		return nil, ErrGovernance
	case m.Threshold < pins.Threshold:
		return nil, ErrThreshold
	case now.After(m.NotAfter):
		return nil, ErrExpired
	}
	return m, nil
}

// ParseManifest reads the text of a manifest and checks it by itself. Who signed
// it, and whether it is still in force, is not looked at.
func ParseManifest(text string) (*Manifest, error) {
	m := new(Manifest)
	if err := ParseText(labelManifest, text, m); err != nil {
		return nil, err
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	return m, nil
}

// Note is the text to sign; an error names the rule that the manifest breaks.
func (m *Manifest) Note() (string, error) {
	if err := m.check(); err != nil {
		return "", err
	}
	return WriteText(labelManifest, m)
}

// Hash is the SHA-256 of the text.
func (m *Manifest) Hash() api.Hash { return hashText(labelManifest, m) }

// Open gives the open epochs, oldest first. Matching is on the first of them.
func (m *Manifest) Open() []Epoch {
	var open []Epoch
	for _, e := range m.Epochs {
		if e.State == EpochOpen {
			open = append(open, e)
		}
	}
	return open
}

// Closed tells whether the epoch is closed, for whatever reason. No share of its keys is
// used any more.
func (e Epoch) Closed() bool { return e.State == EpochClosed || e.State == EpochCompromised }

// Compromised tells whether the keys of an epoch are believed stolen: whoever has them can
// test guesses against anything with a face in it.
func (m *Manifest) Compromised(epoch uint64) bool {
	return slices.ContainsFunc(m.Epochs, func(e Epoch) bool { return e.Number == epoch && e.State == EpochCompromised })
}

// Lost tells whether a signal with faces in these epochs is lost: one of them is
// compromised, and the signal has no face by which it could go on matching. The registry
// destroys it, and only who knows the child's number can make it anew.
func (m *Manifest) Lost(faces []uint64) bool {
	open := m.Open()
	return slices.ContainsFunc(faces, m.Compromised) && len(open) > 0 && !slices.Contains(faces, open[0].Number)
}

// Sharing finds the sharing in force of a cohort's key.
func (m *Manifest) Sharing(epoch uint64, cohort int) (Sharing, bool) {
	return find(m.Sharings, func(s Sharing) bool { return s.Epoch == epoch && s.Cohort == cohort })
}

// Evaluator finds an evaluator by its index.
func (m *Manifest) Evaluator(index int) (Evaluator, bool) {
	return find(m.Evaluators, func(e Evaluator) bool { return e.Index == index })
}

// Witnesses are the keys of the evaluators that cosign the log.
func (m *Manifest) Witnesses() (vkeys []string) {
	for _, e := range m.Evaluators {
		if e.Witness != "" {
			vkeys = append(vkeys, e.Witness)
		}
	}
	return vkeys
}

// ReceiptKey finds the registry's key that verifies receipts with this id. A
// retired key verifies for two years more, a revoked one never.
func (m *Manifest) ReceiptKey(id encoding.KeyID, at time.Time) (ed25519.PublicKey, bool) {
	k, ok := find(m.Registry.ReceiptKeys, func(k Key) bool { return k.ID == id && k.verifies(at) })
	return ed25519.PublicKey(k.Key), ok
}

func find[T any](list []T, is func(T) bool) (found T, ok bool) {
	if i := slices.IndexFunc(list, is); i >= 0 {
		return list[i], true
	}
	return found, false
}
