// SPDX-License-Identifier: EUPL-1.2

// Package journal keeps, outside the database and its backups, what must not be undone
// when a backup is restored: what acts have ended, for it would come back; which leaves
// the log has, for its checkpoints are signed; and what was erased from it.
//
// It is files in a folder of their own, one after the other. A file is a header and
// groups, each what one commit of the store makes durable:
//
//	header  "seinhuis/1/journal\n" ‖ journal id(16) ‖ number of the first group(8) ‖ Unix seconds(8)
//	group   length(4) ‖ sealed row: E("journal", rows of a registry.Kept…), under (journal id ‖ number of the group)
//
// Integers are big-endian. Groups are numbered from 1 without a gap, over all files; a
// file is named by its first. A file is never written to again once another has begun,
// and every start of the registry begins one, as does every day.
//
// A group is on disk before the commit that it is of. So the last group of a file can be
// of a commit that never came to be, or be cut off by a crash: what no receipt speaks of.
// How many groups there must be the store knows, whose every commit says so; with
// fewer than that the journal is not the store's, or is damaged, and neither is used.
package journal

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/crypto/atrest"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/disk"
	"github.com/seinhuis/seinhuis/registry"
)

// KeepDays is how long what was journalled is kept: as long as backups are, and the
// days on which a backup is made and restored.
const KeepDays = 32

var (
	// ErrCorrupt says that a file of the journal is damaged, or one is missing between
	// others.
	ErrCorrupt = errors.New("journal: damaged: a file, or part of one, is not what was written")
	// ErrReach says that the journal does not have what was ended since some group.
	ErrReach = errors.New("journal: it does not reach back so far, or is another one: what was withdrawn since cannot be known")
)

const (
	magic      = "seinhuis/1/journal\n"
	headerSize = len(magic) + 16 + 8 + 8
	suffix     = ".journal"
	table      = "journal"
)

// maxGroup bounds a group, in bytes.
const maxGroup = 64 << 20

// A Journal is a folder of groups. Append and Trim are called by one goroutine at a
// time.
type Journal struct {
	fs     vfs.FS
	folder string
	key    atrest.Key
	now    func() time.Time

	mu     sync.Mutex
	id     [16]byte
	files  []file
	last   uint64   // group
	cutOff bool     // the last file ends in less than a group
	out    vfs.File // the file that is written to; nil until the first group
}

// A file is one of the journal's.
type file struct {
	name  string
	first uint64 // group
	begun time.Time
}

// Open opens the journal in a folder, or makes one.
func Open(on vfs.FS, folder string, key atrest.Key, now func() time.Time) (*Journal, error) {
	j := &Journal{fs: on, folder: folder, key: key, now: now}
	if err := errors.Join(on.MkdirAll(folder, 0o700), disk.SyncFolder(on, on.PathDir(folder))); err != nil {
		return nil, err
	}
	names, err := on.List(folder)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if !strings.HasSuffix(name, suffix) {
			continue
		}
		id, f, err := j.header(name)
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			// A crash while it was begun: nothing had been written to it.
			continue
		}
		if err != nil {
			return nil, err
		}
		if len(j.files) > 0 && id != j.id {
			return nil, fmt.Errorf("%w: files of two journals", ErrCorrupt)
		}
		j.id = id
		j.files = append(j.files, f)
	}
	slices.SortFunc(j.files, func(a, b file) int { return cmp.Compare(a.first, b.first) })
	if len(j.files) == 0 {
		rand.Read(j.id[:])
		return j, j.begin(1)
	}
	j.last = j.files[0].first - 1
	err = j.read(len(j.files)-1, func(n uint64, _ registry.Kept) error { j.last = n; return nil })
	return j, err
}

// Last is the place behind the last group.
func (j *Journal) Last() registry.Journaled {
	j.mu.Lock()
	defer j.mu.Unlock()
	return registry.Journaled{ID: j.id, Groups: j.last}
}

// CutOff tells whether the last file ends in less than a group: a crash, or damage. A
// store that stands knows which, by how many groups there must be.
func (j *Journal) CutOff() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.cutOff
}

