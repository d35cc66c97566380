// SPDX-License-Identifier: EUPL-1.2

package matcher_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
	"github.com/seinhuis/seinhuis/registry"
)

func checked(t *testing.T, w *matchertest.World) (matcher.Checked, []string) {
	t.Helper()
	var found []string
	done, err := w.Check(t.Context(), func(d matcher.Difference) { found = append(found, d.What) })
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return done, slices.Compact(found)
}

func stored(p matchertest.Paper) registry.Signal {
	return registry.Signal{Statement: p.Statement, Signed: p.Submission.Signed, Sealed: p.Submission.Faces}
}

// plant stores a signal past the rules, with the leaf that belongs to it.
func plant(tx registry.Tx, p matchertest.Paper) error {
	leaf, err := audit.NewLeaf(audit.Record{
		Event: "signal.register", Action: audit.Create, Outcome: audit.Success, Time: p.Statement.Issued, System: "registry",
	})
	if err != nil {
		return err
	}
	s := stored(p)
	s.Granted.Leaf = leaf.Hash()
	return errors.Join(tx.Log(leaf), tx.PutSignal(s))
}

// A store whose log has lost a leaf that a receipt names is not sound.
func TestCheckFindsALostLeaf(t *testing.T) {
	w := matchertest.New(t, 2)
	paper := w.Signal(0, matchertest.Child(1))
	err := w.Store.Update(t.Context(), w.Keys.Idx(1, matchertest.Child(1)), func(tx registry.Tx) error {
		s, err := tx.Signals()
		s[0].Granted.Leaf[0] ^= 1
		return errors.Join(err, tx.PutSignal(s[0]))
	})
	if _, found := checked(t, w); err != nil || !slices.Equal(found, []string{matcher.LeafLost}) {
		t.Errorf("the leaf of %s: %v, %q", paper.Statement.SID, err, found)
	}
}

// One who has expired and is not swept yet still stands in the match: a store is sound
// before its sweep as after it.
func TestCheckBeforeTheSweep(t *testing.T) {
	w := matchertest.New(t, 2)
	w.Signal(0, matchertest.Child(1))
	paper := w.Write(1, matchertest.Child(1), api.NewSID(), 1, func(s *api.Statement) {
		s.Expires = registry.Today(w.Now()).AddDate(0, 0, 1)
	})
	if _, err := w.Send(paper); err != nil {
		t.Fatal(err)
	}
	w.Advance(24 * time.Hour)
	if done, found := checked(t, w); done.Signals != 1 || done.Pairs != 0 || len(found) > 0 {
		t.Errorf("%+v, %q", done, found)
	}
}

