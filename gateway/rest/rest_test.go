// SPDX-License-Identifier: EUPL-1.2

package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	openapi_types "github.com/oapi-codegen/runtime/types"

	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Numbers that pass the 11-test, in a range given to nobody.
const number, otherNumber = "900000016", "900000028"

// A desk is the API of a gateway, and what is needed to call it.
type desk struct {
	*gatewaytest.World
	url    string
	tokens []string
	house  *gatewaytest.House
}

func newDesk(t testing.TB, parties int, running bool) *desk {
	t.Helper()
	return newDeskIn(t, gatewaytest.New(t, parties), parties, running)
}

func newDeskIn(t testing.TB, w *gatewaytest.World, parties int, running bool) *desk {
	t.Helper()
	d := &desk{World: w}
	var served []int
	for i := range parties {
		served = append(served, i)
		token, err := gateway.ReadToken(d.KeysOf(i)+"/"+gateway.FileToken, nil)
		if err != nil {
			t.Fatal(err)
		}
		d.tokens = append(d.tokens, token)
	}
	if running {
		d.house = d.Run(served...)
	} else {
		d.house = d.OpenOn(vfs.NewMem(), served...)
		t.Cleanup(func() { d.house.Close() })
	}
	ctx, cancel := context.WithCancel(context.Background())
	handler, err := NewHandler(ctx, d.house.Gateway, d.Log.Logger())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	t.Cleanup(cancel)
	d.url = server.URL
	return d
}

