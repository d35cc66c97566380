// SPDX-License-Identifier: EUPL-1.2

package edge

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/keys"
)

// Who calls is asked in one place, whether TLS ends here or at a proxy in front:
// [PeerKey] and [ClientAddress]. What a proxy says stands in headers, which anybody
// can send. So the listener's outermost handler, made by [Proxies.Handler] or
// [Forwarding.Handler], takes the word of listed proxies only, and takes those
// headers off every request, whoever sent it: nothing behind it can read them.

// Proxies are those that may say whose client certificate they saw, in the header
// Client-Cert of RFC 9440. They end the TLS of parties' connections, and so can
// pretend to be any party: list none but your own.
//
// It is what a configuration file says under proxy; its zero value trusts nobody.
type Proxies struct {
	// Keys are the SPKI hashes of the keys that proxies use as TLS clients.
	Keys []api.Hash `json:"keys"`
	// Local says that the listener speaks plain HTTP, with a proxy on this machine,
	// over loopback or a Unix socket. Any process that reaches it is believed.
	Local bool `json:"local"`
	// Cert is the path of the certificate that the proxies show to parties: its key is
	// what the manifest pins. Empty when they show the listener's own.
	Cert string `json:"cert"`
}

// Check holds that a listener for what Local says can be reached from this machine only.
func (p *Proxies) Check(address string) error {
	if _, unix := strings.CutPrefix(address, UnixPrefix); unix {
		if p.Local {
			return nil
		}
		return errLocal
	}
	host, _, err := net.SplitHostPort(address)
	if p.Local && (err != nil || !Loopback(host)) {
		return errLocal
	}
	return nil
}

// UnixPrefix begins an address that is the path of a Unix socket.
const UnixPrefix = "unix:"

var errLocal = errors.New(`edge: "local" and an address like 127.0.0.1:8443 or unix:/run/seinhuis/exchange belong together; without TLS nobody else may reach it`)

// Loopback tells whether a host, as it stands in an address, is this machine alone.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Known tells whether a key is a listed proxy's; for ServerTLS, beside the parties'.
func (p *Proxies) Known(spki [32]byte) bool { return slices.Contains(p.Keys, api.Hash(spki)) }

type peerKey struct{}

// Handler settles whose request it is, for PeerKey.
func (p *Proxies) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := connectionKey(r)
		if p.Known(key) || p.Local && r.TLS == nil && local(r.RemoteAddr) {
			key = certifiedKey(r.Header.Values(headerCert))
		}
		r.Header.Del(headerCert)
		r.Header.Del(headerChain)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), peerKey{}, key)))
	})
}

const (
	headerCert  = "Client-Cert"
	headerChain = "Client-Cert-Chain"
)

// PeerKey is the SPKI hash of the caller's certificate; zero when it has none.
func PeerKey(r *http.Request) [32]byte {
	if key, ok := r.Context().Value(peerKey{}).([32]byte); ok {
		return key
	}
	return connectionKey(r)
}

func connectionKey(r *http.Request) [32]byte {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return [32]byte{}
	}
	return keys.SPKIHash(r.TLS.PeerCertificates[0])
}

// certifiedKey reads Client-Cert: one byte sequence (RFC 8941 section 3.3.5) with
// one DER certificate. A proxy that passes a client's own header on beside its own
// makes two, and then nobody is believed.
func certifiedKey(values []string) [32]byte {
	if len(values) != 1 {
		return [32]byte{}
	}
	text, opened := strings.CutPrefix(values[0], ":")
	text, closed := strings.CutSuffix(text, ":")
	der, err := base64.StdEncoding.Strict().DecodeString(text)
	if !opened || !closed || err != nil {
		return [32]byte{}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return [32]byte{}
	}
	return keys.SPKIHash(cert)
}

// local tells whether the other side of a connection is on this machine.
func local(address string) bool {
	if address == "" || address == "@" || strings.HasPrefix(address, "/") { // a Unix socket
		return true
	}
	at, err := netip.ParseAddrPort(address)
	return err == nil && at.Addr().Unmap().IsLoopback()
}

// Forwarding are the addresses of proxies that may say where a request came from,
// and that it came over TLS, in X-Forwarded-For and X-Forwarded-Proto or in
// Forwarded (RFC 7239). Its zero value trusts nobody.
type Forwarding struct {
	Proxies []netip.Prefix
	// Demand refuses what did not come over TLS, here or at a listed proxy, other
	// than from this machine itself or for an open path. For plain HTTP that
	// listens to more than this machine.
	Demand func(w http.ResponseWriter, r *http.Request)
	Open   []string // paths without secrets
}

