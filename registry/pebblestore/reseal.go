// SPDX-License-Identifier: EUPL-1.2

package pebblestore

import (
	"bytes"
	"context"
	"errors"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// What is read at once of the rows, and so how long writers wait at most: in bytes, and
// in rows that are sealed anew.
const (
	resealBytes = 4 << 20
	resealRows  = 500
)

// A reseal is how far the pass has come that seals rows under the newest generation of the
// row key. It begins anew with each process that has an older generation too: what was put
// back from a backup may lie under that.
type reseal struct {
	mu   sync.Mutex
	from []byte // key
	done bool
}

// Reseal implements registry.Store.
func (s *Store) Reseal(ctx context.Context) (more bool, err error) {
	r := &s.reseal
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done || !s.keys.Rows.HasOlder() {
		return false, nil
	}
	old, next, err := s.sealedBefore(r.from)
	if err := errors.Join(err, ctx.Err()); err != nil {
		return true, err
	}
	if len(old) > 0 {
		if err := s.numbered(func(number []byte) error { return s.sealAnew(old, number) }); err != nil {
			return true, err
		}
	}
	r.from, r.done = next, next == nil
	return !r.done, nil
}

// sealedBefore reads rows from a key on: the keys of those that lie under an older
// generation, and the key to go on from, nil at the end.
func (s *Store) sealedBefore(from []byte) (old [][]byte, next []byte, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: from})
	if err != nil {
		return nil, nil, damaged("rows", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	size := 0
	for it.First(); it.Valid(); it.Next() {
		if size > resealBytes || len(old) == resealRows {
			return old, bytes.Clone(it.Key()), nil
		}
		l, ok := layoutOf(it.Key())
		if !ok || l.row == nil {
			continue
		}
		sealed, err := it.ValueAndErr()
		if err != nil {
			return nil, nil, damaged("rows", err)
		}
		if size += len(sealed); s.isOld(sealed) {
			old = append(old, bytes.Clone(it.Key()))
		}
	}
	return old, nil, damaged("rows", it.Error())
}

func (s *Store) isOld(sealed []byte) bool {
	return len(sealed) > 0 && sealed[0] != s.keys.Rows.Generation()
}

// sealAnew is called while nobody else commits: a row that has gone or changed meanwhile
// is not what it was.
func (s *Store) sealAnew(old [][]byte, number []byte) error {
	batch := s.db.NewBatch()
	defer batch.Close()
	for _, key := range old {
		sealed, closer, err := s.db.Get(key)
		if errors.Is(err, pebble.ErrNotFound) {
			continue
		}
		if err != nil {
			return damaged("rows", err)
		}
		if s.isOld(sealed) {
			err = s.sealRow(batch, key, sealed)
		}
		if err := errors.Join(err, closer.Close()); err != nil {
			return err
		}
	}
	return errors.Join(batch.Set(number, nil, nil), batch.Commit(pebble.Sync))
}

func (s *Store) sealRow(batch *pebble.Batch, key, sealed []byte) error {
	l, _ := layoutOf(key)
	plain, err := s.keys.Rows.Open(l.table, key, sealed)
	if err != nil {
		return damaged("rows", err)
	}
	anew, err := s.keys.Rows.Seal(l.table, key, plain)
	if err != nil {
		return err
	}
	return batch.Set(key, anew, nil)
}
