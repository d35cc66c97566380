// SPDX-License-Identifier: EUPL-1.2

package exchange_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/api/exchange"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
	"github.com/seinhuis/seinhuis/registry"
)

// A house is a registry that listens, and the clients of its parties.
type house struct {
	signer note.Signer // of evaluators
	vkey   string
	*matchertest.World
	t       testing.TB
	clients []*http.Client
	parties string // base addresses
	public  string
	ops     string
	pin     [32]byte
	server  *exchange.Server
	log     *bytes.Buffer
}

func identity(t testing.TB, name string) (tls.Certificate, [32]byte) {
	t.Helper()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.pem")
	if err := keys.Clear.WriteTLS(cert, key, name, []string{"127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	pair, err := keys.Clear.ReadTLS(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return pair, keys.SPKIHash(leaf)
}

func newHouse(t testing.TB, parties int) *house {
	t.Helper()
	h := &house{World: matchertest.New(t, parties), t: t, log: new(bytes.Buffer)}
	h.signer, h.vkey = manifesttest.Signer(t, "evaluator")
	cert, pin := identity(t, "registry")
	for i := range parties {
		own, spki := identity(t, "party")
		p := &h.Directory.Parties[i]
		p.Keys = append(p.Keys, manifest.NewKey(manifest.UseTLS, spki[:], h.Now().AddDate(-1, 0, 0)))
		h.clients = append(h.clients, &http.Client{Transport: &http.Transport{TLSClientConfig: edge.ClientTLS(own, pin)}})
	}
	server := exchange.New(h.Matcher, slog.New(slog.NewJSONHandler(h.log, nil)), func() ([]byte, []byte) {
		return []byte("the manifest\n"), []byte("the directory\n")
	})
	h.pin, h.server = pin, server
	current := func() tls.Certificate { return cert }
	h.parties = "https://" + h.serve(server.Parties(), edge.ServerTLS(current, server.Known))
	h.public = "http://" + h.serve(server.Public(), nil)
	h.ops = "http://" + h.serve(server.Operations(), nil)
	return h
}

// keepLog begins the log, and publishes a first checkpoint.
func (h *house) keepLog() {
	h.t.Helper()
	h.server.Sequencer = h.OpenLog().Sequencer()
	if err := h.server.Sequencer.Step(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) serve(handler http.Handler, config *tls.Config) string {
	h.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- edge.Serve(ctx, &http.Server{Handler: handler, TLSConfig: config}, ln) }()
	h.t.Cleanup(func() {
		for _, c := range h.clients {
			c.CloseIdleConnections()
		}
		cancel()
		if err := <-ended; err != nil {
			h.t.Error(err)
		}
	})
	return ln.Addr().String()
}

// ask sends a request and decodes the answer into out, unless out is nil.
func (h *house) ask(c *http.Client, method, url string, body, out any, header ...string) *http.Response {
	h.t.Helper()
	var send io.Reader
	if text, ok := body.(string); ok {
		send = strings.NewReader(text)
	} else if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			h.t.Fatal(err)
		}
		send = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(h.t.Context(), method, url, send)
	if err != nil {
		h.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	if out != nil {
		if err := json.Unmarshal(got, out); err != nil {
			h.t.Fatalf("%s %s: %v", method, resp.Status, err)
		}
	}
	return resp
}

func TestSignalMatchEventsWithdraw(t *testing.T) {
	h := newHouse(t, 2)
	a, b := h.Write(0, matchertest.Child(1), api.NewSID(), 1), h.Write(1, matchertest.Child(1), api.NewSID(), 1)

	var accepted api.Accepted
	if resp := h.ask(h.clients[0], "POST", h.parties+"/v1/signals", a.Submission, &accepted); resp.StatusCode != http.StatusCreated {
		t.Fatal(resp.Status)
	}
	if accepted.SID != a.Statement.SID || accepted.Rev != 1 {
		t.Error("the answer names another signal")
	}
	if resp := h.ask(h.clients[0], "POST", h.parties+"/v1/signals", a.Submission, nil); resp.StatusCode != http.StatusOK {
		t.Errorf("a repetition gave %s", resp.Status)
	}

	// A long poll that starts before there is anything ends with the event.
	polled := make(chan api.Events, 1)
	go func() {
		var events api.Events
		h.ask(h.clients[0], "GET", h.parties+"/v1/events?wait=30", nil, &events)
		polled <- events
	}()
	if resp := h.ask(h.clients[1], "POST", h.parties+"/v1/signals", b.Submission, nil); resp.StatusCode != http.StatusCreated {
		t.Fatal(resp.Status)
	}
	events := <-polled
	if len(events.Items) != 1 || events.Items[0].Kind != api.EventJoined || !bytes.Equal(events.Items[0].Other.Card, b.Submission.Faces[0].Card) {
		t.Fatalf("the long poll gave %d events", len(events.Items))
	}

	if resp := h.ask(h.clients[1], "POST", h.parties+"/v1/acts", h.Withdrawal(b), &accepted); resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	var more api.Events
	h.ask(h.clients[0], "GET", h.parties+"/v1/events?cursor="+events.Next, nil, &more)
	if len(more.Items) != 2 || more.Items[0].Kind != api.EventLeft || more.Items[1].Kind != api.EventEnded {
		t.Errorf("after the withdrawal there are %d events", len(more.Items))
	}
	more = api.Events{}
	h.ask(h.clients[0], "GET", h.parties+"/v1/events?limit=1", nil, &more)
	if len(more.Items) != 1 {
		t.Errorf("limit=1 gave %d events", len(more.Items))
	}
}

func TestRefusalsOverHTTP(t *testing.T) {
	h := newHouse(t, 2)
	paper := h.Write(0, matchertest.Child(1), api.NewSID(), 1)
	good, err := json.Marshal(paper.Submission)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, method, path string
		body               any
		status             int
		code               api.Code
		header             []string
	}{
		{"unknown_path", "GET", "/v1/nothing", nil, 404, api.CodeNotFound, nil},
		{"trailing_slash", "POST", "/v1/signals/", string(good), 404, api.CodeNotFound, nil},
		{"wrong_method", "DELETE", "/v1/signals", nil, 405, api.CodeMethod, nil},
		{"wrong_method_on_events", "POST", "/v1/events", string(good), 405, api.CodeMethod, nil},
		{"wrong_media_type", "POST", "/v1/signals", string(good), 415, api.CodeMediaType, []string{"Content-Type", "text/plain"}},
		{"wrong_accept", "POST", "/v1/signals", string(good), 406, api.CodeNotAcceptable, []string{"Accept", "text/html"}},
		{"not_json", "POST", "/v1/signals", "{", 400, api.CodeMalformed, nil},
		{"unknown_field", "POST", "/v1/signals", strings.Replace(string(good), `"faces"`, `"extra":1,"faces"`, 1), 400, api.CodeMalformed, nil},
		{"field_twice", "POST", "/v1/signals", strings.Replace(string(good), `"faces"`, `"faces":[],"faces"`, 1), 400, api.CodeMalformed, nil},
		{"something_behind", "POST", "/v1/signals", string(good) + "{}", 400, api.CodeMalformed, nil},
		{"oversized", "POST", "/v1/signals", strings.Repeat(" ", api.MaxBody) + string(good), 413, api.CodeTooLarge, nil},
		{"foreign_statement", "POST", "/v1/signals", h.Write(1, matchertest.Child(1), api.NewSID(), 1).Submission, 403, api.CodeForbidden, nil},
		{"withdrawal_of_nothing", "POST", "/v1/acts", h.Withdrawal(paper), 404, api.CodeUnknownSignal, nil},
		{"wait_too_long", "GET", "/v1/events?wait=61", nil, 400, api.CodeMalformed, nil},
		{"wait_not_a_number", "GET", "/v1/events?wait=x", nil, 400, api.CodeMalformed, nil},
		{"no_events_at_all", "GET", "/v1/events?limit=0", nil, 400, api.CodeMalformed, nil},
	} {
		t.Run("rejects/"+c.name, func(t *testing.T) {
			var problem api.Problem
			resp := h.ask(h.clients[0], c.method, h.parties+c.path, c.body, &problem, c.header...)
			if resp.StatusCode != c.status || problem.Type != api.ProblemType(string(c.code)) || problem.Status != c.status {
				t.Errorf("got %s, %s; want %d, %s", resp.Status, problem.Type, c.status, c.code)
			}
			if got := resp.Header.Get("Content-Type"); got != "application/problem+json" {
				t.Errorf("Content-Type is %q", got)
			}
			if resp.Header.Get("API-Version") != api.Version || resp.Header.Get("Cache-Control") != "no-store" {
				t.Error("a refusal lacks the headers of every response")
			}
			if c.status == 405 && resp.Header.Get("Allow") == "" {
				t.Error("405 without Allow")
			}
		})
	}
}

func TestWhoMayCall(t *testing.T) {
	h := newHouse(t, 1)
	_, pin := identity(t, "unused")
	t.Run("rejects/stranger", func(t *testing.T) {
		stranger, _ := identity(t, "stranger")
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{stranger}, InsecureSkipVerify: true}}}
		if resp, err := c.Get(h.parties + "/v1/events"); err == nil {
			resp.Body.Close()
			t.Errorf("a stranger got %s", resp.Status)
		}
	})
	t.Run("rejects/no_certificate", func(t *testing.T) {
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		if resp, err := c.Get(h.parties + "/v1/events"); err == nil {
			resp.Body.Close()
			t.Errorf("a caller without a certificate got %s", resp.Status)
		}
	})
	t.Run("rejects/server_with_another_key", func(t *testing.T) {
		own, _ := identity(t, "party")
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: edge.ClientTLS(own, pin)}}
		if resp, err := c.Get(h.parties + "/v1/events"); err == nil {
			resp.Body.Close()
			t.Error("a client speaks to a server whose key is not the pinned one")
		}
	})
	t.Run("rejects/key_revoked_on_a_standing_connection", func(t *testing.T) {
		if resp := h.ask(h.clients[0], "GET", h.parties+"/v1/events", nil, nil); resp.StatusCode != 200 {
			t.Fatal(resp.Status)
		}
		revoked := *h.Directory
		revoked.Parties = []manifest.Party{h.Directory.Parties[0]}
		revoked.Parties[0].Keys = nil
		h.Matcher.Trust = func() (*manifest.Manifest, *manifest.Directory) { return h.Manifest, &revoked }
		if resp := h.ask(h.clients[0], "GET", h.parties+"/v1/events", nil, nil); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("a revoked key got %s", resp.Status)
		}
	})
}

