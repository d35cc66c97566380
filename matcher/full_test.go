// SPDX-License-Identifier: EUPL-1.2

package matcher_test

import (
	"math/rand/v2"
	"testing"
	"testing/cryptotest"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/disk"
	"github.com/seinhuis/seinhuis/disk/disktest"
	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
	"github.com/seinhuis/seinhuis/soak"
)

// TestRow4Ballast fills the disk of a registry to the last byte while it is written to,
// so that nobody could look before: what is being written gets through by the ballast,
// nothing new is taken then but withdrawals are, and with room it goes on.
func TestRow4Ballast(t *testing.T) {
	soak.Row(t, 4, "a disk that is full at once", soak.Short(20), func(t *testing.T, seed uint64) soak.Found {
		cryptotest.SetGlobalRandom(t, seed)
		r := rand.New(rand.NewPCG(seed, 7))
		const mib = 1 << 20
		small := disktest.New(64 * mib)
		w := matchertest.New(t, players)
		w.Store.Close()
		w.Ingest = int(seed % 2)
		watch := disk.NewWatch(small, "", disk.Limits{Low: 8 * mib, Ballast: mib}, func(low bool) { w.ReadOnly.Set(matcher.ReasonDisk, low) })
		look := func() {
			t.Helper()
			if err := watch.Look(); err != nil {
				t.Fatal(err)
			}
		}
		w.Open(watch.FS())
		p := newPlayer(t, w, r)
		found := soak.Found{}
		for range 3 {
			small.Take(0)
			look()
			if len(w.ReadOnly.Why()) > 0 {
				t.Fatal("it does not go on with room on the disk")
			}
			for range r.IntN(10) {
				p.play()
			}
			usage, err := small.GetDiskUsage("")
			if err != nil {
				t.Fatal(err)
			}
			small.Take(usage.AvailBytes - uint64(r.IntN(2000))) // less than a signal and what belongs to it
			var last deed
			for !watch.Low() {
				last = p.next()
				if last.send != nil {
					if err := last.say(w); api.CodeOf(err) == api.CodeUnavailable && watch.Low() {
						break // it was full before, of what Pebble does by itself
					} else if err != nil {
						t.Fatal(err)
					}
				}
				p.did(last)
			}
			found["full"]++
			_, err = w.Send(w.Write(0, matchertest.Child(9), api.NewSID(), 1))
			wantCode(t, err, api.CodeUnavailable)
			for child, here := range p.model.signals {
				for who, paper := range here {
					w.Withdraw(paper)
					p.did(deed{now: w.Now(), means: func(m *model) { m.end(child, []int{who}, "signal.withdraw") }})
				}
			}
			if _, err := w.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			look()
			if len(w.ReadOnly.Why()) == 0 {
				t.Error("it takes anything on a full disk")
			}
		}
		small.Take(0)
		look()
		w.Reopen()
		found["acknowledged"] += p.finds(len(p.done), nil, w.Now())
		return found
	})
}
