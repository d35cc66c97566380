// SPDX-License-Identifier: EUPL-1.2

// Package identity reads what a professional knows a child by, checks it, and
// writes it in the one form that every gateway must arrive at:
//
//	x = E("seinhuis/1/id", dep, type, epoch, cohort, value)
//
// Two gateways that differ in one byte of x never match, and nobody would notice.
// So everything that could be wrong is refused here, and an error names the field
// and the rule and never the value.
//
//	type      number                           cohort
//	nl-bsn    9 digits, 11-test                year of the birth date, which is obligatory
//	be-insz   11 digits, mod 97                year in the number
//
// Spaces, dots and dashes in a number are taken out first; nothing else is. A BSN
// of eight digits gets no zero put before it, because that hides a lost digit.
// Nobody is accepted who is born after today or who has reached the 23rd birthday.
//
// Numbers of the type name-date, and tokens for families, are reserved.
package identity

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

const label = "seinhuis/1/id"

// endAge is the birthday from which nobody is signalled any more.
const endAge = 23

// A Kind is a type of number.
type Kind string

// Kinds of numbers.
const (
	BSN  Kind = "nl-bsn"  // Dutch burgerservicenummer
	INSZ Kind = "be-insz" // Belgian rijksregisternummer or BIS number
)

// ParseKind reads a kind. Reserved ones are refused like unknown ones, with
// another rule.
func ParseKind(s string) (Kind, error) {
	switch s {
	case string(BSN), string(INSZ):
		return Kind(s), nil
	case "name-date", "family":
		return "", &Fault{FieldKind, RuleReserved}
	case "":
		return "", &Fault{FieldKind, RuleMissing}
	}
	return "", &Fault{FieldKind, RuleUnknown}
}

// A Field is a part of the input.
type Field string

// Fields that can be at fault.
const (
	FieldKind      Field = "kind"
	FieldNumber    Field = "number"
	FieldBirthDate Field = "birth-date"
)

// A Rule is what a field breaks.
type Rule string

// Rules, in the order in which they are tried.
const (
	RuleUnknown     Rule = "unknown"      // no such kind
	RuleReserved    Rule = "reserved"     // a kind that this version does not take
	RuleMissing     Rule = "missing"      // obligatory and not there
	RuleDigits      Rule = "digits"       // something that is no digit, space, dot or dash
	RuleLength      Rule = "length"       // too few or too many digits
	RuleCheckDigits Rule = "check-digits" // the check digits do not fit the others
	RuleDate        Rule = "date"         // no such day
	RuleFuture      Rule = "future"       // born after today
	RuleAdult       Rule = "adult"        // 23 or older today
)

// A Fault says which field breaks which rule. It never holds the value.
type Fault struct {
	Field Field
	Rule  Rule
}

func (f *Fault) Error() string { return fmt.Sprintf("identity: %s: %s", f.Field, f.Rule) }

// Faults lists every fault in an error of this package.
func Faults(err error) []*Fault {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*Fault
		for _, e := range joined.Unwrap() {
			all = append(all, Faults(e)...)
		}
		return all
	}
	if f, ok := errors.AsType[*Fault](err); ok {
		return []*Fault{f}
	}
	return nil
}

// A Warning is worth telling, and no reason to refuse.
type Warning string

// WarnBirthDateDiffers says that the birth date given is not the one in the
// INSZ number. The number's holds.
const WarnBirthDateDiffers Warning = "birth-date-differs"

// An Identity is one child's number and birth date, checked. It prints as
// [identity]; its zero value names nobody.
type Identity struct {
	// In an unexported field of another struct fmt calls no methods of Identity.
	// Of a func it can only print the address; a pointer it follows under %s.
	get func() fields
}

func (id Identity) fields() fields {
	if id.get == nil {
		return fields{}
	}
	return id.get()
}

type fields struct {
	kind    Kind
	value   string        // digits only
	birth   encoding.Date // the date that the 23rd birthday follows from
	differs bool          // see WarnBirthDateDiffers
}

// Parse checks a number and birth date as they were given. For BSN the birth date
// is obligatory; for INSZ it may be zero. It gives a *Fault, or several joined
// ([Faults]) when both number and birth date are wrong.
//
// today is the day in Europe/Amsterdam, see [Today].
func Parse(kind Kind, number string, birth, today encoding.Date) (Identity, error) {
	if _, err := ParseKind(string(kind)); err != nil {
		return Identity{}, err
	}
	n, numberErr := parseNumber(kind, number)
	birthErr := checkBirthDate(kind, birth, today)
	switch {
	case numberErr != nil && birthErr != nil:
		return Identity{}, errors.Join(numberErr, birthErr)
	case numberErr != nil:
		return Identity{}, numberErr
	case birthErr != nil:
		return Identity{}, birthErr
	}

	id := fields{kind: kind, value: n.digits, birth: birth}
	if kind == INSZ {
		id.differs = !birth.IsZero() && !n.agrees(birth)
		field, earliest := FieldNumber, n.earliest()
		if !n.full() && birth.Year == n.year {
			field, earliest = FieldBirthDate, birth
		} else {
			id.birth = n.latest()
		}
		if err := checkAge(field, earliest, id.birth, today); err != nil {
			return Identity{}, err
		}
	}
	return Identity{func() fields { return id }}, nil
}

