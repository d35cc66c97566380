// SPDX-License-Identifier: EUPL-1.2

package matcher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/registry"
)

// The sweep is in no hurry: what has expired matches nobody, swept or not. On the first
// of a month a twelfth of all signals ends, and as it ends so does the registry serve: a
// batch is small, so that nobody waits long behind it, and between two batches the sweep
// rests for so much longer than the last one took.
const sweepRests = 3 // times; so it works a quarter of the time

// sweepBatch is how many signals the sweep ends in one commit. Only tests set it.
var sweepBatch = 200

// Sweep ends what has expired by the clock, and all there is when the legal basis has
// ended, and lets the store drop what nobody needs any more. It returns how many idxs
// it visited.
func (m *Matcher) Sweep(ctx context.Context) (int, error) {
	adm, err := m.admission(ctx)
	if err != nil || m.Rests(adm.Now) && !adm.Sunset() {
		return 0, err
	}
	s := sweep{m: m}
	for more := true; more; {
		if err := s.rest(ctx); err != nil {
			return s.swept, err
		}
		s.began = time.Now()
		var err error
		if s.adm, err = m.admission(ctx); err != nil {
			return s.swept, err
		}
		if more, err = s.batch(ctx); err != nil {
			return s.swept, err
		}
	}
	return s.swept, nil
}

// A sweep is one call of Sweep.
type sweep struct {
	m     *Matcher
	adm   registry.Admission
	began time.Time // the last batch
	swept int

	last   registry.Idx // the first of the last batch of what was due
	due    bool         // whether all of that has ended
	walked registry.Idx // after a sunset, up to where all has ended
	ended  bool         // whether that is everything
}

// rest waits as long as the last batch allows.
func (s *sweep) rest(ctx context.Context) error {
	if s.began.IsZero() {
		return ctx.Err()
	}
	wait := time.NewTimer(sweepRests * time.Since(s.began))
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// batch does the next piece of work, and tells whether there is more.
func (s *sweep) batch(ctx context.Context) (more bool, err error) {
	switch {
	case !s.due:
		return true, s.expire(ctx)
	case s.adm.Sunset() && !s.ended:
		return true, s.sunset(ctx)
	}
	more, err = s.m.forgetLog(ctx, s.adm.Now, 10*sweepBatch)
	if more || err != nil {
		return more, err
	}
	return s.m.Store.Trim(ctx, s.adm.Day, 10*sweepBatch)
}

// keepLogYears is how long records of the log are kept: as NEN 7513 is read in Dutch care.
const keepLogYears = 5

// forgetLog erases records of the log whose time is over, max at most, and tells whether
// there may be more. Their hashes stay.
func (m *Matcher) forgetLog(ctx context.Context, now time.Time, max int) (more bool, err error) {
	before := now.AddDate(-keepLogYears, 0, 0)
	var old []int64
	err = m.Store.Records(ctx, m.oldestRecord.Load(), func(number int64, leaf audit.Leaf) error {
		r, err := audit.ParseRecord(leaf.Record)
		if err != nil { // of what is published, which is about nobody
			return nil
		}
		if !r.Time.Before(before) || len(old) == max {
			m.oldestRecord.Store(number)
			return errEnough
		}
		old = append(old, number)
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	if err != nil || len(old) == 0 {
		return false, err
	}
	return len(old) == max, m.Store.Erase(ctx, old)
}

// expire ends what is due.
func (s *sweep) expire(ctx context.Context) error {
	due, err := s.m.Store.Due(ctx, s.adm.Day, sweepBatch)
	if err != nil {
		return err
	}
	if len(due) > 0 {
		if due[0] == s.last {
			return fmt.Errorf("matcher: %w: a day of expiry without its signal", registry.ErrCorrupt)
		}
		s.last = due[0]
	}
	s.due = len(due) < sweepBatch
	return s.end(ctx, due)
}

var errEnough = errors.New("matcher: enough for a batch")

// sunset ends the next of all signals.
func (s *sweep) sunset(ctx context.Context) error {
	var all []registry.Idx
	err := s.m.Store.Scan(ctx, s.walked, func(idx registry.Idx, _ []registry.Signal, _ registry.Match) error {
		if len(all) == sweepBatch {
			s.walked = idx
			return errEnough
		}
		all = append(all, idx)
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	s.ended = err == nil
	return s.end(ctx, all)
}

// end does the clock's work under some idxs.
func (s *sweep) end(ctx context.Context, idxs []registry.Idx) error {
	if len(idxs) == 0 {
		return nil
	}
	slices.SortFunc(idxs, func(a, b registry.Idx) int { return bytes.Compare(a[:], b[:]) })
	idxs = slices.Compact(idxs)
	err := s.m.Store.UpdateAll(ctx, idxs, func(idx registry.Idx, tx registry.Tx) error {
		return s.m.endIn(s.adm, idx, tx)
	})
	if err == nil {
		s.swept += len(idxs)
	}
	return err
}

// Scrub takes a step in what brings destroyed rows off the disk within a week; to be
// called every few minutes. It needs room, and waits where there is little.
func (m *Matcher) Scrub(ctx context.Context) error {
	if slices.Contains(m.ReadOnly.Why(), ReasonDisk) {
		return nil
	}
	_, err := m.Store.Scrub(ctx, m.Now())
	return err
}
