// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/gateway/mail"
	"github.com/seinhuis/seinhuis/gateway/webhook"
)

// A Code names a fault, a warning or a problem, in Dutch because the API and the
// portal show it. The sentences that belong to codes stand in this file.
type Code string

// Codes of faults in what a professional enters.
const (
	CodeMissing     Code = "ontbreekt"
	CodeUnknown     Code = "onbekend"
	CodeReserved    Code = "gereserveerd"
	CodeDigits      Code = "cijfers"
	CodeLength      Code = "lengte"
	CodeCheckDigits Code = "controlegetal"
	CodeDate        Code = "datum"
	CodeFuture      Code = "toekomst"
	CodeAdult       Code = "volwassen"
	CodeIsNumber    Code = "isNummer"
	CodeForm        Code = "vorm"

	CodeReach    Code = "bereik"
	CodeInactive Code = "nietActief"

	CodeUnknownField Code = "onbekendVeld"
)

// Codes of faults that come up later.
const (
	CodeRegistryRefused Code = "registerWeigert"
	CodeRegistryGone    Code = "registerBeeindigd"
	CodeNewEpoch        Code = "nieuweSleutelperiode"
	CodeNumberNeeded    Code = "nummerNodig"
	CodeOtherChild      Code = "anderKind"
	CodeLegalBasis      Code = "grondslagVervallen"
	CodeMatchOver       Code = "matchVoorbij"
	CodeNotGiven        Code = "nietOvergedragen"
	CodeShielded        Code = "afgeschermd"
)

// Codes of warnings.
const (
	CodeBirthDateDiffers Code = "geboortedatumWijktAf"
	CodeLooksLikeNumber  Code = "kenmerkLijktNummer"
)

// Codes of warnings about the party's own keys.
const (
	CodeKeyUnlisted Code = "sleutelOnbekend"
	CodeKeyEnds     Code = "sleutelVerloopt"
)

// Codes of why a person in a report is not signalled.
const (
	CodeNoNumber       Code = "geenNummer"
	CodeRoleNotAllowed Code = "rolNietToegestaan"
)

// Codes of messages that did not verify.
const (
	CodeOwnStatement Code = "eigenVerklaring"
	CodeOwnKeybox    Code = "eigenSleutelkist"
	CodeOtherUnknown Code = "onbekendeDeelnemer"
	CodeOtherCard    Code = "kaartOngeldig"
	CodeEventKind    Code = "onbekendeSoort"
)

// Fields, as the API names them.
const (
	FieldKind      = "nummersoort"
	FieldNumber    = "nummer"
	FieldBirthDate = "geboortedatum"
	FieldReference = "kenmerk"
	FieldOwner     = "hulpverlener"
	FieldTo        = "naar"
	FieldCard      = "contactkaart"
	FieldTerm      = "termijnDagen"
	FieldRole      = "rol"
	FieldPersons   = "personen"
	FieldRows      = "regels"
	FieldFirst     = "eerste"
	FieldTotal     = "aantalRegels"
	FieldContent   = "inhoud"
	FieldURL       = "url"
	FieldLink      = "dossierLink"
	FieldName      = "naam"
	FieldKinds     = "soorten"
	FieldOwners    = "hulpverleners"
	FieldTeams     = "teams"
	FieldAnswer    = "antwoord"
	FieldOther     = "deelnemer"
	FieldGiveTo    = "aan"
	FieldUntil     = "totEnMet"
	FieldTakesOver = "neemtOver"
	FieldReason    = "reden"
)

// A Fault says which field breaks which rule. It never holds the value.
type Fault struct {
	Field string `json:"field,omitempty"`
	Code  Code   `json:"code"`
}

