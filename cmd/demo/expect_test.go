// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A hand-made case is written as lines of acts: "signal 0 1" has parties 0 and 1
// signal at once, "withdraw 0", "renew 0", "again 0", "colleague 0", and "-colleague
// 0" for the colleague's withdrawal. What must follow is written as
// "recipient kind other", with the card's revision behind a card.
var expectations = map[string]struct {
	steps    []string
	events   []string
	networks int
	absorbed int
	lives    int
}{
	"alone":                  {steps: []string{"signal 0"}, lives: 1},
	"two at once":            {steps: []string{"signal 0 1"}, events: []string{"0 joined 1 #1", "1 joined 0 #1"}, networks: 1, lives: 2},
	"withdrawn before":       {steps: []string{"signal 0", "withdraw 0", "signal 1"}, lives: 2},
	"withdrawn after":        {steps: []string{"signal 0 1", "withdraw 0"}, events: []string{"0 joined 1 #1", "1 ended 0", "1 joined 0 #1", "1 left 0"}, networks: 1, lives: 2},
	"one of three withdraws": {steps: []string{"signal 0 1 2", "withdraw 1"}, events: []string{"0 joined 1 #1", "0 joined 2 #1", "0 left 1", "1 joined 0 #1", "1 joined 2 #1", "2 joined 0 #1", "2 joined 1 #1", "2 left 1"}, networks: 1, lives: 3},
	"renewed before":         {steps: []string{"signal 0", "renew 0", "signal 1"}, events: []string{"0 joined 1 #1", "1 joined 0 #2"}, networks: 1, lives: 2},
	"renewed after":          {steps: []string{"signal 0 1", "renew 0"}, events: []string{"0 joined 1 #1", "1 card 0 #2", "1 joined 0 #1"}, networks: 1, lives: 2},
	"signalled anew": {steps: []string{"signal 0 1", "withdraw 0", "signal 0"}, networks: 2, lives: 3,
		events: []string{"0 joined 1 #1", "0 joined 1 #1", "1 ended 0", "1 joined 0 #1", "1 joined 0 #1", "1 left 0"}},
	"entered twice":              {steps: []string{"signal 0 1", "again 0"}, events: []string{"0 joined 1 #1", "1 joined 0 #1"}, networks: 1, lives: 2, absorbed: 1},
	"a colleague stays":          {steps: []string{"signal 0 1", "colleague 0", "withdraw 0"}, events: []string{"0 joined 1 #1", "1 joined 0 #1"}, networks: 1, lives: 2, absorbed: 1},
	"both colleagues go":         {steps: []string{"signal 0 1", "colleague 0", "withdraw 0", "-colleague 0"}, events: []string{"0 joined 1 #1", "1 ended 0", "1 joined 0 #1", "1 left 0"}, networks: 1, lives: 2, absorbed: 1},
	"entered twice, then leaves": {steps: []string{"signal 0 1", "again 0", "withdraw 0"}, events: []string{"0 joined 1 #1", "1 ended 0", "1 joined 0 #1", "1 left 0"}, networks: 1, lives: 2, absorbed: 1},
}

// script reads the lines of a hand-made case.
func script(lines []string) [][]Act {
	w := &writer{census: newCensus(1, days[0])}
	child := w.child(0)
	last, second := map[string]Act{}, map[string]Act{}
	var steps [][]Act
	for _, line := range lines {
		words := strings.Fields(line)
		var acts []Act
		for _, party := range words[1:] {
			switch words[0] {
			case "signal":
				last[party] = w.signal(int(party[0]-'0'), child)
				acts = append(acts, last[party])
			case "again":
				acts = append(acts, w.again(last[party]))
			case "colleague":
				second[party] = w.colleague(last[party])
				acts = append(acts, second[party])
			case "withdraw":
				acts = append(acts, w.withdraw(last[party]))
			case "-colleague":
				acts = append(acts, w.withdraw(second[party]))
			case "renew":
				w.entries++
				acts = append(acts, Act{Do: doRenew, On: last[party].On, Card: w.card(parties[0], w.entries)})
			}
		}
		steps = append(steps, acts)
	}
	return steps
}

func TestExpectations(t *testing.T) {
	for name, c := range expectations {
		t.Run(name, func(t *testing.T) {
			o := newOracle()
			for _, acts := range script(c.steps) {
				o.step(acts)
			}
			var got []string
			for _, w := range o.Wants {
				line := fmt.Sprintf("%d %s %d", w.Own.Party, w.Kind, w.Other.Party)
				if w.From >= 0 {
					line += fmt.Sprintf(" #%d", w.From+1)
				}
				got = append(got, line)
			}
			slices.Sort(got)
			if !slices.Equal(got, c.events) {
				t.Errorf("events:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(c.events, "\n"))
			}
			if o.Networks != c.networks || o.Absorbed != c.absorbed || len(o.Lives) != c.lives {
				t.Errorf("%d matches, %d absorbed, %d signals; want %d, %d, %d",
					o.Networks, o.Absorbed, len(o.Lives), c.networks, c.absorbed, c.lives)
			}
		})
	}
}
