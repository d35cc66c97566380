// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/identity"
	"github.com/seinhuis/seinhuis/crypto/seal"
	"github.com/seinhuis/seinhuis/manifest"
)

// A Subject is who is signalled, as it was entered. It prints as [identity].
type Subject struct {
	Kind      string // bsn or insz
	Number    string
	BirthDate string // 2006-01-02; may be empty for insz
}

// Format prints [identity], whatever the verb.
func (Subject) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[identity]") }

// LogValue logs [identity].
func (Subject) LogValue() slog.Value { return slog.StringValue("[identity]") }

// MarshalText writes [identity].
func (Subject) MarshalText() ([]byte, error) { return []byte("[identity]"), nil }

// Terms are what a signal or report says beside its subjects.
type Terms struct {
	Owner     string
	Reference string
	Card      Card   // zero: the party's default
	TermDays  int    // zero: the policy's
	Key       string // idempotency key; empty is none

	Shielded  bool    // the party's own card, and none that is given; see shield.go
	Reason    string  // of a renewal: one of RenewalReasons, or none
	TakesOver api.SID // the signal of another party, given to us, whose place it takes; zero for none

	by *Access // who asks; nil is the gateway itself
}

// An InputError lists everything that is wrong with what was entered.
type InputError struct{ Faults []Fault }

func (e *InputError) Error() string {
	var list []string
	for _, f := range e.Faults {
		list = append(list, f.Field+": "+string(f.Code))
	}
	return "gateway: refused input: " + strings.Join(list, ", ")
}

// Refusals of acts that the input alone does not explain.
var (
	ErrNotFound = errors.New("gateway: no such registration or report")
	ErrReplay   = errors.New("gateway: the idempotency key was used for another request")
	ErrBusy     = errors.New("gateway: another renewal of this signal is under way")
	ErrNotLive  = errors.New("gateway: the signal does not stand")
	ErrNoBasis  = errors.New("gateway: the policy's legal basis has ended")
)

var ownerForm = regexp.MustCompile(`^[A-Za-z0-9._@-]{1,64}$`)

const maxTermDays = 731 // as the registry accepts: two years and a day

var kinds = map[string]identity.Kind{"bsn": identity.BSN, "insz": identity.INSZ}

var identityFields = map[identity.Field]string{
	identity.FieldKind: FieldKind, identity.FieldNumber: FieldNumber, identity.FieldBirthDate: FieldBirthDate,
}

var identityRules = map[identity.Rule]Code{
	identity.RuleUnknown: CodeUnknown, identity.RuleReserved: CodeReserved, identity.RuleMissing: CodeMissing,
	identity.RuleDigits: CodeDigits, identity.RuleLength: CodeLength, identity.RuleCheckDigits: CodeCheckDigits,
	identity.RuleDate: CodeDate, identity.RuleFuture: CodeFuture, identity.RuleAdult: CodeAdult,
}

// identify checks a subject and gives every fault in it at once.
func identify(s Subject, today encoding.Date) (identity.Identity, []Fault) {
	kind, known := kinds[s.Kind]
	if !known {
		_, err := identity.ParseKind(s.Kind)
		if err == nil { // the protocol's own name for it is not the API's
			err = &identity.Fault{Field: identity.FieldKind, Rule: identity.RuleUnknown}
		}
		return identity.Identity{}, identityFaults(err)
	}
	var birth encoding.Date
	if s.BirthDate != "" {
		var err error
		if birth, err = encoding.ParseDate(s.BirthDate); err != nil {
			birth = encoding.Date{Year: -1} // no such day, and not "unknown" either
		}
	}
	id, err := identity.Parse(kind, s.Number, birth, today)
	return id, identityFaults(err)
}

func identityFaults(err error) (faults []Fault) {
	for _, f := range identity.Faults(err) {
		faults = append(faults, Fault{identityFields[f.Field], identityRules[f.Rule]})
	}
	return faults
}

