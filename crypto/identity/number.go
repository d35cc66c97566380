// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"strings"
	"time"
	"unicode"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

const (
	lengthBSN  = 9
	lengthINSZ = 11
)

// A number is the digits of a BSN or INSZ number, and what an INSZ number says of
// the birth date; month and day are 0 where it does not know them.
type number struct {
	kind             Kind
	digits           string
	year, month, day int
}

func parseNumber(kind Kind, s string) (number, error) {
	fault := func(r Rule) (number, error) { return number{}, &Fault{FieldNumber, r} }

	n := number{kind: kind, digits: stripSeparators(s)}
	length := lengthBSN
	if kind == INSZ {
		length = lengthINSZ
	}
	switch {
	case n.digits == "":
		return fault(RuleMissing)
	case !onlyDigits(n.digits):
		return fault(RuleDigits)
	case len(n.digits) != length:
		return fault(RuleLength)
	}
	if kind == BSN {
		if !checkBSN(n.digits) {
			return fault(RuleCheckDigits)
		}
		return n, nil
	}
	century, ok := checkINSZ(n.digits)
	if !ok {
		return fault(RuleCheckDigits)
	}
	n.year = century + decimal(n.digits[0:2])
	n.month = decimal(n.digits[2:4])
	n.day = decimal(n.digits[4:6])
	// A BIS number, for who is not in the Rijksregister, has its month raised by 20
	// (sex unknown when it was given) or by 40.
	switch {
	case n.month >= 40:
		n.month -= 40
	case n.month >= 20:
		n.month -= 20
	}
	if !n.possible() {
		return fault(RuleDate)
	}
	return n, nil
}

// stripSeparators takes out what people put into numbers to read them.
func stripSeparators(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || unicode.IsSpace(r) {
			return -1
		}
		return r
	}, s)
}

func onlyDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// decimal reads a short run of digits.
func decimal(digits string) (n int) {
	for i := range len(digits) {
		n = 10*n + int(digits[i]-'0')
	}
	return n
}

// checkBSN is the 11-test: the digits times 9, 8, 7, 6, 5, 4, 3, 2 and -1 add up to
// a multiple of 11. Nine zeros do too, and are nobody's number.
func checkBSN(digits string) bool {
	sum := -decimal(digits[8:])
	for i := range 8 {
		sum += (9 - i) * decimal(digits[i:i+1])
	}
	return sum%11 == 0 && strings.Trim(digits, "0") != ""
}

// checkINSZ finds the century: the last two digits are 97 less the first nine
// modulo 97, with a 2 put before the nine for births from 2000. The two
// centuries never have the same check digits, because 2·10^9 is no multiple of
// the prime 97; so at most one of the checks holds.
func checkINSZ(digits string) (century int, ok bool) {
	first, check := decimal(digits[:9]), decimal(digits[9:])
	switch check {
	case 97 - first%97:
		return 1900, true
	case 97 - (2_000_000_000+first)%97:
		return 2000, true
	}
	return 0, false
}

// possible tells whether some day fits. Day and month unknown are written 00; a
// number with the month unknown can have any day, which then only counts on when
// the serial numbers of 00.00 have run out.
func (n number) possible() bool {
	switch {
	case n.month > 12 || n.day > 31:
		return false
	case n.month == 0 || n.day == 0:
		return true
	}
	return exists(encoding.Date{Year: n.year, Month: time.Month(n.month), Day: n.day})
}

// full tells whether the number holds a whole date.
func (n number) full() bool { return n.month != 0 && n.day != 0 }

// latest is the date in the number, or 31 December of its year.
func (n number) latest() encoding.Date {
	if n.full() {
		return encoding.Date{Year: n.year, Month: time.Month(n.month), Day: n.day}
	}
	return encoding.Date{Year: n.year, Month: time.December, Day: 31}
}

// earliest is the first day that the number allows.
func (n number) earliest() encoding.Date {
	if n.full() {
		return n.latest()
	}
	return encoding.Date{Year: n.year, Month: time.Month(max(n.month, 1)), Day: 1}
}

// agrees tells whether a birth date is what the number says, as far as it says
// anything.
func (n number) agrees(birth encoding.Date) bool {
	return birth.Year == n.year &&
		(n.month == 0 || birth.Month == time.Month(n.month)) &&
		(!n.full() || birth.Day == n.day)
}

// allows tells whether the 23rd birthday can follow from this birth date.
func (n number) allows(birth encoding.Date) bool {
	switch {
	case n.kind == BSN:
		return true
	case n.full():
		return birth == n.latest()
	}
	return birth.Year == n.year
}

// LooksLikeNumber tells whether a text has a run of digits that could be a
// national number: 9 or 11 of them with fitting check digits, however spaced. One
// in eleven runs of nine is such by chance, so it is a reason to warn only.
func LooksLikeNumber(s string) bool {
	for _, text := range []string{s, stripSeparators(s)} {
		for run := range strings.FieldsFuncSeq(text, func(r rune) bool { return r < '0' || r > '9' }) {
			switch len(run) {
			case lengthBSN:
				if checkBSN(run) {
					return true
				}
			case lengthINSZ:
				if _, ok := checkINSZ(run); ok {
					return true
				}
			}
		}
	}
	return false
}
