// SPDX-License-Identifier: EUPL-1.2

package rest

import (
	"context"
	"errors"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/gateway"
)

func (o *operations) LeesOrganisatie(ctx context.Context, _ LeesOrganisatieRequestObject) (LeesOrganisatieResponseObject, error) {
	a, err := accessOf(ctx).Party.About(ctx)
	if err != nil {
		return nil, err
	}
	return LeesOrganisatie200JSONResponse{Body: organisationOf(a)}, nil
}

// keyUses are the uses of a party's keys, as the directory has them.
var keyUses = map[string]SleutelstaatGebruik{
	"sign": SleutelstaatGebruikOndertekenen, "hpke": SleutelstaatGebruikSleutelkisten, "tls": SleutelstaatGebruikVerbindingen,
}

func organisationOf(a gateway.About) Organisatie {
	body := Organisatie{
		Id: string(a.ID), Naam: a.Name, Soort: a.Kind, Regio: a.Region, Manifest: int64(a.Manifest), Gids: int64(a.Directory),
		Sleutels: []Sleutelstaat{},
	}
	body.Wachtrij.Aantal, body.Wachtrij.Oudste = a.Jobs, a.Oldest
	budgets := Tegoeden{PerDag: a.DailyBudget, PerMaand: a.MonthlyBudget, Sleutelhouders: []TegoedSleutelhouder{}, Toekenningen: []Toekenning{}}
	for _, e := range a.Evaluators {
		one := TegoedSleutelhouder{Nummer: e.Index, Naam: e.Name, Bekend: e.Known}
		if e.Known {
			one.Over, one.Dag, one.Maand, one.Meldingen = &e.Left, limitOf(e.Day), limitOf(e.Month), limitOf(e.Reserve)
		}
		budgets.Sleutelhouders = append(budgets.Sleutelhouders, one)
	}
	if a.Quota != nil {
		budgets.Register = &TegoedRegister{Signalen: *limitOf(a.Quota.Signals), Handelingen: *limitOf(a.Quota.Acts)}
	}
	for _, g := range a.Grants {
		budgets.Toekenningen = append(budgets.Toekenningen, Toekenning{Van: g.From, Tot: g.Until, PerDag: g.Daily, PerMaand: g.Monthly, Doel: g.Purpose})
	}
	body.Tegoeden = budgets
	for _, k := range a.Keys {
		one := Sleutelstaat{Gebruik: keyUses[k.Use], Id: k.ID.String(), Sinds: k.From, Tot: k.Until, Waarschuwing: SleutelstaatWaarschuwing(k.Warning), Uitleg: k.Warning.Words()}
		if !k.From.IsZero() {
			one.DagenOud = &k.Days
		}
		body.Sleutels = append(body.Sleutels, one)
	}
	body.Logboek = Registerlogboek{Gecontroleerd: a.Logged, Uitleg: "Het register houdt geen logboek bij; er wordt niets gecontroleerd.", Alarmen: []Logboekalarm{}}
	if a.Logged {
		body.Logboek.Uitleg = "De poort controleert het logboek van het register."
	}
	for _, alarm := range a.LogAlarms {
		body.Logboek.Alarmen = append(body.Logboek.Alarmen, Logboekalarm{
			Reden: LogboekalarmReden(partCodes[string(alarm.Fault)]), Sinds: alarm.Since, Uitleg: alarm.Fault.Words(),
		})
	}
	return body
}

func limitOf(l api.Limit) *Tegoed {
	return &Tegoed{Maximum: l.Limit, Gebruikt: l.Spent, Tot: l.Until}
}

func (o *operations) HerleidPseudoniem(ctx context.Context, r HerleidPseudoniemRequestObject) (HerleidPseudoniemResponseObject, error) {
	user, err := accessOf(ctx).UserOf(r.Body.Pseudoniem)
	if err != nil && !errors.Is(err, gateway.ErrNotFound) {
		return nil, err
	}
	return HerleidPseudoniem200JSONResponse{Body: HerleidPseudoniem{Hulpverlener: user}}, nil
}
