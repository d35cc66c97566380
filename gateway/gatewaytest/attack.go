// SPDX-License-Identifier: EUPL-1.2

package gatewaytest

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/evaluator"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/registry"
)

// What an attacker may have got hold of.

// NewOnDisk is NewLogged with a registry whose folders are on the disk, under Disk.
func NewOnDisk(t testing.TB, parties int) *World {
	t.Helper()
	return newWorld(t, parties, now(), true, t.TempDir())
}

// Disk is where the registry's folders are: its store, its journal, and its backups.
func (w *World) Disk() string { return w.registry.root }

// RegistryKeys are the registry's row key and pepper.
func (w *World) RegistryKeys() registry.Keys { return w.registry.keys }

// Shares are those of evaluator i.
func (w *World) Shares(i int) []evaluator.Share { return w.shares[i] }

// InForce are the manifest and directory that were published last.
func (w *World) InForce() (*manifest.Manifest, *manifest.Directory) { return w.trust() }

// Client connects as party i to a server with this key.
func (w *World) Client(i int, pin manifest.Pin) *http.Client {
	w.t.Helper()
	in := func(name string) string { return filepath.Join(w.KeysOf(i), name) }
	return Stranger(w.t, in(gateway.FileTLSCert), in(gateway.FileTLSKey), pin)
}

// Stranger connects with a key of its own.
func Stranger(t testing.TB, certFile, keyFile string, pin manifest.Pin) *http.Client {
	t.Helper()
	cert, err := keys.Clear.ReadTLS(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: edge.ClientTLS(cert, pin)}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}
