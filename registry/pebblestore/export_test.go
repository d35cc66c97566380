// SPDX-License-Identifier: EUPL-1.2

package pebblestore

import (
	"context"

	"github.com/cockroachdb/pebble/v2"
)

// KeepNumbers has so many numbers of commits kept, for a test.
func KeepNumbers(n uint64) (back func()) {
	keep, forget := keepNumbers, forgetNumbers
	keepNumbers, forgetNumbers = n, 1
	return func() { keepNumbers, forgetNumbers = keep, forget }
}

// Put writes a row as it is, past all that keeps rows whole.
func (s *Store) Put(key, value []byte) error { return s.db.Set(key, value, pebble.Sync) }

// Keys of the rows that the store holds.
func (s *Store) Keys() (all [][]byte, err error) {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return nil, err
	}
	defer it.Close()
	for it.First(); it.Valid(); it.Next() {
		all = append(all, append([]byte(nil), it.Key()...))
	}
	return all, it.Error()
}

// Delete removes a row.
func (s *Store) Delete(key []byte) error { return s.db.Delete(key, pebble.Sync) }

// Slices is how many there are.
var Slices = len(allSlices)

// Rows are all rows, as they are stored.
func (s *Store) Rows() (map[string][]byte, error) {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return nil, err
	}
	defer it.Close()
	all := map[string][]byte{}
	for it.First(); it.Valid(); it.Next() {
		all[string(it.Key())] = append([]byte(nil), it.Value()...)
	}
	return all, it.Error()
}

// Compact writes the tables of some keys anew.
func (s *Store) Compact(ctx context.Context, from, to []byte) error {
	return s.db.Compact(ctx, from, to, false)
}

// ResealLate is Reseal of a small store, with something done between its looking and its
// sealing.
func (s *Store) ResealLate(between func()) error {
	old, _, err := s.sealedBefore(nil)
	if err != nil {
		return err
	}
	between()
	return s.numbered(func(number []byte) error { return s.sealAnew(old, number) })
}
