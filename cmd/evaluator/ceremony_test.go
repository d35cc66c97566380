// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/evaluator"
	"github.com/seinhuis/seinhuis/evaluator/ceremony"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
)

// A guild is evaluators in folders of their own, around one desk where governance puts
// what is public. Everything an evaluator does it does by its commands.
type guild struct {
	t      *testing.T
	w      *manifesttest.World
	desk   string
	folder map[int]string
	known  map[int]manifest.Evaluator
	pins   []byte
	first  int // cohort, of two
	// After each command either the manifest in force or the one to come must work.
	inForce, toCome *manifest.Manifest
}

func newGuild(t *testing.T, threshold, n int) *guild {
	t.Helper()
	g := &guild{
		t: t, w: manifesttest.New(t, threshold, n), desk: t.TempDir(), first: time.Now().Year() - 10,
		folder: make(map[int]string), known: make(map[int]manifest.Evaluator),
	}
	until := time.Now().UTC().Truncate(time.Second).AddDate(1, 0, 0)
	g.w.Manifest.NotAfter, g.w.Directory.NotAfter = until, until
	g.w.Manifest.Policy.LegalBasisEnds = encoding.DateOf(until)
	g.w.Manifest.Evaluators = nil
	for i := 1; i <= n; i++ {
		g.join(i)
	}
	var err error
	if g.pins, err = json.Marshal(g.w.Pins()); err != nil {
		t.Fatal(err)
	}
	for i := range g.folder {
		g.write(g.in(i, "pins.json"), g.pins)
	}
	return g
}

func (g *guild) write(path string, text []byte) {
	g.t.Helper()
	if err := manifest.WriteFile(path, text); err != nil {
		g.t.Fatal(err)
	}
}

func (g *guild) in(i int, name string) string { return filepath.Join(g.folder[i], name) }

func (g *guild) at(name string) string { return filepath.Join(g.desk, name) }

// vaultOf is of the shares in a folder, with the wrapping keys beside it.
func vaultOf(shares string) evaluator.Vault {
	c := config{Shares: shares, Wrapping: filepath.Join(filepath.Dir(shares), "wrapping"), Data: filepath.Join(filepath.Dir(shares), "data")}
	return c.vault()
}

func (g *guild) try(args ...string) (string, error) {
	var stdout bytes.Buffer
	err := program.Run(g.t.Context(), args, &stdout, io.Discard)
	return stdout.String(), err
}

// run runs a command, and looks whether a killed one would have left nothing working.
func (g *guild) run(args ...string) string {
	g.t.Helper()
	stdout, err := g.try(args...)
	if err != nil {
		g.t.Fatalf("%s: %v", args[0], err)
	}
	g.works(args[0])
	return stdout
}

func (g *guild) works(after string) {
	g.t.Helper()
	if g.inForce != nil && !g.has(g.inForce) && (g.toCome == nil || !g.has(g.toCome)) {
		g.t.Errorf("after %s neither the old sharing nor the new one has enough shares", after)
	}
}

// has tells whether enough evaluators have all shares of a manifest in their folders.
func (g *guild) has(m *manifest.Manifest) bool {
	whole := 0
	for _, e := range m.Evaluators {
		shares, err := vaultOf(g.in(e.Index, "shares")).Read()
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			g.t.Fatal(err)
		}
		if _, missing, err := evaluator.Check(m, e.Index, shares, time.Now()); err == nil && len(missing) == 0 {
			whole++
		}
	}
	return whole >= m.Threshold
}

// join makes an evaluator's keys and puts it in the next manifest.
func (g *guild) join(i int) {
	g.t.Helper()
	g.folder[i] = g.t.TempDir()
	name := fmt.Sprintf("evaluator-%d", i)
	stanza := g.run("keygen", "-out", g.in(i, "keys"), "-name", name, "-url", fmt.Sprintf("https://127.0.0.1:%d", 8450+i), "-host", "127.0.0.1")
	var self manifest.Evaluator
	if err := encoding.UnmarshalJSON([]byte(stanza), &self); err != nil {
		g.t.Fatal(err)
	}
	self.Index = i
	g.known[i] = self
	g.w.Manifest.Evaluators = append(g.w.Manifest.Evaluators, self)
	g.write(g.in(i, "config.json"), marshal(g.t, map[string]any{
		"data": "data", "shares": "shares", "tls": map[string]any{"cert": "keys/tls.crt", "key": "keys/tls.pem"},
		"pins": "pins.json", "manifest": "manifest.txt", "directory": "directory.txt",
		"evaluation": "127.0.0.1:0", "public": "127.0.0.1:0",
	}))
	if g.pins != nil {
		g.write(g.in(i, "pins.json"), g.pins)
		g.handOut(i)
	}
}

