// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/gateway/webhook"
)

// A TargetKind is a way in which messages go further.
type TargetKind string

// Kinds of targets, as metrics name them.
const (
	TargetWebhook TargetKind = "webhook" // a subscription: each message, in order
	TargetMail    TargetKind = "mail"    // a recipient, who is told that there are messages
)

// A Target is where messages go further: a case system that subscribed, or somebody
// who gets mail. The inbox is its queue; so it is a cursor in that, and how the latest
// attempts went. It prints as [target] and its id, for its address can hold a secret.
type Target struct {
	ID      ID         `json:"id"`
	Kind    TargetKind `json:"kind"`
	Created time.Time  `json:"created"`

	Subscription Subscription `json:"subscription,omitzero"` // of a webhook
	Secrets      []HeldSecret `json:"secrets,omitempty"`     // of a webhook, the newest first

	User string `json:"user,omitempty"` // of mail: whose address it goes to
	Desk string `json:"desk,omitempty"` // of mail: or else an address of the configuration
	Upto uint64 `json:"upto,omitempty"` // of mail: the last message that it is about

	Cursor  uint64    `json:"cursor"`           // the last message that is done with
	Head    Tries     `json:"head,omitzero"`    // of what is behind the cursor
	Turn    int       `json:"turn,omitempty"`   // goes up when tries begin anew: a failure from before does not count
	Pause   time.Time `json:"pause,omitzero"`   // until then nothing is sent, as the receiver asked
	Failing time.Time `json:"failing,omitzero"` // since when nothing gets through
	Off     Off       `json:"off,omitempty"`    // why nothing is sent
	Last    Result    `json:"last,omitempty"`   // of the latest attempt
	LastAt  time.Time `json:"lastAt,omitzero"`
	Done    time.Time `json:"done,omitzero"`    // when the latest message was delivered
	Dead    int       `json:"dead,omitempty"`   // dead letters, with those that are replayed
	Replay  time.Time `json:"replay,omitzero"`  // when the first of those that are replayed is due
	Lapsed  int       `json:"lapsed,omitempty"` // messages that it wanted, never got, and will not get
}

// Format prints [target] and the id, whatever the verb.
func (t Target) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "[target %s]", t.ID) }

// LogValue logs the id.
func (t Target) LogValue() slog.Value { return slog.StringValue(t.ID.String()) }

// A Subscription is what a case system asks for. Empty lists stand for all.
type Subscription struct {
	Name   string   `json:"name,omitempty"` // the party's own
	URL    string   `json:"url"`
	Kinds  []string `json:"kinds,omitempty"`  // of messages, by the API's names
	Owners []string `json:"owners,omitempty"` // professionals; only their signals, and only they are named
	Teams  []string `json:"teams,omitempty"`  // and those of these teams
	Card   bool     `json:"card,omitempty"`   // with the other's contact card and the read-out code
	Link   string   `json:"link,omitempty"`   // prefix of links into the case system; empty: the party's
}

// HeldSecret is a secret of a subscription, as text.
type HeldSecret struct {
	Text  string    `json:"text"`
	Until time.Time `json:"until,omitzero"` // of one that a newer one replaces
}

// Tries are the attempts at one message.
type Tries struct {
	Count int       `json:"count,omitempty"` // that failed
	Since time.Time `json:"since,omitzero"`  // the first of them
	Next  time.Time `json:"next,omitzero"`   // zero: at once
}

// Off says why nothing is sent to a target.
type Off string

// Reasons why a target is off.
const (
	OffNot     Off = ""
	OffAsked   Off = "asked"   // the party turned it off
	OffGone    Off = "gone"    // the receiver answered 410
	OffFailing Off = "failing" // nothing got through for a month
)

// A Result is what came of an attempt: an outcome of package webhook or mail.
type Result string

// NoAddress is the result for a recipient of mail who has no address any more.
const NoAddress Result = "no-address"

// A DeadLetter is a message that could not be delivered. It holds nothing of the
// message: that is in the inbox, as long as it is kept there.
type DeadLetter struct {
	Seq    uint64        `json:"seq"`
	Event  api.EventID   `json:"event"`
	Kind   api.EventKind `json:"kind"`
	Tries  Tries         `json:"tries"`
	Died   time.Time     `json:"died"`
	Last   Result        `json:"last"`
	Replay bool          `json:"replay,omitempty"` // it is tried again, beside the order
}

// Refusals of acts on targets.
var (
	ErrNoWebhook   = errors.New("gateway: a recipient of mail is no subscription")
	ErrManyTargets = errors.New("gateway: the party has as many subscriptions as it may have")
	ErrManySecrets = errors.New("gateway: earlier secrets of the subscription are still in force")
)

// Limits on targets.
const (
	MaxSubscriptions = 50
	maxSecrets       = 4 // in force at a time
)

