// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"encoding/hex"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero tells whether the hash is absent.
func (h Hash) IsZero() bool { return h == Hash{} }

// MarshalText writes 64 lower-case hexadecimal digits.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (h *Hash) UnmarshalText(text []byte) error { return encoding.ParseHex(h[:], text) }
