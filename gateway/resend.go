// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/identity"
	"github.com/seinhuis/seinhuis/manifest"
)

// A registry that was restored from a backup says from when on it may lack what it gave
// receipts for. What that is stands here: of every signal that lives the statement, byte
// for byte, with its sealed cards and keyboxes, and what was answered last in every match.
// Nobody is asked for anything, and nobody is told twice.

const (
	resendAtOnce = 500                // jobs in one commit
	clocksApart  = time.Hour          // ours and the registry's
	resayFor     = 7 * 24 * time.Hour // how long an answer waits for the other's signal
	doubtFor     = 24 * time.Hour     // how long the others in a match have for coming back
)

// sendAgain makes the jobs that send what the registry may lack. A crash on the way has
// it done again, which does no harm.
func (p *Party) sendAgain(feed feedState) error {
	since := feed.Lacks
	v, release := p.g.store.snapshot()
	defer release()
	now := p.g.now()
	var jobs []Job
	made := 0
	keep := func() error {
		err := p.keepAgain(jobs)
		made, jobs = made+len(jobs), jobs[:0]
		return err
	}
	add := func(job Job) error {
		job.ID, job.Created = newID(now), now.UTC()
		if jobs = append(jobs, job); len(jobs) < resendAtOnce {
			return nil
		}
		return keep()
	}
	doubtful, err := p.doubtful(v)
	if err != nil {
		return err
	}
	err = scan(v, p.key.table(tableSignal), nil, false, func(_ []byte, s Signal) (bool, error) {
		// A revision that it lacks can have had the signal taken out, and what was given with it.
		if g := s.Given; !g.At.IsZero() && (s.lacked(since) || !g.At.Before(since.Add(-clocksApart))) && !bytes.Equal(g.Incarnation, feed.Incarnation) {
			if err := add(Job{Kind: JobHandover, SID: s.SID, Handover: g.Handover, User: g.User, Again: true}); err != nil {
				return false, err
			}
		}
		if !s.Live(identity.Today(now)) || !s.lacked(since) && !doubtful[s.SID] || s.grantedIn(feed.Incarnation) {
			return true, nil
		}
		return true, add(Job{Kind: JobResend, SID: s.SID, User: s.User})
	})
	if err != nil {
		return err
	}
	err = scan(v, p.key.table(tableMatch), nil, false, func(_ []byte, m Match) (bool, error) {
		own, err := get[Signal](v, p.key.signal(m.SID))
		if err != nil && !errors.Is(err, errAbsent) {
			return false, err
		}
		// What a signal says that the registry took for expired, it does not show.
		lacked := err == nil && own.lacked(since)
		for _, o := range m.Others {
			if !m.Ended.IsZero() || !o.Present || o.Ours.Word == "" || !lacked && o.Ours.At.Before(since.Add(-clocksApart)) ||
				bytes.Equal(o.Ours.Incarnation, feed.Incarnation) {
				continue
			}
			if err := add(Job{Kind: JobAnswer, SID: m.SID, Match: m.ID, Other: o.SID, Answer: o.Ours.Word, User: o.Ours.User, Again: true}); err != nil {
				return false, err
			}
		}
		return true, nil
	})
	if err := errors.Join(err, keep()); err != nil {
		return err
	}
	p.g.log.Warn("registry was restored", "party", string(p.id), "jobs", made)
	return p.sentAgain(since)
}

// keepAgain stores jobs, but for those that there are already.
func (p *Party) keepAgain(jobs []Job) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.g.store.indexed() // several of one match
	defer b.close()
	for _, job := range jobs {
		if job.Kind == JobResend && p.queue.resending(job.SID) {
			continue
		}
		if job.Kind == JobAnswer { // in the place of one that still waits
			m, err := get[Match](b.view(), p.key.match(job.Match))
			if errors.Is(err, errAbsent) {
				continue
			} else if err != nil {
				return err
			}
			if o := m.member(job.Other); o != nil {
				o.Again = job.ID
				b.put(p.key.match(m.ID), m)
			}
		}
		b.put(p.key.job(job.ID), job)
		b.then = append(b.then, func() { p.took(job.Kind) })
	}
	return p.commit(b)
}

