// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/gateway/rest"
)

// asGateway has this test program be the gateway instead, as a process that can be
// killed.
const asGateway = "SEINHUIS_TEST_AS_GATEWAY"

func TestMain(m *testing.M) {
	if os.Getenv(asGateway) != "" {
		if fault := os.Getenv(withFault); fault != "" {
			disk = faulty(fault)
		}
		main()
	}
	os.Exit(m.Run())
}

// numbers are n numbers that pass the 11-test, in a range given to nobody.
func numbers(n int) (list []string) {
	for i := 900_000_000; len(list) < n; i++ {
		s := fmt.Sprint(i)
		sum := -int(s[8] - '0')
		for j := range 8 {
			sum += int(s[j]-'0') * (9 - j)
		}
		if sum%11 == 0 {
			list = append(list, s)
		}
	}
	return list
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// outcomesOf reads what -uitkomst wrote, without its line of columns.
func outcomesOf(t *testing.T, path string, comma rune) [][]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, utf8Mark)))
	r.Comma = comma
	rows, err := r.ReadAll()
	if err != nil || len(rows) == 0 || rows[0][0] != "volgnummer" {
		t.Fatalf("%v in\n%s", err, text)
	}
	return rows[1:]
}

func (c *counter) imports(t *testing.T, i int) []rest.Import {
	t.Helper()
	client, err := (&console{url: c.url, token: filepath.Join(c.KeysOf(i), "token")}).client()
	if err != nil {
		t.Fatal(err)
	}
	list, err := client.LijstImportenWithResponse(t.Context(), nil)
	if err != nil || list.JSON200 == nil {
		t.Fatalf("%v %s", err, list.Body)
	}
	return list.JSON200.Items
}

