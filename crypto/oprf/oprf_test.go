// SPDX-License-Identifier: EUPL-1.2

package oprf

import (
	"bytes"
	"testing"
)

func TestTwoOfThree(t *testing.T) {
	c, shares, err := Deal(2, 3)
	if err != nil {
		t.Fatal(err)
	}
	var first [][]byte
	for _, pair := range [][]int{{0, 1}, {0, 2}, {2, 1}} {
		b, err := Blind([][]byte{[]byte("one"), []byte("two")})
		if err != nil {
			t.Fatal(err)
		}
		var partials []Partial
		for _, i := range pair {
			v, err := NewEvaluator(shares[i])
			if err != nil {
				t.Fatal(err)
			}
			elements, proof, err := v.Evaluate(b.Elements())
			if err != nil {
				t.Fatal(err)
			}
			p, err := b.Verify(c, shares[i].Index(), elements, proof)
			if err != nil {
				t.Fatal(err)
			}
			partials = append(partials, p)
		}
		y, err := b.Combine(2, partials)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = y
		}
		if !bytes.Equal(y[0], first[0]) || !bytes.Equal(y[1], first[1]) || bytes.Equal(y[0], y[1]) {
			t.Errorf("pair %v: %x", pair, y)
		}
	}
}
