// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// One wrong digit and two neighbours swapped are what people do. The 11-test and
// the check modulo 97 find every single wrong digit.
func TestCheckDigitsFindEveryWrongDigit(t *testing.T) {
	for name, v := range map[string]struct {
		number string
		check  func(string) bool
	}{
		"bsn":       {"123456782", checkBSN},
		"insz_2000": {"12030400184", func(s string) bool { c, ok := checkINSZ(s); return ok && c == 2000 }},
		"insz_1900": {insz("850730033", 1900), func(s string) bool { c, ok := checkINSZ(s); return ok && c == 1900 }},
	} {
		t.Run(name, func(t *testing.T) {
			if !v.check(v.number) {
				t.Fatal("the number itself does not pass")
			}
			for i := range v.number {
				for d := byte('0'); d <= '9'; d++ {
					wrong := []byte(v.number)
					wrong[i] = d
					if d != v.number[i] && v.check(string(wrong)) {
						t.Errorf("%s passes", wrong)
					}
				}
			}
		})
	}
}

// The example of the Rijksregister, and of the BSN's own documentation.
func TestPublishedExamples(t *testing.T) {
	if c, ok := checkINSZ("85073003328"); !ok || c != 1900 {
		t.Errorf("85073003328: %d %v", c, ok)
	}
	for _, bsn := range []string{"111222333", "999990019", "123456782"} {
		if !checkBSN(bsn) {
			t.Errorf("%s does not pass", bsn)
		}
	}
}

// checkINSZ may take the first century that fits, as no number fits both.
func TestCenturiesNeverBothFit(t *testing.T) {
	for first := range 97 {
		if first%97 == (2_000_000_000+first)%97 {
			t.Errorf("remainder %d has the same check digits in both centuries", first)
		}
	}
	for first := 0; first < 1_000_000_000; first += 9_999_991 {
		nine := fmt.Sprintf("%09d", first)
		for _, century := range []int{1900, 2000} {
			if got, ok := checkINSZ(insz(nine, century)); !ok || got != century {
				t.Errorf("%s of %d is taken for %d, %v", nine, century, got, ok)
			}
		}
	}
}

func TestHasNumber(t *testing.T) {
	id, err := Parse(BSN, "123456782", day("2012-03-04"), today)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		"123456782": true, "1234.567.82": true, "123 456 782": true, "BSN 123-456-782": true, "dossier 123456782/b": true,
		"": false, "123456783": false, "12345678": false, "D-2026-0042": false, "123456_782": false,
	} {
		if got := id.HasNumber(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestLooksLikeNumber(t *testing.T) {
	for text, want := range map[string]bool{
		"123456782": true, "1234.567.82": true, "dossier 123456782": true, "D123456782/2026": true,
		"12.03.04-001.84": true, "12030400184": true, "850730-033.28": true,
		"dossier 2026 123456782": true,
		"":                       false, "D-2026-0042": false, "123456783": false, "000000000": false,
		"12345678": false, "1234567820": false, "12030400185": false, "geen nummer": false,
	} {
		if got := LooksLikeNumber(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, kind := range []string{"nl-bsn", "be-insz"} {
		for _, number := range []string{"123456782", "1234.567.82", "12.03.04-001.84", insz("120000001", 2000), "", "٣"} {
			f.Add(kind, number, 2012, 3, 4)
			f.Add(kind, number, 0, 0, 0)
		}
	}
	f.Fuzz(func(t *testing.T, kind, number string, year, month, d int) {
		birth := encoding.Date{Year: year, Month: time.Month(month), Day: d}
		id, err := Parse(Kind(kind), number, birth, today)
		if err != nil {
			if len(Faults(err)) == 0 {
				t.Errorf("an error without a fault: %v", err)
			}
			return
		}
		if id.Cohort() < 2003 || id.Cohort() > 2026 || id.Birthday23().Compare(today) <= 0 {
			t.Errorf("cohort %d, 23 on %v", id.Cohort(), id.Birthday23())
		}
		if !id.HasNumber(number) || !LooksLikeNumber(number) {
			t.Error("does not recognise its own number")
		}
		// However it was written, it is the same child when written without
		// separators.
		again, err := Parse(Kind(kind), stripSeparators(number), birth, today)
		if err != nil || again.fields() != id.fields() {
			t.Errorf("another identity without separators: %v", err)
		}
		stored, err := id.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if read, err := Unmarshal(stored); err != nil || read.fields() != id.fields() {
			t.Errorf("another identity comes back: %v", err)
		}
	})
}

func FuzzUnmarshal(f *testing.F) {
	for _, v := range []struct {
		kind          Kind
		number, birth string
	}{{BSN, "123456782", "2012-03-04"}, {INSZ, "12030400184", "2012-03-05"}, {INSZ, insz("120000001", 2000), ""}} {
		id, err := Parse(v.kind, v.number, day(v.birth), today)
		if err != nil {
			f.Fatal(err)
		}
		stored, err := id.MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(stored)
	}
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, err := Unmarshal(b)
		if err != nil {
			return
		}
		if got, err := id.MarshalBinary(); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%x becomes %x, %v", b, got, err)
		}
	})
}
