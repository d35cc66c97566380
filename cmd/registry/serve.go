// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/seinhuis/seinhuis/api/exchange"
	"github.com/seinhuis/seinhuis/api/witness"
	"github.com/seinhuis/seinhuis/cmd/internal/command"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/logging"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/registry/sequencer"
)

// errOtherKey says that parties would talk to no server with this key.
const errOtherKey = logging.Error("the manifest names another TLS key than that of tls.cert, or of the proxy's certificate; give governance what keygen printed")

var errOtherEpoch = errors.New("the stored signals match on another epoch than the manifest's oldest open one, or are half moved to it; run registry rebuild")

var errCompromised = errors.New("the manifest says that the keys of an epoch are stolen, and something of that epoch is still here; run registry rebuild, which destroys it (docs/ceremony.md)")

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
	log := logging.New(stderr, slog.LevelInfo)
	command.WarnOpen(log, c.safe)
	m, trust, err := c.open(log)
	if err != nil {
		return err
	}
	return command.Close(c.serve(ctx, m, trust, log), m.Store)
}

func (c *config) serve(ctx context.Context, m *matcher.Matcher, trust *manifest.Trust, log *slog.Logger) error {
	named := func(pin [32]byte) error {
		if man, _ := trust.Current(); man.Registry.TLS != pin {
			return errOtherKey
		}
		return nil
	}
	self := func() error {
		if _, err := c.Front.Load(named); err != nil {
			return err
		}
		man, _ := trust.Current()
		return errors.Join(c.Front.Named(named), receipts(man, m.ReceiptKey), logged(man, c.log))
	}
	if err := errors.Join(c.readLog(), self()); err != nil {
		return err
	}
	if err := m.Ready(ctx); errors.Is(err, matcher.ErrCompromised) {
		return errCompromised
	} else if errors.Is(err, matcher.ErrOtherEpoch) {
		return errOtherEpoch
	} else if err != nil {
		return err
	}
	for _, watch := range c.watches() {
		if err := watch.Look(); err != nil {
			return err
		}
	}
	server := exchange.New(m, log, func() ([]byte, []byte) {
		now := trust.InForce()
		return now.ManifestNote, now.DirectoryNote
	})
	if c.log != nil {
		witnesses := witnesses{cert: c.Front.TLS.Current}
		defer witnesses.close()
		server.Sequencer = &sequencer.Sequencer{
			Store: m.Store, Key: c.log, Trust: trust.Current, Witness: witnesses.of, Journal: c.kept, Now: time.Now,
		}
	}
	s, ctx := command.NewService(ctx, log)
	c.ListenParties(s, "exchange", c.Exchange, server.Parties(), server.Known)
	c.ListenPublic(s, c.Public, server.Public())
	s.Listen("operations", c.Operations, server.Operations(), nil, command.Few)
	if err := c.listenControl(ctx, s, m, trust); err != nil {
		return err
	}
	for _, watch := range c.watches() {
		s.Go(func() error {
			watch.Keep(ctx, func(err error) { log.Error("disk not looked at", "cause", err) })
			return nil
		})
	}
	s.Go(func() error { return server.Keep(ctx) })
	if server.Sequencer != nil {
		s.Go(func() error { return server.KeepLog(ctx) })
	}
	s.Go(func() error { return reseal(ctx, m.Store, server, log) })
	s.Go(func() error { return measure(ctx, server, log) })
	s.Go(func() error { return sweep(ctx, m, server, time.Duration(c.SweepSeconds)*time.Second, log) })
	s.OnHangup(func() ([]any, error) {
		err := errors.Join(trust.Reload(time.Now()), self())
		man, dir := trust.Current()
		return []any{"manifest", man.Version, "directory", dir.Version}, err
	})
	command.Measure(server.Metrics(), "registry", time.Now, trust.Current)
	s.MeasureConnections(server.Metrics())
	s.RemindOfCohort(time.Now, trust.Current)
	command.MeasureDisk(server.Metrics(), "registry", "database", c.watch)
	command.MeasureDisk(server.Metrics(), "registry_journal", "journal", c.journalWatch)
	s.KeepCertificates(server.Metrics(), c.Kept(named)...)
	return s.Run()
}

// receipts holds that the manifest names the key of receipts: parties believe no others.
func receipts(m *manifest.Manifest, receiptKey ed25519.PrivateKey) error {
	id := encoding.KeyIDOf(receiptKey.Public().(ed25519.PublicKey))
	if _, ok := m.ReceiptKey(id, time.Now()); !ok {
		return logging.Error("the manifest does not have receiptKey among its receipt keys, or no longer; give governance what keygen printed")
	}
	return nil
}

// logged holds that the key of the log is the one that the manifest names: witnesses
// cosign under no other. A key that it does not name yet may be there.
func logged(m *manifest.Manifest, key note.Signer) error {
	if m.Registry.Log == "" {
		return nil
	}
	if key == nil {
		return logging.Error("the manifest names a key of the log; say under logKey where it lies, which keygen wrote as log.key")
	}
	named, err := note.NewVerifier(m.Registry.Log)
	if err != nil || named.Name() != key.Name() || named.KeyHash() != key.KeyHash() {
		return logging.Error("the manifest names another key of the log than that of logKey; give governance what keygen printed")
	}
	return nil
}

// witnesses are the clients by which evaluators are asked to cosign, each made once.
type witnesses struct {
	cert    func() tls.Certificate
	clients map[witnessed]*witness.Client
}

// witnessed is what a client is of.
type witnessed struct {
	url, key string
	pin      manifest.Pin
}

func (w *witnesses) of(e manifest.Evaluator) (sequencer.Witness, error) {
	is := witnessed{e.URL, e.Witness, e.TLS}
	if c, ok := w.clients[is]; ok {
		return c, nil
	}
	c, err := witness.New(e, w.cert)
	if err != nil {
		return nil, err
	}
	if w.clients == nil {
		w.clients = make(map[witnessed]*witness.Client)
	}
	w.clients[is] = c
	return c, nil
}

func (w *witnesses) close() {
	for _, c := range w.clients {
		c.Close()
	}
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
		if err := m.Scrub(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// resealRests is for how many times as long as it works the pass rests that seals rows
// under the newest row key.
const resealRests = 4

// reseal seals rows anew until none lies under an older row key.
func reseal(ctx context.Context, store registry.Store, server *exchange.Server, log *slog.Logger) error {
	server.RowsBehind(true)
	for {
		began := time.Now()
		more, err := store.Reseal(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case !more:
			server.RowsBehind(false)
			log.Info("rows under the newest key")
			return nil
		}
		select {
		case <-time.After(resealRests * time.Since(began)):
		case <-ctx.Done():
			return nil
		}
	}
}

// measure measures, every minute, what the registry owes, whether the sweep goes or not.
func measure(ctx context.Context, server *exchange.Server, log *slog.Logger) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		if err := server.Measure(ctx); err != nil && ctx.Err() == nil {
			log.Error("not measured", "cause", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