// faultWords has, for a field and code, what is wrong and what to do. An empty
// field stands for any.
var faultWords = map[Fault]string{
	{FieldKind, CodeMissing}:        "Geef aan welk nummer het is: bsn of insz.",
	{FieldKind, CodeUnknown}:        "Kies bsn (Nederland) of insz (België).",
	{FieldKind, CodeReserved}:       "Dit soort nummer is er nog niet. Kies bsn of insz.",
	{FieldNumber, CodeMissing}:      "Vul het nummer in. Zonder nummer kan er geen signaal komen.",
	{FieldNumber, CodeDigits}:       "Gebruik alleen cijfers, met hooguit spaties, punten of streepjes ertussen.",
	{FieldNumber, CodeLength}:       "Een BSN heeft 9 cijfers en een INSZ 11. Tel na; laat een nul vooraan niet weg.",
	{FieldNumber, CodeCheckDigits}:  "Dit nummer bestaat niet: de controle klopt niet. Kijk het na in het dossier of op het identiteitsbewijs.",
	{FieldNumber, CodeDate}:         "In dit nummer zit een geboortedatum die niet bestaat. Kijk het nummer na.",
	{FieldNumber, CodeFuture}:       "In dit nummer zit een geboortedatum die nog moet komen. Kijk het nummer na.",
	{FieldNumber, CodeAdult}:        "Deze persoon is volgens het nummer 23 of ouder. Wie 23 is wordt niet gesignaleerd.",
	{FieldBirthDate, CodeMissing}:   "Vul de geboortedatum in. Zijn dag en maand onbekend, geef dan 31 december van het jaar.",
	{FieldBirthDate, CodeDate}:      "Deze datum bestaat niet. Schrijf de geboortedatum als jaar-maand-dag, zoals 2015-03-09.",
	{FieldBirthDate, CodeFuture}:    "De geboortedatum ligt in de toekomst. Kijk de datum na.",
	{FieldBirthDate, CodeAdult}:     "Deze persoon is 23 of ouder. Wie 23 is wordt niet gesignaleerd.",
	{FieldReference, CodeMissing}:   "Vul het eigen dossierkenmerk in.",
	{FieldReference, CodeLength}:    "Een kenmerk heeft hooguit 58 tekens; letters met een accent tellen dubbel.",
	{FieldReference, CodeIsNumber}:  "Het kenmerk is het nummer van het kind. Gebruik een eigen dossierkenmerk.",
	{FieldReference, CodeForm}:      "Gebruik in een kenmerk alleen zichtbare tekens.",
	{FieldOwner, CodeMissing}:       "Vul in welke hulpverlener signaleert.",
	{FieldOwner, CodeForm}:          "Gebruik hooguit 64 letters, cijfers, punten, streepjes, onderstrepingen of apenstaartjes.",
	{FieldTo, CodeForm}:             "Gebruik hooguit 64 letters, cijfers, punten, streepjes, onderstrepingen of apenstaartjes.",
	{"naam", CodeMissing}:           "Vul een naam in.",
	{"email", CodeForm}:             "Dit is geen e-mailadres.",
	{"vervanger", CodeUnknown}:      "De vervanger is geen gebruiker, of het is de gebruiker zelf.",
	{"rollen", CodeMissing}:         "Geef minstens één rol: aanmelden, matches, beheer of privacy.",
	{"rollen", CodeUnknown}:         "Kies uit aanmelden, matches, beheer en privacy.",
	{"bereik", CodeUnknown}:         "Kies eigen, team of alle.",
	{"verlooptOp", CodeDate}:        "Geef een datum na vandaag en hooguit twee jaar verder.",
	{FieldOwner, CodeUnknown}:       "Dit is geen actieve gebruiker.",
	{FieldTo, CodeUnknown}:          "Dit is geen actieve gebruiker.",
	{FieldOwner, CodeReach}:         "Deze sleutel mag niet namens deze hulpverlener signaleren.",
	{FieldOwner, CodeInactive}:      "Deze hulpverlener is geen actieve gebruiker meer.",
	{FieldTo, CodeInactive}:         "Deze hulpverlener is geen actieve gebruiker meer.",
	{FieldOwner, CodeIsNumber}:      "Hier staat het nummer van het kind. Vul in welke hulpverlener signaleert.",
	{FieldCard, CodeMissing}:        "Vul een contactkaart in; de instellingen van de poort hebben er geen.",
	{FieldCard, CodeLength}:         "Er staat te veel op de contactkaart. Maak de teksten korter.",
	{FieldCard, CodeIsNumber}:       "Op de contactkaart staat het nummer van het kind. Haal het eraf.",
	{FieldTerm, CodeForm}:           "Geef een termijn van minstens 1 dag en hooguit die van het beleid.",
	{FieldRole, CodeUnknown}:        "Kies kind, broerZus, ouder, vermoedelijkePleger of anders.",
	{FieldPersons, CodeMissing}:     "Noem minstens één persoon.",
	{FieldPersons, CodeLength}:      "Een melding heeft hooguit 100 personen. Verdeel ze over meer meldingen.",
	{FieldRows, CodeLength}:         "Stuur minstens 1 en hooguit 500 regels tegelijk.",
	{FieldRows, CodeMissing}:        "Stuur minstens 1 en hooguit 500 regels tegelijk.",
	{FieldFirst, CodeForm}:          "De regels zijn vanaf 1 genummerd, en er zijn er niet meer dan het aantal dat de import heeft.",
	{FieldTotal, CodeMissing}:       "Geef aan hoeveel regels de import in het geheel heeft.",
	{FieldContent, CodeForm}:        "Geef de SHA-256 van het bestand als 64 hexadecimale tekens, en dan geen kenmerk.",
	{FieldTotal, CodeForm}:          "Een import heeft minstens 1 en hooguit 5.000.000 regels.",
	{FieldURL, CodeMissing}:         "Vul het adres in waar de berichten heen moeten.",
	{FieldURL, CodeForm}:            "Het adres begint met https://, en heeft geen gebruiker en geen # erin.",
	{FieldLink, CodeForm}:           "Een link begint met https:// of http:// en heeft geen gebruiker en geen # erin.",
	{FieldKinds, CodeUnknown}:       "Kies uit de soorten van berichten.",
	{FieldOwners, CodeForm}:         "Gebruik hooguit 64 letters, cijfers, punten, streepjes, onderstrepingen of apenstaartjes.",
	{FieldOwners, CodeLength}:       "Noem hooguit 200 hulpverleners, of noem hun teams.",
	{FieldTeams, CodeLength}:        "Noem hooguit 200 teams.",
	{FieldAnswer, CodeUnknown}:      "Kies alInContact, gaBellen, nietMeerBetrokken of contactGehad.",
	{FieldOther, CodeMissing}:       "Er zijn meer organisaties in deze match. Geef aan aan welke het antwoord is.",
	{FieldOther, CodeUnknown}:       "Deze organisatie is niet in deze match.",
	{FieldCard, CodeShielded}:       "Bij een afgeschermd signaal gaat de kaart van de organisatie mee. Laat de contactkaart weg.",
	{FieldReason, CodeUnknown}:      "Kies een van de redenen die deze handeling kent.",
	{FieldGiveTo, CodeUnknown}:      "Dit is geen andere deelnemer uit de gids. Kijk het id van de organisatie na.",
	{FieldUntil, CodeDate}:          "Geef een dag van vandaag tot hooguit 92 dagen verder.",
	{FieldTakesOver, CodeUnknown}:   "Dit signaal is niet aan ons overgedragen, of niet meer. Vraag het na bij wie het overdraagt, of signaleer zonder over te nemen.",
	{FieldTakesOver, CodeNotGiven}:  "Deze overdracht gaat niet over dit kind, of staat niet meer. Vraag het na bij wie het signaal overdraagt, of signaleer zonder over te nemen.",
	{"", CodeDate}:                  "De dag is voorbij; er is niets overgedragen.",
	{"", CodeMatchOver}:             "De match is voorbij, of de andere organisatie is eruit; het antwoord is niet gegeven.",
	{"", CodeMissing}:               "Dit veld is verplicht.",
	{"", CodeUnknown}:               "Deze waarde is niet bekend.",
	{"", CodeLength}:                "Deze tekst is te lang of te kort.",
	{"", CodeForm}:                  "Deze waarde heeft niet de goede vorm.",
	{FieldNumber, CodeNumberNeeded}: "Er is een nieuwe sleutelperiode, of een sleutel van de organisatie is weg. Verleng nog eens, met het nummer en de geboortedatum erbij.",
	{FieldNumber, CodeOtherChild}:   "Dit nummer is niet van het kind van dit signaal. Kijk het na.",
	{"", CodeUnknownField}:          "Hier staat een veld dat er niet hoort. Haal het weg of kijk de naam na.",
	{"", CodeRegistryRefused}:       "Het register heeft het signaal geweigerd. Neem contact op met de beheerder van de poort.",
	{"", CodeRegistryGone}:          "Het signaal is bij het register beëindigd. Meld het kind opnieuw aan als dat nodig is.",
	{"", CodeLegalBasis}:            "De wettelijke grondslag is vervallen: er wordt niets meer aangemeld of verlengd. Intrekken kan nog.",
	{"", CodeNewEpoch}:              "Er is een nieuwe sleutelperiode. Meld het kind opnieuw aan; de poort heeft daarvoor het nummer weer nodig.",
}

