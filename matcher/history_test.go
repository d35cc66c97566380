// SPDX-License-Identifier: EUPL-1.2

package matcher_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/matcher"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/soak"
)

// A model is the registry written down as simply as it can be: a map of signals
// and, for each party, the lines that it must have been told.
type model struct {
	signals map[int]map[int]matchertest.Paper // child, party
	answers map[int]map[[2]int][]modelAnswer  // child, who to whom: the last at the end
	offers  map[api.SID]modelOffer            // what is given of a signal
	told    map[int][]string
	logged  []string // "event party sid" of each leaf
}

// A modelAnswer is an act that was taken, and the answer to it.
type modelAnswer struct {
	word api.Answer
	act  api.ActRequest
	got  api.Accepted
}

// A modelOffer is to whom a signal is given, and until when.
type modelOffer struct {
	to    int
	until encoding.Date
}

// give has a party give its signal to another, or take that back.
func (m *model) give(t *testing.T, w *matchertest.World, r *rand.Rand, here matchertest.Paper, p, parties int) {
	t.Helper()
	to := (p + 1 + r.IntN(parties-1)) % parties
	var until encoding.Date
	if r.IntN(4) > 0 {
		until = registry.Today(w.Now()).AddDate(0, 0, r.IntN(5))
	}
	act := w.Offer(here, to, until)
	out, err := w.Act(t.Context(), here.Statement.Party, act)
	if err != nil {
		t.Fatal(err)
	}
	if !out.Created {
		return // said before, within the same second
	}
	before, had := m.offers[here.Statement.SID]
	if had && (until.IsZero() || before.to != to) {
		m.tell(before.to, api.EventHandover, here)
	}
	delete(m.offers, here.Statement.SID)
	if !until.IsZero() {
		m.tell(to, api.EventHandover, here)
		m.offers[here.Statement.SID] = modelOffer{to, until}
	}
	m.log("signal.offer", here)
}

