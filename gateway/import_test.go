// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
)

func row(s gateway.Subject, reference string) gateway.Row {
	return gateway.Row{Person: gateway.Person{Subject: s, Reference: reference}}
}

// rowsOf are rows of children from number first on, whose references are their
// numbers in the row.
func rowsOf(first, n int) []gateway.Row {
	var rows []gateway.Row
	for i := first; i < first+n; i++ {
		rows = append(rows, row(child(i), fmt.Sprint("K-", i)))
	}
	return rows
}

func begin(t *testing.T, p *gateway.Party, total int) gateway.ImportStatus {
	t.Helper()
	s, _, err := p.Import(gateway.Terms{Reference: "bestand-1", Owner: "jansen"}, total)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func addRows(t *testing.T, p *gateway.Party, id gateway.ID, first int, rows []gateway.Row) []gateway.RowStatus {
	t.Helper()
	list, err := p.AddRows(id, first, rows)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// imported waits until an import says what the test wants.
func imported(t *testing.T, p *gateway.Party, id gateway.ID, want func(gateway.ImportStatus) bool) gateway.ImportStatus {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		s, err := p.ImportByID(id)
		if err != nil {
			t.Fatal(err)
		}
		if want(s) {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("the import stays at %+v: %s", s.Counts, s.Words())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func complete(s gateway.ImportStatus) bool { return !s.Settled.IsZero() }

// allRows pages through an import's rows, and counts them as the import does.
func allRows(t *testing.T, p *gateway.Party, id gateway.ID, limit int) (list []gateway.RowStatus, counts gateway.Counts) {
	t.Helper()
	for more := true; more; {
		var page []gateway.RowStatus
		var err error
		if page, more, err = p.ImportRows(id, len(list), limit); err != nil {
			t.Fatal(err)
		}
		if more && len(page) != limit {
			t.Fatalf("a page of %d has %d rows, and there are more", limit, len(page))
		}
		list = append(list, page...)
	}
	for i, r := range list {
		if r.Number != i+1 {
			t.Fatalf("row %d has number %d", i+1, r.Number)
		}
		switch {
		case r.NotSignalled != "":
			counts.NotSignalled++
		case r.State == gateway.StateRegistered:
			counts.Registered++
		case r.State == gateway.StateMerged:
			counts.Merged++
		case r.State == gateway.StateQueued:
			counts.Queued++
		case r.State == gateway.StateWithdrawn:
			counts.Withdrawn++
		default:
			counts.Refused++
			if r.Faults[0].Code == gateway.CodeAdult {
				counts.Adult++
			}
		}
	}
	return list, counts
}

func TestImportOutcomesOfRows(t *testing.T) {
	w := gatewaytest.New(t, 1)
	a := w.Run(0).Of(0)
	stands := signal(t, a, child(9), terms("pieters", "A-9"))
	fault := func(field string, code gateway.Code) []gateway.Fault {
		return []gateway.Fault{{Field: field, Code: code}}
	}
	cases := []struct {
		name   string
		row    gateway.Row
		state  gateway.State
		not    gateway.Code
		faults []gateway.Fault
		check  func(t *testing.T, s gateway.Status)
	}{
		{name: "child", row: row(child(1), "K-1"), state: gateway.StateRegistered, check: func(t *testing.T, s gateway.Status) {
			if s.Owner != "jansen" || s.Signal.Card.Desk != "Balie 0" {
				t.Errorf("owner %s, card of %s", s.Owner, s.Signal.Card.Desk)
			}
		}},
		{name: "own_owner_card_and_term", row: gateway.Row{Person: gateway.Person{Subject: child(2), Reference: "K-2"}, Owner: "bakker",
			Card: gateway.Card{Name: "B. Bakker", Phone: "1"}, TermDays: 100}, state: gateway.StateRegistered, check: func(t *testing.T, s gateway.Status) {
			if s.Owner != "bakker" || s.Signal.Card.Name != "B. Bakker" || s.TermDays != 100 {
				t.Errorf("owner %s, card of %s, %d days", s.Owner, s.Signal.Card.Name, s.TermDays)
			}
		}},
		{name: "the_same_child_again", row: row(child(1), "K-1"), state: gateway.StateMerged},
		{name: "the_same_child_of_another_file", row: row(child(1), "K-1b"), state: gateway.StateMerged},
		{name: "signalled_already", row: row(child(9), "K-9"), state: gateway.StateMerged, check: func(t *testing.T, s gateway.Status) {
			if s.SID != stands.SID || s.Owners != 2 {
				t.Error("it did not join the signal that stands")
			}
		}},
		{name: "without_number", row: row(gateway.Subject{Kind: "bsn", BirthDate: "2015-01-01"}, "K-3"), not: gateway.CodeNoNumber},
		{name: "suspect_by_policy", row: gateway.Row{Person: gateway.Person{Subject: child(4), Reference: "K-4", Role: gateway.RolePerpetrator}}, not: gateway.CodeRoleNotAllowed},
		{name: "rejects/adult", row: row(gateway.Subject{Kind: "bsn", Number: bsn(5), BirthDate: "2004-03-04"}, "K-5"), faults: fault(gateway.FieldBirthDate, gateway.CodeAdult)},
		{name: "rejects/adult_without_number", row: row(gateway.Subject{BirthDate: "1985-01-01"}, "K-6"), faults: fault(gateway.FieldBirthDate, gateway.CodeAdult)},
		{name: "rejects/number_and_date", row: row(gateway.Subject{Kind: "bsn", Number: "123456789", BirthDate: "2015-02-30"}, "K-7"), faults: []gateway.Fault{
			{Field: gateway.FieldNumber, Code: gateway.CodeCheckDigits}, {Field: gateway.FieldBirthDate, Code: gateway.CodeDate}}},
		{name: "rejects/no_kind", row: row(gateway.Subject{Number: bsn(8), BirthDate: "2012-05-06"}, "K-8"), faults: fault(gateway.FieldKind, gateway.CodeMissing)},
		{name: "rejects/no_reference", row: row(child(10), ""), faults: fault(gateway.FieldReference, gateway.CodeMissing)},
		{name: "rejects/number_as_reference", row: row(child(11), bsn(11)), faults: fault(gateway.FieldReference, gateway.CodeIsNumber)},
		{name: "rejects/long_reference", row: row(child(12), strings.Repeat("x", 59)), faults: fault(gateway.FieldReference, gateway.CodeLength)},
		{name: "rejects/number_as_owner", row: gateway.Row{Person: gateway.Person{Subject: child(13), Reference: "K-13"}, Owner: bsn(13)}, faults: fault(gateway.FieldOwner, gateway.CodeIsNumber)},
		{name: "rejects/form_of_owner", row: gateway.Row{Person: gateway.Person{Subject: child(14), Reference: "K-14"}, Owner: "a b"}, faults: fault(gateway.FieldOwner, gateway.CodeForm)},
		{name: "rejects/term", row: gateway.Row{Person: gateway.Person{Subject: child(15), Reference: "K-15"}, TermDays: 732}, faults: fault(gateway.FieldTerm, gateway.CodeForm)},
		{name: "rejects/card", row: gateway.Row{Person: gateway.Person{Subject: child(16), Reference: "K-16"}, Card: gateway.Card{Name: strings.Repeat("x", 90), Phone: "1"}},
			faults: fault(gateway.FieldCard+".naam", gateway.CodeLength)},
		{name: "rejects/unknown_role", row: gateway.Row{Person: gateway.Person{Subject: child(17), Reference: "K-17", Role: "buurman"}}, faults: fault(gateway.FieldRole, gateway.CodeUnknown)},
		{name: "reference_like_a_number", row: row(gateway.Subject{Kind: "bsn", Number: bsn(18), BirthDate: "2010-01-01"}, "111222333"), state: gateway.StateRegistered, check: func(t *testing.T, s gateway.Status) {
			if !slices.Equal(s.Warnings, []gateway.Code{gateway.CodeLooksLikeNumber}) {
				t.Errorf("warnings %v", s.Warnings)
			}
		}},
	}
	var rows []gateway.Row
	for _, c := range cases {
		rows = append(rows, c.row)
	}
	s := begin(t, a, len(rows))
	atOnce := addRows(t, a, s.ID, 1, rows)
	s = imported(t, a, s.ID, complete)
	list, counts := allRows(t, a, s.ID, 7)
	if counts != s.Counts || s.Taken != len(rows) || s.Done() != len(rows) {
		t.Errorf("%d rows with %+v; the import has %d with %+v", len(list), counts, s.Taken, s.Counts)
	}
	if s.Counts.Adult != 2 || !strings.HasPrefix(s.Words(), "Klaar sinds 4 maart 2027 om ") || !strings.HasSuffix(s.Words(), " uur: alle regels hebben hun uitkomst.") {
		t.Errorf("%d adults; %s", s.Counts.Adult, s.Words())
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := list[i]
			// Of rows of one child, the first to arrive registers, as with single signals.
			arrived := got.State.Stands() && (i == 0 || i == 2 || i == 3)
			if !arrived && got.State != c.state || got.NotSignalled != c.not || !slices.Equal(got.Faults, c.faults) {
				t.Errorf("it is %q, not signalled: %q, faults: %v", got.State, got.NotSignalled, got.Faults)
			}
			first := atOnce[i]
			if first.NotSignalled != c.not || !slices.Equal(first.Faults, c.faults) || (first.State == gateway.StateQueued) != (c.state != "") {
				t.Errorf("at once it was %q, not signalled: %q, faults: %v", first.State, first.NotSignalled, first.Faults)
			}
			if got.Words() == "" || first.Words() == "" {
				t.Error("there are no words for it")
			}
			if c.check != nil {
				status, err := a.Registration(got.Registration)
				if err != nil || status.Import != s.ID {
					t.Fatalf("%v, of import %s", err, status.Import)
				}
				c.check(t, status)
			}
		})
	}
	if _, more, err := a.ImportRows(s.ID, len(rows), 10); more || err != nil {
		t.Errorf("behind the last there is more: %v (%v)", more, err)
	}
	if jobs, err := a.Jobs(); err != nil || len(jobs) != 0 {
		t.Errorf("%d jobs are left (%v)", len(jobs), err)
	}
}

func TestImportInChunks(t *testing.T) {
	w := gatewaytest.New(t, 1)
	fs := vfs.NewMem()
	h := w.OpenOn(fs, 0) // its queue stands still
	a := h.Of(0)
	s := begin(t, a, 30)
	first := addRows(t, a, s.ID, 1, rowsOf(1, 10))
	if again := addRows(t, a, s.ID, 1, rowsOf(1, 10)); !reflect.DeepEqual(again, first) {
		t.Error("the same rows again are answered otherwise")
	}
	addRows(t, a, s.ID, 11, rowsOf(11, 5))
	other := rowsOf(11, 5)
	other[4].Number = bsn(99)
	for name, c := range map[string]struct {
		first int
		rows  []gateway.Row
		want  error
	}{
		"other_rows":       {11, other, gateway.ErrRowsDiffer},
		"other_chunk":      {10, rowsOf(10, 6), gateway.ErrRowsDiffer},
		"part_of_a_chunk":  {11, rowsOf(11, 4), gateway.ErrRowsDiffer},
		"over_the_end":     {11, rowsOf(11, 10), gateway.ErrRowsDiffer},
		"gap":              {17, rowsOf(17, 1), gateway.ErrRowsGap},
		"row_zero":         {0, rowsOf(1, 1), &gateway.InputError{Faults: []gateway.Fault{{Field: gateway.FieldFirst, Code: gateway.CodeForm}}}},
		"more_than_it_has": {16, rowsOf(16, 16), &gateway.InputError{Faults: []gateway.Fault{{Field: gateway.FieldFirst, Code: gateway.CodeForm}}}},
		"nothing":          {16, nil, &gateway.InputError{Faults: []gateway.Fault{{Field: gateway.FieldRows, Code: gateway.CodeLength}}}},
		"too_many":         {16, rowsOf(16, gateway.MaxRows+1), &gateway.InputError{Faults: []gateway.Fault{{Field: gateway.FieldRows, Code: gateway.CodeLength}}}},
	} {
		t.Run("rejects/"+name, func(t *testing.T) {
			if _, err := a.AddRows(s.ID, c.first, c.rows); !errors.Is(err, c.want) && !reflect.DeepEqual(err, c.want) {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("rejects/unknown_import", func(t *testing.T) {
		if _, err := a.AddRows(gateway.ID{1}, 1, rowsOf(1, 1)); !errors.Is(err, gateway.ErrNotFound) {
			t.Errorf("%v", err)
		}
	})
	if jobs, err := a.Jobs(); err != nil || len(jobs) != 15 || jobs[14].Import != s.ID {
		t.Fatalf("%d jobs (%v)", len(jobs), err)
	}
	same, made, err := a.Import(gateway.Terms{Reference: "bestand-1", Owner: "jansen"}, 30)
	if err != nil || made || same.ID != s.ID || same.Taken != 15 {
		t.Errorf("the same import is made again: %v, with %d rows (%v)", made, same.Taken, err)
	}
	if !strings.HasPrefix(same.Words(), "Er zijn 15 van de 30 regels aangeleverd.") {
		t.Error(same.Words())
	}
	for name, tm := range map[string]gateway.Terms{
		"owner": {Reference: "bestand-1", Owner: "bakker"},
		"term":  {Reference: "bestand-1", Owner: "jansen", TermDays: 9},
		"card":  {Reference: "bestand-1", Owner: "jansen", Card: gateway.Card{Desk: "Balie", Phone: "1"}},
	} {
		if _, _, err := a.Import(tm, 30); !errors.Is(err, gateway.ErrImportDiffers) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	if _, _, err := a.Import(gateway.Terms{Reference: "bestand-1", Owner: "jansen"}, 31); !errors.Is(err, gateway.ErrImportDiffers) {
		t.Errorf("another total: %v", err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}

	a = w.RunOn(fs, 0).Of(0) // and after a start it goes on
	addRows(t, a, s.ID, 16, rowsOf(16, 15))
	if again := addRows(t, a, s.ID, 1, rowsOf(1, 10)); len(again) != 10 || again[0].Registration != first[0].Registration {
		t.Error("after a start the same rows are taken on again")
	}
	s = imported(t, a, s.ID, complete)
	if s.Counts != (gateway.Counts{Registered: 30}) {
		t.Errorf("%+v", s.Counts)
	}
	if list, more, err := a.Imports(gateway.ID{}, 10); err != nil || more || len(list) != 1 || list[0].ID != s.ID {
		t.Errorf("%d imports (%v)", len(list), err)
	}
}

// An import in which one row in ten is signalled by another party: both inboxes
// hold what they would if each signal had been sent alone.
func TestImportMeetsAnotherParty(t *testing.T) {
	const children = 30
	told := func(alone bool) (toA, toB map[string]string) {
		w := gatewaytest.New(t, 2)
		h := w.Run(0, 1)
		a, b := h.Of(0), h.Of(1)
		for i := 0; i < children; i += 10 {
			signal(t, b, child(i), terms("bakker", fmt.Sprint("B-", i)))
		}
		if alone {
			for i := range children {
				signal(t, a, child(i), terms("jansen", fmt.Sprint("K-", i)))
			}
		} else {
			s := begin(t, a, children)
			for i := 0; i < children; i += 15 {
				addRows(t, a, s.ID, i+1, rowsOf(i, 15))
			}
			if s = imported(t, a, s.ID, complete); s.Counts != (gateway.Counts{Registered: children}) {
				t.Fatalf("%+v", s.Counts)
			}
		}
		cards := func(p *gateway.Party) map[string]string {
			list := inbox(t, p, children/10)
			if len(list) != children/10 {
				t.Errorf("%d messages", len(list))
			}
			found := map[string]string{}
			for _, m := range list {
				if len(m.Owners) != 1 || len(m.Other.Code) != 6 {
					t.Fatalf("%d owners, code of %d digits", len(m.Owners), len(m.Other.Code))
				}
				found[m.Owners[0].Reference] = fmt.Sprint(m.Kind, m.Owners[0].Owner, m.Other.Party, m.Other.Name, gatewayCard(m.Other.Card), m.Problem)
			}
			return found
		}
		return cards(a), cards(b)
	}
	wantA, wantB := told(true)
	gotA, gotB := told(false)
	if !reflect.DeepEqual(gotA, wantA) || !reflect.DeepEqual(gotB, wantB) {
		t.Errorf("the one who imports was told\n%v\nand alone\n%v\nthe other\n%v\nand alone\n%v", gotA, wantA, gotB, wantB)
	}
}

// gatewayCard is a card that does not redact itself.
func gatewayCard(c gateway.Card) string { return c.Name + "|" + c.Desk + "|" + c.Phone }

// The power goes anywhere in an import, while rows are handed over: what was
// answered is there, and handing over what is missing makes the whole.
func TestPowerCutInAnImport(t *testing.T) {
	const children, chunk = 40, 8
	for _, percent := range []int{0, 50, 100} {
		for _, path := range []string{"/v1/evaluations", "/v1/signals", "/v1/imports"} {
			t.Run(fmt.Sprintf("%s/unsynced=%d", path, percent), func(t *testing.T) {
				t.Parallel()
				w := gatewaytest.New(t, 2)
				b := w.Run(1).Of(1)
				for i := 0; i < children; i += 10 {
					signal(t, b, child(i), terms("bakker", fmt.Sprint("B-", i)))
				}
				cut := newPowerCut(w, percent)
				h := w.RunOn(cut.fs, 0)
				a := h.Of(0)
				s := begin(t, a, children)
				cut.at(path, 2)
				answered := 0
				for first := 0; first < children-chunk; first += chunk {
					addRows(t, a, s.ID, first+1, rowsOf(first, chunk))
					cut.mu.Lock()
					if cut.clone == nil {
						answered = first + chunk
					}
					cut.mu.Unlock()
				}
				cut.mu.Lock()
				if cut.clone == nil { // it goes another way, or all went at once
					cut.take()
				}
				cut.mu.Unlock()
				h.Stop()
				cut.mend()

				a = w.RunOn(cut.clone, 0).Of(0)
				again, made, err := a.Import(gateway.Terms{Reference: "bestand-1", Owner: "jansen"}, children)
				if err != nil || made || again.ID != s.ID || again.Taken < answered || again.Taken%chunk != 0 {
					t.Fatalf("after the cut there are %d rows of %d that were answered (%v)", again.Taken, answered, err)
				}
				for first := again.Taken; first < children; first += chunk {
					addRows(t, a, s.ID, first+1, rowsOf(first, chunk))
				}
				s = imported(t, a, s.ID, complete)
				list, counts := allRows(t, a, s.ID, 100)
				if s.Counts != (gateway.Counts{Registered: children}) || counts != s.Counts || len(list) != children {
					t.Errorf("%d rows with %+v; the import has %+v", len(list), counts, s.Counts)
				}
				joined := map[api.SID]int{}
				for _, m := range inbox(t, b, children/10) {
					if m.Kind != api.EventJoined || m.Problem != "" {
						t.Errorf("the other party was told %s (%s)", m.Kind, m.Problem)
					}
					joined[m.SID]++
				}
				for _, n := range joined {
					if n != 1 || len(joined) != children/10 {
						t.Errorf("%d joins of one signal, of %d signals", n, len(joined))
					}
				}
			})
		}
	}
}

func TestImportWaitsForBudget(t *testing.T) {
	w := gatewaytest.New(t, 1)
	w.Manifest.Policy.DailyBudget = 5
	w.Publish()
	a := w.Run(0).Of(0)
	s := begin(t, a, 40)
	addRows(t, a, s.ID, 1, rowsOf(1, 40))
	s = imported(t, a, s.ID, func(s gateway.ImportStatus) bool { return s.WaitFor == gateway.WaitBudget })
	if s.Next != w.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 1) {
		t.Errorf("it goes on at %s", s.Next)
	}
	if words := s.Words(); !strings.Contains(words, "Het tegoed van de organisatie is op; de poort gaat vanzelf verder op 5 maart 2027 om 01.00 uur.") || !strings.Contains(words, " Met dit tegoed duurt het nog ongeveer ") {
		t.Errorf("it says %q", words)
	}
	if want := (s.Counts.Queued + 4) / 5; s.Days != want {
		t.Errorf("it takes %d days, want %d", s.Days, want)
	}
	if s.Counts.Refused != 0 || s.Counts.Queued == 0 || s.Left != 0 {
		t.Errorf("%+v, %s left", s.Counts, s.Left)
	}
}

func TestImportTellsWhatHoldsItUp(t *testing.T) {
	w := gatewaytest.New(t, 1)
	w.Registry.Set(gatewaytest.Away)
	a := w.Run(0).Of(0)
	s := begin(t, a, 2)
	list := addRows(t, a, s.ID, 1, rowsOf(1, 2))
	s = imported(t, a, s.ID, func(s gateway.ImportStatus) bool { return s.WaitFor == gateway.WaitRegistry })
	if !strings.Contains(s.Words(), "register onbereikbaar") || s.Next.IsZero() {
		t.Errorf("it says %q", s.Words())
	}
	// What is withdrawn before it stands counts as that.
	if _, err := a.Withdraw(list[0].Registration, api.ReasonMistake); err != nil {
		t.Fatal(err)
	}
	w.Registry.Set(gatewaytest.Works)
	s = imported(t, a, s.ID, complete)
	if s.Counts != (gateway.Counts{Registered: 1, Withdrawn: 1}) || s.WaitFor != gateway.WaitNothing {
		t.Errorf("%+v, waiting for %s", s.Counts, s.WaitFor)
	}
	settled(t, a, list[0].Registration)
	if rows, _, err := a.ImportRows(s.ID, 0, 1); err != nil || rows[0].State != gateway.StateWithdrawn {
		t.Errorf("the row is %v (%v)", rows, err)
	}
}

// What ends a row's job otherwise than by a receipt is counted too.
func TestImportCountsRowsThatEndWaiting(t *testing.T) {
	w := gatewaytest.New(t, 1)
	for _, f := range w.Faults {
		f.Set(gatewaytest.Away)
	}
	a := w.Run(0).Of(0)
	s := begin(t, a, 3)
	grown := row(gateway.Subject{Kind: "bsn", Number: bsn(3), BirthDate: "2004-03-06"}, "K-3") // 22, for two days more
	list := addRows(t, a, s.ID, 1, append(rowsOf(1, 2), grown))
	imported(t, a, s.ID, func(s gateway.ImportStatus) bool { return s.WaitFor == gateway.WaitEvaluators })
	if _, err := a.Withdraw(list[0].Registration, api.ReasonMistake); err != nil {
		t.Fatal(err)
	}
	s = imported(t, a, s.ID, func(gateway.ImportStatus) bool { return true })
	if s.Counts != (gateway.Counts{Queued: 2, Withdrawn: 1}) {
		t.Errorf("one is withdrawn, and it counts %+v", s.Counts)
	}
	w.Advance(3 * 24 * time.Hour)
	for _, f := range w.Faults {
		f.Set(gatewaytest.Works)
	}
	s = imported(t, a, s.ID, complete)
	if s.Counts != (gateway.Counts{Registered: 1, Withdrawn: 1, Refused: 1, Adult: 1}) {
		t.Errorf("%+v", s.Counts)
	}
}

func TestImportsAreForgotten(t *testing.T) {
	w := gatewaytest.New(t, 1)
	a := w.Run(0).Of(0)
	s := begin(t, a, 1)
	addRows(t, a, s.ID, 1, rowsOf(1, 1))
	imported(t, a, s.ID, complete)
	open, _, err := a.Import(gateway.Terms{Reference: "bestand-2", Owner: "jansen"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	addRows(t, a, open.ID, 1, []gateway.Row{row(gateway.Subject{BirthDate: "2015-01-01"}, "K-9")})
	sweep := func() (first, second error) {
		t.Helper()
		if err := a.Sweep(); err != nil {
			t.Fatal(err)
		}
		_, first = a.ImportByID(s.ID)
		_, second = a.ImportByID(open.ID)
		return first, second
	}
	w.Advance(29 * 24 * time.Hour)
	if first, second := sweep(); first != nil || second != nil {
		t.Errorf("forgotten after 29 days: %v, %v", first, second)
	}
	w.Advance(2 * 24 * time.Hour)
	if first, second := sweep(); !errors.Is(first, gateway.ErrNotFound) || second != nil {
		t.Errorf("after 31 days: %v, and with somebody who may still be signalled: %v", first, second)
	}
	if made, fresh, err := a.Import(gateway.Terms{Reference: "bestand-1", Owner: "jansen"}, 1); err != nil || !fresh || made.ID == s.ID {
		t.Errorf("its reference is not free (%v)", err)
	}
	w.Advance(2 * 366 * 24 * time.Hour)
	if _, second := sweep(); !errors.Is(second, gateway.ErrNotFound) {
		t.Errorf("after two years: %v", second)
	}
}

// A month after they ended, rows still say why, as their import's counts do.
func TestRowsKeepTheirOutcomeWithTheirImport(t *testing.T) {
	w := gatewaytest.New(t, 1)
	for _, f := range w.Faults {
		f.Set(gatewaytest.Away)
	}
	a := w.Run(0).Of(0)
	s := begin(t, a, 3)
	grown := row(gateway.Subject{Kind: "bsn", Number: bsn(3), BirthDate: "2004-03-06"}, "K-3") // 22, for two days more
	nobody := row(gateway.Subject{BirthDate: "2015-01-01"}, "K-9")                             // for whom the import is kept
	list := addRows(t, a, s.ID, 1, append(rowsOf(1, 1), grown, nobody))
	if _, err := a.Withdraw(list[0].Registration, api.ReasonMistake); err != nil {
		t.Fatal(err)
	}
	w.Advance(3 * 24 * time.Hour)
	for _, f := range w.Faults {
		f.Set(gatewaytest.Works)
	}
	imported(t, a, s.ID, complete)
	before, _ := allRows(t, a, s.ID, 10)
	w.Advance(31 * 24 * time.Hour)
	if err := a.Sweep(); err != nil {
		t.Fatal(err)
	}
	s = imported(t, a, s.ID, complete)
	rows, counts := allRows(t, a, s.ID, 10)
	if counts != s.Counts || !reflect.DeepEqual(rows, before) || rows[1].Faults[0].Code != gateway.CodeAdult {
		t.Errorf("the rows are %v, and were %v; the import has %+v", rows, before, s.Counts)
	}
	w.Advance(2 * 366 * 24 * time.Hour)
	for range 2 { // the import, and then what it kept
		if err := a.Sweep(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Registration(list[1].Registration); !errors.Is(err, gateway.ErrNotFound) {
		t.Errorf("the import is forgotten, and its registration is not: %v", err)
	}
}

func TestARowsReferenceWithAnotherRowsNumberIsRefused(t *testing.T) {
	w := gatewaytest.New(t, 1)
	a := w.Run(0).Of(0)
	s := begin(t, a, 5)
	nobody := gateway.Subject{BirthDate: "2015-01-01"}
	wrong := gateway.Subject{Kind: "bsn", Number: "123456789", BirthDate: "2012-05-06"}
	dotted := bsn(1)[:4] + "." + bsn(1)[4:] + "/a"
	addRows(t, a, s.ID, 1, []gateway.Row{row(child(1), "K-1"), row(child(2), dotted), row(nobody, bsn(2)), row(wrong, "K-4"), row(nobody, "K 12 34 56 789")})
	s = imported(t, a, s.ID, complete)
	list, counts := allRows(t, a, s.ID, 10)
	if counts != s.Counts || s.Counts != (gateway.Counts{Registered: 1, Refused: 4}) {
		t.Errorf("%+v; the rows are %+v", s.Counts, counts)
	}
	for _, i := range []int{1, 2, 4} {
		if r := list[i]; !slices.Equal(r.Faults, []gateway.Fault{{Field: gateway.FieldReference, Code: gateway.CodeIsNumber}}) || r.Reference != "" {
			t.Errorf("row %d: %v %v", i+1, r.State, r.Faults)
		}
	}
}

func TestARowWithoutNumberIsWarnedOfItsReference(t *testing.T) {
	w := gatewaytest.New(t, 1)
	a := w.Run(0).Of(0)
	s := begin(t, a, 2)
	nobody := gateway.Subject{BirthDate: "2015-01-01"}
	want := []gateway.Code{gateway.CodeLooksLikeNumber}
	atOnce := addRows(t, a, s.ID, 1, []gateway.Row{row(nobody, bsn(1)), row(nobody, "K-2")})
	later, _ := allRows(t, a, s.ID, 10)
	for _, list := range [][]gateway.RowStatus{atOnce, later} {
		if list[0].NotSignalled != gateway.CodeNoNumber || !slices.Equal(list[0].Warnings, want) || len(list[1].Warnings) != 0 {
			t.Errorf("%v: %v, %v", list[0].NotSignalled, list[0].Warnings, list[1].Warnings)
		}
	}
}

// The same file again, when nothing of it stands any more: a new round of it.
func TestImportAgain(t *testing.T) {
	w := gatewaytest.New(t, 1)
	a := w.Run(0).Of(0)
	terms := gateway.Terms{Reference: "bestand-1", Owner: "jansen"}
	again := func(tm gateway.Terms) (gateway.ImportStatus, bool) {
		t.Helper()
		s, made, err := a.ImportAgain(tm, 2)
		if err != nil {
			t.Fatal(err)
		}
		return s, made
	}
	first, made := again(terms)
	if !made || first.Round != 1 {
		t.Errorf("round %d is made: %v", first.Round, made)
	}
	nobody := row(gateway.Subject{BirthDate: "2015-01-01"}, "K-9") // for whom the import is kept
	addRows(t, a, first.ID, 1, rowsOf(1, 1))
	if s, made := again(terms); made || s.ID != first.ID {
		t.Error("a round that is not done is not gone on with")
	}
	if _, _, err := a.ImportAgain(gateway.Terms{Reference: "bestand-1", Owner: "bakker"}, 2); !errors.Is(err, gateway.ErrImportDiffers) {
		t.Errorf("a round that is not done, under other terms: %v", err)
	}
	addRows(t, a, first.ID, 2, []gateway.Row{nobody})
	imported(t, a, first.ID, complete)

	w.Advance(370 * 24 * time.Hour)
	if list, _ := rowsNow(t, a, first.ID); list[0].State != gateway.StateExpired {
		t.Errorf("before it is swept, a signal that has expired is %q", list[0].State)
	}
	if err := a.Sweep(); err != nil {
		t.Fatal(err)
	}
	if s, made, err := a.Import(terms, 2); err != nil || made || s.ID != first.ID || !strings.Contains(s.Words(), "2027") {
		t.Errorf("the same file is another import, or does not say since when it is done (%v): %s", err, s.Words())
	}
	if list, _ := rowsNow(t, a, first.ID); list[0].State != gateway.StateExpired {
		t.Errorf("its row is %q", list[0].State)
	}
	second, made := again(gateway.Terms{Reference: "bestand-1", Owner: "bakker"})
	if !made || second.ID == first.ID || second.Round != 2 || second.Taken != 0 {
		t.Fatalf("round %d is made: %v", second.Round, made)
	}
	if s, made, err := a.Import(gateway.Terms{Reference: "bestand-1", Owner: "bakker"}, 2); err != nil || made || s.ID != second.ID {
		t.Errorf("the latest round is not found (%v)", err)
	}
	addRows(t, a, second.ID, 1, append(rowsOf(1, 1), nobody))
	imported(t, a, second.ID, complete)
	if list, _ := rowsNow(t, a, second.ID); list[0].State != gateway.StateRegistered {
		t.Errorf("in the new round it is %q", list[0].State)
	}

	// The first is forgotten before the second, and the second is found still.
	w.Advance(400 * 24 * time.Hour)
	if err := a.Sweep(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.ImportByID(first.ID); !errors.Is(err, gateway.ErrNotFound) {
		t.Errorf("the first round is kept (%v)", err)
	}
	if s, made, err := a.Import(gateway.Terms{Reference: "bestand-1", Owner: "bakker"}, 2); err != nil || made || s.ID != second.ID {
		t.Errorf("the second round went with the first (%v)", err)
	}
}

func rowsNow(t *testing.T, p *gateway.Party, id gateway.ID) ([]gateway.RowStatus, bool) {
	t.Helper()
	list, more, err := p.ImportRows(id, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	return list, more
}

// A file's name says nothing to who can guess what is in it, and is another one for
// each party and storage key.
func TestFileReference(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h := w.Run(0, 1)
	hash := sha256.Sum256([]byte("900000016"))
	name := h.Of(0).FileReference(hash)
	if name != h.Of(0).FileReference(hash) || name == h.Of(1).FileReference(hash) || name == h.Of(0).FileReference([32]byte{}) {
		t.Error("it is not one name for each party and file")
	}
	if strings.Contains(name, hex.EncodeToString(hash[:12])) || len(name) > 58 {
		t.Errorf("its name is %s", name)
	}
}
