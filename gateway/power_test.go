// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/identity"
	"github.com/seinhuis/seinhuis/disk/disktest"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/gateway/mail"
	"github.com/seinhuis/seinhuis/gateway/webhook"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/soak"
)

// A promise is what somebody was told: it has to hold in every picture that was taken
// since, whatever of the disk is left.
type promise struct {
	what  string
	since int // pictures that there were
	holds func(*gateway.Party) error
}

// A powered is a gateway on a disk that loses its power at some sync. From then on
// nothing that it sends arrives, and nothing that it asks is answered.
type powered struct {
	*gatewaytest.World
	t        *testing.T
	rng      *rand.Rand
	camera   *disktest.Camera
	receiver *gatewaytest.Receiver
	post     *gatewaytest.PostOffice
	a, b     *gateway.Party
	off      atomic.Bool

	promises []promise
	answered map[api.MatchID]api.Answer
	mine     []gateway.ID // registrations that were promised
}

func newPowered(t *testing.T, rng *rand.Rand, cut int) *powered {
	t.Helper()
	disk := vfs.NewCrashableMem()
	x := &powered{
		World: gatewaytest.New(t, 2), t: t, rng: rng, camera: disktest.NewCamera(disk, rand.New(rand.NewPCG(rng.Uint64(), 0))), answered: map[api.MatchID]api.Answer{},
		receiver: gatewaytest.NewReceiver(t), post: gatewaytest.NewPostOffice(t, false, false),
	}
	x.camera.Shot = func(n int) {
		if n >= cut {
			x.off.Store(true)
		}
	}
	x.b = x.Run(1).Of(1)
	x.Change = func(c *gateway.Config) {
		c.Mail = &gateway.MailConfig{Host: x.post.Host, Port: x.post.Port, TLS: mail.Plain, From: "poort@school.example"}
		c.Parties[0].News.Desk = []string{desk}
	}
	allows(x.World, x.receiver)
	dead := func(r *http.Request) {
		if x.off.Load() && r.TLS.PeerCertificates[0].Subject.CommonName == string(gatewaytest.Party(0)) {
			panic(http.ErrAbortHandler)
		}
	}
	for _, f := range append(x.Faults[:], x.Registry) {
		f.OnAsked(dead)
		f.OnAnswer(dead)
	}
	x.receiver.Answer(func(*http.Request, gatewaytest.Delivered) (int, http.Header) {
		if x.off.Load() {
			panic(http.ErrAbortHandler)
		}
		return http.StatusNoContent, nil
	})
	return x
}

// promised records what was told just now, unless the power is off: then nobody heard.
func (x *powered) promised(what string, holds func(*gateway.Party) error) {
	since := x.camera.Taken()
	if !x.off.Load() {
		x.promises = append(x.promises, promise{what, since, holds})
	}
}

func (x *powered) must(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
}

// until waits for something of the gateway, or for the power to go.
func (x *powered) until(what string, holds func() bool) bool {
	x.t.Helper()
	eventually(x.t, what, func() bool { return x.off.Load() || holds() })
	return !x.off.Load()
}

func differs(holds bool, format string, args ...any) error {
	if holds {
		return nil
	}
	return fmt.Errorf(format, args...)
}

func (x *powered) signal(n int, owner string) gateway.ID {
	x.t.Helper()
	s, err := admin(x.a).Signal(child(n), terms(owner, fmt.Sprint("A-", n)))
	x.must(err)
	x.promised("a signal", func(p *gateway.Party) error {
		got, err := p.Registration(s.ID)
		if err != nil {
			return err
		}
		return differs(got.Reference == fmt.Sprint("A-", n) && got.State != gateway.StateRefused && p.Logged(gateway.LogSignalMade, s.ID.String()), "it is %s, or not in the log", got.State)
	})
	if !x.off.Load() {
		x.mine = append(x.mine, s.ID)
	}
	return s.ID
}

