// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
)

// persons are what a report of Veilig Thuis may hold. The clock stands at 4 March
// 2027.
func persons() []gateway.Person {
	return []gateway.Person{
		{Subject: child(1), Role: gateway.RoleChild},
		{Subject: child(2), Role: gateway.RoleSibling},
		{Subject: gateway.Subject{Kind: "bsn", Number: bsn(3), BirthDate: "1985-01-01"}, Role: gateway.RoleParent},
		{Subject: gateway.Subject{Kind: "bsn", Number: bsn(4), BirthDate: "2004-03-04"}},
		{Subject: gateway.Subject{Kind: "bsn", Number: bsn(5), BirthDate: "2004-03-05"}, Role: gateway.RoleParent},
		{Subject: gateway.Subject{Kind: "bsn", BirthDate: "2015-01-01"}},
		{Subject: gateway.Subject{BirthDate: "1985-01-01"}},
		{Subject: gateway.Subject{Kind: "bsn", Number: "123456789", BirthDate: "2015-02-30"}},
		{Subject: child(6), Role: gateway.RolePerpetrator},
		{Subject: child(7), Role: "buurman"},
		{Subject: child(8), Reference: bsn(8)},
	}
}

func waitReport(t *testing.T, p *gateway.Party, r gateway.ReportStatus) gateway.ReportStatus {
	t.Helper()
	for _, s := range r.Status {
		if s != nil {
			settled(t, p, s.ID)
		}
	}
	r, err := p.ReportByID(r.ID)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReport(t *testing.T) {
	w := gatewaytest.New(t, 1)
	a := w.Run(0).Of(0)
	first, err := a.Report(persons(), terms("vt", "M-1"))
	if err != nil {
		t.Fatal(err)
	}
	first = waitReport(t, a, first)
	for i, want := range []struct {
		name   string
		state  gateway.State
		not    gateway.Code
		faults []gateway.Fault
	}{
		{name: "child", state: gateway.StateRegistered},
		{name: "sibling", state: gateway.StateRegistered},
		{name: "rejects/adult", faults: []gateway.Fault{{Field: gateway.FieldBirthDate, Code: gateway.CodeAdult}}},
		{name: "rejects/23_today", faults: []gateway.Fault{{Field: gateway.FieldBirthDate, Code: gateway.CodeAdult}}},
		{name: "parent_of_22", state: gateway.StateRegistered},
		{name: "without_number", not: gateway.CodeNoNumber},
		{name: "rejects/adult_without_number", faults: []gateway.Fault{{Field: gateway.FieldBirthDate, Code: gateway.CodeAdult}}},
		{name: "rejects/number_and_date", faults: []gateway.Fault{
			{Field: gateway.FieldNumber, Code: gateway.CodeCheckDigits}, {Field: gateway.FieldBirthDate, Code: gateway.CodeDate}}},
		{name: "suspect_by_policy", not: gateway.CodeRoleNotAllowed},
		{name: "rejects/unknown_role", faults: []gateway.Fault{{Field: gateway.FieldRole, Code: gateway.CodeUnknown}}},
		{name: "rejects/number_as_reference", faults: []gateway.Fault{{Field: gateway.FieldReference, Code: gateway.CodeIsNumber}}},
	} {
		t.Run(want.name, func(t *testing.T) {
			o, s := first.Persons[i], first.Status[i]
			if o.NotSignalled != want.not || !slices.Equal(o.Faults, want.faults) {
				t.Errorf("not signalled: %q, faults: %v", o.NotSignalled, o.Faults)
			}
			switch {
			case want.state == "" && s != nil:
				t.Error("it was registered")
			case want.state != "" && (s == nil || s.State != want.state || s.Report != first.ID):
				t.Errorf("it is %v", s)
			}
		})
	}
	if !first.Open() || !first.Repeats.IsZero() || !first.Settled() {
		t.Error("the first report is not open, or a repeat, or not settled")
	}

	t.Run("repeat", func(t *testing.T) {
		again, err := a.Report(persons(), terms("vt", "M-1"))
		if err != nil {
			t.Fatal(err)
		}
		again = waitReport(t, a, again)
		if again.Repeats != first.ID || again.ID == first.ID {
			t.Error("the repeat is not recognised")
		}
		for i, s := range again.Status {
			if (s == nil) != (first.Status[i] == nil) {
				t.Errorf("person %d is judged otherwise", i+1)
			}
			if s != nil && (s.State != gateway.StateMerged || s.Into != first.Status[i].ID || s.SID != first.Status[i].SID || s.Owners != 1) {
				t.Errorf("person %d: %s with %d owners", i+1, s.State, s.Owners)
			}
		}
	})

	t.Run("lists", func(t *testing.T) {
		if _, err := a.Report(persons()[:1], terms("vt", "M-2")); err != nil {
			t.Fatal(err)
		}
		all, more, err := a.Reports(gateway.ID{}, 2, gateway.ReportFilter{})
		if err != nil || len(all) != 2 || !more || all[0].Reference != "M-2" {
			t.Fatalf("%d reports, more: %v (%v)", len(all), more, err)
		}
		rest, more, err := a.Reports(all[1].ID, 2, gateway.ReportFilter{})
		if err != nil || len(rest) != 1 || more || rest[0].ID != first.ID {
			t.Errorf("then %d reports, more: %v (%v)", len(rest), more, err)
		}
		if open, _, err := a.Reports(gateway.ID{}, 10, gateway.ReportFilter{Open: true}); err != nil || len(open) != 2 {
			t.Errorf("%d reports are open (%v)", len(open), err)
		}
	})
}

func TestReportOfSuspects(t *testing.T) {
	w := gatewaytest.New(t, 1)
	w.Manifest.Policy.SignalPerpetrators = true
	w.Publish()
	a := w.Run(0).Of(0)
	r, err := a.Report([]gateway.Person{{Subject: child(1), Role: gateway.RolePerpetrator}}, terms("vt", "M-1"))
	if err != nil {
		t.Fatal(err)
	}
	if r = waitReport(t, a, r); r.Status[0].State != gateway.StateRegistered {
		t.Errorf("a policy that says so gives %s", r.Status[0].State)
	}
}

func TestInputIsRefusedWhole(t *testing.T) {
	w := gatewaytest.New(t, 1)
	a := w.Run(0).Of(0)
	good := gateway.Terms{Owner: "jansen", Reference: "A-1"}
	with := func(change func(*gateway.Subject, *gateway.Terms)) (gateway.Subject, gateway.Terms) {
		s, tm := child(1), good
		change(&s, &tm)
		return s, tm
	}
	for name, c := range map[string]struct {
		change func(*gateway.Subject, *gateway.Terms)
		want   []gateway.Fault
	}{
		"unknown_kind":     {func(s *gateway.Subject, _ *gateway.Terms) { s.Kind = "paspoort" }, []gateway.Fault{{Field: "nummersoort", Code: "onbekend"}}},
		"protocol_kind":    {func(s *gateway.Subject, _ *gateway.Terms) { s.Kind = "nl-bsn" }, []gateway.Fault{{Field: "nummersoort", Code: "onbekend"}}},
		"reserved_kind":    {func(s *gateway.Subject, _ *gateway.Terms) { s.Kind = "name-date" }, []gateway.Fault{{Field: "nummersoort", Code: "gereserveerd"}}},
		"no_number":        {func(s *gateway.Subject, _ *gateway.Terms) { s.Number = "" }, []gateway.Fault{{Field: "nummer", Code: "ontbreekt"}}},
		"check_digit":      {func(s *gateway.Subject, _ *gateway.Terms) { s.Number = "123456789" }, []gateway.Fault{{Field: "nummer", Code: "controlegetal"}}},
		"no_birth_date":    {func(s *gateway.Subject, _ *gateway.Terms) { s.BirthDate = "" }, []gateway.Fault{{Field: "geboortedatum", Code: "ontbreekt"}}},
		"impossible_date":  {func(s *gateway.Subject, _ *gateway.Terms) { s.BirthDate = "2012-02-30" }, []gateway.Fault{{Field: "geboortedatum", Code: "datum"}}},
		"date_in_words":    {func(s *gateway.Subject, _ *gateway.Terms) { s.BirthDate = "5 mei" }, []gateway.Fault{{Field: "geboortedatum", Code: "datum"}}},
		"future":           {func(s *gateway.Subject, _ *gateway.Terms) { s.BirthDate = "2027-03-05" }, []gateway.Fault{{Field: "geboortedatum", Code: "toekomst"}}},
		"adult":            {func(s *gateway.Subject, _ *gateway.Terms) { s.BirthDate = "2004-03-04" }, []gateway.Fault{{Field: "geboortedatum", Code: "volwassen"}}},
		"no_owner":         {func(_ *gateway.Subject, t *gateway.Terms) { t.Owner = "" }, []gateway.Fault{{Field: "hulpverlener", Code: "ontbreekt"}}},
		"owner_form":       {func(_ *gateway.Subject, t *gateway.Terms) { t.Owner = "A. Jansen" }, []gateway.Fault{{Field: "hulpverlener", Code: "vorm"}}},
		"number_as_owner":  {func(s *gateway.Subject, t *gateway.Terms) { t.Owner = s.Number }, []gateway.Fault{{Field: "hulpverlener", Code: "isNummer"}}},
		"no_reference":     {func(_ *gateway.Subject, t *gateway.Terms) { t.Reference = " " }, []gateway.Fault{{Field: "kenmerk", Code: "ontbreekt"}}},
		"reference_length": {func(_ *gateway.Subject, t *gateway.Terms) { t.Reference = strings.Repeat("é", 30) }, []gateway.Fault{{Field: "kenmerk", Code: "lengte"}}},
		"reference_form":   {func(_ *gateway.Subject, t *gateway.Terms) { t.Reference = "A\n1" }, []gateway.Fault{{Field: "kenmerk", Code: "vorm"}}},
		"number_as_reference": {func(s *gateway.Subject, t *gateway.Terms) { t.Reference = s.Number[:4] + "." + s.Number[4:] },
			[]gateway.Fault{{Field: "kenmerk", Code: "isNummer"}}},
		"wrong_number_as_reference": {func(s *gateway.Subject, t *gateway.Terms) { s.Number, t.Reference = "123456789", "123456789" },
			[]gateway.Fault{{Field: "nummer", Code: "controlegetal"}, {Field: "kenmerk", Code: "isNummer"}}},
		"number_on_card": {func(s *gateway.Subject, t *gateway.Terms) { t.Card = gateway.Card{Name: "J", Phone: s.Number} },
			[]gateway.Fault{{Field: "contactkaart", Code: "isNummer"}}},
		"card_without_contact": {func(_ *gateway.Subject, t *gateway.Terms) { t.Card = gateway.Card{Name: "J"} }, nil},
		"card_length": {func(_ *gateway.Subject, t *gateway.Terms) {
			t.Card = gateway.Card{Name: strings.Repeat("x", 81), Phone: "1"}
		},
			[]gateway.Fault{{Field: "contactkaart.naam", Code: "lengte"}}},
		"term": {func(_ *gateway.Subject, t *gateway.Terms) { t.TermDays = 732 }, []gateway.Fault{{Field: "termijnDagen", Code: "vorm"}}},
		"everything_at_once": {func(s *gateway.Subject, t *gateway.Terms) {
			s.Number, s.BirthDate, t.Owner, t.Reference, t.TermDays = "1", "x", "", "", -1
		}, []gateway.Fault{{Field: "nummer", Code: "lengte"}, {Field: "geboortedatum", Code: "datum"}, {Field: "hulpverlener", Code: "ontbreekt"},
			{Field: "kenmerk", Code: "ontbreekt"}, {Field: "termijnDagen", Code: "vorm"}}},
	} {
		t.Run("rejects/"+name, func(t *testing.T) {
			s, tm := with(c.change)
			_, err := a.Signal(s, tm)
			input, ok := errors.AsType[*gateway.InputError](err)
			if !ok {
				t.Fatalf("got %v", err)
			}
			if c.want != nil && !slices.Equal(input.Faults, c.want) {
				t.Errorf("faults %v, want %v", input.Faults, c.want)
			}
			for _, f := range input.Faults {
				if f.Detail() == (gateway.Fault{Code: "?"}).Detail() {
					t.Errorf("%v has no words of its own", f)
				}
			}
			if s.Number != "" && len(s.Number) > 1 && strings.Contains(err.Error(), s.Number) {
				t.Error("the error repeats the number")
			}
		})
	}
	if list, _, err := a.Registrations(gateway.ID{}, 1, ""); err != nil || len(list) != 0 {
		t.Error("something refused was kept")
	}
}

func TestWarnings(t *testing.T) {
	w := gatewaytest.New(t, 1)
	a := w.Run(0).Of(0)
	s := signal(t, a, child(1), terms("jansen", bsn(9)))
	if !slices.Equal(s.Warnings, []gateway.Code{gateway.CodeLooksLikeNumber}) {
		t.Errorf("a reference that passes the 11-test: %v", s.Warnings)
	}
	// 12.05.06-001: born 6 May 2012.
	s = signal(t, a, gateway.Subject{Kind: "insz", Number: "12.05.06-001.38", BirthDate: "2012-05-07"}, terms("jansen", "A-2"))
	if !slices.Equal(s.Warnings, []gateway.Code{gateway.CodeBirthDateDiffers}) {
		t.Errorf("a birth date that differs from the INSZ: %v", s.Warnings)
	}
	for _, c := range s.Warnings {
		if c.Words() == "" {
			t.Errorf("%s has no words", c)
		}
	}
}

// A report that is asked for again by its key shows signals, and so is in the log.
func TestAReportByItsKeyIsInTheLog(t *testing.T) {
	w := gatewaytest.New(t, 1)
	h := w.Run(0)
	a := bootstrap(t, w, h, 0)
	hire(t, a, "jansen")
	in := terms("jansen", "M-1")
	in.Key = "k"
	persons := []gateway.Person{{Subject: child(1)}}
	made, err := as(a, "jansen").Report(persons, in)
	if err != nil {
		t.Fatal(err)
	}
	settled(t, a.Party, made.Status[0].ID)
	reads := func() (n int) {
		rows, _, err := a.Log(gateway.LogQuery{Signal: made.Status[0].ID.String()}, gateway.ID{}, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			if row.Record.Event == string(gateway.LogSignalRead) {
				n++
			}
		}
		return n
	}
	if n := reads(); n != 0 {
		t.Fatalf("%d", n)
	}
	if again, err := as(a, "jansen").Report(persons, in); err != nil || again.ID != made.ID || again.Status[0].Signal == nil {
		t.Fatalf("%+v %v", again, err)
	}
	if n := reads(); n != 1 {
		t.Errorf("it was read %d times by the log", n)
	}
}
