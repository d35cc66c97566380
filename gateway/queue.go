// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/seinhuis/seinhuis/api"
)

// A queue knows of every job of a party where it stands, in a hundred bytes: so the
// worker finds what it can do next without reading what it cannot. The rows are what
// counts. The queue is filled from them at the start, and follows every batch that
// puts or deletes one (see Party.commit); a row is read when its turn has come.
//
// A job stands in a lane, or it is in the hands of a turn, or it rests after a
// failure. A turn takes from a lane at random, so that evaluators and registry see no
// order of arrival, and nobody can be in front of another.
type queue struct {
	mu      sync.Mutex
	jobs    map[ID]*place
	on      map[api.SID][]*place // jobs on signals that stand, in their order
	made    map[api.SID]*place   // prepared new signals: they may stand already
	lanes   map[lane][]*place
	cohorts map[lane]*cohort
	running [stages]int // turns
	acts    int         // turns, since it was single signals' turn
	owed    int         // single signals that go before the next act

	// Rows of a few jobs that somebody waits for, which spares reading them.
	rows map[ID]Job

	// Signals that ended while submissions were under way: an answer that names one
	// is from before.
	underWay int
	gone     map[api.SID]bool

	oldest ID     // no job has a lower id
	came   uint64 // jobs, ever
}

// A stage is what is done next for a job.
type stage int8

const (
	evaluating stage = iota // the identity waits for the evaluators
	acting                  // a renewal, withdrawal or answer waits for the registry
	submitting              // a prepared signal does, alone
	importing               // or together with others
	stages
)

// A lane is jobs that can be done alike.
type lane struct {
	stage    stage // submitting for all prepared signals
	imported bool  // of an import: nobody waits for one of these
	report   bool  // while evaluating: of a report, for which evaluators have a reserve
	cohort   int16 // while evaluating
}

type place struct {
	id        ID
	sid       api.SID // zero, or the signal that stands or was made
	lane      lane
	at        int32 // in the lane; -1 for not
	withdraws bool
	renews    bool
	resends   bool
	prepared  bool
	turn      *turn // whose hands it is in
}

// A turn is what one request is made for.
type turn struct {
	stage  stage
	cohort *cohort // while evaluating
	jobs   []ID
	places []*place
}

// resting has the jobs that are left alone for a while.
var resting = new(turn)

// A cohort is a lane that evaluates. It has one turn at a time. Whom nobody waits for
// has a cohort of his own, which can be without budget when the other is not.
type cohort struct {
	of    lane
	busy  bool
	begun *cohortBatch // the turn's own
}

const keepRows = 64

func newQueue() *queue {
	return &queue{
		jobs: map[ID]*place{}, on: map[api.SID][]*place{}, made: map[api.SID]*place{},
		lanes: map[lane][]*place{}, cohorts: map[lane]*cohort{},
		gone: map[api.SID]bool{}, rows: map[ID]Job{},
	}
}

func laneOf(job Job) lane {
	switch {
	case len(job.Identity) > 0:
		return lane{stage: evaluating, imported: !job.Import.IsZero(), report: !job.Report.IsZero(), cohort: int16(job.Cohort)}
	case job.Kind == JobSignal:
		return lane{stage: submitting, imported: !job.Import.IsZero()}
	}
	return lane{stage: acting, imported: job.Bulk}
}

// put takes note of a job's row.
func (q *queue) put(job Job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	at, known := laneOf(job), false
	pl := q.jobs[job.ID]
	if known = pl != nil; !known {
		pl = &place{id: job.ID, sid: job.SID, at: -1, withdraws: job.Kind == JobWithdraw, renews: job.Kind == JobRenew, resends: job.Kind == JobResend}
		q.jobs[pl.id] = pl
		q.came++
		if !pl.sid.IsZero() {
			q.on[pl.sid] = append(q.on[pl.sid], pl)
		}
		if bytes.Compare(q.oldest[:], pl.id[:]) > 0 {
			q.oldest = pl.id
		}
	}
	if _, kept := q.rows[pl.id]; kept || len(q.rows) < keepRows && !at.imported {
		q.rows[pl.id] = job
	}
	if pl.prepared = job.Prepared != nil; pl.prepared && job.Kind == JobSignal {
		delete(q.made, pl.sid) // made anew
		pl.sid = job.Prepared.SID
		q.made[pl.sid] = pl
	}
	if known && pl.lane == at {
		return // it stays where it is, or in whose hands it is
	}
	q.leave(pl)
	pl.lane, pl.turn = at, nil
	q.enter(pl)
}

