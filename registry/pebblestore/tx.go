// SPDX-License-Identifier: EUPL-1.2

package pebblestore

import (
	"bytes"
	"cmp"
	"encoding"
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/audit"
	enc "github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/registry"
)

// A tx reads what stands under its idx once, and keeps its own changes beside the
// writes that will make them last.
type tx struct {
	store  *Store
	idx    registry.Idx
	at     *reads // made after the idx was locked
	writes []write

	loaded  bool
	signals []registry.Signal
	match   registry.Match
	events  []feedEvent
	ended   []registry.Ended // by acts
}

// reads are how transactions look into the database, at the moment they were made.
// Most of what a transaction looks for is not there: a new signal's idx, its
// tombstone, its events. So the bloom filters of the lowest level are asked too,
// which Pebble leaves out unless it is told: they save the reading of a block.
type reads struct {
	under *pebble.Iterator // what stands under an idx
	exact *pebble.Iterator // single keys: an iterator is fastest where its seeks go one way
}

func (s *Store) newReads() (*reads, error) {
	var r reads
	var err error
	for _, it := range []**pebble.Iterator{&r.under, &r.exact} {
		if *it, err = s.db.NewIter(&pebble.IterOptions{UseL6Filters: true}); err != nil {
			return nil, errors.Join(err, r.close())
		}
	}
	return &r, nil
}

// find gives the value of a key that is its own prefix, until the next find.
func (r *reads) find(key []byte) (value []byte, ok bool, err error) {
	if !r.exact.SeekPrefixGE(key) || !bytes.Equal(r.exact.Key(), key) {
		return nil, false, r.exact.Error()
	}
	value, err = r.exact.ValueAndErr()
	return value, true, err
}

func (r *reads) close() (err error) {
	for _, it := range []*pebble.Iterator{r.under, r.exact} {
		if it != nil {
			err = errors.Join(err, it.Close())
		}
	}
	return err
}

// wrote gives what the transaction itself has put under a key.
func (t *tx) wrote(key []byte) (value []byte, ok bool) {
	for _, w := range slices.Backward(t.writes) {
		if bytes.Equal(w.key, key) {
			return w.value, !w.delete
		}
	}
	return nil, false
}

// A write sets a key, or deletes it. Of two writes of one key the later counts.
type write struct {
	key, value []byte
	delete     bool
}

func (t *tx) set(key, value []byte) { t.writes = append(t.writes, write{key: key, value: value}) }
func (t *tx) delete(key []byte)     { t.writes = append(t.writes, write{key: key, delete: true}) }

// A feedEvent is a sealed-to-be event on its way to a feed; the committer gives it
// its position.
type feedEvent struct {
	feed     [16]byte
	event    registry.Event
	remember enc.Date
}

func (t *tx) load() error {
	if t.loaded {
		return nil
	}
	it := t.at.under
	for valid := it.SeekPrefixGE(idxPrefix(t.idx)); valid; valid = it.Next() {
		if err := t.store.openUnder(it, &t.signals, &t.match); err != nil {
			return err
		}
	}
	t.sort()
	t.loaded = it.Error() == nil
	return it.Error()
}

func (t *tx) sort() {
	slices.SortFunc(t.signals, func(a, b registry.Signal) int { return cmp.Compare(a.Party, b.Party) })
}

// Signals implements registry.Tx.
func (t *tx) Signals() ([]registry.Signal, error) {
	err := t.load()
	return slices.Clone(t.signals), err
}

// Match implements registry.Tx.
func (t *tx) Match() (registry.Match, error) {
	err := t.load()
	return t.match, err
}

// Tombstone implements registry.Tx.
func (t *tx) Tombstone(party api.PartyID, sid api.SID) (tomb registry.Tombstone, ok bool, err error) {
	key := tombstoneKey(t.idx, t.store.keys.Grave(party, sid))
	sealed, ok := t.wrote(key)
	if !ok {
		if sealed, ok, err = t.at.find(key); !ok || err != nil {
			return tomb, false, err
		}
	}
	return tomb, true, t.store.open(tableTombstone, key, sealed, &tomb)
}

// PutSignal implements registry.Tx.
func (t *tx) PutSignal(s registry.Signal) error {
	if err := t.load(); err != nil {
		return err
	}
	t.bringForward(s)
	slot := t.store.keys.Slot(t.idx, s.Party)
	t.forget(s.Party, slot)
	t.signals = append(t.signals, s)
	t.sort()
	t.set(signalExpiryKey(s.Expires, t.idx, slot), nil)
	return t.put(tableSignal, signalKey(t.idx, slot), s)
}

