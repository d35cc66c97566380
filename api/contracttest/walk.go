// SPDX-License-Identifier: EUPL-1.2

// Package contracttest walks every operation of an OpenAPI file against a server that
// runs, for tests: a good call, each kind of bad input, missing and foreign identity,
// wrong method, media type and Accept, a trailing slash, an oversized body.
//
// What is good the caller says, one [Call] for each operation; an operation without
// one fails the test. Who may not do it he says too, in [Stranger]. All else follows
// from the description. Every answer is held against it, headers and refusals
// included: a status that the operation does not list is a fault. A refusal is a
// problem, and repeats nothing of what was sent.
package contracttest

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/seinhuis/seinhuis/api/edge"
)

// A Call is a good call of an operation.
type Call struct {
	Path   map[string]string // parameters of the path
	Query  string            // without the question mark
	Header map[string]string
	Body   string // the more of its fields are there, the more is tried
	Status int    // of the answer; zero for any below 300
}

// A Contract is a server and what it is to keep.
type Contract struct {
	Description *edge.Description
	Admits      func(*edge.Operation) bool // nil: all
	URL         string                     // scheme and host
	Known       func(*edge.Operation) Caller
	Strangers   map[string]Stranger // by name; operations that are open to anybody have none
	Calls       map[string]Call     // by operationId
	Secrets     []string            // of what the calls send: no refusal may hold them
	Version     string              // in API-Version
}

// A Caller makes a request somebody's, and gives the answer.
type Caller = func(*http.Request) (*http.Response, error)

// Always is one caller for all operations.
func Always(c Caller) func(*edge.Operation) Caller {
	return func(*edge.Operation) Caller { return c }
}

// A Stranger is somebody who may not do an operation: one without identity, with
// another's, with one that ended, or with too few rights.
type Stranger struct {
	Status int                          // with which he is refused
	Of     func(*edge.Operation) Caller // nil for an operation that he may do
}

// Canary is sent in every bad place, and its digits where a number goes; no answer may
// hold them.
const (
	Canary       = "CANARY-" + CanaryDigits
	CanaryDigits = "910000016"
	canaryNumber = 910000016
)

// Walk tries everything.
func (c Contract) Walk(t *testing.T) {
	tried := map[string]bool{}
	for _, op := range c.Description.Operations() {
		if c.Admits != nil && !c.Admits(op) {
			continue
		}
		tried[op.ID] = true
		t.Run(op.ID, func(t *testing.T) {
			call, ok := c.Calls[op.ID]
			if !ok {
				t.Fatalf("%s %s has no good call in the table: add a row for %s", op.Method, op.Path, op.ID)
			}
			w := &walk{Contract: c, t: t, op: op, call: call, path: op.Path}
			for name, value := range call.Path {
				w.path = strings.ReplaceAll(w.path, "{"+name+"}", value)
			}
			w.refusals()
			w.parameters()
			w.bodies()
			w.good()
		})
	}
	for id := range c.Calls {
		if !tried[id] {
			t.Errorf("there is no operation %s", id)
		}
	}
}

type walk struct {
	Contract
	t    *testing.T
	op   *edge.Operation
	call Call
	path string
}