// draft puts the manifest that is to be on the desk, without sharings.
func (g *guild) draft() {
	g.t.Helper()
	if g.inForce != nil {
		g.w.Manifest.Version, g.w.Manifest.Previous = g.inForce.Version+1, g.inForce.Hash()
	}
	g.w.Manifest.Sharings = nil
	text, err := g.w.Manifest.Note()
	if err != nil {
		g.t.Fatal(err)
	}
	g.write(g.at("draft.txt"), manifesttest.Sign(g.t, text, g.w.Governance))
}

func (g *guild) cohorts() string { return fmt.Sprintf("%d-%d", g.first, g.first+1) }

func (g *guild) dealArgs(i int, dealers string) []string {
	return []string{"deal", "-config", g.in(i, "config.json"), "-key", g.in(i, "keys/note.key"), "-draft", g.at("draft.txt"),
		"-epoch", "1", "-cohorts", g.cohorts(), "-dealers", dealers, "-out", g.at(fmt.Sprintf("dealing-%d.txt", i))}
}

func (g *guild) gatherArgs(i int, dealers ...int) []string {
	args := []string{"gather", "-config", g.in(i, "config.json"), "-box", g.in(i, "keys/box.pem"), "-draft", g.at("draft.txt"), "-out", g.at("made.json")}
	for _, d := range dealers {
		args = append(args, "-dealing", g.at(fmt.Sprintf("dealing-%d.txt", d)))
	}
	return args
}

func (g *guild) deal(dealers ...int) {
	g.t.Helper()
	var names []string
	for _, d := range dealers {
		names = append(names, fmt.Sprint(d))
	}
	for _, d := range dealers {
		os.Remove(g.at(fmt.Sprintf("dealing-%d.txt", d)))
		g.run(g.dealArgs(d, strings.Join(names, ","))...)
	}
	os.Remove(g.at("made.json"))
}

// manifest puts what was made into the manifest to come.
func (g *guild) manifest() {
	g.t.Helper()
	text, err := os.ReadFile(g.at("made.json"))
	if err != nil {
		g.t.Fatal(err)
	}
	var made ceremony.Outcome
	if err := encoding.UnmarshalJSON(text, &made); err != nil {
		g.t.Fatal(err)
	}
	g.w.Manifest.Sharings = made.Sharings
	m := *g.w.Manifest
	g.toCome = &m
	note, err := m.Note()
	if err != nil {
		g.t.Fatal(err)
	}
	g.write(g.at("manifest.txt"), manifesttest.Sign(g.t, note, g.w.Governance))
}

func (g *guild) signArgs(i int) []string {
	return []string{"sign", "-config", g.in(i, "config.json"), "-key", g.in(i, "keys/note.key"), "-in", g.at("manifest.txt"), "-out", g.at("manifest.txt")}
}

// handOut gives an evaluator the notes on the desk.
func (g *guild) handOut(i int) {
	g.t.Helper()
	msg, err := os.ReadFile(g.at("manifest.txt"))
	if err != nil {
		g.t.Fatal(err)
	}
	g.write(g.in(i, "manifest.txt"), msg)
	g.write(g.in(i, "directory.txt"), g.w.SignedDirectory(g.t))
	g.works("handing out")
}

// ceremony goes through a whole one.
func (g *guild) ceremony(dealers ...int) {
	g.t.Helper()
	g.draft()
	g.deal(dealers...)
	for _, e := range g.w.Manifest.Evaluators {
		g.run(g.gatherArgs(e.Index, dealers...)...)
		g.run(g.gatherArgs(e.Index, dealers...)...) // interrupted, and done again
	}
	g.manifest()
	for _, e := range g.w.Manifest.Evaluators {
		if g.inForce == nil || slices.ContainsFunc(g.inForce.Evaluators, func(was manifest.Evaluator) bool { return was.Index == e.Index }) {
			g.run(g.signArgs(e.Index)...)
		}
	}
	for _, e := range g.toCome.Evaluators {
		g.handOut(e.Index)
	}
	g.inForce, g.toCome = g.toCome, nil
	for _, e := range g.inForce.Evaluators {
		g.run("destroy", "-config", g.in(e.Index, "config.json"))
		shares, err := vaultOf(g.in(e.Index, "shares")).Read()
		if err != nil || len(shares) != 2 {
			g.t.Errorf("evaluator %d keeps %d shares, want those of two cohorts in force (%v)", e.Index, len(shares), err)
		}
	}
}

func (g *guild) c0() (points [][]byte) {
	for _, s := range g.inForce.Sharings {
		points = append(points, s.Commitments[0])
	}
	return points
}

