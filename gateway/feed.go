// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/seal"
	"github.com/seinhuis/seinhuis/manifest"
)

const feedWait = 50 // seconds of a long poll

// readFeed polls the party's feed, and keeps every event.
func (p *Party) readFeed(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; {
		err := p.poll(ctx)
		if err == nil {
			failures = 0
			continue
		}
		if ctx.Err() != nil {
			return
		}
		failures++
		code := api.CodeOf(err)
		p.g.metrics.feedFaults.WithLabelValues(string(code)).Inc()
		p.g.log.Warn("feed not read", "party", string(p.id), "code", code, "cause", err)
		if !sleep(ctx, backoff(failures)) {
			return
		}
	}
}

// poll asks once for what is behind the cursor. To ask with a cursor says that all
// before it is kept, so the cursor is stored with the messages.
func (p *Party) poll(ctx context.Context) error {
	m, d, err := p.roots(ctx)
	if err != nil {
		return api.Refuse(api.CodeUnavailable, err)
	}
	at, err := get[feedState](p.g.store.view, p.key.feed())
	if err != nil && !errors.Is(err, errAbsent) {
		return err
	}
	if !at.Lacks.IsZero() {
		if err := p.sendAgain(at); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, (feedWait+20)*time.Second)
	defer cancel()
	path := fmt.Sprintf("/v1/events?cursor=%s&wait=%d&limit=%d", url.QueryEscape(at.Cursor), feedWait, api.MaxEvents)
	var got api.Events
	began := time.Now()
	if err := p.call(ctx, endpoint{m.Registry.URL, m.Registry.TLS}, http.MethodGet, path, nil, &got, api.MaxEventsBody); err != nil {
		return err
	}
	arrived := time.Now()
	p.feedRead()
	if len(got.Items) == 0 && got.Next == at.Cursor {
		if arrived.Sub(began) < time.Second && !sleep(ctx, time.Second) { // who answers nothing at once is not asked at once
			return ctx.Err()
		}
		return nil
	}
	messages := p.readEvents(m, d, got.Items)
	open := m.Open()
	behind := len(open) > 0 && slices.ContainsFunc(got.Items, func(e api.Event) bool { return e.Epoch > open[0].Number })
	if behind || slices.ContainsFunc(messages, func(msg Message) bool { return msg.Problem != "" }) {
		// The registry matches on a later epoch than our manifest has, or a party or key may be
		// newer than our directory.
		if err := p.g.roots.refresh(ctx, p, arrived); err == nil {
			if m, d, err = p.g.roots.inForce(); err == nil {
				messages = p.readEvents(m, d, got.Items)
			}
		}
	}
	return p.keep(messages, func(at *feedState) {
		if at.Cursor = got.Next; at.Lacks.IsZero() || !got.Lacks.IsZero() && got.Lacks.Before(at.Lacks) {
			at.Lacks = got.Lacks
		}
		at.Incarnation = got.Incarnation
	}, got.Lacks)
}

func (p *Party) readEvents(m *manifest.Manifest, d *manifest.Directory, events []api.Event) []Message {
	list := make([]Message, len(events))
	for i, e := range events {
		list[i] = p.readEvent(m, d, e)
	}
	return list
}

// readEvent verifies an event, from our own signature up to the other's card.
// What fails is told in Problem; then nothing that was not verified is shown.
func (p *Party) readEvent(m *manifest.Manifest, d *manifest.Directory, e api.Event) Message {
	now := p.g.now()
	msg := Message{
		ID: e.ID, Received: now.UTC(), Kind: e.Kind, Match: e.Match, SID: e.Own.SID,
		Other: Other{Party: e.Other.Party, SID: e.Other.SID}, Mistake: e.Mistake && e.Kind == api.EventLeft,
	}
	other, listed := d.Party(e.Other.Party)
	if !listed {
		msg.Problem = CodeOtherUnknown
		return msg
	}
	msg.Other.Name, msg.Other.Kind = other.Name, other.Kind
	if _, known := messageWords[e.Kind]; !known || ownKind(e.Kind) {
		msg.Problem = CodeEventKind
		return msg
	}
	if e.Kind == api.EventAnswer {
		msg.Number = e.Other.Rev
	}
	if e.Own.SID.IsZero() { // what another gives to us is about no signal of ours
		if msg.Until = e.Until; e.Kind != api.EventHandover {
			msg.Problem = CodeOwnStatement
		}
		return msg
	}
	if len(e.Own.Signed.Signed) == 0 { // our signal has ended since: there is nothing to open with
		return msg
	}
	box, problem := p.ownKeybox(m, d, e)
	if problem != "" {
		msg.Problem = problem
		return msg
	}
	if e.Kind == api.EventAnswer {
		// The word is the registry's: the other's signature does not travel with it.
		if msg.Answer = e.Answer; e.Answer != "" && !e.Answer.Known() {
			msg.Answer, msg.Problem = "", CodeEventKind
		}
		return msg
	}
	if e.Kind == api.EventHandover {
		msg.TookOver = e.Other.TakesOver
		msg.nothing = msg.TookOver.IsZero() // ours lives, so it is not ours that was taken over
		return msg
	}
	if len(e.Other.Card) == 0 { // the other's signal has ended since
		return msg
	}
	context := seal.Context{Dep: m.Dep, Party: string(e.Other.Party), SID: e.Other.SID, Rev: e.Other.Rev, Epoch: e.Epoch}
	card, err := seal.OpenCard(box.Token, context, e.Other.Card, func(id encoding.KeyID) (ed25519.PublicKey, bool) {
		return d.VerifyKey(e.Other.Party, id, now)
	})
	if err != nil {
		msg.Problem = CodeOtherCard
		return msg
	}
	msg.Rev = e.Other.Rev
	code, err := seal.ReadOutCode(box.Token.Seal, e.Own.SID, e.Other.SID)
	if err != nil {
		msg.Problem = CodeOtherCard
		return msg
	}
	msg.Other.Card, msg.Other.Code = Card(card), code
	return msg
}

