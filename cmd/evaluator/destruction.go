// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"context"
	"sync"
	"time"

	"github.com/seinhuis/seinhuis/evaluator"
	"github.com/seinhuis/seinhuis/logging"
	"github.com/seinhuis/seinhuis/manifest"
)

// lookForDue is how often a running evaluator looks for keys that are to be destroyed.
const lookForDue = time.Minute

// destruction is how far what a running evaluator destroys by itself is.
type destruction struct {
	deliver func(ctx context.Context, note []byte) error // to the registry
	measure func(due, unsigned, untaken int)

	mu        sync.Mutex
	complaint map[string]string // by what fails
}

// once tells whether something that keeps failing fails for another reason than before.
func (d *destruction) once(what string, err error) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.complaint == nil {
		d.complaint = map[string]string{}
	}
	why := logging.Cause(err)
	changed := d.complaint[what] != why
	d.complaint[what] = why
	return err != nil && changed
}

// shares destroys what is due, seals what lies in clear, and reads the rest.
func (n *node) shares(m *manifest.Manifest, index int) ([]evaluator.Share, error) {
	n.files.Lock()
	defer n.files.Unlock()
	if _, err := n.destroyDue(m, index); err != nil {
		return nil, err
	}
	vault := n.config.vault()
	wrapped, err := vault.Wrap()
	if err != nil {
		return nil, err
	}
	if wrapped > 0 {
		n.log.Info("shares sealed", "shares", wrapped)
	}
	return vault.Read()
}

func (n *node) load(m *manifest.Manifest, index int) error {
	shares, err := n.shares(m, index)
	if err != nil {
		return err
	}
	return n.evaluator.Load(m, index, shares)
}

// destroyDue destroys what is due and tells whether there was anything. What cannot be
// destroyed is not used either, and tried again.
func (n *node) destroyDue(m *manifest.Manifest, index int) (some bool, err error) {
	vault := n.config.vault()
	due, err := vault.Due(m, n.now())
	if err != nil {
		return false, err
	}
	failed := 0
	for _, d := range due {
		if err := vault.Destroy(d, m, index, n.now()); err != nil {
			failed++
			if n.destruction.once(d.String(), err) {
				n.log.Error("key not destroyed", "epoch", d.Epoch, "cohort", d.Cohort, "cause", err)
			}
			continue
		}
		if d.Again {
			n.log.Warn("destroyed key put back", "epoch", d.Epoch, "cohort", d.Cohort)
		} else {
			n.log.Info("key destroyed", "epoch", d.Epoch, "cohort", d.Cohort)
		}
	}
	if n.config.NoteKey != "" {
		err := n.sign(vault)
		if n.destruction.once("sign", err) {
			n.log.Error("certificate not signed", "cause", err)
		}
	}
	unsigned, err := vault.Unsigned()
	if err != nil {
		return false, err
	}
	untaken, err := vault.Untaken()
	n.destruction.measure(failed, len(unsigned), len(untaken))
	return len(due) > 0, err
}

func (n *node) sign(vault evaluator.Vault) error {
	unsigned, err := vault.Unsigned()
	if err != nil || len(unsigned) == 0 {
		return err
	}
	signer, err := n.config.safe.ReadNote(n.config.NoteKey)
	if err != nil {
		return err
	}
	_, err = vault.Sign(signer)
	return err
}

// destroy destroys keys when their day comes, and gives the registry the certificates,
// until ctx ends.
func (n *node) destroy(ctx context.Context) error {
	tick := time.NewTicker(lookForDue)
	defer tick.Stop()
	for {
		err := n.look(ctx)
		if ctx.Err() == nil && n.destruction.once("look", err) {
			n.log.Error("certificate not delivered", "cause", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// look is one look at what is due, and at what the registry has to be told.
func (n *node) look(ctx context.Context) error {
	m, _ := n.trust.Current()
	self, err := n.config.self(m)
	if err != nil {
		return err
	}
	n.files.Lock()
	some, err := n.destroyDue(m, self.Index)
	n.files.Unlock()
	if err != nil {
		return err
	}
	if some {
		if err := n.load(m, self.Index); err != nil {
			return err
		}
	}
	vault := n.config.vault()
	untaken, err := vault.Untaken()
	if err != nil {
		return err
	}
	for _, c := range untaken {
		if err := n.destruction.deliver(ctx, c.Note); err != nil {
			return err
		}
		if err := vault.Taken(c); err != nil {
			return err
		}
		n.log.Info("certificate delivered", "epoch", c.Epoch, "cohort", c.Cohort)
	}
	return nil
}
