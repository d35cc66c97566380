// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/registry/pebblestore"
)

// config is the configuration file; usage describes it.
type config struct {
	Data         string   `json:"data"`
	Keys         string   `json:"keys"`
	ReceiptKey   string   `json:"receiptKey"`
	TLS          tlsFiles `json:"tls"`
	Pins         string   `json:"pins"`
	Manifest     string   `json:"manifest"`
	Directory    string   `json:"directory"`
	Exchange     string   `json:"exchange"`
	Public       string   `json:"public"`
	Operations   string   `json:"operations"`
	SweepSeconds int      `json:"sweepSeconds"`
}

type tlsFiles struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

func readConfig(path string) (config, error) {
	var c config
	text, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	if err := encoding.UnmarshalJSON(text, &c); err != nil {
		return c, fmt.Errorf("%s: %w; registry -h shows what belongs in it", path, err)
	}
	folder := filepath.Dir(path)
	for _, file := range []struct {
		field string
		path  *string
	}{
		{"data", &c.Data}, {"keys", &c.Keys}, {"receiptKey", &c.ReceiptKey}, {"tls.cert", &c.TLS.Cert}, {"tls.key", &c.TLS.Key},
		{"pins", &c.Pins}, {"manifest", &c.Manifest}, {"directory", &c.Directory},
	} {
		if *file.path == "" {
			return c, fmt.Errorf("%s: %s is missing; registry -h shows what belongs in it", path, file.field)
		}
		if !filepath.IsAbs(*file.path) {
			*file.path = filepath.Join(folder, *file.path)
		}
	}
	if c.Exchange == "" || c.Public == "" || c.Operations == "" || c.SweepSeconds < 1 {
		return c, fmt.Errorf("%s: exchange, public, operations and sweepSeconds are obligatory; registry -h shows what belongs in it", path)
	}
	if inside, err := filepath.Rel(c.Data, c.Keys); err == nil && !strings.HasPrefix(inside, "..") {
		return c, fmt.Errorf("%s: keys lies inside data; whoever copies the database must not copy what opens it", path)
	}
	return c, nil
}

// open opens the root of trust, the secrets and the store, and puts the matcher on
// top of them. The caller closes the store.
func (c config) open(log *slog.Logger) (*matcher.Matcher, *manifest.Trust, error) {
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return nil, nil, err
	}
	trust, err := manifest.Load(manifest.Files{Pins: c.Pins, Manifest: c.Manifest, Directory: c.Directory, Kept: c.Data}, time.Now())
	if err != nil {
		return nil, nil, err
	}
	secrets, err := keys.ReadPrivate(c.Keys)
	if err != nil {
		return nil, nil, err
	}
	rowKeys, err := registry.ParseKeys(secrets)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", c.Keys, err)
	}
	receiptKey, err := keys.ReadSigning(c.ReceiptKey)
	if err != nil {
		return nil, nil, err
	}
	store, err := pebblestore.Open(filepath.Join(c.Data, "store"), rowKeys, pebblestore.Options{Logger: pebbleLog{log}})
	if err != nil {
		return nil, nil, err
	}
	return &matcher.Matcher{Store: store, Keys: rowKeys, ReceiptKey: receiptKey, Trust: trust.Current, Now: time.Now}, trust, nil
}

// pebbleLog passes on what pebble complains of. Its info lines name files and
// sizes all day long; they are dropped.
type pebbleLog struct{ *slog.Logger }

func (pebbleLog) Infof(string, ...any) {}

func (l pebbleLog) Errorf(format string, args ...any) {
	l.Error("pebble", "cause", fmt.Sprintf(format, args...))
}

// Fatalf ends the process: pebble calls it when a write or sync has failed.
func (l pebbleLog) Fatalf(format string, args ...any) {
	l.Errorf(format, args...)
	os.Exit(1)
}
