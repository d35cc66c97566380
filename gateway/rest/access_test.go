// SPDX-License-Identifier: EUPL-1.2

package rest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"time"

	openapi_types "github.com/oapi-codegen/runtime/types"

	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/keys"
)

// as calls the API with a key, for a professional or for nobody in particular.
func (d *desk) as(t testing.TB, key, person string) *ClientWithResponses {
	t.Helper()
	c, err := NewClientWithResponses(d.url+"/v1",
		WithHTTPClient(&http.Client{Transport: newContract(t)}),
		WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
			r.Header.Set("Authorization", "Bearer "+key)
			if person != "" {
				r.Header.Set("Seinhuis-Hulpverlener", person)
			}
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (d *desk) day(years, months, days int) openapi_types.Date {
	return openapi_types.Date{Time: d.Now().AddDate(years, months, days)}
}

// key makes an API key of a party.
func (d *desk) key(t testing.TB, party int, reach Bereik, person string, roles ...Rol) GemaakteSleutel {
	t.Helper()
	made, err := d.client(t, party).MaakSleutelWithResponse(t.Context(), NieuweSleutel{
		Naam: "dossiersysteem", Rollen: roles, Bereik: reach, Hulpverlener: person, VerlooptOp: d.day(1, 0, 0),
	})
	if err != nil || made.JSON201 == nil {
		t.Fatalf("%v %s", err, made.Body)
	}
	return *made.JSON201
}

func (d *desk) user(t testing.TB, party int, u NieuweGebruiker) {
	t.Helper()
	if u.Naam == "" {
		u.Naam = "Naam van " + u.Id
	}
	made, err := d.client(t, party).MaakGebruikerWithResponse(t.Context(), u)
	if err != nil || made.JSON201 == nil {
		t.Fatalf("%v %s", err, made.Body)
	}
}

// staff: jansen and bakker are a team, citroen is jansen's deputy, dekker is nobody.
func (d *desk) staff(t testing.TB, party int) {
	t.Helper()
	d.user(t, party, NieuweGebruiker{Id: "citroen", Team: "zuid", Actief: true})
	d.user(t, party, NieuweGebruiker{Id: "jansen", Team: "noord", Vervanger: "citroen", Actief: true})
	d.user(t, party, NieuweGebruiker{Id: "bakker", Team: "noord", Actief: true})
	d.user(t, party, NieuweGebruiker{Id: "dekker", Actief: true})
}

// may is who may do what. It stands here once more, so that a role that is taken from
// or given to an operation by mistake is seen.
var may = map[string]string{
	"maakSignaal": "aanmelden", "lijstSignalen": "aanmelden", "leesSignaal": "aanmelden", "trekSignaalIn": "aanmelden",
	"verlengSignaal": "aanmelden", "maakMelding": "aanmelden", "lijstMeldingen": "aanmelden", "leesMelding": "aanmelden",
	"maakImport": "aanmelden", "lijstImporten": "aanmelden", "leesImport": "aanmelden", "neemRegelsAan": "aanmelden",
	"lijstRegels": "aanmelden", "lijstBerichten": "matches",
	"lijstMatches": "matches", "leesMatch": "matches", "beantwoordMatch": "matches", "zieMatch": "matches",
	"maakGebruiker": "beheer", "lijstGebruikers": "beheer", "leesGebruiker": "beheer", "wijzigGebruiker": "beheer",
	"verwijderGebruiker": "beheer", "maakSleutel": "beheer", "lijstSleutels": "beheer", "leesSleutel": "beheer",
	"maakAbonnement": "beheer", "lijstAbonnementen": "beheer", "leesAbonnement": "beheer", "wijzigAbonnement": "beheer",
	"verwijderAbonnement": "beheer", "wisselGeheim": "beheer", "testAbonnement": "beheer", "lijstMislukt": "beheer", "herhaalMislukt": "beheer",
	"draagOver": "beheer aanmelden", "leesOverdracht": "beheer aanmelden", "lijstEigenaren": "aanmelden", "wijzigEigenaren": "aanmelden",
	"geefSignaal": "aanmelden", "neemSignaalTerug": "aanmelden", "lijstOverdrachten": "aanmelden",
	"trekSleutelIn": "beheer", "lijstInzagen": "privacy", "herleidPseudoniem": "privacy", "leesOrganisatie": "", "leesOpenapi": "", "leesGezondheid": "",
}

// Every operation is tried with a key of every role alone.
func TestEveryOperationHoldsItsRoles(t *testing.T) {
	d := newDesk(t, 1, false)
	keyOf := map[string]string{}
	for _, role := range gateway.Roles {
		keyOf[string(role)] = d.key(t, 0, BereikAlle, "", Rol(role)).Sleutel
	}
	spec := described()
	seen := 0
	for path, item := range spec.Paths.Map() {
		for method, o := range item.Operations() {
			roles, known := may[o.OperationID]
			if !known {
				t.Errorf("%s %s (%s) is not in the table of who may do what", method, path, o.OperationID)
				continue
			}
			seen++
			for role, key := range keyOf {
				url := d.url + strings.ReplaceAll(path, "{id}", strings.Repeat("0", 32))
				req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader("{}"))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Authorization", "Bearer "+key)
				req.Header.Set("Content-Type", "application/json")
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				refused := resp.StatusCode == http.StatusForbidden && strings.Contains(string(body), "problem:rol\"")
				if allowed := roles == "" || slices.Contains(strings.Fields(roles), role); refused == allowed {
					t.Errorf("%s with role %s: %d", o.OperationID, role, resp.StatusCode)
				}
				if refused && resp.Header.Get("WWW-Authenticate") != `Bearer error="insufficient_scope"` {
					t.Errorf("%s: WWW-Authenticate is %q", o.OperationID, resp.Header.Get("WWW-Authenticate"))
				}
			}
		}
	}
	if seen != len(may) {
		t.Errorf("%d operations of %d in the table are there", seen, len(may))
	}
}

func TestReach(t *testing.T) {
	d := newDesk(t, 2, true)
	d.staff(t, 0)
	d.user(t, 0, NieuweGebruiker{Id: "evers", Actief: true}) // who has no team either
	ctx := t.Context()
	signals := map[string]Signaal{}
	for i, owner := range []string{"jansen", "bakker", "dekker", "evers"} {
		in := d.body([]string{number, otherNumber, "900000041", "900000065"}[i])
		in.Hulpverlener, in.Kenmerk = owner, "K-"+owner
		made, err := d.client(t, 0).MaakSignaalWithResponse(ctx, &MaakSignaalParams{Wacht: seconds30()}, in)
		if err != nil || made.JSON201 == nil {
			t.Fatalf("%v %s", err, made.Body)
		}
		signals[owner] = *made.JSON201
		in.Hulpverlener = "anders"
		if other, err := d.client(t, 1).MaakSignaalWithResponse(ctx, &MaakSignaalParams{Wacht: seconds30()}, in); err != nil || other.JSON201 == nil {
			t.Fatalf("%v %s", err, other.Body)
		}
	}
	all := d.client(t, 0)
	for from := ""; ; { // until the four matches are told
		news, err := all.LijstBerichtenWithResponse(ctx, &LijstBerichtenParams{Na: from, Wacht: 30})
		if err != nil || news.JSON200 == nil {
			t.Fatalf("%v %s", err, news.Body)
		}
		if list, err := all.LijstBerichtenWithResponse(ctx, nil); err != nil || len(list.JSON200.Items) == 4 {
			break
		}
		from = news.JSON200.Next
	}
	own := d.key(t, 0, BereikEigen, "", RolAanmelden, RolMatches).Sleutel
	team := d.key(t, 0, BereikTeam, "", RolAanmelden, RolMatches).Sleutel
	bound := d.key(t, 0, BereikEigen, "bakker", RolAanmelden, RolMatches).Sleutel
	for _, c := range []struct {
		name, key, person string
		sees              []string
	}{
		{"own", own, "jansen", []string{"jansen"}},
		{"deputy", own, "citroen", []string{"jansen"}},
		{"team", team, "bakker", []string{"bakker", "jansen"}},
		{"deputy_in_another_team", team, "citroen", []string{"jansen"}},
		{"no_team_is_no_team", team, "dekker", []string{"dekker"}},
		{"bound", bound, "", []string{"bakker"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := d.as(t, c.key, c.person)
			var listed, told []string
			for from := ""; ; {
				page, err := client.LijstSignalenWithResponse(ctx, &LijstSignalenParams{Aantal: 1, Na: from})
				if err != nil || page.JSON200 == nil {
					t.Fatalf("%v %s", err, page.Body)
				}
				for _, s := range page.JSON200.Items {
					listed = append(listed, s.Hulpverlener)
				}
				if from = page.JSON200.Next; from == "" {
					break
				}
			}
			for from := ""; ; {
				page, err := client.LijstBerichtenWithResponse(ctx, &LijstBerichtenParams{Aantal: 1, Na: from})
				if err != nil || page.JSON200 == nil {
					t.Fatalf("%v %s", err, page.Body)
				}
				for _, m := range page.JSON200.Items {
					for _, o := range m.Signalen {
						told = append(told, o.Hulpverlener)
					}
				}
				if page.JSON200.Next == from {
					break
				}
				if from = page.JSON200.Next; strings.HasPrefix(from, strings.Repeat("0", 14)) {
					t.Errorf("the place %s tells how many messages there are", from)
				}
			}
			slices.Sort(listed)
			slices.Sort(told)
			if !slices.Equal(listed, c.sees) || !slices.Equal(told, c.sees) {
				t.Errorf("signals of %v and messages of %v; reach is %v", listed, told, c.sees)
			}
			for owner, s := range signals {
				read, err := client.LeesSignaalWithResponse(ctx, s.Id, nil)
				if err != nil {
					t.Fatal(err)
				}
				if sees := slices.Contains(c.sees, owner); (read.StatusCode() == 200) != sees || !sees && read.StatusCode() != 404 {
					t.Errorf("reading a signal of %s: %d", owner, read.StatusCode())
				}
				if slices.Contains(c.sees, owner) {
					continue
				}
				nothing, err := client.LeesSignaalWithResponse(ctx, strings.Repeat("0", 32), nil)
				if err != nil || string(nothing.Body) != string(read.Body) {
					t.Errorf("out of reach is told otherwise than not there: %s", read.Body)
				}
				gone, err := client.TrekSignaalInWithResponse(ctx, s.Id, &TrekSignaalInParams{Wacht: noWait()}, Intrekking{Reden: IntrekkingRedenAfgesloten})
				if err != nil || gone.StatusCode() != 404 {
					t.Errorf("withdrawing a signal of %s: %d", owner, gone.StatusCode())
				}
				renewed, err := client.VerlengSignaalWithResponse(ctx, s.Id, &VerlengSignaalParams{Wacht: noWait()}, Verlenging{})
				if err != nil || renewed.StatusCode() != 404 {
					t.Errorf("renewing a signal of %s: %d", owner, renewed.StatusCode())
				}
				in := d.body("900000053")
				in.Hulpverlener = owner
				made, err := client.MaakSignaalWithResponse(ctx, &MaakSignaalParams{Wacht: noWait()}, in)
				if err != nil || made.StatusCode() != 400 || made.ApplicationproblemJSON400.Errors[0].Code != "bereik" {
					t.Errorf("signalling for %s: %s", owner, made.Body)
				}
			}
		})
	}
	for owner, s := range signals {
		if read, err := all.LeesSignaalWithResponse(ctx, s.Id, nil); err != nil || read.JSON200.Toestand != ToestandGeregistreerd {
			t.Errorf("the signal of %s is %s", owner, read.Body)
		}
	}
}

// For whom is asked has to be told, and has to be right.
func TestOnBehalfOf(t *testing.T) {
	d := newDesk(t, 1, false)
	d.staff(t, 0)
	ctx := t.Context()
	own, bound := d.key(t, 0, BereikEigen, "", RolAanmelden).Sleutel, d.key(t, 0, BereikEigen, "jansen", RolAanmelden).Sleutel
	all := d.key(t, 0, BereikAlle, "", RolAanmelden).Sleutel
	for _, c := range []struct {
		name, key, person string
		status            int
		code              string
	}{
		{"own_for_a_user", own, "jansen", 200, ""},
		{"bound_for_its_own", bound, "jansen", 200, ""},
		{"all_for_whoever", all, "uitzendkracht", 200, ""},
		{"rejects/own_for_nobody", own, "", 400, "ontbreekt"},
		{"rejects/own_for_who_is_no_user", own, "uitzendkracht", 403, "hulpverlener"},
		{"rejects/bound_for_another", bound, "bakker", 403, "hulpverlener"},
		{"rejects/what_is_no_name", all, "jan sen", 400, "vorm"},
	} {
		t.Run(c.name, func(t *testing.T) {
			list, err := d.as(t, c.key, c.person).LijstSignalenWithResponse(ctx, nil)
			if err != nil || list.StatusCode() != c.status || c.code != "" && !strings.Contains(string(list.Body), c.code) {
				t.Errorf("%v %s", err, list.Body)
			}
		})
	}
	gone := GewijzigdeGebruiker{Naam: "J. Jansen"}
	if changed, err := d.client(t, 0).WijzigGebruikerWithResponse(ctx, "jansen", gone); err != nil || changed.JSON200 == nil {
		t.Fatalf("%v %s", err, changed.Body)
	}
	for name, c := range map[string]struct {
		key    string
		status int
	}{"own": {own, 403}, "all": {all, 403}, "bound": {bound, 401}} {
		if list, err := d.as(t, c.key, "jansen").LijstSignalenWithResponse(ctx, nil); err != nil || list.StatusCode() != c.status {
			t.Errorf("%s: for who is no longer active: %s", name, list.Body)
		}
	}
	in := d.body(number) // for jansen
	if made, err := d.as(t, all, "").MaakSignaalWithResponse(ctx, &MaakSignaalParams{Wacht: noWait()}, in); err != nil ||
		made.StatusCode() != 400 || made.ApplicationproblemJSON400.Errors[0].Code != "nietActief" {
		t.Errorf("a new signal for who is no longer active: %s", made.Body)
	}
}

func TestAKeyIsShownOnceAndEnds(t *testing.T) {
	d := newDesk(t, 1, false)
	ctx := t.Context()
	admin := d.client(t, 0)
	key := d.key(t, 0, BereikAlle, "", RolAanmelden, RolBeheer)
	if !strings.HasPrefix(key.Sleutel, gateway.KeyPrefix) || len(key.Sleutel) < len(gateway.KeyPrefix)+43 {
		t.Error("the key is too short, or cannot be found where it was left")
	}
	client := d.as(t, key.Sleutel, "")
	read := func() Sleutel {
		t.Helper()
		resp, err := admin.LeesSleutelWithResponse(ctx, key.Id)
		if err != nil || resp.JSON200 == nil {
			t.Fatalf("%v %s", err, resp.Body)
		}
		list, err := admin.LijstSleutelsWithResponse(ctx, nil)
		if err != nil || len(list.JSON200.Items) != 1 {
			t.Fatalf("%v %s", err, list.Body)
		}
		for _, body := range [][]byte{resp.Body, list.Body} {
			if strings.Contains(string(body), key.Sleutel[len(gateway.KeyPrefix):]) {
				t.Error("the key is shown again")
			}
		}
		return *resp.JSON200
	}
	if k := read(); !k.Geldig || !k.LaatstGebruiktOp.IsZero() || k.GemaaktDoor != gateway.WhoBootstrap {
		t.Errorf("%+v", k)
	}
	status := func() int {
		t.Helper()
		resp, err := client.LijstSignalenWithResponse(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode()
	}
	if got := status(); got != 200 {
		t.Errorf("a new key: %d", got)
	}
	if k := read(); k.LaatstGebruiktOp.String() != "2027-03-04" {
		t.Errorf("last used on %s", k.LaatstGebruiktOp)
	}
	t.Run("rejects/ends_later_than_two_years", func(t *testing.T) {
		made, err := admin.MaakSleutelWithResponse(ctx, NieuweSleutel{Naam: "x", Rollen: []Rol{RolAanmelden}, Bereik: BereikAlle, VerlooptOp: d.day(2, 0, 2)})
		if err != nil || made.StatusCode() != 400 {
			t.Errorf("%s", made.Body)
		}
	})
	t.Run("rejects/bound_to_who_is_no_user", func(t *testing.T) {
		made, err := admin.MaakSleutelWithResponse(ctx, NieuweSleutel{Naam: "x", Rollen: []Rol{RolAanmelden}, Bereik: BereikEigen, Hulpverlener: "niemand", VerlooptOp: d.day(1, 0, 0)})
		if err != nil || made.StatusCode() != 400 {
			t.Errorf("%s", made.Body)
		}
	})
	d.Advance(366 * 24 * time.Hour) // 2028 is a leap year
	if got := status(); got != 401 {
		t.Errorf("on the day on which it ends: %d", got)
	}
	if k := read(); k.Geldig {
		t.Error("it is said to be valid")
	}
	d.Advance(-24 * time.Hour)
	if got := status(); got != 200 {
		t.Errorf("on its last day: %d", got)
	}
	for range 2 {
		if gone, err := admin.TrekSleutelInWithResponse(ctx, key.Id); err != nil || gone.StatusCode() != 204 {
			t.Errorf("%s", gone.Body)
		}
	}
	if got := status(); got != 401 {
		t.Errorf("after it was revoked: %d", got)
	}
	if k := read(); k.Geldig || k.IngetrokkenOp.IsZero() {
		t.Errorf("%+v", k)
	}
}

// What waits under a key ends when it is revoked, when its professional is made
// inactive, or when the file of the bootstrap key is another.
func TestAnOpenLongPollEndsWithItsKey(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, d *desk, key GemaakteSleutel){
		"revoked": func(t *testing.T, d *desk, key GemaakteSleutel) {
			if gone, err := d.client(t, 0).TrekSleutelInWithResponse(t.Context(), key.Id); err != nil || gone.StatusCode() != 204 {
				t.Errorf("%s", gone.Body)
			}
		},
		"inactive": func(t *testing.T, d *desk, _ GemaakteSleutel) {
			if changed, err := d.client(t, 0).WijzigGebruikerWithResponse(t.Context(), "jansen", GewijzigdeGebruiker{Naam: "J"}); err != nil || changed.JSON200 == nil {
				t.Errorf("%s", changed.Body)
			}
		},
		"bootstrap": func(t *testing.T, d *desk, _ GemaakteSleutel) {
			path := filepath.Join(d.KeysOf(0), gateway.FileToken)
			if err := os.Remove(path); err != nil {
				t.Error(err)
			}
			if err := keys.Clear.WriteSecret(path, 32); err != nil {
				t.Error(err)
			}
			if err := d.house.Reload(); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, 1, true)
			d.staff(t, 0)
			key := d.key(t, 0, BereikEigen, "jansen", RolMatches)
			secret := key.Sleutel
			if name == "bootstrap" {
				secret = d.tokens[0]
			}
			began := time.Now()
			answer := make(chan *LijstBerichtenResponse, 1)
			go func() {
				resp, err := d.as(t, secret, "").LijstBerichtenWithResponse(context.WithoutCancel(t.Context()), &LijstBerichtenParams{Wacht: 60})
				if err != nil {
					t.Error(err)
				}
				answer <- resp
			}()
			for stacks := new(bytes.Buffer); !strings.Contains(stacks.String(), "awaitMessages"); {
				time.Sleep(time.Millisecond)
				stacks.Reset()
				if err := pprof.Lookup("goroutine").WriteTo(stacks, 1); err != nil {
					t.Fatal(err)
				}
			}
			end(t, d, key)
			if resp := <-answer; resp.StatusCode() != 401 || resp.HTTPResponse.Header.Get("WWW-Authenticate") != `Bearer error="invalid_token"` {
				t.Errorf("%d %s", resp.StatusCode(), resp.Body)
			}
			if time.Since(began) > 50*time.Second {
				t.Error("it ended by itself")
			}
		})
	}
}

