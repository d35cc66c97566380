// SPDX-License-Identifier: EUPL-1.2

package matcher_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
	"github.com/seinhuis/seinhuis/registry"
)

func inDays(w *matchertest.World, n int) encoding.Date {
	return registry.Today(w.Now()).AddDate(0, 0, n)
}

// takes is a statement of a party that takes over a signal of child 1.
func takes(w *matchertest.World, p int, of matchertest.Paper) matchertest.Paper {
	return w.Write(p, matchertest.Child(1), api.NewSID(), 1, func(s *api.Statement) { s.TakesOver = of.Statement.SID })
}

// Whom a signal is given to hears by whom and until when, and of which signal, nothing of the
// child. It takes it over by one of its own: then the giver's has ended, and whoever is in
// the match knows who came in whose place.
func TestAWarmHandover(t *testing.T) {
	w := matchertest.New(t, 3)
	giver, third := w.Signal(0, matchertest.Child(1)), w.Signal(2, matchertest.Child(1))
	answer(t, w, third, giver, api.AnswerWillCall)
	match := w.MatchOf(third).ID
	act := w.Offer(giver, 1, inDays(w, 14))
	out := taken(t, w, giver, act)
	if r, err := api.ParseReceipt(out.Receipt.Signed); err != nil || !out.Created || r.Statement != act.Hash() || r.Others != 1 {
		t.Errorf("the receipt of the offer is %+v (%v)", r, err)
	}
	told := w.Feed(1)
	if len(told) != 1 {
		t.Fatalf("whom it is given to was told %q", w.Told(1))
	}
	e := told[0]
	switch {
	case e.Kind != api.EventHandover, e.Until != inDays(w, 14), e.Other.Party != matchertest.Party(0), e.Other.SID != giver.Statement.SID:
		t.Errorf("whom it is given to was told %+v", e)
	case !e.Own.SID.IsZero(), e.Own.Signed.Signed != nil, e.Own.Keybox != nil, e.Other.Card != nil, !e.Match.IsZero():
		t.Error("whom it is given to was told more than who gives what")
	}
	// A new card of the giver's leaves the offer as it is.
	giver = w.Revise(giver)

	w.Advance(14 * 24 * time.Hour)
	now := takes(w, 1, giver)
	if out, err := w.Send(now); err != nil || !out.Created {
		t.Fatal(err)
	}
	if again, err := w.Send(now); err != nil || again.Created {
		t.Errorf("word for word once more: %v, %v", again.Created, err)
	}
	wantTold(t, w, 0, "joined nl-kvk:00000002", "answer nl-kvk:00000002", "handover nl-kvk:00000001")
	wantTold(t, w, 1, "handover nl-kvk:00000000", "joined nl-kvk:00000002")
	wantTold(t, w, 2, "joined nl-kvk:00000000", "card nl-kvk:00000000", "left nl-kvk:00000000", "joined nl-kvk:00000001", "handover nl-kvk:00000001")
	last := w.Feed(2)[4]
	if last.Match != match || last.Other.SID != now.Statement.SID || last.Other.TakesOver != giver.Statement.SID || last.Other.Card != nil {
		t.Errorf("who was in the match is told %+v", last)
	}
	if joined := w.Feed(2)[3]; !joined.Other.TakesOver.IsZero() {
		t.Error("that somebody joined tells what he took over")
	}
	if to := w.Feed(0)[2]; to.Own.SID != giver.Statement.SID || to.Own.Signed.Signed != nil || to.Other.Card != nil || !to.Other.TakesOver.IsZero() {
		t.Errorf("the giver is told %+v", to)
	}
	if offer := w.Feed(1)[0]; !offer.Until.IsZero() {
		t.Error("what was taken over is still offered")
	}
	if m := w.MatchOf(now); m.ID != match || len(m.Members) != 2 || len(m.Answers) != 0 {
		t.Errorf("the match is %+v", m)
	}
	_, err := w.Act(t.Context(), giver.Statement.Party, w.Withdrawal(giver))
	wantCode(t, err, api.CodeGone)
	_, err = w.Send(w.Write(0, matchertest.Child(1), giver.Statement.SID, 3))
	wantCode(t, err, api.CodeGone)
	if lines := leaves(t, w); !slices.Contains(lines, "signal.handover nl-kvk:00000000 "+giver.Statement.SID.String()) || !slices.Contains(lines, "signal.offer nl-kvk:00000000 "+giver.Statement.SID.String()) {
		t.Errorf("the log has %q", lines)
	}
	if _, found := checked(t, w); len(found) > 0 {
		t.Errorf("%q", found)
	}
	// Its next revision keeps what it took over, and ends nobody.
	if _, err := w.Send(w.Write(1, matchertest.Child(1), now.Statement.SID, 2, func(s *api.Statement) { s.TakesOver = giver.Statement.SID })); err != nil {
		t.Errorf("a revision of what took over: %v", err)
	}
	if lines := w.Told(2); len(lines) != 6 || lines[5] != "card nl-kvk:00000001" {
		t.Errorf("a revision of what took over tells %q", lines)
	}
}

