// SPDX-License-Identifier: EUPL-1.2

package oprf

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cloudflare/circl/group"
)

// An answer is what an evaluator sends back.
type answer struct {
	elements [][]byte
	proof    []byte
}

func ask(t testing.TB, s Share, elements [][]byte) answer {
	t.Helper()
	evaluated, proof, err := mustEvaluator(t, s).Evaluate(elements)
	if err != nil {
		t.Fatal(err)
	}
	return answer{evaluated, proof}
}

func mustDeal(t testing.TB, threshold, n int) (Commitments, []Share) {
	t.Helper()
	c, shares, err := Deal(threshold, n)
	if err != nil {
		t.Fatal(err)
	}
	return c, shares
}

func mustBlind(t testing.TB, inputs ...string) *Blinding {
	t.Helper()
	var list [][]byte
	for _, in := range inputs {
		list = append(list, []byte(in))
	}
	b, err := Blind(list)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustVerify(t testing.TB, b *Blinding, c Commitments, s Share) Partial {
	t.Helper()
	a := ask(t, s, b.Elements())
	p, err := b.Verify(c, s.Index(), a.elements, a.proof)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestThresholds(t *testing.T) {
	for _, v := range []struct{ threshold, n int }{{1, 1}, {1, 3}, {2, 2}, {2, 3}, {3, 5}} {
		t.Run(fmt.Sprintf("%d_of_%d", v.threshold, v.n), func(t *testing.T) {
			c, shares := mustDeal(t, v.threshold, v.n)
			var want [][]byte
			// Neighbours, going round: enough to have every share take part.
			for first := range shares {
				b := mustBlind(t, "one", "two")
				var partials []Partial
				for i := range v.threshold {
					partials = append(partials, mustVerify(t, b, c, shares[(first+i)%v.n]))
				}
				y, err := b.Combine(v.threshold, partials)
				if err != nil {
					t.Fatal(err)
				}
				if want == nil {
					want = y
				}
				if len(y) != 2 || len(y[0]) != OutputSize || !bytes.Equal(y[0], want[0]) || !bytes.Equal(y[1], want[1]) || bytes.Equal(y[0], y[1]) {
					t.Errorf("from share %d: %x, want %x", first+1, y, want)
				}
			}
		})
	}
}

// The same input never looks the same: who sees blinded elements cannot tell that
// a child comes back.
func TestBlindingHides(t *testing.T) {
	seen := map[string]bool{}
	for range 8 {
		for _, e := range mustBlind(t, "one", "one").Elements() {
			if seen[string(e)] {
				t.Fatal("a blinded element came twice")
			}
			seen[string(e)] = true
		}
	}
}

// Two proofs with the same randomness and different challenges give the share away.
func TestProofsAreRandom(t *testing.T) {
	_, shares := mustDeal(t, 1, 1)
	elements := mustBlind(t, "one").Elements()
	seen := map[string]bool{}
	for range 8 {
		proof := ask(t, shares[0], elements).proof
		if seen[string(proof)] {
			t.Fatal("a proof came twice")
		}
		seen[string(proof)] = true
	}
}

func TestResharingKeepsOutputs(t *testing.T) {
	key := scalarOf(42)
	k, _ := key.MarshalBinary()
	var want []byte
	var c0 []byte
	for _, v := range []struct{ threshold, n int }{{2, 3}, {3, 4}, {2, 3}} {
		c, shares, err := Split(k, v.threshold, v.n)
		if err != nil {
			t.Fatal(err)
		}
		b := mustBlind(t, "one")
		var partials []Partial
		for _, s := range shares[:v.threshold] {
			partials = append(partials, mustVerify(t, b, c, s))
		}
		y, err := b.Combine(v.threshold, partials)
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want, c0 = y[0], c.Bytes()[0]
		}
		if !bytes.Equal(y[0], want) || !bytes.Equal(c.Bytes()[0], c0) {
			t.Errorf("%d of %d: another output or another C_0", v.threshold, v.n)
		}
	}
}

func TestVerifyNamesTheShare(t *testing.T) {
	c, shares := mustDeal(t, 2, 3)
	c2, _ := mustDeal(t, 2, 3)
	b := mustBlind(t, "one", "two")
	other := mustBlind(t, "one", "two") // the same inputs, other blinds
	good := ask(t, shares[1], b.Elements())
	identity := make([]byte, ElementSize)
	flip := func(list [][]byte, i int) [][]byte {
		out := slices.Clone(list)
		out[i] = bytes.Clone(out[i])
		out[i][5] ^= 4
		return out
	}
	nonCanonical, _ := hex.DecodeString("f3ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f") // p + 6
	swap := func(list [][]byte) [][]byte { return [][]byte{list[1], list[0]} }

	for reason, v := range map[string]struct {
		commitments Commitments
		index       int
		answer      answer
		want        error
	}{
		"share_of_another_evaluator":      {c, 2, ask(t, shares[0], b.Elements()), ErrProof},
		"index_of_another_evaluator":      {c, 3, good, ErrProof},
		"index_zero":                      {c, 0, good, ErrShare},
		"index_beyond_all":                {c, MaxShares + 1, good, ErrShare},
		"another_sharing":                 {c2, 2, good, ErrProof},
		"no_commitments":                  {Commitments{}, 2, good, ErrCommitments},
		"replayed_answer_to_other_blinds": {c, 2, ask(t, shares[1], other.Elements()), ErrProof},
		"proof_of_other_batch":            {c, 2, answer{good.elements, ask(t, shares[1], other.Elements()).proof}, ErrProof},
		"order_swapped":                   {c, 2, answer{swap(good.elements), good.proof}, ErrProof},
		"batch_answered_in_other_order":   {c, 2, ask(t, shares[1], swap(b.Elements())), ErrProof},
		"identity_element":                {c, 2, answer{[][]byte{good.elements[0], identity}, good.proof}, ErrElement},
		"elements_not_evaluated":          {c, 2, answer{b.Elements(), good.proof}, ErrProof},
		"non_canonical_element":           {c, 2, answer{[][]byte{good.elements[0], nonCanonical}, good.proof}, ErrElement},
		"element_cut_short":               {c, 2, answer{[][]byte{good.elements[0], good.elements[1][:31]}, good.proof}, ErrElement},
		"element_nil":                     {c, 2, answer{[][]byte{good.elements[0], nil}, good.proof}, ErrElement},
		"batch_shorter":                   {c, 2, answer{good.elements[:1], good.proof}, ErrBatch},
		"batch_longer":                    {c, 2, answer{append(slices.Clone(good.elements), good.elements[0]), good.proof}, ErrBatch},
		"batch_empty":                     {c, 2, answer{nil, good.proof}, ErrBatch},
		"proof_missing":                   {c, 2, answer{good.elements, nil}, ErrProof},
		"proof_cut_short":                 {c, 2, answer{good.elements, good.proof[:63]}, ErrProof},
		"proof_with_trailing_byte":        {c, 2, answer{good.elements, append(slices.Clone(good.proof), 0)}, ErrProof},
		"proof_zero":                      {c, 2, answer{good.elements, make([]byte, ProofSize)}, ErrProof},
		"proof_challenge_changed":         {c, 2, answer{good.elements, flip([][]byte{good.proof}, 0)[0]}, ErrProof},
		"proof_scalar_not_reduced":        {c, 2, answer{good.elements, append(slices.Clone(good.proof[:32]), bytes.Repeat([]byte{0xff}, 32)...)}, ErrProof},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			_, err := b.Verify(v.commitments, v.index, v.answer.elements, v.answer.proof)
			share, ok := errors.AsType[*ShareError](err)
			if !ok || share.Index != v.index || !errors.Is(err, v.want) {
				t.Errorf("%v, want share %d: %v", err, v.index, v.want)
			}
		})
	}
	if _, err := b.Verify(c, 2, good.elements, good.proof); err != nil {
		t.Errorf("what the cases change is refused unchanged: %v", err)
	}
}

