// SPDX-License-Identifier: EUPL-1.2

package matcher

import (
	"context"
	"encoding/binary"
	"errors"
	"math/bits"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/seinhuis/seinhuis/registry"
)

// A Pair is two rows with equal keys: their numbers in the build side and in the
// probe side, from 0.
type Pair struct{ Build, Probe uint32 }

// ErrTooManyRows says that a side of a join has more rows than a row number tells.
var ErrTooManyRows = errors.New("matcher: a side of a join has at most 4294967295 rows")

const (
	maxRows   = 1<<32 - 1
	pairBatch = 4096    // pairs given at a time
	partRows  = 1 << 13 // build rows of a part: with their table they stay in a core's cache
	maxParts  = 1 << 11 // more would cost the spreading more than it saves the probing
)

// Join finds every pair of equal keys between a build and a probe side and gives
// them to yield, in no order and at most 4096 at a time. Yield is called by several
// goroutines at once, each with a slice of its own that it reuses; the first error
// ends the join and is returned.
//
// The keys are uniform, so their own bits are the hash:
//
//	sift       set a bit for each build key; probe keys whose bit is clear have no
//	           partner and go no further. The bits of those that are left thin out
//	           the build side in turn. In life few keys have a partner, and what
//	           has none is read once or twice and never copied.
//	spread     copy what is left into parts by its leading bits, so that a part of
//	           the build side fits in cache
//	probe      chain the rows of a part in a table and look each counterpart up
//
// Each step runs on all processors. Beyond its input a join takes 8 to 16 bits for
// each key and 56 bytes for each that passes the sieve: those with a partner, and
// one in eight of those without. Equal keys, and keys that crowd together, cost time
// in proportion to their pairs and rows, and no more.
func Join(ctx context.Context, build, probe []registry.Idx, yield func([]Pair) error) error {
	if len(build) > maxRows || len(probe) > maxRows {
		return ErrTooManyRows
	}
	if len(build) > len(probe) { // the smaller side makes the smaller sieve
		return Join(ctx, probe, build, func(pairs []Pair) error {
			for i, p := range pairs {
				pairs[i] = Pair{p.Probe, p.Build}
			}
			return yield(pairs)
		})
	}
	if len(build) == 0 {
		return nil
	}
	seen := newSieve(len(build), func(worker, workers int, s sieve) {
		mine := share(build, worker, workers)
		for i := range mine {
			s.set(binary.BigEndian.Uint64(mine[i][8:]))
		}
	})
	probeRows := seen.sift(probe)
	back := newSieve(count(probeRows), func(worker, _ int, s sieve) {
		for _, r := range probeRows[worker] {
			s.set(r.tail)
		}
	})
	buildRows := back.sift(build)
	if err := ctx.Err(); err != nil {
		return err
	}
	parts := 1 << bits.Len(uint(min(count(buildRows)/partRows, maxParts-1)))
	return probeParts(ctx, spread(buildRows, parts), spread(probeRows, parts), yield)
}

// A row is a key on its way through a join, and where it stood.
type row struct {
	lead, tail uint64 // the key's first and last eight bytes, big-endian
	number     uint32
}

func count(rows [][]row) (n int) {
	for _, r := range rows {
		n += len(r)
	}
	return n
}

// each runs do on every processor.
func each(do func(worker, workers int)) {
	var g errgroup.Group
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		g.Go(func() error { do(w, workers); return nil })
	}
	g.Wait()
}

// share is a worker's part of a list.
func share[T any](list []T, worker, workers int) []T {
	return list[len(list)*worker/workers : len(list)*(worker+1)/workers]
}

// A sieve is a set of keys by the leading bits of their tails, which the spreading
// does not look at: one hash a key, one bit a hash.
type sieve struct {
	words []uint64
	shift uint
}

// sieveBits is how many bits a sieve has for each key, at least: one in eight keys
// that are not in it passes all the same.
const sieveBits = 8

// newSieve makes a sieve for a number of keys. fill sets a worker's share of them,
// in a sieve of its own; these are then joined.
func newSieve(keys int, fill func(worker, workers int, s sieve)) sieve {
	log := max(6, bits.Len(uint(max(keys, 1)*sieveBits-1)))
	own := make([]sieve, runtime.GOMAXPROCS(0))
	each(func(w, workers int) {
		own[w] = sieve{make([]uint64, 1<<(log-6)), uint(64 - log)}
		fill(w, workers, own[w])
	})
	each(func(w, workers int) {
		all := share(own[0].words, w, workers)
		for _, o := range own[1:] {
			for i, word := range share(o.words, w, workers) {
				all[i] |= word
			}
		}
	})
	return own[0]
}

