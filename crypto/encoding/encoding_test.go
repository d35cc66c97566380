// SPDX-License-Identifier: EUPL-1.2

package encoding

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func mustE(t testing.TB, first string, rest ...[]byte) []byte {
	t.Helper()
	b, err := E(first, rest...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestE(t *testing.T) {
	at := time.Date(2026, 7, 1, 11, 30, 0, 999_999_999, time.FixedZone("", 2*3600))
	for name, v := range map[string]struct {
		got  []byte
		want string
	}{
		"label_alone": {mustE(t, "ab"), "\x00\x02ab"},
		"empty":       {mustE(t, ""), "\x00\x00"},
		"absent":      {mustE(t, "a", nil, []byte("b")), "\x00\x01a\x00\x00\x00\x01b"},
		"integers":    {mustE(t, "a", Int(0), Int(10), Int(1<<64-1)), "\x00\x01a\x00\x010\x00\x0210\x00\x1418446744073709551615"},
		"date":        {mustE(t, "a", Date{2026, 7, 1}.Field()), "\x00\x01a\x00\x0a2026-07-01"},
		"no_date":     {mustE(t, "a", Date{}.Field()), "\x00\x01a\x00\x00"},
		"time":        {mustE(t, "a", Time(at)), "\x00\x01a\x00\x142026-07-01T09:30:00Z"},
		"utf8":        {mustE(t, "é"), "\x00\x02\xc3\xa9"},
	} {
		t.Run(name, func(t *testing.T) {
			if string(v.got) != v.want {
				t.Errorf("%q, want %q", v.got, v.want)
			}
		})
	}
	t.Run("longest_field", func(t *testing.T) {
		b := mustE(t, "a", make([]byte, MaxField))
		d := NewDecoder(b)
		d.Expect("a")
		if f := d.Bytes(); len(f) != MaxField || d.Done() != nil {
			t.Errorf("%d bytes, %v", len(f), d.Done())
		}
	})
	t.Run("rejects/field_too_long", func(t *testing.T) {
		for _, f := range []func() ([]byte, error){
			func() ([]byte, error) { return E("a", make([]byte, MaxField+1), []byte("b")) },
			func() ([]byte, error) { return E(strings.Repeat("a", MaxField+1)) },
		} {
			if b, err := f(); !errors.Is(err, ErrFieldTooLong) || b != nil {
				t.Errorf("%d bytes, %v; want ErrFieldTooLong", len(b), err)
			}
		}
	})
	// The reason for lengths: fields that differ never run into the same bytes.
	t.Run("keeps_fields_apart", func(t *testing.T) {
		if bytes.Equal(mustE(t, "ab", []byte("c")), mustE(t, "a", []byte("bc"))) {
			t.Error("two lists of fields have one encoding")
		}
	})
}

func TestDecoder(t *testing.T) {
	at := time.Date(2026, 7, 1, 9, 30, 0, 0, time.UTC)
	d := NewDecoder(mustE(t, "label", []byte("text"), Int(42), Time(at), Date{2026, 7, 1}.Field(), nil, []byte{1, 2, 3}, []byte{4, 5}))
	d.Expect("label")
	text, n, when, date, noDate := d.String(), d.Int(), d.Time(), d.Date(), d.Date()
	var fixed [3]byte
	d.Fixed(fixed[:])
	if !d.More() {
		t.Error("nothing more, before the last field")
	}
	last := d.Bytes()
	if err := d.Done(); err != nil {
		t.Fatal(err)
	}
	if text != "text" || n != 42 || !when.Equal(at) || date != (Date{2026, 7, 1}) || !noDate.IsZero() || fixed != [3]byte{1, 2, 3} || !bytes.Equal(last, []byte{4, 5}) || d.More() {
		t.Errorf("read %q %d %v %v %v %v %v", text, n, when, date, noDate, fixed, last)
	}
}

func TestDecoderRejects(t *testing.T) {
	field := func(s string) []byte { return mustE(t, s) }
	for reason, v := range map[string]struct {
		b    []byte
		read func(*Decoder)
	}{
		"nothing":                 {nil, func(d *Decoder) { d.Bytes() }},
		"half_a_length":           {[]byte{0}, func(d *Decoder) { d.Bytes() }},
		"field_cut_short":         {[]byte{0, 2, 'a'}, func(d *Decoder) { d.Bytes() }},
		"trailing_byte":           {append(field("a"), 0), func(d *Decoder) { d.Bytes() }},
		"trailing_field":          {append(field("a"), field("")...), func(d *Decoder) { d.Bytes() }},
		"another_label":           {field("b"), func(d *Decoder) { d.Expect("a") }},
		"label_with_a_tail":       {field("ab"), func(d *Decoder) { d.Expect("a") }},
		"fixed_too_short":         {field("ab"), func(d *Decoder) { d.Fixed(make([]byte, 3)) }},
		"fixed_too_long":          {field("abcd"), func(d *Decoder) { d.Fixed(make([]byte, 3)) }},
		"fixed_absent":            {field(""), func(d *Decoder) { d.Fixed(make([]byte, 3)) }},
		"text_not_utf8":           {field("a\xff"), func(d *Decoder) { _ = d.String() }},
		"number_empty":            {field(""), func(d *Decoder) { d.Int() }},
		"number_with_zero_before": {field("01"), func(d *Decoder) { d.Int() }},
		"number_with_plus":        {field("+1"), func(d *Decoder) { d.Int() }},
		"number_negative":         {field("-1"), func(d *Decoder) { d.Int() }},
		"number_too_big":          {field("18446744073709551616"), func(d *Decoder) { d.Int() }},
		"number_with_underscore":  {field("1_0"), func(d *Decoder) { d.Int() }},
		"time_empty":              {field(""), func(d *Decoder) { d.Time() }},
		"time_with_fraction":      {field("2026-07-01T09:30:00.5Z"), func(d *Decoder) { d.Time() }},
		"time_with_zone":          {field("2026-07-01T09:30:00+00:00"), func(d *Decoder) { d.Time() }},
		"time_lower_case":         {field("2026-07-01t09:30:00z"), func(d *Decoder) { d.Time() }},
		"time_leap_second":        {field("2026-06-30T23:59:60Z"), func(d *Decoder) { d.Time() }},
		"date_impossible":         {field("2026-02-30"), func(d *Decoder) { d.Date() }},
		"date_short":              {field("2026-7-1"), func(d *Decoder) { d.Date() }},
		"date_with_time":          {field("2026-07-01T00:00:00Z"), func(d *Decoder) { d.Date() }},
		"fault_of_the_caller":     {field("a"), func(d *Decoder) { d.Bytes(); d.Fail("a is not wanted") }},
		"fault_before_good_fields": {append(field("01"), field("a")...), func(d *Decoder) {
			d.Int()
			if d.More() || d.Bytes() != nil || d.String() != "" || d.Int() != 0 || !d.Time().IsZero() || !d.Date().IsZero() {
				t.Error("something is read after a fault")
			}
		}},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			d := NewDecoder(v.b)
			v.read(d)
			if err := d.Done(); !errors.Is(err, ErrMalformed) {
				t.Errorf("%v, want ErrMalformed", err)
			}
		})
	}
	t.Run("reports_the_first_fault", func(t *testing.T) {
		d := NewDecoder(field("a"))
		d.Fail("first")
		d.Fail("second")
		if err := d.Done(); !strings.Contains(err.Error(), "first") {
			t.Error(err)
		}
	})
}

