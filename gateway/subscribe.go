// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"context"
	"encoding/hex"
	"errors"
	"net/url"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"crypto/rand"

	"github.com/seinhuis/seinhuis/gateway/webhook"
)

// Bounds of what a subscription says.
const (
	maxName  = 80
	maxNamed = 200 // professionals, or teams
)

// checkSubscription gives everything that is wrong.
func (p *Party) checkSubscription(s Subscription) (faults []Fault) {
	refuse := func(field string, code Code) { faults = append(faults, Fault{field, code}) }
	if s.URL == "" {
		refuse(FieldURL, CodeMissing)
	} else if p.g.webhooks.Check(s.URL) != nil {
		refuse(FieldURL, CodeForm)
	}
	if s.Link != "" && !linkForm(s.Link) {
		refuse(FieldLink, CodeForm)
	}
	if utf8.RuneCountInString(s.Name) > maxName {
		refuse(FieldName, CodeLength)
	} else if slices.ContainsFunc([]rune(s.Name), unicode.IsControl) {
		refuse(FieldName, CodeForm)
	}
	if slices.ContainsFunc(s.Kinds, func(kind string) bool { return !slices.Contains(KindNames(), kind) }) {
		refuse(FieldKinds, CodeUnknown)
	}
	for field, list := range map[string][]string{FieldOwners: s.Owners, FieldTeams: s.Teams} {
		if len(list) > maxNamed {
			refuse(field, CodeLength)
		}
	}
	if slices.ContainsFunc(s.Owners, func(o string) bool { return !ownerForm.MatchString(o) }) {
		refuse(FieldOwners, CodeForm)
	}
	return faults
}

// linkForm tells whether a text can be the beginning of links into a case system.
func linkForm(prefix string) bool {
	u, err := url.Parse(prefix)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && u.User == nil && u.Fragment == "" &&
		len(prefix) <= webhook.MaxURL
}