// delete takes note that a job's row is gone.
func (q *queue) delete(id ID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	pl := q.jobs[id]
	if pl == nil {
		return
	}
	q.leave(pl)
	pl.turn = nil
	delete(q.jobs, id)
	delete(q.rows, id)
	if pl.sid.IsZero() {
		return
	}
	if q.made[pl.sid] == pl {
		delete(q.made, pl.sid)
		return
	}
	rest := slices.DeleteFunc(q.on[pl.sid], func(other *place) bool { return other == pl })
	if q.on[pl.sid] = rest; len(rest) == 0 {
		delete(q.on, pl.sid)
	}
	q.advance(pl.sid)
}

// enter gives a job that is in nobody's hands a place in its lane. Acts on one
// signal go one by one, in their order.
func (q *queue) enter(pl *place) {
	if pl.lane.stage == acting {
		q.advance(pl.sid)
		return
	}
	q.join(pl)
}

// advance lets the first act on a signal into its lane, unless one is there or in
// hand. One that rests holds up none behind it.
func (q *queue) advance(sid api.SID) {
	var first *place
	for _, pl := range q.on[sid] {
		switch {
		case pl.lane.stage != acting || pl.turn == resting:
		case pl.turn != nil || pl.at >= 0:
			return
		case first == nil:
			first = pl
		}
	}
	if first != nil {
		q.join(first)
	}
}

func (q *queue) join(pl *place) {
	pl.at = int32(len(q.lanes[pl.lane]))
	q.lanes[pl.lane] = append(q.lanes[pl.lane], pl)
}

func (q *queue) leave(pl *place) {
	if pl.at < 0 {
		return
	}
	list := q.lanes[pl.lane]
	last := len(list) - 1
	list[pl.at] = list[last]
	list[pl.at].at = pl.at
	list[last] = nil
	q.lanes[pl.lane] = list[:last]
	if last == 0 {
		delete(q.lanes, pl.lane)
	}
	pl.at = -1
}

// take gives a turn at most n jobs, at random from a lane.
func (q *queue) take(t *turn, from lane, n int) {
	for list := q.lanes[from]; len(list) > 0 && len(t.places) < n; list = q.lanes[from] {
		pl := list[rand.IntN(len(list))]
		q.leave(pl)
		pl.turn = t
		t.places = append(t.places, pl)
		t.jobs = append(t.jobs, pl.id)
	}
}

// done ends a turn. What it did not get on with, and does not rest, can be taken
// again.
func (q *queue) done(t *turn) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running[t.stage]--
	if t.cohort != nil {
		t.cohort.busy = false
	}
	for _, pl := range t.places {
		if pl.turn == t {
			pl.turn = nil
			q.enter(pl)
		}
	}
}

// rest leaves a job alone for a while, that a turn has in its hands; then calls
// awake.
func (q *queue) rest(t *turn, id ID, d time.Duration, awake func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	pl := q.jobs[id]
	if pl == nil || pl.turn != t {
		return
	}
	pl.turn = resting
	q.advance(pl.sid)
	time.AfterFunc(d, func() {
		q.mu.Lock()
		if pl.turn == resting {
			pl.turn = nil
			q.enter(pl)
		}
		q.mu.Unlock()
		awake()
	})
}

// row gives a job's row, if it is kept.
func (q *queue) row(id ID) (Job, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	job, ok := q.rows[id]
	return job, ok
}

// has tells whether a job is still to be done.
func (q *queue) has(id ID) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.jobs[id] != nil
}

// size is how many jobs there are, and came ever, and an id that none is below.
func (q *queue) size() (n int, came uint64, from ID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.jobs), q.came, q.oldest
}

// begins takes note of the lowest id, unless jobs have come since so many had.
func (q *queue) begins(id ID, came uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.came == came {
		q.oldest = id
	}
}

// withdrawing tells whether a withdrawal of the signal may have been sent, or
// whether one has ended it since submissions that are now under way were sent.
func (q *queue) withdrawing(sid api.SID) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.gone[sid] || slices.ContainsFunc(q.on[sid], func(pl *place) bool { return pl.withdraws && pl.prepared })
}

// makes tells whether the answer is still to come that says that the signal stands.
func (q *queue) makes(sid api.SID) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.made[sid] != nil
}

// submits counts submissions that are under way, for withdrawing.
func (q *queue) submits() (done func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.underWay++
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.underWay--; q.underWay == 0 {
			clear(q.gone)
		}
	}
}

// ended takes note that a signal's row is gone.
func (q *queue) ended(sid api.SID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.underWay > 0 {
		q.gone[sid] = true
	}
}
