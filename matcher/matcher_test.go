// SPDX-License-Identifier: EUPL-1.2

package matcher_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/registry"
)

func wantTold(t *testing.T, w *world, p int, want ...string) {
	t.Helper()
	if got := w.told(p); !slices.Equal(got, want) {
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
	w := newWorld(t, 3)
	a := w.signal(0, child(1))
	wantTold(t, w, 0)
	b := w.write(1, child(1), api.NewSID(), 1)
	out, err := w.submit(b)
	if err != nil {
		t.Fatal(err)
	}
	w.signal(2, child(2)) // another child: nobody hears of it

	for _, side := range []struct {
		p          int
		own, other paper
	}{{0, a, b}, {1, b, a}} {
		events := w.feed(side.p)
		if len(events) != 1 {
			t.Fatalf("party %d has %d events, want 1", side.p, len(events))
		}
		e := events[0]
		switch {
		case e.Kind != api.EventJoined, e.Epoch != 1, e.Match.IsZero():
			t.Errorf("party %d: event is %s of epoch %d", side.p, e.Kind, e.Epoch)
		case e.Other.Party != side.other.st.Party, e.Other.SID != side.other.st.SID, e.Other.Rev != 1:
			t.Errorf("party %d: the event names another signal than the other's", side.p)
		case !bytes.Equal(e.Other.Card, side.other.sub.Faces[0].Card):
			t.Errorf("party %d: the card is not the other's", side.p)
		case e.Own.SID != side.own.st.SID, !bytes.Equal(e.Own.Signed.Signed, side.own.sub.Signed.Signed),
			!bytes.Equal(e.Own.Keybox, side.own.sub.Faces[0].Keybox):
			t.Errorf("party %d: its own signal is not in the event", side.p)
		}
		id, err := api.EventIDOf(party(side.p), side.own.st.SID, side.other.st.Party, side.other.st.SID, api.EventJoined, 1)
		if err != nil || e.ID != id {
			t.Errorf("party %d: the event's id is not the one that the protocol gives", side.p)
		}
	}
	if x, y := w.feed(0)[0].Match, w.feed(1)[0].Match; x != y {
		t.Error("the two sides name different matches")
	}
	wantTold(t, w, 2)

	receipt, err := api.ParseReceipt(out.Receipt.Signed)
	switch {
	case err != nil:
		t.Fatal(err)
	case !out.Receipt.Verify(w.ReceiptKey.Public().(ed25519.PublicKey)):
		t.Error("the receipt's signature does not verify")
	case receipt.Party != b.st.Party, receipt.SID != b.st.SID, receipt.Rev != 1, receipt.Others != 1,
		receipt.Statement != b.sub.Hash(), receipt.Leaf == api.Hash{}, receipt.Incarnation != w.Store.Incarnation(),
		receipt.Dep != dep, !receipt.Time.Equal(w.clock):
		t.Error("the receipt does not speak of the statement")
	}
}

func TestMatchGrowsShrinksEndsAndFormsAnew(t *testing.T) {
	w := newWorld(t, 3)
	a, b := w.signal(0, child(1)), w.signal(1, child(1))
	c := w.signal(2, child(1))
	first := w.feed(0)[0].Match

	w.withdraw(b)
	wantTold(t, w, 0, "joined "+string(party(1)), "joined "+string(party(2)), "left "+string(party(1)))
	wantTold(t, w, 2, "joined "+string(party(0)), "joined "+string(party(1)), "left "+string(party(1)))
	wantTold(t, w, 1, "joined "+string(party(0)), "joined "+string(party(2)))

	w.withdraw(c)
	wantTold(t, w, 0, "joined "+string(party(1)), "joined "+string(party(2)), "left "+string(party(1)),
		"left "+string(party(2)), "ended "+string(party(2)))

	w.signal(1, child(1))
	events := w.feed(0)
	if last := events[len(events)-1]; last.Kind != api.EventJoined || last.Match == first {
		t.Error("a match that formed again is not a new one")
	}
	_ = a
}

func TestSameInstantBothLearnOnce(t *testing.T) {
	const parties, children = 6, 20
	w := newWorld(t, parties)
	var g errgroup.Group
	for ch := range children {
		for p := range parties {
			paper := w.write(p, child(ch), api.NewSID(), 1)
			g.Go(func() error { _, err := w.submit(paper); return err })
		}
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for p := range parties {
		seen := map[api.EventID]int{}
		perOther := map[api.PartyID]int{}
		for _, e := range w.feed(p) {
			seen[e.ID]++
			perOther[e.Other.Party]++
		}
		for _, n := range seen {
			if n != 1 {
				t.Fatalf("party %d holds an event id %d times", p, n)
			}
		}
		for q := range parties {
			if want := children; q != p && perOther[party(q)] != want {
				t.Errorf("party %d was told %d times of party %d, want %d", p, perOther[party(q)], q, want)
			}
		}
	}
	w.implied()
}

func TestRepetitionGivesTheSameReceipt(t *testing.T) {
	w := newWorld(t, 2)
	a := w.signal(0, child(1))
	w.signal(1, child(1))
	first, err := w.submit(a)
	if err != nil || first.Created {
		t.Fatalf("created %v, %v", first.Created, err)
	}
	w.advance(time.Hour)
	again, err := w.submit(a)
	if err != nil || again.Created || !bytes.Equal(first.Receipt.Signed, again.Receipt.Signed) || !bytes.Equal(first.Receipt.Signature, again.Receipt.Signature) {
		t.Errorf("the receipt differs the second time (%v)", err)
	}
	wantTold(t, w, 1, "joined "+string(party(0)))

	act := w.withdrawal(a)
	one, err := w.Act(t.Context(), a.st.Party, act)
	if err != nil {
		t.Fatal(err)
	}
	two, err := w.Act(t.Context(), a.st.Party, act)
	if err != nil || two.Created || !bytes.Equal(one.Receipt.Signed, two.Receipt.Signed) {
		t.Errorf("the withdrawal's receipt differs the second time (%v)", err)
	}
	wantTold(t, w, 1, "joined "+string(party(0)), "left "+string(party(0)), "ended "+string(party(0)))
}

func TestSecondSignalOfOnePartyIsTheFirst(t *testing.T) {
	w := newWorld(t, 2)
	a := w.signal(0, child(1))
	w.signal(1, child(1))
	out, err := w.submit(w.write(0, child(1), api.NewSID(), 1))
	if err != nil || out.Created || out.SID != a.st.SID || out.Rev != 1 {
		t.Errorf("created %v, existing signal named %v, %v", out.Created, out.SID == a.st.SID, err)
	}
	wantTold(t, w, 1, "joined "+string(party(0)))
}

func TestRevision(t *testing.T) {
	w := newWorld(t, 2)
	a := w.signal(0, child(1))
	w.signal(1, child(1))
	second := w.write(0, child(1), a.st.SID, 2)
	if out, err := w.submit(second); err != nil || !out.Created || out.Rev != 2 {
		t.Fatalf("revision 2: %v", err)
	}
	events := w.feed(1)
	if len(events) != 2 || events[1].Kind != api.EventCard || events[1].Other.Rev != 2 {
		t.Fatalf("the other was not told of the new card: %q", w.told(1))
	}
	if !bytes.Equal(events[0].Other.Card, second.sub.Faces[0].Card) || events[0].Other.Rev != 2 {
		t.Error("an event that was not delivered yet does not bring the newest card")
	}
	wantTold(t, w, 0, "joined "+string(party(1)))

	t.Run("rejects/same_rev_other_bytes", func(t *testing.T) {
		_, err := w.submit(w.write(0, child(1), a.st.SID, 2))
		wantCode(t, err, api.CodeRevision)
	})
	t.Run("rejects/older_revision", func(t *testing.T) {
		_, err := w.submit(a)
		wantCode(t, err, api.CodeRevision)
	})
	t.Run("rejects/revision_left_out", func(t *testing.T) {
		_, err := w.submit(w.write(0, child(1), a.st.SID, 4))
		wantCode(t, err, api.CodeRevision)
	})
	t.Run("rejects/revision_of_nothing", func(t *testing.T) {
		_, err := w.submit(w.write(0, child(3), api.NewSID(), 2))
		wantCode(t, err, api.CodeRevision)
	})
	t.Run("rejects/withdrawal_of_older_revision", func(t *testing.T) {
		_, err := w.Act(t.Context(), a.st.Party, w.withdrawal(a))
		wantCode(t, err, api.CodeRevision)
	})
}

func TestTombstone(t *testing.T) {
	w := newWorld(t, 2)
	a := w.signal(0, child(1))
	w.withdraw(a)
	t.Run("rejects/same_statement_after_withdrawal", func(t *testing.T) {
		_, err := w.submit(a)
		wantCode(t, err, api.CodeGone)
	})
	t.Run("rejects/revision_after_withdrawal", func(t *testing.T) {
		_, err := w.submit(w.write(0, child(1), a.st.SID, 2))
		wantCode(t, err, api.CodeGone)
	})
	t.Run("rejects/second_withdrawal", func(t *testing.T) {
		w.advance(time.Second)
		_, err := w.Act(t.Context(), a.st.Party, w.withdrawal(a))
		wantCode(t, err, api.CodeGone)
	})
	t.Run("rejects/withdrawal_of_nothing", func(t *testing.T) {
		_, err := w.Act(t.Context(), a.st.Party, w.withdrawal(w.write(0, child(2), api.NewSID(), 1)))
		wantCode(t, err, api.CodeUnknownSignal)
	})
	if out, err := w.submit(w.write(0, child(1), api.NewSID(), 1)); err != nil || !out.Created {
		t.Errorf("a new signal on the same child was not taken: %v", err)
	}
	// The tombstone goes two years and thirty days after the issue.
	w.advance(24 * time.Hour * (2*365 + 29))
	if _, err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := w.submit(w.write(0, child(1), a.st.SID, 2))
	wantCode(t, err, api.CodeGone)
	w.advance(24 * time.Hour * 3)
	if _, err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = w.submit(w.write(0, child(1), a.st.SID, 2))
	wantCode(t, err, api.CodeRevision)
}

func TestExpiredSignalMeetsNobodySweptOrNot(t *testing.T) {
	for _, sweep := range []bool{false, true} {
		w := newWorld(t, 3)
		short := w.write(0, child(1), api.NewSID(), 1, func(s *api.Statement) {
			s.Expires = registry.Today(w.Now()).AddDate(0, 0, 1)
		})
		if _, err := w.submit(short); err != nil {
			t.Fatal(err)
		}
		w.signal(1, child(1))
		// Midnight in Amsterdam is 23:00 UTC in winter.
		w.clock = time.Date(2026, 3, 10, 22, 59, 59, 0, time.UTC)
		if n, err := w.Sweep(t.Context()); err != nil || n != 0 {
			t.Fatalf("swept %d before midnight, %v", n, err)
		}
		w.advance(time.Second)
		if sweep {
			if n, err := w.Sweep(t.Context()); err != nil || n != 1 {
				t.Fatalf("swept %d, want 1; %v", n, err)
			}
		} else if e := w.feed(1)[0]; e.Other.Card != nil {
			t.Error("a card is delivered after its signal expired")
		}
		w.signal(2, child(1))
		wantTold(t, w, 1, "joined "+string(party(0)), "left "+string(party(0)), "ended "+string(party(0)), "joined "+string(party(2)))
		wantTold(t, w, 2, "joined "+string(party(1)))
		_, err := w.submit(w.write(0, child(1), short.st.SID, 2))
		wantCode(t, err, api.CodeGone)
		w.implied()
	}
}

func TestWhatIsDestroyedIsNotDelivered(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.signal(0, child(1)), w.signal(1, child(1))
	w.withdraw(a)
	events := w.feed(1)
	if events[0].Kind != api.EventJoined || events[0].Other.Card != nil || events[0].Other.Party != party(0) {
		t.Error("the event of a withdrawn signal must come, without its card")
	}
	if events[0].Own.Keybox == nil {
		t.Error("the recipient's own keybox is missing though its signal lives")
	}
	w.withdraw(b)
	for _, e := range w.feed(1) {
		if e.Own.Keybox != nil || e.Own.Signed.Signed != nil || e.Other.Card != nil {
			t.Error("a party without a signal gets what belongs to one")
		}
	}
}

func TestAdmission(t *testing.T) {
	w := newWorld(t, 2)
	now := w.Now()
	day := func(years, days int) encoding.Date { return registry.Today(now).AddDate(years, 0, days) }
	type st = *api.Statement
	for _, c := range []struct {
		name   string
		code   api.Code
		change func(*api.Statement)
	}{
		{"another_deployment", api.CodeDeployment, func(s st) { s.Dep = "elders" }},
		{"another_party", api.CodeForbidden, func(s st) { s.Party = party(1) }},
		{"unknown_key", api.CodeSignature, func(s st) { s.KeyID[0] ^= 1 }},
		{"issued_too_long_ago", api.CodeIssued, func(s st) { s.Issued = now.Add(-30*24*time.Hour - time.Second) }},
		{"issued_too_far_ahead", api.CodeIssued, func(s st) { s.Issued = now.Add(10*time.Minute + time.Second) }},
		{"expires_today", api.CodeExpires, func(s st) { s.Expires = day(0, 0) }},
		{"expires_beyond_two_years_and_a_day", api.CodeExpires, func(s st) { s.Expires = day(2, 2) }},
		{"takes_over", api.CodeUnsupported, func(s st) { s.TakesOver = api.NewSID() }},
		{"another_epoch", api.CodeEpoch, func(s st) { s.Faces[0].Epoch = 2 }},
		{"a_face_too_many", api.CodeEpoch, func(s st) { s.Faces = append(s.Faces, s.Faces[0]); s.Faces[1].Epoch = 2 }},
		{"another_card", api.CodeFaces, func(s st) { s.Faces[0].Card[0] ^= 1 }},
		{"another_keybox", api.CodeFaces, func(s st) { s.Faces[0].Keybox[0] ^= 1 }},
	} {
		t.Run("rejects/"+c.name, func(t *testing.T) {
			paper := w.write(0, child(1), api.NewSID(), 1, c.change)
			_, err := w.Submit(t.Context(), party(0), paper.sub)
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
			if _, err := w.submit(w.write(0, child(100+i), api.NewSID(), 1, change)); err != nil {
				t.Errorf("edge %d: %v", i, err)
			}
		}
	})
	t.Run("rejects/signature_of_other_bytes", func(t *testing.T) {
		paper := w.write(0, child(1), api.NewSID(), 1)
		paper.sub.Signature = w.write(0, child(1), api.NewSID(), 1).sub.Signature
		_, err := w.submit(paper)
		wantCode(t, err, api.CodeSignature)
	})
	t.Run("rejects/bytes_behind_the_statement", func(t *testing.T) {
		paper := w.write(0, child(1), api.NewSID(), 1)
		paper.sub.Signed = api.Sign(w.parties[party(0)], append(slices.Clone(paper.sub.Signed.Signed), 0, 0))
		_, err := w.submit(paper)
		wantCode(t, err, api.CodeMalformed)
	})
	t.Run("rejects/a_face_missing", func(t *testing.T) {
		paper := w.write(0, child(1), api.NewSID(), 1)
		paper.sub.Faces = nil
		_, err := w.submit(paper)
		wantCode(t, err, api.CodeFaces)
	})
	paper := w.signal(0, child(1))
	for _, c := range []struct {
		name   string
		code   api.Code
		change func(*api.Act)
	}{
		{"act_without_reason", api.CodeMalformed, func(a *api.Act) { a.Body = "" }},
		{"act_not_taken_yet", api.CodeUnsupported, func(a *api.Act) { a.Act = api.ActHandover }},
		{"act_names_a_match", api.CodeMalformed, func(a *api.Act) { a.Match = api.NewMatchID() }},
		{"act_under_another_tag", api.CodeUnknownSignal, func(a *api.Act) { a.Tag = child(9) }},
	} {
		t.Run("rejects/"+c.name, func(t *testing.T) {
			_, err := w.Act(t.Context(), party(0), w.withdrawal(paper, c.change))
			wantCode(t, err, c.code)
		})
	}
	t.Run("rejects/another_party_withdraws", func(t *testing.T) {
		_, err := w.Act(t.Context(), party(1), w.withdrawal(paper))
		wantCode(t, err, api.CodeForbidden)
	})
}

// implied holds the stored matches against what the live signals imply.
func (w *world) implied() {
	w.t.Helper()
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
			w.t.Errorf("a match has %d members, its live signals imply %d", len(match.Members), len(live))
		}
		for _, m := range live {
			if !slices.Contains(match.Members, m) {
				w.t.Error("a live signal is not in its match")
			}
		}
		return nil
	})
	if err != nil {
		w.t.Error(err)
	}
}
