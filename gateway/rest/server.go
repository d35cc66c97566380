// SPDX-License-Identifier: EUPL-1.2

package rest

import (
	"context"
	_ "embed"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/mux"

	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/gateway"
)

//go:embed openapi.yaml
var openapi []byte

// bodyTime is how long a body may take to come: the largest is 1 MiB, and a case
// system can be behind a slow line.
const bodyTime = time.Minute

// description is read once, however many handlers there are.
var description = sync.OnceValues(func() (*edge.Description, error) { return edge.Load(openapi) })

type server struct {
	gateway *gateway.Gateway
	log     *slog.Logger
	service *edge.Service
	rules   map[string]rule // who may do what, by operation
	closing context.Context
	streams streams
}

// NewHandler makes the handler that serves the API of a gateway. When ctx ends, what waits for news answers
// at once.
func NewHandler(ctx context.Context, g *gateway.Gateway, log *slog.Logger) (http.Handler, error) {
	description, err := description()
	if err != nil {
		return nil, err
	}
	s := &server{gateway: g, log: log, closing: ctx}
	if s.rules, err = rulesOf(description.Doc()); err != nil {
		return nil, err
	}
	s.service = &edge.Service{
		Description: description, Log: log, Who: s.authenticate, Refuse: s.refuse, More: withContent, BodyTime: bodyTime,
	}
	strict := NewStrictHandlerWithOptions(&operations{s}, []StrictMiddlewareFunc{whileValid}, StrictHTTPServerOptions{
		RequestErrorHandlerFunc: s.service.Unbound, ResponseErrorHandlerFunc: s.service.Fail,
	})
	return edge.Headers(s.service.Router(func(r *mux.Router) {
		HandlerWithOptions(strict, GorillaServerOptions{BaseRouter: r, ErrorHandlerFunc: s.service.Unbound})
	}, nil)), nil
}

// refuse answers with the problem that belongs to an error. Only what is our own
// fault is logged, and then by its route.
func (s *server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	if p.status == http.StatusInternalServerError {
		s.log.Error("request failed", "route", edge.Route(r), "cause", err)
	}
	writeProblem(w, p)
}

// waiting is the request's context while the gateway serves.
func (s *server) waiting(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.closing, cancel)
	return ctx, func() { stop(); cancel() }
}
