// SPDX-License-Identifier: EUPL-1.2

// Package exchange is the registry's HTTP side: statements and acts come in,
// feeds go out.
//
// There are three listeners, because three kinds of callers meet here. Parties
// come with a client certificate whose key the directory names, and are that
// party and no other. Anybody may read what is public. Metrics are the operator's.
package exchange

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/registry"
)

// A Server answers for one registry.
type Server struct {
	Matcher *matcher.Matcher
	Log     *slog.Logger
	// Notes gives the signed manifest and directory in force, as served.
	Notes func() (manifest, directory []byte)

	metrics   *metrics
	gather    *prometheus.Registry
	importing chan struct{} // has a place for each that may be worked on
}

// New makes a server and its metrics.
func New(m *matcher.Matcher, log *slog.Logger, notes func() (manifest, directory []byte)) *Server {
	s := &Server{Matcher: m, Log: log, Notes: notes, gather: prometheus.NewRegistry(), importing: make(chan struct{}, maxImports)}
	s.metrics = newMetrics(s.gather)
	return s
}

// Known tells whether a key is a current tls key of a party: what the listener
// for parties asks at every handshake.
func (s *Server) Known(spki [32]byte) bool {
	_, dir := s.Matcher.Trust()
	_, ok := dir.ByTLS(spki, s.Matcher.Now())
	return ok
}

// Parties is the handler behind client certificates.
func (s *Server) Parties() http.Handler {
	router := edge.Router()
	v1 := router.PathPrefix("/v1").Subrouter()
	v1.Handle("/signals", edge.JSON(api.MaxBody, s.Log, s.submit)).Methods(http.MethodPost)
	v1.Handle("/imports", s.oneEach(edge.Lines(api.MaxImportBody, api.MaxImport, s.Log, s.imports))).Methods(http.MethodPost)
	v1.Handle("/acts", edge.JSON(api.MaxBody, s.Log, s.act)).Methods(http.MethodPost)
	v1.Handle("/events", edge.Get(s.Log, s.events)).Methods(http.MethodGet)
	s.notes(v1)
	return edge.Headers(router)
}

// Public is the handler that anybody may call.
func (s *Server) Public() http.Handler {
	router := edge.Router()
	router.Handle("/health", edge.Get(s.Log, s.health)).Methods(http.MethodGet)
	s.notes(router.PathPrefix("/v1").Subrouter())
	return edge.Headers(router)
}

// Operations is the handler for the operator's own network.
func (s *Server) Operations() http.Handler {
	router := edge.Router()
	router.Handle("/metrics", promhttp.HandlerFor(s.gather, promhttp.HandlerOpts{})).Methods(http.MethodGet)
	router.Handle("/health", edge.Get(s.Log, s.health)).Methods(http.MethodGet)
	return edge.Headers(router)
}

func (s *Server) notes(v1 *mux.Router) {
	v1.Handle("/manifest", edge.Text(s.Log, func(context.Context, *http.Request) ([]byte, error) {
		text, _ := s.Notes()
		return text, nil
	})).Methods(http.MethodGet)
	v1.Handle("/directory", edge.Text(s.Log, func(context.Context, *http.Request) ([]byte, error) {
		_, text := s.Notes()
		return text, nil
	})).Methods(http.MethodGet)
}

// caller is the party whose key the connection was made with. It is asked anew at
// every request: a key may have been revoked while the connection stood.
func (s *Server) caller(r *http.Request) (api.PartyID, error) {
	_, dir := s.Matcher.Trust()
	party, ok := dir.ByTLS(edge.PeerKey(r), s.Matcher.Now())
	if !ok {
		return "", api.Refuse(api.CodeUnauthenticated, nil)
	}
	return party.ID, nil
}

func (s *Server) submit(ctx context.Context, r *http.Request, sub api.Submission) (int, api.Accepted, error) {
	return s.change(r, "signal", func(from api.PartyID) (matcher.Outcome, error) { return s.Matcher.Submit(ctx, from, sub) })
}

func (s *Server) act(ctx context.Context, r *http.Request, req api.ActRequest) (int, api.Accepted, error) {
	status, accepted, err := s.change(r, "act", func(from api.PartyID) (matcher.Outcome, error) { return s.Matcher.Act(ctx, from, req) })
	if status == http.StatusCreated {
		status = http.StatusOK // an act creates nothing
	}
	return status, accepted, err
}

