// SPDX-License-Identifier: EUPL-1.2

package rest

import (
	"context"
	"strconv"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/mail"
	"github.com/seinhuis/seinhuis/gateway/webhook"
)

const defaultOverlap = 24 // hours

var targetStates = map[gateway.Off]AbonnementToestand{
	gateway.OffNot: AbonnementToestandAan, gateway.OffAsked: AbonnementToestandUit,
	gateway.OffGone: AbonnementToestandWeg, gateway.OffFailing: AbonnementToestandFaalt,
}

var results = map[gateway.Result]Afleveruitkomst{
	gateway.Result(webhook.Delivered): AfleveruitkomstAfgeleverd, gateway.Result(mail.Sent): AfleveruitkomstVerstuurd,
	gateway.Result(webhook.Gone): AfleveruitkomstWeg, gateway.Result(webhook.Busy): AfleveruitkomstDruk,
	gateway.Result(webhook.Refused): AfleveruitkomstGeweigerd, gateway.Result(webhook.Failed): AfleveruitkomstFout,
	gateway.Result(webhook.Redirected): AfleveruitkomstDoorverwezen, gateway.Result(webhook.TimedOut): AfleveruitkomstTeLaat,
	gateway.Result(webhook.Unreachable): AfleveruitkomstOnbereikbaar, gateway.Result(webhook.Forbidden): AfleveruitkomstNetwerk,
	gateway.Result(webhook.Untrusted): AfleveruitkomstCertificaat, gateway.NoAddress: AfleveruitkomstGeenAdres,
	gateway.Result(webhook.Stopped): AfleveruitkomstGestopt,
}

func targetOf(p *gateway.Party, t gateway.Target) Abonnement {
	s := t.Subscription
	out := Abonnement{
		Id: t.ID.String(), Soort: AbonnementSoort(t.Kind), Aangemaakt: seconds(t.Created), Toestand: targetStates[t.Off],
		Ontvanger: t.Recipient(), Naam: s.Name, Url: s.URL, Soorten: s.Kinds, Hulpverleners: s.Owners, Teams: s.Teams,
		MetKaart: s.Card, DossierLink: s.Link, Pogingen: t.Head.Count, Sinds: seconds(t.Head.Since), AfgeleverdOp: seconds(t.Done),
		Mislukt: t.Dead, Vervallen: t.Lapsed,
	}
	if t.Head.Count > 0 {
		out.VolgendePoging = seconds(t.Head.Next)
		if t.Pause.After(t.Head.Next) {
			out.VolgendePoging = seconds(t.Pause)
		}
	}
	if t.Last != "" {
		out.Laatste = LaatstePoging{Uitkomst: results[t.Last], Uitleg: t.Last.Words(), Op: seconds(t.LastAt)}
	}
	if t.Kind == gateway.TargetWebhook {
		out.Ondertekening = AbonnementOndertekeningHmac
		if out.OpenbareSleutels = p.PublicKeys(t); len(out.OpenbareSleutels) > 0 {
			out.Ondertekening = AbonnementOndertekeningEd25519
		}
	}
	return out
}

func madeOf(p *gateway.Party, t gateway.Target, secret webhook.Secret) GemaaktAbonnement {
	out := GemaaktAbonnement{Abonnement: targetOf(p, t)}
	if secret.Scheme() == webhook.HMAC { // of a key pair the receiver needs the public half only
		out.Geheim = secret.Reveal()
	}
	return out
}

// mayReceive refuses a subscription to who may not read what it would bring: every event
// has the party's own references in it.
func mayReceive(a *gateway.Access) error {
	if !a.Has(gateway.MayReadMatches) || a.Reach != gateway.ReachAll {
		return &problemRole
	}
	return nil
}

func (o *operations) MaakAbonnement(ctx context.Context, r MaakAbonnementRequestObject) (MaakAbonnementResponseObject, error) {
	a := accessOf(ctx)
	if err := mayReceive(a); err != nil {
		return nil, err
	}
	scheme := webhook.HMAC
	if r.Body.Ondertekening == NieuwAbonnementOndertekeningEd25519 {
		scheme = webhook.Ed25519
	}
	t, secret, err := a.Party.Subscribe(a, gateway.Subscription{
		Name: r.Body.Naam, URL: r.Body.Url, Kinds: r.Body.Soorten, Owners: r.Body.Hulpverleners, Teams: r.Body.Teams,
		Card: r.Body.MetKaart, Link: r.Body.DossierLink,
	}, scheme)
	if err != nil {
		return nil, err
	}
	headers := MaakAbonnement201ResponseHeaders{Location: "/v1/abonnementen/" + t.ID.String()}
	return MaakAbonnement201JSONResponse{Body: madeOf(a.Party, t, secret), Headers: headers}, nil
}

func (o *operations) LijstAbonnementen(ctx context.Context, r LijstAbonnementenRequestObject) (LijstAbonnementenResponseObject, error) {
	from, err := listFrom(r.Params.Na)
	if err != nil {
		return nil, err
	}
	a := accessOf(ctx)
	list, more, err := a.Party.Targets(from, count(r.Params.Aantal))
	if err != nil {
		return nil, err
	}
	page := Abonnementen{Items: []Abonnement{}}
	for _, t := range list {
		page.Items = append(page.Items, targetOf(a.Party, t))
	}
	if more {
		page.Next = list[len(list)-1].ID.String()
	}
	return LijstAbonnementen200JSONResponse{Body: page}, nil
}

