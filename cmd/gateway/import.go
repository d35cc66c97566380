// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
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
herkent het bestand aan zijn inhoud. Is zij al klaar, dan zegt de opdracht sinds
wanneer, en hoe de regels er nu voor staan. Een gewijzigd bestand is een nieuwe
import; wat al gesignaleerd is, wordt daarin samengevoegd.

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
  -opnieuw            meldt alle regels van een bestand dat klaar is nog eens aan, zoals na
                      verlopen, intrekken of een nieuwe sleutelperiode. Loopt er nog een
                      ronde, dan gaat die verder
  -wacht SECONDEN     hoe lang op het register te wachten; anders tot het klaar is

Einde
  0  elke regel staat nu bij het register, of hoort daar niet: niet gesignaleerd omdat het
     nummer ontbreekt of de rol niet mag, of 23 jaar of ouder. Zij staan in -uitkomst
  3  minstens één regel staat er niet: geweigerd om een fout die te herstellen is,
     ingetrokken of verlopen
  4  nog niet alles is klaar: afgebroken, of -wacht is om. De poort gaat verder met
     wat zij heeft
  1 en 2 als bij elke opdracht. Een fout in het bestand zelf komt voordat er iets is
  aangeleverd.
` + cardHelp + connectionHelp

const (
	chunkBytes = 512 << 10 // of rows with long cards; the gateway takes twice as much
	maxRow     = 16 << 10  // bytes of a row as it is sent; one that is right is a thousand

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
	stat     os.FileInfo // of the file when it was opened
	kind     string
	begin    rest.NieuweImport
	out      string   // where the outcomes go; empty is nowhere
	outFile  *os.File // beside it, until it is whole
	progress *progress
}

func (c *console) importFile(args []string) error {
	fs := c.flags("import")
	i := &importing{console: c}
	fs.StringVar(&i.begin.Hulpverlener, "hulpverlener", "", "")
	fs.IntVar(&i.begin.TermijnDagen, "termijn", 0, "")
	fs.StringVar(&i.kind, "soort", "bsn", "")
	wait := fs.Int("wacht", -1, "")
	fs.StringVar(&i.out, "uitkomst", "", "")
	fs.BoolVar(&i.begin.Opnieuw, "opnieuw", false, "")
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
	if i.file, err = os.Open(i.path); err != nil {
		return err
	}
	defer i.file.Close()
	if i.stat, err = i.file.Stat(); err != nil {
		return err
	}
	if i.out != "" {
		if err := i.openOutcomes(); err != nil {
			return err
		}
		defer os.Remove(i.outFile.Name()) // unless it is there under its own name
		defer i.outFile.Close()
	}
	i.progress = newProgress(c.stderr)
	defer i.progress.end()

	s, err := i.run(*wait)
	if err != nil {
		return err
	}
	now, err := i.outcomes(s)
	switch {
	case err != nil && c.ctx.Err() != nil:
		return i.left()
	case err != nil:
		return err
	case c.json:
		line, err := json.Marshal(struct {
			*rest.Import
			Now tally `json:"nu"`
		}{s, now})
		return c.raw(line, errors.Join(err, now.exit(s)))
	}
	i.summary(s, now)
	return now.exit(s)
}

// run hands over what the gateway does not have, and waits for the outcomes.
func (i *importing) run(wait int) (*rest.Import, error) {
	total, hash, err := i.survey()
	if err != nil {
		return nil, err
	}
	if total == 0 {
		return nil, fmt.Errorf("%s: er staan geen regels in", i.path)
	}
	i.begin.Inhoud, i.begin.AantalRegels = hash, total
	s, err := i.open()
	if err != nil {
		return nil, err
	}
	if s.Aangenomen < total {
		if s.Aangenomen > 0 {
			i.progress.say("De poort had al %s van de %s regels; het gaat verder waar het was.", thousands(s.Aangenomen), thousands(total))
		}
		if err := i.handOver(s); err != nil {
			if i.ctx.Err() != nil {
				err = i.left()
			}
			return nil, err
		}
	}
	return i.await(s.Id, wait)
}

// left says what goes on when the command is left.
func (i *importing) left() error {
	i.progress.say("Afgebroken. De poort gaat verder met wat zij heeft; gateway import met hetzelfde bestand, zonder -opnieuw, gaat verder waar het was.")
	return exit(exitQueued)
}

// survey reads the whole file before anything is sent: it finds its faults, counts
// its rows, and takes the hash by which the gateway names it.
func (i *importing) survey() (total int, hash string, err error) {
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
	return total, hashOf(print), nil
}

func (i *importing) fingerprint() hash.Hash {
	h := sha256.New()
	fmt.Fprintf(h, "import\x00%s\x00", i.kind)
	return h
}

func hashOf(print hash.Hash) string { return hex.EncodeToString(print.Sum(nil)) }

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
func (i *importing) open() (*rest.Import, error) {
	resp, err := i.client.MaakImportWithResponse(i.ctx, nil, i.begin)
	if err != nil {
		return nil, unreachable(err)
	}
	s := resp.JSON201
	if s == nil {
		s = resp.JSON200
	}
	if s == nil {
		if p := rest.ProblemIn(resp.Body); p != nil && p.Status == http.StatusConflict {
			return nil, errors.New("dit bestand is al eens begonnen met een andere -hulpverlener, -termijn of contactkaart; ga met dezelfde verder, of begin als het klaar is een nieuwe ronde met -opnieuw")
		}
		return nil, i.refused(resp.Body, rest.ProblemIn(resp.Body))
	}
	return s, nil
}

// handOver sends the rows behind those that the gateway has, in chunks.
func (i *importing) handOver(s *rest.Import) error {
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
	var chunk []json.RawMessage
	size := 0
	send := func() error {
		if !i.unchanged() {
			return errChanged(i.path)
		}
		body, err := json.Marshal(struct {
			First int               `json:"eerste"`
			Rows  []json.RawMessage `json:"regels"`
		}{done + 1, chunk})
		if err != nil {
			return err
		}
		if err := i.sendChunk(s.Id, body); err != nil {
			return err
		}
		done += len(chunk)
		i.progress.show("Aanleveren", done, s.AantalRegels, float64(done-s.Aangenomen)/time.Since(began).Seconds(), 0)
		chunk, size = chunk[:0], 0
		return nil
	}
	for {
		row, err := rows.next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("%s: %w", i.path, err)
		}
		if len(chunk) == gateway.MaxRows || size+len(row) > chunkBytes {
			if err := send(); err != nil {
				return err
			}
		}
		chunk = append(chunk, row)
		size += len(row) + 1
	}
	if hashOf(print) != i.begin.Inhoud {
		return errChanged(i.path)
	}
	if len(chunk) > 0 {
		if err := send(); err != nil {
			return err
		}
	}
	n := done - s.Aangenomen
	i.progress.say("Aangeleverd: %s regels in %s.", thousands(n), spell(time.Since(began)))
	return nil
}

// unchanged tells whether the file is as it was when it was opened: rows of a changed
// one may not go under the old one's name.
func (i *importing) unchanged() bool {
	now, err := i.file.Stat()
	return err == nil && now.Size() == i.stat.Size() && now.ModTime().Equal(i.stat.ModTime())
}

func errChanged(path string) error {
	return fmt.Errorf("%s is veranderd terwijl het werd gelezen; wat al is aangeleverd, is van het oude bestand. Dezelfde opdracht nog eens levert het nieuwe aan, als een andere import", path)
}

// sendChunk hands over one chunk. The gateway knows one that it has already, so it
// can be sent until there is an answer.
func (i *importing) sendChunk(id string, body []byte) error {
	return i.insist(func() (bool, error) {
		resp, err := i.client.NeemRegelsAanWithBodyWithResponse(i.ctx, id, nil, "application/json", bytes.NewReader(body))
		if err != nil {
			return true, unreachable(err)
		}
		if resp.JSON200 == nil {
			return resp.StatusCode() >= http.StatusInternalServerError, i.refusal(resp.Body, rest.ProblemIn(resp.Body))
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
func (i *importing) await(id string, seconds int) (*rest.Import, error) {
	began := time.Now()
	for {
		var s *rest.Import
		err := i.insist(func() (bool, error) {
			resp, err := i.client.LeesImportWithResponse(i.ctx, id, nil)
			if err != nil {
				return true, unreachable(err)
			}
			if s = resp.JSON200; s == nil {
				return resp.StatusCode() >= http.StatusInternalServerError, i.refusal(resp.Body, rest.ProblemIn(resp.Body))
			}
			return false, nil
		})
		switch {
		case err != nil && i.ctx.Err() != nil:
			return nil, i.left()
		case err != nil:
			return nil, err
		case s.Toestand == rest.ImportToestandKlaar:
			return s, nil
		case seconds >= 0 && time.Since(began) >= time.Duration(seconds)*time.Second:
			return s, nil
		}
		hold := ""
		if s.WachtOp != "" {
			hold = s.Uitleg
		}
		i.progress.hold(hold)
		i.progress.show("Verwerken", s.Aangenomen-s.Tellingen.InDeWacht, s.AantalRegels, s.PerSeconde, time.Duration(s.Resterend)*time.Second)
		if !sleep(i.ctx, askEvery) {
			return nil, i.left()
		}
	}
}