// A proof is over a batch, not over its elements one by one: errors that cancel
// each other out would pass a sum without weights.
func TestVerifyRejectsErrorsThatCancelOut(t *testing.T) {
	c, shares := mustDeal(t, 2, 3)
	b := mustBlind(t, "one", "two")
	good := ask(t, shares[0], b.Elements())
	elements, err := decodeBatch(good.elements)
	if err != nil {
		t.Fatal(err)
	}
	delta := curve.Generator()
	elements[0].Add(elements[0], delta)
	elements[1].Add(elements[1], delta.Neg(delta))
	bad, err := encode(elements)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Verify(c, 1, bad, good.proof); !errors.Is(err, ErrProof) {
		t.Errorf("%v, want ErrProof", err)
	}
}

func TestCombineRejects(t *testing.T) {
	c, shares := mustDeal(t, 2, 3)
	k, _ := scalarOf(42).MarshalBinary()
	c42, shares42, err := Split(k, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	again42, sharesAgain42, err := Split(k, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	b, other := mustBlind(t, "one"), mustBlind(t, "one")
	one, two, three := mustVerify(t, b, c, shares[0]), mustVerify(t, b, c, shares[1]), mustVerify(t, b, c, shares[2])

	for reason, v := range map[string]struct {
		threshold int
		partials  []Partial
		want      error
	}{
		"none":                        {2, nil, ErrTooFew},
		"too_few":                     {2, []Partial{one}, ErrTooFew},
		"threshold_zero":              {0, []Partial{one, two}, ErrTooFew},
		"threshold_below_the_sharing": {1, []Partial{one}, ErrThreshold},
		"threshold_above_the_sharing": {3, []Partial{one, two, three}, ErrThreshold},
		"duplicate_index":             {2, []Partial{one, one}, ErrDuplicate},
		"duplicate_index_among_more":  {2, []Partial{one, two, one}, ErrDuplicate},
		"duplicate_of_a_second_answer": {2, []Partial{one, mustVerify(t, b, c, shares[0])},
			ErrDuplicate},
		"mixed_keys":              {2, []Partial{one, mustVerify(t, b, c42, shares42[1])}, ErrMixed},
		"mixed_sharings_of_a_key": {2, []Partial{mustVerify(t, b, c42, shares42[0]), mustVerify(t, b, again42, sharesAgain42[1])}, ErrMixed},
		"mixed_batches":           {2, []Partial{one, mustVerify(t, other, c, shares[1])}, ErrMixed},
		"answers_to_another_batch": {2, []Partial{mustVerify(t, other, c, shares[0]), mustVerify(t, other, c, shares[1])},
			ErrMixed},
		"partial_that_was_never_verified": {2, []Partial{one, {}}, ErrMixed},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if _, err := b.Combine(v.threshold, v.partials); !errors.Is(err, v.want) {
				t.Errorf("%v, want %v", err, v.want)
			}
		})
	}
	t.Run("rejects/combination_that_is_the_identity", func(t *testing.T) {
		// Proofs keep this from happening: what could lead here is made by hand.
		// 2·E_1 - E_2 = 0 at E_2 = 2·E_1.
		doubled := Partial{b, c.id, 2, []group.Element{curve.NewElement().Dbl(one.elements[0])}}
		if _, err := b.Combine(2, []Partial{one, doubled}); !errors.Is(err, ErrIdentity) {
			t.Errorf("%v, want ErrIdentity", err)
		}
	})
}

