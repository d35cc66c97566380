// SPDX-License-Identifier: EUPL-1.2

package pebblestore

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/registry"
)

// ErrJournal says that the journal does not have all that the store has committed to
// it, or has more than a new store can: one of the two is another one's, or damaged.
var ErrJournal = errors.New("pebblestore: store and journal do not belong together; restore a backup if the store is lost, and begin a new journal only if the journal is")

// writeJournal has the journal keep what a group ends, numbers and erases, and the group
// say so.
func (s *Store) writeJournal(group []*commit) error {
	if s.journal == nil {
		return nil
	}
	var kept registry.Kept
	for _, c := range group {
		kept.Ended = append(kept.Ended, c.kept.Ended...)
		kept.Erased = append(kept.Erased, c.kept.Erased...)
		if len(c.kept.Sequenced.Leaves) > 0 { // of one: nobody else numbers
			kept.Sequenced = c.kept.Sequenced
		}
	}
	if kept.Empty() {
		return nil
	}
	at, err := s.journal.Append(kept)
	if err != nil {
		return err
	}
	group[0].writes = append(group[0].writes, write{key: journaledKey, value: journaledRow(at)})
	return nil
}

func journaledRow(at registry.Journaled) []byte {
	return binary.BigEndian.AppendUint64(at.ID[:16:16], at.Groups)
}

// Journaled is the place in the journal up to which everything is in the store; false
// in a store that never had one.
func (s *Store) Journaled() (at registry.Journaled, ok bool, err error) {
	value, closer, err := s.db.Get(journaledKey)
	if errors.Is(err, pebble.ErrNotFound) {
		return at, false, nil
	}
	if err != nil {
		return at, false, err
	}
	defer closer.Close()
	if len(value) != len(at.ID)+8 {
		return at, false, registry.ErrCorrupt
	}
	return registry.Journaled{ID: [16]byte(value), Groups: binary.BigEndian.Uint64(value[len(at.ID):])}, true, nil
}

// joinJournal holds the journal against what the store has committed to it.
func (s *Store) joinJournal() error {
	if s.journal == nil {
		return nil
	}
	stored, known, err := s.Journaled()
	if err != nil {
		return err
	}
	last := s.journal.Last()
	switch {
	case !known && last.Groups > 0, known && (stored.ID != last.ID || stored.Groups > last.Groups):
		return ErrJournal
	case known:
		return nil
	}
	return s.SetJournaled(last)
}

// SetJournaled says that everything up to a place in a journal is in the store: when
// it was put there from the journal, or when another journal begins.
func (s *Store) SetJournaled(at registry.Journaled) error {
	batch := s.db.NewBatch()
	defer batch.Close()
	return errors.Join(batch.Set(journaledKey, journaledRow(at), nil), s.keep(batch))
}

// Restores implements registry.Store.
func (s *Store) Restores() []registry.Restore { return s.restores }

func (s *Store) loadRestores() error {
	sealed, closer, err := s.db.Get(restoresKey)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer closer.Close()
	row, err := s.keys.Rows.Open(tableRestores, restoresKey, sealed)
	if err != nil {
		return registry.ErrCorrupt
	}
	s.restores, err = registry.UnmarshalRestores(row)
	return err
}

// Reincarnate begins a new incarnation of a store that was put back to a backup. Nothing
// else may use the store meanwhile.
func (s *Store) Reincarnate(backup, at time.Time) error {
	var incarnation [16]byte
	rand.Read(incarnation[:])
	restores := append(slices.Clone(s.restores), registry.Restore{Incarnation: incarnation, Backup: backup.UTC(), At: at.UTC()})
	row, err := registry.MarshalRestores(restores)
	if err != nil {
		return err
	}
	sealed, err := s.keys.Rows.Seal(tableRestores, restoresKey, row)
	if err != nil {
		return err
	}
	batch := s.db.NewBatch()
	defer batch.Close()
	if err := errors.Join(batch.Set(metaKey, incarnation[:], nil), batch.Set(restoresKey, sealed, nil)); err != nil {
		return err
	}
	if err := s.keep(batch); err != nil {
		return err
	}
	s.incarnation, s.restores = incarnation, restores
	return nil
}

// Checkpoint makes a copy of the store in a folder that does not exist, as it is at
// one moment; the store can be in use. What was acknowledged before is in it.
func (s *Store) Checkpoint(folder string) error {
	return s.db.Checkpoint(folder, pebble.WithFlushedWAL())
}

// Tombstone implements registry.Store.
func (s *Store) Tombstone(_ context.Context, idx registry.Idx, party api.PartyID, sid api.SID) (tomb registry.Tombstone, ok bool, err error) {
	ok, err = s.read(s.db, tableTombstone, tombstoneKey(idx, s.keys.Grave(party, sid)), &tomb)
	return tomb, ok, err
}

// Bury implements registry.Store.
func (s *Store) Bury(ctx context.Context, ended []registry.Ended) error {
	c := new(commit)
	for _, e := range ended {
		var idx registry.Idx // of which the shard counts
		copy(idx[:], e.Shard[:])
		t := &tx{store: s, idx: idx}
		if err := errors.Join(ctx.Err(), t.bury(e.Member, e.Tombstone)); err != nil {
			return err
		}
		c.writes = append(c.writes, t.writes...)
	}
	return s.commit(c)
}
