// SPDX-License-Identifier: EUPL-1.2

package evaluator

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/seinhuis/seinhuis/crypto/oprf"
)

// The bytes of a share are wiped where it was sealed, and where it was read.
func TestBytesOfSharesAreWiped(t *testing.T) {
	_, shares, err := oprf.Deal(2, 3)
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(t.TempDir(), name) }
	v := Vault{Shares: in("shares"), Wrapping: in("wrapping"), Destroyed: in("destroyed")}
	clear, err := entryOf(Share{Key: Key{1, 2012}, Sharing: 1, Value: shares[0]})
	if err != nil {
		t.Fatal(err)
	}
	secret := bytes.Clone(clear.Value)
	wiped := func(when string, value []byte) {
		t.Helper()
		if len(value) != oprf.ScalarSize || bytes.Equal(value, secret) || !bytes.Equal(value, make([]byte, len(value))) {
			t.Errorf("%s %d bytes of it are left", when, len(value))
		}
	}
	sealed, err := v.sealed(clear)
	if err != nil || sealed.Value != nil {
		t.Fatal(len(sealed.Value), err)
	}
	wiped("sealed,", clear.Value)
	again := clear
	again.Value = bytes.Clone(secret)
	if _, err := v.open(again); err != nil {
		t.Fatal(err)
	}
	wiped("read in clear,", again.Value)
	if got, err := v.open(sealed); err != nil || got.Value.Index() != shares[0].Index() {
		t.Fatal(err)
	}
}
