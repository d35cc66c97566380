// SPDX-License-Identifier: EUPL-1.2

// Package evaluator is a holder of shares: it multiplies blinded elements by its
// share of a cohort's key and proves that it did.
//
// It sees which party asks, when, for which birth year, and how many elements; of
// the child it sees nothing, and it keeps nothing but how much of its budget a
// party has spent. A request goes through
//
//	epoch, cohort, sharing ─ room in the budget ─ evaluate and prove ─ debit, durable ─ answer
//
// so what a party gets is always paid for, also when the process dies in between,
// and what it does not get costs nothing.
//
// Beside that it is a [Witness] of the registry's log.
//
// Shares come from files ([ParseShares]) and are held against the commitments of
// the signed manifest before they are used: an evaluator that would answer with a
// wrong share does not start.
package evaluator

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/oprf"
	"github.com/seinhuis/seinhuis/manifest"
)

// What is refused.
var (
	ErrEpoch   = errors.New("evaluator: the epoch or cohort is not open here")
	ErrSharing = errors.New("evaluator: another sharing is in force")
	ErrElement = errors.New("evaluator: not 1 to 64 elements of the group, none the identity")
)

// A Request asks for the evaluation of 1 to 64 blinded elements, 32 bytes each,
// under one key. A report may spend the reserve that is kept for reports.
type Request struct {
	Epoch    uint64
	Cohort   int
	Sharing  uint64
	Elements [][]byte
	Report   bool
}

// An Answer has the evaluated elements in the order of the request, and one proof
// for all of them, 64 bytes.
type Answer struct {
	Index    int
	Elements [][]byte
	Proof    []byte
}

// An Evaluator answers requests. Goroutines may share one.
type Evaluator struct {
	budgets *Budgets
	now     func() time.Time
	serving atomic.Pointer[serving]
}

// serving is what follows from one manifest and one set of shares; Load replaces
// it as a whole.
type serving struct {
	manifest *manifest.Manifest
	index    int
	keys     map[sharingOf]*oprf.Evaluator
	missing  []Key
	replaced int
}

// sharingOf names one sharing of a key.
type sharingOf struct {
	Key
	number uint64
}

// New makes an evaluator of what Load takes.
func New(budgets *Budgets, now func() time.Time, m *manifest.Manifest, index int, shares []Share) (*Evaluator, error) {
	e := &Evaluator{budgets: budgets, now: now}
	return e, e.Load(m, index, shares)
}

// Load takes a newer manifest or other shares into use. When it returns an error,
// nothing has changed. Shares of a sharing that is to come wait: they are neither
// checked nor used. Those of the one before answer whoever still asks for them, until
// they are destroyed: so while a new manifest goes round, either sharing has all
// evaluators that hold it.
func (e *Evaluator) Load(m *manifest.Manifest, index int, shares []Share) error {
	inForce, missing, err := Check(m, index, shares, e.now())
	if err != nil {
		return err
	}
	replaced := Replaced(shares, inForce)
	s := &serving{manifest: m, index: index, keys: map[sharingOf]*oprf.Evaluator{}, missing: missing, replaced: len(replaced)}
	for _, share := range append(inForce, replaced...) {
		if s.keys[sharingOf{share.Key, share.Sharing}], err = oprf.NewEvaluator(share.Value); err != nil {
			return &ShareError{share.Key, err}
		}
	}
	e.serving.Store(s)
	return nil
}

// Missing lists the keys in use for which there is no share here, as of the last
// Load.
func (e *Evaluator) Missing() []Key { return e.serving.Load().missing }

// Replaced is how many shares of sharings before those in force are still here, as of
// the last Load.
func (e *Evaluator) Replaced() int { return e.serving.Load().replaced }

// InForce tells whether the manifest holds at this moment. If not, every request
// is refused.
func (e *Evaluator) InForce() bool { return e.serving.Load().inForce(e.now()) }

// Ends is when that is over.
func (e *Evaluator) Ends() time.Time {
	m := e.serving.Load().manifest
	if ends := m.Policy.LegalBasisEnds.In(encoding.Amsterdam); ends.Before(m.NotAfter) {
		return ends
	}
	return m.NotAfter
}

// inForce: after the end of the legal basis matching stops everywhere.
func (s *serving) inForce(now time.Time) bool {
	return !now.After(s.manifest.NotAfter) && now.Before(s.manifest.Policy.LegalBasisEnds.In(encoding.Amsterdam))
}

// open tells whether a key is to be used: its epoch is open, and not everybody of
// the cohort has turned 23.
func (s *serving) open(k Key, now time.Time) bool {
	for _, epoch := range s.manifest.Open() {
		if epoch.Number == k.Epoch {
			return s.inForce(now) && !k.Grown(now)
		}
	}
	return false
}

// Manifest is the one in use.
func (e *Evaluator) Manifest() *manifest.Manifest { return e.serving.Load().manifest }

// Self is what the manifest in use says of this evaluator.
func (e *Evaluator) Self() manifest.Evaluator {
	s := e.serving.Load()
	self, _ := s.manifest.Evaluator(s.index)
	return self
}

// On gives what each party had evaluated on a UTC day of the last week.
func (e *Evaluator) On(day time.Time) (map[string]int, error) { return e.budgets.On(day) }

// Balance is what a party has spent here and may still spend.
func (e *Evaluator) Balance(party manifest.Party) (Balance, error) {
	now := e.now()
	return e.budgets.Balance(string(party.ID), LimitsOf(party, e.Manifest().Policy, now), now)
}

// Evaluate answers a party's request. The errors are ErrEpoch, ErrSharing,
// ErrElement, a *BudgetError, or a fault of the store.
func (e *Evaluator) Evaluate(party manifest.Party, q Request) (Answer, error) {
	now, s := e.now(), e.serving.Load()
	key := Key{q.Epoch, q.Cohort}
	sharing, known := s.manifest.Sharing(q.Epoch, q.Cohort)
	if !known || !s.open(key, now) {
		return Answer{}, ErrEpoch
	}
	oracle, ok := s.keys[sharingOf{key, q.Sharing}]
	switch {
	case !ok && q.Sharing != sharing.Number:
		return Answer{}, ErrSharing
	case !ok:
		return Answer{}, ErrEpoch
	}
	debit, limits := Debit{string(party.ID), len(q.Elements), q.Report}, LimitsOf(party, s.manifest.Policy, now)
	if err := e.budgets.Room(debit, limits, now); err != nil {
		return Answer{}, err
	}
	elements, proof, err := oracle.Evaluate(q.Elements)
	if errors.Is(err, oprf.ErrElement) || errors.Is(err, oprf.ErrBatch) {
		return Answer{}, fmt.Errorf("%w: %w", ErrElement, err)
	}
	if err != nil {
		return Answer{}, fmt.Errorf("evaluator: %w", err)
	}
	if err := e.budgets.Debit(debit, limits, now); err != nil {
		return Answer{}, err
	}
	return Answer{Index: s.index, Elements: elements, Proof: proof}, nil
}