func TestUsers(t *testing.T) {
	d := newDesk(t, 1, true)
	d.staff(t, 0)
	ctx := t.Context()
	admin := d.client(t, 0)
	first, err := admin.LijstGebruikersWithResponse(ctx, &LijstGebruikersParams{Aantal: 3})
	if err != nil || len(first.JSON200.Items) != 3 || first.JSON200.Next != "dekker" {
		t.Fatalf("%v %s", err, first.Body)
	}
	if rest, err := admin.LijstGebruikersWithResponse(ctx, &LijstGebruikersParams{Na: "dekker"}); err != nil || len(rest.JSON200.Items) != 1 || rest.JSON200.Items[0].Vervanger != "citroen" {
		t.Errorf("%v %s", err, rest.Body)
	}
	for name, u := range map[string]NieuweGebruiker{
		"rejects/deputy_of_himself":      {Id: "x", Naam: "X", Vervanger: "x", Actief: true},
		"rejects/deputy_who_is_no_user":  {Id: "x", Naam: "X", Vervanger: "niemand", Actief: true},
		"rejects/what_is_no_address":     {Id: "x", Naam: "X", Email: "x aan y", Actief: true},
		"rejects/address_with_a_name":    {Id: "x", Naam: "X", Email: "X <x@y.example>", Actief: true},
		"rejects/name_that_says_nothing": {Id: "x", Naam: " ", Actief: true},
	} {
		t.Run(name, func(t *testing.T) {
			if made, err := admin.MaakGebruikerWithResponse(ctx, u); err != nil || made.StatusCode() != 400 {
				t.Errorf("%s", made.Body)
			}
		})
	}
	if again, err := admin.MaakGebruikerWithResponse(ctx, NieuweGebruiker{Id: "jansen", Naam: "J", Actief: true}); err != nil || again.StatusCode() != 409 {
		t.Errorf("the same id again: %s", again.Body)
	}
	made, err := admin.MaakSignaalWithResponse(ctx, &MaakSignaalParams{Wacht: seconds30()}, d.body(number))
	if err != nil || made.JSON201 == nil {
		t.Fatalf("%v %s", err, made.Body)
	}
	if gone, err := admin.VerwijderGebruikerWithResponse(ctx, "jansen"); err != nil || gone.StatusCode() != 409 {
		t.Errorf("who owns a signal: %s", gone.Body)
	}
	if gone, err := admin.VerwijderGebruikerWithResponse(ctx, "citroen"); err != nil || gone.StatusCode() != 204 {
		t.Errorf("%s", gone.Body)
	}
	if read, err := admin.LeesGebruikerWithResponse(ctx, "jansen"); err != nil || read.JSON200.Vervanger != "" {
		t.Errorf("the deputy is gone, and is still deputy: %s", read.Body)
	}
	if read, err := admin.LeesGebruikerWithResponse(ctx, "citroen"); err != nil || read.StatusCode() != 404 {
		t.Errorf("%s", read.Body)
	}
}

