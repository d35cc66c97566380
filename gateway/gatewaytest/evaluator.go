// SPDX-License-Identifier: EUPL-1.2

package gatewaytest

import (
	"context"
	"net/http"
	"path/filepath"
	"sync/atomic"

	"github.com/seinhuis/seinhuis/api/evaluation"
	"github.com/seinhuis/seinhuis/evaluator"
	"github.com/seinhuis/seinhuis/manifest"
)

// An evaluatorRun is an evaluator from one start to the next.
type evaluatorRun struct {
	folder  string // of its store
	budgets *evaluator.Budgets
	engine  *evaluator.Evaluator
	server  atomic.Pointer[evaluation.Server]
	serves  atomic.Pointer[http.Handler]
}

func (e *evaluatorRun) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	(*e.serves.Load()).ServeHTTP(w, r)
}

func (w *World) startEvaluator(i int) {
	w.Faults[i] = new(Fault)
	e := &evaluatorRun{folder: w.t.TempDir()}
	w.evaluators[i] = e
	w.openEvaluator(i)
	w.t.Cleanup(func() { e.budgets.Close() })
	in := &w.Manifest.Evaluators[i]
	in.URL, in.TLS, _ = w.listen(in.Name, w.Faults[i].wrap(e, "proof"), func(spki [32]byte) bool { return e.server.Load().Known(spki) })
}

func (w *World) openEvaluator(i int) {
	e, m := w.evaluators[i], w.Manifest
	if now, _ := w.trust(); now != nil {
		m = now
	}
	var err error
	e.budgets, err = evaluator.OpenBudgets(e.folder, evaluator.BudgetOptions{Logger: quiet{}})
	w.must(err)
	e.engine, err = evaluator.New(e.budgets, w.Now, m, i+1, w.shares[i])
	w.must(err)
	server := evaluation.New(e.engine, func() *manifest.Directory { _, d := w.trust(); return d }, w.Now, w.Log.Logger())
	if w.registry.logged {
		server.Witness = w.openWitness(e.budgets, i)
	} else {
		server.Witness, err = evaluator.OpenWitness(e.budgets, w.Witnesses[i], filepath.Join(w.t.TempDir(), "witness.key"))
		w.must(err)
	}
	handler := server.Evaluation()
	e.server.Store(server)
	e.serves.Store(&handler)
}

// RestartEvaluator ends an evaluator that nobody asks anything, and starts it again.
func (w *World) RestartEvaluator(i int) {
	w.t.Helper()
	w.must(w.evaluators[i].budgets.Close())
	w.openEvaluator(i)
}

// Engine is what evaluator i evaluates with.
func (w *World) Engine(i int) *evaluator.Evaluator { return w.evaluators[i].engine }

// Minute has the evaluators count the minute that has passed.
func (w *World) Minute() {
	w.t.Helper()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, e := range w.evaluators {
		w.must(e.server.Load().CountMinutes(ended))
	}
}
