// SPDX-License-Identifier: EUPL-1.2

package matcher

import (
	"context"
	"encoding/binary"
	"errors"
	"math/bits"
	"math/rand/v2"
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
	pairBatch = 4096 // pairs given at a time

	partRows    = 1 << 13 // build rows of a part, about: their sieve has 16 bits for each
	maxPartBits = 11      // more parts than this, and the spreading costs more than it saves
	maxParts    = 1 << maxPartBits
)

// Join finds every pair of equal keys between a build and a probe side and gives
// them to yield, in no order and at most 4096 at a time. Yield is called by several
// goroutines at once, each with a slice of its own that it reuses; the first error
// ends the join and is returned.
//
//	spread   deal each side's rows into parts: eight bytes a row, its number and a
//	         piece of its key, in one pass over the keys
//	match    part by part, in a core's own cache: what the sieve of the build rows
//	         lets through is held against a table of those it can be of
//	verify   hold what the pieces promise against the keys themselves
//
// Each step runs on all processors. Beyond its input a join takes 9 bytes for each
// row, and up to some 50 where most keys are equal. Keys of a store are uniform; so
// that no other input can crowd one part or one bucket but by equal keys, parts and
// buckets go by a product that is salted for each join. Equal keys cost time in
// proportion to their pairs and rows, and no more.
func Join(ctx context.Context, build, probe []registry.Idx, yield func([]Pair) error) error {
	if len(build) > maxRows || len(probe) > maxRows {
		return ErrTooManyRows
	}
	if len(build) > len(probe) { // the smaller side makes the smaller sieves
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
	d := deal{lead: rand.Uint64(), tail: rand.Uint64()}
	d.partBits = min(1+uint(bits.Len(uint(len(build)/partRows))), maxPartBits)
	buildParts := d.spread(build)
	probeParts := d.spread(probe)

	g, ctx := errgroup.WithContext(ctx)
	var taken atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			m := match{ctx: ctx, build: build, probe: probe, yield: yield, pairs: make([]Pair, 0, pairBatch)}
			for part := taken.Add(1) - 1; part < 1<<d.partBits; part = taken.Add(1) - 1 {
				if err := m.part(buildParts[part], probeParts[part]); err != nil {
					return err
				}
			}
			return m.verify()
		})
	}
	return g.Wait()
}

// A row stands for a key on its way through a join: above, 32 bits of the key's
// hash, those behind the ones that its part has in common; below, its number.
type row uint64

// A run is rows of one part that one processor dealt.
type run = []row

func count(runs []run) (n int) {
	for _, r := range runs {
		n += len(r)
	}
	return n
}

// A deal is how keys become parts.
type deal struct {
	lead, tail uint64 // salt
	partBits   uint   // 1 to maxPartBits
}

// spread deals keys into parts.
func (d deal) spread(keys []registry.Idx) (parts [][]run) {
	workers := runtime.GOMAXPROCS(0)
	parts = make([][]run, 1<<d.partBits)
	dealt := make([][]run, workers)
	spilt := make([]map[uint64]run, workers)
	var g errgroup.Group
	for w := range workers {
		first, end := len(keys)*w/workers, len(keys)*(w+1)/workers
		g.Go(func() error {
			dealt[w], spilt[w] = d.share(keys[first:end], first)
			return nil
		})
	}
	g.Wait()
	for p := range parts {
		for w := range workers {
			parts[p] = append(parts[p], dealt[w][p])
			if r, ok := spilt[w][uint64(p)]; ok {
				parts[p] = append(parts[p], r)
			}
		}
	}
	return parts
}

// share deals one processor's share of the keys, numbered from first. Each part has
// room for an eighth more rows than fall to it on average; only equal keys ask for
// more, and spill.
func (d deal) share(keys []registry.Idx, first int) (parts []run, spilt map[uint64]run) {
	room := len(keys) >> d.partBits
	room += room/8 + 64
	all := make(run, room<<d.partBits)
	spilt = make(map[uint64]run)
	var next [maxParts]int // where a part's next row goes
	for p := range 1 << d.partBits {
		next[p] = p * room
	}
	partShift, pieceShift := (64-d.partBits)&63, d.partBits&63
	number := row(first)
	for i := range keys {
		high, low := bits.Mul64(binary.LittleEndian.Uint64(keys[i][:8])^d.lead, binary.LittleEndian.Uint64(keys[i][8:])^d.tail)
		hash := high ^ low
		part := hash >> partShift & (maxParts - 1)
		r := row(hash<<pieceShift)&^maxRows | number
		number++
		if at := next[part]; at < (int(part)+1)*room {
			next[part] = at + 1
			all[at] = r
		} else {
			spilt[part] = append(spilt[part], r)
		}
	}
	parts = make([]run, 1<<d.partBits)
	for p := range parts {
		parts[p] = all[p*room : next[p]]
	}
	return parts, spilt
}

