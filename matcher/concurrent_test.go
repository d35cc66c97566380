// SPDX-License-Identifier: EUPL-1.2

package matcher_test

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sync/errgroup"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/soak"
)

// Clients at the same time on few children, until the power goes; what each was
// answered must be explained by some order in which one thing was done after the other.
const (
	clients        = 8
	tellers        = 5 // parties: some clients are of one and the same
	childrenOfRow6 = 2
	lives          = 3 // of the registry in one history
	deedsEach      = 10
	decideWithin   = time.Minute
	neverReturned  = math.MaxInt64
)

// A play is one history as it goes on.
type play struct {
	t     *testing.T
	w     *matchertest.World
	start time.Time
	lost  atomic.Bool  // the power
	left  atomic.Int64 // deeds until it is lost

	mu        sync.Mutex
	papers    map[[2]int][]matchertest.Paper // what a party has sent on a child
	child     map[api.SID]int
	ops       []porcupine.Operation
	open      []openDeed // that nobody was answered
	losses    int
	undecided int
}

// An openDeed is one whose answer the loss of power took away.
type openDeed struct {
	op  porcupine.Operation
	say func() // says it again
}

// TestRow6Concurrency: submissions, withdrawals, answers, sweeps and readers of feeds at
// the same time, with power losses in between, of which a kill is the one that keeps all
// that was written. A client that got no answer says the same again, as gateways do.
func TestRow6Concurrency(t *testing.T) {
	soak.Row(t, 6, "clients at the same time, power lost in between", soak.Short(40), func(t *testing.T, seed uint64) soak.Found {
		cryptotest.SetGlobalRandom(t, seed)
		rng := rand.New(rand.NewPCG(seed, 6))
		w := matchertest.New(t, tellers)
		w.Store.Close()
		disk := vfs.NewCrashableMem()
		w.Open(disk)
		p := &play{t: t, w: w, start: time.Now(), papers: make(map[[2]int][]matchertest.Paper), child: make(map[api.SID]int)}
		for life := range lives {
			disk = p.live(seed, life, disk, rng)
			if rng.IntN(2) == 0 {
				p.midnight()
			}
		}
		p.sweep(0)
		var feeds [tellers][]api.Event
		for party := range tellers {
			feeds[party] = p.read(0, party)
		}
		p.judge(feeds)
		found := soak.Found{"histories": 1, "deeds": len(p.ops), "power losses": p.losses, "undecided": p.undecided}
		for _, f := range feeds {
			found["events"] += len(f)
		}
		return found
	})
}

// live has all clients at work until each has done its share or the power goes, and
// gives the disk as the next life finds it.
func (p *play) live(seed uint64, life int, disk *vfs.MemFS, rng *rand.Rand) *vfs.MemFS {
	p.left.Store(int64(1 + rng.IntN(clients*deedsEach*5/4))) // now and then it is not lost
	p.lost.Store(false)
	keep := []int{0, 10, 50, 100}[rng.IntN(4)]
	after := disk
	var g errgroup.Group
	for client := range clients {
		r := rand.New(rand.NewPCG(seed, uint64(100+life*clients+client)))
		g.Go(func() error {
			for range deedsEach {
				p.deed(client, r)
				if p.left.Add(-1) == 0 {
					p.lost.Store(true) // who is answered from here on does not hear it
					after = disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: keep, RNG: rand.New(rand.NewPCG(seed, uint64(life)))})
				}
				if p.lost.Load() {
					break
				}
			}
			return nil
		})
	}
	g.Wait()
	if err := p.w.Store.Close(); err != nil {
		p.t.Fatal(err)
	}
	if p.lost.Load() {
		p.losses++
	}
	p.lost.Store(false)
	p.w.Open(after)
	p.sayAgain()
	return after
}

