// SPDX-License-Identifier: EUPL-1.2

package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gorilla/mux"

	"github.com/seinhuis/seinhuis/api"
)

// A Service serves operations of a description on one listener.
type Service struct {
	Description *Description
	Log         *slog.Logger
	// Who finds out who asks, and puts him into the context that the operation gets; or
	// refuses. done, if there is one, is called when the operation has ended. It is not
	// asked about operations that are open to anybody.
	Who func(w http.ResponseWriter, r *http.Request, op *Operation) (ctx context.Context, done func(), err error)

	// What is zero or nil below has a default.

	// Refuse answers with the problem that belongs to an error: an *api.Error, or what
	// an operation gave. Without it, problems are [api.Problem] in English.
	Refuse func(w http.ResponseWriter, r *http.Request, err error)
	// More adds to the faults of a body what else is wrong with it, so that all is told
	// at once.
	More func(r *http.Request, op *Operation, body []byte, faults []api.Fault) []api.Fault
	// BodyTime is how long a client may take to send a body; without it 15 seconds,
	// and a minute for lines. It is apart from the server's ReadTimeout, which has to be
	// longer than a long poll.
	BodyTime time.Duration
}

// Router routes to the generated code: register puts the generated routes on a
// router, and those that admits lets through (nil: all) are taken from it. A route
// that the description does not have is a mistake in the build, and panics.
func (s *Service) Router(register func(*mux.Router), admits func(*Operation) bool) *mux.Router {
	generated, own := mux.NewRouter(), router(s.Fail)
	register(generated)
	err := generated.Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		path, err := route.GetPathTemplate()
		if err != nil {
			return err
		}
		list, err := route.GetMethods()
		if err != nil {
			return err
		}
		for _, method := range list {
			op := s.Description.operation(path, method)
			if op == nil {
				return fmt.Errorf("%w: it does not have %s %s, which was generated", ErrDescription, method, path)
			}
			if admits == nil || admits(op) {
				own.Handle(op.Path, s.handler(op, route.GetHandler())).Methods(op.methods()...)
			}
		}
		return nil
	})
	if err != nil {
		panic(err)
	}
	return own
}

// Public admits what anybody may call.
func Public(op *Operation) bool { return len(op.Callers) == 0 }

// handler does, for one operation, what comes before the generated code.
func (s *Service) handler(op *Operation, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := func() (err error) {
			defer recovered(&err)
			if len(op.Callers) > 0 {
				ctx, done, err := s.Who(w, r, op)
				if err != nil {
					return err
				}
				if done != nil {
					defer done()
				}
				r = r.WithContext(ctx)
			}
			if err := s.admit(w, r, op); err != nil {
				return err
			}
			if op.Method == http.MethodGet { // it waits, if it does, for news only
				ctx, cancel := whileServing(r.Context())
				defer cancel()
				r = r.WithContext(ctx)
			}
			next.ServeHTTP(w, r)
			return nil
		}()
		if err != nil {
			s.Fail(w, r, err)
		}
	})
}

// admit holds a request against the description. A JSON body has then been read and
// taken apart; the generated code goes on with what was validated. Any other body is
// left to the operation, behind its limits.
func (s *Service) admit(w http.ResponseWriter, r *http.Request, op *Operation) error {
	faults := queryFaults(r, op)
	dropEmpty(r, op)
	ok := len(op.produces) == 0
	for _, media := range op.produces {
		ok = ok || Accepts(r, media)
	}
	if !ok {
		return api.Refuse(api.CodeNotAcceptable, nil)
	}
	var body []byte
	var inBody []api.Fault
	if op.RequestBody != nil {
		media, err := mediaType(r, op)
		if err != nil {
			return err
		}
		s.limit(w, r, op, media)
		if media == mediaJSON {
			if body, err = readAll(r.Body); err != nil {
				return err
			}
			value, fault, err := s.Description.parse(body, op.Limit)
			if err != nil {
				return err
			}
			if fault == nil {
				inBody = s.Description.bodyFaults(op, value)
			} else {
				inBody = []api.Fault{*fault}
			}
			r.Body = validated{value}
		}
	}
	for _, fault := range slices.Concat(parameterFaults(r, op), inBody) {
		faults = add(faults, fault)
	}
	if len(faults) == 0 {
		return nil
	}
	if s.More != nil {
		faults = s.More(r, op, body, faults)
	}
	return api.RefuseInput(faults)
}

// dropEmpty takes a parameter without a value for one that is not there, as
// generated clients send it.
func dropEmpty(r *http.Request, op *Operation) {
	for _, p := range op.parameters {
		if p.In == openapi3.ParameterInHeader && r.Header.Get(p.Name) == "" {
			r.Header.Del(p.Name)
		}
	}
	if !strings.Contains(r.URL.RawQuery, "=") {
		return
	}
	query := r.URL.Query()
	for name, values := range query {
		if len(values) == 1 && values[0] == "" {
			query.Del(name)
		}
	}
	r.URL.RawQuery = query.Encode()
}

// mediaType finds the media type of a body among those that are described.
func mediaType(r *http.Request, op *Operation) (string, error) {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset, ok := params["charset"]
	if err != nil || op.RequestBody.Value.Content[media] == nil || ok && !strings.EqualFold(charset, "utf-8") || r.Header.Get("Content-Encoding") != "" {
		return "", api.Refuse(api.CodeMediaType, nil)
	}
	return media, nil
}

// Fail answers with the problem that belongs to an error. It is what generated code
// calls when an operation gives one.
func (s *Service) Fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, context.Canceled) { // we are closing, or nobody is left to read the answer
		err = api.Refuse(api.CodeUnavailable, err)
	}
	e, ok := errors.AsType[*api.Error](err)
	if ok && e.RetryAfter > 0 {
		seconds := (e.RetryAfter + time.Second - 1) / time.Second
		w.Header().Set("Retry-After", strconv.Itoa(int(seconds)))
	}
	if s.Refuse != nil {
		s.Refuse(w, r, err)
		return
	}
	problem := api.CodeOf(err).Problem()
	level := slog.LevelDebug
	if ours := problem.Status >= http.StatusInternalServerError; ours && !errors.Is(err, context.Canceled) && !(ok && e.RetryAfter > 0) {
		level = slog.LevelError
	}
	if ok {
		problem.Errors = e.Faults
	}
	s.Log.Log(r.Context(), level, "request refused", "route", Route(r), "code", api.CodeOf(err), "cause", err)
	WriteProblem(w, problem)
}

// Unbound refuses what passed the description and yet does not fit the generated
// types. The error is theirs, and can hold what was sent; or it is ours, of a body that
// they read.
func (s *Service) Unbound(w http.ResponseWriter, r *http.Request, err error) {
	if own, ok := errors.AsType[*api.Error](err); ok {
		s.Fail(w, r, own)
		return
	}
	s.Fail(w, r, api.RefuseInput([]api.Fault{{In: "body", Code: api.FaultForm}}))
}
