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
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
)

// What an evaluator sees of a day is held against what the registry took on it, once,
// when the day is over and the registry has told.
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
	usage := func(_ context.Context, day time.Time) (api.Usage, error) {
		asked = append(asked, day)
		return api.Usage{Items: []api.PartyUsage{{Party: school, Signals: 20}, {Party: clinic, Signals: 20}}}, fails
	}
	looked := now.Truncate(24*time.Hour).AddDate(0, 0, -1) // as if it had run a day
	look := func(at time.Time) error {
		w.setClock(at)
		var err error
		looked, err = w.server.look(t.Context(), looked, usage)
		return err
	}
	midnight := manifesttest.Now.Truncate(24*time.Hour).AddDate(0, 0, 1)
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
		if err := look(midnight.Add(2 * time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	want := fmt.Sprintf("kind=evaluations-without-submissions party=%s", clinic) // 105 of 64 + 2 × 20
	if got := told(); !slices.Equal(got, []string{want}) {
		t.Errorf("told %q, want %q", got, want)
	}
	if len(asked) != 2 || !asked[1].Equal(midnight.AddDate(0, 0, -1)) {
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
