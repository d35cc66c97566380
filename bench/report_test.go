// SPDX-License-Identifier: EUPL-1.2

package bench

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

// A Row is one line of the table. Ours and Theirs are the medians of the
// repetitions, in Unit; Ratio is ours by theirs.
type Row struct {
	ID     string    `json:"id"`
	Work   string    `json:"work"`
	Peer   string    `json:"peer"`
	Unit   string    `json:"unit"`
	Ours   float64   `json:"ours"`
	Theirs float64   `json:"theirs,omitempty"` // absent: the peer was missing, or there is none
	Ratio  float64   `json:"ratio,omitempty"`
	Aim    Aim       `json:"aim"`
	Met    bool      `json:"met"`
	Note   string    `json:"note,omitempty"`
	Why    string    `json:"why,omitempty"` // what the profile shows, where the aim is missed
	All    [2]series `json:"repetitions"`   // ours, theirs
	Read   string    `json:"-"`             // the commit of the profile, if it is not profiled
	On     Machine   `json:"on"`
}

type series []float64

// profiled is the commit whose profiles the rows' reasons were read from.
const profiled = "a9b8e8a360bb"

// An Aim is a bound on the ratio, or on our figure where nothing is beside it.
type Aim struct {
	Bound  float64 `json:"bound"`
	AtMost bool    `json:"atMost"`
	OfOurs bool    `json:"ofOurs,omitempty"`
}

func atLeast(ratio float64) Aim { return Aim{Bound: ratio} }
func atMost(ratio float64) Aim  { return Aim{Bound: ratio, AtMost: true} }
func under(ours float64) Aim    { return Aim{Bound: ours, AtMost: true, OfOurs: true} }

// A Machine is what a row was measured on, and of what.
type Machine struct {
	CPU    string    `json:"cpu"`
	Cores  int       `json:"cores"`
	OS     string    `json:"os"`
	Go     string    `json:"go"`
	Commit string    `json:"commit"` // with + when the work tree differed
	Size   string    `json:"size"`   // usual or full
	Load   float64   `json:"load"`   // average of the last minute, when it began: others' work, if not near 0
	Steal  float64   `json:"steal"`  // share of the CPU time that the machine's host withheld, so far in the suite
	Time   time.Time `json:"time"`
}

// busy tells whether others were at work on the machine.
func (m Machine) busy() bool { return m.Load > float64(m.Cores)/2 }

// row adds a row of what was measured.
func (r *run) row(row Row, ours, theirs []float64) {
	row.ID, row.All, row.On = r.id, [2]series{ours, theirs}, machine()
	if total, stolen := ticks(); total > r.began.total {
		row.On.Steal = float64(stolen-r.began.stolen) / float64(total-r.began.total)
	}
	row.Ours = median(ours)
	measured := row.Ours
	if len(theirs) > 0 {
		row.Theirs = median(theirs)
		row.Ratio = row.Ours / row.Theirs
	}
	if !row.Aim.OfOurs {
		measured = row.Ratio
	}
	row.Met = measured > 0 && (row.Aim.AtMost == (measured <= row.Aim.Bound) || measured == row.Aim.Bound)
	if row.Met {
		row.Why = ""
	}
	if row.Why != "" {
		row.Why += " (profile of " + cmp.Or(row.Read, profiled) + ")"
	}
	r.rows = append(r.rows, row)
}

func median(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	mid := len(list) / 2
	if len(list)%2 == 1 {
		return list[mid]
	}
	return (list[mid-1] + list[mid]) / 2
}

// figure prints three digits.
func figure(f float64) string {
	if f >= 100 || f == 0 {
		return strconv.FormatFloat(f, 'f', 0, 64)
	}
	return strconv.FormatFloat(f, 'g', 3, 64)
}

func (row Row) line() string {
	peer, ratio := "none", "none"
	if row.Theirs > 0 {
		peer, ratio = figure(row.Theirs), figure(row.Ratio)
	}
	return fmt.Sprintf("id=%s ours=%s peer=%s ratio=%s aim=%q met=%t unit=%q work=%q against=%q",
		row.ID, figure(row.Ours), peer, ratio, row.Aim, row.Met, row.Unit, row.Work, row.Peer)
}

