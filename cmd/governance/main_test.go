// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/oprf"
	"github.com/seinhuis/seinhuis/evaluator/ceremony"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
)

// desk is the folder in which governance works, with what others have sent in.
type desk struct {
	dir        string
	evaluators []note.Signer
	manifest   map[string]any // written by hand
	directory  map[string]any
}

func (d *desk) in(name string) string { return filepath.Join(d.dir, name) }

func (d *desk) write(t *testing.T, name string, v any) {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.in(name), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// do runs a command on the desk; file names in it stand behind an @.
func (d *desk) do(line string) (stdout, stderr string, err error) {
	args := strings.Fields(line)
	for i, a := range args {
		if name, ok := strings.CutPrefix(a, "@"); ok {
			args[i] = d.in(name)
		}
	}
	var out, errs bytes.Buffer
	err = program.Run(context.Background(), args, &out, &errs)
	return out.String(), errs.String(), err
}

func (d *desk) must(t *testing.T, line string) string {
	t.Helper()
	stdout, _, err := d.do(line)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return stdout
}

const (
	commitsFile = "@dealt-2010.json"
	granting    = "grant -in @directory.json -daily 5 -monthly 50 -from 2027-03-01 -purpose import -out @granted.json"
)

// made writes what a ceremony ends in: sharings of these cohorts.
func (d *desk) made(t *testing.T, number uint64, first, last int, key func(cohort int) []byte) {
	t.Helper()
	out := ceremony.Outcome{Threshold: 2}
	for cohort := first; cohort <= last; cohort++ {
		c, _, err := oprf.Split(key(cohort), 2, 3)
		if err != nil {
			t.Fatal(err)
		}
		s := manifest.Sharing{Epoch: 1, Cohort: cohort, Number: number}
		for _, point := range c.Bytes() {
			s.Commitments = append(s.Commitments, point)
		}
		out.Sharings = append(out.Sharings, s)
	}
	d.write(t, fmt.Sprintf("dealt-%d.json", first), out)
}

// keyOf is a cohort's key, a small scalar.
func keyOf(cohort int) []byte {
	key := make([]byte, oprf.ScalarSize)
	binary.LittleEndian.PutUint16(key, uint16(cohort))
	return key
}

// newDesk has keys, what a ceremony made, and both files as they are written by hand.
func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{dir: t.TempDir()}
	var own map[string]any
	if err := json.Unmarshal([]byte(d.must(t, "keygen -dep test -out @keys")), &own); err != nil {
		t.Fatal(err)
	}
	d.made(t, 1, 2010, 2012, keyOf)
	until := time.Now().UTC().Truncate(time.Second).AddDate(1, 0, 0)
	from := until.AddDate(-2, 0, 0)
	hash := func() string { return manifest.Pin(manifesttest.Random32()).String() }
	raw := func() encoding.Base64 { r := manifesttest.Random32(); return r[:] }
	var evaluators []any
	for i := 1; i <= 3; i++ {
		signer, vkey := manifesttest.Signer(t, fmt.Sprintf("evaluator-%d", i))
		d.evaluators = append(d.evaluators, signer)
		evaluators = append(evaluators, map[string]any{
			"index": i, "name": "Evaluator", "url": fmt.Sprintf("https://e%d.example.org", i), "tls": hash(), "note": vkey,
		})
	}
	receipt := raw()
	d.manifest = map[string]any{
		"dep": "test", "notAfter": until, "threshold": 2,
		"epochs":     []any{map[string]any{"number": 1, "state": "open", "opens": "2027-01-01"}},
		"evaluators": evaluators,
		"registry": map[string]any{
			"url": "https://r.example.org", "publicUrl": "https://r.example.org:444", "tls": hash(),
			"receiptKeys": []any{map[string]any{"id": encoding.KeyIDOf(receipt), "key": receipt, "from": from}},
		},
		"governance": own["governance"], "directorySigner": own["directorySigner"],
		"policy": map[string]any{
			"termDays": 365, "legalBasisEnds": "2090-01-01", "timeZone": "Europe/Amsterdam", "calendar": "nl",
			"answerDays": 5, "signalPerpetrators": false, "dailyBudget": 500, "monthlyBudget": 5000, "reportReserve": 50,
		},
	}
	d.directory = map[string]any{
		"dep": "test", "notAfter": until,
		"parties": []any{
			map[string]any{"id": "nl-kvk:12345678", "name": "Kliniek", "kind": "mental-health", "region": "Utrecht",
				"keys": []any{map[string]any{"use": "sign", "key": raw(), "from": from}}},
			map[string]any{"id": "nl-brin:12AB", "name": "School", "kind": "school", "region": "Utrecht",
				"keys": []any{map[string]any{"use": "tls", "key": raw(), "from": from}}},
		},
	}
	d.write(t, "manifest.json", d.manifest)
	d.write(t, "directory.json", d.directory)
	return d
}