func TestImportFromAFile(t *testing.T) {
	c := serveWorld(t, 0)
	ns := numbers(8)
	out := filepath.Join(t.TempDir(), "uit.csv")
	file := write(t, "leden.csv", "\xef\xbb\xbfNummer;Geboortedatum;Kenmerk;Hulpverlener;TermijnDagen;rol\r\n"+
		ns[0]+";"+birth+";K-1;;;\r\n"+
		"\""+ns[1]+"\";"+birth+";\"Z\u00e9; groep 8\";bakker;100;kind\r\n"+
		";;;;;\r\n"+
		ns[0]+";"+birth+";K-1;;;\r\n"+
		";2015-01-01;K-3;;;broerZus\r\n"+
		ns[2]+";1985-01-01;K-4;;;ouder\r\n"+
		"123456789;06-05-2012;K-5;;;\r\n"+
		ns[3]+";"+birth+";"+ns[3]+";;;\r\n")
	args := []string{"import", file, "-hulpverlener", "vt", "-uitkomst", out}
	stdout, stderr, exitCode := c.call(0, "", args...)
	if exitCode != exitRefused {
		t.Fatalf("exit %d\n%s%s", exitCode, stdout, stderr)
	}
	for _, says := range []string{
		"Klaar sinds ", " uur: alle regels hebben hun uitkomst.", " 7  regels\n", " 2  geregistreerd\n", " 1  samengevoegd", " 1  niet gesignaleerd",
		" 1  geweigerd: 23 jaar of ouder\n", " 2  geweigerd om een fout", "staat in " + out,
	} {
		if !strings.Contains(stdout, says) {
			t.Errorf("it does not say %q:\n%s", says, stdout)
		}
	}
	if !strings.Contains(stderr, "Aangeleverd: 7 regels") {
		t.Errorf("no progress: %s", stderr)
	}
	got := outcomesOf(t, out, ';')
	want := [][]string{
		{"1", "K-1", ""}, {"2", "Z\u00e9; groep 8", "geregistreerd"}, {"3", "K-1", ""}, {"4", "K-3", "nietGesignaleerd"},
		{"5", "K-4", "geweigerd"}, {"6", "K-5", "geweigerd"}, {"7", "", "geweigerd"},
	}
	for i, w := range want {
		if g := got[i]; g[0] != w[0] || g[1] != w[1] || w[2] != "" && g[2] != w[2] || g[3] == "" {
			t.Errorf("row %d is %q", i+1, g)
		}
	}
	if both := []string{got[0][2], got[2][2]}; !slices.Contains(both, "geregistreerd") || !slices.Contains(both, "samengevoegd") {
		t.Errorf("the child that is there twice is %q", both)
	}
	if f := got[5][4]; !strings.Contains(f, "nummer: Dit nummer bestaat niet") || !strings.Contains(f, "geboortedatum: Deze datum bestaat niet") {
		t.Errorf("row 6 says %q", f)
	}
	text, err := os.ReadFile(out)
	if err != nil || !bytes.HasPrefix(text, utf8Mark) {
		t.Errorf("the outcomes are not written as the file is (%v)", err)
	}
	for _, n := range append(ns, "123456789") {
		if strings.Contains(stdout+stderr+string(text)+c.log.String(), n) {
			t.Error("a number is repeated")
		}
	}

	again, _, exitCode := c.call(0, "", append(args, "--json")...)
	var s rest.Import
	if err := json.Unmarshal([]byte(again), &s); err != nil || exitCode != exitRefused || s.Tellingen.Geregistreerd != 2 || len(c.imports(t, 0)) != 1 {
		t.Errorf("the same file again: exit %d (%v)\n%s", exitCode, err, again)
	}
	if _, stderr, exitCode := c.call(0, "", "import", file, "-hulpverlener", "vt", "-termijn", "9"); exitCode != exitFailed || !strings.Contains(stderr, "andere -hulpverlener") {
		t.Errorf("the same file under other terms: exit %d %s", exitCode, stderr)
	}
	if _, _, exitCode := c.call(0, "", "import", file, "-hulpverlener", "vt", "-uitkomst", file); exitCode != exitUsage {
		t.Errorf("the outcomes over the file itself: exit %d", exitCode)
	}

	// Nothing that can be mended: then it is well.
	lines := write(t, "leden.ndjson", `{"nummer":"`+ns[4]+`","geboortedatum":"`+birth+`","kenmerk":"L-1","hulpverlener":"jansen","contactkaart":{"naam":"A. Jansen","telefoon":"1"}}

{"nummer":"`+ns[0]+`","geboortedatum":"`+birth+`","kenmerk":"L-2","hulpverlener":"jansen","termijnDagen":9}
{"nummer":"","kenmerk":"L-3","hulpverlener":"jansen"}
{"nummersoort":"bsn","nummer":"`+ns[5]+`","geboortedatum":"1985-01-01","kenmerk":"L-4","hulpverlener":"jansen"}
`)
	stdout, stderr, exitCode = c.call(0, "", "import", lines, "-uitkomst", out)
	if exitCode != 0 || !strings.Contains(stdout, " 1  geregistreerd\n") || !strings.Contains(stdout, " 1  samengevoegd") {
		t.Errorf("exit %d\n%s%s", exitCode, stdout, stderr)
	}
	if rows := outcomesOf(t, out, ','); len(rows) != 4 || rows[3][0] != "4" || rows[3][1] != "L-4" {
		t.Errorf("%q", rows)
	}
}

