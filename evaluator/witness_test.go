// SPDX-License-Identifier: EUPL-1.2

package evaluator

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/disk/disktest"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
	"github.com/seinhuis/seinhuis/soak"
)

// tree is a log whose leaves a test chooses: logs with other leaves from some number on
// are forks of each other.
type tree struct {
	hashes []tlog.Hash
	size   int64
}

func (tr *tree) ReadHashes(at []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(at))
	for i, n := range at {
		out[i] = tr.hashes[n]
	}
	return out, nil
}

// grow adds leaves up to a size.
func (tr *tree) grow(t testing.TB, size int64, kind string) *tree {
	t.Helper()
	next := &tree{slices.Clone(tr.hashes), tr.size}
	for ; next.size < size; next.size++ {
		more, err := tlog.StoredHashes(next.size, fmt.Appendf(nil, "%s %d", kind, next.size), next)
		if err != nil {
			t.Fatal(err)
		}
		next.hashes = append(next.hashes, more...)
	}
	return next
}

func newTree(t testing.TB, size int64, kind string) *tree {
	return new(tree).grow(t, size, kind)
}

func (tr *tree) checkpoint(t testing.TB, origin string) audit.Checkpoint {
	t.Helper()
	root, err := tlog.TreeHash(tr.size, tr)
	if err != nil {
		t.Fatal(err)
	}
	return audit.Checkpoint{Origin: origin, Size: tr.size, Root: root}
}

// request is what a log asks of a witness that has cosigned old of it.
func (tr *tree) request(t testing.TB, log note.Signer, old int64) audit.Add {
	t.Helper()
	msg, err := tr.checkpoint(t, log.Name()).Sign(log)
	if err != nil {
		t.Fatal(err)
	}
	add := audit.Add{Old: old, Checkpoint: msg}
	if old > 0 && old < tr.size {
		if add.Proof, err = tlog.ProveTree(tr.size, old, tr); err != nil {
			t.Fatal(err)
		}
	}
	return add
}

// watched is a log and a witness of it.
type watched struct {
	log        note.Signer
	vkey       string
	key, named string // the witness's, and as the manifest names it
	*Witness
}

func newWatched(t testing.TB, b *Budgets) *watched {
	t.Helper()
	w := new(watched)
	w.log, w.vkey = manifesttest.Signer(t, audit.Origin("test"))
	w.key, w.named = witnessKeys(t)
	w.open(t, b)
	return w
}

func witnessKeys(t testing.TB) (key, named string) {
	t.Helper()
	key, vkey, err := note.GenerateKey(rand.Reader, "evaluator-2/witness")
	if err != nil {
		t.Fatal(err)
	}
	if named, err = audit.WitnessKey(vkey); err != nil {
		t.Fatal(err)
	}
	return key, named
}

func (w *watched) open(t testing.TB, b *Budgets) {
	t.Helper()
	var err error
	if w.Witness, err = OpenWitness(b, w.key, "witness.key"); err != nil {
		t.Fatal(err)
	}
}

