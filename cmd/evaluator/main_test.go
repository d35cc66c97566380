// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/oprf"
	"github.com/seinhuis/seinhuis/evaluator"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
)

const school = api.PartyID("nl-brin:12AB")

// site is the folder of evaluator 2 of three, with keys made by the command
// itself, ready to sign and to serve.
type site struct {
	*manifesttest.World
	dir         string
	cert        tls.Certificate // of the school
	commitments oprf.Commitments
	cohort      int
}

func (s *site) in(name string) string { return filepath.Join(s.dir, name) }

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{World: manifesttest.New(t, 2, 3), dir: t.TempDir(), cohort: time.Now().Year() - 10}
	var stdout bytes.Buffer
	err := program.Run(t.Context(), []string{"keygen", "-out", s.in("keys"), "-name", "evaluator-2", "-url", "https://127.0.0.1:8451", "-host", "127.0.0.1"}, &stdout, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var self manifest.Evaluator
	if err := encoding.UnmarshalJSON(stdout.Bytes(), &self); err != nil {
		t.Fatalf("%v in %s", err, &stdout)
	}
	self.Index = 2
	s.Manifest.Evaluators[1] = self
	if s.Evaluators[1], err = keys.Clear.ReadNote(s.in("keys/note.key")); err != nil {
		t.Fatal(err)
	}
	today := time.Now().UTC().Truncate(time.Second)
	s.Manifest.NotAfter, s.Directory.NotAfter = today.AddDate(1, 0, 0), today.AddDate(1, 0, 0)
	s.Manifest.Policy.LegalBasisEnds = encoding.DateOf(today.AddDate(2, 0, 0))

	commitments, dealt, err := oprf.Deal(2, 3)
	if err != nil {
		t.Fatal(err)
	}
	s.commitments = commitments
	sharing := manifest.Sharing{Epoch: 1, Cohort: s.cohort, Number: 1}
	for _, c := range commitments.Bytes() {
		sharing.Commitments = append(sharing.Commitments, c)
	}
	s.Manifest.Sharings = []manifest.Sharing{sharing}
	if err := os.Mkdir(s.in("shares"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.putShare(t, dealt[1])

	s.Directory.Parties = []manifest.Party{{
		ID: school, Name: "School", Kind: manifest.School, Region: "Utrecht", Keys: []manifest.Key{s.newKey(t)},
	}}
	s.write(t, "pins.json", marshal(t, s.Pins()))
	s.configure(t, nil)
	s.publish(t)
	return s
}

// newKey gives the school a new certificate, and the key of it for the directory.
func (s *site) newKey(t *testing.T) manifest.Key {
	t.Helper()
	dir := t.TempDir()
	certPath, keyPath := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.pem")
	if err := keys.Clear.WriteTLS(certPath, keyPath, "school", nil); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.cert, err = keys.Clear.ReadTLS(certPath, keyPath); err != nil {
		t.Fatal(err)
	}
	spki := keys.SPKIHash(s.cert.Leaf)
	return manifest.NewKey(manifest.UseTLS, spki[:], time.Now().Add(-time.Hour))
}

func (s *site) putShare(t *testing.T, share oprf.Share) {
	t.Helper()
	text, err := evaluator.MarshalShares([]evaluator.Share{{Key: evaluator.Key{Epoch: 1, Cohort: s.cohort}, Sharing: 1, Value: share}})
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(s.in("shares/1.json"))
	if err := keys.Clear.WritePrivate(s.in("shares/1.json"), text); err != nil {
		t.Fatal(err)
	}
}

func (s *site) write(t *testing.T, name string, text []byte) {
	t.Helper()
	if err := manifest.WriteFile(s.in(name), text); err != nil {
		t.Fatal(err)
	}
}

// publish puts the world's notes, signed by everybody, where serve reads them.
func (s *site) publish(t *testing.T) {
	t.Helper()
	s.write(t, "manifest.txt", s.SignedManifest(t))
	s.write(t, "directory.txt", s.SignedDirectory(t))
}

func (s *site) configure(t *testing.T, change func(map[string]any)) {
	t.Helper()
	c := map[string]any{
		"data": "data", "shares": "shares", "tls": map[string]any{"cert": "keys/tls.crt", "key": "keys/tls.pem"}, "witnessKey": "keys/witness.key",
		"pins": "pins.json", "manifest": "manifest.txt", "directory": "directory.txt",
		"evaluation": "127.0.0.1:0", "public": "127.0.0.1:0",
	}
	if change != nil {
		change(c)
	}
	s.write(t, "evaluator.json", marshal(t, c))
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// version is the world's manifest one version further, before a test changes it.
func (s *site) version(t *testing.T) {
	t.Helper()
	text, err := s.Manifest.Note()
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.ParseManifest(text)
	if err != nil {
		t.Fatal(err)
	}
	m.Version, m.Previous = s.Manifest.Version+1, s.Manifest.Hash()
	s.Manifest = m
}

func (s *site) sign(t *testing.T) (string, error) {
	t.Helper()
	text, err := s.Manifest.Note()
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "unsigned.txt", []byte(text))
	var stdout bytes.Buffer
	err = program.Run(t.Context(), []string{"sign", "-config", s.in("evaluator.json"), "-key", s.in("keys/note.key"),
		"-in", s.in("unsigned.txt"), "-out", s.in("signed.txt")}, &stdout, io.Discard)
	return stdout.String(), err
}

func TestSign(t *testing.T) {
	s := newSite(t)
	shown, err := s.sign(t)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{s.Manifest.Hash().String(), "This is evaluator 2; its 1 shares verify.", "Signed as evaluator-2"} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q is not in\n%s", want, shown)
		}
	}
	msg, err := os.ReadFile(s.in("signed.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []note.Signer{s.Governance, s.Evaluators[0]} {
		if msg, err = manifest.AddSignature(msg, other); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := manifest.OpenManifest(msg, s.Pins(), time.Now()); err != nil {
		t.Error(err)
	}
	if _, err := s.sign(t); err != nil {
		t.Errorf("the same again: %v", err)
	}
	s.version(t)
	if _, err := s.sign(t); err != nil {
		t.Errorf("the next version: %v", err)
	}
}

func TestSignRefuses(t *testing.T) {
	for reason, c := range map[string]struct {
		spoil func(*testing.T, *site)
		want  error // or nil, when the text is enough
		text  string
	}{
		"lower_version": {func(t *testing.T, s *site) {
			s.version(t)
			mustSign(t, s)
			s.Manifest.Version, s.Manifest.Previous = 1, api.Hash{}
		}, manifest.ErrVersion, "does not follow version 2"},
		"another_previous": {func(t *testing.T, s *site) {
			mustSign(t, s)
			s.version(t)
			s.Manifest.Previous[0]++
		}, manifest.ErrPrevious, ""},
		"another_previous_than_the_served_one": {func(t *testing.T, s *site) {
			if err := os.MkdirAll(s.in("data"), 0o700); err != nil {
				t.Fatal(err)
			}
			s.write(t, "data/manifest.txt", s.SignedManifest(t))
			s.version(t)
			s.Manifest.Previous[0]++
		}, manifest.ErrPrevious, ""},
		"public_key_changed": {func(t *testing.T, s *site) {
			mustSign(t, s)
			s.version(t)
			commitments, dealt, err := oprf.Deal(2, 3)
			if err != nil {
				t.Fatal(err)
			}
			for i, c := range commitments.Bytes() {
				s.Manifest.Sharings[0].Commitments[i] = c
			}
			s.putShare(t, dealt[1])
		}, manifest.ErrPublicKey, ""},
		"own_share_does_not_verify": {func(t *testing.T, s *site) {
			random, _, err := oprf.Deal(2, 3)
			if err != nil {
				t.Fatal(err)
			}
			s.Manifest.Sharings[0].Commitments[1] = random.Bytes()[1]
		}, evaluator.ErrForeign, "epoch 1"},
		"own_share_missing":  {func(_ *testing.T, s *site) { s.Manifest.Sharings[0].Cohort++ }, nil, "there is no share here"},
		"another_deployment": {func(_ *testing.T, s *site) { s.Manifest.Dep = "other" }, manifest.ErrDeployment, ""},
		"another_governance": {func(t *testing.T, s *site) { _, s.Manifest.Governance = manifesttest.Signer(t, "g") }, manifest.ErrGovernance, ""},
		"not_in_the_manifest": {func(_ *testing.T, s *site) {
			s.Manifest.Evaluators[1].TLS = manifesttest.Random32()
		}, nil, "no evaluator with the key of tls.cert"},
		"another_note_key_in_the_manifest": {func(t *testing.T, s *site) {
			_, s.Manifest.Evaluators[1].Note = manifesttest.Signer(t, "evaluator-2")
		}, nil, "names another note key"},
		"another_witness_key_in_the_manifest": {func(_ *testing.T, s *site) {
			s.Manifest.Evaluators[1].Witness = manifesttest.New(t, 2, 3).Manifest.Evaluators[1].Witness
		}, nil, "names another witness key"},
		"share_readable_by_others": {func(t *testing.T, s *site) {
			if err := os.Chmod(s.in("shares/1.json"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, keys.ErrMode, ""},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			s := newSite(t)
			c.spoil(t, s)
			os.Remove(s.in("signed.txt"))
			_, err := s.sign(t)
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %v %q", err, c.want, c.text)
			}
			if _, err := os.Stat(s.in("signed.txt")); err == nil {
				t.Error("a signature was written all the same")
			}
		})
	}
}

func mustSign(t *testing.T, s *site) {
	t.Helper()
	if _, err := s.sign(t); err != nil {
		t.Fatal(err)
	}
}

// running is `evaluator serve` in this process.
type running struct {
	log   *bufio.Scanner
	ended chan error
	stop  context.CancelFunc
	addr  map[string]string // by listener
}

func (s *site) serve(t *testing.T) *running {
	t.Helper()
	reader, writer := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{log: bufio.NewScanner(reader), ended: make(chan error, 1), stop: cancel, addr: map[string]string{}}
	go func() {
		err := program.Run(ctx, []string{"serve", "-config", s.in("evaluator.json")}, io.Discard, writer)
		writer.Close()
		r.ended <- err
	}()
	t.Cleanup(func() {
		cancel()
		io.Copy(io.Discard, reader)
	})
	line := r.await(t, "listening")
	for _, name := range []string{"evaluation", "public", "operations"} {
		r.addr[name], _ = line[name].(string)
	}
	return r
}

// await reads the log up to an event.
func (r *running) await(t *testing.T, event string) map[string]any {
	t.Helper()
	var seen []string
	for r.log.Scan() {
		line := map[string]any{}
		if err := json.Unmarshal(r.log.Bytes(), &line); err != nil {
			t.Fatalf("not a JSON line: %s", r.log.Bytes())
		}
		seen = append(seen, r.log.Text())
		if line["msg"] == event {
			return line
		}
	}
	t.Fatalf("it ended before it said %q: %v %s", event, <-r.ended, seen)
	return nil
}

// ask evaluates one element under the school's certificate and gives the status.
func (s *site) ask(t *testing.T, r *running) (int, error) {
	t.Helper()
	blinding, err := oprf.Blind([][]byte{[]byte("input")})
	if err != nil {
		t.Fatal(err)
	}
	q := api.Evaluate{Epoch: 1, Cohort: s.cohort, Sharing: 1, Elements: []encoding.Base64{blinding.Elements()[0]}}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: edge.ClientTLS(s.cert, s.Manifest.Evaluators[1].TLS)}}
	defer client.CloseIdleConnections()
	resp, err := client.Post("https://"+r.addr["evaluation"]+"/v1/evaluations", "application/json", bytes.NewReader(marshal(t, q)))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp.StatusCode, err
	}
	var a api.Evaluated
	if err := encoding.UnmarshalJSON(text, &a); err != nil {
		t.Fatal(err)
	}
	if _, err := blinding.Verify(s.commitments, a.Index, [][]byte{a.Elements[0]}, a.Proof); err != nil || a.Index != 2 {
		t.Errorf("evaluator %d: %v", a.Index, err)
	}
	return resp.StatusCode, nil
}

