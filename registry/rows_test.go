// SPDX-License-Identifier: EUPL-1.2

package registry

import (
	"bytes"
	"encoding"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
	enc "github.com/seinhuis/seinhuis/crypto/encoding"
)

type pointer[T any] interface {
	*T
	encoding.BinaryUnmarshaler
}

// fuzzRow says that a row that decodes encodes to the same bytes.
func fuzzRow[T encoding.BinaryMarshaler, P pointer[T]](f *testing.F, seed T) {
	b, err := seed.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:len(b)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		var v T
		if P(&v).UnmarshalBinary(b) != nil {
			return
		}
		again, err := v.MarshalBinary()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("a row decodes but does not encode to the same bytes (%v)", err)
		}
	})
}

var (
	someTime    = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	someGrant   = Granted{Incarnation: [16]byte{1}, Others: 3, Leaf: api.Hash{2}, Time: someTime}
	someMembers = []Member{{"nl-kvk:00000001", api.SID{1}}, {"be-kbo:0123456789/team-a", api.SID{2}}}
)

func FuzzSignalRow(f *testing.F) {
	st, err := api.Statement{
		Dep: "proef", Party: someMembers[0].Party, SID: api.SID{1}, Rev: 1, Kind: api.KindChild,
		Expires: enc.Date{Year: 2027, Month: 1, Day: 1}, Issued: someTime, Faces: []api.Face{{Epoch: 1}},
	}.Encode()
	if err != nil {
		f.Fatal(err)
	}
	revised, err := Signal{
		Signed: api.Signed{Signed: st, Signature: make([]byte, 64)}, Granted: someGrant, Before: Before{First: someTime, Others: 1},
		Sealed: []api.SealedFace{{Card: []byte("card"), Keybox: []byte("box")}},
	}.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(revised)
	offered, err := Signal{
		Signed: api.Signed{Signed: st, Signature: make([]byte, 64)}, Granted: someGrant, Before: Before{First: someTime, Others: 1},
		Offer:  Offer{api.Handover{To: "nl-brin:01AB", Until: enc.Date{Year: 2027, Month: 1, Day: 31}}, 2, Acts{{api.Hash{1}, someGrant}}},
		Sealed: []api.SealedFace{{Card: []byte("card"), Keybox: []byte("box")}},
	}.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(offered)
	fuzzRow[Signal, *Signal](f, Signal{
		Signed: api.Signed{Signed: st, Signature: make([]byte, 64)}, Granted: someGrant,
		Sealed: []api.SealedFace{{Card: []byte("card"), Keybox: []byte("box")}},
	})
}

func FuzzTombstoneRow(f *testing.F) {
	fuzzRow[Tombstone, *Tombstone](f, Tombstone{Rev: 2, Granted: someGrant, Until: enc.Date{Year: 2028, Month: 4, Day: 1}})
}

func FuzzMatchRow(f *testing.F) {
	f.Add([]byte("\x00\x0dmatch-answers\x00\x10aaaaaaaaaaaaaaaa\x00\x010")) // a match with answers has some
	row, err := Match{ID: api.MatchID{1}, Members: someMembers}.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(row)
	fuzzRow[Match, *Match](f, Match{ID: api.MatchID{1}, Members: someMembers, Answers: []Answer{
		{someMembers[0], someMembers[1], api.AnswerWillCall, 3, []Taken{{api.Hash{1}, someGrant}, {api.Hash{2}, someGrant}}},
		{someMembers[1], someMembers[0], api.AnswerInContact, 1, []Taken{{api.Hash{3}, someGrant}}},
	}})
}

func FuzzEventRow(f *testing.F) {
	fuzzRow[Event, *Event](f, Event{Kind: api.EventJoined, Epoch: 1, Recipient: someMembers[0], Other: someMembers[1], Rev: 1})
}

func FuzzLogRow(f *testing.F) {
	fuzzRow[LogEntry, *LogEntry](f, LogEntry{Record: []byte("record")})
}

func FuzzCountsRow(f *testing.F) {
	fuzzRow[Counts, *Counts](f, Counts{Party: someMembers[1].Party, Signals: 7, Acts: 1})
}

func FuzzEndedRow(f *testing.F) {
	fuzzRow[Ended, *Ended](f, Ended{
		Member: someMembers[0], Shard: [2]byte{1, 2}, Match: api.MatchID{3}, Others: someMembers,
		Tombstone: Tombstone{Rev: 2, Granted: someGrant, Until: enc.Date{Year: 2028, Month: 4, Day: 1}},
	})
}

func FuzzRestoresRow(f *testing.F) {
	row, err := MarshalRestores([]Restore{{Incarnation: [16]byte{1}, Backup: someTime, At: someTime}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(row)
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := UnmarshalRestores(b)
		if err != nil {
			return
		}
		if again, err := MarshalRestores(list); err != nil || !bytes.Equal(again, b) {
			t.Errorf("a row decodes but does not encode to the same bytes (%v)", err)
		}
	})
}

func FuzzCursor(f *testing.F) {
	incarnation := [16]byte{1, 2, 3}
	f.Add(formatCursor(incarnation, 7))
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		if at := parseCursor(incarnation, s); at > 0 && formatCursor(incarnation, at) != strings.ToLower(s) {
			t.Error("a cursor is read that was not written")
		}
	})
}

func TestCursorOfAnotherIncarnationStartsAnew(t *testing.T) {
	if at := parseCursor([16]byte{2}, formatCursor([16]byte{1}, 7)); at != 0 {
		t.Errorf("reading starts behind %d", at)
	}
	if at := parseCursor([16]byte{1}, formatCursor([16]byte{1}, 7)); at != 7 {
		t.Errorf("reading starts behind %d, want 7", at)
	}
}

func TestKeysDoNotPrint(t *testing.T) {
	file := NewKeyFile()
	keys, err := ParseKeys(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
		if got := fmt.Sprintf(verb, keys); got != "[registry keys]" {
			t.Errorf("%s prints %d bytes", verb, len(got))
		}
		if got := fmt.Sprintf(verb, keys.Idx(1, api.Tag{})); got != "[idx]" {
			t.Errorf("%s prints an idx", verb)
		}
	}
	if _, err := ParseKeys(bytes.Replace(file, []byte("pepper"), []byte("paprika"), 1)); err == nil {
		t.Error("a key file with an unknown field is read")
	}
}

func TestIdxDependsOnEpochAndTag(t *testing.T) {
	keys, err := ParseKeys(NewKeyFile())
	if err != nil {
		t.Fatal(err)
	}
	a := keys.Idx(1, api.Tag{1})
	if a != keys.Idx(1, api.Tag{1}) || a == keys.Idx(2, api.Tag{1}) || a == keys.Idx(1, api.Tag{2}) {
		t.Error("an idx is not a function of epoch and tag")
	}
	if keys.Slot(a, "nl-kvk:00000001") == keys.Slot(keys.Idx(1, api.Tag{2}), "nl-kvk:00000001") {
		t.Error("a party can be followed from child to child")
	}
	sid := api.SID{1}
	if keys.Grave("nl-kvk:00000001", sid) == keys.Grave("nl-kvk:00000002", sid) {
		t.Error("two parties share a grave")
	}
}