// Detail is what is wrong and what to do about it, in Dutch.
func (f Fault) Detail() string {
	if s, ok := faultWords[f]; ok {
		return s
	}
	if s, ok := faultWords[Fault{"", f.Code}]; ok {
		return s
	}
	return "Deze waarde wordt niet aangenomen."
}

var codeWords = map[Code]string{
	CodeBirthDateDiffers: "De geboortedatum is anders dan die in het nummer. De datum in het nummer is gebruikt; kijk na of het nummer klopt.",
	CodeLooksLikeNumber:  "Het kenmerk lijkt op een BSN of INSZ. Is het dat ook, trek het signaal dan in en gebruik een eigen kenmerk.",
	CodeNoNumber:         "Niet gesignaleerd: het nummer ontbreekt. Zoek het nummer op en stuur deze persoon daarna opnieuw in, onder hetzelfde kenmerk van de melding.",
	CodeKeyUnlisted:      "De gids van deelnemers heeft deze sleutel niet, of niet meer. Zolang dat zo is werkt er niets mee; neem contact op met het beheer van het register.",
	CodeKeyEnds:          "Deze sleutel verloopt binnen dertig dagen. Maak een nieuwe en laat die in de gids zetten voordat de oude verloopt.",
	CodeRoleNotAllowed:   "Niet gesignaleerd: het beleid staat niet toe om een vermoedelijke pleger te signaleren.",
	CodeOwnStatement:     "Het bericht hoort bij een signaal dat niet aantoonbaar van ons is.",
	CodeOwnKeybox:        "De eigen sleutelkist bij dit bericht is niet te openen. Is de sleutel van de organisatie vervangen?",
	CodeOtherUnknown:     "De andere organisatie staat niet in de gids van deelnemers.",
	CodeOtherCard:        "De contactkaart van de andere organisatie is niet te openen of niet van haar.",
	CodeNotGiven:         "Het register zegt dat een ander ons signaal heeft overgenomen, maar wij hebben het niet overgedragen. Voor ons staat het nog. Waarschuw het beheer van het register.",
	CodeEventKind:        "Deze versie van de poort kent dit soort bericht niet.",
}

