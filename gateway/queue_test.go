// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
)

// check tells what is wrong with a queue that should have these jobs.
func (q *queue) check(jobs map[ID]Job) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.jobs) != len(jobs) {
		return fmt.Errorf("%d jobs, want %d", len(q.jobs), len(jobs))
	}
	in := 0
	for l, list := range q.lanes {
		if len(list) == 0 {
			return fmt.Errorf("an empty lane is kept")
		}
		in += len(list)
		for at, pl := range list {
			if pl.lane != l || pl.at != int32(at) || pl.turn != nil || q.jobs[pl.id] != pl {
				return fmt.Errorf("a job in a lane is not where it stands")
			}
		}
	}
	on, made := 0, 0
	for id, job := range jobs {
		pl := q.jobs[id]
		switch {
		case pl == nil || pl.lane != laneOf(job) || pl.prepared != (job.Prepared != nil):
			return fmt.Errorf("%v is not known as it is", job)
		case pl.at >= 0:
			in--
		case pl.turn == nil && pl.lane.stage != acting:
			return fmt.Errorf("%v stands nowhere", job)
		}
		if row, kept := q.rows[id]; kept && (row.Prepared != job.Prepared || !bytes.Equal(row.Identity, job.Identity)) {
			return fmt.Errorf("the row that is kept of %v is an older one", job)
		}
		if !job.SID.IsZero() {
			on++
		}
		if job.Kind == JobSignal && job.Prepared != nil {
			if made++; q.made[job.Prepared.SID] != pl {
				return fmt.Errorf("%v is not known to make its signal", job)
			}
		}
	}
	for _, list := range q.on {
		on -= len(list)
		going, could := 0, 0
		for _, pl := range list {
			switch {
			case pl.lane.stage != acting || pl.turn == resting:
			case pl.at >= 0 || pl.turn != nil:
				going++
			default:
				could++
			}
		}
		if going > 1 || going == 0 && could > 0 {
			return fmt.Errorf("of the acts on one signal %d go at once, and %d wait", going, could)
		}
	}
	for id := range q.rows {
		if q.jobs[id] == nil || len(q.rows) > keepRows {
			return fmt.Errorf("rows are kept that need not be")
		}
	}
	if made != len(q.made) {
		return fmt.Errorf("%d jobs made a signal, and %d are known", made, len(q.made))
	}
	if in != 0 || on != 0 {
		return fmt.Errorf("%d too many in lanes, %d too few on signals", in, on)
	}
	return nil
}

// A queue that is told of random changes knows where each job stands, whatever turns
// do with them meanwhile.
func TestQueueFollowsTheRows(t *testing.T) {
	for seed := range uint64(40) {
		steps := 300
		if seed == 0 { // and once a queue that is long
			steps = 2000
		}
		rng := rand.New(rand.NewPCG(seed, 1))
		q, tr := newQueue(), &trouble{}
		jobs := map[ID]Job{}
		var turns []*turn
		pick := func() (job Job) {
			for _, job = range jobs { // any of them
				return job
			}
			return Job{}
		}
		put := func(job Job) {
			jobs[job.ID] = job
			q.put(job)
		}
		for step := range steps {
			switch rng.IntN(10) {
			case 0, 1, 2: // a new job
				job := Job{ID: newID(time.Now()), Kind: JobSignal, Identity: []byte{1}, Cohort: 2010 + rng.IntN(3)}
				if rng.IntN(2) == 0 {
					job.Import = ID{1}
				}
				if rng.IntN(3) == 0 {
					job = Job{ID: job.ID, Kind: JobWithdraw, SID: api.SID{byte(rng.IntN(5))}}
					if rng.IntN(2) == 0 {
						job.Kind, job.Identity, job.Cohort = JobRenew, []byte{1}, 2010
					}
				}
				put(job)
			case 3, 4: // prepared, by the turn that has it or not
				if job := pick(); !job.ID.IsZero() {
					job.Identity, job.Cohort, job.Prepared = nil, 0, &Prepared{SID: api.NewSID()}
					put(job)
				}
			case 5: // done or cancelled
				job := pick()
				delete(jobs, job.ID)
				q.delete(job.ID)
			case 6, 7:
				if turn, _ := q.next(time.Now(), tr); turn != nil {
					turns = append(turns, turn)
				}
			case 8:
				if len(turns) > 0 {
					turn := turns[rng.IntN(len(turns))]
					for _, id := range turn.jobs {
						if rng.IntN(4) == 0 {
							q.rest(turn, id, time.Duration(rng.IntN(1000)), func() {})
						}
					}
				}
			case 9:
				if len(turns) > 0 {
					i := rng.IntN(len(turns))
					q.done(turns[i])
					turns = slices.Delete(turns, i, i+1)
				}
			}
			if err := q.check(jobs); err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
		}
	}
}

