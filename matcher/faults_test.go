// SPDX-License-Identifier: EUPL-1.2

package matcher_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/disk/disktest"
	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/registry/pebblestore"
	"github.com/seinhuis/seinhuis/soak"
)

// A player is the parties of a registry, who act at random and remember what was
// acknowledged. Whatever becomes of the registry, they can say again what they said.
type player struct {
	t     *testing.T
	w     *matchertest.World
	r     *rand.Rand
	done  []deed
	model model // of what was done
}

const players, playersChildren = 4, 3

// A deed is one thing that was said to the registry. Saying it again is allowed.
type deed struct {
	send  func(*matcher.Matcher) ([]matcher.Outcome, error) // one of each ask; nil for the clock
	means func(*model)
	asks  []ask
	now   time.Time
}

// An ask is something that was acknowledged, and what was answered. As long as it
// stands, by the model, the same answer must come again.
type ask struct {
	again  func(*matcher.Matcher) (matcher.Outcome, error)
	stands func(*model, time.Time) bool
	got    *matcher.Outcome
}

func newModel() model {
	return model{signals: map[int]map[int]matchertest.Paper{}, answers: map[int]map[[2]int][]modelAnswer{}, told: map[int][]string{}}
}

func newPlayer(t *testing.T, w *matchertest.World, r *rand.Rand) *player {
	return &player{t: t, w: w, r: r, model: newModel()}
}

// next thinks of something to do, and reads what it needs for that.
func (p *player) next() deed {
	w, r := p.w, p.r
	child, who := r.IntN(playersChildren), r.IntN(players)
	here, have := p.model.signals[child][who]
	d := deed{now: w.Now()}
	switch n := r.IntN(100); {
	case n < 60 && (!have || n < 20):
		sid, rev := api.NewSID(), uint64(1)
		if have {
			sid, rev = here.Statement.SID, here.Statement.Rev+1
		}
		d.submit(child, who, w.Write(who, matchertest.Child(child), sid, rev, p.soon))
	case n < 70 && have:
		act := w.Withdrawal(here)
		d.act(here, act, func(*model, time.Time) bool { return true })
		d.means = func(m *model) { m.end(child, []int{who}, "signal.withdraw") }
	case n < 80 && have && len(p.model.signals[child]) > 1:
		to := who
		for to == who || p.model.signals[child][to].Statement.Party == "" {
			to = r.IntN(players)
		}
		act := w.Answer(here, p.model.signals[child][to], api.AnswerWillCall)
		d.act(here, act, func(m *model, now time.Time) bool {
			return now.Sub(d.now) < registry.MaxAge && slices.ContainsFunc(m.answers[child][[2]int{who, to}], func(a modelAnswer) bool {
				return a.act.Hash() == act.Hash()
			})
		})
		d.means = func(m *model) { m.answer(child, who, to, here, modelAnswer{act: act, word: api.AnswerWillCall}) }
		w.Advance(time.Second) // the next answer is other bytes
	case n < 86:
		var all []matchertest.Paper
		for child := range playersChildren {
			if _, have := p.model.signals[child][who]; !have {
				paper := w.Write(who, matchertest.Child(child), api.NewSID(), 1, p.soon)
				d.submit(child, who, paper)
				all = append(all, paper)
			}
		}
		d.send = func(m *matcher.Matcher) ([]matcher.Outcome, error) {
			var subs []api.Submission
			for _, paper := range all {
				subs = append(subs, paper.Submission)
			}
			out, err := m.Import(context.Background(), matchertest.Party(who), subs)
			outs := make([]matcher.Outcome, len(out))
			for i := range out {
				outs[i], err = out[i].Outcome, errors.Join(err, out[i].Refused)
			}
			return outs, err
		}
	case n < 92:
		w.Advance(time.Duration(1+r.IntN(24)) * time.Hour)
		d.now = w.Now()
		d.means = func(m *model) { m.expire(registry.Today(d.now)) }
	default:
		d.send = func(m *matcher.Matcher) ([]matcher.Outcome, error) {
			_, err := m.Sweep(context.Background())
			return nil, err
		}
	}
	return d
}

// soon makes most signals expire within the script.
func (p *player) soon(s *api.Statement) {
	s.Expires = registry.Today(p.w.Now()).AddDate(0, 0, 1+p.r.IntN(12))
}

