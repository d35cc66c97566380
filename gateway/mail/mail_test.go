// SPDX-License-Identifier: EUPL-1.2

package mail_test

import (
	"context"
	"net"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	post "github.com/seinhuis/seinhuis/gateway/mail"
)

func sender(t *testing.T, office *gatewaytest.PostOffice, mode post.Mode, change func(*post.Config)) *post.Sender {
	t.Helper()
	c := post.Config{
		Host: office.Host, Port: office.Port, Mode: mode, User: gatewaytest.MailUser, Password: gatewaytest.MailPassword,
		From: "Seinhuis <poort@school.example>", Roots: office.Roots,
	}
	if change != nil {
		change(&c)
	}
	s, err := post.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var notice = post.Notice{
	To: "jansen@school.example", ID: "abc1", At: time.Date(2027, 3, 4, 9, 0, 0, 0, time.UTC), Link: "https://portaal.example/nieuws?a=b=c&veel=letters-in-een-adres-dat-langer-is-dan-een-regel-van-78-tekens",
}

func TestAMail(t *testing.T) {
	for name, c := range map[string]struct {
		implicit, starttls bool
		mode               post.Mode
	}{
		"starttls": {false, true, post.STARTTLS}, "implicit": {true, false, post.Implicit}, "plain": {false, false, post.Plain},
	} {
		t.Run(name, func(t *testing.T) {
			office := gatewaytest.NewPostOffice(t, c.implicit, c.starttls)
			change := func(o *post.Config) {
				if c.mode == post.Plain {
					o.User = ""
				}
			}
			if got := sender(t, office, c.mode, change).Send(t.Context(), notice); got != post.Sent {
				t.Fatalf("it was %s", got)
			}
			got := office.Mails()
			if len(got) != 1 || got[0].To != notice.To || got[0].From != "poort@school.example" || got[0].TLS != (name != "plain") {
				t.Fatalf("got %+v", got)
			}
			m, err := mail.ReadMessage(strings.NewReader(got[0].Text))
			if err != nil {
				t.Fatal(err)
			}
			for header, want := range map[string]string{
				"Subject": "Er is nieuws in Seinhuis", "Message-Id": "<abc1@school.example>", "Auto-Submitted": "auto-generated",
				"To": "<jansen@school.example>", "X-Mailer": "", "User-Agent": "", "Date": "Thu, 04 Mar 2027 09:00:00 +0000",
			} {
				if m.Header.Get(header) != want {
					t.Errorf("%s: %q", header, m.Header.Get(header))
				}
			}
			for _, needed := range []string{"112", "0800-2000", "1712", "Seinhuis"} {
				if !strings.Contains(got[0].Text, needed) {
					t.Errorf("it does not say %s:\n%s", needed, got[0].Text)
				}
			}
		})
	}
}

func TestFaults(t *testing.T) {
	office := gatewaytest.NewPostOffice(t, false, true)
	const to = "jansen@school.example"
	for name, c := range map[string]struct {
		fault  gatewaytest.MailFault
		of     string
		change func(*post.Config)
		want   post.Outcome
		taken  int
	}{
		"rcpt_5xx":       {gatewaytest.MailFault{Rcpt: 550}, to, nil, post.Refused, 0},
		"rcpt_4xx":       {gatewaytest.MailFault{Rcpt: 450}, to, nil, post.Busy, 0},
		"data_5xx":       {gatewaytest.MailFault{Data: 554}, to, nil, post.Refused, 0},
		"data_4xx":       {gatewaytest.MailFault{Data: 451}, to, nil, post.Busy, 0},
		"lost_after":     {gatewaytest.MailFault{Drops: true}, to, nil, post.Unreachable, 1},
		"gone_after":     {gatewaytest.MailFault{Leaves: true}, to, nil, post.Sent, 1},
		"sender_5xx":     {gatewaytest.MailFault{Rcpt: 553}, "poort@school.example", nil, post.Failed, 0},
		"password":       {gatewaytest.MailFault{}, to, func(c *post.Config) { c.Password = "anders" }, post.Failed, 0},
		"authority":      {gatewaytest.MailFault{}, to, func(c *post.Config) { c.Roots = nil }, post.Failed, 0},
		"nobody_listens": {gatewaytest.MailFault{}, to, func(c *post.Config) { c.Port = closedPort(t) }, post.Unreachable, 0},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(office.Mails())
			office.Fail(c.of, c.fault)
			defer office.Fail(c.of, gatewaytest.MailFault{})
			if got := sender(t, office, post.STARTTLS, c.change).Send(t.Context(), notice); got != c.want {
				t.Errorf("got %s", got)
			}
			if got := len(office.Mails()) - before; got != c.taken {
				t.Errorf("%d were taken", got)
			}
		})
	}
	t.Run("stopped", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got := sender(t, office, post.STARTTLS, nil).Send(ctx, notice); got != post.Stopped {
			t.Errorf("got %s", got)
		}
	})
}

// A server that does not offer STARTTLS gets neither password nor mail.
func TestNeverInTheClear(t *testing.T) {
	office := gatewaytest.NewPostOffice(t, false, false)
	for _, user := range []string{gatewaytest.MailUser, ""} {
		s := sender(t, office, post.STARTTLS, func(c *post.Config) { c.User = user })
		if got := s.Send(t.Context(), notice); got != post.Failed || len(office.Mails()) > 0 {
			t.Errorf("user %q: %s", user, got)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	good := post.Config{Host: "smtp.school.example", Port: 587, Mode: post.STARTTLS, From: "poort@school.example"}
	if _, err := post.New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*post.Config){
		"no_host": func(c *post.Config) { c.Host = "" }, "no_port": func(c *post.Config) { c.Port = 0 }, "mode": func(c *post.Config) { c.Mode = "ja" },
		"from": func(c *post.Config) { c.From = "poort" }, "plain_elsewhere": func(c *post.Config) { c.Mode = post.Plain },
		"plain_password": func(c *post.Config) { c.Mode, c.Host, c.User = post.Plain, "localhost", "u" },
	} {
		t.Run("rejects/"+name, func(t *testing.T) {
			c := good
			change(&c)
			if _, err := post.New(c); err == nil {
				t.Error("it was taken")
			}
		})
	}
}

func TestCheck(t *testing.T) {
	for address, want := range map[string]bool{
		"a@b.example": true, "A <a@b.example>": false, "a": false, "": false, "a@b.example, c@d.example": false, "a@b.example\r\nBcc: x@y.example": false,
	} {
		if post.Check(address) != want {
			t.Errorf("%q: %v", address, !want)
		}
	}
}

func closedPort(t *testing.T) int {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}
