// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/keys"
)

// Jobs lists what is still to be done for a party.
func (p *Party) Jobs() (jobs []Job, err error) {
	err = scan(p.g.store.view, p.key.table(tableJob), nil, false, func(_ []byte, job Job) (bool, error) {
		jobs = append(jobs, job)
		return true, nil
	})
	return jobs, err
}

// Alone tells whether a job has been tried, and waits for itself alone.
func (p *Party) Alone(job ID) bool {
	p.trouble.mu.Lock()
	defer p.trouble.mu.Unlock()
	return p.trouble.jobs[job].Failures > 0
}

// Sweep is what the gateway does every hour.
func (p *Party) Sweep() error { return p.sweep() }

// SweepAround is the sweep of registrations, with what happens between finding them and
// forgetting them.
func (p *Party) SweepAround(between func()) error {
	ids, err := p.outlived()
	if err != nil {
		return err
	}
	between()
	return p.forget(ids)
}

// FirstAct tells which of some jobs a worker would take first.
func (p *Party) FirstAct(jobs ...Job) ID {
	q := newQueue()
	for _, job := range jobs {
		q.put(job)
	}
	t, _ := q.next(time.Now(), new(trouble))
	return t.jobs[0]
}

// Refresh fetches the manifest and directory.
func (p *Party) Refresh(ctx context.Context) error { return p.g.roots.refresh(ctx, p, time.Now()) }

// Expiry, Term and Backoff are tested by themselves.
var (
	Expiry  = expiry
	Term    = term
	Backoff = backoff
)

// Tables have letters of their own: a key that stands here twice does not compile.
var _ = map[byte]bool{
	tableFormat: true, tableFinders: true, tableManifest: true, tableDirectory: true, tableRegistration: true, tableSignal: true, tableOwner: true, tableLeft: true,
	tableJob: true, tableReport: true, tableReportKey: true, tableImport: true, tableImportKey: true, tableImportRows: true,
	tableReplay: true, tableMessage: true, tableMessageOn: true, tableEvent: true, tableFeed: true, tableOwned: true, tableUser: true, tableAPIKey: true,
	tableLog: true, tableLogIndex: true, tableTransfer: true, tableTransferItem: true, tableTarget: true, tableDeadLetter: true, tableMatch: true, tableMatchName: true, tableMatchOn: true, tableOffer: true,
	tableCheckpoint: true, tableLeaf: true,
}

// OfferRows counts what is kept of offers, lapsed or not.
func (p *Party) OfferRows() (n int) {
	scan(p.g.store.view, p.key.table(tableOffer), nil, false, func([]byte, Offer) (bool, error) { n++; return true, nil })
	return n
}

// WakeOutbox has the outbox look at the clock.
func (p *Party) WakeOutbox() { p.outbox.wake() }

// RetryDelay and TypeName are tested by themselves.
var (
	RetryDelay = retryDelay
	TypeName   = typeName
)

// MatchRows counts everything that is kept of matches, and of what messages are about.
func MatchRows(g *Gateway) (n int) {
	for _, table := range []byte{tableMatch, tableMatchName, tableMatchOn, tableMessageOn} {
		it, err := g.store.db.NewIter(&pebble.IterOptions{LowerBound: []byte{table}, UpperBound: []byte{table + 1}})
		if err != nil {
			return -1
		}
		for it.First(); it.Valid(); it.Next() {
			if len(it.Key()) > 1+len(partyKey{}) { // else it says that the table was made
				n++
			}
		}
		it.Close()
	}
	return n
}

// ToFormatOne makes the store what it was before there were matches in it.
func ToFormatOne(t testing.TB, g *Gateway) {
	t.Helper()
	b := g.store.batch()
	defer b.close()
	for _, table := range []byte{tableMatch, tableMatchName, tableMatchOn} {
		if err := b.b.DeleteRange([]byte{table}, []byte{table + 1}, nil); err != nil {
			t.Fatal(err)
		}
	}
	b.put(keyFormat(), 1)
	if err := b.commit(); err != nil {
		t.Fatal(err)
	}
}

// LogIndexRows counts what is kept to find rows of the log by.
func LogIndexRows(g *Gateway) (n int) {
	for _, p := range g.order {
		scan(g.store.view, p.key.table(tableLogIndex), nil, false, func([]byte, struct{}) (bool, error) { n++; return true, nil })
	}
	return n
}

