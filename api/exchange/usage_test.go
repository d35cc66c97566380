// SPDX-License-Identifier: EUPL-1.2

package exchange_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/api/evaluation"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
)

func TestQuotaOverHTTP(t *testing.T) {
	h := newHouse(t, 2)
	h.Manifest.Policy.DailySignals, h.Manifest.Policy.DailyActs = 2, 7
	for i := range 2 {
		h.ask(h.clients[0], "POST", h.parties+"/v1/signals", h.Write(0, matchertest.Child(i), api.NewSID(), 1).Submission, nil)
	}
	var problem api.Problem
	resp := h.ask(h.clients[0], "POST", h.parties+"/v1/signals", h.Write(0, matchertest.Child(9), api.NewSID(), 1).Submission, &problem)
	if resp.StatusCode != http.StatusTooManyRequests || problem.Type != api.ProblemType("budget") || resp.Header.Get("Retry-After") != "43200" { // from noon
		t.Errorf("%s %+v, Retry-After %q", resp.Status, problem, resp.Header.Get("Retry-After"))
	}
	midnight := time.Date(2026, 3, 11, 0, 0, 0, 0, time.UTC)
	for i, spent := range []int{2, 0} {
		want := api.Quota{Signals: api.Limit{Limit: 2, Spent: spent, Until: midnight}, Acts: api.Limit{Limit: 7, Until: midnight}}
		var got api.Quota
		if resp := h.ask(h.clients[i], "GET", h.parties+"/v1/quota", nil, &got); resp.StatusCode != http.StatusOK || got != want {
			t.Errorf("party %d: %s %+v, want %+v", i, resp.Status, got, want)
		}
	}

	// Rows of an import get their refusals one by one.
	var body bytes.Buffer
	for i := range 3 {
		if err := json.NewEncoder(&body).Encode(h.Write(1, matchertest.Child(i), api.NewSID(), 1).Submission); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequest("POST", h.parties+"/v1/imports", &body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	answer, err := h.clients[1].Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s %v", answer.Status, err)
	}
	var statuses []int
	for line := range bytes.Lines(text) {
		var one api.Imported
		if err := json.Unmarshal(line, &one); err != nil {
			t.Fatal(err)
		}
		if statuses = append(statuses, one.Status); one.Status == http.StatusTooManyRequests && one.Code != api.CodeBudget {
			t.Errorf("refused as %s", one.Code)
		}
	}
	if slices.Sort(statuses); !slices.Equal(statuses, []int{201, 201, 429}) { // lines of several children are in no order
		t.Errorf("statuses %v", statuses)
	}
}

// evaluator gives the manifest an evaluator, and what it knows itself by.
func (h *house) evaluator(t *testing.T) tls.Certificate {
	cert, pin := identity(t, "evaluator")
	next := *h.Manifest
	next.Evaluators = []manifest.Evaluator{{Index: 1, TLS: pin, Note: h.vkey}}
	next.Registry.URL, next.Registry.TLS = h.parties, h.pin
	h.Manifest = &next
	return cert
}

func TestUsageIsForEvaluators(t *testing.T) {
	h := newHouse(t, 3)
	cert := h.evaluator(t)
	for _, c := range [][2]int{{1, 1}, {1, 2}, {0, 1}} {
		h.ask(h.clients[c[0]], "POST", h.parties+"/v1/signals", h.Write(c[0], matchertest.Child(c[1]), api.NewSID(), 1).Submission, nil)
	}
	want := []api.PartyUsage{{Party: matchertest.Party(0), Signals: 1}, {Party: matchertest.Party(1), Signals: 2}}
	usage := evaluation.RegistryUsage(func() tls.Certificate { return cert }, func() *manifest.Manifest { return h.Manifest })
	if got, err := usage(t.Context(), h.Now()); err != nil || !slices.Equal(got.Items, want) {
		t.Errorf("%+v (%v), want %v", got, err, want)
	}
	if got, err := usage(t.Context(), h.Now().AddDate(0, 0, -1)); err != nil || len(got.Items) != 0 {
		t.Errorf("yesterday %+v (%v)", got, err)
	}
	for _, days := range []int{1, -8} {
		if _, err := usage(t.Context(), h.Now().AddDate(0, 0, days)); err == nil {
			t.Errorf("a day %d days from now has usage", days)
		}
	}
	day := h.parties + "/v1/usage?day=2026-03-10"
	if resp := h.ask(h.clients[0], "GET", day, nil, nil); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a party reads what others sent: %s", resp.Status)
	}
	own := &http.Client{Transport: &http.Transport{TLSClientConfig: edge.ClientTLS(cert, h.pin)}}
	defer own.CloseIdleConnections()
	for path, want := range map[string]int{"/v1/usage": 400, "/v1/usage?day=yesterday": 400, "/v1/quota": 401, "/v1/events": 401} {
		if resp := h.ask(own, "GET", h.parties+path, nil, nil); resp.StatusCode != want {
			t.Errorf("an evaluator asks %s: %s", path, resp.Status)
		}
	}
	other, _ := identity(t, "evaluator of before")
	stranger := &http.Client{Transport: &http.Transport{TLSClientConfig: edge.ClientTLS(other, h.pin)}}
	if _, err := stranger.Get(day); err == nil {
		t.Error("a stranger got through the handshake")
	}
}

