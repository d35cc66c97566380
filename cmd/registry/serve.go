// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/api/exchange"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/matcher"
)

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

	m, trust, err := c.open(log)
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
		return errors.Join(err, m.Store.Close())
	}
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
		return errors.Join(g.Wait(), m.Store.Close())
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
	if err := errors.Join(err, m.Store.Close()); err != nil {
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
