// SPDX-License-Identifier: EUPL-1.2

// Package witness asks an evaluator to cosign the registry's log, as the registry
// (c2sp.org/tlog-witness).
//
//	c := witness.New(e, cert)           e from the manifest in force
//	line, err := c.Add(ctx, add)        SizeError: it has cosigned another size
//	note, err := c.Latest(ctx)          what it has cosigned last
//
// What comes back is believed for the cosignature that is in it, by the key that the
// manifest names, and for nothing else.
package witness

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	cosign "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"

	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/manifest"
)

// LatestPath is where a witness tells what it has cosigned last, beside
// audit.WitnessPath.
const LatestPath = "/checkpoint"

var (
	// ErrNone says that a witness has cosigned nothing yet.
	ErrNone = errors.New("witness: it has cosigned nothing yet")
	// ErrAnswer says that an answer is not one of a witness, or not under its key.
	ErrAnswer = errors.New("witness: the answer holds no cosignature under the key that the manifest names")
)

// A SizeError says that a witness has cosigned another size than Old, which it is; or,
// when that is the size that was asked for, another tree of that size.
type SizeError struct {
	Size int64
}

func (e *SizeError) Error() string { return "witness: it has cosigned another size or tree" }

// A StatusError is any other refusal: 403 another log key, 404 another log, 422 a proof
// that fails.
type StatusError struct {
	Status int
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("witness: it answers with status %d", e.Status)
}

const (
	maxAnswer = 16 << 10
	within    = 10 * time.Second
)

// A Client asks one witness. Goroutines may share it.
type Client struct {
	url  string
	pin  manifest.Pin
	key  note.Verifier
	cert func() tls.Certificate

	mu        sync.Mutex
	shown     []byte // the certificate that transport shows, DER
	transport *http.Transport
}

// New makes a client for an evaluator that the manifest names a witness. cert gives the
// registry's certificate; it is asked at every request. Close ends its connections.
func New(e manifest.Evaluator, cert func() tls.Certificate) (*Client, error) {
	key, err := cosign.NewVerifierForCosignatureV1(e.Witness)
	if err != nil {
		return nil, audit.ErrLogKey
	}
	return &Client{url: strings.TrimSuffix(e.URL, "/"), pin: e.TLS, key: key, cert: cert}, nil
}

// Add asks for a cosignature of a checkpoint and gives its line, to be put behind the
// checkpoint. It waits ten seconds at most. Beside faults of the network the errors are
// a *SizeError, a *StatusError, and ErrAnswer.
func (c *Client) Add(ctx context.Context, a audit.Add) (line []byte, err error) {
	status, kind, answer, err := c.ask(ctx, http.MethodPost, audit.WitnessPath, a.Marshal())
	switch {
	case err != nil:
		return nil, err
	case status == http.StatusConflict && kind == audit.SizeType:
		text, ok := strings.CutSuffix(string(answer), "\n")
		size, err := strconv.ParseInt(text, 10, 64)
		if !ok || err != nil || size < 0 || strconv.FormatInt(size, 10) != text {
			return nil, ErrAnswer
		}
		return nil, &SizeError{size}
	case status != http.StatusOK:
		return nil, &StatusError{status}
	}
	signed, err := c.own(append(bytes.Clone(a.Checkpoint), answer...))
	if err != nil {
		return nil, err
	}
	return signed[bytes.Index(signed, []byte("\n\n"))+2:], nil
}

// Latest gives the checkpoint that the witness has cosigned last, with the log's
// signature and its own; ErrNone when there is none.
func (c *Client) Latest(ctx context.Context) ([]byte, error) {
	status, _, answer, err := c.ask(ctx, http.MethodGet, LatestPath, nil)
	switch {
	case err != nil:
		return nil, err
	case status == http.StatusNotFound:
		return nil, ErrNone
	case status != http.StatusOK:
		return nil, &StatusError{status}
	}
	_, err = c.own(answer)
	return answer, err
}

// own is a note with the witness's signatures alone.
func (c *Client) own(msg []byte) ([]byte, error) {
	n, err := note.Open(msg, note.VerifierList(c.key))
	if err != nil {
		return nil, ErrAnswer
	}
	return note.Sign(&note.Note{Text: n.Text, Sigs: n.Sigs})
}

// Close ends the client's connections.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.transport != nil {
		c.transport.CloseIdleConnections()
	}
}

func (c *Client) ask(ctx context.Context, method, path string, body []byte) (status int, kind string, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, "", nil, err
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	}
	resp, err := c.over().RoundTrip(req)
	if err != nil {
		return 0, "", nil, err
	}
	defer resp.Body.Close()
	kind, _, _ = mime.ParseMediaType(resp.Header.Get("Content-Type"))
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(answer) > maxAnswer {
		err = ErrAnswer
	}
	return resp.StatusCode, kind, answer, err
}

// over is connections that show the registry's certificate of now.
func (c *Client) over() *http.Transport {
	cert := c.cert()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.transport == nil || !bytes.Equal(c.shown, cert.Certificate[0]) {
		if c.transport != nil {
			c.transport.CloseIdleConnections()
		}
		c.shown = cert.Certificate[0]
		c.transport = &http.Transport{TLSClientConfig: edge.ClientTLS(cert, c.pin), MaxConnsPerHost: 4, IdleConnTimeout: time.Minute}
	}
	return c.transport
}
