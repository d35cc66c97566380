// SPDX-License-Identifier: EUPL-1.2

package atrest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

func testKey(t testing.TB, generation byte, fill byte) Key {
	t.Helper()
	k, err := NewKey(generation, bytes.Repeat([]byte{fill}, RootSize))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestRoundTrip(t *testing.T) {
	k := testKey(t, 7, 1)
	for _, n := range []int{0, 1, 16, 4096} {
		plaintext := bytes.Repeat([]byte{9}, n)
		sealed, err := k.Seal("signals", []byte("row"), plaintext)
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed) != n+Overhead || sealed[0] != 7 {
			t.Errorf("%d bytes become %d, generation %d", n, len(sealed), sealed[0])
		}
		opened, err := k.Open("signals", []byte("row"), sealed)
		if err != nil || !bytes.Equal(opened, plaintext) {
			t.Errorf("%d bytes: %v", n, err)
		}
		again, err := k.Seal("signals", []byte("row"), plaintext)
		if err != nil || bytes.Equal(again, sealed) {
			t.Errorf("%d bytes: sealed twice alike, %v", n, err)
		}
	}
}

// knownRow was sealed once, so that a change of format cannot go unseen: a database
// of an earlier release must open.
const knownRow = "078b2dfbce5bc0ef461aeb6d72fe4a046af80231aa7aab8a7cac954bae980f266235a1e01bf3"

func TestKnownRow(t *testing.T) {
	sealed, _ := hex.DecodeString(knownRow)
	opened, err := testKey(t, 7, 1).Open("signals", []byte("row"), sealed)
	if err != nil || string(opened) != "plaintext" {
		t.Errorf("%q, %v", opened, err)
	}
}

func TestOpenRejects(t *testing.T) {
	k := testKey(t, 7, 1)
	sealed, err := k.Seal("signals", []byte("row"), []byte("plaintext"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		flipped := bytes.Clone(sealed)
		flipped[i] ^= 0x10
		if _, err := k.Open("signals", []byte("row"), flipped); !errors.Is(err, ErrOpen) {
			t.Errorf("byte %d flipped: %v, want ErrOpen", i, err)
		}
	}
	for reason, open := range map[string]func() ([]byte, error){
		"another_table":       func() ([]byte, error) { return k.Open("events", []byte("row"), sealed) },
		"another_row":         func() ([]byte, error) { return k.Open("signals", []byte("row2"), sealed) },
		"table_and_row_moved": func() ([]byte, error) { return k.Open("signalsr", []byte("ow"), sealed) },
		"another_root":        func() ([]byte, error) { return testKey(t, 7, 2).Open("signals", []byte("row"), sealed) },
		"another_generation":  func() ([]byte, error) { return testKey(t, 8, 1).Open("signals", []byte("row"), sealed) },
		"cut_short":           func() ([]byte, error) { return k.Open("signals", []byte("row"), sealed[:len(sealed)-1]) },
		"too_short_for_a_row": func() ([]byte, error) { return k.Open("signals", []byte("row"), sealed[:Overhead-1]) },
		"longer":              func() ([]byte, error) { return k.Open("signals", []byte("row"), append(bytes.Clone(sealed), 0)) },
		"empty":               func() ([]byte, error) { return k.Open("signals", []byte("row"), nil) },
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if _, err := open(); !errors.Is(err, ErrOpen) {
				t.Errorf("%v, want ErrOpen", err)
			}
		})
	}
}

func TestKeyRejects(t *testing.T) {
	for reason, n := range map[string]int{"root_empty": 0, "root_cut_short": RootSize - 1, "root_too_long": RootSize + 1} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if _, err := NewKey(1, make([]byte, n)); !errors.Is(err, ErrRoot) {
				t.Errorf("%v, want ErrRoot", err)
			}
		})
	}
	t.Run("rejects/key_without_root", func(t *testing.T) {
		if _, err := (Key{}).Seal("signals", nil, nil); !errors.Is(err, ErrRoot) {
			t.Errorf("%v, want ErrRoot", err)
		}
	})
	t.Run("rejects/row_key_longer_than_a_field", func(t *testing.T) {
		if _, err := testKey(t, 1, 1).Seal("signals", make([]byte, 1<<16), nil); !errors.Is(err, encoding.ErrFieldTooLong) {
			t.Errorf("%v, want ErrFieldTooLong", err)
		}
	})
}

