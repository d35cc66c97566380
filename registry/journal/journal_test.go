// SPDX-License-Identifier: EUPL-1.2

package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/crypto/atrest"
	"github.com/seinhuis/seinhuis/disk"
	"github.com/seinhuis/seinhuis/disk/disktest"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/registry/journal"
)

const folder = "journal"

var day = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

type world struct {
	*testing.T
	fs  *vfs.MemFS
	key atrest.Key
	now time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	key, err := atrest.NewKey(1, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	return &world{T: t, fs: vfs.NewCrashableMem(), key: key, now: day}
}

func (w *world) open() *journal.Journal {
	w.Helper()
	j, err := w.tryOpen()
	if err != nil {
		w.Fatal(err)
	}
	return j
}

func (w *world) tryOpen() (*journal.Journal, error) {
	return journal.Open(w.fs, folder, w.key, func() time.Time { return w.now })
}

// ended is signal n, which met two others.
func ended(n byte) registry.Ended {
	return registry.Ended{
		Member: registry.Member{Party: "nl-kvk:00000001", SID: api.SID{n}}, Shard: [2]byte{n, 7}, Match: api.MatchID{n},
		Tombstone: registry.Tombstone{Rev: uint64(n), Act: api.Hash{n}, Granted: registry.Granted{Time: day}, Until: registry.Today(day)},
		Others:    []registry.Member{{Party: "nl-kvk:00000002", SID: api.SID{1, n}}, {Party: "nl-kvk:00000003", SID: api.SID{2, n}}},
	}
}

func (w *world) append(j *journal.Journal, groups ...[]registry.Ended) {
	w.Helper()
	for _, g := range groups {
		if _, err := j.Append(registry.Kept{Ended: g}); err != nil {
			w.Fatal(err)
		}
	}
}

// since lists the first bytes of what a journal has behind a place.
func since(j *journal.Journal, at registry.Journaled) (sids []byte, err error) {
	err = j.Since(at, func(kept registry.Kept) error {
		for _, e := range kept.Ended {
			if e.Others[1].SID != (api.SID{2, e.SID[0]}) || e.Tombstone.Act != (api.Hash{e.SID[0]}) || e.Shard[0] != e.SID[0] {
				return errors.New("it is not what was written")
			}
			sids = append(sids, e.SID[0])
		}
		return nil
	})
	return sids, err
}

func (w *world) has(j *journal.Journal, at registry.Journaled, want ...byte) {
	w.Helper()
	if got, err := since(j, at); err != nil || !bytes.Equal(got, want) {
		w.Errorf("behind %s the journal has %v, %v; want %v", at, got, err, want)
	}
}

func TestWhatWasAppendedIsThere(t *testing.T) {
	w := newWorld(t)
	j := w.open()
	begin := j.Last()
	w.append(j, []registry.Ended{ended(1), ended(2)}, []registry.Ended{ended(3)})
	middle := j.Last()
	w.now = w.now.AddDate(0, 0, 1) // another file
	w.append(j, []registry.Ended{ended(4)})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = w.open() // and another
	w.append(j, []registry.Ended{ended(5)})
	w.has(j, begin, 1, 2, 3, 4, 5)
	w.has(j, middle, 4, 5)
	w.has(w.open(), j.Last())
	if n, err := j.Check(); n != 4 || err != nil {
		t.Errorf("it counts %d groups, %v", n, err)
	}
	for reason, at := range map[string]registry.Journaled{
		"another_journal": {ID: [16]byte{1}, Groups: 1}, "more_than_there_is": {ID: begin.ID, Groups: 5},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if _, err := since(j, at); !errors.Is(err, journal.ErrReach) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// What Append has returned for survives a loss of power that keeps nothing unsynced.
func TestAnAppendedGroupIsOnDisk(t *testing.T) {
	w := newWorld(t)
	j := w.open()
	begin := j.Last()
	w.append(j, []registry.Ended{ended(1)})
	w.now = w.now.AddDate(0, 0, 1)
	w.append(j, []registry.Ended{ended(2)}, []registry.Ended{ended(3)})
	w.fs = w.fs.CrashClone(vfs.CrashCloneCfg{})
	w.has(w.open(), begin, 1, 2, 3)
}

func TestAGroupThatACrashCutOffIsNotThere(t *testing.T) {
	w := newWorld(t)
	begin, whole, ends := w.three()
	for cut := range whole {
		w.only(whole[:cut])
		j := w.open()
		if cut < headerSize { // it had not begun
			w.append(j, []registry.Ended{ended(9)})
			continue
		}
		want := []byte{}
		for n, end := range ends {
			if cut >= end {
				want = append(want, byte(n+1))
			}
		}
		w.has(j, begin, want...)
		if j.CutOff() != (cut != headerSize && !slices.Contains(ends, cut)) {
			t.Errorf("cut to %d bytes: cut off %v", cut, j.CutOff())
		}
		w.append(j, []registry.Ended{ended(9)}) // in its place
		w.has(w.open(), begin, append(want, 9)...)
	}
}

// A byte that is not what was written is found, wherever groups follow it. Damage to
// the last group looks like a crash, but for how many groups there must be.
func TestDamageIsFound(t *testing.T) {
	w := newWorld(t)
	begin, whole, ends := w.three()
	const id, seconds = len("seinhuis/1/journal\n"), headerSize - 8
	for i := range whole {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 0x10
		w.only(damaged)
		j, err := w.tryOpen()
		switch {
		case i >= seconds && i < headerSize: // when it was begun: nothing hangs on it
			if err != nil || j.Last().Groups != 3 {
				t.Errorf("byte %d: %v", i, err)
			}
		case i >= id && i < id+16:
			if err == nil && j.Last().ID == begin.ID {
				t.Errorf("byte %d: the damage is not found", i)
			}
		case i < ends[1]:
			if !errors.Is(err, journal.ErrCorrupt) {
				t.Errorf("byte %d: got %v", i, err)
			}
		case err != nil || j.Last().Groups != 2 || !j.CutOff():
			t.Errorf("byte %d of the last group: %v", i, err)
		}
	}
}

const headerSize = 19 + 16 + 8 + 8

// three makes a journal of one file with three groups, and tells where each ends.
func (w *world) three() (begin registry.Journaled, whole []byte, ends []int) {
	w.Helper()
	j := w.open()
	begin = j.Last()
	for n := range byte(3) {
		w.append(j, []registry.Ended{ended(n + 1)})
		whole = w.read(w.files()[0])
		ends = append(ends, len(whole))
	}
	return begin, whole, ends
}

// only leaves the first file of the journal, with this in it.
func (w *world) only(text []byte) {
	w.Helper()
	for _, name := range w.files() {
		w.must(w.fs.Remove(w.fs.PathJoin(folder, name)))
	}
	w.write(fmt.Sprintf("%016x.journal", 1), text)
}

func TestAMissingFileIsFound(t *testing.T) {
	w := newWorld(t)
	j := w.open()
	begin := j.Last()
	for n := range byte(3) {
		w.append(j, []registry.Ended{ended(n + 1)})
		w.now = w.now.AddDate(0, 0, 1)
	}
	w.must(w.fs.Remove(w.fs.PathJoin(folder, w.files()[1])))
	if _, err := since(w.open(), begin); !errors.Is(err, journal.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}

func TestTrimKeepsWhatABackupCanNeed(t *testing.T) {
	w := newWorld(t)
	j := w.open()
	begin := j.Last()
	for n := range byte(40) {
		w.append(j, []registry.Ended{ended(n + 1)})
		w.now = w.now.AddDate(0, 0, 1)
	}
	w.must(j.Trim(registry.Today(w.now)))
	if _, err := since(j, begin); !errors.Is(err, journal.ErrReach) {
		t.Errorf("it reaches back to its beginning: %v", err)
	}
	// A backup of thirty days ago, in which are the signals that had ended by then.
	got, err := since(j, registry.Journaled{ID: begin.ID, Groups: 10})
	if err != nil || len(got) != 30 || got[0] != 11 {
		t.Errorf("behind a backup of thirty days ago it has %v, %v", got, err)
	}
	w.must(j.Trim(registry.Today(w.now.AddDate(1, 0, 0))))
	w.append(j, []registry.Ended{ended(99)}) // the file in use stays
	w.has(w.open(), registry.Journaled{ID: begin.ID, Groups: 40}, 99)
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) files() []string {
	w.Helper()
	names, err := w.fs.List(folder)
	w.must(err)
	slices.Sort(names)
	return names
}

func (w *world) read(name string) []byte {
	w.Helper()
	f, err := w.fs.Open(w.fs.PathJoin(folder, name))
	w.must(err)
	defer f.Close()
	text, err := io.ReadAll(f)
	w.must(err)
	return text
}

func (w *world) write(name string, text []byte) {
	w.Helper()
	f, err := w.fs.Create(w.fs.PathJoin(folder, name), vfs.WriteCategoryUnspecified)
	w.must(err)
	_, err = f.Write(bytes.Clone(text))
	w.must(err)
	w.must(f.Close())
}

// On a disk that is full to the last byte withdrawals get through by the ballast, and
// the disk is low then.
func TestAJournalOnAFullDisk(t *testing.T) {
	const mib = 1 << 20
	w := newWorld(t)
	small := disktest.New(8 * mib)
	if err := small.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	watch := disk.NewWatch(small, folder, disk.Limits{Low: 2 * mib, Ballast: mib}, func(bool) {})
	if err := watch.Look(); err != nil {
		t.Fatal(err)
	}
	open := func() *journal.Journal {
		t.Helper()
		j, err := journal.Open(watch.FS(), folder, w.key, func() time.Time { return w.now })
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	j := open()
	usage, err := small.GetDiskUsage("")
	if err != nil {
		t.Fatal(err)
	}
	small.Take(usage.AvailBytes - 100) // less than one
	for n := range byte(200) {
		if n == 100 {
			w.now = w.now.AddDate(0, 0, 1) // in another file
		}
		if _, err := j.Append(registry.Kept{Ended: []registry.Ended{ended(n + 1)}}); err != nil {
			t.Fatalf("the %dth: %v", n, err)
		}
	}
	if !watch.Low() {
		t.Error("the disk is not low")
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if groups, err := open().Check(); err != nil || groups != 200 {
		t.Errorf("it has %d groups: %v", groups, err)
	}
}

// What was begun while the clock was far behind says nothing of how old that before it is.
func TestTrimAfterAClockThatWasBehind(t *testing.T) {
	w := newWorld(t)
	j := w.open()
	at := func(now time.Time, n byte) {
		t.Helper()
		w.now = now
		if _, err := j.Append(registry.Kept{Ended: []registry.Ended{ended(n)}}); err != nil {
			t.Fatal(err)
		}
	}
	at(day, 1)
	at(day.AddDate(-1, 0, 0), 2)
	at(day.AddDate(0, 0, 1), 3)
	if err := j.Trim(registry.Today(w.now)); err != nil {
		t.Fatal(err)
	}
	if groups, err := j.Check(); err != nil || groups != 3 {
		t.Errorf("of three groups %d are left: %v", groups, err)
	}
	w.now = day.AddDate(0, 0, journal.KeepDays+3)
	at(w.now, 4)
	if err := j.Trim(registry.Today(w.now)); err != nil {
		t.Fatal(err)
	}
	if groups, err := j.Check(); err != nil || groups > 2 {
		t.Errorf("%d groups are left: %v", groups, err)
	}
}

func TestTheLogIsKept(t *testing.T) {
	w := newWorld(t)
	j := w.open()
	begin := j.Last()
	want := registry.Kept{Sequenced: registry.Sequenced{First: 7}, Ended: []registry.Ended{ended(1)}}
	for n := range 3000 { // more than one row takes
		want.Sequenced.Leaves = append(want.Sequenced.Leaves, api.Hash{byte(n), byte(n >> 8)})
		want.Erased = append(want.Erased, int64(n))
	}
	if _, err := j.Append(want); err != nil {
		t.Fatal(err)
	}
	n := 0
	err := w.open().Since(begin, func(got registry.Kept) error {
		n++
		if !reflect.DeepEqual(got, want) {
			t.Error("what was kept comes back as something else")
		}
		return nil
	})
	if err != nil || n != 1 {
		t.Errorf("%d groups, %v", n, err)
	}
}

func TestTheLastCheckpointIsKept(t *testing.T) {
	w := newWorld(t)
	j := w.open()
	if _, signed, err := j.Checkpoint(); signed != nil || err != nil {
		t.Fatalf("a new journal has a checkpoint (%v)", err)
	}
	for size := range int64(3) {
		c := audit.Checkpoint{Origin: audit.Origin("test"), Size: size}
		if err := j.KeepCheckpoint([]byte(c.Text() + "\n\u2014 who signed\n")); err != nil {
			t.Fatal(err)
		}
		w.fs = w.fs.CrashClone(vfs.CrashCloneCfg{})
		if got, signed, err := w.open().Checkpoint(); got != c || signed == nil || err != nil {
			t.Errorf("after a loss of power %v (%v)", got, err)
		}
		j = w.open()
	}
}

// A journal that holds nothing yet has one file, which its first group writes anew: the
// power may go meanwhile, and it is still the same journal.
func TestAJournalOfNothingStaysItself(t *testing.T) {
	w := newWorld(t)
	id := w.open().Last().ID
	for seed := range uint64(20) {
		camera := disktest.NewCamera(w.fs.CrashClone(vfs.CrashCloneCfg{}), rand.New(rand.NewPCG(seed, 0)))
		camera.Kept = []int{50}
		camera.Turn(true)
		j, err := journal.Open(camera, folder, w.key, func() time.Time { return w.now })
		if err != nil {
			t.Fatal(err)
		}
		w.append(j, []registry.Ended{ended(1)})
		for _, picture := range camera.Pictures() {
			after, err := journal.Open(picture, folder, w.key, func() time.Time { return w.now })
			if err != nil {
				t.Fatal(err)
			}
			if after.Last().ID != id {
				t.Fatal("after a loss of power it is another journal")
			}
		}
	}
}
