// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/gateway/rest"
)

// maxLine is how long a line of NDJSON, or a row of CSV, may be in bytes; a row with a
// card is a thousand.
const maxLine = 64 << 10

var utf8Mark = []byte("\xef\xbb\xbf") // as spreadsheets write it

// A rowFile reads the rows of an import from a CSV or NDJSON file one by one, so
// that the file is never in memory. Its errors name line and column, and what to
// do, and never what stands there.
type rowFile struct {
	next func() (json.RawMessage, error) // a row as it is sent; io.EOF behind the last

	// How the file is written, for an answer in the same form.
	comma rune
	mark  bool
}

// openRows reads what stands before the first row. What rows without a column say
// of the kind of number and who signals is given.
func openRows(path string, r io.Reader, kind, owner string) (*rowFile, error) {
	in := bufio.NewReaderSize(r, 1<<16)
	f := &rowFile{comma: ','}
	head, err := in.Peek(len(utf8Mark))
	if bytes.Equal(head, utf8Mark) {
		f.mark = true
		in.Discard(len(utf8Mark))
	} else if len(head) >= 2 && (head[0] == 0xff && head[1] == 0xfe || head[0] == 0xfe && head[1] == 0xff) {
		return nil, errors.New("het bestand is UTF-16; bewaar het als CSV UTF-8")
	} else if err != nil && err != io.EOF {
		return nil, err
	}
	switch strings.ToLower(filepath.Ext(path)) {
	case ".csv":
		err = f.openCSV(in, kind, owner)
	case ".ndjson":
		f.openNDJSON(in, kind)
	default:
		err = usageError("import leest .csv en .ndjson; gateway import -h legt het uit")
	}
	return f, err
}

// rowColumns are the columns of a row, by their name in lower case.
var rowColumns = []string{"nummersoort", "nummer", "geboortedatum", "rol", "kenmerk", "hulpverlener", "termijndagen"}

func rowField(r *rest.NieuweRegel, column string) *string {
	switch column {
	case "nummersoort":
		return &r.Nummersoort
	case "nummer":
		return &r.Nummer
	case "geboortedatum":
		return &r.Geboortedatum
	case "rol":
		return &r.Rol
	case "kenmerk":
		return &r.Kenmerk
	case "hulpverlener":
		return &r.Hulpverlener
	}
	return nil
}

func (f *rowFile) openCSV(in *bufio.Reader, kind, owner string) error {
	// The first line decides on the separator; a longer one is no line of columns.
	head, _ := in.Peek(4096)
	head, _, _ = bytes.Cut(head, []byte("\n"))
	if bytes.Count(head, []byte(";")) > bytes.Count(head, []byte(",")) {
		f.comma = ';'
	}
	source := &oneRow{r: in, left: maxLine}
	r := csv.NewReader(source)
	r.Comma, r.TrimLeadingSpace, r.ReuseRecord = f.comma, true, true
	line := 1 // about where the next row begins
	read := func() ([]string, error) {
		source.left = maxLine
		cells, err := r.Read()
		if errors.Is(err, errLong) {
			return nil, longRow(line)
		} else if err == nil {
			line, _ = r.FieldPos(len(cells) - 1)
			line += strings.Count(cells[len(cells)-1], "\n") + 1
		}
		return cells, err
	}
	first, err := read()
	if errors.Is(err, io.EOF) {
		return errors.New("het bestand is leeg; de eerste regel noemt de kolommen")
	} else if err != nil {
		return csvFault(err, len(rowColumns))
	}
	columns := make([]string, len(first))
	for i, name := range first {
		name = strings.ToLower(strings.TrimSpace(name))
		if !slices.Contains(rowColumns, name) {
			return fmt.Errorf("regel 1, kolom %d heeft geen naam die hier hoort; de kolommen zijn %s", i+1, columnNames)
		}
		if slices.Contains(columns, name) {
			return fmt.Errorf("regel 1, kolom %d: de naam %s staat er twee keer; laat er een weg", i+1, name)
		}
		columns[i] = name
	}
	for _, needed := range []string{"nummer", "kenmerk"} {
		if !slices.Contains(columns, needed) {
			return fmt.Errorf("regel 1: de kolom %s ontbreekt; de kolommen zijn %s", needed, columnNames)
		}
	}
	if owner == "" && !slices.Contains(columns, "hulpverlener") {
		return errors.New("regel 1: de kolom hulpverlener ontbreekt; voeg haar toe, of zeg met -hulpverlener wie signaleert")
	}
	if slices.Contains(columns, "nummersoort") {
		kind = ""
	}
	f.next = func() (json.RawMessage, error) {
		for {
			cells, err := read()
			if errors.Is(err, io.EOF) {
				return nil, err
			} else if err != nil {
				return nil, csvFault(err, len(columns))
			}
			if !slices.ContainsFunc(cells, func(cell string) bool { return cell != "" }) {
				continue // a spreadsheet's empty line is separators only
			}
			row := rest.NieuweRegel{Nummersoort: kind}
			for i, cell := range cells {
				line, _ := r.FieldPos(i)
				if !utf8.ValidString(cell) {
					return nil, fmt.Errorf("regel %d, kolom %s: deze tekens zijn geen UTF-8; bewaar het bestand als CSV UTF-8", line, columns[i])
				}
				cell = strings.TrimSpace(cell)
				if field := rowField(&row, columns[i]); field != nil {
					*field = cell
				} else if cell != "" {
					days, err := strconv.Atoi(cell)
					if err != nil {
						return nil, fmt.Errorf("regel %d, kolom %s: hier staat geen heel getal; geef het aantal dagen, of niets", line, columns[i])
					}
					row.TermijnDagen = days
				}
			}
			begins, _ := r.FieldPos(0)
			return sent(row, begins)
		}
	}
	return nil
}

