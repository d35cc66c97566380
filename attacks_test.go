// SPDX-License-Identifier: EUPL-1.2

package seinhuis_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	attackTest  = regexp.MustCompile(`(?m)^func (TestAttack[A-Za-z0-9_]+)\(`)
	attackNamed = regexp.MustCompile("`(TestAttack[A-Za-z0-9_]+)`")
)

// TestThreatModelNamesTheAttacks holds the table at the end of the threat model against the
// tests: each attack has one, and each such test is there.
func TestThreatModelNamesTheAttacks(t *testing.T) {
	text, err := os.ReadFile("docs/threat-model.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, name := range attackNamed.FindAllSubmatch(text, -1) {
		named[string(name[1])] = false
	}
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, test := range attackTest.FindAllSubmatch(source, -1) {
			name := string(test[1])
			if _, ok := named[name]; !ok {
				t.Errorf("docs/threat-model.md does not name %s of %s", name, path)
			}
			named[name] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(named) == 0 {
		t.Error("docs/threat-model.md names no attack")
	}
	for name, there := range named {
		if !there {
			t.Errorf("docs/threat-model.md names %s, and there is no such test", name)
		}
	}
}
