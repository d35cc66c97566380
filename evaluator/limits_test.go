// SPDX-License-Identifier: EUPL-1.2

package evaluator

import (
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
)

// spends debits, and tells how long to wait when there is no room; zero when there
// was.
func spends(t *testing.T, b *Budgets, d Debit, l Limits, now time.Time) time.Duration {
	t.Helper()
	err := b.Debit(d, l, now)
	over, spent := errors.AsType[*BudgetError](err)
	switch {
	case spent:
		return over.Wait
	case err != nil:
		t.Fatal(err)
	}
	return 0
}

// A spent budget never stops a report: it goes on under the reserve, which nobody
// else can spend, and which is new every day whatever the month has left.
func TestReportsHaveAReserve(t *testing.T) {
	b := newBudgets(t)
	l := Limits{Day: 10, Month: 10, Reserve: 4}
	now := manifesttest.Now // noon
	for _, c := range []struct {
		name   string
		n      int
		report bool
		wait   time.Duration
	}{
		{"others_spend_the_budget", 8, false, 0},
		{"a_report_spends_what_is_left_of_it_first", 3, true, 0}, // 2 of the budget, 1 of the reserve
		{"others_do_not_reach_the_reserve", 1, false, 28*24*time.Hour - 12*time.Hour},
		{"a_report_does", 3, true, 0},
		{"until_the_reserve_is_spent_too", 1, true, 12 * time.Hour},
	} {
		if wait := spends(t, b, Debit{party, c.n, c.report}, l, now); wait != c.wait {
			t.Fatalf("%s: waits %v, want %v", c.name, wait, c.wait)
		}
	}
	if wait := spends(t, b, Debit{party, 5, true}, l, now); wait != 28*24*time.Hour-12*time.Hour { // tomorrow there are 4
		t.Errorf("more than a reserve, in a month that is spent, waits %v", wait)
	}
	if wait := spends(t, b, Debit{party, 4, true}, l, now.AddDate(0, 0, 1)); wait != 0 {
		t.Errorf("the next day the reserve is not new: %v", wait)
	}
	if wait := spends(t, b, Debit{otherParty, 14, true}, l, now); wait != 0 {
		t.Errorf("one party's reserve is spent by another: %v", wait)
	}
}

// A grant is spent before the budget, and has an end: what was spent of it takes
// nothing from the budget afterwards.
func TestGrants(t *testing.T) {
	b := newBudgets(t)
	l := Limits{Day: 10, Month: 25}
	now := manifesttest.Now
	p := manifest.Party{Grants: []manifest.Grant{
		{From: now, Until: now.AddDate(0, 0, 2), Daily: 100, Monthly: 150},
		{From: now.AddDate(0, 0, 1), Until: now.AddDate(0, 0, 4), Daily: 5, Monthly: 5},
	}}
	for _, c := range []struct {
		name string
		at   time.Time
		n    int
		wait time.Duration
	}{
		{"before_it_begins", now.Add(-time.Second), 11, 12*time.Hour + time.Second},
		{"beyond_grant_and_budget", now, 111, 12 * time.Hour},
		{"all_of_both", now, 110, 0},
		{"nothing_is_left", now, 1, 12 * time.Hour},
		{"the_next_day_half_of_the_month_is_left", now.AddDate(0, 0, 1).Add(time.Second), 50 + 5 + 10, 0},
		{"the_month_of_both_is_spent", now.AddDate(0, 0, 1).Add(time.Hour), 6, 26*24*time.Hour + 11*time.Hour},
		{"after_its_end_the_budget_is_what_it_was", now.AddDate(0, 0, 2), 5, 0},
		{"and_no_more", now.AddDate(0, 0, 2), 1, 26*24*time.Hour - 12*time.Hour},
	} {
		l.Grants = p.GrantsAt(c.at)
		if wait := spends(t, b, Debit{Party: party, N: c.n}, l, c.at); wait != c.wait {
			t.Fatalf("%s: waits %v, want %v", c.name, wait, c.wait)
		}
	}
	// A grant that governance lengthens is the same grant.
	l.Grants = []manifest.Grant{{From: now, Until: now.AddDate(0, 1, 0), Daily: 100, Monthly: 150}}
	if wait := spends(t, b, Debit{Party: party, N: 1}, l, now.AddDate(0, 0, 3)); wait == 0 {
		t.Error("a grant with a later end gives its month anew")
	}
}