// sent gives a row, which stands on that line, as it is sent. One that the gateway
// would not take stops the file before anything is sent.
func sent(row rest.NieuweRegel, line int) (json.RawMessage, error) {
	text, err := json.Marshal(row)
	if err == nil && len(text) > maxRow {
		err = longRow(line)
	}
	return text, err
}

func longRow(line int) error {
	return fmt.Errorf("regel %d: deze rij is te lang; maak de teksten korter, en kijk of er een aanhalingsteken te veel staat", line)
}

// oneRow reads as far as a row may be long: behind a quote that nobody closed stands
// the rest of the file.
type oneRow struct {
	r    io.Reader
	left int
}

var errLong = errors.New("a row is too long")

func (o *oneRow) Read(b []byte) (int, error) {
	if o.left <= 0 {
		return 0, errLong
	}
	n, err := o.r.Read(b)
	o.left -= n
	return n, err
}

const columnNames = "nummersoort, nummer, geboortedatum, rol, kenmerk, hulpverlener en termijnDagen"

func csvFault(err error, columns int) error {
	e, ok := errors.AsType[*csv.ParseError](err)
	switch {
	case !ok:
		return err
	case errors.Is(e.Err, csv.ErrFieldCount):
		return fmt.Errorf("regel %d heeft een ander aantal kolommen dan de kopregel, die er %d heeft; zet een tekst met een scheidingsteken tussen aanhalingstekens", e.Line, columns)
	}
	return fmt.Errorf("regel %d, positie %d: een aanhalingsteken staat er verkeerd; zet de hele tekst tussen aanhalingstekens, en schrijf er een in de tekst dubbel", e.Line, e.Column)
}

func (f *rowFile) openNDJSON(in *bufio.Reader, kind string) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	number := 0
	f.next = func() (json.RawMessage, error) {
		for lines.Scan() {
			number++
			line := bytes.TrimSpace(lines.Bytes())
			if len(line) == 0 {
				continue
			}
			var row rest.NieuweRegel
			if encoding.UnmarshalJSON(line, &row) != nil {
				return nil, lineFault(line, number)
			}
			if row.Nummersoort == "" {
				row.Nummersoort = kind
			}
			return sent(row, number)
		}
		if errors.Is(lines.Err(), bufio.ErrTooLong) {
			return nil, fmt.Errorf("regel %d is te lang; zet elke rij als één JSON-object op een eigen regel", number+1)
		} else if lines.Err() != nil {
			return nil, lines.Err()
		}
		return nil, io.EOF
	}
}

// lineFault finds out what is wrong with a line of NDJSON.
func lineFault(line []byte, number int) error {
	var fields map[string]json.RawMessage
	if !utf8.Valid(line) {
		return fmt.Errorf("regel %d: deze tekens zijn geen UTF-8; bewaar het bestand als UTF-8", number)
	}
	if encoding.UnmarshalJSON(line, &fields) != nil {
		return fmt.Errorf("regel %d is niet één JSON-object waarin elk veld één keer staat", number)
	}
	for name, value := range fields {
		one, err := json.Marshal(map[string]json.RawMessage{name: value})
		var row rest.NieuweRegel
		if err != nil || encoding.UnmarshalJSON(one, &row) == nil {
			continue
		}
		switch lower := strings.ToLower(name); {
		case name == "contactkaart" || name == "termijnDagen" || name != "termijndagen" && slices.Contains(rowColumns, name):
			return fmt.Errorf("regel %d, veld %s: de waarde is van een verkeerd type; teksten staan tussen aanhalingstekens, termijnDagen is een heel getal", number, name)
		case slices.Contains(rowColumns, lower):
			return fmt.Errorf("regel %d: schrijf de naam van het veld %s zoals hier: %s of contactkaart", number, lower, columnNames)
		}
	}
	return fmt.Errorf("regel %d heeft een veld dat er niet hoort; de velden zijn %s, en contactkaart", number, columnNames)
}
