// SPDX-License-Identifier: EUPL-1.2

package rest

import (
	"context"

	"github.com/seinhuis/seinhuis/gateway"
)

func (o *operations) LijstEigenaren(ctx context.Context, r LijstEigenarenRequestObject) (LijstEigenarenResponseObject, error) {
	id, err := gateway.ParseID(r.Id)
	if err != nil {
		return nil, gateway.ErrNotFound
	}
	list, err := accessOf(ctx).Owners(id)
	if err != nil {
		return nil, err
	}
	return LijstEigenaren200JSONResponse{Body: ownersOf(list)}, nil
}

func (o *operations) WijzigEigenaren(ctx context.Context, r WijzigEigenarenRequestObject) (WijzigEigenarenResponseObject, error) {
	id, err := gateway.ParseID(r.Id)
	if err != nil {
		return nil, gateway.ErrNotFound
	}
	a := accessOf(ctx)
	var list []gateway.Ownership
	switch in := r.Body; {
	case in.Wijze == NieuweEigenaarWijzeOverdragen && in.Kenmerk != "":
		return nil, inputProblem([]Invoerfout{fault(InvoerfoutInBody, gateway.FieldReference, gateway.CodeUnknownField)})
	case in.Wijze == NieuweEigenaarWijzeToevoegen && in.Contactkaart != Contactkaart{}:
		return nil, inputProblem([]Invoerfout{fault(InvoerfoutInBody, gateway.FieldCard, gateway.CodeUnknownField)})
	case in.Wijze == NieuweEigenaarWijzeOverdragen:
		list, err = a.HandOver(id, in.Hulpverlener, cardOf(in.Contactkaart))
	default:
		list, err = a.AddOwner(id, in.Hulpverlener, in.Kenmerk)
	}
	if err != nil {
		return nil, err
	}
	return WijzigEigenaren200JSONResponse{Body: ownersOf(list)}, nil
}

func ownersOf(list []gateway.Ownership) Eigenaarschappen {
	out := Eigenaarschappen{Items: []Eigenaarschap{}}
	for _, o := range list {
		out.Items = append(out.Items, Eigenaarschap{Hulpverlener: o.Owner, Signaal: idOf(o.Registration), Kenmerk: o.Reference})
	}
	return out
}

func (o *operations) DraagOver(ctx context.Context, r DraagOverRequestObject) (DraagOverResponseObject, error) {
	s, made, err := accessOf(ctx).MakeTransfer(r.Id, r.Body.Naar, cardOf(r.Body.Contactkaart))
	if err != nil {
		return nil, err
	}
	location := "/v1/gebruikers/" + s.From + "/overdracht"
	if made {
		return DraagOver201JSONResponse{Body: transferOf(s), Headers: DraagOver201ResponseHeaders{Location: location}}, nil
	}
	return DraagOver200JSONResponse{Body: transferOf(s), Headers: DraagOver200ResponseHeaders{Location: location}}, nil
}

func (o *operations) LeesOverdracht(ctx context.Context, r LeesOverdrachtRequestObject) (LeesOverdrachtResponseObject, error) {
	s, err := accessOf(ctx).TransferOf(r.Id)
	if err != nil {
		return nil, err
	}
	return LeesOverdracht200JSONResponse{Body: transferOf(s)}, nil
}

const mostRefused = 200 // that an answer tells of

func transferOf(s gateway.TransferStatus) Overdracht {
	out := Overdracht{
		Van: s.From, Naar: s.To, Begonnen: seconds(s.Created), Aantal: s.Total, Klaar: s.Done, Bezig: s.Busy,
		Beeindigd: s.Ended, Geweigerd: len(s.Waiting), Signalen: []GeweigerdeOverdracht{},
	}
	for _, w := range s.Waiting[:min(len(s.Waiting), mostRefused)] {
		out.Signalen = append(out.Signalen, GeweigerdeOverdracht{Signaal: w.ID.String(), Fouten: faultsOf(w.Faults)})
	}
	return out
}
