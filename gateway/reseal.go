// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/token"
	"github.com/seinhuis/seinhuis/keys"
)

// Finders are the keys by which a store finds rows, and gives pseudonyms. A storage key is
// renewed; they stay, sealed in the store like all else.
type finders struct {
	Index      []byte `json:"index"`
	Pseudonyms []byte `json:"pseudonyms"`
}

// loadFinders reads the finders. A store that has none is new, or of before they had a row:
// then they are derived from the oldest generation of the storage key, as they were, and
// that has to be there still.
func (s *store) loadFinders(roots keys.Roots, fresh bool) error {
	f, err := get[finders](s.view, keyFinders())
	if errors.Is(err, errAbsent) {
		oldest := roots[len(roots)-1]
		if !fresh && oldest.Generation != 1 {
			return ErrStore
		}
		f, err = findersOf(oldest)
		b := s.batch()
		defer b.close()
		b.put(keyFinders(), f)
		err = errors.Join(err, b.commit())
	}
	if err != nil {
		return err
	}
	if len(f.Index) != len(s.index) || len(f.Pseudonyms) != len(s.pseudonyms) {
		return ErrStore
	}
	s.index, s.pseudonyms = indexKey(f.Index), pseudonymKey(f.Pseudonyms)
	return nil
}

func findersOf(root keys.Root) (f finders, err error) {
	for label, key := range map[string]*[]byte{"seinhuis/1/gateway-index": &f.Index, "seinhuis/1/gateway-user": &f.Pseudonyms} {
		info, err := encoding.E(label)
		if err != nil {
			return f, err
		}
		if *key, err = token.KDF(root.Value, info, len(indexKey{})); err != nil {
			return f, err
		}
	}
	return f, nil
}

// What is read at once of the rows, and so how long a commit waits at most: in bytes, and
// in rows that are sealed anew.
const (
	resealBytes = 1 << 20
	resealRows  = 200
	resealRests = 4 // times as long as it works
	resealAgain = time.Minute
)

// sealAnew seals rows, from a key on, that lie under an older generation of the storage
// key, max at most; next is where to go on, nil at the end. The finders come last: a key
// without the older generation does not open a store that still needs it.
func (s *store) sealAnew(from []byte, max int) (next []byte, err error) {
	s.sealing.Lock() // what is read is what stands until it is written
	defer s.sealing.Unlock()
	b := s.batch()
	defer b.close()
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: from})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	size, n := 0, 0
	for it.First(); it.Valid() && next == nil; it.Next() {
		key := it.Key()
		if size > resealBytes || n == max {
			next = bytes.Clone(key)
			continue
		}
		if bytes.Equal(key, keyFinders()) {
			continue
		}
		sealed, err := it.ValueAndErr()
		if err != nil {
			return nil, err
		}
		size += len(sealed)
		if changed, err := b.sealAnew(key, sealed); err != nil {
			return nil, err
		} else if changed {
			n++
		}
	}
	if err := it.Error(); err != nil {
		return nil, err
	}
	if next == nil {
		if n > 0 {
			if err := b.b.Commit(pebble.Sync); err != nil {
				return nil, err
			}
			b.b.Reset()
		}
		sealed, closer, err := s.db.Get(keyFinders())
		if err != nil {
			return nil, err
		}
		_, err = b.sealAnew(keyFinders(), sealed)
		if err := errors.Join(err, closer.Close()); err != nil {
			return nil, err
		}
	}
	return next, b.b.Commit(pebble.Sync)
}

// sealAnew puts a row under the newest generation, if it is under another.
func (b *batch) sealAnew(key, sealed []byte) (changed bool, err error) {
	if len(sealed) > 0 && sealed[0] == b.s.row.Generation() {
		return false, nil
	}
	plain, err := b.s.row.Open(string(key[:1]), key, sealed)
	if err != nil {
		return false, ErrStore
	}
	defer clear(plain)
	anew, err := b.s.row.Seal(string(key[:1]), key, plain)
	if err != nil {
		return false, err
	}
	return true, b.b.Set(key, anew, nil)
}

// compact has what was deleted or overwritten leave the files of the store.
func (s *store) compact(ctx context.Context) error {
	if err := s.db.Flush(); err != nil {
		return err
	}
	return s.db.Compact(ctx, []byte{0}, []byte{0xff}, false)
}

// keepSealing seals rows anew until none lies under an older generation of the storage key.
// It begins at the first with each start: what was put back from a backup may lie under one.
func (g *Gateway) keepSealing(ctx context.Context) {
	var from []byte
	for g.store.row.HasOlder() {
		began := time.Now()
		next, err := g.store.sealAnew(from, resealRows)
		if err == nil && next == nil {
			err = g.store.compact(ctx)
		}
		rests := resealRests * time.Since(began)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			g.log.Error("rows not sealed anew", "cause", err)
			rests = resealAgain
		case next == nil:
			g.metrics.storageBehind.Set(0)
			g.log.Info("rows under the newest key")
			return
		default:
			from = next
		}
		if !sleep(ctx, rests) {
			return
		}
	}
}
