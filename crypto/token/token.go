// SPDX-License-Identifier: EUPL-1.2

// Package token turns the OPRF's output y for one child in one epoch into two
// secrets that cannot be computed from each other:
//
//	tag  = KDF(y, E("seinhuis/1/tag",  dep, epoch), 32)   to the registry, which matches on it
//	seal = KDF(y, E("seinhuis/1/seal", dep, epoch), 32)   stays with the party; opens the cards of a match
//
// Whoever signals the same child arrives at the same two, and nobody else does
// without t evaluators. y itself is forgotten as soon as both are derived.
package token

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// OutputSize is the length of y in bytes: a SHA-512 (RFC 9497 section 4.1).
const OutputSize = 64

// ErrOutput says that y has not the length of an OPRF output.
var ErrOutput = errors.New("token: an OPRF output is 64 bytes")

// KDF derives n bytes from a uniform key: HKDF-Expand with SHA-256 (RFC 5869
// section 2.3). There is no extract step, because every key it is given is
// pseudorandom already.
func KDF(key, info []byte, n int) ([]byte, error) {
	out, err := hkdf.Expand(sha256.New, key, string(info), n)
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	return out, nil
}

// A Tag is what the registry matches on. It prints as [tag].
//
// Package fmt calls no methods through unexported fields: a struct that keeps a
// Tag or a Seal in one needs a Format of its own.
type Tag [32]byte

// Format prints [tag], whatever the verb.
func (Tag) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[tag]") }

// LogValue logs [tag].
func (Tag) LogValue() slog.Value { return slog.StringValue("[tag]") }

// MarshalText writes [tag]: a tag travels only inside signed bytes and keyboxes.
func (Tag) MarshalText() ([]byte, error) { return []byte("[tag]"), nil }

// A Seal is the secret under which the parties of one match read each other's
// cards. It never leaves the gateway in the clear. It prints as [seal].
type Seal [32]byte

// Format prints [seal], whatever the verb.
func (Seal) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[seal]") }

// LogValue logs [seal].
func (Seal) LogValue() slog.Value { return slog.StringValue("[seal]") }

// MarshalText writes [seal].
func (Seal) MarshalText() ([]byte, error) { return []byte("[seal]"), nil }

// A Token is what a gateway knows a child by in one epoch.
type Token struct {
	Tag  Tag
	Seal Seal
}

// Derive makes the token of an OPRF output (64 bytes) in a deployment and epoch.
func Derive(y []byte, dep string, epoch uint64) (Token, error) {
	if len(y) != OutputSize {
		return Token{}, ErrOutput
	}
	var t Token
	for _, part := range []struct {
		label string
		dst   []byte
	}{
		{"seinhuis/1/tag", t.Tag[:]},
		{"seinhuis/1/seal", t.Seal[:]},
	} {
		info, err := encoding.E(part.label, []byte(dep), encoding.Int(epoch))
		if err != nil {
			return Token{}, err
		}
		key, err := KDF(y, info, len(part.dst))
		if err != nil {
			return Token{}, err
		}
		copy(part.dst, key)
		clear(key)
	}
	return t, nil
}