func (s sieve) set(tail uint64) {
	at := tail >> s.shift
	s.words[at>>6] |= 1 << (at & 63)
}

// sift gives the rows of keys that may be in the sieve, by worker.
func (s sieve) sift(keys []registry.Idx) [][]row {
	passed := make([][]row, runtime.GOMAXPROCS(0))
	each(func(w, workers int) {
		mine := share(keys, w, workers)
		first := len(keys) * w / workers
		rows := make([]row, len(mine)/4+64)
		n := 0
		for i := range mine {
			tail := binary.BigEndian.Uint64(mine[i][8:])
			at := tail >> s.shift
			// Written first and counted after: no branch for the processor to guess.
			rows[n] = row{binary.BigEndian.Uint64(mine[i][:8]), tail, uint32(first + i)}
			n += int(s.words[at>>6] >> (at & 63) & 1)
			if n == len(rows) {
				rows = append(rows, make([]row, len(rows))...)
			}
		}
		passed[w] = rows[:n]
	})
	return passed
}

// spread orders rows into parts, a power of two of them, by the leading bits of
// their keys.
func spread(rows [][]row, parts int) [][]row {
	shift := uint(64 - bits.TrailingZeros(uint(parts))) // 64 for one part: everything is in part 0
	at := make([][]int, len(rows))                      // where a worker's next row of a part goes
	each(func(w, _ int) {
		at[w] = make([]int, parts)
		for i := range rows[w] {
			at[w][rows[w][i].lead>>shift]++
		}
	})
	all := make([]row, count(rows))
	out := make([][]row, parts)
	next := 0
	for p := range parts {
		from := next
		for w := range at {
			at[w][p], next = next, next+at[w][p]
		}
		out[p] = all[from:next]
	}
	each(func(w, _ int) {
		at := at[w]
		for _, r := range rows[w] {
			p := r.lead >> shift
			all[at[p]] = r
			at[p]++
		}
	})
	return out
}

// probeParts joins each part of the build side with its counterpart.
func probeParts(ctx context.Context, build, probe [][]row, yield func([]Pair) error) error {
	g, ctx := errgroup.WithContext(ctx)
	var taken atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			var t table
			pairs := make([]Pair, 0, pairBatch)
			for {
				part := int(taken.Add(1)) - 1
				if part >= len(build) {
					if len(pairs) == 0 {
						return nil
					}
					return yield(pairs)
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				t.fill(build[part])
				for i := range probe[part] {
					r := &probe[part][i]
					for at := t.heads[t.bucket(r)]; at != 0; at = t.next[at-1] {
						b := &t.rows[at-1]
						if b.lead != r.lead || b.tail != r.tail {
							continue
						}
						if pairs = append(pairs, Pair{b.number, r.number}); len(pairs) == pairBatch {
							if err := errors.Join(ctx.Err(), yield(pairs)); err != nil {
								return err
							}
							pairs = pairs[:0]
						}
					}
				}
			}
		})
	}
	return g.Wait()
}

// A table finds rows by their keys. Rows of one bucket are chained, so equal keys
// cost no more than their number.
type table struct {
	rows  []row
	heads []uint32 // 1 + the first row of a bucket; 0 for none
	next  []uint32 // 1 + the row behind a row
	shift uint
}

func (t *table) fill(rows []row) {
	log := bits.Len(uint(len(rows))) // up to two buckets a row
	if n := 1 << log; n > cap(t.heads) {
		t.heads = make([]uint32, n)
	} else {
		t.heads = t.heads[:n]
		clear(t.heads)
	}
	if len(rows) > cap(t.next) {
		t.next = make([]uint32, len(rows))
	}
	t.rows, t.next, t.shift = rows, t.next[:len(rows)], uint(64-log)
	for i := range rows {
		b := t.bucket(&rows[i])
		t.next[i], t.heads[b] = t.heads[b], uint32(i+1)
	}
}

// bucket mixes all of the key: in a part the leading bits are alike, and a crowd of
// keys may be alike in more.
func (t *table) bucket(r *row) uint64 {
	return (r.lead ^ bits.RotateLeft64(r.tail, 32)) * 0x9e3779b97f4a7c15 >> t.shift
}
