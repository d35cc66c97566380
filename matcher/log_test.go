// SPDX-License-Identifier: EUPL-1.2

package matcher_test

import (
	"slices"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
	"github.com/seinhuis/seinhuis/registry"
)

func TestTheLogForgetsAfterFiveYears(t *testing.T) {
	w := matchertest.New(t, 1)
	if err := w.Store.Enter(t.Context(), audit.Published(audit.Manifest, w.Manifest.Hash())); err != nil {
		t.Fatal(err)
	}
	sequence := func() {
		t.Helper()
		if _, err := w.Store.Sequence(t.Context(), 1e4); err != nil {
			t.Fatal(err)
		}
	}
	erased := func(want int64) {
		t.Helper()
		if _, err := w.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		state, err := registry.VerifyLog(t.Context(), w.Store)
		if err != nil || state.Erased != want {
			t.Errorf("of %d records %d are erased, want %d (%v)", state.Size, state.Erased, want, err)
		}
	}
	for child := range 3000 { // more than one batch
		w.Signal(0, matchertest.Child(child))
	}
	sequence()
	w.Advance(5*365*24*time.Hour - time.Hour)
	erased(0)
	w.Signal(0, matchertest.Child(9999))
	sequence()
	w.Advance(3 * 24 * time.Hour) // there are leap days
	erased(3000)
	erased(3000)
	w.Reopen()
	erased(3000)
}

// A pseudonym gets into the log, and nowhere else.
func TestWhoAskedIsInTheLog(t *testing.T) {
	w := matchertest.New(t, 1)
	p := w.Write(0, matchertest.Child(1), [16]byte{1}, 1)
	p.Submission.User = "Zk3vT0xq9bWc"
	if _, err := w.Submit(t.Context(), matchertest.Party(0), p.Submission); err != nil {
		t.Fatal(err)
	}
	act := w.Withdrawal(p)
	act.User = "other-user"
	if _, err := w.Act(t.Context(), matchertest.Party(0), act); err != nil {
		t.Fatal(err)
	}
	users := map[string]string{}
	err := registry.ShowLog(t.Context(), w.Store, registry.LogFilter{Party: matchertest.Party(0)}, func(_ int64, r audit.Record) error {
		users[r.Event] = r.User
		return nil
	})
	if err != nil || len(users) != 2 || users["signal.register"] != "Zk3vT0xq9bWc" || users["signal.withdraw"] != "other-user" {
		t.Errorf("who asked: %v (%v)", users, err)
	}
	p = w.Write(0, matchertest.Child(2), [16]byte{2}, 1)
	p.Submission.User = "a name with spaces"
	if _, err := w.Submit(t.Context(), matchertest.Party(0), p.Submission); err == nil {
		t.Error("something else than a pseudonym is taken")
	}
}

// An evaluator whose answer was lost gives its certificate again, also when the log has it.
func TestACertificateIsInTheLogOnce(t *testing.T) {
	w := matchertest.New(t, 0)
	l := w.OpenLog()
	key, vkey := manifesttest.Signer(t, "evaluator-1")
	next := *w.Manifest
	next.Evaluators = slices.Clone(next.Evaluators)
	next.Evaluators[0].Note = vkey
	w.Manifest = &next
	text, err := manifest.Destruction{
		Dep: matchertest.Dep, Evaluator: 1, Epoch: 1, Cohort: 2000, Sharings: []uint64{1}, Why: manifest.Grown, Time: w.Now().UTC(),
	}.Note()
	if err != nil {
		t.Fatal(err)
	}
	log := l.Sequencer()
	var sizes []int64
	for range 2 {
		if err := w.Certify(t.Context(), manifesttest.Sign(t, text, key)); err != nil {
			t.Fatal(err)
		}
		if err := log.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		state, err := registry.VerifyLog(t.Context(), w.Store)
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, state.Size)
	}
	if sizes[0] != 3 || sizes[1] != 3 { // with manifest and directory
		t.Errorf("the log has %d leaves", sizes)
	}
}
