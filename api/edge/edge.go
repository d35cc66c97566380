// SPDX-License-Identifier: EUPL-1.2

// Package edge is what every HTTP listener of ours does alike.
//
// A handler is a function from a decoded request to an answer or an error. [JSON]
// and [Get] do the rest, in one order:
//
//	Accept (406) ─ media type (415) ─ limit (413) ─ strict decoding (400) ─ fn ─ answer
//	                                                    error or panic ─ problem+json ─ log
//
// An [api.Error] becomes the status and the fixed text of its code; anything else
// is a 500. The caller never reads a cause, and the log gets one only for a 5xx.
// No request is logged by itself: who asked when is knowledge that our parts must
// not gather.
//
// Who asks is settled twice: [ServerTLS] lets only known keys in, and fn asks
// [PeerKey] again, because a key can be revoked while its connection stands.
package edge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// Headers sets, on every response, errors included, the headers that the Dutch
// API Design Rules ask for.
func Headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("API-Version", api.Version)
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "frame-ancestors 'none'")
		h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		next.ServeHTTP(w, r)
	})
}

var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
}

// Router is a gorilla/mux router that never redirects (a trailing or a double
// slash is another path, so 404), answers 404 and 405 with a problem, sends Allow
// with a 405, and answers OPTIONS with 204 and Allow. A GET route answers HEAD
// only if it is registered for both.
func Router() *mux.Router {
	router := mux.NewRouter().SkipClean(true)
	// mux 1.8.1 forgets a method mismatch when a later route shares a prefix, and
	// takes it for 404; so the routes themselves are asked, in either case.
	unmatched := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		list := allowed(router, r)
		if len(list) == 0 {
			WriteProblem(w, api.CodeNotFound.Problem())
			return
		}
		w.Header().Set("Allow", strings.Join(append(list, http.MethodOptions), ", "))
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		WriteProblem(w, api.CodeMethod.Problem())
	})
	router.NotFoundHandler, router.MethodNotAllowedHandler = unmatched, unmatched
	return router
}

func allowed(router *mux.Router, r *http.Request) []string {
	var list []string
	for _, method := range methods {
		asked := r.Clone(r.Context())
		asked.Method = method
		var match mux.RouteMatch
		if router.Match(asked, &match) && match.MatchErr == nil {
			list = append(list, method)
		}
	}
	return list
}

// WriteProblem answers with application/problem+json (RFC 9457).
func WriteProblem(w http.ResponseWriter, p api.Problem) {
	body, err := json.Marshal(p)
	if err != nil { // a struct of strings and numbers
		panic(err)
	}
	write(w, p.Status, "application/problem+json", body)
}

func write(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body) // who went away meanwhile asks again
}

// bodyTime is how long a client may take to send a body. It is apart from the
// server's ReadTimeout, which has to be longer than a long poll.
const bodyTime = 15 * time.Second

// JSON handles requests with a JSON body of at most limit bytes. fn gets the
// decoded body, and gives the status and the body of the answer, or an error.
func JSON[Req, Resp any](limit int64, log *slog.Logger, fn func(ctx context.Context, r *http.Request, req Req) (status int, resp Resp, err error)) http.Handler {
	return handler(log, "application/json", func(w http.ResponseWriter, r *http.Request) (int, []byte, error) {
		var req Req
		body, err := readBody(w, r, "application/json", limit, bodyTime)
		if err != nil {
			return 0, nil, err
		}
		if err := encoding.UnmarshalJSON(body, &req); err != nil {
			return 0, nil, api.Refuse(api.CodeMalformed, err)
		}
		return marshal(fn(r.Context(), r, req))
	})
}

// Get handles requests without a body. Its context ends when the client goes
// away and when the server closes, so that a long poll does not hold it up.
func Get[Resp any](log *slog.Logger, fn func(ctx context.Context, r *http.Request) (status int, resp Resp, err error)) http.Handler {
	return handler(log, "application/json", func(_ http.ResponseWriter, r *http.Request) (int, []byte, error) {
		ctx, cancel := whileServing(r.Context())
		defer cancel()
		return marshal(fn(ctx, r))
	})
}

// Text handles requests for plain text: signed notes, above all.
func Text(log *slog.Logger, fn func(ctx context.Context, r *http.Request) (text []byte, err error)) http.Handler {
	return handler(log, "text/plain; charset=utf-8", func(_ http.ResponseWriter, r *http.Request) (int, []byte, error) {
		text, err := fn(r.Context(), r)
		return http.StatusOK, text, err
	})
}

