// SPDX-License-Identifier: EUPL-1.2

package matcher

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/registry"
)

// Rebuilt counts what a rebuild has done.
type Rebuilt struct {
	Visited     int `json:"visited"`             // idxs
	Moved       int `json:"moved"`               // signals that stand under another idx now
	Readdressed int `json:"readdressed"`         // events that were not delivered yet
	Destroyed   int `json:"destroyed,omitempty"` // signals that were lost with a compromised epoch
	Stripped    int `json:"stripped,omitempty"`  // signals that lost a card and keybox of one

	// Behind counts, with ErrBehind, each party's signals that cannot move.
	Behind map[api.PartyID]int `json:"behind,omitempty"`
}

// ErrBehind says that live signals have no face in the oldest open epoch.
var ErrBehind = errors.New("matcher: nothing was changed: live signals have no face in the manifest's oldest open epoch, and the epoch before must stay open until they have expired or been renewed")

// Rebuild puts every signal where it belongs in the manifest's oldest open epoch,
// makes the matches and the days of expiry anew from the signals, and tells every
// party of a match what it was not told, answers included: when the epoch in force has changed, after
// a restore, or when Check found a difference. Where everything is as it should be it
// changes nothing that a party can see. Nothing else may use the store meanwhile.
//
// A match goes where its signals go with what they answered each other, and stays the
// same match. If they do not all
// have the same tag in the new epoch, it goes with most of them, and both sides are
// told that the others left.
//
// Of a compromised epoch nothing is carried along: a signal that is lost with it (see
// [manifest.Manifest.Lost]) is destroyed where it stands, as if it had been withdrawn, and
// others lose what they have of the epoch beside the one by which they go on. Then all that
// was deleted is taken off the disk.
//
// It can end anywhere, by an error or a loss of power, and goes on when it is called
// again. What has been done is told by where things are: idxs of two epochs never
// collide, so a signal has moved when it stands where it belongs, and an event when
// its epoch is the new one. Events go first, all of them, as long as their signals
// still stand where they say; then each idx is emptied in the commit that fills
// those to which its signals go. Only then does the store say that it is of the new
// epoch, and until then Ready keeps everybody out.
func (m *Matcher) Rebuild(ctx context.Context) (Rebuilt, error) {
	r := rebuilding{m: m}
	var err error
	if r.adm, err = m.admission(ctx); err != nil {
		return r.done, err
	}
	if r.from, err = m.Store.Epoch(ctx); err != nil {
		return r.done, err
	}
	r.epoch = r.from.Number
	if open := r.adm.Manifest.Open(); len(open) > 0 {
		r.epoch = open[0].Number
	}
	for _, step := range []func(context.Context) error{r.expire, r.readdress, r.move, r.purge, r.finish} {
		if err := step(ctx); err != nil {
			return r.done, err
		}
	}
	return r.done, nil
}

// rebuildBatch is how many idxs of the store become durable in one commit. Only tests
// set it.
var rebuildBatch = 500

// A rebuilding is one call of Rebuild. All of it happens at one time by the clock:
// what expires meanwhile is left for the sweep.
type rebuilding struct {
	m     *Matcher
	adm   registry.Admission
	from  registry.Epoch // of the store; 0 when it is new
	epoch uint64         // to which it goes, often the same
	done  Rebuilt

	destroyed, stripped atomic.Int64 // idxs are changed side by side

	// The batch: what comes to each idx in it, and which of them were scanned.
	coming  map[registry.Idx][]arrival
	scanned map[registry.Idx]bool
}

// An arrival is signals of one idx that go to another, and the match they were in.
type arrival struct {
	signals []registry.Signal
	match   registry.Match
	heir    bool // the match goes with these
}

