// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/mod/sumdb/note"

	"github.com/seinhuis/seinhuis/cmd/internal/command"
	"github.com/seinhuis/seinhuis/disk"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/registry/backup"
	"github.com/seinhuis/seinhuis/registry/journal"
	"github.com/seinhuis/seinhuis/registry/pebblestore"
)

// config is the configuration file; usage describes it.
type config struct {
	Data       string `json:"data"`
	Journal    string `json:"journal"`
	Keys       string `json:"keys"`
	ReceiptKey string `json:"receiptKey"`
	LogKey     string `json:"logKey"`
	Sealing    string `json:"sealing"`
	command.Front
	Pins         string `json:"pins"`
	Manifest     string `json:"manifest"`
	Directory    string `json:"directory"`
	Exchange     string `json:"exchange"`
	Public       string `json:"public"`
	Operations   string `json:"operations"`
	Control      string `json:"control"`
	SweepSeconds int    `json:"sweepSeconds"`
	Disk         room   `json:"disk"`
	JournalDisk  room   `json:"journalDisk"`

	// Of the disks that data and the journal are on, which can be one; prepare sets them.
	watch, journalWatch *disk.Watch

	safe *keys.Safe       // opens the key files
	log  note.Signer      // signs the log's checkpoints; nil without logKey. serve sets it
	kept *journal.Journal // open sets it
}

// room is when there is little of it on the disk, in MiB.
type room struct {
	LowMiB     uint64 `json:"lowMiB"`
	BallastMiB uint64 `json:"ballastMiB"`
}

func readConfig(file string) (*config, error) {
	c := &config{Disk: room{LowMiB: 1024, BallastMiB: 256}, JournalDisk: room{LowMiB: 64, BallastMiB: 16}}
	err := program.ReadConfig(file, c,
		command.Path{Field: "data", Value: &c.Data},
		command.Path{Field: "journal", Value: &c.Journal},
		command.Path{Field: "keys", Value: &c.Keys},
		command.Path{Field: "receiptKey", Value: &c.ReceiptKey},
		command.Path{Field: "pins", Value: &c.Pins},
		command.Path{Field: "manifest", Value: &c.Manifest},
		command.Path{Field: "directory", Value: &c.Directory},
	)
	switch {
	case err != nil:
		return nil, err
	case c.Exchange == "" || c.Public == "" || c.Operations == "" || c.SweepSeconds < 1:
		return nil, program.Missing(file, "exchange, public, operations or sweepSeconds")
	case command.Inside(c.Data, c.Journal), command.Inside(c.Journal, c.Data):
		return nil, fmt.Errorf("%s: journal and data lie inside each other; what is lost with the database is not there to be replayed", file)
	case command.Inside(c.Data, c.Keys):
		return nil, fmt.Errorf("%s: keys lies inside data; whoever copies the database must not copy what opens it", file)
	}
	for _, path := range []*string{&c.Control, &c.LogKey} {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(filepath.Dir(file), *path)
		}
	}
	if err := c.Front.Check(program, file, c.Exchange); err != nil {
		return nil, err
	}
	if c.safe, err = command.OpenSafe(file, c.Sealing); err != nil {
		return nil, err
	}
	c.TLS.Safe = c.safe
	return c, nil
}

// storeFolder is where the database lies, in data.
func (c *config) storeFolder() string { return filepath.Join(c.Data, "store") }

// errCutShort says that there would be an empty registry now.
var errCutShort = errors.New("a restore was cut short, and there is no store; run registry restore again")

// open opens the root of trust, the secrets and the store, and puts the matcher on
// top of them. The caller closes the store.
func (c *config) open(log *slog.Logger) (*matcher.Matcher, *manifest.Trust, error) {
	m, trust, err := c.prepare(log)
	if err != nil {
		return nil, nil, err
	}
	if backup.Begun(vfs.Default, c.storeFolder()) {
		return nil, nil, errCutShort
	}
	c.kept, err = c.openJournal(m.Keys)
	if err != nil {
		return nil, nil, err
	}
	m.Store, err = pebblestore.Open(c.storeFolder(), m.Keys, pebblestore.Options{
		FS: c.watch.FS(), Logger: command.PebbleLog{Logger: log}, Journal: c.kept,
	})
	if err != nil {
		return nil, nil, err
	}
	return m, trust, nil
}

func (c *config) openJournal(keys registry.Keys) (*journal.Journal, error) {
	return journal.Open(c.journalWatch.FS(), c.Journal, keys.Rows, time.Now)
}

// prepare makes a matcher that has all but its store.
func (c *config) prepare(log *slog.Logger) (*matcher.Matcher, *manifest.Trust, error) {
	if err := errors.Join(os.MkdirAll(c.Data, 0o700), os.MkdirAll(c.Journal, 0o700)); err != nil {
		return nil, nil, err
	}
	trust, err := manifest.Load(manifest.Files{Pins: c.Pins, Manifest: c.Manifest, Directory: c.Directory, Kept: c.Data}, time.Now())
	if err != nil {
		return nil, nil, err
	}
	rowKeys, err := c.rowKeys()
	if err != nil {
		return nil, nil, err
	}
	receiptKey, err := c.safe.ReadSigning(c.ReceiptKey)
	if err != nil {
		return nil, nil, err
	}
	m := &matcher.Matcher{Keys: rowKeys, ReceiptKey: receiptKey, Trust: trust.Current, Now: time.Now}
	return m, trust, c.watchDisks(m, log)
}

// watchDisks makes the registry read-only while there is little room for the database, or
// for the journal where that has a disk of its own: a withdrawal needs both.
func (c *config) watchDisks(m *matcher.Matcher, log *slog.Logger) error {
	watch := func(folder string, r room, why matcher.Reason) *disk.Watch {
		return disk.NewWatch(vfs.Default, folder, disk.Limits{Low: r.LowMiB << 20, Ballast: r.BallastMiB << 20}, func(low bool) {
			readOnly(m, why, low, log)
		})
	}
	c.watch = watch(c.Data, c.Disk, matcher.ReasonDisk)
	c.journalWatch = c.watch
	one, err := disk.Same(c.Data, c.Journal)
	if err == nil && !one {
		c.journalWatch = watch(c.Journal, c.JournalDisk, matcher.ReasonJournal)
	}
	return err
}

// watches are all of them, each once.
func (c *config) watches() []*disk.Watch {
	if c.journalWatch == c.watch {
		return []*disk.Watch{c.watch}
	}
	return []*disk.Watch{c.watch, c.journalWatch}
}

// readLog reads the log's key, where there is one.
func (c *config) readLog() (err error) {
	if c.LogKey != "" {
		c.log, err = c.safe.ReadNote(c.LogKey)
	}
	return err
}

func (c *config) rowKeys() (registry.Keys, error) {
	secrets, err := c.safe.ReadPrivate(c.Keys)
	if err != nil {
		return registry.Keys{}, err
	}
	rowKeys, err := registry.ParseKeys(secrets)
	if err != nil {
		return registry.Keys{}, fmt.Errorf("%s: %w", c.Keys, err)
	}
	return rowKeys, nil
}

// readOnly makes the registry read-only for a reason, or ends that, and logs it.
func readOnly(m *matcher.Matcher, why matcher.Reason, holds bool, log *slog.Logger) {
	switch {
	case !m.ReadOnly.Set(why, holds):
	case holds:
		log.Error("read-only", "reason", string(why))
	default:
		log.Info("no longer read-only", "reason", string(why))
	}
}
