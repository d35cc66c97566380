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
// the context of a request when ReadTimeout passes, even if its body was read.
const (
	headerTime = 10 * time.Second
	readTime   = (api.MaxWait + 15) * time.Second
	writeTime  = (api.MaxWait + 30) * time.Second
	idleTime   = 2 * time.Minute
	maxHeader  = 16 << 10
	grace      = 10 * time.Second
)

// Serve serves until ctx ends; then it takes no new connections, ends the
// contexts of handlers made by Get, and waits for the others, ten seconds at
// most. With TLSConfig set it serves TLS. It returns nil after a clean end.
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
	ended := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		limit, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		if srv.Shutdown(limit) == nil {
			ended <- nil
			return
		}
		ended <- srv.Close()
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
