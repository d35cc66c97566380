// SPDX-License-Identifier: EUPL-1.2

// Package oauth verifies the access tokens of case systems: JWTs by RFC 9068, which an
// authorisation server of the organisation gave them by client credentials.
//
//	token ─ who claims to have issued it, and for which client? (unverified: whether to look further)
//	      ─ the issuer's discovery document and keys, fetched when they are first needed
//	      ─ algorithm, signature, iss, aud, exp, nbf   github.com/coreos/go-oidc
//	      ─ typ, iat, sub, client_id, jti, no cnf      here
//
// Keys are fetched again when a token names one that is not known, and every
// ten minutes, so that one that the issuer took back ends. When the issuer is away the
// keys that are known go on. Tokens that nobody signed have nothing fetched more often
// than an issuer can bear.
//
// No error holds anything of a token.
package oauth

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// Errors of Verify.
var (
	// ErrToken says that a token is not valid. Why is not told: the client knows what it
	// sent, and anybody else need not.
	ErrToken = errors.New("oauth: not a valid access token")
	// ErrIssuer says that the issuer's keys cannot be fetched, and that the token is
	// signed with none that is known.
	ErrIssuer = errors.New("oauth: the issuer cannot be reached")
)

const (
	leeway      = time.Minute      // for clocks that differ: of iat and nbf
	refreshKeys = 10 * time.Minute // so long a key is trusted that the issuer may have taken back
	retryKeys   = time.Minute      // when they could not be fetched then
	patience    = 5 * time.Second
	maxAnswer   = 1 << 20
	maxToken    = 16 << 10
	burst       = 10               // fetches that may follow each other
	oneFetch    = 10 * time.Second // and then one in so long
)

// algorithms are asymmetric ones only: with a shared secret whoever verifies could sign,
// and a public key could be passed off as one.
var algorithms = []string{oidc.RS256, oidc.ES256, oidc.PS256, oidc.EdDSA}

// An Issuer is an authorisation server.
type Issuer struct {
	URL  string         // as in iss; https, or http on this machine
	Root *x509.CertPool // whose certificates it may have; nil for the system's
}

// A Token is what a valid access token says.
type Token struct {
	Issuer   string
	ClientID string
	Scope    []string // nil when it says nothing of it
	Expires  time.Time
}

// Format prints [access token], whatever the verb.
func (Token) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[access token]") }

// A Verifier verifies the tokens of some issuers.
type Verifier struct {
	issuers map[string]*issuer
	now     func() time.Time
}

// CheckURL tells whether an issuer's URL may be used: https, or http on this machine.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("oauth: an issuer is a URL without a query")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && (u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1" || u.Hostname() == "::1"):
		return nil
	}
	return errors.New("oauth: an issuer is reached by https")
}

// New makes a verifier. Nothing is fetched before there is a token to verify.
func New(issuers []Issuer, now func() time.Time) *Verifier {
	v := &Verifier{issuers: map[string]*issuer{}, now: now}
	for _, i := range issuers {
		v.issuers[i.URL] = newIssuer(i, now)
	}
	return v
}

// claims are those that RFC 9068 section 2.2 requires, and two that it does not.
type claims struct {
	Issuer   string          `json:"iss"`
	Subject  string          `json:"sub"`
	ClientID string          `json:"client_id"`
	ID       string          `json:"jti"`
	IssuedAt json.Number     `json:"iat"`
	Expires  json.Number     `json:"exp"`
	Earliest json.Number     `json:"nbf"`
	Scope    *string         `json:"scope"`
	Confirm  json.RawMessage `json:"cnf"`
}

// Verify gives what a token says, for a client that audience knows: it tells which
// audience the tokens of an issuer's client must have. ErrToken, or ErrIssuer.
func (v *Verifier) Verify(ctx context.Context, raw string, audience func(issuer, client string) (string, bool)) (Token, error) {
	said, err := unverified(raw)
	if err != nil {
		return Token{}, ErrToken
	}
	from := v.issuers[said.Issuer]
	aud, known := audience(said.Issuer, said.ClientID)
	if from == nil || !known || aud == "" {
		return Token{}, ErrToken
	}
	verifier, err := from.verifier(ctx, aud)
	if err != nil {
		return Token{}, ErrIssuer
	}
	var away bool
	verified, err := verifier.Verify(context.WithValue(ctx, awayKey{}, &away), raw)
	switch {
	case away:
		return Token{}, ErrIssuer
	case err != nil:
		return Token{}, ErrToken
	}
	var c claims
	if verified.Claims(&c) != nil || !v.complete(c) {
		return Token{}, ErrToken
	}
	t := Token{Issuer: c.Issuer, ClientID: c.ClientID, Expires: verified.Expiry}
	if c.Scope != nil {
		t.Scope = append([]string{}, strings.Fields(*c.Scope)...)
	}
	return t, nil
}

// complete holds what go-oidc, which knows ID tokens, does not. A token that is bound to
// a key of the client (cnf: RFC 8705, RFC 9449) is not for who merely bears it.
func (v *Verifier) complete(c claims) bool {
	now := v.now()
	issued, err := c.IssuedAt.Float64()
	if err != nil || time.Unix(int64(issued), 0).After(now.Add(leeway)) {
		return false
	}
	if expires, err := c.Expires.Float64(); err != nil || !now.Before(time.Unix(int64(expires), 0)) {
		return false
	}
	if c.Earliest != "" {
		if earliest, err := c.Earliest.Float64(); err != nil || time.Unix(int64(earliest), 0).After(now.Add(leeway)) {
			return false
		}
	}
	return c.Issuer != "" && c.Subject != "" && c.ClientID != "" && c.ID != "" && c.Confirm == nil
}

