// SPDX-License-Identifier: EUPL-1.2

package manifest

import "time"

// A Grant lets a party do more for a time than the policy's budgets: to import what
// it has, say. It counts for from ≤ t < until. From names it: a grant whose until or
// amounts are changed stays the same one, and what was spent of it stays spent.
type Grant struct {
	From    time.Time `json:"from"`
	Until   time.Time `json:"until"`
	Daily   int       `json:"daily"`   // evaluations more a UTC day
	Monthly int       `json:"monthly"` // and a UTC month
	Purpose string    `json:"purpose"` // for people
}

const (
	grantDays   = 400 // from from to until: a grant has to end
	grantAmount = 10_000_000
)

func (g Grant) valid() bool {
	return plainTime(g.From) && plainTime(g.Until) && g.Until.After(g.From) && !g.Until.After(g.From.AddDate(0, 0, grantDays)) &&
		g.Daily >= 1 && g.Daily <= grantAmount && g.Monthly >= g.Daily && g.Monthly <= 31*grantAmount && plainText(g.Purpose)
}

// GrantsAt lists the party's grants that are in force at an instant.
func (p Party) GrantsAt(t time.Time) (list []Grant) {
	for _, g := range p.Grants {
		if !t.Before(g.From) && t.Before(g.Until) {
			list = append(list, g)
		}
	}
	return list
}

// timesBudget is how many times the daily budget the registry takes of a party, where
// the policy does not say it: a child may have several signals, renewals and cards.
const timesBudget = 10

// SignalQuota is how many signals and revisions the registry takes of a party a UTC
// day, without grants.
func (p Policy) SignalQuota() int {
	if p.DailySignals > 0 {
		return p.DailySignals
	}
	return timesBudget * p.DailyBudget
}

// ActQuota is how many acts, withdrawals aside, the registry takes of a party a UTC
// day.
func (p Policy) ActQuota() int {
	if p.DailyActs > 0 {
		return p.DailyActs
	}
	return timesBudget * p.DailyBudget
}
