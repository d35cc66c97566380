// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/gateway/webhook"
)

// eventData is what a webhook is told, in the words of the API: enough for its reader
// to know which file it is about, and whom to ask. The other's card is not in it
// unless the subscription asks for it: who fetches it is in the log of access.
type eventData struct {
	Kind    string        `json:"soort"`
	Text    string        `json:"tekst"`
	Answer  string        `json:"antwoord,omitempty"` // the other's
	Match   string        `json:"match,omitempty"`
	SID     string        `json:"sid,omitempty"`
	Offer   string        `json:"overname,omitempty"`
	Mistake bool          `json:"vergissing,omitempty"`
	Expires string        `json:"verlooptOp,omitempty"`
	Signals []eventSignal `json:"signalen"`
	Partial bool          `json:"onvolledig,omitempty"` // there are more signals than fit
	Other   eventOther    `json:"ander,omitzero"`       // absent of a message about our own signal alone
	Problem string        `json:"probleem,omitempty"`
}

type eventSignal struct {
	ID        string `json:"signaal"`
	Reference string `json:"kenmerk"`
	Owner     string `json:"hulpverlener"`
	Link      string `json:"link,omitempty"`
}

type eventOther struct {
	Party string     `json:"deelnemer"`
	Name  string     `json:"naam,omitempty"`
	Kind  string     `json:"soort,omitempty"`
	Card  *eventCard `json:"contactkaart,omitempty"`
	Code  string     `json:"voorleescode,omitempty"`
}

type eventCard struct {
	Name      string `json:"naam,omitempty"`
	Role      string `json:"functie,omitempty"`
	Desk      string `json:"afdeling,omitempty"`
	Phone     string `json:"telefoon,omitempty"`
	Email     string `json:"email,omitempty"`
	Reachable string `json:"bereikbaarheid,omitempty"`
}

// About names what a message is about, as the API does: a match, a signal of ours, and a signal
// that is offered to us. What it is not about is empty.
func (m Message) About() (match, sid, offer string) {
	if !m.Match.IsZero() {
		match = m.Match.String()
	}
	if !m.SID.IsZero() {
		sid = m.SID.String()
	} else if !m.Until.IsZero() {
		offer = m.Other.SID.String()
	}
	return match, sid, offer
}

// event makes the body of a message for a subscription, of at most webhook.MaxEvent
// bytes.
func (p *Party) event(s Subscription, m Message) ([]byte, error) {
	data := eventData{
		Kind: KindName(m.Kind), Text: m.Words(), Answer: AnswerName(m.Answer), Mistake: m.Mistake, Signals: []eventSignal{}, Problem: m.Problem.Words(),
		Other: eventOther{Party: string(m.Other.Party), Name: m.Other.Name, Kind: m.Other.Kind},
	}
	if m.Kind == api.EventExpiring {
		data.Expires = m.Until.String()
	}
	data.Match, data.SID, data.Offer = m.About()
	prefix := s.Link
	if prefix == "" {
		prefix = p.link
	}
	for _, o := range m.Owners {
		signal := eventSignal{ID: o.Registration.String(), Reference: o.Reference, Owner: o.Owner}
		if prefix != "" {
			signal.Link = prefix + url.PathEscape(signal.ID)
		}
		data.Signals = append(data.Signals, signal)
	}
	if s.Card {
		data.Other.Code = m.Other.Code
		if card := eventCard(m.Other.Card); card != (eventCard{}) {
			data.Other.Card = &card
		}
	}
	for {
		body, err := webhook.Event{
			ID: m.ID.String(), Source: webhook.Source(p.id), Type: webhook.Type(typeName(data.Kind)), Time: m.Received, Sequence: m.Seq, Data: data,
		}.Body()
		if !errors.Is(err, webhook.ErrTooLarge) || len(data.Signals) == 0 {
			return body, err
		}
		data.Signals, data.Partial = data.Signals[:len(data.Signals)/2], true
	}
}

// typeName writes a kind with dashes, as the types of events are written.
func typeName(kind string) string {
	var b strings.Builder
	for _, r := range kind {
		if r >= 'A' && r <= 'Z' {
			b.WriteByte('-')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// post sends a message to a webhook once. A card that goes along is in the log of
// access before it does.
func (p *Party) post(ctx context.Context, d *delivery) (webhook.Answer, error) {
	now := p.g.now()
	secrets, err := d.t.secrets(now)
	if err != nil {
		return webhook.Answer{}, err
	}
	body, err := p.event(d.t.Subscription, d.msg)
	if err != nil {
		return webhook.Answer{}, err
	}
	if d.t.Subscription.Card {
		by := &Access{Party: p, Who: "abonnement:" + d.t.ID.String()}
		if err := p.LogAccess(by, TouchedMessages([]Message{d.msg})...); err != nil {
			return webhook.Answer{}, err
		}
	}
	return p.g.webhooks.Post(ctx, d.t.Subscription.URL, d.msg.ID.String(), now, body, secrets), nil
}
