// SPDX-License-Identifier: EUPL-1.2

package seal

import (
	"crypto/ecdh"
	"crypto/hpke"
	"encoding/binary"
	"fmt"
	"log/slog"
	"time"

	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/token"
)

// Sizes of a keybox in bytes.
const (
	KeyboxSize   = keyboxHead + keyboxPlain + tagSize // version 0x01
	MaxReference = keyboxPlain - keyboxFixed

	encSize     = 32
	keyboxHead  = 1 + 8 + encSize
	keyboxPlain = 128
	keyboxFixed = 1 + 32 + 32 + 4 + 1
)

// A Keybox is what a party needs of its own signal later. It prints as [keybox].
type Keybox struct {
	Token      token.Token
	Birthday23 encoding.Date
	Reference  string // the party's own file number, at most MaxReference bytes of UTF-8
}

// Format prints [keybox], whatever the verb.
func (Keybox) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[keybox]") }

// LogValue logs [keybox].
func (Keybox) LogValue() slog.Value { return slog.StringValue("[keybox]") }

// MarshalText writes [keybox].
func (Keybox) MarshalText() ([]byte, error) { return []byte("[keybox]"), nil }

// SealKeybox seals a keybox to the party's own X25519 public key of 32 bytes.
func SealKeybox(pub []byte, c Context, k Keybox) ([]byte, error) {
	plain, err := k.encode()
	if err != nil {
		return nil, err
	}
	key, err := hpke.DHKEM(ecdh.X25519()).NewPublicKey(pub)
	if err != nil {
		return nil, ErrKey
	}
	info, aad, err := keyboxBinding(c)
	if err != nil {
		return nil, err
	}
	// The one-shot hpke.Seal takes no associated data.
	enc, sender, err := hpke.NewSender(key, hpke.HKDFSHA256(), hpke.AES256GCM(), info)
	if err != nil {
		// X25519 refuses public keys of low order only here.
		return nil, ErrKey
	}
	ciphertext, err := sender.Seal(aad, plain)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	id := encoding.KeyIDOf(pub)
	box := make([]byte, 0, KeyboxSize)
	box = append(box, version1)
	box = append(box, id[:]...)
	box = append(box, enc...)
	return append(box, ciphertext...), nil
}

// OpenKeybox opens the party's own keybox. priv finds its private key by the id of
// its public half, or tells that there is none such.
func OpenKeybox(priv func(encoding.KeyID) (*ecdh.PrivateKey, bool), c Context, box []byte) (Keybox, error) {
	switch {
	case len(box) == 0:
		return Keybox{}, ErrLength
	case box[0] != version1:
		return Keybox{}, ErrVersion
	case len(box) != KeyboxSize:
		return Keybox{}, ErrLength
	}
	id := encoding.KeyID(box[1:9])
	private, ok := priv(id)
	if !ok || private == nil || encoding.KeyIDOf(private.PublicKey().Bytes()) != id {
		return Keybox{}, ErrKey
	}
	key, err := hpke.NewDHKEMPrivateKey(private)
	if err != nil {
		return Keybox{}, ErrKey
	}
	info, aad, err := keyboxBinding(c)
	if err != nil {
		return Keybox{}, err
	}
	recipient, err := hpke.NewRecipient(box[9:keyboxHead], key, hpke.HKDFSHA256(), hpke.AES256GCM(), info)
	if err != nil {
		return Keybox{}, ErrOpen
	}
	plain, err := recipient.Open(aad, box[keyboxHead:])
	if err != nil {
		return Keybox{}, ErrOpen
	}
	defer clear(plain) // what is decoded is a copy
	return decodeKeybox(plain)
}

func keyboxBinding(c Context) (info, aad []byte, err error) {
	info, err = encoding.E(labelKeybox, []byte(c.Dep), []byte(c.Party))
	if err != nil {
		return nil, nil, err
	}
	aad, err = encoding.E(c.Dep, c.fields()[1:]...)
	return info, aad, err
}

func (k Keybox) encode() ([]byte, error) {
	if err := checkText("reference", k.Reference, MaxReference); err != nil {
		return nil, err
	}
	// What is no day of four digits' years would not be read back.
	if _, err := encoding.ParseDate(k.Birthday23.String()); err != nil || encoding.DateOf(k.Birthday23.In(time.UTC)) != k.Birthday23 {
		return nil, &FieldError{"birthday23", FieldMissing, 0}
	}
	plain := make([]byte, 0, keyboxPlain)
	plain = append(plain, version1)
	plain = append(plain, k.Token.Tag[:]...)
	plain = append(plain, k.Token.Seal[:]...)
	plain = binary.BigEndian.AppendUint32(plain, yyyymmdd(k.Birthday23))
	plain = append(plain, byte(len(k.Reference)))
	plain = append(plain, k.Reference...)
	return plain[:keyboxPlain], nil // the rest is zeros
}

// decodeKeybox reads what encode writes, and nothing else.
func decodeKeybox(plain []byte) (Keybox, error) {
	malformed := func(what string) (Keybox, error) {
		return Keybox{}, fmt.Errorf("%w: the keybox's %s", ErrMalformed, what)
	}
	if len(plain) != keyboxPlain {
		return Keybox{}, ErrLength
	}
	if plain[0] != version1 {
		return Keybox{}, ErrVersion
	}
	k := Keybox{Token: token.Token{Tag: token.Tag(plain[1:33]), Seal: token.Seal(plain[33:65])}}
	n := binary.BigEndian.Uint32(plain[65:69])
	var err error
	if k.Birthday23, err = encoding.ParseDate(fmt.Sprintf("%04d-%02d-%02d", n/10_000, n/100%100, n%100)); err != nil {
		return malformed("23rd birthday")
	}
	length := int(plain[69])
	if length > MaxReference {
		return malformed("reference")
	}
	k.Reference = string(plain[keyboxFixed : keyboxFixed+length])
	if err := checkText("reference", k.Reference, MaxReference); err != nil {
		return malformed("reference")
	}
	if err := zeros(plain[keyboxFixed+length:]); err != nil {
		return Keybox{}, err
	}
	return k, nil
}

func yyyymmdd(d encoding.Date) uint32 { return uint32(d.Year*10_000 + int(d.Month)*100 + d.Day) }
