// SPDX-License-Identifier: EUPL-1.2

package gatewaytest

import (
	"context"
	"crypto/rand"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api/witness"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/evaluator"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/registry/pebblestore"
	"github.com/seinhuis/seinhuis/registry/sequencer"
)

// NewLogged is New with a registry that keeps its log, and evaluators that witness it. As
// they cosign by the machine's clock, the world's is that, some minutes behind.
func NewLogged(t testing.TB, parties int) *World {
	t.Helper()
	return newWorld(t, parties, now(), true, "")
}

func now() time.Time { return time.Now().UTC().Truncate(time.Second).Add(-5 * time.Minute) }

// Sequence gives the leaves that wait their numbers, and publishes the log.
func (w *World) Sequence() {
	w.t.Helper()
	w.registry.up.RLock()
	defer w.registry.up.RUnlock()
	w.must(w.registry.server.Sequencer.Step(context.Background()))
}

// Sequencer is another one than the registry's own, of another log under the same key: on
// a store of its own, which has no leaf of the registry's.
func (w *World) Sequencer(leaves int) *sequencer.Sequencer {
	w.t.Helper()
	store, err := pebblestore.Open(storeFolder, w.registry.keys, pebblestore.Options{FS: vfs.NewMem(), Logger: quiet{}})
	w.must(err)
	w.t.Cleanup(func() { store.Close() })
	s := w.sequencer(store)
	s.Journal = nil
	// Its witnesses cosign whatever they are shown.
	s.Witness = func(e manifest.Evaluator) (sequencer.Witness, error) { return bent(w.Witnesses[e.Index-1]), nil }
	for range leaves {
		var text [32]byte
		rand.Read(text[:])
		w.must(store.Enter(context.Background(), audit.Published(audit.Destruction, text)))
	}
	return s
}

// Serve has the registry show another log.
func (w *World) Serve(s *sequencer.Sequencer) {
	w.t.Helper()
	w.must(s.Step(context.Background()))
	w.show(s)
}

// Own has the registry show its own log again.
func (w *World) Own() { w.show(w.registry.own) }

func (w *World) show(s *sequencer.Sequencer) {
	r := &w.registry
	r.end() // of who waits for events, and would keep us waiting
	r.up.Lock()
	defer r.up.Unlock()
	r.server.Sequencer = s
	r.ctx, r.end = context.WithCancel(context.Background())
}

func (w *World) sequencer(store registry.Store) *sequencer.Sequencer {
	return &sequencer.Sequencer{
		Store: store, Key: w.World.Log, Trust: w.trust, Journal: w.registry.journal, Now: time.Now,
		Witness: func(e manifest.Evaluator) (sequencer.Witness, error) { return witness.New(e, w.registry.cert) },
	}
}

func (w *World) openWitness(b *evaluator.Budgets, i int) *evaluator.Witness {
	witness, err := evaluator.OpenWitness(b, w.Witnesses[i], filepath.Join(w.t.TempDir(), "witness.key"))
	w.must(err)
	return witness
}

// bent is the key of a witness that has cosigned nothing, whoever asks, and cosigns
// whatever it is asked to.
type bent string

func (b bent) Add(_ context.Context, a audit.Add) ([]byte, error) {
	c, err := audit.Unverified(a.Checkpoint)
	if err != nil {
		return nil, err
	}
	return audit.Cosign(c, string(b))
}

func (b bent) Latest(context.Context) ([]byte, error) { return nil, witness.ErrNone }
