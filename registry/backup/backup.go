// SPDX-License-Identifier: EUPL-1.2

// Package backup copies a registry's store while it is in use, and puts a copy back.
//
// A backup is a folder:
//
//	store/…      a checkpoint of the database: as it was at one moment
//	notes/…      the newest manifest and directory that the registry had seen
//	backup.list  the files and their SHA-256, sealed under the row key
//
// It is written under another name and renamed when all of it is on disk, so a folder
// under its own name is whole. The row key and the pepper are not in it: whoever has the
// folder alone sees counts and sizes.
//
// A store that is put back begins a new incarnation, and what acts have ended since is
// ended again from the journal. Until that is done it, too, has another name.
package backup

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/disk"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/registry/journal"
	"github.com/seinhuis/seinhuis/registry/pebblestore"
)

var (
	// ErrDamaged says that a backup is not what was written, or not under this row key.
	ErrDamaged = errors.New("backup: damaged, not whole, or not under this key: do not restore it, take another")
	// ErrThere says that there is something already where a backup or a store would come.
	ErrThere = errors.New("backup: there is something already")
)

const (
	storeFolder = "store"
	notesFolder = "notes"
	listFile    = "backup.list"
	partial     = ".partial" // behind the name of what is not whole
	format      = 1
	table       = "backup"
)

// A list is what a backup consists of.
type list struct {
	Format int       `json:"format"`
	Taken  time.Time `json:"taken"` // all that was acknowledged before is in it
	Files  []entry   `json:"files"`
}

type entry struct {
	Name   string   `json:"name"` // with slashes
	Size   int64    `json:"size"`
	SHA256 api.Hash `json:"sha256"`
}

// A Summary tells what was copied.
type Summary struct {
	Taken time.Time `json:"taken"`
	Files int       `json:"files"`
	Bytes int64     `json:"bytes"`
}

func (l list) summary() Summary {
	s := Summary{Taken: l.Taken, Files: len(l.Files)}
	for _, f := range l.Files {
		s.Bytes += f.Size
	}
	return s
}

// Make makes a backup of a store in the folder to, which does not exist; the store can
// be in use. notes are texts that go along, by their names.
func Make(fs vfs.FS, store *pebblestore.Store, keys registry.Keys, to string, notes map[string][]byte, now time.Time) (Summary, error) {
	if err := absent(fs, to); err != nil {
		return Summary{}, err
	}
	l := list{Format: format, Taken: now.UTC()}
	at := to + partial
	err := errors.Join(fs.RemoveAll(at), fs.MkdirAll(fs.PathJoin(at, notesFolder), 0o700))
	if err == nil {
		err = store.Checkpoint(fs.PathJoin(at, storeFolder))
	}
	for name, text := range notes {
		if err == nil {
			err = write(fs, fs.PathJoin(at, notesFolder, name), text)
		}
	}
	for _, folder := range []string{storeFolder, notesFolder} {
		if err == nil {
			err = l.add(fs, at, folder)
		}
	}
	if err == nil {
		err = l.keep(fs, keys, at)
	}
	if err == nil {
		err = errors.Join(disk.SyncFolder(fs, at), fs.Rename(at, to), disk.SyncFolder(fs, fs.PathDir(to)))
	}
	if err != nil {
		return Summary{}, errors.Join(err, fs.RemoveAll(at))
	}
	return l.summary(), nil
}

// add lists the files in a folder of a backup, and sees to it that they are on disk.
func (l *list) add(fs vfs.FS, at, folder string) error {
	names, err := fs.List(fs.PathJoin(at, folder))
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		e := entry{Name: folder + "/" + name}
		path := fs.PathJoin(at, folder, name)
		info, err := fs.Stat(path)
		if err != nil {
			return err
		}
		if info.IsDir() { // of a database: empty
			continue
		}
		in, err := fs.Open(path)
		if err != nil {
			return err
		}
		h := sha256.New()
		e.Size, err = io.Copy(h, in)
		if err := errors.Join(err, in.Sync(), in.Close()); err != nil {
			return err
		}
		e.SHA256 = api.Hash(h.Sum(nil))
		l.Files = append(l.Files, e)
	}
	return disk.SyncFolder(fs, fs.PathJoin(at, folder))
}

