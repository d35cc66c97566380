// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// A SID names a signal within its party: 16 random bytes, written as 32
// lower-case hexadecimal digits.
type SID [16]byte

// NewSID draws a signal's name.
func NewSID() (sid SID) {
	rand.Read(sid[:])
	return sid
}

func (s SID) String() string { return hex.EncodeToString(s[:]) }

// IsZero tells whether the sid is absent.
func (s SID) IsZero() bool { return s == SID{} }

// MarshalText writes 32 hexadecimal digits.
func (s SID) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (s *SID) UnmarshalText(b []byte) error { return encoding.ParseHex(s[:], b) }

// A MatchID names a match: 16 random bytes, new when a match forms again.
type MatchID [16]byte

// NewMatchID draws a match's name.
func NewMatchID() (id MatchID) {
	rand.Read(id[:])
	return id
}

func (m MatchID) String() string { return hex.EncodeToString(m[:]) }

// IsZero tells whether the id is absent.
func (m MatchID) IsZero() bool { return m == MatchID{} }

// MarshalText writes 32 hexadecimal digits.
func (m MatchID) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (m *MatchID) UnmarshalText(b []byte) error { return encoding.ParseHex(m[:], b) }

// A Tag is what the registry matches on: 32 bytes, the same for the same child,
// meaningless without t evaluators. It prints as [tag].
type Tag [32]byte

// Format prints [tag], whatever the verb.
func (Tag) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[tag]") }

// LogValue logs [tag].
func (Tag) LogValue() slog.Value { return slog.StringValue("[tag]") }

// MarshalText writes [tag]: a tag travels only inside signed bytes.
func (Tag) MarshalText() ([]byte, error) { return []byte("[tag]"), nil }