// signByEvaluators adds what `evaluator sign` would.
func (d *desk) signByEvaluators(t *testing.T, name string, n int) {
	t.Helper()
	msg, err := os.ReadFile(d.in(name))
	if err != nil {
		t.Fatal(err)
	}
	for _, signer := range d.evaluators[:n] {
		if msg, err = manifest.AddSignature(msg, signer); err != nil {
			t.Fatal(err)
		}
	}
	if err := manifest.WriteFile(d.in(name), msg); err != nil {
		t.Fatal(err)
	}
}

// TestCeremony goes the whole way, for two versions.
func TestCeremony(t *testing.T) {
	d := newDesk(t)
	d.must(t, "manifest -in @manifest.json -commitments "+commitsFile+" -out @m1.txt")
	d.must(t, "pins -manifest @m1.txt -out @pins.json")
	d.must(t, "sign -key @keys/governance.key -in @m1.txt -out @m1.txt")
	d.signByEvaluators(t, "m1.txt", 2)
	d.must(t, "directory -in @directory.json -out @d1.txt")
	d.must(t, "sign -key @keys/directory.key -in @d1.txt -out @d1.txt")
	shown := d.must(t, "verify -pins @pins.json -manifest @m1.txt -directory @d1.txt")
	for _, want := range []string{`Manifest of "test", version 1`, "cohorts 2010-2012", "test-governance, evaluator-1, evaluator-2", `Directory of "test"`, "nl-brin:12AB"} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q is not in\n%s", want, shown)
		}
	}

	m, err := readText(d.in("m1.txt"), manifest.ParseManifest)
	if err != nil {
		t.Fatal(err)
	}

	// A year later: one cohort more, and nothing else to fill in.
	d.made(t, 1, 2013, 2013, keyOf)
	draft := d.must(t, "manifest -in @manifest.json -previous @m1.txt -draft -out @draft.txt")
	if !strings.Contains(draft, "version 2") || strings.Contains(draft, "cohort") {
		t.Errorf("the draft:\n%s", draft)
	}
	d.must(t, "manifest -in @manifest.json -commitments @dealt-2013.json -previous @m1.txt -out @m2.txt")
	d.must(t, "sign -key @keys/governance.key -in @m2.txt -out @m2-signed.txt")
	d.signByEvaluators(t, "m2-signed.txt", 3)
	if shown := d.must(t, "verify -pins @pins.json -manifest @m2-signed.txt"); !strings.Contains(shown, "cohorts 2010-2013, sharing 1") {
		t.Errorf("version 2:\n%s", shown)
	}
	next, err := readText(d.in("m2-signed.txt"), manifest.ParseManifest)
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Follows(m); err != nil {
		t.Error(err)
	}
	d.must(t, "directory -in @directory.json -previous @d1.txt -out @d2.txt")

	// Later still one key is shared anew: its new sharing is in the place of the old.
	d.made(t, 2, 2011, 2011, keyOf)
	if shown := d.must(t, "manifest -in @manifest.json -commitments @dealt-2011.json -previous @m2.txt -out @m3.txt"); !strings.Contains(shown, "cohort 2011, sharing 2") ||
		!strings.Contains(shown, "cohorts 2012-2013, sharing 1") {
		t.Errorf("version 3:\n%s", shown)
	}

	// A party imports what it has: a grant in its next directory, and nobody else's.
	today := time.Now().UTC().Format(time.DateOnly)
	until := time.Now().UTC().AddDate(0, 1, 0).Format(time.RFC3339)
	d.must(t, "grant -in @directory.json -party nl-brin:12AB -daily 20000 -monthly 100000 -from "+today+" -until "+until+" -purpose import -out @granted.json")
	d.must(t, "directory -in @granted.json -previous @d1.txt -out @d3.txt")
	d.must(t, "sign -key @keys/directory.key -in @d3.txt -out @d3.txt")
	if shown := d.must(t, "verify -pins @pins.json -manifest @m1.txt -directory @d3.txt"); !strings.Contains(shown, "grant 20000 a day, 100000 a month more") {
		t.Errorf("with a grant:\n%s", shown)
	}
	with, err := readText(d.in("d3.txt"), manifest.ParseDirectory)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range with.Parties {
		if got := len(p.GrantsAt(time.Now())); got != map[bool]int{true: 1}[p.ID == "nl-brin:12AB"] {
			t.Errorf("%s has %d grants", p.ID, got)
		}
	}
}

