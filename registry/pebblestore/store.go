// SPDX-License-Identifier: EUPL-1.2

// Package pebblestore keeps a registry on Pebble, in one folder of one process.
//
// A transaction holds the lock of its idx, reads, collects its writes and hands them
// to the one committer, which joins what has gathered into a single
// durable commit and gives events their positions in the feeds. The lock is held
// until the commit is on disk: nobody reads under an idx what a loss of power could
// take back. Feeds are read no further than what is on disk, for a position that a
// reader has seen must never be given to another event.
//
// A write or sync that fails ends the process: after a failed fsync nobody knows
// what is on disk, and asking again would hide it.
package pebblestore

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sync/errgroup"

	"github.com/seinhuis/seinhuis/api"
	enc "github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/disk"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/registry/journal"
)

// ErrClosed says that the store is closing.
var ErrClosed = errors.New("pebblestore: the store is closed")

// A Store is a registry.Store on Pebble.
type Store struct {
	db          *pebble.DB
	fs          vfs.FS
	folder      string
	logger      pebble.Logger
	tables      sstable.WriterOptions // of tables to ingest
	readers     sstable.ReaderOptions // of all tables
	ingestAbove int
	keys        registry.Keys
	incarnation [16]byte
	restores    []registry.Restore
	journal     *journal.Journal
	locks       idxLocks
	feeds       feeds
	numbers     numbers
	opened      time.Time
	scrub       scrub
	reseal      reseal
	sequence    sequence

	commits   chan *commit
	stop      chan struct{} // closed by Close, once
	stopOnce  sync.Once
	committed chan struct{} // closed when the committer has ended
}

// Options of Open that only tests and benchmarks set, but for Journal.
type Options struct {
	Journal *journal.Journal // gets what acts end, before they are durable; nil for none

	FS     vfs.FS        // the disk, when nil
	Logger pebble.Logger // pebble's own, when nil; its Fatalf must not return
	Ingest int           // bytes from which a commit becomes a table of its own, ingestAbove when 0
}

// Open opens or makes the store in a folder.
func Open(folder string, keys registry.Keys, o Options) (*Store, error) {
	opts := &pebble.Options{
		Comparer:           comparer,
		FormatMajorVersion: pebble.FormatTableFormatV6, // logs and tables tell damage from their end
		FS:                 cmp.Or[vfs.FS](o.FS, vfs.Default),
		Logger:             o.Logger,
		MemTableSize:       32 << 20, // and logs of as much, up to four
		CacheSize:          256 << 20,
		Cleaner:            remover{},
	}
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		opts.Levels[i].BlockSize = 16 << 10       // some ten signals
		opts.Levels[i].IndexBlockSize = 256 << 10 // one level of index
	}
	opts.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionNone }) // what is sealed does not shrink
	opts.Experimental.SpanPolicyFunc = inPlace
	opts.EnsureDefaults()
	opts.FS = disk.Strict(opts.FS, opts.Logger.Fatalf)
	db, err := pebble.Open(folder, opts)
	if err != nil {
		return nil, fmt.Errorf("pebblestore: opening %s, which one process at a time may: %w", folder, err)
	}
	s := &Store{
		db: db, fs: opts.FS, folder: folder, logger: opts.Logger, tables: opts.MakeWriterOptions(0, db.TableFormat()),
		readers: opts.MakeReaderOptions(), keys: keys,
		ingestAbove: cmp.Or(o.Ingest, ingestAbove), journal: o.Journal, opened: time.Now(),
		commits: make(chan *commit, 256), stop: make(chan struct{}), committed: make(chan struct{}),
	}
	s.tables.DisableValueBlocks = true
	s.feeds.init(db)
	if err := s.begin(); err != nil {
		if s.numbers.file != nil {
			err = errors.Join(err, s.numbers.file.Close())
		}
		return nil, errors.Join(err, db.Close())
	}
	go s.commitLoop()
	return s, nil
}

// inPlace has all values stand beside their keys. Pebble would move those after the first
// under a prefix to blocks of their own, for it takes what follows a prefix for versions.
// Ours are read together. And where Pebble 2.1.7 cannot read such a block of the last key
// that it compacts, it forgets the error, and writes the key with no value.
func inPlace([]byte) (pebble.SpanPolicy, []byte, error) {
	return pebble.SpanPolicy{DisableValueSeparationBySuffix: true}, nil, nil
}

