// SPDX-License-Identifier: EUPL-1.2

package audit

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"
	"time"
)

func record() Record {
	return Record{
		Event: "signal-stored", Action: Create, Outcome: Success,
		Time:  time.Date(2027, 3, 4, 5, 6, 7, 8_000_000, time.UTC),
		Party: "nl-kvk:12345678", User: "u-1", ObjectType: "signal", ObjectID: "00ff", System: "registry",
	}
}

func TestRecordKeepsItsFields(t *testing.T) {
	r := record()
	b, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseRecord(b)
	if err != nil {
		t.Fatal(err)
	}
	if got != r {
		t.Errorf("got %+v, want %+v", got, r)
	}
}

func TestRecord(t *testing.T) {
	for reason, spoil := range map[string]func(*Record){
		"no_event":        func(r *Record) { r.Event = "" },
		"no_system":       func(r *Record) { r.System = "" },
		"no_time":         func(r *Record) { r.Time = time.Time{} },
		"unknown_action":  func(r *Record) { r.Action = "X" },
		"unknown_outcome": func(r *Record) { r.Outcome = "maybe" },
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			r := record()
			spoil(&r)
			if _, err := r.Marshal(); !errors.Is(err, ErrRecord) {
				t.Errorf("Marshal: %v", err)
			}
			if _, err := NewLeaf(r); !errors.Is(err, ErrRecord) {
				t.Errorf("NewLeaf: %v", err)
			}
		})
	}
}

func TestLeafHash(t *testing.T) {
	a, err := NewLeaf(record())
	if err != nil {
		t.Fatal(err)
	}
	inner := sha256.Sum256(append(bytes.Clone(a.Salt[:]), a.Record...))
	want := sha256.Sum256(append([]byte{0}, inner[:]...))
	if a.Hash() != want {
		t.Error("the hash is not SHA-256(0x00 ‖ SHA-256(salt ‖ record))")
	}
	b, err := NewLeaf(record())
	if err != nil {
		t.Fatal(err)
	}
	if a.Hash() == b.Hash() {
		t.Error("two leaves of one record have the same hash: the salt is missing")
	}
}

func FuzzParseRecord(f *testing.F) {
	b, _ := record().Marshal()
	f.Add(b)
	f.Add(b[:len(b)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRecord(b)
		if err != nil {
			return
		}
		if again, err := r.Marshal(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("what parsed writes other bytes (%v)", err)
		}
	})
}
