// SPDX-License-Identifier: EUPL-1.2

package matcher

import (
	"slices"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/registry"
)

// settled is what a match has become, and who is to be told what.
type settled struct {
	match  registry.Match
	events []registry.Event
}

// settle brings a match in line with the signals that live now. It is the one
// rule of matching, and it is by difference: whoever is a member and no longer
// lives has left, whoever lives and is not yet a member has joined.
//
//   - two live signals make a match, a third extends it;
//   - each newcomer is told of each member and each member of each newcomer;
//   - when one leaves, the others are told so, never why;
//   - answers are of two who both live: a leaver's go with him;
//   - with fewer than two the match has ended, and forms anew as another match.
//
// live holds at most one signal of each party. Signals that have left are not in
// it, so what is said of a leaver is what the match remembers: party and sid. Whoever
// rests stays a member if it is one, and joins nobody; see rests.
func settle(match registry.Match, live []registry.Signal, resting ...registry.Signal) settled {
	out := settled{match: match}
	lives := func(m registry.Member) bool {
		is := func(s registry.Signal) bool { return member(s) == m }
		return slices.ContainsFunc(live, is) || slices.ContainsFunc(resting, is)
	}
	tell := func(to registry.Member, kind api.EventKind, other registry.Member, rev uint64) {
		out.events = append(out.events, registry.Event{
			Kind: kind, Match: out.match.ID, Recipient: to, Other: other, Rev: rev,
		})
	}

	var stay, left []registry.Member
	for _, m := range match.Members {
		switch {
		case slices.Contains(stay, m): // twice: the row was damaged
		case lives(m):
			stay = append(stay, m)
		default:
			left = append(left, m)
		}
	}
	for _, leaver := range left {
		for _, m := range stay {
			tell(m, api.EventLeft, leaver, 0)
		}
	}
	var joined []registry.Signal
	for _, s := range live {
		if !slices.Contains(stay, member(s)) {
			joined = append(joined, s)
		}
	}
	if len(stay)+len(joined) < 2 {
		for _, m := range stay { // at most one
			tell(m, api.EventEnded, left[len(left)-1], 0)
		}
		out.match = registry.Match{}
		return out
	}
	if match.ID.IsZero() {
		out.match.ID = api.NewMatchID()
	}
	out.match.Members = stay
	revs := make(map[registry.Member]uint64, len(live))
	for _, s := range live {
		revs[member(s)] = s.Rev
	}
	out.match.Answers = nil
	for _, a := range match.Answers {
		if lives(a.From) && lives(a.To) && a.From != a.To && !slices.ContainsFunc(out.match.Answers, a.SamePair) {
			out.match.Answers = append(out.match.Answers, a)
		}
	}
	for _, s := range joined {
		newcomer := member(s)
		for _, m := range out.match.Members {
			tell(m, api.EventJoined, newcomer, revs[newcomer])
			tell(newcomer, api.EventJoined, m, revs[m])
		}
		out.match.Members = append(out.match.Members, newcomer)
	}
	return out
}

// unchanged tells whether settling has left a match as it was. Answers only ever go.
func unchanged(before, after registry.Match) bool {
	return slices.Equal(before.Members, after.Members) && len(before.Answers) == len(after.Answers)
}

func member(s registry.Signal) registry.Member {
	return registry.Member{Party: s.Party, SID: s.SID}
}
