// SPDX-License-Identifier: EUPL-1.2

package rest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/gateway/webhook"
)

// deskFor is a desk of two parties whose gateway may send webhooks to a receiver.
func deskFor(t *testing.T, r *gatewaytest.Receiver) *desk {
	t.Helper()
	w := gatewaytest.New(t, 2)
	w.Change = func(c *gateway.Config) {
		c.Webhooks = gateway.WebhooksConfig{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Roots: r.RootFile}
	}
	return newDeskIn(t, w, 2, true)
}

// match has two parties signal the same child, and waits until both have been told.
func (d *desk) match(t *testing.T, nummer, kenmerk string) {
	t.Helper()
	for i := range 2 {
		wacht := 30
		made, err := d.client(t, i).MaakSignaalWithResponse(t.Context(), &MaakSignaalParams{Wacht: &wacht}, NieuwSignaal{
			Nummersoort: NieuwSignaalNummersoortBsn, Nummer: nummer, Geboortedatum: "2012-05-06", Kenmerk: kenmerk, Hulpverlener: "jansen",
		})
		if err != nil || made.JSON201 == nil {
			t.Fatalf("%v %s", err, made.Body)
		}
	}
}

func TestSubscriptionFromBeginningToEnd(t *testing.T) {
	r := gatewaytest.NewReceiver(t)
	d := deskFor(t, r)
	c := d.client(t, 0)
	made, err := c.MaakAbonnementWithResponse(t.Context(), NieuwAbonnement{
		Url: r.URL + "/seinhuis?sleutel=hemelsblauw", Naam: "dossier", Soorten: Berichtsoorten{"aangesloten"}, DossierLink: "https://dossier.example/",
	})
	if err != nil || made.JSON201 == nil {
		t.Fatalf("%v %s", err, made.Body)
	}
	id, secret := made.JSON201.Abonnement.Id, made.JSON201.Geheim
	if _, err := webhook.ParseSecret(secret); err != nil || made.HTTPResponse.Header.Get("Location") != "/v1/abonnementen/"+id {
		t.Errorf("%v %s", err, made.HTTPResponse.Header.Get("Location"))
	}
	r.Trust(secret)
	tried, err := c.TestAbonnementWithResponse(t.Context(), id)
	if err != nil || tried.JSON200 == nil || tried.JSON200.Uitkomst != AfleveruitkomstAfgeleverd || tried.JSON200.Status != 204 {
		t.Fatalf("%v %s", err, tried.Body)
	}
	d.match(t, number, "A-1")
	r.Taken(2)

	// The secret is shown once; who reads it later sees none.
	for _, read := range []func() ([]byte, error){
		func() ([]byte, error) {
			resp, err := c.LeesAbonnementWithResponse(t.Context(), id)
			return resp.Body, err
		},
		func() ([]byte, error) {
			resp, err := c.LijstAbonnementenWithResponse(t.Context(), &LijstAbonnementenParams{})
			return resp.Body, err
		},
	} {
		body, err := read()
		if err != nil || !strings.Contains(string(body), id) || strings.Contains(string(body), "whsec_") {
			t.Errorf("%v %s", err, body)
		}
	}
	rotated, err := c.WisselGeheimWithResponse(t.Context(), id, Geheimwissel{})
	if err != nil || rotated.JSON200 == nil || rotated.JSON200.Geheim == secret || rotated.JSON200.Geheim == "" {
		t.Fatalf("%v %s", err, rotated.Body)
	}

	// Turned off and on; another party sees nothing of it.
	changed, err := c.WijzigAbonnementWithResponse(t.Context(), id, GewijzigdAbonnement{Url: r.URL, Aan: false})
	if err != nil || changed.JSON200 == nil || changed.JSON200.Toestand != AbonnementToestandUit || len(changed.JSON200.Soorten) > 0 {
		t.Fatalf("%v %s", err, changed.Body)
	}
	for name, status := range map[string]func() (int, error){
		"read": func() (int, error) {
			resp, err := d.client(t, 1).LeesAbonnementWithResponse(t.Context(), id)
			return resp.StatusCode(), err
		},
		"rotate": func() (int, error) {
			resp, err := d.client(t, 1).WisselGeheimWithResponse(t.Context(), id, Geheimwissel{})
			return resp.StatusCode(), err
		},
		"delete": func() (int, error) {
			resp, err := d.client(t, 1).VerwijderAbonnementWithResponse(t.Context(), id)
			return resp.StatusCode(), err
		},
		"dead letters": func() (int, error) {
			resp, err := d.client(t, 1).LijstMisluktWithResponse(t.Context(), id, &LijstMisluktParams{})
			return resp.StatusCode(), err
		},
	} {
		if got, err := status(); err != nil || got != http.StatusNotFound {
			t.Errorf("another party: %s gives %d %v", name, got, err)
		}
	}
	if resp, err := c.VerwijderAbonnementWithResponse(t.Context(), id); err != nil || resp.StatusCode() != http.StatusNoContent {
		t.Fatalf("%v %s", err, resp.Body)
	}
	if resp, err := c.LeesAbonnementWithResponse(t.Context(), id); err != nil || resp.StatusCode() != http.StatusNotFound {
		t.Errorf("%v %s", err, resp.Body)
	}
}