// Subscribe makes a subscription to what comes in from now on. Its secret is not shown
// again.
func (p *Party) Subscribe(by *Access, s Subscription, scheme webhook.Scheme) (Target, webhook.Secret, error) {
	if faults := p.checkSubscription(s); len(faults) > 0 {
		return Target{}, webhook.Secret{}, &InputError{faults}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	err := scan(p.g.store.view, p.key.table(tableTarget), nil, false, func(_ []byte, t Target) (bool, error) {
		if t.Kind == TargetWebhook {
			n++
		}
		return true, nil
	})
	if err != nil {
		return Target{}, webhook.Secret{}, err
	}
	if n >= MaxSubscriptions {
		return Target{}, webhook.Secret{}, ErrManyTargets
	}
	at, err := get[feedState](p.g.store.view, p.key.feed())
	if err != nil && !errors.Is(err, errAbsent) {
		return Target{}, webhook.Secret{}, err
	}
	now := p.g.now()
	secret := webhook.NewSecret(scheme)
	t := Target{
		ID: newID(now), Kind: TargetWebhook, Created: now.UTC(), Subscription: s, Cursor: at.Seq,
		Secrets: []HeldSecret{{Text: secret.Reveal()}},
	}
	return t, secret, p.putTarget(by, t)
}

// putTarget writes what somebody changed of a target. p.mu is held.
func (p *Party) putTarget(by *Access, t Target) error {
	b := p.g.store.batch()
	defer b.close()
	b.put(p.key.target(t.ID), t)
	p.logAccess(b, by, Touch{Event: LogSubscription, ObjectType: ObjectSubscription, ObjectID: t.ID.String()})
	b.then = append(b.then, p.outbox.wake)
	return p.commit(b)
}

// Targets lists subscriptions and recipients of mail, beginning behind the one called
// from; more tells whether there are others.
func (p *Party) Targets(from ID, limit int) (list []Target, more bool, err error) {
	var start []byte
	if !from.IsZero() {
		start = p.key.target(from)
	}
	err = scan(p.g.store.view, p.key.table(tableTarget), start, false, func(_ []byte, t Target) (bool, error) {
		if more = len(list) == limit; !more {
			list = append(list, t)
		}
		return !more, nil
	})
	return list, more, err
}

// Target reads one target.
func (p *Party) Target(id ID) (Target, error) {
	t, err := get[Target](p.g.store.view, p.key.target(id))
	if errors.Is(err, errAbsent) {
		return Target{}, ErrNotFound
	}
	return t, err
}

// subscription reads a target that is one. p.mu is held.
func (p *Party) subscription(id ID) (Target, error) {
	t, err := p.Target(id)
	if err == nil && t.Kind != TargetWebhook {
		err = ErrNoWebhook
	}
	return t, err
}

// ChangeSubscription replaces what a subscription says, and turns it on or off. With
// another address, or turned on, its tries begin anew; it goes on where it was.
func (p *Party) ChangeSubscription(by *Access, id ID, s Subscription, on bool) (Target, error) {
	if faults := p.checkSubscription(s); len(faults) > 0 {
		return Target{}, &InputError{faults}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t, err := p.subscription(id)
	if err != nil {
		return Target{}, err
	}
	if s.URL != t.Subscription.URL || on && t.Off != OffNot {
		t.anew()
	}
	t.Subscription = s
	switch {
	case on:
		t.Off = OffNot
	case t.Off == OffNot:
		t.Off = OffAsked
	}
	return t, p.putTarget(by, t)
}

// Unsubscribe ends a subscription, and forgets its dead letters.
func (p *Party) Unsubscribe(by *Access, id ID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.subscription(id); err != nil {
		return err
	}
	b := p.g.store.batch()
	defer b.close()
	b.delete(p.key.target(id))
	err := scan(p.g.store.view, p.key.deadLetters(id), nil, false, func(key []byte, _ DeadLetter) (bool, error) {
		b.delete(slices.Clone(key))
		return true, nil
	})
	if err != nil {
		return err
	}
	p.logAccess(b, by, Touch{Event: LogSubscription, ObjectType: ObjectSubscription, ObjectID: id.String()})
	return p.commit(b)
}

// RotateSecret gives a subscription a new secret of the same scheme. For so long, what
// is sent is signed with the one before it as well. ErrManySecrets when several are
// still in force.
func (p *Party) RotateSecret(by *Access, id ID, overlap time.Duration) (Target, webhook.Secret, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, err := p.subscription(id)
	if err != nil {
		return Target{}, webhook.Secret{}, err
	}
	now := p.g.now()
	t.Secrets = slices.DeleteFunc(t.Secrets, func(s HeldSecret) bool { return !s.inForce(now) })
	if len(t.Secrets) >= maxSecrets {
		return Target{}, webhook.Secret{}, ErrManySecrets
	}
	was, err := webhook.ParseSecret(t.Secrets[0].Text)
	if err != nil {
		return Target{}, webhook.Secret{}, err
	}
	secret := webhook.NewSecret(was.Scheme())
	t.Secrets[0].Until = now.Add(overlap).UTC()
	t.Secrets = append([]HeldSecret{{Text: secret.Reveal()}}, t.Secrets...)
	return t, secret, p.putTarget(by, t)
}

// TestSubscription sends an event of the kind proef once, whatever the subscription's
// state, and tells what came of it. Nothing else changes.
func (p *Party) TestSubscription(ctx context.Context, id ID) (webhook.Answer, error) {
	p.mu.Lock()
	t, err := p.subscription(id)
	p.mu.Unlock()
	if err != nil {
		return webhook.Answer{}, err
	}
	now := p.g.now()
	var random [16]byte
	rand.Read(random[:])
	e := webhook.Event{
		ID: "proef-" + hex.EncodeToString(random[:]), Source: webhook.Source(p.id), Type: webhook.Type("proef"), Time: now,
		Data: map[string]string{"soort": "proef"},
	}
	body, err := e.Body()
	if err != nil {
		return webhook.Answer{}, err
	}
	secrets, err := t.secrets(now)
	if err != nil {
		return webhook.Answer{}, err
	}
	return p.g.webhooks.Post(ctx, t.Subscription.URL, e.ID, now, body, secrets), nil
}

// DeadLetters lists what could not be delivered to a target, those behind a seq.
func (p *Party) DeadLetters(id ID, from uint64, limit int) (list []DeadLetter, more bool, err error) {
	v, release := p.g.store.snapshot()
	defer release()
	if _, err := get[Target](v, p.key.target(id)); errors.Is(err, errAbsent) {
		return nil, false, ErrNotFound
	} else if err != nil {
		return nil, false, err
	}
	err = scan(v, p.key.deadLetters(id), p.key.deadLetter(id, from), false, func(_ []byte, d DeadLetter) (bool, error) {
		if more = len(list) == limit; !more {
			list = append(list, d)
		}
		return !more, nil
	})
	return list, more, err
}

// ReplayDeadLetters has dead letters of a target tried again, beside the order: those
// with these seqs, or all. It tells how many; those that are being tried already count.
func (p *Party) ReplayDeadLetters(by *Access, id ID, seqs ...uint64) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, err := p.Target(id)
	if err != nil {
		return 0, err
	}
	b := p.g.store.batch()
	defer b.close()
	now := p.g.now()
	err = scan(p.g.store.view, p.key.deadLetters(id), nil, false, func(key []byte, d DeadLetter) (bool, error) {
		if len(seqs) > 0 && !slices.Contains(seqs, d.Seq) {
			return true, nil
		}
		n++
		if !d.Replay {
			d.Replay, d.Tries = true, Tries{}
			b.put(slices.Clone(key), d)
		}
		return true, nil
	})
	if err != nil || n == 0 {
		return n, err
	}
	t.Replay = now
	b.put(p.key.target(t.ID), t)
	p.logAccess(b, by, Touch{Event: LogSubscription, ObjectType: ObjectSubscription, ObjectID: t.ID.String()})
	b.then = append(b.then, p.outbox.wake)
	return n, p.commit(b)
}
