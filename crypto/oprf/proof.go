// SPDX-License-Identifier: EUPL-1.2

package oprf

import (
	"encoding/binary"

	"github.com/cloudflare/circl/group"
	"github.com/gtank/ristretto255"
)

// A statement is what a proof is about: one k has K = k·G and E[m] = k·B[m] for
// every m. All of it is public. The encodings stand beside the elements because
// the transcript is over them, and encoding costs as much as decoding.
type statement struct {
	key       []byte // K
	blinded   batch  // B
	evaluated batch  // E
}

type batch struct {
	elements  []group.Element
	encodings [][]byte
}

// prove is GenerateProof of RFC 9497 section 2.2.1. It knows k, so Z takes one
// multiplication and not a sum (ComputeCompositesFast there). The randomness r is
// as secret as k: two proofs under one r give k away.
func (s statement) prove(k, r *ristretto255.Scalar) []byte {
	m := s.blinded.sum(s.weights())
	z := ristretto255.NewIdentityElement().ScalarMult(k, m)
	t2 := ristretto255.NewIdentityElement().ScalarBaseMult(r)
	t3 := ristretto255.NewIdentityElement().ScalarMult(r, m)

	c := s.challenge(m, z, t2, t3)
	response := ristretto255.NewScalar().Multiply(c, k)
	response.Subtract(r, response)
	return append(c.Bytes(), response.Bytes()...)
}

// verify is VerifyProof of RFC 9497 section 2.2.2. Nothing in it is secret, and it
// takes as long as the numbers ask.
func (s statement) verify(key group.Element, proof []byte) bool {
	if len(proof) != ProofSize {
		return false
	}
	c, err := ristretto255.NewScalar().SetCanonicalBytes(proof[:ScalarSize])
	if err != nil {
		return false
	}
	response, err := ristretto255.NewScalar().SetCanonicalBytes(proof[ScalarSize:])
	if err != nil {
		return false
	}

	d := s.weights()
	m, z := s.blinded.sum(d), s.evaluated.sum(d)
	t2 := ristretto255.NewIdentityElement().VarTimeDoubleScalarBaseMult(c, point(key), response)
	t3 := ristretto255.NewIdentityElement().VarTimeMultiScalarMult(
		[]*ristretto255.Scalar{response, c}, []*ristretto255.Element{m, z})
	return s.challenge(m, z, t2, t3).Equal(c) == 1
}

// sum is Σ d[m]·element[m], in variable time: a composite of the RFC's.
func (b batch) sum(d []*ristretto255.Scalar) *ristretto255.Element {
	points := make([]*ristretto255.Element, len(b.elements))
	for i, e := range b.elements {
		points[i] = point(e)
	}
	return ristretto255.NewIdentityElement().VarTimeMultiScalarMult(d, points)
}

// weights hashes everything that is claimed to the d[m] of the RFC, without which
// errors in two elements could cancel each other out.
func (s statement) weights() []*ristretto255.Scalar {
	h := suite.Hash().New()
	h.Write(appendField(appendField(nil, s.key), []byte("Seed-"+contextString)))
	seed := h.Sum(nil)

	d := make([]*ristretto255.Scalar, len(s.blinded.encodings))
	for i := range d {
		input := appendField(nil, seed)
		input = binary.BigEndian.AppendUint16(input, uint16(i))
		input = appendField(input, s.blinded.encodings[i])
		input = appendField(input, s.evaluated.encodings[i])
		d[i] = hashToScalar(append(input, "Composite"...))
	}
	return d
}

// challenge binds a proof to K, to the composites and to the prover's commitments.
func (s statement) challenge(m, z, t2, t3 *ristretto255.Element) *ristretto255.Scalar {
	input := appendField(nil, s.key)
	for _, e := range []*ristretto255.Element{m, z, t2, t3} {
		input = appendField(input, e.Bytes())
	}
	return hashToScalar(append(input, "Challenge"...))
}

func hashToScalar(input []byte) *ristretto255.Scalar {
	return scalarFrom(curve.HashToScalar(input, []byte("HashToScalar-"+contextString)))
}

// appendField appends a length of two bytes and the field.
func appendField(b, field []byte) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(field))), field...)
}