// TestCeremonies makes keys among three evaluators and shares them anew as they are,
// with a fourth, without the first, and after one has lost all it had. After every
// single command enough shares of the old or the new sharing lie in the folders.
func TestCeremonies(t *testing.T) {
	g := newGuild(t, 2, 3)
	g.ceremony(1, 2, 3)
	public := g.c0()
	kept := func(what string, number uint64) {
		t.Helper()
		if !slices.EqualFunc(g.c0(), public, bytes.Equal) || g.inForce.Sharings[0].Number != number {
			t.Errorf("%s: another key, or sharing %d", what, g.inForce.Sharings[0].Number)
		}
	}
	g.ceremony(1, 3)
	kept("refreshed", 2)

	g.join(4)
	g.ceremony(2, 3)
	kept("the fourth has joined", 3)

	leaver := g.folder[1]
	g.w.Manifest.Evaluators = slices.DeleteFunc(slices.Clone(g.w.Manifest.Evaluators), func(e manifest.Evaluator) bool { return e.Index == 1 })
	g.ceremony(4, 2)
	kept("the first has left", 4)
	if shares, err := vaultOf(filepath.Join(leaver, "shares")).Read(); err != nil || len(shares) == 0 {
		t.Fatal(err)
	} else if _, _, err := evaluator.Check(g.inForce, 1, withNumber(shares, 4), time.Now()); !errors.Is(err, evaluator.ErrForeign) {
		t.Errorf("the leaver's shares stand for new ones: %v", err)
	}

	if err := os.RemoveAll(g.in(3, "shares")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(g.in(3, "shares"), 0o700); err != nil {
		t.Fatal(err)
	}
	g.ceremony(2, 4)
	kept("the third had lost its shares", 5)

	text, err := g.w.Manifest.Note() // of the version in force
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.ParseManifest(text)
	if err != nil {
		t.Fatal(err)
	}
	m.Sharings = nil
	if text, err = m.Note(); err != nil {
		t.Fatal(err)
	}
	g.write(g.at("draft.txt"), manifesttest.Sign(t, text, g.w.Governance))
	if _, err := g.try(g.dealArgs(2, "2,4")...); !errors.Is(err, manifest.ErrVersion) {
		t.Errorf("a draft of the version in force: %v", err)
	}
}

func withNumber(shares []evaluator.Share, number uint64) []evaluator.Share {
	for i := range shares {
		shares[i].Sharing = number
	}
	return shares
}

// TestCeremonyRefuses is what evaluators are kept from by their own programs.
func TestCeremonyRefuses(t *testing.T) {
	g := newGuild(t, 2, 3)
	refused := func(reason, want string, args ...string) {
		t.Helper()
		if _, err := g.try(args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", reason, err, want)
		}
	}
	g.draft()
	refused("too few dealers", ceremony.ErrDealers.Error(), g.dealArgs(1, "1")...)
	refused("dealers in words", "indexes", g.dealArgs(1, "all")...)
	wrongKey := g.dealArgs(1, "1,2")
	wrongKey[4] = g.in(2, "keys/note.key")
	refused("another's note key", "another note key", wrongKey...)
	years := g.dealArgs(1, "1,2")
	years[slices.Index(years, "-cohorts")+1] = "2014-2013"
	refused("cohorts backwards", "range of birth years", years...)
	if _, err := os.Stat(g.at("dealing-1.txt")); err == nil {
		t.Error("a dealing was written all the same")
	}

	g.deal(1, 2)
	refused("a dealing too few", ceremony.ErrMissing.Error(), g.gatherArgs(3, 1)...)
	wrongBox := g.gatherArgs(3, 1, 2)
	wrongBox[4] = g.in(2, "keys/box.pem")
	refused("another's box", "dealer 1", wrongBox...)
	g.write(g.at("made.json"), []byte("{}\n"))
	refused("others have other commitments", "other commitments", g.gatherArgs(3, 1, 2)...)
	os.Remove(g.at("made.json"))
	os.RemoveAll(g.in(3, "shares"))

	for i := 1; i <= 2; i++ {
		g.run(g.gatherArgs(i, 1, 2)...)
	}
	g.manifest()
	refused("it has gathered nothing", "shares: no such file", g.signArgs(3)...)
	g.run(g.signArgs(1)...)
	g.deal(1, 2)
	refused("it has signed for the shares before", "has signed a manifest", g.gatherArgs(1, 1, 2)...)
	refused("a draft that governance has not signed", manifest.ErrSigner.Error(), func() []string {
		text, err := manifest.TextOf(mustRead(t, g.at("draft.txt")))
		if err != nil {
			t.Fatal(err)
		}
		g.write(g.at("draft.txt"), manifesttest.Sign(t, text, g.w.DirectorySigner))
		return g.dealArgs(1, "1,2")
	}()...)
	g.w.Manifest.Dep = "other"
	g.draft()
	refused("another deployment", manifest.ErrDeployment.Error(), g.dealArgs(1, "1,2")...)
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
