// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"slices"
	"testing"

	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/manifest"
)

func about(t *testing.T, p *gateway.Party) gateway.About {
	t.Helper()
	a, err := p.About(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// What is left is what evaluators and registry say, for this party.
func TestAboutTellsWhatIsLeft(t *testing.T) {
	w := gatewaytest.New(t, 2)
	now := w.Now()
	w.Manifest.Policy.DailyBudget, w.Manifest.Policy.ReportReserve, w.Manifest.Policy.DailySignals = 50, 5, 70
	w.Directory.Parties[0].Grants = []manifest.Grant{
		{From: now.AddDate(0, 0, -9), Until: now.AddDate(0, 0, -2), Daily: 1, Monthly: 1, Purpose: "over"},
		{From: now.AddDate(0, 0, -1), Until: now.AddDate(0, 0, 5), Daily: 30, Monthly: 60, Purpose: "nu"},
		{From: now.AddDate(0, 0, 7), Until: now.AddDate(0, 0, 9), Daily: 1, Monthly: 1, Purpose: "straks"},
	}
	w.Publish()
	w.Faults[2].Set(gatewaytest.Away)
	h := w.Run(0, 1)
	for n := range 3 {
		signal(t, h.Of(0), child(n), terms("jansen", "A-1"))
	}
	signal(t, h.Of(1), child(9), terms("jansen", "A-1"))
	a := about(t, h.Of(0))
	if len(a.Evaluators) != 3 || a.Evaluators[2].Known {
		t.Fatalf("evaluators %+v", a.Evaluators)
	}
	for _, e := range a.Evaluators[:2] {
		if !e.Known || e.Left != 77 || e.Day.Limit != 80 || e.Day.Spent != 3 || e.Reserve.Limit != 5 || e.Reserve.Spent != 0 {
			t.Errorf("evaluator %d: %+v", e.Index, e)
		}
	}
	if a.Quota == nil || a.Quota.Signals.Limit != 100 || a.Quota.Signals.Spent != 3 {
		t.Errorf("quota %+v", a.Quota)
	}
	var purposes []string
	for _, g := range a.Grants {
		purposes = append(purposes, g.Purpose)
	}
	if !slices.Equal(purposes, []string{"nu", "straks"}) {
		t.Errorf("grants %v", purposes)
	}
	w.Registry.Set(gatewaytest.Away)
	if a := about(t, h.Of(0)); a.Quota != nil {
		t.Errorf("of a registry that is away the quota is %+v", a.Quota)
	}
}

func TestAboutWarnsOfKeys(t *testing.T) {
	w := gatewaytest.New(t, 1)
	now := w.Now()
	own := w.Directory.Parties[0].Keys
	own[0].Until = now.AddDate(0, 0, 29)
	own[1].Revoked = true
	w.Publish()
	a := about(t, w.Run(0).Of(0))
	want := []struct {
		use     string
		warning gateway.Code
	}{{manifest.UseSign, gateway.CodeKeyEnds}, {manifest.UseHPKE, gateway.CodeKeyUnlisted}, {manifest.UseTLS, ""}}
	if len(a.Keys) != len(want) {
		t.Fatalf("keys %+v", a.Keys)
	}
	for i, k := range a.Keys {
		if k.Use != want[i].use || k.Warning != want[i].warning || k.ID != own[i].ID || k.Days != 365 {
			t.Errorf("%+v, want %+v", k, want[i])
		}
		if (k.Warning == "") != (k.Warning.Words() == "") {
			t.Errorf("%s: in words %q", k.Use, k.Warning.Words())
		}
	}
}
