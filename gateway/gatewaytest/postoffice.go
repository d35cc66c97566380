// SPDX-License-Identifier: EUPL-1.2

package gatewaytest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/seinhuis/seinhuis/keys"
)

// A PostOffice is a mail server. It takes a user and password.
type PostOffice struct {
	Host     string
	Port     int
	RootFile string // PEM
	Roots    *x509.CertPool

	mu     sync.Mutex
	mails  []Mail
	faults map[string]MailFault
}

// A Mail is one that was taken.
type Mail struct {
	From, To string
	Text     string // headers and all
	TLS      bool
}

// A MailFault is how mail to a recipient fails; the zero value does not.
type MailFault struct {
	Rcpt, Data int  // SMTP codes of refusals
	Drops      bool // takes the mail, and breaks the connection instead of saying so
	Leaves     bool // takes the mail, says so, and breaks the connection
}

// User and password of a PostOffice.
const (
	MailUser     = "poort"
	MailPassword = "geheim-van-de-post"
)

// NewPostOffice starts a mail server: with implicit TLS, or with STARTTLS, or with
// neither.
func NewPostOffice(t testing.TB, implicit, starttls bool) *PostOffice {
	t.Helper()
	folder := t.TempDir()
	certPath, keyPath := filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.pem")
	must(t, keys.Clear.WriteTLS(certPath, keyPath, "post", []string{"127.0.0.1"}))
	cert, err := keys.Clear.ReadTLS(certPath, keyPath)
	must(t, err)
	p := &PostOffice{Host: "127.0.0.1", RootFile: certPath, Roots: x509.NewCertPool(), faults: map[string]MailFault{}}
	p.Roots.AddCert(cert.Leaf)
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &counter{p: p, c: c}, nil }))
	server.Domain = "post.example"
	server.ErrorLog = log.New(io.Discard, "", 0)
	if implicit || starttls {
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	} else {
		server.AllowInsecureAuth = true
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p.Port = ln.Addr().(*net.TCPAddr).Port
	ln = mortals{ln}
	if implicit {
		ln = tls.NewListener(ln, server.TLSConfig)
	}
	go server.Serve(ln)
	t.Cleanup(func() { server.Close() })
	return p
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// RootsFile writes certificates as a file of authorities.
func RootsFile(t testing.TB, certs ...*x509.Certificate) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "roots.pem")
	var text []byte
	for _, c := range certs {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	must(t, os.WriteFile(path, text, 0o600))
	return path
}

// Fail sets how mail to a recipient fails from now on.
func (p *PostOffice) Fail(to string, f MailFault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults[to] = f
}

// Mails are those that were taken, in their order.
func (p *PostOffice) Mails() []Mail {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Mail(nil), p.mails...)
}

func (p *PostOffice) fault(to string) MailFault {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults[to]
}

// counter is one session at the post office.
type counter struct {
	p        *PostOffice
	c        *smtp.Conn
	from, to string
}

func (s *counter) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *counter) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != MailUser || password != MailPassword {
			return smtp.ErrAuthFailed
		}
		return nil
	}), nil
}

func refusal(code int) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 1, 1}, Message: "not this one"}
}

func (s *counter) Mail(from string, _ *smtp.MailOptions) error {
	if f := s.p.fault(from); f.Rcpt > 0 {
		return refusal(f.Rcpt)
	}
	s.from = from
	return nil
}

func (s *counter) Rcpt(to string, _ *smtp.RcptOptions) error {
	if f := s.p.fault(to); f.Rcpt > 0 {
		return refusal(f.Rcpt)
	}
	s.to = to
	return nil
}

func (s *counter) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	f := s.p.fault(s.to)
	if f.Data > 0 {
		return refusal(f.Data)
	}
	_, secret := s.c.TLSConnectionState()
	s.p.mu.Lock()
	s.p.mails = append(s.p.mails, Mail{s.from, s.to, string(text), secret})
	s.p.mu.Unlock()
	if f.Leaves {
		raw := s.c.Conn()
		if secret, ok := raw.(*tls.Conn); ok {
			raw = secret.NetConn()
		}
		raw.(*mortal).last.Store(true)
	}
	if f.Drops {
		s.c.Conn().Close()
		return errors.New("dropped")
	}
	return nil
}

// mortals are connections that can be told to break after what they write next.
type mortals struct{ net.Listener }

func (l mortals) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &mortal{Conn: c}, nil
}

type mortal struct {
	net.Conn
	last atomic.Bool
}

func (c *mortal) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if c.last.Load() {
		c.Conn.Close()
	}
	return n, err
}

func (s *counter) Reset()        {}
func (s *counter) Logout() error { return nil }
