// SPDX-License-Identifier: EUPL-1.2

package matcher_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/disk/disktest"
	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/soak"
)

func answer(t *testing.T, w *matchertest.World, of, other matchertest.Paper, word api.Answer) (api.ActRequest, matcher.Outcome) {
	t.Helper()
	act := w.Answer(of, other, word)
	return act, taken(t, w, of, act)
}

func taken(t *testing.T, w *matchertest.World, of matchertest.Paper, act api.ActRequest) matcher.Outcome {
	t.Helper()
	out, err := w.Act(t.Context(), of.Statement.Party, act)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func sameReceipt(a, b matcher.Outcome) bool {
	return bytes.Equal(a.Receipt.Signed, b.Receipt.Signed) && bytes.Equal(a.Receipt.Signature, b.Receipt.Signature)
}

func TestAnAnswerIsToldToTheOtherOnly(t *testing.T) {
	w := matchertest.New(t, 3)
	a, b, c := w.Signal(0, matchertest.Child(1)), w.Signal(1, matchertest.Child(1)), w.Signal(2, matchertest.Child(1))
	before := map[int]int{0: len(w.Feed(0)), 1: len(w.Feed(1)), 2: len(w.Feed(2))}
	act, out := answer(t, w, a, b, api.AnswerWillCall)
	r, err := api.ParseReceipt(out.Receipt.Signed)
	if err != nil || !out.Created || r.Statement != act.Hash() || r.SID != a.Statement.SID || r.Rev != 1 || r.Others != 2 {
		t.Errorf("the receipt is %+v (%v)", r, err)
	}
	if len(w.Feed(0)) != before[0] || len(w.Feed(2)) != before[2] {
		t.Error("somebody else was told of the answer")
	}
	told := w.Feed(1)
	e := told[len(told)-1]
	id, _ := api.EventIDOf(matchertest.Party(1), b.Statement.SID, matchertest.Party(0), a.Statement.SID, api.EventAnswer, 1)
	switch {
	case len(told) != before[1]+1, e.Kind != api.EventAnswer, e.ID != id, e.Match != w.MatchOf(a).ID, e.Answer != api.AnswerWillCall:
		t.Errorf("the other was told %+v", e)
	case e.Other.Party != matchertest.Party(0), e.Other.SID != a.Statement.SID, e.Other.Rev != 1, e.Other.Card != nil:
		t.Errorf("the event is about %+v", e.Other)
	case e.Own.SID != b.Statement.SID, !bytes.Equal(e.Own.Signed.Signed, b.Submission.Signed.Signed), !bytes.Equal(e.Own.Keybox, b.Submission.Faces[0].Keybox):
		t.Error("the recipient's own signal is not in the event")
	}

	w.Advance(time.Second)
	answer(t, w, a, b, api.AnswerContactMade)
	answer(t, w, b, a, api.AnswerContactMade)
	answer(t, w, a, c, api.AnswerNotInvolved)
	if told = w.Feed(1); len(told) != before[1]+2 || told[len(told)-1].Answer != api.AnswerContactMade || told[len(told)-1].Other.Rev != 2 {
		t.Error("the second answer is not told as the second")
	}
	// What came before it brings the last word too, as a card does.
	if first := told[len(told)-2]; first.ID != id || first.Answer != api.AnswerContactMade || first.Other.Rev != 2 {
		t.Errorf("the first answer comes as %q, number %d", first.Answer, first.Other.Rev)
	}
	if _, found := checked(t, w); len(found) > 0 {
		t.Errorf("%q", found)
	}
}

func TestTheSameAnswerGetsTheSameReceipt(t *testing.T) {
	w := matchertest.New(t, 2)
	a, b := w.Signal(0, matchertest.Child(1)), w.Signal(1, matchertest.Child(1))
	first, one := answer(t, w, a, b, api.AnswerWillCall)
	w.Advance(time.Hour)
	second, two := answer(t, w, a, b, api.AnswerContactMade)
	if sameReceipt(one, two) {
		t.Fatal("two answers have one receipt")
	}
	revised := w.Write(0, matchertest.Child(1), a.Statement.SID, 2)
	if _, err := w.Send(revised); err != nil {
		t.Fatal(err)
	}
	w.Reopen()
	w.Manifest.Policy.LegalBasisEnds = registry.Today(w.Now()) // whatever has changed since
	events := len(w.Feed(1))
	for _, c := range []struct {
		act  api.ActRequest
		want matcher.Outcome
	}{{first, one}, {second, two}, {first, one}} {
		if got := taken(t, w, a, c.act); got.Created || !sameReceipt(got, c.want) {
			t.Errorf("said again it gets another receipt (created: %v)", got.Created)
		}
	}
	if m := w.MatchOf(a); len(m.Answers) != 1 || m.Answers[0].Word != api.AnswerContactMade || m.Answers[0].Number != 2 {
		t.Errorf("an earlier answer that came again counts as the last: %+v", m.Answers)
	}
	if len(w.Feed(1)) != events {
		t.Error("an answer that came again was told again")
	}
}

// What may not come again is not kept, and there is an end to what one has to say.
func TestAnswersInARowAreBounded(t *testing.T) {
	w := matchertest.New(t, 2)
	a, b := w.Signal(0, matchertest.Child(1)), w.Signal(1, matchertest.Child(1))
	first, _ := answer(t, w, a, b, api.AnswerWillCall)
	for range 31 {
		w.Advance(time.Minute)
		answer(t, w, a, b, api.AnswerContactMade)
	}
	w.Advance(time.Minute)
	_, err := w.Act(t.Context(), a.Statement.Party, w.Answer(a, b, api.AnswerWillCall))
	wantCode(t, err, api.CodeBudget)
	answer(t, w, b, a, api.AnswerWillCall)
	w.Advance(registry.MaxAge + time.Hour)
	answer(t, w, a, b, api.AnswerNotInvolved)
	if m := w.MatchOf(a); len(m.Answers) != 2 || len(m.Answers[1].Taken) != 1 || m.Answers[1].Number != 33 {
		t.Errorf("%d acts of the %d are kept", len(m.Answers[1].Taken), m.Answers[1].Number)
	}
	_, err = w.Act(t.Context(), a.Statement.Party, first) // nobody knows it, and it is not taken anew
	wantCode(t, err, api.CodeIssued)
}

func TestAnswersThatAreRefused(t *testing.T) {
	w := matchertest.New(t, 4)
	a, b, c := w.Signal(0, matchertest.Child(1)), w.Signal(1, matchertest.Child(1)), w.Signal(2, matchertest.Child(1))
	alone := w.Signal(3, matchertest.Child(2))
	w.Signal(0, matchertest.Child(3))
	elsewhere := w.Signal(1, matchertest.Child(3))
	w.Withdraw(c)
	for _, r := range []struct {
		name   string
		code   api.Code
		of     matchertest.Paper
		change func(*api.Act)
	}{
		{"a_word_that_is_none", api.CodeMalformed, a, func(act *api.Act) { act.Body = "perhaps" }},
		{"no_word", api.CodeMalformed, a, func(act *api.Act) { act.Body = "" }},
		{"no_match", api.CodeMalformed, a, func(act *api.Act) { act.Match = api.MatchID{} }},
		{"no_other", api.CodeMalformed, a, func(act *api.Act) { act.OtherSID = api.SID{} }},
		{"another_match", api.CodeMatch, a, func(act *api.Act) { act.Match = api.NewMatchID() }},
		{"who_left", api.CodeMatch, a, func(act *api.Act) { act.OtherSID = c.Statement.SID }},
		{"who_is_in_another_match", api.CodeMatch, a, func(act *api.Act) { act.OtherSID = elsewhere.Statement.SID }},
		{"oneself", api.CodeMatch, a, func(act *api.Act) { act.OtherSID = a.Statement.SID }},
		{"the_next_revision", api.CodeRevision, a, func(act *api.Act) { act.Rev++ }},
		{"another_signal_of_ours", api.CodeUnknownSignal, a, func(act *api.Act) { act.SID = api.NewSID() }},
		{"under_another_tag", api.CodeUnknownSignal, a, func(act *api.Act) { act.Tag = matchertest.Child(9) }},
		{"too_old", api.CodeIssued, a, func(act *api.Act) { act.Issued = act.Issued.Add(-registry.MaxAge - time.Second) }},
		{"after_we_left", api.CodeGone, c, func(act *api.Act) { act.Match, act.OtherSID = w.MatchOf(a).ID, a.Statement.SID }},
		{"without_a_match", api.CodeMatch, alone, func(act *api.Act) { act.Match = w.MatchOf(a).ID }},
	} {
		t.Run("rejects/"+r.name, func(t *testing.T) {
			var act api.ActRequest
			if r.of.Statement.SID != a.Statement.SID {
				act = w.Answer(r.of, b, api.AnswerWillCall, func(act *api.Act) { act.Match = w.MatchOf(a).ID }, r.change)
			} else {
				act = w.Answer(a, b, api.AnswerWillCall, r.change)
			}
			_, err := w.Act(t.Context(), r.of.Statement.Party, act)
			wantCode(t, err, r.code)
		})
	}
	t.Run("rejects/another_party", func(t *testing.T) {
		_, err := w.Act(t.Context(), matchertest.Party(1), w.Answer(a, b, api.AnswerWillCall))
		wantCode(t, err, api.CodeForbidden)
	})
	t.Run("rejects/anothers_signature", func(t *testing.T) {
		act := w.Answer(a, b, api.AnswerWillCall)
		act.Signature = api.Sign(w.Key(1), act.Signed.Signed).Signature
		_, err := w.Act(t.Context(), matchertest.Party(0), act)
		wantCode(t, err, api.CodeSignature)
	})
	t.Run("rejects/who_has_expired_and_is_not_swept", func(t *testing.T) {
		soon := w.Write(3, matchertest.Child(1), api.NewSID(), 1, func(s *api.Statement) { s.Expires = registry.Today(w.Now()).AddDate(0, 0, 1) })
		if _, err := w.Send(soon); err != nil {
			t.Fatal(err)
		}
		w.Advance(24 * time.Hour)
		_, err := w.Act(t.Context(), matchertest.Party(0), w.Answer(a, soon, api.AnswerWillCall))
		wantCode(t, err, api.CodeMatch)
	})
	for _, c := range []struct {
		name string
		code api.Code
		end  func()
	}{
		{"legal_basis", api.CodeLegalBasis, func() { w.Manifest.Policy.LegalBasisEnds = registry.Today(w.Now()) }},
		{"directory", api.CodeUnavailable, func() { w.Directory.NotAfter = w.Now().Add(-time.Second) }},
		{"manifest", api.CodeUnavailable, func() { w.Manifest.NotAfter = w.Now().Add(-time.Second) }},
	} {
		t.Run("rejects/after_the_end_of_"+c.name, func(t *testing.T) {
			c.end()
			_, err := w.Act(t.Context(), matchertest.Party(0), w.Answer(a, b, api.AnswerWillCall))
			wantCode(t, err, c.code)
		})
	}
	if m := w.MatchOf(a); len(m.Answers) != 0 {
		t.Errorf("a refused answer is kept")
	}
}

// TestALeaversAnswersGoWithIt says so of the store, and of what was not delivered yet.
func TestALeaversAnswersGoWithIt(t *testing.T) {
	w := matchertest.New(t, 3)
	a, b, c := w.Signal(0, matchertest.Child(1)), w.Signal(1, matchertest.Child(1)), w.Signal(2, matchertest.Child(1))
	answer(t, w, a, b, api.AnswerWillCall)
	answer(t, w, b, a, api.AnswerInContact)
	answer(t, w, b, c, api.AnswerContactMade)
	act, _ := answer(t, w, c, a, api.AnswerWillCall)
	w.Withdraw(c)
	m := w.MatchOf(a)
	if len(m.Answers) != 2 {
		t.Errorf("%d answers stay", len(m.Answers))
	}
	for _, e := range w.Feed(0) {
		if e.Kind == api.EventAnswer && (e.Answer != "") != (e.Other.Party == matchertest.Party(1)) {
			t.Errorf("of %s comes %q", e.Other.Party, e.Answer)
		}
	}
	if _, err := w.Act(t.Context(), matchertest.Party(2), act); api.CodeOf(err) != api.CodeGone {
		t.Errorf("the leaver's answer again: %v", err)
	}
	w.Withdraw(b)
	if m := w.MatchOf(a); !m.ID.IsZero() || len(m.Answers) != 0 {
		t.Error("a match that has ended keeps answers")
	}
	d := w.Signal(1, matchertest.Child(1))
	if m := w.MatchOf(a); len(m.Answers) != 0 {
		t.Error("a match that formed anew has answers")
	}
	answer(t, w, a, d, api.AnswerWillCall)
	if m := w.MatchOf(a); m.Answers[0].Number != 1 {
		t.Errorf("the first answer to a new signal has number %d", m.Answers[0].Number)
	}
}

// A number that was told is never given to another answer, even if the match that
// knew it was lost.
func TestAnswersAfterALostMatch(t *testing.T) {
	w := matchertest.New(t, 2)
	a, b := w.Signal(0, matchertest.Child(1)), w.Signal(1, matchertest.Child(1))
	answer(t, w, a, b, api.AnswerWillCall)
	w.Advance(time.Second)
	answer(t, w, a, b, api.AnswerContactMade)
	err := w.Store.Update(t.Context(), w.Keys.Idx(1, matchertest.Child(1)), func(tx registry.Tx) error { return tx.PutMatch(registry.Match{}) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Advance(time.Second)
	answer(t, w, a, b, api.AnswerNotInvolved)
	told := w.Feed(1)
	if e := told[len(told)-1]; e.Answer != api.AnswerNotInvolved || e.Other.Rev != 3 {
		t.Errorf("told %q as number %d", e.Answer, e.Other.Rev)
	}
	if _, found := checked(t, w); len(found) > 0 {
		t.Errorf("%q", found)
	}
}

// TestCheckFindsAnswers plants each kind of damage to answers, and has it mended.
func TestCheckFindsAnswers(t *testing.T) {
	tag := matchertest.Child(1)
	for _, c := range []struct {
		name  string
		plant func(m *registry.Match)
		want  []string
	}{
		{"nothing", func(m *registry.Match) {}, nil},
		{"answer_of_a_stranger", func(m *registry.Match) {
			m.Answers[0].From = registry.Member{Party: matchertest.Party(3), SID: api.NewSID()}
		}, []string{matcher.AnswerOf, matcher.AnswerUntold}},
		{"answer_to_oneself", func(m *registry.Match) { m.Answers[0].To = m.Answers[0].From }, []string{matcher.AnswerOf, matcher.AnswerUntold}},
		{"answer_twice", func(m *registry.Match) { m.Answers = append(m.Answers, m.Answers[0]) }, []string{matcher.AnswerTwice}},
		{"answer_untold", func(m *registry.Match) { m.Answers[0].Number++ }, []string{matcher.AnswerUntold}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := matchertest.New(t, 4)
			a, b := w.Signal(0, tag), w.Signal(1, tag)
			w.Signal(2, tag)
			answer(t, w, a, b, api.AnswerWillCall)
			answer(t, w, b, a, api.AnswerInContact)
			err := w.Store.Update(t.Context(), w.Keys.Idx(1, tag), func(tx registry.Tx) error {
				m, err := tx.Match()
				if err != nil {
					return err
				}
				m.Answers = slices.Clone(m.Answers)
				c.plant(&m)
				return tx.PutMatch(m)
			})
			if err != nil {
				t.Fatal(err)
			}
			done, found := checked(t, w)
			slices.Sort(c.want)
			if !slices.Equal(found, c.want) || done.Answers < 2 {
				t.Errorf("found %q, want %q", found, c.want)
			}
			if _, err := w.Rebuild(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, found := checked(t, w); len(found) > 0 {
				t.Errorf("after a rebuild there is still %q", found)
			}
			if _, kept := w.MatchOf(a).Answer(registry.Member{Party: matchertest.Party(1), SID: b.Statement.SID}, registry.Member{Party: matchertest.Party(0), SID: a.Statement.SID}); !kept {
				t.Error("a rebuild lost an answer that was sound")
			}
		})
	}
}

// TestAnswersMoveToAnotherEpoch says which answers stay when signals part and meet: those
// of two who are still in one match.
func TestAnswersMoveToAnotherEpoch(t *testing.T) {
	type pair = [2]int
	for _, c := range []struct {
		name     string
		old, new []int // child of each party in either epoch
		stay     []pair
	}{
		{"all_together", []int{1, 1, 1}, []int{1, 1, 1}, []pair{{0, 1}, {0, 2}, {1, 0}, {1, 2}, {2, 0}, {2, 1}}},
		{"one_goes_elsewhere", []int{1, 1, 1}, []int{1, 1, 2}, []pair{{0, 1}, {1, 0}}},
		{"two_and_two", []int{1, 1, 1, 1}, []int{2, 2, 3, 3}, []pair{{0, 1}, {1, 0}, {2, 3}, {3, 2}}},
		{"two_matches_meet", []int{1, 1, 2, 2}, []int{3, 3, 3, 3}, []pair{{0, 1}, {1, 0}, {2, 3}, {3, 2}}},
		{"one_joins_a_match", []int{1, 1, 2}, []int{1, 1, 1}, []pair{{0, 1}, {1, 0}}},
		{"all_alone", []int{1, 1}, []int{2, 3}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, batch := range []int{1, 500} {
				restore := matcher.SetRebuildBatch(batch)
				w := matchertest.New(t, len(c.old))
				w.OpenEpoch()
				var papers []matchertest.Paper
				for p := range c.old {
					paper := w.Write(p, matchertest.Child(c.old[p]), api.NewSID(), 1, func(s *api.Statement) {
						s.Faces[1].Tag = matchertest.TagIn(2, matchertest.Child(c.new[p]))
					})
					if _, err := w.Send(paper); err != nil {
						t.Fatal(err)
					}
					papers = append(papers, paper)
				}
				acts := map[pair]matcher.Outcome{}
				for p := range papers {
					for q := range papers {
						if p != q && c.old[p] == c.old[q] {
							_, acts[pair{p, q}] = answer(t, w, papers[p], papers[q], api.AnswerWillCall)
						}
					}
				}
				w.CloseEpoch()
				if _, err := w.Rebuild(t.Context()); err != nil {
					t.Fatal(err)
				}
				var stay []pair
				for p := range papers {
					papers[p].Statement.Faces = papers[p].Statement.Faces[1:]
					for q := range papers {
						from, to := registry.Member{Party: matchertest.Party(p), SID: papers[p].Statement.SID}, registry.Member{Party: matchertest.Party(q), SID: papers[q].Statement.SID}
						if _, ok := w.MatchOf(papers[p]).Answer(from, to); ok {
							stay = append(stay, pair{p, q})
						}
					}
				}
				if !slices.Equal(stay, c.stay) {
					t.Errorf("batch %d: answers %v stay, want %v", batch, stay, c.stay)
				}
				if _, found := checked(t, w); len(found) > 0 {
					t.Errorf("batch %d: %q", batch, found)
				}
				// Whoever is still together knows his match, by what he was told last.
				for _, s := range c.stay {
					w.Advance(time.Second)
					var last api.MatchID
					for _, e := range w.Feed(s[0]) {
						last = e.Match
					}
					if c.name == "two_matches_meet" || last == w.MatchOf(papers[s[0]]).ID {
						continue
					}
					t.Errorf("batch %d: party %d was told of another match than it is in", batch, s[0])
				}
				restore()
			}
		})
	}
}

// TestRow2Answers loses power at every sync while parties answer: each
// answer that was receipted stands and was told, and said again it gets that receipt;
// any other stands wholly or not at all.
func TestRow2Answers(t *testing.T) {
	soak.Row(t, 2, "power lost at every sync while parties answer", 2, func(t *testing.T, seed uint64) soak.Found {
		cryptotest.SetGlobalRandom(t, seed)
		rng := rand.New(rand.NewPCG(seed, 4))
		w := matchertest.New(t, 3)
		w.Ingest = int(seed % 2)
		w.Store.Close()
		disk := vfs.NewCrashableMem()
		c := disktest.NewCamera(disk, rng)
		w.Open(c)
		papers := []matchertest.Paper{w.Signal(0, matchertest.Child(1)), w.Signal(1, matchertest.Child(1)), w.Signal(2, matchertest.Child(1))}
		type said struct {
			from, to int
			act      api.ActRequest
			out      matcher.Outcome
			pictures int // when it was receipted
		}
		var all []said
		words := []api.Answer{api.AnswerWillCall, api.AnswerContactMade, api.AnswerInContact}
		c.Turn(true)
		for i := range 12 {
			w.Advance(time.Second)
			s := said{from: i % 3, to: (i + 1 + i%2) % 3}
			s.act, s.out = answer(t, w, papers[s.from], papers[s.to], words[i%3])
			s.pictures = c.Taken()
			all = append(all, s)
		}
		c.Turn(false)
		w.Store.Close()
		if len(c.Pictures()) < 24 {
			t.Fatalf("%d pictures", len(c.Pictures()))
		}
		tried := 0
		for i, picture := range c.Pictures() {
			if soak.Race && i%8 > 0 { // all of them without it
				continue
			}
			tried++
			w.Open(picture)
			if _, found := checked(t, w); len(found) > 0 {
				t.Errorf("picture %d: %q", i, found)
			}
			for n, s := range all {
				out, err := w.Act(context.Background(), papers[s.from].Statement.Party, s.act)
				switch {
				case err != nil:
					t.Errorf("picture %d: answer %d: %v", i, n, err)
				case s.pictures <= i && (out.Created || !sameReceipt(out, s.out)):
					t.Errorf("picture %d: answer %d was receipted, and is taken anew", i, n)
				}
			}
			for p := range papers {
				ids := map[api.EventID]bool{}
				for _, e := range w.Feed(p) {
					if ids[e.ID] {
						t.Errorf("picture %d: an event is told twice", i)
					}
					ids[e.ID] = true
				}
				if want := 2 + 4; len(ids) != want {
					t.Errorf("picture %d: party %d was told %d events, want %d", i, p, len(ids), want)
				}
			}
			w.Store.Close()
			if t.Failed() {
				break
			}
		}
		w.Open(vfs.NewMem())
		return soak.Found{"power losses": tried, "answers": len(all)}
	})
}
