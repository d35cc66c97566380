// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"bytes"
	"errors"
	"net/mail"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A User (gebruiker) is a professional of the party, as its administration knows him.
type User struct {
	ID     string `json:"id"` // the owner of signals
	Name   string `json:"name"`
	Email  string `json:"email,omitempty"`
	Deputy string `json:"deputy,omitempty"` // another user, who sees what this one owns
	Team   string `json:"team,omitempty"`
	Active bool   `json:"active"` // who is not may do nothing, and gets no new signals
}

// Longest fields of a user, in bytes.
const (
	MaxUserName  = 80
	MaxUserEmail = 100
	MaxUserTeam  = 64
)

// Refusals of acts on users.
var (
	ErrUserExists = errors.New("gateway: there is a user of this id")
	ErrUserOwns   = errors.New("gateway: the user owns signals")
)

// Users lists users by id, beginning behind from. more tells whether there are others.
func (p *Party) Users(from string, limit int) (list []User, more bool) {
	for _, id := range p.door.userIDs() {
		if id <= from && from != "" {
			continue
		}
		if len(list) == limit {
			return list, true
		}
		if u, ok := p.door.user(id); ok {
			list = append(list, u)
		}
	}
	return list, false
}

// User finds one user; ErrNotFound.
func (p *Party) User(id string) (User, error) {
	u, ok := p.door.user(id)
	if !ok {
		return User{}, ErrNotFound
	}
	return u, nil
}

// MakeUser adds a user; ErrUserExists, or an *InputError.
func (p *Party) MakeUser(a *Access, u User) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.door.user(u.ID); known {
		return ErrUserExists
	}
	return p.keepUsers(a, LogUserMade, u)
}

// ChangeUser replaces what is known of a user; ErrNotFound, or an *InputError. Of one
// who is not active any more, everything that goes on ends at once.
func (p *Party) ChangeUser(a *Access, u User) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.door.user(u.ID); !known {
		return ErrNotFound
	}
	return p.keepUsers(a, LogUserChanged, u)
}

// keepUsers stores users. p.mu is held.
func (p *Party) keepUsers(a *Access, event LogEvent, users ...User) error {
	b := p.g.store.batch()
	defer b.close()
	for _, u := range users {
		if faults := p.checkUser(u); len(faults) > 0 {
			return &InputError{faults}
		}
		b.put(p.userRow(u.ID), u)
		p.logAccess(b, a, Touch{Event: event, ObjectType: ObjectUser, ObjectID: u.ID})
		b.then = append(b.then, func() { p.door.setUser(u) })
	}
	return p.commit(b)
}

// DeleteUser forgets a user; ErrUserOwns as long as he owns signals that have not ended.
// He is nobody's deputy any more, his keys are revoked, and what is still kept of him is
// nobody's: somebody else who gets the id has nothing to do with it. Doing it again gives
// ErrNotFound.
func (p *Party) DeleteUser(a *Access, id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.door.user(id); !known {
		return ErrNotFound
	}
	owned, err := p.owns(p.g.store.view, id)
	if err != nil {
		return err
	}
	if len(owned) > 0 {
		return ErrUserOwns
	}
	b := p.g.store.batch()
	defer b.close()
	if err := errors.Join(p.disclaim(b, id), p.revokeKeysOf(b, a, id)); err != nil {
		return err
	}
	b.delete(p.userRow(id))
	p.logAccess(b, a, Touch{Event: LogUserDeleted, ObjectType: ObjectUser, ObjectID: id})
	b.then = append(b.then, func() { p.door.forgetUser(id) })
	for _, other := range p.door.userIDs() {
		if u, _ := p.door.user(other); u.Deputy == id {
			u.Deputy = ""
			b.put(p.userRow(u.ID), u)
			p.logAccess(b, a, Touch{Event: LogUserChanged, ObjectType: ObjectUser, ObjectID: u.ID})
			b.then = append(b.then, func() { p.door.setUser(u) })
		}
	}
	return p.commit(b)
}

