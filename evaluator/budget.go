// SPDX-License-Identifier: EUPL-1.2

package evaluator

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/disk"
	"github.com/seinhuis/seinhuis/manifest"
)

// Limits are what a party may have evaluated, in elements.
type Limits struct {
	Day, Month int              // the policy's budget, a UTC day and a UTC month
	Reserve    int              // a UTC day, above the budget, for reports alone
	Grants     []manifest.Grant // that are in force; they are spent before the budget
}

// LimitsOf are a party's limits at an instant.
func LimitsOf(p manifest.Party, policy manifest.Policy, now time.Time) Limits {
	return Limits{Day: policy.DailyBudget, Month: policy.MonthlyBudget, Reserve: policy.ReportReserve, Grants: p.GrantsAt(now)}
}

// A BudgetError says that a budget does not reach, and how long until it is new.
type BudgetError struct {
	Wait time.Duration
}

func (e *BudgetError) Error() string { return "evaluator: the party's budget is spent" }

// A Debit is elements of a party. A report may spend the reserve too.
type Debit struct {
	Party  string
	N      int
	Report bool
}

// ErrCorrupt says that a row of the store does not hold what it must.
var ErrCorrupt = errors.New("evaluator: a budget's row is damaged; restore the data folder, or move it away to start with fresh budgets")

// The whole key schema. Periods are in UTC, the party is its id, and from is a
// grant's, in Unix seconds. Rows are elements spent, u64 big-endian.
//
//	d yyyymmdd(8) party          of the budget, on the day
//	m yyyymm(6)   party          of the budget, in the month
//	g yyyymmdd(8) from(8) party  of a grant, on the day
//	h yyyymm(6)   from(8) party  of a grant, in the month
//	r yyyymmdd(8) party          of the reserve for reports, on the day
//
// A witness has a row beside them (witness.go).
//
// Grants have rows of their own, so that what was spent of one takes nothing from the
// budget when it has ended.
const (
	prefixDay        = 'd'
	prefixMonth      = 'm'
	prefixGrantDay   = 'g'
	prefixGrantMonth = 'h'
	prefixReserve    = 'r'

	layoutDay   = "20060102"
	layoutMonth = "200601"
)

func dayKey(prefix byte, t time.Time) []byte {
	return t.UTC().AppendFormat([]byte{prefix}, layoutDay)
}

func monthKey(prefix byte, t time.Time) []byte {
	return t.UTC().AppendFormat([]byte{prefix}, layoutMonth)
}

// A pool is elements that may be spent: so many a day and, if it has a row for the
// month, so many a month.
type pool struct {
	day, month           []byte
	dayLimit, monthLimit uint64
	daySpent, monthSpent uint64
}

// left is what may be spent now, and what could be if the day began anew.
func (p pool) left() (now, tomorrow uint64) {
	now, tomorrow = p.dayLimit-min(p.dayLimit, p.daySpent), p.dayLimit
	if p.month != nil {
		tomorrow = p.monthLimit - min(p.monthLimit, p.monthSpent)
	}
	return min(now, tomorrow), tomorrow
}

// pools are what a party may spend from, in the order in which it is spent.
func (b *Budgets) pools(party string, report bool, l Limits, now time.Time) (list []pool, err error) {
	for _, g := range l.Grants {
		name := append(binary.BigEndian.AppendUint64(nil, uint64(g.From.Unix())), party...)
		list = append(list, pool{
			day: append(dayKey(prefixGrantDay, now), name...), month: append(monthKey(prefixGrantMonth, now), name...),
			dayLimit: uint64(g.Daily), monthLimit: uint64(g.Monthly),
		})
	}
	list = append(list, pool{
		day: append(dayKey(prefixDay, now), party...), month: append(monthKey(prefixMonth, now), party...),
		dayLimit: uint64(l.Day), monthLimit: uint64(l.Month),
	})
	if report {
		list = append(list, pool{day: append(dayKey(prefixReserve, now), party...), dayLimit: uint64(l.Reserve)})
	}
	for i := range list {
		p := &list[i]
		if p.daySpent, err = b.spent(p.day); err != nil {
			return nil, err
		}
		if p.month == nil {
			continue
		}
		if p.monthSpent, err = b.spent(p.month); err != nil {
			return nil, err
		}
	}
	return list, nil
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
	fs    vfs.FS
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
	opts := &pebble.Options{
		FormatMajorVersion: pebble.FormatTableFormatV6, // logs and tables tell damage from their end
		FS:                 cmp.Or[vfs.FS](o.FS, vfs.Default),
		Logger:             o.Logger,
	}
	opts.EnsureDefaults()
	opts.FS = disk.Strict(opts.FS, opts.Logger.Fatalf)
	db, err := pebble.Open(folder, opts)
	if err != nil {
		return nil, fmt.Errorf("evaluator: opening %s, which one process at a time may: %w", folder, err)
	}
	return &Budgets{db: db, fs: opts.FS, seed: maphash.MakeSeed()}, nil
}

// Close closes the store; nothing may use it any more.
func (b *Budgets) Close() error { return b.db.Close() }

// Room tells whether a debit fits, without spending; if not, the error is a
// *BudgetError.
func (b *Budgets) Room(d Debit, l Limits, now time.Time) error {
	pools, err := b.pools(d.Party, d.Report, l, now)
	if err != nil {
		return err
	}
	_, err = spend(pools, d.N, now)
	return err
}

