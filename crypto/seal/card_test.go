// SPDX-License-Identifier: EUPL-1.2

package seal

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/token"
)

func mustSealCard(t testing.TB, tok token.Token, c Context, card Card) []byte {
	t.Helper()
	sealed, err := SealCard(tok, c, card, testID, testSigner)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// cardPlainOf gives the plaintext of a card that says text, signed for c.
func cardPlainOf(t testing.TB, c Context, text []byte) []byte {
	t.Helper()
	signed, err := cardSigned(testToken, c, text)
	if err != nil {
		t.Fatal(err)
	}
	plain := append([]byte{version1}, testID[:]...)
	plain = append(plain, ed25519.Sign(testSigner, signed)...)
	plain = binary.BigEndian.AppendUint16(plain, uint16(len(text)))
	plain = append(plain, text...)
	return append(plain, make([]byte, cardPlain-len(plain))...)
}

// sealPlain seals a plaintext as any party of the match can, honest or not: they
// all have the seal.
func sealPlain(t testing.TB, tok token.Token, c Context, plain []byte) []byte {
	t.Helper()
	aead, aad, err := cardCipher(tok, c)
	if err != nil {
		t.Fatal(err)
	}
	nonce := make([]byte, nonceSize)
	return aead.Seal(nonce, nonce, plain, aad)
}

func mustJSON(t testing.TB, c Card) []byte {
	t.Helper()
	text, err := c.JSON()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestCard(t *testing.T) {
	sealed := mustSealCard(t, testToken, testContext, testCard)
	if len(sealed) != 668 {
		t.Errorf("%d bytes, want 668", len(sealed))
	}
	card, err := OpenCard(testToken, testContext, sealed, directory)
	if err != nil || card != testCard {
		t.Errorf("another card comes out, %v", err)
	}
	if again := mustSealCard(t, testToken, testContext, testCard); bytes.Equal(again, sealed) {
		t.Error("sealed twice alike: a nonce came twice")
	}
	t.Run("the_fullest", func(t *testing.T) {
		full := Card{
			strings.Repeat("n", MaxName), strings.Repeat("r", MaxRole), strings.Repeat("d", MaxDesk),
			strings.Repeat("p", MaxPhone), strings.Repeat("e", MaxEmail), strings.Repeat("b", MaxReachable),
		}
		got, err := OpenCard(testToken, testContext, mustSealCard(t, testToken, testContext, full), directory)
		if err != nil || got != full {
			t.Errorf("another card comes out, %v", err)
		}
	})
	t.Run("of_a_desk_only", func(t *testing.T) {
		desk := Card{Desk: "Team Noord", Email: "noord@example.nl"}
		got, err := OpenCard(testToken, testContext, mustSealCard(t, testToken, testContext, desk), directory)
		if err != nil || got != desk {
			t.Errorf("another card comes out, %v", err)
		}
	})
}

// The registry, which has all cards and no seal, moves one to another place.
func TestCardOpensInItsOwnContextOnly(t *testing.T) {
	sealed := mustSealCard(t, testToken, testContext, testCard)
	for what, c := range others() {
		t.Run("rejects/another_"+what, func(t *testing.T) {
			if _, err := OpenCard(testToken, c, sealed, directory); !errors.Is(err, ErrOpen) {
				t.Errorf("%v, want ErrOpen", err)
			}
		})
	}
	for what, tok := range map[string]token.Token{
		"tag":  {Tag: token.Tag{9}, Seal: testToken.Seal},
		"seal": {Tag: testToken.Tag, Seal: token.Seal{9}},
	} {
		t.Run("rejects/another_"+what, func(t *testing.T) {
			if _, err := OpenCard(tok, testContext, sealed, directory); !errors.Is(err, ErrOpen) {
				t.Errorf("%v, want ErrOpen", err)
			}
		})
	}
}

// Another party of the match, which has the seal, takes a card out of its box and
// seals it for another place: the signature inside still says where it belongs.
func TestCardSignatureBindsItsContext(t *testing.T) {
	plain := cardPlainOf(t, testContext, mustJSON(t, testCard))
	if card, err := OpenCard(testToken, testContext, sealPlain(t, testToken, testContext, plain), directory); err != nil || card != testCard {
		t.Fatalf("in its own context: %v", err)
	}
	for what, c := range others() {
		t.Run("rejects/another_"+what, func(t *testing.T) {
			if _, err := OpenCard(testToken, c, sealPlain(t, testToken, c, plain), directory); !errors.Is(err, ErrSignature) {
				t.Errorf("%v, want ErrSignature", err)
			}
		})
	}
	t.Run("rejects/another_tag", func(t *testing.T) {
		tok := token.Token{Tag: token.Tag{9}, Seal: testToken.Seal}
		if _, err := OpenCard(tok, testContext, sealPlain(t, tok, testContext, plain), directory); !errors.Is(err, ErrSignature) {
			t.Errorf("%v, want ErrSignature", err)
		}
	})
	t.Run("rejects/another_text", func(t *testing.T) {
		other := bytes.Replace(plain, []byte("0100"), []byte("0199"), 1)
		if bytes.Equal(other, plain) {
			t.Fatal("nothing was replaced")
		}
		if _, err := OpenCard(testToken, testContext, sealPlain(t, testToken, testContext, other), directory); !errors.Is(err, ErrSignature) {
			t.Errorf("%v, want ErrSignature", err)
		}
	})
}

func TestCardKeys(t *testing.T) {
	sealed := mustSealCard(t, testToken, testContext, testCard)
	otherSigner := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	other := otherSigner.Public().(ed25519.PublicKey)
	for reason, key := range map[string]func(encoding.KeyID) (ed25519.PublicKey, bool){
		"key_unknown":            func(encoding.KeyID) (ed25519.PublicKey, bool) { return nil, false },
		"key_known_but_empty":    func(encoding.KeyID) (ed25519.PublicKey, bool) { return nil, true },
		"key_of_another_id":      func(encoding.KeyID) (ed25519.PublicKey, bool) { return other, true },
		"key_revoked_but_handed": func(encoding.KeyID) (ed25519.PublicKey, bool) { return testPublic, false },
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if _, err := OpenCard(testToken, testContext, sealed, key); !errors.Is(err, ErrKey) {
				t.Errorf("%v, want ErrKey", err)
			}
		})
	}
	t.Run("rejects/key_id_swapped", func(t *testing.T) {
		// The key named is another party's real one; the signature is not by it.
		plain := cardPlainOf(t, testContext, mustJSON(t, testCard))
		id := encoding.KeyIDOf(other)
		copy(plain[1:9], id[:])
		both := func(k encoding.KeyID) (ed25519.PublicKey, bool) {
			if k == id {
				return other, true
			}
			return directory(k)
		}
		if _, err := OpenCard(testToken, testContext, sealPlain(t, testToken, testContext, plain), both); !errors.Is(err, ErrSignature) {
			t.Errorf("%v, want ErrSignature", err)
		}
	})
	t.Run("rejects/sealing_with_another_key_than_named", func(t *testing.T) {
		if _, err := SealCard(testToken, testContext, testCard, testID, otherSigner); !errors.Is(err, ErrKey) {
			t.Errorf("%v, want ErrKey", err)
		}
	})
	t.Run("rejects/sealing_without_a_key", func(t *testing.T) {
		if _, err := SealCard(testToken, testContext, testCard, testID, nil); !errors.Is(err, ErrKey) {
			t.Errorf("%v, want ErrKey", err)
		}
	})
}

