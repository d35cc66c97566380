// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"fmt"

	"github.com/seinhuis/seinhuis/gateway/rest"
)

const matchesHelp = `gateway matches: wie hetzelfde kind signaleert

  gateway matches       de lijst, zonder contactkaarten
  gateway matches ID    één match, met contactkaarten en voorleescodes; dat zij zijn
                        gelezen, komt in het logboek van inzagen

Bel elkaar. Voordat er een kind wordt genoemd leest wie belt de eerste drie cijfers van
de voorleescode voor, en de ander de laatste drie.

  -signaal ID       alleen matches van het signaal bij deze aanmelding
  -toestand T       actief of beeindigd
  -na PLAATS        verder vanaf de plaats die het vorige antwoord gaf
  -aantal N         hoeveel hooguit; anders 50
` + connectionHelp

const answerHelp = `gateway answer: een andere organisatie in een match antwoorden

  gateway answer MATCH -antwoord gaBellen

  -antwoord A         alInContact, gaBellen, nietMeerBetrokken of contactGehad
  -deelnemer ID       aan wie; mag weg als er maar één ander in de match is
  -wacht SECONDEN     hoe lang op het register te wachten; anders 5
  -sleutel TEKST      herkent een herhaling (Idempotency-Key)
` + connectionHelp

func (c *console) matches(args []string) error {
	fs := c.flags("matches")
	var params rest.LijstMatchesParams
	fs.StringVar(&params.Signaal, "signaal", "", "")
	fs.StringVar((*string)(&params.Toestand), "toestand", "", "")
	fs.StringVar(&params.Na, "na", "", "")
	fs.IntVar(&params.Aantal, "aantal", 0, "")
	id, err := parse(fs, args, matchesHelp, c.stdout)
	if err != nil {
		return err
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	if id != "" {
		resp, err := client.LeesMatchWithResponse(c.ctx, id, nil)
		if err != nil {
			return unreachable(err)
		}
		return c.toldMatch(resp.Body, resp.JSON200, rest.ProblemIn(resp.Body))
	}
	resp, err := client.LijstMatchesWithResponse(c.ctx, &params)
	if err != nil {
		return unreachable(err)
	}
	if resp.JSON200 == nil {
		return c.refused(resp.Body, rest.ProblemIn(resp.Body))
	}
	if c.json {
		return c.raw(resp.Body, nil)
	}
	if resp.JSON200.Uitleg != "" {
		fmt.Fprintln(c.stdout, resp.JSON200.Uitleg)
	}
	for _, m := range resp.JSON200.Items {
		c.printMatch(m)
	}
	if resp.JSON200.Next != "" {
		fmt.Fprintln(c.stdout, "Verder: gateway matches -na", resp.JSON200.Next)
	}
	return nil
}

func (c *console) answer(args []string) error {
	fs := c.flags("answer")
	var body rest.NieuwAntwoord
	var params rest.BeantwoordMatchParams
	fs.StringVar((*string)(&body.Antwoord), "antwoord", "", "")
	fs.StringVar(&body.Deelnemer, "deelnemer", "", "")
	params.Wacht = fs.Int("wacht", defaultWait, "")
	fs.StringVar(&params.IdempotencyKey, "sleutel", "", "")
	id, err := parse(fs, args, answerHelp, c.stdout)
	if err != nil {
		return err
	}
	if id == "" || body.Antwoord == "" {
		return usageError("answer vraagt een match en -antwoord; gateway answer -h legt het uit")
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	resp, err := client.BeantwoordMatchWithResponse(c.ctx, id, &params, body)
	if err != nil {
		return unreachable(err)
	}
	m := resp.JSON200
	if m == nil {
		m = resp.JSON202
	}
	return c.toldMatch(resp.Body, m, rest.ProblemIn(resp.Body))
}

// toldMatch prints a match, and what became of our answers in it.
func (c *console) toldMatch(body []byte, m *rest.Match, p *rest.Probleem) error {
	if m == nil {
		return c.refused(body, p)
	}
	var outcome error
	for _, o := range m.Anderen {
		switch o.InDeWacht.Toestand {
		case rest.AntwoordInDeWachtToestandInDeWacht:
			outcome = exit(exitQueued)
		case rest.AntwoordInDeWachtToestandNietGegeven:
			if outcome == nil {
				outcome = exit(exitRefused)
			}
		}
	}
	if c.json {
		return c.raw(body, outcome)
	}
	c.printMatch(*m)
	return outcome
}

func (c *console) printMatch(m rest.Match) {
	fmt.Fprintf(c.stdout, "match %s  %s\n", m.Id, m.Uitleg)
	for _, s := range m.Signalen {
		fmt.Fprintf(c.stdout, "    ons dossier %s, %s (id %s)\n", s.Kenmerk, s.Hulpverlener, s.Signaal)
	}
	for _, o := range m.Anderen {
		fmt.Fprintf(c.stdout, "  %s (%s), %s sinds %s\n", o.Naam, o.Deelnemer, o.Toestand, o.Sinds.Local().Format("2006-01-02 15:04"))
		if o.Antwoord.Antwoord != "" {
			fmt.Fprintf(c.stdout, "    antwoordde %s\n", o.Antwoord.Antwoord)
		}
		if o.EigenAntwoord.Antwoord != "" {
			fmt.Fprintf(c.stdout, "    ons antwoord: %s\n", o.EigenAntwoord.Antwoord)
		}
		if w := o.InDeWacht; w.Antwoord != "" {
			fmt.Fprintf(c.stdout, "    %s: %s\n", w.Antwoord, w.Uitleg)
		}
		c.printCard(o.Contactkaart, o.Voorleescode.Code)
	}
}

// printCard prints how to reach another party, and the code to read out.
func (c *console) printCard(card rest.Contactkaart, code string) {
	for _, line := range []string{card.Naam, card.Functie, card.Afdeling, card.Telefoon, card.Email, card.Bereikbaarheid} {
		if line != "" {
			fmt.Fprintf(c.stdout, "    %s\n", printable(line))
		}
	}
	if len(code) == 6 {
		fmt.Fprintf(c.stdout, "    voorleescode %[1]s %[2]s: wie belt leest %[1]s voor, de ander %[2]s\n", code[:3], code[3:])
	}
}
