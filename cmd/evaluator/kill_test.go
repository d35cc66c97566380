// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bufio"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/cmd/internal/command"
	"github.com/seinhuis/seinhuis/evaluator"
	"github.com/seinhuis/seinhuis/logging"
	"github.com/seinhuis/seinhuis/soak"
)

// TestRow1Debits kills an evaluator at a random moment, while clients have elements
// evaluated: each that was answered is debited.
func TestRow1Debits(t *testing.T) {
	s := newSite(t)
	s.Manifest.Policy.DailyBudget, s.Manifest.Policy.MonthlyBudget = 1e6, 1e6
	s.publish(t)
	binary := filepath.Join(t.TempDir(), "evaluator")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make build does
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	short := 10
	if soak.Race {
		short = 4
	}
	var answered, sent atomic.Int64 // of all tries: the budget is one
	known := 0
	soak.Row(t, 1, "kill -9 of an evaluator", short, func(t *testing.T, seed uint64) soak.Found {
		r := rand.New(rand.NewPCG(seed, 1))
		cmd := exec.Command(binary, "serve", "-config", s.in("evaluator.json"))
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		run := &running{log: bufio.NewScanner(stderr), addr: map[string]string{}}
		run.addr["evaluation"], _ = run.await(t, "listening")["evaluation"].(string)
		left := atomic.Int64{}
		left.Store(1 + r.Int64N(40))
		pause := time.Duration(r.IntN(3000)) * time.Microsecond
		var g sync.WaitGroup
		for range 3 {
			g.Go(func() {
				for {
					sent.Add(1)
					status, err := s.ask(t, run)
					if err != nil {
						return // nobody is there
					}
					if status != http.StatusOK {
						t.Errorf("it answers %d", status)
						_ = cmd.Process.Kill()
						return
					}
					answered.Add(1)
					if left.Add(-1) == 0 {
						time.AfterFunc(pause, func() { _ = cmd.Process.Kill() })
					}
				}
			})
		}
		g.Wait()
		_ = cmd.Wait()
		b, err := evaluator.OpenBudgets(s.in("data/budgets"), evaluator.BudgetOptions{Logger: command.PebbleLog{Logger: logging.Discard()}})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		debited := 0
		for _, day := range []time.Time{time.Now(), time.Now().AddDate(0, 0, -1)} {
			all, err := b.On(day)
			if err != nil {
				t.Fatal(err)
			}
			debited += all[string(school)]
		}
		if debited < int(answered.Load()) || debited > int(sent.Load()) {
			t.Errorf("%d elements are debited; %d were answered, %d sent", debited, answered.Load(), sent.Load())
		}
		fresh := debited - known
		known = debited
		return soak.Found{"kills": 1, "debited": fresh}
	})
}
