// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"encoding/hex"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seinhuis/seinhuis/crypto/identity"
)

// Limits of an import.
const (
	MaxRows  = 500       // that are handed over at once
	MaxTotal = 5_000_000 // of one import
)

// Refusals of acts on an import.
var (
	ErrImportDiffers = errors.New("gateway: an import of this reference has other terms")
	ErrRowsDiffer    = errors.New("gateway: these rows were handed over before, and were others")
	ErrRowsGap       = errors.New("gateway: rows before these have not been handed over")
)

// A Row is one row of an import, as entered: a person, and what goes for him alone.
// Zero fields are those of the import. It prints as [person].
type Row struct {
	Person
	Owner    string
	Card     Card
	TermDays int
}

// A RowStatus is what became of one row.
type RowStatus struct {
	Number int // from 1
	Outcome
	State    State // of the registration; empty when there is none
	Warnings []Code

	owner string // of the registration
}

// LogValue logs the number and the state.
func (s RowStatus) LogValue() slog.Value {
	return slog.GroupValue(slog.Int("row", s.Number), slog.String("state", string(s.State)))
}

// An ImportStatus is an import and how it gets on.
type ImportStatus struct {
	Import
	PerSecond float64       // rows that get their outcome, of late; zero is unknown
	Left      time.Duration // until all rows have theirs; zero is unknown
	WaitFor   WaitFor       // what holds it up; WaitNothing for nothing
	Next      time.Time     // when the gateway goes on then; zero is unknown
	Days      int           // for a spent budget: about how many days it will take; zero is unknown
}

// Done is how many rows have their outcome.
func (i Import) Done() int { return i.Taken - i.Counts.Queued }

// FileReference is the reference of an import that is named by the hash of its file.
// It is keyed: from a hash alone, the numbers in a small file could be found.
func (p *Party) FileReference(hash [32]byte) string {
	of := p.g.store.index.of("file", p.key, string(hash[:]))
	return "bestand-" + hex.EncodeToString(of[:])
}

// Import begins an import of so many rows, or finds the latest round of the one that
// has this reference: made tells which. What the terms leave out, rows have to say.
func (p *Party) Import(t Terms, total int) (s ImportStatus, made bool, err error) {
	return p.beginImport(t, total, false)
}

// ImportAgain is as Import, but when the latest round is done it begins another.
func (p *Party) ImportAgain(t Terms, total int) (s ImportStatus, made bool, err error) {
	return p.beginImport(t, total, true)
}

