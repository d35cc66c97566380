// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"math"
	"time"

	"github.com/seinhuis/seinhuis/manifest"
)

// A pace is how many rows of an import were done at moments of the last minute. It
// is not kept: after a start it is taken anew.
type pace struct{ marks []mark }

type mark struct {
	at   time.Time
	done int
}

const (
	paceOver  = time.Minute
	paceEvery = time.Second
)

func (p *pace) mark(now time.Time, done int) {
	p.forget(now)
	if n := len(p.marks); n == 0 || now.Sub(p.marks[n-1].at) >= paceEvery {
		p.marks = append(p.marks, mark{now, done})
	}
}

func (p *pace) forget(now time.Time) {
	for len(p.marks) > 0 && now.Sub(p.marks[0].at) > paceOver {
		p.marks = p.marks[1:]
	}
}

// perSecond is the pace now; zero when there is too little to tell it by.
func (p *pace) perSecond(now time.Time, done int) float64 {
	p.forget(now)
	if len(p.marks) == 0 || now.Sub(p.marks[0].at) < paceEvery {
		return 0
	}
	return float64(done-p.marks[0].done) / now.Sub(p.marks[0].at).Seconds()
}

// importStatus tells how an import gets on. p.mu is held.
func (p *Party) importStatus(row Import) ImportStatus {
	s := ImportStatus{Import: row, WaitFor: WaitNothing}
	if !row.Settled.IsZero() {
		delete(p.paces, row.ID)
		return s
	}
	if pace := p.paces[row.ID]; pace != nil {
		s.PerSecond = pace.perSecond(time.Now(), row.Done())
	}
	if s.PerSecond > 0 {
		s.Left = time.Duration(float64(row.Total-row.Done()) / s.PerSecond * float64(time.Second))
	}
	if row.Counts.Queued > 0 {
		s.WaitFor, s.Next = p.holdUp(p.g.now())
	}
	if s.WaitFor == WaitBudget {
		s.PerSecond, s.Left = 0, 0
		if m, d := p.g.roots.known(); m != nil {
			daily, monthly := m.Policy.DailyBudget, m.Policy.MonthlyBudget
			for _, g := range p.grants(d) {
				daily, monthly = daily+g.Daily, monthly+g.Monthly
			}
			s.Days = daysOf((row.Total-row.Done())*len(m.Open()), s.Next.Sub(p.g.now()), daily, monthly)
		}
	}
	return s
}

// daysOf is about how many days so many evaluations take by the budgets, which are
// new after a wait; zero is unknown.
func daysOf(evaluations int, wait time.Duration, daily, monthly int) int {
	if evaluations <= 0 || daily <= 0 && monthly <= 0 {
		return 0
	}
	days := int(math.Ceil(wait.Hours() / 24)) // then the first day begins
	if monthly > 0 {
		months := (evaluations - 1) / monthly
		days += months * 30
		evaluations -= months * monthly
	}
	if daily > 0 {
		days += (evaluations - 1) / daily
	}
	return days
}

// grants are the party's own that are in force.
func (p *Party) grants(d *manifest.Directory) []manifest.Grant {
	if d == nil {
		return nil
	}
	self, _ := d.Party(p.id)
	return self.GrantsAt(p.g.now())
}

// holdUp is what the queue waits for, and until when; a spent budget goes before
// servers that cannot be reached.
func (p *Party) holdUp(now time.Time) (WaitFor, time.Time) {
	waiting := p.queue.waiting()
	t := &p.trouble
	t.mu.Lock()
	defer t.mu.Unlock()
	worst := t.registry
	if worst.Failures == 0 {
		worst = t.imports
	}
	single, imported := lane{stage: submitting}, lane{stage: submitting, imported: true}
	if t.quota.Failures > 0 && (waiting[single] || waiting[imported]) {
		worst = t.quota
	}
	for l, w := range t.cohorts {
		if !waiting[l] {
			continue // of a cohort that has no jobs left, nobody asks any more
		}
		if worst.Failures == 0 || w.For == WaitBudget && worst.For != WaitBudget {
			worst = w
		}
	}
	switch {
	case worst.Failures == 0:
		return WaitNothing, time.Time{}
	case worst.For == WaitBudget:
		return WaitBudget, now.Add(time.Until(worst.Said)).Round(time.Minute).UTC()
	}
	return worst.For, worst.Until.UTC()
}

// waiting are the lanes that have jobs, and the cohorts that a turn has in its hands.
func (q *queue) waiting() map[lane]bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	lanes := map[lane]bool{}
	for l := range q.lanes {
		lanes[l] = true
	}
	for l, c := range q.cohorts {
		if c.busy {
			lanes[l] = true
		}
	}
	return lanes
}
