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
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/unusual"
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
	before := yesterday.AddDate(0, 0, -1)
	var days [2]unusual.Day // yesterday, and the day before
	for i, day := range []time.Time{yesterday, before} {
		var err error
		if days[i], err = s.day(ctx, day, usage); err != nil {
			return looked, err
		}
	}
	s.unusual.Peers(days[0].Evaluated, s.directory(), m.Policy, yesterday)
	s.unusual.Submissions(days[1], days[0], openOn(m, encoding.DateOf(before)))
	return yesterday, nil
}

func (s *Server) day(ctx context.Context, day time.Time, usage Usage) (unusual.Day, error) {
	totals, err := s.evaluator.On(day)
	if err != nil {
		return unusual.Day{}, err
	}
	d := unusual.Day{Evaluated: make(map[api.PartyID]int, len(totals))}
	for party, n := range totals {
		d.Evaluated[api.PartyID(party)] = n
	}
	d.Sent, err = usage(ctx, day)
	return d, err
}

// openOn is how many epochs were open on a day, as far as the manifest tells.
func openOn(m *manifest.Manifest, day encoding.Date) (n int) {
	for _, e := range m.Epochs {
		if e.Opens.Compare(day) <= 0 && (e.State == manifest.EpochOpen || e.Closes.Compare(day) > 0) {
			n++
		}
	}
	return n
}
