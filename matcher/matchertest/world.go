// SPDX-License-Identifier: EUPL-1.2

// Package matchertest puts a registry with parties around it into a test or a
// benchmark: the real store, real signatures, and a clock that the test holds.
// Cards and keyboxes are noise of the real size, for the registry cannot open them
// anyway.
package matchertest

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/registry/journal"
	"github.com/seinhuis/seinhuis/registry/pebblestore"
)

// Dep is the deployment's name.
const Dep = "proef"

// A World is a registry with parties.
type World struct {
	*matcher.Matcher
	Manifest  *manifest.Manifest
	Directory *manifest.Directory
	FS        vfs.FS           // under the store
	Ingest    int              // option of the store, in force from the next Open
	Journal   *journal.Journal // of the store; KeepJournal begins it
	Logger    pebble.Logger    // likewise; if nil, one that panics where the process would end

	t       testing.TB
	parties map[api.PartyID]ed25519.PrivateKey
	mu      sync.Mutex
	clock   time.Time
}

// New makes a registry whose directory holds a number of parties, in memory. Its
// clock stands at noon UTC on 10 March 2026.
func New(t testing.TB, parties int) *World {
	t.Helper()
	w := &World{
		FS:        vfs.NewMem(),
		Manifest:  &manifest.Manifest{Dep: Dep, Epochs: []manifest.Epoch{{Number: 1, State: manifest.EpochOpen}}},
		Directory: &manifest.Directory{Dep: Dep},
		t:         t,
		parties:   make(map[api.PartyID]ed25519.PrivateKey),
		clock:     time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC),
	}
	w.Manifest.NotAfter = w.clock.AddDate(10, 0, 0)
	w.Manifest.Policy.DailySignals, w.Manifest.Policy.DailyActs = 1e9, 1e9
	w.Directory.NotAfter = w.Manifest.NotAfter
	for i := range parties {
		public, private := newKey(t)
		w.parties[Party(i)] = private
		w.Directory.Parties = append(w.Directory.Parties, manifest.Party{ID: Party(i), Keys: []manifest.Key{
			manifest.NewKey(manifest.UseSign, public, w.clock.AddDate(-1, 0, 0)),
		}})
	}
	keys, err := registry.ParseKeys(registry.NewKeyFile())
	if err != nil {
		t.Fatal(err)
	}
	_, receipt := newKey(t)
	w.Matcher = &matcher.Matcher{Keys: keys, ReceiptKey: receipt}
	w.Open(w.FS)
	t.Cleanup(func() {
		if w.Store != nil {
			w.Store.Close()
		}
	})
	return w
}

func newKey(t testing.TB) (ed25519.PublicKey, ed25519.PrivateKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return public, private
}

// Open opens the store in a file system, as after a restart.
func (w *World) Open(fs vfs.FS) {
	w.t.Helper()
	if err := w.TryOpen(fs); err != nil {
		w.t.Fatal(err)
	}
}

// Abandon forgets a store that is closed, or whose process has ended.
func (w *World) Abandon() {
	w.Matcher = &matcher.Matcher{Keys: w.Keys, ReceiptKey: w.ReceiptKey}
}

// TryOpen is Open where it may fail.
func (w *World) TryOpen(fs vfs.FS) error {
	store, err := pebblestore.Open("db", w.Keys, pebblestore.Options{FS: fs, Logger: cmp.Or[pebble.Logger](w.Logger, quiet{}), Ingest: w.Ingest, Journal: w.Journal})
	if err != nil {
		w.Abandon()
		return err
	}
	w.Take(fs, store)
	return nil
}

// Take goes on with a store that somebody has opened in a file system.
func (w *World) Take(fs vfs.FS, store registry.Store) {
	w.FS = fs
	w.Matcher = &matcher.Matcher{
		Store: store, Keys: w.Keys, ReceiptKey: w.ReceiptKey,
		Trust: func() (*manifest.Manifest, *manifest.Directory) { return w.Manifest, w.Directory },
		Now:   w.now,
	}
}

// Reopen closes the store and opens it again.
func (w *World) Reopen() {
	w.t.Helper()
	if err := w.Store.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.Open(w.FS)
}

// quiet drops pebble's chatter; what pebble calls fatal ends the test.
type quiet struct{}

func (quiet) Infof(string, ...any)              {}
func (quiet) Errorf(string, ...any)             {}
func (quiet) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (w *World) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

