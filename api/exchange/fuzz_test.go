// SPDX-License-Identifier: EUPL-1.2

package exchange_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
)

// Whatever a party asks is answered with an acceptance or a refusal in form, and nothing
// that it sends is answered with a fault of the registry's.
func FuzzRequests(f *testing.F) {
	h := newHouse(f, 2)
	paper := h.Signal(0, matchertest.Child(1))
	seed := func(method, path string, body any) {
		b, err := json.Marshal(body)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(method, path, string(b))
	}
	seed(http.MethodPost, "/v1/signals", h.Write(0, matchertest.Child(2), api.NewSID(), 1).Submission)
	seed(http.MethodPost, "/v1/signals", paper.Submission)
	seed(http.MethodPost, "/v1/acts", h.Withdrawal(paper))
	f.Add(http.MethodPost, "/v1/signals", `{"signed":"","signature":"","faces":[{}]}`)
	f.Add(http.MethodPost, "/v1/imports", "{}\n[]\n")
	f.Add(http.MethodGet, "/v1/events?cursor=00&wait=0&limit=1", "")
	f.Add(http.MethodGet, "/v1/events?cursor=%zz&limit=-1", "")
	f.Fuzz(func(t *testing.T, method, path, body string) {
		if strings.Contains(path, "wait=") && !strings.Contains(path, "wait=0") {
			return // it would wait
		}
		req, err := http.NewRequestWithContext(t.Context(), method, h.parties+"/"+strings.TrimPrefix(path, "/"), bytes.NewReader([]byte(body)))
		if err != nil {
			return
		}
		if strings.ContainsFunc(req.URL.RequestURI(), func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return // its first line is none of HTTP; net/http refuses it before anybody of ours
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := h.clients[0].Do(req)
		if err != nil {
			return // what the client cannot say
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		var problem api.Problem
		switch {
		case resp.StatusCode >= 500:
			t.Errorf("%s to %s %q", resp.Status, method, path)
		case resp.StatusCode >= 400 && method != http.MethodHead && json.Unmarshal(answer, &problem) != nil:
			t.Errorf("a refusal out of form to %s %q: %q", method, path, answer)
		}
	})
}
