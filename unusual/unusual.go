// SPDX-License-Identifier: EUPL-1.2

// Package unusual tells of use that stands out: a party that does what few others do,
// which is a reason to ask it why. It knows parties and numbers, no child and no
// signal, and judges nobody.
//
//	kind                             told by     when
//	evaluations-without-submissions  evaluator   a UTC day has more than 64 + 2 × signals evaluations, for each open epoch;
//	                                             signals of the next day count as far as it has no evaluations for them
//	nightly-bulk                     both        more than a quarter of the daily budget between 00:00 and 06:00 Amsterdam, without a grant
//	above-peers                      both        a UTC day, less grants, is over ten times the median of three or more others of the kind
//	withdrawn-after-match            registry    a signal met somebody, and was withdrawn within a day of when it was taken
//
// What is under 64, or for above-peers under a tenth of the daily budget, is never
// bulk. Nights and days are told of when they are over: a log that said it at once
// would tell when a party does what. Evaluations wait a day more, for what is evaluated
// before midnight may be sent after it. What is counted is in memory, so a restart
// forgets the night, and may tell of a day twice.
package unusual

import (
	"cmp"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/manifest"
)

// A Kind of unusual use.
type Kind string

// The kinds.
const (
	WithoutSubmissions  Kind = "evaluations-without-submissions"
	NightlyBulk         Kind = "nightly-bulk"
	AbovePeers          Kind = "above-peers"
	WithdrawnAfterMatch Kind = "withdrawn-after-match"
)

const (
	few     = 64 // a batch of evaluations
	byNight = 4  // the part of a daily budget that is much for a night
	byDay   = 10 // the part of it under which a day is little
	times   = 10 // the median of others
	peers   = 3  // others that a median takes
)

// A Watch tells of unusual use: in a counter by kind, and in the log with the party.
type Watch struct {
	found *prometheus.CounterVec
	log   *slog.Logger

	mu    sync.Mutex
	night string // in Amsterdam
	done  map[api.PartyID]int
}

// New makes a watch for a part, "registry" or "evaluator", that tells of these kinds.
func New(part string, reg prometheus.Registerer, log *slog.Logger, kinds ...Kind) *Watch {
	w := &Watch{log: log, found: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "seinhuis_" + part + "_unusual_use_total", Help: "Use that stands out; the log names the party.",
	}, []string{"kind"})}
	for _, kind := range kinds {
		w.found.WithLabelValues(string(kind))
	}
	reg.MustRegister(w.found)
	return w
}

// Tell tells of a party's use.
func (w *Watch) Tell(kind Kind, party api.PartyID) {
	w.found.WithLabelValues(string(kind)).Inc()
	w.log.Warn("unusual use", "kind", string(kind), "party", string(party))
}

// nightOf names the night that it is; empty by day.
func nightOf(now time.Time) string {
	if local := now.In(encoding.Amsterdam); local.Hour() < 6 {
		return local.Format(time.DateOnly)
	}
	return ""
}

// Count takes note of what a party does, if it is night and no grant is in force.
func (w *Watch) Count(p manifest.Party, n int, now time.Time) {
	night := nightOf(now)
	if night == "" || len(p.GrantsAt(now)) > 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.night != night {
		w.night, w.done = night, map[api.PartyID]int{}
	}
	w.done[p.ID] += n
}

// Night tells of the night that is over, once.
func (w *Watch) Night(policy manifest.Policy, now time.Time) {
	w.mu.Lock()
	if w.night == "" || w.night == nightOf(now) {
		w.mu.Unlock()
		return
	}
	done := w.done
	w.night, w.done = "", nil
	w.mu.Unlock()
	much := max(few, policy.DailyBudget/byNight)
	for _, party := range sorted(done) {
		if done[party] > much {
			w.Tell(NightlyBulk, party)
		}
	}
}

// Peers tells of parties that did far more on a UTC day than others of their kind who
// did anything. What a grant of that day allows is not counted.
func (w *Watch) Peers(done map[api.PartyID]int, d *manifest.Directory, policy manifest.Policy, day time.Time) {
	much := max(few, policy.DailyBudget/byDay)
	for _, party := range sorted(done) {
		self, ok := d.Party(party)
		own := less(done[party], self, day)
		if !ok || own <= much {
			continue
		}
		var others []int
		for _, p := range d.Parties {
			if n := less(done[p.ID], p, day); n > 0 && p.ID != party && p.Kind == self.Kind {
				others = append(others, n)
			}
		}
		if len(others) < peers {
			continue
		}
		slices.Sort(others)
		if own > times*others[len(others)/2] {
			w.Tell(AbovePeers, party)
		}
	}
}

// less is what was done less what grants of the day allow.
func less(n int, p manifest.Party, day time.Time) int {
	for _, g := range p.Grants {
		if g.From.Before(day.AddDate(0, 0, 1)) && g.Until.After(day) {
			n -= g.Daily
		}
	}
	return max(0, n)
}

// A Day is what parties had evaluated on a UTC day, and what they sent to the registry
// on it.
type Day struct {
	Evaluated map[api.PartyID]int
	Sent      api.Usage
}

// Submissions tells of parties that had far more evaluated on a day than they sent to
// the registry: a child evaluated is a child signalled, in each open epoch, on that day
// or on the next. What was evaluated on the next day itself comes first there.
func (w *Watch) Submissions(day, next Day, epochs int) {
	epochs = max(1, epochs) // whatever was evaluated was evaluated in one
	sent, late := day.sent(), next.sent()
	for _, party := range sorted(day.Evaluated) {
		signalled := epochs*sent[party] + max(0, epochs*late[party]-next.Evaluated[party])
		if day.Evaluated[party] > epochs*few+2*signalled {
			w.Tell(WithoutSubmissions, party)
		}
	}
}

func (d Day) sent() map[api.PartyID]int {
	sent := make(map[api.PartyID]int, len(d.Sent.Items))
	for _, one := range d.Sent.Items {
		sent[one.Party] = one.Signals
	}
	return sent
}

func sorted(done map[api.PartyID]int) (list []api.PartyID) {
	for party := range done {
		list = append(list, party)
	}
	slices.SortFunc(list, func(a, b api.PartyID) int { return cmp.Compare(a, b) })
	return list
}
