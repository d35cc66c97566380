// SPDX-License-Identifier: EUPL-1.2

package rest

import (
	"context"
	"strings"
	"time"

	openapi_types "github.com/oapi-codegen/runtime/types"

	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/gateway"
)

func (o *operations) MaakGebruiker(ctx context.Context, r MaakGebruikerRequestObject) (MaakGebruikerResponseObject, error) {
	a := accessOf(ctx)
	u := gateway.User{
		ID: r.Body.Id, Name: r.Body.Naam, Email: r.Body.Email, Deputy: r.Body.Vervanger, Team: r.Body.Team, Active: r.Body.Actief,
	}
	if err := a.Party.MakeUser(a, u); err != nil {
		return nil, err
	}
	return MaakGebruiker201JSONResponse{
		Body: userOf(u), Headers: MaakGebruiker201ResponseHeaders{Location: "/v1/gebruikers/" + u.ID},
	}, nil
}

func (o *operations) LijstGebruikers(ctx context.Context, r LijstGebruikersRequestObject) (LijstGebruikersResponseObject, error) {
	list, more := accessOf(ctx).Party.Users(r.Params.Na, count(r.Params.Aantal))
	page := Gebruikers{Items: []Gebruiker{}}
	for _, u := range list {
		page.Items = append(page.Items, userOf(u))
	}
	if more {
		page.Next = list[len(list)-1].ID
	}
	return LijstGebruikers200JSONResponse{Body: page}, nil
}

func (o *operations) LeesGebruiker(ctx context.Context, r LeesGebruikerRequestObject) (LeesGebruikerResponseObject, error) {
	u, err := accessOf(ctx).Party.User(r.Id)
	if err != nil {
		return nil, err
	}
	return LeesGebruiker200JSONResponse{Body: userOf(u)}, nil
}

func (o *operations) WijzigGebruiker(ctx context.Context, r WijzigGebruikerRequestObject) (WijzigGebruikerResponseObject, error) {
	a := accessOf(ctx)
	u := gateway.User{
		ID: r.Id, Name: r.Body.Naam, Email: r.Body.Email, Deputy: r.Body.Vervanger, Team: r.Body.Team, Active: r.Body.Actief,
	}
	if err := a.Party.ChangeUser(a, u); err != nil {
		return nil, err
	}
	return WijzigGebruiker200JSONResponse{Body: userOf(u)}, nil
}

func (o *operations) VerwijderGebruiker(ctx context.Context, r VerwijderGebruikerRequestObject) (VerwijderGebruikerResponseObject, error) {
	a := accessOf(ctx)
	if err := a.Party.DeleteUser(a, r.Id); err != nil {
		return nil, err
	}
	return VerwijderGebruiker204Response{}, nil
}

func userOf(u gateway.User) Gebruiker {
	return Gebruiker{Id: u.ID, Naam: u.Name, Email: u.Email, Vervanger: u.Deputy, Team: u.Team, Actief: u.Active}
}

func (o *operations) MaakSleutel(ctx context.Context, r MaakSleutelRequestObject) (MaakSleutelResponseObject, error) {
	a := accessOf(ctx)
	k := gateway.APIKey{
		Name: r.Body.Naam, Reach: gateway.Reach(r.Body.Bereik), Person: r.Body.Hulpverlener, Ends: encoding.DateOf(r.Body.VerlooptOp.Time),
	}
	for _, role := range r.Body.Rollen {
		k.Roles = append(k.Roles, gateway.Role(role))
	}
	k, secret, err := a.Party.MakeKey(a, k)
	if err != nil {
		return nil, err
	}
	made := o.keyOf(a, k)
	return MaakSleutel201JSONResponse{Body: GemaakteSleutel{
		Id: made.Id, Naam: made.Naam, Rollen: made.Rollen, Bereik: made.Bereik, Hulpverlener: made.Hulpverlener,
		Aangemaakt: made.Aangemaakt, GemaaktDoor: made.GemaaktDoor, VerlooptOp: made.VerlooptOp, Geldig: made.Geldig, Sleutel: secret,
	}, Headers: MaakSleutel201ResponseHeaders{Location: "/v1/sleutels/" + made.Id}}, nil
}

