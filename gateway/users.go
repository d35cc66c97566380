// SPDX-License-Identifier: EUPL-1.2

package gateway

import "errors"

// A User (gebruiker) is a professional of the party, as its administration knows him.
type User struct {
	ID     string `json:"id"` // the owner of signals
	Name   string `json:"name"`
	Email  string `json:"email,omitempty"`
	Deputy string `json:"deputy,omitempty"` // another user, who sees what this one owns
	Team   string `json:"team,omitempty"`
	Active bool   `json:"active"`
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
