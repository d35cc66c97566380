// SPDX-License-Identifier: EUPL-1.2

package pebblestore

import (
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	enc "github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/registry"
)

// KeepCounts implements registry.Store.
func (s *Store) KeepCounts(_ context.Context, day enc.Date, counts []registry.Counts) error {
	batch := s.db.NewBatch()
	defer batch.Close()
	for _, c := range counts {
		key := countsKey(day, s.keys.Feed(c.Party))
		sealed, err := s.seal(tableCounts, key, c)
		if err != nil {
			return err
		}
		if err := batch.Set(key, sealed, nil); err != nil {
			return err
		}
	}
	return s.keep(batch)
}

// Counts implements registry.Store.
func (s *Store) Counts(ctx context.Context, day enc.Date) (all []registry.Counts, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: countsDayKey(day), UpperBound: countsDayKey(day.AddDate(0, 0, 1))})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for it.First(); it.Valid(); it.Next() {
		sealed, err := it.ValueAndErr()
		if err != nil {
			return nil, err
		}
		var one registry.Counts
		if err := errors.Join(ctx.Err(), s.open(tableCounts, it.Key(), sealed, &one)); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, it.Error()
}

const keepCountsDays = 7

// trimCounts puts the removal of old counts into a batch, if there are any.
func (s *Store) trimCounts(batch *pebble.Batch, today enc.Date) error {
	first, end := []byte{prefixCounts}, countsDayKey(today.AddDate(0, 0, -keepCountsDays))
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: first, UpperBound: end})
	if err != nil {
		return err
	}
	if it.First() {
		err = batch.DeleteRange(first, end, nil)
	}
	return errors.Join(err, it.Error(), it.Close())
}
