// SPDX-License-Identifier: EUPL-1.2

package oprf

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/zk/dleq"
)

// order is the group's order, little-endian: the smallest scalar that is not
// reduced (RFC 9496 section 4.4).
var order = []byte("\xed\xd3\xf5\x5c\x1a\x63\x12\x58\xd6\x9c\xf7\xa2\xde\xf9\xde\x14\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10")

func TestShares(t *testing.T) {
	c, shares := mustDeal(t, 3, 5)
	for _, s := range shares {
		value, err := s.MarshalBinary()
		if err != nil || len(value) != ScalarSize {
			t.Fatalf("%d bytes, %v", len(value), err)
		}
		read, err := ParseShare(s.Index(), value)
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := read.MarshalBinary(); !bytes.Equal(again, value) || !read.Verify(c) {
			t.Errorf("share %d is another when read back", s.Index())
		}
		// Feldman: the commitments give each share's public half.
		want, err := encode([]group.Element{curve.NewElement().MulGen(s.value())})
		if err != nil {
			t.Fatal(err)
		}
		if key, err := c.ShareKey(s.Index()); err != nil || !bytes.Equal(key, want[0]) {
			t.Errorf("share %d: key %x, %v; want %x", s.Index(), key, err, want[0])
		}
	}
}

func TestShareVerifyRejects(t *testing.T) {
	c, shares := mustDeal(t, 2, 3)
	other, _ := mustDeal(t, 2, 3)
	longer, _ := mustDeal(t, 3, 3)
	value, _ := shares[0].MarshalBinary()
	moved, err := ParseShare(2, value)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(value)
	changed[0] ^= 1
	wrong, err := ParseShare(1, changed)
	if err != nil {
		t.Fatal(err)
	}
	for reason, v := range map[string]struct {
		share Share
		c     Commitments
	}{
		"index_of_another":        {moved, c},
		"value_changed":           {wrong, c},
		"commitments_of_another":  {shares[0], other},
		"commitments_of_a_longer": {shares[0], longer},
		"no_commitments":          {shares[0], Commitments{}},
		"no_share":                {Share{}, c},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if v.share.Verify(v.c) {
				t.Error("verified")
			}
		})
	}
}

func TestParseShareRejects(t *testing.T) {
	one := append([]byte{1}, make([]byte, 31)...)
	for reason, v := range map[string]struct {
		index int
		value []byte
	}{
		"zero":             {1, make([]byte, ScalarSize)},
		"order":            {1, order},
		"top_bits_set":     {1, bytes.Repeat([]byte{0xff}, ScalarSize)},
		"cut_short":        {1, one[:31]},
		"too_long":         {1, append(bytes.Clone(one), 0)},
		"nil":              {1, nil},
		"index_zero":       {0, one},
		"index_negative":   {-1, one},
		"index_beyond_all": {MaxShares + 1, one},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if _, err := ParseShare(v.index, v.value); !errors.Is(err, ErrShare) {
				t.Errorf("%v, want ErrShare", err)
			}
		})
	}
	t.Run("rejects/marshalling_no_share", func(t *testing.T) {
		if _, err := (Share{}).MarshalBinary(); !errors.Is(err, ErrShare) {
			t.Errorf("%v, want ErrShare", err)
		}
	})
}

func TestParseCommitmentsRejects(t *testing.T) {
	c, _ := mustDeal(t, 2, 2)
	good := c.Bytes()
	for reason, encodings := range map[string][][]byte{
		"none":             nil,
		"too_many":         slices.Repeat(good[:1], MaxShares+1),
		"identity_as_key":  {make([]byte, ElementSize), good[1]},
		"identity_as_last": {good[0], make([]byte, ElementSize)},
		"cut_short":        {good[0], good[1][:31]},
		"nil":              {good[0], nil},
		"not_an_element":   {good[0], bytes.Repeat([]byte{0xff}, ElementSize)},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if _, err := ParseCommitments(encodings); !errors.Is(err, ErrCommitments) {
				t.Errorf("%v, want ErrCommitments", err)
			}
		})
	}
}

func TestShareKeyRejects(t *testing.T) {
	c, _ := mustDeal(t, 2, 2)
	for reason, index := range map[string]int{"index_zero": 0, "index_negative": -1, "index_beyond_all": MaxShares + 1} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if _, err := c.ShareKey(index); !errors.Is(err, ErrShare) {
				t.Errorf("%v, want ErrShare", err)
			}
		})
	}
	t.Run("rejects/identity_key", func(t *testing.T) {
		// f(x) = 2 - x is zero at 2: that evaluator could be made to answer anything.
		minusOne := curve.NewScalar().Neg(scalarOf(1))
		encodings, err := encode([]group.Element{curve.NewElement().MulGen(scalarOf(2)), curve.NewElement().MulGen(minusOne)})
		if err != nil {
			t.Fatal(err)
		}
		c, err := ParseCommitments(encodings)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.ShareKey(1); err != nil {
			t.Errorf("share 1: %v", err)
		}
		if _, err := c.ShareKey(2); !errors.Is(err, ErrShare) {
			t.Errorf("%v, want ErrShare", err)
		}
	})
}

