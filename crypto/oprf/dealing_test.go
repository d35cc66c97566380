// SPDX-License-Identifier: EUPL-1.2

package oprf

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

// A dealt is one dealer's dealing.
type dealt struct {
	commitments Commitments
	parts       []Share
}

// gather adds dealings up for receivers 1..n.
func gather(t *testing.T, dealings []dealt, n int) (Commitments, []Share) {
	t.Helper()
	var all []Commitments
	for _, d := range dealings {
		all = append(all, d.commitments)
	}
	sum, err := Sum(all)
	if err != nil {
		t.Fatal(err)
	}
	shares := make([]Share, n)
	for i := range shares {
		var parts []Share
		for _, d := range dealings {
			parts = append(parts, d.parts[i])
		}
		if shares[i], err = Gather(parts, all); err != nil {
			t.Fatal(err)
		}
		if !shares[i].Verify(sum) {
			t.Errorf("share %d does not verify against the sum of the commitments", i+1)
		}
	}
	return sum, shares
}

// made is a key that nobody dealt alone.
func made(t *testing.T, threshold, n int) (Commitments, []Share) {
	t.Helper()
	var dealings []dealt
	for range n {
		c, parts, err := Deal(threshold, n)
		if err != nil {
			t.Fatal(err)
		}
		dealings = append(dealings, dealt{c, parts})
	}
	return gather(t, dealings, n)
}

// output is what holders of these shares make of an input.
func output(t *testing.T, c Commitments, shares []Share) []byte {
	t.Helper()
	b := mustBlind(t, "one")
	var partials []Partial
	for _, s := range shares {
		partials = append(partials, mustVerify(t, b, c, s))
	}
	y, err := b.Combine(c.Threshold(), partials)
	if err != nil {
		t.Fatal(err)
	}
	return y[0]
}

// TestDealingsMakeAKeyAndShareItAnew makes a key among three, and shares it anew
// again and again: with others out and in, more of them and fewer.
func TestDealingsMakeAKeyAndShareItAnew(t *testing.T) {
	c, shares := made(t, 2, 3)
	want, c0 := output(t, c, shares[:2]), c.Bytes()[0]
	if got := output(t, c, shares[1:]); !bytes.Equal(got, want) {
		t.Fatal("other holders of the key make another output")
	}
	for _, next := range []struct {
		dealers      []int
		threshold, n int
	}{{[]int{1, 3}, 2, 3}, {[]int{3, 2}, 3, 5}, {[]int{5, 1, 4}, 2, 4}, {[]int{2, 4}, 1, 1}, {[]int{1}, 2, 3}} {
		old := c
		var dealings []dealt
		for _, i := range next.dealers {
			d, parts, err := shares[i-1].Reshare(next.dealers, next.threshold, next.n)
			if err != nil {
				t.Fatal(err)
			}
			if err := old.Reshared(i, next.dealers, d); err != nil {
				t.Fatalf("the dealing of %d among %v: %v", i, next.dealers, err)
			}
			dealings = append(dealings, dealt{d, parts})
		}
		before := shares
		c, shares = gather(t, dealings, next.n)
		if !bytes.Equal(c.Bytes()[0], c0) || c.Threshold() != next.threshold {
			t.Errorf("%v: C_0 or the threshold is not what was asked", next.dealers)
		}
		last := shares[len(shares)-next.threshold:]
		if got := output(t, c, last); !bytes.Equal(got, want) {
			t.Errorf("%v: shared anew, the key makes another output", next.dealers)
		}
		if slices.ContainsFunc(shares, func(s Share) bool { return s.index <= len(before) && before[s.index-1].Verify(c) }) {
			t.Errorf("%v: an old share is one of the new sharing", next.dealers)
		}
	}
}

func TestResharedRejects(t *testing.T) {
	c, shares := made(t, 2, 3)
	_, others := made(t, 2, 3)
	dealing := func(s Share, dealers ...int) Commitments {
		d, _, err := s.Reshare(dealers, 2, 3)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for reason, v := range map[string]struct {
		dealer  int
		dealers []int
		dealing Commitments
		want    error
	}{
		"another_key":                 {1, []int{1, 2}, dealing(others[0], 1, 2), ErrDealing},
		"another_dealer":              {1, []int{1, 2}, dealing(shares[1], 1, 2), ErrDealing},
		"weighed_among_other_dealers": {1, []int{1, 2}, dealing(shares[0], 1, 3), ErrDealing},
		"nothing":                     {1, []int{1, 2}, Commitments{}, ErrDealing},
		"too_few_dealers":             {1, []int{1}, dealing(shares[0], 1), ErrThreshold},
		"too_many_dealers":            {1, []int{1, 2, 3}, dealing(shares[0], 1, 2, 3), ErrThreshold},
		"a_dealer_not_among_them":     {3, []int{1, 2}, dealing(shares[0], 1, 2), ErrShare},
		"a_dealer_twice":              {1, []int{1, 1}, dealing(shares[0], 1, 2), ErrDuplicate},
		"dealer_zero":                 {1, []int{1, 0}, dealing(shares[0], 1, 2), ErrShare},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if err := c.Reshared(v.dealer, v.dealers, v.dealing); !errors.Is(err, v.want) {
				t.Errorf("got %v, want %v", err, v.want)
			}
		})
	}
	if _, _, err := shares[0].Reshare([]int{2, 3}, 2, 3); !errors.Is(err, ErrShare) {
		t.Errorf("a holder deals among others than itself: %v", err)
	}
}

func TestGatherRejects(t *testing.T) {
	var all []Commitments
	var parts [][]Share
	for range 3 {
		c, p, err := Deal(2, 3)
		if err != nil {
			t.Fatal(err)
		}
		all, parts = append(all, c), append(parts, p)
	}
	var at *ShareError
	_, err := Gather([]Share{parts[0][1], parts[2][1], parts[1][1]}, all)
	if !errors.Is(err, ErrDealing) || !errors.As(err, &at) || at.Index != 2 {
		t.Errorf("a part of another dealing: %v", err)
	}
	if _, err := Gather([]Share{parts[0][1], parts[1][0], parts[2][1]}, all); !errors.Is(err, ErrMixed) {
		t.Errorf("parts of different receivers: %v", err)
	}
	if _, err := Gather([]Share{parts[0][1], parts[1][1]}, all); !errors.Is(err, ErrTooFew) {
		t.Errorf("fewer parts than dealings: %v", err)
	}
	if _, err := Gather(nil, nil); !errors.Is(err, ErrTooFew) {
		t.Errorf("no parts: %v", err)
	}
	if _, err := Sum(nil); !errors.Is(err, ErrTooFew) {
		t.Errorf("no dealings: %v", err)
	}
	other, _, err := Deal(3, 3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Sum([]Commitments{all[0], other}); !errors.Is(err, ErrMixed) {
		t.Errorf("dealings of different thresholds: %v", err)
	}
}
