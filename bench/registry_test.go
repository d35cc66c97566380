// SPDX-License-Identifier: EUPL-1.2

package bench

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/crypto/atrest"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/registry/pebblestore"
)

// A house is a registry on disk, with a directory of many parties and a number of
// children who have been signalled once.
type house struct {
	*matchertest.World
	r       *run
	folder  string // of the store
	parties int
	stored  int // children 0 to stored-1 have been signalled
	chunk   int // so many children one after the other by the same party
	next    int // the next child whom nobody has signalled
	met     int // so many stored children have been signalled by a second party
	signals int // in all
	sizes   rowSizes
	record  int // bytes of the log's record of a signal and its salt
}

// rowSizes are the lengths in bytes of rows as the product seals them, for peers
// that store as much.
type rowSizes struct{ Signal, Match, Event, Leaf int }

func newHouse(r *run) *house {
	folder := filepath.Join(r.TempDir(), "registry") // before the world, so that it goes after
	h := &house{World: matchertest.New(r.T, r.parties+r.newcomers), r: r, folder: folder, parties: r.parties}
	r.must(h.Store.Close()) // matchertest's, in memory
	h.open()
	h.measureRows()
	return h
}

// open opens the store on disk; the one before it has been closed.
func (h *house) open() {
	h.r.Helper()
	store, err := pebblestore.Open(h.folder, h.Keys, pebblestore.Options{Logger: silent{}})
	h.r.must(err)
	h.Store = store
}

// silent drops Pebble's chatter; what Pebble calls fatal ends the process.
type silent struct{}

func (silent) Infof(string, ...any)              {}
func (silent) Errorf(string, ...any)             {}
func (silent) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (h *house) measureRows() {
	paper := h.Write(0, api.Tag{}, api.NewSID(), 1)
	leaf, err := audit.NewLeaf(audit.Record{
		Event: "signal.register", Action: audit.Create, Outcome: audit.Success, Time: h.Now(), Party: string(matchertest.Party(0)),
		ObjectType: "signal", ObjectID: api.NewSID().String(), System: "registry",
	})
	h.r.must(err)
	h.record = len(leaf.Record) + len(leaf.Salt)
	member := registry.Member{Party: matchertest.Party(0)}
	size := func(b []byte, err error) int {
		h.r.must(err)
		return len(b) + atrest.Overhead
	}
	h.sizes = rowSizes{
		Signal: size(registry.Signal{
			Signed: paper.Submission.Signed, Sealed: paper.Submission.Faces, Granted: registry.Granted{Time: h.Now()},
		}.MarshalBinary()),
		Match: size(registry.Match{Members: []registry.Member{member, member}}.MarshalBinary()),
		Event: size(registry.Event{Kind: api.EventJoined, Epoch: 1, Recipient: member, Other: member, Rev: 1}.MarshalBinary()),
		Leaf:  size(registry.LogEntry(leaf).MarshalBinary()),
	}
}

