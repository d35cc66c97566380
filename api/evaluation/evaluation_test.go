// SPDX-License-Identifier: EUPL-1.2

package evaluation

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/oprf"
	"github.com/seinhuis/seinhuis/evaluator"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
)

const school, clinic = api.PartyID("nl-brin:12AB"), api.PartyID("nl-kvk:12345678")

// world is evaluator 2 of three (two needed) behind real TLS on a free port, and
// two parties with certificates of their own.
type world struct {
	*manifesttest.World
	server      *Server
	url         string
	pin         [32]byte // of the evaluator's key
	certs       map[api.PartyID]tls.Certificate
	directory   atomic.Pointer[manifest.Directory]
	clock       atomic.Int64 // nanoseconds since manifesttest.Now
	commitments oprf.Commitments
	logged      *syncBuffer
	registry    tls.Certificate
}

type syncBuffer struct {
	lock sync.Mutex
	b    bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.b.String()
}

func newCert(t testing.TB, name string) tls.Certificate {
	t.Helper()
	dir := t.TempDir()
	certPath, keyPath := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.pem")
	if err := keys.Clear.WriteTLS(certPath, keyPath, name, []string{"127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	cert, err := keys.Clear.ReadTLS(certPath, keyPath)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func newWorld(t testing.TB, change func(*manifest.Manifest)) *world {
	t.Helper()
	w := &world{World: manifesttest.New(t, 2, 3), certs: map[api.PartyID]tls.Certificate{}, logged: new(syncBuffer)}
	commitments, dealt, err := oprf.Deal(2, 3)
	if err != nil {
		t.Fatal(err)
	}
	w.commitments = commitments
	sharing := manifest.Sharing{Epoch: 1, Cohort: 2012, Number: 4}
	for _, c := range commitments.Bytes() {
		sharing.Commitments = append(sharing.Commitments, c)
	}
	w.Manifest.Sharings = []manifest.Sharing{sharing}
	w.registry = newCert(t, "registry")
	w.Manifest.Registry.TLS = keys.SPKIHash(w.registry.Leaf)
	if change != nil {
		change(w.Manifest)
	}
	for _, id := range []api.PartyID{school, clinic} {
		w.certs[id] = newCert(t, string(id))
		spki := keys.SPKIHash(w.certs[id].Leaf)
		w.Directory.Parties = append(w.Directory.Parties, manifest.Party{
			ID: id, Name: "name", Kind: manifest.School, Region: "region",
			Keys: []manifest.Key{manifest.NewKey(manifest.UseTLS, spki[:], manifesttest.Now.AddDate(-1, 0, 0))},
		})
	}
	w.directory.Store(w.Directory)
	budgets, err := evaluator.OpenBudgets(t.TempDir(), evaluator.BudgetOptions{Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { budgets.Close() })
	now := func() time.Time { return manifesttest.Now.Add(time.Duration(w.clock.Load())) }
	e, err := evaluator.New(budgets, now, w.Manifest, 2, []evaluator.Share{{Key: evaluator.Key{Epoch: 1, Cohort: 2012}, Sharing: 4, Value: dealt[1]}})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(w.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.server = New(e, w.directory.Load, now, log)
	if w.server.Witness, err = evaluator.OpenWitness(budgets, w.Witnesses[1], filepath.Join(t.TempDir(), "witness.key")); err != nil {
		t.Fatal(err)
	}

	own := newCert(t, "evaluator-2")
	w.pin = keys.SPKIHash(own.Leaf)
	w.Manifest.Evaluators[1].TLS = w.pin
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.url = "https://" + ln.Addr().String()
	w.Manifest.Evaluators[1].URL = w.url
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- edge.Serve(ctx, &http.Server{
			Handler: w.server.Evaluation(), TLSConfig: edge.ServerTLS(func() tls.Certificate { return own }, w.server.Known),
		}, ln)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return w
}

func (w *world) setClock(now time.Time) { w.clock.Store(int64(now.Sub(manifesttest.Now))) }

type quiet struct{}

func (quiet) Infof(string, ...any)         {}
func (quiet) Errorf(string, ...any)        {}
func (quiet) Fatalf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }
func (w *world) client(id api.PartyID) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: edge.ClientTLS(w.certs[id], w.pin)}}
}

