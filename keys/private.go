// SPDX-License-Identifier: EUPL-1.2

package keys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// WritePrivate makes a file of mode 0600 for a text with secrets in it whose form
// is another package's, such as the registry's keys. It never replaces a file.
func (s *Safe) WritePrivate(path string, text []byte) error {
	text, err := s.seal(path, text)
	if err != nil {
		return err
	}
	return write(path, text, 0o600)
}

// ReadPrivate reads such a file, if only its owner can.
func (s *Safe) ReadPrivate(path string) ([]byte, error) {
	text, err := readFile(path, 0o077)
	if err != nil {
		return nil, err
	}
	return s.Open(path, text)
}

// ReplacePrivate puts text in a file for the owner alone, in place of what it held.
// Whoever reads it after a crash finds the one or the other, whole. The old bytes are
// written over, which a disk may do in another place.
func (s *Safe) ReplacePrivate(path string, text []byte) (err error) {
	if text, err = s.seal(path, text); err != nil {
		return err
	}
	old, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return write(path, text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	for _, step := range replacing(path, text, old) {
		if err := step(); err != nil {
			return fmt.Errorf("keys: %w", err)
		}
	}
	return nil
}

// replacing are the steps of a replacement. A crash between two of them leaves what
// was there or what is to be, and at most a file beside it, which the next one removes.
func replacing(path string, text []byte, old *os.File) []func() error {
	next := path + nextSuffix
	return []func() error{
		func() error { return removeNext(path) },
		func() error { return write(next, text, 0o600) },
		func() error { return os.Rename(next, path) },
		func() error { return syncFolder(path) },
		func() error { return overwrite(old) },
	}
}

const nextSuffix = ".new"

// removeNext removes what a crash has left beside a file.
func removeNext(path string) error {
	if err := os.Remove(path + nextSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// overwrite writes zeros over all that a file holds.
func overwrite(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	_, err = f.WriteAt(make([]byte, info.Size()), 0)
	return errors.Join(err, f.Sync())
}

// MakeFolder makes a folder for the owner alone, whose name is durable when it returns
// nil. It may be there.
func MakeFolder(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := errors.Join(os.MkdirAll(path, 0o700), syncFolder(path)); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	return nil
}

// Destroy writes a file over and removes it. When it returns nil, its name is gone for
// good, also if it was gone before; on which places of a disk its bytes have been is for
// the disk to say.
func Destroy(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) { // the folder may hold the name still, after a crash
		if err := syncFolder(path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	if err == nil {
		err = errors.Join(overwrite(f), f.Close(), os.Remove(path), syncFolder(path))
	}
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	return nil
}
