// SPDX-License-Identifier: EUPL-1.2

package ceremony_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/oprf"
	"github.com/seinhuis/seinhuis/evaluator"
	"github.com/seinhuis/seinhuis/evaluator/ceremony"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
)

// A table is evaluators around a manifest, each with a box and the shares it holds.
type table struct {
	t       *testing.T
	w       *manifesttest.World
	current *manifest.Manifest
	boxes   map[int]*ecdh.PrivateKey
	signers map[int]note.Signer
	held    map[int][]evaluator.Share
	older   map[int][]evaluator.Share // that are not destroyed yet
}

func newTable(t *testing.T, threshold, n int) *table {
	t.Helper()
	s := &table{
		t: t, w: manifesttest.New(t, threshold, n),
		boxes: make(map[int]*ecdh.PrivateKey), signers: make(map[int]note.Signer), held: make(map[int][]evaluator.Share),
	}
	s.w.Manifest.Sharings = nil
	for i, e := range s.w.Manifest.Evaluators {
		s.signers[e.Index] = s.w.Evaluators[i]
		s.box(i)
	}
	return s
}

// box gives the i-th evaluator of the manifest a box.
func (s *table) box(i int) {
	s.t.Helper()
	box, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	e := &s.w.Manifest.Evaluators[i]
	e.Box, s.boxes[e.Index] = box.PublicKey().Bytes(), box
}

// draft is the world's manifest without sharings.
func (s *table) draft() *manifest.Manifest {
	draft := *s.w.Manifest
	draft.Sharings = nil
	return &draft
}

func (s *table) round(dealers ...int) ceremony.Round {
	return ceremony.Round{Draft: s.draft(), Current: s.current, Epoch: 1, First: 2010, Last: 2012, Dealers: dealers}
}

// deal gives each dealer's signed dealing.
func (s *table) deal(r ceremony.Round) (msgs [][]byte) {
	s.t.Helper()
	for _, dealer := range r.Dealers {
		d, err := r.Deal(dealer, slices.Concat(s.older[dealer], s.held[dealer]))
		if err != nil {
			s.t.Fatal(err)
		}
		msgs = append(msgs, s.sign(d))
	}
	return msgs
}

func (s *table) sign(d *ceremony.Dealing) []byte {
	s.t.Helper()
	text, err := d.Note()
	if err != nil {
		s.t.Fatal(err)
	}
	return manifesttest.Sign(s.t, text, s.signers[d.Dealer])
}

func (s *table) gather(r ceremony.Round, receiver int, msgs [][]byte) ([]evaluator.Share, ceremony.Outcome, error) {
	var dealings []*ceremony.Dealing
	for _, msg := range msgs {
		d, err := ceremony.OpenDealing(msg, r.Draft, r.Current)
		if err != nil {
			return nil, ceremony.Outcome{}, err
		}
		dealings = append(dealings, d)
	}
	return ceremony.Gather(r.Draft, r.Current, receiver, s.boxes[receiver], dealings)
}

// hold runs a round to its end: everybody of the draft gathers, and the manifest with
// the sharings is in force.
func (s *table) hold(r ceremony.Round) {
	s.t.Helper()
	msgs := s.deal(r)
	held, next := make(map[int][]evaluator.Share), *r.Draft
	for i, e := range r.Draft.Evaluators {
		shares, out, err := s.gather(r, e.Index, msgs)
		if err != nil {
			s.t.Fatal(err)
		}
		if held[e.Index] = shares; i > 0 && !slices.EqualFunc(out.Sharings, next.Sharings, same) {
			s.t.Error("two receivers make different sharings of it")
		}
		next.Sharings = out.Sharings
		slices.Reverse(msgs) // in whatever order they come
	}
	s.older, s.held, s.current = s.held, held, &next
	if _, err := next.Note(); err != nil {
		s.t.Fatal(err)
	}
	for index, shares := range held {
		if inForce, missing, err := evaluator.Check(&next, index, shares, manifesttest.Now); err != nil || len(missing) > 0 || len(inForce) != 3 {
			s.t.Fatalf("evaluator %d has %d shares in force and misses %d: %v", index, len(inForce), len(missing), err)
		}
	}
}

func same(a, b manifest.Sharing) bool {
	return a.Epoch == b.Epoch && a.Cohort == b.Cohort && a.Number == b.Number && slices.EqualFunc(a.Points(), b.Points(), bytes.Equal)
}

