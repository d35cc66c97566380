// SPDX-License-Identifier: EUPL-1.2

package matcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/registry"
)

// A Difference is something in a store that is not as the signals in it imply. It
// names signals by party and sid, never by what they match on.
type Difference struct {
	What string
	Of   registry.Member // whose signal, or who was to be told
	And  registry.Member // the other one, if it takes two
}

func (d Difference) String() string {
	if d.And == (registry.Member{}) {
		return fmt.Sprintf("%s: %s %s", d.What, d.Of.Party, d.Of.SID)
	}
	return fmt.Sprintf("%s: %s %s and %s %s", d.What, d.Of.Party, d.Of.SID, d.And.Party, d.And.SID)
}

// What can differ.
const (
	Misplaced    = "a signal is not found by its tag"
	PartyTwice   = "a party signals one child twice"
	NotMatched   = "two live signals of one child are not in one match"
	MatchedWrong = "a match holds somebody who has no live signal of that child"
	NotTold      = "a party was not told of another in its match"
	AnswerOf     = "a match keeps an answer between two who are not both in it"
	AnswerTwice  = "a match keeps two answers of one to another"
	AnswerUntold = "a party was not told of an answer"
	LeafLost     = "what a receipt says was logged is not in the log"
)

// Checked counts what a check has looked at.
type Checked struct {
	Signals     int `json:"signals"` // that live
	Matches     int `json:"matches"`
	Pairs       int `json:"pairs"` // of two signals of one child
	Answers     int `json:"answers"`
	Behind      int `json:"behind"` // signals that live and have no face in the newest open epoch
	Differences int `json:"differences"`
	// Tagged are live signals whose statement still has a tag of a compromised epoch: their
	// parties have not revised them yet.
	Tagged int `json:"tagged,omitempty"`
}