// check judges the terms by themselves and fills in the default card.
func (p *Party) check(t *Terms) (faults []Fault) {
	switch {
	case t.Owner == "":
		faults = append(faults, Fault{FieldOwner, CodeMissing})
	case !ownerForm.MatchString(t.Owner):
		faults = append(faults, Fault{FieldOwner, CodeForm})
	case t.by != nil && !t.by.Sees(t.Owner):
		faults = append(faults, Fault{FieldOwner, CodeReach})
	default:
		if u, known := p.door.user(t.Owner); known && !u.Active {
			faults = append(faults, Fault{FieldOwner, CodeInactive})
		}
	}
	if f, ok := checkReference(t.Reference); !ok {
		faults = append(faults, f)
	}
	if t.TermDays < 0 || t.TermDays > maxTermDays {
		faults = append(faults, Fault{FieldTerm, CodeForm})
	}
	if f, ok := p.offered(t.TakesOver); !ok {
		faults = append(faults, f)
	}
	if t.Shielded && !t.Card.IsZero() {
		faults = append(faults, Fault{FieldCard, CodeShielded})
	}
	if t.Card.IsZero() {
		t.Card = p.card
	}
	if f, ok := checkCard(t.Card); !ok {
		faults = append(faults, f)
	}
	return faults
}

func checkReference(s string) (Fault, bool) {
	switch {
	case strings.TrimSpace(s) == "":
		return Fault{FieldReference, CodeMissing}, false
	case len(s) > seal.MaxReference:
		return Fault{FieldReference, CodeLength}, false
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		return Fault{FieldReference, CodeForm}, false
	}
	return Fault{}, true
}

var cardFields = map[string]string{
	"name": "naam", "role": "functie", "desk": "afdeling", "phone": "telefoon", "email": "email", "reachable": "bereikbaarheid",
}

var cardRules = map[seal.FieldRule]Code{
	seal.FieldMissing: CodeMissing, seal.FieldTooLong: CodeLength, seal.FieldText: CodeForm,
}

func checkCard(c Card) (Fault, bool) {
	if c.IsZero() {
		return Fault{FieldCard, CodeMissing}, false
	}
	err := seal.Card(c).Validate()
	if err == nil {
		return Fault{}, true
	}
	fault := Fault{FieldCard, CodeForm}
	if e, ok := errors.AsType[*seal.FieldError](err); ok {
		fault.Code = cardRules[e.Rule]
		if name := cardFields[e.Field]; name != "" {
			fault.Field += "." + name
		}
	}
	return fault, false
}

// repeats lists the texts beside the number that have the number in them. They
// would carry it into the store, the keybox or another party's hands.
func repeats(number string, id identity.Identity, t Terms) (faults []Fault) {
	has := func(text string) bool { return id.HasNumber(text) || hasDigits(text, number) }
	if has(t.Owner) {
		faults = append(faults, Fault{FieldOwner, CodeIsNumber})
	}
	if has(t.Reference) {
		faults = append(faults, Fault{FieldReference, CodeIsNumber})
	}
	c := t.Card
	if has(c.Name) || has(c.Role) || has(c.Desk) || has(c.Phone) || has(c.Email) || has(c.Reachable) {
		faults = append(faults, Fault{FieldCard, CodeIsNumber})
	}
	return faults
}

// hasDigits looks for a number that was entered wrongly and so is no identity.
func hasDigits(text, number string) bool {
	n := digitsOf(number)
	return len(n) >= fewestDigits && strings.Contains(digitsOf(text), n)
}

// fewestDigits of what is taken for somebody's number, wrongly entered or not.
const fewestDigits = 8

func digitsOf(s string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
}

func warnings(id identity.Identity, reference string) (list []Code) {
	for _, w := range id.Warnings() {
		if w == identity.WarnBirthDateDiffers {
			list = append(list, CodeBirthDateDiffers)
		}
	}
	if identity.LooksLikeNumber(reference) {
		list = append(list, CodeLooksLikeNumber)
	}
	return list
}

// basis gives ErrNoBasis when the legal basis has ended: then nothing new is taken
// on. A withdrawal always is.
func (p *Party) basis(now time.Time) error {
	if m, _ := p.g.roots.known(); m != nil && basisEnded(m, now) {
		return ErrNoBasis
	}
	return nil
}

