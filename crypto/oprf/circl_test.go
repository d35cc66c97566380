// SPDX-License-Identifier: EUPL-1.2

package oprf

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"testing"

	"github.com/cloudflare/circl/group"
	circl "github.com/cloudflare/circl/oprf"
	"github.com/cloudflare/circl/zk/dleq"
)

// What is here holds the package to circl's own client, server and group, which
// share no arithmetic of elements with it.

var (
	circlGroup  = suite.Group()
	circlProofs = dleq.Params{G: circlGroup, H: suite.Hash(), DST: []byte(contextString)}
)

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func randomScalar() group.Scalar { return curve.RandomNonZeroScalar(rand.Reader) }

// mustCirclServer has one key in circl's server, and shared t-of-n.
func mustCirclServer(t testing.TB, threshold, n int) (circl.VerifiableServer, Commitments, []Share) {
	t.Helper()
	value, err := randomScalar().MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	key := new(circl.PrivateKey)
	if err := key.UnmarshalBinary(suite, value); err != nil {
		t.Fatal(err)
	}
	c, shares, err := Split(value, threshold, n)
	if err != nil {
		t.Fatal(err)
	}
	return circl.NewVerifiableServer(suite, key), c, shares
}

// circlAnswer reads an answer with circl's decoders; the elements alone when there
// is no proof.
func circlAnswer(a answer) (*circl.Evaluation, error) {
	evaluation := new(circl.Evaluation)
	for _, b := range a.elements {
		e := circlGroup.NewElement()
		if err := e.UnmarshalBinary(b); err != nil {
			return nil, err
		}
		evaluation.Elements = append(evaluation.Elements, e)
	}
	if a.proof == nil {
		return evaluation, nil
	}
	evaluation.Proof = new(dleq.Proof)
	return evaluation, evaluation.Proof.UnmarshalBinary(circlGroup, a.proof)
}

// circlEvaluate is circl's server, from bytes to bytes.
func circlEvaluate(server circl.VerifiableServer, elements [][]byte) (answer, error) {
	blinded, err := circlAnswer(answer{elements, nil})
	if err != nil {
		return answer{}, err
	}
	evaluation, err := server.Evaluate(&circl.EvaluationRequest{Elements: blinded.Elements})
	if err != nil {
		return answer{}, err
	}
	evaluated, err := encode(evaluation.Elements)
	if err != nil {
		return answer{}, err
	}
	proof, err := evaluation.Proof.MarshalBinary()
	return answer{evaluated, proof}, err
}

// interpolate gives what unblind combines, before it is unblinded: f(0)·B.
func interpolate(partials []Partial) []group.Element {
	ones := slices.Repeat([]group.Scalar{scalarOf(1)}, len(partials[0].elements))
	return unblind(partials, inverses(ones))
}

// TestBatchesAgainstCircl runs batches under one undivided key through both, with
// the same blinds and the same randomness of proofs, and gives each one's answers
// to the other.
func TestBatchesAgainstCircl(t *testing.T) {
	sizes := []int{1, 2, MaxBatch}
	for range 4 {
		sizes = append(sizes, 1+mathrand.IntN(MaxBatch))
	}
	for _, n := range sizes {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			server, c, shares := mustCirclServer(t, 1, 1)
			client := circl.NewVerifiableClient(suite, server.PublicKey())
			ours := mustEvaluator(t, shares[0])

			var inputs [][]byte
			var blinds []group.Scalar
			for range n {
				inputs = append(inputs, random(mathrand.IntN(200)))
				blinds = append(blinds, randomScalar())
			}
			b, err := blind(inputs, blinds)
			if err != nil {
				t.Fatal(err)
			}
			data, request, err := client.DeterministicBlind(inputs, blinds)
			if err != nil {
				t.Fatal(err)
			}
			blinded, err := encode(request.Elements)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "blinded elements", asHexes(b.Elements()), asHexes(blinded))

			// Our answer is circl's to the byte, and circl's client takes it.
			r := randomScalar()
			elements, proof, err := ours.evaluate(blinded, r)
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := circlEvaluate(server, blinded)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "evaluated elements", asHexes(elements), asHexes(theirs.elements))
			evaluation, err := circlAnswer(answer{elements, proof})
			if err != nil {
				t.Fatal(err)
			}
			if want := circlProve(t, circlProofs, shares[0], blinded, r); !bytes.Equal(proof, want) {
				t.Errorf("proof %x, want %x", proof, want)
			}
			want, err := client.Finalize(data, evaluation)
			if err != nil {
				t.Errorf("circl's client refuses our answer: %v", err)
			}

			// And we take the answer of circl's server, whose proof is another.
			p, err := b.Verify(c, 1, theirs.elements, theirs.proof)
			if err != nil {
				t.Fatalf("we refuse the answer of circl's server: %v", err)
			}
			outputs, err := b.Combine(1, []Partial{p})
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "outputs", asHexes(outputs), asHexes(want))

			for reason, bad := range map[string]answer{
				"one_bit_of_the_proof": flipBit(answer{elements, proof}),
				"another_element":      swapIn(answer{elements, proof}),
			} {
				t.Run("rejects/"+reason, func(t *testing.T) {
					_, err := b.Verify(c, 1, bad.elements, bad.proof)
					evaluation, theirErr := circlAnswer(bad)
					if theirErr == nil {
						_, theirErr = client.Finalize(data, evaluation)
					}
					if err == nil || theirErr == nil {
						t.Errorf("%x: %v; by circl: %v", bad.proof, err, theirErr)
					}
				})
			}
		})
	}
}