func TestOpenCardRejects(t *testing.T) {
	sealed := mustSealCard(t, testToken, testContext, testCard)
	for i := range sealed {
		flipped := bytes.Clone(sealed)
		flipped[i] ^= 0x10
		if _, err := OpenCard(testToken, testContext, flipped, directory); !errors.Is(err, ErrOpen) {
			t.Errorf("byte %d flipped: %v, want ErrOpen", i, err)
		}
	}
	for reason, b := range map[string][]byte{"empty": nil, "cut_short": sealed[:667], "longer": append(bytes.Clone(sealed), 0)} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if _, err := OpenCard(testToken, testContext, b, directory); !errors.Is(err, ErrLength) {
				t.Errorf("%v, want ErrLength", err)
			}
		})
	}

	text := mustJSON(t, testCard)
	edit := func(f func([]byte)) []byte { p := cardPlainOf(t, testContext, text); f(p); return p }
	end := cardHead + len(text)
	for reason, v := range map[string]struct {
		plain []byte
		want  error
	}{
		"version_0":               {edit(func(p []byte) { p[0] = 0 }), ErrVersion},
		"version_2":               {edit(func(p []byte) { p[0] = 2 }), ErrVersion},
		"padding_first_byte_set":  {edit(func(p []byte) { p[end] = 1 }), ErrPadding},
		"padding_last_byte_set":   {edit(func(p []byte) { p[cardPlain-1] = 1 }), ErrPadding},
		"length_one_less":         {edit(func(p []byte) { binary.BigEndian.PutUint16(p[cardHead-2:], uint16(len(text)-1)) }), ErrPadding},
		"length_one_more":         {edit(func(p []byte) { binary.BigEndian.PutUint16(p[cardHead-2:], uint16(len(text)+1)) }), ErrSignature},
		"length_beyond_the_card":  {edit(func(p []byte) { binary.BigEndian.PutUint16(p[cardHead-2:], maxJSON+1) }), ErrMalformed},
		"length_far_beyond":       {edit(func(p []byte) { binary.BigEndian.PutUint16(p[cardHead-2:], 0xffff) }), ErrMalformed},
		"signature_first_byte":    {edit(func(p []byte) { p[9] ^= 1 }), ErrSignature},
		"signature_last_byte":     {edit(func(p []byte) { p[72] ^= 1 }), ErrSignature},
		"signature_zero":          {edit(func(p []byte) { clear(p[9:73]) }), ErrSignature},
		"key_id_of_nobody":        {edit(func(p []byte) { p[1] ^= 1 }), ErrKey},
		"signed_but_no_json":      {cardPlainOf(t, testContext, []byte("geen JSON")), ErrMalformed},
		"signed_but_empty":        {cardPlainOf(t, testContext, nil), ErrMalformed},
		"signed_but_v_is_2":       {cardPlainOf(t, testContext, []byte(`{"v":2,"name":"a","phone":"1"}`)), ErrMalformed},
		"signed_but_key_twice":    {cardPlainOf(t, testContext, []byte(`{"v":1,"name":"a","name":"b"}`)), ErrMalformed},
		"signed_but_name_is_long": {cardPlainOf(t, testContext, []byte(`{"v":1,"name":"`+strings.Repeat("n", MaxName+1)+`"}`)), ErrField},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			_, err := OpenCard(testToken, testContext, sealPlain(t, testToken, testContext, v.plain), directory)
			if v.want == ErrField {
				if f, ok := errors.AsType[*FieldError](err); !ok || f.Rule != FieldTooLong {
					t.Errorf("%v, want a field that is too long", err)
				}
				return
			}
			if !errors.Is(err, v.want) {
				t.Errorf("%v, want %v", err, v.want)
			}
		})
	}
	t.Run("rejects/plaintext_of_another_length", func(t *testing.T) {
		if _, err := openCardPlain(testToken, testContext, make([]byte, cardPlain-1), directory); !errors.Is(err, ErrLength) {
			t.Errorf("%v, want ErrLength", err)
		}
	})
}