// Check verifies a store and its log, whose damage is an error. Then it joins all live signals anew,
// by their tags, and holds the stored matches and the events that were told against the
// result. It looks at neither the places where signals stand nor the rules that made the
// matches. What differs is given to report, one at a time. Nothing may write to the
// store meanwhile.
//
// It goes by the epoch of the store, whichever the manifest has open. As long as any
// signal is behind, the manifest's oldest epoch must stay open.
func (m *Matcher) Check(ctx context.Context, report func(Difference)) (Checked, error) {
	var (
		done    Checked
		keys    []registry.Idx // of each live signal, by its tag
		live    []checkedSignal
		matches = make(map[registry.Member]api.MatchID) // who is in which
		lapsed  = make(map[api.MatchID]bool)            // that somebody has left by the clock alone
	)
	if err := m.Store.Verify(ctx); err != nil {
		return done, err
	}
	if _, err := registry.VerifyLog(ctx, m.Store); err != nil {
		return done, err
	}
	now, err := m.Clock(ctx)
	if err != nil {
		return done, err
	}
	today := now.Day
	at, err := m.Store.Epoch(ctx)
	if err != nil {
		return done, err
	}
	epoch, newest := at.Number, at.Number
	man, _ := m.Trust()
	if open := man.Open(); len(open) > 0 {
		newest = open[len(open)-1].Number
	}
	differs := func(d Difference) { done.Differences++; report(d) }
	err = m.Store.Scan(ctx, registry.Idx{}, func(at registry.Idx, signals []registry.Signal, match registry.Match) error {
		for _, s := range signals {
			if !s.Live(today) {
				continue
			}
			if _, ok := m.Keys.Place(s.Statement, newest); !ok {
				done.Behind++
			}
			if slices.ContainsFunc(s.Faces, func(f api.Face) bool { return man.Compromised(f.Epoch) }) {
				done.Tagged++
			}
			key, ok := m.Keys.Place(s.Statement, epoch)
			if !ok {
				key = at
			}
			if !ok || key != at {
				differs(Difference{What: Misplaced, Of: member(s)})
			}
			keys, live = append(keys, key), append(live, checkedSignal{member(s), s.Rev})
			if logged, err := m.logged(ctx, s.Granted.Leaf); err != nil {
				return err
			} else if !logged {
				differs(Difference{What: LeafLost, Of: member(s)})
			}
		}
		if match.ID.IsZero() {
			return nil
		}
		done.Matches++
		for i, of := range match.Members {
			matches[of] = match.ID
			// Of one that has expired and is not swept yet the match may still know.
			at := slices.IndexFunc(signals, func(s registry.Signal) bool { return member(s) == of })
			if at >= 0 && !signals[at].Live(today) {
				lapsed[match.ID] = true
			}
			if at < 0 || slices.Contains(match.Members[:i], of) {
				differs(Difference{What: MatchedWrong, Of: of})
			}
		}
		for i, a := range match.Answers {
			done.Answers++
			if !slices.Contains(match.Members, a.From) || !slices.Contains(match.Members, a.To) || a.From == a.To {
				differs(Difference{AnswerOf, a.From, a.To})
			}
			if slices.ContainsFunc(match.Answers[:i], a.SamePair) {
				differs(Difference{AnswerTwice, a.From, a.To})
			}
			if told, err := m.toldAnswer(ctx, a, a.Number); err != nil {
				return err
			} else if !told {
				differs(Difference{AnswerUntold, a.From, a.To})
			}
		}
		return nil
	})
	if err != nil {
		return done, err
	}
	done.Signals = len(live)

	var mu sync.Mutex
	paired := make(map[registry.Member]bool)
	err = Join(ctx, keys, keys, func(pairs []Pair) error {
		mu.Lock()
		defer mu.Unlock()
		for _, p := range pairs {
			if p.Build >= p.Probe { // each pair comes twice, and each signal meets itself
				continue
			}
			done.Pairs++
			a, b := live[p.Build], live[p.Probe]
			paired[a.Member], paired[b.Member] = true, true
			if a.Party == b.Party {
				differs(Difference{PartyTwice, a.Member, b.Member})
				continue
			}
			if id := matches[a.Member]; id.IsZero() || id != matches[b.Member] {
				differs(Difference{NotMatched, a.Member, b.Member})
			}
			for _, side := range [][2]checkedSignal{{a, b}, {b, a}} {
				told, err := m.told(ctx, side[0], side[1])
				if err != nil {
					return err
				}
				if !told {
					differs(Difference{NotTold, side[0].Member, side[1].Member})
				}
			}
		}
		return nil
	})
	for _, s := range live {
		if in := matches[s.Member]; !in.IsZero() && !lapsed[in] && !paired[s.Member] && err == nil {
			differs(Difference{What: MatchedWrong, Of: s.Member})
		}
	}
	return done, err
}

// logged tells whether a leaf is in the log, or waits for it.
func (m *Matcher) logged(ctx context.Context, leaf api.Hash) (found bool, err error) {
	if _, found, err = m.Store.Number(ctx, leaf); found || err != nil {
		return found, err
	}
	err = m.Store.Leaves(ctx, leaf, func(l audit.Leaf) error {
		found = l.Hash() == leaf
		return errFirst
	})
	if errors.Is(err, errFirst) {
		err = nil
	}
	return found, err
}

var errFirst = errors.New("matcher: the first is enough")

type checkedSignal struct {
	registry.Member
	rev uint64
}

// told tells whether a party's feed holds, or has held, that another joined: under
// whichever revision that had by then. If the feed was told since that it left, which
// a mistaken tag in some epoch can cause, only the newest revision counts, under
// which it has joined again or shown another card.
func (m *Matcher) told(ctx context.Context, to, of checkedSignal) (bool, error) {
	held := func(kind api.EventKind, rev uint64) (bool, error) {
		id, err := api.EventIDOf(to.Party, to.SID, of.Party, of.SID, kind, rev)
		if err != nil {
			return false, err
		}
		return m.Store.Held(ctx, to.Party, id)
	}
	for _, gone := range []api.EventKind{api.EventLeft, api.EventEnded} {
		if left, err := held(gone, 0); err != nil {
			return false, err
		} else if left {
			joined, err := held(api.EventJoined, of.rev)
			if joined || err != nil {
				return joined, err
			}
			return held(api.EventCard, of.rev)
		}
	}
	for rev := uint64(1); rev <= of.rev; rev++ {
		if joined, err := held(api.EventJoined, rev); joined || err != nil {
			return joined, err
		}
	}
	return false, nil
}
