// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/gateway/rest"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/manifest"
)

// Numbers that pass the 11-test, in a range given to nobody.
const number, otherNumber = "900000016", "900000028"

// output gathers what a command writes, and tells when it listens.
type output struct {
	mu        sync.Mutex
	b         bytes.Buffer
	listening chan map[string]string
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var line map[string]string
	if o.listening != nil && json.Unmarshal(b, &line) == nil && line["msg"] == "listening" {
		o.listening <- line
	}
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// A counter is a served gateway and how to call it from the command line.
type counter struct {
	*gatewaytest.World
	url, metrics string
	config       string // the file
	log          *output
	stop         func() error
}

// serveWorld serves parties of a world by the command itself, on a real disk.
func serveWorld(t *testing.T, parties ...int) *counter {
	t.Helper()
	c := configureWorld(t, parties...)
	c.serve(t)
	return c
}

// serve serves what is configured, until the test ends or stops it.
func (c *counter) serve(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"serve", "-config", c.config}, strings.NewReader(""), io.Discard, c.log)
	}()
	c.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { c.stop() })
	c.listens(t, ended)
}

// listens waits until the gateway says that it listens.
func (c *counter) listens(t *testing.T, ended <-chan error) {
	t.Helper()
	select {
	case line := <-c.log.listening:
		c.url, c.metrics = "http://"+line["api"], "http://"+line["metrics"]
	case err := <-ended:
		c.stop = func() error { return err }
		t.Fatalf("serve ended: %v\n%s", err, c.log)
	case <-time.After(30 * time.Second):
		t.Fatalf("serve does not listen\n%s", c.log)
	}
}

// configureWorld writes the configuration of a gateway for parties of a world.
func configureWorld(t *testing.T, parties ...int) *counter {
	t.Helper()
	return configureWorldWith(t, func(*gateway.Config) {}, parties...)
}

