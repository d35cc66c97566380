// SPDX-License-Identifier: EUPL-1.2

package edge

import (
	"errors"
	"net"
	"net/netip"
	"sync"
)

// Connections is how many connections a listener has open at a time.
type Connections struct {
	Most int `json:"most"`
	// PerAddress is how many of them one address may have: an IPv4 address, or an IPv6
	// network of 64 bits. Zero is no limit of its own, and this machine, where a proxy may
	// be, has none either.
	PerAddress int `json:"perAddress"`
}

var errConnections = errors.New(`edge: "connections" need "most", from 1, and "perAddress", from 0 for no limit of its own up to as many`)

// Check holds what a configuration says; its zero value says nothing.
func (c Connections) Check() error {
	if c != (Connections{}) && (c.Most < 1 || c.PerAddress < 0 || c.PerAddress > c.Most) {
		return errConnections
	}
	return nil
}

// A Limited listener closes a connection that is one too many as soon as it is there,
// before anything is read: whoever it is comes again, and the others are served meanwhile.
type Limited struct {
	net.Listener
	most Connections

	mu      sync.Mutex
	open    int
	from    map[netip.Prefix]int
	refused uint64
}

// Limit limits a listener.
func Limit(ln net.Listener, most Connections) *Limited {
	return &Limited{Listener: ln, most: most, from: map[netip.Prefix]int{}}
}

// Open is how many connections there are.
func (l *Limited) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

// Refused is how many connections were one too many.
func (l *Limited) Refused() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refused
}

// Accept is of net.Listener.
func (l *Limited) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := network(conn.RemoteAddr())
		if l.begin(from) {
			return &counted{Conn: conn, end: sync.OnceFunc(func() { l.end(from) })}, nil
		}
		conn.Close()
	}
}

func (l *Limited) begin(from netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.most.Most || l.most.PerAddress > 0 && from.IsValid() && l.from[from] >= l.most.PerAddress {
		l.refused++
		return false
	}
	l.open++
	if from.IsValid() {
		l.from[from]++
	}
	return true
}

func (l *Limited) end(from netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if from.IsValid() {
		if l.from[from]--; l.from[from] == 0 {
			delete(l.from, from)
		}
	}
}

// here tells whether an address is this machine's. Only tests set it.
var here = netip.Addr.IsLoopback

// network is what counts as one address; invalid for this machine.
func network(addr net.Addr) netip.Prefix {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	prefix, err := ip.Prefix(bits)
	if err != nil || here(ip) {
		return netip.Prefix{}
	}
	return prefix
}

// counted tells when it is closed.
type counted struct {
	net.Conn
	end func()
}

func (c *counted) Close() error {
	defer c.end()
	return c.Conn.Close()
}

// CloseWrite lets net/http send all of an answer to a client that was not read to the end.
func (c *counted) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
