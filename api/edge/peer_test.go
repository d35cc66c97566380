// SPDX-License-Identifier: EUPL-1.2

package edge

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/seinhuis/seinhuis/api"
)

// clientCert is a certificate as RFC 9440 section 2.2 writes it.
func clientCert(c tls.Certificate) string {
	return ":" + base64.StdEncoding.EncodeToString(c.Certificate[0]) + ":"
}

// tell answers with the key of the caller, and with what is left of the headers.
var tell = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%x", PeerKey(r))
	for name := range r.Header {
		if strings.HasPrefix(strings.ToLower(name), "client-cert") {
			fmt.Fprint(w, " and ", name)
		}
	}
})

// raw sends a request as it stands over a connection and gives the body.
func raw(t *testing.T, conn net.Conn, header string) string {
	t.Helper()
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\n%sConnection: close\r\n\r\n", header); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		return resp.Status
	}
	return string(body)
}

// TestWhoIsBehindAProxy sends Client-Cert in every way to a listener for parties, as
// a listed proxy and as a party that would like to be another.
func TestWhoIsBehindAProxy(t *testing.T) {
	server, serverPin := newCert(t, "server")
	proxy, proxyPin := newCert(t, "proxy")
	party, partyPin := newCert(t, "party")
	victim, victimPin := newCert(t, "victim")
	proxies := Proxies{Keys: []api.Hash{proxyPin}}
	addr, _ := serve(t, &http.Server{
		Handler: proxies.Handler(tell),
		TLSConfig: ServerTLS(func() tls.Certificate { return server }, func(spki [32]byte) bool {
			return spki == partyPin || spki == victimPin || proxies.Known(spki)
		}),
	})
	ask := func(as tls.Certificate, header string) string {
		t.Helper()
		conn, err := tls.Dial("tcp", addr, ClientTLS(as, serverPin))
		if err != nil {
			t.Fatal(err)
		}
		return raw(t, conn, header)
	}
	nobody, itself := fmt.Sprintf("%x", [32]byte{}), fmt.Sprintf("%x", partyPin)
	other := fmt.Sprintf("%x", victimPin)
	if nobody == itself || itself == other {
		t.Fatal("keys are not apart")
	}
	one := "Client-Cert: " + clientCert(victim) + "\r\n"
	for name, c := range map[string]struct {
		as     tls.Certificate
		header string
		want   string
	}{
		"proxy/one":                    {proxy, one, other},
		"proxy/lower_case":             {proxy, strings.ToLower(one[:12]) + one[12:], other},
		"proxy/with_a_chain":           {proxy, one + "Client-Cert-Chain: " + clientCert(party) + "\r\n", other},
		"direct/no_header":             {party, "", itself},
		"rejects/proxy/no_header":      {proxy, "", nobody},
		"rejects/proxy/empty":          {proxy, "Client-Cert: \r\n", nobody},
		"rejects/proxy/two_headers":    {proxy, one + "Client-Cert: " + clientCert(party) + "\r\n", nobody},
		"rejects/proxy/two_in_cases":   {proxy, one + "cLIENT-cERT: " + clientCert(party) + "\r\n", nobody},
		"rejects/proxy/the_same_twice": {proxy, one + one, nobody},
		"rejects/proxy/list":           {proxy, "Client-Cert: " + clientCert(victim) + ", " + clientCert(party) + "\r\n", nobody},
		"rejects/proxy/parameter":      {proxy, "Client-Cert: " + clientCert(victim) + ";a=1\r\n", nobody},
		"rejects/proxy/without_colons": {proxy, "Client-Cert: " + strings.Trim(clientCert(victim), ":") + "\r\n", nobody},
		"rejects/proxy/not_base64":     {proxy, "Client-Cert: :!!!!:\r\n", nobody},
		"rejects/proxy/no_certificate": {proxy, "Client-Cert: :AAAA:\r\n", nobody},
		"rejects/proxy/behind_it":      {proxy, "Client-Cert: :" + base64.StdEncoding.EncodeToString(append(victim.Certificate[0], 0)) + ":\r\n", nobody},
		"rejects/proxy/underscore":     {proxy, "Client_Cert: " + clientCert(victim) + "\r\n", nobody},
		"rejects/direct/header":        {party, one, itself},
		"rejects/direct/lower_case":    {party, strings.ToLower(one[:12]) + one[12:], itself},
		"rejects/direct/upper_case":    {party, strings.ToUpper(one[:12]) + one[12:], itself},
		"rejects/direct/two_headers":   {party, one + one, itself},
		"rejects/direct/chain":         {party, "Client-Cert-Chain: " + clientCert(victim) + "\r\n", itself},
	} {
		t.Run(name, func(t *testing.T) {
			if got := ask(c.as, c.header); got != c.want {
				t.Errorf("the handler sees %s, want %s", got, c.want)
			}
		})
	}
	t.Run("rejects/no_client_certificate", func(t *testing.T) {
		config := ClientTLS(tls.Certificate{}, serverPin)
		config.Certificates = nil
		conn, err := tls.Dial("tcp", addr, config)
		if err == nil {
			defer conn.Close()
			fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\n%s\r\n", one)
			_, err = conn.Read(make([]byte, 1))
		}
		if err == nil {
			t.Error("it was answered")
		}
	})
}

