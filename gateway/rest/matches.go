// SPDX-License-Identifier: EUPL-1.2

package rest

import (
	"context"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/gateway"
)

func (o *operations) LijstMatches(ctx context.Context, r LijstMatchesRequestObject) (LijstMatchesResponseObject, error) {
	from, err := listFrom(r.Params.Na)
	if err != nil {
		return nil, err
	}
	only := gateway.MatchFilter{
		Active: r.Params.Toestand == MatchToestandActief, Over: r.Params.Toestand == MatchToestandBeeindigd,
	}
	if r.Params.Signaal != "" {
		if only.Registration, err = gateway.ParseID(r.Params.Signaal); err != nil {
			return nil, gateway.ErrNotFound
		}
	}
	list, more, err := accessOf(ctx).Matches(from, count(r.Params.Aantal), only)
	if err != nil {
		return nil, err
	}
	page := Matches{Items: []Match{}}
	for _, m := range list {
		page.Items = append(page.Items, matchOf(m))
	}
	if more {
		page.Next = list[len(list)-1].ID.String()
	}
	if len(list) == 0 && from.IsZero() {
		page.Uitleg = gateway.NoMatch
	}
	return LijstMatches200JSONResponse{Body: page}, nil
}

func (o *operations) LeesMatch(ctx context.Context, r LeesMatchRequestObject) (LeesMatchResponseObject, error) {
	name, err := matchName(r.Id)
	if err != nil {
		return nil, err
	}
	m, err := accessOf(ctx).MatchByID(name)
	if err != nil {
		return nil, err
	}
	return LeesMatch200JSONResponse{Body: matchOf(m)}, nil
}

func (o *operations) BeantwoordMatch(ctx context.Context, r BeantwoordMatchRequestObject) (BeantwoordMatchResponseObject, error) {
	name, err := matchName(r.Id)
	if err != nil {
		return nil, err
	}
	a := accessOf(ctx)
	if _, err := a.Answer(name, api.PartyID(r.Body.Deelnemer), gateway.AnswerNamed(string(r.Body.Antwoord)), r.Params.IdempotencyKey); err != nil {
		return nil, err
	}
	if err := o.within(ctx, r.Params.Wacht, func(ctx context.Context) error { return a.Party.AwaitAnswers(ctx, name) }); err != nil {
		return nil, err
	}
	m, err := a.MatchOutcome(name)
	if err != nil {
		return nil, err
	}
	if m.Settled() {
		return BeantwoordMatch200JSONResponse{Body: matchOf(m)}, nil
	}
	return BeantwoordMatch202JSONResponse{Body: matchOf(m)}, nil
}

func (o *operations) ZieMatch(ctx context.Context, r ZieMatchRequestObject) (ZieMatchResponseObject, error) {
	name, err := matchName(r.Id)
	if err != nil {
		return nil, err
	}
	m, err := accessOf(ctx).See(name)
	if err != nil {
		return nil, err
	}
	return ZieMatch200JSONResponse{Body: matchOf(m)}, nil
}

func matchName(s string) (name api.MatchID, err error) {
	if name.UnmarshalText([]byte(s)) != nil {
		return name, gateway.ErrNotFound
	}
	return name, nil
}

func matchOf(m gateway.MatchStatus) Match {
	out := Match{
		Id: m.Match.Match.String(), Sid: m.SID.String(), Toestand: MatchToestandActief, Uitleg: m.Words(), Sinds: seconds(m.Began),
		BeeindigdOp: seconds(m.Ended), Signalen: []Eigenaar{}, Anderen: []MatchAnder{},
	}
	if m.Over {
		out.Toestand = MatchToestandBeeindigd
	}
	for _, o := range m.Owners {
		out.Signalen = append(out.Signalen, Eigenaar{Signaal: o.Registration.String(), Kenmerk: o.Reference, Hulpverlener: o.Owner})
	}
	for _, o := range m.Others {
		out.Anderen = append(out.Anderen, memberOf(o))
	}
	return out
}

func memberOf(o gateway.Member) MatchAnder {
	out := MatchAnder{
		Deelnemer: string(o.Party), Naam: o.Name, Soort: o.Kind, Sid: o.SID.String(), Toestand: MatchAnderToestandVertrokken,
		Sinds: seconds(o.Since), Vergissing: o.Mistake, GezienOp: seconds(o.Seen), Antwoord: saidOf(o.Theirs), EigenAntwoord: saidOf(o.Ours), Contactkaart: ofCard(o.Card),
	}
	if o.Present {
		out.Toestand = MatchAnderToestandAanwezig
	}
	if from := o.TookOver; from.Party != "" {
		out.OvergenomenVan.Deelnemer, out.OvergenomenVan.Naam = string(from.Party), from.Name
	}
	if w := o.Asked; w.Word != "" {
		out.InDeWacht = AntwoordInDeWacht{
			Antwoord: AntwoordSoort(gateway.AnswerName(w.Word)), Toestand: AntwoordInDeWachtToestandInDeWacht, Sinds: seconds(w.At), Uitleg: w.Words(),
		}
		if w.Fault != "" {
			out.InDeWacht.Toestand = AntwoordInDeWachtToestandNietGegeven
		}
	}
	if len(o.Code) == 6 {
		out.Voorleescode = Voorleescode{Code: o.Code, Beller: o.Code[:3], Gebelde: o.Code[3:]}
	}
	return out
}

func saidOf(s gateway.Said) Antwoord {
	if s.Word == "" {
		return Antwoord{}
	}
	return Antwoord{Antwoord: AntwoordSoort(gateway.AnswerName(s.Word)), Sinds: seconds(s.At)}
}