// disclaim makes what is kept of a professional nobody's. p.mu is held.
func (p *Party) disclaim(b *batch, id string) error {
	v := p.g.store.view
	err := scan(v, p.key.ownedBy(p.g.store.index.of("owner", p.key, id)), nil, false, func(key []byte, _ struct{}) (bool, error) {
		reg, err := get[Registration](v, p.key.registration(idAt(key)))
		if err != nil {
			return false, err
		}
		reg.Owner = ""
		b.put(p.key.registration(reg.ID), reg)
		b.delete(bytes.Clone(key))
		return true, nil
	})
	if err != nil {
		return err
	}
	if err := p.moveReports(b, id, ""); err != nil {
		return err
	}
	err = scan(v, p.key.table(tableImport), nil, false, func(key []byte, row Import) (bool, error) {
		if row.Owner != id && row.Of != id {
			return true, nil
		}
		if row.Of == id {
			b.delete(p.importKey(row.Of, row.Reference))
			row.Of = ""
		}
		if row.Owner == id {
			row.Owner = ""
		}
		b.put(bytes.Clone(key), row)
		return true, nil
	})
	if err != nil {
		return err
	}
	err = scan(v, p.key.table(tableTransfer), nil, false, func(key []byte, t Transfer) (bool, error) {
		if t.From == id && !t.Former {
			t.Former = true
			b.put(bytes.Clone(key), t)
		}
		return true, nil
	})
	mail := p.mailTarget(Target{User: id})
	b.delete(p.key.target(mail))
	b.deleteAll(p.key.deadLetters(mail))
	return err
}

// revokeKeysOf ends the keys that are bound to a professional. p.mu is held.
func (p *Party) revokeKeysOf(b *batch, a *Access, id string) error {
	return scan(p.g.store.view, p.key.table(tableAPIKey), nil, false, func(_ []byte, k APIKey) (bool, error) {
		if k.Person == id && k.Revoked.IsZero() {
			k.Revoked = p.g.now().UTC()
			p.putKey(b, a, LogKeyRevoked, k)
		}
		return true, nil
	})
}

func (p *Party) checkUser(u User) (faults []Fault) {
	if !ownerForm.MatchString(u.ID) {
		faults = append(faults, Fault{"id", CodeForm})
	}
	for _, text := range []struct {
		field, value string
		most         int
	}{{"naam", u.Name, MaxUserName}, {"team", u.Team, MaxUserTeam}, {"email", u.Email, MaxUserEmail}} {
		switch {
		case len(text.value) > text.most:
			faults = append(faults, Fault{text.field, CodeLength})
		case !utf8.ValidString(text.value) || strings.ContainsFunc(text.value, unicode.IsControl) || text.value != strings.TrimSpace(text.value):
			faults = append(faults, Fault{text.field, CodeForm})
		}
	}
	if u.Name == "" {
		faults = append(faults, Fault{"naam", CodeMissing})
	}
	if u.Email != "" {
		if address, err := mail.ParseAddress(u.Email); err != nil || address.Address != u.Email {
			faults = append(faults, Fault{"email", CodeForm})
		}
	}
	if u.Deputy != "" {
		if _, known := p.door.user(u.Deputy); !known || u.Deputy == u.ID {
			faults = append(faults, Fault{"vervanger", CodeUnknown})
		}
	}
	return slices.Compact(faults)
}

func (p *Party) userRow(id string) []byte {
	return p.key.user(p.g.store.index.of("user", p.key, id))
}

func (d *door) setUser(u User) {
	d.mu.Lock()
	if d.users == nil {
		d.users = map[string]User{}
	}
	d.users[u.ID] = u
	d.mu.Unlock()
	d.changed()
}

func (d *door) forgetUser(id string) {
	d.mu.Lock()
	delete(d.users, id)
	d.mu.Unlock()
	d.changed()
}

// owns are the registrations of a professional that have not ended.
func (p *Party) owns(v view, owner string) (list []Registration, err error) {
	err = scan(v, p.key.ownedBy(p.g.store.index.of("owner", p.key, owner)), nil, false, func(key []byte, _ struct{}) (bool, error) {
		reg, err := get[Registration](v, p.key.registration(idAt(key)))
		if err == nil && !reg.State.Ended() {
			list = append(list, reg)
		}
		return true, err
	})
	return list, err
}

// ownerRow is the row that says that a professional owns a registration.
func (p *Party) ownerRow(owner string, id ID) []byte {
	return join(tableOwned, p.key.ownedBy(p.g.store.index.of("owner", p.key, owner))[1:], id[:])
}

// fillOwned makes the rows that tell what a professional owns, in a store from before
// there were any.
func (p *Party) fillOwned() error {
	made := p.key.table(tableOwned)
	if _, err := get[bool](p.g.store.view, made); !errors.Is(err, errAbsent) {
		return err
	}
	b := p.g.store.batch()
	defer b.close()
	err := scan(p.g.store.view, p.key.table(tableRegistration), nil, false, func(_ []byte, reg Registration) (bool, error) {
		b.put(p.ownerRow(reg.Owner, reg.ID), struct{}{})
		return true, nil
	})
	if err != nil {
		return err
	}
	b.put(made, true)
	return b.commit()
}