// expire ends what the clock has ended, and what is lost with a compromised epoch, where it
// stands, so that all that is left must move. It refuses if something cannot.
func (r *rebuilding) expire(ctx context.Context) error {
	var due []registry.Idx
	behind := make(map[api.PartyID]int)
	err := r.m.Store.Scan(ctx, registry.Idx{}, func(idx registry.Idx, signals []registry.Signal, _ registry.Match) error {
		ends := false
		for _, s := range signals {
			if r.adm.EndOf(s).Compare(r.adm.Day) <= 0 || r.lost(s) {
				ends = true
			} else if _, ok := r.m.Keys.Place(s.Statement, r.epoch); !ok {
				behind[s.Party]++
			}
		}
		if ends {
			due = append(due, idx)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(behind) > 0 {
		r.done.Behind = behind
		return ErrBehind
	}
	for batch := range slices.Chunk(due, sweepBatch) {
		err := r.m.Store.UpdateAll(ctx, batch, func(idx registry.Idx, tx registry.Tx) error {
			c := &change{m: r.m, adm: r.adm, idx: idx, tx: tx}
			none := func(registry.Signal) bool { return false }
			return errors.Join(c.expire(r.adm.EndOf, none), r.destroy(c))
		})
		if err != nil {
			return err
		}
	}
	r.done.Destroyed = int(r.destroyed.Load())
	return nil
}

func (r *rebuilding) lost(s registry.Signal) bool {
	epochs := make([]uint64, len(s.Faces))
	for i, f := range s.Faces {
		epochs[i] = f.Epoch
	}
	return r.adm.Manifest.Lost(epochs)
}

// destroy ends the signals under an idx that are lost, all at once: they are not told of
// each other. What ended them is the manifest, so it stands where an act would: in the
// tombstone, and so in the journal.
func (r *rebuilding) destroy(c *change) error {
	lost := slices.DeleteFunc(slices.Clone(c.live), func(s registry.Signal) bool { return !r.lost(s) })
	c.live = slices.DeleteFunc(c.live, r.lost)
	for _, s := range lost {
		if _, err := c.bury(s, r.adm.Manifest.Hash(), "signal.compromise"); err != nil {
			return err
		}
	}
	r.destroyed.Add(int64(len(lost)))
	return c.settle()
}

// strip takes away what a signal has of compromised epochs beside the face by which it goes
// on. Its tag there stands in what its party signed, until that is revised.
func (r *rebuilding) strip(s *registry.Signal) {
	for i, f := range s.Faces {
		if r.adm.Manifest.Compromised(f.Epoch) && len(s.Sealed[i].Card) > 0 {
			s.Sealed = slices.Clone(s.Sealed)
			s.Sealed[i] = api.SealedFace{}
			r.stripped.Add(1)
		}
	}
}

// readdress sends events after the signals of their recipients, which are about to
// go. An event whose recipient has no signal any more stays as it is: there is
// nothing to be found, here or there.
func (r *rebuilding) readdress(ctx context.Context) (err error) {
	r.done.Readdressed, err = r.m.Store.Readdress(ctx, func(e registry.Event) (registry.Event, error) {
		of := e.Recipient
		if of.SID.IsZero() { // it is offered a signal
			of = e.Other
		}
		own, ok, err := r.m.Store.Signal(ctx, e.Idx, of.Party)
		if err != nil || !ok || own.SID != of.SID {
			return e, err
		}
		if to, ok := r.m.Keys.Place(own.Statement, r.epoch); ok {
			e.Idx, e.Epoch = to, r.epoch
		}
		return e, nil
	})
	return err
}

func (r *rebuilding) move(ctx context.Context) error {
	r.coming, r.scanned = make(map[registry.Idx][]arrival), make(map[registry.Idx]bool)
	err := r.m.Store.Scan(ctx, registry.Idx{}, func(idx registry.Idx, signals []registry.Signal, match registry.Match) error {
		r.plan(idx, signals, match)
		if len(r.scanned) < rebuildBatch {
			return nil
		}
		return r.commit(ctx)
	})
	if err != nil {
		return err
	}
	return r.commit(ctx)
}

// plan sorts the signals under an idx by where they go.
func (r *rebuilding) plan(idx registry.Idx, signals []registry.Signal, match registry.Match) {
	r.scanned[idx] = true
	if _, ok := r.coming[idx]; !ok {
		r.coming[idx] = nil // visited, even if nothing comes
	}
	var heir registry.Idx
	groups := make(map[registry.Idx][]registry.Signal)
	for _, s := range signals {
		to, _ := r.m.Keys.Place(s.Statement, r.epoch)
		groups[to] = append(groups[to], s)
		if len(groups[to]) > len(groups[heir]) {
			heir = to
		}
	}
	if len(groups[idx]) > 0 {
		heir = idx
	}
	for to, group := range groups {
		if to != idx {
			for i := range group {
				r.strip(&group[i])
			}
			r.coming[to] = append(r.coming[to], arrival{group, match, to == heir})
		}
	}
}

// commit does what was planned.
func (r *rebuilding) commit(ctx context.Context) error {
	idxs := make([]registry.Idx, 0, len(r.coming))
	moved := 0
	for idx, arrivals := range r.coming {
		idxs = append(idxs, idx)
		for _, a := range arrivals {
			moved += len(a.signals)
		}
	}
	err := r.m.Store.UpdateAll(ctx, idxs, func(idx registry.Idx, tx registry.Tx) error {
		return r.m.changeIn(r.adm, idx, tx, func(c *change) error {
			if err := c.endResting(false); err != nil {
				return err
			}
			if r.scanned[idx] {
				if err := c.depart(r.epoch); err != nil {
					return err
				}
			}
			for i := range c.live {
				r.strip(&c.live[i])
			}
			for _, a := range r.coming[idx] {
				if err := c.arrive(ctx, a); err != nil {
					return err
				}
			}
			return c.rebuild(ctx)
		})
	})
	if err != nil {
		return err
	}
	r.done.Visited += len(r.scanned)
	r.done.Moved += moved
	clear(r.coming)
	clear(r.scanned)
	return nil
}

// purge takes what was destroyed off the disk, if an epoch has been compromised since the
// last rebuild.
func (r *rebuilding) purge(ctx context.Context) error {
	r.done.Stripped = int(r.stripped.Load())
	for _, epoch := range compromised(r.adm.Manifest) {
		if !slices.Contains(r.from.Purged, epoch) {
			return r.m.Store.Purge(ctx, r.m.Now())
		}
	}
	return nil
}

func (r *rebuilding) finish(ctx context.Context) error {
	at := registry.Epoch{Number: r.epoch, Since: r.from.Since, Purged: compromised(r.adm.Manifest)}
	if r.epoch != r.from.Number && r.from.Number != 0 {
		at.Since = r.adm.Now
	}
	if at.Number == r.from.Number && slices.Equal(at.Purged, r.from.Purged) {
		return nil
	}
	if err := r.m.Store.SetEpoch(ctx, at); err != nil {
		return err
	}
	r.m.epoch.Store(&at)
	return nil
}

// depart takes away the signals that belong under another idx. Settling tells those
// who stay that the others left; if nobody stays it ends the match and tells nobody.
func (c *change) depart(epoch uint64) error {
	var stay []registry.Signal
	for _, s := range c.live {
		if to, _ := c.m.Keys.Place(s.Statement, epoch); to == c.idx {
			stay = append(stay, s)
		} else if err := c.tx.RemoveSignal(s); err != nil {
			return err
		}
	}
	c.live = stay
	return nil
}

// arrive takes up signals from another idx; rebuild stores them. Those who were in
// a match with them and went elsewhere have left. Where a match stands already, it
// stays the match.
func (c *change) arrive(ctx context.Context, a arrival) error {
	var buried []registry.Signal
	for _, s := range a.signals {
		if twin, stands := c.find(s.Party); stands {
			// The party took one child for two. One signal of it can stand: the longer.
			if twin.Expires.Compare(s.Expires) > 0 {
				twin, s = s, twin
			}
			if _, err := c.bury(twin, api.Hash{}, "signal.merge"); err != nil {
				return err
			}
			c.live = slices.DeleteFunc(c.live, func(o registry.Signal) bool { return o.Party == s.Party })
			buried = append(buried, twin)
		}
		c.live = append(c.live, s)
	}
	// Who was told of the signal that ended is told that it left, from whichever idx
	// and in whichever batch he came.
	for _, twin := range buried {
		for _, to := range c.live {
			told, err := c.m.told(ctx, checkedSignal{member(to), to.Rev}, checkedSignal{member(twin), twin.Rev})
			if told && err == nil {
				err = c.emit(registry.Event{Kind: api.EventLeft, Match: a.match.ID, Recipient: member(to), Other: member(twin)})
			}
			if err != nil {
				return err
			}
		}
	}
	moved := settle(a.match, a.signals)
	if !a.heir && !moved.match.ID.IsZero() {
		moved.match.ID = api.NewMatchID()
		for i := range moved.events { // those who stay together learn the new id from them
			moved.events[i].Match = moved.match.ID
		}
	}
	if err := c.emitLeft(moved.events); err != nil {
		return err
	}
	here, err := c.tx.Match()
	switch {
	case err != nil || moved.match.ID.IsZero():
		return err
	case here.ID.IsZero():
		here = moved.match
	default: // its members join in rebuild, and what they answered each other holds
		here.Answers = append(slices.Clone(here.Answers), moved.match.Answers...)
	}
	return c.tx.PutMatch(here)
}

// rebuild stores what lives here anew, and settles the match. Who has joined is told
// where it was not told before, under any revision.
func (c *change) rebuild(ctx context.Context) error {
	for _, s := range c.live {
		if err := c.tx.PutSignal(s); err != nil {
			return err
		}
	}
	before, err := c.tx.Match()
	if err != nil {
		return err
	}
	after := settle(before, c.live)
	if err := c.emitLeft(after.events); err != nil {
		return err
	}
	if !unchanged(before, after.match) {
		if err := c.tx.PutMatch(after.match); err != nil {
			return err
		}
	}
	if after.match.ID.IsZero() {
		return nil
	}
	for _, a := range after.match.Answers { // the feed knows which it has held
		if err := c.tellAnswer(after.match.ID, a); err != nil {
			return err
		}
	}
	slices.SortFunc(c.live, func(a, b registry.Signal) int { return cmp.Compare(a.Party, b.Party) })
	for _, to := range c.live {
		for _, of := range c.live {
			if to.Party == of.Party {
				continue
			}
			told, err := c.m.told(ctx, checkedSignal{member(to), to.Rev}, checkedSignal{member(of), of.Rev})
			if !told && err == nil {
				err = c.emit(registry.Event{
					Kind: api.EventJoined, Match: after.match.ID, Recipient: member(to), Other: member(of), Rev: of.Rev,
				})
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// emitLeft tells of those who are gone.
func (c *change) emitLeft(events []registry.Event) error {
	for _, e := range events {
		if e.Kind == api.EventJoined {
			continue
		}
		if err := c.emit(e); err != nil {
			return err
		}
	}
	return nil
}
