// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
)

const patience = 20 * time.Second // for what has to come; nothing is judged by it

// bsn is the n-th number that passes the 11-test, in a range given to nobody.
func bsn(n int) string {
	numbers.Lock()
	defer numbers.Unlock()
	for i := numbers.tried; len(numbers.found) <= n; i++ {
		s := fmt.Sprint(900_000_000 + i)
		sum := -int(s[8] - '0')
		for j := range 8 {
			sum += int(s[j]-'0') * (9 - j)
		}
		if sum%11 == 0 {
			numbers.found = append(numbers.found, s)
		}
		numbers.tried = i + 1
	}
	return numbers.found[n]
}

var numbers struct {
	sync.Mutex
	tried int
	found []string
}

func child(n int) gateway.Subject {
	return gateway.Subject{Kind: "bsn", Number: bsn(n), BirthDate: "2012-05-06"}
}

func terms(owner, reference string) gateway.Terms {
	return gateway.Terms{Owner: owner, Reference: reference}
}

func signal(t *testing.T, p *gateway.Party, s gateway.Subject, tm gateway.Terms) gateway.Status {
	t.Helper()
	status, err := p.Signal(s, tm)
	if err != nil {
		t.Fatal(err)
	}
	return settled(t, p, status.ID)
}

func settled(t *testing.T, p *gateway.Party, id gateway.ID) gateway.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := p.Wait(ctx, id); err != nil {
		t.Fatal(err)
	}
	status, err := p.Registration(id)
	if err != nil {
		t.Fatal(err)
	}
	if !status.Settled() {
		t.Fatalf("not settled: %s", status.Words())
	}
	return status
}

// inbox waits for n messages and gives all there are.
func inbox(t *testing.T, p *gateway.Party, n int) []gateway.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all []gateway.Message
	for len(all) < n {
		from := uint64(0)
		if len(all) > 0 {
			from = all[len(all)-1].Seq
		}
		list, err := p.AwaitMessages(ctx, from, 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			t.Fatalf("%d messages came, %d were expected", len(all), n)
		}
		all = append(all, list...)
	}
	return all
}