func post(t testing.TB, c *http.Client, url, body string) (*http.Response, []byte) {
	t.Helper()
	resp, err := c.Post(url+"/v1/evaluations", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, answer
}

func blind(t testing.TB, n int) *oprf.Blinding {
	t.Helper()
	inputs := make([][]byte, n)
	for i := range inputs {
		inputs[i] = fmt.Appendf(nil, "input %d", i)
	}
	b, err := oprf.Blind(inputs)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func body(t testing.TB, epoch uint64, cohort int, sharing uint64, elements ...[]byte) string {
	t.Helper()
	q := api.Evaluate{Epoch: epoch, Cohort: cohort, Sharing: sharing}
	for _, e := range elements {
		q.Elements = append(q.Elements, e)
	}
	text, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestEvaluate(t *testing.T) {
	w := newWorld(t, nil)
	blinding := blind(t, 64)
	resp, text := post(t, w.client(school), w.url, body(t, 1, 2012, 4, blinding.Elements()...))
	if resp.StatusCode != http.StatusOK || resp.Header.Get("API-Version") != api.Version {
		t.Fatalf("%s %s", resp.Status, text)
	}
	var a api.Evaluated
	if err := encoding.UnmarshalJSON(text, &a); err != nil {
		t.Fatal(err)
	}
	elements := make([][]byte, len(a.Elements))
	for i, e := range a.Elements {
		elements[i] = e
	}
	if _, err := blinding.Verify(w.commitments, a.Index, elements, a.Proof); err != nil || a.Index != 2 || a.Sharing != 4 {
		t.Errorf("index %d, sharing %d: %v", a.Index, a.Sharing, err)
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t, nil)
	element := blind(t, 1).Elements()[0]
	malformed := func(name, code string) []api.Fault { return []api.Fault{{In: "body", Name: name, Code: code}} }
	for reason, c := range map[string]struct {
		body   string
		code   api.Code
		faults []api.Fault
	}{
		"another_sharing":   {body(t, 1, 2012, 5, element), api.CodeSharing, nil},
		"unknown_epoch":     {body(t, 2, 2012, 4, element), api.CodeEpoch, nil},
		"unknown_cohort":    {body(t, 1, 2013, 4, element), api.CodeEpoch, nil},
		"identity_element":  {body(t, 1, 2012, 4, element, make([]byte, 32)), api.CodeElement, nil},
		"not_an_element":    {body(t, 1, 2012, 4, bytes.Repeat([]byte{0xff}, 32)), api.CodeElement, nil},
		"element_of_31":     {body(t, 1, 2012, 4, element[:31]), api.CodeElement, nil},
		"element_too_short": {body(t, 1, 2012, 4, element[:30]), api.CodeMalformed, malformed("elements.0", api.FaultLength)},
		"element_too_long":  {body(t, 1, 2012, 4, element, append(element[:32:32], 0, 0)), api.CodeMalformed, malformed("elements.1", api.FaultLength)},
		"no_elements":       {body(t, 1, 2012, 4), api.CodeMalformed, malformed("elements", api.FaultForm)}, // elements: null
		"empty_elements":    {`{"epoch":1,"cohort":2012,"sharing":4,"elements":[]}`, api.CodeMalformed, malformed("elements", api.FaultMissing)},
		"65_elements":       {body(t, 1, 2012, 4, slices.Repeat([][]byte{element}, 65)...), api.CodeMalformed, malformed("elements", api.FaultLength)},
		"negative_cohort":   {body(t, 1, -2012, 4, element), api.CodeMalformed, malformed("cohort", api.FaultForm)},
		"unknown_key":       {strings.Replace(body(t, 1, 2012, 4, element), "{", `{"party":"nl-brin:12AB",`, 1), api.CodeMalformed, malformed("", api.FaultUnknownField)},
		"loose_base64":      {`{"epoch":1,"cohort":2012,"sharing":4,"elements":["` + strings.Repeat("A", 42) + `B="]}`, api.CodeMalformed, malformed("elements.0", api.FaultForm)},
		"too_large":         {body(t, 1, 2012, 4, slices.Repeat([][]byte{element}, 2000)...), api.CodeTooLarge, nil},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			resp, text := post(t, w.client(school), w.url, c.body)
			problem := c.code.Problem()
			problem.Errors = c.faults
			want, err := json.Marshal(problem)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != c.code.Refusal().Status || !bytes.Equal(text, want) {
				t.Errorf("%s %s, want %s", resp.Status, text, want)
			}
			if got := resp.Header.Get("Retry-After"); got != "" {
				t.Errorf("Retry-After %q without a reason", got)
			}
		})
	}
}

func TestBudget(t *testing.T) {
	w := newWorld(t, nil) // 100 elements a day
	q := body(t, 1, 2012, 4, slices.Repeat(blind(t, 1).Elements(), 60)...)
	if resp, text := post(t, w.client(school), w.url, q); resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", resp.Status, text)
	}
	resp, text := post(t, w.client(school), w.url, q)
	want, err := json.Marshal(api.CodeBudget.Problem())
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusTooManyRequests || !bytes.Equal(text, want) {
		t.Errorf("%s %s, want %s", resp.Status, text, want)
	}
	if got := resp.Header.Get("Retry-After"); got != "43200" { // from noon to midnight
		t.Errorf("Retry-After %q", got)
	}
	if resp, _ := post(t, w.client(clinic), w.url, q); resp.StatusCode != http.StatusOK {
		t.Errorf("one party's budget stops another: %s", resp.Status)
	}
}

