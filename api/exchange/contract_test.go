// SPDX-License-Identifier: EUPL-1.2

package exchange_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/api/contracttest"
	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
)

// ours are the operations of a registry: an evaluator's are not on its listeners.
func ours(op *edge.Operation) bool {
	return op.Tags[0] == "registry" || op.Tags[0] == "public"
}

// TestContract walks every operation of the registry. An operation that is new needs
// a row in calls.
func TestContract(t *testing.T) {
	h := newHouse(t, 2)
	text := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	standing := h.Signal(0, matchertest.Child(1))
	calls := map[string]contracttest.Call{
		"registerSignal":  {Body: text(h.Write(0, matchertest.Child(2), api.NewSID(), 1).Submission), Status: 201},
		"importSignals":   {Body: text(h.Write(0, matchertest.Child(3), api.NewSID(), 1).Submission) + "\n"},
		"actOnSignal":     {Body: text(h.Withdrawal(standing))},
		"readEvents":      {Query: "wait=0&limit=10"},
		"readQuota":       {},
		"readManifest":    {},
		"readDirectory":   {},
		"readDescription": {},
		"readHealth":      {},
	}
	description, err := edge.Load(api.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	// Only an evaluator may ask readUsage, a test of its own has it.
	admits := func(op *edge.Operation) bool { return ours(op) && op.ID != "readUsage" }
	contracttest.Contract{
		Description: description, Admits: admits, URL: h.parties, Calls: calls, Version: api.Version,
		Known: h.clients[0].Transport.RoundTrip, Foreign: h.revoked(1).RoundTrip,
	}.Walk(t)
}

// TestPublicContract walks what anybody may ask, without a certificate.
func TestPublicContract(t *testing.T) {
	h := newHouse(t, 1)
	description, err := edge.Load(api.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	contracttest.Contract{
		Description: description, Admits: func(op *edge.Operation) bool { return ours(op) && edge.Public(op) }, URL: h.public, Version: api.Version,
		Calls: map[string]contracttest.Call{"readManifest": {}, "readDirectory": {}, "readDescription": {}, "readHealth": {}},
		Known: http.DefaultTransport.RoundTrip,
	}.Walk(t)
	resp, err := http.Get(h.public + "/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	served, err := io.ReadAll(resp.Body)
	if err != nil || resp.Header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(string(served), `"openapi":"3.0.3"`) {
		t.Errorf("openapi.json: %s, %v", resp.Status, err)
	}
}

// revoked is a connection of a party that stood when its key was taken out of the directory.
func (h *house) revoked(party int) http.RoundTripper {
	h.t.Helper()
	transport := h.clients[party].Transport
	if resp := h.ask(h.clients[party], "GET", h.parties+"/v1/events", nil, nil); resp.StatusCode != 200 {
		h.t.Fatal(resp.Status)
	}
	without := *h.Directory
	without.Parties = append([]manifest.Party(nil), h.Directory.Parties...)
	without.Parties[party].Keys = nil
	h.Matcher.Trust = func() (*manifest.Manifest, *manifest.Directory) { return h.Manifest, &without }
	return transport
}
