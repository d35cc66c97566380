// SPDX-License-Identifier: EUPL-1.2

package matcher

import (
	"context"
	"errors"
	"slices"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/registry"
)

// offer keeps whom a party gives its signal to, in the place of whom it gave it to before,
// and tells both. Nobody who is told learns of which child: that is for the giver to say.
func (c *change) offer(ctx context.Context, stored registry.Signal, act api.Act, hash api.Hash) (registry.Granted, error) {
	var none registry.Granted
	given, err := api.ParseHandover(act.Body)
	if err != nil {
		return none, err
	}
	o, before := stored.Offer, stored.Offer.To
	o.Handover, o.Number = given, max(o.Number, c.firstNumber())+1
	if o.Taken, err = c.room(o.Taken); err != nil {
		return none, err
	}
	if !given.IsZero() { // to take back is free, like a withdrawal
		if err := c.m.takeAct(c.adm, act.Party); err != nil {
			return none, err
		}
	}
	granted, err := c.grant("signal.offer", audit.Update, act.Party, act.SID, uint64(len(c.live)-1))
	if err != nil {
		return none, err
	}
	o.Taken = append(o.Taken, registry.Taken{Act: hash, Granted: granted})
	stored.Before, stored.Offer = stored.History(), o
	if err := c.tx.PutSignal(stored); err != nil {
		return none, err
	}
	c.live[slices.IndexFunc(c.live, func(s registry.Signal) bool { return s.Party == stored.Party })] = stored
	return granted, errors.Join(c.tellOffer(stored, given.To), c.tellOffer(stored, before)) // once, if they are the same
}

// tellOffer tells a party of what it is offered, or is no longer.
func (c *change) tellOffer(giver registry.Signal, to api.PartyID) error {
	if to == "" {
		return nil
	}
	return c.emit(registry.Event{Kind: api.EventHandover, Recipient: registry.Member{Party: to}, Other: member(giver), Rev: giver.Offer.Number})
}

// giver is whose signal a statement takes over: one of the same child, whose party has given
// it to the statement's. None of one that takes over nothing, or nothing that it did not take
// over before. A store that was restored may lack the handover, or know already that it was
// taken up: of a statement that it lacks, or that was made after one.
func (c *change) giver(s, before api.Statement) ([]registry.Signal, error) {
	if s.TakesOver.IsZero() || s.TakesOver == before.TakesOver {
		return nil, nil
	}
	// Another party can have made the giver's sid that of its own.
	i := slices.IndexFunc(c.live, func(g registry.Signal) bool {
		return g.SID == s.TakesOver && g.Offer.Stands(s.Party, c.adm.Day)
	})
	switch {
	case i >= 0:
		return []registry.Signal{c.live[i]}, nil
	case c.again(s), s.Rev > before.Rev+1:
		return nil, nil
	}
	return nil, api.Refuse(api.CodeHandover, nil)
}

// leave ends the signal of a giver, by the statement that takes it over.
func (c *change) leave(giver registry.Signal, by api.Hash) error {
	asks := c.user
	c.user = "" // is the taker's, and no name that the giver's party knows
	_, err := c.bury(giver, by, "signal.handover")
	c.user = asks
	c.live = slices.DeleteFunc(c.live, func(o registry.Signal) bool { return o.Party == giver.Party })
	return err
}
