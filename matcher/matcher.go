// SPDX-License-Identifier: EUPL-1.2

// Package matcher decides who has met whom. Whatever changes a match goes through
// it: a submission, an act, the clock.
//
// Every change is one transaction on one idx, and every transaction has the same
// shape: first what the clock has ended is ended, then the one change is made, and
// after each of the two the match is settled against the signals that live. So it
// does not matter whether the sweep has come by: a signal that has expired meets
// nobody.
package matcher

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/registry"
)

// How long a tombstone outlives the issue of its signal: the longest term, and
// as long as a statement may lie in a queue.
const (
	graveYears = 2
	graveDays  = 30
)

// rememberYears is how long a feed knows what it has held. Nobody is signalled any
// longer than that.
const rememberYears = 23

// A Matcher changes the matches of one store. Its methods may be called at the
// same time.
type Matcher struct {
	Store      registry.Store
	Keys       registry.Keys
	ReceiptKey ed25519.PrivateKey
	// Trust gives the manifest and directory in force.
	Trust func() (*manifest.Manifest, *manifest.Directory)
	Now   func() time.Time
	// ReadOnly is why nothing new is taken, if so.
	ReadOnly ReadOnly

	counts counts
	clock  clock
	epoch  atomic.Pointer[registry.Epoch] // the store's
	first  sync.Mutex                     // held by who looks up or sets the epoch

	oldestRecord atomic.Int64 // number in the log: those before are erased, or are no records
}

// ErrOtherEpoch says that the oldest open epoch is not the one on which the stored
// signals match. Signals taken now would meet none of them.
var ErrOtherEpoch = errors.New("matcher: the manifest's oldest open epoch is not the one that the stored signals match on")

// ErrCompromised says that the store still has something of an epoch whose keys are
// believed stolen.
var ErrCompromised = errors.New("matcher: an epoch is compromised, and the store still has what matched in it, or cards of it")

// Ready tells whether signals can be taken: whether the manifest's oldest open epoch
// is the one that the store's idxs are of, and what is compromised has been purged. A new
// store takes the epoch that it finds; any other gets to it by Rebuild.
func (m *Matcher) Ready(ctx context.Context) error {
	man, _ := m.Trust()
	return m.ready(ctx, man)
}

func (m *Matcher) ready(ctx context.Context, man *manifest.Manifest) error {
	open := man.Open()
	if len(open) == 0 {
		return api.Refuse(api.CodeEpoch, nil)
	}
	at, err := m.inForce(ctx, registry.Epoch{Number: open[0].Number, Purged: compromised(man)})
	if err != nil {
		return err
	}
	for _, epoch := range compromised(man) {
		if !slices.Contains(at.Purged, epoch) {
			return api.Refuse(api.CodeUnavailable, ErrCompromised)
		}
	}
	if at.Number != open[0].Number {
		err = api.Refuse(api.CodeUnavailable, ErrOtherEpoch)
	}
	return err
}

// compromised lists the epochs that are, oldest first.
func compromised(man *manifest.Manifest) (list []uint64) {
	for _, e := range man.Epochs {
		if man.Compromised(e.Number) {
			list = append(list, e.Number)
		}
	}
	return list
}

// inForce gives the epoch of the store. A new store gets the one that is given.
func (m *Matcher) inForce(ctx context.Context, fresh registry.Epoch) (registry.Epoch, error) {
	if known := m.epoch.Load(); known != nil {
		return *known, nil
	}
	m.first.Lock()
	defer m.first.Unlock()
	if known := m.epoch.Load(); known != nil {
		return *known, nil
	}
	at, err := m.Store.Epoch(ctx)
	if err != nil {
		return at, err
	}
	if at.Number == 0 {
		at = fresh
		if err := m.Store.SetEpoch(ctx, at); err != nil {
			return at, err
		}
	}
	m.epoch.Store(&at)
	return at, nil
}

