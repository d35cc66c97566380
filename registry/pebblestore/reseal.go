// SPDX-License-Identifier: EUPL-1.2

package pebblestore

import (
	"context"
	"errors"
)

// resealBatch bounds how much is sealed anew at once.
const resealBatch = 1 << 20 // bytes

// Reseal seals the rows anew that lie under an older generation of the row key, and tells
// how many there were. Nothing else may use the store meanwhile. An error or a crash may
// leave some of them done; the rest can be done by calling it again.
func (s *Store) Reseal(ctx context.Context) (resealed int, err error) {
	snapshot := s.db.NewSnapshot()
	defer func() { err = errors.Join(err, snapshot.Close()) }()
	it, err := snapshot.NewIter(nil)
	if err != nil {
		return 0, damaged("rows", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	batch := s.db.NewBatch()
	defer func() { err = errors.Join(err, batch.Close()) }()
	in := 0 // the batch
	for it.First(); it.Valid(); it.Next() {
		l, ok := layoutOf(it.Key())
		if !ok || l.row == nil {
			continue
		}
		sealed, err := it.ValueAndErr()
		if err != nil {
			return resealed, damaged("rows", err)
		}
		if len(sealed) == 0 || sealed[0] == s.keys.Rows.Generation() {
			continue
		}
		plain, err := s.keys.Rows.Open(l.table, it.Key(), sealed)
		if err != nil {
			return resealed, damaged("rows", err)
		}
		anew, err := s.keys.Rows.Seal(l.table, it.Key(), plain)
		if err != nil {
			return resealed, err
		}
		if err := batch.Set(it.Key(), anew, nil); err != nil {
			return resealed, err
		}
		if in++; batch.Len() < resealBatch {
			continue
		}
		if err := errors.Join(ctx.Err(), s.keep(batch)); err != nil {
			return resealed, err
		}
		resealed, in = resealed+in, 0
		if err := batch.Close(); err != nil {
			return resealed, err
		}
		batch = s.db.NewBatch()
	}
	if err := it.Error(); err != nil || in == 0 {
		return resealed, damaged("rows", err)
	}
	return resealed + in, s.keep(batch)
}
