// SPDX-License-Identifier: EUPL-1.2

package edge

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// dial connects from an address of this machine; nothing takes for ever on the connection.
func dial(t *testing.T, from, to string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(time.Minute))
	return conn
}

// served tells whether a connection gets an answer.
func served(conn net.Conn) bool {
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: test\r\n\r\n"); err != nil {
		return false
	}
	var b [1]byte
	_, err := conn.Read(b[:])
	return err == nil
}

// closed wants the other side to close, and says what was wrong if it did not.
func closed(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("it was let be")
	}
}

// TestConnections holds how many connections there may be, in all and of one address, and
// that one that ends makes room.
func TestConnections(t *testing.T) {
	defer func(before func(netip.Addr) bool) { here = before }(here)
	for name, c := range map[string]struct {
		most Connections
		own  bool // whether this machine counts as such
		from []string
		want []bool
	}{
		"in_all":        {Connections{Most: 2}, false, []string{"127.0.0.1", "127.0.0.2", "127.0.0.3"}, []bool{true, true, false}},
		"per_address":   {Connections{Most: 9, PerAddress: 1}, false, []string{"127.0.0.1", "127.0.0.1", "127.0.0.2"}, []bool{true, false, true}},
		"of_ourselves":  {Connections{Most: 2, PerAddress: 1}, true, []string{"127.0.0.1", "127.0.0.1", "127.0.0.1"}, []bool{true, true, false}},
		"without_limit": {Connections{Most: 9}, false, []string{"127.0.0.1", "127.0.0.1", "127.0.0.1"}, []bool{true, true, true}},
	} {
		t.Run(name, func(t *testing.T) {
			here = func(netip.Addr) bool { return c.own }
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			limited := Limit(ln, c.most)
			ended := make(chan struct{}, len(c.from))
			srv := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), ConnState: func(_ net.Conn, s http.ConnState) {
				if s == http.StateClosed {
					ended <- struct{}{}
				}
			}}
			addr, _ := serveOn(t, srv, limited)
			var open []net.Conn
			refused := 0
			for i, from := range c.from {
				conn := dial(t, from, addr)
				if got := served(conn); got != c.want[i] {
					t.Errorf("connection %d: served %v", i, got)
				}
				if c.want[i] {
					open = append(open, conn)
				} else {
					refused++
				}
			}
			if limited.Open() != len(open) || limited.Refused() != uint64(refused) {
				t.Errorf("%d open and %d refused", limited.Open(), limited.Refused())
			}
			for _, conn := range open {
				conn.Close()
				<-ended
			}
			limited.mu.Lock()
			if limited.open != 0 || len(limited.from) != 0 {
				t.Errorf("%d open of %d addresses when all have ended", limited.open, len(limited.from))
			}
			limited.mu.Unlock()
			if !served(dial(t, c.from[0], addr)) {
				t.Error("no room was made")
			}
		})
	}
}

func TestNetworks(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7": "192.0.2.7/32", "::ffff:192.0.2.7": "192.0.2.7/32", "2001:db8:1:2:3::4": "2001:db8:1:2::/64",
		"127.0.0.1": "invalid Prefix", "::1": "invalid Prefix",
	} {
		if got := network(&net.TCPAddr{IP: net.ParseIP(address), Port: 1}).String(); got != want {
			t.Errorf("%s counts as %s", address, got)
		}
	}
	if network(&net.UnixAddr{}).IsValid() {
		t.Error("a Unix socket has an address")
	}
}

// short makes one limit short: what ends then ended by it.
func short(t *testing.T, limit *time.Duration) {
	before := *limit
	*limit = 50 * time.Millisecond
	t.Cleanup(func() { *limit = before })
}

// dribble writes a byte at a time until the connection is closed.
func dribble(conn net.Conn) {
	for {
		if _, err := conn.Write([]byte("a")); err != nil {
			return
		}
	}
}