// ErrField stands in tables for "a *FieldError".
var ErrField = errors.New("a field error")

func TestCardJSON(t *testing.T) {
	const want = `{"v":1,"name":"Anna de Vries","role":"jeugdarts","desk":"Team Noord","phone":"+31 20 555 0100","email":"a.devries@example.nl","reachable":"ma–do 9–17 uur, \"spoed\" & <later>"}`
	if got := mustJSON(t, testCard); string(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
	if card, err := ParseCard([]byte(want)); err != nil || card != testCard {
		t.Errorf("another card comes back, %v", err)
	}
	// Every key is written, so that a card tells nothing by its keys.
	if got := mustJSON(t, Card{Desk: "d", Phone: "1"}); string(got) != `{"v":1,"name":"","role":"","desk":"d","phone":"1","email":"","reachable":""}` {
		t.Errorf("%s", got)
	}
}

func TestReadCard(t *testing.T) {
	const rest = `"desk":"d","phone":"1"`
	for name, v := range map[string]struct {
		text             string
		sender, receiver bool // who takes it
	}{
		"every_key_in_another_order":     {`{"reachable":"","email":"","phone":"1","desk":"d","role":"","name":"","v":1}`, true, true},
		"keys_left_out":                  {`{"v":1,` + rest + `}`, true, true},
		"spaces_around":                  {" {\"v\" : 1,\n" + rest + "}\n", true, true},
		"escapes_in_a_key":               {`{"v":1,"d\u0065sk":"d","phone":"1"}`, true, true},
		"unknown_key":                    {`{"v":1,` + rest + `,"fax":"2"}`, false, true},
		"unknown_key_with_an_object":     {`{"v":1,` + rest + `,"more":{"a":[1,{"b":null}]}}`, false, true},
		"unknown_key_with_a_huge_number": {`{"v":1,` + rest + `,"more":1e999}`, false, true},
		"key_in_another_case":            {`{"v":1,` + rest + `,"Name":"n"}`, false, true},
		"nobody_to_reach":                {`{"v":1,"role":"arts"}`, false, true},
		"no_version":                     {`{` + rest + `}`, false, false},
		"version_2":                      {`{"v":2,` + rest + `}`, false, false},
		"version_as_text":                {`{"v":"1",` + rest + `}`, false, false},
		"version_1.0":                    {`{"v":1.0,` + rest + `}`, false, false},
		"version_null":                   {`{"v":null,` + rest + `}`, false, false},
		"version_twice":                  {`{"v":1,` + rest + `,"v":1}`, false, false},
		"key_twice":                      {`{"v":1,"desk":"a",` + rest + `}`, false, false},
		"key_twice_by_an_escape":         {`{"v":1,"d\u0065sk":"a",` + rest + `}`, false, false},
		"unknown_key_twice":              {`{"v":1,` + rest + `,"fax":"2","fax":"3"}`, false, false},
		"key_twice_deeper":               {`{"v":1,` + rest + `,"more":[{"a":1,"a":2}]}`, false, false},
		"field_null":                     {`{"v":1,` + rest + `,"name":null}`, false, false},
		"field_a_number":                 {`{"v":1,` + rest + `,"name":1}`, false, false},
		"field_an_object":                {`{"v":1,` + rest + `,"name":{}}`, false, false},
		"field_with_a_control":           {`{"v":1,` + rest + `,"name":"a\u0000b"}`, false, false},
		"field_with_a_newline":           {`{"v":1,` + rest + `,"name":"a\nb"}`, false, false},
		"name_too_long":                  {`{"v":1,` + rest + `,"name":"` + strings.Repeat("é", MaxName/2) + `x"}`, false, false},
		"not_utf8":                       {"{\"v\":1," + rest + ",\"name\":\"\xff\"}", false, false},
		"list":                           {`[1]`, false, false},
		"null":                           {`null`, false, false},
		"text":                           {`"v"`, false, false},
		"nothing":                        {``, false, false},
		"two_values":                     {`{"v":1,` + rest + `}{}`, false, false},
		"not_closed":                     {`{"v":1,` + rest, false, false},
		"a_comma_too_many":               {`{"v":1,` + rest + `,}`, false, false},
		"deeply_nested":                  {`{"v":1,` + rest + `,"more":` + strings.Repeat("[", 20_000), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseCard([]byte(v.text)); (err == nil) != v.sender {
				t.Errorf("sender: %v", err)
			}
			if _, err := readCard([]byte(v.text), true); (err == nil) != v.receiver {
				t.Errorf("receiver: %v", err)
			}
		})
	}
}

