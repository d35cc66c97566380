// SPDX-License-Identifier: EUPL-1.2

package matcher_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
	"github.com/seinhuis/seinhuis/registry"
)

func wantTold(t *testing.T, w *matchertest.World, p int, want ...string) {
	t.Helper()
	if got := w.Told(p); !slices.Equal(got, want) {
		t.Errorf("party %d was told %q, want %q", p, got, want)
	}
}

func wantCode(t *testing.T, err error, want api.Code) {
	t.Helper()
	if err == nil || api.CodeOf(err) != want {
		t.Errorf("got %v, want a refusal with code %s", err, want)
	}
}

func TestTwoPartiesOnOneChildGetEachOthersCard(t *testing.T) {
	w := matchertest.New(t, 3)
	a := w.Signal(0, matchertest.Child(1))
	wantTold(t, w, 0)
	b := w.Write(1, matchertest.Child(1), api.NewSID(), 1)
	out, err := w.Send(b)
	if err != nil {
		t.Fatal(err)
	}
	w.Signal(2, matchertest.Child(2)) // another child: nobody hears of it

	for _, side := range []struct {
		p          int
		own, other matchertest.Paper
	}{{0, a, b}, {1, b, a}} {
		events := w.Feed(side.p)
		if len(events) != 1 {
			t.Fatalf("party %d has %d events, want 1", side.p, len(events))
		}
		e := events[0]
		switch {
		case e.Kind != api.EventJoined, e.Epoch != 1, e.Match.IsZero():
			t.Errorf("party %d: event is %s of epoch %d", side.p, e.Kind, e.Epoch)
		case e.Other.Party != side.other.Statement.Party, e.Other.SID != side.other.Statement.SID, e.Other.Rev != 1:
			t.Errorf("party %d: the event names another signal than the other's", side.p)
		case !bytes.Equal(e.Other.Card, side.other.Submission.Faces[0].Card):
			t.Errorf("party %d: the card is not the other's", side.p)
		case e.Own.SID != side.own.Statement.SID, !bytes.Equal(e.Own.Signed.Signed, side.own.Submission.Signed.Signed),
			!bytes.Equal(e.Own.Keybox, side.own.Submission.Faces[0].Keybox):
			t.Errorf("party %d: its own signal is not in the event", side.p)
		}
		id, err := api.EventIDOf(matchertest.Party(side.p), side.own.Statement.SID, side.other.Statement.Party, side.other.Statement.SID, api.EventJoined, 1)
		if err != nil || e.ID != id {
			t.Errorf("party %d: the event's id is not the one that the protocol gives", side.p)
		}
	}
	if x, y := w.Feed(0)[0].Match, w.Feed(1)[0].Match; x != y {
		t.Error("the two sides name different matches")
	}
	wantTold(t, w, 2)

	receipt, err := api.ParseReceipt(out.Receipt.Signed)
	switch {
	case err != nil:
		t.Fatal(err)
	case !out.Receipt.Verify(w.ReceiptKey.Public().(ed25519.PublicKey)):
		t.Error("the receipt's signature does not verify")
	case receipt.Party != b.Statement.Party, receipt.SID != b.Statement.SID, receipt.Rev != 1, receipt.Others != 1,
		receipt.Statement != b.Submission.Hash(), receipt.Leaf == api.Hash{}, receipt.Incarnation != w.Store.Incarnation(),
		receipt.Dep != matchertest.Dep, !receipt.Time.Equal(w.Now()):
		t.Error("the receipt does not speak of the statement")
	}
}

func TestMatchGrowsShrinksEndsAndFormsAnew(t *testing.T) {
	w := matchertest.New(t, 3)
	a, b := w.Signal(0, matchertest.Child(1)), w.Signal(1, matchertest.Child(1))
	c := w.Signal(2, matchertest.Child(1))
	first := w.Feed(0)[0].Match

	w.Withdraw(b)
	wantTold(t, w, 0, "joined "+string(matchertest.Party(1)), "joined "+string(matchertest.Party(2)), "left "+string(matchertest.Party(1)))
	wantTold(t, w, 2, "joined "+string(matchertest.Party(0)), "joined "+string(matchertest.Party(1)), "left "+string(matchertest.Party(1)))
	wantTold(t, w, 1, "joined "+string(matchertest.Party(0)), "joined "+string(matchertest.Party(2)))

	w.Withdraw(c)
	wantTold(t, w, 0, "joined "+string(matchertest.Party(1)), "joined "+string(matchertest.Party(2)), "left "+string(matchertest.Party(1)),
		"left "+string(matchertest.Party(2)), "ended "+string(matchertest.Party(2)))

	w.Signal(1, matchertest.Child(1))
	events := w.Feed(0)
	if last := events[len(events)-1]; last.Kind != api.EventJoined || last.Match == first {
		t.Error("a match that formed again is not a new one")
	}
	_ = a
}

