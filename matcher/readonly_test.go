// SPDX-License-Identifier: EUPL-1.2

package matcher_test

import (
	"errors"
	"testing"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
)

func TestReadOnlyTakesNothingNewButWithdrawals(t *testing.T) {
	for _, why := range matcher.Reasons {
		t.Run(string(why), func(t *testing.T) {
			w := matchertest.New(t, 3)
			a, b, c := w.Signal(0, matchertest.Child(1)), w.Signal(1, matchertest.Child(1)), w.Signal(2, matchertest.Child(1))
			said := w.Answer(a, b, api.AnswerWillCall)
			if _, err := w.Act(t.Context(), a.Statement.Party, said); err != nil {
				t.Fatal(err)
			}
			fresh := w.Write(0, matchertest.Child(2), api.NewSID(), 1)
			revised := w.Write(0, matchertest.Child(1), a.Statement.SID, 2)
			answer := w.Answer(b, a, api.AnswerWillCall)
			if !w.ReadOnly.Set(why, true) || w.ReadOnly.Set(why, true) {
				t.Error("it is not told once that it is read-only")
			}
			refused := func(what string, err error) {
				t.Helper()
				e, ok := errors.AsType[*api.Error](err)
				if !ok || e.Code != api.CodeUnavailable || e.RetryAfter <= 0 {
					t.Errorf("%s: %v, want a refusal that says when to come again", what, err)
				}
			}
			_, err := w.Send(fresh)
			refused("a signal", err)
			_, err = w.Send(revised)
			refused("a revision", err)
			_, err = w.Act(t.Context(), b.Statement.Party, answer)
			refused("an answer", err)
			_, err = w.Import(t.Context(), a.Statement.Party, []api.Submission{fresh.Submission})
			refused("an import", err)

			if out, err := w.Send(a); err != nil || out.Created {
				t.Errorf("what was taken before: %v", err)
			}
			if out, err := w.Act(t.Context(), a.Statement.Party, said); err != nil || out.Created {
				t.Errorf("an answer that was taken before: %v", err)
			}
			w.Withdraw(c)
			if told := w.Told(0); told[len(told)-1] != "left "+string(c.Statement.Party) {
				t.Errorf("the withdrawal was not told: %q", told)
			}
			w.SetClock(w.Now().AddDate(2, 0, 0))
			if n, err := w.Sweep(t.Context()); err != nil || n != 1 {
				t.Errorf("swept %d, %v", n, err)
			}

			if !w.ReadOnly.Set(why, false) || len(w.ReadOnly.Why()) > 0 {
				t.Error("it stays read-only")
			}
			w.Signal(0, matchertest.Child(2))
		})
	}
	t.Run("as_long_as_there_is_any_reason", func(t *testing.T) {
		w := matchertest.New(t, 1)
		for _, why := range matcher.Reasons {
			w.ReadOnly.Set(why, true)
		}
		w.ReadOnly.Set(matcher.Reasons[0], false)
		_, err := w.Send(w.Write(0, matchertest.Child(1), api.NewSID(), 1))
		wantCode(t, err, api.CodeUnavailable)
	})
}