// A file with a fault is refused before anything is sent, and the fault is named by
// line and column.
func TestImportRefusesFiles(t *testing.T) {
	c := serveWorld(t, 0)
	good := "nummer,geboortedatum,kenmerk\n" + number + "," + birth + ",K-1\n"
	for _, x := range []struct{ name, file, text, says string }{
		{"unknown_column", "a.csv", "nummer,naam,kenmerk\n", "regel 1, kolom 2 "},
		{"column_twice", "a.csv", "nummer;kenmerk;nummer\n", "regel 1, kolom 3: de naam nummer"},
		{"no_number_column", "a.csv", "kenmerk\nK-1\n", "kolom nummer ontbreekt"},
		{"no_reference_column", "a.csv", "nummer\n" + number + "\n", "kolom kenmerk ontbreekt"},
		{"ragged", "a.csv", good + number + ",K-2\n", "regel 3 heeft een ander aantal kolommen dan de kopregel, die er 3 heeft"},
		{"quote", "a.csv", good + number + "," + birth + ",\"K\"2\n", "regel 3, positie 24: een aanhalingsteken"},
		{"encoding", "a.csv", good + number + "," + birth + ",Z\xe9\n", "regel 3, kolom kenmerk: deze tekens zijn geen UTF-8"},
		{"utf16", "a.csv", "\xff\xfen\x00u\x00", "UTF-16"},
		{"term", "a.csv", "nummer,kenmerk,termijnDagen\n,K-1,\n,K-2," + number + "x\n", "regel 3, kolom termijndagen: hier staat geen heel getal"},
		{"empty", "a.csv", "", "het bestand is leeg"},
		{"no_rows", "a.csv", "nummer,kenmerk\n\n,\n", "er staan geen regels in"},
		{"text_file", "a.txt", good, ".csv en .ndjson"},
		{"no_json", "a.ndjson", "{}\n{\"nummer\":" + number + "\n", "regel 2 is niet"},
		{"unknown_field", "a.ndjson", `{"` + number + `":"x"}`, "regel 1 heeft een veld dat er niet hoort"},
		{"wrong_case", "a.ndjson", `{"Nummer":"` + number + `"}`, "regel 1: schrijf de naam van het veld nummer zoals hier"},
		{"wrong_type", "a.ndjson", "{}\n\n" + `{"nummer":` + number + `}`, "regel 3, veld nummer: de waarde is van een verkeerd type"},
		{"wrong_term", "a.ndjson", `{"termijnDagen":"` + number + `"}`, "regel 1, veld termijnDagen"},
		{"field_twice", "a.ndjson", `{"kenmerk":"` + number + `","kenmerk":"b"}`, "regel 1 is niet"},
		{"two_on_a_line", "a.ndjson", "{} {}\n", "regel 1 is niet"},
		{"long_line", "a.ndjson", "{}\n{\"kenmerk\":\"" + strings.Repeat("x", maxLine) + "\"}\n", "regel 2 is te lang"},
		{"long_row", "a.csv", good + number + "," + birth + "," + strings.Repeat("<", 3_000) + "\n", "regel 3: deze rij is te lang; maak"},
		{"long_row_of_ndjson", "a.ndjson", "{}\n{\"kenmerk\":\"" + strings.Repeat("<", 3_000) + "\"}\n", "regel 2: deze rij is te lang; maak"},
		{"endless_row", "a.csv", good + "\"a\nb\",," + "\n" + number + "," + birth + "," + strings.Repeat("<", 200_000) + "\n", "regel 5: deze rij is te lang; maak"},
		{"open_quote", "a.csv", good + number + "," + birth + ",\"" + strings.Repeat("K\n", maxLine) + "\n", "regel 3: deze rij is te lang; maak"},
		{"broken_utf8", "a.ndjson", "{\"kenmerk\":\"Z\xe9\"}", "regel 1: deze tekens"},
	} {
		t.Run("rejects/"+x.name, func(t *testing.T) {
			stdout, stderr, exitCode := c.call(0, "", "import", write(t, x.file, x.text), "-hulpverlener", "vt")
			if exitCode != exitFailed && exitCode != exitUsage || !strings.Contains(stderr, x.says) {
				t.Errorf("exit %d: %s%s", exitCode, stdout, stderr)
			}
			if strings.Contains(stderr, number) {
				t.Error("the error repeats a number")
			}
		})
	}
	t.Run("rejects/no_owner", func(t *testing.T) {
		_, stderr, exitCode := c.call(0, "", "import", write(t, "a.csv", good))
		if exitCode != exitFailed || !strings.Contains(stderr, "kolom hulpverlener ontbreekt") {
			t.Errorf("exit %d: %s", exitCode, stderr)
		}
	})
	if list := c.imports(t, 0); len(list) != 0 {
		t.Errorf("%d imports were begun", len(list))
	}
}

// A door stands before a gateway, and does something when the n-th chunk has
// passed: the gateway has it, and the answer gets lost.
type door struct {
	*httptest.Server
	mu     sync.Mutex
	target string
	chunks int
	at     int
	then   func()
}

func newDoor(t *testing.T, target string, at int, then func()) *door {
	t.Helper()
	d := &door{target: target, at: at, then: then}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			d.mu.Lock()
			defer d.mu.Unlock()
			to, err := url.Parse(d.target)
			if err != nil {
				panic(err)
			}
			r.SetURL(to)
		},
		ModifyResponse: func(resp *http.Response) error {
			if resp.Request.Method != http.MethodPost || !strings.HasSuffix(resp.Request.URL.Path, "/regels") {
				return nil
			}
			d.mu.Lock()
			d.chunks++
			hit := d.chunks == d.at
			d.mu.Unlock()
			if hit {
				d.then()
				return errors.New("the answer is lost")
			}
			return nil
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	d.Server = httptest.NewServer(proxy)
	d.Config.ErrorLog = nil
	t.Cleanup(d.Close)
	return d
}

