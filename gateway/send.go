// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/identity"
	"github.com/seinhuis/seinhuis/manifest"
)

const (
	registryAnswer = 20 * time.Second // how long it may take
	maxAccepted    = 16 << 10         // bytes
	tooOld         = 24 * time.Hour   // a statement that is refused for its time is made anew only when it is older
)

// send sends a prepared job, and stores what comes of it. An error means that the
// job stays as it is; *waitError says why.
func (p *Party) send(ctx context.Context, job Job) error {
	m, err := p.manifestFor(ctx, job)
	if err != nil {
		return &waitError{For: WaitRegistry, Err: err}
	}
	if job.Kind == JobSignal {
		defer p.queue.submits()()
	}
	ctx, cancel := context.WithTimeout(ctx, registryAnswer)
	defer cancel()
	e := endpoint{m.Registry.URL, m.Registry.TLS}
	var accepted api.Accepted
	if job.asked, err = p.incarnation(); err != nil {
		return err
	}
	began := time.Now()
	if job.Kind.act() {
		err = p.call(ctx, e, http.MethodPost, "/v1/acts", api.ActRequest{Signed: job.Prepared.Signed, User: job.User}, &accepted, maxAccepted)
	} else {
		err = p.call(ctx, e, http.MethodPost, "/v1/signals", submission(job), &accepted, maxAccepted)
	}
	if err != nil {
		return p.notTaken(ctx, began, job, err)
	}
	p.g.metrics.registrySeconds.WithLabelValues(string(job.Kind)).Observe(time.Since(began).Seconds())
	receipt, err := p.verified(ctx, began, m, job, accepted)
	if err != nil {
		return err
	}
	switch job.Kind {
	case JobWithdraw:
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.ended(job, "done", receipt)
	case JobAnswer, JobHandover:
		return p.said(job, receipt)
	case JobRenew:
		return p.renewed(job, accepted, receipt)
	case JobResend:
		return p.resent(job, accepted, receipt)
	default:
		return p.settle([]answered{{job, accepted, receipt}})[0]
	}
}

func submission(job Job) api.Submission {
	return api.Submission{Signed: job.Prepared.Signed, Faces: job.Prepared.Faces, User: job.User}
}

// verified verifies the receipt in an answer to a request that began then.
func (p *Party) verified(ctx context.Context, began time.Time, m *manifest.Manifest, job Job, a api.Accepted) (api.Receipt, error) {
	receipt, err := p.verify(m, job, a)
	if err != nil && p.g.roots.refresh(ctx, p, began) == nil {
		// The key of the receipt may be newer than our manifest.
		if m, _, err = p.g.roots.inForce(); err == nil {
			receipt, err = p.verify(m, job, a)
		}
	}
	if err != nil {
		return receipt, p.receiptRefused(job, err)
	}
	return receipt, nil
}

func (p *Party) receiptRefused(job Job, err error) error {
	p.g.metrics.receiptsRefused.Inc()
	p.g.log.Error("receipt refused", "party", string(p.id), "job", job.ID.String(), "cause", err)
	return &waitError{For: WaitRegistry, Alone: true, Err: err}
}

var errReceipt = errors.New("gateway: the receipt is not the registry's, or not of this statement")

// verify checks a receipt. For another sid than was sent it is the receipt of the
// statement that stands there, which is compared with ours as far as we know it.
func (p *Party) verify(m *manifest.Manifest, job Job, a api.Accepted) (api.Receipt, error) {
	r, err := api.ParseReceipt(a.Receipt.Signed)
	if err != nil {
		return r, err
	}
	if !receiptVerified(m, a.Receipt, p.g.now()) ||
		r.Dep != m.Dep || r.Party != p.id || r.SID != a.SID || r.Rev != a.Rev || a.SID.IsZero() {
		return r, errReceipt
	}
	if a.SID == job.Prepared.SID {
		if a.Rev != job.Prepared.Rev || r.Statement != job.Prepared.Signed.Hash() {
			return r, errReceipt
		}
		return r, nil
	}
	if job.Kind == JobResend {
		return r, nil // resent sees to it
	}
	if job.Kind != JobSignal {
		return r, errReceipt
	}
	known, err := get[Signal](p.g.store.view, p.key.signal(a.SID))
	if err != nil {
		return r, nil
	}
	if known.Rev == a.Rev && len(known.Statement.Signed) > 0 && r.Statement != known.Statement.Hash() {
		return r, errReceipt
	}
	// A signal of ours, but is it of this child? Keyboxes that do not open leave
	// that open.
	if sent, err := p.openFaces(m, job.Prepared.faces()); err == nil {
		if same, err := p.sameChild(m, known, sent); err == nil && !same {
			return r, errReceipt
		}
	}
	return r, nil
}

