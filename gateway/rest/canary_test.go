// SPDX-License-Identifier: EUPL-1.2

package rest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/keys"
)

// What is planted, and must not be found again in a log, a measurement or a refusal.
const (
	canaryNumber = "999901230"
	canaryName   = "Kanarie Vogelaar"
	canaryOwner  = "k.anarie"
	canaryFile   = "KANARIE-77"
	canaryPhone  = "+31 20 7654321"
	canarySecret = "whsec_a2FuYXJpZQ"
)

// TestNothingOfACaseIsLoggedMeasuredOrTold plants a number, a name, a token and a card
// in every place of a request, has every part fail in every way that it can, and looks
// for them in what gateway, registry and evaluators log, measure and refuse with.
func TestNothingOfACaseIsLoggedMeasuredOrTold(t *testing.T) {
	d := newDesk(t, 2, true)
	var told bytes.Buffer // refusals
	send := func(client *http.Client, method, address, body string, headers ...string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+d.tokens[0])
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode >= 400 {
			fmt.Fprintf(&told, "%s %d %v %s\n", method, resp.StatusCode, resp.Header, text)
		}
		return resp.StatusCode
	}
	signal := func(number, more string) string {
		return fmt.Sprintf(`{"nummersoort":"bsn","nummer":%q,"geboortedatum":"2012-05-06","kenmerk":%q,"hulpverlener":%q,
"contactkaart":{"naam":%q,"telefoon":%q}%s}`, number, canaryFile, canaryOwner, canaryName, canaryPhone, more)
	}
	here := func(path string) string { return d.url + path }
	plain := http.DefaultClient

	// Wrong input, with what is planted in each place.
	refused := 0
	for _, c := range []struct {
		method, path, body string
		headers            []string
	}{
		{"POST", "/v1/signalen", signal(canaryNumber[:8]+"1", ""), nil},
		{"POST", "/v1/signalen", signal(canaryNumber, `,"`+canaryName+`":1`), nil},
		{"POST", "/v1/signalen", signal(canaryNumber, `,"termijnDagen":"`+canaryNumber+`"`), nil},
		{"POST", "/v1/signalen", signal(canaryNumber, "")[:60], nil},
		{"POST", "/v1/signalen", signal(canaryNumber, ""), []string{"Content-Type", "text/" + canarySecret}},
		{"POST", "/v1/signalen", signal(canaryNumber, ""), []string{"Accept", "text/" + canarySecret}},
		{"POST", "/v1/signalen", signal(canaryNumber, ""), []string{"Authorization", "Bearer " + canarySecret}},
		{"POST", "/v1/signalen", signal(canaryNumber, ""), []string{"Authorization", canaryName}},
		{"POST", "/v1/signalen", signal(canaryNumber, ""), []string{"Idempotency-Key", canaryNumber + strings.Repeat("x", 300)}},
		{"POST", "/v1/signalen?wacht=" + canaryNumber, signal(canaryNumber, ""), nil},
		{"GET", "/v1/signalen?na=" + canaryNumber, "", nil},
		{"GET", "/v1/signalen?" + canaryNumber + "=1", "", nil},
		{"GET", "/v1/signalen/" + canaryNumber, "", nil},
		{"DELETE", "/v1/signalen/" + canaryNumber, "", nil},
		{"GET", "/" + canaryNumber, "", nil},
		{"POST", "/v1/meldingen", `{"kenmerk":"` + canaryFile + `","hulpverlener":"` + canaryOwner + `","personen":[{"nummersoort":"bsn","nummer":"` + canaryNumber + `","rol":"` + canaryName + `"}]}`, nil},
		{"POST", "/v1/abonnementen", `{"url":"http://` + canarySecret + `.example/` + canaryNumber + `"}`, nil},
		{"POST", "/v1/abonnementen", `{"url":"https://127.0.0.1:9/` + canarySecret + `"}`, nil},
		{"GET", "/v1/berichten?na=" + canaryNumber, "", nil},
		{"POST", "/v1/gebruikers", `{"id":"` + canaryOwner + `","naam":"` + canaryName + `","` + canaryNumber + `":1}`, nil},
	} {
		if send(plain, c.method, here(c.path), c.body, c.headers...) >= 400 {
			refused++
		}
	}
	if refused < 16 {
		t.Errorf("only %d were refused", refused)
	}

	// Every part fails while a signal is made, and is asked for something wrong itself.
	numbers := []string{canaryNumber, "999901242", "999901254", "999901266", "999901278", "999901280"}
	for i, fail := range []func(){
		func() { d.Faults[0].Set(gatewaytest.Away); d.Faults[1].Set(gatewaytest.Away) },
		func() { d.Faults[0].Set(gatewaytest.Forges); d.Faults[2].Set(gatewaytest.Forges) },
		func() { d.Registry.Set(gatewaytest.Away) },
		func() { d.Registry.Set(gatewaytest.Forges) },
		func() { d.Registry.Set(gatewaytest.Loses) },
		func() { d.Registry.Set(gatewaytest.Works) },
	} {
		fail()
		send(plain, "POST", here("/v1/signalen?wacht=1"), signal(numbers[i], ""))
		d.Registry.Set(gatewaytest.Works)
		for _, f := range d.Faults {
			f.Set(gatewaytest.Works)
		}
	}
	cert, err := keys.ReadTLS(filepath.Join(d.KeysOf(0), gateway.FileTLSCert), filepath.Join(d.KeysOf(0), gateway.FileTLSKey))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []struct {
		url, path string
		pin       [32]byte
	}{
		{d.Manifest.Registry.URL, "/v1/signals", d.Manifest.Registry.TLS},
		{d.Manifest.Registry.URL, "/v1/imports", d.Manifest.Registry.TLS},
		{d.Manifest.Registry.URL, "/v1/acts", d.Manifest.Registry.TLS},
		{d.Manifest.Evaluators[0].URL, "/v1/evaluations", d.Manifest.Evaluators[0].TLS},
	} {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: edge.ClientTLS(cert, part.pin)}}
		for _, body := range []string{`{"` + canaryName + `":1}`, `{"signed":"` + canaryNumber + `"}`, canaryName, `{"epoch":"` + canaryNumber + `"}`} {
			if status := send(client, "POST", part.url+part.path, body); status < 400 && part.path != "/v1/imports" {
				t.Errorf("%s took %s", part.path, body)
			}
		}
		send(client, "GET", part.url+"/v1/events?cursor="+url.QueryEscape(canaryName)+"&wait="+canaryNumber, "")
		send(client, "GET", part.url+"/"+canaryNumber, "")
		send(client, "POST", part.url+part.path, "{}", "Content-Type", canarySecret, "Accept", canarySecret)
		client.CloseIdleConnections()
	}

	metrics := httptest.NewRecorder()
	promhttp.HandlerFor(d.house.Metrics, promhttp.HandlerOpts{}).ServeHTTP(metrics, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	d.house.Stop()
	func() { // and now our own store is gone
		defer func() { _ = recover() }()
		send(plain, "GET", here("/v1/signalen?aantal=1"), "")
		send(plain, "POST", here("/v1/signalen"), signal(canaryNumber, ""))
	}()

	// The token stands in its file as base64, and travels so.
	token, err := os.ReadFile(filepath.Join(d.KeysOf(0), gateway.FileToken))
	if err != nil {
		t.Fatal(err)
	}
	log := d.Log.String()
	for _, event := range []string{"evaluator not used", "receipt refused", "request refused", "request failed"} {
		if !strings.Contains(log, `"msg":"`+event+`"`) {
			t.Errorf("this test does not reach %q", event)
		}
	}
	if strings.Contains(log, `"msg":"unlisted"`) || strings.Contains(log, "[refused]") {
		t.Error("something was logged that has no place in the table of events")
	}
	for _, canary := range append(numbers, canaryName, "Vogelaar", canaryOwner, canaryFile, canaryPhone, canarySecret, strings.TrimSpace(string(token))) {
		for where, text := range map[string]string{"the log": log, "the metrics": metrics.Body.String(), "a refusal": told.String()} {
			if at := strings.Index(text, canary); at >= 0 {
				t.Errorf("%s holds %q: …%s", where, canary, text[max(0, at-200):min(len(text), at+100)])
			}
		}
	}
	if !strings.Contains(metrics.Body.String(), "seinhuis_gateway_evaluator_faults_total") || told.Len() == 0 {
		t.Error("there is nothing to look at")
	}
}
