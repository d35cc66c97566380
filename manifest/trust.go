// SPDX-License-Identifier: EUPL-1.2

package manifest

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// Files name where a server keeps its root of trust. Pins is JSON, the other two
// are signed notes.
type Files struct {
	Pins      string
	Manifest  string
	Directory string
}

// InForce is a manifest and a directory that hold now, and the notes they came in.
type InForce struct {
	Manifest      *Manifest
	Directory     *Directory
	ManifestNote  []byte
	DirectoryNote []byte
}

// Trust is what a server goes by: the notes in its files, replaced while it runs
// only by notes that may follow them.
type Trust struct {
	pins  Pins
	files Files

	reload  sync.Mutex // one at a time
	current atomic.Pointer[InForce]
}

// Load opens the notes of a server that starts.
func Load(files Files, now time.Time) (*Trust, error) {
	text, err := os.ReadFile(files.Pins)
	if err != nil {
		return nil, err
	}
	pins, err := ParsePins(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", files.Pins, err)
	}
	t := &Trust{pins: pins, files: files}
	return t, t.Reload(now)
}

// InForce gives the newest notes.
func (t *Trust) InForce() *InForce { return t.current.Load() }

// Current gives the newest manifest and directory.
func (t *Trust) Current() (*Manifest, *Directory) {
	c := t.current.Load()
	return c.Manifest, c.Directory
}

// Reload reads the files anew. When it returns an error nothing has changed; the
// same notes again are no error.
func (t *Trust) Reload(now time.Time) error {
	t.reload.Lock()
	defer t.reload.Unlock()
	var next InForce
	var err error
	if next.ManifestNote, err = os.ReadFile(t.files.Manifest); err != nil {
		return err
	}
	if next.Manifest, err = OpenManifest(next.ManifestNote, t.pins, now); err != nil {
		return fmt.Errorf("%s: %w", t.files.Manifest, err)
	}
	if next.DirectoryNote, err = os.ReadFile(t.files.Directory); err != nil {
		return err
	}
	if next.Directory, err = OpenDirectory(next.DirectoryNote, next.Manifest, now); err != nil {
		return fmt.Errorf("%s: %w", t.files.Directory, err)
	}
	if was := t.current.Load(); was != nil {
		if next.Manifest.Hash() != was.Manifest.Hash() {
			if err := next.Manifest.Follows(was.Manifest); err != nil {
				return fmt.Errorf("%s: %w", t.files.Manifest, err)
			}
		}
		if next.Directory.Hash() != was.Directory.Hash() {
			if err := next.Directory.Follows(was.Directory); err != nil {
				return fmt.Errorf("%s: %w", t.files.Directory, err)
			}
		}
	}
	t.current.Store(&next)
	return nil
}

// ParsePins reads pins as JSON and checks them.
func ParsePins(text []byte) (Pins, error) {
	var p Pins
	if err := encoding.UnmarshalJSON(text, &p); err != nil {
		return Pins{}, fmt.Errorf("%w: %w", ErrPins, err)
	}
	return p, p.Check()
}
