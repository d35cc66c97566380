// SPDX-License-Identifier: EUPL-1.2

package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/api/exchange"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
)

// benchHTTP is benchSubmit through TLS 1.3 with a client certificate each. Both sides
// verify signatures and sign receipts, and PostgreSQL sits behind the same HTTP
// handlers and the same admission; it still seals nothing. The clients and our server
// share this process; PostgreSQL's server shares one with its driver.
func benchHTTP(r *run) {
	r.reps = r.durable
	h := newHouse(r)
	dir := r.TempDir()
	server := newIdentity(r, dir, "registry")
	var own [clients]identity
	for i := range own {
		own[i] = newIdentity(r, dir, fmt.Sprint("party-", i))
		p := &h.Directory.Parties[i%h.parties]
		p.Keys = append(p.Keys, manifest.NewKey(manifest.UseTLS, own[i].pin[:], h.Now().AddDate(-1, 0, 0)))
	}
	h.fill(r.stored, true)
	ours := h.listen(server)
	theirs := h.listenPeer(dir, server)

	sets := make([][][]byte, r.reps)
	for rep := range sets {
		for _, p := range h.batch(r.submits, func(i int) int { return i % clients % h.parties }) {
			body, err := json.Marshal(p.Submission)
			r.must(err)
			sets[rep] = append(sets[rep], body)
		}
	}
	rate := func(url string, bodies [][]byte) float64 {
		asks := make([]*http.Client, clients)
		for i := range asks {
			asks[i] = &http.Client{Transport: &http.Transport{TLSClientConfig: edge.ClientTLS(own[i].cert, server.pin)}}
			defer asks[i].CloseIdleConnections()
		}
		// Each client sends its own party's, after one request that makes its connection.
		each := func(from, to int) time.Duration {
			took, _, err := drive(clients, clients, func(c int) error {
				for i := from + c; i < to; i += clients {
					if err := post(asks[c], url, bodies[i]); err != nil {
						return err
					}
				}
				return nil
			})
			r.must(err)
			return took
		}
		each(0, clients)
		took := each(clients, len(bodies))
		return float64(len(bodies)-clients) / took.Seconds()
	}
	work := "submit through HTTP, all on both sides"
	o, p := r.alternate(work, func(rep int) float64 { return rate(ours, sets[rep]) },
		r.peer(func(rep int) float64 { return rate(theirs, sets[rep]) }))
	h.compare(r.reps * (r.submits / 10))
	r.row(Row{Work: work, Peer: "PostgreSQL", Unit: "signals/s", Aim: atLeast(2),
		Why: "of some 450 µs CPU a signal the store takes 80; the rest is HTTP, TLS and JSON of client and server, and Ed25519, the same on both sides"}, o, p)
}

func post(c *http.Client, url string, body []byte) error {
	resp, err := c.Post(url+"/v1/signals", "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var accepted api.Accepted
	if err := json.Unmarshal(text, &accepted); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusCreated || len(accepted.Receipt.Signature) == 0 {
		return fmt.Errorf("a new signal gets status %d", resp.StatusCode)
	}
	return nil
}

// An identity is a certificate and its key, also in files.
type identity struct {
	cert     tls.Certificate
	pin      [32]byte
	certPath string
	keyPath  string
}

func newIdentity(r *run, dir, name string) (id identity) {
	id.certPath, id.keyPath = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".pem")
	r.must(keys.Clear.WriteTLS(id.certPath, id.keyPath, name, []string{"127.0.0.1"}))
	var err error
	id.cert, err = keys.Clear.ReadTLS(id.certPath, id.keyPath)
	r.must(err)
	id.pin = keys.SPKIHash(id.cert.Leaf)
	return id
}

// listen serves the registry as the product does.
func (h *house) listen(id identity) (url string) {
	server := exchange.New(h.Matcher, slog.New(slog.DiscardHandler), func() ([]byte, []byte) { return nil, nil })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	h.r.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- edge.Serve(ctx, &http.Server{
			Handler: server.Parties(), TLSConfig: edge.ServerTLS(func() tls.Certificate { return id.cert }, server.Known),
		}, ln)
	}()
	h.r.Cleanup(func() {
		cancel()
		h.r.must(<-ended)
	})
	return "https://" + ln.Addr().String()
}

// listenPeer has the peer serve the same.
func (h *house) listenPeer(dir string, id identity) (url string) {
	directory, err := json.Marshal(h.Directory)
	h.r.must(err)
	path := filepath.Join(dir, "directory.json")
	h.r.must(os.WriteFile(path, directory, 0o600))
	h.r.ask("registry.serve", map[string]any{
		"dep": matchertest.Dep, "now": h.Now(), "notAfter": h.Manifest.NotAfter, "directory": path,
		"cert": id.certPath, "key": id.keyPath, "connections": clients, "sizes": h.sizes,
	}, &url)
	return url
}
