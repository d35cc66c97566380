// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/identity"
	"github.com/seinhuis/seinhuis/manifest"
)

// ErrMatchOver says that a match has ended, or that the other has left it.
var ErrMatchOver = errors.New("gateway: the match is over, or the other has left it")

// Answer has one other party in a match told how it stands: api.AnswerWillCall and its
// like. Without a party there must be one other only. When it returns the answer is on
// disk; the worker signs it once and sends it until there is a receipt, or until the
// match is over. An answer that is not signed yet gives way to a later one; one that is
// goes first. key is an idempotency key, or empty.
func (p *Party) Answer(name api.MatchID, other api.PartyID, word api.Answer, key string) (MatchStatus, error) {
	return p.answer(nil, name, other, word, key)
}

// Answer is as the party's, in a match within reach.
func (a *Access) Answer(name api.MatchID, other api.PartyID, word api.Answer, key string) (MatchStatus, error) {
	return a.Party.answer(a, name, other, word, key)
}

func (p *Party) answer(by *Access, name api.MatchID, other api.PartyID, word api.Answer, key string) (MatchStatus, error) {
	if !word.Known() {
		return MatchStatus{}, &InputError{[]Fault{{FieldAnswer, CodeUnknown}}}
	}
	now := p.g.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	s, err := p.matchByName(p.g.store.view, name)
	if err != nil {
		return MatchStatus{}, err
	}
	if by != nil {
		if _, ok := by.sight(s); !ok {
			return MatchStatus{}, ErrNotFound
		}
	}
	once, err := p.once("answer", Terms{Key: key, Owner: s.Match.ID.String(), Reference: string(other) + " " + string(word), by: by})
	if err != nil || once.seen != nil {
		return s, err
	}
	if err := p.basis(now); err != nil {
		return MatchStatus{}, err
	}
	if by != nil && by.Reach != ReachAll {
		owners, err := p.ownership(p.g.store.view, s.SID)
		if err != nil {
			return MatchStatus{}, err
		}
		if len(by.SeesOwners(owners)) == 0 { // the signal is a colleague's by now
			return MatchStatus{}, ErrMatchOver
		}
	}
	m := s.Match
	o, err := m.toAnswer(other, s.Over)
	if err != nil {
		return MatchStatus{}, err
	}
	if o.Asked.Word == word && !o.Asked.Job.IsZero() { // it is on its way
		return s, nil
	}
	b := p.g.store.batch()
	defer b.close()
	job := Job{ID: newID(now), Kind: JobAnswer, Created: now.UTC(), SID: m.SID, Match: m.ID, Other: o.SID, Answer: word}
	if job.User = p.pseudonym(by, ""); job.User == "" {
		owners, err := p.ownership(p.g.store.view, s.SID)
		if err != nil {
			return MatchStatus{}, err
		}
		if len(owners) == 1 { // else it is not known who
			job.User = p.pseudonym(nil, owners[0].Owner)
		}
	}
	if err := p.supersede(b, o.Asked.Job, &job); err != nil {
		return MatchStatus{}, err
	}
	m.see(now)
	o.Asked = Asked{Word: word, At: now.UTC(), Job: job.ID}
	b.put(p.key.job(job.ID), job)
	b.put(p.key.match(m.ID), m)
	once.remember(b, replay{Created: now})
	if by != nil {
		p.logAccess(b, by, Touch{Event: LogAnswered, ObjectType: ObjectMatch, ObjectID: m.Match.String(), SID: m.SID})
	}
	if err := p.commit(b); err != nil {
		return MatchStatus{}, err
	}
	p.took(JobAnswer)
	return p.matchByName(p.g.store.view, m.Match)
}

// supersede puts a job in the place of one before it that says something else of the same
// thing: one that is signed may have been sent, and goes first.
func (p *Party) supersede(b *batch, before ID, job *Job) error {
	if before.IsZero() {
		return nil
	}
	earlier, err := get[Job](p.g.store.view, p.key.job(before))
	switch {
	case err != nil:
		return err
	case earlier.Prepared != nil:
		job.After = earlier.ID
	default:
		job.After = earlier.After
		p.finished(earlier, "replaced")
		b.delete(p.key.job(earlier.ID))
	}
	return nil
}

// toAnswer finds who is to be answered.
func (m *Match) toAnswer(other api.PartyID, over bool) (*Member, error) {
	var found *Member
	for i := range m.Others {
		o := &m.Others[i]
		switch {
		case other == o.Party && !o.Present:
			return nil, ErrMatchOver
		case other == o.Party, other == "" && o.Present && found == nil:
			found = o
		case other == "" && o.Present:
			return nil, &InputError{[]Fault{{FieldOther, CodeMissing}}}
		}
	}
	switch {
	case over || other == "" && found == nil:
		return nil, ErrMatchOver
	case found == nil:
		return nil, &InputError{[]Fault{{FieldOther, CodeUnknown}}}
	}
	return found, nil
}

// AwaitAnswers waits until no answer in a match is on its way, or until ctx is done,
// which is no error.
func (p *Party) AwaitAnswers(ctx context.Context, name api.MatchID) error {
	return p.until(ctx, func() (bool, error) {
		s, err := p.MatchByID(name)
		return s.Settled(), err
	})
}