// TransferItemRows counts what is kept of which registrations are in transfers.
func TransferItemRows(g *Gateway) (n int) {
	for _, p := range g.order {
		scan(g.store.view, p.key.table(tableTransferItem), nil, false, func([]byte, struct{}) (bool, error) { n++; return true, nil })
	}
	return n
}

// LastOwnersRows counts what is kept of whose signals were that have ended.
func LastOwnersRows(g *Gateway) (n int) {
	for _, p := range g.order {
		scan(g.store.view, p.key.table(tableLeft), nil, false, func([]byte, []ID) (bool, error) { n++; return true, nil })
	}
	return n
}

// ForgetOwned takes a party's store back to before it kept who owns what.
func ForgetOwned(p *Party) error {
	b := p.g.store.batch()
	defer b.close()
	b.deleteAll(p.key.table(tableOwned))
	return p.commit(b)
}

// HasKey tells whether a hash opens the door, as the SHA-256 of a key does.
func (p *Party) HasKey(h [32]byte) bool {
	_, ok := p.door.key(h)
	return ok
}

// Idle tells whether nothing is being sent.
func (p *Party) Idle() bool {
	p.outbox.mu.Lock()
	defer p.outbox.mu.Unlock()
	return len(p.outbox.busy) == 0
}

// Meet gives professionals in turn a signal each, with the message that somebody else
// joined it, n in all.
func Meet(t testing.TB, p *Party, n int, owners ...string) {
	t.Helper()
	const atOnce = 1000
	for first := 0; first < n; first += atOnce {
		b := p.g.store.batch()
		var list []Message
		for i := first; i < min(n, first+atOnce); i++ {
			now, owner := p.g.now(), owners[i%len(owners)]
			reg := Registration{ID: newID(now), Created: now, Owner: owner, Reference: "KENMERK", State: StateRegistered, SID: api.SID(newID(now))}
			b.put(p.key.registration(reg.ID), reg)
			b.put(p.ownerRow(owner, reg.ID), struct{}{})
			b.put(p.key.owner(reg.SID, reg.ID), struct{}{})
			b.put(p.key.signal(reg.SID), Signal{SID: reg.SID, Rev: 1})
			list = append(list, Message{
				ID: api.EventID(newID(now)), Received: now, Kind: api.EventJoined, Match: api.MatchID(newID(now)), SID: reg.SID,
				Other: Other{Party: "nl-kvk:00000009", SID: api.SID(newID(now)), Card: Card{Name: "Naam", Phone: "+31 20 5550199"}, Code: "123456"},
			})
		}
		if err := p.commit(b); err != nil {
			t.Fatal(err)
		}
		b.close()
		if err := p.keep(list, func(at *feedState) { at.Cursor = "cursor" }, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
}

// LookThrough is tested beyond.
const LookThrough = lookThrough

// Within looks once at the messages within reach, without the log.
func (p *Party) Within(a *Access, from uint64, limit int) ([]Message, error) {
	return p.messages(from, limit, a)
}

// Damage spoils a message's row, and that of its match.
func Damage(t testing.TB, p *Party, m Message) {
	t.Helper()
	id, err := get[ID](p.g.store.view, p.key.matchID(m.Match))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range [][]byte{p.key.message(m.Seq), p.key.match(id)} {
		if err := p.g.store.db.Set(key, []byte("spoilt"), nil); err != nil {
			t.Fatal(err)
		}
	}
}

// ForgetMessagesOn takes a party's store back to before it kept what messages are about.
func ForgetMessagesOn(t testing.TB, p *Party) {
	t.Helper()
	b := p.g.store.batch()
	defer b.close()
	b.deleteAll(p.key.table(tableMessageOn))
	if err := p.commit(b); err != nil {
		t.Fatal(err)
	}
}

// HasReadFeedOf tells whether the party has read its feed since the registry has been this
// incarnation, and has made the jobs that follow from that.
func (p *Party) HasReadFeedOf(incarnation [16]byte) bool {
	at, err := get[feedState](p.g.store.view, p.key.feed())
	return err == nil && bytes.Equal(at.Incarnation, incarnation[:]) && at.Lacks.IsZero()
}

// OpenStore opens a store and closes it again.
func OpenStore(fs vfs.FS) error {
	s, err := openStore("data", fs, keys.Roots{{Generation: 1, Value: make([]byte, StorageKeySize)}})
	if err != nil {
		return err
	}
	return s.close()
}

// CheckLog is what the gateway does about every minute.
func (g *Gateway) CheckLog(ctx context.Context) error { return g.checkLog(ctx) }

// Owed lists the leaves that are still to be proven.
func (p *Party) Owed() (list []api.Hash) {
	scan(p.g.store.view, p.key.table(tableLeaf), nil, false, func(key []byte, _ owedLeaf) (bool, error) {
		list = append(list, api.Hash(key[len(key)-len(api.Hash{}):]))
		return true, nil
	})
	return list
}

// Receipts are those that are kept with signals.
func (p *Party) Receipts() (list []api.Receipt) {
	scan(p.g.store.view, p.key.table(tableSignal), nil, false, func(_ []byte, s Signal) (bool, error) {
		if r, err := api.ParseReceipt(s.Receipt.Signed); err == nil {
			list = append(list, r)
		}
		return true, nil
	})
	return list
}

// SealAnew seals some of the rows anew, and gives where to go on.
func SealAnew(g *Gateway, from []byte, max int) ([]byte, error) { return g.store.sealAnew(from, max) }

// Generations counts the rows by the generation of the storage key that they lie under.
func Generations(t testing.TB, g *Gateway) map[byte]int {
	t.Helper()
	it, err := g.store.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	rows := map[byte]int{}
	for it.First(); it.Valid(); it.Next() {
		rows[it.Value()[0]]++
	}
	return rows
}

// PutRow and GetRow are of rows that stand for any.
func PutRow(g *Gateway, n int, value string) error {
	b := g.store.batch()
	defer b.close()
	b.put(rowOf(g, n), value)
	return b.commit()
}

func GetRow(g *Gateway, n int) (string, error) { return get[string](g.store.view, rowOf(g, n)) }

func rowOf(g *Gateway, n int) []byte {
	return g.order[0].key.replay([16]byte(fmt.Appendf(nil, "%016d", n)))
}

// PrepareWatched prepares a job that is queued, and gives the bytes of what was evaluated
// for it: as they were, and as they are afterwards.
func (p *Party) PrepareWatched(ctx context.Context, job Job) (were, are [][]byte, err error) {
	t := &turn{cohort: &cohort{of: laneOf(job)}}
	m, _, err := p.roots(ctx)
	if err != nil {
		return nil, nil, err
	}
	batch, err := p.evaluateCohort(ctx, m, t.cohort, []Job{job})
	if err != nil {
		return nil, nil, err
	}
	for _, e := range batch.evaluations {
		for _, y := range e.outputs {
			were, are = append(were, bytes.Clone(y)), append(are, y)
		}
	}
	return were, are, p.prepareCohort(ctx, t, []Job{job})
}

// Owe lists a leaf, as of a receipt of a time and incarnation.
func (p *Party) Owe(r api.Receipt) error {
	return p.inBatch(func(b *batch) error { p.owe(b, r); return nil })
}

// MayLack is what a party is told of a restore.
func (p *Party) MayLack(since time.Time, incarnation [16]byte) error {
	return p.inBatch(func(b *batch) error { return p.mayLack(b, since, incarnation[:]) })
}

// Replaced has a receipt take the place of another.
func (p *Party) Replaced(before, now api.Receipt) error {
	signed, err := before.Encode()
	if err != nil {
		return err
	}
	return p.inBatch(func(b *batch) error { return p.replaced(b, api.Signed{Signed: signed}, now) })
}

func (p *Party) inBatch(do func(*batch) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.g.store.batch()
	defer b.close()
	if err := do(b); err != nil {
		return err
	}
	return p.commit(b)
}

// MaybeLost tells since when a leaf that is listed may be lost.
func (p *Party) MaybeLost(leaf api.Hash) (since time.Time, listed bool) {
	row, err := get[owedLeaf](p.g.store.view, p.key.leaf(leaf))
	return row.Lost, err == nil
}

// SignalRow tells whether there is one of a signal.
func (p *Party) SignalRow(sid api.SID) bool {
	_, err := get[Signal](p.g.store.view, p.key.signal(sid))
	return err == nil
}
