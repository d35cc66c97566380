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
	"github.com/seinhuis/seinhuis/crypto/seal"
	"github.com/seinhuis/seinhuis/manifest"
)

// When the manifest says that the keys of an epoch are stolen, the registry destroys the
// signals that match by them alone, and so does the gateway: statement, cards and keyboxes.
// Their registrations are lost. Nothing is kept that leads to the child, so only somebody who
// enters the number again can make such a signal anew; the owners are told, and asked to. A
// registration that is lost goes on under its id: whoever comes with its owner, its
// reference and the number resubmits it, and the colleagues who owned the signal own the
// new one.

// KindLost is a message of the gateway itself: a signal of ours was destroyed, and is to be
// made anew. No registry tells it.
const KindLost api.EventKind = "lost"

// A Loss is what is kept of a signal that was lost.
type Loss struct {
	At         time.Time     `json:"at"`
	Expires    encoding.Date `json:"expires"`             // when it would have
	Birthday23 encoding.Date `json:"birthday23,omitzero"` // to tell the child from another
	Card       Card          `json:"card,omitzero"`
}

// lostAtOnce is how many signals are lost in one commit: what a professional does waits for
// no more than these.
const lostAtOnce = 200

// keepLost looks after what is lost whenever there is another manifest, and every hour, for
// what was under way.
func (g *Gateway) keepLost(ctx context.Context) {
	for {
		another := g.roots.changed.wait()
		for _, p := range g.order {
			if err := p.loseCompromised(ctx); err != nil && ctx.Err() == nil {
				g.log.Error("lost signals not looked after", "party", string(p.id), "cause", err)
			}
		}
		again := time.NewTimer(sweepEvery)
		select {
		case <-another:
		case <-again.C:
		case <-ctx.Done():
		}
		again.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// loseCompromised destroys what is lost, and revises signals that go on by another face, so
// that the registry needs nothing of the compromised epoch any more. A crash on the way has
// it found again by what is still there.
func (p *Party) loseCompromised(ctx context.Context) error {
	m, _ := p.g.roots.known()
	if m == nil || !p.g.roots.robbed() {
		return nil
	}
	v, release := p.g.store.snapshot()
	defer release()
	now := p.g.now()
	var lost []api.SID
	var revise []Job
	err := scan(v, p.key.table(tableSignal), nil, false, func(_ []byte, s Signal) (bool, error) {
		epochs := s.epochs()
		switch {
		case m.Lost(epochs):
			lost = append(lost, s.SID)
		case slices.ContainsFunc(epochs, m.Compromised) && s.Live(identity.Today(now)):
			if _, err := p.openFaces(m, s.Faces); err == nil { // else only the number helps
				revise = append(revise, Job{ID: newID(now), Kind: JobResend, Created: now.UTC(), SID: s.SID, User: s.User, Again: true, Bulk: true})
			}
		}
		return true, ctx.Err()
	})
	if err != nil {
		return err
	}
	for sids := range slices.Chunk(lost, lostAtOnce) {
		if err := p.lose(m, sids); err != nil {
			return err
		}
	}
	if len(lost) > 0 {
		p.g.log.Warn("signals lost with a compromised epoch", "party", string(p.id), "count", len(lost))
	}
	for jobs := range slices.Chunk(revise, resendAtOnce) {
		if err := p.keepAgain(jobs); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// epochs are those of a signal's faces.
func (s Signal) epochs() []uint64 {
	list := make([]uint64, len(s.Faces))
	for i, f := range s.Faces {
		list[i] = f.Epoch
	}
	return list
}

// lose destroys those of the signals that are lost, and tells their owners.
func (p *Party) lose(m *manifest.Manifest, sids []api.SID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.g.store.indexed()
	defer b.close()
	var told []Message
	for _, sid := range sids {
		s, err := get[Signal](p.g.store.view, p.key.signal(sid))
		if errors.Is(err, errAbsent) || err == nil && !m.Lost(s.epochs()) {
			continue
		} else if err != nil {
			return err
		}
		owners, err := p.owners(p.g.store.view, sid)
		if err != nil {
			return err
		}
		loss := p.lossOf(m, s.Faces, s.Expires, s.Card)
		for _, id := range owners {
			reg, err := get[Registration](p.g.store.view, p.key.registration(id))
			if err != nil {
				return err
			}
			p.lost(b, reg, loss)
			b.delete(p.key.owner(sid, id))
		}
		b.delete(p.key.signal(sid))
		if len(owners) > 0 {
			told = append(told, p.lossMessage(sid))
		}
	}
	return p.tellLost(b, told)
}

// tellLost commits a batch, with messages of what it has lost. p.mu is held.
func (p *Party) tellLost(b *batch, told []Message) error {
	at, err := get[feedState](p.g.store.view, p.key.feed())
	if err != nil && !errors.Is(err, errAbsent) {
		return err
	}
	for sid, ids := range b.left { // whose the messages are
		b.put(p.key.left(sid), ids)
	}
	var kept []Message
	for _, msg := range told {
		if _, err := get[uint64](b.view(), p.key.event(msg.ID)); err == nil {
			continue
		} else if !errors.Is(err, errAbsent) {
			return err
		}
		if msg, err = p.putMessage(b, &at, msg); err != nil {
			return err
		}
		kept = append(kept, msg)
	}
	return p.commitInbox(b, at, kept)
}

// lossMessage is the message that a signal of ours is lost.
func (p *Party) lossMessage(sid api.SID) Message {
	id, err := api.EventIDOf(p.id, sid, p.id, sid, KindLost, 0)
	if err != nil {
		panic(err) // a party's own id is well-formed
	}
	return Message{ID: id, Received: p.g.now().UTC(), Kind: KindLost, SID: sid}
}

// lossOf is what is kept of a signal that is lost.
func (p *Party) lossOf(m *manifest.Manifest, faces []Face, expires encoding.Date, card Card) Loss {
	now := p.g.now()
	loss := Loss{At: now.UTC(), Expires: expires, Card: card}
	for _, f := range faces {
		if box, err := p.openKeybox(seal.Context{Dep: m.Dep, Party: string(p.id), SID: f.SID, Rev: f.Rev, Epoch: f.Epoch}, f.Keybox); err == nil {
			loss.Birthday23 = box.Birthday23
		}
	}
	if loss.Expires.IsZero() { // of a revision that is not known
		loss.Expires = identity.Today(now).AddDate(0, 0, m.Policy.TermDays)
	}
	return loss
}

// lost puts into a batch that a registration is.
func (p *Party) lost(b *batch, reg Registration, loss Loss) {
	reg.State, reg.Loss, reg.Faults = StateLost, loss, nil
	b.put(p.key.registration(reg.ID), reg)
	b.put(p.lostRow(reg), struct{}{})
}

// lostRow is the row that says that a registration is lost, by its reference.
func (p *Party) lostRow(reg Registration) []byte {
	return p.key.lostItem(p.g.store.index.of("lost", p.key, reg.Reference), reg.ID)
}

// loseQueued is for a new signal whose statement the registry did not take in time, and of
// which the identity is gone.
func (p *Party) loseQueued(m *manifest.Manifest, job Job) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	reg, err := get[Registration](p.g.store.view, p.key.registration(job.Registration))
	if err != nil {
		return err
	}
	b := p.g.store.indexed()
	defer b.close()
	b.delete(p.key.job(job.ID))
	reg.Job = ID{}
	if reg.Ending != "" {
		reg.end(StateWithdrawn, p.g.now())
		b.put(p.key.registration(reg.ID), reg)
		b.became(job, reg)
		err = p.commit(b)
	} else {
		var told []Message
		if reg.Loss.At.IsZero() {
			reg.SID = job.Prepared.SID
			b.left = map[api.SID][]ID{reg.SID: {reg.ID}}
			told = append(told, p.lossMessage(reg.SID))
		}
		refused := reg
		refused.State = StateRefused
		b.became(job, refused)
		p.lost(b, reg, p.lossOf(m, job.Prepared.faces(), job.Prepared.Expires, job.Card))
		err = p.tellLost(b, told)
	}
	if err == nil {
		p.finished(job, "refused")
	}
	return err
}

// lostLike finds a registration that is lost, and that somebody makes anew who comes with
// its owner, its reference and a child that may be that of it. p.mu is held.
func (p *Party) lostLike(b *batch, id identity.Identity, t Terms) (found Registration, ok bool, err error) {
	rows := p.key.lostUnder(p.g.store.index.of("lost", p.key, t.Reference))
	err = scan(p.g.store.view, rows, nil, false, func(key []byte, _ struct{}) (bool, error) {
		reg, err := get[Registration](p.g.store.view, p.key.registration(idAt(key)))
		if err != nil {
			return false, err
		}
		if reg.Owner == t.Owner && reg.Reference == t.Reference && reg.Loss.of(id) && !b.resubmitted[reg.ID] {
			found, ok = reg, true
		}
		return !ok, nil
	})
	return found, ok, err
}

// of tells whether a child may be that of the signal that was lost.
func (l Loss) of(id identity.Identity) bool {
	return l.Birthday23.IsZero() || l.Birthday23 == id.Birthday23()
}

// days is how long the signal would have stood.
func (l Loss) days(now time.Time) int {
	return max(1, int(l.Expires.In(time.UTC).Sub(identity.Today(now).In(time.UTC)).Hours()/24))
}

// resubmit has a registration made anew that is lost, in a batch. Where no other term is
// asked for, its signal stands as long as it would have.
func (p *Party) resubmit(b *batch, now time.Time, reg Registration, id identity.Identity, t Terms, from origin) (Registration, error) {
	if t.TermDays == 0 {
		t.TermDays = reg.Loss.days(now)
	}
	if !from.Report.IsZero() {
		reg.Report = from.Report
	}
	if !from.Import.IsZero() {
		reg.Import = from.Import
	}
	reg.Faults, reg.Job = nil, newID(now)
	if b.resubmitted == nil {
		b.resubmitted = map[ID]bool{}
	}
	b.resubmitted[reg.ID] = true
	b.delete(p.lostRow(reg))
	return p.enqueue(b, now, reg, id, t, from)
}

// renewLost is Renew of a registration that is lost. p.mu is held.
func (p *Party) renewLost(once once, reg Registration, s Subject, child identity.Identity, t Terms) (Status, error) {
	now := p.g.now()
	switch {
	case s == (Subject{}):
		return Status{}, &InputError{[]Fault{{FieldNumber, CodeNumberNeeded}}}
	case !reg.Loss.of(child):
		return Status{}, &InputError{[]Fault{{FieldNumber, CodeOtherChild}}}
	}
	for _, card := range []Card{reg.Card, reg.Loss.Card, p.card} {
		if t.Card.IsZero() {
			t.Card = card
		}
	}
	if f, ok := checkCard(t.Card); !ok {
		return Status{}, &InputError{[]Fault{f}}
	}
	b := p.g.store.batch()
	defer b.close()
	reg, err := p.resubmit(b, now, reg, child, t, origin{})
	if err != nil {
		return Status{}, err
	}
	once.remember(b, replay{Created: now, Registration: reg.ID})
	p.logAct(b, t.by, LogSignalRenewed, reg)
	if err := p.commit(b); err != nil {
		return Status{}, err
	}
	p.took(JobSignal)
	return p.status(p.g.store.view, reg.ID)
}

// rejoin ends a registration's being lost, in a batch that can be read: its signal stands
// again, and is that of all who owned the one before. p.mu is held.
func (p *Party) rejoin(b *batch, reg *Registration, before api.SID, lost bool) error {
	if !lost {
		return nil
	}
	reg.Loss = Loss{}
	ids, err := get[[]ID](b.view(), p.key.left(before))
	if err != nil && !errors.Is(err, errAbsent) {
		return err
	}
	for _, id := range without(ids, reg.ID) {
		other, err := get[Registration](b.view(), p.key.registration(id))
		if errors.Is(err, errAbsent) || err == nil && (other.State != StateLost || other.SID != before) {
			continue
		} else if err != nil {
			return err
		}
		b.delete(p.lostRow(other))
		other.State, other.SID, other.Loss, other.Faults = StateMerged, reg.SID, Loss{}, nil
		if err := p.join(b, &other); err != nil {
			return err
		}
		b.put(p.key.registration(other.ID), other)
	}
	return nil
}

// Lost counts the registrations that wait for being made anew.
func (p *Party) Lost() (n int, err error) {
	err = scan(p.g.store.view, p.key.table(tableLost), nil, false, func([]byte, struct{}) (bool, error) { n++; return true, nil })
	return n, err
}

// sweepLost ends those whose signal would have expired by now.
func (p *Party) sweepLost() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.g.now()
	b := p.g.store.batch()
	defer b.close()
	err := scan(p.g.store.view, p.key.table(tableLost), nil, false, func(key []byte, _ struct{}) (bool, error) {
		reg, err := get[Registration](p.g.store.view, p.key.registration(idAt(key)))
		if err != nil {
			return false, err
		}
		if reg.Loss.over(now) {
			b.delete(slices.Clone(key))
			reg.end(StateExpired, now)
			reg.Loss = Loss{}
			b.put(p.key.registration(reg.ID), reg)
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	return p.commit(b)
}

// over tells whether the signal would have expired.
func (l Loss) over(now time.Time) bool { return l.Expires.Compare(identity.Today(now)) <= 0 }
