// SPDX-License-Identifier: EUPL-1.2

package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/gateway"
)

// operations are the acts of the API, each for the party whose token was used.
type operations struct{ *server }

const (
	defaultCount = 50
	defaultWait  = 5
)

// settle waits, as long as the caller wants, until nothing is left to do.
func (o *operations) settle(ctx context.Context, seconds *int, ids ...gateway.ID) error {
	return o.within(ctx, seconds, func(ctx context.Context) error { return accessOf(ctx).Party.Wait(ctx, ids...) })
}

// within waits for something, as long as the caller wants.
func (o *operations) within(ctx context.Context, seconds *int, await func(context.Context) error) error {
	wait := defaultWait
	if seconds != nil {
		wait = *seconds
	}
	if wait == 0 {
		return nil
	}
	ctx, cancel := o.waiting(ctx)
	defer cancel()
	ctx, stop := context.WithTimeout(ctx, time.Duration(wait)*time.Second)
	defer stop()
	return await(ctx)
}

func (o *operations) MaakSignaal(ctx context.Context, r MaakSignaalRequestObject) (MaakSignaalResponseObject, error) {
	a := accessOf(ctx)
	s, err := a.Signal(subjectOf(*r.Body), termsOf(*r.Body, r.Params.IdempotencyKey))
	if err != nil {
		return nil, err
	}
	if err := o.settle(ctx, r.Params.Wacht, s.ID); err != nil {
		return nil, err
	}
	if s, err = a.Outcome(s.ID); err != nil {
		return nil, err
	}
	location := "/v1/signalen/" + s.ID.String()
	if s.Settled() {
		return MaakSignaal201JSONResponse{Body: signalOf(s), Headers: MaakSignaal201ResponseHeaders{Location: location}}, nil
	}
	return MaakSignaal202JSONResponse{Body: signalOf(s), Headers: MaakSignaal202ResponseHeaders{Location: location}}, nil
}

func (o *operations) LijstSignalen(ctx context.Context, r LijstSignalenRequestObject) (LijstSignalenResponseObject, error) {
	from, err := listFrom(r.Params.Na)
	if err != nil {
		return nil, err
	}
	list, more, err := accessOf(ctx).Registrations(from, count(r.Params.Aantal), statesOf[r.Params.Toestand])
	if err != nil {
		return nil, err
	}
	page := Signalen{Items: []Signaal{}}
	for _, s := range list {
		page.Items = append(page.Items, signalOf(s))
	}
	if more {
		page.Next = list[len(list)-1].ID.String()
	}
	return LijstSignalen200JSONResponse{Body: page}, nil
}

func (o *operations) LeesSignaal(ctx context.Context, r LeesSignaalRequestObject) (LeesSignaalResponseObject, error) {
	id, err := gateway.ParseID(r.Id)
	if err != nil {
		return nil, gateway.ErrNotFound
	}
	s, err := accessOf(ctx).Registration(id)
	if err != nil {
		return nil, err
	}
	return LeesSignaal200JSONResponse{Body: signalOf(s)}, nil
}

var reasons = map[IntrekkingReden]string{
	IntrekkingRedenAfgesloten: api.ReasonEnded, IntrekkingRedenVergissing: api.ReasonMistake,
}

func (o *operations) TrekSignaalIn(ctx context.Context, r TrekSignaalInRequestObject) (TrekSignaalInResponseObject, error) {
	id, err := gateway.ParseID(r.Id)
	if err != nil {
		return nil, gateway.ErrNotFound
	}
	a := accessOf(ctx)
	if _, err := a.Withdraw(id, reasons[r.Body.Reden]); err != nil {
		return nil, err
	}
	if err := o.settle(ctx, r.Params.Wacht, id); err != nil {
		return nil, err
	}
	s, err := a.Outcome(id)
	if err != nil {
		return nil, err
	}
	if s.Settled() {
		return TrekSignaalIn200JSONResponse{Body: signalOf(s)}, nil
	}
	return TrekSignaalIn202JSONResponse{Body: signalOf(s)}, nil
}

func (o *operations) VerlengSignaal(ctx context.Context, r VerlengSignaalRequestObject) (VerlengSignaalResponseObject, error) {
	id, err := gateway.ParseID(r.Id)
	if err != nil {
		return nil, gateway.ErrNotFound
	}
	a := accessOf(ctx)
	terms := gateway.Terms{Card: cardOf(r.Body.Contactkaart), TermDays: r.Body.TermijnDagen, Reason: string(r.Body.Reden), Key: r.Params.IdempotencyKey}
	subject := gateway.Subject{Kind: string(r.Body.Nummersoort), Number: r.Body.Nummer, BirthDate: r.Body.Geboortedatum}
	if _, err := a.Renew(id, subject, terms); err != nil {
		return nil, err
	}
	if err := o.settle(ctx, r.Params.Wacht, id); err != nil {
		return nil, err
	}
	s, err := a.Outcome(id)
	if err != nil {
		return nil, err
	}
	if s.Settled() {
		return VerlengSignaal200JSONResponse{Body: signalOf(s)}, nil
	}
	return VerlengSignaal202JSONResponse{Body: signalOf(s)}, nil
}