func (d *deed) submit(child, who int, paper matchertest.Paper) {
	got := new(matcher.Outcome)
	send := func(m *matcher.Matcher) (matcher.Outcome, error) {
		return m.Submit(context.Background(), paper.Statement.Party, paper.Submission)
	}
	d.send = func(m *matcher.Matcher) ([]matcher.Outcome, error) {
		out, err := send(m)
		return []matcher.Outcome{out}, err
	}
	before := d.means
	d.means = func(m *model) {
		if before != nil {
			before(m)
		}
		m.put(child, who, paper)
	}
	d.asks = append(d.asks, ask{send, func(m *model, _ time.Time) bool {
		now, stands := m.found(paper.Statement.Party, paper.Statement.SID)
		return stands && now.Statement.Rev == paper.Statement.Rev
	}, got})
}

func (d *deed) act(of matchertest.Paper, act api.ActRequest, stands func(*model, time.Time) bool) {
	got := new(matcher.Outcome)
	send := func(m *matcher.Matcher) (matcher.Outcome, error) {
		return m.Act(context.Background(), of.Statement.Party, act)
	}
	d.send = func(m *matcher.Matcher) ([]matcher.Outcome, error) {
		out, err := send(m)
		return []matcher.Outcome{out}, err
	}
	d.asks = append(d.asks, ask{send, stands, got})
}

// say says it, and keeps what is answered.
func (d *deed) say(w *matchertest.World) error {
	outs, err := d.send(w.Matcher)
	if err == nil {
		d.heard(outs)
	}
	return err
}

func (d *deed) heard(outs []matcher.Outcome) {
	for i, out := range outs {
		*d.asks[i].got = out
	}
}

// did keeps what was acknowledged.
func (p *player) did(d deed) {
	p.done = append(p.done, d)
	if d.means != nil {
		d.means(&p.model)
	}
}

// play does something, which must be acknowledged.
func (p *player) play() {
	p.t.Helper()
	d := p.next()
	if d.send != nil {
		if err := d.say(p.w); err != nil {
			p.t.Fatal(err)
		}
	}
	p.did(d)
}

