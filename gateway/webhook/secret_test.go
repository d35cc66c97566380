// SPDX-License-Identifier: EUPL-1.2

package webhook_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	oracle "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/seinhuis/seinhuis/gateway/webhook"
)

func headers(id string, at time.Time, signature string) http.Header {
	h := http.Header{}
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
	h.Set("webhook-signature", signature)
	return h
}

func TestHMACAgainstTheStandardsOwnLibrary(t *testing.T) {
	at, body := time.Now(), []byte(`{"a":"é"}`)
	for _, size := range []int{webhook.MinSecret, 32, webhook.MaxSecret} {
		text := "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xfb}, size))
		s, err := webhook.ParseSecret(text)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := oracle.NewWebhook(text)
		if err != nil {
			t.Fatal(err)
		}
		want, err := theirs.Sign("e-1", at, body)
		if err != nil {
			t.Fatal(err)
		}
		if got := webhook.Sign("e-1", at, body, s); got != want {
			t.Errorf("%d bytes: %s, the library has %s", size, got, want)
		}
	}
}

// While a secret rotates each of its holders finds a signature that is his.
func TestSeveralSignatures(t *testing.T) {
	at, body := time.Now(), []byte(`{}`)
	old, current, pair := webhook.NewSecret(webhook.HMAC), webhook.NewSecret(webhook.HMAC), webhook.NewSecret(webhook.Ed25519)
	h := headers("e-1", at, webhook.Sign("e-1", at, body, current, old, pair))
	for _, s := range []webhook.Secret{old, current} {
		theirs, err := oracle.NewWebhook(s.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		if err := theirs.Verify(body, h); err != nil {
			t.Error(err)
		}
		if theirs.Verify([]byte(`{ }`), h) == nil {
			t.Error("another body verifies")
		}
	}
	if n := len(strings.Fields(h.Get("webhook-signature"))); n != 3 {
		t.Errorf("%d signatures", n)
	}
}

// The vector of Svix's server, whose people wrote the standard (svix-webhooks,
// worker.rs, test_asymmetric_key_signing).
func TestEd25519AgainstAVector(t *testing.T) {
	const key = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
	s, err := webhook.ParseSecret(key)
	if err != nil {
		t.Fatal(err)
	}
	if s.Reveal() != key || s.Public() != "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=" {
		t.Error("the key pair is written otherwise")
	}
	const want = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
	if got := webhook.Sign("msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`), s); got != want {
		t.Errorf("signed %s", got)
	}
}

func TestANewKeyPairVerifies(t *testing.T) {
	s, at := webhook.NewSecret(webhook.Ed25519), time.Unix(1_800_000_000, 0)
	public, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s.Public(), "whpk_"))
	if err != nil {
		t.Fatal(err)
	}
	signature, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(webhook.Sign("e", at, []byte("b"), s), "v1a,"))
	if err != nil {
		t.Fatal(err)
	}
	if !ed25519.Verify(public, []byte("e.1800000000.b"), signature) {
		t.Error("the signature is not over id.timestamp.body")
	}
}

func TestParseSecret(t *testing.T) {
	pair := webhook.NewSecret(webhook.Ed25519).Reveal()
	raw, _ := base64.StdEncoding.DecodeString(pair[5:])
	raw[63] ^= 1
	of := func(prefix string, n int) string { return prefix + base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for name, text := range map[string]string{
		"short": of("whsec_", 23), "long": of("whsec_", 65), "no_prefix": of("", 32), "no_base64": "whsec_%",
		"public_key": of("whpk_", 32), "half_a_key": of("whsk_", 48), "halves_of_two_keys": "whsk_" + base64.StdEncoding.EncodeToString(raw),
		"loose_bits": "whsec_" + strings.Repeat("A", 33) + "B==", "empty": "",
		"line_break": of("whsec_", 24)[:20] + "\n" + of("whsec_", 24)[20:],
	} {
		t.Run("rejects/"+name, func(t *testing.T) {
			if _, err := webhook.ParseSecret(text); err != webhook.ErrSecret {
				t.Errorf("got %v", err)
			}
		})
	}
	if s, err := webhook.ParseSecret("whsk_" + base64.StdEncoding.EncodeToString(raw[:32])); err != nil || s.Reveal() != pair {
		t.Error("a seed alone is not the key pair", err)
	}
}

func FuzzParseSecret(f *testing.F) {
	f.Add(webhook.NewSecret(webhook.HMAC).Reveal())
	f.Add(webhook.NewSecret(webhook.Ed25519).Reveal())
	f.Fuzz(func(t *testing.T, text string) {
		s, err := webhook.ParseSecret(text)
		if err != nil {
			return
		}
		// A seed alone is written with its public half.
		if again := s.Reveal(); again != text && !strings.HasPrefix(again, strings.TrimRight(text, "=")[:len("whsk_")+42]) {
			t.Error("what was parsed is written otherwise")
		}
	})
}

func TestASecretDoesNotPrint(t *testing.T) {
	for _, s := range []webhook.Secret{webhook.NewSecret(webhook.HMAC), webhook.NewSecret(webhook.Ed25519)} {
		var b bytes.Buffer
		fmt.Fprintf(&b, "%v %+v %#v %s %x %d", s, s, s, s, s, s)
		slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "s", s)
		if err := json.NewEncoder(&b).Encode(map[string]any{"s": s}); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(b.String(), "[webhook secret]"); n != 8 || strings.Contains(b.String(), s.Reveal()[8:20]) {
			t.Errorf("it prints as %s", &b)
		}
	}
}
