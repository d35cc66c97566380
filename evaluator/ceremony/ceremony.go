// SPDX-License-Identifier: EUPL-1.2

// Package ceremony makes keys and shares them anew among evaluators, so that no
// machine ever sees a whole one.
//
//	governance                 each dealer                    each receiver
//	============================================================================
//	draft: the manifest that
//	is to be, without sharings
//	                 draft
//	             ----------->
//	                           its own polynomial for each
//	                           cohort; commitments in the
//	                           open, parts sealed, signed
//	                                         dealing
//	                                     ----------->
//	                                                          all parts verify:
//	                                                          their sum is its share,
//	                           commitments of the sums        waiting in its folder
//	             <--------------------------------------------
//	the draft with sharings: manifest
//	             ----------->  who has its share signs it, and it comes into force
//
// Where the manifest in force does not know a cohort, a key is made: each dealer
// deals a random scalar, and the key is their sum. As many dealers as the new
// threshold or more take part, so whoever could put the key together could also
// have used the shares. Where it knows the cohort, its key is shared anew: as many
// holders as the old threshold deal what their shares contribute, and the key and its
// C_0 stay as they were.
//
// Nothing here decides what is in force: the manifest does, all at once, and it is
// only signed by evaluators whose share of the new sharing lies in their folders and
// verifies. So until then the old sharing works, and from then on the new one.
//
// A dealer who gives receivers different dealings, or parts that do not fit, is
// found out before anything is signed: the commitments of the manifest are
// everybody's, and a share that does not verify against them is refused. Who deals
// last can try which of a few dealings he likes best and so choose some bits of a
// public key; that makes no key easier to find (Gennaro, Jarecki, Krawczyk and Rabin,
// Journal of Cryptology 20, 2007).
package ceremony

import (
	"crypto/ecdh"
	"crypto/hpke"
	"errors"
	"fmt"
	"slices"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/oprf"
	"github.com/seinhuis/seinhuis/evaluator"
	"github.com/seinhuis/seinhuis/manifest"
)

const (
	labelDealing = "seinhuis/1/dealing"
	labelPart    = "seinhuis/1/part"
)

// What is refused. A fault of one dealer comes as a [*DealerError].
var (
	ErrCohorts = errors.New("ceremony: the manifest in force knows some of these birth years and others not; deal the new ones apart from those that are shared anew")
	ErrDealers = errors.New("ceremony: a key is made by at least as many dealers as the draft's threshold, and shared anew by as many holders as the threshold in force, each once")
	ErrBox     = errors.New("ceremony: an evaluator of the draft has no box; it makes one with keygen, and governance lists it")
	ErrShare   = errors.New("ceremony: this dealer holds no share in force of one of these keys")
	ErrDealing = errors.New("ceremony: not a dealing for this draft and the manifest in force here")
	ErrDiffer  = errors.New("ceremony: it deals other keys or names other dealers than the first one")
	ErrMissing = errors.New("ceremony: there must be one dealing of each dealer that they name")
	ErrPart    = errors.New("ceremony: its part for this receiver does not open, or is none of its dealing")
	ErrOther   = errors.New("ceremony: it is not a dealing of what its dealer holds")
)

// A DealerError names the dealer whose dealing is refused.
type DealerError struct {
	Dealer int
	Err    error
}

func (e *DealerError) Error() string { return fmt.Sprintf("dealer %d: %v", e.Dealer, e.Err) }

func (e *DealerError) Unwrap() error { return e.Err }

// A Dealing is what one dealer deals, as it travels in a note that the dealer has
// signed. All of it may be read by anybody.
type Dealing struct {
	Dep     string   `json:"dep"`
	Draft   api.Hash `json:"draft"` // of the draft
	Dealers []int    `json:"dealers"`
	Dealer  int      `json:"dealer"`
	// Sharings say for each key which sharing it becomes, with the commitments of
	// this dealing alone.
	Sharings []manifest.Sharing `json:"sharings"`
	Parts    []Part             `json:"parts"` // one for each evaluator of the draft
}

