// SPDX-License-Identifier: EUPL-1.2

package pebblestore

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seinhuis/seinhuis/registry"
)

// What is deleted from Pebble stays in its files until a compaction meets it there,
// which may be never. So the store is rewritten, slice by slice of its keys: of what was
// deleted before, a slice that has been compacted down to the lowest level holds nothing,
// and the tables and logs from which it came are removed. When each slice was last done
// is a row of the store.

// A slice is a range of keys, up to where the next one begins, and the name of its mark.
type slice struct {
	from []byte
	name [2]byte
}

// allSlices are of all keys. Signals are almost all there is, with what the log holds of
// them; so many slices keep each small.
var allSlices = func() (list []slice) {
	from := func(prefix byte, n int) { // what is uniform behind the prefix
		for i := range n {
			at := [2]byte{prefix, byte(i * 256 / n)}
			list = append(list, slice{at[:], at})
		}
	}
	from(0, 1)
	from(prefixEventID, 16)
	from(prefixFeed, 16)
	from(prefixFeed+1, 1)
	for i := range 64 { // a million records each
		list = append(list, slice{recordKey(int64(i) << 20), [2]byte{prefixRecord, byte(i)}})
	}
	from(prefixRecord+1, 1)
	from(prefixPlace, 16)
	from(prefixPlace+1, 1)
	from(prefixIdx, 256)
	from(prefixTombstone, 16)
	from(prefixTombstone+1, 1)
	return list
}()

// bound is where a slice ends.
func bound(i int) []byte {
	if i+1 == len(allSlices) {
		return []byte{0xff}
	}
	return allSlices[i+1].from
}

const (
	// scrubEvery is how long after it a slice is due again, and scrubLate when it is no
	// longer left for later.
	scrubEvery = 6 * 24 * time.Hour
	scrubLate  = scrubEvery + 12*time.Hour
)

// A scrub knows when each slice was last done: zero of one that was not.
type scrub struct {
	mu    sync.Mutex
	marks []time.Time // nil until they are read
}

// Scrub implements registry.Store.
func (s *Store) Scrub(ctx context.Context, now time.Time) (bool, error) {
	s.scrub.mu.Lock()
	defer s.scrub.mu.Unlock()
	if err := s.loadMarks(); err != nil {
		return false, err
	}
	oldest, newest := 0, time.Time{}
	for i := range s.scrub.marks {
		if s.doneBy(i, now).Before(s.doneBy(oldest, now)) {
			oldest = i
		}
		if at := s.doneBy(i, now); at.After(newest) {
			newest = at
		}
	}
	// One at a time, so that all take as long as they may.
	step := scrubEvery / time.Duration(len(s.scrub.marks))
	if now.Sub(newest) < step && now.Sub(s.doneBy(oldest, now)) < scrubLate {
		return false, nil
	}
	if err := s.db.Compact(ctx, allSlices[oldest].from, bound(oldest), false); err != nil {
		return false, err
	}
	if s.db.Metrics().Snapshots.Count > 0 { // for whoever holds it, old rows were kept
		return false, nil
	}
	batch := s.db.NewBatch()
	defer batch.Close()
	mark := binary.BigEndian.AppendUint64(nil, uint64(now.Unix()))
	if err := errors.Join(batch.Set(scrubKey(allSlices[oldest]), mark, nil), s.keep(batch)); err != nil {
		return false, err
	}
	s.scrub.marks[oldest] = time.Unix(now.Unix(), 0)
	return true, nil
}

// Purge implements registry.Store.
func (s *Store) Purge(ctx context.Context, now time.Time) error {
	if err := s.db.Compact(ctx, []byte{0}, []byte{0xff}, false); err != nil {
		return err
	}
	batch := s.db.NewBatch()
	defer batch.Close()
	mark := binary.BigEndian.AppendUint64(nil, uint64(now.Unix()))
	var err error
	for _, slice := range allSlices {
		err = errors.Join(err, batch.Set(scrubKey(slice), mark, nil))
	}
	s.scrub.mu.Lock()
	defer s.scrub.mu.Unlock()
	s.scrub.marks = nil
	return errors.Join(err, s.keep(batch))
}

// doneBy is when a slice was last done; zero if that is yet to come by the clock, which
// was wrong then.
func (s *Store) doneBy(slice int, now time.Time) time.Time {
	if at := s.scrub.marks[slice]; !at.After(now) {
		return at
	}
	return time.Time{}
}

// Scrubbed implements registry.Store.
func (s *Store) Scrubbed(_ context.Context, now time.Time) (oldest time.Time, err error) {
	s.scrub.mu.Lock()
	defer s.scrub.mu.Unlock()
	if err := s.loadMarks(); err != nil {
		return now, err
	}
	oldest = now
	for i := range s.scrub.marks {
		at := s.doneBy(i, now)
		if at.IsZero() {
			at = s.opened
		}
		if at.Before(oldest) {
			oldest = at
		}
	}
	return oldest, nil
}

func (s *Store) loadMarks() error {
	if s.scrub.marks != nil {
		return nil
	}
	marks := make([]time.Time, len(allSlices))
	for i := range marks {
		value, closer, err := s.db.Get(scrubKey(allSlices[i]))
		if errors.Is(err, pebble.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if len(value) != 8 {
			return errors.Join(registry.ErrCorrupt, closer.Close())
		}
		marks[i] = time.Unix(int64(binary.BigEndian.Uint64(value)), 0)
		if err := closer.Close(); err != nil {
			return err
		}
	}
	s.scrub.marks = marks
	return nil
}

// remover removes what Pebble needs no more. Logs are not written anew over what they
// held, as Pebble would unless its cleaner needed their contents: the end of one could
// keep a row for ever. An archiver needs them; what it would do itself lies deeper than
// what removes, and so is not what is called.
type remover struct {
	pebble.DeleteCleaner
	needsContents
}

type needsContents struct{ pebble.ArchiveCleaner }
