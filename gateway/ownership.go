// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"errors"
	"slices"

	"github.com/seinhuis/seinhuis/api"
)

// Whose a signal is: whom its news is for. News comes when it comes, and a handover or
// the signal's end may be first; so a message keeps who owned the signal when it came,
// and a signal that has ended is still known to be of those who owned it last.

// ownership are the owners of a signal that stands.
func (p *Party) ownership(v view, sid api.SID) ([]Ownership, error) {
	ids, err := p.owners(v, sid)
	if err != nil {
		return nil, err
	}
	var list []Ownership
	for _, id := range ids {
		reg, err := get[Registration](v, p.key.registration(id))
		if err != nil {
			return nil, err
		}
		list = append(list, Ownership{Registration: reg.ID, Owner: reg.Owner, Reference: reg.Reference})
	}
	return list, nil
}

// ownersOf are the owners of a signal, or when it has none any more its last.
func (p *Party) ownersOf(v view, sid api.SID) ([]Ownership, error) {
	list, err := p.ownership(v, sid)
	if err != nil || len(list) > 0 {
		return list, err
	}
	ids, err := get[[]ID](v, p.key.left(sid))
	if errors.Is(err, errAbsent) {
		return nil, nil
	}
	for _, id := range ids {
		reg, err := get[Registration](v, p.key.registration(id))
		if errors.Is(err, errAbsent) {
			continue
		} else if err != nil {
			return nil, err
		}
		list = append(list, Ownership{Registration: reg.ID, Owner: reg.Owner, Reference: reg.Reference})
	}
	return list, err
}

// ownersNow adds to the owners of a while ago those who joined since. Whose registration
// has gone to a colleague is none any more.
func (p *Party) ownersNow(v view, sid api.SID, then []Ownership) (list []Ownership, err error) {
	now, err := p.ownersOf(v, sid)
	if err != nil {
		return nil, err
	}
	for _, was := range then {
		if slices.ContainsFunc(now, func(o Ownership) bool { return o.Registration == was.Registration }) {
			continue
		}
		if reg, err := get[Registration](v, p.key.registration(was.Registration)); err == nil {
			was.Owner, was.Reference = reg.Owner, reg.Reference
		} else if was.forgotten = errors.Is(err, errAbsent); !was.forgotten {
			return nil, err
		}
		list = append(list, was)
	}
	return append(now, list...), nil
}

// sweepLastOwners forgets those of whom no registration is kept.
func (p *Party) sweepLastOwners(b *batch, v view) error {
	return scan(v, p.key.table(tableLeft), nil, false, func(key []byte, ids []ID) (bool, error) {
		for _, id := range ids {
			if _, err := get[Registration](v, p.key.registration(id)); !errors.Is(err, errAbsent) {
				return true, err
			}
		}
		b.delete(slices.Clone(key))
		return true, nil
	})
}
