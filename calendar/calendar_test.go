// SPDX-License-Identifier: EUPL-1.2

package calendar_test

import (
	"slices"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/calendar"
)

func date(t *testing.T, s string) time.Time {
	t.Helper()
	d, err := time.Parse(time.DateOnly, s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestEaster holds the formula against tables of Easter: the years around now, and the
// earliest and latest days on which it can fall.
func TestEaster(t *testing.T) {
	for _, s := range []string{
		"1818-03-22", "1943-04-25", "1954-04-18", "1981-04-19", "2000-04-23", "2008-03-23", "2011-04-24",
		"2014-04-20", "2015-04-05", "2016-03-27", "2017-04-16", "2018-04-01", "2019-04-21", "2020-04-12", "2021-04-04", "2022-04-17",
		"2023-04-09", "2024-03-31", "2025-04-20", "2026-04-05", "2027-03-28", "2028-04-16", "2029-04-01", "2030-04-21", "2031-04-13",
		"2032-03-28", "2033-04-17", "2034-04-09", "2035-03-25", "2036-04-13", "2037-04-05", "2038-04-25", "2049-04-18", "2076-04-19",
	} {
		if want := date(t, s); !calendar.Easter(want.Year()).Equal(want) {
			t.Errorf("Easter of %d is %s, want %s", want.Year(), calendar.Easter(want.Year()).Format(time.DateOnly), s)
		}
	}
}

// published are the holidays of whole years as they were announced, date by date, all
// of them, also where they fall on a weekend.
var published = map[string]map[int][]string{
	"nl": {
		2022: {"01-01", "04-15", "04-18", "04-27", "05-05", "05-26", "06-06", "12-25", "12-26"},
		2024: {"01-01", "03-29", "04-01", "04-27", "05-05", "05-09", "05-20", "12-25", "12-26"},
		2025: {"01-01", "04-18", "04-21", "04-26", "05-05", "05-29", "06-09", "12-25", "12-26"}, // 27 April is a Sunday
		2026: {"01-01", "04-03", "04-06", "04-27", "05-05", "05-14", "05-25", "12-25", "12-26"},
		2027: {"01-01", "03-26", "03-29", "04-27", "05-05", "05-06", "05-17", "12-25", "12-26"},
		2031: {"01-01", "04-11", "04-14", "04-26", "05-05", "05-22", "06-02", "12-25", "12-26"},
	},
	"vl": {
		2024: {"01-01", "04-01", "05-01", "05-09", "05-20", "07-11", "07-21", "08-15", "11-01", "11-11", "12-25"},
		2025: {"01-01", "04-21", "05-01", "05-29", "06-09", "07-11", "07-21", "08-15", "11-01", "11-11", "12-25"},
		2026: {"01-01", "04-06", "05-01", "05-14", "05-25", "07-11", "07-21", "08-15", "11-01", "11-11", "12-25"},
		2027: {"01-01", "03-29", "05-01", "05-06", "05-17", "07-11", "07-21", "08-15", "11-01", "11-11", "12-25"},
	},
}

func TestPublishedYears(t *testing.T) {
	for name, years := range published {
		c, ok := calendar.ByName(name)
		if !ok || c.Name() != name {
			t.Fatalf("there is no calendar %s", name)
		}
		for year, want := range years {
			var got []string
			for _, h := range c.Holidays() {
				if h.On(year).Year() != year || h.Source == "" || h.Name == "" {
					t.Errorf("%s %d: %q", name, year, h.Name)
				}
				got = append(got, h.On(year).Format("01-02"))
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%s %d: %v, want %v", name, year, got, want)
			}
			// Every other day that is no weekend is a working day, and no other.
			for d := time.Date(year, 1, 1, 12, 0, 0, 0, time.UTC); d.Year() == year; d = d.AddDate(0, 0, 1) {
				weekend := d.Weekday() == time.Saturday || d.Weekday() == time.Sunday
				if c.Working(d) != (!weekend && !slices.Contains(want, d.Format("01-02"))) {
					t.Errorf("%s: %s works: %v", name, d.Format("Mon 2006-01-02"), c.Working(d))
				}
			}
		}
	}
	if _, ok := calendar.ByName("de"); ok {
		t.Error("there is a calendar of which nobody knows the holidays")
	}
}

func TestAddWorkingDays(t *testing.T) {
	for _, c := range []struct {
		calendar   calendar.Calendar
		name, from string
		n          int
		want       string
	}{
		{calendar.NL, "a_week", "2026-09-07", 5, "2026-09-14"},
		{calendar.NL, "from_a_saturday", "2026-09-12", 5, "2026-09-18"},
		{calendar.NL, "from_a_sunday", "2026-09-13", 5, "2026-09-18"},
		{calendar.NL, "over_easter", "2026-03-30", 5, "2026-04-08"},
		{calendar.VL, "over_easter_good_friday_works", "2026-03-30", 5, "2026-04-07"},
		{calendar.NL, "king_on_the_saturday", "2025-04-24", 2, "2025-04-28"},
		{calendar.NL, "fifth_of_may_and_ascension", "2027-05-03", 5, "2027-05-12"},
		{calendar.NL, "friday_after_ascension_works", "2026-05-13", 1, "2026-05-15"},
		{calendar.VL, "eleventh_of_july", "2025-07-10", 1, "2025-07-14"},
		{calendar.NL, "eleventh_of_july_is_no_dutch_day", "2025-07-10", 1, "2025-07-11"},
		{calendar.VL, "boxing_day_works", "2025-12-24", 1, "2025-12-26"},
		{calendar.NL, "over_new_year", "2026-12-24", 5, "2027-01-04"},
		{calendar.NL, "none", "2026-09-12", 0, "2026-09-12"},
	} {
		t.Run(c.calendar.Name()+"/"+c.name, func(t *testing.T) {
			if got := c.calendar.AddWorkingDays(date(t, c.from), c.n); got.Format(time.DateOnly) != c.want {
				t.Errorf("%s and %d days is %s, want %s", c.from, c.n, got.Format(time.DateOnly), c.want)
			}
		})
	}
	// The day is that of the place where the time was taken.
	late := time.Date(2026, 9, 11, 23, 30, 0, 0, time.FixedZone("", 2*3600)) // a Friday there
	if got := calendar.NL.AddWorkingDays(late, 1); got.Format(time.DateOnly) != "2026-09-14" || !calendar.NL.Working(late) {
		t.Errorf("from a late Friday it is %s", got)
	}
}