// ask sends the good call, changed.
func (w *walk) ask(name string, send Caller, change func(*http.Request), body string) (*http.Response, []byte) {
	w.t.Helper()
	url := w.URL + w.path
	if w.call.Query != "" {
		url += "?" + w.call.Query
	}
	r, err := http.NewRequestWithContext(w.t.Context(), w.op.Method, url, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, key := range []string{"User-Agent", "Referer", "Cookie", "Traceparent", "X-Request-Id"} { // that nobody asked for
		r.Header.Set(key, "a="+Canary)
	}
	for key, value := range w.call.Header {
		r.Header.Set(key, value)
	}
	if w.op.RequestBody != nil {
		r.Header.Set("Content-Type", w.media())
	}
	if change != nil {
		change(r)
	}
	resp, err := send(r)
	if err != nil {
		w.t.Fatalf("%s: %v", name, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatalf("%s: %v", name, err)
	}
	w.answer(name, r, resp, text)
	return resp, text
}

func (w *walk) media() string {
	return slices.Sorted(maps.Keys(w.op.RequestBody.Value.Content))[0]
}

// answer is what holds of every answer.
func (w *walk) answer(name string, r *http.Request, resp *http.Response, text []byte) {
	w.t.Helper()
	for header, want := range map[string]string{
		"API-Version": w.Version, "Cache-Control": "no-store", "Content-Security-Policy": "frame-ancestors 'none'",
		"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
	} {
		if got := resp.Header.Get(header); got != want {
			w.t.Errorf("%s: %s is %q", name, header, got)
		}
	}
	if resp.Header.Get("Strict-Transport-Security") == "" {
		w.t.Errorf("%s: no Strict-Transport-Security", name)
	}
	if resp.StatusCode >= 500 {
		w.t.Errorf("%s: %s %s", name, resp.Status, text)
	}
	all := fmt.Sprint(resp.Header) + string(text)
	if strings.Contains(all, CanaryDigits) {
		w.t.Errorf("%s: the answer repeats what was sent: %s", name, all)
	}
	if r.Method == w.op.Method && !strings.HasSuffix(r.URL.Path, "/") { // else it is another operation's, or none's
		w.described(name, r, resp, text)
	}
	if resp.StatusCode < 400 || r.Method == http.MethodHead {
		return
	}
	if challenge := resp.Header.Get("WWW-Authenticate"); resp.StatusCode == http.StatusUnauthorized && w.bearer() && !strings.HasPrefix(challenge, "Bearer") {
		w.t.Errorf("%s: WWW-Authenticate is %q", name, challenge)
	}
	for _, secret := range w.Secrets {
		if strings.Contains(all, secret) {
			w.t.Errorf("%s: the refusal repeats %q", name, secret)
		}
	}
	var problem struct {
		Type, Title, Detail string
		Status              int
	}
	if err := json.Unmarshal(text, &problem); err != nil || resp.Header.Get("Content-Type") != "application/problem+json" ||
		problem.Status != resp.StatusCode || problem.Title == "" || problem.Detail == "" || !strings.HasPrefix(problem.Type, "urn:") {
		w.t.Errorf("%s: %s is no problem: %s", name, resp.Status, text)
	}
}

// bearer tells whether callers are known by a token.
func (w *walk) bearer() bool {
	return slices.ContainsFunc(w.op.Callers, func(scheme string) bool {
		return strings.EqualFold(w.Description.Doc().Components.SecuritySchemes[scheme].Value.Scheme, "bearer")
	})
}

func (w *walk) want(name string, status int, change func(*http.Request), body string) *http.Response {
	w.t.Helper()
	resp, text := w.ask(name, w.Known(w.op), change, body)
	if resp.StatusCode != status {
		w.t.Errorf("%s: %s, want %d: %s", name, resp.Status, status, text)
	}
	return resp
}

// good makes the good call.
func (w *walk) good() {
	if len(w.op.Callers) == 0 && w.op.Method == http.MethodGet {
		resp, text := w.ask("HEAD", w.Known(w.op), func(r *http.Request) { r.Method = http.MethodHead }, "")
		if resp.StatusCode >= 300 || len(text) > 0 {
			w.t.Errorf("HEAD: %s %s", resp.Status, text)
		}
	}
	resp, text := w.ask("good", w.Known(w.op), nil, w.call.Body)
	if w.call.Status != 0 && resp.StatusCode != w.call.Status || w.call.Status == 0 && resp.StatusCode >= 300 {
		w.t.Errorf("good: %s %s", resp.Status, text)
	}
}

// described holds an answer against what the description says of its status.
func (w *walk) described(name string, r *http.Request, resp *http.Response, text []byte) {
	w.t.Helper()
	media, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	readable := media == "application/json" || media == "application/problem+json" || media == "text/plain"
	doc := w.Description.Doc()
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{
			Request: r, Route: &routers.Route{Spec: doc, Path: w.op.Path, Method: w.op.Method, Operation: w.op.Operation},
		},
		Status: resp.StatusCode, Header: resp.Header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true, ExcludeResponseBody: !readable},
	}
	input.SetBodyBytes(text)
	if err := openapi3filter.ValidateResponse(r.Context(), input); err != nil {
		w.t.Errorf("%s: %d is not as described: %v", name, resp.StatusCode, err)
	}
	of := w.op.Responses.Status(resp.StatusCode)
	if of == nil {
		of = w.op.Responses.Default()
	}
	if of == nil || of.Value.Content[media] == nil {
		return
	}
	var value any
	if json.Unmarshal(text, &value) == nil {
		for _, field := range undescribed(of.Value.Content[media].Schema, value, "") {
			w.t.Errorf("%s: the answer has a field that is not described: %s", name, field)
		}
	}
}