// sentAgain notes that the jobs are there, unless the registry has been restored again
// meanwhile.
func (p *Party) sentAgain(since time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, err := get[feedState](p.g.store.view, p.key.feed())
	if err != nil || !at.Lacks.Equal(since) {
		return err
	}
	at.Lacks = time.Time{}
	b := p.g.store.batch()
	defer b.close()
	b.put(p.key.feed(), at)
	return p.commit(b)
}

// resending tells whether a signal is still to be sent again.
func (q *queue) resending(sid api.SID) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.ContainsFunc(q.on[sid], func(pl *place) bool { return pl.resends })
}

// lacked tells whether a registry may lack the signal's last revision that lacks what it
// gave receipts for since a time.
func (s Signal) lacked(since time.Time) bool {
	r, err := api.ParseReceipt(s.Receipt.Signed)
	return err != nil || !r.Time.Before(since)
}

// grantedIn tells whether the signal's receipt is of an incarnation of the registry.
func (s Signal) grantedIn(incarnation []byte) bool {
	r, err := api.ParseReceipt(s.Receipt.Signed)
	return err == nil && bytes.Equal(r.Incarnation[:], incarnation)
}

// overtaken tells whether the answer to a job is of a registry that was lost meanwhile: since
// it was asked, the feed has told of another incarnation, and what the answer brings is not
// among what was listed to be sent again. Such a job stays as it is, and is sent again itself. An
// answer after a restore can be the receipt from before; then it is asked for twice. p.mu is held.
func (p *Party) overtaken(job Job, r api.Receipt) (bool, error) {
	now, err := p.incarnation()
	return !bytes.Equal(now, job.asked) && !bytes.Equal(now, r.Incarnation[:]), err
}

// incarnation is the registry's, as the feed last told; nil if it has not yet.
func (p *Party) incarnation() (encoding.Base64, error) {
	at, err := get[feedState](p.g.store.view, p.key.feed())
	if errors.Is(err, errAbsent) {
		err = nil
	}
	return at.Incarnation, err
}

// exact is a signal's last statement as it was sent; nil when not all of it is kept.
func (s Signal) exact() *Prepared {
	pr := &Prepared{SID: s.SID, Rev: s.Rev, Signed: s.Statement, Expires: s.Expires}
	for _, f := range s.Faces {
		if len(f.Card) == 0 || f.SID != s.SID || f.Rev != s.Rev {
			return nil
		}
		pr.Epochs = append(pr.Epochs, f.Epoch)
		pr.Faces = append(pr.Faces, api.SealedFace{Card: f.Card, Keybox: f.Keybox})
	}
	if len(s.Statement.Signed) == 0 {
		return nil
	}
	return pr
}

// prepareResend takes a signal's last statement, or makes a revision of it where that is
// not kept or was not taken. p.mu is held.
func (p *Party) prepareResend(m *manifest.Manifest, job Job) (*Job, error) {
	signal, err := get[Signal](p.g.store.view, p.key.signal(job.SID))
	if errors.Is(err, errAbsent) || err == nil && !signal.Live(identity.Today(p.g.now())) {
		return nil, p.resentHeld(job, nil, "gone", nil)
	}
	if err != nil {
		return nil, err
	}
	if job.Prepared = signal.exact(); job.Prepared != nil && !job.Again {
		return &job, nil
	}
	child, err := p.openFaces(m, signal.Faces)
	if errors.Is(err, errNoToken) && m.Lost(signal.epochs()) { // loseCompromised sees to it
		return nil, p.resentHeld(job, nil, "gone", nil)
	}
	if errors.Is(err, errNoToken) {
		return nil, p.refuseHeld(job, StateRefused, Fault{"", CodeNewEpoch})
	}
	if err != nil {
		return nil, err
	}
	if job.Card = signal.Card; job.Card.IsZero() {
		job.Card = p.card
	}
	next := signal.next()
	if next.Expires = signal.Expires; next.Expires.IsZero() { // of a revision that is not known
		job.Prepared, err = p.statement(m, child, next, job.Card, 0, p.g.now())
		return &job, err
	}
	job.Prepared, err = p.statementUntil(m, child, next, job.Card, p.g.now())
	return &job, err
}