// configureWorldWith has change set what else is wanted.
func configureWorldWith(t *testing.T, change func(*gateway.Config), parties ...int) *counter {
	t.Helper()
	c := &counter{World: gatewaytest.New(t, 2), log: &output{listening: make(chan map[string]string, 1)}}
	// The command has the real clock, and so must the rest.
	c.Advance(time.Since(c.Now()))
	config := c.Configure(parties...)
	config.Listen, config.Metrics, config.Data = "127.0.0.1:0", "127.0.0.1:0", filepath.Join(t.TempDir(), "data")
	change(&config)
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	c.config = filepath.Join(t.TempDir(), "gateway.json")
	if err := os.WriteFile(c.config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// call runs a command as party i; it gives what was printed and the exit code.
func (c *counter) call(i int, stdin string, args ...string) (stdout, stderr string, exitCode int) {
	return c.callUntil(context.Background(), i, stdin, args...)
}

// callUntil is call that ends, as by Ctrl-C, when ctx does.
func (c *counter) callUntil(ctx context.Context, i int, stdin string, args ...string) (stdout, stderr string, exitCode int) {
	args = slices.Concat(args, []string{"-url", c.url, "-token", filepath.Join(c.KeysOf(i), gateway.FileToken)})
	var out, errs bytes.Buffer
	err := run(ctx, args, strings.NewReader(stdin), &out, &errs)
	exitCode = code(err, &errs)
	return out.String(), errs.String(), exitCode
}

// birth is the birth date of somebody who is under 23 for years to come.
const birth = "2012-05-06"

func signalArgs(extra ...string) []string {
	return append([]string{"signal", "-nummer", "-", "-geboortedatum", birth, "-kenmerk", "A-1", "-hulpverlener", "jansen", "-wacht", "30"}, extra...)
}

func TestActsFromTheCommandLine(t *testing.T) {
	c := serveWorld(t, 0, 1)
	stdout, stderr, exitCode := c.call(0, number+"\n", signalArgs("-naam", "A. Jansen", "-telefoon", "+31 20 555 01 99")...)
	if exitCode != 0 || !strings.HasPrefix(stdout, "Geregistreerd. Nog geen match;") {
		t.Fatalf("exit %d\n%s%s%s", exitCode, stdout, stderr, c.log)
	}
	stdout, _, exitCode = c.call(1, number, signalArgs("--json")...)
	var made rest.Signaal
	if err := json.Unmarshal([]byte(stdout), &made); err != nil || exitCode != 0 || strings.Count(stdout, "\n") != 1 || *made.Anderen != 1 {
		t.Fatalf("exit %d (%v)\n%s", exitCode, err, stdout)
	}
	stdout, _, exitCode = c.call(1, "", "inbox", "-wacht", "30")
	if exitCode != 0 || !strings.Contains(stdout, "Organisatie 0 signaleert dit kind ook") || !strings.Contains(stdout, "A. Jansen") || !strings.Contains(stdout, "voorleescode") {
		t.Errorf("exit %d\n%s", exitCode, stdout)
	}
	stdout, _, exitCode = c.call(1, "", "matches", "--json")
	var list rest.Matches
	if err := json.Unmarshal([]byte(stdout), &list); err != nil || exitCode != 0 || len(list.Items) != 1 || strings.Contains(stdout, "Jansen") {
		t.Fatalf("exit %d (%v)\n%s", exitCode, err, stdout)
	}
	match := list.Items[0].Id
	if stdout, _, exitCode = c.call(1, "", "matches", match); exitCode != 0 || !strings.Contains(stdout, "A. Jansen") || !strings.Contains(stdout, "wie belt leest ") {
		t.Errorf("exit %d\n%s", exitCode, stdout)
	}
	if stdout, _, exitCode = c.call(1, "", "answer", match, "-antwoord", "gaBellen", "-wacht", "30"); exitCode != 0 || !strings.Contains(stdout, "ons antwoord: gaBellen") || strings.Contains(stdout, "Jansen") {
		t.Errorf("exit %d\n%s", exitCode, stdout)
	}
	if _, stderr, exitCode = c.call(1, "", "answer", match, "-antwoord", "misschien"); exitCode != exitRefused || !strings.Contains(stderr, "antwoord") {
		t.Errorf("exit %d\n%s", exitCode, stderr)
	}
	if _, _, exitCode = c.call(1, "", "answer", match); exitCode != exitUsage {
		t.Errorf("without an answer: exit %d", exitCode)
	}
	if stdout, _, exitCode = c.call(0, "", "inbox", "-wacht", "30"); exitCode != 0 || !strings.Contains(stdout, "signaleert dit kind ook") {
		t.Errorf("exit %d\n%s", exitCode, stdout)
	}
	stdout, _, exitCode = c.call(1, "", "renew", made.Id, "-termijn", "100", "-wacht", "30", "--json")
	var renewed rest.Signaal
	if err := json.Unmarshal([]byte(stdout), &renewed); err != nil || exitCode != 0 || renewed.Revisie != 2 {
		t.Errorf("exit %d (%v)\n%s", exitCode, err, stdout)
	}
	stdout, _, exitCode = c.call(1, "", "withdraw", made.Id, "-reden", "afgesloten", "-wacht", "30")
	if exitCode != 0 || !strings.HasPrefix(stdout, "Ingetrokken.") {
		t.Errorf("exit %d\n%s", exitCode, stdout)
	}
	if strings.Contains(c.log.String(), number) || strings.Contains(c.log.String(), "Jansen") {
		t.Error("the log holds what was entered")
	}

	resp, err := http.Get(c.metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	metrics, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`seinhuis_gateway_jobs_done_total{kind="signal",outcome="registered"} 2`, `seinhuis_gateway_queue_jobs{kind="signal"} 0`,
		`seinhuis_manifest_version 1`,
	} {
		if !strings.Contains(string(metrics), line) {
			t.Errorf("no line %s", line)
		}
	}
	for _, secret := range []string{number, "nl-kvk", "A-1", "jansen", "Organisatie"} {
		if strings.Contains(string(metrics), secret) {
			t.Errorf("the metrics hold %q", secret)
		}
	}
	if err := c.stop(); err != nil {
		t.Errorf("serve does not end cleanly: %v", err)
	}
	if !strings.Contains(c.log.String(), `"msg":"stopped"`) {
		t.Error("the log does not tell the end")
	}
	if _, stderr, exitCode = c.call(0, "", "inbox"); exitCode != exitFailed || !strings.Contains(stderr, "niet te bereiken") {
		t.Errorf("without a gateway: exit %d\n%s", exitCode, stderr)
	}
}

func TestReportFromAFile(t *testing.T) {
	c := serveWorld(t, 0)
	folder := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	csv := write("m.csv", "\xef\xbb\xbfNummersoort;Nummer;Geboortedatum;Rol\r\nbsn;"+number+";"+birth+";kind\r\nbsn;;2015-01-01;broerZus\r\n")
	stdout, stderr, exitCode := c.call(0, "", "report", csv, "-kenmerk", "M-1", "-hulpverlener", "vt", "-wacht", "30")
	if exitCode != 0 || !strings.Contains(stdout, "  1  geregistreerd") || !strings.Contains(stdout, "  2  nietGesignaleerd") {
		t.Errorf("exit %d\n%s%s", exitCode, stdout, stderr)
	}
	js := write("m.json", `{"kenmerk":"M-1","hulpverlener":"vt","personen":[
{"nummersoort":"bsn","nummer":"`+number+`","geboortedatum":"`+birth+`"},{"nummersoort":"bsn","nummer":"123456789","geboortedatum":"`+birth+`"}]}`)
	stdout, stderr, exitCode = c.call(0, "", "report", js, "-wacht", "30")
	if exitCode != exitRefused || !strings.Contains(stdout, "(herhaling)") || !strings.Contains(stdout, "  1  samengevoegd") || !strings.Contains(stdout, "     nummer: ") {
		t.Errorf("exit %d\n%s%s", exitCode, stdout, stderr)
	}
	if strings.Contains(stdout, "123456789") {
		t.Error("the number is repeated")
	}
	for name, text := range map[string]string{
		"unknown_column.csv": "naam,nummer\nx,1\n", "column_twice.csv": "nummer,nummer\n1,1\n", "ragged.csv": "nummer,rol\n" + otherNumber + "\n",
		"empty.csv": "", "unknown_field.json": `{"kenmerken":"x"}`, "twice.json": `{"kenmerk":"a","kenmerk":"b"}`, "text.txt": "x",
	} {
		t.Run("rejects/"+name, func(t *testing.T) {
			_, stderr, exitCode := c.call(0, "", "report", write(name, text), "-kenmerk", "M-2", "-hulpverlener", "vt")
			if exitCode == 0 || strings.Contains(stderr, otherNumber) {
				t.Errorf("exit %d: %s", exitCode, stderr)
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	c := serveWorld(t, 0)
	c.Registry.Set(gatewaytest.Away)
	for _, x := range []struct {
		name  string
		stdin string
		args  []string
		want  int
		says  string
	}{
		{"queued", otherNumber, signalArgs("-wacht", "0"), exitQueued, "In de wacht"},
		{"refused", "123456789", signalArgs(), exitRefused, "controle klopt niet"},
		{"refused_as_json", "123456789", signalArgs("--json"), exitRefused, `"controlegetal"`},
		{"no_such_signal", "", []string{"withdraw", strings.Repeat("0", 32), "-reden", "afgesloten"}, exitRefused, "Niet gevonden"},
		{"unknown_option", "", []string{"signal", "-bsn", number}, exitUsage, "gateway signal -h"},
		{"argument_too_many", "", []string{"inbox", "x"}, exitUsage, "gateway inbox -h"},
		{"no_id", "", []string{"renew"}, exitUsage, "gateway renew -h"},
		{"no_reason", "", []string{"withdraw", "x"}, exitUsage, "gateway withdraw -h"},
		{"no_file_to_import", "", []string{"import"}, exitUsage, "gateway import -h"},
		{"no_file", "", []string{"report"}, exitUsage, "gateway report -h"},
		{"unknown_command", "", []string{"sein"}, exitUsage, "bestaat niet"},
	} {
		t.Run(x.name, func(t *testing.T) {
			stdout, stderr, exitCode := c.call(0, x.stdin, x.args...)
			if exitCode != x.want || !strings.Contains(stdout+stderr, x.says) {
				t.Errorf("exit %d, want %d\n%s%s", exitCode, x.want, stdout, stderr)
			}
			if strings.Contains(stdout+stderr, number) || strings.Contains(stdout+stderr, "123456789") {
				t.Error("a number is repeated")
			}
		})
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{
		{"-h"}, {"help"}, {"keygen", "-h"}, {"serve", "-h"}, {"signal", "-h"}, {"report", "-h"}, {"import", "-h"}, {"inbox", "--help"}, {"withdraw", "-h"}, {"renew", "-h"}, {"matches", "-h"}, {"answer", "-h"},
	} {
		var out, errs bytes.Buffer
		err := run(t.Context(), args, strings.NewReader(""), &out, &errs)
		if err != nil && !errors.Is(err, flag.ErrHelp) || code(err, &errs) != 0 || !strings.HasPrefix(out.String()+errs.String(), "gateway") {
			t.Errorf("%q: %v", args, err)
		}
	}
	if err := run(t.Context(), nil, nil, io.Discard, io.Discard); code(err, io.Discard) != exitUsage {
		t.Errorf("no command: %v", err)
	}
}

func TestKeygen(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "school")
	storage := filepath.Join(t.TempDir(), "new", "storage.key")
	args := []string{"keygen", "-out", folder, "-id", "nl-brin:12AB", "-name", "De Wissel", "-kind", "school", "-region", "Utrecht", "-storage", storage}
	var out bytes.Buffer
	if err := run(t.Context(), args, nil, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	var party manifest.Party
	if err := json.Unmarshal(out.Bytes(), &party); err != nil || party.ID != "nl-brin:12AB" || party.Name != "De Wissel" || len(party.Keys) != 3 {
		t.Errorf("the party's part of the directory is not whole: %v\n%s", err, out.String())
	}
	for _, path := range []string{storage, filepath.Join(folder, "sign.pem"), filepath.Join(folder, "hpke.pem"), filepath.Join(folder, "tls.pem"), filepath.Join(folder, "token")} {
		text, err := keys.Clear.ReadPrivate(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if strings.Contains(out.String(), strings.TrimSpace(string(text))) {
			t.Errorf("%s is printed", path)
		}
	}
	for reason, args := range map[string][]string{
		"keys_again":    args,
		"storage_again": {"keygen", "-storage", storage},
		"no_name":       {"keygen", "-out", t.TempDir(), "-id", "nl-brin:12AB"},
		"party_id":      {"keygen", "-out", t.TempDir(), "-id", "school", "-name", "x", "-kind", "school", "-region", "x"},
		"nothing":       {"keygen"},
		"an_argument":   {"keygen", "x"},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if err := run(t.Context(), args, nil, io.Discard, io.Discard); err == nil {
				t.Error("it was done")
			}
		})
	}
}

func TestServeRefuses(t *testing.T) {
	for reason, args := range map[string][]string{
		"no_config": {"serve"}, "no_file": {"serve", "-config", "nowhere.json"}, "an_argument": {"serve", "x"},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if err := run(t.Context(), args, nil, io.Discard, io.Discard); err == nil {
				t.Error("it was served")
			}
		})
	}
}

// What parses as persons has one row per line of the file, and every error keeps
// what stands in it to itself.
func FuzzCSV(f *testing.F) {
	f.Add("nummersoort,nummer,geboortedatum,rol,kenmerk\nbsn,900000016,2012-05-06,kind,K-1\n")
	f.Add("nummer;rol\r\n900000016;kind\r\n")
	f.Add("nummer\n\"900000016\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		persons, err := parseCSV([]byte(text))
		if err != nil {
			if strings.Contains(err.Error(), number) {
				t.Errorf("the error repeats the number: %v", err)
			}
			return
		}
		if lines := strings.Count(text, "\n") + 1; len(persons) >= lines {
			t.Errorf("%d persons from %d lines", len(persons), lines)
		}
	})
}
