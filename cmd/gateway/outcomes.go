// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/rest"
)

var outcomeColumns = []string{"volgnummer", "kenmerk", "uitkomst", "uitleg", "fouten", "waarschuwingen", "id"}

// openOutcomes makes the file that the outcomes are written in, before anything is
// sent. It takes the place of none but an earlier one.
func (i *importing) openOutcomes() error {
	info, err := os.Stat(i.out)
	switch {
	case err == nil && os.SameFile(i.stat, info):
		return usageError("-uitkomst is het bestand zelf; geef een ander")
	case err == nil:
		known, err := hasOutcomes(i.out, info)
		if err != nil {
			return err
		}
		if !known {
			return usageError("-uitkomst is een bestand dat er al is en geen uitkomsten heeft; geef een ander, of haal het weg")
		}
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	i.outFile, err = os.CreateTemp(filepath.Dir(i.out), ".uitkomst-*") // its owner's alone
	return err
}

// hasOutcomes tells whether a file begins as we write it, or is empty.
func hasOutcomes(path string, info os.FileInfo) (bool, error) {
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return info.Mode().IsRegular(), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	line, err := bufio.NewReader(io.LimitReader(f, 200)).ReadString('\n')
	if err != nil && err != io.EOF {
		return false, err
	}
	line = strings.TrimPrefix(strings.TrimSuffix(line, "\n"), string(utf8Mark))
	return line == strings.Join(outcomeColumns, ",") || line == strings.Join(outcomeColumns, ";"), nil
}

// A tally is how many rows stand how, now. What the import counts is what became of
// them when it was done: since then signals can have ended.
type tally struct {
	rest.Tellingen
	Expired int `json:"verlopen"`
}

func (t *tally) count(r rest.Regel) {
	switch r.Uitkomst {
	case rest.RegelUitkomstInDeWacht:
		t.InDeWacht++
	case rest.RegelUitkomstGeregistreerd:
		t.Geregistreerd++
	case rest.RegelUitkomstSamengevoegd:
		t.Samengevoegd++
	case rest.RegelUitkomstIngetrokken:
		t.Ingetrokken++
	case rest.RegelUitkomstVerlopen:
		t.Expired++
	case rest.RegelUitkomstNietGesignaleerd:
		t.NietGesignaleerd++
	case rest.RegelUitkomstGeweigerd:
		t.Geweigerd++
		if !slices.ContainsFunc(r.Fouten, func(f rest.Invoerfout) bool { return f.Code != string(gateway.CodeAdult) }) {
			t.Volwassen++
		}
	}
}

// missing is how many rows have no signal that could have one.
func (t tally) missing() int { return t.Geweigerd - t.Volwassen + t.Ingetrokken + t.Expired }

func (t tally) exit(s *rest.Import) error {
	switch {
	case s.Toestand != rest.ImportToestandKlaar || t.InDeWacht > 0: // or a withdrawal waits
		return exit(exitQueued)
	case t.missing() > 0:
		return exit(exitRefused)
	}
	return nil
}

// summary says how the rows stand.
func (i *importing) summary(s *rest.Import, t tally) {
	i.progress.end()
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
		{t.Ingetrokken, "ingetrokken: er staat geen signaal"},
		{t.Expired, "verlopen: er staat geen signaal meer"},
		{t.InDeWacht, "nog in de wacht"},
		{s.AantalRegels - s.Aangenomen, "nog niet aangeleverd"},
	} {
		if line.n > 0 {
			fmt.Fprintf(i.stdout, "%10s  %s\n", thousands(line.n), line.what)
		}
	}
	switch {
	case i.out != "":
		fmt.Fprintf(i.stdout, "De uitkomst van elke regel staat in %s.\n", i.out)
	case t.missing()+t.Volwassen+t.NietGesignaleerd > 0:
		fmt.Fprintln(i.stdout, "Welke regels dat zijn: dezelfde opdracht nog eens, zonder -opnieuw en met -uitkomst BESTAND.csv.")
	}
	if s.Toestand == rest.ImportToestandKlaar && t.missing() > 0 {
		fmt.Fprintln(i.stdout, "Om hetzelfde bestand nog eens aan te melden: dezelfde opdracht met -opnieuw. Een hersteld bestand is vanzelf een nieuwe import.")
	}
	fmt.Fprintf(i.stdout, "id %s\n", s.Id)
}

// outcomes asks how each row stands, counts them, and writes a line for each if there
// is a file for it, which is there whole or not at all.
func (i *importing) outcomes(s *rest.Import) (t tally, err error) {
	to := io.Discard
	if i.outFile != nil {
		to = i.outFile
	}
	form, err := i.rows(io.Discard)
	if err != nil {
		return t, err
	}
	if form.mark {
		if _, err := to.Write(utf8Mark); err != nil {
			return t, err
		}
	}
	w := csv.NewWriter(to)
	w.Comma = form.comma
	w.Write(outcomeColumns)
	for after := 0; after < s.Aangenomen; {
		page, err := i.page(s.Id, after)
		if err != nil {
			return t, err
		}
		for _, r := range page {
			t.count(r)
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
		i.progress.show("Uitkomst lezen", after, s.Aangenomen, 0, 0)
	}
	w.Flush()
	if err := w.Error(); err != nil || i.outFile == nil {
		return t, err
	}
	if err := i.outFile.Close(); err != nil {
		return t, err
	}
	return t, os.Rename(i.outFile.Name(), i.out)
}

// page asks for rows behind one.
func (i *importing) page(id string, after int) (rows []rest.Regel, err error) {
	err = i.insist(func() (bool, error) {
		resp, err := i.client.LijstRegelsWithResponse(i.ctx, id, &rest.LijstRegelsParams{Na: after, Aantal: gateway.MaxRows})
		if err != nil {
			return true, unreachable(err)
		}
		if resp.JSON200 == nil {
			return resp.StatusCode() >= http.StatusInternalServerError, i.refusal(resp.Body, rest.ProblemIn(resp.Body))
		}
		rows = resp.JSON200.Items
		return false, nil
	})
	if err == nil && len(rows) == 0 {
		err = errors.New("de poort bewaart de regels van deze import niet meer")
	}
	return rows, err
}
