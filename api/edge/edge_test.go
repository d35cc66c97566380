// SPDX-License-Identifier: EUPL-1.2

package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/mux"
	"github.com/oapi-codegen/runtime"

	"github.com/seinhuis/seinhuis/api"
)

type question struct {
	N int `json:"n"`
}

// described has every kind of operation.
const described = `
openapi: 3.0.3
info: {title: test, version: 1.0.0}
x-maxBytes: 64
servers: [{url: https://test.example/v1}]
security: [{party: []}]
paths:
  /doubles:
    post:
      operationId: double
      requestBody:
        required: true
        content: {application/json: {schema: {$ref: '#/components/schemas/Question'}}}
      responses: {'201': {description: twice, content: {application/json: {schema: {type: object}}}}}
  /ones/{id}:
    parameters:
      - {name: id, in: path, required: true, schema: {type: string, maxLength: 4}}
    get:
      operationId: one
      security: []
      parameters:
        - {name: wait, in: query, schema: {type: integer, maximum: 60}}
        - {name: Key, in: header, schema: {type: string, minLength: 1}}
      responses: {'200': {description: one, content: {application/json: {schema: {type: object}}}}}
    put:
      operationId: replace
      requestBody:
        required: true
        x-maxBytes: 65536
        content: {application/json: {schema: {$ref: '#/components/schemas/Question'}}}
      responses: {'200': {description: one, content: {application/json: {schema: {type: object}}}}}
  /notes:
    get:
      operationId: note
      responses: {'200': {description: a note, content: {'text/plain; charset=utf-8': {schema: {type: string}}}}}
    post:
      operationId: lines
      requestBody:
        required: true
        content: {application/x-ndjson: {schema: {type: string}}}
      responses: {'200': {description: how many, content: {application/json: {schema: {type: object}}}}}
components:
  securitySchemes: {party: {type: http, scheme: test}}
  schemas:
    Question:
      type: object
      additionalProperties: false
      required: [n]
      properties:
        n: {type: integer, format: int64}
        day: {type: string, format: date}
        kind: {type: string, enum: [a, b]}
        raw: {type: string, format: byte, maxLength: 8}
        list: {type: array, minItems: 1, items: {type: string, minLength: 1}}
`

// testService serves it as generated code would; what it logs goes to logged.
func testService(t testing.TB, logged io.Writer) (*Service, func(*mux.Router)) {
	t.Helper()
	description, err := Load([]byte(described))
	if err != nil {
		t.Fatal(err)
	}
	s := &Service{
		Description: description, Log: slog.New(slog.NewTextHandler(logged, nil)),
		Who: func(_ http.ResponseWriter, r *http.Request, _ *Operation) (context.Context, func(), error) {
			if r.Header.Get("Stranger") != "" {
				return nil, nil, api.Refuse(api.CodeUnauthenticated, nil)
			}
			return r.Context(), nil, nil
		},
	}
	answer := func(w http.ResponseWriter, status int, text string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
	return s, func(r *mux.Router) {
		r.HandleFunc("/doubles", func(w http.ResponseWriter, r *http.Request) {
			var q question
			if err := runtime.BindJSONBody(r, &q); err != nil {
				s.Unbound(w, r, err)
				return
			}
			switch q.N {
			case 13:
				s.Fail(w, r, api.RefuseFor(api.CodeBudget, errors.New("spent"), 1500*time.Millisecond))
			case 14:
				s.Fail(w, r, errors.New("disk on fire"))
			case 15:
				panic("a value that nobody may see")
			default:
				answer(w, http.StatusCreated, fmt.Sprintf(`{"twice":%d}`, 2*q.N))
			}
		}).Methods(http.MethodPost)
		r.HandleFunc("/ones/{id}", func(w http.ResponseWriter, r *http.Request) { answer(w, http.StatusOK, `{"twice":1}`) }).Methods(http.MethodGet)
		r.HandleFunc("/ones/{id}", func(w http.ResponseWriter, r *http.Request) { answer(w, http.StatusOK, `{"twice":1}`) }).Methods(http.MethodPut)
		r.HandleFunc("/notes", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = io.WriteString(w, "note\n")
		}).Methods(http.MethodGet)
		r.HandleFunc("/notes", func(w http.ResponseWriter, r *http.Request) {
			lines, err := ReadLines[question](r.Body, 3)
			if err != nil {
				s.Fail(w, r, err)
				return
			}
			bad := 0
			for _, l := range lines {
				if l.Fault != nil {
					bad++
				}
			}
			answer(w, http.StatusOK, fmt.Sprintf(`{"lines":%d,"bad":%d}`, len(lines), bad))
		}).Methods(http.MethodPost)
	}
}

