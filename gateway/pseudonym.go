// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// The registry's log names who acted by a pseudonym (NEN 7513): the first 16 bytes of
// HMAC-SHA-256 over E(party, user), in unpadded base64url. Its key is among the
// store's finders, so only this gateway can tell who it is. It stands in jobs, with signals and
// answers, to be the same when they are sent again, and nowhere else.

// pseudonymKey makes pseudonyms; it prints as nothing.
type pseudonymKey [32]byte

func (k pseudonymKey) of(party, user string) string {
	if user == "" {
		return ""
	}
	who, err := encoding.E(party, []byte(user))
	if err != nil {
		return "" // of a user's id that is longer than 65,535 bytes
	}
	mac := hmac.New(sha256.New, k[:])
	mac.Write(who)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}

// pseudonym is that of who acts: the professional for whom is asked, or else the owner of
// what is acted on. Of nobody there is none.
func (p *Party) pseudonym(by *Access, owner string) string {
	user := owner
	if by != nil && by.Person != "" {
		user = by.Person
	}
	return p.g.store.pseudonyms.of(string(p.id), user)
}

// UserOf tells which user of the party a pseudonym in the registry's log is: one that it
// knows, that owns or owned something that is kept, or that stands in the log of access,
// in which this is too. ErrNotFound.
func (a *Access) UserOf(pseudonym string) (user string, err error) {
	p := a.Party
	tried := map[string]bool{}
	is := func(candidate string) bool {
		if !tried[candidate] {
			tried[candidate] = true
			if candidate != "" && hmac.Equal([]byte(p.g.store.pseudonyms.of(string(p.id), candidate)), []byte(pseudonym)) {
				user = candidate
			}
		}
		return user != ""
	}
	for _, id := range p.door.userIDs() {
		is(id)
	}
	v, release := p.g.store.snapshot()
	defer release()
	if user == "" {
		err = scan(v, p.key.table(tableRegistration), nil, false, func(_ []byte, reg Registration) (bool, error) {
			return !is(reg.Owner), nil
		})
	}
	if err == nil && user == "" {
		err = scan(v, p.key.table(tableLog), nil, true, func(_ []byte, row LogRow) (bool, error) {
			return !is(row.Record.OnBehalfOf), nil
		})
	}
	err = errors.Join(err, p.LogAccess(a, Touch{Event: LogResolved, ObjectType: ObjectUser, ObjectID: user}))
	if err == nil && user == "" {
		err = ErrNotFound
	}
	return user, err
}