// opens tells whether a line cosigns a checkpoint.
func (w *watched) opens(t testing.TB, add audit.Add, line []byte) {
	t.Helper()
	k, err := audit.ParseKeys(w.vkey, []string{w.named}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := k.OpenCosigned(append(bytes.Clone(add.Checkpoint), line...)); err != nil {
		t.Errorf("%v: %s", err, line)
	}
}

func TestWitness(t *testing.T) {
	b := newBudgets(t)
	w := newWatched(t, b)
	var last audit.Add
	if got, err := w.Latest(w.vkey); got != nil || err != nil {
		t.Errorf("latest before the first: %q %v", got, err)
	}
	tr := newTree(t, 0, "leaf")
	for i, size := range []int64{0, 0, 1, 1, 2, 300, 300, 70000} {
		old := tr.size
		tr = tr.grow(t, size, "leaf")
		last = tr.request(t, w.log, old)
		line, err := w.Add(w.vkey, last.Marshal())
		if err != nil {
			t.Fatalf("%d: size %d: %v", i, size, err)
		}
		w.opens(t, last, line)
		if i%2 == 0 { // what was cosigned is known after a restart
			w.open(t, b)
		}
		latest, err := w.Latest(w.vkey)
		if want := append(bytes.Clone(last.Checkpoint), line...); err != nil || !bytes.Equal(latest, want) {
			t.Errorf("latest is %q (%v), want %q", latest, err, want)
		}
	}
	if !w.Named(w.named) {
		t.Error("its own key is not its own")
	}
	if _, other := witnessKeys(t); w.Named(other) || w.Named("") {
		t.Error("another key is its own")
	}
}

// What is refused changes nothing: the right request is taken afterwards.
func TestWitnessRefuses(t *testing.T) {
	good, other := newTree(t, 10, "leaf"), newTree(t, 20, "other")
	forked := newTree(t, 5, "leaf").grow(t, 10, "other")
	next := good.grow(t, 20, "leaf")
	for reason, c := range map[string]struct {
		body func(w *watched) []byte
		want error
	}{
		"no_request":    {func(*watched) []byte { return []byte("old 10\n") }, audit.ErrAdd},
		"leading_zero":  {func(w *watched) []byte { return append([]byte("old 010"), next.request(t, w.log, 10).Marshal()[6:]...) }, audit.ErrAdd},
		"no_checkpoint": {func(*watched) []byte { return []byte("old 10\n\nseinhuis\n") }, audit.ErrCheckpoint},
		"checkpoint_with_extension": {func(w *watched) []byte {
			msg := manifesttest.Sign(t, next.checkpoint(t, w.log.Name()).Text()+"more\n", w.log)
			return audit.Add{Old: 10, Proof: next.request(t, w.log, 10).Proof, Checkpoint: msg}.Marshal()
		}, audit.ErrCheckpoint},
		"not_a_note": {func(w *watched) []byte {
			return audit.Add{Old: 10, Checkpoint: []byte(next.checkpoint(t, w.log.Name()).Text() + "\nno signature\n")}.Marshal()
		}, audit.ErrCheckpoint},
		"another_origin": {func(*watched) []byte {
			log, _ := manifesttest.Signer(t, audit.Origin("other"))
			return next.request(t, log, 10).Marshal()
		}, ErrLog},
		"another_key": {func(*watched) []byte {
			log, _ := manifesttest.Signer(t, audit.Origin("test"))
			return next.request(t, log, 10).Marshal()
		}, ErrLogSignature},
		"signature_of_another_size": {func(w *watched) []byte {
			return bytes.Replace(next.request(t, w.log, 10).Marshal(), []byte("\n20\n"), []byte("\n21\n"), 1)
		}, ErrLogSignature},
		"old_over_the_checkpoint": {func(w *watched) []byte {
			return audit.Add{Old: 21, Checkpoint: next.request(t, w.log, 0).Checkpoint}.Marshal()
		}, audit.ErrAdd},
		"old_under_its_own":         {func(w *watched) []byte { return next.request(t, w.log, 5).Marshal() }, &SizeError{Size: 10}},
		"old_over_its_own":          {func(w *watched) []byte { return next.request(t, w.log, 11).Marshal() }, &SizeError{Size: 10}},
		"old_nothing":               {func(w *watched) []byte { return next.request(t, w.log, 0).Marshal() }, &SizeError{Size: 10}},
		"smaller_tree":              {func(w *watched) []byte { return newTree(t, 9, "leaf").request(t, w.log, 9).Marshal() }, &SizeError{Size: 10}},
		"tree_of_nothing":           {func(w *watched) []byte { return newTree(t, 0, "").request(t, w.log, 0).Marshal() }, &SizeError{Size: 10}},
		"same_size_another_tree":    {func(w *watched) []byte { return forked.request(t, w.log, 10).Marshal() }, &SizeError{10, true}},
		"the_same_with_another_old": {func(w *watched) []byte { return forked.request(t, w.log, 5).Marshal() }, &SizeError{10, true}},
		"another_tree":              {func(w *watched) []byte { return other.request(t, w.log, 10).Marshal() }, ErrProof},
		"fork_that_goes_on":         {func(w *watched) []byte { return forked.grow(t, 20, "leaf").request(t, w.log, 10).Marshal() }, ErrProof},
		"no_proof": {func(w *watched) []byte {
			return audit.Add{Old: 10, Checkpoint: next.request(t, w.log, 10).Checkpoint}.Marshal()
		}, ErrProof},
		"proof_for_the_same_size": {func(w *watched) []byte {
			add := good.request(t, w.log, 10)
			add.Proof = tlog.TreeProof{{}}
			return add.Marshal()
		}, ErrProof},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			b := newBudgets(t)
			w := newWatched(t, b)
			first := good.request(t, w.log, 0)
			if _, err := w.Add(w.vkey, first.Marshal()); err != nil {
				t.Fatal(err)
			}
			before, err := w.Latest(w.vkey)
			if err != nil {
				t.Fatal(err)
			}
			line, err := w.Add(w.vkey, c.body(w))
			want, sized := errors.AsType[*SizeError](c.want)
			got, ok := errors.AsType[*SizeError](err)
			if line != nil || err == nil || sized != ok || sized && *got != *want || !sized && !errors.Is(err, c.want) {
				t.Errorf("%v (%q), want %v", err, line, c.want)
			}
			w.open(t, b)
			if after, err := w.Latest(w.vkey); err != nil || !bytes.Equal(before, after) {
				t.Errorf("latest is %q (%v), was %q", after, err, before)
			}
			add := next.request(t, w.log, 10)
			if line, err = w.Add(w.vkey, add.Marshal()); err != nil {
				t.Fatal(err)
			}
			w.opens(t, add, line)
		})
	}
}