// sayAgain says again what was not answered, and so learns whether it had happened.
func (p *play) sayAgain() {
	said := make(map[api.Hash]deedOut)
	reopened := p.now()
	for _, o := range p.open {
		in := o.op.Input.(deedIn)
		if _, known := said[in.hash]; !known && o.say != nil {
			o.say()
			said[in.hash] = p.ops[len(p.ops)-1].Output.(deedOut)
		}
		// Where it had not happened it may still have done the clock's work, as what
		// changes nothing does; or it never will.
		o.op.Return = neverReturned
		if got := said[in.hash]; o.say != nil && got.code == "" && !got.created && got.sid == in.sid {
			o.op.Return = reopened
		}
		p.ops = append(p.ops, o.op)
	}
	p.open = nil
}

func (p *play) now() int64 { return int64(time.Since(p.start)) }

// deed is one thing that a client does.
func (p *play) deed(client int, r *rand.Rand) {
	party, child := client%tellers, r.IntN(childrenOfRow6)
	sent := p.sent(party, child)
	if len(sent) == 0 {
		p.submit(client, party, child, api.NewSID(), 1, r)
		return
	}
	last := sent[len(sent)-1]
	any := sent[r.IntN(len(sent))]
	switch n := r.IntN(100); {
	case n < 20:
		p.submit(client, party, child, api.NewSID(), 1, r)
	case n < 35:
		p.submit(client, party, child, last.Statement.SID, last.Statement.Rev+1, r)
	case n < 38: // a sid that may have ended
		p.submit(client, party, child, any.Statement.SID, 1, r)
	case n < 48:
		p.send(client, party, child, any)
	case n < 68:
		p.act(client, child, last, p.w.Withdrawal(last), deedIn{kind: "withdraw"})
	case n < 72:
		p.act(client, child, any, p.w.Withdrawal(any), deedIn{kind: "withdraw"})
	case n < 86:
		p.answer(client, party, child, last, r)
	case n < 98:
		p.read(client, party)
	default:
		p.sweep(client)
	}
}

func (p *play) sent(party, child int) []matchertest.Paper {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.papers[[2]int{party, child}])
}

func (p *play) submit(client, party, child int, sid api.SID, rev uint64, r *rand.Rand) {
	days := []int{1, 2, 3, 300}[r.IntN(4)]
	paper := p.w.Write(party, matchertest.Child(child), sid, rev, func(s *api.Statement) {
		s.Expires = registry.Today(p.w.Now()).AddDate(0, 0, days)
	})
	p.mu.Lock()
	p.papers[[2]int{party, child}] = append(p.papers[[2]int{party, child}], paper)
	p.child[sid] = child
	p.mu.Unlock()
	p.send(client, party, child, paper)
}

func (p *play) send(client, party, child int, paper matchertest.Paper) {
	in := deedIn{kind: "submit", party: party, sid: paper.Statement.SID, rev: paper.Statement.Rev, hash: paper.Submission.Signed.Hash(), expires: paper.Statement.Expires}
	call := p.now()
	out, err := p.w.Send(paper)
	p.done(client, child, call, in, outOf(out.Accepted, out.Created, err), func() { p.send(client, party, child, paper) })
}

func (p *play) act(client, child int, paper matchertest.Paper, act api.ActRequest, in deedIn) {
	st := paper.Statement
	in.party, in.sid, in.rev, in.hash = p.party(st.Party), st.SID, st.Rev, act.Hash()
	call := p.now()
	out, err := p.w.Act(p.t.Context(), st.Party, act)
	p.done(client, child, call, in, outOf(out.Accepted, out.Created, err), func() { p.act(client, child, paper, act, in) })
}

func (p *play) party(id api.PartyID) int {
	for i := range tellers {
		if matchertest.Party(i) == id {
			return i
		}
	}
	panic("a party of no test")
}

