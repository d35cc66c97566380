// SPDX-License-Identifier: EUPL-1.2

package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"
)

// An Outcome is what came of a request; fixed words, for metrics and for people.
type Outcome string

// Outcomes of a request.
const (
	Delivered   Outcome = "delivered"   // 2xx
	Gone        Outcome = "gone"        // 410: the receiver wants no more
	Busy        Outcome = "busy"        // 429 or 503
	Refused     Outcome = "refused"     // another 4xx
	Failed      Outcome = "failed"      // another 5xx
	Redirected  Outcome = "redirected"  // 3xx, which is not followed
	TimedOut    Outcome = "timed-out"   // no answer in time
	Unreachable Outcome = "unreachable" // no connection, or no answer over it
	Forbidden   Outcome = "forbidden"   // its address lies in a network that is not allowed
	Untrusted   Outcome = "untrusted"   // its certificate does not verify
	Stopped     Outcome = "stopped"     // the context ended; nothing is known
)

// An Answer is what came of a request.
type Answer struct {
	Outcome    Outcome
	Status     int           // of HTTP; 0 without an answer
	RetryAfter time.Duration // what a busy receiver asked for, at most MaxRetryAfter; 0 for nothing
}

// Limits on receivers that are slow, greedy or far away.
const (
	requestTime   = 20 * time.Second
	maxHeader     = 16 << 10
	maxAnswer     = 4 << 10
	MaxRetryAfter = 24 * time.Hour
	MaxURL        = 2048 // bytes
)

// ErrURL says that an address cannot be asked.
var ErrURL = errors.New("webhook: the address must be https://host/…, without a user or a fragment")

// Options are what the configuration allows.
type Options struct {
	Allow []netip.Prefix // networks of the party's own, where a case system stands
	Plain bool           // http:// too
	Roots *x509.CertPool // authorities of certificates; nil for the machine's
}

// A Client sends events. It is safe for concurrent use, and every host is asked by
// itself.
type Client struct {
	http  *http.Client
	plain bool
}

// NewClient makes a client.
func NewClient(o Options) *Client {
	dialer := &net.Dialer{Timeout: requestTime / 2, Control: control(o.Allow)}
	return &Client{plain: o.Plain, http: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  nil, // the environment's would be asked in our place
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.Roots},
			TLSHandshakeTimeout:    requestTime / 2,
			MaxResponseHeaderBytes: maxHeader,
			DisableCompression:     true,
			IdleConnTimeout:        time.Minute,
			MaxIdleConnsPerHost:    2,
		},
	}}
}

// Close lets go of connections that are idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Check tells whether an address can be asked, by its form: ErrURL, which does not
// repeat it. Where it leads is looked at when it is dialed.
func (c *Client) Check(address string) error {
	_, err := c.parse(address)
	return err
}

func (c *Client) parse(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil, len(address) > MaxURL, u.Scheme != "https" && !(c.plain && u.Scheme == "http"):
		return nil, ErrURL
	case u.Hostname() == "", u.User != nil, u.Fragment != "", u.Opaque != "":
		return nil, ErrURL
	}
	return u, nil
}

// Post sends a body once. It never returns an error: those of net/http hold the
// address, which can hold a secret.
func (c *Client) Post(ctx context.Context, address, id string, at time.Time, body []byte, secrets []Secret) Answer {
	u, err := c.parse(address)
	if err != nil {
		return Answer{Outcome: Unreachable}
	}
	limited, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	r := (&http.Request{
		Method: http.MethodPost, URL: u, Host: u.Host, ContentLength: int64(len(body)),
		Body:    io.NopCloser(bytes.NewReader(body)),
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
		Header: http.Header{
			"Content-Type": {MediaType}, "User-Agent": {"Seinhuis"},
			"Webhook-Id": {id}, "Webhook-Timestamp": {strconv.FormatInt(at.Unix(), 10)},
			"Webhook-Signature": {Sign(id, at, body, secrets...)},
		},
	}).WithContext(limited)
	resp, err := c.http.Do(r)
	switch {
	case err != nil && ctx.Err() != nil:
		return Answer{Outcome: Stopped}
	case err != nil:
		return Answer{Outcome: outcomeOf(err)}
	}
	defer resp.Body.Close()
	io.CopyN(io.Discard, resp.Body, maxAnswer) // so that the connection can be used again
	return answerOf(resp, at)
}

func outcomeOf(err error) Outcome {
	if errors.Is(err, errNetwork) {
		return Forbidden
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return TimedOut
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return Untrusted
	}
	return Unreachable
}

func answerOf(resp *http.Response, now time.Time) Answer {
	a := Answer{Status: resp.StatusCode}
	switch s := resp.StatusCode; {
	case s >= 200 && s < 300:
		a.Outcome = Delivered
	case s == http.StatusGone:
		a.Outcome = Gone
	case s == http.StatusTooManyRequests, s == http.StatusServiceUnavailable:
		a.Outcome, a.RetryAfter = Busy, retryAfter(resp.Header.Get("Retry-After"), now)
	case s >= 300 && s < 400:
		a.Outcome = Redirected
	case s >= 400 && s < 500:
		a.Outcome = Refused
	default:
		a.Outcome = Failed
	}
	return a
}

// retryAfter reads seconds or a date (RFC 9110, section 10.2.3).
func retryAfter(text string, now time.Time) time.Duration {
	var d time.Duration
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
		d = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), MaxRetryAfter)
}
