// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/manifest"
)

// PartUnreachable is a part's code, beside those of edge.
const PartUnreachable = "unreachable"

// When somebody has to look: a feed is polled every minute, and what is not an
// import goes within seconds.
const (
	feedLate  = 5 * time.Minute
	queueLate = time.Hour
)

// Health tells whether the gateway can do its work. Only what keeps it from taking
// signals on is a fault, and Err says why then: with the registry away they wait in
// the queue, which is a warning.
func (g *Gateway) Health() (h edge.Health, err error) {
	if _, err = get[int](g.store.view, keyFormat()); err != nil {
		h.Add("store", edge.PartFault, edge.HealthFault)
	} else {
		h.Add("store", edge.PartOK, edge.HealthOK)
	}
	m, d := g.roots.known()
	now := g.now()
	until := func(name string, known bool, ends func() time.Time) {
		switch {
		case !known:
			h.Add(name, edge.PartMissing, edge.HealthWarning)
		case now.After(ends()):
			h.Add(name, edge.PartExpired, edge.HealthWarning)
		default:
			h.AddUntil(name, ends(), now)
		}
	}
	until("manifest", m != nil, func() time.Time { return m.NotAfter })
	until("directory", d != nil, func() time.Time { return d.NotAfter })
	warn := func(name, code string, bad bool) {
		if bad {
			h.Add(name, code, edge.HealthWarning)
		} else {
			h.Add(name, edge.PartOK, edge.HealthOK)
		}
	}
	warn("cohort", edge.PartMissing, m != nil && m.LacksNextCohort(now))
	warn("registry", PartUnreachable, g.feedAge() > feedLate)
	warn("evaluators", PartUnreachable, m != nil && !g.reach.enough(m))
	switch alarms := g.LogAlarms(); {
	case !logged(m):
		h.Add("log", edge.PartMissing, edge.HealthOK)
	case len(alarms) > 0:
		h.Add("log", string(alarms[0].Fault), edge.HealthWarning)
	default:
		h.Add("log", edge.PartOK, edge.HealthOK)
	}
	warn("queue", edge.PartLate, g.queueAge(false) > queueLate)
	warn("lost", edge.PartMissing, g.lost() > 0)
	return h, err
}

// lost is how many registrations wait for being made anew.
func (g *Gateway) lost() (all int) {
	for _, p := range g.order {
		n, err := p.Lost()
		if err != nil {
			g.log.Error("lost signals not looked after", "party", string(p.id), "cause", err)
		}
		all += n
	}
	return all
}

// Roots are the newest manifest and directory, in force or not; nil where there is none.
func (g *Gateway) Roots() (*manifest.Manifest, *manifest.Directory) { return g.roots.known() }

// reach is which evaluators answered last, and when each party's feed was last read.
type reach struct {
	mu     sync.Mutex
	silent map[int]bool // by the evaluator's index
	polled map[partyKey]time.Time
}

func (r *reach) evaluator(index int, answered bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.silent == nil {
		r.silent = map[int]bool{}
	}
	r.silent[index] = !answered
}

// enough tells whether the threshold can be met, as far as evaluators were asked.
func (r *reach) enough(m *manifest.Manifest) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, who := range m.Evaluators {
		if !r.silent[who.Index] {
			n++
		}
	}
	return n >= m.Threshold
}

// feedRead takes note of a poll that was answered.
func (p *Party) feedRead() {
	r := &p.g.reach
	r.mu.Lock()
	defer r.mu.Unlock()
	r.polled[p.key] = p.g.now()
}

// feedAge is how long ago the feed was read that was not read for longest, since the
// start of the gateway.
func (g *Gateway) feedAge() (age time.Duration) {
	g.reach.mu.Lock()
	defer g.reach.mu.Unlock()
	for _, at := range g.reach.polled {
		age = max(age, g.now().Sub(at))
	}
	return age
}

// queueAge is the age of the oldest job that is of an import, or is not.
func (g *Gateway) queueAge(imported bool) (age time.Duration) {
	for _, p := range g.order {
		if id, ok := p.queue.first(imported); ok {
			came := time.UnixMilli(int64(binary.BigEndian.Uint64(id[:]) >> 16))
			age = max(age, g.now().Sub(came))
		}
	}
	return age
}

// first is the oldest job that is of an import, or is not.
func (q *queue) first(imported bool) (oldest ID, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for id, pl := range q.jobs {
		if pl.lane.imported == imported && (!ok || bytes.Compare(id[:], oldest[:]) < 0) {
			oldest, ok = id, true
		}
	}
	return oldest, ok
}

// used is the largest share that a party has used of its budget at each evaluator, by
// what they said last; of what is not known there is nothing.
func (g *Gateway) used(share func(evaluator int, period string, used float64)) {
	type budget struct {
		evaluator int
		period    string
	}
	most := map[budget]float64{}
	for _, p := range g.order {
		p.budgets.mu.Lock()
		for index, told := range p.budgets.of {
			if !told.known {
				continue
			}
			b := told.budget
			for period, l := range map[string][2]int{"day": {b.Day.Spent, b.Day.Limit}, "month": {b.Month.Spent, b.Month.Limit}} {
				if l[1] > 0 {
					at := budget{index, period}
					most[at] = max(most[at], float64(l[0])/float64(l[1]))
				}
			}
		}
		p.budgets.mu.Unlock()
	}
	for at, used := range most {
		share(at.evaluator, at.period, used)
	}
}

// ages measures at the moment that somebody asks.
type ages struct{ g *Gateway }

var (
	feedAge = prometheus.NewDesc("seinhuis_gateway_feed_age_seconds",
		"Time since the last successful poll of the feed that was not read for longest.", nil, nil)
	queueAge = prometheus.NewDesc("seinhuis_gateway_queue_age_seconds",
		"Age of the oldest job in the queue, by whether it is of an import; 0 if there is none.", []string{"import"}, nil)
	lostSignals = prometheus.NewDesc("seinhuis_gateway_lost_registrations",
		"Registrations whose signal was destroyed with a compromised epoch, and that nobody has made anew yet.", nil, nil)
	budgetUsed = prometheus.NewDesc("seinhuis_gateway_budget_used_ratio",
		"The largest share that a party of this gateway has used of its budget, by evaluator and period, as the evaluator said last.", []string{"evaluator", "period"}, nil)
)

// Describe implements prometheus.Collector.
func (ages) Describe(ch chan<- *prometheus.Desc) {
	ch <- feedAge
	ch <- queueAge
	ch <- budgetUsed
	ch <- lostSignals
}

// Collect implements prometheus.Collector.
func (a ages) Collect(ch chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	gauge(feedAge, a.g.feedAge().Seconds())
	gauge(queueAge, a.g.queueAge(false).Seconds(), "no")
	gauge(queueAge, a.g.queueAge(true).Seconds(), "yes")
	gauge(lostSignals, float64(a.g.lost()))
	a.g.used(func(evaluator int, period string, used float64) {
		gauge(budgetUsed, used, strconv.Itoa(evaluator), period)
	})
}