func TestParseDateRejects(t *testing.T) {
	for reason, s := range map[string]string{
		"empty": "", "one_digit_month": "2026-7-01", "no_such_day": "2026-02-29", "day_zero": "2026-07-00", "month_13": "2026-13-01",
		"two_digit_year": "26-07-01", "five_digit_year": "12026-07-01", "spaces": " 2026-07-01", "slashes": "2026/07/01", "time": "2026-07-01T00:00:00Z",
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if d, err := ParseDate(s); !errors.Is(err, ErrMalformed) || !d.IsZero() {
				t.Errorf("%v, %v; want ErrMalformed", d, err)
			}
		})
	}
}

func TestDate(t *testing.T) {
	d := Date{2024, 2, 29}
	if got := d.AddDate(23, 0, 0); got != (Date{2047, 3, 1}) {
		t.Errorf("23 years later is %v", got)
	}
	if got := d.AddDate(0, 0, 1); got != (Date{2024, 3, 1}) {
		t.Errorf("a day later is %v", got)
	}
	if d.Compare(Date{2024, 3, 1}) >= 0 || d.Compare(Date{2024, 2, 28}) <= 0 || d.Compare(d) != 0 {
		t.Error("dates are out of order")
	}
	amsterdam := time.FixedZone("", 2*3600)
	if got := d.In(amsterdam).UTC(); !got.Equal(time.Date(2024, 2, 28, 22, 0, 0, 0, time.UTC)) {
		t.Errorf("the day begins at %v", got)
	}
	if got := DateOf(time.Date(2024, 2, 28, 22, 0, 0, 0, time.UTC).In(amsterdam)); got != d {
		t.Errorf("that instant is on %v", got)
	}
}

func TestDateJSON(t *testing.T) {
	for text, want := range map[string]Date{`"2026-07-01"`: {2026, 7, 1}, `""`: {}} {
		var d Date
		if err := json.Unmarshal([]byte(text), &d); err != nil || d != want {
			t.Errorf("%s: %v, %v", text, d, err)
		}
		if again, err := json.Marshal(d); err != nil || string(again) != text {
			t.Errorf("%s becomes %s, %v", text, again, err)
		}
	}
	for reason, text := range map[string]string{"number": `20260701`, "impossible": `"2026-02-30"`, "object": `{}`} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			var d Date
			if err := json.Unmarshal([]byte(text), &d); !errors.Is(err, ErrMalformed) {
				t.Errorf("%v, want ErrMalformed", err)
			}
		})
	}
}

