// SPDX-License-Identifier: EUPL-1.2

package manifest_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
)

const school, clinic = api.PartyID("nl-brin:12AB"), api.PartyID("nl-kvk:12345678/site-2")

func newKey(use string, from time.Time) manifest.Key {
	raw := manifesttest.Random32()
	return manifest.NewKey(use, raw[:], from)
}

// parties is a world with a school and a clinic. Keys of the school, in order:
// sign, hpke, tls.
func parties(t testing.TB) *manifesttest.World {
	w := manifesttest.New(t, 2, 3)
	keys := func() []manifest.Key {
		return []manifest.Key{
			newKey(manifest.UseSign, now.AddDate(-1, 0, 0)), newKey(manifest.UseHPKE, now.AddDate(-1, 0, 0)), newKey(manifest.UseTLS, now.AddDate(-1, 0, 0)),
		}
	}
	w.Directory.Parties = []manifest.Party{
		{ID: school, Name: "De Wissel & Co", Kind: manifest.School, Region: "Utrecht", Roles: []string{"signal-only"}, Keys: keys()},
		{ID: clinic, Name: "Kliniek", Kind: manifest.MentalHealth, Region: "Utrecht", Keys: keys()},
	}
	return w
}

func TestOpenDirectory(t *testing.T) {
	w := parties(t)
	d, err := manifest.OpenDirectory(w.SignedDirectory(t), w.Manifest, now)
	if err != nil {
		t.Fatal(err)
	}
	if d.Hash() != w.Directory.Hash() {
		t.Error("the hash changed on the way")
	}
	if p, ok := d.Party(clinic); !ok || p.Name != "Kliniek" {
		t.Errorf("party: %v, %v", p.Name, ok)
	}
	if _, ok := d.Party("nl-brin:12AC"); ok {
		t.Error("a party out of nothing")
	}
	if p, ok := d.ByTLS([32]byte(d.Parties[0].Keys[2].Key), now); !ok || p.ID != school {
		t.Errorf("by tls: %v, %v", p.ID, ok)
	}
	for reason, key := range map[string][]byte{"sign_key": d.Parties[0].Keys[0].Key, "unknown": make([]byte, 32)} {
		if _, ok := d.ByTLS([32]byte(key), now); ok {
			t.Errorf("a caller known by a %s", reason)
		}
	}
}

func TestKeyWindows(t *testing.T) {
	w := parties(t)
	keys := w.Directory.Parties[0].Keys
	for i := range keys {
		keys[i].Until = now.AddDate(0, 1, 0)
	}
	d := w.Directory
	for _, c := range []struct {
		name                     string
		at                       time.Time
		revoked, current, verify bool
	}{
		{"before", keys[0].From.Add(-1), false, false, false},
		{"first_instant", keys[0].From, false, true, true},
		{"last_instant", keys[0].Until.Add(-1), false, true, true},
		{"retired", keys[0].Until, false, false, true},
		{"two_years_later", keys[0].Until.AddDate(2, 0, 0).Add(-1), false, false, true},
		{"after_two_years", keys[0].Until.AddDate(2, 0, 0), false, false, false},
		{"revoked", now, true, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i := range keys {
				keys[i].Revoked = c.revoked
			}
			if k, ok := d.SignKey(school, keys[0].ID, c.at); ok != c.current || ok && !bytes.Equal(k, keys[0].Key) {
				t.Errorf("SignKey: %v", ok)
			}
			if k, ok := d.VerifyKey(school, keys[0].ID, c.at); ok != c.verify || ok && !bytes.Equal(k, keys[0].Key) {
				t.Errorf("VerifyKey: %v", ok)
			}
			if raw, id, ok := d.HPKEKey(school, c.at); ok != c.current || ok && (id != keys[1].ID || !bytes.Equal(raw, keys[1].Key)) {
				t.Errorf("HPKEKey: %v", ok)
			}
			if _, ok := d.ByTLS([32]byte(keys[2].Key), c.at); ok != c.current {
				t.Errorf("ByTLS: %v", ok)
			}
			m := w.Manifest
			m.Registry.ReceiptKeys = []manifest.Key{keys[0]}
			if _, ok := m.ReceiptKey(keys[0].ID, c.at); ok != c.verify {
				t.Errorf("ReceiptKey: %v", ok)
			}
		})
	}
	if _, ok := d.SignKey(clinic, keys[0].ID, now); ok {
		t.Error("one party signs with another's key")
	}
	if _, ok := d.VerifyKey(school, keys[2].ID, now); ok {
		t.Error("a tls key verifies statements")
	}
}

