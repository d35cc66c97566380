// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/registry"
)

// An operator has a registry in a folder, and its binary.
type operator struct {
	t      *testing.T
	binary string
	folder string
	w      *manifesttest.World
	keys   []ed25519.PrivateKey // of the parties
}

func party(i int) api.PartyID { return api.PartyID(fmt.Sprintf("nl-kvk:%08d", i)) }

func newOperator(t *testing.T, parties int) *operator {
	t.Helper()
	o := &operator{t: t, binary: filepath.Join(t.TempDir(), "registry"), folder: t.TempDir(), w: manifesttest.New(t, 2, 3)}
	build := exec.Command("go", "build", "-o", o.binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make build does
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	stanza, _, err := o.try("keygen", "-dep", "test", "-out", filepath.Join(o.folder, "keys"), "-url", "https://127.0.0.1:1", "-public-url", "https://127.0.0.1:2")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(stanza), &o.w.Manifest.Registry); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Second)
	o.w.Manifest.NotAfter, o.w.Directory.NotAfter = now.AddDate(1, 0, 0), now.AddDate(1, 0, 0)
	o.w.Manifest.Policy.LegalBasisEnds = encoding.DateOf(now).AddDate(3, 0, 0)
	for i := range parties {
		public, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		o.keys = append(o.keys, private)
		o.w.Directory.Parties = append(o.w.Directory.Parties, manifest.Party{
			ID: party(i), Name: string(party(i)), Kind: "school", Region: "Utrecht",
			Keys: []manifest.Key{manifest.NewKey(manifest.UseSign, public, now.AddDate(0, 0, -1))},
		})
	}
	pins, err := json.Marshal(o.w.Pins())
	if err != nil {
		t.Fatal(err)
	}
	o.write("pins.json", pins)
	o.write("manifest.txt", o.w.SignedManifest(t))
	o.write("directory.txt", o.w.SignedDirectory(t))
	o.write("registry.json", []byte(`{"data":"data","journal":"journal","keys":"keys/registry.keys","receiptKey":"keys/receipt.pem","logKey":"keys/log.key",
"tls":{"cert":"keys/tls.crt","key":"keys/tls.pem"},"pins":"pins.json","manifest":"manifest.txt","directory":"directory.txt",
"exchange":"127.0.0.1:0","public":"127.0.0.1:0","operations":"127.0.0.1:0","sweepSeconds":60}`))
	return o
}

func (o *operator) write(name string, text []byte) {
	o.t.Helper()
	if err := os.WriteFile(filepath.Join(o.folder, name), text, 0o600); err != nil {
		o.t.Fatal(err)
	}
}

// epochs brings out a manifest with epochs in these states.
func (o *operator) epochs(states ...string) {
	o.t.Helper()
	o.w.Manifest.Version, o.w.Manifest.Previous = o.w.Manifest.Version+1, o.w.Manifest.Hash()
	o.w.Manifest.Epochs = nil
	for i, state := range states {
		o.w.Manifest.Epochs = append(o.w.Manifest.Epochs, manifest.Epoch{
			Number: uint64(i + 1), State: state, Opens: encoding.Date{Year: 2026, Month: time.Month(i + 1), Day: 1},
		})
	}
	o.write("manifest.txt", o.w.SignedManifest(o.t))
}

// try runs the binary.
func (o *operator) try(args ...string) (stdout, stderr string, err error) {
	o.t.Helper()
	var out, complaints bytes.Buffer
	cmd := exec.CommandContext(o.t.Context(), o.binary, args...)
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err = cmd.Run()
	return out.String(), complaints.String(), err
}

// run runs a command on the registry.
func (o *operator) run(command string) (stdout, stderr string, err error) {
	o.t.Helper()
	return o.try(command, "-config", filepath.Join(o.folder, "registry.json"))
}

// inside does something with the store itself, while nobody serves it.
func (o *operator) inside(do func(*matcher.Matcher)) {
	o.t.Helper()
	c, err := readConfig(filepath.Join(o.folder, "registry.json"))
	if err != nil {
		o.t.Fatal(err)
	}
	m, _, err := c.open(slog.New(slog.DiscardHandler))
	if err != nil {
		o.t.Fatal(err)
	}
	do(m)
	if err := m.Store.Close(); err != nil {
		o.t.Fatal(err)
	}
}

