// SPDX-License-Identifier: EUPL-1.2

package evaluation

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/api/witness"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
)

// aLog is the registry's log at a size, with leaves of a kind.
type aLog struct {
	key    note.Signer
	size   int64
	hashes []tlog.Hash
}

func (l *aLog) ReadHashes(at []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(at))
	for i, n := range at {
		out[i] = l.hashes[n]
	}
	return out, nil
}

func (w *world) log(t testing.TB, size int64, kind string) *aLog {
	t.Helper()
	l := &aLog{key: w.Log}
	for ; l.size < size; l.size++ {
		more, err := tlog.StoredHashes(l.size, fmt.Appendf(nil, "%s %d", kind, l.size), l)
		if err != nil {
			t.Fatal(err)
		}
		l.hashes = append(l.hashes, more...)
	}
	return l
}

func (l *aLog) asks(t testing.TB, old int64) audit.Add {
	t.Helper()
	root, err := tlog.TreeHash(l.size, l)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := audit.Checkpoint{Origin: l.key.Name(), Size: l.size, Root: root}.Sign(l.key)
	if err != nil {
		t.Fatal(err)
	}
	add := audit.Add{Old: old, Checkpoint: msg}
	if old > 0 && old < l.size {
		if add.Proof, err = tlog.ProveTree(l.size, old, l); err != nil {
			t.Fatal(err)
		}
	}
	return add
}

// asking is the registry's client of the evaluator.
func (w *world) asking(t testing.TB) *witness.Client {
	t.Helper()
	c, err := witness.New(w.Manifest.Evaluators[1], func() tls.Certificate { return w.registry })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (w *world) witnessKeys(t testing.TB) audit.Keys {
	t.Helper()
	k, err := audit.ParseKeys(w.Manifest.Registry.Log, []string{w.Manifest.Evaluators[1].Witness}, 1)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (w *world) measured() string {
	got := httptest.NewRecorder()
	w.server.Operations().ServeHTTP(got, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return got.Body.String()
}

func TestWitness(t *testing.T) {
	w := newWorld(t, nil)
	c, k := w.asking(t), w.witnessKeys(t)
	if _, err := c.Latest(t.Context()); !errors.Is(err, witness.ErrNone) {
		t.Errorf("before the first: %v", err)
	}
	size := int64(0)
	for _, next := range []int64{0, 3, 3, 300} {
		add := w.log(t, next, "leaf").asks(t, size)
		line, err := c.Add(t.Context(), add)
		if err != nil {
			t.Fatal(err)
		}
		size = next
		signed := append(bytes.Clone(add.Checkpoint), line...)
		if got, _, err := k.OpenCosigned(signed); err != nil || got.Size != size {
			t.Fatalf("%v: %s", err, signed)
		}
		if latest, err := c.Latest(t.Context()); err != nil || !bytes.Equal(latest, signed) {
			t.Errorf("latest is %s (%v), want %s", latest, err, signed)
		}
	}
	// A party can ask too.
	resp, err := w.client(school).Get(w.url + witness.LatestPath)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got, _, err := k.OpenCosigned(text); err != nil || got.Size != size {
		t.Errorf("%v: %s %s", err, resp.Status, text)
	}
	if want := `checkpoints_total{outcome="cosigned"} 4`; !strings.Contains(w.measured(), want) {
		t.Errorf("no %s", want)
	}
	if told := w.logged.String(); strings.Contains(told, "level=WARN") || strings.Contains(told, "level=ERROR") {
		t.Errorf("what is as it should be is logged: %s", w.logged)
	}
}

func TestWitnessRefusals(t *testing.T) {
	for reason, c := range map[string]struct {
		body    func(w *world) []byte
		status  int
		answer  string // or the code of the problem
		outcome string
		logs    string
	}{
		"not_a_request": {func(*world) []byte { return []byte("old\n") }, 400, "malformed", "malformed", "checkpoint not cosigned"},
		"old_over_the_size": {func(w *world) []byte {
			return audit.Add{Old: 4, Checkpoint: w.log(t, 3, "leaf").asks(t, 0).Checkpoint}.Marshal()
		}, 400, "malformed", "malformed", "checkpoint not cosigned"},
		"another_log": {func(w *world) []byte {
			l := w.log(t, 5, "leaf")
			l.key, _ = manifesttest.Signer(t, audit.Origin("other"))
			return l.asks(t, 3).Marshal()
		}, 404, "unknown-log", "log", "checkpoint not cosigned"},
		"another_key": {func(w *world) []byte {
			l := w.log(t, 5, "leaf")
			l.key, _ = manifesttest.Signer(t, w.Log.Name())
			return l.asks(t, 3).Marshal()
		}, 403, "log-signature", "signature", "checkpoint not cosigned"},
		"another_size":   {func(w *world) []byte { return w.log(t, 5, "leaf").asks(t, 0).Marshal() }, 409, "3\n", "size", ""},
		"another_tree":   {func(w *world) []byte { return w.log(t, 3, "other").asks(t, 3).Marshal() }, 409, "3\n", "forked", "log forked"},
		"fork_that_grew": {func(w *world) []byte { return w.log(t, 5, "other").asks(t, 3).Marshal() }, 422, "consistency", "proof", "checkpoint not cosigned"},
		"no_proof": {func(w *world) []byte {
			return audit.Add{Old: 3, Checkpoint: w.log(t, 5, "leaf").asks(t, 0).Checkpoint}.Marshal()
		}, 422, "consistency", "proof", "checkpoint not cosigned"},
		"over_the_limit": {func(*world) []byte { return bytes.Repeat([]byte("a"), 16385) }, 413, "too-large", "", ""},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			w := newWorld(t, nil)
			if _, err := w.asking(t).Add(t.Context(), w.log(t, 3, "leaf").asks(t, 0)); err != nil {
				t.Fatal(err)
			}
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: edge.ClientTLS(w.registry, w.pin)}}
			defer client.CloseIdleConnections()
			resp, err := client.Post(w.url+audit.WitnessPath, "text/plain", bytes.NewReader(c.body(w)))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			kind, want := "application/problem+json", `"urn:seinhuis:problem:`+c.answer+`"`
			if c.status == http.StatusConflict {
				kind, want = audit.SizeType, c.answer
			}
			if resp.StatusCode != c.status || resp.Header.Get("Content-Type") != kind || !strings.Contains(string(text), want) ||
				c.status == http.StatusConflict && string(text) != want {
				t.Errorf("%s %s %q", resp.Status, resp.Header.Get("Content-Type"), text)
			}
			if outcome := `checkpoints_total{outcome="` + c.outcome + `"} 1`; c.outcome != "" && !strings.Contains(w.measured(), outcome) {
				t.Errorf("no %s", outcome)
			}
			told := w.logged.String()
			if c.logs == "" && strings.Contains(told, "level=WARN") || !strings.Contains(told, c.logs) || strings.Contains(told, "level=ERROR") != (c.logs == "log forked") {
				t.Errorf("logged %q, want %q", told, c.logs)
			}
		})
	}
}

