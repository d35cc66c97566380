// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/audit"
)

// A LogEvent names what the log of access tells, in Dutch as the API shows it.
type LogEvent string

// Events of the log of access.
const (
	LogSignalRead      LogEvent = "signaalGelezen" // with the own card
	LogSignalMade      LogEvent = "signaalAangemeld"
	LogSignalWithdrawn LogEvent = "signaalIngetrokken"
	LogSignalRenewed   LogEvent = "signaalVerlengd"
	LogCardChanged     LogEvent = "kaartGewijzigd"
	LogCardRead        LogEvent = "kaartGelezen" // another party's
	LogCodeRead        LogEvent = "codeGelezen"
	LogMatchSeen       LogEvent = "matchGezien"
	LogMatchRead       LogEvent = "matchGelezen" // who is in it; cards and codes have events of their own
	LogAnswered        LogEvent = "matchBeantwoord"

	LogHandoverGiven     LogEvent = "signaalGegeven" // to another party
	LogHandoverTakenBack LogEvent = "signaalTeruggenomen"
	LogImport            LogEvent = "importAangeleverd"
	LogOwnerAdded        LogEvent = "eigenaarToegevoegd"
	LogOwnerReplaced     LogEvent = "signaalOvergedragen"
	LogTransfer          LogEvent = "overdrachtBegonnen"
	LogUserMade          LogEvent = "gebruikerGemaakt"
	LogUserChanged       LogEvent = "gebruikerGewijzigd"
	LogUserDeleted       LogEvent = "gebruikerVerwijderd"
	LogKeyMade           LogEvent = "sleutelGemaakt"
	LogKeyRevoked        LogEvent = "sleutelIngetrokken"
	LogSubscription      LogEvent = "abonnementGewijzigd"
	LogRead              LogEvent = "inzagenGelezen"
	LogResolved          LogEvent = "pseudoniemHerleid" // a user of the registry's log
)

// logActions has every event with the kind of act that it is.
var logActions = map[LogEvent]audit.Action{
	LogSignalRead: audit.Read, LogSignalMade: audit.Create, LogSignalWithdrawn: audit.Delete, LogSignalRenewed: audit.Update,
	LogCardChanged: audit.Update, LogCardRead: audit.Read, LogCodeRead: audit.Read, LogMatchRead: audit.Read, LogMatchSeen: audit.Update, LogAnswered: audit.Create,
	LogHandoverGiven: audit.Update, LogHandoverTakenBack: audit.Update,
	LogImport: audit.Create, LogOwnerAdded: audit.Update, LogOwnerReplaced: audit.Update, LogTransfer: audit.Execute,
	LogUserMade: audit.Create, LogUserChanged: audit.Update, LogUserDeleted: audit.Delete,
	LogKeyMade: audit.Create, LogKeyRevoked: audit.Delete, LogSubscription: audit.Update, LogRead: audit.Read, LogResolved: audit.Read,
}

// Types of objects in the log of access.
const (
	ObjectSignal       = "signaal" // by the registration's id
	ObjectMatch        = "match"
	ObjectImport       = "import"
	ObjectUser         = "gebruiker"
	ObjectKey          = "sleutel"
	ObjectSubscription = "abonnement"
	ObjectTransfer     = "overdracht"
	ObjectLog          = "inzagen"
)

// A Touch is one thing that was read or changed.
type Touch struct {
	Event      LogEvent
	ObjectType string
	ObjectID   string  // never a reference, tag or national number
	SID        api.SID // of the signal that it concerns, if any
	Outcome    audit.Outcome
}

// A LogRow is one row of the log of access: the fields of NEN 7513.
type LogRow struct {
	ID     ID           `json:"id"`
	Record audit.Record `json:"record"`
	SID    api.SID      `json:"sid,omitzero"`
}

// LogAccess keeps what was read or changed in the log of access, on disk when it
// returns: an answer that shows a card is given after it.
func (p *Party) LogAccess(a *Access, touches ...Touch) error {
	if len(touches) == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.g.store.batch()
	defer b.close()
	p.logAccess(b, a, touches...)
	return p.commit(b)
}

// logAccess puts rows of the log in the batch of the act itself.
func (p *Party) logAccess(b *batch, a *Access, touches ...Touch) {
	now := p.g.now()
	for _, t := range touches {
		row := LogRow{ID: newID(now), Record: a.record(t, now), SID: t.SID}
		if _, err := row.Record.Marshal(); err != nil && b.err == nil {
			b.err = err
		}
		b.put(p.key.logRow(row.ID), row)
		for _, about := range p.logIndex(row) {
			b.put(about, struct{}{})
		}
	}
}

// logIndex are the keys under which a row is found.
func (p *Party) logIndex(row LogRow) (list [][]byte) {
	add := func(use, value string) { list = append(list, append(p.logAbout(use, value), row.ID[:]...)) }
	if row.Record.OnBehalfOf != "" {
		add("person", row.Record.OnBehalfOf)
	}
	if row.Record.ObjectID != "" {
		add("object", row.Record.ObjectID)
	}
	if !row.SID.IsZero() {
		add("object", row.SID.String())
	}
	return list
}