// A stop waits for handlers and not for handshakes, which may go on while the store closes.
func TestAHandshakeDoesNotAskTheStore(t *testing.T) {
	h := newHouse(t, 1)
	if err := h.Matcher.Store.Close(); err != nil {
		t.Fatal(err)
	}
	defer h.Open(h.FS)
	h.Jump(manifesttest.Now.Add(24 * time.Hour)) // a day that no store has
	leaf := h.clients[0].Transport.(*http.Transport).TLSClientConfig.Certificates[0].Leaf
	if !h.server.Known(keys.SPKIHash(leaf)) {
		t.Error("a current key is not known")
	}
}

func TestPublicAndOperations(t *testing.T) {
	h := newHouse(t, 1)
	h.keepLog()
	var health exchange.Health
	if resp := h.ask(http.DefaultClient, "GET", h.public+"/health", nil, &health); resp.StatusCode != 200 || health.Status != "ok" {
		t.Errorf("%s, %q", resp.Status, health.Status)
	}
	for _, path := range []string{"/v1/manifest", "/v1/directory"} {
		if resp := h.ask(http.DefaultClient, "GET", h.public+path, nil, nil); resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	for _, path := range []string{"/v1/signals", "/v1/events", "/metrics"} {
		if resp := h.ask(http.DefaultClient, "GET", h.public+path, nil, nil); resp.StatusCode != 404 {
			t.Errorf("%s on the public listener: %s", path, resp.Status)
		}
	}
	if resp := h.ask(http.DefaultClient, "GET", h.ops+"/metrics", nil, nil); resp.StatusCode != 200 {
		t.Errorf("/metrics: %s", resp.Status)
	}
	h.SetClock(h.Manifest.NotAfter.AddDate(0, 0, 1))
	if resp := h.ask(http.DefaultClient, "GET", h.public+"/health", nil, nil); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("health with an expired manifest: %s", resp.Status)
	}
}

