// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/api/exchange"
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

func serve(ctx context.Context, args []string, stderr io.Writer) error {
	fs := flags("registry serve", stderr)
	path := fs.String("config", "", "")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *path == "" || fs.NArg() > 0 {
		return errors.New("serve needs -config FILE; registry -h shows how")
	}
	c, err := readConfig(*path)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(stderr, nil))

	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return err
	}
	trust, err := manifest.Load(manifest.Files{Pins: c.Pins, Manifest: c.Manifest, Directory: c.Directory, Kept: c.Data}, time.Now())
	if err != nil {
		return err
	}
	secrets, err := keys.ReadPrivate(c.Keys)
	if err != nil {
		return err
	}
	rowKeys, err := registry.ParseKeys(secrets)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Keys, err)
	}
	receiptKey, err := keys.ReadSigning(c.ReceiptKey)
	if err != nil {
		return err
	}
	var cert atomic.Pointer[tls.Certificate]
	loadCert := func() error {
		loaded, err := keys.ReadTLS(c.TLS.Cert, c.TLS.Key)
		if err == nil {
			cert.Store(&loaded)
		}
		return err
	}
	if err := loadCert(); err != nil {
		return err
	}
	store, err := pebblestore.Open(filepath.Join(c.Data, "store"), rowKeys, pebblestore.Options{Logger: pebbleLog{log}})
	if err != nil {
		return err
	}
	m := &matcher.Matcher{Store: store, Keys: rowKeys, ReceiptKey: receiptKey, Trust: trust.Current, Now: time.Now}
	server := exchange.New(m, log, func() ([]byte, []byte) {
		now := trust.InForce()
		return now.ManifestNote, now.DirectoryNote
	})
	g, ctx := errgroup.WithContext(ctx)
	addresses := []any{}
	listen := func(name, address string, handler http.Handler, config *tls.Config) error {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		addresses = append(addresses, name, ln.Addr().String())
		g.Go(func() error { return edge.Serve(ctx, &http.Server{Handler: handler, TLSConfig: config}, ln) })
		return nil
	}
	current := func() tls.Certificate { return *cert.Load() }
	err = errors.Join(
		listen("exchange", c.Exchange, server.Parties(), edge.ServerTLS(current, server.Known)),
		listen("public", c.Public, server.Public(), edge.PublicTLS(current)),
		listen("operations", c.Operations, server.Operations(), nil),
	)
	if err != nil {
		g.Go(func() error { return err }) // ends the listeners that did open
		return errors.Join(g.Wait(), store.Close())
	}
	g.Go(func() error { return sweep(ctx, m, server, time.Duration(c.SweepSeconds)*time.Second, log) })
	g.Go(func() error {
		return onHangup(ctx, func() {
			if err := errors.Join(trust.Reload(time.Now()), loadCert()); err != nil {
				log.Error("reload refused", "cause", err.Error())
				return
			}
			man, dir := trust.Current()
			log.Info("reloaded", "manifest", man.Version, "directory", dir.Version)
		})
	})
	log.Info("listening", addresses...)
	err = g.Wait()
	if err := errors.Join(err, store.Close()); err != nil {
		return err
	}
	log.Info("stopped")
	return nil
}

// sweep does the clock's work until ctx ends. A fault in it is a fault in the
// store, and ends the process.
func sweep(ctx context.Context, m *matcher.Matcher, server *exchange.Server, every time.Duration, log *slog.Logger) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		n, err := m.Sweep(ctx)
		server.Swept(n)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case n > 0:
			log.Info("swept", "children", n)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func onHangup(ctx context.Context, do func()) error {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		select {
		case <-hangups:
			do()
		case <-ctx.Done():
			return nil
		}
	}
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
