// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"errors"
	"fmt"
)

// Formats of the store. A store of an earlier one is brought over when it is opened, in
// one batch.
//
//	1  the first
//	2  Match rows, made of the kept messages
const storeFormat = 2

// checkFormat also finds out at once whether the storage key is the right one.
func (s *store) checkFormat() error {
	format, err := get[int](s.view, keyFormat())
	b := s.indexed()
	defer b.close()
	switch {
	case errors.Is(err, errAbsent):
	case err != nil:
		return err
	case format == storeFormat:
		return nil
	case format == 1:
		if err := s.bringOver(b); err != nil {
			return err
		}
	default:
		return fmt.Errorf("gateway: the store has format %d, this program reads up to %d", format, storeFormat)
	}
	b.put(keyFormat(), storeFormat)
	return b.commit()
}

// bringOver makes of a store of format 1 one of format 2, for all parties in it,
// whether this gateway serves them or not.
func (s *store) bringOver(b *batch) error {
	of := func(key []byte) *Party { return &Party{key: partyKey(key[1:17])} }
	// Keys go by party and then by seq, so each match is told in its order.
	err := scan(s.view, []byte{tableMessage}, nil, false, func(key []byte, msg Message) (bool, error) {
		return true, of(key).follow(b, msg)
	})
	if err != nil {
		return err
	}
	// Of those without a signal nobody noted when it ended.
	return scan(b.view(), []byte{tableMatch}, nil, false, func(key []byte, m Match) (bool, error) {
		_, err := get[Signal](s.view, of(key).key.signal(m.SID))
		if !errors.Is(err, errAbsent) {
			return true, err
		}
		if m.Ended.IsZero() {
			m.Ended = m.Last
			b.put(key, m)
		}
		return true, nil
	})
}
