// SPDX-License-Identifier: EUPL-1.2

package webhook

import (
	"context"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func prefixes(list ...string) (out []netip.Prefix) {
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

var loopback = prefixes("127.0.0.0/8", "::1/128")

func TestPermits(t *testing.T) {
	for _, c := range []struct {
		name, ip string
		allow    []netip.Prefix
		want     bool
	}{
		{"public", "8.8.8.8", nil, true},
		{"public6", "2a00:1450:400e::5", nil, true},
		{"rejects/loopback", "127.0.0.1", nil, false},
		{"rejects/loopback_elsewhere", "127.8.9.1", nil, false},
		{"rejects/loopback6", "::1", nil, false},
		{"rejects/this_machine", "0.0.0.0", nil, false},
		{"rejects/unspecified6", "::", nil, false},
		{"rejects/private10", "10.1.2.3", nil, false},
		{"rejects/private172", "172.31.255.255", nil, false},
		{"rejects/private192", "192.168.0.1", nil, false},
		{"rejects/link_local_metadata", "169.254.169.254", nil, false},
		{"rejects/azure_metadata", "168.63.129.16", nil, false},
		{"rejects/amazon_metadata6", "fd00:ec2::254", nil, false},
		{"rejects/cgnat", "100.100.100.200", nil, false},
		{"rejects/multicast", "239.1.1.1", nil, false},
		{"rejects/broadcast", "255.255.255.255", nil, false},
		{"rejects/link_local6", "fe80::1", nil, false},
		{"rejects/link_local6_with_zone", "fe80::1%eth0", nil, false},
		{"rejects/unique_local", "fc01::1", nil, false},
		{"rejects/multicast6", "ff02::1", nil, false},
		{"rejects/mapped", "::ffff:127.0.0.1", nil, false},
		{"rejects/mapped_private", "::ffff:10.0.0.1", nil, false},
		{"rejects/compatible", "::10.0.0.1", nil, false},
		{"rejects/translated", "::ffff:0:127.0.0.1", nil, false},
		{"rejects/not_given_out", "4000::1", nil, false},
		{"rejects/6to4", "2002:0a00:0001::1", nil, false},
		{"rejects/nat64", "64:ff9b::a00:1", nil, false},
		{"rejects/nat64_own", "64:ff9b:1::808:808", nil, false},
		{"rejects/teredo", "2001:0:1234::1", nil, false},
		{"6to4_public", "2002:0808:0808::1", nil, true},
		{"nat64_public", "64:ff9b::808:808", nil, true},
		{"allowed", "10.1.2.3", prefixes("10.1.2.0/24"), true},
		{"allowed_mapped", "::ffff:10.1.2.3", prefixes("10.1.2.0/24"), true},
		{"allowed_nat64", "64:ff9b::a01:203", prefixes("10.1.2.0/24"), true},
		{"rejects/beside_allowed", "10.1.3.3", prefixes("10.1.2.0/24"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := permits(c.allow, netip.MustParseAddr(c.ip)); got != c.want {
				t.Errorf("%s: %v", c.ip, got)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	c, plain := NewClient(Options{}), NewClient(Options{Plain: true})
	for _, good := range []string{"https://a.example/x?y=z", "https://10.0.0.1:8443/", "https://[2001:db8::1]/"} {
		if err := c.Check(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	if plain.Check("http://a.example/") != nil {
		t.Error("plain HTTP is refused where it is allowed")
	}
	for name, bad := range map[string]string{
		"plain": "http://a.example/", "user": "https://u:p@a.example/", "fragment": "https://a.example/#x", "no_host": "https:///x",
		"file": "file:///etc/passwd", "no_url": "https://a b/", "opaque": "https:a.example", "long": "https://a.example/" + strings.Repeat("x", MaxURL),
		"empty": "", "line": "https://a.example/\r\nX: y",
	} {
		t.Run("rejects/"+name, func(t *testing.T) {
			if err := c.Check(bad); err != ErrURL {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A receiver answers by path, and counts.
func receiver(t *testing.T) (url string, client func(Options) *Client, asked *atomic.Int32) {
	t.Helper()
	asked = new(atomic.Int32)
	statuses := map[string]int{
		"/ok": 204, "/gone": 410, "/later": 429, "/closed": 503, "/no": 400, "/broken": 500, "/created": 201,
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, "/ok", http.StatusTemporaryRedirect)
		case "/flood":
			w.Header().Set("X-Flood", strings.Repeat("x", 2*maxHeader))
		case "/endless":
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, maxAnswer)); err != nil {
					return
				}
			}
		case "/hangs":
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		case "/later":
			w.Header().Set("Retry-After", "120")
			w.WriteHeader(429)
		default:
			w.WriteHeader(statuses[r.URL.Path])
		}
	}))
	t.Cleanup(server.Close)
	server.Config.ErrorLog = nil
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return server.URL, func(o Options) *Client {
		if o.Roots == nil {
			o.Roots = roots
		}
		c := NewClient(o)
		t.Cleanup(c.Close)
		return c
	}, asked
}

func TestPost(t *testing.T) {
	url, client, asked := receiver(t)
	c := client(Options{Allow: loopback})
	for path, want := range map[string]Outcome{
		"/ok": Delivered, "/created": Delivered, "/gone": Gone, "/closed": Busy, "/no": Refused, "/broken": Failed, "/away": Redirected,
		"/flood": Unreachable, "/endless": Delivered,
	} {
		asked.Store(0)
		got := c.Post(t.Context(), url+path, "e", time.Now(), []byte("{}"), []Secret{NewSecret(HMAC)})
		if got.Outcome != want {
			t.Errorf("%s: %s", path, got.Outcome)
		}
		if asked.Load() != 1 {
			t.Errorf("%s: asked %d times", path, asked.Load())
		}
	}
	if a := c.Post(t.Context(), url+"/later", "e", time.Now(), nil, nil); a.Outcome != Busy || a.RetryAfter != 2*time.Minute {
		t.Errorf("429: %+v", a)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan Answer)
	asked.Store(0)
	go func() { done <- c.Post(ctx, url+"/hangs", "e", time.Now(), nil, nil) }()
	for asked.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if a := <-done; a.Outcome != Stopped {
		t.Errorf("our own end: %s", a.Outcome)
	}
}

func TestPostRefuses(t *testing.T) {
	url, client, asked := receiver(t)
	t.Setenv("HTTPS_PROXY", url)
	_, port, _ := strings.Cut(strings.TrimPrefix(url, "https://"), ":")
	for _, c := range []struct {
		name, url string
		options   Options
		want      Outcome
	}{
		{"network", url + "/ok", Options{}, Forbidden},
		{"network_by_name", "https://localhost:" + port + "/ok", Options{}, Forbidden},
		{"network_mapped", "https://[::ffff:127.0.0.1]:" + port + "/ok", Options{}, Forbidden},
		{"network_as_a_number", "https://2130706433:" + port + "/ok", Options{}, ""},
		{"certificate", url + "/ok", Options{Allow: loopback, Roots: x509.NewCertPool()}, Untrusted},
		{"address", "http://127.0.0.1/", Options{Allow: loopback}, Unreachable},
	} {
		t.Run("rejects/"+c.name, func(t *testing.T) {
			got := client(c.options).Post(t.Context(), c.url, "e", time.Now(), nil, nil)
			if got.Outcome != c.want && !(c.want == "" && got.Outcome != Delivered) {
				t.Errorf("got %s", got.Outcome)
			}
		})
	}
	if asked.Load() > 0 {
		t.Error("it was asked")
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2027, 3, 4, 10, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "30": 30 * time.Second, "-5": 0, "soon": 0, "99999999": MaxRetryAfter,
		"Thu, 04 Mar 2027 10:01:00 GMT": time.Minute, "Thu, 04 Mar 2027 09:00:00 GMT": 0, "Thu, 04 Mar 2038 09:00:00 GMT": MaxRetryAfter,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
