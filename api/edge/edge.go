// SPDX-License-Identifier: EUPL-1.2

// Package edge is what every HTTP listener of ours does alike.
//
// An OpenAPI file is written first ([Description]); types, routes and the decoding
// of parameters are generated from it. A [Service] holds each request against it
// before the generated code sees it, in one order:
//
//	path (404) ─ method (405) ─ who asks (401, 403) ─ Accept (406) ─ media type (415) ─
//	size (413) ─ JSON, parameters and body as described (400) ─ the operation
//	                                          error or panic ─ problem+json ─ log
//
// An [api.Error] becomes the status and the fixed text of its code; anything else
// is a 500. The caller never reads a cause, and the log gets one only for a 5xx.
// What is wrong with the input is told all at once, by place and rule, never by
// value ([api.Fault]).
// No request is logged by itself: who asked when is knowledge that our parts must
// not gather.
//
// Who asks is settled twice: [ServerTLS] lets only known keys in, and Service.Who
// asks [PeerKey] again, because a key can be revoked while its connection stands.
package edge

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"runtime"
	"strconv"
	"strings"

	"github.com/gorilla/mux"

	"github.com/seinhuis/seinhuis/api"
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
	return router(func(w http.ResponseWriter, _ *http.Request, err error) { WriteProblem(w, api.CodeOf(err).Problem()) })
}

func router(refuse func(http.ResponseWriter, *http.Request, error)) *mux.Router {
	router := mux.NewRouter().SkipClean(true)
	// mux 1.8.1 forgets a method mismatch when a later route shares a prefix, and
	// takes it for 404; so the routes themselves are asked, in either case.
	unmatched := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		list := allowed(router, r)
		if len(list) == 0 {
			refuse(w, r, api.Refuse(api.CodeNotFound, nil))
			return
		}
		w.Header().Set("Allow", strings.Join(append(list, http.MethodOptions), ", "))
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		refuse(w, r, api.Refuse(api.CodeMethod, nil))
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
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(p.Status)
	w.Write(body) // who went away meanwhile asks again
}

// Route is the template of a request's path, which, unlike the path, holds no values.
func Route(r *http.Request) string {
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
	*err = panicked(v)
}

// panicked is an error that tells the place and the type of a panic that was just
// recovered, but not its value, which can hold anything.
func panicked(v any) error {
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

// Accepts tells whether an answer of this media type will do. It reads Accept as RFC 9110 section 12.5.1 has it: the most specific
// range that fits decides, and q=0 refuses.
func Accepts(r *http.Request, contentType string) bool {
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