func TestSameInstantBothLearnOnce(t *testing.T) {
	const parties, children = 6, 20
	w := matchertest.New(t, parties)
	var g errgroup.Group
	for ch := range children {
		for p := range parties {
			paper := w.Write(p, matchertest.Child(ch), api.NewSID(), 1)
			g.Go(func() error { _, err := w.Send(paper); return err })
		}
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for p := range parties {
		seen := map[api.EventID]int{}
		perOther := map[api.PartyID]int{}
		for _, e := range w.Feed(p) {
			seen[e.ID]++
			perOther[e.Other.Party]++
		}
		for _, n := range seen {
			if n != 1 {
				t.Fatalf("party %d holds an event id %d times", p, n)
			}
		}
		for q := range parties {
			if want := children; q != p && perOther[matchertest.Party(q)] != want {
				t.Errorf("party %d was told %d times of party %d, want %d", p, perOther[matchertest.Party(q)], q, want)
			}
		}
	}
	implied(t, w)
}

func TestRepetitionGivesTheSameReceipt(t *testing.T) {
	w := matchertest.New(t, 2)
	a := w.Signal(0, matchertest.Child(1))
	w.Signal(1, matchertest.Child(1))
	first, err := w.Send(a)
	if err != nil || first.Created {
		t.Fatalf("created %v, %v", first.Created, err)
	}
	w.Advance(time.Hour)
	again, err := w.Send(a)
	if err != nil || again.Created || !bytes.Equal(first.Receipt.Signed, again.Receipt.Signed) || !bytes.Equal(first.Receipt.Signature, again.Receipt.Signature) {
		t.Errorf("the receipt differs the second time (%v)", err)
	}
	wantTold(t, w, 1, "joined "+string(matchertest.Party(0)))

	act := w.Withdrawal(a)
	one, err := w.Act(t.Context(), a.Statement.Party, act)
	if err != nil {
		t.Fatal(err)
	}
	two, err := w.Act(t.Context(), a.Statement.Party, act)
	if err != nil || two.Created || !bytes.Equal(one.Receipt.Signed, two.Receipt.Signed) {
		t.Errorf("the withdrawal's receipt differs the second time (%v)", err)
	}
	wantTold(t, w, 1, "joined "+string(matchertest.Party(0)), "left "+string(matchertest.Party(0)), "ended "+string(matchertest.Party(0)))
}

// TestRepetitionOutlivesWhatHasChanged says that a party that lost an answer can
// always get it: the clock, its key, the manifest may have gone on meanwhile.
func TestRepetitionOutlivesWhatHasChanged(t *testing.T) {
	for name, change := range map[string]func(w *matchertest.World){
		"clock":    func(w *matchertest.World) { w.Advance(40 * 24 * time.Hour) },
		"key":      func(w *matchertest.World) { w.Directory.Parties[0].Keys[0].Revoked = true },
		"manifest": func(w *matchertest.World) { w.Manifest.NotAfter = w.Now().Add(-time.Second) },
		"epochs": func(w *matchertest.World) {
			w.Manifest.Epochs = append(w.Manifest.Epochs, manifest.Epoch{Number: 2, State: manifest.EpochOpen})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := matchertest.New(t, 2)
			a, b := w.Signal(0, matchertest.Child(1)), w.Signal(0, matchertest.Child(2))
			first, err := w.Send(a)
			if err != nil {
				t.Fatal(err)
			}
			act := w.Withdrawal(b)
			ended, err := w.Act(t.Context(), b.Statement.Party, act)
			if err != nil {
				t.Fatal(err)
			}
			change(w)
			again, err := w.Send(a)
			if err != nil || !bytes.Equal(first.Receipt.Signature, again.Receipt.Signature) {
				t.Errorf("the statement's receipt does not come again: %v", err)
			}
			endedAgain, err := w.Act(t.Context(), b.Statement.Party, act)
			if err != nil || !bytes.Equal(ended.Receipt.Signature, endedAgain.Receipt.Signature) {
				t.Errorf("the withdrawal's receipt does not come again: %v", err)
			}
			imported, err := w.Import(t.Context(), a.Statement.Party, []api.Submission{a.Submission})
			if err != nil || imported[0].Refused != nil {
				t.Errorf("nor by an import: %v", err)
			}
			// Other bytes are judged as ever.
			other := a
			other.Submission.Signature = slices.Clone(a.Submission.Signature)
			other.Submission.Signed.Signed = append(slices.Clone(a.Submission.Signed.Signed), 0)
			if _, err := w.Send(other); err == nil {
				t.Error("other bytes were taken for the same")
			}
		})
	}
}

