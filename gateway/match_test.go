// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
)

// meet has parties 0 to n-1 signal child 1, and waits until all know each other.
func meet(t *testing.T, w *gatewaytest.World, n int) (*gatewaytest.House, []gateway.Status) {
	t.Helper()
	var parties []int
	for i := range n {
		parties = append(parties, i)
	}
	h := w.Run(parties...)
	var list []gateway.Status
	for i := range n {
		list = append(list, signal(t, h.Of(i), child(1), terms([]string{"jansen", "bakker", "citroen"}[i], []string{"A-1", "B-1", "C-1"}[i])))
	}
	for i := range n {
		match(t, h.Of(i), func(m gateway.MatchStatus) bool { return m.Present() == n-1 })
	}
	return h, list
}

// match waits until a party's one match is as it should be, and gives it.
func match(t *testing.T, p *gateway.Party, is func(gateway.MatchStatus) bool) (found gateway.MatchStatus) {
	t.Helper()
	eventually(t, "the match", func() bool {
		list, _, err := p.Matches(gateway.ID{}, 10, gateway.MatchFilter{})
		if err != nil {
			t.Fatal(err)
		}
		if len(list) != 1 || !is(list[0]) {
			return false
		}
		found = list[0]
		return true
	})
	return found
}

func answers(t *testing.T, p *gateway.Party, m gateway.MatchStatus, to int, word api.Answer) {
	t.Helper()
	if _, err := p.Answer(m.Match.Match, gatewaytest.Party(to), word, ""); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := p.AwaitAnswers(ctx, m.Match.Match); err != nil {
		t.Fatal(err)
	}
}

func other(m gateway.MatchStatus, i int) gateway.Member {
	for _, o := range m.Others {
		if o.Party == gatewaytest.Party(i) {
			return o
		}
	}
	return gateway.Member{}
}

// Who is told that another has left is told if that was because of a mistake, until it comes
// back.
func TestAMistakeIsTold(t *testing.T) {
	w := gatewaytest.New(t, 3)
	h, signals := meet(t, w, 3)
	for i, reason := range []string{api.ReasonMistake, api.ReasonEnded} {
		if _, err := h.Of(i).Withdraw(signals[i].ID, reason); err != nil {
			t.Fatal(err)
		}
		settled(t, h.Of(i), signals[i].ID)
	}
	c := h.Of(2)
	m := match(t, c, func(m gateway.MatchStatus) bool { return m.Over })
	if !other(m, 0).Mistake || other(m, 1).Mistake {
		t.Errorf("mistakes are %v and %v", other(m, 0).Mistake, other(m, 1).Mistake)
	}
	var words []string
	for _, msg := range inbox(t, c, 5) {
		if msg.Kind == api.EventLeft {
			words = append(words, msg.Words())
		}
	}
	if want := []string{"Organisatie 0 heeft het signaal ingetrokken: het was een vergissing.", "Organisatie 1 signaleert dit kind niet meer."}; !slices.Equal(words, want) {
		t.Errorf("told %q", words)
	}
}