// Who signals the child already takes over by a revision.
func TestAMemberTakesOver(t *testing.T) {
	w := matchertest.New(t, 2)
	giver, mine := w.Signal(0, matchertest.Child(1)), w.Signal(1, matchertest.Child(1))
	taken(t, w, giver, w.Offer(giver, 1, inDays(w, 0)))
	if _, err := w.Send(w.Write(1, matchertest.Child(1), mine.Statement.SID, 2, func(s *api.Statement) { s.TakesOver = giver.Statement.SID })); err != nil {
		t.Fatal(err)
	}
	wantTold(t, w, 0, "joined nl-kvk:00000001", "handover nl-kvk:00000001")
	wantTold(t, w, 1, "joined nl-kvk:00000000", "handover nl-kvk:00000000", "left nl-kvk:00000000", "ended nl-kvk:00000000")
	if done, found := checked(t, w); done.Signals != 1 || len(found) > 0 {
		t.Errorf("%+v, %q", done, found)
	}
}

// A handover that nobody gave is refused, whatever it lacks, and nothing comes of it.
func TestAHandoverNobodyGave(t *testing.T) {
	type scene struct {
		w     *matchertest.World
		giver matchertest.Paper
	}
	offer := func(s scene, to, days int) { taken(t, s.w, s.giver, s.w.Offer(s.giver, to, inDays(s.w, days))) }
	for name, play := range map[string]func(t *testing.T, s scene) matchertest.Paper{
		"rejects/never_given":      func(_ *testing.T, s scene) matchertest.Paper { return takes(s.w, 1, s.giver) },
		"rejects/given_to_another": func(_ *testing.T, s scene) matchertest.Paper { offer(s, 2, 9); return takes(s.w, 1, s.giver) },
		"rejects/expired": func(_ *testing.T, s scene) matchertest.Paper {
			offer(s, 1, 2)
			s.w.Advance(72 * time.Hour)
			return takes(s.w, 1, s.giver)
		},
		"rejects/taken_back": func(t *testing.T, s scene) matchertest.Paper {
			offer(s, 1, 9)
			s.w.Advance(time.Minute)
			taken(t, s.w, s.giver, s.w.Offer(s.giver, 1, encoding.Date{}))
			return takes(s.w, 1, s.giver)
		},
		"rejects/given_to_another_since": func(_ *testing.T, s scene) matchertest.Paper {
			offer(s, 1, 9)
			offer(s, 2, 9)
			return takes(s.w, 1, s.giver)
		},
		"rejects/an_act_played_again": func(t *testing.T, s scene) matchertest.Paper {
			act := s.w.Offer(s.giver, 1, inDays(s.w, 9))
			first := taken(t, s.w, s.giver, act)
			s.w.Advance(time.Minute)
			taken(t, s.w, s.giver, s.w.Offer(s.giver, 1, encoding.Date{}))
			if again := taken(t, s.w, s.giver, act); again.Created || !sameReceipt(first, again) {
				t.Error("the act that was played again does not get its receipt")
			}
			return takes(s.w, 1, s.giver)
		},
		"rejects/taken_up_twice": func(t *testing.T, s scene) matchertest.Paper {
			offer(s, 1, 9)
			first := send(t, s.w, takes(s.w, 1, s.giver))
			s.w.Withdraw(first)
			return takes(s.w, 1, s.giver)
		},
		"rejects/of_the_giver_before": func(t *testing.T, s scene) matchertest.Paper {
			offer(s, 1, 9)
			s.w.Withdraw(s.giver)
			s.w.Signal(0, matchertest.Child(1))
			return takes(s.w, 1, s.giver)
		},
		"rejects/of_another_child": func(t *testing.T, s scene) matchertest.Paper {
			offer(s, 1, 9)
			return s.w.Write(1, matchertest.Child(2), api.NewSID(), 1, func(st *api.Statement) { st.TakesOver = s.giver.Statement.SID })
		},
		"rejects/of_one_that_has_expired": func(t *testing.T, s scene) matchertest.Paper {
			short := send(t, s.w, s.w.Write(2, matchertest.Child(1), api.NewSID(), 1, func(st *api.Statement) { st.Expires = inDays(s.w, 2) }))
			taken(t, s.w, short, s.w.Offer(short, 1, inDays(s.w, 9)))
			s.w.Advance(72 * time.Hour)
			return takes(s.w, 1, short)
		},
		"rejects/itself": func(t *testing.T, s scene) matchertest.Paper {
			return s.w.Write(0, matchertest.Child(1), s.giver.Statement.SID, 2, func(st *api.Statement) { st.TakesOver = s.giver.Statement.SID })
		},
		"rejects/by_a_revision": func(t *testing.T, s scene) matchertest.Paper {
			mine := s.w.Signal(1, matchertest.Child(1))
			return s.w.Write(1, matchertest.Child(1), mine.Statement.SID, 2, func(st *api.Statement) { st.TakesOver = s.giver.Statement.SID })
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := matchertest.New(t, 3)
			s := scene{w, w.Signal(0, matchertest.Child(1))}
			paper := play(t, s)
			if _, err := w.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			before, logged := [3]int{len(w.Feed(0)), len(w.Feed(1)), len(w.Feed(2))}, len(leaves(t, w))
			done, _ := checked(t, w)
			_, err := w.Send(paper)
			wantCode(t, err, api.CodeHandover)
			got, err := w.Import(t.Context(), paper.Statement.Party, []api.Submission{paper.Submission})
			if err != nil {
				t.Fatal(err)
			}
			wantCode(t, got[0].Refused, api.CodeHandover)
			after, found := checked(t, w)
			if before != [3]int{len(w.Feed(0)), len(w.Feed(1)), len(w.Feed(2))} || logged != len(leaves(t, w)) || done.Signals != after.Signals || len(found) > 0 {
				t.Errorf("something came of it: %+v, then %+v, %q", done, after, found)
			}
		})
	}
}

