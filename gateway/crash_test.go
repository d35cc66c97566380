// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
)

// A power cut takes a picture of a disk at one moment, and from then on nothing
// that its gateway sends arrives.
type powerCut struct {
	w       *gatewaytest.World
	fs      *vfs.MemFS
	percent int // of what was not synced that stays
	rng     *rand.Rand

	mu    sync.Mutex
	clone *vfs.MemFS
	cut   chan struct{}
}

func newPowerCut(w *gatewaytest.World, percent int) *powerCut {
	return &powerCut{w: w, fs: vfs.NewCrashableMem(), percent: percent, rng: rand.New(rand.NewPCG(1, uint64(percent))), cut: make(chan struct{})}
}

// at cuts the power at the n-th request (from 1) to a path.
func (c *powerCut) at(path string, n int) {
	seen := 0
	on := func(r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if r.URL.Path == path {
			seen++
		}
		if c.clone == nil && seen >= n {
			c.take()
		}
		if c.clone != nil {
			panic(http.ErrAbortHandler)
		}
	}
	for _, f := range c.w.Faults {
		f.OnAsked(on)
	}
	c.w.Registry.OnAsked(on)
}

func (c *powerCut) take() {
	c.clone = c.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: c.percent, RNG: c.rng})
	close(c.cut)
}

func (c *powerCut) mend() {
	for _, f := range c.w.Faults {
		f.OnAsked(nil)
	}
	c.w.Registry.OnAsked(nil)
	c.w.Registry.Set(gatewaytest.Works)
}

func TestPowerCutAtEveryStage(t *testing.T) {
	type stage struct {
		act, path string
		lost      bool // the registry did what it was asked, and the answer is lost
	}
	for _, s := range []stage{
		{"signal", "/v1/evaluations", false},
		{"signal", "/v1/signals", false},
		{"signal", "/v1/signals", true},
		{"renew", "/v1/signals", false},
		{"renew", "/v1/signals", true},
		{"withdraw", "/v1/acts", false},
		{"withdraw", "/v1/acts", true},
		{"answer", "/v1/acts", false},
		{"answer", "/v1/acts", true},
	} {
		for _, percent := range []int{0, 50} {
			t.Run(fmt.Sprintf("%s%s/lost=%v/unsynced=%d", s.act, s.path, s.lost, percent), func(t *testing.T) {
				t.Parallel()
				w := gatewaytest.New(t, 2)
				b := w.Run(1).Of(1)
				signal(t, b, child(1), terms("bakker", "B-1"))
				cut := newPowerCut(w, percent)
				h := w.RunOn(cut.fs, 0)

				var id gateway.ID
				if s.act != "signal" {
					id = signal(t, h.Of(0), child(1), terms("jansen", "A-1")).ID
				}
				var met gateway.MatchStatus
				if s.act == "answer" {
					met = match(t, h.Of(0), func(m gateway.MatchStatus) bool { return m.Present() == 1 })
				}
				n := 1
				if s.lost {
					w.Registry.Set(gatewaytest.Loses)
					n = 2
				}
				cut.at(s.path, n)
				var status gateway.Status
				var err error
				switch s.act {
				case "signal":
					status, err = h.Of(0).Signal(child(1), terms("jansen", "A-1"))
					id = status.ID
				case "renew":
					_, err = h.Of(0).Renew(id, gateway.Subject{}, gateway.Terms{})
				case "withdraw":
					_, err = h.Of(0).Withdraw(id, api.ReasonEnded)
				case "answer":
					_, err = h.Of(0).Answer(met.Match.Match, "", api.AnswerWillCall, "")
				}
				if err != nil {
					t.Fatal(err)
				}
				<-cut.cut
				h.Stop()

				still := w.OpenOn(cut.clone, 0)
				jobs, err := still.Of(0).Jobs()
				if err != nil || len(jobs) != 1 {
					t.Fatalf("after the cut there are %d jobs (%v)", len(jobs), err)
				}
				prepared := s.path != "/v1/evaluations"
				if (jobs[0].Prepared != nil) != prepared || (len(jobs[0].Identity) == 0) != (prepared || s.act != "signal") {
					t.Error("the job is not at its stage, or keeps an identity that it no longer needs")
				}
				if err := still.Close(); err != nil {
					t.Fatal(err)
				}
				cut.mend()
				again := w.RunOn(cut.clone, 0)
				status = settled(t, again.Of(0), id)
				switch s.act {
				case "signal", "renew":
					rev := map[string]uint64{"signal": 1, "renew": 2}[s.act]
					if status.State != gateway.StateRegistered || status.Signal.Rev != rev || status.Owners != 1 {
						t.Errorf("it ended as %s, rev %d, %d owners", status.State, status.Signal.Rev, status.Owners)
					}
				case "withdraw":
					if status.State != gateway.StateWithdrawn {
						t.Errorf("it ended as %s", status.State)
					}
				case "answer":
					got := match(t, again.Of(0), func(m gateway.MatchStatus) bool { return m.Settled() })
					if o := got.Others[0]; o.Ours.Word != api.AnswerWillCall || o.Asked != (gateway.Asked{}) {
						t.Errorf("it ended as %+v, %+v", o.Ours, o.Asked)
					}
				}
				if jobs[0].Prepared != nil && status.SID != jobs[0].Prepared.SID {
					t.Error("other bytes were sent than were stored")
				}
				want := map[string][]api.EventKind{
					"signal": {api.EventJoined}, "renew": {api.EventJoined, api.EventCard},
					"withdraw": {api.EventJoined, api.EventLeft, api.EventEnded}, "answer": {api.EventJoined, api.EventAnswer},
				}[s.act]
				var told []api.EventKind
				for _, m := range inbox(t, b, len(want)) {
					told = append(told, m.Kind)
				}
				if !slices.Equal(told, want) {
					t.Errorf("the other party was told %v, want %v", told, want)
				}
			})
		}
	}
}

