// SPDX-License-Identifier: EUPL-1.2

// Package gatewaytest puts a whole Seinhuis around the gateways of a test: real
// evaluators and a real registry behind real TLS, a signed manifest and directory,
// and parties with keys. The test holds the clock, and can have any part fail.
package gatewaytest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/oprf"
	"github.com/seinhuis/seinhuis/evaluator"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/logging"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
	"github.com/seinhuis/seinhuis/matcher"
)

// Threshold of Evaluators evaluators are needed.
const (
	Threshold  = 2
	Evaluators = 3
)

// Cohorts are the birth years that have a key. On the clock's first day, 4 March
// 2027, who was born on 4 March 2004 turns 23.
var Cohorts = []int{2004, 2010, 2012, 2015}

// A World is everything around the gateways.
type World struct {
	*manifesttest.World
	Faults   [Evaluators]*Fault // of each evaluator
	Registry *Fault
	Matcher  *matcher.Matcher
	Log      *Log                  // of all gateways
	Change   func(*gateway.Config) // what a test wants otherwise

	t          testing.TB
	folder     string
	evaluators [Evaluators]*evaluatorRun
	shares     [Evaluators][]evaluator.Share
	secrets    map[evaluator.Key][]byte // the keys undivided, to share them anew

	registry registryRun

	mu      sync.Mutex
	clock   time.Time
	notes   [2][]byte // as the registry serves them
	inForce struct {
		*manifest.Manifest
		*manifest.Directory
	}
}

// A Fault says how a server fails; the zero value does not.
type Fault struct {
	mu       sync.Mutex
	mode     Mode
	onAsked  func(r *http.Request)
	onAnswer func(r *http.Request)
	rewrite  func(path string, answer []byte) []byte
}

// A Mode is a way to fail.
type Mode int

// Ways to fail.
const (
	Works  Mode = iota
	Away        // 503 to everything
	Hangs       // no answer until the caller gives up
	Forges      // an evaluator's proof, or the registry's last signature, is not what it was
	Loses       // does what it is asked, and the answer is lost
	Busy        // has no room for imports
)

// Set changes how the server fails from now on.
func (f *Fault) Set(m Mode) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mode = m
}

// OnAsked has fn called at every request, before it is handled.
func (f *Fault) OnAsked(fn func(*http.Request)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onAsked = fn
}

// OnAnswer has fn called at every request that was handled, before it is answered; also
// when it was asked before.
func (f *Fault) OnAnswer(fn func(*http.Request)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onAnswer = fn
}

// Rewrite has fn change every answer, or with nil none.
func (f *Fault) Rewrite(fn func(path string, answer []byte) []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rewrite = fn
}

func (f *Fault) wrap(next http.Handler, forged string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		mode, asked := f.mode, f.onAsked
		f.mu.Unlock()
		if asked != nil {
			asked(r)
		}
		if mode == Busy && r.URL.Path == "/v1/imports" {
			w.Header().Set("Retry-After", "2")
			mode = Away
		}
		switch mode {
		case Away:
			edge.WriteProblem(w, api.CodeUnavailable.Problem())
		case Hangs:
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		case Loses:
			next.ServeHTTP(&recorder{header: http.Header{}}, r)
			panic(http.ErrAbortHandler)
		default:
			got := &recorder{header: http.Header{}, status: http.StatusOK}
			next.ServeHTTP(got, r)
			f.mu.Lock()
			answer := f.onAnswer
			f.mu.Unlock()
			if answer != nil {
				answer(r)
			}
			maps.Copy(w.Header(), got.header)
			w.Header().Del("Content-Length")
			w.WriteHeader(got.status)
			w.Write(f.changed(r.URL.Path, got.body.Bytes(), forged))
		}
	})
}

// changed is an answer as it is given; who waited for it long gets it as it is
// given now.
func (f *Fault) changed(path string, body []byte, forged string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.mode == Forges:
		return forge(body, forged)
	case f.rewrite != nil:
		return f.rewrite(path, body)
	}
	return body
}

// forge changes the first character of the last field of this name.
func forge(body []byte, field string) []byte {
	mark := []byte(`"` + field + `":"`)
	if i := bytes.LastIndex(body, mark); i >= 0 {
		at := i + len(mark)
		if body[at] == 'A' {
			body[at] = 'B'
		} else {
			body[at] = 'A'
		}
	}
	return body
}

