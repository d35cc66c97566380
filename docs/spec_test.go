// SPDX-License-Identifier: EUPL-1.2

// Package docs holds the specification to the code: the vectors that it prints are
// those that the code computes.
//
//	go test ./docs -update    draws a new chain and prints it into spec.md
package docs_test

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/identity"
	"github.com/seinhuis/seinhuis/crypto/token"
)

var update = flag.Bool("update", false, "draw testdata/chain.json anew and print it into spec.md")

const chainFile = "testdata/chain.json"

func TestChain(t *testing.T) {
	if *update {
		text, err := json.MarshalIndent(build(t, nil), "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(chainFile, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stored := readChain(t)
	text, err := json.MarshalIndent(build(t, &stored), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(chainFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(append(text, '\n'), want) {
		t.Errorf("%s is not what the code computes; if the protocol was meant to change, run with -update", chainFile)
	}
}

func readChain(t *testing.T) (c chain) {
	t.Helper()
	text, err := os.ReadFile(chainFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// shown finds the parts of spec.md that are printed from the chain.
var shown = regexp.MustCompile("(?s)<!-- chain: ([a-zA-Z. ]+) -->\n```[a-z]*\n(.*?)```\n")

func TestSpecShowsTheChain(t *testing.T) {
	spec, err := os.ReadFile("spec.md")
	if err != nil {
		t.Fatal(err)
	}
	c := readChain(t)
	values := flatten(reflect.ValueOf(c), "")
	left := map[string]bool{}
	for _, v := range values {
		left[v.name] = true
	}
	printed := shown.ReplaceAllFunc(spec, func(block []byte) []byte {
		match := shown.FindSubmatchIndex(block)
		var b strings.Builder
		for prefix := range strings.FieldsSeq(string(block[match[2]:match[3]])) {
			before := b.Len()
			for _, v := range values {
				if v.name == prefix || strings.HasPrefix(v.name, prefix+".") || strings.HasPrefix(v.name, prefix+"[") {
					b.WriteString(v.text)
					delete(left, v.name)
				}
			}
			if b.Len() == before {
				t.Errorf("the chain has no %s", prefix)
			}
		}
		return append(append(append([]byte{}, block[:match[4]]...), b.String()...), block[match[5]:]...)
	})
	for name := range left {
		if name != "comment" {
			t.Errorf("spec.md does not show %s", name)
		}
	}
	if bytes.Equal(printed, spec) {
		return
	}
	if !*update {
		t.Fatalf("spec.md shows other values than %s; run with -update", chainFile)
	}
	if err := os.WriteFile("spec.md", printed, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestSpecListsEveryRefusal holds the table of section 14 against package api.
func TestSpecListsEveryRefusal(t *testing.T) {
	spec, err := os.ReadFile("spec.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("../api/problem.go")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`Code = "([a-z-]+)"`).FindAllSubmatch(source, -1)
	if len(codes) < 20 {
		t.Fatalf("found %d codes in api/problem.go", len(codes))
	}
	for _, match := range codes {
		code := api.Code(match[1])
		if row := fmt.Sprintf("| %d | `%s` |", code.Refusal().Status, code); !bytes.Contains(spec, []byte(row)) {
			t.Errorf("section 14 has no row %s", row)
		}
	}
}

// A value of the chain, with the lines that show it.
type value struct{ name, text string }

func flatten(v reflect.Value, name string) (out []value) {
	switch x := v.Interface().(type) {
	case hexes:
		if len(x) == 0 {
			return nil
		}
		return []value{{name, fmt.Sprintf("%s =\n%s", name, wrapped(hex.EncodeToString(x)))}}
	case []moreNumbers:
		var b strings.Builder
		for _, n := range x {
			fmt.Fprintf(&b, "%s %-14q birth %-12q today %s\n", n.Type, n.Number, n.BirthDate, n.Today)
			if n.Refused != "" {
				fmt.Fprintf(&b, "    refused: %s\n", n.Refused)
				continue
			}
			fmt.Fprintf(&b, "    23rd birthday %s, x =\n%s", n.Birthday23, wrapped(hex.EncodeToString(n.Canonical)))
		}
		return []value{{name, b.String()}}
	case string:
		if strings.HasPrefix(x, "{") && !strings.HasSuffix(name, "cardJSON") {
			var b bytes.Buffer
			if json.Indent(&b, []byte(x), "", "  ") == nil {
				x = b.String() + "\n"
			}
		}
		if strings.Contains(x, "\n") {
			return []value{{name, x}}
		}
		return []value{{name, fmt.Sprintf("%s = %s\n", name, x)}}
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i)
			key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			switch {
			case field.Anonymous:
				out = append(out, flatten(v.Field(i), name)...)
			case name == "":
				out = append(out, flatten(v.Field(i), key)...)
			default:
				out = append(out, flatten(v.Field(i), name+"."+key)...)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			out = append(out, flatten(v.Index(i), fmt.Sprintf("%s[%d]", name, i))...)
		}
	default:
		out = []value{{name, fmt.Sprintf("%s = %v\n", name, v.Interface())}}
	}
	return out
}

func wrapped(digits string) string {
	var b strings.Builder
	for len(digits) > 0 {
		n := min(len(digits), 112)
		fmt.Fprintf(&b, "    %s\n", digits[:n])
		digits = digits[n:]
	}
	return b.String()
}

// finalize is the hash at the end of RFC 9497, section 3.3.1.
func finalize(x, unblinded []byte) []byte {
	h := sha512.New()
	for _, part := range [][]byte{x, unblinded} {
		h.Write(binary.BigEndian.AppendUint16(nil, uint16(len(part))))
		h.Write(part)
	}
	h.Write([]byte("Finalize"))
	return h.Sum(nil)
}

// keyboxPlain is what section 7 says of the plaintext, written without package seal.
func keyboxPlain(t token.Token, birthday23 encoding.Date, reference string) []byte {
	plain := append([]byte{1}, t.Tag[:]...)
	plain = append(plain, t.Seal[:]...)
	plain = binary.BigEndian.AppendUint32(plain, uint32(birthday23.Year*10000+int(birthday23.Month)*100+birthday23.Day))
	plain = append(plain, byte(len(reference)))
	plain = append(plain, reference...)
	return append(plain, make([]byte, 128-len(plain))...)
}

func asBytes(list []hexes) [][]byte {
	out := make([][]byte, len(list))
	for i, b := range list {
		out[i] = b
	}
	return out
}

func (b *builder) more() {
	for _, n := range []moreNumbers{
		{Type: "nl-bsn", Number: "010464554", BirthDate: "2004-02-29", Today: "2027-02-28"},
		{Type: "nl-bsn", Number: "010464554", BirthDate: "2004-02-29", Today: "2027-03-01"},
		{Type: "nl-bsn", Number: "10464554", BirthDate: "2010-05-05", Today: "2026-07-01"},
		{Type: "nl-bsn", Number: "123456789", BirthDate: "2010-05-05", Today: "2026-07-01"},
		{Type: "nl-bsn", Number: "123456782", BirthDate: "2026-07-02", Today: "2026-07-01"},
		{Type: "nl-bsn", Number: "123456782", Today: "2026-07-01"},
		{Type: "be-insz", Number: insz("120304001", 2000), Today: "2026-07-01"},
		{Type: "be-insz", Number: insz("120304001", 2000), BirthDate: "2012-04-03", Today: "2026-07-01"},
		{Type: "be-insz", Number: insz("122304001", 2000), Today: "2026-07-01"},
		{Type: "be-insz", Number: insz("124300001", 2000), Today: "2026-07-01"},
		{Type: "be-insz", Number: insz("030000001", 2000), Today: "2026-07-01"},
		{Type: "be-insz", Number: insz("030000001", 2000), BirthDate: "2003-06-30", Today: "2026-07-01"},
		{Type: "be-insz", Number: insz("260000001", 2000), Today: "2026-07-01"},
		{Type: "be-insz", Number: insz("121332001", 2000), Today: "2026-07-01"},
		{Type: "be-insz", Number: insz("120304001", 1900), Today: "2026-07-01"},
	} {
		birth := encoding.Date{}
		var err error
		if n.BirthDate != "" {
			birth, err = encoding.ParseDate(n.BirthDate)
			b.must(err)
		}
		today, err := encoding.ParseDate(n.Today)
		b.must(err)
		id, err := identity.Parse(identity.Kind(n.Type), n.Number, birth, today)
		if err != nil {
			var fault *identity.Fault
			if !errors.As(err, &fault) {
				b.t.Fatal(err)
			}
			n.Refused = fmt.Sprintf("%s: %s", fault.Field, fault.Rule)
		} else {
			n.Birthday23 = id.Birthday23().String()
			n.Canonical, err = id.Canonical(dep, epoch)
			b.must(err)
		}
		b.c.More = append(b.c.More, n)
	}
}

// insz gives a number its check digits for a century.
func insz(digits string, century int) string {
	n := 0
	for _, d := range digits {
		n = 10*n + int(d-'0')
	}
	if century == 2000 {
		n += 2_000_000_000
	}
	return fmt.Sprintf("%s%02d", digits, 97-n%97)
}
