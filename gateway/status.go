// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/identity"
)

// A Status is a registration with all that belongs to it.
type Status struct {
	Registration
	Signal *Signal    // absent when there is none, or none any more
	Owners int        // of the signal
	Match  *Match     // the signal's last one; absent when it never had one
	Job    *JobStatus // absent when nothing is left to do
}

// LogValue logs the registration's id and state.
func (s Status) LogValue() slog.Value { return s.Registration.LogValue() }

// A JobStatus tells how a job fares.
type JobStatus struct {
	Kind     JobKind
	WaitFor  WaitFor
	Since    time.Time
	Attempts int       // failed, since the gateway started
	Next     time.Time // zero: now
}

// Words says in Dutch where the registration stands and what it waits for.
func (s Status) Words() string {
	switch {
	case s.State == StateQueued && s.Job != nil:
		return waitWords[s.Job.WaitFor]
	case s.State == StateRefused && len(s.Faults) > 0:
		return stateWords[s.State] + " " + s.Faults[0].Detail()
	case s.State == StateLost && len(s.Faults) > 0:
		return stateWords[s.State] + " " + s.Faults[0].Detail()
	case s.State.Stands() && s.Job != nil && s.Job.WaitFor != WaitNothing:
		return stateWords[s.State] + " De verlenging staat nog in de wacht."
	case s.State.Stands() && s.Signal != nil:
		return stateWords[s.State] + " " + s.matchWords()
	}
	return stateWords[s.State]
}

// Settled tells whether nothing is left to do for the registration.
func (s Status) Settled() bool { return s.Job == nil }

// Registration reads one registration.
func (p *Party) Registration(id ID) (Status, error) {
	v, release := p.g.store.snapshot()
	defer release()
	return p.status(v, id)
}

// Registrations lists registrations, the newest first, beginning behind the one
// called from; a state other than "" filters. more tells whether there are others.
func (p *Party) Registrations(from ID, limit int, only State) (list []Status, more bool, err error) {
	var start []byte
	if !from.IsZero() {
		start = p.key.registration(from)
	}
	v, release := p.g.store.snapshot()
	defer release()
	err = scan(v, p.key.table(tableRegistration), start, true, func(_ []byte, reg Registration) (bool, error) {
		s, err := p.complete(v, reg)
		if err != nil || only != "" && s.State != only {
			return true, err
		}
		if len(list) == limit {
			more = true
			return false, nil
		}
		list = append(list, s)
		return true, nil
	})
	return list, more, err
}

func (p *Party) status(v view, id ID) (Status, error) {
	reg, err := get[Registration](v, p.key.registration(id))
	if errors.Is(err, errAbsent) {
		return Status{}, ErrNotFound
	}
	if err != nil {
		return Status{}, err
	}
	return p.complete(v, reg)
}

// original reads a registration, or the one that it repeats: what was repeated can have
// become a repeat itself, of a colleague's who got it.
func (p *Party) original(v view, id ID) (Registration, error) {
	reg, err := get[Registration](v, p.key.registration(id))
	for err == nil && !reg.Into.IsZero() {
		reg, err = get[Registration](v, p.key.registration(reg.Into))
	}
	if errors.Is(err, errAbsent) {
		err = ErrNotFound
	}
	return reg, err
}