func (l *list) keep(fs vfs.FS, keys registry.Keys, at string) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	sealed, err := keys.Rows.Seal(table, []byte(listFile), text)
	if err != nil {
		return err
	}
	return write(fs, fs.PathJoin(at, listFile), sealed)
}

// A Restored tells what a restore has done.
type Restored struct {
	Backup      Summary `json:"backup"`
	Incarnation string  `json:"incarnation"`
	// JournalCutOff says that the journal's last file ends in less than a whole group: a
	// crash while it was written, or damage to what came last.
	JournalCutOff bool `json:"journalCutOff"`
}

// A Target is where a backup is put back.
type Target struct {
	FS      vfs.FS
	Store   string // the folder of the store; it does not exist
	Keys    registry.Keys
	Journal *journal.Journal
	Options pebblestore.Options
	Now     func() time.Time
	// Replay ends again what has ended since the backup.
	Replay func(context.Context, registry.Store, []registry.Ended) error
}

// Restore verifies a backup, copies it, begins a new incarnation and replays the
// journal. A crash or an error leaves no store; then it can be called again.
func Restore(ctx context.Context, from string, t Target) (done Restored, err error) {
	if err := absent(t.FS, t.Store); err != nil {
		return done, err
	}
	l, err := read(t.FS, t.Keys, from)
	if err != nil {
		return done, err
	}
	done.Backup = l.summary()
	at := t.Store + partial
	if err := errors.Join(t.FS.RemoveAll(at), t.FS.MkdirAll(at, 0o700)); err != nil {
		return done, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.FS.RemoveAll(at))
		}
	}()
	for _, e := range l.Files {
		if err := errors.Join(ctx.Err(), t.copy(from, at, e)); err != nil {
			return done, err
		}
	}
	if err := disk.SyncFolder(t.FS, at); err != nil {
		return done, err
	}
	o := t.Options
	o.FS = t.FS
	store, err := pebblestore.Open(at, t.Keys, o)
	if err != nil {
		return done, err
	}
	err = t.revive(ctx, store, l.Taken)
	incarnation := store.Incarnation()
	if err := errors.Join(err, store.Close()); err != nil {
		return done, err
	}
	done.Incarnation = fmt.Sprintf("%x", incarnation)
	done.JournalCutOff = t.Journal.CutOff()
	return done, errors.Join(disk.SyncFolder(t.FS, at), t.FS.Rename(at, t.Store), disk.SyncFolder(t.FS, t.FS.PathDir(t.Store)))
}

// revive makes of the copy of a store what the store is from now on.
func (t Target) revive(ctx context.Context, store *pebblestore.Store, taken time.Time) error {
	at, known, err := store.Journaled()
	if err != nil {
		return err
	}
	if !known {
		return journal.ErrReach
	}
	var (
		ended []registry.Ended
		log   = relog{ctx: ctx, store: store}
	)
	err = t.Journal.Since(at, func(kept registry.Kept) error {
		ended = append(ended, kept.Ended...)
		return errors.Join(ctx.Err(), log.add(kept))
	})
	if err != nil {
		return err
	}
	if err := log.done(t.Journal); err != nil {
		return err
	}
	if err := store.Reincarnate(taken, t.Now()); err != nil {
		return err
	}
	if err := t.Replay(ctx, store, ended); err != nil {
		return err
	}
	return store.SetJournaled(t.Journal.Last())
}

// A relog makes of a store's log what it was, from what the journal has kept.
type relog struct {
	ctx   context.Context
	store *pebblestore.Store
	next  registry.Sequenced // not put back yet
}

// add takes what one commit has kept. One that never came to be, because of a crash, has
// numbered leaves that the next one numbered anew.
func (r *relog) add(kept registry.Kept) error {
	if next := kept.Sequenced; len(next.Leaves) > 0 {
		if len(r.next.Leaves) > 0 && next.First != r.next.First {
			if err := r.flush(); err != nil {
				return err
			}
		}
		r.next = next
	}
	if len(kept.Erased) == 0 {
		return nil
	}
	return errors.Join(r.flush(), r.store.Erase(r.ctx, kept.Erased))
}

