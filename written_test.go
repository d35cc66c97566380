// SPDX-License-Identifier: EUPL-1.2

package seinhuis_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/seinhuis/seinhuis/api"
)

const (
	specFile       = "docs/spec.md"
	deploymentFile = "docs/deployment.md"
	connectFile    = "docs/connect.md"
)

// printed finds the parts of the specification that are printed from vectors: a
// comment that names them, and the block behind it.
var printed = regexp.MustCompile("(?s)<!-- vectors: ([a-zA-Z. ]+) -->\n```[a-z]*\n(.*?)```\n")

// TestSpecShowsTheVectors holds that what docs/spec.md prints is what stands in
// testdata, and that it prints the whole chain. With -update it prints it anew.
func TestSpecShowsTheVectors(t *testing.T) {
	spec, err := os.ReadFile(specFile)
	if err != nil {
		t.Fatal(err)
	}
	v, _ := readChain(t)
	var w wire
	var numbers struct {
		Vectors []entered `json:"vectors"`
	}
	for path, into := range map[string]any{wireFile: &w, "crypto/identity/testdata/identities.json": &numbers} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
	values := append(flatten(reflect.ValueOf(v), ""), flatten(reflect.ValueOf(w), "wire")...)
	values = append(values, shown{"identities", table(numbers.Vectors)})

	unseen := map[string]bool{}
	for _, value := range values {
		unseen[value.name] = !strings.HasSuffix(value.name, "comment")
	}
	anew := printed.ReplaceAllFunc(spec, func(block []byte) []byte {
		at := printed.FindSubmatchIndex(block)
		var b strings.Builder
		for name := range strings.FieldsSeq(string(block[at[2]:at[3]])) {
			before := b.Len()
			for _, value := range values {
				if rest, ok := strings.CutPrefix(value.name, name); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
					b.WriteString(value.text)
					unseen[value.name] = false
				}
			}
			if b.Len() == before {
				t.Errorf("there is no vector %s", name)
			}
		}
		return append(append(block[:at[4]:at[4]], b.String()...), block[at[5]:]...)
	})
	for name, missing := range unseen {
		if missing {
			t.Errorf("the specification does not print %s", name)
		}
	}
	switch {
	case bytes.Equal(anew, spec):
	case *update:
		if err := os.WriteFile(specFile, anew, 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s prints other values than testdata; run go test . -update", specFile)
	}
}

// TestSpecListsEveryRefusal holds the table of refusals against package api.
func TestSpecListsEveryRefusal(t *testing.T) {
	spec, err := os.ReadFile(specFile)
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("api/problem.go")
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
			t.Errorf("no row %s", row)
		}
	}
}

// TestDocumentsPointToWhatIsThere holds that what the documents point to in this repository is there.
func TestDocumentsPointToWhatIsThere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)|(?:src|srcset)="([^":]+)"`)
	for _, doc := range []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", specFile, "docs/threat-model.md", deploymentFile, connectFile, operationsFile} {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Error(err)
			continue
		}
		folder, _, _ := strings.Cut(doc, "/")
		if !strings.Contains(doc, "/") {
			folder = "."
		}
		for _, match := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(folder + "/" + match[1] + match[2]); err != nil {
				t.Errorf("%s points to %s%s", doc, match[1], match[2])
			}
		}
	}
}

// shown is a vector by its name in the file, and the lines that print it.
type shown struct{ name, text string }

func flatten(v reflect.Value, name string) (out []shown) {
	switch x := v.Interface().(type) {
	case hexes:
		return []shown{{name, name + " =\n" + strings.Join(shortHex(x), "\n") + "\n"}}
	case json.RawMessage:
		var b bytes.Buffer
		if err := json.Indent(&b, x, "", "  "); err != nil {
			panic(err)
		}
		return []shown{{name, b.String() + "\n"}}
	case string:
		if strings.Contains(x, "\n") { // a note
			return []shown{{name, x}}
		}
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			key, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			out = append(out, flatten(v.Field(i), strings.TrimPrefix(name+"."+key, "."))...)
		}
		return out
	case reflect.Slice:
		for i := range v.Len() {
			out = append(out, flatten(v.Index(i), fmt.Sprintf("%s[%d]", name, i))...)
		}
		return out
	case reflect.Map:
		return nil // the pins, which stand in the notes
	}
	return []shown{{name, fmt.Sprintf("%s = %v\n", name, v.Interface())}}
}

// entered is a number as a professional enters it.
type entered struct {
	Type       string   `json:"type"`
	Number     string   `json:"number"`
	BirthDate  string   `json:"birthDate"`
	Today      string   `json:"today"`
	Value      string   `json:"value"`
	Cohort     int      `json:"cohort"`
	Birthday23 string   `json:"birthday23"`
	Faults     []string `json:"faults"`
}

func table(numbers []entered) string {
	var b strings.Builder
	for _, n := range numbers {
		outcome := fmt.Sprintf("%s, cohort %d, 23 on %s", n.Value, n.Cohort, n.Birthday23)
		if len(n.Faults) > 0 {
			outcome = "refused: " + strings.Join(n.Faults, ", ")
		}
		fmt.Fprintf(&b, "%-8s %-18q born %-10s on %s   %s\n", n.Type, n.Number, n.BirthDate, n.Today, outcome)
	}
	return b.String()
}