func TestSplitRejects(t *testing.T) {
	one := append([]byte{1}, make([]byte, 31)...)
	for reason, v := range map[string]struct {
		key          []byte
		threshold, n int
		want         error
	}{
		"threshold_zero":         {one, 0, 3, ErrThreshold},
		"threshold_above_shares": {one, 4, 3, ErrThreshold},
		"too_many_shares":        {one, 2, MaxShares + 1, ErrThreshold},
		"key_zero":               {make([]byte, ScalarSize), 2, 3, ErrShare},
		"key_not_reduced":        {order, 2, 3, ErrShare},
		"key_cut_short":          {one[:31], 2, 3, ErrShare},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if _, _, err := Split(v.key, v.threshold, v.n); !errors.Is(err, v.want) {
				t.Errorf("%v, want %v", err, v.want)
			}
		})
	}
}

func FuzzShare(f *testing.F) {
	f.Add(1, append([]byte{1}, make([]byte, 31)...))
	f.Add(255, order)
	f.Add(0, []byte(nil))
	f.Fuzz(func(t *testing.T, index int, b []byte) {
		s, err := ParseShare(index, b)
		if err != nil {
			return
		}
		if got, err := s.MarshalBinary(); err != nil || !bytes.Equal(got, b) || s.Index() != index {
			t.Errorf("%d %x becomes %d %x", index, b, s.Index(), got)
		}
	})
}

func FuzzCommitments(f *testing.F) {
	c, _ := mustDeal(f, 2, 3)
	f.Add(bytes.Join(c.Bytes(), nil))
	f.Add(make([]byte, ElementSize))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		encodings := slices.Collect(slices.Chunk(b, ElementSize))
		c, err := ParseCommitments(encodings)
		if err != nil {
			return
		}
		if got := bytes.Join(c.Bytes(), nil); !bytes.Equal(got, b) || c.Threshold() != len(encodings) {
			t.Errorf("%x becomes %x", b, got)
		}
	})
}

func FuzzElement(f *testing.F) {
	f.Add(mustBlind(f, "one").Elements()[0])
	f.Add(make([]byte, ElementSize))
	f.Add([]byte("\xf3\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decode(b)
		if err != nil {
			return
		}
		if got, err := encode([]group.Element{e}); err != nil || !bytes.Equal(got[0], b) {
			t.Errorf("%x becomes %x", b, got)
		}
	})
}

func FuzzProof(f *testing.F) {
	f.Add(append(bytes.Clone(order), make([]byte, 32)...))
	f.Add(append([]byte{1}, make([]byte, 63)...))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := new(dleq.Proof)
		if p.UnmarshalBinary(curve, b) != nil {
			return
		}
		if got, err := p.MarshalBinary(); err != nil || len(b) != ProofSize || !bytes.Equal(got, b) {
			t.Errorf("%x becomes %x", b, got)
		}
	})
}

// FuzzAnswer holds an answer to what one evaluator may say: the right elements
// under the right share. Nobody finds another pair that verifies.
func FuzzAnswer(f *testing.F) {
	// Everything is fixed, because each process of the fuzzer runs this for itself.
	b, err := blind([][]byte{[]byte("one"), []byte("two")}, []group.Scalar{scalarOf(3), scalarOf(5)})
	if err != nil {
		f.Fatal(err)
	}
	encodings, err := encode([]group.Element{curve.NewElement().MulGen(scalarOf(11)), curve.NewElement().MulGen(scalarOf(7))})
	if err != nil {
		f.Fatal(err)
	}
	c, err := ParseCommitments(encodings)
	if err != nil {
		f.Fatal(err)
	}
	elements, proof, err := mustEvaluator(f, newShare(1, scalarOf(11+7))).evaluate(b.Elements(), scalarOf(13))
	if err != nil {
		f.Fatal(err)
	}
	if _, err := b.Verify(c, 1, elements, proof); err != nil {
		f.Fatal(err)
	}
	f.Add(bytes.Join(elements, nil), proof)
	f.Add(bytes.Join(b.Elements(), nil), proof)
	f.Add([]byte(nil), []byte(nil))
	f.Fuzz(func(t *testing.T, e, p []byte) {
		if _, err := b.Verify(c, 1, slices.Collect(slices.Chunk(e, ElementSize)), p); err == nil {
			if !bytes.Equal(e, bytes.Join(elements, nil)) || !bytes.Equal(p, proof) {
				t.Errorf("elements %x with proof %x verify", e, p)
			}
		}
	})
}
