// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
)

func prepared(t *testing.T, p *gateway.Party, n int) func() bool {
	return func() bool {
		jobs, err := p.Jobs()
		if err != nil {
			t.Fatal(err)
		}
		have := 0
		for _, job := range jobs {
			if job.Prepared != nil {
				have++
			}
		}
		return have == n
	}
}

// The registry answers a colleague with the signal that stands, and then the last
// owner's withdrawal ends it: the colleague must not be left with a dead signal.
func TestNobodyJoinsASignalThatIsBeingWithdrawn(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h := w.Run(0, 1)
	a, b := h.Of(0), h.Of(1)
	first := signal(t, a, child(1), terms("jansen", "A-1"))
	w.Registry.Set(gatewaytest.Away)
	if _, err := a.Withdraw(first.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a prepared withdrawal", prepared(t, a, 1))
	second, err := a.Signal(child(1), terms("bakker", "A-2"))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a prepared signal", prepared(t, a, 2))

	answered := make(chan struct{})
	var once sync.Once
	w.Registry.OnAsked(func(r *http.Request) {
		if r.URL.Path == "/v1/acts" { // after the signal, if they are sent at once
			select {
			case <-answered:
			case <-time.After(300 * time.Millisecond):
			}
		}
	})
	w.Registry.Rewrite(func(path string, body []byte) []byte {
		if path == "/v1/signals" {
			once.Do(func() {
				close(answered)
				for range 50 { // the answer is slow, until the withdrawal is done
					if s, _ := a.Registration(first.ID); s.State == gateway.StateWithdrawn {
						return
					}
					time.Sleep(10 * time.Millisecond)
				}
			})
		}
		return body
	})
	w.Registry.Set(gatewaytest.Works)
	if s := settled(t, a, first.ID); s.State != gateway.StateWithdrawn {
		t.Errorf("the first is %s", s.State)
	}
	if s := settled(t, a, second.ID); !s.State.Stands() {
		t.Errorf("the second is %s", s.State)
	}
	if s := signal(t, b, child(1), terms("citroen", "B-1")); s.Signal.Others != 1 {
		t.Errorf("the other party meets %d", s.Signal.Others)
	}
}

func TestARenewalThatWaitsBeyondTheBirthdayEnds(t *testing.T) {
	w := gatewaytest.New(t, 1)
	a := w.Run(0).Of(0)
	s := signal(t, a, gateway.Subject{Kind: "bsn", Number: bsn(1), BirthDate: "2004-03-06"}, terms("jansen", "A-1"))
	w.Registry.Set(gatewaytest.Away)
	if _, err := a.Renew(s.ID, gateway.Subject{}, gateway.Terms{}); err != nil {
		t.Fatal(err)
	}
	waitsFor(t, a, s.ID, gateway.WaitRegistry)
	w.Advance(72 * time.Hour)
	var asked atomic.Int64
	w.Registry.OnAsked(func(*http.Request) { asked.Add(1) })
	w.Registry.Set(gatewaytest.Works)
	eventually(t, "an empty queue", func() bool { n, _, err := a.Queue(); return n == 0 && err == nil })
	if n := asked.Load(); n > 10 {
		t.Errorf("the registry was asked %d times", n)
	}
}