func TestSecondSignalOfOnePartyIsTheFirst(t *testing.T) {
	w := matchertest.New(t, 2)
	a := w.Signal(0, matchertest.Child(1))
	w.Signal(1, matchertest.Child(1))
	out, err := w.Send(w.Write(0, matchertest.Child(1), api.NewSID(), 1))
	if err != nil || out.Created || out.SID != a.Statement.SID || out.Rev != 1 {
		t.Errorf("created %v, existing signal named %v, %v", out.Created, out.SID == a.Statement.SID, err)
	}
	wantTold(t, w, 1, "joined "+string(matchertest.Party(0)))
}

func TestRevision(t *testing.T) {
	w := matchertest.New(t, 2)
	a := w.Signal(0, matchertest.Child(1))
	w.Signal(1, matchertest.Child(1))
	second := w.Write(0, matchertest.Child(1), a.Statement.SID, 2)
	if out, err := w.Send(second); err != nil || !out.Created || out.Rev != 2 {
		t.Fatalf("revision 2: %v", err)
	}
	events := w.Feed(1)
	if len(events) != 2 || events[1].Kind != api.EventCard || events[1].Other.Rev != 2 {
		t.Fatalf("the other was not told of the new card: %q", w.Told(1))
	}
	if !bytes.Equal(events[0].Other.Card, second.Submission.Faces[0].Card) || events[0].Other.Rev != 2 {
		t.Error("an event that was not delivered yet does not bring the newest card")
	}
	wantTold(t, w, 0, "joined "+string(matchertest.Party(1)))

	t.Run("rejects/same_rev_other_bytes", func(t *testing.T) {
		_, err := w.Send(w.Write(0, matchertest.Child(1), a.Statement.SID, 2))
		wantCode(t, err, api.CodeRevision)
	})
	t.Run("rejects/older_revision", func(t *testing.T) {
		_, err := w.Send(a)
		wantCode(t, err, api.CodeRevision)
	})
	t.Run("rejects/revision_left_out", func(t *testing.T) {
		_, err := w.Send(w.Write(0, matchertest.Child(1), a.Statement.SID, 4))
		wantCode(t, err, api.CodeRevision)
	})
	t.Run("rejects/revision_of_nothing", func(t *testing.T) {
		_, err := w.Send(w.Write(0, matchertest.Child(3), api.NewSID(), 2))
		wantCode(t, err, api.CodeRevision)
	})
	t.Run("rejects/withdrawal_of_older_revision", func(t *testing.T) {
		_, err := w.Act(t.Context(), a.Statement.Party, w.Withdrawal(a))
		wantCode(t, err, api.CodeRevision)
	})
}

