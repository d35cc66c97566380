// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"errors"
	"sync"
	"time"

	"github.com/seinhuis/seinhuis/manifest"
)

// errReserve says that what is left of a day's budget is kept for what somebody
// waits for.
var errReserve = errors.New("gateway: the rest of the day's budget is for single signals")

// spent is what the party has had evaluated on a UTC day, since the gateway started.
// It is at least what any evaluator has debited since, but for answers that came too
// late or are of a batch that is not done. It decides about imports alone.
type spent struct {
	mu  sync.Mutex
	day time.Time
	n   int
}

func dayOf(now time.Time) time.Time { return now.UTC().Truncate(24 * time.Hour) }

func untilTomorrow(now time.Time) time.Duration {
	return dayOf(now).AddDate(0, 0, 1).Sub(now)
}

func (s *spent) add(n int, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if day := dayOf(now); !day.Equal(s.day) {
		s.day, s.n = day, 0
	}
	s.n += n
}

// leaves tells whether the evaluations for so many rows of an import, each in some
// epochs, leave the policy's reserve of the day for reports and single signals. One
// row a day goes however small the rest is; a reserve that is all of the budget is none.
func (s *spent) leaves(policy manifest.Policy, rows, epochs int, now time.Time) bool {
	room := policy.DailyBudget - policy.ReportReserve
	if room <= 0 {
		return true
	}
	s.add(0, now)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n+rows*epochs <= max(room, epochs)
}
