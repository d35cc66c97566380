// SPDX-License-Identifier: EUPL-1.2

package seinhuis_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/seinhuis/seinhuis/logging"
)

const (
	operationsFile = "docs/operations.md"
	alertsFile     = "deploy/prometheus/alerts.yaml"
	dashboardFile  = "deploy/grafana/seinhuis.json"
	metricsFile    = "cmd/internal/command/testdata/metrics.txt" // held against the programs there
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func all(pattern, text string) (found []string) {
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found = append(found, m[1])
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// missing tells what of some names is not among others.
func missing(names, among []string) (gone []string) {
	for _, name := range names {
		if !slices.Contains(among, name) {
			gone = append(gone, name)
		}
	}
	return gone
}

// TestWhatIsWatchedIsMeasured holds that every metric in the rules, the dashboard and
// the document is one of ours, and that the dashboard shows what there is.
func TestWhatIsWatchedIsMeasured(t *testing.T) {
	measured := all(`(?m)^\w+ +(seinhuis_\w+)\{`, read(t, metricsFile))
	if len(measured) < 40 {
		t.Fatalf("found %d metrics", len(measured))
	}
	var shown []string
	for _, path := range []string{alertsFile, dashboardFile, operationsFile} {
		named := all(`(seinhuis_\w+)`, read(t, path))
		for i, name := range named {
			if base, ok := strings.CutSuffix(name, "_bucket"); ok {
				named[i] = base
			}
		}
		if len(named) == 0 {
			t.Errorf("%s names no metrics", path)
		}
		if gone := missing(named, measured); gone != nil {
			t.Errorf("%s: nobody measures %v", path, gone)
		}
		shown = append(shown, named...)
	}
	shown = append(shown, "seinhuis_build_info", "seinhuis_directory_version", "seinhuis_gateway_evaluations_total") // for who looks for them
	if gone := missing(measured, shown); gone != nil {
		t.Errorf("nobody looks at %v", gone)
	}
}

// TestEveryAlertIsExplained holds that alerts, their tests and their explanations are the same list.
func TestEveryAlertIsExplained(t *testing.T) {
	rules := read(t, alertsFile)
	alerts := all(`- alert: (\w+)`, rules)
	if len(alerts) < 20 {
		t.Fatalf("found %d alerts", len(alerts))
	}
	explained := all(`(?m)^### (Seinhuis\w+)$`, read(t, operationsFile))
	tests := read(t, "deploy/prometheus/alerts_test.yaml")
	for what, names := range map[string][]string{
		operationsFile: explained, "tests that fire": all(`'(\w+) fires'`, tests), "tests that are silent": all(`'(\w+) is silent'`, tests),
	} {
		if gone := missing(alerts, names); gone != nil {
			t.Errorf("%s: %v is not there", what, gone)
		}
		if gone := missing(names, alerts); gone != nil {
			t.Errorf("%s: there is no alert %v", what, gone)
		}
	}
	for _, name := range alerts {
		if !strings.Contains(rules, "docs/operations.md#"+strings.ToLower(name)+"\n") {
			t.Errorf("%s does not say where it is explained", name)
		}
	}
}

// TestEveryEventIsExplained holds that docs/operations.md has a row for each event of the log.
func TestEveryEventIsExplained(t *testing.T) {
	_, section, _ := strings.Cut(read(t, operationsFile), "\n## Log\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var explained []string
	for line := range strings.Lines(section) {
		if cells := strings.Split(line, "|"); len(cells) == 5 {
			explained = append(explained, all("`([^`]+)`", cells[1])...)
		}
	}
	for _, name := range explained {
		if _, ok := logging.Events[name]; !ok {
			t.Errorf("there is no event %q", name)
		}
	}
	for name := range logging.Events {
		if !slices.Contains(explained, name) {
			t.Errorf("there is no row for %q", name)
		}
	}
}

func TestDashboardIsOne(t *testing.T) {
	var d struct {
		Title, UID string
		Panels     []struct {
			ID      int
			Type    string
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, dashboardFile)), &d); err != nil || d.Title == "" || d.UID == "" {
		t.Fatalf("it is no dashboard: %v", err)
	}
	seen := map[int]bool{}
	for _, p := range d.Panels {
		if seen[p.ID] || p.Title == "" || p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %d, %q, is not whole", p.ID, p.Title)
		}
		seen[p.ID] = true
	}
}
