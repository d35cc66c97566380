// SPDX-License-Identifier: EUPL-1.2

package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/keys"
)

// ErrUnknownKey says that the other side of a connection does not have the key
// that was pinned.
var ErrUnknownKey = errors.New("edge: the other side's key is not the pinned one; compare the manifest or the directory with the certificate it uses")

// ServerTLS is TLS 1.3 for callers whose keys are known by their SPKI hash. A
// certificate is a container for a key: nothing else in it is trusted. cert is
// asked at every handshake, so that a certificate can be replaced.
func ServerTLS(cert func() tls.Certificate, known func(spki [32]byte) bool) *tls.Config {
	config := PublicTLS(cert)
	config.ClientAuth = tls.RequireAnyClientCert
	// Unlike VerifyPeerCertificate, this is called for a resumed session too.
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if !known(keys.SPKIHash(state.PeerCertificates[0])) {
			return ErrUnknownKey
		}
		return nil
	}
	return config
}

// PublicTLS is TLS 1.3 for a listener that asks for no client certificate.
func PublicTLS(cert func() tls.Certificate) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			c := cert()
			return &c, nil
		},
	}
}

// ClientTLS is TLS 1.3 to a server whose key must have the SPKI hash pin. Neither
// its certificate's name nor an authority counts.
func ClientTLS(cert tls.Certificate, pin [32]byte) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		Certificates:       []tls.Certificate{cert},
		InsecureSkipVerify: true, // in favour of the pin; TLS still proves that the server has the key
		VerifyConnection: func(state tls.ConnectionState) error {
			if keys.SPKIHash(state.PeerCertificates[0]) != pin {
				return ErrUnknownKey
			}
			return nil
		},
	}
}

// Limits on slow and greedy clients. The long poll sets the pace: net/http ends
// the context of a request when ReadTimeout passes, even if its body was read. Only tests
// set them. A handshake has headerTime too.
var (
	headerTime time.Duration = 10 * time.Second
	readTime   time.Duration = (api.MaxWait + 15) * time.Second
	writeTime  time.Duration = (api.MaxWait + 30) * time.Second
	idleTime                 = 2 * time.Minute
)

const maxHeader = 16 << 10

// How long a stop waits for handlers: to end by themselves, and once their connections
// are closed and their contexts ended. Only tests set them.
var grace, patience = 10 * time.Second, 10 * time.Second

// ErrRunning says that handlers have not ended in time. What they use must stay open.
var ErrRunning = errors.New("edge: requests were still running after a stop of twenty seconds")

// Serve serves until ctx ends; then it takes no new connections, ends the
// contexts of handlers made by Get, and waits for the others, ten seconds. Then it
// closes their connections, which ends their contexts, and waits ten more. With
// TLSConfig set it serves TLS. It returns nil after a clean end: no handler runs any
// more.
func Serve(ctx context.Context, srv *http.Server, ln net.Listener) error {
	srv.ReadHeaderTimeout = headerTime
	srv.ReadTimeout = readTime
	srv.WriteTimeout = writeTime
	srv.IdleTimeout = idleTime
	srv.MaxHeaderBytes = maxHeader
	srv.BaseContext = func(net.Listener) context.Context {
		return context.WithValue(context.Background(), servingKey{}, ctx)
	}
	if srv.ErrorLog == nil {
		// net/http would write the address of whoever failed a handshake.
		srv.ErrorLog = log.New(io.Discard, "", 0)
	}
	var running handlers
	srv.Handler = running.count(srv.Handler)
	ended := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		limit, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		var err error
		if srv.Shutdown(limit) != nil {
			err = srv.Close()
		}
		ended <- errors.Join(err, running.wait(patience))
	})
	var err error
	if srv.TLSConfig != nil {
		err = srv.ServeTLS(ln, "", "")
	} else {
		err = srv.Serve(ln)
	}
	if stop() { // nobody asked it to end
		return err
	}
	return <-ended
}

// handlers counts those that run.
type handlers struct {
	mu      sync.Mutex
	running int
	ended   chan struct{} // made by wait, closed when none runs
}

func (h *handlers) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.begin() {
			defer h.end()
			next.ServeHTTP(w, r)
		}
	})
}

// begin is false for a request that was read when its connection was closed already.
func (h *handlers) begin() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended != nil {
		return false
	}
	h.running++
	return true
}

func (h *handlers) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running--; h.running == 0 && h.ended != nil {
		close(h.ended)
	}
}

// wait waits until none runs, and lets none begin.
func (h *handlers) wait(most time.Duration) error {
	h.mu.Lock()
	h.ended = make(chan struct{})
	if h.running == 0 {
		close(h.ended)
	}
	h.mu.Unlock()
	select {
	case <-h.ended:
		return nil
	case <-time.After(most):
		return ErrRunning
	}
}

type servingKey struct{}

// whileServing also ends when the server that serves ctx is told to end.
func whileServing(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	serving, ok := ctx.Value(servingKey{}).(context.Context)
	if !ok {
		return ctx, cancel
	}
	stop := context.AfterFunc(serving, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}