func TestServe(t *testing.T) {
	s := newSite(t)
	s.Manifest.Policy.DailyBudget = 2
	s.publish(t)
	r := s.serve(t)
	if status, err := s.ask(t, r); status != http.StatusOK {
		t.Fatalf("%d, %v", status, err)
	}
	public := &http.Client{Transport: &http.Transport{TLSClientConfig: edge.ClientTLS(tls.Certificate{}, s.Manifest.Evaluators[1].TLS)}}
	defer public.CloseIdleConnections()
	for url, want := range map[string]string{
		"https://" + r.addr["public"] + "/health":     `{"name":"shares","code":"ok"}`, // next year's cohort is late, in some months
		"http://" + r.addr["operations"] + "/metrics": "seinhuis_evaluator_elements_total",
	} {
		resp, err := public.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || !strings.Contains(string(text), want) {
			t.Errorf("%s: %s %s", url, resp.Status, text)
		}
	}

	// The school's key is revoked; a reload puts an end to it.
	first := s.Directory
	s.Directory = following(first)
	s.Directory.Parties[0].Keys[0].Revoked = true
	second := s.Directory
	s.publish(t)
	hangUp(t)
	if line := r.await(t, "reloaded"); line["directory"] != 2.0 {
		t.Errorf("reloaded: %v", line)
	}
	if status, err := s.ask(t, r); err == nil {
		t.Errorf("a revoked key: %d", status)
	}

	// Going back to the first directory is refused, here and after a restart.
	s.Directory = first
	s.publish(t)
	hangUp(t)
	r.await(t, "reload refused")
	if status, err := s.ask(t, r); err == nil {
		t.Errorf("a revoked key, after a refused reload: %d", status)
	}
	r.stop()
	r.await(t, "stopped")
	if err := <-r.ended; err != nil {
		t.Fatal(err)
	}
	if err := program.Run(t.Context(), []string{"serve", "-config", s.in("evaluator.json")}, io.Discard, io.Discard); !errors.Is(err, manifest.ErrVersion) {
		t.Errorf("an older directory after a restart: %v", err)
	}

	// With another key the school is let in again, and what it had spent before
	// the restart is spent.
	s.Directory = following(second)
	s.Directory.Parties[0].Keys = append(s.Directory.Parties[0].Keys, s.newKey(t))
	s.publish(t)
	r = s.serve(t)
	for i, want := range []int{http.StatusOK, http.StatusTooManyRequests} {
		if status, err := s.ask(t, r); status != want {
			t.Errorf("request %d after the restart: %d, %v; want %d", i, status, err, want)
		}
	}
	r.stop()
	r.await(t, "stopped")
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
}

