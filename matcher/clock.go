// SPDX-License-Identifier: EUPL-1.2

package matcher

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/registry"
)

// witnesses is how many organisations must show the time of a clock that is held before it
// is believed: their clocks are set by others.
const witnesses = 3

// clock is what the matcher knows of time beside the clock itself.
type clock struct {
	mu    sync.Mutex
	seen  encoding.Date // the highest day; in the store before anything goes by it
	known bool          // whether seen was read from the store

	held bool // whether the clock was, when it was read last

	// While it is: what day it last showed, and who has shown its time since
	// it began to. A clock that jumps again begins anew.
	shown encoding.Date
	by    map[string]bool
}

// Clock reads the registry's clock. A new day is durable when it returns.
func (m *Matcher) Clock(ctx context.Context) (registry.Clock, error) {
	m.clock.mu.Lock()
	defer m.clock.mu.Unlock()
	return m.readClock(ctx)
}

// readClock is called with the clock's lock held, as all that follows.
func (m *Matcher) readClock(ctx context.Context) (registry.Clock, error) {
	t := &m.clock
	if !t.known {
		var err error
		if t.seen, err = m.Store.Day(ctx); err != nil {
			return registry.Clock{}, err
		}
		// Whoever put back a backup has looked at the clock.
		for _, r := range m.Store.Restores() {
			if day := registry.Today(r.At); !t.seen.IsZero() && day.Compare(t.seen) > 0 {
				t.seen = day
			}
		}
		t.known = true
	}
	c := registry.ReadClock(m.Now(), t.seen)
	if c.Day != t.seen {
		if err := m.see(ctx, c.Day); err != nil {
			return c, err
		}
	}
	shown := registry.Today(c.Says)
	if !c.Held || shown != t.shown && shown != t.shown.AddDate(0, 0, 1) {
		t.by = nil
	}
	if t.shown = shown; t.held != c.Held {
		t.held = c.Held
		m.ReadOnly.Set(ReasonClock, c.Held)
	}
	return c, nil
}

// see makes a day the highest that was seen.
func (m *Matcher) see(ctx context.Context, day encoding.Date) error {
	if err := m.Store.SetDay(ctx, day); err != nil {
		return err
	}
	m.clock.seen = day
	return nil
}

// AcceptClock believes the clock, however far it is ahead. A clock that is behind stays
// so: nothing that has expired lives again.
func (m *Matcher) AcceptClock(ctx context.Context) (registry.Clock, error) {
	m.clock.mu.Lock()
	defer m.clock.mu.Unlock()
	seen, err := m.Store.Day(ctx)
	if err != nil {
		return registry.Clock{}, err
	}
	if day := registry.Today(m.Now()); day.Compare(seen) > 0 {
		if err := m.see(ctx, day); err != nil {
			return registry.Clock{}, err
		}
		m.clock.known = true
	}
	return m.readClock(ctx)
}

// Time is the time that the registry goes by.
func (m *Matcher) Time() time.Time {
	c, err := m.Clock(context.Background())
	if err != nil { // the store does not answer, which whoever asks it will say
		return m.Now()
	}
	return c.Now
}

// Glance is Time by what is known of the clock already. It never asks the store, so that
// a handshake may ask it, which nobody waits for before the store is closed.
func (m *Matcher) Glance() time.Time {
	m.clock.mu.Lock()
	defer m.clock.mu.Unlock()
	return registry.ReadClock(m.Now(), m.clock.seen).Now
}

// LiveAt is the time at which a signal must live for its card to be shown. After the end
// of the legal basis none does, swept or not.
func (m *Matcher) LiveAt() time.Time {
	now := m.Time()
	if man, _ := m.Trust(); registry.SunsetOn(man, registry.Today(now)) {
		return never
	}
	return now
}

// never is behind every day of expiry.
var never = time.Date(9999, 12, 31, 12, 0, 0, 0, time.UTC)

// heard is called with what a party has signed while the clock is held. Where the clock
// can be believed now, the admission is another one, which must judge anew.
func (m *Matcher) heard(ctx context.Context, adm registry.Admission, party api.PartyID, signed api.Signed, key encoding.KeyID, issued time.Time) (registry.Admission, bool, error) {
	if !adm.Held || !adm.Witnesses(party, signed, key, issued) {
		return adm, false, nil
	}
	m.clock.mu.Lock()
	defer m.clock.mu.Unlock()
	c, err := m.readClock(ctx)
	if err != nil {
		return adm, false, err
	}
	if m.clock.by == nil {
		m.clock.by = make(map[string]bool)
	}
	organisation, _, _ := strings.Cut(string(party), "/") // its units may have one clock
	m.clock.by[organisation] = true
	if c.Held && len(m.clock.by) >= witnesses {
		if err := m.see(ctx, registry.Today(c.Says)); err != nil {
			return adm, false, err
		}
		if c, err = m.readClock(ctx); err != nil {
			return adm, false, err
		}
	}
	adm.Clock = c
	return adm, !c.Held, nil
}