// take has a party take over a signal of the child, whether it was given to it or not.
func (m *model) take(t *testing.T, w *matchertest.World, r *rand.Rand, child, p int) {
	t.Helper()
	givers := slices.DeleteFunc(slices.Sorted(maps.Keys(m.signals[child])), func(g int) bool { return g == p })
	if len(givers) == 0 {
		return
	}
	g := givers[r.IntN(len(givers))]
	for _, other := range givers { // rather one that was given
		if m.offers[m.signals[child][other].Statement.SID].to == p {
			g = other
		}
	}
	giver := m.signals[child][g]
	sid, rev := api.NewSID(), uint64(1)
	mine, revises := m.signals[child][p]
	if revises {
		sid, rev = mine.Statement.SID, mine.Statement.Rev+1
	}
	paper := w.Write(p, matchertest.Child(child), sid, rev, func(s *api.Statement) { s.TakesOver = giver.Statement.SID })
	_, err := w.Send(paper)
	offer, given := m.offers[giver.Statement.SID]
	if !given || offer.to != p || offer.until.Compare(registry.Today(w.Now())) < 0 {
		if api.CodeOf(err) != api.CodeHandover {
			t.Fatalf("a signal that was not given is taken over: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	delete(m.signals[child], g)
	for pair := range m.answers[child] {
		if pair[0] == g || pair[1] == g {
			delete(m.answers[child], pair)
		}
	}
	m.log("signal.handover", giver)
	m.tell(g, api.EventHandover, paper)
	for q := range m.signals[child] {
		m.tell(q, api.EventLeft, giver)
		if q != p {
			m.tell(q, api.EventHandover, paper)
		} else if len(m.signals[child]) == 1 {
			m.told[p] = append(m.told[p], "ended")
		}
	}
	m.put(child, p, paper)
}

func (m *model) answer(child, from, to int, paper matchertest.Paper, a modelAnswer) {
	if m.answers[child] == nil {
		m.answers[child] = make(map[[2]int][]modelAnswer)
	}
	m.answers[child][[2]int{from, to}] = append(m.answers[child][[2]int{from, to}], a)
	m.tell(to, api.EventAnswer, paper)
	m.log("match.answer", paper)
}

func (m *model) log(event string, p matchertest.Paper) {
	m.logged = append(m.logged, line(api.EventKind(event), p.Statement.Party, p.Statement.SID))
}

func (m *model) tell(to int, kind api.EventKind, about matchertest.Paper) {
	m.told[to] = append(m.told[to], line(kind, about.Statement.Party, about.Statement.SID))
}

func line(kind api.EventKind, other api.PartyID, sid api.SID) string {
	return fmt.Sprintf("%s %s %s", kind, other, sid)
}

func (m *model) put(child, p int, now matchertest.Paper) {
	if m.signals[child] == nil {
		m.signals[child] = make(map[int]matchertest.Paper)
	}
	_, revised := m.signals[child][p]
	if revised {
		m.log("signal.revise", now)
	} else {
		m.log("signal.register", now)
	}
	for q, other := range m.signals[child] {
		switch {
		case q == p:
		case revised:
			m.tell(q, api.EventCard, now)
		default:
			m.tell(q, api.EventJoined, now)
			m.tell(p, api.EventJoined, other)
		}
	}
	m.signals[child][p] = now
}

// end takes signals of one child away in the same instant.
func (m *model) end(child int, gone []int, event string) {
	here := m.signals[child]
	papers := make([]matchertest.Paper, 0, len(gone))
	for _, p := range gone {
		papers = append(papers, here[p])
		m.log(event, here[p])
		delete(here, p)
		for pair := range m.answers[child] {
			if pair[0] == p || pair[1] == p {
				delete(m.answers[child], pair)
			}
		}
	}
	for q := range here {
		for _, paper := range papers {
			m.tell(q, api.EventLeft, paper)
		}
		if len(here) == 1 && len(papers) > 0 {
			m.told[q] = append(m.told[q], "ended")
		}
	}
}

func (m *model) expire(today encoding.Date) {
	for child, here := range m.signals {
		var gone []int
		for p, paper := range here {
			if paper.Statement.Expires.Compare(today) <= 0 {
				gone = append(gone, p)
			}
		}
		m.end(child, gone, "signal.expire")
	}
}

// TestRow7Histories plays random histories on the registry and on the model: the same
// matches, the same told to everybody and the same in the log, whatever the order of
// acts, sweeps, restarts and days. In every third, epochs open and close, of which the
// model knows nothing.
func TestRow7Histories(t *testing.T) {
	soak.Row(t, 7, "random histories against a map and the bulk join", soak.Short(60), func(t *testing.T, seed uint64) soak.Found {
		cryptotest.SetGlobalRandom(t, seed)
		return playHistory(t, seed, 120)
	})
}

// holds holds the store against the model, as it stands after a step: what lives, what
// pairs it makes, and that each pair is in one match and both were told. What the clock
// has ended may stand until somebody comes by.
func (m *model) holds(t *testing.T, w *matchertest.World) {
	t.Helper()
	signals, pairs := 0, 0
	for _, here := range m.signals {
		signals += len(here)
		pairs += len(here) * (len(here) - 1) / 2
	}
	done, found := checked(t, w) // joins what is stored by its tags
	if done.Signals != signals || done.Pairs != pairs || len(found) > 0 {
		t.Fatalf("%+v, %q; the model has %d signals and %d pairs", done, found, signals, pairs)
	}
	today := registry.Today(w.Now())
	err := w.Store.Scan(t.Context(), registry.Idx{}, func(_ registry.Idx, here []registry.Signal, _ registry.Match) error {
		for _, s := range here {
			if paper, ok := m.found(s.Party, s.SID); s.Live(today) && (!ok || paper.Submission.Signed.Hash() != s.Signed.Hash()) {
				t.Fatal("a signal lives in another revision than the model's, or should not live")
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// inBulk sends what lives to a new registry, all of a party's at once, and holds the
// matches that come of it against those of the history.
func (m *model) inBulk(t *testing.T, w *matchertest.World, parties int) {
	t.Helper()
	matches := func() (lines []string) {
		err := w.Store.Scan(t.Context(), registry.Idx{}, func(_ registry.Idx, _ []registry.Signal, match registry.Match) error {
			var members []string
			for _, of := range match.Members {
				members = append(members, fmt.Sprint(of))
			}
			slices.Sort(members)
			if len(members) > 0 {
				lines = append(lines, fmt.Sprint(members))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(lines)
		return lines
	}
	want := matches()
	if err := w.Store.Close(); err != nil {
		t.Fatal(err)
	}
	w.Open(vfs.NewMem())
	told := make([]int, parties)
	for p := range parties {
		var subs []api.Submission
		for child, here := range m.signals {
			if paper, ok := here[p]; ok {
				subs = append(subs, w.Write(p, matchertest.Child(child), paper.Statement.SID, 1).Submission)
				told[p] += len(here) - 1
			}
		}
		out, err := w.Import(t.Context(), matchertest.Party(p), subs)
		for _, o := range out {
			err = errors.Join(err, o.Refused)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := matches(); !slices.Equal(got, want) {
		t.Errorf("in bulk these match:\n%q\nin the history:\n%q", got, want)
	}
	for p, want := range told {
		if got := len(w.Feed(p)); got != want {
			t.Errorf("in bulk party %d was told %d events, want %d", p, got, want)
		}
	}
}

// leaves are what stands in the log, as the model writes it.
func leaves(t *testing.T, w *matchertest.World) (lines []string) {
	t.Helper()
	err := w.Store.Leaves(t.Context(), api.Hash{}, func(l audit.Leaf) error {
		r, err := audit.ParseRecord(l.Record)
		lines = append(lines, fmt.Sprintf("%s %s %s", r.Event, r.Party, r.ObjectID))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// sameLines holds what was read against what should be, in any order.
func sameLines(t *testing.T, what string, got, want []string) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("%s: %d lines, want %d:\n%q\n%q", what, len(got), len(want), got, want)
	}
}

// found is the statement of a party's signal, if it stands.
func (m *model) found(p api.PartyID, sid api.SID) (matchertest.Paper, bool) {
	for _, here := range m.signals {
		for _, paper := range here {
			if paper.Statement.Party == p && paper.Statement.SID == sid {
				return paper, true
			}
		}
	}
	return matchertest.Paper{}, false
}

// delivered holds what comes with an event against the statements that stand.
func (m *model) delivered(t *testing.T, p api.PartyID, e api.Event, now time.Time) {
	t.Helper()
	face := func(paper matchertest.Paper) (api.SealedFace, bool) {
		i := slices.IndexFunc(paper.Statement.Faces, func(f api.Face) bool { return f.Epoch == e.Epoch })
		if i < 0 {
			return api.SealedFace{}, false
		}
		return paper.Submission.Faces[i], true
	}
	if e.Kind == api.EventHandover && e.Own.SID.IsZero() {
		offer, given := m.offers[e.Other.SID]
		_, lives := m.found(e.Other.Party, e.Other.SID)
		stands := given && lives && matchertest.Party(offer.to) == p && offer.until.Compare(registry.Today(now)) >= 0
		if e.Other.Card != nil || !e.Until.IsZero() && (!stands || e.Until != offer.until) {
			t.Errorf("an offer comes with %v; it stands: %v", e.Until, stands)
		}
	}
	own, lives := m.found(p, e.Own.SID)
	if !lives {
		if e.Own.Signed.Signed != nil || e.Other.Card != nil {
			t.Error("a party without a signal gets what belongs to one")
		}
		return
	}
	if f, ok := face(own); !ok || !bytes.Equal(e.Own.Signed.Signed, own.Submission.Signed.Signed) || !bytes.Equal(e.Own.Keybox, f.Keybox) {
		t.Errorf("%s: the recipient's own signal does not come with the event (a face of its epoch: %v)", e.Kind, ok)
	}
	other, lives := m.found(e.Other.Party, e.Other.SID)
	if e.Kind == api.EventHandover && e.Other.TakesOver != other.Statement.TakesOver || e.Kind != api.EventHandover && !e.Other.TakesOver.IsZero() {
		t.Errorf("%s: what the other took over does not come with the event, or should not", e.Kind)
	}
	if e.Kind == api.EventAnswer {
		if said := m.said(other, own); !lives && e.Answer != "" || lives && (len(said) == 0 || e.Other.Rev != uint64(len(said)) || e.Answer != said[len(said)-1].word) {
			t.Errorf("answer %d of the %d that stand comes as %q", e.Other.Rev, len(said), e.Answer)
		}
	} else if e.Answer != "" {
		t.Errorf("%s: an answer comes that should not", e.Kind)
	}
	if !lives || e.Kind != api.EventJoined && e.Kind != api.EventCard {
		if e.Other.Card != nil {
			t.Errorf("%s: a card comes that should not", e.Kind)
		}
		return
	}
	if f, ok := face(other); !ok || !bytes.Equal(e.Other.Card, f.Card) || e.Other.Rev != other.Statement.Rev {
		t.Errorf("%s: the other's card does not come with the event (a face of its epoch: %v)", e.Kind, ok)
	}
}

// said are one signal's answers to another, the last at the end.
func (m *model) said(from, to matchertest.Paper) []modelAnswer {
	for child, here := range m.signals {
		for p, a := range here {
			for q, b := range here {
				if a.Statement.SID == from.Statement.SID && b.Statement.SID == to.Statement.SID {
					return m.answers[child][[2]int{p, q}]
				}
			}
		}
	}
	return nil
}

// stored holds the answers in the matches of the store against the model's.
func (m *model) stored(t *testing.T, w *matchertest.World) {
	t.Helper()
	want := 0
	for _, pairs := range m.answers {
		want += len(pairs)
	}
	err := w.Store.Scan(t.Context(), registry.Idx{}, func(_ registry.Idx, _ []registry.Signal, match registry.Match) error {
		for _, a := range match.Answers {
			from, _ := m.found(a.From.Party, a.From.SID)
			to, _ := m.found(a.To.Party, a.To.SID)
			said := m.said(from, to)
			if len(said) == 0 || a.Number != uint64(len(said)) || a.Word != said[len(said)-1].word {
				t.Errorf("answer %d is kept as %q; the model has %d", a.Number, a.Word, len(said))
			}
			want--
		}
		return nil
	})
	if err != nil || want != 0 {
		t.Errorf("%d answers too few are kept (%v)", want, err)
	}
}

// turn opens the next epoch, or closes the oldest when there are two, after a renewal
// of what has no face in the other: or at once, because its keys are stolen.
func (m *model) turn(t *testing.T, w *matchertest.World, stolen bool) {
	t.Helper()
	if len(w.Manifest.Open()) == 1 {
		w.OpenEpoch()
		return
	}
	next := w.Manifest.Open()[1].Number
	for child, here := range m.signals {
		for p, paper := range here {
			if paper.Statement.Faces[len(paper.Statement.Faces)-1].Epoch == next || stolen {
				continue
			}
			renewed := w.Write(p, matchertest.Child(child), paper.Statement.SID, paper.Statement.Rev+1)
			if _, err := w.Send(renewed); err != nil {
				t.Fatal(err)
			}
			m.put(child, p, renewed)
		}
	}
	if done, found := checked(t, w); done.Behind > 0 && !stolen || len(found) > 0 {
		t.Fatalf("before the epoch closes: %+v, %q", done, found)
	}
	want, lost := matcher.ErrOtherEpoch, 0
	if stolen {
		w.CompromiseEpoch()
		want = matcher.ErrCompromised
		for child, here := range m.signals {
			var gone []int
			for p, paper := range here {
				if paper.Statement.Faces[len(paper.Statement.Faces)-1].Epoch != next {
					gone = append(gone, p)
				}
			}
			lost += len(gone)
			m.end(child, gone, "signal.compromise")
		}
	} else {
		w.CloseEpoch()
	}
	if err := w.Ready(t.Context()); !errors.Is(err, want) {
		t.Fatalf("with the epoch of the store closed: %v", err)
	}
	if done, err := w.Rebuild(t.Context()); err != nil || done.Destroyed != lost {
		t.Fatalf("%d destroyed, want %d (%v)", done.Destroyed, lost, err)
	}
	if err := w.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, found := checked(t, w); len(found) > 0 {
		t.Fatalf("after the rebuild: %q", found)
	}
}

// speak has a party answer another in its match, or somebody who is not in it, or say
// again something that it said before.
func (m *model) speak(t *testing.T, w *matchertest.World, r *rand.Rand, child, p int) {
	t.Helper()
	here := m.signals[child][p]
	others := slices.Sorted(maps.Keys(m.signals[child]))
	others = slices.DeleteFunc(others, func(q int) bool { return q == p })
	q := others[r.IntN(len(others))]
	words := []api.Answer{api.AnswerInContact, api.AnswerWillCall, api.AnswerNotInvolved, api.AnswerContactMade}
	word := words[r.IntN(len(words))]
	said := m.answers[child][[2]int{p, q}]
	switch n := r.IntN(10); {
	case n < 2 && len(said) > 0: // of the last month, for older ones are refused by their time
		again := said[r.IntN(len(said))]
		act, err := api.ParseAct(again.act.Signed.Signed)
		if err != nil || act.Issued.Before(w.Now().Add(-registry.MaxAge)) {
			return
		}
		out, err := w.Act(t.Context(), here.Statement.Party, again.act)
		if act.Tag != matchertest.TagIn(w.Manifest.Open()[0].Number, matchertest.Child(child)) { // an epoch was closed since
			if api.CodeOf(err) != api.CodeTag {
				t.Fatalf("an answer with the tag of a closed epoch: %v", err)
			}
			return
		}
		if err != nil || out.Created || !bytes.Equal(out.Receipt.Signed, again.got.Receipt.Signed) || !bytes.Equal(out.Receipt.Signature, again.got.Receipt.Signature) {
			t.Fatalf("an answer said again: %v, %v", out.Created, err)
		}
	case n < 4:
		wrong := func(a *api.Act) { a.OtherSID = api.NewSID() }
		if n == 3 {
			wrong = func(a *api.Act) { a.Match = api.NewMatchID() }
		}
		if _, err := w.Act(t.Context(), here.Statement.Party, w.Answer(here, m.signals[child][q], word, wrong)); api.CodeOf(err) != api.CodeMatch {
			t.Fatalf("an answer into another match: %v", err)
		}
	default:
		act := w.Answer(here, m.signals[child][q], word)
		if slices.ContainsFunc(said, func(a modelAnswer) bool { return a.act.Hash() == act.Hash() }) {
			return // within the same second the same bytes
		}
		out, err := w.Act(t.Context(), here.Statement.Party, act)
		if err != nil || !out.Created {
			t.Fatal(out.Created, err)
		}
		m.answer(child, p, q, here, modelAnswer{word, act, out.Accepted})
	}
}

// playHistory plays steps at random.
func playHistory(t *testing.T, seed uint64, steps int) soak.Found {
	const parties, children = 5, 4
	r := rand.New(rand.NewPCG(seed, 0))
	w := matchertest.New(t, parties)
	if seed%2 == 1 { // every commit a table of its own
		w.Ingest = 1
		w.Reopen()
	}
	turn := 0 // after how many steps an epoch opens or closes
	if seed%3 == 0 {
		turn = 20
	}
	m := model{signals: map[int]map[int]matchertest.Paper{}, answers: map[int]map[[2]int][]modelAnswer{}, offers: map[api.SID]modelOffer{}, told: map[int][]string{}}
	cursors := make([]string, parties)
	heard := make(map[int][]string)
	listen := func(p int) {
		for {
			got, err := registry.Deliver(t.Context(), w.Store, matchertest.Party(p), cursors[p], 1+r.IntN(5), 0, w.Now())
			if err != nil {
				t.Fatal(err)
			}
			cursors[p] = got.Next
			if len(got.Items) == 0 {
				return
			}
			for _, e := range got.Items {
				m.delivered(t, matchertest.Party(p), e, w.Now())
				if e.Kind == api.EventEnded {
					heard[p] = append(heard[p], "ended")
				} else {
					heard[p] = append(heard[p], line(e.Kind, e.Other.Party, e.Other.SID))
				}
			}
		}
	}
	for step := range steps {
		if turn > 0 && step%turn == turn-1 {
			m.turn(t, w, seed%2 == 0 && step/turn%4 == 1)
		}
		ch, p := r.IntN(children), r.IntN(parties)
		here, have := m.signals[ch][p]
		switch n := r.IntN(100); {
		case n < 46 && !have:
			paper := w.Write(p, matchertest.Child(ch), api.NewSID(), 1, func(s *api.Statement) {
				s.Expires = registry.Today(w.Now()).AddDate(0, 0, 1+r.IntN(40))
			})
			if _, err := w.Send(paper); err != nil {
				t.Fatal(err)
			}
			m.put(ch, p, paper)
		case n < 46:
			paper := w.Write(p, matchertest.Child(ch), here.Statement.SID, here.Statement.Rev+1, func(s *api.Statement) {
				s.Expires = registry.Today(w.Now()).AddDate(0, 0, 1+r.IntN(60))
			})
			if _, err := w.Send(paper); err != nil {
				t.Fatal(err)
			}
			m.put(ch, p, paper)
		case n < 56: // several children at once, one of them twice, one refused
			var papers []matchertest.Paper
			var where []int
			var subs []api.Submission
			for other := range children {
				if _, have := m.signals[other][p]; !have {
					papers = append(papers, w.Write(p, matchertest.Child(other), api.NewSID(), 1, func(s *api.Statement) {
						s.Expires = registry.Today(w.Now()).AddDate(0, 0, 1+r.IntN(40))
					}))
					where = append(where, other)
					subs = append(subs, papers[len(papers)-1].Submission)
				}
			}
			subs = append(subs, w.Write(p, matchertest.Child(ch), api.NewSID(), 2).Submission)
			subs = append(subs, subs[0])
			got, err := w.Import(t.Context(), matchertest.Party(p), subs)
			if err != nil {
				t.Fatal(err)
			}
			for i, paper := range papers {
				if got[i].Refused != nil || !got[i].Created {
					t.Fatal(got[i].Refused)
				}
				m.put(where[i], p, paper)
			}
			refused, again := got[len(papers)], got[len(papers)+1]
			if api.CodeOf(refused.Refused) != api.CodeRevision || len(papers) > 0 && (again.Refused != nil || again.Created) {
				t.Fatal(refused.Refused, again.Refused)
			}
		case n < 60 && have: // again, word for word
			if out, err := w.Send(here); err != nil || out.Created {
				t.Fatal(out.Created, err)
			}
		case n < 68 && have && len(m.signals[ch]) > 1:
			m.speak(t, w, r, ch, p)
		case n < 71 && have:
			m.give(t, w, r, here, p, parties)
		case n < 74:
			m.take(t, w, r, ch, p)
		case n < 79 && have:
			w.Withdraw(here)
			m.end(ch, []int{p}, "signal.withdraw")
		case n < 85:
			for range r.IntN(4) {
				w.Advance(time.Duration(r.IntN(24)) * time.Hour)
				m.expire(registry.Today(w.Now()))
			}
		case n < 90:
			if _, err := w.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
		case n < 95:
			listen(p)
		default:
			w.Reopen()
		}
		if !soak.Race || step%16 == 0 {
			m.holds(t, w)
		}
	}
	if _, err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	found := soak.Found{"steps": steps, "leaves": len(m.logged)}
	for p := range parties {
		listen(p) // the order among children is not promised
		sameLines(t, fmt.Sprintf("party %d was told", p), heard[p], m.told[p])
		found["events"] += len(heard[p])
	}
	sameLines(t, "the log", leaves(t, w), m.logged)
	implied(t, w)
	m.stored(t, w)
	m.inBulk(t, w, parties)
	return found
}
