// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/identity"
	"github.com/seinhuis/seinhuis/crypto/oprf"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
)

// A hoarder asks evaluators for numbers, one after another, and keeps what he gets.
type hoarder struct {
	*testing.T
	w       *gatewaytest.World
	clients []*http.Client // of each evaluator

	mu       sync.Mutex
	partials map[int]map[int]oprf.Partial // by child, by evaluator
	blinded  map[int]*oprf.Blinding
}

// ask has evaluator i asked for a child, as party; it gives the status.
func (h *hoarder) ask(i, n int, purpose string) int {
	m, _ := h.w.InForce()
	e := m.Evaluators[i]
	sharing, _ := m.Sharing(1, 2012)
	commitments, err := oprf.ParseCommitments(sharing.Points())
	fatal(h, err)
	h.mu.Lock()
	blinding := h.blinded[n]
	h.mu.Unlock()
	q := api.Evaluate{Epoch: 1, Cohort: 2012, Sharing: sharing.Number, Elements: []encoding.Base64{blinding.Elements()[0]}, Purpose: purpose}
	var got api.Evaluated
	status, _ := askOver(h.T, h.clients[i], e.URL+"/v1/evaluations", q, &got)
	if status == http.StatusOK {
		partial, err := blinding.Verify(commitments, e.Index, [][]byte{got.Elements[0]}, got.Proof)
		fatal(h, err)
		h.keep(n, i, partial)
	}
	return status
}

func (h *hoarder) keep(n, i int, p oprf.Partial) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.partials[n] == nil {
		h.partials[n] = map[int]oprf.Partial{}
	}
	h.partials[n][i] = p
}

// run asks evaluators for all numbers, each beginning elsewhere so that none is asked for
// what he has, with and without saying that it is for a report; it tells how many each
// answered.
func (h *hoarder) run(numbers int, evaluators ...int) map[int]int {
	h.Helper()
	answered := map[int]int{}
	for _, purpose := range []string{"", api.PurposeReport} {
		for at, i := range evaluators {
			for k := range numbers {
				n := (k + at*numbers/len(evaluators)) % numbers
				h.mu.Lock()
				_, has := h.partials[n][i]
				h.mu.Unlock()
				if has {
					continue
				}
				switch status := h.ask(i, n, purpose); status {
				case http.StatusOK:
					answered[i]++
				case http.StatusTooManyRequests:
				default:
					h.Fatalf("evaluator %d answers %d", i+1, status)
				}
			}
		}
	}
	return answered
}

// knows is of how many children he has tokens.
func (h *hoarder) knows() (known int) {
	h.Helper()
	m, _ := h.w.InForce()
	for n, of := range h.partials {
		var list []oprf.Partial
		for _, p := range of {
			list = append(list, p)
		}
		if _, err := h.blinded[n].Combine(m.Threshold, list); err == nil {
			known++
		} else if len(list) >= m.Threshold {
			h.Fatal(err)
		}
	}
	return known
}

func newHoarder(t *testing.T, w *gatewaytest.World, party, numbers int) *hoarder {
	h := &hoarder{T: t, w: w, partials: map[int]map[int]oprf.Partial{}, blinded: map[int]*oprf.Blinding{}}
	m, _ := w.InForce()
	for _, e := range m.Evaluators {
		h.clients = append(h.clients, w.Client(party, e.TLS))
	}
	for n := range numbers {
		birth, err := encoding.ParseDate(child(n).BirthDate)
		fatal(t, err)
		id, err := identity.Parse(identity.BSN, child(n).Number, birth, identity.Today(w.Now()))
		fatal(t, err)
		input, err := id.Canonical(m.Dep, 1)
		fatal(t, err)
		h.blinded[n], err = oprf.Blind([][]byte{input})
		fatal(t, err)
	}
	return h
}

