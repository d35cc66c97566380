// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/identity"
	"github.com/seinhuis/seinhuis/crypto/seal"
	"github.com/seinhuis/seinhuis/crypto/token"
	"github.com/seinhuis/seinhuis/manifest"
)

// errNoToken says that there is no token of the child for an epoch that is open: it was
// not evaluated there, or the key of its keybox is lost.
var errNoToken = errors.New("gateway: there is no token of the child for an epoch that is open")

// A child is what a signal says of one child after the evaluation: its token in
// each epoch, oldest first. It is never stored as such; keyboxes hold it.
type child struct {
	epochs     []uint64
	tokens     []token.Token
	birthday23 encoding.Date
	reference  string
}

// Format prints [child], whatever the verb: fmt reaches into unexported fields.
func (child) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[child]") }

// A cohortBatch is jobs of one cohort on their way through the evaluators, at most
// 64. It outlives a failure, and is the worker's alone.
type cohortBatch struct {
	jobs        []Job
	ids         []identity.Identity // of each job
	evaluations []*evaluation       // one per open epoch, oldest first
}

func newCohortBatch(m *manifest.Manifest, of lane, jobs []Job, ids []identity.Identity) (*cohortBatch, error) {
	b := &cohortBatch{jobs: jobs, ids: ids}
	for _, epoch := range m.Open() {
		inputs := make([][]byte, len(ids))
		for i, id := range ids {
			var err error
			if inputs[i], err = id.Canonical(m.Dep, epoch.Number); err != nil {
				return nil, err
			}
		}
		e, err := newEvaluation(m, epoch.Number, int(of.cohort), inputs)
		if err != nil {
			return nil, err
		}
		if of.report {
			e.request.Purpose = api.PurposeReport
		}
		b.evaluations = append(b.evaluations, e)
	}
	return b, nil
}

// current tells whether the batch is for the epochs that are open, as their keys
// are shared now.
func (b *cohortBatch) current(m *manifest.Manifest) bool {
	return slices.EqualFunc(b.evaluations, m.Open(), func(e *evaluation, epoch manifest.Epoch) bool {
		return e.request.Epoch == epoch.Number && e.current(m)
	})
}

// forget wipes what was evaluated, when tokens have been made of it.
func (b *cohortBatch) forget() {
	for _, e := range b.evaluations {
		for _, y := range e.outputs {
			clear(y)
		}
	}
}

// child gives the tokens of job i after the evaluation.
func (b *cohortBatch) child(dep string, i int, reference string) (child, error) {
	c := child{birthday23: b.ids[i].Birthday23(), reference: reference}
	for _, e := range b.evaluations {
		t, err := token.Derive(e.outputs[i], dep, e.request.Epoch)
		if err != nil {
			return child{}, err
		}
		c.epochs = append(c.epochs, e.request.Epoch)
		c.tokens = append(c.tokens, t)
	}
	return c, nil
}

// openFaces finds a child's tokens in keyboxes, for the epochs that are open now.
func (p *Party) openFaces(m *manifest.Manifest, faces []Face) (c child, err error) {
	for _, epoch := range m.Open() {
		i := slices.IndexFunc(faces, func(f Face) bool { return f.Epoch == epoch.Number })
		if i < 0 {
			return child{}, errNoToken
		}
		f := faces[i]
		box, err := p.openKeybox(seal.Context{Dep: m.Dep, Party: string(p.id), SID: f.SID, Rev: f.Rev, Epoch: f.Epoch}, f.Keybox)
		if err != nil {
			return child{}, errNoToken
		}
		c.epochs = append(c.epochs, f.Epoch)
		c.tokens = append(c.tokens, box.Token)
		c.birthday23, c.reference = box.Birthday23, box.Reference
	}
	if len(c.epochs) == 0 {
		return child{}, errNoToken
	}
	return c, nil
}

// statement makes what is sent: cards and keyboxes sealed, and the statement over
// them signed, of which sid, rev and takesOver are given. It has to be stored before it is
// sent for the first time.
func (p *Party) statement(m *manifest.Manifest, c child, st api.Statement, card Card, termDays int, now time.Time) (*Prepared, error) {
	st.Expires = expiry(identity.Today(now), term(termDays, m.Policy.TermDays), c.birthday23)
	return p.statementUntil(m, c, st, card, now)
}

