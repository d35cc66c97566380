// SPDX-License-Identifier: EUPL-1.2

package sequencer_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/api/witness"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/disk/disktest"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/registry/sequencer"
	"github.com/seinhuis/seinhuis/soak"
)

func step(t *testing.T, s *sequencer.Sequencer) {
	t.Helper()
	if err := s.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsLoggedIsProven(t *testing.T) {
	w := matchertest.New(t, 2)
	l := w.OpenLog()
	s := l.Sequencer()
	if s.Published() != nil {
		t.Fatal("a checkpoint is published before there is one")
	}
	var leaves []api.Hash
	var before audit.Checkpoint
	for child := range 300 {
		p := w.Signal(child%2, matchertest.Child(child/2))
		stored, _, err := w.Store.Signal(t.Context(), w.Keys.Idx(1, p.Statement.Faces[0].Tag), p.Statement.Party)
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, stored.Granted.Leaf)
		if child%100 > 0 {
			continue
		}
		step(t, s)
		c, at, err := l.Keys().OpenCosigned(s.Published())
		if err != nil || time.Since(at) > time.Minute {
			t.Fatalf("cosigned at %v: %v", at, err)
		}
		if before.Size > 0 {
			proof, err := s.Consistency(t.Context(), before.Size, c.Size)
			if err != nil || !c.Follows(before, proof) {
				t.Errorf("from %d to %d the log does not go on (%v)", before.Size, c.Size, err)
			}
		}
		before = c
	}
	for _, leaf := range append(leaves, audit.Published(audit.Manifest, w.Manifest.Hash()).Hash(), audit.Published(audit.Directory, w.Directory.Hash()).Hash()) {
		in, ok, err := s.Inclusion(t.Context(), before.Size, leaf)
		if err != nil {
			t.Fatal(err)
		}
		if logged := slices.Contains(leaves[201:], leaf); ok == logged || ok && !before.Holds(leaf, in.Number, in.Proof) {
			t.Errorf("a leaf is proven %t, and waits %t", ok, logged)
		}
	}
	for _, sizes := range [][2]int64{{0, 1}, {2, 1}, {1, 1e6}} {
		if _, err := s.Consistency(t.Context(), sizes[0], sizes[1]); !errors.Is(err, sequencer.ErrSize) {
			t.Errorf("from %d to %d: %v", sizes[0], sizes[1], err)
		}
	}
	if _, _, err := s.Inclusion(t.Context(), 1e6, leaves[0]); !errors.Is(err, sequencer.ErrSize) {
		t.Errorf("inclusion in a log that there is not: %v", err)
	}
}

// Where nothing comes the checkpoint is signed anew every minute, and not more often.
func TestAnOldCheckpointIsSignedAnew(t *testing.T) {
	w := matchertest.New(t, 1)
	s := w.OpenLog().Sequencer()
	step(t, s)
	at := s.State().At
	w.Advance(59 * time.Second)
	step(t, s)
	if s.State().At != at {
		t.Error("it is signed twice in a minute")
	}
	w.Advance(time.Second)
	step(t, s)
	if s.State().At == at {
		t.Error("it is not signed anew")
	}
}

func TestOneWitnessMayBeAway(t *testing.T) {
	w := matchertest.New(t, 1)
	l := w.OpenLog()
	l.Witnesses[1].Away = true
	s := l.Sequencer()
	step(t, s)
	l.Witnesses[0].Away = true
	w.Signal(0, matchertest.Child(1))
	last := s.Published()
	if err := s.Step(t.Context()); !errors.Is(err, audit.ErrWitnesses) {
		t.Errorf("with one of three witnesses: %v", err)
	}
	if string(s.Published()) != string(last) || s.State().Fault == nil {
		t.Error("what too few have cosigned is published")
	}
	l.Witnesses[0].Away = false
	l.Witnesses[1].Away = false // it has cosigned less than the others
	step(t, s)
	l.Witnesses[2].Away = true
	w.Signal(0, matchertest.Child(2))
	step(t, s)
	if s.State().Fault != nil {
		t.Error("the fault is not over")
	}

	// A process that begins has to know what was cosigned.
	l.Witnesses[0].Away = true
	if err := l.Sequencer().Step(t.Context()); !errors.Is(err, sequencer.ErrUnproven) {
		t.Errorf("it begins with %v", err)
	}
}

