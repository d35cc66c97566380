// SPDX-License-Identifier: EUPL-1.2

package rest

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/manifest"
)

// TestLostOverTheAPI is what a case system sees when the keys of an epoch are stolen: a
// message, a state to ask for, health; and that to signal again is all that it takes.
func TestLostOverTheAPI(t *testing.T) {
	d := newDesk(t, 1, true)
	c := d.client(t, 0)
	made, err := c.MaakSignaalWithResponse(t.Context(), &MaakSignaalParams{Wacht: seconds30()}, d.body(number))
	if err != nil || made.JSON201 == nil {
		t.Fatalf("%v %s", err, made.Body)
	}
	d.World.Registry.Set(gatewaytest.Away)
	d.World.OpenEpoch(2)
	d.World.Manifest.Epochs[0].State = manifest.EpochCompromised
	d.World.Publish()
	if _, err := d.World.Matcher.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.World.Registry.Set(gatewaytest.Works)
	d.World.Configure(0) // writes the notes anew
	if err := d.house.Gateway.Reload(); err != nil {
		t.Fatal(err)
	}
	wait := 30
	news, err := c.LijstBerichtenWithResponse(t.Context(), &LijstBerichtenParams{Wacht: wait})
	if err != nil || news.JSON200 == nil || len(news.JSON200.Items) != 1 {
		t.Fatalf("%v %s", err, news.Body)
	}
	m := news.JSON200.Items[0]
	if m.Soort != BerichtSoortOpnieuwAanmelden || m.Ander != (Ander{}) || m.Match != "" || len(m.Signalen) != 1 || m.Signalen[0].Signaal != made.JSON201.Id {
		t.Errorf("the message is %s", news.Body)
	}
	listed, err := c.LijstSignalenWithResponse(t.Context(), &LijstSignalenParams{Toestand: ToestandOpnieuwAanmelden})
	if err != nil || listed.JSON200 == nil || len(listed.JSON200.Items) != 1 || listed.JSON200.Items[0].Uitleg == "" {
		t.Fatalf("%v %s", err, listed.Body)
	}
	says := func(code OnderdeelCode) {
		t.Helper()
		want := fmt.Sprintf(`{"code":%q,"naam":%q}`, code, OnderdeelNaamOpnieuwAanmelden)
		for range 400 {
			resp, err := http.Get(d.url + "/health")
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil && strings.Contains(string(body), want) {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("health does not say %s", want)
	}
	says(OnderdeelCodeOntbreekt)
	again, err := c.MaakSignaalWithResponse(t.Context(), &MaakSignaalParams{Wacht: seconds30()}, d.body(number))
	if err != nil || again.JSON201 == nil || again.JSON201.Id != made.JSON201.Id || again.JSON201.Toestand != ToestandGeregistreerd {
		t.Errorf("%v %s", err, again.Body)
	}
	says(OnderdeelCodeOk)
}
