// SPDX-License-Identifier: EUPL-1.2

package matcher_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/registry/pebblestore"
)

const dep = "proef"

// A world is a registry with parties around it: the real store, real signatures,
// and a clock that the test holds. Cards and keyboxes are noise of the real size,
// for the registry cannot open them anyway.
type world struct {
	t testing.TB
	*matcher.Matcher
	fs      vfs.FS
	clock   time.Time
	mu      sync.Mutex
	parties map[api.PartyID]ed25519.PrivateKey
	dir     *manifest.Directory
	man     *manifest.Manifest
}

func newWorld(t testing.TB, parties int) *world {
	t.Helper()
	w := &world{
		t: t, fs: vfs.NewMem(),
		clock:   time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC),
		parties: make(map[api.PartyID]ed25519.PrivateKey),
		man:     &manifest.Manifest{Dep: dep, Epochs: []manifest.Epoch{{Number: 1, State: "open"}}},
		dir:     &manifest.Directory{Dep: dep},
	}
	for i := range parties {
		public, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		id := party(i)
		w.parties[id] = private
		w.dir.Parties = append(w.dir.Parties, manifest.Party{ID: id, Keys: []manifest.Key{{
			ID: encoding.KeyIDOf(public), Use: "sign", Key: encoding.Base64(public), From: w.clock.AddDate(-1, 0, 0),
		}}})
	}
	keys, err := registry.ParseKeys(registry.NewKeyFile())
	if err != nil {
		t.Fatal(err)
	}
	_, receipt, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Matcher = &matcher.Matcher{
		Keys: keys, ReceiptKey: receipt,
		Trust: func() (*manifest.Manifest, *manifest.Directory) { return w.man, w.dir },
		Now:   func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.clock },
	}
	w.open(w.fs)
	t.Cleanup(func() { w.Store.Close() })
	return w
}

// open opens the store in a file system, as after a restart.
func (w *world) open(fs vfs.FS) {
	w.t.Helper()
	store, err := pebblestore.Open("db", w.Keys, pebblestore.Options{FS: fs, Logger: quiet{w.t}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.fs, w.Store = fs, store
}

// quiet drops pebble's chatter; what pebble calls fatal ends the test.
type quiet struct{ t testing.TB }

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (q quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

func party(i int) api.PartyID { return api.PartyID(fmt.Sprintf("nl-kvk:%08d", i)) }

func child(i int) api.Tag { return sha256.Sum256(fmt.Appendf(nil, "child %d", i)) }

func noise(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// A paper is a statement ready to be sent, and what it says.
type paper struct {
	st  api.Statement
	sub api.Submission
}

// write signs a statement of party p on a child; change may alter it first.
func (w *world) write(p int, tag api.Tag, sid api.SID, rev uint64, change ...func(*api.Statement)) paper {
	w.t.Helper()
	now := w.Now()
	card, keybox := noise(668), noise(185)
	st := api.Statement{
		Dep: dep, Party: party(p), SID: sid, Rev: rev, Kind: api.KindChild,
		Expires: registry.Today(now).AddDate(1, 0, 0), Issued: now.Truncate(time.Second),
		Faces: []api.Face{{Epoch: 1, Tag: tag, Card: sha256.Sum256(card), Keybox: sha256.Sum256(keybox)}},
	}
	key := w.parties[party(p)]
	st.KeyID = encoding.KeyIDOf(key.Public().(ed25519.PublicKey))
	for _, c := range change {
		c(&st)
	}
	b, err := st.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	return paper{st, api.Submission{Signed: api.Sign(key, b), Faces: []api.SealedFace{{Card: card, Keybox: keybox}}}}
}

func (w *world) submit(p paper) (matcher.Outcome, error) {
	return w.Submit(context.Background(), p.st.Party, p.sub)
}

// signal registers a new signal, which must be taken.
func (w *world) signal(p int, tag api.Tag) paper {
	w.t.Helper()
	paper := w.write(p, tag, api.NewSID(), 1)
	if out, err := w.submit(paper); err != nil || !out.Created {
		w.t.Fatalf("a new signal was not taken: %v", err)
	}
	return paper
}

func (w *world) withdrawal(of paper, change ...func(*api.Act)) api.ActRequest {
	w.t.Helper()
	act := api.Act{
		Dep: dep, Party: of.st.Party, KeyID: of.st.KeyID, Act: api.ActWithdraw, SID: of.st.SID, Rev: of.st.Rev,
		Tag: of.st.Faces[0].Tag, Issued: w.Now().Truncate(time.Second), Body: api.ReasonEnded,
	}
	for _, c := range change {
		c(&act)
	}
	b, err := act.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	return api.ActRequest{Signed: api.Sign(w.parties[of.st.Party], b)}
}

func (w *world) withdraw(of paper) {
	w.t.Helper()
	if _, err := w.Act(context.Background(), of.st.Party, w.withdrawal(of)); err != nil {
		w.t.Fatal(err)
	}
}

// feed reads everything in a party's feed.
func (w *world) feed(p int) []api.Event {
	w.t.Helper()
	var all []api.Event
	cursor := ""
	for {
		got, err := registry.Deliver(context.Background(), w.Store, party(p), cursor, api.MaxEvents, 0, w.Now())
		if err != nil {
			w.t.Fatal(err)
		}
		if len(got.Items) == 0 {
			return all
		}
		all, cursor = append(all, got.Items...), got.Next
	}
}

// told lists a feed as lines like "joined nl-kvk:00000001".
func (w *world) told(p int) []string {
	lines := []string{}
	for _, e := range w.feed(p) {
		lines = append(lines, fmt.Sprintf("%s %s", e.Kind, e.Other.Party))
	}
	return lines
}
