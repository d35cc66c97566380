// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
)

// A sweep finds that a repeat is kept no longer; before it is gone the repeat goes to a
// colleague. He has nothing then, and not something that is not there.
func TestASweepMeetsATransfer(t *testing.T) {
	w := gatewaytest.New(t, 1)
	h := w.RunOn(vfs.NewMem(), 0)
	a := bootstrap(t, w, h, 0)
	p := a.Party
	hire(t, a, "jansen", "bakker")
	first := signal(t, p, child(1), terms("jansen", "A-1"))
	repeat := signal(t, p, child(1), terms("jansen", "A-1"))
	if repeat.Into != first.ID {
		t.Fatal("it is no repeat")
	}
	if _, err := p.Withdraw(first.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	settled(t, p, first.ID)
	w.Advance(31 * 24 * time.Hour)
	if err := p.SweepAround(func() {}); err != nil { // takes the first
		t.Fatal(err)
	}
	err := p.SweepAround(func() {
		if s, _ := transfer(t, a, "jansen", "bakker", newCard); s.From != "jansen" {
			t.Error("there is no transfer")
		}
		if s, err := p.Registration(repeat.ID); err != nil || s.Owner != "bakker" {
			t.Errorf("the repeat is of %q (%v)", s.Owner, err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Registration(repeat.ID); !errors.Is(err, gateway.ErrNotFound) {
		t.Errorf("the repeat: %v", err)
	}
	for _, person := range []string{"jansen", "bakker"} {
		if list, _, err := reaching(p, gateway.ReachOwn, person).Registrations(gateway.ID{}, 10, ""); err != nil || len(list) > 0 {
			t.Errorf("%s has %d registrations: %v", person, len(list), err)
		}
	}
	if err := p.DeleteUser(a, "bakker"); err != nil {
		t.Errorf("who has nothing: %v", err)
	}
}

// Who gets the id of somebody who left has nothing of his: not what ended, not his keys.
func TestAnIDThatIsUsedAgain(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h := w.RunOn(vfs.NewMem(), 0)
	b := w.Run(1).Of(1)
	all := bootstrap(t, w, h, 0)
	p := all.Party
	hire(t, all, "jansen", "bakker")
	_, secret, err := p.MakeKey(all, gateway.APIKey{
		Name: "x", Roles: []gateway.Role{gateway.MayRegister, gateway.MayReadMatches}, Reach: gateway.ReachOwn, Person: "jansen",
		Ends: encoding.DateOf(w.Now().AddDate(1, 0, 0)),
	})
	if err != nil {
		t.Fatal(err)
	}
	own, err := h.Authenticate(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	made, err := own.Signal(child(1), terms("jansen", "A-1"))
	if err != nil {
		t.Fatal(err)
	}
	settled(t, p, made.ID)
	signal(t, b, child(1), terms("smit", "B-1"))
	inbox(t, p, 1)
	report, err := own.Report([]gateway.Person{{Reference: "zonder nummer"}}, terms("jansen", "M-1"))
	if err != nil {
		t.Fatal(err)
	}
	file, _, err := own.Import(terms("jansen", "I-1"), 5, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := own.MakeTransfer("jansen", "jansen", newCard); err != nil {
		t.Fatal(err)
	}
	transferDone(t, all, "jansen")

	// has tells what somebody of this name has.
	has := func(person string) (n [6]int) {
		t.Helper()
		a := reaching(p, gateway.ReachOwn, person)
		a.Roles = []gateway.Role{gateway.MayRegister, gateway.MayReadMatches}
		registrations, _, err1 := a.Registrations(gateway.ID{}, 10, "")
		reports, _, err2 := a.Reports(gateway.ID{}, 10, gateway.ReportFilter{})
		imports, _, err3 := a.Imports(gateway.ID{}, 10)
		messages, err4 := p.Within(a, 0, 10)
		matches, _, err5 := a.Matches(gateway.ID{}, 10, gateway.MatchFilter{})
		_, err6 := a.TransferOf(person)
		if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
			t.Fatal(err)
		}
		n = [6]int{len(registrations), len(reports), len(imports), len(messages), len(matches), 1}
		if errors.Is(err6, gateway.ErrNotFound) {
			n[5] = 0
		} else if err6 != nil {
			t.Fatal(err6)
		}
		return n
	}
	if err := p.DeleteUser(all, "jansen"); !errors.Is(err, gateway.ErrUserOwns) {
		t.Errorf("with a signal that stands: %v", err)
	}
	if _, err := p.Withdraw(made.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	settled(t, p, made.ID)
	if n := has("jansen"); n != [6]int{1, 1, 1, 1, 1, 1} {
		t.Fatalf("jansen has %d", n)
	}
	if err := p.DeleteUser(all, "jansen"); err != nil {
		t.Fatal(err)
	}
	if s, err := all.TransferOf("jansen"); err != nil || s.To != "jansen" {
		t.Errorf("his transfer, to who administers: %v", err)
	}
	hire(t, all, "jansen")
	if n := has("jansen"); n != [6]int{} {
		t.Errorf("another jansen has %d", n)
	}
	if _, err := h.Authenticate(t.Context(), secret); !errors.Is(err, gateway.ErrAccess) {
		t.Errorf("the key of the first: %v", err)
	}
	other := reaching(p, gateway.ReachOwn, "jansen")
	if again, made, err := other.Import(terms("jansen", "I-1"), 7, false); err != nil || !made || again.Round != 1 {
		t.Errorf("an import of the same name: made %t, round %d (%v)", made, again.Round, err)
	}
	if s, made, err := other.MakeTransfer("jansen", "jansen", newCard); err != nil || !made || s.Total != 0 {
		t.Errorf("the same transfer: made %t of %d (%v)", made, s.Total, err)
	}
	// Who sees everything sees it still, without a name.
	s, err1 := all.Registration(made.ID)
	r, err2 := all.ReportByID(report.ID)
	i, err3 := all.ImportByID(file.ID)
	if err := errors.Join(err1, err2, err3); err != nil || s.Owner+r.Owner+i.Owner != "" {
		t.Errorf("%q %q %q: %v", s.Owner, r.Owner, i.Owner, err)
	}
	w.Advance(31 * 24 * time.Hour)
	if err := p.Sweep(); err != nil {
		t.Fatal(err)
	}
	if _, err := all.Registration(made.ID); !errors.Is(err, gateway.ErrNotFound) {
		t.Errorf("it is kept for ever: %v", err)
	}
}

// What a row of an import made is found in the log by its signal, like what came alone.
func TestTheLogKnowsRowsOfImports(t *testing.T) {
	w := gatewaytest.New(t, 1)
	h := w.RunOn(vfs.NewMem(), 0)
	a := bootstrap(t, w, h, 0)
	file, _, err := a.Import(terms("jansen", "I-1"), 3, false)
	if err != nil {
		t.Fatal(err)
	}
	rows := append(rowsOf(1, 2), gateway.Row{Person: gateway.Person{Reference: "zonder nummer"}})
	for range 2 { // the same again is no other act
		list, err := a.AddRows(file.ID, 1, rows)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range list[:2] {
			log, _, err := a.Log(gateway.LogQuery{Signal: row.Registration.String()}, gateway.ID{}, 10)
			if err != nil {
				t.Fatal(err)
			}
			var found int
			for _, r := range log {
				if r.Record.Event == string(gateway.LogSignalMade) && r.Record.ObjectID == row.Registration.String() && r.Record.User == gateway.WhoBootstrap {
					found++
				}
			}
			if found != 1 {
				t.Errorf("row %d is found %d times", row.Number, found)
			}
		}
	}
}

// Mail that waits for somebody who left is not for who gets his id.
func TestMailOfAnIDThatIsUsedAgain(t *testing.T) {
	x := newMailed(t)
	x.meet(t, "jansen")
	list, _, err := x.a.Registrations(gateway.ID{}, 1, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.a.Withdraw(list[0].ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	settled(t, x.a, list[0].ID)
	waiting := func() bool {
		t.Helper()
		targets, _, err := x.a.Targets(gateway.ID{}, 100)
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(targets, func(target gateway.Target) bool { return target.Recipient() == "jansen" })
	}
	if !waiting() {
		t.Fatal("nothing waits")
	}
	if err := x.a.DeleteUser(admin(x.a), "jansen"); err != nil {
		t.Fatal(err)
	}
	if waiting() {
		t.Error("it waits still")
	}
}
