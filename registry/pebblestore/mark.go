// SPDX-License-Identifier: EUPL-1.2

package pebblestore

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/disk"
	"github.com/seinhuis/seinhuis/registry"
)

// Pebble takes what it cannot read at the end of its newest log, or of its list of
// files, for what a crash kept from being written, and goes on without it: with rows
// that were answered for and are no more. So every durable commit has a number, which
// becomes durable with it. Those of the last commits stay in the database, without
// a gap; and the last number is written to a file of its own after each commit. It is
// not synced: after a loss of power it may say too little, but never too much. Where
// what is opened has a gap, or ends before what the file says, something was lost.
type numbers struct {
	mu   sync.Mutex // held over a durable commit, so that they become durable in order
	last uint64
	file vfs.File

	forgotten uint64 // those before are removed
}

const (
	markFile = "committed"

	// The file has two slots, written in turn: at least one is whole.
	markSlot = 16
	markStep = 512 // from one to the next: the sector of a disk
)

var ( // but for a test
	// keepNumbers is more than there can be in the logs: a hundred bytes each, at the
	// least, and logs of 32 MB. So some of them are in the newest table.
	keepNumbers   uint64 = 1 << 20
	forgetNumbers uint64 = 1 << 16 // are forgotten at a time
)

var (
	errTail = fmt.Errorf("%w: the end of what was committed is missing; restore the backup", registry.ErrCorrupt)
	errGap  = fmt.Errorf("%w: a part of what was committed is missing; restore the backup", registry.ErrCorrupt)
	errMark = fmt.Errorf("%w: the file %s cannot be read; restore the backup", registry.ErrCorrupt, markFile)
)

// slot is the number of a commit as it stands in the file, with a check of it.
func slot(number uint64) []byte {
	b := binary.BigEndian.AppendUint64(nil, number)
	check := sha256.Sum256(append([]byte("seinhuis/1/committed"), b...))
	return append(b, check[:markSlot-8]...)
}

// readMark gives the highest number in the file; false where there is no file.
func readMark(on vfs.FS, path string) (number uint64, found bool, err error) {
	f, err := on.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	text, err := io.ReadAll(f)
	if err != nil {
		return 0, false, err
	}
	whole := false
	for at := 0; at+markSlot <= len(text); at += markStep {
		one := text[at : at+markSlot]
		if n := binary.BigEndian.Uint64(one); bytes.Equal(one, slot(n)) {
			number, whole = max(number, n), true
		}
	}
	if !whole {
		return 0, false, errMark
	}
	return number, true, nil
}

// openNumbers holds what the database has against the file, and opens the file. A new
// database has none yet; nor has one from a backup.
func (s *Store) openNumbers() error {
	first, last, n := uint64(0), uint64(0), uint64(0)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: numberKey(0), UpperBound: []byte{prefixNumber + 1}})
	if err != nil {
		return err
	}
	for it.First(); it.Valid(); it.Next() {
		if last = binary.BigEndian.Uint64(it.Key()[1:]); n == 0 {
			first = last
		}
		n++
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return err
	}
	path := s.fs.PathJoin(s.folder, markFile)
	said, found, err := readMark(s.fs, path)
	switch {
	case err != nil:
		return err
	case n > 0 && (last-first+1 != n || first > max(1, last-min(last, keepNumbers))):
		return errGap
	case last < said:
		return errTail
	}
	s.numbers.last, s.numbers.forgotten = last, first
	if s.numbers.file, err = s.fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified); err != nil {
		return err
	}
	if found {
		return nil
	}
	if err := errors.Join(s.writeMark(last), s.numbers.file.Sync()); err != nil {
		return err
	}
	return disk.SyncFolder(s.fs, s.folder)
}

func (s *Store) writeMark(number uint64) error {
	_, err := s.numbers.file.WriteAt(slot(number), int64(number%2)*markStep)
	return err
}

// numbered makes a commit durable, with the number that is given to it.
func (s *Store) numbered(durable func(number []byte) error) error {
	s.numbers.mu.Lock()
	defer s.numbers.mu.Unlock()
	next := s.numbers.last + 1
	if err := durable(numberKey(next)); err != nil {
		return err
	}
	s.numbers.last = next
	if err := s.writeMark(next); err != nil {
		s.logger.Fatalf("pebblestore: what is on disk cannot be told: %v", err)
		return err
	}
	return nil
}

// keep makes a batch durable.
func (s *Store) keep(batch *pebble.Batch) error {
	return s.numbered(func(number []byte) error {
		if err := batch.Set(number, nil, nil); err != nil {
			return err
		}
		return batch.Commit(pebble.Sync)
	})
}

// trim puts the removal of numbers that are old into a batch.
func (n *numbers) trim(batch *pebble.Batch) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.last < n.forgotten+keepNumbers+forgetNumbers {
		return nil
	}
	n.forgotten = n.last - keepNumbers
	return batch.DeleteRange(numberKey(0), numberKey(n.forgotten), nil)
}
