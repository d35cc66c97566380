// SPDX-License-Identifier: EUPL-1.2

package keys

import (
	"crypto/tls"
	"crypto/x509"
	"sync"
	"sync/atomic"
)

// A Pair is a certificate and its key in two files, which may be replaced while
// they are used. Whoever replaces them is never quick enough to replace both at
// once: so what does not fit together is not taken, and the pair of before stays.
//
// It is what a configuration file says under tls; paths are made absolute there.
type Pair struct {
	Cert string `json:"cert"` // path: the certificate, or a chain, in PEM
	Key  string `json:"key"`  // path: its key, in PEM, that nobody else may read

	Safe *Safe `json:"-"` // opens the key

	current atomic.Pointer[tls.Certificate]
	loading sync.Mutex
}

// Load reads the files, and takes what is in them when it is a pair that accept
// finds no fault with; accept may be nil. It tells whether the pair is another than
// before. After an error the one of before stays.
func (p *Pair) Load(accept func(tls.Certificate) error) (changed bool, err error) {
	p.loading.Lock()
	defer p.loading.Unlock()
	read, err := p.Safe.ReadTLS(p.Cert, p.Key)
	if err != nil {
		return false, err
	}
	was := p.current.Load()
	if was != nil && sameChain(was.Certificate, read.Certificate) {
		return false, nil // a certificate has one key
	}
	if accept != nil {
		if err := accept(read); err != nil {
			return false, err
		}
	}
	p.current.Store(&read)
	return true, nil
}

func sameChain(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if string(a[i]) != string(b[i]) {
			return false
		}
	}
	return true
}

// Current is the pair that was taken last. Load must have taken one.
func (p *Pair) Current() tls.Certificate { return *p.current.Load() }

// Leaf is the certificate of the current pair, nil before the first.
func (p *Pair) Leaf() *x509.Certificate {
	if c := p.current.Load(); c != nil {
		return c.Leaf
	}
	return nil
}
