// SPDX-License-Identifier: EUPL-1.2

package rest

import (
	"context"
	"math"
	"strconv"

	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/gateway"
)

func (o *operations) MaakImport(ctx context.Context, r MaakImportRequestObject) (MaakImportResponseObject, error) {
	a := accessOf(ctx)
	t := gateway.Terms{
		Reference: r.Body.Kenmerk, Owner: r.Body.Hulpverlener, Card: cardOf(r.Body.Contactkaart), TermDays: r.Body.TermijnDagen,
	}
	if r.Body.Inhoud != "" {
		var hash [32]byte
		if encoding.ParseHex(hash[:], []byte(r.Body.Inhoud)) != nil || t.Reference != "" {
			return nil, inputProblem([]Invoerfout{fault(InvoerfoutInBody, gateway.FieldContent, gateway.CodeForm)})
		}
		t.Reference = a.Party.FileReference(hash)
	}
	s, made, err := a.Import(t, r.Body.AantalRegels, r.Body.Opnieuw)
	if err != nil {
		return nil, err
	}
	location := "/v1/importen/" + s.ID.String()
	if made {
		return MaakImport201JSONResponse{Body: importOf(s), Headers: MaakImport201ResponseHeaders{Location: location}}, nil
	}
	return MaakImport200JSONResponse{Body: importOf(s), Headers: MaakImport200ResponseHeaders{Location: location}}, nil
}

func (o *operations) LijstImporten(ctx context.Context, r LijstImportenRequestObject) (LijstImportenResponseObject, error) {
	from, err := listFrom(r.Params.Na)
	if err != nil {
		return nil, err
	}
	list, more, err := accessOf(ctx).Imports(from, count(r.Params.Aantal))
	if err != nil {
		return nil, err
	}
	page := Importen{Items: []Import{}}
	for _, s := range list {
		page.Items = append(page.Items, importOf(s))
	}
	if more {
		page.Next = list[len(list)-1].ID.String()
	}
	return LijstImporten200JSONResponse{Body: page}, nil
}

func (o *operations) LeesImport(ctx context.Context, r LeesImportRequestObject) (LeesImportResponseObject, error) {
	id, err := gateway.ParseID(r.Id)
	if err != nil {
		return nil, gateway.ErrNotFound
	}
	s, err := accessOf(ctx).ImportByID(id)
	if err != nil {
		return nil, err
	}
	return LeesImport200JSONResponse{Body: importOf(s)}, nil
}

func (o *operations) NeemRegelsAan(ctx context.Context, r NeemRegelsAanRequestObject) (NeemRegelsAanResponseObject, error) {
	id, err := gateway.ParseID(r.Id)
	if err != nil {
		return nil, gateway.ErrNotFound
	}
	rows := make([]gateway.Row, len(r.Body.Regels))
	for i, in := range r.Body.Regels {
		rows[i] = gateway.Row{
			Person: gateway.Person{
				Subject: gateway.Subject{Kind: in.Nummersoort, Number: in.Nummer, BirthDate: in.Geboortedatum},
				Role:    in.Rol, Reference: in.Kenmerk,
			},
			Owner: in.Hulpverlener, Card: cardOf(in.Contactkaart), TermDays: in.TermijnDagen,
		}
	}
	list, err := accessOf(ctx).AddRows(id, r.Body.Eerste, rows)
	if err != nil {
		return nil, err
	}
	return NeemRegelsAan200JSONResponse{Body: Regels{Items: rowsOf(list)}}, nil
}

func (o *operations) LijstRegels(ctx context.Context, r LijstRegelsRequestObject) (LijstRegelsResponseObject, error) {
	id, err := gateway.ParseID(r.Id)
	if err != nil {
		return nil, gateway.ErrNotFound
	}
	list, more, err := accessOf(ctx).ImportRows(id, r.Params.Na, count(r.Params.Aantal))
	if err != nil {
		return nil, err
	}
	page := Regels{Items: rowsOf(list)}
	if more {
		page.Next = strconv.Itoa(list[len(list)-1].Number)
	}
	return LijstRegels200JSONResponse{Body: page}, nil
}

func importOf(s gateway.ImportStatus) Import {
	out := Import{
		Id: s.ID.String(), Aangemaakt: seconds(s.Created), Kenmerk: s.Reference, Ronde: s.Round, Hulpverlener: s.Owner, AantalRegels: s.Total,
		Aangenomen: s.Taken, Uitleg: s.Words(), PerSeconde: math.Round(s.PerSecond*10) / 10, KlaarOp: seconds(s.Settled),
		Resterend: int(math.Ceil(s.Left.Seconds())), VerderOp: seconds(s.Next),
		Tellingen: Tellingen{
			InDeWacht: s.Counts.Queued, Geregistreerd: s.Counts.Registered, Samengevoegd: s.Counts.Merged,
			Geweigerd: s.Counts.Refused, Volwassen: s.Counts.Adult, Ingetrokken: s.Counts.Withdrawn, NietGesignaleerd: s.Counts.NotSignalled,
		},
	}
	switch {
	case !s.Settled.IsZero():
		out.Toestand = ImportToestandKlaar
	case s.Taken < s.Total:
		out.Toestand = ImportToestandAanleveren
	default:
		out.Toestand = ImportToestandVerwerken
	}
	if s.WaitFor != gateway.WaitNothing {
		out.WachtOp = ImportWachtOp(s.WaitFor)
	}
	return out
}

func rowsOf(list []gateway.RowStatus) []Regel {
	out := make([]Regel, len(list))
	for i, s := range list {
		row := Regel{
			Volgnummer: s.Number, Kenmerk: s.Reference, Uitleg: s.Words(), Signaal: idOf(s.Registration),
			Fouten: faultsOf(s.Faults), Waarschuwingen: warningsOf(s.Warnings),
		}
		switch {
		case s.Elsewhere:
			row.Uitkomst, row.Uitleg, row.Signaal = RegelUitkomstOvergedragen, elsewhere, ""
			row.Kenmerk, row.Fouten, row.Waarschuwingen = "", []Invoerfout{}, []Waarschuwing{}
		case s.NotSignalled != "":
			row.Uitkomst = RegelUitkomstNietGesignaleerd
		case s.State == "":
			row.Uitkomst = RegelUitkomstGeweigerd
		default:
			row.Uitkomst = RegelUitkomst(states[s.State])
		}
		out[i] = row
	}
	return out
}
