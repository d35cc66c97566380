// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// TestGrownUpCohortIsDestroyed has the built programs serve with keys of a birth year that
// turned 23 a while ago: every evaluator destroys its key at the start and gives the
// registry a certificate; what is put back from a backup is destroyed again.
func TestGrownUpCohortIsDestroyed(t *testing.T) {
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	n := &Network{root: t.TempDir(), bin: bin, fatal: func(err error) { t.Error(err) }}
	today := encoding.DateOf(time.Now().UTC())
	if err := n.setUpFrom(t.Context(), today, today.Year-24); err != nil {
		t.Fatal(err)
	}
	grown := fmt.Sprintf("epoch-1-cohort-%d", today.Year-24)
	in := func(i int, path ...string) string { return n.folder(evaluatorName(i), path...) }
	for i := range evaluatorCount {
		var c object
		text, err := os.ReadFile(in(i, "config.json"))
		if err != nil || json.Unmarshal(text, &c) != nil {
			t.Fatal(err)
		}
		c["noteKey"] = "keys/note.key"
		if err := writeJSON(in(i, "config.json"), c); err != nil {
			t.Fatal(err)
		}
	}
	copyOf := func(folder string) map[string][]byte {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(folder, "*"))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		all := map[string][]byte{}
		for _, path := range files {
			if all[path], err = os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
		}
		return all
	}
	shares, wrapping := copyOf(in(0, "shares")), copyOf(in(0, "wrapping"))
	t.Cleanup(func() {
		for _, p := range append([]*process{n.registry}, n.evaluators...) {
			p.end(syscall.SIGKILL)
		}
	})
	serve := func(p *process) {
		t.Helper()
		if err := n.start(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	gone := func(i int) {
		t.Helper()
		if _, err := os.Stat(in(i, "wrapping", grown+".key")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("evaluator %d still has its wrapping key (%v)", i+1, err)
		}
		for path, text := range copyOf(in(i, "shares")) {
			if strings.Contains(string(text), fmt.Sprintf(`"cohort": %d,`, today.Year-24)) {
				t.Errorf("evaluator %d has its share in %s", i+1, path)
			}
		}
	}
	serve(n.registry)
	for i := range evaluatorCount {
		serve(n.evaluators[i])
	}
	for i := range evaluatorCount {
		taken := in(i, "data", "destroyed", grown+".txt.taken")
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
			if _, err := os.Stat(taken); err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the registry has no certificate of evaluator %d", i+1)
			}
		}
		gone(i)
	}
	certificates := copyOf(in(0, "data", "destroyed"))
	for _, back := range []map[string][]byte{shares, wrapping} {
		if err := n.evaluators[0].end(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		for path, text := range back {
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		serve(n.evaluators[0])
		gone(0)
		if after := copyOf(in(0, "data", "destroyed")); !slices.Equal(keysOf(after), keysOf(certificates)) {
			t.Error("there are other certificates")
		}
	}
	for _, p := range append([]*process{n.registry}, n.evaluators...) {
		if err := p.end(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	}
}

func keysOf(files map[string][]byte) (list []string) {
	for path, text := range files {
		list = append(list, path+string(text))
	}
	slices.Sort(list)
	return list
}
