// SPDX-License-Identifier: EUPL-1.2

package gatewaytest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// An Issuer is an authorisation server behind real TLS: it serves its discovery document
// and keys, and signs whatever the test says.
type Issuer struct {
	URL   string
	Roots string // file with the CA

	t   testing.TB
	now func() time.Time

	mu             sync.Mutex
	keys           map[string]crypto.Signer // by kid, those that it serves
	kid            string                   // of the newest
	down           bool
	answer         func(http.ResponseWriter, *http.Request) bool
	asked, rotated int
}

// NewIssuer starts an issuer with one RSA key.
func NewIssuer(t testing.TB, now func() time.Time) *Issuer {
	t.Helper()
	i := &Issuer{t: t, now: now, keys: map[string]crypto.Signer{}}
	server := httptest.NewTLSServer(http.HandlerFunc(i.serve))
	t.Cleanup(server.Close)
	i.URL = server.URL
	i.Roots = filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(i.Roots, text, 0o600); err != nil {
		t.Fatal(err)
	}
	i.Rotate("RS256")
	return i
}

// Rotate has the issuer sign with a new key from now on, for an algorithm, and serve no
// older one any more.
func (i *Issuer) Rotate(alg string) {
	var key crypto.Signer
	var err error
	switch alg {
	case "RS256", "PS256":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ES256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "EdDSA":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		i.t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.rotated++
	i.kid = fmt.Sprintf("%s-%d", alg, i.rotated)
	i.keys = map[string]crypto.Signer{i.kid: key}
}

// Key is the key that the issuer signs with.
func (i *Issuer) Key() crypto.Signer {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keys[i.kid]
}

// Down has the issuer answer 503, or no longer.
func (i *Issuer) Down(down bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = down
}

// Answer has fn answer first; where it gives false the issuer does. What it would say
// fn finds by Says.
func (i *Issuer) Answer(fn func(http.ResponseWriter, *http.Request) bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = fn
}

// Asked is how many requests the issuer had.
func (i *Issuer) Asked() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked
}

func (i *Issuer) serve(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.asked++
	down, answer := i.down, i.answer
	i.mu.Unlock()
	if down {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if answer != nil && answer(w, r) {
		return
	}
	body := i.Says(r.URL.Path)
	if body == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(body)
}

// Says is what the issuer has under a path; nil if nothing.
func (i *Issuer) Says(path string) []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	var answer any
	switch path {
	case "/.well-known/openid-configuration":
		answer = map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys", "id_token_signing_alg_values_supported": []string{"RS256"}}
	case "/keys":
		var keys []any
		for kid, key := range i.keys {
			keys = append(keys, jwk(kid, key))
		}
		answer = map[string]any{"keys": keys}
	default:
		return nil
	}
	text, err := json.Marshal(answer)
	if err != nil {
		panic(err)
	}
	return text
}

func jwk(kid string, key crypto.Signer) map[string]any {
	switch public := key.Public().(type) {
	case *rsa.PublicKey:
		return map[string]any{"kid": kid, "kty": "RSA", "n": encode(public.N.Bytes()), "e": encode(big.NewInt(int64(public.E)).Bytes())}
	case *ecdsa.PublicKey:
		point, err := public.Bytes()
		if err != nil {
			panic(err)
		}
		return map[string]any{"kid": kid, "kty": "EC", "crv": "P-256", "x": encode(point[1:33]), "y": encode(point[33:])}
	case ed25519.PublicKey:
		return map[string]any{"kid": kid, "kty": "OKP", "crv": "Ed25519", "x": encode(public)}
	}
	panic("no such key")
}

// Claims are those of a good access token of a client, for an hour.
func (i *Issuer) Claims(client, audience string) map[string]any {
	now := i.now()
	return map[string]any{
		"iss": i.URL, "aud": audience, "sub": client, "client_id": client, "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
}

// Token signs a good access token.
func (i *Issuer) Token(client, audience string) string {
	return i.Sign(nil, i.Claims(client, audience), nil)
}

// Sign signs claims with the issuer's key, or another; the header is that of an access
// token with these changes.
func (i *Issuer) Sign(header, claims map[string]any, key crypto.Signer) string {
	i.mu.Lock()
	whole := map[string]any{"typ": "at+jwt", "kid": i.kid}
	if key == nil {
		key = i.keys[i.kid]
	}
	i.mu.Unlock()
	switch key.(type) {
	case *rsa.PrivateKey:
		whole["alg"] = "RS256"
	case *ecdsa.PrivateKey:
		whole["alg"] = "ES256"
	case ed25519.PrivateKey:
		whole["alg"] = "EdDSA"
	}
	for name, value := range header {
		if whole[name] = value; value == nil {
			delete(whole, name)
		}
	}
	signed := encodeJSON(whole) + "." + encodeJSON(claims)
	return signed + "." + encode(signature(whole["alg"].(string), key, []byte(signed)))
}

func signature(alg string, key crypto.Signer, text []byte) []byte {
	digest := sha256.Sum256(text)
	var sig []byte
	var err error
	switch key := key.(type) {
	case *rsa.PrivateKey:
		switch alg {
		case "HS256": // with the public key as the secret
			mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: key.N.Bytes()}))
			mac.Write(text)
			return mac.Sum(nil)
		case "none":
			return nil
		case "PS256":
			sig, err = rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		default:
			sig, err = rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
		}
	case *ecdsa.PrivateKey:
		r, s, failed := ecdsa.Sign(rand.Reader, key, digest[:])
		if err = failed; err == nil {
			sig = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		}
	case ed25519.PrivateKey:
		sig = ed25519.Sign(key, text)
	}
	if err != nil {
		panic(err)
	}
	return sig
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func encodeJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return encode(text)
}
