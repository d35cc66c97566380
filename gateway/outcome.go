// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"errors"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// Every function here ends a job: the batch that stores the outcome deletes it.

func (p *Party) finished(job Job, outcome string) {
	p.g.metrics.done.WithLabelValues(string(job.Kind), outcome).Inc()
	p.g.metrics.queue.WithLabelValues(string(job.Kind)).Dec()
	switch outcome {
	case "cancelled", "replaced", "refused": // without a receipt
		return
	}
	kind := string(job.Kind)
	if !job.Import.IsZero() {
		kind = "import"
	}
	p.g.metrics.jobSeconds.WithLabelValues(kind).Observe(p.g.now().Sub(job.Created).Seconds())
}

// An answered new signal, its receipt verified.
type answered struct {
	job      Job
	accepted api.Accepted
	receipt  api.Receipt
}

// settle stores receipts for new signals in one commit, and gives the error of each.
// If one of them cannot be stored, each is stored by itself.
func (p *Party) settle(list []answered) []error {
	errs := make([]error, len(list))
	err := p.settleTogether(list, errs)
	switch {
	case err != nil && len(list) == 1:
		errs[0] = err
	case err != nil:
		for i := range list {
			errs[i] = p.settle(list[i : i+1])[0]
		}
	}
	return errs
}

func (p *Party) settleTogether(list []answered, later []error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.g.store.indexed() // of two of one child the second has to see the first
	defer b.close()
	for i, a := range list {
		if p.queue.withdrawing(a.accepted.SID) {
			later[i] = errLater // then the same bytes make a new signal
			continue
		}
		if a.accepted.SID == a.job.Prepared.SID { // another is listed, as it stood here already
			if late, err := p.overtaken(a.job, a.receipt); err != nil {
				return err
			} else if late {
				continue
			}
		}
		if err := p.registered(b, a); err != nil {
			return err
		}
	}
	if b.b.Empty() {
		return b.err
	}
	return p.commit(b)
}

// registered puts a receipt in a batch: of the signal that was sent, or of the one
// by which the party signals the child already.
func (p *Party) registered(b *batch, a answered) error {
	job := a.job
	reg, err := get[Registration](b.view(), p.key.registration(job.Registration))
	if err != nil {
		return err
	}
	own := a.accepted.SID == job.Prepared.SID
	signal, err := p.receipted(b.view(), a, own)
	if err != nil {
		return err
	}
	b.put(p.key.signal(signal.SID), signal)
	p.owe(b, a.receipt)
	b.delete(p.key.job(job.ID))
	now := p.g.now()
	before, lost := reg.SID, !reg.Loss.At.IsZero()
	reg.SID, reg.Job = signal.SID, ID{}
	reg.State = StateMerged
	if own {
		reg.State = StateRegistered
	}
	outcome := string(reg.State)
	var withdraw, next *Job
	if reg.Ending != "" { // withdrawn while it was under way
		if withdraw, err = p.disown(b, &reg, reg.Ending, now, nil); err != nil {
			return err
		}
		outcome = "withdrawn"
	} else if err := p.join(b, &reg); err != nil {
		return err
	} else if err := p.rejoin(b, &reg, before, lost); err != nil {
		return err
	} else if next, err = p.revise(b, job, &reg, signal); err != nil {
		return err
	} else if next == nil {
		if err := p.cardDue(b, &reg, &signal, job.ID, map[api.SID]bool{}); err != nil {
			return err
		}
	}
	if own && !job.TakesOver.IsZero() {
		b.delete(p.key.offer(job.TakesOver))
	}
	b.put(p.key.registration(reg.ID), reg)
	b.became(job, reg)
	b.then = append(b.then, func() {
		p.finished(job, outcome)
		if withdraw != nil {
			p.took(JobWithdraw)
		}
		if next != nil {
			p.took(JobRenew)
		}
	})
	return nil
}

// receipted is the signal's row after a receipt.
func (p *Party) receipted(v view, of answered, own bool) (Signal, error) {
	job, a, r := of.job, of.accepted, of.receipt
	known, err := get[Signal](v, p.key.signal(a.SID))
	if own && (err == nil || errors.Is(err, errAbsent)) {
		of := job.Registration
		if err == nil && known.Card == job.Card {
			of = known.CardOf
		}
		return Signal{
			SID: a.SID, Rev: a.Rev, Statement: job.Prepared.Signed, Receipt: a.Receipt, Faces: job.Prepared.faces(),
			Card: job.Card, CardOf: of, Expires: job.Prepared.Expires, Others: r.Others, User: job.User, Given: known.Given,
		}, nil
	}
	if errors.Is(err, errAbsent) {
		// The registry knows it and this store does not. The child is the same, so
		// the keyboxes of what was sent open it as well.
		return Signal{SID: a.SID, Rev: a.Rev, Receipt: a.Receipt, Faces: job.Prepared.faces(), Others: r.Others}, nil
	}
	if err == nil && a.Rev > known.Rev {
		// A revision stands there whose answer was lost: what it says is not known.
		known.Statement, known.Expires = api.Signed{}, encoding.Date{}
	}
	if err == nil && a.Rev >= known.Rev {
		known.Rev, known.Receipt, known.Others = a.Rev, a.Receipt, r.Others
	}
	return known, err
}