func TestAnOfferIsRefused(t *testing.T) {
	w := matchertest.New(t, 2)
	giver, other := w.Signal(0, matchertest.Child(1)), w.Signal(1, matchertest.Child(1))
	body := func(s string) func(*api.Act) { return func(a *api.Act) { a.Body = s } }
	for name, c := range map[string]struct {
		act  api.ActRequest
		want api.Code
	}{
		"rejects/to_itself":           {w.Offer(giver, 0, inDays(w, 1)), api.CodeMalformed},
		"rejects/to_nobody_listed":    {w.Offer(giver, 7, inDays(w, 1)), api.CodeHandover},
		"rejects/a_day_that_has_gone": {w.Offer(giver, 1, inDays(w, -1)), api.CodeExpires},
		"rejects/a_day_too_far":       {w.Offer(giver, 1, inDays(w, api.MaxHandoverDays+1)), api.CodeExpires},
		"rejects/no_day":              {w.Offer(giver, 1, inDays(w, 1), body(string(matchertest.Party(1)))), api.CodeMalformed},
		"rejects/no_party":            {w.Offer(giver, 1, inDays(w, 1), body("somebody 2026-12-01")), api.CodeMalformed},
		"rejects/a_match":             {w.Offer(giver, 1, inDays(w, 1), func(a *api.Act) { a.Match = api.NewMatchID() }), api.CodeMalformed},
		"rejects/another_signal":      {w.Offer(giver, 1, inDays(w, 1), func(a *api.Act) { a.OtherSID = other.Statement.SID }), api.CodeMalformed},
		"rejects/another_revision":    {w.Offer(giver, 1, inDays(w, 1), func(a *api.Act) { a.Rev = 2 }), api.CodeRevision},
		"rejects/another_tag":         {w.Offer(giver, 1, inDays(w, 1), func(a *api.Act) { a.Tag = matchertest.Child(2) }), api.CodeUnknownSignal},
		"rejects/anothers_signal":     {w.Offer(giver, 1, inDays(w, 1), func(a *api.Act) { a.SID = other.Statement.SID }), api.CodeUnknownSignal},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.Act(t.Context(), giver.Statement.Party, c.act)
			wantCode(t, err, c.want)
		})
	}
	if lines := w.Told(1); len(lines) != 1 {
		t.Errorf("the other was told %q", lines)
	}
	for n := range 32 {
		w.Advance(time.Minute)
		taken(t, w, giver, w.Offer(giver, 1, inDays(w, n%5)))
	}
	w.Advance(time.Minute)
	_, err := w.Act(t.Context(), giver.Statement.Party, w.Offer(giver, 1, inDays(w, 1)))
	wantCode(t, err, api.CodeBudget)
}

