// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/identity"
)

// An APIKey (sleutel) lets a case system in. The key itself is shown once and not kept.
type APIKey struct {
	ID       ID            `json:"id"`
	Name     string        `json:"name"`
	Hash     api.Hash      `json:"hash"` // SHA-256; the key has 256 random bits, so nothing slower is needed
	Roles    []Role        `json:"roles"`
	Reach    Reach         `json:"reach"`
	Person   string        `json:"person,omitempty"` // a user, to whom it is bound
	Created  time.Time     `json:"created"`
	By       string        `json:"by"`                // who made it, as in the log of access
	Ends     encoding.Date `json:"ends"`              // the first day on which it is no longer valid
	LastUsed encoding.Date `json:"lastUsed,omitzero"` // the day; zero is never
	Revoked  time.Time     `json:"revoked,omitzero"`
}

// LogValue logs the id.
func (k APIKey) LogValue() slog.Value { return slog.StringValue("key " + k.ID.String()) }

// KeyPrefix begins every API key, so that scanners find one that was left somewhere.
const KeyPrefix = "shk_"

const (
	keyBytes   = 32
	maxKeyDays = 731 // two years and a day
	maxKeyName = 80
)

// Today is the day in Europe/Amsterdam.
func (p *Party) Today() encoding.Date { return identity.Today(p.g.now()) }

// Valid tells whether the key opens on a day.
func (k APIKey) Valid(today encoding.Date) bool {
	return k.Revoked.IsZero() && k.Ends.Compare(today) > 0
}

// MakeKey makes an API key by name, roles, reach, person and end, and gives the key
// itself: this is the only time that it is there to read.
func (p *Party) MakeKey(a *Access, k APIKey) (APIKey, string, error) {
	now := p.g.now()
	if faults := p.checkKey(k, identity.Today(now)); len(faults) > 0 {
		return APIKey{}, "", &InputError{faults}
	}
	var random [keyBytes]byte
	rand.Read(random[:])
	secret := KeyPrefix + base64.RawURLEncoding.EncodeToString(random[:])
	k.ID, k.Created, k.By, k.Hash, k.LastUsed, k.Revoked = newID(now), now.UTC(), a.Who, sha256.Sum256([]byte(secret)), encoding.Date{}, time.Time{}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.keepKey(a, LogKeyMade, k); err != nil {
		return APIKey{}, "", err
	}
	return k, secret, nil
}

func (p *Party) checkKey(k APIKey, today encoding.Date) (faults []Fault) {
	switch {
	case k.Name == "":
		faults = append(faults, Fault{"naam", CodeMissing})
	case len(k.Name) > maxKeyName:
		faults = append(faults, Fault{"naam", CodeLength})
	case !utf8.ValidString(k.Name) || strings.ContainsFunc(k.Name, unicode.IsControl):
		faults = append(faults, Fault{"naam", CodeForm})
	}
	faults = append(faults, checkRoles(k.Roles, k.Reach)...)
	if k.Person != "" {
		if u, known := p.door.user(k.Person); !known || !u.Active {
			faults = append(faults, Fault{FieldOwner, CodeUnknown})
		}
	}
	last := encoding.DateOf(today.In(time.UTC).AddDate(0, 0, maxKeyDays))
	if k.Ends.Compare(today) <= 0 || k.Ends.Compare(last) > 0 {
		faults = append(faults, Fault{"verlooptOp", CodeDate})
	}
	return faults
}

// checkRoles judges roles and reach, of a key or of a client.
func checkRoles(roles []Role, reach Reach) (faults []Fault) {
	switch {
	case len(roles) == 0:
		faults = append(faults, Fault{"rollen", CodeMissing})
	case slices.ContainsFunc(roles, func(r Role) bool { return !slices.Contains(Roles, r) }):
		faults = append(faults, Fault{"rollen", CodeUnknown})
	}
	if !slices.Contains(Reaches, reach) {
		faults = append(faults, Fault{"bereik", CodeUnknown})
	}
	return faults
}

// keepKey stores a key. p.mu is held.
func (p *Party) keepKey(a *Access, event LogEvent, k APIKey) error {
	b := p.g.store.batch()
	defer b.close()
	p.putKey(b, a, event, k)
	return p.commit(b)
}