// Who did and read what, and that it was read, is in the log; of a child nothing is.
func TestLogOfAccess(t *testing.T) {
	d := newDesk(t, 2, true)
	d.staff(t, 0)
	ctx := t.Context()
	system := d.key(t, 0, BereikEigen, "", RolAanmelden, RolMatches)
	officer := d.as(t, d.key(t, 0, BereikAlle, "", RolPrivacy).Sleutel, "")
	jansen := d.as(t, system.Sleutel, "jansen")
	in := d.body(number)
	in.Kenmerk = "DOSSIER-77"
	made, err := jansen.MaakSignaalWithResponse(ctx, &MaakSignaalParams{Wacht: seconds30()}, in)
	if err != nil || made.JSON201 == nil {
		t.Fatalf("%v %s", err, made.Body)
	}
	id, sid := made.JSON201.Id, made.JSON201.Sid
	if other, err := d.client(t, 1).MaakSignaalWithResponse(ctx, &MaakSignaalParams{Wacht: seconds30()}, d.body(number)); err != nil || other.JSON201 == nil {
		t.Fatalf("%v %s", err, other.Body)
	}
	news, err := jansen.LijstBerichtenWithResponse(ctx, &LijstBerichtenParams{Wacht: 30})
	if err != nil || len(news.JSON200.Items) != 1 {
		t.Fatalf("%v %s", err, news.Body)
	}
	if _, err := jansen.LeesSignaalWithResponse(ctx, id, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := jansen.VerlengSignaalWithResponse(ctx, id, &VerlengSignaalParams{Wacht: seconds30()}, Verlenging{Contactkaart: Contactkaart{Naam: "J", Telefoon: "1"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := jansen.TrekSignaalInWithResponse(ctx, id, &TrekSignaalInParams{Wacht: seconds30()}, Intrekking{Reden: IntrekkingRedenAfgesloten}); err != nil {
		t.Fatal(err)
	}
	events := func(p *LijstInzagenParams) (list []string) {
		t.Helper()
		for {
			page, err := officer.LijstInzagenWithResponse(ctx, p)
			if err != nil || page.JSON200 == nil {
				t.Fatalf("%v %s", err, page.Body)
			}
			for _, word := range []string{number, "DOSSIER-77", "Balie 1", "2012-05-06", system.Sleutel} {
				if strings.Contains(string(page.Body), word) {
					t.Errorf("the log holds %q", word)
				}
			}
			for _, row := range page.JSON200.Items {
				list = append(list, row.Gebeurtenis)
				if row.Hulpverlener == "jansen" && (row.Gebruiker != "sleutel:"+system.Id || row.Toegangspunt != "127.0.0.1" ||
					row.Organisatie == "" || row.Systeem == "" || len(row.Spoor) != 32 || fmt.Sprint(row.Rollen) != "[aanmelden matches]") {
					t.Errorf("%+v", row)
				}
			}
			if p.Na = page.JSON200.Next; p.Na == "" {
				return list
			}
		}
	}
	want := []string{"signaalIngetrokken", "kaartGewijzigd", "signaalVerlengd", "signaalGelezen", "codeGelezen", "kaartGelezen", "signaalAangemeld"}
	if got := events(&LijstInzagenParams{Hulpverlener: "jansen"}); !slices.Equal(got, want) {
		t.Errorf("of the professional: %v", got)
	}
	for _, name := range []string{id, sid} {
		got := events(&LijstInzagenParams{Signaal: name, Aantal: 2})
		got = slices.DeleteFunc(got, func(e string) bool { return e == "inzagenGelezen" })
		if name == sid { // it was not known yet when it was made
			want = want[:len(want)-1]
		}
		if !slices.Equal(got, want) {
			t.Errorf("of the signal: %v", got)
		}
	}
	if got := events(&LijstInzagenParams{Van: d.day(0, 0, 1)}); len(got) != 0 {
		t.Errorf("of tomorrow: %v", got)
	}
	if got := events(&LijstInzagenParams{Tot: d.day(0, 0, 0)}); len(got) != 0 {
		t.Errorf("of yesterday: %v", got)
	}
	all := events(&LijstInzagenParams{Van: d.day(0, 0, 0), Tot: d.day(0, 0, 1)})
	for event, n := range map[string]int{"gebruikerGemaakt": 4, "sleutelGemaakt": 2} {
		if got := len(slices.DeleteFunc(slices.Clone(all), func(e string) bool { return e != event })); got != n {
			t.Errorf("%d times %s, want %d", got, event, n)
		}
	}
	if !slices.Contains(all, "inzagenGelezen") {
		t.Error("who read the log is not in it")
	}
}
