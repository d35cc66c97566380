// SPDX-License-Identifier: EUPL-1.2

package seal

import (
	"bytes"
	"crypto/ecdh"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

func mustSealKeybox(t testing.TB, c Context, k Keybox) []byte {
	t.Helper()
	box, err := SealKeybox(testHPKE.PublicKey().Bytes(), c, k)
	if err != nil {
		t.Fatal(err)
	}
	return box
}

func TestKeybox(t *testing.T) {
	for name, reference := range map[string]string{"short": "D-2026-0042", "none": "", "full": strings.Repeat("é", MaxReference/2)} {
		t.Run(name, func(t *testing.T) {
			want := testKeybox
			want.Reference = reference
			box := mustSealKeybox(t, testContext, want)
			if len(box) != 185 || box[0] != 1 {
				t.Errorf("%d bytes of version %d, want 185 of 1", len(box), box[0])
			}
			got, err := OpenKeybox(ring, testContext, box)
			if err != nil || got != want {
				t.Errorf("another keybox comes out, %v", err)
			}
			if bytes.Equal(box, mustSealKeybox(t, testContext, want)) {
				t.Error("sealed twice alike")
			}
		})
	}
}

func TestKeyboxOpensInItsOwnContextOnly(t *testing.T) {
	box := mustSealKeybox(t, testContext, testKeybox)
	for what, c := range others() {
		t.Run("rejects/another_"+what, func(t *testing.T) {
			if _, err := OpenKeybox(ring, c, box); !errors.Is(err, ErrOpen) {
				t.Errorf("%v, want ErrOpen", err)
			}
		})
	}
}

func TestOpenKeyboxRejects(t *testing.T) {
	box := mustSealKeybox(t, testContext, testKeybox)
	for i := range box {
		flipped := bytes.Clone(box)
		flipped[i] ^= 0x10
		want := ErrOpen
		switch {
		case i == 0:
			want = ErrVersion
		case i < 9:
			want = ErrKey
		}
		if _, err := OpenKeybox(ring, testContext, flipped); !errors.Is(err, want) {
			t.Errorf("byte %d flipped: %v, want %v", i, err, want)
		}
	}
	reserved := bytes.Clone(box)
	reserved[0] = 2
	lowOrder := bytes.Clone(box)
	clear(lowOrder[9:41])
	for reason, v := range map[string]struct {
		box  []byte
		want error
	}{
		"empty":                         {nil, ErrLength},
		"cut_short":                     {box[:184], ErrLength},
		"longer":                        {append(bytes.Clone(box), 0), ErrLength},
		"version_byte_alone":            {box[:1], ErrLength},
		"reserved_version":              {reserved, ErrVersion},
		"reserved_version_and_its_size": {append([]byte{2}, make([]byte, 1300)...), ErrVersion},
		"encapsulated_key_of_low_order": {lowOrder, ErrOpen},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if _, err := OpenKeybox(ring, testContext, v.box); !errors.Is(err, v.want) {
				t.Errorf("%v, want %v", err, v.want)
			}
		})
	}

	p256, err := ecdh.P256().NewPrivateKey(bytes.Repeat([]byte{6}, 32))
	if err != nil {
		t.Fatal(err)
	}
	for reason, priv := range map[string]func(encoding.KeyID) (*ecdh.PrivateKey, bool){
		"key_unknown":          func(encoding.KeyID) (*ecdh.PrivateKey, bool) { return nil, false },
		"key_known_but_nil":    func(encoding.KeyID) (*ecdh.PrivateKey, bool) { return nil, true },
		"key_of_another_id":    func(encoding.KeyID) (*ecdh.PrivateKey, bool) { return mustX25519(7), true },
		"key_of_another_curve": func(encoding.KeyID) (*ecdh.PrivateKey, bool) { return p256, true },
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if _, err := OpenKeybox(priv, testContext, box); !errors.Is(err, ErrKey) {
				t.Errorf("%v, want ErrKey", err)
			}
		})
	}
	t.Run("rejects/box_of_another_key_under_this_id", func(t *testing.T) {
		other, err := SealKeybox(mustX25519(7).PublicKey().Bytes(), testContext, testKeybox)
		if err != nil {
			t.Fatal(err)
		}
		copy(other[1:9], box[1:9])
		if _, err := OpenKeybox(ring, testContext, other); !errors.Is(err, ErrOpen) {
			t.Errorf("%v, want ErrOpen", err)
		}
	})
}

