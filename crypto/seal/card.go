// SPDX-License-Identifier: EUPL-1.2

package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/token"
)

// Sizes of a card in bytes. All cards are of one size, so that it tells nothing.
const (
	CardSize = nonceSize + cardPlain + tagSize

	nonceSize = 12
	tagSize   = 16
	cardPlain = 640
	cardHead  = 1 + 8 + ed25519.SignatureSize + 2
	maxJSON   = cardPlain - cardHead
)

// SealCard signs a card with the party's key and seals it under the child's seal.
// id names the key, as the directory lists it.
func SealCard(t token.Token, c Context, card Card, id encoding.KeyID, sign ed25519.PrivateKey) ([]byte, error) {
	nonce := make([]byte, nonceSize)
	rand.Read(nonce)
	return sealCard(t, c, card, id, sign, nonce)
}

// sealCard takes the nonce, which vectors fix. It is random, because a card can be
// sealed again under the same revision before it is sent.
func sealCard(t token.Token, c Context, card Card, id encoding.KeyID, sign ed25519.PrivateKey, nonce []byte) ([]byte, error) {
	if len(sign) != ed25519.PrivateKeySize || encoding.KeyIDOf(sign.Public().(ed25519.PublicKey)) != id {
		return nil, ErrKey
	}
	text, err := card.JSON()
	if err != nil {
		return nil, err
	}
	signed, err := cardSigned(t, c, text)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, 0, cardPlain)
	plain = append(plain, version1)
	plain = append(plain, id[:]...)
	plain = append(plain, ed25519.Sign(sign, signed)...)
	plain = binary.BigEndian.AppendUint16(plain, uint16(len(text)))
	plain = append(plain, text...)
	plain = plain[:cardPlain] // the rest is zeros

	aead, aad, err := cardCipher(t, c)
	if err != nil {
		return nil, err
	}
	return aead.Seal(nonce, nonce, plain, aad), nil
}

// OpenCard opens the card of the party that c names. key finds that party's
// signing key by its id, or tells that it has none such.
func OpenCard(t token.Token, c Context, sealed []byte, key func(encoding.KeyID) (ed25519.PublicKey, bool)) (Card, error) {
	if len(sealed) != CardSize {
		return Card{}, ErrLength
	}
	aead, aad, err := cardCipher(t, c)
	if err != nil {
		return Card{}, err
	}
	plain, err := aead.Open(nil, sealed[:nonceSize], sealed[nonceSize:], aad)
	if err != nil {
		return Card{}, ErrOpen
	}
	return openCardPlain(t, c, plain, key)
}

// openCardPlain reads the 640 bytes. Who seals them is another party, which has
// the seal too: nothing in them is trusted before the signature holds.
func openCardPlain(t token.Token, c Context, plain []byte, key func(encoding.KeyID) (ed25519.PublicKey, bool)) (Card, error) {
	if len(plain) != cardPlain {
		return Card{}, ErrLength
	}
	if plain[0] != version1 {
		return Card{}, ErrVersion
	}
	id := encoding.KeyID(plain[1:9])
	signature := plain[9 : 9+ed25519.SignatureSize]
	n := int(binary.BigEndian.Uint16(plain[cardHead-2:]))
	if n > maxJSON {
		return Card{}, fmt.Errorf("%w: the card's length", ErrMalformed)
	}
	text := plain[cardHead : cardHead+n]
	if err := zeros(plain[cardHead+n:]); err != nil {
		return Card{}, err
	}
	public, ok := key(id)
	if !ok || len(public) != ed25519.PublicKeySize || encoding.KeyIDOf(public) != id {
		return Card{}, ErrKey
	}
	signed, err := cardSigned(t, c, text)
	if err != nil {
		return Card{}, err
	}
	if !ed25519.Verify(public, signed, signature) {
		return Card{}, ErrSignature
	}
	return readCard(text, true)
}

func cardSigned(t token.Token, c Context, text []byte) ([]byte, error) {
	return encoding.E(labelCardSignature, append(c.fields(), t.Tag[:], text)...)
}

// cardCipher is the AEAD of one card, and its associated data.
func cardCipher(t token.Token, c Context) (cipher.AEAD, []byte, error) {
	info, err := encoding.E(labelCardKey, c.SID[:], []byte(c.Party), encoding.Int(c.Rev))
	if err != nil {
		return nil, nil, err
	}
	key, err := token.KDF(t.Seal[:], info, 32)
	if err != nil {
		return nil, nil, err
	}
	defer clear(key) // the cipher has its own
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, nil, fmt.Errorf("seal: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, nil, fmt.Errorf("seal: %w", err)
	}
	aad, err := encoding.E(labelCardAAD, append(c.fields(), t.Tag[:])...)
	return aead, aad, err
}
