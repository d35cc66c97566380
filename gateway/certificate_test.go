// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/manifest"
)

// TestACertificateIsReplacedWhileTheGatewayRuns: a new key is used from the moment on
// that the directory has it, and not before; the old one can be withdrawn then.
func TestACertificateIsReplacedWhileTheGatewayRuns(t *testing.T) {
	w := gatewaytest.New(t, 1)
	h := w.Run(0)
	p := h.Of(0)
	signal(t, p, child(1), terms("jansen", "A-1"))

	folder := w.KeysOf(0)
	in := func(name string) string { return filepath.Join(folder, name) }
	if err := keys.Clear.WriteTLS(in("new.crt"), in("new.pem"), "new", nil); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"new.crt": gateway.FileTLSCert, "new.pem": gateway.FileTLSKey} {
		if err := os.Rename(in(from), in(to)); err != nil {
			t.Fatal(err)
		}
	}
	pin, err := keys.PinOf(in(gateway.FileTLSCert))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("rejects/key_that_the_directory_lacks", func(t *testing.T) {
		if changed, err := p.LoadCertificate(); err == nil || changed || keys.SPKIHash(p.Certificate().Leaf()) == pin {
			t.Errorf("it is used: %v, %v", changed, err)
		}
	})
	if s := signal(t, p, child(2), terms("jansen", "A-2")); s.State != gateway.StateRegistered {
		t.Errorf("under the old key it ended as %s", s.State)
	}

	list := &w.Directory.Parties[0].Keys
	*list = append(*list, manifest.NewKey(manifest.UseTLS, pin[:], w.Now().AddDate(0, 0, -1)))
	w.Publish()
	w.Configure(0)
	if err := h.Reload(); err != nil {
		t.Fatal(err)
	}
	if changed, err := p.LoadCertificate(); err != nil || !changed || keys.SPKIHash(p.Certificate().Leaf()) != pin {
		t.Fatalf("listed: %v, %v", changed, err)
	}
	*list = slices.DeleteFunc(*list, func(k manifest.Key) bool { return k.Use == manifest.UseTLS && string(k.Key) != string(pin[:]) })
	w.Publish()
	if s := signal(t, p, child(3), terms("jansen", "A-3")); s.State != gateway.StateRegistered {
		t.Errorf("under the new key alone it ended as %s", s.State)
	}
}
