// SPDX-License-Identifier: EUPL-1.2

package pebblestore

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"io/fs"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/seinhuis/seinhuis/registry"
)

// Verify implements registry.Store. Opening the store has read its logs and its list
// of files; this reads the rest: every block of every table by its checksum, and every
// row with its key. A row is damaged that does not open, and so is a signal that the
// clock would not find.
func (s *Store) Verify(ctx context.Context) error {
	if err := s.verifyTables(ctx); err != nil {
		return err
	}
	snapshot := s.db.NewSnapshot()
	defer snapshot.Close()
	it, err := snapshot.NewIter(nil)
	if err != nil {
		return damaged("rows", err)
	}
	defer it.Close()
	for it.First(); it.Valid(); it.Next() {
		sealed, err := it.ValueAndErr()
		if err != nil {
			return damaged("rows", err)
		}
		if err := errors.Join(ctx.Err(), s.verifyRow(snapshot, it.Key(), sealed)); err != nil {
			return err
		}
	}
	return damaged("rows", it.Error())
}

// verifyTables reads every block of every table.
func (s *Store) verifyTables(ctx context.Context) error {
	levels, err := s.db.SSTables()
	if err != nil {
		return damaged("tables", err)
	}
	for _, level := range levels {
		for _, table := range level {
			err := s.verifyTable(ctx, s.fs.PathJoin(s.folder, fmt.Sprintf("%06d.sst", table.BackingSSTNum)))
			// Another may have taken its place meanwhile.
			if err := errors.Join(ctx.Err(), err); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return damaged("a table", err)
			}
		}
	}
	return nil
}

func (s *Store) verifyTable(ctx context.Context, path string) error {
	f, err := s.fs.Open(path)
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	r, err := sstable.NewReader(ctx, readable, s.readers)
	if err != nil {
		return errors.Join(err, readable.Close())
	}
	return errors.Join(r.ValidateBlockChecksums(), r.Close())
}

// anyLength is of values of which another rule tells the length.
const anyLength = -1

// A layout is what a row under a prefix must look like: the length of its key, and
// what its value opens into.
type layout struct {
	key   int
	table string
	row   func() encoding.BinaryUnmarshaler // nil where nothing is sealed
	value int                               // length, where nothing is sealed
	step  int                               // by which that may be longer, again and again
}

var (
	layouts = map[byte]layout{
		prefixTombstone: {key: 1 + 2 + 16, table: tableTombstone, row: func() encoding.BinaryUnmarshaler { return new(registry.Tombstone) }},
		prefixFeed:      {key: 1 + 16 + 8, table: tableEvent, row: func() encoding.BinaryUnmarshaler { return new(registry.Event) }},
		prefixOutbox:    {key: 1 + 16, table: tableOutbox, row: func() encoding.BinaryUnmarshaler { return new(registry.LogEntry) }},
		prefixRecord:    {key: 1 + 8, table: tableRecord, row: func() encoding.BinaryUnmarshaler { return new(registry.LogEntry) }},
		prefixPlace:     {key: 1 + 16, table: "places", value: 8},
		prefixTile:      {key: 1 + 1 + 8, table: "tiles", value: anyLength},
		prefixLogged:    {key: 1, table: "log", value: 8},
		prefixCounts:    {key: 1 + 4 + 16, table: tableCounts, row: func() encoding.BinaryUnmarshaler { return new(registry.Counts) }},
		prefixEventID:   {key: 1 + 16 + 16, table: "event ids"},
		prefixNumber:    {key: 1 + 8, table: "numbers"},
		prefixRestores:  {key: 1, table: tableRestores, row: func() encoding.BinaryUnmarshaler { return new(restores) }},
		prefixScrub:     {key: 1 + 2, table: "slices", value: 8},
		prefixDay:       {key: 1, table: tableDay, row: func() encoding.BinaryUnmarshaler { return new(seenDay) }},
		prefixMeta:      {key: 1, table: "incarnation", value: 16},
		prefixJournaled: {key: 1, table: "journal", value: 16 + 8},
		prefixEpoch:     {key: 1, table: "epoch", value: 16, step: 8},
	}
	matchLayout  = layout{key: idxPrefixLen + 1, table: tableMatch, row: func() encoding.BinaryUnmarshaler { return new(registry.Match) }}
	signalLayout = layout{key: idxPrefixLen + 1 + 16, table: tableSignal, row: func() encoding.BinaryUnmarshaler { return new(registry.Signal) }}

	// What goes on a day, by the prefix behind the day.
	expiryLayouts = map[byte]layout{
		prefixIdx:       {key: 1 + 4 + 1 + 16 + 16, table: "days"},
		prefixTombstone: {key: 1 + 4 + 1 + 2 + 16, table: "days"},
		prefixEventID:   {key: 1 + 4 + 1 + 16 + 16, table: "days"},
	}
)

type restores []registry.Restore

func (r *restores) UnmarshalBinary(b []byte) (err error) {
	*r, err = registry.UnmarshalRestores(b)
	return err
}

func layoutOf(key []byte) (l layout, ok bool) {
	switch {
	case key[0] == prefixExpiry && len(key) > 1+4:
		l, ok = expiryLayouts[key[1+4]]
	case key[0] == prefixIdx && len(key) > idxPrefixLen:
		l, ok = signalLayout, key[idxPrefixLen] == underSignal
		if key[idxPrefixLen] == underMatch {
			l, ok = matchLayout, true
		}
	default:
		l, ok = layouts[key[0]]
	}
	return l, ok && len(key) == l.key
}

func (s *Store) verifyRow(r pebble.Reader, key, value []byte) error {
	l, ok := layoutOf(key)
	if !ok {
		return fmt.Errorf("%w: a key is of no table", registry.ErrCorrupt)
	}
	if l.row == nil {
		fits := len(value) == l.value || l.step > 0 && len(value) > l.value && len(value)%l.step == 0
		if l.value != anyLength && !fits {
			return fmt.Errorf("%w: table %s", registry.ErrCorrupt, l.table)
		}
		return nil
	}
	row := l.row()
	if err := s.open(l.table, key, value, row); err != nil {
		return err
	}
	signal, ok := row.(*registry.Signal)
	if !ok {
		return nil
	}
	idx := registry.Idx(key[1:idxPrefixLen])
	_, closer, err := r.Get(signalExpiryKey(signal.Expires, idx, s.keys.Slot(idx, signal.Party)))
	if errors.Is(err, pebble.ErrNotFound) {
		return fmt.Errorf("%w: a signal has no day on which it goes", registry.ErrCorrupt)
	}
	if err != nil {
		return damaged("days", err)
	}
	return closer.Close()
}

// damaged says that what could not be read is damaged.
func damaged(what string, err error) error {
	if err == nil || errors.Is(err, registry.ErrCorrupt) || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", registry.ErrCorrupt, what, err)
}
