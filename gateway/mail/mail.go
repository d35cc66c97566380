// SPDX-License-Identifier: EUPL-1.2

// Package mail tells people by e-mail that there is news, and nothing else: no name,
// no reference, no organisation, no kind of news. A mail passes servers that nobody
// here knows, and lands on screens that others see.
//
// A [Sender] hands one mail for one recipient to the party's own mail server
// (submission, RFC 6409), and says in a fixed word what came of it. It keeps nothing:
// what is sent when, and again, is package gateway's. When it is not known whether the
// server took a mail, the word is [Unreachable] and the mail is sent again, with the
// same Message-ID, by which mail servers and programs know a repetition.
package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"strings"
	"time"

	smtp "github.com/wneessen/go-mail"
)

// A Mode is how the connection to the mail server is kept secret.
type Mode string

// Modes of a connection.
const (
	STARTTLS Mode = "starttls" // RFC 3207, and never without
	Implicit Mode = "implicit" // TLS from the start, RFC 8314
	Plain    Mode = "plain"    // none, for a server on the same machine
)

// Config is the mail server and who sends.
type Config struct {
	Host     string
	Port     int
	Mode     Mode
	User     string // empty: no authentication
	Password string
	From     string         // address, or name and address
	Roots    *x509.CertPool // authorities of certificates; nil for the machine's
}

// An Outcome is what came of a mail; fixed words, for metrics and for people.
type Outcome string

// Outcomes of a mail.
const (
	Sent        Outcome = "sent"        // the server took it
	Refused     Outcome = "refused"     // not for this recipient, now or later (5xx)
	Busy        Outcome = "busy"        // not now (4xx)
	Failed      Outcome = "failed"      // the server takes no mail from us at all
	Unreachable Outcome = "unreachable" // no connection, or it broke; perhaps the server took it
	Stopped     Outcome = "stopped"     // the context ended; nothing is known
)

// serverTime is how long connecting may take, and sending as well.
const serverTime = 10 * time.Second

// A Sender sends mails. It is safe for concurrent use; each mail has a connection of
// its own.
type Sender struct {
	options []smtp.Option
	host    string
	from    *mail.Address
}

// New checks a configuration. It connects to nothing.
func New(c Config) (*Sender, error) {
	from, err := mail.ParseAddress(c.From)
	switch {
	case err != nil:
		return nil, errors.New("mail: \"from\" is no address")
	case c.Host == "" || c.Port < 1 || c.Port > 65535:
		return nil, errors.New("mail: \"host\" or \"port\" is missing")
	}
	roots := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.Host, RootCAs: c.Roots}
	options := []smtp.Option{
		smtp.WithPort(c.Port), smtp.WithTLSConfig(roots), smtp.WithTimeout(serverTime), smtp.WithHELO(domain(from.Address)),
		smtp.WithoutNoop(), smtp.WithoutRset(), // of a connection for one mail
	}
	switch c.Mode {
	case STARTTLS:
		options = append(options, smtp.WithTLSPolicy(smtp.TLSMandatory))
	case Implicit:
		options = append(options, smtp.WithSSL())
	case Plain:
		if c.User != "" {
			return nil, errors.New("mail: a password is not sent without TLS")
		}
		if ip := net.ParseIP(c.Host); c.Host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return nil, errors.New("mail: without TLS only a server on the same machine is spoken to")
		}
		options = append(options, smtp.WithTLSPolicy(smtp.NoTLS))
	default:
		return nil, fmt.Errorf("mail: \"tls\" is %q, %q or %q", STARTTLS, Implicit, Plain)
	}
	if c.User != "" {
		options = append(options, smtp.WithSMTPAuth(smtp.SMTPAuthAutoDiscover), smtp.WithUsername(c.User), smtp.WithPassword(c.Password))
	}
	if _, err := smtp.NewClient(c.Host, options...); err != nil {
		return nil, errors.New("mail: the configuration of the mail server is not usable")
	}
	return &Sender{options, c.Host, from}, nil
}

func domain(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }

// Check tells whether a text is one bare address that mail can be sent to.
func Check(address string) bool {
	a, err := mail.ParseAddress(address)
	return err == nil && a.Address == address && !strings.ContainsAny(address, "\r\n")
}

// A Notice is one mail.
type Notice struct {
	To   string
	ID   string    // its name, the same when it is sent again; letters and digits
	At   time.Time // its date
	Link string    // where the news can be read; may be empty
}

const subject = "Er is nieuws in Seinhuis"

func (n Notice) text() string {
	where := "Open Seinhuis, of het dossiersysteem, om het te lezen."
	if n.Link != "" {
		where = "Lees het hier:\n" + n.Link
	}
	return subject + ".\n\n" + where + `

Met opzet staat hier niet waar het over gaat. Antwoorden op deze mail leest
niemand.

Een signaal is geen hulp in nood. Bel bij direct gevaar 112. Veilig Thuis is dag en
nacht bereikbaar op 0800-2000; in Vlaanderen is het nummer 1712.
`
}

// Send hands a notice to the mail server. It returns no error: those of SMTP repeat
// addresses.
func (s *Sender) Send(ctx context.Context, n Notice) Outcome {
	m := smtp.NewMsg(smtp.WithNoDefaultUserAgent())
	if m.FromMailAddress(s.from); m.To(n.To) != nil {
		return Refused
	}
	m.Subject(subject)
	m.SetDateWithValue(n.At)
	m.SetMessageIDWithValue(n.ID + "@" + domain(s.from.Address))
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: nobody's absence is told
	m.SetGenHeader("X-Auto-Response-Suppress", "All")
	m.SetBodyString(smtp.TypeTextPlain, n.text())

	client, err := smtp.NewClient(s.host, s.options...)
	if err != nil {
		return Failed
	}
	switch err = client.DialAndSendWithContext(ctx, m); {
	case err == nil, m.IsDelivered(): // what comes after it changes nothing
		return Sent
	case ctx.Err() != nil:
		return Stopped
	}
	return outcomeOf(err)
}

func outcomeOf(err error) Outcome {
	e, sending := errors.AsType[*smtp.SendError](err)
	if !sending { // while connecting
		if _, network := errors.AsType[net.Error](err); network {
			return Unreachable
		}
		return Failed
	}
	switch code := e.ErrorCode(); {
	case code >= 400 && code < 500:
		return Busy
	case code < 500:
		return Unreachable
	case e.Reason == smtp.ErrSMTPMailFrom: // it would refuse any recipient
		return Failed
	}
	return Refused
}