// waitsFor waits until a registration waits for something.
func waitsFor(t *testing.T, p *gateway.Party, id gateway.ID, want gateway.WaitFor) gateway.Status {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		status, err := p.Registration(id)
		if err != nil {
			t.Fatal(err)
		}
		if status.Job != nil && status.Job.WaitFor == want {
			return status
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not wait for %s: %s", want, status.Words())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestTwoPartiesMeet(t *testing.T) {
	w := gatewaytest.New(t, 3)
	h := w.Run(0, 1, 2) // one gateway serves all three, apart
	a, b, c := h.Of(0), h.Of(1), h.Of(2)

	card := gateway.Card{Name: "A. Jansen", Role: "leerkracht", Phone: "+31 20 555 01 99"}
	first := signal(t, a, child(1), gateway.Terms{Owner: "jansen", Reference: "A-1", Card: card})
	if first.State != gateway.StateRegistered || first.Signal.Others != 0 || first.Owners != 1 {
		t.Fatalf("the first signal is %s, met %d, has %d owners", first.State, first.Signal.Others, first.Owners)
	}
	second := signal(t, b, child(1), terms("bakker", "B-1"))
	if second.State != gateway.StateRegistered || second.Signal.Others != 1 {
		t.Fatalf("the second signal is %s and met %d", second.State, second.Signal.Others)
	}
	signal(t, c, child(2), terms("citroen", "C-1"))

	toA, toB := inbox(t, a, 1)[0], inbox(t, b, 1)[0]
	if toA.Kind != api.EventJoined || toB.Kind != api.EventJoined || toA.Problem != "" || toB.Problem != "" {
		t.Fatalf("A got %s (%s), B got %s (%s)", toA.Kind, toA.Problem, toB.Kind, toB.Problem)
	}
	if toB.Other.Card != card || toB.Other.Party != gatewaytest.Party(0) || toB.Other.Name != "Organisatie 0" {
		t.Error("B does not see A's card")
	}
	if toA.Other.Card.Desk != "Balie 1" {
		t.Error("A does not see the card that B's configuration has")
	}
	if len(toA.Other.Code) != 6 || toA.Other.Code != toB.Other.Code {
		t.Error("the read-out codes differ")
	}
	if len(toA.Owners) != 1 || toA.Owners[0].Reference != "A-1" || toA.Owners[0].Owner != "jansen" || toA.SID != first.SID {
		t.Error("A's message does not name its own file")
	}
	if list, err := c.Messages(0, 10); err != nil || len(list) != 0 {
		t.Errorf("C, who signals another child, has %d messages (%v)", len(list), err)
	}
}

func TestOwnersOfOneSignal(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h := w.Run(0, 1)
	a, b := h.Of(0), h.Of(1)
	signal(t, b, child(1), terms("bakker", "B-1"))

	one := signal(t, a, child(1), terms("jansen", "A-1"))
	two := signal(t, a, child(1), terms("pieters", "A-2"))
	if two.State != gateway.StateMerged || two.SID != one.SID || two.Owners != 2 || !two.Into.IsZero() {
		t.Fatalf("a colleague's signal is %s with %d owners", two.State, two.Owners)
	}
	again := signal(t, a, child(1), terms("jansen", "A-1"))
	if again.State != gateway.StateMerged || again.Into != one.ID || again.Owners != 2 {
		t.Fatalf("a repeat is %s, into %v, with %d owners", again.State, again.Into, again.Owners)
	}

	withdraw := func(id gateway.ID) gateway.Status {
		t.Helper()
		if _, err := a.Withdraw(id, api.ReasonEnded); err != nil {
			t.Fatal(err)
		}
		return settled(t, a, id)
	}
	if s := withdraw(two.ID); s.State != gateway.StateWithdrawn {
		t.Errorf("the colleague's is %s", s.State)
	}
	if s, _ := a.Registration(one.ID); s.State != gateway.StateRegistered || s.Owners != 1 {
		t.Errorf("the other owner's is %s with %d owners", s.State, s.Owners)
	}
	if len(inbox(t, b, 1)) != 1 {
		t.Error("B was told of a withdrawal that was none")
	}
	if s := withdraw(again.ID); s.State != gateway.StateWithdrawn { // the repeat stands for the original
		t.Errorf("the repeat is %s", s.State)
	}
	if s, _ := a.Registration(one.ID); s.State != gateway.StateWithdrawn || s.Signal != nil {
		t.Errorf("the original is %s, or its signal is still kept", s.State)
	}
	messages := inbox(t, b, 3)
	if messages[1].Kind != api.EventLeft || messages[2].Kind != api.EventEnded {
		t.Errorf("B was told %s and %s", messages[1].Kind, messages[2].Kind)
	}
	if s := withdraw(one.ID); s.State != gateway.StateWithdrawn {
		t.Error("withdrawing again is not the same")
	}
	if s := signal(t, a, child(1), terms("jansen", "A-1")); s.State != gateway.StateRegistered || s.SID == one.SID {
		t.Errorf("signalling anew gives %s", s.State)
	}
}

func TestRenewalShowsTheNewCard(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h := w.Run(0, 1)
	a, b := h.Of(0), h.Of(1)
	one := signal(t, a, child(1), gateway.Terms{Owner: "jansen", Reference: "A-1", TermDays: 60})
	signal(t, b, child(1), terms("bakker", "B-1"))
	inbox(t, b, 1)

	card := gateway.Card{Name: "P. Pieters", Email: "p.pieters@school.example"}
	if _, err := a.Renew(one.ID, gateway.Subject{}, gateway.Terms{Card: card, TermDays: 200}); err != nil {
		t.Fatal(err)
	}
	s := settled(t, a, one.ID)
	if s.State != gateway.StateRegistered || s.Signal.Rev != 2 || s.Signal.Card != card || s.Signal.Expires.Compare(one.Signal.Expires) <= 0 {
		t.Errorf("after the renewal: %s, rev %d, expires %s (was %s)", s.State, s.Signal.Rev, s.Signal.Expires, one.Signal.Expires)
	}
	m := inbox(t, b, 2)[1]
	if m.Kind != api.EventCard || m.Other.Card != card || m.Problem != "" {
		t.Errorf("B got %s (%s)", m.Kind, m.Problem)
	}
	if _, err := a.Renew(one.ID, gateway.Subject{}, gateway.Terms{}); err != nil {
		t.Fatal(err)
	}
	if s := settled(t, a, one.ID); s.Signal.Rev != 3 || s.Signal.Card != card {
		t.Error("a renewal without a card does not keep the card")
	}
}

func TestTheQueueWaitsInWords(t *testing.T) {
	w := gatewaytest.New(t, 1)
	h := w.Run(0)
	a := h.Of(0)
	w.Faults[0].Set(gatewaytest.Away)
	w.Faults[1].Set(gatewaytest.Away)
	s, err := a.Signal(child(1), terms("jansen", "A-1"))
	if err != nil {
		t.Fatal(err)
	}
	if s := waitsFor(t, a, s.ID, gateway.WaitEvaluators); !strings.Contains(s.Words(), "sleutelhouders onbereikbaar") {
		t.Errorf("it says %q", s.Words())
	}
	w.Registry.Set(gatewaytest.Away)
	w.Faults[0].Set(gatewaytest.Works)
	if s := waitsFor(t, a, s.ID, gateway.WaitRegistry); !strings.Contains(s.Words(), "register onbereikbaar") {
		t.Errorf("it says %q", s.Words())
	}
	about, err := a.About(t.Context())
	if err != nil || about.Jobs != 1 {
		t.Errorf("the queue has %d jobs (%v)", about.Jobs, err)
	}
	w.Registry.Set(gatewaytest.Works)
	if s := settled(t, a, s.ID); s.State != gateway.StateRegistered {
		t.Errorf("it ended as %s", s.State)
	}
}

func TestSpentBudgetWaits(t *testing.T) {
	w := gatewaytest.New(t, 1)
	w.Manifest.Policy.DailyBudget, w.Manifest.Policy.ReportReserve = 1, 0
	w.Publish()
	h := w.Run(0)
	a := h.Of(0)
	signal(t, a, child(1), terms("jansen", "A-1"))
	// Three evaluators with room for one each: the second signal finds at most one.
	s, err := a.Signal(child(2), terms("jansen", "A-2"))
	if err != nil {
		t.Fatal(err)
	}
	if s := waitsFor(t, a, s.ID, gateway.WaitBudget); !strings.Contains(s.Words(), "tegoed op") {
		t.Errorf("it says %q", s.Words())
	}
}

func TestAnEvaluatorIsAskedOnceHoweverLongTheOthersAreAway(t *testing.T) {
	w := gatewaytest.New(t, 1)
	h := w.Run(0)
	a := h.Of(0)
	var asked atomic.Int32
	w.Faults[0].OnAsked(func(*http.Request) { asked.Add(1) })
	w.Faults[1].Set(gatewaytest.Away)
	w.Faults[2].Set(gatewaytest.Away)
	s, err := a.Signal(child(1), terms("jansen", "A-1"))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); waitsFor(t, a, s.ID, gateway.WaitEvaluators).Job.Attempts < 3; {
		if time.Now().After(deadline) {
			t.Fatal("it is not tried again")
		}
		time.Sleep(5 * time.Millisecond)
	}
	w.Faults[1].Set(gatewaytest.Works)
	if s := settled(t, a, s.ID); s.State != gateway.StateRegistered {
		t.Errorf("it ended as %s", s.State)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the evaluator that works was asked, and paid, %d times", n)
	}
}