func testHandler(t testing.TB, logged io.Writer) http.Handler {
	s, register := testService(t, logged)
	return Headers(s.Router(register, nil))
}

// TestGolden holds what a caller sees, status by status.
func TestGolden(t *testing.T) {
	const jsonType, problemType = "application/json", "application/problem+json"
	post := http.Header{"Content-Type": {jsonType}}
	lines := http.Header{"Content-Type": {"application/x-ndjson"}}
	faults := func(list ...string) (all []api.Fault) { // in name code
		for _, f := range list {
			part := strings.Split(f, " ")
			all = append(all, api.Fault{In: part[0], Name: part[1], Code: part[2]})
		}
		return all
	}
	with := func(h http.Header, key, value string) http.Header {
		h = h.Clone()
		h.Set(key, value)
		return h
	}
	for _, c := range []struct {
		name, method, path string
		header             http.Header
		body               string
		status             int
		contentType        string
		code               api.Code          // of the problem
		answer             string            // or the whole body
		more               map[string]string // headers
		faults             []api.Fault
	}{
		{"post", "POST", "/v1/doubles", post, `{"n":2}`, 201, jsonType, "", `{"twice":4}`, nil, nil},
		{"post/charset", "POST", "/v1/doubles", with(post, "Content-Type", "application/json; charset=UTF-8"), `{"n":2}`, 201, jsonType, "", `{"twice":4}`, nil, nil},
		{"post/large_number", "POST", "/v1/doubles", post, `{"n":4611686018427387903}`, 201, jsonType, "", `{"twice":9223372036854775806}`, nil, nil},
		{"get", "GET", "/v1/ones/1", nil, "", 200, jsonType, "", `{"twice":1}`, nil, nil},
		{"get/empty_parameters", "GET", "/v1/ones/1?wait=", http.Header{"Key": {""}}, "", 200, jsonType, "", `{"twice":1}`, nil, nil},
		{"get/parameters_encoded", "GET", "/v1/ones/1?&%77ait=%35&", nil, "", 200, jsonType, "", `{"twice":1}`, nil, nil},
		{"text", "GET", "/v1/notes", nil, "", 200, "text/plain; charset=utf-8", "", "note\n", nil, nil},
		{"lines", "POST", "/v1/notes", lines, "{\"n\":1}\n{\"m\":1}\n{\"n\":2}", 200, jsonType, "", `{"lines":3,"bad":1}`, nil, nil},
		{"accept/any", "GET", "/v1/ones/1", http.Header{"Accept": {"text/html, */*;q=0.1"}}, "", 200, jsonType, "", `{"twice":1}`, nil, nil},
		{"accept/kind", "GET", "/v1/ones/1", http.Header{"Accept": {"application/*"}}, "", 200, jsonType, "", `{"twice":1}`, nil, nil},

		{"404", "GET", "/v1/none", nil, "", 404, problemType, api.CodeNotFound, "", nil, nil},
		{"404/without_version", "POST", "/doubles", post, `{"n":2}`, 404, problemType, api.CodeNotFound, "", nil, nil},
		{"404/trailing_slash", "POST", "/v1/doubles/", post, `{"n":2}`, 404, problemType, api.CodeNotFound, "", nil, nil},
		{"404/double_slash", "POST", "//v1/doubles", post, `{"n":2}`, 404, problemType, api.CodeNotFound, "", nil, nil},
		{"404/options", "OPTIONS", "/v1/none", nil, "", 404, problemType, api.CodeNotFound, "", nil, nil},
		{"405/get", "GET", "/v1/doubles", nil, "", 405, problemType, api.CodeMethod, "", map[string]string{"Allow": "POST, OPTIONS"}, nil},
		{"405/head", "HEAD", "/v1/notes", nil, "", 405, problemType, api.CodeMethod, "", map[string]string{"Allow": "GET, POST, OPTIONS"}, nil},
		{"405/several", "DELETE", "/v1/ones/1", nil, "", 405, problemType, api.CodeMethod, "", map[string]string{"Allow": "GET, HEAD, PUT, OPTIONS"}, nil},
		{"options", "OPTIONS", "/v1/ones/1", nil, "", 204, "", "", "", map[string]string{"Allow": "GET, HEAD, PUT, OPTIONS"}, nil},

		{"401/before_all_else", "POST", "/v1/doubles", http.Header{"Stranger": {"x"}, "Accept": {"text/html"}}, `{`, 401, problemType, api.CodeUnauthenticated, "", nil, nil},
		{"406", "GET", "/v1/ones/1", http.Header{"Accept": {"text/html"}}, "", 406, problemType, api.CodeNotAcceptable, "", nil, nil},
		{"406/q=0", "GET", "/v1/ones/1", http.Header{"Accept": {"*/*, application/json;q=0"}}, "", 406, problemType, api.CodeNotAcceptable, "", nil, nil},
		{"406/note_as_json", "GET", "/v1/notes", http.Header{"Accept": {"application/json"}}, "", 406, problemType, api.CodeNotAcceptable, "", nil, nil},
		{"406/before_415", "POST", "/v1/doubles", http.Header{"Accept": {"text/html"}}, "", 406, problemType, api.CodeNotAcceptable, "", nil, nil},
		{"415/none", "POST", "/v1/doubles", nil, `{"n":2}`, 415, problemType, api.CodeMediaType, "", nil, nil},
		{"415/text", "POST", "/v1/doubles", with(post, "Content-Type", "text/json"), `{"n":2}`, 415, problemType, api.CodeMediaType, "", nil, nil},
		{"415/charset", "POST", "/v1/doubles", with(post, "Content-Type", "application/json; charset=latin1"), `{"n":2}`, 415, problemType, api.CodeMediaType, "", nil, nil},
		{"415/gzip", "POST", "/v1/doubles", with(post, "Content-Encoding", "gzip"), `{"n":2}`, 415, problemType, api.CodeMediaType, "", nil, nil},
		{"415/lines_as_json", "POST", "/v1/notes", post, `{"n":2}`, 415, problemType, api.CodeMediaType, "", nil, nil},
		{"415/before_413", "POST", "/v1/doubles", nil, strings.Repeat(" ", 65), 415, problemType, api.CodeMediaType, "", nil, nil},
		{"413", "POST", "/v1/doubles", post, `{"n":2` + strings.Repeat(" ", 64) + `}`, 413, problemType, api.CodeTooLarge, "", nil, nil},
		{"413/lines", "POST", "/v1/notes", lines, strings.Repeat(" ", 65), 413, problemType, api.CodeTooLarge, "", nil, nil},
		{"413/too_many_lines", "POST", "/v1/notes", lines, strings.Repeat("{}\n", 4), 413, problemType, api.CodeTooLarge, "", nil, nil},
		{"413/too_many_values", "PUT", "/v1/ones/1", post, `{"list":[1` + strings.Repeat(",1", 1000) + `]}`, 413, problemType, api.CodeTooLarge, "", nil, nil},

		{"400/unknown_key", "POST", "/v1/doubles", post, `{"n":2,"secret":1}`, 400, problemType, api.CodeMalformed, "", nil, faults("body  unknown-field")},
		{"400/key_twice", "POST", "/v1/doubles", post, `{"n":2,"n":2}`, 400, problemType, api.CodeMalformed, "", nil, faults("body n form")},
		{"400/key_in_another_case", "POST", "/v1/doubles", post, `{"N":2}`, 400, problemType, api.CodeMalformed, "", nil, faults("body  unknown-field", "body n missing")},
		{"400/trailing_data", "POST", "/v1/doubles", post, `{"n":2}{}`, 400, problemType, api.CodeMalformed, "", nil, faults("body  form")},
		{"400/empty", "POST", "/v1/doubles", post, ``, 400, problemType, api.CodeMalformed, "", nil, faults("body  form")},
		{"400/cut_off", "POST", "/v1/doubles", post, `{"list":["a",`, 400, problemType, api.CodeMalformed, "", nil, faults("body list.0 form")},
		{"400/null", "POST", "/v1/doubles", post, `{"n":null}`, 400, problemType, api.CodeMalformed, "", nil, faults("body n form")},
		{"400/not_utf8", "POST", "/v1/doubles", post, "{\"kind\":\"\xff\"}", 400, problemType, api.CodeMalformed, "", nil, faults("body kind form")},
		{"400/a_list", "POST", "/v1/doubles", post, `[]`, 400, problemType, api.CodeMalformed, "", nil, faults("body  form")},
		{"400/fraction", "POST", "/v1/doubles", post, `{"n":1.5}`, 400, problemType, api.CodeMalformed, "", nil, faults("body n form")},
		{"400/overflow", "POST", "/v1/doubles", post, `{"n":9223372036854775808}`, 400, problemType, api.CodeMalformed, "", nil, faults("body  form")},
		{"400/all_at_once", "PUT", "/v1/ones/secret?wait=61", with(post, "Key", "k"), `{"day":"2012-02-40","kind":"secret","raw":"AAAAAAAAAAAA","list":[]}`, 400, problemType, api.CodeMalformed, "", nil,
			faults("query wait unknown-field", "path id length", "body day date", "body kind unknown-value", "body list missing", "body raw length", "body n missing")},
		{"400/loose_base64", "POST", "/v1/doubles", post, `{"n":1,"raw":"AAB="}`, 400, problemType, api.CodeMalformed, "", nil, faults("body raw form")},
		{"400/query", "GET", "/v1/ones/1?wait=secret", nil, "", 400, problemType, api.CodeMalformed, "", nil, faults("query wait form")},
		{"400/query_unknown", "GET", "/v1/ones/1?wat=1&wait=5", nil, "", 400, problemType, api.CodeMalformed, "", nil, faults("query wat unknown-field")},
		{"400/query_unknown_and_empty", "GET", "/v1/ones/1?wat=", nil, "", 400, problemType, api.CodeMalformed, "", nil, faults("query wat unknown-field")},
		{"400/query_unknown_without_value", "GET", "/v1/notes?wat", nil, "", 400, problemType, api.CodeMalformed, "", nil, faults("query wat unknown-field")},
		{"400/query_unknown_beside_a_body", "POST", "/v1/doubles?n=1", post, `{"n":null}`, 400, problemType, api.CodeMalformed, "", nil, faults("query n unknown-field", "body n form")},
		{"400/query_of_the_path", "GET", "/v1/ones/1?id=1", nil, "", 400, problemType, api.CodeMalformed, "", nil, faults("query id unknown-field")},
		{"400/query_unknown_that_is_a_number", "GET", "/v1/ones/1?900000012=1", nil, "", 400, problemType, api.CodeMalformed, "", nil, faults("query  unknown-field")},
		{"400/query_undecodable", "GET", "/v1/ones/1?wait=%zz", nil, "", 400, problemType, api.CodeMalformed, "", nil, faults("query wait form")},
		{"400/query_undecodable_beside_a_good_one", "GET", "/v1/ones/1?wait=5&wait=%zz", nil, "", 400, problemType, api.CodeMalformed, "", nil, faults("query wait form")},
		{"400/query_undecodable_name", "GET", "/v1/ones/1?%zz=secret", nil, "", 400, problemType, api.CodeMalformed, "", nil, faults("query  form")},
		{"400/query_semicolon", "GET", "/v1/ones/1?wait=5;wat=1", nil, "", 400, problemType, api.CodeMalformed, "", nil, faults("query wait form")},
		{"400/query_not_utf8", "GET", "/v1/ones/1?wait=%ff", nil, "", 400, problemType, api.CodeMalformed, "", nil, faults("query wait form")},

		{"429", "POST", "/v1/doubles", post, `{"n":13}`, 429, problemType, api.CodeBudget, "", map[string]string{"Retry-After": "2"}, nil},
		{"500", "POST", "/v1/doubles", post, `{"n":14}`, 500, problemType, api.CodeInternal, "", nil, nil},
		{"500/panic", "POST", "/v1/doubles", post, `{"n":15}`, 500, problemType, api.CodeInternal, "", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
			r.Header = c.header.Clone()
			if r.Header == nil {
				r.Header = http.Header{}
			}
			testHandler(t, io.Discard).ServeHTTP(w, r)
			if w.Code != c.status {
				t.Fatalf("status %d, want %d: %s", w.Code, c.status, w.Body)
			}
			if got := w.Header().Get("Content-Type"); got != c.contentType {
				t.Errorf("content type %q, want %q", got, c.contentType)
			}
			want := map[string]string{
				"API-Version":               api.Version,
				"Cache-Control":             "no-store",
				"Content-Security-Policy":   "frame-ancestors 'none'",
				"Strict-Transport-Security": "max-age=31536000; includeSubDomains",
				"X-Content-Type-Options":    "nosniff",
				"X-Frame-Options":           "DENY",
				"Location":                  "",
			}
			for key, value := range c.more {
				want[key] = value
			}
			for key, value := range want {
				if got := w.Header().Get(key); got != value {
					t.Errorf("%s: %q, want %q", key, got, value)
				}
			}
			if c.code == "" {
				if w.Body.String() != c.answer {
					t.Errorf("body %q, want %q", w.Body, c.answer)
				}
				return
			}
			told := c.code.Problem()
			told.Errors = c.faults
			problem, err := json.Marshal(told)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(w.Body.Bytes(), problem) {
				t.Errorf("body %s, want %s", w.Body, problem)
			}
		})
	}
}

