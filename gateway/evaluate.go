// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/oprf"
	"github.com/seinhuis/seinhuis/manifest"
)

const (
	hedgeAfter      = 700 * time.Millisecond // then another evaluator is asked as well
	evaluatorAnswer = 5 * time.Second        // how long one may take
	maxEvaluated    = 64 << 10               // bytes
)

// errStale says that the evaluators have a newer manifest than we have.
var errStale = errors.New("gateway: the manifest is not the newest")

// A waitError says why something cannot be done now.
type waitError struct {
	For   WaitFor
	Until time.Duration // at least so long; zero says nothing
	Alone bool          // this job; others may go on
	Err   error
}

func (e *waitError) Error() string { return fmt.Sprintf("gateway: waiting for %s: %v", e.For, e.Err) }
func (e *waitError) Unwrap() error { return e.Err }

// An evaluation is one batch of inputs under one key. It keeps the answers that
// it has: evaluators debit what they answer, so a batch that is tried again asks
// only those who have not answered yet.
type evaluation struct {
	request     api.Evaluate
	commitments oprf.Commitments
	blinding    *oprf.Blinding
	partials    []oprf.Partial
	outputs     [][]byte // in the end; of each input, 64 bytes
}

// Format prints [evaluation], whatever the verb: it holds outputs.
func (*evaluation) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[evaluation]") }

// newEvaluation blinds at most 64 inputs of one (epoch, cohort). Its errors are
// errStale and *waitError.
func newEvaluation(m *manifest.Manifest, epoch uint64, cohort int, inputs [][]byte) (*evaluation, error) {
	sharing, ok := m.Sharing(epoch, cohort)
	if !ok {
		return nil, errStale // a new cohort is in a newer manifest, if anywhere
	}
	commitments, err := oprf.ParseCommitments(sharing.Points())
	if err != nil {
		return nil, &waitError{For: WaitEvaluators, Err: err}
	}
	blinding, err := oprf.Blind(inputs)
	if err != nil {
		return nil, &waitError{For: WaitEvaluators, Err: err}
	}
	e := &evaluation{
		request:     api.Evaluate{Epoch: epoch, Cohort: cohort, Sharing: sharing.Number},
		commitments: commitments, blinding: blinding,
	}
	for _, element := range blinding.Elements() {
		e.request.Elements = append(e.request.Elements, element)
	}
	return e, nil
}

// current tells whether the manifest has this sharing in force.
func (e *evaluation) current(m *manifest.Manifest) bool {
	sharing, ok := m.Sharing(e.request.Epoch, e.request.Cohort)
	return ok && sharing.Number == e.request.Sharing
}

// evaluate asks as many evaluators as the threshold, in random order, and another
// one for each that fails or takes too long. Every proof is verified against the
// manifest's commitments; who gives a false one is named and left out.
//
// Its errors are errStale and *waitError.
func (p *Party) evaluate(ctx context.Context, m *manifest.Manifest, l lane, e *evaluation) error {
	if e.outputs != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		partial oprf.Partial
		err     error
	}
	var order []manifest.Evaluator
	for _, i := range rand.Perm(len(m.Evaluators)) {
		if who := m.Evaluators[i]; !slices.ContainsFunc(e.partials, func(has oprf.Partial) bool { return has.Index() == who.Index }) {
			order = append(order, who)
		}
	}
	p.able(m, order, l, len(e.request.Elements))
	answers := make(chan answer, len(order)) // so that nobody who is late stays behind
	var failed failures
	asked, pending := 0, 0
	ask := func() {
		for asked < len(order) {
			who := order[asked]
			asked++
			answered, ok := p.asks(m, who, l, len(e.request.Elements))
			if !ok {
				failed.add(api.Refuse(api.CodeBudget, errBudget))
				continue
			}
			pending++
			go func() {
				partial, err := p.askEvaluator(ctx, who, e)
				code := api.CodeOf(err)
				answered(err == nil || code == api.CodeUnavailable || code == api.CodeInternal) // or may have been
				answers <- answer{partial, err}
			}()
			return
		}
	}
	for range m.Threshold - len(e.partials) {
		ask()
	}
	hedge := time.NewTicker(hedgeAfter)
	defer hedge.Stop()

	for len(e.partials) < m.Threshold {
		if pending == 0 {
			return failed.verdict()
		}
		select {
		case a := <-answers:
			pending--
			if a.err != nil {
				failed.add(a.err)
				ask()
				continue
			}
			e.partials = append(e.partials, a.partial)
		case <-hedge.C:
			ask()
		case <-ctx.Done():
			return &waitError{For: WaitEvaluators, Err: ctx.Err()}
		}
	}
	outputs, err := e.blinding.Combine(m.Threshold, e.partials)
	if err != nil {
		return &waitError{For: WaitEvaluators, Err: err}
	}
	e.outputs = outputs
	p.g.metrics.evaluations.Add(float64(len(outputs)))
	return nil
}

