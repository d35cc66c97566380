// SPDX-License-Identifier: EUPL-1.2

// Command gateway is a party's side of Seinhuis: it serves the party's API, and
// does the same acts from the command line. See `gateway -h`, which is in Dutch,
// as whatever a professional sees.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/seinhuis/seinhuis/cmd/internal/command"
	"github.com/seinhuis/seinhuis/keys"
)

var usage = `gateway: de poort van Seinhuis, aan de kant van een deelnemer

Een signaal is geen melding bij een instantie en geen hulp in nood: bel dan 112,
Veilig Thuis 0800-2000 of, in Vlaanderen, 1712.

Beheer
  gateway keygen -out MAP -id DEELNEMER -name NAAM -kind SOORT -region REGIO \
                 [-sealing SLEUTEL]
      Maakt de sleutels van een deelnemer in MAP, verzegeld onder SLEUTEL, en toont zijn deel van de gids als
      JSON, voor het beheer van het register. Bestanden:
        sign.pem  ondertekent signalen     hpke.pem  opent eigen sleutelkisten
        tls.pem   van tls.crt              token     de API-sleutel van de deelnemer
  gateway keygen -storage BESTAND [-sealing SLEUTEL]
      Maakt de sleutel waaronder de poort alles bewaart. Zonder dit bestand is de
      opslag onleesbaar; bewaar het nooit in de map van de opslag.
  gateway keys make -out BESTAND
      Maakt een verzegelsleutel. Daaronder liggen de sleutelbestanden van een machine
      verzegeld; zonder liggen ze open. Hij ligt niet bij die bestanden: hij is een
      bestand, of met credential:NAAM een credential van systemd.
  gateway keys seal -sealing SLEUTEL -file BESTAND ...
      Verzegelt bestanden die open liggen, of onder een oudere generatie van SLEUTEL.
  gateway keys show -sealing SLEUTEL -file BESTAND
      Toont een verzegeld bestand open, voor een ander programma.
  gateway keys renew -file BESTAND [-sealing SLEUTEL]
  gateway keys newest -file BESTAND [-sealing SLEUTEL]
      Geeft een verzegelsleutel of de sleutel van de opslag een nieuwe generatie, die
      voortaan verzegelt, of haalt de oudere eruit, als daar niets meer onder ligt: van
      de sleutel van de opslag als de poort "rows under the newest key" heeft gelogd.
  gateway serve -config BESTAND
      Draait de poort tot SIGTERM of SIGINT. SIGHUP leest manifest, gids, certificaten en
      het bestand token opnieuw; nieuwe certificaten ziet hij ook vanzelf.

Toegang, bij een poort die draait
  gateway token     API-sleutels maken, tonen en intrekken
  gateway log       het logboek van inzagen

Handelingen, bij een poort die draait
  gateway signal    een kind signaleren
  gateway report    een melding met meerdere personen, uit een JSON- of CSV-bestand
  gateway import    een groot bestand met signalen, zoals bij de aansluiting
  gateway inbox     de berichten lezen
  gateway matches   wie hetzelfde kind signaleert, en hoe die te bereiken is
  gateway answer    een andere organisatie in een match antwoorden
  gateway handover  een signaal overdragen aan een andere organisatie
  gateway offers    wat andere organisaties aan ons overdragen
  gateway renew     een signaal verlengen of de contactkaart vervangen
  gateway withdraw  een signaal intrekken
  gateway status    wat er over is van de tegoeden, de wachtrij en de eigen sleutels
  Elke handeling legt zich uit met -h, en antwoordt met --json als JSON.

Einde
  0  gelukt
  1  mislukt: de poort is niet te bereiken of meldt een fout
  2  verkeerd aangeroepen
  3  geweigerd; de fouten staan erbij. Bij een melding: minstens één persoon geweigerd, en
     bij een import minstens één regel die er niet staat en er wel kan staan
  4  aangenomen, maar nog in de wacht; de poort gaat er vanzelf mee verder

BESTAND van serve is JSON; onbekende velden worden geweigerd; paden gelden vanaf
zijn eigen map:
  {
    "listen":     "127.0.0.1:8420",     voor de API
    "metrics":    "127.0.0.1:9420",     voor Prometheus, alleen op de eigen machine
    "data":       "data",               map van de opslag
    "storageKey": "storage.key",
    "sealing":    "/etc/seinhuis/sealing.key",  of "credential:NAAM"; mag weg
    "pins":       "pins.json",          wiens handtekeningen tellen
    "manifest":   "manifest.txt",       om mee te beginnen; nieuwere haalt de poort op
    "directory":  "directory.txt",      idem
    "parties": [{
      "id":    "nl-kvk:12345678",
      "keys":  "keys",
      "token": "keys/token",            mag weg
      "card":  {"desk": "Team Noord", "phone": "+31 20 555 01 00"},
      "oauth": {                        mag weg: dossiersystemen met toegangstokens (RFC 9068)
        "issuer":   "https://id.voorbeeld",
        "audience": "https://poort.voorbeeld",
        "roots":    "ca.pem",           mag weg
        "clients":  {"dossiersysteem": {"roles": ["aanmelden", "matches"], "reach": "alle"}}
      }
    }]
  }
  Andere machines bereiken de API alleen over TLS. Zet in BESTAND dan ook
    "tls":     {"cert": "api.crt", "key": "api.pem"}   de poort spreekt zelf TLS 1.3
  of, met een proxy ervoor die TLS afhandelt,
    "proxies": ["10.1.2.3"]             van deze adressen of netwerken gelden
                                        X-Forwarded-For en -Proto, of Forwarded
  Voor webhooks naar een dossiersysteem in een eigen netwerk, en voor mail:
    "webhooks": {"allow": ["10.1.2.0/24"],     anders alleen naar internet
                 "plain": false,               ook http:// en niet alleen https://
                 "roots": "ca.pem"},           mag weg: eigen certificaatautoriteiten
    "mail":     {"host": "smtp.example.org", "port": 587,
                 "tls": "starttls",            of implicit; plain alleen naar de eigen machine
                 "user": "poort", "password": "wachtwoord.txt",  een bestand
                 "from": "Seinhuis <poort@example.org>", "roots": "ca.pem"}
  en bij een deelnemer onder "parties":
    "link": "https://dossier.example.org/aanmelding/"   begin van links in webhooks
    "news": {"desk": ["bureau@example.org"],            krijgt van alles een mail
             "link": "https://portaal.example.org/"}    staat in elke mail
  en voor /.well-known/security.txt, dat een jaar na "checked" verloopt:
    "security": {"contact": ["mailto:veilig@example.org"], "languages": "nl, en",
                 "policy": "https://…", "canonical": "https://…", "checked": "2026-11-22"}
  Op de kaart mogen name, role, desk, phone, email en reachable staan. Zij geldt
  voor wie zelf geen contactkaart meestuurt.
`

