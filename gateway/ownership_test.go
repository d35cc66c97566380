// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/gateway/webhook"
)

// deaf has the first party's feed bring nothing until hear.
func deaf(w *gatewaytest.World) (hear func()) {
	away := func(r *http.Request) {
		if r.URL.Path == "/v1/events" && r.TLS.PeerCertificates[0].Subject.CommonName == string(gatewaytest.Party(0)) {
			panic(http.ErrAbortHandler)
		}
	}
	w.Registry.OnAsked(away)
	w.Registry.OnAnswer(away) // a poll that stands already
	return func() {
		w.Registry.OnAsked(nil)
		w.Registry.OnAnswer(nil)
	}
}

// named are the owners and references that a webhook tells of.
func named(d gatewaytest.Delivered) (list []string) {
	for _, s := range d.Data["signalen"].([]any) {
		s := s.(map[string]any)
		list = append(list, fmt.Sprint(s["hulpverlener"], " ", s["kenmerk"]))
	}
	return list
}

// A message that comes before a handover, and is delivered after it, is for who owned
// the signal when it came: who has it now was passed over then.
func TestAHandoverWhileAReceiverIsAway(t *testing.T) {
	for name, asked := range map[string][2]gateway.Subscription{
		"owner": {{Owners: []string{"jansen"}}, {Owners: []string{"visser"}}},
		"team":  {{Teams: []string{"noord"}}, {Teams: []string{"zuid"}}},
	} {
		t.Run(name, func(t *testing.T) {
			x := newSubscribed(t, asked[0])
			makeUsers(t, x.a)
			there, _, err := x.a.Subscribe(admin(x.a), gateway.Subscription{URL: x.URL + "/daar", Owners: asked[1].Owners, Teams: asked[1].Teams}, webhook.HMAC)
			if err != nil {
				t.Fatal(err)
			}
			x.Answer(gatewaytest.Status(500))
			m := x.meet(t, "jansen")
			x.failed(t, 1)
			eventually(t, "the other to pass it over", func() bool {
				target, err := x.a.Target(there.ID)
				return err == nil && target.Cursor >= m.Seq
			})
			if name == "team" {
				err = x.a.ChangeUser(admin(x.a), gateway.User{ID: "jansen", Name: "J", Team: "zuid", Active: true})
			} else {
				_, err = admin(x.a).HandOver(m.Owners[0].Registration, "visser", gateway.Card{})
			}
			if err != nil {
				t.Fatal(err)
			}
			x.Answer(nil)
			x.later(time.Hour)
			if got := named(x.Taken(1)[0]); len(got) != 1 || got[0] != "jansen A-1" {
				t.Errorf("told of %v", got)
			}
		})
	}
}

func makeUsers(t *testing.T, p *gateway.Party) {
	t.Helper()
	for _, u := range []gateway.User{{ID: "jansen", Name: "J", Team: "noord", Active: true}, {ID: "visser", Name: "V", Team: "zuid", Active: true}} {
		if err := p.MakeUser(admin(p), u); err != nil {
			t.Fatal(err)
		}
	}
}

// The first that is heard of a match can be after our own signal has ended. It is for
// who owned that last, whoever joined and left before.
func TestTheFirstNewsOfASignalThatHasEnded(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *subscribed, ...gateway.ID){
		"withdrawn": func(t *testing.T, x *subscribed, ids ...gateway.ID) {
			for _, id := range ids {
				if _, err := x.a.Withdraw(id, api.ReasonEnded); err != nil {
					t.Fatal(err)
				}
				settled(t, x.a, id)
			}
		},
		"expired": func(t *testing.T, x *subscribed, ids ...gateway.ID) {
			if _, err := x.a.Withdraw(ids[0], api.ReasonEnded); err != nil {
				t.Fatal(err)
			}
			x.Advance(366 * 24 * time.Hour)
			if err := x.a.Sweep(); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := newSubscribed(t, gateway.Subscription{Owners: []string{"visser"}})
			hear := deaf(x.World)
			first := signal(t, x.a, child(1), terms("jansen", "A-1"))
			second := signal(t, x.a, child(1), terms("visser", "A-1v"))
			signal(t, x.b, child(1), terms("bakker", "B-1"))
			end(t, x, first.ID, second.ID)
			hear()
			for _, m := range inbox(t, x.a, 1) {
				if len(m.Owners) != 1 || m.Owners[0].Reference != "A-1v" {
					t.Errorf("%s is of %v", m.Kind, m.Owners)
				}
			}
			if got := named(x.Taken(1)[0]); len(got) != 1 || got[0] != "visser A-1v" {
				t.Errorf("told of %v", got)
			}
			if n := gateway.LastOwnersRows(x.house.Gateway); n != 1 {
				t.Errorf("%d rows say whose a signal was", n)
			}
			x.Advance(31 * 24 * time.Hour)
			for range 2 { // the registrations, then what is kept for them
				if err := x.a.Sweep(); err != nil {
					t.Fatal(err)
				}
			}
			if n := gateway.LastOwnersRows(x.house.Gateway); n != 0 {
				t.Errorf("%d rows are kept of registrations that are not", n)
			}
		})
	}
}

// Who joined a signal after the last message about it, and is its last owner, is told of
// what comes when it has ended.
func TestWhoJoinedLateIsToldAfterTheEnd(t *testing.T) {
	x := newSubscribed(t, gateway.Subscription{Owners: []string{"visser"}})
	first := signal(t, x.a, child(1), terms("jansen", "A-1"))
	theirs := signal(t, x.b, child(1), terms("bakker", "B-1"))
	inbox(t, x.a, 1)
	second := signal(t, x.a, child(1), terms("visser", "A-1v"))
	hear := deaf(x.World)
	for _, end := range []struct {
		p *gateway.Party
		s gateway.Status
	}{{x.b, theirs}, {x.a, first}, {x.a, second}} {
		if _, err := end.p.Withdraw(end.s.ID, api.ReasonEnded); err != nil {
			t.Fatal(err)
		}
		settled(t, end.p, end.s.ID)
	}
	hear()
	for _, m := range inbox(t, x.a, 2) {
		if !slices.ContainsFunc(m.Owners, func(o gateway.Ownership) bool { return o.Owner == "visser" }) {
			t.Errorf("%s is of %v", m.Kind, m.Owners)
		}
	}
	for _, d := range x.Taken(1) {
		if got := named(d); len(got) != 1 || got[0] != "visser A-1v" {
			t.Errorf("told of %v", got)
		}
	}
}

// Mail that could not go to who owned a signal goes to who takes it over as well.
func TestAHandoverWhileTheMailIsAway(t *testing.T) {
	x := newMailed(t)
	visser := gateway.User{ID: "visser", Name: "V", Email: "visser@school.example", Active: true}
	if err := x.a.ChangeUser(admin(x.a), visser); err != nil {
		t.Fatal(err)
	}
	x.Fail("jansen@school.example", gatewaytest.MailFault{Rcpt: 450})
	m := x.meet(t, "jansen")
	x.later(time.Minute)
	eventually(t, "an attempt", func() bool { return x.recipient(t, "jansen").Head.Count > 0 })
	if _, err := admin(x.a).HandOver(m.Owners[0].Registration, "visser", gateway.Card{}); err != nil {
		t.Fatal(err)
	}
	x.later(time.Minute)
	eventually(t, "mail to who took over", func() bool {
		for _, mail := range x.Mails() {
			if mail.To == "visser@school.example" {
				return true
			}
		}
		return false
	})
}
