// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
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
	Err   error
}

func (e *waitError) Error() string { return fmt.Sprintf("gateway: waiting for %s: %v", e.For, e.Err) }
func (e *waitError) Unwrap() error { return e.Err }

// evaluate gives the OPRF outputs of at most 64 inputs of one (epoch, cohort).
// It asks as many evaluators as the threshold, in random order, and another one
// for each that fails or takes too long. Every proof is verified against the
// manifest's commitments; who gives a false one is named and left out.
//
// Its errors are errStale and *waitError.
func (p *Party) evaluate(ctx context.Context, m *manifest.Manifest, epoch uint64, cohort int, inputs [][]byte) ([][]byte, error) {
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
	request := api.Evaluate{Epoch: epoch, Cohort: cohort, Sharing: sharing.Number}
	for _, e := range blinding.Elements() {
		request.Elements = append(request.Elements, e)
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		partial oprf.Partial
		err     error
	}
	order := rand.Perm(len(m.Evaluators))
	answers := make(chan answer, len(order)) // so that nobody who is late stays behind
	asked, pending := 0, 0
	ask := func() {
		if asked == len(order) {
			return
		}
		who := m.Evaluators[order[asked]]
		asked++
		pending++
		go func() {
			partial, err := p.askEvaluator(ctx, who, request, blinding, commitments)
			answers <- answer{partial, err}
		}()
	}
	for range m.Threshold {
		ask()
	}
	hedge := time.NewTicker(hedgeAfter)
	defer hedge.Stop()

	var partials []oprf.Partial
	var failed failures
	for len(partials) < m.Threshold {
		if pending == 0 {
			return nil, failed.verdict()
		}
		select {
		case a := <-answers:
			pending--
			if a.err != nil {
				failed.add(a.err)
				ask()
				continue
			}
			partials = append(partials, a.partial)
		case <-hedge.C:
			ask()
		case <-ctx.Done():
			return nil, &waitError{For: WaitEvaluators, Err: ctx.Err()}
		}
	}
	outputs, err := blinding.Combine(m.Threshold, partials)
	if err != nil {
		return nil, &waitError{For: WaitEvaluators, Err: err}
	}
	p.g.metrics.evaluations.Add(float64(len(inputs)))
	return outputs, nil
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
		if e, ok := errors.AsType[*api.Error](err); ok && (f.until == 0 || e.RetryAfter < f.until) {
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
func (p *Party) askEvaluator(ctx context.Context, who manifest.Evaluator, request api.Evaluate, blinding *oprf.Blinding, c oprf.Commitments) (oprf.Partial, error) {
	ctx, cancel := context.WithTimeout(ctx, evaluatorAnswer)
	defer cancel()
	var got api.Evaluated
	err := p.call(ctx, endpoint{who.URL, who.TLS}, http.MethodPost, "/v1/evaluations", request, &got, maxEvaluated)
	if err != nil {
		if ctx.Err() != context.Canceled { // the others were faster
			p.blame(who, string(api.CodeOf(err)), err)
		}
		return oprf.Partial{}, err
	}
	if got.Index != who.Index || got.Sharing != request.Sharing {
		err := api.Refuse(api.CodeUnavailable, errors.New("gateway: an answer of another share or sharing"))
		p.blame(who, "other-share", err)
		return oprf.Partial{}, err
	}
	partial, err := blinding.Verify(c, who.Index, elements(got.Elements), got.Proof)
	if err != nil {
		p.blame(who, "bad-proof", err)
		return oprf.Partial{}, api.Refuse(api.CodeUnavailable, err)
	}
	return partial, nil
}

func (p *Party) blame(who manifest.Evaluator, reason string, err error) {
	p.g.metrics.evaluatorFaults.WithLabelValues(strconv.Itoa(who.Index), reason).Inc()
	p.g.log.Warn("evaluator not used", "evaluator", who.Index, "name", who.Name, "reason", reason, "cause", err.Error())
}

func elements(list []encoding.Base64) [][]byte {
	out := make([][]byte, len(list))
	for i, e := range list {
		out[i] = e
	}
	return out
}
