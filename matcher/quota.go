// SPDX-License-Identifier: EUPL-1.2

package matcher

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/registry"
)

// What the registry takes of a party a UTC day is counted here, beside the
// transactions: in memory, from where KeepCounts brings it to the store every few
// seconds. A crash forgets what was taken since, and a transaction of one that fails has
// been counted, so quotas are right but for a little. An import that fails gives back
// what it was counted.
//
// A withdrawal has no quota: whoever may signal may always end a signal. Nor has what
// was taken before, byte for byte.
type counts struct {
	mu    sync.Mutex
	days  map[encoding.Date]map[api.PartyID]*counted
	dirty bool
}

type counted struct {
	registry.Counts
	dirty bool
}

func utcDay(now time.Time) encoding.Date { return encoding.DateOf(now.UTC()) }

// open reads a day's counts from the store, if that has not been done. c.mu is held.
func (c *counts) open(ctx context.Context, store registry.Store, day encoding.Date) (map[api.PartyID]*counted, error) {
	if known := c.days[day]; known != nil {
		return known, nil
	}
	stored, err := store.Counts(ctx, day)
	if err != nil {
		return nil, err
	}
	read := make(map[api.PartyID]*counted, len(stored))
	for _, one := range stored {
		read[one.Party] = &counted{Counts: one}
	}
	if c.days == nil {
		c.days = map[encoding.Date]map[api.PartyID]*counted{}
	}
	c.days[day] = read
	return read, nil
}

// openCounts is called before a transaction: inside it there is nothing to read, but
// where the clock has jumped and KeepCounts has let the day go meanwhile.
func (m *Matcher) openCounts(ctx context.Context, adm registry.Admission) error {
	m.counts.mu.Lock()
	defer m.counts.mu.Unlock()
	_, err := m.counts.open(ctx, m.Store, utcDay(adm.Now))
	return err
}

// takeSignal counts a signal or revision of a party, or refuses it: the quota is spent.
// What a restored store may lack was counted when it was taken.
func (c *change) takeSignal(s api.Statement) error {
	if c.again(s) {
		return nil
	}
	party := s.Party
	err := c.m.take(c.adm, party, signalQuota(c.adm, party), func(c *registry.Counts) *uint64 { return &c.Signals })
	if err == nil {
		c.taken++
	}
	return err
}

// takeAct counts an act of a party that is no withdrawal, or refuses it.
func (m *Matcher) takeAct(adm registry.Admission, party api.PartyID) error {
	return m.take(adm, party, adm.Manifest.Policy.ActQuota(), func(c *registry.Counts) *uint64 { return &c.Acts })
}

func (m *Matcher) take(adm registry.Admission, party api.PartyID, quota int, of func(*registry.Counts) *uint64) error {
	m.counts.mu.Lock()
	defer m.counts.mu.Unlock()
	today, err := m.counts.open(context.Background(), m.Store, utcDay(adm.Now))
	if err != nil {
		return err
	}
	one := today[party]
	if one == nil {
		one = &counted{Counts: registry.Counts{Party: party}}
		today[party] = one
	}
	n := of(&one.Counts)
	if *n >= uint64(quota) {
		return api.RefuseFor(api.CodeBudget, nil, nextDay(adm.Now).Sub(adm.Now))
	}
	*n++
	one.dirty, m.counts.dirty = true, true
	return nil
}

// giveBack takes back that signals of a party were counted: they were not stored.
func (m *Matcher) giveBack(adm registry.Admission, party api.PartyID, n int) {
	m.counts.mu.Lock()
	defer m.counts.mu.Unlock()
	if one := m.counts.days[utcDay(adm.Now)][party]; one != nil && n > 0 {
		one.Signals -= min(one.Signals, uint64(n))
		one.dirty, m.counts.dirty = true, true
	}
}

// signalQuota is the policy's, and what grants in force add: who may have more
// evaluated may also send what comes of it.
func signalQuota(adm registry.Admission, party api.PartyID) int {
	quota := adm.Manifest.Policy.SignalQuota()
	p, _ := adm.Directory.Party(party)
	for _, g := range p.GrantsAt(adm.Now) {
		quota += g.Daily
	}
	return quota
}

func nextDay(now time.Time) time.Time { return utcDay(now).AddDate(0, 0, 1).In(time.UTC) }

// KeepCounts brings to the store what was taken since it was last called.
func (m *Matcher) KeepCounts(ctx context.Context) error {
	m.counts.mu.Lock()
	defer m.counts.mu.Unlock()
	if !m.counts.dirty {
		return nil
	}
	oldest := utcDay(m.Time()).AddDate(0, 0, -1)
	for day, parties := range m.counts.days {
		var changed []registry.Counts
		for _, one := range parties {
			if one.dirty {
				changed = append(changed, one.Counts)
			}
		}
		if len(changed) > 0 {
			if err := m.Store.KeepCounts(ctx, day, changed); err != nil {
				return err
			}
		}
		for _, one := range parties {
			one.dirty = false
		}
		if day.Compare(oldest) < 0 {
			delete(m.counts.days, day)
		}
	}
	m.counts.dirty = false
	return nil
}

// Quota is what a party may still do today.
func (m *Matcher) Quota(ctx context.Context, party api.PartyID) (api.Quota, error) {
	adm, err := m.admission(ctx)
	if err != nil {
		return api.Quota{}, err
	}
	m.counts.mu.Lock()
	defer m.counts.mu.Unlock()
	today, err := m.counts.open(ctx, m.Store, utcDay(adm.Now))
	if err != nil {
		return api.Quota{}, err
	}
	var taken registry.Counts
	if one := today[party]; one != nil {
		taken = one.Counts
	}
	until := nextDay(adm.Now)
	return api.Quota{
		Signals: api.Limit{Limit: signalQuota(adm, party), Spent: int(taken.Signals), Until: until},
		Acts:    api.Limit{Limit: adm.Manifest.Policy.ActQuota(), Spent: int(taken.Acts), Until: until},
	}, nil
}

// Usage is what was taken of every party on a UTC day of the last week.
func (m *Matcher) Usage(ctx context.Context, day encoding.Date) (api.Usage, error) {
	all, err := m.countsOn(ctx, day)
	if err != nil {
		return api.Usage{}, err
	}
	out := api.Usage{Day: day, Items: []api.PartyUsage{}}
	for _, one := range all {
		if one.Signals > 0 || one.Acts > 0 {
			out.Items = append(out.Items, api.PartyUsage{Party: one.Party, Signals: int(one.Signals), Acts: int(one.Acts)})
		}
	}
	slices.SortFunc(out.Items, func(a, b api.PartyUsage) int { return cmp.Compare(a.Party, b.Party) })
	return out, nil
}

func (m *Matcher) countsOn(ctx context.Context, day encoding.Date) (all []registry.Counts, err error) {
	m.counts.mu.Lock()
	defer m.counts.mu.Unlock()
	known := m.counts.days[day]
	if known == nil {
		return m.Store.Counts(ctx, day)
	}
	for _, one := range known {
		all = append(all, one.Counts)
	}
	return all, nil
}