// SetClock sets the time that the registry sees, and has it believed, as if all of it
// had passed.
func (w *World) SetClock(t time.Time) {
	w.t.Helper()
	w.Jump(t)
	if _, err := w.AcceptClock(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

// Jump sets the clock of a registry that has to find out by itself.
func (w *World) Jump(t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = t
}

// Advance moves the clock.
func (w *World) Advance(d time.Duration) { w.SetClock(w.now().Add(d)) }

// Party names party i.
func Party(i int) api.PartyID { return api.PartyID(fmt.Sprintf("nl-kvk:%08d", i)) }

// Key is the signing key of party i.
func (w *World) Key(i int) ed25519.PrivateKey { return w.parties[Party(i)] }

// SetKey gives party i another signing key, of a world that was stored.
func (w *World) SetKey(i int, private ed25519.PrivateKey) {
	w.parties[Party(i)] = private
	w.Directory.Parties[i].Keys = []manifest.Key{
		manifest.NewKey(manifest.UseSign, private.Public().(ed25519.PublicKey), w.clock.AddDate(-1, 0, 0)),
	}
}

// Child is the tag of child i in epoch 1.
func Child(i int) api.Tag { return sha256.Sum256(fmt.Appendf(nil, "child %d", i)) }

// TagIn is the tag in an epoch of a child that has the given one in epoch 1.
func TagIn(epoch uint64, tag api.Tag) api.Tag {
	if epoch == 1 {
		return tag
	}
	return sha256.Sum256(fmt.Appendf(tag[:], " in epoch %d", epoch))
}

// OpenEpoch opens the next epoch beside what is open.
func (w *World) OpenEpoch() {
	w.setEpochs(append(slices.Clone(w.Manifest.Epochs), manifest.Epoch{
		Number: uint64(len(w.Manifest.Epochs)) + 1, State: manifest.EpochOpen,
	}))
}

// CloseEpoch closes the oldest open epoch.
func (w *World) CloseEpoch() {
	epochs := slices.Clone(w.Manifest.Epochs)
	epochs[w.oldest()-1].State = manifest.EpochClosed
	w.setEpochs(epochs)
}

// CompromiseEpoch has the keys of the oldest open epoch stolen.
func (w *World) CompromiseEpoch() {
	epochs := slices.Clone(w.Manifest.Epochs)
	epochs[w.oldest()-1].State = manifest.EpochCompromised
	w.setEpochs(epochs)
}

func (w *World) setEpochs(epochs []manifest.Epoch) {
	next := *w.Manifest
	next.Epochs = epochs
	w.Manifest = &next
}

// oldest is the oldest open epoch, 1 if none is.
func (w *World) oldest() uint64 {
	if open := w.Manifest.Open(); len(open) > 0 {
		return open[0].Number
	}
	return 1
}

func noise(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// A Paper is a statement ready to be sent, and what it says.
type Paper struct {
	Statement  api.Statement
	Submission api.Submission
}

// Write signs a statement of party p on the child with a tag, with a face in each
// open epoch; change may alter it first.
func (w *World) Write(p int, tag api.Tag, sid api.SID, rev uint64, change ...func(*api.Statement)) Paper {
	w.t.Helper()
	now := w.now()
	key := w.Key(p)
	st := api.Statement{
		Dep: Dep, Party: Party(p), KeyID: encoding.KeyIDOf(key.Public().(ed25519.PublicKey)), SID: sid, Rev: rev, Kind: api.KindChild,
		Expires: registry.Today(now).AddDate(1, 0, 0), Issued: now.Truncate(time.Second),
	}
	var sealed []api.SealedFace
	for n := range max(1, len(w.Manifest.Open())) {
		epoch := w.oldest() + uint64(n)
		f := api.SealedFace{Card: noise(668), Keybox: noise(185)}
		sealed = append(sealed, f)
		st.Faces = append(st.Faces, api.Face{
			Epoch: epoch, Tag: TagIn(epoch, tag), Card: sha256.Sum256(f.Card), Keybox: sha256.Sum256(f.Keybox),
		})
	}
	for _, c := range change {
		c(&st)
	}
	b, err := st.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	return Paper{st, api.Submission{Signed: api.Sign(key, b), Faces: sealed[:min(len(sealed), len(st.Faces))]}}
}

// Send submits a statement.
func (w *World) Send(p Paper) (matcher.Outcome, error) {
	return w.Submit(context.Background(), p.Statement.Party, p.Submission)
}

// Signal registers a new signal, which must be taken.
func (w *World) Signal(p int, tag api.Tag) Paper {
	w.t.Helper()
	paper := w.Write(p, tag, api.NewSID(), 1)
	if out, err := w.Send(paper); err != nil || !out.Created {
		w.t.Fatalf("a new signal was not taken: %v", err)
	}
	return paper
}

// Revise sends the next revision of a signal, which must be taken.
func (w *World) Revise(of Paper) Paper {
	w.t.Helper()
	st := of.Statement
	paper := w.Write(slices.IndexFunc(w.Directory.Parties, func(p manifest.Party) bool { return p.ID == st.Party }),
		st.Faces[0].Tag, st.SID, st.Rev+1)
	if out, err := w.Send(paper); err != nil || !out.Created {
		w.t.Fatalf("a revision was not taken: %v", err)
	}
	return paper
}

// Withdrawal signs the act that withdraws a signal, by its tag in the oldest open
// epoch if it has one; change may alter it first.
func (w *World) Withdrawal(of Paper, change ...func(*api.Act)) api.ActRequest {
	w.t.Helper()
	return w.ActOn(of, append([]func(*api.Act){func(a *api.Act) { a.Act, a.Body = api.ActWithdraw, api.ReasonEnded }}, change...)...)
}

// Answer signs the act that answers another signal in the match of a signal; change may
// alter it first.
func (w *World) Answer(of, other Paper, word api.Answer, change ...func(*api.Act)) api.ActRequest {
	w.t.Helper()
	match := w.MatchOf(of)
	return w.ActOn(of, append([]func(*api.Act){func(a *api.Act) {
		a.Act, a.Match, a.OtherSID, a.Body = api.ActAnswer, match.ID, other.Statement.SID, string(word)
	}}, change...)...)
}

// Offer signs the act that gives a signal to party to until a day, or with no day takes back
// what was given.
func (w *World) Offer(of Paper, to int, until encoding.Date, change ...func(*api.Act)) api.ActRequest {
	w.t.Helper()
	var given api.Handover
	if !until.IsZero() {
		given = api.Handover{To: Party(to), Until: until}
	}
	return w.ActOn(of, append([]func(*api.Act){func(a *api.Act) { a.Act, a.Body = api.ActHandover, given.Body() }}, change...)...)
}

// MatchOf is the match that a signal is in; zero if it is in none.
func (w *World) MatchOf(of Paper) registry.Match {
	w.t.Helper()
	idx, _ := w.Keys.Place(of.Statement, w.oldest())
	m, err := w.Store.Match(context.Background(), idx)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// ActOn signs an act on a signal; change says which.
func (w *World) ActOn(of Paper, change ...func(*api.Act)) api.ActRequest {
	w.t.Helper()
	face := of.Statement.Faces[0]
	if i := slices.IndexFunc(of.Statement.Faces, func(f api.Face) bool { return f.Epoch == w.oldest() }); i >= 0 {
		face = of.Statement.Faces[i]
	}
	act := api.Act{
		Dep: Dep, Party: of.Statement.Party, KeyID: of.Statement.KeyID, SID: of.Statement.SID, Rev: of.Statement.Rev,
		Tag: face.Tag, Issued: w.now().Truncate(time.Second),
	}
	for _, c := range change {
		c(&act)
	}
	b, err := act.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	return api.ActRequest{Signed: api.Sign(w.parties[of.Statement.Party], b)}
}

// Withdraw withdraws a signal, which must be taken.
func (w *World) Withdraw(of Paper) {
	w.t.Helper()
	if _, err := w.Act(context.Background(), of.Statement.Party, w.Withdrawal(of)); err != nil {
		w.t.Fatal(err)
	}
}

// Feed reads everything in a party's feed.
func (w *World) Feed(p int) []api.Event {
	w.t.Helper()
	var all []api.Event
	cursor := ""
	for {
		got, err := registry.Deliver(context.Background(), w.Store, Party(p), cursor, api.MaxEvents, 0, w.now())
		if err != nil {
			w.t.Fatal(err)
		}
		if len(got.Items) == 0 {
			return all
		}
		all, cursor = append(all, got.Items...), got.Next
	}
}

// Told lists a feed as lines like "joined nl-kvk:00000001".
func (w *World) Told(p int) []string {
	lines := []string{}
	for _, e := range w.Feed(p) {
		lines = append(lines, fmt.Sprintf("%s %s", e.Kind, e.Other.Party))
	}
	return lines
}
