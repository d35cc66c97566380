// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// today is the day on which these tests are.
var today = day("2026-07-01")

func day(s string) encoding.Date {
	if s == "" {
		return encoding.Date{}
	}
	d, err := encoding.ParseDate(s)
	if err != nil {
		panic(err)
	}
	return d
}

// insz puts the check digits behind the first nine of an INSZ number.
func insz(first string, century int) string {
	n := decimal(first)
	if century == 2000 {
		n += 2_000_000_000
	}
	return fmt.Sprintf("%s%02d", first, 97-n%97)
}

func TestCanonical(t *testing.T) {
	for name, v := range map[string]struct {
		kind          Kind
		number, birth string
		want          string
	}{
		"bsn":             {BSN, "123456782", "2012-03-04", "\x00\x0dseinhuis/1/id\x00\x04demo\x00\x06nl-bsn\x00\x017\x00\x042012\x00\x09123456782"},
		"bsn_with_dots":   {BSN, "1234.567.82", "2012-03-04", "\x00\x0dseinhuis/1/id\x00\x04demo\x00\x06nl-bsn\x00\x017\x00\x042012\x00\x09123456782"},
		"bsn_with_spaces": {BSN, " 123 456\u00a0782\n", "2012-03-04", "\x00\x0dseinhuis/1/id\x00\x04demo\x00\x06nl-bsn\x00\x017\x00\x042012\x00\x09123456782"},
		// The birth date counts by its year alone.
		"bsn_other_day":   {BSN, "123456782", "2012-12-31", "\x00\x0dseinhuis/1/id\x00\x04demo\x00\x06nl-bsn\x00\x017\x00\x042012\x00\x09123456782"},
		"insz":            {INSZ, "12030400184", "", "\x00\x0dseinhuis/1/id\x00\x04demo\x00\x07be-insz\x00\x017\x00\x042012\x00\x0b12030400184"},
		"insz_as_written": {INSZ, "12.03.04-001.84", "2012-03-04", "\x00\x0dseinhuis/1/id\x00\x04demo\x00\x07be-insz\x00\x017\x00\x042012\x00\x0b12030400184"},
		// A BIS month stays in the value as written.
		"bis": {INSZ, insz("124304001", 2000), "", "\x00\x0dseinhuis/1/id\x00\x04demo\x00\x07be-insz\x00\x017\x00\x042012\x00\x0b" + insz("124304001", 2000)},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := Parse(v.kind, v.number, day(v.birth), today)
			if err != nil {
				t.Fatal(err)
			}
			got, err := id.Canonical("demo", 7)
			if err != nil || string(got) != v.want {
				t.Errorf("%q, %v; want %q", got, err, v.want)
			}
		})
	}
	t.Run("cohort_has_four_digits", func(t *testing.T) {
		id, err := Parse(BSN, "123456782", day("0990-03-04"), day("0999-01-01"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := id.Canonical("demo", 7); err != nil || !strings.Contains(string(got), "\x00\x040990") {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("rejects/nobody", func(t *testing.T) {
		if _, err := (Identity{}).Canonical("demo", 7); err == nil {
			t.Error("the zero Identity has canonical bytes")
		}
	})
	t.Run("rejects/deployment_longer_than_a_field", func(t *testing.T) {
		id, err := Parse(BSN, "123456782", day("2012-03-04"), today)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := id.Canonical(strings.Repeat("a", 1<<16), 7); !errors.Is(err, encoding.ErrFieldTooLong) {
			t.Errorf("%v, want ErrFieldTooLong", err)
		}
	})
}

func TestParseRejects(t *testing.T) {
	const good = "123456782"
	for reason, v := range map[string]struct {
		kind          Kind
		number, birth string
		want          []Fault
	}{
		"no_kind":                      {"", good, "2012-03-04", []Fault{{FieldKind, RuleMissing}}},
		"kind_name_date":               {"name-date", good, "2012-03-04", []Fault{{FieldKind, RuleReserved}}},
		"kind_family":                  {"family", good, "2012-03-04", []Fault{{FieldKind, RuleReserved}}},
		"kind_unknown":                 {"nl-BSN", good, "2012-03-04", []Fault{{FieldKind, RuleUnknown}}},
		"bsn_missing":                  {BSN, "", "2012-03-04", []Fault{{FieldNumber, RuleMissing}}},
		"bsn_only_separators":          {BSN, " .-", "2012-03-04", []Fault{{FieldNumber, RuleMissing}}},
		"bsn_with_a_letter":            {BSN, "12345678X", "2012-03-04", []Fault{{FieldNumber, RuleDigits}}},
		"bsn_with_a_slash":             {BSN, "123456/782", "2012-03-04", []Fault{{FieldNumber, RuleDigits}}},
		"bsn_in_other_digits":          {BSN, "١٢٣٤٥٦٧٨٢", "2012-03-04", []Fault{{FieldNumber, RuleDigits}}},
		"bsn_of_8_digits":              {BSN, "12345672", "2012-03-04", []Fault{{FieldNumber, RuleLength}}},
		"bsn_of_10_digits":             {BSN, "0123456782", "2012-03-04", []Fault{{FieldNumber, RuleLength}}},
		"bsn_that_is_an_insz":          {BSN, "12030400184", "2012-03-04", []Fault{{FieldNumber, RuleLength}}},
		"bsn_one_digit_off":            {BSN, "123456783", "2012-03-04", []Fault{{FieldNumber, RuleCheckDigits}}},
		"bsn_two_digits_swapped":       {BSN, "123465782", "2012-03-04", []Fault{{FieldNumber, RuleCheckDigits}}},
		"bsn_zero":                     {BSN, "000000000", "2012-03-04", []Fault{{FieldNumber, RuleCheckDigits}}},
		"bsn_without_birth_date":       {BSN, good, "", []Fault{{FieldBirthDate, RuleMissing}}},
		"bsn_turns_23_today":           {BSN, good, "2003-07-01", []Fault{{FieldBirthDate, RuleAdult}}},
		"bsn_long_over_23":             {BSN, good, "1961-07-01", []Fault{{FieldBirthDate, RuleAdult}}},
		"bsn_born_tomorrow":            {BSN, good, "2026-07-02", []Fault{{FieldBirthDate, RuleFuture}}},
		"bsn_and_birth_date_both":      {BSN, "123456783", "2026-07-02", []Fault{{FieldNumber, RuleCheckDigits}, {FieldBirthDate, RuleFuture}}},
		"bsn_and_birth_date_missing":   {BSN, "", "", []Fault{{FieldNumber, RuleMissing}, {FieldBirthDate, RuleMissing}}},
		"insz_missing":                 {INSZ, "", "", []Fault{{FieldNumber, RuleMissing}}},
		"insz_of_10_digits":            {INSZ, "1203040014", "", []Fault{{FieldNumber, RuleLength}}},
		"insz_that_is_a_bsn":           {INSZ, good, "2012-03-04", []Fault{{FieldNumber, RuleLength}}},
		"insz_one_digit_off":           {INSZ, "12030400185", "", []Fault{{FieldNumber, RuleCheckDigits}}},
		"insz_two_digits_swapped":      {INSZ, "12030410084", "", []Fault{{FieldNumber, RuleCheckDigits}}},
		"insz_month_13":                {INSZ, insz("121304001", 2000), "", []Fault{{FieldNumber, RuleDate}}},
		"insz_month_60":                {INSZ, insz("126004001", 2000), "", []Fault{{FieldNumber, RuleDate}}},
		"insz_bis_month_33":            {INSZ, insz("123304001", 2000), "", []Fault{{FieldNumber, RuleDate}}},
		"insz_day_32":                  {INSZ, insz("120332001", 2000), "", []Fault{{FieldNumber, RuleDate}}},
		"insz_day_32_month_unknown":    {INSZ, insz("120032001", 2000), "", []Fault{{FieldNumber, RuleDate}}},
		"insz_31_april":                {INSZ, insz("120431001", 2000), "", []Fault{{FieldNumber, RuleDate}}},
		"insz_29_february_no_leap":     {INSZ, insz("110229001", 2000), "", []Fault{{FieldNumber, RuleDate}}},
		"insz_turns_23_today":          {INSZ, insz("030701001", 2000), "", []Fault{{FieldNumber, RuleAdult}}},
		"insz_of_the_last_century":     {INSZ, insz("120304001", 1900), "", []Fault{{FieldNumber, RuleAdult}}},
		"insz_born_tomorrow":           {INSZ, insz("260702001", 2000), "", []Fault{{FieldNumber, RuleFuture}}},
		"insz_adult_whatever_is_given": {INSZ, insz("030701001", 2000), "2012-01-01", []Fault{{FieldNumber, RuleAdult}}},
		"insz_day_unknown_year_over":   {INSZ, insz("020000001", 2000), "", []Fault{{FieldNumber, RuleAdult}}},
		"insz_day_unknown_adult_given": {INSZ, insz("030000001", 2000), "2003-07-01", []Fault{{FieldBirthDate, RuleAdult}}},
		"insz_day_unknown_next_year":   {INSZ, insz("270000001", 2000), "", []Fault{{FieldNumber, RuleFuture}}},
		"insz_day_unknown_next_month":  {INSZ, insz("260800001", 2000), "", []Fault{{FieldNumber, RuleFuture}}},
		"insz_day_unknown_future_given": {INSZ, insz("260000001", 2000), "2026-07-02",
			[]Fault{{FieldBirthDate, RuleFuture}}},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			id, err := Parse(v.kind, v.number, day(v.birth), today)
			checkFaults(t, err, v.want)
			if id.Kind() != "" {
				t.Error("an identity comes with the error")
			}
			for _, secret := range []string{stripSeparators(v.number), v.birth, strings.ReplaceAll(v.birth, "-", "")} {
				if len(secret) > 3 && strings.Contains(fmt.Sprint(err), secret) {
					t.Errorf("the error repeats what was given: %v", err)
				}
			}
		})
	}

	t.Run("rejects/birth_date_that_never_was", func(t *testing.T) {
		never := encoding.Date{Year: 2012, Month: 2, Day: 30}
		_, err := Parse(BSN, good, never, today)
		checkFaults(t, err, []Fault{{FieldBirthDate, RuleDate}})
		_, err = Parse(INSZ, "12030400184", never, today)
		checkFaults(t, err, []Fault{{FieldBirthDate, RuleDate}})
		_, err = Parse(BSN, good, encoding.Date{Year: 10_000, Month: 1, Day: 1}, today)
		checkFaults(t, err, []Fault{{FieldBirthDate, RuleDate}})
	})
}

func checkFaults(t *testing.T, err error, want []Fault) {
	t.Helper()
	var got []Fault
	for _, f := range Faults(err) {
		got = append(got, *f)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if first, ok := errors.AsType[*Fault](err); len(want) > 0 && (!ok || *first != want[0]) {
		t.Errorf("errors.As finds %v, want %v", first, want[0])
	}
}

func TestFaultsOfOtherErrors(t *testing.T) {
	if got := Faults(nil); got != nil {
		t.Errorf("%v", got)
	}
	if got := Faults(errNobody); got != nil {
		t.Errorf("%v", got)
	}
	if got := Faults(fmt.Errorf("person 3: %w", &Fault{FieldNumber, RuleLength})); len(got) != 1 {
		t.Errorf("%v", got)
	}
}

// What becomes of the birth date: whose year is the cohort, from which day the
// 23rd birthday follows, and whether the professional is told to look again.
func TestBirthDate(t *testing.T) {
	for name, v := range map[string]struct {
		kind          Kind
		number, birth string
		cohort        int
		birthday23    string
		warned        bool
	}{
		"bsn":                            {BSN, "123456782", "2012-03-04", 2012, "2035-03-04", false},
		"bsn_born_today":                 {BSN, "123456782", "2026-07-01", 2026, "2049-07-01", false},
		"bsn_turns_23_tomorrow":          {BSN, "123456782", "2003-07-02", 2003, "2026-07-02", false},
		"bsn_29_february":                {BSN, "123456782", "2004-02-29", 2004, "2027-03-01", false},
		"bsn_28_february":                {BSN, "123456782", "2004-02-28", 2004, "2027-02-28", false},
		"insz":                           {INSZ, insz("120304001", 2000), "", 2012, "2035-03-04", false},
		"insz_same_date_given":           {INSZ, insz("120304001", 2000), "2012-03-04", 2012, "2035-03-04", false},
		"insz_other_date_given":          {INSZ, insz("120304001", 2000), "2012-03-05", 2012, "2035-03-04", true},
		"insz_other_year_given":          {INSZ, insz("120304001", 2000), "2011-03-04", 2012, "2035-03-04", true},
		"insz_future_date_given":         {INSZ, insz("120304001", 2000), "2030-01-01", 2012, "2035-03-04", true},
		"insz_adult_date_given":          {INSZ, insz("120304001", 2000), "1980-01-01", 2012, "2035-03-04", true},
		"insz_29_february":               {INSZ, insz("040229001", 2000), "", 2004, "2027-03-01", false},
		"insz_bis_20":                    {INSZ, insz("122304001", 2000), "2012-03-04", 2012, "2035-03-04", false},
		"insz_bis_40":                    {INSZ, insz("124304001", 2000), "2012-03-04", 2012, "2035-03-04", false},
		"insz_bis_december":              {INSZ, insz("125231001", 2000), "", 2012, "2035-12-31", false},
		"insz_day_unknown":               {INSZ, insz("120300001", 2000), "", 2012, "2035-12-31", false},
		"insz_date_unknown":              {INSZ, insz("120000001", 2000), "", 2012, "2035-12-31", false},
		"insz_date_unknown_serials_out":  {INSZ, insz("120001001", 2000), "", 2012, "2035-12-31", false},
		"insz_bis_date_unknown":          {INSZ, insz("122000001", 2000), "", 2012, "2035-12-31", false},
		"insz_bis_40_date_unknown":       {INSZ, insz("124000001", 2000), "", 2012, "2035-12-31", false},
		"insz_date_unknown_date_given":   {INSZ, insz("120000001", 2000), "2012-03-04", 2012, "2035-03-04", false},
		"insz_day_unknown_date_given":    {INSZ, insz("120300001", 2000), "2012-03-04", 2012, "2035-03-04", false},
		"insz_day_unknown_other_month":   {INSZ, insz("120300001", 2000), "2012-04-04", 2012, "2035-04-04", true},
		"insz_date_unknown_other_year":   {INSZ, insz("120000001", 2000), "2013-03-04", 2012, "2035-12-31", true},
		"insz_unknown_born_this_year":    {INSZ, insz("260000001", 2000), "", 2026, "2049-12-31", false},
		"insz_unknown_born_this_month":   {INSZ, insz("260700001", 2000), "", 2026, "2049-12-31", false},
		"insz_unknown_turns_23_sometime": {INSZ, insz("030000001", 2000), "", 2003, "2026-12-31", false},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := Parse(v.kind, v.number, day(v.birth), today)
			if err != nil {
				t.Fatal(err)
			}
			var warnings []Warning
			if v.warned {
				warnings = []Warning{WarnBirthDateDiffers}
			}
			if id.Kind() != v.kind || id.Cohort() != v.cohort || id.Birthday23() != day(v.birthday23) || !slices.Equal(id.Warnings(), warnings) {
				t.Errorf("cohort %d, 23rd birthday %v, warnings %v; want %d, %s, %v",
					id.Cohort(), id.Birthday23(), id.Warnings(), v.cohort, v.birthday23, warnings)
			}

			stored, err := id.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			read, err := Unmarshal(stored)
			if err != nil {
				t.Fatal(err)
			}
			if read.fields() != id.fields() {
				t.Error("another identity comes back from the queue")
			}
		})
	}
}

// The birthday itself, from both sides of midnight.
func TestEndsOnTheBirthday(t *testing.T) {
	for birth, birthday := range map[string]string{"2003-07-01": "2026-07-01", "2004-02-29": "2027-03-01", "2003-12-31": "2026-12-31"} {
		eve := day(birthday).AddDate(0, 0, -1)
		if _, err := Parse(BSN, "123456782", day(birth), eve); err != nil {
			t.Errorf("born %s, on %v: %v", birth, eve, err)
		}
		_, err := Parse(BSN, "123456782", day(birth), day(birthday))
		checkFaults(t, err, []Fault{{FieldBirthDate, RuleAdult}})
	}
}

func TestToday(t *testing.T) {
	for at, want := range map[string]string{
		"2026-06-30T21:59:59Z": "2026-06-30", // summer time: two hours ahead
		"2026-06-30T22:00:00Z": "2026-07-01",
		"2026-12-31T22:59:59Z": "2026-12-31",
		"2026-12-31T23:00:00Z": "2027-01-01",
	} {
		now, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if got := Today(now); got != day(want) {
			t.Errorf("%s: %v, want %s", at, got, want)
		}
	}
}

func TestUnmarshalRejects(t *testing.T) {
	stored := func(kind, value, birth, flag string) []byte {
		b, err := encoding.E(labelStored, []byte(kind), []byte(value), []byte(birth), []byte(flag))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := stored("nl-bsn", "123456782", "2012-03-04", "")
	if _, err := Unmarshal(good); err != nil {
		t.Fatal(err)
	}
	unlabelled, _ := encoding.E("seinhuis/1/id", []byte("nl-bsn"), []byte("123456782"), []byte("2012-03-04"), nil)
	for reason, b := range map[string][]byte{
		"nothing":                  nil,
		"another_label":            unlabelled,
		"cut_short":                good[:len(good)-1],
		"trailing_byte":            append(slices.Clone(good), 0),
		"reserved_kind":            stored("name-date", "123456782", "2012-03-04", ""),
		"check_digits":             stored("nl-bsn", "123456783", "2012-03-04", ""),
		"separators":               stored("nl-bsn", "1234.567.82", "2012-03-04", ""),
		"no_birth_date":            stored("nl-bsn", "123456782", "", ""),
		"impossible_birth_date":    stored("nl-bsn", "123456782", "2012-02-30", ""),
		"unknown_warning":          stored("be-insz", "12030400184", "2012-03-04", "other"),
		"warning_on_bsn":           stored("nl-bsn", "123456782", "2012-03-04", storedFlag),
		"insz_birth_date_differs":  stored("be-insz", "12030400184", "2012-03-05", storedFlag),
		"insz_birth_year_differs":  stored("be-insz", insz("120000001", 2000), "2013-01-01", storedFlag),
		"insz_without_birth_date":  stored("be-insz", "12030400184", "", ""),
		"insz_of_impossible_month": stored("be-insz", insz("121304001", 2000), "2012-12-31", ""),
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if _, err := Unmarshal(b); err == nil {
				t.Error("accepted")
			}
		})
	}
	t.Run("rejects/marshalling_nobody", func(t *testing.T) {
		if _, err := (Identity{}).MarshalBinary(); err == nil {
			t.Error("the zero Identity has bytes")
		}
	})
}

