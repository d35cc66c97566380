// SPDX-License-Identifier: EUPL-1.2

// Package evaluation is an evaluator's HTTP side.
//
//	listener    who may call                   what
//	evaluation  parties, by client key         POST /v1/evaluations, GET /v1/budget
//	public      anybody                        GET /health
//	operations  whoever runs the evaluator     GET /metrics, GET /health
//
// One evaluator and the registry together could join what they see on party and
// time, and learn the birth year of a signal. So nothing here writes down a
// request: logs and metrics hold sums over whole minutes and over all parties,
// and change once a minute.
package evaluation

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/evaluator"
	"github.com/seinhuis/seinhuis/manifest"
)

// A Server answers for one evaluator.
type Server struct {
	evaluator *evaluator.Evaluator
	directory func() *manifest.Directory
	now       func() time.Time
	log       *slog.Logger

	minute  minute
	gather  *prometheus.Registry
	metrics metrics
}

// New makes a server. directory gives the directory in force; it is asked at
// every handshake and every request.
func New(e *evaluator.Evaluator, directory func() *manifest.Directory, now func() time.Time, log *slog.Logger) *Server {
	s := &Server{evaluator: e, directory: directory, now: now, log: log, gather: prometheus.NewRegistry()}
	s.metrics = newMetrics(s.gather)
	return s
}

// Known tells whether a key is a current tls key of a party.
func (s *Server) Known(spki [32]byte) bool {
	_, ok := s.directory().ByTLS(spki, s.now())
	return ok
}

// Evaluation is the handler for parties, to be served with edge.ServerTLS and
// Known.
func (s *Server) Evaluation() http.Handler {
	router := edge.Router()
	router.Handle("/v1/evaluations", edge.JSON(api.MaxBody, s.log, s.evaluate)).Methods(http.MethodPost)
	router.Handle("/v1/budget", edge.Get(s.log, s.budget)).Methods(http.MethodGet)
	return edge.Headers(router)
}

// Public is the handler for anybody.
func (s *Server) Public() http.Handler {
	router := edge.Router()
	router.Handle("/health", edge.Get(s.log, s.health)).Methods(http.MethodGet, http.MethodHead)
	return edge.Headers(router)
}

// Operations is the handler for who runs the evaluator.
func (s *Server) Operations() http.Handler {
	router := edge.Router()
	router.Handle("/metrics", promhttp.HandlerFor(s.gather, promhttp.HandlerOpts{})).Methods(http.MethodGet)
	router.Handle("/health", edge.Get(s.log, s.health)).Methods(http.MethodGet, http.MethodHead)
	return edge.Headers(router)
}

func (s *Server) evaluate(_ context.Context, r *http.Request, q api.Evaluate) (int, api.Evaluated, error) {
	party, ok := s.directory().ByTLS(edge.PeerKey(r), s.now())
	if !ok {
		s.minute.count(unauthenticated, 0)
		return 0, api.Evaluated{}, api.Refuse(api.CodeUnauthenticated, nil)
	}
	if q.Purpose != "" && q.Purpose != api.PurposeReport {
		s.minute.count(malformed, 0)
		return 0, api.Evaluated{}, api.Refuse(api.CodeMalformed, nil)
	}
	elements := make([][]byte, len(q.Elements))
	for i, e := range q.Elements {
		elements[i] = e
	}
	a, err := s.evaluator.Evaluate(party, evaluator.Request{
		Epoch: q.Epoch, Cohort: q.Cohort, Sharing: q.Sharing, Elements: elements, Report: q.Purpose == api.PurposeReport,
	})
	if err != nil {
		became, refused := refusal(err)
		s.minute.count(became, 0)
		return 0, api.Evaluated{}, refused
	}
	s.minute.count(answered, len(elements))
	answer := api.Evaluated{Index: a.Index, Sharing: q.Sharing, Proof: a.Proof, Elements: make([]encoding.Base64, len(a.Elements))}
	for i, e := range a.Elements {
		answer.Elements[i] = e
	}
	return http.StatusOK, answer, nil
}