func TestALostAnswerIsAskedAgain(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h := w.Run(0, 1)
	a, b := h.Of(0), h.Of(1)
	signal(t, b, child(1), terms("bakker", "B-1"))
	w.Registry.Set(gatewaytest.Loses)
	s, err := a.Signal(child(1), terms("jansen", "A-1"))
	if err != nil {
		t.Fatal(err)
	}
	waitsFor(t, a, s.ID, gateway.WaitRegistry)
	w.Registry.Set(gatewaytest.Works)
	if s := settled(t, a, s.ID); s.State != gateway.StateRegistered || s.Signal.Rev != 1 || s.Signal.Others != 1 {
		t.Errorf("it ended as %s, rev %d, met %d", s.State, s.Signal.Rev, s.Signal.Others)
	}
	w.Registry.Set(gatewaytest.Loses)
	if _, err := a.Withdraw(s.ID, api.ReasonMistake); err != nil {
		t.Fatal(err)
	}
	waitsFor(t, a, s.ID, gateway.WaitRegistry)
	w.Registry.Set(gatewaytest.Works)
	if s := settled(t, a, s.ID); s.State != gateway.StateWithdrawn {
		t.Errorf("it ended as %s", s.State)
	}
	if n := len(inbox(t, b, 3)); n != 3 {
		t.Errorf("B was told %d things: joined, left and ended were expected", n)
	}
}

