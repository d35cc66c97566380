// SPDX-License-Identifier: EUPL-1.2

// Package bench measures Seinhuis beside what people would use instead. `make
// bench` runs it; README.md says what each row means.
//
// What is measured is the product itself, from its own module. The peers are a
// program of a module of their own, in bench/peers, that is told over a pipe what
// to load and what to run (see peers_test.go). So in one run ours and the peer's
// repetitions alternate on one machine, and nothing of the peers is linked here.
//
// It is a test binary because worlds of real parts are made by the test packages
// matchertest and gatewaytest. An ordinary `go test` runs every row at a tiny size
// without peers: that the rows still run, and that ours is right.
package bench

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	what    = flag.String("what", "", "measure the rows of these ids, with commas between; all for all")
	size    = flag.String("size", "usual", "usual, full, or tiny to try the program")
	program = flag.String("peers", "", "the peers' program; rows stand without a peer if there is none")
	results = flag.String("results", "", "folder for latest.json and latest.svg; printed only, if empty")
	profile = flag.String("profile", "", "folder for a CPU profile of ours for each row; the figures then hold its cost")
	serve   = flag.String("serve", "", "be the other side of the row gateway, with files in this folder")
)

// A suite is the rows of one id.
type suite struct {
	id  string
	run func(*run)
}

var suites = []suite{
	{"join", benchJoin},
	{"submit", benchSubmit},
	{"http", benchHTTP},
	{"bulk", benchBulk},
	{"evaluator", benchEvaluator},
	{"gateway", benchGateway},
	{"sweep", benchSweep},
	{"growth", benchGrowth},
	{"size", benchSize},
}

// sizes say how much is measured.
type sizes struct {
	reps       int // repetitions of each side; figures are their medians
	durable    int // repetitions where each takes long and writes much
	build      int // rows of the join's build side
	probe      [2]int
	parties    int           // in the directory
	newcomers  int           // parties beside them who have signalled nobody yet
	stored     int           // signals before anybody submits
	submits    int           // in a repetition
	bulkStored int           // signals before a bulk
	bulk       int           // signals of a bulk
	crypto     time.Duration // of a repetition on one core
	signals    int           // of a gateway in a repetition
	grown      []int         // signals in stores that are compared
}

var bySize = map[string]sizes{
	"tiny": {
		reps: 1, durable: 1, build: 20_000, probe: [2]int{20_000, 2_000}, parties: 20,
		stored: 400, submits: 200, bulkStored: 400, bulk: 300,
		crypto: 10 * time.Millisecond, signals: 3, grown: []int{200, 600},
	},
	"usual": {
		reps: 5, durable: 3, build: 10_000_000, probe: [2]int{10_000_000, 1_000_000}, parties: 1000,
		stored: 100_000, submits: 10_000, bulkStored: 200_000, bulk: 50_000,
		crypto: 300 * time.Millisecond, signals: 300, grown: []int{100_000, 1_000_000},
	},
	"full": {
		reps: 5, durable: 5, build: 10_000_000, probe: [2]int{10_000_000, 1_000_000}, parties: 1000,
		stored: 1_000_000, submits: 30_000, bulkStored: 2_000_000, bulk: 500_000,
		crypto: time.Second, signals: 1000, grown: []int{100_000, 1_000_000, 10_000_000},
	},
}

// A run is one suite's run.
type run struct {
	*testing.T
	sizes
	id     string
	began  struct{ total, stolen uint64 } // ticks
	peers  *peers                         // nil: there are none
	rows   []Row
	parent *testing.T     // of all suites
	houses map[int]*house // that suites share, by their signals; they end with parent
}

// TestBench measures and reports. It runs only when it is told what.
func TestBench(whole *testing.T) {
	if *what == "" {
		whole.Skip("`make bench` measures")
	}
	measured, ok := bySize[*size]
	if !ok {
		whole.Fatalf("there is no size %q", *size)
	}
	wanted := strings.Split(*what, ",")
	known := func(id string) bool {
		return id == "all" || slices.ContainsFunc(suites, func(s suite) bool { return s.id == id })
	}
	for _, id := range wanted {
		if !known(id) {
			whole.Fatalf("no row has the id %q", id)
		}
	}
	warnOfMemory(whole)
	machine() // before our own load
	p := startPeers(whole)
	var rows []Row
	houses := map[int]*house{}
	for _, s := range suites {
		if !slices.Contains(wanted, "all") && !slices.Contains(wanted, s.id) {
			continue
		}
		whole.Run(s.id, func(t *testing.T) {
			r := &run{T: t, sizes: measured, id: s.id, peers: p, parent: whole, houses: houses}
			r.began.total, r.began.stolen = ticks()
			s.run(r)
			for _, row := range r.rows {
				fmt.Println(row.line())
			}
			rows = append(rows, r.rows...)
		})
	}
	report(whole, rows)
}

// TestRows runs every row at a tiny size, without peers.
func TestRows(whole *testing.T) {
	houses := map[int]*house{}
	for _, s := range suites {
		whole.Run(s.id, func(t *testing.T) {
			r := &run{T: t, sizes: bySize["tiny"], id: s.id, parent: whole, houses: houses}
			s.run(r)
			for _, row := range r.rows {
				if row.Ours <= 0 {
					t.Errorf("%s: ours is %v", row.Work, row.Ours)
				}
			}
		})
	}
}

func (r *run) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// say tells on the terminal what takes long.
func (r *run) say(format string, args ...any) {
	if *what != "" {
		fmt.Fprintf(os.Stderr, "%s: %s\n", r.id, fmt.Sprintf(format, args...))
	}
}

// A side runs one repetition and gives its figure.
type side func(rep int) float64

// peer is the peer's side, or none where there are no peers.
func (r *run) peer(s side) side {
	if r.peers == nil {
		return nil
	}
	return s
}

// alternate runs both sides in turn and gives the figures of all repetitions.
func (r *run) alternate(name string, ours, theirs side) (o, p []float64) {
	r.Helper()
	for rep := range r.reps {
		stop := r.startProfile(name, rep)
		o = append(o, ours(rep))
		stop()
		said := "none"
		if theirs != nil {
			p = append(p, theirs(rep))
			said = figure(p[rep])
		}
		r.say("%s, repetition %d of %d: ours %s, peer %s", name, rep+1, r.reps, figure(o[rep]), said)
	}
	return o, p
}

// startProfile writes a profile of each repetition, if that was asked for: where they
// differ, so do their profiles.
func (r *run) startProfile(name string, rep int) (stop func()) {
	r.Helper()
	if *profile == "" {
		return func() {}
	}
	r.must(os.MkdirAll(*profile, 0o755))
	f, err := os.Create(filepath.Join(*profile, fmt.Sprintf("%s-%d.pprof", strings.ReplaceAll(name, " ", "-"), rep+1)))
	r.must(err)
	r.must(pprof.StartCPUProfile(f))
	return func() {
		pprof.StopCPUProfile()
		f.Close()
	}
}
