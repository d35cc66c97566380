// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/soak"
)

// TestRow10ARestoreWithGateways has parties signal, renew, answer and withdraw while
// backups are made, loses the registry's database, puts one of the backups back, and
// waits until the gateways have sent again what it lacks. Nothing that had ended may
// live, nothing that was acknowledged be missing, and nobody be told twice.
func TestRow10ARestoreWithGateways(t *testing.T) {
	soak.Row(t, 10, "a restored backup of any age", soak.Short(6), func(t *testing.T, seed uint64) soak.Found {
		d := newDrill(t, seed)
		for range 14 + d.rng.IntN(8) {
			d.step()
		}
		for range 1 + d.rng.IntN(2) { // restored once more, perhaps
			d.unfinished()
			d.restore()
			d.settle()
			d.check()
			for range 3 {
				d.step()
			}
			d.check()
		}
		return d.found
	})
}

// A drill is what parties did, beside the parts that were to remember it.
type drill struct {
	*testing.T
	w       *gatewaytest.World
	rng     *rand.Rand
	parties []*gateway.Party
	stands  map[[2]int]*stood // by party and child
	met     map[[2]api.SID]*meeting
	backups []string
	found   soak.Found
}

// stood is a signal that a party was given a receipt for.
type stood struct {
	gateway.Status
	rev       uint64
	withdrawn bool // asked for, perhaps not done
}

// A meeting is what one signal's owner was to be told of another.
type meeting struct {
	left  bool
	cards int          // at most
	words []api.Answer // in their order, but for the last perhaps not done
}

func newDrill(t *testing.T, seed uint64) *drill {
	w := gatewaytest.New(t, 3)
	d := &drill{
		T: t, w: w, rng: rand.New(rand.NewPCG(10, seed)), stands: map[[2]int]*stood{}, met: map[[2]api.SID]*meeting{}, found: soak.Found{},
	}
	for i := range 3 {
		d.parties = append(d.parties, w.Run(i).Of(i))
	}
	return d
}

const drillChildren = 3

func (d *drill) step() {
	d.Helper()
	p, c := d.rng.IntN(3), 1+d.rng.IntN(drillChildren)
	s := d.stands[[2]int{p, c}]
	if s != nil && !d.lives(s) {
		delete(d.stands, [2]int{p, c})
		s = nil
	}
	switch n := d.rng.IntN(12); {
	case n < 2 || len(d.backups) == 0:
		d.found["backups"]++
		name := fmt.Sprintf("backup-%d", d.found["backups"])
		d.w.Backup(name)
		d.backups = append(d.backups, name)
		d.w.Advance(time.Duration(1+d.rng.IntN(90)) * time.Minute)
	case n < 4:
		d.w.Advance(time.Duration(d.rng.IntN(96)) * time.Hour)
	case s == nil:
		d.signal(p, c)
	case n < 6:
		if _, err := d.parties[p].Withdraw(s.ID, api.ReasonEnded); err != nil {
			d.Fatal(err)
		}
		d.withdrawn(p, c)
		settled(d.T, d.parties[p], s.ID)
	case n < 9:
		d.renew(p, c)
		d.renewed(s, settled(d.T, d.parties[p], s.ID))
	default:
		d.answer(p, c)
	}
}

// lives tells whether a signal is to live by the clock.
func (d *drill) lives(s *stood) bool {
	return !s.withdrawn && s.Signal.Expires.Compare(registry.Today(d.w.Now())) > 0
}

func (d *drill) signal(p, c int) {
	d.Helper()
	tm := terms("jansen", fmt.Sprintf("%d-%d", p, c))
	tm.TermDays = []int{0, 28, 60}[d.rng.IntN(3)]
	s := signal(d.T, d.parties[p], child(c), tm)
	mine := &stood{Status: s, rev: s.Signal.Rev}
	for other := range 3 {
		if o := d.stands[[2]int{other, c}]; o != nil && d.lives(o) && other != p {
			d.met[[2]api.SID{s.SID, o.SID}], d.met[[2]api.SID{o.SID, s.SID}] = &meeting{}, &meeting{}
			d.found["meetings"]++
		}
	}
	d.stands[[2]int{p, c}] = mine
	d.found["signals"]++
}