// unverified reads the typ and claims of a token that anybody may have made.
func unverified(raw string) (c claims, err error) {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 || len(raw) > maxToken {
		return c, ErrToken
	}
	var header struct {
		Type string `json:"typ"`
	}
	for i, into := range []any{&header, &c} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(text, into) != nil {
			return c, ErrToken
		}
	}
	// RFC 9068 section 4; RFC 7515 section 4.1.9 on the prefix that may be left out.
	if kind := strings.ToLower(header.Type); kind != "at+jwt" && kind != "application/at+jwt" {
		return c, ErrToken
	}
	return c, nil
}

// LooksLike tells whether something is a JWT rather than a key of another kind.
func LooksLike(raw string) bool { return strings.Count(raw, ".") == 2 }

// issuer keeps what is known of an authorisation server.
type issuer struct {
	Issuer
	now    func() time.Time
	client *http.Client

	mu       sync.Mutex
	failed   time.Time // when it was last asked what it is, in vain
	provider *oidc.Provider
	keys     *keySet
}

func newIssuer(i Issuer, now func() time.Time) *issuer {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: i.Root, MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute,
	}
	return &issuer{Issuer: i, now: now, client: &http.Client{
		Transport: &guard{next: transport, now: now, left: burst, at: now()}, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// verifier gives one for tokens of this issuer with an audience.
func (i *issuer) verifier(ctx context.Context, audience string) (*oidc.IDTokenVerifier, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.provider == nil {
		if now := i.now(); now.Sub(i.failed).Abs() < oneFetch { // nobody waits for it in a row
			return nil, ErrIssuer
		}
		ctx := oidc.ClientContext(context.WithoutCancel(ctx), i.client)
		provider, err := oidc.NewProvider(ctx, i.URL)
		if err != nil {
			i.failed = i.now()
			return nil, err
		}
		var said struct {
			Keys string `json:"jwks_uri"`
		}
		if err := provider.Claims(&said); err != nil {
			return nil, err
		}
		if err := CheckURL(said.Keys); err != nil {
			return nil, err
		}
		i.provider, i.keys = provider, &keySet{ctx: ctx, url: said.Keys, now: i.now}
	}
	return oidc.NewVerifier(i.URL, i.keys, &oidc.Config{
		ClientID: audience, SupportedSigningAlgs: slices.Clone(algorithms), Now: i.now,
	}), nil
}

// A keySet is the keys of an issuer, fetched anew now and then.
type keySet struct {
	ctx context.Context // go-oidc takes the HTTP client from it
	url string
	now func() time.Time

	mu      sync.Mutex
	current *oidc.RemoteKeySet
	refresh time.Time // when to fetch them anew
}

// awayKey is where a caller learns that no key is known and none could be fetched:
// go-oidc's errors do not tell it apart.
type awayKey struct{}

// VerifySignature is for go-oidc's verifier, which has held the algorithm against its
// list.
func (k *keySet) VerifySignature(ctx context.Context, raw string) ([]byte, error) {
	k.mu.Lock()
	current, due := k.current, !k.now().Before(k.refresh)
	if due {
		k.refresh = k.now().Add(retryKeys)
	}
	k.mu.Unlock()
	if current == nil || due {
		fresh := oidc.NewRemoteKeySet(k.ctx, k.url)
		payload, err := fresh.VerifySignature(ctx, raw)
		if !notFetched(err) {
			k.mu.Lock()
			k.current, k.refresh = fresh, k.now().Add(refreshKeys)
			k.mu.Unlock()
			return payload, err
		}
		if current == nil { // nothing can be told of any token
			tellAway(ctx)
			return nil, err
		}
	}
	payload, err := current.VerifySignature(ctx, raw)
	if notFetched(err) && !errors.Is(err, errOften) {
		tellAway(ctx)
	}
	return payload, err
}

// notFetched tells an error of fetching keys from one of a signature.
func notFetched(err error) bool {
	return err != nil && strings.HasPrefix(err.Error(), "fetching keys")
}

func tellAway(ctx context.Context) {
	if away, ok := ctx.Value(awayKey{}).(*bool); ok {
		*away = true
	}
}

// The issuer was asked so often, of late, that it is let be. Then what it answered last is
// what is known; or that it did not, and no token is called wrong for that.
var (
	errOften = errors.New("oauth: the issuer is asked too often")
	errAway  = errors.New("oauth: the issuer is asked too often, and did not answer")
)

// A guard is a transport that asks no oftener than an issuer can bear, and reads no more
// than keys can be.
type guard struct {
	next http.RoundTripper
	now  func() time.Time

	mu   sync.Mutex
	left float64
	at   time.Time
	away bool // when it was last asked
}

func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := g.take(); err != nil {
		return nil, err
	}
	resp, err := g.ask(r)
	g.mu.Lock()
	g.away = err != nil || resp.StatusCode != http.StatusOK
	g.mu.Unlock()
	return resp, err
}

func (g *guard) ask(r *http.Request) (*http.Response, error) {
	resp, err := g.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxAnswer {
		return nil, errors.New("oauth: an answer of the issuer is over its limit")
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

func (g *guard) take() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	if passed := now.Sub(g.at); passed > 0 {
		g.left = min(burst, g.left+passed.Seconds()/oneFetch.Seconds())
	}
	g.at = now
	switch {
	case g.left >= 1:
		g.left--
		return nil
	case g.away:
		return errAway
	}
	return errOften
}