// An Outcome is the answer to a submission or an act. Created tells whether it
// changed anything; a repetition does not. Hasty tells of a withdrawal that it ended a
// signal that had met somebody, within a day of when the registry took it.
type Outcome struct {
	api.Accepted
	Created bool
	Hasty   bool
}

func (m *Matcher) admission(ctx context.Context) (registry.Admission, error) {
	man, dir := m.Trust()
	now, err := m.Clock(ctx)
	return registry.Admission{Manifest: man, Directory: dir, Clock: now, Restores: m.Store.Restores()}, err
}

// Submit takes a new signal or a revision of one from the party that sent it.
// Refusals are *api.Error. When it returns nil the signal, its match and the
// events to all concerned are durable.
func (m *Matcher) Submit(ctx context.Context, from api.PartyID, sub api.Submission) (Outcome, error) {
	adm, err := m.admission(ctx) // one manifest for all of it: it can change at any time
	if err != nil {
		return Outcome{}, err
	}
	if err := m.ready(ctx, adm.Manifest); err != nil {
		return Outcome{}, err
	}
	st, refusal := adm.Statement(from, sub)
	if st.Rev == 0 {
		return Outcome{}, refusal
	}
	if now, goes, err := m.heard(ctx, adm, st.Party, sub.Signed, st.KeyID, st.Issued); err != nil {
		return Outcome{}, err
	} else if goes {
		adm = now
		st, refusal = adm.Statement(from, sub)
	}
	if err := m.openCounts(ctx, adm); err != nil {
		return Outcome{}, err
	}
	signal := registry.Signal{Statement: st, Signed: sub.Signed, Sealed: sub.Faces}
	if refusal == nil {
		refusal = m.ReadOnly.refusal()
	}
	created := false
	at := m.place(st)
	err = m.Store.Update(ctx, at, func(tx registry.Tx) error {
		c := &change{m: m, adm: adm, idx: at, tx: tx}
		if refusal == nil {
			c.coming = &signal.Statement
		}
		return c.run(func(c *change) (err error) {
			c.user = sub.User
			created, err = c.submit(&signal, refusal)
			return err
		})
	})
	if err != nil {
		return Outcome{}, err
	}
	return m.receiptOf(signal, created)
}

// place is where a statement matches. One without a face in the epoch in force is
// refused, and looked for by its first.
func (m *Matcher) place(st api.Statement) registry.Idx {
	if at, ok := m.Keys.Place(st, m.epoch.Load().Number); ok {
		return at
	}
	return m.Keys.Idx(st.Faces[0].Epoch, st.Faces[0].Tag)
}

// submit stores a signal or a revision of one, unless its admission was refused.
// Where the party's word was known already, it puts what is stored in the signal's
// place and tells that nothing was created. A refusal comes before anything is
// written.
func (c *change) submit(signal *registry.Signal, refusal error) (created bool, err error) {
	if refusal == nil {
		c.wake(signal.Statement)
	}
	stored, found := c.find(signal.Party)
	if found && stored.SID == signal.SID && signal.Signed.Hash() == stored.Signed.Hash() {
		*signal = stored
		return false, c.tellAgain(stored)
	}
	if refusal != nil {
		return false, refusal
	}
	if found && stored.SID == signal.SID {
		switch {
		case signal.Rev != stored.Rev+1 && !(signal.Rev > stored.Rev && c.lacking(stored)):
			return false, api.Refuse(api.CodeRevision, nil)
		case !keepsTags(stored, *signal):
			return false, api.Refuse(api.CodeTag, nil)
		}
		giver, err := c.giver(signal.Statement, stored.Statement)
		if err != nil {
			return false, err
		}
		if err := errors.Join(c.takeSignal(signal.Statement), c.tellAgain(stored)); err != nil {
			return false, err
		}
		signal.Before, signal.Offer = stored.History(), stored.Offer
		return true, c.put(signal, true, giver...)
	}
	ended, err := c.hasEnded(signal.Statement)
	switch {
	case err != nil:
		return false, err
	case ended:
		return false, api.Refuse(api.CodeGone, nil)
	case signal.Rev != 1 && len(c.adm.Restores) == 0:
		return false, api.Refuse(api.CodeRevision, nil)
	}
	var giver []registry.Signal
	if !found {
		if giver, err = c.giver(signal.Statement, api.Statement{}); err != nil {
			return false, err
		}
	}
	if err := c.takeSignal(signal.Statement); err != nil {
		return false, err
	}
	if found { // the party signals this child already
		*signal = stored
		return false, nil
	}
	if c.again(signal.Statement) {
		signal.Before.First = signal.Issued
	}
	return true, c.put(signal, false, giver...)
}