func TestDeadLettersOverTheAPI(t *testing.T) {
	r := gatewaytest.NewReceiver(t)
	d := deskFor(t, r)
	c := d.client(t, 0)
	made, err := c.MaakAbonnementWithResponse(t.Context(), NieuwAbonnement{Url: r.URL, Ondertekening: NieuwAbonnementOndertekeningEd25519})
	if err != nil || made.JSON201 == nil || made.JSON201.Geheim != "" || len(made.JSON201.Abonnement.OpenbareSleutels) != 1 {
		t.Fatalf("%v %s", err, made.Body)
	}
	id := made.JSON201.Abonnement.Id
	r.Trust(made.JSON201.Abonnement.OpenbareSleutels...)
	r.Answer(gatewaytest.Status(http.StatusInternalServerError))
	d.match(t, number, "A-1")
	for done, n := false, 0; !done; n++ { // at every time that it is tried
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			got, err := c.LeesAbonnementWithResponse(t.Context(), id)
			if err != nil || got.JSON200 == nil || time.Now().After(deadline) {
				t.Fatalf("%v %s", err, got.Body)
			}
			if done = got.JSON200.Mislukt > 0; done {
				break
			}
			if got.JSON200.Pogingen > n && got.JSON200.Laatste.Uitkomst == AfleveruitkomstFout {
				d.Advance(got.JSON200.VolgendePoging.Add(time.Second).Sub(d.Now()))
				wake := GewijzigdAbonnement{Url: r.URL, Aan: true}
				if resp, err := c.WijzigAbonnementWithResponse(t.Context(), id, wake); err != nil || resp.JSON200 == nil {
					t.Fatalf("%v %s", err, resp.Body)
				}
				break
			}
		}
	}
	var dead MisluktBericht
	for deadline := time.Now().Add(20 * time.Second); dead.Volgnummer == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("there is no dead letter")
		}
		got, err := c.LijstMisluktWithResponse(t.Context(), id, &LijstMisluktParams{})
		if err != nil || got.JSON200 == nil {
			t.Fatalf("%v %s", err, got.Body)
		}
		for _, item := range got.JSON200.Items {
			dead = item
		}
	}
	if dead.Uitkomst != AfleveruitkomstFout || dead.Soort != "aangesloten" || dead.Herhaling || dead.Uitleg == "" || dead.Bericht == "" {
		t.Errorf("%+v", dead)
	}
	r.Answer(nil)
	again, err := c.HerhaalMisluktWithResponse(t.Context(), id, NieuweHerhaling{Volgnummers: []int64{dead.Volgnummer}})
	if err != nil || again.JSON202 == nil || again.JSON202.Aantal != 1 {
		t.Fatalf("%v %s", err, again.Body)
	}
	if got := r.Taken(1); got[0].ID != dead.Bericht {
		t.Errorf("taken: %+v", got)
	}
}