func TestHealthAndMetricsSayWhyItIsReadOnly(t *testing.T) {
	h := newHouse(t, 1)
	for _, c := range []struct {
		why  matcher.Reason
		code string
	}{{matcher.ReasonDisk, edge.PartLow}, {matcher.ReasonJournal, edge.PartLow}, {matcher.ReasonClock, edge.PartHeld}} {
		h.ReadOnly.Set(c.why, true)
		resp := h.ask(h.clients[0], "POST", h.parties+"/v1/signals", h.Write(0, matchertest.Child(1), api.NewSID(), 1).Submission, nil)
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s: a signal gets %s, Retry-After %q", c.why, resp.Status, resp.Header.Get("Retry-After"))
		}
		var health exchange.Health
		resp = h.ask(http.DefaultClient, "GET", h.public+"/health", nil, &health)
		if resp.StatusCode != http.StatusServiceUnavailable || !slices.Contains(health.Parts, edge.HealthPart{Name: string(c.why), Code: c.code}) {
			t.Errorf("%s: health is %s %v", c.why, resp.Status, health.Parts)
		}
		measured := func(value string) bool {
			resp, err := http.Get(h.ops + "/metrics")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			metrics, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			return strings.Contains(string(metrics), `seinhuis_registry_read_only{reason="`+string(c.why)+`"} `+value)
		}
		if !measured("1") {
			t.Errorf("%s: it is not measured", c.why)
		}
		h.ReadOnly.Set(c.why, false)
		if !measured("0") {
			t.Errorf("%s: it stays measured", c.why)
		}
	}
	if resp := h.ask(http.DefaultClient, "GET", h.public+"/health", nil, nil); resp.StatusCode != http.StatusOK {
		t.Errorf("afterwards health is %s", resp.Status)
	}
}

