// SPDX-License-Identifier: EUPL-1.2

package token

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// RFC 5869 appendix A.1 to A.3, the expand step.
func TestKDFIsRFC5869Expand(t *testing.T) {
	for name, v := range map[string]struct{ prk, info, okm string }{
		"A.1": {
			"077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
			"f0f1f2f3f4f5f6f7f8f9",
			"3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
		},
		"A.3": {
			"19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
			"",
			"8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
		},
	} {
		t.Run(name, func(t *testing.T) {
			prk, _ := hex.DecodeString(v.prk)
			info, _ := hex.DecodeString(v.info)
			okm, _ := hex.DecodeString(v.okm)
			got, err := KDF(prk, info, len(okm))
			if err != nil || !bytes.Equal(got, okm) {
				t.Errorf("%x, %v; want %x", got, err, okm)
			}
		})
	}
	t.Run("rejects/more_than_255_blocks", func(t *testing.T) {
		if _, err := KDF(make([]byte, 32), nil, 255*32+1); err == nil {
			t.Error("accepted")
		}
	})
}

func TestDerive(t *testing.T) {
	y := bytes.Repeat([]byte{7}, OutputSize)
	token, err := Derive(y, "demo", 1)
	if err != nil {
		t.Fatal(err)
	}
	// The info strings written out, so that a changed encoding cannot go unseen.
	for want, info := range map[[32]byte]string{
		token.Tag:  "\x00\x0eseinhuis/1/tag\x00\x04demo\x00\x011",
		token.Seal: "\x00\x0fseinhuis/1/seal\x00\x04demo\x00\x011",
	} {
		if got, err := KDF(y, []byte(info), 32); err != nil || !bytes.Equal(got, want[:]) {
			t.Errorf("%x, %v; want %x", got, err, want)
		}
	}

	seen := map[[32]byte]string{token.Tag: "tag", token.Seal: "seal"}
	otherY := bytes.Clone(y)
	otherY[63] ^= 1
	for name, other := range map[string]func() (Token, error){
		"output":     func() (Token, error) { return Derive(otherY, "demo", 1) },
		"deployment": func() (Token, error) { return Derive(y, "demo2", 1) },
		"epoch":      func() (Token, error) { return Derive(y, "demo", 2) },
	} {
		got, err := other()
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range [][32]byte{got.Tag, got.Seal} {
			if before, ok := seen[secret]; ok {
				t.Errorf("another %s gives what %s gave", name, before)
			}
			seen[secret] = "another " + name
		}
	}
}

func TestDeriveRejects(t *testing.T) {
	for reason, n := range map[string]int{"nothing": 0, "cut_short": OutputSize - 1, "too_long": OutputSize + 1} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if _, err := Derive(make([]byte, n), "demo", 1); !errors.Is(err, ErrOutput) {
				t.Errorf("%v, want ErrOutput", err)
			}
		})
	}
	t.Run("rejects/deployment_longer_than_a_field", func(t *testing.T) {
		if _, err := Derive(make([]byte, OutputSize), strings.Repeat("a", 1<<16), 1); err == nil {
			t.Error("accepted")
		}
	})
}

func TestRedaction(t *testing.T) {
	token, err := Derive(bytes.Repeat([]byte{7}, OutputSize), "demo", 1)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d"} {
		fmt.Fprintf(&out, verb+" "+verb+"\n", token, &token)
	}
	text, err := json.Marshal(token)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	slog.New(slog.NewTextHandler(&out, nil)).Info("event", "token", token, "tag", token.Tag, "seal", token.Seal)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("event", "token", token, "tag", token.Tag, "seal", token.Seal)
	for _, secret := range [][32]byte{token.Tag, token.Seal} {
		for _, form := range []string{"%x", "%X", "%d", "%v", "%s", "%q"} {
			// Four bytes of it are enough to tell.
			if leak := strings.Trim(fmt.Sprintf(form, secret[4:8]), `[]"`); strings.Contains(out.String(), leak) {
				t.Errorf("%s of a secret is in\n%s", form, &out)
			}
		}
	}
	if !strings.Contains(out.String(), "[tag]") || !strings.Contains(out.String(), "[seal]") {
		t.Errorf("neither [tag] nor [seal] in\n%s", &out)
	}
}
