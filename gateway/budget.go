// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"context"
	"errors"
	"math"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/manifest"
)

const (
	budgetAnswer = 2 * time.Second // how long an evaluator may take
	maxBudget    = 4 << 10         // bytes
	budgetsFor   = 5 * time.Minute // how long what they said is gone by
)

// errBudget says that the evaluators have too little left for what is to be done.
var errBudget = errors.New("gateway: too little is left at the evaluators")

// budgets is what each evaluator has told the party that it has left. They count, and
// nothing is kept here: after a start they are asked. In between it is reckoned on with
// what they were asked since.
type budgets struct {
	asking sync.Mutex // one asks for all
	mu     sync.Mutex
	of     map[int]*told // by the evaluator's index
}

type told struct {
	budget api.Budget
	at     time.Time // by the clock of the process
	known  bool
	asked  int // elements that are under way
}

func (b *budgets) at(index int) *told {
	if b.of == nil {
		b.of = map[int]*told{}
	}
	if b.of[index] == nil {
		b.of[index] = new(told)
	}
	return b.of[index]
}

// fresh tells whether what was said is not older than an age, and of this day.
func (t *told) fresh(age time.Duration, now time.Time) bool {
	return time.Since(t.at) < age && (!t.known || now.Before(t.budget.Day.Until))
}

// askBudgets asks the evaluators what is left that have not said so since an age.
func (p *Party) askBudgets(ctx context.Context, m *manifest.Manifest, age time.Duration) {
	began := time.Now()
	p.budgets.asking.Lock()
	defer p.budgets.asking.Unlock()
	var asks sync.WaitGroup
	for _, who := range m.Evaluators {
		p.budgets.mu.Lock()
		told := p.budgets.at(who.Index)
		skip := told.at.After(began) || told.fresh(age, p.g.now())
		p.budgets.mu.Unlock()
		if skip {
			continue
		}
		asks.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, budgetAnswer)
			defer cancel()
			var got api.Budget
			err := p.call(ctx, endpoint{who.URL, who.TLS}, http.MethodGet, "/v1/budget", nil, &got, maxBudget)
			p.budgets.mu.Lock()
			defer p.budgets.mu.Unlock()
			told.budget, told.at, told.known = got, time.Now(), err == nil
		})
	}
	asks.Wait()
}

// room is how many elements an evaluator has for jobs of a lane, by what it said. An
// import leaves as much of the day for what somebody waits for as the policy keeps for
// reports, but may have one child a day evaluated however little there is.
func (t *told) room(l lane, p manifest.Policy, epochs int) int {
	left := t.budget.Left
	switch {
	case l.report:
		left += max(0, t.budget.Reserve.Limit-t.budget.Reserve.Spent)
	case l.imported && p.ReportReserve < p.DailyBudget:
		left -= p.ReportReserve
		if t.budget.Day.Spent+t.asked == 0 {
			left = max(left, min(epochs, t.budget.Left))
		}
	}
	return max(0, left-t.asked)
}

// fits is how many jobs of a lane can be evaluated now, at as many evaluators as are
// needed. Of one that said nothing lately it is not known, and it counts as able.
func (p *Party) fits(m *manifest.Manifest, l lane) int {
	epochs := max(1, len(m.Open()))
	p.budgets.mu.Lock()
	defer p.budgets.mu.Unlock()
	var rooms []int
	for _, who := range m.Evaluators {
		told, room := p.budgets.at(who.Index), math.MaxInt
		if told.known && told.fresh(budgetsFor, p.g.now()) {
			room = told.room(l, m.Policy, epochs)
		}
		rooms = append(rooms, room)
	}
	slices.Sort(rooms)
	return rooms[len(rooms)-m.Threshold] / epochs
}

// spent is that a lane has to wait: until the first evaluator has a new budget.
func (p *Party) spent(m *manifest.Manifest, l lane) *waitError {
	now := p.g.now()
	e := &waitError{For: WaitBudget, Err: errBudget}
	p.budgets.mu.Lock()
	defer p.budgets.mu.Unlock()
	for _, who := range m.Evaluators {
		told := p.budgets.at(who.Index)
		if !told.known {
			continue
		}
		until := told.budget.Day.Until
		if !l.report && told.budget.Month.Spent >= told.budget.Month.Limit {
			until = told.budget.Month.Until
		}
		if wait := until.Sub(now); e.Until == 0 || wait < e.Until {
			e.Until = wait
		}
	}
	return e
}

// asks takes note that an evaluator is asked for so many elements; answered says that
// the request is over, and whether it may have been debited. It is false, and nothing
// noted, when those of an import do not fit.
func (p *Party) asks(m *manifest.Manifest, who manifest.Evaluator, l lane, n int) (answered func(debited bool), ok bool) {
	p.budgets.mu.Lock()
	defer p.budgets.mu.Unlock()
	told := p.budgets.at(who.Index)
	if l.imported && told.known && told.fresh(budgetsFor, p.g.now()) && told.room(l, m.Policy, len(m.Open())) < n {
		return nil, false
	}
	told.asked += n
	return func(debited bool) {
		p.budgets.mu.Lock()
		defer p.budgets.mu.Unlock()
		told.asked -= n
		if debited {
			of := min(n, told.budget.Left)
			told.budget.Left -= of
			told.budget.Day.Spent += of
			told.budget.Reserve.Spent += n - of
		}
	}, true
}

// able puts those first of whom it is known that so many elements fit, and leaves the
// others in their order behind: what is known may be wrong.
func (p *Party) able(m *manifest.Manifest, order []manifest.Evaluator, l lane, n int) {
	p.budgets.mu.Lock()
	defer p.budgets.mu.Unlock()
	short := func(who manifest.Evaluator) int {
		if told := p.budgets.at(who.Index); told.known && told.fresh(budgetsFor, p.g.now()) && told.room(l, m.Policy, len(m.Open())) < n {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(order, func(a, b manifest.Evaluator) int { return short(a) - short(b) })
}

// untilTomorrow is how long until the next UTC day.
func untilTomorrow(now time.Time) time.Duration {
	return now.UTC().Truncate(24*time.Hour).AddDate(0, 0, 1).Sub(now)
}
