// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// A Plan is all that will happen, laid down before anything does.
type Plan struct {
	Today    encoding.Date
	Children []*Child
	// Cases do not depend on each other and are played side by side. Those of
	// Outage begin while the registry and an evaluator are down.
	Before, Outage, After []*Case
	// Closing is played when all else is done. A feed keeps the order in which the
	// registry committed, so a party that has been told of a closing child has been
	// told everything before: what is not in its inbox then will not come.
	Closing []*Case
}

// Cases lists all cases in the order of the plan.
func (p *Plan) Cases() []*Case {
	var all []*Case
	for _, part := range [][]*Case{p.Before, p.Outage, p.After, p.Closing} {
		all = append(all, part...)
	}
	return all
}

// knownTo gives for each child the ids of the parties that signal it at some time.
func (p *Plan) knownTo() map[*Child][]string {
	known := map[*Child][]string{}
	for _, c := range p.Cases() {
		for _, r := range c.registrations() {
			if id := string(parties[r.Party].ID); r.signals() && !slices.Contains(known[r.Child], id) {
				known[r.Child] = append(known[r.Child], id)
			}
		}
	}
	return known
}

// A Case is what happens around one child, or around the children of one report.
// The acts of a step are sent at the same instant; a step begins when the acts of
// the one before it have their final answer and the events that follow from them
// lie in the inboxes. So whether two signals lived at the same time is certain.
type Case struct {
	Story string
	Steps [][]Act
}

// registrations lists all that are made in a case; those of a report that is sent
// in twice are listed twice.
func (c *Case) registrations() (all []*Registration) {
	for _, acts := range c.Steps {
		for _, a := range acts {
			switch a.Do {
			case doSignal:
				all = append(all, a.On)
			case doReport:
				all = append(all, a.Report.Persons...)
			}
		}
	}
	return all
}

// What a professional does.
const (
	doSignal   = "signal"
	doReport   = "report"
	doWithdraw = "withdraw"
	doRenew    = "renew"
)

// An Act is one request to a gateway.
type Act struct {
	Do     string
	On     *Registration // of signal, withdraw and renew
	Report *Report       // of report
	Card   *Card         // of renew: the new card
	Reason string        // of withdraw: ended or mistake
}

// A Registration is one person as one professional of one party enters him.
type Registration struct {
	Party        int    // place in parties
	Child        *Child // who it is in truth; nil where no number was given
	Kind         string // as typed, like Number and Birth
	Number       string
	Birth        string
	Role         string // in a report, in the words of the gateway's API
	Professional string
	Reference    string
	Card         *Card // nil: the party's own
	Term         int   // days; 0: the policy's

	// Refused is the field that is given wrongly on purpose, in the words of the
	// gateway's API; empty for what must be taken. Why says what is wrong with it.
	Refused, Why string
}

// signals tells whether the registration must lead to a signal.
func (r *Registration) signals() bool { return r.Refused == "" && r.Number != "" }

// A Report is a melding of Veilig Thuis with all its persons.
type Report struct {
	Party        int
	Professional string
	Reference    string
	Card         *Card
	Persons      []*Registration
}

// newPlan writes a plan with n children. It depends on the seed and the day
// alone.
func newPlan(n int, seed uint64, today encoding.Date) *Plan {
	w := &writer{census: newCensus(seed, today)}
	plan := &Plan{Today: today}
	for i := range n {
		plan.Children = append(plan.Children, w.child(i))
	}
	left := append([]*Child(nil), plan.Children...)
	w.rng.Shuffle(n, func(i, j int) { left[i], left[j] = left[j], left[i] })

	var cases []*Case
	for range 1 + n/100 {
		size := min(3, len(left))
		cases = append(cases, w.report(left[:size]))
		left = left[size:]
	}
	for i, child := range left {
		cases = append(cases, stories[i%len(stories)].write(w, child))
	}
	for i := range 5 + n/100 {
		cases = append(cases, w.refused(i))
	}
	w.rng.Shuffle(len(cases), func(i, j int) { cases[i], cases[j] = cases[j], cases[i] })

	for _, c := range cases {
		if len(plan.Outage) < 1+n/25 && c.begins() {
			plan.Outage = append(plan.Outage, c)
		} else {
			plan.After = append(plan.After, c)
		}
	}
	half := len(plan.After) / 2
	plan.Before, plan.After = plan.After[:half], plan.After[half:]
	for from := 0; from < len(parties); from += 4 {
		child := w.child(n + from/4)
		child.Note = "closing child"
		plan.Children = append(plan.Children, child)
		c := &Case{Story: "closing", Steps: [][]Act{nil}}
		for p := from; p < min(from+4, len(parties)); p++ {
			c.Steps[0] = append(c.Steps[0], w.signal(p, child))
		}
		plan.Closing = append(plan.Closing, c)
	}
	return plan
}