// client calls the API as a party, and holds every answer against the description.
func (d *desk) client(t testing.TB, party int) *ClientWithResponses {
	t.Helper()
	c, err := NewClientWithResponses(d.url+"/v1",
		WithHTTPClient(&http.Client{Transport: newContract(t)}),
		WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
			r.Header.Set("Authorization", "Bearer "+d.tokens[party])
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// described is what openapi.yaml says, with whole paths.
var described = sync.OnceValue(func() *openapi3.T {
	description, err := edge.Load(openapi)
	if err != nil {
		panic(err)
	}
	spec, whole := description.Doc(), openapi3.NewPaths()
	for path, item := range spec.Paths.Map() {
		if item.Servers == nil {
			path = "/v1" + path
		}
		item.Servers = nil
		whole.Set(path, item)
	}
	spec.Paths, spec.Servers = whole, nil
	return spec
})

// contract is a transport that validates answers.
type contract struct {
	t      testing.TB
	router routers.Router
}

var describedRouter = sync.OnceValue(func() routers.Router {
	router, err := gorillamux.NewRouter(described())
	if err != nil {
		panic(err)
	}
	return router
})

func newContract(t testing.TB) *contract { return &contract{t, describedRouter()} }

func (c *contract) RoundTrip(r *http.Request) (*http.Response, error) {
	route, params, err := c.router.FindRoute(r)
	if err != nil {
		c.t.Errorf("%s %s is not described", r.Method, r.URL.Path)
		return nil, err
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, Route: route, PathParams: params},
		Status:                 resp.StatusCode, Header: resp.Header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	}
	input.SetBodyBytes(body)
	if err := openapi3filter.ValidateResponse(r.Context(), input); err != nil {
		c.t.Errorf("%s %s answers what is not described: %v", r.Method, r.URL.Path, err)
	}
	return resp, nil
}

func (d *desk) body(n string) NieuwSignaal {
	return NieuwSignaal{
		Nummersoort: NieuwSignaalNummersoortBsn, Nummer: n, Geboortedatum: "2012-05-06", Kenmerk: "A-1", Hulpverlener: "jansen",
	}
}

func seconds30() *Wacht { n := 30; return &n }
func noWait() *Wacht    { n := 0; return &n }

func TestSignalFromBeginningToEnd(t *testing.T) {
	d := newDesk(t, 2, true)
	a, b := d.client(t, 0), d.client(t, 1)
	ctx := t.Context()

	in := d.body(number)
	in.Contactkaart = Contactkaart{Naam: "A. Jansen", Functie: "leerkracht", Telefoon: "+31 20 555 01 99"}
	made, err := a.MaakSignaalWithResponse(ctx, &MaakSignaalParams{Wacht: seconds30(), IdempotencyKey: "sleutel-1"}, in)
	if err != nil || made.JSON201 == nil {
		t.Fatalf("%v %s", err, made.Body)
	}
	s := made.JSON201
	if s.Toestand != ToestandGeregistreerd || !strings.HasPrefix(s.Uitleg, "Geregistreerd. Nog geen match;") || s.Revisie != 1 || *s.Anderen != 0 || s.Eigenaren != 1 ||
		s.VerlooptOp.String() != "2028-03-01" || s.Contactkaart != in.Contactkaart || len(s.Sid) != 32 {
		t.Errorf("%s", made.Body)
	}
	if got := made.HTTPResponse.Header.Get("Location"); got != "/v1/signalen/"+s.Id {
		t.Errorf("Location: %s", got)
	}
	again, err := a.MaakSignaalWithResponse(ctx, &MaakSignaalParams{Wacht: seconds30(), IdempotencyKey: "sleutel-1"}, in)
	if err != nil || again.JSON201 == nil || again.JSON201.Id != s.Id {
		t.Errorf("the same Idempotency-Key gave %s", again.Body)
	}
	in.Kenmerk = "A-2"
	if conflict, err := a.MaakSignaalWithResponse(ctx, &MaakSignaalParams{IdempotencyKey: "sleutel-1"}, in); err != nil || conflict.StatusCode() != 409 {
		t.Errorf("the same Idempotency-Key for another request gave %s", conflict.Body)
	}

	wait := make(chan *LijstBerichtenResponse, 1)
	go func() {
		resp, _ := a.LijstBerichtenWithResponse(context.WithoutCancel(ctx), &LijstBerichtenParams{Wacht: 60})
		wait <- resp
	}()
	if other, err := b.MaakSignaalWithResponse(ctx, &MaakSignaalParams{Wacht: seconds30()}, d.body(number)); err != nil || other.JSON201 == nil || *other.JSON201.Anderen != 1 {
		t.Fatalf("%v %s", err, other.Body)
	}
	news := <-wait
	if news == nil || news.JSON200 == nil || len(news.JSON200.Items) != 1 {
		t.Fatal("the long poll gave no message")
	}
	m := news.JSON200.Items[0]
	if m.Soort != BerichtSoortAangesloten || m.Ander.Deelnemer != string(gatewaytest.Party(1)) || m.Ander.Naam != "Organisatie 1" ||
		m.Ander.Contactkaart.Afdeling != "Balie 1" || len(m.Ander.Voorleescode) != 6 || m.Probleem != "" ||
		len(m.Signalen) != 1 || m.Signalen[0] != (Eigenaar{Signaal: s.Id, Kenmerk: "A-1", Hulpverlener: "jansen"}) {
		t.Errorf("%s", news.Body)
	}
	empty, err := a.LijstBerichtenWithResponse(ctx, &LijstBerichtenParams{Na: news.JSON200.Next})
	if err != nil || len(empty.JSON200.Items) != 0 || empty.JSON200.Next != news.JSON200.Next {
		t.Errorf("behind the last message: %s", empty.Body)
	}

	renewed, err := a.VerlengSignaalWithResponse(ctx, s.Id, &VerlengSignaalParams{Wacht: seconds30()}, Verlenging{TermijnDagen: 100})
	if err != nil || renewed.JSON200 == nil || renewed.JSON200.Revisie != 2 || renewed.JSON200.VerlooptOp.String() != "2027-06-01" {
		t.Errorf("renewal: %s", renewed.Body)
	}
	gone, err := a.TrekSignaalInWithResponse(ctx, s.Id, &TrekSignaalInParams{Wacht: seconds30()}, Intrekking{Reden: IntrekkingRedenAfgesloten})
	if err != nil || gone.JSON200 == nil || gone.JSON200.Toestand != ToestandIngetrokken {
		t.Errorf("withdrawal: %s", gone.Body)
	}
	if late, err := a.VerlengSignaalWithResponse(ctx, s.Id, &VerlengSignaalParams{}, Verlenging{}); err != nil || late.StatusCode() != 409 {
		t.Errorf("renewal of what was withdrawn: %s", late.Body)
	}
	list, err := a.LijstSignalenWithResponse(ctx, &LijstSignalenParams{Toestand: ToestandIngetrokken})
	if err != nil || len(list.JSON200.Items) != 1 || list.JSON200.Items[0].Id != s.Id {
		t.Errorf("list: %s", list.Body)
	}
	if none, err := a.LijstSignalenWithResponse(ctx, &LijstSignalenParams{Toestand: ToestandGeregistreerd}); err != nil || len(none.JSON200.Items) != 0 {
		t.Errorf("list of another state: %s", none.Body)
	}
}

func TestWaitingIsTold(t *testing.T) {
	d := newDesk(t, 1, true)
	d.Registry.Set(gatewaytest.Away)
	a := d.client(t, 0)
	made, err := a.MaakSignaalWithResponse(t.Context(), &MaakSignaalParams{Wacht: noWait()}, d.body(number))
	if err != nil || made.JSON202 == nil || made.JSON202.Toestand != ToestandInDeWacht || made.JSON202.Opdracht.Soort != OpdrachtSoortSignaleren {
		t.Fatalf("%v %s", err, made.Body)
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		read, err := a.LeesSignaalWithResponse(t.Context(), made.JSON202.Id, nil)
		if err != nil || read.JSON200 == nil {
			t.Fatalf("%v %s", err, read.Body)
		}
		if s := read.JSON200; s.Opdracht.WachtOp == OpdrachtWachtOpRegister && s.Opdracht.Pogingen > 0 {
			if !strings.Contains(s.Uitleg, "register onbereikbaar") {
				t.Errorf("it says %q", s.Uitleg)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s", read.Body)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if about, err := a.LeesOrganisatieWithResponse(t.Context()); err != nil || about.JSON200.Wachtrij.Aantal != 1 || about.JSON200.Naam != "Organisatie 0" {
		t.Errorf("%s", about.Body)
	}
}

func TestReport(t *testing.T) {
	d := newDesk(t, 1, true)
	a := d.client(t, 0)
	in := NieuweMelding{Kenmerk: "M-1", Hulpverlener: "vt", Personen: []Persoon{
		{Nummersoort: "bsn", Nummer: number, Geboortedatum: "2012-05-06"},
		{Nummersoort: "bsn", Nummer: otherNumber, Geboortedatum: "1985-01-01", Rol: "ouder"},
		{Geboortedatum: "2015-01-01"},
		{Nummersoort: "bsn", Nummer: "123456789", Geboortedatum: "2015-02-30"},
	}}
	post := func() Melding {
		t.Helper()
		resp, err := a.MaakMeldingWithResponse(t.Context(), &MaakMeldingParams{Wacht: seconds30()}, in)
		if err != nil || resp.JSON201 == nil {
			t.Fatalf("%v %s", err, resp.Body)
		}
		for _, n := range []string{number, otherNumber, "123456789"} {
			if bytes.Contains(resp.Body, []byte(n)) {
				t.Error("the answer repeats a number")
			}
		}
		return *resp.JSON201
	}
	first := post()
	var got []UitkomstUitkomst
	for i, p := range first.Personen {
		if p.Volgnummer != i+1 || p.Uitleg == "" {
			t.Errorf("person %d: %+v", i, p)
		}
		got = append(got, p.Uitkomst)
	}
	want := []UitkomstUitkomst{
		UitkomstUitkomstGeregistreerd, UitkomstUitkomstGeweigerd, UitkomstUitkomstNietGesignaleerd, UitkomstUitkomstGeweigerd,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("outcomes %v, want %v", got, want)
	}
	if f := first.Personen[1].Fouten; len(f) != 1 || f[0].Name != "geboortedatum" || f[0].Code != "volwassen" {
		t.Errorf("the adult's faults: %v", f)
	}
	if f := first.Personen[3].Fouten; len(f) != 2 || f[0].Code != "controlegetal" || f[1].Code != "datum" {
		t.Errorf("the faults of number and date: %v", f)
	}
	if again := post(); !again.Herhaling || again.Personen[0].Uitkomst != UitkomstUitkomstSamengevoegd ||
		again.Personen[0].Signaal.Sid != first.Personen[0].Signaal.Sid || again.Personen[0].Signaal.SamengevoegdMet != first.Personen[0].Signaal.Id {
		t.Errorf("the repeat: %+v", again)
	}
	// It came on Thursday 4 March 2027.
	if due := first.BeslissenVoor.String(); due != "2027-03-11" || first.Termijn != MeldingTermijnLoopt || len(first.TeDoen) != 2 ||
		first.TeDoen[0].Volgnummer != 3 || first.TeDoen[0].Detail == "" || first.TeDoen[1].Volgnummer != 4 {
		t.Errorf("decided by %s, %s, to be done: %+v", due, first.Termijn, first.TeDoen)
	}
	for due, want := range map[string]int{"2027-03-10": 0, "2027-03-11": 2} {
		day, err := time.Parse(time.DateOnly, due)
		if err != nil {
			t.Fatal(err)
		}
		list, err := a.LijstMeldingenWithResponse(t.Context(), &LijstMeldingenParams{BeslissenVoor: openapi_types.Date{Time: day}})
		if err != nil || list.JSON200 == nil || len(list.JSON200.Items) != want {
			t.Errorf("by %s: %v %s", due, err, list.Body)
		}
	}
	read, err := a.LeesMeldingWithResponse(t.Context(), first.Id, nil)
	if err != nil || read.JSON200 == nil || read.JSON200.Kenmerk != "M-1" || len(read.JSON200.Personen) != 4 {
		t.Errorf("%s", read.Body)
	}
	list, err := a.LijstMeldingenWithResponse(t.Context(), &LijstMeldingenParams{Aantal: 1, Open: true})
	if err != nil || len(list.JSON200.Items) != 1 || list.JSON200.Next == "" {
		t.Fatalf("%s", list.Body)
	}
	list, err = a.LijstMeldingenWithResponse(t.Context(), &LijstMeldingenParams{Aantal: 1, Na: list.JSON200.Next})
	if err != nil || len(list.JSON200.Items) != 1 || list.JSON200.Items[0].Id != first.Id || list.JSON200.Next != "" {
		t.Errorf("%s", list.Body)
	}
}

func TestImport(t *testing.T) {
	d := newDesk(t, 2, true)
	a := d.client(t, 0)
	begin := NieuweImport{Kenmerk: "I-1", AantalRegels: 5, Hulpverlener: "vt", TermijnDagen: 100}
	begun, err := a.MaakImportWithResponse(t.Context(), nil, begin)
	if err != nil || begun.JSON201 == nil || begun.JSON201.Toestand != ImportToestandAanleveren {
		t.Fatalf("%v %s", err, begun.Body)
	}
	id := begun.JSON201.Id
	post := func(first int, rows ...NieuweRegel) []Regel {
		t.Helper()
		resp, err := a.NeemRegelsAanWithResponse(t.Context(), id, nil, NieuweRegels{Eerste: first, Regels: rows})
		if err != nil || resp.JSON200 == nil {
			t.Fatalf("%v %s", err, resp.Body)
		}
		for _, n := range []string{number, otherNumber, "123456789"} {
			if bytes.Contains(resp.Body, []byte(n)) {
				t.Error("the answer repeats a number")
			}
		}
		return resp.JSON200.Items
	}
	card := Contactkaart{Naam: "B. Bakker", Telefoon: "1"}
	rows := []NieuweRegel{
		{Nummersoort: "bsn", Nummer: number, Geboortedatum: "2012-05-06", Kenmerk: "K-1", Hulpverlener: "bakker", Contactkaart: card, TermijnDagen: 50},
		{Nummersoort: "bsn", Nummer: "123456789", Geboortedatum: "2012-02-30", Kenmerk: "K-2"},
		{Kenmerk: "K-3"},
	}
	first := post(1, rows...)
	if again := post(1, rows...); fmt.Sprint(again[1:]) != fmt.Sprint(first[1:]) || again[0].Signaal != first[0].Signaal {
		t.Errorf("again it is %v, and was %v", again, first)
	}
	if found, err := a.MaakImportWithResponse(t.Context(), nil, begin); err != nil || found.JSON200 == nil || found.JSON200.Aangenomen != 3 || found.JSON200.Id != id {
		t.Errorf("%v %s", err, found.Body)
	}
	post(4, NieuweRegel{Nummersoort: "bsn", Nummer: otherNumber, Geboortedatum: "1985-01-01", Kenmerk: "K-4"},
		NieuweRegel{Nummersoort: "bsn", Nummer: number, Geboortedatum: "2012-05-06", Kenmerk: "K-1", Hulpverlener: "bakker"})

	var s *Import
	for deadline := time.Now().Add(20 * time.Second); s == nil || s.Toestand != ImportToestandKlaar; time.Sleep(5 * time.Millisecond) {
		read, err := a.LeesImportWithResponse(t.Context(), id, nil)
		if err != nil || read.JSON200 == nil || time.Now().After(deadline) {
			t.Fatalf("%v %s", err, read.Body)
		}
		s = read.JSON200
	}
	if s.Tellingen != (Tellingen{Geregistreerd: 1, Samengevoegd: 1, Geweigerd: 2, Volwassen: 1, NietGesignaleerd: 1}) || s.Aangenomen != 5 || s.KlaarOp.IsZero() {
		t.Errorf("%+v", s)
	}
	var got []RegelUitkomst
	for from, more := 0, true; more; {
		page, err := a.LijstRegelsWithResponse(t.Context(), id, &LijstRegelsParams{Na: from, Aantal: 2})
		if err != nil || page.JSON200 == nil {
			t.Fatalf("%v %s", err, page.Body)
		}
		for _, r := range page.JSON200.Items {
			if r.Volgnummer != len(got)+1 || r.Kenmerk == "" || r.Uitleg == "" {
				t.Errorf("%+v", r)
			}
			got = append(got, r.Uitkomst)
		}
		more = page.JSON200.Next != ""
		from, _ = strconv.Atoi(page.JSON200.Next)
	}
	want := []RegelUitkomst{RegelUitkomstGeregistreerd, RegelUitkomstGeweigerd, RegelUitkomstNietGesignaleerd, RegelUitkomstGeweigerd, RegelUitkomstSamengevoegd}
	if got[0] == RegelUitkomstSamengevoegd { // of the two of one child either may be first
		want[0], want[4] = want[4], want[0]
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("outcomes %v, want %v", got, want)
	}
	if sig, err := a.LeesSignaalWithResponse(t.Context(), first[0].Signaal, nil); err != nil || sig.JSON200 == nil || sig.JSON200.Import != id ||
		sig.JSON200.Hulpverlener != "bakker" || sig.JSON200.Contactkaart != card && sig.JSON200.Toestand == ToestandGeregistreerd {
		t.Errorf("%v %s", err, sig.Body)
	}
	list, err := a.LijstImportenWithResponse(t.Context(), &LijstImportenParams{Aantal: 1})
	if err != nil || len(list.JSON200.Items) != 1 || list.JSON200.Next != "" {
		t.Errorf("%s", list.Body)
	}
	other := d.client(t, 1)
	if read, err := other.LeesImportWithResponse(t.Context(), id, nil); err != nil || read.StatusCode() != 404 {
		t.Errorf("another party reads it: %s", read.Body)
	}
	if read, err := other.LijstRegelsWithResponse(t.Context(), id, nil); err != nil || read.StatusCode() != 404 {
		t.Errorf("another party reads its rows: %s", read.Body)
	}
	if added, err := other.NeemRegelsAanWithResponse(t.Context(), id, nil, NieuweRegels{Eerste: 1, Regels: rows}); err != nil || added.StatusCode() != 404 {
		t.Errorf("another party adds to it: %s", added.Body)
	}
	if list, err := other.LijstImportenWithResponse(t.Context(), nil); err != nil || len(list.JSON200.Items) != 0 {
		t.Errorf("another party lists it: %s", list.Body)
	}
	if made, err := other.MaakImportWithResponse(t.Context(), nil, begin); err != nil || made.JSON201 == nil {
		t.Errorf("its reference is taken by another party's import: %s", made.Body)
	}
}

func TestPartiesAreApart(t *testing.T) {
	d := newDesk(t, 2, true)
	made, err := d.client(t, 0).MaakSignaalWithResponse(t.Context(), &MaakSignaalParams{Wacht: seconds30()}, d.body(number))
	if err != nil || made.JSON201 == nil {
		t.Fatalf("%v %s", err, made.Body)
	}
	other := d.client(t, 1)
	if read, err := other.LeesSignaalWithResponse(t.Context(), made.JSON201.Id, nil); err != nil || read.StatusCode() != 404 {
		t.Errorf("another party reads it: %s", read.Body)
	}
	if gone, err := other.TrekSignaalInWithResponse(t.Context(), made.JSON201.Id, nil, Intrekking{Reden: IntrekkingRedenAfgesloten}); err != nil || gone.StatusCode() != 404 {
		t.Errorf("another party withdraws it: %s", gone.Body)
	}
	if list, err := other.LijstSignalenWithResponse(t.Context(), nil); err != nil || len(list.JSON200.Items) != 0 {
		t.Errorf("another party lists it: %s", list.Body)
	}
}

// TestRefusals holds every refusal, byte for byte, against testdata/refusals.txt.
func TestRefusals(t *testing.T) {
	d := newDesk(t, 1, false)
	good := `{"nummersoort":"bsn","nummer":"` + number + `","geboortedatum":"2012-05-06","kenmerk":"A-1","hulpverlener":"jansen"}`
	zeros := strings.Repeat("0", 32)
	begun, err := d.client(t, 0).MaakImportWithResponse(t.Context(), nil, NieuweImport{Kenmerk: "I-0", AantalRegels: 3})
	if err != nil || begun.JSON201 == nil {
		t.Fatalf("%v %s", err, begun.Body)
	}
	rows := begun.HTTPResponse.Header.Get("Location") + "/regels"
	taken, err := d.client(t, 0).NeemRegelsAanWithResponse(t.Context(), begun.JSON201.Id, nil, NieuweRegels{Eerste: 1, Regels: []NieuweRegel{{}}})
	if err != nil || taken.JSON200 == nil || len(taken.JSON200.Items[0].Fouten) != 2 {
		t.Fatalf("%v %s", err, taken.Body)
	}
	var out strings.Builder
	for _, c := range []struct{ name, method, path, header, body string }{
		{"no_token", "GET", "/v1/signalen", "Authorization: ", ""},
		{"wrong_token", "GET", "/v1/signalen", "Authorization: Bearer YWJj", ""},
		{"basic_authentication", "GET", "/v1/signalen", "Authorization: Basic YWJj", ""},
		{"token_before_content", "POST", "/v1/signalen", "Authorization: ", "{"},
		{"unknown_path", "GET", "/v1/kinderen", "", ""},
		{"trailing_slash", "GET", "/v1/signalen/", "", ""},
		{"double_slash", "GET", "//v1/signalen", "", ""},
		{"unknown_version", "GET", "/v2/signalen", "", ""},
		{"method/signalen", "DELETE", "/v1/signalen", "", ""},
		{"method/signaal", "POST", "/v1/signalen/" + zeros, "", ""},
		{"method/intrekking", "GET", "/v1/signalen/" + zeros + "/intrekking", "", ""},
		{"method/verlenging", "PUT", "/v1/signalen/" + zeros + "/verlenging", "", ""},
		{"method/meldingen", "PATCH", "/v1/meldingen", "", ""},
		{"method/melding", "DELETE", "/v1/meldingen/" + zeros, "", ""},
		{"method/importen", "PUT", "/v1/importen", "", ""},
		{"method/import", "DELETE", "/v1/importen/" + zeros, "", ""},
		{"method/regels", "PATCH", "/v1/importen/" + zeros + "/regels", "", ""},
		{"method/berichten", "POST", "/v1/berichten", "", ""},
		{"method/organisatie", "POST", "/v1/organisatie", "", ""},
		{"method/openapi", "POST", "/v1/openapi.json", "", ""},
		{"method/health", "POST", "/health", "", ""},
		{"options", "OPTIONS", "/v1/signalen", "", ""},
		{"accept", "GET", "/v1/signalen", "Accept: text/html", ""},
		{"media_type", "POST", "/v1/signalen", "Content-Type: text/plain", good},
		{"no_media_type", "POST", "/v1/meldingen", "Content-Type: ", good},
		{"too_large", "POST", "/v1/meldingen", "", `{"kenmerk":"` + strings.Repeat("x", 256<<10) + `"}`},
		{"no_body", "POST", "/v1/signalen", "", ""},
		{"no_json", "POST", "/v1/signalen", "", `{"nummer":` + number},
		{"two_values", "POST", "/v1/signalen", "", good + good},
		{"an_array", "POST", "/v1/signalen", "", `["` + number + `"]`},
		{"null", "POST", "/v1/signalen", "", `null`},
		{"nothing", "POST", "/v1/signalen", "", `{}`},
		{"wrong_types", "POST", "/v1/signalen", "", `{"nummersoort":1,"nummer":` + number + `,"geboortedatum":20120506,"kenmerk":[],"hulpverlener":{},"termijnDagen":"x"}`},
		{"unknown_field", "POST", "/v1/signalen", "", strings.Replace(good, `{`, `{"`+number+`":"x",`, 1)},
		{"unknown_field_of_card", "POST", "/v1/signalen", "", strings.Replace(good, `{`, `{"contactkaart":{"fax":"1"},`, 1)},
		{"form_and_content_together", "POST", "/v1/signalen", "", `{"nummersoort":"bsn","nummer":"123456789","geboortedatum":"2012-02-30","kenmerk":"123456789"}`},
		{"content", "POST", "/v1/signalen", "", strings.Replace(good, number, "123456789", 1)},
		{"adult", "POST", "/v1/signalen", "", strings.Replace(good, "2012-05-06", "2004-03-04", 1)},
		{"born_in_the_future", "POST", "/v1/signalen", "", strings.Replace(good, "2012-05-06", "2027-03-05", 1)},
		{"impossible_date", "POST", "/v1/signalen", "", strings.Replace(good, "2012-05-06", "2012-02-30", 1)},
		{"unknown_kind", "POST", "/v1/signalen", "", strings.Replace(good, `"bsn"`, `"paspoort"`, 1)},
		{"long_idempotency_key", "POST", "/v1/signalen", "Idempotency-Key: " + strings.Repeat("x", 129), good},
		{"wait_too_long", "POST", "/v1/signalen?wacht=31", "", good},
		{"wait_no_number", "POST", "/v1/signalen?wacht=" + number + "x", "", good},
		{"list/count", "GET", "/v1/signalen?aantal=201", "", ""},
		{"list/from", "GET", "/v1/signalen?na=x", "", ""},
		{"list/state", "GET", "/v1/signalen?toestand=" + number, "", ""},
		{"list/reports_from", "GET", "/v1/meldingen?na=" + number, "", ""},
		{"list/reports_open", "GET", "/v1/meldingen?open=misschien", "", ""},
		{"list/messages_from", "GET", "/v1/berichten?na=" + number, "", ""},
		{"list/messages_wait", "GET", "/v1/berichten?wacht=61", "", ""},
		{"no_such_signal", "GET", "/v1/signalen/" + zeros, "", ""},
		{"no_such_id", "GET", "/v1/signalen/" + number, "", ""},
		{"no_such_report", "GET", "/v1/meldingen/" + zeros, "", ""},
		{"withdraw_nothing", "POST", "/v1/signalen/" + zeros + "/intrekking", "", `{"reden":"afgesloten"}`},
		{"withdraw_reason", "POST", "/v1/signalen/" + zeros + "/intrekking", "", `{"reden":"` + number + `"}`},
		{"renew_nothing", "POST", "/v1/signalen/" + zeros + "/verlenging", "", `{}`},
		{"renew_term", "POST", "/v1/signalen/" + zeros + "/verlenging", "", `{"termijnDagen":0}`},
		{"report/nobody", "POST", "/v1/meldingen", "", `{"kenmerk":"M-1","hulpverlener":"vt","personen":[]}`},
		{"report/wrong_type_of_a_person", "POST", "/v1/meldingen", "", `{"kenmerk":"M-1","hulpverlener":"vt","personen":[{},{"nummer":` + number + `}]}`},
		{"report/number_as_reference", "POST", "/v1/meldingen", "", `{"kenmerk":"` + number + `","hulpverlener":"vt","personen":[{"nummersoort":"bsn","nummer":"` + number + `","geboortedatum":"2012-05-06"}]}`},
		{"import/nothing", "POST", "/v1/importen", "", `{}`},
		{"import/total", "POST", "/v1/importen", "", `{"kenmerk":"I-1","aantalRegels":5000001}`},
		{"import/wrong_types", "POST", "/v1/importen", "", `{"kenmerk":` + number + `,"aantalRegels":"` + number + `"}`},
		{"import/twice_a_field", "POST", "/v1/importen", "", `{"kenmerk":"I-1","kenmerk":"I-2","aantalRegels":1}`},
		{"import/content_is_no_hash", "POST", "/v1/importen", "", `{"inhoud":"` + number + `","aantalRegels":1}`},
		{"import/content_and_reference", "POST", "/v1/importen", "", `{"kenmerk":"I-1","inhoud":"` + zeros + zeros + `","aantalRegels":1}`},
		{"import/no_name", "POST", "/v1/importen", "", `{"aantalRegels":1}`},
		{"import/other_terms", "POST", "/v1/importen", "", `{"kenmerk":"I-0","aantalRegels":4}`},
		{"import/trailing_slash", "GET", "/v1/importen/", "", ""},
		{"import/no_such_import", "GET", "/v1/importen/" + zeros, "", ""},
		{"import/list_from", "GET", "/v1/importen?na=" + number, "", ""},
		{"import/rows_of_nothing", "GET", "/v1/importen/" + zeros + "/regels", "", ""},
		{"import/rows_from", "GET", "/v1/importen/" + zeros + "/regels?na=" + number + "x", "", ""},
		{"import/rows_count", "GET", "/v1/importen/" + zeros + "/regels?aantal=501", "", ""},
		{"import/rows_into_nothing", "POST", "/v1/importen/" + zeros + "/regels", "", `{"eerste":1,"regels":[{}]}`},
		{"import/no_rows", "POST", rows, "", `{"eerste":1,"regels":[]}`},
		{"import/too_many_rows", "POST", rows, "", `{"eerste":1,"regels":[{}` + strings.Repeat(",{}", 500) + `]}`},
		{"import/far_too_many_rows", "POST", rows, "", `{"eerste":1,"regels":[1` + strings.Repeat(",1", 400_000) + `]}`},
		{"import/far_too_many_fields", "POST", rows, "", `{"eerste":1,"regels":[{"x":1` + strings.Repeat(`,"x":1`, 100_000) + `}]}`},
		{"import/behind_the_end", "POST", rows, "", `{"eerste":3,"regels":[{},{}]}`},
		{"import/gap", "POST", rows, "", `{"eerste":3,"regels":[{}]}`},
		{"import/other_rows", "POST", rows, "", `{"eerste":1,"regels":[{"nummer":"` + number + `"}]}`},
		{"import/row_of_wrong_type", "POST", rows, "", `{"eerste":2,"regels":[{},{"nummer":` + number + `}]}`},
		{"import/unknown_field_in_a_row", "POST", rows, "", `{"eerste":2,"regels":[{"` + number + `":"x"}]}`},
		{"import/unknown_field_of_a_card", "POST", rows, "", `{"eerste":2,"regels":[{"contactkaart":{"` + number + `":"x"}}]}`},
		{"import/too_large", "POST", rows, "", `{"eerste":2,"regels":[{"kenmerk":"` + strings.Repeat("x", 1<<20) + `"}]}`},
	} {
		req, err := http.NewRequest(c.method, d.url+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+d.tokens[0])
		if c.body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		if name, value, ok := strings.Cut(c.header, ": "); ok {
			req.Header.Del(name)
			if value != "" {
				req.Header.Set(name, value)
			}
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		checkHeaders(t, c.name, resp)
		if strings.Contains(string(body), number) || strings.Contains(string(body), "123456789") {
			t.Errorf("%s: the answer repeats what was sent", c.name)
		}
		fmt.Fprintf(&out, "== %s\n%d %s", c.name, resp.StatusCode, resp.Header.Get("Content-Type"))
		for _, name := range []string{"Allow", "WWW-Authenticate"} {
			if v := resp.Header.Get(name); v != "" {
				fmt.Fprintf(&out, "\n%s: %s", name, v)
			}
		}
		var pretty bytes.Buffer
		if len(body) > 0 {
			if err := json.Indent(&pretty, body, "", "  "); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		fmt.Fprintf(&out, "\n%s\n", pretty.String())
	}
	if strings.Contains(d.Log.String(), number) {
		t.Error("the log holds the number")
	}
	const golden = "testdata/refusals.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("refusals differ from %s; look at the difference and run with -update if it is meant:\n%s", golden, firstDifference(out.String(), string(want)))
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			return fmt.Sprintf("line %d: %s", i+1, g[i])
		}
	}
	return "lines are missing at the end"
}

func checkHeaders(t *testing.T, name string, resp *http.Response) {
	t.Helper()
	for header, want := range map[string]string{
		"API-Version": "1.0.0", "Cache-Control": "no-store", "Content-Security-Policy": "frame-ancestors 'none'",
		"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
	} {
		if got := resp.Header.Get(header); got != want {
			t.Errorf("%s: %s is %q, want %q", name, header, got, want)
		}
	}
	if resp.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("%s: no Strict-Transport-Security", name)
	}
}

func TestWhatIsPublic(t *testing.T) {
	d := newDesk(t, 1, false)
	get := func(path string) (*http.Response, []byte) {
		t.Helper()
		resp, err := http.Get(d.url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		checkHeaders(t, path, resp)
		return resp, body
	}
	resp, body := get("/v1/openapi.json")
	if resp.StatusCode != 200 || resp.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("openapi.json: %s, CORS %q", resp.Status, resp.Header.Get("Access-Control-Allow-Origin"))
	}
	served, err := openapi3.NewLoader().LoadFromData(body)
	if err != nil {
		t.Fatal(err)
	}
	if err := served.Validate(t.Context()); err != nil || served.OpenAPI != "3.0.3" {
		t.Errorf("what is served is no OpenAPI 3.0.3: %v", err)
	}
	if c := served.Info.Contact; c == nil || c.Name == "" || c.Email == "" || c.URL == "" || served.Info.Version != "1.0.0" {
		t.Error("contact or version is missing")
	}
	if resp, body := get("/health"); resp.StatusCode != 200 || !strings.Contains(string(body), `"status":"ok"`) {
		t.Errorf("health: %s %s", resp.Status, body)
	}
}

// Whatever is posted is answered with an acceptance or a refusal in form, and
// a refusal does not repeat it.
func FuzzBodies(f *testing.F) {
	d := newDesk(f, 1, false)
	f.Add("/v1/signalen", `{"nummersoort":"bsn","nummer":"900000016","geboortedatum":"2012-05-06","kenmerk":"A-1","hulpverlener":"jansen"}`)
	f.Add("/v1/signalen", `{"nummersoort":"bsn","nummer":"900000016","geboortedatum":"900000016","900000016":"x"}`)
	f.Add("/v1/meldingen", `{"kenmerk":"M-1","hulpverlener":"vt","personen":[{"nummer":"900000016","rol":"900000016"},{"nummer":900000016}]}`)
	f.Add("/v1/meldingen", `{"personen":{"900000016":null}}`)
	begun, err := d.client(f, 0).MaakImportWithResponse(f.Context(), nil, NieuweImport{Kenmerk: "I-1", AantalRegels: 1})
	if err != nil || begun.JSON201 == nil {
		f.Fatalf("%v %s", err, begun.Body)
	}
	paths := map[string]string{
		"/v1/signalen": "/v1/signalen?wacht=0", "/v1/meldingen": "/v1/meldingen?wacht=0", "/v1/importen": "/v1/importen",
		"/v1/regels": "/v1/importen/" + begun.JSON201.Id + "/regels",
	}
	f.Add("/v1/importen", `{"kenmerk":"900000016","aantalRegels":900000016}`)
	f.Add("/v1/regels", `{"eerste":2,"regels":[{"nummersoort":"bsn","nummer":"900000016","kenmerk":"900000016","contactkaart":{"naam":"x"}}]}`)
	described := newContract(f)
	f.Fuzz(func(t *testing.T, path, body string) {
		path, known := paths[path]
		if !known {
			return
		}
		req, err := http.NewRequest(http.MethodPost, d.url+path, strings.NewReader(body))
		if err != nil {
			return
		}
		req.Header.Set("Authorization", "Bearer "+d.tokens[0])
		req.Header.Set("Content-Type", "application/json")
		resp, err := (&contract{t, described.router}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode >= 500 {
			t.Errorf("%s for %q", resp.Status, body)
		}
		if resp.StatusCode >= 400 && strings.Contains(string(answer), number) {
			t.Errorf("the refusal repeats the number: %s", answer)
		}
	})
}

// The largest of what is right has no more values than a body may have.
func TestTheLargestPieceOfAnImport(t *testing.T) {
	d := newDesk(t, 1, false)
	a := d.client(t, 0)
	begun, err := a.MaakImportWithResponse(t.Context(), nil, NieuweImport{Kenmerk: "I-1", AantalRegels: gateway.MaxRows})
	if err != nil || begun.JSON201 == nil {
		t.Fatalf("%v %s", err, begun.Body)
	}
	row := NieuweRegel{
		Nummersoort: "bsn", Nummer: number, Geboortedatum: "2012-05-06", Rol: "kind", Kenmerk: "a", Hulpverlener: "a", TermijnDagen: 1,
		Contactkaart: Contactkaart{Naam: "a", Functie: "a", Afdeling: "a", Telefoon: "1", Email: "a", Bereikbaarheid: "a"},
	}
	rows := NieuweRegels{Eerste: 1, Regels: slices.Repeat([]NieuweRegel{row}, gateway.MaxRows)}
	if added, err := a.NeemRegelsAanWithResponse(t.Context(), begun.JSON201.Id, nil, rows); err != nil || added.JSON200 == nil {
		t.Fatalf("%v %s", err, added.Body)
	}
}

// The gateway names a file by its content, and counts the rounds of it.
func TestImportOfAFile(t *testing.T) {
	d := newDesk(t, 1, true)
	a := d.client(t, 0)
	begin := NieuweImport{Inhoud: strings.Repeat("0f", 32), AantalRegels: 1, Hulpverlener: "jansen"}
	first, err := a.MaakImportWithResponse(t.Context(), nil, begin)
	if err != nil || first.JSON201 == nil || first.JSON201.Ronde != 1 || strings.Contains(first.JSON201.Kenmerk, "0f0f0f") {
		t.Fatalf("%v %s", err, first.Body)
	}
	begin.Opnieuw = true
	if found, err := a.MaakImportWithResponse(t.Context(), nil, begin); err != nil || found.JSON200 == nil || found.JSON200.Id != first.JSON201.Id {
		t.Errorf("a round that is not done is not found: %v %s", err, found.Body)
	}
	rows := NieuweRegels{Eerste: 1, Regels: []NieuweRegel{{Kenmerk: "K-1"}}}
	if added, err := a.NeemRegelsAanWithResponse(t.Context(), first.JSON201.Id, nil, rows); err != nil || added.JSON200 == nil {
		t.Fatalf("%v %s", err, added.Body)
	}
	second, err := a.MaakImportWithResponse(t.Context(), nil, begin)
	if err != nil || second.JSON201 == nil || second.JSON201.Ronde != 2 || second.JSON201.Kenmerk != first.JSON201.Kenmerk {
		t.Errorf("%v %s", err, second.Body)
	}
}