// statementUntil is statement with the day of expiry given too.
func (p *Party) statementUntil(m *manifest.Manifest, c child, st api.Statement, card Card, now time.Time) (*Prepared, error) {
	st.Dep, st.Party, st.KeyID, st.Kind = m.Dep, p.id, p.signID, api.KindChild
	st.Issued = now.UTC().Truncate(time.Second)
	prepared := &Prepared{SID: st.SID, Rev: st.Rev, Epochs: c.epochs, Expires: st.Expires}
	for i, epoch := range c.epochs {
		context := seal.Context{Dep: m.Dep, Party: string(p.id), SID: st.SID, Rev: st.Rev, Epoch: epoch}
		sealed, err := seal.SealCard(c.tokens[i], context, seal.Card(card), p.signID, p.sign)
		if err != nil {
			return nil, err
		}
		keybox, err := seal.SealKeybox(p.hpke[p.hpkeID].PublicKey().Bytes(), context,
			seal.Keybox{Token: c.tokens[i], Birthday23: c.birthday23, Reference: c.reference})
		if err != nil {
			return nil, err
		}
		prepared.Faces = append(prepared.Faces, api.SealedFace{Card: sealed, Keybox: keybox})
		st.Faces = append(st.Faces, api.Face{Epoch: epoch, Tag: api.Tag(c.tokens[i].Tag),
			Card: sha256.Sum256(sealed), Keybox: sha256.Sum256(keybox)})
	}
	signed, err := st.Encode()
	if err != nil {
		return nil, err
	}
	prepared.Signed = api.Sign(p.sign, signed)
	return prepared, nil
}

// tagInForce is a signal's tag in the oldest open epoch, or its first; without one
// there the registry says that it has no such signal.
func (p *Party) tagInForce(m *manifest.Manifest, s Signal) (api.Tag, error) {
	f := s.Faces[0]
	if open := m.Open(); len(open) > 0 {
		if i := slices.IndexFunc(s.Faces, func(f Face) bool { return f.Epoch == open[0].Number }); i >= 0 {
			f = s.Faces[i]
		}
	}
	return p.tag(m, s, f)
}

// tag is a signal's tag on a face: as its statement has it or, where that is not known,
// the keybox. So a signal can be withdrawn, or renewed with the child's number, by a party
// that has lost the key of its keyboxes.
func (p *Party) tag(m *manifest.Manifest, s Signal, f Face) (api.Tag, error) {
	if st, err := api.ParseStatement(s.Statement.Signed); err == nil {
		if i := slices.IndexFunc(st.Faces, func(of api.Face) bool { return of.Epoch == f.Epoch }); i >= 0 {
			return st.Faces[i].Tag, nil
		}
	}
	box, err := p.openKeybox(seal.Context{Dep: m.Dep, Party: string(p.id), SID: f.SID, Rev: f.Rev, Epoch: f.Epoch}, f.Keybox)
	return api.Tag(box.Token.Tag), err
}

// withdrawal makes the signed act that withdraws a signal.
func (p *Party) withdrawal(m *manifest.Manifest, s Signal, reason string, now time.Time) (*Prepared, error) {
	return p.act(m, s, api.Act{Act: api.ActWithdraw, Body: reason}, now)
}

// sayAt is when to sign what follows on an act of the same kind that was signed then: the same
// word within the same second would be the same act, taken and forgotten.
func sayAt(last, now time.Time) time.Time {
	if next := last.Add(time.Second); next.After(now) {
		return next
	}
	return now
}

// act signs an act on a signal, of which the rest is given.
func (p *Party) act(m *manifest.Manifest, s Signal, act api.Act, now time.Time) (*Prepared, error) {
	tag, err := p.tagInForce(m, s)
	if err != nil {
		return nil, err
	}
	act.Dep, act.Party, act.KeyID, act.SID, act.Rev, act.Tag = m.Dep, p.id, p.signID, s.SID, s.Rev, tag
	act.Issued = now.UTC().Truncate(time.Second)
	b, err := act.Encode()
	if err != nil {
		return nil, err
	}
	return &Prepared{SID: s.SID, Rev: s.Rev, Signed: api.Sign(p.sign, b)}, nil
}

