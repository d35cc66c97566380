// SPDX-License-Identifier: EUPL-1.2

package pebblestore

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// ingestFile is a table on its way into the database. One that a crash has left is
// overwritten by the next.
const ingestFile = "ingest.tmp"

// A commit is one transaction's writes on their way to disk.
type commit struct {
	writes []write
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
	told := make(map[[16]byte]*feed)
	size := 0
	for _, c := range group {
		for _, e := range c.events {
			f, err := s.feeds.get(e.feed)
			if err != nil {
				return err
			}
			told[e.feed] = f
			f.next++
			key := feedKey(e.feed, f.next)
			sealed, err := s.seal(tableEvent, key, e.event)
			if err != nil {
				return err
			}
			c.writes = append(c.writes, write{key: key, value: sealed},
				write{key: eventIDKey(e.feed, e.event.ID)},
				write{key: eventIDExpiryKey(e.remember, e.feed, e.event.ID)})
		}
		for _, w := range c.writes {
			size += len(w.key) + len(w.value)
		}
	}
	keep := s.log
	if size >= s.ingestAbove {
		keep = s.ingest
	}
	if err := keep(group); err != nil {
		return err
	}
	for _, f := range told {
		f.advance(f.next)
	}
	return nil
}

// log writes a group through the write-ahead log, in one batch with one sync.
func (s *Store) log(group []*commit) error {
	batch := s.db.NewBatch()
	defer batch.Close()
	for _, c := range group {
		for _, w := range c.writes {
			var err error
			if w.delete {
				err = batch.Delete(w.key, nil)
			} else {
				err = batch.Set(w.key, w.value, nil)
			}
			if err != nil {
				return err
			}
		}
	}
	return batch.Commit(pebble.Sync)
}

// ingestAbove is the size in bytes from which a sorted table of its own is faster
// than the log and the memtable, which write every byte once more.
const ingestAbove = 4 << 20

// ingest writes a group as a sorted table and takes it into the database, which is
// as atomic and durable as a batch.
func (s *Store) ingest(group []*commit) error {
	var all []write
	for _, c := range group {
		all = append(all, c.writes...)
	}
	slices.SortStableFunc(all, func(a, b write) int { return bytes.Compare(a.key, b.key) })
	path := s.fs.PathJoin(s.folder, ingestFile)
	f, err := s.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(f), s.tables)
	for i, next := range all {
		if i+1 < len(all) && bytes.Equal(next.key, all[i+1].key) {
			continue // a later write of the same key follows
		}
		if next.delete {
			err = w.Delete(next.key)
		} else {
			err = w.Set(next.key, next.value)
		}
		if err != nil {
			return errors.Join(err, w.Close())
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return s.db.Ingest(context.Background(), []string{path})
}
