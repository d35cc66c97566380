// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/disk/disktest"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/manifest"
)

// steal has the keys of the first epoch stolen; the second is open already, or opens. It
// gives what the registry did.
func steal(t *testing.T, w *gatewaytest.World) (destroyed, stripped int) {
	t.Helper()
	w.Registry.Set(gatewaytest.Away) // it is stopped for the rebuild
	if len(w.Manifest.Epochs) == 1 {
		w.OpenEpoch(2)
	}
	w.Manifest.Epochs[0].State = manifest.EpochCompromised
	w.Publish()
	done, err := w.Matcher.Rebuild(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.Registry.Set(gatewaytest.Works)
	return done.Destroyed, done.Stripped
}

func refresh(t *testing.T, parties ...*gateway.Party) {
	t.Helper()
	for _, p := range parties {
		eventually(t, "the manifest", func() bool { return p.Refresh(t.Context()) == nil })
	}
}

// becomes waits until a registration is in a state.
func becomes(t *testing.T, p *gateway.Party, id gateway.ID, want gateway.State) (s gateway.Status) {
	t.Helper()
	eventually(t, string(want), func() bool {
		var err error
		if s, err = p.Registration(id); err != nil {
			t.Fatal(err)
		}
		return s.State == want && s.Settled()
	})
	return s
}

func unbroken(t *testing.T, parties ...*gateway.Party) {
	t.Helper()
	for _, p := range parties {
		if broken, err := gateway.Broken(p); err != nil || len(broken) > 0 {
			t.Errorf("%q, %v", broken, err)
		}
	}
}

func kinds(list []gateway.Message) map[api.EventKind]int {
	n := map[api.EventKind]int{}
	for _, m := range list {
		n[m.Kind]++
	}
	return n
}

func faultOf(err error) gateway.Code {
	if e, ok := errors.AsType[*gateway.InputError](err); ok {
		return e.Faults[0].Code
	}
	return ""
}

// TestWhatIsLostIsMadeAnew is what professionals see when the keys of an epoch are stolen.
func TestWhatIsLostIsMadeAnew(t *testing.T) {
	w := gatewaytest.New(t, 2)
	house, other := w.Run(0), w.Run(1)
	a, b := house.Of(0), other.Of(1)
	first := signal(t, a, child(1), terms("jansen", "A-1"))
	colleague := signal(t, a, child(1), terms("pieters", "A-9"))
	second := signal(t, a, child(2), terms("jansen", "A-2"))
	given := signal(t, a, child(4), terms("jansen", "A-4"))
	theirs := signal(t, b, child(1), terms("bakker", "B-1"))
	repeat := signal(t, a, child(2), terms("jansen", "A-2"))
	w.OpenEpoch(2)
	w.Publish()
	refresh(t, a, b)
	stands := signal(t, a, child(3), terms("jansen", "A-3"))
	signal(t, b, child(3), terms("bakker", "B-3"))
	before := inbox(t, a, 2)
	inbox(t, b, 2)
	was := before[0].Match

	if destroyed, stripped := steal(t, w); destroyed != 4 || stripped != 2 {
		t.Errorf("%d destroyed, %d stripped", destroyed, stripped)
	}
	refresh(t, a) // the other hears of another epoch first, by what one revises, and looks for itself
	for _, id := range []gateway.ID{first.ID, colleague.ID, second.ID, given.ID} {
		if s := becomes(t, a, id, gateway.StateLost); s.Signal != nil || s.Match != nil && s.Match.Ended.IsZero() {
			t.Error("something of what is lost is left")
		}
	}
	becomes(t, a, repeat.ID, gateway.StateLost)
	becomes(t, b, theirs.ID, gateway.StateLost)
	var news []gateway.Message
	for _, m := range inbox(t, a, 5)[2:] {
		if m.Kind != gateway.KindLost || m.Problem != "" || !m.Match.IsZero() {
			t.Errorf("a message %s: %s", m.Kind, m.Problem)
		}
		news = append(news, m)
		if len(m.Owners) == 2 != (m.SID == first.SID) {
			t.Errorf("it is for %v", m.Owners)
		}
	}
	if len(news) != 3 {
		t.Errorf("%d messages of three lost signals", len(news))
	}
	if n, err := a.Lost(); n != 4 || err != nil {
		t.Errorf("%d registrations are lost (%v)", n, err)
	}
	if h, _ := house.Gateway.Health(); !slices.ContainsFunc(h.Parts, func(p edge.HealthPart) bool { return p.Name == "lost" && p.Code == edge.PartMissing }) {
		t.Errorf("health: %+v", h)
	}
	list, _, err := a.Registrations(gateway.ID{}, 10, gateway.StateLost)
	if err != nil || len(list) != 5 { // and what repeats one of them
		t.Errorf("%d are listed (%v)", len(list), err)
	}

	// What stands by the other epoch is revised, and nobody is told: the card is the same.
	eventually(t, "a revision without the compromised epoch", func() bool {
		s, err := a.Registration(stands.ID)
		return err == nil && s.Signal != nil && s.Signal.Rev == 2 && len(s.Signal.Faces) == 1
	})
	eventually(t, "the registry without a tag of it", func() bool {
		done, err := w.Matcher.Check(t.Context(), nil)
		return err == nil && done.Tagged == 0
	})

	// Not without the number, and not with another child's.
	if _, err := a.Renew(first.ID, gateway.Subject{}, gateway.Terms{}); faultOf(err) != gateway.CodeNumberNeeded {
		t.Error(err)
	}
	wrong := child(1)
	wrong.BirthDate = "2012-05-07"
	if _, err := a.Renew(first.ID, wrong, gateway.Terms{}); faultOf(err) != gateway.CodeOtherChild {
		t.Error(err)
	}
	// By a renewal, and the colleague owns it as well.
	if _, err := a.Renew(first.ID, child(1), gateway.Terms{}); err != nil {
		t.Fatal(err)
	}
	s := settled(t, a, first.ID)
	if s.State != gateway.StateRegistered || s.Owners != 2 || s.SID == first.SID || s.Signal.Expires != first.Signal.Expires || s.Reference != "A-1" {
		t.Errorf("made anew it is %s, with %d owners, until %v", s.State, s.Owners, s.Signal.Expires)
	}
	if c := settled(t, a, colleague.ID); c.State != gateway.StateMerged || c.SID != s.SID {
		t.Errorf("the colleague's is %s", c.State)
	}
	// By a new signal under the same reference, as a case system would do it.
	again := signal(t, a, child(2), terms("jansen", "A-2"))
	if again.ID != second.ID || again.State != gateway.StateRegistered {
		t.Errorf("it is another one, %s", again.State)
	}
	if r := settled(t, a, repeat.ID); !r.State.Stands() || r.Signal == nil || r.SID != again.SID {
		t.Errorf("what repeats it is %s", r.State)
	}
	// Or not at all.
	if s, err := a.Withdraw(given.ID, api.ReasonEnded); err != nil || s.State != gateway.StateWithdrawn {
		t.Errorf("%s, %v", s.State, err)
	}
	if n, err := a.Lost(); n != 0 || err != nil {
		t.Errorf("%d registrations are lost (%v)", n, err)
	}
	if h, _ := house.Gateway.Health(); h.Status != edge.HealthOK {
		t.Errorf("health: %+v", h)
	}

	// The match forms again when the other comes back, as another one.
	if _, err := b.Renew(theirs.ID, child(1), gateway.Terms{}); err != nil {
		t.Fatal(err)
	}
	settled(t, b, theirs.ID)
	told := inbox(t, a, 6)
	last := told[len(told)-1]
	if last.Kind != api.EventJoined || last.Match == was || last.Other.Card.IsZero() || last.SID != s.SID {
		t.Errorf("%s, the same match %t", last.Kind, last.Match == was)
	}
	if n := kinds(told); n[api.EventJoined] != 3 || n[gateway.KindLost] != 3 || len(told) != 6 {
		t.Errorf("one was told %v", n)
	}
	if n := kinds(inbox(t, b, 4)); n[api.EventJoined] != 3 || n[gateway.KindLost] != 1 {
		t.Errorf("the other was told %v", n)
	}
	unbroken(t, a, b)
}

// A statement that the registry did not take before the keys were stolen is lost as well,
// for the identity is gone; one that has only been entered is not.
func TestWhatWaitedIsLostOrGoesOn(t *testing.T) {
	w := gatewaytest.New(t, 1)
	a := w.Run(0).Of(0)
	w.Registry.Set(gatewaytest.Away)
	prepared, err := a.Signal(child(1), terms("jansen", "A-1"))
	if err != nil {
		t.Fatal(err)
	}
	waitsFor(t, a, prepared.ID, gateway.WaitRegistry)
	for _, f := range w.Faults {
		f.Set(gatewaytest.Away)
	}
	entered, err := a.Signal(child(2), terms("jansen", "A-2"))
	if err != nil {
		t.Fatal(err)
	}
	waitsFor(t, a, entered.ID, gateway.WaitEvaluators)
	steal(t, w)
	for _, f := range w.Faults {
		f.Set(gatewaytest.Works)
	}
	s := becomes(t, a, prepared.ID, gateway.StateLost)
	if m := inbox(t, a, 1)[0]; m.Kind != gateway.KindLost || len(m.Owners) != 1 || m.Owners[0].Registration != s.ID {
		t.Errorf("%s for %v", m.Kind, m.Owners)
	}
	becomes(t, a, entered.ID, gateway.StateRegistered)
	if again := signal(t, a, child(1), terms("jansen", "A-1")); again.ID != prepared.ID || again.State != gateway.StateRegistered {
		t.Errorf("%s, the same %t", again.State, again.ID == prepared.ID)
	}
	unbroken(t, a)
}

// A report that comes again makes anew everybody who was in it, each once, also two whom
// nothing tells apart that is known of them.
func TestAReportThatWasLostComesAgain(t *testing.T) {
	w := gatewaytest.New(t, 1)
	a := w.Run(0).Of(0)
	persons := []gateway.Person{{Subject: child(1)}, {Subject: child(2)}}
	report := func() (ids []gateway.ID) {
		t.Helper()
		r, err := a.Report(persons, terms("jansen", "M-7"))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range r.Status {
			ids = append(ids, s.ID)
		}
		return ids
	}
	first := report()
	for _, id := range first {
		becomes(t, a, id, gateway.StateRegistered)
	}
	steal(t, w)
	refresh(t, a)
	for _, id := range first {
		becomes(t, a, id, gateway.StateLost)
	}
	again := report()
	if !slices.Contains(again, first[0]) || !slices.Contains(again, first[1]) {
		t.Error("who came again is somebody else")
	}
	seen := map[api.SID]bool{}
	for _, id := range again {
		s := becomes(t, a, id, gateway.StateRegistered)
		seen[s.SID] = true
	}
	if n, err := a.Lost(); n != 0 || err != nil || len(seen) != 2 {
		t.Errorf("%d are lost, %d signals (%v)", n, len(seen), err)
	}
	unbroken(t, a)
}

// What is not made anew ends when its signal would have.
func TestWhatIsLostExpires(t *testing.T) {
	w := gatewaytest.New(t, 1)
	a := w.Run(0).Of(0)
	s := signal(t, a, child(1), gateway.Terms{Owner: "jansen", Reference: "A-1", TermDays: 40})
	steal(t, w)
	refresh(t, a)
	becomes(t, a, s.ID, gateway.StateLost)
	w.Advance(41 * 24 * 3600e9)
	if s, err := a.Registration(s.ID); err != nil || s.State != gateway.StateExpired {
		t.Errorf("before the sweep it is %s (%v)", s.State, err)
	}
	if err := a.Sweep(); err != nil {
		t.Fatal(err)
	}
	if n, err := a.Lost(); n != 0 || err != nil {
		t.Errorf("%d are lost (%v)", n, err)
	}
	if _, err := a.Renew(s.ID, child(1), gateway.Terms{}); !errors.Is(err, gateway.ErrNotLive) {
		t.Error(err)
	}
}

// TestPowerLostWhileSignalsAreLost loses the power of a gateway at any sync from when the
// manifest came until all was made anew: it goes on, everybody is told once, and nothing
// of the compromised epoch stays.
func TestPowerLostWhileSignalsAreLost(t *testing.T) {
	const signals = 4
	w := gatewaytest.New(t, 1)
	rng := rand.New(rand.NewPCG(1, 1))
	camera := disktest.NewCamera(vfs.NewCrashableMem(), rng)
	house := w.RunOn(camera, 0)
	a := house.Of(0)
	var ids []gateway.ID
	for n := range signals {
		ids = append(ids, signal(t, a, child(n), terms("jansen", fmt.Sprint("A-", n))).ID)
		ids = append(ids, signal(t, a, child(n), terms("pieters", fmt.Sprint("P-", n))).ID)
	}
	camera.Turn(true)
	steal(t, w)
	refresh(t, a)
	anew := func(a *gateway.Party) {
		t.Helper()
		for n := range signals {
			s, err := a.Registration(ids[2*n])
			if err != nil {
				t.Fatal(err)
			}
			if s.State == gateway.StateLost {
				if _, err := a.Renew(s.ID, child(n), gateway.Terms{}); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, id := range ids {
			settled(t, a, id)
		}
	}
	for _, id := range ids {
		becomes(t, a, id, gateway.StateLost)
	}
	anew(a)
	camera.Turn(false)
	house.Stop()
	pictures := camera.Pictures()
	if len(pictures) < 6 {
		t.Fatalf("%d pictures", len(pictures))
	}
	lost := 0
	for range 6 {
		again := w.RunOn(pictures[rng.IntN(len(pictures))], 0)
		a := again.Of(0)
		refresh(t, a)
		eventually(t, "all lost, or made anew", func() bool {
			list, _, err := a.Registrations(gateway.ID{}, 100, "")
			if err != nil {
				t.Fatal(err)
			}
			n, done := 0, true
			for _, s := range list {
				old := s.Signal != nil && slices.ContainsFunc(s.Signal.Faces, func(f gateway.Face) bool { return f.Epoch == 1 })
				done = done && !old && s.Settled()
				if s.State == gateway.StateLost {
					n++
				}
			}
			if done && n > 0 {
				lost++
			}
			return done
		})
		anew(a)
		told := map[api.SID]int{}
		for _, m := range inbox(t, a, signals) {
			if m.Kind == gateway.KindLost {
				told[m.SID]++
			}
		}
		if len(told) != signals {
			t.Errorf("%d of %d signals were told of", len(told), signals)
		}
		for _, n := range told {
			if n != 1 {
				t.Errorf("one was told of %d times", n)
			}
		}
		for _, id := range ids {
			if s := settled(t, a, id); !s.State.Stands() || s.Owners != 2 {
				t.Errorf("%s with %d owners", s.State, s.Owners)
			}
		}
		unbroken(t, a)
		again.Stop()
	}
	if lost == 0 {
		t.Error("no picture shows what is lost and not made anew: the test sees little")
	}
}

// TestTheEpochChanges is the ordinary course: a second epoch opens, signals have a face in
// both, the first closes. No match is lost, and nobody is told of one twice.
func TestTheEpochChanges(t *testing.T) {
	w := gatewaytest.New(t, 3)
	house, others := w.Run(0), w.Run(1, 2)
	a, b, c := house.Of(0), others.Of(1), others.Of(2)
	first := signal(t, a, child(1), terms("jansen", "A-1"))
	signal(t, b, child(1), terms("bakker", "B-1"))
	was := inbox(t, a, 1)[0].Match
	w.OpenEpoch(2)
	w.Publish()
	refresh(t, a, b, c)
	// Both renew with the number, and have a face in both epochs; matching stays on the first.
	for _, p := range []*gateway.Party{a, b} {
		if _, err := p.Renew(registrationOf(t, p, 0), child(1), gateway.Terms{}); err != nil {
			t.Fatal(err)
		}
		if s := settled(t, p, registrationOf(t, p, 0)); len(s.Signal.Faces) != 2 || len(s.Faults) > 0 {
			t.Errorf("%d faces, %v", len(s.Signal.Faces), s.Faults)
		}
	}
	inbox(t, a, 2) // the other's renewal
	w.Registry.Set(gatewaytest.Away)
	if done, err := w.Matcher.Check(t.Context(), nil); err != nil || done.Behind != 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	w.Manifest.Epochs[0].State = manifest.EpochClosed
	w.Publish()
	if done, err := w.Matcher.Rebuild(t.Context()); err != nil || done.Moved != 2 || done.Destroyed != 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	w.Registry.Set(gatewaytest.Works)
	refresh(t, a, b, c)
	// A third meets both in the match that it was.
	signal(t, c, child(1), terms("citroen", "C-1"))
	for p, n := range map[*gateway.Party]int{a: 3, b: 3, c: 2} {
		told := inbox(t, p, n)
		if last := told[n-1]; len(told) != n || last.Kind != api.EventJoined || last.Match != was || last.Other.Card.IsZero() || last.Problem != "" {
			t.Errorf("%d messages, the last %s (%s)", len(told), last.Kind, last.Problem)
		}
		if m := match(t, p, func(m gateway.MatchStatus) bool { return m.Present() == 2 }); m.Match.Match != was {
			t.Error("it is another match")
		}
		if n, err := p.Lost(); n != 0 || err != nil {
			t.Errorf("%d are lost (%v)", n, err)
		}
	}
	if s := settled(t, a, first.ID); s.State != gateway.StateRegistered {
		t.Errorf("it is %s", s.State)
	}
	// What is left of the closed epoch: nobody answers under it, and nothing has to.
	if _, err := a.Renew(first.ID, gateway.Subject{}, gateway.Terms{}); err != nil {
		t.Fatal(err)
	}
	if s := settled(t, a, first.ID); len(s.Signal.Faces) != 1 || s.Signal.Faces[0].Epoch != 2 || len(s.Faults) > 0 {
		t.Errorf("renewed without a number it has %d faces, %v", len(s.Signal.Faces), s.Faults)
	}
	unbroken(t, a, b, c)
}