func keepsTags(stored, revised registry.Signal) bool {
	for _, f := range revised.Faces {
		i := slices.IndexFunc(stored.Faces, func(g api.Face) bool { return g.Epoch == f.Epoch })
		if i >= 0 && stored.Faces[i].Tag != f.Tag {
			return false
		}
	}
	return true
}

// Act takes an act on a signal from the party that sent it: a withdrawal or an answer.
// Refusals are *api.Error. When it returns nil what it does, and the events to the
// others, are durable.
func (m *Matcher) Act(ctx context.Context, from api.PartyID, req api.ActRequest) (Outcome, error) {
	adm, err := m.admission(ctx)
	if err != nil {
		return Outcome{}, err
	}
	act, refusal := adm.Act(from, req)
	if act.Rev == 0 {
		return Outcome{}, refusal
	}
	if now, goes, err := m.heard(ctx, adm, act.Party, req.Signed, act.KeyID, act.Issued); err != nil {
		return Outcome{}, err
	} else if goes {
		adm = now
		act, refusal = adm.Act(from, req)
	}
	if refusal == nil && act.Act != api.ActWithdraw {
		refusal = m.ReadOnly.refusal()
	}
	if err := m.ready(ctx, adm.Manifest); err != nil {
		return Outcome{}, err
	}
	if err := m.openCounts(ctx, adm); err != nil {
		return Outcome{}, err
	}
	var granted registry.Granted
	created, hasty := false, false
	take := func(c *change) (err error) {
		c.user = req.User
		granted, created, err = c.act(ctx, act, req.Hash(), refusal)
		hasty = c.hasty
		return err
	}
	at := *m.epoch.Load()
	err = m.change(ctx, adm, m.Keys.Idx(at.Number, act.Tag), take)
	// What ended before an epoch was closed has its tombstone where it ended.
	for _, e := range slices.Backward(adm.Manifest.Epochs) {
		if errors.Is(err, errNothing) && e.Closed() {
			err = m.change(ctx, adm, m.Keys.Idx(e.Number, act.Tag), take)
		}
	}
	if errors.Is(err, errNothing) {
		switch {
		case refusal != nil:
			err = refusal
		case act.Issued.Before(at.Since.Add(registry.MaxAge)):
			// Its tag may be of the epoch before, and its signal have moved.
			err = api.Refuse(api.CodeTag, nil)
		case act.Act == api.ActWithdraw && m.afterRestore(adm.Now, lackFor):
			err = m.change(ctx, adm, m.Keys.Idx(at.Number, act.Tag), func(c *change) error {
				err := take(c)
				if errors.Is(err, errNothing) {
					granted, err = c.withdrawLacking(act, req.Hash())
					created = err == nil
				}
				return err
			})
		}
	}
	if err != nil {
		return Outcome{}, err
	}
	out, err := m.receipt(act.Party, act.SID, act.Rev, req.Hash(), granted, created)
	out.Hasty = hasty
	return out, err
}

// errNothing is where a party has no signal and never had the one that it names.
var errNothing = api.Refuse(api.CodeUnknownSignal, nil)

