// SPDX-License-Identifier: EUPL-1.2

package evaluator

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/seinhuis/seinhuis/crypto/atrest"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/logging"
)

// A Vault is where an evaluator keeps its shares. Those of an epoch and cohort lie
// sealed under a wrapping key of their own, in a folder of its own, which is in no backup
// that has the shares: when it is destroyed, every copy of the shares is worth nothing.
// What has been destroyed stands in a third folder, with its certificate, and what is
// put back of it is not used, but destroyed again.
type Vault struct {
	Shares    string     // folder: share files, *.json
	Wrapping  string     // folder: epoch-1-cohort-2012.key, 32 bytes as package keys makes them
	Destroyed string     // folder: epoch-1-cohort-2002.txt, a certificate
	Safe      *keys.Safe // seals the wrapping keys
}

// Faults of what lies in a vault.
const (
	ErrWrapping  = logging.Error("its wrapping key is not there; put its file back in the folder wrapping, or take the share out and have the keys shared anew")
	ErrWrapped   = logging.Error("it does not open under its wrapping key; one of the two is of another time, so put both back from their copies, or have the keys shared anew")
	ErrDestroyed = logging.Error("this evaluator has destroyed this key for good; what is put back of it is not used")
)

const (
	tableShare       = "share"
	firstGeneration  = 1
	wrappingFileForm = "epoch-%d-cohort-%d.key"
	destroyedForm    = "epoch-%d-cohort-%d.txt"
)

func (v Vault) wrappingFile(k Key) string {
	return filepath.Join(v.Wrapping, fmt.Sprintf(wrappingFileForm, k.Epoch, k.Cohort))
}

func (v Vault) destroyedFile(k Key) string {
	return filepath.Join(v.Destroyed, fmt.Sprintf(destroyedForm, k.Epoch, k.Cohort))
}

