// SPDX-License-Identifier: EUPL-1.2

package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/crypto/encoding"
)

var (
	// ErrLogBehind says that the log lacks leaves of a tree that was signed. Nothing may be
	// signed on top of it: that would be another history.
	ErrLogBehind = errors.New("registry: the log is shorter than a checkpoint that was signed")
	// ErrLogForked says that the log is another one than a checkpoint that was signed.
	ErrLogForked = errors.New("registry: the log is not the one of a checkpoint that was signed")
)

// Tiles reads the tree of a store's log.
func Tiles(ctx context.Context, store Store) audit.Tiles {
	return func(at audit.Place) ([]byte, error) { return store.Tile(ctx, at) }
}

// Root is the root hash of the first size leaves of a store's log.
func Root(ctx context.Context, store Store, size int64) (tlog.Hash, error) {
	return tlog.TreeHash(size, Tiles(ctx, store))
}

// Holds tells whether a store's log goes on from a checkpoint: ErrLogBehind or
// ErrLogForked if not.
func Holds(ctx context.Context, store Store, c audit.Checkpoint) error {
	size, err := store.Logged(ctx)
	if err != nil {
		return err
	}
	if size < c.Size {
		return ErrLogBehind
	}
	root, err := Root(ctx, store, c.Size)
	if err != nil {
		return err
	}
	if root != c.Root {
		return ErrLogForked
	}
	return nil
}

// A LogState is what VerifyLog found.
type LogState struct {
	Size   int64
	Erased int64 // of them: the hash is there, the record is not
	Root   tlog.Hash
}

// VerifyLog proves a store's log from its records: each has the hash at its number, each
// hash leads to its number, and the tiles are those of all hashes. ErrCorrupt says what
// is not so.
func VerifyLog(ctx context.Context, store Store) (state LogState, err error) {
	if state.Size, err = store.Logged(ctx); err != nil {
		return state, err
	}
	v := logVerifier{ctx: ctx, store: store, grown: make(map[audit.Place][]byte)}
	err = store.Records(ctx, 0, func(number int64, leaf audit.Leaf) error {
		if number >= state.Size {
			return fmt.Errorf("%w: the log has a record behind its end", ErrCorrupt)
		}
		for v.size < number {
			if err := v.add(nil); err != nil {
				return err
			}
			state.Erased++
		}
		return v.add(&leaf)
	})
	for err == nil && v.size < state.Size {
		err = v.add(nil)
		state.Erased++
	}
	if err == nil {
		err = v.compare(true)
	}
	if err != nil {
		return state, err
	}
	state.Root, err = Root(ctx, store, state.Size)
	return state, err
}

// A logVerifier grows the tree anew beside the stored one.
type logVerifier struct {
	ctx    context.Context
	store  Store
	size   int64
	leaves []tlog.Hash // of the tile at the end of level 0
	stored []byte      // that tile, as it is stored
	grown  map[audit.Place][]byte
}

// add adds the next leaf; nil for one whose record is erased.
func (v *logVerifier) add(leaf *audit.Leaf) error {
	at := int(v.size % audit.TileWidth)
	if at == 0 {
		var err error
		if v.stored, err = v.store.Tile(v.ctx, audit.Place{N: v.size / audit.TileWidth}); err != nil {
			return err
		}
	}
	if len(v.stored) < (at+1)*tlog.HashSize {
		return fmt.Errorf("%w: a hash of the log is missing", ErrCorrupt)
	}
	hash := tlog.Hash(v.stored[at*tlog.HashSize:])
	if leaf != nil && leaf.Hash() != hash {
		return fmt.Errorf("%w: a record of the log is not the one that was logged", ErrCorrupt)
	}
	number, ok, err := v.store.Number(v.ctx, api.Hash(hash))
	if err != nil {
		return err
	}
	if !ok || number != v.size {
		return fmt.Errorf("%w: a leaf of the log is not found by its hash", ErrCorrupt)
	}
	v.leaves = append(v.leaves, hash)
	v.size++
	if len(v.leaves) == audit.TileWidth {
		return v.compare(false)
	}
	return nil
}

// compare grows the tree by the leaves that have gathered, and compares tiles that are
// full with those stored; at the end all.
func (v *logVerifier) compare(all bool) error {
	read := func(at audit.Place) ([]byte, error) { return v.grown[at], nil }
	changed, err := audit.Grow(v.size-int64(len(v.leaves)), v.leaves, read)
	if err != nil {
		return err
	}
	v.leaves = v.leaves[:0]
	for at, tile := range changed {
		v.grown[at] = tile
	}
	for at, tile := range v.grown {
		full := len(tile) == audit.TileWidth*tlog.HashSize
		if !full && !all {
			continue
		}
		stored, err := v.store.Tile(v.ctx, at)
		if err != nil {
			return err
		}
		if string(stored) != string(tile) {
			return fmt.Errorf("%w: the tree of the log is not that of its leaves", ErrCorrupt)
		}
		if full {
			delete(v.grown, at)
		}
	}
	return nil
}

// A LogFilter says which records of the log are wanted; what is zero counts for nothing.
type LogFilter struct {
	Party  api.PartyID `json:"party,omitempty"`
	User   string      `json:"user,omitempty"` // pseudonym
	Signal string      `json:"signal,omitempty"`
	From   time.Time   `json:"from,omitzero"`
	To     time.Time   `json:"to,omitzero"` // and not that instant
}

func (f LogFilter) takes(r audit.Record) bool {
	return (f.Party == "" || string(f.Party) == r.Party) && (f.User == "" || f.User == r.User) &&
		(f.Signal == "" || f.Signal == r.ObjectID) &&
		(f.From.IsZero() || !r.Time.Before(f.From)) && (f.To.IsZero() || r.Time.Before(f.To))
}

// String gives the filter as a record of the log has it.
func (f LogFilter) String() string {
	var b strings.Builder
	for _, one := range []struct {
		name, value string
		set         bool
	}{
		{"party", string(f.Party), f.Party != ""}, {"user", f.User, f.User != ""}, {"signal", f.Signal, f.Signal != ""},
		{"from", string(encoding.Time(f.From)), !f.From.IsZero()}, {"to", string(encoding.Time(f.To)), !f.To.IsZero()},
	} {
		if one.set {
			fmt.Fprintf(&b, "%s=%s ", one.name, one.value)
		}
	}
	return strings.TrimSpace(b.String())
}

// Waits is the number of a record that has none yet.
const Waits = -1

// ShowLog gives the records that a filter takes to fn, with their numbers: those of the
// log in its order, then those that wait for it.
func ShowLog(ctx context.Context, store Store, f LogFilter, fn func(number int64, r audit.Record) error) error {
	show := func(number int64, leaf audit.Leaf) error {
		r, err := audit.ParseRecord(leaf.Record)
		if err != nil { // of what is published, which is about nobody
			return nil
		}
		if !f.takes(r) {
			return nil
		}
		return fn(number, r)
	}
	if err := store.Records(ctx, 0, show); err != nil {
		return err
	}
	return store.Leaves(ctx, api.Hash{}, func(leaf audit.Leaf) error { return show(Waits, leaf) })
}