// undescribed are the fields of an answer that its schema does not have.
func undescribed(ref *openapi3.SchemaRef, value any, at string) (list []string) {
	if ref == nil {
		return nil
	}
	s := ref.Value
	switch v := value.(type) {
	case []any:
		for _, one := range v {
			list = append(list, undescribed(s.Items, one, at)...)
		}
	case map[string]any:
		if len(s.Properties) == 0 || len(s.AllOf)+len(s.OneOf)+len(s.AnyOf) > 0 {
			return nil // anything may be in it, or it is put together
		}
		for name, one := range v {
			property, ok := s.Properties[name]
			if !ok {
				list = append(list, at+"."+name)
			}
			list = append(list, undescribed(property, one, at+"."+name)...)
		}
	}
	return list
}

// refusals are those that do not depend on the input.
func (w *walk) refusals() {
	body := w.call.Body
	if len(w.op.Callers) > 0 {
		for name, stranger := range w.Strangers {
			send := stranger.Of(w.op)
			if send == nil {
				continue
			}
			if resp, text := w.ask(name, send, nil, body); resp.StatusCode != stranger.Status {
				w.t.Errorf("%s: %s, want %d: %s", name, resp.Status, stranger.Status, text)
			}
		}
	}
	if w.produces() {
		w.want("accept", http.StatusNotAcceptable, func(r *http.Request) { r.Header.Set("Accept", "image/"+Canary) }, body)
	}
	w.want("trailing slash", http.StatusNotFound, func(r *http.Request) { r.URL.Path += "/" }, body)
	allow := w.allow()
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", Canary} {
		if slices.Contains(allow[:len(allow)-1], method) {
			continue
		}
		status := http.StatusMethodNotAllowed
		if method == http.MethodOptions {
			status = http.StatusNoContent
		}
		resp := w.want("method "+method, status, func(r *http.Request) { r.Method = method }, "")
		if got := resp.Header.Get("Allow"); got != strings.Join(allow, ", ") {
			w.t.Errorf("method %s: Allow is %q, want %q", method, got, strings.Join(allow, ", "))
		}
	}
	if w.op.RequestBody == nil {
		return
	}
	w.want("media type", http.StatusUnsupportedMediaType, func(r *http.Request) { r.Header.Set("Content-Type", "text/"+Canary) }, body)
	w.want("no media type", http.StatusUnsupportedMediaType, func(r *http.Request) { r.Header.Del("Content-Type") }, body)
	w.want("oversized", http.StatusRequestEntityTooLarge, nil, strings.Repeat(" ", int(w.op.Limit))+body)
}

// produces tells whether there is something to accept when all is well.
func (w *walk) produces() bool {
	for status, response := range w.op.Responses.Map() {
		if strings.HasPrefix(status, "2") && len(response.Value.Content) > 0 {
			return true
		}
	}
	return false
}

// allow is what Allow has to say of the path.
func (w *walk) allow() (list []string) {
	for _, op := range w.Description.Operations() {
		if op.Path != w.op.Path || w.Admits != nil && !w.Admits(op) {
			continue
		}
		list = append(list, op.Method)
		if op.Method == http.MethodGet && len(op.Callers) == 0 {
			list = append(list, http.MethodHead)
		}
	}
	return append(list, http.MethodOptions)
}
