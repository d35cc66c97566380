// SPDX-License-Identifier: EUPL-1.2

package api

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

var testIssued = time.Date(2026, 7, 1, 9, 30, 0, 0, time.UTC)

func testStatement() Statement {
	return Statement{
		Dep: "demo", Party: "nl-oin:00000001001234567000/noord", KeyID: encoding.KeyID{1}, SID: SID{2}, Rev: 1, Kind: KindChild,
		Expires: encoding.Date{Year: 2027, Month: 7, Day: 1}, Issued: testIssued,
		Faces: []Face{{Epoch: 1, Tag: Tag{3}, Card: Hash{4}, Keybox: Hash{5}}},
	}
}

func fullStatement() Statement {
	s := testStatement()
	s.TakesOver, s.ReceiptHash, s.Rev = SID{6}, &Hash{7}, 12
	s.Faces = append(s.Faces, Face{Epoch: 2, Tag: Tag{8}, Card: Hash{9}, Keybox: Hash{10}})
	return s
}

func testAct() Act {
	return Act{
		Dep: "demo", Party: "be-kbo:0123456789", KeyID: encoding.KeyID{1}, Act: ActWithdraw, SID: SID{2}, Rev: 1, Tag: Tag{3},
		Match: MatchID{4}, OtherSID: SID{5}, Issued: testIssued, Body: ReasonEnded,
	}
}

func testReceipt() Receipt {
	return Receipt{
		Dep: "demo", Incarnation: [16]byte{1}, Party: "be-kbo:0123456789", SID: SID{2}, Rev: 1, Statement: Hash{3}, Others: 4,
		Leaf: Hash{5}, Time: testIssued,
	}
}

type encoder interface{ Encode() ([]byte, error) }