// TestCheckFindsAndRebuildMends plants each kind of damage in a store.
func TestCheckFindsAndRebuildMends(t *testing.T) {
	tag := matchertest.Child(1)
	member := func(p matchertest.Paper) registry.Member {
		return registry.Member{Party: p.Statement.Party, SID: p.Statement.SID}
	}
	for _, c := range []struct {
		name  string
		plant func(w *matchertest.World, tx registry.Tx, a, b matchertest.Paper) error
		want  []string
	}{
		{"nothing", func(*matchertest.World, registry.Tx, matchertest.Paper, matchertest.Paper) error { return nil }, nil},
		{"match_lost", func(_ *matchertest.World, tx registry.Tx, a, b matchertest.Paper) error {
			return tx.PutMatch(registry.Match{})
		}, []string{matcher.NotMatched}},
		{"ghost_in_match", func(_ *matchertest.World, tx registry.Tx, a, b matchertest.Paper) error {
			m, err := tx.Match()
			if err != nil {
				return err
			}
			m.Members = append(m.Members, registry.Member{Party: matchertest.Party(2), SID: api.NewSID()})
			return tx.PutMatch(m)
		}, []string{matcher.MatchedWrong}},
		{"signal_put_past_the_rules", func(w *matchertest.World, tx registry.Tx, a, b matchertest.Paper) error {
			return plant(tx, w.Write(2, tag, api.NewSID(), 1))
		}, []string{matcher.NotTold, matcher.NotMatched}},
		{"told_to_nobody", func(w *matchertest.World, tx registry.Tx, a, b matchertest.Paper) error {
			third := w.Write(2, tag, api.NewSID(), 1)
			m, err := tx.Match()
			if err != nil {
				return err
			}
			m.Members = append(m.Members, member(third))
			if err := plant(tx, third); err != nil {
				return err
			}
			return tx.PutMatch(m)
		}, []string{matcher.NotTold}},
		{"signal_lost", func(_ *matchertest.World, tx registry.Tx, a, b matchertest.Paper) error {
			return tx.EndSignal(stored(a), registry.Tombstone{Rev: 1, Until: a.Statement.Expires})
		}, []string{matcher.MatchedWrong}},
		{"strangers_party_with_a_members_sid", func(_ *matchertest.World, tx registry.Tx, a, _ matchertest.Paper) error {
			m, err := tx.Match()
			if err != nil {
				return err
			}
			m.Members = append(m.Members, registry.Member{Party: matchertest.Party(2), SID: a.Statement.SID})
			return tx.PutMatch(m)
		}, []string{matcher.MatchedWrong}},
		{"member_twice", func(_ *matchertest.World, tx registry.Tx, _, _ matchertest.Paper) error {
			m, err := tx.Match()
			if err != nil {
				return err
			}
			m.Members = append(m.Members, m.Members[1])
			return tx.PutMatch(m)
		}, []string{matcher.MatchedWrong}},
		{"one_side_is_not_told", func(w *matchertest.World, tx registry.Tx, a, b matchertest.Paper) error {
			third := w.Write(2, tag, api.NewSID(), 1)
			m, err := tx.Match()
			if err != nil {
				return err
			}
			m.Members = append(m.Members, member(third))
			err = errors.Join(plant(tx, third), tx.PutMatch(m))
			for _, pair := range [][2]registry.Member{{member(a), member(third)}, {member(b), member(third)}, {member(third), member(a)}} {
				id, _ := api.EventIDOf(pair[0].Party, pair[0].SID, pair[1].Party, pair[1].SID, api.EventJoined, 1)
				err = errors.Join(err, tx.Emit(registry.Event{
					ID: id, Kind: api.EventJoined, Match: m.ID, Epoch: 1, Idx: w.Keys.Idx(1, tag), Recipient: pair[0], Other: pair[1], Rev: 1,
				}, registry.Today(w.Now()).AddDate(20, 0, 0)))
			}
			return err
		}, []string{matcher.NotTold}},
		{"signal_under_another_child", func(w *matchertest.World, tx registry.Tx, a, b matchertest.Paper) error {
			return plant(tx, w.Write(2, matchertest.Child(9), api.NewSID(), 1))
		}, []string{matcher.Misplaced}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := matchertest.New(t, 3)
			a, b := w.Signal(0, tag), w.Signal(1, tag)
			w.Signal(0, matchertest.Child(2))
			err := w.Store.Update(t.Context(), w.Keys.Idx(1, tag), func(tx registry.Tx) error { return c.plant(w, tx, a, b) })
			if err != nil {
				t.Fatal(err)
			}
			done, found := checked(t, w)
			if !slices.Equal(found, c.want) || (done.Differences > 0) != (len(c.want) > 0) {
				t.Errorf("found %q, want %q", found, c.want)
			}
			before := len(w.Feed(0))
			if _, err := w.Rebuild(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, found := checked(t, w); len(found) > 0 {
				t.Errorf("after a rebuild there is still %q", found)
			}
			if c.want == nil && len(w.Feed(0)) != before {
				t.Error("a rebuild of a sound store told somebody something")
			}
		})
	}
}

func TestCheckOfASoundStore(t *testing.T) {
	w := matchertest.New(t, 4)
	for child := range 30 {
		for p := range 1 + child%4 {
			paper := w.Signal(p, matchertest.Child(child))
			switch {
			case child%5 == 0:
				if _, err := w.Send(w.Write(p, matchertest.Child(child), paper.Statement.SID, 2)); err != nil {
					t.Fatal(err)
				}
			case child%7 == 3:
				w.Withdraw(paper)
			}
		}
	}
	done, found := checked(t, w)
	if len(found) > 0 || done.Signals == 0 || done.Matches == 0 || done.Pairs <= done.Matches {
		t.Errorf("%+v, %q", done, found)
	}
	w.Feed(0) // acknowledged and trimmed events were told all the same
	if _, err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, found := checked(t, w); len(found) > 0 {
		t.Errorf("after a trim: %q", found)
	}
	// What has expired and is not swept is no difference.
	w.SetClock(w.Now().AddDate(2, 0, 0))
	if done, found := checked(t, w); len(found) > 0 || done.Signals != 0 {
		t.Errorf("%d live signals, %q", done.Signals, found)
	}
}
