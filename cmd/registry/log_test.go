// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/registry"
)

// log runs a command on the log.
func (o *operator) log(what string, args ...string) (stdout, stderr string, err error) {
	o.t.Helper()
	return o.try(append([]string{"log", what, "-config", filepath.Join(o.folder, "registry.json")}, args...)...)
}

// reads runs one that has to work, by somebody who says why.
func (o *operator) reads(what string, args ...string) string {
	o.t.Helper()
	out, stderr, err := o.log(what, append([]string{"-as", "officer.1", "-purpose", "complaint 12"}, args...)...)
	if err != nil {
		o.t.Fatalf("%v: %s", err, stderr)
	}
	return out
}

// logKey is the log's, as keygen made it.
func (o *operator) logKey() note.Signer {
	o.t.Helper()
	key, err := keys.Clear.ReadNote(filepath.Join(o.folder, "keys", "log.key"))
	if err != nil {
		o.t.Fatal(err)
	}
	return key
}

// TestTheLogAsAnOperatorReadsIt goes through what registry log does, while the registry
// serves and when it does not.
func TestTheLogAsAnOperatorReadsIt(t *testing.T) {
	o := newOperator(t, 2)
	o.configure("journal")
	var mine, theirs api.Statement
	o.inside(func(m *matcher.Matcher) {
		mine, theirs = o.signal(m, 0, 1), o.signal(m, 1, 1)
		if n, err := m.Store.Sequence(t.Context(), 10); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		o.withdraw(m, 1, theirs) // waits
	})
	s := o.serve()
	out := o.reads("show", "-party", string(party(1)))
	if strings.Count(out, "\n") != 3 || strings.Count(out, theirs.SID.String()) != 2 || !strings.HasSuffix(out, `{"shown":2}`+"\n") || !strings.Contains(out, `{"number":-1,`) {
		t.Errorf("of one party it shows\n%s", out)
	}
	if out := o.reads("show", "-signal", mine.SID.String(), "-from", "2020-01-01"); !strings.HasSuffix(out, `{"shown":1}`+"\n") {
		t.Errorf("of one signal it shows\n%s", out)
	}
	if out := o.reads("show", "-to", "2020-01-01"); out != `{"shown":0}`+"\n" {
		t.Errorf("of before there was any it shows\n%s", out)
	}
	if out := o.reads("show", "-user", "officer.1"); strings.Count(out, `"event":"log.read"`) != 4 ||
		!strings.Contains(out, `"purpose":"complaint 12"`) || !strings.Contains(out, `"objectId":"party=`+string(party(1))+`"`) {
		t.Errorf("of who has looked it shows\n%s", out)
	}
	if out, stderr, err := o.log("verify"); err != nil || !strings.Contains(out, `"size":2,"erased":0,`) {
		t.Errorf("%v: %s%s", err, out, stderr)
	}
	s.stop()

	if out := o.reads("erase", "-party", string(party(1)), "-signal", theirs.SID.String()); out != `{"erased":1,"waiting":1}`+"\n" {
		t.Errorf("it erases %s", out)
	}
	if out := o.reads("show", "-party", string(party(1)), "-signal", theirs.SID.String()); !strings.HasSuffix(out, `{"shown":1}`+"\n") {
		t.Errorf("what was erased is shown\n%s", out)
	}
	var held []byte
	o.inside(func(m *matcher.Matcher) {
		root, err := registry.Root(t.Context(), m.Store, 2)
		c := audit.Checkpoint{Origin: audit.Origin(o.w.Manifest.Dep), Size: 2, Root: root}
		var failed error
		held, failed = c.Sign(o.logKey())
		if err := errors.Join(err, failed); err != nil {
			t.Fatal(err)
		}
	})
	checkpoint := filepath.Join(o.folder, "held.txt")
	o.write("held.txt", held)
	if out, stderr, err := o.log("verify", "-checkpoint", checkpoint, "-checkpoint", checkpoint); err != nil || !strings.Contains(out, `"erased":1,`) || !strings.Contains(out, `"others":2`) {
		t.Errorf("%v: %s%s", err, out, stderr)
	}
	forked, err := audit.Checkpoint{Origin: audit.Origin(o.w.Manifest.Dep), Size: 2}.Sign(o.logKey())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"another_history":   {[]string{"verify", "-checkpoint", checkpoint}, "not the one"},
		"nobody_who_reads":  {[]string{"show", "-as", "12345 6789", "-purpose", "x"}, "pseudonym"},
		"no_purpose":        {[]string{"show", "-as", "officer.1"}, "-purpose"},
		"no_such_command":   {[]string{"burn"}, "verify, show or erase"},
		"a_day_of_no_month": {[]string{"show", "-as", "a", "-purpose", "x", "-from", "2026-13-01"}, "a day as"},
		"erase_of_all":      {[]string{"erase", "-as", "a", "-purpose", "x", "-party", string(party(0))}, "-signal"},
	} {
		t.Run("rejects/"+name, func(t *testing.T) {
			if name == "another_history" {
				if err := os.WriteFile(checkpoint, forked, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if _, stderr, err := o.log(c.args[0], c.args[1:]...); err == nil || !strings.Contains(stderr, c.want) {
				t.Errorf("got %v, %s", err, stderr)
			}
		})
	}
}