// fill signals children up to a number, each by one party, the way a party that
// joins does: by import. The peer loads the same.
func (h *house) fill(children int, mirror bool) {
	h.r.Helper()
	if h.chunk == 0 {
		h.chunk = min(max(children/h.parties, 1), 1000)
	}
	var to *mirrorFile
	if mirror && h.r.peers != nil {
		to = h.newMirror("stored")
	}
	h.r.say("filling the store up to %s signals", millions(children))
	type part struct {
		party  int
		papers []matchertest.Paper
	}
	parts := make(chan part, 1)
	g, ctx := errgroup.WithContext(context.Background())
	g.Go(func() error {
		defer close(parts)
		for from := h.stored; from < children; from += h.chunk {
			party := h.signaller(from)
			papers := h.write(min(h.chunk, children-from), func(i int) (int, int) { return party, from + i })
			for _, p := range papers {
				to.add(p)
			}
			select {
			case parts <- part{party, papers}:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	g.Go(func() error {
		for p := range parts {
			got, err := h.Import(ctx, matchertest.Party(p.party), submissions(p.papers))
			if err != nil {
				return err
			}
			for _, one := range got {
				if one.Refused != nil {
					return one.Refused
				}
			}
		}
		return nil
	})
	h.r.must(g.Wait())
	h.signals += children - h.stored
	h.stored, h.next = children, children
	if to != nil {
		h.r.say("the peer loads them")
		h.r.ask("registry.load", map[string]any{"rows": to.close()}, nil)
	}
}

// signaller is the party that has signalled a stored child.
func (h *house) signaller(child int) int { return child / h.chunk % h.parties }

// write signs statements on n children in parallel; of says of each the party and
// the child.
func (h *house) write(n int, of func(i int) (party, child int)) []matchertest.Paper {
	papers := make([]matchertest.Paper, n)
	var g errgroup.Group
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		g.Go(func() error {
			for i := n * w / workers; i < n*(w+1)/workers; i++ {
				party, child := of(i)
				papers[i] = h.World.Write(party, matchertest.Child(child), api.NewSID(), 1)
			}
			return nil
		})
	}
	g.Wait()
	return papers
}

// batch writes n new signals. One in ten is of a stored child whom a second party
// now signals for the first time; the others are of children whom nobody has
// signalled. by says who sends the i-th; where that is the child's first
// signaller, another child is taken.
func (h *house) batch(n int, by func(i int) int) []matchertest.Paper {
	h.signals += n
	const stride = 7919 // prime, so that the stored children come by in a scattered order
	children := make([]int, n)
	for i := range children {
		if i%10 != 9 {
			children[i] = h.next
			h.next++
			continue
		}
		for {
			child := h.met * stride % h.stored
			if h.met++; h.met > h.stored {
				h.r.Fatal("all stored children have been met")
			}
			if h.signaller(child) != by(i) {
				children[i] = child
				break
			}
		}
	}
	return h.write(n, func(i int) (int, int) { return by(i), children[i] })
}

func submissions(papers []matchertest.Paper) []api.Submission {
	subs := make([]api.Submission, len(papers))
	for i, p := range papers {
		subs[i] = p.Submission
	}
	return subs
}

// told is what a registry's feeds hold in all, for comparison.
type told struct {
	Events  int
	Matches int
	Sum     uint64
}

func (h *house) told() (got told) {
	matches := map[api.MatchID]bool{}
	for p := range h.parties + h.r.newcomers {
		events, _, err := h.Store.Events(context.Background(), matchertest.Party(p), 0, math.MaxInt)
		h.r.must(err)
		for _, e := range events {
			matches[e.Match] = true
			got.Events++
			got.Sum += binary.BigEndian.Uint64(e.Recipient.SID[:])*31 + binary.BigEndian.Uint64(e.Other.SID[:])
		}
	}
	got.Matches = len(matches)
	return got
}

// compare sees that ours and the peer have told the same.
func (h *house) compare(want int) {
	h.r.Helper()
	ours := h.told()
	if ours.Events != 2*want || ours.Matches != want {
		h.r.Fatalf("%d matches and %d events; %d matches were made", ours.Matches, ours.Events, want)
	}
	var theirs told
	if h.r.ask("registry.told", nil, &theirs) && theirs != ours {
		h.r.Fatalf("ours has told %+v, the peer %+v", ours, theirs)
	}
}

// drive has clients do n things, each one at a time, and gives how long it took in
// all and for one in a hundred at least.
func drive(n, clients int, do func(i int) error) (took, p99 time.Duration, err error) {
	took1 := make([]time.Duration, n)
	var g errgroup.Group
	var next atomic.Int64
	start := time.Now()
	for range clients {
		g.Go(func() error {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				began := time.Now()
				if err := do(i); err != nil {
					return err
				}
				took1[i] = time.Since(began)
			}
			return nil
		})
	}
	err = g.Wait()
	took = time.Since(start)
	slices.Sort(took1)
	return took, took1[n*99/100], err
}

// A mirrorFile is rows for the peer: tag(32) sid(16) expires(4, yyyymmdd) and, each
// with its length in two bytes before it, party and a row as long as a sealed
// signal's, of noise.
type mirrorFile struct {
	f    *os.File
	w    *bufio.Writer
	rows *mathrand.ChaCha8
	size int
}

func (h *house) newMirror(name string) *mirrorFile {
	f, err := os.Create(filepath.Join(h.r.TempDir(), name))
	h.r.must(err)
	var seed [32]byte
	rand.Read(seed[:])
	return &mirrorFile{f, bufio.NewWriterSize(f, 1<<20), mathrand.NewChaCha8(seed), h.sizes.Signal}
}

// add adds a row; errors stick in the writer, and close tells.
func (m *mirrorFile) add(p matchertest.Paper) {
	if m == nil {
		return
	}
	st := p.Statement
	row := make([]byte, m.size)
	m.rows.Read(row)
	m.w.Write(st.Faces[0].Tag[:])
	m.w.Write(st.SID[:])
	binary.Write(m.w, binary.BigEndian, uint32(st.Expires.Year*10000+int(st.Expires.Month)*100+st.Expires.Day))
	for _, field := range [][]byte{[]byte(st.Party), row} {
		binary.Write(m.w, binary.BigEndian, uint16(len(field)))
		m.w.Write(field)
	}
}

// close gives the path.
func (m *mirrorFile) close() string {
	if err := errors.Join(m.w.Flush(), m.f.Close()); err != nil {
		panic(err) // the disk is full, most likely
	}
	return m.f.Name()
}

// mirror writes rows of papers for the peer.
func (h *house) mirror(name string, papers []matchertest.Paper) string {
	m := h.newMirror(name)
	for _, p := range papers {
		m.add(p)
	}
	return m.close()
}

// tmpfs is the type of a file system in memory (statfs(2)).
const tmpfs = 0x01021994

// warnOfMemory says so when the data would lie in memory, where durability costs
// nothing.
func warnOfMemory(t *testing.T) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(os.TempDir(), &s); err != nil {
		t.Fatal(err)
	}
	if s.Type == tmpfs {
		fmt.Fprintf(os.Stderr, "%s is in memory: set TMPDIR to a folder on a disk, or what is durable is compared at no cost\n", os.TempDir())
	}
}