// Exit codes; usage explains them.
const (
	exitFailed  = 1
	exitUsage   = 2
	exitRefused = 3
	exitQueued  = 4
)

// An exit is an outcome that has been told already.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// A usageError is a command that was called wrongly.
type usageError string

func (e usageError) Error() string { return string(e) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command.NeverDump(); err != nil {
		os.Exit(code(err, os.Stderr))
	}
	os.Exit(code(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr), os.Stderr))
}

// code tells an error and gives the exit code that belongs to it.
func code(err error, stderr io.Writer) int {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if e, ok := errors.AsType[exit](err); ok {
		return int(e)
	}
	fmt.Fprintln(stderr, "gateway:", err)
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return exit(exitUsage)
	}
	c := &console{ctx: ctx, stdin: stdin, stdout: stdout, stderr: stderr}
	switch name, rest := args[0], args[1:]; name {
	case "keygen":
		return keygen(rest, stdout)
	case "keys":
		program := command.Program{Name: "gateway", Usage: usage}
		return program.Keys(ctx, rest, stdout, stderr, keys.RootsForm)
	case "serve":
		return serve(ctx, rest, stderr)
	case "signal":
		return c.signal(rest)
	case "report":
		return c.report(rest)
	case "import":
		return c.importFile(rest)
	case "inbox":
		return c.inbox(rest)
	case "matches":
		return c.matches(rest)
	case "answer":
		return c.answer(rest)
	case "handover":
		return c.handover(rest)
	case "offers":
		return c.offers(rest)
	case "withdraw":
		return c.withdraw(rest)
	case "renew":
		return c.renew(rest)
	case "token":
		return c.tokens(rest)
	case "log":
		return c.log(rest)
	case "status":
		return c.status(rest)
	case "-h", "-help", "--help", "help":
		fmt.Fprint(stdout, usage)
		return nil
	default:
		return usageError(fmt.Sprintf("de opdracht %q bestaat niet; gateway -h noemt ze", name))
	}
}

// flags makes a flag set that says nothing by itself; parse explains it on -h.
func flags(name string) *flag.FlagSet {
	fs := flag.NewFlagSet("gateway "+name, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // its own texts are English, and repeat what was typed
	fs.Usage = func() {}
	return fs
}

// parse reads flags; one argument may come before them. What was typed is not
// repeated: it can be a number.
func parse(fs *flag.FlagSet, args []string, text string, stdout io.Writer) (argument string, err error) {
	if len(args) > 0 && len(args[0]) > 0 && args[0][0] != '-' {
		argument, args = args[0], args[1:]
	}
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, text)
		return "", flag.ErrHelp
	case err != nil:
		return "", usageError(fmt.Sprintf("een optie is onbekend of heeft geen goede waarde; %s -h legt ze uit", fs.Name()))
	case fs.NArg() == 1 && argument == "":
		return fs.Arg(0), nil
	case fs.NArg() > 0:
		return "", usageError(fmt.Sprintf("er staat te veel achter de opties; %s -h legt ze uit", fs.Name()))
	}
	return argument, nil
}
