// SPDX-License-Identifier: EUPL-1.2

package pebblestore

import (
	"context"
	"errors"

	enc "github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/registry"
)

// seenDay is the row of the highest day. It is sealed: a day that damage has set far
// ahead would end everything.
type seenDay enc.Date

// MarshalBinary encodes the day as a row.
func (d seenDay) MarshalBinary() ([]byte, error) { return day(enc.Date(d)), nil }

// UnmarshalBinary reads what MarshalBinary writes.
func (d *seenDay) UnmarshalBinary(b []byte) error {
	if len(b) != 4 {
		return registry.ErrCorrupt
	}
	*d = seenDay(dayOf(b))
	return nil
}

// Day implements registry.Store.
func (s *Store) Day(context.Context) (enc.Date, error) {
	var d seenDay
	_, err := s.read(s.db, tableDay, dayKey, &d)
	return enc.Date(d), err
}

// SetDay implements registry.Store.
func (s *Store) SetDay(_ context.Context, d enc.Date) error {
	sealed, err := s.seal(tableDay, dayKey, seenDay(d))
	if err != nil {
		return err
	}
	batch := s.db.NewBatch()
	defer batch.Close()
	return errors.Join(batch.Set(dayKey, sealed, nil), s.keep(batch))
}
