// SPDX-License-Identifier: EUPL-1.2

package evaluator

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
	"github.com/seinhuis/seinhuis/soak"
)

var storedLimits = Limits{Day: 10, Month: 100, Reserve: 5, Grants: []manifest.Grant{{From: manifesttest.Now, Until: manifesttest.Now.AddDate(1, 0, 0), Daily: 20, Monthly: 30}}}

// TestRow13EvaluatorStores opens the budgets of every earlier version, and finds spent
// what was spent.
func TestRow13EvaluatorStores(t *testing.T) {
	soak.Stores(t, "evaluator", "evaluators of earlier versions", storeBudgets, openStoredBudgets)
}

func storeBudgets(t *testing.T, folder string) {
	disk := vfs.NewMem()
	b, err := OpenBudgets("db", BudgetOptions{FS: disk, Logger: quiet{t}})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []Debit{{party, 27, false}, {party, 6, true}, {otherParty, 3, false}} {
		if wait := spends(t, b, d, storedLimits, manifesttest.Now.Add(time.Minute)); wait != 0 {
			t.Fatal(wait)
		}
	}
	holds := map[string]Balance{}
	for _, p := range []string{party, otherParty} {
		if holds[p], err = b.Balance(p, storedLimits, manifesttest.Now.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.MarshalIndent(holds, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "holds.json"), append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	if ok, err := vfs.Clone(disk, vfs.Default, "db", filepath.Join(folder, "db")); err != nil || !ok {
		t.Fatal(ok, err)
	}
}

func openStoredBudgets(t *testing.T, folder string) (rows int) {
	text, err := os.ReadFile(filepath.Join(folder, "holds.json"))
	if err != nil {
		t.Fatal(err)
	}
	var holds map[string]Balance
	if err := json.Unmarshal(text, &holds); err != nil || len(holds) < 2 {
		t.Fatal(len(holds), err)
	}
	disk := vfs.NewMem() // the stored one is left as it is
	if ok, err := vfs.Clone(vfs.Default, disk, filepath.Join(folder, "db"), "db"); err != nil || !ok {
		t.Fatal(ok, err)
	}
	b, err := OpenBudgets("db", BudgetOptions{FS: disk, Logger: quiet{t}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for p, want := range holds {
		if got, err := b.Balance(p, storedLimits, manifesttest.Now.Add(time.Hour)); err != nil || got != want || want.Day.Spent == 0 {
			t.Errorf("%s: %+v, want %+v (%v)", folder, got, want, err)
		}
		now := manifesttest.Now.Add(time.Hour)
		if wait := spends(t, b, Debit{p, want.Left, false}, storedLimits, now); want.Left > 0 && wait != 0 {
			t.Errorf("%s: what is left is not taken", folder)
		}
		if wait := spends(t, b, Debit{p, 1, false}, storedLimits, now); wait == 0 {
			t.Errorf("%s: more than the budget is taken", folder)
		}
	}
	return len(holds)
}
