// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/manifest"
)

// renewKeys gives party 0 new keys of all uses, of which the directory says since when;
// those before are retired. The old key of keyboxes is kept as documented.
func renewKeys(t *testing.T, w *gatewaytest.World) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	in := func(name string) string { return filepath.Join(w.KeysOf(0), name) }
	must(os.Rename(in(gateway.FileHPKE), in("hpke-2026.pem")))
	for _, name := range []string{gateway.FileSign, gateway.FileTLSCert, gateway.FileTLSKey} {
		must(os.Remove(in(name)))
	}
	sign, err := keys.Clear.WriteSigning(in(gateway.FileSign))
	must(err)
	hpke, err := keys.Clear.WriteHPKE(in(gateway.FileHPKE))
	must(err)
	must(keys.Clear.WriteTLS(in(gateway.FileTLSCert), in(gateway.FileTLSKey), "party", nil))
	cert, err := keys.Clear.ReadTLS(in(gateway.FileTLSCert), in(gateway.FileTLSKey))
	must(err)
	pin := keys.SPKIHash(cert.Leaf)
	now := w.Now().UTC().Truncate(time.Second)
	own := &w.Directory.Parties[0]
	for i := range own.Keys {
		own.Keys[i].Until = now
	}
	own.Keys = append(own.Keys, manifest.NewKey(manifest.UseSign, sign, now),
		manifest.NewKey(manifest.UseHPKE, hpke.Bytes(), now), manifest.NewKey(manifest.UseTLS, pin[:], now))
	w.Publish()
}

// A party's keys are renewed without breaking what lives: its old cards still verify, its
// old keyboxes still open, and what it revokes verifies for nobody.
func TestKeysOfAPartyAreRenewedAndRevoked(t *testing.T) {
	w := gatewaytest.New(t, 3)
	fs := vfs.NewMem()
	house, others := w.RunOn(fs, 0), w.Run(1, 2)
	for n := range 3 {
		signal(t, house.Of(0), child(n), terms("jansen", "A-1"))
	}
	house.Stop()
	w.Advance(time.Minute)
	renewKeys(t, w)
	house = w.RunOn(fs, 0)
	a, b, c := house.Of(0), others.Of(1), others.Of(2)

	signal(t, b, child(0), terms("bakker", "B-1"))
	if m := inbox(t, a, 1)[0]; m.Problem != "" || m.Other.Card.IsZero() {
		t.Errorf("under new keys the keybox of before does not open: %q", m.Problem)
	}
	if m := inbox(t, b, 1)[0]; m.Problem != "" || m.Other.Card.IsZero() {
		t.Errorf("the card of before does not verify: %q", m.Problem)
	}
	renewed, err := a.Renew(registrationOf(t, a, 1), gateway.Subject{}, gateway.Terms{})
	if err != nil {
		t.Fatal(err)
	}
	settled(t, a, renewed.ID)

	// The old key of signatures was stolen.
	for i, k := range w.Directory.Parties[0].Keys {
		if k.Use == manifest.UseSign && !k.Until.IsZero() {
			w.Directory.Parties[0].Keys[i].Revoked = true
		}
	}
	w.Publish()
	signal(t, c, child(1), terms("citroen", "C-1"))
	signal(t, c, child(2), terms("citroen", "C-2"))
	told := inbox(t, c, 2)
	for _, m := range told {
		revoked := m.SID == told[1].SID
		if (m.Problem == gateway.CodeOtherCard) != revoked || m.Other.Card.IsZero() != revoked {
			t.Errorf("signed by a revoked key %t: problem %q", revoked, m.Problem)
		}
	}
}

// registrationOf is the registration of child n, in the order in which they came.
func registrationOf(t *testing.T, p *gateway.Party, n int) gateway.ID {
	t.Helper()
	list, _, err := p.Registrations(gateway.ID{}, 100, "")
	if err != nil || len(list) <= n {
		t.Fatalf("%d registrations (%v)", len(list), err)
	}
	return list[len(list)-1-n].ID
}

// A party that has lost its key of keyboxes cannot open what comes to it; it can withdraw
// all the same, and to renew a signal with the child's number brings it back.
func TestALostKeyOfKeyboxesHasAWayBack(t *testing.T) {
	w := gatewaytest.New(t, 3)
	fs := vfs.NewMem()
	house, others := w.RunOn(fs, 0), w.Run(1, 2)
	mine, other := signal(t, house.Of(0), child(0), terms("jansen", "A-1")), signal(t, house.Of(0), child(1), terms("jansen", "A-2"))
	house.Stop()
	w.Advance(time.Minute)
	renewKeys(t, w)
	if err := os.Remove(filepath.Join(w.KeysOf(0), "hpke-2026.pem")); err != nil {
		t.Fatal(err)
	}
	house = w.RunOn(fs, 0)
	a := house.Of(0)
	if _, err := a.Withdraw(other.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	waitEmpty(t, a)
	signal(t, others.Of(1), child(0), terms("bakker", "B-1"))
	m := inbox(t, a, 1)[0]
	if m.Problem != gateway.CodeOwnKeybox || m.Kind != api.EventJoined {
		t.Fatalf("a lost key tells %s, problem %q", m.Kind, m.Problem)
	}
	if s, err := a.Renew(mine.ID, gateway.Subject{}, gateway.Terms{}); err != nil {
		t.Fatal(err)
	} else if s = settled(t, a, s.ID); len(s.Faults) != 1 || s.Faults[0].Code != gateway.CodeNumberNeeded {
		t.Errorf("a renewal without the number: %s", s.Words())
	}
	renewed, err := a.Renew(mine.ID, child(0), gateway.Terms{})
	if err != nil {
		t.Fatal(err)
	}
	if s := settled(t, a, renewed.ID); s.State != gateway.StateRegistered {
		t.Fatalf("the renewal is %s: %s", s.State, s.Words())
	}
	signal(t, others.Of(2), child(0), terms("citroen", "C-1"))
	all := inbox(t, a, 2)
	if last := all[len(all)-1]; last.Problem != "" || last.Other.Card.IsZero() {
		t.Errorf("after the renewal: problem %q", last.Problem)
	}
}