func TestAMatchIsTheNetworkAroundOurSignal(t *testing.T) {
	w := gatewaytest.New(t, 3)
	h, signals := meet(t, w, 3)
	a := h.Of(0)
	m := match(t, a, func(gateway.MatchStatus) bool { return true })
	b := other(m, 1)
	switch {
	case m.SID != signals[0].SID, m.Over, len(m.Others) != 2, len(m.Owners) != 1, m.Owners[0].Reference != "A-1":
		t.Errorf("the match is %+v", m)
	case b.SID != signals[1].SID, b.Name != "Organisatie 1", b.Kind == "", b.Card.IsZero(), len(b.Code) != 6, !b.Present, b.Since.IsZero():
		t.Errorf("the other is %+v of %s", b, b.SID)
	}
	if theirs := other(match(t, h.Of(1), func(gateway.MatchStatus) bool { return true }), 0); theirs.Code != b.Code {
		t.Error("the two sides have different codes")
	}
	if s, err := a.Registration(signals[0].ID); err != nil || s.Match == nil || s.Match.Match != m.Match.Match {
		t.Errorf("the signal does not name its match (%v)", err)
	}

	answers(t, a, m, 1, api.AnswerWillCall)
	if o := other(match(t, a, func(gateway.MatchStatus) bool { return true }), 1); o.Ours.Word != api.AnswerWillCall || o.Asked != (gateway.Asked{}) || o.Theirs.Word != "" {
		t.Errorf("our answer is %+v, on its way %+v", o.Ours, o.Asked)
	}
	got := match(t, h.Of(1), func(m gateway.MatchStatus) bool { return other(m, 0).Theirs.Word != "" })
	if o := other(got, 0); o.Theirs.Word != api.AnswerWillCall || o.Theirs.Number != 1 || o.Ours.Word != "" {
		t.Errorf("their answer is %+v", o.Theirs)
	}
	if c := match(t, h.Of(2), func(gateway.MatchStatus) bool { return true }); other(c, 0).Theirs.Word != "" || other(c, 1).Theirs.Word != "" {
		t.Error("a third hears an answer that was not for it")
	}
	messages := inbox(t, h.Of(1), 3)
	if last := messages[len(messages)-1]; last.Kind != api.EventAnswer || last.Answer != api.AnswerWillCall || last.Words() != "Organisatie 0 gaat bellen." {
		t.Errorf("the message is %s %s: %s", last.Kind, last.Answer, last.Words())
	}

	// One leaves, then the other: the match is over, and its cards are still there.
	if _, err := h.Of(2).Withdraw(signals[2].ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	m = match(t, a, func(m gateway.MatchStatus) bool { return m.Present() == 1 })
	if o := other(m, 2); o.Present || o.Card.IsZero() || m.Over {
		t.Error("who left is not shown as gone")
	}
	if _, err := h.Of(1).Withdraw(signals[1].ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	m = match(t, a, func(m gateway.MatchStatus) bool { return m.Over })
	if m.Ended.IsZero() || m.Present() != 0 {
		t.Errorf("a match that has ended has %d others, ended %s", m.Present(), m.Ended)
	}
	if ours := match(t, h.Of(1), func(m gateway.MatchStatus) bool { return m.Over }); ours.Ended.IsZero() {
		t.Error("a match of which our own signal ended does not say since when")
	}
	if s, err := a.Registration(signals[0].ID); err != nil || s.Words() != "Geregistreerd. Er is geen match meer; dat zegt niet dat niemand anders dit kind kent, want alleen wie signaleert is te zien." {
		t.Errorf("the signal says %q", s.Words())
	}
	if over, _, err := a.Matches(gateway.ID{}, 10, gateway.MatchFilter{Over: true}); err != nil || len(over) != 1 {
		t.Errorf("%d matches are over (%v)", len(over), err)
	}
	if active, _, err := a.Matches(gateway.ID{}, 10, gateway.MatchFilter{Active: true}); err != nil || len(active) != 0 {
		t.Errorf("%d matches are active (%v)", len(active), err)
	}

	// Another signal of the other is another match.
	again := signal(t, h.Of(1), child(1), terms("bakker", "B-2"))
	eventually(t, "another match", func() bool {
		list, _, err := a.Matches(gateway.ID{}, 10, gateway.MatchFilter{Registration: signals[0].ID})
		return err == nil && len(list) == 2 && list[0].Others[0].SID == again.SID && list[1].Match.Match == m.Match.Match
	})
	if page, more, err := a.Matches(gateway.ID{}, 1, gateway.MatchFilter{}); err != nil || !more || len(page) != 1 {
		t.Errorf("a page of one has %d, more %v (%v)", len(page), more, err)
	} else if rest, more, err := a.Matches(page[0].ID, 1, gateway.MatchFilter{}); err != nil || more || len(rest) != 1 || rest[0].Match.Match != m.Match.Match {
		t.Errorf("the page behind it has %d, more %v (%v)", len(rest), more, err)
	}
}

func TestANewCardIsInTheMatch(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h, signals := meet(t, w, 2)
	if _, err := h.Of(1).Renew(signals[1].ID, gateway.Subject{}, gateway.Terms{Card: gateway.Card{Name: "B. Nieuw", Phone: "+31201234567"}}); err != nil {
		t.Fatal(err)
	}
	m := match(t, h.Of(0), func(m gateway.MatchStatus) bool { return other(m, 1).Card.Name == "B. Nieuw" })
	answers(t, h.Of(0), m, 1, api.AnswerContactMade)
	answers(t, h.Of(1), match(t, h.Of(1), func(m gateway.MatchStatus) bool { return true }), 0, api.AnswerContactMade) // with the revision that stands
	match(t, h.Of(0), func(m gateway.MatchStatus) bool { return other(m, 1).Theirs.Word == api.AnswerContactMade })
}

// A second signal of ours in the network that goes on is in it anew.
func TestWeComeBackIntoAMatchThatGoesOn(t *testing.T) {
	w := gatewaytest.New(t, 3)
	h, signals := meet(t, w, 3)
	a := h.Of(0)
	was := match(t, a, func(gateway.MatchStatus) bool { return true })
	if _, err := a.Withdraw(signals[0].ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	settled(t, a, signals[0].ID)
	again := signal(t, a, child(1), terms("jansen", "A-2"))
	m := match(t, a, func(m gateway.MatchStatus) bool { return m.SID == again.SID && m.Present() == 2 })
	if m.Match.Match != was.Match.Match || m.Over || m.Owners[0].Reference != "A-2" {
		t.Errorf("we are in %+v", m)
	}
	answers(t, a, m, 1, api.AnswerWillCall)
	match(t, h.Of(1), func(m gateway.MatchStatus) bool {
		return other(m, 0).Theirs.Word == api.AnswerWillCall && other(m, 0).SID == again.SID && len(m.Others) == 2
	})
}

func TestAnswersThatCannotBeGiven(t *testing.T) {
	w := gatewaytest.New(t, 4)
	h, signals := meet(t, w, 3)
	a := h.Of(0)
	m := match(t, a, func(gateway.MatchStatus) bool { return true })
	for _, c := range []struct {
		name  string
		match api.MatchID
		to    api.PartyID
		word  api.Answer
		want  gateway.Fault
	}{
		{"a_word_that_is_none", m.Match.Match, gatewaytest.Party(1), "misschien", gateway.Fault{Field: gateway.FieldAnswer, Code: gateway.CodeUnknown}},
		{"to_nobody_of_two", m.Match.Match, "", api.AnswerWillCall, gateway.Fault{Field: gateway.FieldOther, Code: gateway.CodeMissing}},
		{"to_a_stranger", m.Match.Match, gatewaytest.Party(3), api.AnswerWillCall, gateway.Fault{Field: gateway.FieldOther, Code: gateway.CodeUnknown}},
	} {
		t.Run("rejects/"+c.name, func(t *testing.T) {
			_, err := a.Answer(c.match, c.to, c.word, "")
			if input, ok := errors.AsType[*gateway.InputError](err); !ok || !slices.Equal(input.Faults, []gateway.Fault{c.want}) {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := a.Answer(api.NewMatchID(), gatewaytest.Party(1), api.AnswerWillCall, ""); !errors.Is(err, gateway.ErrNotFound) {
		t.Errorf("another match: %v", err)
	}
	if _, err := h.Of(2).Withdraw(signals[2].ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	m = match(t, a, func(m gateway.MatchStatus) bool { return m.Present() == 1 })
	if _, err := a.Answer(m.Match.Match, gatewaytest.Party(2), api.AnswerWillCall, ""); !errors.Is(err, gateway.ErrMatchOver) {
		t.Errorf("to one who left: %v", err)
	}
	if _, err := a.Answer(m.Match.Match, "", api.AnswerWillCall, ""); err != nil { // there is but one
		t.Errorf("without naming the only one: %v", err)
	}
	if _, err := a.Withdraw(signals[0].ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	settled(t, a, signals[0].ID)
	if _, err := a.Answer(m.Match.Match, gatewaytest.Party(1), api.AnswerWillCall, ""); !errors.Is(err, gateway.ErrMatchOver) {
		t.Errorf("after we left: %v", err)
	}
}

// An act says when it was signed in whole seconds, and the same act is the same answer. Who
// comes back to a word within a second has said it last all the same.
func TestAWordCanBeSaidAgainWithinASecond(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h, _ := meet(t, w, 2)
	any := func(gateway.MatchStatus) bool { return true }
	words := []api.Answer{api.AnswerWillCall, api.AnswerInContact, api.AnswerWillCall, api.AnswerWillCall, api.AnswerInContact}
	for _, word := range words {
		answers(t, h.Of(0), match(t, h.Of(0), any), 1, word)
	}
	match(t, h.Of(1), func(m gateway.MatchStatus) bool {
		o := other(m, 0)
		return o.Theirs.Number == uint64(len(words)) && o.Theirs.Word == words[len(words)-1]
	})
}

func TestAnAnswerKeyIsUsedOnce(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h, _ := meet(t, w, 2)
	a := h.Of(0)
	m := match(t, a, func(gateway.MatchStatus) bool { return true })
	give := func(word api.Answer, key string) error {
		_, err := a.Answer(m.Match.Match, "", word, key)
		if err == nil {
			err = a.AwaitAnswers(t.Context(), m.Match.Match)
		}
		return err
	}
	if err := errors.Join(give(api.AnswerWillCall, "sleutel-1"), give(api.AnswerContactMade, "sleutel-2"), give(api.AnswerWillCall, "sleutel-1")); err != nil {
		t.Fatal(err)
	}
	if o := match(t, a, func(m gateway.MatchStatus) bool { return true }).Others[0]; o.Ours.Word != api.AnswerContactMade {
		t.Errorf("a request that came again counts as the last: %s", o.Ours.Word)
	}
	if err := give(api.AnswerNotInvolved, "sleutel-1"); !errors.Is(err, gateway.ErrReplay) {
		t.Errorf("the key of another answer: %v", err)
	}
}

// The last word is the last that arrives, whichever was on its way.
func TestALaterAnswerReplacesOneThatWaits(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h, _ := meet(t, w, 2)
	a := h.Of(0)
	m := match(t, a, func(gateway.MatchStatus) bool { return true })
	w.Registry.Set(gatewaytest.Away)
	give := func(word api.Answer) {
		t.Helper()
		if _, err := a.Answer(m.Match.Match, "", word, ""); err != nil {
			t.Fatal(err)
		}
	}
	give(api.AnswerInContact)
	eventually(t, "a signed answer", prepared(t, a, 1))
	give(api.AnswerInContact) // it is on its way
	give(api.AnswerWillCall)
	give(api.AnswerNotInvolved)
	give(api.AnswerContactMade)
	if jobs, err := a.Jobs(); err != nil || len(jobs) != 2 || jobs[1].Answer != api.AnswerContactMade || jobs[1].After != jobs[0].ID {
		t.Fatalf("%d jobs wait (%v)", len(jobs), err)
	}
	if o := match(t, a, func(gateway.MatchStatus) bool { return true }).Others[0]; o.Asked.Word != api.AnswerContactMade || o.Asked.Words() == "" {
		t.Errorf("on its way is %+v", o.Asked)
	}
	w.Registry.Set(gatewaytest.Works)
	got := match(t, h.Of(1), func(m gateway.MatchStatus) bool { return other(m, 0).Theirs.Word == api.AnswerContactMade })
	if n := other(got, 0).Theirs.Number; n != 2 {
		t.Errorf("the other was told %d answers, want 2", n)
	}
	waitsEmpty(t, a)
}

// Nor does it overtake one whose answer does not come.
func TestALaterAnswerWaitsForOneThatRests(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h, _ := meet(t, w, 2)
	a := h.Of(0)
	m := match(t, a, func(gateway.MatchStatus) bool { return true })
	w.Registry.Rewrite(func(path string, body []byte) []byte {
		if path == "/v1/acts" {
			return []byte("{}")
		}
		return body
	})
	for n, word := range []api.Answer{api.AnswerWillCall, api.AnswerContactMade} {
		if _, err := a.Answer(m.Match.Match, "", word, ""); err != nil {
			t.Fatal(err)
		}
		jobs, err := a.Jobs()
		if err != nil || len(jobs) != n+1 {
			t.Fatalf("%d jobs (%v)", len(jobs), err)
		}
		eventually(t, "an answer that rests", func() bool { return a.Alone(jobs[n].ID) })
	}
	jobs, err := a.Jobs()
	if err != nil || len(jobs) != 2 || jobs[0].Prepared == nil || jobs[1].Prepared != nil {
		t.Errorf("of %d answers the later one is signed (%v)", len(jobs), err)
	}
}

func waitsEmpty(t *testing.T, p *gateway.Party) {
	t.Helper()
	eventually(t, "an empty queue", func() bool { n, _, err := p.Queue(); return n == 0 && err == nil })
}

// An answer that waits when the match ends is given up, and says so.
func TestAnAnswerIsGivenUpWhenTheMatchIsOver(t *testing.T) {
	for _, c := range []struct {
		name string
		sign bool // it was signed, and the registry refuses it
	}{{"before_it_was_signed", false}, {"after", true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := gatewaytest.New(t, 2)
			b := w.Run(1).Of(1)
			theirs := signal(t, b, child(1), terms("bakker", "B-1"))
			fs := vfs.NewMem()
			h := w.RunOn(fs, 0)
			signal(t, h.Of(0), child(1), terms("jansen", "A-1"))
			m := match(t, h.Of(0), func(m gateway.MatchStatus) bool { return m.Present() == 1 })
			if c.sign {
				w.Registry.OnAsked(func(r *http.Request) {
					if r.URL.Path == "/v1/acts" && r.TLS.PeerCertificates[0].Subject.CommonName == string(gatewaytest.Party(0)) {
						panic(http.ErrAbortHandler)
					}
				})
				if _, err := h.Of(0).Answer(m.Match.Match, "", api.AnswerWillCall, ""); err != nil {
					t.Fatal(err)
				}
				eventually(t, "a signed answer", prepared(t, h.Of(0), 1))
			}
			h.Stop()
			if !c.sign {
				still := w.OpenOn(fs, 0)
				if _, err := still.Of(0).Answer(m.Match.Match, "", api.AnswerWillCall, ""); err != nil {
					t.Fatal(err)
				}
				if err := still.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := b.Withdraw(theirs.ID, api.ReasonEnded); err != nil {
				t.Fatal(err)
			}
			settled(t, b, theirs.ID)
			w.Registry.OnAsked(nil)
			a := w.RunOn(fs, 0).Of(0)
			got := match(t, a, func(m gateway.MatchStatus) bool { return m.Settled() && m.Over })
			if o := got.Others[0]; o.Asked.Fault != gateway.CodeMatchOver || o.Ours.Word != "" || o.Asked.Words() == "" {
				t.Errorf("it ended as %+v", o.Asked)
			}
			waitsEmpty(t, a)
		})
	}
}

func TestAnAnswerAfterALostRevision(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h, signals := meet(t, w, 2)
	a := h.Of(0)
	m := match(t, a, func(gateway.MatchStatus) bool { return true })
	// The registry takes a renewal, and the answer is lost for as long as the answer to
	// the match takes.
	w.Registry.Rewrite(func(path string, body []byte) []byte {
		if path == "/v1/signals" {
			return []byte("{}")
		}
		return body
	})
	if _, err := a.Renew(signals[0].ID, gateway.Subject{}, gateway.Terms{}); err != nil {
		t.Fatal(err)
	}
	jobs, err := a.Jobs()
	if err != nil || len(jobs) != 1 {
		t.Fatal(len(jobs), err)
	}
	eventually(t, "a renewal that rests", func() bool { return a.Alone(jobs[0].ID) })
	// Each is signed once more for the revision that the registry has, in the same second.
	for _, word := range []api.Answer{api.AnswerWillCall, api.AnswerInContact, api.AnswerWillCall} {
		answers(t, a, m, 1, word)
	}
	match(t, h.Of(1), func(m gateway.MatchStatus) bool {
		o := other(m, 0)
		return o.Theirs.Word == api.AnswerWillCall && o.Theirs.Number == 3
	})
}

// The end of the legal basis keeps answers in, before and after they were signed.
func TestNoAnswerAfterTheLegalBasis(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h, _ := meet(t, w, 2)
	a := h.Of(0)
	m := match(t, a, func(gateway.MatchStatus) bool { return true })
	w.Registry.Set(gatewaytest.Away)
	if _, err := a.Answer(m.Match.Match, "", api.AnswerWillCall, ""); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a signed answer", prepared(t, a, 1))
	w.Advance(w.Manifest.Policy.LegalBasisEnds.In(time.UTC).Sub(w.Now()) + 25*time.Hour)
	w.Registry.Set(gatewaytest.Works)
	got := match(t, a, func(m gateway.MatchStatus) bool { return m.Settled() })
	if o := got.Others[0]; o.Asked.Fault != gateway.CodeLegalBasis && o.Asked.Fault != gateway.CodeMatchOver {
		t.Errorf("it ended as %+v", o.Asked)
	}
	if _, err := a.Answer(m.Match.Match, "", api.AnswerWillCall, ""); !errors.Is(err, gateway.ErrNoBasis) {
		t.Errorf("a new one: %v", err)
	}
}

// What did not verify, and what a registry invents, is not in a match.
func TestForgedEventsChangeNoMatch(t *testing.T) {
	w := gatewaytest.New(t, 3)
	h, _ := meet(t, w, 2)
	a := h.Of(0)
	was := match(t, a, func(gateway.MatchStatus) bool { return true })
	forged := 0
	w.Registry.Rewrite(onEvents(t, func(events *api.Events) {
		var extra []api.Event
		for _, e := range events.Items {
			if e.Own.SID != was.SID || e.Kind != api.EventAnswer {
				continue
			}
			word, stranger, card, sig := e, e, e, e
			word.ID, word.Answer, word.Other.Rev = api.EventID{1}, "perhaps", 9
			stranger.ID, stranger.Other.Party, stranger.Other.SID = api.EventID{2}, gatewaytest.Party(2), api.NewSID()
			card.ID, card.Kind, card.Other.Card = api.EventID{3}, api.EventCard, make([]byte, 668)
			sig.ID, sig.Answer, sig.Other.Rev = api.EventID{4}, api.AnswerNotInvolved, 9
			sig.Own.Signature = slices.Clone(sig.Own.Signature)
			sig.Own.Signature[0] ^= 1
			left, ended := sig, sig
			left.ID, left.Kind, left.Answer = api.EventID{5}, api.EventLeft, ""
			ended.ID, ended.Kind, ended.Answer = api.EventID{6}, api.EventEnded, ""
			extra = append(extra, word, stranger, card, sig, left, ended)
			forged++
		}
		events.Items = append(extra, events.Items...)
	}))
	answers(t, h.Of(1), match(t, h.Of(1), func(gateway.MatchStatus) bool { return true }), 0, api.AnswerWillCall)
	got := match(t, a, func(m gateway.MatchStatus) bool { return other(m, 1).Theirs.Word != "" })
	if o := other(got, 1); forged == 0 || got.Over || !o.Present || len(got.Others) != 1 || o.Theirs.Word != api.AnswerWillCall || o.Theirs.Number != 1 || o.Card != other(was, 1).Card {
		t.Errorf("%d forged: the match has %d others, one that says %+v", forged, len(got.Others), o.Theirs)
	}
}

// A network that goes on under another name at the registry is the same match here.
func TestAMatchGoesOnUnderAnotherName(t *testing.T) {
	w := gatewaytest.New(t, 3)
	h, _ := meet(t, w, 2)
	a := h.Of(0)
	was := match(t, a, func(gateway.MatchStatus) bool { return true })
	other1 := api.NewMatchID()
	w.Registry.Rewrite(onEvents(t, func(events *api.Events) {
		for i := range events.Items {
			if e := &events.Items[i]; e.Own.SID == was.SID && e.Kind == api.EventAnswer {
				e.Match = other1
			}
		}
	}))
	answers(t, h.Of(1), match(t, h.Of(1), func(gateway.MatchStatus) bool { return true }), 0, api.AnswerWillCall)
	got := match(t, a, func(m gateway.MatchStatus) bool { return other(m, 1).Theirs.Word != "" })
	if got.ID != was.ID || got.Match.Match != other1 || len(got.Others) != 1 {
		t.Errorf("the match is %s with %d others", got.Match.Match, len(got.Others))
	}
	for _, name := range []api.MatchID{was.Match.Match, other1} {
		if s, err := a.MatchByID(name); err != nil || s.ID != was.ID {
			t.Errorf("by name %s: %v", name, err)
		}
	}
}

func TestMatchesAreSweptAsMessagesAre(t *testing.T) {
	w := gatewaytest.New(t, 2)
	fs := vfs.NewMem()
	b := w.Run(1).Of(1)
	signal(t, b, child(1), terms("bakker", "B-1"))
	h := w.RunOn(fs, 0)
	a := h.Of(0)
	s := signal(t, a, child(1), terms("jansen", "A-1"))
	m := match(t, a, func(m gateway.MatchStatus) bool { return m.Present() == 1 })
	sweep := func(after time.Duration) int {
		t.Helper()
		w.Advance(after)
		if err := a.Sweep(); err != nil {
			t.Fatal(err)
		}
		list, _, err := a.Matches(gateway.ID{}, 10, gateway.MatchFilter{})
		messages, err2 := a.Messages(0, 10)
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		if (len(list) == 0) != (len(messages) == 0) {
			t.Errorf("%d matches and %d messages are left", len(list), len(messages))
		}
		return len(list)
	}
	if n := sweep(31 * 24 * time.Hour); n != 1 {
		t.Error("the match of a signal that stands is gone")
	}
	if _, err := a.Withdraw(s.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	settled(t, a, s.ID)
	if n := sweep(time.Hour); n != 0 { // what is in it came over 30 days ago
		t.Error("the match of a signal that has ended stays")
	}
	if rows := gateway.MatchRows(h.Gateway); rows != 0 {
		t.Errorf("%d rows are left", rows)
	}
	if _, err := a.MatchByID(m.Match.Match); !errors.Is(err, gateway.ErrNotFound) {
		t.Errorf("by its name: %v", err)
	}
}

// A store of format 1 has no matches. They are made of its messages.
func TestAStoreOfFormatOneIsBroughtOver(t *testing.T) {
	w := gatewaytest.New(t, 3)
	fs := vfs.NewMem()
	b := w.Run(1, 2)
	theirs := signal(t, b.Of(1), child(1), terms("bakker", "B-1"))
	signal(t, b.Of(1), child(2), terms("bakker", "B-2"))
	h := w.RunOn(fs, 0)
	a := h.Of(0)
	signal(t, a, child(1), terms("jansen", "A-1"))
	ended := signal(t, a, child(2), terms("jansen", "A-2"))
	signal(t, b.Of(2), child(1), terms("citroen", "C-1"))
	if _, err := b.Of(1).Withdraw(theirs.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	inbox(t, a, 4) // joined, joined, joined, left
	if _, err := a.Withdraw(ended.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	settled(t, a, ended.ID)
	h.Stop()

	shown := func(a *gateway.Party) []byte {
		t.Helper()
		list, _, err := a.Matches(gateway.ID{}, 10, gateway.MatchFilter{})
		if err != nil || len(list) != 2 {
			t.Fatalf("%d matches (%v)", len(list), err)
		}
		for i := range list {
			list[i].ID, list[i].Ended = gateway.ID{}, time.Time{} // made anew, and not known any more
		}
		slices.SortFunc(list, func(x, y gateway.MatchStatus) int { return slices.Compare(x.SID[:], y.SID[:]) })
		text, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	still := w.OpenOn(fs, 0)
	want := shown(still.Of(0))
	gateway.ToFormatOne(t, still.Gateway)
	if err := still.Close(); err != nil {
		t.Fatal(err)
	}
	again := w.OpenOn(fs, 0)
	if got := shown(again.Of(0)); string(got) != string(want) {
		t.Errorf("brought over it is\n%s\nand it was\n%s", got, want)
	}
	over, _, err := again.Of(0).Matches(gateway.ID{}, 10, gateway.MatchFilter{Over: true})
	if err != nil || len(over) != 1 || over[0].Ended.IsZero() || over[0].SID != ended.SID {
		t.Errorf("%d matches are over (%v)", len(over), err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	// And the next time there is nothing to bring over.
	last := w.OpenOn(fs, 0)
	defer last.Close()
	if got := shown(last.Of(0)); string(got) != string(want) {
		t.Error("opened again it is another")
	}
}

// signal stands for a colleague.
func TestWhoIsNoOwnerAnyMoreDoesNotAnswer(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h, signals := meet(t, w, 2)
	a := bootstrap(t, w, h, 0)
	hire(t, a, "jansen", "citroen")
	p := a.Party
	signal(t, p, child(1), terms("citroen", "C-1"))
	if _, err := as(a, "jansen").Withdraw(signals[0].ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	m := match(t, p, func(gateway.MatchStatus) bool { return true })
	if _, err := as(a, "jansen").Answer(m.Match.Match, gatewaytest.Party(1), api.AnswerNotInvolved, ""); !errors.Is(err, gateway.ErrMatchOver) {
		t.Errorf("who withdrew answers for a colleague: %v", err)
	}
	if m, err := p.MatchByID(m.Match.Match); err != nil || m.Others[0].Asked.Word != "" || m.Others[0].Ours.Word != "" {
		t.Errorf("an answer is %+v (%v)", m.Others[0], err)
	}
	if _, err := as(a, "citroen").Answer(m.Match.Match, gatewaytest.Party(1), api.AnswerWillCall, ""); err != nil {
		t.Errorf("the colleague: %v", err)
	}
}

// A match that somebody may not see is not there for him to answer in either; who may
// is in the log of access.
func TestAnAnswerIsWithinReachAndInTheLog(t *testing.T) {
	h, _ := meet(t, gatewaytest.New(t, 2), 2)
	a := h.Of(0)
	m := match(t, a, func(m gateway.MatchStatus) bool { return m.Present() == 1 })
	as := func(person string) *gateway.Access {
		return &gateway.Access{Party: a, Who: "test", Roles: gateway.Roles, Reach: gateway.ReachOwn, Person: person}
	}
	if _, err := as("visser").Answer(m.Match.Match, "", api.AnswerWillCall, ""); !errors.Is(err, gateway.ErrNotFound) {
		t.Errorf("who does not see it gets %v", err)
	}
	if a.Logged(gateway.LogAnswered, m.Match.Match.String()) {
		t.Error("what was not done is in the log")
	}
	if _, err := as("jansen").Answer(m.Match.Match, "", api.AnswerWillCall, ""); err != nil {
		t.Error(err)
	}
	if !a.Logged(gateway.LogAnswered, m.Match.Match.String()) {
		t.Error("the answer is not in the log")
	}
}