func TestEvaluateRejects(t *testing.T) {
	_, shares := mustDeal(t, 1, 1)
	v := mustEvaluator(t, shares[0])
	good := mustBlind(t, "one").Elements()[0]
	for reason, c := range map[string]struct {
		elements [][]byte
		want     error
	}{
		"no_elements":         {nil, ErrBatch},
		"too_many_elements":   {slices.Repeat([][]byte{good}, MaxBatch+1), ErrBatch},
		"identity_element":    {[][]byte{make([]byte, ElementSize)}, ErrElement},
		"identity_among_good": {[][]byte{good, make([]byte, ElementSize)}, ErrElement},
		"element_nil":         {[][]byte{nil}, ErrElement},
		"element_cut_short":   {[][]byte{good[:31]}, ErrElement},
		"element_too_long":    {[][]byte{append(bytes.Clone(good), 0)}, ErrElement},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if _, _, err := v.Evaluate(c.elements); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	if _, _, err := v.Evaluate(slices.Repeat([][]byte{good}, MaxBatch)); err != nil {
		t.Errorf("a full batch: %v", err)
	}
	t.Run("rejects/share_that_was_never_parsed", func(t *testing.T) {
		if _, err := NewEvaluator(Share{}); !errors.Is(err, ErrShare) {
			t.Errorf("%v, want ErrShare", err)
		}
	})
}

func TestBlindRejects(t *testing.T) {
	for reason, inputs := range map[string][][]byte{
		"no_inputs":                 nil,
		"too_many_inputs":           make([][]byte, MaxBatch+1),
		"input_longer_than_a_field": {make([]byte, 1<<16)},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if _, err := Blind(inputs); err == nil {
				t.Error("accepted")
			}
		})
	}
}

// A Blinding keeps its own copies: who clears its inputs, or writes into the
// elements it got, spoils nothing.
func TestBlindingOwnsItsBytes(t *testing.T) {
	c, shares := mustDeal(t, 1, 1)
	input := []byte("one")
	b, err := Blind([][]byte{input})
	if err != nil {
		t.Fatal(err)
	}
	clear(input)
	clear(b.Elements()[0])
	y, err := b.Combine(1, []Partial{mustVerify(t, b, c, shares[0])})
	if err != nil {
		t.Fatal(err)
	}
	again := mustBlind(t, "one")
	want, err := again.Combine(1, []Partial{mustVerify(t, again, c, shares[0])})
	if err != nil || !bytes.Equal(y[0], want[0]) {
		t.Errorf("%x, want %x (%v)", y, want, err)
	}
}

