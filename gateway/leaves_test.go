// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
)

// Receipts are those that the registry has given a party.
type receipts struct {
	mu   sync.Mutex
	list []api.Receipt
}

func watchReceipts(w *gatewaytest.World, party api.PartyID) *receipts {
	seen := new(receipts)
	w.Registry.Rewrite(func(path string, answer []byte) []byte {
		for line := range bytes.Lines(answer) { // an import answers with many
			var got struct{ Receipt api.Signed }
			if json.Unmarshal(line, &got) != nil {
				continue
			}
			if r, err := api.ParseReceipt(got.Receipt.Signed); err == nil && r.Party == party {
				seen.mu.Lock()
				seen.list = append(seen.list, r)
				seen.mu.Unlock()
			}
		}
		return answer
	})
	return seen
}

// listed wants the leaf of every receipt listed, and of so many more since it was asked last.
func (r *receipts) listed(t *testing.T, p *gateway.Party, what string, more int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) != more {
		t.Errorf("%s: %d receipts were given, want %d", what, len(r.list), more)
	}
	owed := p.Owed()
	for _, receipt := range r.list {
		if !slices.Contains(owed, receipt.Leaf) {
			t.Errorf("%s: the leaf of a receipt is not listed", what)
		}
	}
	r.list = nil
}

// Whatever a receipt is for, its leaf is listed to be proven.
func TestLeavesOfAllActsAreListed(t *testing.T) {
	w := gatewaytest.NewLogged(t, 3)
	h, others := w.Run(0), w.Run(1, 2)
	p, b := h.Of(0), others.Of(1)
	seen := watchReceipts(w, p.ID())
	w.Backup("before")
	first := signal(t, p, child(0), terms("jansen", "A-0"))
	seen.listed(t, p, "a signal", 1)
	signal(t, b, child(0), terms("bakker", "B-0"))
	met := match(t, p, func(m gateway.MatchStatus) bool { return m.Present() == 1 })
	_, err := p.Renew(first.ID, gateway.Subject{}, gateway.Terms{TermDays: 100})
	fatal(t, err)
	settled(t, p, first.ID)
	seen.listed(t, p, "a revision", 1)
	_, err = p.Answer(met.Match.Match, b.ID(), api.AnswerWillCall, "")
	fatal(t, err)
	match(t, p, func(m gateway.MatchStatus) bool { return m.Settled() && m.Others[0].Ours.Word == api.AnswerWillCall })
	seen.listed(t, p, "an answer", 1)
	gives(t, p, first.ID, 2, dayIn(w, 10))
	seen.listed(t, p, "an offer", 1)
	second := signal(t, p, child(1), terms("jansen", "A-1"))
	seen.listed(t, p, "another signal", 1)
	_, err = p.Withdraw(second.ID, api.ReasonEnded)
	fatal(t, err)
	settled(t, p, second.ID)
	seen.listed(t, p, "a withdrawal", 1)

	w.Advance(30 * time.Second)
	w.Restore("before")
	eventually(t, "the signal that is sent again", func() bool {
		seen.mu.Lock()
		defer seen.mu.Unlock()
		return slices.ContainsFunc(seen.list, func(r api.Receipt) bool { return r.SID == first.SID && r.Rev == 2 })
	})
	eventually(t, "the leaf of its receipt", func() bool {
		seen.mu.Lock()
		defer seen.mu.Unlock()
		return slices.ContainsFunc(p.Owed(), func(h api.Hash) bool { return h == seen.list[0].Leaf })
	})
}