func (p *Party) beginImport(t Terms, total int, again bool) (s ImportStatus, made bool, err error) {
	now := p.g.now()
	var faults []Fault
	given := t
	for _, f := range p.check(&t) {
		anybody := f == Fault{FieldOwner, CodeMissing} && (t.by == nil || t.by.Reach == ReachAll)
		if !anybody && f != (Fault{FieldCard, CodeMissing}) {
			faults = append(faults, f)
		}
	}
	if total < 1 || total > MaxTotal {
		faults = append(faults, Fault{FieldTotal, CodeForm})
	}
	if len(faults) > 0 {
		return ImportStatus{}, false, &InputError{faults}
	}
	if err := p.basis(now); err != nil {
		return ImportStatus{}, false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	latest := p.importKey(t.by.namesFor(), t.Reference)
	var row Import
	id, err := get[ID](p.g.store.view, latest)
	if err == nil {
		row, err = get[Import](p.g.store.view, p.key.imported(id))
	}
	switch {
	case errors.Is(err, errAbsent):
	case err != nil:
		return ImportStatus{}, false, err
	case !again || row.Settled.IsZero():
		if row.Owner != given.Owner || row.Card != given.Card || row.TermDays != given.TermDays || row.Total != total {
			return ImportStatus{}, false, ErrImportDiffers
		}
		return p.importStatus(row), false, nil
	}
	row = Import{
		ID: newID(now), Created: now.UTC(), Reference: given.Reference, Of: t.by.namesFor(), Round: row.Round + 1, Owner: given.Owner,
		Card: given.Card, TermDays: given.TermDays, Total: total,
	}
	b := p.g.store.batch()
	defer b.close()
	b.put(latest, row.ID)
	b.put(p.key.imported(row.ID), row)
	if err := p.commit(b); err != nil {
		return ImportStatus{}, false, err
	}
	return p.importStatus(row), true, nil
}

func (p *Party) importKey(of, reference string) []byte {
	if of != "" {
		reference = of + "\x00" + reference
	}
	return p.key.importKey(p.g.store.index.of("import", p.key, reference))
}

// AddRows takes on the rows of an import from number first on, and gives the
// outcome of each. A row with a fault stops no other. Rows follow each other without
// a gap; the same ones again change nothing.
func (p *Party) AddRows(id ID, first int, rows []Row) ([]RowStatus, error) {
	return p.addRows(nil, id, first, rows)
}

func (p *Party) addRows(by *Access, id ID, first int, rows []Row) ([]RowStatus, error) {
	if len(rows) == 0 || len(rows) > MaxRows {
		return nil, &InputError{[]Fault{{FieldRows, CodeLength}}}
	}
	now := p.g.now()
	if err := p.basis(now); err != nil {
		return nil, err
	}
	terms, err := get[Import](p.g.store.view, p.key.imported(id))
	if errors.Is(err, errAbsent) || err == nil && by != nil && !by.Sees(terms.Owner) {
		return nil, ErrNotFound
	} else if err != nil {
		return nil, err
	}
	last := first + len(rows) - 1
	if first < 1 || last > terms.Total {
		return nil, &InputError{[]Fault{{FieldFirst, CodeForm}}}
	}

	// What takes time is done before the lock.
	chunk := importRows{First: first, Fingerprint: p.fingerprint(rows), Rows: make([]Outcome, len(rows))}
	list := make([]RowStatus, len(rows))
	b := p.g.store.batch()
	defer b.close()
	var counts Counts
	numbers := numbersOf(rows)
	for i, row := range rows {
		child, t, o := p.judgeRow(by, row, terms, now)
		if containsAny(o.Reference, numbers) {
			o.Faults, o.Reference = append(o.Faults, Fault{FieldReference, CodeIsNumber}), ""
		}
		s := RowStatus{Number: first + i, Warnings: warnings(identity.Identity{}, o.Reference)}
		switch {
		case len(o.Faults) > 0:
			o.NotSignalled = ""
			counts.refuse(o.Faults)
		case o.NotSignalled != "":
			counts.NotSignalled++
		default:
			reg, err := p.register(b, now, child, t, origin{Import: id})
			if err != nil {
				return nil, err
			}
			o.Registration = reg.ID
			s.State, s.Warnings, s.owner = reg.State, reg.Warnings, reg.Owner
			p.logAct(b, by, LogSignalMade, reg)
			counts.Queued++
		}
		chunk.Rows[i], s.Outcome = o, o
		list[i] = s
	}
	b.put(p.key.importRows(id, last), chunk)

	p.mu.Lock()
	defer p.mu.Unlock()
	row, err := get[Import](p.g.store.view, p.key.imported(id))
	switch {
	case err != nil:
		return nil, err
	case first > row.Taken+1:
		return nil, ErrRowsGap
	case first <= row.Taken:
		known, err := get[importRows](p.g.store.view, p.key.importRows(id, last))
		if errors.Is(err, errAbsent) || err == nil && (known.First != first || known.Fingerprint != chunk.Fingerprint) {
			return nil, ErrRowsDiffer
		} else if err != nil {
			return nil, err
		}
		return p.rowStatus(p.g.store.view, known)
	}
	row.Taken = last
	row.count(counts, now)
	b.put(p.key.imported(id), row)
	if by != nil {
		p.logAccess(b, by, Touch{Event: LogImport, ObjectType: ObjectImport, ObjectID: id.String()})
	}
	if err := p.commit(b); err != nil {
		return nil, err
	}
	for range counts.Queued {
		p.took(JobSignal)
	}
	return list, nil
}

// judgeRow decides on one row: a child to signal, or an outcome that says why there
// is none. It is judged as if it came alone.
func (p *Party) judgeRow(by *Access, row Row, i Import, now time.Time) (identity.Identity, Terms, Outcome) {
	t := Terms{Owner: row.Owner, Card: row.Card, TermDays: row.TermDays, by: by}
	if t.Owner == "" {
		t.Owner = i.Owner
	}
	if t.Card.IsZero() {
		t.Card = i.Card
	}
	if t.TermDays == 0 {
		t.TermDays = i.TermDays
	}
	child, o := p.judge(row.Person, t, identity.Today(now))
	t.Reference = o.Reference
	for _, f := range p.check(&t) {
		if f.Field != FieldReference { // that is judged, and empty if it is wrong
			o.Faults = append(o.Faults, f)
		}
	}
	o.Faults = append(o.Faults, repeats(row.Number, child, Terms{Owner: t.Owner, Card: t.Card})...)
	return child, t, o
}

// numbersOf are the digits of all numbers in rows: none may be the reference of
// somebody else.
func numbersOf(rows []Row) (list []string) {
	for _, row := range rows {
		if n := digitsOf(row.Number); len(n) >= fewestDigits {
			list = append(list, n)
		}
	}
	return list
}

func containsAny(text string, numbers []string) bool {
	digits := digitsOf(text)
	return slices.ContainsFunc(numbers, func(n string) bool { return strings.Contains(digits, n) })
}

// fingerprint tells rows apart from others; of a number it holds as little as that
// of an idempotency key.
func (p *Party) fingerprint(rows []Row) [16]byte {
	index := p.g.store.index
	var said []string
	for _, r := range rows {
		trace := index.of("subject", p.key, strings.Join([]string{r.Kind, r.Number, r.BirthDate}, "\x00"))
		said = append(said, r.Role, r.Reference, r.Owner, strconv.Itoa(r.TermDays), hex.EncodeToString(trace[:2]),
			r.Card.Name, r.Card.Role, r.Card.Desk, r.Card.Phone, r.Card.Email, r.Card.Reachable)
	}
	return index.of("rows", p.key, strings.Join(said, "\x00"))
}

// became counts in a batch what became of a job of an import; the party's commit
// writes it. Every batch that ends a job that makes a signal says so.
func (b *batch) became(job Job, reg Registration) {
	if job.Import.IsZero() || job.Kind != JobSignal {
		return
	}
	c := Counts{Queued: -1}
	switch reg.State {
	case StateRegistered:
		c.Registered = 1
	case StateMerged:
		c.Merged = 1
	case StateRefused:
		c.refuse(reg.Faults)
	default:
		c.Withdrawn = 1
	}
	if b.imports == nil {
		b.imports = map[ID]Counts{}
	}
	sum := b.imports[job.Import]
	sum.add(c)
	b.imports[job.Import] = sum
}

func (c *Counts) refuse(faults []Fault) {
	c.Refused++
	if !slices.ContainsFunc(faults, func(f Fault) bool { return f.Code != CodeAdult }) {
		c.Adult++
	}
}

func (c *Counts) add(d Counts) {
	c.Queued += d.Queued
	c.Registered += d.Registered
	c.Merged += d.Merged
	c.Refused += d.Refused
	c.Adult += d.Adult
	c.Withdrawn += d.Withdrawn
	c.NotSignalled += d.NotSignalled
}

func (i *Import) count(c Counts, now time.Time) {
	i.Counts.add(c)
	if i.Taken == i.Total && i.Counts.Queued == 0 {
		i.Settled = now.UTC()
	}
}

// countImports writes what became of rows of imports into their counts. p.mu is
// held, as by all who end jobs.
func (p *Party) countImports(b *batch) error {
	for id, counts := range b.imports {
		row, err := get[Import](p.g.store.view, p.key.imported(id))
		if err != nil {
			return err
		}
		row.count(counts, p.g.now())
		b.put(p.key.imported(id), row)
		if p.paces == nil {
			p.paces = map[ID]*pace{}
		}
		if p.paces[id] == nil {
			p.paces[id] = new(pace)
		}
		p.paces[id].mark(time.Now(), row.Done())
	}
	b.imports = nil
	return nil
}

// ImportByID reads how one import gets on. It reads none of its rows.
func (p *Party) ImportByID(id ID) (ImportStatus, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	row, err := get[Import](p.g.store.view, p.key.imported(id))
	if errors.Is(err, errAbsent) {
		return ImportStatus{}, ErrNotFound
	} else if err != nil {
		return ImportStatus{}, err
	}
	return p.importStatus(row), nil
}

// Imports lists imports, the newest first, beginning behind the one called from.
func (p *Party) Imports(from ID, limit int) (list []ImportStatus, more bool, err error) {
	return p.imports(from, limit, everybody)
}

func (p *Party) imports(from ID, limit int, sees func(owner string) bool) (list []ImportStatus, more bool, err error) {
	var start []byte
	if !from.IsZero() {
		start = p.key.imported(from)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	err = scan(p.g.store.view, p.key.table(tableImport), start, true, func(_ []byte, row Import) (bool, error) {
		if !sees(row.Owner) {
			return true, nil
		}
		if more = len(list) == limit; more {
			return false, nil
		}
		list = append(list, p.importStatus(row))
		return true, nil
	})
	return list, more, err
}

// ImportRows lists what became of the rows of an import behind number after, in
// their order.
func (p *Party) ImportRows(id ID, after, limit int) (list []RowStatus, more bool, err error) {
	v, release := p.g.store.snapshot()
	defer release()
	row, err := get[Import](v, p.key.imported(id))
	if errors.Is(err, errAbsent) {
		return nil, false, ErrNotFound
	} else if err != nil {
		return nil, false, err
	}
	if after < 0 || after >= row.Taken {
		return nil, false, nil
	}
	err = scan(v, p.key.allImportRows(id), p.key.importRows(id, after), false, func(_ []byte, chunk importRows) (bool, error) {
		if skip := after + 1 - chunk.First; skip > 0 {
			chunk.First, chunk.Rows = after+1, chunk.Rows[skip:]
		}
		chunk.Rows = chunk.Rows[:min(len(chunk.Rows), limit-len(list))]
		found, err := p.rowStatus(v, chunk)
		list = append(list, found...)
		return len(list) < limit, err
	})
	return list, after+len(list) < row.Taken, err
}

// rowStatus gives the rows of a chunk as they are now.
func (p *Party) rowStatus(v view, chunk importRows) ([]RowStatus, error) {
	list := make([]RowStatus, len(chunk.Rows))
	today := identity.Today(p.g.now())
	for i, o := range chunk.Rows {
		list[i] = RowStatus{Number: chunk.First + i, Outcome: o, Warnings: warnings(identity.Identity{}, o.Reference)}
		if o.Registration.IsZero() {
			continue
		}
		reg, err := get[Registration](v, p.key.registration(o.Registration))
		if err == nil && !reg.Into.IsZero() { // a repeat shares the fate of the first
			var first Registration
			if first, err = p.original(v, reg.ID); err == nil && !first.State.Stands() {
				reg.State = first.State
			}
			reg.SID = first.SID
		}
		if err == nil && reg.State.Stands() {
			var signal Signal
			if signal, err = get[Signal](v, p.key.signal(reg.SID)); err == nil && !signal.Live(today) {
				reg.State = StateExpired // swept or not
			}
		}
		switch {
		case errors.Is(err, errAbsent) || errors.Is(err, ErrNotFound): // swept, long after it ended
			list[i].State = StateExpired
		case err != nil:
			return nil, err
		default:
			list[i].State, list[i].Faults, list[i].Warnings, list[i].owner = reg.State, reg.Faults, reg.Warnings, reg.Owner
		}
	}
	return list, nil
}

// sweepImports forgets an import a while after its last outcome; one with rows that
// may still be signalled, or that was never handed over wholly, much later. p.mu is
// held: rows may come in.
func (p *Party) sweepImports(b *batch) error {
	tooOld := p.g.now().AddDate(-keepReportYears, 0, 0)
	recent := p.g.now().Add(-keepEnded)
	return scan(p.g.store.view, p.key.table(tableImport), nil, false, func(key []byte, row Import) (bool, error) {
		open := row.Settled.IsZero() || row.Counts.NotSignalled > 0
		if row.Counts.Queued > 0 || row.Created.After(tooOld) && (open || row.Settled.After(recent)) {
			return true, nil
		}
		b.delete(key)
		latest := p.importKey(row.Of, row.Reference)
		if id, err := get[ID](p.g.store.view, latest); err == nil && id == row.ID {
			b.delete(latest)
		}
		b.deleteAll(p.key.allImportRows(row.ID))
		return true, nil
	})
}

// keptImports are the imports that are not forgotten.
func (p *Party) keptImports(v view) (map[ID]bool, error) {
	kept := map[ID]bool{}
	err := scan(v, p.key.table(tableImport), nil, false, func(_ []byte, row Import) (bool, error) {
		kept[row.ID] = true
		return true, nil
	})
	return kept, err
}

// deleteAll deletes what is under a prefix.
func (b *batch) deleteAll(prefix []byte) {
	if b.err == nil {
		b.err = b.b.DeleteRange(prefix, after(prefix), nil)
	}
}
