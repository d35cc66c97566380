// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seinhuis/seinhuis/api"
)

const (
	importAnswer   = 2 * time.Minute // how long the registry may take for many
	maxImported    = 4 << 10         // bytes of its answer, for each
	settleTogether = 128             // receipts in one commit; meanwhile nothing else is accepted
)

// sendMany sends prepared new signals in one request. What comes of each is handled
// as if it had been sent alone; what has no answer of its own stays, and is sent
// again.
func (p *Party) sendMany(ctx context.Context, t *turn, jobs []Job) {
	defer p.queue.submits()()
	asked, err := p.incarnation()
	for i := range jobs {
		jobs[i].asked = asked
	}
	began := time.Now()
	var answers []api.Imported
	if err == nil {
		jobs, answers, err = p.postMany(ctx, jobs)
	}
	if err != nil {
		p.manyNotTaken(began, err)
		return
	}
	p.trouble.atRegistry(began, nil)

	// Those that made a signal first: who is told of another's signal is compared
	// with it, and here with what was sent beside it.
	var own, other []int
	stored := 0
	of := make(map[api.SID]Job, len(jobs))
	for _, job := range jobs {
		of[job.Prepared.SID] = job
	}
	for i, a := range answers {
		switch {
		case a.Receipt == nil:
			p.alone(t, jobs[i].ID, began, p.notTaken(ctx, began, jobs[i], refusedLine(a)))
		case a.SID == jobs[i].Prepared.SID:
			own = append(own, i)
		case of[a.SID].Prepared != nil && !sameTag(of[a.SID], jobs[i]):
			p.alone(t, jobs[i].ID, began, p.receiptRefused(jobs[i], errReceipt))
		default:
			other = append(other, i)
		}
	}
	for _, rows := range [][]int{own, other} {
		for len(rows) > 0 {
			n := min(len(rows), settleTogether)
			stored += p.settleMany(ctx, t, began, jobs, answers, rows[:n])
			rows = rows[n:]
		}
	}
	switch {
	case stored > 0:
		p.trouble.atImports(began, nil)
		p.trouble.atQuota(began, nil)
	case !slices.ContainsFunc(answers, func(a api.Imported) bool { return a.Code == api.CodeBudget }):
		p.trouble.atImports(began, &waitError{For: WaitRegistry, Err: errReceipt})
	}
}

// sameTag tells whether two prepared signals are of one child.
func sameTag(a, b Job) bool {
	one, err := api.ParseStatement(a.Prepared.Signed.Signed)
	if err != nil {
		return false
	}
	other, err := api.ParseStatement(b.Prepared.Signed.Signed)
	return err == nil && slices.ContainsFunc(one.Faces, func(f api.Face) bool {
		return slices.ContainsFunc(other.Faces, func(g api.Face) bool { return f.Epoch == g.Epoch && f.Tag == g.Tag })
	})
}

// postMany gives the answers, and the jobs they belong to: as many of the first as
// fit in a request.
func (p *Party) postMany(ctx context.Context, jobs []Job) ([]Job, []api.Imported, error) {
	m, _, err := p.roots(ctx)
	if err != nil {
		return nil, nil, api.Refuse(api.CodeUnavailable, err)
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	for i, job := range jobs {
		before := body.Len()
		if err := encoder.Encode(submission(job)); err != nil {
			return nil, nil, err
		}
		if body.Len() > api.MaxImportBody {
			body.Truncate(before)
			jobs = jobs[:i]
			break
		}
	}
	ctx, cancel := context.WithTimeout(ctx, importAnswer)
	defer cancel()
	began := time.Now()
	text, err := p.fetch(ctx, endpoint{m.Registry.URL, m.Registry.TLS}, http.MethodPost, "/v1/imports", lines(body.Bytes()), int64(len(jobs))*maxImported)
	if err != nil {
		return nil, nil, err
	}
	p.g.metrics.registrySeconds.WithLabelValues("import").Observe(time.Since(began).Seconds())
	answers := make([]api.Imported, 0, len(jobs))
	for line := range bytes.Lines(text) {
		var a api.Imported
		if err := json.Unmarshal(line, &a); err != nil {
			return nil, nil, api.Refuse(api.CodeUnavailable, errors.New("gateway: an answer to an import is not what the protocol says"))
		}
		answers = append(answers, a)
	}
	if len(answers) != len(jobs) {
		return nil, nil, api.Refuse(api.CodeUnavailable, errors.New("gateway: an import was answered with another number of lines"))
	}
	return jobs, answers, nil
}

// manyNotTaken sorts what may be wrong with a request of many as a whole.
func (p *Party) manyNotTaken(began time.Time, err error) {
	code := api.CodeOf(err)
	p.g.metrics.registryFaults.WithLabelValues(string(code)).Inc()
	e := &waitError{For: WaitRegistry, Err: err}
	if refusal, ok := errors.AsType[*api.Error](err); ok {
		e.Until = refusal.RetryAfter
	}
	switch {
	case errors.Is(err, context.Canceled):
		return
	case code == api.CodeUnavailable && e.Until > 0: // it is busy with other imports; single signals may go
		p.trouble.atImports(began, e)
	case code.Refusal().Status >= http.StatusInternalServerError || code == api.CodeUnauthenticated:
		p.trouble.atRegistry(began, e)
	default:
		p.g.log.Warn("import refused; signals go one by one", "party", string(p.id), "code", code)
		p.trouble.sendOneByOne()
	}
	p.changed.notify()
}

// refusedLine reads the refusal of one line. The status must be the one that belongs
// to its code.
func refusedLine(a api.Imported) error {
	if a.Code.Refusal().Status == a.Status && a.Status >= http.StatusBadRequest {
		return api.Refuse(a.Code, nil)
	}
	return api.Refuse(api.CodeUnavailable, errors.New("gateway: a line of an import has no answer that the protocol knows"))
}

// alone is tried, for a job that others were with: a refusal is of this job, but for a
// quota that is spent.
func (p *Party) alone(t *turn, job ID, began time.Time, err error) {
	if e, ok := errors.AsType[*waitError](err); ok && e.For != WaitBudget {
		e.Alone = true
	}
	p.tried(t, job, began, err)
}

// settleMany verifies the receipts of some of the answers, and stores them together.
func (p *Party) settleMany(ctx context.Context, t *turn, began time.Time, jobs []Job, answers []api.Imported, rows []int) (stored int) {
	m, _, err := p.roots(ctx)
	if err != nil {
		return 0
	}
	list := make([]answered, len(rows))
	errs := make([]error, len(rows))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for at, i := range rows {
		group.Go(func() error {
			a := answers[i]
			accepted := api.Accepted{SID: a.SID, Rev: a.Rev, Receipt: *a.Receipt}
			receipt, err := p.verified(ctx, began, m, jobs[i], accepted)
			list[at], errs[at] = answered{jobs[i], accepted, receipt}, err
			return nil
		})
	}
	group.Wait()
	good := list[:0]
	for at, err := range errs {
		if err != nil {
			p.alone(t, list[at].job.ID, began, err)
			continue
		}
		good = append(good, list[at])
	}
	for i, err := range p.settle(good) {
		if err == nil {
			stored++
		}
		p.alone(t, good[i].job.ID, began, err)
	}
	return stored
}
