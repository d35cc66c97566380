// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seinhuis/seinhuis/api"
)

const (
	sendersPerParty = 8
	lookAgain       = time.Minute            // even if nobody wakes the worker
	later           = 200 * time.Millisecond // for a job that waits for another one
	afterOurFault   = 10 * time.Minute       // for a job that we cannot do ourselves
)

// errLater says that a job has to wait for another one of the party.
var errLater = errors.New("gateway: another job goes first")

// A wait is how long to leave a server, or a job, alone after it failed.
type wait struct {
	For      WaitFor
	Failures int
	Until    time.Time
}

// trouble is what the worker knows of servers that fail. It is not kept: after a
// start everything is tried at once.
type trouble struct {
	mu       sync.Mutex
	cohorts  map[int]wait // evaluators, per cohort: one key can be missing alone
	jobs     map[ID]wait  // jobs that fail by a fault of ours
	registry wait
}

func (t *trouble) of(job Job) wait {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w, ok := t.jobs[job.ID]; ok {
		return w
	}
	if len(job.Identity) > 0 {
		return t.cohorts[job.Cohort]
	}
	return t.registry
}

func (w *wait) failed(e *waitError) {
	w.For = e.For
	w.Failures++
	w.Until = time.Now().Add(max(backoff(w.Failures), e.Until))
}

// cohort, job and atRegistry record a failure, or with nil the end of it.

func (t *trouble) cohort(cohort int, e *waitError) {
	t.mu.Lock()
	defer t.mu.Unlock()
	record(&t.cohorts, cohort, e)
}

func (t *trouble) job(id ID, e *waitError) {
	t.mu.Lock()
	defer t.mu.Unlock()
	record(&t.jobs, id, e)
}

func (t *trouble) atRegistry(e *waitError) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e == nil {
		t.registry = wait{}
		return
	}
	t.registry.failed(e)
}

func record[K comparable](waits *map[K]wait, key K, e *waitError) {
	if e == nil {
		delete(*waits, key)
		return
	}
	if *waits == nil {
		*waits = map[K]wait{}
	}
	w := (*waits)[key]
	w.failed(e)
	(*waits)[key] = w
}

func (p *Party) jobStatus(job Job) *JobStatus {
	s := &JobStatus{Kind: job.Kind, WaitFor: WaitNothing, Since: job.Created}
	if w := p.trouble.of(job); w.Failures > 0 {
		s.WaitFor, s.Attempts, s.Next = w.For, w.Failures, w.Until.UTC()
	}
	return s
}

// work is the party's worker: it alone takes jobs through their stages.
func (p *Party) work(ctx context.Context) {
	for ctx.Err() == nil {
		progress, next := p.round(ctx)
		if progress {
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

// round does once what can be done now. It tells whether anything was, and if not
// when to look again.
func (p *Party) round(ctx context.Context) (progress bool, next time.Duration) {
	next = lookAgain
	now := time.Now()
	sooner := func(d time.Duration) { next = min(next, max(d, 0)) }

	waiting := map[int][]Job{} // by cohort
	var ready, acts []Job
	onSignal := map[api.SID]bool{}
	err := scan(p.g.store.view, p.key.table(tableJob), nil, false, func(_ []byte, job Job) (bool, error) {
		if w := p.trouble.of(job); w.Until.After(now) {
			sooner(w.Until.Sub(now))
			return true, nil
		}
		switch {
		case !job.SID.IsZero() && onSignal[job.SID]: // acts on one signal go one by one, in their order
			return true, nil
		case job.Prepared != nil:
			ready = append(ready, job)
		case len(job.Identity) > 0:
			waiting[job.Cohort] = append(waiting[job.Cohort], job)
		default:
			acts = append(acts, job)
		}
		if !job.SID.IsZero() {
			onSignal[job.SID] = true
		}
		return true, nil
	})
	if err != nil {
		p.halt("queue not readable", err)
		return false, next
	}

	for _, job := range acts {
		prepared, err := p.prepareAct(ctx, job)
		switch {
		case err != nil:
			p.troubled(err, job.ID, p.trouble.atRegistry)
			sooner(later)
		case prepared != nil:
			ready = append(ready, *prepared)
		default:
			progress = true
		}
	}
	// Evaluators and registry see no order of arrival.
	for cohort, jobs := range waiting {
		rand.Shuffle(len(jobs), func(i, j int) { jobs[i], jobs[j] = jobs[j], jobs[i] })
		jobs = jobs[:min(len(jobs), api.MaxElements)]
		prepared, err := p.prepareCohort(ctx, cohort, jobs)
		if err != nil {
			p.troubled(err, jobs[0].ID, func(e *waitError) { p.trouble.cohort(cohort, e) })
			sooner(later)
			continue
		}
		p.trouble.cohort(cohort, nil)
		progress = true
		for _, job := range prepared {
			if !p.trouble.of(job).Until.After(now) {
				ready = append(ready, job)
			}
		}
	}
	rand.Shuffle(len(ready), func(i, j int) { ready[i], ready[j] = ready[j], ready[i] })
	if p.sendAll(ctx, ready) {
		progress = true
	} else if len(ready) > 0 {
		progress = false
		sooner(later)
	}
	return progress && ctx.Err() == nil, next
}

// troubled records why something cannot be done now. What nobody else is to blame
// for counts against the job alone.
func (p *Party) troubled(err error, job ID, record func(*waitError)) {
	if errors.Is(err, context.Canceled) || errors.Is(err, errLater) {
		return
	}
	if e, ok := errors.AsType[*waitError](err); ok {
		record(e)
	} else {
		p.halt("job not done", err)
		p.trouble.job(job, &waitError{For: WaitNothing, Until: afterOurFault, Err: err})
	}
	p.changed.notify()
}

// halt logs a fault of our own: of the store, or of what is in it.
func (p *Party) halt(what string, err error) {
	p.g.log.Error(what, "party", string(p.id), "cause", err.Error())
}

// sendAll sends prepared jobs, a few at a time: acts on signals that stand first,
// and new signals when those have their answer. The registry may answer a new
// signal with one that stands, and that one must not be ended by an act of ours
// before the answer is stored. After the first failure that is the registry's it
// starts no more of the same kind. It tells whether any job was done.
func (p *Party) sendAll(ctx context.Context, jobs []Job) (sent bool) {
	var acts, signals []Job
	for _, job := range jobs {
		if job.Kind == JobSignal {
			signals = append(signals, job)
		} else {
			acts = append(acts, job)
		}
	}
	var blame sync.Once // a registry that is away fails all at once, and that counts once
	acted, actsFailed := p.sendSome(ctx, acts, &blame)
	signalled, signalsFailed := p.sendSome(ctx, signals, &blame)
	sent = acted || signalled
	if sent && !actsFailed && !signalsFailed {
		p.trouble.atRegistry(nil)
	}
	return sent
}

func (p *Party) sendSome(ctx context.Context, jobs []Job, blame *sync.Once) (sent, failed bool) {
	var done, stop atomic.Bool
	var group errgroup.Group
	group.SetLimit(sendersPerParty)
	for _, job := range jobs {
		group.Go(func() error {
			if stop.Load() || ctx.Err() != nil {
				return nil
			}
			err := p.send(ctx, job)
			if err == nil {
				done.Store(true)
				p.trouble.job(job.ID, nil)
				return nil
			}
			if _, ok := errors.AsType[*waitError](err); ok {
				stop.Store(true)
			}
			p.troubled(err, job.ID, func(e *waitError) { blame.Do(func() { p.trouble.atRegistry(e) }) })
			return nil
		})
	}
	group.Wait()
	return done.Load(), stop.Load()
}
