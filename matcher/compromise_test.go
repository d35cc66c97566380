// SPDX-License-Identifier: EUPL-1.2

package matcher_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
	"github.com/seinhuis/seinhuis/registry"
)

// A robbery is a registry in which child 1 is signalled by parties 0 and 1 from before the
// second epoch opened, and by 2 and 3 after; child 2 by parties 0 and 1 from before. Then
// the keys of the first epoch are stolen.
type robbery struct {
	*matchertest.World
	lone, both, gone []matchertest.Paper
}

func newRobbery(t *testing.T) *robbery {
	t.Helper()
	r := &robbery{World: matchertest.New(t, 5)}
	r.KeepJournal()
	for p := range 2 {
		r.lone = append(r.lone, r.Signal(p, matchertest.Child(1)))
		r.gone = append(r.gone, r.Signal(p, matchertest.Child(2)))
	}
	r.OpenEpoch()
	for p := 2; p < 4; p++ {
		r.both = append(r.both, r.Signal(p, matchertest.Child(1)))
	}
	return r
}

// signals lists what a registry holds.
func (r *robbery) signals(t *testing.T) (list []registry.Signal) {
	t.Helper()
	err := r.Store.Scan(t.Context(), registry.Idx{}, func(_ registry.Idx, signals []registry.Signal, _ registry.Match) error {
		list = append(list, signals...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestCompromise says what becomes of signals when the keys of an epoch are stolen.
func TestCompromise(t *testing.T) {
	w := newRobbery(t)
	match := matches(t, w.World)[2]
	w.Backup("before")
	w.CompromiseEpoch()
	if err := w.Ready(t.Context()); !errors.Is(err, matcher.ErrCompromised) {
		t.Errorf("before the rebuild: %v", err)
	}
	_, err := w.Send(w.Write(4, matchertest.Child(1), api.NewSID(), 1))
	wantCode(t, err, api.CodeUnavailable)
	rebuild := func(want matcher.Rebuilt) {
		t.Helper()
		done, err := w.Rebuild(t.Context())
		if done.Visited, done.Readdressed = 0, 0; err != nil || done.Moved != want.Moved || done.Destroyed != want.Destroyed || done.Stripped != want.Stripped {
			t.Errorf("%+v, %v, want %+v", done, err, want)
		}
	}
	holds := func() {
		t.Helper()
		if err := w.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		list := w.signals(t)
		if len(list) != 2 {
			t.Errorf("%d signals, want 2", len(list))
		}
		for _, s := range list {
			if s.SID != w.both[0].Statement.SID && s.SID != w.both[1].Statement.SID {
				t.Error("what is lost is there")
			}
			if f, _ := s.Face(1); len(f.Card)+len(f.Keybox) > 0 {
				t.Error("a card or a keybox of the compromised epoch is there")
			}
			if f, _ := s.Face(2); len(f.Card) == 0 || len(f.Keybox) == 0 {
				t.Error("the card and keybox of the open epoch are gone")
			}
		}
	}
	rebuild(matcher.Rebuilt{Moved: 2, Destroyed: 4, Stripped: 2})
	holds()
	rebuild(matcher.Rebuilt{})
	for p := 2; p < 4; p++ {
		told := w.Told(p)
		if n := len(told); !slices.Equal(slices.Sorted(slices.Values(told[n-2:])), []string{"left " + string(matchertest.Party(0)), "left " + string(matchertest.Party(1))}) {
			t.Errorf("party %d was told %q", p, told)
		}
	}
	if now := matches(t, w.World); len(now) != 2 || now[2] != match || now[3] != match {
		t.Errorf("the others' match is another one: %v", now)
	}
	for p := range 2 { // who lost signals is told nothing more, and shown nothing of what was not delivered
		for _, e := range w.Feed(p) {
			if e.Other.Card != nil || e.Own.Signed.Signed != nil || e.Kind != api.EventJoined {
				t.Errorf("party %d is shown something of what was destroyed: %s", p, e.Kind)
			}
		}
	}
	if done, found := checked(t, w.World); len(found) > 0 || done.Tagged != 2 || done.Behind != 0 {
		t.Errorf("%+v, %q", done, found)
	}
	logged := 0
	for _, l := range leaves(t, w.World) {
		for _, lost := range append(slices.Clone(w.lone), w.gone...) {
			if l == line("signal.compromise", lost.Statement.Party, lost.Statement.SID) {
				logged++
			}
		}
	}
	if logged != 4 {
		t.Errorf("%d leaves tell of it, want 4", logged)
	}

	// What was said of the lost ones before.
	for _, lost := range w.lone {
		_, err := w.Act(t.Context(), lost.Statement.Party, w.Withdrawal(lost))
		wantCode(t, err, api.CodeGone)
		_, err = w.Send(lost)
		wantCode(t, err, api.CodeEpoch)
	}
	// A revision by which the tag goes too, and the lost ones made anew.
	for _, p := range w.both {
		w.Revise(p)
	}
	if done, _ := checked(t, w.World); done.Tagged != 0 {
		t.Errorf("tags of the compromised epoch: %d", done.Tagged)
	}
	before := len(w.Feed(2))
	for p := range 2 {
		w.Signal(p, matchertest.Child(1))
		w.Signal(p, matchertest.Child(2))
	}
	if told := w.Told(2)[before:]; !slices.Equal(told, []string{"joined " + string(matchertest.Party(0)), "joined " + string(matchertest.Party(1))}) {
		t.Errorf("party 2 was told %q of those who came back", told)
	}
	if now := matches(t, w.World); len(now) != 4 || now[2] != match {
		t.Errorf("matches after all came back: %v", now)
	}
	if _, found := checked(t, w.World); len(found) > 0 {
		t.Errorf("%q", found)
	}

	// A backup of before has everything, and nothing of it comes back.
	compromised := w.Manifest
	w.Restore("before")
	for _, s := range w.signals(t) {
		if compromised.Lost([]uint64{s.Faces[len(s.Faces)-1].Epoch}) {
			t.Error("the journal did not keep what was destroyed from coming back")
		}
	}
	if err := w.Ready(t.Context()); !errors.Is(err, matcher.ErrCompromised) {
		t.Errorf("the restored store is served: %v", err)
	}
	rebuild(matcher.Rebuilt{Moved: 2, Stripped: 2})
	holds()
	for _, p := range append(slices.Clone(w.both), w.lone...) { // as they were sent, with a face of the compromised epoch
		paper := p
		paper.Statement.SID = api.NewSID()
		_, err := w.Send(w.Write(4, matchertest.Child(3), api.NewSID(), 1, func(s *api.Statement) { s.Faces = paper.Statement.Faces }))
		wantCode(t, err, api.CodeEpoch)
	}
}

// Keys of an epoch that is not in force yet can be stolen as well: nobody is lost, and
// everybody loses the face there.
func TestCompromiseOfTheNewerEpoch(t *testing.T) {
	w := newRobbery(t)
	epochs := slices.Clone(w.Manifest.Epochs)
	epochs[1].State = "compromised"
	next := *w.Manifest
	next.Epochs = epochs
	w.Manifest = &next
	if err := w.Ready(t.Context()); !errors.Is(err, matcher.ErrCompromised) {
		t.Errorf("before the rebuild: %v", err)
	}
	if done, err := w.Rebuild(t.Context()); err != nil || done.Destroyed+done.Moved != 0 || done.Stripped != 2 {
		t.Errorf("%+v, %v", done, err)
	}
	if err := w.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	for _, s := range w.signals(t) {
		if f, _ := s.Face(2); len(f.Card) > 0 {
			t.Error("a card of the compromised epoch is there")
		}
	}
	if done, found := checked(t, w.World); len(found) > 0 || done.Signals != 6 {
		t.Errorf("%+v, %q", done, found)
	}
}
