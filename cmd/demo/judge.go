// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"fmt"
	"slices"
)

// A Verdict is what came of a plan beside what should have.
type Verdict struct {
	Signals           int // that stood at the registry, by their sids
	Matches           int // by their ids in the inboxes
	Events            int // in all inboxes
	Missed            int // events that are not there
	False             int // events that should not be there
	CardsOpened       int
	CardsWrong        int // cards that are not the one that was sealed, or missing
	ReadOutCodesWrong int // pairs of which both sides have another code
	Faults            []string
}

// maxFaults bounds what is told of a run that goes wrong all over.
const maxFaults = 50

func (v *Verdict) fault(format string, args ...any) {
	if len(v.Faults) < maxFaults {
		v.Faults = append(v.Faults, fmt.Sprintf(format, args...))
	}
}

// Good tells whether everything came as it should.
func (v *Verdict) Good(want Expected) bool {
	return v.Missed == 0 && v.False == 0 && v.CardsWrong == 0 && v.ReadOutCodesWrong == 0 && len(v.Faults) == 0 &&
		v.Signals == len(want.Lives) && v.Matches == want.Networks
}

// judge compares the inboxes, one a party, with what was expected. sids has the
// name at the registry of each registration that was taken.
func judge(want Expected, inboxes [][]Event, sids map[*Registration]string) *Verdict {
	v := &Verdict{}
	lives := v.identify(want.Lives, sids)
	v.Signals = len(lives)

	// What is told of the same two signals comes in the order of its happening, so
	// the n-th event of a kind stands for the n-th that is wanted.
	wanted := map[wantKey][]Want{}
	for _, w := range want.Wants {
		k := wantKey{w.Own, w.Kind, w.Other.Party}
		wanted[k] = append(wanted[k], w)
	}
	matches := map[string]bool{}
	codes := map[[2]*Life]string{}
	for party, events := range inboxes {
		for _, e := range events {
			v.Events++
			own := lives[signalName{party, e.SID}]
			other := slices.IndexFunc(parties, func(p Party) bool { return string(p.ID) == e.Other })
			key := wantKey{own, e.Kind, other}
			if len(wanted[key]) == 0 {
				v.False++
				v.fault("%s was told %s about %s on signal %s (%v), which nothing leads to", parties[party].Folder, e.Kind, e.Other, e.SID, e.References)
				continue
			}
			w := wanted[key][0]
			wanted[key] = wanted[key][1:]
			v.card(w, e)
			v.code(codes, w, e)
			if e.Kind == evJoined {
				matches[e.Match] = true
			}
		}
	}
	v.Matches = len(matches)
	for _, w := range want.Wants { // in their order, so that a fault reads the same each time
		k := wantKey{w.Own, w.Kind, w.Other.Party}
		if n := len(wanted[k]); n > 0 {
			delete(wanted, k)
			v.Missed += n
			v.fault("%s was not told %s about %s on %s", parties[k.own.Party].Folder, k.kind, parties[k.other].Folder, k.own.Child.ID)
		}
	}
	return v
}

type signalName struct {
	party int
	sid   string
}

type wantKey struct {
	own   *Life
	kind  string
	other int // place in parties
}

// identify finds out under which sid each signal stood. All registrations of one
// must have the same, and no two signals of a party one.
func (v *Verdict) identify(all []*Life, sids map[*Registration]string) map[signalName]*Life {
	lives := map[signalName]*Life{}
	for _, l := range all {
		sid := sids[l.Registrations[0]]
		if sid == "" {
			v.fault("the registration of %s by %s has no signal", l.Child.ID, parties[l.Party].Folder)
			continue
		}
		for _, r := range l.Registrations[1:] {
			if sids[r] != sid {
				v.fault("two registrations of %s by %s are not one signal", l.Child.ID, parties[l.Party].Folder)
			}
		}
		name := signalName{l.Party, sid}
		if lives[name] != nil {
			v.fault("two signals of %s have one sid", parties[l.Party].Folder)
		}
		lives[name] = l
	}
	return lives
}

// card compares an opened card, field by field, with those that may be in the
// event: the one that was sealed for the revision it tells of, or a later one.
func (v *Verdict) card(w Want, e Event) {
	if e.Card != nil {
		v.CardsOpened++
	}
	good := e.Problem == ""
	switch {
	case w.From < 0:
		good = good && e.Card == nil
	case e.Card == nil:
		good = false
	default:
		good = good && slices.ContainsFunc(w.Other.Cards[w.From:], func(c *Card) bool {
			if c == nil {
				c = ownCard(w.Other.Party)
			}
			return *c == *e.Card
		})
	}
	if !good {
		v.CardsWrong++
		v.fault("%s has not the card of %s in %s on %s (problem %q)", parties[w.Own.Party].Folder, e.Other, e.Kind, w.Own.Child.ID, e.Problem)
	}
}

// code checks that both sides of a pair would read out the same six digits.
func (v *Verdict) code(codes map[[2]*Life]string, w Want, e Event) {
	if e.Kind != evJoined {
		return
	}
	pair, mirror := [2]*Life{w.Own, w.Other}, [2]*Life{w.Other, w.Own}
	codes[pair] = e.Code
	if theirs, both := codes[mirror]; e.Code == "" || both && theirs != e.Code {
		v.ReadOutCodesWrong++
		v.fault("%s and %s have no read-out code in common on %s", parties[w.Own.Party].Folder, e.Other, w.Own.Child.ID)
	}
}

// ownCard is the contact card in a party's configuration.
func ownCard(party int) *Card {
	p := parties[party]
	return &Card{
		Name: "Bureau van dienst", Role: p.Role, Desk: p.Name, Phone: fmt.Sprintf("+31 20 5600%03d", party),
		Email: "bureau@" + p.Folder + ".example", Reachable: "werkdagen 9-17 uur",
	}
}