func TestTwoFacesMatchOnTheOldestEpoch(t *testing.T) {
	w := matchertest.New(t, 2)
	w.OpenEpoch()
	send := func(p int, sid api.SID, rev uint64, old, young api.Tag) error {
		_, err := w.Send(w.Write(p, old, sid, rev, func(s *api.Statement) { s.Faces[1].Tag = young }))
		return err
	}
	sid := api.NewSID()
	if err := errors.Join(
		send(0, sid, 1, matchertest.Child(1), matchertest.Child(101)),
		send(1, api.NewSID(), 1, matchertest.Child(2), matchertest.Child(101)), // only the sleeping faces are equal
	); err != nil {
		t.Fatal(err)
	}
	wantTold(t, w, 0)
	t.Run("rejects/another_tag_on_the_sleeping_face", func(t *testing.T) {
		wantCode(t, send(0, sid, 2, matchertest.Child(1), matchertest.Child(102)), api.CodeTag)
	})
	t.Run("rejects/one_face_of_two", func(t *testing.T) {
		_, err := w.Send(w.Write(0, matchertest.Child(1), sid, 2, func(s *api.Statement) { s.Faces = s.Faces[:1] }))
		wantCode(t, err, api.CodeEpoch)
	})
	if err := send(1, api.NewSID(), 1, matchertest.Child(1), matchertest.Child(101)); err != nil {
		t.Fatal(err)
	}
	wantTold(t, w, 0, "joined "+string(matchertest.Party(1)))
}

func TestTombstone(t *testing.T) {
	w := matchertest.New(t, 2)
	a := w.Signal(0, matchertest.Child(1))
	w.Withdraw(a)
	t.Run("rejects/same_statement_after_withdrawal", func(t *testing.T) {
		_, err := w.Send(a)
		wantCode(t, err, api.CodeGone)
	})
	t.Run("rejects/revision_after_withdrawal", func(t *testing.T) {
		_, err := w.Send(w.Write(0, matchertest.Child(1), a.Statement.SID, 2))
		wantCode(t, err, api.CodeGone)
	})
	t.Run("rejects/second_withdrawal", func(t *testing.T) {
		w.Advance(time.Second)
		_, err := w.Act(t.Context(), a.Statement.Party, w.Withdrawal(a))
		wantCode(t, err, api.CodeGone)
	})
	t.Run("rejects/withdrawal_of_nothing", func(t *testing.T) {
		_, err := w.Act(t.Context(), a.Statement.Party, w.Withdrawal(w.Write(0, matchertest.Child(2), api.NewSID(), 1)))
		wantCode(t, err, api.CodeUnknownSignal)
	})
	if out, err := w.Send(w.Write(0, matchertest.Child(1), api.NewSID(), 1)); err != nil || !out.Created {
		t.Errorf("a new signal on the same child was not taken: %v", err)
	}
	// The tombstone goes two years and thirty days after the issue.
	w.Advance(24 * time.Hour * (2*365 + 29))
	if _, err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := w.Send(w.Write(0, matchertest.Child(1), a.Statement.SID, 2))
	wantCode(t, err, api.CodeGone)
	w.Advance(24 * time.Hour * 3)
	if _, err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = w.Send(w.Write(0, matchertest.Child(1), a.Statement.SID, 2))
	wantCode(t, err, api.CodeRevision)
}

func TestExpiredSignalMeetsNobodySweptOrNot(t *testing.T) {
	for _, sweep := range []bool{false, true} {
		w := matchertest.New(t, 3)
		short := w.Write(0, matchertest.Child(1), api.NewSID(), 1, func(s *api.Statement) {
			s.Expires = registry.Today(w.Now()).AddDate(0, 0, 1)
		})
		if _, err := w.Send(short); err != nil {
			t.Fatal(err)
		}
		w.Signal(1, matchertest.Child(1))
		// Midnight in Amsterdam is 23:00 UTC in winter.
		w.SetClock(time.Date(2026, 3, 10, 22, 59, 59, 0, time.UTC))
		if n, err := w.Sweep(t.Context()); err != nil || n != 0 {
			t.Fatalf("swept %d before midnight, %v", n, err)
		}
		w.Advance(time.Second)
		if sweep {
			if n, err := w.Sweep(t.Context()); err != nil || n != 1 {
				t.Fatalf("swept %d, want 1; %v", n, err)
			}
		} else if e := w.Feed(1)[0]; e.Other.Card != nil {
			t.Error("a card is delivered after its signal expired")
		} else if e := w.Feed(0)[0]; e.Other.Card != nil || e.Own.Keybox != nil {
			t.Error("a party whose own signal expired still gets the other's card")
		}
		w.Signal(2, matchertest.Child(1))
		wantTold(t, w, 1, "joined "+string(matchertest.Party(0)), "left "+string(matchertest.Party(0)), "ended "+string(matchertest.Party(0)), "joined "+string(matchertest.Party(2)))
		wantTold(t, w, 2, "joined "+string(matchertest.Party(1)))
		_, err := w.Send(w.Write(0, matchertest.Child(1), short.Statement.SID, 2))
		wantCode(t, err, api.CodeGone)
		implied(t, w)
	}
}

