// SPDX-License-Identifier: EUPL-1.2

package identity

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata/identities.json from its inputs")

// vector is one line of testdata/identities.json: what a professional enters, and
// what becomes of it. The canonical bytes are for deployment demo, epoch 1.
type vector struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Number string `json:"number"`
	Birth  string `json:"birthDate"` // empty when not given
	Today  string `json:"today"`

	Value      string   `json:"value,omitempty"`
	Cohort     int      `json:"cohort,omitempty"`
	Birthday23 string   `json:"birthday23,omitempty"`
	Warnings   []string `json:"warnings,omitempty"`
	Canonical  string   `json:"canonical,omitempty"`
	Faults     []string `json:"faults,omitempty"` // field: rule
}

func compute(t *testing.T, v vector) vector {
	t.Helper()
	got := vector{Name: v.Name, Type: v.Type, Number: v.Number, Birth: v.Birth, Today: v.Today}
	id, err := Parse(Kind(v.Type), v.Number, day(v.Birth), day(v.Today))
	for _, f := range Faults(err) {
		got.Faults = append(got.Faults, string(f.Field)+": "+string(f.Rule))
	}
	if err != nil {
		return got
	}
	canonical, err := id.Canonical("demo", 1)
	if err != nil {
		t.Fatal(err)
	}
	got.Value, got.Cohort, got.Birthday23 = id.fields().value, id.Cohort(), id.Birthday23().String()
	got.Canonical = hex.EncodeToString(canonical)
	for _, w := range id.Warnings() {
		got.Warnings = append(got.Warnings, string(w))
	}
	return got
}

func TestVectors(t *testing.T) {
	const path = "testdata/identities.json"
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Comment string   `json:"comment"`
		Vectors []vector `json:"vectors"`
	}
	if err := json.Unmarshal(want, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Vectors) == 0 {
		t.Fatal("no vectors")
	}
	for i, v := range file.Vectors {
		file.Vectors[i] = compute(t, v)
	}
	got, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(got, want) {
		t.Errorf("computed anew, the vectors are\n%s", got)
	}
}
