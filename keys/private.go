// SPDX-License-Identifier: EUPL-1.2

package keys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// WritePrivate makes a file of mode 0600 for a text with secrets in it whose form
// is another package's, such as an evaluator's shares. It never replaces a file.
func WritePrivate(path string, text []byte) error { return write(path, text, 0o600) }

// ReadPrivate reads such a file, if only its owner can.
func ReadPrivate(path string) ([]byte, error) { return readPrivate(path) }

// ReplacePrivate puts text in a file for the owner alone, in place of what it held.
// Whoever reads it after a crash finds the one or the other, whole. The old bytes are
// written over, which a disk may do in another place.
func ReplacePrivate(path string, text []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("keys: %w", err)
		}
	}()
	old, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return write(path, text, 0o600)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	info, err := old.Stat()
	if err != nil {
		return err
	}
	next := path + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a crash
		return err
	}
	if err := write(next, text, 0o600); err != nil {
		return err
	}
	if err := errors.Join(os.Rename(next, path), syncFolder(path)); err != nil {
		return err
	}
	_, err = old.WriteAt(make([]byte, info.Size()), 0)
	return errors.Join(err, old.Sync())
}