// answer answers whom the party's feed told of last, be it in a match that still stands
// or not.
func (p *play) answer(client, party, child int, paper matchertest.Paper, r *rand.Rand) {
	var to api.Event
	for _, e := range p.read(client, party) {
		if e.Kind == api.EventJoined && e.Own.SID == paper.Statement.SID {
			to = e
		}
	}
	if to.Match.IsZero() || p.lost.Load() {
		return
	}
	word := []api.Answer{api.AnswerWillCall, api.AnswerInContact, api.AnswerContactMade}[r.IntN(3)]
	act := p.w.ActOn(paper, func(a *api.Act) {
		a.Act, a.Match, a.OtherSID, a.Body = api.ActAnswer, to.Match, to.Other.SID, string(word)
	})
	p.act(client, child, paper, act, deedIn{kind: "answer", other: to.Other.SID, match: to.Match})
}

// read reads a whole feed, which acknowledges nothing: what it tells of each child is a
// deed of its own.
func (p *play) read(client, party int) []api.Event {
	call := p.now()
	got, err := registry.Deliver(p.t.Context(), p.w.Store, matchertest.Party(party), "", math.MaxInt, 0, p.w.Now())
	if err != nil {
		p.t.Error(err)
	}
	told := make([][]toldLine, childrenOfRow6)
	p.mu.Lock()
	for _, e := range got.Items {
		c := p.child[e.Own.SID]
		l := toldLine{kind: e.Kind, own: e.Own.SID, other: e.Other.SID}
		if e.Kind == api.EventJoined {
			l.match = e.Match
		}
		told[c] = append(told[c], l)
	}
	p.mu.Unlock()
	for child := range childrenOfRow6 {
		p.done(client, child, call, deedIn{kind: "read", party: party}, deedOut{told: told[child]}, nil)
	}
	return got.Items
}

func (p *play) sweep(client int) {
	call := p.now()
	if _, err := p.w.Sweep(p.t.Context()); err != nil {
		p.t.Error(err)
	}
	for child := range childrenOfRow6 {
		p.done(client, child, call, deedIn{kind: "sweep"}, deedOut{}, nil)
	}
}

// midnight passes while nobody does anything, and nobody sweeps after it.
func (p *play) midnight() {
	call := p.now()
	p.w.Advance(24 * time.Hour)
	for child := range childrenOfRow6 {
		p.done(0, child, call, deedIn{kind: "midnight", expires: registry.Today(p.w.Now())}, deedOut{}, nil)
	}
}

// done writes down a deed and what came of it, unless the power was lost meanwhile.
func (p *play) done(client, child int, call int64, in deedIn, out deedOut, say func()) {
	in.child = child
	op := porcupine.Operation{ClientId: client, Input: in, Output: out, Call: call, Return: p.now()}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.lost.Load() {
		p.ops = append(p.ops, op)
		return
	}
	if in.kind == "read" {
		return // nobody has heard it
	}
	op.Output = deedOut{unknown: true}
	p.open = append(p.open, openDeed{op, say})
}

func outOf(got api.Accepted, created bool, err error) deedOut {
	if err != nil {
		return deedOut{code: string(api.CodeOf(err))}
	}
	out := deedOut{created: created, sid: got.SID, rev: got.Rev}
	receipt, err := api.ParseReceipt(got.Receipt.Signed)
	if err != nil {
		out.code = err.Error()
	}
	out.others = int(receipt.Others)
	return out
}

