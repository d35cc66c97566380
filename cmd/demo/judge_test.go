// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"fmt"
	"strings"
	"testing"
)

// truth is what a faultless Seinhuis would have come to: the inboxes with every
// event that is wanted, and the sid of each registration.
func truth(want Expected) (inboxes [][]Event, sids map[*Registration]string) {
	sids = map[*Registration]string{}
	for i, l := range want.Lives {
		for _, r := range l.Registrations {
			sids[r] = fmt.Sprintf("%032x", i+1)
		}
	}
	inboxes = make([][]Event, len(parties))
	network := map[*Child]int{}
	for i, w := range want.Wants {
		if w.Kind == evEnded {
			network[w.Own.Child]++
		}
		e := Event{
			ID: fmt.Sprint(i), Kind: w.Kind, SID: sids[w.Own.Registrations[0]], Other: string(parties[w.Other.Party].ID),
			Match: fmt.Sprint(w.Own.Child.ID, network[w.Own.Child]),
		}
		if w.From >= 0 {
			card := w.Other.Cards[w.From]
			if card == nil {
				card = ownCard(w.Other.Party)
			}
			copied := *card
			e.Card, e.Code = &copied, "123456"
		}
		inboxes[w.Own.Party] = append(inboxes[w.Own.Party], e)
	}
	return inboxes, sids
}

// joined finds an inbox and a place in it with an event of the kind.
func find(inboxes [][]Event, kind string) (party, i int) {
	for party, events := range inboxes {
		for i, e := range events {
			if e.Kind == kind {
				return party, i
			}
		}
	}
	panic("no " + kind)
}

func TestJudge(t *testing.T) {
	plant := map[string]struct {
		change func(inboxes [][]Event, sids map[*Registration]string)
		is     func(v *Verdict) bool
	}{
		"nothing": {
			func([][]Event, map[*Registration]string) {},
			func(v *Verdict) bool { return v.Missed+v.False+v.CardsWrong == 0 && len(v.Faults) == 0 },
		},
		"a missed match": {
			func(in [][]Event, _ map[*Registration]string) {
				p, i := find(in, evJoined)
				in[p] = append(in[p][:i], in[p][i+1:]...)
			},
			func(v *Verdict) bool { return v.Missed == 1 && v.False == 0 },
		},
		"a missed departure": {
			func(in [][]Event, _ map[*Registration]string) {
				p, i := find(in, evLeft)
				in[p] = append(in[p][:i], in[p][i+1:]...)
			},
			func(v *Verdict) bool { return v.Missed == 1 && v.False == 0 },
		},
		"an event twice": {
			func(in [][]Event, _ map[*Registration]string) {
				p, i := find(in, evJoined)
				in[p] = append(in[p], in[p][i])
			},
			func(v *Verdict) bool { return v.Missed == 0 && v.False == 1 },
		},
		"a match with a party outside": {
			func(in [][]Event, _ map[*Registration]string) {
				p, i := find(in, evJoined)
				e := in[p][i]
				e.Other = string(guest.ID)
				in[p] = append(in[p], e)
			},
			func(v *Verdict) bool { return v.Missed == 0 && v.False == 1 },
		},
		"an event on a signal that nobody has": {
			func(in [][]Event, _ map[*Registration]string) {
				p, i := find(in, evJoined)
				in[p][i].SID = "ffffffffffffffffffffffffffffffff"
			},
			func(v *Verdict) bool { return v.Missed == 1 && v.False == 1 },
		},
		"one letter of a card": {
			func(in [][]Event, _ map[*Registration]string) {
				p, i := find(in, evJoined)
				in[p][i].Card.Phone += "1"
			},
			func(v *Verdict) bool { return v.CardsWrong == 1 && v.Missed+v.False == 0 },
		},
		"an older revision of a card": {
			func(in [][]Event, _ map[*Registration]string) {
				p, i := find(in, evCard)
				for _, e := range in[p] {
					if e.Kind == evJoined && e.SID == in[p][i].SID && e.Other == in[p][i].Other {
						*in[p][i].Card = *e.Card
					}
				}
			},
			func(v *Verdict) bool { return v.CardsWrong == 1 && v.Missed+v.False == 0 },
		},
		"an event without its card": {
			func(in [][]Event, _ map[*Registration]string) {
				p, i := find(in, evJoined)
				in[p][i].Card = nil
			},
			func(v *Verdict) bool { return v.CardsWrong == 1 },
		},
		"a card that did not verify": {
			func(in [][]Event, _ map[*Registration]string) {
				p, i := find(in, evJoined)
				in[p][i].Problem = "kaartOngeldig"
			},
			func(v *Verdict) bool { return v.CardsWrong == 1 },
		},
		"another read-out code on one side": {
			func(in [][]Event, _ map[*Registration]string) {
				p, i := find(in, evJoined)
				in[p][i].Code = "654321"
			},
			func(v *Verdict) bool { return v.ReadOutCodesWrong == 1 },
		},
		"two signals of one child and party": {
			func(_ [][]Event, sids map[*Registration]string) {
				for r := range sids {
					if strings.HasPrefix(r.Professional, "colleague") {
						sids[r] = "ffffffffffffffffffffffffffffffff"
						return
					}
				}
			},
			func(v *Verdict) bool { return len(v.Faults) > 0 },
		},
		"a registration lost": {
			func(_ [][]Event, sids map[*Registration]string) { clear(sids) },
			func(v *Verdict) bool { return v.Signals == 0 && v.Missed > 0 && len(v.Faults) > 0 },
		},
		"two matches for one": {
			func(in [][]Event, _ map[*Registration]string) {
				p, i := find(in, evJoined)
				in[p][i].Match = "another"
			},
			func(v *Verdict) bool { return v.Missed+v.False == 0 },
		},
	}
	for name, c := range plant {
		t.Run(name, func(t *testing.T) {
			want := expectAll(newPlan(200, 7, days[0]))
			inboxes, sids := truth(want)
			c.change(inboxes, sids)
			v := judge(want, inboxes, sids)
			if !c.is(v) {
				t.Errorf("not seen: %+v", v)
			}
			if good := v.Good(want); good != (name == "nothing") {
				t.Errorf("found good: %v", good)
			}
		})
	}
}