// IsDestroyed tells whether a key has been destroyed here, or is about to be.
func (v Vault) IsDestroyed(k Key) (bool, error) {
	_, err := os.Stat(v.destroyedFile(k))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// wrapping reads the wrapping key of an epoch and cohort.
func (v Vault) wrapping(k Key) (atrest.Key, error) {
	root, err := v.Safe.Secret(v.wrappingFile(k))
	if errors.Is(err, os.ErrNotExist) {
		return atrest.Key{}, &ShareError{k, ErrWrapping}
	}
	if err != nil {
		return atrest.Key{}, err
	}
	key, err := atrest.NewKey(firstGeneration, root)
	if err != nil {
		return atrest.Key{}, fmt.Errorf("%s: %w", v.wrappingFile(k), keys.ErrMalformed)
	}
	return key, nil
}

// wrappingFor is wrapping, and makes the key if it is not there.
func (v Vault) wrappingFor(k Key) (atrest.Key, error) {
	gone, err := v.IsDestroyed(k)
	switch {
	case err != nil:
		return atrest.Key{}, err
	case gone:
		return atrest.Key{}, &ShareError{k, ErrDestroyed}
	}
	key, err := v.wrapping(k)
	if !errors.Is(err, ErrWrapping) {
		return key, err
	}
	if err := keys.MakeFolder(v.Wrapping); err != nil {
		return atrest.Key{}, err
	}
	if err := v.Safe.WriteSecret(v.wrappingFile(k), atrest.RootSize); err != nil {
		return atrest.Key{}, err
	}
	return v.wrapping(k)
}

// sealed is an entry with its share sealed.
func (v Vault) sealed(e shareEntry) (shareEntry, error) {
	key, err := v.wrappingFor(e.key())
	if err != nil {
		return e, err
	}
	place, err := e.place()
	if err != nil {
		return e, err
	}
	e.Sealed, err = key.Seal(tableShare, place, e.Value)
	clear(e.Value)
	e.Value = nil
	return e, err
}

// open is the share of an entry.
func (v Vault) open(e shareEntry) (Share, error) {
	defer func() { clear(e.Value) }() // what the share has is a copy
	if len(e.Sealed) == 0 {
		return e.share()
	}
	key, err := v.wrapping(e.key())
	if err != nil {
		return Share{}, err
	}
	place, err := e.place()
	if err != nil {
		return Share{}, err
	}
	if e.Value, err = key.Open(tableShare, place, e.Sealed); err != nil {
		return Share{}, &ShareError{e.key(), ErrWrapped}
	}
	return e.share()
}

// Write puts shares in a file of the folder, in place of what it held. Whoever reads it
// after a crash finds the one or the other, whole.
func (v Vault) Write(file string, shares []Share) error {
	entries := make([]shareEntry, len(shares))
	for i, s := range shares {
		e, err := entryOf(s)
		if err != nil {
			return err
		}
		if entries[i], err = v.sealed(e); err != nil {
			return err
		}
	}
	return v.replace(filepath.Join(v.Shares, file), entries)
}

func (v Vault) replace(path string, entries []shareEntry) error {
	if len(entries) == 0 {
		return keys.Destroy(path)
	}
	text, err := marshalShareFile(entries)
	if err != nil {
		return err
	}
	return keys.Clear.ReplacePrivate(path, text)
}

// Read reads all share files. Shares of keys that have been destroyed are left out;
// files that others can read are refused.
func (v Vault) Read() (all []Share, err error) {
	err = v.eachFile(func(_ string, entries []shareEntry) error {
		for _, e := range entries {
			if gone, err := v.IsDestroyed(e.key()); err != nil {
				return err
			} else if gone {
				continue
			}
			share, err := v.open(e)
			if err != nil {
				return err
			}
			all = append(all, share)
		}
		return nil
	})
	return all, err
}

func (v Vault) eachFile(fn func(path string, entries []shareEntry) error) error {
	if _, err := os.Stat(v.Shares); err != nil {
		return err
	}
	paths, err := filepath.Glob(filepath.Join(v.Shares, "*.json"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		text, err := v.Safe.ReadPrivate(path)
		if err != nil {
			return err
		}
		entries, err := parseShareFile(text)
		clear(text)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := fn(path, entries); err != nil {
			return err
		}
	}
	return nil
}

// Wrap seals the shares that lie in clear, and tells how many there were. Those of keys
// that have been destroyed it leaves to [Vault.Destroy].
func (v Vault) Wrap() (wrapped int, err error) {
	err = v.eachFile(func(path string, entries []shareEntry) error {
		before := wrapped
		for i, e := range entries {
			gone, err := v.IsDestroyed(e.key())
			if err != nil {
				return err
			}
			if gone || len(e.Sealed) > 0 {
				continue
			}
			if _, err := e.share(); err != nil {
				return err
			}
			if entries[i], err = v.sealed(e); err != nil {
				return err
			}
			wrapped++
		}
		if wrapped == before {
			return nil
		}
		return v.replace(path, entries)
	})
	return wrapped, err
}

// drop takes the entries that match out of all files, and tells how many.
func (v Vault) drop(match func(shareEntry) bool) (dropped int, err error) {
	err = v.eachFile(func(path string, entries []shareEntry) error {
		left := slices.DeleteFunc(slices.Clone(entries), match)
		if len(left) == len(entries) {
			return nil
		}
		dropped += len(entries) - len(left)
		return v.replace(path, left)
	})
	return dropped, err
}

// DestroyReplaced takes out of the files what is [Replaced], and tells how many shares.
// Until then an evaluator answers under the sharing before the one in force too, for
// those who do not have the newest manifest yet; afterwards nobody can put a key
// together of shares of two times.
func (v Vault) DestroyReplaced(inForce []Share) (destroyed int, err error) {
	return v.drop(func(e shareEntry) bool {
		return slices.ContainsFunc(inForce, func(f Share) bool { return f.Key == e.key() && f.Sharing > e.Sharing })
	})
}
