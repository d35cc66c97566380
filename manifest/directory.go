// SPDX-License-Identifier: EUPL-1.2

package manifest

import (
	"crypto/ed25519"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// A Directory lists the parties and their keys.
type Directory struct {
	Dep      string    `json:"dep"`
	Version  uint64    `json:"version"`           // from 1
	Previous api.Hash  `json:"previous,omitzero"` // Hash of version-1; absent for 1
	NotAfter time.Time `json:"notAfter"`
	Parties  []Party   `json:"parties,omitempty"` // by id
}

// Kinds of parties. Others may come; a kind is lower-case words with dashes.
const (
	School             = "school"
	YouthHealth        = "youth-health"
	MentalHealth       = "mental-health"
	VeiligThuis        = "veilig-thuis"
	Vertrouwenscentrum = "vertrouwenscentrum"
	Municipality       = "municipality"
)

// A Party is an organisation, or a unit of one, that registers by itself.
type Party struct {
	ID     api.PartyID `json:"id"`
	Name   string      `json:"name"`
	Kind   string      `json:"kind"`
	Region string      `json:"region"`
	Roles  []string    `json:"roles,omitempty"`
	Keys   []Key       `json:"keys,omitempty"`
	Grants []Grant     `json:"grants,omitempty"` // by From
}

// Uses of a party's key. A registry's receipt keys have an empty use.
const (
	UseSign = "sign" // Ed25519, statements and cards; Key is the raw 32 bytes
	UseHPKE = "hpke" // X25519, its own keyboxes; Key is the raw 32 bytes
	UseTLS  = "tls"  // client certificates; Key is the SHA-256 of the SubjectPublicKeyInfo
)

// A Key is a public key in its window: current for from ≤ t < until, then
// retired.
type Key struct {
	ID      encoding.KeyID  `json:"id"` // KeyIDOf(Key)
	Use     string          `json:"use,omitempty"`
	Key     encoding.Base64 `json:"key"` // 32 bytes
	From    time.Time       `json:"from"`
	Until   time.Time       `json:"until,omitzero"` // absent while no end is set
	Revoked bool            `json:"revoked,omitempty"`
}

// NewKey is a key that is current from an instant on, without an end.
func NewKey(use string, key []byte, from time.Time) Key {
	return Key{ID: encoding.KeyIDOf(key), Use: use, Key: key, From: from.UTC().Truncate(time.Second)}
}

func (k Key) valid() bool {
	return len(k.Key) == 32 && k.ID == encoding.KeyIDOf(k.Key) && plainTime(k.From) &&
		(k.Until.IsZero() || plainTime(k.Until) && k.Until.After(k.From))
}

// Current tells whether the key is in its window and was not revoked.
func (k Key) Current(at time.Time) bool {
	return !k.Revoked && !at.Before(k.From) && (k.Until.IsZero() || at.Before(k.Until))
}

// verifies tells whether what k signed still counts: two years longer than it is
// current, unless it was revoked.
func (k Key) verifies(at time.Time) bool {
	return !k.Revoked && !at.Before(k.From) && (k.Until.IsZero() || at.Before(k.Until.AddDate(2, 0, 0)))
}

// OpenDirectory verifies a directory's note: signed by the manifest's directory
// signer, for the same deployment, in force at now, by the rules.
func OpenDirectory(msg []byte, m *Manifest, now time.Time) (*Directory, error) {
	text, err := OpenSigned(msg, m.DirectorySigner)
	if err != nil {
		return nil, err
	}
	d, err := ParseDirectory(text)
	if err != nil {
		return nil, err
	}
	switch {
	case d.Dep != m.Dep:
		return nil, ErrDeployment
	case now.After(d.NotAfter):
		return nil, ErrExpired
	}
	return d, nil
}

// ParseDirectory reads the text of a directory and checks it by itself. Who
// signed it, and whether it is still in force, is not looked at.
func ParseDirectory(text string) (*Directory, error) {
	d := new(Directory)
	if err := ParseText(labelDirectory, text, d); err != nil {
		return nil, err
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	return d, nil
}

// Note is the text to sign; an error names the rule that the directory breaks.
func (d *Directory) Note() (string, error) {
	if err := d.check(); err != nil {
		return "", err
	}
	return WriteText(labelDirectory, d)
}

// Hash is the SHA-256 of the text.
func (d *Directory) Hash() api.Hash { return hashText(labelDirectory, d) }

var word = regexp.MustCompile(`^[a-z][a-z-]{0,39}$`) // a kind or a role

func (d *Directory) check() error {
	if err := checkHead(d.Dep, d.Version, d.Previous, d.NotAfter); err != nil {
		return err
	}
	seen := map[string]bool{}
	for i, p := range d.Parties {
		if i > 0 && strings.Compare(string(d.Parties[i-1].ID), string(p.ID)) >= 0 {
			return at(ErrParties, "parties", i)
		}
		if _, err := api.ParseParty(string(p.ID)); err != nil {
			return at(ErrParty, "parties", i)
		}
		if !plainText(p.Name) || !plainText(p.Region) || !word.MatchString(p.Kind) || slices.ContainsFunc(p.Roles, func(role string) bool { return !word.MatchString(role) }) {
			return at(ErrParty, "parties", i)
		}
		for _, k := range p.Keys {
			if !slices.Contains([]string{UseSign, UseHPKE, UseTLS}, k.Use) || !k.valid() {
				return at(ErrKey, "parties", i)
			}
			// Also between parties: a TLS key tells who is calling.
			if seen[string(k.Key)] {
				return at(ErrKeyTwice, "parties", i)
			}
			seen[string(k.Key)] = true
		}
		for j, g := range p.Grants {
			if !g.valid() || j > 0 && !p.Grants[j-1].From.Before(g.From) {
				return at(ErrGrant, "parties", i)
			}
		}
	}
	return nil
}

// Follows tells whether d may take the place of prev, the highest version that
// the reader has seen.
func (d *Directory) Follows(prev *Directory) error {
	if err := checkFollows(d.Dep, prev.Dep, d.Version, prev.Version, d.Previous, prev.Hash); err != nil {
		return err
	}
	for i, was := range prev.Parties {
		is, ok := d.Party(was.ID)
		if !ok {
			continue
		}
		if err := checkRevived(was.Keys, is.Keys); err != nil {
			return fmt.Errorf("%w (parties of the version before, number %d)", err, i+1)
		}
	}
	return nil
}

// Replaces is Follows for a reader that may have seen nothing yet, or this very
// directory.
func (d *Directory) Replaces(seen *Directory) error {
	if seen == nil || d.Hash() == seen.Hash() {
		return nil
	}
	return d.Follows(seen)
}

// Party finds a party by its id.
func (d *Directory) Party(id api.PartyID) (Party, bool) {
	return find(d.Parties, func(p Party) bool { return p.ID == id })
}

// ByTLS finds the party that has this SPKI hash as a current tls key.
func (d *Directory) ByTLS(spki [32]byte, now time.Time) (Party, bool) {
	return find(d.Parties, func(p Party) bool {
		return slices.ContainsFunc(p.Keys, func(k Key) bool {
			return k.Use == UseTLS && string(k.Key) == string(spki[:]) && k.Current(now)
		})
	})
}

// SignKey finds the key with which the party may sign a statement at an instant.
func (d *Directory) SignKey(party api.PartyID, id encoding.KeyID, at time.Time) (ed25519.PublicKey, bool) {
	return d.signKey(party, func(k Key) bool { return k.ID == id && k.Current(at) })
}

// VerifyKey finds a key that verifies what the party signed before: also one
// that retired within the last two years, but never a revoked one.
func (d *Directory) VerifyKey(party api.PartyID, id encoding.KeyID, at time.Time) (ed25519.PublicKey, bool) {
	return d.signKey(party, func(k Key) bool { return k.ID == id && k.verifies(at) })
}

func (d *Directory) signKey(party api.PartyID, fits func(Key) bool) (ed25519.PublicKey, bool) {
	p, _ := d.Party(party)
	k, ok := find(p.Keys, func(k Key) bool { return k.Use == UseSign && fits(k) })
	return ed25519.PublicKey(k.Key), ok
}

// HPKEKey finds the party's current hpke key, raw; of several, the newest.
func (d *Directory) HPKEKey(party api.PartyID, now time.Time) (raw []byte, id encoding.KeyID, ok bool) {
	p, _ := d.Party(party)
	var newest Key
	for _, k := range p.Keys {
		if k.Use == UseHPKE && k.Current(now) && (!ok || k.From.After(newest.From)) {
			newest, ok = k, true
		}
	}
	return newest.Key, newest.ID, ok
}
