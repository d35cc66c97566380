// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/identity"
	"github.com/seinhuis/seinhuis/crypto/seal"
)

// days are days on which a population has been hard to make: a leap day, the ends
// of a year, and any.
var days = []encoding.Date{
	{Year: 2026, Month: time.November, Day: 22}, {Year: 2027, Month: time.January, Day: 1}, {Year: 2027, Month: time.December, Day: 31},
	{Year: 2028, Month: time.February, Day: 29}, {Year: 2028, Month: time.March, Day: 1},
}

// parse has the gateway's own package judge what the plan makes up.
func parse(t *testing.T, r *Registration, today encoding.Date) (identity.Identity, error) {
	t.Helper()
	var birth encoding.Date
	if r.Birth != "" {
		var err error
		if birth, err = encoding.ParseDate(r.Birth); err != nil {
			return identity.Identity{}, err
		}
	}
	return identity.Parse(map[string]identity.Kind{"bsn": identity.BSN, "insz": identity.INSZ}[r.Kind], r.Number, birth, today)
}

func registrations(p *Plan) (all []*Registration) {
	for _, c := range p.Cases() {
		all = append(all, c.registrations()...)
	}
	return all
}

func TestPopulation(t *testing.T) {
	for _, today := range days {
		for seed := range uint64(4) {
			t.Run(fmt.Sprintf("%s/%d", today, seed), func(t *testing.T) {
				plan := newPlan(300, seed, today)
				canonical := map[string]*Child{}
				years, bis := map[int]bool{}, 0
				for _, r := range registrations(plan) {
					id, err := parse(t, r, today)
					switch {
					case r.Refused == "kenmerk": // the number is right
						if err != nil || !id.HasNumber(r.Reference) {
							t.Errorf("the reference does not hold the number: %v", err)
						}
					case r.Refused != "":
						if err == nil {
							t.Errorf("%s: is taken", r.Why)
						}
						if f, ok := errors.AsType[*identity.Fault](err); r.Why == whyAdult && (!ok || f.Rule != identity.RuleAdult) {
							t.Errorf("%s: refused for %v", r.Why, err)
						}
					case r.signals():
						if err != nil {
							t.Errorf("%s (%s) is refused: %v", r.Child.ID, r.Child.Note, err)
							continue
						}
						// One child is one input of the OPRF, however it is typed, and no two are.
						x, err := id.Canonical("demo", 1)
						if err != nil {
							t.Fatal(err)
						}
						if known := canonical[string(x)]; known != nil && known != r.Child {
							t.Errorf("%s and %s are one", known.ID, r.Child.ID)
						}
						canonical[string(x)] = r.Child
						years[id.Cohort()] = true
					}
					if r.Card != nil {
						if err := seal.Card(*r.Card).Validate(); err != nil {
							t.Error(err)
						}
					}
				}
				if len(canonical) != len(plan.Children) {
					t.Errorf("%d children are %d inputs", len(plan.Children), len(canonical))
				}
				for age := range 23 {
					if !years[today.Year-age] {
						t.Errorf("nobody was born in %d", today.Year-age)
					}
				}
				for _, c := range plan.Children {
					if c.Kind == "insz" && c.Number[2] >= '2' {
						bis++
					}
				}
				if bis < 10 {
					t.Errorf("%d BIS numbers", bis)
				}
			})
		}
	}
}

func TestTurns23Today(t *testing.T) {
	today := days[0]
	c := newCensus(1, today)
	p := c.turns23()
	if want := (encoding.Date{Year: 2003, Month: today.Month, Day: today.Day}); p.Birth != want {
		t.Errorf("born %v; want %v", p.Birth, want)
	}
}

// TestPlan holds what every plan has, from one child on.
func TestPlan(t *testing.T) {
	for _, n := range []int{1, 2, 3, 10, 500} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			plan := newPlan(n, 7, days[0])
			if len(plan.Children) != n+len(plan.Closing) {
				t.Errorf("%d children", len(plan.Children))
			}
			if len(plan.Outage) == 0 {
				t.Error("no case begins while the registry is down")
			}
			known := plan.knownTo()
			references := map[string]*Child{}
			for _, r := range registrations(plan) {
				if !r.signals() {
					continue
				}
				if c := references[r.Reference]; c != nil && c != r.Child {
					t.Errorf("two children under reference %s", r.Reference)
				}
				references[r.Reference] = r.Child
			}
			for _, c := range plan.Children {
				if k := len(known[c]); k < 1 || k > 4 {
					t.Errorf("%s is known to %d parties", c.ID, k)
				}
			}
			closed := map[int]bool{}
			for _, c := range plan.Closing {
				for _, a := range c.Steps[0] {
					closed[a.On.Party] = true
				}
			}
			if len(closed) != len(parties) {
				t.Errorf("%d parties have a closing child", len(closed))
			}
		})
	}
}

func TestPlanIsOfItsSeed(t *testing.T) {
	a, b := newPlan(60, 7, days[0]), newPlan(60, 7, days[0])
	if !reflect.DeepEqual(a, b) {
		t.Error("the same seed and day give two plans")
	}
	if c := newPlan(60, 8, days[0]); reflect.DeepEqual(a.Children, c.Children) {
		t.Error("two seeds give one population")
	}
}

// TestStories sees to it that each story is told and each kind of act done.
func TestStories(t *testing.T) {
	plan := newPlan(100, 3, days[0])
	var told []string
	for _, c := range plan.Cases() {
		told = append(told, c.Story)
	}
	for _, s := range stories {
		if !slices.Contains(told, s.name) {
			t.Errorf("%q is not told", s.name)
		}
	}
	e := expectAll(plan)
	if e.Withdrawals == 0 || e.Renewals == 0 || e.Absorbed == 0 || e.Reports != 2 || e.NoNumber != 2 || e.Refused[whyAdult] < 4 {
		t.Errorf("not everything happens: %+v", e)
	}
}
