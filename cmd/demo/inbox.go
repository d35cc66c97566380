// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/seinhuis/seinhuis/gateway/rest"
)

// An Event is one message in a party's inbox, as its gateway opened it.
type Event struct {
	ID         string    `json:"id"`
	Received   time.Time `json:"received"`
	Kind       string    `json:"kind"`
	Match      string    `json:"match"`
	SID        string    `json:"sid"` // the party's own signal
	References []string  `json:"references"`
	Other      string    `json:"other"` // party id
	Card       *Card     `json:"card,omitempty"`
	Code       string    `json:"readOutCode,omitempty"`
	Problem    string    `json:"problem,omitempty"`
}

var eventKinds = map[rest.BerichtSoort]string{
	rest.BerichtSoortAangesloten:    evJoined,
	rest.BerichtSoortVertrokken:     evLeft,
	rest.BerichtSoortBeeindigd:      evEnded,
	rest.BerichtSoortKaartVernieuwd: evCard,
}

func eventOf(b rest.Bericht) Event {
	e := Event{
		ID: b.Id, Received: b.Ontvangen, Kind: eventKinds[b.Soort], Match: b.Match, SID: b.Sid,
		Other: b.Ander.Deelnemer, Code: b.Ander.Voorleescode, Problem: b.Probleem, References: []string{},
	}
	if e.Kind == "" {
		e.Kind = string(b.Soort)
	}
	for _, owner := range b.Signalen {
		e.References = append(e.References, owner.Kenmerk)
	}
	if card := cardOf(b.Ander.Contactkaart); card != (Card{}) {
		e.Card = &card
	}
	return e
}

func cardOf(k rest.Contactkaart) Card {
	return Card{k.Naam, k.Functie, k.Afdeling, k.Telefoon, k.Email, k.Bereikbaarheid}
}

func (c *Card) wire() rest.Contactkaart {
	if c == nil {
		return rest.Contactkaart{}
	}
	return rest.Contactkaart{
		Naam: c.Name, Functie: c.Role, Afdeling: c.Desk, Telefoon: c.Phone, Email: c.Email, Bereikbaarheid: c.Reachable,
	}
}

// An inbox holds what a party has been told, in the order in which its gateway
// tells it, and wakes who waits for more.
type inbox struct {
	client rest.ClientWithResponsesInterface

	mu     sync.Mutex
	events []Event
	counts map[eventKey]int
	grown  chan struct{} // closed and replaced at each growth
}

// An eventKey is what can be known of an event beforehand.
type eventKey struct{ sid, kind, other string }

func newInbox(client rest.ClientWithResponsesInterface) *inbox {
	return &inbox{client: client, counts: map[eventKey]int{}, grown: make(chan struct{})}
}

// follow reads on until ctx ends.
func (in *inbox) follow(ctx context.Context) error {
	params := rest.LijstBerichtenParams{Aantal: 200, Wacht: 30}
	for {
		resp, err := in.client.LijstBerichtenWithResponse(ctx, &params)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case resp.JSON200 == nil:
			return fmt.Errorf("an inbox answered %s: %s", resp.Status(), resp.Body)
		}
		in.add(resp.JSON200.Items)
		params.Na = resp.JSON200.Next
	}
}

func (in *inbox) add(items []rest.Bericht) {
	if len(items) == 0 {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, b := range items {
		e := eventOf(b)
		in.events = append(in.events, e)
		in.counts[eventKey{e.SID, e.Kind, e.Other}]++
	}
	close(in.grown)
	in.grown = make(chan struct{})
}

// await returns when there are n events with the key, or with ctx's error.
func (in *inbox) await(ctx context.Context, key eventKey, n int) error {
	for {
		in.mu.Lock()
		have, grown := in.counts[key], in.grown
		in.mu.Unlock()
		if have >= n {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// all copies what there is so far.
func (in *inbox) all() []Event {
	in.mu.Lock()
	defer in.mu.Unlock()
	return append([]Event(nil), in.events...)
}
