// SPDX-License-Identifier: EUPL-1.2

package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// Files name where a server keeps its root of trust. Pins is JSON, the next two
// are signed notes.
//
// Kept is a folder of the server's own, where it keeps the newest notes it has
// seen as manifest.txt and directory.txt, so that older ones are refused after a
// restart as well. When Kept is empty they are refused only while it runs.
type Files struct {
	Pins      string
	Manifest  string
	Directory string
	Kept      string
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
	was := t.current.Load()
	if was == nil {
		if was, err = t.kept(); err != nil {
			return err
		}
	}
	if err := next.Manifest.Replaces(was.Manifest); err != nil {
		return fmt.Errorf("%s: %w", t.files.Manifest, err)
	}
	if err := next.Directory.Replaces(was.Directory); err != nil {
		return fmt.Errorf("%s: %w", t.files.Directory, err)
	}
	if err := t.keep(&next); err != nil {
		return err
	}
	t.current.Store(&next)
	return nil
}

const (
	keptManifest  = "manifest.txt"
	keptDirectory = "directory.txt"
)

// kept gives the notes of an earlier run, nil where there are none. They were
// verified then, so their signatures and dates are not looked at again.
func (t *Trust) kept() (*InForce, error) {
	was := new(InForce)
	if t.files.Kept == "" {
		return was, nil
	}
	var err error
	if was.Manifest, err = readKept(filepath.Join(t.files.Kept, keptManifest), ParseManifest); err != nil {
		return nil, err
	}
	was.Directory, err = readKept(filepath.Join(t.files.Kept, keptDirectory), ParseDirectory)
	return was, err
}

// ReadKept gives the manifest that a server has kept in a folder, nil if none.
func ReadKept(folder string) (*Manifest, error) {
	return readKept(filepath.Join(folder, keptManifest), ParseManifest)
}

func readKept[T any](path string, parse func(text string) (*T, error)) (*T, error) {
	msg, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	text, err := TextOf(msg)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	v, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}

func (t *Trust) keep(next *InForce) error {
	if t.files.Kept == "" {
		return nil
	}
	return errors.Join(
		WriteFile(filepath.Join(t.files.Kept, keptManifest), next.ManifestNote),
		WriteFile(filepath.Join(t.files.Kept, keptDirectory), next.DirectoryNote),
	)
}

// WriteFile puts a note in place of what a file held. Whoever reads the file
// meanwhile, or after a loss of power, finds the one or the other, whole.
func WriteFile(path string, msg []byte) (err error) {
	folder := filepath.Dir(path)
	f, err := os.CreateTemp(folder, ".note-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(msg)
	if err := errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// ParsePins reads pins as JSON and checks them.
func ParsePins(text []byte) (Pins, error) {
	var p Pins
	if err := encoding.UnmarshalJSON(text, &p); err != nil {
		return Pins{}, fmt.Errorf("%w: %w", ErrPins, err)
	}
	return p, p.Check()
}
