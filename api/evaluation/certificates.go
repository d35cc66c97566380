// SPDX-License-Identifier: EUPL-1.2

package evaluation

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/manifest"
)

// Destruction measures what an evaluator has destroyed by itself.
type Destruction struct {
	due     prometheus.Gauge
	waiting *prometheus.GaugeVec
}

func newDestruction(reg prometheus.Registerer) Destruction {
	d := Destruction{
		due: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "seinhuis_evaluator_keys_due", Help: "Keys that were to be destroyed for good and are still here.",
		}),
		waiting: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "seinhuis_evaluator_certificates_waiting", Help: "Certificates of destroyed keys, by what they wait for: a signature, or the registry.",
		}, []string{"what"}),
	}
	reg.MustRegister(d.due, d.waiting)
	d.Set(0, 0, 0)
	return d
}

// Set tells how many keys could not be destroyed, and how many certificates wait for a
// signature and for the registry.
func (d Destruction) Set(due, unsigned, untaken int) {
	d.due.Set(float64(due))
	d.waiting.WithLabelValues("signature").Set(float64(unsigned))
	d.waiting.WithLabelValues("registry").Set(float64(untaken))
}

// RegistryCertificates gives the registry of the manifest in force a certificate of a
// destroyed key, as the evaluator whose TLS certificate this is. Giving one twice does
// nothing.
func RegistryCertificates(cert func() tls.Certificate, current func() *manifest.Manifest) func(ctx context.Context, note []byte) error {
	return func(ctx context.Context, note []byte) error {
		ctx, cancel := context.WithTimeout(ctx, usageWait)
		defer cancel()
		registry := current().Registry
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, registry.URL+"/v1/certificates", bytes.NewReader(note))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "text/plain")
		transport := &http.Transport{TLSClientConfig: edge.ClientTLS(cert(), registry.TLS), DisableKeepAlives: true}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusNoContent {
			return fmt.Errorf("evaluation: the registry answers a certificate with status %d", resp.StatusCode)
		}
		return nil
	}
}