func TestABadEvaluatorIsNamedAndLeftOut(t *testing.T) {
	for mode, reason := range map[gatewaytest.Mode]string{
		gatewaytest.Forges: "bad-proof", gatewaytest.Away: "unavailable", gatewaytest.Hangs: "",
	} {
		t.Run(fmt.Sprint(reason), func(t *testing.T) {
			w := gatewaytest.New(t, 1)
			h := w.Run(0)
			w.Faults[1].Set(mode)
			for i := range 4 { // who is asked first is chance
				if s := signal(t, h.Of(0), child(i), terms("jansen", fmt.Sprint("A-", i))); s.State != gateway.StateRegistered {
					t.Fatalf("it ended as %s", s.State)
				}
			}
			if reason != "" && !strings.Contains(w.Log.String(), fmt.Sprintf(`"evaluator":2,"reason":%q`, reason)) {
				t.Error("the log does not name evaluator 2")
			}
			if strings.Contains(w.Log.String(), `"evaluator":1`) || strings.Contains(w.Log.String(), `"evaluator":3`) {
				t.Error("the log blames another evaluator")
			}
		})
	}
}

func TestAForgedReceiptIsNotTaken(t *testing.T) {
	w := gatewaytest.New(t, 1)
	h := w.Run(0)
	w.Registry.Set(gatewaytest.Forges)
	s, err := h.Of(0).Signal(child(1), terms("jansen", "A-1"))
	if err != nil {
		t.Fatal(err)
	}
	waitsFor(t, h.Of(0), s.ID, gateway.WaitRegistry)
	if !strings.Contains(w.Log.String(), "receipt refused") {
		t.Error("the log does not tell")
	}
	w.Registry.Set(gatewaytest.Works)
	if s := settled(t, h.Of(0), s.ID); s.State != gateway.StateRegistered {
		t.Errorf("it ended as %s", s.State)
	}
}

func TestAForgedEventIsKeptWithItsProblem(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h := w.Run(0)
	signal(t, h.Of(0), child(1), terms("jansen", "A-1"))
	h.Stop()
	other := w.Run(1)
	signal(t, other.Of(1), child(1), terms("bakker", "B-1"))
	other.Stop()

	w.Registry.Set(gatewaytest.Forges) // our own signature, in the event
	h = w.Run(0)
	// The store was in memory, so the gateway starts anew; the keybox still opens.
	m := inbox(t, h.Of(0), 1)[0]
	if m.Problem != gateway.CodeOwnStatement || !m.Other.Card.IsZero() || m.Other.Code != "" {
		t.Errorf("the problem is %q", m.Problem)
	}
	if m.Problem.Words() == "" || !strings.Contains(w.Log.String(), "event not verified") {
		t.Error("nobody is told")
	}
	w.Registry.Set(gatewaytest.Works)
	if s := signal(t, h.Of(0), child(2), terms("jansen", "A-2")); s.State != gateway.StateRegistered {
		t.Error("the forged event stopped the rest")
	}
}