// Words says a warning or problem in Dutch.
func (c Code) Words() string { return codeWords[c] }

// logWords say in Dutch what is wrong with the registry's log.
var logWords = map[LogFault]string{
	LogFaultUnreachable: "Het register toont zijn logboek niet, of bewijst niet wat erin staat.",
	LogFaultSignature:   "Het register toont een logboek dat niet met de sleutel van het logboek is ondertekend.",
	LogFaultWitnesses:   "Te weinig sleutelhouders hebben het logboek medeondertekend.",
	LogFaultSmaller:     "Het register toont een ouder logboek dan eerder.",
	LogFaultForked:      "Het register heeft twee verschillende logboeken ondertekend. Het bewijs staat in " + ForkFile + " in de map van de opslag. Waarschuw het beheer van het register.",
	LogFaultStale:       "De medeondertekening van het logboek is ouder dan tien minuten, of een klok loopt verkeerd.",
	LogFaultManifest:    "Het manifest dat deze poort gebruikt staat niet in het logboek. Misschien zien anderen een ander manifest.",
	LogFaultDirectory:   "De gids die deze poort gebruikt staat niet in het logboek. Misschien zien anderen een andere gids.",
	LogFaultReceipt:     "Het register heeft iets bevestigd dat niet in het logboek staat.",
}

