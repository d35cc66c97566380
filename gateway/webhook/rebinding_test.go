// SPDX-License-Identifier: EUPL-1.2

package webhook

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// names answers every question for an IPv4 address with the address it has now.
func names(t *testing.T, address *atomic.Value) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		b := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil {
				continue
			}
			m.Response, m.Additionals = true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				ip := net.ParseIP(address.Load().(string)).To4()
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
					Body:   &dnsmessage.AResource{A: [4]byte(ip)},
				}}
			}
			out, err := m.Pack()
			if err == nil {
				conn.WriteTo(out, from)
			}
		}
	}()
	was := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = was })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// A name that led to an allowed address when it was last asked does not lead to
// another one.
func TestANameThatTurnsElsewhere(t *testing.T) {
	asked := 0
	ln, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: ln, Config: &http.Server{
		Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }),
	}}
	server.Start()
	t.Cleanup(server.Close)
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	var address atomic.Value
	address.Store("127.0.0.1")
	names(t, &address)

	c := NewClient(Options{Plain: true, Allow: prefixes("127.0.0.1/32")})
	url := "http://dossier.example:" + port + "/"
	if a := c.Post(t.Context(), url, "e", time.Now(), nil, nil); a.Outcome != Delivered {
		t.Fatalf("the allowed address: %s", a.Outcome)
	}
	c.Close()
	address.Store("127.0.0.2")
	if a := c.Post(t.Context(), url, "e", time.Now(), nil, nil); a.Outcome != Forbidden || asked != 1 {
		t.Errorf("the other address: %s, asked %d times", a.Outcome, asked)
	}
}
