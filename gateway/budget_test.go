// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/manifest"
)

// Evaluators answer a batch wholly or not at all. One that is larger than a day's
// budget is done in parts, every day some.
func TestABatchAboveTheBudgetGoesInParts(t *testing.T) {
	const n = 12
	w := gatewaytest.New(t, 1)
	w.Manifest.Policy.DailyBudget, w.Manifest.Policy.ReportReserve = 5, 0
	w.Publish()
	fs := vfs.NewMem()
	var id gateway.ID
	done := 0
	for day := 0; done < n; day++ {
		h := w.RunOn(fs, 0)
		a := h.Of(0)
		if day == 0 {
			id = begin(t, a, n).ID
			addRows(t, a, id, 1, rowsOf(1, n))
		}
		s := imported(t, a, id, func(s gateway.ImportStatus) bool {
			return complete(s) || s.WaitFor == gateway.WaitBudget && s.Counts.Registered > done
		})
		done = s.Counts.Registered
		h.Stop()
		w.Advance(24 * time.Hour)
	}
}

// An import has spent what it may of a day, and what somebody waits for goes on.
func TestAnImportLeavesTheReserveOfTheDay(t *testing.T) {
	w := gatewaytest.New(t, 1)
	w.Manifest.Policy.DailyBudget, w.Manifest.Policy.ReportReserve = 40, 10
	w.Publish()
	a := w.Run(0).Of(0)
	s := begin(t, a, 100)
	addRows(t, a, s.ID, 1, rowsOf(1, 100))
	s = imported(t, a, s.ID, func(s gateway.ImportStatus) bool { return s.WaitFor == gateway.WaitBudget && s.Counts.Registered == 30 })
	registered(t, a, signal(t, a, child(1000), terms("bakker", "A-1")).ID)
	report, err := a.Report([]gateway.Person{{Subject: child(1001), Reference: "M"}}, terms("bakker", "melding"))
	if err != nil {
		t.Fatal(err)
	}
	registered(t, a, report.Persons[0].Registration)
	if s = imported(t, a, s.ID, func(gateway.ImportStatus) bool { return true }); s.Counts.Registered != 30 {
		t.Errorf("of the import %d are registered", s.Counts.Registered)
	}
}

// waits has the gateway take on a signal, which then waits for a budget.
func waitsForBudget(t *testing.T, a *gateway.Party, n int) {
	t.Helper()
	s, err := a.Signal(child(n), terms("jansen", fmt.Sprint("W-", n)))
	if err != nil {
		t.Fatal(err)
	}
	waitsFor(t, a, s.ID, gateway.WaitBudget)
}

func reportOf(t *testing.T, a *gateway.Party, reference string, children ...int) []gateway.ID {
	t.Helper()
	var persons []gateway.Person
	for _, n := range children {
		persons = append(persons, gateway.Person{Subject: child(n), Reference: fmt.Sprint("M-", n)})
	}
	report, err := a.Report(persons, terms("bakker", reference))
	if err != nil {
		t.Fatal(err)
	}
	var ids []gateway.ID
	for _, p := range report.Persons {
		ids = append(ids, p.Registration)
	}
	return ids
}

// A spent budget never stops a report. When the reserve is spent too, it says so.
func TestASpentBudgetStopsNoReport(t *testing.T) {
	w := gatewaytest.New(t, 1)
	w.Manifest.Policy.DailyBudget, w.Manifest.Policy.MonthlyBudget, w.Manifest.Policy.ReportReserve = 1, 1, 2
	w.Publish()
	a := w.Run(0).Of(0)
	signal(t, a, child(1), terms("jansen", "A-1"))
	waitsForBudget(t, a, 2)
	registered(t, a, reportOf(t, a, "melding-1", 10, 11)...)
	late := reportOf(t, a, "melding-2", 12, 13, 14, 15)
	// Three evaluators of which each has one or two left, and a child needs two.
	waiting := 0
	for _, id := range late {
		if s := waitsUnless(t, a, id, gateway.StateRegistered, gateway.WaitBudget); s.State != gateway.StateRegistered {
			waiting++
			if !strings.Contains(s.Words(), "tegoed op") {
				t.Errorf("it says %q", s.Words())
			}
		}
	}
	if waiting < 2 {
		t.Errorf("of the second report %d wait for the reserve", waiting)
	}
}

