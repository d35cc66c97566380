// SPDX-License-Identifier: EUPL-1.2

package pebblestore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io/fs"
	"runtime"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sync/errgroup"

	"github.com/seinhuis/seinhuis/registry"
)

// ingestFiles are tables on their way into the database. What a crash has left of
// them goes when the store is opened.
var ingestFiles = [3]string{"ingest-0.tmp", "ingest-1.tmp", "ingest-2.tmp"}

// A commit is one transaction's writes on their way to disk.
type commit struct {
	writes []write
	events []feedEvent
	kept   registry.Kept // by the journal
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
		select {
		case c := <-s.commits:
			group = s.gather(append(group[:0], c))
		case <-s.stop:
			s.refuseRest()
			return
		}
		err := s.commitGroup(group)
		for _, c := range group {
			c.done <- err
		}
	}
}

// gather joins those who come to the first. Whoever could run gets a turn before the
// disk is asked, for as long as that brings anybody: on a busy machine a sync is then
// for many, and on an idle one nobody waits.
func (s *Store) gather(group []*commit) []*commit {
	for {
		runtime.Gosched()
		before := len(group)
		for len(group) < maxJoined && len(s.commits) > 0 { // nobody else takes from it
			group = append(group, <-s.commits)
		}
		if len(group) == before || len(group) == maxJoined {
			return group
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
	if err := s.writeJournal(group); err != nil {
		s.logger.Fatalf("pebblestore: nobody knows what is in the journal: %v", err)
		return err
	}
	keep := s.log
	if size >= s.ingestAbove {
		keep = s.ingest
	}
	err := s.numbered(func(number []byte) error {
		group[0].writes = append(group[0].writes, write{key: number})
		return keep(group)
	})
	if err != nil {
		// As Pebble does when its log cannot be written.
		s.logger.Fatalf("pebblestore: nobody knows what is on disk: %v", err)
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

// ingest writes a group as sorted tables and takes them into the database, which is
// as atomic and durable as a batch. What stands under idxs is a table of its own,
// beside one of all that goes before it and one of what comes behind, so that more
// than one processor has something to do.
func (s *Store) ingest(group []*commit) error {
	var tables [len(ingestFiles)][]write
	for _, c := range group {
		for _, w := range c.writes {
			at := 1 + cmp.Compare(w.key[0], prefixIdx)
			tables[at] = append(tables[at], w)
		}
	}
	var paths []string
	var g errgroup.Group
	for i, writes := range tables {
		if len(writes) == 0 {
			continue
		}
		path := s.fs.PathJoin(s.folder, ingestFiles[i])
		paths = append(paths, path)
		g.Go(func() error { return s.writeTable(path, writes) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return s.db.Ingest(context.Background(), paths)
}

// removeIngestFiles removes tables that never got into the database: what is
// destroyed later must not live on in them.
func (s *Store) removeIngestFiles() error {
	for _, name := range ingestFiles {
		if err := s.fs.Remove(s.fs.PathJoin(s.folder, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (s *Store) writeTable(path string, writes []write) error {
	slices.SortStableFunc(writes, func(a, b write) int { return bytes.Compare(a.key, b.key) })
	f, err := s.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(f), s.tables)
	for i, next := range writes {
		if i+1 < len(writes) && bytes.Equal(next.key, writes[i+1].key) {
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
	return w.Close()
}