// begin takes up what an earlier process has left.
func (s *Store) begin() error {
	for _, step := range []func() error{s.removeIngestFiles, s.openNumbers, s.loadIncarnation, s.loadRestores, s.joinJournal} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) loadIncarnation() error {
	value, closer, err := s.db.Get(metaKey)
	if err == nil {
		defer closer.Close()
		if len(value) != len(s.incarnation) {
			return registry.ErrCorrupt
		}
		s.incarnation = [16]byte(value)
		return nil
	}
	if !errors.Is(err, pebble.ErrNotFound) {
		return err
	}
	rand.Read(s.incarnation[:])
	batch := s.db.NewBatch()
	defer batch.Close()
	return errors.Join(batch.Set(metaKey, s.incarnation[:], nil), s.keep(batch))
}

// Incarnation implements registry.Store.
func (s *Store) Incarnation() [16]byte { return s.incarnation }

// Close ends waiting readers and the committer after what it has begun, and closes
// the database. Transactions and reads must have ended.
func (s *Store) Close() error {
	s.stopOnce.Do(func() { close(s.stop) })
	<-s.committed
	return errors.Join(s.db.Close(), s.numbers.file.Close())
}

// Update implements registry.Store.
func (s *Store) Update(ctx context.Context, idx registry.Idx, fn func(registry.Tx) error) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.stop:
		return ErrClosed
	default:
	}
	defer s.locks.lock(idx)()

	at, err := s.newReads()
	if err != nil {
		return err
	}
	t := &tx{store: s, idx: idx, at: at}
	if err := errors.Join(fn(t), at.close()); err != nil {
		return err
	}
	return s.commit(&commit{writes: t.writes, events: t.events, kept: registry.Kept{Ended: t.ended}})
}