func mustEncode(t testing.TB, e encoder) []byte {
	t.Helper()
	b, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRoundTrips(t *testing.T) {
	noMatch := testAct()
	noMatch.Match, noMatch.OtherSID, noMatch.Body = MatchID{}, SID{}, ""
	for name, v := range map[string]struct {
		value encoder
		parse func([]byte) (encoder, error)
	}{
		"statement":          {testStatement(), func(b []byte) (encoder, error) { return ParseStatement(b) }},
		"statement_in_full":  {fullStatement(), func(b []byte) (encoder, error) { return ParseStatement(b) }},
		"act":                {testAct(), func(b []byte) (encoder, error) { return ParseAct(b) }},
		"act_with_no_match":  {noMatch, func(b []byte) (encoder, error) { return ParseAct(b) }},
		"receipt":            {testReceipt(), func(b []byte) (encoder, error) { return ParseReceipt(b) }},
		"receipt_of_nothing": {Receipt{Party: "be-kbo:0123456789", Time: testIssued}, func(b []byte) (encoder, error) { return ParseReceipt(b) }},
	} {
		t.Run(name, func(t *testing.T) {
			b := mustEncode(t, v.value)
			got, err := v.parse(b)
			if err != nil || !reflect.DeepEqual(got, v.value) {
				t.Fatalf("another one comes back, %v", err)
			}
			if again := mustEncode(t, got); !bytes.Equal(again, b) {
				t.Errorf("%x becomes %x", b, again)
			}
			for reason, bad := range map[string][]byte{
				"cut_short": b[:len(b)-1], "trailing_byte": append(bytes.Clone(b), 0), "trailing_field": append(bytes.Clone(b), 0, 0),
				"nothing": nil, "another_label": bytes.Replace(b, []byte("seinhuis/1"), []byte("seinhuis/2"), 1),
			} {
				t.Run("rejects/"+reason, func(t *testing.T) {
					if _, err := v.parse(bad); !errors.Is(err, ErrMalformed) {
						t.Errorf("%v, want ErrMalformed", err)
					}
				})
			}
		})
	}
}

// fields of a statement, an act and a receipt, each by its place behind the label.
func withField(t *testing.T, b []byte, place int, value string) []byte {
	t.Helper()
	var fields [][]byte
	for d := encoding.NewDecoder(b); d.More(); {
		fields = append(fields, d.Bytes())
	}
	fields[place] = []byte(value)
	out, err := encoding.E(string(fields[0]), fields[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestParseStatementRejects(t *testing.T) {
	one, two := mustEncode(t, testStatement()), mustEncode(t, fullStatement())
	zeroSID, zeroHash := string(make([]byte, 16)), string(make([]byte, 31))
	for reason, b := range map[string][]byte{
		"dep_not_utf8":             withField(t, one, 1, "\xff"),
		"party_malformed":          withField(t, one, 2, "nl-oin:1"),
		"party_absent":             withField(t, one, 2, ""),
		"key_id_short":             withField(t, one, 3, "1234567"),
		"sid_zero":                 withField(t, one, 4, zeroSID),
		"sid_short":                withField(t, one, 4, zeroSID[1:]),
		"sid_absent":               withField(t, one, 4, ""),
		"rev_zero":                 withField(t, one, 5, "0"),
		"rev_not_canonical":        withField(t, one, 5, "01"),
		"kind_reserved":            withField(t, one, 6, "family"),
		"kind_absent":              withField(t, one, 6, ""),
		"takes_over_zero":          withField(t, one, 7, zeroSID),
		"takes_over_short":         withField(t, one, 7, "1"),
		"expires_absent":           withField(t, one, 8, ""),
		"expires_impossible":       withField(t, one, 8, "2027-02-29"),
		"receipt_hash_short":       withField(t, one, 9, zeroHash),
		"issued_with_fraction":     withField(t, one, 10, "2026-07-01T09:30:00.0Z"),
		"issued_absent":            withField(t, one, 10, ""),
		"no_faces":                 withField(t, one, 11, "0"),
		"faces_fewer_than_counted": withField(t, one, 11, "2"),
		"faces_more_than_counted":  withField(t, two, 11, "1"),
		"faces_three":              withField(t, two, 11, "3"),
		"faces_very_many":          withField(t, two, 11, "18446744073709551615"),
		"face_tag_short":           withField(t, one, 13, zeroHash),
		"face_card_short":          withField(t, one, 14, zeroHash),
		"face_keybox_absent":       withField(t, one, 15, ""),
		"faces_of_one_epoch":       withField(t, two, 16, "1"),
		"faces_newest_first":       withField(t, two, 16, "0"),
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			s, err := ParseStatement(b)
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("%v, want ErrMalformed", err)
			}
			if !reflect.DeepEqual(s, Statement{}) {
				t.Error("a statement comes with the error")
			}
		})
	}
	for reason, faces := range map[string][]Face{"no_faces": nil, "three_faces": make([]Face, 3)} {
		t.Run("rejects/encoding_"+reason, func(t *testing.T) {
			s := testStatement()
			s.Faces = faces
			if _, err := s.Encode(); !errors.Is(err, ErrMalformed) {
				t.Errorf("%v, want ErrMalformed", err)
			}
		})
	}
}

func TestParseActRejects(t *testing.T) {
	b := mustEncode(t, testAct())
	for reason, bad := range map[string][]byte{
		"party_malformed":   withField(t, b, 2, "be-kbo:1"),
		"key_id_long":       withField(t, b, 3, "123456789"),
		"act_unknown":       withField(t, b, 4, "renew"),
		"act_absent":        withField(t, b, 4, ""),
		"sid_zero":          withField(t, b, 5, string(make([]byte, 16))),
		"rev_zero":          withField(t, b, 6, "0"),
		"tag_absent":        withField(t, b, 7, ""),
		"match_zero":        withField(t, b, 8, string(make([]byte, 16))),
		"other_sid_short":   withField(t, b, 9, "1"),
		"issued_local_time": withField(t, b, 10, "2026-07-01T11:30:00+02:00"),
		"body_not_utf8":     withField(t, b, 11, "\xff"),
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if _, err := ParseAct(bad); !errors.Is(err, ErrMalformed) {
				t.Errorf("%v, want ErrMalformed", err)
			}
		})
	}
}

