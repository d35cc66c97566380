// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/gateway/webhook"
)

// allows lets the gateways of a world send webhooks to receivers on this machine.
func allows(w *gatewaytest.World, r *gatewaytest.Receiver) {
	was := w.Change
	w.Change = func(c *gateway.Config) {
		if was != nil {
			was(c)
		}
		c.Webhooks = gateway.WebhooksConfig{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Roots: r.RootFile}
	}
}

// admin is who administers a party.
func admin(p *gateway.Party) *gateway.Access {
	return &gateway.Access{Party: p, Who: "test", Roles: gateway.Roles, Reach: gateway.ReachAll}
}

// subscribed is a party with a subscription, and another that signals the same
// children.
type subscribed struct {
	*gatewaytest.World
	*gatewaytest.Receiver
	house  *gatewaytest.House
	a, b   *gateway.Party
	target gateway.ID
	n      int // children
}

func subscribe(t *testing.T, p *gateway.Party, r *gatewaytest.Receiver, s gateway.Subscription) gateway.ID {
	t.Helper()
	if s.URL == "" {
		s.URL = r.URL + "/seinhuis"
	}
	target, secret, err := p.Subscribe(admin(p), s, webhook.HMAC)
	if err != nil {
		t.Fatal(err)
	}
	r.Trust(secret.Reveal())
	return target.ID
}

func newSubscribed(t *testing.T, s gateway.Subscription) *subscribed {
	t.Helper()
	x := &subscribed{World: gatewaytest.New(t, 2), Receiver: gatewaytest.NewReceiver(t)}
	allows(x.World, x.Receiver)
	x.house = x.Run(0)
	x.a, x.b = x.house.Of(0), x.Run(1).Of(1)
	x.target = subscribe(t, x.a, x.Receiver, s)
	return x
}

// meet makes another match, and waits until the party has been told of it.
func (x *subscribed) meet(t *testing.T, owner string) gateway.Message {
	t.Helper()
	x.n++
	signal(t, x.a, child(x.n), terms(owner, fmt.Sprint("A-", x.n)))
	signal(t, x.b, child(x.n), terms("bakker", fmt.Sprint("B-", x.n)))
	return inbox(t, x.a, x.n)[x.n-1]
}