// notTaken sorts the registry's refusals of a request that began then: wait, make
// the statement anew, or tell the professional.
func (p *Party) notTaken(ctx context.Context, began time.Time, job Job, err error) error {
	code := api.CodeOf(err)
	p.g.metrics.registryFaults.WithLabelValues(string(code)).Inc()
	wait := &waitError{For: WaitRegistry, Err: err}
	if e, ok := errors.AsType[*api.Error](err); ok {
		wait.Until = e.RetryAfter
	}
	switch code {
	case api.CodeBudget:
		// Of signals all have to wait, of acts this one; a withdrawal never has to.
		wait.For, wait.Alone = WaitBudget, job.Kind != JobSignal
		if wait.Until == 0 {
			wait.Until = untilTomorrow(p.g.now())
		}
		return wait
	case api.CodeUnauthenticated, api.CodeForbidden:
		p.g.log.Error("registry does not know this party's tls key", "party", string(p.id), "code", code)
		return wait
	}
	if code.Refusal().Status >= http.StatusInternalServerError {
		return wait
	}
	p.g.log.Warn("registry refused", "party", string(p.id), "job", job.ID.String(), "code", code)
	wait.Alone = true

	switch {
	case job.Kind == JobAnswer || job.Kind == JobHandover:
		return p.sayingRefused(ctx, began, job, code, wait)
	case job.Kind == JobResend:
		return p.resendRefused(ctx, began, job, code, wait)
	case job.Kind == JobWithdraw && (code == api.CodeGone || code == api.CodeUnknownSignal):
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.ended(job, "gone")
	case code == api.CodeGone:
		return p.refuse(job, StateWithdrawn, Fault{"", CodeRegistryGone})
	case code == api.CodeEpoch || code == api.CodeFaces || code == api.CodeTag && job.Kind == JobWithdraw:
		if err := p.g.roots.refresh(ctx, p, began); err != nil {
			return wait
		}
		return p.anew(job, wait)
	case code == api.CodeIssued || code == api.CodeExpires || code == api.CodeSignature:
		return p.anew(job, wait)
	case code == api.CodeRevision && job.Kind == JobSignal:
		return p.anew(job, wait)
	case code == api.CodeHandover:
		return p.reject(job, Fault{FieldTakesOver, CodeNotGiven})
	case code == api.CodeLegalBasis:
		return p.reject(job, Fault{"", CodeLegalBasis})
	case code == api.CodeRevision && job.Kind == JobWithdraw:
		return p.nextRevision(job, wait)
	case job.Kind == JobWithdraw:
		return wait // a withdrawal is never given up
	case job.Kind == JobRenew:
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.failed(job, Fault{"", CodeRegistryRefused})
	}
	return p.refuse(job, StateRefused, Fault{"", CodeRegistryRefused})
}

// anew makes the statement or act anew if that can help: it is old, under a
// retired key, or for other epochs than those that are open. Otherwise it waits:
// the clock or the directory may be wrong, and that mends without us.
func (p *Party) anew(job Job, wait *waitError) error {
	m, _ := p.g.roots.known()
	if m == nil || !p.outdated(m, job) {
		return wait
	}
	if job.Kind == JobSignal {
		return p.prepareAgain(job)
	}
	job.Prepared = nil
	return p.keepPrepared(job)
}

// lostRevisions is how many revisions the registry may have that this store does
// not: their answers were lost, and then they could not be sent again.
const lostRevisions = 8

// nextRevision makes a withdrawal or answer anew for one revision further. After the last it
// begins at the first, for a registry that was restored, and waits.
func (p *Party) nextRevision(job Job, wait *waitError) error {
	m, _ := p.g.roots.known()
	signal, err := get[Signal](p.g.store.view, p.key.signal(job.SID))
	if errors.Is(err, errAbsent) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if job.Kind != JobWithdraw {
			return p.givenUp(job, CodeMatchOver)
		}
		return p.ended(job, "gone")
	}
	if err != nil {
		return err
	}
	round := job.Prepared.Rev >= signal.Rev+lostRevisions
	if signal.Rev = job.Prepared.Rev + 1; round {
		signal.Rev = 1
	}
	act, err := api.ParseAct(job.Prepared.Signed.Signed)
	if err != nil {
		return err
	}
	now := p.g.now()
	if act.Issued.After(now) { // see sayAt
		now = act.Issued
	}
	if job.Prepared, err = p.act(m, signal, act, now); err != nil {
		return err
	}
	if err := p.keepPrepared(job); err != nil {
		return err
	}
	if round {
		return wait
	}
	return nil
}

func (p *Party) outdated(m *manifest.Manifest, job Job) bool {
	now := p.g.now()
	if job.Kind.act() {
		act, err := api.ParseAct(job.Prepared.Signed.Signed)
		if err != nil || act.KeyID != p.signID || now.Sub(act.Issued) > tooOld {
			return true
		}
		signal, err := get[Signal](p.g.store.view, p.key.signal(job.SID))
		if err != nil {
			return false
		}
		tag, err := p.tagInForce(m, signal) // another one since an epoch was closed
		return err == nil && tag != act.Tag
	}
	st, err := api.ParseStatement(job.Prepared.Signed.Signed)
	if err != nil || st.KeyID != p.signID || now.Sub(st.Issued) > tooOld || st.Expires.Compare(identity.Today(now)) <= 0 {
		return true
	}
	open := m.Open()
	if len(open) != len(st.Faces) {
		return true
	}
	for i, f := range st.Faces {
		if f.Epoch != open[i].Number {
			return true
		}
	}
	return false
}
