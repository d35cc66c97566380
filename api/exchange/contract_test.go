// SPDX-License-Identifier: EUPL-1.2

package exchange_test

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/api/contracttest"
	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/audit"
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
	h.keepLog()
	calls := map[string]contracttest.Call{
		"registerSignal":   {Body: text(h.Write(0, matchertest.Child(2), api.NewSID(), 1).Submission), Status: 201},
		"importSignals":    {Body: text(h.Write(0, matchertest.Child(3), api.NewSID(), 1).Submission) + "\n"},
		"actOnSignal":      {Body: text(h.Withdrawal(standing))},
		"readEvents":       {Query: "wait=0&limit=10"},
		"readQuota":        {},
		"readUsage":        {Query: "day=" + h.Now().UTC().Format(time.DateOnly)},
		"readManifest":     {},
		"readDirectory":    {},
		"readCheckpoint":   {},
		"proveConsistency": {Query: "from=1&to=2"},
		"proveInclusion":   {Body: text(api.LogQuery{Size: 2, Leaves: []api.Hash{audit.Published(audit.Directory, h.Directory.Hash()).Hash(), {1}}})},
		"readDescription":  {},
		"readHealth":       {},
	}
	description, err := edge.Load(api.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	calls["takeCertificate"] = contracttest.Call{Body: h.certificate(t, 101, 1990), Status: http.StatusNoContent}
	current, gone := h.evaluators(t)
	party, left := h.clients[0].Transport.RoundTrip, h.revoked(1).RoundTrip
	as := func(party, evaluator contracttest.Caller) func(*edge.Operation) contracttest.Caller {
		return func(op *edge.Operation) contracttest.Caller {
			if slices.Contains(op.Callers, "evaluator") {
				return evaluator
			}
			return party
		}
	}
	contracttest.Contract{
		Description: description, Admits: ours, URL: h.parties, Calls: calls, Version: api.Version,
		Known: as(party, current),
		Strangers: map[string]contracttest.Stranger{
			"revoked":      {Status: http.StatusUnauthorized, Of: as(left, gone)},
			"another kind": {Status: http.StatusUnauthorized, Of: as(current, party)},
		},
	}.Walk(t)
	// Who has no certificate, or one that nobody knows, does not come so far.
	other, _ := identity(t, "stranger")
	for name, config := range map[string]*tls.Config{"none": {InsecureSkipVerify: true}, "unknown": edge.ClientTLS(other, h.pin)} {
		if _, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: config}}).Get(h.parties + "/v1/manifest"); err == nil {
			t.Errorf("certificate %s: there is an answer", name)
		}
	}
}

// evaluators are connections of one evaluator in the manifest, and of one that was taken
// out of it while its connection stood.
func (h *house) evaluators(t *testing.T) (current, gone contracttest.Caller) {
	t.Helper()
	with := *h.Manifest
	var callers []contracttest.Caller
	for i := range 2 {
		cert, pin := identity(t, "evaluator")
		with.Evaluators = append(with.Evaluators, manifest.Evaluator{Index: 101 + i, TLS: pin, Note: h.vkey})
		transport := &http.Transport{TLSClientConfig: edge.ClientTLS(cert, h.pin)}
		t.Cleanup(transport.CloseIdleConnections)
		callers = append(callers, transport.RoundTrip)
	}
	h.Manifest = &with
	day := h.parties + "/v1/usage?day=" + h.Now().UTC().Format(time.DateOnly)
	for _, caller := range callers {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, day, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := caller(r)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
	}
	without := with
	without.Evaluators = with.Evaluators[:len(with.Evaluators)-1]
	h.Manifest = &without
	return callers[0], callers[1]
}

// TestPublicContract walks what anybody may ask, without a certificate.
func TestPublicContract(t *testing.T) {
	h := newHouse(t, 1)
	h.keepLog()
	description, err := edge.Load(api.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	contracttest.Contract{
		Description: description, Admits: func(op *edge.Operation) bool { return ours(op) && edge.Public(op) }, URL: h.public, Version: api.Version,
		Calls: map[string]contracttest.Call{"readManifest": {}, "readDirectory": {}, "readDescription": {}, "readHealth": {},
			"readCheckpoint": {}, "proveConsistency": {Query: "from=1&to=2"}},
		Known: contracttest.Always(http.DefaultTransport.RoundTrip),
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