func TestParseReceiptRejects(t *testing.T) {
	b := mustEncode(t, testReceipt())
	for reason, bad := range map[string][]byte{
		"incarnation_short":    withField(t, b, 2, "1"),
		"sid_absent":           withField(t, b, 4, ""),
		"rev_not_canonical":    withField(t, b, 5, "+1"),
		"statement_hash_short": withField(t, b, 6, "1"),
		"others_negative":      withField(t, b, 7, "-1"),
		"leaf_absent":          withField(t, b, 8, ""),
		"time_absent":          withField(t, b, 9, ""),
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if _, err := ParseReceipt(bad); !errors.Is(err, ErrMalformed) {
				t.Errorf("%v, want ErrMalformed", err)
			}
		})
	}
}

func TestSignedVerify(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	public := key.Public().(ed25519.PublicKey)
	s := Sign(key, mustEncode(t, testStatement()))
	if !s.Verify(public) {
		t.Fatal("does not verify")
	}
	changed := bytes.Clone(s.Signed)
	changed[len(changed)-1] ^= 1
	for reason, v := range map[string]struct {
		signed Signed
		key    ed25519.PublicKey
	}{
		"bytes_changed":        {Signed{changed, s.Signature}, public},
		"signature_cut_short":  {Signed{s.Signed, s.Signature[:63]}, public},
		"signature_absent":     {Signed{s.Signed, nil}, public},
		"another_key":          {s, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32)).Public().(ed25519.PublicKey)},
		"key_of_wrong_length":  {s, public[:31]},
		"no_key":               {s, nil},
		"signature_over_other": {Sign(key, []byte("other")), public},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if reason == "signature_over_other" {
				v.signed.Signed = s.Signed
			}
			if v.signed.Verify(v.key) {
				t.Error("verifies")
			}
		})
	}
}

// The bytes that were signed come through JSON as they were.
func TestSignedJSON(t *testing.T) {
	s := Sign(ed25519.NewKeyFromSeed(make([]byte, 32)), mustEncode(t, testStatement()))
	text, err := json.Marshal(Submission{Signed: s, Faces: []SealedFace{{Card: []byte{1}, Keybox: []byte{2}}}})
	if err != nil {
		t.Fatal(err)
	}
	var got Submission
	if err := json.Unmarshal(text, &got); err != nil || !bytes.Equal(got.Signed.Signed, s.Signed) || !bytes.Equal(got.Signature, s.Signature) {
		t.Errorf("%s, %v", text, err)
	}
	if s.Hash() != got.Hash() {
		t.Error("another hash")
	}
}

func TestParseParty(t *testing.T) {
	for _, s := range []string{
		"nl-oin:00000001001234567000", "nl-kvk:12345678", "nl-ura:12345678", "nl-agb:12345678", "nl-brin:01AB", "be-kbo:0123456789",
		"nl-oin:00000001001234567000/noord", "nl-brin:01AB/locatie-2", "be-kbo:0123456789/" + strings.Repeat("a", 32),
	} {
		if p, err := ParseParty(s); err != nil || string(p) != s {
			t.Errorf("%s: %v", s, err)
		}
	}
	for reason, s := range map[string]string{
		"empty": "", "no_scheme": "00000001001234567000", "unknown_scheme": "nl-btw:12345678", "scheme_upper_case": "NL-OIN:00000001001234567000",
		"oin_of_19_digits": "nl-oin:0000000100123456700", "oin_of_21_digits": "nl-oin:000000010012345670001", "brin_lower_case": "nl-brin:01ab",
		"letter_in_number": "nl-kvk:1234567a", "empty_unit": "nl-kvk:12345678/", "unit_upper_case": "nl-kvk:12345678/Noord", "unit_too_long": "nl-kvk:12345678/" + strings.Repeat("a", 33),
		"two_units": "nl-kvk:12345678/a/b", "trailing_newline": "nl-kvk:12345678\n", "unit_trailing_newline": "nl-kvk:12345678/a\n", "space": "nl-kvk: 12345678",
		"other_digits": "nl-kvk:١٢٣٤٥٦٧٨",
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if p, err := ParseParty(s); !errors.Is(err, ErrParty) || p != "" {
				t.Errorf("%q, %v; want ErrParty", p, err)
			}
		})
	}
}

