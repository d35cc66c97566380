// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/identity"
)

// A Transfer (overdracht) gives everything that a professional owns to a colleague, with
// the colleague's card: or to himself, with a new card of his own. The ownership goes at
// once, in one batch. A card comes with a renewal of its signal, a job for each. What a
// registration still has to get is in its own row (Registration.Card), so that neither
// a restart nor another job on the signal loses it.
type Transfer struct {
	ID      ID        `json:"id"`
	Created time.Time `json:"created"`
	From    string    `json:"from"`
	To      string    `json:"to"`
	Card    Card      `json:"card"`
	Former  bool      `json:"former,omitempty"` // From was deleted since: whoever is called so now is another
}

// A TransferStatus is a transfer and how it gets on.
type TransferStatus struct {
	Transfer
	Total   int      // registrations
	Done    int      // whose signal has the card, or got a newer one
	Busy    int      // whose card is under way
	Ended   int      // that ended meanwhile
	Waiting []Status // whose renewal was refused: mostly, a new epoch asks for the number
}

// MakeTransfer begins a transfer, or finds the same one and goes on with it: what has the
// card already does not get it again, and what was refused is tried once more. made tells
// which. Who does not administer may do it for himself only. ErrNotFound when the
// professional is unknown and owns nothing.
func (a *Access) MakeTransfer(from, to string, card Card) (s TransferStatus, made bool, err error) {
	p := a.Party
	if !a.Has(MayAdminister) && (from != to || a.Person != from && a.Reach != ReachAll) {
		return TransferStatus{}, false, ErrNotFound
	}
	if faults := p.checkTransfer(from, to, card); len(faults) > 0 {
		return TransferStatus{}, false, &InputError{faults}
	}
	now := p.g.now()
	if err := p.basis(now); err != nil {
		return TransferStatus{}, false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.g.store.view
	owned, err := p.owns(v, from)
	if err != nil {
		return TransferStatus{}, false, err
	}
	t, found, err := p.transferLike(v, from, to, card)
	if err != nil {
		return TransferStatus{}, false, err
	}
	if _, known := p.door.user(from); !known && !found && len(owned) == 0 {
		return TransferStatus{}, false, ErrNotFound
	}
	if !found {
		t = Transfer{ID: newID(now), Created: now.UTC(), From: from, To: to, Card: card}
	} else if from != to { // what it has got already, to try once more
		moved, err := p.transferred(v, t)
		if err != nil {
			return TransferStatus{}, false, err
		}
		for _, reg := range moved {
			if reg.Owner == to { // and has not given on since
				owned = append(owned, reg)
			}
		}
	}
	b := p.g.store.indexed() // what joins is read as it stands there
	defer b.close()
	b.put(p.key.transfer(t.ID), t)
	p.logAccess(b, a, Touch{Event: LogTransfer, ObjectType: ObjectTransfer, ObjectID: t.ID.String()})
	begun := map[api.SID]bool{} // renewals in this batch
	give := func(reg *Registration) error {
		reg.Card, reg.Transfer, reg.Faults = card, t.ID, nil
		p.logAct(b, a, LogCardChanged, *reg)
		if err := p.newCard(b, reg); err != nil {
			return err
		}
		return p.cardDue(b, reg, nil, ID{}, begun)
	}
	var joined []ID // what the colleague owns already of signals that have the leaver's card
	for _, reg := range owned {
		whose, err := p.cardOwner(v, reg.SID)
		if err != nil {
			return TransferStatus{}, false, err
		}
		repeat := !reg.Into.IsZero()
		if err := p.handOver(b, a, &reg, to); err != nil {
			return TransferStatus{}, false, err
		}
		if reg.Into.IsZero() {
			b.put(p.key.transferItem(t.ID, reg.ID), struct{}{})
			if whose == "" || whose == from || whose == to { // else that of another colleague stays
				if err := give(&reg); err != nil {
					return TransferStatus{}, false, err
				}
			}
		} else if !repeat && whose == from {
			joined = append(joined, reg.Into)
		}
		b.put(p.key.registration(reg.ID), reg)
	}
	for _, id := range joined {
		reg, err := get[Registration](b.view(), p.key.registration(id))
		if err != nil {
			return TransferStatus{}, false, err
		}
		b.put(p.key.transferItem(t.ID, id), struct{}{})
		if err := give(&reg); err != nil {
			return TransferStatus{}, false, err
		}
		b.put(p.key.registration(id), reg)
	}
	if err := p.moveReports(b, from, to); err != nil {
		return TransferStatus{}, false, err
	}
	if err := p.commit(b); err != nil {
		return TransferStatus{}, false, err
	}
	s, err = p.transferStatus(v, t)
	return s, !found, err
}

func (p *Party) checkTransfer(from, to string, card Card) (faults []Fault) {
	if !ownerForm.MatchString(from) {
		faults = append(faults, Fault{"id", CodeForm})
	}
	if f, ok := p.checkColleague(to, from == to); !ok {
		f.Field = FieldTo
		faults = append(faults, f)
	}
	if f, ok := checkCard(card); !ok {
		faults = append(faults, f)
	}
	return faults
}

// checkColleague judges somebody who is to own a signal: an active user, or at least
// nobody who is inactive.
func (p *Party) checkColleague(id string, unknownToo bool) (Fault, bool) {
	u, known := p.door.user(id)
	switch {
	case !ownerForm.MatchString(id):
		return Fault{FieldOwner, CodeForm}, false
	case !known && !unknownToo:
		return Fault{FieldOwner, CodeUnknown}, false
	case known && !u.Active:
		return Fault{FieldOwner, CodeInactive}, false
	}
	return Fault{}, true
}

// handOver makes somebody else the owner of a registration. When he owns the signal under
// the same reference already, the registration is a repeat of that one from now on. p.mu
// is held, and the caller puts the registration.
func (p *Party) handOver(b *batch, a *Access, reg *Registration, to string) error {
	if reg.Owner == to {
		return nil
	}
	was := reg.Owner
	b.delete(p.ownerRow(was, reg.ID))
	reg.Owner = to
	b.put(p.ownerRow(to, reg.ID), struct{}{})
	p.logAct(b, a, LogOwnerReplaced, *reg)
	if err := p.passMail(b, was, to); err != nil {
		return err
	}
	if !reg.State.Stands() || !reg.Job.IsZero() {
		return nil
	}
	owners, err := p.owners(p.g.store.view, reg.SID)
	if err != nil {
		return err
	}
	for _, id := range without(owners, reg.ID) {
		other, err := get[Registration](p.g.store.view, p.key.registration(id))
		if err != nil {
			return err
		}
		if other.Owner == to && other.Reference == reg.Reference {
			b.delete(p.key.owner(reg.SID, reg.ID))
			reg.State, reg.Into = StateMerged, other.ID
			return nil
		}
	}
	return nil
}

// cardOwner is whose card stands on a signal: the owner of the registration that brought
// it, as long as that stands. Empty when nobody's does, or it is not known whose.
func (p *Party) cardOwner(v view, sid api.SID) (string, error) {
	signal, err := get[Signal](v, p.key.signal(sid))
	if errors.Is(err, errAbsent) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	reg, err := get[Registration](v, p.key.registration(signal.CardOf))
	if errors.Is(err, errAbsent) || err == nil && !reg.State.Stands() {
		return "", nil
	}
	return reg.Owner, err
}

// newCard puts the card on what is still to be made of a signal, if there is time.
func (p *Party) newCard(b *batch, reg *Registration) error {
	job, err := get[Job](p.g.store.view, p.key.job(reg.Job))
	if errors.Is(err, errAbsent) || err == nil && job.Prepared != nil {
		return nil
	} else if err != nil {
		return err
	}
	job.Card = reg.Card
	b.put(p.key.job(job.ID), job)
	return nil
}

// cardDue has a registration's signal renewed with the card that it is to get, unless
// something else is done about the signal first; then whoever ends that comes here again.
// signal is as the batch will leave it, nil for as it is; except is a job that the batch
// ends; begun are the signals that get a renewal in this batch. p.mu is held, and the
// caller puts the registration.
func (p *Party) cardDue(b *batch, reg *Registration, signal *Signal, except ID, begun map[api.SID]bool) error {
	switch {
	case reg.Card.IsZero():
		return nil
	case !reg.Into.IsZero() || reg.Shielded: // the one that it repeats has the signal, or it keeps the party's
		reg.Card, reg.Transfer = Card{}, ID{}
		return nil
	case !reg.State.Stands() || !reg.Job.IsZero() || len(reg.Faults) > 0:
		return nil
	}
	if signal == nil {
		row, err := get[Signal](p.g.store.view, p.key.signal(reg.SID))
		if errors.Is(err, errAbsent) {
			return nil
		} else if err != nil {
			return err
		}
		signal = &row
	}
	now := p.g.now()
	shielded, err := p.shielded(p.g.store.view, reg.SID)
	if err != nil {
		return err
	}
	switch {
	case signal.Card == reg.Card || shielded:
		reg.Card, reg.Transfer = Card{}, ID{}
		return nil
	case begun[reg.SID] || p.queue.renewingBut(reg.SID, except) || !signal.Live(identity.Today(now)):
		return nil
	}
	job := Job{ID: newID(now), Kind: JobRenew, Created: now.UTC(), Registration: reg.ID, SID: reg.SID, Card: reg.Card, Bulk: true, User: p.pseudonym(nil, reg.Owner)}
	reg.Job = job.ID
	begun[reg.SID] = true
	b.put(p.key.job(job.ID), job)
	b.then = append(b.then, func() { p.took(JobRenew) })
	return nil
}

// cardsDue is cardDue for the owners of a signal but one, whom the caller has done.
func (p *Party) cardsDue(b *batch, sid api.SID, signal *Signal, but, except ID, begun map[api.SID]bool) error {
	owners, err := p.owners(p.g.store.view, sid)
	if err != nil {
		return err
	}
	for _, id := range without(owners, but) {
		reg, err := get[Registration](p.g.store.view, p.key.registration(id))
		if err != nil {
			return err
		}
		if reg.Card.IsZero() {
			continue
		}
		if err := p.cardDue(b, &reg, signal, except, begun); err != nil {
			return err
		}
		b.put(p.key.registration(id), reg)
	}
	return nil
}

// renewingBut tells whether a renewal of the signal is under way, other than one.
func (q *queue) renewingBut(sid api.SID, but ID) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.ContainsFunc(q.on[sid], func(pl *place) bool { return pl.renews && pl.id != but })
}