// join makes a registration an owner of its signal, unless the same professional
// owns it already under the same reference: then this is a repeat of that one, which is
// shielded if this is.
func (p *Party) join(b *batch, reg *Registration) error {
	owners, err := p.owners(b.view(), reg.SID)
	if err != nil {
		return err
	}
	for _, id := range owners {
		other, err := get[Registration](b.view(), p.key.registration(id))
		if err != nil {
			return err
		}
		if other.ID != reg.ID && other.Owner == reg.Owner && other.Reference == reg.Reference {
			reg.State, reg.Into = StateMerged, other.ID
			if reg.Shielded && !other.Shielded {
				other.Shielded = true
				b.put(p.key.registration(other.ID), other)
			}
			return nil
		}
	}
	b.put(p.key.owner(reg.SID, reg.ID), struct{}{})
	return nil
}

// renewed stores a receipt for a revision.
func (p *Party) renewed(job Job, a api.Accepted, r api.Receipt) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if late, err := p.overtaken(job, r); late || err != nil {
		return err
	}
	if _, err := get[Signal](p.g.store.view, p.key.signal(a.SID)); errors.Is(err, errAbsent) {
		return p.ended(job, "gone", r) // taken over, or lost, before the answer came
	} else if err != nil {
		return err
	}
	b := p.g.store.batch()
	defer b.close()
	signal, err := p.receipted(p.g.store.view, answered{job, a, r}, true)
	if err != nil {
		return err
	}
	b.put(p.key.signal(signal.SID), signal)
	if !job.TakesOver.IsZero() {
		b.delete(p.key.offer(job.TakesOver))
	}
	p.owe(b, r)
	if err := p.release(b, job, &signal, nil); err != nil {
		return err
	}
	if err := p.commit(b); err != nil {
		return err
	}
	p.finished(job, "renewed")
	return nil
}

// failed ends a renewal that was refused; the signal stands as it was. p.mu is
// held.
func (p *Party) failed(job Job, fault Fault) error {
	b := p.g.store.batch()
	defer b.close()
	if err := p.release(b, job, nil, []Fault{fault}); err != nil {
		return err
	}
	if err := p.commit(b); err != nil {
		return err
	}
	p.finished(job, "refused")
	return nil
}

// release deletes a job on a signal that goes on, and takes it off its registration.
// Who is to get another card comes next. signal is as the batch leaves it, nil for as it is.
func (p *Party) release(b *batch, job Job, signal *Signal, faults []Fault) error {
	b.delete(p.key.job(job.ID))
	reg, err := get[Registration](p.g.store.view, p.key.registration(job.Registration))
	if err != nil {
		return err
	}
	if reg.Job == job.ID {
		reg.Job = ID{}
	}
	reg.Faults = faults
	begun := map[api.SID]bool{}
	if err := p.cardDue(b, &reg, signal, job.ID, begun); err != nil {
		return err
	}
	b.put(p.key.registration(reg.ID), reg)
	return p.cardsDue(b, job.SID, signal, reg.ID, job.ID, begun)
}

// ended ends a withdrawal, or a renewal of what has ended. Unless somebody owns
// the signal, nothing of it stays. A receipt is there if the registry gave one. p.mu is
// held.
func (p *Party) ended(job Job, outcome string, given ...api.Receipt) error {
	reg, err := get[Registration](p.g.store.view, p.key.registration(job.Registration))
	if err != nil {
		return err
	}
	owners, err := p.owners(p.g.store.view, job.SID)
	if err != nil {
		return err
	}
	b := p.g.store.batch()
	defer b.close()
	b.delete(p.key.job(job.ID))
	if len(owners) == 0 {
		b.delete(p.key.signal(job.SID))
	}
	for _, receipt := range given {
		p.owe(b, receipt)
	}
	if reg.Ending != "" && job.Kind == JobWithdraw {
		reg.end(StateWithdrawn, p.g.now())
	} else if reg.Job == job.ID {
		reg.Job = ID{}
	}
	b.put(p.key.registration(reg.ID), reg)
	if err := p.commit(b); err != nil {
		return err
	}
	p.finished(job, outcome)
	return nil
}

// refuse ends a signal that will not come to stand, or a renewal of one that the
// registry has ended; then all its owners end with it.
func (p *Party) refuse(job Job, state State, fault Fault) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refuseHeld(job, state, fault)
}

// refuseHeld is refuse while p.mu is held.
func (p *Party) refuseHeld(job Job, state State, fault Fault) error {
	ids := []ID{job.Registration}
	b := p.g.store.batch()
	defer b.close()
	if job.Kind == JobRenew || job.Kind == JobResend {
		owners, err := p.owners(p.g.store.view, job.SID)
		if err != nil {
			return err
		}
		ids = owners
		for _, id := range owners {
			b.delete(p.key.owner(job.SID, id))
		}
		b.delete(p.key.signal(job.SID))
	}
	b.delete(p.key.job(job.ID))
	for _, id := range ids {
		reg, err := get[Registration](p.g.store.view, p.key.registration(id))
		if err != nil {
			return err
		}
		reg.Faults = []Fault{fault}
		reg.end(state, p.g.now())
		if reg.Ending != "" {
			reg.State, reg.Faults = StateWithdrawn, nil
		}
		b.became(job, reg)
		if !reg.Loss.At.IsZero() && reg.State == StateRefused && fault.Code != CodeAdult {
			reg.State, reg.Ended = StateLost, time.Time{} // as before it was made anew
			b.put(p.lostRow(reg), struct{}{})
		}
		b.put(p.key.registration(id), reg)
	}
	if err := p.commit(b); err != nil {
		return err
	}
	p.finished(job, "refused")
	return nil
}
