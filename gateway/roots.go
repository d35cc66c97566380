// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/manifest"
)

// ErrNoManifest says that there is no manifest in force: nothing can be prepared
// or verified until there is a newer one.
var ErrNoManifest = errors.New("gateway: no manifest and directory in force")

const (
	refreshEvery = 5 * time.Minute
	maxNote      = 8 << 20 // bytes
)

// roots are the manifest and the directory: verified against the pins, the
// highest versions seen kept in the store, lower ones refused.
type roots struct {
	s       *store
	pins    manifest.Pins
	now     func() time.Time
	metrics *metrics

	mu        sync.Mutex
	manifest  *manifest.Manifest
	directory *manifest.Directory

	changed notifier // there is another manifest

	fetching sync.Mutex // one fetch at a time; whoever waited looks again first
	fetched  time.Time
}

// load takes up what the store kept, whether or not it is still in force: an
// expired manifest still tells what a newer one must follow, and where to ask.
func (r *roots) load() error {
	note, err := get[[]byte](r.s.view, keyManifest())
	if errors.Is(err, errAbsent) {
		return nil
	} else if err != nil {
		return err
	}
	m, err := manifest.OpenManifest(note, r.pins, time.Time{})
	if err != nil {
		return fmt.Errorf("gateway: the manifest kept in the store: %w", err)
	}
	r.manifest = m
	note, err = get[[]byte](r.s.view, keyDirectory())
	if errors.Is(err, errAbsent) {
		return nil
	} else if err != nil {
		return err
	}
	// A later manifest may name another signer; then the directory is fetched anew.
	if d, err := manifest.OpenDirectory(note, m, time.Time{}); err == nil {
		r.directory = d
	}
	return nil
}

// readFiles offers the notes in the configured files.
func (r *roots) readFiles(manifestFile, directoryFile string) error {
	older := false
	for _, f := range []struct {
		path  string
		offer func([]byte) error
	}{{manifestFile, r.offerManifest}, {directoryFile, r.offerDirectory}} {
		note, err := os.ReadFile(f.path)
		if err != nil {
			return err
		}
		err = f.offer(note)
		switch {
		case errors.Is(err, errOlder):
			older = true
		case older && errors.Is(err, manifest.ErrSigner):
			// It goes with the older manifest, which named another signer.
		case err != nil:
			return fmt.Errorf("%s: %w", f.path, err)
		}
	}
	return nil
}

// errOlder says that a note has a lower version than one that was seen. In a file
// of the day of installation that is normal; from the registry it is not.
var errOlder = errors.New("gateway: a higher version has been seen")

// offerManifest takes a manifest if it verifies and follows what is there; the
// same one again is no error.
func (r *roots) offerManifest(note []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, err := manifest.OpenManifest(note, r.pins, r.now())
	if err != nil {
		if r.manifest != nil && errors.Is(err, manifest.ErrExpired) {
			return errOlder
		}
		return err
	}
	if r.manifest != nil {
		if m.Version < r.manifest.Version {
			return errOlder
		}
		if m.Hash() == r.manifest.Hash() {
			return nil
		}
		if err := m.Follows(r.manifest); err != nil {
			return err
		}
	}
	if err := r.keep(keyManifest(), note); err != nil {
		return err
	}
	r.manifest = m
	r.changed.notify()
	return nil
}

func (r *roots) offerDirectory(note []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.manifest == nil {
		return ErrNoManifest
	}
	d, err := manifest.OpenDirectory(note, r.manifest, r.now())
	if err != nil {
		if r.directory != nil && errors.Is(err, manifest.ErrExpired) {
			return errOlder
		}
		return err
	}
	if r.directory != nil {
		if d.Version < r.directory.Version {
			return errOlder
		}
		if d.Hash() == r.directory.Hash() {
			return nil
		}
		if err := d.Follows(r.directory); err != nil {
			return err
		}
	}
	if err := r.keep(keyDirectory(), note); err != nil {
		return err
	}
	r.directory = d
	return nil
}

