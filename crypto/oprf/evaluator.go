// SPDX-License-Identifier: EUPL-1.2

package oprf

import (
	"crypto/rand"
	"fmt"
	"log/slog"

	"github.com/cloudflare/circl/group"
)

// An Evaluator answers under one share. Nothing in it changes, so goroutines may
// share one. It prints as [evaluator].
type Evaluator struct {
	share  Share
	public []byte // the share's public half, encoded
}

// NewEvaluator makes the evaluator of a share.
func NewEvaluator(share Share) (*Evaluator, error) {
	if share.value == nil {
		return nil, ErrShare
	}
	public, err := encode([]group.Element{curve.NewElement().MulGen(share.value())})
	if err != nil {
		return nil, err
	}
	return &Evaluator{share, public[0]}, nil
}

// Evaluate multiplies 1 to MaxBatch blinded elements by the share, in their order,
// and proves that it used the share for all of them. It takes as long for one
// share as for another.
func (v *Evaluator) Evaluate(elements [][]byte) (evaluated [][]byte, proof []byte, err error) {
	return v.evaluate(elements, curve.RandomNonZeroScalar(rand.Reader))
}

// evaluate takes the randomness of the proof, which the RFC's vectors fix. Used
// for two batches it would give the share away.
func (v *Evaluator) evaluate(elements [][]byte, r group.Scalar) ([][]byte, []byte, error) {
	blinded, err := decodeBatch(elements)
	if err != nil {
		return nil, nil, err
	}
	key := v.share.value()
	answers := make([]group.Element, len(blinded))
	for i, b := range blinded {
		answers[i] = curve.NewElement().Mul(b, key)
	}
	evaluated, err := encode(answers)
	if err != nil {
		return nil, nil, err
	}
	claim := statement{v.public, batch{blinded, elements}, batch{answers, evaluated}}
	return evaluated, claim.prove(scalarFrom(key), scalarFrom(r)), nil
}

// Index is the index of the share.
func (v *Evaluator) Index() int { return v.share.index }

// Format prints [evaluator], whatever the verb.
func (*Evaluator) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[evaluator]") }

// LogValue logs [evaluator].
func (*Evaluator) LogValue() slog.Value { return slog.StringValue("[evaluator]") }