// begins tells whether a case can begin while nobody answers: each of its first
// acts leads to something that a gateway has to keep until somebody does.
func (c *Case) begins() bool {
	for _, a := range c.Steps[0] {
		if a.Do == doSignal && !a.On.signals() {
			return false
		}
	}
	return true
}

// A writer makes up cases.
type writer struct {
	*census
	entries int // registrations, for references and cards that differ
}

// some draws how many parties know a child, from least to 4, and which.
func (w *writer) some(least int) []int {
	k := least + w.rng.IntN(5-least)
	return w.rng.Perm(len(parties))[:k]
}

// enter makes a registration of a person by a party. One in eight goes with the
// party's own card, the others each with a card that no other has.
func (w *writer) enter(party int, child *Child) *Registration {
	w.entries++
	p := parties[party]
	r := &Registration{
		Party: party, Child: child, Kind: child.Kind, Number: w.typed(child), Birth: w.birthDate(child),
		Professional: fmt.Sprintf("%s.%d", p.Folder, 1+w.rng.IntN(5)),
		Reference:    fmt.Sprintf("%s-%05d", strings.ToUpper(p.Folder[:3]), w.entries),
	}
	if w.rng.IntN(8) > 0 {
		r.Card = w.card(p, w.entries)
	}
	if w.rng.IntN(4) == 0 {
		r.Term = 30 + w.rng.IntN(300)
	}
	return r
}

func (w *writer) signal(party int, child *Child) Act {
	return Act{Do: doSignal, On: w.enter(party, child)}
}

func (w *writer) signalAll(of []int, child *Child) []Act {
	var acts []Act
	for _, p := range of {
		acts = append(acts, w.signal(p, child))
	}
	return acts
}

func (w *writer) withdraw(a Act) Act {
	return Act{Do: doWithdraw, On: a.On, Reason: []string{"ended", "mistake"}[w.rng.IntN(2)]}
}

// renew gives the signal a new card, or keeps the one it has.
func (w *writer) renew(a Act) Act {
	renewal := Act{Do: doRenew, On: a.On}
	if w.rng.IntN(4) > 0 {
		w.entries++
		renewal.Card = w.card(parties[a.On.Party], w.entries)
	}
	return renewal
}

// again is the same professional who enters the same child once more.
func (w *writer) again(a Act) Act {
	r := *a.On
	r.Number = w.typed(r.Child)
	return Act{Do: doSignal, On: &r}
}

// colleague is another professional of the same party who signals the child,
// under a reference of his own.
func (w *writer) colleague(a Act) Act {
	act := w.signal(a.On.Party, a.On.Child)
	act.On.Professional = "colleague." + act.On.Professional
	act.On.Card, act.On.Term = a.On.Card, a.On.Term
	return act
}

// A story is a way in which things go around one child.
type story struct {
	name string
	// least is how few parties it needs.
	least int
	steps func(w *writer, of []int, child *Child) [][]Act
}

func (s story) write(w *writer, child *Child) *Case {
	return &Case{Story: s.name, Steps: s.steps(w, w.some(s.least), child)}
}

// stories are dealt in turn. Plain ones stand between the others, as most
// children are.
var stories = []story{
	together,
	{"in turn", 1, func(w *writer, of []int, child *Child) (steps [][]Act) {
		for _, p := range of {
			steps = append(steps, []Act{w.signal(p, child)})
		}
		return steps
	}},
	{"withdrawn after the match", 2, func(w *writer, of []int, child *Child) [][]Act {
		all := w.signalAll(of, child)
		return [][]Act{all, {w.withdraw(all[0])}}
	}},
	together,
	{"withdrawn before the others", 2, func(w *writer, of []int, child *Child) [][]Act {
		first := w.signal(of[0], child)
		return [][]Act{{first}, {w.withdraw(first)}, w.signalAll(of[1:], child)}
	}},
	{"renewed after the match", 2, func(w *writer, of []int, child *Child) [][]Act {
		all := w.signalAll(of, child)
		return [][]Act{all, {w.renew(all[0])}, {w.renew(all[0])}}
	}},
	together,
	{"renewed before the others", 2, func(w *writer, of []int, child *Child) [][]Act {
		first := w.signal(of[0], child)
		return [][]Act{{first}, {w.renew(first)}, w.signalAll(of[1:], child)}
	}},
	{"colleagues", 2, func(w *writer, of []int, child *Child) [][]Act {
		first := w.signal(of[0], child)
		second := w.colleague(first)
		return [][]Act{{first}, append(w.signalAll(of[1:], child), second), {w.withdraw(first)}}
	}},
	{"colleagues at once, who both go", 2, func(w *writer, of []int, child *Child) [][]Act {
		all := w.signalAll(of, child)
		second := w.colleague(all[0])
		return [][]Act{append([]Act{second}, all...), {w.withdraw(all[0])}, {w.withdraw(second)}}
	}},
	together,
	{"entered twice", 1, func(w *writer, of []int, child *Child) [][]Act {
		all := w.signalAll(of, child)
		return [][]Act{all, {w.again(all[0])}}
	}},
	{"withdrawn and signalled anew", 2, func(w *writer, of []int, child *Child) [][]Act {
		all := w.signalAll(of, child)
		return [][]Act{all, {w.withdraw(all[0])}, {w.signal(of[0], child)}}
	}},
	{"late after a withdrawal", 3, func(w *writer, of []int, child *Child) [][]Act {
		all := w.signalAll(of[1:], child)
		return [][]Act{all, {w.withdraw(all[0])}, {w.signal(of[0], child)}}
	}},
	{"all withdraw", 2, func(w *writer, of []int, child *Child) [][]Act {
		all := w.signalAll(of, child)
		steps := [][]Act{all}
		for _, a := range all {
			steps = append(steps, []Act{w.withdraw(a)})
		}
		return steps
	}},
}

