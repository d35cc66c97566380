// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/seinhuis/seinhuis/api"
)

// How many turns of a stage there are at a time, for a party.
var atOnce = [stages]int{
	evaluating: 4, // each of another cohort: while one waits for its evaluators, others compute
	acting:     4,
	submitting: 8,
	importing:  1, // the registry has room for two of all parties
}

const (
	manySignals   = 32               // that many are sent together
	importLines   = 1000             // at most
	lookAgain     = time.Minute      // even if nobody wakes the worker
	askAgain      = time.Hour        // a server that said longer: a budget can be raised
	afterOurFault = 10 * time.Minute // for a job that we cannot do ourselves
	oneByOne      = 10 * time.Minute // for imports that are not taken
)

// errLater says that a job has to wait for another one of the party.
var errLater = errors.New("gateway: another job goes first")

// A wait is how long to leave a server, or a job, alone after it failed.
type wait struct {
	For      WaitFor
	Failures int
	At       time.Time // of the last failure
	Until    time.Time
	Said     time.Time // when the server said that it will go on; we ask earlier
}

// trouble is what the worker knows of servers that fail. It is not kept: after a
// start everything is tried at once.
type trouble struct {
	mu       sync.Mutex
	cohorts  map[lane]wait // evaluators, per cohort: one key can be missing alone
	jobs     map[ID]wait   // jobs that fail alone
	registry wait
	imports  wait      // the registry has no room for another one
	quota    wait      // the registry takes no more signals of ours today; acts it does
	oneByOne time.Time // until then it takes none
}

func (t *trouble) of(job Job) wait {
	t.mu.Lock()
	defer t.mu.Unlock()
	w, alone := t.jobs[job.ID]
	switch {
	case alone:
		return w
	case len(job.Identity) > 0:
		return t.cohorts[laneOf(job)]
	case t.registry.Failures == 0 && t.quota.Failures > 0 && job.Kind == JobSignal:
		return t.quota
	case t.registry.Failures == 0 && !job.Import.IsZero():
		return t.imports
	}
	return t.registry
}

func (w *wait) failed(e *waitError) {
	w.For = e.For
	w.Failures++
	w.At = time.Now()
	w.Until = w.At.Add(max(backoff(w.Failures), min(e.Until, askAgain)))
	w.Said = w.At.Add(e.Until)
}

// cohort and job record a failure, or with nil the end of it.

func (t *trouble) cohort(of lane, e *waitError) {
	t.mu.Lock()
	defer t.mu.Unlock()
	record(&t.cohorts, of, e)
}

func (t *trouble) job(id ID, e *waitError) wait {
	t.mu.Lock()
	defer t.mu.Unlock()
	return record(&t.jobs, id, e)
}

// atRegistry records what came of a request that began then. A registry that is
// away fails many at once, and that counts once; what began before a failure says
// nothing of the time after it.
func (t *trouble) atRegistry(began time.Time, e *waitError) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.registry.since(began, e)
}

func (t *trouble) atImports(began time.Time, e *waitError) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.imports.since(began, e)
}

func (t *trouble) atQuota(began time.Time, e *waitError) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.quota.since(began, e)
}

// sendOneByOne is for a registry that does not take many at a time.
func (t *trouble) sendOneByOne() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.oneByOne = time.Now().Add(oneByOne)
}

func (w *wait) since(began time.Time, e *waitError) {
	switch {
	case w.At.After(began):
	case e == nil:
		*w = wait{}
	default:
		w.failed(e)
	}
}

func record[K comparable](waits *map[K]wait, key K, e *waitError) wait {
	if e == nil {
		delete(*waits, key)
		return wait{}
	}
	if *waits == nil {
		*waits = map[K]wait{}
	}
	w := (*waits)[key]
	w.failed(e)
	(*waits)[key] = w
	return w
}

