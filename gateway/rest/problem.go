// SPDX-License-Identifier: EUPL-1.2

package rest

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/gateway"
)

// A problem is a refusal: its code is the last part of the problem's type.
type problem struct {
	code   string
	status int
	title  string
	detail string
	faults []Invoerfout
}

func (p *problem) Error() string { return "rest: " + p.code }

// The refusals of the API.
var (
	problemInput   = problem{"invoer", http.StatusBadRequest, "De invoer klopt niet", "Herstel de genoemde velden en stuur het verzoek opnieuw.", nil}
	problemToken   = problem{"sleutel", http.StatusUnauthorized, "Geen geldige API-sleutel", "Stuur een API-sleutel van de deelnemer of een toegangstoken mee als Authorization: Bearer.", nil}
	problemIssuer  = problem{"uitgever", http.StatusServiceUnavailable, "De uitgever van het token is niet te bereiken", "De poort kan het token nu niet controleren. Probeer het later opnieuw.", nil}
	problemRole    = problem{"rol", http.StatusForbidden, "Deze sleutel mag dit niet", "De beschrijving van de API noemt bij elke bewerking de rollen die haar mogen doen.", nil}
	problemPerson  = problem{"hulpverlener", http.StatusForbidden, "Namens deze hulpverlener mag dit niet", "De sleutel hoort bij een ander, of de hulpverlener is geen actieve gebruiker.", nil}
	problemTLS     = problem{"tls", http.StatusForbidden, "Geen beveiligde verbinding", "De poort neemt verzoeken van andere machines alleen over TLS aan.", nil}
	problemPath    = problem{"niet-gevonden", http.StatusNotFound, "Niet gevonden", "Op dit adres is niets. Adressen eindigen niet op een schuine streep.", nil}
	problemID      = problem{"onbekend-id", http.StatusNotFound, "Niet gevonden", "De organisatie heeft niets met dit id, of bewaart het niet meer.", nil}
	problemMethod  = problem{"methode", http.StatusMethodNotAllowed, "Methode niet toegestaan", "De kop Allow noemt de methoden van dit adres.", nil}
	problemAccept  = problem{"niet-acceptabel", http.StatusNotAcceptable, "Niet acceptabel", "Antwoorden zijn application/json of application/problem+json; accepteer beide.", nil}
	problemMedia   = problem{"mediatype", http.StatusUnsupportedMediaType, "Mediatype wordt niet ondersteund", "Stuur de inhoud als application/json.", nil}
	problemSize    = problem{"te-groot", http.StatusRequestEntityTooLarge, "Te groot", "De inhoud is te groot. Verdeel haar over meer verzoeken.", nil}
	problemUser    = problem{"bestaat-al", http.StatusConflict, "Deze gebruiker is er al", "Wijzig hem, of kies een ander id.", nil}
	problemOwns    = problem{"heeft-signalen", http.StatusConflict, "De gebruiker heeft nog signalen", "Draag zijn signalen over aan een collega, en verwijder hem daarna.", nil}
	problemReplay  = problem{"idempotentie", http.StatusConflict, "Sleutel al gebruikt", "Deze Idempotency-Key hoort bij een ander verzoek. Kies voor elk verzoek een nieuwe.", nil}
	problemBusy    = problem{"bezig", http.StatusConflict, "Er loopt al een verlenging", "Wacht tot de vorige verlenging van dit signaal klaar is.", nil}
	problemNotLive = problem{"toestand", http.StatusConflict, "Het signaal staat niet", "Alleen een signaal dat bij het register staat is te verlengen. Meld het kind anders opnieuw aan.", nil}
	problemBasis   = problem{"grondslag", http.StatusForbidden, "De wettelijke grondslag is vervallen", "Er wordt niets meer aangemeld of verlengd. Intrekken kan nog.", nil}
	problemOver    = problem{"match-voorbij", http.StatusConflict, "De match is voorbij", "De match is beëindigd of de andere organisatie is eruit; antwoorden kan niet meer.", nil}
	problemImport  = problem{"import-anders", http.StatusConflict, "De import is anders", "Er is al een import met dit kenmerk, en de andere gegevens verschillen. Kies een ander kenmerk of stuur dezelfde gegevens.", nil}
	problemRows    = problem{"regels-anders", http.StatusConflict, "De regels zijn anders", "Deze regels zijn al eerder aangeleverd, en waren toen anders. De import zegt met aangenomen na welke regel het verder gaat.", nil}
	problemGap     = problem{"regels-gat", http.StatusConflict, "Er ontbreken regels", "Voor deze regels horen er nog andere. De import zegt met aangenomen na welke regel het verder gaat.", nil}
	problemStreams = problem{"te-veel-verbindingen", http.StatusTooManyRequests, "Te veel verbindingen", "De sleutel of de organisatie leest al met zoveel verbindingen mee als er mogen.", nil}
	problemMail    = problem{"geen-webhook", http.StatusConflict, "Dit is geen webhook", "Wie mail krijgt, volgt uit de signalen, de gebruikers en de instellingen.", nil}
	problemHooks   = problem{"te-veel-abonnementen", http.StatusConflict, "Te veel abonnementen", "Beëindig eerst een ander abonnement.", nil}
	problemSecrets = problem{"geheim-loopt-af", http.StatusConflict, "Eerdere geheimen gelden nog", "Wacht tot een van de vorige geheimen niet meer geldt, of maak een nieuw abonnement.", nil}
	problemClosing = problem{"niet-beschikbaar", http.StatusServiceUnavailable, "Niet beschikbaar", "De poort sluit af. Probeer het straks opnieuw.", nil}
	problemOurs    = problem{"intern", http.StatusInternalServerError, "Fout in de poort", "De fout is van ons en staat in het logboek. Probeer het later opnieuw.", nil}
)

