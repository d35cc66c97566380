// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
)

// bootstrap is the access of party i's own key: all roles, and everything within reach.
func bootstrap(t *testing.T, w *gatewaytest.World, h *gatewaytest.House, i int) *gateway.Access {
	t.Helper()
	token, err := gateway.ReadToken(filepath.Join(w.KeysOf(i), gateway.FileToken), nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := h.Authenticate(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func hire(t *testing.T, a *gateway.Access, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if err := a.Party.MakeUser(a, gateway.User{ID: id, Name: id, Active: true}); err != nil {
			t.Fatal(err)
		}
	}
}

func transfer(t *testing.T, a *gateway.Access, from, to string, card gateway.Card) (gateway.TransferStatus, bool) {
	t.Helper()
	s, made, err := a.MakeTransfer(from, to, card)
	if err != nil {
		t.Fatal(err)
	}
	return s, made
}

func transferDone(t *testing.T, a *gateway.Access, from string) gateway.TransferStatus {
	t.Helper()
	var s gateway.TransferStatus
	eventually(t, "the transfer", func() bool {
		var err error
		if s, err = a.TransferOf(from); err != nil {
			t.Fatal(err)
		}
		return s.Busy == 0
	})
	return s
}

var newCard = gateway.Card{Name: "B. Bakker", Phone: "+31 20 555 01 77"}

// A colleague leaves while the registry is away, and the gateway stops: everything that
// he owns is the other's, and each signal gets the new card, once.
func TestTransferSurvivesARestart(t *testing.T) {
	w := gatewaytest.New(t, 2)
	fs := vfs.NewMem()
	h := w.RunOn(fs, 0)
	b := w.Run(1).Of(1)
	a := bootstrap(t, w, h, 0)
	hire(t, a, "jansen", "bakker", "citroen")
	p := a.Party
	var ids []gateway.ID
	var before []gateway.Status
	for i := range 5 {
		s := signal(t, p, child(i), gateway.Terms{Owner: "jansen", Reference: fmt.Sprintf("A-%d", i), TermDays: 60})
		ids, before = append(ids, s.ID), append(before, s)
	}
	signal(t, p, child(0), terms("citroen", "C-0")) // whose signal it is too
	signal(t, p, child(1), terms("bakker", "A-1"))  // who has it already, under the same reference
	other := signal(t, p, child(9), terms("citroen", "C-9"))
	gone := signal(t, p, child(5), terms("jansen", "A-5"))
	if _, err := p.Withdraw(gone.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	settled(t, p, gone.ID)
	report, err := p.Report([]gateway.Person{{Subject: gateway.Subject{}}}, terms("jansen", "M-1"))
	if err != nil {
		t.Fatal(err)
	}
	signal(t, b, child(0), terms("anders", "B-0"))
	inbox(t, b, 1)

	w.Registry.Set(gatewaytest.Away)
	w.Advance(90 * 24 * time.Hour / 3) // a renewal of a term would end later than what stands
	s, made := transfer(t, a, "jansen", "bakker", newCard)
	if !made || s.Total != 5 || s.Busy != 5 {
		t.Errorf("at the beginning: %+v", s)
	}
	for _, id := range ids {
		if s, err := p.Registration(id); err != nil || s.Owner != "bakker" {
			t.Errorf("owned by %s (%v)", s.Owner, err)
		}
	}
	h.Stop()
	h = w.RunOn(fs, 0)
	a = bootstrap(t, w, h, 0)
	p = a.Party
	if again, made := transfer(t, a, "jansen", "bakker", newCard); made || again.ID != s.ID || again.Total != 5 || again.Busy != 5 {
		t.Errorf("the same again, under way: %+v", again)
	}
	w.Registry.Set(gatewaytest.Works)
	if s := transferDone(t, a, "jansen"); s.Done != 5 || len(s.Waiting) > 0 || s.Ended > 0 {
		t.Errorf("at the end: %+v", s)
	}
	check := func() {
		t.Helper()
		for i, id := range ids {
			s := settled(t, p, id)
			if i == 1 {
				if s.Into.IsZero() || s.Signal.Rev != 2 || s.Signal.Card != newCard || s.Owners != 1 {
					t.Errorf("what the colleague had already: into %s, rev %d, %d owners", s.Into, s.Signal.Rev, s.Owners)
				}
				continue
			}
			if s.Owner != "bakker" || s.Signal.Card != newCard || s.Signal.Rev != 2 || s.Signal.Expires != before[i].Signal.Expires {
				t.Errorf("signal %d: of %s, rev %d, expires %s (was %s)", i, s.Owner, s.Signal.Rev, s.Signal.Expires, before[i].Signal.Expires)
			}
		}
		if s := settled(t, p, other.ID); s.Owner != "citroen" || s.Signal.Rev != 1 {
			t.Errorf("somebody else's: of %s, rev %d", s.Owner, s.Signal.Rev)
		}
		cards := 0
		for _, m := range inbox(t, b, 2) {
			if m.Kind == api.EventCard && m.Other.Card == newCard {
				cards++
			}
		}
		if cards != 1 {
			t.Errorf("the other party was told of the card %d times", cards)
		}
	}
	check()
	if again, made := transfer(t, a, "jansen", "bakker", newCard); made || again.ID != s.ID || again.Done != 5 {
		t.Errorf("the same again, done: %+v", again)
	}
	if jobs, err := p.Jobs(); err != nil || len(jobs) > 0 {
		t.Errorf("%d jobs of what was done (%v)", len(jobs), err)
	}
	check()
	if r, err := p.ReportByID(report.ID); err != nil || r.Owner != "bakker" {
		t.Errorf("the report is of %s (%v)", r.Owner, err)
	}
	if s, err := p.Registration(gone.ID); err != nil || s.Owner != "jansen" {
		t.Errorf("what has ended is of %s (%v)", s.Owner, err)
	}
	if err := p.DeleteUser(a, "jansen"); err != nil {
		t.Errorf("who has nothing left: %v", err)
	}
}

// A new epoch asks for the number: that is told, and whoever brings the number brings the
// card with it.
func TestATransferThatNeedsTheNumberIsTold(t *testing.T) {
	w := gatewaytest.New(t, 1)
	h := w.Run(0)
	a := bootstrap(t, w, h, 0)
	hire(t, a, "jansen", "bakker")
	p := a.Party
	one := signal(t, p, child(1), terms("jansen", "A-1"))
	w.OpenEpoch(2)
	w.Publish()
	if err := p.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	transfer(t, a, "jansen", "bakker", newCard)
	s := transferDone(t, a, "jansen")
	if s.Done != 0 || len(s.Waiting) != 1 || s.Waiting[0].ID != one.ID || s.Waiting[0].Faults[0].Code != gateway.CodeNumberNeeded {
		t.Fatalf("%+v", s)
	}
	if err := p.Sweep(); err != nil { // which does not try again what a number has to come for
		t.Fatal(err)
	}
	if again := transferDone(t, a, "jansen"); len(again.Waiting) != 1 {
		t.Errorf("after a sweep: %+v", again)
	}
	if again, made := transfer(t, a, "jansen", "bakker", newCard); made || again.Busy != 1 || len(again.Waiting) != 0 {
		t.Errorf("the same again, which tries it: %+v", again)
	}
	transferDone(t, a, "jansen")
	if _, err := p.Renew(one.ID, child(1), gateway.Terms{}); err != nil {
		t.Fatal(err)
	}
	if s := settled(t, p, one.ID); s.Signal.Card != newCard || len(s.Signal.Faces) != 2 {
		t.Errorf("after the number came: %v, %d faces", s.Signal.Card == newCard, len(s.Signal.Faces))
	}
	if s := transferDone(t, a, "jansen"); s.Done != 1 || len(s.Waiting) != 0 {
		t.Errorf("%+v", s)
	}
}

// Whatever is under way about a signal, the card comes after it.
func TestTheCardOfATransferComesAfterWhatIsUnderWay(t *testing.T) {
	w := gatewaytest.New(t, 1)
	h := w.Run(0)
	a := bootstrap(t, w, h, 0)
	hire(t, a, "jansen", "bakker", "citroen")
	p := a.Party
	renewing := signal(t, p, child(1), terms("jansen", "A-1"))
	colleagues := signal(t, p, child(2), terms("jansen", "A-2"))
	citroen := signal(t, p, child(2), terms("citroen", "C-2"))
	twice := signal(t, p, child(3), terms("jansen", "A-3"))
	again := signal(t, p, child(3), terms("jansen", "A-3b"))
	w.Registry.Set(gatewaytest.Away)
	old := gateway.Card{Name: "J. Jansen", Phone: "1"}
	for _, id := range []gateway.ID{renewing.ID, citroen.ID} {
		if _, err := p.Renew(id, gateway.Subject{}, gateway.Terms{Card: old}); err != nil {
			t.Fatal(err)
		}
	}
	sent, err := p.Signal(child(4), terms("jansen", "A-4"))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a prepared signal", func() bool {
		jobs, err := p.Jobs()
		return err == nil && slices.ContainsFunc(jobs, func(j gateway.Job) bool { return j.ID == sent.ID && j.Prepared != nil })
	})
	for i := range w.Faults {
		w.Faults[i].Set(gatewaytest.Away)
	}
	waiting, err := p.Signal(child(5), terms("jansen", "A-5"))
	if err != nil {
		t.Fatal(err)
	}
	waitsFor(t, p, waiting.ID, gateway.WaitEvaluators)
	if s, _ := transfer(t, a, "jansen", "bakker", newCard); s.Total != 6 || s.Busy != 6 {
		t.Errorf("%+v", s)
	}
	jobs, err := p.Jobs()
	if err != nil {
		t.Fatal(err)
	}
	renewals := map[api.SID]int{}
	for _, j := range jobs {
		if renewals[j.SID]++; !j.SID.IsZero() && renewals[j.SID] > 1 {
			t.Error("a signal that is being renewed is to be renewed by another job too")
		}
	}
	for i := range w.Faults {
		w.Faults[i].Set(gatewaytest.Works)
	}
	w.Registry.Set(gatewaytest.Works)
	if s := transferDone(t, a, "jansen"); s.Done != 6 {
		t.Errorf("%+v", s)
	}
	for i, id := range []gateway.ID{renewing.ID, colleagues.ID, twice.ID, again.ID, sent.ID, waiting.ID} {
		if s := settled(t, p, id); s.Signal == nil || s.Signal.Card != newCard {
			t.Errorf("signal %d has another card", i)
		}
	}
	for name, c := range map[string]struct {
		id  gateway.ID
		rev uint64
	}{"owned_twice": {twice.ID, 2}, "on_its_way_with_the_old_card": {sent.ID, 2}} {
		if s := settled(t, p, c.id); uint64(s.Signal.Rev) != c.rev {
			t.Errorf("%s: rev %d, want %d", name, s.Signal.Rev, c.rev)
		}
	}
}

// A card of one's own, for all of one's signals.
func TestOwnCardForAllSignals(t *testing.T) {
	w := gatewaytest.New(t, 1)
	h := w.Run(0)
	a := bootstrap(t, w, h, 0)
	hire(t, a, "jansen", "bakker")
	own := *a
	own.Roles, own.Reach, own.Person = []gateway.Role{gateway.MayRegister}, gateway.ReachOwn, "jansen"
	p := a.Party
	one, two := signal(t, p, child(1), terms("jansen", "A-1")), signal(t, p, child(2), terms("jansen", "A-2"))
	theirs := signal(t, p, child(3), terms("bakker", "B-3"))
	for name, who := range map[string][2]string{"rejects/of_a_colleague": {"bakker", "bakker"}, "rejects/to_a_colleague": {"jansen", "bakker"}} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := own.MakeTransfer(who[0], who[1], newCard); !errors.Is(err, gateway.ErrNotFound) {
				t.Errorf("%v", err)
			}
		})
	}
	if s, made := transfer(t, &own, "jansen", "jansen", newCard); !made || s.Total != 2 {
		t.Errorf("%+v", s)
	}
	transferDone(t, &own, "jansen")
	for _, id := range []gateway.ID{one.ID, two.ID} {
		if s := settled(t, p, id); s.Signal.Card != newCard || s.Owner != "jansen" {
			t.Errorf("of %s", s.Owner)
		}
	}
	if s := settled(t, p, theirs.ID); s.Signal.Card == newCard {
		t.Error("a colleague's signal got the card")
	}
	t.Run("rejects/to_who_is_no_user", func(t *testing.T) {
		if _, _, err := a.MakeTransfer("jansen", "niemand", newCard); err == nil {
			t.Error("it is taken")
		}
	})
	t.Run("rejects/of_who_is_unknown", func(t *testing.T) {
		if _, _, err := a.MakeTransfer("niemand", "bakker", newCard); !errors.Is(err, gateway.ErrNotFound) {
			t.Errorf("%v", err)
		}
	})
	transfer(t, a, "bakker", "bakker", newCard)
	transferDone(t, a, "bakker")
	if _, err := own.TransferOf("bakker"); !errors.Is(err, gateway.ErrNotFound) {
		t.Errorf("reading a colleague's: %v", err)
	}
}

