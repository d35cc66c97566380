// SPDX-License-Identifier: EUPL-1.2

package pebblestore

import (
	"context"
	"errors"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/registry"
)

// feeds knows of every feed in use how far it reaches. A position is given once:
// the last event of a feed is never trimmed, so the highest survives a restart.
type feeds struct {
	db *pebble.DB
	mu sync.Mutex
	by map[[16]byte]*feed
}

type feed struct {
	next uint64 // the last position given; the committer's own

	mu      sync.Mutex
	durable uint64        // the last position on disk: readers go no further
	acked   uint64        // what the reader has kept
	trimmed uint64        // up to where trim has removed
	grown   chan struct{} // closed when durable grows
}

func (f *feeds) init(db *pebble.DB) { f.db, f.by = db, make(map[[16]byte]*feed) }

// get finds a feed, or loads where it ends. It is loaded before the committer
// first writes to it, so what is found then is on disk.
func (f *feeds) get(id [16]byte) (*feed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known, ok := f.by[id]; ok {
		return known, nil
	}
	it, err := f.db.NewIter(&pebble.IterOptions{LowerBound: feedKey(id, 0), UpperBound: feedKey(id, ^uint64(0))})
	if err != nil {
		return nil, err
	}
	var last uint64
	if it.Last() {
		last = feedPosition(it.Key())
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return nil, err
	}
	known := &feed{next: last, durable: last, grown: make(chan struct{})}
	f.by[id] = known
	return known, nil
}

func (f *feed) advance(to uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.durable = to
	close(f.grown)
	f.grown = make(chan struct{})
}

func (f *feed) reach() (uint64, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.durable, f.grown
}

// fromStart is where to read on after a position: at the start of the feed when the
// feed never reached it. Readers see only what is on disk, so such a reader was
// told by a store that has been put back since, and would miss what comes now.
func fromStart(after, durable uint64) uint64 {
	if after > durable {
		return 0
	}
	return after
}

// Events implements registry.Store.
func (s *Store) Events(ctx context.Context, party api.PartyID, after uint64, max int) (events []registry.Event, last uint64, err error) {
	id := s.keys.Feed(party)
	f, err := s.feeds.get(id)
	if err != nil {
		return nil, after, err
	}
	durable, _ := f.reach()
	last = fromStart(after, durable)
	if after = last; after == durable {
		return nil, after, nil
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: feedKey(id, after+1), UpperBound: feedKey(id, durable+1)})
	if err != nil {
		return nil, after, err
	}
	defer it.Close()
	for it.First(); it.Valid() && len(events) < max; it.Next() {
		sealed, err := it.ValueAndErr()
		if err != nil {
			return nil, after, err
		}
		var e registry.Event
		if err := s.open(tableEvent, it.Key(), sealed, &e); err != nil {
			return nil, after, err
		}
		events = append(events, e)
		last = feedPosition(it.Key())
	}
	return events, last, errors.Join(it.Error(), ctx.Err())
}

// Wait implements registry.Store.
func (s *Store) Wait(ctx context.Context, party api.PartyID, after uint64) error {
	f, err := s.feeds.get(s.keys.Feed(party))
	if err != nil {
		return err
	}
	for {
		durable, grown := f.reach()
		if durable > fromStart(after, durable) {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.stop:
			return ErrClosed
		}
	}
}

// Acknowledge implements registry.Store.
func (s *Store) Acknowledge(party api.PartyID, upTo uint64) {
	f, err := s.feeds.get(s.keys.Feed(party))
	if err != nil {
		return // the reader says it again with its next question
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acked = max(f.acked, min(upTo, f.durable))
}

// Behind implements registry.Store.
func (s *Store) Behind(ctx context.Context, party api.PartyID) (first uint64, n int, err error) {
	id := s.keys.Feed(party)
	f, err := s.feeds.get(id)
	if err != nil {
		return 0, 0, err
	}
	f.mu.Lock()
	acked, durable := f.acked, f.durable
	f.mu.Unlock()
	if acked >= durable {
		return 0, 0, nil
	}
	// One seek, and a number that may count a position that was given to no event.
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: feedKey(id, acked+1), UpperBound: feedKey(id, durable+1)})
	if err != nil {
		return 0, 0, err
	}
	if it.First() {
		first = feedPosition(it.Key())
		n = int(durable - first + 1)
	}
	return first, n, errors.Join(it.Error(), it.Close(), ctx.Err())
}

// trim puts the removal of acknowledged events into a batch. The last event of a
// feed stays.
func (f *feeds) trim(batch *pebble.Batch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, known := range f.by {
		known.mu.Lock()
		from, upTo := known.trimmed, min(known.acked, max(known.durable, 1)-1)
		known.trimmed = upTo
		known.mu.Unlock()
		if upTo == from {
			continue
		}
		if err := batch.DeleteRange(feedKey(id, from), feedKey(id, upTo+1), nil); err != nil {
			return err
		}
	}
	return nil
}
