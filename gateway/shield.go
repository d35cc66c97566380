// SPDX-License-Identifier: EUPL-1.2

package gateway

import "github.com/seinhuis/seinhuis/api"

// A professional who could be in danger is shielded: the card of a signal that he owns is the
// party's own, the desk's, whoever owns it beside him and whatever card is asked for later.
// The statement to the registry is like any other.

// shielded tells whether a signal has an owner who is.
func (p *Party) shielded(v view, sid api.SID) (bool, error) {
	owners, err := p.owners(v, sid)
	if err != nil {
		return false, err
	}
	for _, id := range owners {
		reg, err := get[Registration](v, p.key.registration(id))
		if err != nil || reg.Shielded {
			return err == nil, err
		}
	}
	return false, nil
}

// shield is the card that a signal gets where another was asked for.
func (p *Party) shield(v view, sid api.SID, asked Card) (Card, error) {
	shielded, err := p.shielded(v, sid)
	if shielded {
		asked = p.card
	}
	return asked, err
}
