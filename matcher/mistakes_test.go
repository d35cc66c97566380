// SPDX-License-Identifier: EUPL-1.2

package matcher_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
	"github.com/seinhuis/seinhuis/registry"
)

// Mistakes of parties: in the next epoch, a tag of another child.

func send(t *testing.T, w *matchertest.World, p matchertest.Paper) matchertest.Paper {
	t.Helper()
	if _, err := w.Send(p); err != nil {
		t.Fatal(err)
	}
	return p
}

func closeEpoch(t *testing.T, w *matchertest.World) {
	t.Helper()
	w.CloseEpoch()
	if _, err := w.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, found := checked(t, w); len(found) > 0 {
		t.Errorf("after the rebuild: %q", found)
	}
}

// A party took one child for two, and they become one: the signal that stays is the
// one that lasts.
func TestTheLongerOfTwoSignalsStays(t *testing.T) {
	for n := range 8 { // either idx may come first
		w := matchertest.New(t, 2)
		w.OpenEpoch()
		for i, days := range []int{300, 2} {
			send(t, w, w.Write(0, matchertest.Child(10*n+i), api.NewSID(), 1, func(s *api.Statement) {
				s.Faces[1].Tag = matchertest.TagIn(2, matchertest.Child(999))
				s.Expires = registry.Today(w.Now()).AddDate(0, 0, days)
			}))
		}
		closeEpoch(t, w)
		w.Advance(72 * time.Hour)
		w.Signal(1, matchertest.Child(999))
		if len(w.Feed(1)) != 1 || len(w.Feed(0)) != 1 {
			t.Fatalf("the third day's match was told %q and %q", w.Told(0), w.Told(1))
		}
	}
}

// Three idxs become one: 0 and 1 matched, 2 and 3 matched, and 3 once more. 2 is told
// that 3's first signal ended, whichever commits they come in.
func TestWhoStaysIsToldOfAMergedSignal(t *testing.T) {
	for _, batch := range []int{1, 500} {
		restore := matcher.SetRebuildBatch(batch)
		w := matchertest.New(t, 4)
		w.OpenEpoch()
		at := func(c int) registry.Idx { return w.Keys.Idx(1, matchertest.Child(c)) }
		children := []int{1, 2, 3}
		slices.SortFunc(children, func(a, b int) int { x, y := at(a), at(b); return bytes.Compare(x[:], y[:]) })
		put := func(p, child int) matchertest.Paper {
			return send(t, w, w.Write(p, matchertest.Child(child), api.NewSID(), 1, func(s *api.Statement) {
				s.Faces[1].Tag = matchertest.TagIn(2, matchertest.Child(9))
			}))
		}
		put(0, children[0])
		put(1, children[0])
		put(2, children[1])
		gone := put(3, children[1])
		put(3, children[2])
		closeEpoch(t, w)
		restore()
		if !slices.ContainsFunc(w.Feed(2), func(e api.Event) bool { return e.Kind == api.EventLeft && e.Other.SID == gone.Statement.SID }) {
			t.Errorf("in commits of %d: 2 was told %q", batch, w.Told(2))
		}
	}
}

// Together in one epoch, apart by a mistake in the next, and together again: the
// second time is told too.
func TestAPairThatMeetsAgainIsTold(t *testing.T) {
	w := matchertest.New(t, 2)
	mistake := func(face int) func(*api.Statement) {
		return func(s *api.Statement) { s.Faces[face].Tag = matchertest.TagIn(2, matchertest.Child(9)) }
	}
	w.OpenEpoch()
	a := w.Signal(0, matchertest.Child(1))
	b := send(t, w, w.Write(1, matchertest.Child(1), api.NewSID(), 1, mistake(1)))
	closeEpoch(t, w)
	w.OpenEpoch()
	send(t, w, w.Write(0, matchertest.Child(1), a.Statement.SID, 2))
	send(t, w, w.Write(1, matchertest.Child(1), b.Statement.SID, 2, mistake(0)))
	closeEpoch(t, w)
	for p := range 2 {
		if told := w.Told(p); told[len(told)-1] != "joined "+string(matchertest.Party(1-p)) {
			t.Errorf("party %d heard last %q", p, told)
		}
	}
}