func inputProblem(faults []Invoerfout) *problem {
	p := problemInput
	p.faults = faults
	return &p
}

// problemOf gives the refusal that belongs to an error, in one table.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if input, ok := errors.AsType[*gateway.InputError](err); ok {
		return inputProblem(faultsOf(input.Faults))
	}
	if errors.Is(err, gateway.ErrCursor) {
		return inputProblem([]Invoerfout{fault(InvoerfoutInQuery, "na", gateway.CodeForm)})
	}
	for _, known := range []struct {
		err     error
		problem *problem
	}{
		{gateway.ErrAccess, &problemToken},
		{gateway.ErrPerson, &problemPerson},
		{gateway.ErrIssuer, &problemIssuer},
		{gateway.ErrNotFound, &problemID},
		{gateway.ErrUserExists, &problemUser},
		{gateway.ErrUserOwns, &problemOwns},
		{gateway.ErrNoWebhook, &problemMail},
		{gateway.ErrManyTargets, &problemHooks},
		{gateway.ErrManySecrets, &problemSecrets},
		{gateway.ErrReplay, &problemReplay},
		{gateway.ErrBusy, &problemBusy},
		{gateway.ErrNotLive, &problemNotLive},
		{gateway.ErrNoBasis, &problemBasis},
		{gateway.ErrMatchOver, &problemOver},
		{gateway.ErrImportDiffers, &problemImport},
		{gateway.ErrRowsDiffer, &problemRows},
		{gateway.ErrRowsGap, &problemGap},
	} {
		if errors.Is(err, known.err) {
			return known.problem
		}
	}
	if e, ok := errors.AsType[*api.Error](err); ok {
		if e.Code == api.CodeMalformed {
			return inputProblem(inDutch(e.Faults))
		}
		if p, ok := atTheEdge[e.Code]; ok {
			return p
		}
	}
	return &problemOurs
}

// atTheEdge are the refusals that package edge gives.
var atTheEdge = map[api.Code]*problem{
	api.CodeNotFound: &problemPath, api.CodeMethod: &problemMethod, api.CodeNotAcceptable: &problemAccept,
	api.CodeMediaType: &problemMedia, api.CodeTooLarge: &problemSize, api.CodeUnavailable: &problemClosing,
}

func faultsOf(faults []gateway.Fault) []Invoerfout {
	list := make([]Invoerfout, len(faults))
	for i, f := range faults {
		list[i] = Invoerfout{In: InvoerfoutInBody, Name: f.Field, Code: string(f.Code), Detail: f.Detail()}
	}
	return list
}

func writeProblem(w http.ResponseWriter, p *problem) {
	body, err := json.Marshal(Probleem{
		Type: api.ProblemType(p.code), Status: p.status, Title: p.title, Detail: p.detail, Errors: p.faults,
	})
	if err != nil { // a struct of strings and numbers
		panic(err)
	}
	if p.status == http.StatusUnauthorized && w.Header().Get("WWW-Authenticate") == "" {
		w.Header().Set("WWW-Authenticate", challengeAny)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.status)
	w.Write(body) // who went away meanwhile asks again
}

// DemandTLS refuses a request that came in the clear.
func DemandTLS(w http.ResponseWriter, _ *http.Request) { writeProblem(w, &problemTLS) }

// ProblemIn reads a refusal from the body of an answer; nil if it is none.
func ProblemIn(body []byte) *Probleem {
	var p Probleem
	if json.Unmarshal(body, &p) != nil || p.Status < 400 || p.Title == "" {
		return nil
	}
	return &p
}
