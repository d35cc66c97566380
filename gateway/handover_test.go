// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/identity"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
)

func dayIn(w *gatewaytest.World, n int) encoding.Date {
	return identity.Today(w.Now()).AddDate(0, 0, n)
}

// gives has a party give a signal to another until a day, and waits for the receipt; without
// a day it takes it back.
func gives(t *testing.T, p *gateway.Party, id gateway.ID, to int, until encoding.Date) gateway.Given {
	t.Helper()
	party := gatewaytest.Party(to)
	if until.IsZero() {
		party = ""
	}
	if _, err := admin(p).Give(id, party, until); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := p.AwaitGiven(ctx, id); err != nil {
		t.Fatal(err)
	}
	s, err := p.Registration(id)
	if err != nil || s.Signal == nil || !s.Signal.Given.Job.IsZero() || s.Signal.Given.Fault != "" {
		t.Fatalf("it was not given: %+v, %v", s.Signal, err)
	}
	return s.Signal.Given
}

// offered waits until so many signals are offered to a party.
func offered(t *testing.T, p *gateway.Party, n int) (list []gateway.Offer) {
	t.Helper()
	eventually(t, "an offer", func() bool {
		var err error
		if list, err = p.Offers(); err != nil {
			t.Fatal(err)
		}
		return len(list) == n
	})
	return list
}

func takes(of gateway.Offer, owner, reference string) gateway.Terms {
	tm := terms(owner, reference)
	tm.TakesOver = of.SID
	return tm
}

func endsAs(t *testing.T, p *gateway.Party, id gateway.ID, want gateway.State) gateway.Status {
	t.Helper()
	var s gateway.Status
	eventually(t, "the end of a signal", func() bool {
		var err error
		if s, err = p.Registration(id); err != nil {
			t.Fatal(err)
		}
		return s.State.Ended()
	})
	if s.State != want {
		t.Errorf("it is %s, want %s", s.State, want)
	}
	return s
}

// A school gives its signal to another organisation, which is told by whom and until when; it
// hears on the telephone of which child, and signals it. The school's signal has ended then,
// and the third knows who came in its place.
func TestAWarmHandover(t *testing.T) {
	w := gatewaytest.New(t, 3)
	h := w.Run(0, 1, 2)
	giver, taker, third := h.Of(0), h.Of(1), h.Of(2)
	mine := signal(t, giver, child(1), terms("jansen", "A-1"))
	signal(t, third, child(1), terms("citroen", "C-1"))
	match(t, third, func(m gateway.MatchStatus) bool { return m.Present() == 1 })
	given := gives(t, giver, mine.ID, 1, dayIn(w, 14))
	if given.Handover != (api.Handover{To: gatewaytest.Party(1), Until: dayIn(w, 14)}) {
		t.Errorf("given is %+v", given.Handover)
	}
	offer := offered(t, taker, 1)[0]
	if offer.Party != gatewaytest.Party(0) || offer.Name != "Organisatie 0" || offer.Until != dayIn(w, 14) || offer.SID != mine.SID {
		t.Errorf("what is offered is %+v", offer)
	}
	if msg := inbox(t, taker, 1)[0]; msg.Kind != api.EventHandover || !msg.SID.IsZero() || len(msg.Owners) != 0 || msg.Problem != "" || msg.Words() == "" {
		t.Errorf("the taker is told %+v", msg)
	}

	theirs := signal(t, taker, child(1), takes(offer, "bakker", "B-1"))
	if theirs.State != gateway.StateRegistered {
		t.Errorf("the taker's is %s", theirs.State)
	}
	if s := endsAs(t, giver, mine.ID, gateway.StateHandedOver); s.HandedTo != gatewaytest.Party(1) || s.Signal != nil {
		t.Errorf("the giver's is %+v", s.Registration)
	}
	offered(t, taker, 0)
	if msgs := inbox(t, giver, 2); msgs[1].Kind != api.EventHandover || msgs[1].Words() != "Organisatie 1 heeft ons signaal overgenomen. Het onze is daarmee geëindigd." || len(msgs[1].Owners) != 1 || msgs[1].Owners[0].Owner != "jansen" {
		t.Errorf("the giver is told %s: %s, for %v", msgs[1].Kind, msgs[1].Words(), msgs[1].Owners)
	}
	m := match(t, third, func(m gateway.MatchStatus) bool { return other(m, 1).TookOver.SID != api.SID{} })
	if o := other(m, 1); !o.Present || o.Card.IsZero() || o.TookOver != (gateway.TookOver{Party: gatewaytest.Party(0), Name: "Organisatie 0", SID: mine.SID}) || other(m, 0).Present {
		t.Errorf("the third sees %+v", m.Others)
	}
	if n := match(t, taker, func(m gateway.MatchStatus) bool { return true }); n.Present() != 1 || n.Match.Match != m.Match.Match {
		t.Error("the taker is in another match")
	}

	// Renewed, it still is whose place it took, and ends nobody.
	if _, err := taker.Renew(theirs.ID, gateway.Subject{}, gateway.Terms{Card: gateway.Card{Name: "Bakker", Phone: "+31 30 5550100"}}); err != nil {
		t.Fatal(err)
	}
	if s := settled(t, taker, theirs.ID); s.Signal == nil || s.Signal.Rev != 2 || len(s.Faults) > 0 {
		t.Errorf("renewed it is %+v", s)
	}
	st, err := api.ParseStatement(settled(t, taker, theirs.ID).Signal.Statement.Signed)
	if err != nil || st.TakesOver != mine.SID {
		t.Errorf("renewed it takes over %s (%v)", st.TakesOver, err)
	}
	want := []api.EventKind{api.EventJoined, api.EventLeft, api.EventJoined, api.EventHandover, api.EventCard}
	eventually(t, "all that the third is told", func() bool { return len(toldOf(t, third)) == len(want) })
	if got := toldOf(t, third); !slices.Equal(got, want) {
		t.Errorf("the third was told %v", got)
	}
}