// The first that a witness sees needs no proof, and takes none.
func TestWitnessBeginsAnywhere(t *testing.T) {
	w := newWatched(t, newBudgets(t))
	add := newTree(t, 7, "leaf").request(t, w.log, 0)
	add.Proof = tlog.TreeProof{{}}
	if _, err := w.Add(w.vkey, add.Marshal()); !errors.Is(err, ErrProof) {
		t.Errorf("a proof from nothing: %v", err)
	}
	wrong := audit.Checkpoint{Origin: w.log.Name(), Root: tlog.Hash{1}}
	msg, err := wrong.Sign(w.log)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Add(w.vkey, audit.Add{Checkpoint: msg}.Marshal()); err == nil {
		t.Error("a tree of nothing with a root of its own is cosigned")
	}
	add.Proof = nil
	if _, err := w.Add(w.vkey, add.Marshal()); err != nil {
		t.Error(err)
	}
	if _, err := w.Add("", add.Marshal()); !errors.Is(err, ErrLog) {
		t.Errorf("without a log in the manifest: %v", err)
	}
}

// Of forks that race, one is cosigned. On a real disk all others come while the first is
// being written.
func TestWitnessOfRacingForks(t *testing.T) {
	const forks, times = 4, 2
	for range 5 {
		folder := t.TempDir()
		b, err := OpenBudgets(filepath.Join(folder, "db"), BudgetOptions{Logger: quiet{t}})
		if err != nil {
			t.Fatal(err)
		}
		w := newWatched(t, b)
		if w.Witness, err = OpenWitness(b, w.key, filepath.Join(folder, "witness.key")); err != nil {
			t.Fatal(err)
		}
		var g sync.WaitGroup
		var mu sync.Mutex
		cosigned := map[int]bool{}
		start := make(chan struct{})
		for i := range forks * times {
			request := newTree(t, 4, fmt.Sprint(i%forks)).request(t, w.log, 0).Marshal()
			g.Go(func() {
				<-start
				_, err := w.Add(w.vkey, request)
				_, refused := errors.AsType[*SizeError](err)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					cosigned[i%forks] = true
				case !refused:
					t.Error(err)
				}
			})
		}
		close(start)
		g.Wait()
		b.Close()
		if len(cosigned) != 1 {
			t.Fatalf("%d trees of one size are cosigned", len(cosigned))
		}
	}
}

