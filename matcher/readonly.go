// SPDX-License-Identifier: EUPL-1.2

package matcher

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/seinhuis/seinhuis/api"
)

// A Reason is why a registry is read-only, in the word that health, metrics and log
// have for it.
type Reason string

// The reasons there are.
const (
	ReasonDisk    Reason = "disk"    // there is little room left
	ReasonJournal Reason = "journal" // nor is there on the journal's own disk
	ReasonClock   Reason = "clock"   // the clock is not believed
)

// Reasons are all reasons.
var Reasons = []Reason{ReasonDisk, ReasonJournal, ReasonClock}

// ReadOnly holds why a registry takes nothing new at the moment: no signal, no
// revision, no answer. What was taken before is answered as before, withdrawals are
// taken, and the sweep and the feeds go on. As long as there is any reason it is
// read-only. The zero value is not. Its methods may be called at the same time.
type ReadOnly struct {
	mu  sync.Mutex
	why []Reason
}

// errReadOnly is the cause that the log gets with a refusal, by reason.
var errReadOnly = map[Reason]error{
	ReasonDisk:    errors.New("matcher: read-only: there is little room left on the disk"),
	ReasonJournal: errors.New("matcher: read-only: there is little room left on the journal's disk"),
	ReasonClock:   errors.New("matcher: read-only: the clock is not believed"),
}

// readOnlyWait is when a party is told to come again. Nobody knows when.
const readOnlyWait = time.Minute

// Set says that a reason holds, or no longer. It tells whether that is news.
func (r *ReadOnly) Set(why Reason, holds bool) (news bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(r.why, why) == holds {
		return false
	}
	if holds {
		r.why = append(r.why, why)
	} else {
		r.why = slices.DeleteFunc(r.why, func(w Reason) bool { return w == why })
	}
	return true
}

// Why are the reasons that hold.
func (r *ReadOnly) Why() []Reason {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.why)
}

// refusal is what whoever brings something new is told; nil where it is taken.
func (r *ReadOnly) refusal() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.why) == 0 {
		return nil
	}
	return api.RefuseFor(api.CodeUnavailable, errReadOnly[r.why[0]], readOnlyWait)
}