// told is what the log says of unusual use since the last time.
func (h *house) told(t *testing.T) (list []string) {
	t.Helper()
	for line := range strings.Lines(h.log.String()) {
		var event struct{ Msg, Kind, Party string }
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatal(err)
		}
		if event.Msg == "unusual use" {
			list = append(list, event.Kind+" "+event.Party)
		}
	}
	h.log.Reset()
	return list
}

func TestUnusualUseOfTheRegistry(t *testing.T) {
	h := newHouse(t, 5)
	h.Manifest.Policy.DailyBudget = 40
	for i := range 5 {
		h.Directory.Parties[i].Kind = manifest.School
	}
	wants := func(want ...string) {
		t.Helper()
		if got := h.told(t); !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	var looked time.Time
	look := func() {
		t.Helper()
		var err error
		if looked, err = h.server.Look(t.Context(), looked); err != nil {
			t.Fatal(err)
		}
	}
	send := func(p, child int) matchertest.Paper {
		t.Helper()
		paper := h.Write(p, matchertest.Child(child), api.NewSID(), 1)
		if resp := h.ask(h.clients[p], "POST", h.parties+"/v1/signals", paper.Submission, nil); resp.StatusCode != http.StatusCreated {
			t.Fatal(resp.Status)
		}
		return paper
	}
	look()

	// By day, one party does what the others do not; at night another, by an import.
	for i := range 70 {
		send(0, i)
	}
	for p := 1; p < 5; p++ {
		send(p, 100+p)
	}
	h.Advance(12 * time.Hour)
	var lines bytes.Buffer
	for i := range 65 {
		if err := json.NewEncoder(&lines).Encode(h.Write(3, matchertest.Child(1000+i), api.NewSID(), 1).Submission); err != nil {
			t.Fatal(err)
		}
	}
	if status, _ := h.importing(3, &lines); status != http.StatusOK {
		t.Fatal(status)
	}
	look()
	wants("above-peers " + string(matchertest.Party(0)))
	h.Advance(6 * time.Hour)
	look()
	wants("nightly-bulk " + string(matchertest.Party(3)))
	look()
	wants()

	// A signal that met somebody is withdrawn at once; one that met nobody is too.
	send(1, 2000)
	for _, child := range []int{2000, 2001} {
		paper := send(2, child)
		if resp := h.ask(h.clients[2], "POST", h.parties+"/v1/acts", h.Withdrawal(paper), nil); resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
	}
	wants("withdrawn-after-match " + string(matchertest.Party(2)))
	resp, err := http.Get(h.ops + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"above-peers", "nightly-bulk", "withdrawn-after-match"} {
		if line := `seinhuis_registry_unusual_use_total{kind="` + kind + `"} 1`; !strings.Contains(string(text), line) {
			t.Errorf("the metrics have no line %s", line)
		}
	}
}
