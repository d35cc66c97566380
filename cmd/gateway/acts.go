// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/rest"
	"github.com/seinhuis/seinhuis/keys"
)

const connectionHelp = `
Verbinding
  -url URL        adres van de poort; anders http://` + gateway.DefaultListen + `
  -token BESTAND  bestand met de API-sleutel; anders keys/token
  -sealing SLEUTEL  verzegelsleutel, als dat bestand verzegeld is
  -namens H       voor welke hulpverlener, als de sleutel niet van een van hen is
  --json          antwoord als JSON, precies zoals de API het geeft
`

const cardHelp = `
Contactkaart; zonder geldt die uit de instellingen van de poort
  -naam -functie -afdeling -telefoon -email -bereikbaarheid
`

const signalHelp = `gateway signal: een kind signaleren

  gateway signal -soort bsn -nummer - -geboortedatum 2015-03-09 \
      -kenmerk DOSSIER -hulpverlener NAAM

  -soort bsn|insz     welk nummer het is; anders bsn
  -nummer NUMMER|-    met - leest de opdracht het nummer van de standaardinvoer, of
                      vraagt erom. Doe dat: wat op de opdrachtregel staat, blijft in
                      de geschiedenis van de shell staan en is voor anderen te zien.
  -geboortedatum D    als 2015-03-09; verplicht bij een BSN. Zijn dag en maand
                      onbekend, geef dan 31 december van het jaar
  -kenmerk K          het eigen dossierkenmerk, nooit het nummer
  -hulpverlener H     wie signaleert, met de eigen code of gebruikersnaam
  -termijn DAGEN      hoe lang het signaal hooguit staat; anders die van het beleid
  -afgeschermd        de kaart van de organisatie gaat mee, en geen andere
  -neemtover O        neemt het signaal over dat een andere organisatie overdraagt;
                      zie gateway offers
  -wacht SECONDEN     hoe lang op het register te wachten; anders 5
  -sleutel TEKST      herkent een herhaling (Idempotency-Key)
` + cardHelp + connectionHelp

const reportHelp = `gateway report: een melding met meerdere personen

  gateway report BESTAND.json
  gateway report BESTAND.csv -kenmerk MELDING -hulpverlener NAAM

Iedere persoon krijgt een eigen uitkomst; een fout bij de een houdt de ander niet
tegen. Dezelfde melding nog eens insturen geeft geen tweede signalen.

JSON is de inhoud van POST /v1/meldingen:
  {"kenmerk": "M-1", "hulpverlener": "jdv", "personen": [
    {"nummersoort": "bsn", "nummer": "…", "geboortedatum": "2015-03-09", "rol": "kind"}]}
CSV heeft een kopregel met een of meer van nummersoort, nummer, geboortedatum, rol
en kenmerk, gescheiden door komma's of puntkomma's.

  -kenmerk K        kenmerk van de melding; verplicht bij CSV
  -hulpverlener H   wie meldt; verplicht bij CSV
  -termijn DAGEN    hoe lang de signalen hooguit staan
  -afgeschermd      de kaart van de organisatie gaat mee, en geen andere
  -wacht SECONDEN   hoe lang op het register te wachten; anders 5
  -sleutel TEKST    herkent een herhaling (Idempotency-Key)
` + cardHelp + connectionHelp

const inboxHelp = `gateway inbox: de berichten lezen

  -na PLAATS        verder vanaf de plaats die het vorige antwoord gaf
  -aantal N         hoeveel hooguit; anders 50
  -wacht SECONDEN   hoe lang op een nieuw bericht te wachten; anders 0
` + connectionHelp

const withdrawHelp = `gateway withdraw: een signaal intrekken

  gateway withdraw ID -reden afgesloten

  -reden afgesloten|vergissing
  -wacht SECONDEN   hoe lang op het register te wachten; anders 5
` + connectionHelp

const renewHelp = `gateway renew: een signaal verlengen of de contactkaart vervangen

  gateway renew ID

  -soort -nummer -geboortedatum
                    alleen als de poort erom vraagt: er is een nieuwe sleutelperiode.
                    Met -nummer - leest de opdracht het nummer van de standaardinvoer
  -termijn DAGEN    hoe lang het signaal hooguit staat; anders die van het beleid
  -reden REDEN      nogBetrokken, nieuweZorgen, opvolging of overdracht; mag weg
  -wacht SECONDEN   hoe lang op het register te wachten; anders 5
  -sleutel TEKST    herkent een herhaling (Idempotency-Key)
` + cardHelp + connectionHelp