// UpdateAll implements registry.Store.
func (s *Store) UpdateAll(ctx context.Context, idxs []registry.Idx, fn func(registry.Idx, registry.Tx) error) error {
	// Locks are taken in order, and a transaction that waits for its commit waits
	// for no lock: so nobody waits in a circle.
	idxs = slices.SortedFunc(slices.Values(idxs), func(a, b registry.Idx) int { return bytes.Compare(a[:], b[:]) })
	for _, idx := range idxs {
		defer s.locks.lock(idx)()
	}
	workers := runtime.GOMAXPROCS(0)
	parts := make([]commit, workers)
	g, ctx := errgroup.WithContext(ctx)
	for w := range workers {
		mine := idxs[len(idxs)*w/workers : len(idxs)*(w+1)/workers]
		g.Go(func() (err error) {
			at, err := s.newReads()
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, at.close()) }()
			for _, idx := range mine {
				t := &tx{store: s, idx: idx, at: at}
				if err := errors.Join(ctx.Err(), fn(idx, t)); err != nil {
					return err
				}
				parts[w].writes = append(parts[w].writes, t.writes...)
				parts[w].events = append(parts[w].events, t.events...)
				parts[w].kept.Ended = append(parts[w].kept.Ended, t.ended...)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	all := &parts[0]
	for _, p := range parts[1:] {
		all.writes = append(all.writes, p.writes...)
		all.events = append(all.events, p.events...)
		all.kept.Ended = append(all.kept.Ended, p.kept.Ended...)
	}
	return s.commit(all)
}

// commit hands writes to the committer and waits until they are on disk. From here
// the outcome is the disk's to tell, so no context counts.
func (s *Store) commit(c *commit) error {
	if len(c.writes) == 0 && len(c.events) == 0 {
		return nil
	}
	c.done = make(chan error, 1)
	select {
	case s.commits <- c:
		return <-c.done
	case <-s.stop:
		return ErrClosed
	}
}

// Signal implements registry.Store.
func (s *Store) Signal(_ context.Context, idx registry.Idx, party api.PartyID) (sig registry.Signal, ok bool, err error) {
	ok, err = s.read(s.db, tableSignal, signalKey(idx, s.keys.Slot(idx, party)), &sig)
	return sig, ok, err
}

// Match implements registry.Store.
func (s *Store) Match(_ context.Context, idx registry.Idx) (m registry.Match, err error) {
	_, err = s.read(s.db, tableMatch, matchKey(idx), &m)
	return m, err
}

// read opens the row under a key into v.
func (s *Store) read(r pebble.Reader, table string, key []byte, v encoding.BinaryUnmarshaler) (bool, error) {
	sealed, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer closer.Close()
	return true, s.open(table, key, sealed, v)
}

func (s *Store) open(table string, key, sealed []byte, v encoding.BinaryUnmarshaler) error {
	row, err := s.keys.Rows.Open(table, key, sealed)
	if err != nil {
		return fmt.Errorf("%w: table %s", registry.ErrCorrupt, table)
	}
	return v.UnmarshalBinary(row)
}

func (s *Store) seal(table string, key []byte, v encoding.BinaryMarshaler) ([]byte, error) {
	row, err := v.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return s.keys.Rows.Seal(table, key, row)
}

// openUnder opens the row at the iterator, which stands under an idx: a signal is
// appended, the match set.
func (s *Store) openUnder(it *pebble.Iterator, signals *[]registry.Signal, match *registry.Match) error {
	sealed, err := it.ValueAndErr()
	if err != nil {
		return err
	}
	if it.Key()[idxPrefixLen] == underMatch {
		return s.open(tableMatch, it.Key(), sealed, match)
	}
	var sig registry.Signal
	err = s.open(tableSignal, it.Key(), sealed, &sig)
	*signals = append(*signals, sig)
	return err
}

// Scan implements registry.Store.
func (s *Store) Scan(ctx context.Context, from registry.Idx, fn func(registry.Idx, []registry.Signal, registry.Match) error) error {
	snapshot := s.db.NewSnapshot()
	defer snapshot.Close()
	it, err := snapshot.NewIter(&pebble.IterOptions{LowerBound: idxPrefix(from), UpperBound: []byte{prefixIdx + 1}})
	if err != nil {
		return err
	}
	defer it.Close()
	var (
		signals []registry.Signal
		match   registry.Match
		idx     registry.Idx
	)
	flush := func() error {
		if len(signals) == 0 && match.ID.IsZero() {
			return nil
		}
		err := fn(idx, signals, match)
		signals, match = nil, registry.Match{}
		return err
	}
	for it.First(); it.Valid(); it.Next() {
		if at := registry.Idx(it.Key()[1:idxPrefixLen]); at != idx {
			if err := errors.Join(ctx.Err(), flush()); err != nil {
				return err
			}
			idx = at
		}
		if err := s.openUnder(it, &signals, &match); err != nil {
			return err
		}
	}
	return errors.Join(it.Error(), flush())
}

// Due implements registry.Store.
func (s *Store) Due(ctx context.Context, today enc.Date, max int) (due []registry.Idx, err error) {
	err = s.expired(today, func(key []byte) (bool, error) {
		if target := expiryTarget(key); target[0] == prefixIdx {
			due = append(due, registry.Idx(target[1:idxPrefixLen]))
		}
		return len(due) < max, ctx.Err()
	})
	return due, err
}

// OldestDue implements registry.Store. It seeks from day to day, past what else is
// kept by day, and so takes as long however much is due.
func (s *Store) OldestDue(ctx context.Context, today enc.Date) (enc.Date, bool, error) {
	it, err := s.db.NewIter(&pebble.IterOptions{
		LowerBound: []byte{prefixExpiry}, UpperBound: expiryDayKey(today.AddDate(0, 0, 1)),
	})
	if err != nil {
		return enc.Date{}, false, err
	}
	defer it.Close()
	for it.First(); it.Valid() && ctx.Err() == nil; {
		day := expiryDay(it.Key())
		signals := append(expiryDayKey(day), prefixIdx)
		if it.SeekGE(signals); it.Valid() && bytes.HasPrefix(it.Key(), signals) {
			return day, true, nil
		}
		it.SeekGE(expiryDayKey(day.AddDate(0, 0, 1)))
	}
	return enc.Date{}, false, errors.Join(it.Error(), ctx.Err())
}

// expired walks over the expiry keys of all days up to today.
func (s *Store) expired(today enc.Date, fn func(key []byte) (more bool, err error)) error {
	it, err := s.db.NewIter(&pebble.IterOptions{
		LowerBound: []byte{prefixExpiry}, UpperBound: expiryDayKey(today.AddDate(0, 0, 1)),
	})
	if err != nil {
		return err
	}
	defer it.Close()
	for it.First(); it.Valid(); it.Next() {
		if more, err := fn(it.Key()); err != nil || !more {
			return err
		}
	}
	return it.Error()
}

// Held implements registry.Store.
func (s *Store) Held(_ context.Context, party api.PartyID, id api.EventID) (bool, error) {
	return s.has(eventIDKey(s.keys.Feed(party), id))
}

// Trim implements registry.Store.
func (s *Store) Trim(ctx context.Context, today enc.Date, max int) (more bool, err error) {
	batch := s.db.NewBatch()
	defer batch.Close()
	n := 0
	err = s.expired(today, func(key []byte) (bool, error) {
		target := expiryTarget(key)
		if target[0] == prefixIdx {
			return true, ctx.Err()
		}
		n++
		return n < max, errors.Join(ctx.Err(), batch.Delete(target, nil), batch.Delete(key, nil))
	})
	if err == nil {
		err = errors.Join(s.feeds.trim(batch), s.trimCounts(batch, today), s.numbers.trim(batch))
	}
	if err == nil && s.journal != nil {
		err = s.journal.Trim(today)
	}
	if err != nil || batch.Empty() {
		return false, err
	}
	return n == max, s.keep(batch)
}