// What is given costs an act of the day, and to take it back costs none.
func TestQuotaOfOffers(t *testing.T) {
	w := quotas(t, 9, 1)
	giver, other := w.Signal(0, matchertest.Child(1)), w.Signal(0, matchertest.Child(2))
	act := w.Offer(giver, 1, inDays(w, 1))
	first := taken(t, w, giver, act)
	_, err := w.Act(t.Context(), other.Statement.Party, w.Offer(other, 1, inDays(w, 1)))
	wantSpent(t, err, 12*time.Hour)
	if again := taken(t, w, giver, act); again.Created || !sameReceipt(first, again) {
		t.Error("one that was taken is refused")
	}
	taken(t, w, giver, w.Offer(giver, 1, encoding.Date{}))
	wantTold(t, w, 1, "handover nl-kvk:00000000", "handover nl-kvk:00000000")
}

// News of an offer says what stands when it is read: of that very signal, and to whom it was.
func TestOldNewsOfAnOffer(t *testing.T) {
	w := matchertest.New(t, 3)
	first := w.Signal(0, matchertest.Child(1))
	taken(t, w, first, w.Offer(first, 1, inDays(w, 1)))
	w.Withdraw(first)
	second := w.Signal(0, matchertest.Child(1))
	taken(t, w, second, w.Offer(second, 1, inDays(w, 2)))
	taken(t, w, second, w.Offer(second, 2, inDays(w, 3)))
	for p, want := range map[int][]encoding.Date{1: {{}, {}, {}}, 2: {inDays(w, 3)}} {
		var got []encoding.Date
		for _, e := range w.Feed(p) {
			got = append(got, e.Until)
		}
		if !slices.Equal(got, want) {
			t.Errorf("party %d reads %v, want %v", p, got, want)
		}
	}
	short := send(t, w, w.Write(0, matchertest.Child(2), api.NewSID(), 1, func(s *api.Statement) { s.Expires = inDays(w, 2) }))
	taken(t, w, short, w.Offer(short, 1, inDays(w, 9)))
	w.Advance(4 * 24 * time.Hour)
	if e := w.Feed(1)[3]; !e.Until.IsZero() {
		t.Error("a signal that has expired is offered")
	}
	if e := w.Feed(2)[0]; !e.Until.IsZero() {
		t.Errorf("what has lapsed is offered until %s", e.Until)
	}
	taken(t, w, second, w.Offer(second, 1, inDays(w, 2)))
	for i, e := range w.Feed(1) {
		if want := i > 0 && i != 3; e.Until.IsZero() == want {
			t.Errorf("event %d reads %s", i, e.Until)
		}
	}
}