// stands waits for a receipt; once it was seen it is there.
func (x *powered) stands(id gateway.ID) bool {
	x.t.Helper()
	ok := x.until("a receipt", func() bool {
		s, err := admin(x.a).Registration(id) // with what it logs, what was read is on disk
		return err == nil && s.Job == nil && s.State.Stands()
	})
	if ok {
		x.promised("a receipt", func(p *gateway.Party) error {
			s, err := p.Registration(id)
			if err != nil {
				return err
			}
			return differs(s.Ending != "" || s.State.Stands() && s.Signal != nil && len(s.Signal.Receipt.Signed) > 0, "it is %s", s.State)
		})
	}
	return ok
}

// script has the party do everything that a party does, while the other signals the same
// children.
func (x *powered) script() {
	t := x.t
	t.Helper()
	x.must(x.a.MakeUser(admin(x.a), gateway.User{ID: "jansen", Name: "J", Email: "jansen@school.example", Active: true}))
	x.promised("a user", func(p *gateway.Party) error { _, err := p.User("jansen"); return err })
	target, secret, err := x.a.Subscribe(admin(x.a), gateway.Subscription{URL: x.receiver.URL + "/seinhuis", Card: true}, webhook.HMAC)
	x.must(err)
	x.receiver.Trust(secret.Reveal())
	x.promised("a subscription", func(p *gateway.Party) error {
		got, err := p.Target(target.ID)
		if err != nil {
			return err
		}
		return differs(got.Secrets[0].Text == secret.Reveal(), "it has another secret")
	})
	acts := []func(n int){
		func(n int) { // a match, and an answer
			if !x.stands(x.signal(n, "jansen")) {
				return
			}
			_, err := x.b.Signal(child(n), terms("bakker", fmt.Sprint("B-", n)))
			x.must(err)
			var m gateway.MatchStatus
			if !x.until("a match", func() bool {
				list, _, err := admin(x.a).Matches(gateway.ID{}, 1, gateway.MatchFilter{Active: true})
				if err == nil && len(list) == 1 && x.answered[list[0].Match.Match] == "" && list[0].Owners[0].Reference == fmt.Sprint("A-", n) {
					m = list[0]
					return true
				}
				return false
			}) {
				return
			}
			x.promised("a match", func(p *gateway.Party) error {
				got, err := p.MatchByID(m.Match.Match)
				return errors.Join(err, differs(got.Present() == 1, "nobody is in it"))
			})
			_, err = admin(x.a).Answer(m.Match.Match, "", api.AnswerWillCall, "")
			x.must(err)
			x.promised("an answer", func(p *gateway.Party) error {
				got, err := p.MatchByID(m.Match.Match)
				if err != nil {
					return err
				}
				o := got.Others[0]
				return differs(o.Ours.Word == api.AnswerWillCall || o.Asked.Word == api.AnswerWillCall && !o.Asked.Job.IsZero(), "it is not asked, nor given: %+v", o.Asked)
			})
			x.promised("the answer in the log", func(p *gateway.Party) error {
				return differs(p.Logged(gateway.LogAnswered, m.Match.Match.String()), "it is not there")
			})
			if !x.off.Load() {
				x.answered[m.Match.Match] = api.AnswerWillCall
			}
		},
		func(n int) { // a report
			r, err := admin(x.a).Report([]gateway.Person{{Subject: child(n), Role: "kind"}, {Role: "ouder", Reference: "zonder nummer"}}, terms("jansen", fmt.Sprint("M-", n)))
			x.must(err)
			x.promised("a report", func(p *gateway.Party) error {
				got, err := p.ReportByID(r.ID)
				if err != nil {
					return err
				}
				return differs(!got.DecideBy.IsZero() && got.DecideBy == r.DecideBy && got.Clock == gateway.ClockRuns && len(got.Persons) == 2 && got.Persons[0].Registration == r.Persons[0].Registration &&
					got.Persons[1].NotSignalled == r.Persons[1].NotSignalled && got.Open(), "it is another: %v", got.DecideBy)
			})
		},
		func(n int) { // a withdrawal
			id := x.signal(n, "jansen")
			if x.rng.IntN(2) == 0 && !x.stands(id) {
				return
			}
			_, err := admin(x.a).Withdraw(id, api.ReasonEnded)
			x.must(err)
			x.promised("a withdrawal", func(p *gateway.Party) error {
				s, err := p.Registration(id)
				if err != nil {
					return err
				}
				return differs(s.Ending == api.ReasonEnded || s.State == gateway.StateWithdrawn, "it is %s", s.State)
			})
		},
		func(n int) { // a handover, with a new card
			id := x.signal(n, "jansen")
			if !x.stands(id) {
				return
			}
			card := gateway.Card{Name: "Visser", Phone: "+31205550199"}
			_, err := admin(x.a).HandOver(id, "visser", card)
			x.must(err)
			x.promised("a handover", func(p *gateway.Party) error {
				s, err := p.Registration(id)
				if err != nil {
					return err
				}
				return differs(s.Owner == "visser" && (s.Card == card || s.Job != nil || s.Signal.Card == card), "it is %s's", s.Owner)
			})
		},
		func(n int) { // a warm handover
			id := x.signal(n, "jansen")
			if !x.stands(id) {
				return
			}
			to, until := gatewaytest.Party(1), identity.Today(x.Now()).AddDate(0, 0, 1+x.rng.IntN(9))
			_, err := admin(x.a).Give(id, to, until)
			x.must(err)
			x.promised("a warm handover", func(p *gateway.Party) error {
				s, err := p.Registration(id)
				if err != nil || s.Signal == nil {
					return errors.Join(err, differs(s.Signal != nil, "there is no signal"))
				}
				return differs(s.Signal.Given.To() == api.Handover{To: to, Until: until}, "it is given until %s", s.Signal.Given.To().Until)
			})
		},
		func(n int) { // an import
			row := func(i int) gateway.Row {
				return gateway.Row{Person: gateway.Person{Subject: child(n + i), Reference: fmt.Sprint("I-", n+i)}, Owner: "jansen"}
			}
			in, _, err := x.a.Import(terms("", fmt.Sprint("import ", n)), 2)
			x.must(err)
			_, err = x.a.AddRows(in.ID, 1, []gateway.Row{row(0), row(1)})
			x.must(err)
			x.promised("an import", func(p *gateway.Party) error {
				got, err := p.ImportByID(in.ID)
				if err != nil {
					return err
				}
				return differs(got.Taken == 2 && got.Counts.Queued+got.Counts.Registered+got.Counts.Merged == 2, "its counts are %+v", got.Counts)
			})
		},
	}
	for i, which := range x.rng.Perm(len(acts)) {
		acts[which](10 * (i + 1))
	}
}

