// SPDX-License-Identifier: EUPL-1.2

package seal

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/token"
)

var (
	testToken   = token.Token{Tag: token.Tag(bytes.Repeat([]byte{0xa1}, 32)), Seal: token.Seal(bytes.Repeat([]byte{0xb2}, 32))}
	testContext = Context{Dep: "demo", Party: "nl-oin:00000001001234567000", SID: [16]byte{3}, Rev: 1, Epoch: 1}
	testCard    = Card{
		Name: "Anna de Vries", Role: "jeugdarts", Desk: "Team Noord", Phone: "+31 20 555 0100",
		Email: "a.devries@example.nl", Reachable: `ma–do 9–17 uur, "spoed" & <later>`,
	}
	testKeybox = Keybox{Token: testToken, Birthday23: encoding.Date{Year: 2035, Month: 3, Day: 4}, Reference: "D-2026-0042"}

	testSigner = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{5}, 32))
	testPublic = testSigner.Public().(ed25519.PublicKey)
	testID     = encoding.KeyIDOf(testPublic)
	testHPKE   = mustX25519(6)
)

func mustX25519(fill byte) *ecdh.PrivateKey {
	key, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{fill}, 32))
	if err != nil {
		panic(err)
	}
	return key
}

// directory finds the one signing key there is.
func directory(id encoding.KeyID) (ed25519.PublicKey, bool) {
	return testPublic, id == testID
}

// ring finds the one private key there is.
func ring(id encoding.KeyID) (*ecdh.PrivateKey, bool) {
	return testHPKE, id == encoding.KeyIDOf(testHPKE.PublicKey().Bytes())
}

// others are contexts that differ from testContext in one thing each.
func others() map[string]Context {
	edit := func(f func(*Context)) Context { c := testContext; f(&c); return c }
	return map[string]Context{
		"deployment": edit(func(c *Context) { c.Dep = "demo2" }),
		"party":      edit(func(c *Context) { c.Party += "/noord" }),
		"sid":        edit(func(c *Context) { c.SID[15] ^= 1 }),
		"rev":        edit(func(c *Context) { c.Rev++ }),
		"epoch":      edit(func(c *Context) { c.Epoch++ }),
	}
}

func TestReadOutCode(t *testing.T) {
	a, b := [16]byte{1}, [16]byte{2}
	code, err := ReadOutCode(testToken.Seal, a, b)
	if err != nil || len(code) != 6 || strings.Trim(code, "0123456789") != "" {
		t.Fatalf("%q, %v; want six digits", code, err)
	}
	if other, err := ReadOutCode(testToken.Seal, b, a); err != nil || other != code {
		t.Errorf("the other side reads %q, want %q (%v)", other, code, err)
	}
	if other, _ := ReadOutCode(testToken.Seal, a, [16]byte{3}); other == code {
		t.Error("another signal has the same code")
	}
	if other, _ := ReadOutCode(token.Seal{}, a, b); other == code {
		t.Error("another child has the same code")
	}
	t.Run("keeps_leading_zeros", func(t *testing.T) {
		for i := range 256 {
			code, err := ReadOutCode(testToken.Seal, a, [16]byte{9, byte(i)})
			if err != nil || len(code) != 6 {
				t.Fatalf("%q, %v", code, err)
			}
			if code[0] == '0' {
				return
			}
		}
		t.Error("no code of 256 begins with a zero")
	})
	t.Run("rejects/one_signal_twice", func(t *testing.T) {
		if _, err := ReadOutCode(testToken.Seal, a, a); !errors.Is(err, ErrCode) {
			t.Errorf("%v, want ErrCode", err)
		}
	})
}

func TestRedaction(t *testing.T) {
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d"} {
		for _, arg := range []any{testCard, &testCard, []Card{testCard}, testKeybox, &testKeybox, struct{ K Keybox }{testKeybox}} {
			fmt.Fprintf(&out, verb+"\n", arg)
		}
	}
	text, err := json.Marshal(map[string]any{"card": testCard, "keybox": testKeybox})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	slog.New(slog.NewTextHandler(&out, nil)).Info("event", "card", testCard, "keybox", testKeybox)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("event", "card", testCard, "keybox", testKeybox)
	for _, leak := range []string{
		"Vries", fmt.Sprintf("%x", "Vries"), "0100", "example", "D-2026", "2035", fmt.Sprintf("%X", "D-2026"),
		"a1a1a1", "A1A1A1", "161 161", "b2b2b2", "B2B2B2", "178 178",
	} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("%q is in\n%s", leak, &out)
		}
	}
	for _, mark := range []string{"[contact card]", "[keybox]"} {
		if !strings.Contains(out.String(), mark) {
			t.Errorf("%s is not in\n%s", mark, &out)
		}
	}
}