// Words say in Dutch what is wrong.
func (f LogFault) Words() string { return logWords[f] }

// stateWords say in Dutch where a registration stands.
var stateWords = map[State]string{
	StateQueued:     "In de wacht.",
	StateRegistered: "Geregistreerd.",
	StateMerged:     "Samengevoegd: de organisatie signaleerde dit kind al.",
	StateRefused:    "Geweigerd.",
	StateWithdrawn:  "Ingetrokken.",
	StateExpired:    "Verlopen.",
	StateHandedOver: "Overgedragen aan een andere organisatie.",
	StateLost: "Opnieuw aanmelden: de sleutels van een sleutelperiode kunnen gestolen zijn, en daarom is dit signaal vernietigd. " +
		"Verleng het met het nummer en de geboortedatum erbij, of meld het kind opnieuw aan onder hetzelfde kenmerk.",
}

// matchWords say what is known of others, and what that does not prove.
func (s Status) matchWords() string {
	switch {
	case s.Match == nil:
		return othersWords(s.Signal.Others)
	case s.Match.Present() == 0 || !s.Match.Ended.IsZero():
		return "Er is geen match meer; dat zegt niet dat niemand anders dit kind kent, want alleen wie signaleert is te zien."
	}
	return othersWords(uint64(s.Match.Present()))
}

// othersWords say what the receipt told of others.
func othersWords(others uint64) string {
	switch others {
	case 0:
		return NoMatch
	case 1:
		return "Er is een match met een andere organisatie; zie de matches."
	}
	return fmt.Sprintf("Er is een match met %d andere organisaties; zie de matches.", others)
}

// A WaitFor says what a job is waiting for.
type WaitFor string

// What jobs wait for.
const (
	WaitNothing    WaitFor = "verwerking" // its turn
	WaitEvaluators WaitFor = "sleutelhouders"
	WaitRegistry   WaitFor = "register"
	WaitBudget     WaitFor = "tegoed"
)

var waitWords = map[WaitFor]string{
	WaitNothing:    "In de wacht: de poort is ermee bezig.",
	WaitEvaluators: "In de wacht: sleutelhouders onbereikbaar. De poort probeert het vanzelf opnieuw.",
	WaitRegistry:   "In de wacht: register onbereikbaar. De poort probeert het vanzelf opnieuw.",
	WaitBudget:     "In de wacht: tegoed op. De poort gaat verder zodra er weer tegoed is.",
}

// Words says in Dutch what became of a row.
func (s RowStatus) Words() string {
	switch {
	case s.NotSignalled != "":
		return s.NotSignalled.Words()
	case (s.State == "" || s.State == StateRefused) && len(s.Faults) > 0:
		return stateWords[StateRefused] + " " + s.Faults[0].Detail()
	}
	return stateWords[s.State]
}

// Words says in Dutch where an import stands and what it waits for.
func (s ImportStatus) Words() string {
	var words string
	switch {
	case !s.Settled.IsZero():
		return "Klaar sinds " + moment(s.Settled) + ": alle regels hebben hun uitkomst."
	case s.Taken < s.Total:
		words = fmt.Sprintf("Er zijn %d van de %d regels aangeleverd.", s.Taken, s.Total)
	default:
		words = "Alle regels zijn aangeleverd; de poort is ermee bezig."
	}
	switch s.WaitFor {
	case WaitBudget:
		words += " Het tegoed van de organisatie is op; de poort gaat vanzelf verder op " + moment(s.Next) + "."
		if s.Days > 1 {
			words += fmt.Sprintf(" Met dit tegoed duurt het nog ongeveer %d dagen.", s.Days)
		}
	case WaitEvaluators, WaitRegistry:
		words += " " + waitWords[s.WaitFor]
	}
	return words
}

