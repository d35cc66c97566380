// SPDX-License-Identifier: EUPL-1.2

package matcher_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/soak"
)

// clockWorld is a world of which the test knows what must live.
type clockWorld struct {
	*matchertest.World
	t     *testing.T
	r     *rand.Rand
	day   encoding.Date // the highest that was believed
	held  bool
	live  map[int]matchertest.Paper // by child, of party 0
	over  []matchertest.Paper       // whose day has been
	found soak.Found
	next  int
}

// jump sets the clock, and says what must come of it.
func (w *clockWorld) jump(to time.Time) {
	w.Jump(to)
	w.expect()
}

func (w *clockWorld) expect() {
	day := registry.Today(w.Now())
	switch {
	case day.Compare(w.day) <= 0:
		w.held = false
	case day == w.day.AddDate(0, 0, 1):
		w.day, w.held = day, false
	default:
		w.held = true
	}
}

// holds holds the store against what must be, before and after a sweep.
func (w *clockWorld) holds(what string) {
	w.t.Helper()
	c, err := w.Clock(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if c.Day != w.day || c.Held != w.held || registry.Today(c.Now) != w.day {
		w.t.Fatalf("%s: day %s held %v, want %s %v", what, c.Day, c.Held, w.day, w.held)
	}
	for child, p := range w.live {
		if p.Statement.Expires.Compare(w.day) <= 0 {
			w.over = append(w.over, p)
			delete(w.live, child)
		}
	}
	if w.r.IntN(2) == 0 {
		n, err := w.Sweep(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		w.found["swept"] += n
		if _, due, err := w.Store.OldestDue(w.t.Context(), w.day); due || err != nil {
			w.t.Fatalf("%s: something is due after a sweep (%v)", what, err)
		}
		for _, p := range w.over {
			if _, stands := w.stored(p); stands {
				w.t.Fatalf("%s: a signal outlives its day", what)
			}
		}
	}
	for _, p := range w.live {
		if s, stands := w.stored(p); !stands || s.SID != p.Statement.SID {
			w.t.Fatalf("%s: a signal ended before its day", what)
		}
	}
}

func (w *clockWorld) stored(p matchertest.Paper) (registry.Signal, bool) {
	w.t.Helper()
	idx, _ := w.Keys.Place(p.Statement, 1)
	s, ok, err := w.Store.Signal(w.t.Context(), idx, p.Statement.Party)
	if err != nil {
		w.t.Fatal(err)
	}
	return s, ok
}

// signal sends a signal with the time that a party's own clock shows.
func (w *clockWorld) signal(party int, issued time.Time) error {
	w.next++
	day := registry.Today(issued)
	if party > 0 { // a witness may write just before midnight, and be heard after
		day = day.AddDate(0, 0, 1)
	}
	p := w.Write(party, matchertest.Child(w.next), api.NewSID(), 1, func(s *api.Statement) {
		s.Issued, s.Expires = issued.Truncate(time.Second), day.AddDate(0, 0, 1+w.r.IntN(400))
	})
	_, err := w.Send(p)
	if err == nil && party == 0 {
		w.live[w.next] = p
	}
	return err
}

// TestRow9Clock lets clocks jump: nothing outlives its day, going back revives nothing,
// and a jump over a day ends nothing until it is believed.
func TestRow9Clock(t *testing.T) {
	soak.Row(t, 9, "the clock jumps", 20, func(t *testing.T, seed uint64) soak.Found {
		w := &clockWorld{
			World: matchertest.New(t, 6), t: t, r: rand.New(rand.NewPCG(seed, 9)),
			live: map[int]matchertest.Paper{}, found: soak.Found{},
		}
		// Often close to the end of a month, a year, and to where summer time begins or ends.
		starts := []time.Time{
			time.Date(2026, 3, 28, 22, 30, 0, 0, time.UTC), time.Date(2026, 10, 24, 21, 59, 0, 0, time.UTC),
			time.Date(2026, 12, 31, 22, 59, 59, 0, time.UTC), time.Date(2028, 2, 28, 22, 30, 0, 0, time.UTC),
		}
		w.SetClock(starts[w.r.IntN(len(starts))].Add(time.Duration(w.r.IntN(7200)) * time.Second))
		w.day = registry.Today(w.Now())
		for range 8 {
			if err := w.signal(0, w.Now()); err != nil {
				t.Fatal(err)
			}
		}
		w.holds("at the start")
		for step := range 30 {
			was := w.Now()
			switch w.r.IntN(8) {
			case 0, 1: // time goes on
				w.jump(was.Add(time.Duration(w.r.IntN(86400)) * time.Second))
			case 2:
				w.jump(was.Add(time.Duration(w.r.IntN(7200)-3600) * time.Second))
			case 3: // just before and just after the next midnight
				midnight := registry.Today(was).AddDate(0, 0, 1).In(encoding.Amsterdam)
				w.jump(midnight.Add(-time.Second))
				w.holds("before midnight")
				w.jump(midnight)
				w.found["midnights"]++
			case 4:
				w.jump(was.AddDate(0, 0, 2+w.r.IntN(40)))
			case 5:
				w.jump(was.AddDate(1, 0, 0))
			case 6: // back
				w.jump(was.AddDate(0, 0, -w.r.IntN(500)))
				w.found["back"]++
			case 7:
				w.Reopen()
				w.expect()
			}
			what := fmt.Sprintf("step %d, from %s to %s", step, was.UTC().Format(time.RFC3339), w.Now().UTC().Format(time.RFC3339))
			w.holds(what)
			if w.held {
				w.found["held"]++
				w.whileHeld(what)
			} else if err := w.signal(0, w.Now()); err != nil && !registry.Today(w.Now()).In(encoding.Amsterdam).Before(w.day.In(encoding.Amsterdam)) {
				t.Fatalf("%s: %v", what, err)
			}
			w.holds(what)
		}
		return w.found
	})
}

// whileHeld tries what is refused and what is not, and lets parties testify at times.
func (w *clockWorld) whileHeld(what string) {
	w.t.Helper()
	wantCode(w.t, w.signal(0, w.Now().AddDate(-1, 0, 0)), api.CodeUnavailable) // by a party's clock that may be right
	if len(w.ReadOnly.Why()) != 1 || w.ReadOnly.Why()[0] != matcher.ReasonClock {
		w.t.Fatalf("%s: read-only for %v", what, w.ReadOnly.Why())
	}
	for child, p := range w.live { // a withdrawal is taken, whatever its date
		act := w.Withdrawal(p, func(a *api.Act) { a.Issued = w.day.In(time.UTC).AddDate(0, 0, -3) })
		if _, err := w.Act(w.t.Context(), p.Statement.Party, act); err != nil {
			w.t.Fatalf("%s: a withdrawal: %v", what, err)
		}
		delete(w.live, child)
		break
	}
	switch w.r.IntN(3) {
	case 0: // it comes back
		w.jump(w.day.In(encoding.Amsterdam).Add(time.Hour))
	case 1:
		for party := 1; party <= 3; party++ {
			err := w.signal(party, w.Now().Add(time.Duration(w.r.IntN(1200)-600)*time.Second))
			if party < 3 {
				wantCode(w.t, err, api.CodeUnavailable)
			} else if err != nil {
				w.t.Fatalf("%s: the third witness: %v", what, err)
			}
		}
		w.day, w.held = registry.Today(w.Now()), false
		w.found["believed"]++
	}
}

// held is a world whose clock is a week ahead of what its registry has seen.
func held(t *testing.T, parties int) *matchertest.World {
	t.Helper()
	w := matchertest.New(t, parties)
	w.Signal(0, matchertest.Child(1))
	w.Jump(w.Now().AddDate(0, 0, 7))
	isHeld(t, w, true)
	return w
}

func isHeld(t *testing.T, w *matchertest.World, want bool) {
	t.Helper()
	if c, err := w.Clock(t.Context()); err != nil || c.Held != want {
		t.Errorf("held is %v (%v)", c.Held, err)
	}
}

// Who may not be believed as a witness of a clock that is held.
func TestRow9WitnessesAreThreeOrganisations(t *testing.T) {
	send := func(w *matchertest.World, party int, change ...func(*api.Statement)) {
		t.Helper()
		_, err := w.Send(w.Write(party, matchertest.Child(2), api.NewSID(), 1, change...))
		if err == nil {
			t.Error("it was taken")
		}
	}
	unit := matchertest.Party(1) + "/team-a"
	for name, third := range map[string]func(*matchertest.World){
		"one_party_twice": func(w *matchertest.World) { send(w, 1) },
		"another_time": func(w *matchertest.World) {
			send(w, 3, func(s *api.Statement) { s.Issued = s.Issued.Add(-11 * time.Minute) })
		},
		"a_time_ahead": func(w *matchertest.World) {
			send(w, 3, func(s *api.Statement) { s.Issued = s.Issued.Add(11 * time.Minute) })
		},
		"a_forged_signature": func(w *matchertest.World) {
			p := w.Write(3, matchertest.Child(2), api.NewSID(), 1)
			p.Submission.Signed.Signature = append([]byte(nil), p.Submission.Signed.Signature...)
			p.Submission.Signed.Signature[0] ^= 1
			if _, err := w.Send(p); err == nil {
				t.Error("it was taken")
			}
		},
		"a_unit_of_one": func(w *matchertest.World) {
			send(w, 3, func(s *api.Statement) { s.Party = unit })
		},
		"of_a_clock_that_jumped_again": func(w *matchertest.World) {
			w.Jump(w.Now().AddDate(0, 1, 0))
			send(w, 3)
		},
	} {
		t.Run("rejects/"+name, func(t *testing.T) {
			w := held(t, 4)
			w.Directory.Parties = append(w.Directory.Parties, manifest.Party{ID: unit, Keys: w.Directory.Parties[3].Keys})
			send(w, 1)
			send(w, 2)
			third(w)
			isHeld(t, w, true)
		})
	}
	t.Run("three_that_came_on_two_days", func(t *testing.T) {
		w := held(t, 4)
		send(w, 1)
		w.Jump(w.Now().Add(24 * time.Hour))
		send(w, 2)
		w.Signal(3, matchertest.Child(2))
		isHeld(t, w, false)
	})
	t.Run("a_withdrawal", func(t *testing.T) {
		w := matchertest.New(t, 4)
		p := w.Signal(3, matchertest.Child(1))
		w.Jump(w.Now().AddDate(0, 0, 7))
		send(w, 1)
		send(w, 2)
		w.Withdraw(p)
		isHeld(t, w, false)
	})
}

// Whoever runs the registry can say that the clock is right, and not that it was
// yesterday.
func TestRow9AcceptedClock(t *testing.T) {
	w := held(t, 1)
	if c, err := w.AcceptClock(t.Context()); err != nil || c.Held || c.Day != registry.Today(w.Now()) {
		t.Errorf("%+v (%v)", c, err)
	}
	w.Signal(0, matchertest.Child(2))
	day := registry.Today(w.Now())
	w.Reopen()
	w.Jump(w.Now().AddDate(0, 0, -7))
	if c, err := w.AcceptClock(t.Context()); err != nil || c.Held || c.Day != day || c.Off() >= 0 {
		t.Errorf("a week back: %+v (%v)", c, err)
	}
}
