// SPDX-License-Identifier: EUPL-1.2

// Package seal closes and opens the two boxes of a signal.
//
// A card carries a party's contact details to the other parties of a match, and
// to nobody else: it opens under the seal, which who signals the same child has
// and the registry has not. What proves whose card it is lies inside.
//
//	card, 668 bytes       nonce(12) ‖ AES-256-GCM(plaintext)
//	key                   KDF(seal, E("seinhuis/1/card-key", sid, party, rev), 32)
//	associated data       E("seinhuis/1/card-aad", dep, party, sid, rev, epoch, tag)
//	plaintext, 640 bytes  0x01 ‖ keyID(8) ‖ signature(64) ‖ u16 length ‖ JSON ‖ zeros
//	signed, Ed25519       E("seinhuis/1/card-sig", dep, party, sid, rev, epoch, tag, JSON)
//
// A keybox carries a party's own tag and seal back to itself, so that it can open
// a later event, renew or change its card without having kept anything.
//
//	keybox, 185 bytes     0x01 ‖ keyID(8) ‖ enc(32) ‖ ciphertext(144)
//	sealed with           HPKE (RFC 9180) mode 0, KEM 0x0020, KDF 0x0001, AEAD 0x0002
//	                      to the party's X25519 key, whose id is keyID
//	info                  E("seinhuis/1/keybox", dep, party)
//	associated data       E(dep, party, sid, rev, epoch)
//	plaintext, 128 bytes  0x01 ‖ tag(32) ‖ seal(32) ‖ u32 23rd birthday as yyyymmdd
//	                      ‖ u8 length ‖ reference ‖ zeros
//
// Anybody can seal a keybox to a public key. So before a gateway opens one it
// checks its own signature over the statement that names the keybox's hash.
//
// Lengths follow the version byte, here and only here. Version 0x02 of the keybox
// is reserved for a post-quantum KEM, and refused.
package seal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/token"
)

// Labels, one for each use of a key.
const (
	labelCardKey       = "seinhuis/1/card-key"
	labelCardAAD       = "seinhuis/1/card-aad"
	labelCardSignature = "seinhuis/1/card-sig"
	labelKeybox        = "seinhuis/1/keybox"
	labelCode          = "seinhuis/1/code"
)

const version1 = 0x01

// What is refused. None of them tells a value.
var (
	ErrLength    = errors.New("seal: the box has not the length of its version")
	ErrVersion   = errors.New("seal: the version is not known; 0x02 is reserved")
	ErrOpen      = errors.New("seal: the box does not open: it was sealed for another signal or key, or changed since")
	ErrPadding   = errors.New("seal: bytes other than zeros follow the contents")
	ErrMalformed = errors.New("seal: the contents are not in their one form")
	ErrKey       = errors.New("seal: the key is not known, or has not the id it is given")
	ErrSignature = errors.New("seal: the signature on the card does not verify")
	ErrCode      = errors.New("seal: a read-out code is between two signals")
)

// A Context is what a box belongs to: one face of one revision of one signal.
// Everything in it is bound to the box, and a box opens in its own only.
type Context struct {
	Dep   string
	Party string // the party that sealed the box
	SID   [16]byte
	Rev   uint64
	Epoch uint64
}

// fields are dep, party, sid, rev, epoch, in the order of every list above.
func (c Context) fields() [][]byte {
	return [][]byte{[]byte(c.Dep), []byte(c.Party), c.SID[:], encoding.Int(c.Rev), encoding.Int(c.Epoch)}
}

// ReadOutCode is what two professionals tell each other on the phone, before a
// child is named, to know that they speak of the same match: six digits, of which
// the caller reads the first three and the other the last three. a and b are the
// two signals, in either order:
// u32 of KDF(seal, E("seinhuis/1/code", lower sid, higher sid), 4), modulo 10^6.
func ReadOutCode(s token.Seal, a, b [16]byte) (string, error) {
	switch bytes.Compare(a[:], b[:]) {
	case 0:
		return "", ErrCode
	case 1:
		a, b = b, a
	}
	info, err := encoding.E(labelCode, a[:], b[:])
	if err != nil {
		return "", err
	}
	code, err := token.KDF(s[:], info, 4)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(code)%1_000_000), nil
}

// zeros tells whether padding is what it must be.
func zeros(padding []byte) error {
	if len(bytes.Trim(padding, "\x00")) > 0 {
		return ErrPadding
	}
	return nil
}
