// SPDX-License-Identifier: EUPL-1.2

package evaluator

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/oprf"
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
func (k Key) Grown(now time.Time) bool { return manifest.HasGrown(k.Cohort, now) }

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
//	{"shares":[{"epoch":1,"cohort":2012,"sharing":1,"index":2,"sealed":"<base64>"}, …]}
//
// What is sealed is the share's 32 bytes, as a row of package atrest under the wrapping
// key of its epoch and cohort, table "share", key of the row
// E("seinhuis/1/share", epoch, cohort, sharing, index). A share in clear has "value" in
// its place, as all had before; a [Vault] seals it.
type shareFile struct {
	Shares []shareEntry `json:"shares"`
}

type shareEntry struct {
	Epoch   uint64          `json:"epoch"`
	Cohort  int             `json:"cohort"`
	Sharing uint64          `json:"sharing"`
	Index   int             `json:"index"`
	Value   encoding.Base64 `json:"value,omitempty"`
	Sealed  encoding.Base64 `json:"sealed,omitempty"`
}

func (e shareEntry) key() Key { return Key{e.Epoch, e.Cohort} }

// place is where the share stands, as sealing knows it.
func (e shareEntry) place() ([]byte, error) {
	return encoding.E("seinhuis/1/share", encoding.Int(e.Epoch), encoding.Int(uint64(e.Cohort)), encoding.Int(e.Sharing), encoding.Int(uint64(e.Index)))
}

// share is the share of an entry in clear.
func (e shareEntry) share() (Share, error) {
	value, err := oprf.ParseShare(e.Index, e.Value)
	if err != nil {
		return Share{}, &ShareError{e.key(), ErrValue}
	}
	return Share{Key: e.key(), Sharing: e.Sharing, Value: value}, nil
}

func entryOf(s Share) (shareEntry, error) {
	value, err := s.Value.MarshalBinary()
	if err != nil {
		return shareEntry{}, &ShareError{s.Key, err}
	}
	return shareEntry{Epoch: s.Epoch, Cohort: s.Cohort, Sharing: s.Sharing, Index: s.Value.Index(), Value: value}, nil
}

func parseShareFile(text []byte) ([]shareEntry, error) {
	var file shareFile
	if err := encoding.UnmarshalJSON(text, &file); err != nil {
		return nil, fmt.Errorf("evaluator: not a share file: %w", err)
	}
	for _, e := range file.Shares {
		if (len(e.Value) == 0) == (len(e.Sealed) == 0) || e.Cohort < 0 || e.Index < 0 {
			return nil, &ShareError{e.key(), ErrValue}
		}
	}
	return file.Shares, nil
}

func marshalShareFile(entries []shareEntry) ([]byte, error) {
	text, err := json.MarshalIndent(shareFile{entries}, "", "  ")
	return append(text, '\n'), err
}

// ParseShares reads a file of shares in clear, strictly.
func ParseShares(text []byte) ([]Share, error) {
	entries, err := parseShareFile(text)
	if err != nil {
		return nil, err
	}
	shares := make([]Share, len(entries))
	for i, entry := range entries {
		if shares[i], err = entry.share(); err != nil {
			return nil, err
		}
		clear(entry.Value)
	}
	return shares, nil
}

// MarshalShares writes what ParseShares reads. The result is secret.
func MarshalShares(shares []Share) ([]byte, error) {
	entries := make([]shareEntry, len(shares))
	for i, s := range shares {
		var err error
		if entries[i], err = entryOf(s); err != nil {
			return nil, err
		}
	}
	return marshalShareFile(entries)
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