func (d *drill) withdrawn(p, c int) {
	s := d.stands[[2]int{p, c}]
	s.withdrawn = true
	for other := range 3 {
		if o := d.stands[[2]int{other, c}]; o != nil && d.lives(o) {
			if m := d.met[[2]api.SID{o.SID, s.SID}]; m != nil {
				m.left = true
			}
		}
	}
	d.found["withdrawals"]++
}

func (d *drill) renew(p, c int) {
	d.Helper()
	s := d.stands[[2]int{p, c}]
	tm := gateway.Terms{TermDays: 90}
	if d.rng.IntN(2) == 0 {
		tm.Card = gateway.Card{Name: fmt.Sprintf("Naam %d", s.rev+1), Phone: "+31 30 5550100"}
	}
	if _, err := d.parties[p].Renew(s.ID, gateway.Subject{}, tm); err != nil {
		d.Fatal(err)
	}
	for other := range 3 {
		if o := d.stands[[2]int{other, c}]; o != nil {
			if m := d.met[[2]api.SID{o.SID, s.SID}]; m != nil {
				m.cards++
			}
		}
	}
	d.found["revisions"]++
}

func (d *drill) renewed(s *stood, now gateway.Status) {
	d.Helper()
	if now.Signal == nil || len(now.Faults) > 0 {
		d.Fatalf("a renewal came to %s with %v", now.State, now.Faults)
	}
	s.Status, s.rev = now, now.Signal.Rev
}

// answer has a party answer another in the match about a child, with another word than
// the last.
func (d *drill) answer(p, c int) {
	d.Helper()
	s := d.stands[[2]int{p, c}]
	for other := range 3 {
		o := d.stands[[2]int{other, c}]
		if o == nil || other == p || !d.lives(o) {
			continue
		}
		m := d.awaitMatch(d.parties[p], s.SID, o.SID)
		said := d.met[[2]api.SID{o.SID, s.SID}]
		word := []api.Answer{api.AnswerWillCall, api.AnswerInContact}[len(said.words)%2]
		if _, err := d.parties[p].Answer(m.Match.Match, gatewaytest.Party(other), word, ""); err != nil {
			d.Fatal(err)
		}
		said.words = append(said.words, word)
		d.found["answers"]++
		eventually(d.T, "an answer", func() bool {
			m, err := d.parties[p].MatchByID(m.Match.Match)
			return err == nil && m.Settled()
		})
		return
	}
}

