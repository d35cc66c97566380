// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"testing"
	"time"
)

func TestDaysOfABudget(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		evaluations    int
		wait           time.Duration
		daily, monthly int
		want           int
	}{
		{40, 15 * time.Hour, 5, 2000, 8},
		{5, 15 * time.Hour, 5, 0, 1},
		{30_000, 27 * day, 0, 30_000, 27},
		{30_001, 27 * day, 0, 30_000, 57},
		{59_000, 27 * day, 30_000, 30_000, 57},
		{59_000, 27 * day, 1_000, 30_000, 27 + 30 + 28},
		{100, day, 0, 0, 0},
	} {
		if got := daysOf(c.evaluations, c.wait, c.daily, c.monthly); got != c.want {
			t.Errorf("%+v: %d days", c, got)
		}
	}
}

// A cohort whose budget was spent holds nothing up when none of its jobs is left.
func TestACohortWithoutJobsHoldsNothingUp(t *testing.T) {
	now := time.Now()
	p := &Party{queue: newQueue()}
	p.trouble.cohort(lane{stage: evaluating, cohort: 2012}, &waitError{For: WaitBudget, Until: time.Hour})
	job := Job{ID: newID(now), Kind: JobSignal, Identity: []byte{1}, Cohort: 2012}
	p.queue.put(job)
	if w, next := p.holdUp(now); w != WaitBudget || !next.After(now) {
		t.Errorf("its job waits for %s until %s", w, next)
	}
	turn := p.queue.evaluate(&p.trouble, func(time.Time) bool { return false })
	if w, _ := p.holdUp(now); w != WaitBudget {
		t.Errorf("in the hands of a turn it waits for %s", w)
	}
	p.queue.delete(job.ID)
	p.queue.done(turn)
	p.queue.put(Job{ID: newID(now), Kind: JobSignal, Identity: []byte{1}, Cohort: 2013})
	if w, next := p.holdUp(now); w != WaitNothing || !next.IsZero() {
		t.Errorf("without it there is a wait for %s until %s", w, next)
	}
}
