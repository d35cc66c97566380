// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"fmt"
	"time"

	"github.com/seinhuis/seinhuis/gateway/rest"
)

const statusHelp = `gateway status: hoe de organisatie ervoor staat

  gateway status

Toont de wachtrij, wat er bij de sleutelhouders en het register over is, tijdelijke
toekenningen met hun einde, en de eigen sleutels met een waarschuwing als er een
verloopt.
` + connectionHelp

func (c *console) status(args []string) error {
	fs := c.flags("status")
	if argument, err := parse(fs, args, statusHelp, c.stdout); err != nil {
		return err
	} else if argument != "" {
		return usageError("status heeft alleen opties; gateway status -h legt ze uit")
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	resp, err := client.LeesOrganisatieWithResponse(c.ctx)
	if err != nil {
		return unreachable(err)
	}
	if resp.JSON200 == nil {
		return c.refused(resp.Body, rest.ProblemIn(resp.Body))
	}
	if c.json {
		return c.raw(resp.Body, nil)
	}
	c.showStatus(*resp.JSON200)
	return nil
}

func (c *console) showStatus(o rest.Organisatie) {
	say := func(format string, args ...any) { fmt.Fprintf(c.stdout, format+"\n", args...) }
	say("%s  %s", o.Id, printable(o.Naam))
	say("Wachtrij: %d", o.Wachtrij.Aantal)
	for _, e := range o.Tegoeden.Sleutelhouders {
		if !e.Bekend {
			say("Sleutelhouder %d (%s): onbekend; hij antwoordt niet", e.Nummer, printable(e.Naam))
			continue
		}
		say("Sleutelhouder %d (%s): nog %d evaluaties; vandaag %s, deze maand %s, reserve voor meldingen %s",
			e.Nummer, printable(e.Naam), *e.Over, used(e.Dag), used(e.Maand), used(e.Meldingen))
	}
	if r := o.Tegoeden.Register; r != nil {
		say("Register: vandaag %s signalen, %s handelingen", used(&r.Signalen), used(&r.Handelingen))
	} else {
		say("Register: onbekend; het antwoordt niet")
	}
	for _, g := range o.Tegoeden.Toekenningen {
		say("Toekenning: %d per dag en %d per maand meer, van %s tot %s: %s", g.PerDag, g.PerMaand, day(g.Van), day(g.Tot), printable(g.Doel))
	}
	for _, k := range o.Sleutels {
		line := fmt.Sprintf("Sleutel %s voor %s", k.Id, k.Gebruik)
		if k.DagenOud != nil {
			line += fmt.Sprintf(", %d dagen oud", *k.DagenOud)
		}
		if !k.Tot.IsZero() {
			line += ", tot " + day(k.Tot)
		}
		if k.Uitleg != "" {
			line += ". LET OP: " + k.Uitleg
		}
		say("%s", line)
	}
}

func used(t *rest.Tegoed) string { return fmt.Sprintf("%d van %d", t.Gebruikt, t.Maximum) }

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
