// SPDX-License-Identifier: EUPL-1.2

package pebblestore

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/registry"
)

// The whole key schema. Integers are big-endian; feed is Keys.Feed(party), slot
// Keys.Slot(idx, party), grave Keys.Grave(party, sid), shard the first two bytes of
// the idx; day is yyyymmdd as u32. Rows are sealed; empty rows hold nothing but
// their key. No key under an idx leads to a party, or the other way round.
//
//	s idx(16) 0                        match
//	s idx(16) 1 slot(16)               signal
//	t shard(2) grave(16)               tombstone
//	x day(4) s idx(16) slot(16)        empty: the signal expires on this day
//	x day(4) t shard(2) grave(16)      empty: the tombstone goes on this day
//	x day(4) e feed(16) event id(16)   empty: the event id goes on this day
//	f feed(16) position(8)             event
//	e feed(16) event id(16)            empty: the feed holds this id, or has held it
//	o leaf hash(16)                    outbox: salt and record of a leaf
//	l number(8)                        log: the same, once it has a number
//	p leaf hash(16)                    the leaf's number(8), not sealed
//	h level(1) number(8)               tile of the log's tree: hashes(32), not sealed
//	L                                  how many leaves the log has(8), not sealed
//	u day(4) feed(16)                  counts of a party on the UTC day
//	i                                  incarnation(16), not sealed
//	n number(8)                        empty: of a durable commit, one of the last
//	d                                  the highest day(4) that was seen
//	c slice(2)                         when the slice was last rewritten(8), not sealed
//	j                                  epoch(8) of the idxs, since(8) in Unix seconds, purged epochs(8), not sealed
//	J                                  journal id(16), groups(8) that are committed, not sealed
//	R                                  the store's restores
const (
	prefixIdx       = 's'
	prefixTombstone = 't'
	prefixExpiry    = 'x'
	prefixFeed      = 'f'
	prefixEventID   = 'e'
	prefixOutbox    = 'o'
	prefixRecord    = 'l'
	prefixPlace     = 'p'
	prefixTile      = 'h'
	prefixLogged    = 'L'
	prefixCounts    = 'u'
	prefixMeta      = 'i'
	prefixNumber    = 'n'
	prefixEpoch     = 'j'
	prefixJournaled = 'J'
	prefixRestores  = 'R'
	prefixDay       = 'd'
	prefixScrub     = 'c'

	underMatch  = 0
	underSignal = 1
)

// Tables, as sealing knows them.
const (
	tableSignal    = "signal"
	tableMatch     = "match"
	tableTombstone = "tombstone"
	tableEvent     = "event"
	tableOutbox    = "outbox"
	tableRecord    = "record"
	tableCounts    = "counts"
	tableRestores  = "restores"
	tableDay       = "day"
)

const idxPrefixLen = 1 + 16

// comparer orders keys by their bytes, and takes s ‖ idx as the prefix of what
// stands under an idx, so that one bloom filter probe says that an idx is new.
var comparer = func() *pebble.Comparer {
	c := *pebble.DefaultComparer
	c.Name = "seinhuis.1"
	c.Split = func(key []byte) int {
		if len(key) >= idxPrefixLen && key[0] == prefixIdx {
			return idxPrefixLen
		}
		return len(key)
	}
	c.ComparePointSuffixes = bytes.Compare
	c.CompareRangeSuffixes = bytes.Compare
	// The default successors shorten keys, and a shortened key may end up with
	// another prefix; keep them as they are.
	c.Separator = func(dst, a, _ []byte) []byte { return append(dst, a...) }
	c.Successor = func(dst, a []byte) []byte { return append(dst, a...) }
	return &c
}()

func idxPrefix(idx registry.Idx) []byte { return append([]byte{prefixIdx}, idx[:]...) }

func matchKey(idx registry.Idx) []byte { return append(idxPrefix(idx), underMatch) }

func signalKey(idx registry.Idx, slot [16]byte) []byte {
	return slices.Concat(idxPrefix(idx), []byte{underSignal}, slot[:])
}

func tombstoneKey(idx registry.Idx, grave [16]byte) []byte {
	return slices.Concat([]byte{prefixTombstone}, idx[:2], grave[:])
}

func day(d encoding.Date) []byte {
	return binary.BigEndian.AppendUint32(nil, uint32(d.Year*10000+int(d.Month)*100+d.Day))
}

func expiryDayKey(d encoding.Date) []byte { return append([]byte{prefixExpiry}, day(d)...) }

// expiryDay is the day in a key that expiryDayKey begins.
func expiryDay(key []byte) encoding.Date { return dayOf(key[1:]) }

func dayOf(b []byte) encoding.Date {
	n := int(binary.BigEndian.Uint32(b))
	return encoding.Date{Year: n / 10000, Month: time.Month(n / 100 % 100), Day: n % 100}
}

func signalExpiryKey(d encoding.Date, idx registry.Idx, slot [16]byte) []byte {
	return slices.Concat(expiryDayKey(d), []byte{prefixIdx}, idx[:], slot[:])
}

func tombstoneExpiryKey(d encoding.Date, idx registry.Idx, grave [16]byte) []byte {
	return append(expiryDayKey(d), tombstoneKey(idx, grave)...)
}

func eventIDExpiryKey(d encoding.Date, feed [16]byte, id api.EventID) []byte {
	return append(expiryDayKey(d), eventIDKey(feed, id)...)
}

// expiryTarget takes an expiry key apart: what it points to, behind the day.
func expiryTarget(key []byte) []byte { return key[1+4:] }

func feedPrefix(feed [16]byte) []byte { return append([]byte{prefixFeed}, feed[:]...) }

func feedKey(feed [16]byte, position uint64) []byte {
	return binary.BigEndian.AppendUint64(feedPrefix(feed), position)
}

func feedPosition(key []byte) uint64 { return binary.BigEndian.Uint64(key[1+16:]) }

func eventIDKey(feed [16]byte, id api.EventID) []byte {
	return slices.Concat([]byte{prefixEventID}, feed[:], id[:])
}

func outboxKey(leaf [32]byte) []byte { return append([]byte{prefixOutbox}, leaf[:16]...) }

func recordKey(number int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefixRecord}, uint64(number))
}

func placeKey(leaf [32]byte) []byte { return append([]byte{prefixPlace}, leaf[:16]...) }

func tileKey(at audit.Place) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefixTile, byte(at.Level)}, uint64(at.N))
}

func numberKey(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{prefixNumber}, n) }

func countsDayKey(d encoding.Date) []byte { return append([]byte{prefixCounts}, day(d)...) }

func countsKey(d encoding.Date, feed [16]byte) []byte { return append(countsDayKey(d), feed[:]...) }

var (
	metaKey  = []byte{prefixMeta}
	epochKey = []byte{prefixEpoch}

	journaledKey = []byte{prefixJournaled}
	restoresKey  = []byte{prefixRestores}
	dayKey       = []byte{prefixDay}
	loggedKey    = []byte{prefixLogged}
)

func scrubKey(s slice) []byte { return append([]byte{prefixScrub}, s.name[:]...) }
