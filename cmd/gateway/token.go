// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	openapi_types "github.com/oapi-codegen/runtime/types"

	"github.com/seinhuis/seinhuis/gateway/rest"
	"github.com/seinhuis/seinhuis/keys"
)

const tokenHelp = `gateway token: API-sleutels van een deelnemer

  gateway token make -naam "dossiersysteem" -rollen aanmelden,matches
  gateway token list
  gateway token revoke ID

make maakt een sleutel en toont haar één keer: de poort bewaart haar niet.
  -naam TEKST         waar de sleutel voor is
  -rollen LIJST       aanmelden, matches, beheer, privacy, met komma's ertussen
  -bereik B           eigen, team of alle; anders alle
  -hulpverlener H     bij welke gebruiker zij hoort; zonder zegt ieder verzoek dat
  -verloopt DATUM     de eerste dag waarop zij niet meer geldt; anders over een jaar
  -uit BESTAND        schrijft haar in een nieuw bestand, alleen leesbaar voor wie
                      het maakt, in plaats van haar te tonen
revoke trekt een sleutel in; dat werkt meteen, ook voor wat ermee openstaat.
` + connectionHelp

func (c *console) tokens(args []string) error {
	if len(args) == 0 {
		return usageError("token vraagt make, list of revoke; gateway token -h legt het uit")
	}
	switch name, rest := args[0], args[1:]; name {
	case "make":
		return c.makeToken(rest)
	case "list":
		return c.listTokens(rest)
	case "revoke":
		return c.revokeToken(rest)
	case "-h", "-help", "--help":
		fmt.Fprint(c.stdout, tokenHelp)
		return nil
	}
	return usageError("token kent make, list en revoke; gateway token -h legt ze uit")
}

func (c *console) makeToken(args []string) error {
	fs := c.flags("token make")
	body := rest.NieuweSleutel{}
	var roles, reach, ends, out string
	fs.StringVar(&body.Naam, "naam", "", "")
	fs.StringVar(&roles, "rollen", "", "")
	fs.StringVar(&reach, "bereik", string(rest.BereikAlle), "")
	fs.StringVar(&body.Hulpverlener, "hulpverlener", "", "")
	fs.StringVar(&ends, "verloopt", time.Now().AddDate(1, 0, 0).Format(time.DateOnly), "")
	fs.StringVar(&out, "uit", "", "")
	if argument, err := parse(fs, args, tokenHelp, c.stdout); err != nil {
		return err
	} else if argument != "" || body.Naam == "" || roles == "" {
		return usageError("token make vraagt -naam en -rollen; gateway token -h legt het uit")
	}
	body.Bereik = rest.Bereik(reach)
	for role := range strings.SplitSeq(roles, ",") {
		body.Rollen = append(body.Rollen, rest.Rol(strings.TrimSpace(role)))
	}
	day, err := time.Parse(time.DateOnly, ends)
	if err != nil {
		return usageError("-verloopt is een datum, zoals 2027-03-09")
	}
	body.VerlooptOp = openapi_types.Date{Time: day}
	client, err := c.client()
	if err != nil {
		return err
	}
	resp, err := client.MaakSleutelWithResponse(c.ctx, body)
	if err != nil {
		return unreachable(err)
	}
	made := resp.JSON201
	if made == nil {
		return c.refused(resp.Body, rest.ProblemIn(resp.Body))
	}
	if out != "" {
		if err := keys.Clear.WriteLine(out, made.Sleutel); err != nil {
			// Nobody will ever have this key: it ends here.
			if gone, undo := client.TrekSleutelInWithResponse(c.ctx, made.Id); undo != nil || gone.StatusCode() != 204 {
				return errors.Join(err, fmt.Errorf("sleutel %s is gemaakt en niet ingetrokken; doe dat met gateway token revoke", made.Id))
			}
			return err
		}
	}
	switch {
	case c.json && out == "":
		return c.raw(resp.Body, nil)
	case c.json:
		return c.rawKey(*made)
	case out != "":
		fmt.Fprintf(c.stdout, "Sleutel %s staat in %s en geldt tot %s.\n", made.Id, out, made.VerlooptOp)
	default:
		fmt.Fprintf(c.stdout, "Sleutel %s geldt tot %s. Bewaar haar nu; de poort toont haar niet nog eens.\n%s\n", made.Id, made.VerlooptOp, made.Sleutel)
	}
	return nil
}