// prepareAnswer makes the signed act of an answer. It waits for one that was signed
// before, to the same other: the last one said is the last one that arrives. One that is
// given again, which nothing waits for, comes here before it is sent, signed or not. p.mu is
// held.
func (p *Party) prepareAnswer(m *manifest.Manifest, job Job) (*Job, error) {
	if !p.queue.has(job.ID) { // another one came in its place
		return nil, nil
	}
	if p.queue.has(job.After) {
		return nil, errLater
	}
	now := p.g.now()
	match, signal, fault, err := p.answerable(job)
	if err == nil && job.Again && p.saidSince(match, job, now) {
		fault = CodeMatchOver
	}
	switch {
	case err != nil:
		return nil, err
	case fault != "":
		return nil, p.unanswered(job, fault)
	case basisEnded(m, now):
		return nil, p.unanswered(job, CodeLegalBasis)
	case job.Prepared != nil:
		return &job, nil
	}
	act := api.Act{Act: api.ActAnswer, Match: match.Match, OtherSID: job.Other, Body: string(job.Answer)}
	job.Prepared, err = p.act(m, signal, act, sayAt(match.member(job.Other).Ours.Issued, now))
	return &job, err
}

// answerable reads what an answer is about, or why it cannot be given any more.
func (p *Party) answerable(job Job) (m Match, s Signal, fault Code, err error) {
	if m, err = get[Match](p.g.store.view, p.key.match(job.Match)); err == nil {
		s, err = get[Signal](p.g.store.view, p.key.signal(m.SID))
	}
	switch {
	case errors.Is(err, errAbsent):
		return m, s, CodeMatchOver, nil
	case err != nil:
		return m, s, "", err
	}
	if other := m.member(job.Other); other == nil || !other.Present || !m.Ended.IsZero() || !s.Live(identity.Today(p.g.now())) {
		fault = CodeMatchOver
	}
	return m, s, fault, nil
}

// said stores that an answer or a handover was taken.
func (p *Party) said(job Job, r api.Receipt) error {
	act, err := api.ParseAct(job.Prepared.Signed.Signed)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if late, err := p.overtaken(job, r); late || err != nil {
		return err
	}
	if job.Kind == JobHandover {
		return p.given(job, r, act.Issued)
	}
	return p.answered(job, r, act.Issued)
}

// answered stores that an answer was taken. p.mu is held.
func (p *Party) answered(job Job, r api.Receipt, issued time.Time) error {
	return p.endAnswer(job, "done", &r, func(o *Member) {
		o.Ours.Incarnation, o.Ours.Issued = r.Incarnation[:], issued
		if job.Again {
			o.Again = ID{}
			return
		}
		o.Ours.Word, o.Ours.At, o.Ours.User = job.Answer, p.g.now().UTC(), job.User
		if o.Asked.Job == job.ID {
			o.Asked = Asked{}
		}
	})
}

// unanswered gives an answer up. p.mu is held.
func (p *Party) unanswered(job Job, fault Code) error {
	return p.endAnswer(job, "given up", nil, func(o *Member) {
		if o.Asked.Job == job.ID {
			o.Asked.Job, o.Asked.Fault = ID{}, fault
		}
	})
}

func (p *Party) endAnswer(job Job, outcome string, given *api.Receipt, change func(*Member)) error {
	return p.endSaying(job, outcome, given, func(b *batch) error {
		m, err := get[Match](p.g.store.view, p.key.match(job.Match))
		if err != nil {
			return err
		}
		if o := m.member(job.Other); o != nil {
			change(o)
			b.put(p.key.match(m.ID), m)
		}
		return nil
	})
}

// endSaying ends the job of an answer or a handover. change puts into the batch what comes of
// it, unless what it is about has been swept.
func (p *Party) endSaying(job Job, outcome string, given *api.Receipt, change func(*batch) error) error {
	b := p.g.store.batch()
	defer b.close()
	if given != nil {
		p.owe(b, *given)
	}
	b.delete(p.key.job(job.ID))
	if err := change(b); err != nil && !errors.Is(err, errAbsent) {
		return err
	}
	if err := p.commit(b); err != nil {
		return err
	}
	p.finished(job, outcome)
	return nil
}

// givenUp ends an answer or a handover that will not be taken. p.mu is held.
func (p *Party) givenUp(job Job, fault Code) error {
	if job.Kind == JobHandover {
		return p.notGiven(job, fault)
	}
	return p.unanswered(job, fault)
}

// sayingRefused sorts the registry's refusals of an answer or a handover, as notTaken does. Of
// those that a withdrawal waits through, what nobody waits for is given up.
func (p *Party) sayingRefused(ctx context.Context, began time.Time, job Job, code api.Code, wait *waitError) error {
	fault := CodeRegistryRefused
	switch code {
	case api.CodeGone, api.CodeUnknownSignal, api.CodeMatch:
		if doubted, err := p.doubted(job); err != nil {
			return err
		} else if job.Again || doubted { // the other's signal, or ours, may still be on its way there
			job.Prepared = nil
			return errors.Join(p.keepPrepared(job), wait)
		}
	}
	switch code {
	case api.CodeIssued, api.CodeSignature:
		return p.anew(job, wait)
	case api.CodeTag, api.CodeEpoch:
		if err := p.g.roots.refresh(ctx, p, began); err != nil {
			return wait
		}
		return p.anew(job, wait)
	case api.CodeRevision:
		return p.nextRevision(job, wait)
	case api.CodeLegalBasis:
		fault = CodeLegalBasis
	case api.CodeGone, api.CodeUnknownSignal, api.CodeMatch:
		if fault = CodeMatchOver; job.Kind == JobHandover {
			fault = CodeRegistryGone
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if code == api.CodeMatch {
		// The match may go on under another id, of which we were told meanwhile.
		act, err := api.ParseAct(job.Prepared.Signed.Signed)
		if err != nil {
			return err
		}
		m, _, over, err := p.answerable(job)
		if err != nil {
			return err
		}
		if over == "" && m.Match != act.Match {
			job.Prepared = nil
			return p.keepHeld(job)
		}
	}
	return p.givenUp(job, fault)
}
