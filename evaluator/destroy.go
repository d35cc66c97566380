// SPDX-License-Identifier: EUPL-1.2

package evaluator

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/manifest"
)

// held are the keys of which something lies here, with the sharings of their shares.
func (v Vault) held() (map[Key][]uint64, error) {
	held := map[Key][]uint64{}
	err := v.eachFile(func(_ string, entries []shareEntry) error {
		for _, e := range entries {
			held[e.key()] = append(held[e.key()], e.Sharing)
		}
		return nil
	})
	if errors.Is(err, os.ErrNotExist) { // before the first ceremony
		err = nil
	}
	if err != nil {
		return nil, err
	}
	paths, err := filepath.Glob(filepath.Join(v.Wrapping, "*.key"))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		var k Key
		if n, err := fmt.Sscanf(filepath.Base(path), wrappingFileForm, &k.Epoch, &k.Cohort); n == 2 && err == nil && v.wrappingFile(k) == path {
			held[k] = append(held[k], nil...)
		}
	}
	return held, nil
}

// A Due is a key that is to be destroyed.
type Due struct {
	Key
	Why manifest.Reason
	// Again: it has been destroyed, and is certified; somebody has put it back.
	Again bool

	sharings []uint64
}

// Due are the keys here that are to be destroyed: their cohort has grown up, their epoch
// is closed, or they have been destroyed before, altogether or not yet. A clock that is
// past the manifest's end is not believed: nobody is answered by it either, and what it
// would destroy does not come back.
func (v Vault) Due(m *manifest.Manifest, now time.Time) (due []Due, err error) {
	held, err := v.held()
	if err != nil {
		return nil, err
	}
	for k, sharings := range held {
		slices.Sort(sharings)
		d := Due{Key: k, sharings: slices.Compact(sharings)}
		was, err := v.certificate(k)
		switch {
		case err == nil:
			d.Why, d.Again = was.Why, was.signed
		case !errors.Is(err, os.ErrNotExist):
			return nil, err
		case slices.ContainsFunc(m.Epochs, func(e manifest.Epoch) bool { return e.Number == k.Epoch && e.Closed() }):
			d.Why = manifest.Closed
		case k.Grown(now) && !now.After(m.NotAfter):
			d.Why = manifest.Grown
		default:
			continue
		}
		due = append(due, d)
	}
	slices.SortFunc(due, func(a, b Due) int { return 10000*int(a.Epoch-b.Epoch) + a.Cohort - b.Cohort })
	return due, nil
}

// Destroy destroys a key for good, as evaluator index. Killed at any moment, it is due
// again at the next look, and stays so until nothing of it is left.
func (v Vault) Destroy(d Due, m *manifest.Manifest, index int, now time.Time) error {
	text, err := v.text(d, m, index, now)
	if err != nil {
		return err
	}
	for _, step := range v.destroying(d, text) {
		if err := step(); err != nil {
			return fmt.Errorf("evaluator: destroying the key of %s: %w", d.Key, err)
		}
	}
	return nil
}

// destroying are the steps. The certificate comes first, because from then on nobody
// uses what is still there; it is signed when nothing is.
func (v Vault) destroying(d Due, text string) []func() error {
	return []func() error{
		func() error {
			if gone, err := v.IsDestroyed(d.Key); gone || err != nil {
				return err
			}
			if err := keys.MakeFolder(v.Destroyed); err != nil {
				return err
			}
			return manifest.WriteFile(v.destroyedFile(d.Key), []byte(text))
		},
		func() error { return keys.Destroy(v.wrappingFile(d.Key)) },
		func() error {
			_, err := v.drop(func(e shareEntry) bool { return e.key() == d.Key })
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			return err
		},
	}
}

// text is the certificate's.
func (v Vault) text(d Due, m *manifest.Manifest, index int, now time.Time) (string, error) {
	c := manifest.Destruction{
		Dep: m.Dep, Evaluator: index, Epoch: d.Epoch, Cohort: d.Cohort, Sharings: d.sharings,
		Why: d.Why, Time: now.UTC().Truncate(time.Second),
	}
	if c.Sharings == nil {
		c.Sharings = []uint64{}
	}
	// A key that cannot be read any more is destroyed all the same.
	if root, err := v.Safe.Secret(v.wrappingFile(d.Key)); err == nil {
		c.WrappingKey = api.Hash(sha256.Sum256(root))
	}
	return c.Note()
}

// A Certificate tells of a key that was destroyed here.
type Certificate struct {
	manifest.Destruction
	Note []byte

	signed bool
}

// Key is the key that it tells of.
func (c Certificate) Key() Key { return Key{c.Epoch, c.Cohort} }

func (v Vault) certificate(k Key) (Certificate, error) {
	msg, err := os.ReadFile(v.destroyedFile(k))
	if err != nil {
		return Certificate{}, err
	}
	text, err := manifest.TextOf(msg)
	if err != nil {
		return Certificate{}, fmt.Errorf("%s: %w", v.destroyedFile(k), err)
	}
	d, err := manifest.ParseDestruction(text)
	if err == nil && (Key{d.Epoch, d.Cohort}) != k {
		err = manifest.ErrDestruction
	}
	if err != nil {
		return Certificate{}, fmt.Errorf("%s: %w", v.destroyedFile(k), err)
	}
	return Certificate{d, msg, text != string(msg)}, nil
}

// Unsigned are the certificates of keys of which nothing is left, that nobody has signed.
func (v Vault) Unsigned() ([]Certificate, error) {
	held, err := v.held()
	if err != nil {
		return nil, err
	}
	return v.certificates(func(c Certificate) bool {
		_, here := held[c.Key()]
		return !c.signed && !here
	})
}

// Untaken are the signed certificates that the registry has not taken.
func (v Vault) Untaken() ([]Certificate, error) {
	return v.certificates(func(c Certificate) bool {
		_, err := os.Stat(v.takenFile(c.Key()))
		return c.signed && err != nil
	})
}

func (v Vault) certificates(match func(Certificate) bool) (list []Certificate, err error) {
	paths, err := filepath.Glob(filepath.Join(v.Destroyed, "*.txt"))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		var k Key
		if n, err := fmt.Sscanf(filepath.Base(path), destroyedForm, &k.Epoch, &k.Cohort); n != 2 || err != nil || v.destroyedFile(k) != path {
			continue
		}
		c, err := v.certificate(k)
		if err != nil {
			return nil, err
		}
		if match(c) {
			list = append(list, c)
		}
	}
	return list, nil
}

// Sign signs what is [Vault.Unsigned], and gives it signed.
func (v Vault) Sign(signer note.Signer) (signed []Certificate, err error) {
	unsigned, err := v.Unsigned()
	if err != nil {
		return nil, err
	}
	for _, c := range unsigned {
		if c.Note, err = manifest.AddSignature(c.Note, signer); err != nil {
			return signed, err
		}
		if err := manifest.WriteFile(v.destroyedFile(c.Key()), c.Note); err != nil {
			return signed, err
		}
		signed = append(signed, c)
	}
	return signed, nil
}

func (v Vault) takenFile(k Key) string { return v.destroyedFile(k) + ".taken" }

// Taken notes that the registry has taken a certificate.
func (v Vault) Taken(c Certificate) error { return manifest.WriteFile(v.takenFile(c.Key()), nil) }
