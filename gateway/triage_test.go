// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
)

func reported(t *testing.T, p *gateway.Party, reference string, persons ...gateway.Person) gateway.ReportStatus {
	t.Helper()
	r, err := p.Report(persons, terms("vt", reference))
	if err != nil {
		t.Fatal(err)
	}
	return waitReport(t, p, r)
}

func someone(reference string, s gateway.Subject) gateway.Person {
	return gateway.Person{Subject: s, Reference: reference}
}

var nobody = gateway.Subject{Kind: "bsn", BirthDate: "2012-05-06"} // without a number

// The clock of a report runs in the working days of the policy's calendar.
func TestTheClockOfAReport(t *testing.T) {
	for _, c := range []struct{ calendar, want string }{
		{"nl", "2027-04-05"}, // Good Friday is 26 March, Easter Monday 29 March
		{"vl", "2027-04-02"},
		{"mars", ""}, // nobody knows its holidays
	} {
		t.Run(c.calendar, func(t *testing.T) {
			w := gatewaytest.New(t, 1)
			w.Manifest.Policy.Calendar = c.calendar
			w.Publish()
			w.Advance(time.Date(2027, 3, 24, 23, 30, 0, 0, time.UTC).Sub(w.Now())) // it is the 25th in Amsterdam
			h := w.OpenOn(vfs.NewMem(), 0)
			defer h.Close()
			a := h.Of(0)
			r, err := a.Report([]gateway.Person{someone("", nobody)}, terms("vt", "M-1"))
			if err != nil {
				t.Fatal(err)
			}
			if c.want == "" {
				if !r.DecideBy.IsZero() || r.Clock != gateway.ClockUnknown {
					t.Errorf("by a calendar that nobody knows: %s", r.DecideBy)
				}
				return
			}
			want := date(t, c.want)
			if r.DecideBy != want || r.Clock != gateway.ClockRuns {
				t.Fatalf("decided by %s, %s; want %s", r.DecideBy, r.Clock, want)
			}
			due := func(by encoding.Date) int {
				t.Helper()
				list, _, err := a.Reports(gateway.ID{}, 10, gateway.ReportFilter{DecideBy: by})
				if err != nil {
					t.Fatal(err)
				}
				return len(list)
			}
			if due(want.AddDate(0, 0, -1)) != 0 || due(want) != 1 || due(want.AddDate(0, 0, 1)) != 1 {
				t.Error("it is not listed by its date")
			}
			for _, step := range []struct {
				on   encoding.Date
				want gateway.Clock
			}{{want.AddDate(0, 0, -1), gateway.ClockRuns}, {want, gateway.ClockToday}, {want.AddDate(0, 0, 1), gateway.ClockOver}} {
				w.Advance(step.on.In(time.UTC).Add(12 * time.Hour).Sub(w.Now()))
				if got, err := a.ReportByID(r.ID); err != nil || got.Clock != step.want || got.DecideBy != want {
					t.Errorf("on %s the clock is %q (%v)", step.on, got.Clock, err)
				}
			}
		})
	}
}

// Whoever has no number comes back every day, until he is sent in with one.
func TestWhoHasNoNumberComesBackUntilHeHasOne(t *testing.T) {
	w := gatewaytest.New(t, 1)
	a := w.Run(0).Of(0)
	first := reported(t, a, "M-1", someone("K-1", nobody), someone("K-2", nobody), someone("", nobody), someone("K-4", child(4)), someone("", child(5)))
	open := func(days int) (ids []gateway.ID, todo []int) {
		t.Helper()
		w.Advance(time.Duration(days) * 24 * time.Hour)
		list, _, err := a.Reports(gateway.ID{}, 10, gateway.ReportFilter{Open: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			ids = append(ids, r.ID)
			for _, d := range r.Todo() {
				if d.Words == "" {
					t.Error("something is to be done, and nobody says what")
				}
				todo = append(todo, d.Person)
			}
		}
		return ids, todo
	}
	wantOpen := func(days int, reports, persons int) {
		t.Helper()
		if ids, todo := open(days); len(ids) != reports || len(todo) != persons {
			t.Errorf("%d reports are open, %v is to be done; want %d and %d", len(ids), todo, reports, persons)
		}
	}
	wantOpen(0, 1, 3)
	wantOpen(1, 1, 3)
	wantOpen(40, 1, 3)

	second := reported(t, a, "M-1", someone("K-1", child(1)))
	if second.Repeats != first.ID {
		t.Error("the repeat is not recognised")
	}
	wantOpen(1, 1, 2)
	if got, err := a.ReportByID(first.ID); err != nil || got.Status[0] == nil || got.Status[0].ID != second.Status[0].ID || got.Persons[0].NotSignalled != "" {
		t.Errorf("the first report does not show the signal that came later (%v)", err)
	}
	// Who could be somebody else answers for nobody: no reference of his own, or no
	// signal, or a reference that is not the person's alone, or another report.
	reported(t, a, "M-1", someone("", child(3)))
	reported(t, a, "M-1", someone("K-2", child(6)), someone("K-2", child(7)))
	reported(t, a, "M-2", someone("K-2", child(8)))
	wantOpen(1, 1, 2)
	reported(t, a, "M-1", someone("K-2", nobody))
	wantOpen(1, 2, 3)
	reported(t, a, "M-1", someone("K-2", child(2))) // for both
	wantOpen(1, 1, 1)

	// The only person of a report is known by it.
	reported(t, a, "M-9", someone("", nobody))
	wantOpen(1, 2, 2)
	reported(t, a, "M-9", gateway.Person{Subject: child(9), Role: gateway.RoleSibling})
	wantOpen(1, 2, 2)
	reported(t, a, "M-9", someone("", child(9)))
	wantOpen(1, 1, 1)
}

func TestWhatIsToBeDone(t *testing.T) {
	w := gatewaytest.New(t, 1)
	h := w.Run(0)
	a := h.Of(0)
	w.Registry.Set(gatewaytest.Away)
	r, err := a.Report([]gateway.Person{
		someone("K-1", child(1)), someone("K-2", nobody), someone("K-3", gateway.Subject{Kind: "bsn", Number: "123456789", BirthDate: "2012-05-06"}),
		someone("K-4", gateway.Subject{Kind: "bsn", Number: bsn(4), BirthDate: "1990-05-06"}),
	}, terms("vt", "M-1"))
	if err != nil {
		t.Fatal(err)
	}
	persons := func(r gateway.ReportStatus) (list []int) {
		for _, d := range r.Todo() {
			list = append(list, d.Person)
		}
		return list
	}
	if got := persons(r); !slices.Equal(got, []int{0, 1, 2}) { // who is 23 is nobody's to do
		t.Errorf("to be done is %v", got)
	}
	w.Registry.Set(gatewaytest.Works)
	if got := persons(waitReport(t, a, r)); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("then to be done is %v", got)
	}
}
