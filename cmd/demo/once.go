// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/seinhuis/seinhuis/gateway/rest"
)

// A Result is the last line of a scripted run; usage describes it.
type Result struct {
	Seed               uint64  `json:"seed"`
	Children           int     `json:"children"`
	ClosingChildren    int     `json:"closingChildren"`
	Signals            int     `json:"signals"`
	ExpectedSignals    int     `json:"expectedSignals"`
	Matches            int     `json:"matches"`
	ExpectedMatches    int     `json:"expectedMatches"`
	Events             int     `json:"events"`
	ExpectedEvents     int     `json:"expectedEvents"`
	Missed             int     `json:"missed"`
	False              int     `json:"false"`
	Reports            int     `json:"reports"`
	RefusedAdults      int     `json:"refusedAdults"`
	WithoutNumber      int     `json:"withoutNumber"`
	DuplicatesAbsorbed int     `json:"duplicatesAbsorbed"`
	Withdrawals        int     `json:"withdrawals"`
	Renewals           int     `json:"renewals"`
	CardsOpened        int     `json:"cardsOpened"`
	CardsWrong         int     `json:"cardsWrong"`
	HitByKill          int     `json:"hitByKill"`
	DownMs             int64   `json:"downMs"`
	P50Ms              float64 `json:"p50Ms"`
	P99Ms              float64 `json:"p99Ms"`
	Seconds            float64 `json:"seconds"`
	OK                 bool    `json:"ok"`
}

// errBad ends a scripted run that did not come out as it should.
var errBad = errors.New("the run did not come out as it should; see above")

// concurrency is how many cases are played side by side.
const concurrency = 16

// runOnce plays a plan on a network and tells what came of it.
func runOnce(ctx context.Context, n *Network, plan *Plan, o options, stdout, stderr io.Writer) error {
	clients, err := n.clients()
	if err != nil {
		return err
	}
	began := time.Now()
	p := newPlayer(clients, fmt.Sprint(o.seed), o.patience)
	down, err := p.playAll(ctx, n, plan, stderr)
	if err != nil {
		return err
	}
	seconds := time.Since(began).Seconds()

	inboxes := make([][]Event, len(p.inboxes))
	for i, in := range p.inboxes {
		inboxes[i] = in.all()
	}
	v := judge(p.expected, inboxes, p.sids)
	r := p.result(plan, v, o)
	r.Seconds = math.Round(seconds*10) / 10
	r.HitByKill, r.DownMs, r.P50Ms, r.P99Ms = latency(p.took, down)
	for _, fault := range append(p.faults, v.Faults...) {
		fmt.Fprintln(stderr, "demo: fault:", fault)
	}
	if o.out != "" {
		if err := writeOut(o.out, plan, p.records, inboxes, r); err != nil {
			return err
		}
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s\n", line)
	if !r.OK {
		return errBad
	}
	return nil
}

// result sums up a run. What a faultless run comes to follows from the plan
// alone, so a run that was broken off cannot pass.
func (p *Player) result(plan *Plan, v *Verdict, o options) Result {
	want := expectAll(plan)
	return Result{
		Seed: o.seed, Children: o.children, ClosingChildren: len(plan.Closing),
		Signals: v.Signals, ExpectedSignals: len(want.Lives), Matches: v.Matches, ExpectedMatches: want.Networks,
		Events: v.Events, ExpectedEvents: len(want.Wants), Missed: v.Missed, False: v.False,
		Reports: want.Reports, RefusedAdults: p.adults, WithoutNumber: p.noNumber, DuplicatesAbsorbed: p.absorbed,
		Withdrawals: want.Withdrawals, Renewals: want.Renewals, CardsOpened: v.CardsOpened, CardsWrong: v.CardsWrong,
		OK: v.Good(want) && len(p.faults) == 0 && v.Events == len(want.Wants) &&
			p.adults == want.Refused[whyAdult] && p.noNumber == want.NoNumber && p.absorbed == want.Absorbed,
	}
}

// playAll plays a whole plan. Halfway it kills the registry and an evaluator, lets
// the gateways take what they are given meanwhile, and starts both again.
func (p *Player) playAll(ctx context.Context, n *Network, plan *Plan, progress io.Writer) (down interval, err error) {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	var readers sync.WaitGroup
	for i, in := range p.inboxes {
		readers.Go(func() {
			if err := in.follow(reading); err != nil {
				p.fault("the inbox of %s: %v", parties[i].Folder, err)
			}
		})
	}
	var cases sync.WaitGroup
	slots := make(chan struct{}, concurrency)
	no := 0
	begin := func(c *Case) {
		no++
		number := no
		slots <- struct{}{}
		cases.Go(func() {
			defer func() { <-slots }()
			p.play(ctx, number, c, nil)
		})
	}
	fmt.Fprintf(progress, "demo: playing %d cases around %d children\n", len(plan.Cases()), len(plan.Children))
	for _, c := range plan.Before {
		begin(c)
	}
	var outage error
	from := no
	no += len(plan.Outage)
	cases.Go(func() { down, outage = p.playOutage(ctx, n, from, plan.Outage, progress) })
	for _, c := range plan.After {
		begin(c)
	}
	cases.Wait()
	for _, c := range plan.Closing {
		begin(c)
	}
	cases.Wait()
	stop()
	readers.Wait()
	if ctx.Err() != nil {
		return down, context.Cause(ctx)
	}
	return down, outage
}

// playOutage kills the registry and an evaluator, begins cases while they are
// down, and starts them again when the gateways have taken all that.
func (p *Player) playOutage(ctx context.Context, n *Network, no int, outage []*Case, progress io.Writer) (down interval, err error) {
	down.from = time.Now()
	killed := []*process{n.registry, n.evaluators[1]}
	for _, victim := range killed {
		if err := victim.end(syscall.SIGKILL); err != nil {
			return down, err
		}
	}
	fmt.Fprintf(progress, "demo: killed %s and %s\n", killed[0].name, killed[1].name)

	var playing, taken sync.WaitGroup
	for i, c := range outage {
		taken.Add(len(c.Steps[0]))
		playing.Go(func() { p.play(ctx, no+i+1, c, taken.Done) })
	}
	taken.Wait()
	for _, victim := range killed {
		err = errors.Join(err, n.start(ctx, victim))
	}
	down.to = time.Now()
	fmt.Fprintf(progress, "demo: both serve again after %v\n", down.to.Sub(down.from).Round(time.Millisecond))
	playing.Wait()
	return down, err
}

// latency gives, in milliseconds, the median and the 99th percentile of the times
// from a request to its verified receipt, without those that the outage hit.
func latency(took []interval, down interval) (hit int, downMs int64, p50, p99 float64) {
	var ms []float64
	for _, t := range took {
		if t.from.Before(down.to) && down.from.Before(t.to) {
			hit++
			continue
		}
		ms = append(ms, float64(t.to.Sub(t.from).Microseconds())/1000)
	}
	slices.Sort(ms)
	rank := func(q float64) float64 {
		if len(ms) == 0 {
			return 0
		}
		return ms[int(math.Ceil(q*float64(len(ms))))-1]
	}
	return hit, down.to.Sub(down.from).Milliseconds(), rank(0.5), rank(0.99)
}

func (n *Network) clients() ([]rest.ClientWithResponsesInterface, error) {
	var all []rest.ClientWithResponsesInterface
	for i := range parties {
		c, err := n.client(i)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}
