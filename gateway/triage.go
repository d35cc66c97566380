// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"errors"
	"slices"
	"time"

	"github.com/seinhuis/seinhuis/calendar"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/identity"
)

// triageDays is within how many working days after a report came in its triage is
// decided (Handelingsprotocol Veilig Thuis, triage).
const triageDays = 5

// decideBy is the last day for the triage of a report that came then, by the calendar
// of the policy; zero when that is not known. The day on which it came does not count.
func (p *Party) decideBy(came time.Time) encoding.Date {
	m, _ := p.g.roots.known()
	if m == nil {
		return encoding.Date{}
	}
	days, ok := calendar.ByName(m.Policy.Calendar)
	if !ok {
		return encoding.Date{}
	}
	return encoding.DateOf(days.AddWorkingDays(identity.Today(came).In(time.UTC), triageDays))
}

// A Clock says how the triage of a report stands in time.
type Clock string

// Clocks, by the API's names.
const (
	ClockRuns    Clock = "loopt"
	ClockToday   Clock = "vandaag" // is the last day
	ClockOver    Clock = "verstreken"
	ClockUnknown Clock = ""
)

// clock tells how the triage stands on a day. That it was decided only the party knows.
func (r Report) clock(today encoding.Date) Clock {
	switch {
	case r.DecideBy.IsZero():
		return ClockUnknown
	case r.DecideBy == today:
		return ClockToday
	case r.DecideBy.Compare(today) < 0:
		return ClockOver
	}
	return ClockRuns
}

// A Todo is something that is still to be done for one person in a report.
type Todo struct {
	Person int // its place, from 0
	Words  string
}

// Todo lists what is still to be done: who is not signalled and may still be, who was
// refused for what can be mended, and who waits. Whoever has no number is in it every day,
// until he is sent in again with one.
func (r ReportStatus) Todo() (list []Todo) {
	for i, o := range r.Persons {
		switch s := r.Status[i]; {
		case o.Elsewhere:
		case s != nil && s.Job != nil:
			list = append(list, Todo{i, s.Words()})
		case s != nil && s.State == StateRefused:
			list = append(list, Todo{i, s.Words()})
		case s != nil:
		case o.NotSignalled != "":
			list = append(list, Todo{i, o.NotSignalled.Words()})
		case len(o.Faults) > 0 && !slices.ContainsFunc(o.Faults, func(f Fault) bool { return f.Code == CodeAdult }):
			list = append(list, Todo{i, o.Faults[0].Detail()})
		}
	}
	return list
}

// A ReportFilter chooses reports; the zero value chooses all.
type ReportFilter struct {
	Open     bool          // in which somebody is not signalled who still may be
	DecideBy encoding.Date // whose triage has to be decided by then; zero is all
}

func (f ReportFilter) has(r Report) bool {
	return (!f.Open || r.Open()) && (f.DecideBy.IsZero() || !r.DecideBy.IsZero() && r.DecideBy.Compare(f.DecideBy) <= 0)
}

// repeat puts into a batch what a report is to the earlier ones with its reference.
// Somebody there who was not signalled points to the registration that he has now, and
// so does not come back the next day. He is known by a reference of his own, or by being
// the only person in both; who could be another stays open.
func (p *Party) repeat(b *batch, by *Access, report *Report) error {
	first := p.key.reportKey(p.g.store.index.of("report", p.key, report.Reference))
	last := p.key.reportKey(p.g.store.index.of("report last", p.key, report.Reference))
	begin, err := get[ID](p.g.store.view, first)
	if errors.Is(err, errAbsent) {
		b.put(first, report.ID)
		return nil
	} else if err != nil {
		return err
	}
	if report.Before, err = get[ID](p.g.store.view, last); errors.Is(err, errAbsent) {
		report.Before = begin
	} else if err != nil {
		return err
	}
	b.put(last, report.ID)
	for id := report.Before; !id.IsZero(); {
		earlier, err := get[Report](p.g.store.view, p.key.report(id))
		if errors.Is(err, errAbsent) { // swept
			return nil
		} else if err != nil {
			return err
		}
		if by == nil || by.Sees(earlier.Owner) {
			if id == begin {
				report.Repeats = id
			}
			if earlier.answeredBy(*report) {
				b.put(p.key.report(id), earlier)
			}
		}
		id = earlier.Before
	}
	return nil
}

// answeredBy takes from a later report the registrations of who had none, and tells
// whether there were any.
func (r *Report) answeredBy(later Report) (changed bool) {
	r.Persons = slices.Clone(r.Persons)
	for i := range r.Persons {
		o := &r.Persons[i]
		if o.NotSignalled == "" {
			continue
		}
		if j := later.person(*r, *o); j >= 0 && !later.Persons[j].Registration.IsZero() {
			o.Registration, o.NotSignalled = later.Persons[j].Registration, ""
			changed = true
		}
	}
	return changed
}

// person finds somebody from an earlier report in this one; -1 when nobody is surely he.
func (r Report) person(earlier Report, o Outcome) int {
	if o.Reference == "" || o.Reference == earlier.Reference {
		if len(earlier.Persons) == 1 && len(r.Persons) == 1 && r.Persons[0].Role == o.Role && r.Persons[0].Reference == o.Reference {
			return 0
		}
		return -1
	}
	found := -1
	for i, p := range r.Persons {
		switch {
		case p.Reference != o.Reference:
		case found >= 0:
			return -1
		default:
			found = i
		}
	}
	same := func(p Outcome) bool { return p.Reference == o.Reference }
	if i := slices.IndexFunc(earlier.Persons, same); slices.ContainsFunc(earlier.Persons[i+1:], same) {
		return -1
	}
	return found
}
