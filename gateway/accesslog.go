// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
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
	LogAnswered        LogEvent = "matchBeantwoord"
	LogImport          LogEvent = "importAangeleverd"
	LogOwnerAdded      LogEvent = "eigenaarToegevoegd"
	LogOwnerReplaced   LogEvent = "signaalOvergedragen"
	LogTransfer        LogEvent = "overdrachtBegonnen"
	LogUserMade        LogEvent = "gebruikerGemaakt"
	LogUserChanged     LogEvent = "gebruikerGewijzigd"
	LogUserDeleted     LogEvent = "gebruikerVerwijderd"
	LogKeyMade         LogEvent = "sleutelGemaakt"
	LogKeyRevoked      LogEvent = "sleutelIngetrokken"
	LogSubscription    LogEvent = "abonnementGewijzigd"
	LogRead            LogEvent = "inzagenGelezen"
)

// logActions has every event with the kind of act that it is.
var logActions = map[LogEvent]audit.Action{
	LogSignalRead: audit.Read, LogSignalMade: audit.Create, LogSignalWithdrawn: audit.Delete, LogSignalRenewed: audit.Update,
	LogCardChanged: audit.Update, LogCardRead: audit.Read, LogCodeRead: audit.Read, LogAnswered: audit.Create,
	LogImport: audit.Create, LogOwnerAdded: audit.Update, LogOwnerReplaced: audit.Update, LogTransfer: audit.Execute,
	LogUserMade: audit.Create, LogUserChanged: audit.Update, LogUserDeleted: audit.Delete,
	LogKeyMade: audit.Create, LogKeyRevoked: audit.Delete, LogSubscription: audit.Update, LogRead: audit.Read,
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
	}
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
