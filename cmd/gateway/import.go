// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/rest"
)

const importHelp = `gateway import: een groot bestand met signalen, zoals bij de aansluiting

  gateway import BESTAND.csv -hulpverlener NAAM -uitkomst UITKOMST.csv
  gateway import BESTAND.ndjson

Levert het bestand in delen aan bij de poort, en wacht dan tot elke regel zijn
uitkomst heeft. Elke regel geldt als een signaal dat alleen komt; een fout in de
ene regel houdt de andere niet tegen.

Afbreken mag altijd (Ctrl-C): de poort gaat verder met wat zij heeft. Dezelfde
opdracht nog eens gaat verder waar het was, zonder dubbele signalen: de poort
herkent het bestand aan zijn inhoud. Een gewijzigd bestand is een nieuwe import;
wat al gesignaleerd is, wordt daarin samengevoegd.

CSV heeft een kopregel, met komma's of puntkomma's ertussen; NDJSON heeft op elke
regel een JSON-object met deze velden, en daar mag ook een contactkaart in:
  nummer, kenmerk                 moeten er zijn; een leeg nummer mag
  geboortedatum                   als 2015-03-09; verplicht bij een BSN
  nummersoort, rol                als bij gateway report
  hulpverlener, termijnDagen      zonder gelden -hulpverlener en -termijn

  -hulpverlener H     wie signaleert, voor regels die dat niet zelf zeggen
  -soort bsn|insz     welk nummer het is, voor regels die dat niet zelf zeggen; anders bsn
  -termijn DAGEN      hoe lang de signalen hooguit staan; anders die van het beleid
  -uitkomst BESTAND   schrijft van elke regel de uitkomst in een CSV-bestand, met de
                      scheiding van het ingelezen bestand. Volgnummer 1 is de eerste
                      regel onder de kopregel; lege regels tellen niet mee
  -wacht SECONDEN     hoe lang op het register te wachten; anders tot het klaar is

Einde
  0  elke regel staat bij het register, of hoort daar niet: niet gesignaleerd omdat het
     nummer ontbreekt of de rol niet mag, of 23 jaar of ouder. Zij staan in -uitkomst
  3  minstens één regel is geweigerd om een fout die te herstellen is
  4  nog niet alles is klaar: afgebroken, of -wacht is om. De poort gaat verder met
     wat zij heeft
  1 en 2 als bij elke opdracht. Een fout in het bestand zelf komt voordat er iets is
  aangeleverd.
` + cardHelp + connectionHelp

const (
	chunkBytes = 512 << 10 // of rows with long cards; the gateway takes twice as much

	askEvery   = time.Second
	retryFirst = time.Second
	retryMost  = 10 * time.Second
	retryFor   = 3 * time.Minute // that a gateway may be away, once it has been there
)

// An importing is one file on its way to the gateway.
type importing struct {
	*console
	client   *rest.ClientWithResponses
	path     string
	file     *os.File
	kind     string
	begin    rest.NieuweImport
	key      []byte // of the file's fingerprint
	progress *progress
}

func (c *console) importFile(args []string) error {
	fs := c.flags("import")
	i := &importing{console: c}
	fs.StringVar(&i.begin.Hulpverlener, "hulpverlener", "", "")
	fs.IntVar(&i.begin.TermijnDagen, "termijn", 0, "")
	fs.StringVar(&i.kind, "soort", "bsn", "")
	wait := fs.Int("wacht", -1, "")
	outcomes := fs.String("uitkomst", "", "")
	cardFlags(fs, &i.begin.Contactkaart)
	var err error
	if i.path, err = parse(fs, args, importHelp, c.stdout); err != nil {
		return err
	}
	if i.path == "" {
		return usageError("import vraagt een bestand; gateway import -h legt het uit")
	}
	if i.client, err = c.client(); err != nil {
		return err
	}
	token, err := gateway.ReadToken(c.token)
	if err != nil {
		return err
	}
	i.key = []byte(token)
	if i.file, err = os.Open(i.path); err != nil {
		return err
	}
	defer i.file.Close()
	if err := i.apart(*outcomes); err != nil {
		return err
	}
	i.progress = newProgress(c.stderr)
	defer i.progress.end()

	s, raw, err := i.run(*wait)
	if err != nil {
		return err
	}
	if *outcomes != "" {
		if err := i.writeOutcomes(s, *outcomes); err != nil {
			return err
		}
	}
	if c.json {
		return c.raw(raw, importExit(s))
	}
	i.summary(s, *outcomes)
	return importExit(s)
}