func (p *Party) jobStatus(job Job) *JobStatus {
	s := &JobStatus{Kind: job.Kind, WaitFor: WaitNothing, Since: job.Created}
	if w := p.trouble.of(job); w.Failures > 0 {
		s.WaitFor, s.Attempts, s.Next = w.For, w.Failures, w.Until.UTC()
	}
	return s
}

// work is the party's worker: it alone takes jobs through their stages. Every turn
// runs by itself, so that nothing that waits for a server holds up anything else.
func (p *Party) work(ctx context.Context) {
	var turns sync.WaitGroup
	defer turns.Wait()
	for ctx.Err() == nil {
		t, next := p.queue.next(time.Now(), &p.trouble)
		if t != nil {
			turns.Go(func() {
				p.do(ctx, t)
				p.queue.done(t)
				p.wake()
			})
			continue
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
		case <-p.nudge:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// next finds a turn that can begin now. Without one it tells how long there is none,
// if nobody wakes the worker.
//
// What somebody waits for goes first: acts and single signals, each in a request of
// its own. Many signals go together, where the registry has room for that. Single
// signals are evaluated before those of imports.
func (q *queue) next(now time.Time, tr *trouble) (*turn, time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	next := lookAgain
	waits := func(until time.Time) bool {
		if until.After(now) {
			next = min(next, until.Sub(now))
			return true
		}
		return false
	}
	if t := q.send(now, tr, waits); t != nil {
		return t, 0
	}
	t := q.evaluate(tr, waits)
	return t, next
}

// send finds a turn that asks the registry. Acts and single signals do not overlap:
// the registry may answer a signal with the one that is about to be withdrawn, and so
// keeps it. Neither starves the other. Only imports are not waited for.
func (q *queue) send(now time.Time, tr *trouble, waits func(time.Time) bool) *turn {
	acts, single, imported := lane{stage: acting}, lane{stage: submitting}, lane{stage: submitting, imported: true}
	if waits(tr.registry.Until) {
		return nil
	}
	alone := tr.oneByOne.After(now)
	noImports := alone || !q.free(importing) || waits(tr.imports.Until)
	singles, n := len(q.lanes[single]), len(q.lanes[imported]) // singles that go one by one
	if waits(tr.quota.Until) {
		singles, n = 0, 0
	}
	together := singles >= manySignals && !noImports
	if together {
		singles = 0
	}
	q.owed = min(q.owed, singles)
	if len(q.lanes[acts]) == 0 {
		acts.imported = true // cards of a transfer
	}
	act := len(q.lanes[acts]) > 0 && q.owed == 0
	if tr.registry.Failures > 0 {
		asking := q.running[acting] + q.running[submitting]
		if !act && singles == 0 { // else an import, which may take minutes, is not waited for
			asking += q.running[importing]
		}
		if asking > 0 {
			return nil // one finds out for all, and not always the same
		}
		others := singles > 0 || together || n > 0 && (alone || !noImports)
		act = act && (!others || rand.IntN(2) == 0)
	}
	if act && q.running[submitting] == 0 && q.free(acting) {
		if q.acts++; q.acts == atOnce[acting] {
			q.acts, q.owed = 0, singles
		}
		return q.begin(acting, 1, acts)
	}
	act = act || q.running[acting] > 0
	if singles > 0 && !act && q.free(submitting) {
		q.owed = max(q.owed-1, 0)
		return q.begin(submitting, 1, single)
	}
	switch {
	case together:
		return q.begin(importing, importLines, single)
	case n == 0:
	case alone && !act && q.free(submitting):
		return q.begin(submitting, 1, imported)
	case noImports:
	case n >= manySignals || q.running[evaluating] == 0: // or there will soon be more
		return q.begin(importing, importLines, imported)
	}
	return nil
}

func (q *queue) evaluate(tr *trouble, waits func(time.Time) bool) *turn {
	if !q.free(evaluating) {
		return nil
	}
	var found *cohort
	for l := range q.lanes { // in an order of its own each time
		if l.stage != evaluating || found != nil && l.imported {
			continue
		}
		c := q.cohorts[l]
		if c == nil {
			c = &cohort{of: l}
			q.cohorts[l] = c
		}
		if !c.busy && !waits(tr.cohorts[l].Until) {
			found = c
		}
	}
	if found == nil {
		return nil
	}
	t := q.begin(evaluating, api.MaxElements, found.of)
	t.cohort, found.busy = found, true
	return t
}

func (q *queue) free(s stage) bool { return q.running[s] < atOnce[s] }

func (q *queue) begin(s stage, n int, from lane) *turn {
	t := &turn{stage: s}
	q.take(t, from, n)
	q.running[s]++
	return t
}

// do takes the jobs of a turn a stage further.
func (p *Party) do(ctx context.Context, t *turn) {
	jobs := make([]Job, 0, len(t.jobs))
	for _, id := range t.jobs {
		job, err := p.job(p.g.store.view, id)
		switch {
		case err == nil:
			jobs = append(jobs, job)
		case !errors.Is(err, errAbsent): // cancelled
			p.tried(t, id, time.Now(), err)
		}
	}
	if len(jobs) == 0 {
		return
	}
	switch t.stage {
	case evaluating:
		p.evaluateTurn(ctx, t, jobs)
	case importing:
		p.sendMany(ctx, t, jobs)
	default:
		p.sendOne(ctx, t, jobs[0])
	}
}

// job gives a job's row, as the queue keeps it or else from a view.
func (p *Party) job(v view, id ID) (Job, error) {
	if job, kept := p.queue.row(id); kept {
		return job, nil
	}
	return get[Job](v, p.key.job(id))
}

// evaluateTurn has jobs of a cohort evaluated, and prepares what they send.
func (p *Party) evaluateTurn(ctx context.Context, t *turn, jobs []Job) {
	err := p.prepareCohort(ctx, t, jobs)
	e, waits := errors.AsType[*waitError](err)
	switch {
	case err == nil:
		p.trouble.cohort(t.cohort.of, nil)
		return
	case ctx.Err() != nil:
	case waits:
		p.trouble.cohort(t.cohort.of, e)
	default:
		for _, job := range jobs {
			p.tried(t, job.ID, time.Now(), err)
		}
	}
	p.changed.notify()
}

func (p *Party) sendOne(ctx context.Context, t *turn, job Job) {
	began := time.Now()
	if job.Prepared == nil || job.Again && job.Kind.act() {
		prepared, err := p.prepareAct(ctx, job)
		if err != nil || prepared == nil {
			p.tried(t, job.ID, began, err)
			return
		}
		job = *prepared
	}
	err := p.send(ctx, job)
	if err == nil {
		p.trouble.atRegistry(began, nil)
		if job.Kind == JobSignal {
			p.trouble.atQuota(began, nil)
		}
	}
	p.tried(t, job.ID, began, err)
}

// tried records why a job cannot be done now, if so, in a turn that began then. What
// nobody else is to blame for counts against the job alone.
func (p *Party) tried(t *turn, job ID, began time.Time, err error) {
	if errors.Is(err, errLater) {
		err = &waitError{For: WaitNothing, Alone: true, Err: err}
	}
	e, waits := errors.AsType[*waitError](err)
	switch {
	case err == nil:
		p.trouble.job(job, nil)
		return
	case errors.Is(err, context.Canceled):
		return
	case waits && e.For == WaitBudget && !e.Alone:
		p.trouble.atQuota(began, e)
	case waits && !e.Alone:
		p.trouble.atRegistry(began, e)
	case waits:
		w := p.trouble.job(job, e)
		p.queue.rest(t, job, time.Until(w.Until), p.wake)
	default:
		p.g.log.Error("job not done", "party", string(p.id), "cause", err)
		p.trouble.job(job, &waitError{For: WaitNothing, Until: afterOurFault, Err: err})
		p.queue.rest(t, job, afterOurFault, p.wake)
	}
	p.changed.notify()
}
