// SPDX-License-Identifier: EUPL-1.2

// Package atrest seals rows before a store writes them.
//
//	row              generation(1) ‖ nonce(12) ‖ AES-256-GCM(plaintext)
//	key              HKDF-Expand(root, E("seinhuis/1/row", table, key of the row), 32), SHA-256
//	associated data  E(table, key of the row)
//
// Each row has a key of its own, so random nonces stay safe however many rows
// there are, and a row that is moved to another place does not open there. The
// root lives outside the database and its backups: without it a stolen backup
// shows counts and sizes.
//
// The generation says which root a row is under, while rows move from one to the
// next: a [Key] seals under one and opens under those before it too ([Key.After]). It
// picks the root and so needs no other protection: under another one the row does not
// open.
package atrest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"slices"
	"sync"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// RootSize is the length of a root in bytes.
const RootSize = 32

// Overhead is how many bytes longer a sealed row is than its plaintext.
const Overhead = 1 + nonceSize + tagSize

const (
	label     = "seinhuis/1/row"
	nonceSize = 12
	tagSize   = 16
)

var (
	// ErrOpen says that a row was changed, moved, cut short, or is under another root.
	ErrOpen = errors.New("atrest: the row does not open")
	// ErrRoot says that a root has another length.
	ErrRoot = errors.New("atrest: a root is 32 bytes")
	// ErrTwice says that there are two roots of one generation.
	ErrTwice = errors.New("atrest: two roots have one generation")
)

// A Key is the root of a generation, and those of older ones. Goroutines may share it.
// It prints as [row key].
type Key struct {
	generation byte
	older      []Key // without older ones of their own
	// In an unexported field of another struct fmt calls no methods of Key. Of a
	// func it can only print the address; a pointer it follows under %s.
	expand func(info []byte) (key []byte)
}

// NewKey makes the key of a generation from its root, 32 uniform bytes.
func NewKey(generation byte, root []byte) (Key, error) {
	if len(root) != RootSize {
		return Key{}, ErrRoot
	}
	root = bytes.Clone(root)
	// HMAC is kept with its root digested: that is most of what the short expansion
	// of a row costs.
	macs := sync.Pool{New: func() any { return hmac.New(sha256.New, root) }}
	return Key{generation: generation, expand: func(info []byte) []byte {
		mac := macs.Get().(hash.Hash)
		defer macs.Put(mac)
		mac.Reset()
		mac.Write(info)
		mac.Write([]byte{1}) // the first and only block, RFC 5869 section 2.3
		return mac.Sum(nil)
	}}, nil
}

// After gives a key that seals as k does, and opens what either opens. No generation
// may be in both.
func (k Key) After(older Key) (Key, error) {
	for _, o := range append([]Key{older}, older.older...) {
		if k.Opens(o.generation) {
			return Key{}, ErrTwice
		}
		k.older = append(slices.Clip(k.older), Key{generation: o.generation, expand: o.expand})
	}
	return k, nil
}

// Generation is the first byte of every row that this key seals.
func (k Key) Generation() byte { return k.generation }

// Opens tells whether the root of a generation is among the key's.
func (k Key) Opens(generation byte) bool { return k.of(generation).expand != nil }

// HasOlder tells whether the key opens more than what it seals itself.
func (k Key) HasOlder() bool { return len(k.older) > 0 }

// of is the key of one generation, empty if it is not here.
func (k Key) of(generation byte) Key {
	if k.generation == generation {
		return k
	}
	for _, o := range k.older {
		if o.generation == generation {
			return o
		}
	}
	return Key{}
}

// Seal seals the plaintext of one row; table and rowKey say where it will stand.
func (k Key) Seal(table string, rowKey, plaintext []byte) ([]byte, error) {
	aead, aad, err := k.row(table, rowKey)
	if err != nil {
		return nil, err
	}
	sealed := make([]byte, 1+nonceSize, Overhead+len(plaintext))
	sealed[0] = k.generation
	rand.Read(sealed[1:])
	return aead.Seal(sealed, sealed[1:], plaintext, aad), nil
}

// Open opens a row that stands at table and rowKey, or gives ErrOpen.
func (k Key) Open(table string, rowKey, sealed []byte) ([]byte, error) {
	if len(sealed) < Overhead || !k.Opens(sealed[0]) {
		return nil, ErrOpen
	}
	aead, aad, err := k.of(sealed[0]).row(table, rowKey)
	if err != nil {
		return nil, err
	}
	plaintext, err := aead.Open(nil, sealed[1:1+nonceSize], sealed[1+nonceSize:], aad)
	if err != nil {
		return nil, ErrOpen
	}
	return plaintext, nil
}

func (k Key) row(table string, rowKey []byte) (cipher.AEAD, []byte, error) {
	if k.expand == nil {
		return nil, nil, ErrRoot
	}
	info, err := encoding.E(label, []byte(table), rowKey)
	if err != nil {
		return nil, nil, err
	}
	block, err := aes.NewCipher(k.expand(info))
	if err != nil {
		return nil, nil, fmt.Errorf("atrest: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, nil, fmt.Errorf("atrest: %w", err)
	}
	return aead, info[2+len(label):], nil // E(table, rowKey) is info without its label
}

// Format prints [row key], whatever the verb.
func (Key) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[row key]") }

// LogValue logs [row key].
func (Key) LogValue() slog.Value { return slog.StringValue("[row key]") }

// MarshalText writes [row key].
func (Key) MarshalText() ([]byte, error) { return []byte("[row key]"), nil }
