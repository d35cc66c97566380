// SPDX-License-Identifier: EUPL-1.2

package oprf

import (
	"slices"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/math/polynomial"
)

// A sharing that no single machine has seen is a sum of dealings: each dealer shares
// a scalar of its own by a polynomial of its own, and everybody adds up what he got.
//
//	to make a key      each dealer deals a random scalar, and their sum is the key
//	to share one anew  each of t holders deals λ_i·k_i, and Σ λ_i·k_i is the key as
//	                   it was, whoever holds the new shares and however many it takes
//
// In both, the commitments of the sum are the sums of the commitments, coefficient by
// coefficient (Feldman). Making a key takes a commitment to each dealing before any
// is opened, so that the last dealer cannot choose the key; that is the ceremony's to
// keep, not this package's.

// Reshare deals a holder's part of a key anew, among n, any threshold of whom suffice
// together with what the other dealers deal. Dealers are the indexes of the holders
// that take part, as many as the old threshold, this one's among them.
func (s Share) Reshare(dealers []int, threshold, n int) (Commitments, []Share, error) {
	weight, err := lagrange(dealers, s.index)
	if err != nil {
		return Commitments{}, nil, err
	}
	return split(curve.NewScalar().Mul(weight, s.value()), threshold, n)
}

// Reshared tells whether a dealing's commitments are those of what the dealer holds
// under old: D_0 = λ_i·K_i. It errs with ErrThreshold if the dealers are not as many
// as the old threshold, and with ErrDealing if it is another scalar's dealing.
func (old Commitments) Reshared(dealer int, dealers []int, dealing Commitments) error {
	if len(dealers) != old.Threshold() {
		return ErrThreshold
	}
	weight, err := lagrange(dealers, dealer)
	if err != nil {
		return err
	}
	key, err := old.shareKey(dealer)
	if err != nil {
		return err
	}
	if len(dealing.elements) == 0 || !curve.NewElement().Mul(key, weight).IsEqual(dealing.elements[0]) {
		return ErrDealing
	}
	return nil
}

// lagrange is λ_i of one of the dealers for the point 0.
func lagrange(dealers []int, dealer int) (group.Scalar, error) {
	at := slices.Index(dealers, dealer)
	if at < 0 {
		return nil, ErrShare
	}
	points := make([]group.Scalar, len(dealers))
	for i, index := range dealers {
		switch {
		case index < 1 || index > MaxShares:
			return nil, ErrShare
		case slices.Contains(dealers[:i], index):
			return nil, ErrDuplicate
		}
		points[i] = scalarOf(index)
	}
	return polynomial.LagrangeBase(uint(at), points, curve.NewScalar()), nil
}

// Sum adds dealings up to the commitments of the sharing that they make together.
// All must be of one threshold.
func Sum(dealings []Commitments) (Commitments, error) {
	if len(dealings) == 0 {
		return Commitments{}, ErrTooFew
	}
	sums := make([]group.Element, dealings[0].Threshold())
	for j := range sums {
		sums[j] = curve.Identity()
		for _, d := range dealings {
			if d.Threshold() != len(sums) {
				return Commitments{}, ErrMixed
			}
			sums[j].Add(sums[j], d.elements[j])
		}
	}
	encodings, err := encode(sums)
	if err != nil {
		return Commitments{}, err
	}
	return ParseCommitments(encodings)
}

// Gather adds up one receiver's parts of all dealings to its share of their sum. A
// part that does not verify against its dealing is refused by a *ShareError whose
// Index is its place among the dealings, from 1.
func Gather(parts []Share, dealings []Commitments) (Share, error) {
	if len(parts) == 0 || len(parts) != len(dealings) {
		return Share{}, ErrTooFew
	}
	sum := curve.NewScalar()
	for i, part := range parts {
		switch {
		case part.index != parts[0].index:
			return Share{}, ErrMixed
		case !part.Verify(dealings[i]):
			return Share{}, &ShareError{i + 1, ErrDealing}
		}
		sum.Add(sum, part.value())
	}
	if sum.IsZero() {
		return Share{}, ErrShare
	}
	return newShare(parts[0].index, sum), nil
}