// act does what an act says, unless its admission was refused. One that was taken
// before gets what it was granted then, and changes nothing.
func (c *change) act(ctx context.Context, act api.Act, hash api.Hash, refusal error) (granted registry.Granted, created bool, err error) {
	buried, gone, err := c.tx.Tombstone(act.Party, act.SID)
	if err != nil || gone && buried.Act == hash {
		return buried.Granted, false, err
	}
	if act.Act == api.ActWithdraw {
		c.rouse(registry.Member{Party: act.Party, SID: act.SID})
	}
	stored, stands := c.find(act.Party)
	stands = stands && stored.SID == act.SID
	if stands {
		if granted, known, err := c.answered(act, hash); known || err != nil {
			return granted, false, err
		}
		if granted, known := stored.Offer.Taken.Find(hash); known {
			return granted, false, nil
		}
	}
	switch {
	case !gone && !stands:
		return granted, false, errNothing
	case refusal != nil:
		return granted, false, refusal
	case !stands && act.Act == api.ActWithdraw && c.m.afterRestore(c.adm.Now, lackFor) && buried.Act.IsZero() && act.Rev > buried.Rev:
		granted, err = c.buryLacking(act, hash) // the clock has ended what had been renewed
	case !stands:
		return granted, false, api.Refuse(api.CodeGone, nil)
	case act.Rev != stored.Rev && !(act.Act == api.ActWithdraw && act.Rev > stored.Rev && c.lacking(stored)):
		return granted, false, api.Refuse(api.CodeRevision, nil)
	case act.Act == api.ActAnswer:
		granted, err = c.answer(ctx, act, hash)
	case act.Act == api.ActHandover:
		granted, err = c.offer(ctx, stored, act, hash)
	default:
		c.hasty, c.mistake = c.isHasty(stored), act.Body == api.ReasonMistake
		granted, err = c.end(stored, hash, "signal.withdraw")
	}
	return granted, err == nil, err
}

// hastyWithin is how soon a withdrawal after a match stands out: who only wanted to
// know who else is there needs no longer.
const hastyWithin = 24 * time.Hour

// isHasty tells whether a live signal met somebody, and was taken within a day. Its date
// of issue is the party's own word, so what counts is when it was taken here; and a
// revision is no new signal.
func (c *change) isHasty(s registry.Signal) bool {
	was := s.History()
	return (was.Others > 0 || len(c.live) > 1) && c.adm.Now.Sub(was.First) < hastyWithin
}

// A change is one transaction on one idx, as the rules see it.
type change struct {
	m       *Matcher
	adm     registry.Admission
	idx     registry.Idx
	tx      registry.Tx
	live    []registry.Signal
	hasty   bool   // the withdrawal; see Outcome
	mistake bool   // was why
	user    string // who asks, once what the clock has ended is; a pseudonym

	coming  *api.Statement    // that was admitted, when there is one alone
	resting []registry.Signal // whose day has come, and that may have been renewed; see rests
	taken   int               // signals that were counted for the quota
}

func (m *Matcher) change(ctx context.Context, adm registry.Admission, idx registry.Idx, fn func(*change) error) error {
	return m.Store.Update(ctx, idx, func(tx registry.Tx) error { return m.changeIn(adm, idx, tx, fn) })
}

func (m *Matcher) changeIn(adm registry.Admission, idx registry.Idx, tx registry.Tx, fn func(*change) error) error {
	c := &change{m: m, adm: adm, idx: idx, tx: tx}
	return c.run(fn)
}

func (c *change) run(fn func(*change) error) error {
	if err := c.expire(func(s registry.Signal) encoding.Date { return s.Expires }, c.rests); err != nil {
		return err
	}
	return fn(c)
}

// endIn does nothing but the clock's work, the end of the legal basis included. Other
// changes leave that to the sweep: they can be withdrawals, which are still taken.
func (m *Matcher) endIn(adm registry.Admission, idx registry.Idx, tx registry.Tx) error {
	c := &change{m: m, adm: adm, idx: idx, tx: tx}
	return c.expire(adm.EndOf, func(registry.Signal) bool { return false })
}