func marshal[Resp any](status int, resp Resp, err error) (int, []byte, error) {
	if err != nil {
		return 0, nil, err
	}
	body, err := json.Marshal(resp)
	return status, body, err
}

func handler(log *slog.Logger, contentType string, do func(http.ResponseWriter, *http.Request) (int, []byte, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, body, err := func() (status int, body []byte, err error) {
			defer recovered(&err)
			if !acceptable(r, contentType) {
				return 0, nil, api.Refuse(api.CodeNotAcceptable, nil)
			}
			return do(w, r)
		}()
		switch {
		case err == nil:
			write(w, status, contentType, body)
		case r.Context().Err() != nil: // nobody is left to read the answer
		case errors.Is(err, context.Canceled): // we are closing
			refuse(w, r, log, api.Refuse(api.CodeUnavailable, err))
		default:
			refuse(w, r, log, err)
		}
	})
}

func refuse(w http.ResponseWriter, r *http.Request, log *slog.Logger, err error) {
	code := api.CodeOf(err)
	problem := code.Problem()
	e, ok := errors.AsType[*api.Error](err)
	later := ok && e.RetryAfter > 0 // nothing is wrong
	if later {
		seconds := (e.RetryAfter + time.Second - 1) / time.Second
		w.Header().Set("Retry-After", strconv.Itoa(int(seconds)))
	}
	level := slog.LevelDebug
	if problem.Status >= http.StatusInternalServerError && !later {
		level = slog.LevelError
	}
	log.Log(r.Context(), level, "request refused", "route", route(r), "code", code, "cause", err)
	WriteProblem(w, problem)
}

// route is the template of the path, which, unlike the path, holds no values.
func route(r *http.Request) string {
	if current := mux.CurrentRoute(r); current != nil {
		if template, err := current.GetPathTemplate(); err == nil {
			return template
		}
	}
	return ""
}

// recovered makes an error of a panic.
func recovered(err *error) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v)
	}
	*err = Panicked(v)
}

// Panicked is an error that tells the place and the type of a panic that was just
// recovered, but not its value, which can hold anything.
func Panicked(v any) error {
	pc := make([]uintptr, 16)
	frames := runtime.CallersFrames(pc[:runtime.Callers(2, pc)])
	var places []string
	for {
		frame, more := frames.Next()
		if !strings.HasPrefix(frame.Function, "runtime.") {
			places = append(places, fmt.Sprintf("%s:%d", frame.Function, frame.Line))
		}
		if !more || len(places) == 5 {
			break
		}
	}
	return fmt.Errorf("edge: panic of type %T in %s", v, strings.Join(places, " < "))
}

func readBody(w http.ResponseWriter, r *http.Request, want string, limit int64, within time.Duration) ([]byte, error) {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset, ok := params["charset"]
	if err != nil || media != want || ok && !strings.EqualFold(charset, "utf-8") || r.Header.Get("Content-Encoding") != "" {
		return nil, api.Refuse(api.CodeMediaType, nil)
	}
	// A writer without deadlines is a test's recorder, and a test's body is there.
	deadlines := http.NewResponseController(w)
	_ = deadlines.SetReadDeadline(time.Now().Add(within))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	_ = deadlines.SetReadDeadline(time.Time{})
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, api.Refuse(api.CodeTooLarge, nil)
	}
	if err != nil {
		return nil, api.Refuse(api.CodeMalformed, err)
	}
	return body, nil
}

// acceptable reads Accept as RFC 9110 section 12.5.1 has it: the most specific
// range that fits decides, and q=0 refuses.
func acceptable(r *http.Request, contentType string) bool {
	accept := strings.Join(r.Header.Values("Accept"), ",")
	if accept == "" {
		return true
	}
	media, _, _ := strings.Cut(contentType, ";")
	kind, _, _ := strings.Cut(media, "/")
	best, ok := -1, false
	for part := range strings.SplitSeq(accept, ",") {
		got, params, err := mime.ParseMediaType(part)
		specific := map[string]int{"*/*": 0, kind + "/*": 1, media: 2}
		if n, fits := specific[got]; err == nil && fits && n > best {
			q, err := strconv.ParseFloat(params["q"], 64)
			best, ok = n, err != nil || q > 0
		}
	}
	return ok
}
