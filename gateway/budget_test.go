// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
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
