// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
	"github.com/seinhuis/seinhuis/soak"
)

// What stands beside a stored database: the files of its configuration. Their keys were
// made for this and are used for nothing else.
var (
	storedFiles = []string{"storage.key", "pins.json", "manifest.txt", "directory.txt"}
	storedKeys  = []string{gateway.FileSign, gateway.FileHPKE, gateway.FileTLSCert, gateway.FileTLSKey, gateway.FileToken}
)

// TestRow13GatewayStores opens the database of every earlier version, finds in it what
// that version wrote, and goes on with it.
func TestRow13GatewayStores(t *testing.T) {
	soak.Stores(t, "gateway", "gateways of earlier versions", storeGateway, openGateway)
}

func storeGateway(t *testing.T, folder string) {
	w := gatewaytest.New(t, 2)
	disk := vfs.NewMem()
	h, other := w.RunOn(disk, 0), w.Run(1)
	first := signal(t, h.Of(0), child(0), terms("jansen", "A-1"))
	signal(t, h.Of(0), child(0), terms("pieters", "A-1b"))
	signal(t, h.Of(0), child(1), terms("jansen", "A-2"))
	ended := signal(t, h.Of(0), child(2), terms("jansen", "A-3"))
	if _, err := h.Of(0).Withdraw(ended.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	settled(t, h.Of(0), ended.ID)
	signal(t, other.Of(1), child(0), terms("smit", "B-1"))
	met := inbox(t, h.Of(0), 1)[0]
	inbox(t, other.Of(1), 1)
	if _, err := h.Of(0).Answer(met.Match, met.Other.Party, api.AnswerWillCall, ""); err != nil {
		t.Fatal(err)
	}
	inbox(t, other.Of(1), 2)
	h.Stop()
	still := w.OpenOn(disk, 0) // its queue stands still
	if _, err := still.Of(0).Signal(child(3), terms("jansen", "A-4")); err != nil {
		t.Fatal(err)
	}
	if _, err := still.Of(0).Withdraw(first.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(held(t, still.Of(0)), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := still.Gateway.Close(); err != nil {
		t.Fatal(err)
	}
	keys := w.KeysOf(0)
	if err := os.MkdirAll(filepath.Join(folder, "party-0"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range storedFiles {
		copyFile(t, filepath.Join(filepath.Dir(keys), name), filepath.Join(folder, name))
	}
	for _, name := range storedKeys {
		copyFile(t, filepath.Join(keys, name), filepath.Join(folder, "party-0", name))
	}
	if err := os.WriteFile(filepath.Join(folder, "holds.json"), append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	if ok, err := vfs.Clone(disk, vfs.Default, "data", filepath.Join(folder, "data")); err != nil || !ok {
		t.Fatal(ok, err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// held are lines on what a party's store holds.
func held(t *testing.T, p *gateway.Party) (lines []string) {
	t.Helper()
	registrations, more, err := p.Registrations(gateway.ID{}, 100, "")
	if err != nil || more {
		t.Fatal(more, err)
	}
	for _, s := range registrations {
		lines = append(lines, fmt.Sprintf("registration %s: %s", s.ID, s.Words()))
	}
	messages, err := p.Messages(0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		l := fmt.Sprintf("message %d: %s of %s %s, own %s %v, %q", m.Seq, m.Kind, m.Other.Party, m.Other.SID, m.SID, m.Owners, m.Problem)
		if m.Other.Card != (gateway.Card{}) {
			l += ", card of " + m.Other.Card.Desk
		}
		lines = append(lines, l)
	}
	matches, more, err := p.Matches(gateway.ID{}, 100, gateway.MatchFilter{})
	if err != nil || more {
		t.Fatal(more, err)
	}
	for _, m := range matches {
		lines = append(lines, fmt.Sprintf("match %s", m.ID))
	}
	slices.Sort(lines)
	return lines
}

func openGateway(t *testing.T, folder string) int {
	text, err := os.ReadFile(filepath.Join(folder, "holds.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	if err := json.Unmarshal(text, &want); err != nil || len(want) == 0 {
		t.Fatal(len(want), err)
	}
	here := t.TempDir() // the stored one is left as it is
	in := func(name ...string) string { return filepath.Join(append([]string{here}, name...)...) }
	if err := os.Mkdir(in("party-0"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range storedFiles {
		copyFile(t, filepath.Join(folder, name), in(name))
	}
	for _, name := range storedKeys {
		copyFile(t, filepath.Join(folder, "party-0", name), in("party-0", name))
	}
	disk := vfs.NewMem()
	if ok, err := vfs.Clone(vfs.Default, disk, filepath.Join(folder, "data"), "data"); err != nil || !ok {
		t.Fatal(ok, err)
	}
	config := gateway.Config{
		Data: "data", StorageKey: in("storage.key"), Pins: in("pins.json"), Manifest: in("manifest.txt"), Directory: in("directory.txt"),
		Parties: []gateway.PartyConfig{{
			ID: gatewaytest.Party(0), Keys: in("party-0"), Token: in("party-0", gateway.FileToken),
			Card: gateway.CardConfig{Desk: "Balie 0", Phone: "+31 20 555 01 00"},
		}},
	}
	open := func() (*gateway.Gateway, *gateway.Party) {
		g, err := gateway.Open(config, gateway.Options{
			Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: func() time.Time { return manifesttest.Now }, FS: disk, Metrics: prometheus.NewRegistry(),
		})
		fatal(t, err)
		p, ok := g.Party(gatewaytest.Party(0))
		if !ok {
			t.Fatal("the party is not there")
		}
		return g, p
	}
	renewed := func(change func([]byte) ([]byte, error)) { fatal(t, keys.Clear.Change(config.StorageKey, change)) }
	renewed(keys.RootsForm.Renew)
	g, _ := open()
	sealAll(t, g, nil)
	fatal(t, g.Close())
	renewed(keys.RootsForm.Newest)
	g, p := open()
	defer g.Close()
	if got := held(t, p); !slices.Equal(got, want) {
		t.Errorf("%s holds\n%q\nwant\n%q", folder, got, want)
	}
	jansen := &gateway.Access{Party: p, Who: "test", Person: "jansen", Roles: []gateway.Role{gateway.MayReadMatches}, Reach: gateway.ReachOwn}
	if own, _, err := jansen.Matches(gateway.ID{}, 10, gateway.MatchFilter{}); err != nil || len(own) == 0 {
		t.Errorf("%s: who owned a signal that met somebody finds %d matches (%v)", folder, len(own), err)
	}
	if _, err := p.Signal(child(5), terms("jansen", "A-5")); err != nil {
		t.Errorf("%s: a new signal: %v", folder, err)
	}
	return len(want)
}