// waitsUnless waits until a registration is in a state, or waits for something.
func waitsUnless(t *testing.T, p *gateway.Party, id gateway.ID, state gateway.State, want gateway.WaitFor) gateway.Status {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		s, err := p.Registration(id)
		if err != nil {
			t.Fatal(err)
		}
		if s.State == state || s.Job != nil && s.Job.WaitFor == want {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("it says %q", s.Words())
		}
	}
}

// purposes gathers what evaluators are asked for which purpose.
type purposes struct {
	mu sync.Mutex
	of map[string]map[string]bool // by the purpose, the elements
}

func watchPurposes(w *gatewaytest.World) *purposes {
	p := &purposes{of: map[string]map[string]bool{}}
	for _, f := range w.Faults {
		f.OnAsked(func(r *http.Request) {
			body, err := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			var q api.Evaluate
			if err != nil || json.Unmarshal(body, &q) != nil {
				return
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, e := range q.Elements {
				if p.of[q.Purpose] == nil {
					p.of[q.Purpose] = map[string]bool{}
				}
				p.of[q.Purpose][string(e)] = true
			}
		})
	}
	return p
}

// What is of a report goes to the evaluators with nothing else, and says so; nothing
// else does.
func TestOnlyReportsSayThatTheyAre(t *testing.T) {
	w := gatewaytest.New(t, 1)
	seen := watchPurposes(w)
	fs := vfs.NewMem()
	h := w.OpenOn(fs, 0)
	a := h.Of(0)
	ids := reportOf(t, a, "melding-1", 1, 2, 3)
	for n := 10; n < 15; n++ {
		s, err := a.Signal(child(n), terms("jansen", fmt.Sprint("A-", n)))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, s.ID)
	}
	if err := h.Gateway.Close(); err != nil {
		t.Fatal(err)
	}
	registered(t, w.RunOn(fs, 0).Of(0), ids...) // all of one cohort, at once
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if len(seen.of[api.PurposeReport]) != 3 || len(seen.of[""]) != 5 || len(seen.of) != 2 {
		t.Errorf("%d elements for reports and %d others; %d purposes", len(seen.of[api.PurposeReport]), len(seen.of[""]), len(seen.of))
	}
}

// A restart forgets nothing of what was spent: the evaluators say it.
func TestARestartKeepsTheRestOfTheDay(t *testing.T) {
	w := gatewaytest.New(t, 1)
	w.Manifest.Policy.DailyBudget, w.Manifest.Policy.ReportReserve = 40, 10
	w.Publish()
	fs := vfs.NewMem()
	h := w.RunOn(fs, 0)
	a := h.Of(0)
	s := begin(t, a, 38)
	addRows(t, a, s.ID, 1, rowsOf(1, 38))
	waiting := func(s gateway.ImportStatus) bool { return s.WaitFor == gateway.WaitBudget && s.Counts.Registered == 30 }
	imported(t, a, s.ID, waiting)
	h.Stop()
	h = w.RunOn(fs, 0)
	imported(t, h.Of(0), s.ID, func(s gateway.ImportStatus) bool { return waiting(s) || complete(s) })
	for n := 1000; n < 1008; n++ { // as many as two evaluators kept
		registered(t, h.Of(0), signal(t, h.Of(0), child(n), terms("bakker", fmt.Sprint("A-", n))).ID)
	}
}