func (x *subscribed) read(t *testing.T) gateway.Target {
	t.Helper()
	target, err := x.a.Target(x.target)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// later moves the clock, and has the outbox see it.
func (x *subscribed) later(d time.Duration) {
	x.Advance(d)
	x.a.WakeOutbox()
}

// until waits for the subscription to be as something wants.
func (x *subscribed) until(t *testing.T, what string, holds func(gateway.Target) bool) gateway.Target {
	t.Helper()
	eventually(t, what, func() bool { return holds(x.read(t)) })
	return x.read(t)
}

// failed waits for so many attempts at what is behind the cursor, and goes to the time
// of the next one.
func (x *subscribed) failed(t *testing.T, n int) gateway.Target {
	t.Helper()
	return x.until(t, fmt.Sprint(n, " attempts"), func(target gateway.Target) bool { return target.Head.Count >= n })
}

func ids(list []gatewaytest.Delivered) (out []string) {
	for _, d := range list {
		out = append(out, d.ID)
	}
	return out
}

func TestAWebhookTellsOfAMatch(t *testing.T) {
	x := newSubscribed(t, gateway.Subscription{Link: "https://dossier.example/signaal/"})
	m := x.meet(t, "jansen")
	got := x.Taken(1)[0]
	if got.ID != m.ID.String() || got.Type != "nl.seinhuis.aangesloten.v1" || got.Source != "urn:nld:kvknr:00000000:systeem:seinhuis" ||
		got.Sequence != fmt.Sprintf("%020d", m.Seq) || got.At != fmt.Sprint(x.Now().Unix()) || got.Signatures != 1 {
		t.Errorf("got %+v", got)
	}
	signals := got.Data["signalen"].([]any)
	own := signals[0].(map[string]any)
	id := m.Owners[0].Registration.String()
	if len(signals) != 1 || own["kenmerk"] != "A-1" || own["hulpverlener"] != "jansen" || own["signaal"] != id || own["link"] != "https://dossier.example/signaal/"+id {
		t.Errorf("signals: %v", signals)
	}
	other := got.Data["ander"].(map[string]any)
	if other["deelnemer"] != string(gatewaytest.Party(1)) || other["naam"] != "Organisatie 1" || other["contactkaart"] != nil || other["voorleescode"] != nil {
		t.Errorf("the other: %v", other)
	}
	if strings.Contains(got.Body, "Balie 1") || strings.Contains(got.Body, bsn(1)) || strings.Contains(got.Body, "subject") {
		t.Error("it tells too much")
	}
	done := x.until(t, "the cursor", func(target gateway.Target) bool { return target.Cursor == m.Seq })
	if done.Last != gateway.Result(webhook.Delivered) || done.Done.IsZero() || done.Dead != 0 {
		t.Errorf("%+v", done)
	}
}

// A card goes along only where that is asked for, and is in the log of access.
func TestAWebhookWithACard(t *testing.T) {
	x := newSubscribed(t, gateway.Subscription{Card: true})
	m := x.meet(t, "jansen")
	other := x.Taken(1)[0].Data["ander"].(map[string]any)
	card := other["contactkaart"].(map[string]any)
	if card["afdeling"] != "Balie 1" || other["voorleescode"] != m.Other.Code || m.Other.Code == "" {
		t.Errorf("the other: %v", other)
	}
	rows, _, err := admin(x.a).Log(gateway.LogQuery{}, gateway.ID{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	logged := slices.ContainsFunc(rows, func(r gateway.LogRow) bool {
		return r.Record.Event == string(gateway.LogCardRead) && r.Record.User == "abonnement:"+x.target.String() && r.SID == m.SID
	})
	if !logged {
		t.Error("that the card went out is not in the log of access")
	}
}

func TestWhatASubscriptionAsksFor(t *testing.T) {
	x := newSubscribed(t, gateway.Subscription{Owners: []string{"jansen"}, Teams: []string{"noord"}, Kinds: []string{"aangesloten"}})
	for _, u := range []gateway.User{{ID: "visser", Name: "V", Team: "noord", Active: true}, {ID: "smit", Name: "S", Team: "zuid", Active: true}} {
		if err := x.a.MakeUser(admin(x.a), u); err != nil {
			t.Fatal(err)
		}
	}
	x.meet(t, "jansen")
	x.meet(t, "smit")
	x.meet(t, "visser")
	// A colleague joins a signal; only who was asked for is named.
	signal(t, x.a, child(4), terms("jansen", "A-4"))
	signal(t, x.a, child(4), terms("smit", "A-4s"))
	signal(t, x.b, child(4), terms("bakker", "B-4"))
	got := x.Taken(3)
	var told []string
	for _, d := range got {
		for _, s := range d.Data["signalen"].([]any) {
			told = append(told, s.(map[string]any)["kenmerk"].(string))
		}
	}
	if !slices.Equal(told, []string{"A-1", "A-3", "A-4"}) {
		t.Errorf("told of %v", told)
	}
	// What ends is of another kind, and is passed over.
	list, _, err := x.b.Registrations(gateway.ID{}, 1, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.b.Withdraw(list[0].ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	ended := inbox(t, x.a, 6)
	x.until(t, "the end of the inbox", func(target gateway.Target) bool { return target.Cursor >= ended[len(ended)-1].Seq })
	for _, d := range x.Taken(3)[3:] {
		t.Errorf("it was told of %s", d.Type)
	}
}

// One that hangs, and one that refuses, hold up no other; each gets everything in order.
func TestEachSubscriptionByItself(t *testing.T) {
	x := newSubscribed(t, gateway.Subscription{})
	first, _, err := x.a.Subscribe(admin(x.a), gateway.Subscription{URL: x.URL + "/hangt"}, webhook.HMAC)
	if err != nil {
		t.Fatal(err)
	}
	second, _, err := x.a.Subscribe(admin(x.a), gateway.Subscription{URL: x.URL + "/weigert"}, webhook.HMAC)
	if err != nil {
		t.Fatal(err)
	}
	var secrets []string
	for _, id := range []gateway.ID{x.target, first.ID, second.ID} {
		target, err := x.a.Target(id)
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, target.Secrets[0].Text)
	}
	x.Trust(secrets...)
	hanging, over := make(chan struct{}), new(atomic.Bool)
	x.Answer(func(r *http.Request, _ gatewaytest.Delivered) (int, http.Header) {
		switch r.URL.Path {
		case "/hangt":
			select {
			case <-hanging:
			case <-r.Context().Done():
			}
			over.Store(true)
			return 500, nil
		case "/weigert":
			return 400, nil
		}
		return 204, nil
	})
	defer close(hanging)
	var want []string
	for range 4 {
		want = append(want, x.meet(t, "jansen").ID.String())
	}
	if got := ids(x.Taken(4)); !slices.Equal(got, want) {
		t.Errorf("delivered %v, want %v", got, want)
	}
	if over.Load() {
		t.Error("they waited until the one that hangs gave up")
	}
}

// What fails is tried again at its time, before what came later; a restart keeps the
// schedule, and an outage of whatever length loses nothing.
func TestRetriesKeepTheOrderAndTheirTimes(t *testing.T) {
	fs := vfs.NewMem()
	x := &subscribed{World: gatewaytest.New(t, 2), Receiver: gatewaytest.NewReceiver(t)}
	allows(x.World, x.Receiver)
	x.house = x.RunOn(fs, 0)
	x.a, x.b = x.house.Of(0), x.Run(1).Of(1)
	x.target = subscribe(t, x.a, x.Receiver, gateway.Subscription{})
	x.Answer(gatewaytest.Status(500))
	var want []string
	for range 3 {
		want = append(want, x.meet(t, "jansen").ID.String())
	}
	target := x.failed(t, 1)
	for n := 2; n <= 5; n++ {
		wait := target.Head.Next.Sub(x.Now())
		if wait <= 0 || wait > 8*time.Hour+time.Second {
			t.Fatalf("attempt %d is %v away", n, wait)
		}
		x.later(wait - time.Second) // not yet
		x.later(time.Second)
		target = x.failed(t, n)
	}
	x.house.Stop()
	x.house = x.RunOn(fs, 0)
	x.a = x.house.Of(0)
	if again := x.read(t); again.Head != target.Head {
		t.Errorf("the restart made %+v of %+v", again.Head, target.Head)
	}
	x.Answer(nil)
	x.later(target.Head.Next.Sub(x.Now()))
	if got := ids(x.Taken(3)); !slices.Equal(got, want) {
		t.Errorf("delivered %v, want %v", got, want)
	}
	if n := len(x.Refused(5)); n != 5 {
		t.Errorf("%d attempts failed, want 5: one at each time", n)
	}
	if !slices.ContainsFunc(x.Refused(5), func(d gatewaytest.Delivered) bool { return d.ID != want[0] }) {
		return
	}
	t.Error("something overtook the first event")
}

func TestADeadLetterAfterThreeDays(t *testing.T) {
	x := newSubscribed(t, gateway.Subscription{Card: true})
	poison := ""
	x.Answer(func(_ *http.Request, d gatewaytest.Delivered) (int, http.Header) {
		if poison == "" {
			poison = d.ID
		}
		if d.ID == poison {
			return 422, nil
		}
		return 204, nil
	})
	m := x.meet(t, "jansen")
	next := x.meet(t, "jansen")
	target := x.failed(t, 1)
	began, n := x.Now(), 1
	for ; target.Cursor < m.Seq; n++ {
		if x.Now().Sub(began) > 73*time.Hour {
			t.Fatal("it is tried for more than three days")
		}
		x.later(target.Head.Next.Sub(x.Now()))
		target = x.until(t, "another attempt", func(now gateway.Target) bool { return now.Head.Count > target.Head.Count || now.Cursor >= m.Seq })
	}
	if took := x.Now().Sub(began); took < 71*time.Hour || n < 10 || n > 60 {
		t.Errorf("%d attempts in %v", n, took)
	}
	if got := x.Taken(1)[0].ID; got != next.ID.String() {
		t.Errorf("then came %s", got)
	}
	x.until(t, "the end of the inbox", func(target gateway.Target) bool { return target.Cursor >= next.Seq })
	list, more, err := x.a.DeadLetters(x.target, 0, 10)
	if err != nil || more || len(list) != 1 {
		t.Fatal(list, more, err)
	}
	dead := list[0]
	if dead.Seq != m.Seq || dead.Event != m.ID || dead.Kind != m.Kind || dead.Last != gateway.Result(webhook.Refused) || dead.Replay || dead.Tries.Count != n {
		t.Errorf("%+v after %d attempts", dead, n)
	}
	if text := fmt.Sprintf("%+v", dead); strings.Contains(text, "Balie") || strings.Contains(text, "A-1") {
		t.Errorf("a dead letter holds %s", text)
	}
	if got := x.read(t); got.Dead != 1 {
		t.Errorf("%d dead letters", got.Dead)
	}
	if !strings.Contains(x.Log.String(), `"msg":"delivery given up"`) {
		t.Error("the log does not tell")
	}
	if age, letters := x.measured(t, "webhook"); age != 0 || letters != 1 {
		t.Errorf("metrics: oldest %v s, %v dead letters", age, letters)
	}

	// Replayed it fails again, and then arrives.
	if n, err := x.a.ReplayDeadLetters(admin(x.a), x.target, m.Seq); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	x.Refused(n + 1)
	eventually(t, "the failed replay", func() bool {
		list, _, err := x.a.DeadLetters(x.target, 0, 10)
		return err == nil && len(list) == 1 && list[0].Replay && list[0].Tries.Count == 1
	})
	x.Answer(nil)
	if _, err := x.a.ReplayDeadLetters(admin(x.a), x.target); err != nil {
		t.Fatal(err)
	}
	x.later(9 * time.Hour)
	if got := x.Taken(2)[1].ID; got != m.ID.String() {
		t.Errorf("the replay brought %s", got)
	}
	x.until(t, "no dead letters", func(target gateway.Target) bool { return target.Dead == 0 && target.Replay.IsZero() })
	if list, _, err := x.a.DeadLetters(x.target, 0, 10); err != nil || len(list) != 0 {
		t.Error(list, err)
	}
}

// measured reads the gauges of a kind of target.
func (x *subscribed) measured(t *testing.T, kind string) (age, dead float64) {
	t.Helper()
	families, err := x.house.Metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			if len(m.Label) != 1 || m.Label[0].GetValue() != kind {
				continue
			}
			switch f.GetName() {
			case "seinhuis_gateway_undelivered_age_seconds":
				age = m.Gauge.GetValue()
			case "seinhuis_gateway_dead_letters":
				dead = m.Gauge.GetValue()
			}
		}
	}
	return age, dead
}

func TestGoneTurnsItOffUntilItIsTurnedOn(t *testing.T) {
	x := newSubscribed(t, gateway.Subscription{})
	x.Answer(gatewaytest.Status(410))
	first := x.meet(t, "jansen")
	off := x.until(t, "off", func(target gateway.Target) bool { return target.Off == gateway.OffGone })
	if off.Dead != 0 || off.Cursor >= first.Seq {
		t.Errorf("%+v", off)
	}
	second := x.meet(t, "jansen")
	x.Answer(nil)
	x.later(100 * time.Hour)
	if age, _ := x.measured(t, "webhook"); age != 0 {
		t.Errorf("for a target that is off something waits %v s", age)
	}
	if _, err := x.a.ChangeSubscription(admin(x.a), x.target, off.Subscription, true); err != nil {
		t.Fatal(err)
	}
	if got := ids(x.Taken(2)); !slices.Equal(got, []string{first.ID.String(), second.ID.String()}) {
		t.Errorf("delivered %v", got)
	}
	if n := len(x.Refused(1)); n != 1 {
		t.Errorf("it was asked %d times while it was off", n-1)
	}
	if !strings.Contains(x.Log.String(), `"msg":"subscription turned off"`) {
		t.Error("the log does not tell")
	}
}

func TestTurnedOffByHand(t *testing.T) {
	x := newSubscribed(t, gateway.Subscription{})
	s := x.read(t).Subscription
	if target, err := x.a.ChangeSubscription(admin(x.a), x.target, s, false); err != nil || target.Off != gateway.OffAsked {
		t.Fatal(target, err)
	}
	m := x.meet(t, "jansen")
	other := x.read(t)
	if other.Cursor >= m.Seq {
		t.Error("the cursor goes on while it is off")
	}
	if _, err := x.a.ChangeSubscription(admin(x.a), x.target, s, true); err != nil {
		t.Fatal(err)
	}
	x.Taken(1)
}

func TestRetryAfterIsObeyed(t *testing.T) {
	for status, want := range map[int]time.Duration{429: 5 * time.Hour, 503: 24 * time.Hour} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			x := newSubscribed(t, gateway.Subscription{})
			seconds := fmt.Sprint(int((5 * time.Hour).Seconds()))
			if status == 503 {
				seconds = "99999999"
			}
			x.Answer(func(*http.Request, gatewaytest.Delivered) (int, http.Header) {
				return status, http.Header{"Retry-After": {seconds}}
			})
			x.meet(t, "jansen")
			target := x.failed(t, 1)
			if got := target.Pause.Sub(x.Now()); got != want || target.Last != gateway.Result(webhook.Busy) {
				t.Fatalf("%s: nothing is sent for %v, want %v", target.Last, got, want)
			}
			x.Answer(nil)
			x.later(want - time.Second)
			x.meet(t, "jansen") // wakes it as well
			if target := x.read(t); target.Head.Count != 1 || target.Cursor != 0 {
				t.Error("it was sent before its time")
			}
			x.later(time.Second)
			x.Taken(2)
		})
	}
}