// moment says a time in Dutch, as the clock on the wall has it.
func moment(t time.Time) string {
	t = t.In(encoding.Amsterdam)
	return fmt.Sprintf("%d %s %d om %s uur", t.Day(), months[t.Month()-1], t.Year(), t.Format("15.04"))
}

// day says a date in Dutch.
func day(d encoding.Date) string { return fmt.Sprintf("%d %s %d", d.Day, months[d.Month-1], d.Year) }

var months = [...]string{"januari", "februari", "maart", "april", "mei", "juni", "juli", "augustus", "september", "oktober", "november", "december"}

// messageWords say what an event means; the name of the other party is filled in.
var messageWords = map[api.EventKind]string{
	api.EventJoined: "%s signaleert dit kind ook. Bel elkaar; wie belt leest eerst de eerste drie cijfers van de voorleescode.",
	api.EventLeft:   "%s signaleert dit kind niet meer.",
	api.EventEnded:  "Er is geen match meer rond dit kind.",
	api.EventCard:   "%s heeft een nieuwe contactkaart.",
	api.EventAnswer: "%s heeft geantwoord op de match.",

	api.EventHandover: "%s heeft ons signaal overgenomen. Het onze is daarmee geëindigd.",
	KindUnseen:        "Nog niemand heeft gezien dat %s dit kind ook signaleert. Bel elkaar, of geef aan dat het gezien is.",
	api.EventExpiring: "Dit signaal verloopt op %s. Verleng het als er nog zorgen zijn; dat is één handeling.",
	KindLost:          "Opnieuw aanmelden: de sleutels van een sleutelperiode kunnen gestolen zijn, en daarom is dit signaal vernietigd. Er gaat geen match meer van uit tot het kind weer is aangemeld; de poort heeft daarvoor het nummer weer nodig.",
}

// kindNames are how the API names kinds of events.
var kindNames = map[api.EventKind]string{
	api.EventJoined: "aangesloten", api.EventLeft: "vertrokken", api.EventEnded: "beeindigd", api.EventCard: "kaartVernieuwd",
	api.EventAnswer: "antwoord", api.EventHandover: "overdracht", KindLost: "opnieuwAanmelden", api.EventExpiring: "verlooptBinnenkort", KindUnseen: "ongezien",
}

const kindUnknown = "overig"

// answerNames are how the API names answers.
var answerNames = map[api.Answer]string{
	api.AnswerInContact: "alInContact", api.AnswerWillCall: "gaBellen", api.AnswerNotInvolved: "nietMeerBetrokken",
	api.AnswerContactMade: "contactGehad",
}

// AnswerName is how the API names an answer; empty for none.
func AnswerName(answer api.Answer) string { return answerNames[answer] }

// AnswerNamed is the answer that the API names so; empty for none.
func AnswerNamed(name string) api.Answer {
	for answer, is := range answerNames {
		if is == name {
			return answer
		}
	}
	return ""
}

// KindName is how the API names a kind of events.
func KindName(kind api.EventKind) string {
	return cmp.Or(kindNames[kind], kindUnknown)
}

// KindNames are all that KindName gives.
func KindNames() []string { return append(slices.Collect(maps.Values(kindNames)), kindUnknown) }

// resultWords say what came of sending a message on.
var resultWords = map[Result]string{
	Result(webhook.Delivered):   "Afgeleverd.",
	Result(webhook.Gone):        "De ontvanger wil niets meer ontvangen (410); het abonnement staat uit.",
	Result(webhook.Busy):        "De ontvanger heeft het te druk (429 of 503), of de mailserver neemt nu niets aan.",
	Result(webhook.Refused):     "De ontvanger weigert het bericht (4xx), of de mailserver dit adres (5xx).",
	Result(webhook.Failed):      "Er is een fout bij de ontvanger (5xx), of de mailserver neemt geen mail van de poort aan.",
	Result(webhook.Redirected):  "De ontvanger verwijst door, en dat volgt de poort niet. Pas het adres aan.",
	Result(webhook.TimedOut):    "De ontvanger antwoordt niet op tijd.",
	Result(webhook.Unreachable): "De ontvanger is niet te bereiken.",
	Result(webhook.Forbidden):   "Het adres ligt in een netwerk dat de instellingen van de poort niet toestaan.",
	Result(webhook.Untrusted):   "Het certificaat van de ontvanger is niet te vertrouwen.",
	Result(mail.Sent):           "Verstuurd.",
	NoAddress:                   "Er is geen adres meer om naartoe te mailen.",
}