// rawKey is what was answered, without what stands in a file now.
func (c *console) rawKey(made rest.GemaakteSleutel) error {
	made.Sleutel = ""
	body, err := json.Marshal(made)
	if err != nil {
		return err
	}
	return c.raw(body, nil)
}

func (c *console) listTokens(args []string) error {
	fs := c.flags("token list")
	if argument, err := parse(fs, args, tokenHelp, c.stdout); err != nil {
		return err
	} else if argument != "" {
		return usageError("token list heeft alleen opties; gateway token -h legt ze uit")
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	for from := ""; ; {
		resp, err := client.LijstSleutelsWithResponse(c.ctx, &rest.LijstSleutelsParams{Na: from})
		if err != nil {
			return unreachable(err)
		}
		if resp.JSON200 == nil {
			return c.refused(resp.Body, rest.ProblemIn(resp.Body))
		}
		for _, k := range resp.JSON200.Items {
			if c.json {
				if err := json.NewEncoder(c.stdout).Encode(k); err != nil {
					return err
				}
				continue
			}
			state := "geldt tot " + k.VerlooptOp.String()
			if !k.Geldig {
				state = "geldt niet meer"
			}
			used := "nooit gebruikt"
			if !k.LaatstGebruiktOp.IsZero() {
				used = "laatst gebruikt op " + k.LaatstGebruiktOp.String()
			}
			fmt.Fprintf(c.stdout, "%s  %s, %s; %v, bereik %s", k.Id, state, used, k.Rollen, k.Bereik)
			if k.Hulpverlener != "" {
				fmt.Fprintf(c.stdout, ", van %s", k.Hulpverlener)
			}
			fmt.Fprintf(c.stdout, "  %s\n", printable(k.Naam))
		}
		if from = resp.JSON200.Next; from == "" {
			return nil
		}
	}
}

func (c *console) revokeToken(args []string) error {
	fs := c.flags("token revoke")
	id, err := parse(fs, args, tokenHelp, c.stdout)
	if err != nil {
		return err
	}
	if id == "" {
		return usageError("token revoke vraagt een id; gateway token -h legt het uit")
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	resp, err := client.TrekSleutelInWithResponse(c.ctx, id)
	if err != nil {
		return unreachable(err)
	}
	if resp.StatusCode() != 204 {
		return c.refused(resp.Body, rest.ProblemIn(resp.Body))
	}
	if !c.json {
		fmt.Fprintf(c.stdout, "Sleutel %s geldt niet meer.\n", id)
	}
	return nil
}

const logHelp = `gateway log: het logboek van inzagen, het laatste eerst, een JSON-regel per inzage

  -hulpverlener H   alleen wat voor deze hulpverlener is gevraagd
  -signaal ID       alleen wat dit signaal betreft
  -van DATUM        alleen vanaf deze dag
  -tot DATUM        alleen voor deze dag
Dat het logboek is gelezen, komt er ook in. De sleutel heeft de rol privacy.
` + connectionHelp

func (c *console) log(args []string) error {
	fs := c.flags("log")
	var q rest.LijstInzagenParams
	var from, until string
	fs.StringVar(&q.Hulpverlener, "hulpverlener", "", "")
	fs.StringVar(&q.Signaal, "signaal", "", "")
	fs.StringVar(&from, "van", "", "")
	fs.StringVar(&until, "tot", "", "")
	if argument, err := parse(fs, args, logHelp, c.stdout); err != nil {
		return err
	} else if argument != "" {
		return usageError("log heeft alleen opties; gateway log -h legt ze uit")
	}
	for _, day := range []struct {
		text string
		into *openapi_types.Date
	}{{from, &q.Van}, {until, &q.Tot}} {
		if day.text == "" {
			continue
		}
		at, err := time.Parse(time.DateOnly, day.text)
		if err != nil {
			return usageError("-van en -tot zijn datums, zoals 2027-03-09")
		}
		day.into.Time = at
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	q.Aantal = 200
	for {
		resp, err := client.LijstInzagenWithResponse(c.ctx, &q)
		if err != nil {
			return unreachable(err)
		}
		if resp.JSON200 == nil {
			return c.refused(resp.Body, rest.ProblemIn(resp.Body))
		}
		for _, row := range resp.JSON200.Items {
			if err := json.NewEncoder(c.stdout).Encode(row); err != nil {
				return err
			}
		}
		if q.Na = resp.JSON200.Next; q.Na == "" {
			return nil
		}
	}
}
