// SPDX-License-Identifier: EUPL-1.2

package oprf

import (
	"crypto/rand"
	"fmt"
	"log/slog"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/secretsharing"
)

// A Share is one evaluator's part of a key. It prints as [share].
type Share struct {
	index int
	// In an unexported field of another struct fmt calls no methods of Share. Of a
	// func it can only print the address; a pointer it follows under %s.
	value func() group.Scalar
}

// ParseShare reads a share: its index from 1, and its value as a scalar of 32
// bytes (RFC 9496 section 4.4), canonical and not zero. A share of zero would have
// the identity as its key.
func ParseShare(index int, value []byte) (Share, error) {
	s := curve.NewScalar()
	if err := s.UnmarshalBinary(value); err != nil || s.IsZero() || index < 1 || index > MaxShares {
		return Share{}, ErrShare
	}
	return newShare(index, s), nil
}

func newShare(index int, value group.Scalar) Share {
	return Share{index, func() group.Scalar { return value }}
}

// Index is the number of the share, from 1.
func (s Share) Index() int { return s.index }

// MarshalBinary gives the value alone: the 32 bytes that ParseShare reads.
func (s Share) MarshalBinary() ([]byte, error) {
	if s.value == nil {
		return nil, ErrShare
	}
	return s.value().MarshalBinary()
}

// Verify tells whether the share is of the key and sharing that c commits to.
func (s Share) Verify(c Commitments) bool {
	key, err := c.shareKey(s.index) // refuses what is no share: its index is zero
	return err == nil && curve.NewElement().MulGen(s.value()).IsEqual(key)
}

// Format prints [share], whatever the verb.
func (Share) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[share]") }

// LogValue logs [share].
func (Share) LogValue() slog.Value { return slog.StringValue("[share]") }

// MarshalText writes [share].
func (Share) MarshalText() ([]byte, error) { return []byte("[share]"), nil }

// Commitments are public: C_0..C_{t-1} of one sharing, one for each coefficient
// of its polynomial. C_0 is the key's public half and stays when the key is shared
// anew; the number of them is the threshold.
type Commitments struct {
	elements []group.Element
	id       string // their encodings one after the other
}

// ParseCommitments reads commitments, 32 bytes each. The identity is refused
// everywhere: as C_0 it stands for the key zero, as the last it would mean that
// fewer shares than the threshold suffice.
func ParseCommitments(encodings [][]byte) (Commitments, error) {
	if len(encodings) == 0 || len(encodings) > MaxShares {
		return Commitments{}, ErrCommitments
	}
	var c Commitments
	for _, b := range encodings {
		e, err := decode(b)
		if err != nil {
			return Commitments{}, ErrCommitments
		}
		c.elements = append(c.elements, e)
		c.id += string(b)
	}
	return c, nil
}

// Threshold is how many shares it takes.
func (c Commitments) Threshold() int { return len(c.elements) }

// Bytes gives what ParseCommitments reads.
func (c Commitments) Bytes() [][]byte {
	out := make([][]byte, len(c.elements))
	for i := range out {
		out[i] = []byte(c.id[i*ElementSize : (i+1)*ElementSize])
	}
	return out
}

// ShareKey is the public half of a share, K_i = Σ C_j·i^j, encoded in 32 bytes.
func (c Commitments) ShareKey(index int) ([]byte, error) {
	key, err := c.shareKey(index)
	if err != nil {
		return nil, err
	}
	return key.MarshalBinaryCompress()
}

func (c Commitments) shareKey(index int) (group.Element, error) {
	if len(c.elements) == 0 {
		return nil, ErrCommitments
	}
	if index < 1 || index > MaxShares {
		return nil, ErrShare
	}
	// Horner's scheme, from C_{t-1} down. Up to an index of some 200, adding is
	// faster than multiplying.
	last := len(c.elements) - 1
	key := c.elements[last].Copy()
	for j := last - 1; j >= 0; j-- {
		sum := c.elements[j].Copy()
		for range index {
			sum.Add(sum, key)
		}
		key = sum
	}
	if key.IsIdentity() {
		return nil, ErrShare // commitments made so that this share's key is zero
	}
	return key, nil
}

// Deal draws a new key and shares it among n, any threshold of whom suffice. The
// key itself is forgotten here; whoever runs Deal is trusted to forget the shares.
func Deal(threshold, n int) (Commitments, []Share, error) {
	return split(curve.RandomNonZeroScalar(rand.Reader), threshold, n)
}

// Split shares a given key, a scalar of 32 bytes other than zero, anew.
func Split(key []byte, threshold, n int) (Commitments, []Share, error) {
	k := curve.NewScalar()
	if err := k.UnmarshalBinary(key); err != nil || k.IsZero() {
		return Commitments{}, nil, ErrShare
	}
	return split(k, threshold, n)
}

func split(key group.Scalar, threshold, n int) (Commitments, []Share, error) {
	if threshold < 1 || threshold > n || n > MaxShares {
		return Commitments{}, nil, ErrThreshold
	}
	// circl counts who may be corrupted, one less than who suffice.
	sharing := secretsharing.New(rand.Reader, uint(threshold-1), key)
	encodings, err := encode(sharing.CommitSecret())
	if err != nil {
		return Commitments{}, nil, err
	}
	c, err := ParseCommitments(encodings)
	if err != nil {
		return Commitments{}, nil, err
	}
	if c.Threshold() != threshold {
		// The highest coefficient came out as zero, once in 2^252.
		return Commitments{}, nil, ErrCommitments
	}
	shares := make([]Share, n)
	for i, s := range sharing.Share(uint(n)) {
		if s.Value.IsZero() {
			return Commitments{}, nil, ErrShare // likewise
		}
		shares[i] = newShare(i+1, s.Value)
	}
	return c, shares, nil
}