// Without a legal basis every signal is refused: that is not health.
func TestHealthKnowsTheLegalBasis(t *testing.T) {
	h := newHouse(t, 1)
	code := func() (code string) {
		var health exchange.Health
		h.ask(http.DefaultClient, "GET", h.public+"/health", nil, &health)
		for _, part := range health.Parts {
			if part.Name == "manifest" {
				code = part.Code
			}
		}
		return code
	}
	h.Manifest.Policy.LegalBasisEnds = registry.Today(h.Now()).AddDate(0, 0, 7)
	if got := code(); got != "ends" {
		t.Errorf("a week before its end: %q", got)
	}
	h.SetClock(h.Now().AddDate(0, 0, 7))
	if resp := h.ask(h.clients[0], "POST", h.parties+"/v1/signals", h.Write(0, matchertest.Child(1), api.NewSID(), 1).Submission, nil); resp.StatusCode < 400 {
		t.Fatalf("a signal after the end: %s", resp.Status)
	}
	if got := code(); got != "expired" {
		t.Errorf("after its end: %q", got)
	}
}

// TestNothingOfASignalIsLogged sends good and bad requests and searches log and
// metrics for what they must not hold.
func TestNothingOfASignalIsLogged(t *testing.T) {
	h := newHouse(t, 2)
	a := h.Write(0, matchertest.Child(1), api.NewSID(), 1)
	h.ask(h.clients[0], "POST", h.parties+"/v1/signals", a.Submission, nil)
	h.ask(h.clients[1], "POST", h.parties+"/v1/signals", a.Submission, nil)
	h.ask(h.clients[0], "POST", h.parties+"/v1/acts", h.Withdrawal(a), nil)
	resp, err := http.Get(h.ops + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	metrics, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Contains(metrics, []byte(`outcome="forbidden"`)) {
		t.Fatalf("the metrics do not count refusals (%v)", err)
	}
	for _, secret := range []string{string(matchertest.Party(0)), a.Statement.SID.String()} {
		if strings.Contains(string(metrics), secret) || strings.Contains(h.log.String(), secret) {
			t.Error("a party or a signal stands in the metrics or the log")
		}
	}
}

func TestImportAnswersLineByLine(t *testing.T) {
	h := newHouse(t, 2)
	h.Signal(1, matchertest.Child(1))
	a, b := h.Write(0, matchertest.Child(1), api.NewSID(), 1), h.Write(0, matchertest.Child(2), api.NewSID(), 1)
	foreign := h.Write(1, matchertest.Child(2), api.NewSID(), 1)
	var body strings.Builder
	for _, s := range []any{a.Submission, b.Submission, "not a submission", foreign.Submission, a.Submission} {
		line, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		body.Write(append(line, '\n'))
	}
	send := func() (rows []api.Imported) {
		t.Helper()
		req, err := http.NewRequest("POST", h.parties+"/v1/imports", strings.NewReader(body.String()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-ndjson")
		resp, err := h.clients[0].Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		for d := json.NewDecoder(resp.Body); d.More(); {
			var row api.Imported
			if err := d.Decode(&row); err != nil {
				t.Fatal(err)
			}
			rows = append(rows, row)
		}
		return rows
	}
	want := func(rows []api.Imported, statuses ...int) {
		t.Helper()
		if len(rows) != len(statuses) {
			t.Fatalf("%d rows, want %d", len(rows), len(statuses))
		}
		for i, r := range rows {
			if r.Status != statuses[i] || (r.Receipt == nil) != (r.Code != "") {
				t.Errorf("row %d: %d %s, want %d", i, r.Status, r.Code, statuses[i])
			}
		}
	}
	first := send()
	want(first, 201, 201, 400, 403, 200)
	again := send() // as after a crash
	want(again, 200, 200, 400, 403, 200)
	if !bytes.Equal(first[0].Receipt.Signature, again[0].Receipt.Signature) {
		t.Error("the second time there is another receipt")
	}
	if told := h.Told(1); len(told) != 1 || told[0] != "joined "+string(matchertest.Party(0)) {
		t.Errorf("the other party was told %q", told)
	}
	many := strings.Repeat("{}\n", api.MaxImport+1)
	var problem api.Problem
	if resp := h.ask(h.clients[0], "POST", h.parties+"/v1/imports", many, &problem, "Content-Type", "application/x-ndjson"); resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("an import that is too long: %s", resp.Status)
	}
}

// importing sends an import, and gives its status and Retry-After.
func (h *house) importing(party int, body io.Reader) (status int, after string) {
	req, err := http.NewRequest("POST", h.parties+"/v1/imports", body)
	if err != nil {
		h.t.Error(err)
		return 0, ""
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	resp, err := h.clients[party].Do(req)
	if err != nil {
		h.t.Error(err)
		return 0, ""
	}
	resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("Retry-After")
}

// line is one signal as the body of an import.
func (h *house) line(party, child int) io.Reader {
	line, err := json.Marshal(h.Write(party, matchertest.Child(child), api.NewSID(), 1).Submission)
	if err != nil {
		h.t.Fatal(err)
	}
	return bytes.NewReader(append(line, '\n'))
}

func TestAnUnfinishedImportHoldsUpItsPartyAlone(t *testing.T) {
	h := newHouse(t, 2)
	h.clients[0].Transport.(*http.Transport).ExpectContinueTimeout = time.Hour
	answers := make(chan *http.Response, 2)
	var stuck *io.PipeWriter
	for i := range 2 {
		body, writer := io.Pipe()
		go func() {
			req, err := http.NewRequest("POST", h.parties+"/v1/imports", body)
			if err != nil {
				t.Error(err)
			}
			req.Header.Set("Content-Type", "application/x-ndjson")
			req.Header.Set("Expect", "100-continue") // the server reads it when the client does
			resp, err := h.clients[0].Do(req)
			if err != nil {
				t.Error(err)
				resp = &http.Response{Body: http.NoBody}
			}
			resp.Body.Close()
			answers <- resp
		}()
		if _, err := writer.Write([]byte("{}\n")); (err != nil) != (i == 1) {
			t.Errorf("body %d: %v", i+1, err)
		}
		if i == 0 {
			stuck = writer
		}
		defer writer.Close()
	}
	if status, _ := h.importing(1, h.line(1, 1)); status != http.StatusOK {
		t.Errorf("the other party's import: %d", status)
	}
	if resp := <-answers; resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("the second: %s", resp.Status)
	}
	stuck.Close()
	<-answers
	if status, _ := h.importing(0, h.line(0, 2)); status != http.StatusOK {
		t.Errorf("afterwards: %d", status)
	}
}

// A slowStore lets imports wait for their commit.
type slowStore struct {
	registry.Store
	begun chan struct{}
	goOn  chan struct{}
}

func (s slowStore) UpdateAll(ctx context.Context, idxs []registry.Idx, fn func(registry.Idx, registry.Tx) error) error {
	s.begun <- struct{}{}
	<-s.goOn
	return s.Store.UpdateAll(ctx, idxs, fn)
}

func TestTwoImportsKeepOutAThird(t *testing.T) {
	h := newHouse(t, 3)
	slow := slowStore{h.Store, make(chan struct{}), make(chan struct{})}
	h.Store = slow
	var ended sync.WaitGroup
	for party := range 2 {
		line := h.line(party, 1)
		ended.Go(func() {
			if status, _ := h.importing(party, line); status != http.StatusOK {
				t.Errorf("party %d: %d", party, status)
			}
		})
		<-slow.begun
	}
	if status, after := h.importing(2, h.line(2, 1)); status != http.StatusServiceUnavailable || after == "" {
		t.Errorf("the third: %d, again after %q", status, after)
	}
	if h.log.Len() > 0 {
		t.Errorf("it is logged as a fault: %s", h.log)
	}
	close(slow.goOn)
	ended.Wait()
	go func() { <-slow.begun }()
	if status, _ := h.importing(2, h.line(2, 1)); status != http.StatusOK {
		t.Errorf("the third, when they have ended: %d", status)
	}
}
