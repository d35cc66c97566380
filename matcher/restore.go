// SPDX-License-Identifier: EUPL-1.2

package matcher

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/registry"
)

// A store that was restored from a backup lacks what came after it, and its parties do
// not. They send again what may be lacking (see registry.Restore); this file is what is
// taken of that, and what waits until it has come.

const (
	// restsFor is how long after a restore signals rest whose day has come: what renewed
	// them may be on its way. They match nobody meanwhile. Gateways doubt others as long.
	restsFor = 24 * time.Hour
	// lackFor is how long after a restore a match may lack members of whom it does not
	// know: as long as a statement may lie in a queue.
	lackFor = registry.MaxAge
)

// afterRestore tells whether the store was restored less than d ago.
func (m *Matcher) afterRestore(now time.Time, d time.Duration) bool {
	restores := m.Store.Restores()
	return len(restores) > 0 && now.Before(restores[len(restores)-1].At.Add(d))
}

// Rests tells whether signals whose day has come are left there, because the store was
// just restored.
func (m *Matcher) Rests(now time.Time) bool { return m.afterRestore(now, restsFor) }

// rests tells whether a signal is neither live nor ended: its day has come, and its party,
// who has said nothing since the restore, may have renewed it before. It stays in its
// match, so that nobody is told that it left if it was; it meets nobody, and nobody who
// asks is shown anything of it.
func (c *change) rests(s registry.Signal) bool {
	return c.m.Rests(c.adm.Now) && c.lacking(s) && s.Expires.Compare(c.adm.Day) <= 0
}

func (c *change) restsAt(m registry.Member) int {
	return slices.IndexFunc(c.resting, func(s registry.Signal) bool { return member(s) == m })
}

// rouse has a signal live that rests: it is to be ended.
func (c *change) rouse(m registry.Member) {
	if i := c.restsAt(m); i >= 0 {
		c.live, c.resting = append(c.live, c.resting[i]), slices.Delete(c.resting, i, i+1)
	}
}

// wake has a signal that rests live if the statement is its renewal.
func (c *change) wake(s api.Statement) {
	if i := c.restsAt(registry.Member{Party: s.Party, SID: s.SID}); i >= 0 && s.Rev > c.resting[i].Rev {
		c.resting[i].Expires = s.Expires
		c.rouse(member(c.resting[i]))
	}
}

// endResting ends what rests when a signal comes that the store did not have: it is not
// known whether the two have met.
func (c *change) endResting(revises bool) error {
	if revises || len(c.resting) == 0 {
		return nil
	}
	for _, s := range c.resting {
		if _, err := c.bury(s, api.Hash{}, "signal.expire"); err != nil {
			return err
		}
	}
	c.resting = nil
	return c.settle()
}

// again tells whether a statement may be one that was taken, and that the store lacks.
func (c *change) again(s api.Statement) bool { return registry.MayLack(c.adm.Restores, s.Issued) }

// lacking tells whether the store may lack revisions of a signal: it was taken before a
// restore, and its party has said nothing of it since.
func (c *change) lacking(s registry.Signal) bool {
	return len(c.adm.Restores) > 0 && s.Granted.Incarnation != c.m.Store.Incarnation()
}

// tellAgain tells a party who is in the match with its signal, of which the store may
// lack what was said since: so it knows who is not.
func (c *change) tellAgain(stored registry.Signal) error {
	if !c.lacking(stored) {
		return nil
	}
	return c.repeat(func(to, _ registry.Signal) bool { return to.Party == stored.Party })
}

// tellAnew tells all in a match of a signal that has come back to it, and its party of
// them: what their feeds hold may be of before it was missing.
func (c *change) tellAnew(s registry.Signal) error {
	if len(c.adm.Restores) == 0 || s.Rev == 1 && !c.again(s.Statement) {
		return nil
	}
	return c.repeat(func(to, of registry.Signal) bool { return to.Party == s.Party || of.Party == s.Party })
}

// repeat tells those who are in the match once more that others are.
func (c *change) repeat(which func(to, of registry.Signal) bool) error {
	match, err := c.tx.Match()
	if err != nil {
		return err
	}
	for _, to := range c.live {
		for _, of := range c.live {
			if to.Party == of.Party || !which(to, of) || !slices.Contains(match.Members, member(to)) || !slices.Contains(match.Members, member(of)) {
				continue
			}
			e := registry.Event{Kind: api.EventJoined, Match: match.ID, Recipient: member(to), Other: member(of), Rev: of.Rev}
			e.Idx, e.Epoch = c.idx, c.m.Keys.EpochAt(c.idx, to.Statement)
			if e.ID, err = api.EventIDOf(to.Party, to.SID, of.Party, of.SID, e.Kind, e.Rev); err != nil {
				return err
			}
			if err := c.tx.Repeat(e, c.adm.Day.AddDate(rememberYears, 0, 0)); err != nil {
				return err
			}
		}
	}
	return nil
}

