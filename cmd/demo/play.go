// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seinhuis/seinhuis/gateway/rest"
)

// A Record is one thing that a party sent in, and what came of it.
type Record struct {
	Case         int       `json:"case"`
	Story        string    `json:"story"`
	Step         int       `json:"step"`
	Asked        time.Time `json:"asked"`
	Answered     time.Time `json:"answered"`
	Party        string    `json:"party"`
	Professional string    `json:"professional"`
	Do           string    `json:"do"`
	Child        string    `json:"child,omitempty"`
	Report       string    `json:"report,omitempty"`
	Reference    string    `json:"reference"`
	NumberKind   string    `json:"numberKind,omitempty"`
	Number       string    `json:"number,omitempty"`
	BirthDate    string    `json:"birthDate,omitempty"`
	Reason       string    `json:"reason,omitempty"`
	Card         *Card     `json:"card,omitempty"`
	Outcome      string    `json:"outcome"`
	Registration string    `json:"registration,omitempty"`
	SID          string    `json:"sid,omitempty"`
	Revision     int64     `json:"revision,omitempty"`
	Others       *int64    `json:"others,omitempty"`
}

// A Player carries out a plan as the parties' case systems would: through the
// HTTP API of their gateways.
type Player struct {
	clients  []rest.ClientWithResponsesInterface // of each party
	inboxes  []*inbox
	patience time.Duration // with anything that has to come
	run      string        // part of the idempotency keys

	mu       sync.Mutex
	records  []Record
	keys     int
	ids      map[*Registration]string // at the gateway
	sids     map[*Registration]string // at the registry
	expected Expected                 // of what has been played
	absorbed int                      // as the gateways tell
	adults   int
	noNumber int
	took     []interval // signals, from the request to the verified receipt
	faults   []string
}

type interval struct{ from, to time.Time }

func newPlayer(clients []rest.ClientWithResponsesInterface, run string, patience time.Duration) *Player {
	p := &Player{
		clients: clients, patience: patience, run: run,
		ids: map[*Registration]string{}, sids: map[*Registration]string{},
	}
	for _, c := range clients {
		p.inboxes = append(p.inboxes, newInbox(c))
	}
	return p
}

func (p *Player) fault(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.faults) < maxFaults {
		p.faults = append(p.faults, fmt.Sprintf(format, args...))
	}
}

// A stage is where in the plan an act stands.
type stage struct {
	no, step int
	of       *Case
	// accepted is called as soon as a gateway has answered an act for the first
	// time; nil unless the registry is down and somebody waits for it.
	accepted func()
}

// wait is how many seconds a gateway may hold a request.
const wait = 20

// first is how many seconds the first request of an act may take: none when it is
// sure that there will be no receipt.
func (s stage) first() int {
	if s.accepted != nil {
		return 0
	}
	return wait
}

// queued looks at the first answer while the registry is down: it must say that
// the act is kept.
func (p *Player) queued(s *stage, kept bool) {
	if s.accepted == nil {
		return
	}
	if !kept {
		p.fault("case %d: an act was not put in the queue while the registry is down", s.no)
	}
	s.accepted()
	s.accepted = nil
}

// play plays a case. What goes wrong is kept as a fault, and ends the case.
func (p *Player) play(ctx context.Context, no int, c *Case, accepted func()) {
	o := newOracle()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.expected.add(o.Expected)
	}()
	told := map[eventKey]int{}
	for i, acts := range c.Steps {
		s := stage{no: no, step: i, of: c}
		if i == 0 {
			s.accepted = accepted
		}
		wants := o.step(acts)
		if err := p.playStep(ctx, s, acts); err != nil {
			if ctx.Err() == nil {
				p.fault("case %d (%s), step %d: %v", no, c.Story, i, err)
			}
			return
		}
		if err := p.awaitAll(ctx, wants, told); err != nil {
			if ctx.Err() == nil {
				p.fault("case %d (%s), after step %d: %v", no, c.Story, i, err)
			}
			return
		}
	}
}

