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
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/api/evaluation"
	"github.com/seinhuis/seinhuis/evaluator"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/manifest"
)

// node is what a running evaluator reads from files, and reads again on SIGHUP.
type node struct {
	config    config
	trust     *manifest.Trust
	evaluator *evaluator.Evaluator
	cert      atomic.Pointer[tls.Certificate]
}

func serve(ctx context.Context, args []string, stderr io.Writer) error {
	fs := flags("serve", stderr)
	path := fs.String("config", "", "")
	if err := parse(fs, args); err != nil {
		return err
	}
	c, err := readConfig(*path)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(stderr, nil))
	n := &node{config: c}
	n.trust, err = manifest.Load(manifest.Files{Pins: c.Pins, Manifest: c.Manifest, Directory: c.Directory, Kept: c.Data}, time.Now())
	if err != nil {
		return err
	}
	budgets, err := evaluator.OpenBudgets(filepath.Join(c.Data, "budgets"), evaluator.BudgetOptions{Logger: pebbleLog{log}})
	if err != nil {
		return err
	}
	err = n.serve(ctx, budgets, log)
	return errors.Join(err, budgets.Close())
}

func (n *node) serve(ctx context.Context, budgets *evaluator.Budgets, log *slog.Logger) error {
	m, _ := n.trust.Current()
	self, err := n.config.self(m)
	if err != nil {
		return err
	}
	shares, err := evaluator.ReadShares(n.config.Shares)
	if err != nil {
		return err
	}
	if n.evaluator, err = evaluator.New(budgets, time.Now, m, self.Index, shares); err != nil {
		return err
	}
	if err := n.loadCert(); err != nil {
		return err
	}
	n.warn(log)
	server := evaluation.New(n.evaluator, func() *manifest.Directory { _, d := n.trust.Current(); return d }, time.Now, log)

	g, ctx := errgroup.WithContext(ctx)
	var listeners []any
	listen := func(name, address string, handler http.Handler, config *tls.Config) error {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		listeners = append(listeners, name, ln.Addr().String())
		g.Go(func() error { return edge.Serve(ctx, &http.Server{Handler: handler, TLSConfig: config}, ln) })
		return nil
	}
	current := func() tls.Certificate { return *n.cert.Load() }
	err = errors.Join(
		listen("evaluation", n.config.Evaluation, server.Evaluation(), edge.ServerTLS(current, server.Known)),
		listen("public", n.config.Public, server.Public(), edge.PublicTLS(current)),
		listen("operations", n.config.Operations, server.Operations(), nil),
	)
	if err != nil {
		g.Go(func() error { return err }) // ends the listeners that did open
		return g.Wait()
	}
	g.Go(func() error { return server.CountMinutes(ctx) })
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	g.Go(func() error {
		n.reloadOn(ctx, hangups, log)
		return nil
	})
	log.Info("listening", append(listeners, "evaluator", self.Index, "manifest", m.Version)...)
	if err := g.Wait(); err != nil {
		return err
	}
	log.Info("stopped")
	return nil
}

func (n *node) reloadOn(ctx context.Context, hangups <-chan os.Signal, log *slog.Logger) {
	for {
		select {
		case <-hangups:
		case <-ctx.Done():
			return
		}
		if err := n.reload(); err != nil {
			log.Error("reload refused", "cause", err.Error())
			continue
		}
		m, d := n.trust.Current()
		log.Info("reloaded", "manifest", m.Version, "directory", d.Version)
		n.warn(log)
	}
}

// reload takes over what it can: a manifest that is in force is not undone because
// a share file is wrong, but then requests go on under the keys of before.
func (n *node) reload() error {
	if err := n.trust.Reload(time.Now()); err != nil {
		return err
	}
	m, _ := n.trust.Current()
	self, err := n.config.self(m)
	if err != nil {
		return err
	}
	shares, err := evaluator.ReadShares(n.config.Shares)
	if err != nil {
		return err
	}
	if err := n.evaluator.Load(m, self.Index, shares); err != nil {
		return err
	}
	return n.loadCert()
}

func (n *node) loadCert() error {
	cert, err := keys.ReadTLS(n.config.TLS.Cert, n.config.TLS.Key)
	if err != nil {
		return err
	}
	n.cert.Store(&cert)
	return nil
}

// warn tells of keys that nobody gets an answer for here.
func (n *node) warn(log *slog.Logger) {
	for _, key := range n.evaluator.Missing() {
		log.Warn("share missing", "epoch", key.Epoch, "cohort", key.Cohort)
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