func TestValidDeployment(t *testing.T) {
	for dep, want := range map[string]bool{
		"demo": true, "nl-2026": true, strings.Repeat("a", 32): true,
		"": false, "Demo": false, "de mo": false, strings.Repeat("a", 33): false, "demo\n": false, "dé": false,
	} {
		if got := ValidDeployment(dep); got != want {
			t.Errorf("%q: %v, want %v", dep, got, want)
		}
	}
}

func TestEventIDOf(t *testing.T) {
	base := func() (EventID, error) {
		return EventIDOf("be-kbo:0123456789", SID{1}, "nl-kvk:12345678", SID{2}, EventJoined, 1)
	}
	id, err := base()
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := base(); again != id {
		t.Error("not stable")
	}
	seen := map[EventID]string{id: "the first"}
	for what, f := range map[string]func() (EventID, error){
		"recipient": func() (EventID, error) {
			return EventIDOf("be-kbo:0123456780", SID{1}, "nl-kvk:12345678", SID{2}, EventJoined, 1)
		},
		"own_sid": func() (EventID, error) {
			return EventIDOf("be-kbo:0123456789", SID{3}, "nl-kvk:12345678", SID{2}, EventJoined, 1)
		},
		"other_party": func() (EventID, error) {
			return EventIDOf("be-kbo:0123456789", SID{1}, "nl-kvk:12345679", SID{2}, EventJoined, 1)
		},
		"other_sid": func() (EventID, error) {
			return EventIDOf("be-kbo:0123456789", SID{1}, "nl-kvk:12345678", SID{3}, EventJoined, 1)
		},
		"kind": func() (EventID, error) {
			return EventIDOf("be-kbo:0123456789", SID{1}, "nl-kvk:12345678", SID{2}, EventLeft, 1)
		},
		"rev": func() (EventID, error) {
			return EventIDOf("be-kbo:0123456789", SID{1}, "nl-kvk:12345678", SID{2}, EventJoined, 2)
		},
		"the_two_sides": func() (EventID, error) {
			return EventIDOf("nl-kvk:12345678", SID{2}, "be-kbo:0123456789", SID{1}, EventJoined, 1)
		},
	} {
		other, err := f()
		if err != nil {
			t.Fatal(err)
		}
		if before, ok := seen[other]; ok {
			t.Errorf("another %s has the id of %s", what, before)
		}
		seen[other] = what
	}
}

