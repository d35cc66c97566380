// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/atrest"
	"github.com/seinhuis/seinhuis/disk"
	"github.com/seinhuis/seinhuis/keys"
)

// ErrStore says that the data folder and the storage key do not belong together,
// or that a row is damaged.
var ErrStore = errors.New("gateway: a row of the store does not open; is this the storage key that belongs to this data folder?")

// errAbsent says that there is no such row.
var errAbsent = errors.New("gateway: no such row")

// StorageKeySize is the length of the storage key in bytes.
const StorageKeySize = 32

// store is the sealed rows of all parties of a gateway. What is written goes
// through a batch that is committed with fsync; nobody writes past it.
type store struct {
	view  // of what is there now
	db    *pebble.DB
	index indexKey

	pseudonyms pseudonymKey

	sealing sync.RWMutex // for reading by who commits; see sealAnew
}

// A view reads rows: of the store as it is, or of a snapshot, where rows that
// belong together were read at one moment.
type view struct {
	r   pebble.Reader
	row atrest.Key
}

// snapshot gives a view of one moment; it has to be released.
func (s *store) snapshot() (v view, release func()) {
	snap := s.db.NewSnapshot()
	return view{snap, s.row}, func() { snap.Close() }
}

// openStore opens the store under a storage key. Its newest generation seals; all of them
// open.
func openStore(folder string, fs vfs.FS, roots keys.Roots) (*store, error) {
	row, err := roots.Key()
	if err != nil {
		return nil, err
	}
	db, err := pebble.Open(folder, &pebble.Options{
		FS:                 disk.Strict(fs, quiet{}.Fatalf),
		FormatMajorVersion: pebble.FormatNewest,
		Logger:             quiet{},
		MemTableSize:       8 << 20,
	})
	if err != nil {
		return nil, fmt.Errorf("gateway: opening %s, which one process at a time may: %w", folder, err)
	}
	s := &store{view: view{db, row}, db: db}
	_, err = get[int](s.view, keyFormat())
	fresh := errors.Is(err, errAbsent)
	if err = s.checkFormat(); err == nil {
		err = s.loadFinders(roots, fresh)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

func (s *store) close() error { return s.db.Close() }

// get reads a row; errAbsent when there is none.
func get[T any](v view, key []byte) (row T, err error) {
	sealed, closer, err := v.r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return row, errAbsent
	}
	if err != nil {
		return row, err
	}
	defer closer.Close()
	return decode[T](v, key, sealed)
}

func decode[T any](v view, key, sealed []byte) (row T, err error) {
	plain, err := v.row.Open(string(key[:1]), key, sealed)
	if err != nil {
		return row, fmt.Errorf("%w (table %q)", ErrStore, key[0])
	}
	if json.Unmarshal(plain, &row) != nil {
		return row, fmt.Errorf("%w (table %q)", ErrStore, key[0])
	}
	return row, nil
}

// scan calls fn for each row under a prefix, in order of the keys, or backwards;
// it begins behind the key from, if there is one. fn returns false to stop.
func scan[T any](v view, prefix, from []byte, backwards bool, fn func(key []byte, row T) (more bool, err error)) error {
	bounds := &pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)}
	if from != nil && backwards {
		bounds.UpperBound = from
	} else if from != nil {
		bounds.LowerBound = append(append([]byte(nil), from...), 0)
	}
	it, err := v.r.NewIter(bounds)
	if err != nil {
		return err
	}
	defer it.Close()
	move, step := it.First, it.Next
	if backwards {
		move, step = it.Last, it.Prev
	}
	for ok := move(); ok; ok = step() {
		sealed, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		row, err := decode[T](v, it.Key(), sealed)
		if err != nil {
			return err
		}
		more, err := fn(it.Key(), row)
		if err != nil || !more {
			return err
		}
	}
	return it.Error()
}

// A batch is a set of changes that are durable together or not at all. The first
// fault sticks, and commit reports it and writes nothing.
type batch struct {
	s   *store
	b   *pebble.Batch
	err error

	imports map[ID]Counts // what becomes of their rows; Party.commit writes it

	// What Party.commit tells the queue, and does when all is on disk.
	jobs  []Job
	done  []ID
	ended []api.SID
	then  []func()
	left  map[api.SID][]ID // owners of signals that are none any more

	resubmitted map[ID]bool // registrations that were lost
}

func (s *store) batch() *batch { return &batch{s: s, b: s.db.NewBatch()} }

// indexed makes a batch that can be read: its view is of the store with the batch
// in it.
func (s *store) indexed() *batch { return &batch{s: s, b: s.db.NewIndexedBatch()} }

func (b *batch) view() view { return view{b.b, b.s.row} }

func (b *batch) put(key []byte, row any) {
	if b.err != nil {
		return
	}
	if job, ok := row.(Job); ok {
		b.jobs = append(b.jobs, job)
	}
	plain, err := json.Marshal(row)
	if err != nil {
		b.err = err
		return
	}
	sealed, err := b.s.row.Seal(string(key[:1]), key, plain)
	if err != nil {
		b.err = err
		return
	}
	b.err = b.b.Set(key, sealed, nil)
}

func (b *batch) delete(key []byte) {
	switch key[0] {
	case tableJob:
		b.done = append(b.done, idAt(key))
	case tableSignal:
		b.ended = append(b.ended, api.SID(idAt(key)))
	case tableOwner:
		if b.left == nil {
			b.left = map[api.SID][]ID{}
		}
		sid := api.SID(key[17:33])
		b.left[sid] = append(b.left[sid], idAt(key))
	}
	if b.err == nil {
		b.err = b.b.Delete(key, nil)
	}
}

// commit returns when the batch is on disk.
func (b *batch) commit() error {
	if b.err != nil {
		return b.err
	}
	b.s.sealing.RLock()
	defer b.s.sealing.RUnlock()
	return b.b.Commit(pebble.Sync)
}

func (b *batch) close() { b.b.Close() }

// scrub compacts the tables that held identities, so that sealed rows that were
// deleted or overwritten do not linger in older files.
func (s *store) scrub(p partyKey) error {
	if err := s.db.Flush(); err != nil {
		return err
	}
	prefix := p.table(tableJob)
	return s.db.Compact(context.Background(), prefix, after(prefix), false)
}

// quiet keeps Pebble's own log out of ours; what matters comes back as errors.
// Pebble calls Fatalf when a write to disk has failed, after others can read what
// is not on disk: going on would be a lie. A panic would not do, for a server
// recovers from those of its handlers.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "gateway: the store stops: "+format+"\n", args...)
	os.Exit(1)
}