// A Part is what a dealing holds for one receiver: for each sharing a scalar of 32
// bytes, all together sealed to its box by HPKE (RFC 9180; base mode, X25519,
// HKDF-SHA256, AES-256-GCM), the encapsulated key in front.
type Part struct {
	Receiver int             `json:"receiver"`
	Sealed   encoding.Base64 `json:"sealed"`
}

// A Round is what all dealings of a ceremony have in common.
type Round struct {
	Draft   *manifest.Manifest // governance's; see [manifest.Pins.OpenDraft]
	Current *manifest.Manifest // in force; nil before the first one
	Epoch   uint64
	First   int // cohorts, from First to Last
	Last    int
	Dealers []int
}

// sharings are what the round is to make, still without commitments, and whether
// their keys are known.
func (r Round) sharings() (list []manifest.Sharing, known bool, err error) {
	for cohort := r.First; cohort <= r.Last; cohort++ {
		s := manifest.Sharing{Epoch: r.Epoch, Cohort: cohort, Number: 1}
		was, is := r.inForce(s)
		if is {
			s.Number = was.Number + 1
		}
		if cohort > r.First && is != known {
			return nil, false, ErrCohorts
		}
		list, known = append(list, s), is
	}
	return list, known, r.checkDealers(known)
}

func (r Round) inForce(s manifest.Sharing) (manifest.Sharing, bool) {
	if r.Current == nil {
		return manifest.Sharing{}, false
	}
	return r.Current.Sharing(s.Epoch, s.Cohort)
}

// Who deals: a new key those of the draft, a known one those who hold it.
func (r Round) dealersIn(known bool) *manifest.Manifest {
	if known {
		return r.Current
	}
	return r.Draft
}

func (r Round) checkDealers(known bool) error {
	m := r.dealersIn(known)
	for i, d := range r.Dealers {
		if _, ok := m.Evaluator(d); !ok || slices.Contains(r.Dealers[:i], d) {
			return ErrDealers
		}
	}
	if known && len(r.Dealers) != m.Threshold || len(r.Dealers) < m.Threshold {
		return ErrDealers
	}
	return nil
}

// Known tells whether the round shares known keys anew; if not, it makes them.
func (r Round) Known() (bool, error) {
	_, known, err := r.sharings()
	return known, err
}

// Deal makes the dealing of one of the dealers. Held are its shares; they do not
// matter where keys are made.
func (r Round) Deal(dealer int, held []evaluator.Share) (*Dealing, error) {
	sharings, known, err := r.sharings()
	if err != nil {
		return nil, err
	}
	if !slices.Contains(r.Dealers, dealer) {
		return nil, ErrDealers
	}
	receivers := r.Draft.Evaluators
	n := receivers[len(receivers)-1].Index // those that nobody has go to nobody
	parts := make([][]byte, len(receivers))
	for i, s := range sharings {
		deal := oprf.Deal
		if known {
			share, err := heldOf(held, s)
			if err != nil {
				return nil, err
			}
			deal = func(threshold, n int) (oprf.Commitments, []oprf.Share, error) {
				return share.Reshare(r.Dealers, threshold, n)
			}
		}
		commitments, dealt, err := deal(r.Draft.Threshold, n)
		if err != nil {
			return nil, err
		}
		for _, point := range commitments.Bytes() {
			sharings[i].Commitments = append(sharings[i].Commitments, point)
		}
		for j, receiver := range receivers {
			value, err := dealt[receiver.Index-1].MarshalBinary()
			if err != nil {
				return nil, err
			}
			parts[j] = append(parts[j], value...)
		}
	}
	d := &Dealing{Dep: r.Draft.Dep, Draft: r.Draft.Hash(), Dealers: r.Dealers, Dealer: dealer, Sharings: sharings}
	for j, receiver := range receivers {
		sealed, err := d.seal(receiver, parts[j])
		if err != nil {
			return nil, err
		}
		d.Parts = append(d.Parts, Part{receiver.Index, sealed})
	}
	return d, nil
}