// done tells what is still to come after everything has gone on, and of what was promised
// what has not come.
func (x *powered) done(p *gateway.Party) error {
	jobs, err := p.Jobs()
	if err != nil || len(jobs) > 0 {
		return fmt.Errorf("%d jobs are left (%v)", len(jobs), err)
	}
	regs, _, err := p.Registrations(gateway.ID{}, 100, "")
	if err != nil {
		return err
	}
	ours := map[api.SID]uint64{}
	for _, s := range regs {
		if s.State.Stands() {
			ours[s.SID] = s.Signal.Rev
		}
	}
	theirs, common := map[api.SID]uint64{}, 0
	err = x.Matcher.Store.Scan(context.Background(), registry.Idx{}, func(_ registry.Idx, signals []registry.Signal, m registry.Match) error {
		for _, s := range signals {
			if s.Party == gatewaytest.Party(0) {
				theirs[s.SID] = s.Rev
			}
		}
		if len(m.Members) == 2 {
			common++
		}
		return nil
	})
	if err != nil {
		return err
	}
	if fmt.Sprint(ours) != fmt.Sprint(theirs) {
		return fmt.Errorf("our signals are %v, those at the registry %v", ours, theirs)
	}
	matches, _, err := p.Matches(gateway.ID{}, 100, gateway.MatchFilter{Active: true})
	if err != nil || len(matches) != common {
		return fmt.Errorf("%d matches of %d (%v)", len(matches), common, err)
	}
	for name, word := range x.answered {
		m, err := p.MatchByID(name)
		if err != nil || !m.Settled() || m.Others[0].Ours.Word != word {
			return fmt.Errorf("an answer has not been given (%v)", err)
		}
	}
	messages, err := p.Messages(0, 100)
	if err != nil {
		return err
	}
	var inbox []string
	for _, m := range messages {
		if m.Problem != "" {
			return fmt.Errorf("a message did not verify: %s", m.Problem)
		}
		inbox = append(inbox, m.ID.String())
		if !p.Logged(gateway.LogCardRead, m.Match.String()) {
			return errors.New("a card went out and is not in the log of access")
		}
	}
	targets, _, err := p.Targets(gateway.ID{}, 100)
	if err != nil {
		return err
	}
	for _, t := range targets {
		if t.Kind == gateway.TargetWebhook {
			if got := arrived(x.receiver.Taken(0)); !slices.Equal(got, inbox) {
				return fmt.Errorf("delivered were %v, the inbox has %v", got, inbox)
			}
		} else if t.Upto > t.Cursor {
			return errors.New("mail waits")
		}
	}
	for _, to := range []string{desk, "jansen@school.example"} {
		if len(inbox) > 0 && !slices.ContainsFunc(x.post.Mails(), func(m gatewaytest.Mail) bool { return m.To == to }) {
			return errors.New("somebody has had no mail")
		}
	}
	return nil
}