// A turn takes what it can use and no more, and never in the order of arrival.
func TestTurnsAreBounded(t *testing.T) {
	q, tr := newQueue(), &trouble{}
	job := func(cohort int, imported bool) Job {
		j := Job{ID: newID(time.Now()), Kind: JobSignal, Identity: []byte{1}, Cohort: cohort}
		if imported {
			j.Import = ID{1}
		}
		q.put(j)
		return j
	}
	var order []ID
	for range 1000 {
		order = append(order, job(2010, true).ID)
	}
	single := job(2010, false)
	job(2012, false)
	first, _ := q.next(time.Now(), tr)
	second, _ := q.next(time.Now(), tr)
	if first.cohort.of.cohort != 2010 {
		first, second = second, first
	}
	if len(first.jobs) != 1 || first.jobs[0] != single.ID || len(second.jobs) != 1 {
		t.Errorf("turns have %d and %d jobs, or those that somebody waits for are not alone in them", len(first.jobs), len(second.jobs))
	}
	if first, _ = q.next(time.Now(), tr); len(first.jobs) != api.MaxElements {
		t.Errorf("a turn has %d jobs", len(first.jobs))
	}
	early := 0
	for _, id := range first.jobs {
		if slices.Contains(order[:len(order)/2], id) {
			early++
		}
	}
	if early < 10 || early > len(first.jobs)-10 { // by chance in a run of a hundred million
		t.Errorf("%d of %d came in the first half", early, len(first.jobs))
	}
	if third, _ := q.next(time.Now(), tr); third != nil {
		t.Error("a cohort has two turns at a time")
	}
}

// Who waits for a job that waits itself, perhaps for days, asks less and less often.
func TestWhoWaitsForAnotherJobBacksOff(t *testing.T) {
	p := &Party{queue: newQueue()}
	job := Job{ID: newID(time.Now()), Kind: JobSignal, Prepared: &Prepared{SID: api.NewSID()}}
	p.queue.put(job)
	for range 10 {
		turn, _ := p.queue.next(time.Now(), &p.trouble)
		p.tried(turn, job.ID, time.Now(), errLater)
		p.queue.delete(job.ID) // instead of waiting
		p.queue.put(job)
		p.queue.done(turn)
	}
	if s := p.jobStatus(job); time.Until(s.Next) < backoffMost/3 || s.WaitFor != WaitNothing {
		t.Errorf("it is tried again in %v, waiting for %s", time.Until(s.Next), s.WaitFor)
	}
}

// A job that comes while somebody looks for the oldest one may be older than what he
// finds: ids are made before they are put.
func TestNoJobIsOlderThanTheOldest(t *testing.T) {
	q := newQueue()
	early, late := newID(time.Now()), newID(time.Now())
	q.put(Job{ID: late, Kind: JobSignal})
	_, came, _ := q.size()
	q.put(Job{ID: early, Kind: JobSignal})
	q.begins(late, came)
	if _, _, from := q.size(); bytes.Compare(from[:], early[:]) > 0 {
		t.Error("there is an older one")
	}
	_, came, _ = q.size()
	if q.begins(early, came); q.oldest != early {
		t.Error("the oldest is not known")
	}
}

// Without a turn the worker sleeps no longer than what it waits for.
func TestTheWorkerWakesInTime(t *testing.T) {
	q, now := newQueue(), time.Now()
	job := Job{ID: newID(now), Kind: JobSignal, Identity: []byte{1}, Cohort: 2012}
	q.put(job)
	var tr trouble
	tr.cohort(laneOf(job), &waitError{For: WaitEvaluators})
	if turn, next := q.next(now, &tr); turn != nil || next > backoffMost {
		t.Errorf("it sleeps %v", next)
	}
}

// waiting puts n prepared signals in a queue.
func waiting(q *queue, n int, of ID) {
	for range n {
		q.put(Job{ID: newID(time.Now()), Kind: JobSignal, Import: of, Prepared: &Prepared{SID: api.NewSID()}})
	}
}

