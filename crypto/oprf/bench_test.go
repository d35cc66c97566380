// SPDX-License-Identifier: EUPL-1.2

package oprf

import (
	"fmt"
	"testing"

	circl "github.com/cloudflare/circl/oprf"
)

// Both sides of a benchmark start and end with bytes, as life does, so circl's
// decoding and encoding of elements counts like ours. Compare medians of many runs
// under GOMAXPROCS=1.

var benchSizes = []int{1, 16, MaxBatch}

// perElement times work on a batch of n.
func perElement(b *testing.B, n int, work func() error) {
	for b.Loop() {
		if err := work(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/element")
}

func benchInputs(n int) [][]byte {
	inputs := make([][]byte, n)
	for i := range inputs {
		inputs[i] = random(60) // about what an identity's canonical form is long
	}
	return inputs
}

func BenchmarkEvaluate(b *testing.B) {
	for _, n := range benchSizes {
		server, _, shares := mustCirclServer(b, 1, 1)
		server.PublicKey() // else the first evaluation computes it
		ours := mustEvaluator(b, shares[0])
		blinding, err := Blind(benchInputs(n))
		if err != nil {
			b.Fatal(err)
		}
		elements := blinding.Elements()
		b.Run(fmt.Sprintf("%d/ours", n), func(b *testing.B) {
			perElement(b, n, func() error {
				_, _, err := ours.Evaluate(elements)
				return err
			})
		})
		b.Run(fmt.Sprintf("%d/circl", n), func(b *testing.B) {
			perElement(b, n, func() error {
				_, err := circlEvaluate(server, elements)
				return err
			})
		})
	}
}

// BenchmarkVerifyFinalise verifies the answer to a batch and finalises. In "ours"
// one share's answer, as circl's client has one server's; in "ours_2_of_3" those of
// two shares, as a gateway has.
func BenchmarkVerifyFinalise(b *testing.B) {
	for _, n := range benchSizes {
		inputs := benchInputs(n)
		for i, name := range []string{"ours", "ours_2_of_3"} {
			threshold := i + 1
			c, shares := mustDeal(b, threshold, 2*threshold-1)
			blinding, err := Blind(inputs)
			if err != nil {
				b.Fatal(err)
			}
			var answers []answer
			for _, s := range shares[:threshold] {
				answers = append(answers, ask(b, s, blinding.Elements()))
			}
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				perElement(b, n, func() error {
					var partials []Partial
					for i, a := range answers {
						p, err := blinding.Verify(c, i+1, a.elements, a.proof)
						if err != nil {
							return err
						}
						partials = append(partials, p)
					}
					_, err := blinding.Combine(threshold, partials)
					return err
				})
			})
		}

		server, _, _ := mustCirclServer(b, 1, 1)
		client := circl.NewVerifiableClient(suite, server.PublicKey())
		data, request, err := client.Blind(inputs)
		if err != nil {
			b.Fatal(err)
		}
		elements, err := encode(request.Elements)
		if err != nil {
			b.Fatal(err)
		}
		a, err := circlEvaluate(server, elements)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%d/circl", n), func(b *testing.B) {
			perElement(b, n, func() error {
				evaluation, err := circlAnswer(a)
				if err != nil {
					return err
				}
				_, err = client.Finalize(data, evaluation)
				return err
			})
		})
	}
}