// heldOf finds the share that the new sharing follows.
func heldOf(held []evaluator.Share, s manifest.Sharing) (oprf.Share, error) {
	i := slices.IndexFunc(held, func(h evaluator.Share) bool {
		return h.Epoch == s.Epoch && h.Cohort == s.Cohort && h.Sharing == s.Number-1
	})
	if i < 0 {
		return oprf.Share{}, ErrShare
	}
	return held[i].Value, nil
}

func (d *Dealing) seal(receiver manifest.Evaluator, plain []byte) ([]byte, error) {
	box, err := hpke.DHKEM(ecdh.X25519()).NewPublicKey(receiver.Box)
	if err != nil {
		return nil, ErrBox
	}
	info, err := d.binding(receiver.Index)
	if err != nil {
		return nil, err
	}
	sealed, err := hpke.Seal(box, hpke.HKDFSHA256(), hpke.AES256GCM(), info, plain)
	if err != nil {
		return nil, ErrBox // X25519 refuses keys of low order only here
	}
	return sealed, nil
}

func (d *Dealing) open(receiver int, box *ecdh.PrivateKey) ([]byte, error) {
	key, err := hpke.NewDHKEMPrivateKey(box)
	if err != nil {
		return nil, ErrBox
	}
	info, err := d.binding(receiver)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(d.Parts, func(p Part) bool { return p.Receiver == receiver })
	if i < 0 {
		return nil, ErrPart
	}
	plain, err := hpke.Open(key, hpke.HKDFSHA256(), hpke.AES256GCM(), info, d.Parts[i].Sealed)
	if err != nil || len(plain) != len(d.Sharings)*oprf.ScalarSize {
		return nil, ErrPart
	}
	return plain, nil
}

// binding ties a part to the draft and to who deals it to whom:
// E("seinhuis/1/part", dep, hash of the draft, dealer, receiver).
func (d *Dealing) binding(receiver int) ([]byte, error) {
	return encoding.E(labelPart, []byte(d.Dep), d.Draft[:], encoding.Int(uint64(d.Dealer)), encoding.Int(uint64(receiver)))
}

// Note is the text for the dealer to sign.
func (d *Dealing) Note() (string, error) { return manifest.WriteText(labelDealing, d) }

// OpenDealing opens a dealer's signed dealing for a draft. The errors are ErrDealing,
// rules of package manifest, or a *DealerError if it is not signed by the dealer that
// it names.
func OpenDealing(msg []byte, draft, current *manifest.Manifest) (*Dealing, error) {
	text, err := manifest.TextOf(msg)
	if err != nil {
		return nil, err
	}
	d := new(Dealing)
	if err := manifest.ParseText(labelDealing, text, d); err != nil {
		return nil, err
	}
	if d.Dep != draft.Dep || d.Draft != draft.Hash() || len(d.Sharings) == 0 {
		return nil, ErrDealing
	}
	round, known, err := d.round(draft, current)
	if err != nil {
		return nil, err
	}
	dealer, ok := round.dealersIn(known).Evaluator(d.Dealer)
	if !ok {
		return nil, ErrDealers
	}
	if _, err := manifest.OpenSigned(msg, dealer.Note); err != nil {
		return nil, &DealerError{d.Dealer, err}
	}
	return d, nil
}

// round is what the dealing takes part in, and whether its keys are known; its sharings
// must be those of the round.
func (d *Dealing) round(draft, current *manifest.Manifest) (r Round, known bool, err error) {
	last := len(d.Sharings) - 1
	r = Round{
		Draft: draft, Current: current, Dealers: d.Dealers,
		Epoch: d.Sharings[0].Epoch, First: d.Sharings[0].Cohort, Last: d.Sharings[last].Cohort,
	}
	if r.Last-r.First != last {
		return Round{}, false, ErrDealing
	}
	want, known, err := r.sharings()
	if err != nil {
		return Round{}, false, &DealerError{d.Dealer, err}
	}
	if !slices.EqualFunc(d.Sharings, want, sameSharing) {
		return Round{}, false, ErrDealing
	}
	return r, known, nil
}

func sameSharing(a, b manifest.Sharing) bool {
	return a.Epoch == b.Epoch && a.Cohort == b.Cohort && a.Number == b.Number
}

