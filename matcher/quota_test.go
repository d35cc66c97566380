// SPDX-License-Identifier: EUPL-1.2

package matcher_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
	"github.com/seinhuis/seinhuis/registry"
)

// quotas is a world of three parties whose quotas are so many signals and acts a day.
func quotas(t *testing.T, signals, acts int) *matchertest.World {
	w := matchertest.New(t, 3)
	w.Manifest.Policy.DailySignals, w.Manifest.Policy.DailyActs = signals, acts
	return w
}

func wantSpent(t *testing.T, err error, wait time.Duration) {
	t.Helper()
	e, ok := errors.AsType[*api.Error](err)
	if !ok || e.Code != api.CodeBudget || e.RetryAfter != wait {
		t.Errorf("got %v %+v, want a spent quota for %v", err, e, wait)
	}
}

func TestQuotaOfSignals(t *testing.T) {
	w := quotas(t, 3, 3)
	first := w.Signal(0, matchertest.Child(1))
	w.Signal(0, matchertest.Child(2))
	if _, err := w.Send(w.Write(0, matchertest.Child(1), first.Statement.SID, 2)); err != nil {
		t.Fatal(err)
	}
	over := w.Write(0, matchertest.Child(3), api.NewSID(), 1)
	_, err := w.Send(over)
	wantSpent(t, err, 12*time.Hour)
	_, err = w.Send(w.Write(0, matchertest.Child(1), first.Statement.SID, 3))
	wantSpent(t, err, 12*time.Hour) // a revision is a signal too
	if got, err := w.Quota(t.Context(), matchertest.Party(0)); err != nil || got.Signals.Limit != 3 || got.Signals.Spent != 3 ||
		!got.Signals.Until.Equal(time.Date(2026, 3, 11, 0, 0, 0, 0, time.UTC)) || got.Acts.Spent != 0 {
		t.Errorf("%+v (%v)", got, err)
	}

	// What was taken before is answered, whatever the quota.
	again := w.Write(0, matchertest.Child(2), api.NewSID(), 1)
	if _, err := w.Send(again); err == nil {
		t.Error("a child that is signalled already costs nothing")
	}
	w.Signal(1, matchertest.Child(3)) // another party has its own
	w.Advance(12 * time.Hour)
	if out, err := w.Send(over); err != nil || !out.Created {
		t.Errorf("the next day the same statement is not taken: %v", err)
	}
	if out, err := w.Send(over); err != nil || out.Created {
		t.Errorf("a repetition: %v, created %v", err, out.Created)
	}
	if got, err := w.Quota(t.Context(), matchertest.Party(0)); err != nil || got.Signals.Spent != 1 {
		t.Errorf("a repetition is counted: %+v (%v)", got, err)
	}
}

// Whatever the quota, a repetition gets its receipt and a signal can end.
func TestNoQuotaKeepsASignalIn(t *testing.T) {
	w := quotas(t, 2, 1)
	a, b := w.Signal(0, matchertest.Child(1)), w.Signal(0, matchertest.Child(2))
	if out, err := w.Send(a); err != nil || out.Created {
		t.Errorf("a repetition is refused: %v", err)
	}
	w.Withdraw(a)
	w.Withdraw(b)
	if got, err := w.Quota(t.Context(), matchertest.Party(0)); err != nil || got.Acts.Spent != 0 {
		t.Errorf("withdrawals are counted as acts: %+v (%v)", got, err)
	}
}

// Rows of an import over the quota are refused one by one, and stand in nobody's way.
func TestQuotaOfAnImport(t *testing.T) {
	w := quotas(t, 4, 1)
	known := w.Signal(0, matchertest.Child(0))
	subs := []api.Submission{known.Submission}
	for i := range 6 {
		subs = append(subs, w.Write(0, matchertest.Child(i+1), api.NewSID(), 1).Submission)
	}
	taken := func() (n int) {
		got, err := w.Import(t.Context(), matchertest.Party(0), subs)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range got {
			if one.Refused == nil {
				n++
			} else {
				wantCode(t, one.Refused, api.CodeBudget)
			}
		}
		return n
	}
	if n := taken(); n != 1+3 {
		t.Errorf("%d rows have a receipt, want the repeated one and 3", n)
	}
	if n := taken(); n != 1+3 {
		t.Errorf("again %d", n)
	}
	w.Advance(24 * time.Hour)
	if n := taken(); n != 7 {
		t.Errorf("the next day %d", n)
	}
}