// A store that was put back without what came after, or another one, signs nothing.
func TestAnotherLogIsNotSigned(t *testing.T) {
	for _, kept := range []bool{true, false} { // by the journal; else only witnesses know
		w := matchertest.New(t, 1)
		if kept {
			w.KeepJournal()
		}
		l := w.OpenLog()
		s := l.Sequencer()
		w.Signal(0, matchertest.Child(1))
		step(t, s)
		old := w.FS.(*vfs.MemFS)
		fs := vfs.NewMem()
		if _, err := vfs.Clone(old, fs, "db", "db"); err != nil {
			t.Fatal(err)
		}
		w.Signal(0, matchertest.Child(2))
		step(t, s)
		state := s.State()
		if err := w.Store.Close(); err != nil {
			t.Fatal(err)
		}
		journal := w.Journal
		w.Journal = nil
		w.Open(fs) // somebody has put the database's folder back, and no other
		w.Journal = journal
		for _, one := range l.Witnesses {
			one.Away = kept
		}
		again := l.Sequencer()
		if err := again.Step(t.Context()); !errors.Is(err, registry.ErrLogBehind) {
			t.Errorf("a log of the past goes on: %v", err)
		}
		w.Signal(0, matchertest.Child(3))
		w.Signal(0, matchertest.Child(4))
		for size := int64(0); size <= state.Size; {
			n, err := w.Store.Sequence(t.Context(), 1)
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				break
			}
			if size, err = w.Store.Logged(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := again.Step(t.Context()); !errors.Is(err, registry.ErrLogForked) {
			t.Errorf("another log of the same length goes on: %v", err)
		}
		if again.Published() != nil {
			t.Error("it is published")
		}
	}
}

// Whatever happens, a power loss at any sync or a restore of any backup, any two
// checkpoints that were ever signed are of one history.
func TestRow10OneHistory(t *testing.T) {
	soak.Row(t, 10, "one history of the log", soak.Short(10), func(t *testing.T, seed uint64) soak.Found {
		rng := rand.New(rand.NewPCG(seed, 10))
		w := matchertest.New(t, 2)
		l := w.OpenLog()
		if err := w.Store.Close(); err != nil {
			t.Fatal(err)
		}
		camera := disktest.NewCamera(vfs.NewCrashableMem(), rng)
		w.Open(camera)
		w.KeepJournal()
		s := l.Sequencer()
		found := soak.Found{}
		var signed []audit.Checkpoint
		backups, child := 0, 0
		for range 12 {
			for range rng.IntN(8) {
				w.Signal(rng.IntN(2), matchertest.Child(child))
				child++
			}
			if rng.IntN(3) > 0 {
				step(t, s)
				c, _, err := l.Keys().OpenCosigned(s.Published())
				if err != nil {
					t.Fatal(err)
				}
				signed = append(signed, c)
				found["checkpoints"]++
			}
			switch rng.IntN(5) {
			case 0:
				backups++
				w.Backup(backupName(backups))
			case 1:
				if backups == 0 {
					continue
				}
				w.Restore(backupName(1 + rng.IntN(backups)))
				s = l.Sequencer()
				found["restores"]++
			case 2:
				camera.Turn(true)
				camera.Shoot()
				pictures := camera.Pictures()
				picture := pictures[len(pictures)-1]
				camera.Turn(false)
				if err := errors.Join(w.Store.Close(), w.Journal.Close()); err != nil {
					t.Fatal(err)
				}
				w.Journal = nil
				camera = disktest.NewCamera(picture, rng)
				w.Open(camera)
				w.KeepJournal()
				s = l.Sequencer()
				found["power losses"]++
			}
		}
		step(t, s)
		for _, c := range signed {
			if err := registry.Holds(t.Context(), w.Store, c); err != nil {
				t.Fatalf("the log does not go on from a checkpoint of %d: %v", c.Size, err)
			}
		}
		if _, err := registry.VerifyLog(t.Context(), w.Store); err != nil {
			t.Fatal(err)
		}
		return found
	})
}

func backupName(n int) string { return string(rune('a'+n)) + "-backup" }

// A liar is a witness that refuses, and shows what it likes.
type liar struct {
	sequencer.Witness
	add    func() ([]byte, error)
	latest func() ([]byte, error)
}

func (l liar) Add(context.Context, audit.Add) ([]byte, error) { return l.add() }

func (l liar) Latest(ctx context.Context) ([]byte, error) {
	if l.latest != nil {
		return l.latest()
	}
	return l.Witness.Latest(ctx)
}

// TestAttackLyingWitness: one evaluator says that it has cosigned more than there is, or
// another tree, and so that the registry's log is a fork. It shows nothing that the log has
// signed; so the log goes on with the others.
func TestAttackLyingWitness(t *testing.T) {
	larger := func() ([]byte, error) { return nil, &witness.SizeError{Size: 1e9} }
	other, _ := manifesttest.Signer(t, audit.Origin(matchertest.Dep))
	forged, err := audit.Checkpoint{Origin: audit.Origin(matchertest.Dep), Size: 1e9}.Sign(other)
	if err != nil {
		t.Fatal(err)
	}
	for name, l := range map[string]liar{
		"larger":                 {add: larger},
		"a_proof_that_fails":     {add: func() ([]byte, error) { return nil, &witness.StatusError{Status: http.StatusUnprocessableEntity} }},
		"larger_and_shows_none":  {add: larger, latest: func() ([]byte, error) { return nil, witness.ErrNone }},
		"larger_and_shows_trash": {add: larger, latest: func() ([]byte, error) { return []byte("trash"), nil }},
		"larger_and_forges":      {add: larger, latest: func() ([]byte, error) { return forged, nil }},
	} {
		t.Run("rejects/"+name, func(t *testing.T) {
			w := matchertest.New(t, 1)
			s := w.OpenLog().Sequencer()
			honest := s.Witness
			s.Witness = func(e manifest.Evaluator) (sequencer.Witness, error) {
				one, err := honest(e)
				if e.Index == 2 {
					l.Witness = one
					one = l
				}
				return one, err
			}
			for child := range 3 {
				w.Signal(0, matchertest.Child(child))
				before := s.State().Size
				step(t, s)
				if s.State().Size == before {
					t.Error("nothing new is published")
				}
			}
		})
	}
}

// Another process with the log's key has gone on from a copy of the store: who began before
// that is shown so by a witness, and publishes nothing more.
func TestTwoProcessesWithOneKey(t *testing.T) {
	for name, ahead := range map[string]int{"larger": 3, "other": 1} {
		t.Run(name, func(t *testing.T) {
			w := matchertest.New(t, 1)
			l := w.OpenLog()
			w.Signal(0, matchertest.Child(0))
			here := l.Sequencer()
			step(t, here)
			fs := vfs.NewMem()
			if _, err := vfs.Clone(w.FS, fs, "db", "db"); err != nil {
				t.Fatal(err)
			}
			store := w.Store
			w.Open(fs)
			for child := range ahead {
				w.Signal(0, matchertest.Child(10+child))
			}
			there := l.Sequencer()
			for _, one := range l.Witnesses[2:] {
				one.Away = true // it has cosigned neither
			}
			step(t, there)
			if err := w.Store.Close(); err != nil {
				t.Fatal(err)
			}
			for _, one := range l.Witnesses {
				one.Away = false
			}
			w.Store = store
			w.Matcher.Store = store
			want := registry.ErrLogBehind
			if ahead == 1 {
				want = registry.ErrLogForked
				w.Signal(0, matchertest.Child(20))
				w.Signal(0, matchertest.Child(21))
			} else {
				w.Signal(0, matchertest.Child(20))
			}
			before := here.State().Size
			if err := here.Step(t.Context()); !errors.Is(err, want) {
				t.Errorf("it goes on: %v", err)
			}
			if err := here.Step(t.Context()); !errors.Is(err, want) {
				t.Errorf("tried again it goes on: %v", err)
			}
			if here.State().Size != before {
				t.Error("it is published")
			}
		})
	}
}

// What a witness is shown is in the journal before, and what is published afterwards: of
// what anybody has seen a restore knows.
func TestWhatIsShownIsKeptBefore(t *testing.T) {
	w := matchertest.New(t, 1)
	w.KeepJournal()
	s := w.OpenLog().Sequencer()
	honest, shown := s.Witness, 0
	s.Witness = func(e manifest.Evaluator) (sequencer.Witness, error) {
		one, err := honest(e)
		return watched{one, func(size int64) {
			kept, signed, err := w.Journal.Checkpoint()
			if err != nil || signed == nil || kept.Size != size {
				t.Errorf("of %d leaves that a witness is shown the journal has %d (%v)", size, kept.Size, err)
			}
			shown++
		}}, err
	}
	for child := range 3 {
		w.Signal(0, matchertest.Child(child))
		step(t, s)
		if _, signed, err := w.Journal.Checkpoint(); err != nil || string(signed) != string(s.Published()) {
			t.Errorf("what is published is not in the journal (%v)", err)
		}
	}
	if shown == 0 {
		t.Error("no witness was asked")
	}
}

// A watched witness tells what it is shown. They are asked side by side.
type watched struct {
	sequencer.Witness
	asked func(size int64)
}

var watching sync.Mutex

func (w watched) Add(ctx context.Context, a audit.Add) ([]byte, error) {
	c, err := audit.Unverified(a.Checkpoint)
	if err != nil {
		return nil, err
	}
	watching.Lock()
	w.asked(c.Size)
	watching.Unlock()
	return w.Witness.Add(ctx, a)
}

// In the log of an earlier size a later leaf is not.
func TestALaterLeafIsNotInAnEarlierLog(t *testing.T) {
	w := matchertest.New(t, 1)
	s := w.OpenLog().Sequencer()
	w.Signal(0, matchertest.Child(0))
	step(t, s)
	before := s.State().Size
	p := w.Signal(0, matchertest.Child(1))
	step(t, s)
	stored, _, err := w.Store.Signal(t.Context(), w.Keys.Idx(1, p.Statement.Faces[0].Tag), p.Statement.Party)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.Inclusion(t.Context(), before, stored.Granted.Leaf); ok || err != nil {
		t.Errorf("it is proven %t (%v)", ok, err)
	}
	if _, ok, err := s.Inclusion(t.Context(), s.State().Size, stored.Granted.Leaf); !ok || err != nil {
		t.Errorf("in the log that has it, it is proven %t (%v)", ok, err)
	}
}