// Who acts stands in the registry's log, and not who owns what he acts on.
func TestPseudonymIsOfWhoActs(t *testing.T) {
	w := gatewaytest.New(t, 2)
	heard := overhear(w)
	h := w.Run(0, 1)
	a := bootstrap(t, w, h, 0)
	hire(t, a, "jansen", "bakker")
	p := a.Party
	signal(t, h.Of(1), child(1), terms("smit", "S-1"))
	one := signal(t, p, child(1), terms("jansen", "A-1"))
	met := match(t, p, func(m gateway.MatchStatus) bool { return m.Present() == 1 })
	colleague := as(a, "bakker")
	colleague.Reach = gateway.ReachAll
	officer := &gateway.Access{Party: p, Who: "sleutel:x", Roles: []gateway.Role{gateway.MayOversee}, Reach: gateway.ReachAll}
	is := func(what, pseudonym, want string) {
		t.Helper()
		if who, err := officer.UserOf(pseudonym); who != want || err != nil {
			t.Errorf("%s is by %q, want %q (%v)", what, who, want, err)
		}
	}
	_, sub := heard.heard(t, one.SID, 1)
	is("the signal", sub.User, "jansen")
	_, err := colleague.Renew(one.ID, gateway.Subject{}, gateway.Terms{TermDays: 100})
	fatal(t, err)
	settled(t, p, one.ID)
	_, sub = heard.heard(t, one.SID, 2)
	is("the revision", sub.User, "bakker")
	_, err = colleague.Answer(met.Match.Match, gatewaytest.Party(1), api.AnswerWillCall, "")
	fatal(t, err)
	match(t, p, func(m gateway.MatchStatus) bool { return m.Settled() && m.Others[0].Ours.Word == api.AnswerWillCall })
	is("the answer", heard.said(t, api.ActAnswer)[0].User, "bakker")
	_, err = colleague.Withdraw(one.ID, api.ReasonEnded)
	fatal(t, err)
	settled(t, p, one.ID)
	is("the withdrawal", heard.said(t, api.ActWithdraw)[0].User, "bakker")
}

// A restore excuses only what it can have lost, and once: or a registry would get rid of any
// leaf by speaking of one.
func TestWhatARestoreExcuses(t *testing.T) {
	w := gatewaytest.NewLogged(t, 1)
	h := w.OpenOn(vfs.NewMem(), 0)
	defer h.Gateway.Close()
	p := h.Of(0)
	since := w.Now().Truncate(time.Second)
	was, is := [16]byte{1}, [16]byte{2}
	receipt := func(leaf byte, at time.Time, incarnation [16]byte) api.Receipt {
		return api.Receipt{Dep: "test", Incarnation: incarnation, Party: p.ID(), SID: api.SID{leaf}, Rev: 1, Leaf: api.Hash{leaf}, Time: at}
	}
	early, lost, later, new := receipt(1, since.Add(-time.Second), was), receipt(2, since, was), receipt(3, since.Add(time.Minute), was), receipt(4, since.Add(time.Minute), is)
	for _, r := range []api.Receipt{early, lost, later, new} {
		fatal(t, p.Owe(r))
	}
	fatal(t, p.MayLack(since, is))
	marked := w.Now()
	w.Advance(5 * time.Minute)
	fatal(t, p.MayLack(since, is))
	for name, c := range map[string]struct {
		r    api.Receipt
		want time.Time
	}{
		"dated before":                   {early, time.Time{}},
		"dated then":                     {lost, marked},
		"dated since":                    {later, marked},
		"given by the registry as it is": {new, time.Time{}},
	} {
		if since, listed := p.MaybeLost(c.r.Leaf); !listed || !since.Equal(c.want) {
			t.Errorf("%s: listed %t, maybe lost since %v, want %v", name, listed, since, c.want)
		}
	}
	for name, c := range map[string]struct {
		before, now api.Receipt
		stays       bool
	}{
		"what was not lost": {early, receipt(9, w.Now(), is), true},
		"the same receipt":  {later, later, true},
		"what may be lost":  {lost, receipt(8, w.Now(), is), false},
	} {
		fatal(t, p.Replaced(c.before, c.now))
		if _, listed := p.MaybeLost(c.before.Leaf); listed != c.stays {
			t.Errorf("a receipt in the place of %s: its leaf is listed %t, want %t", name, listed, c.stays)
		}
	}
}
