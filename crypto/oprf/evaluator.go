// SPDX-License-Identifier: EUPL-1.2

package oprf

import (
	"crypto/rand"
	"fmt"
	"log/slog"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/zk/dleq"
)

// An Evaluator answers under one share. Nothing in it changes, so goroutines may
// share one. It prints as [evaluator].
type Evaluator struct {
	share Share
	// The share's public half, computed here and not at the first answer: circl's
	// server keeps its own at first use, which is a race.
	public group.Element
}

// NewEvaluator makes the evaluator of a share.
func NewEvaluator(share Share) (*Evaluator, error) {
	if share.value == nil {
		return nil, ErrShare
	}
	return &Evaluator{share, curve.NewElement().MulGen(share.value())}, nil
}

// Evaluate multiplies 1 to MaxBatch blinded elements by the share, in their order,
// and proves that it used the share for all of them. It takes as long for one
// share as for another: ristretto's multiplication is constant-time.
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
	p, err := dleq.Prover{Params: proofs}.ProveBatchWithRandomnessRFC9497(key, v.public, blinded, answers, r)
	if err != nil {
		return nil, nil, fmt.Errorf("oprf: %w", err)
	}
	proof, err := p.MarshalBinary()
	if err != nil {
		return nil, nil, fmt.Errorf("oprf: %w", err)
	}
	evaluated, err := encode(answers)
	if err != nil {
		return nil, nil, err
	}
	return evaluated, proof, nil
}

// Index is the index of the share.
func (v *Evaluator) Index() int { return v.share.index }

// Format prints [evaluator], whatever the verb.
func (*Evaluator) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[evaluator]") }

// LogValue logs [evaluator].
func (*Evaluator) LogValue() slog.Value { return slog.StringValue("[evaluator]") }