func TestWithoutMemoryAnEventOpens(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h := w.Run(0)
	before := signal(t, h.Of(0), child(1), terms("jansen", "A-1"))
	h.Stop()
	other := w.Run(1)
	signal(t, other.Of(1), child(1), terms("bakker", "B-1"))

	h = w.Run(0) // on an empty store
	a := h.Of(0)
	if m := inbox(t, a, 1)[0]; m.Problem != "" || m.Other.Card.Desk != "Balie 1" {
		t.Errorf("the event does not open: %q", m.Problem)
	}
	// The registry answers with the signal that this store does not know.
	s := signal(t, a, child(1), terms("pieters", "A-2"))
	if s.State != gateway.StateMerged || s.SID != before.SID || s.Signal.Rev != 1 {
		t.Fatalf("it ended as %s", s.State)
	}
	if _, err := a.Renew(s.ID, gateway.Subject{}, gateway.Terms{}); err != nil {
		t.Fatal(err)
	}
	if s := settled(t, a, s.ID); s.Signal.Rev != 2 || s.Signal.Expires.IsZero() || len(s.Faults) > 0 {
		t.Error("it cannot be renewed")
	}
	if _, err := a.Withdraw(s.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	if s := settled(t, a, s.ID); s.State != gateway.StateWithdrawn {
		t.Errorf("withdrawing it gives %s", s.State)
	}
	if m := inbox(t, other.Of(1), 4); m[len(m)-1].Kind != api.EventEnded {
		t.Error("the match has not ended")
	}
}

func TestWithdrawWhileQueued(t *testing.T) {
	w := gatewaytest.New(t, 1)
	h := w.Run(0)
	a := h.Of(0)
	w.Faults[0].Set(gatewaytest.Away)
	w.Faults[1].Set(gatewaytest.Away)
	s, err := a.Signal(child(1), terms("jansen", "A-1"))
	if err != nil {
		t.Fatal(err)
	}
	if s, err = a.Withdraw(s.ID, api.ReasonMistake); err != nil || s.State != gateway.StateWithdrawn || !s.Settled() {
		t.Fatalf("before it is prepared: %s (%v)", s.State, err)
	}
	w.Faults[0].Set(gatewaytest.Works)
	w.Registry.Set(gatewaytest.Loses)
	if s, err = a.Signal(child(2), terms("jansen", "A-2")); err != nil {
		t.Fatal(err)
	}
	waitsFor(t, a, s.ID, gateway.WaitRegistry)
	if s, err = a.Withdraw(s.ID, api.ReasonMistake); err != nil || s.State != gateway.StateQueued {
		t.Fatalf("once it may have been sent: %s (%v)", s.State, err)
	}
	w.Registry.Set(gatewaytest.Works)
	if s := settled(t, a, s.ID); s.State != gateway.StateWithdrawn {
		t.Errorf("it ended as %s", s.State)
	}
	// Had it stood, this would be merged.
	if s := signal(t, a, child(2), terms("jansen", "A-3")); s.State != gateway.StateRegistered {
		t.Errorf("signalling anew gives %s", s.State)
	}
}

func TestIdempotencyKey(t *testing.T) {
	w := gatewaytest.New(t, 1)
	a := w.Run(0).Of(0)
	tm := terms("jansen", "A-1")
	tm.Key = "een-sleutel"
	one := signal(t, a, child(1), tm)
	if two := signal(t, a, child(1), tm); two.ID != one.ID {
		t.Error("the same request made another registration")
	}
	if _, err := a.Signal(child(2), tm); !errors.Is(err, gateway.ErrReplay) {
		t.Errorf("the key for another child, who would never be signalled: %v", err)
	}
	tm.Reference = "A-2"
	if _, err := a.Signal(child(1), tm); !errors.Is(err, gateway.ErrReplay) {
		t.Errorf("the key for another request: %v", err)
	}
	tm.Key = "melding-sleutel"
	if _, err := a.Report([]gateway.Person{{Subject: child(1)}}, tm); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Report([]gateway.Person{{Subject: child(1)}, {Subject: child(2)}}, tm); !errors.Is(err, gateway.ErrReplay) {
		t.Errorf("the key for a report of one person more: %v", err)
	}
	list, _, err := a.Registrations(gateway.ID{}, 10, "")
	if err != nil || len(list) != 2 { // the signal, and the person in the report
		t.Errorf("there are %d registrations (%v)", len(list), err)
	}
}

func TestExpiryByTheClock(t *testing.T) {
	w := gatewaytest.New(t, 1)
	a := w.Run(0).Of(0)
	s := signal(t, a, child(1), gateway.Terms{Owner: "jansen", Reference: "A-1", TermDays: 20})
	w.Advance(21 * 24 * time.Hour)
	if s, err := a.Registration(s.ID); err != nil || s.State != gateway.StateExpired {
		t.Errorf("after its term it is %s (%v)", s.State, err)
	}
	if _, err := a.Renew(s.ID, gateway.Subject{}, gateway.Terms{}); !errors.Is(err, gateway.ErrNotLive) {
		t.Errorf("renewing it: %v", err)
	}
}

func TestANewEpochGivesASecondFace(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h := w.Run(0)
	a := h.Of(0)
	old := signal(t, a, child(1), terms("jansen", "A-1"))
	w.OpenEpoch(2)
	w.Publish()
	// The gateway still has the manifest with one epoch: the registry says so.
	s, err := a.Signal(child(2), terms("jansen", "A-2"))
	if err != nil {
		t.Fatal(err)
	}
	if s := settled(t, a, s.ID); s.State != gateway.StateRefused || s.Faults[0].Code != gateway.CodeNewEpoch {
		t.Errorf("a signal prepared for one epoch is %s", s.State)
	}
	if s := signal(t, a, child(3), terms("jansen", "A-3")); s.State != gateway.StateRegistered || len(s.Signal.Faces) != 2 {
		t.Errorf("a new signal is %s", s.State)
	}
	renew := func(subject gateway.Subject) gateway.Status {
		t.Helper()
		if _, err := a.Renew(old.ID, subject, gateway.Terms{}); err != nil {
			t.Fatal(err)
		}
		return settled(t, a, old.ID)
	}
	if s := renew(gateway.Subject{}); s.State != gateway.StateRegistered || len(s.Faults) != 1 || s.Faults[0].Code != gateway.CodeNumberNeeded {
		t.Errorf("a renewal across epochs must ask for the identity: %v", s.Faults)
	}
	if s := renew(child(9)); s.State != gateway.StateRegistered || len(s.Faults) != 1 || s.Faults[0].Code != gateway.CodeOtherChild {
		t.Errorf("a renewal with another child: %v", s.Faults)
	}
	if s := renew(child(1)); s.State != gateway.StateRegistered || len(s.Faults) != 0 || s.Signal.Rev != 2 || len(s.Signal.Faces) != 2 {
		t.Errorf("a renewal with the child: %v, rev %d", s.Faults, s.Signal.Rev)
	}
	if jobs, err := a.Jobs(); err != nil || len(jobs) != 0 {
		t.Errorf("%d jobs are left (%v)", len(jobs), err)
	}
	b := w.Run(1).Of(1)
	if s := signal(t, b, child(1), terms("bakker", "B-1")); s.State != gateway.StateRegistered || s.Signal.Others != 1 {
		t.Error("matching is not on the oldest epoch")
	}
	if m := inbox(t, b, 1)[0]; m.Problem != "" || m.Other.Card.Desk != "Balie 0" {
		t.Errorf("the card of one face does not open: %q", m.Problem)
	}
}

func TestAnExpiredManifestStopsTheQueueUntilThereIsANewOne(t *testing.T) {
	w := gatewaytest.New(t, 1)
	w.Manifest.NotAfter, w.Directory.NotAfter = w.Now().AddDate(0, 0, 1), w.Now().AddDate(0, 0, 1)
	w.Publish()
	h := w.Run(0)
	a := h.Of(0)
	signal(t, a, child(1), terms("jansen", "A-1"))
	w.Advance(48 * time.Hour)
	s, err := a.Signal(child(2), terms("jansen", "A-2"))
	if err != nil {
		t.Fatal(err)
	}
	waitsFor(t, a, s.ID, gateway.WaitEvaluators)
	h.Stop()

	w.Manifest.NotAfter, w.Directory.NotAfter = w.Now().AddDate(1, 0, 0), w.Now().AddDate(1, 0, 0)
	h = w.RunOn(h.FS, 0) // it starts with what it kept, though that has expired
	a = h.Of(0)
	waitsFor(t, a, s.ID, gateway.WaitEvaluators)
	w.Publish()
	if s := settled(t, a, s.ID); s.State != gateway.StateRegistered {
		t.Errorf("it ended as %s", s.State)
	}
}

func TestAResharingIsFollowed(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h := w.Run(0, 1)
	signal(t, h.Of(0), child(1), terms("jansen", "A-1"))
	w.Reshare()
	w.Publish()
	// The evaluators answer 409, and the gateway fetches the manifest.
	if s := signal(t, h.Of(1), child(1), terms("bakker", "B-1")); s.State != gateway.StateRegistered || s.Signal.Others != 1 {
		t.Errorf("after resharing: %s, met %d", s.State, s.Signal.Others)
	}
	if m := inbox(t, h.Of(0), 1)[0]; m.Problem != "" {
		t.Errorf("the card does not open: %q", m.Problem)
	}
}

func TestTheEndOfTheLegalBasis(t *testing.T) {
	w := gatewaytest.New(t, 1)
	w.Manifest.Policy.LegalBasisEnds = encoding.Date{Year: 2027, Month: 3, Day: 5} // tomorrow
	w.Publish()
	h := w.Run(0)
	a := h.Of(0)
	s := signal(t, a, child(1), terms("jansen", "A-1"))
	w.Faults[0].Set(gatewaytest.Away)
	w.Faults[1].Set(gatewaytest.Away)
	waiting, err := a.Signal(child(2), terms("jansen", "A-2"))
	if err != nil {
		t.Fatal(err)
	}
	waitsFor(t, a, waiting.ID, gateway.WaitEvaluators)
	w.Advance(24 * time.Hour)
	w.Faults[0].Set(gatewaytest.Works)
	if s := settled(t, a, waiting.ID); s.State != gateway.StateRefused || s.Faults[0].Code != gateway.CodeLegalBasis {
		t.Errorf("what was in the queue is %s", s.State)
	}
	if _, err := a.Signal(child(3), terms("jansen", "A-3")); !errors.Is(err, gateway.ErrNoBasis) {
		t.Errorf("a new signal: %v", err)
	}
	if _, err := a.Report(persons(), terms("vt", "M-1")); !errors.Is(err, gateway.ErrNoBasis) {
		t.Errorf("a report: %v", err)
	}
	if _, err := a.Renew(s.ID, gateway.Subject{}, gateway.Terms{}); !errors.Is(err, gateway.ErrNoBasis) {
		t.Errorf("a renewal: %v", err)
	}
	all := bootstrap(t, w, h, 0)
	if _, err := all.AddOwner(s.ID, "bakker", "B-1"); !errors.Is(err, gateway.ErrNoBasis) {
		t.Errorf("an owner more: %v", err)
	}
	if _, _, err := all.MakeTransfer("jansen", "jansen", newCard); !errors.Is(err, gateway.ErrNoBasis) {
		t.Errorf("a transfer: %v", err)
	}
	if _, err := a.Withdraw(s.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	if s := settled(t, a, s.ID); s.State != gateway.StateWithdrawn {
		t.Errorf("a withdrawal: %s", s.State)
	}
}

func TestAWithdrawalDoesNotNeedAManifestInForce(t *testing.T) {
	w := gatewaytest.New(t, 1)
	w.Manifest.NotAfter, w.Directory.NotAfter = w.Now().AddDate(0, 0, 1), w.Now().AddDate(0, 0, 1)
	w.Publish()
	a := w.Run(0).Of(0)
	s := signal(t, a, child(1), terms("jansen", "A-1"))
	w.Advance(48 * time.Hour)
	if _, err := a.Withdraw(s.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	if s := settled(t, a, s.ID); s.State != gateway.StateWithdrawn {
		t.Errorf("it is %s", s.State)
	}
}
