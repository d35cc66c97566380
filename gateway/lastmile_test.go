// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
)

// arrived are ids of what was delivered, each where it first stands.
func arrived(list []gatewaytest.Delivered) (first []string) {
	for _, d := range list {
		if !slices.Contains(first, d.ID) {
			first = append(first, d.ID)
		}
	}
	return first
}

// The power fails at every point between the registry's feed and the case system.
// Whatever of the disk is left, each event arrives, and in order.
func TestPowerCutOnTheLastMile(t *testing.T) {
	const events = 3
	for i, point := range []string{"asked", "told", "arrives", "answered"} {
		for n := 1 + i%2; n <= events; n += 2 {
			percent := n / 2 % 2 * 50
			t.Run(fmt.Sprintf("%s/%d/unsynced=%d", point, n, percent), func(t *testing.T) {
				t.Parallel()
				w, r := gatewaytest.New(t, 2), gatewaytest.NewReceiver(t)
				allows(w, r)
				cut := newPowerCut(w, percent)
				arm := cut.onLastMile(r, point, n)
				h := w.RunOn(cut.fs, 0)
				a, b := h.Of(0), w.Run(1).Of(1)
				subscribe(t, a, r, gateway.Subscription{})
				for i := range events {
					signal(t, a, child(i), terms("jansen", fmt.Sprint("A-", i)))
				}
				arm()
				for i := range events {
					signal(t, b, child(i), terms("bakker", fmt.Sprint("B-", i)))
				}
				<-cut.cut
				h.Stop()
				cut.mendLastMile(r)

				again := w.RunOn(cut.clone, 0).Of(0)
				var want []string
				for _, m := range inbox(t, again, events) {
					want = append(want, m.ID.String())
				}
				eventually(t, "every event", func() bool { return len(arrived(r.Taken(0))) == events })
				if got := arrived(r.Taken(0)); !slices.Equal(got, want) {
					t.Errorf("delivered %v, want %v", got, want)
				}
			})
		}
	}
}

// onLastMile cuts the power when, armed, for the n-th time the feed is asked or has told of
// something, or a webhook arrives or has been answered. From then on the feed tells the
// gateway nothing, and what it sends is lost; the other party's goes on.
func (c *powerCut) onLastMile(r *gatewaytest.Receiver, point string, n int) (arm func()) {
	var mu sync.Mutex
	seen, armed := 0, false
	at := func(here string) (off bool) {
		mu.Lock()
		defer mu.Unlock()
		c.mu.Lock()
		defer c.mu.Unlock()
		if here == point && armed && c.clone == nil {
			if seen++; seen == n {
				c.take()
			}
		}
		return c.clone != nil
	}
	ours := func(req *http.Request) bool {
		return req.URL.Path == "/v1/events" && req.TLS.PeerCertificates[0].Subject.CommonName == string(gatewaytest.Party(0))
	}
	c.w.Registry.OnAsked(func(req *http.Request) {
		if ours(req) && at("asked") {
			panic(http.ErrAbortHandler)
		}
	})
	c.w.Registry.OnAnswer(func(req *http.Request) {
		if ours(req) && at("told") {
			panic(http.ErrAbortHandler)
		}
	})
	r.Answer(func(*http.Request, gatewaytest.Delivered) (int, http.Header) {
		if at("arrives") {
			panic(http.ErrAbortHandler)
		}
		return http.StatusNoContent, nil
	})
	r.Then(func() { at("answered") })
	return func() {
		mu.Lock()
		defer mu.Unlock()
		armed = true
	}
}

func (c *powerCut) mendLastMile(r *gatewaytest.Receiver) {
	c.w.Registry.OnAsked(nil)
	c.w.Registry.OnAnswer(nil)
	r.Answer(nil)
	r.Then(nil)
}