func TestRefusals(t *testing.T) {
	for reason, c := range map[string]struct {
		before func(*testing.T, *desk)
		line   string
		want   error // or nil, when the text is enough
		text   string
	}{
		"keys_twice":           {nil, "keygen -dep test -out @keys", keys.ErrExists, ""},
		"deployment_with_caps": {nil, "keygen -dep Test -out @other", nil, "lower-case"},
		"shared_anew_as_another_key": {func(t *testing.T, d *desk) {
			d.must(t, "manifest -in @manifest.json -commitments "+commitsFile+" -out @m1.txt")
			d.made(t, 2, 2011, 2011, func(int) []byte { return keyOf(1999) })
		}, "manifest -in @manifest.json -commitments @dealt-2011.json -previous @m1.txt -out @m.txt", manifest.ErrPublicKey, ""},
		"shared_anew_under_the_old_number": {func(t *testing.T, d *desk) {
			d.must(t, "manifest -in @manifest.json -commitments "+commitsFile+" -out @m1.txt")
			d.made(t, 1, 2011, 2011, keyOf)
		}, "manifest -in @manifest.json -commitments @dealt-2011.json -previous @m1.txt -out @m.txt", manifest.ErrSharings, ""},

		"version_by_hand": {func(t *testing.T, d *desk) { d.manifest["version"] = 3 }, "manifest -in @manifest.json -out @m.txt", nil, "leave version"},
		"unknown_key":     {func(t *testing.T, d *desk) { d.manifest["colour"] = "blue" }, "manifest -in @manifest.json -out @m.txt", encoding.ErrMalformed, "line 1"},
		"rule_broken":     {func(t *testing.T, d *desk) { d.manifest["threshold"] = 9 }, "manifest -in @manifest.json -out @m.txt", manifest.ErrThreshold, ""},
		"commitments_for_another_threshold": {func(t *testing.T, d *desk) { d.manifest["threshold"] = 3 },
			"manifest -in @manifest.json -commitments " + commitsFile + " -out @m.txt", nil, "another threshold"},
		"commitments_twice": {nil, "manifest -in @manifest.json -commitments " + commitsFile + " -commitments " + commitsFile + " -out @m.txt", manifest.ErrSharings, ""},
		"does_not_follow": {func(t *testing.T, d *desk) {
			d.must(t, "manifest -in @manifest.json -out @before.txt")
			d.manifest["epochs"] = []any{map[string]any{"number": 2, "state": "open", "opens": "2027-01-01"}}
		}, "manifest -in @manifest.json -previous @before.txt -out @m.txt", manifest.ErrEpochGone, ""},
		"overwriting": {func(t *testing.T, d *desk) { d.write(t, "m.txt", 1) }, "manifest -in @manifest.json -out @m.txt", nil, "nothing is overwritten"},
		"two_parties_one_key": {func(t *testing.T, d *desk) {
			list := d.directory["parties"].([]any)
			list[0].(map[string]any)["keys"] = list[1].(map[string]any)["keys"]
		}, "directory -in @directory.json -out @d.txt", manifest.ErrKeyTwice, ""},

		"grant_to_a_stranger":   {nil, granting + " -party nl-brin:99ZZ -until 2027-04-01", nil, "no party"},
		"grant_without_an_end":  {nil, granting + " -party nl-brin:12AB", nil, "-until"},
		"grant_that_ends_first": {nil, granting + " -party nl-brin:12AB -until 2027-02-01", manifest.ErrGrant, ""},
		"grant_until_some_day":  {nil, granting + " -party nl-brin:12AB -until later", nil, "-until: not a day"},
		"grant_overwriting":     {nil, strings.Replace(granting, "@granted.json", "@directory.json", 1) + " -party nl-brin:12AB -until 2027-04-01", nil, "nothing is overwritten"},

		"signing_with_another_key": {func(t *testing.T, d *desk) { d.must(t, "manifest -in @manifest.json -out @m.txt") },
			"sign -key @keys/directory.key -in @m.txt -out @s.txt", nil, "not the governance key"},
		"signing_something_else": {nil, "sign -key @keys/directory.key -in @manifest.json -out @s.txt", manifest.ErrText, ""},
		"verifying_without_evaluators": {func(t *testing.T, d *desk) {
			d.must(t, "manifest -in @manifest.json -out @m.txt")
			d.must(t, "pins -manifest @m.txt -out @pins.json")
			d.must(t, "sign -key @keys/governance.key -in @m.txt -out @m.txt")
			d.signByEvaluators(t, "m.txt", 1)
		}, "verify -pins @pins.json -manifest @m.txt", manifest.ErrQuorum, ""},
		"directory_by_governance": {func(t *testing.T, d *desk) {
			d.must(t, "manifest -in @manifest.json -out @m.txt")
			d.must(t, "pins -manifest @m.txt -out @pins.json")
			d.must(t, "sign -key @keys/governance.key -in @m.txt -out @m.txt")
			d.signByEvaluators(t, "m.txt", 3)
			d.must(t, "directory -in @directory.json -out @d.txt")
			d.must(t, "sign -key @keys/governance.key -in @d.txt -out @d.txt")
		}, "verify -pins @pins.json -manifest @m.txt -directory @d.txt", manifest.ErrSigner, ""},
		"unknown_command": {nil, "fly", nil, "governance -h"},
		"unknown_flag":    {nil, "pins -manifest @m.txt -out @p -force", nil, "-force"},
		"missing_flag":    {nil, "pins -manifest @m.txt", nil, "-out"},
		"argument":        {nil, "pins -manifest @m.txt -out @p more", nil, "flags only"},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			d := newDesk(t)
			if c.before != nil {
				c.before(t, d)
			}
			d.write(t, "manifest.json", d.manifest)
			d.write(t, "directory.json", d.directory)
			_, _, err := d.do(c.line)
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %v %q", err, c.want, c.text)
			}
		})
	}
}

func TestCommandLine(t *testing.T) {
	var stdout bytes.Buffer
	if err := program.Run(context.Background(), []string{"-h"}, &stdout, io.Discard); err != nil || !strings.Contains(stdout.String(), "governance manifest") {
		t.Errorf("-h: %v", err)
	}
	if err := program.Run(context.Background(), nil, io.Discard, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("nothing: %v", err)
	}
	if err := program.Run(context.Background(), []string{"sign", "-h"}, io.Discard, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("sign -h: %v", err)
	}
}
