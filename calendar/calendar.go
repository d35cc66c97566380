// SPDX-License-Identifier: EUPL-1.2

// Package calendar knows on which days somebody is at work: in the Netherlands (nl)
// and in Flanders (vl). A policy names one of the two, and deadlines are counted in
// its working days.
//
// A working day is a day that is neither a Saturday, nor a Sunday, nor a holiday of
// the calendar's own table, which gives the source of each. Feasts that move with
// Easter are computed, so the tables hold for every year from 2014, the first with
// King's Day.
//
// Decided here:
//   - 5 May is in the Dutch law's own list, every year, so it is no working day, even
//     though many work on it.
//   - Days that a royal decree puts on a par with a holiday (Algemene termijnenwet,
//     article 3, paragraph 3), such as the Friday after Ascension, are working days.
//     They are decreed for a few years at a time; a table of them would run out
//     unnoticed. A deadline is never later for it than the law would have it.
//   - In Flanders the ten holidays of the Belgian law and the holiday of the Flemish
//     Community count. Days off of one employer (2 November, 26 December), or of other
//     Communities, do not. A holiday that falls on a weekend is not made up for.
package calendar

import "time"

// A Calendar is a table of holidays.
type Calendar struct {
	name     string
	holidays []Holiday
}

// A Holiday is a day of the year on which nobody is expected to work.
type Holiday struct {
	Name   string // in the language of the country
	Source string // the law and article
	on     func(year int) time.Time
}

// On is the day on which the holiday falls in a year, at midnight UTC.
func (h Holiday) On(year int) time.Time { return h.on(year) }

const (
	atw1 = "Algemene termijnenwet, artikel 3, eerste lid"
	atw2 = "Algemene termijnenwet, artikel 3, tweede lid: gelijkgesteld"
	kb   = "Koninklijk besluit van 18 april 1974 (uitvoering van de wet van 4 januari 1974 betreffende de feestdagen), artikel 1"
	vg   = "Decreet van 7 november 1990 houdende vaststelling van het wapen, de vlag, het volkslied en de feestdag van de Vlaamse Gemeenschap, artikel 6"
)

// The calendars.
var (
	NL = Calendar{"nl", []Holiday{
		{"Nieuwjaarsdag", atw1, fixed(time.January, 1)},
		{"Goede Vrijdag", atw2, easter(-2)},
		{"tweede paasdag", atw1, easter(1)},
		// Since 2014 the King's birthday is celebrated on 27 April, or on the day before if
		// that is a Sunday.
		{"Koningsdag", atw1, kingsDay},
		{"Bevrijdingsdag", atw1, fixed(time.May, 5)},
		{"Hemelvaartsdag", atw1, easter(39)},
		{"tweede pinksterdag", atw1, easter(50)},
		{"eerste kerstdag", atw1, fixed(time.December, 25)},
		{"tweede kerstdag", atw1, fixed(time.December, 26)},
	}}
	VL = Calendar{"vl", []Holiday{
		{"Nieuwjaar", kb, fixed(time.January, 1)},
		{"paasmaandag", kb, easter(1)},
		{"Dag van de Arbeid", kb, fixed(time.May, 1)},
		{"Hemelvaart", kb, easter(39)},
		{"pinkstermaandag", kb, easter(50)},
		{"feestdag van de Vlaamse Gemeenschap", vg, fixed(time.July, 11)},
		{"nationale feestdag", kb, fixed(time.July, 21)},
		{"Onze-Lieve-Vrouw-Hemelvaart", kb, fixed(time.August, 15)},
		{"Allerheiligen", kb, fixed(time.November, 1)},
		{"Wapenstilstand", kb, fixed(time.November, 11)},
		{"Kerstmis", kb, fixed(time.December, 25)},
	}}
)

// ByName finds the calendar that a policy names: "nl" or "vl".
func ByName(name string) (Calendar, bool) {
	for _, c := range []Calendar{NL, VL} {
		if c.name == name {
			return c, true
		}
	}
	return Calendar{}, false
}

// Name is "nl" or "vl".
func (c Calendar) Name() string { return c.name }

// Holidays are the calendar's, in the order of the year (but for those that move).
func (c Calendar) Holidays() []Holiday { return append([]Holiday(nil), c.holidays...) }

// Working tells whether a date is a working day. Only year, month and day of it
// count, as they are in its own location.
func (c Calendar) Working(date time.Time) bool {
	year, month, day := date.Date()
	d := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	if w := d.Weekday(); w == time.Saturday || w == time.Sunday {
		return false
	}
	for _, h := range c.holidays {
		if h.on(year).Equal(d) {
			return false
		}
	}
	return true
}

// AddWorkingDays is the n-th working day after a date, at midnight UTC; the date
// itself does not count, whatever day it is. With n of 0 or less it is the date.
func (c Calendar) AddWorkingDays(date time.Time, n int) time.Time {
	year, month, day := date.Date()
	d := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	for n > 0 {
		d = d.AddDate(0, 0, 1)
		if c.Working(d) {
			n--
		}
	}
	return d
}

func fixed(month time.Month, day int) func(int) time.Time {
	return func(year int) time.Time { return time.Date(year, month, day, 0, 0, 0, 0, time.UTC) }
}

func kingsDay(year int) time.Time {
	d := time.Date(year, time.April, 27, 0, 0, 0, 0, time.UTC)
	if d.Weekday() == time.Sunday {
		return d.AddDate(0, 0, -1)
	}
	return d
}

// easter gives the day so many days after Easter Sunday.
func easter(days int) func(int) time.Time {
	return func(year int) time.Time { return Easter(year).AddDate(0, 0, days) }
}

// Easter is Easter Sunday of a year of the Gregorian calendar, at midnight UTC
// (Meeus, Astronomical Algorithms, chapter 8).
func Easter(year int) time.Time {
	a, b, c := year%19, year/100, year%100
	d, e := b/4, b%4
	g := (8*b + 13) / 25
	h := (19*a + b - d - g + 15) % 30
	i, k := c/4, c%4
	l := (32 + 2*e + 2*i - h - k) % 7
	m := (a + 11*h + 19*l) / 433
	month := (h + l - 7*m + 90) / 25
	day := (h + l - 7*m + 33*month + 19) % 32
	return time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
}