// resent stores the receipt for what was sent again. For the most the registry had it,
// and gives the receipt that it gave before.
func (p *Party) resent(job Job, a api.Accepted, r api.Receipt) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if late, err := p.overtaken(job, r); late || err != nil {
		return err
	}
	if a.SID != job.Prepared.SID { // it knows the child by another signal of ours
		p.g.log.Error("resend not taken", "party", string(p.id), "job", job.ID.String(), "code", api.CodeUnknownSignal)
		return p.resentHeld(job, nil, "elsewhere", &r)
	}
	known, err := get[Signal](p.g.store.view, p.key.signal(job.SID))
	switch {
	case errors.Is(err, errAbsent):
		return p.resentHeld(job, nil, "gone", &r)
	case err != nil:
		return err
	case a.Rev == known.Rev:
		known.Receipt, known.Others = a.Receipt, r.Others
	default:
		if known, err = p.receipted(p.g.store.view, answered{job, a, r}, true); err != nil {
			return err
		}
	}
	return p.resentHeld(job, &known, "resent", &r)
}

// resentHeld ends a job that sends a signal again. given is the receipt, if there is one.
// p.mu is held.
func (p *Party) resentHeld(job Job, signal *Signal, outcome string, given *api.Receipt) error {
	b := p.g.store.batch()
	defer b.close()
	if given != nil {
		p.owe(b, *given)
		before, err := get[Signal](p.g.store.view, p.key.signal(job.SID))
		if err == nil {
			err = p.replaced(b, before.Receipt, *given)
		}
		if err != nil && !errors.Is(err, errAbsent) {
			return err
		}
	}
	if signal != nil {
		b.put(p.key.signal(signal.SID), *signal)
	}
	b.delete(p.key.job(job.ID))
	if err := p.commit(b); err != nil {
		return err
	}
	p.finished(job, outcome)
	return nil
}