func TestPowerCutUnderLoad(t *testing.T) {
	const children = 12
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 2))
			w := gatewaytest.New(t, 2)
			b := w.Run(1).Of(1)
			for i := range children {
				if _, err := b.Signal(child(i), terms("bakker", fmt.Sprint("B-", i))); err != nil {
					t.Fatal(err)
				}
			}
			if n, _, err := b.Queue(); err != nil {
				t.Fatal(err)
			} else if n > 0 {
				waitEmpty(t, b)
			}
			cut := newPowerCut(w, []int{0, 50, 100}[rng.IntN(3)])
			h := w.RunOn(cut.fs, 0)
			cut.at([]string{"/v1/signals", "/v1/evaluations"}[rng.IntN(2)], 1+rng.IntN(children/2))

			var acknowledged []gateway.ID
			for i := range children {
				s, err := h.Of(0).Signal(child(i), terms("jansen", fmt.Sprint("A-", i)))
				if err != nil {
					t.Fatal(err)
				}
				cut.mu.Lock()
				if cut.clone == nil {
					acknowledged = append(acknowledged, s.ID)
				}
				cut.mu.Unlock()
			}
			cut.mu.Lock()
			if cut.clone == nil { // batching left it at fewer requests
				cut.take()
			}
			cut.mu.Unlock()
			h.Stop()
			cut.mend()

			again := w.RunOn(cut.clone, 0)
			for _, id := range acknowledged {
				if s := settled(t, again.Of(0), id); s.State != gateway.StateRegistered || s.Owners != 1 {
					t.Errorf("acknowledged before the cut, and now %s with %d owners", s.State, s.Owners)
				}
			}
			waitEmpty(t, again.Of(0))
			list, _, err := again.Of(0).Registrations(gateway.ID{}, 100, "")
			if err != nil {
				t.Fatal(err)
			}
			joined := map[api.SID]int{}
			for _, m := range inbox(t, b, len(list)) {
				if m.Kind != api.EventJoined || m.Problem != "" {
					t.Errorf("the other party was told %s (%s)", m.Kind, m.Problem)
				}
				joined[m.SID]++
			}
			for sid, n := range joined {
				if n != 1 {
					t.Errorf("signal %s of the other party was told of %d joins", sid, n)
				}
			}
		})
	}
}

// waitEmpty waits until a party's queue is empty.
func waitEmpty(t *testing.T, p *gateway.Party) {
	t.Helper()
	list, _, err := p.Registrations(gateway.ID{}, 200, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		settled(t, p, s.ID)
	}
}

func TestTheStoreHoldsNothingInTheClear(t *testing.T) {
	w := gatewaytest.New(t, 2)
	fs := vfs.NewMem()
	w.Faults[0].Set(gatewaytest.Away)
	w.Faults[1].Set(gatewaytest.Away)
	h := w.RunOn(fs, 0)
	a := h.Of(0)
	card := gateway.Card{Name: "Jansen-de-Vries", Phone: "+31205550199"}
	s, err := a.Signal(child(1), gateway.Terms{Owner: "jansen", Reference: "DOSSIER-77", Card: card})
	if err != nil {
		t.Fatal(err)
	}
	waitsFor(t, a, s.ID, gateway.WaitEvaluators)
	secrets := []string{bsn(1), "DOSSIER-77", "Jansen-de-Vries", "31205550199", "2012-05-06", string(gatewaytest.Party(0))}
	search := func() {
		t.Helper()
		names, err := fs.List("data")
		if err != nil {
			t.Fatal(err)
		}
		if len(names) == 0 {
			t.Fatal("there are no files to search")
		}
		for _, name := range names {
			f, err := fs.Open("data/" + name)
			if err != nil {
				continue // compacted away meanwhile
			}
			info, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			text := make([]byte, info.Size())
			f.ReadAt(text, 0)
			f.Close()
			for _, secret := range secrets {
				if strings.Contains(string(text), secret) {
					t.Errorf("%s holds %q", name, secret)
				}
			}
		}
		for _, secret := range secrets[:5] {
			if strings.Contains(w.Log.String(), secret) {
				t.Errorf("the log holds %q", secret)
			}
		}
	}
	search()
	w.Faults[0].Set(gatewaytest.Works)
	settled(t, a, s.ID)
	if err := a.Sweep(); err != nil {
		t.Fatal(err)
	}
	search()
}