func (d *door) lead(to string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.target = to
}

// aFile has rows for four chunks; one row in twenty is a child, and all else is
// refused at once.
func aFile(t *testing.T) (path string, children []string) {
	t.Helper()
	const rows = 1700
	children = numbers(rows / 20)
	var text strings.Builder
	text.WriteString("nummer,geboortedatum,kenmerk\n")
	for i := range rows {
		n := "123456789"
		if i%20 == 0 {
			n = children[i/20]
		}
		fmt.Fprintf(&text, "%s,%s,K-%d\n", n, birth, i+1)
	}
	return write(t, "leden.csv", text.String()), children
}

// wholly holds that an import has each row once, and that the other party was told
// of each of its children once.
func (c *counter) wholly(t *testing.T, children int) {
	t.Helper()
	list := c.imports(t, 0)
	if len(list) != 1 || list[0].Tellingen != (rest.Tellingen{Geregistreerd: children, Geweigerd: list[0].AantalRegels - children}) {
		t.Errorf("the imports are %+v", list)
	}
	p, _, exitCode := c.call(1, "", "inbox", "-wacht", "30", "-aantal", "200", "--json")
	var messages rest.Berichten
	if err := json.Unmarshal([]byte(p), &messages); err != nil || exitCode != 0 {
		t.Fatalf("exit %d %v", exitCode, err)
	}
	told := map[string]int{}
	for _, m := range messages.Items {
		told[m.Signalen[0].Kenmerk+string(m.Soort)+m.Ander.Contactkaart.Afdeling]++
	}
	for i := range 4 {
		if told[fmt.Sprintf("B-%daangeslotenBalie 0", i)] != 1 {
			t.Errorf("the other party was told %v", told)
		}
	}
}

func (c *counter) signalsOfTheOther(t *testing.T, children []string) {
	t.Helper()
	for i := range 4 {
		if _, stderr, exitCode := c.call(1, children[i*20], "signal", "-nummer", "-", "-geboortedatum", birth, "-kenmerk", fmt.Sprint("B-", i), "-hulpverlener", "b", "-wacht", "30"); exitCode != 0 {
			t.Fatalf("exit %d %s", exitCode, stderr)
		}
	}
}

func TestImportGoesOnWhereItWasLeft(t *testing.T) {
	c := serveWorld(t, 0, 1)
	file, children := aFile(t)
	c.signalsOfTheOther(t, children)
	out := filepath.Join(t.TempDir(), "uit.csv")
	direct := c.url
	ctx, cancel := context.WithCancel(t.Context())
	c.url = newDoor(t, direct, 2, cancel).URL
	_, stderr, exitCode := c.callUntil(ctx, 0, "", "import", file, "-hulpverlener", "vt")
	if exitCode != exitQueued || !strings.Contains(stderr, "Afgebroken. De poort gaat verder") {
		t.Fatalf("exit %d %s", exitCode, stderr)
	}
	c.url = direct
	if list := c.imports(t, 0); len(list) != 1 || list[0].Aangenomen != 1000 || list[0].Toestand != rest.ImportToestandAanleveren {
		t.Fatalf("the gateway has %+v", list)
	}
	stdout, stderr, exitCode := c.call(0, "", "import", file, "-hulpverlener", "vt", "-uitkomst", out)
	if exitCode != exitRefused || !strings.Contains(stderr, "had al 1.000 van de 1.700 regels") || !strings.Contains(stderr, "Aangeleverd: 700 regels") {
		t.Errorf("exit %d %s%s", exitCode, stdout, stderr)
	}
	rows := outcomesOf(t, out, ',')
	if len(rows) != 1700 {
		t.Fatalf("%d outcomes", len(rows))
	}
	for i, r := range rows {
		want := "geweigerd"
		if i%20 == 0 {
			want = "geregistreerd"
		}
		if r[0] != fmt.Sprint(i+1) || r[1] != fmt.Sprint("K-", i+1) || r[2] != want {
			t.Errorf("row %d: %q", i+1, r)
		}
	}
	c.wholly(t, len(children))
}

