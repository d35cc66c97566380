// SPDX-License-Identifier: EUPL-1.2

package rest

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/gateway"
)

// met has parties 0 to n-1 signal one child, and gives party 0's match once it knows
// them all.
func (d *desk) met(t *testing.T, n int) Match {
	t.Helper()
	for i := range n {
		body := d.body(number)
		body.Kenmerk = "M-" + string(rune('0'+i))
		s, err := d.client(t, i).MaakSignaalWithResponse(t.Context(), &MaakSignaalParams{Wacht: seconds30()}, body)
		if err != nil || s.JSON201 == nil {
			t.Fatalf("%v %s", err, s.Body)
		}
	}
	for range 400 {
		got, err := d.client(t, 0).LijstMatchesWithResponse(t.Context(), nil)
		if err != nil || got.JSON200 == nil {
			t.Fatalf("%v %s", err, got.Body)
		}
		if len(got.JSON200.Items) == 1 && len(got.JSON200.Items[0].Anderen) == n-1 {
			return got.JSON200.Items[0]
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatal("the match did not come")
	return Match{}
}

func TestMatchesOverTheAPI(t *testing.T) {
	d := newDesk(t, 2, true)
	c := d.client(t, 0)
	empty, err := c.LijstMatchesWithResponse(t.Context(), nil)
	if err != nil || empty.JSON200 == nil || empty.JSON200.Uitleg != gateway.NoMatch || len(empty.JSON200.Items) != 0 {
		t.Fatalf("%v %s", err, empty.Body)
	}
	listed := d.met(t, 2)
	if o := listed.Anderen[0]; o.Contactkaart != (Contactkaart{}) || o.Voorleescode.Code != "" || o.Naam != "Organisatie 1" || o.Toestand != MatchAnderToestandAanwezig {
		t.Errorf("the list says of the other %+v", o)
	}
	read, err := c.LeesMatchWithResponse(t.Context(), listed.Id, nil)
	if err != nil || read.JSON200 == nil {
		t.Fatalf("%v %s", err, read.Body)
	}
	m := *read.JSON200
	o := m.Anderen[0]
	if o.Contactkaart.Afdeling == "" || len(o.Voorleescode.Code) != 6 || o.Voorleescode.Beller+o.Voorleescode.Gebelde != o.Voorleescode.Code ||
		m.Toestand != MatchToestandActief || len(m.Signalen) != 1 || m.Signalen[0].Kenmerk != "M-0" || m.Uitleg == "" {
		t.Errorf("the match is %s", read.Body)
	}
	s, err := c.LeesSignaalWithResponse(t.Context(), m.Signalen[0].Signaal, nil)
	if err != nil || s.JSON200 == nil || s.JSON200.Match != m.Id {
		t.Errorf("the signal names the match %q (%v)", s.JSON200.Match, err)
	}
	bySignal, err := c.LijstMatchesWithResponse(t.Context(), &LijstMatchesParams{Signaal: m.Signalen[0].Signaal, Toestand: MatchToestandActief})
	if err != nil || bySignal.JSON200 == nil || len(bySignal.JSON200.Items) != 1 {
		t.Errorf("%v %s", err, bySignal.Body)
	}
	over, err := c.LijstMatchesWithResponse(t.Context(), &LijstMatchesParams{Toestand: MatchToestandBeeindigd})
	if err != nil || over.JSON200 == nil || len(over.JSON200.Items) != 0 {
		t.Errorf("%v %s", err, over.Body)
	}

	for name, word := range map[string]AntwoordSoort{"gaBellen": AntwoordSoortGaBellen, "contactGehad": AntwoordSoortContactGehad} {
		given, err := c.BeantwoordMatchWithResponse(t.Context(), m.Id, &BeantwoordMatchParams{Wacht: seconds30()}, NieuwAntwoord{Antwoord: word, Deelnemer: o.Deelnemer})
		if err != nil || given.JSON200 == nil || given.JSON200.Anderen[0].EigenAntwoord.Antwoord != word || given.JSON200.Anderen[0].Contactkaart != (Contactkaart{}) {
			t.Fatalf("%s: %v %s", name, err, given.Body)
		}
		for range 400 {
			theirs, err := d.client(t, 1).LeesMatchWithResponse(t.Context(), m.Id, nil)
			if err != nil || theirs.JSON200 == nil {
				t.Fatalf("%v %s", err, theirs.Body)
			}
			if theirs.JSON200.Anderen[0].Antwoord.Antwoord == word {
				break
			}
			time.Sleep(25 * time.Millisecond)
		}
		inbox, err := d.client(t, 1).LijstBerichtenWithResponse(t.Context(), nil)
		if err != nil || inbox.JSON200 == nil {
			t.Fatalf("%v %s", err, inbox.Body)
		}
		if last := inbox.JSON200.Items[len(inbox.JSON200.Items)-1]; last.Soort != BerichtSoortAntwoord || last.Antwoord != word || last.Match != m.Id {
			t.Errorf("the other's message is %s %s", last.Soort, last.Antwoord)
		}
	}
	for _, wrong := range []struct {
		name, id string
		body     NieuwAntwoord
		status   int
		problem  string
	}{
		{"another_word", m.Id, NieuwAntwoord{Antwoord: "misschien"}, http.StatusBadRequest, "antwoord"},
		{"no_word", m.Id, NieuwAntwoord{}, http.StatusBadRequest, "antwoord"},
		{"a_stranger", m.Id, NieuwAntwoord{Antwoord: AntwoordSoortGaBellen, Deelnemer: "nl-kvk:99999999"}, http.StatusBadRequest, "deelnemer"},
		{"another_match", strings.Repeat("0", 32), NieuwAntwoord{Antwoord: AntwoordSoortGaBellen}, http.StatusNotFound, "onbekend-id"},
	} {
		t.Run("rejects/"+wrong.name, func(t *testing.T) {
			got, err := c.BeantwoordMatchWithResponse(t.Context(), wrong.id, nil, wrong.body)
			if err != nil || got.StatusCode() != wrong.status || !strings.Contains(string(got.Body), wrong.problem) || strings.Contains(string(got.Body), "misschien") {
				t.Errorf("%v %d %s", err, got.StatusCode(), got.Body)
			}
		})
	}

	// Away, it is taken on; over, it is refused.
	d.Registry.Set(1)
	waits, err := c.BeantwoordMatchWithResponse(t.Context(), m.Id, &BeantwoordMatchParams{Wacht: noWait()}, NieuwAntwoord{Antwoord: AntwoordSoortNietMeerBetrokken})
	if err != nil || waits.JSON202 == nil {
		t.Fatalf("%v %s", err, waits.Body)
	}
	if w := waits.JSON202.Anderen[0].InDeWacht; w.Antwoord != AntwoordSoortNietMeerBetrokken || w.Toestand != AntwoordInDeWachtToestandInDeWacht || w.Uitleg == "" {
		t.Errorf("what waits is %+v", w)
	}
	d.Registry.Set(0)
	if _, err := c.TrekSignaalInWithResponse(t.Context(), m.Signalen[0].Signaal, &TrekSignaalInParams{Wacht: seconds30()}, Intrekking{Reden: IntrekkingRedenAfgesloten}); err != nil {
		t.Fatal(err)
	}
	late, err := c.BeantwoordMatchWithResponse(t.Context(), m.Id, nil, NieuwAntwoord{Antwoord: AntwoordSoortGaBellen, Deelnemer: o.Deelnemer})
	if err != nil || late.StatusCode() != http.StatusConflict || !strings.Contains(string(late.Body), "match-voorbij") {
		t.Errorf("%v %s", err, late.Body)
	}
	ended, err := c.LeesMatchWithResponse(t.Context(), m.Id, nil)
	if err != nil || ended.JSON200 == nil || ended.JSON200.Toestand != MatchToestandBeeindigd || ended.JSON200.BeeindigdOp.IsZero() {
		t.Errorf("%v %s", err, ended.Body)
	}
}

// What is out of reach is not there, and what was read is in the log.
func TestMatchesWithinReach(t *testing.T) {
	d := newDesk(t, 2, true)
	d.staff(t, 0)
	m := d.met(t, 2) // by jansen
	owner := m.Signalen[0].Hulpverlener
	logged := func() (events []string) {
		t.Helper()
		got, err := d.client(t, 0).LijstInzagenWithResponse(t.Context(), &LijstInzagenParams{Aantal: 200})
		if err != nil || got.JSON200 == nil {
			t.Fatalf("%v %s", err, got.Body)
		}
		for _, row := range got.JSON200.Items {
			if row.Object == m.Id {
				events = append(events, string(row.Gebeurtenis))
			}
		}
		return events
	}
	key := d.key(t, 0, BereikEigen, "", Rol(gateway.MayReadMatches))
	stranger, own := d.as(t, key.Sleutel, "dekker"), d.as(t, key.Sleutel, owner)
	before := len(logged())
	if got, err := stranger.LijstMatchesWithResponse(t.Context(), nil); err != nil || got.JSON200 == nil || len(got.JSON200.Items) != 0 {
		t.Errorf("%v %s", err, got.Body)
	}
	if got, err := stranger.LijstMatchesWithResponse(t.Context(), &LijstMatchesParams{Signaal: m.Signalen[0].Signaal}); err != nil || got.StatusCode() != http.StatusNotFound {
		t.Errorf("by the signal: %v %s", err, got.Body)
	}
	if got, err := stranger.LeesMatchWithResponse(t.Context(), m.Id, nil); err != nil || got.StatusCode() != http.StatusNotFound {
		t.Errorf("%v %s", err, got.Body)
	}
	if got, err := stranger.BeantwoordMatchWithResponse(t.Context(), m.Id, nil, NieuwAntwoord{Antwoord: AntwoordSoortGaBellen}); err != nil || got.StatusCode() != http.StatusNotFound {
		t.Errorf("%v %s", err, got.Body)
	}
	if n := len(logged()); n != before {
		t.Errorf("%d rows of what was not seen", n-before)
	}
	if got, err := own.LijstMatchesWithResponse(t.Context(), nil); err != nil || got.JSON200 == nil || len(got.JSON200.Items) != 1 {
		t.Errorf("%v %s", err, got.Body)
	}
	if got, err := own.LeesMatchWithResponse(t.Context(), m.Id, nil); err != nil || got.JSON200 == nil {
		t.Errorf("%v %s", err, got.Body)
	}
	if got, err := own.BeantwoordMatchWithResponse(t.Context(), m.Id, &BeantwoordMatchParams{Wacht: seconds30()}, NieuwAntwoord{Antwoord: AntwoordSoortGaBellen}); err != nil || got.JSON200 == nil {
		t.Errorf("%v %s", err, got.Body)
	}
	rows := logged()[:len(logged())-before]
	slices.Sort(rows)
	want := []string{string(gateway.LogCardRead), string(gateway.LogCodeRead), string(gateway.LogAnswered), string(gateway.LogMatchRead), string(gateway.LogMatchRead), string(gateway.LogMatchSeen)}
	slices.Sort(want)
	if !slices.Equal(rows, want) {
		t.Errorf("the log has %q, want %q", rows, want)
	}
}