// A match is one processor's work on parts, one after the other.
type match struct {
	ctx          context.Context
	build, probe []registry.Idx
	yield        func([]Pair) error
	pairs        []Pair // promised by their pieces

	sieve            sieve
	builds, probes   run      // of the part, what the sieves let through
	heads, following []uint32 // chains of builds: 1 + a place, 0 for none
}

// A sieve is a set of pieces by 17 of their bits. It fits in a core's first cache.
type sieve [1 << (sieveBits - 6)]uint64

const sieveBits = 17

func (s *sieve) set(bit row) { s[bit>>6%row(len(s))] |= 1 << (bit & 63) }

func (s *sieve) has(bit row) int { return int(s[bit>>6%row(len(s))] >> (bit & 63) & 1) }

// The build rows set the piece's upper bits, and what comes back of the probe rows
// its lower ones: no row passes both by the same chance.
func (r row) upper() row { return r >> (64 - sieveBits) }
func (r row) lower() row { return r >> 32 & (1<<sieveBits - 1) }

// part finds the pairs of one part. In life few keys have a partner: the sieves
// leave those and one in sixteen of the others, without a branch for the processor
// to guess, for the table.
func (m *match) part(build, probe []run) error {
	if err := m.ctx.Err(); err != nil {
		return err
	}
	clear(m.sieve[:])
	for _, rows := range build {
		for _, r := range rows {
			m.sieve.set(r.upper())
		}
	}
	probes := grown(&m.probes, count(probe)+1)
	n := 0
	for _, rows := range probe {
		for _, r := range rows {
			probes[n] = r // written first, counted after
			n += m.sieve.has(r.upper())
		}
	}
	probes = probes[:n]
	clear(m.sieve[:])
	for _, r := range probes {
		m.sieve.set(r.lower())
	}
	builds := grown(&m.builds, count(build)+1)
	n = 0
	for _, rows := range build {
		for _, r := range rows {
			builds[n] = r
			n += m.sieve.has(r.lower())
		}
	}
	return m.table(builds[:n], probes)
}

// table finds the pairs among rows that passed.
func (m *match) table(builds, probes run) error {
	heads := grown(&m.heads, 2<<bits.Len(uint(len(builds)))) // two to four buckets a row
	following := grown(&m.following, len(builds))
	clear(heads)
	bucket := func(r row) int { return int(r>>32) & (len(heads) - 1) }
	for i, b := range builds {
		at := bucket(b)
		following[i], heads[at] = heads[at], uint32(i+1)
	}
	for _, p := range probes {
		for at := heads[bucket(p)]; at != 0; at = following[at-1] {
			b := builds[at-1]
			if b>>32 != p>>32 {
				continue
			}
			if m.pairs = append(m.pairs, Pair{uint32(b), uint32(p)}); len(m.pairs) == pairBatch {
				if err := m.verify(); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// verify yields the pairs whose keys are equal. They lie all over memory: many
// are fetched at once because none waits for another.
func (m *match) verify() error {
	n := 0
	for _, p := range m.pairs {
		m.pairs[n] = p
		if m.build[p.Build] == m.probe[p.Probe] {
			n++
		}
	}
	found := m.pairs[:n]
	m.pairs = m.pairs[:0]
	if n == 0 {
		return m.ctx.Err()
	}
	return errors.Join(m.ctx.Err(), m.yield(found))
}

// grown is the scratch slice with n elements, of any content.
func grown[T any](scratch *[]T, n int) []T {
	if cap(*scratch) < n {
		*scratch = make([]T, n)
	}
	return (*scratch)[:n]
}
