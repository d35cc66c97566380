// SPDX-License-Identifier: EUPL-1.2

package pebblestore

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/registry"
)

// A sequence is where the outbox is emptied next: what was taken out of it before stays in
// Pebble's way until it is compacted.
type sequence struct {
	mu   sync.Mutex // one at a time
	from []byte     // key
}

// Leaves implements registry.Store.
func (s *Store) Leaves(ctx context.Context, from api.Hash, fn func(audit.Leaf) error) error {
	return s.outbox(ctx, outboxKey(from), nil, func(_ []byte, leaf audit.Leaf) error { return fn(leaf) })
}

// outbox reads leaves that wait, in a range of keys; to nil is the end of them.
func (s *Store) outbox(ctx context.Context, from, to []byte, fn func(key []byte, leaf audit.Leaf) error) error {
	if to == nil {
		to = []byte{prefixOutbox + 1}
	}
	return s.entries(ctx, tableOutbox, from, to, fn)
}

// entries reads leaves with their records.
func (s *Store) entries(ctx context.Context, table string, from, to []byte, fn func(key []byte, leaf audit.Leaf) error) error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return err
	}
	defer it.Close()
	for it.First(); it.Valid(); it.Next() {
		sealed, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		var leaf registry.LogEntry
		if err := s.open(table, it.Key(), sealed, &leaf); err != nil {
			return err
		}
		if err := errors.Join(ctx.Err(), fn(it.Key(), audit.Leaf(leaf))); err != nil {
			return err
		}
	}
	return it.Error()
}

// Enter implements registry.Store.
func (s *Store) Enter(_ context.Context, leaves ...audit.Leaf) error {
	c := new(commit)
	for _, leaf := range leaves {
		// Looked for in the order in which it moves.
		known, err := s.has(outboxKey(leaf.Hash()))
		if err == nil && !known {
			known, err = s.has(placeKey(leaf.Hash()))
		}
		if err != nil {
			return err
		}
		if known {
			continue
		}
		key := outboxKey(leaf.Hash())
		sealed, err := s.seal(tableOutbox, key, registry.LogEntry(leaf))
		if err != nil {
			return err
		}
		c.writes = append(c.writes, write{key: key, value: sealed})
	}
	return s.commit(c)
}

func (s *Store) has(key []byte) (bool, error) {
	_, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, closer.Close()
}

var errEnough = errors.New("pebblestore: that is enough")

// Sequence implements registry.Store.
func (s *Store) Sequence(ctx context.Context, max int) (int, error) {
	s.sequence.mu.Lock()
	defer s.sequence.mu.Unlock()
	size, err := s.Logged(ctx)
	if err != nil {
		return 0, err
	}
	start := s.sequence.from
	if start == nil {
		start = []byte{prefixOutbox}
	}
	c := &commit{kept: registry.Kept{Sequenced: registry.Sequenced{First: size}}}
	take := func(key []byte, leaf audit.Leaf) error {
		s.sequence.from = append(append([]byte(nil), key...), 0)
		c.kept.Sequenced.Leaves = append(c.kept.Sequenced.Leaves, leaf.Hash())
		if err := s.moveRecord(c, leaf, size+int64(len(c.kept.Sequenced.Leaves))-1); err != nil {
			return err
		}
		if len(c.kept.Sequenced.Leaves) == max {
			return errEnough
		}
		return nil
	}
	err = s.outbox(ctx, start, nil, take)
	if err == nil { // from its start up to where this began
		err = s.outbox(ctx, []byte{prefixOutbox}, start, take)
	}
	if err != nil && !errors.Is(err, errEnough) {
		return 0, err
	}
	if len(c.kept.Sequenced.Leaves) == 0 {
		return 0, nil
	}
	if err := s.grow(c, size, c.kept.Sequenced.Leaves); err != nil {
		return 0, err
	}
	return len(c.kept.Sequenced.Leaves), s.commit(c)
}

// moveRecord moves a leaf's record from the outbox to its number.
func (s *Store) moveRecord(c *commit, leaf audit.Leaf, number int64) error {
	key := recordKey(number)
	sealed, err := s.seal(tableRecord, key, registry.LogEntry(leaf))
	if err != nil {
		return err
	}
	c.writes = append(c.writes, write{key: outboxKey(leaf.Hash()), delete: true}, write{key: key, value: sealed})
	return nil
}

// grow puts leaves behind size others.
func (s *Store) grow(c *commit, size int64, leaves []api.Hash) error {
	hashes := make([]tlog.Hash, len(leaves))
	for i, leaf := range leaves {
		hashes[i] = tlog.Hash(leaf)
		c.writes = append(c.writes, write{key: placeKey(leaf), value: number(size + int64(i))})
	}
	tiles, err := audit.Grow(size, hashes, s.tile)
	if err != nil {
		return err
	}
	for at, tile := range tiles {
		c.writes = append(c.writes, write{key: tileKey(at), value: tile})
	}
	c.writes = append(c.writes, write{key: loggedKey, value: number(size + int64(len(leaves)))})
	return nil
}

func number(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

// Relog implements registry.Store.
func (s *Store) Relog(ctx context.Context, size int64, leaves []api.Hash) error {
	s.sequence.mu.Lock()
	defer s.sequence.mu.Unlock()
	if has, err := s.Logged(ctx); err != nil || has != size {
		return errors.Join(err, registry.ErrCorrupt)
	}
	c := new(commit)
	for i, hash := range leaves {
		key := outboxKey(hash)
		var leaf registry.LogEntry
		waits, err := s.read(s.db, tableOutbox, key, &leaf)
		if err != nil {
			return err
		}
		if !waits {
			continue
		}
		if err := s.moveRecord(c, audit.Leaf(leaf), size+int64(i)); err != nil {
			return err
		}
	}
	return errors.Join(s.grow(c, size, leaves), s.commit(c))
}

// Erase implements registry.Store.
func (s *Store) Erase(_ context.Context, numbers []int64) error {
	c := &commit{kept: registry.Kept{Erased: numbers}}
	for _, n := range numbers {
		c.writes = append(c.writes, write{key: recordKey(n), delete: true})
	}
	return s.commit(c)
}

// Logged implements registry.Store.
func (s *Store) Logged(context.Context) (int64, error) {
	size, _, err := s.readNumber(loggedKey)
	return size, err
}

// Number implements registry.Store.
func (s *Store) Number(_ context.Context, leaf api.Hash) (int64, bool, error) {
	return s.readNumber(placeKey(leaf))
}

func (s *Store) readNumber(key []byte) (int64, bool, error) {
	value, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	defer closer.Close()
	if len(value) != 8 {
		return 0, false, registry.ErrCorrupt
	}
	return int64(binary.BigEndian.Uint64(value)), true, nil
}

// Tile implements registry.Store.
func (s *Store) Tile(_ context.Context, at audit.Place) ([]byte, error) { return s.tile(at) }

func (s *Store) tile(at audit.Place) ([]byte, error) {
	value, closer, err := s.db.Get(tileKey(at))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return append([]byte(nil), value...), closer.Close()
}

// Records implements registry.Store.
func (s *Store) Records(ctx context.Context, from int64, fn func(int64, audit.Leaf) error) error {
	return s.entries(ctx, tableRecord, recordKey(from), []byte{prefixRecord + 1}, func(key []byte, leaf audit.Leaf) error {
		return fn(int64(binary.BigEndian.Uint64(key[1:])), leaf)
	})
}
