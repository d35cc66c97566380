// SPDX-License-Identifier: EUPL-1.2

package webhook

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// A Scheme is a way to sign, as Standard Webhooks names it in a signature.
type Scheme string

// Schemes of Standard Webhooks.
const (
	HMAC    Scheme = "v1"  // HMAC-SHA256
	Ed25519 Scheme = "v1a" // Ed25519, RFC 8032
)

// Lengths of an HMAC secret in bytes (Standard Webhooks, "Signature scheme").
const (
	MinSecret = 24
	MaxSecret = 64
)

const (
	prefixSecret  = "whsec_"
	prefixSigning = "whsk_"
	prefixPublic  = "whpk_"
	newSecret     = 32
)

// ErrSecret says that a text is no secret or signing key of Standard Webhooks.
var ErrSecret = errors.New("webhook: not a secret (whsec_, 24 to 64 bytes) or signing key (whsk_, seed and public key)")

// A Secret signs events for one receiver. It prints as [webhook secret].
type Secret struct {
	shared []byte             // of HMAC
	key    ed25519.PrivateKey // of Ed25519
}

// NewSecret makes a secret of 32 bytes, or a key pair.
func NewSecret(scheme Scheme) Secret {
	seed := make([]byte, newSecret)
	rand.Read(seed)
	if scheme == Ed25519 {
		return Secret{key: ed25519.NewKeyFromSeed(seed)}
	}
	return Secret{shared: seed}
}

// ParseSecret reads what Reveal gives. A signing key may come without its public half,
// and one whose halves do not belong together is refused: it would sign what nobody
// can verify.
func ParseSecret(text string) (Secret, error) {
	if strings.ContainsAny(text, "\r\n") { // which base64 passes over
		return Secret{}, ErrSecret
	}
	if encoded, ok := strings.CutPrefix(text, prefixSecret); ok {
		raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if err != nil || len(raw) < MinSecret || len(raw) > MaxSecret {
			return Secret{}, ErrSecret
		}
		return Secret{shared: raw}, nil
	}
	encoded, ok := strings.CutPrefix(text, prefixSigning)
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if !ok || err != nil || len(raw) != ed25519.SeedSize && len(raw) != ed25519.PrivateKeySize {
		return Secret{}, ErrSecret
	}
	key := ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize])
	if len(raw) == ed25519.PrivateKeySize && !key.Equal(ed25519.PrivateKey(raw)) {
		return Secret{}, ErrSecret
	}
	return Secret{key: key}, nil
}

// Scheme is how the secret signs.
func (s Secret) Scheme() Scheme {
	if s.key != nil {
		return Ed25519
	}
	return HMAC
}

// Reveal gives the secret itself: whsec_ or whsk_ and base64.
func (s Secret) Reveal() string {
	if s.key != nil {
		return prefixSigning + base64.StdEncoding.EncodeToString(s.key)
	}
	return prefixSecret + base64.StdEncoding.EncodeToString(s.shared)
}

// Public is what a receiver verifies v1a with, whpk_ and base64; empty for HMAC.
func (s Secret) Public() string {
	if s.key == nil {
		return ""
	}
	return prefixPublic + base64.StdEncoding.EncodeToString(s.key.Public().(ed25519.PublicKey))
}

// Format prints [webhook secret], whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[webhook secret]") }

// LogValue logs [webhook secret].
func (Secret) LogValue() slog.Value { return slog.StringValue("[webhook secret]") }

// MarshalText writes [webhook secret].
func (Secret) MarshalText() ([]byte, error) { return []byte("[webhook secret]"), nil }

// Sign gives the value of webhook-signature: a signature per secret over
// `id.timestamp.body`, with the time in whole Unix seconds.
func Sign(id string, at time.Time, body []byte, secrets ...Secret) string {
	signed := append([]byte(id+"."+strconv.FormatInt(at.Unix(), 10)+"."), body...)
	list := make([]string, len(secrets))
	for i, s := range secrets {
		var signature []byte
		if s.key != nil {
			signature = ed25519.Sign(s.key, signed)
		} else {
			mac := hmac.New(sha256.New, s.shared)
			mac.Write(signed)
			signature = mac.Sum(nil)
		}
		list[i] = string(s.Scheme()) + "," + base64.StdEncoding.EncodeToString(signature)
	}
	return strings.Join(list, " ")
}