func TestRootIsCopied(t *testing.T) {
	root := bytes.Repeat([]byte{1}, RootSize)
	k, err := NewKey(7, root)
	if err != nil {
		t.Fatal(err)
	}
	clear(root)
	sealed, _ := hex.DecodeString(knownRow)
	if _, err := k.Open("signals", []byte("row"), sealed); err != nil {
		t.Error("the key changed with the caller's slice")
	}
}

func TestRedaction(t *testing.T) {
	root := []byte("\xfa\xfb\xfc\xfd\xfe\xff\xfa\xfb\xfc\xfd\xfe\xff\xfa\xfb\xfc\xfd\xfe\xff\xfa\xfb\xfc\xfd\xfe\xff\xfa\xfb\xfc\xfd\xfe\xff\xfa\xfb")
	k, err := NewKey(7, root)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	hidden := struct{ key Key }{k} // fmt calls no methods on an unexported field
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d"} {
		fmt.Fprintf(&out, verb+" "+verb+" "+verb+"\n", k, &k, hidden)
	}
	text, err := json.Marshal(map[string]any{"key": k})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	slog.New(slog.NewTextHandler(&out, nil)).Info("event", "key", k)
	for _, leak := range []string{"fafbfcfd", "FAFBFCFD", "250 251 252", "0xfa, 0xfb", "\xfa\xfb\xfc"} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("%q is in\n%s", leak, &out)
		}
	}
	if !strings.Contains(out.String(), "[row key]") {
		t.Errorf("[row key] is not in\n%s", &out)
	}
}

func FuzzOpen(f *testing.F) {
	k := testKey(f, 7, 1)
	sealed, _ := hex.DecodeString(knownRow)
	f.Add([]byte(nil))
	f.Add(sealed)
	f.Add(sealed[:Overhead])
	f.Fuzz(func(t *testing.T, b []byte) {
		if opened, err := k.Open("signals", []byte("row"), b); err == nil && !bytes.Equal(b, sealed) {
			t.Errorf("a row that was never sealed opens: %q", opened)
		}
	})
}

func TestGenerations(t *testing.T) {
	first, second, third := testKey(t, 1, 1), testKey(t, 2, 2), testKey(t, 3, 3)
	older, err := second.After(first)
	if err != nil {
		t.Fatal(err)
	}
	all, err := third.After(older)
	if err != nil {
		t.Fatal(err)
	}
	for _, by := range []Key{first, second, older, third, all} {
		sealed, err := by.Seal("signals", []byte("row"), []byte("plaintext"))
		if err != nil || sealed[0] != by.Generation() {
			t.Fatalf("generation %d, %v; want %d", sealed[0], err, by.Generation())
		}
		if opened, err := all.Open("signals", []byte("row"), sealed); err != nil || string(opened) != "plaintext" {
			t.Errorf("generation %d: %v", by.Generation(), err)
		}
		if _, err := third.Open("signals", []byte("row"), sealed); (err == nil) != (by.Generation() == 3) {
			t.Errorf("generation %d under the third alone: %v", by.Generation(), err)
		}
		sealed[0] = sealed[0]%3 + 1
		if _, err := all.Open("signals", []byte("row"), sealed); !errors.Is(err, ErrOpen) {
			t.Errorf("under another generation's root: %v, want ErrOpen", err)
		}
	}
	t.Run("rejects/generation_twice", func(t *testing.T) {
		if _, err := all.After(testKey(t, 2, 9)); !errors.Is(err, ErrTwice) {
			t.Errorf("%v, want ErrTwice", err)
		}
	})
	if s := fmt.Sprintf("%v %+v %#v %s", all, all, all, struct{ k Key }{all}); strings.Contains(s, string(bytes.Repeat([]byte{1}, 4))) {
		t.Error("a root is printed")
	}
}