// Debit spends elements of what a party may, or gives a *BudgetError and spends
// nothing. When it returns nil the debit is durable.
func (b *Budgets) Debit(d Debit, l Limits, now time.Time) error {
	if err := b.prune(now); err != nil {
		return err
	}
	lock := &b.locks[maphash.String(b.seed, d.Party)%uint64(len(b.locks))]
	lock.Lock()
	defer lock.Unlock()
	pools, err := b.pools(d.Party, d.Report, l, now)
	if err != nil {
		return err
	}
	parts, err := spend(pools, d.N, now)
	if err != nil {
		return err
	}
	batch := b.db.NewBatch()
	defer batch.Close()
	for i, n := range parts {
		if p := pools[i]; n > 0 {
			err = errors.Join(err, batch.Set(p.day, binary.BigEndian.AppendUint64(nil, p.daySpent+n), nil))
			if p.month != nil {
				err = errors.Join(err, batch.Set(p.month, binary.BigEndian.AppendUint64(nil, p.monthSpent+n), nil))
			}
		}
	}
	if err != nil {
		return fmt.Errorf("evaluator: %w", err)
	}
	if err := batch.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("evaluator: %w", err)
	}
	return nil
}

// spend says how much of n elements each pool pays.
func spend(pools []pool, n int, now time.Time) (parts []uint64, err error) {
	rest, tomorrow := uint64(n), uint64(0)
	for _, p := range pools {
		left, later := p.left()
		part := min(left, rest)
		parts = append(parts, part)
		rest, tomorrow = rest-part, tomorrow+later
	}
	switch {
	case rest == 0:
		return parts, nil
	case tomorrow >= uint64(n):
		return nil, &BudgetError{Wait: nextDay(now).Sub(now)}
	}
	return nil, &BudgetError{Wait: nextMonth(now).Sub(now)}
}

func nextDay(now time.Time) time.Time {
	y, m, d := now.UTC().Date()
	return time.Date(y, m, d+1, 0, 0, 0, 0, time.UTC)
}

func nextMonth(now time.Time) time.Time {
	y, m, _ := now.UTC().Date()
	return time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC)
}

// Spent is a limit, and what has been spent under it until it is new.
type Spent struct {
	Limit, Spent int
	Until        time.Time
}

// A Balance is what a party has spent and may still spend. Left is how many elements
// fit now without the reserve: with grants that can be less than Day and Month say.
type Balance struct {
	Left                int
	Day, Month, Reserve Spent
}

// Balance gives a party's balance.
func (b *Budgets) Balance(party string, l Limits, now time.Time) (Balance, error) {
	pools, err := b.pools(party, true, l, now)
	if err != nil {
		return Balance{}, err
	}
	reserve := pools[len(pools)-1]
	out := Balance{
		Day: Spent{Until: nextDay(now)}, Month: Spent{Until: nextMonth(now)},
		Reserve: Spent{l.Reserve, int(reserve.daySpent), nextDay(now)},
	}
	for _, p := range pools[:len(pools)-1] {
		left, _ := p.left()
		out.Left += int(left)
		out.Day.Limit, out.Day.Spent = out.Day.Limit+int(p.dayLimit), out.Day.Spent+int(p.daySpent)
		out.Month.Limit, out.Month.Spent = out.Month.Limit+int(p.monthLimit), out.Month.Spent+int(p.monthSpent)
	}
	return out, nil
}

// On gives what each party had evaluated on a UTC day, whatever it was spent of.
func (b *Budgets) On(day time.Time) (map[string]int, error) {
	all := map[string]int{}
	for prefix, name := range map[byte]int{prefixDay: 0, prefixGrantDay: 8, prefixReserve: 0} {
		lower := dayKey(prefix, day)
		it, err := b.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: dayKey(prefix, nextDay(day))})
		if err != nil {
			return nil, fmt.Errorf("evaluator: %w", err)
		}
		for it.First(); it.Valid(); it.Next() {
			if len(it.Key()) < len(lower)+name || len(it.Value()) != 8 {
				return nil, errors.Join(ErrCorrupt, it.Close())
			}
			all[string(it.Key()[len(lower)+name:])] += int(binary.BigEndian.Uint64(it.Value()))
		}
		if err := errors.Join(it.Error(), it.Close()); err != nil {
			return nil, fmt.Errorf("evaluator: %w", err)
		}
	}
	return all, nil
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
	for prefix, until := range map[byte][]byte{
		prefixDay:        dayKey(prefixDay, time.Date(y, m, d-keepDays, 0, 0, 0, 0, time.UTC)),
		prefixGrantDay:   dayKey(prefixGrantDay, time.Date(y, m, d-keepDays, 0, 0, 0, 0, time.UTC)),
		prefixReserve:    dayKey(prefixReserve, time.Date(y, m, d-keepDays, 0, 0, 0, 0, time.UTC)),
		prefixMonth:      monthKey(prefixMonth, time.Date(y, m-keepMonths, 1, 0, 0, 0, 0, time.UTC)),
		prefixGrantMonth: monthKey(prefixGrantMonth, time.Date(y, m-keepMonths, 1, 0, 0, 0, 0, time.UTC)),
	} {
		if err := b.db.DeleteRange([]byte{prefix}, until, pebble.NoSync); err != nil {
			return fmt.Errorf("evaluator: %w", err)
		}
	}
	b.pruned = today
	return nil
}