type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }

// New makes a world of so many parties, named by Party.
func New(t testing.TB, parties int) *World {
	t.Helper()
	return newWorld(t, parties, manifesttest.Now, false, "")
}

func newWorld(t testing.TB, parties int, clock time.Time, logged bool, disk string) *World {
	t.Helper()
	w := &World{
		World: manifesttest.New(t, Threshold, Evaluators), Registry: new(Fault), Log: new(Log),
		t: t, folder: t.TempDir(), secrets: map[evaluator.Key][]byte{}, clock: clock,
	}
	w.registry.logged, w.registry.root = logged, disk
	if !logged {
		w.Manifest.Registry.Log = ""
	}
	for _, cohort := range Cohorts {
		w.deal(1, cohort)
	}
	for i := range parties {
		w.Directory.Parties = append(w.Directory.Parties, w.partyKeys(i))
	}
	receiptPublic, receipt, err := ed25519.GenerateKey(rand.Reader)
	w.must(err)
	w.Manifest.Registry.ReceiptKeys = []manifest.Key{manifest.NewKey("", receiptPublic, w.clock.AddDate(-1, 0, 0))}
	w.Manifest.NotAfter = w.clock.AddDate(50, 0, 0) // some tests have the real clock
	w.Directory.NotAfter = w.Manifest.NotAfter
	w.Manifest.Policy.DailyBudget, w.Manifest.Policy.MonthlyBudget = 10_000, 100_000
	w.startRegistry(receipt)
	for i := range w.Manifest.Evaluators {
		w.startEvaluator(i)
	}
	w.Publish()
	return w
}

func (w *World) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// deal makes the key of a cohort, and shares it.
func (w *World) deal(epoch uint64, cohort int) {
	var key [oprf.ScalarSize]byte
	rand.Read(key[:oprf.ScalarSize-1]) // under the group's order, so canonical
	w.secrets[evaluator.Key{Epoch: epoch, Cohort: cohort}] = key[:]
	w.Manifest.Sharings = append(w.Manifest.Sharings, w.share(epoch, cohort, 1))
}

func (w *World) share(epoch uint64, cohort int, number uint64) manifest.Sharing {
	key := evaluator.Key{Epoch: epoch, Cohort: cohort}
	commitments, dealt, err := oprf.Split(w.secrets[key], Threshold, Evaluators)
	w.must(err)
	sharing := manifest.Sharing{Epoch: epoch, Cohort: cohort, Number: number}
	for _, c := range commitments.Bytes() {
		sharing.Commitments = append(sharing.Commitments, c)
	}
	for i := range w.shares {
		w.shares[i] = append(w.shares[i], evaluator.Share{Key: key, Sharing: number, Value: dealt[i]})
	}
	return sharing
}

// Reshare shares every key anew.
func (w *World) Reshare() {
	for i, s := range w.Manifest.Sharings {
		w.Manifest.Sharings[i] = w.share(s.Epoch, s.Cohort, s.Number+1)
	}
}

// OpenEpoch opens a second epoch beside the first, with keys for all cohorts.
func (w *World) OpenEpoch(number uint64) {
	w.Manifest.Epochs = append(w.Manifest.Epochs, manifest.Epoch{
		Number: number, State: manifest.EpochOpen, Opens: encoding.Date{Year: 2027, Month: 3, Day: 1},
	})
	for _, cohort := range Cohorts {
		w.deal(number, cohort)
	}
}