// awaitMatch waits until a party has been told of another's signal.
func (d *drill) awaitMatch(p *gateway.Party, own, other api.SID) (found gateway.MatchStatus) {
	d.Helper()
	eventually(d.T, "a match that was made", func() bool {
		list, _, err := p.Matches(gateway.ID{}, 100, gateway.MatchFilter{})
		if err != nil {
			d.Fatal(err)
		}
		for _, m := range list {
			if m.SID == own && slices.ContainsFunc(m.Others, func(o gateway.Member) bool { return o.SID == other && o.Present }) {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// unfinished has parties begin something that the registry does not answer any more.
func (d *drill) unfinished() {
	d.Helper()
	d.w.Registry.Set([]gatewaytest.Mode{gatewaytest.Away, gatewaytest.Loses}[d.rng.IntN(2)])
	for p := range 3 {
		c := 1 + d.rng.IntN(drillChildren)
		s := d.stands[[2]int{p, c}]
		if s == nil || !d.lives(s) {
			continue
		}
		if d.rng.IntN(2) == 0 {
			d.renew(p, c)
			continue
		}
		if _, err := d.parties[p].Withdraw(s.ID, api.ReasonEnded); err != nil {
			d.Fatal(err)
		}
		d.withdrawn(p, c)
	}
}

func (d *drill) restore() {
	d.Helper()
	age := d.rng.IntN(len(d.backups))
	done := d.w.Restore(d.backups[age])
	d.w.Registry.Set(gatewaytest.Works)
	d.found["restores"]++
	d.found["replayed"] += done.Known
}

// settle waits until everybody has done what he was asked.
func (d *drill) settle() {
	d.Helper()
	for at, s := range d.stands {
		now := settled(d.T, d.parties[at[0]], s.ID)
		if s.withdrawn {
			if now.State.Stands() {
				d.Errorf("a withdrawal came to %s", now.State)
			}
			delete(d.stands, at)
			continue
		}
		if !d.lives(s) && now.Signal == nil {
			delete(d.stands, at)
			continue
		}
		d.renewed(s, now)
	}
}

// check holds the registry, the matches and the inboxes against what was done.
func (d *drill) check() {
	d.Helper()
	want := map[string]bool{}
	for at, s := range d.stands {
		if d.lives(s) {
			want[fmt.Sprintf("%s %s rev %d", gatewaytest.Party(at[0]), s.SID, s.rev)] = true
		}
	}
	var got map[string]bool
	last := func() string { return fmt.Sprintf("the registry has %v, want %v", got, want) }
	within(d.T, last, func() bool {
		got = map[string]bool{}
		today := registry.Today(d.w.Now())
		err := d.w.Matcher.Store.Scan(d.Context(), registry.Idx{}, func(_ registry.Idx, signals []registry.Signal, _ registry.Match) error {
			for _, s := range signals {
				if s.Live(today) {
					got[fmt.Sprintf("%s %s rev %d", s.Party, s.SID, s.Rev)] = true
				}
			}
			return nil
		})
		if err != nil {
			d.Fatal(err)
		}
		return fmt.Sprint(got) == fmt.Sprint(want)
	})
	// Whoever is still in doubt when the clock goes on for a day is told of as gone, and as new
	// after that, which is what was promised. So all doubts begin before it is looked whether
	// those that are to end have ended: a match that was made before the restore looks the same.
	for _, p := range d.parties {
		within(d.T, func() string { return "a feed was not read since the restore" }, func() bool { return p.HasReadFeedOf(d.w.Matcher.Store.Incarnation()) })
	}
	d.checkMatches(false)
	// Whoever was withdrawn before the others were there again has nobody to tell of it.
	d.w.Advance(25 * time.Hour)
	d.sweep()
	d.checkMatches(true)
	for p := range d.parties {
		d.checkInbox(p)
	}
}

// sweep has the clock's work done everywhere.
func (d *drill) sweep() {
	d.Helper()
	if _, err := d.w.Matcher.Sweep(d.Context()); err != nil {
		d.Fatal(err)
	}
	for _, p := range d.parties {
		if err := p.Sweep(); err != nil {
			d.Fatal(err)
		}
	}
}

func (d *drill) checkMatches(exactly bool) {
	d.Helper()
	for p := range d.parties {
		for c := 1; c <= drillChildren; c++ {
			d.checkMatch(p, c, exactly)
		}
	}
}

// checkMatch holds who a party sees beside its signal against whose signals live, and
// what they said; exactly, or at least that.
func (d *drill) checkMatch(p, c int, exactly bool) {
	d.Helper()
	s := d.stands[[2]int{p, c}]
	if s == nil || !d.lives(s) {
		return
	}
	want := map[api.SID]string{}
	for other := range 3 {
		if o := d.stands[[2]int{other, c}]; o != nil && other != p && d.lives(o) {
			word := api.Answer("")
			if said := d.met[[2]api.SID{s.SID, o.SID}]; len(said.words) > 0 {
				word = said.words[len(said.words)-1]
			}
			want[o.SID] = fmt.Sprintf("%s %s", o.Signal.Card.Name, word)
		}
	}
	var got map[api.SID]string
	within(d.T, func() string { return fmt.Sprintf("party %d sees of child %d %v, want %v", p, c, got, want) }, func() bool {
		list, _, err := d.parties[p].Matches(gateway.ID{}, 100, gateway.MatchFilter{})
		if err != nil {
			d.Fatal(err)
		}
		got = map[api.SID]string{}
		for _, m := range list {
			for _, o := range m.Others {
				if m.SID == s.SID && o.Present && o.Doubt.IsZero() && (want[o.SID] != "" || exactly) {
					got[o.SID] = fmt.Sprintf("%s %s", o.Card.Name, o.Theirs.Word)
				}
			}
		}
		return fmt.Sprint(got) == fmt.Sprint(want)
	})
	for other, words := range want { // and the registry believes in the match by that name
		match := d.atRegistry(s.SID)
		if !slices.ContainsFunc(match.Members, func(m registry.Member) bool { return m.SID == other }) {
			d.Errorf("at the registry %s is not in the match: %s", other, words)
		}
		if list := d.awaitMatch(d.parties[p], s.SID, other); list.Match.Match != match.ID {
			within(d.T, func() string { return "the gateway knows the match by another name" }, func() bool {
				return d.awaitMatch(d.parties[p], s.SID, other).Match.Match == match.ID
			})
		}
	}
}

func (d *drill) atRegistry(sid api.SID) (match registry.Match) {
	d.Helper()
	err := d.w.Matcher.Store.Scan(d.Context(), registry.Idx{}, func(_ registry.Idx, signals []registry.Signal, m registry.Match) error {
		if slices.ContainsFunc(signals, func(s registry.Signal) bool { return s.SID == sid }) {
			match = m
		}
		return nil
	})
	if err != nil {
		d.Fatal(err)
	}
	return match
}

// checkInbox counts what a party was told of each meeting.
func (d *drill) checkInbox(p int) {
	d.Helper()
	list, err := d.parties[p].Messages(0, 1000)
	if err != nil {
		d.Fatal(err)
	}
	told := map[[2]api.SID]map[api.EventKind]int{}
	words := map[[2]api.SID][]api.Answer{}
	for _, msg := range list {
		if msg.Kind == api.EventExpiring { // of nobody else
			continue
		}
		pair := [2]api.SID{msg.SID, msg.Other.SID}
		if told[pair] == nil {
			told[pair] = map[api.EventKind]int{}
		}
		told[pair][msg.Kind]++
		if msg.Kind == api.EventAnswer && msg.Answer != "" {
			words[pair] = append(words[pair], msg.Answer)
		}
	}
	for pair, kinds := range told {
		m := d.met[pair]
		if m == nil {
			d.Errorf("party %d was told of somebody whom it never met: %v", p, kinds)
			continue
		}
		if kinds[api.EventJoined] != 1 || kinds[api.EventCard] > m.cards || kinds[api.EventLeft] > 1 || kinds[api.EventAnswer] > len(m.words) {
			d.Errorf("party %d was told of one other %v; there were %d cards, %d answers", p, kinds, m.cards, len(m.words))
		}
		if m.left && kinds[api.EventLeft] == 0 && d.stillStands(p, pair[0]) {
			pairTold := func() bool {
				list, err := d.parties[p].Messages(0, 1000)
				return err == nil && slices.ContainsFunc(list, func(msg gateway.Message) bool {
					return msg.Kind == api.EventLeft && [2]api.SID{msg.SID, msg.Other.SID} == pair
				})
			}
			within(d.T, func() string { return fmt.Sprintf("party %d was not told that one left", p) }, pairTold)
		}
	}
}

// stillStands tells whether a signal of a party lives; one that does not is told nothing.
func (d *drill) stillStands(p int, sid api.SID) bool {
	for at, s := range d.stands {
		if at[0] == p && s.SID == sid {
			return d.lives(s)
		}
	}
	return false
}

// within waits until something holds, or tells what was there instead.
func within(t *testing.T, what func() string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what())
		}
	}
}
