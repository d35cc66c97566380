// SPDX-License-Identifier: EUPL-1.2

// Package seinhuis_test holds what is true of the repository as a whole.
package seinhuis_test

import (
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/seinhuis/seinhuis/"

// imports is the design's table (§10) with the packages that came beside it: what
// a package may import, of ours. Every package has a row; one that ends in /... is
// for a folder and all below it, and its longest match counts.
var imports = map[string]string{
	"crypto/encoding":    "",
	"crypto/identity":    "crypto/encoding",
	"crypto/oprf":        "",
	"crypto/token":       "crypto/encoding",
	"crypto/seal":        "crypto/encoding crypto/token",
	"crypto/atrest":      "crypto/encoding",
	"keys":               "crypto/encoding crypto/atrest",
	"api":                "crypto/encoding",
	"api/edge":           "api crypto/encoding keys",
	"manifest":           "api crypto/encoding",
	"audit":              "crypto/encoding",
	"logging":            "", // and every package may import it
	"unusual":            "api manifest crypto/encoding",
	"calendar":           "",
	"disk":               "",
	"evaluator":          "crypto/oprf api manifest audit crypto/encoding keys crypto/atrest disk",
	"registry":           "api manifest audit calendar crypto/encoding keys crypto/atrest",
	"registry/...":       "registry registry/journal api manifest audit calendar crypto/encoding keys crypto/atrest disk",
	"registry/backup":    "registry registry/journal registry/pebblestore api crypto/encoding disk",
	"registry/sequencer": "registry api api/witness audit manifest",
	"matcher":            "registry api manifest audit crypto/encoding",
	"api/evaluation":     "evaluator unusual api manifest audit api/edge crypto/encoding keys",
	"api/witness":        "manifest audit api/edge",
	"api/exchange":       "matcher registry registry/sequencer unusual api manifest audit api/edge crypto/encoding keys",
	"gateway":            "api manifest audit calendar crypto/... disk keys api/edge gateway/webhook gateway/mail gateway/oauth",
	"gateway/webhook":    "api",
	"gateway/mail":       "",
	"gateway/rest":       "gateway gateway/webhook gateway/mail api api/edge crypto/encoding",
	"gateway/oauth":      "",
	"web":                "gateway",
	"cmd/...":            "...",
	"bench":              "...",

	// What is run by hand, beside what serves.
	"evaluator/ceremony": "evaluator api manifest crypto/oprf crypto/encoding",

	// Real parts for other packages' tests.
	"manifest/manifesttest": "...",
	"api/contracttest":      "...",
	"matcher/matchertest":   "...",
	"disk/disktest":         "...",
	"gateway/gatewaytest":   "...",
	"soak":                  "",
}

// never is what a command's binary must not even link.
var never = map[string]string{
	"cmd/registry":  "crypto/identity crypto/oprf crypto/seal",
	"cmd/evaluator": "registry registry/...",
}

func TestImports(t *testing.T) {
	dependOnAll(t)
	for _, line := range goList(t, "-f", "{{.ImportPath}} {{join .Imports \" \"}}", "./...") {
		paths := ours(strings.Fields(line))
		if len(paths) == 0 {
			continue // the folder of this test: no package but this test
		}
		name := paths[0]
		t.Run(name, func(t *testing.T) {
			allowed, ok := row(name)
			if !ok {
				t.Fatal("the package has no row in the table of allowed imports")
			}
			for _, path := range paths[1:] {
				if !slices.ContainsFunc(append(strings.Fields(allowed), "logging"), func(pattern string) bool { return matches(pattern, path) }) {
					t.Errorf("imports %s; it may import: %s", path, allowed)
				}
				if (strings.HasSuffix(path, "test") || path == "soak") && !strings.HasSuffix(name, "test") {
					t.Errorf("imports %s, which is for tests", path)
				}
			}
		})
	}
}

func TestNeverLinked(t *testing.T) {
	dependOnAll(t)
	for command, patterns := range never {
		t.Run(command, func(t *testing.T) {
			deps := ours(goList(t, "-deps", "./"+command))
			if !slices.Contains(deps, command) {
				t.Fatal("go list does not list the command itself")
			}
			for _, path := range deps {
				for _, pattern := range strings.Fields(patterns) {
					if matches(pattern, path) {
						t.Errorf("links %s", path)
					}
				}
			}
		})
	}
}

// What only tests need is linked into no program.
func TestOnlyTestsLinkTheirTools(t *testing.T) {
	dependOnAll(t)
	deps := goList(t, "-deps", "./cmd/...", "./bench")
	if !slices.Contains(deps, module+"registry") {
		t.Fatal("go list does not list what the programs link")
	}
	for _, path := range deps {
		if strings.HasPrefix(path, "github.com/anishathalye/porcupine") || path == module+"soak" {
			t.Errorf("a program links %s", path)
		}
	}
}

// dependOnAll looks at every folder. The go command sees it and does not take the
// result of an earlier run when one has changed; it cannot see what go list reads.
func dependOnAll(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != "." && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func goList(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// ours keeps the module's own paths, without its name.
func ours(paths []string) (own []string) {
	for _, p := range paths {
		if rest, ok := strings.CutPrefix(p, module); ok {
			own = append(own, rest)
		}
	}
	return own
}

func row(name string) (string, bool) {
	if allowed, ok := imports[name]; ok {
		return allowed, true
	}
	best := ""
	for pattern := range imports {
		if strings.HasSuffix(pattern, "...") && matches(pattern, name) && len(pattern) > len(best) {
			best = pattern
		}
	}
	return imports[best], best != ""
}

func matches(pattern, path string) bool {
	prefix, all := strings.CutSuffix(pattern, "...")
	return pattern == path || all && strings.HasPrefix(path, prefix)
}