// Single acts do not wait for the cards of a transfer.
func TestActsGoBeforeTheCardsOfATransfer(t *testing.T) {
	w := gatewaytest.New(t, 1)
	h := w.OpenOn(vfs.NewMem(), 0)
	t.Cleanup(func() { h.Close() })
	cards := gateway.Job{ID: gateway.ID{1}, Kind: gateway.JobRenew, SID: api.SID{1}, Bulk: true}
	act := gateway.Job{ID: gateway.ID{2}, Kind: gateway.JobWithdraw, SID: api.SID{2}}
	for range 20 { // a lane is taken from at random
		if first := h.Of(0).FirstAct(cards, act); first != act.ID {
			t.Fatal("a card goes first")
		}
	}
}

func TestOwnersComeAndGo(t *testing.T) {
	w := gatewaytest.New(t, 1)
	h := w.Run(0)
	a := bootstrap(t, w, h, 0)
	hire(t, a, "jansen", "bakker", "citroen")
	own := *a
	own.Roles, own.Reach, own.Person = []gateway.Role{gateway.MayRegister}, gateway.ReachOwn, "jansen"
	p := a.Party
	one := signal(t, p, child(1), terms("jansen", "A-1"))
	names := func(list []gateway.Ownership) (names []string) {
		for _, o := range list {
			names = append(names, o.Owner)
			if (o.Owner == own.Person) != (o.Reference != "") {
				t.Errorf("the file number of %s is %q", o.Owner, o.Reference)
			}
		}
		slices.Sort(names)
		return names
	}
	for range 2 { // the second time it changes nothing
		list, err := own.AddOwner(one.ID, "bakker", "B-1")
		if err != nil || !slices.Equal(names(list), []string{"bakker", "jansen"}) {
			t.Fatalf("%v %v", names(list), err)
		}
	}
	list, err := own.HandOver(one.ID, "citroen", newCard)
	if err != nil || len(list) != 2 {
		t.Fatalf("%v %v", list, err)
	}
	if _, err := own.Owners(one.ID); !errors.Is(err, gateway.ErrNotFound) {
		t.Errorf("who handed over still sees it: %v", err)
	}
	if s := settled(t, p, one.ID); s.Owner != "citroen" || s.Signal.Card != newCard || s.Owners != 2 {
		t.Errorf("of %s with %d owners", s.Owner, s.Owners)
	}
	own.Person = "bakker"
	owners, _, err := own.Registrations(gateway.ID{}, 10, "")
	if err != nil || len(owners) != 1 {
		t.Fatalf("%d %v", len(owners), err)
	}
	if _, err := own.Withdraw(owners[0].ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	if s := settled(t, p, one.ID); !s.State.Stands() || s.Owners != 1 {
		t.Errorf("with one owner left it is %s", s.State)
	}
	if _, err := own.AddOwner(one.ID, "jansen", ""); !errors.Is(err, gateway.ErrNotFound) {
		t.Errorf("who is no owner any more adds one: %v", err)
	}
	own.Person = "citroen"
	for name, colleague := range map[string]string{"rejects/who_is_no_user": "niemand", "rejects/what_is_no_name": "een naam"} {
		t.Run(name, func(t *testing.T) {
			if _, err := own.HandOver(one.ID, colleague, gateway.Card{}); err == nil {
				t.Error("it is taken")
			}
		})
	}
	if _, err := own.Withdraw(one.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	if s := settled(t, p, one.ID); s.State != gateway.StateWithdrawn {
		t.Errorf("without owners it is %s", s.State)
	}
	if _, err := own.AddOwner(one.ID, "jansen", ""); !errors.Is(err, gateway.ErrNotLive) {
		t.Errorf("an owner of what has ended: %v", err)
	}
}

// What must not be taken from who adds an owner, hands over or transfers, and what the
// log of access says of what is.
func TestOwnersAreCheckedAndLogged(t *testing.T) {
	w := gatewaytest.New(t, 1)
	h := w.Run(0)
	a := bootstrap(t, w, h, 0)
	hire(t, a, "jansen", "bakker", "citroen")
	p := a.Party
	if err := p.MakeUser(a, gateway.User{ID: "dekker", Name: "dekker"}); err != nil { // not active
		t.Fatal(err)
	}
	one := signal(t, p, child(1), terms("jansen", "A-1"))
	two := signal(t, p, child(2), terms("jansen", "A-2"))
	citroens, err := p.Report([]gateway.Person{{Subject: gateway.Subject{}}}, terms("citroen", "M-1"))
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 1000)
	bad := gateway.Card{Name: long, Phone: "1"}
	for name, do := range map[string]func() error{
		"reference":          func() error { _, err := a.AddOwner(one.ID, "bakker", long); return err },
		"no_name":            func() error { _, err := a.AddOwner(one.ID, "een naam", "B-1"); return err },
		"inactive":           func() error { _, err := a.AddOwner(one.ID, "dekker", "B-1"); return err },
		"card":               func() error { _, err := a.HandOver(one.ID, "bakker", bad); return err },
		"card_of_a_transfer": func() error { _, _, err := a.MakeTransfer("jansen", "bakker", bad); return err },
		"from_no_name":       func() error { _, _, err := a.MakeTransfer("een naam", "bakker", newCard); return err },
	} {
		t.Run("rejects/"+name, func(t *testing.T) {
			if input := (*gateway.InputError)(nil); !errors.As(do(), &input) {
				t.Errorf("%v", do())
			}
		})
	}
	if _, err := a.AddOwner(one.ID, "citroen", "C-1"); err != nil {
		t.Fatal(err)
	}
	for _, reference := range []string{"", "B-1", bsn(1)} {
		if _, err := a.AddOwner(one.ID, "bakker", reference); err != nil {
			t.Fatal(err)
		}
	}
	list, _, err := as(a, "bakker").Registrations(gateway.ID{}, 10, "")
	if err != nil || len(list) != 3 {
		t.Fatalf("%d registrations (%v)", len(list), err)
	}
	got := map[string]int{} // warnings by reference
	for _, s := range list {
		got[s.Reference] = len(s.Warnings)
	}
	if want := map[string]int{"A-1": 0, "B-1": 0, bsn(1): 1}; !maps.Equal(got, want) {
		t.Errorf("references and their warnings are %v", got)
	}
	if _, err := a.HandOver(one.ID, "citroen", newCard); err != nil {
		t.Fatal(err)
	}
	if s := settled(t, p, one.ID); !s.Into.IsZero() {
		t.Error("it became a repeat of what has another reference")
	}
	if s, err := p.Registration(two.ID); err != nil || s.Owner != "jansen" {
		t.Errorf("what was not handed over is of %s (%v)", s.Owner, err)
	}
	if list, _, err := as(a, "citroen").Registrations(gateway.ID{}, 10, ""); err != nil || len(list) != 2 {
		t.Errorf("to whom it was handed over lists %d (%v)", len(list), err)
	}
	transfer(t, a, "jansen", "bakker", newCard)
	transferDone(t, a, "jansen")
	if r, err := p.ReportByID(citroens.ID); err != nil || r.Owner != "citroen" {
		t.Errorf("a third's report is of %s (%v)", r.Owner, err)
	}
	rows, _, err := a.Log(gateway.LogQuery{}, gateway.ID{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	logged := map[string]int{}
	for _, row := range rows {
		logged[row.Record.Event]++
	}
	for event, n := range map[gateway.LogEvent]int{
		gateway.LogOwnerAdded: 4, gateway.LogOwnerReplaced: 2, gateway.LogCardChanged: 2, gateway.LogTransfer: 1,
	} {
		if logged[string(event)] != n {
			t.Errorf("%s is logged %d times, want %d", event, logged[string(event)], n)
		}
	}
	w.Advance(3 * 365 * 24 * time.Hour)
	if _, err := a.AddOwner(two.ID, "citroen", "C-2"); !errors.Is(err, gateway.ErrNotLive) {
		t.Errorf("an owner of what has expired: %v", err)
	}
}

// A transfer to another, or with another card, is another; a year later none is kept.
func TestTransfersAreKeptAYear(t *testing.T) {
	w := gatewaytest.New(t, 1)
	h := w.Run(0)
	a := bootstrap(t, w, h, 0)
	hire(t, a, "jansen", "bakker", "citroen")
	signal(t, a.Party, child(1), terms("jansen", "A-1"))
	other := newCard
	other.Phone = "+31 20 555 01 78"
	for i, c := range []struct {
		to   string
		card gateway.Card
		made bool
	}{{"bakker", newCard, true}, {"bakker", newCard, false}, {"bakker", other, true}, {"citroen", other, true}} {
		if _, made := transfer(t, a, "jansen", c.to, c.card); made != c.made {
			t.Errorf("transfer %d: made is %v", i, made)
		}
		transferDone(t, a, "jansen")
	}
	w.Advance(364 * 24 * time.Hour)
	if err := a.Party.Sweep(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.TransferOf("jansen"); err != nil {
		t.Errorf("before a year is over: %v", err)
	}
	w.Advance(2 * 24 * time.Hour)
	if err := a.Party.Sweep(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.TransferOf("jansen"); !errors.Is(err, gateway.ErrNotFound) {
		t.Errorf("after a year: %v", err)
	}
	if n := gateway.TransferItemRows(h.Gateway); n != 0 {
		t.Errorf("%d rows of its registrations are left", n)
	}
}

// as is the access of somebody who may register and read matches, his own.
func as(a *gateway.Access, person string) *gateway.Access {
	own := *a
	own.Roles, own.Reach, own.Person = []gateway.Role{gateway.MayRegister, gateway.MayReadMatches}, gateway.ReachOwn, person
	return &own
}

// A repeat goes with the registration that it repeats.
func TestWhoHandsOverKeepsNoRepeat(t *testing.T) {
	w := gatewaytest.New(t, 1)
	h := w.Run(0)
	a := bootstrap(t, w, h, 0)
	hire(t, a, "jansen", "bakker", "citroen")
	p := a.Party
	one := signal(t, p, child(1), terms("jansen", "A-1"))
	repeat := signal(t, p, child(1), terms("jansen", "A-1"))
	if repeat.Into != one.ID {
		t.Fatalf("it repeats %s", repeat.Into)
	}
	theirs := signal(t, p, child(1), terms("bakker", "A-1"))
	if _, err := as(a, "jansen").HandOver(one.ID, "bakker", gateway.Card{}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []gateway.ID{one.ID, repeat.ID} {
		if s, err := as(a, "jansen").Registration(id); !errors.Is(err, gateway.ErrNotFound) {
			t.Errorf("who handed over reads a signal of %s (%v)", s.Owner, err)
		}
		if s, err := as(a, "bakker").Registration(id); err != nil || s.Signal == nil {
			t.Errorf("who has it now reads %+v (%v)", s, err)
		}
	}
	if list, _, err := as(a, "jansen").Registrations(gateway.ID{}, 10, ""); err != nil || len(list) != 0 {
		t.Errorf("who handed over lists %d (%v)", len(list), err)
	}
	if _, err := p.Withdraw(theirs.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	for _, id := range []gateway.ID{one.ID, repeat.ID} { // both repeat bakker's own by now
		if s := settled(t, p, id); s.State != gateway.StateWithdrawn {
			t.Errorf("what repeats what has ended is %s", s.State)
		}
	}
}

// What a colleague has given on since is not fetched back by the same transfer again.
func TestATransferFetchesNothingBack(t *testing.T) {
	w := gatewaytest.New(t, 1)
	h := w.Run(0)
	a := bootstrap(t, w, h, 0)
	hire(t, a, "jansen", "bakker", "citroen")
	p := a.Party
	one := signal(t, p, child(1), terms("jansen", "A-1"))
	w.Registry.Set(gatewaytest.Away) // the card is still to come
	transfer(t, a, "jansen", "bakker", newCard)
	if _, err := as(a, "bakker").HandOver(one.ID, "citroen", gateway.Card{}); err != nil {
		t.Fatal(err)
	}
	transfer(t, a, "jansen", "bakker", newCard)
	if s, err := p.Registration(one.ID); err != nil || s.Owner != "citroen" {
		t.Errorf("it is of %s (%v)", s.Owner, err)
	}
	w.Registry.Set(gatewaytest.Works)
	settled(t, p, one.ID)
}

// The card of who leaves goes from every signal, also from one that the colleague owned
// already; that of a colleague who stays is left where it stands.
func TestATransferTakesTheLeaversCardOnly(t *testing.T) {
	w := gatewaytest.New(t, 1)
	h := w.Run(0)
	a := bootstrap(t, w, h, 0)
	hire(t, a, "jansen", "bakker", "citroen")
	p := a.Party
	with := func(owner, reference, name string) gateway.Terms {
		return gateway.Terms{Owner: owner, Reference: reference, Card: gateway.Card{Name: name, Phone: "1"}}
	}
	leavers := signal(t, p, child(1), with("jansen", "A-1", "J. Jansen"))
	signal(t, p, child(1), with("bakker", "A-1", "B. Bakker")) // joins that
	stays := signal(t, p, child(2), with("citroen", "C-2", "C. Citroen"))
	joined := signal(t, p, child(2), with("jansen", "A-2", "J. Jansen"))
	renewed := signal(t, p, child(3), with("jansen", "A-3", "J. Jansen"))
	other := signal(t, p, child(3), with("citroen", "C-3", "C. Citroen"))
	if _, err := p.Renew(other.ID, gateway.Subject{}, gateway.Terms{Card: gateway.Card{Name: "C. Citroen", Phone: "2"}}); err != nil {
		t.Fatal(err)
	}
	settled(t, p, other.ID)
	theirs := signal(t, p, child(4), with("citroen", "C-4", "C. Citroen"))
	signal(t, p, child(4), with("bakker", "A-4", "B. Bakker")) // joins that, as the leaver does
	signal(t, p, child(4), with("jansen", "A-4", "J. Jansen"))
	left := signal(t, p, child(5), with("citroen", "C-5", "C. Citroen"))
	orphan := signal(t, p, child(5), with("jansen", "A-5", "J. Jansen"))
	if _, err := p.Withdraw(left.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	transfer(t, a, "jansen", "bakker", newCard)
	transferDone(t, a, "jansen")
	for name, c := range map[string]struct {
		id   gateway.ID
		card string
	}{
		"that both joined": {theirs.ID, "C. Citroen"}, "whose bringer is gone": {orphan.ID, newCard.Name},
		"that the colleague has already": {leavers.ID, newCard.Name}, "that he joined": {joined.ID, "C. Citroen"},
		"of who stays": {stays.ID, "C. Citroen"}, "that who stays has renewed": {renewed.ID, "C. Citroen"},
	} {
		if s := settled(t, p, c.id); s.Signal == nil || s.Signal.Card.Name != c.card {
			t.Errorf("a signal %s has the card of %s", name, s.Signal.Card.Name)
		}
	}
	rows, _, err := a.Log(gateway.LogQuery{Signal: leavers.ID.String()}, gateway.ID{}, 50)
	if err != nil || !slices.ContainsFunc(rows, func(r gateway.LogRow) bool { return r.Record.Event == string(gateway.LogCardChanged) }) {
		t.Errorf("the log of the signal does not tell that its card changes (%v)", err)
	}
}

// Who is no user of the gateway may own signals: they can be given to one, and a key that reaches
// everything can have them shown another card.
func TestATransferOfWhoIsNoUser(t *testing.T) {
	w := gatewaytest.New(t, 1)
	h := w.Run(0)
	a := bootstrap(t, w, h, 0)
	hire(t, a, "bakker")
	p := a.Party
	one, two := signal(t, p, child(1), terms("elders", "A-1")), signal(t, p, child(2), terms("los", "A-2"))
	for n := range 2 {
		if _, made := transfer(t, a, "elders", "bakker", newCard); made != (n == 0) {
			t.Errorf("time %d: made %t", n+1, made)
		}
		transferDone(t, a, "elders")
	}
	key := *a
	key.Roles, key.Person = []gateway.Role{gateway.MayRegister}, ""
	transfer(t, &key, "los", "los", newCard)
	transferDone(t, a, "los")
	for _, id := range []gateway.ID{one.ID, two.ID} {
		if s := settled(t, p, id); s.Signal.Card != newCard {
			t.Errorf("the signal of %s has another card", s.Owner)
		}
	}
}

// A signal on its way turns out to be one that the colleague has under that reference: it keeps
// the card that it has there.
func TestWhatTurnsOutToBeARepeatBringsNoCard(t *testing.T) {
	w := gatewaytest.New(t, 1)
	h := w.Run(0)
	a := bootstrap(t, w, h, 0)
	hire(t, a, "jansen", "bakker")
	p := a.Party
	theirs := signal(t, p, child(1), terms("bakker", "A-1"))
	w.Registry.Set(gatewaytest.Away)
	sent, err := p.Signal(child(1), terms("jansen", "A-1"))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a prepared signal", func() bool {
		jobs, err := p.Jobs()
		return err == nil && len(jobs) == 1 && jobs[0].Prepared != nil
	})
	transfer(t, a, "jansen", "bakker", newCard)
	w.Registry.Set(gatewaytest.Works)
	if s := settled(t, p, sent.ID); s.Into != theirs.ID {
		t.Fatalf("it repeats %s: nothing is tried", s.Into)
	}
	if s := transferDone(t, a, "jansen"); s.Done != 1 {
		t.Errorf("%+v", s)
	}
	if s := settled(t, p, theirs.ID); s.Signal.Rev != 1 || s.Signal.Card == newCard {
		t.Errorf("rev %d", s.Signal.Rev)
	}
}

// Whose renewal is under way repeats nothing yet: its outcome is still to be told.
func TestARenewalUnderWayIsHandedOver(t *testing.T) {
	w := gatewaytest.New(t, 1)
	h := w.Run(0)
	a := bootstrap(t, w, h, 0)
	hire(t, a, "jansen", "bakker")
	p := a.Party
	one := signal(t, p, child(1), terms("jansen", "A-1"))
	signal(t, p, child(1), terms("bakker", "A-1"))
	w.Registry.Set(gatewaytest.Away)
	if _, err := p.Renew(one.ID, gateway.Subject{}, gateway.Terms{}); err != nil {
		t.Fatal(err)
	}
	if _, err := as(a, "jansen").HandOver(one.ID, "bakker", gateway.Card{}); err != nil {
		t.Fatal(err)
	}
	if s, err := p.Registration(one.ID); err != nil || !s.Into.IsZero() || s.Owner != "bakker" {
		t.Errorf("of %s, it repeats %s (%v)", s.Owner, s.Into, err)
	}
	w.Registry.Set(gatewaytest.Works)
	settled(t, p, one.ID)
}

// What somebody has withdrawn gets no card any more, though a renewal of it is under way and the
// signal goes on, as a colleague's.
func TestWhatIsWithdrawnGetsNoCard(t *testing.T) {
	w := gatewaytest.New(t, 1)
	h := w.Run(0)
	a := bootstrap(t, w, h, 0)
	hire(t, a, "jansen", "bakker", "citroen")
	p := a.Party
	one := signal(t, p, child(1), terms("jansen", "A-1"))
	theirs := signal(t, p, child(1), terms("citroen", "C-1"))
	w.Registry.Set(gatewaytest.Away)
	if _, err := p.Renew(one.ID, gateway.Subject{}, gateway.Terms{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a prepared renewal", func() bool {
		jobs, err := p.Jobs()
		return err == nil && len(jobs) == 1 && jobs[0].Prepared != nil
	})
	transfer(t, a, "jansen", "bakker", newCard)
	if _, err := p.Withdraw(one.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	w.Registry.Set(gatewaytest.Works)
	eventually(t, "all jobs", func() bool { jobs, err := p.Jobs(); return err == nil && len(jobs) == 0 })
	if s := settled(t, p, theirs.ID); s.Signal.Rev != 2 || s.Signal.Card == newCard {
		t.Errorf("rev %d", s.Signal.Rev)
	}
}

// What ended while its card was to come is told as such, before and after it is swept, and gets
// nothing when the transfer is made again. Nor does what has a newer card by then.
func TestATransferOfWhatEndsMeanwhile(t *testing.T) {
	w := gatewaytest.New(t, 1)
	h := w.Run(0)
	a := bootstrap(t, w, h, 0)
	hire(t, a, "jansen", "bakker")
	p := a.Party
	newer := signal(t, p, child(3), terms("jansen", "A-3"))
	transfer(t, a, "jansen", "bakker", newCard)
	transferDone(t, a, "jansen")
	own := gateway.Card{Name: "B. Bakker", Phone: "2"}
	if _, err := p.Renew(newer.ID, gateway.Subject{}, gateway.Terms{Card: own}); err != nil {
		t.Fatal(err)
	}
	settled(t, p, newer.ID)
	withdrawn := signal(t, p, child(1), terms("jansen", "A-1"))
	short := terms("jansen", "A-2")
	short.TermDays = 28
	signal(t, p, child(2), short)
	w.OpenEpoch(2) // so a renewal needs the number
	w.Publish()
	if err := p.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	transfer(t, a, "jansen", "bakker", newCard)
	if s := transferDone(t, a, "jansen"); len(s.Waiting) != 2 || s.Done != 1 {
		t.Fatalf("at the beginning: %+v", s)
	}
	if s := settled(t, p, newer.ID); s.Signal.Card != own {
		t.Error("made again, it takes a newer card away")
	}
	if _, err := p.Withdraw(withdrawn.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	settled(t, p, withdrawn.ID)
	changed := func() (n int) {
		rows, _, err := a.Log(gateway.LogQuery{Signal: withdrawn.ID.String()}, gateway.ID{}, 50)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if r.Record.Event == string(gateway.LogCardChanged) {
				n++
			}
		}
		return n
	}
	before := changed()
	transfer(t, a, "jansen", "bakker", newCard)
	if got := changed(); got != before {
		t.Errorf("what has ended gets a card: %d in the log, %d before", got, before)
	}
	w.Advance(28 * 24 * time.Hour)
	ended := func(when string) {
		t.Helper()
		if s := transferDone(t, a, "jansen"); s.Ended != 2 || s.Total != 3 || len(s.Waiting) != 0 {
			t.Errorf("%s: %+v", when, s)
		}
	}
	ended("before the sweep")
	for range 2 {
		if err := p.Sweep(); err != nil {
			t.Fatal(err)
		}
		w.Advance(31 * 24 * time.Hour)
	}
	if _, err := p.Registration(withdrawn.ID); !errors.Is(err, gateway.ErrNotFound) {
		t.Fatalf("it is kept: %v", err)
	}
	ended("when it is no longer kept")
}