// The leaf of the giver's end names nobody of the taker's.
func TestTheLogOfAHandover(t *testing.T) {
	w := matchertest.New(t, 2)
	giver := w.Signal(0, matchertest.Child(1))
	taken(t, w, giver, w.Offer(giver, 1, inDays(w, 1)))
	paper := takes(w, 1, giver)
	paper.Submission.User = "somebody-of-1"
	send(t, w, paper)
	users := map[string]string{}
	err := w.Store.Leaves(t.Context(), api.Hash{}, func(l audit.Leaf) error {
		r, err := audit.ParseRecord(l.Record)
		users[fmt.Sprint(r.Event, " ", r.Party)] = r.User
		return err
	})
	if err != nil || users["signal.handover nl-kvk:00000000"] != "" || users["signal.register nl-kvk:00000001"] != "somebody-of-1" {
		t.Errorf("%q (%v)", users, err)
	}
}

// What is given after a restore is another offer than one that was told before it.
func TestAnOfferAfterARestore(t *testing.T) {
	w := matchertest.New(t, 2)
	w.KeepJournal()
	giver := w.Signal(0, matchertest.Child(1))
	w.Backup("backup")
	w.Advance(time.Hour)
	taken(t, w, giver, w.Offer(giver, 1, inDays(w, 1)))
	before := w.Feed(1)[0]
	w.Restore("backup")
	taken(t, w, giver, w.Offer(giver, 1, inDays(w, 2)))
	if told := w.Feed(1); len(told) != 1 || told[0].ID == before.ID || told[0].Other.Rev <= before.Other.Rev || told[0].Until != inDays(w, 2) {
		t.Errorf("told %+v, before %+v", told, before)
	}
}

// Who was in a match hears of a mistake that it was one, and of nothing else why.
func TestAMistakeIsTold(t *testing.T) {
	w := matchertest.New(t, 3)
	a, b, c := w.Signal(0, matchertest.Child(1)), w.Signal(1, matchertest.Child(1)), w.Signal(2, matchertest.Child(1))
	taken(t, w, a, w.Withdrawal(a, func(act *api.Act) { act.Body = api.ReasonMistake }))
	w.Withdraw(b)
	for _, e := range w.Feed(2) {
		if e.Mistake != (e.Kind == api.EventLeft && e.Other.SID == a.Statement.SID) || e.Kind == api.EventLeft && e.Other.Rev != 0 {
			t.Errorf("told %+v", e)
		}
	}
	wantTold(t, w, 2, "joined nl-kvk:00000000", "joined nl-kvk:00000001", "left nl-kvk:00000000", "left nl-kvk:00000001", "ended nl-kvk:00000001")
	// It was told under the id that every leaving has: told again after a restore, it is known.
	id, _ := api.EventIDOf(matchertest.Party(2), c.Statement.SID, matchertest.Party(0), a.Statement.SID, api.EventLeft, 0)
	if w.Feed(2)[2].ID != id {
		t.Error("a mistake has another id")
	}
}