// What stands in a wrong place is never out of the store: not when the commit that
// takes it away is the last before a rebuild is stopped.
func TestAStoppedRebuildLosesNoMisplacedSignal(t *testing.T) {
	defer matcher.SetRebuildBatch(1)()
	children := []int{1, 2, 3}
	for stop := range 3 {
		w := matchertest.New(t, 2)
		at := func(c int) registry.Idx { return w.Keys.Idx(1, matchertest.Child(c)) }
		slices.SortFunc(children, func(a, b int) int { x, y := at(a), at(b); return bytes.Compare(x[:], y[:]) })
		// One stands under the middle and belongs under the last; another stands under
		// the first and belongs under the middle.
		for p, c := range []struct{ stands, belongs int }{{children[1], children[2]}, {children[0], children[1]}} {
			paper := w.Write(p, matchertest.Child(c.belongs), api.NewSID(), 1)
			if err := w.Store.Update(t.Context(), at(c.stands), func(tx registry.Tx) error { return plant(tx, paper) }); err != nil {
				t.Fatal(err)
			}
		}
		before, _ := checked(t, w)
		real := w.Store
		w.Store = &stopped{real, stop}
		_, err := w.Rebuild(t.Context())
		w.Store = real
		if after, _ := checked(t, w); before.Signals != 2 || after.Signals != 2 {
			t.Errorf("stopped after %d commits (%v): %d signals before, %d after", stop, err, before.Signals, after.Signals)
		}
		if _, err := w.Rebuild(t.Context()); err != nil {
			t.Fatal(err)
		}
		if after, found := checked(t, w); after.Signals != 2 || len(found) > 0 {
			t.Errorf("rebuilt after %d commits: %d signals, %q", stop, after.Signals, found)
		}
	}
}

// stopped is a store after whose next commits everything fails.
type stopped struct {
	registry.Store
	after int
}

func (s *stopped) UpdateAll(ctx context.Context, idxs []registry.Idx, fn func(registry.Idx, registry.Tx) error) error {
	if s.after--; s.after < 0 {
		return errors.New("stopped")
	}
	return s.Store.UpdateAll(ctx, idxs, fn)
}

// The manifest can change while a signal is taken: one that closes an epoch lets
// nothing in past a store that is of that epoch.
func TestOneManifestForAllOfASubmission(t *testing.T) {
	for name, take := range map[string]func(*matchertest.World, matchertest.Paper) error{
		"submit": func(w *matchertest.World, p matchertest.Paper) error { _, err := w.Send(p); return err },
		"import": func(w *matchertest.World, p matchertest.Paper) error {
			out, err := w.Import(t.Context(), p.Statement.Party, []api.Submission{p.Submission})
			if err == nil {
				err = out[0].Refused
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := matchertest.New(t, 2)
			w.OpenEpoch()
			w.Signal(0, matchertest.Child(1))
			old := w.Manifest
			w.CloseEpoch()
			closed := w.Manifest
			paper := w.Write(1, matchertest.Child(1), api.NewSID(), 1)
			first := true
			w.Trust = func() (*manifest.Manifest, *manifest.Directory) {
				if first {
					first = false
					return old, w.Directory
				}
				return closed, w.Directory
			}
			if err := take(w, paper); err == nil {
				t.Error("it was taken, and meets nobody")
			}
			if done, found := checked(t, w); done.Signals != 1 || len(found) > 0 {
				t.Errorf("%d signals, %q", done.Signals, found)
			}
		})
	}
}

// Some import the same children side by side, while others send them one by one.
func TestManyOfTheSameChildrenSideBySide(t *testing.T) {
	for _, ingest := range []int{0, 1} {
		const parties, children = 6, 16
		w := matchertest.New(t, parties)
		w.Ingest = ingest
		w.Reopen()
		var g errgroup.Group
		for p := range parties {
			var subs []api.Submission
			for c := range children {
				subs = append(subs, w.Write(p, matchertest.Child(c), api.NewSID(), 1).Submission)
			}
			g.Go(func() error {
				if p%3 > 0 {
					_, err := w.Import(t.Context(), matchertest.Party(p), subs)
					return err
				}
				for _, s := range subs {
					if _, err := w.Submit(t.Context(), matchertest.Party(p), s); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		implied(t, w)
		if done, found := checked(t, w); len(found) > 0 || done.Pairs != children*parties*(parties-1)/2 {
			t.Errorf("%+v %q", done, found)
		}
		for p := range parties {
			if got := len(w.Feed(p)); got != children*(parties-1) {
				t.Errorf("party %d: %d events, want %d", p, got, children*(parties-1))
			}
		}
	}
}
