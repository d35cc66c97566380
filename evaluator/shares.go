// SPDX-License-Identifier: EUPL-1.2

package evaluator

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/oprf"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/logging"
	"github.com/seinhuis/seinhuis/manifest"
)

// A Key names the key of a cohort in an epoch.
type Key struct {
	Epoch  uint64
	Cohort int
}

func (k Key) String() string { return fmt.Sprintf("epoch %d, cohort %d", k.Epoch, k.Cohort) }

// Grown tells whether everybody of the cohort has turned 23, on 1 January of the
// birth year + 24. From then on the key answers nobody, and its share is to be
// destroyed.
func (k Key) Grown(now time.Time) bool { return now.In(encoding.Amsterdam).Year() >= k.Cohort+24 }

// A Share is one evaluator's share of a key, in one sharing. Its value redacts
// itself.
type Share struct {
	Key
	Sharing uint64
	Value   oprf.Share
}

// A ShareError says which share cannot be used, and why.
type ShareError struct {
	Key Key
	Err error
}

func (e *ShareError) Error() string {
	return fmt.Sprintf("evaluator: the share of %s: %v", e.Key, e.Err)
}

func (e *ShareError) Unwrap() error { return e.Err }

// Faults of a share.
const (
	ErrForeign = logging.Error("it does not verify against the manifest's commitments; compare its file with the one that was dealt for this evaluator and sharing")
	ErrIndex   = logging.Error("it has another evaluator's index; a share file of somebody else was put here")
	ErrTwice   = logging.Error("it is there twice")
	ErrValue   = logging.Error("its value is not a share")
)

// shareFile is the form of a share file:
//
//	{"shares":[{"epoch":1,"cohort":2012,"sharing":1,"index":2,"value":"<base64, 32 bytes>"}, …]}
type shareFile struct {
	Shares []shareEntry `json:"shares"`
}

type shareEntry struct {
	Epoch   uint64          `json:"epoch"`
	Cohort  int             `json:"cohort"`
	Sharing uint64          `json:"sharing"`
	Index   int             `json:"index"`
	Value   encoding.Base64 `json:"value"`
}

// ParseShares reads a share file, strictly.
func ParseShares(text []byte) ([]Share, error) {
	var file shareFile
	if err := encoding.UnmarshalJSON(text, &file); err != nil {
		return nil, fmt.Errorf("evaluator: not a share file: %w", err)
	}
	shares := make([]Share, len(file.Shares))
	for i, entry := range file.Shares {
		key := Key{entry.Epoch, entry.Cohort}
		value, err := oprf.ParseShare(entry.Index, entry.Value)
		if err != nil {
			return nil, &ShareError{key, ErrValue}
		}
		shares[i] = Share{Key: key, Sharing: entry.Sharing, Value: value}
	}
	return shares, nil
}

// MarshalShares writes what ParseShares reads. The result is secret.
func MarshalShares(shares []Share) ([]byte, error) {
	file := shareFile{Shares: make([]shareEntry, len(shares))}
	for i, s := range shares {
		value, err := s.Value.MarshalBinary()
		if err != nil {
			return nil, &ShareError{s.Key, err}
		}
		file.Shares[i] = shareEntry{s.Epoch, s.Cohort, s.Sharing, s.Value.Index(), value}
	}
	text, err := json.MarshalIndent(file, "", "  ")
	return append(text, '\n'), err
}

// WriteShares puts shares in a file, in place of what it held. Whoever reads it after
// a crash finds the one or the other, whole.
func WriteShares(path string, shares []Share) error {
	text, err := MarshalShares(shares)
	if err != nil {
		return err
	}
	return keys.ReplacePrivate(path, text)
}

// ReadShares reads all share files of a folder, *.json. To destroy the share of a
// cohort, take it out of its file; files that others can read are refused.
func ReadShares(folder string) (all []Share, err error) {
	err = eachFile(folder, func(_ string, shares []Share) error {
		all = append(all, shares...)
		return nil
	})
	return all, err
}

func eachFile(folder string, fn func(path string, shares []Share) error) error {
	if _, err := os.Stat(folder); err != nil {
		return err
	}
	paths, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		text, err := keys.ReadPrivate(path)
		if err != nil {
			return err
		}
		shares, err := ParseShares(text)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := fn(path, shares); err != nil {
			return err
		}
	}
	return nil
}

// Replaced are the shares of sharings before the one in force, where that one's share
// is here. InForce is what Check gave.
func Replaced(shares, inForce []Share) (list []Share) {
	for _, s := range shares {
		if slices.ContainsFunc(inForce, func(f Share) bool { return f.Key == s.Key && f.Sharing > s.Sharing }) {
			list = append(list, s)
		}
	}
	return list
}

// DestroyReplaced takes out of a folder's files what is Replaced, and returns it.
// Until then an evaluator answers under the sharing before the one in force too, for
// those who do not have the newest manifest yet; afterwards nobody can put a key
// together of shares of two times.
func DestroyReplaced(folder string, inForce []Share) (destroyed []Share, err error) {
	err = eachFile(folder, func(path string, shares []Share) error {
		gone := Replaced(shares, inForce)
		if len(gone) == 0 {
			return nil
		}
		destroyed = append(destroyed, gone...)
		return WriteShares(path, slices.DeleteFunc(shares, func(s Share) bool {
			return slices.ContainsFunc(gone, func(g Share) bool { return g.Key == s.Key && g.Sharing == s.Sharing })
		}))
	})
	return destroyed, err
}

// Check holds the shares of evaluator index against a manifest. It gives those
// that are in force, every one verified, and the keys for which there is none:
// of open epochs, and of cohorts that have not grown up.
func Check(m *manifest.Manifest, index int, shares []Share, now time.Time) (inForce []Share, missing []Key, err error) {
	type name struct {
		key     Key
		sharing uint64
	}
	byName := map[name]Share{}
	for _, s := range shares {
		n := name{s.Key, s.Sharing}
		if _, twice := byName[n]; twice {
			return nil, nil, &ShareError{s.Key, ErrTwice}
		}
		if s.Value.Index() != index {
			return nil, nil, &ShareError{s.Key, ErrIndex}
		}
		byName[n] = s
	}
	open := m.Open()
	for _, sharing := range m.Sharings {
		if !slices.ContainsFunc(open, func(e manifest.Epoch) bool { return e.Number == sharing.Epoch }) {
			continue
		}
		key := Key{sharing.Epoch, sharing.Cohort}
		s, ok := byName[name{key, sharing.Number}]
		if !ok {
			if !key.Grown(now) {
				missing = append(missing, key)
			}
			continue
		}
		commitments, err := oprf.ParseCommitments(sharing.Points())
		if err != nil {
			return nil, nil, &ShareError{key, err}
		}
		if !s.Value.Verify(commitments) {
			return nil, nil, &ShareError{key, ErrForeign}
		}
		inForce = append(inForce, s)
	}
	return inForce, missing, nil
}
