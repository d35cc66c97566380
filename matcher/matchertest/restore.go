// SPDX-License-Identifier: EUPL-1.2

package matchertest

import (
	"cmp"
	"context"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/registry/backup"
	"github.com/seinhuis/seinhuis/registry/journal"
	"github.com/seinhuis/seinhuis/registry/pebblestore"
)

// KeepJournal begins a journal, or opens it again, and the store with it.
func (w *World) KeepJournal() {
	w.t.Helper()
	if err := w.Store.Close(); err != nil {
		w.t.Fatal(err)
	}
	if err := w.openJournal(); err != nil {
		w.t.Fatal(err)
	}
	w.Open(w.FS)
}

func (w *World) openJournal() (err error) {
	if w.Journal != nil {
		if err := w.Journal.Close(); err != nil {
			return err
		}
	}
	w.Journal, err = journal.Open(w.FS, "journal", w.Keys.Rows, w.now)
	return err
}

// Backup makes a backup of the store, which is in use.
func (w *World) Backup(name string) {
	w.t.Helper()
	if _, err := backup.Make(w.FS, w.Store.(*pebblestore.Store), w.Keys, name, nil, w.now()); err != nil {
		w.t.Fatal(err)
	}
}

// Restore loses the store and puts a backup back.
func (w *World) Restore(name string) matcher.Replayed {
	w.t.Helper()
	done, err := w.TryRestore(name)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Open(w.FS)
	return done
}

// TryRestore is Restore where it may fail; then there is no store.
func (w *World) TryRestore(name string) (done matcher.Replayed, err error) {
	w.t.Helper()
	if w.Store != nil {
		if err := w.Store.Close(); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := w.FS.RemoveAll("db"); err != nil {
		return done, err
	}
	if err := w.openJournal(); err != nil {
		return done, err
	}
	trust := func() (*manifest.Manifest, *manifest.Directory) { return w.Manifest, w.Directory }
	m := &matcher.Matcher{Keys: w.Keys, ReceiptKey: w.ReceiptKey, Trust: trust, Now: w.now}
	w.Abandon()
	_, err = backup.Restore(context.Background(), name, backup.Target{
		FS: w.FS, Store: "db", Keys: w.Keys, Journal: w.Journal, Now: w.now, Options: pebblestore.Options{Logger: cmp.Or[pebble.Logger](w.Logger, quiet{})},
		Replay: func(ctx context.Context, store registry.Store, ended []registry.Ended) (err error) {
			m.Store = store
			done, err = m.Replay(ctx, ended)
			return err
		},
	})
	return done, err
}
