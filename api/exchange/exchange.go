// SPDX-License-Identifier: EUPL-1.2

// Package exchange is the registry's HTTP side: statements and acts come in,
// feeds go out.
//
// There are three listeners, because three kinds of callers meet here. Parties
// come with a client certificate whose key the directory names, and are that
// party and no other. Anybody may read what is public. Metrics are the operator's.
//
// What may be asked is described in api/openapi.yaml (tags registry and public), from
// which server.gen.go is generated.
package exchange

//go:generate go tool oapi-codegen -config oapi-codegen.yaml ../openapi.yaml

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/registry/sequencer"
	"github.com/seinhuis/seinhuis/unusual"
)

// A Server answers for one registry.
type Server struct {
	Matcher *matcher.Matcher
	Log     *slog.Logger
	// Notes gives the signed manifest and directory in force, as served.
	Notes func() (manifest, directory []byte)
	// Sequencer keeps the log; nil where there is none.
	Sequencer *sequencer.Sequencer

	service   *edge.Service
	unusual   *unusual.Watch
	lag       lag
	metrics   *metrics
	gather    *prometheus.Registry
	importing chan struct{} // has a place for each that may be worked on
	busy      sync.Map      // the parties of which an import is being read or worked on
}

// New makes a server and its metrics.
func New(m *matcher.Matcher, log *slog.Logger, notes func() (manifest, directory []byte)) *Server {
	s := &Server{Matcher: m, Log: log, Notes: notes, gather: prometheus.NewRegistry(), importing: make(chan struct{}, maxImports)}
	s.service = Service(log, s.caller)
	s.metrics = newMetrics(s.gather)
	registerReadOnly(s.gather, &m.ReadOnly)
	s.unusual = unusual.New("registry", s.gather, log, unusual.NightlyBulk, unusual.AbovePeers, unusual.WithdrawnAfterMatch)
	s.lag.s = s
	s.gather.MustRegister(&s.lag, logCollector{s})
	return s
}

// Service is what stands before the operations of a registry; who finds out who asks.
func Service(log *slog.Logger, who func(*http.Request, *edge.Operation) (api.PartyID, error)) *edge.Service {
	return &edge.Service{Description: edge.Ours(), Log: log, Who: func(_ http.ResponseWriter, r *http.Request, op *edge.Operation) (context.Context, func(), error) {
		party, err := who(r, op)
		return context.WithValue(r.Context(), partyInContext, party), nil, err
	}}
}

type contextKey int

const partyInContext contextKey = 0

// PartyOf is the party that asks; empty where evaluators do.
func PartyOf(ctx context.Context) api.PartyID { return ctx.Value(partyInContext).(api.PartyID) }

// Router routes what admits lets through to operations.
func Router(service *edge.Service, operations StrictServerInterface, admits func(*edge.Operation) bool, around ...StrictMiddlewareFunc) *mux.Router {
	strict := NewStrictHandlerWithOptions(operations, around, StrictHTTPServerOptions{
		RequestErrorHandlerFunc: service.Unbound, ResponseErrorHandlerFunc: service.Fail,
	})
	return service.Router(func(r *mux.Router) {
		HandlerWithOptions(strict, GorillaServerOptions{BaseRouter: r, ErrorHandlerFunc: service.Unbound})
	}, admits)
}

// Known tells whether a key is a current tls key of a party, or that of an evaluator:
// what the listener for parties asks at every handshake.
func (s *Server) Known(spki [32]byte) bool {
	_, dir := s.Matcher.Trust()
	_, ok := dir.ByTLS(spki, s.Matcher.Glance())
	return ok || s.isEvaluator(spki)
}

func (s *Server) isEvaluator(spki [32]byte) bool {
	man, _ := s.Matcher.Trust()
	return slices.ContainsFunc(man.Evaluators, func(e manifest.Evaluator) bool { return e.TLS == spki })
}

// Metrics is where what runs beside the server registers its own.
func (s *Server) Metrics() prometheus.Registerer { return s.gather }

// Parties is the handler behind client certificates.
func (s *Server) Parties() http.Handler {
	return edge.Headers(Router(s.service, operations{s}, nil, s.metrics.timed))
}

// Public is the handler that anybody may call.
func (s *Server) Public() http.Handler {
	return edge.Headers(Router(s.service, operations{s}, edge.Public, s.metrics.timed))
}

// Operations is the handler for the operator's own network.
func (s *Server) Operations() http.Handler {
	router := Router(s.service, operations{s}, func(op *edge.Operation) bool { return op.ID == "readHealth" })
	router.Handle("/metrics", promhttp.HandlerFor(s.gather, promhttp.HandlerOpts{})).Methods(http.MethodGet)
	return edge.Headers(router)
}

// byEvaluators is the security scheme of operations for evaluators alone.
const byEvaluators = "evaluator"

// caller is the party whose key the connection was made with, or nobody by name for an
// evaluator's. It is asked anew at every request: a key may have been revoked while the
// connection stood.
func (s *Server) caller(r *http.Request, op *edge.Operation) (api.PartyID, error) {
	key := edge.PeerKey(r)
	if slices.Contains(op.Callers, byEvaluators) {
		if !s.isEvaluator(key) {
			return "", api.Refuse(api.CodeUnauthenticated, nil)
		}
		return "", nil
	}
	_, dir := s.Matcher.Trust()
	party, ok := dir.ByTLS(key, s.Matcher.Time())
	if !ok {
		return "", api.Refuse(api.CodeUnauthenticated, nil)
	}
	return party.ID, nil
}

// operations are what the description names, for the party that asks.
type operations struct{ *Server }

