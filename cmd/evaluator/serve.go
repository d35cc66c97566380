// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/seinhuis/seinhuis/api/evaluation"
	"github.com/seinhuis/seinhuis/cmd/internal/command"
	"github.com/seinhuis/seinhuis/evaluator"
	"github.com/seinhuis/seinhuis/logging"
	"github.com/seinhuis/seinhuis/manifest"
)

// node is what a running evaluator reads from files, and reads again on SIGHUP.
type node struct {
	config    *config
	trust     *manifest.Trust
	evaluator *evaluator.Evaluator
	witness   *evaluator.Witness // nil when it is none
	now       func() time.Time
	log       *slog.Logger

	files       sync.Mutex // held while shares are read, or destroyed
	destruction destruction
}

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
	n := &node{config: c, now: time.Now, log: log}
	n.destruction.measure = func(int, int, int) {} // until there is a server
	if n.trust, err = c.trust(); err != nil {
		return err
	}
	budgets, err := evaluator.OpenBudgets(filepath.Join(c.Data, "budgets"), evaluator.BudgetOptions{Logger: command.PebbleLog{Logger: log}})
	if err != nil {
		return err
	}
	err = n.serve(ctx, budgets)
	return command.Close(err, budgets)
}

func (n *node) serve(ctx context.Context, budgets *evaluator.Budgets) error {
	log := n.log
	m, _ := n.trust.Current()
	self, err := n.config.self(m)
	if err != nil {
		return err
	}
	shares, err := n.shares(m, self.Index)
	if err != nil {
		return err
	}
	if n.evaluator, err = evaluator.New(budgets, n.now, m, self.Index, shares); err != nil {
		return err
	}
	if n.witness, err = n.config.witness(budgets, self); err != nil {
		return err
	}
	n.warn(log)
	server := evaluation.New(n.evaluator, func() *manifest.Directory { _, d := n.trust.Current(); return d }, n.now, log)
	server.Witness = n.witness

	s, ctx := command.NewService(ctx, log)
	n.config.ListenParties(s, "evaluation", n.config.Evaluation, server.Evaluation(), server.Known)
	n.config.ListenPublic(s, n.config.Public, server.Public())
	s.Listen("operations", n.config.Operations, server.Operations(), nil, command.Few)
	s.Go(func() error { return server.CountMinutes(ctx) })
	n.destruction.deliver = evaluation.RegistryCertificates(n.config.TLS.Current, func() *manifest.Manifest { m, _ := n.trust.Current(); return m })
	n.destruction.measure = server.Destruction.Set
	s.Go(func() error { return n.destroy(ctx) })
	usage := evaluation.RegistryUsage(n.config.TLS.Current, func() *manifest.Manifest { m, _ := n.trust.Current(); return m })
	s.Go(func() error { return server.Watch(ctx, usage) })
	s.OnHangup(func() ([]any, error) {
		if err := n.reload(); err != nil {
			return nil, err
		}
		n.warn(log)
		m, d := n.trust.Current()
		return []any{"manifest", m.Version, "directory", d.Version}, nil
	})
	command.Measure(server.Metrics(), "evaluator", time.Now, n.trust.Current)
	s.MeasureConnections(server.Metrics())
	s.RemindOfCohort(time.Now, n.trust.Current)
	s.KeepCertificates(server.Metrics(), n.config.Kept(n.named)...)
	return s.Run("evaluator", self.Index, "manifest", m.Version)
}

const errNoWitness = logging.Error("the manifest names a witness key for this evaluator; say under witnessKey where it lies, or make one with keygen in an empty folder and have governance put it in the manifest")

// witness opens the key to cosign the log with. Another one than the manifest names is
// no fault: it may be the next manifest's, and parties have their answers all the same.
func (c *config) witness(budgets *evaluator.Budgets, self manifest.Evaluator) (*evaluator.Witness, error) {
	if c.WitnessKey == "" {
		if self.Witness != "" {
			return nil, errNoWitness
		}
		return nil, nil
	}
	key, err := c.safe.ReadLine(c.WitnessKey)
	if err != nil {
		return nil, err
	}
	return evaluator.OpenWitness(budgets, key, c.WitnessKey)
}

// reload takes over what it can: a manifest that is in force is not undone because
// a share file is wrong, but then requests go on under the keys of before.
func (n *node) reload() error {
	if err := n.trust.Reload(n.now()); err != nil {
		return err
	}
	m, _ := n.trust.Current()
	self, err := n.config.self(m)
	if err != nil {
		return err
	}
	return n.load(m, self.Index)
}

// named refuses a certificate under whose key no party looks for this evaluator.
func (n *node) named(pin [32]byte) error {
	m, _ := n.trust.Current()
	_, err := byPin(m, pin)
	return err
}

// warn tells of keys that nobody gets an answer for here, and of shares that are to be
// destroyed.
func (n *node) warn(log *slog.Logger) {
	for _, key := range n.evaluator.Missing() {
		log.Warn("share missing", "epoch", key.Epoch, "cohort", key.Cohort)
	}
	if n := n.evaluator.Replaced(); n > 0 {
		log.Warn("replaced shares kept", "shares", n)
	}
	vkey := n.evaluator.Self().Witness
	if n.witness == nil && vkey != "" || n.witness != nil && !n.witness.Named(vkey) {
		log.Warn("not a witness")
	}
}