// ownKeybox opens the keybox that an event gives back. Anybody could have sealed
// one to our public key: ours is the one whose hash we signed.
func (p *Party) ownKeybox(m *manifest.Manifest, d *manifest.Directory, e api.Event) (seal.Keybox, Code) {
	st, err := api.ParseStatement(e.Own.Signed.Signed)
	if err != nil || st.Dep != m.Dep || st.Party != p.id || st.SID != e.Own.SID {
		return seal.Keybox{}, CodeOwnStatement
	}
	key, ok := p.ownKey(d, st.KeyID, p.g.now())
	if !ok || !e.Own.Signed.Verify(key) {
		return seal.Keybox{}, CodeOwnStatement
	}
	i := slices.IndexFunc(st.Faces, func(f api.Face) bool { return f.Epoch == e.Epoch })
	if i < 0 || sha256.Sum256(e.Own.Keybox) != st.Faces[i].Keybox {
		return seal.Keybox{}, CodeOwnKeybox
	}
	box, err := p.openKeybox(seal.Context{Dep: m.Dep, Party: string(p.id), SID: st.SID, Rev: st.Rev, Epoch: e.Epoch}, e.Own.Keybox)
	if err != nil || api.Tag(box.Token.Tag) != st.Faces[i].Tag {
		return seal.Keybox{}, CodeOwnKeybox
	}
	return box, ""
}

// keep stores messages, what they make of their matches, and how far the feed was read
// then, in one batch. An event that came before is not kept again, nor one that says
// nothing new; see retold. lacks is from when on a registry that was restored may lack
// what it knew, zero for never.
func (p *Party) keep(messages []Message, read func(*feedState), lacks time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, err := get[feedState](p.g.store.view, p.key.feed())
	if err != nil && !errors.Is(err, errAbsent) {
		return err
	}
	b := p.g.store.indexed() // messages of one match follow on each other
	defer b.close()
	if !lacks.IsZero() {
		if err := p.doubt(b, lacks); err != nil {
			return err
		}
	}
	seen := map[api.EventID]bool{}
	var kept []Message
	for _, msg := range messages {
		_, err := get[uint64](p.g.store.view, p.key.event(msg.ID))
		if err != nil && !errors.Is(err, errAbsent) {
			return err
		}
		known, fault := p.retold(b, &msg, err == nil || seen[msg.ID])
		if fault != nil {
			return fault
		}
		if known || msg.nothing {
			continue
		}
		seen[msg.ID] = true
		if msg, err = p.putMessage(b, &at, msg); err != nil {
			return err
		}
		if err := p.follow(b, msg); err != nil {
			return err
		}
		kept = append(kept, msg)
	}
	read(&at)
	if !lacks.IsZero() {
		if err := p.mayLack(b, lacks, at.Incarnation); err != nil {
			return err
		}
	}
	return p.commitInbox(b, at, kept)
}

// commitInbox commits a batch with what the inbox has got, has it mailed and tells who waits.
func (p *Party) commitInbox(b *batch, at feedState, kept []Message) error {
	if err := p.addressMail(b, kept); err != nil {
		return err
	}
	b.put(p.key.feed(), at)
	if err := p.commit(b); err != nil {
		return err
	}
	p.announce(kept)
	return nil
}

// putMessage puts a message into a batch that can be read, as the last of the inbox.
func (p *Party) putMessage(b *batch, at *feedState, msg Message) (Message, error) {
	at.Seq++
	msg.Seq = at.Seq
	var err error
	if msg.Owners, err = p.ownersOf(b.view(), msg.SID); err != nil {
		return msg, err
	}
	for i, o := range msg.Owners {
		u, _ := p.door.user(o.Owner)
		msg.Owners[i].Team = u.Team
	}
	if err := p.handedOver(b, &msg); err != nil {
		return msg, err
	}
	b.put(p.key.message(msg.Seq), msg)
	b.put(p.key.messageOn(msg.SID, msg.Seq), struct{}{})
	b.put(p.key.event(msg.ID), msg.Seq)
	return msg, nil
}

// announce tells whoever waits of messages that are in the inbox.
func (p *Party) announce(kept []Message) {
	for _, msg := range kept {
		p.g.metrics.events.WithLabelValues(eventLabel(msg.Kind)).Inc()
		if msg.Problem != "" {
			p.g.metrics.eventProblems.WithLabelValues(string(msg.Problem)).Inc()
			p.g.log.Error("event not verified", "party", string(p.id), "event", msg.ID.String(), "problem", string(msg.Problem))
		}
	}
	if len(kept) > 0 {
		p.inbox.notify()
		p.outbox.wake()
	}
}

// eventLabel keeps what a registry may invent out of our metrics.
func eventLabel(kind api.EventKind) string {
	if _, known := messageWords[kind]; known {
		return string(kind)
	}
	return "other"
}
