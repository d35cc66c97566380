// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/registry"
)

// configure writes the configuration, with a control socket whose path is short.
func (o *operator) configure(journal string) {
	o.t.Helper()
	run, err := os.MkdirTemp("", "run")
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { os.RemoveAll(run) })
	o.write("registry.json", []byte(`{"data":"data","journal":"`+journal+`","keys":"keys/registry.keys","receiptKey":"keys/receipt.pem","logKey":"keys/log.key",
"tls":{"cert":"keys/tls.crt","key":"keys/tls.pem"},"pins":"pins.json","manifest":"manifest.txt","directory":"directory.txt",
"exchange":"127.0.0.1:0","public":"127.0.0.1:0","operations":"127.0.0.1:0","control":"`+filepath.Join(run, "control.sock")+`","sweepSeconds":60}`))
}

func (o *operator) copying(command, flag, folder string) (stdout, stderr string, err error) {
	o.t.Helper()
	return o.try(command, "-config", filepath.Join(o.folder, "registry.json"), flag, filepath.Join(o.folder, folder))
}

func (o *operator) remove(folder string) {
	o.t.Helper()
	if err := os.RemoveAll(filepath.Join(o.folder, folder)); err != nil {
		o.t.Fatal(err)
	}
}

// TestBackupAndRestoreAsAnOperatorDoes is docs/operations.md's drill by the program
// itself: a backup while the registry serves, a withdrawal, the loss of the database.
func TestBackupAndRestoreAsAnOperatorDoes(t *testing.T) {
	o := newOperator(t, 2)
	o.configure("journal")
	var mine, theirs api.Statement
	o.inside(func(m *matcher.Matcher) { mine, theirs = o.signal(m, 0, 1), o.signal(m, 1, 1) })

	s := o.serve()
	out, stderr, err := o.copying("backup", "-to", "monday")
	if err != nil || !strings.Contains(out, `"bytes":`) {
		t.Fatalf("%v: %s%s", err, out, stderr)
	}
	if _, stderr, err := o.copying("backup", "-to", "monday"); err == nil || !strings.Contains(stderr, "something already") {
		t.Errorf("a backup replaces another: %v, %s", err, stderr)
	}
	s.stop()
	o.inside(func(m *matcher.Matcher) { o.withdraw(m, 1, theirs) })
	if out, stderr, err := o.copying("backup", "-to", "tuesday"); err != nil { // of a stopped one
		t.Errorf("%v: %s%s", err, out, stderr)
	}
	secrets, err := os.ReadFile(filepath.Join(o.folder, "keys", "registry.keys"))
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(o.folder, "monday", "*", "*"))
	for _, f := range files {
		if text, err := os.ReadFile(f); err != nil || strings.Contains(string(text), string(secrets)) {
			t.Errorf("%s: %v, or it has the keys in it", filepath.Base(f), err)
		}
	}

	t.Run("rejects/where_a_database_is", func(t *testing.T) {
		if _, stderr, err := o.copying("restore", "-from", "monday"); err == nil || !strings.Contains(stderr, "something already") {
			t.Errorf("got %v, %s", err, stderr)
		}
	})
	o.remove("data")
	t.Run("rejects/an_empty_database_beside_its_journal", func(t *testing.T) {
		if _, stderr, err := o.run("serve"); err == nil || !strings.Contains(stderr, "journal") {
			t.Errorf("got %v, %s", err, stderr)
		}
		o.remove("data")
	})
	t.Run("rejects/another_journal", func(t *testing.T) {
		o.configure("another")
		if _, stderr, err := o.copying("restore", "-from", "monday"); err == nil || !strings.Contains(stderr, "reach back") {
			t.Errorf("got %v, %s", err, stderr)
		}
		o.configure("journal")
	})
	t.Run("rejects/a_damaged_backup", func(t *testing.T) {
		name := filepath.Join(o.folder, "monday", "store", "CURRENT")
		if found, _ := filepath.Glob(filepath.Join(o.folder, "monday", "store", "MANIFEST-*")); len(found) > 0 {
			name = found[0]
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text[len(text)/2] ^= 1
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, stderr, err := o.copying("restore", "-from", "monday"); err == nil || !strings.Contains(stderr, "damaged") {
			t.Errorf("got %v, %s", err, stderr)
		}
		text[len(text)/2] ^= 1
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("rejects/serving_what_was_cut_short", func(t *testing.T) {
		if err := os.MkdirAll(filepath.Join(o.folder, "data", "store.partial"), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, stderr, err := o.run("serve"); err == nil || !strings.Contains(stderr, "cut short") {
			t.Errorf("got %v, %s", err, stderr)
		}
	})

	out, stderr, err = o.copying("restore", "-from", "monday")
	var done restored
	if err != nil || json.Unmarshal([]byte(out), &done) != nil {
		t.Fatalf("%v: %s%s", err, out, stderr)
	}
	if done.Replayed != (matcher.Replayed{Ended: 1, Known: 1}) || done.JournalCutOff || len(done.Incarnation) != 32 {
		t.Errorf("it says %+v", done)
	}
	o.inside(func(m *matcher.Matcher) {
		if got := len(m.Store.Restores()); got != 1 {
			t.Errorf("the store knows of %d restores", got)
		}
		live := 0
		err := m.Store.Scan(t.Context(), registry.Idx{}, func(_ registry.Idx, signals []registry.Signal, match registry.Match) error {
			for _, s := range signals {
				if live++; s.SID != mine.SID || !match.ID.IsZero() {
					t.Error("what was withdrawn is back")
				}
			}
			return nil
		})
		if live != 1 || err != nil {
			t.Errorf("%d signals live, %v", live, err)
		}
	})
	if out, _, err := o.run("check"); err != nil {
		t.Errorf("check: %v\n%s", err, out)
	}
	o.serve().stop()

	t.Run("a_lost_journal", func(t *testing.T) {
		o.remove("journal")
		if _, stderr, err := o.run("serve"); err == nil || !strings.Contains(stderr, "journal") {
			t.Errorf("without its journal it serves: %v, %s", err, stderr)
		}
		if _, stderr, err := o.run("journal"); err != nil {
			t.Errorf("%v, %s", err, stderr)
		}
		if _, _, err := o.run("journal"); err == nil {
			t.Error("a journal is begun where one is")
		}
		o.serve().stop()
		o.remove("data")
		if _, _, err := o.copying("restore", "-from", "tuesday"); err == nil {
			t.Error("a backup is restored whose journal is lost")
		}
	})
}