// following is a copy of a directory as its next version.
func following(d *manifest.Directory) *manifest.Directory {
	next := *d
	next.Version, next.Previous = d.Version+1, d.Hash()
	next.Parties = slices.Clone(d.Parties)
	next.Parties[0].Keys = slices.Clone(d.Parties[0].Keys)
	return &next
}

func hangUp(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

func TestServeRefuses(t *testing.T) {
	for reason, c := range map[string]struct {
		spoil func(*testing.T, *site)
		text  string
	}{
		"unknown_configuration": {func(t *testing.T, s *site) {
			s.configure(t, func(c map[string]any) { c["debug"] = true })
		}, "evaluator -h shows"},
		"configuration_missing": {func(t *testing.T, s *site) {
			s.configure(t, func(c map[string]any) { delete(c, "shares") })
		}, "shares is missing"},
		"shares_inside_data": {func(t *testing.T, s *site) {
			s.configure(t, func(c map[string]any) { c["shares"] = "data/shares" })
		}, "shares lies inside data"},
		"witness_key_inside_data": {func(t *testing.T, s *site) {
			s.configure(t, func(c map[string]any) { c["witnessKey"] = "data/witness.key" })
		}, "witnessKey lies inside data"},
		"witness_key_missing": {func(t *testing.T, s *site) {
			s.configure(t, func(c map[string]any) { delete(c, "witnessKey") })
		}, "say under witnessKey where it lies"},
		"witness_key_of_another_kind": {func(t *testing.T, s *site) {
			if err := keys.Clear.WriteSecret(s.in("keys/other.key"), 32); err != nil {
				t.Fatal(err)
			}
			s.configure(t, func(c map[string]any) { c["witnessKey"] = "keys/other.key" })
		}, evaluator.ErrWitnessKey.Error()},
		"share_of_another_key": {func(t *testing.T, s *site) {
			_, dealt, err := oprf.Deal(2, 3)
			if err != nil {
				t.Fatal(err)
			}
			s.putShare(t, dealt[1])
		}, "the share of epoch 1, cohort"},
		"not_in_the_manifest": {func(t *testing.T, s *site) {
			s.Manifest.Evaluators[1].TLS = manifesttest.Random32()
			s.publish(t)
		}, "no evaluator with the key of tls.cert"},
		"manifest_expired": {func(t *testing.T, s *site) {
			s.Manifest.NotAfter = time.Now().UTC().Truncate(time.Second).Add(-time.Minute)
			s.publish(t)
		}, manifest.ErrExpired.Error()},
		"too_few_signatures": {func(t *testing.T, s *site) {
			text, err := s.Manifest.Note()
			if err != nil {
				t.Fatal(err)
			}
			s.write(t, "manifest.txt", manifesttest.Sign(t, text, s.Governance, s.Evaluators[1]))
		}, manifest.ErrQuorum.Error()},
		"address_not_ours": {func(t *testing.T, s *site) {
			s.configure(t, func(c map[string]any) { c["public"] = "256.0.0.1:1" })
		}, "256.0.0.1"},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			s := newSite(t)
			c.spoil(t, s)
			err := program.Run(t.Context(), []string{"serve", "-config", s.in("evaluator.json")}, io.Discard, io.Discard)
			if err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %q", err, c.text)
			}
		})
	}
}

