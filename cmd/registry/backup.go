// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/cmd/internal/command"
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
	done, serves, err := c.askBackup(ctx, folder)
	if err != nil {
		return err
	}
	if !serves {
		m, trust, err := c.open(logging.New(stderr, slog.LevelInfo))
		if err != nil {
			return fmt.Errorf("%w (does the registry run? then its configuration has no control)", err)
		}
		done, err = c.backup(ctx, m, trust, folder)
		if err := errors.Join(err, m.Store.Close()); err != nil {
			return err
		}
	}
	return json.NewEncoder(stdout).Encode(done)
}

// backup makes a backup of an open store, dated no later than what the store takes next:
// the clock may be wrong, and be held.
func (c *config) backup(ctx context.Context, m *matcher.Matcher, trust *manifest.Trust, to string) (backup.Summary, error) {
	clock, err := m.Clock(ctx)
	if err != nil {
		return backup.Summary{}, err
	}
	taken := clock.Now
	if clock.Says.Before(taken) {
		taken = clock.Says
	}
	now := trust.InForce()
	notes := map[string][]byte{"manifest.txt": now.ManifestNote, "directory.txt": now.DirectoryNote}
	return backup.Make(vfs.Default, m.Store.(*pebblestore.Store), m.Keys, to, notes, taken)
}

// A backupRequest is what is asked at the control socket.
type backupRequest struct {
	To string `json:"to"` // absolute
}

// listenControl listens at the control socket, if there is one: for who may open it.
func (c *config) listenControl(ctx context.Context, s *command.Service, m *matcher.Matcher, trust *manifest.Trust) error {
	if c.Control == "" {
		return nil
	}
	if conn, err := net.Dial("unix", c.Control); err == nil {
		return errors.Join(fmt.Errorf("%s: somebody listens there", c.Control), conn.Close())
	} else if errors.Is(err, syscall.ECONNREFUSED) { // of a process that was killed
		if err := os.Remove(c.Control); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(c.Control), 0o700); err != nil {
		return err
	}
	ln, err := net.Listen("unix", c.Control)
	if err != nil {
		return err
	}
	if err := os.Chmod(c.Control, 0o600); err != nil {
		return errors.Join(err, ln.Close())
	}
	handler := http.NewServeMux()
	handler.HandleFunc("POST /backup", func(w http.ResponseWriter, r *http.Request) {
		var asked backupRequest
		err := json.NewDecoder(r.Body).Decode(&asked)
		if err == nil && !filepath.IsAbs(asked.To) {
			err = errors.New("the folder is not absolute")
		}
		var done backup.Summary
		if err == nil {
			done, err = c.backup(r.Context(), m, trust, asked.To)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		json.NewEncoder(w).Encode(done)
	})
	server := &http.Server{Handler: handler} // no time limits: a backup takes what it takes
	s.Go(func() error {
		if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	s.Go(func() error { // ends when no backup is under way: it uses the store
		<-ctx.Done()
		return server.Shutdown(context.WithoutCancel(ctx))
	})
	return nil
}

// askBackup asks at the control socket; serves tells whether somebody listens there.
func (c *config) askBackup(ctx context.Context, to string) (done backup.Summary, serves bool, err error) {
	if c.Control == "" {
		return done, false, nil
	}
	var dialer net.Dialer
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", c.Control)
		},
	}}
	body, err := json.Marshal(backupRequest{To: to})
	if err != nil {
		return done, false, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://control/backup", bytes.NewReader(body))
	if err != nil {
		return done, false, err
	}
	resp, err := client.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return done, false, nil
	}
	if err != nil {
		return done, false, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return done, true, err
	}
	if resp.StatusCode != http.StatusOK {
		return done, true, fmt.Errorf("the registry that serves did not make it: %s", bytes.TrimSpace(answer))
	}
	return done, true, json.Unmarshal(answer, &done)
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