func (r *relog) flush() error {
	next := r.next
	r.next = registry.Sequenced{}
	if len(next.Leaves) == 0 {
		return nil
	}
	return r.store.Relog(r.ctx, next.First, next.Leaves)
}

// done holds the log against the last checkpoint of it that was signed.
func (r *relog) done(j *journal.Journal) error {
	if err := r.flush(); err != nil {
		return err
	}
	last, signed, err := j.Checkpoint()
	if err != nil || signed == nil {
		return err
	}
	return registry.Holds(r.ctx, r.store, last)
}

// copy copies a file of a backup to where it belongs, and holds it against the list.
func (t Target) copy(from, at string, e entry) error {
	folder, name, _ := strings.Cut(e.Name, "/")
	if folder != storeFolder {
		return nil
	}
	to := t.FS.PathJoin(at, name)
	in, err := t.FS.Open(t.FS.PathJoin(from, folder, name))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	defer in.Close()
	out, err := t.FS.Create(to, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(h, out), in)
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		return err
	}
	if n != e.Size || api.Hash(h.Sum(nil)) != e.SHA256 {
		return fmt.Errorf("%w: %s", ErrDamaged, e.Name)
	}
	return nil
}

// Notes gives the notes in a backup, by their names.
func Notes(fs vfs.FS, keys registry.Keys, from string) (map[string][]byte, error) {
	l, err := read(fs, keys, from)
	if err != nil {
		return nil, err
	}
	notes := make(map[string][]byte)
	for _, e := range l.Files {
		folder, name, _ := strings.Cut(e.Name, "/")
		if folder != notesFolder {
			continue
		}
		in, err := fs.Open(fs.PathJoin(from, folder, name))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		text, err := io.ReadAll(in)
		if err := errors.Join(err, in.Close()); err != nil {
			return nil, err
		}
		if sha256.Sum256(text) != e.SHA256 {
			return nil, fmt.Errorf("%w: %s", ErrDamaged, e.Name)
		}
		notes[name] = text
	}
	return notes, nil
}

// read opens a backup's list, and holds its folders against it.
func read(fs vfs.FS, keys registry.Keys, from string) (l list, err error) {
	in, err := fs.Open(fs.PathJoin(from, listFile))
	if err != nil {
		return l, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	sealed, err := io.ReadAll(in)
	if err := errors.Join(err, in.Close()); err != nil {
		return l, err
	}
	text, err := keys.Rows.Open(table, []byte(listFile), sealed)
	if err != nil {
		return l, ErrDamaged
	}
	if err := encoding.UnmarshalJSON(text, &l); err != nil || l.Format != format {
		return l, fmt.Errorf("%w: a backup of another version", ErrDamaged)
	}
	for _, folder := range []string{storeFolder, notesFolder} {
		names, err := fs.List(fs.PathJoin(from, folder))
		if err != nil {
			return l, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		for _, name := range names {
			info, err := fs.Stat(fs.PathJoin(from, folder, name))
			if err != nil {
				return l, err
			}
			if !info.IsDir() && !slices.ContainsFunc(l.Files, func(e entry) bool { return e.Name == folder+"/"+name }) {
				return l, fmt.Errorf("%w: %s/%s is not listed", ErrDamaged, folder, name)
			}
		}
	}
	return l, nil
}

// Begun tells whether a restore to the folder of a store was cut short.
func Begun(fs vfs.FS, store string) bool {
	return absent(fs, store) == nil && absent(fs, store+partial) != nil
}

// absent tells that there is nothing under a name.
func absent(files vfs.FS, path string) error {
	_, err := files.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil:
		return fmt.Errorf("%w: %s", ErrThere, path)
	}
	return err
}

func write(fs vfs.FS, path string, text []byte) error {
	out, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = out.Write(text)
	return errors.Join(err, out.Sync(), out.Close())
}