// seal puts a part into a dealing by the words of docs/spec.md 10.4: what it holds, the
// draft and the dealer that it is bound to.
func (s *table) seal(d *ceremony.Dealing, part int, draft [32]byte, dealer uint64, plain []byte) {
	s.t.Helper()
	receiver := d.Parts[part].Receiver
	box, err := hpke.DHKEM(ecdh.X25519()).NewPublicKey(s.boxes[receiver].PublicKey().Bytes())
	if err != nil {
		s.t.Fatal(err)
	}
	info, err := encoding.E("seinhuis/1/part", []byte(d.Dep), draft[:], encoding.Int(dealer), encoding.Int(uint64(receiver)))
	if err != nil {
		s.t.Fatal(err)
	}
	if d.Parts[part].Sealed, err = hpke.Seal(box, hpke.HKDFSHA256(), hpke.AES256GCM(), info, plain); err != nil {
		s.t.Fatal(err)
	}
}

// c0 are the public keys of the sharings in force.
func (s *table) c0() (points [][]byte) {
	for _, sharing := range s.current.Sharings {
		points = append(points, sharing.Commitments[0])
	}
	return points
}

// TestCeremonies makes three keys among three evaluators, and then shares them anew: as
// they are, without one of them, with a fourth, under a higher threshold. That shares
// which verify against the same C_0 make the same outputs is for package oprf to show.
func TestCeremonies(t *testing.T) {
	s := newTable(t, 2, 3)
	s.hold(s.round(1, 2, 3))
	keys := s.c0()
	again := func(what string, dealers ...int) {
		t.Helper()
		before, was := s.current, s.held
		s.w.Manifest.Version, s.w.Manifest.Previous = before.Version+1, before.Hash()
		s.hold(s.round(dealers...))
		if !slices.EqualFunc(s.c0(), keys, bytes.Equal) {
			t.Errorf("%s: C_0 is another", what)
		}
		if err := s.current.Follows(before); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		for index, shares := range was {
			shares = slices.Clone(shares)
			for i := range shares {
				shares[i].Sharing = s.current.Sharings[0].Number // an old share for a new one
			}
			if _, _, err := evaluator.Check(s.current, index, shares, manifesttest.Now); !errors.Is(err, evaluator.ErrForeign) {
				t.Errorf("%s: an old share of evaluator %d stands for a new one (%v)", what, index, err)
			}
		}
	}
	again("refreshed", 3, 1)

	evaluators := s.w.Manifest.Evaluators
	s.w.Manifest.Evaluators = evaluators[:2]
	again("the third has left", 1, 2)

	signer, vkey := manifesttest.Signer(t, "evaluator-5")
	_, witness := manifesttest.Witness(t, "evaluator-5")
	s.w.Manifest.Evaluators = append(slices.Clone(evaluators[:2]), manifest.Evaluator{
		Index: 5, Name: "evaluator-5", URL: "https://127.0.0.1:8455", TLS: manifesttest.Random32(), Note: vkey, Witness: witness,
	})
	s.signers[5] = signer
	s.box(2)
	again("a fifth has joined", 2, 1)

	s.w.Manifest.Threshold = 3
	again("three are needed", 5, 2)
	again("and still are", 5, 2, 1)
}

func TestRoundRejects(t *testing.T) {
	s := newTable(t, 2, 3)
	known := newTable(t, 2, 3)
	known.hold(known.round(1, 2, 3))
	part := known.round(1, 2)
	part.Last = 2013
	noBox := s.round(1, 2)
	noBox.Draft.Evaluators = slices.Clone(noBox.Draft.Evaluators)
	noBox.Draft.Evaluators[2].Box = nil
	for reason, v := range map[string]struct {
		round  ceremony.Round
		dealer int
		held   []evaluator.Share
		want   error
	}{
		"too_few_make_a_key":         {s.round(1), 1, nil, ceremony.ErrDealers},
		"too_few_share_anew":         {known.round(1), 1, known.held[1], ceremony.ErrDealers},
		"too_many_share_anew":        {known.round(1, 2, 3), 1, known.held[1], ceremony.ErrDealers},
		"a_dealer_twice":             {s.round(1, 1), 1, nil, ceremony.ErrDealers},
		"a_dealer_that_is_not":       {s.round(1, 9), 1, nil, ceremony.ErrDealers},
		"not_one_of_the_dealers":     {s.round(1, 2), 3, nil, ceremony.ErrDealers},
		"some_keys_known_some_not":   {part, 1, known.held[1], ceremony.ErrCohorts},
		"no_share":                   {known.round(1, 2), 1, nil, ceremony.ErrShare},
		"a_receiver_without_a_box":   {noBox, 1, nil, ceremony.ErrBox},
		"shares_of_some_of_the_keys": {known.round(1, 2), 1, known.held[1][:2], ceremony.ErrShare},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if _, err := v.round.Deal(v.dealer, v.held); !errors.Is(err, v.want) {
				t.Errorf("got %v, want %v", err, v.want)
			}
		})
	}
}

