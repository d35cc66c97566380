// SPDX-License-Identifier: EUPL-1.2

package seal

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"testing"

	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/token"
)

var (
	testToken   = token.Token{Tag: token.Tag{1}, Seal: token.Seal{2}}
	testContext = Context{Dep: "demo", Party: "nl-oin:00000001001234567000", SID: [16]byte{3}, Rev: 1, Epoch: 1}
	testCard    = Card{Name: "Anna de Vries", Role: "jeugdarts", Desk: "Team Noord", Phone: "+31 20 555 0100", Email: "a.devries@example.nl", Reachable: "ma-do 9-17 uur"}
	testKeybox  = Keybox{Token: testToken, Birthday23: encoding.Date{Year: 2035, Month: 3, Day: 4}, Reference: "D-2026-0042"}
)

func TestCardRoundTrip(t *testing.T) {
	public, private, _ := ed25519.GenerateKey(nil)
	id := encoding.KeyIDOf(public)
	sealed, err := SealCard(testToken, testContext, testCard, id, private)
	if err != nil || len(sealed) != 668 {
		t.Fatalf("%d bytes, %v", len(sealed), err)
	}
	card, err := OpenCard(testToken, testContext, sealed, func(k encoding.KeyID) (ed25519.PublicKey, bool) { return public, k == id })
	if err != nil || card != testCard {
		t.Fatal(err)
	}
}

func TestKeyboxRoundTrip(t *testing.T) {
	private, _ := ecdh.X25519().GenerateKey(rand.Reader)
	box, err := SealKeybox(private.PublicKey().Bytes(), testContext, testKeybox)
	if err != nil || len(box) != 185 {
		t.Fatalf("%d bytes, %v", len(box), err)
	}
	keybox, err := OpenKeybox(func(encoding.KeyID) (*ecdh.PrivateKey, bool) { return private, true }, testContext, box)
	if err != nil || keybox != testKeybox {
		t.Fatal(err)
	}
}