func TestWhoMayCall(t *testing.T) {
	w := newWorld(t, nil)
	q := body(t, 1, 2012, 4, blind(t, 1).Elements()...)
	w.certs["stranger"] = newCert(t, "stranger")
	if _, err := w.client("stranger").Post(w.url+"/v1/evaluations", "application/json", strings.NewReader(q)); err == nil {
		t.Error("a stranger got through the handshake")
	}
	// A key that is revoked while its connection stands is refused at the next
	// request.
	standing := w.client(school)
	if resp, text := post(t, standing, w.url, q); resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", resp.Status, text)
	}
	revoked := *w.Directory
	revoked.Parties = append([]manifest.Party(nil), w.Directory.Parties...)
	key := w.Directory.Parties[0].Keys[0]
	key.Revoked = true
	revoked.Parties[0].Keys = []manifest.Key{key}
	w.directory.Store(&revoked)
	if resp, _ := post(t, standing, w.url, q); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("after its key was revoked: %s", resp.Status)
	}
	if _, err := w.client(school).Post(w.url+"/v1/evaluations", "application/json", strings.NewReader(q)); err == nil {
		t.Error("a revoked key got through the handshake")
	}
	if resp, _ := post(t, w.client(clinic), w.url, q); resp.StatusCode != http.StatusOK {
		t.Errorf("another party: %s", resp.Status)
	}
}

func TestHealth(t *testing.T) {
	const parts = `"parts":[{"name":"manifest","code":"%s"},{"name":"directory","code":"ok"},{"name":"shares","code":"%s"},{"name":"cohort","code":"ok"},{"name":"witness","code":"%s"}]`
	for status, change := range map[string]func(*manifest.Manifest){
		`{"status":"ok",` + fmt.Sprintf(parts, "ok", "ok", "ok"):         nil,
		`{"status":"warning",` + fmt.Sprintf(parts, "ends", "ok", "ok"):  func(m *manifest.Manifest) { m.NotAfter = manifesttest.Now.AddDate(0, 0, 13) },
		`{"status":"fault",` + fmt.Sprintf(parts, "expired", "ok", "ok"): func(m *manifest.Manifest) { m.NotAfter = manifesttest.Now.Add(-time.Second) },
		`{"status":"warning",` + fmt.Sprintf(parts, "ok", "ok", "other"): func(m *manifest.Manifest) {
			m.Evaluators[1].Witness = m.Evaluators[0].Witness
		},
		`{"status":"fault",` + fmt.Sprintf(parts, "ok", "missing", "ok"): func(m *manifest.Manifest) {
			m.Sharings = append(m.Sharings, m.Sharings[0])
			m.Sharings[1].Cohort++
		},
	} {
		w := newWorld(t, change)
		for _, h := range []http.Handler{w.server.Public(), w.server.Operations()} {
			got := httptest.NewRecorder()
			h.ServeHTTP(got, httptest.NewRequest(http.MethodGet, "/health", nil))
			want := http.StatusServiceUnavailable
			if !strings.Contains(status, "fault") {
				want = http.StatusOK
			}
			if got.Code != want || got.Body.String() != status+"}\n" {
				t.Errorf("%d %s, want %d and %q", got.Code, got.Body, want, status)
			}
		}
	}
}

