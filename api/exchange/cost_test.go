// SPDX-License-Identifier: EUPL-1.2

package exchange_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
)

// BenchmarkRegisterSignal sends one submission again and again: what is between the
// connection and the registry's rules, and no commit.
func BenchmarkRegisterSignal(b *testing.B) {
	h := newHouse(b, 1)
	body, err := json.Marshal(h.Write(0, matchertest.Child(1), api.NewSID(), 1).Submission)
	if err != nil {
		b.Fatal(err)
	}
	handler := h.server.Parties()
	leaf, err := x509.ParseCertificate(h.clients[0].Transport.(*http.Transport).TLSClientConfig.Certificates[0].Certificate[0])
	if err != nil {
		b.Fatal(err)
	}
	state := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest(http.MethodPost, "/v1/signals", bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.TLS = state
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code >= 400 {
			b.Fatal(w.Body)
		}
	}
}