func TestNewestHPKEKey(t *testing.T) {
	w := parties(t)
	newer := newKey(manifest.UseHPKE, now.AddDate(0, -1, 0))
	future := newKey(manifest.UseHPKE, now.AddDate(0, 1, 0))
	w.Directory.Parties[0].Keys = append([]manifest.Key{newer, future}, w.Directory.Parties[0].Keys...)
	if _, id, ok := w.Directory.HPKEKey(school, now); !ok || id != newer.ID {
		t.Error("not the newest current key")
	}
}

func TestDirectoryRules(t *testing.T) {
	type D = manifest.Directory
	for reason, c := range map[string]struct {
		spoil func(*D)
		want  error
	}{
		"version_0":            {func(d *D) { d.Version = 0 }, manifest.ErrHead},
		"party_twice":          {func(d *D) { d.Parties[1].ID = school }, manifest.ErrParties},
		"parties_out_of_order": {func(d *D) { d.Parties[0], d.Parties[1] = d.Parties[1], d.Parties[0] }, manifest.ErrParties},
		"malformed_id":         {func(d *D) { d.Parties[0].ID = "nl-brin:1" }, manifest.ErrParty},
		"no_name":              {func(d *D) { d.Parties[0].Name = "" }, manifest.ErrParty},
		"newline_in_a_name":    {func(d *D) { d.Parties[0].Name = "a\nb" }, manifest.ErrParty},
		"no_kind":              {func(d *D) { d.Parties[0].Kind = "" }, manifest.ErrParty},
		"no_region":            {func(d *D) { d.Parties[0].Region = "" }, manifest.ErrParty},
		"role_with_a_space":    {func(d *D) { d.Parties[0].Roles = []string{"a b"} }, manifest.ErrParty},
		"unknown_use":          {func(d *D) { d.Parties[0].Keys[0].Use = "fax" }, manifest.ErrKey},
		"key_with_another_id":  {func(d *D) { d.Parties[0].Keys[0].ID[0]++ }, manifest.ErrKey},
		"key_of_31_bytes": {func(d *D) {
			raw := make([]byte, 31)
			d.Parties[0].Keys[0].Key, d.Parties[0].Keys[0].ID = raw, encoding.KeyIDOf(raw)
		}, manifest.ErrKey},
		"key_without_from":        {func(d *D) { d.Parties[0].Keys[0].From = time.Time{} }, manifest.ErrKey},
		"key_ends_first":          {func(d *D) { d.Parties[0].Keys[0].Until = d.Parties[0].Keys[0].From }, manifest.ErrKey},
		"two_parties_one_tls_key": {func(d *D) { d.Parties[1].Keys[2] = d.Parties[0].Keys[2] }, manifest.ErrKeyTwice},
		"grant_without_an_end":    {func(d *D) { d.Parties[0].Grants[1].Until = time.Time{} }, manifest.ErrGrant},
		"grant_ends_first":        {func(d *D) { d.Parties[0].Grants[0].Until = d.Parties[0].Grants[0].From }, manifest.ErrGrant},
		"grant_of_two_years":      {func(d *D) { d.Parties[0].Grants[1].Until = now.AddDate(2, 0, 0) }, manifest.ErrGrant},
		"grant_of_nothing":        {func(d *D) { d.Parties[0].Grants[0].Daily = 0 }, manifest.ErrGrant},
		"grant_month_under_day":   {func(d *D) { d.Parties[0].Grants[0].Monthly = 999 }, manifest.ErrGrant},
		"grant_too_large":         {func(d *D) { d.Parties[0].Grants[0].Daily, d.Parties[0].Grants[0].Monthly = 1e9, 1e9 }, manifest.ErrGrant},
		"grant_without_purpose":   {func(d *D) { d.Parties[0].Grants[0].Purpose = "" }, manifest.ErrGrant},
		"grant_in_local_time":     {func(d *D) { g := &d.Parties[0].Grants[0]; g.From = g.From.In(time.FixedZone("", 3600)) }, manifest.ErrGrant},
		"grant_twice":             {func(d *D) { d.Parties[0].Grants[1].From = d.Parties[0].Grants[0].From }, manifest.ErrGrant},
		"grants_out_of_order":     {func(d *D) { g := d.Parties[0].Grants; g[0], g[1] = g[1], g[0] }, manifest.ErrGrant},
		"one_key_twice":           {func(d *D) { d.Parties[0].Keys = append(d.Parties[0].Keys, d.Parties[0].Keys[0]) }, manifest.ErrKeyTwice},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			w := granted(t)
			c.spoil(w.Directory)
			if _, err := w.Directory.Note(); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestDirectorySigner(t *testing.T) {
	w := parties(t)
	text, err := w.Directory.Note()
	if err != nil {
		t.Fatal(err)
	}
	open := func(msg []byte, at time.Time) error {
		_, err := manifest.OpenDirectory(msg, w.Manifest, at)
		return err
	}
	foreign := parties(t)
	foreign.Directory.Dep = "other"
	for reason, c := range map[string]struct {
		err  error
		want error
	}{
		"signed_by_governance": {open(manifesttest.Sign(t, text, w.Governance), now), manifest.ErrSigner},
		"unsigned":             {open([]byte(text), now), manifest.ErrNote},
		"expired":              {open(w.SignedDirectory(t), w.Directory.NotAfter.Add(1)), manifest.ErrExpired},
		"another_deployment":   {open(manifesttest.Sign(t, must(foreign.Directory.Note()), w.DirectorySigner), now), manifest.ErrDeployment},
		"manifest_for_a_directory": {open(manifesttest.Sign(t, must(w.Manifest.Note()), w.DirectorySigner), now),
			manifest.ErrText},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if !errors.Is(c.err, c.want) {
				t.Errorf("got %v, want %v", c.err, c.want)
			}
		})
	}
}

