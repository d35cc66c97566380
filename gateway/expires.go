// SPDX-License-Identifier: EUPL-1.2

package gateway

import "github.com/seinhuis/seinhuis/crypto/encoding"

// expiry is the first day on which a signal no longer lives. m is the day of issue
// plus the term, or the 23rd birthday if that is earlier; expiry is the latest
// first day of a month that is not after m, so that it tells the registry little
// of the birthday, unless that would be no life at all: then it is m.
func expiry(issued encoding.Date, termDays int, birthday23 encoding.Date) encoding.Date {
	m := issued.AddDate(0, 0, termDays)
	if birthday23.Compare(m) < 0 {
		m = birthday23
	}
	first := encoding.Date{Year: m.Year, Month: m.Month, Day: 1}
	if first.Compare(issued) > 0 {
		return first
	}
	return m
}

// term is how long a signal may stand: what was asked, within the policy.
func term(asked, policy int) int {
	if asked == 0 || asked > policy {
		return policy
	}
	return asked
}