// TestLocalProxy is plain HTTP on this machine: over loopback and over a Unix socket.
func TestLocalProxy(t *testing.T) {
	victim, victimPin := newCert(t, "victim")
	one := "Client-Cert: " + clientCert(victim) + "\r\n"
	other, nobody := fmt.Sprintf("%x", victimPin), fmt.Sprintf("%x", [32]byte{})
	on := func(p Proxies, network, address string) string {
		t.Helper()
		ln, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: p.Handler(tell)}
		go server.Serve(ln)
		t.Cleanup(func() { server.Close() })
		conn, err := net.Dial(network, ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return raw(t, conn, one)
	}
	local := Proxies{Local: true}
	if got := on(local, "tcp", "127.0.0.1:0"); got != other {
		t.Errorf("over loopback: %s", got)
	}
	if got := on(local, "unix", t.TempDir()+"/s"); got != other {
		t.Errorf("over a Unix socket: %s", got)
	}
	t.Run("rejects/not_asked_for", func(t *testing.T) {
		if got := on(Proxies{}, "tcp", "127.0.0.1:0"); got != nobody {
			t.Errorf("over loopback: %s", got)
		}
	})
	t.Run("rejects/from_elsewhere", func(t *testing.T) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = "192.0.2.1:1234"
		r.Header.Set("Client-Cert", clientCert(victim))
		w := httptest.NewRecorder()
		local.Handler(tell).ServeHTTP(w, r)
		if w.Body.String() != nobody {
			t.Errorf("%s", w.Body)
		}
	})
	t.Run("rejects/over_tls", func(t *testing.T) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = "127.0.0.1:1234"
		r.TLS = &tls.ConnectionState{}
		r.Header.Set("Client-Cert", clientCert(victim))
		w := httptest.NewRecorder()
		local.Handler(tell).ServeHTTP(w, r)
		if w.Body.String() != nobody {
			t.Errorf("%s", w.Body)
		}
	})
	for address, good := range map[string]bool{
		"127.0.0.1:1": true, "[::1]:1": true, "localhost:1": true, "unix:/run/x": true,
		"0.0.0.0:1": false, ":1": false, "192.0.2.1:1": false, "x": false,
	} {
		if err := local.Check(address); (err == nil) != good {
			t.Errorf("local on %s: %v", address, err)
		}
	}
	if err := (&Proxies{}).Check("unix:/run/x"); err == nil {
		t.Error("TLS over a Unix socket is let through")
	}
	if err := (&Proxies{}).Check("0.0.0.0:1"); err != nil {
		t.Error(err)
	}
}