// faces are what is kept of a prepared statement.
func (pr *Prepared) faces() []Face {
	list := make([]Face, len(pr.Faces))
	for i, f := range pr.Faces {
		list[i] = Face{Epoch: pr.Epochs[i], SID: pr.SID, Rev: pr.Rev, Keybox: f.Keybox, Card: f.Card}
	}
	return list
}

// prepareCohort takes jobs with an identity, all of one cohort, from waiting to
// prepared: these, or those that it began with earlier.
func (p *Party) prepareCohort(ctx context.Context, t *turn, jobs []Job) error {
	m, _, err := p.roots(ctx)
	if err != nil {
		return &waitError{For: WaitEvaluators, Err: err}
	}
	began := time.Now()
	batch, err := p.evaluateCohort(ctx, m, t.cohort, jobs)
	if errors.Is(err, errStale) {
		t.cohort.begun = nil
		if err := p.g.roots.refresh(ctx, p, began); err != nil {
			return &waitError{For: WaitEvaluators, Err: err}
		}
		if m, _, err = p.g.roots.inForce(); err != nil {
			return &waitError{For: WaitEvaluators, Err: err}
		}
		batch, err = p.evaluateCohort(ctx, m, t.cohort, jobs)
	}
	if errors.Is(err, errStale) {
		t.cohort.begun = nil
		return &waitError{For: WaitEvaluators, Err: err}
	}
	if err != nil || batch == nil {
		return err
	}
	t.cohort.begun = nil
	defer batch.forget()
	var prepared []Job
	for i := range batch.jobs {
		job, err := p.prepareEvaluated(m, batch, i)
		if err != nil {
			p.tried(t, batch.jobs[i].ID, began, err)
		} else if job != nil {
			prepared = append(prepared, *job)
			p.trouble.job(job.ID, nil)
		}
	}
	return p.keepPrepared(prepared...)
}

// evaluateCohort has a batch evaluated; nil when none of its jobs can be. Evaluators
// answer a batch wholly or not at all, so it is made as large as fits what enough of
// them have left, and when they have less than was known it is made again, smaller:
// also when one has debited it, for the day may be long. Only when not one job fits
// does it stay as it is, with what was answered.
func (p *Party) evaluateCohort(ctx context.Context, m *manifest.Manifest, c *cohort, jobs []Job) (*cohortBatch, error) {
	queued := func(job Job) bool { return p.queue.has(job.ID) }
	if c.of.imported { // nobody waits: not above what is left
		p.askBudgets(ctx, m, budgetsFor)
	}
	for {
		if c.begun == nil || !c.begun.current(m) || !slices.ContainsFunc(c.begun.jobs, queued) {
			c.begun = nil
			if p.fits(m, c.of) < len(jobs) {
				p.askBudgets(ctx, m, 0)
			}
			jobs = jobs[:min(len(jobs), p.fits(m, c.of))]
			if len(jobs) == 0 {
				return nil, p.spent(m, c.of)
			}
			var ids []identity.Identity
			var err error
			if jobs, ids, err = p.identities(m, jobs); err != nil || len(jobs) == 0 {
				return nil, err
			}
			if c.begun, err = newCohortBatch(m, c.of, jobs, ids); err != nil {
				return nil, err
			}
		}
		err := p.evaluateBatch(ctx, m, c)
		if e, ok := errors.AsType[*waitError](err); !ok || e.For != WaitBudget {
			return c.begun, err
		}
		p.askBudgets(ctx, m, 0)
		fits := p.fits(m, c.of)
		if n := len(c.begun.jobs); fits >= n { // an evaluator that does not say what it has left
			fits = n / 2
		}
		if fits == 0 {
			return nil, err
		}
		jobs, c.begun = c.begun.jobs[:fits], nil
	}
}

func (p *Party) evaluateBatch(ctx context.Context, m *manifest.Manifest, c *cohort) error {
	for _, e := range c.begun.evaluations {
		if err := p.evaluate(ctx, m, c.of, e); err != nil {
			return err
		}
	}
	return nil
}