func TestIDsAsText(t *testing.T) {
	const text = "000102030405060708090a0b0c0d0e0f"
	var sid SID
	var match MatchID
	var event EventID
	for name, id := range map[string]interface {
		UnmarshalText([]byte) error
		MarshalText() ([]byte, error)
	}{"sid": &sid, "match": &match, "event": &event} {
		if err := id.UnmarshalText([]byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if again, err := id.MarshalText(); err != nil || string(again) != text {
			t.Errorf("%s becomes %s, %v", name, again, err)
		}
		for reason, bad := range map[string]string{"short": text[2:], "long": text + "00", "upper_case": strings.ToUpper(text), "empty": "", "odd": text[1:], "not_hex": "x" + text[1:]} {
			t.Run("rejects/"+name+"_"+reason, func(t *testing.T) {
				if err := id.UnmarshalText([]byte(bad)); err == nil {
					t.Error("accepted")
				}
			})
		}
	}
	sids, matches := [2]SID{NewSID(), NewSID()}, [2]MatchID{NewMatchID(), NewMatchID()}
	if sids[0] == sids[1] || sids[0].IsZero() || matches[0] == matches[1] || matches[0].IsZero() {
		t.Error("ids are not drawn at random")
	}
}

func TestRefusals(t *testing.T) {
	for code, r := range refusals {
		p := code.Problem()
		if r.Status < 400 || r.Title == "" || r.Detail == "" || p.Status != r.Status || p.Type != "urn:seinhuis:problem:"+string(code) {
			t.Errorf("%s: %+v", code, p)
		}
		if err := fmt.Errorf("while: %w", Refuse(code, errors.ErrUnsupported)); CodeOf(err) != code || !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s is lost in %v", code, err)
		}
	}
	if CodeOf(errors.ErrUnsupported) != CodeInternal || Code("no such").Problem().Status != 500 {
		t.Error("what is not known is not told as an internal error")
	}
	if got := Refuse(CodeTag, nil).Error(); got != "tag" {
		t.Errorf("%q", got)
	}
}

func TestTagIsRedacted(t *testing.T) {
	s := testStatement()
	s.Faces[0].Tag = Tag(bytes.Repeat([]byte{0xa1}, 32))
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d"} {
		fmt.Fprintf(&out, verb+"\n"+verb+"\n", s, &s)
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("event", "statement", s, "tag", s.Faces[0].Tag)
	for _, leak := range []string{"a1a1", "A1A1", "161 161", "0xa1, 0xa1", "oaGh"} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("%q is in\n%s", leak, &out)
		}
	}
}

func fuzzParse(f *testing.F, parse func([]byte) (encoder, error), seeds ...encoder) {
	for _, s := range seeds {
		b := mustEncode(f, s)
		f.Add(b)
		f.Add(slices.Concat(b[:len(b)/2], b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parse(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("%v, want ErrMalformed", err)
			}
			return
		}
		if got, err := v.Encode(); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%x becomes %x, %v", b, got, err)
		}
	})
}

func FuzzParseStatement(f *testing.F) {
	fuzzParse(f, func(b []byte) (encoder, error) { return ParseStatement(b) }, testStatement(), fullStatement())
}

func FuzzParseAct(f *testing.F) {
	fuzzParse(f, func(b []byte) (encoder, error) { return ParseAct(b) }, testAct())
}

func FuzzParseReceipt(f *testing.F) {
	fuzzParse(f, func(b []byte) (encoder, error) { return ParseReceipt(b) }, testReceipt())
}

func FuzzParseParty(f *testing.F) {
	f.Add("nl-oin:00000001001234567000/noord")
	f.Add("nl-brin:01AB")
	f.Add("be-kbo:0123456789/")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseParty(s)
		if err != nil {
			return
		}
		if string(p) != s || len(s) > 80 || strings.ContainsAny(s, " \t\r\n\x00") {
			t.Errorf("%q is taken as %q", s, p)
		}
	})
}

func FuzzParseHandover(f *testing.F) {
	f.Add("")
	f.Add("nl-brin:01AB 2027-01-31")
	f.Add("nl-brin:01AB  2027-01-31")
	f.Add("nl-brin:01AB 2027-1-31")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ParseHandover(s)
		if err != nil {
			return
		}
		if h.Body() != s || h.IsZero() != (s == "") {
			t.Errorf("%q is taken as %q", s, h.Body())
		}
	})
}

func FuzzIDs(f *testing.F) {
	f.Add("000102030405060708090a0b0c0d0e0f")
	f.Add("000102030405060708090A0B0C0D0E0F")
	f.Fuzz(func(t *testing.T, s string) {
		var id SID
		if id.UnmarshalText([]byte(s)) == nil && id.String() != s {
			t.Errorf("%q becomes %q", s, id)
		}
		var h Hash
		if h.UnmarshalText([]byte(s)) == nil && h.String() != s {
			t.Errorf("%q becomes %q", s, h)
		}
	})
}
