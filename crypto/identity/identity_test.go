// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"testing"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

func TestCanonical(t *testing.T) {
	id, err := Parse(BSN, "1234.567.82", encoding.Date{Year: 2012, Month: 3, Day: 4}, encoding.Date{Year: 2026, Month: 7, Day: 1})
	if err != nil {
		t.Fatal(err)
	}
	got, err := id.Canonical("demo", 1)
	if want := "\x00\x0dseinhuis/1/id\x00\x04demo\x00\x06nl-bsn\x00\x011\x00\x042012\x00\x09123456782"; err != nil || string(got) != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}