// RFC 9496 appendix A.2. The two of them that are the prime and 6 more are what
// circl's own test leaves out.
func TestDecodeRejectsInvalidEncodings(t *testing.T) {
	for reason, encodings := range map[string][]string{
		"field_element_not_canonical": {
			"00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
			"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
			"f3ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
			"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		},
		"field_element_negative": {
			"0100000000000000000000000000000000000000000000000000000000000000",
			"01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
			"ed57ffd8c914fb201471d1c3d245ce3c746fcbe63a3679d51b6a516ebebe0e20",
		},
		"x_squared_no_square": {
			"26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
			"4eac077a713c57b4f4397629a4145982c661f48044dd3f96427d40b147d9742f",
		},
		"xy_negative": {
			"3eb858e78f5a7254d8c9731174a94f76755fd3941c0ac93735c07ba14579630e",
			"a45fdc55c76448c049a1ab33f17023edfb2be3581e9c7aade8a6125215e04220",
		},
		"y_zero":               {"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"},
		"identity_element":     {"0000000000000000000000000000000000000000000000000000000000000000"},
		"identity_and_top_bit": {"0000000000000000000000000000000000000000000000000000000000000080"},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			for _, e := range encodings {
				b, err := hex.DecodeString(e)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := decode(b); !errors.Is(err, ErrElement) {
					t.Errorf("%s: %v, want ErrElement", e, err)
				}
			}
		})
	}
}

func TestEvaluatorIsShared(t *testing.T) {
	c, shares := mustDeal(t, 1, 1)
	v := mustEvaluator(t, shares[0])
	var wg sync.WaitGroup
	outputs := make([][]byte, 8)
	for i := range outputs {
		wg.Go(func() {
			b, err := Blind([][]byte{[]byte("one")})
			if err != nil {
				t.Error(err)
				return
			}
			for range 3 {
				elements, proof, err := v.Evaluate(b.Elements())
				if err != nil {
					t.Error(err)
					return
				}
				p, err := b.Verify(c, 1, elements, proof)
				if err != nil {
					t.Error(err)
					return
				}
				y, err := b.Combine(1, []Partial{p})
				if err != nil {
					t.Error(err)
					return
				}
				outputs[i] = y[0]
			}
		})
	}
	wg.Wait()
	for i := range outputs {
		if !bytes.Equal(outputs[i], outputs[0]) {
			t.Errorf("goroutine %d got another output", i)
		}
	}
}

func TestRedaction(t *testing.T) {
	c, shares := mustDeal(t, 1, 1)
	value, _ := shares[0].MarshalBinary()
	const input = "a child's number"
	b := mustBlind(t, input)
	v := mustEvaluator(t, shares[0])
	p := mustVerify(t, b, c, shares[0])

	var out strings.Builder
	hidden := struct {
		share    Share
		shareP   *Share
		eval     *Evaluator
		blinding *Blinding
		partial  Partial
	}{shares[0], &shares[0], v, b, p} // fmt calls no methods on unexported fields
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d"} {
		for _, arg := range []any{shares[0], &shares[0], shares, v, b, p, hidden, &hidden} {
			fmt.Fprintf(&out, verb+"\n", arg)
		}
	}
	text, err := json.Marshal(map[string]any{"share": shares[0], "evaluator": v, "blinding": b})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	slog.New(slog.NewTextHandler(&out, nil)).Info("event", "share", shares[0], "evaluator", v, "blinding", b)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("event", "share", shares[0], "evaluator", v, "blinding", b)

	for what, secret := range map[string][]byte{"share": value, "input": []byte(input)} {
		big := slices.Clone(secret)
		slices.Reverse(big) // circl prints scalars as numbers
		for _, s := range [][]byte{secret, big} {
			for _, form := range []string{"%x", "%X", "%d", "%s", "%q"} {
				if leak := strings.Trim(fmt.Sprintf(form, s[4:8]), `[]"`); strings.Contains(out.String(), leak) {
					t.Errorf("%s of the %s is in\n%s", form, what, &out)
				}
			}
		}
	}
	for _, mark := range []string{"[share]", "[evaluator]", "[blinding]"} {
		if !strings.Contains(out.String(), mark) {
			t.Errorf("%s is not in\n%s", mark, &out)
		}
	}
}