// TestForwarding holds whose word counts for where a request came from, and that
// nobody behind can read a word of it.
func TestForwarding(t *testing.T) {
	proxies, err := ParseProxies([]string{"10.0.0.1", "10.9.0.0/16", "2001:db8::1", "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	const proxy, hop, stranger = "10.0.0.1:99", "10.9.1.1", "192.0.2.7:99"
	for name, c := range map[string]struct {
		peer    string
		headers []string // name: value
		want    string   // address
		allowed bool
	}{
		"listed/x":                    {proxy, []string{"X-Forwarded-For: 198.51.100.9", "X-Forwarded-Proto: https"}, "198.51.100.9", true},
		"listed/forwarded":            {proxy, []string{`Forwarded: for="198.51.100.9:4711";proto=https`}, "198.51.100.9", true},
		"listed/forwarded_v6":         {proxy, []string{`forwarded: Proto=HTTPS;For="[2001:db8:cafe::17]:47011"`}, "2001:db8:cafe::17", true},
		"listed/two_hops":             {proxy, []string{"X-Forwarded-For: 198.51.100.9, " + hop, "X-Forwarded-Proto: https"}, "198.51.100.9", true},
		"listed/two_lines":            {proxy, []string{"X-Forwarded-For: 198.51.100.9", "X-Forwarded-For: " + hop, "X-Forwarded-Proto: https"}, "198.51.100.9", true},
		"listed/loopback":             {"127.0.0.1:5", []string{"X-Forwarded-For: 198.51.100.9", "X-Forwarded-Proto: https"}, "198.51.100.9", true},
		"here":                        {"[::1]:5", nil, "::1", true},
		"rejects/told_by_the_client":  {proxy, []string{"X-Forwarded-For: 203.0.113.1, 198.51.100.9", "X-Forwarded-Proto: https"}, "198.51.100.9", true},
		"rejects/rubbish":             {proxy, []string{"X-Forwarded-For: 203.0.113.1, unknown", "X-Forwarded-Proto: https"}, "10.0.0.1", true},
		"rejects/unlisted":            {stranger, []string{"X-Forwarded-For: 198.51.100.9", "X-Forwarded-Proto: https"}, "192.0.2.7", false},
		"rejects/unlisted_forwarded":  {stranger, []string{"Forwarded: for=127.0.0.1;proto=https"}, "192.0.2.7", false},
		"rejects/unlisted_lower_case": {stranger, []string{"x-forwarded-proto: https", "x-forwarded-for: 127.0.0.1"}, "192.0.2.7", false},
		"rejects/in_the_clear":        {proxy, []string{"X-Forwarded-For: 198.51.100.9", "X-Forwarded-Proto: http"}, "198.51.100.9", false},
		"rejects/says_nothing":        {proxy, nil, "10.0.0.1", false},
		"rejects/here_says_nothing":   {"127.0.0.1:5", nil, "127.0.0.1", false},
		"rejects/claims_to_be_here":   {proxy, []string{"X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http"}, "127.0.0.1", false},
		"rejects/client_says_https":   {proxy, []string{"X-Forwarded-For: 198.51.100.9", "X-Forwarded-Proto: https, http"}, "198.51.100.9", false},
		"listed/with_a_port":          {proxy, []string{"X-Forwarded-For: 198.51.100.9:4711", "X-Forwarded-Proto: https"}, "198.51.100.9", true},
		"listed/with_a_port_v6":       {proxy, []string{"X-Forwarded-For: [2001:db8:cafe::17]:4711", "X-Forwarded-Proto: https"}, "2001:db8:cafe::17", true},
		"listed/says_it_twice":        {proxy, []string{"X-Forwarded-For: 198.51.100.9", "X-Forwarded-Proto: https", "Forwarded: for=198.51.100.9;proto=https"}, "198.51.100.9", true},
		"rejects/clients_own_other":   {proxy, []string{"X-Forwarded-For: 198.51.100.9", "X-Forwarded-Proto: http", "Forwarded: for=203.0.113.1;proto=https"}, "10.0.0.1", false},
		"rejects/clients_own_other_x": {proxy, []string{"Forwarded: for=198.51.100.9;proto=http", "X-Forwarded-For: 203.0.113.1", "X-Forwarded-Proto: https"}, "10.0.0.1", false},
		"rejects/clients_own_proto":   {proxy, []string{"X-Forwarded-For: 198.51.100.9", "Forwarded: proto=https"}, "10.0.0.1", false},
		"rejects/two_of_forwarded":    {proxy, []string{"Forwarded: for=203.0.113.1;proto=https", "Forwarded: for=198.51.100.9;proto=http"}, "198.51.100.9", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/v1/x", nil)
			r.RemoteAddr = c.peer
			for _, line := range append(c.headers, "X-Forwarded-Host: evil.example", "X-Real-IP: 203.0.113.9") {
				key, value, _ := strings.Cut(line, ": ")
				r.Header.Add(key, value)
			}
			seen, refused := "", false
			f := Forwarding{Proxies: proxies, Open: []string{"/health"}, Demand: func(_ http.ResponseWriter, r *http.Request) {
				refused, seen = true, ClientAddress(r)
			}}
			behind := f.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				seen = ClientAddress(r)
				if len(r.Header) > 0 {
					t.Errorf("left of the headers: %v", r.Header)
				}
			}))
			behind.ServeHTTP(httptest.NewRecorder(), r)
			if seen != c.want || refused == c.allowed {
				t.Errorf("from %s, refused %v", seen, refused)
			}
			if refused {
				r.URL.Path, refused = "/health", false
				r.RemoteAddr = c.peer
				if behind.ServeHTTP(httptest.NewRecorder(), r); refused {
					t.Error("an open path is refused")
				}
			}
		})
	}
	for _, bad := range []string{"", "x", "10.0.0.1/8", "0.0.0.0/0", "::/0", "10.0.0.1:80", "https://10.0.0.1"} {
		if _, err := ParseProxies([]string{bad}); err == nil {
			t.Errorf("%q is taken for a proxy", bad)
		}
	}
	if len(proxies) != 4 || !proxies[0].Contains(netip.MustParseAddr("10.0.0.1")) {
		t.Error("an address is not its own network")
	}
}