// What the client gives for each refusal.
func TestWitnessClient(t *testing.T) {
	w := newWorld(t, nil)
	c := w.asking(t)
	if _, err := c.Add(t.Context(), w.log(t, 3, "leaf").asks(t, 0)); err != nil {
		t.Fatal(err)
	}
	_, err := c.Add(t.Context(), w.log(t, 5, "leaf").asks(t, 0))
	if size, ok := errors.AsType[*witness.SizeError](err); !ok || size.Size != 3 {
		t.Errorf("another size: %v", err)
	}
	_, err = c.Add(t.Context(), w.log(t, 5, "other").asks(t, 3))
	if status, ok := errors.AsType[*witness.StatusError](err); !ok || status.Status != http.StatusUnprocessableEntity {
		t.Errorf("a fork: %v", err)
	}

	// A cosignature of another key than the manifest's is none.
	other := w.Manifest.Evaluators[1]
	other.Witness = w.Manifest.Evaluators[0].Witness
	wrong, err := witness.New(other, func() tls.Certificate { return w.registry })
	if err != nil {
		t.Fatal(err)
	}
	defer wrong.Close()
	if _, err := wrong.Add(t.Context(), w.log(t, 3, "leaf").asks(t, 3)); !errors.Is(err, witness.ErrAnswer) {
		t.Errorf("another witness's key: %v", err)
	}
	if _, err := wrong.Latest(t.Context()); !errors.Is(err, witness.ErrAnswer) {
		t.Errorf("another witness's key: %v", err)
	}
	other.TLS = manifesttest.Random32()
	if wrong, err = witness.New(other, func() tls.Certificate { return w.registry }); err != nil {
		t.Fatal(err)
	}
	if _, err := wrong.Latest(t.Context()); !errors.Is(err, edge.ErrUnknownKey) {
		t.Errorf("another server's key: %v", err)
	}
	other.Witness = "no key"
	if _, err := witness.New(other, nil); !errors.Is(err, audit.ErrLogKey) {
		t.Errorf("not a witness's key: %v", err)
	}

	// The registry's certificate is replaced under its key; and then its key.
	w.registry = newCert(t, "registry")
	if _, err := c.Latest(t.Context()); err == nil {
		t.Error("another key than the manifest's for the registry is let in")
	}
}