func TestSweepOfAMonthEnd(t *testing.T) {
	defer matcher.SetSweepBatch(100)()
	const children = 230 // more than two commits of the sweep
	w := matchertest.New(t, 2)
	for p := range 2 {
		subs := make([]api.Submission, children)
		for i := range subs {
			subs[i] = w.Write(p, matchertest.Child(i), api.NewSID(), 1).Submission
		}
		if _, err := w.Import(t.Context(), matchertest.Party(p), subs); err != nil {
			t.Fatal(err)
		}
	}
	if done, found := checked(t, w); done.Pairs != children || len(found) > 0 {
		t.Fatalf("%+v, %q", done, found)
	}
	w.SetClock(w.Now().AddDate(1, 0, 1))
	if n, err := w.Sweep(t.Context()); err != nil || n != children {
		t.Errorf("swept %d children, %v", n, err)
	}
	if done, found := checked(t, w); done.Signals+done.Matches != 0 || len(found) > 0 {
		t.Errorf("after the sweep: %+v, %q", done, found)
	}
	if n, err := w.Sweep(t.Context()); err != nil || n != 0 {
		t.Errorf("swept %d children again, %v", n, err)
	}
}

func TestWhatIsDestroyedIsNotDelivered(t *testing.T) {
	w := matchertest.New(t, 2)
	a, b := w.Signal(0, matchertest.Child(1)), w.Signal(1, matchertest.Child(1))
	w.Withdraw(a)
	events := w.Feed(1)
	if events[0].Kind != api.EventJoined || events[0].Other.Card != nil || events[0].Other.Party != matchertest.Party(0) {
		t.Error("the event of a withdrawn signal must come, without its card")
	}
	if events[0].Own.Keybox == nil {
		t.Error("the recipient's own keybox is missing though its signal lives")
	}
	w.Withdraw(b)
	for _, e := range w.Feed(1) {
		if e.Own.Keybox != nil || e.Own.Signed.Signed != nil || e.Other.Card != nil {
			t.Error("a party without a signal gets what belongs to one")
		}
	}
}

