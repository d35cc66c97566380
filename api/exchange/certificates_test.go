// SPDX-License-Identifier: EUPL-1.2

package exchange_test

import (
	"crypto/sha256"
	"crypto/tls"
	"net/http"
	"strings"
	"testing"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/api/evaluation"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/manifest"
)

// certificate is an evaluator's certificate that it has destroyed the key of a cohort.
func (h *house) certificate(t *testing.T, evaluator, cohort int) string {
	t.Helper()
	text, err := manifest.Destruction{
		Dep: h.Manifest.Dep, Evaluator: evaluator, Epoch: 1, Cohort: cohort, Sharings: []uint64{1},
		WrappingKey: api.Hash{1}, Why: manifest.Grown, Time: h.Now().UTC(),
	}.Note()
	if err != nil {
		t.Fatal(err)
	}
	msg, err := manifest.AddSignature([]byte(text), h.signer)
	if err != nil {
		t.Fatal(err)
	}
	return string(msg)
}

// published counts the leaf of a note in what waits for the log.
func (h *house) published(t *testing.T, msg string) (n int) {
	t.Helper()
	text, err := manifest.TextOf([]byte(msg))
	if err != nil {
		t.Fatal(err)
	}
	want := audit.Published(audit.Destruction, sha256.Sum256([]byte(text))).Hash()
	if err := h.Matcher.Store.Leaves(t.Context(), api.Hash{}, func(l audit.Leaf) error {
		if l.Hash() == want {
			n++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestCertificates(t *testing.T) {
	h := newHouse(t, 1)
	cert := h.evaluator(t)
	deliver := evaluation.RegistryCertificates(func() tls.Certificate { return cert }, func() *manifest.Manifest { return h.Manifest })
	good := h.certificate(t, 1, 1990)
	for range 2 { // the answer may be lost
		if err := deliver(t.Context(), []byte(good)); err != nil {
			t.Fatal(err)
		}
		if n := h.published(t, good); n != 1 {
			t.Errorf("it waits for the log %d times", n)
		}
	}
	young := h.certificate(t, 1, h.Now().Year()-23)
	for reason, bad := range map[string]string{
		"cohort_not_grown_up":     young,
		"evaluator_nobody_knows":  h.certificate(t, 2, 1991),
		"signature_of_another":    strings.Replace(h.certificate(t, 1, 1992), "1992", "1993", 1),
		"no_note":                 "destroyed\n",
		"another_kind_of_note":    strings.Replace(good, "destruction", "manifest", 1),
		"certificate_not_in_form": strings.Replace(good, "  ", " ", 1),
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if err := deliver(t.Context(), []byte(bad)); err == nil || !strings.Contains(err.Error(), "400") {
				t.Errorf("%v", err)
			}
		})
	}
	if n := h.published(t, young); n != 0 {
		t.Error("what was refused waits for the log")
	}
	t.Run("rejects/party", func(t *testing.T) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.parties+"/v1/certificates", strings.NewReader(good))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "text/plain")
		resp, err := h.clients[0].Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Error(resp.Status)
		}
	})
}