func flipBit(a answer) answer {
	proof := bytes.Clone(a.proof)
	proof[mathrand.IntN(ProofSize)] ^= 1 << mathrand.IntN(8)
	return answer{a.elements, proof}
}

func swapIn(a answer) answer {
	elements := slices.Clone(a.elements)
	elements[mathrand.IntN(len(elements))], _ = curve.RandomElement(rand.Reader).MarshalBinary()
	return answer{elements, a.proof}
}

// circlProve proves with circl's prover, in whichever group.
func circlProve(t testing.TB, p dleq.Params, s Share, elements [][]byte, r group.Scalar) []byte {
	t.Helper()
	var blinded, evaluated []group.Element
	for _, b := range elements {
		e := p.G.NewElement()
		if err := e.UnmarshalBinary(b); err != nil {
			t.Fatal(err)
		}
		blinded = append(blinded, e)
		evaluated = append(evaluated, p.G.NewElement().Mul(e, s.value()))
	}
	key := p.G.NewElement().MulGen(s.value())
	proof, err := dleq.Prover{Params: p}.ProveBatchWithRandomnessRFC9497(s.value(), key, blinded, evaluated, r)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := proof.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

// TestSharingsAgainstCircl wants of any t of n shares what circl's server, which
// has the key, computes by itself.
func TestSharingsAgainstCircl(t *testing.T) {
	for range 6 {
		n := 1 + mathrand.IntN(6)
		threshold := 1 + mathrand.IntN(n)
		t.Run(fmt.Sprintf("%d_of_%d", threshold, n), func(t *testing.T) {
			server, c, shares := mustCirclServer(t, threshold, n)
			mathrand.Shuffle(n, func(i, j int) { shares[i], shares[j] = shares[j], shares[i] })
			var inputs [][]byte
			for range 1 + mathrand.IntN(5) {
				inputs = append(inputs, random(mathrand.IntN(100)))
			}
			b, err := Blind(inputs)
			if err != nil {
				t.Fatal(err)
			}
			var partials []Partial
			for _, s := range shares[:threshold] {
				if !s.Verify(c) {
					t.Errorf("share %d is not of its commitments", s.Index())
				}
				partials = append(partials, mustVerify(t, b, c, s))
			}
			outputs, err := b.Combine(threshold, partials)
			if err != nil {
				t.Fatal(err)
			}
			for i, in := range inputs {
				if want, err := server.FullEvaluate(in); err != nil || !bytes.Equal(outputs[i], want) {
					t.Errorf("input %d: %x, want %x (%v)", i, outputs[i], want, err)
				}
			}
		})
	}
}

// TestCirclRunsOnOurGroup has circl's prover and verifier, which know nothing of
// our sums, use our elements.
func TestCirclRunsOnOurGroup(t *testing.T) {
	on := circlProofs
	on.G = curve
	_, shares := mustDeal(t, 1, 1)
	elements, r := mustBlind(t, "one", "two", "three").Elements(), randomScalar()
	proof := circlProve(t, on, shares[0], elements, r)
	if want := circlProve(t, circlProofs, shares[0], elements, r); !bytes.Equal(proof, want) {
		t.Errorf("proof %x, want %x", proof, want)
	}
	p := new(dleq.Proof)
	if err := p.UnmarshalBinary(curve, proof); err != nil {
		t.Fatal(err)
	}
	blinded, err := decodeBatch(elements)
	if err != nil {
		t.Fatal(err)
	}
	evaluated, err := decodeBatch(ask(t, shares[0], elements).elements)
	if err != nil {
		t.Fatal(err)
	}
	key := curve.NewElement().MulGen(shares[0].value())
	if !(dleq.Verifier{Params: on}).VerifyBatchRFC9497(key, blinded, evaluated, p) {
		t.Error("circl's verifier refuses our elements")
	}
	evaluated[0].Dbl(evaluated[0])
	if (dleq.Verifier{Params: on}).VerifyBatchRFC9497(key, blinded, evaluated, p) {
		t.Error("circl's verifier takes any elements of ours")
	}
}

// TestGroupAgainstCircl does everything a group can do in both groups.
func TestGroupAgainstCircl(t *testing.T) {
	last := curve.NewScalar().Neg(scalarOf(1)) // the greatest scalar
	scalars := []group.Scalar{scalarOf(0), scalarOf(1), last}
	for range 8 {
		scalars = append(scalars, randomScalar())
	}
	for _, s := range scalars {
		seed, message, dst := randomScalar(), random(mathrand.IntN(200)), random(1+mathrand.IntN(300))
		run := func(g group.Group) []group.Element {
			x, y := g.NewElement().MulGen(seed), g.HashToElement(message, dst)
			return []group.Element{
				x, y, g.NewElement(), g.Identity(), g.Generator(),
				g.HashToElementNonUniform(message, dst),
				g.NewElement().MulGen(s), g.NewElement().Mul(y, s), x.Copy().Mul(x, s),
				g.NewElement().Add(x, y), x.Copy().Add(x, x), g.NewElement().Dbl(x), g.NewElement().Neg(x),
				x.Copy(), g.NewElement().Set(x),
				x.Copy().CMov(0, y), x.Copy().CMov(1, y),
				g.Generator().CSelect(0, x, y), g.Generator().CSelect(1, x, y),
			}
		}
		ours, theirs := run(curve), run(circlGroup)
		got, err := encode(ours)
		if err != nil {
			t.Fatal(err)
		}
		want, err := encode(theirs)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, fmt.Sprint("elements under ", s), asHexes(got), asHexes(want))
		for i, e := range ours {
			if e.Group() != group.Group(curve) || e.IsIdentity() != theirs[i].IsIdentity() {
				t.Errorf("element %d: the group or identity of another", i)
			}
			for j, f := range ours {
				if e.IsEqual(f) != theirs[i].IsEqual(theirs[j]) {
					t.Errorf("elements %d and %d: equal %v", i, j, e.IsEqual(f))
				}
			}
		}
	}
	if a, b := curve.RandomElement(rand.Reader), curve.RandomElement(rand.Reader); a.IsEqual(b) || a.IsIdentity() {
		t.Error("random elements are not random")
	}
	t.Run("rejects/selector_that_is_no_bit", func(t *testing.T) {
		defer func() {
			if recover() != group.ErrSelector {
				t.Error("selected")
			}
		}()
		curve.NewElement().CMov(2, curve.Generator())
	})
}

