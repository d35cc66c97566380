// SPDX-License-Identifier: EUPL-1.2

package evaluation

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
)

// What an evaluator sees of a day is held against what the registry took on it and on
// the next, once, when both are over and the registry has told.
func TestUnusualUseOfAnEvaluator(t *testing.T) {
	w := newWorld(t, func(m *manifest.Manifest) { m.Policy.DailyBudget, m.Policy.MonthlyBudget = 400, 4000 })
	ask := func(id api.PartyID, n int) {
		t.Helper()
		for ; n > 0; n -= 60 {
			q := body(t, 1, 2012, 4, slices.Repeat(blind(t, 1).Elements(), min(n, 60))...)
			if resp, text := post(t, w.client(id), w.url, q); resp.StatusCode != http.StatusOK {
				t.Fatalf("%s %s", resp.Status, text)
			}
		}
	}
	told := func() (list []string) {
		for line := range strings.Lines(w.logged.String()) {
			if _, event, ok := strings.Cut(line, `msg="unusual use" `); ok {
				list = append(list, strings.TrimSpace(event))
			}
		}
		return list
	}
	ask(school, 104)
	ask(clinic, 105)
	now := manifesttest.Now
	var asked []time.Time
	var fails error
	midnight := manifesttest.Now.Truncate(24*time.Hour).AddDate(0, 0, 1)
	usage := func(_ context.Context, day time.Time) (u api.Usage, err error) {
		asked = append(asked, day)
		if !day.Before(midnight.AddDate(0, 0, -1)) { // both sent half of it after midnight
			u.Items = []api.PartyUsage{{Party: school, Signals: 10}, {Party: clinic, Signals: 10}}
		}
		return u, fails
	}
	looked := now.Truncate(24*time.Hour).AddDate(0, 0, -1) // as if it had run a day
	look := func(at time.Time) error {
		w.setClock(at)
		var err error
		looked, err = w.server.look(t.Context(), looked, usage)
		return err
	}
	for _, at := range []time.Time{now, midnight.Add(-time.Second), midnight.Add(59 * time.Minute)} {
		if err := look(at); err != nil || len(asked) > 0 {
			t.Fatalf("at %s the registry is asked (%v)", at, err)
		}
	}
	fails = errors.New("away")
	if err := look(midnight.Add(time.Hour)); !errors.Is(err, fails) || len(told()) != 0 {
		t.Errorf("without the registry's word: %v, %q", err, told())
	}
	fails = nil
	for range 2 {
		if err := look(midnight.Add(2 * time.Hour)); err != nil || len(told()) != 0 {
			t.Fatalf("what was sent after midnight is not waited for: %q (%v)", told(), err)
		}
	}
	for range 2 {
		if err := look(midnight.Add(26 * time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	want := fmt.Sprintf("kind=evaluations-without-submissions party=%s", clinic) // 105 of 64 + 2 × 20
	if got := told(); !slices.Equal(got, []string{want}) {
		t.Errorf("told %q, want %q", got, want)
	}
	if len(asked) != 5 || !asked[3].Equal(midnight) || !asked[4].Equal(midnight.AddDate(0, 0, -1)) {
		t.Errorf("the registry was asked of %v", asked)
	}
}

func TestNightlyBulkAtAnEvaluator(t *testing.T) {
	w := newWorld(t, func(m *manifest.Manifest) { m.Policy.DailyBudget, m.Policy.MonthlyBudget = 280, 4000 })
	night := time.Date(2027, 3, 5, 2, 0, 0, 0, time.UTC)
	w.setClock(night)
	for _, id := range []api.PartyID{school, school, clinic} {
		q := body(t, 1, 2012, 4, slices.Repeat(blind(t, 1).Elements(), 60)...)
		if resp, text := post(t, w.client(id), w.url, q); resp.StatusCode != http.StatusOK {
			t.Fatalf("%s %s", resp.Status, text)
		}
	}
	usage := func(context.Context, time.Time) (api.Usage, error) { return api.Usage{}, nil }
	look := func() int {
		if _, err := w.server.look(t.Context(), time.Time{}, usage); err != nil {
			t.Fatal(err)
		}
		return strings.Count(w.logged.String(), "kind=nightly-bulk party="+string(school)) + 100*strings.Count(w.logged.String(), "kind=nightly-bulk party="+string(clinic))
	}
	if n := look(); n != 0 { // at once it would tell when a party does what
		t.Errorf("told %d in the night", n)
	}
	w.setClock(night.Add(4 * time.Hour))
	if look() != 1 {
		t.Error("not told of the school, and it alone")
	}
}

// A day on which two epochs were open had twice as many evaluations, though one has been
// closed since.
func TestEpochsOfADay(t *testing.T) {
	day := encoding.Date{Year: 2027, Month: 3, Day: 4}
	m := &manifest.Manifest{Epochs: []manifest.Epoch{
		{State: manifest.EpochClosed, Opens: day.AddDate(-2, 0, 0), Closes: day},
		{State: manifest.EpochClosed, Opens: day.AddDate(-1, 0, 0), Closes: day.AddDate(0, 0, 1)},
		{State: manifest.EpochOpen, Opens: day, Closes: day.AddDate(0, 0, -1)},
		{State: manifest.EpochOpen, Opens: day.AddDate(0, 0, 1)},
	}}
	if n := openOn(m, day); n != 2 {
		t.Errorf("%d epochs, want the one that closed a day later and the one that opened", n)
	}
}
