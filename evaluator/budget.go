// SPDX-License-Identifier: EUPL-1.2

package evaluator

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Limits are a party's budget in elements, per UTC day and UTC month.
type Limits struct {
	Day   int
	Month int
}

// A BudgetError says that a budget does not reach, and how long until it is new.
type BudgetError struct {
	Wait time.Duration
}

func (e *BudgetError) Error() string { return "evaluator: the party's budget is spent" }

// ErrCorrupt says that a row of the store does not hold what it must.
var ErrCorrupt = errors.New("evaluator: a budget's row is damaged; restore the data folder, or move it away to start with fresh budgets")

// The whole key schema. Periods are in UTC, the party is its id.
//
//	d yyyymmdd(8) party    elements spent on the day, u64 big-endian
//	m yyyymm(6)   party    elements spent in the month, u64 big-endian
const (
	prefixDay   = 'd'
	prefixMonth = 'm'

	layoutDay   = "20060102"
	layoutMonth = "200601"
)

func dayKey(t time.Time, party string) []byte {
	return append(t.UTC().AppendFormat([]byte{prefixDay}, layoutDay), party...)
}

func monthKey(t time.Time, party string) []byte {
	return append(t.UTC().AppendFormat([]byte{prefixMonth}, layoutMonth), party...)
}

// Rows stay a while after their period: a clock that is set back must not give a
// budget anew. Months stay so long that a year ahead and back again does not
// either.
const (
	keepDays   = 7
	keepMonths = 13
)

// Budgets is what parties have spent, on Pebble in one folder of one process.
//
// When Debit returns nil, the debit is on disk. A write or sync that fails ends
// the process: after a failed fsync nobody knows what is on disk, and asking again
// would hide it.
type Budgets struct {
	db    *pebble.DB
	seed  maphash.Seed
	locks [64]sync.Mutex // by party, so that debits of different parties share a sync

	pruning sync.Mutex
	pruned  string // the day on which old rows were last dropped
}

// BudgetOptions say what the store stands on.
type BudgetOptions struct {
	FS     vfs.FS        // the disk, when nil
	Logger pebble.Logger // pebble's own, when nil; its Fatalf must not return
}

// OpenBudgets opens or makes the store in a folder.
func OpenBudgets(folder string, o BudgetOptions) (*Budgets, error) {
	db, err := pebble.Open(folder, &pebble.Options{
		FormatMajorVersion: pebble.FormatColumnarBlocks,
		FS:                 o.FS,
		Logger:             o.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("evaluator: opening %s, which one process at a time may: %w", folder, err)
	}
	return &Budgets{db: db, seed: maphash.MakeSeed()}, nil
}

// Close closes the store; nothing may use it any more.
func (b *Budgets) Close() error { return b.db.Close() }

// Room tells whether n more elements fit a party's budget, without spending; if
// not, the error is a *BudgetError.
func (b *Budgets) Room(party string, n int, l Limits, now time.Time) error {
	_, _, err := b.add(party, n, l, now)
	return err
}

// Debit spends n elements of a party's budget, or gives a *BudgetError and spends
// nothing. When it returns nil the debit is durable.
func (b *Budgets) Debit(party string, n int, l Limits, now time.Time) error {
	if err := b.prune(now); err != nil {
		return err
	}
	lock := &b.locks[maphash.String(b.seed, party)%uint64(len(b.locks))]
	lock.Lock()
	defer lock.Unlock()
	day, month, err := b.add(party, n, l, now)
	if err != nil {
		return err
	}
	batch := b.db.NewBatch()
	defer batch.Close()
	err = errors.Join(
		batch.Set(dayKey(now, party), binary.BigEndian.AppendUint64(nil, day), nil),
		batch.Set(monthKey(now, party), binary.BigEndian.AppendUint64(nil, month), nil),
	)
	if err != nil {
		return fmt.Errorf("evaluator: %w", err)
	}
	if err := batch.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("evaluator: %w", err)
	}
	return nil
}

// add gives what will have been spent with n elements more.
func (b *Budgets) add(party string, n int, l Limits, now time.Time) (day, month uint64, err error) {
	if day, err = b.spent(dayKey(now, party)); err != nil {
		return 0, 0, err
	}
	if month, err = b.spent(monthKey(now, party)); err != nil {
		return 0, 0, err
	}
	day, month = day+uint64(n), month+uint64(n)
	y, m, d := now.UTC().Date()
	switch {
	case month > uint64(l.Month):
		return 0, 0, &BudgetError{Wait: time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC).Sub(now)}
	case day > uint64(l.Day):
		return 0, 0, &BudgetError{Wait: time.Date(y, m, d+1, 0, 0, 0, 0, time.UTC).Sub(now)}
	}
	return day, month, nil
}

func (b *Budgets) spent(key []byte) (uint64, error) {
	value, closer, err := b.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("evaluator: %w", err)
	}
	defer closer.Close()
	if len(value) != 8 {
		return 0, ErrCorrupt
	}
	return binary.BigEndian.Uint64(value), nil
}

// prune drops, once a day, the rows that no longer count. It need not be durable:
// what comes back is dropped the next day.
func (b *Budgets) prune(now time.Time) error {
	today := now.UTC().Format(layoutDay)
	b.pruning.Lock()
	defer b.pruning.Unlock()
	if b.pruned == today {
		return nil
	}
	y, m, d := now.UTC().Date()
	err := errors.Join(
		b.db.DeleteRange([]byte{prefixDay}, dayKey(time.Date(y, m, d-keepDays, 0, 0, 0, 0, time.UTC), ""), pebble.NoSync),
		b.db.DeleteRange([]byte{prefixMonth}, monthKey(time.Date(y, m-keepMonths, 1, 0, 0, 0, 0, time.UTC), ""), pebble.NoSync),
	)
	if err != nil {
		return fmt.Errorf("evaluator: %w", err)
	}
	b.pruned = today
	return nil
}
