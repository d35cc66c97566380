// SPDX-License-Identifier: EUPL-1.2

// Package encoding is the byte language of protocol seinhuis/1.
//
// Everything that is hashed, signed or used as key-derivation input is
//
//	E(a, b, …) = len16(a) ‖ a ‖ len16(b) ‖ b ‖ …
//
// with u16 big-endian lengths. Strings are UTF-8, integers ASCII decimal
// without leading zeros (a birth year has four digits), dates 2006-01-02, times
// RFC 3339 UTC in whole seconds with Z; an absent field is empty. A [Decoder]
// accepts exactly what [E] writes: one value has one encoding.
package encoding

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxField is the longest field E can carry, in bytes.
const MaxField = 1<<16 - 1

// ErrFieldTooLong says that a field does not fit its 16-bit length.
var ErrFieldTooLong = errors.New("encoding: a field is longer than 65535 bytes")

// ErrMalformed says that bytes are not the one encoding of any value.
var ErrMalformed = errors.New("encoding: malformed")

// E encodes its fields one after the other, each behind its length. The first
// field is always text: the label that keeps one use apart from another, or the
// deployment's name.
func E(first string, rest ...[]byte) ([]byte, error) {
	n := 2 + len(first)
	for _, f := range rest {
		n += 2 + len(f)
	}
	out, err := appendField(make([]byte, 0, n), []byte(first))
	for _, f := range rest {
		if err != nil {
			break
		}
		out, err = appendField(out, f)
	}
	return out, err
}

func appendField(dst, f []byte) ([]byte, error) {
	if len(f) > MaxField {
		return nil, ErrFieldTooLong
	}
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(f))), f...), nil
}

// Int is the field of a number: ASCII decimal without leading zeros.
func Int(n uint64) []byte { return strconv.AppendUint(nil, n, 10) }

// Time is the field of an instant: RFC 3339, UTC, whole seconds.
func Time(t time.Time) []byte { return []byte(t.UTC().Format(timeLayout)) }

const timeLayout = "2006-01-02T15:04:05Z"

// A Decoder reads the fields of E in order. The first fault sticks: later reads
// give zero values, and Done reports it.
type Decoder struct {
	rest []byte
	err  error
}

// NewDecoder starts reading b, which it does not copy.
func NewDecoder(b []byte) *Decoder { return &Decoder{rest: b} }

// Fail reports a fault that the caller found in a field it read.
func (d *Decoder) Fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrMalformed, what)
	}
}

// Bytes reads a field as it is; the result aliases the input.
func (d *Decoder) Bytes() []byte {
	if d.err != nil {
		return nil
	}
	if len(d.rest) < 2 {
		d.Fail("a length is missing")
		return nil
	}
	n := int(binary.BigEndian.Uint16(d.rest))
	if len(d.rest) < 2+n {
		d.Fail("a field is cut short")
		return nil
	}
	f := d.rest[2 : 2+n : 2+n]
	d.rest = d.rest[2+n:]
	return f
}

// Fixed reads a field of exactly len(dst) bytes into dst.
func (d *Decoder) Fixed(dst []byte) {
	f := d.Bytes()
	if d.err == nil && len(f) != len(dst) {
		d.Fail("a field has the wrong length")
		return
	}
	copy(dst, f)
}

// String reads a field of UTF-8 text.
func (d *Decoder) String() string {
	f := d.Bytes()
	if !utf8.Valid(f) {
		d.Fail("text is not UTF-8")
		return ""
	}
	return string(f)
}

// Expect reads a field that must hold exactly s.
func (d *Decoder) Expect(s string) {
	if f := d.Bytes(); d.err == nil && string(f) != s {
		d.Fail("another label was expected")
	}
}

// Int reads a number.
func (d *Decoder) Int() uint64 {
	f := d.Bytes()
	if d.err != nil {
		return 0
	}
	n, err := strconv.ParseUint(string(f), 10, 64)
	if err != nil || !bytes.Equal(f, Int(n)) {
		d.Fail("a number is not canonical")
		return 0
	}
	return n
}

// Time reads an instant.
func (d *Decoder) Time() time.Time {
	f := d.Bytes()
	if d.err != nil {
		return time.Time{}
	}
	t, err := time.Parse(timeLayout, string(f))
	if err != nil || !bytes.Equal(f, Time(t)) {
		d.Fail("a time is not canonical")
		return time.Time{}
	}
	return t
}

// Date reads a civil date; an empty field is the zero Date.
func (d *Decoder) Date() Date {
	f := d.Bytes()
	if d.err != nil || len(f) == 0 {
		return Date{}
	}
	date, err := ParseDate(string(f))
	if err != nil {
		d.Fail("a date is not canonical")
	}
	return date
}

// More tells whether fields are left to read.
func (d *Decoder) More() bool { return d.err == nil && len(d.rest) > 0 }

// Done ends the reading: the first fault, or an error when bytes are left over.
func (d *Decoder) Done() error {
	if d.err == nil && len(d.rest) > 0 {
		d.Fail("bytes follow the last field")
	}
	return d.err
}

// A KeyID names a public key: the first 8 bytes of its SHA-256.
type KeyID [8]byte

// KeyIDOf computes the id of a public key in its raw form (32 bytes for Ed25519
// and X25519).
func KeyIDOf(public []byte) KeyID {
	h := sha256.Sum256(public)
	return KeyID(h[:8])
}

func (id KeyID) String() string { return fmt.Sprintf("%x", id[:]) }

// Base64 is binary in JSON: padded standard base64 (RFC 4648 section 4), and
// only its canonical form.
type Base64 []byte

// MarshalJSON writes the base64 text.
func (b Base64) MarshalJSON() ([]byte, error) {
	return json.Marshal(base64.StdEncoding.EncodeToString(b))
}

// UnmarshalJSON refuses everything but the canonical form: no line breaks, no
// missing padding, no set bits behind the last byte.
func (b *Base64) UnmarshalJSON(text []byte) error {
	var s string
	if n := len(text); n >= 2 && text[0] == '"' && text[n-1] == '"' && bytes.IndexByte(text, '\\') < 0 {
		s = string(text[1 : n-1]) // without an escape it stands there as it is
	} else if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("%w: base64 text was expected", ErrMalformed)
	}
	raw, err := ParseBase64(s)
	if err != nil {
		return err
	}
	*b = raw
	return nil
}

var canonical = base64.StdEncoding.Strict()

// ParseBase64 reads canonical padded standard base64.
func ParseBase64(s string) ([]byte, error) {
	raw, err := canonical.DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") { // which it skips
		return nil, fmt.Errorf("%w: base64 is not canonical", ErrMalformed)
	}
	return raw, nil
}