func (o *operations) LijstSleutels(ctx context.Context, r LijstSleutelsRequestObject) (LijstSleutelsResponseObject, error) {
	from, err := listFrom(r.Params.Na)
	if err != nil {
		return nil, err
	}
	a := accessOf(ctx)
	list, more, err := a.Party.Keys(from, count(r.Params.Aantal))
	if err != nil {
		return nil, err
	}
	page := Sleutels{Items: []Sleutel{}}
	for _, k := range list {
		page.Items = append(page.Items, o.keyOf(a, k))
	}
	if more {
		page.Next = list[len(list)-1].ID.String()
	}
	return LijstSleutels200JSONResponse{Body: page}, nil
}

func (o *operations) LeesSleutel(ctx context.Context, r LeesSleutelRequestObject) (LeesSleutelResponseObject, error) {
	id, err := gateway.ParseID(r.Id)
	if err != nil {
		return nil, gateway.ErrNotFound
	}
	a := accessOf(ctx)
	k, err := a.Party.Key(id)
	if err != nil {
		return nil, err
	}
	return LeesSleutel200JSONResponse{Body: o.keyOf(a, k)}, nil
}

func (o *operations) TrekSleutelIn(ctx context.Context, r TrekSleutelInRequestObject) (TrekSleutelInResponseObject, error) {
	id, err := gateway.ParseID(r.Id)
	if err != nil {
		return nil, gateway.ErrNotFound
	}
	a := accessOf(ctx)
	if err := a.Party.RevokeKey(a, id); err != nil {
		return nil, err
	}
	return TrekSleutelIn204Response{}, nil
}

func (o *operations) keyOf(a *gateway.Access, k gateway.APIKey) Sleutel {
	out := Sleutel{
		Id: k.ID.String(), Naam: k.Name, Bereik: Bereik(k.Reach), Hulpverlener: k.Person, Aangemaakt: seconds(k.Created),
		GemaaktDoor: k.By, VerlooptOp: dateOf(k.Ends), IngetrokkenOp: seconds(k.Revoked), Geldig: k.Valid(a.Party.Today()),
		Rollen: []Rol{},
	}
	for _, role := range k.Roles {
		out.Rollen = append(out.Rollen, Rol(role))
	}
	if !k.LastUsed.IsZero() {
		out.LaatstGebruiktOp = dateOf(k.LastUsed)
	}
	return out
}

func dateOf(d encoding.Date) openapi_types.Date { return openapi_types.Date{Time: d.In(time.UTC)} }

func (o *operations) LijstInzagen(ctx context.Context, r LijstInzagenRequestObject) (LijstInzagenResponseObject, error) {
	from, err := listFrom(r.Params.Na)
	if err != nil {
		return nil, err
	}
	q := gateway.LogQuery{Person: r.Params.Hulpverlener, Signal: r.Params.Signaal}
	if !r.Params.Van.IsZero() {
		q.From = gateway.Midnight(encoding.DateOf(r.Params.Van.Time))
	}
	if !r.Params.Tot.IsZero() {
		q.Until = gateway.Midnight(encoding.DateOf(r.Params.Tot.Time))
	}
	list, more, err := accessOf(ctx).Log(q, from, count(r.Params.Aantal))
	if err != nil {
		return nil, err
	}
	page := Inzagen{Items: []Inzage{}}
	for _, row := range list {
		page.Items = append(page.Items, logRowOf(row))
	}
	if more {
		page.Next = list[len(list)-1].ID.String()
	}
	return LijstInzagen200JSONResponse{Body: page}, nil
}

func logRowOf(row gateway.LogRow) Inzage {
	r := row.Record
	out := Inzage{
		Id: row.ID.String(), Tijd: r.Time, Gebeurtenis: r.Event, Actie: InzageActie(r.Action), Uitkomst: InzageUitkomst(r.Outcome),
		Organisatie: r.Party, Gebruiker: r.User, Hulpverlener: r.OnBehalfOf, Rollen: strings.Fields(r.Role), Doel: r.Purpose,
		Toegangspunt: r.Access, Soort: r.ObjectType, Object: r.ObjectID, Systeem: r.System, Spoor: r.TraceID,
	}
	if !row.SID.IsZero() {
		out.Sid = row.SID.String()
	}
	return out
}