// Who administers and may not read matches cannot have them sent to himself: every event
// has the party's references in it. He can end that others get them.
func TestASubscriptionNeedsTheRoleThatReads(t *testing.T) {
	r := gatewaytest.NewReceiver(t)
	d := deskFor(t, r)
	made, err := d.client(t, 0).MaakAbonnementWithResponse(t.Context(), NieuwAbonnement{Url: r.URL})
	if err != nil || made.JSON201 == nil {
		t.Fatal(err, made.StatusCode())
	}
	for _, c := range []struct {
		roles   []Rol
		reach   Bereik
		allowed bool
	}{
		{[]Rol{RolBeheer}, BereikAlle, false},
		{[]Rol{RolBeheer, RolMatches}, BereikTeam, false},
		{[]Rol{RolBeheer, RolMatches}, BereikAlle, true},
	} {
		client := d.as(t, d.key(t, 0, c.reach, "", c.roles...).Sleutel, "")
		for _, card := range []bool{false, true} {
			resp, err := client.MaakAbonnementWithResponse(t.Context(), NieuwAbonnement{Url: r.URL, MetKaart: card})
			if err != nil || (resp.JSON201 != nil) != c.allowed || !c.allowed && resp.StatusCode() != http.StatusForbidden {
				t.Errorf("%v %s: %v %s", c.roles, c.reach, err, resp.Body)
			}
			change := GewijzigdAbonnement{Url: r.URL + "/elders", MetKaart: card, Aan: true}
			changed, err := client.WijzigAbonnementWithResponse(t.Context(), made.JSON201.Abonnement.Id, change)
			if err != nil || (changed.JSON200 != nil) != c.allowed || !c.allowed && changed.StatusCode() != http.StatusForbidden {
				t.Errorf("%v %s: %v %s", c.roles, c.reach, err, changed.Body)
			}
		}
	}
	client := d.as(t, d.key(t, 0, BereikAlle, "", RolBeheer).Sleutel, "")
	if resp, err := client.VerwijderAbonnementWithResponse(t.Context(), made.JSON201.Abonnement.Id); err != nil || resp.StatusCode() != http.StatusNoContent {
		t.Errorf("%v %s", err, resp.Body)
	}
}

func TestKindsAreTheSameEverywhere(t *testing.T) {
	spec, err := edge.Load(openapi)
	if err != nil {
		t.Fatal(err)
	}
	var described []string
	for _, kind := range spec.Doc().Components.Schemas["Bericht"].Value.Properties["soort"].Value.Enum {
		described = append(described, kind.(string))
	}
	ours := gateway.KindNames()
	slices.Sort(ours)
	slices.Sort(described)
	if !slices.Equal(ours, described) {
		t.Errorf("webhooks have %v, the API %v", ours, described)
	}
	answers := spec.Doc().Components.Schemas["AntwoordSoort"].Value.Enum
	for _, name := range answers {
		if answer := gateway.AnswerNamed(name.(string)); !answer.Known() || gateway.AnswerName(answer) != name {
			t.Errorf("the API's answer %v is none of ours", name)
		}
	}
	if len(answers) != 4 {
		t.Errorf("the API has %d answers", len(answers))
	}
}

// An event is one of a stream.
type event struct{ id, name, data string }

// listen opens a stream as a key, and passes what comes; comments as events without a
// name. The channel closes with the stream.
func (d *desk) listen(t *testing.T, url, key, last string) (<-chan event, *http.Response) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/v1/berichten", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Accept", "text/event-stream")
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	events := make(chan event, 100)
	go func() {
		defer close(events)
		var e event
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch {
			case lines.Text() == "":
				events <- e
				e = event{}
			case field == "id":
				e.id = value
			case field == "event":
				e.name = value
			case field == "data":
				e.data = value
			}
		}
	}()
	return events, resp
}

// news waits for the next event that is no comment.
func news(t *testing.T, events <-chan event) event {
	t.Helper()
	expired := time.After(20 * time.Second)
	for {
		select {
		case e, ok := <-events:
			if !ok {
				t.Fatal("the stream ended")
			}
			if e.name != "" {
				return e
			}
		case <-expired:
			t.Fatal("nothing came")
		}
	}
}

// ends waits until a stream ends.
func ends(t *testing.T, events <-chan event) {
	t.Helper()
	expired := time.After(20 * time.Second)
	for {
		select {
		case _, ok := <-events:
			if !ok {
				return
			}
		case <-expired:
			t.Fatal("the stream does not end")
		}
	}
}

func shortHeartbeat(t *testing.T) {
	was := heartbeat
	heartbeat = 20 * time.Millisecond
	t.Cleanup(func() { heartbeat = was })
}

