// SPDX-License-Identifier: EUPL-1.2

package bench

import (
	"crypto/rand"
	"fmt"
	"runtime"
	"slices"

	"github.com/seinhuis/seinhuis/crypto/oprf"
)

// answer is one answer to a batch, as it travels.
type answer struct {
	Elements [][]byte
	Proof    []byte
}

// benchEvaluator evaluates batches with one proof each, from bytes to bytes, on one
// core. Ours and circl's server have the same key.
func benchEvaluator(r *run) {
	_, share := r.oneKey()
	ours, err := oprf.NewEvaluator(share)
	r.must(err)
	for _, n := range []int{1, 16, oprf.MaxBatch} {
		blinding, err := oprf.Blind(inputs(n))
		r.must(err)
		elements := blinding.Elements()
		evaluated, _, err := ours.Evaluate(elements)
		r.must(err)
		var theirs answer
		if r.ask("circl.evaluate", answer{Elements: elements}, &theirs) && !slices.EqualFunc(theirs.Elements, evaluated, slices.Equal) {
			r.Fatal("ours and circl's answers differ")
		}
		work := fmt.Sprintf("evaluator: prove batches of %d", n)
		o, p := r.alternate(work, func(int) float64 {
			return r.oneCore(n, func() error {
				_, _, err := ours.Evaluate(elements)
				return err
			})
		}, r.peer(func(int) float64 { return r.circlRate("evaluate", n) }))
		row := Row{Work: work, Peer: "circl's server", Unit: "elements/s/core", Aim: atLeast(1)}
		if n == oprf.MaxBatch {
			row.Aim = atLeast(1.7)
		}
		r.row(row, o, p)
	}
}

// benchFinalise verifies one evaluator's answer to a batch of 64 and finalises it,
// from bytes to outputs, on one core: what circl's client does.
func benchFinalise(r *run) {
	commitments, share := r.oneKey()
	ours, err := oprf.NewEvaluator(share)
	r.must(err)
	of := inputs(oprf.MaxBatch)
	blinding, err := oprf.Blind(of)
	r.must(err)
	var got answer
	got.Elements, got.Proof, err = ours.Evaluate(blinding.Elements())
	r.must(err)
	var outputs [][]byte
	finalise := func() error {
		partial, err := blinding.Verify(commitments, 1, got.Elements, got.Proof)
		if err != nil {
			return err
		}
		outputs, err = blinding.Combine(1, []oprf.Partial{partial})
		return err
	}
	r.must(finalise())

	// circl's client blinds by itself; our evaluator answers it.
	var blinded, answered answer
	if r.ask("circl.blind", map[string]any{"inputs": of}, &blinded) {
		answered.Elements, answered.Proof, err = ours.Evaluate(blinded.Elements)
		r.must(err)
		var theirs struct{ Outputs [][]byte }
		if r.ask("circl.finalise", answered, &theirs); !slices.EqualFunc(theirs.Outputs, outputs, slices.Equal) {
			r.Fatal("ours and circl's outputs differ")
		}
	}
	work := fmt.Sprintf("gateway: finalise batches of %d", oprf.MaxBatch)
	o, p := r.alternate(work, func(int) float64 { return r.oneCore(oprf.MaxBatch, finalise) },
		r.peer(func(int) float64 { return r.circlRate("finalise", oprf.MaxBatch) }))
	r.row(Row{Work: work, Peer: "circl's client", Unit: "elements/s/core", Aim: atLeast(2)}, o, p)
}

// oneKey is a key as the one share of a sharing, which circl has as well.
func (r *run) oneKey() (oprf.Commitments, oprf.Share) {
	r.Helper()
	commitments, shares, err := oprf.Deal(1, 1)
	r.must(err)
	key, err := shares[0].MarshalBinary()
	r.must(err)
	r.ask("circl.key", map[string]any{"key": key}, nil)
	return commitments, shares[0]
}

// inputs are as long as an identity's canonical form.
func inputs(n int) [][]byte {
	list := make([][]byte, n)
	for i := range list {
		list[i] = make([]byte, 60)
		rand.Read(list[i])
	}
	return list
}

// oneCore does something over and over on one core, and gives elements per second
// of CPU time, so that others' work on the machine does not count.
func (r *run) oneCore(elements int, do func() error) float64 {
	r.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	start, times := cpuTime(), 0
	for cpuTime()-start < r.crypto {
		r.must(do())
		times++
	}
	return float64(elements*times) / (cpuTime() - start).Seconds()
}

// circlRate has circl do the same as long.
func (r *run) circlRate(what string, elements int) float64 {
	r.Helper()
	var got struct{ Times, Seconds float64 }
	r.ask("circl.time", map[string]any{"what": what, "seconds": r.crypto.Seconds()}, &got)
	return float64(elements) * got.Times / got.Seconds
}
