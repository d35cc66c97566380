// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/identity"
)

// MaxPersons is how many persons one report can have.
const MaxPersons = 100

// Roles of persons in a report.
const (
	RoleChild       = "kind"
	RoleSibling     = "broerZus"
	RoleParent      = "ouder"
	RolePerpetrator = "vermoedelijkePleger"
	RoleOther       = "anders"
)

var roles = []string{RoleChild, RoleSibling, RoleParent, RolePerpetrator, RoleOther}

// A Person is one person in a report, as entered. It prints as [person].
type Person struct {
	Subject
	Role      string // empty is RoleChild
	Reference string // empty is the report's
}

// Format prints [person], whatever the verb.
func (Person) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[person]") }

// LogValue logs [person].
func (Person) LogValue() slog.Value { return slog.StringValue("[person]") }

// MarshalText writes [person].
func (Person) MarshalText() ([]byte, error) { return []byte("[person]"), nil }

// A ReportStatus is a report with the status of each of its registrations, in the
// order of its persons; nil for who has none.
type ReportStatus struct {
	Report
	Status []*Status
	Clock  Clock // of the triage
}

// Settled tells whether nothing is left to do for any person in it.
func (r ReportStatus) Settled() bool {
	return !slices.ContainsFunc(r.Status, func(s *Status) bool { return s != nil && !s.Settled() })
}

// Open tells whether somebody in it is not signalled who still may be.
func (r Report) Open() bool {
	return slices.ContainsFunc(r.Persons, func(o Outcome) bool { return o.NotSignalled != "" })
}