func (o *operations) MaakMelding(ctx context.Context, r MaakMeldingRequestObject) (MaakMeldingResponseObject, error) {
	a := accessOf(ctx)
	persons := make([]gateway.Person, len(r.Body.Personen))
	for i, in := range r.Body.Personen {
		persons[i] = gateway.Person{
			Subject: gateway.Subject{Kind: in.Nummersoort, Number: in.Nummer, BirthDate: in.Geboortedatum},
			Role:    in.Rol, Reference: in.Kenmerk,
		}
	}
	report, err := a.Report(persons, gateway.Terms{
		Owner: r.Body.Hulpverlener, Reference: r.Body.Kenmerk, Card: cardOf(r.Body.Contactkaart),
		TermDays: r.Body.TermijnDagen, Shielded: r.Body.Afgeschermd, Key: r.Params.IdempotencyKey,
	})
	if err != nil {
		return nil, err
	}
	var ids []gateway.ID
	for _, s := range report.Status {
		if s != nil {
			ids = append(ids, s.ID)
		}
	}
	if err := o.settle(ctx, r.Params.Wacht, ids...); err != nil {
		return nil, err
	}
	if report, err = a.ReportOutcome(report.ID); err != nil {
		return nil, err
	}
	location := "/v1/meldingen/" + report.ID.String()
	if report.Settled() {
		return MaakMelding201JSONResponse{Body: reportOf(report), Headers: MaakMelding201ResponseHeaders{Location: location}}, nil
	}
	return MaakMelding202JSONResponse{Body: reportOf(report), Headers: MaakMelding202ResponseHeaders{Location: location}}, nil
}

func (o *operations) LijstMeldingen(ctx context.Context, r LijstMeldingenRequestObject) (LijstMeldingenResponseObject, error) {
	from, err := listFrom(r.Params.Na)
	if err != nil {
		return nil, err
	}
	only := gateway.ReportFilter{Open: r.Params.Open}
	if due := r.Params.BeslissenVoor; !due.IsZero() {
		only.DecideBy = encoding.DateOf(due.Time)
	}
	list, more, err := accessOf(ctx).Reports(from, count(r.Params.Aantal), only)
	if err != nil {
		return nil, err
	}
	page := Meldingen{Items: []Melding{}}
	for _, report := range list {
		page.Items = append(page.Items, reportOf(report))
	}
	if more {
		page.Next = list[len(list)-1].ID.String()
	}
	return LijstMeldingen200JSONResponse{Body: page}, nil
}

func (o *operations) LeesMelding(ctx context.Context, r LeesMeldingRequestObject) (LeesMeldingResponseObject, error) {
	id, err := gateway.ParseID(r.Id)
	if err != nil {
		return nil, gateway.ErrNotFound
	}
	report, err := accessOf(ctx).ReportByID(id)
	if err != nil {
		return nil, err
	}
	return LeesMelding200JSONResponse{Body: reportOf(report)}, nil
}

func (o *operations) LijstBerichten(ctx context.Context, r LijstBerichtenRequestObject) (LijstBerichtenResponseObject, error) {
	a := accessOf(ctx)
	streams := ctx.Value(streamInContext) != nil
	if streams && r.Params.LastEventID != "" {
		r.Params.Na = r.Params.LastEventID
	}
	from, err := a.ParseCursor(r.Params.Na)
	if err != nil {
		return nil, err
	}
	if streams {
		return stream{o.server, ctx, a, from}, nil
	}
	ctx, cancel := o.waiting(ctx)
	defer cancel()
	ctx, stop := context.WithTimeout(ctx, time.Duration(r.Params.Wacht)*time.Second)
	defer stop()
	list, err := a.AwaitMessages(ctx, from, count(r.Params.Aantal))
	if err != nil {
		return nil, err
	}
	page := Berichten{Items: []Bericht{}}
	for _, m := range list {
		page.Items = append(page.Items, messageOf(m))
		from = m.Seq
	}
	page.Next = a.Cursor(from)
	return LijstBerichten200JSONResponse{Body: page}, nil
}

func (o *operations) LeesOpenapi(context.Context, LeesOpenapiRequestObject) (LeesOpenapiResponseObject, error) {
	return LeesOpenapi200JSONResponse{Body: o.service.Description.JSON(), Headers: LeesOpenapi200ResponseHeaders{AccessControlAllowOrigin: "*"}}, nil
}

func (o *operations) LeesGezondheid(ctx context.Context, _ LeesGezondheidRequestObject) (LeesGezondheidResponseObject, error) {
	h, err := o.gateway.Health()
	body := healthOf(h)
	if h.HTTP() != http.StatusOK {
		o.log.ErrorContext(ctx, "not healthy", "status", h.HTTP(), "cause", err)
		return LeesGezondheid503JSONResponse{Body: body}, nil
	}
	return LeesGezondheid200JSONResponse{Body: body}, nil
}

func count(asked int) int {
	if asked == 0 {
		return defaultCount
	}
	return asked
}

// listFrom reads where a list goes on.
func listFrom(next string) (gateway.ID, error) {
	if next == "" {
		return gateway.ID{}, nil
	}
	id, err := gateway.ParseID(next)
	if err != nil {
		return id, inputProblem([]Invoerfout{fault(InvoerfoutInQuery, "na", gateway.CodeForm)})
	}
	return id, nil
}