func TestDirectoryFollows(t *testing.T) {
	type D = manifest.Directory
	for reason, c := range map[string]struct {
		change func(*D)
		want   error
	}{
		"follows":              {func(*D) {}, nil},
		"party_leaves":         {func(d *D) { d.Parties = d.Parties[1:] }, nil},
		"key_retires":          {func(d *D) { d.Parties[0].Keys[0].Until = now }, nil},
		"rejects/same_version": {func(d *D) { d.Version, d.Previous = 1, api.Hash{} }, manifest.ErrVersion},
		"rejects/another_previous": {func(d *D) {
			d.Previous[0]++
		}, manifest.ErrPrevious},
		"rejects/another_deployment":   {func(d *D) { d.Dep = "other" }, manifest.ErrDeployment},
		"rejects/revoked_key_left_out": {func(d *D) { d.Parties[1].Keys = d.Parties[1].Keys[:1] }, manifest.ErrRevived},
		"rejects/revoked_key_revived":  {func(d *D) { d.Parties[1].Keys[1].Revoked = false }, manifest.ErrRevived},
	} {
		t.Run(reason, func(t *testing.T) {
			w := parties(t)
			w.Directory.Parties[1].Keys[1].Revoked = true
			n := must(manifest.ParseDirectory(must(w.Directory.Note())))
			n.Version, n.Previous = 2, w.Directory.Hash()
			c.change(n)
			if err := n.Follows(w.Directory); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func FuzzParseDirectory(f *testing.F) {
	f.Add(must(parties(f).Directory.Note()))
	f.Add(must(manifesttest.New(f, 1, 1).Directory.Note()))
	f.Add("seinhuis/1/directory\n{}\n")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := manifest.ParseDirectory(text)
		if err != nil {
			return
		}
		if again, err := d.Note(); err != nil || again != text {
			t.Fatalf("what parsed writes another text (%v)", err)
		}
	})
}
