// SPDX-License-Identifier: EUPL-1.2

package rest

import (
	"strings"
	"testing"

	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
)

const audience = "https://poort.example"

// newClients makes a desk of two parties that have the same issuer: client a is of the
// first, client b of the second, and bound is of jansen at the first.
func newClients(t *testing.T) (*desk, *gatewaytest.Issuer) {
	t.Helper()
	w := gatewaytest.New(t, 2)
	issuer := gatewaytest.NewIssuer(t, w.Now)
	w.Change = func(c *gateway.Config) {
		for i := range c.Parties {
			c.Parties[i].OAuth = gateway.OAuthConfig{Issuer: issuer.URL, Audience: audience + c.Parties[i].Keys[len(c.Parties[i].Keys)-1:], Roots: issuer.Roots}
		}
		c.Parties[0].OAuth.Clients = map[string]gateway.ClientConfig{
			"a":     {Roles: []gateway.Role{gateway.MayRegister, gateway.MayReadMatches}, Reach: gateway.ReachAll},
			"bound": {Roles: []gateway.Role{gateway.MayRegister}, Reach: gateway.ReachOwn, Person: "jansen"},
		}
		c.Parties[1].OAuth.Clients = map[string]gateway.ClientConfig{
			"b": {Roles: []gateway.Role{gateway.MayRegister}, Reach: gateway.ReachAll},
		}
	}
	return newDeskIn(t, w, 2, true), issuer
}

func TestClientsLogIn(t *testing.T) {
	d, issuer := newClients(t)
	ctx := t.Context()
	scoped := func(scope string) string {
		c := issuer.Claims("a", audience+"0")
		c["scope"] = scope
		return issuer.Sign(nil, c, nil)
	}
	made, err := d.as(t, issuer.Token("a", audience+"0"), "").MaakSignaalWithResponse(ctx, &MaakSignaalParams{Wacht: seconds30()}, d.body(number))
	if err != nil || made.JSON201 == nil {
		t.Fatalf("%v %s", err, made.Body)
	}
	bound := issuer.Token("bound", audience+"0")
	for _, c := range []struct {
		name, token string
		status      int
	}{
		{"own_party", issuer.Token("a", audience+"0"), 200},
		{"scope_that_has_the_role", scoped("openid aanmelden"), 200},
		{"rejects/scope_without_the_role", scoped("matches"), 403},
		{"rejects/empty_scope", scoped(""), 403},
		{"rejects/scope_that_gives_more", scoped("beheer privacy"), 403},
		{"rejects/another_partys_client", issuer.Token("b", audience+"1"), 404},
		{"rejects/another_partys_audience", issuer.Token("a", audience+"1"), 401},
		{"rejects/client_of_nobody", issuer.Token("c", audience+"0"), 401},
		{"rejects/bound_to_who_is_no_user", bound, 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			read, err := d.as(t, c.token, "").LeesSignaalWithResponse(ctx, made.JSON201.Id, nil)
			if err != nil || read.StatusCode() != c.status {
				t.Fatalf("%v %d %s", err, read.StatusCode(), read.Body)
			}
			if c.status == 401 && read.HTTPResponse.Header.Get("WWW-Authenticate") != `Bearer error="invalid_token"` {
				t.Errorf("WWW-Authenticate: %s", read.HTTPResponse.Header.Get("WWW-Authenticate"))
			}
		})
	}
	for _, path := range []string{"beheer", "privacy"} { // roles that no scope gives
		client := d.as(t, scoped("aanmelden matches "+path), "")
		if list, err := client.LijstSleutelsWithResponse(ctx, nil); err != nil || list.StatusCode() != 403 {
			t.Errorf("%s", list.Body)
		}
		if list, err := client.LijstInzagenWithResponse(ctx, nil); err != nil || list.StatusCode() != 403 {
			t.Errorf("%s", list.Body)
		}
	}
	d.staff(t, 0)
	if read, err := d.as(t, bound, "").LeesSignaalWithResponse(ctx, made.JSON201.Id, nil); err != nil || read.StatusCode() != 200 {
		t.Errorf("bound to a user: %s", read.Body)
	}
	log, err := d.client(t, 0).LijstInzagenWithResponse(ctx, nil)
	if err != nil || log.JSON200.Items[1].Gebruiker != "client:bound" || log.JSON200.Items[1].Hulpverlener != "jansen" {
		t.Errorf("%v %s", err, log.Body)
	}
	issuer.Down(true)
	issuer.Rotate("ES256")
	away, err := d.as(t, issuer.Token("a", audience+"0"), "").LijstSignalenWithResponse(ctx, nil)
	if err != nil || away.StatusCode() != 503 || away.HTTPResponse.Header.Get("Retry-After") == "" {
		t.Errorf("while the issuer is away: %s", away.Body)
	}
	if logged := d.Log.String(); strings.Contains(logged, "eyJ") {
		t.Error("a token is in the log")
	}
}
