// SPDX-License-Identifier: EUPL-1.2

// Package evaluation is an evaluator's HTTP side.
//
//	listener    who may call                   what
//	evaluation  parties, by client key         POST /v1/evaluations, GET /v1/budget, GET /checkpoint,
//	                                           and what is public
//	            the registry, by its key       POST /add-checkpoint, GET /checkpoint
//	public      anybody                        GET /health, GET /v1/openapi.json
//	operations  whoever runs the evaluator     GET /metrics, GET /health
//
// One evaluator and the registry together could join what they see on party and
// time, and learn the birth year of a signal. So nothing here writes down a
// request: logs and metrics hold sums over whole minutes and over all parties,
// and change once a minute. What a party did is known by the day, for its budget; use
// that stands out is told of by name when the day or the night is over.
//
// What may be asked is described in api/openapi.yaml (tags evaluator and public),
// from which server.gen.go is generated.
package evaluation

//go:generate go tool oapi-codegen -config oapi-codegen.yaml ../openapi.yaml

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/evaluator"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/unusual"
)

// A Server answers for one evaluator.
type Server struct {
	// Witness cosigns the registry's log; nil when this evaluator is no witness. It is set
	// before the server serves.
	Witness *evaluator.Witness

	evaluator *evaluator.Evaluator
	directory func() *manifest.Directory
	now       func() time.Time
	log       *slog.Logger

	service *edge.Service
	unusual *unusual.Watch
	minute  minute
	gather  *prometheus.Registry
	metrics metrics
	asked   *prometheus.CounterVec // of the witness, by what became of it

	// Destruction is for whoever destroys keys to tell how far that is.
	Destruction Destruction
}

// New makes a server. directory gives the directory in force; it is asked at
// every handshake and every request.
func New(e *evaluator.Evaluator, directory func() *manifest.Directory, now func() time.Time, log *slog.Logger) *Server {
	s := &Server{evaluator: e, directory: directory, now: now, log: log, gather: prometheus.NewRegistry()}
	s.metrics = newMetrics(s.gather)
	s.asked = newAsked(s.gather)
	s.Destruction = newDestruction(s.gather)
	s.unusual = unusual.New("evaluator", s.gather, log, unusual.WithoutSubmissions, unusual.NightlyBulk, unusual.AbovePeers)
	s.gather.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "seinhuis_evaluator_shares_missing", Help: "Keys in force of which this evaluator has no share.",
	}, func() float64 { return float64(len(e.Missing())) }))
	s.service = &edge.Service{Description: edge.Ours(), Log: log, Who: s.caller, More: s.countMalformed}
	return s
}

// Known tells whether a key is a current tls key of a party, or the registry's.
func (s *Server) Known(spki [32]byte) bool {
	_, ok := s.directory().ByTLS(spki, s.now())
	return ok || s.isRegistry(spki)
}

func (s *Server) isRegistry(spki [32]byte) bool { return s.evaluator.Manifest().Registry.TLS == spki }

// Metrics is where what runs beside the server registers its own.
func (s *Server) Metrics() prometheus.Registerer { return s.gather }

// Evaluation is the handler for parties and the registry, to be served with edge.ServerTLS and
// Known.
func (s *Server) Evaluation() http.Handler { return edge.Headers(s.router(nil)) }

// Public is the handler for anybody.
func (s *Server) Public() http.Handler { return edge.Headers(s.router(edge.Public)) }

// Operations is the handler for who runs the evaluator.
func (s *Server) Operations() http.Handler {
	router := s.router(func(op *edge.Operation) bool { return op.ID == "readHealth" })
	router.Handle("/metrics", promhttp.HandlerFor(s.gather, promhttp.HandlerOpts{})).Methods(http.MethodGet)
	return edge.Headers(router)
}

