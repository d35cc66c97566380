// SPDX-License-Identifier: EUPL-1.2

package evaluation

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
)

func balanceOf(t *testing.T, w *world, id api.PartyID) (b api.Budget) {
	t.Helper()
	resp, err := w.client(id).Get(w.url + "/v1/budget")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", resp.Status, text)
	}
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	return b
}

// forReports says of a request's body that it is for a report.
func forReports(body string) string {
	return strings.TrimSuffix(body, "}") + `,"purpose":"report"}`
}

// The reserve answers reports when the budget is spent, and a party can read what it
// has left: its own.
func TestReserveAndWhatIsLeft(t *testing.T) {
	w := newWorld(t, nil) // 100 a day, 1000 a month, a reserve of 10
	ask := func(n int, report bool) int {
		t.Helper()
		q := body(t, 1, 2012, 4, slices.Repeat(blind(t, 1).Elements(), n)...)
		if report {
			q = forReports(q)
		}
		resp, _ := post(t, w.client(school), w.url, q)
		return resp.StatusCode
	}
	day := manifesttest.Now.Truncate(24*time.Hour).AddDate(0, 0, 1)
	month := time.Date(2027, 4, 1, 0, 0, 0, 0, time.UTC)
	left := func(left, day1, month1, reserve int) api.Budget {
		return api.Budget{Left: left, Day: api.Limit{Limit: 100, Spent: day1, Until: day},
			Month: api.Limit{Limit: 1000, Spent: month1, Until: month}, Reserve: api.Limit{Limit: 10, Spent: reserve, Until: day}}
	}
	for _, n := range []int{60, 38} {
		if status := ask(n, false); status != http.StatusOK {
			t.Fatal(status)
		}
	}
	if got, want := balanceOf(t, w, school), left(2, 98, 98, 0); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if status := ask(5, false); status != http.StatusTooManyRequests {
		t.Errorf("others spend the reserve: %d", status)
	}
	if status := ask(5, true); status != http.StatusOK {
		t.Errorf("a spent budget stops a report: %d", status)
	}
	if got, want := balanceOf(t, w, school), left(0, 100, 100, 3); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if status := ask(8, true); status != http.StatusTooManyRequests {
		t.Errorf("above the reserve: %d", status)
	}
	if got, want := balanceOf(t, w, clinic), left(100, 0, 0, 0); got != want {
		t.Errorf("another party's balance is %+v", got)
	}
}

func TestPurposes(t *testing.T) {
	w := newWorld(t, nil)
	q := body(t, 1, 2012, 4, blind(t, 1).Elements()...)
	for purpose, want := range map[string]int{`""`: 200, `"report"`: 200, `"curiosity"`: 400, `1`: 400} {
		if resp, text := post(t, w.client(school), w.url, strings.TrimSuffix(q, "}")+`,"purpose":`+purpose+"}"); resp.StatusCode != want {
			t.Errorf("purpose %s: %s %s", purpose, resp.Status, text)
		}
	}
	if got := balanceOf(t, w, school); got.Day.Spent != 2 {
		t.Errorf("what was refused has cost something: %+v", got)
	}
}

// A grant in the directory counts from the moment that the directory is in force.
func TestGrantInTheDirectory(t *testing.T) {
	w := newWorld(t, nil)
	d := *w.Directory
	d.Parties = slices.Clone(d.Parties)
	now := manifesttest.Now
	d.Parties[0].Grants = []manifest.Grant{{From: now.Add(-time.Hour), Until: now.Add(time.Hour), Daily: 50, Monthly: 50, Purpose: "import"}}
	w.directory.Store(&d)
	if got := balanceOf(t, w, d.Parties[0].ID); got.Left != 150 || got.Day.Limit != 150 || got.Month.Limit != 1050 {
		t.Errorf("with a grant %+v", got)
	}
	if got := balanceOf(t, w, d.Parties[1].ID); got.Left != 100 {
		t.Errorf("without one %+v", got)
	}
}