func basisEnded(m *manifest.Manifest, now time.Time) bool {
	return identity.Today(now).Compare(m.Policy.LegalBasisEnds) >= 0
}

// CheckSignal gives every fault that Signal would refuse.
func (p *Party) CheckSignal(s Subject, t Terms) []Fault {
	_, faults := p.checkSignal(s, &t, p.g.now())
	return faults
}

func (p *Party) checkSignal(s Subject, t *Terms, now time.Time) (identity.Identity, []Fault) {
	id, faults := identify(s, identity.Today(now))
	faults = append(faults, p.check(t)...)
	return id, append(faults, repeats(s.Number, id, *t)...)
}

// Signal takes on one child. When it returns the registration is on disk, and the
// worker does the rest.
func (p *Party) Signal(s Subject, t Terms) (Status, error) {
	now := p.g.now()
	id, faults := p.checkSignal(s, &t, now)
	if len(faults) > 0 {
		return Status{}, &InputError{faults}
	}
	if err := p.basis(now); err != nil {
		return Status{}, err
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	once, err := p.once("signal", t, s)
	if err != nil {
		return Status{}, err
	}
	if once.seen != nil {
		return p.replayed(t.by, once.seen.Registration)
	}
	b := p.g.store.batch()
	defer b.close()
	reg, err := p.register(b, now, id, t, origin{})
	if err != nil {
		return Status{}, err
	}
	once.remember(b, replay{Created: now, Registration: reg.ID})
	p.logAct(b, t.by, LogSignalMade, reg)
	if err := p.commit(b); err != nil {
		return Status{}, err
	}
	p.took(JobSignal)
	return p.status(p.g.store.view, reg.ID)
}

// replayed is what an idempotency key led to, which who asks may not see any more. p.mu
// is held.
func (p *Party) replayed(by *Access, id ID) (Status, error) {
	s, err := p.status(p.g.store.view, id)
	if err != nil || by == nil {
		return s, err
	}
	if !by.Sees(s.Owner) {
		return Status{}, ErrNotFound
	}
	b := p.g.store.batch()
	defer b.close()
	p.logAct(b, by, LogSignalRead, s.Registration)
	return s, p.commit(b)
}

// origin is what a registration was part of, if of anything.
type origin struct{ Report, Import ID }

// register puts a registration and its job in a batch: one that is lost, if it is that.
func (p *Party) register(b *batch, now time.Time, id identity.Identity, t Terms, from origin) (Registration, error) {
	if reg, lost, err := p.lostLike(b, id, t); err != nil {
		return Registration{}, err
	} else if lost {
		return p.resubmit(b, now, reg, id, t, from)
	}
	reg := Registration{
		ID: newID(now), Created: now.UTC(), Owner: t.Owner, Reference: t.Reference, Report: from.Report, Import: from.Import,
	}
	reg.Job = reg.ID
	b.put(p.ownerRow(reg.Owner, reg.ID), struct{}{})
	return p.enqueue(b, now, reg, id, t, from)
}

// enqueue puts a registration in a batch, with its job.
func (p *Party) enqueue(b *batch, now time.Time, reg Registration, id identity.Identity, t Terms, from origin) (Registration, error) {
	secret, err := id.MarshalBinary()
	if err != nil {
		return Registration{}, err
	}
	reg.State, reg.TermDays, reg.Warnings = StateQueued, t.TermDays, warnings(id, reg.Reference)
	reg.Shielded = reg.Shielded || t.Shielded
	b.put(p.key.registration(reg.ID), reg)
	b.put(p.key.job(reg.Job), Job{
		ID: reg.Job, Kind: JobSignal, Created: now.UTC(), Registration: reg.ID, Import: from.Import, Report: from.Report, Card: t.Card,
		TermDays: t.TermDays, Identity: secret, Cohort: id.Cohort(), TakesOver: t.TakesOver, User: p.pseudonym(t.by, reg.Owner),
	})
	return reg, nil
}

func (p *Party) took(kind JobKind) {
	p.g.metrics.accepted.WithLabelValues(string(kind)).Inc()
	p.g.metrics.queue.WithLabelValues(string(kind)).Inc()
	p.wake()
}

// Withdraw ends a registration; reason is api.ReasonEnded or api.ReasonMistake.
// When it was the signal's last owner, the worker withdraws the signal. Doing it
// again changes nothing.
func (p *Party) Withdraw(id ID, reason string) (Status, error) { return p.withdraw(nil, id, reason) }

func (p *Party) withdraw(by *Access, id ID, reason string) (Status, error) {
	if reason != api.ReasonEnded && reason != api.ReasonMistake {
		return Status{}, &InputError{[]Fault{{FieldReason, CodeUnknown}}}
	}
	now := p.g.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	reg, err := p.within(by, id)
	if err != nil {
		return Status{}, err
	}
	if reg.State.Ended() || reg.Ending != "" {
		return p.replayed(by, id)
	}
	b := p.g.store.batch()
	defer b.close()
	var job *Job
	switch {
	case reg.State.Stands():
		job, err = p.disown(b, &reg, reason, now, by)
	case reg.State == StateLost:
		b.delete(p.lostRow(reg))
		reg.end(StateWithdrawn, now)
	default:
		err = p.cancel(b, &reg, reason, now)
	}
	if err != nil {
		return Status{}, err
	}
	b.put(p.key.registration(reg.ID), reg)
	p.logAct(b, by, LogSignalWithdrawn, reg)
	if err := p.commit(b); err != nil {
		return Status{}, err
	}
	if job != nil {
		p.took(JobWithdraw)
	}
	return p.status(p.g.store.view, id)
}

// cancel ends a registration whose job is not done. What may have been sent
// already has to run its course first.
func (p *Party) cancel(b *batch, reg *Registration, reason string, now time.Time) error {
	job, err := get[Job](p.g.store.view, p.key.job(reg.Job))
	if err != nil {
		return err
	}
	if job.Prepared != nil {
		reg.Ending = reason
		return nil
	}
	reg.end(StateWithdrawn, now)
	p.finished(job, "cancelled")
	b.delete(p.key.job(job.ID))
	b.became(job, *reg)
	return nil
}

// disown takes a registration off its signal; for the last owner it makes the job
// that withdraws the signal.
func (p *Party) disown(b *batch, reg *Registration, reason string, now time.Time, by *Access) (*Job, error) {
	others, err := p.owners(p.g.store.view, reg.SID)
	if err != nil {
		return nil, err
	}
	b.delete(p.key.owner(reg.SID, reg.ID))
	reg.Ending = reason
	if len(without(others, reg.ID)) > 0 {
		reg.end(StateWithdrawn, now)
		return nil, nil
	}
	job := Job{ID: newID(now), Kind: JobWithdraw, Created: now.UTC(), Registration: reg.ID, SID: reg.SID, Reason: reason, User: p.pseudonym(by, reg.Owner)}
	reg.State, reg.Job = StateQueued, job.ID
	b.put(p.key.job(job.ID), job)
	return &job, nil
}

func (r *Registration) end(s State, now time.Time) {
	r.State, r.Ended, r.Job = s, now.UTC(), ID{}
}

// Renew has a signal stand longer, or under another card. Card and TermDays of
// the terms count, zero for what stays as it is. The subject is needed only when
// an epoch has opened since, or the signal is lost; otherwise it is zero.
func (p *Party) Renew(id ID, s Subject, t Terms) (Status, error) {
	now := p.g.now()
	var faults []Fault
	var child identity.Identity
	if s != (Subject{}) {
		child, faults = identify(s, identity.Today(now))
		faults = append(faults, repeats(s.Number, child, t)...)
	}
	if t.TermDays < 0 || t.TermDays > maxTermDays {
		faults = append(faults, Fault{FieldTerm, CodeForm})
	}
	if !t.Card.IsZero() {
		if f, ok := checkCard(t.Card); !ok {
			faults = append(faults, f)
		}
	}
	if t.Reason != "" && !slices.Contains(RenewalReasons, t.Reason) {
		faults = append(faults, Fault{FieldReason, CodeUnknown})
	}
	if len(faults) > 0 {
		return Status{}, &InputError{faults}
	}
	if err := p.basis(now); err != nil {
		return Status{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	reg, err := p.within(t.by, id)
	if err != nil {
		return Status{}, err
	}
	t.Owner, t.Reference = reg.Owner, reg.Reference
	once, err := p.once("renew", t)
	if err != nil {
		return Status{}, err
	}
	if once.seen != nil {
		return p.replayed(t.by, id)
	}
	if reg.State == StateLost && !reg.Loss.over(now) {
		return p.renewLost(once, reg, s, child, t)
	}
	if !reg.State.Stands() {
		return Status{}, ErrNotLive
	}
	signal, err := get[Signal](p.g.store.view, p.key.signal(reg.SID))
	if errors.Is(err, errAbsent) || err == nil && !signal.Live(identity.Today(now)) {
		return Status{}, ErrNotLive
	} else if err != nil {
		return Status{}, err
	}
	if p.queue.renewing(reg.SID) {
		return Status{}, ErrBusy
	}
	job := Job{ID: newID(now), Kind: JobRenew, Created: now.UTC(), Registration: reg.ID, SID: reg.SID, Card: t.Card, TermDays: t.TermDays, User: p.pseudonym(t.by, reg.Owner)}
	if t.Card.IsZero() {
		job.Card = reg.Card // that it was to get
	} else {
		reg.Card, reg.Transfer = Card{}, ID{}
	}
	if s != (Subject{}) {
		if job.Identity, err = child.MarshalBinary(); err != nil {
			return Status{}, err
		}
		job.Cohort = child.Cohort()
	}
	reg.Job, reg.Faults = job.ID, nil
	reg.Renewal = Renewal{now.UTC(), t.Reason}
	b := p.g.store.batch()
	defer b.close()
	b.put(p.key.job(job.ID), job)
	b.put(p.key.registration(reg.ID), reg)
	once.remember(b, replay{Created: now, Registration: reg.ID})
	p.logAct(b, t.by, LogSignalRenewed, reg)
	if !t.Card.IsZero() {
		p.logAct(b, t.by, LogCardChanged, reg)
	}
	if err := p.commit(b); err != nil {
		return Status{}, err
	}
	p.took(JobRenew)
	return p.status(p.g.store.view, id)
}

// renewing tells whether a renewal of the signal is under way.
func (q *queue) renewing(sid api.SID) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.ContainsFunc(q.on[sid], func(pl *place) bool { return pl.renews })
}

// once is a request under an idempotency key, or under none.
type once struct {
	key         []byte // of its row; nil for none
	fingerprint [16]byte
	seen        *replay // what the key led to before
}

// once looks whether an idempotency key was used. A key that was used for another
// request is refused. Of each identity 16 bits of a keyed hash are compared: enough
// to tell that a key was used for another child, and for whoever holds the storage
// key too little to find one.
func (p *Party) once(use string, t Terms, subjects ...Subject) (once, error) {
	if t.Key == "" {
		return once{}, nil
	}
	index := p.g.store.index
	request := []string{use, t.Owner, t.Reference}
	for _, s := range subjects {
		trace := index.of("subject", p.key, strings.Join([]string{s.Kind, s.Number, s.BirthDate}, "\x00"))
		request = append(request, hex.EncodeToString(trace[:2]))
	}
	if !t.TakesOver.IsZero() {
		request = append(request, t.TakesOver.String())
	}
	o := once{
		key:         p.key.replay(index.of("key", p.key, t.by.scope()+t.Key)),
		fingerprint: index.of("request", p.key, strings.Join(request, "\x00")),
	}
	row, err := get[replay](p.g.store.view, o.key)
	switch {
	case errors.Is(err, errAbsent):
		return o, nil
	case err != nil:
		return once{}, err
	case row.Fingerprint != o.fingerprint:
		return once{}, ErrReplay
	}
	o.seen = &row
	return o, nil
}

// remember puts what the key led to in the batch.
func (o once) remember(b *batch, row replay) {
	if o.key != nil {
		row.Fingerprint = o.fingerprint
		b.put(o.key, row)
	}
}
