// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"fmt"

	"github.com/seinhuis/seinhuis/gateway/rest"
)

const handoverHelp = `gateway handover: een signaal warm overdragen aan een andere organisatie

  gateway handover ID -aan nl-kvk:12345678 -totenmet 2027-03-31
  gateway handover ID -terug

De andere organisatie krijgt te horen van wie en tot wanneer, niet over welk kind: vertel
dat zelf. Signaleert zij het kind daarna als overname, dan is dit signaal geëindigd.

  -aan DEELNEMER    wie het signaal mag overnemen
  -totenmet DAG     tot en met wanneer, hooguit 92 dagen verder
  -terug            neemt terug wat niet is overgenomen
  -wacht SECONDEN   hoe lang op het register te wachten; anders 5
` + connectionHelp

const offersHelp = `gateway offers: signalen die andere organisaties aan ons overdragen

Bel elkaar over welk kind het gaat, en signaleer het kind daarna:
  gateway signal -neemtover OVERDRACHT …
` + connectionHelp

func (c *console) handover(args []string) error {
	fs := c.flags("handover")
	var body rest.NieuweWarmeOverdracht
	fs.StringVar(&body.Aan, "aan", "", "")
	fs.StringVar(&body.TotEnMet, "totenmet", "", "")
	back := fs.Bool("terug", false, "")
	wait := fs.Int("wacht", defaultWait, "")
	id, err := parse(fs, args, handoverHelp, c.stdout)
	if err != nil {
		return err
	}
	if id == "" || *back != (body == rest.NieuweWarmeOverdracht{}) {
		return usageError("handover vraagt een id, en -aan met -totenmet of -terug; gateway handover -h legt het uit")
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	if *back {
		resp, err := client.NeemSignaalTerugWithResponse(c.ctx, id, &rest.NeemSignaalTerugParams{Wacht: wait})
		if err != nil {
			return unreachable(err)
		}
		return c.given(resp.Body, first(resp.JSON200, resp.JSON202))
	}
	resp, err := client.GeefSignaalWithResponse(c.ctx, id, &rest.GeefSignaalParams{Wacht: wait}, body)
	if err != nil {
		return unreachable(err)
	}
	return c.given(resp.Body, first(resp.JSON200, resp.JSON202))
}

// given prints who may take over a signal.
func (c *console) given(body []byte, s *rest.Signaal) error {
	if s == nil {
		return c.refused(body, rest.ProblemIn(body))
	}
	var outcome error
	switch s.WarmeOverdracht.Toestand {
	case rest.WarmeOverdrachtToestandInDeWacht:
		outcome = exit(exitQueued)
	case rest.WarmeOverdrachtToestandNietGelukt:
		outcome = exit(exitRefused)
	}
	if c.json {
		return c.raw(body, outcome)
	}
	words := s.WarmeOverdracht.Uitleg
	if words == "" {
		words = "Niemand kan dit signaal overnemen."
	}
	fmt.Fprintf(c.stdout, "%s\nid %s\n", words, s.Id)
	return outcome
}

func (c *console) offers(args []string) error {
	fs := c.flags("offers")
	if _, err := parse(fs, args, offersHelp, c.stdout); err != nil {
		return err
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	resp, err := client.LijstOverdrachtenWithResponse(c.ctx)
	if err != nil {
		return unreachable(err)
	}
	if resp.JSON200 == nil {
		return c.refused(resp.Body, rest.ProblemIn(resp.Body))
	}
	if c.json {
		return c.raw(resp.Body, nil)
	}
	for _, o := range resp.JSON200.Items {
		fmt.Fprintf(c.stdout, "%s (%s) draagt een signaal over, tot en met %s\n    overdracht %s\n", printable(o.Naam), o.Deelnemer, o.TotEnMet, o.Id)
	}
	if len(resp.JSON200.Items) == 0 {
		fmt.Fprintln(c.stdout, "Niemand draagt een signaal aan ons over.")
	}
	return nil
}