func TestMessagesAsServerSentEvents(t *testing.T) {
	shortHeartbeat(t)
	d := newDesk(t, 2, true)
	events, resp := d.listen(t, d.url, d.tokens[0], "")
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("API-Version") == "" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	for range 3 { // it is alive although nothing happens
		if e, ok := <-events; !ok || e.name != "" {
			t.Fatalf("%+v %v", e, ok)
		}
	}
	d.match(t, number, "A-1")
	first := news(t, events)
	d.match(t, otherNumber, "A-2")
	second := news(t, events)
	var m Bericht
	if err := json.Unmarshal([]byte(first.data), &m); err != nil || first.name != "bericht" || m.Signalen[0].Kenmerk != "A-1" || m.Ander.Voorleescode == "" {
		t.Errorf("%v %+v", err, first)
	}
	list, err := d.client(t, 0).LijstBerichtenWithResponse(t.Context(), &LijstBerichtenParams{Na: Na(first.id)})
	if err != nil || list.JSON200 == nil || len(list.JSON200.Items) != 1 || list.JSON200.Next != second.id {
		t.Errorf("the id is not where the list goes on: %v %s", err, list.Body)
	}
	again, _ := d.listen(t, d.url, d.tokens[0], first.id)
	if e := news(t, again); e != second {
		t.Errorf("it resumed with %+v", e)
	}
	// A card that goes out is in the log of access.
	rows, err := d.client(t, 0).LijstInzagenWithResponse(t.Context(), &LijstInzagenParams{})
	if err != nil || rows.JSON200 == nil || !strings.Contains(string(rows.Body), "kaartGelezen") {
		t.Errorf("%v %s", err, rows.Body)
	}
}

func TestAStreamEndsWithItsKey(t *testing.T) {
	d := newDesk(t, 2, true)
	key := d.key(t, 0, BereikAlle, "", RolMatches)
	events, _ := d.listen(t, d.url, key.Sleutel, "")
	<-events
	if resp, err := d.client(t, 0).TrekSleutelInWithResponse(t.Context(), key.Id); err != nil || resp.StatusCode() >= 300 {
		t.Fatal(err, resp.StatusCode())
	}
	ends(t, events)
	d.match(t, number, "A-1")
	if _, resp := d.listen(t, d.url, key.Sleutel, ""); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("the revoked key gets %d", resp.StatusCode)
	}
}

func TestAKeyHasSoManyStreams(t *testing.T) {
	d := newDesk(t, 1, true)
	key := d.key(t, 0, BereikAlle, "", RolMatches)
	var open []*http.Response
	for range streamsOfKey {
		events, resp := d.listen(t, d.url, key.Sleutel, "")
		<-events
		open = append(open, resp)
	}
	_, refused := d.listen(t, d.url, key.Sleutel, "")
	if refused.StatusCode != http.StatusTooManyRequests || refused.Header.Get("Retry-After") == "" ||
		refused.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d %v", refused.StatusCode, refused.Header)
	}
	if _, other := d.listen(t, d.url, d.tokens[0], ""); other.StatusCode != http.StatusOK {
		t.Errorf("another key gets %d", other.StatusCode)
	}
	open[0].Body.Close()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		_, resp := d.listen(t, d.url, key.Sleutel, "")
		if resp.StatusCode == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a place that is free is not given")
		}
	}
}

// However many keys it has, a party leaves the others theirs.
func TestAPartyHasSoManyStreams(t *testing.T) {
	var s streams
	var ends []func()
	for n := range streamsOfParty {
		end, ok := s.begin("een", fmt.Sprint("sleutel:", n/streamsOfKey))
		if !ok {
			t.Fatalf("only %d are given", n)
		}
		ends = append(ends, end)
	}
	if _, ok := s.begin("een", "een andere"); ok {
		t.Error("another key of the party gets one more")
	}
	if _, ok := s.begin("twee", "sleutel:0"); !ok {
		t.Error("another party gets none")
	}
	ends[0]()
	if _, ok := s.begin("een", "een andere"); !ok {
		t.Error("a place that is free is not given")
	}
}

// The server's own limits do not cut a stream, and its end ends it.
func TestAStreamBehindTheEdge(t *testing.T) {
	shortHeartbeat(t)
	d := newDesk(t, 1, true)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	handler, err := NewHandler(ctx, d.house.Gateway, d.Log.Logger())
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	srv := &http.Server{Handler: hasty(handler)}
	go func() { served <- edge.Serve(ctx, srv, ln) }()
	events, _ := d.listen(t, "http://"+ln.Addr().String(), d.tokens[0], "")
	for range 30 {
		if _, ok := <-events; !ok {
			t.Fatal("it was cut")
		}
	}
	alone := httptest.NewServer(handler) // whoever serves it
	defer alone.Close()
	others, _ := d.listen(t, alone.URL, d.tokens[0], "")
	<-others
	cancel()
	ends(t, events)
	ends(t, others)
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// hasty is a server whose times are over soon: what they do after minutes, they do now.
func hasty(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		soon := time.Now().Add(100 * time.Millisecond)
		control.SetWriteDeadline(soon)
		control.SetReadDeadline(soon)
		next.ServeHTTP(w, r)
	})
}
