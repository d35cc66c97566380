// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"errors"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/identity"
)

// Owners lists who own the signal of a registration. Of those out of reach only the
// professional is told: the file number is not.
func (a *Access) Owners(id ID) ([]Ownership, error) {
	p := a.Party
	v, release := p.g.store.snapshot()
	defer release()
	reg, err := p.original(v, id)
	if err == nil && !a.Sees(reg.Owner) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return a.ownersOf(v, reg.SID)
}

func (a *Access) ownersOf(v view, sid api.SID) ([]Ownership, error) {
	if sid.IsZero() {
		return nil, nil
	}
	list, err := a.Party.ownership(v, sid)
	for i, o := range list {
		if !a.Sees(o.Owner) {
			list[i] = Ownership{Owner: o.Owner}
		}
	}
	return list, err
}

// AddOwner makes a colleague an owner of a registration's signal, under his own reference
// or that of the registration. When he is one already under that reference nothing
// changes. ErrNotLive when the signal does not stand.
func (a *Access) AddOwner(id ID, colleague, reference string) ([]Ownership, error) {
	p := a.Party
	now := p.g.now()
	return a.changeOwners(id, colleague, func(b *batch, reg Registration) error {
		if reference == "" {
			reference = reg.Reference
		}
		if f, ok := checkReference(reference); !ok {
			return &InputError{[]Fault{f}}
		}
		owners, err := p.ownership(p.g.store.view, reg.SID)
		if err != nil {
			return err
		}
		for _, o := range owners {
			if o.Owner == colleague && o.Reference == reference {
				return nil
			}
		}
		added := Registration{
			ID: newID(now), Created: now.UTC(), Owner: colleague, Reference: reference, State: StateMerged, SID: reg.SID,
			Warnings: warnings(identity.Identity{}, reference),
		}
		b.put(p.key.registration(added.ID), added)
		b.put(p.ownerRow(colleague, added.ID), struct{}{})
		b.put(p.key.owner(reg.SID, added.ID), struct{}{})
		p.logAct(b, a, LogOwnerAdded, added)
		return nil
	})
}

// HandOver makes a colleague the owner of a registration in the place of its owner; with
// a card, the signal gets that as well, by a renewal.
func (a *Access) HandOver(id ID, colleague string, card Card) ([]Ownership, error) {
	p := a.Party
	if !card.IsZero() {
		if f, ok := checkCard(card); !ok {
			return nil, &InputError{[]Fault{f}}
		}
	}
	return a.changeOwners(id, colleague, func(b *batch, reg Registration) error {
		owned, err := p.owns(p.g.store.view, reg.Owner)
		if err != nil {
			return err
		}
		if err := p.handOver(b, a, &reg, colleague); err != nil {
			return err
		}
		for _, repeat := range owned { // they show the same signal
			if repeat.Into != reg.ID {
				continue
			}
			if err := p.handOver(b, a, &repeat, colleague); err != nil {
				return err
			}
			b.put(p.key.registration(repeat.ID), repeat)
		}
		b.put(p.key.registration(reg.ID), reg)
		if card.IsZero() {
			return nil
		}
		if !reg.Into.IsZero() { // the colleague's own has the signal
			if reg, err = get[Registration](p.g.store.view, p.key.registration(reg.Into)); err != nil {
				return err
			}
		}
		reg.Card, reg.Transfer, reg.Faults = card, ID{}, nil
		p.logAct(b, a, LogCardChanged, reg)
		if err := p.cardDue(b, &reg, nil, ID{}, map[api.SID]bool{}); err != nil {
			return err
		}
		b.put(p.key.registration(reg.ID), reg)
		return nil
	})
}

func (a *Access) changeOwners(id ID, colleague string, change func(*batch, Registration) error) ([]Ownership, error) {
	p := a.Party
	if f, ok := p.checkColleague(colleague, a.Reach == ReachAll); !ok {
		return nil, &InputError{[]Fault{f}}
	}
	now := p.g.now()
	if err := p.basis(now); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	reg, err := p.within(a, id)
	if err != nil {
		return nil, err
	}
	if !reg.State.Stands() {
		return nil, ErrNotLive
	}
	signal, err := get[Signal](p.g.store.view, p.key.signal(reg.SID))
	if errors.Is(err, errAbsent) || err == nil && !signal.Live(identity.Today(now)) {
		return nil, ErrNotLive
	} else if err != nil {
		return nil, err
	}
	b := p.g.store.batch()
	defer b.close()
	if err := change(b, reg); err != nil {
		return nil, err
	}
	if err := p.commit(b); err != nil {
		return nil, err
	}
	return a.ownersOf(p.g.store.view, reg.SID)
}
