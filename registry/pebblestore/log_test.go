// SPDX-License-Identifier: EUPL-1.2

package pebblestore_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/disk/disktest"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/registry/backup"
	"github.com/seinhuis/seinhuis/registry/journal"
	"github.com/seinhuis/seinhuis/registry/pebblestore"
	"github.com/seinhuis/seinhuis/soak"
)

func newLeaf(t testing.TB, n int) audit.Leaf {
	t.Helper()
	l, err := audit.NewLeaf(audit.Record{
		Event: "signal-stored", Action: audit.Create, Outcome: audit.Success, Time: time.Date(2027, 3, 4, 5, 6, 7, 0, time.UTC),
		Party: string(party(n)), System: "registry",
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A logged is a store with a log, and what the test knows of it.
type logged struct {
	*testing.T
	keys  registry.Keys
	fs    vfs.FS
	store *pebblestore.Store
	kept  *journal.Journal

	entered int
	signed  []audit.Checkpoint // whatever was, or may have been, signed
}

func newLogged(t *testing.T) *logged {
	l := &logged{T: t, keys: newKeys(t), fs: vfs.NewCrashableMem()}
	l.open()
	return l
}

func (l *logged) open() {
	l.Helper()
	var err error
	if l.kept, err = journal.Open(l.fs, "journal", l.keys.Rows, time.Now); err != nil {
		l.Fatal(err)
	}
	l.store = openWith(l.T, l.keys, pebblestore.Options{FS: l.fs, Journal: l.kept})
}

func (l *logged) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

func (l *logged) close() { l.must(errors.Join(l.store.Close(), l.kept.Close())) }

// enter puts n new leaves in the outbox.
func (l *logged) enter(n int) {
	l.Helper()
	var leaves []audit.Leaf
	for range n {
		leaves = append(leaves, newLeaf(l, l.entered))
		l.entered++
	}
	l.must(l.store.Enter(l.Context(), leaves...))
}

// sequence empties the outbox, and signs.
func (l *logged) sequence(max int) {
	l.Helper()
	for {
		n, err := l.store.Sequence(l.Context(), max)
		l.must(err)
		if n == 0 {
			break
		}
	}
	l.sign()
}

func (l *logged) sign() {
	l.Helper()
	size, err := l.store.Logged(l.Context())
	l.must(err)
	root, err := registry.Root(l.Context(), l.store, size)
	l.must(err)
	c := audit.Checkpoint{Origin: "test", Size: size, Root: root}
	l.signed = append(l.signed, c)
	l.must(l.kept.KeepCheckpoint([]byte(c.Text() + "\n")))
}

// hold proves the log, and that it goes on from whatever was signed.
func (l *logged) hold() registry.LogState {
	l.Helper()
	state, err := registry.VerifyLog(l.Context(), l.store)
	l.must(err)
	l.must(l.store.Verify(l.Context()))
	for _, c := range l.signed {
		if err := registry.Holds(l.Context(), l.store, c); err != nil {
			l.Fatalf("the log of %d does not go on from a checkpoint of %d: %v", state.Size, c.Size, err)
		}
	}
	return state
}

func (l *logged) waiting() (n int) {
	l.Helper()
	l.must(l.store.Leaves(l.Context(), api.Hash{}, func(audit.Leaf) error { n++; return nil }))
	return n
}

func TestSequence(t *testing.T) {
	l := newLogged(t)
	defer func() { l.close() }()
	for range 4 {
		l.enter(150)
		l.sequence(70)
	}
	known := audit.Published(audit.Manifest, [32]byte{1})
	for range 3 { // in the outbox, then in the log
		l.must(l.store.Enter(t.Context(), known, known))
		l.sequence(1)
	}
	if state := l.hold(); state.Size != 601 && state.Size != 602 || state.Erased != 0 || l.waiting() != 0 {
		t.Errorf("the log has %d leaves, %d erased; %d wait", state.Size, state.Erased, l.waiting())
	}
	number, ok, err := l.store.Number(t.Context(), known.Hash())
	if err != nil || !ok {
		t.Fatalf("what was entered is not found (%v)", err)
	}
	err = l.store.Records(t.Context(), number, func(n int64, leaf audit.Leaf) error {
		if n == number && leaf.Hash() != known.Hash() {
			t.Error("another record has its number")
		}
		return nil
	})
	l.must(err)

	l.must(l.store.Erase(t.Context(), []int64{0, 5, number}))
	l.close()
	l.open()
	if state := l.hold(); state.Erased != 3 {
		t.Errorf("%d are erased", state.Erased)
	}
}

// Whenever the power goes, each leaf is in the outbox or the log, and the log goes on
// from every checkpoint that was signed before.
func TestRow2PowerLossWhileTheLogGrows(t *testing.T) {
	soak.Row(t, 2, "power lost at every sync while the log grows", 2, func(t *testing.T, seed uint64) soak.Found {
		rng := rand.New(rand.NewPCG(seed, 2))
		l := newLogged(t)
		l.close()
		camera := disktest.NewCamera(l.fs.(*vfs.MemFS), rng)
		l.fs = camera
		camera.Turn(true)
		l.open()
		type deed struct{ pictures, entered, signed int }
		var deeds []deed
		rounds, every := 12, 1
		if soak.Race { // which takes fifty times as long to open a store
			rounds, every = 4, 7
		}
		for range rounds {
			l.enter(1 + rng.IntN(200))
			deeds = append(deeds, deed{camera.Taken(), l.entered, len(l.signed)})
			l.sequence(1 + rng.IntN(300))
			deeds = append(deeds, deed{camera.Taken(), l.entered, len(l.signed)})
		}
		l.close()
		found := soak.Found{"leaves": l.entered}
		for i, picture := range camera.Pictures() {
			if i%every != int(seed)%every {
				continue
			}
			var done deed
			for _, d := range deeds {
				if d.pictures <= i {
					done = d
				}
			}
			after := &logged{T: t, keys: l.keys, fs: picture, signed: slices.Clone(l.signed[:done.signed]), entered: l.entered}
			after.open()
			size, err := after.store.Logged(t.Context())
			after.must(err)
			if there := int(size) + after.waiting(); there < done.entered {
				t.Fatalf("picture %d has %d leaves of %d", i, there, done.entered)
			}
			after.hold()
			after.enter(3)
			after.sequence(1000)
			after.hold()
			after.close()
			found["power losses"]++
		}
		return found
	})
}

// A restored store has the log that was signed, and goes on from it.
func TestRestoreKeepsTheLog(t *testing.T) {
	for _, lost := range []string{"nothing", "journal"} {
		t.Run(lost, func(t *testing.T) {
			l := newLogged(t)
			l.enter(300)
			l.sequence(100)
			l.enter(40) // wait, in the backup
			_, err := backup.Make(l.fs, l.store, l.keys, "backup", nil, time.Now())
			l.must(err)
			// A crash between the journal and the commit: the numbers are given again.
			_, err = l.kept.Append(registry.Kept{Sequenced: registry.Sequenced{First: 300, Leaves: []api.Hash{{1}, {2}, {3}}}})
			l.must(err)
			l.close()
			l.open()
			l.sequence(1000)
			l.enter(700) // are in the journal alone
			l.sequence(300)
			l.must(l.store.Erase(t.Context(), []int64{2, 310}))
			l.enter(5) // are lost: no checkpoint has them
			l.close()
			l.must(l.fs.RemoveAll("db"))
			if lost == "journal" {
				names, err := l.fs.List("journal")
				l.must(err)
				for _, name := range names {
					if name != "checkpoint" {
						l.must(l.fs.Remove(l.fs.PathJoin("journal", name)))
					}
				}
			}
			kept, err := journal.Open(l.fs, "journal", l.keys.Rows, time.Now)
			l.must(err)
			_, err = backup.Restore(t.Context(), "backup", backup.Target{
				FS: l.fs, Store: "db", Keys: l.keys, Journal: kept, Now: time.Now, Options: pebblestore.Options{Logger: loud{}},
				Replay: func(context.Context, registry.Store, []registry.Ended) error { return nil },
			})
			l.must(kept.Close())
			if lost == "journal" {
				if err == nil {
					t.Error("a backup is put back without what came after it")
				}
				return
			}
			l.must(err)
			l.open()
			defer func() { l.close() }()
			state := l.hold()
			if state.Size != 1040 || state.Erased != 702 || l.waiting() != 0 {
				t.Errorf("the restored log has %d leaves, %d erased; %d wait", state.Size, state.Erased, l.waiting())
			}
			l.enter(10)
			l.sequence(4)
			if state := l.hold(); state.Size != 1050 {
				t.Errorf("it goes on to %d leaves", state.Size)
			}
		})
	}
}

// A log that lacks what was signed, or is another one, is no log to go on from.
func TestRestoreRefusesAnotherLog(t *testing.T) {
	l := newLogged(t)
	l.enter(10)
	l.sequence(10)
	_, err := backup.Make(l.fs, l.store, l.keys, "backup", nil, time.Now())
	l.must(err)
	l.close()
	for name, c := range map[string]struct {
		checkpoint audit.Checkpoint
		want       error
	}{
		"behind": {audit.Checkpoint{Origin: "test", Size: 11}, registry.ErrLogBehind},
		"forked": {audit.Checkpoint{Origin: "test", Size: 9}, registry.ErrLogForked},
	} {
		t.Run("rejects/"+name, func(t *testing.T) {
			l.must(l.fs.RemoveAll("db"))
			kept, err := journal.Open(l.fs, "journal", l.keys.Rows, time.Now)
			l.must(err)
			l.must(kept.KeepCheckpoint([]byte(c.checkpoint.Text() + "\n")))
			_, err = backup.Restore(t.Context(), "backup", backup.Target{
				FS: l.fs, Store: "db", Keys: l.keys, Journal: kept, Now: time.Now, Options: pebblestore.Options{Logger: loud{}},
				Replay: func(context.Context, registry.Store, []registry.Ended) error { return nil },
			})
			l.must(kept.Close())
			if !errors.Is(err, c.want) {
				t.Errorf("got %v", err)
			}
			if _, err := l.fs.Stat("db"); err == nil {
				t.Error("there is a store")
			}
		})
	}
}
