// SPDX-License-Identifier: EUPL-1.2

package oprf

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"log/slog"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/math/polynomial"
	"github.com/gtank/ristretto255"
)

// A Blinding holds a gateway's side of one batch: the inputs, their blinds, and
// the blinded elements that may be shown. It serves one batch, is not kept, and
// prints as [blinding].
type Blinding struct {
	secret  *secret // a pointer: fmt does not follow it where it calls no methods
	blinded batch
}

type secret struct {
	inputs [][]byte
	blinds []group.Scalar
}

// Blind hides 1 to MaxBatch inputs, each behind a random scalar of its own. An
// input has at most 65,535 bytes.
func Blind(inputs [][]byte) (*Blinding, error) {
	blinds := make([]group.Scalar, len(inputs))
	for i := range blinds {
		blinds[i] = curve.RandomNonZeroScalar(rand.Reader)
	}
	return blind(inputs, blinds)
}

// blind takes the blinds, which the RFC's vectors fix. One blind used for two
// inputs would show whether they are equal.
func blind(inputs [][]byte, blinds []group.Scalar) (*Blinding, error) {
	if len(inputs) == 0 || len(inputs) > MaxBatch {
		return nil, ErrBatch
	}
	copies := make([][]byte, len(inputs))
	blinded := make([]group.Element, len(inputs))
	for i, in := range inputs {
		if len(in) > 1<<16-1 {
			return nil, fmt.Errorf("oprf: an input is longer than its 16-bit length tells (RFC 9497 section 3.3.1)")
		}
		copies[i] = bytes.Clone(in)
		blinded[i] = curve.HashToElement(in, []byte("HashToGroup-"+contextString))
		blinded[i].Mul(blinded[i], blinds[i])
		if blinded[i].IsIdentity() {
			return nil, fmt.Errorf("oprf: an input hashes to the identity, or its blind is zero")
		}
	}
	elements, err := encode(blinded)
	if err != nil {
		return nil, err
	}
	return &Blinding{&secret{copies, blinds}, batch{blinded, elements}}, nil
}

// Elements are the blinded elements, 32 bytes each, in the order of the inputs.
func (b *Blinding) Elements() [][]byte {
	out := make([][]byte, len(b.blinded.encodings))
	for i, e := range b.blinded.encodings {
		out[i] = bytes.Clone(e)
	}
	return out
}

// A Partial is one evaluator's answer to one Blinding, verified.
type Partial struct {
	of       *Blinding
	sharing  string
	index    int
	elements []group.Element
}

// Index is the index of the share that answered.
func (p Partial) Index() int { return p.index }

// Verify checks the answer of the evaluator with this index, under commitments
// that come from the signed manifest. Every refusal is a *ShareError, so that the
// evaluator can be named and left out: ErrBatch when the answer has not as many
// elements as the batch, ErrElement when one is not an element or the identity,
// ErrProof for all else: another share, an answer to another batch, another
// order, one changed element.
func (b *Blinding) Verify(c Commitments, index int, elements [][]byte, proof []byte) (Partial, error) {
	refuse := func(err error) (Partial, error) { return Partial{}, &ShareError{index, err} }

	key, err := c.shareKey(index)
	if err != nil {
		return refuse(err)
	}
	if len(elements) != len(b.blinded.elements) {
		return refuse(ErrBatch)
	}
	answers, err := decodeBatch(elements)
	if err != nil {
		return refuse(err)
	}
	encodedKey, err := key.MarshalBinaryCompress()
	if err != nil {
		return refuse(err)
	}
	claim := statement{encodedKey, b.blinded, batch{answers, elements}}
	if !claim.verify(key, proof) {
		return refuse(ErrProof)
	}
	return Partial{b, c.id, index, answers}, nil
}

// Combine joins the answers of at least threshold different shares of one
// sharing and gives the output of each input, 64 bytes. It uses the first
// threshold of them; all have been verified, so any choice gives the same.
func (b *Blinding) Combine(threshold int, partials []Partial) (outputs [][]byte, err error) {
	if threshold < 1 || len(partials) < threshold {
		return nil, ErrTooFew
	}
	seen := make(map[int]bool, len(partials))
	for _, p := range partials {
		switch {
		case p.of != b || p.sharing != partials[0].sharing:
			return nil, ErrMixed
		case len(p.sharing) != threshold*ElementSize:
			// The polynomial has another degree than the caller thinks, and would
			// be interpolated wrongly.
			return nil, ErrThreshold
		case seen[p.index]:
			// circl's Lagrange basis is silently 0 for an index given twice.
			return nil, ErrDuplicate
		}
		seen[p.index] = true
	}
	combined := unblind(partials[:threshold], inverses(b.secret.blinds))
	outputs = make([][]byte, len(combined))
	for m, e := range combined {
		if e.IsIdentity() {
			return nil, ErrIdentity
		}
		encoding, err := e.MarshalBinaryCompress()
		if err != nil {
			return nil, fmt.Errorf("oprf: %w", err)
		}
		h := suite.Hash().New()
		h.Write(appendField(nil, b.secret.inputs[m]))
		h.Write(appendField(nil, encoding))
		h.Write([]byte("Finalize"))
		outputs[m] = h.Sum(nil)
		clear(encoding) // with the input it gives the output
	}
	return outputs, nil
}

// unblind finds f(0)·B/r from answers f(i)·B of different i, as Σ λ_i/r·E_i. That
// is in constant time, for the blinds' sake, and still costs less than Σ λ_i·E_i in
// variable time and a multiplication after it.
func unblind(partials []Partial, inverses []*ristretto255.Scalar) []group.Element {
	indexes := make([]group.Scalar, len(partials))
	for i, p := range partials {
		indexes[i] = scalarOf(p.index)
	}
	lambdas := make([]*ristretto255.Scalar, len(partials))
	for i := range partials {
		lambdas[i] = scalarFrom(polynomial.LagrangeBase(uint(i), indexes, curve.NewScalar()))
	}

	out := make([]group.Element, len(inverses))
	for m, inverse := range inverses {
		scalars := make([]*ristretto255.Scalar, len(partials))
		points := make([]*ristretto255.Element, len(partials))
		for i, p := range partials {
			scalars[i] = ristretto255.NewScalar().Multiply(lambdas[i], inverse)
			points[i] = point(p.elements[m])
		}
		out[m] = &element{*ristretto255.NewIdentityElement().MultiScalarMult(scalars, points)}
	}
	return out
}

// inverses inverts scalars, none of which is zero, at the price of one inversion
// and in constant time (Montgomery's trick): the product of all is inverted, and
// each is taken out of it, the last one first.
func inverses(scalars []group.Scalar) []*ristretto255.Scalar {
	out := make([]*ristretto255.Scalar, len(scalars))
	factors := make([]*ristretto255.Scalar, len(scalars))
	product := scalarFrom(scalarOf(1))
	for i, s := range scalars {
		factors[i] = scalarFrom(s)
		out[i] = ristretto255.NewScalar().Set(product) // of those before
		product.Multiply(product, factors[i])
	}
	product.Invert(product)
	for i := len(out) - 1; i >= 0; i-- {
		out[i].Multiply(out[i], product)
		product.Multiply(product, factors[i])
	}
	return out
}

// Format prints [blinding], whatever the verb.
func (*Blinding) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[blinding]") }

// LogValue logs [blinding].
func (*Blinding) LogValue() slog.Value { return slog.StringValue("[blinding]") }
