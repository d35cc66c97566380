// SPDX-License-Identifier: EUPL-1.2

package pebblestore

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seinhuis/seinhuis/registry"
)

// Epoch implements registry.Store.
func (s *Store) Epoch(context.Context) (at registry.Epoch, err error) {
	value, closer, err := s.db.Get(epochKey)
	if errors.Is(err, pebble.ErrNotFound) {
		return at, nil
	}
	if err != nil {
		return at, err
	}
	defer closer.Close()
	if len(value) < 16 || len(value)%8 != 0 {
		return at, registry.ErrCorrupt
	}
	at.Number = binary.BigEndian.Uint64(value)
	at.Since = time.Unix(int64(binary.BigEndian.Uint64(value[8:])), 0).UTC()
	for rest := value[16:]; len(rest) > 0; rest = rest[8:] {
		at.Purged = append(at.Purged, binary.BigEndian.Uint64(rest))
	}
	return at, nil
}

// SetEpoch implements registry.Store.
func (s *Store) SetEpoch(_ context.Context, at registry.Epoch) error {
	value := binary.BigEndian.AppendUint64(nil, at.Number)
	value = binary.BigEndian.AppendUint64(value, uint64(at.Since.Unix()))
	for _, epoch := range at.Purged {
		value = binary.BigEndian.AppendUint64(value, epoch)
	}
	batch := s.db.NewBatch()
	defer batch.Close()
	return errors.Join(batch.Set(epochKey, value, nil), s.keep(batch))
}

// readdressBatch is how many bytes of events become durable at once.
const readdressBatch = 1 << 20

// Readdress implements registry.Store.
func (s *Store) Readdress(ctx context.Context, fn func(registry.Event) (registry.Event, error)) (done int, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixFeed}, UpperBound: []byte{prefixFeed + 1}})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	batch := s.db.NewBatch()
	defer func() { err = errors.Join(err, batch.Close()) }()
	waiting := 0
	keep := func() error {
		if waiting == 0 {
			return nil
		}
		if err := s.keep(batch); err != nil {
			return err
		}
		done, waiting = done+waiting, 0
		batch.Reset()
		return nil
	}
	for it.First(); it.Valid(); it.Next() {
		sealed, err := it.ValueAndErr()
		if err != nil {
			return done, err
		}
		var was registry.Event
		if err := s.open(tableEvent, it.Key(), sealed, &was); err != nil {
			return done, err
		}
		now, err := fn(was)
		if err := errors.Join(err, ctx.Err()); err != nil {
			return done, err
		}
		if now.Idx == was.Idx && now.Epoch == was.Epoch {
			continue
		}
		was.Idx, was.Epoch = now.Idx, now.Epoch
		if sealed, err = s.seal(tableEvent, it.Key(), was); err != nil {
			return done, err
		}
		if err := batch.Set(it.Key(), sealed, nil); err != nil {
			return done, err
		}
		if waiting++; batch.Len() >= readdressBatch {
			if err := keep(); err != nil {
				return done, err
			}
		}
	}
	if err := it.Error(); err != nil {
		return done, err
	}
	err = keep()
	return done, err
}