func TestZeroIdentityNamesNobody(t *testing.T) {
	var id Identity
	if id.Kind() != "" || id.Cohort() != 0 || !id.Birthday23().IsZero() || id.Warnings() != nil || id.HasNumber("") || id.HasNumber("123456782") {
		t.Error("the zero Identity says something")
	}
}

func TestRedaction(t *testing.T) {
	id, err := Parse(INSZ, "12.03.04-001.84", day("2012-03-05"), today)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	hidden := struct {
		id      Identity
		pointer *Identity
	}{id, &id} // fmt calls no methods on unexported fields
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d"} {
		for _, arg := range []any{id, &id, []Identity{id}, hidden, &hidden} {
			fmt.Fprintf(&out, verb+"\n", arg)
		}
	}
	text, err := json.Marshal(map[string]any{"id": id, "ids": []Identity{id}})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	slog.New(slog.NewTextHandler(&out, nil)).Info("event", "id", id, "hidden", hidden)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("event", "id", id, "hidden", hidden)
	for _, leak := range []string{"12030400184", "120304", "2012", "3132303330343030313438", "49 50 48"} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("%q is in\n%s", leak, &out)
		}
	}
	if !strings.Contains(out.String(), "[identity]") {
		t.Errorf("[identity] is not in\n%s", &out)
	}
}