// targetID reads the id in a path.
func targetID(s string) (gateway.ID, error) {
	id, err := gateway.ParseID(s)
	if err != nil {
		return id, gateway.ErrNotFound
	}
	return id, nil
}

func (o *operations) LeesAbonnement(ctx context.Context, r LeesAbonnementRequestObject) (LeesAbonnementResponseObject, error) {
	id, err := targetID(r.Id)
	if err != nil {
		return nil, err
	}
	a := accessOf(ctx)
	t, err := a.Party.Target(id)
	if err != nil {
		return nil, err
	}
	return LeesAbonnement200JSONResponse{Body: targetOf(a.Party, t)}, nil
}

func (o *operations) WijzigAbonnement(ctx context.Context, r WijzigAbonnementRequestObject) (WijzigAbonnementResponseObject, error) {
	a := accessOf(ctx)
	id, err := targetID(r.Id)
	if err != nil {
		return nil, err
	}
	if err := mayReceive(a); err != nil {
		return nil, err
	}
	t, err := a.Party.ChangeSubscription(a, id, gateway.Subscription{
		Name: r.Body.Naam, URL: r.Body.Url, Kinds: r.Body.Soorten, Owners: r.Body.Hulpverleners, Teams: r.Body.Teams,
		Card: r.Body.MetKaart, Link: r.Body.DossierLink,
	}, r.Body.Aan)
	if err != nil {
		return nil, err
	}
	return WijzigAbonnement200JSONResponse{Body: targetOf(a.Party, t)}, nil
}

func (o *operations) VerwijderAbonnement(ctx context.Context, r VerwijderAbonnementRequestObject) (VerwijderAbonnementResponseObject, error) {
	a := accessOf(ctx)
	id, err := targetID(r.Id)
	if err != nil {
		return nil, err
	}
	if err := a.Party.Unsubscribe(a, id); err != nil {
		return nil, err
	}
	return VerwijderAbonnement204Response{}, nil
}

func (o *operations) WisselGeheim(ctx context.Context, r WisselGeheimRequestObject) (WisselGeheimResponseObject, error) {
	a := accessOf(ctx)
	id, err := targetID(r.Id)
	if err != nil {
		return nil, err
	}
	overlap := defaultOverlap
	if r.Body.OverlapUren != nil {
		overlap = *r.Body.OverlapUren
	}
	t, secret, err := a.Party.RotateSecret(a, id, time.Duration(overlap)*time.Hour)
	if err != nil {
		return nil, err
	}
	return WisselGeheim200JSONResponse{Body: madeOf(a.Party, t, secret)}, nil
}

func (o *operations) TestAbonnement(ctx context.Context, r TestAbonnementRequestObject) (TestAbonnementResponseObject, error) {
	id, err := targetID(r.Id)
	if err != nil {
		return nil, err
	}
	ctx, cancel := o.waiting(ctx)
	defer cancel()
	answer, err := accessOf(ctx).Party.TestSubscription(ctx, id)
	if err != nil {
		return nil, err
	}
	result := gateway.Result(answer.Outcome)
	return TestAbonnement200JSONResponse{Body: Proef{Uitkomst: results[result], Uitleg: result.Words(), Status: answer.Status}}, nil
}

func (o *operations) LijstMislukt(ctx context.Context, r LijstMisluktRequestObject) (LijstMisluktResponseObject, error) {
	id, err := targetID(r.Id)
	if err != nil {
		return nil, err
	}
	list, more, err := accessOf(ctx).Party.DeadLetters(id, uint64(r.Params.Na), count(r.Params.Aantal))
	if err != nil {
		return nil, err
	}
	page := Mislukt{Items: []MisluktBericht{}}
	for _, d := range list {
		item := MisluktBericht{
			Volgnummer: int64(d.Seq), Pogingen: d.Tries.Count, EerstePoging: seconds(d.Tries.Since), MisluktOp: seconds(d.Died),
			Uitkomst: results[d.Last], Uitleg: d.Last.Words(), Herhaling: d.Replay,
		}
		if d.Event != (api.EventID{}) {
			item.Bericht, item.Soort = d.Event.String(), gateway.KindName(d.Kind)
		}
		page.Items = append(page.Items, item)
	}
	if more {
		page.Next = strconv.FormatUint(list[len(list)-1].Seq, 10)
	}
	return LijstMislukt200JSONResponse{Body: page}, nil
}

func (o *operations) HerhaalMislukt(ctx context.Context, r HerhaalMisluktRequestObject) (HerhaalMisluktResponseObject, error) {
	a := accessOf(ctx)
	id, err := targetID(r.Id)
	if err != nil {
		return nil, err
	}
	seqs := make([]uint64, len(r.Body.Volgnummers))
	for i, n := range r.Body.Volgnummers {
		seqs[i] = uint64(n)
	}
	n, err := a.Party.ReplayDeadLetters(a, id, seqs...)
	if err != nil {
		return nil, err
	}
	return HerhaalMislukt202JSONResponse{Body: Herhaling{Aantal: n}}, nil
}