func TestBalance(t *testing.T) {
	b := newBudgets(t)
	now := manifesttest.Now
	l := Limits{Day: 10, Month: 25, Reserve: 4, Grants: []manifest.Grant{{From: now, Daily: 100, Monthly: 120}}}
	balance := func() Balance {
		t.Helper()
		got, err := b.Balance(party, l, now)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	day := time.Date(2027, 3, 5, 0, 0, 0, 0, time.UTC)
	month := time.Date(2027, 4, 1, 0, 0, 0, 0, time.UTC)
	if got, want := balance(), (Balance{110, Spent{110, 0, day}, Spent{145, 0, month}, Spent{4, 0, day}}); got != want {
		t.Errorf("at first %+v, want %+v", got, want)
	}
	spends(t, b, Debit{party, 112, true}, l, now)
	if got, want := balance(), (Balance{0, Spent{110, 110, day}, Spent{145, 110, month}, Spent{4, 2, day}}); got != want {
		t.Errorf("then %+v, want %+v", got, want)
	}
	l.Grants = nil
	if got, want := balance(), (Balance{0, Spent{10, 10, day}, Spent{25, 10, month}, Spent{4, 2, day}}); got != want {
		t.Errorf("after the grant %+v, want %+v", got, want)
	}
	l.Day, l.Month = 5, 5 // a policy that gives less than was spent
	if got := balance(); got.Left != 0 {
		t.Errorf("under a smaller budget %+v", got)
	}
	now = now.AddDate(0, 0, 1)
	l.Day, l.Month = 10, 25
	l.Grants = []manifest.Grant{{From: manifesttest.Now, Daily: 100, Monthly: 120}}
	if got := balance(); got.Left != 20+10 { // of the grant's month, and of the budget's day
		t.Errorf("the next day %+v", got)
	}
}

// What parties had evaluated on a day is told of all that it was spent of, and of no
// other day.
func TestWhatWasSpentOnADay(t *testing.T) {
	b := newBudgets(t)
	now := manifesttest.Now
	l := Limits{Day: 10, Month: 250, Reserve: 4, Grants: []manifest.Grant{{From: now, Daily: 100, Monthly: 120}}}
	spends(t, b, Debit{party, 113, true}, l, now)
	spends(t, b, Debit{Party: otherParty, N: 7}, l, now)
	spends(t, b, Debit{Party: otherParty, N: 1}, l, now.AddDate(0, 0, 1))
	spends(t, b, Debit{Party: otherParty, N: 1}, l, now.AddDate(0, 0, -1))
	got, err := b.On(now)
	if err != nil || !maps.Equal(got, map[string]int{party: 113, otherParty: 7}) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestDamagedRowsOfGrantAndReserve(t *testing.T) {
	now := manifesttest.Now
	l := Limits{Day: 5, Month: 5, Reserve: 5, Grants: []manifest.Grant{{From: now, Daily: 5, Monthly: 5}}}
	fresh := newBudgets(t)
	spends(t, fresh, Debit{party, 11, true}, l, now)
	it, err := fresh.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	for it.First(); it.Valid(); it.Next() {
		b := newBudgets(t)
		if err := b.db.Set(it.Key(), []byte{1}, pebble.Sync); err != nil {
			t.Fatal(err)
		}
		if err := b.Debit(Debit{party, 1, true}, l, now); !errors.Is(err, ErrCorrupt) {
			t.Errorf("row %c: got %v, want ErrCorrupt", it.Key()[0], err)
		}
		if _, err := b.Balance(party, l, now); !errors.Is(err, ErrCorrupt) {
			t.Errorf("row %c: a balance beside %v", it.Key()[0], err)
		}
	}
}