// bringForward takes note for the journal of a revision that ends a signal earlier. Of an
// earlier revision the store would not know, should it be restored to that.
func (t *tx) bringForward(s registry.Signal) {
	for _, was := range t.signals {
		if was.Party == s.Party && was.SID == s.SID && s.Expires.Compare(was.Expires) < 0 {
			t.ended = append(t.ended, registry.Ended{
				Member: registry.Member{Party: s.Party, SID: s.SID}, Shard: [2]byte(t.idx[:2]),
				Tombstone: registry.Tombstone{Rev: s.Rev, Until: s.Expires}, Expires: s.Expires,
			})
		}
	}
}

// forget takes a party's signal, and its day of expiry, out of the transaction's
// view and the index.
func (t *tx) forget(party api.PartyID, slot [16]byte) {
	i := slices.IndexFunc(t.signals, func(s registry.Signal) bool { return s.Party == party })
	if i < 0 {
		return
	}
	t.delete(signalExpiryKey(t.signals[i].Expires, t.idx, slot))
	t.signals = slices.Delete(t.signals, i, i+1)
}

// RemoveSignal implements registry.Tx.
func (t *tx) RemoveSignal(s registry.Signal) error {
	if err := t.load(); err != nil {
		return err
	}
	slot := t.store.keys.Slot(t.idx, s.Party)
	t.forget(s.Party, slot)
	t.delete(signalKey(t.idx, slot))
	return nil
}

// EndSignal implements registry.Tx.
func (t *tx) EndSignal(s registry.Signal, tomb registry.Tombstone) error {
	if err := t.RemoveSignal(s); err != nil {
		return err
	}
	return t.Bury(registry.Member{Party: s.Party, SID: s.SID}, tomb)
}

// Bury implements registry.Tx. What an act ends is in the journal.
func (t *tx) Bury(of registry.Member, tomb registry.Tombstone) error {
	if tomb.Act != (api.Hash{}) {
		t.ended = append(t.ended, registry.Ended{Member: of, Shard: [2]byte(t.idx[:2]), Tombstone: tomb})
	}
	return t.bury(of, tomb)
}

func (t *tx) bury(of registry.Member, tomb registry.Tombstone) error {
	grave := t.store.keys.Grave(of.Party, of.SID)
	t.set(tombstoneExpiryKey(tomb.Until, t.idx, grave), nil)
	return t.put(tableTombstone, tombstoneKey(t.idx, grave), tomb)
}

// PutMatch implements registry.Tx.
func (t *tx) PutMatch(m registry.Match) error {
	if err := t.load(); err != nil {
		return err
	}
	if len(m.Members) == 0 {
		t.match = registry.Match{}
		t.delete(matchKey(t.idx))
		return nil
	}
	t.match = m
	return t.put(tableMatch, matchKey(t.idx), m)
}

// Emit implements registry.Tx. An event id belongs to one idx, so the lock of the
// idx keeps two transactions from telling it twice.
func (t *tx) Emit(e registry.Event, remember enc.Date) error {
	t.journalLeft(e)
	feed := t.store.keys.Feed(e.Recipient.Party)
	_, held, err := t.at.find(eventIDKey(feed, e.ID))
	if held || err != nil {
		return err
	}
	return t.tell(e, remember)
}

// journalLeft takes note for the journal of who is told that a signal which an act ends left.
func (t *tx) journalLeft(e registry.Event) {
	for i, gone := range t.ended {
		if e.Kind == api.EventLeft && e.Other == gone.Member {
			t.ended[i].Match, t.ended[i].Others = e.Match, append(gone.Others, e.Recipient)
		}
	}
}

// Repeat implements registry.Tx.
func (t *tx) Repeat(e registry.Event, remember enc.Date) error {
	t.journalLeft(e)
	return t.tell(e, remember)
}

func (t *tx) tell(e registry.Event, remember enc.Date) error {
	if slices.ContainsFunc(t.events, func(f feedEvent) bool { return f.event.ID == e.ID }) {
		return nil
	}
	t.events = append(t.events, feedEvent{t.store.keys.Feed(e.Recipient.Party), e, remember})
	return nil
}

// Log implements registry.Tx.
func (t *tx) Log(leaf audit.Leaf) error {
	return t.put(tableOutbox, outboxKey(leaf.Hash()), registry.LogEntry(leaf))
}

func (t *tx) put(table string, key []byte, v encoding.BinaryMarshaler) error {
	sealed, err := t.store.seal(table, key, v)
	if err != nil {
		return err
	}
	t.set(key, sealed)
	return nil
}