// The proof of a fork is kept: two checkpoints that the log has signed.
func TestWitnessKeepsTheProofOfAFork(t *testing.T) {
	b := newBudgets(t)
	w := newWatched(t, b)
	var forks []audit.Add
	for i := range 3 {
		add := newTree(t, 4, fmt.Sprint(i)).request(t, w.log, 0)
		forks = append(forks, add)
		_, err := w.Add(w.vkey, add.Marshal())
		if size, ok := errors.AsType[*SizeError](err); (i > 0) != (ok && size.Forked) {
			t.Errorf("%d: %v", i, err)
		}
	}
	f, err := b.fs.Open("witness.key.forked")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text := make([]byte, 4096)
	n, err := f.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	one, other, _ := strings.Cut(string(text[:n]), "\n\n"+audit.Origin("test"))
	k, err := audit.ParseKeys(w.vkey, []string{w.named}, 1)
	if err != nil {
		t.Fatal(err)
	}
	first, _, err := k.OpenCosigned([]byte(one + "\n"))
	if err != nil {
		t.Fatalf("%v: %s", err, one)
	}
	second, err := k.Open([]byte(audit.Origin("test") + other))
	if err != nil {
		t.Fatalf("%v: %s", err, other)
	}
	if first.Size != second.Size || first.Root == second.Root || !bytes.Equal([]byte(audit.Origin("test")+other), forks[1].Checkpoint) {
		t.Errorf("%v and %v prove no fork", first, second)
	}
}

