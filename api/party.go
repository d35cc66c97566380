// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"errors"
	"regexp"
	"strings"
)

// A PartyID names a party: scheme:number, or scheme:number/unit for a unit that
// registers by itself (a site, a school of a board).
type PartyID string

// ErrParty says that a party id is not of the form scheme:number[/unit].
var ErrParty = errors.New(`api: a party id is "scheme:number" or "scheme:number/unit"; schemes are nl-oin (20 digits), nl-kvk (8), nl-ura (8), nl-agb (8), nl-brin (4 letters or digits) and be-kbo (10)`)

// The numbers as the registers give them out: OIN (Logius), KVK, URA and AGB
// (Vektis), BRIN (DUO), KBO (FOD Economie).
var partyNumbers = map[string]*regexp.Regexp{
	"nl-oin":  regexp.MustCompile(`^[0-9]{20}$`),
	"nl-kvk":  regexp.MustCompile(`^[0-9]{8}$`),
	"nl-ura":  regexp.MustCompile(`^[0-9]{8}$`),
	"nl-agb":  regexp.MustCompile(`^[0-9]{8}$`),
	"nl-brin": regexp.MustCompile(`^[0-9]{2}[A-Z]{2}$`),
	"be-kbo":  regexp.MustCompile(`^[0-9]{10}$`),
}

var partyUnit = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// ParseParty checks the form of a party id. It does not know who is registered;
// the directory does.
func ParseParty(s string) (PartyID, error) {
	scheme, number, ok := strings.Cut(s, ":")
	if !ok {
		return "", ErrParty
	}
	number, unit, hasUnit := strings.Cut(number, "/")
	form := partyNumbers[scheme]
	if form == nil || !form.MatchString(number) || hasUnit && !partyUnit.MatchString(unit) {
		return "", ErrParty
	}
	return PartyID(s), nil
}

var deployment = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// ValidDeployment tells whether dep can name a deployment.
func ValidDeployment(dep string) bool { return deployment.MatchString(dep) }
