// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
)

// onEvents changes the events in what the registry answers.
func onEvents(t *testing.T, change func(*api.Events)) func(string, []byte) []byte {
	return func(path string, answer []byte) []byte {
		if path != "/v1/events" {
			return answer
		}
		var events api.Events
		if err := json.Unmarshal(answer, &events); err != nil {
			t.Error(err)
			return answer
		}
		if len(events.Items) > 0 {
			change(&events)
		}
		changed, err := json.Marshal(events)
		if err != nil {
			t.Error(err)
		}
		return changed
	}
}

func TestWhatDoesNotVerifyIsKeptAndToldAndStopsNothing(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*api.Event)
		want   gateway.Code
	}{
		{"own_signature", func(e *api.Event) { e.Own.Signature[0] ^= 1 }, gateway.CodeOwnStatement},
		{"own_statement", func(e *api.Event) { e.Own.Signed.Signed = e.Own.Signed.Signed[:40] }, gateway.CodeOwnStatement},
		{"own_sid", func(e *api.Event) { e.Own.SID[0] ^= 1 }, gateway.CodeOwnStatement},
		{"own_keybox", func(e *api.Event) { e.Own.Keybox[100] ^= 1 }, gateway.CodeOwnKeybox},
		{"no_keybox", func(e *api.Event) { e.Own.Keybox = nil }, gateway.CodeOwnKeybox},
		{"another_epoch", func(e *api.Event) { e.Epoch = 7 }, gateway.CodeOwnKeybox},
		{"card", func(e *api.Event) { e.Other.Card[50] ^= 1 }, gateway.CodeOtherCard},
		{"short_card", func(e *api.Event) { e.Other.Card = e.Other.Card[:100] }, gateway.CodeOtherCard},
		{"other_sid", func(e *api.Event) { e.Other.SID[0] ^= 1 }, gateway.CodeOtherCard},
		{"other_revision", func(e *api.Event) { e.Other.Rev++ }, gateway.CodeOtherCard},
		{"card_of_another_party", func(e *api.Event) { e.Other.Party = gatewaytest.Party(2) }, gateway.CodeOtherCard},
		{"unknown_party", func(e *api.Event) { e.Other.Party = "nl-kvk:99999999" }, gateway.CodeOtherUnknown},
		{"unknown_kind", func(e *api.Event) { e.Kind = "verhuisd" }, gateway.CodeEventKind},
	} {
		t.Run("rejects/"+c.name, func(t *testing.T) {
			t.Parallel()
			w := gatewaytest.New(t, 3)
			h := w.Run(0, 1)
			a, b := h.Of(0), h.Of(1)
			signal(t, a, child(1), terms("jansen", "A-1"))
			w.Registry.Rewrite(onEvents(t, func(e *api.Events) { c.change(&e.Items[0]) }))
			signal(t, b, child(1), terms("bakker", "B-1"))
			m := inbox(t, a, 1)[0]
			if m.Problem != c.want || !m.Other.Card.IsZero() || m.Other.Code != "" {
				t.Errorf("problem %q, want %q", m.Problem, c.want)
			}
			if m.Problem.Words() == "" || m.Words() == "" {
				t.Error("it is not told in words")
			}
			if !strings.Contains(w.Log.String(), `"problem":"`+string(c.want)+`"`) {
				t.Error("the log does not tell")
			}
			w.Registry.Rewrite(nil)
			signal(t, a, child(2), terms("jansen", "A-2"))
			signal(t, b, child(2), terms("bakker", "B-2"))
			if m := inbox(t, a, 2)[1]; m.Problem != "" || m.Other.Card.IsZero() {
				t.Errorf("the next event has the problem %q", m.Problem)
			}
		})
	}
}

func TestAnEventIsKeptOnce(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h := w.Run(0, 1)
	a, b := h.Of(0), h.Of(1)
	first := true
	w.Registry.Rewrite(onEvents(t, func(e *api.Events) {
		e.Items = append(e.Items, e.Items...)
		if first { // and once more behind another cursor
			e.Next = ""
		}
		first = false
	}))
	signal(t, a, child(1), terms("jansen", "A-1"))
	signal(t, b, child(1), terms("bakker", "B-1"))
	inbox(t, a, 1)
	signal(t, a, child(2), terms("jansen", "A-2"))
	signal(t, b, child(2), terms("bakker", "B-2"))
	seen := map[api.EventID]bool{}
	for _, m := range inbox(t, a, 2) {
		if seen[m.ID] {
			t.Error("an event is in the inbox twice")
		}
		seen[m.ID] = true
	}
}

func TestAFeedThatIsNoJSONIsAskedAgain(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h := w.Run(0, 1)
	a, b := h.Of(0), h.Of(1)
	w.Registry.Rewrite(func(path string, answer []byte) []byte {
		if path == "/v1/events" {
			return answer[:len(answer)/2]
		}
		return answer
	})
	signal(t, a, child(1), terms("jansen", "A-1"))
	signal(t, b, child(1), terms("bakker", "B-1"))
	w.Registry.Rewrite(nil)
	if m := inbox(t, a, 1)[0]; m.Problem != "" {
		t.Errorf("the event has the problem %q", m.Problem)
	}
}

func TestANewPartyIsFoundInANewDirectory(t *testing.T) {
	w := gatewaytest.New(t, 2)
	newcomer := w.Directory.Parties[1]
	w.Directory.Parties = w.Directory.Parties[:1]
	w.Publish()
	a := w.Run(0).Of(0) // its directory does not have party 1
	signal(t, a, child(1), terms("jansen", "A-1"))
	w.Directory.Parties = append(w.Directory.Parties, newcomer)
	w.Publish()
	signal(t, w.Run(1).Of(1), child(1), terms("bakker", "B-1"))
	if m := inbox(t, a, 1)[0]; m.Problem != "" || m.Other.Card.Desk != "Balie 1" {
		t.Errorf("the event of the new party has the problem %q", m.Problem)
	}
}

// Who handed over does not see the messages again when the registration is forgotten.
func TestWhatWasHandedOverDoesNotComeBack(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h, signals := meet(t, w, 2)
	a := bootstrap(t, w, h, 0)
	hire(t, a, "jansen", "bakker", "citroen")
	p := a.Party
	signal(t, p, child(1), terms("citroen", "C-1"))
	if _, err := as(a, "jansen").HandOver(signals[0].ID, "bakker", gateway.Card{}); err != nil {
		t.Fatal(err)
	}
	if _, err := as(a, "bakker").Withdraw(signals[0].ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	settled(t, p, signals[0].ID)
	sees := func(person string) (messages, matches int) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		list, err := as(a, person).AwaitMessages(ctx, 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		found, _, err := as(a, person).Matches(gateway.ID{}, 10, gateway.MatchFilter{})
		if err != nil {
			t.Fatal(err)
		}
		return len(list), len(found)
	}
	if messages, matches := sees("jansen"); messages+matches != 0 {
		t.Fatalf("before: %d messages, %d matches", messages, matches)
	}
	w.Advance(31 * 24 * time.Hour)
	if err := p.Sweep(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Registration(signals[0].ID); !errors.Is(err, gateway.ErrNotFound) {
		t.Fatalf("it is kept: %v", err)
	}
	if messages, matches := sees("jansen"); messages+matches != 0 {
		t.Errorf("%d messages and %d matches have come back", messages, matches)
	}
	if messages, matches := sees("citroen"); messages != 1 || matches != 1 {
		t.Errorf("whose signal it is sees %d messages and %d matches", messages, matches)
	}
}
