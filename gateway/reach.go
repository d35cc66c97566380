// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"bytes"
	"context"
	"crypto/aes"
	"encoding/binary"
	"encoding/hex"
	"slices"
)

// What an Access may read and do. Its roles are held against the operation by who calls
// (see package rest); here it is about reach, and about the log. What is out of reach is
// ErrNotFound, after the same work as for what is not there: an attempt is not logged,
// for the time that it takes would tell.

// people are those whose signals are within reach, where that is not everybody's.
func (a *Access) people() (owners []string) {
	if a.Person == "" {
		return nil
	}
	owners = append(owners, a.Person)
	for _, id := range a.Party.door.userIDs() {
		if id != a.Person && a.Sees(id) {
			owners = append(owners, id)
		}
	}
	return owners
}

// touched are registrations as the log of access has them.
func touched(event LogEvent, list ...Status) (touches []Touch) {
	for _, s := range list {
		touches = append(touches, Touch{Event: event, ObjectType: ObjectSignal, ObjectID: s.ID.String(), SID: s.SID})
	}
	return touches
}

// Signal is as the party's, for an owner within reach.
func (a *Access) Signal(s Subject, t Terms) (Status, error) {
	t.by = a
	return a.Party.Signal(s, t)
}

// CheckSignal is as the party's.
func (a *Access) CheckSignal(s Subject, t Terms) []Fault {
	t.by = a
	return a.Party.CheckSignal(s, t)
}

// Registration reads one registration; that it was read is in the log.
func (a *Access) Registration(id ID) (Status, error) {
	s, err := a.Outcome(id)
	if err != nil {
		return Status{}, err
	}
	return s, a.Party.LogAccess(a, touched(LogSignalRead, s)...)
}

// Outcome is as Registration, for who has just done something about it: that is in the
// log already.
func (a *Access) Outcome(id ID) (Status, error) {
	s, err := a.Party.Registration(id)
	if err == nil && !a.Sees(s.Owner) {
		return Status{}, ErrNotFound
	}
	return s, err
}

// Registrations lists as the party's, of what is within reach.
func (a *Access) Registrations(from ID, limit int, only State) (list []Status, more bool, err error) {
	p := a.Party
	if a.Reach == ReachAll {
		list, more, err = p.Registrations(from, limit, only)
	} else {
		list, more, err = p.owned(a.people(), from, limit, only)
	}
	if err != nil {
		return nil, false, err
	}
	return list, more, p.LogAccess(a, touched(LogSignalRead, list...)...)
}

// owned lists the registrations of some professionals, as Registrations does.
func (p *Party) owned(owners []string, from ID, limit int, only State) (list []Status, more bool, err error) {
	v, release := p.g.store.snapshot()
	defer release()
	for _, owner := range owners {
		prefix := p.key.ownedBy(p.g.store.index.of("owner", p.key, owner))
		var start []byte
		if !from.IsZero() {
			start = join(prefix[0], prefix[1:], from[:])
		}
		n := 0
		err := scan(v, prefix, start, true, func(key []byte, _ struct{}) (bool, error) {
			s, err := p.status(v, idAt(key))
			if err != nil || only != "" && s.State != only {
				return true, err
			}
			list = append(list, s)
			n++
			return n <= limit, nil
		})
		if err != nil {
			return nil, false, err
		}
	}
	slices.SortFunc(list, func(x, y Status) int { return bytes.Compare(y.ID[:], x.ID[:]) })
	if len(list) > limit {
		return list[:limit], true, nil
	}
	return list, false, nil
}

// Withdraw is as the party's.
func (a *Access) Withdraw(id ID, reason string) (Status, error) {
	return a.Party.withdraw(a, id, reason)
}

// Renew is as the party's.
func (a *Access) Renew(id ID, s Subject, t Terms) (Status, error) {
	t.by = a
	return a.Party.Renew(id, s, t)
}

// Report is as the party's, for a reporter within reach.
func (a *Access) Report(persons []Person, t Terms) (ReportStatus, error) {
	t.by = a
	r, err := a.Party.Report(persons, t)
	return a.own(r), err
}

// ReportByID reads one report; that its signals were read is in the log.
func (a *Access) ReportByID(id ID) (ReportStatus, error) {
	r, err := a.ReportOutcome(id)
	if err != nil {
		return ReportStatus{}, err
	}
	return r, a.logReports(r)
}

// ReportOutcome is as ReportByID, for who has just made the report.
func (a *Access) ReportOutcome(id ID) (ReportStatus, error) {
	r, err := a.Party.ReportByID(id)
	if err == nil && !a.Sees(r.Owner) {
		return ReportStatus{}, ErrNotFound
	}
	return a.own(r), err
}

// own takes out of a report what has gone to somebody out of reach.
func (a *Access) own(r ReportStatus) ReportStatus {
	for i, s := range r.Status {
		if s != nil && !a.Sees(s.Owner) {
			r.Status[i] = nil
			r.Persons[i].Elsewhere = true
		}
	}
	return r
}

