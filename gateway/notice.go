// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seinhuis/seinhuis/gateway/mail"
)

// When mail goes: what comes within a short while is one mail, and nobody gets a mail
// right after another.
const (
	mailGathers = time.Minute
	mailApart   = 15 * time.Minute
)

// addressMail has those told of messages whom they concern: the owners of each, their
// deputies, and the desk. It is in the batch that keeps the messages, so that no crash
// comes between. p.mu is held.
func (p *Party) addressMail(b *batch, messages []Message) error {
	if p.g.mailer == nil || len(messages) == 0 {
		return nil
	}
	told := recipients{}
	for _, m := range messages {
		for _, o := range m.Owners {
			p.tellOwner(told, o.Owner, m.Seq)
		}
		for _, address := range p.desk {
			p.tell(told, Target{Desk: address}, m.Seq)
		}
	}
	return p.putRecipients(b, told)
}

// passMail has whoever takes over from an owner told of what the owner has not been
// mailed of: he may never be, and it is not his any more. p.mu is held.
func (p *Party) passMail(b *batch, from, to string) error {
	if p.g.mailer == nil {
		return nil
	}
	waiting, err := p.Target(p.mailTarget(Target{User: from}))
	if errors.Is(err, ErrNotFound) || err == nil && waiting.Upto <= waiting.Cursor {
		return nil
	} else if err != nil {
		return err
	}
	told := recipients{}
	p.tellOwner(told, to, waiting.Upto)
	b.then = append(b.then, p.outbox.wake)
	return p.putRecipients(b, told)
}

// recipients are those to be mailed, with what is new to them behind the cursor.
type recipients map[ID]Target

func (p *Party) tell(told recipients, t Target, seq uint64) {
	t.ID, t.Kind, t.Created, t.Cursor = p.mailTarget(t), TargetMail, p.g.now().UTC(), seq-1
	if was, ok := told[t.ID]; ok {
		t = was
	}
	t.Upto = seq
	told[t.ID] = t
}

// tellOwner tells a professional, and the deputy.
func (p *Party) tellOwner(told recipients, owner string, seq uint64) {
	u, _ := p.door.user(owner)
	for _, id := range []string{u.ID, u.Deputy} {
		if who, _ := p.door.user(id); who.Active && who.Email != "" {
			p.tell(told, Target{User: id}, seq)
		}
	}
}

func (p *Party) putRecipients(b *batch, told recipients) error {
	now := p.g.now()
	for id, news := range told {
		t, err := p.Target(id)
		if errors.Is(err, ErrNotFound) {
			t, err = news, nil
			t.Upto = t.Cursor
		}
		if err != nil {
			return err
		}
		if t.Upto <= t.Cursor { // nothing waited
			t.Cursor = news.Cursor
			if at := now.Add(mailGathers); t.Head.Next.Before(at) {
				t.Head.Next = at
			}
		} else if t.Head.Count > 0 { // what is new is tried as long as what is not
			t.Head.Since = now
		}
		t.Upto = max(t.Upto, news.Upto)
		b.put(p.key.target(id), t)
	}
	return nil
}

// mailTarget is the id of a recipient: one and the same, however often he is forgotten.
func (p *Party) mailTarget(t Target) ID {
	return p.g.store.index.of("mail", p.key, fmt.Sprintf("%t %s", t.User != "", t.Recipient()))
}

// Recipient is who gets mail: a user, or else an address of the configuration. It is
// empty for a webhook.
func (t Target) Recipient() string {
	if t.User != "" {
		return t.User
	}
	return t.Desk
}

// sendMail tells a recipient once that there is news.
func (p *Party) sendMail(ctx context.Context, d *delivery) Result {
	to := ""
	if u, _ := p.door.user(d.t.User); d.t.User != "" && u.Active {
		to = u.Email
	} else if slices.Contains(p.desk, d.t.Desk) {
		to = d.t.Desk
	}
	if to == "" || p.g.mailer == nil {
		return NoAddress
	}
	name := p.g.store.index.of("mail-id", p.key, fmt.Sprintf("%s %d", d.t.ID, d.seq))
	return Result(p.g.mailer.Send(ctx, mail.Notice{To: to, ID: hex.EncodeToString(name[:]), At: p.g.now(), Link: p.news}))
}