// spare keeps the clock from ending a signal that the coming statement has renewed,
// which the store lacks.
func (c *change) spare(all []registry.Signal) {
	if c.coming == nil {
		return
	}
	for i, s := range all {
		if s.Party == c.coming.Party && s.SID == c.coming.SID && s.Rev < c.coming.Rev && c.lacking(s) {
			all[i].Expires = c.coming.Expires
		}
	}
}

// hasEnded tells whether a signal that is not stored has ended. To a restored store
// statements come again whose epochs have been closed since, and what ended before that
// has its tombstone where it ended. A signal that only the clock has ended, since the
// restore, may have been renewed before it.
func (c *change) hasEnded(s api.Statement) (bool, error) {
	tomb, ended, err := c.tx.Tombstone(s.Party, s.SID)
	if err != nil || len(c.adm.Restores) == 0 {
		return ended, err
	}
	if ended && tomb.Act.IsZero() && tomb.Granted.Incarnation == c.m.Store.Incarnation() && s.Rev > tomb.Rev && c.again(s) {
		return false, nil
	}
	for _, f := range s.Faces {
		if at := c.m.Keys.Idx(f.Epoch, f.Tag); !ended && err == nil && at != c.idx {
			_, ended, err = c.m.Store.Tombstone(context.Background(), at, s.Party, s.SID)
		}
	}
	return ended, err
}

// buryLacking takes the withdrawal of what the store lacks, as another backup may have it.
// How many others there are is not said: to withdraw what never was is no way to learn who
// signals a child.
func (c *change) buryLacking(act api.Act, hash api.Hash) (registry.Granted, error) {
	if err := c.m.takeAct(c.adm, act.Party); err != nil {
		return registry.Granted{}, err
	}
	granted, err := c.grant("signal.withdraw", audit.Delete, act.Party, act.SID, 0)
	if err != nil {
		return granted, err
	}
	gone := registry.Member{Party: act.Party, SID: act.SID}
	return granted, c.tx.Bury(gone, registry.Tombstone{Rev: act.Rev, Act: hash, Granted: granted, Until: graveUntil(act.Issued)})
}

// withdrawLacking is buryLacking of a signal of which the store knows nothing. Those who may
// have met it are told that it left; who never heard of it need not mind.
func (c *change) withdrawLacking(act api.Act, hash api.Hash) (registry.Granted, error) {
	granted, err := c.buryLacking(act, hash)
	if err != nil {
		return granted, err
	}
	if _, stands := c.find(act.Party); stands { // by another signal, so it has not left them
		return granted, nil
	}
	match, err := c.tx.Match()
	if err != nil {
		return granted, err
	}
	if match.ID.IsZero() {
		match.ID = api.NewMatchID()
	}
	c.mistake = act.Body == api.ReasonMistake
	gone := registry.Member{Party: act.Party, SID: act.SID}
	for _, o := range c.live {
		if err := c.emit(registry.Event{Kind: api.EventLeft, Match: match.ID, Recipient: member(o), Other: gone}); err != nil {
			return granted, err
		}
	}
	return granted, nil
}

// firstNumber is behind what number answers begin.
func (c *change) firstNumber() uint64 {
	if n := len(c.adm.Restores); n > 0 {
		return uint64(c.adm.Restores[n-1].At.Unix()) * api.AnswerNumbers
	}
	return 0
}

// Replayed counts what a replay of the journal has done.
type Replayed struct {
	Ended int `json:"ended"` // signals that were in the backup, and are not any more
	Known int `json:"known"` // endings in the journal, of these signals and of others
	Told  int `json:"told"`  // of those who had met one that was not in the backup
}