// Health says fault where nothing is evaluated any more, and only there.
func TestADirectoryThatIsOver(t *testing.T) {
	w := newWorld(t, nil)
	q := body(t, 1, 2012, 4, blind(t, 1).Elements()...)
	for after, want := range map[time.Duration]int{0: http.StatusOK, time.Second: http.StatusServiceUnavailable} {
		over := *w.Directory
		over.NotAfter = manifesttest.Now.Add(-after)
		w.directory.Store(&over)
		resp, text := post(t, w.client(school), w.url, q)
		if resp.StatusCode != want || want != http.StatusOK && !strings.Contains(string(text), "unavailable") {
			t.Errorf("%s after its end: %s %s", after, resp.Status, text)
		}
		got := httptest.NewRecorder()
		w.server.Public().ServeHTTP(got, httptest.NewRequest(http.MethodGet, "/health", nil))
		if got.Code != want {
			t.Errorf("%s after its end health is %d", after, got.Code)
		}
	}
}

// What is counted shows only when the minute is over, and neither log nor metrics
// tell who asked for what.
func TestMinutes(t *testing.T) {
	w := newWorld(t, nil)
	element := blind(t, 1).Elements()[0]
	post(t, w.client(school), w.url, body(t, 1, 2012, 4, element, element, element))
	post(t, w.client(clinic), w.url, body(t, 1, 2012, 4, element))
	post(t, w.client(clinic), w.url, body(t, 1, 2012, 9, element))
	metrics := func() string {
		got := httptest.NewRecorder()
		w.server.Operations().ServeHTTP(got, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		return got.Body.String()
	}
	for _, line := range []string{`requests_total{outcome="answered"} 0`, "elements_total 0"} {
		if !strings.Contains(metrics(), line) {
			t.Errorf("before the minute is over: no %q", line)
		}
	}
	w.server.flush()
	for _, line := range []string{`requests_total{outcome="answered"} 2`, `requests_total{outcome="sharing"} 1`, "elements_total 4"} {
		if !strings.Contains(metrics(), line) {
			t.Errorf("after the minute: no %q", line)
		}
	}
	if !strings.Contains(w.logged.String(), "msg=minute elements=4 answered=2 unauthenticated=0 epoch=0 sharing=1") {
		t.Errorf("log: %s", w.logged)
	}
	before := w.logged.String()
	w.server.flush()
	if w.logged.String() != before {
		t.Error("a minute in which nothing happened is logged")
	}
	for _, secret := range []string{"12AB", "12345678", "2012", "127.0.0.1"} {
		if strings.Contains(w.logged.String(), secret) {
			t.Errorf("the log holds %s: %s", secret, w.logged)
		}
		if strings.Contains(metrics(), `"`+secret) {
			t.Errorf("the metrics hold %s", secret)
		}
	}
}

func TestConcurrency(t *testing.T) {
	w := newWorld(t, func(m *manifest.Manifest) { m.Policy.DailyBudget = 8 })
	q := body(t, 1, 2012, 4, blind(t, 1).Elements()...)
	var wg sync.WaitGroup
	var answered, spent atomic.Int64
	for _, id := range []api.PartyID{school, clinic} {
		client := w.client(id)
		for range 12 {
			wg.Go(func() {
				resp, err := client.Post(w.url+"/v1/evaluations", "application/json", strings.NewReader(q))
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				switch resp.StatusCode {
				case http.StatusOK:
					answered.Add(1)
				case http.StatusTooManyRequests:
					spent.Add(1)
				default:
					t.Error(resp.Status)
				}
			})
		}
	}
	wg.Wait()
	if answered.Load() != 16 || spent.Load() != 8 {
		t.Errorf("%d answered and %d refused, want 16 and 8", answered.Load(), spent.Load())
	}
}
