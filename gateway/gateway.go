// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/gateway/mail"
	"github.com/seinhuis/seinhuis/gateway/oauth"
	"github.com/seinhuis/seinhuis/gateway/webhook"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/logging"
	"github.com/seinhuis/seinhuis/manifest"
)

// Options are what a test changes. Their zero value is the real thing.
type Options struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer
	Now     func() time.Time
	FS      vfs.FS // of the store
}

// A Gateway serves its parties. Open it, Run it, Close it.
type Gateway struct {
	config  Config
	store   *store
	roots   *roots
	parties map[api.PartyID]*Party
	order   []*Party
	log     *slog.Logger
	metrics *metrics
	reach   reach
	watch   logWatch
	fs      vfs.FS
	now     func() time.Time
	safe    *keys.Safe // opens key files

	webhooks *webhook.Client
	mailer   *mail.Sender // nil: no mail is sent
	tokens   *oauth.Verifier
}

// Safe opens the gateway's key files.
func (g *Gateway) Safe() *keys.Safe { return g.safe }

// Open reads the keys, opens the store, and verifies the manifest and directory.
func Open(c Config, o Options) (*Gateway, error) {
	if o.Log == nil {
		o.Log = logging.Discard()
	}
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	g := &Gateway{config: c, parties: map[api.PartyID]*Party{}, log: o.Log, metrics: newMetrics(o.Metrics), now: o.Now}

	o.Metrics.MustRegister(newUndelivered(g), ages{g}, logCollector{g})
	var err error
	if g.safe, err = keys.OpenSafe(c.Sealing); err != nil {
		return nil, err
	}
	if g.safe == nil {
		o.Log.Warn("keys in clear")
	}
	if err := g.openSenders(); err != nil {
		return nil, err
	}
	roots, err := g.safe.Roots(c.StorageKey)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(c.Pins)
	if err != nil {
		return nil, err
	}
	var pins manifest.Pins
	if err := encoding.UnmarshalJSON(text, &pins); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Pins, err)
	}
	if err := pins.Check(); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Pins, err)
	}
	if g.tokens, err = newTokens(c, o.Now); err != nil {
		return nil, err
	}
	for _, pc := range c.Parties {
		p, err := openParty(g, pc)
		if err != nil {
			return nil, fmt.Errorf("party %s: %w", pc.ID, err)
		}
		for _, other := range g.order {
			if other.door.token == p.door.token {
				return nil, fmt.Errorf("gateway: parties %s and %s have the same API token", other.id, p.id)
			}
		}
		g.parties[p.id] = p
		g.order = append(g.order, p)
	}

	if o.FS == nil {
		if err := os.MkdirAll(c.Data, 0o700); err != nil { // nobody else's to list
			return nil, err
		}
		o.FS = vfs.Default
	}
	g.fs = o.FS
	if g.store, err = openStore(c.Data, o.FS, roots); err != nil {
		return nil, err
	}
	if g.store.row.HasOlder() {
		g.metrics.storageBehind.Set(1)
	}
	g.reach.polled = map[partyKey]time.Time{}
	for _, p := range g.order {
		p.feedRead() // it counts from the start
	}
	if err := g.start(pins); err != nil {
		return nil, errors.Join(err, g.store.close())
	}
	return g, nil
}

// start reads what the store has.
func (g *Gateway) start(pins manifest.Pins) error {
	g.roots = &roots{s: g.store, pins: pins, now: g.now, metrics: g.metrics}
	if err := errors.Join(g.roots.load(), g.loadLog()); err != nil {
		return err
	}
	if err := g.roots.readFiles(g.config.Manifest, g.config.Directory); err != nil {
		return err
	}
	for _, p := range g.order {
		if err := errors.Join(p.fillOwned(), p.fillMessagesOn(), p.fillDoor()); err != nil {
			return err
		}
		if err := p.fillQueue(); err != nil {
			return err
		}
		p.compareKeys()
	}
	return nil
}

// Reload offers the configured manifest and directory files again, and reads the
// bootstrap keys anew.
func (g *Gateway) Reload() error {
	return errors.Join(g.roots.readFiles(g.config.Manifest, g.config.Directory), g.reloadTokens())
}

// Run works the queues, reads the feeds, refreshes manifest and directory,
// checks the registry's log, sweeps, and seals rows anew, until ctx is done.
func (g *Gateway) Run(ctx context.Context) error {
	var loops sync.WaitGroup
	for _, p := range g.order {
		loops.Go(func() { p.work(ctx) })
		loops.Go(func() { p.readFeed(ctx) })
		loops.Go(func() { p.deliver(ctx) })
	}
	loops.Go(func() { g.keepRoots(ctx) })
	loops.Go(func() { g.keepSweeping(ctx) })
	loops.Go(func() { g.keepLost(ctx) })
	loops.Go(func() { g.keepCheckingLog(ctx) })
	loops.Go(func() { g.keepSealing(ctx) })
	loops.Wait()
	return nil
}

// Close closes the store. Nothing may run any more.
func (g *Gateway) Close() error {
	for _, p := range g.order {
		p.closeClients()
	}
	g.webhooks.Close()
	return g.store.close()
}

func (g *Gateway) keepRoots(ctx context.Context) {
	for i := 0; ; i++ {
		p := g.order[i%len(g.order)] // one party's broken certificate does not stop it
		if err := g.roots.refresh(ctx, p, time.Now()); err != nil && ctx.Err() == nil {
			g.log.Warn("manifest and directory not refreshed", "cause", err)
		}
		if _, _, err := g.roots.inForce(); err != nil {
			g.log.Error("no manifest and directory in force")
		}
		if !sleep(ctx, refreshEvery) {
			return
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// Party finds a party that the gateway serves.
func (g *Gateway) Party(id api.PartyID) (*Party, bool) {
	p, ok := g.parties[id]
	return p, ok
}

// Parties are those that the gateway serves, in the order of the configuration.
func (g *Gateway) Parties() []*Party { return g.order }

func encodeToken(secret []byte) string { return base64.StdEncoding.EncodeToString(secret) }