// Whoever is slow, in any part of a connection, is not waited for, and holds nothing.
func TestSlowClients(t *testing.T) {
	endless := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	})
	reads := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	cert, _ := newCert(t, "server")
	secured := PublicTLS(func() tls.Certificate { return cert })
	for name, c := range map[string]struct {
		limit   *time.Duration
		handler http.Handler
		tls     *tls.Config
		do      func(t *testing.T, conn net.Conn)
	}{
		"says_nothing":    {&headerTime, reads, nil, func(*testing.T, net.Conn) {}},
		"handshakes_slow": {&headerTime, reads, secured, func(_ *testing.T, conn net.Conn) { conn.Write([]byte{22, 3, 1}) }},
		"header_dribbles": {&headerTime, reads, nil, func(_ *testing.T, conn net.Conn) {
			io.WriteString(conn, "GET / HTTP/1.1\r\nHost: test\r\nX-Slow: ")
		}},
		"body_dribbles": {&readTime, reads, nil, func(_ *testing.T, conn net.Conn) {
			io.WriteString(conn, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000000000\r\n\r\n")
			go dribble(conn)
		}},
		"chunk_dribbles": {&readTime, reads, nil, func(_ *testing.T, conn net.Conn) {
			io.WriteString(conn, "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n")
			go dribble(conn)
		}},
		"asks_no_more": {&idleTime, reads, nil, func(t *testing.T, conn net.Conn) {
			if !served(conn) {
				t.Error("the first was not served")
			}
		}},
		"http2_says_nothing": {&idleTime, reads, secured, func(t *testing.T, conn net.Conn) { h2(t, conn) }},
		"http2_header_without_end": {&idleTime, reads, secured, func(t *testing.T, conn net.Conn) {
			h2(t, conn).WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headers(http.MethodGet)})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			short(t, c.limit)
			addr, _ := serve(t, &http.Server{Handler: c.handler, TLSConfig: c.tls})
			conn := dial(t, "127.0.0.1", addr)
			if c.tls != nil && c.limit == &idleTime {
				over := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
				if err := over.Handshake(); err != nil {
					t.Fatal(err)
				}
				conn = over
			}
			c.do(t, conn)
			closed(t, conn)
		})
	}
	// Nobody reads, so it is the handler that has to get away.
	for name, ask := range map[string]func(t *testing.T, addr string){
		"answer_not_read": func(t *testing.T, addr string) {
			io.WriteString(dial(t, "127.0.0.1", addr), "GET / HTTP/1.1\r\nHost: test\r\n\r\n")
		},
		"http2_answer_not_read": func(t *testing.T, addr string) {
			over := tls.Client(dial(t, "127.0.0.1", addr), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
			h2(t, over).WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headers(http.MethodGet), EndHeaders: true, EndStream: true})
		},
		"http2_body_dribbles": func(t *testing.T, addr string) {
			over := tls.Client(dial(t, "127.0.0.1", addr), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
			f := h2(t, over)
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headers(http.MethodPost), EndHeaders: true})
			f.WriteData(1, false, []byte("a"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			handler, limit := endless, &writeTime
			if name == "http2_body_dribbles" {
				handler, limit = reads, &readTime
			}
			short(t, limit)
			away := make(chan struct{})
			srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(away)
				handler.ServeHTTP(w, r)
			})}
			if name != "answer_not_read" {
				srv.TLSConfig = secured.Clone()
			}
			addr, _ := serve(t, srv)
			ask(t, addr)
			select {
			case <-away:
			case <-time.After(time.Minute):
				t.Error("the handler is held")
			}
		})
	}
}

// h2 begins HTTP/2 on a connection.
func h2(t *testing.T, conn net.Conn) *http2.Framer {
	t.Helper()
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	f := http2.NewFramer(conn, conn)
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return f
}

func headers(method string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for _, f := range [][2]string{{":method", method}, {":scheme", "https"}, {":authority", "test"}, {":path", "/"}} {
		e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	return b.Bytes()
}
