// SPDX-License-Identifier: EUPL-1.2

package oauth_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/gateway/oauth"
)

const client, audience = "dossiersysteem", "https://poort.example"

// A clock that the test holds.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func setUp(t *testing.T) (*gatewaytest.Issuer, *clock, func(token string) error) {
	t.Helper()
	at := &clock{at: time.Date(2027, 3, 4, 12, 0, 0, 0, time.UTC)}
	issuer := gatewaytest.NewIssuer(t, at.now)
	text, err := os.ReadFile(issuer.Roots)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	v := oauth.New([]oauth.Issuer{{URL: issuer.URL, Root: roots}}, at.now)
	return issuer, at, func(token string) error {
		said, err := v.Verify(t.Context(), token, func(url, id string) (string, bool) {
			return audience, url == issuer.URL && id == client
		})
		if err == nil && (said.ClientID != client || said.Issuer != issuer.URL || !said.Expires.After(at.now())) {
			t.Errorf("the token says %q of %q until %s", said.ClientID, said.Issuer, said.Expires)
		}
		for part := range strings.SplitSeq(token, ".") {
			if err != nil && len(part) > 10 && strings.Contains(err.Error(), part[:10]) {
				t.Error("the error repeats the token")
			}
		}
		return err
	}
}

func TestVerify(t *testing.T) {
	issuer, at, verify := setUp(t)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	claims := func(changes map[string]any) map[string]any {
		c := issuer.Claims(client, audience)
		for name, value := range changes {
			if c[name] = value; value == nil {
				delete(c, name)
			}
		}
		return c
	}
	unix := func(d time.Duration) int64 { return at.now().Add(d).Unix() }
	type set = map[string]any
	for name, token := range map[string]string{
		"at+jwt":             issuer.Token(client, audience),
		"application/at+jwt": issuer.Sign(set{"typ": "application/AT+JWT"}, claims(nil), nil),
		"one_of_audiences":   issuer.Sign(nil, claims(set{"aud": []string{"anders", audience}}), nil),
		"clocks_that_differ": issuer.Sign(nil, claims(set{"iat": unix(30 * time.Second), "nbf": unix(30 * time.Second)}), nil),
		"PS256":              issuer.Sign(set{"alg": "PS256"}, claims(nil), nil),
	} {
		if err := verify(token); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := strings.Split(issuer.Token(client, audience), ".")
	for name, token := range map[string]string{
		"nothing":                "",
		"no_jwt":                 "a.b.c",
		"no_typ":                 issuer.Sign(set{"typ": nil}, claims(nil), nil),
		"id_token":               issuer.Sign(set{"typ": "JWT"}, claims(nil), nil),
		"another_audience":       issuer.Sign(nil, claims(set{"aud": "https://elders.example"}), nil),
		"no_audience":            issuer.Sign(nil, claims(set{"aud": nil}), nil),
		"another_issuer":         issuer.Sign(nil, claims(set{"iss": "https://elders.example"}), nil),
		"no_issuer":              issuer.Sign(nil, claims(set{"iss": nil}), nil),
		"expired":                issuer.Sign(nil, claims(set{"exp": unix(0)}), nil),
		"never_expires":          issuer.Sign(nil, claims(set{"exp": nil}), nil),
		"not_valid_yet":          issuer.Sign(nil, claims(set{"nbf": unix(50 * time.Minute)}), nil),
		"issued_in_the_future":   issuer.Sign(nil, claims(set{"iat": unix(50 * time.Minute)}), nil),
		"no_time_of_issue":       issuer.Sign(nil, claims(set{"iat": nil}), nil),
		"no_subject":             issuer.Sign(nil, claims(set{"sub": nil}), nil),
		"no_client":              issuer.Sign(nil, claims(set{"client_id": nil}), nil),
		"no_id":                  issuer.Sign(nil, claims(set{"jti": nil}), nil),
		"foreign_client":         issuer.Sign(nil, claims(set{"client_id": "anders"}), nil),
		"bound_to_a_key":         issuer.Sign(nil, claims(set{"cnf": set{"jkt": "x"}}), nil),
		"another_key":            issuer.Sign(nil, claims(nil), other),
		"another_key_and_no_kid": issuer.Sign(set{"kid": nil}, claims(nil), other),
		"key_that_it_brings":     issuer.Sign(set{"jwk": set{"kty": "RSA", "n": "AQAB", "e": "AQAB"}}, claims(nil), other),
		"none":                   issuer.Sign(set{"alg": "none"}, claims(nil), nil),
		"HS256_with_public_key":  issuer.Sign(set{"alg": "HS256"}, claims(nil), nil),
		"RS512":                  issuer.Sign(set{"alg": "RS512"}, claims(nil), nil),
		"critical_extension":     issuer.Sign(set{"crit": []string{"x"}, "x": 1}, claims(nil), nil),
		"other_claims":           good[0] + "." + strings.Split(issuer.Sign(nil, claims(set{"scope": "beheer"}), nil), ".")[1] + "." + good[2],
		"no_signature":           good[0] + "." + good[1] + ".",
		"four_parts":             strings.Join(good, ".") + ".x",
		"too_long":               issuer.Sign(set{"x": strings.Repeat("x", 20000)}, claims(nil), nil),
	} {
		t.Run("rejects/"+name, func(t *testing.T) {
			at.advance(10 * time.Second) // so that another key may be asked for
			if err := verify(token); !errors.Is(err, oauth.ErrToken) {
				t.Errorf("%v", err)
			}
		})
	}
	if err := verify(strings.Join(good, ".")); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

// What go-oidc lets pass is refused here: it takes a token at the very second of its end,
// and one that begins within five minutes.
func TestTimesToTheSecond(t *testing.T) {
	issuer, at, verify := setUp(t)
	for _, c := range []struct {
		claim string
		after time.Duration
		valid bool
	}{
		{"exp", 0, false},
		{"exp", time.Second, true},
		{"nbf", time.Minute, true},
		{"nbf", time.Minute + time.Second, false},
		{"iat", time.Minute, true},
		{"iat", time.Minute + time.Second, false},
	} {
		claims := issuer.Claims(client, audience)
		claims[c.claim] = at.now().Add(c.after).Unix()
		err := verify(issuer.Sign(nil, claims, nil))
		if c.valid && err != nil || !c.valid && !errors.Is(err, oauth.ErrToken) {
			t.Errorf("%s in %s: %v", c.claim, c.after, err)
		}
	}
}

func TestScope(t *testing.T) {
	issuer, at, _ := setUp(t)
	text, err := os.ReadFile(issuer.Roots)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	v := oauth.New([]oauth.Issuer{{URL: issuer.URL, Root: roots}}, at.now)
	known := func(string, string) (string, bool) { return audience, true }
	for scope, want := range map[string]int{"": 0, "aanmelden": 1, "openid  matches aanmelden": 3} {
		c := issuer.Claims(client, audience)
		c["scope"] = scope
		if said, err := v.Verify(t.Context(), issuer.Sign(nil, c, nil), known); err != nil || said.Scope == nil || len(said.Scope) != want {
			t.Errorf("%q: %d scopes (%v)", scope, len(said.Scope), err)
		}
	}
	if said, err := v.Verify(t.Context(), issuer.Token(client, audience), known); err != nil || said.Scope != nil {
		t.Errorf("no scope: %v", err)
	}
}

// soon verifies a token right after the keys were asked for: for a moment go-oidc has
// whoever comes next share what came of that, and keeps the keys of before. It gives the
// error that is wanted, or the last one.
func soon(verify func(string) error, token string, want error) (err error) {
	for range 1000 {
		if err = verify(token); errors.Is(err, want) {
			return err
		}
		runtime.Gosched()
	}
	return err
}

// A new key is found when a token names it, and the old one ends with the next fetch.
func TestKeysRotate(t *testing.T) {
	issuer, at, verify := setUp(t)
	old := issuer.Sign(nil, issuer.Claims(client, audience), nil)
	for _, alg := range []string{"RS256", "ES256", "EdDSA", "PS256"} {
		if err := verify(old); err != nil {
			t.Errorf("before %s: %v", alg, err)
		}
		issuer.Rotate(alg)
		header := map[string]any{}
		if alg == "PS256" {
			header["alg"] = alg
		}
		token := issuer.Sign(header, issuer.Claims(client, audience), nil)
		if err := soon(verify, token, nil); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
		if err := soon(verify, old, oauth.ErrToken); !errors.Is(err, oauth.ErrToken) {
			t.Errorf("with a key from before %s: %v", alg, err)
		}
		old = token
		at.advance(10 * time.Second)
	}
}

// A key that the issuer took back ends within ten minutes, though nobody uses a new one.
func TestAKeyThatWasTakenBackEnds(t *testing.T) {
	issuer, at, verify := setUp(t)
	old := issuer.Token(client, audience)
	if err := verify(old); err != nil {
		t.Fatal(err)
	}
	issuer.Rotate("RS256")
	at.advance(10 * time.Minute)
	if err := verify(old); !errors.Is(err, oauth.ErrToken) {
		t.Errorf("%v", err)
	}
}

// While the issuer is away, what is known goes on; what is not is told apart from a
// token that is wrong.
func TestIssuerAway(t *testing.T) {
	issuer, at, verify := setUp(t)
	issuer.Down(true)
	token := issuer.Token(client, audience)
	if err := verify(token); !errors.Is(err, oauth.ErrIssuer) {
		t.Errorf("before anything is known: %v", err)
	}
	issuer.Down(false)
	at.advance(time.Minute)
	if err := verify(token); err != nil {
		t.Errorf("when it is back: %v", err)
	}
	issuer.Down(true)
	for range 3 {
		at.advance(15 * time.Minute)
		if err := verify(issuer.Token(client, audience)); err != nil {
			t.Errorf("with a key that is known: %v", err)
		}
	}
	issuer.Rotate("ES256")
	if err := verify(issuer.Token(client, audience)); !errors.Is(err, oauth.ErrIssuer) {
		t.Errorf("with a key that is not: %v", err)
	}
}

// keysAway has the issuer answer everything but what its keys are, or everything.
func keysAway(issuer *gatewaytest.Issuer, away bool) {
	issuer.Answer(func(w http.ResponseWriter, r *http.Request) bool {
		if !away || r.URL.Path != "/keys" {
			return false
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
}

// A good token is not called wrong because the keys are away, and forged ones have had
// them asked for as often as may be.
func TestKeysAwayAndForgedTokens(t *testing.T) {
	issuer, at, verify := setUp(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	forge := func() {
		t.Helper()
		forged := issuer.Sign(map[string]any{"kid": "made up"}, issuer.Claims(client, audience), key)
		before := issuer.Asked()
		for range 50 {
			if err := verify(forged); err == nil {
				t.Fatal("a forged token is taken")
			}
		}
		if n := issuer.Asked() - before; n > 12 {
			t.Errorf("it was asked %d times", n)
		}
	}
	keysAway(issuer, true)
	forge()
	token := issuer.Token(client, audience)
	if err := verify(token); !errors.Is(err, oauth.ErrIssuer) {
		t.Errorf("before anything is known: %v", err)
	}
	keysAway(issuer, false)
	at.advance(time.Minute)
	if err := soon(verify, token, nil); err != nil {
		t.Errorf("when they are back: %v", err)
	}
	issuer.Rotate("RS256")
	keysAway(issuer, true)
	forge()
	if err := verify(issuer.Token(client, audience)); !errors.Is(err, oauth.ErrIssuer) {
		t.Errorf("with a key that is new: %v", err)
	}
	if err := verify(token); err != nil {
		t.Errorf("with a key that is known: %v", err)
	}
}

// Tokens that nobody signed do not have the issuer asked without end.
func TestAnIssuerIsNotAskedWithoutEnd(t *testing.T) {
	issuer, at, verify := setUp(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	forged := issuer.Sign(map[string]any{"kid": "made up"}, issuer.Claims(client, audience), key)
	for range 100 {
		if err := verify(forged); !errors.Is(err, oauth.ErrToken) {
			t.Fatal(err)
		}
	}
	if n := issuer.Asked(); n > 12 {
		t.Errorf("it was asked %d times", n)
	}
	issuer.Rotate("RS256")
	fresh := issuer.Token(client, audience)
	if err := verify(fresh); !errors.Is(err, oauth.ErrToken) {
		t.Errorf("a key that may not be asked for yet: %v", err)
	}
	at.advance(10 * time.Second)
	if err := soon(verify, fresh, nil); err != nil {
		t.Errorf("when it may: %v", err)
	}
	if err := verify(issuer.Token(client, audience)); err != nil {
		t.Errorf("a good token after that: %v", err)
	}
}

// What an issuer says is taken from where it says it, in a size that keys can have; with
// the same keys from there a token is good.
func TestWhatAnIssuerMayAnswer(t *testing.T) {
	const discovery, keys = "/.well-known/openid-configuration", "/keys"
	const most = 1 << 20
	// with has what the issuer answers under a path changed.
	with := func(issuer *gatewaytest.Issuer, path string, change func([]byte) []byte) {
		issuer.Answer(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != path {
				return false
			}
			_, _ = w.Write(change(issuer.Says(path)))
			return true
		})
	}
	redirect := func(issuer *gatewaytest.Issuer, path string) {
		issuer.Answer(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != path || r.URL.RawQuery != "" {
				return false
			}
			http.Redirect(w, r, path+"?moved", http.StatusFound)
			return true
		})
	}
	padded := func(size int) func([]byte) []byte {
		return func(text []byte) []byte { return append(text, bytes.Repeat([]byte(" "), size-len(text))...) }
	}
	elsewhere := func(issuer *gatewaytest.Issuer, host string) {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(issuer.Says(keys)) }))
		t.Cleanup(server.Close)
		url := "http://" + host + server.URL[strings.LastIndex(server.URL, ":"):]
		with(issuer, discovery, func(text []byte) []byte {
			return bytes.ReplaceAll(text, []byte(issuer.URL+keys), []byte(url))
		})
	}
	for name, set := range map[string]func(*gatewaytest.Issuer){
		"keys":                         func(*gatewaytest.Issuer) {},
		"discovery_of_the_most":        func(i *gatewaytest.Issuer) { with(i, discovery, padded(most)) },
		"keys_of_the_most":             func(i *gatewaytest.Issuer) { with(i, keys, padded(most)) },
		"keys_on_this_machine":         func(i *gatewaytest.Issuer) { elsewhere(i, "127.0.0.1") },
		"rejects/keys_in_the_clear":    func(i *gatewaytest.Issuer) { elsewhere(i, "[::ffff:127.0.0.1]") },
		"rejects/too_long_a_discovery": func(i *gatewaytest.Issuer) { with(i, discovery, padded(most+1)) },
		"rejects/too_many_keys":        func(i *gatewaytest.Issuer) { with(i, keys, padded(most+1)) },
		"rejects/discovery_that_moved": func(i *gatewaytest.Issuer) { redirect(i, discovery) },
		"rejects/keys_that_moved":      func(i *gatewaytest.Issuer) { redirect(i, keys) },
		"rejects/discovery_of_another": func(i *gatewaytest.Issuer) {
			with(i, discovery, func(text []byte) []byte {
				return bytes.Replace(text, []byte(i.URL), []byte("https://elders.example"), 1)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			issuer, _, verify := setUp(t)
			set(issuer)
			err := verify(issuer.Token(client, audience))
			if rejects := strings.HasPrefix(name, "rejects/"); rejects && !errors.Is(err, oauth.ErrIssuer) || !rejects && err != nil {
				t.Errorf("%v", err)
			}
		})
	}
}

// An answer that does not end is not read on.
func TestAnAnswerWithoutEnd(t *testing.T) {
	issuer, _, verify := setUp(t)
	taken := make(chan int, 1)
	issuer.Answer(func(w http.ResponseWriter, _ *http.Request) bool {
		n := 0
		for chunk := make([]byte, 1<<20); n < 256<<20; {
			m, err := w.Write(chunk)
			if n += m; err != nil {
				break
			}
		}
		taken <- n
		return true
	})
	if err := verify(issuer.Token(client, audience)); !errors.Is(err, oauth.ErrIssuer) {
		t.Errorf("%v", err)
	}
	if n := <-taken; n > 64<<20 { // what stands in between takes some
		t.Errorf("%d bytes of it were taken", n)
	}
}

func TestCheckURL(t *testing.T) {
	for url, good := range map[string]bool{
		"https://id.example": true, "https://id.example/realm": true, "http://127.0.0.1:8080": true, "http://localhost": true,
		"http://id.example": false, "": false, "id.example": false, "https://id.example?x": false, "https://u:p@id.example": false, "ftp://id.example": false,
	} {
		if err := oauth.CheckURL(url); (err == nil) != good {
			t.Errorf("%q: %v", url, err)
		}
	}
}

// Whatever is sent as a token is refused and does no harm.
func FuzzVerify(f *testing.F) {
	v := oauth.New([]oauth.Issuer{{URL: "https://127.0.0.1:1"}}, time.Now)
	f.Add("a.b.c")
	f.Add("eyJ0eXAiOiJhdCtqd3QifQ.eyJpc3MiOiJodHRwczovLzEyNy4wLjAuMToxIn0.")
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := v.Verify(t.Context(), token, func(string, string) (string, bool) { return audience, true }); err == nil {
			t.Error("it is taken")
		}
	})
}