// expire ends every signal whose day has come, day by day, as if the clock's work
// had been done each midnight. Those who leave at one midnight are not told of
// each other. Those that rest are not ended.
func (c *change) expire(end func(registry.Signal) encoding.Date, rests func(registry.Signal) bool) error {
	all, err := c.tx.Signals()
	if err != nil {
		return err
	}
	c.spare(all)
	all = slices.DeleteFunc(all, func(s registry.Signal) bool {
		if rests(s) {
			c.resting = append(c.resting, s)
			return true
		}
		return false
	})
	slices.SortStableFunc(all, func(a, b registry.Signal) int { return end(a).Compare(end(b)) })
	c.live = all
	for len(c.live) > 0 && end(c.live[0]).Compare(c.adm.Day) <= 0 {
		for day := end(c.live[0]); len(c.live) > 0 && end(c.live[0]) == day; {
			gone := c.live[0]
			c.live = c.live[1:]
			if _, err := c.bury(gone, api.Hash{}, "signal.expire"); err != nil {
				return err
			}
		}
		if err := c.settle(); err != nil {
			return err
		}
	}
	return nil
}

func (c *change) find(party api.PartyID) (registry.Signal, bool) {
	i := slices.IndexFunc(c.live, func(s registry.Signal) bool { return s.Party == party })
	if i < 0 {
		return registry.Signal{}, false
	}
	return c.live[i], true
}

// put stores a new signal or a revision of what is stored, settles the match and, for a
// revision, tells the others that there is a new card. The giver whose signal it takes over,
// if there is one, leaves.
func (c *change) put(s *registry.Signal, revises bool, giver ...registry.Signal) error {
	if err := c.endResting(revises); err != nil {
		return err
	}
	c.live = slices.DeleteFunc(c.live, func(o registry.Signal) bool { return o.Party == s.Party })
	for _, g := range giver {
		if err := c.leave(g, s.Signed.Hash()); err != nil {
			return err
		}
	}
	event, action := "signal.register", audit.Create
	if revises {
		event, action = "signal.revise", audit.Update
	}
	var err error
	if s.Granted, err = c.grant(event, action, s.Party, s.SID, uint64(len(c.live))); err != nil {
		return err
	}
	others := c.live
	c.live = append(slices.Clone(c.live), *s)
	if err := errors.Join(c.tx.PutSignal(*s), c.settle()); err != nil {
		return err
	}
	match, err := c.tx.Match()
	if err != nil {
		return err
	}
	tell := func(kind api.EventKind, to []registry.Signal) {
		for _, other := range to {
			err = errors.Join(err, c.emit(registry.Event{Kind: kind, Match: match.ID, Recipient: member(other), Other: member(*s), Rev: s.Rev}))
		}
	}
	if revises {
		tell(api.EventCard, others)
	} else if err := c.tellAnew(*s); err != nil {
		return err
	}
	if len(giver) > 0 {
		tell(api.EventHandover, append(giver, others...))
	}
	return err
}

// end takes a live signal away by an act, and settles the match.
func (c *change) end(s registry.Signal, act api.Hash, event string) (registry.Granted, error) {
	granted, err := c.bury(s, act, event)
	if err != nil {
		return granted, err
	}
	c.live = slices.DeleteFunc(c.live, func(o registry.Signal) bool { return o.Party == s.Party })
	return granted, c.settle()
}

// bury destroys a signal and leaves a tombstone.
func (c *change) bury(s registry.Signal, act api.Hash, event string) (registry.Granted, error) {
	others := uint64(0)
	for _, o := range c.live {
		if o.Party != s.Party {
			others++
		}
	}
	granted, err := c.grant(event, audit.Delete, s.Party, s.SID, others)
	if err != nil {
		return granted, err
	}
	return granted, c.tx.EndSignal(s, registry.Tombstone{
		Rev: s.Rev, Act: act, Granted: granted,
		Until: graveUntil(s.Issued),
	})
}