func (s *Server) change(r *http.Request, what string, do func(api.PartyID) (matcher.Outcome, error)) (int, api.Accepted, error) {
	start := time.Now()
	from, err := s.caller(r)
	if err != nil {
		return 0, api.Accepted{}, err
	}
	out, err := do(from)
	s.metrics.observe(what, out.Created, err, time.Since(start))
	return statusOf(out.Created), out.Accepted, err
}

// maxImports is how many imports are worked on at a time, which bounds how long
// single signals wait behind them.
const maxImports = 2

// comeAgain is when a party may try an import again for which there is no room.
const comeAgain = 2 * time.Second

var errBusy = errors.New("exchange: busy with other imports")

// oneEach lets one request of a party through at a time, which bounds the memory that
// bodies take. Whoever does not finish his keeps nobody but himself waiting.
func (s *Server) oneEach(next http.Handler) http.Handler {
	var busy sync.Map
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, err := s.caller(r)
		if err != nil {
			edge.WriteProblem(w, api.CodeOf(err).Problem())
			return
		}
		if _, already := busy.LoadOrStore(from, true); already {
			w.Header().Set("Retry-After", strconv.Itoa(int(comeAgain/time.Second)))
			edge.WriteProblem(w, api.CodeUnavailable.Problem())
			return
		}
		defer busy.Delete(from)
		next.ServeHTTP(w, r)
	})
}

// imports answers line by line, in the order of the submissions.
func (s *Server) imports(ctx context.Context, r *http.Request, lines []edge.Line[api.Submission]) ([]api.Imported, error) {
	from, err := s.caller(r)
	if err != nil {
		return nil, err
	}
	select {
	case s.importing <- struct{}{}:
		defer func() { <-s.importing }()
	default:
		return nil, api.RefuseFor(api.CodeUnavailable, errBusy, comeAgain)
	}
	start := time.Now()
	subs := make([]api.Submission, len(lines))
	for i, line := range lines {
		subs[i] = line.Value
	}
	got, err := s.Matcher.Import(ctx, from, subs)
	if err != nil {
		return nil, err
	}
	answers := make([]api.Imported, len(lines))
	for i, one := range got {
		if lines[i].Fault != nil { // an empty submission was refused in its place
			one.Refused = lines[i].Fault
		}
		s.metrics.observe("import", one.Created, one.Refused, time.Since(start))
		if one.Refused != nil {
			code := api.CodeOf(one.Refused)
			answers[i] = api.Imported{Status: code.Refusal().Status, Code: code}
			continue
		}
		answers[i] = api.Imported{Status: statusOf(one.Created), SID: one.SID, Rev: one.Rev, Receipt: &one.Receipt}
	}
	return answers, nil
}

func statusOf(created bool) int {
	if created {
		return http.StatusCreated
	}
	return http.StatusOK
}

func (s *Server) events(ctx context.Context, r *http.Request) (int, api.Events, error) {
	from, err := s.caller(r)
	if err != nil {
		return 0, api.Events{}, err
	}
	query := r.URL.Query()
	wait, err := bounded(query.Get("wait"), 0, api.MaxWait)
	if err != nil {
		return 0, api.Events{}, err
	}
	limit, err := bounded(query.Get("limit"), api.MaxEvents, api.MaxEvents)
	if err != nil || limit == 0 {
		return 0, api.Events{}, api.Refuse(api.CodeMalformed, err)
	}
	s.metrics.polls.Inc()
	defer s.metrics.polls.Dec()
	out, err := registry.Deliver(ctx, s.Matcher.Store, from, query.Get("cursor"), limit, time.Duration(wait)*time.Second, s.Matcher.Now())
	s.metrics.delivered.Add(float64(len(out.Items)))
	return http.StatusOK, out, err
}

// bounded reads a whole number from 0 to most; an absent one is fallback.
func bounded(text string, fallback, most int) (int, error) {
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > most {
		return 0, api.Refuse(api.CodeMalformed, errors.New("exchange: a number in the query is outside its bounds"))
	}
	return n, nil
}

// Health is the body of /health.
type Health struct {
	Status string `json:"status"`
}

func (s *Server) health(ctx context.Context, _ *http.Request) (int, Health, error) {
	man, dir := s.Matcher.Trust()
	if now := s.Matcher.Now(); now.After(man.NotAfter) || now.After(dir.NotAfter) {
		return http.StatusServiceUnavailable, Health{Status: "manifest or directory expired"}, nil
	}
	if err := s.Matcher.Ready(ctx); err != nil {
		return http.StatusServiceUnavailable, Health{Status: "the epoch in force is not the store's"}, nil
	}
	return http.StatusOK, Health{Status: "ok"}, nil
}