// moveReports gives a professional's reports to a colleague.
func (p *Party) moveReports(b *batch, from, to string) error {
	return scan(p.g.store.view, p.key.table(tableReport), nil, false, func(key []byte, r Report) (bool, error) {
		if r.Owner == from {
			r.Owner = to
			b.put(bytes.Clone(key), r)
		}
		return true, nil
	})
}

// transferLike finds the latest transfer of a professional, if it is this one.
func (p *Party) transferLike(v view, from, to string, card Card) (Transfer, bool, error) {
	t, err := p.latestTransfer(v, from)
	if errors.Is(err, ErrNotFound) {
		return Transfer{}, false, nil
	}
	return t, err == nil && t.To == to && t.Card == card && !t.Former, err
}

func (p *Party) latestTransfer(v view, from string) (t Transfer, err error) {
	err = scan(v, p.key.table(tableTransfer), nil, true, func(_ []byte, row Transfer) (bool, error) {
		if row.From == from {
			t = row
		}
		return t.ID.IsZero(), nil
	})
	if err == nil && t.ID.IsZero() {
		err = ErrNotFound
	}
	return t, err
}

// transferred are the registrations of a transfer that do not have its card yet.
func (p *Party) transferred(v view, t Transfer) (list []Registration, err error) {
	err = scan(v, p.key.transferItems(t.ID), nil, false, func(key []byte, _ struct{}) (bool, error) {
		reg, err := get[Registration](v, p.key.registration(idAt(key)))
		if errors.Is(err, errAbsent) {
			return true, nil
		}
		if err == nil && reg.Transfer == t.ID && !reg.State.Ended() {
			list = append(list, reg)
		}
		return true, err
	})
	return list, err
}