// Reports lists as the party's, of what is within reach.
func (a *Access) Reports(from ID, limit int, only ReportFilter) (list []ReportStatus, more bool, err error) {
	list, more, err = a.Party.reports(from, limit, only, a.Sees)
	for i := range list {
		list[i] = a.own(list[i])
	}
	if err != nil {
		return nil, false, err
	}
	return list, more, a.logReports(list...)
}

func (a *Access) logReports(list ...ReportStatus) error {
	var touches []Touch
	for _, r := range list {
		for _, s := range r.Status {
			if s != nil {
				touches = append(touches, touched(LogSignalRead, *s)...)
			}
		}
	}
	return a.Party.LogAccess(a, touches...)
}

// Import begins or finds an import, as the party's; again is as ImportAgain. Its owner,
// if it has one, is within reach; without one only who sees everything can have it.
func (a *Access) Import(t Terms, total int, again bool) (s ImportStatus, made bool, err error) {
	t.by = a
	return a.Party.beginImport(t, total, again)
}

// AddRows is as the party's. Every row's owner is within reach.
func (a *Access) AddRows(id ID, first int, rows []Row) ([]RowStatus, error) {
	list, err := a.Party.addRows(a, id, first, rows)
	return a.ownRows(list), err
}

// ImportByID is as the party's.
func (a *Access) ImportByID(id ID) (ImportStatus, error) {
	s, err := a.Party.ImportByID(id)
	if err == nil && !a.Sees(s.Owner) {
		return ImportStatus{}, ErrNotFound
	}
	return s, err
}

// Imports lists as the party's, of what is within reach.
func (a *Access) Imports(from ID, limit int) (list []ImportStatus, more bool, err error) {
	return a.Party.imports(from, limit, a.Sees)
}

// ImportRows lists as the party's. Rows of which the signal has gone to somebody out of
// reach say no more than that.
func (a *Access) ImportRows(id ID, after, limit int) (list []RowStatus, more bool, err error) {
	if _, err := a.ImportByID(id); err != nil {
		return nil, false, err
	}
	list, more, err = a.Party.ImportRows(id, after, limit)
	return a.ownRows(list), more, err
}

func (a *Access) ownRows(list []RowStatus) []RowStatus {
	for i := range list {
		if s := &list[i]; s.owner != "" && !a.Sees(s.owner) {
			s.Elsewhere = true
		}
	}
	return list
}

// AwaitMessages is as the party's, of what is within reach. What others' cards and codes
// it shows is in the log.
func (a *Access) AwaitMessages(ctx context.Context, from uint64, limit int) ([]Message, error) {
	list, err := a.Party.awaitMessages(ctx, from, limit, a)
	if err != nil {
		return nil, err
	}
	return list, a.Party.LogAccess(a, TouchedMessages(list)...)
}

// TouchedMessages are the cards and codes in messages as the log of access has them.
func TouchedMessages(list []Message) (touches []Touch) {
	for _, m := range list {
		t := Touch{Event: LogCardRead, ObjectType: ObjectMatch, ObjectID: m.Match.String(), SID: m.SID}
		if !m.Other.Card.IsZero() {
			touches = append(touches, t)
		}
		if m.Other.Code != "" {
			t.Event = LogCodeRead
			touches = append(touches, t)
		}
	}
	return touches
}

// Cursor is a place in the inbox as it is handed out: to who sees everything the seq,
// to others the seq encrypted, for how many messages there are is not theirs to know.
func (a *Access) Cursor(seq uint64) string {
	place := binary.BigEndian.AppendUint64(nil, seq)
	if a.Reach == ReachAll {
		return hex.EncodeToString(place)
	}
	block := append(place, make([]byte, 8)...)
	cipher, err := aes.NewCipher(a.cursorKey())
	if err != nil { // a key of 16 bytes
		panic(err)
	}
	cipher.Encrypt(block, block)
	return hex.EncodeToString(block)
}

// ParseCursor reads what Cursor gave to this access or one like it; empty is the
// beginning. ErrCursor is what anything else gives.
func (a *Access) ParseCursor(s string) (uint64, error) {
	if s == "" {
		return 0, nil
	}
	block, err := hex.DecodeString(s)
	switch {
	case err != nil || len(block) != 8 && len(block) != 16 || len(block) == 8 && a.Reach != ReachAll:
		return 0, ErrCursor
	case len(block) == 16:
		cipher, err := aes.NewCipher(a.cursorKey())
		if err != nil {
			panic(err)
		}
		cipher.Decrypt(block, block)
		if binary.BigEndian.Uint64(block[8:]) != 0 {
			return 0, ErrCursor
		}
	}
	return binary.BigEndian.Uint64(block), nil
}

func (a *Access) cursorKey() []byte {
	k := a.Party.g.store.index.of("cursor", a.Party.key, "")
	return k[:]
}