// A console is one act at a running gateway.
type console struct {
	ctx            context.Context
	stdin          io.Reader
	stdout, stderr io.Writer

	url, token, sealing, person string
	json                        bool
}

func (c *console) flags(name string) *flag.FlagSet {
	fs := flags(name)
	fs.StringVar(&c.url, "url", "http://"+gateway.DefaultListen, "")
	fs.StringVar(&c.token, "token", filepath.Join("keys", gateway.FileToken), "")
	fs.StringVar(&c.sealing, "sealing", "", "")
	fs.StringVar(&c.person, "namens", "", "")
	fs.BoolVar(&c.json, "json", false, "")
	return fs
}

func cardFlags(fs *flag.FlagSet, card *rest.Contactkaart) {
	fs.StringVar(&card.Naam, "naam", "", "")
	fs.StringVar(&card.Functie, "functie", "", "")
	fs.StringVar(&card.Afdeling, "afdeling", "", "")
	fs.StringVar(&card.Telefoon, "telefoon", "", "")
	fs.StringVar(&card.Email, "email", "", "")
	fs.StringVar(&card.Bereikbaarheid, "bereikbaarheid", "", "")
}

const (
	defaultWait = 5 // seconds
	patience    = 90 * time.Second
)

func (c *console) client() (*rest.ClientWithResponses, error) {
	safe, err := keys.OpenSafe(c.sealing)
	if err != nil {
		return nil, err
	}
	token, err := gateway.ReadToken(c.token, safe)
	if err != nil {
		return nil, err
	}
	return rest.NewClientWithResponses(strings.TrimSuffix(c.url, "/")+"/v1",
		rest.WithHTTPClient(&http.Client{Timeout: patience}),
		rest.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
			r.Header.Set("Authorization", "Bearer "+token)
			if c.person != "" {
				r.Header.Set("Seinhuis-Hulpverlener", c.person)
			}
			return nil
		}))
}

func (c *console) signal(args []string) error {
	fs := c.flags("signal")
	var body rest.NieuwSignaal
	kind := fs.String("soort", "bsn", "")
	fs.StringVar(&body.Nummer, "nummer", "", "")
	fs.StringVar(&body.Geboortedatum, "geboortedatum", "", "")
	fs.StringVar(&body.Kenmerk, "kenmerk", "", "")
	fs.StringVar(&body.Hulpverlener, "hulpverlener", "", "")
	fs.IntVar(&body.TermijnDagen, "termijn", 0, "")
	fs.StringVar(&body.NeemtOver, "neemtover", "", "")
	fs.BoolVar(&body.Afgeschermd, "afgeschermd", false, "")
	wait := fs.Int("wacht", defaultWait, "")
	key := fs.String("sleutel", "", "")
	cardFlags(fs, &body.Contactkaart)
	if argument, err := parse(fs, args, signalHelp, c.stdout); err != nil {
		return err
	} else if argument != "" {
		return usageError("signal heeft alleen opties; gateway signal -h legt ze uit")
	}
	body.Nummersoort = rest.NieuwSignaalNummersoort(*kind)
	var err error
	if body.Nummer, err = c.number(body.Nummer); err != nil {
		return err
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	resp, err := client.MaakSignaalWithResponse(c.ctx, &rest.MaakSignaalParams{Wacht: wait, IdempotencyKey: *key}, body)
	if err != nil {
		return unreachable(err)
	}
	return c.told(resp.Body, first(resp.JSON201, resp.JSON202), rest.ProblemIn(resp.Body))
}

// number is what the flag says; for "-" it asks for the number where somebody sits
// at a terminal, and otherwise just reads it.
func (c *console) number(flag string) (string, error) {
	if flag != "-" {
		return flag, nil
	}
	if f, ok := c.stdin.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			fmt.Fprint(c.stderr, "Nummer: ")
		}
	}
	line, err := bufio.NewReader(io.LimitReader(c.stdin, 256)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return strings.TrimSpace(line), nil
}