// finds holds a registry that was opened anew against what was acknowledged, the first
// n deeds, and what was said last, if anything was: that may have come through or not,
// but wholly, and is said again. It gives how much it asked for again.
func (p *player) finds(n int, said *deed, now time.Time) (asked int) {
	p.t.Helper()
	p.w.SetClock(now)
	if said != nil && said.send != nil {
		if err := said.say(p.w); err != nil {
			p.t.Fatalf("what was not acknowledged cannot be said again: %v", err)
		}
	}
	m := newModel()
	all := p.done[:n:n]
	if said != nil {
		all = append(all, *said)
	}
	for _, d := range all {
		if d.means != nil {
			d.means(&m)
		}
	}
	for i, d := range all {
		for _, a := range d.asks {
			// What lives is held against the model below; here it is about receipts.
			if !a.stands(&m, now) || i < len(all)-8 && p.r.IntN(8) > 0 {
				continue
			}
			asked++
			if out, err := a.again(p.w.Matcher); err != nil || out.Created || !sameReceipt(out, *a.got) {
				p.t.Fatalf("deed %d of %d was acknowledged, and is not as it was: %v, created %v", i, len(all), err, out.Created)
			}
		}
	}
	m.holds(p.t, p.w)
	if _, err := p.w.Sweep(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	for who := range players {
		var heard []string
		for _, e := range p.w.Feed(who) {
			if e.Kind == api.EventEnded {
				heard = append(heard, "ended")
			} else {
				heard = append(heard, line(e.Kind, e.Other.Party, e.Other.SID))
			}
		}
		sameLines(p.t, fmt.Sprintf("party %d was told", who), heard, m.told[who])
	}
	sameLines(p.t, "the log", leaves(p.t, p.w), m.logged)
	m.stored(p.t, p.w)
	if p.t.Failed() {
		p.t.FailNow()
	}
	return asked
}

// TestRow2PowerLoss loses power at syncs of a script, before or after what is to be
// synced, with none, a tenth, half or all of what was not synced left on the disk:
// everything that was acknowledged is there, and nothing is there by half. Of one
// script in a thousand, of 200 steps, at every sync; of the others three times, and the
// script goes on with what the loss has left.
func TestRow2PowerLoss(t *testing.T) {
	soak.Row(t, 2, "power lost at a sync, of whatever is done", soak.Short(60), func(t *testing.T, seed uint64) soak.Found {
		cryptotest.SetGlobalRandom(t, seed)
		r := rand.New(rand.NewPCG(seed, 2))
		w := matchertest.New(t, players)
		w.Store.Close()
		disk := vfs.NewCrashableMem()
		p := newPlayer(t, w, r)
		if seed%1000 == 1 {
			w.Ingest = int(seed / 1000 % 2)
			return everySync(p, disk)
		}
		w.Ingest = int(seed % 2)
		found := soak.Found{}
		for range 3 {
			c := disktest.NewCamera(disk, rand.New(rand.NewPCG(seed, 3)))
			c.Kept = []int{[]int{0, 10, 50, 100}[r.IntN(4)]}
			w.Open(c)
			for range r.IntN(20) {
				p.play()
			}
			c.Turn(true)
			d := p.next()
			if d.send != nil {
				_ = d.say(w) // it may be acknowledged, but whoever said it has lost power too
			}
			if r.IntN(4) == 0 { // while it opens
				w.Reopen()
			}
			c.Turn(false)
			w.Store.Close()
			pictures := c.Pictures()
			if len(pictures) == 0 { // nothing was synced
				p.did(d)
				continue
			}
			disk = pictures[r.IntN(len(pictures))]
			w.Open(disk)
			found["acknowledged"] += p.finds(len(p.done), &d, w.Now())
			found["power losses"]++
			p.did(d)
			w.Store.Close()
		}
		w.Open(vfs.NewMem())
		return found
	})
}

func everySync(p *player, disk *vfs.MemFS) soak.Found {
	t, w := p.t, p.w
	c := disktest.NewCamera(disk, rand.New(rand.NewPCG(1, 2)))
	c.Kept = []int{0, 10, 50, 100}
	w.Open(c)
	c.Turn(true)
	type moment struct {
		done int
		said *deed
		now  time.Time
	}
	var at []moment // by picture
	steps := 200
	if soak.Race {
		steps = 20
	}
	for step := range steps {
		m := moment{done: len(p.done)}
		if step%20 == 19 {
			w.Reopen()
		} else {
			d := p.next()
			m.said = &d
			if d.send != nil {
				if err := d.say(w); err != nil {
					t.Fatal(err)
				}
			}
			p.did(d)
		}
		m.now = w.Now()
		for len(at) < c.Taken() {
			at = append(at, m)
		}
	}
	c.Turn(false)
	w.Store.Close()
	pictures := c.Pictures()
	found := soak.Found{"steps": steps, "power losses": len(at)}
	for i, m := range at {
		w.Open(pictures[i])
		found["acknowledged"] += p.finds(m.done, m.said, m.now)
		w.Store.Close()
	}
	w.Open(vfs.NewMem())
	return found
}

// TestRow3IOErrors has each operation on the disk of a script fail, one after the other.
// Either what was asked fails, of which then nothing is there, and the registry goes on;
// or the process ends, as it must when a sync fails. What was acknowledged is there
// after all, and after a loss of power as well.
func TestRow3IOErrors(t *testing.T) {
	soak.Row(t, 3, "an error at every operation on the disk", 1, func(t *testing.T, seed uint64) soak.Found {
		found := soak.Found{}
		steps, strides, first := 14, [...]int{1, 2}, 0
		switch {
		case soak.Long(): // each seed a part of them, for a process that has ended stays in memory: 16 are all
			steps, strides, first = 40, [...]int{16, 16}, int(seed%16)
		case soak.Race:
			strides = [...]int{12, 60}
		}
		for i, through := range []string{"log", "tables"} {
			beyond := found["beyond the end"]
			for index := first; found["beyond the end"] == beyond; index += strides[i] {
				if !t.Run(fmt.Sprintf("%s/operation=%d", through, index), func(t *testing.T) {
					cryptotest.SetGlobalRandom(t, seed)
					failOnce(t, seed, i, index, steps, found)
				}) {
					return found
				}
			}
		}
		return found
	})
}

func isSync(op errorfs.OpKind) bool {
	return op == errorfs.OpFileSync || op == errorfs.OpFileSyncData || op == errorfs.OpFileSyncTo
}

// failOnce plays a script in which the operation of an index fails. With ingest 1 each
// commit becomes tables of its own.
func failOnce(t *testing.T, seed uint64, ingest, index, steps int, found soak.Found) {
	r := rand.New(rand.NewPCG(seed, 5))
	disk := vfs.NewCrashableMem()
	base := disktest.NewCamera(disk, r)
	ended := make(ending, 1)
	var armed, opening atomic.Bool
	// Pebble panics where it cannot end its log and begin the next, as it does to take in a
	// table over what it has in memory: with its locks in disorder, so that nobody can recover.
	rotates := func(op errorfs.Op) bool {
		return ingest == 1 && strings.HasSuffix(op.Path, ".log") &&
			(op.Kind == errorfs.OpCreate || op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpFileClose)
	}
	// Where it fails to open after it has read its log, it may leave a goroutine that
	// compacts, and panics: what would be the end of a process must be it at once.
	var replayed atomic.Bool
	var count atomic.Int64
	failed := make(chan errorfs.Op, 1)
	var fault atomic.Pointer[errorfs.Op]
	t.Cleanup(func() {
		if op := fault.Load(); op != nil && t.Failed() {
			t.Logf("what failed was operation %d: %+v", index, *op)
		}
	})
	broken := disktest.Faulty(base, func(op errorfs.Op) error {
		if armed.Load() && count.Add(1) == int64(index)+1 {
			failed <- op
			fault.Store(&op)
			if rotates(op) || opening.Load() && replayed.Load() && op.Kind != errorfs.OpRemove {
				ended.Fatalf("the process ends")
			}
			return errorfs.ErrInjected
		}
		if op.Kind == errorfs.OpOpen && strings.HasSuffix(op.Path, ".log") {
			replayed.Store(true)
		}
		return nil
	})
	w := matchertest.New(t, players)
	w.Store.Close()
	w.Logger, w.Ingest = ended, ingest
	w.Open(broken)
	p := newPlayer(t, w, r)
	// try does something that may fail; false when the process has ended.
	try := func(do func() error) (err error, lives bool) {
		t.Helper()
		armed.Store(true)
		defer armed.Store(false)
		done := make(chan error, 1)
		go func() { done <- do() }()
		select {
		case err = <-done:
		case <-ended:
			return nil, false
		}
		select {
		case <-ended: // beside what was asked
			return nil, false
		default:
			return err, true
		}
	}
	// restart opens what a process has left that ended, or lost its power.
	restart := func(said *deed, lost bool) {
		w.Abandon()
		w.Logger = nil
		found["ends"]++
		base.Kept = []int{100}
		if lost {
			base.Kept = []int{[]int{0, 10, 50, 100}[r.IntN(4)]}
		}
		base.Turn(true)
		base.Shoot()
		base.Turn(false)
		w.Open(base.Pictures()[0])
		found["acknowledged"] += p.finds(len(p.done), said, w.Now())
	}
	for step := range steps {
		if step%7 == 6 {
			old, keys, opts := w.Store, w.Keys, pebblestore.Options{FS: broken, Logger: ended, Ingest: w.Ingest}
			w.Abandon()
			stores := make(chan *pebblestore.Store, 1)
			err, lives := try(func() error {
				if err := old.Close(); err != nil {
					return err
				}
				replayed.Store(false)
				opening.Store(true)
				defer opening.Store(false)
				store, err := pebblestore.Open("db", keys, opts)
				stores <- store
				return err
			})
			if err != nil || !lives {
				restart(nil, !lives)
				return
			}
			w.Take(broken, <-stores)
			continue
		}
		d := p.next()
		if d.send == nil {
			p.did(d)
			continue
		}
		answers := make(chan []matcher.Outcome, 2)
		m := w.Matcher // a process that has ended may still be at it
		send := func() error {
			outs, err := d.send(m)
			answers <- outs
			return err
		}
		err, lives := try(send)
		if !lives {
			restart(&d, true)
			return
		}
		if err != nil {
			found["errors"]++
			<-answers
			if err, lives = try(send); err != nil || !lives {
				t.Fatalf("it fails again, where nothing else failed: %v", err)
			}
			d.heard(<-answers)
			for _, a := range d.asks {
				if !a.got.Created {
					t.Fatal("what was answered with an error was done")
				}
			}
		} else {
			d.heard(<-answers)
		}
		p.did(d)
	}
	old := w.Store
	w.Abandon()
	err, lives := try(old.Close)
	select {
	case op := <-failed:
		if isSync(op.Kind) && lives {
			t.Fatalf("it goes on after a sync that failed, of %s", op.Path)
		}
	default:
		found["beyond the end"]++
	}
	restart(nil, err != nil || !lives)
}

// ending is told that the process would end. Whoever told it does not go on.
type ending chan struct{}

func (ending) Infof(string, ...any)  {}
func (ending) Errorf(string, ...any) {}
func (e ending) Fatalf(string, ...any) {
	select {
	case e <- struct{}{}:
	default:
	}
	select {}
}
