// SPDX-License-Identifier: EUPL-1.2

package webhook

import (
	"errors"
	"net/netip"
	"syscall"
)

// errNetwork says that an address lies in a network that is not allowed.
var errNetwork = errors.New("webhook: the address lies in a network that the configuration does not allow")

// inside are the networks that are not the public internet: what stands there is
// meant for its neighbours only. IANA's registries of special-purpose addresses
// (RFC 6890) have them, but for the last.
var inside = func() (list []netip.Prefix) {
	for _, text := range []string{
		"0.0.0.0/8",        // this network; 0.0.0.0 reaches the machine itself
		"10.0.0.0/8",       // private, RFC 1918
		"100.64.0.0/10",    // carrier-grade NAT, RFC 6598; metadata at Alibaba
		"127.0.0.0/8",      // loopback
		"169.254.0.0/16",   // link-local, RFC 3927; metadata of clouds
		"172.16.0.0/12",    // private
		"192.0.0.0/24",     // protocol assignments; metadata at Oracle
		"192.0.2.0/24",     // documentation
		"192.88.99.0/24",   // 6to4 relays
		"192.168.0.0/16",   // private
		"198.18.0.0/15",    // benchmarks
		"198.51.100.0/24",  // documentation
		"203.0.113.0/24",   // documentation
		"224.0.0.0/4",      // multicast
		"240.0.0.0/4",      // reserved, and broadcast
		"::/96",            // unspecified, loopback, IPv4-compatible
		"64:ff9b:1::/48",   // NAT64 of the own network, RFC 8215
		"100::/64",         // discard
		"2001::/23",        // protocol assignments, Teredo among them
		"2001:db8::/32",    // documentation
		"3fff::/20",        // documentation
		"5f00::/16",        // segment routing
		"fc00::/7",         // unique local, RFC 4193; metadata at Amazon
		"fe80::/10",        // link-local
		"fec0::/10",        // site-local
		"ff00::/8",         // multicast
		"168.63.129.16/32", // public, but Azure's machines find their metadata there
	} {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}()

var (
	nat64   = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052: IPv4 in the last four bytes
	sixto4  = netip.MustParsePrefix("2002::/16")    // RFC 3056: IPv4 behind the first two
	global6 = netip.MustParsePrefix("2000::/3")     // all that IANA has given out as global unicast
)

func within(list []netip.Prefix, ip netip.Addr) bool {
	for _, p := range list {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// permits tells whether an address may be dialed. An IPv6 address that leads to an
// IPv4 address is judged by that one as well.
func permits(allow []netip.Prefix, ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	if within(allow, ip) {
		return true
	}
	if within(inside, ip) {
		return false
	}
	b := ip.As16()
	switch {
	case nat64.Contains(ip):
		return permits(allow, netip.AddrFrom4([4]byte(b[12:16])))
	case sixto4.Contains(ip):
		return permits(allow, netip.AddrFrom4([4]byte(b[2:6])))
	}
	return ip.Is4() || global6.Contains(ip)
}

// control is a net.Dialer's: it sees the address that is dialed, after names are
// resolved.
func control(allow []netip.Prefix) func(network, address string, _ syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil || !permits(allow, at.Addr()) {
			return errNetwork
		}
		return nil
	}
}