// Who signals the child already takes over with the signal that it has.
func TestAHandoverToAMember(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h, signals := meet(t, w, 2)
	giver, taker := h.Of(0), h.Of(1)
	gives(t, giver, signals[0].ID, 1, dayIn(w, 1))
	s := signal(t, taker, child(1), takes(offered(t, taker, 1)[0], "visser", "V-1"))
	if s.State != gateway.StateMerged || s.SID != signals[1].SID || len(s.Faults) > 0 {
		t.Errorf("it is %s", s.State)
	}
	endsAs(t, giver, signals[0].ID, gateway.StateHandedOver)
	offered(t, taker, 0)
	match(t, taker, func(m gateway.MatchStatus) bool { return m.Over })
}

func TestAHandoverIsRefused(t *testing.T) {
	w := gatewaytest.New(t, 3)
	h := w.Run(0, 1, 2)
	giver, taker := h.Of(0), h.Of(1)
	mine := signal(t, giver, child(1), terms("jansen", "A-1"))
	wantFault := func(t *testing.T, err error, want ...gateway.Fault) {
		t.Helper()
		e, ok := errors.AsType[*gateway.InputError](err)
		if !ok || !slices.Equal(e.Faults, want) {
			t.Errorf("refused for %v, want %v", err, want)
		}
		for _, f := range want {
			if f.Detail() == "Deze waarde wordt niet aangenomen." {
				t.Errorf("%v has no words", f)
			}
		}
	}
	for name, c := range map[string]struct {
		to    api.PartyID
		until encoding.Date
		want  []gateway.Fault
	}{
		"rejects/ourselves":           {gatewaytest.Party(0), dayIn(w, 1), []gateway.Fault{{Field: gateway.FieldGiveTo, Code: gateway.CodeUnknown}}},
		"rejects/nobody_listed":       {"nl-kvk:99999999", dayIn(w, 1), []gateway.Fault{{Field: gateway.FieldGiveTo, Code: gateway.CodeUnknown}}},
		"rejects/a_day_that_has_gone": {gatewaytest.Party(1), dayIn(w, -1), []gateway.Fault{{Field: gateway.FieldUntil, Code: gateway.CodeDate}}},
		"rejects/a_day_too_far":       {gatewaytest.Party(1), dayIn(w, 93), []gateway.Fault{{Field: gateway.FieldUntil, Code: gateway.CodeDate}}},
		"rejects/no_day":              {gatewaytest.Party(0), encoding.Date{}, []gateway.Fault{{Field: gateway.FieldGiveTo, Code: gateway.CodeUnknown}, {Field: gateway.FieldUntil, Code: gateway.CodeDate}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := admin(giver).Give(mine.ID, c.to, c.until)
			wantFault(t, err, c.want...)
		})
	}
	t.Run("rejects/out_of_reach", func(t *testing.T) {
		if _, err := as(admin(giver), "bakker").Give(mine.ID, gatewaytest.Party(1), dayIn(w, 1)); !errors.Is(err, gateway.ErrNotFound) {
			t.Error(err)
		}
	})
	t.Run("rejects/a_signal_not_offered", func(t *testing.T) {
		tm := terms("bakker", "B-1")
		tm.TakesOver = mine.SID
		_, err := taker.Signal(child(1), tm)
		wantFault(t, err, gateway.Fault{Field: gateway.FieldTakesOver, Code: gateway.CodeUnknown})
	})
	gives(t, giver, mine.ID, 1, dayIn(w, 2))
	offer := offered(t, taker, 1)[0]
	t.Run("rejects/another_child", func(t *testing.T) {
		s, err := taker.Signal(child(2), takes(offer, "bakker", "B-2"))
		if err != nil {
			t.Fatal(err)
		}
		s = settled(t, taker, s.ID)
		if want := []gateway.Fault{{Field: gateway.FieldTakesOver, Code: gateway.CodeNotGiven}}; s.State != gateway.StateRefused || !slices.Equal(s.Faults, want) {
			t.Errorf("it is %s, %v", s.State, s.Faults)
		}
		if s, err := giver.Registration(mine.ID); err != nil || !s.State.Stands() {
			t.Errorf("the giver's is %s (%v)", s.State, err)
		}
	})
	t.Run("rejects/another_child_that_it_signals", func(t *testing.T) {
		stands := signal(t, taker, child(3), terms("bakker", "B-3"))
		s := signal(t, taker, child(3), takes(offer, "visser", "V-3"))
		if want := []gateway.Fault{{Field: gateway.FieldTakesOver, Code: gateway.CodeNotGiven}}; s.State != gateway.StateMerged || !slices.Equal(s.Faults, want) {
			t.Errorf("it is %s, %v", s.State, s.Faults)
		}
		if s, err := taker.Registration(stands.ID); err != nil || s.Signal == nil || s.Signal.Rev != 1 {
			t.Errorf("what stood is revised (%v)", err)
		}
	})
	t.Run("rejects/to_another", func(t *testing.T) {
		gives(t, giver, mine.ID, 2, dayIn(w, 2))
		offered(t, h.Of(2), 1)
		offered(t, taker, 0)
	})
	t.Run("rejects/taken_back", func(t *testing.T) {
		third := offered(t, h.Of(2), 1)[0]
		gives(t, giver, mine.ID, 2, encoding.Date{})
		offered(t, h.Of(2), 0)
		_, err := h.Of(2).Signal(child(1), takes(third, "citroen", "C-1"))
		wantFault(t, err, gateway.Fault{Field: gateway.FieldTakesOver, Code: gateway.CodeUnknown})
	})
	t.Run("rejects/expired", func(t *testing.T) {
		gives(t, giver, mine.ID, 1, dayIn(w, 0))
		offer := offered(t, taker, 1)[0]
		w.Advance(24 * time.Hour)
		offered(t, taker, 0)
		_, err := taker.Signal(child(1), takes(offer, "bakker", "B-1"))
		wantFault(t, err, gateway.Fault{Field: gateway.FieldTakesOver, Code: gateway.CodeUnknown})
		if err := taker.Sweep(); err != nil || taker.OfferRows() != 0 {
			t.Errorf("what has lapsed is kept (%v)", err)
		}
	})
	t.Run("rejects/of_a_signal_that_has_ended", func(t *testing.T) {
		if _, err := giver.Withdraw(mine.ID, api.ReasonEnded); err != nil {
			t.Fatal(err)
		}
		settled(t, giver, mine.ID)
		if _, err := admin(giver).Give(mine.ID, gatewaytest.Party(1), dayIn(w, 1)); !errors.Is(err, gateway.ErrNotLive) {
			t.Error(err)
		}
	})
}

