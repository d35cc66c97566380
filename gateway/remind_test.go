// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"slices"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
)

// reminded sweeps, and counts the messages of a kind.
func reminded(t *testing.T, p *gateway.Party, kind api.EventKind) (list []gateway.Message) {
	t.Helper()
	if err := p.Sweep(); err != nil {
		t.Fatal(err)
	}
	all, err := p.Messages(0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if m.Kind == kind {
			list = append(list, m)
		}
	}
	return list
}

// The owners of a signal are told a month and a week before it expires, each once; not of one
// that was made for no longer; and of a renewed one anew.
func TestASignalExpiresSoon(t *testing.T) {
	w := gatewaytest.New(t, 1)
	a := w.Run(0).Of(0)
	long := signal(t, a, child(1), terms("jansen", "A-1"))
	short := terms("jansen", "A-2")
	short.TermDays = 20
	signal(t, a, child(2), short)
	expires := long.Signal.Expires
	on := func(days, hour int) { // so many days before it expires
		day := expires.AddDate(0, 0, -days)
		w.Advance(time.Date(day.Year, day.Month, day.Day, hour, 0, 0, 0, time.UTC).Sub(w.Now()))
	}
	for _, step := range []struct{ days, told int }{{40, 0}, {31, 0}, {30, 1}, {29, 1}, {8, 1}, {7, 2}, {6, 2}, {1, 2}} {
		on(step.days, 3)
		told := reminded(t, a, api.EventExpiring)
		if len(told) != step.told {
			t.Fatalf("%d days before, it was told %d times", step.days, len(told))
		}
		for _, m := range told {
			if m.SID != long.SID || m.Until != expires || len(m.Owners) != 1 || m.Owners[0].Reference != "A-1" || !m.Match.IsZero() || m.Problem != "" {
				t.Errorf("told %+v", m)
			}
		}
	}
	if words := reminded(t, a, api.EventExpiring)[0].Words(); words != "Dit signaal verloopt op 1 maart 2028. Verleng het als er nog zorgen zijn; dat is één handeling." {
		t.Error(words)
	}
	if _, err := a.Renew(long.ID, gateway.Subject{}, gateway.Terms{Reason: "nogBetrokken"}); err != nil {
		t.Fatal(err)
	}
	s := settled(t, a, long.ID)
	if s.Renewal.Reason != "nogBetrokken" || s.Renewal.At.IsZero() || s.Signal.Expires == expires {
		t.Errorf("renewed it is %+v until %s", s.Renewal, s.Signal.Expires)
	}
	expires = s.Signal.Expires
	if n := len(reminded(t, a, api.EventExpiring)); n != 2 {
		t.Errorf("renewed, it was told %d times", n)
	}
	on(5, 3) // a gateway that was off for long tells the last only
	if told := reminded(t, a, api.EventExpiring); len(told) != 3 || told[2].Until != expires {
		t.Errorf("of the renewed one was told %+v", told)
	}
	if _, err := a.Renew(long.ID, gateway.Subject{}, gateway.Terms{Reason: "zomaar"}); err == nil || err.Error() != "gateway: refused input: reden: onbekend" {
		t.Errorf("a reason that is none: %v", err)
	}
}

// Who joins a match rings until somebody has seen it: each working day from the next on, once.
func TestAMatchRings(t *testing.T) {
	w := gatewaytest.New(t, 3)
	h := w.Run(0, 1, 2)
	a := h.Of(0)
	signal(t, a, child(1), terms("jansen", "A-1"))
	second := signal(t, h.Of(1), child(1), terms("bakker", "B-1"))
	m := match(t, a, func(m gateway.MatchStatus) bool { return m.Present() == 1 })
	at := func(day, hour int) { w.Advance(time.Date(2027, 3, day, hour, 0, 0, 0, time.UTC).Sub(w.Now())) }
	rung := func(want int) []gateway.Message {
		t.Helper()
		list := reminded(t, a, gateway.KindUnseen)
		if len(list) != want {
			t.Errorf("at %s it rang %d times, want %d", w.Now(), len(list), want)
		}
		return list
	}
	rung(0) // Thursday the fourth
	at(5, 7)
	rung(0) // before nine
	at(5, 10)
	if msg := rung(1)[0]; msg.Match != m.Match.Match || msg.Other.Party != gatewaytest.Party(1) || len(msg.Owners) != 1 || !msg.Other.Card.IsZero() ||
		msg.Words() != "Nog niemand heeft gezien dat Organisatie 1 dit kind ook signaleert. Bel elkaar, of geef aan dat het gezien is." {
		t.Errorf("it rang %+v: %s", msg, msg.Words())
	}
	at(5, 15)
	rung(1)
	at(6, 12)
	rung(1) // Saturday
	at(8, 12)
	rung(2)

	// A program that reads has not seen anything; a professional has.
	admin := admin(a)
	if _, err := admin.MatchByID(m.Match.Match); err != nil {
		t.Fatal(err)
	}
	at(9, 12)
	rung(3)
	person := *admin
	person.Person = "jansen"
	if _, err := person.MatchByID(m.Match.Match); err != nil {
		t.Fatal(err)
	}
	if s, err := a.MatchByID(m.Match.Match); err != nil || other(s, 1).Seen.IsZero() || !a.Logged(gateway.LogMatchSeen, m.Match.Match.String()) {
		t.Errorf("what was seen is not kept (%v)", err)
	}
	at(10, 12)
	rung(3)

	// Somebody new rings, and is seen by what was said.
	signal(t, h.Of(2), child(1), terms("citroen", "C-1"))
	match(t, a, func(m gateway.MatchStatus) bool { return m.Present() == 2 })
	at(11, 12)
	if list := rung(4); list[3].Other.Party != gatewaytest.Party(2) {
		t.Errorf("it rang for %s", list[3].Other.Party)
	}
	if _, err := admin.See(m.Match.Match); err != nil {
		t.Fatal(err)
	}
	at(12, 12)
	rung(4)

	// Who left and comes back is new.
	if _, err := h.Of(1).Withdraw(second.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	match(t, a, func(m gateway.MatchStatus) bool { return m.Present() == 1 })
	signal(t, h.Of(1), child(1), terms("bakker", "B-1"))
	back := match(t, a, func(m gateway.MatchStatus) bool { return m.Present() == 2 })
	at(15, 12)
	rung(5)
	answers(t, a, back, 1, api.AnswerWillCall)
	at(16, 12)
	rung(5)
	if !slices.ContainsFunc(toldOf(t, h.Of(2)), func(k api.EventKind) bool { return k == api.EventJoined }) {
		t.Error("nobody else was told")
	}
}

// A registry that tells what only the gateway tells is not believed.
func TestNoRegistryReminds(t *testing.T) {
	for _, kind := range []api.EventKind{api.EventExpiring, gateway.KindUnseen, gateway.KindLost} {
		w := gatewaytest.New(t, 2)
		h := w.Run(0, 1)
		signal(t, h.Of(0), child(1), terms("jansen", "A-1"))
		w.Registry.Rewrite(onEvents(t, func(e *api.Events) { e.Items[0].Kind = kind }))
		signal(t, h.Of(1), child(1), terms("bakker", "B-1"))
		if m := inbox(t, h.Of(0), 1)[0]; m.Problem != gateway.CodeEventKind {
			t.Errorf("%s: the problem is %q", kind, m.Problem)
		}
	}
}
