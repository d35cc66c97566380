// SPDX-License-Identifier: EUPL-1.2

package command

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/keys"
)

// A Front is how a server of ours shows itself to others, as its configuration file
// says: its certificate, the proxies that may end TLS before it, who is told of
// weaknesses, and how many may come at a time.
type Front struct {
	TLS      keys.Pair    `json:"tls"`
	Proxy    edge.Proxies `json:"proxy"`
	Security edge.Contact `json:"security"`

	Connections Caps `json:"connections"`
}

// Check makes paths absolute and holds the front against the address where parties
// are served.
func (f *Front) Check(p Program, file, address string) error {
	if f.Proxy.Local && f.Proxy.Cert == "" {
		return p.Missing(file, "proxy.cert")
	}
	for _, path := range []Path{{"tls.cert", &f.TLS.Cert}, {"tls.key", &f.TLS.Key}, {"proxy.cert", &f.Proxy.Cert}} {
		switch {
		case *path.Value != "":
			if !filepath.IsAbs(*path.Value) {
				*path.Value = filepath.Join(filepath.Dir(file), *path.Value)
			}
		case path.Value != &f.Proxy.Cert && !f.Proxy.Local:
			return p.Missing(file, path.Field)
		}
	}
	for _, err := range []error{f.Proxy.Check(address), f.Security.Check(time.Now()), f.Connections.Parties.Check(), f.Connections.Public.Check()} {
		if err != nil {
			return fmt.Errorf("%s: %w; %s -h shows what belongs in it", file, err, p.Name)
		}
	}
	return nil
}

// Load reads the certificate, as keys.Pair does. named says what is wrong with the
// pin that parties would see, nil if it is the manifest's.
func (f *Front) Load(named func(pin [32]byte) error) (changed bool, err error) {
	if f.Proxy.Cert == "" {
		return f.TLS.Load(func(c tls.Certificate) error { return named(keys.SPKIHash(c.Leaf)) })
	}
	pin, err := keys.PinOf(f.Proxy.Cert)
	if err == nil {
		err = named(pin)
	}
	if err != nil || f.TLS.Cert == "" {
		return false, err
	}
	return f.TLS.Load(nil)
}

// Pin is the hash of the key that parties see. Load must have succeeded.
func (f *Front) Pin() ([32]byte, error) {
	if f.Proxy.Cert != "" {
		return keys.PinOf(f.Proxy.Cert)
	}
	return keys.SPKIHash(f.TLS.Leaf()), nil
}

// Named tells what is wrong with the pin that parties see now. Load may have refused a
// newer certificate while the manifest already names its key, or the other way about.
func (f *Front) Named(named func(pin [32]byte) error) error {
	pin, err := f.Pin()
	if err != nil {
		return err
	}
	return named(pin)
}

// Kept is the certificate as KeepCertificates wants it.
func (f *Front) Kept(named func(pin [32]byte) error) []Kept {
	if f.TLS.Cert == "" {
		return nil
	}
	return []Kept{{Use: "server", Pair: &f.TLS, Load: func() (bool, error) { return f.Load(named) }}}
}

// ListenParties serves a handler to those whose keys are known, and to proxies.
func (f *Front) ListenParties(s *Service, name, address string, handler http.Handler, known func(spki [32]byte) bool) {
	var config *tls.Config
	if !f.Proxy.Local {
		config = edge.ServerTLS(f.TLS.Current, func(spki [32]byte) bool { return f.Proxy.Known(spki) || known(spki) })
	}
	s.Listen(name, address, f.Proxy.Handler(handler), config, f.most(f.Connections.Parties, parties))
}

// ListenPublic serves a handler to anybody.
func (f *Front) ListenPublic(s *Service, address string, handler http.Handler) {
	var config *tls.Config
	if !f.Proxy.Local {
		config = edge.PublicTLS(f.TLS.Current)
	}
	s.Listen("public", address, f.Security.Handler(time.Now, f.Proxy.Handler(handler)), config, f.most(f.Connections.Public, anybody))
}