func (p *Party) logAbout(use, value string) []byte {
	return p.key.logAbout(p.g.store.index.of("log "+use, p.key, value))
}

// A LogQuery says which rows of the log are asked for; a zero field for all.
type LogQuery struct {
	Person      string    // on whose behalf
	Signal      string    // the id of a registration, or a sid
	From, Until time.Time // since, and before
}

// Log reads the log of access, the newest first, beginning behind the row called from.
// That it is read is in it. more tells whether there are others.
func (a *Access) Log(q LogQuery, from ID, limit int) (list []LogRow, more bool, err error) {
	p := a.Party
	asked := q.Signal
	if asked == "" {
		asked = q.Person
	}
	if err := p.LogAccess(a, Touch{Event: LogRead, ObjectType: ObjectLog, ObjectID: asked}); err != nil {
		return nil, false, err
	}
	v, release := p.g.store.snapshot()
	defer release()
	take := func(row LogRow) bool {
		switch at := row.Record.Time; {
		case !q.From.IsZero() && at.Before(q.From):
			return false // and so are all behind it
		case !q.Until.IsZero() && !at.Before(q.Until) || q.Person != "" && row.Record.OnBehalfOf != q.Person:
			return true
		}
		if more = len(list) == limit; more {
			return false
		}
		list = append(list, row)
		return true
	}
	switch {
	case q.Signal != "":
		err = p.logOfSignal(v, q.Signal, from, take)
	case q.Person != "":
		about := p.logAbout("person", q.Person)
		err = scan(v, about, behind(about, from), true, func(key []byte, _ struct{}) (bool, error) {
			row, err := get[LogRow](v, p.key.logRow(idAt(key)))
			return err == nil && take(row), err
		})
	default:
		err = scan(v, p.key.table(tableLog), behind(p.key.table(tableLog), from), true, func(_ []byte, row LogRow) (bool, error) {
			return take(row), nil
		})
	}
	return list, more, err
}

func behind(prefix []byte, from ID) []byte {
	if from.IsZero() {
		return nil
	}
	return join(prefix[0], prefix[1:], from[:])
}

// logOfSignal finds what concerns a registration and the signal to which it points, or
// did when it was still kept.
func (p *Party) logOfSignal(v view, signal string, from ID, take func(LogRow) bool) error {
	rows := map[ID]LogRow{}
	about := func(value string) error {
		return scan(v, p.logAbout("object", value), nil, true, func(key []byte, _ struct{}) (bool, error) {
			row, err := get[LogRow](v, p.key.logRow(idAt(key)))
			rows[row.ID] = row
			return true, err
		})
	}
	if err := about(signal); err != nil {
		return err
	}
	sids := map[api.SID]bool{}
	if id, err := ParseID(signal); err == nil {
		reg, err := get[Registration](v, p.key.registration(id))
		if err != nil && !errors.Is(err, errAbsent) {
			return err
		}
		sids[reg.SID] = true
	}
	for _, row := range rows {
		sids[row.SID] = true
	}
	delete(sids, api.SID{})
	for sid := range sids {
		if err := about(sid.String()); err != nil {
			return err
		}
	}
	for _, id := range slices.Backward(slices.SortedFunc(maps.Keys(rows), func(x, y ID) int { return bytes.Compare(x[:], y[:]) })) {
		if (from.IsZero() || bytes.Compare(id[:], from[:]) < 0) && !take(rows[id]) {
			break
		}
	}
	return nil
}

const keepLogYears = 5

// sweepLog forgets what the log has held for as long as it keeps it.
func (p *Party) sweepLog(b *batch, v view) error {
	tooOld := p.g.now().AddDate(-keepLogYears, 0, 0)
	err := scan(v, p.key.table(tableLog), nil, false, func(key []byte, row LogRow) (bool, error) {
		if !row.Record.Time.Before(tooOld) {
			return false, nil
		}
		b.delete(key)
		for _, about := range p.logIndex(row) {
			b.delete(about)
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	return scan(v, p.key.table(tableAPIKey), nil, false, func(key []byte, k APIKey) (bool, error) {
		if Midnight(k.Ends).Before(tooOld) {
			b.delete(key)
		}
		return true, nil
	})
}

// logAct puts an act on a registration in the log, in the batch of the act. What the
// gateway itself does has no access and is not in it.
func (p *Party) logAct(b *batch, by *Access, event LogEvent, reg Registration) {
	if by != nil {
		p.logAccess(b, by, Touch{Event: event, ObjectType: ObjectSignal, ObjectID: reg.ID.String(), SID: reg.SID})
	}
}

func (a *Access) record(t Touch, now time.Time) audit.Record {
	roles := make([]string, len(a.Roles))
	for i, r := range a.Roles {
		roles[i] = string(r)
	}
	if t.Outcome == "" {
		t.Outcome = audit.Success
	}
	return audit.Record{
		Event: string(t.Event), Action: logActions[t.Event], Outcome: t.Outcome, Time: now.UTC().Truncate(time.Millisecond),
		Party: string(a.Party.id), User: a.Who, Role: strings.Join(roles, " "), OnBehalfOf: a.Person,
		Access: a.Origin, ObjectType: t.ObjectType, ObjectID: t.ObjectID, System: "poort", TraceID: a.Trace,
	}
}
