// SPDX-License-Identifier: EUPL-1.2

package rest

import (
	"context"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/gateway"
)

// Warm handovers, to another party. Those to a colleague are in owners.go.

func (o *operations) GeefSignaal(ctx context.Context, r GeefSignaalRequestObject) (GeefSignaalResponseObject, error) {
	until, err := encoding.ParseDate(r.Body.TotEnMet)
	if err != nil {
		until = encoding.Date{} // no such day
	}
	s, err := o.give(ctx, r.Id, api.PartyID(r.Body.Aan), until, r.Params.Wacht)
	if err != nil {
		return nil, err
	}
	if s.Toestand == ToestandOvergedragen || s.WarmeOverdracht.Toestand != WarmeOverdrachtToestandInDeWacht {
		return GeefSignaal200JSONResponse{Body: s}, nil
	}
	return GeefSignaal202JSONResponse{Body: s}, nil
}

func (o *operations) NeemSignaalTerug(ctx context.Context, r NeemSignaalTerugRequestObject) (NeemSignaalTerugResponseObject, error) {
	s, err := o.give(ctx, r.Id, "", encoding.Date{}, r.Params.Wacht)
	if err != nil {
		return nil, err
	}
	if s.WarmeOverdracht.Toestand != WarmeOverdrachtToestandInDeWacht {
		return NeemSignaalTerug200JSONResponse{Body: s}, nil
	}
	return NeemSignaalTerug202JSONResponse{Body: s}, nil
}

func (o *operations) give(ctx context.Context, id string, to api.PartyID, until encoding.Date, wait *int) (Signaal, error) {
	named, err := gateway.ParseID(id)
	if err != nil {
		return Signaal{}, gateway.ErrNotFound
	}
	a := accessOf(ctx)
	if _, err := a.Give(named, to, until); err != nil {
		return Signaal{}, err
	}
	if err := o.within(ctx, wait, func(ctx context.Context) error { return a.Party.AwaitGiven(ctx, named) }); err != nil {
		return Signaal{}, err
	}
	s, err := a.Outcome(named)
	return signalOf(s), err
}

func (o *operations) LijstOverdrachten(ctx context.Context, _ LijstOverdrachtenRequestObject) (LijstOverdrachtenResponseObject, error) {
	list, err := accessOf(ctx).Party.Offers()
	if err != nil {
		return nil, err
	}
	out := Overdrachten{Items: []Overname{}}
	for _, offer := range list {
		out.Items = append(out.Items, Overname{
			Id: offer.SID.String(), Deelnemer: string(offer.Party), Naam: offer.Name, Soort: offer.Kind,
			TotEnMet: dateOf(offer.Until), Ontvangen: seconds(offer.Received),
		})
	}
	return LijstOverdrachten200JSONResponse{Body: out}, nil
}

func givenOf(g gateway.Given) WarmeOverdracht {
	to := g.To()
	out := WarmeOverdracht{Aan: string(to.To), Toestand: WarmeOverdrachtToestandStaat, Uitleg: g.Words()}
	if !to.IsZero() {
		out.TotEnMet = dateOf(to.Until)
	}
	switch {
	case !g.Job.IsZero():
		out.Toestand = WarmeOverdrachtToestandInDeWacht
	case g.Fault != "":
		out.Toestand = WarmeOverdrachtToestandNietGelukt
	case to.IsZero():
		return WarmeOverdracht{}
	}
	return out
}

// sidOf reads what the description lets through; nothing is no sid.
func sidOf(text string) (sid api.SID) {
	if sid.UnmarshalText([]byte(text)) != nil {
		return api.SID{}
	}
	return sid
}