// How long an attempt at a message goes on.
const (
	retryFor   = 72 * time.Hour // then it is a dead letter
	retryFirst = 10 * time.Second
	retryMost  = 8 * time.Hour
	retryWait  = retryMost + time.Second
	offAfter   = 30 * 24 * time.Hour // without anything getting through
)

// failed records an attempt that was due at a time. over tells that it was the last.
// Only time in which attempts were made counts: a gateway that was off for a week
// has tried nothing.
func (t *Tries) failed(due, now time.Time) (over bool) {
	if late := now.Sub(due); t.Count > 0 && late > 0 {
		t.Since = t.Since.Add(late)
	}
	t.Count++
	if t.Since.IsZero() || t.Since.After(now) { // or the clock went back
		t.Since = now
	}
	end := t.Since.Add(retryFor)
	if !now.Before(end) {
		return true
	}
	if t.Next = now.Add(retryDelay(t.Count)); t.Next.After(end) {
		t.Next = end
	}
	return false
}

// retryDelay is how long to wait after so many failures: at random, up to a time that
// doubles. With its bounds that makes some thirty attempts in three days.
func retryDelay(failures int) time.Duration {
	most := retryMost
	if failures < 20 {
		most = min(retryFirst<<(failures-1), retryMost)
	}
	return time.Second + rand.N(most)
}

// inForce tells whether what is sent is signed with the secret.
func (s HeldSecret) inForce(now time.Time) bool { return s.Until.IsZero() || now.Before(s.Until) }

// secrets are those in force, the newest first.
func (t Target) secrets(now time.Time) (list []webhook.Secret, err error) {
	for _, held := range t.Secrets {
		if !held.inForce(now) {
			continue
		}
		s, err := webhook.ParseSecret(held.Text)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

// PublicKeys are those that a receiver verifies v1a with now, the newest first; none when
// a target signs with a shared secret.
func (p *Party) PublicKeys(t Target) (list []string) {
	now := p.g.now()
	for _, held := range t.Secrets {
		if s, err := webhook.ParseSecret(held.Text); err == nil && s.Public() != "" && held.inForce(now) {
			list = append(list, s.Public())
		}
	}
	return list
}

// anew begins the tries again: of what waits now, at once.
func (t *Target) anew() {
	t.Head, t.Pause, t.Failing = Tries{}, time.Time{}, time.Time{}
	t.Turn++
}

// notBeyond is a time, or now when it lies further away than anybody is made to wait:
// it is of a clock that has been put back.
func notBeyond(at, now time.Time, most time.Duration) time.Time {
	if at.After(now.Add(most)) {
		return now
	}
	return at
}

// waits are until when the pause, what is behind the cursor and the replays wait.
func (t Target) waits(now time.Time) (pause, head, replay time.Time) {
	return notBeyond(t.Pause, now, webhook.MaxRetryAfter), notBeyond(t.Head.Next, now, retryWait), notBeyond(t.Replay, now, retryWait)
}

// behind tells whether messages behind the cursor wait for the target. last is the seq of
// the inbox's last message.
func (t Target) behind(last uint64) bool {
	if t.Kind == TargetMail {
		last = t.Upto
	}
	return t.Off == OffNot && last > t.Cursor
}

// due tells when there is something to send; zero for never.
func (t Target) due(now time.Time, last uint64) time.Time {
	if t.Off != OffNot {
		return time.Time{}
	}
	pause, head, at := t.waits(now)
	if t.behind(last) {
		if head.IsZero() {
			head = now
		}
		if at.IsZero() || head.Before(at) {
			at = head
		}
	}
	if at.IsZero() || at.After(pause) {
		return at
	}
	return pause
}

// sends tells whether a message is for a subscription, and keeps those of its owners
// that the subscription is about. That is also who owned the signal when the message
// came: each subscription goes at its own time, and a handover in between would leave
// the message to nobody.
func (p *Party) sends(s Subscription, m *Message, then []Ownership) bool {
	if len(s.Kinds) > 0 && !slices.Contains(s.Kinds, KindName(m.Kind)) {
		return false
	}
	if len(s.Owners) == 0 && len(s.Teams) == 0 {
		return true
	}
	var about []Ownership
	for _, o := range slices.Concat(m.Owners, then) {
		u, _ := p.door.user(o.Owner)
		asked := slices.Contains(s.Owners, o.Owner) || slices.ContainsFunc([]string{u.Team, o.Team}, func(team string) bool {
			return team != "" && slices.Contains(s.Teams, team)
		})
		if asked && !slices.ContainsFunc(about, func(known Ownership) bool { return known.Registration == o.Registration }) {
			about = append(about, o)
		}
	}
	m.Owners = about
	return len(about) > 0
}
