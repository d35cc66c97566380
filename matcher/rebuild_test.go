// SPDX-License-Identifier: EUPL-1.2

package matcher_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/disk/disktest"
	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/soak"
)

// rebuiltOn opens a world's store on a disk, rebuilds it, and gives pictures of the
// disk meanwhile.
func rebuiltOn(t *testing.T, w *matchertest.World, disk *vfs.MemFS, rng *rand.Rand) []*vfs.MemFS {
	t.Helper()
	c := disktest.NewCamera(disk, rng)
	w.Open(c)
	c.Turn(true)
	_, err := w.Rebuild(t.Context())
	c.Turn(false)
	if err != nil {
		t.Fatal(err)
	}
	return c.Pictures()
}

// written is all of a store that anybody can see, in lines.
func written(t *testing.T, w *matchertest.World, parties int) []string {
	t.Helper()
	var lines []string
	err := w.Store.Scan(t.Context(), registry.Idx{}, func(idx registry.Idx, signals []registry.Signal, match registry.Match) error {
		for _, s := range signals {
			epoch := w.Keys.EpochAt(idx, s.Statement)
			lines = append(lines, fmt.Sprintf("%x in epoch %d: %s %s %d", sha256.Sum256(idx[:]), epoch, s.Party, s.SID, s.Rev))
		}
		for _, m := range match.Members {
			lines = append(lines, fmt.Sprintf("%x has match %s: %s %s", sha256.Sum256(idx[:]), match.ID, m.Party, m.SID))
		}
		for _, a := range match.Answers {
			lines = append(lines, fmt.Sprintf("%x has answer %d of %s to %s: %s, by %v", sha256.Sum256(idx[:]), a.Number, a.From.SID, a.To.SID, a.Word, a.Taken))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for p := range parties {
		for _, e := range w.Feed(p) {
			lines = append(lines, fmt.Sprintf("party %d, own %s: %s %s of epoch %d in %s about %s %s %d: %x %x %s", p, e.Own.SID, e.ID, e.Kind, e.Epoch,
				e.Match, e.Other.Party, e.Other.SID, e.Other.Rev, sha256.Sum256(e.Other.Card), sha256.Sum256(e.Own.Keybox), e.Answer))
		}
	}
	slices.Sort(lines)
	return lines
}

// TestRow2Rebuild switches the epoch of a store with signals of every
// kind, loses power at every sync, goes on, loses power again, and goes on: it all
// comes to the same as a rebuild that nothing disturbed.
func TestRow2Rebuild(t *testing.T) {
	soak.Row(t, 2, "power lost at every sync of a rebuild", 2, func(t *testing.T, seed uint64) soak.Found {
		return losePowerRebuilding(t, seed, false)
	})
}

// TestRow2Compromise does so where the keys of the epoch are stolen: signals without a face
// in the other are destroyed.
func TestRow2Compromise(t *testing.T) {
	soak.Row(t, 2, "power lost at every sync of the closing of a compromised epoch", 2, func(t *testing.T, seed uint64) soak.Found {
		return losePowerRebuilding(t, seed, true)
	})
}

func losePowerRebuilding(t *testing.T, seed uint64, stolen bool) soak.Found {
	const parties, children = 5, 10
	defer matcher.SetRebuildBatch(2)()
	cryptotest.SetGlobalRandom(t, seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	w := matchertest.New(t, parties)
	w.Ingest = int(seed % 2)
	w.Store.Close()
	disk := vfs.NewCrashableMem()
	w.Open(disk)
	one := w.Manifest
	w.OpenEpoch()
	two := w.Manifest
	for child := range children {
		var here []matchertest.Paper
		for p := range 1 + child%parties {
			days := 300
			if (child+p)%6 == 5 {
				days = 1
			}
			if stolen && (child+2*p)%3 == 0 { // as if it had come before the other epoch opened
				w.Manifest = one
			} else {
				w.Manifest = two
			}
			paper := w.Write(p, matchertest.Child(child), api.NewSID(), 1, func(s *api.Statement) {
				s.Expires = registry.Today(w.Now()).AddDate(0, 0, days)
			})
			if _, err := w.Send(paper); err != nil {
				t.Fatal(err)
			}
			switch (child + 2*p) % 7 {
			case 3:
				w.Withdraw(paper)
			case 4:
				if _, err := w.Send(w.Write(p, matchertest.Child(child), paper.Statement.SID, 2)); err != nil {
					t.Fatal(err)
				}
			default:
				for _, other := range here {
					answer(t, w, paper, other, api.AnswerWillCall)
				}
				here = append(here, paper)
			}
		}
	}
	// A party has read some, and what it has read is gone.
	_, last, err := w.Store.Events(t.Context(), matchertest.Party(0), 0, 5)
	if err != nil {
		t.Fatal(err)
	}
	w.Store.Acknowledge(matchertest.Party(0), last)
	if _, err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Advance(48 * time.Hour) // some have expired, and nobody has swept
	if w.Manifest = two; stolen {
		w.CompromiseEpoch()
	} else {
		w.CloseEpoch()
	}
	if err := w.Store.Close(); err != nil {
		t.Fatal(err)
	}

	before := disk.CrashClone(vfs.CrashCloneCfg{})
	pictures := rebuiltOn(t, w, disk, rng)
	want := written(t, w, parties)
	if len(pictures) < 15 || len(want) < 50 {
		t.Fatalf("%d pictures, %d lines", len(pictures), len(want))
	}
	w.Store.Close()
	half, tried := 0, 0
	for i, picture := range append(pictures, before) {
		if soak.Race && i%8 > 0 { // all of them without it
			continue
		}
		tried++
		w.Open(picture)
		at, err := w.Store.Epoch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, found := checked(t, w)
		switch ready := w.Ready(t.Context()); {
		case ready == nil && (at.Number != 2 || len(found) > 0):
			t.Errorf("picture %d: half of a store would be served: %q", i, found)
		case ready != nil && !errors.Is(ready, matcher.ErrOtherEpoch) && !errors.Is(ready, matcher.ErrCompromised):
			t.Error(ready)
		case ready != nil && len(found) > 0:
			half++
		}
		w.Store.Close()
		again := rebuiltOn(t, w, picture, rng)
		w.Store.Close()
		w.Open(again[rng.IntN(len(again))])
		if _, err := w.Rebuild(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := written(t, w, parties); !slices.Equal(got, want) {
			t.Errorf("picture %d: %d lines, want %d", i, len(got), len(want))
			for _, line := range got {
				if !slices.Contains(want, line) {
					t.Log("+ ", line)
				}
			}
			for _, line := range want {
				if !slices.Contains(got, line) {
					t.Log("- ", line)
				}
			}
		}
		if _, found := checked(t, w); len(found) > 0 {
			t.Errorf("picture %d: %q", i, found)
		}
		w.Store.Close()
		if t.Failed() {
			break
		}
	}
	if half == 0 && !soak.Race {
		t.Error("no picture shows a store that is half moved")
	}
	w.Open(vfs.NewMem()) // for the cleanup to close
	return soak.Found{"power losses": 2 * tried, "half moved": half}
}

// TestRebuildKeepsTheMatch says what parties see of a switch: nothing.
func TestRebuildKeepsTheMatch(t *testing.T) {
	w := matchertest.New(t, 3)
	w.OpenEpoch()
	a, b := w.Signal(0, matchertest.Child(1)), w.Signal(1, matchertest.Child(1))
	w.Signal(2, matchertest.Child(2))
	was := w.Feed(0)[0]
	w.CloseEpoch()
	done, err := w.Rebuild(t.Context())
	if err != nil || done.Visited != 2 || done.Moved != 3 || done.Readdressed != 2 || done.Behind != nil {
		t.Errorf("%+v, %v", done, err)
	}
	if done, err := w.Rebuild(t.Context()); err != nil || done.Moved+done.Readdressed > 0 {
		t.Errorf("again: %+v, %v", done, err)
	}
	is := w.Feed(0)
	if len(is) != 1 || is[0].ID != was.ID || is[0].Match != was.Match || is[0].Epoch != 2 ||
		!bytes.Equal(is[0].Other.Card, b.Submission.Faces[1].Card) || !bytes.Equal(is[0].Own.Keybox, a.Submission.Faces[1].Keybox) {
		t.Error("what was not delivered before the switch does not come as it should after it")
	}
	c := w.Signal(2, matchertest.Child(1))
	wantTold(t, w, 0, "joined "+string(matchertest.Party(1)), "joined "+string(matchertest.Party(2)))
	if e := w.Feed(2)[0]; e.Match != was.Match || e.Epoch != 2 || e.Other.Card == nil {
		t.Error("the third joined another match")
	}
	w.Withdraw(a)
	w.Withdraw(c)
	wantTold(t, w, 1, "joined "+string(matchertest.Party(0)), "joined "+string(matchertest.Party(2)),
		"left "+string(matchertest.Party(0)), "left "+string(matchertest.Party(2)), "ended "+string(matchertest.Party(2)))
	if _, found := checked(t, w); len(found) > 0 {
		t.Errorf("%q", found)
	}
}

// TestRebuildOfAMistakenTag has parties whose tags of the two epochs are of
// different children.
func TestRebuildOfAMistakenTag(t *testing.T) {
	type ints = []int
	party := func(kind string, p int) string { return kind + " " + string(matchertest.Party(p)) }
	for _, c := range []struct {
		name     string
		old, new ints             // child of party 0, 1, …, in either epoch; later ones of one party follow at 4
		told     map[int][]string // after the switch
		match    ints             // the parties that keep the match
	}{
		{"one_goes_elsewhere", ints{1, 1, 1}, ints{1, 1, 2}, map[int][]string{
			0: {party("left", 2)}, 1: {party("left", 2)}, 2: {party("left", 0), party("left", 1), party("ended", 1)},
		}, ints{0, 1}},
		{"two_and_two", ints{1, 1, 1, 1}, ints{2, 2, 3, 3}, map[int][]string{
			0: {party("left", 2), party("left", 3)}, 1: {party("left", 2), party("left", 3)},
			2: {party("left", 0), party("left", 1)}, 3: {party("left", 0), party("left", 1)},
		}, nil},
		{"all_alone", ints{1, 1}, ints{2, 3}, map[int][]string{
			0: {party("left", 1), party("ended", 1)}, 1: {party("left", 0), party("ended", 0)},
		}, nil},
		{"lone_ones_meet", ints{1, 2}, ints{3, 3}, map[int][]string{0: {party("joined", 1)}, 1: {party("joined", 0)}}, nil},
		{"one_joins_a_match", ints{1, 1, 2}, ints{1, 1, 1}, map[int][]string{
			0: {party("joined", 2)}, 1: {party("joined", 2)}, 2: {party("joined", 0), party("joined", 1)},
		}, ints{0, 1, 2}},
		{"two_matches_meet", ints{1, 1, 2, 2}, ints{3, 3, 3, 3}, map[int][]string{
			0: {party("joined", 2), party("joined", 3)}, 1: {party("joined", 2), party("joined", 3)},
			2: {party("joined", 0), party("joined", 1)}, 3: {party("joined", 0), party("joined", 1)},
		}, nil},
		{"swapped", ints{1, 1, 2, 2}, ints{1, 2, 2, 1}, map[int][]string{
			0: {party("left", 1), party("ended", 1), party("joined", 3)}, 1: {party("left", 0), party("ended", 0), party("joined", 2)},
			2: {party("left", 3), party("ended", 3), party("joined", 1)}, 3: {party("left", 2), party("ended", 2), party("joined", 0)},
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, batch := range []int{1, 500} {
				restore := matcher.SetRebuildBatch(batch)
				w := matchertest.New(t, len(c.old))
				w.OpenEpoch()
				for p := range c.old {
					tag := matchertest.TagIn(2, matchertest.Child(c.new[p]))
					first := w.Write(p, matchertest.Child(c.old[p]), api.NewSID(), 1, func(s *api.Statement) { s.Faces[1].Tag = tag })
					second := w.Write(p, matchertest.Child(c.old[p]), first.Statement.SID, 2, func(s *api.Statement) { s.Faces[1].Tag = tag })
					for _, paper := range []matchertest.Paper{first, second} { // so that others were told under more than one revision
						if _, err := w.Send(paper); err != nil {
							t.Fatal(err)
						}
					}
				}
				match := matches(t, w)
				before := make(map[int]int)
				for p := range c.old {
					before[p] = len(w.Feed(p))
				}
				w.CloseEpoch()
				_, err := w.Rebuild(t.Context())
				restore()
				if err != nil {
					t.Fatal(err)
				}
				for p := range c.old {
					want := slices.Sorted(slices.Values(c.told[p]))
					if got := slices.Sorted(slices.Values(w.Told(p)[before[p]:])); !slices.Equal(got, want) {
						t.Errorf("party %d was told %q, want %q", p, got, want)
					}
				}
				now := matches(t, w)
				for _, p := range c.match {
					if now[p] != match[c.match[0]] {
						t.Errorf("party %d is no longer in the match", p)
					}
				}
				for p, id := range now {
					for q, other := range now {
						if same := c.new[p] == c.new[q]; same != (id == other) {
							t.Errorf("parties %d and %d are in one match: %v, want %v", p, q, !same, same)
						}
					}
				}
				implied(t, w)
				if _, found := checked(t, w); len(found) > 0 {
					t.Errorf("%q", found)
				}
			}
		})
	}
}

// matches tells in which match each party is that is in one.
func matches(t *testing.T, w *matchertest.World) map[int]api.MatchID {
	t.Helper()
	in := make(map[int]api.MatchID)
	err := w.Store.Scan(t.Context(), registry.Idx{}, func(_ registry.Idx, _ []registry.Signal, m registry.Match) error {
		for _, member := range m.Members {
			for p := range 10 {
				if member.Party == matchertest.Party(p) {
					in[p] = m.ID
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// A party that took one child for two has one signal of it in the new epoch; the
// other has ended.
func TestRebuildOfOneChildTakenForTwo(t *testing.T) {
	w := matchertest.New(t, 3)
	w.OpenEpoch()
	papers := make(map[api.SID]matchertest.Paper)
	for child := range 2 {
		paper := w.Write(0, matchertest.Child(child), api.NewSID(), 1, func(s *api.Statement) {
			s.Faces[1].Tag = matchertest.TagIn(2, matchertest.Child(9))
		})
		papers[paper.Statement.SID] = paper
		if _, err := w.Send(paper); err != nil {
			t.Fatal(err)
		}
	}
	w.Signal(1, matchertest.Child(9))
	w.CloseEpoch()
	if _, err := w.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	events := w.Feed(1)
	if len(events) == 0 {
		t.Fatal("nobody was told")
	}
	stands := events[len(events)-1].Other.SID
	if done, found := checked(t, w); len(found) > 0 || done.Signals != 2 || done.Matches != 1 || papers[stands].Statement.Rev == 0 {
		t.Errorf("%+v, %q", done, found)
	}
	for sid, paper := range papers {
		_, err := w.Act(t.Context(), matchertest.Party(0), w.Withdrawal(paper))
		if sid == stands && err != nil || sid != stands && api.CodeOf(err) != api.CodeGone {
			t.Errorf("stands %v, withdrawn: %v", sid == stands, err)
		}
	}
}

// TestRebuildRefusesWhatIsBehind has signals without a face in the epoch that would
// be in force: nothing is changed, and once they have ended it goes on.
func TestRebuildRefusesWhatIsBehind(t *testing.T) {
	w := matchertest.New(t, 3)
	lone := w.Signal(0, matchertest.Child(1))
	for child := range 3 {
		if _, err := w.Send(w.Write(1, matchertest.Child(child), api.NewSID(), 1, func(s *api.Statement) {
			s.Expires = registry.Today(w.Now()).AddDate(0, 0, 3)
		})); err != nil {
			t.Fatal(err)
		}
	}
	w.OpenEpoch()
	w.Signal(2, matchertest.Child(1))
	if done, found := checked(t, w); done.Behind != 4 || len(found) > 0 {
		t.Errorf("%+v, %q", done, found)
	}
	if _, err := w.Send(w.Write(0, matchertest.Child(1), lone.Statement.SID, 2)); err != nil {
		t.Fatal(err)
	}
	w.CloseEpoch()
	before := written(t, w, 3)
	done, err := w.Rebuild(t.Context())
	if !errors.Is(err, matcher.ErrBehind) || !maps.Equal(done.Behind, map[api.PartyID]int{matchertest.Party(1): 3}) || done.Visited+done.Moved > 0 {
		t.Errorf("%+v, %v", done, err)
	}
	if after := written(t, w, 3); !slices.Equal(before, after) {
		t.Error("something was changed")
	}
	if err := w.Ready(t.Context()); !errors.Is(err, matcher.ErrOtherEpoch) {
		t.Error(err)
	}
	w.Advance(72 * time.Hour)
	if _, err := w.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantTold(t, w, 2, "joined "+string(matchertest.Party(0)), "joined "+string(matchertest.Party(1)),
		"card "+string(matchertest.Party(0)), "left "+string(matchertest.Party(1)))
	if done, found := checked(t, w); done.Signals != 2 || len(found) > 0 {
		t.Errorf("%+v, %q", done, found)
	}
}

// TestWhatWasSaidBeforeTheSwitch sends what parties had signed, or had sent without
// an answer, before the epoch changed.
func TestWhatWasSaidBeforeTheSwitch(t *testing.T) {
	w := matchertest.New(t, 2)
	w.OpenEpoch()
	stands, ended, second := w.Signal(0, matchertest.Child(1)), w.Signal(0, matchertest.Child(2)), w.Signal(0, matchertest.Child(3))
	receipt, err := w.Send(stands)
	if err != nil {
		t.Fatal(err)
	}
	sent := w.Withdrawal(ended)
	withdrawn, err := w.Act(t.Context(), matchertest.Party(0), sent)
	if err != nil {
		t.Fatal(err)
	}
	queued := w.Withdrawal(second)
	renewal := w.Write(0, matchertest.Child(1), stands.Statement.SID, 2)
	fresh := w.Write(1, matchertest.Child(1), api.NewSID(), 1)
	stale := w.Withdrawal(ended, func(a *api.Act) { a.Body = api.ReasonMistake })
	unknown := w.Write(1, matchertest.Child(5), api.NewSID(), 1)
	w.CloseEpoch()
	if _, err := w.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := w.Send(stands)
	if err != nil || again.Created || !bytes.Equal(again.Receipt.Signature, receipt.Receipt.Signature) {
		t.Errorf("the statement's receipt does not come again: %v", err)
	}
	imported, err := w.Import(t.Context(), matchertest.Party(0), []api.Submission{stands.Submission, renewal.Submission})
	if err != nil || imported[0].Refused != nil || !bytes.Equal(imported[0].Receipt.Signature, receipt.Receipt.Signature) ||
		api.CodeOf(imported[1].Refused) != api.CodeEpoch {
		t.Errorf("nor by an import: %v", err)
	}
	over, err := w.Act(t.Context(), matchertest.Party(0), sent)
	if err != nil || over.Created || !bytes.Equal(over.Receipt.Signature, withdrawn.Receipt.Signature) {
		t.Errorf("the withdrawal's receipt does not come again: %v", err)
	}
	_, err = w.Act(t.Context(), matchertest.Party(0), stale)
	wantCode(t, err, api.CodeGone)
	_, err = w.Send(renewal)
	wantCode(t, err, api.CodeEpoch)
	_, err = w.Send(fresh)
	wantCode(t, err, api.CodeEpoch)

	// A tag of the closed epoch leads nowhere any more, so the registry cannot tell a
	// signal that has moved from one that never was.
	_, err = w.Act(t.Context(), matchertest.Party(0), queued)
	wantCode(t, err, api.CodeTag)
	w.Withdraw(second) // anew, by the tag in force
	_, err = w.Act(t.Context(), matchertest.Party(0), queued)
	wantCode(t, err, api.CodeTag)
	w.Advance(time.Second)
	_, err = w.Act(t.Context(), matchertest.Party(0), w.Withdrawal(second))
	wantCode(t, err, api.CodeGone)
	_, err = w.Act(t.Context(), matchertest.Party(1), w.Withdrawal(unknown))
	wantCode(t, err, api.CodeTag)
	w.Advance(registry.MaxAge)
	_, err = w.Act(t.Context(), matchertest.Party(1), w.Withdrawal(unknown))
	wantCode(t, err, api.CodeUnknownSignal)
	_, err = w.Act(t.Context(), matchertest.Party(0), queued)
	wantCode(t, err, api.CodeIssued)

	w.Reopen() // and a new process knows since when
	_, err = w.Act(t.Context(), matchertest.Party(1), w.Withdrawal(unknown, func(a *api.Act) { a.Issued = a.Issued.Add(-time.Minute) }))
	wantCode(t, err, api.CodeTag)
}