// budget tells a party what it has left here.
func (s *Server) budget(_ context.Context, r *http.Request) (int, api.Budget, error) {
	party, ok := s.directory().ByTLS(edge.PeerKey(r), s.now())
	if !ok {
		return 0, api.Budget{}, api.Refuse(api.CodeUnauthenticated, nil)
	}
	b, err := s.evaluator.Balance(party)
	if err != nil {
		return 0, api.Budget{}, api.Refuse(api.CodeInternal, err)
	}
	return http.StatusOK, api.Budget{
		Left: b.Left, Day: api.Limit(b.Day), Month: api.Limit(b.Month), Reserve: api.Limit(b.Reserve),
	}, nil
}

func refusal(err error) (outcome, error) {
	over, spent := errors.AsType[*evaluator.BudgetError](err)
	switch {
	case spent:
		return budget, api.RefuseFor(api.CodeBudget, err, over.Wait)
	case errors.Is(err, evaluator.ErrEpoch):
		return epoch, api.Refuse(api.CodeEpoch, err)
	case errors.Is(err, evaluator.ErrSharing):
		return sharing, api.Refuse(api.CodeSharing, err)
	case errors.Is(err, evaluator.ErrElement):
		return element, api.Refuse(api.CodeElement, err)
	}
	return fault, api.Refuse(api.CodeInternal, err)
}

type health struct {
	Status string `json:"status"`
}

// health is 503 when every request, or every request for some cohort, is refused
// for a reason that whoever runs the evaluator must take away.
func (s *Server) health(context.Context, *http.Request) (int, health, error) {
	switch {
	case !s.evaluator.InForce():
		return http.StatusServiceUnavailable, health{"manifest not in force"}, nil
	case len(s.evaluator.Missing()) > 0:
		return http.StatusServiceUnavailable, health{"shares missing"}, nil
	}
	return http.StatusOK, health{"ok"}, nil
}

// An outcome is what became of a request.
type outcome int

const (
	answered outcome = iota
	unauthenticated
	epoch
	sharing
	element
	budget
	malformed
	fault
	outcomes // how many there are
)

var outcomeNames = [outcomes]string{"answered", "unauthenticated", "epoch", "sharing", "element", "budget", "malformed", "fault"}

// minute is what happened since the last full minute.
type minute struct {
	requests [outcomes]atomic.Int64
	elements atomic.Int64
}

func (m *minute) count(o outcome, elements int) {
	m.requests[o].Add(1)
	m.elements.Add(int64(elements))
}

type metrics struct {
	requests *prometheus.CounterVec
	elements prometheus.Counter
}

func newMetrics(reg *prometheus.Registry) metrics {
	m := metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "seinhuis_evaluator_requests_total", Help: "Requests by what became of them; changes once a minute.",
		}, []string{"outcome"}),
		elements: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "seinhuis_evaluator_elements_total", Help: "Elements evaluated; changes once a minute.",
		}),
	}
	for _, name := range outcomeNames {
		m.requests.WithLabelValues(name)
	}
	reg.MustRegister(m.requests, m.elements,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// CountMinutes writes the counts of each minute, until ctx ends.
func (s *Server) CountMinutes(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.flush()
		case <-ctx.Done():
			s.flush()
			return nil
		}
	}
}

func (s *Server) flush() {
	elements := s.minute.elements.Swap(0)
	s.metrics.elements.Add(float64(elements))
	counts := []any{"elements", elements}
	busy := false
	for i, name := range outcomeNames {
		n := s.minute.requests[i].Swap(0)
		s.metrics.requests.WithLabelValues(name).Add(float64(n))
		counts = append(counts, name, n)
		busy = busy || n > 0
	}
	if busy {
		s.log.Info("minute", counts...)
	}
}
