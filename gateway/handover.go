// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/identity"
	"github.com/seinhuis/seinhuis/manifest"
)

// A warm handover (warme overdracht): one party gives its signal to another, by an act that
// names it and a last day. The other is told by whom; by telephone it hears of which child.
// It registers that child itself, and then the giver's signal has ended.

// Given is what was said of a signal of ours that another party may take over.
type Given struct {
	Handover api.Handover `json:"handover,omitzero"` // that was receipted last
	At       time.Time    `json:"at,omitzero"`
	Issued   time.Time    `json:"issued,omitzero"` // the act
	User     string       `json:"user,omitempty"`  // who gave it; see pseudonym

	Incarnation encoding.Base64 `json:"incarnation,omitempty"` // the registry's that gave the receipt

	// What is on its way, or was given up.
	Asked api.Handover `json:"asked,omitzero"`
	Job   ID           `json:"job,omitzero"`
	Fault Code         `json:"fault,omitempty"` // why it was
}

// To is to whom the signal is given, as far as that goes: what is on its way goes before what
// was receipted.
func (g Given) To() api.Handover {
	if !g.Job.IsZero() {
		return g.Asked
	}
	return g.Handover
}

// An Offer is a signal that another party gives to us. Nobody knows here of which child it is
// but who hears it from the giver.
type Offer struct {
	SID      api.SID       `json:"sid"` // the giver's signal
	Party    api.PartyID   `json:"party"`
	Name     string        `json:"name,omitempty"`
	Kind     string        `json:"kind,omitempty"`
	Until    encoding.Date `json:"until"` // the last day on which it can be taken over
	Received time.Time     `json:"received"`
}

// errGiven says that nobody of that name can be given a signal: the party is not in the
// directory, or is our own.
var errGiven = &InputError{[]Fault{{FieldGiveTo, CodeUnknown}}}

