// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
)

// The log is kept for five years, and not longer; what was found by person or signal is
// gone with it.
func TestTheLogIsKeptFiveYears(t *testing.T) {
	w := gatewaytest.New(t, 1)
	h := w.OpenOn(vfs.NewMem(), 0)
	t.Cleanup(func() { h.Close() })
	a := bootstrap(t, w, h, 0)
	hire(t, a, "jansen")
	p := a.Party
	if err := p.LogAccess(a, gateway.Touch{Event: gateway.LogCardRead, ObjectType: gateway.ObjectMatch, ObjectID: "00"}); err != nil {
		t.Fatal(err)
	}
	key, _, err := p.MakeKey(a, gateway.APIKey{
		Name: "x", Roles: []gateway.Role{gateway.MayOversee}, Reach: gateway.ReachOwn, Ends: encoding.DateOf(w.Now().AddDate(0, 0, 30)),
	})
	if err != nil {
		t.Fatal(err)
	}
	rows := func() (n int) {
		t.Helper()
		list, _, err := a.Log(gateway.LogQuery{Until: w.Now().AddDate(-4, 0, 0)}, gateway.ID{}, 100)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	w.Advance(5*365*24*time.Hour - 24*time.Hour)
	if err := p.Sweep(); err != nil {
		t.Fatal(err)
	}
	if n := rows(); n != 3 {
		t.Errorf("before five years are over it has %d rows", n)
	}
	w.Advance(4 * 24 * time.Hour) // there are two leap days in them
	if err := p.Sweep(); err != nil {
		t.Fatal(err)
	}
	if n := rows(); n != 0 {
		t.Errorf("after five years it has %d rows", n)
	}
	if n := gateway.LogIndexRows(h.Gateway); n != 0 {
		t.Errorf("%d rows of its index are left", n)
	}
	if _, err := p.Key(key.ID); err != nil {
		t.Errorf("a key that ended less than five years ago: %v", err)
	}
	w.Advance(30 * 24 * time.Hour)
	if err := p.Sweep(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Key(key.ID); !errors.Is(err, gateway.ErrNotFound) {
		t.Errorf("a key that ended five years ago: %v", err)
	}
}

// A key is found by the beginning of its hash, and is it by the whole of it.
func TestAKeyIsTheWholeOfItsHash(t *testing.T) {
	w := gatewaytest.New(t, 1)
	h := w.OpenOn(vfs.NewMem(), 0)
	t.Cleanup(func() { h.Close() })
	a := bootstrap(t, w, h, 0)
	_, secret, err := a.Party.MakeKey(a, gateway.APIKey{
		Name: "x", Roles: []gateway.Role{gateway.MayOversee}, Reach: gateway.ReachOwn, Ends: encoding.DateOf(w.Now().AddDate(1, 0, 0)),
	})
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256([]byte(secret))
	if !a.Party.HasKey(hash) {
		t.Error("the key itself does not open")
	}
	hash[31] ^= 1
	if a.Party.HasKey(hash) {
		t.Error("a key whose hash begins like it opens")
	}
}

// The same idempotency key of two API keys is two keys.
func TestAnIdempotencyKeyIsOfOneAPIKey(t *testing.T) {
	w := gatewaytest.New(t, 1)
	a := bootstrap(t, w, w.Run(0), 0)
	tm := terms("jansen", "A-1")
	tm.Key = "een-sleutel"
	seen := map[gateway.ID]bool{}
	for _, who := range []string{gateway.WhoBootstrap, "sleutel:1", "sleutel:2"} {
		other := *a
		other.Who = who
		for range 2 { // the second time it is the same
			s, err := other.Signal(child(1), tm)
			if err != nil {
				t.Fatal(err)
			}
			seen[s.ID] = true
		}
	}
	if len(seen) != 3 {
		t.Errorf("three made %d registrations", len(seen))
	}
}

// What a professional owns is found in a store from before that was kept, and after a
// start; so are users, keys and what they are for.
func TestAccessSurvivesARestart(t *testing.T) {
	w := gatewaytest.New(t, 1)
	fs := vfs.NewMem()
	h := w.RunOn(fs, 0)
	a := bootstrap(t, w, h, 0)
	hire(t, a, "jansen", "bakker")
	one := signal(t, a.Party, child(1), terms("jansen", "A-1"))
	signal(t, a.Party, child(2), terms("bakker", "B-1"))
	_, secret, err := a.Party.MakeKey(a, gateway.APIKey{
		Name: "x", Roles: []gateway.Role{gateway.MayRegister}, Reach: gateway.ReachOwn, Person: "jansen",
		Ends: encoding.DateOf(w.Now().AddDate(1, 0, 0)),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := gateway.ForgetOwned(a.Party); err != nil {
		t.Fatal(err)
	}
	h.Stop()
	h = w.RunOn(fs, 0)
	own, err := h.Authenticate(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	list, more, err := own.Registrations(gateway.ID{}, 10, "")
	if err != nil || more || len(list) != 1 || list[0].ID != one.ID {
		t.Errorf("%d registrations (%v)", len(list), err)
	}
	for name, key := range map[string]string{
		"rejects/nothing": "", "rejects/prefix_alone": gateway.KeyPrefix, "rejects/a_little_less": secret[:len(secret)-1], "rejects/a_little_more": secret + "A",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := h.Authenticate(t.Context(), key); err != gateway.ErrAccess {
				t.Errorf("%v", err)
			}
		})
	}
}
