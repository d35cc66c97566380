// SPDX-License-Identifier: EUPL-1.2

package keys

import (
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestPair(t *testing.T) {
	folder := t.TempDir()
	in := func(name string) string { return filepath.Join(folder, name) }
	var cert, key [2][]byte
	for i, name := range []string{"a", "b"} {
		if err := Clear.WriteTLS(in(name+".crt"), in(name+".pem"), name, nil); err != nil {
			t.Fatal(err)
		}
		for path, into := range map[string]*[]byte{name + ".crt": &cert[i], name + ".pem": &key[i]} {
			text, err := os.ReadFile(in(path))
			if err != nil {
				t.Fatal(err)
			}
			*into = text
		}
	}
	put := func(cert, key []byte) {
		t.Helper()
		for name, text := range map[string][]byte{"tls.crt": cert, "tls.pem": key} {
			if err := os.WriteFile(in(name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	p := Pair{Cert: in("tls.crt"), Key: in("tls.pem")}
	if _, err := p.Load(nil); err == nil || p.Leaf() != nil {
		t.Error("there is a pair out of nothing")
	}
	put(cert[0], key[0])
	if changed, err := p.Load(nil); err != nil || !changed || p.Leaf().Subject.CommonName != "a" {
		t.Fatalf("the first: %v, %v", changed, err)
	}
	if changed, err := p.Load(func(tls.Certificate) error { return errors.New("asked again") }); err != nil || changed {
		t.Errorf("the same again: %v, %v", changed, err)
	}
	for reason, c := range map[string]struct {
		cert, key []byte
		accept    func(tls.Certificate) error
	}{
		"half_written_certificate":  {cert[1][:len(cert[1])/2], key[1], nil},
		"empty_certificate":         {nil, key[1], nil},
		"half_written_key":          {cert[1], key[1][:len(key[1])/2], nil},
		"only_the_certificate_new":  {cert[1], key[0], nil},
		"only_the_key_new":          {cert[0], key[1], nil},
		"one_that_is_not_accepted":  {cert[1], key[1], func(tls.Certificate) error { return errors.New("no") }},
		"certificate_without_a_key": {cert[1], cert[1], nil},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			put(c.cert, c.key)
			changed, err := p.Load(c.accept)
			if err == nil || changed || p.Leaf().Subject.CommonName != "a" || p.Current().Leaf != p.Leaf() {
				t.Errorf("it is taken: %v, %v", changed, err)
			}
		})
	}
	put(cert[1], key[1])
	if changed, err := p.Load(nil); err != nil || !changed || p.Leaf().Subject.CommonName != "b" {
		t.Errorf("the second: %v, %v", changed, err)
	}
	if pin, err := PinOf(in("tls.crt")); err != nil || pin != SPKIHash(p.Leaf()) {
		t.Errorf("its pin: %v", err)
	}
	for reason, text := range map[string][]byte{"key": key[1], "nothing": nil, "half": cert[1][:len(cert[1])/2]} {
		t.Run("rejects/pin_of_"+reason, func(t *testing.T) {
			put(text, nil)
			if _, err := PinOf(in("tls.crt")); err == nil {
				t.Error("it has a pin")
			}
		})
	}
}