// A registry that says that somebody has taken over what was not given to him is not believed:
// for us the signal stands, and somebody is told.
func TestAHandoverThatWeDidNotGive(t *testing.T) {
	w := gatewaytest.New(t, 3)
	h := w.Run(0, 1)
	a, b := h.Of(0), h.Of(1)
	mine := signal(t, a, child(1), terms("jansen", "A-1"))
	gives(t, a, mine.ID, 2, dayIn(w, 2))
	w.Registry.Rewrite(onEvents(t, func(e *api.Events) {
		e.Items[0].Kind, e.Items[0].Own = api.EventHandover, api.EventOwn{SID: mine.SID}
	}))
	signal(t, b, child(1), terms("bakker", "B-1"))
	if m := inbox(t, a, 1)[0]; m.Problem != gateway.CodeNotGiven || m.Problem.Words() == "" {
		t.Errorf("the problem is %q", m.Problem)
	}
	if s, err := a.Registration(mine.ID); err != nil || !s.State.Stands() || s.Signal == nil {
		t.Errorf("it is %s (%v)", s.State, err)
	}
}

// What is given while the registry is away: the last word goes, and it goes last.
func TestTheLastThatIsGivenCounts(t *testing.T) {
	w := gatewaytest.New(t, 3)
	h := w.Run(0, 1, 2)
	giver := h.Of(0)
	mine := signal(t, giver, child(1), terms("jansen", "A-1"))
	w.Registry.Set(gatewaytest.Away)
	for i := range 4 {
		if _, err := admin(giver).Give(mine.ID, gatewaytest.Party(1+i%2), dayIn(w, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := giver.Registration(mine.ID); err != nil || s.Signal.Given.To().To != gatewaytest.Party(2) {
		t.Errorf("it is given to %s (%v)", s.Signal.Given.To().To, err)
	}
	w.Registry.Set(gatewaytest.Works)
	offered(t, h.Of(2), 1)
	eventually(t, "the queue", func() bool { jobs, err := giver.Jobs(); return err == nil && len(jobs) == 0 })
	offered(t, h.Of(1), 0)
}

// What is said twice is one act; what is said, taken back and said again within a second are
// three, and the last counts.
func TestTheSameIsGivenOnce(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h := w.Run(0, 1)
	giver, taker := h.Of(0), h.Of(1)
	mine := signal(t, giver, child(1), terms("jansen", "A-1"))
	gives(t, giver, mine.ID, 1, dayIn(w, 1))
	gives(t, giver, mine.ID, 1, dayIn(w, 1))
	offered(t, taker, 1)
	gives(t, giver, mine.ID, 1, encoding.Date{})
	offered(t, taker, 0)
	gives(t, giver, mine.ID, 1, dayIn(w, 1))
	offered(t, taker, 1)
	if n := len(inbox(t, taker, 3)); n != 3 {
		t.Errorf("the taker was told %d times", n)
	}
}

// The receipt for what was given is lost, the signal gets a new card, and it is taken over: it
// was given all the same.
func TestAHandoverWhoseReceiptIsLost(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h := w.Run(0, 1)
	giver, taker := h.Of(0), h.Of(1)
	mine := signal(t, giver, child(1), terms("jansen", "A-1"))
	w.Registry.Rewrite(func(path string, body []byte) []byte {
		if path == "/v1/acts" {
			return []byte("{}")
		}
		return body
	})
	if _, err := admin(giver).Give(mine.ID, gatewaytest.Party(1), dayIn(w, 1)); err != nil {
		t.Fatal(err)
	}
	offer := offered(t, taker, 1)[0]
	signal(t, taker, child(1), takes(offer, "bakker", "B-1"))
	endsAs(t, giver, mine.ID, gateway.StateHandedOver)
	w.Registry.Rewrite(nil)
	eventually(t, "the queue", func() bool { jobs, err := giver.Jobs(); return err == nil && len(jobs) == 0 })
	if broken, err := gateway.Broken(giver); err != nil || len(broken) > 0 {
		t.Errorf("%q (%v)", broken, err)
	}

	second := signal(t, giver, child(2), terms("jansen", "A-2"))
	gives(t, giver, second.ID, 1, dayIn(w, 1))
	if _, err := giver.Renew(second.ID, gateway.Subject{}, gateway.Terms{}); err != nil {
		t.Fatal(err)
	}
	settled(t, giver, second.ID)
	signal(t, taker, child(2), takes(offered(t, taker, 1)[0], "bakker", "B-2"))
	endsAs(t, giver, second.ID, gateway.StateHandedOver)
	if owners, err := admin(giver).Owners(second.ID); err != nil || len(owners) != 0 {
		t.Errorf("%d own what was handed over (%v)", len(owners), err)
	}
}

// An idempotency key is of one request, and of what that takes over.
func TestTheKeyOfATakeover(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h := w.Run(0, 1)
	mine := signal(t, h.Of(0), child(1), terms("jansen", "A-1"))
	gives(t, h.Of(0), mine.ID, 1, dayIn(w, 1))
	tm := takes(offered(t, h.Of(1), 1)[0], "bakker", "B-1")
	plain := terms("bakker", "B-1")
	tm.Key, plain.Key = "sleutel-1", "sleutel-1"
	signal(t, h.Of(1), child(1), tm)
	if _, err := h.Of(1).Signal(child(1), plain); !errors.Is(err, gateway.ErrReplay) {
		t.Errorf("the key of another request: %v", err)
	}
}

// A takeover that waits for a month is signed anew, and still is one.
func TestATakeoverThatWaited(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h := w.Run(0, 1)
	mine := signal(t, h.Of(0), child(1), terms("jansen", "A-1"))
	gives(t, h.Of(0), mine.ID, 1, dayIn(w, 60))
	offer := offered(t, h.Of(1), 1)[0]
	w.Registry.Set(gatewaytest.Away)
	s, err := h.Of(1).Signal(child(1), takes(offer, "bakker", "B-1"))
	if err != nil {
		t.Fatal(err)
	}
	waitsFor(t, h.Of(1), s.ID, gateway.WaitRegistry)
	w.Advance(31 * 24 * time.Hour)
	w.Registry.Set(gatewaytest.Works)
	endsAs(t, h.Of(0), mine.ID, gateway.StateHandedOver)
}

// Where the other has left since it took over, there is nothing to tell: and our own signal
// was not what it took.
func TestATakeoverOfWhoLeft(t *testing.T) {
	w := gatewaytest.New(t, 3)
	h, signals := meet(t, w, 2)
	gives(t, h.Of(0), signals[0].ID, 2, dayIn(w, 2))
	w.Registry.Rewrite(onEvents(t, func(e *api.Events) {
		for i := range e.Items {
			if e.Items[i].Kind == api.EventCard {
				e.Items[i].Kind, e.Items[i].Other.Card = api.EventHandover, nil
			}
		}
	}))
	if _, err := h.Of(1).Renew(signals[1].ID, gateway.Subject{}, gateway.Terms{}); err != nil {
		t.Fatal(err)
	}
	settled(t, h.Of(1), signals[1].ID)
	answers(t, h.Of(1), match(t, h.Of(1), func(gateway.MatchStatus) bool { return true }), 0, api.AnswerWillCall)
	match(t, h.Of(0), func(m gateway.MatchStatus) bool { return other(m, 1).Theirs.Word != "" })
	if got, want := toldOf(t, h.Of(0)), []api.EventKind{api.EventJoined, api.EventAnswer}; !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
}

// What was given before a restore and is given again rests while its receipt is not to be had.
// What is said meanwhile is the last word.
func TestWhatIsGivenAgainIsNotTheLastWord(t *testing.T) {
	w := gatewaytest.New(t, 3)
	h := w.Run(0, 1, 2)
	giver := h.Of(0)
	mine := signal(t, giver, child(1), terms("jansen", "A-1"))
	w.Backup("backup")
	w.Advance(2 * time.Hour)
	gives(t, giver, mine.ID, 1, dayIn(w, 9))
	offered(t, h.Of(1), 1)
	loseFirstAct(w)
	w.Restore("backup")
	eventually(t, "an act that rests", func() bool {
		jobs, err := giver.Jobs()
		return err == nil && len(jobs) == 1 && jobs[0].Kind == gateway.JobHandover && jobs[0].Prepared != nil && giver.Alone(jobs[0].ID)
	})
	gives(t, giver, mine.ID, 2, dayIn(w, 9))
	w.Registry.Rewrite(nil)
	eventually(t, "the queue", func() bool { jobs, err := giver.Jobs(); return err == nil && len(jobs) == 0 })
	signal(t, h.Of(2), child(1), takes(offered(t, h.Of(2), 1)[0], "citroen", "C-1"))
	endsAs(t, giver, mine.ID, gateway.StateHandedOver)
}

// A registry that was restored from before it was given is told again.
func TestWhatIsGivenIsGivenAgain(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h := w.Run(0, 1)
	giver, taker := h.Of(0), h.Of(1)
	mine := signal(t, giver, child(1), terms("jansen", "A-1"))
	w.Backup("backup")
	w.Advance(2 * time.Hour)
	gives(t, giver, mine.ID, 1, dayIn(w, 9))
	offer := offered(t, taker, 1)[0]
	w.Restore("backup")
	caughtUp(t, w, giver)
	signal(t, taker, child(1), takes(offer, "bakker", "B-1"))
	endsAs(t, giver, mine.ID, gateway.StateHandedOver)
}

// The answer to a renewal, or to a colleague who signals the same child, comes when the signal
// has been taken over already: then nothing of it comes back.
func TestATakeoverThatOvertakesAnAnswer(t *testing.T) {
	for name, ask := range map[string]func(t *testing.T, p *gateway.Party, mine gateway.ID) gateway.ID{
		"renewal": func(t *testing.T, p *gateway.Party, mine gateway.ID) gateway.ID {
			if _, err := p.Renew(mine, gateway.Subject{}, gateway.Terms{}); err != nil {
				t.Fatal(err)
			}
			return mine
		},
		"colleague": func(t *testing.T, p *gateway.Party, mine gateway.ID) gateway.ID {
			s, err := p.Signal(child(1), terms("pieters", "A-2"))
			if err != nil {
				t.Fatal(err)
			}
			return s.ID
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := gatewaytest.New(t, 2)
			h := w.Run(0, 1)
			giver, taker := h.Of(0), h.Of(1)
			mine := signal(t, giver, child(1), terms("jansen", "A-1"))
			gives(t, giver, mine.ID, 1, dayIn(w, 1))
			offer := offered(t, taker, 1)[0]
			reached, goOn := make(chan bool, 1), make(chan bool)
			var asked atomic.Bool
			w.Registry.OnAnswer(func(r *http.Request) {
				if r.URL.Path == "/v1/signals" && asked.CompareAndSwap(false, true) {
					reached <- true
					<-goOn
				}
			})
			of := ask(t, giver, mine.ID)
			<-reached
			signal(t, taker, child(1), takes(offer, "bakker", "B-1"))
			endsAs(t, giver, mine.ID, gateway.StateHandedOver)
			close(goOn)
			eventually(t, "the queue", func() bool { jobs, err := giver.Jobs(); return err == nil && len(jobs) == 0 })
			if broken, err := gateway.Broken(giver); err != nil || len(broken) > 0 {
				t.Errorf("%q (%v)", broken, err)
			}
			if s, err := giver.Registration(of); err != nil || s.State.Stands() && s.SID == mine.SID {
				t.Errorf("it is %s, by the signal that was taken over (%v)", s.State, err)
			}
			if n := giver.SignalRow(mine.SID); n {
				t.Error("a row of the signal is left")
			}
		})
	}
}

// What may have been said is given, also when something else is said after it, of which the
// registry has not heard.
func TestATakeoverOfWhatWasGivenBefore(t *testing.T) {
	w := gatewaytest.New(t, 3)
	h := w.Run(0, 1, 2)
	giver, taker := h.Of(0), h.Of(1)
	mine := signal(t, giver, child(1), terms("jansen", "A-1"))
	w.Registry.Rewrite(func(path string, body []byte) []byte {
		if path == "/v1/acts" {
			return []byte("{}")
		}
		return body
	})
	if _, err := admin(giver).Give(mine.ID, gatewaytest.Party(1), dayIn(w, 1)); err != nil {
		t.Fatal(err)
	}
	offer := offered(t, taker, 1)[0]
	for range 2 {
		if _, err := admin(giver).Give(mine.ID, gatewaytest.Party(2), dayIn(w, 1)); err != nil {
			t.Fatal(err)
		}
		if _, err := admin(giver).Give(mine.ID, "", encoding.Date{}); err != nil {
			t.Fatal(err)
		}
	}
	signal(t, taker, child(1), takes(offer, "bakker", "B-1"))
	if m := inbox(t, giver, 1)[0]; m.Problem != "" {
		t.Errorf("the problem is %q", m.Problem)
	}
	if s, err := giver.Registration(mine.ID); err != nil || s.State != gateway.StateHandedOver {
		t.Errorf("it is %s (%v)", s.State, err)
	}
	w.Registry.Rewrite(nil)
	eventually(t, "the queue", func() bool { jobs, err := giver.Jobs(); return err == nil && len(jobs) == 0 })
}

// Who was told of an offer is not told again when the registry has been restored.
func TestAnOfferIsToldOnce(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h := w.Run(0, 1)
	giver, taker := h.Of(0), h.Of(1)
	mine := signal(t, giver, child(1), terms("jansen", "A-1"))
	w.Backup("backup")
	w.Advance(2 * time.Hour)
	gives(t, giver, mine.ID, 1, dayIn(w, 9))
	offered(t, taker, 1)
	w.Restore("backup")
	caughtUp(t, w, giver)
	gives(t, giver, mine.ID, 1, dayIn(w, 8))
	eventually(t, "the later day", func() bool { return offered(t, taker, 1)[0].Until == dayIn(w, 8) })
	if n := len(inbox(t, taker, 2)); n != 2 {
		t.Errorf("the taker was told %d times", n)
	}
}

// A signal that the journal takes out of a backup, as it was to end earlier, comes back with
// what was given of it.
func TestWhatIsGivenComesBackWithItsSignal(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h := w.Run(0, 1)
	giver, taker := h.Of(0), h.Of(1)
	mine := signal(t, giver, child(1), terms("jansen", "A-1"))
	gives(t, giver, mine.ID, 1, dayIn(w, 9))
	offer := offered(t, taker, 1)[0]
	w.Advance(30 * time.Hour)
	w.Backup("backup")
	w.Advance(2 * time.Hour)
	if _, err := giver.Renew(mine.ID, gateway.Subject{}, gateway.Terms{TermDays: 60}); err != nil {
		t.Fatal(err)
	}
	if s := settled(t, giver, mine.ID); s.Signal.Rev != 2 {
		t.Fatal("it was not renewed")
	}
	w.Restore("backup")
	caughtUp(t, w, giver)
	if s := signal(t, taker, child(1), takes(offer, "bakker", "B-1")); !s.State.Stands() {
		t.Fatalf("the taker's is %s: %v", s.State, s.Faults)
	}
	endsAs(t, giver, mine.ID, gateway.StateHandedOver)
}