// Publish signs the manifest and directory as they are now; the servers take them
// up, and gateways can fetch them.
func (w *World) Publish() {
	w.t.Helper()
	if w.notes[0] != nil {
		m, d := w.trust()
		w.Manifest.Version, w.Manifest.Previous = m.Version+1, m.Hash()
		w.Directory.Version, w.Directory.Previous = d.Version+1, d.Hash()
	}
	slices.SortFunc(w.Directory.Parties, func(a, b manifest.Party) int { return strings.Compare(string(a.ID), string(b.ID)) })
	notes := [2][]byte{w.SignedManifest(w.t), w.SignedDirectory(w.t)}
	m, d := parsed(w.t, notes)
	for i, e := range w.evaluators {
		w.must(e.engine.Load(m, i+1, w.shares[i]))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notes = notes
	w.inForce.Manifest, w.inForce.Directory = m, d
}

// parsed gives copies, which tests that change the world do not touch.
func parsed(t testing.TB, notes [2][]byte) (*manifest.Manifest, *manifest.Directory) {
	t.Helper()
	var texts [2]string
	var err error
	for i := range notes {
		if texts[i], err = manifest.TextOf(notes[i]); err != nil {
			t.Fatal(err)
		}
	}
	m, err := manifest.ParseManifest(texts[0])
	if err != nil {
		t.Fatal(err)
	}
	d, err := manifest.ParseDirectory(texts[1])
	if err != nil {
		t.Fatal(err)
	}
	return m, d
}

func (w *World) trust() (*manifest.Manifest, *manifest.Directory) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.inForce.Manifest, w.inForce.Directory
}

func (w *World) served() (m, d []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.notes[0], w.notes[1]
}

// Now is the time that all parts see.
func (w *World) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

// Advance moves the clock, and has the registry believe it.
func (w *World) Advance(d time.Duration) {
	w.mu.Lock()
	w.clock = w.clock.Add(d)
	w.mu.Unlock()
	_, err := w.Matcher.AcceptClock(context.Background())
	w.must(err)
}

// Measured is what registry and evaluators tell at /metrics.
func (w *World) Measured() string {
	var text strings.Builder
	w.registry.up.RLock()
	defer w.registry.up.RUnlock()
	all := []http.Handler{w.registry.server.Operations()}
	for _, e := range w.evaluators {
		all = append(all, e.server.Load().Operations())
	}
	for _, of := range all {
		got := httptest.NewRecorder()
		of.ServeHTTP(got, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		text.Write(got.Body.Bytes())
	}
	return text.String()
}

// listen serves a handler as a part of Seinhuis does: TLS 1.3, known keys only.
func (w *World) listen(name string, handler http.Handler, known func([32]byte) bool) (url string, pin manifest.Pin, cert tls.Certificate) {
	w.t.Helper()
	folder := w.t.TempDir()
	certPath, keyPath := filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.pem")
	w.must(keys.Clear.WriteTLS(certPath, keyPath, name, []string{"127.0.0.1"}))
	cert, err := keys.Clear.ReadTLS(certPath, keyPath)
	w.must(err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	var serving sync.RWMutex // by every request that is being handled
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			serving.RLock()
			defer serving.RUnlock()
			handler.ServeHTTP(w, r)
		}),
		TLSConfig: edge.ServerTLS(func() tls.Certificate { return cert }, known),
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	go srv.ServeTLS(ln, "", "")
	w.t.Cleanup(func() {
		srv.Close()    // does not wait for handlers,
		serving.Lock() // and what they stand on is closed next
	})
	return "https://" + ln.Addr().String(), keys.SPKIHash(cert.Leaf), cert
}

// Party names party i.
func Party(i int) api.PartyID { return api.PartyID(fmt.Sprintf("nl-kvk:%08d", i)) }

// KeysOf is the keys folder of party i.
func (w *World) KeysOf(i int) string { return filepath.Join(w.folder, fmt.Sprintf("party-%d", i)) }

func (w *World) partyKeys(i int) manifest.Party {
	folder := w.KeysOf(i)
	w.must(os.MkdirAll(folder, 0o700))
	in := func(name string) string { return filepath.Join(folder, name) }
	sign, err := keys.Clear.WriteSigning(in(gateway.FileSign))
	w.must(err)
	hpke, err := keys.Clear.WriteHPKE(in(gateway.FileHPKE))
	w.must(err)
	w.must(keys.Clear.WriteTLS(in(gateway.FileTLSCert), in(gateway.FileTLSKey), string(Party(i)), nil))
	w.must(keys.Clear.WriteSecret(in(gateway.FileToken), 32))
	cert, err := keys.Clear.ReadTLS(in(gateway.FileTLSCert), in(gateway.FileTLSKey))
	w.must(err)
	pin := keys.SPKIHash(cert.Leaf)
	from := w.clock.AddDate(-1, 0, 0)
	return manifest.Party{
		ID: Party(i), Name: fmt.Sprintf("Organisatie %d", i), Kind: manifest.School, Region: "Utrecht",
		Keys: []manifest.Key{
			manifest.NewKey(manifest.UseSign, sign, from), manifest.NewKey(manifest.UseHPKE, hpke.Bytes(), from),
			manifest.NewKey(manifest.UseTLS, pin[:], from),
		},
	}
}