// Append writes a group, and gives the place behind it. When it returns the group is on
// disk; after an error nobody knows.
func (j *Journal) Append(kept registry.Kept) (registry.Journaled, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	rows, err := kept.Rows()
	if err != nil {
		return registry.Journaled{}, err
	}
	group, err := encoding.E(table, rows...)
	if err != nil {
		return registry.Journaled{}, err
	}
	number := j.last + 1
	sealed, err := j.key.Seal(table, j.place(number), group)
	if err != nil {
		return registry.Journaled{}, err
	}
	if err := j.begin(number); err != nil {
		return registry.Journaled{}, err
	}
	framed := append(binary.BigEndian.AppendUint32(nil, uint32(len(sealed))), sealed...)
	if _, err := j.out.Write(framed); err != nil {
		return registry.Journaled{}, err
	}
	if err := j.out.Sync(); err != nil {
		return registry.Journaled{}, err
	}
	j.last = number
	return registry.Journaled{ID: j.id, Groups: j.last}, nil
}

// begin makes the file for a group, if none is open or another day has come.
func (j *Journal) begin(number uint64) error {
	now := j.now()
	if j.out != nil {
		if registry.Today(j.files[len(j.files)-1].begun) == registry.Today(now) {
			return nil
		}
		if err := j.out.Close(); err != nil {
			return err
		}
		j.out = nil
	}
	// A file that no group was written to, or a crash has cut off in its first one, has the
	// same name. It may be the only one that says which journal this is, and so it stands
	// until its follower is on disk.
	name := fmt.Sprintf("%016x%s", number, suffix)
	path := j.fs.PathJoin(j.folder, name)
	out, err := j.fs.Create(path+".new", vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	header := append([]byte(magic), j.id[:]...)
	header = binary.BigEndian.AppendUint64(header, number)
	header = binary.BigEndian.AppendUint64(header, uint64(now.Unix()))
	if _, err := out.Write(header); err != nil {
		return errors.Join(err, out.Close())
	}
	err = out.Sync()
	if err == nil {
		err = errors.Join(j.fs.Rename(path+".new", path), disk.SyncFolder(j.fs, j.folder))
	}
	if err != nil {
		return errors.Join(err, out.Close())
	}
	j.out = out
	j.files = slices.DeleteFunc(j.files, func(f file) bool { return f.name == name })
	j.files = append(j.files, file{name, number, now})
	return nil
}

func (j *Journal) place(number uint64) []byte {
	return binary.BigEndian.AppendUint64(j.id[:16:16], number)
}

// Since calls fn for every group behind a place, in their order. ErrReach says that some
// of them are not there.
func (j *Journal) Since(at registry.Journaled, fn func(registry.Kept) error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if at.ID != j.id || at.Groups > j.last || j.files[0].first > at.Groups+1 {
		return ErrReach
	}
	for i := range j.files {
		if i+1 < len(j.files) && j.files[i+1].first <= at.Groups+1 {
			continue
		}
		err := j.read(i, func(n uint64, kept registry.Kept) error {
			if n <= at.Groups {
				return nil
			}
			return fn(kept)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Check reads all of the journal, and tells how many groups it has.
func (j *Journal) Check() (groups int, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range j.files {
		if err := j.read(i, func(uint64, registry.Kept) error { groups++; return nil }); err != nil {
			return groups, err
		}
	}
	return groups, nil
}

// checkpointFile is the last checkpoint of the log that was signed: no store may go on
// from a tree that is not that of it.
const checkpointFile = "checkpoint"

// KeepCheckpoint keeps a signed checkpoint, in place of the one before; it is on disk when
// this returns.
func (j *Journal) KeepCheckpoint(signed []byte) error {
	return disk.Replace(j.fs, j.fs.PathJoin(j.folder, checkpointFile), signed)
}

// Checkpoint is what was kept last, and as it was signed; nil if nothing was.
func (j *Journal) Checkpoint() (c audit.Checkpoint, signed []byte, err error) {
	in, err := j.fs.Open(j.fs.PathJoin(j.folder, checkpointFile))
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil, nil
	}
	if err != nil {
		return c, nil, err
	}
	signed, err = io.ReadAll(in)
	if err := errors.Join(err, in.Close()); err != nil {
		return c, nil, err
	}
	if c, err = audit.Unverified(signed); err != nil { // who signed it, those know who believe it
		return c, nil, fmt.Errorf("%w: %s", ErrCorrupt, checkpointFile)
	}
	return c, signed, nil
}

// Trim removes files of which everything is older than what is kept.
func (j *Journal) Trim(today encoding.Date) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	before := today.AddDate(0, 0, -KeepDays)
	old := func(f file) bool { return registry.Today(f.begun).Compare(before) < 0 }
	for len(j.files) > 1 && old(j.files[0]) && old(j.files[1]) { // both: a clock may have been far behind
		if err := j.fs.Remove(j.fs.PathJoin(j.folder, j.files[0].name)); err != nil {
			return err
		}
		j.files = j.files[1:]
	}
	return nil
}

// Close ends writing.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.out == nil {
		return nil
	}
	err := j.out.Close()
	j.out = nil
	return err
}

func (j *Journal) header(name string) (id [16]byte, f file, err error) {
	in, err := j.fs.Open(j.fs.PathJoin(j.folder, name))
	if err != nil {
		return id, f, err
	}
	defer in.Close()
	header := make([]byte, headerSize)
	if _, err := io.ReadFull(in, header); err != nil {
		return id, f, err
	}
	rest, ok := bytes.CutPrefix(header, []byte(magic))
	first := binary.BigEndian.Uint64(rest[16:])
	named, err := strconv.ParseUint(strings.TrimSuffix(name, suffix), 16, 64)
	if !ok || err != nil || named != first || first == 0 {
		return id, f, fmt.Errorf("%w: %s", ErrCorrupt, name)
	}
	return [16]byte(rest), file{name, first, time.Unix(int64(binary.BigEndian.Uint64(rest[24:])), 0).UTC()}, nil
}

// read reads the groups of a file. A file may end in a group that a crash cut off, if
// that is what the next file, if there is one, begins with.
func (j *Journal) read(i int, fn func(number uint64, kept registry.Kept) error) error {
	f := j.files[i]
	text, err := j.text(f.name)
	if err != nil {
		return err
	}
	number, rest := f.first, text[headerSize:]
	for len(rest) > 0 {
		group, size, ok := j.group(number, rest)
		if !ok && j.goesOn(number, rest) {
			return fmt.Errorf("%w: %s", ErrCorrupt, f.name)
		}
		if !ok {
			j.cutOff = j.cutOff || i == len(j.files)-1
			break
		}
		if err := fn(number, group); err != nil {
			return err
		}
		number, rest = number+1, rest[size:]
	}
	if i+1 < len(j.files) && j.files[i+1].first != number {
		return fmt.Errorf("%w: something is missing behind %s", ErrCorrupt, f.name)
	}
	return nil
}

func (j *Journal) text(name string) ([]byte, error) {
	in, err := j.fs.Open(j.fs.PathJoin(j.folder, name))
	if err != nil {
		return nil, err
	}
	defer in.Close()
	text, err := io.ReadAll(in)
	if err == nil && len(text) < headerSize {
		err = fmt.Errorf("%w: %s", ErrCorrupt, name)
	}
	return text, err
}

// goesOn tells whether a group that does not open has others behind it, wherever they
// begin: then it was not a crash that cut it off.
func (j *Journal) goesOn(number uint64, rest []byte) bool {
	for at := 1; at < len(rest); at++ {
		for next := number + 1; next <= number+3; next++ {
			if _, _, ok := j.group(next, rest[at:]); ok {
				return true
			}
		}
	}
	return false
}

// group takes one group off what is left of a file; false when it is not one.
func (j *Journal) group(number uint64, rest []byte) (kept registry.Kept, size int, ok bool) {
	if len(rest) < 4 {
		return kept, 0, false
	}
	n := binary.BigEndian.Uint32(rest)
	if n > maxGroup || int(n) > len(rest)-4 {
		return kept, 0, false
	}
	size = 4 + int(n)
	plain, err := j.key.Open(table, j.place(number), rest[4:size])
	if err != nil {
		return kept, 0, false
	}
	d := encoding.NewDecoder(plain)
	d.Expect(table)
	for d.More() {
		if kept.ReadRow(d.Bytes()) != nil {
			return kept, 0, false
		}
	}
	return kept, size, d.Done() == nil && !kept.Empty()
}
