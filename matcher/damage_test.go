// SPDX-License-Identifier: EUPL-1.2

package matcher_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
	"github.com/seinhuis/seinhuis/soak"
)

// damages are what can happen to bytes at rest.
var damages = []struct {
	name string
	do   func(r *rand.Rand, text []byte) []byte
}{
	{"a bit flipped", func(r *rand.Rand, text []byte) []byte {
		text[r.IntN(len(text))] ^= 1 << r.IntN(8)
		return text
	}},
	{"the end cut off", func(r *rand.Rand, text []byte) []byte { return text[:r.IntN(len(text))] }},
	{"a sector of zeros", func(r *rand.Rand, text []byte) []byte {
		at := r.IntN((len(text)+511)/512) * 512
		clear(text[at:min(at+512, len(text))])
		return text
	}},
	{"a sector of another place", func(r *rand.Rand, text []byte) []byte {
		sectors := (len(text) + 511) / 512
		from, to := r.IntN(sectors)*512, r.IntN(sectors)*512
		copy(text[to:min(to+512, len(text))], bytes.Clone(text[from:min(from+512, len(text))]))
		return text
	}},
}

// TestRow5Damage damages a file of a store that nobody serves, in one place. Either the
// store cannot be opened, or a check refuses it, or the damage is to what nobody needs
// and all is there.
func TestRow5Damage(t *testing.T) {
	soak.Row(t, 5, "bytes flipped, torn or cut off at rest", soak.Short(50), func(t *testing.T, seed uint64) soak.Found {
		cryptotest.SetGlobalRandom(t, seed)
		r := rand.New(rand.NewPCG(seed, 6))
		w := matchertest.New(t, players)
		w.Store.Close()
		disk := vfs.NewCrashableMem()
		w.Ingest = int(seed % 2)
		w.Open(disk)
		p := newPlayer(t, w, r)
		for range r.IntN(4) {
			for range r.IntN(12) {
				p.play()
			}
			w.Reopen()
		}
		for range 1 + r.IntN(12) {
			p.play()
		}
		w.Store.Close()

		path := somewhere(t, r, disk)
		how := damages[r.IntN(len(damages))]
		text := contents(t, disk, path)
		hurt := how.do(r, bytes.Clone(text))
		if bytes.Equal(hurt, text) {
			w.Open(disk)
			return soak.Found{"as it was": 1}
		}
		f, err := disk.Create(path, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(hurt); err != nil {
			t.Fatal(err)
		}
		f.Close()

		ended := make(ending, 1)
		w.Logger = ended
		became := make(chan string, 1)
		go func() { became <- checkedAnew(w, disk) }()
		select {
		case what := <-became:
			if what != harmless {
				w.Abandon()
				return soak.Found{what: 1}
			}
			t.Logf("%s: %s of %d bytes", path, how.name, len(text))
			p.finds(len(p.done), nil, w.Now())
			return soak.Found{what: 1}
		case <-ended: // it lies where Pebble does not go on
			w.Abandon()
			return soak.Found{"the process ends": 1}
		}
	})
}

const harmless = "harmless"

// checkedAnew opens a store and checks it, and tells what became of it.
func checkedAnew(w *matchertest.World, disk vfs.FS) (what string) {
	defer func() {
		if p := recover(); p != nil { // Pebble cannot go on
			w.Abandon()
			what = "not opened"
		}
	}()
	if err := w.TryOpen(disk); err != nil {
		return "not opened"
	}
	done, err := w.Check(context.Background(), func(matcher.Difference) {})
	switch {
	case err != nil:
		return "refused by the check"
	case done.Differences > 0:
		return "differences found"
	}
	return harmless
}

// somewhere picks a file that has anything in it.
func somewhere(t *testing.T, r *rand.Rand, disk *vfs.MemFS) string {
	t.Helper()
	names, err := disk.List("db")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	names = slices.DeleteFunc(names, func(name string) bool {
		info, err := disk.Stat("db/" + name)
		return err != nil || info.Size() == 0 || strings.HasPrefix(name, "marker")
	})
	return "db/" + names[r.IntN(len(names))]
}

func contents(t *testing.T, disk *vfs.MemFS, path string) []byte {
	t.Helper()
	f, err := disk.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