func (c *console) report(args []string) error {
	fs := c.flags("report")
	var terms rest.NieuweMelding
	fs.StringVar(&terms.Kenmerk, "kenmerk", "", "")
	fs.StringVar(&terms.Hulpverlener, "hulpverlener", "", "")
	fs.IntVar(&terms.TermijnDagen, "termijn", 0, "")
	fs.BoolVar(&terms.Afgeschermd, "afgeschermd", false, "")
	wait := fs.Int("wacht", defaultWait, "")
	key := fs.String("sleutel", "", "")
	cardFlags(fs, &terms.Contactkaart)
	path, err := parse(fs, args, reportHelp, c.stdout)
	if err != nil {
		return err
	}
	if path == "" {
		return usageError("report vraagt een bestand; gateway report -h legt het uit")
	}
	body, err := readReport(path, terms)
	if err != nil {
		return err
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	resp, err := client.MaakMeldingWithResponse(c.ctx, &rest.MaakMeldingParams{Wacht: wait, IdempotencyKey: *key}, body)
	if err != nil {
		return unreachable(err)
	}
	report := resp.JSON201
	if report == nil {
		report = resp.JSON202
	}
	if report == nil {
		return c.refused(resp.Body, rest.ProblemIn(resp.Body))
	}
	if c.json {
		return c.raw(resp.Body, reportExit(*report))
	}
	fmt.Fprintf(c.stdout, "Melding %s", report.Id)
	if report.Herhaling {
		fmt.Fprint(c.stdout, " (herhaling)")
	}
	fmt.Fprintln(c.stdout)
	for _, p := range report.Personen {
		fmt.Fprintf(c.stdout, "%3d  %-16s  %s\n", p.Volgnummer, p.Uitkomst, p.Uitleg)
		for _, f := range p.Fouten {
			fmt.Fprintf(c.stdout, "     %s: %s\n", f.Name, f.Detail)
		}
		for _, w := range p.Waarschuwingen {
			fmt.Fprintf(c.stdout, "     Let op: %s\n", w.Detail)
		}
		if p.Signaal.Id != "" {
			fmt.Fprintf(c.stdout, "     id %s\n", p.Signaal.Id)
		}
	}
	return reportExit(*report)
}

func reportExit(m rest.Melding) error {
	code := 0
	for _, p := range m.Personen {
		switch p.Uitkomst {
		case rest.UitkomstUitkomstGeweigerd:
			code = exitRefused
		case rest.UitkomstUitkomstInDeWacht:
			if code == 0 {
				code = exitQueued
			}
		}
	}
	if code == 0 {
		return nil
	}
	return exit(code)
}

func (c *console) inbox(args []string) error {
	fs := c.flags("inbox")
	var params rest.LijstBerichtenParams
	fs.StringVar(&params.Na, "na", "", "")
	fs.IntVar(&params.Aantal, "aantal", 0, "")
	fs.IntVar(&params.Wacht, "wacht", 0, "")
	if argument, err := parse(fs, args, inboxHelp, c.stdout); err != nil {
		return err
	} else if argument != "" {
		return usageError("inbox heeft alleen opties; gateway inbox -h legt ze uit")
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	resp, err := client.LijstBerichtenWithResponse(c.ctx, &params)
	if err != nil {
		return unreachable(err)
	}
	if resp.JSON200 == nil {
		return c.refused(resp.Body, rest.ProblemIn(resp.Body))
	}
	if c.json {
		return c.raw(resp.Body, nil)
	}
	for _, m := range resp.JSON200.Items {
		c.printMessage(m)
	}
	if len(resp.JSON200.Items) == 0 {
		fmt.Fprintln(c.stdout, "Geen berichten. Dat zegt niet dat niemand anders dit kind kent: alleen wie signaleert is te zien.")
	}
	fmt.Fprintln(c.stdout, "Verder: gateway inbox -na", resp.JSON200.Next)
	return nil
}

func (c *console) printMessage(m rest.Bericht) {
	fmt.Fprintf(c.stdout, "%s  %s\n", m.Ontvangen.Local().Format("2006-01-02 15:04"), m.Tekst)
	for _, s := range m.Signalen {
		fmt.Fprintf(c.stdout, "    ons dossier %s, %s (id %s)\n", s.Kenmerk, s.Hulpverlener, s.Signaal)
	}
	c.printCard(m.Ander.Contactkaart, m.Ander.Voorleescode)
	if m.Probleem != "" {
		fmt.Fprintf(c.stdout, "    LET OP: %s\n", m.Probleem)
	}
}

// printable keeps what another party wrote from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

func (c *console) withdraw(args []string) error {
	fs := c.flags("withdraw")
	reason := fs.String("reden", "", "")
	wait := fs.Int("wacht", defaultWait, "")
	id, err := parse(fs, args, withdrawHelp, c.stdout)
	if err != nil {
		return err
	}
	if id == "" || *reason == "" {
		return usageError("withdraw vraagt een id en -reden; gateway withdraw -h legt het uit")
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	resp, err := client.TrekSignaalInWithResponse(c.ctx, id, &rest.TrekSignaalInParams{Wacht: wait},
		rest.Intrekking{Reden: rest.IntrekkingReden(*reason)})
	if err != nil {
		return unreachable(err)
	}
	return c.told(resp.Body, first(resp.JSON200, resp.JSON202), rest.ProblemIn(resp.Body))
}

func (c *console) renew(args []string) error {
	fs := c.flags("renew")
	var body rest.Verlenging
	kind := fs.String("soort", "", "")
	fs.StringVar(&body.Nummer, "nummer", "", "")
	fs.StringVar(&body.Geboortedatum, "geboortedatum", "", "")
	fs.IntVar(&body.TermijnDagen, "termijn", 0, "")
	reason := fs.String("reden", "", "")
	wait := fs.Int("wacht", defaultWait, "")
	key := fs.String("sleutel", "", "")
	cardFlags(fs, &body.Contactkaart)
	id, err := parse(fs, args, renewHelp, c.stdout)
	if err != nil {
		return err
	}
	if id == "" {
		return usageError("renew vraagt een id; gateway renew -h legt het uit")
	}
	if body.Nummer, err = c.number(body.Nummer); err != nil {
		return err
	}
	if body.Nummer != "" && *kind == "" {
		*kind = "bsn"
	}
	body.Nummersoort, body.Reden = rest.VerlengingNummersoort(*kind), rest.RedenVerlenging(*reason)
	client, err := c.client()
	if err != nil {
		return err
	}
	resp, err := client.VerlengSignaalWithResponse(c.ctx, id, &rest.VerlengSignaalParams{Wacht: wait, IdempotencyKey: *key}, body)
	if err != nil {
		return unreachable(err)
	}
	return c.told(resp.Body, first(resp.JSON200, resp.JSON202), rest.ProblemIn(resp.Body))
}

func first(a, b *rest.Signaal) *rest.Signaal {
	if a != nil {
		return a
	}
	return b
}

// told prints what became of a signal.
func (c *console) told(body []byte, s *rest.Signaal, p *rest.Probleem) error {
	if s == nil {
		return c.refused(body, p)
	}
	var outcome error
	switch {
	case s.Toestand == rest.ToestandGeweigerd || len(s.Fouten) > 0:
		outcome = exit(exitRefused)
	case s.Opdracht.Soort != "":
		outcome = exit(exitQueued)
	}
	if c.json {
		return c.raw(body, outcome)
	}
	fmt.Fprintf(c.stdout, "%s\nid %s\n", s.Uitleg, s.Id)
	if !s.VerlooptOp.IsZero() {
		fmt.Fprintf(c.stdout, "verloopt op %s\n", s.VerlooptOp)
	}
	for _, f := range s.Fouten {
		fmt.Fprintf(c.stdout, "Niet gelukt: %s\n", f.Detail)
	}
	for _, w := range s.Waarschuwingen {
		fmt.Fprintf(c.stdout, "Let op: %s\n", w.Detail)
	}
	return outcome
}

// refused prints a problem.
func (c *console) refused(body []byte, p *rest.Probleem) error {
	if p == nil {
		return errors.New("de poort gaf een antwoord dat geen antwoord van een poort is; klopt -url?")
	}
	outcome := exit(exitFailed)
	if p.Status == http.StatusBadRequest || p.Status == http.StatusConflict || p.Status == http.StatusNotFound {
		outcome = exitRefused
	}
	if c.json {
		return c.raw(body, outcome)
	}
	fmt.Fprintf(c.stderr, "%s. %s\n", p.Title, p.Detail)
	for _, f := range p.Errors {
		fmt.Fprintf(c.stderr, "  %s: %s\n", f.Name, f.Detail)
	}
	return outcome
}

// raw prints an answer as it came, on one line.
func (c *console) raw(body []byte, outcome error) error {
	var v json.RawMessage
	if err := json.Unmarshal(body, &v); err != nil {
		return err
	}
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c.stdout, "%s\n", line); err != nil {
		return err
	}
	return outcome
}

func unreachable(err error) error {
	return fmt.Errorf("de poort is niet te bereiken; draait zij, en klopt -url? (%w)", err)
}
