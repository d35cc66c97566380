// SPDX-License-Identifier: EUPL-1.2

package evaluation

import (
	"crypto/tls"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/api/contracttest"
	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/manifest"
)

// TestContract walks every operation of an evaluator. An operation that is new needs
// a row in Calls.
func TestContract(t *testing.T) {
	w := newWorld(t, nil)
	known, foreign := w.client(school).Transport, w.client(clinic).Transport
	if resp, _ := post(t, &http.Client{Transport: foreign}, w.url, "{}"); resp.StatusCode != http.StatusBadRequest {
		t.Fatal(resp.Status)
	}
	revoked := *w.Directory // while its connection stands
	revoked.Parties = append([]manifest.Party(nil), w.Directory.Parties...)
	for i := range revoked.Parties {
		if revoked.Parties[i].ID == clinic {
			revoked.Parties[i].Keys = nil
		}
	}
	w.directory.Store(&revoked)
	good := strings.TrimSuffix(body(t, 1, 2012, 4, blind(t, 2).Elements()...), "}") + `,"purpose":"report"}`
	registry := &http.Transport{TLSClientConfig: edge.ClientTLS(w.registry, w.pin)}
	caller := func(registrys, partys contracttest.Caller) func(op *edge.Operation) contracttest.Caller {
		return func(op *edge.Operation) contracttest.Caller {
			if op.Callers != nil && !slices.Contains(op.Callers, byParty) {
				return registrys
			}
			return partys
		}
	}
	if _, err := w.asking(t).Add(t.Context(), w.log(t, 3, "leaf").asks(t, 0)); err != nil {
		t.Fatal(err)
	}
	contracttest.Contract{
		Description: w.server.service.Description, URL: w.url, Version: api.Version,
		Admits: func(op *edge.Operation) bool { return op.Tags[0] != "registry" },
		Known:  caller(registry.RoundTrip, known.RoundTrip),
		Strangers: map[string]contracttest.Stranger{
			"revoked": {Status: http.StatusUnauthorized, Of: contracttest.Always(foreign.RoundTrip)},
			"party":   {Status: http.StatusUnauthorized, Of: caller(known.RoundTrip, nil)},
			"registry": {Status: http.StatusUnauthorized, Of: func(op *edge.Operation) contracttest.Caller {
				if slices.Contains(op.Callers, byRegistry) {
					return nil
				}
				return registry.RoundTrip
			}},
		},
		Calls: map[string]contracttest.Call{
			"addCheckpoint": {Body: string(w.log(t, 5, "leaf").asks(t, 3).Marshal())}, "readCosigned": {},
			"evaluate": {Body: good}, "readBudget": {}, "readDescription": {}, "readHealth": {},
		},
	}.Walk(t)
	for name, config := range map[string]*tls.Config{"none": {InsecureSkipVerify: true}, "unknown": edge.ClientTLS(newCert(t, "stranger"), w.pin)} {
		if _, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: config}}).Get(w.url + "/v1/budget"); err == nil {
			t.Errorf("certificate %s: there is an answer", name)
		}
	}
}