// checkBirthDate checks the birth date as far as it counts whatever the number
// says: for INSZ it may be absent or differ, but not be a day that never was.
func checkBirthDate(kind Kind, birth, today encoding.Date) error {
	switch {
	case birth.IsZero() && kind == BSN:
		return &Fault{FieldBirthDate, RuleMissing}
	case birth.IsZero():
		return nil
	case !exists(birth):
		return &Fault{FieldBirthDate, RuleDate}
	case kind == BSN:
		return checkAge(FieldBirthDate, birth, birth, today)
	}
	return nil
}

// checkAge wants the earliest day on which the child can be born to have come: a
// child born this year, day unknown, counts as born on 31 December and is no
// child of the future.
func checkAge(field Field, earliest, birth, today encoding.Date) error {
	switch {
	case earliest.Compare(today) > 0:
		return &Fault{field, RuleFuture}
	case birthday23(birth).Compare(today) <= 0:
		return &Fault{field, RuleAdult}
	}
	return nil
}

func exists(d encoding.Date) bool {
	return d.Year >= 1 && d.Year <= 9999 && encoding.DateOf(d.In(time.UTC)) == d
}

// birthday23 is the 23rd birthday; for who was born on 29 February it is 1 March,
// as a year that is 23 after a leap year never is one.
func birthday23(birth encoding.Date) encoding.Date { return birth.AddDate(endAge, 0, 0) }

// Kind is the type of the number.
func (id Identity) Kind() Kind { return id.fields().kind }

// Cohort is the birth year under whose key the child is evaluated.
func (id Identity) Cohort() int { return id.fields().birth.Year }

// Birthday23 is the day from which the child is not signalled any more. Where the
// day of birth is unknown it follows from 31 December of the year.
func (id Identity) Birthday23() encoding.Date {
	if id.get == nil {
		return encoding.Date{}
	}
	return birthday23(id.fields().birth)
}

// Warnings are what the professional should look at again.
func (id Identity) Warnings() []Warning {
	if !id.fields().differs {
		return nil
	}
	return []Warning{WarnBirthDateDiffers}
}

var errNobody = errors.New("identity: names nobody")

// Canonical is the input of the OPRF: E("seinhuis/1/id", dep, type, epoch,
// cohort, value), with the cohort in four digits.
func (id Identity) Canonical(dep string, epoch uint64) ([]byte, error) {
	if id.get == nil {
		return nil, errNobody
	}
	f := id.fields()
	return encoding.E(label, []byte(dep), []byte(f.kind), encoding.Int(epoch),
		fmt.Appendf(nil, "%04d", f.birth.Year), []byte(f.value))
}

// HasNumber tells whether a text has this very number in it, however it is
// spaced: a reference that would carry a national number into a keybox.
func (id Identity) HasNumber(s string) bool {
	return id.get != nil && strings.Contains(stripSeparators(s), id.fields().value)
}

// Format prints [identity], whatever the verb.
func (Identity) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[identity]") }

// LogValue logs [identity].
func (Identity) LogValue() slog.Value { return slog.StringValue("[identity]") }

// MarshalText writes [identity].
func (Identity) MarshalText() ([]byte, error) { return []byte("[identity]"), nil }

const (
	labelStored = "seinhuis/1/identity"
	storedFlag  = "birth-date-differs"
)

// MarshalBinary writes the identity in full, for a gateway's encrypted queue and
// nothing else: E("seinhuis/1/identity", type, value, birth date, warning).
func (id Identity) MarshalBinary() ([]byte, error) {
	if id.get == nil {
		return nil, errNobody
	}
	f := id.fields()
	var flag []byte
	if f.differs {
		flag = []byte(storedFlag)
	}
	return encoding.E(labelStored, []byte(f.kind), []byte(f.value), f.birth.Field(), flag)
}

// Unmarshal reads what MarshalBinary writes, and nothing else. It checks all but
// the age: the child may have turned 23 in the queue, which Birthday23 tells.
func Unmarshal(b []byte) (Identity, error) {
	var id fields
	d := encoding.NewDecoder(b)
	d.Expect(labelStored)
	id.kind = Kind(d.String())
	id.value = d.String()
	id.birth = d.Date()
	switch flag := d.String(); flag {
	case "":
	case storedFlag:
		id.differs = true
	default:
		d.Fail("a warning is not known")
	}
	if err := d.Done(); err != nil {
		return Identity{}, fmt.Errorf("identity: %w", err)
	}
	if _, err := ParseKind(string(id.kind)); err != nil {
		return Identity{}, err
	}
	n, err := parseNumber(id.kind, id.value)
	switch {
	case err != nil:
		return Identity{}, err
	case n.digits != id.value:
		return Identity{}, &Fault{FieldNumber, RuleDigits}
	case id.birth.IsZero():
		return Identity{}, &Fault{FieldBirthDate, RuleMissing}
	case !n.allows(id.birth), id.kind == BSN && id.differs:
		return Identity{}, &Fault{FieldBirthDate, RuleDate}
	}
	return Identity{func() fields { return id }}, nil
}

// Today is the day in Europe/Amsterdam: the same for every gateway, wherever its
// clock stands.
func Today(now time.Time) encoding.Date { return encoding.DateOf(now.In(encoding.Amsterdam)) }