// Replay ends again what acts have ended since the backup from which the store was
// restored, in their order. Others are told that they left unless they were; of a signal
// that is not in the backup as well, for they may have been told that it joined. It
// keeps tombstones of all. Nothing else may use the store meanwhile.
func (m *Matcher) Replay(ctx context.Context, ended []registry.Ended) (done Replayed, err error) {
	// An act that came to the journal twice became durable the second time.
	last := make(map[registry.Member]int, len(ended))
	for i, e := range ended {
		last[e.Member] = i
	}
	var kept []registry.Ended
	for i, e := range ended {
		if last[e.Member] == i {
			last[e.Member] = len(kept)
			kept = append(kept, e)
		}
	}
	done.Known = len(kept)
	found := make(map[registry.Idx][]int)
	err = m.Store.Scan(ctx, registry.Idx{}, func(at registry.Idx, signals []registry.Signal, _ registry.Match) error {
		for _, s := range signals {
			if i, ok := last[member(s)]; ok {
				found[at] = append(found[at], i)
			}
		}
		return nil
	})
	if err != nil {
		return done, err
	}
	idxs := make([]registry.Idx, 0, len(found))
	for at, which := range found {
		slices.Sort(which)
		idxs = append(idxs, at)
		done.Ended += len(which)
	}
	slices.SortFunc(idxs, func(a, b registry.Idx) int { return bytes.Compare(a[:], b[:]) })
	adm, err := m.admission(ctx)
	if err != nil {
		return done, err
	}
	for batch := range slices.Chunk(idxs, sweepBatch) {
		err := m.Store.UpdateAll(ctx, batch, func(at registry.Idx, tx registry.Tx) error {
			return m.changeIn(adm, at, tx, func(c *change) error {
				for _, i := range found[at] {
					if err := c.replay(kept[i]); err != nil {
						return err
					}
				}
				return nil
			})
		})
		if err != nil {
			return done, err
		}
	}
	for batch := range slices.Chunk(kept, sweepBatch) {
		told, err := m.tellLeft(ctx, adm, batch)
		done.Told += told
		batch = slices.DeleteFunc(batch, func(e registry.Ended) bool { return !e.Expires.IsZero() })
		if err := errors.Join(err, m.Store.Bury(ctx, batch)); err != nil {
			return done, err
		}
	}
	return done, nil
}

// replay ends a signal as it was ended before, unless the clock has ended it meanwhile.
func (c *change) replay(e registry.Ended) error {
	c.rouse(e.Member)
	s, stands := c.find(e.Party)
	if !stands || s.SID != e.SID {
		return nil
	}
	if !e.Expires.IsZero() {
		return c.replayEarlier(s, e)
	}
	if _, err := c.grant("signal.replay", audit.Delete, e.Party, e.SID, uint64(len(c.live)-1)); err != nil {
		return err
	}
	if err := c.tx.EndSignal(s, e.Tombstone); err != nil {
		return err
	}
	c.live = slices.DeleteFunc(c.live, func(o registry.Signal) bool { return o.Party == s.Party })
	return c.settle()
}

// replayEarlier takes a signal away that a later revision has ended or will end earlier
// than the one in the backup says. If it lives, its party sends that revision again, and
// nobody needs to know.
func (c *change) replayEarlier(s registry.Signal, e registry.Ended) error {
	if s.Rev >= e.Tombstone.Rev {
		return nil
	}
	c.live = slices.DeleteFunc(c.live, func(o registry.Signal) bool { return o.Party == s.Party })
	if e.Expires.Compare(c.adm.Day) <= 0 {
		if _, err := c.bury(s, api.Hash{}, "signal.expire"); err != nil {
			return err
		}
		return c.settle()
	}
	before, err := c.tx.Match()
	if err != nil {
		return err
	}
	after := settle(before, c.live, c.resting...)
	return errors.Join(c.tx.RemoveSignal(s), c.tx.PutMatch(after.match))
}

// tellLeft puts into the feeds of those who had met a signal that it left, unless they
// hold it. There is nothing to be read with such an event when it is delivered, so it
// stands under no idx.
func (m *Matcher) tellLeft(ctx context.Context, adm registry.Admission, ended []registry.Ended) (told int, err error) {
	at, err := m.Store.Epoch(ctx)
	if err != nil {
		return 0, err
	}
	err = m.Store.Update(ctx, registry.Idx{}, func(tx registry.Tx) error {
		for _, e := range ended {
			for _, to := range e.Others {
				id, err := api.EventIDOf(to.Party, to.SID, e.Party, e.SID, api.EventLeft, 0)
				if err != nil {
					return err
				}
				held, err := m.Store.Held(ctx, to.Party, id)
				if err != nil {
					return err
				}
				if held {
					continue
				}
				told++
				event := registry.Event{ID: id, Kind: api.EventLeft, Match: e.Match, Epoch: at.Number, Recipient: to, Other: e.Member}
				if err := tx.Emit(event, adm.Day.AddDate(rememberYears, 0, 0)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return told, err
}
