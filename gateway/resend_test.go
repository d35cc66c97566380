// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/registry"
)

// toldOf is what a party was told, in order, but for what its own gateway reminds it of.
func toldOf(t *testing.T, p *gateway.Party) (kinds []api.EventKind) {
	t.Helper()
	list, err := p.Messages(0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, msg := range list {
		if msg.Kind != gateway.KindUnseen {
			kinds = append(kinds, msg.Kind)
		}
	}
	return kinds
}

// caughtUp waits until parties have read the feed of the registry as it is now, and have done
// what came of it: whether there are jobs is looked at when all of them are made.
func caughtUp(t *testing.T, w *gatewaytest.World, parties ...*gateway.Party) {
	t.Helper()
	for _, p := range parties {
		eventually(t, "a feed", func() bool {
			read := p.HasReadFeedOf(w.Matcher.Store.Incarnation())
			jobs, err := p.Jobs()
			return read && err == nil && len(jobs) == 0
		})
	}
}

// loseFirstAct has the registry's answer to the first act from here on get lost, each time
// that it is given.
func loseFirstAct(w *gatewaytest.World) {
	var mu sync.Mutex
	var first []byte
	w.Registry.Rewrite(func(path string, body []byte) []byte {
		mu.Lock()
		defer mu.Unlock()
		if path == "/v1/acts" && bytes.Contains(body, []byte("receipt")) && first == nil {
			first = bytes.Clone(body)
		}
		if first != nil && bytes.Equal(body, first) {
			return []byte("{}")
		}
		return body
	})
}

// seesOne tells whether somebody is present in the only match of a party.
func seesOne(t *testing.T, p *gateway.Party) (present, doubted bool) {
	t.Helper()
	list, _, err := p.Matches(gateway.ID{}, 100, gateway.MatchFilter{})
	if err != nil || len(list) != 1 || len(list[0].Others) != 1 {
		t.Fatalf("%d matches: %v", len(list), err)
	}
	return list[0].Others[0].Present, !list[0].Others[0].Doubt.IsZero()
}

// Who was taken for gone, because his gateway was away for more than a day after a
// restore, is told of as new when he comes back; and when he leaves then, that he left.
func TestWhoComesBackAfterADoubtCanLeaveAgain(t *testing.T) {
	w := gatewaytest.New(t, 2)
	a, h := w.Run(0).Of(0), w.Run(1)
	signal(t, a, child(1), terms("jansen", "A-1"))
	w.Backup("backup")
	w.Advance(2 * time.Hour)
	s := signal(t, h.Of(1), child(1), terms("bakker", "B-1"))
	inbox(t, a, 1)
	h.Stop()
	w.Restore("backup")
	eventually(t, "a doubt", func() bool { _, doubted := seesOne(t, a); return doubted })
	w.Advance(25 * time.Hour)
	if err := a.Sweep(); err != nil {
		t.Fatal(err)
	}
	if present, _ := seesOne(t, a); present {
		t.Fatal("after a day nobody took it for gone")
	}
	b := w.RunOn(h.FS, 1).Of(1)
	eventually(t, "a signal that was away", func() bool { present, _ := seesOne(t, a); return present })
	if _, err := b.Withdraw(s.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	eventually(t, "that it left", func() bool { present, _ := seesOne(t, a); return !present })
	if got, want := toldOf(t, a), []api.EventKind{api.EventJoined, api.EventLeft, api.EventJoined, api.EventLeft}; !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
}

// What a restored registry told again, and nobody had to hear, is told once more when it is
// restored once more: without a card then, of somebody who has left since.
func TestASecondRestoreTellsNothingOfWhoLeft(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h := w.Run(0, 1)
	a, b := h.Of(0), h.Of(1)
	w.Backup("empty")
	w.Advance(2 * time.Hour)
	signal(t, a, child(1), terms("jansen", "A-1"))
	s := signal(t, b, child(1), terms("bakker", "B-1"))
	inbox(t, a, 1)
	if _, err := b.Renew(s.ID, gateway.Subject{}, gateway.Terms{Card: gateway.Card{Name: "Bakker", Phone: "+31 30 5550100"}}); err != nil {
		t.Fatal(err)
	}
	settled(t, b, s.ID)
	inbox(t, a, 2)
	again := func(backup string) {
		t.Helper()
		w.Restore(backup)
		caughtUp(t, w, a, b)
	}
	again("empty")
	if _, err := b.Withdraw(s.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	want := []api.EventKind{api.EventJoined, api.EventCard, api.EventLeft}
	eventually(t, "that it left", func() bool { return slices.Equal(toldOf(t, a), want) })
	w.Backup("backup")
	again("backup")
	if got := toldOf(t, a); !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
}

// A gateway that had not read who joined when the registry was lost need not hear of him
// when he has left meanwhile: the journal only knows that he had joined.
func TestWhoCameAndLeftBeforeAFeedWasReadIsNotTold(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h, b := w.Run(0), w.Run(1).Of(1)
	mine := signal(t, h.Of(0), child(1), terms("jansen", "A-1"))
	w.Backup("backup")
	w.Advance(2 * time.Hour)
	h.Stop()
	s := signal(t, b, child(1), terms("bakker", "B-1"))
	if _, err := b.Withdraw(s.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	settled(t, b, s.ID)
	if done := w.Restore("backup"); done.Told != 1 {
		t.Fatalf("the journal has %d to tell that it left", done.Told)
	}
	a := w.RunOn(h.FS, 0).Of(0)
	eventually(t, "a feed", func() bool { return a.HasReadFeedOf(w.Matcher.Store.Incarnation()) })
	if _, err := a.Renew(mine.ID, gateway.Subject{}, gateway.Terms{}); err != nil {
		t.Fatal(err)
	}
	settled(t, a, mine.ID)
	if got := toldOf(t, a); len(got) != 0 {
		t.Errorf("told %v of somebody whom it was never told of", got)
	}
}

// An answer that was given again after a restore is in a backup of that time, unread. From
// there it comes once more, and by then the other may have said something else.
func TestAnAnswerGivenAgainDoesNotFollowTheNext(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h, b := w.Run(0), w.Run(1).Of(1)
	signal(t, h.Of(0), child(1), terms("jansen", "A-1"))
	s := signal(t, b, child(1), terms("bakker", "B-1"))
	inbox(t, h.Of(0), 1)
	matched := func() (found gateway.MatchStatus) {
		eventually(t, "a match", func() bool {
			list, _, err := b.Matches(gateway.ID{}, 100, gateway.MatchFilter{})
			if err != nil || len(list) != 1 {
				return false
			}
			found = list[0]
			return found.SID == s.Signal.SID && found.Settled() && found.Others[0].Doubt.IsZero()
		})
		return found
	}
	says := func(word api.Answer) {
		t.Helper()
		if _, err := b.Answer(matched().Match.Match, gatewaytest.Party(0), word, ""); err != nil {
			t.Fatal(err)
		}
		matched()
	}
	w.Backup("first")
	w.Advance(2 * time.Hour)
	says(api.AnswerInContact)
	inbox(t, h.Of(0), 2)
	h.Stop()
	w.Restore("first")
	caughtUp(t, w, b)
	w.Backup("second") // with the answer that was given again, which nobody has read
	a := w.RunOn(h.FS, 0).Of(0)
	caughtUp(t, w, a)
	says(api.AnswerWillCall)
	inbox(t, a, 3)
	w.Advance(2 * time.Hour)
	w.Restore("second")
	caughtUp(t, w, a)
	caughtUp(t, w, b)
	want := []api.EventKind{api.EventJoined, api.EventAnswer, api.EventAnswer, api.EventAnswer}
	says(api.AnswerInContact) // behind all that came again
	list := inbox(t, a, len(want))
	if got := toldOf(t, a); !slices.Equal(got, want) {
		t.Fatalf("told %v, want %v", got, want)
	}
	for i, word := range []api.Answer{api.AnswerInContact, api.AnswerWillCall, api.AnswerInContact} {
		if list[i+1].Answer != word {
			t.Errorf("answer %d is %s, want %s", i+1, list[i+1].Answer, word)
		}
	}
}

// Right after a restore the other's signal is not there yet. An answer that is given then waits
// for it, and is not refused.
func TestAnAnswerWaitsForWhoIsInDoubt(t *testing.T) {
	w := gatewaytest.New(t, 2)
	ha, hb := w.Run(0), w.Run(1)
	a := ha.Of(0)
	signal(t, a, child(1), terms("jansen", "A-1"))
	w.Backup("backup")
	w.Advance(2 * time.Hour)
	signal(t, hb.Of(1), child(1), terms("bakker", "B-1"))
	m := match(t, a, func(gateway.MatchStatus) bool { return true })
	hb.Stop()
	w.Restore("backup")
	eventually(t, "a doubt", func() bool { _, doubted := seesOne(t, a); return doubted })
	if _, err := a.Answer(m.Match.Match, "", api.AnswerWillCall, ""); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an answer that was tried", func() bool {
		jobs, err := a.Jobs()
		return err == nil && !slices.ContainsFunc(jobs, func(j gateway.Job) bool { return j.Kind == gateway.JobAnswer && !a.Alone(j.ID) })
	})
	w.RunOn(hb.FS, 1)
	m = match(t, a, func(m gateway.MatchStatus) bool { return m.Settled() })
	if o := other(m, 1); o.Ours.Word != api.AnswerWillCall || o.Asked.Fault != "" {
		t.Errorf("said %q, given up for %q", o.Ours.Word, o.Asked.Fault)
	}
}

// An answer that is given again, and was signed, rests while its receipt is not to be had. What
// its sender says meanwhile is the last word, also at a registry that is restored once more.
func TestAnAnswerGivenAgainThatRestsIsNotTheLastWord(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h, _ := meet(t, w, 2)
	a, b := h.Of(0), h.Of(1)
	any := func(gateway.MatchStatus) bool { return true }
	w.Backup("backup")
	w.Advance(2 * time.Hour)
	answers(t, b, match(t, b, any), 0, api.AnswerInContact)
	var mu sync.Mutex
	said := map[string]int{}
	w.Registry.OnAsked(func(r *http.Request) {
		if r.URL.Path != "/v1/acts" {
			return
		}
		body, err := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		var req api.ActRequest
		if err = errors.Join(err, json.Unmarshal(body, &req)); err != nil {
			t.Error(err)
			return
		}
		act, err := api.ParseAct(req.Signed.Signed)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		said[act.Body]++
	})
	loseFirstAct(w)
	w.Restore("backup")
	eventually(t, "an answer that rests", func() bool {
		jobs, err := b.Jobs()
		return err == nil && len(jobs) == 1 && jobs[0].Kind == gateway.JobAnswer && jobs[0].Prepared != nil && b.Alone(jobs[0].ID)
	})
	answers(t, b, match(t, b, any), 0, api.AnswerWillCall)
	match(t, a, func(m gateway.MatchStatus) bool { return other(m, 1).Theirs.Word == api.AnswerWillCall })
	w.Registry.Rewrite(nil)
	mu.Lock()
	clear(said)
	mu.Unlock()
	w.Restore("backup")
	caughtUp(t, w, b)
	mu.Lock()
	defer mu.Unlock()
	if said[string(api.AnswerWillCall)] == 0 || said[string(api.AnswerInContact)] > 0 {
		t.Errorf("said again: %v", said)
	}
}

// What somebody had answered long before the backup is still to be read, when the registry
// is restored and takes him for one whose day has come. His renewal comes again, and so does
// his answer.
func TestAnAnswerOfWhoRestsIsHeardOf(t *testing.T) {
	w := gatewaytest.New(t, 2)
	ha, hb := w.Run(0), w.Run(1)
	signal(t, ha.Of(0), child(1), terms("jansen", "A-1"))
	short := terms("bakker", "B-1")
	short.TermDays = 28
	s := signal(t, hb.Of(1), child(1), short)
	any := func(gateway.MatchStatus) bool { return true }
	match(t, ha.Of(0), any)
	ha.Stop()
	answers(t, hb.Of(1), match(t, hb.Of(1), any), 0, api.AnswerInContact)
	w.Advance(30 * time.Hour)
	w.Backup("backup")
	w.Advance(2 * time.Hour)
	if _, err := hb.Of(1).Renew(s.ID, gateway.Subject{}, gateway.Terms{TermDays: 90}); err != nil {
		t.Fatal(err)
	}
	settled(t, hb.Of(1), s.ID)
	hb.Stop()
	w.Advance(28 * 24 * time.Hour)
	w.Restore("backup")
	a := w.RunOn(ha.FS, 0).Of(0)
	eventually(t, "a feed", func() bool { return a.HasReadFeedOf(w.Matcher.Store.Incarnation()) })
	if o := other(match(t, a, any), 1); !o.Present || o.Theirs.Word != "" {
		t.Fatalf("the other is %+v: nothing is tried", o)
	}
	w.RunOn(hb.FS, 1)
	match(t, a, func(m gateway.MatchStatus) bool { return other(m, 1).Theirs.Word == api.AnswerInContact })
}

// What is withdrawn while the restored registry lacks it is not in the next backup either that
// is put back, which has it. Who met it is told that it left, once.
func TestWhatIsWithdrawnWhileItLacksStaysSo(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h, b := w.Run(0), w.Run(1).Of(1)
	a := h.Of(0)
	signal(t, a, child(1), terms("jansen", "A-1"))
	w.Backup("older")
	w.Advance(2 * time.Hour)
	s := signal(t, b, child(1), terms("bakker", "B-1"))
	inbox(t, a, 1)
	w.Backup("newer")
	w.Registry.Set(gatewaytest.Away)
	if _, err := b.Withdraw(s.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	w.Restore("older")
	w.Registry.Set(gatewaytest.Works)
	if got := settled(t, b, s.ID); got.State != gateway.StateWithdrawn {
		t.Fatalf("the withdrawal came to %s", got.State)
	}
	eventually(t, "that it left", func() bool { present, _ := seesOne(t, a); return !present })
	w.Restore("newer")
	w.Advance(25 * time.Hour)
	caughtUp(t, w, a, b)
	err := w.Matcher.Store.Scan(t.Context(), registry.Idx{}, func(_ registry.Idx, signals []registry.Signal, _ registry.Match) error {
		for _, stored := range signals {
			if stored.SID == s.SID {
				t.Error("it lives again")
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := toldOf(t, a), []api.EventKind{api.EventJoined, api.EventLeft}; !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
}

// Every restore tells from its journal once more who left, under the name that the match had
// then. Where the own signal has ended since, that name says nothing any more.
func TestAnEndedMatchIsLeftOnce(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h, b := w.Run(0), w.Run(1).Of(1)
	short := terms("jansen", "A-1")
	short.TermDays = 28
	signal(t, h.Of(0), child(1), short)
	w.Backup("alone")
	w.Advance(2 * time.Hour)
	s := signal(t, b, child(1), terms("bakker", "B-1"))
	inbox(t, h.Of(0), 1)
	h.Stop()
	w.Restore("alone") // so the match has another name
	caughtUp(t, w, b)
	if _, err := b.Withdraw(s.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	settled(t, b, s.ID)
	w.Advance(29 * 24 * time.Hour)
	w.Restore("alone")
	w.Registry.Set(gatewaytest.Away)
	a := w.RunOn(h.FS, 0).Of(0)
	if err := a.Sweep(); err != nil {
		t.Fatal(err)
	}
	w.Registry.Set(gatewaytest.Works)
	read := func() { eventually(t, "a feed", func() bool { return a.HasReadFeedOf(w.Matcher.Store.Incarnation()) }) }
	read()
	want := []api.EventKind{api.EventJoined, api.EventLeft}
	if got := toldOf(t, a); !slices.Equal(got, want) {
		t.Fatalf("told %v, want %v: nothing is tried", got, want)
	}
	w.Restore("alone")
	read()
	if got := toldOf(t, a); !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
}
