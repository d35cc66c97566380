// SPDX-License-Identifier: EUPL-1.2

package matcher_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
	"github.com/seinhuis/seinhuis/registry"
)

// batches is a store that counts the commits of a sweep, and can have one fail or take
// its time.
type batches struct {
	registry.Store
	n     int
	idxs  []int
	fails int
	takes time.Duration
}

func (b *batches) UpdateAll(ctx context.Context, idxs []registry.Idx, fn func(registry.Idx, registry.Tx) error) error {
	if b.n++; b.n == b.fails {
		return errPower
	}
	b.idxs = append(b.idxs, len(idxs))
	time.Sleep(b.takes)
	return b.Store.UpdateAll(ctx, idxs, fn)
}

var errPower = errors.New("the power is gone")

// standing counts what stands in the store.
func standing(t *testing.T, w *matchertest.World) (signals, matches int) {
	t.Helper()
	err := w.Store.Scan(t.Context(), registry.Idx{}, func(_ registry.Idx, s []registry.Signal, m registry.Match) error {
		signals += len(s)
		if !m.ID.IsZero() {
			matches++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return signals, matches
}

// From the day on which the legal basis ends nothing is taken but withdrawals, no card is
// shown, and the sweep ends everything, whenever it is stopped.
func TestSunset(t *testing.T) {
	defer matcher.SetSweepBatch(10)()
	w := matchertest.New(t, 2)
	var papers []matchertest.Paper
	for i := range 55 {
		papers = append(papers, w.Signal(0, matchertest.Child(i)))
		if i%3 == 0 {
			w.Signal(1, matchertest.Child(i))
		}
	}
	ends := registry.Today(w.Now()).AddDate(0, 0, 20)
	w.Manifest.Policy.LegalBasisEnds = ends
	midnight := ends.In(encoding.Amsterdam)
	for _, at := range []time.Time{midnight.AddDate(0, 0, -1), midnight.Add(-time.Second)} {
		w.SetClock(at)
		if n, err := w.Sweep(t.Context()); n != 0 || err != nil {
			t.Fatalf("before the end %d were swept (%v)", n, err)
		}
	}
	shown := func() (cards int) {
		got, err := registry.Deliver(t.Context(), w.Store, matchertest.Party(1), "", api.MaxEvents, 0, w.LiveAt())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range got.Items {
			if len(e.Other.Card) > 0 {
				cards++
			}
		}
		return cards
	}
	if n := shown(); n != 19 {
		t.Errorf("%d cards on the last day, want 19", n)
	}
	fresh := w.Write(1, matchertest.Child(1), api.NewSID(), 1)
	answer := w.Answer(papers[0], matchertest.Paper{Statement: api.Statement{SID: w.MatchOf(papers[0]).Members[1].SID}}, api.AnswerWillCall)
	w.SetClock(midnight.Add(time.Minute))
	if n := shown(); n != 0 {
		t.Errorf("%d cards after the end", n)
	}
	_, err := w.Send(fresh)
	wantCode(t, err, api.CodeLegalBasis)
	_, err = w.Act(t.Context(), matchertest.Party(0), answer)
	wantCode(t, err, api.CodeLegalBasis)
	_, err = w.Send(w.Write(0, matchertest.Child(2), papers[2].Statement.SID, 2))
	wantCode(t, err, api.CodeLegalBasis)
	w.Withdraw(papers[0])

	store := &batches{Store: w.Store, fails: 3}
	w.Store = store
	if n, err := w.Sweep(t.Context()); n != 20 || !errors.Is(err, errPower) {
		t.Errorf("%d were swept until %v", n, err)
	}
	w.Store = store.Store
	if n, err := w.Sweep(t.Context()); n != 35 || err != nil {
		t.Errorf("then %d were swept (%v)", n, err)
	}
	if signals, matches := standing(t, w); signals+matches > 0 {
		t.Errorf("%d signals and %d matches are left", signals, matches)
	}
	for _, p := range papers[1:] {
		_, err := w.Act(t.Context(), matchertest.Party(0), w.Withdrawal(p))
		wantCode(t, err, api.CodeGone)
	}
	if n, err := w.Sweep(t.Context()); n != 0 || err != nil {
		t.Errorf("at last %d were swept (%v)", n, err)
	}
	if told := w.Told(1); len(told) != 19+2 { // nobody is told of what ends for everybody
		t.Errorf("%q were told, want those of the matches and of the withdrawal", told)
	}
}

// The sweep works in small commits, and rests for three times as long as each took.
func TestSweepRests(t *testing.T) {
	defer matcher.SetSweepBatch(10)()
	w := matchertest.New(t, 1)
	for i := range 40 {
		w.Signal(0, matchertest.Child(i))
	}
	w.SetClock(w.Now().AddDate(1, 0, 0))
	store := &batches{Store: w.Store, takes: 10 * time.Millisecond}
	w.Store = store
	began := time.Now()
	if n, err := w.Sweep(t.Context()); n != 40 || err != nil {
		t.Fatalf("%d were swept (%v)", n, err)
	}
	for _, n := range store.idxs {
		if n > 10 {
			t.Errorf("%d children end in one commit", n)
		}
	}
	// A slow machine takes longer; none can take less.
	if least, took := time.Duration(store.n)*4*store.takes, time.Since(began); store.n != 4 || took < least {
		t.Errorf("%d commits took %s, with the rests at least %s", store.n, took, least)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Sweep(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("it does not end with its context: %v", err)
	}
}