func TestCommandLine(t *testing.T) {
	var stdout bytes.Buffer
	if err := program.Run(t.Context(), []string{"-h"}, &stdout, io.Discard); err != nil || !strings.Contains(stdout.String(), "evaluator serve -config FILE") {
		t.Errorf("-h: %v", err)
	}
	if err := program.Run(t.Context(), nil, io.Discard, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("nothing: %v", err)
	}
	for _, args := range [][]string{
		{"fly"}, {"serve"}, {"serve", "-config", "x", "y"}, {"serve", "-verbose"}, {"sign", "-config", "x"}, {"keygen", "-out", t.TempDir()},
	} {
		if err := program.Run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}

// keygen never touches keys that are there.
func TestKeygenTwice(t *testing.T) {
	s := newSite(t)
	before, err := os.ReadFile(s.in("keys/note.key"))
	if err != nil {
		t.Fatal(err)
	}
	err = program.Run(t.Context(), []string{"keygen", "-out", s.in("keys"), "-name", "evaluator-2", "-url", "https://127.0.0.1"}, io.Discard, io.Discard)
	if !errors.Is(err, keys.ErrExists) {
		t.Errorf("got %v, want ErrExists", err)
	}
	if after, _ := os.ReadFile(s.in("keys/note.key")); !bytes.Equal(before, after) {
		t.Error("the key changed")
	}
}
