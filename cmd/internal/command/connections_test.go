// SPDX-License-Identifier: EUPL-1.2

package command

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/logging"
)

// A listener has as many connections as the configuration says, and else as many as is usual.
func TestConnectionsAsConfigured(t *testing.T) {
	f := Front{Proxy: edge.Proxies{Local: true}, Connections: Caps{Public: edge.Connections{Most: 2}, Parties: edge.Connections{Most: 1}}}
	ctx, cancel := context.WithCancel(t.Context())
	s, _ := NewService(ctx, logging.Discard())
	f.ListenPublic(s, "127.0.0.1:0", http.NotFoundHandler())
	f.ListenParties(s, "parties", "127.0.0.1:0", http.NotFoundHandler(), nil)
	(&Front{Proxy: edge.Proxies{Local: true}}).ListenParties(s, "usual", "127.0.0.1:0", http.NotFoundHandler(), nil)
	if s.failed != nil {
		t.Fatal(s.failed)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run() }()
	for name, room := range map[string]int{"public": 2, "parties": 1, "usual": 3} {
		addr := s.listeners[name].Addr().String()
		for i := range 3 {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			conn.Write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
			n, err := conn.Read(make([]byte, 1))
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("nobody answers")
			}
			if served := n == 1; served != (i < room) {
				t.Errorf("%s: connection %d is served: %v", name, i+1, served)
			}
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for _, c := range []edge.Connections{{PerAddress: 1}, {Most: -1}, {Most: 2, PerAddress: 3}, {Most: 2, PerAddress: -1}} {
		if c.Check() == nil {
			t.Errorf("%+v is taken", c)
		}
	}
	for _, c := range []edge.Connections{{}, {Most: 1}, {Most: 2, PerAddress: 2}} {
		if err := c.Check(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