// apart sees that the outcomes do not overwrite the file itself.
func (i *importing) apart(outcomes string) error {
	own, err := i.file.Stat()
	if err != nil {
		return err
	}
	if other, err := os.Stat(outcomes); outcomes != "" && err == nil && os.SameFile(own, other) {
		return usageError("-uitkomst is het bestand zelf; geef een ander")
	}
	return nil
}

// run hands over what the gateway does not have, and waits for the outcomes.
func (i *importing) run(wait int) (*rest.Import, []byte, error) {
	total, name, err := i.survey()
	if err != nil {
		return nil, nil, err
	}
	if total == 0 {
		return nil, nil, fmt.Errorf("%s: er staan geen regels in", i.path)
	}
	i.begin.Kenmerk, i.begin.AantalRegels = name, total
	s, raw, err := i.open()
	if err != nil {
		return nil, nil, err
	}
	if s.Aangenomen < total {
		if s.Aangenomen > 0 {
			i.progress.say("De poort had al %s van de %s regels; het gaat verder waar het was.", thousands(s.Aangenomen), thousands(total))
		}
		if err := i.handOver(s, name); err != nil {
			if i.ctx.Err() != nil {
				err = i.left()
			}
			return nil, nil, err
		}
	}
	return i.await(s.Id, raw, wait)
}

// left says what goes on when the command is left.
func (i *importing) left() error {
	i.progress.say("Afgebroken. De poort gaat verder met wat zij heeft; gateway import met hetzelfde bestand gaat verder waar het was.")
	return exit(exitQueued)
}

// survey reads the whole file before anything is sent: it finds its faults, counts
// its rows, and gives it a name by its content. The name is made under the API
// token, so that nobody else can try which numbers a small file had.
func (i *importing) survey() (total int, name string, err error) {
	print := i.fingerprint()
	rows, err := i.rows(print)
	if err != nil {
		return 0, "", err
	}
	for {
		if _, err = rows.next(); err != nil {
			break
		}
		total++
	}
	if !errors.Is(err, io.EOF) {
		return 0, "", fmt.Errorf("%s: %w", i.path, err)
	}
	return total, nameOf(print), nil
}

func (i *importing) fingerprint() hash.Hash {
	h := hmac.New(sha256.New, i.key)
	fmt.Fprintf(h, "import\x00%s\x00", i.kind)
	return h
}

func nameOf(print hash.Hash) string { return "bestand-" + hex.EncodeToString(print.Sum(nil)[:12]) }

// rows reads the file from its beginning, and gives print what is read.
func (i *importing) rows(print io.Writer) (*rowFile, error) {
	if _, err := i.file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	rows, err := openRows(i.path, io.TeeReader(i.file, print), i.kind, i.begin.Hulpverlener)
	if _, usage := errors.AsType[usageError](err); err != nil && !usage {
		err = fmt.Errorf("%s: %w", i.path, err)
	}
	return rows, err
}

// open begins the import at the gateway, or finds it.
func (i *importing) open() (*rest.Import, []byte, error) {
	resp, err := i.client.MaakImportWithResponse(i.ctx, i.begin)
	if err != nil {
		return nil, nil, unreachable(err)
	}
	s := resp.JSON201
	if s == nil {
		s = resp.JSON200
	}
	if s == nil {
		if p := resp.ApplicationproblemJSONDefault; p != nil && p.Status == http.StatusConflict {
			return nil, nil, errors.New("dit bestand is al eens begonnen met een andere -hulpverlener, -termijn of contactkaart; ga met dezelfde verder")
		}
		return nil, nil, i.refused(resp.Body, resp.ApplicationproblemJSONDefault)
	}
	return s, resp.Body, nil
}

