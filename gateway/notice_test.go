// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/gateway/mail"
)

// mailed is a party whose people get mail, and another that signals the same children.
type mailed struct {
	*gatewaytest.World
	*gatewaytest.PostOffice
	fs   vfs.FS
	h    *gatewaytest.House
	a, b *gateway.Party
	n    int
}

const desk = "bureau@school.example"

func newMailed(t *testing.T) *mailed {
	t.Helper()
	x := &mailed{World: gatewaytest.New(t, 2), PostOffice: gatewaytest.NewPostOffice(t, false, true), fs: vfs.NewMem()}
	password := filepath.Join(t.TempDir(), "wachtwoord")
	if err := os.WriteFile(password, []byte(gatewaytest.MailPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	x.Change = func(c *gateway.Config) {
		c.Mail = &gateway.MailConfig{
			Host: x.Host, Port: x.Port, TLS: mail.STARTTLS, User: gatewaytest.MailUser, Password: password,
			From: "poort@school.example", Roots: x.RootFile,
		}
		c.Parties[0].News = gateway.NewsConfig{Desk: []string{desk}, Link: "https://portaal.example/nieuws"}
	}
	x.start()
	x.Change, x.b = nil, nil
	x.b = x.Run(1).Of(1)
	for _, u := range []gateway.User{
		{ID: "smit", Name: "S", Email: "smit@school.example", Active: true},
		{ID: "jansen", Name: "J", Email: "jansen@school.example", Deputy: "smit", Active: true},
		{ID: "visser", Name: "V", Email: "visser@school.example"}, // not active
	} {
		if err := x.a.MakeUser(admin(x.a), u); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

func (x *mailed) start() {
	x.h = x.RunOn(x.fs, 0)
	x.a = x.h.Of(0)
}

// meet makes another match, and waits until the party has been told of it.
func (x *mailed) meet(t *testing.T, owner string) gateway.Message {
	t.Helper()
	x.n++
	signal(t, x.a, child(x.n), terms(owner, fmt.Sprint("KENMERK-", x.n)))
	signal(t, x.b, child(x.n), terms("bakker", fmt.Sprint("B-", x.n)))
	return inbox(t, x.a, x.n)[x.n-1]
}

func (x *mailed) later(d time.Duration) {
	x.Advance(d)
	x.a.WakeOutbox()
}

// posted waits for so many mails, and tells to whom they went.
func (x *mailed) posted(t *testing.T, n int) (to []string) {
	t.Helper()
	eventually(t, fmt.Sprint(n, " mails"), func() bool { return len(x.Mails()) >= n })
	for _, m := range x.Mails() {
		to = append(to, m.To)
	}
	slices.Sort(to)
	return to
}

func (x *mailed) recipient(t *testing.T, who string) (found gateway.Target) {
	t.Helper()
	list, _, err := x.a.Targets(gateway.ID{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range list {
		if target.Kind == gateway.TargetMail && target.Recipient() == who {
			return target
		}
	}
	return gateway.Target{}
}

// settled waits until nothing waits for a recipient.
func (x *mailed) settled(t *testing.T, who string) gateway.Target {
	t.Helper()
	eventually(t, who+" is done with", func() bool { r := x.recipient(t, who); return r.Cursor > 0 && r.Upto <= r.Cursor })
	return x.recipient(t, who)
}

func TestMailSaysOnlyThatThereIsNews(t *testing.T) {
	x := newMailed(t)
	m := x.meet(t, "jansen")
	if next := x.recipient(t, "jansen").Head.Next; !next.Equal(x.Now().Add(time.Minute)) || len(x.Mails()) > 0 {
		t.Error("mail goes before others can join it")
	}
	x.later(time.Minute)
	if to := x.posted(t, 3); !slices.Equal(to, []string{desk, "jansen@school.example", "smit@school.example"}) {
		t.Errorf("mail went to %v", to)
	}
	for _, got := range x.Mails() {
		for _, secret := range []string{
			"KENMERK", "Organisatie", "Balie", bsn(1), m.ID.String(), m.Match.String(), m.SID.String(), "aangesloten", string(m.Other.Party),
			m.Owners[0].Registration.String(), "signaleert",
		} {
			if strings.Contains(got.Text, secret) {
				t.Errorf("the mail holds %q:\n%s", secret, got.Text)
			}
		}
		if !strings.Contains(got.Text, "Er is nieuws in Seinhuis") || !strings.Contains(got.Text, "https://portaal.example/nieuws") || !got.TLS {
			t.Errorf("the mail:\n%s", got.Text)
		}
	}
	for _, who := range []string{"jansen", "smit", desk} {
		if r := x.settled(t, who); r.Last != gateway.Result(mail.Sent) || r.Done.IsZero() {
			t.Errorf("%s: %s", who, r.Last)
		}
	}
}

// Several events within a short while are one mail; and another mail waits a while.
func TestOneMailForSeveralEvents(t *testing.T) {
	x := newMailed(t)
	for range 3 {
		x.meet(t, "jansen")
		x.Advance(10 * time.Second)
	}
	x.later(time.Minute)
	x.posted(t, 3)
	x.settled(t, "jansen")
	x.settled(t, desk)
	x.meet(t, "onbekend") // no user: the desk alone
	if next := x.recipient(t, desk).Head.Next; !next.Equal(x.Now().Add(15 * time.Minute)) {
		t.Errorf("the desk's next mail is at %v, and it is %v", next, x.Now())
	}
	x.later(15 * time.Minute)
	want := []string{desk, desk, "jansen@school.example", "smit@school.example"}
	if to := x.posted(t, 4); !slices.Equal(to, want) {
		t.Errorf("mail went to %v", to)
	}
}

// Who stops between the event and the mail is not mailed; his deputy is.
func TestWhoIsNotMailed(t *testing.T) {
	x := newMailed(t)
	x.meet(t, "jansen")
	if err := x.a.ChangeUser(admin(x.a), gateway.User{ID: "jansen", Name: "J", Email: "jansen@school.example", Deputy: "smit"}); err != nil {
		t.Fatal(err)
	}
	x.later(time.Minute)
	if to := x.posted(t, 2); !slices.Equal(to, []string{desk, "smit@school.example"}) {
		t.Errorf("mail went to %v", to)
	}
	if r := x.settled(t, "jansen"); r.Last != gateway.NoAddress || r.Dead > 0 {
		t.Errorf("%s, %d dead letters", r.Last, r.Dead)
	}
}

// A mailbox that is refused for good holds up nobody; it is seen, and can be tried again.
func TestARefusedMailbox(t *testing.T) {
	x := newMailed(t)
	x.Fail("jansen@school.example", gatewaytest.MailFault{Rcpt: 550})
	x.meet(t, "jansen")
	x.later(time.Minute)
	if to := x.posted(t, 2); !slices.Equal(to, []string{desk, "smit@school.example"}) {
		t.Errorf("mail went to %v", to)
	}
	r := x.settled(t, "jansen")
	if r.Dead != 1 || r.Last != gateway.Result(mail.Refused) {
		t.Errorf("%s, %d dead letters", r.Last, r.Dead)
	}
	measuring := &subscribed{house: x.h}
	if _, dead := measuring.measured(t, "mail"); dead != 1 {
		t.Errorf("the metric says %v", dead)
	}
	if strings.Contains(x.Log.String(), "jansen") {
		t.Error("the log names somebody")
	}
	x.Fail("jansen@school.example", gatewaytest.MailFault{})
	if n, err := x.a.ReplayDeadLetters(admin(x.a), r.ID); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	x.posted(t, 3)
	eventually(t, "no dead letters", func() bool { return x.recipient(t, "jansen").Dead == 0 })
}

// What the mail server does not take now goes later; the same mail keeps its name.
func TestMailIsTriedAgain(t *testing.T) {
	x := newMailed(t)
	x.Fail(desk, gatewaytest.MailFault{Drops: true})
	x.Fail("jansen@school.example", gatewaytest.MailFault{Data: 451})
	x.meet(t, "jansen")
	x.later(time.Minute)
	x.posted(t, 2) // smit, and one that the desk's server took without saying so
	for _, who := range []string{desk, "jansen"} {
		eventually(t, who+" failed", func() bool { return x.recipient(t, who).Head.Count == 1 })
	}
	next := x.recipient(t, desk).Head
	x.h.Stop() // the schedule is kept
	x.Change = func(c *gateway.Config) { c.Mail, c.Parties[0].News = x.h.Config.Mail, x.h.Config.Parties[0].News }
	x.start()
	if got := x.recipient(t, desk).Head; got != next {
		t.Errorf("the restart made %+v of %+v", got, next)
	}
	x.Fail(desk, gatewaytest.MailFault{})
	x.Fail("jansen@school.example", gatewaytest.MailFault{})
	x.later(time.Hour)
	if to := x.posted(t, 4); !slices.Equal(to, []string{desk, desk, "jansen@school.example", "smit@school.example"}) {
		t.Errorf("mail went to %v", to)
	}
	var names []string
	for _, m := range x.Mails() {
		if m.To == desk {
			_, name, _ := strings.Cut(m.Text, "Message-ID: ")
			name, _, _ = strings.Cut(name, "\r\n")
			names = append(names, name)
		}
	}
	if names[0] == "" || names[0] != names[1] {
		t.Errorf("the same mail is called %v", names)
	}
	x.settled(t, desk)
	x.settled(t, "jansen")
}

func TestMailThatNeverGoesIsADeadLetter(t *testing.T) {
	x := newMailed(t)
	x.Fail("jansen@school.example", gatewaytest.MailFault{Rcpt: 450})
	x.meet(t, "jansen")
	x.later(time.Minute)
	exhaust(t, x.later, x.Now, func() gateway.Target { return x.recipient(t, "jansen") })
	if r := x.settled(t, "jansen"); r.Dead != 1 || r.Last != gateway.Result(mail.Busy) {
		t.Errorf("%s, %d dead letters", r.Last, r.Dead)
	}
	// And a recipient whom nothing waits for is forgotten; not as long as nobody has seen
	// the match, of which he is reminded.
	m := match(t, x.a, func(gateway.MatchStatus) bool { return true })
	if _, err := admin(x.a).See(m.Match.Match); err != nil {
		t.Fatal(err)
	}
	x.settled(t, "smit")
	x.Advance(48 * time.Hour)
	if err := x.a.Sweep(); err != nil {
		t.Fatal(err)
	}
	if r := x.recipient(t, "smit"); !r.ID.IsZero() {
		t.Error("smit is remembered")
	}
	if r := x.recipient(t, "jansen"); r.Dead != 1 {
		t.Error("jansen is forgotten with his dead letter")
	}
}