func TestSealKeyboxRejects(t *testing.T) {
	public := testHPKE.PublicKey().Bytes()
	edit := func(f func(*Keybox)) Keybox { k := testKeybox; f(&k); return k }
	for reason, v := range map[string]struct {
		keybox Keybox
		want   FieldError
	}{
		"reference_too_long":     {edit(func(k *Keybox) { k.Reference = strings.Repeat("r", 59) }), FieldError{"reference", FieldTooLong, 58}},
		"reference_not_utf8":     {edit(func(k *Keybox) { k.Reference = "\xff" }), FieldError{"reference", FieldText, 0}},
		"reference_with_control": {edit(func(k *Keybox) { k.Reference = "a\tb" }), FieldError{"reference", FieldText, 0}},
		"no_birthday":            {edit(func(k *Keybox) { k.Birthday23 = encoding.Date{} }), FieldError{"birthday23", FieldMissing, 0}},
		"impossible_birthday":    {edit(func(k *Keybox) { k.Birthday23 = encoding.Date{Year: 2035, Month: 2, Day: 30} }), FieldError{"birthday23", FieldMissing, 0}},
		"birthday_of_five_digits": {edit(func(k *Keybox) { k.Birthday23 = encoding.Date{Year: 10_000, Month: 1, Day: 1} }),
			FieldError{"birthday23", FieldMissing, 0}},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			_, err := SealKeybox(public, testContext, v.keybox)
			if f, ok := errors.AsType[*FieldError](err); !ok || *f != v.want {
				t.Errorf("%v, want %v", err, &v.want)
			}
		})
	}
	for reason, pub := range map[string][]byte{
		"key_missing": nil, "key_cut_short": public[:31], "key_too_long": append(bytes.Clone(public), 0), "key_of_low_order": make([]byte, 32),
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if _, err := SealKeybox(pub, testContext, testKeybox); !errors.Is(err, ErrKey) {
				t.Errorf("%v, want ErrKey", err)
			}
		})
	}
}

func TestDecodeKeyboxRejects(t *testing.T) {
	good, err := testKeybox.encode()
	if err != nil {
		t.Fatal(err)
	}
	edit := func(f func([]byte)) []byte { p := bytes.Clone(good); f(p); return p }
	birthday := func(n uint32) []byte {
		return edit(func(p []byte) { binary.BigEndian.PutUint32(p[65:], n) })
	}
	end := keyboxFixed + len(testKeybox.Reference)
	for reason, v := range map[string]struct {
		plain []byte
		want  error
	}{
		"cut_short":               {good[:127], ErrLength},
		"longer":                  {append(bytes.Clone(good), 0), ErrLength},
		"version_0":               {edit(func(p []byte) { p[0] = 0 }), ErrVersion},
		"version_2":               {edit(func(p []byte) { p[0] = 2 }), ErrVersion},
		"no_birthday":             {birthday(0), ErrMalformed},
		"birthday_30_february":    {birthday(20350230), ErrMalformed},
		"birthday_of_five_digits": {birthday(100000101), ErrMalformed},
		"birthday_month_13":       {birthday(20351301), ErrMalformed},
		"reference_too_long":      {edit(func(p []byte) { p[69] = MaxReference + 1 }), ErrMalformed},
		"reference_255":           {edit(func(p []byte) { p[69] = 255 }), ErrMalformed},
		"reference_one_less":      {edit(func(p []byte) { p[69]-- }), ErrPadding},
		"reference_one_more":      {edit(func(p []byte) { p[69]++ }), ErrMalformed}, // a NUL in it
		"reference_not_utf8":      {edit(func(p []byte) { p[70] = 0xff }), ErrMalformed},
		"padding_first_byte_set":  {edit(func(p []byte) { p[end] = 1 }), ErrPadding},
		"padding_last_byte_set":   {edit(func(p []byte) { p[127] = 1 }), ErrPadding},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if _, err := decodeKeybox(v.plain); !errors.Is(err, v.want) {
				t.Errorf("%v, want %v", err, v.want)
			}
		})
	}
}

func FuzzKeyboxPlain(f *testing.F) {
	good, err := testKeybox.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(make([]byte, keyboxPlain))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, plain []byte) {
		k, err := decodeKeybox(plain)
		if err != nil {
			return
		}
		if got, err := k.encode(); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%x becomes %x, %v", plain, got, err)
		}
	})
}

// knownBox was sealed once: keyboxes outlive the software that sealed them.
const knownBox = "0144c994fe12247579a5c42715c61d9fcd378107b12e115211d7722509b97a3a3446ea08ef" +
	"ea000e50d480d2c01a5386bf277e055ec7bcd3f218137cde38c7ae92dbb8828a54f0ac00cb" +
	"2457d35bc4c757bb007ac5cbdba8cca353cff096c44652e1ae675ce3c3db459eaf68624e89" +
	"a1f12b9a767cfa8161a57a0bb871d73ce0cdb88da738544a00892cb8b05293b23c3f735449" +
	"e0784bb3a8f05831b911dcd84d8f5283f48a0e0e870fb1e42d3c4ed541970d7d9ca72213c1"

func TestKnownKeybox(t *testing.T) {
	box, err := hex.DecodeString(knownBox)
	if err != nil {
		t.Fatal(err)
	}
	if k, err := OpenKeybox(ring, testContext, box); err != nil || k != testKeybox {
		t.Errorf("another keybox comes out, %v", err)
	}
}

func FuzzOpenKeybox(f *testing.F) {
	// Not sealed here: each process of the fuzzer would have another one.
	box, err := hex.DecodeString(knownBox)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(box)
	f.Add(box[:1])
	f.Add(append([]byte{2}, box[1:]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := OpenKeybox(ring, testContext, b); err == nil && !bytes.Equal(b, box) {
			t.Errorf("%x opens", b)
		}
	})
}