// start runs the gateway as a process of its own.
func (c *counter) start(t *testing.T) (process *exec.Cmd, ended chan error) {
	t.Helper()
	c.log = &output{listening: make(chan map[string]string, 1)}
	process = exec.Command(os.Args[0], "serve", "-config", c.config)
	process.Env = append(os.Environ(), asGateway+"=1")
	process.Stderr = lines{c.log}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	ended = make(chan error, 1)
	go func() { ended <- process.Wait() }()
	t.Cleanup(func() { process.Process.Kill() })
	c.listens(t, ended)
	return process, ended
}

// lines passes each line by itself, as a process writes them anyhow.
type lines struct{ io.Writer }

func (l lines) Write(b []byte) (int, error) {
	for line := range bytes.Lines(b) {
		if _, err := l.Writer.Write(line); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

func TestImportOutlivesItsGateway(t *testing.T) {
	c := configureWorld(t, 0, 1)
	file, children := aFile(t)
	process, ended := c.start(t)
	c.signalsOfTheOther(t, children)
	killed := make(chan error, 1)
	d := newDoor(t, c.url, 2, func() { killed <- process.Process.Kill() })
	left := *c // who imports goes by the door, whoever is behind it
	left.url = d.URL
	type result struct {
		stdout, stderr string
		exitCode       int
	}
	done := make(chan result, 1)
	go func() {
		stdout, stderr, exitCode := left.call(0, "", "import", file, "-hulpverlener", "vt")
		done <- result{stdout, stderr, exitCode}
	}()
	if err := <-killed; err != nil {
		t.Fatal(err)
	}
	<-ended
	c.start(t)
	d.lead(c.url)
	r := <-done
	if r.exitCode != exitRefused || !strings.Contains(r.stderr, "De poort antwoordt niet") {
		t.Errorf("exit %d %s%s", r.exitCode, r.stdout, r.stderr)
	}
	c.wholly(t, len(children))
}

func TestImportIsLeftWaiting(t *testing.T) {
	c := serveWorld(t, 0)
	c.Registry.Set(gatewaytest.Away)
	file := write(t, "leden.csv", "nummer,geboortedatum,kenmerk\n"+number+","+birth+",K-1\n")
	stdout, stderr, exitCode := c.call(0, "", "import", file, "-hulpverlener", "vt", "-wacht", "0")
	if exitCode != exitQueued || !strings.Contains(stdout, " 1  nog in de wacht") {
		t.Errorf("exit %d %s%s", exitCode, stdout, stderr)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*askEvery)
	defer cancel()
	_, stderr, exitCode = c.callUntil(ctx, 0, "", "import", file, "-hulpverlener", "vt")
	if exitCode != exitQueued || !strings.Contains(stderr, "Afgebroken.") || strings.Count(stderr, "register onbereikbaar") != 1 {
		t.Errorf("left while it waits: exit %d %s", exitCode, stderr)
	}
	c.Registry.Set(gatewaytest.Works)
	if stdout, stderr, exitCode = c.call(0, "", "import", file, "-hulpverlener", "vt"); exitCode != 0 || !strings.Contains(stdout, " 1  geregistreerd") {
		t.Errorf("exit %d %s%s", exitCode, stdout, stderr)
	}
}

func TestProgress(t *testing.T) {
	var out strings.Builder
	p := &progress{w: &out, terminal: true}
	p.show("Aanleveren", 1_250, 1_000_000, 2_500, 0)
	p.show("Aanleveren", 1_251, 1_000_000, 2_500, 0) // too soon
	p.hold("Het register is weg.")
	p.hold("Het register is weg.")
	p.shown = time.Time{}
	p.show("Verwerken", 500_000, 1_000_000, 0, 2*time.Hour)
	p.end()
	p.end()
	want := "\r\x1b[KAanleveren: 1.250 van 1.000.000 regels (0 %), 2.500 per seconde, nog 7 min\nHet register is weg.\n" +
		"\r\x1b[KVerwerken: 500.000 van 1.000.000 regels (50 %), nog 2 u 00 min\n"
	if out.String() != want {
		t.Errorf("%q\n%q", out.String(), want)
	}
	out.Reset()
	p = newProgress(&out)
	p.show("Aanleveren", 1, 2, 1, 0) // not yet
	p.shown = time.Time{}
	p.show("Aanleveren", 1, 2, 1, 0)
	if out.String() != "Aanleveren: 1 van 2 regels (50 %), 1 per seconde, nog 1,0 s\n" {
		t.Errorf("%q", out.String())
	}
	for d, want := range map[time.Duration]string{
		400 * time.Millisecond: "0,4 s", 59 * time.Second: "59 s", 10 * time.Minute: "10 min", 100 * time.Minute: "1 u 40 min", 80 * time.Hour: "3 dagen",
	} {
		if got := spell(d); got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
	}
}

// What parses as rows has one row per line of the file, and every error keeps what
// stands in it to itself.
func FuzzRows(f *testing.F) {
	f.Add(true, "nummersoort,nummer,geboortedatum,rol,kenmerk,termijnDagen\nbsn,900000016,2012-05-06,kind,K-1,9\n")
	f.Add(true, "nummer;kenmerk\r\n900000016;\xe9\r\n")
	f.Add(true, "nummer,kenmerk,termijnDagen\n,,900000016x\n")
	f.Add(true, "nummer,kenmerk\n\"900000016\n")
	f.Add(false, `{"nummer":"900000016"}`)
	f.Add(false, `{"900000016":1}`)
	f.Add(false, "{\"Nummer\":900000016}\n{}")
	f.Fuzz(func(t *testing.T, isCSV bool, text string) {
		path := "a.ndjson"
		if isCSV {
			path = "a.csv"
		}
		rows, err := openRows(path, strings.NewReader(text), "bsn", "vt")
		count := 0
		for err == nil {
			if _, err = rows.next(); err == nil {
				count++
			}
		}
		if strings.Contains(err.Error(), number) {
			t.Errorf("the error repeats the number: %v", err)
		}
		if lines := strings.Count(text, "\n") + strings.Count(text, "\r") + 1; count > lines {
			t.Errorf("%d rows from %d lines", count, lines)
		}
	})
}

// The same file again says how its rows stand now, and since when it is done; a new
// round of it signals them again.
func TestImportOfAFileThatIsDone(t *testing.T) {
	c := serveWorld(t, 0)
	file := write(t, "leden.csv", "nummer,geboortedatum,kenmerk\n"+number+","+birth+",K-1\n")
	out := filepath.Join(t.TempDir(), "uit.csv")
	args := []string{"import", file, "-hulpverlener", "vt"}
	if stdout, stderr, exitCode := c.call(0, "", append(args, "-uitkomst", out)...); exitCode != 0 {
		t.Fatalf("exit %d %s%s", exitCode, stdout, stderr)
	}
	id := outcomesOf(t, out, ',')[0][6]
	if _, stderr, exitCode := c.call(0, "", "withdraw", id, "-reden", "vergissing", "-wacht", "20"); exitCode != 0 {
		t.Fatalf("exit %d %s", exitCode, stderr)
	}
	stdout, stderr, exitCode := c.call(0, "", args...)
	if exitCode != exitRefused || !strings.Contains(stdout, "Klaar sinds ") || !strings.Contains(stdout, " 1  ingetrokken") ||
		strings.Contains(stdout, "geregistreerd") || !strings.Contains(stdout, "met -opnieuw") {
		t.Errorf("after the withdrawal: exit %d\n%s%s", exitCode, stdout, stderr)
	}
	stdout, _, exitCode = c.call(0, "", append(args, "--json")...)
	var now struct {
		Ronde int
		Nu    struct{ Geregistreerd, Ingetrokken int }
	}
	if err := json.Unmarshal([]byte(stdout), &now); err != nil || exitCode != exitRefused || now.Ronde != 1 || now.Nu.Ingetrokken != 1 || now.Nu.Geregistreerd != 0 {
		t.Errorf("exit %d (%v) %s", exitCode, err, stdout)
	}

	// A new round; and left while it waits, it is gone on with.
	c.Registry.Set(gatewaytest.Away)
	if stdout, stderr, exitCode := c.call(0, "", append(args, "-opnieuw", "-wacht", "0")...); exitCode != exitQueued || !strings.Contains(stdout, " 1  nog in de wacht") {
		t.Errorf("a new round: exit %d\n%s%s", exitCode, stdout, stderr)
	}
	c.Registry.Set(gatewaytest.Works)
	for _, again := range [][]string{args, append(args, "-uitkomst", out)} {
		if stdout, stderr, exitCode := c.call(0, "", again...); exitCode != 0 || !strings.Contains(stdout, " 1  geregistreerd") {
			t.Errorf("the round again: exit %d\n%s%s", exitCode, stdout, stderr)
		}
	}
	if rows := outcomesOf(t, out, ','); rows[0][2] != "geregistreerd" || rows[0][6] == id {
		t.Errorf("%q", rows)
	}
	if list := c.imports(t, 0); len(list) != 2 || list[0].Ronde != 2 {
		t.Errorf("%+v", list)
	}
}

// Rows that are longer as they are sent than in the file go in smaller chunks.
func TestImportSendsRowsThatGrow(t *testing.T) {
	c := serveWorld(t, 0)
	file := write(t, "leden.csv", "nummer,geboortedatum,kenmerk\n"+strings.Repeat(number+","+birth+","+strings.Repeat("<", 2_000)+"\n", 200))
	stdout, stderr, exitCode := c.call(0, "", "import", file, "-hulpverlener", "vt")
	if exitCode != exitRefused || !strings.Contains(stdout, " 200  geweigerd om een fout") {
		t.Errorf("exit %d\n%s%s", exitCode, stdout, stderr)
	}
}

func TestOutcomesTakeThePlaceOfNothingElse(t *testing.T) {
	c := serveWorld(t, 0)
	file := write(t, "leden.ndjson", `{"nummer":"`+number+`","geboortedatum":"`+birth+`","kenmerk":"K-1"}`+"\n")
	other := write(t, "leden.csv", "nummer;kenmerk\nde enige bron\n")
	for name, x := range map[string]struct {
		out      string
		exitCode int
	}{
		"another_file": {other, exitUsage},
		"no_folder":    {filepath.Join(t.TempDir(), "weg", "uit.csv"), exitFailed},
		"folder":       {t.TempDir(), exitUsage},
	} {
		t.Run("rejects/"+name, func(t *testing.T) {
			if _, stderr, exitCode := c.call(0, "", "import", file, "-hulpverlener", "vt", "-uitkomst", x.out); exitCode != x.exitCode {
				t.Errorf("exit %d %s", exitCode, stderr)
			}
		})
	}
	if text, err := os.ReadFile(other); err != nil || !strings.Contains(string(text), "de enige bron") {
		t.Errorf("it is overwritten (%v)", err)
	}
	if list := c.imports(t, 0); len(list) != 0 {
		t.Errorf("%d imports were begun", len(list))
	}
	for name, text := range map[string]string{"empty": "", "earlier": "\xef\xbb\xbfvolgnummer;kenmerk;uitkomst;uitleg;fouten;waarschuwingen;id\n1;oud\n"} {
		out := write(t, name, text)
		if _, stderr, exitCode := c.call(0, "", "import", file, "-hulpverlener", "vt", "-uitkomst", out); exitCode != 0 {
			t.Errorf("%s: exit %d %s", name, exitCode, stderr)
		}
		if rows := outcomesOf(t, out, ','); len(rows) != 1 || rows[0][1] != "K-1" {
			t.Errorf("%s: %q", name, rows)
		}
		if files, err := os.ReadDir(filepath.Dir(out)); err != nil || len(files) != 1 {
			t.Errorf("%d files are left (%v)", len(files), err)
		}
	}
}

// Of a file that changes on the way, no row goes under the name of what it was.
func TestImportOfAFileThatChanges(t *testing.T) {
	c := serveWorld(t, 0)
	file, _ := aFile(t)
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	direct := c.url
	c.url = newDoor(t, direct, 1, func() {
		if err := os.WriteFile(file, bytes.ReplaceAll(before, []byte("K-"), []byte("L-")), 0o600); err != nil {
			t.Error(err)
		}
	}).URL
	_, stderr, exitCode := c.call(0, "", "import", file, "-hulpverlener", "vt")
	c.url = direct
	if exitCode != exitFailed || !strings.Contains(stderr, "is veranderd terwijl het werd gelezen") {
		t.Errorf("exit %d %s", exitCode, stderr)
	}
	if list := c.imports(t, 0); len(list) != 1 || list[0].Aangenomen != 500 {
		t.Errorf("the gateway has %+v", list)
	}
	if _, stderr, exitCode := c.call(0, "", "import", file, "-hulpverlener", "vt"); exitCode != exitRefused || strings.Contains(stderr, "De poort had al") {
		t.Errorf("the changed file: exit %d %s", exitCode, stderr)
	}
	if list := c.imports(t, 0); len(list) != 2 || list[0].Aangenomen != 1700 || list[1].Aangenomen != 500 {
		t.Errorf("the gateway has %+v", list)
	}
}
