// SPDX-License-Identifier: EUPL-1.2

package exchange

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/registry"
)

// lag measures what the registry owes: events that parties have not fetched, and
// signals that should have been swept. Parties are counted, never named.
//
// Nothing in a feed says when an event came, and nothing has to: lag looks every
// minute, and remembers since when a party's oldest event has been waiting. So it
// knows nothing from before a restart, and is a minute off.
type lag struct {
	s *Server

	mu      sync.Mutex
	since   map[api.PartyID]waiting
	events  int
	expired time.Duration
	off     time.Duration // of the clock
	held    bool
	scrub   time.Duration // since when all of the store has been rewritten
	looked  bool
}

type waiting struct {
	first uint64
	since time.Time
}

// behind are the ages by which parties are counted.
var behind = []struct {
	name string
	age  time.Duration
}{{"10m", 10 * time.Minute}, {"1h", time.Hour}, {"1d", 24 * time.Hour}, {"7d", 7 * 24 * time.Hour}}

var (
	feedLag = prometheus.NewDesc("seinhuis_registry_feed_lag_seconds",
		"How long the event has been waiting that waits longest for its party to fetch it; 0 if none waits.", nil, nil)
	feedsBehind = prometheus.NewDesc("seinhuis_registry_feeds_behind",
		"Parties that have not fetched an event for longer than an age.", []string{"age"}, nil)
	eventsWaiting = prometheus.NewDesc("seinhuis_registry_events_waiting",
		"Events that parties have not acknowledged.", nil, nil)
	expiryLag = prometheus.NewDesc("seinhuis_registry_expiry_lag_seconds",
		"How long past their last day the oldest signals are that have not been swept; 0 if there are none. Such signals do not match.", nil, nil)
	scrubAge = prometheus.NewDesc("seinhuis_registry_scrub_age_seconds",
		"How long ago the part of the store was rewritten that was left longest: what was destroyed before that is in no file of it.", nil, nil)
	clockOff = prometheus.NewDesc("seinhuis_registry_clock_off_seconds",
		"How far the clock is ahead of the registry's day, which is then held, or behind it if negative; 0 as it should be.", nil, nil)
)

// Measure measures anew; to be called about every minute.
func (s *Server) Measure(ctx context.Context) error {
	clock, err := s.Matcher.Clock(ctx)
	if err != nil {
		return err
	}
	now := clock.Now
	_, dir := s.Matcher.Trust()
	s.lag.mu.Lock()
	since := s.lag.since
	s.lag.mu.Unlock()
	next, events := map[api.PartyID]waiting{}, 0
	for _, party := range dir.Parties {
		first, n, err := s.Matcher.Store.Behind(ctx, party.ID)
		if err != nil {
			return err
		}
		if n == 0 {
			continue
		}
		events += n
		w, known := since[party.ID]
		if !known || w.first != first {
			w = waiting{first, now}
		}
		next[party.ID] = w
	}
	day, due, err := s.Matcher.Store.OldestDue(ctx, clock.Day)
	if err != nil {
		return err
	}
	scrubbed, err := s.Matcher.Store.Scrubbed(ctx, clock.Says)
	if err != nil {
		return err
	}
	s.lag.mu.Lock()
	defer s.lag.mu.Unlock()
	s.lag.scrub = clock.Says.Sub(scrubbed)
	s.lag.since, s.lag.events, s.lag.expired, s.lag.looked = next, events, 0, true
	if s.lag.off = clock.Off(); clock.Held != s.lag.held {
		s.lag.held = clock.Held
		s.tellClock(clock)
	}
	if due && !s.Matcher.Rests(now) {
		s.lag.expired = registry.Since(day, now)
	}
	return nil
}

// tellClock tells that the clock is held, or no longer.
func (s *Server) tellClock(c registry.Clock) {
	if c.Held {
		s.Log.Error("read-only", "reason", string(matcher.ReasonClock))
	} else {
		s.Log.Info("no longer read-only", "reason", string(matcher.ReasonClock))
	}
}

// Describe is of prometheus.Collector.
func (l *lag) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{feedLag, feedsBehind, eventsWaiting, expiryLag, clockOff, scrubAge} {
		to <- d
	}
}

// Collect is of prometheus.Collector.
func (l *lag) Collect(to chan<- prometheus.Metric) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.looked {
		return
	}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	now, longest := l.s.Matcher.Time(), time.Duration(0)
	parties := make([]int, len(behind))
	for _, w := range l.since {
		age := now.Sub(w.since)
		longest = max(longest, age)
		for i, b := range behind {
			if age > b.age {
				parties[i]++
			}
		}
	}
	gauge(feedLag, longest.Seconds())
	for i, b := range behind {
		gauge(feedsBehind, float64(parties[i]), b.name)
	}
	gauge(eventsWaiting, float64(l.events))
	gauge(expiryLag, l.expired.Seconds())
	gauge(clockOff, l.off.Seconds())
	gauge(scrubAge, l.scrub.Seconds())
}
