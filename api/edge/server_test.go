// SPDX-License-Identifier: EUPL-1.2

package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/mux"

	"github.com/seinhuis/seinhuis/keys"
)

func newCert(t *testing.T, name string) (tls.Certificate, [32]byte) {
	t.Helper()
	dir := t.TempDir()
	certPath, keyPath := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := keys.Clear.WriteTLS(certPath, keyPath, name, []string{"127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	cert, err := keys.Clear.ReadTLS(certPath, keyPath)
	if err != nil {
		t.Fatal(err)
	}
	return cert, keys.SPKIHash(cert.Leaf)
}

// serve runs Serve on a free port; stop ends it and gives what it returned.
func serve(t *testing.T, srv *http.Server) (addr string, stop func() error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, srv, ln)
}

func serveOn(t *testing.T, srv *http.Server, ln net.Listener) (addr string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, srv, ln) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return ln.Addr().String(), stop
}

func client(config *tls.Config) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
}

func TestPins(t *testing.T) {
	server, serverPin := newCert(t, "server")
	known, knownPin := newCert(t, "known")
	stranger, strangerPin := newCert(t, "stranger")
	var seen atomic.Value
	addr, _ := serve(t, &http.Server{
		Handler:   http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen.Store(PeerKey(r)) }),
		TLSConfig: ServerTLS(func() tls.Certificate { return server }, func(spki [32]byte) bool { return spki == knownPin }),
	})
	get := func(config *tls.Config) error {
		resp, err := client(config).Get("https://" + addr)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	if err := get(ClientTLS(known, serverPin)); err != nil {
		t.Fatal(err)
	}
	if seen.Load() != knownPin {
		t.Error("PeerKey is not the caller's key")
	}
	old := ClientTLS(known, serverPin)
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	anonymous := ClientTLS(known, serverPin)
	anonymous.Certificates = nil
	for reason, config := range map[string]*tls.Config{
		"unknown_client":    ClientTLS(stranger, serverPin),
		"no_client":         anonymous,
		"another_server":    ClientTLS(known, strangerPin),
		"tls_1.2":           old,
		"borrowed_identity": ClientTLS(tls.Certificate{Certificate: known.Certificate, PrivateKey: stranger.PrivateKey}, serverPin),
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if get(config) == nil {
				t.Error("it was let in")
			}
		})
	}
}

func TestPeerKeyWithoutTLS(t *testing.T) {
	if PeerKey(&http.Request{}) != [32]byte{} {
		t.Error("a key out of nothing")
	}
}

// A long poll ends when the server closes; a POST that has begun is finished.
func TestServeEnds(t *testing.T) {
	begun := make(chan struct{}, 2)
	finish := make(chan struct{})
	service, _ := testService(t, io.Discard)
	router := service.Router(func(r *mux.Router) {
		r.HandleFunc("/ones/{id}", func(w http.ResponseWriter, r *http.Request) {
			begun <- struct{}{}
			<-r.Context().Done()
			service.Fail(w, r, r.Context().Err())
		}).Methods(http.MethodGet)
		r.HandleFunc("/doubles", func(w http.ResponseWriter, r *http.Request) {
			begun <- struct{}{}
			<-finish
			if err := r.Context().Err(); err != nil {
				service.Fail(w, r, err)
			}
		}).Methods(http.MethodPost)
	}, nil)
	addr, stop := serve(t, &http.Server{Handler: router})

	status := func(resp *http.Response, err error) int {
		if err != nil {
			t.Error(err)
			return 0
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	polled, posted, stopped := make(chan int, 1), make(chan int, 1), make(chan error, 1)
	go func() { polled <- status(http.Get("http://" + addr + "/v1/ones/1")) }()
	go func() {
		posted <- status(http.Post("http://"+addr+"/v1/doubles", "application/json", strings.NewReader(`{"n":1}`)))
	}()
	<-begun
	<-begun
	go func() { stopped <- stop() }()
	if got := <-polled; got != http.StatusServiceUnavailable {
		t.Errorf("the long poll ended with %d", got)
	}
	close(finish) // only now, so that the server was closing already
	if got := <-posted; got != http.StatusOK {
		t.Errorf("the POST ended with %d", got)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := http.Get("http://" + addr + "/v1/ones/1"); err == nil {
		t.Error("it still serves")
	}
}

// What a handler uses is closed after Serve has returned: not while a handler runs that
// a stop did not reach, and not at all if none of it helps.
func TestServeWaitsForHandlers(t *testing.T) {
	defer func(g, p time.Duration) { grace, patience = g, p }(grace, patience)
	for name, c := range map[string]struct {
		patience time.Duration
		want     error
	}{"ends_with_its_connection": {time.Minute, nil}, "does_not_end": {time.Millisecond, ErrRunning}} {
		t.Run(name, func(t *testing.T) {
			grace, patience = time.Millisecond, c.patience
			begun, free, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
			var over atomic.Bool
			addr, stop := serve(t, &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				defer close(ended)
				close(begun)
				<-r.Context().Done()
				if c.want != nil {
					<-free
				}
				time.Sleep(50 * time.Millisecond) // long enough for a Serve that does not wait
				over.Store(true)
			})})
			go func() {
				if resp, err := http.Get("http://" + addr); err == nil {
					resp.Body.Close()
				}
			}()
			<-begun
			if err := stop(); !errors.Is(err, c.want) {
				t.Errorf("Serve: %v", err)
			}
			if over.Load() != (c.want == nil) {
				t.Error("the handler was not waited for")
			}
			close(free)
			<-ended
		})
	}
}

// A request that was read before its connection was closed does not begin after that.
func TestNoHandlerBeginsAfterTheStop(t *testing.T) {
	var h handlers
	served := 0
	handler := h.count(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }))
	handler.ServeHTTP(nil, nil)
	if err := h.wait(time.Minute); err != nil {
		t.Fatal(err)
	}
	handler.ServeHTTP(nil, nil)
	if served != 1 {
		t.Errorf("%d requests were served, want the one before the stop", served)
	}
}

func TestServeTellsFailure(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if err := Serve(t.Context(), &http.Server{}, ln); err == nil {
		t.Error("nil for a listener that is closed")
	}
}

// A body that does not fit, or a header that does not, ends the request even on
// a real connection.
func TestGreedyClients(t *testing.T) {
	addr, _ := serve(t, &http.Server{Handler: testHandler(t, io.Discard)})
	big := strings.Repeat("x", 2*maxHeader)
	r, err := http.NewRequest(http.MethodGet, "http://"+addr+"/v1/ones/1", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Big", big)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a big header got %d", resp.StatusCode)
	}
	resp, err = http.Post("http://"+addr+"/v1/doubles", "application/json", strings.NewReader(`{"n":1,"x":"`+big+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a big body got %d", resp.StatusCode)
	}
}

// A route for GET and HEAD answers HEAD with the headers of GET and no body.
func TestHead(t *testing.T) {
	addr, _ := serve(t, &http.Server{Handler: testHandler(t, io.Discard)})
	resp, err := http.Head("http://" + addr + "/v1/ones/1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || len(body) > 0 || resp.StatusCode != http.StatusOK || resp.ContentLength != 11 {
		t.Errorf("%s, length %d, body %q, %v", resp.Status, resp.ContentLength, body, err)
	}
}
