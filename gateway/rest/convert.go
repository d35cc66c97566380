// SPDX-License-Identifier: EUPL-1.2

package rest

import (
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/gateway"
)

func subjectOf(in NieuwSignaal) gateway.Subject {
	return gateway.Subject{Kind: string(in.Nummersoort), Number: in.Nummer, BirthDate: in.Geboortedatum}
}

func termsOf(in NieuwSignaal, key string) gateway.Terms {
	return gateway.Terms{
		Owner: in.Hulpverlener, Reference: in.Kenmerk, Card: cardOf(in.Contactkaart), TermDays: in.TermijnDagen, Key: key,
		TakesOver: sidOf(in.NeemtOver), Shielded: in.Afgeschermd,
	}
}

func cardOf(c Contactkaart) gateway.Card {
	return gateway.Card{Name: c.Naam, Role: c.Functie, Desk: c.Afdeling, Phone: c.Telefoon, Email: c.Email, Reachable: c.Bereikbaarheid}
}

func ofCard(c gateway.Card) Contactkaart {
	return Contactkaart{Naam: c.Name, Functie: c.Role, Afdeling: c.Desk, Telefoon: c.Phone, Email: c.Email, Bereikbaarheid: c.Reachable}
}

var states = map[gateway.State]Toestand{
	gateway.StateQueued:     ToestandInDeWacht,
	gateway.StateRegistered: ToestandGeregistreerd,
	gateway.StateMerged:     ToestandSamengevoegd,
	gateway.StateRefused:    ToestandGeweigerd,
	gateway.StateWithdrawn:  ToestandIngetrokken,
	gateway.StateExpired:    ToestandVerlopen,
	gateway.StateHandedOver: ToestandOvergedragen,
	gateway.StateLost:       ToestandOpnieuwAanmelden,
}

var statesOf = func() map[Toestand]gateway.State {
	m := map[Toestand]gateway.State{}
	for state, name := range states {
		m[name] = state
	}
	return m
}()

var jobs = map[gateway.JobKind]OpdrachtSoort{
	gateway.JobSignal:   OpdrachtSoortSignaleren,
	gateway.JobRenew:    OpdrachtSoortVerlengen,
	gateway.JobWithdraw: OpdrachtSoortIntrekken,
}

func signalOf(s gateway.Status) Signaal {
	out := Signaal{
		Id: s.ID.String(), Aangemaakt: seconds(s.Created), Hulpverlener: s.Owner, Kenmerk: s.Reference,
		Melding: idOf(s.Report), Import: idOf(s.Import), Toestand: states[s.State], Uitleg: s.Words(), SamengevoegdMet: idOf(s.Into),
		Eigenaren: s.Owners, Waarschuwingen: warningsOf(s.Warnings), Fouten: faultsOf(s.Faults),
		OvergenomenDoor: string(s.HandedTo), VerlengdOm: RedenVerlenging(s.Renewal.Reason), Afgeschermd: s.Shielded,
	}
	if !s.SID.IsZero() {
		out.Sid = s.SID.String()
	}
	if j := s.Job; j != nil {
		out.Opdracht = Opdracht{
			Soort: jobs[j.Kind], WachtOp: OpdrachtWachtOp(j.WaitFor), Sinds: seconds(j.Since),
			Pogingen: j.Attempts, VolgendePoging: seconds(j.Next),
		}
	}
	if sig := s.Signal; sig != nil {
		others := int64(sig.Others)
		out.Revisie, out.Anderen, out.Contactkaart = int64(sig.Rev), &others, ofCard(sig.Card)
		if !sig.Expires.IsZero() {
			out.VerlooptOp = dateOf(sig.Expires)
		}
		out.WarmeOverdracht = givenOf(sig.Given)
		if m := s.Match; m != nil && m.Ended.IsZero() && m.Present() > 0 {
			out.Match = m.Match.String()
		}
	}
	return out
}

func idOf(id gateway.ID) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}

// seconds writes times as whole seconds in UTC.
func seconds(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Second)
}

func warningsOf(codes []gateway.Code) []Waarschuwing {
	list := make([]Waarschuwing, len(codes))
	for i, c := range codes {
		list[i] = Waarschuwing{Code: string(c), Detail: c.Words()}
	}
	return list
}

const elsewhere = "Overgedragen aan een collega."

func reportOf(r gateway.ReportStatus) Melding {
	out := Melding{
		Id: r.ID.String(), Aangemaakt: seconds(r.Created), Kenmerk: r.Reference, Hulpverlener: r.Owner,
		Herhaling: !r.Repeats.IsZero(), Personen: []Uitkomst{}, Termijn: MeldingTermijn(r.Clock), TeDoen: []TeDoen{},
	}
	if !r.DecideBy.IsZero() {
		out.BeslissenVoor = dateOf(r.DecideBy)
	}
	for _, todo := range r.Todo() {
		out.TeDoen = append(out.TeDoen, TeDoen{Volgnummer: todo.Person + 1, Detail: todo.Words})
	}
	for i, person := range r.Persons {
		u := Uitkomst{
			Volgnummer: i + 1, Rol: person.Role, Kenmerk: person.Reference,
			Fouten: faultsOf(person.Faults), Waarschuwingen: []Waarschuwing{},
		}
		switch s := r.Status[i]; {
		case s != nil:
			u.Signaal = signalOf(*s)
			u.Uitkomst, u.Uitleg = UitkomstUitkomst(u.Signaal.Toestand), u.Signaal.Uitleg
			u.Fouten, u.Waarschuwingen = u.Signaal.Fouten, u.Signaal.Waarschuwingen
		case person.Elsewhere:
			u.Uitkomst, u.Uitleg = UitkomstUitkomstOvergedragen, elsewhere
		case person.NotSignalled != "":
			u.Uitkomst, u.Uitleg = UitkomstUitkomstNietGesignaleerd, person.NotSignalled.Words()
		case len(person.Faults) > 0:
			u.Uitkomst, u.Uitleg = UitkomstUitkomstGeweigerd, "Geweigerd. "+person.Faults[0].Detail()
		default: // it ended so long ago that it is no longer kept
			u.Uitkomst, u.Uitleg = UitkomstUitkomstVerlopen, "Beëindigd, en niet langer bewaard."
		}
		out.Personen = append(out.Personen, u)
	}
	return out
}

func messageOf(m gateway.Message) Bericht {
	out := Bericht{
		Id: m.ID.String(), Ontvangen: seconds(m.Received), Soort: BerichtSoort(gateway.KindName(m.Kind)), Tekst: m.Words(), Vergissing: m.Mistake,
		Antwoord: AntwoordSoort(gateway.AnswerName(m.Answer)), Signalen: []Eigenaar{}, Probleem: m.Problem.Words(),
		Ander: Ander{
			Deelnemer: string(m.Other.Party), Naam: m.Other.Name, Soort: m.Other.Kind,
			Contactkaart: ofCard(m.Other.Card), Voorleescode: m.Other.Code,
		},
	}
	if m.Kind == api.EventExpiring {
		out.VerlooptOp = dateOf(m.Until)
	}
	out.Match, out.Sid, out.Overname = m.About()
	for _, o := range m.Owners {
		out.Signalen = append(out.Signalen, Eigenaar{Signaal: o.Registration.String(), Kenmerk: o.Reference, Hulpverlener: o.Owner})
	}
	return out
}
