// SPDX-License-Identifier: EUPL-1.2

package manifest

import (
	"crypto/sha256"
	"errors"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// A Destruction is an evaluator's certificate that it has destroyed what opened its
// shares of a key: it answers nobody under it any more, and neither does a copy of the
// shares. It travels as a note that the evaluator has signed with the key with which it
// signs manifests.
type Destruction struct {
	Dep       string   `json:"dep"`
	Evaluator int      `json:"evaluator"` // index
	Epoch     uint64   `json:"epoch"`
	Cohort    int      `json:"cohort"`
	Sharings  []uint64 `json:"sharings"` // whose shares it had last
	// WrappingKey is SHA-256 of what was destroyed; absent if that was lost before.
	WrappingKey api.Hash  `json:"wrappingKey,omitzero"`
	Why         Reason    `json:"why"`
	Time        time.Time `json:"time"`
}

// A Reason is why a key is destroyed.
type Reason string

// Reasons.
const (
	Grown  Reason = "grown"  // everybody of the cohort has turned 23
	Closed Reason = "closed" // the epoch is closed, compromised or not
)

const labelDestruction = "seinhuis/1/destruction"

// maxAhead is how far an evaluator's clock may be ahead of the reader's.
const maxAhead = 10 * time.Minute

// ErrDestruction says that a certificate is of no key of this deployment, or comes before
// its time.
var ErrDestruction = errors.New("manifest: the certificate is of no key that was to be destroyed")

// Note is the text for the evaluator to sign.
func (d Destruction) Note() (string, error) { return WriteText(labelDestruction, d) }

// ParseDestruction reads what Note writes.
func ParseDestruction(text string) (d Destruction, err error) {
	return d, ParseText(labelDestruction, text, &d)
}

// OpenDestruction opens a signed certificate, and gives SHA-256 of its text, by which the
// log knows it. The errors are rules of this package.
func (m *Manifest) OpenDestruction(msg []byte, now time.Time) (d Destruction, hash [32]byte, err error) {
	text, err := TextOf(msg)
	if err != nil {
		return d, hash, err
	}
	if d, err = ParseDestruction(text); err != nil {
		return d, hash, err
	}
	evaluator, ok := m.Evaluator(d.Evaluator)
	if !ok {
		return d, hash, ErrSigner
	}
	if _, err := OpenSigned(msg, evaluator.Note); err != nil {
		return d, hash, err
	}
	if d.Dep != m.Dep || !m.over(d) || d.Time.After(now.Add(maxAhead)) {
		return d, hash, ErrDestruction
	}
	return d, sha256.Sum256([]byte(text)), nil
}

// HasGrown tells whether everybody of a cohort has turned 23: on 1 January of the birth
// year + 24, in Amsterdam.
func HasGrown(cohort int, now time.Time) bool {
	return now.In(encoding.Amsterdam).Year() >= cohort+24
}

// LacksNextCohort tells whether, from 1 November on, some open epoch has no key yet for
// those who are born next year.
func (m *Manifest) LacksNextCohort(now time.Time) bool {
	now = now.In(encoding.Amsterdam)
	if now.Month() < time.November {
		return false
	}
	for _, epoch := range m.Open() {
		if _, ok := m.Sharing(epoch.Number, now.Year()+1); !ok {
			return true
		}
	}
	return false
}

// over tells whether a key was to be destroyed.
func (m *Manifest) over(d Destruction) bool {
	switch d.Why {
	case Grown:
		return HasGrown(d.Cohort, d.Time)
	case Closed:
		for _, e := range m.Epochs {
			if e.Number == d.Epoch {
				return e.Closed()
			}
		}
	}
	return false
}
