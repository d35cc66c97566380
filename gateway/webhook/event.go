// SPDX-License-Identifier: EUPL-1.2

package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seinhuis/seinhuis/api"
)

// MaxEvent is how many bytes an event can have (CloudEvents 1.0, "Size limits").
const MaxEvent = 64 << 10

// MediaType is that of an event in structured JSON (CloudEvents JSON format, section 3).
const MediaType = "application/cloudevents+json; charset=utf-8"

// ErrTooLarge says that an event has more bytes than MaxEvent.
var ErrTooLarge = errors.New("webhook: the event has more than 64 KB")

// An Event is a CloudEvent 1.0 by the NL GOV profile. Source and ID together are the
// event's identity: it keeps them however often it is sent.
type Event struct {
	ID       string
	Source   string    // see Source
	Type     string    // see Type
	Time     time.Time // when the gateway received it; written as RFC 3339 in UTC
	Sequence uint64    // grows with every event of the source; zero for one outside the order
	Data     any       // written as JSON
}

// Body writes the event as structured JSON. Sequence is written as 20 digits, so that
// it sorts as text, as the CloudEvents extension of that name asks.
func (e Event) Body() ([]byte, error) {
	out := struct {
		SpecVersion     string `json:"specversion"`
		ID              string `json:"id"`
		Source          string `json:"source"`
		Type            string `json:"type"`
		Time            string `json:"time"`
		Sequence        string `json:"sequence,omitempty"`
		DataContentType string `json:"datacontenttype"`
		Data            any    `json:"data"`
	}{"1.0", e.ID, e.Source, e.Type, e.Time.UTC().Format(time.RFC3339), "", "application/json", e.Data}
	if e.Sequence > 0 {
		out.Sequence = fmt.Sprintf("%020d", e.Sequence)
	}
	body, err := json.Marshal(out)
	if err != nil {
		return nil, err
	}
	if len(body) > MaxEvent {
		return nil, ErrTooLarge
	}
	return body, nil
}

// Type is the type of events of a kind: reverse domain name, and a version that goes
// up when what is in the data changes so that receivers would misread it.
func Type(kind string) string { return "nl.seinhuis." + kind + ".v1" }

// registers are how URNs name the registers of party ids. The profile asks for OIN,
// or else the number of the Chamber of Commerce, under the namespace nld; the others
// follow them.
var registers = map[string]string{
	"nl-oin": "nld:oin", "nl-kvk": "nld:kvknr", "nl-ura": "nld:ura", "nl-agb": "nld:agb", "nl-brin": "nld:brin", "be-kbo": "bel:kbo",
}

// Source names the gateway of a party as the origin of events:
// urn:nld:oin:<OIN>:systeem:seinhuis, with :eenheid:<unit> before the system for a
// unit that registers by itself.
func Source(party api.PartyID) string {
	scheme, number, _ := strings.Cut(string(party), ":")
	number, unit, _ := strings.Cut(number, "/")
	register, ok := registers[scheme]
	if !ok {
		register = "seinhuis:" + scheme
	}
	source := "urn:" + register + ":" + number
	if unit != "" {
		source += ":eenheid:" + unit
	}
	return source + ":systeem:seinhuis"
}
