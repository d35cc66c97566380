// SPDX-License-Identifier: EUPL-1.2

package evaluation

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/seinhuis/seinhuis/manifest"
)

// BenchmarkEvaluations is a whole request but for its connection, debit included.
func BenchmarkEvaluations(b *testing.B) {
	w := newWorld(b, func(m *manifest.Manifest) { m.Policy.DailyBudget, m.Policy.MonthlyBudget = 1<<30, 1<<30 })
	handler := w.server.Evaluation()
	state := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{w.certs[school].Leaf}}
	for _, n := range []int{1, 64} {
		text := body(b, 1, 2012, 4, blind(b, n).Elements()...)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(http.MethodPost, "/v1/evaluations", strings.NewReader(text))
				r.Header.Set("Content-Type", "application/json")
				r.TLS = state
				got := httptest.NewRecorder()
				handler.ServeHTTP(got, r)
				if got.Code != http.StatusOK {
					b.Fatal(got.Body)
				}
			}
		})
	}
}