func TestSecretsRotateWithOverlap(t *testing.T) {
	x := newSubscribed(t, gateway.Subscription{})
	x.meet(t, "jansen")
	x.Taken(1)
	old := x.read(t).Secrets[0].Text
	_, secret, err := x.a.RotateSecret(admin(x.a), x.target, 24*time.Hour)
	if err != nil || secret.Reveal() == old {
		t.Fatal(err)
	}
	x.meet(t, "jansen") // the receiver still has the old one
	x.Taken(2)
	x.Trust(secret.Reveal())
	x.meet(t, "jansen")
	x.Taken(3)
	x.later(24 * time.Hour)
	x.meet(t, "jansen")
	var signatures []int
	for _, d := range x.Taken(4) {
		signatures = append(signatures, d.Signatures)
	}
	if !slices.Equal(signatures, []int{1, 2, 2, 1}) {
		t.Errorf("signatures: %v", signatures)
	}
	for n := 0; err == nil; n++ {
		if _, _, err = x.a.RotateSecret(admin(x.a), x.target, time.Hour); n > 10 {
			t.Fatal("secrets without end")
		}
	}
	if !errors.Is(err, gateway.ErrManySecrets) {
		t.Error(err)
	}
	x.Advance(2 * time.Hour)
	if _, _, err := x.a.RotateSecret(admin(x.a), x.target, 0); err != nil {
		t.Error(err)
	}
}