// Give gives the signal of a registration within reach to another party, up to and with a day;
// without a party it takes back what was given. When it returns that is on disk; the worker
// signs it once and sends it. ErrNotLive when the signal does not stand.
func (a *Access) Give(id ID, to api.PartyID, until encoding.Date) (Status, error) {
	p := a.Party
	now := p.g.now()
	given := api.Handover{To: to, Until: until}
	if to == "" {
		given = api.Handover{}
	} else if err := p.givable(given, identity.Today(now)); err != nil {
		return Status{}, err
	} else if err := p.basis(now); err != nil {
		return Status{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	reg, err := p.within(a, id)
	if err != nil {
		return Status{}, err
	}
	signal, err := get[Signal](p.g.store.view, p.key.signal(reg.SID))
	if errors.Is(err, errAbsent) || err == nil && (!reg.State.Stands() || !signal.Live(identity.Today(now))) {
		return Status{}, ErrNotLive
	} else if err != nil {
		return Status{}, err
	}
	g := &signal.Given
	if g.To() == given && g.Fault == "" {
		return p.status(p.g.store.view, id)
	}
	b := p.g.store.batch()
	defer b.close()
	job := Job{ID: newID(now), Kind: JobHandover, Created: now.UTC(), SID: signal.SID, Handover: given, User: p.pseudonym(a, reg.Owner)}
	if err := p.supersede(b, g.Job, &job); err != nil {
		return Status{}, err
	}
	g.Asked, g.Job, g.Fault = given, job.ID, ""
	b.put(p.key.job(job.ID), job)
	b.put(p.key.signal(signal.SID), signal)
	event := LogHandoverGiven
	if given.IsZero() {
		event = LogHandoverTakenBack
	}
	p.logAct(b, a, event, reg)
	if err := p.commit(b); err != nil {
		return Status{}, err
	}
	p.took(JobHandover)
	return p.status(p.g.store.view, id)
}

// givable refuses what the registry would.
func (p *Party) givable(h api.Handover, today encoding.Date) error {
	var faults []Fault
	if _, d := p.g.roots.known(); d == nil || h.To == p.id {
		faults = errGiven.Faults
	} else if _, listed := d.Party(h.To); !listed {
		faults = errGiven.Faults
	}
	if h.Until.Compare(today) < 0 || h.Until.Compare(today.AddDate(0, 0, api.MaxHandoverDays)) > 0 {
		faults = append(slices.Clone(faults), Fault{FieldUntil, CodeDate})
	}
	if len(faults) > 0 {
		return &InputError{faults}
	}
	return nil
}

// AwaitGiven waits until nothing that is said of handing a registration's signal over is on
// its way, or until ctx is done, which is no error.
func (p *Party) AwaitGiven(ctx context.Context, id ID) error {
	return p.until(ctx, func() (bool, error) {
		s, err := p.Registration(id)
		return s.Signal == nil || s.Signal.Given.Job.IsZero(), err
	})
}

// prepareHandover makes the signed act. It waits for one that was signed before. p.mu is held.
func (p *Party) prepareHandover(m *manifest.Manifest, job Job) (*Job, error) {
	if !p.queue.has(job.ID) { // another one came in its place
		return nil, nil
	}
	if p.queue.has(job.After) {
		return nil, errLater
	}
	now := p.g.now()
	signal, err := get[Signal](p.g.store.view, p.key.signal(job.SID))
	switch {
	case errors.Is(err, errAbsent) || err == nil && !signal.Live(identity.Today(now)):
		return nil, p.notGiven(job, CodeRegistryGone)
	case err != nil:
		return nil, err
	case job.Again && (signal.Given.Handover != job.Handover || !signal.Given.Job.IsZero()):
		return nil, p.notGiven(job, CodeRegistryGone) // something else was said since
	case !job.Handover.IsZero() && (basisEnded(m, now) || job.Handover.Until.Compare(identity.Today(now)) < 0):
		return nil, p.notGiven(job, CodeDate)
	case job.Prepared != nil:
		return &job, nil
	}
	job.Prepared, err = p.act(m, signal, api.Act{Act: api.ActHandover, Body: job.Handover.Body()}, sayAt(signal.Given.Issued, now))
	return &job, err
}

// given stores that a handover was taken. p.mu is held.
func (p *Party) given(job Job, r api.Receipt, issued time.Time) error {
	return p.endGiving(job, "done", &r, func(g *Given) {
		g.Incarnation, g.Issued = r.Incarnation[:], issued
		g.Handover, g.At, g.User = job.Handover, p.g.now().UTC(), job.User
		if g.Job == job.ID {
			g.Job, g.Asked = ID{}, api.Handover{}
		}
	})
}

// notGiven gives it up. p.mu is held.
func (p *Party) notGiven(job Job, fault Code) error {
	return p.endGiving(job, "given up", nil, func(g *Given) {
		if g.Job == job.ID {
			g.Job, g.Fault = ID{}, fault
		}
	})
}

func (p *Party) endGiving(job Job, outcome string, given *api.Receipt, change func(*Given)) error {
	return p.endSaying(job, outcome, given, func(b *batch) error {
		signal, err := get[Signal](p.g.store.view, p.key.signal(job.SID))
		if err == nil {
			change(&signal.Given)
			b.put(p.key.signal(signal.SID), signal)
		}
		return err
	})
}

// handedOver puts into a batch what a message of a handover does: of one that is offered to
// us, and of one by which a signal of ours has ended. That this was given we know ourselves:
// what we did not give, nobody has taken over, whatever a registry says.
func (p *Party) handedOver(b *batch, msg *Message) error {
	if msg.Kind != api.EventHandover || msg.Problem != "" || !msg.TookOver.IsZero() {
		return nil
	}
	if msg.SID.IsZero() {
		key := p.key.offer(msg.Other.SID)
		if msg.Until.IsZero() {
			b.delete(key)
			return nil
		}
		b.put(key, Offer{
			SID: msg.Other.SID, Party: msg.Other.Party, Name: msg.Other.Name, Kind: msg.Other.Kind, Until: msg.Until, Received: msg.Received,
		})
		return nil
	}
	signal, err := get[Signal](b.view(), p.key.signal(msg.SID))
	if errors.Is(err, errAbsent) {
		return nil // it had ended
	} else if err != nil {
		return err
	}
	if given, err := p.mayHaveGiven(signal.Given, msg.Other.Party); err != nil {
		return err
	} else if !given {
		msg.Problem = CodeNotGiven
		return nil
	}
	owners, err := p.owners(b.view(), msg.SID)
	if err != nil {
		return err
	}
	for _, id := range owners {
		reg, err := get[Registration](b.view(), p.key.registration(id))
		if err != nil {
			return err
		}
		reg.HandedTo = msg.Other.Party
		reg.end(StateHandedOver, msg.Received)
		b.put(p.key.registration(id), reg)
		b.delete(p.key.owner(msg.SID, id))
	}
	b.delete(p.key.signal(msg.SID))
	return nil
}

// mayHaveGiven tells whether a signal was given to a party, as far as the registry may know:
// also by what was said before the last word, and whose receipt is still to come.
func (p *Party) mayHaveGiven(g Given, to api.PartyID) (bool, error) {
	if g.Handover.To == to || g.Asked.To == to {
		return true, nil
	}
	for id := g.Job; !id.IsZero(); {
		job, err := get[Job](p.g.store.view, p.key.job(id))
		if errors.Is(err, errAbsent) {
			return false, nil
		} else if err != nil || job.Handover.To == to {
			return err == nil, err
		}
		id = job.After
	}
	return false, nil
}

// retoldOffer tells whether a message of an offer says what is known here: as after a restore,
// or of one that was taken back before we heard of it. Nobody takes the place of an offer that
// stands by making its sid that of a signal of his own.
func (p *Party) retoldOffer(b *batch, msg *Message) (bool, error) {
	o, err := get[Offer](b.view(), p.key.offer(msg.Other.SID))
	if errors.Is(err, errAbsent) {
		return msg.Until.IsZero(), nil
	} else if err != nil || o.Party == msg.Other.Party {
		return err == nil && o.Until == msg.Until, err
	}
	return o.Until.Compare(identity.Today(p.g.now())) >= 0, nil
}

// Offers lists what other parties give to this one, the first that ends first. Nothing in
// them is of a child.
func (p *Party) Offers() (list []Offer, err error) {
	today := identity.Today(p.g.now())
	err = scan(p.g.store.view, p.key.table(tableOffer), nil, false, func(_ []byte, o Offer) (bool, error) {
		if o.Until.Compare(today) >= 0 {
			list = append(list, o)
		}
		return true, nil
	})
	slices.SortFunc(list, func(a, b Offer) int { return a.Until.Compare(b.Until) })
	return list, err
}

// offered checks that a signal was given to us.
func (p *Party) offered(sid api.SID) (Fault, bool) {
	if sid.IsZero() {
		return Fault{}, true
	}
	o, err := get[Offer](p.g.store.view, p.key.offer(sid))
	if err != nil || o.Until.Compare(identity.Today(p.g.now())) < 0 {
		return Fault{FieldTakesOver, CodeUnknown}, false
	}
	return Fault{}, true
}

// sweepOffers forgets, in a batch, those whose last day has gone.
func (p *Party) sweepOffers(b *batch, v view) error {
	today := identity.Today(p.g.now())
	return scan(v, p.key.table(tableOffer), nil, false, func(key []byte, o Offer) (bool, error) {
		if o.Until.Compare(today) < 0 {
			b.delete(slices.Clone(key))
		}
		return true, nil
	})
}

// next is what a revision of a signal says that stays as it is: also whose place it took, as
// far as is known here.
func (s Signal) next() api.Statement {
	next := api.Statement{SID: s.SID, Rev: s.Rev + 1}
	if st, err := api.ParseStatement(s.Statement.Signed); err == nil {
		next.TakesOver = st.TakesOver
	}
	return next
}

// revise puts into a batch the job that makes of a signal which stood already what another
// registration of it asks: that it takes the place of another party's, or has the desk's card
// for whoever owns it. Nil when there is nothing to do. The batch can be read. p.mu is held.
func (p *Party) revise(b *batch, job Job, reg *Registration, signal Signal) (*Job, error) {
	takes := !job.TakesOver.IsZero() && signal.next().TakesOver != job.TakesOver
	shielded, err := p.shielded(b.view(), signal.SID)
	if err != nil || !takes && !(shielded && signal.Card != p.card) {
		return nil, err
	}
	now := p.g.now()
	next := Job{ID: newID(now), Kind: JobRenew, Created: now.UTC(), Registration: reg.ID, SID: signal.SID, TakesOver: job.TakesOver, Bulk: !takes, User: job.User}
	b.put(p.key.job(next.ID), next)
	reg.Job = next.ID
	return &next, nil
}
