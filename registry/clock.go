// SPDX-License-Identifier: EUPL-1.2

package registry

import (
	"time"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// A Clock is the registry's clock, held against the highest day that the store has
// seen. The day never goes back, so that nothing which has expired lives again, and
// goes on by one at a time: at a midnight, be it the end of a year. A clock that is
// further ahead may be wrong, and ending all that expires by it could not be undone.
// So the day stays, and the clock is held.
type Clock struct {
	Says time.Time     // what it shows
	Now  time.Time     // what the registry goes by: that, but never outside of Day
	Day  encoding.Date // in Europe/Amsterdam
	Held bool
}

// ReadClock holds what a clock shows against the highest day that was seen, which is
// zero in a new store.
func ReadClock(says time.Time, seen encoding.Date) Clock {
	c := Clock{Says: says, Now: says, Day: Today(says)}
	next := seen.AddDate(0, 0, 1)
	switch {
	case seen.IsZero() || c.Day == next:
	case c.Day.Compare(next) > 0:
		c.Day, c.Held, c.Now = seen, true, next.In(encoding.Amsterdam).Add(-time.Second)
	case c.Day.Compare(seen) < 0:
		c.Day, c.Now = seen, seen.In(encoding.Amsterdam)
	}
	return c
}

// Off is how far the clock is ahead of the registry's day, or behind it if negative.
func (c Clock) Off() time.Duration { return c.Says.Sub(c.Now) }