// complete gathers what belongs to a registration. One that repeats another
// shares its fate.
func (p *Party) complete(v view, reg Registration) (Status, error) {
	s := Status{Registration: reg}
	if !reg.Into.IsZero() {
		original, err := p.original(v, reg.ID)
		if errors.Is(err, ErrNotFound) { // swept, long after it ended
			s.State = StateExpired
			return s, nil
		}
		if err != nil {
			return Status{}, err
		}
		if !original.State.Stands() {
			s.State, s.Loss = original.State, original.Loss
		}
		s.Registration.Job = original.Job
		reg.SID, s.SID = original.SID, original.SID // another, once it was lost and made anew
		s.Faults = original.Faults
	}
	if !s.Registration.Job.IsZero() {
		job, err := p.job(v, s.Registration.Job)
		switch {
		case err == nil:
			s.Job = p.jobStatus(job)
		case !errors.Is(err, errAbsent):
			return Status{}, err
		}
	}
	if s.State == StateLost && s.Loss.over(p.g.now()) {
		s.State = StateExpired // swept or not
	}
	if reg.SID.IsZero() || s.State.Ended() {
		return s, nil
	}
	signal, err := get[Signal](v, p.key.signal(reg.SID))
	if errors.Is(err, errAbsent) {
		return s, nil
	}
	if err != nil {
		return Status{}, err
	}
	if s.State.Stands() && !signal.Live(identity.Today(p.g.now())) {
		s.State = StateExpired // swept or not
	}
	s.Signal = &signal
	owners, err := p.owners(v, reg.SID)
	if err != nil {
		return Status{}, err
	}
	s.Owners = len(owners)
	s.Match, err = p.currentMatch(v, reg.SID)
	return s, err
}

// owners are the registrations that point to a signal.
func (p *Party) owners(v view, sid api.SID) (ids []ID, err error) {
	err = scan(v, p.key.owners(sid), nil, false, func(key []byte, _ struct{}) (bool, error) {
		ids = append(ids, idAt(key))
		return true, nil
	})
	return ids, err
}

// within is the registration that an act is on, or the one that it repeats; ErrNotFound
// when it is out of reach.
func (p *Party) within(by *Access, id ID) (Registration, error) {
	reg, err := p.original(p.g.store.view, id)
	if err == nil && by != nil && !by.Sees(reg.Owner) {
		return Registration{}, ErrNotFound
	}
	return reg, err
}

func without(ids []ID, id ID) (rest []ID) {
	for _, x := range ids {
		if x != id {
			rest = append(rest, x)
		}
	}
	return rest
}

// Wait waits until nothing is left to do for any of the registrations, or until
// ctx is done, which is no error. It reads a registration again only when its job is
// done.
func (p *Party) Wait(ctx context.Context, ids ...ID) error {
	for _, id := range ids {
		if err := p.waitFor(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func (p *Party) waitFor(ctx context.Context, id ID) error {
	var done ID // a job
	for ctx.Err() == nil {
		reg, err := p.original(p.g.store.view, id)
		if errors.Is(err, ErrNotFound) { // or swept, what it repeats
			_, err := p.Registration(id)
			return err
		}
		if err != nil || reg.Job.IsZero() || reg.Job == done {
			return err
		}
		err = p.until(ctx, func() (bool, error) { return !p.queue.has(reg.Job), nil })
		if err != nil || ctx.Err() != nil {
			return err
		}
		done = reg.Job // another one may have come after it
	}
	return nil
}

// until waits until something is done, or until ctx is, which is no error.
func (p *Party) until(ctx context.Context, done func() (bool, error)) error {
	for {
		changed := p.changed.wait()
		if is, err := done(); is || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// Queue tells how many jobs there are and since when the oldest.
func (p *Party) Queue() (n int, oldest time.Time, err error) {
	n, came, from := p.queue.size()
	// Deleted keys before the oldest job are not walked over again. Without the last
	// byte the key is before that job's own.
	key := p.key.job(from)
	err = scan(p.g.store.view, p.key.table(tableJob), key[:len(key)-1], false, func(_ []byte, job Job) (bool, error) {
		oldest = job.Created
		p.queue.begins(job.ID, came)
		return false, nil
	})
	return n, oldest, err
}

// fillQueue reads the queue at the start.
func (p *Party) fillQueue() error {
	return scan(p.g.store.view, p.key.table(tableJob), nil, false, func(_ []byte, job Job) (bool, error) {
		p.queue.put(job)
		p.g.metrics.queue.WithLabelValues(string(job.Kind)).Inc()
		return true, nil
	})
}