func (s *Server) router(admits func(*edge.Operation) bool) *mux.Router {
	strict := NewStrictHandlerWithOptions(operations{s}, nil, StrictHTTPServerOptions{
		RequestErrorHandlerFunc: s.service.Unbound, ResponseErrorHandlerFunc: s.service.Fail,
	})
	return s.service.Router(func(r *mux.Router) {
		HandlerWithOptions(strict, GorillaServerOptions{BaseRouter: r, ErrorHandlerFunc: s.service.Unbound})
	}, admits)
}

type contextKey int

const partyInContext contextKey = 0

// Security schemes of operations: which kinds of caller they are for.
const (
	byParty    = "party"
	byRegistry = "registry"
)

// caller is the party whose key the connection was made with, or the registry, which has
// no party. It is asked anew at every request: a key may have been revoked while the
// connection stood.
func (s *Server) caller(_ http.ResponseWriter, r *http.Request, op *edge.Operation) (context.Context, func(), error) {
	key := edge.PeerKey(r)
	if slices.Contains(op.Callers, byRegistry) && s.isRegistry(key) {
		return r.Context(), nil, nil
	}
	if party, ok := s.directory().ByTLS(key, s.now()); ok && slices.Contains(op.Callers, byParty) {
		return context.WithValue(r.Context(), partyInContext, party), nil, nil
	}
	s.minute.count(unauthenticated, 0)
	return nil, nil, api.Refuse(api.CodeUnauthenticated, nil)
}

func (s *Server) countMalformed(_ *http.Request, _ *edge.Operation, _ []byte, faults []api.Fault) []api.Fault {
	s.minute.count(malformed, 0)
	return faults
}

func partyOf(ctx context.Context) manifest.Party {
	return ctx.Value(partyInContext).(manifest.Party)
}

// operations are what the description names, for the party that asks.
type operations struct{ *Server }

func (o operations) Evaluate(ctx context.Context, r EvaluateRequestObject) (EvaluateResponseObject, error) {
	q, began := r.Body, time.Now()
	if o.now().After(o.directory().NotAfter) {
		o.minute.count(fault, 0)
		return nil, api.Refuse(api.CodeUnavailable, errDirectory)
	}
	elements := make([][]byte, len(q.Elements))
	for i, e := range q.Elements {
		elements[i] = e
	}
	a, err := o.evaluator.Evaluate(partyOf(ctx), evaluator.Request{
		Epoch: q.Epoch, Cohort: q.Cohort, Sharing: q.Sharing, Elements: elements, Report: q.Purpose == api.PurposeReport,
	})
	if err != nil {
		became, refused := refusal(err)
		o.minute.count(became, 0)
		return nil, refused
	}
	o.minute.count(answered, len(elements))
	o.unusual.Count(partyOf(ctx), len(elements), o.now())
	o.minute.answeredIn(time.Since(began))
	answer := api.Evaluated{Index: a.Index, Sharing: q.Sharing, Proof: a.Proof, Elements: make([]encoding.Base64, len(a.Elements))}
	for i, e := range a.Elements {
		answer.Elements[i] = e
	}
	return Evaluate200JSONResponse{Body: answer}, nil
}

func (o operations) ReadBudget(ctx context.Context, _ ReadBudgetRequestObject) (ReadBudgetResponseObject, error) {
	b, err := o.evaluator.Balance(partyOf(ctx))
	if err != nil {
		return nil, api.Refuse(api.CodeInternal, err)
	}
	return ReadBudget200JSONResponse{Body: api.Budget{
		Left: b.Left, Day: api.Limit(b.Day), Month: api.Limit(b.Month), Reserve: api.Limit(b.Reserve),
	}}, nil
}

// errDirectory: what is no longer in force may name parties that have been put out, and
// keys that have been revoked. The registry takes nothing either.
var errDirectory = errors.New("evaluation: the directory is no longer in force")

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

func (o operations) ReadDescription(context.Context, ReadDescriptionRequestObject) (ReadDescriptionResponseObject, error) {
	return ReadDescription200JSONResponse{
		Body: o.service.Description.JSON(), Headers: ReadDescription200ResponseHeaders{AccessControlAllowOrigin: "*"},
	}, nil
}