// However many renewals there are, single signals have their turn, and the other way
// round.
func TestActsAndSingleSignalsTakeTurns(t *testing.T) {
	q, tr := newQueue(), &trouble{}
	for range 1000 {
		q.put(Job{ID: newID(time.Now()), Kind: JobRenew, SID: api.NewSID()})
	}
	waiting(q, 8, ID{})
	var running []*turn
	last, row, worst := stages, 0, 0
	for range 200 {
		began, _ := q.next(time.Now(), tr)
		if began == nil { // the first to have begun ends
			for _, id := range running[0].jobs {
				q.delete(id)
			}
			q.done(running[0])
			running = running[1:]
			continue
		}
		if began.stage == submitting {
			waiting(q, 1, ID{}) // there is always another one
		}
		if began.stage != last {
			last, row = began.stage, 0
		}
		row++
		worst = max(worst, row)
		running = append(running, began)
		if began.stage == acting && q.running[submitting] > 0 || began.stage == submitting && q.running[acting] > 0 {
			t.Fatal("acts and single signals overlap")
		}
	}
	if worst > 9 {
		t.Errorf("%d of a kind went in a row", worst)
	}
}

// The registry is busy with others' imports, or with one of ours: signals that
// somebody waits for go one by one, however many.
func TestManySingleSignalsDoNotWaitForImports(t *testing.T) {
	now := time.Now()
	for name, busy := range map[string]func(q *queue, tr *trouble){
		"others": func(_ *queue, tr *trouble) {
			tr.atImports(now, &waitError{For: WaitRegistry, Until: time.Minute})
		},
		"ours": func(q *queue, _ *trouble) { q.running[importing]++ },
		"ours_and_the_registry_failed": func(q *queue, tr *trouble) {
			q.running[importing]++
			tr.registry = wait{Failures: 1}
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{1, manySignals - 1, 2 * manySignals} {
				q, tr := newQueue(), &trouble{}
				waiting(q, n, ID{})
				waiting(q, n, ID{1})
				busy(q, tr)
				if turn, _ := q.next(now, tr); turn == nil || turn.stage != submitting || turn.places[0].lane.imported {
					t.Errorf("of %d signals none goes", n)
				}
			}
		})
	}
}

// An import that the registry does not answer keeps no act back, although another
// request has failed since.
func TestAHangingImportKeepsNoActBack(t *testing.T) {
	for range 20 { // some things go by chance
		q, tr := newQueue(), &trouble{registry: wait{Failures: 1}}
		waiting(q, 2*manySignals, ID{1})
		if turn, _ := q.next(time.Now(), tr); turn == nil || turn.stage != importing {
			t.Fatal("no import goes")
		}
		waiting(q, 2*manySignals, ID{1})
		if turn, _ := q.next(time.Now(), tr); turn != nil {
			t.Fatal("two find out whether the registry is there")
		}
		q.put(Job{ID: newID(time.Now()), Kind: JobWithdraw, SID: api.NewSID()})
		if turn, _ := q.next(time.Now(), tr); turn == nil || turn.stage != acting {
			t.Fatal("the withdrawal waits")
		}
	}
}

// The budget does not reach for a batch of an import: a single signal of the cohort is
// asked for all the same.
func TestAnImportWithoutBudgetHoldsUpNoSingleSignal(t *testing.T) {
	q, tr := newQueue(), &trouble{}
	row := Job{ID: newID(time.Now()), Kind: JobSignal, Import: ID{1}, Identity: []byte{1}, Cohort: 2012}
	q.put(row)
	tr.cohort(laneOf(row), &waitError{For: WaitBudget, Until: time.Hour})
	if turn, _ := q.next(time.Now(), tr); turn != nil {
		t.Error("the import does not wait")
	}
	q.put(Job{ID: newID(time.Now()), Kind: JobSignal, Identity: []byte{1}, Cohort: 2012})
	if turn, _ := q.next(time.Now(), tr); turn == nil || len(turn.jobs) != 1 || turn.jobs[0] == row.ID {
		t.Error("the single signal waits")
	}
}

// Each turn of 64 jobs takes as long however many there are: nothing walks over them.
func BenchmarkTurn(b *testing.B) {
	for _, n := range []int{1_000, 1_000_000} {
		b.Run(fmt.Sprint("jobs=", n), func(b *testing.B) {
			q, tr := newQueue(), &trouble{}
			for range n {
				q.put(Job{ID: newID(time.Now()), Kind: JobSignal, Identity: []byte{1}, Cohort: 2010, Import: ID{1}})
			}
			for b.Loop() {
				turn, _ := q.next(time.Now(), tr)
				q.done(turn)
			}
		})
	}
}
