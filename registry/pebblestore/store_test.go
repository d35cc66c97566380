// SPDX-License-Identifier: EUPL-1.2

package pebblestore_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sync/errgroup"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/registry/pebblestore"
)

func newKeys(t testing.TB) registry.Keys {
	t.Helper()
	keys, err := registry.ParseKeys(registry.NewKeyFile())
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func open(t testing.TB, fs vfs.FS, keys registry.Keys) *pebblestore.Store {
	t.Helper()
	return openWith(t, keys, pebblestore.Options{FS: fs})
}

func openWith(t testing.TB, keys registry.Keys, o pebblestore.Options) *pebblestore.Store {
	t.Helper()
	o.Logger = loud{}
	s, err := pebblestore.Open("db", keys, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// loud drops pebble's chatter and panics where pebble must not go on.
type loud struct{}

func (loud) Infof(string, ...any)              {}
func (loud) Errorf(string, ...any)             {}
func (loud) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func party(i int) api.PartyID { return api.PartyID(fmt.Sprintf("nl-kvk:%08d", i)) }

func idxOf(i int) registry.Idx {
	h := sha256.Sum256(fmt.Appendf(nil, "idx %d", i))
	return registry.Idx(h[:16])
}

func signal(t testing.TB, p int, expires encoding.Date) registry.Signal {
	t.Helper()
	s := api.Statement{
		Dep: "proef", Party: party(p), SID: api.NewSID(), Rev: 1, Kind: api.KindChild, Expires: expires,
		Issued: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), Faces: []api.Face{{Epoch: 1}},
	}
	b, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return registry.Signal{
		Statement: s, Signed: api.Signed{Signed: b, Signature: make([]byte, 64)},
		Sealed:  []api.SealedFace{{Card: bytes.Repeat([]byte("card"), 167), Keybox: bytes.Repeat([]byte("k"), 185)}},
		Granted: registry.Granted{Others: 2, Time: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)},
	}
}

func event(to, n int) registry.Event {
	h := sha256.Sum256(fmt.Appendf(nil, "event %d %d", to, n))
	return registry.Event{
		ID: api.EventID(h[:16]), Kind: api.EventJoined, Match: api.NewMatchID(), Epoch: 1, Idx: idxOf(n),
		Recipient: registry.Member{Party: party(to)}, Other: registry.Member{Party: party(99)}, Rev: uint64(n),
	}
}

func update(t testing.TB, s *pebblestore.Store, idx registry.Idx, fn func(registry.Tx) error) {
	t.Helper()
	if err := s.Update(context.Background(), idx, fn); err != nil {
		t.Fatal(err)
	}
}

var day = encoding.Date{Year: 2026, Month: 5, Day: 1}

func TestTransactionReadsWhatItWrote(t *testing.T) {
	s := open(t, vfs.NewMem(), newKeys(t))
	defer s.Close()
	one, two := signal(t, 1, day), signal(t, 2, day)
	match := registry.Match{ID: api.NewMatchID(), Members: []registry.Member{{Party: party(1), SID: one.SID}, {Party: party(2), SID: two.SID}}}
	tomb := registry.Tombstone{Rev: 3, Act: api.Hash{1}, Until: day, Granted: one.Granted}
	update(t, s, idxOf(1), func(tx registry.Tx) error {
		if err := errors.Join(tx.PutSignal(two), tx.PutSignal(one), tx.PutMatch(match)); err != nil {
			return err
		}
		got, err := tx.Signals()
		if err != nil || len(got) != 2 || got[0].SID != one.SID || got[1].SID != two.SID {
			t.Errorf("signals written in the transaction are not read in order of party (%v)", err)
		}
		return nil
	})
	update(t, s, idxOf(1), func(tx registry.Tx) error {
		got, err := tx.Signals()
		if err != nil || len(got) != 2 || !bytes.Equal(got[0].Sealed[0].Card, one.Sealed[0].Card) || got[0].Granted != one.Granted {
			t.Errorf("signals do not come back as they were stored (%v)", err)
		}
		if m, err := tx.Match(); err != nil || m.ID != match.ID || len(m.Members) != 2 {
			t.Errorf("the match does not come back (%v)", err)
		}
		if err := errors.Join(tx.EndSignal(one, tomb), tx.PutMatch(registry.Match{})); err != nil {
			return err
		}
		if got, _ := tx.Signals(); len(got) != 1 {
			t.Error("an ended signal is still read")
		}
		return nil
	})
	update(t, s, idxOf(1), func(tx registry.Tx) error {
		if m, err := tx.Match(); err != nil || !m.ID.IsZero() {
			t.Errorf("a removed match is still there (%v)", err)
		}
		if got, ok, err := tx.Tombstone(party(1), one.SID); err != nil || !ok || got != tomb {
			t.Errorf("the tombstone does not come back (%v)", err)
		}
		if _, ok, err := tx.Tombstone(party(2), one.SID); err != nil || ok {
			t.Errorf("another party finds the tombstone (%v)", err)
		}
		return nil
	})
	if _, ok, err := s.Signal(t.Context(), idxOf(1), party(1)); ok || err != nil {
		t.Errorf("an ended signal is read outside a transaction (%v)", err)
	}
}

func TestFailedTransactionWritesNothing(t *testing.T) {
	s := open(t, vfs.NewMem(), newKeys(t))
	defer s.Close()
	no := errors.New("no")
	err := s.Update(t.Context(), idxOf(1), func(tx registry.Tx) error {
		return errors.Join(tx.PutSignal(signal(t, 1, day)), tx.Emit(event(1, 1), day), no)
	})
	if !errors.Is(err, no) {
		t.Fatal(err)
	}
	if _, ok, _ := s.Signal(t.Context(), idxOf(1), party(1)); ok {
		t.Error("a signal of a failed transaction is there")
	}
	if events, _, _ := s.Events(t.Context(), party(1), 0, 10); len(events) != 0 {
		t.Error("an event of a failed transaction is there")
	}
}

// TestFeedIsNeverSkipped has writers tell one party things while it reads: each
// event comes once, and none behind a position that the reader has passed.
func TestFeedIsNeverSkipped(t *testing.T) {
	s := open(t, vfs.NewMem(), newKeys(t))
	defer s.Close()
	const writers, each = 8, 60
	g, ctx := errgroup.WithContext(t.Context())
	for w := range writers {
		g.Go(func() error {
			for n := range each {
				err := s.Update(ctx, idxOf(w*each+n), func(tx registry.Tx) error { return tx.Emit(event(1, w*each+n), day) })
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	seen := make(map[api.EventID]bool)
	g.Go(func() error {
		after := uint64(0)
		for len(seen) < writers*each {
			if err := s.Wait(ctx, party(1), after); err != nil {
				return err
			}
			events, last, err := s.Events(ctx, party(1), after, 7)
			if err != nil {
				return err
			}
			for _, e := range events {
				if seen[e.ID] {
					return errors.New("an event came twice")
				}
				seen[e.ID] = true
			}
			s.Acknowledge(party(1), last)
			if _, err := s.Trim(ctx, day, 1000); err != nil {
				return err
			}
			after = last
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestFeedHoldsAnIDOnce(t *testing.T) {
	s := open(t, vfs.NewMem(), newKeys(t))
	defer s.Close()
	for range 3 {
		update(t, s, idxOf(1), func(tx registry.Tx) error { return tx.Emit(event(1, 1), day) })
	}
	if events, _, err := s.Events(t.Context(), party(1), 0, 10); err != nil || len(events) != 1 {
		t.Errorf("%d events, %v", len(events), err)
	}
}

func TestFeedRemembersWhatItHeld(t *testing.T) {
	s := open(t, vfs.NewMem(), newKeys(t))
	defer s.Close()
	tell := func(n int) {
		t.Helper()
		update(t, s, idxOf(n), func(tx registry.Tx) error { return tx.Emit(event(1, n), day) })
	}
	held := func(n int) bool {
		t.Helper()
		ok, err := s.Held(t.Context(), party(1), event(1, n).ID)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	tell(1)
	tell(2)
	s.Acknowledge(party(1), 2)
	if _, err := s.Trim(t.Context(), day.AddDate(0, 0, -1), 1000); err != nil {
		t.Fatal(err)
	}
	tell(1) // trimmed, but told
	if events, _, _ := s.Events(t.Context(), party(1), 0, 10); len(events) != 1 || !held(1) || held(3) {
		t.Errorf("%d events, held %v", len(events), held(1))
	}
	if _, err := s.Trim(t.Context(), day, 1000); err != nil {
		t.Fatal(err)
	}
	if held(1) {
		t.Error("an id is remembered beyond its day")
	}
}

func TestPositionsGoOnAfterTrimAndRestart(t *testing.T) {
	fs, keys := vfs.NewMem(), newKeys(t)
	s := open(t, fs, keys)
	for n := range 5 {
		update(t, s, idxOf(n), func(tx registry.Tx) error { return tx.Emit(event(1, n), day) })
	}
	_, last, err := s.Events(t.Context(), party(1), 0, 10)
	if err != nil || last != 5 {
		t.Fatal(last, err)
	}
	s.Acknowledge(party(1), last)
	if _, err := s.Trim(t.Context(), day, 1000); err != nil {
		t.Fatal(err)
	}
	if events, _, _ := s.Events(t.Context(), party(1), 0, 10); len(events) != 1 {
		t.Errorf("%d events are left after a trim, want the last one", len(events))
	}
	incarnation := s.Incarnation()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, fs, keys)
	defer s.Close()
	if s.Incarnation() != incarnation {
		t.Error("a restart changed the incarnation")
	}
	update(t, s, idxOf(9), func(tx registry.Tx) error { return tx.Emit(event(1, 9), day) })
	events, at, err := s.Events(t.Context(), party(1), last, 10)
	if err != nil || len(events) != 1 || at != 6 {
		t.Errorf("after a restart the feed goes on at %d with %d events (%v)", at, len(events), err)
	}
}

func TestWaitEndsWithContextAndClose(t *testing.T) {
	s := open(t, vfs.NewMem(), newKeys(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Wait(ctx, party(1), 0); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	var g errgroup.Group
	g.Go(func() error { return s.Wait(context.Background(), party(1), 0) })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := g.Wait(); !errors.Is(err, pebblestore.ErrClosed) {
		t.Error(err)
	}
	err := s.Update(t.Context(), idxOf(1), func(tx registry.Tx) error { return nil })
	if !errors.Is(err, pebblestore.ErrClosed) {
		t.Errorf("an update after Close gave %v", err)
	}
}

// TestNothingReadableAtRest looks for everything that a thief of the database
// could want, in every file of it.
func TestNothingReadableAtRest(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs, newKeys(t))
	sig := signal(t, 1, day)
	update(t, s, idxOf(1), func(tx registry.Tx) error {
		leaf, err := audit.NewLeaf(audit.Record{
			Event: "signal.register", Action: audit.Create, Outcome: audit.Success, Time: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC),
			Party: string(party(1)), ObjectType: "signal", ObjectID: sig.SID.String(), System: "registry",
		})
		return errors.Join(err, tx.PutSignal(sig), tx.Emit(event(1, 1), day), tx.Log(leaf),
			tx.PutMatch(registry.Match{ID: api.NewMatchID(), Members: []registry.Member{{Party: party(1), SID: sig.SID}}}))
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := fs.List("db")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range files {
		f, err := fs.Open(fs.PathJoin("db", name))
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := b.ReadFrom(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
		found += b.Len()
		for what, secret := range map[string][]byte{
			"a party": []byte(party(1)), "a sid": sig.SID[:], "a sid in text": []byte(sig.SID.String()),
			"a card": sig.Sealed[0].Card[:64], "a statement": sig.Signed.Signed[:32], "an event's kind": []byte("joined"),
		} {
			if bytes.Contains(b.Bytes(), secret) {
				t.Errorf("%s can be read in the database", what)
			}
		}
	}
	if found < 1000 {
		t.Fatalf("only %d bytes were searched", found)
	}
}

func TestDamagedRowIsRefused(t *testing.T) {
	fs, keys := vfs.NewMem(), newKeys(t)
	s := open(t, fs, keys)
	update(t, s, idxOf(1), func(tx registry.Tx) error { return tx.PutSignal(signal(t, 1, day)) })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, fs, newKeys(t)) // other keys: nothing may open
	defer s.Close()
	err := s.Scan(t.Context(), registry.Idx{}, func(registry.Idx, []registry.Signal, registry.Match) error { return nil })
	if !errors.Is(err, registry.ErrCorrupt) {
		t.Errorf("a scan under other keys gave %v", err)
	}
}

// TestUpdateAll has transactions on many idxs, in shuffled order and overlapping
// with others, end all together or not at all.
func TestUpdateAll(t *testing.T) {
	s := openWith(t, newKeys(t), pebblestore.Options{FS: vfs.NewMem(), Ingest: 1})
	defer s.Close()
	const rounds, idxs = 12, 40
	var g errgroup.Group
	for round := range rounds {
		order := rand.New(rand.NewPCG(uint64(round), 0)).Perm(idxs)
		list := make([]registry.Idx, idxs)
		for i, n := range order {
			list[i] = idxOf(n)
		}
		g.Go(func() error {
			return s.UpdateAll(t.Context(), list, func(idx registry.Idx, tx registry.Tx) error {
				sig := signal(t, round, day)
				have, err := tx.Signals()
				if err == nil && len(have) > 0 && have[len(have)-1].Party == sig.Party {
					err = errors.New("a transaction ran twice")
				}
				return errors.Join(err, tx.PutSignal(sig), tx.Emit(event(round, int(idx[0])<<8|int(idx[1])), day))
			})
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	seen := 0
	err := s.Scan(t.Context(), registry.Idx{}, func(_ registry.Idx, signals []registry.Signal, _ registry.Match) error {
		seen++
		if len(signals) != rounds {
			t.Errorf("an idx has %d signals, want %d", len(signals), rounds)
		}
		return nil
	})
	if err != nil || seen != idxs {
		t.Errorf("%d idxs, %v", seen, err)
	}
	no := errors.New("no")
	err = s.UpdateAll(t.Context(), []registry.Idx{idxOf(100), idxOf(101)}, func(idx registry.Idx, tx registry.Tx) error {
		if idx == idxOf(101) {
			return no
		}
		return tx.PutSignal(signal(t, 1, day))
	})
	if !errors.Is(err, no) {
		t.Fatal(err)
	}
	if _, ok, _ := s.Signal(t.Context(), idxOf(100), party(1)); ok {
		t.Error("half of a failed bulk is there")
	}
}

// A store that was put back without a new incarnation has readers who are ahead.
func TestAReaderAheadOfTheFeedStartsAnew(t *testing.T) {
	s := open(t, vfs.NewMem(), newKeys(t))
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Wait(ctx, party(1), 9); err == nil {
		t.Error("there is nothing to read yet")
	}
	update(t, s, idxOf(1), func(tx registry.Tx) error { return tx.Emit(event(1, 1), day) })
	if err := s.Wait(t.Context(), party(1), 9); err != nil {
		t.Error(err)
	}
	if events, last, err := s.Events(t.Context(), party(1), 9, 10); err != nil || len(events) != 1 || last != 1 {
		t.Errorf("%d events, up to %d (%v)", len(events), last, err)
	}
}