func TestValidateRejects(t *testing.T) {
	edit := func(f func(*Card)) Card { c := testCard; f(&c); return c }
	for reason, v := range map[string]struct {
		card Card
		want FieldError
	}{
		"name_too_long":         {edit(func(c *Card) { c.Name = strings.Repeat("n", MaxName+1) }), FieldError{"name", FieldTooLong, MaxName}},
		"role_too_long":         {edit(func(c *Card) { c.Role = strings.Repeat("n", MaxRole+1) }), FieldError{"role", FieldTooLong, MaxRole}},
		"desk_too_long":         {edit(func(c *Card) { c.Desk = strings.Repeat("n", MaxDesk+1) }), FieldError{"desk", FieldTooLong, MaxDesk}},
		"phone_too_long":        {edit(func(c *Card) { c.Phone = strings.Repeat("n", MaxPhone+1) }), FieldError{"phone", FieldTooLong, MaxPhone}},
		"email_too_long":        {edit(func(c *Card) { c.Email = strings.Repeat("n", MaxEmail+1) }), FieldError{"email", FieldTooLong, MaxEmail}},
		"reachable_too_long":    {edit(func(c *Card) { c.Reachable = strings.Repeat("n", MaxReachable+1) }), FieldError{"reachable", FieldTooLong, MaxReachable}},
		"all_together_too_long": {Card{strings.Repeat(`"`, MaxName), strings.Repeat(`"`, MaxRole), strings.Repeat(`"`, MaxDesk), "1", "", strings.Repeat(`"`, MaxReachable)}, FieldError{"card", FieldTooLong, 565}},
		"neither_name_nor_desk": {edit(func(c *Card) { c.Name, c.Desk = "", "" }), FieldError{"name", FieldMissing, 0}},
		"neither_phone_nor_email": {edit(func(c *Card) { c.Phone, c.Email = "", "" }),
			FieldError{"phone", FieldMissing, 0}},
		"name_not_utf8":          {edit(func(c *Card) { c.Name = "a\xff" }), FieldError{"name", FieldText, 0}},
		"reachable_with_newline": {edit(func(c *Card) { c.Reachable = "a\nb" }), FieldError{"reachable", FieldText, 0}},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			f, ok := errors.AsType[*FieldError](v.card.Validate())
			if !ok || *f != v.want {
				t.Errorf("%v, want %v", f, &v.want)
			}
			if _, err := SealCard(testToken, testContext, v.card, testID, testSigner); err == nil {
				t.Error("sealed all the same")
			}
			if ok && strings.Contains(fmt.Sprint(f), "Vries") {
				t.Errorf("the error repeats what was given: %v", f)
			}
		})
	}
}

