// SPDX-License-Identifier: EUPL-1.2

package gatewaytest

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	standard "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// A Receiver is a case system that gets webhooks, over TLS. It verifies every
// signature with what it was given, and remembers what it took.
type Receiver struct {
	URL      string
	RootFile string // PEM

	t       testing.TB
	mu      sync.Mutex
	cond    *sync.Cond
	keys    []string // whsec_ or whpk_
	answer  func(*http.Request, Delivered) (status int, header http.Header)
	then    func()
	taken   []Delivered
	refused []Delivered
}

// Delivered is a webhook that came.
type Delivered struct {
	ID, Type, Source, Sequence string
	At                         string // webhook-timestamp
	Signatures                 int
	Data                       map[string]any
	Body                       string
}

// NewReceiver starts a receiver. It trusts no key yet.
func NewReceiver(t testing.TB) *Receiver {
	t.Helper()
	r := &Receiver{t: t}
	r.cond = sync.NewCond(&r.mu)
	server := httptest.NewUnstartedServer(r)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	r.URL, r.RootFile = server.URL, RootsFile(t, server.Certificate())
	return r
}

// Trust has the receiver verify with a secret (whsec_) or public key (whpk_) from now
// on: each event needs a signature by one of those given.
func (r *Receiver) Trust(keys ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys = keys
}

// Answer has fn decide how to answer, from now on; nil answers 204. It is not called
// with anything locked.
func (r *Receiver) Answer(fn func(*http.Request, Delivered) (int, http.Header)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = fn
}

// Then has fn called whenever an answer has been given, from now on.
func (r *Receiver) Then(fn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.then = fn
}

// Status is an answer.
func Status(status int) func(*http.Request, Delivered) (int, http.Header) {
	return func(*http.Request, Delivered) (int, http.Header) { return status, nil }
}

// ServeHTTP takes a webhook.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // cut off
	}
	d, err := r.verified(req, body)
	if err != nil {
		r.t.Error(err)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	r.mu.Lock()
	answer := r.answer
	r.mu.Unlock()
	status := http.StatusNoContent
	if answer != nil {
		var header http.Header
		status, header = answer(req, d)
		for name := range header {
			w.Header().Set(name, header.Get(name))
		}
	}
	r.mu.Lock()
	if status < 300 {
		r.taken = append(r.taken, d)
	} else {
		r.refused = append(r.refused, d)
	}
	r.cond.Broadcast()
	then := r.then
	r.mu.Unlock()
	w.WriteHeader(status)
	if then != nil {
		http.NewResponseController(w).Flush()
		then()
	}
}

// verified holds a request against Standard Webhooks and CloudEvents.
func (r *Receiver) verified(req *http.Request, body []byte) (d Delivered, err error) {
	r.mu.Lock()
	keys := r.keys
	r.mu.Unlock()
	ok := false
	for _, key := range keys {
		ok = ok || signedBy(key, req.Header, body)
	}
	if !ok {
		return d, fmt.Errorf("gatewaytest: no signature of %q verifies", req.Header.Get("webhook-id"))
	}
	var event struct {
		SpecVersion     string         `json:"specversion"`
		ID              string         `json:"id"`
		Source          string         `json:"source"`
		Type            string         `json:"type"`
		Time            time.Time      `json:"time"`
		Sequence        string         `json:"sequence"`
		DataContentType string         `json:"datacontenttype"`
		Data            map[string]any `json:"data"`
	}
	strict := json.NewDecoder(strings.NewReader(string(body)))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&event); err != nil {
		return d, fmt.Errorf("gatewaytest: not the CloudEvent that was agreed: %w", err)
	}
	if event.SpecVersion != "1.0" || event.ID != req.Header.Get("webhook-id") || event.Time.IsZero() ||
		!strings.HasPrefix(req.Header.Get("Content-Type"), "application/cloudevents+json") || len(body) > 64<<10 {
		return d, fmt.Errorf("gatewaytest: not a CloudEvent in structured JSON: %s", body)
	}
	return Delivered{
		ID: event.ID, Type: event.Type, Source: event.Source, Sequence: event.Sequence, At: req.Header.Get("webhook-timestamp"),
		Signatures: len(strings.Fields(req.Header.Get("webhook-signature"))), Data: event.Data, Body: string(body),
	}, nil
}

// signedBy verifies with the standard's own library, or else with crypto/ed25519. The
// time in the header is the test's, which is not ours.
func signedBy(key string, h http.Header, body []byte) bool {
	if public, ok := strings.CutPrefix(key, "whpk_"); ok {
		raw, err := base64.StdEncoding.DecodeString(public)
		if err != nil {
			return false
		}
		for one := range strings.FieldsSeq(h.Get("webhook-signature")) {
			encoded, v1a := strings.CutPrefix(one, "v1a,")
			signature, err := base64.StdEncoding.DecodeString(encoded)
			signed := h.Get("webhook-id") + "." + h.Get("webhook-timestamp") + "." + string(body)
			if v1a && err == nil && ed25519.Verify(raw, []byte(signed), signature) {
				return true
			}
		}
		return false
	}
	oracle, err := standard.NewWebhook(key)
	return err == nil && oracle.VerifyIgnoringTimestamp(body, h) == nil
}

// Taken waits until so many webhooks were taken, and gives all there are.
func (r *Receiver) Taken(n int) []Delivered { return r.await(n, &r.taken) }

// Refused waits until so many webhooks were answered with anything but 2xx.
func (r *Receiver) Refused(n int) []Delivered { return r.await(n, &r.refused) }

func (r *Receiver) await(n int, list *[]Delivered) []Delivered {
	r.t.Helper()
	expired := false
	timer := time.AfterFunc(20*time.Second, func() { // nothing is judged by it
		r.mu.Lock()
		defer r.mu.Unlock()
		expired = true
		r.cond.Broadcast()
	})
	defer timer.Stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(*list) < n {
		if expired {
			r.t.Fatalf("%d webhooks came, %d were expected", len(*list), n)
		}
		r.cond.Wait()
	}
	return append([]Delivered(nil), *list...)
}
