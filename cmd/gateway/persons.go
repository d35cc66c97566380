// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/gateway/rest"
)

// readReport reads a report from a file; what flags say goes before what the file
// says.
func readReport(path string, terms rest.NieuweMelding) (rest.NieuweMelding, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return terms, err
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // as spreadsheets write it
	body := rest.NieuweMelding{}
	switch strings.ToLower(filepath.Ext(path)) {
	case ".json":
		err = encoding.UnmarshalJSON(text, &body)
	case ".csv":
		body.Personen, err = parseCSV(text)
	default:
		return terms, usageError("report leest .json en .csv; gateway report -h legt het uit")
	}
	if err != nil {
		return terms, fmt.Errorf("%s: %w", path, err)
	}
	if terms.Kenmerk != "" {
		body.Kenmerk = terms.Kenmerk
	}
	if terms.Hulpverlener != "" {
		body.Hulpverlener = terms.Hulpverlener
	}
	body.Afgeschermd = body.Afgeschermd || terms.Afgeschermd
	if terms.TermijnDagen != 0 {
		body.TermijnDagen = terms.TermijnDagen
	}
	if terms.Contactkaart != (rest.Contactkaart{}) {
		body.Contactkaart = terms.Contactkaart
	}
	return body, nil
}

var errColumns = errors.New("de eerste regel noemt de kolommen: nummersoort, nummer, geboortedatum, rol, kenmerk; elk hooguit eens")

// parseCSV reads persons, one a line under a line of column names, split by commas
// or, as Dutch spreadsheets write them, semicolons. Errors name the line and never
// what stands on it.
func parseCSV(text []byte) ([]rest.Persoon, error) {
	head, _, _ := bytes.Cut(text, []byte("\n"))
	r := csv.NewReader(bytes.NewReader(text))
	if bytes.Count(head, []byte(";")) > bytes.Count(head, []byte(",")) {
		r.Comma = ';'
	}
	r.TrimLeadingSpace = true
	columns, err := r.Read()
	if err != nil {
		return nil, errColumns
	}
	seen := map[string]bool{}
	for i, name := range columns {
		name = strings.ToLower(strings.TrimSpace(name))
		if columns[i] = name; field(&rest.Persoon{}, name) == nil || seen[name] {
			return nil, errColumns
		}
		seen[name] = true
	}
	persons := []rest.Persoon{}
	for {
		cells, err := r.Read()
		if err == io.EOF {
			return persons, nil
		}
		if err != nil {
			line := 0
			if e, ok := errors.AsType[*csv.ParseError](err); ok {
				line = e.Line
			}
			return nil, fmt.Errorf("regel %d heeft een ander aantal kolommen dan de eerste, of een aanhalingsteken te veel", line)
		}
		var p rest.Persoon
		for i, cell := range cells {
			*field(&p, columns[i]) = strings.TrimSpace(cell)
		}
		persons = append(persons, p)
	}
}

func field(p *rest.Persoon, column string) *string {
	switch column {
	case "nummersoort":
		return &p.Nummersoort
	case "nummer":
		return &p.Nummer
	case "geboortedatum":
		return &p.Geboortedatum
	case "rol":
		return &p.Rol
	case "kenmerk":
		return &p.Kenmerk
	}
	return nil
}