// signal has a party register a child, with a face in each open epoch.
func (o *operator) signal(m *matcher.Matcher, p, child int) api.Statement {
	o.t.Helper()
	now := time.Now().UTC().Truncate(time.Second)
	st := api.Statement{
		Dep: o.w.Manifest.Dep, Party: party(p), KeyID: encoding.KeyIDOf(o.keys[p].Public().(ed25519.PublicKey)), SID: api.NewSID(), Rev: 1,
		Kind: api.KindChild, Expires: registry.Today(now).AddDate(1, 0, 0), Issued: now,
	}
	var faces []api.SealedFace
	for _, e := range o.w.Manifest.Open() {
		f := api.SealedFace{Card: fmt.Appendf(nil, "card of %d in epoch %d", p, e.Number), Keybox: []byte("keybox")}
		faces = append(faces, f)
		st.Faces = append(st.Faces, api.Face{
			Epoch: e.Number, Tag: sha256.Sum256(fmt.Appendf(nil, "child %d in epoch %d", child, e.Number)),
			Card: sha256.Sum256(f.Card), Keybox: sha256.Sum256(f.Keybox),
		})
	}
	b, err := st.Encode()
	if err != nil {
		o.t.Fatal(err)
	}
	if _, err := m.Submit(o.t.Context(), party(p), api.Submission{Signed: api.Sign(o.keys[p], b), Faces: faces}); err != nil {
		o.t.Fatal(err)
	}
	return st
}

func (o *operator) withdraw(m *matcher.Matcher, p int, st api.Statement) {
	o.t.Helper()
	b, err := api.Act{
		Dep: st.Dep, Party: st.Party, KeyID: st.KeyID, Act: api.ActWithdraw, SID: st.SID, Rev: st.Rev, Tag: st.Faces[0].Tag,
		Issued: st.Issued, Body: api.ReasonEnded,
	}.Encode()
	if err != nil {
		o.t.Fatal(err)
	}
	if _, err := m.Act(o.t.Context(), st.Party, api.ActRequest{Signed: api.Sign(o.keys[p], b)}); err != nil {
		o.t.Fatal(err)
	}
}

// A serving is `registry serve`, and the lines of its log.
type serving struct {
	t      *testing.T
	cmd    *exec.Cmd
	lines  *bufio.Scanner
	passed []map[string]any // lines nobody has awaited yet

	ops, exchange string // where it listens
}

func (o *operator) serve() *serving {
	o.t.Helper()
	s := &serving{t: o.t, cmd: exec.CommandContext(o.t.Context(), o.binary, "serve", "-config", filepath.Join(o.folder, "registry.json"))}
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		o.t.Fatal(err)
	}
	s.lines = bufio.NewScanner(stderr)
	if err := s.cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	listening := s.await("listening")
	s.ops, s.exchange = listening["operations"].(string), listening["exchange"].(string)
	return s
}

// await gives the first line with a message that was not given before. What runs beside
// the rest may say its line earlier than what is awaited first.
func (s *serving) await(msg string) map[string]any {
	s.t.Helper()
	for i, line := range s.passed {
		if line["msg"] == msg {
			s.passed = slices.Delete(s.passed, i, i+1)
			return line
		}
	}
	for s.lines.Scan() {
		var line map[string]any
		if err := json.Unmarshal(s.lines.Bytes(), &line); err != nil {
			s.t.Fatalf("%v: %s", err, s.lines.Bytes())
		}
		if line["msg"] == msg {
			return line
		}
		s.passed = append(s.passed, line)
	}
	s.t.Fatalf("the registry ended before it said %q: %v", msg, s.lines.Err())
	return nil
}

func (s *serving) health() (int, string) {
	s.t.Helper()
	resp, err := http.Get("http://" + s.ops + "/health")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func (s *serving) stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	s.await("stopped")
	if err := s.cmd.Wait(); err != nil {
		s.t.Error(err)
	}
}