var together = story{"together", 1, func(w *writer, of []int, child *Child) [][]Act {
	return [][]Act{w.signalAll(of, child)}
}}

// report is a melding with up to three children, an adult, somebody who turns 23
// today and a child without a number. Other parties know some of the children;
// the whole report is sent in twice.
func (w *writer) report(children []*Child) *Case {
	w.entries++
	p := parties[veiligThuis]
	report := &Report{
		Party: veiligThuis, Professional: "intake.1", Reference: fmt.Sprintf("MELDING-%05d", w.entries),
		Card: w.card(p, w.entries),
	}
	person := func(child *Child, role, refused, why string) *Registration {
		r := w.enter(veiligThuis, child)
		r.Role, r.Refused, r.Why = role, refused, why
		r.Professional, r.Card, r.Term = report.Professional, report.Card, 0
		report.Persons = append(report.Persons, r)
		return r
	}
	first := []Act{{Do: doReport, Report: report}}
	for i, child := range children {
		person(child, []string{"kind", "broerZus", ""}[i], "", "")
		for _, other := range w.rng.Perm(len(parties))[:w.rng.IntN(4)] {
			if other != veiligThuis {
				first = append(first, w.signal(other, child))
			}
		}
	}
	person(w.adult(), "ouder", "geboortedatum", whyAdult)
	person(w.turns23(), "broerZus", "nummer", whyAdult)
	nobody := person(&Child{Kind: "bsn", Number: w.bsn(), Birth: w.bornIn(w.today.Year - 4)}, "broerZus", "", "")
	nobody.Child, nobody.Kind, nobody.Number = nil, "", ""
	w.rng.Shuffle(len(report.Persons), func(i, j int) {
		report.Persons[i], report.Persons[j] = report.Persons[j], report.Persons[i]
	})
	steps := [][]Act{first, {{Do: doReport, Report: report}}}
	if w.rng.IntN(2) == 0 {
		for _, r := range report.Persons {
			if r.signals() {
				steps = append(steps, []Act{w.withdraw(Act{On: r})})
				break
			}
		}
	}
	return &Case{Story: "report", Steps: steps}
}

// whyAdult is why a person is refused who is not young any more; those are
// counted apart.
const whyAdult = "23 or older"

// refused is a single person given wrongly.
func (w *writer) refused(i int) *Case {
	child := &Child{Kind: "bsn", Number: w.bsn(), Birth: w.bornIn(w.today.Year - 10)}
	r := w.enter(w.rng.IntN(len(parties)), child)
	r.Number = child.Number
	switch i % 5 {
	case 0:
		last := (child.Number[8]-'0'+1)%10 + '0'
		r.Number, r.Refused, r.Why = child.Number[:8]+string(last), "nummer", "check digit"
	case 1:
		r.Birth, r.Refused, r.Why = fmt.Sprintf("%d-02-30", child.Birth.Year), "geboortedatum", "no such day"
	case 2:
		r.Birth, r.Refused, r.Why = w.bornIn(w.today.Year-40).String(), "geboortedatum", whyAdult
	case 3:
		r.Birth, r.Refused, r.Why = w.today.AddDate(0, 0, 2).String(), "geboortedatum", "born in the future"
	case 4:
		r.Reference, r.Refused, r.Why = "dossier "+child.Number, "kenmerk", "the number in the reference"
	}
	return &Case{Story: "given wrongly", Steps: [][]Act{{{Do: doSignal, On: r}}}}
}
