// SPDX-License-Identifier: EUPL-1.2

package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
)

type question struct {
	N int `json:"n"`
}

type answer struct {
	Twice int `json:"twice"`
}

// testHandler has every kind of route; what it logs goes to logged.
func testHandler(logged io.Writer) http.Handler {
	log := slog.New(slog.NewTextHandler(logged, nil))
	r := Router()
	v1 := r.PathPrefix("/v1").Subrouter()
	v1.Handle("/doubles", JSON(64, log, func(_ context.Context, _ *http.Request, q question) (int, answer, error) {
		switch q.N {
		case 13:
			return 0, answer{}, api.RefuseFor(api.CodeBudget, errors.New("spent"), 1500*time.Millisecond)
		case 14:
			return 0, answer{}, errors.New("disk on fire")
		case 15:
			panic("a value that nobody may see")
		}
		return http.StatusCreated, answer{2 * q.N}, nil
	})).Methods(http.MethodPost)
	v1.Handle("/ones/{id}", Get(log, func(context.Context, *http.Request) (int, answer, error) {
		return http.StatusOK, answer{1}, nil
	})).Methods(http.MethodGet, http.MethodHead)
	v1.Handle("/ones/{id}", JSON(64, log, func(context.Context, *http.Request, question) (int, answer, error) {
		return http.StatusOK, answer{1}, nil
	})).Methods(http.MethodPut)
	v1.Handle("/note", Text(log, func(context.Context, *http.Request) ([]byte, error) {
		return []byte("note\n"), nil
	})).Methods(http.MethodGet)
	return Headers(r)
}

// TestGolden holds what a caller sees, status by status.
func TestGolden(t *testing.T) {
	const jsonType, problemType = "application/json", "application/problem+json"
	post := http.Header{"Content-Type": {jsonType}}
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
	}{
		{"post", "POST", "/v1/doubles", post, `{"n":2}`, 201, jsonType, "", `{"twice":4}`, nil},
		{"post/charset", "POST", "/v1/doubles", with(post, "Content-Type", "application/json; charset=UTF-8"), `{"n":2}`, 201, jsonType, "", `{"twice":4}`, nil},
		{"get", "GET", "/v1/ones/1", nil, "", 200, jsonType, "", `{"twice":1}`, map[string]string{"Content-Length": "11"}},
		{"text", "GET", "/v1/note", nil, "", 200, "text/plain; charset=utf-8", "", "note\n", nil},
		{"accept/any", "GET", "/v1/ones/1", http.Header{"Accept": {"text/html, */*;q=0.1"}}, "", 200, jsonType, "", `{"twice":1}`, nil},
		{"accept/kind", "GET", "/v1/ones/1", http.Header{"Accept": {"application/*"}}, "", 200, jsonType, "", `{"twice":1}`, nil},

		{"404", "GET", "/v1/none", nil, "", 404, problemType, api.CodeNotFound, "", nil},
		{"404/trailing_slash", "POST", "/v1/doubles/", post, `{"n":2}`, 404, problemType, api.CodeNotFound, "", nil},
		{"404/double_slash", "POST", "//v1/doubles", post, `{"n":2}`, 404, problemType, api.CodeNotFound, "", nil},
		{"404/options", "OPTIONS", "/v1/none", nil, "", 404, problemType, api.CodeNotFound, "", nil},
		{"405/get", "GET", "/v1/doubles", nil, "", 405, problemType, api.CodeMethod, "", map[string]string{"Allow": "POST, OPTIONS"}},
		{"405/head", "HEAD", "/v1/note", nil, "", 405, problemType, api.CodeMethod, "", map[string]string{"Allow": "GET, OPTIONS"}},
		{"405/several", "DELETE", "/v1/ones/1", nil, "", 405, problemType, api.CodeMethod, "", map[string]string{"Allow": "GET, HEAD, PUT, OPTIONS"}},
		{"options", "OPTIONS", "/v1/ones/1", nil, "", 204, "", "", "", map[string]string{"Allow": "GET, HEAD, PUT, OPTIONS"}},

		{"406", "GET", "/v1/ones/1", http.Header{"Accept": {"text/html"}}, "", 406, problemType, api.CodeNotAcceptable, "", nil},
		{"406/q=0", "GET", "/v1/ones/1", http.Header{"Accept": {"*/*, application/json;q=0"}}, "", 406, problemType, api.CodeNotAcceptable, "", nil},
		{"406/note_as_json", "GET", "/v1/note", http.Header{"Accept": {"application/json"}}, "", 406, problemType, api.CodeNotAcceptable, "", nil},
		{"415/none", "POST", "/v1/doubles", nil, `{"n":2}`, 415, problemType, api.CodeMediaType, "", nil},
		{"415/text", "POST", "/v1/doubles", with(post, "Content-Type", "text/json"), `{"n":2}`, 415, problemType, api.CodeMediaType, "", nil},
		{"415/charset", "POST", "/v1/doubles", with(post, "Content-Type", "application/json; charset=latin1"), `{"n":2}`, 415, problemType, api.CodeMediaType, "", nil},
		{"415/gzip", "POST", "/v1/doubles", with(post, "Content-Encoding", "gzip"), `{"n":2}`, 415, problemType, api.CodeMediaType, "", nil},
		{"413", "POST", "/v1/doubles", post, `{"n":2` + strings.Repeat(" ", 64) + `}`, 413, problemType, api.CodeTooLarge, "", nil},

		{"400/unknown_key", "POST", "/v1/doubles", post, `{"n":2,"m":1}`, 400, problemType, api.CodeMalformed, "", nil},
		{"400/key_twice", "POST", "/v1/doubles", post, `{"n":2,"n":2}`, 400, problemType, api.CodeMalformed, "", nil},
		{"400/key_in_another_case", "POST", "/v1/doubles", post, `{"N":2}`, 400, problemType, api.CodeMalformed, "", nil},
		{"400/trailing_data", "POST", "/v1/doubles", post, `{"n":2}{}`, 400, problemType, api.CodeMalformed, "", nil},
		{"400/empty", "POST", "/v1/doubles", post, ``, 400, problemType, api.CodeMalformed, "", nil},

		{"429", "POST", "/v1/doubles", post, `{"n":13}`, 429, problemType, api.CodeBudget, "", map[string]string{"Retry-After": "2"}},
		{"500", "POST", "/v1/doubles", post, `{"n":14}`, 500, problemType, api.CodeInternal, "", nil},
		{"500/panic", "POST", "/v1/doubles", post, `{"n":15}`, 500, problemType, api.CodeInternal, "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
			r.Header = c.header.Clone()
			if r.Header == nil {
				r.Header = http.Header{}
			}
			testHandler(io.Discard).ServeHTTP(w, r)
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
			problem, err := json.Marshal(c.code.Problem())
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
		`{"n":15}`: {"level=ERROR", "panic of type string in", "edge.testHandler"},
	} {
		var logged bytes.Buffer
		r := httptest.NewRequest("POST", "/v1/doubles", strings.NewReader(n))
		r.Header.Set("Content-Type", "application/json")
		testHandler(&logged).ServeHTTP(httptest.NewRecorder(), r)
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
		acceptable(r, "application/json")
	})
}