func TestAWebhookWithAKeyPair(t *testing.T) {
	x := newSubscribed(t, gateway.Subscription{})
	target, secret, err := x.a.Subscribe(admin(x.a), gateway.Subscription{URL: x.URL + "/paar"}, webhook.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.a.Unsubscribe(admin(x.a), x.target); err != nil {
		t.Fatal(err)
	}
	if got := x.a.PublicKeys(target); len(got) != 1 || got[0] != secret.Public() {
		t.Errorf("public keys: %v", got)
	}
	x.Trust(secret.Public())
	x.meet(t, "jansen")
	x.Taken(1)
}

// Another address is tried at once, from where it was.
func TestAnotherAddress(t *testing.T) {
	x := newSubscribed(t, gateway.Subscription{})
	good := x.URL
	x.Answer(gatewaytest.Status(500))
	first := x.meet(t, "jansen")
	target := x.failed(t, 1)
	for n := 2; n <= 6; n++ {
		x.later(target.Head.Next.Sub(x.Now()))
		target = x.failed(t, n)
	}
	x.Answer(nil)
	s := target.Subscription
	s.URL = good + "/elders"
	if changed, err := x.a.ChangeSubscription(admin(x.a), x.target, s, true); err != nil || changed.Head != (gateway.Tries{}) {
		t.Fatal(changed.Head, err)
	}
	if got := x.Taken(1)[0].ID; got != first.ID.String() {
		t.Errorf("delivered %s", got)
	}
}

// What is away for a month is turned off; that holds whatever comes in.
func TestAMonthOfFailures(t *testing.T) {
	x := newSubscribed(t, gateway.Subscription{})
	x.Answer(gatewaytest.Status(502))
	x.meet(t, "jansen")
	target := x.failed(t, 1)
	for range 9 {
		x.meet(t, "jansen")
	}
	for target.Off == gateway.OffNot {
		before := target
		x.later(target.Head.Next.Sub(x.Now()))
		target = x.until(t, "another attempt", func(now gateway.Target) bool {
			return now.LastAt.After(before.LastAt) && now.Head.Count > 0 || now.Off != gateway.OffNot
		})
	}
	if days := x.Now().Sub(target.Failing).Hours() / 24; target.Off != gateway.OffFailing || days < 30 || days > 31 || target.Dead == 0 {
		t.Errorf("%s after %.1f days, with %d dead letters", target.Off, days, target.Dead)
	}
}

func TestWhereAWebhookMayNotGo(t *testing.T) {
	x := newSubscribed(t, gateway.Subscription{})
	x.Change = nil // the configuration allows nothing
	other := x.Run(0).Of(0)
	target, _, err := other.Subscribe(admin(other), gateway.Subscription{URL: x.URL}, webhook.HMAC)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := other.TestSubscription(t.Context(), target.ID)
	if err != nil || answer.Outcome != webhook.Forbidden {
		t.Errorf("%s, %v", answer.Outcome, err)
	}
	for name, url := range map[string]string{"plain": "http://a.example/", "user": "https://a:b@a.example/", "none": ""} {
		_, _, err := other.Subscribe(admin(other), gateway.Subscription{URL: url}, webhook.HMAC)
		if _, ok := errors.AsType[*gateway.InputError](err); !ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestATestEvent(t *testing.T) {
	x := newSubscribed(t, gateway.Subscription{})
	answer, err := x.a.TestSubscription(t.Context(), x.target)
	if err != nil || answer.Outcome != webhook.Delivered {
		t.Fatal(answer, err)
	}
	if got := x.Taken(1)[0]; got.Type != "nl.seinhuis.proef.v1" || got.Sequence != "" || !strings.HasPrefix(got.ID, "proef-") {
		t.Errorf("%+v", got)
	}
}

func TestSubscriptionLimits(t *testing.T) {
	x := newSubscribed(t, gateway.Subscription{})
	for {
		_, _, err := x.a.Subscribe(admin(x.a), gateway.Subscription{URL: x.URL}, webhook.HMAC)
		if err != nil {
			if !errors.Is(err, gateway.ErrManyTargets) {
				t.Fatal(err)
			}
			break
		}
	}
	list, more, err := x.a.Targets(gateway.ID{}, 100)
	if err != nil || more || len(list) != gateway.MaxSubscriptions {
		t.Errorf("%d subscriptions, %v", len(list), err)
	}
	bad := gateway.Subscription{
		URL: x.URL, Kinds: []string{"verhuisd"}, Owners: []string{"a b"}, Link: "javascript:alert(1)//", Name: strings.Repeat("x", 81),
	}
	_, _, err = x.a.Subscribe(admin(x.a), bad, webhook.HMAC)
	if input, ok := errors.AsType[*gateway.InputError](err); !ok || len(input.Faults) != 4 {
		t.Error(err)
	}
}

// The inbox keeps what a subscription has not had, and a dead letter goes with its
// message.
func TestTheSweepWaitsForDelivery(t *testing.T) {
	x := newSubscribed(t, gateway.Subscription{})
	x.Answer(gatewaytest.Status(500))
	s := signal(t, x.a, child(1), terms("jansen", "A-1"))
	signal(t, x.b, child(1), terms("bakker", "B-1"))
	m := inbox(t, x.a, 1)[0]
	x.failed(t, 1)
	if _, err := x.a.Withdraw(s.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	settled(t, x.a, s.ID)
	kept := func() []gateway.Message {
		t.Helper()
		if err := x.a.Sweep(); err != nil {
			t.Fatal(err)
		}
		list, err := x.a.Messages(0, 100)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	x.Advance(40 * 24 * time.Hour)
	if list := kept(); len(list) == 0 || list[0].ID != m.ID {
		t.Fatal("the message went before it was delivered")
	}
	target := x.exhaust(t)
	if target.Cursor < m.Seq {
		t.Errorf("%+v", target)
	}
	kept()
	if list, _, err := x.a.DeadLetters(x.target, 0, 10); err != nil || len(list) > 0 {
		t.Errorf("the dead letter outlives its message: %v %v", list, err)
	}
	if got := x.read(t); got.Dead != 0 || got.Cursor < target.Cursor {
		t.Errorf("%+v", got)
	}
}

// Whatever fails, neither an address nor a secret nor a reference is logged.
func TestDeliveriesLogNothingOfWhatTheySend(t *testing.T) {
	x := newSubscribed(t, gateway.Subscription{URL: "https://127.0.0.1:1/geheim-pad?sleutel=hemelsblauw"})
	x.meet(t, "jansen")
	target := x.failed(t, 1)
	x.exhaust(t)
	log := x.Log.String()
	for _, secret := range []string{"geheim-pad", "hemelsblauw", "127.0.0.1:1/", target.Secrets[0].Text, "A-1", "jansen"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", target, target, target); strings.Contains(text, "hemelsblauw") || strings.Contains(text, "whsec") {
		t.Errorf("a target prints as %s", text)
	}
}

func TestRetryDelay(t *testing.T) {
	for n := 1; n < 40; n++ {
		for range 50 {
			if d := gateway.RetryDelay(n); d < time.Second || d > 8*time.Hour+time.Second || n == 1 && d > 11*time.Second {
				t.Fatalf("%v after %d failures", d, n)
			}
		}
	}
}

func TestTypeName(t *testing.T) {
	for kind, want := range map[string]string{"aangesloten": "aangesloten", "kaartVernieuwd": "kaart-vernieuwd"} {
		if got := gateway.TypeName(kind); got != want {
			t.Errorf("%s: %s", kind, got)
		}
	}
}
