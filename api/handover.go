// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"fmt"
	"strings"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// A Handover is what a party says of a signal of its own that another may take over: the
// body of the act handover. The zero Handover takes back what was given.
//
// Whom it names, registers the child itself, with the giver's sid as TakesOver of its
// statement; then the giver's signal ends. So it hears from the giver who the child is,
// and nobody else does.
type Handover struct {
	To    PartyID       `json:"to"`
	Until encoding.Date `json:"until"` // the last day on which it can be taken up
}

// MaxHandoverDays is how many days after today the last day of a handover can be.
const MaxHandoverDays = 92

// IsZero tells whether nothing is given.
func (h Handover) IsZero() bool { return h == Handover{} }

// Stands tells whether a party may take up the handover on a day.
func (h Handover) Stands(party PartyID, today encoding.Date) bool {
	return h.To == party && party != "" && h.Until.Compare(today) >= 0
}

// Body is the act's: the party and the day with a space between them, or nothing.
func (h Handover) Body() string {
	if h.IsZero() {
		return ""
	}
	return string(h.To) + " " + h.Until.String()
}

// ParseHandover reads what Body writes, and nothing else.
func ParseHandover(body string) (h Handover, err error) {
	if body == "" {
		return h, nil
	}
	to, until, _ := strings.Cut(body, " ")
	if h.To, err = ParseParty(to); err == nil {
		h.Until, err = encoding.ParseDate(until)
	}
	if err != nil {
		return Handover{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return h, nil
}
