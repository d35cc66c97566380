// SPDX-License-Identifier: EUPL-1.2

// Package oprf evaluates a pseudorandom function on what a gateway does not
// show, under a key that no evaluator has.
//
// The function is the VOPRF of RFC 9497, ristretto255-SHA512, mode 0x01. The key
// k is shared t-of-n: a polynomial f of degree t-1 with f(0) = k, evaluator i
// holds f(i), and everybody knows the commitments C_j = f_j·G (Feldman). Elements
// and scalars are the 32 bytes of RFC 9496.
//
//	gateway(inputs, C_0..C_{t-1})                   evaluator i (k_i = f(i))
//	========================================================================
//	r, B = Blind(inputs)       B[m] = r[m]·H(input[m])
//
//	                          B
//	                     ----------->    each of at least t evaluators
//
//	                                     E_i[m]  = k_i·B[m]
//	                                     proof_i = DLEQ(k_i: K_i = k_i·G, E_i = k_i·B)
//	                      E_i, proof_i
//	                     <-----------
//
//	K_i = Σ C_j·i^j
//	Verify(C, i, E_i, proof_i)           a false one is named, and others go on
//
//	E = Σ λ_i·E_i = k·B                  any t that verified; λ_i = Π j/(j-i)
//	y[m] = SHA-512(len ‖ input[m] ‖ 32 ‖ E[m]/r[m] ‖ "Finalize")
//
// The outputs y are, byte for byte, those of RFC 9497 under the undivided key:
// which t evaluators answered, and how the key was shared, leaves no trace. So a
// key can be shared anew without a new epoch.
//
// One proof covers a batch, in its order, by the RFC's transcript. What is in a
// batch is under one key, so it never crosses cohorts, epochs or sharings.
//
// # What is secret, and what takes how long
//
// Secret are the inputs, the blinds r[m], the shares k_i, the randomness of a proof,
// and E[m]/r[m] with all that follows from it. What touches these takes as long for
// one value as for another of its length: hashing to elements, r[m]·H, k_i·B, k_i·M and the
// prover's commitments, inverting the blinds, and Σ λ_i/r[m]·E_i[m], which combines
// and unblinds at once.
//
// Public are B, E_i, K_i and the proofs, since they cross a wire or stand in a
// manifest; so is what the RFC makes of them alone: the weights d[m], the composites
// M = Σ d[m]·B[m] and Z = Σ d[m]·E_i[m], and the whole of a verification. There the
// time may tell the values. Done with multiplications in constant time, composites
// are half the work of an evaluator and most of a verification; as a sum in variable
// time, those of 64 elements take about a fifth of that.
//
// Elements are github.com/gtank/ristretto255's, because circl's have no such sums;
// they stand behind circl's interface of a group (type ristretto). Scalars, sharing,
// Lagrange coefficients and hashing are circl's, and the tests hold every step to
// what circl's own client and server do.
package oprf

import (
	"errors"
	"fmt"

	"github.com/cloudflare/circl/group"
	circl "github.com/cloudflare/circl/oprf"
)

// Sizes in bytes, and limits.
const (
	ElementSize = 32 // of an element and of a commitment
	ScalarSize  = 32 // of a share's value and of a key
	ProofSize   = 64 // of a proof: challenge ‖ response
	OutputSize  = 64 // of an output y
	MaxBatch    = 64 // elements in one evaluation
	MaxShares   = 255
)

// What is refused. None of them tells a value.
var (
	ErrElement     = errors.New("oprf: an element is not the encoding of a group element other than the identity")
	ErrBatch       = errors.New("oprf: a batch holds 1 to 64 elements, as many as were asked")
	ErrProof       = errors.New("oprf: the proof does not hold for these elements and this share")
	ErrShare       = errors.New("oprf: a share has an index from 1 to 255 and a canonical scalar other than zero")
	ErrCommitments = errors.New("oprf: commitments are 1 to 255 encodings of group elements other than the identity")
	ErrThreshold   = errors.New("oprf: a threshold lies between 1 and the number of shares")
	ErrTooFew      = errors.New("oprf: fewer answers than the threshold")
	ErrDuplicate   = errors.New("oprf: two answers are of one share")
	ErrMixed       = errors.New("oprf: answers belong to different batches or sharings")
	ErrDealing     = errors.New("oprf: a dealing is not of what its dealer holds, or a part is not of its dealing")
	ErrIdentity    = errors.New("oprf: the combined element is the identity")
)

// A ShareError says which share's answer is refused, and why.
type ShareError struct {
	Index int
	Err   error
}

func (e *ShareError) Error() string { return fmt.Sprintf("share %d: %v", e.Index, e.Err) }

func (e *ShareError) Unwrap() error { return e.Err }

var (
	suite = circl.SuiteRistretto255
	curve = ristretto{suite.Group()}

	contextString = "OPRFV1-\x01-" + suite.Identifier() // RFC 9497 section 3.1
)

// decode reads an element as RFC 9497 section 2.1 asks. The group takes 32 zero
// bytes, which are the identity: for that element every key has the same answer, so
// its proof would say nothing.
func decode(b []byte) (group.Element, error) {
	e := curve.NewElement()
	if err := e.UnmarshalBinary(b); err != nil || e.IsIdentity() {
		return nil, ErrElement
	}
	return e, nil
}

func decodeBatch(batch [][]byte) ([]group.Element, error) {
	if len(batch) == 0 || len(batch) > MaxBatch {
		return nil, ErrBatch
	}
	elements := make([]group.Element, len(batch))
	for i, b := range batch {
		e, err := decode(b)
		if err != nil {
			return nil, err
		}
		elements[i] = e
	}
	return elements, nil
}

func encode(elements []group.Element) ([][]byte, error) {
	batch := make([][]byte, len(elements))
	for i, e := range elements {
		b, err := e.MarshalBinaryCompress()
		if err != nil {
			return nil, fmt.Errorf("oprf: %w", err)
		}
		batch[i] = b
	}
	return batch, nil
}

func scalarOf(index int) group.Scalar { return curve.NewScalar().SetUint64(uint64(index)) }
