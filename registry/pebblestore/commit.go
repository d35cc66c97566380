// SPDX-License-Identifier: EUPL-1.2

package pebblestore

import (
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2"
)

// A commit is one transaction's writes on their way to disk.
type commit struct {
	batch  *pebble.Batch
	events []feedEvent
	done   chan error
}

// maxJoined bounds how many transactions share one sync, and so how long the
// first of them waits for the others' rows to be written.
const maxJoined = 512

// commitLoop writes transactions in the order in which they come. While one group
// is being synced the next gathers, so the more wait, the fewer syncs each costs.
func (s *Store) commitLoop() {
	defer close(s.committed)
	group := make([]*commit, 0, maxJoined)
	for {
		group = group[:0]
		select {
		case c := <-s.commits:
			group = append(group, c)
		case <-s.stop:
			s.refuseRest()
			return
		}
	gather:
		for len(group) < maxJoined {
			select {
			case c := <-s.commits:
				group = append(group, c)
			default:
				break gather
			}
		}
		err := s.commitGroup(group)
		for _, c := range group {
			c.done <- err
		}
	}
}

// refuseRest answers what was handed over while the store closed.
func (s *Store) refuseRest() {
	for {
		select {
		case c := <-s.commits:
			c.done <- ErrClosed
		default:
			return
		}
	}
}

func (s *Store) commitGroup(group []*commit) error {
	joined := s.db.NewBatch()
	defer joined.Close()
	told := make(map[[16]byte]*feed)
	var errs error
	for _, c := range group {
		errs = errors.Join(errs, joined.Apply(c.batch, nil))
		for _, e := range c.events {
			f, err := s.feeds.get(e.feed)
			if err != nil {
				return err
			}
			told[e.feed] = f
			f.next++
			key := feedKey(e.feed, f.next)
			sealed, err := s.seal(tableEvent, key, e.event)
			errs = errors.Join(errs, err,
				joined.Set(key, sealed, nil),
				joined.Set(eventIDKey(e.feed, e.event.ID), binary.BigEndian.AppendUint64(nil, f.next), nil))
		}
	}
	if errs != nil {
		return errs
	}
	if err := joined.Commit(pebble.Sync); err != nil {
		return err
	}
	for _, f := range told {
		f.advance(f.next)
	}
	return nil
}
