// SPDX-License-Identifier: EUPL-1.2

package webhook_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/gateway/webhook"
)

func TestEventBody(t *testing.T) {
	e := webhook.Event{
		ID: "0a", Source: webhook.Source("nl-oin:00000001823288444000"), Type: webhook.Type("aangesloten"),
		Time: time.Date(2027, 3, 4, 10, 0, 0, 5, time.FixedZone("", 3600)), Sequence: 12, Data: map[string]string{"kenmerk": "A-1"},
	}
	body, err := e.Body()
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"specversion":"1.0","id":"0a","source":"urn:nld:oin:00000001823288444000:systeem:seinhuis",` +
		`"type":"nl.seinhuis.aangesloten.v1","time":"2027-03-04T09:00:00Z","sequence":"00000000000000000012",` +
		`"datacontenttype":"application/json","data":{"kenmerk":"A-1"}}`
	if string(body) != want {
		t.Errorf("got  %s\nwant %s", body, want)
	}
	e.Data = strings.Repeat("x", webhook.MaxEvent)
	if _, err := e.Body(); !errors.Is(err, webhook.ErrTooLarge) {
		t.Errorf("more than 64 KB: %v", err)
	}
}

func TestSource(t *testing.T) {
	for party, want := range map[api.PartyID]string{
		"nl-kvk:12345678":       "urn:nld:kvknr:12345678:systeem:seinhuis",
		"nl-kvk:12345678/noord": "urn:nld:kvknr:12345678:eenheid:noord:systeem:seinhuis",
		"be-kbo:0123456789":     "urn:bel:kbo:0123456789:systeem:seinhuis",
	} {
		if got := webhook.Source(party); got != want {
			t.Errorf("%s: %s", party, got)
		}
	}
	seen := map[string]bool{}
	for _, scheme := range []string{"nl-oin", "nl-kvk", "nl-ura", "nl-agb", "nl-brin", "be-kbo"} {
		s := webhook.Source(api.PartyID(scheme + ":1"))
		if seen[s] || strings.HasPrefix(s, "urn:seinhuis") {
			t.Errorf("%s has no source of its own: %s", scheme, s)
		}
		seen[s] = true
	}
}