// Words says a result in Dutch.
func (r Result) Words() string { return resultWords[r] }

// answerWords say another party's answer; its name is filled in.
var answerWords = map[api.Answer]string{
	api.AnswerInContact:   "%s laat weten: wij zijn al met elkaar in contact.",
	api.AnswerWillCall:    "%s gaat bellen.",
	api.AnswerNotInvolved: "%s is niet meer betrokken bij dit kind.",
	api.AnswerContactMade: "%s laat weten dat er contact is geweest.",
}

// Words says in Dutch what became of an answer of ours that has no receipt.
func (a Asked) Words() string {
	if a.Fault != "" {
		return Fault{"", a.Fault}.Detail()
	}
	return "In de wacht: het antwoord wordt nog verstuurd."
}

// Words says in Dutch who may take over a signal of ours.
func (g Given) Words() string {
	to := g.To()
	switch {
	case g.Fault != "":
		return Fault{"", g.Fault}.Detail()
	case to.IsZero() && g.Job.IsZero():
		return ""
	case to.IsZero():
		return "In de wacht: de overdracht wordt teruggenomen."
	case !g.Job.IsZero():
		return "In de wacht: de overdracht wordt nog verstuurd."
	}
	return "De andere organisatie kan het signaal overnemen tot en met " + day(to.Until) + ". Vertel zelf om welk kind het gaat."
}

// Words says in Dutch where a match stands, and what it does not prove.
func (s MatchStatus) Words() string {
	n := s.Present()
	switch {
	case s.Over:
		return "De match is voorbij."
	case n == 0:
		return "Er is nu niemand anders in deze match; dat zegt niet dat niemand anders dit kind kent, want alleen wie signaleert is te zien."
	case n == 1:
		return "Een andere organisatie signaleert dit kind ook. Bel elkaar."
	}
	return fmt.Sprintf("%d andere organisaties signaleren dit kind ook. Bel elkaar.", n)
}

// NoMatch says in Dutch what it does not prove that there is no match.
const NoMatch = "Nog geen match; dat zegt niet dat niemand anders dit kind kent, want alleen wie signaleert is te zien."

// Words says a message in Dutch.
func (m Message) Words() string {
	name := m.Other.Name
	if name == "" {
		name = "Een andere organisatie"
	}
	switch words, ok := messageWords[m.Kind]; {
	case !ok:
		return "Er is nieuws over een match, dat deze versie van de poort niet kent."
	case m.Kind == api.EventEnded, m.Kind == KindLost:
		return words
	case m.Kind == api.EventExpiring:
		return fmt.Sprintf(words, day(m.Until))
	case m.Mistake:
		return name + " heeft het signaal ingetrokken: het was een vergissing."
	case !m.TookOver.IsZero():
		return name + " heeft het signaal overgenomen van een organisatie die hier bij betrokken was."
	case m.Kind == api.EventHandover && m.SID.IsZero() && m.Until.IsZero():
		return name + " draagt een signaal niet langer aan ons over."
	case m.Kind == api.EventHandover && m.SID.IsZero():
		return fmt.Sprintf("%s draagt een signaal aan ons over, tot en met %s. Bel elkaar over welk kind het gaat; signaleer het daarna als overname.", name, day(m.Until))
	case m.Answer != "":
		return fmt.Sprintf(answerWords[m.Answer], name)
	default:
		return fmt.Sprintf(words, name)
	}
}
