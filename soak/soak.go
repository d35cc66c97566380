// SPDX-License-Identifier: EUPL-1.2

// Package soak tries what must survive: the rows of the table of faults, each
// with as many seeds as there is time for.
//
// A row's test is named TestRow<n> and what it does, and stands in the package that
// keeps the promise:
//
//	func TestRow2PowerLoss(t *testing.T) {
//		soak.Row(t, 2, "power lost at a random sync", 200, func(t *testing.T, seed uint64) soak.Found {
//			…
//			return soak.Found{"power losses": 1, "acknowledged": n}
//		})
//	}
//
// make test tries each row briefly and always with the same seeds; make soak ROW=2
// COUNT=100000 SEED=7 as often as asked, from that seed on. Either ends with one
// line on what was tried and what came of it.
package soak

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What make soak asks for, and where make test gathers the lines.
const (
	envCount = "SEINHUIS_SOAK_COUNT"
	envSeed  = "SEINHUIS_SOAK_SEED"
	envLines = "SEINHUIS_SOAK_LINES"
)

// tooMany is how many seeds may break a promise before the rest is left.
const tooMany = 3

// Found is what tries met, counted by name: what shows that they tried anything.
type Found map[string]int

// Row tries a row of the table with a number of seeds: with few of them, or as many
// as make soak says. What a try does at random must come from its seed alone.
func Row(t *testing.T, row int, fault string, short int, try func(t *testing.T, seed uint64) Found) {
	t.Helper()
	count, first := number(t, envCount, uint64(short)), number(t, envSeed, 1)
	found, broken := make(Found), 0
	tried := uint64(0)
	for ; tried < count && broken < tooMany; tried++ {
		seed := first + tried
		kept := t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			for name, n := range try(t, seed) {
				found[name] += n
			}
		})
		if !kept {
			broken++
			t.Logf("make soak ROW=%d COUNT=1 SEED=%d shows it again, at commit %s", row, seed, commit())
		}
	}
	say(t, fmt.Sprintf("row %d, %s: %d tried from seed %d, %d broke a promise; %s", row, fault, tried, first, broken, found))
}

// String lists what was counted, by name.
func (f Found) String() string {
	words := make([]string, 0, len(f))
	for _, name := range slices.Sorted(maps.Keys(f)) {
		words = append(words, fmt.Sprintf("%s %d", name, f[name]))
	}
	return strings.Join(words, ", ")
}

// Short is how many seeds a row's short form tries: that many, or a twentieth under
// the race detector, which makes each ten times as long.
func Short(seeds int) int {
	if Race {
		return max(1, seeds/20)
	}
	return seeds
}

// Long tells whether make soak runs.
func Long() bool { return os.Getenv(envCount) != "" }

func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s is no whole number", name)
	}
	return n
}

func say(t *testing.T, line string) {
	t.Helper()
	fmt.Println(line)
	path := os.Getenv(envLines)
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(f, line); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func commit() string {
	out, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
