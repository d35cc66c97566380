// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/gateway/webhook"
)

// exhaust fails what is behind the cursor at every time that it is tried, until it is
// given up.
func exhaust(t *testing.T, later func(time.Duration), now func() time.Time, read func() gateway.Target) gateway.Target {
	t.Helper()
	for dead := read().Dead; ; {
		before := read()
		if before.Dead > dead {
			return before
		}
		wait := time.Duration(0)
		if before.Head.Next.After(now()) {
			wait = before.Head.Next.Sub(now())
		}
		later(wait)
		eventually(t, "another attempt", func() bool { after := read(); return after.Head.Count > before.Head.Count || after.Dead > dead })
	}
}

func (x *subscribed) exhaust(t *testing.T) gateway.Target {
	t.Helper()
	return exhaust(t, x.later, x.Now, func() gateway.Target { return x.read(t) })
}

// What the sweep took from the inbox while a subscription was off is not waited for.
func TestTurnedOnAfterASweep(t *testing.T) {
	x := newSubscribed(t, gateway.Subscription{})
	asked := x.read(t).Subscription
	if _, err := x.a.ChangeSubscription(admin(x.a), x.target, asked, false); err != nil {
		t.Fatal(err)
	}
	s := signal(t, x.a, child(1), terms("jansen", "A-1"))
	signal(t, x.b, child(1), terms("bakker", "B-1"))
	m := inbox(t, x.a, 1)[0]
	if _, err := x.a.Withdraw(s.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	settled(t, x.a, s.ID)
	x.Advance(40 * 24 * time.Hour)
	if err := x.a.Sweep(); err != nil {
		t.Fatal(err)
	}
	if list, err := x.a.Messages(0, 10); err != nil || len(list) > 0 {
		t.Fatal(list, err)
	}
	if _, err := x.a.ChangeSubscription(admin(x.a), x.target, asked, true); err != nil {
		t.Fatal(err)
	}
	x.until(t, "the cursor behind what is gone", func(target gateway.Target) bool { return target.Cursor >= m.Seq })
}

// What a subscription that is off wanted, and what lay with its dead letters, is counted
// when it is kept no longer, and told; what it did not want is not.
func TestWhatLapsesIsCounted(t *testing.T) {
	x := newSubscribed(t, gateway.Subscription{Kinds: []string{"aangesloten"}})
	wants := x.read(t).Subscription
	other := wants
	other.Kinds = []string{"antwoord"}
	wantsNot, _, err := x.a.Subscribe(admin(x.a), other, webhook.HMAC)
	if err != nil {
		t.Fatal(err)
	}
	x.Answer(gatewaytest.Status(500))
	var own []gateway.ID
	for n := 1; n <= 2; n++ {
		own = append(own, signal(t, x.a, child(n), terms("jansen", "A")).ID)
		signal(t, x.b, child(n), terms("bakker", "B"))
		inbox(t, x.a, n)
		if n == 1 {
			x.exhaust(t) // a dead letter
			for id, s := range map[gateway.ID]gateway.Subscription{x.target: wants, wantsNot.ID: other} {
				if _, err := x.a.ChangeSubscription(admin(x.a), id, s, false); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, id := range own {
		if _, err := x.a.Withdraw(id, api.ReasonEnded); err != nil {
			t.Fatal(err)
		}
		settled(t, x.a, id)
	}
	sweep := func() {
		t.Helper()
		if err := x.a.Sweep(); err != nil {
			t.Fatal(err)
		}
	}
	sweep()
	if got := x.read(t); got.Lapsed != 0 || got.Dead != 1 {
		t.Fatalf("%d lapsed and %d are dead letters on the first day", got.Lapsed, got.Dead)
	}
	x.Advance(40 * 24 * time.Hour)
	for range 2 {
		sweep()
		if got := x.read(t); got.Lapsed != 2 || got.Dead != 0 {
			t.Errorf("%d lapsed and %d are dead letters", got.Lapsed, got.Dead)
		}
	}
	if got, err := x.a.Target(wantsNot.ID); err != nil || got.Lapsed != 0 {
		t.Errorf("of what it did not ask for %d lapsed (%v)", got.Lapsed, err)
	}
	if n := strings.Count(x.Log.String(), `"msg":"messages lapsed"`); n != 2 {
		t.Errorf("the log tells %d times", n)
	}
}

// A clock that ran ahead, and was put right, makes nobody wait until it is that late.
func TestAClockThatWasAhead(t *testing.T) {
	for name, header := range map[string]http.Header{"retry": nil, "pause": {"Retry-After": {"86400"}}} {
		t.Run(name, func(t *testing.T) {
			x := newSubscribed(t, gateway.Subscription{})
			x.Answer(func(*http.Request, gatewaytest.Delivered) (int, http.Header) { return 503, header })
			x.Advance(20 * 24 * time.Hour)
			x.meet(t, "jansen")
			x.failed(t, 1)
			x.Advance(-20 * 24 * time.Hour)
			x.later(0)
			x.failed(t, 2)
			x.Answer(nil)
			x.later(24 * time.Hour)
			x.Taken(1)
		})
	}
}

// Time in which the gateway was off is no time in which it tried.
func TestAGatewayThatWasOff(t *testing.T) {
	fs := vfs.NewMem()
	x := &subscribed{World: gatewaytest.New(t, 2), Receiver: gatewaytest.NewReceiver(t)}
	allows(x.World, x.Receiver)
	x.house = x.RunOn(fs, 0)
	x.a, x.b = x.house.Of(0), x.Run(1).Of(1)
	x.target = subscribe(t, x.a, x.Receiver, gateway.Subscription{})
	x.Answer(gatewaytest.Status(502))
	m := x.meet(t, "jansen")
	x.failed(t, 1)
	x.house.Stop()
	x.Advance(5 * 24 * time.Hour)
	x.house = x.RunOn(fs, 0)
	x.a = x.house.Of(0)
	if target := x.until(t, "another attempt", func(now gateway.Target) bool { return now.Head.Count > 1 || now.Cursor >= m.Seq }); target.Dead > 0 {
		t.Fatal("given up after two attempts")
	}
	began := x.Now()
	x.exhaust(t)
	if took := x.Now().Sub(began); took < 71*time.Hour || took > 73*time.Hour {
		t.Errorf("then it was tried for %v", took)
	}
}

// A month in which there was nothing to send proves nothing: the next event is tried
// for three days as any other.
func TestAQuietMonth(t *testing.T) {
	x := newSubscribed(t, gateway.Subscription{})
	x.Answer(gatewaytest.Status(502))
	x.meet(t, "jansen")
	x.exhaust(t)
	x.Advance(30 * 24 * time.Hour)
	x.meet(t, "jansen")
	if target := x.failed(t, 1); target.Off != gateway.OffNot {
		t.Errorf("%s after one attempt at an event", target.Off)
	}
}

// A key that was replaced is told of as long as it signs, and no longer.
func TestAPublicKeyThatWasReplaced(t *testing.T) {
	x := newSubscribed(t, gateway.Subscription{})
	target, _, err := x.a.Subscribe(admin(x.a), gateway.Subscription{URL: x.URL + "/paar"}, webhook.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	target, secret, err := x.a.RotateSecret(admin(x.a), target.ID, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if list := x.a.PublicKeys(target); len(list) != 2 {
		t.Errorf("public keys: %v", list)
	}
	x.Advance(time.Hour)
	if list := x.a.PublicKeys(target); len(list) != 1 || list[0] != secret.Public() {
		t.Errorf("public keys: %v", list)
	}
}

// A dead letter that goes with its message while it is replayed stays gone, and is
// counted once.
func TestASweepDuringAReplay(t *testing.T) {
	for _, status := range []int{204, 502} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			x := newSubscribed(t, gateway.Subscription{})
			x.Answer(gatewaytest.Status(502))
			s := signal(t, x.a, child(1), terms("jansen", "A-1"))
			signal(t, x.b, child(1), terms("bakker", "B-1"))
			m := inbox(t, x.a, 1)[0]
			if _, err := x.a.Withdraw(s.ID, api.ReasonEnded); err != nil {
				t.Fatal(err)
			}
			settled(t, x.a, s.ID)
			x.exhaust(t)
			x.Advance(40 * 24 * time.Hour)
			came, swept := make(chan bool), make(chan bool)
			x.Answer(func(*http.Request, gatewaytest.Delivered) (int, http.Header) {
				came <- true
				<-swept
				return status, nil
			})
			if _, err := x.a.ReplayDeadLetters(admin(x.a), x.target, m.Seq); err != nil {
				t.Fatal(err)
			}
			<-came
			if err := x.a.Sweep(); err != nil {
				t.Fatal(err)
			}
			close(swept)
			eventually(t, "the end of the replay", x.a.Idle)
			list, _, err := x.a.DeadLetters(x.target, 0, 10)
			if target := x.read(t); err != nil || target.Dead != 0 || len(list) != 0 {
				t.Errorf("%d dead letters are counted, %d are there (%v)", target.Dead, len(list), err)
			}
		})
	}
}

// What comes in at the end of a long outage is tried as long as what came at its
// beginning.
func TestMailOfTheLastHour(t *testing.T) {
	x := newMailed(t)
	x.Fail(desk, gatewaytest.MailFault{Rcpt: 450})
	x.meet(t, "onbekend")
	x.later(time.Minute)
	began := x.Now()
	for target := x.recipient(t, desk); x.Now().Sub(began) < 71*time.Hour; target = x.recipient(t, desk) {
		n := target.Head.Count
		eventually(t, "an attempt", func() bool { target = x.recipient(t, desk); return target.Head.Count > n || n > 0 })
		x.later(min(target.Head.Next.Sub(x.Now()), 71*time.Hour+time.Minute-x.Now().Sub(began)))
		eventually(t, "another attempt", func() bool {
			now := x.recipient(t, desk)
			return now.Head.Count > target.Head.Count || now.Head.Next.After(x.Now())
		})
	}
	x.meet(t, "onbekend")
	until := x.Now().Add(2 * time.Hour)
	for x.Now().Before(until) {
		x.later(10 * time.Minute)
		eventually(t, "an attempt", func() bool { now := x.recipient(t, desk); return now.Head.Next.After(x.Now()) || now.Dead > 0 })
	}
	x.Fail(desk, gatewaytest.MailFault{})
	x.later(9 * time.Hour)
	x.posted(t, 1)
	if target := x.settled(t, desk); target.Dead > 0 {
		t.Error("the mail was given up within two hours of the news")
	}
}

// News of a signal that ended while the feed was away is for those who owned it: they
// are told, and under their own reference.
func TestNewsOfASignalThatHasEnded(t *testing.T) {
	x := newSubscribed(t, gateway.Subscription{Owners: []string{"jansen"}})
	own := signal(t, x.a, child(1), terms("jansen", "A-1"))
	theirs := signal(t, x.b, child(1), terms("bakker", "B-1"))
	inbox(t, x.a, 1)
	x.Taken(1)
	hear := deaf(x.World)
	if _, err := x.b.Withdraw(theirs.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	settled(t, x.b, theirs.ID)
	if _, err := x.a.Withdraw(own.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	settled(t, x.a, own.ID)
	hear()
	for _, m := range inbox(t, x.a, 2) {
		if len(m.Owners) != 1 || m.Owners[0].Owner != "jansen" || m.Owners[0].Reference != "A-1" {
			t.Errorf("%s is of %v", m.Kind, m.Owners)
		}
	}
	if got := x.Taken(2)[1].Data["signalen"].([]any); len(got) != 1 || got[0].(map[string]any)["kenmerk"] != "A-1" {
		t.Errorf("signals: %v", got)
	}
}
