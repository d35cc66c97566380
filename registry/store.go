// SPDX-License-Identifier: EUPL-1.2

package registry

import (
	"context"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// A Store keeps signals, matches, tombstones, feeds and the outbox of the log.
//
// What is asked of an implementation:
//   - Durable: when Update returns nil, everything its transaction wrote survives
//     the loss of power. When it returns an error nothing of it was written, but
//     for a lost connection, after which the caller must ask again.
//   - Serial: transactions on one idx run one after the other. Transactions on
//     different idxs may run side by side.
//   - Ordered: positions in a feed grow, and a reader that has seen position n
//     will never find a new event at or before n.
//   - Journaled: what an act ends, what the log holds and what is erased from it is in
//     the journal, if there is one, before it is durable in the store.
//   - Opaque: rows are sealed with [Keys]; nothing at rest names a party, a tag or
//     a sid.
type Store interface {
	// Update runs fn in one transaction on idx. An error from fn is returned as
	// it is, and nothing is written.
	Update(ctx context.Context, idx Idx, fn func(Tx) error) error

	// UpdateAll is Update on many different idxs, with one durable commit for all:
	// for bulk. It joins what comes with what is stored: fn is called once for each
	// idx, in ranges of them side by side, each in the store's order. An error of one
	// ends it all, and nothing is written.
	UpdateAll(ctx context.Context, idxs []Idx, fn func(Idx, Tx) error) error

	// Signal reads the signal that a party has under idx.
	Signal(ctx context.Context, idx Idx, party api.PartyID) (Signal, bool, error)

	// Match reads the match on an idx; its ID is zero when there is none.
	Match(ctx context.Context, idx Idx) (Match, error)

	// Events reads a party's feed behind a position, oldest first, max at most. It
	// also returns the position of the last event read, or after if there is none. A
	// position that the feed never reached stands for its start.
	Events(ctx context.Context, party api.PartyID, after uint64, max int) ([]Event, uint64, error)

	// Wait returns nil when the party's feed has something behind a position, or
	// the context's error.
	Wait(ctx context.Context, party api.PartyID, after uint64) error

	// Held tells whether the party was told an event: whether its feed holds the id,
	// or held it and has trimmed the event.
	Held(ctx context.Context, party api.PartyID, id api.EventID) (bool, error)

	// Acknowledge says that the party has kept everything up to a position; Trim
	// may drop it. It need not survive a crash: the reader will say it again.
	Acknowledge(party api.PartyID, upTo uint64)

	// KeepCounts stores the counts of some parties on a UTC day, in place of what they
	// were; durable when it returns. Counts reads those of all parties, in any order.
	KeepCounts(ctx context.Context, day encoding.Date, counts []Counts) error
	Counts(ctx context.Context, day encoding.Date) ([]Counts, error)

	// Behind gives the position of the first event in a party's feed that is not
	// acknowledged, and how many there are from there on; 0 of both if there are none.
	// After a restart an event can be counted that was acknowledged before.
	Behind(ctx context.Context, party api.PartyID) (first uint64, n int, err error)

	// Trim drops acknowledged events, tombstones and event ids whose time is over, and
	// counts that are older than a week: of tombstones and ids max at most, and then it
	// tells that there may be more.
	Trim(ctx context.Context, today encoding.Date, max int) (more bool, err error)

	// Purge takes all that has been deleted off the disk, now: as Scrub does in a week. Nothing
	// else may use the store meanwhile.
	Purge(ctx context.Context, now time.Time) error

	// Scrub sees to it that what is deleted leaves the disk within a week, as long as it
	// is called every few minutes: it rewrites a part of what is stored if that is due by
	// now, and tells whether it did. Scrubbed is since when no part has been left.
	Scrub(ctx context.Context, now time.Time) (bool, error)
	Scrubbed(ctx context.Context, now time.Time) (time.Time, error)

	// Reseal seals some of the rows anew that lie under an older generation of the row key,
	// and tells whether there may be more. While it is called again and again the store
	// is in use; when all are done, nothing in it needs the older generation.
	Reseal(ctx context.Context) (more bool, err error)

	// Due lists idxs that hold a signal which has expired by today, max at most.
	Due(ctx context.Context, today encoding.Date, max int) ([]Idx, error)

	// OldestDue is the first day with a signal that has expired by today and is still
	// there; false when there is none.
	OldestDue(ctx context.Context, today encoding.Date) (encoding.Date, bool, error)

	// Scan reads everything under each idx from (inclusive) to the highest, in
	// order of idx, until fn returns an error. Tombstones are not part of it.
	Scan(ctx context.Context, from Idx, fn func(Idx, []Signal, Match) error) error

	// Leaves reads the leaves that wait for the log, from a hash (inclusive) to the
	// highest, in order of hash, until fn returns an error.
	Leaves(ctx context.Context, from api.Hash, fn func(audit.Leaf) error) error

	// Enter puts leaves that belong to no transaction in the outbox, but for those that
	// are there or in the log already. They are durable when it returns.
	Enter(ctx context.Context, leaves ...audit.Leaf) error

	// Sequence moves leaves from the outbox to the end of the log, max at most, and tells
	// how many; what it moved is durable when it returns. One caller at a time.
	Sequence(ctx context.Context, max int) (int, error)

	// Logged is how many leaves the log has, and Tile the hashes of its tree at a place;
	// nil where there are none. Number is where in the log a leaf is; false if it is not.
	Logged(ctx context.Context) (size int64, err error)
	Tile(ctx context.Context, at audit.Place) ([]byte, error)
	Number(ctx context.Context, leaf api.Hash) (number int64, ok bool, err error)

	// Records reads what the log holds, from a number on, until fn returns an error.
	// Numbers that fn is not called for are erased.
	Records(ctx context.Context, from int64, fn func(number int64, leaf audit.Leaf) error) error

	// Erase destroys records of the log and their salts. The tree stays as it is.
	Erase(ctx context.Context, numbers []int64) error

	// Relog makes of the log what it was before a restore, which its leaves have outlived:
	// behind size of them came others. Of those that the outbox holds it keeps the records.
	Relog(ctx context.Context, size int64, leaves []api.Hash) error

	// Readdress gives every event in every feed to fn, and where fn returns it with
	// another Idx and Epoch keeps it so, at its position. It returns how many it kept
	// anew. An error or a crash may leave some of them done; the rest can be done by
	// calling it again. Nothing else may use the store meanwhile.
	Readdress(ctx context.Context, fn func(Event) (Event, error)) (int, error)

	// Epoch is what SetEpoch last said; zero in a new store. What SetEpoch says is durable
	// when it returns.
	Epoch(ctx context.Context) (Epoch, error)
	SetEpoch(ctx context.Context, at Epoch) error

	// Day is the highest day that the registry has seen, as SetDay last said; zero in a new
	// store. What SetDay says is durable when it returns.
	Day(ctx context.Context) (encoding.Date, error)
	SetDay(ctx context.Context, day encoding.Date) error

	// Verify reads all that is stored, and returns an ErrCorrupt that says what is
	// damaged, if anything is. Nothing may write to the store meanwhile.
	Verify(ctx context.Context) error

	// Incarnation is drawn when the store is made, and anew at every restore. Restores
	// are those of this store, in their order.
	Incarnation() [16]byte
	Restores() []Restore

	// Tombstone reads where a signal of the party has ended that stood under idx.
	Tombstone(ctx context.Context, idx Idx, party api.PartyID, sid api.SID) (Tombstone, bool, error)

	// Bury puts the tombstones of signals that were ended elsewhere: in what the store
	// was before it was restored. They are durable when it returns.
	Bury(ctx context.Context, ended []Ended) error

	Close() error
}

// A Tx is a transaction on one idx. It reads what it wrote.
type Tx interface {
	// Signals are the signals under the idx, live or not, ordered by party.
	Signals() ([]Signal, error)
	// Match is the match on the idx; its ID is zero when there is none.
	Match() (Match, error)
	// Tombstone reads where a signal of the party has ended.
	Tombstone(party api.PartyID, sid api.SID) (Tombstone, bool, error)

	// PutSignal stores a signal or a revision of it, and its day of expiry.
	PutSignal(Signal) error
	// EndSignal destroys a signal and puts a tombstone in its place.
	EndSignal(Signal, Tombstone) error
	// Bury puts the tombstone of a signal that is not there.
	Bury(Member, Tombstone) error
	// RemoveSignal takes a signal away and leaves nothing in its place: it goes on
	// under another idx, by the same UpdateAll.
	RemoveSignal(Signal) error
	// PutMatch stores the match; one without members is removed.
	PutMatch(Match) error
	// Emit puts an event in its recipient's feed, unless the feed holds its id or has
	// held it. The id is remembered up to the given day.
	Emit(e Event, remember encoding.Date) error
	// Repeat puts an event in its recipient's feed, whether that holds its id or not: once
	// in a transaction.
	Repeat(e Event, remember encoding.Date) error
	// Log puts a leaf in the outbox, from where the sequencer takes it.
	Log(audit.Leaf) error
}