// Without a log in the manifest, or as no witness, there is nothing to cosign.
func TestNoWitness(t *testing.T) {
	for name, change := range map[string]func(w *world){
		"no_witness": func(w *world) { w.server.Witness = nil },
		"no_log":     func(w *world) { w.Manifest.Registry.Log = "" },
	} {
		t.Run("rejects/"+name, func(t *testing.T) {
			w := newWorld(t, nil)
			c := w.asking(t)
			add := w.log(t, 3, "leaf").asks(t, 0)
			change(w)
			_, err := c.Add(t.Context(), add)
			if status, ok := errors.AsType[*witness.StatusError](err); !ok || status.Status != http.StatusNotFound {
				t.Error(err)
			}
			if _, err := c.Latest(t.Context()); !errors.Is(err, witness.ErrNone) {
				t.Error(err)
			}
		})
	}
}

// Two registries with one key, as after a restore beside the one that runs: of two trees
// of one size one is cosigned.
func TestRacingForks(t *testing.T) {
	w := newWorld(t, nil)
	var g sync.WaitGroup
	var mu sync.Mutex
	cosigned := map[string]bool{}
	for i := range 8 {
		kind := fmt.Sprint(i % 4)
		c, add := w.asking(t), w.log(t, 4, kind).asks(t, 0)
		g.Go(func() {
			_, err := c.Add(t.Context(), add)
			_, refused := errors.AsType[*witness.SizeError](err)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				cosigned[kind] = true
			case !refused:
				t.Error(err)
			}
		})
	}
	g.Wait()
	if len(cosigned) != 1 {
		t.Errorf("%d trees of one size are cosigned", len(cosigned))
	}
}

// The registry's key opens nothing that is the parties', and theirs nothing of the
// registry's; nobody else comes in. The contract's test has the rest.
func TestWhoMayAskTheWitness(t *testing.T) {
	w := newWorld(t, nil)
	ask := func(cert tls.Certificate, method, path, kind string, body []byte) (int, error) {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: edge.ClientTLS(cert, w.pin), DisableKeepAlives: true}}
		req, err := http.NewRequestWithContext(t.Context(), method, w.url+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", kind)
		resp, err := client.Do(req)
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, resp.Body.Close()
	}
	add := w.log(t, 3, "leaf").asks(t, 0).Marshal()
	q := []byte(body(t, 1, 2012, 4, blind(t, 1).Elements()...))
	for _, c := range []struct {
		cert               tls.Certificate
		method, path, kind string
		body               []byte
		status             int
	}{
		{w.certs[school], http.MethodPost, audit.WitnessPath, "text/plain", add, http.StatusUnauthorized},
		{w.registry, http.MethodPost, "/v1/evaluations", "application/json", q, http.StatusUnauthorized},
		{w.registry, http.MethodGet, "/v1/budget", "", nil, http.StatusUnauthorized},
		{w.registry, http.MethodPost, audit.WitnessPath, "text/plain", add, http.StatusOK},
	} {
		if got, err := ask(c.cert, c.method, c.path, c.kind, c.body); got != c.status || err != nil {
			t.Errorf("%s: %d (%v), want %d", c.path, got, err, c.status)
		}
	}
	if _, err := ask(newCert(t, "stranger"), http.MethodPost, audit.WitnessPath, "text/plain", add); err == nil {
		t.Error("a stranger is let in")
	}
}