// judge looks for an order that explains everything, and holds the three promises that
// can be said without one against what each feed told in the end.
func (p *play) judge(feeds [tellers][]api.Event) {
	born := bornOf(feeds)
	for i, op := range p.ops {
		in, out := op.Input.(deedIn), op.Output.(deedOut)
		in.born = born[in.match]
		for j := range out.told {
			out.told[j].born = born[out.told[j].match]
			out.told[j].match = api.MatchID{}
		}
		p.ops[i].Input, p.ops[i].Output = in, out
	}
	switch verdict := porcupine.CheckOperationsTimeout(childModel, p.ops, decideWithin); verdict {
	case porcupine.Illegal:
		p.t.Error("no order of what was done explains what was answered")
		p.t.Log(p.shortest())
	case porcupine.Unknown: // too much at the same time: only what follows is known of it
		p.undecided++
	}

	joined := make(map[[2]api.SID]int) // by own and other
	for _, feed := range feeds {
		for _, e := range feed {
			if e.Kind == api.EventJoined {
				joined[[2]api.SID{e.Own.SID, e.Other.SID}]++
			}
		}
	}
	for pair, n := range joined {
		if n != 1 || joined[[2]api.SID{pair[1], pair[0]}] != 1 {
			p.t.Errorf("of two who met one was told %d times, the other %d times", n, joined[[2]api.SID{pair[1], pair[0]}])
		}
	}
	err := p.w.Store.Scan(p.t.Context(), registry.Idx{}, func(_ registry.Idx, here []registry.Signal, _ registry.Match) error {
		for _, a := range here {
			for _, b := range here {
				if a.Party != b.Party && joined[[2]api.SID{a.SID, b.SID}] != 1 {
					p.t.Errorf("of two who live one was told %d times", joined[[2]api.SID{a.SID, b.SID}])
				}
			}
		}
		return nil
	})
	if _, found := checked(p.t, p.w); err != nil || len(found) > 0 {
		p.t.Errorf("%v, %q", err, found)
	}
	for _, withdrawal := range p.ops {
		if in, out := withdrawal.Input.(deedIn), withdrawal.Output.(deedOut); in.kind == "withdraw" && out.code == "" && !out.unknown {
			for _, later := range p.ops {
				if of := later.Input.(deedIn); of.kind == "submit" && of.rev == 1 && later.Call > withdrawal.Return && p.first(of.sid) == later.Call && joined[[2]api.SID{of.sid, in.sid}] > 0 {
					p.t.Error("a signal met one whose withdrawal had been acknowledged before it was sent")
				}
			}
		}
	}
}

// first is when a sid was first sent.
func (p *play) first(sid api.SID) int64 {
	first := int64(math.MaxInt64)
	for _, op := range p.ops {
		if in := op.Input.(deedIn); in.kind == "submit" && in.sid == sid {
			first = min(first, op.Call)
		}
	}
	return first
}

// bornOf names each match by the two who made it: each of them was told of the other
// first.
func bornOf(feeds [tellers][]api.Event) map[api.MatchID]string {
	first := make(map[api.MatchID]map[api.SID]api.SID)
	for _, feed := range feeds {
		for _, e := range feed {
			if e.Kind != api.EventJoined {
				continue
			}
			if first[e.Match] == nil {
				first[e.Match] = make(map[api.SID]api.SID)
			}
			if _, ok := first[e.Match][e.Own.SID]; !ok {
				first[e.Match][e.Own.SID] = e.Other.SID
			}
		}
	}
	born := make(map[api.MatchID]string)
	for match, of := range first {
		for a, b := range of {
			if of[b] == a {
				born[match] = bornName(a, b)
			}
		}
	}
	return born
}

func bornName(a, b api.SID) string {
	return fmt.Sprint(min(a.String(), b.String()), max(a.String(), b.String()))
}

// shortest is a child's history up to the first answer after which no order is left.
func (p *play) shortest() string {
	ops := slices.SortedFunc(slices.Values(p.ops), func(a, b porcupine.Operation) int { return cmp.Compare(a.Return, b.Return) })
	for child := range childrenOfRow6 {
		here := slices.DeleteFunc(slices.Clone(ops), func(op porcupine.Operation) bool { return op.Input.(deedIn).child != child })
		for n, last := range here {
			known := slices.Clone(here[:n+1])
			for _, op := range here[n+1:] { // what goes on meanwhile may have happened
				if op.Call <= last.Return && op.Input.(deedIn).kind != "read" {
					op.Output, op.Return = deedOut{unknown: true}, neverReturned
					known = append(known, op)
				}
			}
			if porcupine.CheckOperations(childModel, known) {
				continue
			}
			var lines strings.Builder
			for _, op := range known {
				fmt.Fprintf(&lines, "\n%d–%d client %d: %v -> %v", op.Call, op.Return, op.ClientId, op.Input, op.Output)
			}
			return lines.String()
		}
	}
	return "each child by itself has one"
}
