// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/api/exchange"
	"github.com/seinhuis/seinhuis/cmd/internal/command"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/matcher"
)

func serve(ctx context.Context, args []string, _, stderr io.Writer) error {
	fs := program.Flags("serve", stderr)
	path := fs.String("config", "", "")
	if err := program.Parse(fs, args); err != nil {
		return err
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
	return errors.Join(c.serve(ctx, m, trust, log), m.Store.Close())
}

func (c *config) serve(ctx context.Context, m *matcher.Matcher, trust *manifest.Trust, log *slog.Logger) error {
	if err := c.TLS.Load(); err != nil {
		return err
	}
	server := exchange.New(m, log, func() ([]byte, []byte) {
		now := trust.InForce()
		return now.ManifestNote, now.DirectoryNote
	})
	s, ctx := command.NewService(ctx, log)
	s.Listen("exchange", c.Exchange, server.Parties(), edge.ServerTLS(c.TLS.Current, server.Known))
	s.Listen("public", c.Public, server.Public(), edge.PublicTLS(c.TLS.Current))
	s.Listen("operations", c.Operations, server.Operations(), nil)
	s.Go(func() error { return sweep(ctx, m, server, time.Duration(c.SweepSeconds)*time.Second, log) })
	s.OnHangup(func() ([]any, error) {
		err := errors.Join(trust.Reload(time.Now()), c.TLS.Load())
		man, dir := trust.Current()
		return []any{"manifest", man.Version, "directory", dir.Version}, err
	})
	return s.Run()
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