// An Outcome is what governance puts in the manifest, the same for every receiver.
type Outcome struct {
	Threshold int                `json:"threshold"`
	Sharings  []manifest.Sharing `json:"sharings"`
}

// Gather adds up what all dealers dealt to one receiver: its shares, each verified,
// and the outcome. Dealings come from [OpenDealing].
func Gather(draft, current *manifest.Manifest, receiver int, box *ecdh.PrivateKey, dealings []*Dealing) ([]evaluator.Share, Outcome, error) {
	if len(dealings) == 0 {
		return nil, Outcome{}, ErrMissing
	}
	first := dealings[0]
	_, known, err := first.round(draft, current)
	if err != nil {
		return nil, Outcome{}, err
	}
	var dealers []int
	plain := make([][]byte, len(dealings))
	for i, d := range dealings {
		if !slices.Equal(d.Dealers, first.Dealers) || !slices.EqualFunc(d.Sharings, first.Sharings, sameSharing) {
			return nil, Outcome{}, &DealerError{d.Dealer, ErrDiffer}
		}
		dealers = append(dealers, d.Dealer)
		if plain[i], err = d.open(receiver, box); err != nil {
			return nil, Outcome{}, &DealerError{d.Dealer, err}
		}
	}
	if !slices.Equal(slices.Sorted(slices.Values(dealers)), slices.Sorted(slices.Values(first.Dealers))) {
		return nil, Outcome{}, ErrMissing
	}
	shares := make([]evaluator.Share, len(first.Sharings))
	sharings := make([]manifest.Sharing, len(first.Sharings))
	for k := range sharings {
		s := first.Sharings[k]
		parts, commitments := make([]oprf.Share, len(dealings)), make([]oprf.Commitments, len(dealings))
		for i, d := range dealings {
			if commitments[i], err = d.commitments(k, draft, current, known); err != nil {
				return nil, Outcome{}, &DealerError{d.Dealer, err}
			}
			if parts[i], err = oprf.ParseShare(receiver, plain[i][k*oprf.ScalarSize:(k+1)*oprf.ScalarSize]); err != nil {
				return nil, Outcome{}, &DealerError{d.Dealer, ErrPart}
			}
		}
		share, err := oprf.Gather(parts, commitments)
		if at, ok := errors.AsType[*oprf.ShareError](err); ok {
			return nil, Outcome{}, &DealerError{dealers[at.Index-1], ErrPart}
		}
		if err != nil {
			return nil, Outcome{}, err
		}
		sum, err := oprf.Sum(commitments)
		if err != nil {
			return nil, Outcome{}, err
		}
		sharings[k] = manifest.Sharing{Epoch: s.Epoch, Cohort: s.Cohort, Number: s.Number}
		for _, point := range sum.Bytes() {
			sharings[k].Commitments = append(sharings[k].Commitments, point)
		}
		shares[k] = evaluator.Share{Key: evaluator.Key{Epoch: s.Epoch, Cohort: s.Cohort}, Sharing: s.Number, Value: share}
	}
	return shares, Outcome{draft.Threshold, sharings}, nil
}

// commitments are those to the dealing's k-th polynomial. Where a key is shared anew it
// must deal what its dealer has under the manifest in force.
func (d *Dealing) commitments(k int, draft, current *manifest.Manifest, known bool) (oprf.Commitments, error) {
	dealt, err := oprf.ParseCommitments(d.Sharings[k].Points())
	if err != nil {
		return dealt, err
	}
	if dealt.Threshold() != draft.Threshold {
		return dealt, ErrDealing
	}
	if !known {
		return dealt, nil
	}
	was, _ := current.Sharing(d.Sharings[k].Epoch, d.Sharings[k].Cohort)
	old, err := oprf.ParseCommitments(was.Points())
	if err != nil {
		return dealt, err
	}
	if err := old.Reshared(d.Dealer, d.Dealers, dealt); errors.Is(err, oprf.ErrDealing) {
		return dealt, ErrOther
	} else if err != nil {
		return dealt, err
	}
	return dealt, nil
}
