// SPDX-License-Identifier: EUPL-1.2

package matcher

import (
	"context"
	"slices"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/registry"
)

// maxActs is how many answers one party gives another about one child in the time
// in which an act may come again, and how often it offers its signal. Nobody has so much
// to say; it bounds the rows.
const maxActs = 32

// room are the acts of before that may come again, if there is room for one more.
func (c *change) room(taken registry.Acts) (registry.Acts, error) {
	recent := taken.Recent(c.adm.Now)
	if len(recent) >= maxActs {
		oldest := recent[0].Granted.Time
		return nil, api.RefuseFor(api.CodeBudget, nil, max(time.Minute, oldest.Add(registry.MaxAge).Sub(c.adm.Now)))
	}
	return recent, nil
}

// answered finds what an answer was granted that the match has taken before, be it the
// sender's last one or not.
func (c *change) answered(act api.Act, hash api.Hash) (registry.Granted, bool, error) {
	if act.Act != api.ActAnswer {
		return registry.Granted{}, false, nil
	}
	match, err := c.tx.Match()
	if err != nil {
		return registry.Granted{}, false, err
	}
	from := registry.Member{Party: act.Party, SID: act.SID}
	for _, a := range match.Answers {
		if granted, ok := a.Taken.Find(hash); ok && a.From == from {
			return granted, true, nil
		}
	}
	return registry.Granted{}, false, nil
}

// answer keeps what a member of the match answers another, in the place of what it
// answered before, and tells the other.
func (c *change) answer(ctx context.Context, act api.Act, hash api.Hash) (registry.Granted, error) {
	var none registry.Granted
	match, err := c.tx.Match()
	if err != nil {
		return none, err
	}
	from := registry.Member{Party: act.Party, SID: act.SID}
	i := slices.IndexFunc(match.Members, func(m registry.Member) bool { return m.SID == act.OtherSID && m != from })
	if match.ID != act.Match || i < 0 {
		return none, api.Refuse(api.CodeMatch, nil)
	}
	a, again := match.Answer(from, match.Members[i])
	if !again {
		a = registry.Answer{From: from, To: match.Members[i]}
		if a.Number, err = c.answersTold(ctx, a); err != nil {
			return none, err
		}
	}
	a.Number = max(a.Number, c.firstNumber())
	if a.Taken, err = c.room(a.Taken); err != nil {
		return none, err
	}
	if err := c.m.takeAct(c.adm, act.Party); err != nil {
		return none, err
	}
	granted, err := c.grant("match.answer", audit.Update, act.Party, act.SID, uint64(len(c.live)-1))
	if err != nil {
		return none, err
	}
	a.Word, a.Number = api.Answer(act.Body), a.Number+1
	a.Taken = append(a.Taken, registry.Taken{Act: hash, Granted: granted})

	answers := slices.DeleteFunc(slices.Clone(match.Answers), a.SamePair)
	match.Answers = append(answers, a)
	if err := c.tx.PutMatch(match); err != nil {
		return none, err
	}
	return granted, c.tellAnswer(match.ID, a)
}

// answersTold is the highest number of the sender's answers of which the other was
// told before the match kept any. A match that was lost and made anew keeps none, and a
// number that was told would not be told again.
func (c *change) answersTold(ctx context.Context, a registry.Answer) (last uint64, err error) {
	for last = c.firstNumber(); ; {
		held, err := c.m.toldAnswer(ctx, a, last+1)
		if err != nil || !held {
			return last, err
		}
		last++
	}
}

// toldAnswer tells whether a party's feed holds, or has held, the answer of a number.
func (m *Matcher) toldAnswer(ctx context.Context, a registry.Answer, number uint64) (bool, error) {
	id, err := api.EventIDOf(a.To.Party, a.To.SID, a.From.Party, a.From.SID, api.EventAnswer, number)
	if err != nil {
		return false, err
	}
	return m.Store.Held(ctx, a.To.Party, id)
}

// tellAnswer tells an answer to whom it was given to.
func (c *change) tellAnswer(match api.MatchID, a registry.Answer) error {
	return c.emit(registry.Event{Kind: api.EventAnswer, Match: match, Recipient: a.To, Other: a.From, Rev: a.Number})
}