// failures sums up why there were too few answers.
type failures struct {
	stale  bool
	budget bool
	until  time.Duration
	last   error
}

func (f *failures) add(err error) {
	f.last = err
	switch api.CodeOf(err) {
	case api.CodeSharing, api.CodeEpoch:
		f.stale = true
	case api.CodeBudget:
		f.budget = true
		if e, ok := errors.AsType[*api.Error](err); ok && e.RetryAfter > 0 && (f.until == 0 || e.RetryAfter < f.until) {
			f.until = e.RetryAfter
		}
	}
}

func (f *failures) verdict() error {
	switch {
	case f.stale:
		return errStale
	case f.budget:
		return &waitError{For: WaitBudget, Until: f.until, Err: f.last}
	}
	return &waitError{For: WaitEvaluators, Err: f.last}
}

// askEvaluator asks one evaluator and verifies its answer. Its failure is counted
// and logged here, under the evaluator's name.
func (p *Party) askEvaluator(ctx context.Context, who manifest.Evaluator, e *evaluation) (oprf.Partial, error) {
	ctx, cancel := context.WithTimeout(ctx, evaluatorAnswer)
	defer cancel()
	var got api.Evaluated
	began := time.Now()
	err := p.call(ctx, endpoint{who.URL, who.TLS}, http.MethodPost, "/v1/evaluations", e.request, &got, maxEvaluated)
	if err != nil {
		if ctx.Err() != context.Canceled { // the others were faster
			p.blame(who, string(api.CodeOf(err)), err)
		}
		return oprf.Partial{}, err
	}
	if got.Index != who.Index || got.Sharing != e.request.Sharing {
		err := api.Refuse(api.CodeUnavailable, errors.New("gateway: an answer of another share or sharing"))
		p.blame(who, "other-share", err)
		return oprf.Partial{}, err
	}
	partial, err := e.blinding.Verify(e.commitments, who.Index, elements(got.Elements), got.Proof)
	if err != nil {
		p.blame(who, "bad-proof", err)
		return oprf.Partial{}, api.Refuse(api.CodeUnavailable, err)
	}
	p.g.metrics.evaluatorSeconds.WithLabelValues(strconv.Itoa(who.Index)).Observe(time.Since(began).Seconds())
	p.g.reach.evaluator(who.Index, true)
	return partial, nil
}

func (p *Party) blame(who manifest.Evaluator, reason string, err error) {
	p.g.reach.evaluator(who.Index, reason != string(api.CodeUnavailable) && reason != "bad-proof" && reason != "other-share")
	p.g.metrics.evaluatorFaults.WithLabelValues(strconv.Itoa(who.Index), reason).Inc()
	p.g.log.Warn("evaluator not used", "evaluator", who.Index, "reason", reason, "cause", err)
}

func elements(list []encoding.Base64) [][]byte {
	out := make([][]byte, len(list))
	for i, e := range list {
		out[i] = e
	}
	return out
}
