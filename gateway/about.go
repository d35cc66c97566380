// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/manifest"
)

// About is what the gateway knows of the party itself.
type About struct {
	ID                         api.PartyID
	Name, Kind, Region         string // empty when the directory does not list it
	Manifest, Directory        uint64 // versions; zero for none
	DailyBudget, MonthlyBudget int    // by the policy; zero is unknown
	Evaluators                 []Balance
	Quota                      *api.Quota       // at the registry; nil is unknown
	Grants                     []manifest.Grant // that have not ended
	Keys                       []KeyAge
	Jobs                       int
	Oldest                     time.Time
	Logged                     bool       // the registry keeps a log, as the manifest says
	LogAlarms                  []LogAlarm // what is wrong with it
}

// A Balance is what an evaluator says that the party has left there.
type Balance struct {
	Index int
	Name  string
	Known bool // it said so, less than some seconds ago
	api.Budget
}

// A KeyAge is a key of the party in use here, and how the directory has it.
type KeyAge struct {
	Use         string // manifest.UseSign, UseHPKE or UseTLS
	ID          encoding.KeyID
	From, Until time.Time // zero until: no end is set
	Days        int       // its age
	Warning     Code      // CodeKeyUnlisted, CodeKeyEnds, or empty
}

const (
	aboutAge = 10 * time.Second // what was said of budgets so long ago is told again
	keyEnds  = 30 * 24 * time.Hour
	maxQuota = 4 << 10 // bytes
)

// About describes the party, what it has left, and the state of its queue. Evaluators
// and the registry are asked, and are left out when they do not answer soon.
func (p *Party) About(ctx context.Context) (About, error) {
	a := About{ID: p.id}
	m, d := p.g.roots.known()
	if m != nil {
		a.Manifest, a.DailyBudget, a.MonthlyBudget = m.Version, m.Policy.DailyBudget, m.Policy.MonthlyBudget
		a.Evaluators, a.Quota = p.whatIsLeft(ctx, m)
	}
	if d != nil {
		a.Directory = d.Version
		self, ok := d.Party(p.id)
		if ok {
			a.Name, a.Kind, a.Region = self.Name, self.Kind, self.Region
		}
		now := p.g.now()
		for _, g := range self.Grants {
			if now.Before(g.Until) {
				a.Grants = append(a.Grants, g)
			}
		}
		a.Keys = p.keyAges(self, now)
	}
	a.Logged, a.LogAlarms = logged(m), p.g.LogAlarms()
	var err error
	a.Jobs, a.Oldest, err = p.Queue()
	return a, err
}

func (p *Party) whatIsLeft(ctx context.Context, m *manifest.Manifest) (list []Balance, quota *api.Quota) {
	var asks sync.WaitGroup
	asks.Go(func() { p.askBudgets(ctx, m, aboutAge) })
	asks.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, budgetAnswer)
		defer cancel()
		var got api.Quota
		if p.call(ctx, endpoint{m.Registry.URL, m.Registry.TLS}, http.MethodGet, "/v1/quota", nil, &got, maxQuota) == nil {
			quota = &got
		}
	})
	asks.Wait()
	p.budgets.mu.Lock()
	defer p.budgets.mu.Unlock()
	for _, who := range m.Evaluators {
		told := p.budgets.at(who.Index)
		list = append(list, Balance{Index: who.Index, Name: who.Name, Known: told.known, Budget: told.budget})
	}
	return list, quota
}

// keyAges are the party's keys that are in use here. With one that the directory does
// not have nothing will work, and one that is about to end is to be followed by another.
func (p *Party) keyAges(self manifest.Party, now time.Time) []KeyAge {
	pin := keys.SPKIHash(p.tls.Leaf())
	list := []KeyAge{
		{Use: manifest.UseSign, ID: p.signID}, {Use: manifest.UseHPKE, ID: p.hpkeID}, {Use: manifest.UseTLS, ID: encoding.KeyIDOf(pin[:])},
	}
	for i := range list {
		k := &list[i]
		at := slices.IndexFunc(self.Keys, func(in manifest.Key) bool { return in.Use == k.Use && in.ID == k.ID })
		if at < 0 {
			k.Warning = CodeKeyUnlisted
			continue
		}
		in := self.Keys[at]
		k.From, k.Until, k.Days = in.From, in.Until, max(0, int(now.Sub(in.From).Hours()/24))
		switch {
		case !in.Current(now):
			k.Warning = CodeKeyUnlisted
		case !in.Until.IsZero() && in.Until.Sub(now) < keyEnds:
			k.Warning = CodeKeyEnds
		}
	}
	return list
}