// identities reads the identities of jobs. It ends the jobs that have become
// impossible while they waited, and leaves them out.
func (p *Party) identities(m *manifest.Manifest, jobs []Job) (left []Job, ids []identity.Identity, err error) {
	now := p.g.now()
	for _, job := range jobs {
		id, err := identity.Unmarshal(job.Identity)
		var fault Fault
		switch {
		case err != nil:
			p.g.log.Error("identity in the queue not readable", "party", string(p.id), "cause", err)
			fault = Fault{FieldNumber, CodeForm}
		case id.Birthday23().Compare(identity.Today(now)) <= 0:
			fault = Fault{FieldBirthDate, CodeAdult}
		case basisEnded(m, now):
			fault = Fault{"", CodeLegalBasis}
		default:
			left, ids = append(left, job), append(ids, id)
			continue
		}
		if err := p.reject(job, fault); err != nil {
			return nil, nil, err
		}
	}
	return left, ids, nil
}

// prepareEvaluated makes what job i of a batch will send; nil when it has ended.
func (p *Party) prepareEvaluated(m *manifest.Manifest, batch *cohortBatch, i int) (*Job, error) {
	job := batch.jobs[i]
	reg, err := get[Registration](p.g.store.view, p.key.registration(job.Registration))
	if err != nil {
		return nil, err
	}
	c, err := batch.child(m.Dep, i, reg.Reference)
	if err != nil {
		return nil, err
	}
	job.Identity, job.Cohort = nil, 0
	if job.Kind == JobRenew {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.prepareRenewal(m, job, &c)
	}
	if reg.Shielded { // whatever card was asked for, then or since
		job.Card = p.card
	}
	job.Prepared, err = p.statement(m, c, api.Statement{SID: api.NewSID(), Rev: 1, TakesOver: job.TakesOver}, job.Card, job.TermDays, p.g.now())
	return &job, err
}

// reject ends a job for a fault of what it is about, before anything was sent. A
// signal that stands goes on standing.
func (p *Party) reject(job Job, fault Fault) error {
	if job.Kind != JobRenew {
		return p.refuse(job, StateRefused, fault)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed(job, fault)
}

// keepPrepared stores prepared jobs, in one batch, but for those that were
// cancelled meanwhile. In the same batch their identities are gone.
func (p *Party) keepPrepared(jobs ...Job) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.keepHeld(jobs...)
}

// keepHeld is keepPrepared while p.mu is held.
func (p *Party) keepHeld(jobs ...Job) error {
	b := p.g.store.batch()
	defer b.close()
	for _, job := range jobs {
		if p.queue.has(job.ID) {
			b.put(p.key.job(job.ID), job)
		}
	}
	if b.b.Empty() {
		return b.err
	}
	return p.commit(b)
}

// prepareAct takes a renewal without an identity, a withdrawal or an answer from waiting
// to prepared. It gives nil when there is nothing to send: a withdrawal of a signal
// that has an owner again, an act on one that has ended, an answer to a match that is
// over.
func (p *Party) prepareAct(ctx context.Context, job Job) (prepared *Job, err error) {
	m, err := p.manifestFor(ctx, job)
	if err != nil {
		return nil, &waitError{For: WaitRegistry, Err: err}
	}
	p.mu.Lock() // until it is stored: nobody joins a signal that is being withdrawn
	defer p.mu.Unlock()
	switch job.Kind {
	case JobRenew:
		prepared, err = p.prepareRenewal(m, job, nil)
	case JobAnswer:
		prepared, err = p.prepareAnswer(m, job)
	case JobHandover:
		prepared, err = p.prepareHandover(m, job)
	case JobResend:
		prepared, err = p.prepareResend(m, job)
	default:
		prepared, err = p.prepareWithdrawal(m, job)
	}
	if err != nil || prepared == nil {
		return nil, err
	}
	return prepared, p.keepHeld(*prepared)
}

