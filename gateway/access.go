// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seinhuis/seinhuis/gateway/oauth"
)

// A Role is what a key or client may do, by the API's name for it.
type Role string

// Roles.
const (
	MayRegister    Role = "aanmelden" // register, read, renew and withdraw signals
	MayReadMatches Role = "matches"   // read matches and messages, and answer
	MayAdminister  Role = "beheer"    // users, keys, subscriptions; no card, nothing of a child
	MayOversee     Role = "privacy"   // read the log of access; nothing of a child
)

// Roles are all of them.
var Roles = []Role{MayRegister, MayReadMatches, MayAdminister, MayOversee}

// A Reach is whose signals somebody may see, of those that his roles let him read.
type Reach string

// Reaches. A professional's own are those that he owns, and those of whom he is the
// deputy.
const (
	ReachOwn  Reach = "eigen"
	ReachTeam Reach = "team" // and those of professionals of his team
	ReachAll  Reach = "alle"
)

// Reaches are all of them.
var Reaches = []Reach{ReachOwn, ReachTeam, ReachAll}

// An Access is who asks: a key or client of one party, and the professional for whom.
// Its zero value may nothing and sees nothing.
type Access struct {
	Party  *Party
	Who    string // "beginsleutel", "sleutel:<id>", "client:<client id>": the log's user
	Roles  []Role
	Reach  Reach
	Person string // the professional that it is bound to, or asks for; may be empty
	Bound  bool   // to Person
	Origin string // network access point, for the log
	Trace  string // of the request, for the log

	valid func() bool // whether the key or client still is what it was
	until time.Time   // zero: no end
}

// Refusals of who asks.
var (
	ErrAccess = errors.New("gateway: no such key, or not any more")
	ErrPerson = errors.New("gateway: it may not ask for this professional")
	ErrIssuer = errors.New("gateway: the issuer of the token cannot be reached")
	ErrCursor = errors.New("gateway: this place was never handed out")
)

// Has tells whether the access has one of the roles.
func (a *Access) Has(roles ...Role) bool {
	return slices.ContainsFunc(roles, func(r Role) bool { return slices.Contains(a.Roles, r) })
}

// For makes it the access on behalf of a professional. ErrPerson when it is bound to
// another, or when he is no active user; who may see everything may name somebody who
// is no user.
func (a *Access) For(person string) error {
	if a.Bound && person != a.Person {
		return ErrPerson
	}
	if !a.Party.door.mayAct(person, a.Reach, a.Bound) {
		return ErrPerson
	}
	a.Person = person
	return nil
}

// Team is the professional's; empty when he has none.
func (a *Access) Team() string {
	if a.Party == nil || a.Person == "" {
		return ""
	}
	u, _ := a.Party.door.user(a.Person)
	return u.Team
}

// Sees tells whether what a professional owns is within reach.
func (a *Access) Sees(owner string) bool {
	switch {
	case a.Party == nil:
		return false
	case a.Reach == ReachAll:
		return true
	case a.Person == "" || owner == "":
		return false
	case owner == a.Person:
		return true
	}
	u, known := a.Party.door.user(owner)
	if !known {
		return false
	}
	return u.Deputy == a.Person || a.Reach == ReachTeam && u.Team != "" && u.Team == a.Team()
}

// SeesOwners keeps those of a signal's owners that are within reach. None means that
// the signal is not.
func (a *Access) SeesOwners(owners []Ownership) []Ownership {
	return slices.DeleteFunc(slices.Clone(owners), func(o Ownership) bool {
		return !a.Sees(o.Owner) || o.forgotten && a.Reach != ReachAll
	})
}

// scope keeps the idempotency keys of one key or client from another's.
func (a *Access) scope() string {
	if a == nil || a.Who == WhoBootstrap {
		return ""
	}
	return a.Who + "\x00"
}

// namesFor is for whom the references of imports are names: those of the professional,
// where others' are out of reach.
func (a *Access) namesFor() string {
	if a == nil || a.Reach == ReachAll {
		return ""
	}
	return a.Person
}

// Valid tells whether the access still is what it was: its key is not revoked and has
// not ended, and its professional is active.
func (a *Access) Valid() bool {
	switch {
	case a.Party == nil || a.valid == nil || !a.valid():
		return false
	case !a.until.IsZero() && !a.Party.g.now().Before(a.until):
		return false
	}
	return a.Person == "" || a.Party.door.mayAct(a.Person, a.Reach, a.Bound)
}

// While gives a context that ends when the access does, at once when it is revoked: for
// whatever answers later than at once, or goes on.
func (a *Access) While(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	d := &a.Party.door
	stop := d.watch(a, cancel)
	if !a.Valid() { // since it was found
		cancel()
	}
	if a.until.IsZero() {
		return ctx, func() { stop(); cancel() }
	}
	end := time.AfterFunc(a.until.Sub(a.Party.g.now()), cancel)
	return ctx, func() { end.Stop(); stop(); cancel() }
}

// A door is who may come in at a party. What it knows is in the store as well, but
// for the bootstrap key, which is in a file.
type door struct {
	mu      sync.RWMutex
	oauth   OAuthConfig
	file    string   // of the bootstrap key
	token   [32]byte // its SHA-256
	users   map[string]User
	keys    map[[8]byte]APIKey // those not revoked, by the beginning of their hash
	watched map[*watch]bool
}

func (d *door) user(id string) (User, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	u, ok := d.users[id]
	return u, ok
}

func (d *door) userIDs() []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return slices.Sorted(maps.Keys(d.users))
}