// resendRefused sorts the registry's refusals of what is sent again, as notTaken does.
func (p *Party) resendRefused(ctx context.Context, began time.Time, job Job, code api.Code, wait *waitError) error {
	switch code {
	case api.CodeGone:
		return p.refuse(job, StateWithdrawn, Fault{"", CodeRegistryGone})
	case api.CodeEpoch, api.CodeFaces, api.CodeIssued, api.CodeSignature:
		// What was right when it was signed is not taken as it is: then a revision of it.
		if err := p.g.roots.refresh(ctx, p, began); err != nil || job.Again {
			return wait
		}
		job.Prepared, job.Again = nil, true
		return p.keepPrepared(job)
	}
	outcome := "known" // a later revision, or it has expired there
	if code != api.CodeRevision && code != api.CodeExpires {
		outcome = "refused"
		p.g.log.Error("resend not taken", "party", string(p.id), "job", job.ID.String(), "code", code)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.resentHeld(job, nil, outcome, nil)
}

// retold puts into a batch what a message says that came before, or that tells what is
// known. Such come from a registry that was restored: its matches form again, under
// other names, and what was answered is answered again. Nobody is told, but the match
// goes on as it is there now.
func (p *Party) retold(b *batch, msg *Message, before bool) (bool, error) {
	if msg.Problem != "" || before && msg.SID.IsZero() {
		return before, nil
	}
	if msg.SID.IsZero() && msg.Kind == api.EventHandover {
		return p.retoldOffer(b, msg)
	}
	m, err := p.currentMatch(b.view(), msg.SID)
	if err != nil {
		return before, err
	}
	var other *Member
	if m != nil {
		other = m.told(msg.Other)
	}
	if other == nil {
		if msg.Kind == api.EventLeft && !before {
			toldOf, err := p.wasToldOf(b.view(), *msg)
			return !toldOf, err
		}
		return before, nil
	}
	if msg.Rev < other.Rev && !msg.Other.Card.IsZero() { // an earlier card than was shown: it has gone and come, so they say
		msg.Other, msg.Rev = other.Other, other.Rev
	}
	if msg.Kind == api.EventLeft && before && other.Present && other.Doubt.IsZero() {
		// It was taken for gone, or had left, and came back meanwhile; but not where our own
		// signal has ended, since when nobody comes or goes.
		return !m.Ended.IsZero(), nil
	}
	// Since an epoch was compromised gateways revise what has a face in it, and keep the card.
	same := msg.Kind == api.EventCard && other.Present && msg.Other.Card == other.Card && p.g.roots.robbed()
	if !before && !same && !m.knows(*other, *msg) {
		if msg.Kind == api.EventJoined && other.Present {
			msg.Kind = api.EventCard // all that is new about it
		}
		return false, nil
	}
	live := msg.Answer != "" || !msg.Other.Card.IsZero() // both signals
	if !m.Ended.IsZero() || !live {
		return true, nil
	}
	if !other.Present {
		return msg.Kind == api.EventAnswer, nil // it was taken for gone, and is not
	}
	switch msg.Kind {
	case api.EventJoined, api.EventCard:
		if msg.Rev >= other.Rev {
			other.Other, other.Rev = msg.Other, msg.Rev
		}
	case api.EventAnswer:
		if !before { // else it comes with the word of a later one, which follows
			other.Theirs.Number = max(other.Theirs.Number, msg.Number)
		}
	default:
		return true, nil
	}
	other.Doubt = time.Time{}
	// Both signals live, so this is the match that they are in.
	p.rename(b, m, msg.Match)
	b.put(p.key.match(m.ID), *m)
	return true, nil
}

// wasToldOf tells whether anything was told of whom a message is about. The journal of a
// restored registry knows of everybody who left, and not whether it had come to the word
// that he had joined.
func (p *Party) wasToldOf(v view, msg Message) (told bool, err error) {
	err = scan(v, p.key.messagesOn(msg.SID), nil, false, func(key []byte, _ struct{}) (bool, error) {
		earlier, err := get[Message](v, p.key.message(binary.BigEndian.Uint64(key[len(key)-8:])))
		told = err == nil && earlier.Other.Party == msg.Other.Party && earlier.Other.SID == msg.Other.SID
		return !told, err
	})
	return told, err
}

// doubt marks, in a batch that can be read, the members that the registry may not know of
// any more, or may not have told us of: who met us at a time from which on it may lack
// signals, or is in a match with a signal that we have revised since. It is the batch in
// which that becomes known, before what the registry has told since. p.mu is held.
func (p *Party) doubt(b *batch, since time.Time) error {
	var marked []Match
	err := scan(p.g.store.view, p.key.table(tableMatch), nil, false, func(_ []byte, m Match) (bool, error) {
		own, err := get[Signal](p.g.store.view, p.key.signal(m.SID))
		if !m.Ended.IsZero() || errors.Is(err, errAbsent) {
			return true, nil
		}
		any := false
		for i, o := range m.Others {
			if o.Present && (own.lacked(since) || !o.Since.Before(since.Add(-clocksApart))) {
				m.Others[i].Doubt, any = p.g.now().UTC(), true
			}
		}
		if any {
			marked = append(marked, m)
		}
		return true, err
	})
	for _, m := range marked {
		b.put(p.key.match(m.ID), m)
	}
	return err
}

// doubtful gives our signals in matches with a member that is in doubt. Where such a
// signal is sent again the registry says who is in its match.
func (p *Party) doubtful(v view) (map[api.SID]bool, error) {
	of := map[api.SID]bool{}
	err := scan(v, p.key.table(tableMatch), nil, false, func(_ []byte, m Match) (bool, error) {
		if slices.ContainsFunc(m.Others, func(o Member) bool { return !o.Doubt.IsZero() }) {
			of[m.SID] = true
		}
		return true, nil
	})
	return of, err
}

// doubted tells whether an answer is for somebody who is in doubt.
func (p *Party) doubted(job Job) (bool, error) {
	m, err := get[Match](p.g.store.view, p.key.match(job.Match))
	if errors.Is(err, errAbsent) { // swept, or no answer
		return false, nil
	}
	o := m.member(job.Other)
	return o != nil && !o.Doubt.IsZero(), err
}

// sweepDoubts takes those for gone of whom the registry has said nothing for a day since
// it was restored: their signal was withdrawn before ours was there again, or has not
// come back. Should it come back, they are told of as new.
func (p *Party) sweepDoubts(v view) error {
	now := p.g.now()
	var gone []Message
	err := scan(v, p.key.table(tableMatch), nil, false, func(_ []byte, m Match) (bool, error) {
		for _, o := range m.Others {
			if !m.Ended.IsZero() || !o.Present || o.Doubt.IsZero() || now.Sub(o.Doubt) < doubtFor {
				continue
			}
			id, err := api.EventIDOf(p.id, m.SID, o.Party, o.SID, api.EventLeft, 0)
			if err != nil {
				return false, err
			}
			gone = append(gone, Message{
				ID: id, Received: now.UTC(), Kind: api.EventLeft, Match: m.Match, SID: m.SID,
				Other: Other{Party: o.Party, Name: o.Name, Kind: o.Kind, SID: o.SID},
			})
		}
		return true, nil
	})
	if err != nil || len(gone) == 0 {
		return err
	}
	return p.keep(gone, func(*feedState) {}, time.Time{})
}

// knows tells whether a message about a member says what is known of it.
func (m *Match) knows(other Member, msg Message) bool {
	switch msg.Kind {
	case api.EventJoined: // without a card it has left since, which is told next, or was
		return msg.Other.Card.IsZero() || other.Present && (msg.Rev <= other.Rev || msg.Other.Card == other.Card)
	case api.EventCard:
		return !other.Present && msg.Other.Card.IsZero() || other.Present && !msg.Other.Card.IsZero() && (msg.Rev <= other.Rev || other.Rev == 0 && msg.Other.Card == other.Card)
	case api.EventLeft:
		return !other.Present
	case api.EventHandover:
		return !msg.TookOver.IsZero() && other.TookOver.SID == msg.TookOver
	case api.EventAnswer:
		// The first after a restore repeats the last before it, and an event from before can
		// have come with it. What repeated was not kept, so it comes again from a backup that
		// was made before it was acknowledged; another word may have followed by then.
		restored, last := msg.Number/api.AnswerNumbers, other.Theirs.Number/api.AnswerNumbers
		if restored == last {
			return restored > 0 && msg.Number <= other.Theirs.Number
		}
		return restored > 0 && (msg.Answer == other.Theirs.Word || msg.Answer == "")
	}
	return false
}

// saidSince tells whether an answer that is to be given again need not be: something
// else was answered, another job is to do it, or the other's signal did not come back.
func (p *Party) saidSince(m Match, job Job, now time.Time) bool {
	o := m.member(job.Other)
	return o == nil || o.Again != job.ID || !o.Asked.Job.IsZero() || o.Ours.Word != job.Answer || o.Ours.At.After(job.Created) || now.Sub(job.Created) > resayFor
}