// prepareWithdrawal makes the act. It waits for the job that made the signal, if only
// a colleague has been told that it stands: whoever signalled becomes an owner first.
// p.mu is held.
func (p *Party) prepareWithdrawal(m *manifest.Manifest, job Job) (*Job, error) {
	signal, err := get[Signal](p.g.store.view, p.key.signal(job.SID))
	if errors.Is(err, errAbsent) {
		return nil, p.ended(job, "gone")
	}
	if err != nil {
		return nil, err
	}
	owners, err := p.owners(p.g.store.view, job.SID)
	if err != nil {
		return nil, err
	}
	if len(owners) > 0 { // somebody joined before anything was sent
		return nil, p.ended(job, "joined")
	}
	if p.queue.makes(job.SID) {
		return nil, errLater
	}
	job.Prepared, err = p.withdrawal(m, signal, job.Reason, p.g.now())
	return &job, err
}

// prepareRenewal makes the next revision of a signal. Without a child it takes the
// tokens out of the signal's keyboxes; with one, the child must be the signal's. p.mu
// is held.
func (p *Party) prepareRenewal(m *manifest.Manifest, job Job, c *child) (*Job, error) {
	signal, err := get[Signal](p.g.store.view, p.key.signal(job.SID))
	if errors.Is(err, errAbsent) {
		return nil, p.ended(job, "gone")
	}
	if err != nil {
		return nil, err
	}
	if c == nil {
		known, err := p.openFaces(m, signal.Faces)
		if errors.Is(err, errNoToken) {
			return nil, p.failed(job, Fault{FieldNumber, CodeNumberNeeded})
		}
		if err != nil {
			return nil, err
		}
		c = &known
	} else if same, err := p.sameChild(m, signal, *c); err != nil {
		return nil, err
	} else if !same {
		return nil, p.failed(job, Fault{FieldNumber, CodeOtherChild})
	}
	if c.birthday23.Compare(identity.Today(p.g.now())) <= 0 { // while it was waiting
		return nil, p.failed(job, Fault{FieldBirthDate, CodeAdult})
	}
	if job.Card.IsZero() {
		job.Card = signal.Card
	}
	if job.Card.IsZero() {
		job.Card = p.card
	}
	if job.Card, err = p.shield(p.g.store.view, signal.SID, job.Card); err != nil {
		return nil, err
	}
	next := signal.next()
	if !job.TakesOver.IsZero() {
		next.TakesOver = job.TakesOver
	}
	if job.Bulk && !signal.Expires.IsZero() { // nobody asked for another term
		next.Expires = signal.Expires
		job.Prepared, err = p.statementUntil(m, *c, next, job.Card, p.g.now())
		return &job, err
	}
	job.Prepared, err = p.statement(m, *c, next, job.Card, job.TermDays, p.g.now())
	return &job, err
}

// sameChild tells whether a child has the signal's tag in an epoch of both.
func (p *Party) sameChild(m *manifest.Manifest, s Signal, c child) (bool, error) {
	for _, f := range s.Faces {
		i := slices.Index(c.epochs, f.Epoch)
		if i < 0 {
			continue
		}
		tag, err := p.tag(m, s, f)
		return err == nil && tag == api.Tag(c.tokens[i].Tag), err
	}
	return false, nil
}

// prepareAgain makes a new statement, under a new sid, of one that the registry
// will not take as it is. The tokens come out of its keyboxes. Had the registry
// stored the old one after all, it answers with that one's sid.
func (p *Party) prepareAgain(job Job) error {
	m, _, err := p.g.roots.inForce()
	if err != nil {
		return &waitError{For: WaitRegistry, Err: err}
	}
	c, err := p.openFaces(m, job.Prepared.faces())
	if errors.Is(err, errNoToken) && m.Lost(job.Prepared.Epochs) {
		return p.loseQueued(m, job)
	}
	if errors.Is(err, errNoToken) {
		return p.reject(job, Fault{"", CodeNewEpoch})
	}
	if err != nil {
		return err
	}
	now := p.g.now()
	if c.birthday23.Compare(identity.Today(now)) <= 0 {
		return p.reject(job, Fault{FieldBirthDate, CodeAdult})
	}
	if job.Prepared, err = p.statement(m, c, api.Statement{SID: api.NewSID(), Rev: 1, TakesOver: job.TakesOver}, job.Card, job.TermDays, now); err != nil {
		return err
	}
	return p.keepPrepared(job)
}
