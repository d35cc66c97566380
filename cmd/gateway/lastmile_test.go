// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/gateway/rest"
	"github.com/seinhuis/seinhuis/soak"
)

// client is the API of a gateway, as party i.
func (c *counter) client(t *testing.T, i int) *rest.ClientWithResponses {
	t.Helper()
	token, err := gateway.ReadToken(filepath.Join(c.KeysOf(i), gateway.FileToken), nil)
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.NewClientWithResponses(c.url+"/v1", rest.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+token)
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// A gateway that is killed at any point between the registry's feed and the case
// system loses no event, and none overtakes another.
func TestRow1LastMile(t *testing.T) {
	soak.Row(t, 1, "kill -9 of a gateway on the last mile", 1, killedOnTheLastMile)
}

func killedOnTheLastMile(t *testing.T, _ uint64) soak.Found {
	rounds := 1
	if soak.Long() {
		rounds = 5
	}
	r := gatewaytest.NewReceiver(t)
	c := configureWorldWith(t, func(config *gateway.Config) {
		config.Webhooks = gateway.WebhooksConfig{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Roots: r.RootFile}
	}, 0)
	other, ok := c.Run(1).Party(gatewaytest.Party(1))
	if !ok {
		t.Fatal("no other party")
	}
	// Whoever waits for news had better be watched from the beginning.
	var trap atomic.Pointer[func(point string)]
	at := func(point string) {
		if armed := trap.Load(); armed != nil {
			(*armed)(point)
		}
	}
	ours := func(req *http.Request) bool {
		return req.URL.Path == "/v1/events" && req.TLS.PeerCertificates[0].Subject.CommonName == string(gatewaytest.Party(0))
	}
	c.Registry.OnAsked(func(req *http.Request) { when(ours(req), func() { at("it asks for news") }) })
	c.Registry.OnAnswer(func(req *http.Request) { when(ours(req), func() { at("it is told of news") }) })
	r.Answer(func(*http.Request, gatewaytest.Delivered) (int, http.Header) {
		at("a webhook arrives")
		return http.StatusNoContent, nil
	})
	r.Then(func() { at("a webhook was taken") })
	points := []string{"it asks for news", "it is told of news", "a webhook arrives", "a webhook was taken", "somewhere"}

	process, ended := c.start(t)
	made, err := c.client(t, 0).MaakAbonnementWithResponse(t.Context(), rest.NieuwAbonnement{Url: r.URL + "/seinhuis"})
	if err != nil || made.JSON201 == nil {
		t.Fatalf("%v %s", err, made.Body)
	}
	r.Trust(made.JSON201.Geheim)

	want := 0
	for range rounds {
		for _, point := range points {
			want++
			n := numbers(want)[want-1]
			stdout, stderr, exitCode := c.call(0, n, "signal", "-nummer", "-", "-geboortedatum", birth, "-kenmerk", fmt.Sprint("A-", want), "-hulpverlener", "jansen", "-wacht", "30")
			if exitCode != 0 {
				t.Fatalf("exit %d %s%s", exitCode, stdout, stderr)
			}
			victim := process.Process
			kill := func(here string) { when(here == point, func() { victim.Kill() }) }
			trap.Store(&kill)
			if point == "somewhere" {
				time.AfterFunc(time.Duration(want)*7*time.Millisecond, func() { kill(point) })
			}
			if _, err := other.Signal(gateway.Subject{Kind: "bsn", Number: n, BirthDate: birth}, gateway.Terms{Owner: "bakker", Reference: fmt.Sprint("B-", want)}); err != nil {
				t.Fatal(err)
			}
			select {
			case <-ended:
			case <-time.After(time.Minute):
				t.Fatalf("it was not killed when %s\n%s", point, c.log)
			}
			trap.Store(nil)
			process, ended = c.start(t)
		}
	}
	var order, first []string
	for deadline := time.Now().Add(time.Minute); len(first) < want; time.Sleep(10 * time.Millisecond) {
		first = nil
		for _, d := range r.Taken(0) {
			if !slices.Contains(first, d.ID) {
				first = append(first, d.ID)
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d events of %d arrived\n%s", len(first), want, c.log)
		}
	}
	inbox, err := c.client(t, 0).LijstBerichtenWithResponse(t.Context(), &rest.LijstBerichtenParams{Aantal: 200})
	if err != nil || inbox.JSON200 == nil {
		t.Fatal(err)
	}
	for _, m := range inbox.JSON200.Items {
		order = append(order, m.Id)
	}
	if !slices.Equal(first, order) {
		t.Errorf("arrived in the order %v, the inbox has %v", first, order)
	}
	return soak.Found{"kills": want, "events": len(order)}
}

func when(holds bool, do func()) {
	if holds {
		do()
	}
}
