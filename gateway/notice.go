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
	now := p.g.now()
	fresh := map[ID]Target{} // recipients, with what is new to them behind the cursor
	tell := func(t Target, seq uint64) {
		t.ID, t.Kind, t.Created, t.Cursor = p.mailTarget(t), TargetMail, now.UTC(), seq-1
		if was, ok := fresh[t.ID]; ok {
			t = was
		}
		t.Upto = seq
		fresh[t.ID] = t
	}
	for _, m := range messages {
		for _, o := range m.Owners {
			u, _ := p.door.user(o.Owner)
			for _, id := range []string{u.ID, u.Deputy} {
				if who, _ := p.door.user(id); who.Active && who.Email != "" {
					tell(Target{User: id}, m.Seq)
				}
			}
		}
		for _, address := range p.desk {
			tell(Target{Desk: address}, m.Seq)
		}
	}
	for id, news := range fresh {
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
		t.Upto = news.Upto
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
