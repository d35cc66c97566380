// SPDX-License-Identifier: EUPL-1.2

package rest

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
)

// An answer is one as it came.
type answer struct {
	status int
	header http.Header
	body   string
}

func (d *desk) ask(t *testing.T, key, method, path, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, d.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

func (d *desk) must(t *testing.T, key, method, path, body string) map[string]any {
	t.Helper()
	got := d.ask(t, key, method, path, body)
	var read map[string]any
	if got.status >= 300 || json.Unmarshal([]byte(got.body), &read) != nil {
		t.Fatalf("%s %s: %d %s", method, path, got.status, got.body)
	}
	return read
}

// A tenant is a party and all that it has at the gateway, each of it with the party's
// mark in every text that it chose.
type tenant struct {
	key   string
	mark  string
	ids   map[string]string // by the first part of the path
	other string            // a place in its inbox, as a key of little reach has it
}

// people of a tenant have ids of their own, too.
func (n *tenant) person(name string) string { return n.mark + "." + name }

// fill makes a tenant: something of every kind.
func (d *desk) fill(t *testing.T, party int, mark, child string) *tenant {
	t.Helper()
	n := &tenant{key: d.tokens[party], mark: mark, ids: map[string]string{}}
	post := func(path, body string) map[string]any {
		t.Helper()
		return d.must(t, n.key, http.MethodPost, strings.ReplaceAll(path, "MARK", mark), strings.ReplaceAll(body, "MARK", mark))
	}
	post("/v1/gebruikers", `{"id":"MARK.een","naam":"MARK een","team":"MARK team","actief":true}`)
	post("/v1/gebruikers", `{"id":"MARK.twee","naam":"MARK twee","email":"MARK@voorbeeld.example","vervanger":"MARK.een","actief":true}`)
	n.ids["gebruikers"] = n.person("twee")
	little := post("/v1/sleutels", `{"naam":"MARK sleutel","rollen":["aanmelden","matches"],"bereik":"eigen","hulpverlener":"MARK.een","verlooptOp":"2028-01-01"}`)
	n.ids["sleutels"] = little["id"].(string)
	signal := post("/v1/signalen?wacht=30", `{"nummersoort":"bsn","nummer":"`+child+`","geboortedatum":"2012-05-06","kenmerk":"MARK-1","hulpverlener":"MARK.een",
		"contactkaart":{"naam":"MARK kaart","telefoon":"1"}}`)
	n.ids["signalen"], n.ids["sid"] = signal["id"].(string), signal["sid"].(string)
	n.ids["meldingen"] = post("/v1/meldingen?wacht=0", `{"kenmerk":"MARK-M","hulpverlener":"MARK.een","personen":[{"kenmerk":"MARK-P"}]}`)["id"].(string)
	n.ids["importen"] = post("/v1/importen", `{"kenmerk":"MARK-I","hulpverlener":"MARK.een","aantalRegels":2}`)["id"].(string)
	post("/v1/importen/"+n.ids["importen"]+"/regels", `{"eerste":1,"regels":[{"kenmerk":"MARK-R"}]}`)
	n.ids["abonnementen"] = post("/v1/abonnementen", `{"url":"https://mark.example/MARK","naam":"MARK abonnement","soorten":["kaartVernieuwd"]}`)["abonnement"].(map[string]any)["id"].(string)
	post("/v1/gebruikers/MARK.twee/overdracht", `{"naar":"MARK.een","contactkaart":{"naam":"MARK kaart","telefoon":"2"}}`)
	d.must(t, n.key, http.MethodPut, "/v1/signalen/"+n.ids["signalen"]+"/warme-overdracht?wacht=30", `{"aan":"`+string(gatewaytest.Party(2))+`","totEnMet":"2027-03-05"}`)
	// Some organisation elsewhere has the same child: then there is a match.
	d.must(t, d.tokens[2], http.MethodPost, "/v1/signalen?wacht=30",
		`{"nummersoort":"bsn","nummer":"`+child+`","geboortedatum":"2012-05-06","kenmerk":"C-`+mark+`","hulpverlener":"ergens"}`)
	d.must(t, n.key, http.MethodGet, "/v1/berichten?wacht=30", "")
	matches := d.must(t, n.key, http.MethodGet, "/v1/matches", "")["items"].([]any)
	if len(matches) == 0 {
		t.Fatal("there is no match")
	}
	n.ids["matches"] = matches[0].(map[string]any)["id"].(string)
	n.other = d.must(t, little["sleutel"].(string), http.MethodGet, "/v1/berichten", "")["next"].(string)
	return n
}

// reads are all answers to reading without an id, or with the tenant's own; but for what
// changes by being read.
func (d *desk) reads(t *testing.T, spec *openapi3.T, n *tenant) map[string]string {
	t.Helper()
	all := map[string]string{}
	for path, item := range spec.Paths.Map() {
		o := item.Get
		if o == nil || o.OperationID == "lijstInzagen" || o.Security != nil {
			continue
		}
		id := n.ids[strings.Split(path, "/")[2]]
		got := d.ask(t, n.key, http.MethodGet, strings.ReplaceAll(path, "{id}", id), "")
		if got.status != http.StatusOK {
			t.Errorf("%s of one's own: %d %s", path, got.status, got.body)
		}
		all[path] = usedOn.ReplaceAllString(got.body, "")
	}
	return all
}

var usedOn = regexp.MustCompile(`"laatstGebruiktOp":"[0-9-]+",?`)

// sent is what can be sent to each operation that takes a body, so that it comes as
// far as looking for what it is about. THEIRS is the mark of the other party.
var sent = map[string]string{
	"maakSignaal":         `{"nummersoort":"bsn","nummer":"900000077","geboortedatum":"2012-05-06","kenmerk":"A-9","hulpverlener":"THEIRS.een"}`,
	"trekSignaalIn":       `{"reden":"vergissing"}`,
	"verlengSignaal":      `{"termijnDagen":20}`,
	"wijzigEigenaren":     `{"wijze":"overdragen","hulpverlener":"OURS.een"}`,
	"zieMatch":            "",
	"geefSignaal":         `{"aan":"` + string(gatewaytest.Party(2)) + `","totEnMet":"2027-03-05"}`,
	"neemSignaalTerug":    "",
	"maakMelding":         `{"kenmerk":"THEIRS-M","hulpverlener":"OURS.een","personen":[{"kenmerk":"A-8"}]}`,
	"maakImport":          `{"kenmerk":"THEIRS-I","hulpverlener":"OURS.een","aantalRegels":2}`,
	"neemRegelsAan":       `{"eerste":1,"regels":[{"kenmerk":"A-7"}]}`,
	"beantwoordMatch":     `{"antwoord":"gaBellen"}`,
	"maakGebruiker":       `{"id":"OURS.drie","naam":"drie","vervanger":"THEIRS.een","actief":true}`,
	"wijzigGebruiker":     `{"naam":"drie","actief":false}`,
	"draagOver":           `{"naar":"OURS.een","contactkaart":{"naam":"x","telefoon":"1"}}`,
	"maakSleutel":         `{"naam":"x","rollen":["beheer"],"bereik":"eigen","hulpverlener":"THEIRS.een","verlooptOp":"2028-01-01"}`,
	"maakAbonnement":      `{"url":"https://ours.example/x","hulpverleners":["THEIRS.een"],"teams":["THEIRS team"]}`,
	"wijzigAbonnement":    `{"url":"https://ours.example/x","aan":false}`,
	"wisselGeheim":        `{}`,
	"testAbonnement":      "",
	"herhaalMislukt":      `{}`,
	"herleidPseudoniem":   `{"pseudoniem":"AAAAAAAAAAAAAAAAAAAAAA"}`,
	"verwijderGebruiker":  "",
	"verwijderAbonnement": "",
	"trekSleutelIn":       "",
}

// mentions are operations of which the body names what is the other party's: they make
// something of one's own, or are refused. It is told whether it exists there by neither.
var mentions = map[string]int{
	"maakSignaal": 202, "maakMelding": 201, "maakImport": 201, "maakGebruiker": 400, "maakSleutel": 400, "maakAbonnement": 201,
}

// Every operation of the description is done with the key of one party and the ids of
// another, beside ids that nobody has: the answers are the same, hold nothing of the
// other party, and change nothing at it.
func TestNoOperationReachesAnotherParty(t *testing.T) {
	d := newDesk(t, 3, true)
	spec := described()
	a := d.fill(t, 0, "aaaa", "900000016")
	before := d.reads(t, spec, a)
	b := d.fill(t, 1, "bbbb", "900000028")
	theirs := d.reads(t, spec, b)
	for path, body := range d.reads(t, spec, a) {
		if body != before[path] {
			t.Errorf("%s is otherwise since another party has something:\n%s\nwas\n%s", path, body, before[path])
		}
	}
	// Of everything that stands in the other party's answers the ids and references.
	secrets := map[string]bool{"bbbb": true}
	for _, id := range b.ids {
		secrets[id] = true
	}
	secrets[b.person("een")] = false // which is sent
	for path, body := range theirs {
		if path == "/v1/organisatie" {
			continue
		}
		for _, id := range regexp.MustCompile(`[0-9a-f]{32}`).FindAllString(body, -1) {
			secrets[id] = !strings.Contains(before[path], id)
		}
	}
	holds := func(where, text string, but ...string) {
		t.Helper()
		for secret, is := range secrets {
			if is && strings.Contains(text, secret) && !slices.Contains(but, secret) {
				t.Errorf("%s holds %q of another party", where, secret)
			}
		}
	}
	nobody := strings.Repeat("0f", 16)
	checked := 0
	for path, item := range spec.Paths.Map() {
		for method, o := range item.Operations() {
			checked++
			body, known := sent[o.OperationID]
			if !known && method != http.MethodGet {
				t.Errorf("%s is not tried: it has no row in the table of what is sent", o.OperationID)
				continue
			}
			body = strings.NewReplacer("THEIRS", b.mark, "OURS", a.mark).Replace(body)
			if !strings.Contains(path, "{id}") {
				query := "?wacht=0"
				if o.Parameters.GetByInAndName("query", "wacht") == nil {
					query = ""
				}
				got := d.ask(t, a.key, method, path+query, body)
				if want, ok := mentions[o.OperationID]; ok && got.status != want {
					t.Errorf("%s: %d %s", o.OperationID, got.status, got.body)
				} else if got.status >= 500 {
					t.Errorf("%s: %d", o.OperationID, got.status)
				}
				if strings.Contains(got.body, `"herhaling":true`) {
					t.Errorf("%s tells that another party has the reference", o.OperationID)
				}
				holds(o.OperationID, got.body, b.mark, b.person("een")) // these were sent
				holds(o.OperationID+", Location", got.header.Get("Location"))
				continue
			}
			if strings.HasPrefix(path, "/v1/gebruikers/") {
				theirs := d.ask(t, a.key, method, strings.ReplaceAll(path, "{id}", b.ids["gebruikers"]), body)
				none := d.ask(t, a.key, method, strings.ReplaceAll(path, "{id}", "cccc.een"), body)
				if theirs.status != http.StatusNotFound || theirs.body != none.body {
					t.Errorf("%s of another party: %d %s; of nobody: %s", o.OperationID, theirs.status, theirs.body, none.body)
				}
				continue
			}
			none := d.ask(t, a.key, method, strings.ReplaceAll(path, "{id}", nobody), body)
			if none.status != http.StatusNotFound {
				t.Errorf("%s with the id of nobody: %d %s", o.OperationID, none.status, none.body)
			}
			for kind, id := range b.ids {
				if kind == "gebruikers" {
					continue
				}
				got := d.ask(t, a.key, method, strings.ReplaceAll(path, "{id}", id), body)
				if got.status != none.status || got.body != none.body {
					t.Errorf("%s with the other party's id of %s: %d %s", o.OperationID, kind, got.status, got.body)
				}
			}
		}
	}
	if checked < len(may) {
		t.Errorf("%d operations were tried; there are %d", checked, len(may))
	}
	d.lists(t, spec, a, b, holds)
	d.keysOfOthers(t, a, b)
	for path, body := range d.reads(t, spec, b) {
		if body != theirs[path] {
			t.Errorf("%s of the other party has changed:\n%s\nwas\n%s", path, body, theirs[path])
		}
	}
	logged := d.Log.String()
	for _, word := range []string{"aaaa", "bbbb", "900000016", a.key, b.key} {
		if strings.Contains(logged, word) {
			t.Errorf("the log holds %q", word)
		}
	}
}

// lists tries every parameter of every list with what is the other party's.
func (d *desk) lists(t *testing.T, spec *openapi3.T, a, b *tenant, holds func(where, text string, but ...string)) {
	t.Helper()
	for path, item := range spec.Paths.Map() {
		if item.Get == nil || strings.Contains(path, "{id}") || item.Get.Security != nil {
			continue
		}
		for _, parameter := range item.Get.Parameters {
			if parameter.Value.In != openapi3.ParameterInQuery || parameter.Value.Schema.Value.Pattern == "" {
				continue
			}
			for kind, value := range b.ids {
				query := "?" + parameter.Value.Name + "=" + value
				got := d.ask(t, a.key, http.MethodGet, path+query, "")
				if got.status >= 500 {
					t.Errorf("%s with %s of %s: %d", path, parameter.Value.Name, kind, got.status)
				}
				// The log of access says what was asked for, and some lists what was sent.
				holds(path+" by "+parameter.Value.Name, got.body, value, b.mark, b.person("een"))
			}
		}
	}
	for _, filter := range []string{"signaal=" + b.ids["signalen"], "signaal=" + b.ids["sid"], "hulpverlener=" + b.person("een")} {
		rows := d.must(t, a.key, http.MethodGet, "/v1/inzagen?"+filter, "")["items"].([]any)
		for _, row := range rows {
			if row.(map[string]any)["gebeurtenis"] != "inzagenGelezen" {
				t.Errorf("the log by %s has %v", filter, row)
			}
		}
	}
	none := d.ask(t, a.key, http.MethodGet, "/v1/matches?signaal="+strings.Repeat("0f", 16), "")
	if got := d.ask(t, a.key, http.MethodGet, "/v1/matches?signaal="+b.ids["signalen"], ""); got.status != none.status || got.body != none.body {
		t.Errorf("matches of another party's signal: %s", got.body)
	}
	// A place in the other party's inbox, where it is not merely a number, is none.
	for _, header := range [][]string{nil, {"Accept", "text/event-stream", "Last-Event-ID", b.other}} {
		if got := d.ask(t, a.key, http.MethodGet, "/v1/berichten?na="+b.other, "", header...); got.status != http.StatusBadRequest {
			t.Errorf("another party's place in the inbox: %d %s", got.status, got.body)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url+"/v1/berichten", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+a.key)
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Last-Event-ID", "0000000000000000")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if event, ok := strings.CutPrefix(lines.Text(), "data:"); ok {
			if holds("the stream", event); !strings.Contains(event, "aaaa-1") {
				t.Errorf("the stream begins with %s", event)
			}
			return
		}
	}
	t.Error("the stream has no event")
}