func FuzzCardJSON(f *testing.F) {
	f.Add(string(mustJSON(f, testCard)))
	f.Add(`{"v":1,"desk":"d","phone":"1"}`)
	f.Add(`{"v":1,"desk":"d","phone":"1","more":[{"a":1,"a":2}]}`)
	f.Add(`{"v":1,"desk":"\ud800","phone":"1"}`)
	f.Fuzz(func(t *testing.T, text string) {
		card, err := ParseCard([]byte(text))
		if err != nil {
			return
		}
		if got, err := readCard([]byte(text), true); err != nil || got != card {
			t.Errorf("a receiver reads another card than its sender: %v", err)
		}
		again, err := card.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseCard(again); err != nil || got != card {
			t.Errorf("another card comes back: %v", err)
		}
	})
}

// FuzzCardPlain holds the reading of a plaintext to two promises: padding is zeros
// and what it reads is what was signed, so nobody else's bytes pass.
func FuzzCardPlain(f *testing.F) {
	good := cardPlainOf(f, testContext, mustJSON(f, testCard))
	f.Add(good)
	f.Add(cardPlainOf(f, testContext, []byte("{}")))
	f.Add(make([]byte, cardPlain))
	f.Fuzz(func(t *testing.T, plain []byte) {
		if card, err := openCardPlain(testToken, testContext, plain, directory); err == nil && (card != testCard || !bytes.Equal(plain, good)) {
			t.Errorf("%x passes", plain)
		}
	})
}