// What is offered goes with the signal into another epoch, and so does the news of it.
func TestAnOfferInTheNextEpoch(t *testing.T) {
	w := matchertest.New(t, 3)
	w.OpenEpoch()
	giver := w.Signal(0, matchertest.Child(1))
	taken(t, w, giver, w.Offer(giver, 1, inDays(w, 9)))
	closeEpoch(t, w)
	if told := w.Feed(1); len(told) != 1 || told[0].Until != inDays(w, 9) || told[0].Epoch != 2 {
		t.Fatalf("whom it is given to is told %+v", told)
	}
	send(t, w, takes(w, 1, giver))
	wantTold(t, w, 0, "handover nl-kvk:00000001")
}

// A backup that lacks the handover, or only that it was taken up: the journal ends the
// giver's signal again, and the taker's is taken as it was signed.
func TestAHandoverThatTheBackupLacks(t *testing.T) {
	for name, lacks := range map[string]bool{"the_offer_too": true, "its_end": false} {
		t.Run(name, func(t *testing.T) {
			w := matchertest.New(t, 3)
			w.KeepJournal()
			giver, third := w.Signal(0, matchertest.Child(1)), w.Signal(2, matchertest.Child(1))
			offer := func() { taken(t, w, giver, w.Offer(giver, 1, inDays(w, 9))) }
			if !lacks {
				offer()
			}
			w.Backup("backup")
			if lacks {
				offer()
			}
			w.Advance(time.Hour)
			now := send(t, w, takes(w, 1, giver))
			revised := w.Write(1, matchertest.Child(1), now.Statement.SID, 2, func(s *api.Statement) { s.TakesOver = giver.Statement.SID })
			send(t, w, revised)
			w.Advance(time.Hour)
			w.Restore("backup")
			if m := w.MatchOf(third); !m.ID.IsZero() {
				t.Errorf("the giver is there again: %+v", m)
			}
			send(t, w, revised)
			if m := w.MatchOf(third); len(m.Members) != 2 || m.Members[0].Party == matchertest.Party(0) || m.Members[1].Party == matchertest.Party(0) {
				t.Errorf("the match is %+v", m)
			}
			if done, found := checked(t, w); done.Signals != 2 || len(found) > 0 {
				t.Errorf("%+v, %q", done, found)
			}
		})
	}
}

// What took over is revised after a restore, whose backup lacks that it took over: by another
// revision than was lost, that says so as well.
func TestARevisionOfATakeoverThatTheBackupLacks(t *testing.T) {
	for name, member := range map[string]bool{"by_a_revision": true, "by_a_new_signal": false} {
		t.Run(name, func(t *testing.T) {
			w := matchertest.New(t, 2)
			w.KeepJournal()
			giver := w.Signal(0, matchertest.Child(1))
			taken(t, w, giver, w.Offer(giver, 1, inDays(w, 9)))
			now := takes(w, 1, giver)
			if member {
				now = w.Signal(1, matchertest.Child(1))
			}
			revised := func(rev uint64) matchertest.Paper {
				return w.Write(1, matchertest.Child(1), now.Statement.SID, rev, func(s *api.Statement) { s.TakesOver = giver.Statement.SID })
			}
			w.Backup("backup")
			w.Advance(time.Hour)
			if member {
				now = revised(2)
			}
			send(t, w, now)
			w.Advance(time.Hour)
			w.Restore("backup")
			w.Advance(time.Hour)
			if _, err := w.Send(revised(now.Statement.Rev + 1)); err != nil {
				t.Fatal(err)
			}
			if done, found := checked(t, w); done.Signals != 1 || len(found) > 0 {
				t.Errorf("%+v, %q", done, found)
			}
			other := w.Write(1, matchertest.Child(1), now.Statement.SID, now.Statement.Rev+2, func(s *api.Statement) { s.TakesOver = api.NewSID() })
			_, err := w.Send(other)
			wantCode(t, err, api.CodeHandover)
		})
	}
}