func TestAdmission(t *testing.T) {
	w := matchertest.New(t, 2)
	now := w.Now()
	day := func(years, days int) encoding.Date { return registry.Today(now).AddDate(years, 0, days) }
	type st = *api.Statement
	for _, c := range []struct {
		name   string
		code   api.Code
		change func(*api.Statement)
	}{
		{"another_deployment", api.CodeDeployment, func(s st) { s.Dep = "elders" }},
		{"another_party", api.CodeForbidden, func(s st) { s.Party = matchertest.Party(1) }},
		{"unknown_key", api.CodeSignature, func(s st) { s.KeyID[0] ^= 1 }},
		{"issued_too_long_ago", api.CodeIssued, func(s st) { s.Issued = now.Add(-30*24*time.Hour - time.Second) }},
		{"issued_too_far_ahead", api.CodeIssued, func(s st) { s.Issued = now.Add(10*time.Minute + time.Second) }},
		{"expires_today", api.CodeExpires, func(s st) { s.Expires = day(0, 0) }},
		{"expires_beyond_two_years_and_a_day", api.CodeExpires, func(s st) { s.Expires = day(2, 2) }},
		{"takes_over_what_nobody_gave", api.CodeHandover, func(s st) { s.TakesOver = api.NewSID() }},
		{"another_epoch", api.CodeEpoch, func(s st) { s.Faces[0].Epoch = 2 }},
		{"a_face_too_many", api.CodeEpoch, func(s st) { s.Faces = append(s.Faces, s.Faces[0]); s.Faces[1].Epoch = 2 }},
		{"another_card", api.CodeFaces, func(s st) { s.Faces[0].Card[0] ^= 1 }},
		{"another_keybox", api.CodeFaces, func(s st) { s.Faces[0].Keybox[0] ^= 1 }},
	} {
		t.Run("rejects/"+c.name, func(t *testing.T) {
			paper := w.Write(0, matchertest.Child(1), api.NewSID(), 1, c.change)
			_, err := w.Submit(t.Context(), matchertest.Party(0), paper.Submission)
			wantCode(t, err, c.code)
		})
	}
	t.Run("accepts/the_edges", func(t *testing.T) {
		for i, change := range []func(*api.Statement){
			func(s st) { s.Issued = now.Add(-30 * 24 * time.Hour) },
			func(s st) { s.Issued = now.Add(10 * time.Minute) },
			func(s st) { s.Expires = day(0, 1) },
			func(s st) { s.Expires = day(2, 1) },
		} {
			if _, err := w.Send(w.Write(0, matchertest.Child(100+i), api.NewSID(), 1, change)); err != nil {
				t.Errorf("edge %d: %v", i, err)
			}
		}
	})
	t.Run("rejects/signature_of_other_bytes", func(t *testing.T) {
		paper := w.Write(0, matchertest.Child(1), api.NewSID(), 1)
		paper.Submission.Signature = w.Write(0, matchertest.Child(1), api.NewSID(), 1).Submission.Signature
		_, err := w.Send(paper)
		wantCode(t, err, api.CodeSignature)
	})
	t.Run("rejects/bytes_behind_the_statement", func(t *testing.T) {
		paper := w.Write(0, matchertest.Child(1), api.NewSID(), 1)
		paper.Submission.Signed = api.Sign(w.Key(0), append(slices.Clone(paper.Submission.Signed.Signed), 0, 0))
		_, err := w.Send(paper)
		wantCode(t, err, api.CodeMalformed)
	})
	t.Run("rejects/a_face_missing", func(t *testing.T) {
		paper := w.Write(0, matchertest.Child(1), api.NewSID(), 1)
		paper.Submission.Faces = nil
		_, err := w.Send(paper)
		wantCode(t, err, api.CodeFaces)
	})
	paper := w.Signal(0, matchertest.Child(1))
	for _, c := range []struct {
		name   string
		code   api.Code
		change func(*api.Act)
	}{
		{"act_without_reason", api.CodeMalformed, func(a *api.Act) { a.Body = "" }},
		{"act_not_taken_yet", api.CodeUnsupported, func(a *api.Act) { a.Act = api.ActLead }},
		{"act_names_a_match", api.CodeMalformed, func(a *api.Act) { a.Match = api.NewMatchID() }},
		{"act_under_another_tag", api.CodeUnknownSignal, func(a *api.Act) { a.Tag = matchertest.Child(9) }},
	} {
		t.Run("rejects/"+c.name, func(t *testing.T) {
			_, err := w.Act(t.Context(), matchertest.Party(0), w.Withdrawal(paper, c.change))
			wantCode(t, err, c.code)
		})
	}
	t.Run("rejects/another_party_withdraws", func(t *testing.T) {
		_, err := w.Act(t.Context(), matchertest.Party(1), w.Withdrawal(paper))
		wantCode(t, err, api.CodeForbidden)
	})
}