// A store that was put back, or begun anew, is not believed by the key that has cosigned
// more; another key begins with it.
func TestWitnessThatForgot(t *testing.T) {
	fs := vfs.NewMem()
	open := func(folder string) *Budgets {
		t.Helper()
		b, err := OpenBudgets(folder, BudgetOptions{FS: fs, Logger: quiet{t}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	clone := func(from, to string) {
		t.Helper()
		if ok, err := vfs.Clone(fs, fs, from, to); err != nil || !ok {
			t.Fatal(ok, err)
		}
	}
	b := open("db")
	w := newWatched(t, b)
	add := func(size, old int64) {
		t.Helper()
		if _, err := w.Add(w.vkey, newTree(t, size, "leaf").request(t, w.log, old).Marshal()); err != nil {
			t.Fatal(err)
		}
	}
	add(4, 0)
	b.Close()
	clone("db", "backup")
	b = open("db")
	w.open(t, b)
	add(9, 4)
	b.Close()

	for _, folder := range []string{"backup", "new"} {
		b := open(folder)
		if _, err := OpenWitness(b, w.key, "witness.key"); !errors.Is(err, ErrForgotten) {
			t.Errorf("%s: %v", folder, err)
		}
		key, _ := witnessKeys(t)
		other, err := OpenWitness(b, key, "witness.key")
		if err != nil {
			t.Fatalf("%s: another key: %v", folder, err)
		}
		if _, err := other.Add(w.vkey, newTree(t, 3, "other").request(t, w.log, 0).Marshal()); (err == nil) != (folder == "new") {
			t.Errorf("%s: another key goes on from what the store knows: %v", folder, err)
		}
		b.Close()
		if folder == "backup" {
			continue
		}
		// The file beside is the new key's now.
		if _, err := OpenWitness(openAgain(t, fs, folder), key, "witness.key"); err != nil {
			t.Error(err)
		}
	}
	note := func(text string) {
		t.Helper()
		f, err := fs.Create("witness.key.seen", vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Write([]byte(w.own() + text))
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	note(audit.Checkpoint{Origin: audit.Origin("test"), Size: 9, Root: tlog.Hash{1}}.Text())
	b = open("db")
	if _, err := OpenWitness(b, w.key, "witness.key"); !errors.Is(err, ErrForgotten) {
		t.Errorf("of another tree of the same size: %v", err)
	}
	b.Close()
	note("nothing\n")
	b = open("db")
	defer b.Close()
	if _, err := OpenWitness(b, w.key, "witness.key"); !errors.Is(err, ErrSeen) {
		t.Errorf("a damaged file: %v", err)
	}
	if _, err := OpenWitness(b, "PRIVATE+KEY+no", "witness.key"); !errors.Is(err, ErrWitnessKey) {
		t.Errorf("no key: %v", err)
	}
}

func openAgain(t *testing.T, fs vfs.FS, folder string) *Budgets {
	t.Helper()
	b, err := OpenBudgets(folder, BudgetOptions{FS: fs, Logger: quiet{t}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// TestRow2Witness loses power at every sync while a log with two faces is cosigned. What
// then stands up has forgotten no cosignature that was given: it cosigns no second tree
// of a size, and no smaller one.
func TestRow2Witness(t *testing.T) {
	soak.Row(t, 2, "power lost at every sync while checkpoints are cosigned", soak.Short(10), func(t *testing.T, seed uint64) soak.Found {
		r := mathrand.New(mathrand.NewPCG(seed, 1))
		fs := vfs.NewCrashableMem()
		c := disktest.NewCamera(fs, mathrand.New(mathrand.NewPCG(seed, 2)))
		c.Kept = []int{0, 10, 50, 100}
		b, err := OpenBudgets("", BudgetOptions{FS: c, Logger: quiet{t}})
		if err != nil {
			t.Fatal(err)
		}
		w := newWatched(t, b)
		c.Turn(true)
		var at []audit.Checkpoint // the greatest whose cosignature was given, by picture
		given, tr := audit.Checkpoint{}, newTree(t, 0, "")
		for i := range 8 {
			before := given
			next := tr.grow(t, tr.size+int64(r.IntN(4)), fmt.Sprint(i))
			if _, err := w.Add(w.vkey, next.request(t, w.log, tr.size).Marshal()); err != nil {
				t.Fatal(err)
			}
			tr, given = next, next.checkpoint(t, w.log.Name())
			for len(at) < c.Taken() {
				at = append(at, before)
			}
		}
		c.Turn(false)
		end := fs.CrashClone(vfs.CrashCloneCfg{})
		b.Close()
		for i, picture := range append(c.Pictures(), end) {
			known := given
			if i < len(at) {
				known = at[i]
			}
			standsUp(t, w, picture, known)
		}
		return soak.Found{"power losses": len(at)}
	})
}

// standsUp opens what a power loss left, and tries to have another tree cosigned.
func standsUp(t *testing.T, w *watched, fs vfs.FS, given audit.Checkpoint) {
	t.Helper()
	b, err := OpenBudgets("", BudgetOptions{FS: fs, Logger: quiet{t}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	again, err := OpenWitness(b, w.key, "witness.key")
	if err != nil {
		t.Fatalf("after %d: %v", given.Size, err)
	}
	if given.Size == 0 {
		return
	}
	for _, size := range []int64{given.Size, max(given.Size-1, 0), 1, 0} {
		other := newTree(t, size, "other")
		for _, old := range []int64{0, size} {
			if line, err := again.Add(w.vkey, other.request(t, w.log, old).Marshal()); err == nil {
				t.Errorf("after %d was cosigned, another tree of %d: %s", given.Size, size, line)
			}
		}
	}
}
