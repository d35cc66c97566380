// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/seinhuis/seinhuis/api/witness"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/evaluator"
	"github.com/seinhuis/seinhuis/keys"
)

// asRegistry gives the registry of the manifest a certificate.
func (s *site) asRegistry(t *testing.T) tls.Certificate {
	t.Helper()
	dir := t.TempDir()
	certPath, keyPath := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.pem")
	if err := keys.Clear.WriteTLS(certPath, keyPath, "registry", nil); err != nil {
		t.Fatal(err)
	}
	cert, err := keys.Clear.ReadTLS(certPath, keyPath)
	if err != nil {
		t.Fatal(err)
	}
	s.Manifest.Registry.TLS = keys.SPKIHash(cert.Leaf)
	return cert
}

// cosign has the evaluator cosign a log of one leaf, of which it has cosigned old.
func (s *site) cosign(t *testing.T, r *running, registry tls.Certificate, leaf string, old int64) error {
	t.Helper()
	e := s.Manifest.Evaluators[1]
	e.URL = "https://" + r.addr["evaluation"]
	c, err := witness.New(e, func() tls.Certificate { return registry })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	msg, err := audit.Checkpoint{Origin: s.Log.Name(), Size: 1, Root: tlog.RecordHash([]byte(leaf))}.Sign(s.Log)
	if err != nil {
		t.Fatal(err)
	}
	line, err := c.Add(t.Context(), audit.Add{Old: old, Checkpoint: msg})
	if err != nil {
		return err
	}
	k, err := audit.ParseKeys(s.Manifest.Registry.Log, []string{s.Manifest.Evaluators[1].Witness}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := k.OpenCosigned(append(msg, line...)); err != nil {
		t.Error(err)
	}
	return nil
}

func (r *running) end(t *testing.T) {
	t.Helper()
	r.stop()
	r.await(t, "stopped")
	if err := <-r.ended; err != nil {
		t.Fatal(err)
	}
}

func TestServeAsWitness(t *testing.T) {
	s := newSite(t)
	registry := s.asRegistry(t)
	s.publish(t)
	r := s.serve(t)
	if err := s.cosign(t, r, registry, "leaf", 0); err != nil {
		t.Fatal(err)
	}
	if err := s.cosign(t, r, registry, "other", 0); err == nil {
		t.Error("two trees of one size")
	}
	r.await(t, "log forked")
	r.end(t)

	// After a restart it knows what it has cosigned.
	r = s.serve(t)
	if err := s.cosign(t, r, registry, "other", 1); err == nil {
		t.Error("two trees of one size, with a restart between")
	}
	r.await(t, "log forked")
	if err := s.cosign(t, r, registry, "leaf", 1); err != nil {
		t.Error(err)
	}
	r.end(t)

	// It does not start by a data folder that was lost; with another key it does, and
	// tells that nobody believes that one yet.
	if err := os.RemoveAll(s.in("data/budgets")); err != nil {
		t.Fatal(err)
	}
	if err := program.Run(t.Context(), []string{"serve", "-config", s.in("evaluator.json")}, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), evaluator.ErrForgotten.Error()) {
		t.Fatalf("a lost data folder: %v", err)
	}
	if _, err := keys.Clear.WriteNote(s.in("keys/another.key"), "evaluator-2/witness"); err != nil {
		t.Fatal(err)
	}
	s.configure(t, func(c map[string]any) { c["witnessKey"] = "keys/another.key" })
	var logged bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // it ends as soon as it serves
	if err := program.Run(ctx, []string{"serve", "-config", s.in("evaluator.json")}, io.Discard, &logged); err != nil || !strings.Contains(logged.String(), "not a witness") {
		t.Errorf("%v: %s", err, &logged)
	}
}

// A manifest without a log asks for no witness.
func TestServeWithoutAWitnessKey(t *testing.T) {
	s := newSite(t)
	s.Manifest.Registry.Log = ""
	for i := range s.Manifest.Evaluators {
		s.Manifest.Evaluators[i].Witness = ""
	}
	s.publish(t)
	s.configure(t, func(c map[string]any) { delete(c, "witnessKey") })
	r := s.serve(t)
	r.end(t)
}
