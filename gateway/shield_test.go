// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
)

// shown waits until the other in a match has a card of a name.
func shown(t *testing.T, p *gateway.Party, name string) {
	t.Helper()
	match(t, p, func(m gateway.MatchStatus) bool { return m.Present() == 1 && m.Others[0].Card.Name == name })
}

// As long as somebody who owns a signal is shielded, others see the card of the party, whoever
// else owns it and whatever card is asked for.
func TestAShieldedSignal(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h := w.Run(0, 1)
	a, b := h.Of(0), h.Of(1)
	makeUsers(t, a)
	signal(t, b, child(1), terms("bakker", "B-1"))
	own := terms("jansen", "A-1")
	own.Card = gateway.Card{Name: "J. Jansen", Phone: "+31 30 5550101"}
	first := signal(t, a, child(1), own)
	shown(t, b, "J. Jansen")

	hidden := terms("visser", "A-2")
	hidden.Shielded, hidden.Card = true, own.Card
	_, err := a.Signal(child(1), hidden)
	if e, ok := errors.AsType[*gateway.InputError](err); !ok || !slices.Equal(e.Faults, []gateway.Fault{{Field: gateway.FieldCard, Code: gateway.CodeShielded}}) {
		t.Errorf("shielded with a card of one's own: %v", err)
	}
	hidden.Card = gateway.Card{}
	second := signal(t, a, child(1), hidden)
	if second.State != gateway.StateMerged || !second.Shielded {
		t.Errorf("it is %s", second.State)
	}
	desk := settled(t, a, first.ID).Signal.Card
	if desk.Name == "J. Jansen" || desk.IsZero() {
		t.Fatalf("the desk's card is %q's", desk.Name)
	}
	shown(t, b, desk.Name)

	// Neither a renewal nor the cards of a transfer bring it back.
	if _, err := a.Renew(first.ID, gateway.Subject{}, gateway.Terms{Card: own.Card}); err != nil {
		t.Fatal(err)
	}
	if s := settled(t, a, first.ID); s.Signal.Card != desk || s.Signal.Rev != 3 {
		t.Errorf("renewed, revision %d has the card of %q", s.Signal.Rev, s.Signal.Card.Name)
	}
	if _, err := admin(a).HandOver(first.ID, "visser", own.Card); err != nil {
		t.Fatal(err)
	}
	if s := settled(t, a, first.ID); s.Signal.Card != desk || s.Signal.Rev != 3 || !s.Card.IsZero() {
		t.Errorf("handed to a colleague, revision %d has the card of %q", s.Signal.Rev, s.Signal.Card.Name)
	}

	// When nobody is shielded any more, a card can be asked for.
	if _, err := a.Withdraw(second.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Renew(first.ID, gateway.Subject{}, gateway.Terms{Card: own.Card}); err != nil {
		t.Fatal(err)
	}
	settled(t, a, first.ID)
	shown(t, b, "J. Jansen")
}

// Where another card is all that is needed, the signal stands no longer than was asked for.
func TestToShieldIsNoRenewal(t *testing.T) {
	w := gatewaytest.New(t, 1)
	a := w.Run(0).Of(0)
	short := terms("jansen", "A-1")
	short.TermDays, short.Card = 60, gateway.Card{Name: "J. Jansen", Phone: "+31 30 5550101"}
	first := signal(t, a, child(1), short)
	hidden := terms("visser", "A-2")
	hidden.Shielded = true
	signal(t, a, child(1), hidden)
	if s := settled(t, a, first.ID).Signal; s.Rev != 2 || s.Expires != first.Signal.Expires {
		t.Errorf("revision %d expires on %v, and the one before it on %v", s.Rev, s.Expires, first.Signal.Expires)
	}
}

// Who signals a child once more under the same reference, and shielded now, is.
func TestWhoRepeatsIsShielded(t *testing.T) {
	w := gatewaytest.New(t, 1)
	a := w.Run(0).Of(0)
	own := terms("jansen", "A-1")
	own.Card = gateway.Card{Name: "J. Jansen", Phone: "+31 30 5550101"}
	first := signal(t, a, child(1), own)
	hidden := terms("jansen", "A-1")
	hidden.Shielded = true
	second := signal(t, a, child(1), hidden)
	if second.Into != first.ID {
		t.Fatal("it is no repeat")
	}
	eventually(t, "the desk's card", func() bool {
		s, err := a.Registration(first.ID)
		return err == nil && s.Signal != nil && s.Signal.Card != own.Card && s.Shielded
	})
}

// A signal that was lost is shielded again, whoever of its owners makes it anew.
func TestAShieldedSignalMadeAnewByAColleague(t *testing.T) {
	w := gatewaytest.New(t, 1)
	a := w.Run(0).Of(0)
	own := terms("jansen", "A-1")
	own.Card = gateway.Card{Name: "J. Jansen", Phone: "+31 30 5550101"}
	first := signal(t, a, child(1), own)
	hidden := terms("visser", "A-2")
	hidden.Shielded = true
	second := signal(t, a, child(1), hidden)
	settled(t, a, second.ID)
	w.OpenEpoch(2)
	w.Publish()
	refresh(t, a)
	steal(t, w)
	refresh(t, a)
	becomes(t, a, first.ID, gateway.StateLost)
	if _, err := a.Renew(first.ID, child(1), gateway.Terms{Card: own.Card}); err != nil {
		t.Fatal(err)
	}
	settled(t, a, first.ID)
	if s := settled(t, a, second.ID); s.Signal == nil || s.Signal.Card == own.Card {
		t.Errorf("made anew it is %s, with a colleague's card", s.State)
	}
	unbroken(t, a)
}

// Nor does a card that a colleague gets with what is not sent yet.
func TestAShieldedSignalThatWaits(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h := w.Run(0, 1)
	a, b := h.Of(0), h.Of(1)
	makeUsers(t, a)
	signal(t, b, child(1), terms("bakker", "B-1"))
	for i := range w.Faults {
		w.Faults[i].Set(gatewaytest.Away)
	}
	hidden := terms("jansen", "A-1")
	hidden.Shielded = true
	s, err := a.Signal(child(1), hidden)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := admin(a).MakeTransfer("jansen", "visser", gateway.Card{Name: "V. Visser", Phone: "+31 30 5550102"}); err != nil {
		t.Fatal(err)
	}
	for i := range w.Faults {
		w.Faults[i].Set(gatewaytest.Works)
	}
	if s = settled(t, a, s.ID); !s.Shielded || s.Signal.Rev != 1 {
		t.Errorf("it is shielded %t, revision %d", s.Shielded, s.Signal.Rev)
	}
	if m := inbox(t, b, 1)[0]; m.Kind != api.EventJoined || m.Other.Card != s.Signal.Card || m.Other.Card.Name == "V. Visser" {
		t.Errorf("%s with the card of %q", m.Kind, m.Other.Card.Name)
	}
}
