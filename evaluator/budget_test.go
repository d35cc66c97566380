// SPDX-License-Identifier: EUPL-1.2

package evaluator

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
)

var limits = Limits{Day: 10, Month: 25}

func TestBudgetPeriods(t *testing.T) {
	b := newBudgets(t)
	day := func(m time.Month, d, hour int) time.Time { return time.Date(2027, m, d, hour, 0, 0, 0, time.UTC) }
	for i, c := range []struct {
		now  time.Time
		n    int
		wait time.Duration // zero: it fits
	}{
		{day(3, 29, 6), 10, 0},
		{day(3, 29, 6), 1, 18 * time.Hour},
		{day(3, 30, 0), 11, 24 * time.Hour},
		{day(3, 30, 0), 10, 0},
		{day(3, 29, 23), 1, time.Hour}, // the clock goes back: the day is still spent
		{day(3, 31, 1), 6, 23 * time.Hour},
		{day(3, 31, 1), 5, 0},
		{day(3, 31, 1), 1, 23 * time.Hour}, // the month, which ends with the day
		{day(4, 1, 0), 10, 0},
		{day(4, 2, 0), 10, 0},
		{day(4, 3, 0), 6, 28 * 24 * time.Hour}, // the month
		{time.Date(2028, 4, 3, 0, 0, 0, 0, time.UTC), 1, 0},
		{day(4, 2, 0), 6, 29 * 24 * time.Hour}, // a year back again: the month is still spent
	} {
		err := b.Debit(Debit{Party: party, N: c.n}, limits, c.now)
		over, ok := errors.AsType[*BudgetError](err)
		switch {
		case c.wait == 0 && err != nil:
			t.Errorf("%d: %v", i, err)
		case c.wait != 0 && (!ok || over.Wait != c.wait):
			t.Errorf("%d: %v %+v, want a wait of %v", i, err, over, c.wait)
		}
	}
}

func TestPrune(t *testing.T) {
	b := newBudgets(t)
	now := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	debit := func(now time.Time) {
		t.Helper()
		if err := b.Debit(Debit{Party: party, N: 1}, limits, now); err != nil {
			t.Fatal(err)
		}
	}
	for month := range 20 {
		debit(now.AddDate(0, month-19, 0))
	}
	granted := limits
	granted.Day, granted.Reserve, granted.Grants = 1, 5, []manifest.Grant{{From: now.AddDate(-2, 0, 0), Daily: 1, Monthly: 31}}
	for month := range 20 { // a report spends grant and reserve
		if err := b.Debit(Debit{party, 2, true}, granted, now.AddDate(0, month-19, 0)); err != nil {
			t.Fatal(err)
		}
	}
	for day := range 20 {
		debit(now.AddDate(0, 0, day))
		if err := b.Debit(Debit{party, 2, true}, granted, now.AddDate(0, 0, day)); err != nil {
			t.Fatal(err)
		}
	}
	it, err := b.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	rows := map[byte]int{}
	for it.First(); it.Valid(); it.Next() {
		rows[it.Key()[0]]++
	}
	for prefix, want := range map[byte]int{
		prefixDay: keepDays + 1, prefixGrantDay: keepDays + 1, prefixReserve: keepDays + 1,
		prefixMonth: keepMonths + 1, prefixGrantMonth: keepMonths + 1,
	} {
		if rows[prefix] != want {
			t.Errorf("%d rows %c are kept, want %d", rows[prefix], prefix, want)
		}
	}
}

func TestDamagedRow(t *testing.T) {
	b := newBudgets(t)
	if err := b.db.Set(append(dayKey(prefixDay, manifesttest.Now), party...), []byte{1}, pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := b.Debit(Debit{Party: party, N: 1}, limits, manifesttest.Now); !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v, want ErrCorrupt", err)
	}
}

// fatal stands for the end of the process: whoever calls it does not go on.
type fatal struct {
	quiet
	once *sync.Once
	died chan struct{}
}

func (f fatal) Errorf(string, ...any) {}
func (f fatal) Fatalf(string, ...any) {
	f.once.Do(func() { close(f.died) })
	select {}
}

// A failed fsync stops the process; nobody gets an answer that it does not cover.
func TestFailedSync(t *testing.T) {
	var failing atomic.Bool
	disk := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		sync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
		if failing.Load() && sync && strings.HasSuffix(op.Path, ".log") {
			return errorfs.ErrInjected
		}
		return nil
	}))
	died := make(chan struct{})
	b, err := OpenBudgets("", BudgetOptions{FS: disk, Logger: fatal{quiet{t}, new(sync.Once), died}})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Debit(Debit{Party: party, N: 1}, limits, manifesttest.Now); err != nil {
		t.Fatal(err)
	}
	failing.Store(true)
	answered := make(chan error)
	go func() { answered <- b.Debit(Debit{Party: party, N: 1}, limits, manifesttest.Now) }()
	select {
	case <-died:
	case err := <-answered:
		t.Errorf("it goes on after a failed sync (%v)", err)
	}
}

// Requests at the same time spend a budget once each, and no more than there is.
func TestDebitsAtTheSameTime(t *testing.T) {
	b := newBudgets(t)
	l := Limits{Day: 100, Month: 1000}
	var taken atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if b.Debit(Debit{Party: party, N: 1}, l, manifesttest.Now) == nil {
					taken.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if got, err := b.Balance(party, l, manifesttest.Now); err != nil || taken.Load() != 100 || got.Day.Spent != 100 {
		t.Errorf("%d taken, %d spent (%v), want 100", taken.Load(), got.Day.Spent, err)
	}
}