func (r *roots) keep(key, note []byte) error {
	b := r.s.batch()
	defer b.close()
	b.put(key, note)
	return b.commit()
}

// inForce gives both, or ErrNoManifest when either is missing or has expired.
func (r *roots) inForce() (*manifest.Manifest, *manifest.Directory, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if r.manifest == nil || r.directory == nil || now.After(r.manifest.NotAfter) || now.After(r.directory.NotAfter) {
		return nil, nil, ErrNoManifest
	}
	return r.manifest, r.directory, nil
}

// roots gives the manifest and directory in force. When they are not, it asks the
// registry, but not every time.
func (p *Party) roots(ctx context.Context) (*manifest.Manifest, *manifest.Directory, error) {
	m, d, err := p.g.roots.inForce()
	if err == nil {
		return m, d, nil
	}
	if err := p.g.roots.refresh(ctx, p, time.Now().Add(-backoffMost)); err != nil {
		return nil, nil, err
	}
	return p.g.roots.inForce()
}

// manifestFor gives the manifest to go by: one that is in force, but for a
// withdrawal at least the last one, for nothing may keep a signal in.
func (p *Party) manifestFor(ctx context.Context, job Job) (*manifest.Manifest, error) {
	m, _, err := p.roots(ctx)
	if err != nil && job.Kind == JobWithdraw {
		if last, _ := p.g.roots.known(); last != nil {
			return last, nil
		}
	}
	return m, err
}

// known gives what there is, in force or not; either may be nil.
func (r *roots) known() (*manifest.Manifest, *manifest.Directory) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.manifest, r.directory
}

// robbed tells whether an epoch is compromised.
func (r *roots) robbed() bool {
	m, _ := r.known()
	return m != nil && slices.ContainsFunc(m.Epochs, func(e manifest.Epoch) bool { return m.Compromised(e.Number) })
}

// registry is where to ask, also by a manifest that has expired.
func (r *roots) registry() (endpoint, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.manifest == nil {
		return endpoint{}, false
	}
	return endpoint{r.manifest.Registry.URL, r.manifest.Registry.TLS}, true
}

// refresh fetches both notes from the registry over a party's connection. Calls
// that come while one is under way, or just after it, share its outcome.
func (r *roots) refresh(ctx context.Context, p *Party, unlessSince time.Time) error {
	r.fetching.Lock()
	defer r.fetching.Unlock()
	if r.fetched.After(unlessSince) {
		return nil
	}
	e, ok := r.registry()
	if !ok {
		return ErrNoManifest
	}
	began := time.Now() // what is published from now on may not be in it
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for _, n := range []struct {
		path  string
		offer func([]byte) error
	}{{"/v1/manifest", r.offerManifest}, {"/v1/directory", r.offerDirectory}} {
		note, err := p.fetch(ctx, e, http.MethodGet, n.path, nil, maxNote)
		if err != nil {
			return err
		}
		if err := n.offer(note); err != nil {
			r.metrics.rootsRefused.Inc()
			p.g.log.Error("manifest or directory refused", "path", n.path, "cause", err)
			return err
		}
	}
	r.fetched = began
	return nil
}

// receiptVerified tells whether a registry's key signed the receipt.
func receiptVerified(m *manifest.Manifest, signed api.Signed, at time.Time) bool {
	for _, k := range m.Registry.ReceiptKeys {
		if key, ok := m.ReceiptKey(k.ID, at); ok && signed.Verify(key) {
			return true
		}
	}
	return false
}

// ownKey finds the party's key that signed one of its own statements.
func (p *Party) ownKey(d *manifest.Directory, id encoding.KeyID, at time.Time) (ed25519.PublicKey, bool) {
	if id == p.signID {
		return p.sign.Public().(ed25519.PublicKey), true
	}
	return d.VerifyKey(p.id, id, at)
}
