// SPDX-License-Identifier: EUPL-1.2

package pebblestore

import (
	"sync"

	"github.com/seinhuis/seinhuis/registry"
)

// idxLocks gives every idx in use a lock of its own.
type idxLocks struct {
	mu   sync.Mutex
	held map[registry.Idx]*idxLock
}

type idxLock struct {
	sync.Mutex
	users int // who hold it or wait for it; guarded by idxLocks.mu
}

// lock locks an idx and gives what unlocks it.
func (l *idxLocks) lock(idx registry.Idx) (unlock func()) {
	l.mu.Lock()
	if l.held == nil {
		l.held = make(map[registry.Idx]*idxLock)
	}
	one := l.held[idx]
	if one == nil {
		one = new(idxLock)
		l.held[idx] = one
	}
	one.users++
	l.mu.Unlock()
	one.Lock()
	return func() {
		one.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		if one.users--; one.users == 0 {
			delete(l.held, idx)
		}
	}
}