// ReadHealth is 503 when every request, or every request for some cohort, is refused
// for a reason that whoever runs the evaluator must take away.
func (o operations) ReadHealth(context.Context, ReadHealthRequestObject) (ReadHealthResponseObject, error) {
	var h edge.Health
	now := o.now()
	if o.evaluator.InForce() {
		h.AddUntil("manifest", o.evaluator.Ends(), now)
	} else {
		h.Add("manifest", edge.PartExpired, edge.HealthFault)
	}
	h.AddUntil("directory", o.directory().NotAfter, now)
	if len(o.evaluator.Missing()) > 0 {
		h.Add("shares", edge.PartMissing, edge.HealthFault)
	} else {
		h.Add("shares", edge.PartOK, edge.HealthOK)
	}
	h.AddCohort(o.evaluator.Manifest().LacksNextCohort(now))
	switch isWitness, named := o.witnesses(); {
	case isWitness:
		h.Add("witness", edge.PartOK, edge.HealthOK)
	case named: // parties have their answers all the same
		h.Add("witness", edge.PartOther, edge.HealthWarning)
	}
	if h.HTTP() != http.StatusOK {
		return ReadHealth503JSONResponse{Body: h}, nil
	}
	return ReadHealth200JSONResponse{Body: h}, nil
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

	mu   sync.Mutex
	took []time.Duration // of what was answered; the first maxTook of the minute
}

// maxTook bounds what a minute keeps.
const maxTook = 1 << 16

func (m *minute) answeredIn(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.took) < maxTook {
		m.took = append(m.took, d)
	}
}

func (m *minute) count(o outcome, elements int) {
	m.requests[o].Add(1)
	m.elements.Add(int64(elements))
}

type metrics struct {
	requests *prometheus.CounterVec
	elements prometheus.Counter
	seconds  prometheus.Histogram
	near     *prometheus.GaugeVec // period, used
}

func newMetrics(reg *prometheus.Registry) metrics {
	m := metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "seinhuis_evaluator_requests_total", Help: "Requests by what became of them; changes once a minute.",
		}, []string{"outcome"}),
		elements: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "seinhuis_evaluator_elements_total", Help: "Elements evaluated; changes once a minute.",
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "seinhuis_evaluator_evaluation_seconds", Help: "Time from an admitted request to its answer, the debit on disk included; changes once a minute.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 13),
		}),
		near: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "seinhuis_evaluator_parties_near_budget", Help: "Parties that have used at least so much of a budget; changes once a minute.",
		}, []string{"period", "used"}),
	}
	for _, name := range outcomeNames {
		m.requests.WithLabelValues(name)
	}
	for _, period := range []string{"day", "month"} {
		for _, used := range []string{"80", "100"} {
			m.near.WithLabelValues(period, used)
		}
	}
	reg.MustRegister(m.requests, m.elements, m.seconds, m.near,
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
	s.minute.mu.Lock()
	took := s.minute.took
	s.minute.took = nil
	s.minute.mu.Unlock()
	for _, d := range took {
		s.metrics.seconds.Observe(d.Seconds())
	}
	s.countNear()
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

// countNear counts the parties whose budgets are nearly spent, or are.
func (s *Server) countNear() {
	count := map[[2]string]int{{"day", "80"}: 0, {"day", "100"}: 0, {"month", "80"}: 0, {"month", "100"}: 0}
	for _, party := range s.directory().Parties {
		b, err := s.evaluator.Balance(party)
		if err != nil {
			s.log.Error("not measured", "cause", err)
			return
		}
		for period, spent := range map[string]evaluator.Spent{"day": b.Day, "month": b.Month} {
			if spent.Limit == 0 {
				continue
			}
			if 10*spent.Spent >= 8*spent.Limit {
				count[[2]string{period, "80"}]++
			}
			if spent.Spent >= spent.Limit {
				count[[2]string{period, "100"}]++
			}
		}
	}
	for labels, n := range count {
		s.metrics.near.WithLabelValues(labels[0], labels[1]).Set(float64(n))
	}
}
