// SPDX-License-Identifier: EUPL-1.2

package encoding

import (
	"encoding/json"
	"fmt"
	"time"
	_ "time/tzdata" // Amsterdam is the same on a machine without zones
)

// Amsterdam is the zone in which days begin and end, on every machine; a manifest with
// another one is not valid.
var Amsterdam = func() *time.Location {
	zone, err := time.LoadLocation("Europe/Amsterdam")
	if err != nil {
		panic(err) // it is linked in
	}
	return zone
}()

// A Date is a day of the calendar, without a time or a zone. The zero Date
// stands for "unknown" and encodes as an empty field.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

const dateLayout = "2006-01-02"

// ParseDate reads a date as 2006-01-02; the date must exist.
func ParseDate(s string) (Date, error) {
	t, err := time.Parse(dateLayout, s)
	if err != nil || t.Format(dateLayout) != s {
		return Date{}, fmt.Errorf("%w: a date is written as 2006-01-02", ErrMalformed)
	}
	return DateOf(t), nil
}

// DateOf is the day of t in t's own zone.
func DateOf(t time.Time) Date {
	y, m, d := t.Date()
	return Date{y, m, d}
}

// IsZero tells whether the date is unknown.
func (d Date) IsZero() bool { return d == Date{} }

// In is the instant at which the day begins in loc.
func (d Date) In(loc *time.Location) time.Time {
	return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, loc)
}

// Compare orders dates: negative when d is before other.
func (d Date) Compare(other Date) int {
	return d.In(time.UTC).Compare(other.In(time.UTC))
}

// AddDate moves the date as time.Time.AddDate does: 29 February plus one year
// is 1 March.
func (d Date) AddDate(years, months, days int) Date {
	return DateOf(d.In(time.UTC).AddDate(years, months, days))
}

// String writes 2006-01-02, or nothing for the zero Date.
func (d Date) String() string {
	if d.IsZero() {
		return ""
	}
	return d.In(time.UTC).Format(dateLayout)
}

// Field is the date as a field of E.
func (d Date) Field() []byte { return []byte(d.String()) }

// MarshalJSON writes the date as a string.
func (d Date) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads what MarshalJSON writes.
func (d *Date) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("%w: a date is written as \"2006-01-02\"", ErrMalformed)
	}
	if s == "" {
		*d = Date{}
		return nil
	}
	date, err := ParseDate(s)
	*d = date
	return err
}