func TestBase64(t *testing.T) {
	for text, want := range map[string][]byte{`""`: {}, `"AA=="`: {0}, `"//79"`: {0xff, 0xfe, 0xfd}, `"\/\/79"`: {0xff, 0xfe, 0xfd}} {
		var b Base64
		if err := json.Unmarshal([]byte(text), &b); err != nil || !bytes.Equal(b, want) {
			t.Errorf("%s: %x, %v", text, b, err)
		}
	}
	if text, err := json.Marshal(Base64{0xff, 0xfe}); err != nil || string(text) != `"//4="` {
		t.Errorf("%s, %v", text, err)
	}
	for reason, text := range map[string]string{
		"no_padding": `"AA"`, "bits_behind_the_last_byte": `"AB=="`, "line_break": `"AA\n=="`, "carriage_return": `"AA==\r"`,
		"url_alphabet": `"__79"`, "space": `"AA == "`, "padding_too_much": `"AA==="`, "two_texts": `"AA==AA=="`, "not_text": `1`, "list": `[0]`,
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			var b Base64
			if err := json.Unmarshal([]byte(text), &b); !errors.Is(err, ErrMalformed) {
				t.Errorf("%v, want ErrMalformed", err)
			}
		})
	}
}

func TestKeyID(t *testing.T) {
	// SHA-256 of "abc", FIPS 180-2 appendix B.1.
	if got := KeyIDOf([]byte("abc")).String(); got != "ba7816bf8f01cfea" {
		t.Errorf("%s", got)
	}
}

func TestParseHexRejects(t *testing.T) {
	for reason, text := range map[string]string{"upper_case": "AB", "too_short": "a", "too_long": "abab", "not_hex": "xy", "empty": ""} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			var b [1]byte
			if err := ParseHex(b[:], []byte(text)); !errors.Is(err, ErrMalformed) || b != [1]byte{} {
				t.Errorf("%x, %v; want ErrMalformed", b, err)
			}
		})
	}
}

// FuzzDecoder reads any bytes as fields, each by the first kind that takes it, and
// writes them again.
func FuzzDecoder(f *testing.F) {
	f.Add(mustE(f, "seinhuis/1/id", []byte("demo"), Int(1), Int(0), Time(time.Unix(0, 0)), Date{2026, 7, 1}.Field(), nil, []byte{0xff}))
	f.Add(mustE(f, "01", []byte("2026-02-30"), []byte("2026-07-01T09:30:00.5Z")))
	f.Add([]byte{0, 2, 'a'})
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var fields [][]byte
		d := NewDecoder(b)
		for d.More() {
			fields = append(fields, d.Bytes())
		}
		if d.Done() != nil || len(fields) == 0 {
			return
		}
		if got, err := E(string(fields[0]), fields[1:]...); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%x becomes %x, %v", b, got, err)
		}
		for _, field := range fields {
			one := mustE(t, string(field))
			for kind, read := range map[string]func(*Decoder) []byte{
				"text":   func(d *Decoder) []byte { return []byte(d.String()) },
				"number": func(d *Decoder) []byte { return Int(d.Int()) },
				"time":   func(d *Decoder) []byte { return Time(d.Time()) },
				"date":   func(d *Decoder) []byte { return d.Date().Field() },
			} {
				d := NewDecoder(one)
				if got := read(d); d.Done() == nil && !bytes.Equal(got, field) {
					t.Errorf("as a %s %q becomes %q", kind, field, got)
				}
			}
		}
	})
}

func FuzzDate(f *testing.F) {
	for _, s := range []string{"2026-07-01", "0000-01-01", "0001-01-01", "9999-12-31", "2024-02-29", "2026-02-30", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDate(s)
		if err != nil {
			return
		}
		if d.String() != s || string(d.Field()) != s || d.IsZero() {
			t.Errorf("%q becomes %q", s, d)
		}
		if again := DateOf(d.In(time.UTC)); again != d {
			t.Errorf("%q is another day, %v", s, again)
		}
	})
}

func FuzzBase64(f *testing.F) {
	for _, s := range []string{"", "AA==", "AAA=", "//79", "AB==", "AA", "AA\n=="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		raw, err := ParseBase64(s)
		if err != nil {
			return
		}
		text, err := json.Marshal(Base64(raw))
		if err != nil || string(text) != `"`+s+`"` {
			t.Errorf("%q becomes %s, %v", s, text, err)
		}
	})
}

func FuzzHex(f *testing.F) {
	for _, s := range []string{"", "0011223344556677", "001122334455667G", "AABBCCDDEEFF0011"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var id KeyID
		if id.UnmarshalText([]byte(s)) == nil && (id.String() != s || hex.EncodeToString(id[:]) != s) {
			t.Errorf("%q becomes %q", s, id)
		}
	})
}