// keysOfOthers tries what one party made of itself at the other: an idempotency key, and
// an API key.
func (d *desk) keysOfOthers(t *testing.T, a, b *tenant) {
	t.Helper()
	body := `{"nummersoort":"bsn","nummer":"900000089","geboortedatum":"2012-05-06","kenmerk":"A-6","hulpverlener":"aaaa.een"}`
	first := d.ask(t, a.key, http.MethodPost, "/v1/signalen?wacht=30", body, "Idempotency-Key", "dezelfde-sleutel")
	mine := d.must(t, a.key, http.MethodPost, "/v1/sleutels", `{"naam":"x","rollen":["aanmelden","beheer"],"bereik":"alle","verlooptOp":"2028-01-01"}`)
	other := d.ask(t, mine["sleutel"].(string), http.MethodPost, "/v1/signalen?wacht=30", body, "Idempotency-Key", "dezelfde-sleutel")
	var one, two map[string]any
	if json.Unmarshal([]byte(first.body), &one) != nil || json.Unmarshal([]byte(other.body), &two) != nil || one["id"] == two["id"] {
		t.Errorf("an idempotency key of another key: %s %s", first.body, other.body)
	}
	taken := d.ask(t, mine["sleutel"].(string), http.MethodDelete, "/v1/sleutels/"+b.ids["sleutels"], "")
	if taken.status != http.StatusNotFound {
		t.Errorf("another party's key is revoked: %d", taken.status)
	}
}

// The same idempotency key at two parties is two keys.
func TestAnIdempotencyKeyIsOfOneParty(t *testing.T) {
	d := newDesk(t, 2, true)
	body := `{"nummersoort":"bsn","nummer":"900000089","geboortedatum":"2012-05-06","kenmerk":"A-6","hulpverlener":"jansen"}`
	var ids []string
	for _, key := range d.tokens {
		got := d.ask(t, key, http.MethodPost, "/v1/signalen?wacht=30", body, "Idempotency-Key", "dezelfde-sleutel")
		var signal Signaal
		if err := json.Unmarshal([]byte(got.body), &signal); err != nil || got.status != http.StatusCreated {
			t.Fatalf("%d %s", got.status, got.body)
		}
		if ids = append(ids, signal.Id); got.header.Get("Location") != "/v1/signalen/"+signal.Id {
			t.Errorf("Location: %s", got.header.Get("Location"))
		}
	}
	if ids[0] == ids[1] {
		t.Error("one party is given the signal of the other")
	}
}
