// SPDX-License-Identifier: EUPL-1.2

package matcher_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/registry/backup"
	"github.com/seinhuis/seinhuis/registry/journal"
	"github.com/seinhuis/seinhuis/soak"
)

// TestRow10TheRegistryItself restores backups of any age, without gateways: parties send
// their last papers again, in any order, and withdrawals that have a receipt.
func TestRow10TheRegistryItself(t *testing.T) {
	soak.Row(t, 10, "the registry restored alone", soak.Short(60), func(t *testing.T, seed uint64) soak.Found {
		rng := rand.New(rand.NewPCG(11, seed))
		w := matchertest.New(t, 4)
		w.KeepJournal()
		type acted struct {
			act     api.ActRequest
			receipt api.Signed
		}
		live := map[[2]int]matchertest.Paper{}
		var ended []matchertest.Paper
		var acts []acted
		var backups []string
		found := soak.Found{}
		withdraw := func(at [2]int, p matchertest.Paper) {
			act := w.Withdrawal(p)
			out, err := w.Act(t.Context(), p.Statement.Party, act)
			if err != nil {
				t.Fatal(err)
			}
			acts = append(acts, acted{act, out.Receipt})
			ended = append(ended, p)
			delete(live, at)
			found["withdrawals"]++
		}
		dead := func(p matchertest.Paper) bool {
			return p.Statement.Rev > 0 && p.Statement.Expires.Compare(registry.Today(w.Now())) <= 0
		}
		for range 30 + rng.IntN(30) {
			for i := range 16 {
				if at := [2]int{i / 4, i % 4}; dead(live[at]) {
					ended = append(ended, live[at])
					delete(live, at)
				}
			}
			at := [2]int{rng.IntN(4), rng.IntN(4)}
			p, stands := live[at]
			term := func(st *api.Statement) { st.Expires = registry.Today(w.Now()).AddDate(0, 0, 2+rng.IntN(30)) }
			switch n := rng.IntN(10); {
			case n == 0 || len(backups) == 0:
				backups = append(backups, fmt.Sprintf("backup-%d", len(backups)))
				w.Backup(backups[len(backups)-1])
				w.Advance(2 * time.Hour)
			case n < 3:
				w.Advance(time.Duration(rng.IntN(40)) * time.Hour)
				if rng.IntN(2) == 0 {
					if _, err := w.Sweep(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			case !stands:
				paper := w.Write(at[0], matchertest.Child(at[1]), api.NewSID(), 1, term)
				if _, err := w.Send(paper); err != nil {
					t.Fatal(err)
				}
				live[at] = paper
				found["signals"]++
			case n < 6:
				paper := w.Write(at[0], matchertest.Child(at[1]), p.Statement.SID, p.Statement.Rev+1, term)
				if _, err := w.Send(paper); err != nil {
					t.Fatal(err)
				}
				live[at] = paper
				found["revisions"]++
			case n < 8:
				withdraw(at, p)
			}
		}
		for range 1 + rng.IntN(3) { // the first may have been the wrong one, and older than the next
			before := w.Store.Incarnation()
			w.Restore(backups[rng.IntN(len(backups))])
			if w.Store.Incarnation() == before {
				t.Fatal("the incarnation goes on")
			}
			lives := func() map[api.SID]uint64 {
				got := map[api.SID]uint64{}
				err := w.Store.Scan(t.Context(), registry.Idx{}, func(_ registry.Idx, signals []registry.Signal, _ registry.Match) error {
					for _, s := range signals {
						if s.Live(registry.Today(w.Now())) {
							got[s.SID] = s.Rev
						}
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				return got
			}
			gone := func(when string) {
				got := lives()
				for _, p := range ended {
					if got[p.Statement.SID] != 0 {
						t.Fatalf("%s, what had ended lives", when)
					}
				}
			}
			gone("after the restore")
			papers := slices.Clone(ended)
			for i := range 16 {
				at := [2]int{i / 4, i % 4}
				if p, stands := live[at]; stands {
					if !dead(p) && rng.IntN(4) == 0 { // also of what is not there
						withdraw(at, p)
					}
					papers = append(papers, p)
				}
			}
			rng.Shuffle(len(papers), func(i, j int) { papers[i], papers[j] = papers[j], papers[i] })
			for _, p := range papers {
				_, err := w.Send(p)
				over := slices.ContainsFunc(ended, func(e matchertest.Paper) bool { return e.Statement.SID == p.Statement.SID })
				if over == (err == nil) && !dead(p) {
					t.Fatalf("sent again: %v; it had ended: %v", err, over)
				}
			}
			for _, a := range acts {
				st, err := api.ParseAct(a.act.Signed.Signed)
				if err != nil {
					t.Fatal(err)
				}
				if out, err := w.Act(t.Context(), st.Party, a.act); err != nil || string(out.Receipt.Signed) != string(a.receipt.Signed) {
					t.Fatalf("a withdrawal that was taken gets another receipt: %v", err)
				}
			}
			gone("after all was sent again")
			got := lives()
			for _, p := range live {
				if !dead(p) && got[p.Statement.SID] != p.Statement.Rev {
					t.Fatalf("what had a receipt for revision %d is there with %d", p.Statement.Rev, got[p.Statement.SID])
				}
			}
			done, err := w.Check(t.Context(), func(d matcher.Difference) { t.Error(d) })
			if err != nil || done.Differences > 0 {
				t.Fatal(done, err)
			}
			found["restores"]++
		}
		return found
	})
}

// A crash or an error at any write of a restore leaves no store, and once more it goes.
func TestARestoreThatIsCutShort(t *testing.T) {
	w := matchertest.New(t, 2)
	crash := vfs.NewCrashableMem()
	if err := w.Store.Close(); err != nil {
		t.Fatal(err)
	}
	w.Open(crash)
	w.KeepJournal()
	a, b := w.Signal(0, matchertest.Child(1)), w.Signal(1, matchertest.Child(1))
	w.Backup("backup")
	w.Withdraw(b)
	if _, err := w.TryRestore("elsewhere"); !errors.Is(err, backup.ErrDamaged) {
		t.Fatalf("no backup at all: %v", err)
	}
	if _, err := w.FS.Stat("db"); err == nil {
		t.Fatal("a restore that failed left a store")
	}
	w.FS = crash.CrashClone(vfs.CrashCloneCfg{}) // the backup and the journal are on disk
	if done := w.Restore("backup"); done != (matcher.Replayed{Ended: 1, Known: 1}) {
		t.Errorf("it replayed %+v", done)
	}
	if m := w.MatchOf(a); !m.ID.IsZero() {
		t.Error("the match is there")
	}
	if got := w.Told(0); !slices.Equal(got, []string{"joined " + string(matchertest.Party(1)), "left " + string(matchertest.Party(1))}) {
		t.Errorf("told %q", got)
	}
}

// A backup that the journal does not reach back to is not restored.
func TestABackupThatIsTooOld(t *testing.T) {
	w := matchertest.New(t, 2)
	w.KeepJournal()
	w.Signal(0, matchertest.Child(1))
	w.Backup("backup")
	for range journal.KeepDays + 3 {
		w.Withdraw(w.Signal(1, matchertest.Child(2)))
		w.Advance(24 * time.Hour)
		if _, err := w.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.TryRestore("backup"); !errors.Is(err, journal.ErrReach) {
		t.Errorf("got %v", err)
	}
}

// What came after the backup and has ended since: whoever was told that it joined is told
// that it left, also when his own signal came after the backup.
func TestWhoMetWhatTheBackupLacks(t *testing.T) {
	w := matchertest.New(t, 3)
	w.KeepJournal()
	w.Signal(0, matchertest.Child(1))
	w.Backup("backup")
	late := w.Signal(1, matchertest.Child(1))
	w.Signal(2, matchertest.Child(1))
	w.Withdraw(late)
	if done := w.Restore("backup"); done != (matcher.Replayed{Known: 1, Told: 2}) {
		t.Errorf("it replayed %+v", done)
	}
	for p := range []int{0, 2} {
		p *= 2
		if got := w.Told(p); !slices.Equal(got, []string{"left " + string(matchertest.Party(1))}) {
			t.Errorf("party %d is told %q", p, got)
		}
	}
}

// A party withdraws what the restored registry lacks, or has only as it was before it was renewed.
// Another backup has it, and does not bring it back. Who met it there is told that it left; nobody
// learns from the receipt who else there is.
func TestAWithdrawalOfWhatTheBackupLacks(t *testing.T) {
	joined, left := "joined "+string(matchertest.Party(0)), "left "+string(matchertest.Party(0))
	for name, c := range map[string]struct {
		renewed  bool          // and not new
		later    time.Duration // when it is withdrawn
		sweep    bool
		toldThen []string // by what was restored first
		told     []string // by the next one
	}{
		"that_was_new":            {toldThen: []string{left}, told: []string{joined, left}},
		"that_was_new_a_month_on": {later: 29 * 24 * time.Hour, toldThen: []string{left}, told: []string{joined, left}},
		"that_rests":              {renewed: true, toldThen: []string{joined, left}, told: []string{joined, left}},
		"that_the_clock_ended":    {renewed: true, later: 25 * time.Hour, sweep: true, toldThen: []string{joined, left}, told: []string{joined, left}},
	} {
		t.Run(name, func(t *testing.T) {
			w := matchertest.New(t, 2)
			w.KeepJournal()
			other := w.Signal(1, matchertest.Child(1))
			var paper matchertest.Paper
			if !c.renewed {
				w.Backup("older")
				paper = w.Signal(0, matchertest.Child(1))
			} else {
				soon := func(st *api.Statement) { st.Expires = registry.Today(w.Now()).AddDate(0, 0, 3) }
				paper = w.Write(0, matchertest.Child(1), api.NewSID(), 1, soon)
				if _, err := w.Send(paper); err != nil {
					t.Fatal(err)
				}
				w.Backup("older")
				paper = w.Revise(paper)
			}
			w.Backup("newer")
			w.Advance(4 * 24 * time.Hour)
			w.Restore("older")
			w.Advance(c.later)
			if c.sweep {
				sweeps(w, other)
			}
			act := w.Withdrawal(paper, func(a *api.Act) { a.Body = api.ReasonMistake })
			out, err := w.Act(t.Context(), paper.Statement.Party, act)
			if err != nil {
				t.Fatal(err)
			}
			if last := w.Feed(1); !last[len(last)-1].Mistake && !c.sweep {
				t.Error("it does not say that it was a mistake")
			}
			if r, err := api.ParseReceipt(out.Receipt.Signed); err != nil || !c.renewed && r.Others != 0 || out.Hasty {
				t.Errorf("it says that there are %d others (%v)", r.Others, err)
			}
			cards := func(told []string) []string {
				return slices.DeleteFunc(told, func(s string) bool { return strings.HasPrefix(s, "card ") }) // the renewal's own
			}
			for _, backup := range []string{"", "older", "newer", "older"} {
				want := c.told
				if backup != "" {
					w.Restore(backup)
				}
				if backup != "newer" {
					want = c.toldThen
				}
				again, err := w.Act(t.Context(), paper.Statement.Party, act)
				if err != nil || string(again.Receipt.Signed) != string(out.Receipt.Signed) {
					t.Errorf("after %q the same act gets another receipt: %v", backup, err)
				}
				if got := cards(w.Told(1)); !slices.Equal(got, want) {
					t.Errorf("after %q told %q, want %q", backup, got, want)
				}
				if _, err := w.Send(paper); api.CodeOf(err) != api.CodeGone {
					t.Errorf("after %q it is taken again: %v", backup, err)
				}
				if m := w.MatchOf(other); !m.ID.IsZero() {
					t.Errorf("after %q it is in a match", backup)
				}
			}
			if done, err := w.Check(t.Context(), func(d matcher.Difference) { t.Error(d) }); err != nil || done.Differences > 0 {
				t.Error(done, err)
			}
		})
	}
}

// Such a withdrawal costs no other signal of the same party its life, and tells nobody that the
// party left. It is for a restored registry, for as long as it may lack something, and counts as
// an act, for a party can withdraw what never was.
func TestAWithdrawalOfWhatNeverWas(t *testing.T) {
	w := matchertest.New(t, 2)
	w.KeepJournal()
	w.Signal(1, matchertest.Child(1))
	mine := w.Signal(0, matchertest.Child(1))
	told := w.Told(1)
	code := func() api.Code {
		_, err := w.Act(t.Context(), matchertest.Party(0), w.Withdrawal(w.Write(0, matchertest.Child(1), api.NewSID(), 1)))
		return api.CodeOf(err)
	}
	if got := code(); got != api.CodeUnknownSignal {
		t.Errorf("without a restore: %s", got)
	}
	w.Backup("backup")
	w.Restore("backup")
	w.Manifest.Policy.DailyActs = 2
	for n, want := range []api.Code{"", "", api.CodeBudget} {
		if _, err := w.Act(t.Context(), matchertest.Party(0), w.Withdrawal(w.Write(0, matchertest.Child(1), api.NewSID(), 1))); err != nil && api.CodeOf(err) != want || err == nil && want != "" {
			t.Errorf("withdrawal %d: %v, want %q", n+1, err, want)
		}
	}
	if m := w.MatchOf(mine); len(m.Members) != 2 {
		t.Errorf("the match has %v", m.Members)
	}
	if got := w.Told(1); !slices.Equal(got, told) {
		t.Errorf("told %q, want %q", got, told)
	}
	w.Advance(registry.MaxAge)
	if got := code(); got != api.CodeUnknownSignal {
		t.Errorf("a month later: %s", got)
	}
}

// A signal that was renewed after the backup, and whose day in the backup has come, is
// not told to have left: neither the sweep nor its own revision ends it.
func TestARenewalThatTheBackupLacks(t *testing.T) {
	w := matchertest.New(t, 2)
	w.KeepJournal()
	soon := func(st *api.Statement) { st.Expires = registry.Today(w.Now()).AddDate(0, 0, 3) }
	paper := w.Write(0, matchertest.Child(1), api.NewSID(), 1, soon)
	if _, err := w.Send(paper); err != nil {
		t.Fatal(err)
	}
	other := w.Signal(1, matchertest.Child(1))
	w.Backup("backup")
	w.Advance(24 * time.Hour)
	renewed := w.Write(0, matchertest.Child(1), paper.Statement.SID, 2)
	if _, err := w.Send(renewed); err != nil {
		t.Fatal(err)
	}
	w.Advance(4 * 24 * time.Hour)
	w.Restore("backup")
	if _, err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	match := w.MatchOf(other)
	if out, err := w.Send(renewed); err != nil || !out.Created {
		t.Fatalf("sent again: %v", err)
	}
	if w.MatchOf(other).ID != match.ID || match.ID.IsZero() {
		t.Error("the match is another one")
	}
	if got := w.Told(1); slices.Contains(got, "left "+string(matchertest.Party(0))) {
		t.Errorf("told %q", got)
	}
	// Without its renewal it goes, later.
	w.Restore("backup")
	w.Advance(25 * time.Hour)
	if _, err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.Told(1); !slices.Contains(got, "left "+string(matchertest.Party(0))) {
		t.Errorf("told %q", got)
	}
	// And the renewal that comes then is still taken.
	if out, err := w.Send(renewed); err != nil || !out.Created {
		t.Errorf("sent again after the sweep: %v", err)
	}
}

// What is taken again, and what is not.
func TestWhatIsTakenAgain(t *testing.T) {
	w := matchertest.New(t, 1)
	w.KeepJournal()
	old := w.Write(0, matchertest.Child(1), api.NewSID(), 1)
	w.Advance(registry.MaxAge + 2*time.Hour)
	inQueue := w.Write(0, matchertest.Child(2), api.NewSID(), 1)
	w.Advance(registry.MaxAge - time.Hour)
	w.Backup("backup")
	w.Advance(48 * time.Hour)
	code := func(p matchertest.Paper) api.Code {
		_, err := w.Send(p)
		if err == nil {
			return ""
		}
		return api.CodeOf(err)
	}
	if got := code(inQueue); got != api.CodeIssued {
		t.Errorf("without a restore: %s", got)
	}
	w.Restore("backup")
	third := w.Write(0, matchertest.Child(3), api.NewSID(), 3)
	for what, one := range map[string]struct {
		paper matchertest.Paper
		want  api.Code
	}{
		"older_than_the_backup_can_lack": {old, api.CodeIssued},
		"issued_before_the_backup":       {inQueue, ""},
		"a_third_revision":               {third, ""},
		"a_revision_before_it":           {w.Write(0, matchertest.Child(3), third.Statement.SID, 2), api.CodeRevision},
		"one_that_leaves_one_out":        {w.Write(0, matchertest.Child(3), third.Statement.SID, 5), api.CodeRevision},
	} {
		if one.paper.Statement.SID == third.Statement.SID && what != "a_third_revision" {
			code(third) // first, whatever the order
		}
		if got := code(one.paper); got != one.want {
			t.Errorf("%s: got %q, want %q", what, got, one.want)
		}
	}
}

// After a restore the numbers of answers go on where none was given, and nobody is told
// that a match has ended of which the store may lack members.
func TestAnswersAfterARestore(t *testing.T) {
	w := matchertest.New(t, 2)
	w.KeepJournal()
	a, b := w.Signal(0, matchertest.Child(1)), w.Signal(1, matchertest.Child(1))
	w.Backup("backup")
	say := func(word api.Answer) {
		t.Helper()
		if _, err := w.Act(t.Context(), matchertest.Party(0), w.Answer(a, b, word)); err != nil {
			t.Fatal(err)
		}
	}
	say(api.AnswerWillCall)
	seen := map[api.EventID]bool{}
	for _, e := range w.Feed(1) {
		seen[e.ID] = true
	}
	w.Restore("backup")
	say(api.AnswerInContact)
	last := w.Feed(1)
	if e := last[len(last)-1]; e.Kind != api.EventAnswer || seen[e.ID] || e.Answer != api.AnswerInContact || e.Other.Rev < api.AnswerNumbers {
		t.Errorf("an answer after a restore is told as %s %s, number %d; its id came before: %v", e.Kind, e.Answer, e.Other.Rev, seen[e.ID])
	}
	w.Withdraw(b)
	if got := w.Told(0); !slices.Equal(got, []string{"joined " + string(matchertest.Party(1)), "left " + string(matchertest.Party(1))}) {
		t.Errorf("told %q", got)
	}
}

// A signal that the clock has ended since a restore, and whose renewal comes late, is told
// of anew; when it is withdrawn then, the others are told that it left, once more. A feed
// that is read from its start does not say that it left before.
func TestWhoCameBackLeavesAgain(t *testing.T) {
	w := matchertest.New(t, 2)
	w.KeepJournal()
	soon := func(st *api.Statement) { st.Expires = registry.Today(w.Now()).AddDate(0, 0, 3) }
	paper := w.Write(0, matchertest.Child(1), api.NewSID(), 1, soon)
	if _, err := w.Send(paper); err != nil {
		t.Fatal(err)
	}
	w.Signal(1, matchertest.Child(1))
	w.Backup("backup")
	renewed := w.Write(0, matchertest.Child(1), paper.Statement.SID, 2)
	if _, err := w.Send(renewed); err != nil {
		t.Fatal(err)
	}
	w.Advance(4 * 24 * time.Hour)
	w.Restore("backup")
	w.Advance(50 * time.Hour)
	if _, err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	joined, left := "joined "+string(matchertest.Party(0)), "left "+string(matchertest.Party(0))
	if got := w.Told(1); !slices.Equal(got, []string{joined, left}) {
		t.Fatalf("told %q: nothing is tried", got)
	}
	if _, err := w.Send(renewed); err != nil {
		t.Fatal(err)
	}
	if got := w.Told(1); !slices.Equal(got, []string{joined, joined}) {
		t.Errorf("who is there again is told of as %q", got)
	}
	w.Withdraw(renewed)
	if got := w.Told(1); !slices.Equal(got, []string{joined, left, joined, left}) {
		t.Errorf("told %q", got)
	}
}

// For a day a signal whose day came in the backup rests: its renewal is told to nobody, be
// it sent alone or in an import, and whatever else comes of the child. It meets nobody.
func TestASignalRests(t *testing.T) {
	joined, left := "joined "+string(matchertest.Party(0)), "left "+string(matchertest.Party(0))
	for name, c := range map[string]struct {
		meanwhile func(w *matchertest.World, other matchertest.Paper)
		late      time.Duration
		renew     func(w *matchertest.World, p matchertest.Paper) error
		want      []string // of the one who had met it
	}{
		"and_the_other_revises":  {meanwhile: func(w *matchertest.World, other matchertest.Paper) { w.Revise(other) }, want: []string{joined}},
		"and_the_other_answers":  {meanwhile: answersTheFirst, want: []string{joined}},
		"and_comes_in_an_import": {renew: inAnImport, want: []string{joined}},
		"and_the_sweep_goes":     {meanwhile: sweeps, want: []string{joined}},
		"and_is_a_day_late":      {late: 2 * time.Hour, meanwhile: sweeps, want: []string{joined, joined}},
		"and_a_third_comes": {
			meanwhile: func(w *matchertest.World, _ matchertest.Paper) { w.Signal(2, matchertest.Child(1)) },
			want:      []string{joined, "joined " + string(matchertest.Party(2)), joined},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := matchertest.New(t, 3)
			w.KeepJournal()
			soon := func(st *api.Statement) { st.Expires = registry.Today(w.Now()).AddDate(0, 0, 3) }
			paper := w.Write(0, matchertest.Child(1), api.NewSID(), 1, soon)
			if _, err := w.Send(paper); err != nil {
				t.Fatal(err)
			}
			other := w.Signal(1, matchertest.Child(1))
			w.Backup("backup")
			renewed := w.Write(0, matchertest.Child(1), paper.Statement.SID, 2)
			if _, err := w.Send(renewed); err != nil {
				t.Fatal(err)
			}
			w.Advance(4 * 24 * time.Hour)
			w.Restore("backup")
			w.Advance(23*time.Hour + c.late)
			if c.meanwhile != nil {
				c.meanwhile(w, other)
			}
			if c.late == 0 {
				for _, e := range w.Feed(2) {
					if e.Other.Party == matchertest.Party(0) {
						t.Errorf("one that rests meets somebody: %s", e.Kind)
					}
				}
				for _, e := range w.Feed(1) {
					if e.Other.Party == matchertest.Party(0) && len(e.Other.Card) > 0 {
						t.Error("one that rests shows its card")
					}
				}
			}
			if c.renew == nil {
				c.renew = func(w *matchertest.World, p matchertest.Paper) error { _, err := w.Send(p); return err }
			}
			if err := c.renew(w, renewed); err != nil {
				t.Fatal(err)
			}
			got := w.Told(1)
			if c.late == 0 {
				got = slices.DeleteFunc(got, func(told string) bool { return strings.HasPrefix(told, "card ") }) // the renewal's own
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("told %q, want %q", got, c.want)
			}
			if m := w.MatchOf(other); len(m.Members) < 2 || !slices.ContainsFunc(m.Members, func(m registry.Member) bool { return m.SID == paper.Statement.SID }) {
				t.Errorf("the match has %v", m.Members)
			}
			w.Withdraw(renewed)
			if got := w.Told(1); got[len(got)-1] != left {
				t.Errorf("at the end it is told %q", got)
			}
			if done, err := w.Check(t.Context(), func(d matcher.Difference) { t.Error(d) }); err != nil || done.Differences > 0 {
				t.Error(done, err)
			}
		})
	}
}

func sweeps(w *matchertest.World, _ matchertest.Paper) {
	if _, err := w.Sweep(context.Background()); err != nil {
		panic(err)
	}
}

// answersTheFirst has the other answer whom the feed told it of first.
func answersTheFirst(w *matchertest.World, other matchertest.Paper) {
	e := w.Feed(1)[0]
	first := matchertest.Paper{Statement: api.Statement{Party: e.Other.Party, SID: e.Other.SID}}
	if _, err := w.Act(context.Background(), other.Statement.Party, w.Answer(other, first, api.AnswerWillCall)); err != nil {
		panic(err)
	}
}

func inAnImport(w *matchertest.World, p matchertest.Paper) error {
	out, err := w.Import(context.Background(), p.Statement.Party, []api.Submission{p.Submission})
	if err == nil {
		err = out[0].Refused
	}
	return err
}