// handOver sends the rows behind those that the gateway has, in chunks.
func (i *importing) handOver(s *rest.Import, name string) error {
	print := i.fingerprint()
	rows, err := i.rows(print)
	if err != nil {
		return err
	}
	for range s.Aangenomen {
		if _, err := rows.next(); err != nil {
			return errChanged(i.path)
		}
	}
	began, done := time.Now(), s.Aangenomen
	chunk, size := rest.NieuweRegels{Eerste: done + 1}, 0
	send := func() error {
		body, err := json.Marshal(chunk)
		if err != nil {
			return err
		}
		if err := i.sendChunk(s.Id, body); err != nil {
			return err
		}
		done += len(chunk.Regels)
		i.progress.show("Aanleveren", done, s.AantalRegels, float64(done-s.Aangenomen)/time.Since(began).Seconds(), 0)
		chunk, size = rest.NieuweRegels{Eerste: done + 1, Regels: chunk.Regels[:0]}, 0
		return nil
	}
	for {
		row, err := rows.next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("%s: %w", i.path, err)
		}
		chunk.Regels = append(chunk.Regels, row)
		size += sizeOf(row)
		if len(chunk.Regels) == gateway.MaxRows || size >= chunkBytes {
			if err := send(); err != nil {
				return err
			}
		}
	}
	if len(chunk.Regels) > 0 {
		if err := send(); err != nil {
			return err
		}
	}
	if nameOf(print) != name {
		return errChanged(i.path)
	}
	n := done - s.Aangenomen
	i.progress.say("Aangeleverd: %s regels in %s.", thousands(n), spell(time.Since(began)))
	return nil
}

func errChanged(path string) error {
	return fmt.Errorf("%s is veranderd terwijl het werd gelezen; bewaar het, en geef de opdracht nog eens", path)
}

// sizeOf is about how long a row is as JSON.
func sizeOf(r rest.NieuweRegel) int {
	c := r.Contactkaart
	return 200 + len(r.Nummersoort) + len(r.Nummer) + len(r.Geboortedatum) + len(r.Rol) + len(r.Kenmerk) + len(r.Hulpverlener) +
		len(c.Naam) + len(c.Functie) + len(c.Afdeling) + len(c.Telefoon) + len(c.Email) + len(c.Bereikbaarheid)
}

// sendChunk hands over one chunk. The gateway knows one that it has already, so it
// can be sent until there is an answer.
func (i *importing) sendChunk(id string, body []byte) error {
	return i.insist(func() (bool, error) {
		resp, err := i.client.NeemRegelsAanWithBodyWithResponse(i.ctx, id, "application/json", bytes.NewReader(body))
		if err != nil {
			return true, unreachable(err)
		}
		if resp.JSON200 == nil {
			return resp.StatusCode() >= http.StatusInternalServerError, i.refusal(resp.Body, resp.ApplicationproblemJSONDefault)
		}
		return false, nil
	})
}

// insist does something again while that may help, for a while.
func (i *importing) insist(try func() (again bool, err error)) error {
	began, pause := time.Now(), retryFirst
	for {
		again, err := try()
		if err == nil || !again || i.ctx.Err() != nil {
			return i.tell(err)
		}
		if time.Since(began) > retryFor {
			return i.tell(err)
		}
		i.progress.hold("De poort antwoordt niet; het wordt vanzelf opnieuw geprobeerd.")
		if !sleep(i.ctx, pause) {
			return i.tell(err)
		}
		pause = min(2*pause, retryMost)
	}
}

// A refusal is a problem that is not told yet: it may pass.
type refusal struct {
	body    []byte
	problem *rest.Probleem
}

func (refusal) Error() string { return "de poort weigert" }

func (i *importing) refusal(body []byte, p *rest.Probleem) error { return refusal{body, p} }

