// SPDX-License-Identifier: EUPL-1.2

package gatewaytest

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"net/http"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api/exchange"
	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/registry/backup"
	"github.com/seinhuis/seinhuis/registry/journal"
	"github.com/seinhuis/seinhuis/registry/pebblestore"
	"github.com/seinhuis/seinhuis/registry/sequencer"
)

// A registryRun is the registry from one opening of its store to the next. Requests
// that come in between wait.
type registryRun struct {
	fs      vfs.FS
	root    string // of all its folders: empty in memory
	keys    registry.Keys
	receipt ed25519.PrivateKey
	journal *journal.Journal
	logged  bool // it keeps its log
	cert    func() tls.Certificate

	up     sync.RWMutex // held by every request
	ctx    context.Context
	end    context.CancelFunc // of every request
	server *exchange.Server
	own    *sequencer.Sequencer
	serves http.Handler
}

const (
	storeFolder   = "db"
	journalFolder = "journal"
)

// in is the path of one of the registry's folders.
func (r *registryRun) in(name string) string { return r.fs.PathJoin(r.root, name) }

func (w *World) startRegistry(receipt ed25519.PrivateKey) {
	r := &w.registry
	r.receipt = receipt
	if r.root == "" {
		r.fs = vfs.NewMem()
	} else {
		r.fs = vfs.Default
	}
	var err error
	r.keys, err = registry.ParseKeys(registry.NewKeyFile())
	w.must(err)
	w.openRegistry()
	w.t.Cleanup(func() { w.Matcher.Store.Close() })
	var cert tls.Certificate
	w.Manifest.Registry.URL, w.Manifest.Registry.TLS, cert = w.listen("registry", w.Registry.wrap(r, "signature"), func(spki [32]byte) bool {
		r.up.RLock()
		defer r.up.RUnlock()
		return r.server.Known(spki)
	})
	r.cert = func() tls.Certificate { return cert }
}

// openRegistry opens the store. Nobody asks anything meanwhile.
func (w *World) openRegistry() {
	r := &w.registry
	var err error
	if r.journal == nil {
		r.journal, err = journal.Open(r.fs, r.in(journalFolder), r.keys.Rows, w.Now)
		w.must(err)
	}
	store, err := pebblestore.Open(r.in(storeFolder), r.keys, pebblestore.Options{FS: r.fs, Logger: quiet{}, Journal: r.journal})
	w.must(err)
	w.Matcher = w.matcher()
	w.Matcher.Store = store
	r.server = exchange.New(w.Matcher, w.Log.Logger(), w.served)
	if r.logged {
		r.own = w.sequencer(store)
		r.server.Sequencer = r.own
	}
	r.serves = r.server.Parties()
	r.ctx, r.end = context.WithCancel(context.Background())
}

func (w *World) matcher() *matcher.Matcher {
	return &matcher.Matcher{Keys: w.registry.keys, ReceiptKey: w.registry.receipt, Trust: w.trust, Now: w.Now}
}

// ServeHTTP has the registry answer that is up.
func (r *registryRun) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.up.RLock()
	defer r.up.RUnlock()
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()
	r.serves.ServeHTTP(w, req.WithContext(ctx))
}

// Backup makes a backup of the registry, which goes on.
func (w *World) Backup(name string) {
	w.t.Helper()
	r := &w.registry
	r.up.RLock()
	defer r.up.RUnlock()
	_, err := backup.Make(r.fs, w.Matcher.Store.(*pebblestore.Store), r.keys, r.in(name), nil, w.Now())
	w.must(err)
}

// Restore loses the registry's store, and puts a backup back.
func (w *World) Restore(name string) (done matcher.Replayed) {
	w.t.Helper()
	r := &w.registry
	r.end()
	r.up.Lock()
	defer r.up.Unlock()
	w.must(w.Matcher.Store.Close())
	w.must(r.journal.Close())
	r.journal = nil
	w.must(r.fs.RemoveAll(r.in(storeFolder)))
	kept, err := journal.Open(r.fs, r.in(journalFolder), r.keys.Rows, w.Now)
	w.must(err)
	m := w.matcher()
	_, err = backup.Restore(context.Background(), r.in(name), backup.Target{
		FS: r.fs, Store: r.in(storeFolder), Keys: r.keys, Journal: kept, Now: w.Now, Options: pebblestore.Options{Logger: quiet{}},
		Replay: func(ctx context.Context, store registry.Store, ended []registry.Ended) (err error) {
			m.Store = store
			done, err = m.Replay(ctx, ended)
			return err
		},
	})
	w.must(err)
	w.must(kept.Close())
	w.openRegistry()
	return done
}