// TestGatherNamesTheDealer spoils one of three dealings in every way.
func TestGatherNamesTheDealer(t *testing.T) {
	for _, known := range []bool{false, true} {
		s := newTable(t, 2, 3)
		r := s.round(1, 2, 3)
		if known {
			s.hold(r)
			s.w.Manifest.Version, s.w.Manifest.Previous = 2, s.current.Hash()
			r = s.round(1, 3)
		}
		msgs := s.deal(r)
		dealing := func(i int) *ceremony.Dealing {
			d, err := ceremony.OpenDealing(msgs[i], r.Draft, r.Current)
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		last := len(msgs) - 1
		ones := bytes.Repeat(append([]byte{1}, make([]byte, 31)...), 3)
		for reason, v := range map[string]struct {
			spoil func(d *ceremony.Dealing)
			want  error
			named bool
		}{
			"part_of_another_receiver": {func(d *ceremony.Dealing) { d.Parts[1].Sealed = d.Parts[0].Sealed }, ceremony.ErrPart, true},
			"no_part":                  {func(d *ceremony.Dealing) { d.Parts[1].Receiver = 9 }, ceremony.ErrPart, true},
			"a_part_of_zeros":          {func(d *ceremony.Dealing) { s.seal(d, 1, d.Draft, 3, make([]byte, 96)) }, ceremony.ErrPart, true},
			"a_part_for_another_draft": {func(d *ceremony.Dealing) { s.seal(d, 1, manifesttest.Random32(), 3, ones) }, ceremony.ErrPart, true},
			"another_dealers_dealing":  {func(d *ceremony.Dealing) { d.Sharings, d.Parts = dealing(0).Sharings, dealing(0).Parts }, ceremony.ErrPart, true},
			"a_flipped_bit":            {func(d *ceremony.Dealing) { d.Parts[1].Sealed[40] ^= 1 }, ceremony.ErrPart, true},
			"commitments_swapped": {func(d *ceremony.Dealing) {
				d.Sharings[0].Commitments, d.Sharings[1].Commitments = d.Sharings[1].Commitments, d.Sharings[0].Commitments
			}, map[bool]error{false: ceremony.ErrPart, true: ceremony.ErrOther}[known], true},
			"a_higher_coefficient_of_another": {func(d *ceremony.Dealing) {
				d.Sharings[0].Commitments[1] = d.Sharings[1].Commitments[1]
			}, ceremony.ErrPart, true},
			"another_threshold": {func(d *ceremony.Dealing) {
				d.Sharings[0].Commitments = append(d.Sharings[0].Commitments, d.Sharings[0].Commitments[1])
			}, ceremony.ErrDealing, true},
			"not_a_group_element": {func(d *ceremony.Dealing) { d.Sharings[0].Commitments[0] = bytes.Repeat([]byte{0xff}, 32) }, oprf.ErrCommitments, true},
			"fewer_cohorts":       {func(d *ceremony.Dealing) { d.Sharings = d.Sharings[:2] }, ceremony.ErrDiffer, true},
			"another_number":      {func(d *ceremony.Dealing) { d.Sharings[2].Number++ }, ceremony.ErrDealing, false},
			"a_gap":               {func(d *ceremony.Dealing) { d.Sharings[2].Cohort++ }, ceremony.ErrDealing, false},
			"no_cohorts":          {func(d *ceremony.Dealing) { d.Sharings = []manifest.Sharing{} }, ceremony.ErrDealing, false},
			"another_draft":       {func(d *ceremony.Dealing) { d.Draft[0] ^= 1 }, ceremony.ErrDealing, false},
			"another_deployment":  {func(d *ceremony.Dealing) { d.Dep = "other" }, ceremony.ErrDealing, false},
		} {
			t.Run(fmt.Sprintf("known=%t/rejects/%s", known, reason), func(t *testing.T) {
				d := dealing(last)
				v.spoil(d)
				_, _, err := s.gather(r, 2, append(slices.Clone(msgs[:last]), s.sign(d)))
				if !errors.Is(err, v.want) {
					t.Fatalf("got %v, want %v", err, v.want)
				}
				var at *ceremony.DealerError
				if named := errors.As(err, &at); named != v.named || named && at.Dealer != 3 {
					t.Errorf("names the dealer wrongly: %v", err)
				}
			})
		}
		t.Run(fmt.Sprintf("known=%t/rejects/signed_by_another", known), func(t *testing.T) {
			text, err := dealing(last).Note()
			if err != nil {
				t.Fatal(err)
			}
			var at *ceremony.DealerError
			_, err = ceremony.OpenDealing(manifesttest.Sign(t, text, s.signers[1]), r.Draft, r.Current)
			if !errors.Is(err, manifest.ErrSigner) || !errors.As(err, &at) || at.Dealer != 3 {
				t.Errorf("got %v", err)
			}
		})
		t.Run(fmt.Sprintf("known=%t/rejects/one_missing", known), func(t *testing.T) {
			if _, _, err := s.gather(r, 2, msgs[:last]); !errors.Is(err, ceremony.ErrMissing) {
				t.Errorf("got %v", err)
			}
			if _, _, err := s.gather(r, 2, append(slices.Clone(msgs[:last]), msgs[0])); !errors.Is(err, ceremony.ErrMissing) {
				t.Errorf("one comes twice: %v", err)
			}
			if _, _, err := s.gather(r, 2, nil); !errors.Is(err, ceremony.ErrMissing) {
				t.Errorf("none: %v", err)
			}
		})
	}
}

// TestPartsByTheSpec opens a part with the spec's words alone, and seals it again so.
func TestPartsByTheSpec(t *testing.T) {
	s := newTable(t, 2, 3)
	r := s.round(1, 2)
	msgs := s.deal(r)
	d, err := ceremony.OpenDealing(msgs[1], r.Draft, r.Current)
	if err != nil {
		t.Fatal(err)
	}
	key, err := hpke.NewDHKEMPrivateKey(s.boxes[2])
	if err != nil {
		t.Fatal(err)
	}
	info, err := encoding.E("seinhuis/1/part", []byte("test"), d.Draft[:], []byte("2"), []byte("2"))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := hpke.Open(key, hpke.HKDFSHA256(), hpke.AES256GCM(), info, d.Parts[1].Sealed)
	if err != nil || len(plain) != 3*32 {
		t.Fatalf("a part of %d bytes, %v", len(plain), err)
	}
	s.seal(d, 1, d.Draft, 2, plain)
	if _, _, err := s.gather(r, 2, [][]byte{msgs[0], s.sign(d)}); err != nil {
		t.Error(err)
	}
	for _, size := range []int{0, 64, 128} {
		s.seal(d, 1, d.Draft, 2, append(plain, plain...)[:size])
		if _, _, err := s.gather(r, 2, [][]byte{msgs[0], s.sign(d)}); !errors.Is(err, ceremony.ErrPart) {
			t.Errorf("a part of %d bytes that begins well: %v", size, err)
		}
	}
}

// TestGatherRejectsWhatItsDealerDoesNotHold has a dealer share a key of his own choice
// anew, with all else right.
func TestGatherRejectsWhatItsDealerDoesNotHold(t *testing.T) {
	s, other := newTable(t, 2, 3), newTable(t, 2, 3)
	s.hold(s.round(1, 2, 3))
	other.hold(other.round(1, 2, 3))
	s.held[3] = other.held[3]
	s.w.Manifest.Version, s.w.Manifest.Previous = 2, s.current.Hash()
	r := s.round(1, 3)
	var at *ceremony.DealerError
	if _, _, err := s.gather(r, 2, s.deal(r)); !errors.Is(err, ceremony.ErrOther) || !errors.As(err, &at) || at.Dealer != 3 {
		t.Errorf("got %v", err)
	}
}
