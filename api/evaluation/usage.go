// SPDX-License-Identifier: EUPL-1.2

package evaluation

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/manifest"
)

// Usage asks what the registry took of every party on a UTC day.
type Usage func(ctx context.Context, day time.Time) (api.Usage, error)

const (
	maxUsage   = 16 << 20 // bytes: a hundred thousand parties
	usageWait  = 30 * time.Second
	lookEvery  = 10 * time.Minute
	registryBy = time.Hour // after midnight, when the registry has counted what was under way
)

// RegistryUsage asks the registry of the manifest in force, as the evaluator whose
// certificate this is.
func RegistryUsage(cert func() tls.Certificate, current func() *manifest.Manifest) Usage {
	return func(ctx context.Context, day time.Time) (u api.Usage, err error) {
		ctx, cancel := context.WithTimeout(ctx, usageWait)
		defer cancel()
		registry := current().Registry
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, registry.URL+"/v1/usage?day="+day.UTC().Format(time.DateOnly), nil)
		if err != nil {
			return u, err
		}
		transport := &http.Transport{TLSClientConfig: edge.ClientTLS(cert(), registry.TLS), DisableKeepAlives: true}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return u, err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return u, fmt.Errorf("evaluation: the registry answers with status %d", resp.StatusCode)
		}
		text, err := io.ReadAll(io.LimitReader(resp.Body, maxUsage))
		if err != nil {
			return u, err
		}
		return u, json.Unmarshal(text, &u)
	}
}

// Watch looks at the use of nights and days that are over, until ctx ends. What it
// cannot find out it tries again; nobody's request waits for it.
func (s *Server) Watch(ctx context.Context, usage Usage) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var looked time.Time
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		var err error
		if looked, err = s.look(ctx, looked, usage); err != nil && ctx.Err() == nil {
			s.log.Warn("use not looked at", "cause", err)
		}
	}
}

// look looks at the night if it is over, and at yesterday if that was not the day that
// was looked at last; it gives the day that was.
func (s *Server) look(ctx context.Context, looked time.Time, usage Usage) (time.Time, error) {
	now := s.now().UTC()
	m := s.evaluator.Manifest()
	s.unusual.Night(m.Policy, now)
	today := now.Truncate(24 * time.Hour)
	yesterday := today.AddDate(0, 0, -1)
	if yesterday.Equal(looked) || now.Sub(today) < registryBy {
		return looked, nil
	}
	totals, err := s.evaluator.On(yesterday)
	if err != nil {
		return looked, err
	}
	sent, err := usage(ctx, yesterday)
	if err != nil {
		return looked, err
	}
	done := make(map[api.PartyID]int, len(totals))
	for party, n := range totals {
		done[api.PartyID(party)] = n
	}
	s.unusual.Peers(done, s.directory(), m.Policy, yesterday)
	s.unusual.Submissions(done, sent, len(m.Open()))
	return yesterday, nil
}
