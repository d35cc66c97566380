// SPDX-License-Identifier: EUPL-1.2

package rest

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
)

// A case system hands a signal over to another, and both see what becomes of it.
func TestAWarmHandover(t *testing.T) {
	d := newDesk(t, 3, true)
	signal := func(party int, more string) map[string]any {
		t.Helper()
		return d.must(t, d.tokens[party], http.MethodPost, "/v1/signalen?wacht=30",
			`{"nummersoort":"bsn","nummer":"`+number+`","geboortedatum":"2012-05-06","kenmerk":"K-1","hulpverlener":"jansen"`+more+`}`)
	}
	until := func(party int, path, method, body, want string) string {
		t.Helper()
		for {
			got := d.ask(t, d.tokens[party], method, path, body)
			if got.status >= 300 {
				t.Fatalf("%s %s: %d %s", method, path, got.status, got.body)
			}
			if strings.Contains(got.body, want) {
				return got.body
			}
		}
	}
	mine := signal(0, "")
	signal(2, "")
	until(2, "/v1/matches", http.MethodGet, "", `"toestand":"aanwezig"`)
	path := "/v1/signalen/" + mine["id"].(string) + "/warme-overdracht?wacht=30"
	day := d.Now().AddDate(0, 0, 9).Format("2006-01-02")
	given := until(0, path, http.MethodPut, `{"aan":"`+string(gatewaytest.Party(1))+`","totEnMet":"`+day+`"}`, `"toestand":"staat"`)
	if !strings.Contains(given, `"aan":"nl-kvk:00000001"`) || !strings.Contains(given, `"totEnMet":"`+day+`"`) {
		t.Errorf("given: %s", given)
	}
	// Taken back, and given again.
	if back := until(0, path, http.MethodDelete, "", `"id"`); strings.Contains(back, "warmeOverdracht") {
		t.Errorf("taken back: %s", back)
	}
	until(0, path, http.MethodPut, `{"aan":"`+string(gatewaytest.Party(1))+`","totEnMet":"`+day+`"}`, `"toestand":"staat"`)
	var offers Overdrachten
	if err := json.Unmarshal([]byte(until(1, "/v1/overdrachten", http.MethodGet, "", `"totEnMet":"`+day+`"`)), &offers); err != nil || len(offers.Items) != 1 {
		t.Fatal(offers, err)
	}
	if o := offers.Items[0]; o.Deelnemer != "nl-kvk:00000000" || o.Naam == "" {
		t.Errorf("offered: %+v", o)
	}
	if told := until(1, "/v1/berichten", http.MethodGet, "", `"soort":"overdracht"`); !strings.Contains(told, `"overname":"`+offers.Items[0].Id+`"`) || strings.Contains(told, `"sid"`) || strings.Contains(told, `"match"`) {
		t.Errorf("told: %s", told)
	}
	theirs := signal(1, `,"neemtOver":"`+offers.Items[0].Id+`"`)
	if theirs["toestand"] != "geregistreerd" {
		t.Errorf("taken over: %v", theirs)
	}
	until(0, "/v1/signalen?toestand=overgedragen", http.MethodGet, "", `"overgenomenDoor":"nl-kvk:00000001"`)
	until(0, "/v1/berichten", http.MethodGet, "", `heeft ons signaal overgenomen`)
	until(2, "/v1/matches", http.MethodGet, "", `"overgenomenVan":{"deelnemer":"nl-kvk:00000000","naam":"Organisatie 0"}`)
	if left := until(1, "/v1/overdrachten", http.MethodGet, "", `"items"`); strings.Contains(left, "totEnMet") {
		t.Errorf("what was taken over is offered: %s", left)
	}
	for name, c := range map[string]struct{ path, body, want string }{
		"rejects/nobody":        {path, `{"aan":"nl-kvk:99999999","totEnMet":"` + day + `"}`, `"name":"aan"`},
		"rejects/no_such_day":   {path, `{"aan":"nl-kvk:00000001","totEnMet":"2027-02-30"}`, `"name":"totEnMet"`},
		"rejects/another_field": {path, `{"aan":"nl-kvk:00000001","totEnMet":"` + day + `","kind":"x"}`, `"code":"onbekendVeld"`},
	} {
		if got := d.ask(t, d.tokens[0], http.MethodPut, c.path, c.body); got.status != http.StatusBadRequest || !strings.Contains(got.body, c.want) {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	if got := d.ask(t, d.tokens[0], http.MethodPut, path, `{"aan":"nl-kvk:00000001","totEnMet":"`+day+`"}`); got.status != http.StatusConflict {
		t.Errorf("of a signal that has ended: %d %s", got.status, got.body)
	}
}
