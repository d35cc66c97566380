// SPDX-License-Identifier: EUPL-1.2

package oprf

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/math/polynomial"
)

var update = flag.Bool("update", false, "rewrite testdata/shared-key.json")

// hexes is binary in a vector file.
type hexes []byte

func (h hexes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

func (h *hexes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

func readVectors(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

func scalar(t testing.TB, b []byte) group.Scalar {
	t.Helper()
	s := curve.NewScalar()
	if err := s.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	return s
}

func mustEvaluator(t testing.TB, s Share) *Evaluator {
	t.Helper()
	v, err := NewEvaluator(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func equal(t *testing.T, what string, got, want []hexes) {
	t.Helper()
	if !slices.EqualFunc(got, want, func(a, b hexes) bool { return bytes.Equal(a, b) }) {
		t.Errorf("%s: %x, want %x", what, got, want)
	}
}

func asHexes(list [][]byte) []hexes {
	out := make([]hexes, len(list))
	for i, b := range list {
		out[i] = b
	}
	return out
}

func asBytes(list []hexes) [][]byte {
	out := make([][]byte, len(list))
	for i, b := range list {
		out[i] = b
	}
	return out
}

type rfcVectors struct {
	SkSm    hexes `json:"skSm"`
	PkSm    hexes `json:"pkSm"`
	Vectors []struct {
		Inputs             []hexes `json:"inputs"`
		Blinds             []hexes `json:"blinds"`
		BlindedElements    []hexes `json:"blindedElements"`
		EvaluationElements []hexes `json:"evaluationElements"`
		Proof              hexes   `json:"proof"`
		ProofRandomScalar  hexes   `json:"proofRandomScalar"`
		Outputs            []hexes `json:"outputs"`
	} `json:"vectors"`
}

func rfcBlinding(t *testing.T, inputs, blinds []hexes) *Blinding {
	t.Helper()
	var scalars []group.Scalar
	for _, b := range blinds {
		scalars = append(scalars, scalar(t, b))
	}
	b, err := blind(asBytes(inputs), scalars)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRFC9497Undivided runs the RFC's own figures through the code that shares
// run through: the whole key is share 1 of a sharing of degree 0.
func TestRFC9497Undivided(t *testing.T) {
	var rfc rfcVectors
	readVectors(t, "testdata/rfc9497-a.1.2.json", &rfc)
	c, err := ParseCommitments([][]byte{rfc.PkSm})
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParseShare(1, rfc.SkSm)
	if err != nil || !key.Verify(c) {
		t.Fatalf("pkSm is not skSm's public half: %v", err)
	}
	if len(rfc.Vectors) != 3 {
		t.Fatalf("%d vectors, want the RFC's 3", len(rfc.Vectors))
	}
	for n, v := range rfc.Vectors {
		t.Run(fmt.Sprint(n+1), func(t *testing.T) {
			b := rfcBlinding(t, v.Inputs, v.Blinds)
			equal(t, "blinded elements", asHexes(b.Elements()), v.BlindedElements)
			elements, proof, err := mustEvaluator(t, key).evaluate(b.Elements(), scalar(t, v.ProofRandomScalar))
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "evaluated elements", asHexes(elements), v.EvaluationElements)
			if !bytes.Equal(proof, v.Proof) {
				t.Errorf("proof %x, want %x", proof, v.Proof)
			}
			p, err := b.Verify(c, 1, elements, proof)
			if err != nil {
				t.Fatal(err)
			}
			outputs, err := b.Combine(1, []Partial{p})
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "outputs", asHexes(outputs), v.Outputs)
		})
	}
}

// TestRFC9497Split shares the RFC's key 3-of-5 and wants the RFC's outputs from
// each three of the five.
func TestRFC9497Split(t *testing.T) {
	var rfc rfcVectors
	readVectors(t, "testdata/rfc9497-a.1.2.json", &rfc)
	c, shares, err := Split(rfc.SkSm, 3, 5)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(c.Bytes()[0], rfc.PkSm) || c.Threshold() != 3 {
		t.Errorf("C_0 is %x of %d commitments, want %x of 3", c.Bytes()[0], c.Threshold(), rfc.PkSm)
	}
	for n, v := range rfc.Vectors {
		b := rfcBlinding(t, v.Inputs, v.Blinds)
		var answers []Partial
		for _, s := range shares {
			if !s.Verify(c) {
				t.Fatalf("share %d is not of its commitments", s.Index())
			}
			elements, proof, err := mustEvaluator(t, s).Evaluate(b.Elements())
			if err != nil {
				t.Fatal(err)
			}
			p, err := b.Verify(c, s.Index(), elements, proof)
			if err != nil {
				t.Fatal(err)
			}
			answers = append(answers, p)
		}
		three := 0
		for set := range 1 << len(shares) {
			var chosen []Partial
			for i, p := range answers {
				if set>>i&1 == 1 {
					chosen = append(chosen, p)
				}
			}
			if len(chosen) != 3 {
				continue
			}
			three++
			// The order in which evaluators answer is chance.
			for _, order := range [][]Partial{chosen, {chosen[2], chosen[0], chosen[1]}} {
				combined, err := encode(interpolate(order))
				if err != nil {
					t.Fatal(err)
				}
				equal(t, fmt.Sprintf("vector %d, shares %05b: combined elements", n+1, set), asHexes(combined), v.EvaluationElements)
				outputs, err := b.Combine(3, order)
				if err != nil {
					t.Fatal(err)
				}
				equal(t, fmt.Sprintf("vector %d, shares %05b: outputs", n+1, set), asHexes(outputs), v.Outputs)
			}
		}
		if three != 10 {
			t.Errorf("%d subsets of three, want 10", three)
		}
		outputs, err := b.Combine(3, answers)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, fmt.Sprintf("vector %d, all five: outputs", n+1), asHexes(outputs), v.Outputs)
	}
}

// sharedKey is testdata/shared-key.json: one batch of two under a key shared
// 2-of-3, with every intermediate value. Scalars are little-endian.
type sharedKey struct {
	Comment      string           `json:"comment"`
	Threshold    int              `json:"threshold"`
	Coefficients []hexes          `json:"coefficients"` // f_0 = k, f_1
	Commitments  []hexes          `json:"commitments"`  // C_0, C_1
	Inputs       []hexes          `json:"inputs"`
	Blinds       []hexes          `json:"blinds"`
	Blinded      []hexes          `json:"blinded"`
	Shares       []sharedKeyShare `json:"shares"`
	Subsets      []sharedKeySet   `json:"subsets"`
	Combined     []hexes          `json:"combined"` // k·B, the same for every subset
	Outputs      []hexes          `json:"outputs"`
}

type sharedKeyShare struct {
	Index       int     `json:"index"`
	Share       hexes   `json:"share"`    // f(index)
	ShareKey    hexes   `json:"shareKey"` // K_index
	Evaluated   []hexes `json:"evaluated"`
	ProofRandom hexes   `json:"proofRandom"`
	Proof       hexes   `json:"proof"`
}

type sharedKeySet struct {
	Indexes []int   `json:"indexes"`
	Lambdas []hexes `json:"lambdas"` // Lagrange coefficients at 0, in the order of indexes
}

// computeSharedKey fills in everything that follows from the coefficients, the
// inputs, the blinds and the proofs' randomness.
func computeSharedKey(t *testing.T, given sharedKey) sharedKey {
	t.Helper()
	v := given
	v.Commitments, v.Blinded, v.Combined, v.Outputs = nil, nil, nil, nil
	v.Shares, v.Subsets = slices.Clone(given.Shares), slices.Clone(given.Subsets)

	var f []group.Scalar
	for _, c := range v.Coefficients {
		f = append(f, scalar(t, c))
		e, err := curve.NewElement().MulGen(f[len(f)-1]).MarshalBinaryCompress()
		if err != nil {
			t.Fatal(err)
		}
		v.Commitments = append(v.Commitments, e)
	}
	c, err := ParseCommitments(asBytes(v.Commitments))
	if err != nil {
		t.Fatal(err)
	}
	b := rfcBlinding(t, v.Inputs, v.Blinds)
	v.Blinded = asHexes(b.Elements())

	partials := map[int]Partial{}
	for n := range v.Shares {
		s := &v.Shares[n]
		s.Share, _ = polynomial.New(f).Evaluate(scalarOf(s.Index)).MarshalBinary()
		share, err := ParseShare(s.Index, s.Share)
		if err != nil || !share.Verify(c) {
			t.Fatalf("share %d: %v", s.Index, err)
		}
		if s.ShareKey, err = c.ShareKey(s.Index); err != nil {
			t.Fatal(err)
		}
		elements, proof, err := mustEvaluator(t, share).evaluate(b.Elements(), scalar(t, s.ProofRandom))
		if err != nil {
			t.Fatal(err)
		}
		s.Evaluated, s.Proof = asHexes(elements), proof
		if partials[s.Index], err = b.Verify(c, s.Index, elements, proof); err != nil {
			t.Fatal(err)
		}
	}
	for n := range v.Subsets {
		set := &v.Subsets[n]
		set.Lambdas = nil
		var chosen []Partial
		var xs []group.Scalar
		for _, i := range set.Indexes {
			chosen = append(chosen, partials[i])
			xs = append(xs, scalarOf(i))
		}
		for i := range xs {
			lambda, _ := polynomial.LagrangeBase(uint(i), xs, curve.NewScalar()).MarshalBinary()
			set.Lambdas = append(set.Lambdas, lambda)
		}
		combined, err := encode(interpolate(chosen))
		if err != nil {
			t.Fatal(err)
		}
		outputs, err := b.Combine(v.Threshold, chosen)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			equal(t, "combined elements of another subset", asHexes(combined), v.Combined)
			equal(t, "outputs of another subset", asHexes(outputs), v.Outputs)
		}
		v.Combined, v.Outputs = asHexes(combined), asHexes(outputs)
	}
	return v
}

func TestSharedKeyVectors(t *testing.T) {
	const path = "testdata/shared-key.json"
	var given sharedKey
	readVectors(t, path, &given)
	got, err := json.MarshalIndent(computeSharedKey(t, given), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("computed anew, the vectors are\n%s", got)
	}
}
