// SPDX-License-Identifier: EUPL-1.2

package main

// What must come of a plan is worked out here from the population in the clear:
// who knows which child, from which act to which. Nothing of the registry, the
// matcher or the gateway has a part in it.

// Kinds of events, as the design names them.
const (
	evJoined = "joined"
	evLeft   = "left"
	evEnded  = "ended"
	evCard   = "card"
)

// A Life is one party's signal of one child, from the act that begins it to the
// one that ends it. At most one of a party and a child lasts at a time.
type Life struct {
	Party         int
	Child         *Child
	Registrations []*Registration
	// Cards are all its contact cards, one a revision, the oldest first; nil is
	// the party's own.
	Cards  []*Card
	owners map[owner]bool
}

// An owner is a professional with a reference: whoever enters the same child
// twice under one reference is one owner.
type owner struct{ professional, reference string }

func (r *Registration) owner() owner { return owner{r.Professional, r.Reference} }

// A Want is one event that must be in the inbox of Own's party: something about
// the signal of another. The card in it must be one of Other.Cards from From on;
// with From negative there is none.
type Want struct {
	Own   *Life
	Kind  string
	Other *Life
	From  int
}

// Expected is what must come of a plan, or of a part of it.
type Expected struct {
	Lives []*Life
	Wants []Want
	// Networks counts the matches: times that a child came to be signalled by two
	// parties at once.
	Networks int
	// Absorbed counts registrations of a child that the party signalled already.
	Absorbed int
	// Refused counts persons given wrongly, by reason; NoNumber those in reports
	// without a number.
	Refused     map[string]int
	NoNumber    int
	Withdrawals int
	Renewals    int
	Reports     int
}

// An Oracle works out the events of one case, step by step.
type Oracle struct {
	Expected
	live map[*Child][]*Life // lasting ones, in the order of their beginnings
	seen map[*Report]bool
}

func newOracle() *Oracle {
	return &Oracle{
		Expected: Expected{Refused: map[string]int{}},
		live:     map[*Child][]*Life{}, seen: map[*Report]bool{},
	}
}

// step takes what is done in a step and returns what must follow from it. The
// order within a step makes no difference: signals of different parties that come
// at the same time all meet.
func (o *Oracle) step(acts []Act) []Want {
	before := len(o.Wants)
	for _, a := range acts {
		switch a.Do {
		case doSignal:
			o.register(a.On)
		case doReport:
			if !o.seen[a.Report] {
				o.Reports++
				for _, p := range a.Report.Persons {
					if p.Number == "" {
						o.NoNumber++
					}
				}
			}
			for _, p := range a.Report.Persons {
				if !o.seen[a.Report] || p.signals() {
					o.register(p)
				}
			}
			o.seen[a.Report] = true
		case doWithdraw:
			o.Withdrawals++
			o.withdraw(a.On)
		case doRenew:
			o.Renewals++
			o.renew(a.On, a.Card)
		}
	}
	return o.Wants[before:]
}

func (o *Oracle) want(own *Life, kind string, other *Life, from int) {
	o.Wants = append(o.Wants, Want{own, kind, other, from})
}

// of finds the lasting signal of a party.
func (o *Oracle) of(party int, child *Child) *Life {
	for _, l := range o.live[child] {
		if l.Party == party {
			return l
		}
	}
	return nil
}

func (o *Oracle) register(r *Registration) {
	if r.Refused != "" {
		o.Refused[r.Why]++
	}
	if !r.signals() {
		return
	}
	if l := o.of(r.Party, r.Child); l != nil {
		o.Absorbed++
		l.owners[r.owner()] = true
		l.Registrations = append(l.Registrations, r)
		return
	}
	l := &Life{
		Party: r.Party, Child: r.Child, Registrations: []*Registration{r},
		Cards: []*Card{r.Card}, owners: map[owner]bool{r.owner(): true},
	}
	others := o.live[r.Child]
	if len(others) == 1 {
		o.Networks++
	}
	for _, other := range others {
		o.want(l, evJoined, other, len(other.Cards)-1)
		o.want(other, evJoined, l, 0)
	}
	o.live[r.Child] = append(others, l)
	o.Lives = append(o.Lives, l)
}

func (o *Oracle) withdraw(r *Registration) {
	l := o.of(r.Party, r.Child)
	delete(l.owners, r.owner())
	if len(l.owners) > 0 {
		return
	}
	var others []*Life
	for _, other := range o.live[r.Child] {
		if other != l {
			others = append(others, other)
		}
	}
	o.live[r.Child] = others
	for _, other := range others {
		o.want(other, evLeft, l, -1)
		if len(others) == 1 {
			o.want(other, evEnded, l, -1)
		}
	}
}

func (o *Oracle) renew(r *Registration, card *Card) {
	l := o.of(r.Party, r.Child)
	if card == nil {
		card = l.Cards[len(l.Cards)-1]
	}
	l.Cards = append(l.Cards, card)
	for _, other := range o.live[r.Child] {
		if other != l {
			o.want(other, evCard, l, len(l.Cards)-1)
		}
	}
}

// add sums up, over cases.
func (e *Expected) add(more Expected) {
	e.Lives = append(e.Lives, more.Lives...)
	e.Wants = append(e.Wants, more.Wants...)
	e.Networks += more.Networks
	e.Absorbed += more.Absorbed
	if e.Refused == nil {
		e.Refused = map[string]int{}
	}
	for why, n := range more.Refused {
		e.Refused[why] += n
	}
	e.NoNumber += more.NoNumber
	e.Withdrawals += more.Withdrawals
	e.Renewals += more.Renewals
	e.Reports += more.Reports
}

// expectAll works out a whole plan.
func expectAll(p *Plan) Expected {
	var all Expected
	for _, c := range p.Cases() {
		o := newOracle()
		for _, acts := range c.Steps {
			o.step(acts)
		}
		all.add(o.Expected)
	}
	return all
}
