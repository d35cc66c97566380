// SPDX-License-Identifier: EUPL-1.2

package command_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seinhuis/seinhuis/api/evaluation"
	"github.com/seinhuis/seinhuis/api/exchange"
	"github.com/seinhuis/seinhuis/cmd/internal/command"
	"github.com/seinhuis/seinhuis/disk"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/logging"
	"github.com/seinhuis/seinhuis/manifest"
)

var update = flag.Bool("update", false, "write the golden file anew")

const golden = "testdata/metrics.txt"

// parts makes what each part measures with, as its program does.
func parts(t *testing.T) map[string]*prometheus.Registry {
	t.Helper()
	w := gatewaytest.New(t, 2)
	log := logging.Discard()
	registry := exchange.New(w.Matcher, log, nil)
	if err := registry.Measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	evaluator := evaluation.New(w.Engine(0), func() *manifest.Directory { _, d := w.Matcher.Trust(); return d }, w.Now, log)
	metrics := prometheus.NewRegistry()
	g, err := gateway.Open(w.Configure(0), gateway.Options{Log: log, Now: w.Now, FS: vfs.NewMem(), Metrics: metrics})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	for part, what := range map[string]string{"registry": "database", "registry_journal": "journal"} {
		command.MeasureDisk(registry.Metrics(), part, what, disk.NewWatch(vfs.NewMem(), "", disk.Limits{}, nil))
	}
	all := map[string]*prometheus.Registry{
		"registry": registry.Metrics().(*prometheus.Registry), "evaluator": evaluator.Metrics().(*prometheus.Registry), "gateway": metrics,
	}
	for part, to := range all {
		command.Measure(to, part, w.Now, w.Matcher.Trust)
		s, _ := command.NewService(t.Context(), log)
		s.Listen("test", "127.0.0.1:0", nil, nil, command.Few)
		s.MeasureConnections(to)
		p := g.Parties()[0]
		s.KeepCertificates(to, command.Kept{Use: "client", Pair: p.Certificate(), Load: func() (bool, error) { return false, nil }})
	}
	return all
}

var desc = regexp.MustCompile(`^Desc\{fqName: "([^"]+)", help: "(.*?)", unit: "[^"]*", constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

// TestMetrics holds what may be measured: every name, with its labels and its help,
// stands in a golden file that is read before it changes. No label is for anything of
// a child, a professional, a case or a party.
func TestMetrics(t *testing.T) {
	var lines []string
	for part, from := range parts(t) {
		descs := make(chan *prometheus.Desc)
		go func() { from.Describe(descs); close(descs) }()
		for d := range descs {
			m := desc.FindStringSubmatch(d.String())
			if m == nil {
				t.Fatalf("no description: %s", d)
			}
			name, help, labels := m[1], m[2], m[4]
			if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
				continue
			}
			if !strings.HasPrefix(name, "seinhuis_") {
				t.Errorf("%s is not one of ours by its name", name)
			}
			if labels == "" && m[3] != "" { // of what is built
				labels = regexp.MustCompile(`="[^"]*"`).ReplaceAllString(m[3], "")
			}
			lines = append(lines, fmt.Sprintf("%-9s %s{%s} %s\n", part, name, labels, help))
		}
		if problems, err := testutil.GatherAndLint(from); err != nil || len(problems) > 0 {
			t.Errorf("%s: %v %v", part, err, problems)
		}
	}
	slices.Sort(lines)
	got := strings.Join(slices.Compact(lines), "")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("other metrics than in %s; read what is new, and run go test -update:\n%s", golden, got)
	}
	allowed := strings.Fields("age code evaluator goversion import kind listener operation outcome part period problem reason result revision use used version what")
	for _, m := range regexp.MustCompile(`\{([a-z,]*)\}`).FindAllStringSubmatch(string(want), -1) {
		for label := range strings.SplitSeq(m[1], ",") {
			if label != "" && !slices.Contains(allowed, label) {
				t.Errorf("label %q is new: think about what it can hold, and how much of it", label)
			}
		}
	}
}

// TestNextCohort holds from when on the key of those who are born next year is missed.
func TestNextCohort(t *testing.T) {
	m := &manifest.Manifest{
		Version: 7, NotAfter: time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC),
		Epochs:   []manifest.Epoch{{Number: 1, State: manifest.EpochOpen}, {Number: 2, State: manifest.EpochOpen}},
		Sharings: []manifest.Sharing{{Epoch: 1, Cohort: 2026}, {Epoch: 2, Cohort: 2026}},
	}
	have := func(sharings ...manifest.Sharing) *manifest.Manifest {
		c := *m
		c.Sharings = append(slices.Clone(m.Sharings), sharings...)
		return &c
	}
	one, two := manifest.Sharing{Epoch: 1, Cohort: 2027}, manifest.Sharing{Epoch: 2, Cohort: 2027}
	november := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		m    *manifest.Manifest
		at   time.Time
		want int
	}{
		"october":                   {m, november.Add(-2 * time.Hour), 0},
		"november by our own clock": {m, november.Add(-30 * time.Minute), 1}, // it is November in Amsterdam
		"one epoch of two":          {have(one), november, 1},
		"both":                      {have(one, two), november, 0},
		"december":                  {m, november.AddDate(0, 1, 20), 1},
	} {
		metrics := prometheus.NewRegistry()
		command.Measure(metrics, "test", func() time.Time { return c.at }, func() (*manifest.Manifest, *manifest.Directory) { return c.m, nil })
		want := fmt.Sprintf(`# HELP seinhuis_next_cohort_missing 1 from 1 November on while the manifest has no key for those born next year, in some open epoch; 0 otherwise.
# TYPE seinhuis_next_cohort_missing gauge
seinhuis_next_cohort_missing %d
# HELP seinhuis_manifest_not_after_seconds Until when the manifest is in force, in seconds since 1970.
# TYPE seinhuis_manifest_not_after_seconds gauge
seinhuis_manifest_not_after_seconds 1.8013536e+09
`, c.want)
		if err := testutil.GatherAndCompare(metrics, strings.NewReader(want), "seinhuis_next_cohort_missing", "seinhuis_manifest_not_after_seconds", "seinhuis_directory_version"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