func graveUntil(issued time.Time) encoding.Date {
	return registry.Today(issued).AddDate(graveYears, 0, graveDays)
}

// settle applies the rule to the match on the idx.
func (c *change) settle() error {
	before, err := c.tx.Match()
	if err != nil {
		return err
	}
	after := settle(before, c.live, c.resting...)
	for _, e := range after.events {
		if e.Kind == api.EventEnded && c.m.afterRestore(c.adm.Now, lackFor) {
			continue // who left was told; whether somebody else is there is not known yet
		}
		if err := c.emit(e); err != nil {
			return err
		}
	}
	if unchanged(before, after.match) {
		return nil
	}
	return c.tx.PutMatch(after.match)
}

// emit tells an event to a recipient that lives here, or to whom another does who has
// taken its place or would have it take its own.
func (c *change) emit(e registry.Event) (err error) {
	to, lives := c.find(e.Recipient.Party)
	if i := c.restsAt(e.Recipient); !lives && i >= 0 {
		to = c.resting[i]
	} else if !lives {
		to, _ = c.find(e.Other.Party)
	}
	e.Idx, e.Epoch = c.idx, c.m.Keys.EpochAt(c.idx, to.Statement)
	e.ID, err = api.EventIDOf(e.Recipient.Party, e.Recipient.SID, e.Other.Party, e.Other.SID, e.Kind, e.Rev)
	if err != nil {
		return err
	}
	if e.Kind == api.EventLeft && c.mistake {
		e.Rev = registry.ByMistake
	}
	remember := c.adm.Day.AddDate(rememberYears, 0, 0)
	if e.Kind == api.EventLeft && len(c.adm.Restores) > 0 {
		return c.tx.Repeat(e, remember) // it may have left before, and come back since
	}
	return c.tx.Emit(e, remember)
}

// grant logs what is done and gives what the receipt will say of it.
func (c *change) grant(event string, action audit.Action, party api.PartyID, sid api.SID, others uint64) (registry.Granted, error) {
	leaf, err := audit.NewLeaf(audit.Record{
		Event: event, Action: action, Outcome: audit.Success, Time: c.adm.Now.UTC().Truncate(time.Millisecond),
		Party: string(party), User: c.user, ObjectType: "signal", ObjectID: sid.String(), System: "registry",
	})
	if err != nil {
		return registry.Granted{}, err
	}
	granted := registry.Granted{
		Incarnation: c.m.Store.Incarnation(), Others: others, Leaf: leaf.Hash(), Time: c.adm.Now.UTC().Truncate(time.Second),
	}
	return granted, c.tx.Log(leaf)
}

func (m *Matcher) receiptOf(s registry.Signal, created bool) (Outcome, error) {
	return m.receipt(s.Party, s.SID, s.Rev, s.Signed.Hash(), s.Granted, created)
}

// receipt signs what was granted. Ed25519 is deterministic: the same grant gives
// the same receipt, so only the grant is stored.
func (m *Matcher) receipt(party api.PartyID, sid api.SID, rev uint64, statement api.Hash, g registry.Granted, created bool) (Outcome, error) {
	man, _ := m.Trust()
	b, err := api.Receipt{
		Dep: man.Dep, Incarnation: g.Incarnation, Party: party, SID: sid, Rev: rev,
		Statement: statement, Others: g.Others, Leaf: g.Leaf, Time: g.Time,
	}.Encode()
	if err != nil {
		return Outcome{}, fmt.Errorf("matcher: %w", err)
	}
	return Outcome{Accepted: api.Accepted{SID: sid, Rev: rev, Receipt: api.Sign(m.ReceiptKey, b)}, Created: created}, nil
}