// TransferOf reads how the latest transfer of a professional gets on; ErrNotFound. Who
// does not administer may read his own only.
func (a *Access) TransferOf(from string) (TransferStatus, error) {
	p := a.Party
	v, release := p.g.store.snapshot()
	defer release()
	t, err := p.latestTransfer(v, from)
	if err != nil {
		return TransferStatus{}, err
	}
	if !a.Has(MayAdminister) && (t.Former || !a.Sees(from)) {
		return TransferStatus{}, ErrNotFound
	}
	return p.transferStatus(v, t)
}

func (p *Party) transferStatus(v view, t Transfer) (TransferStatus, error) {
	s := TransferStatus{Transfer: t}
	err := scan(v, p.key.transferItems(t.ID), nil, false, func(key []byte, _ struct{}) (bool, error) {
		s.Total++
		status, err := p.status(v, idAt(key))
		switch {
		case errors.Is(err, ErrNotFound): // ended so long ago that it is no longer kept
			s.Ended++
			return true, nil
		case err != nil:
			return false, err
		case status.Transfer != t.ID:
			s.Done++
		case status.State.Ended():
			s.Ended++
		case len(status.Faults) > 0, status.State == StateLost:
			s.Waiting = append(s.Waiting, status)
		default:
			s.Busy++
		}
		return true, nil
	})
	return s, err
}

const keepTransfers = 365 * 24 * time.Hour

// sweepTransfers forgets transfers of a year ago, and sees to it that no card is waited
// for that nobody will bring. p.mu is held.
func (p *Party) sweepTransfers(b *batch) error {
	v, old := p.g.store.view, p.g.now().Add(-keepTransfers)
	begun := map[api.SID]bool{}
	return scan(v, p.key.table(tableTransfer), nil, false, func(key []byte, t Transfer) (bool, error) {
		open, err := p.transferred(v, t)
		if err != nil {
			return false, err
		}
		if len(open) == 0 && t.Created.Before(old) {
			b.delete(bytes.Clone(key))
			b.deleteAll(p.key.transferItems(t.ID))
		}
		for _, reg := range open {
			was := reg.Job
			if err := p.cardDue(b, &reg, nil, ID{}, begun); err != nil {
				return false, err
			}
			if reg.Job != was || reg.Card.IsZero() {
				b.put(p.key.registration(reg.ID), reg)
			}
		}
		return true, nil
	})
}