type quiet struct{}

func (quiet) Infof(string, ...any)              {}
func (quiet) Errorf(string, ...any)             {}
func (quiet) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// A Log gathers what gateways log.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Logger writes all levels to the log.
func (l *Log) Logger() *slog.Logger {
	return logging.New(l, slog.LevelDebug)
}

// A House is a gateway that runs.
type House struct {
	*gateway.Gateway
	Config  gateway.Config
	FS      vfs.FS
	Metrics *prometheus.Registry

	w      *World
	cancel context.CancelFunc
	ended  chan error
}

// Run starts a gateway that serves parties, on a store in memory.
func (w *World) Run(parties ...int) *House {
	w.t.Helper()
	return w.RunOn(vfs.NewMem(), parties...)
}

// RunOn starts a gateway on a file system.
func (w *World) RunOn(fs vfs.FS, parties ...int) *House {
	w.t.Helper()
	h := w.OpenOn(fs, parties...)
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel, h.ended = cancel, make(chan error, 1)
	go func() { h.ended <- h.Gateway.Run(ctx) }()
	w.t.Cleanup(h.Stop)
	return h
}

// OpenOn opens a gateway that does not run: its queue stands still.
func (w *World) OpenOn(fs vfs.FS, parties ...int) *House {
	w.t.Helper()
	h := &House{Config: w.Configure(parties...), FS: fs, Metrics: prometheus.NewRegistry(), w: w}
	var err error
	h.Gateway, err = gateway.Open(h.Config, gateway.Options{Log: w.Log.Logger(), Now: w.Now, FS: fs, Metrics: h.Metrics})
	w.must(err)
	return h
}

// Configure writes the files of a configuration, the notes as they are served now.
func (w *World) Configure(parties ...int) gateway.Config {
	w.t.Helper()
	in := func(name string) string { return filepath.Join(w.folder, name) }
	if _, err := os.Stat(in("storage.key")); err != nil {
		w.must(keys.Clear.WriteSecret(in("storage.key"), gateway.StorageKeySize))
	}
	m, d := w.served()
	pins := w.Pins()
	text := fmt.Appendf(nil, `{"dep":%q,"governance":%q,"evaluators":["%s"],"threshold":%d}`,
		pins.Dep, pins.Governance, strings.Join(pins.Evaluators, `","`), pins.Threshold)
	for name, content := range map[string][]byte{"pins.json": text, "manifest.txt": m, "directory.txt": d} {
		w.must(os.WriteFile(in(name), content, 0o600))
	}
	c := gateway.Config{
		Data: "data", StorageKey: in("storage.key"), Pins: in("pins.json"), Manifest: in("manifest.txt"), Directory: in("directory.txt"),
	}
	for _, i := range parties {
		c.Parties = append(c.Parties, gateway.PartyConfig{
			ID: Party(i), Keys: w.KeysOf(i), Token: filepath.Join(w.KeysOf(i), gateway.FileToken),
			Card: gateway.CardConfig{Desk: fmt.Sprintf("Balie %d", i), Phone: fmt.Sprintf("+31 20 555 01 %02d", i)},
		})
	}
	if w.Change != nil {
		w.Change(&c)
	}
	return c
}

// Stop stops a gateway that runs, and closes it; doing it again does nothing.
func (h *House) Stop() {
	if h.cancel == nil {
		return
	}
	h.cancel()
	h.cancel = nil
	if err := <-h.ended; err != nil {
		h.w.t.Error(err)
	}
	if err := h.Gateway.Close(); err != nil {
		h.w.t.Error(err)
	}
}

// Of gives a party that the gateway serves.
func (h *House) Of(i int) *gateway.Party {
	h.w.t.Helper()
	p, ok := h.Party(Party(i))
	if !ok {
		h.w.t.Fatalf("the gateway does not serve party %d", i)
	}
	return p
}