func TestLog(t *testing.T) {
	for n, want := range map[string][]string{
		`{"n":13}`: nil, // a refusal is the caller's affair
		`{"n":14}`: {"level=ERROR", "route=/v1/doubles", "code=internal", "disk on fire"},
		`{"n":15}`: {"level=ERROR", "panic of type string in", "edge.testService"},
	} {
		var logged bytes.Buffer
		r := httptest.NewRequest("POST", "/v1/doubles", strings.NewReader(n))
		r.Header.Set("Content-Type", "application/json")
		testHandler(t, &logged).ServeHTTP(httptest.NewRecorder(), r)
		for _, s := range want {
			if !strings.Contains(logged.String(), s) {
				t.Errorf("%s: %q is not in the log: %s", n, s, &logged)
			}
		}
		if want == nil && logged.Len() > 0 {
			t.Errorf("%s: logged %s", n, &logged)
		}
		if strings.Contains(logged.String(), "nobody may see") {
			t.Errorf("%s: the log holds the panic's value: %s", n, &logged)
		}
	}
}

func FuzzAccept(f *testing.F) {
	f.Add("application/json;q=0.5, */*;q=0")
	f.Fuzz(func(t *testing.T, accept string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Accept"] = []string{accept}
		Accepts(r, "application/json")
	})
}