// check holds a picture against what was promised before it was taken.
func (x *powered) check(what string, p *gateway.Party, pictures int) {
	x.t.Helper()
	broken, err := gateway.Broken(p)
	if err != nil || len(broken) > 0 {
		x.t.Errorf("%s: %v %q", what, err, broken)
	}
	for _, promise := range x.promises {
		if promise.since > pictures {
			continue
		}
		if err := promise.holds(p); err != nil {
			x.t.Errorf("%s: %s was promised after %d: %v", what, promise.what, promise.since, err)
		}
	}
}

// TestRow2Gateway loses power at a random sync of everything that a party does. In every
// picture of the disk until then, what was acknowledged is there and everything fits
// together; from the last one the gateway goes on, and all that was begun comes to its
// end: receipts, answers, events, webhooks and mail.
func TestRow2Gateway(t *testing.T) {
	soak.Row(t, 2, "power lost at a random sync of a gateway", soak.Short(5), func(t *testing.T, seed uint64) soak.Found {
		rng := rand.New(rand.NewPCG(seed, 8))
		cut := 1 + rng.IntN(160)
		x := newPowered(t, rng, cut)
		// A store that is half made is none: there is nothing in it yet.
		if err := x.OpenOn(x.camera, 0).Close(); err != nil {
			t.Fatal(err)
		}
		x.camera.Turn(true)
		h := x.RunOn(x.camera, 0)
		x.a = h.Of(0)
		x.script()
		x.until("the end of the queue", func() bool { jobs, err := x.a.Jobs(); return err == nil && len(jobs) == 0 })
		x.camera.Shoot() // there may have been less to sync
		pictures := x.camera.Pictures()
		pictures = pictures[:min(cut, len(pictures))]
		x.off.Store(true)
		x.camera.Turn(false)
		h.Stop()

		step, tried := 1, 0
		if soak.Race {
			step = 8
		}
		for i := len(pictures) - 1; i >= 0; i -= step {
			tried++
			still := x.OpenOn(pictures[i], 0)
			x.check(fmt.Sprintf("picture %d", i), still.Of(0), i)
			if err := still.Close(); err != nil {
				t.Fatal(err)
			}
			if t.Failed() {
				break
			}
		}

		x.off.Store(false)
		last := pictures[len(pictures)-1]
		again := x.RunOn(last, 0).Of(0)
		for deadline := time.Now().Add(2 * patience); ; time.Sleep(5 * time.Millisecond) {
			err := x.done(again)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
			if err.Error() == "mail waits" || err.Error() == "somebody has had no mail" {
				x.Advance(time.Minute)
				again.WakeOutbox()
			}
		}
		x.check("in the end", again, len(pictures))
		return soak.Found{"power losses": 1, "pictures": tried, "promises": len(x.promises)}
	})
}
