// SPDX-License-Identifier: EUPL-1.2

package oprf

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"log/slog"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/math/polynomial"
	circl "github.com/cloudflare/circl/oprf"
	"github.com/cloudflare/circl/zk/dleq"
)

// A Blinding holds a gateway's side of one batch: the inputs, their blinds, and
// the blinded elements that may be shown. It serves one batch, is not kept, and
// prints as [blinding].
type Blinding struct {
	data     *circl.FinalizeData
	blinded  []group.Element
	elements [][]byte
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
	for i, in := range inputs {
		if len(in) > 1<<16-1 {
			return nil, fmt.Errorf("oprf: an input is longer than its 16-bit length tells (RFC 9497 section 3.3.1)")
		}
		copies[i] = bytes.Clone(in)
	}
	client, err := verifiableClient()
	if err != nil {
		return nil, err
	}
	data, request, err := client.DeterministicBlind(copies, blinds)
	if err != nil {
		return nil, fmt.Errorf("oprf: %w", err)
	}
	elements, err := encode(request.Elements)
	if err != nil {
		return nil, err
	}
	return &Blinding{data, request.Elements, elements}, nil
}

// verifiableClient is circl's client of mode 0x01, which hashes inputs to
// elements under that mode's label. It asks for a server's key, refuses the
// identity with a panic, and uses the key only in its own Finalize, which is not
// called: proofs are verified share by share. The generator stands in.
func verifiableClient() (circl.VerifiableClient, error) {
	generator, err := curve.Generator().MarshalBinaryCompress()
	if err != nil {
		return circl.VerifiableClient{}, fmt.Errorf("oprf: %w", err)
	}
	key := new(circl.PublicKey)
	if err := key.UnmarshalBinary(suite, generator); err != nil {
		return circl.VerifiableClient{}, fmt.Errorf("oprf: %w", err)
	}
	return circl.NewVerifiableClient(suite, key), nil
}

// Elements are the blinded elements, 32 bytes each, in the order of the inputs.
func (b *Blinding) Elements() [][]byte {
	out := make([][]byte, len(b.elements))
	for i, e := range b.elements {
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
	if len(elements) != len(b.blinded) {
		return refuse(ErrBatch)
	}
	answers, err := decodeBatch(elements)
	if err != nil {
		return refuse(err)
	}
	p := new(dleq.Proof)
	if err := p.UnmarshalBinary(curve, proof); err != nil {
		return refuse(ErrProof)
	}
	if !(dleq.Verifier{Params: proofs}).VerifyBatchRFC9497(key, b.blinded, answers, p) {
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
	return b.finalize(interpolate(partials[:threshold]))
}

// interpolate finds f(0)·B from answers f(i)·B of different i: Σ λ_i·E_i.
func interpolate(partials []Partial) []group.Element {
	indexes := make([]group.Scalar, len(partials))
	for i, p := range partials {
		indexes[i] = scalarOf(p.index)
	}
	combined := make([]group.Element, len(partials[0].elements))
	for m := range combined {
		combined[m] = curve.Identity()
	}
	for i, p := range partials {
		lambda := polynomial.LagrangeBase(uint(i), indexes, curve.NewScalar())
		for m, e := range p.elements {
			combined[m].Add(combined[m], curve.NewElement().Mul(e, lambda))
		}
	}
	return combined
}

// finalize unblinds and hashes (RFC 9497 section 3.3.1). The base client does not
// look for a proof: those of the shares have been verified, and for the whole key
// there is none. Its output is the verifiable client's.
func (b *Blinding) finalize(combined []group.Element) ([][]byte, error) {
	for _, e := range combined {
		if e.IsIdentity() {
			return nil, ErrIdentity
		}
	}
	outputs, err := circl.NewClient(suite).Finalize(b.data, &circl.Evaluation{Elements: combined})
	if err != nil {
		return nil, fmt.Errorf("oprf: %w", err)
	}
	return outputs, nil
}

// Format prints [blinding], whatever the verb.
func (*Blinding) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[blinding]") }

// LogValue logs [blinding].
func (*Blinding) LogValue() slog.Value { return slog.StringValue("[blinding]") }