// ParseProxies reads addresses, such as 10.1.2.3, and networks, such as 10.1.2.0/24.
func ParseProxies(list []string) ([]netip.Prefix, error) {
	var proxies []netip.Prefix
	for _, text := range list {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			var addr netip.Addr
			if addr, err = netip.ParseAddr(text); err == nil {
				prefix = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())
			}
		}
		if err != nil || prefix.Masked() != prefix || prefix.Bits() == 0 {
			return nil, errProxy
		}
		proxies = append(proxies, prefix)
	}
	return proxies, nil
}

var errProxy = errors.New(`edge: a proxy is an address, like 10.1.2.3, or a network, like 10.1.2.0/24; not the whole world`)

// Handler settles where a request came from, for ClientAddress, and how.
func (f Forwarding) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		here := local(r.RemoteAddr) // and not a proxy that speaks for others
		if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil && f.listed(at.Addr()) {
			here = false
		}
		from, overTLS := f.origin(r)
		for name := range r.Header {
			if name == "Forwarded" || strings.HasPrefix(name, "X-Forwarded-") || name == "X-Real-Ip" {
				delete(r.Header, name)
			}
		}
		r.RemoteAddr = from
		if f.Demand != nil && !overTLS && !here && !slices.Contains(f.Open, r.URL.Path) {
			f.Demand(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ClientAddress is the address that a request came from: behind a listed proxy what
// that says, and the connection's otherwise; "" over a Unix socket.
func ClientAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
}

func (f Forwarding) listed(addr netip.Addr) bool {
	return slices.ContainsFunc(f.Proxies, func(p netip.Prefix) bool { return p.Contains(addr.Unmap()) })
}

// origin is where a request came from, and whether over TLS. A proxy that writes one kind
// of header can pass on the other as the client sent it: when both are there, and do not
// say the same, neither counts.
func (f Forwarding) origin(r *http.Request) (from string, overTLS bool) {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !f.listed(at.Addr()) {
		return r.RemoteAddr, r.TLS != nil
	}
	hops, protos := forwarded(r.Header.Values("Forwarded"))
	others, otherProtos := list(r.Header.Values("X-Forwarded-For")), list(r.Header.Values("X-Forwarded-Proto"))
	if len(hops) == 0 {
		return f.walk(at, others, otherProtos)
	}
	from, overTLS = f.walk(at, hops, protos)
	if len(others)+len(otherProtos) > 0 {
		if other, tls := f.walk(at, others, otherProtos); other != from || tls != overTLS {
			return at.String(), false
		}
	}
	return from, overTLS
}

// walk goes back from the connection, hop by hop, for as long as each hop is a listed
// proxy: what stands before an unlisted hop is that hop's own tale.
func (f Forwarding) walk(at netip.AddrPort, hops, protos []string) (from string, overTLS bool) {
	if len(protos) > 0 {
		overTLS = strings.EqualFold(protos[len(protos)-1], "https") // of the last hop, which we trust
	}
	for i := len(hops) - 1; i >= 0; i-- {
		addr, err := netip.ParseAddr(node(hops[i]))
		if err != nil {
			break
		}
		at = netip.AddrPortFrom(addr.Unmap(), 0)
		if !f.listed(addr) {
			break
		}
	}
	return at.String(), overTLS
}

// forwarded gives the hops and protocols that Forwarded names, the nearest last.
func forwarded(values []string) (hops, protos []string) {
	for _, element := range list(values) {
		hop, proto := "", ""
		for pair := range strings.SplitSeq(element, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
			value = strings.Trim(value, `"`)
			switch strings.ToLower(name) {
			case "for":
				hop = value
			case "proto":
				proto = value
			}
		}
		hops, protos = append(hops, hop), append(protos, proto)
	}
	return hops, protos
}

// node is the address of a hop, which can have a port, and brackets for IPv6.
func node(value string) string {
	if at, err := netip.ParseAddrPort(value); err == nil {
		return at.Addr().String()
	}
	return strings.Trim(value, "[]")
}

func list(values []string) (all []string) {
	for _, value := range values {
		for part := range strings.SplitSeq(value, ",") {
			if part = strings.TrimSpace(part); part != "" {
				all = append(all, part)
			}
		}
	}
	return all
}
