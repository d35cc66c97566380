// SPDX-License-Identifier: EUPL-1.2

package rest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/gateway/mail"
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
	receiver, post := gatewaytest.NewReceiver(t), gatewaytest.NewPostOffice(t, false, false)
	world := gatewaytest.New(t, 2)
	world.Change = func(c *gateway.Config) {
		c.Webhooks = gateway.WebhooksConfig{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Roots: receiver.RootFile}
		c.Mail = &gateway.MailConfig{Host: post.Host, Port: post.Port, TLS: mail.Plain, From: "poort@school.example"}
		c.Parties[0].News.Desk = []string{"bureau@school.example"}
	}
	d := newDeskIn(t, world, 2, true)
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
	numbers := []string{canaryNumber, "999901242", "999901254", "999901266", "999901278", "999901291"}
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
	cert, err := keys.Clear.ReadTLS(filepath.Join(d.KeysOf(0), gateway.FileTLSCert), filepath.Join(d.KeysOf(0), gateway.FileTLSKey))
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

	// News comes, and cannot go further; then the feed itself brings what is no news.
	post.Fail("bureau@school.example", gatewaytest.MailFault{Rcpt: 550})
	receiver.Answer(gatewaytest.Status(http.StatusGone))
	d.user(t, 0, NieuweGebruiker{Id: canaryOwner, Naam: canaryName, Email: "post@school.example", Actief: true})
	made, err := d.client(t, 0).MaakAbonnementWithResponse(t.Context(), NieuwAbonnement{Url: receiver.URL + "/" + canarySecret, MetKaart: true, DossierLink: "https://dossier.example/" + canarySecret + "/"})
	if err != nil || made.JSON201 == nil {
		t.Fatalf("%v %s", err, made.Body)
	}
	receiver.Trust(made.JSON201.Geheim)
	theirs := func(number string) {
		t.Helper()
		if status := send(plain, "POST", here("/v1/signalen?wacht=30"), signal(number, ""), "Authorization", "Bearer "+d.tokens[1]); status >= 300 {
			t.Fatal(status)
		}
	}
	reached := func(event string) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !strings.Contains(d.Log.String(), `"msg":"`+event+`"`); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("this test does not reach %q", event)
			}
		}
	}
	theirs(numbers[0])
	reached("subscription turned off")
	d.Advance(2 * time.Minute)
	theirs(numbers[3]) // has the outbox look at the clock
	reached("delivery given up")
	d.Registry.Rewrite(func(path string, answer []byte) []byte {
		if path == "/v1/events" {
			return bytes.ReplaceAll(answer, []byte(`"kind":"joined"`), []byte(`"kind":"`+canaryName+`"`))
		}
		return answer
	})
	theirs(numbers[4])
	reached("event not verified")
	d.Registry.Rewrite(func(path string, answer []byte) []byte {
		if path == "/v1/events" {
			return []byte(`{"items":"` + canaryName + `","` + canaryFile + `":` + canaryNumber + `}`)
		}
		return answer
	})
	theirs(numbers[5])
	reached("feed not read")
	d.Registry.Rewrite(nil)
	var mails strings.Builder
	for _, m := range post.Mails() {
		mails.WriteString(m.Text)
	}
	for _, canary := range append(numbers, canaryName, canaryOwner, canaryFile, canaryPhone, canarySecret) {
		if strings.Contains(mails.String(), canary) {
			t.Errorf("a mail holds %q", canary)
		}
	}
	if mails.Len() == 0 {
		t.Error("no mail came")
	}

	elsewhere := d.Measured()
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
		for where, text := range map[string]string{"the log": log, "the metrics": metrics.Body.String(), "the metrics of a server": elsewhere, "a refusal": told.String()} {
			if at := strings.Index(text, canary); at >= 0 {
				t.Errorf("%s holds %q: …%s", where, canary, text[max(0, at-200):min(len(text), at+100)])
			}
		}
	}
	if !strings.Contains(metrics.Body.String(), "seinhuis_gateway_evaluator_faults_total") || told.Len() == 0 ||
		!strings.Contains(elsewhere, "seinhuis_registry_") || !strings.Contains(elsewhere, "seinhuis_evaluator_") {
		t.Error("there is nothing to look at")
	}
}