// playStep sends the acts of a step at the same instant and waits for their final
// answers.
func (p *Player) playStep(ctx context.Context, s stage, acts []Act) error {
	ctx, cancel := context.WithTimeoutCause(ctx, p.patience, fmt.Errorf("no final answer within %v", p.patience))
	defer cancel()
	errs := make([]error, len(acts))
	var wg sync.WaitGroup
	for i, a := range acts {
		wg.Go(func() { errs[i] = p.do(ctx, s, a) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// awaitAll waits for the events that follow from a step to lie in the inboxes.
// told counts those of the case that came before.
func (p *Player) awaitAll(ctx context.Context, wants []Want, told map[eventKey]int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, p.patience, fmt.Errorf("did not come within %v", p.patience))
	defer cancel()
	for _, w := range wants {
		p.mu.Lock()
		key := eventKey{p.sids[w.Own.Registrations[0]], w.Kind, string(parties[w.Other.Party].ID)}
		p.mu.Unlock()
		told[key]++
		if err := p.inboxes[w.Own.Party].await(ctx, key, told[key]); err != nil {
			return fmt.Errorf("%s about %s in the inbox of %s: %w", w.Kind, parties[w.Other.Party].Folder, parties[w.Own.Party].Folder, err)
		}
	}
	return nil
}

func (p *Player) do(ctx context.Context, s stage, a Act) error {
	switch a.Do {
	case doSignal:
		return p.signal(ctx, s, a.On)
	case doReport:
		return p.report(ctx, s, a.Report)
	case doWithdraw:
		return p.withdraw(ctx, s, a.On, a.Reason)
	default:
		return p.renew(ctx, s, a.On, a.Card)
	}
}

// key is a fresh idempotency key. Asking again under it waits on for the same
// thing: that is the long poll.
func (p *Player) key() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys++
	return fmt.Sprintf("demo-%s-%06d", p.run, p.keys)
}

func (p *Player) signal(ctx context.Context, s stage, r *Registration) error {
	body := rest.NieuwSignaal{
		Nummersoort: rest.NieuwSignaalNummersoort(r.Kind), Nummer: r.Number, Geboortedatum: r.Birth,
		Kenmerk: r.Reference, Hulpverlener: r.Professional, Contactkaart: r.Card.wire(), TermijnDagen: r.Term,
	}
	seconds := s.first()
	params := rest.MaakSignaalParams{Wacht: &seconds, IdempotencyKey: p.key()}
	rec := s.record(r, doSignal)
	for ; ; seconds = wait {
		resp, err := p.clients[r.Party].MaakSignaalWithResponse(ctx, &params, body)
		p.queued(&s, err == nil && resp.JSON202 != nil)
		switch {
		case err != nil:
			return cause(ctx, err)
		case resp.JSON202 != nil: // accepted; ask on
		case resp.JSON201 != nil:
			rec.Answered = time.Now()
			return p.settled(rec, r, *resp.JSON201)
		case r.Refused != "":
			rec.Answered, rec.Outcome = time.Now(), string(rest.ToestandGeweigerd)
			p.keep(rec)
			return p.refusal(r, resp.StatusCode(), rest.ProblemIn(resp.Body), resp.Body)
		default:
			return fmt.Errorf("a gateway answered a signal with %s: %s", resp.Status(), resp.Body)
		}
	}
}

// settled keeps what became of a registration that had to be taken.
func (p *Player) settled(rec Record, r *Registration, s rest.Signaal) error {
	rec.Outcome, rec.Registration, rec.SID, rec.Revision, rec.Others = string(s.Toestand), s.Id, s.Sid, s.Revisie, s.Anderen
	p.keep(rec)
	if r.Refused != "" {
		return fmt.Errorf("taken, though given wrongly (%s)", r.Why)
	}
	if s.Toestand != rest.ToestandGeregistreerd && s.Toestand != rest.ToestandSamengevoegd || s.Sid == "" {
		return fmt.Errorf("a registration ended as %s: %v", s.Toestand, s.Fouten)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ids[r], p.sids[r] = s.Id, s.Sid
	if s.Toestand == rest.ToestandSamengevoegd {
		p.absorbed++
	}
	if rec.Do == doSignal {
		p.took = append(p.took, interval{rec.Asked, rec.Answered})
	}
	return nil
}

// refusal checks how a person given wrongly is refused: by naming the field, and
// without repeating the number.
func (p *Player) refusal(r *Registration, status int, problem *rest.Probleem, body []byte) error {
	if status != http.StatusBadRequest || problem == nil {
		return fmt.Errorf("given wrongly (%s) and answered with status %d: %s", r.Why, status, body)
	}
	return p.named(r, problem.Errors, string(body))
}

func (p *Player) named(r *Registration, faults []rest.Invoerfout, text string) error {
	names := func(f rest.Invoerfout) bool {
		return f.Name == r.Refused || strings.HasSuffix(f.Name, "."+r.Refused)
	}
	if !slices.ContainsFunc(faults, names) {
		return fmt.Errorf("given wrongly (%s), and the refusal names %v instead of %s", r.Why, faults, r.Refused)
	}
	if strings.Contains(text, r.Number) || strings.Contains(text, strings.Map(onlyDigits, r.Number)) {
		return errors.New("a refusal repeats the number")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Why == whyAdult {
		p.adults++
	}
	return nil
}

func onlyDigits(r rune) rune {
	if r < '0' || r > '9' {
		return -1
	}
	return r
}

func (p *Player) report(ctx context.Context, s stage, report *Report) error {
	body := rest.NieuweMelding{
		Kenmerk: report.Reference, Hulpverlener: report.Professional, Contactkaart: report.Card.wire(),
	}
	for _, r := range report.Persons {
		body.Personen = append(body.Personen, rest.Persoon{
			Nummersoort: r.Kind, Nummer: r.Number, Geboortedatum: r.Birth, Rol: r.Role, Kenmerk: r.Reference,
		})
	}
	seconds := s.first()
	params := rest.MaakMeldingParams{Wacht: &seconds, IdempotencyKey: p.key()}
	asked := time.Now()
	for ; ; seconds = wait {
		resp, err := p.clients[report.Party].MaakMeldingWithResponse(ctx, &params, body)
		p.queued(&s, err == nil && resp.JSON202 != nil)
		switch {
		case err != nil:
			return cause(ctx, err)
		case resp.JSON202 != nil: // accepted; ask on
		case resp.JSON201 != nil:
			return p.reported(s, report, asked, *resp.JSON201, resp.Body)
		default:
			return fmt.Errorf("a gateway answered a report with %s: %s", resp.Status(), resp.Body)
		}
	}
}

// reported keeps what became of each person of a report, and of its repetition.
func (p *Player) reported(s stage, report *Report, asked time.Time, m rest.Melding, body []byte) error {
	again := s.step > 0
	if m.Herhaling != again || len(m.Personen) != len(report.Persons) {
		return fmt.Errorf("a report of %d persons (repeated: %v) was answered with %d (repeated: %v)",
			len(report.Persons), again, len(m.Personen), m.Herhaling)
	}
	var errs []error
	for i, r := range report.Persons {
		out := m.Personen[i]
		rec := s.record(r, doReport)
		rec.Report, rec.Asked, rec.Answered, rec.Outcome = report.Reference, asked, time.Now(), string(out.Uitkomst)
		switch {
		case r.signals() && again:
			rec.Registration, rec.SID, rec.Revision = out.Signaal.Id, out.Signaal.Sid, out.Signaal.Revisie
			p.keep(rec)
			p.mu.Lock()
			if p.sids[r] != out.Signaal.Sid {
				errs = append(errs, errors.New("a repeated report has other signals"))
			}
			p.absorbed++
			p.mu.Unlock()
		case r.signals():
			errs = append(errs, p.settled(rec, r, out.Signaal))
		case again:
			p.keep(rec)
		case r.Number == "":
			p.keep(rec)
			if out.Uitkomst != rest.UitkomstUitkomstNietGesignaleerd {
				errs = append(errs, fmt.Errorf("a child without a number came out as %s", out.Uitkomst))
			}
			p.mu.Lock()
			p.noNumber++
			p.mu.Unlock()
		default:
			p.keep(rec)
			if out.Uitkomst != rest.UitkomstUitkomstGeweigerd {
				errs = append(errs, fmt.Errorf("given wrongly (%s), and came out as %s", r.Why, out.Uitkomst))
			}
			errs = append(errs, p.named(r, out.Fouten, string(body)))
		}
	}
	return errors.Join(errs...)
}

func (p *Player) withdraw(ctx context.Context, s stage, r *Registration, reason string) error {
	seconds := wait
	params := rest.TrekSignaalInParams{Wacht: &seconds, IdempotencyKey: p.key()}
	body := rest.Intrekking{Reden: rest.IntrekkingRedenAfgesloten}
	if reason == "mistake" {
		body.Reden = rest.IntrekkingRedenVergissing
	}
	rec := s.record(r, doWithdraw)
	rec.Reason = reason
	for {
		resp, err := p.clients[r.Party].TrekSignaalInWithResponse(ctx, p.id(r), &params, body)
		switch {
		case err != nil:
			return cause(ctx, err)
		case resp.JSON202 != nil: // accepted; ask on
		case resp.JSON200 != nil && resp.JSON200.Toestand == rest.ToestandIngetrokken:
			rec.Answered = time.Now()
			p.answered(rec, *resp.JSON200)
			return nil
		default:
			return fmt.Errorf("a gateway answered a withdrawal with %s: %s", resp.Status(), resp.Body)
		}
	}
}

func (p *Player) renew(ctx context.Context, s stage, r *Registration, card *Card) error {
	seconds := wait
	params := rest.VerlengSignaalParams{Wacht: &seconds, IdempotencyKey: p.key()}
	rec := s.record(r, doRenew)
	rec.Card = card
	for {
		resp, err := p.clients[r.Party].VerlengSignaalWithResponse(ctx, p.id(r), &params, rest.Verlenging{Contactkaart: card.wire()})
		switch {
		case err != nil:
			return cause(ctx, err)
		case resp.JSON202 != nil: // accepted; ask on
		case resp.JSON200 != nil && resp.JSON200.Toestand == rest.ToestandGeregistreerd:
			rec.Answered = time.Now()
			p.answered(rec, *resp.JSON200)
			return nil
		default:
			return fmt.Errorf("a gateway answered a renewal with %s: %s", resp.Status(), resp.Body)
		}
	}
}

func (p *Player) id(r *Registration) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ids[r]
}

func (p *Player) answered(rec Record, s rest.Signaal) {
	rec.Outcome, rec.Registration, rec.SID, rec.Revision = string(s.Toestand), s.Id, s.Sid, s.Revisie
	p.keep(rec)
}

func (p *Player) keep(rec Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.records = append(p.records, rec)
}

// record begins the record of an act on a registration.
func (s stage) record(r *Registration, do string) Record {
	rec := Record{
		Case: s.no, Story: s.of.Story, Step: s.step, Asked: time.Now(), Party: string(parties[r.Party].ID),
		Professional: r.Professional, Do: do, Reference: r.Reference,
	}
	if r.Child != nil {
		rec.Child = r.Child.ID
	}
	if do == doSignal || do == doReport {
		rec.NumberKind, rec.Number, rec.BirthDate = r.Kind, r.Number, r.Birth
		if rec.Card = r.Card; rec.Card == nil {
			rec.Card = ownCard(r.Party)
		}
	}
	return rec
}

// cause says why a request was given up, rather than that it was.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
