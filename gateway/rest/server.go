// SPDX-License-Identifier: EUPL-1.2

package rest

import (
	"context"
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gorilla/mux"

	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/gateway"
)

// Bytes of a body; a report of 100 persons is a tenth of the first, and 500 rows of
// an import that each have a card are two thirds of the other.
const (
	maxBody = 256 << 10
	maxRows = 1 << 20
)

type server struct {
	gateway *gateway.Gateway
	log     *slog.Logger
	spec    *openapi3.T
	json    map[string]any // the description, as it is served
	names   map[string]bool
	rules   map[string]rule // who may do what, by operation
	closing context.Context
}

// NewHandler makes the handler that serves the API of a gateway. When ctx ends, what waits for news answers
// at once.
func NewHandler(ctx context.Context, g *gateway.Gateway, log *slog.Logger) (http.Handler, error) {
	s := &server{gateway: g, log: log, closing: ctx}
	if err := s.loadSpec(); err != nil {
		return nil, err
	}
	router := edge.Router()
	router.NotFoundHandler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { writeProblem(w, &problemPath) })
	router.MethodNotAllowedHandler = methodNotAllowed(router)
	router.Use(s.authenticate, s.validate)
	strict := NewStrictHandlerWithOptions(&operations{s}, []StrictMiddlewareFunc{whileValid}, StrictHTTPServerOptions{
		RequestErrorHandlerFunc:  func(w http.ResponseWriter, r *http.Request, err error) { s.refuse(w, r, inputProblem(nil)) },
		ResponseErrorHandlerFunc: s.refuse,
	})
	HandlerWithOptions(strict, GorillaServerOptions{
		BaseRouter:       router,
		ErrorHandlerFunc: func(w http.ResponseWriter, r *http.Request, err error) { s.refuse(w, r, inputProblem(nil)) },
	})
	return edge.Headers(s.recovered(router)), nil
}

// refuse answers with the problem that belongs to an error. Only what is our own
// fault is logged, and then by its route.
func (s *server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	if p.status >= http.StatusInternalServerError {
		s.log.Error("request failed", "route", template(r), "cause", err)
	}
	writeProblem(w, p)
}

// template is the route's path, which, unlike the request's, holds no values.
func template(r *http.Request) string {
	if route := mux.CurrentRoute(r); route != nil {
		if path, err := route.GetPathTemplate(); err == nil {
			return path
		}
	}
	return ""
}

// recovered answers a panic. It logs its place and type, never its value.
func (s *server) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if v := recover(); v != nil {
				if v == http.ErrAbortHandler {
					panic(v)
				}
				s.log.Error("request failed", "route", template(r), "cause", edge.Panicked(v))
				writeProblem(w, &problemOurs)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

var methods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

func methodNotAllowed(router *mux.Router) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var allow []string
		for _, method := range methods {
			asked := r.Clone(r.Context())
			asked.Method = method
			var match mux.RouteMatch
			if router.Match(asked, &match) && match.MatchErr == nil {
				allow = append(allow, method)
			}
		}
		w.Header().Set("Allow", strings.Join(append(allow, http.MethodOptions), ", "))
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		writeProblem(w, &problemMethod)
	})
}

// operation finds what the description says of a request that was routed.
func (s *server) operation(r *http.Request) (*openapi3.PathItem, *openapi3.Operation) {
	item := s.spec.Paths.Find(template(r))
	return item, item.GetOperation(r.Method)
}

func acceptable(r *http.Request) bool {
	accept := strings.Join(r.Header.Values("Accept"), ",")
	if accept == "" {
		return true
	}
	for part := range strings.SplitSeq(accept, ",") {
		kind, params, err := mime.ParseMediaType(part)
		if err == nil && params["q"] != "0" && (kind == "*/*" || kind == "application/*" || kind == "application/json") {
			return true
		}
	}
	return false
}

// waiting is the request's context while the gateway serves.
func (s *server) waiting(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.closing, cancel)
	return ctx, func() { stop(); cancel() }
}

var errSpec = errors.New("rest: the embedded description cannot be read")