// An import that is broken off has stored nothing, and has cost nothing: sent again and
// again over a bad line it would spend the day's quota.
func TestABrokenImportCostsNothing(t *testing.T) {
	w := quotas(t, 6, 1)
	var subs []api.Submission
	for i := range 6 {
		subs = append(subs, w.Write(0, matchertest.Child(i), api.NewSID(), 1).Submission)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Import(ctx, matchertest.Party(0), subs); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if got, err := w.Quota(t.Context(), matchertest.Party(0)); err != nil || got.Signals.Spent != 0 {
		t.Errorf("it cost %d (%v)", got.Signals.Spent, err)
	}
	got, err := w.Import(t.Context(), matchertest.Party(0), subs)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range got {
		if one.Refused != nil {
			t.Error(one.Refused)
		}
	}
}

func TestGrantRaisesTheQuota(t *testing.T) {
	w := quotas(t, 1, 1)
	now := w.Now()
	w.Directory.Parties[0].Grants = []manifest.Grant{{From: now, Until: now.Add(time.Hour), Daily: 2, Monthly: 2, Purpose: "import"}}
	for i := range 3 {
		w.Signal(0, matchertest.Child(i))
	}
	_, err := w.Send(w.Write(0, matchertest.Child(9), api.NewSID(), 1))
	wantSpent(t, err, 12*time.Hour)
	w.Signal(1, matchertest.Child(1))
	_, err = w.Send(w.Write(1, matchertest.Child(9), api.NewSID(), 1))
	wantSpent(t, err, 12*time.Hour)
}

// At most so many are taken, also of those that come at once.
func TestQuotaOfThoseThatComeAtOnce(t *testing.T) {
	w := quotas(t, 5, 1)
	var wg sync.WaitGroup
	var mu sync.Mutex
	taken := 0
	for i := range 20 {
		paper := w.Write(0, matchertest.Child(i), api.NewSID(), 1)
		wg.Go(func() {
			if _, err := w.Send(paper); err == nil {
				mu.Lock()
				taken++
				mu.Unlock()
			} else if api.CodeOf(err) != api.CodeBudget {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if taken != 5 {
		t.Errorf("%d were taken", taken)
	}
}

// What was brought to the store is known after a loss of power, and what was taken
// since is not.
func TestCountsOutliveALossOfPower(t *testing.T) {
	w := quotas(t, 10, 10)
	fs := vfs.NewCrashableMem()
	w.Store.Close()
	w.Open(fs)
	w.Signal(0, matchertest.Child(1))
	w.Signal(0, matchertest.Child(2))
	w.Signal(1, matchertest.Child(1))
	if err := w.KeepCounts(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Signal(0, matchertest.Child(3))
	after := fs.CrashClone(vfs.CrashCloneCfg{})
	w.Store.Close()
	w.Open(after)
	want := []api.PartyUsage{{Party: matchertest.Party(0), Signals: 2}, {Party: matchertest.Party(1), Signals: 1}}
	day := encoding.DateOf(w.Now())
	if got, err := w.Usage(t.Context(), day); err != nil || got.Day != day || !slices.Equal(got.Items, want) {
		t.Errorf("%+v (%v), want %v", got, err, want)
	}
	w.Signal(0, matchertest.Child(4))
	want[0].Signals = 3
	if got, err := w.Usage(t.Context(), day); err != nil || !slices.Equal(got.Items, want) {
		t.Errorf("%+v (%v), want %v", got, err, want)
	}

	// The day after it is read from the store, when memory has let it go.
	if err := w.KeepCounts(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Advance(48 * time.Hour)
	w.Signal(0, matchertest.Child(5))
	if err := w.KeepCounts(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := w.Usage(t.Context(), day); err != nil || !slices.Equal(got.Items, want) {
		t.Errorf("two days later %+v (%v), want %v", got, err, want)
	}
}

// meanwhile is a store under which something happens before its next transaction.
type meanwhile struct {
	registry.Store
	do func()
}

func (m *meanwhile) Update(ctx context.Context, idx registry.Idx, fn func(registry.Tx) error) error {
	m.do()
	return m.Store.Update(ctx, idx, fn)
}

// A clock that jumps while a statement is on its way makes memory forget the day that
// the statement is counted on; the store knows it.
func TestCountsOfADayThatIsOver(t *testing.T) {
	w := quotas(t, 2, 2)
	w.Signal(0, matchertest.Child(1))
	day := encoding.DateOf(w.Now())
	paper := w.Write(0, matchertest.Child(2), api.NewSID(), 1)
	store := w.Store
	w.Store = &meanwhile{store, func() {
		w.Advance(72 * time.Hour)
		if err := w.KeepCounts(t.Context()); err != nil {
			t.Fatal(err)
		}
	}}
	if _, err := w.Send(paper); err != nil {
		t.Fatal(err)
	}
	w.Store = store
	want := []api.PartyUsage{{Party: matchertest.Party(0), Signals: 2}}
	for range 2 {
		if got, err := w.Usage(t.Context(), day); err != nil || !slices.Equal(got.Items, want) {
			t.Errorf("%+v (%v), want %v", got, err, want)
		}
		if err := w.KeepCounts(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestHastyWithdrawal(t *testing.T) {
	for name, c := range map[string]struct {
		after time.Duration
		do    func(w *matchertest.World) matchertest.Paper
		want  bool
	}{
		"met_nobody": {0, func(w *matchertest.World) matchertest.Paper { return w.Signal(0, matchertest.Child(1)) }, false},
		"met_somebody": {0, func(w *matchertest.World) matchertest.Paper {
			w.Signal(1, matchertest.Child(1))
			return w.Signal(0, matchertest.Child(1))
		}, true},
		"was_joined": {0, func(w *matchertest.World) matchertest.Paper {
			p := w.Signal(0, matchertest.Child(1))
			w.Signal(1, matchertest.Child(1))
			return p
		}, true},
		"who_has_left": {0, func(w *matchertest.World) matchertest.Paper {
			o := w.Signal(1, matchertest.Child(1))
			p := w.Signal(0, matchertest.Child(1))
			w.Withdraw(o)
			return p
		}, true},
		"a_day_later": {24 * time.Hour, func(w *matchertest.World) matchertest.Paper {
			w.Signal(1, matchertest.Child(1))
			return w.Signal(0, matchertest.Child(1))
		}, false},
		"within_a_day": {24*time.Hour - time.Second, func(w *matchertest.World) matchertest.Paper {
			w.Signal(1, matchertest.Child(1))
			return w.Signal(0, matchertest.Child(1))
		}, true},
		"issued_before": {0, func(w *matchertest.World) matchertest.Paper {
			w.Signal(1, matchertest.Child(1))
			p := w.Write(0, matchertest.Child(1), api.NewSID(), 1, func(s *api.Statement) { s.Issued = s.Issued.AddDate(0, 0, -20) })
			if _, err := w.Send(p); err != nil {
				t.Fatal(err)
			}
			return p
		}, true},
		"revised_within_the_day": {24*time.Hour - time.Minute, func(w *matchertest.World) matchertest.Paper {
			w.Signal(1, matchertest.Child(1))
			p := w.Signal(0, matchertest.Child(1))
			w.Advance(30 * time.Second)
			return w.Revise(p)
		}, true},
		"revised_after_the_other_left": {time.Hour, func(w *matchertest.World) matchertest.Paper {
			o := w.Signal(1, matchertest.Child(1))
			p := w.Revise(w.Signal(0, matchertest.Child(1)))
			w.Withdraw(o)
			return w.Revise(w.Revise(p))
		}, true},
		"old_and_revised_yesterday": {23 * time.Hour, func(w *matchertest.World) matchertest.Paper {
			w.Signal(1, matchertest.Child(1))
			p := w.Signal(0, matchertest.Child(1))
			w.Advance(40 * 24 * time.Hour)
			return w.Revise(w.Revise(p))
		}, false},
		"revised_and_rebuilt": {24*time.Hour - time.Second, func(w *matchertest.World) matchertest.Paper {
			w.OpenEpoch()
			o := w.Signal(1, matchertest.Child(1))
			p := w.Revise(w.Signal(0, matchertest.Child(1)))
			w.Withdraw(o)
			p = w.Revise(p)
			w.CloseEpoch()
			if _, err := w.Rebuild(t.Context()); err != nil {
				t.Fatal(err)
			}
			return p
		}, true},
		"old_and_rebuilt": {23 * time.Hour, func(w *matchertest.World) matchertest.Paper {
			w.OpenEpoch()
			w.Signal(1, matchertest.Child(1))
			p := w.Signal(0, matchertest.Child(1))
			w.Advance(40 * 24 * time.Hour)
			p = w.Revise(p)
			w.CloseEpoch()
			if _, err := w.Rebuild(t.Context()); err != nil {
				t.Fatal(err)
			}
			return p
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := matchertest.New(t, 2)
			paper := c.do(w)
			w.Advance(c.after)
			act := w.Withdrawal(paper)
			out, err := w.Act(t.Context(), matchertest.Party(0), act)
			if err != nil || out.Hasty != c.want {
				t.Errorf("hasty is %v (%v)", out.Hasty, err)
			}
			if out, err = w.Act(t.Context(), matchertest.Party(0), act); err != nil || out.Hasty {
				t.Errorf("a repetition is hasty: %v (%v)", out.Hasty, err)
			}
		})
	}
}

// Answers are acts that have a quota; withdrawals go on.
func TestQuotaOfAnswers(t *testing.T) {
	w := quotas(t, 10, 2)
	a, b := w.Signal(0, matchertest.Child(1)), w.Signal(1, matchertest.Child(1))
	give := func(word api.Answer) error {
		_, err := w.Act(t.Context(), matchertest.Party(0), w.Answer(a, b, word))
		return err
	}
	for _, word := range []api.Answer{api.AnswerWillCall, api.AnswerInContact} {
		if err := give(word); err != nil {
			t.Fatal(err)
		}
	}
	wantSpent(t, give(api.AnswerNotInvolved), 12*time.Hour)
	if err := give(api.AnswerInContact); err != nil { // the same bytes: a repetition
		t.Error(err)
	}
	w.Withdraw(a)
}
