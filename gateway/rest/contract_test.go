// SPDX-License-Identifier: EUPL-1.2

package rest

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/api/contracttest"
	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
)

const (
	contractCard = `{"naam":"Naam Kaart","functie":"Functie Kaart","afdeling":"Afdeling Kaart","telefoon":"+31 20 5550199","email":"kaart@voorbeeld.example","bereikbaarheid":"op maandag"}`
	contractRow  = `{"nummersoort":"bsn","nummer":"900000077","geboortedatum":"2012-05-06","rol":"kind","kenmerk":"KENMERK-R","hulpverlener":"w.een","contactkaart":` + contractCard + `,"termijnDagen":30}`
)

// TestContract walks every operation of the API. An operation that is new needs a row.
func TestContract(t *testing.T) {
	receiver := gatewaytest.NewReceiver(t)
	w := gatewaytest.New(t, 3)
	w.Change = func(c *gateway.Config) {
		c.Webhooks = gateway.WebhooksConfig{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Roots: receiver.RootFile}
	}
	d := newDeskIn(t, w, 3, true)
	token := func(key string) contracttest.Caller {
		return func(r *http.Request) (*http.Response, error) {
			r.Header.Set("Authorization", key)
			return http.DefaultTransport.RoundTrip(r)
		}
	}
	revoked := d.key(t, 0, BereikAlle, "", Rol("aanmelden"), Rol("matches"), Rol("beheer"), Rol("privacy"))
	if resp, err := d.client(t, 0).TrekSleutelInWithResponse(t.Context(), revoked.Id); err != nil || resp.StatusCode() != http.StatusNoContent {
		t.Fatal(err, resp.StatusCode())
	}
	only := map[string]contracttest.Caller{}
	for _, role := range gateway.Roles {
		only[string(role)] = token("Bearer " + d.key(t, 0, BereikAlle, "", Rol(role)).Sleutel)
	}
	always := contracttest.Always
	description, err := edge.Load(openapi)
	if err != nil {
		t.Fatal(err)
	}
	contracttest.Contract{
		Description: description, URL: d.url, Version: api.Version, Calls: d.goodCalls(t, receiver),
		Known: always(token("Bearer " + d.tokens[0])),
		Strangers: map[string]contracttest.Stranger{
			"nobody":         {Status: http.StatusUnauthorized, Of: always(http.DefaultTransport.RoundTrip)},
			"unknown key":    {Status: http.StatusUnauthorized, Of: always(token("Bearer " + contracttest.Canary))},
			"another scheme": {Status: http.StatusUnauthorized, Of: always(token("Basic " + d.tokens[0]))},
			"revoked":        {Status: http.StatusUnauthorized, Of: always(token("Bearer " + revoked.Sleutel))},
			"without the role": {Status: http.StatusForbidden, Of: func(op *edge.Operation) contracttest.Caller {
				roles := strings.Fields(may[op.ID])
				for role, caller := range only {
					if len(roles) > 0 && !strings.Contains(may[op.ID], role) {
						return caller
					}
				}
				return nil
			}},
			"another party": {Status: http.StatusNotFound, Of: func(op *edge.Operation) contracttest.Caller {
				if !strings.Contains(op.Path, "{id}") {
					return nil
				}
				return token("Bearer " + d.tokens[2])
			}},
		},
		Secrets: []string{
			number, otherNumber, "900000041", "900000065", "900000077", "900000089", "999901230", "2012-05-06", "KENMERK", "w.een", "w.twee", " Kaart", "5550199",
			"voorbeeld.example", "Naam", "Sleutelnaam", "127.0.0.1", d.tokens[0], revoked.Sleutel,
		},
	}.Walk(t)
	logged := d.Log.String()
	for _, word := range []string{contracttest.CanaryDigits, number, "KENMERK", "w.een", " Kaart", d.tokens[0], revoked.Sleutel} {
		if strings.Contains(logged, word) {
			t.Errorf("the log holds %q", word)
		}
	}
}

