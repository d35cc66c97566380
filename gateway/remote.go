// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/api/edge"
)

// An endpoint is a server by its address and the key that it must have.
type endpoint struct {
	url string
	pin [32]byte
}

// maxConnections that are kept for later requests of a party to one server.
const maxConnections = 16

// clients keeps a party's connections, one pool per endpoint. Parties never share
// one: the certificate says who asks.
type clients struct {
	mu sync.Mutex
	of map[endpoint]*http.Client
}

func (p *Party) client(e endpoint) *http.Client {
	p.clients.mu.Lock()
	defer p.clients.mu.Unlock()
	if c := p.clients.of[e]; c != nil {
		return c
	}
	c := &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
			TLSClientConfig:        edge.ClientTLS(p.tls.Current(), e.pin),
			TLSHandshakeTimeout:    5 * time.Second,
			MaxIdleConnsPerHost:    maxConnections,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: 16 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	p.clients.of[e] = c
	return c
}

// closeClients ends the connections that nobody uses. Those in use end after it, for
// nothing new is asked over them.
func (p *Party) closeClients() {
	p.clients.mu.Lock()
	defer p.clients.mu.Unlock()
	for _, c := range p.clients.of {
		c.CloseIdleConnections()
	}
	clear(p.clients.of)
}

// call asks an endpoint and decodes its answer. Every error is an *api.Error:
// the code of the problem that came back, or CodeUnavailable for whatever is not
// a refusal that the protocol knows, so that a proxy's error page is not taken
// for a registry's word.
func (p *Party) call(ctx context.Context, e endpoint, method, path string, body, answer any, limit int64) error {
	text, err := p.fetch(ctx, e, method, path, body, limit)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return api.Refuse(api.CodeUnavailable, fmt.Errorf("gateway: an answer of %s is not what the protocol says", e.url))
	}
	return nil
}

// lines are a body of one JSON text a line.
type lines []byte

// fetch is call without decoding.
func (p *Party) fetch(ctx context.Context, e endpoint, method, path string, body any, limit int64) ([]byte, error) {
	var send io.Reader
	media := "application/json"
	switch body := body.(type) {
	case nil:
	case lines:
		send, media = bytes.NewReader(body), "application/x-ndjson"
	default:
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		send = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(e.url, "/")+path, send)
	if err != nil {
		return nil, api.Refuse(api.CodeUnavailable, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", media)
	}
	resp, err := p.client(e).Do(req)
	if err != nil {
		return nil, api.Refuse(api.CodeUnavailable, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return nil, api.Refuse(api.CodeUnavailable, err)
	case int64(len(text)) > limit:
		return nil, api.Refuse(api.CodeUnavailable, errors.New("gateway: an answer is over its limit"))
	case resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusCreated:
		return text, nil
	}
	return nil, refusal(resp, text)
}

// refusal reads a problem. The status must be the one that belongs to its code.
func refusal(resp *http.Response, text []byte) error {
	wait := time.Duration(0)
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		wait = time.Duration(min(s, maxRetryAfter)) * time.Second
	}
	cause := fmt.Errorf("gateway: status %d", resp.StatusCode)
	var problem api.Problem
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if kind == "application/problem+json" && json.Unmarshal(text, &problem) == nil {
		if name, ok := strings.CutPrefix(problem.Type, api.ProblemType("")); ok {
			if code := api.Code(name); code.Refusal().Status == resp.StatusCode {
				return api.RefuseFor(code, cause, wait)
			}
		}
	}
	return api.RefuseFor(api.CodeUnavailable, cause, wait)
}

// Waiting after a failure: doubling from backoffFirst to backoffMost, each time
// somewhere in the upper half of it, so that gateways do not come back together.
const (
	backoffFirst  = 250 * time.Millisecond
	backoffMost   = 15 * time.Second
	maxRetryAfter = 32 * 24 * 3600 // seconds: a month's budget can be spent on its first day
)

func backoff(failures int) time.Duration {
	d := backoffMost
	if failures < 10 {
		d = min(backoffFirst<<max(failures-1, 0), backoffMost)
	}
	return d/2 + rand.N(d/2+1)
}