func TestWhatEndsKeepsSignalsOutButNotIn(t *testing.T) {
	for _, c := range []struct {
		name string
		code api.Code
		end  func(w *matchertest.World)
	}{
		{"manifest", api.CodeUnavailable, func(w *matchertest.World) { w.Manifest.NotAfter = w.Now().Add(-time.Second) }},
		{"directory", api.CodeUnavailable, func(w *matchertest.World) { w.Directory.NotAfter = w.Now().Add(-time.Second) }},
		{"legal_basis", api.CodeLegalBasis, func(w *matchertest.World) { w.Manifest.Policy.LegalBasisEnds = registry.Today(w.Now()) }},
	} {
		t.Run("rejects/after_the_end_of_"+c.name, func(t *testing.T) {
			w := matchertest.New(t, 2)
			w.Manifest.Policy.LegalBasisEnds = registry.Today(w.Now()).AddDate(0, 0, 1)
			a := w.Signal(0, matchertest.Child(1))
			c.end(w)
			_, err := w.Send(w.Write(1, matchertest.Child(1), api.NewSID(), 1))
			wantCode(t, err, c.code)
			w.Withdraw(a)
		})
	}
	// Signals that match on an epoch that was closed would be met by nobody.
	t.Run("rejects/everything_once_the_epoch_of_the_store_is_closed", func(t *testing.T) {
		w := matchertest.New(t, 3)
		a := w.Signal(0, matchertest.Child(1))
		w.Manifest.Epochs = []manifest.Epoch{{Number: 1, State: manifest.EpochClosed}, {Number: 2, State: manifest.EpochOpen}}
		inEpoch2 := func(s *api.Statement) { s.Faces[0].Epoch = 2 }
		_, err := w.Send(w.Write(1, matchertest.Child(1), api.NewSID(), 1, inEpoch2))
		wantCode(t, err, api.CodeUnavailable)
		_, err = w.Act(t.Context(), a.Statement.Party, w.Withdrawal(a))
		wantCode(t, err, api.CodeUnavailable)
		_, err = w.Import(t.Context(), matchertest.Party(1), []api.Submission{w.Write(1, matchertest.Child(1), api.NewSID(), 1, inEpoch2).Submission})
		wantCode(t, err, api.CodeUnavailable)
		w.Reopen() // and a new process finds out by itself
		again := &matcher.Matcher{Store: w.Store, Keys: w.Keys, ReceiptKey: w.ReceiptKey, Trust: w.Trust, Now: w.Now}
		if err := again.Ready(t.Context()); !errors.Is(err, matcher.ErrOtherEpoch) {
			t.Errorf("got %v", err)
		}
		w.Manifest.Epochs[0].State = manifest.EpochOpen
		w.Manifest.Epochs = w.Manifest.Epochs[:1]
		w.Withdraw(a)
	})
	t.Run("rejects/everything_without_an_open_epoch", func(t *testing.T) {
		w := matchertest.New(t, 2)
		a := w.Signal(0, matchertest.Child(1))
		w.Signal(1, matchertest.Child(1))
		w.Manifest.Epochs[0].State = manifest.EpochClosed
		_, err := w.Send(w.Write(1, matchertest.Child(2), api.NewSID(), 1))
		wantCode(t, err, api.CodeEpoch)
		_, err = w.Act(t.Context(), a.Statement.Party, w.Withdrawal(a))
		wantCode(t, err, api.CodeEpoch)
		w.SetClock(w.Now().AddDate(2, 0, 0)) // the clock's work goes on
		if n, err := w.Sweep(t.Context()); err != nil || n == 0 {
			t.Errorf("swept %d, %v", n, err)
		}
	})
}

// implied holds the stored matches against what the live signals imply.
func implied(t *testing.T, w *matchertest.World) {
	t.Helper()
	today := registry.Today(w.Now())
	err := w.Store.Scan(context.Background(), registry.Idx{}, func(_ registry.Idx, signals []registry.Signal, match registry.Match) error {
		var live []registry.Member
		for _, s := range signals {
			if s.Live(today) {
				live = append(live, registry.Member{Party: s.Party, SID: s.SID})
			}
		}
		if len(live) < 2 {
			live = nil
		}
		if len(match.Members) != len(live) {
			t.Errorf("a match has %d members, its live signals imply %d", len(match.Members), len(live))
		}
		for _, m := range live {
			if !slices.Contains(match.Members, m) {
				t.Error("a live signal is not in its match")
			}
		}
		for _, a := range match.Answers {
			if !slices.Contains(live, a.From) || !slices.Contains(live, a.To) {
				t.Error("an answer outlives one of the two")
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// The clock has ended a signal and nobody has swept: what its party says of it meets
// the tombstone that the same transaction makes. (make soak ROW=6 found it: a sid came
// to life again, and who had met it before was not told of it twice.)
func TestWhatTheClockHasEndedIsGoneBeforeTheSweep(t *testing.T) {
	w := matchertest.New(t, 2)
	tag := matchertest.Child(1)
	w.Signal(0, tag)
	short := w.Write(1, tag, api.NewSID(), 1, func(s *api.Statement) { s.Expires = registry.Today(w.Now()).AddDate(0, 0, 1) })
	if _, err := w.Send(short); err != nil {
		t.Fatal(err)
	}
	w.Advance(24 * time.Hour)
	if _, err := w.Send(w.Write(1, tag, short.Statement.SID, 1)); api.CodeOf(err) != api.CodeGone {
		t.Errorf("its sid again: %v", err)
	}
	if _, err := w.Act(t.Context(), matchertest.Party(1), w.Withdrawal(short)); api.CodeOf(err) != api.CodeGone {
		t.Errorf("its withdrawal: %v", err)
	}
}