func (a Aim) String() string {
	sign, times := "≥", "×"
	if a.AtMost {
		sign = "≤"
	}
	if a.OfOurs {
		times = ""
	}
	return fmt.Sprintf("%s %g%s", sign, a.Bound, times)
}

// verdict is the row's last cell.
func (row Row) verdict() string {
	switch {
	case row.Met:
		return "yes"
	case row.Ratio == 0 && !row.Aim.OfOurs:
		return "no peer"
	}
	return "NO"
}

// report prints the table, and keeps it beside the chart. Rows of other ids stay
// as they were measured before: each says of what commit it is.
func report(t *testing.T, rows []Row) {
	var text bytes.Buffer
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "work\tunit\tours\tpeer\t\tratio\taim\tmet")
	for _, row := range rows {
		theirs, ratio := "-", "-"
		if row.Theirs > 0 {
			theirs, ratio = figure(row.Theirs), figure(row.Ratio)+"×"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", row.Work, row.Unit, figure(row.Ours), theirs, row.Peer, ratio, row.Aim, row.verdict())
	}
	w.Flush()
	fmt.Printf("\n%s\n", &text)
	for _, row := range rows {
		for _, said := range []string{row.Note, row.Why} {
			if said != "" {
				fmt.Printf("%s: %s\n", row.Work, said)
			}
		}
	}
	m := machine()
	fmt.Printf("\n%s, %d cores, %s, %s, commit %s\n", m.CPU, m.Cores, m.OS, m.Go, m.Commit)
	steal := 0.0
	for _, row := range rows {
		steal = max(steal, row.On.Steal)
	}
	if steal > 0.02 {
		fmt.Printf("THE HOST WITHHELD up to %.0f %% of the CPU time: these figures are not worth keeping\n", steal*100)
	}
	if m.busy() {
		fmt.Printf("THE MACHINE WAS BUSY when it began (load %.2g): these figures are not worth keeping\n", m.Load)
	}
	if *results == "" {
		return
	}
	path := filepath.Join(*results, "latest.json")
	if err := keep(path, rows); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("kept in %s and latest.svg\n", path)
}

func keep(path string, rows []Row) error {
	var kept struct {
		Rows []Row `json:"rows"`
	}
	old, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(old, &kept)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var all []Row
	for _, s := range suites {
		from := kept.Rows
		if slices.ContainsFunc(rows, func(row Row) bool { return row.ID == s.id }) {
			from = rows
		}
		for _, row := range from {
			if row.ID == s.id {
				all = append(all, row)
			}
		}
	}
	kept.Rows = all
	text, err := json.MarshalIndent(kept, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(path, append(text, '\n'), 0o644),
		os.WriteFile(strings.TrimSuffix(path, ".json")+".svg", chart(all), 0o644))
}

// ticks are the CPU time of the machine since it started, and how much of it a
// virtual machine was made to wait, in the kernel's own unit (proc(5), /proc/stat).
func ticks() (total, stolen uint64) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	first, _, _ := strings.Cut(string(text), "\n")
	for i, field := range strings.Fields(first) { // cpu user nice system idle iowait irq softirq steal guest…
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil || i > 8 {
			continue
		}
		if total += n; i == 8 {
			stolen = n
		}
	}
	return total, stolen
}

// machine looks at where it runs, once.
var machine = sync.OnceValue(func() Machine {
	m := Machine{
		CPU: runtime.GOARCH, Cores: runtime.NumCPU(), OS: runtime.GOOS, Go: runtime.Version(),
		Size: *size, Time: time.Now().UTC().Truncate(time.Second),
	}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	if out, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output(); err == nil {
		m.Commit = strings.TrimSpace(string(out))
	}
	// The results themselves do not make it another commit.
	if out, err := exec.Command("git", "status", "--porcelain", "--", ":/", ":(exclude,top)bench/results").Output(); err == nil && len(out) > 0 {
		m.Commit += "+"
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		fmt.Sscan(string(text), &m.Load)
	}
	return m
})