func (o operations) RegisterSignal(ctx context.Context, r RegisterSignalRequestObject) (RegisterSignalResponseObject, error) {
	out, err := o.change("signal", func() (matcher.Outcome, error) { return o.Matcher.Submit(ctx, PartyOf(ctx), *r.Body) })
	if err != nil {
		return nil, err
	}
	if out.Created {
		o.took(PartyOf(ctx), 1)
		return RegisterSignal201JSONResponse{Body: out.Accepted}, nil
	}
	return RegisterSignal200JSONResponse{Body: out.Accepted}, nil
}

func (o operations) ActOnSignal(ctx context.Context, r ActOnSignalRequestObject) (ActOnSignalResponseObject, error) {
	out, err := o.change("act", func() (matcher.Outcome, error) { return o.Matcher.Act(ctx, PartyOf(ctx), *r.Body) })
	if err != nil {
		return nil, err
	}
	if out.Hasty {
		o.unusual.Tell(unusual.WithdrawnAfterMatch, PartyOf(ctx))
	}
	return ActOnSignal200JSONResponse{Body: out.Accepted}, nil // an act creates nothing
}

func (s *Server) change(what string, do func() (matcher.Outcome, error)) (matcher.Outcome, error) {
	start := time.Now()
	out, err := do()
	s.metrics.observe(what, out.Created, err, time.Since(start))
	return out, err
}

func (o operations) ReadEvents(ctx context.Context, r ReadEventsRequestObject) (ReadEventsResponseObject, error) {
	limit := r.Params.Limit
	if limit == 0 { // it was not said
		limit = api.MaxEvents
	}
	o.metrics.polls.Inc()
	defer o.metrics.polls.Dec()
	out, err := registry.Deliver(ctx, o.Matcher.Store, PartyOf(ctx), r.Params.Cursor, limit, time.Duration(r.Params.Wait)*time.Second, o.Matcher.LiveAt())
	o.metrics.delivered.Add(float64(len(out.Items)))
	return ReadEvents200JSONResponse{Body: out}, err
}

func (o operations) ReadManifest(context.Context, ReadManifestRequestObject) (ReadManifestResponseObject, error) {
	text, _ := o.Notes()
	return ReadManifest200TextplainCharsetUtf8Response{Body: bytes.NewReader(text), ContentLength: int64(len(text))}, nil
}

func (o operations) ReadDirectory(context.Context, ReadDirectoryRequestObject) (ReadDirectoryResponseObject, error) {
	_, text := o.Notes()
	return ReadDirectory200TextplainCharsetUtf8Response{Body: bytes.NewReader(text), ContentLength: int64(len(text))}, nil
}

func (o operations) ReadDescription(context.Context, ReadDescriptionRequestObject) (ReadDescriptionResponseObject, error) {
	return ReadDescription200JSONResponse{
		Body: o.service.Description.JSON(), Headers: ReadDescription200ResponseHeaders{AccessControlAllowOrigin: "*"},
	}, nil
}

func (o operations) ReadHealth(ctx context.Context, _ ReadHealthRequestObject) (ReadHealthResponseObject, error) {
	h := o.health(ctx)
	if h.HTTP() != http.StatusOK {
		return ReadHealth503JSONResponse{Body: h}, nil
	}
	return ReadHealth200JSONResponse{Body: h}, nil
}

// tooLate is how long a signal may be there past its last day before somebody has to
// look; it does not match meanwhile.
const tooLate = time.Hour

// readOnlyCodes are the codes of the parts that make a registry read-only.
var readOnlyCodes = map[matcher.Reason]string{matcher.ReasonDisk: edge.PartLow, matcher.ReasonJournal: edge.PartLow, matcher.ReasonClock: edge.PartHeld}

func (s *Server) health(ctx context.Context) (h edge.Health) {
	man, dir := s.Matcher.Trust()
	clock, fault := s.Matcher.Clock(ctx)
	now := clock.Now
	switch err := s.Matcher.Ready(ctx); {
	case errors.Is(err, matcher.ErrOtherEpoch), errors.Is(err, matcher.ErrCompromised):
		h.Add("epoch", edge.PartOther, edge.HealthFault)
	case err != nil:
		h.Add("epoch", edge.PartFault, edge.HealthFault)
	default:
		h.Add("epoch", edge.PartOK, edge.HealthOK)
	}
	day, due, err := s.Matcher.Store.OldestDue(ctx, clock.Day)
	if err != nil || fault != nil {
		h.Add("store", edge.PartFault, edge.HealthFault)
	} else {
		h.Add("store", edge.PartOK, edge.HealthOK)
	}
	why := s.Matcher.ReadOnly.Why()
	for _, reason := range matcher.Reasons {
		switch {
		case slices.Contains(why, reason):
			h.Add(string(reason), readOnlyCodes[reason], edge.HealthFault)
		case reason == matcher.ReasonClock && clock.Off() < 0:
			h.Add(string(reason), edge.PartBehind, edge.HealthWarning)
		default:
			h.Add(string(reason), edge.PartOK, edge.HealthOK)
		}
	}
	s.addLog(&h)
	h.AddUntil("manifest", registry.Ends(man), now)
	h.AddUntil("directory", dir.NotAfter, now)
	h.AddCohort(man.LacksNextCohort(now))
	if due && registry.Since(day, now) > tooLate && !s.Matcher.Rests(now) {
		h.Add("sweep", edge.PartLate, edge.HealthWarning)
	} else {
		h.Add("sweep", edge.PartOK, edge.HealthOK)
	}
	return h
}
