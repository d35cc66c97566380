// SPDX-License-Identifier: EUPL-1.2

package evaluator

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/seinhuis/seinhuis/disk/disktest"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
	"github.com/seinhuis/seinhuis/soak"
)

// wide are limits that a script of debits spends from every pool of.
var wide = Limits{Day: 30, Month: 1000, Reserve: 1000, Grants: []manifest.Grant{{From: manifesttest.Now, Daily: 30, Monthly: 500}}}

func anyDebit(r *rand.Rand) Debit { return Debit{party, 1 + r.IntN(6), true} }

// spentOn is what a store that is opened anew knows of.
func spentOn(t *testing.T, fs vfs.FS) int {
	t.Helper()
	b, err := OpenBudgets("", BudgetOptions{FS: fs, Logger: quiet{t}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	all, err := b.On(manifesttest.Now)
	if err != nil {
		t.Fatal(err)
	}
	return all[party]
}

// TestRow2Budgets loses power at every sync of a script of debits, some at the same
// time: each that was acknowledged is known, wholly, and any other wholly or not.
func TestRow2Budgets(t *testing.T) {
	soak.Row(t, 2, "power lost at every sync while budgets are debited", 2*soak.Short(20), func(t *testing.T, seed uint64) soak.Found {
		r := rand.New(rand.NewPCG(seed, 1))
		fs := vfs.NewCrashableMem()
		c := disktest.NewCamera(fs, rand.New(rand.NewPCG(seed, 2)))
		c.Kept = []int{0, 10, 50, 100}
		b, err := OpenBudgets("", BudgetOptions{FS: c, Logger: quiet{t}})
		if err != nil {
			t.Fatal(err)
		}
		c.Turn(true)
		type moment struct{ acknowledged, sent int }
		var at []moment // by picture
		sum := 0
		for range 8 {
			m := moment{acknowledged: sum, sent: sum}
			var g sync.WaitGroup
			for range 1 + r.IntN(3) {
				d := anyDebit(r)
				m.sent += d.N
				g.Go(func() {
					if err := b.Debit(d, wide, manifesttest.Now); err != nil {
						t.Error(err)
					}
				})
			}
			g.Wait()
			sum = m.sent
			for len(at) < c.Taken() {
				at = append(at, m)
			}
		}
		c.Turn(false)
		// What does not sync has no picture taken of it, and so one more.
		if got := spentOn(t, fs.CrashClone(vfs.CrashCloneCfg{})); got != sum {
			t.Errorf("power lost at the end: %d elements are known, %d were acknowledged", got, sum)
		}
		b.Close()
		for i, picture := range c.Pictures() {
			if got := spentOn(t, picture); got < at[i].acknowledged || got > at[i].sent {
				t.Errorf("picture %d: %d elements are known; %d were acknowledged, %d sent", i, got, at[i].acknowledged, at[i].sent)
			}
		}
		return soak.Found{"power losses": len(at), "elements": sum}
	})
}

// TestRow3Budgets has each operation on the disk fail, one after the other.
func TestRow3Budgets(t *testing.T) {
	soak.Row(t, 3, "an error at every operation on the disk of budgets", 1, func(t *testing.T, seed uint64) soak.Found {
		found := soak.Found{}
		for index := 0; found["beyond the end"] == 0 && !t.Failed(); index++ {
			t.Run(fmt.Sprintf("operation=%d", index), func(t *testing.T) { failDebit(t, seed, index, found) })
		}
		return found
	})
}

func failDebit(t *testing.T, seed uint64, index int, found soak.Found) {
	r := rand.New(rand.NewPCG(seed, 3))
	fs := vfs.NewCrashableMem()
	c := disktest.NewCamera(fs, r)
	c.Kept = []int{[]int{0, 10, 50, 100}[r.IntN(4)]}
	var armed atomic.Bool
	var count atomic.Int64
	failed := make(chan errorfs.Op, 1)
	broken := disktest.Faulty(c, func(op errorfs.Op) error {
		if armed.Load() && count.Add(1) == int64(index)+1 {
			failed <- op
			return errorfs.ErrInjected
		}
		return nil
	})
	died := make(chan struct{})
	b, err := OpenBudgets("", BudgetOptions{FS: broken, Logger: fatal{quiet{t}, new(sync.Once), died}})
	if err != nil {
		t.Fatal(err)
	}
	armed.Store(true)
	acknowledged, sent := 0, 0
	for range 10 {
		d := anyDebit(r)
		sent += d.N
		answer := make(chan error, 1)
		go func() { answer <- b.Debit(d, wide, manifesttest.Now) }()
		select {
		case <-died:
			armed.Store(false)
			found["ends"]++
			c.Turn(true)
			c.Shoot()
			if got := spentOn(t, c.Pictures()[0]); got < acknowledged || got > sent {
				t.Errorf("%d elements are known; %d were acknowledged, %d sent", got, acknowledged, sent)
			}
			return
		case err := <-answer:
			if err != nil {
				found["errors"]++
				sent -= d.N // and nothing was spent
				continue
			}
			acknowledged += d.N
		}
	}
	armed.Store(false)
	select {
	case <-failed:
	default:
		found["beyond the end"]++
	}
	b.Close()
	if got := spentOn(t, fs); got != acknowledged {
		t.Errorf("%d elements are known, %d were acknowledged", got, acknowledged)
	}
}