// goodCalls makes what the operations are about, each its own where it changes or ends.
func (d *desk) goodCalls(t *testing.T, receiver *gatewaytest.Receiver) map[string]contracttest.Call {
	t.Helper()
	post := func(path, body string) map[string]any {
		t.Helper()
		return d.must(t, d.tokens[0], http.MethodPost, path, body)
	}
	id := func(path, body string) map[string]string {
		t.Helper()
		return map[string]string{"id": post(path, body)["id"].(string)}
	}
	user := func(name string) map[string]string {
		t.Helper()
		return id("/v1/gebruikers", `{"id":"w.`+name+`","naam":"Naam","actief":true}`)
	}
	signal := func(nummer string) string {
		return fmt.Sprintf(`{"nummersoort":"bsn","nummer":%q,"geboortedatum":"2012-05-06","kenmerk":"KENMERK-1","hulpverlener":"w.een","contactkaart":%s,"termijnDagen":100}`, nummer, contractCard)
	}
	stands := func(nummer string) map[string]string {
		t.Helper()
		return id("/v1/signalen?wacht=30", signal(nummer))
	}
	var secrets []string
	hook := func() map[string]string {
		t.Helper()
		made := post("/v1/abonnementen", `{"url":"`+receiver.URL+`","soorten":["kaartVernieuwd"]}`)
		secrets = append(secrets, made["geheim"].(string))
		return map[string]string{"id": made["abonnement"].(map[string]any)["id"].(string)}
	}
	key := `{"naam":"Sleutelnaam","rollen":["aanmelden","matches"],"bereik":"eigen","hulpverlener":"w.een","verlooptOp":"2028-01-01"}`
	report := `{"kenmerk":"KENMERK-M","hulpverlener":"w.een","contactkaart":` + contractCard + `,"termijnDagen":30,
		"personen":[{"nummersoort":"bsn","nummer":"900000089","geboortedatum":"2012-05-06","rol":"kind","kenmerk":"KENMERK-P"},{"kenmerk":"KENMERK-Q"}]}`
	begin := func(kenmerk string) string {
		return `{"kenmerk":"` + kenmerk + `","aantalRegels":2,"hulpverlener":"w.een","contactkaart":` + contractCard + `,"termijnDagen":30}`
	}

	user("een")
	user("twee")
	// Another party has a colleague of this name too.
	d.must(t, d.tokens[2], http.MethodPost, "/v1/gebruikers", `{"id":"w.een","naam":"Naam","actief":true}`)
	shown := stands(number)
	d.must(t, d.tokens[1], http.MethodPost, "/v1/signalen?wacht=30", signal(number)) // so that there is a match
	d.must(t, d.tokens[0], http.MethodGet, "/v1/berichten?wacht=30", "")
	match := map[string]string{"id": d.must(t, d.tokens[0], http.MethodGet, "/v1/matches", "")["items"].([]any)[0].(map[string]any)["id"].(string)}
	told := id("/v1/meldingen?wacht=30", strings.ReplaceAll(report, "KENMERK-M", "KENMERK-N"))
	imported := id("/v1/importen", begin("KENMERK-I"))
	post("/v1/importen/"+imported["id"]+"/regels", `{"eerste":1,"regels":[{"kenmerk":"KENMERK-R"}]}`)
	transferred := user("drie")
	post("/v1/gebruikers/w.drie/overdracht", `{"naar":"w.een","contactkaart":`+contractCard+`}`)
	behalf := func(key string) map[string]string {
		return map[string]string{headerPerson: "w.een", "Idempotency-Key": "sleutel-" + key}
	}
	person := map[string]string{headerPerson: "w.een"}
	hooked := hook()
	calls := map[string]contracttest.Call{
		"maakSignaal":         {Query: "wacht=30", Header: behalf("signaal"), Body: signal("999901230"), Status: http.StatusCreated},
		"lijstSignalen":       {Query: "aantal=1&toestand=geregistreerd", Header: person},
		"leesSignaal":         {Path: shown, Header: person},
		"trekSignaalIn":       {Path: stands(otherNumber), Query: "wacht=30", Header: behalf("intrekking"), Body: `{"reden":"vergissing"}`, Status: http.StatusOK},
		"verlengSignaal":      {Path: stands("900000041"), Query: "wacht=30", Header: behalf("verlenging"), Body: `{"nummersoort":"bsn","nummer":"900000041","geboortedatum":"2012-05-06","contactkaart":` + contractCard + `,"termijnDagen":50,"reden":"nogBetrokken"}`, Status: http.StatusOK},
		"lijstEigenaren":      {Path: shown, Header: person},
		"wijzigEigenaren":     {Path: stands("900000065"), Header: person, Body: `{"wijze":"overdragen","hulpverlener":"w.twee","contactkaart":` + contractCard + `}`},
		"geefSignaal":         {Path: stands("900000077"), Query: "wacht=30", Header: person, Body: `{"aan":"` + string(gatewaytest.Party(1)) + `","totEnMet":"2027-03-05"}`, Status: http.StatusOK},
		"neemSignaalTerug":    {Path: shown, Query: "wacht=30", Header: person, Status: http.StatusOK},
		"lijstOverdrachten":   {Header: person},
		"maakMelding":         {Query: "wacht=30", Header: behalf("melding"), Body: report, Status: http.StatusCreated},
		"lijstMeldingen":      {Query: "aantal=1&open=true&beslissenVoor=2028-01-01", Header: person},
		"leesMelding":         {Path: told, Header: person},
		"maakImport":          {Header: person, Body: begin("KENMERK-J"), Status: http.StatusCreated},
		"lijstImporten":       {Query: "aantal=1", Header: person},
		"leesImport":          {Path: imported, Header: person},
		"neemRegelsAan":       {Path: id("/v1/importen", begin("KENMERK-K")), Header: person, Body: `{"eerste":1,"regels":[` + contractRow + `,{"kenmerk":"KENMERK-S"}]}`},
		"lijstRegels":         {Path: imported, Query: "na=0&aantal=1", Header: person},
		"lijstMatches":        {Query: "aantal=1&toestand=actief&signaal=" + shown["id"], Header: person},
		"leesMatch":           {Path: match, Header: person},
		"beantwoordMatch":     {Path: match, Query: "wacht=30", Header: behalf("antwoord"), Body: `{"antwoord":"gaBellen","deelnemer":"` + string(gatewaytest.Party(1)) + `"}`, Status: http.StatusOK},
		"zieMatch":            {Path: match, Header: person},
		"lijstBerichten":      {Query: "aantal=1&wacht=0", Header: person},
		"maakGebruiker":       {Body: `{"id":"w.vier","naam":"Naam","email":"vier@voorbeeld.example","vervanger":"w.een","team":"Team","actief":true}`, Status: http.StatusCreated},
		"lijstGebruikers":     {Query: "na=w&aantal=1"},
		"leesGebruiker":       {Path: user("acht")},
		"wijzigGebruiker":     {Path: user("vijf"), Body: `{"naam":"Naam","email":"vijf@voorbeeld.example","vervanger":"w.een","team":"Team","actief":true}`},
		"verwijderGebruiker":  {Path: user("zes"), Status: http.StatusNoContent},
		"draagOver":           {Path: user("zeven"), Header: person, Body: `{"naar":"w.een","contactkaart":` + contractCard + `}`, Status: http.StatusCreated},
		"leesOverdracht":      {Path: transferred, Header: person},
		"maakSleutel":         {Body: key, Status: http.StatusCreated},
		"lijstSleutels":       {Query: "aantal=1"},
		"leesSleutel":         {Path: id("/v1/sleutels", key)},
		"trekSleutelIn":       {Path: id("/v1/sleutels", key), Status: http.StatusNoContent},
		"herleidPseudoniem":   {Body: `{"pseudoniem":"AAAAAAAAAAAAAAAAAAAAAA"}`},
		"lijstInzagen":        {Query: "aantal=1&hulpverlener=w.een&van=2027-03-04&tot=2027-03-05&signaal=" + shown["id"]},
		"maakAbonnement":      {Body: `{"naam":"Naam","url":"` + receiver.URL + `","soorten":["aangesloten"],"hulpverleners":["w.een"],"teams":["Team"],"metKaart":true,"dossierLink":"https://voorbeeld.example/","ondertekening":"ed25519"}`, Status: http.StatusCreated},
		"lijstAbonnementen":   {Query: "aantal=1"},
		"leesAbonnement":      {Path: hooked},
		"wijzigAbonnement":    {Path: hook(), Body: `{"naam":"Naam","url":"` + receiver.URL + `","soorten":["kaartVernieuwd"],"hulpverleners":["w.een"],"teams":["Team"],"metKaart":true,"dossierLink":"https://voorbeeld.example/","aan":false}`},
		"verwijderAbonnement": {Path: hook(), Status: http.StatusNoContent},
		"wisselGeheim":        {Path: hook(), Body: `{"overlapUren":1}`},
		"testAbonnement":      {Path: hooked},
		"lijstMislukt":        {Path: hooked, Query: "na=0&aantal=1"},
		"herhaalMislukt":      {Path: hooked, Body: `{"volgnummers":[1]}`, Status: http.StatusAccepted},
		"leesOrganisatie":     {},
		"leesOpenapi":         {},
		"leesGezondheid":      {},
	}
	receiver.Trust(secrets...)
	return calls
}

// A fault names a field that the body has.
func TestTransferNamesItsOwnField(t *testing.T) {
	d := newDesk(t, 1, false)
	d.user(t, 0, NieuweGebruiker{Id: "jansen", Actief: true})
	got := d.ask(t, d.tokens[0], http.MethodPost, "/v1/gebruikers/jansen/overdracht", `{"naar":"niemand","contactkaart":`+contractCard+`}`)
	if got.status != http.StatusBadRequest || !strings.Contains(got.body, `"name":"naar"`) {
		t.Errorf("%d %s", got.status, got.body)
	}
}
