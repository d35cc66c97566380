// SPDX-License-Identifier: EUPL-1.2

package exchange

import (
	"context"
	"errors"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// ReadQuota tells a party what it may still send today.
func (o operations) ReadQuota(ctx context.Context, _ ReadQuotaRequestObject) (ReadQuotaResponseObject, error) {
	quota, err := o.Matcher.Quota(ctx, PartyOf(ctx))
	return ReadQuota200JSONResponse{Body: quota}, err
}

var errDay = errors.New("exchange: usage is kept of the last week")

// ReadUsage tells an evaluator what was taken of every party.
func (o operations) ReadUsage(ctx context.Context, r ReadUsageRequestObject) (ReadUsageResponseObject, error) {
	day, today := r.Params.Day.Time, o.Matcher.Time().UTC().Truncate(24*time.Hour)
	if day.After(today) || day.Before(today.AddDate(0, 0, -7)) {
		return nil, api.Refuse(api.CodeMalformed, errDay)
	}
	usage, err := o.Matcher.Usage(ctx, encoding.DateOf(day))
	return ReadUsage200JSONResponse{Body: usage}, err
}

// took counts new signals for the night.
func (s *Server) took(party api.PartyID, n int) {
	_, dir := s.Matcher.Trust()
	if p, ok := dir.Party(party); ok && n > 0 {
		s.unusual.Count(p, n, s.Matcher.Time())
	}
}

// keepEvery is how much of the counts of quotas a crash forgets.
const keepEvery = 5 * time.Second

// Keep keeps what parties have sent, and looks at the use of nights and days that are
// over, until ctx ends. An error is of the store.
func (s *Server) Keep(ctx context.Context) error {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	looked := time.Time{}
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return s.Matcher.KeepCounts(context.WithoutCancel(ctx))
		}
		if err := s.Matcher.KeepCounts(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		var err error
		if looked, err = s.look(ctx, looked); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// look looks at the night if it is over, and at yesterday if that was not the day that
// was looked at last; it gives the day that is now.
func (s *Server) look(ctx context.Context, looked time.Time) (time.Time, error) {
	now := s.Matcher.Time().UTC()
	man, dir := s.Matcher.Trust()
	s.unusual.Night(man.Policy, now)
	yesterday := now.Truncate(24*time.Hour).AddDate(0, 0, -1)
	if yesterday.Equal(looked) {
		return looked, nil
	}
	usage, err := s.Matcher.Usage(ctx, encoding.DateOf(yesterday))
	if err != nil {
		return looked, err
	}
	done := map[api.PartyID]int{}
	for _, one := range usage.Items {
		done[one.Party] = one.Signals
	}
	s.unusual.Peers(done, dir, man.Policy, yesterday)
	return yesterday, nil
}