// Two evaluators have room for some of a batch, the third had room for all of it and
// has answered it: those some are done, and the others wait.
func TestABatchThatOneAnsweredDoesNotWaitWhole(t *testing.T) {
	w := gatewaytest.New(t, 1)
	w.Manifest.Policy.DailyBudget, w.Manifest.Policy.ReportReserve = 20, 0
	w.Publish()
	fs := vfs.NewMem()
	h := w.RunOn(fs, 0)
	w.Faults[0].Set(gatewaytest.Away)
	for n := range 12 {
		signal(t, h.Of(0), child(n), terms("jansen", fmt.Sprint("A-", n)))
	}
	h.Stop()
	w.Faults[0].Set(gatewaytest.Works)

	h = w.OpenOn(fs, 0)
	var ids []gateway.ID
	for n := 100; n < 120; n++ {
		s, err := h.Of(0).Signal(child(n), terms("jansen", fmt.Sprint("A-", n)))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, s.ID)
	}
	if err := h.Gateway.Close(); err != nil {
		t.Fatal(err)
	}
	h = w.RunOn(fs, 0)
	done := 0
	for _, id := range ids {
		waitsUnless(t, h.Of(0), id, gateway.StateRegistered, gateway.WaitBudget)
	}
	for deadline := time.Now().Add(patience); done != 8; time.Sleep(time.Millisecond) {
		done = 0
		for _, id := range ids {
			if s, err := h.Of(0).Registration(id); err != nil {
				t.Fatal(err)
			} else if s.State == gateway.StateRegistered {
				done++
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of 20 are done, want the 8 for which two evaluators had room", done)
		}
	}
}

// A grant lets an import go on that the budget alone would hold up.
func TestAGrantLetsAnImportGoOn(t *testing.T) {
	w := gatewaytest.New(t, 1)
	w.Manifest.Policy.DailyBudget, w.Manifest.Policy.ReportReserve = 5, 0
	now := w.Now()
	w.Directory.Parties[0].Grants = []manifest.Grant{{From: now, Until: now.AddDate(0, 1, 0), Daily: 100, Monthly: 100, Purpose: "import"}}
	w.Publish()
	a := w.Run(0).Of(0)
	s := begin(t, a, 60)
	addRows(t, a, s.ID, 1, rowsOf(1, 60))
	if s = imported(t, a, s.ID, func(s gateway.ImportStatus) bool { return complete(s) || s.WaitFor == gateway.WaitBudget }); s.Counts.Registered != 60 {
		t.Errorf("%+v, waiting for %s", s.Counts, s.WaitFor)
	}
}

// A spent quota of the registry stops signals, and no withdrawal; the next day the
// queue goes on.
func TestASpentQuotaStopsNoWithdrawal(t *testing.T) {
	w := gatewaytest.New(t, 1)
	w.Manifest.Policy.DailySignals = 2
	w.Publish()
	fs := vfs.NewMem()
	h := w.RunOn(fs, 0)
	a := h.Of(0)
	one := signal(t, a, child(1), terms("jansen", "A-1"))
	signal(t, a, child(2), terms("jansen", "A-2"))
	three, err := a.Signal(child(3), terms("jansen", "A-3"))
	if err != nil {
		t.Fatal(err)
	}
	if s := waitsFor(t, a, three.ID, gateway.WaitBudget); !strings.Contains(s.Words(), "tegoed op") {
		t.Errorf("it says %q", s.Words())
	}
	if _, err := a.Withdraw(one.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	if s := settled(t, a, one.ID); s.State != gateway.StateWithdrawn {
		t.Errorf("the withdrawal is %s", s.State)
	}
	h.Stop()
	w.Advance(24 * time.Hour)
	h = w.RunOn(fs, 0)
	registered(t, h.Of(0), three.ID)
}

// Rows of an import over the quota stay in the queue, and go the next day; the others
// are not held up.
func TestRowsOverTheQuotaGoTheNextDay(t *testing.T) {
	w := gatewaytest.New(t, 1)
	w.Manifest.Policy.DailySignals = 40
	w.Publish()
	fs := vfs.NewMem()
	h := w.RunOn(fs, 0)
	s := begin(t, h.Of(0), 50)
	addRows(t, h.Of(0), s.ID, 1, rowsOf(1, 50))
	s = imported(t, h.Of(0), s.ID, func(s gateway.ImportStatus) bool { return s.WaitFor == gateway.WaitBudget && s.Counts.Registered == 40 })
	if s.Counts.Queued != 10 || s.Counts.Refused != 0 || !s.Next.Equal(time.Date(2027, 3, 5, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v, goes on at %s", s.Counts, s.Next)
	}
	h.Stop()
	w.Advance(24 * time.Hour)
	h = w.RunOn(fs, 0)
	if s = imported(t, h.Of(0), s.ID, complete); s.Counts.Registered != 50 {
		t.Errorf("%+v", s.Counts)
	}
}