// TestSwitchOfTheEpoch is what an operator does when an epoch is closed, and what
// happens when he does not or when it is too early.
func TestSwitchOfTheEpoch(t *testing.T) {
	o := newOperator(t, 3)
	var lone api.Statement
	o.inside(func(m *matcher.Matcher) { lone = o.signal(m, 2, 7) })
	o.epochs(manifest.EpochOpen, manifest.EpochOpen)
	o.inside(func(m *matcher.Matcher) { o.signal(m, 0, 1); o.signal(m, 1, 1) })
	refused := func(err error) bool {
		var exit *exec.ExitError
		return errors.As(err, &exit) && exit.ExitCode() == 1
	}
	checks := func(want string) {
		t.Helper()
		if out, complaints, err := o.run("check"); err != nil || out != want+"\n" {
			t.Errorf("check printed %q, want %q (%v: %s)", out, want, err, complaints)
		}
	}
	serves := func(status int, want string) *serving {
		t.Helper()
		s := o.serve()
		if got, body := s.health(); got != status || !strings.Contains(body, want) {
			t.Errorf("health is %d %s, want %d %s", got, body, status, want)
		}
		return s
	}
	checks(`{"signals":3,"matches":1,"pairs":1,"answers":0,"behind":1,"differences":0}`)

	// Too early, in a copy of it all.
	main := o.folder
	o.folder = t.TempDir()
	if err := os.CopyFS(o.folder, os.DirFS(main)); err != nil {
		t.Fatal(err)
	}
	for _, private := range []string{"registry.keys", "receipt.pem", "log.key", "tls.pem"} { // CopyFS lets the umask decide
		if err := os.Chmod(filepath.Join(o.folder, "keys", private), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := *o.w.Manifest
	o.epochs(manifest.EpochClosed, manifest.EpochOpen)
	out, complaints, err := o.run("rebuild")
	if !refused(err) || out != `{"visited":0,"moved":0,"readdressed":0,"behind":{"`+string(party(2))+`":1}}`+"\n" ||
		!strings.Contains(complaints, "must stay open") || strings.Count(complaints, "\n") != 1 {
		t.Errorf("rebuild of what cannot move printed %q and %q, %v", out, complaints, err)
	}
	// Unless it is not too early but too late: the keys are stolen.
	o.epochs(manifest.EpochCompromised, manifest.EpochOpen)
	if _, complaints, err := o.run("serve"); !refused(err) || !strings.Contains(complaints, "stolen") || !strings.Contains(complaints, "registry rebuild") {
		t.Errorf("serve with what is compromised printed %q, %v", complaints, err)
	}
	for _, want := range []string{`{"visited":1,"moved":2,"readdressed":2,"destroyed":1,"stripped":2}`, `{"visited":1,"moved":0,"readdressed":0}`} {
		if out, complaints, err := o.run("rebuild"); err != nil || out != want+"\n" {
			t.Errorf("rebuild printed %q, want %q (%v: %s)", out, want, err, complaints)
		}
	}
	checks(`{"signals":2,"matches":1,"pairs":1,"answers":0,"behind":0,"differences":0,"tagged":2}`)
	serves(http.StatusOK, "ok").stop()
	*o.w.Manifest, o.folder = before, main

	o.inside(func(m *matcher.Matcher) { o.withdraw(m, 2, lone) })
	checks(`{"signals":2,"matches":1,"pairs":1,"answers":0,"behind":0,"differences":0}`)
	s := serves(http.StatusOK, "ok")
	o.epochs(manifest.EpochClosed, manifest.EpochOpen)
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.await("reloaded")
	if status, body := s.health(); status != http.StatusServiceUnavailable || !strings.Contains(body, "epoch") {
		t.Errorf("after the reload health is %d %s", status, body)
	}
	s.stop()

	_, complaints, err = o.run("serve")
	if !refused(err) || !strings.Contains(complaints, "registry rebuild") || strings.Count(complaints, "registry: ") != 1 {
		t.Errorf("serve before a rebuild printed %q, %v", complaints, err)
	}
	for _, want := range []string{`{"visited":1,"moved":2,"readdressed":2}`, `{"visited":1,"moved":0,"readdressed":0}`} {
		if out, complaints, err := o.run("rebuild"); err != nil || out != want+"\n" {
			t.Errorf("rebuild printed %q, want %q (%v: %s)", out, want, err, complaints)
		}
	}
	checks(`{"signals":2,"matches":1,"pairs":1,"answers":0,"behind":0,"differences":0}`)
	serves(http.StatusOK, "ok").stop()
	o.inside(func(m *matcher.Matcher) {
		got, err := registry.Deliver(t.Context(), m.Store, party(0), "", 10, 0, time.Now())
		if err != nil || len(got.Items) != 1 || got.Items[0].Epoch != 2 || string(got.Items[0].Other.Card) != "card of 1 in epoch 2" {
			t.Errorf("what was not delivered before the switch does not come as it should after it (%v)", err)
		}
		o.signal(m, 2, 1)
		got, err = registry.Deliver(t.Context(), m.Store, party(2), "", 10, 0, time.Now())
		if err != nil || len(got.Items) != 2 {
			t.Errorf("a third is told of %d others, want 2 (%v)", len(got.Items), err)
		}
	})
}
