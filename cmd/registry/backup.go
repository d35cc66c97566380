// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/cmd/internal/command"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/logging"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/registry/backup"
	"github.com/seinhuis/seinhuis/registry/pebblestore"
)

// makeBackup has the registry that serves make a backup, or makes it itself where none
// does.
func makeBackup(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := program.Flags("backup", stderr)
	path := flags.String("config", "", "")
	to := flags.String("to", "", "")
	if err := program.Parse(flags, args); err != nil {
		return err
	}
	c, err := readConfig(*path)
	if err != nil {
		return err
	}
	folder, err := filepath.Abs(*to)
	if err != nil {
		return err
	}
	return c.do(ctx, "backup", backupAsked{To: folder}, stdout, stderr)
}

type backupAsked struct {
	To string `json:"to"` // absolute: whoever serves has another folder to begin from
}

// backupTask makes a backup of an open store, dated no later than what the store takes
// next: the clock may be wrong, and be held.
func backupTask(ctx context.Context, h house, text []byte, out io.Writer) error {
	var asked backupAsked
	if err := encoding.UnmarshalJSON(text, &asked); err != nil {
		return err
	}
	if !filepath.IsAbs(asked.To) {
		return errors.New("the folder is not absolute")
	}
	clock, err := h.m.Clock(ctx)
	if err != nil {
		return err
	}
	taken := clock.Now
	if clock.Says.Before(taken) {
		taken = clock.Says
	}
	now := h.trust.InForce()
	notes := map[string][]byte{"manifest.txt": now.ManifestNote, "directory.txt": now.DirectoryNote}
	done, err := backup.Make(vfs.Default, h.m.Store.(*pebblestore.Store), h.m.Keys, asked.To, notes, taken)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(done)
}

// A restored is what restore prints.
type restored struct {
	backup.Restored
	Replayed matcher.Replayed `json:"replayed"`
}

// restore puts a backup back.
func restore(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := program.Flags("restore", stderr)
	path := flags.String("config", "", "")
	from := flags.String("from", "", "")
	if err := program.Parse(flags, args); err != nil {
		return err
	}
	c, err := readConfig(*path)
	if err != nil {
		return err
	}
	if err := c.putNotes(*from); err != nil {
		return err
	}
	log := logging.New(stderr, slog.LevelInfo)
	m, _, err := c.prepare(log)
	if err != nil {
		return err
	}
	kept, err := c.openJournal(m.Keys)
	if err != nil {
		return err
	}
	var done restored
	done.Restored, err = backup.Restore(ctx, *from, backup.Target{
		FS: vfs.Default, Store: c.storeFolder(), Keys: m.Keys, Journal: kept, Now: time.Now,
		Options: pebblestore.Options{Logger: command.PebbleLog{Logger: log}},
		Replay: func(ctx context.Context, store registry.Store, ended []registry.Ended) (err error) {
			m.Store = store
			done.Replayed, err = m.Replay(ctx, ended)
			return err
		},
	})
	if err := errors.Join(err, kept.Close()); err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(done)
}

// putNotes puts the notes of a backup where the newest seen are kept, if none are: lower
// ones than those are refused from then on.
func (c *config) putNotes(from string) error {
	rowKeys, err := c.rowKeys()
	if err != nil {
		return err
	}
	notes, err := backup.Notes(vfs.Default, rowKeys, from)
	if err == nil {
		err = os.MkdirAll(c.Data, 0o700)
	}
	for name, text := range notes {
		path := filepath.Join(c.Data, name)
		if _, missing := os.Stat(path); err == nil && errors.Is(missing, fs.ErrNotExist) {
			err = manifest.WriteFile(path, text)
		}
	}
	return err
}

// errOldJournal says that nothing has to be begun.
var errOldJournal = errors.New("the store's journal is there, and whole")

// newJournal begins another journal for a store.
func newJournal(_ context.Context, args []string, stdout, stderr io.Writer) error {
	flags := program.Flags("journal", stderr)
	path := flags.String("config", "", "")
	if err := program.Parse(flags, args); err != nil {
		return err
	}
	c, err := readConfig(*path)
	if err != nil {
		return err
	}
	log := logging.New(stderr, slog.LevelInfo)
	m, _, err := c.prepare(log)
	if err != nil {
		return err
	}
	kept, err := c.openJournal(m.Keys)
	if err != nil {
		return err
	}
	store, err := pebblestore.Open(c.storeFolder(), m.Keys, pebblestore.Options{FS: c.watch.FS(), Logger: command.PebbleLog{Logger: log}})
	if err != nil {
		return fmt.Errorf("%w (is the registry still running?)", err)
	}
	at, known, err := store.Journaled()
	switch last := kept.Last(); {
	case err != nil:
	case known && at.ID == last.ID && at.Groups <= last.Groups:
		err = errOldJournal
	case last.Groups > 0:
		err = errors.New("the folder of the journal is not empty; give the new one a folder of its own")
	default:
		err = store.SetJournaled(last)
	}
	if err := errors.Join(err, store.Close(), kept.Close()); err != nil {
		return err
	}
	fmt.Fprintln(stdout, "a new journal has begun; make a backup now")
	return nil
}