// TestAttackEnumeration: whoever has a party's TLS key, and no gateway that would hold him
// back, asks evaluators for a list of numbers: all of them, at night and by day, as reports
// and not, and after they were started again. It ends at the budget at each of them.
func TestAttackEnumeration(t *testing.T) {
	const daily, monthly, reserve, numbers = 6, 15, 2, 30
	w := gatewaytest.New(t, 2)
	w.Manifest.Policy.DailyBudget, w.Manifest.Policy.MonthlyBudget, w.Manifest.Policy.ReportReserve = daily, monthly, reserve
	w.Publish()
	h := newHoarder(t, w, 0, numbers)
	all := []int{0, 1, 2}
	spent := func(when string, want int) {
		t.Helper()
		for i, n := range h.run(numbers, all...) {
			if n > want {
				t.Errorf("%s evaluator %d answers %d, of %d", when, i+1, n, want)
			}
		}
	}
	if first := h.run(numbers, all...); first[0] != daily+reserve || first[1] != daily+reserve || first[2] != daily+reserve {
		t.Fatalf("on the first day evaluators answer %v, want %d each", first, daily+reserve)
	}
	spent("at once again", 0)
	// He has spread it: of each number he asked t evaluators at most.
	most := func(days int) int { return days * (daily + reserve) * gatewaytest.Evaluators / gatewaytest.Threshold }
	if known := h.knows(); known > most(1) {
		t.Errorf("on the first day he has tokens of %d children, of %d", known, most(1))
	}
	w.Minute()
	if got := w.Measured(); strings.Count(got, `seinhuis_evaluator_parties_near_budget{period="day",used="100"} 1`) != gatewaytest.Evaluators {
		t.Error("that a party's budget is spent is not measured at each evaluator")
	}
	if got := w.Measured(); strings.Contains(got, `seinhuis_evaluator_requests_total{outcome="budget"} 0`) {
		t.Error("refusals are not measured")
	}
	for i := range all {
		w.RestartEvaluator(i)
	}
	spent("started again", 0)

	other := newHoarder(t, w, 1, 1)
	if status := other.ask(0, 0, ""); status != http.StatusOK {
		t.Errorf("another party is held back for it: %d", status)
	}

	for day := 2; day <= 5; day++ { // from 4 March
		w.Advance(24 * time.Hour)
		spent("the next day", daily+reserve)
	}
	answered := 0
	for _, of := range h.partials {
		answered += len(of)
	}
	if most := 3 * (monthly + 5*reserve); answered > most {
		t.Errorf("in five days evaluators answered %d, of %d", answered, most)
	}
	w.Minute()
	if got := w.Measured(); strings.Count(got, `seinhuis_evaluator_parties_near_budget{period="month",used="100"} 1`) != gatewaytest.Evaluators {
		t.Error("that the month's budget is spent is not measured, and so gives no alert, at each evaluator")
	}
}

// TestAttackEnumerationWithEvaluators: he has t − 1 evaluators with him, which answer whatever he
// asks. Each number still takes one that counts, and what he has of the others is nothing.
func TestAttackEnumerationWithEvaluators(t *testing.T) {
	const daily, numbers = 5, 20
	w := gatewaytest.New(t, 1)
	w.Manifest.Policy.DailyBudget, w.Manifest.Policy.MonthlyBudget, w.Manifest.Policy.ReportReserve = daily, 100, 0
	w.Publish()
	h := newHoarder(t, w, 0, numbers)
	m, _ := w.InForce()
	sharing, _ := m.Sharing(1, 2012)
	commitments, err := oprf.ParseCommitments(sharing.Points())
	fatal(t, err)
	with := stolen(w, m.Threshold-1)
	for n := range numbers {
		for i, share := range with {
			engine, err := oprf.NewEvaluator(share)
			fatal(t, err)
			elements, proof, err := engine.Evaluate(h.blinded[n].Elements())
			fatal(t, err)
			partial, err := h.blinded[n].Verify(commitments, share.Index(), elements, proof)
			fatal(t, err)
			h.keep(n, i, partial)
		}
	}
	if known := h.knows(); known != 0 {
		t.Fatalf("t − 1 evaluators alone give %d tokens", known)
	}
	var honest []int
	for i := len(with); i < gatewaytest.Evaluators; i++ {
		honest = append(honest, i)
	}
	answered := h.run(numbers, honest...)
	total := 0
	for _, i := range honest {
		if answered[i] != daily {
			t.Errorf("evaluator %d answers %d, want %d", i+1, answered[i], daily)
		}
		total += answered[i]
	}
	if known := h.knows(); known != total {
		t.Errorf("he has tokens of %d children; %d were answered by who counts", known, total)
	}
}
