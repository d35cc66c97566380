// SPDX-License-Identifier: EUPL-1.2

package matchertest

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/mod/sumdb/note"

	"github.com/seinhuis/seinhuis/api/witness"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/evaluator"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
	"github.com/seinhuis/seinhuis/registry/sequencer"
)

// A Witness is an evaluator's, asked without a network.
type Witness struct {
	of   *evaluator.Witness
	log  string
	Away bool
}

var errAway = errors.New("matchertest: the witness does not answer")

// Add implements sequencer.Witness.
func (w *Witness) Add(_ context.Context, a audit.Add) ([]byte, error) {
	if w.Away {
		return nil, errAway
	}
	line, err := w.of.Add(w.log, a.Marshal())
	if other, ok := errors.AsType[*evaluator.SizeError](err); ok {
		return nil, &witness.SizeError{Size: other.Size}
	}
	if errors.Is(err, evaluator.ErrProof) {
		return nil, &witness.StatusError{Status: http.StatusUnprocessableEntity}
	}
	return line, err
}

// Latest implements sequencer.Witness.
func (w *Witness) Latest(context.Context) ([]byte, error) {
	if w.Away {
		return nil, errAway
	}
	last, err := w.of.Latest(w.log)
	if err == nil && last == nil {
		err = witness.ErrNone
	}
	return last, err
}

// A Log is who signs and witnesses the log of a world.
type Log struct {
	Key       note.Signer
	Witnesses []*Witness

	w *World
}

// OpenLog makes the keys of a log with three witnesses, of which two are enough, and
// puts them in the manifest.
func (w *World) OpenLog() *Log {
	w.t.Helper()
	l := &Log{w: w}
	next := *w.Manifest
	next.Threshold, next.Evaluators = 2, nil
	l.Key, next.Registry.Log = manifesttest.Signer(w.t, audit.Origin(Dep))
	for i := range 3 {
		name := fmt.Sprintf("evaluator-%d", i+1)
		key, vkey := manifesttest.Witness(w.t, name)
		next.Evaluators = append(next.Evaluators, manifest.Evaluator{Index: i + 1, Name: name, TLS: manifesttest.Random32(), Witness: vkey})
		budgets, err := evaluator.OpenBudgets("db", evaluator.BudgetOptions{FS: vfs.NewMem(), Logger: quiet{}})
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { budgets.Close() })
		of, err := evaluator.OpenWitness(budgets, key, "/witness.key")
		if err != nil {
			w.t.Fatal(err)
		}
		l.Witnesses = append(l.Witnesses, &Witness{of: of, log: next.Registry.Log})
	}
	w.Manifest = &next
	return l
}

// Sequencer is that of a process which has the store open, and has just begun.
func (l *Log) Sequencer() *sequencer.Sequencer {
	s := &sequencer.Sequencer{
		Store: l.w.Store, Key: l.Key, Now: l.w.now,
		Trust:   func() (*manifest.Manifest, *manifest.Directory) { return l.w.Manifest, l.w.Directory },
		Witness: func(e manifest.Evaluator) (sequencer.Witness, error) { return l.Witnesses[e.Index-1], nil },
	}
	if l.w.Journal != nil {
		s.Journal = l.w.Journal
	}
	return s
}

// Keys are whose signatures a checkpoint needs.
func (l *Log) Keys() audit.Keys {
	l.w.t.Helper()
	keys, err := audit.ParseKeys(l.w.Manifest.Registry.Log, l.w.Manifest.Witnesses(), l.w.Manifest.Threshold)
	if err != nil {
		l.w.t.Fatal(err)
	}
	return keys
}