// decodesLikeCircl wants of decode what circl's decoder says, but for the identity.
func decodesLikeCircl(t *testing.T, b []byte) {
	t.Helper()
	theirs := circlGroup.NewElement()
	theirErr := theirs.UnmarshalBinary(b)
	ours, err := decode(b)
	if want := theirErr == nil && !theirs.IsIdentity(); (err == nil) != want {
		t.Fatalf("%x: %v; by circl: %v", b, err, theirErr)
	}
	if err != nil {
		return
	}
	if got, _ := ours.MarshalBinary(); !bytes.Equal(got, b) {
		t.Errorf("%x is encoded as %x", b, got)
	}
}

func TestDecodeAgainstCircl(t *testing.T) {
	for range 2000 {
		b := random(ElementSize)
		decodesLikeCircl(t, b) // refused three times in four for its sign or size
		b[0] &^= 1
		b[ElementSize-1] &^= 128
		decodesLikeCircl(t, b)
	}
}

func FuzzDecodeAgainstCircl(f *testing.F) {
	f.Add(mustBlind(f, "one").Elements()[0])
	f.Add(make([]byte, ElementSize))
	for _, s := range []string{
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
		"3eb858e78f5a7254d8c9731174a94f76755fd3941c0ac93735c07ba14579630e",
	} {
		b, _ := hex.DecodeString(s)
		f.Add(b)
	}
	f.Fuzz(decodesLikeCircl)
}

func TestBlindRejectsBlindOfZero(t *testing.T) {
	if _, err := blind([][]byte{[]byte("one"), []byte("two")}, []group.Scalar{scalarOf(3), scalarOf(0)}); err == nil {
		t.Error("accepted")
	}
}

func TestInverses(t *testing.T) {
	for _, n := range []int{1, 2, MaxBatch} {
		scalars := []group.Scalar{curve.NewScalar().Neg(scalarOf(1))}
		for len(scalars) < n {
			scalars = append(scalars, randomScalar())
		}
		for i, inverse := range inverses(scalars) {
			if want, _ := curve.NewScalar().Inv(scalars[i]).MarshalBinary(); !bytes.Equal(inverse.Bytes(), want) {
				t.Errorf("%d of %d: %x, want %x", i, n, inverse.Bytes(), want)
			}
		}
	}
}