// mayAct tells whether somebody can be acted for: he is an active user, or, for who
// sees everything and is not bound to him, none at all.
func (d *door) mayAct(person string, reach Reach, bound bool) bool {
	u, known := d.user(person)
	return known && u.Active || !known && reach == ReachAll && !bound
}

// A watch is something that goes on as long as an access is valid.
type watch struct {
	of   *Access
	stop context.CancelFunc
}

func (d *door) watch(a *Access, stop context.CancelFunc) (done func()) {
	w := &watch{a, stop}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.watched == nil {
		d.watched = map[*watch]bool{}
	}
	d.watched[w] = true
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.watched, w)
	}
}

// changed stops what goes on under an access that is no longer valid.
func (d *door) changed() {
	d.mu.RLock()
	watched := slices.Collect(maps.Keys(d.watched))
	d.mu.RUnlock()
	for _, w := range watched {
		if !w.of.Valid() {
			w.stop()
		}
	}
}

// isToken compares with the bootstrap key, in constant time.
func (d *door) isToken(h [32]byte) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return subtle.ConstantTimeCompare(h[:], d.token[:]) == 1
}

// WhoBootstrap names the bootstrap key: that of the configuration's token file. It
// has all roles and sees everything.
const WhoBootstrap = "beginsleutel"

// Authenticate finds who a key or an access token belongs to. ErrAccess when it is
// nobody's; ErrIssuer when the token's issuer is away and its keys are not known.
func (g *Gateway) Authenticate(ctx context.Context, key string) (*Access, error) {
	key = strings.TrimSpace(key)
	if oauth.LooksLike(key) {
		return g.accessOfToken(ctx, key)
	}
	h := sha256.Sum256([]byte(key))
	var found *Access
	for _, p := range g.order { // all of them, whichever matches
		if p.door.isToken(h) {
			found = &Access{
				Party: p, Who: WhoBootstrap, Roles: slices.Clone(Roles), Reach: ReachAll,
				valid: func() bool { return p.door.isToken(h) },
			}
		}
	}
	if found != nil {
		return found, nil
	}
	for _, p := range g.order {
		if a, err := p.accessOfKey(h); !errors.Is(err, ErrAccess) {
			return a, err
		}
	}
	return nil, ErrAccess
}

// accessOfToken is who asks with an access token: a client of one party.
func (g *Gateway) accessOfToken(ctx context.Context, raw string) (*Access, error) {
	of := func(issuer, id string) (*Party, ClientConfig, bool) {
		for _, p := range g.order {
			if c, ok := p.door.oauth.Clients[id]; ok && p.door.oauth.Issuer == issuer {
				return p, c, true
			}
		}
		return nil, ClientConfig{}, false
	}
	token, err := g.tokens.Verify(ctx, raw, func(issuer, id string) (string, bool) {
		p, _, ok := of(issuer, id)
		if !ok {
			return "", false
		}
		return p.door.oauth.Audience, true
	})
	switch {
	case errors.Is(err, oauth.ErrIssuer):
		return nil, ErrIssuer
	case err != nil:
		return nil, ErrAccess
	}
	p, client, _ := of(token.Issuer, token.ClientID)
	a := &Access{
		Party: p, Who: "client:" + token.ClientID, Roles: slices.Clone(client.Roles), Reach: client.Reach,
		Person: client.Person, Bound: client.Person != "", until: token.Expires, valid: func() bool { return true },
	}
	if token.Scope != nil {
		a.Roles = slices.DeleteFunc(a.Roles, func(r Role) bool { return !slices.Contains(token.Scope, string(r)) })
	}
	if !a.Valid() {
		return nil, ErrAccess
	}
	return a, nil
}

// newTokens makes the verifier of the configured issuers.
func newTokens(c Config, now func() time.Time) (*oauth.Verifier, error) {
	roots := map[string]string{}
	var issuers []oauth.Issuer
	for _, p := range c.Parties {
		file, seen := roots[p.OAuth.Issuer]
		switch {
		case p.OAuth.Issuer == "":
			continue
		case seen && file != p.OAuth.Roots:
			return nil, errors.New("gateway: two parties have other roots of the same issuer")
		case seen:
			continue
		}
		roots[p.OAuth.Issuer] = p.OAuth.Roots
		issuer := oauth.Issuer{URL: p.OAuth.Issuer}
		if p.OAuth.Roots != "" {
			text, err := os.ReadFile(p.OAuth.Roots)
			if err != nil {
				return nil, err
			}
			issuer.Root = x509.NewCertPool()
			if !issuer.Root.AppendCertsFromPEM(text) {
				return nil, fmt.Errorf("%s: no certificates", p.OAuth.Roots)
			}
		}
		issuers = append(issuers, issuer)
	}
	return oauth.New(issuers, now), nil
}

// reloadTokens reads the bootstrap keys anew: what goes on under one that was replaced
// ends. None changes when one cannot be read, or when two parties have the same.
func (g *Gateway) reloadTokens() error {
	tokens := make([][32]byte, len(g.order))
	for i, p := range g.order {
		var err error
		if tokens[i], err = readTokenHash(p.door.file, g.safe); err != nil {
			return fmt.Errorf("party %s: %w", p.id, err)
		}
		if slices.Contains(tokens[:i], tokens[i]) {
			return fmt.Errorf("gateway: party %s has the API token of another", p.id)
		}
	}
	for i, p := range g.order {
		p.door.mu.Lock()
		p.door.token = tokens[i]
		p.door.mu.Unlock()
		p.door.changed()
	}
	return nil
}