func (p *Party) putKey(b *batch, a *Access, event LogEvent, k APIKey) {
	b.put(p.key.apiKey(k.ID), k)
	p.logAccess(b, a, Touch{Event: event, ObjectType: ObjectKey, ObjectID: k.ID.String()})
	b.then = append(b.then, func() { p.door.setKey(k) })
}

// Keys lists the API keys, the newest first, those that are revoked or have ended too.
func (p *Party) Keys(from ID, limit int) (list []APIKey, more bool, err error) {
	var start []byte
	if !from.IsZero() {
		start = p.key.apiKey(from)
	}
	err = scan(p.g.store.view, p.key.table(tableAPIKey), start, true, func(_ []byte, k APIKey) (bool, error) {
		if more = len(list) == limit; more {
			return false, nil
		}
		list = append(list, k)
		return true, nil
	})
	return list, more, err
}

// Key finds one API key; ErrNotFound.
func (p *Party) Key(id ID) (APIKey, error) {
	k, err := get[APIKey](p.g.store.view, p.key.apiKey(id))
	if errors.Is(err, errAbsent) {
		err = ErrNotFound
	}
	return k, err
}

// RevokeKey ends a key: when it returns, nothing that is asked with it is answered any
// more. Doing it again changes nothing.
func (p *Party) RevokeKey(a *Access, id ID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	k, err := p.Key(id)
	if err != nil || !k.Revoked.IsZero() {
		return err
	}
	k.Revoked = p.g.now().UTC()
	return p.keepKey(a, LogKeyRevoked, k)
}

func (d *door) setKey(k APIKey) {
	d.mu.Lock()
	if d.keys == nil {
		d.keys = map[[8]byte]APIKey{}
	}
	at := [8]byte(k.Hash[:8])
	if k.Revoked.IsZero() {
		d.keys[at] = k
	} else {
		delete(d.keys, at)
	}
	d.mu.Unlock()
	if !k.Revoked.IsZero() {
		d.changed()
	}
}

// key finds a key that is not revoked by its hash.
func (d *door) key(h [32]byte) (APIKey, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	k := d.keys[[8]byte(h[:8])]
	return k, subtle.ConstantTimeCompare(h[:], k.Hash[:]) == 1 && !k.ID.IsZero()
}

// accessOfKey is who asks with an API key.
func (p *Party) accessOfKey(h [32]byte) (*Access, error) {
	k, ok := p.door.key(h)
	now := p.g.now()
	today := identity.Today(now)
	if !ok || !k.Valid(today) {
		return nil, ErrAccess
	}
	a := &Access{
		Party: p, Who: "sleutel:" + k.ID.String(), Roles: slices.Clone(k.Roles), Reach: k.Reach, Person: k.Person, Bound: k.Person != "",
		until: Midnight(k.Ends),
		valid: func() bool { _, ok := p.door.key(h); return ok },
	}
	if !a.Valid() {
		return nil, ErrAccess
	}
	if k.LastUsed != today {
		return a, p.used(k.ID, today)
	}
	return a, nil
}

// used takes note of the last day on which a key was used.
func (p *Party) used(id ID, today encoding.Date) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	k, err := p.Key(id)
	if err != nil || !k.Revoked.IsZero() || k.LastUsed == today {
		return err
	}
	k.LastUsed = today
	b := p.g.store.batch()
	defer b.close()
	b.put(p.key.apiKey(k.ID), k)
	b.then = append(b.then, func() { p.door.setKey(k) })
	return p.commit(b)
}

// Midnight is when a day begins, as the clock on the wall has it.
func Midnight(d encoding.Date) time.Time {
	return d.In(encoding.Amsterdam)
}

// fillDoor reads users and keys at the start.
func (p *Party) fillDoor() error {
	err := scan(p.g.store.view, p.key.table(tableUser), nil, false, func(_ []byte, u User) (bool, error) {
		p.door.setUser(u)
		return true, nil
	})
	if err != nil {
		return err
	}
	return scan(p.g.store.view, p.key.table(tableAPIKey), nil, false, func(_ []byte, k APIKey) (bool, error) {
		p.door.setKey(k)
		return true, nil
	})
}