// Report takes on several persons at once. Everybody under 23 is signalled,
// whatever the role; each person has an outcome of his own, and the fault of one
// does not hold up another. A report whose reference was used before is a repeat:
// its registrations turn out to be the earlier ones.
func (p *Party) Report(persons []Person, t Terms) (ReportStatus, error) {
	now := p.g.now()
	today := identity.Today(now)
	faults := p.check(&t)
	switch {
	case len(persons) == 0:
		faults = append(faults, Fault{FieldPersons, CodeMissing})
	case len(persons) > MaxPersons:
		faults = append(faults, Fault{FieldPersons, CodeLength})
	}
	found := make([]identity.Identity, len(persons))
	outcomes := make([]Outcome, len(persons))
	for i, person := range persons {
		found[i], outcomes[i] = p.judge(person, t, today)
		// The terms are kept with the whole report, so here nobody can be left out.
		for _, f := range repeats(person.Number, found[i], t) {
			if !slices.Contains(faults, f) {
				faults = append(faults, f)
			}
		}
	}
	for i := range outcomes {
		for j := range persons {
			// A reference of one with the number of another.
			if j != i && slices.Contains(repeats(persons[j].Number, found[j], Terms{Reference: outcomes[i].Reference}), Fault{FieldReference, CodeIsNumber}) {
				outcomes[i].Faults = append(outcomes[i].Faults, Fault{FieldReference, CodeIsNumber})
				outcomes[i].Reference = ""
			}
		}
	}
	if len(faults) > 0 {
		return ReportStatus{}, &InputError{faults}
	}
	if err := p.basis(now); err != nil {
		return ReportStatus{}, err
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	subjects := make([]Subject, len(persons))
	for i, person := range persons {
		subjects[i] = person.Subject
	}
	once, err := p.once("report", t, subjects...)
	if err != nil {
		return ReportStatus{}, err
	}
	if once.seen != nil {
		return p.replayedReport(t.by, once.seen.Report)
	}
	report := Report{ID: newID(now), Created: now.UTC(), Reference: t.Reference, Owner: t.Owner, Persons: outcomes, DecideBy: p.decideBy(now)}
	b := p.g.store.batch()
	defer b.close()
	taken := 0
	for i := range outcomes {
		if outcomes[i].NotSignalled != "" || len(outcomes[i].Faults) > 0 {
			continue
		}
		terms := t
		terms.Reference = outcomes[i].Reference
		reg, err := p.register(b, now, found[i], terms, origin{Report: report.ID})
		if err != nil {
			return ReportStatus{}, err
		}
		outcomes[i].Registration = reg.ID
		p.logAct(b, t.by, LogSignalMade, reg)
		taken++
	}
	if err := p.repeat(b, t.by, &report); err != nil {
		return ReportStatus{}, err
	}
	b.put(p.key.report(report.ID), report)
	once.remember(b, replay{Created: now, Report: report.ID})
	if err := p.commit(b); err != nil {
		return ReportStatus{}, err
	}
	for range taken {
		p.took(JobSignal)
	}
	return p.report(p.g.store.view, report.ID)
}

// replayedReport is as replayed, for a report.
func (p *Party) replayedReport(by *Access, id ID) (ReportStatus, error) {
	r, err := p.report(p.g.store.view, id)
	if err != nil || by == nil {
		return r, err
	}
	if !by.Sees(r.Owner) {
		return ReportStatus{}, ErrNotFound
	}
	r = by.own(r)
	b := p.g.store.batch()
	defer b.close()
	for _, s := range r.Status {
		if s != nil {
			p.logAct(b, by, LogSignalRead, s.Registration)
		}
	}
	return r, p.commit(b)
}

// judge decides on one person: an identity to signal, or an outcome that says why
// there is none.
func (p *Party) judge(person Person, t Terms, today encoding.Date) (identity.Identity, Outcome) {
	o := Outcome{Role: person.Role, Reference: person.Reference}
	if o.Role == "" {
		o.Role = RoleChild
	}
	if o.Reference == "" {
		o.Reference = t.Reference
	}
	if !slices.Contains(roles, o.Role) {
		o.Role = "" // it is not kept: who knows what it says
		o.Faults = append(o.Faults, Fault{FieldRole, CodeUnknown})
	}
	id, faults := identify(person.Subject, today)
	terms := t
	terms.Reference = o.Reference
	if f, ok := checkReference(o.Reference); !ok {
		o.Faults = append(o.Faults, f)
		o.Reference = ""
	} else if slices.Contains(repeats(person.Number, id, terms), Fault{FieldReference, CodeIsNumber}) {
		o.Faults = append(o.Faults, Fault{FieldReference, CodeIsNumber})
		o.Reference = ""
	}
	if person.Number == "" {
		// Without a number there is no signal, but somebody of 23 never becomes one.
		faults = numberless(person, today)
		if len(faults) == 0 {
			o.NotSignalled = CodeNoNumber
		}
	}
	o.Faults = append(o.Faults, faults...)
	if m, _ := p.g.roots.known(); o.Role == RolePerpetrator && len(o.Faults) == 0 && o.NotSignalled == "" &&
		(m == nil || !m.Policy.SignalPerpetrators) {
		o.NotSignalled = CodeRoleNotAllowed
	}
	return id, o
}

// numberless gives the faults of a person without a number: all that the birth
// date has, if there is one. The kind of a number that is not there is no fault.
func numberless(person Person, today encoding.Date) (faults []Fault) {
	if person.BirthDate == "" {
		return nil
	}
	subject := Subject{Kind: "bsn", BirthDate: person.BirthDate} // the kind that needs a birth date
	_, all := identify(subject, today)
	for _, f := range all {
		if f.Field == FieldBirthDate {
			faults = append(faults, f)
		}
	}
	return faults
}

// ReportByID reads one report.
func (p *Party) ReportByID(id ID) (ReportStatus, error) {
	v, release := p.g.store.snapshot()
	defer release()
	return p.report(v, id)
}

func (p *Party) report(v view, id ID) (ReportStatus, error) {
	row, err := get[Report](v, p.key.report(id))
	if errors.Is(err, errAbsent) {
		return ReportStatus{}, ErrNotFound
	}
	if err != nil {
		return ReportStatus{}, err
	}
	return p.withStatus(v, row)
}

func (p *Party) withStatus(v view, row Report) (ReportStatus, error) {
	if row.DecideBy.IsZero() { // from before there was a clock, or without a manifest
		row.DecideBy = p.decideBy(row.Created)
	}
	r := ReportStatus{Report: row, Status: make([]*Status, len(row.Persons)), Clock: row.clock(identity.Today(p.g.now()))}
	for i, o := range row.Persons {
		if o.Registration.IsZero() {
			continue
		}
		s, err := p.status(v, o.Registration)
		if errors.Is(err, ErrNotFound) { // swept, long after it ended
			continue
		}
		if err != nil {
			return ReportStatus{}, err
		}
		r.Status[i] = &s
	}
	return r, nil
}

// Reports lists reports, the newest first, beginning behind the one called from;
// of those that are chosen. more tells whether there are others.
func (p *Party) Reports(from ID, limit int, only ReportFilter) (list []ReportStatus, more bool, err error) {
	return p.reports(from, limit, only, everybody)
}

// everybody is within the reach of the gateway itself.
func everybody(string) bool { return true }

func (p *Party) reports(from ID, limit int, only ReportFilter, sees func(owner string) bool) (list []ReportStatus, more bool, err error) {
	v, release := p.g.store.snapshot()
	defer release()
	var start []byte
	if !from.IsZero() {
		start = p.key.report(from)
	}
	err = scan(v, p.key.table(tableReport), start, true, func(_ []byte, row Report) (bool, error) {
		if row.DecideBy.IsZero() {
			row.DecideBy = p.decideBy(row.Created)
		}
		if !only.has(row) || !sees(row.Owner) {
			return true, nil
		}
		if len(list) == limit {
			more = true
			return false, nil
		}
		r, err := p.withStatus(v, row)
		list = append(list, r)
		return true, err
	})
	return list, more, err
}