func (i *importing) tell(err error) error {
	if r, ok := errors.AsType[refusal](err); ok {
		i.progress.end()
		return i.refused(r.body, r.problem)
	}
	return err
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// await asks how the import gets on until it is done, or the seconds are over.
func (i *importing) await(id string, raw []byte, seconds int) (*rest.Import, []byte, error) {
	began := time.Now()
	for {
		var s *rest.Import
		err := i.insist(func() (bool, error) {
			resp, err := i.client.LeesImportWithResponse(i.ctx, id)
			if err != nil {
				return true, unreachable(err)
			}
			if s, raw = resp.JSON200, resp.Body; s == nil {
				return resp.StatusCode() >= http.StatusInternalServerError, i.refusal(resp.Body, resp.ApplicationproblemJSONDefault)
			}
			return false, nil
		})
		switch {
		case err != nil && i.ctx.Err() != nil:
			return nil, nil, i.left()
		case err != nil:
			return nil, nil, err
		case s.Toestand == rest.ImportToestandKlaar:
			return s, raw, nil
		case seconds >= 0 && time.Since(began) >= time.Duration(seconds)*time.Second:
			return s, raw, nil
		}
		hold := ""
		if s.WachtOp != "" {
			hold = s.Uitleg
		}
		i.progress.hold(hold)
		i.progress.show("Verwerken", s.Aangenomen-s.Tellingen.InDeWacht, s.AantalRegels, s.PerSeconde, time.Duration(s.Resterend)*time.Second)
		if !sleep(i.ctx, askEvery) {
			return nil, nil, i.left()
		}
	}
}

func importExit(s *rest.Import) error {
	switch {
	case s.Toestand != rest.ImportToestandKlaar:
		return exit(exitQueued)
	case s.Tellingen.Geweigerd > s.Tellingen.Volwassen:
		return exit(exitRefused)
	}
	return nil
}

// summary says what became of the rows.
func (i *importing) summary(s *rest.Import, outcomes string) {
	i.progress.end()
	t := s.Tellingen
	fmt.Fprintf(i.stdout, "%s\n", s.Uitleg)
	for _, line := range []struct {
		n    int
		what string
	}{
		{s.AantalRegels, "regels"},
		{t.Geregistreerd, "geregistreerd"},
		{t.Samengevoegd, "samengevoegd: de organisatie signaleerde dit kind al"},
		{t.NietGesignaleerd, "niet gesignaleerd: het nummer ontbreekt, of de rol mag niet"},
		{t.Volwassen, "geweigerd: 23 jaar of ouder"},
		{t.Geweigerd - t.Volwassen, "geweigerd om een fout die te herstellen is"},
		{t.Ingetrokken, "ingetrokken voordat het signaal er stond"},
		{t.InDeWacht, "nog in de wacht"},
		{s.AantalRegels - s.Aangenomen, "nog niet aangeleverd"},
	} {
		if line.n > 0 {
			fmt.Fprintf(i.stdout, "%10s  %s\n", thousands(line.n), line.what)
		}
	}
	switch {
	case outcomes != "":
		fmt.Fprintf(i.stdout, "De uitkomst van elke regel staat in %s.\n", outcomes)
	case t.Geweigerd+t.NietGesignaleerd > 0:
		fmt.Fprintln(i.stdout, "Welke regels dat zijn: dezelfde opdracht nog eens, met -uitkomst BESTAND.csv.")
	}
	fmt.Fprintf(i.stdout, "id %s\n", s.Id)
}

// writeOutcomes writes a line per row, in a file that is there whole or not at all.
func (i *importing) writeOutcomes(s *rest.Import, path string) (err error) {
	rows, err := i.rows(io.Discard)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".uitkomst-*") // its owner's alone
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	err = i.printOutcomes(s, rows, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func (i *importing) printOutcomes(s *rest.Import, form *rowFile, f *os.File) error {
	if form.mark {
		if _, err := f.Write(utf8Mark); err != nil {
			return err
		}
	}
	w := csv.NewWriter(f)
	w.Comma = form.comma
	w.Write([]string{"volgnummer", "kenmerk", "uitkomst", "uitleg", "fouten", "waarschuwingen", "id"})
	for after := 0; after < s.Aangenomen; {
		var page *rest.Regels
		err := i.insist(func() (bool, error) {
			resp, err := i.client.LijstRegelsWithResponse(i.ctx, s.Id, &rest.LijstRegelsParams{Na: after, Aantal: gateway.MaxRows})
			if err != nil {
				return true, unreachable(err)
			}
			if page = resp.JSON200; page == nil {
				return resp.StatusCode() >= http.StatusInternalServerError, i.refusal(resp.Body, resp.ApplicationproblemJSONDefault)
			}
			return false, nil
		})
		if err != nil {
			return err
		}
		if len(page.Items) == 0 {
			return errors.New("de poort bewaart de regels van deze import niet meer")
		}
		for _, r := range page.Items {
			var faults, warnings []string
			for _, f := range r.Fouten {
				faults = append(faults, f.Name+": "+f.Detail)
			}
			for _, w := range r.Waarschuwingen {
				warnings = append(warnings, w.Detail)
			}
			w.Write([]string{strconv.Itoa(r.Volgnummer), r.Kenmerk, string(r.Uitkomst), r.Uitleg, strings.Join(faults, " "), strings.Join(warnings, " "), r.Signaal})
			after = r.Volgnummer
		}
		i.progress.show("Uitkomst schrijven", after, s.Aangenomen, 0, 0)
	}
	w.Flush()
	return w.Error()
}
