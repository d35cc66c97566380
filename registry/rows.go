// SPDX-License-Identifier: EUPL-1.2

package registry

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// Rows before they are sealed are fields of E, led by the table's name. Stores
// share these, so that a database can move from one to the other.
const (
	rowSignal    = "signal"         // without what was before its revision
	rowRevised   = "signal-revised" // with that
	rowOffered   = "signal-offered" // with that, and what was offered
	rowTombstone = "tombstone"
	rowMatch     = "match"         // without answers
	rowAnswered  = "match-answers" // with some
	rowEvent     = "event"
	rowLog       = "log"
	rowCounts    = "counts"
)

// MarshalBinary encodes the signal as a row. The statement is not repeated: it
// stands in the signed bytes.
func (s Signal) MarshalBinary() ([]byte, error) {
	table, fields := rowSignal, s.Granted.fields()
	if s.Before != (Before{}) {
		table, fields = rowRevised, append(fields, seconds(s.Before.First), encoding.Int(s.Before.Others))
	}
	if s.Offer.Number > 0 {
		table = rowOffered
		fields = append(fields, []byte(s.Offer.Body()), encoding.Int(s.Offer.Number))
		fields = append(fields, s.Offer.Taken.fields()...)
	}
	fields = append(fields, s.Signed.Signed, s.Signed.Signature)
	for _, f := range s.Sealed {
		fields = append(fields, f.Card, f.Keybox)
	}
	return encoding.E(table, fields...)
}

// UnmarshalBinary reads what MarshalBinary writes; it keeps b.
func (s *Signal) UnmarshalBinary(b []byte) (err error) {
	s.Before, s.Offer = Before{}, Offer{}
	d := encoding.NewDecoder(b)
	table := d.String()
	if table != rowRevised && table != rowOffered {
		d = encoding.NewDecoder(b)
		d.Expect(rowSignal)
	}
	s.Granted = decodeGranted(d)
	if table == rowRevised || table == rowOffered {
		s.Before = Before{First: decodeSeconds(d), Others: d.Int()}
		if s.Before.First.IsZero() {
			d.Fail("a revised signal without its first revision")
		}
	}
	if table == rowOffered {
		if s.Offer.Handover, err = api.ParseHandover(d.String()); err != nil {
			d.Fail("what is offered is none")
		}
		if s.Offer.Number = d.Int(); s.Offer.Number == 0 {
			d.Fail("an offer without a number")
		}
		s.Offer.Taken = decodeActs(d)
	}
	s.Signed = api.Signed{Signed: d.Bytes(), Signature: d.Bytes()}
	s.Sealed = nil
	for d.More() {
		s.Sealed = append(s.Sealed, api.SealedFace{Card: d.Bytes(), Keybox: d.Bytes()})
	}
	if err := d.Done(); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	s.Statement, err = api.ParseStatement(s.Signed.Signed)
	if err != nil || len(s.Sealed) != len(s.Faces) {
		return fmt.Errorf("%w: a signal's statement and faces do not fit", ErrCorrupt)
	}
	return nil
}

// MarshalBinary encodes the tombstone as a row.
func (t Tombstone) MarshalBinary() ([]byte, error) {
	return encoding.E(rowTombstone, append(t.Granted.fields(), encoding.Int(t.Rev), t.Act[:], t.Until.Field())...)
}

// UnmarshalBinary reads what MarshalBinary writes.
func (t *Tombstone) UnmarshalBinary(b []byte) error {
	d := encoding.NewDecoder(b)
	d.Expect(rowTombstone)
	t.Granted = decodeGranted(d)
	t.Rev = d.Int()
	d.Fixed(t.Act[:])
	t.Until = d.Date()
	return corrupt(d)
}

// MarshalBinary encodes the match as a row.
func (m Match) MarshalBinary() ([]byte, error) {
	fields := [][]byte{m.ID[:]}
	if len(m.Answers) > 0 {
		fields = append(fields, encoding.Int(uint64(len(m.Members))))
	}
	for _, member := range m.Members {
		fields = append(fields, member.fields()...)
	}
	for _, a := range m.Answers {
		fields = append(append(fields, a.From.fields()...), a.To.fields()...)
		fields = append(append(fields, []byte(a.Word), encoding.Int(a.Number)), a.Taken.fields()...)
	}
	if len(m.Answers) > 0 {
		return encoding.E(rowAnswered, fields...)
	}
	return encoding.E(rowMatch, fields...)
}

// UnmarshalBinary reads what MarshalBinary writes.
func (m *Match) UnmarshalBinary(b []byte) error {
	*m = Match{}
	d := encoding.NewDecoder(b)
	if d.String() != rowAnswered {
		d = encoding.NewDecoder(b)
		d.Expect(rowMatch)
		d.Fixed(m.ID[:])
		for d.More() {
			m.Members = append(m.Members, decodeMember(d))
		}
		return corrupt(d)
	}
	d.Fixed(m.ID[:])
	decodeList(d, func() { m.Members = append(m.Members, decodeMember(d)) })
	for more := true; more; more = d.More() {
		a := Answer{From: decodeMember(d), To: decodeMember(d), Word: api.Answer(d.String()), Number: d.Int()}
		a.Taken = decodeActs(d)
		m.Answers = append(m.Answers, a)
	}
	return corrupt(d)
}

// MarshalBinary encodes the event as a row.
func (e Event) MarshalBinary() ([]byte, error) {
	return encoding.E(rowEvent, e.ID[:], []byte(e.Kind), e.Match[:], encoding.Int(e.Epoch), e.Idx[:],
		[]byte(e.Recipient.Party), e.Recipient.SID[:], []byte(e.Other.Party), e.Other.SID[:], encoding.Int(e.Rev))
}

// UnmarshalBinary reads what MarshalBinary writes.
func (e *Event) UnmarshalBinary(b []byte) error {
	d := encoding.NewDecoder(b)
	d.Expect(rowEvent)
	d.Fixed(e.ID[:])
	e.Kind = api.EventKind(d.String())
	d.Fixed(e.Match[:])
	e.Epoch = d.Int()
	d.Fixed(e.Idx[:])
	e.Recipient = decodeMember(d)
	e.Other = decodeMember(d)
	e.Rev = d.Int()
	return corrupt(d)
}

// MarshalBinary encodes the entry as a row.
func (l LogEntry) MarshalBinary() ([]byte, error) {
	return encoding.E(rowLog, l.Salt[:], l.Record)
}

// UnmarshalBinary reads what MarshalBinary writes; it keeps b.
func (l *LogEntry) UnmarshalBinary(b []byte) error {
	d := encoding.NewDecoder(b)
	d.Expect(rowLog)
	d.Fixed(l.Salt[:])
	l.Record = d.Bytes()
	return corrupt(d)
}

// MarshalBinary encodes the counts as a row.
func (c Counts) MarshalBinary() ([]byte, error) {
	return encoding.E(rowCounts, []byte(c.Party), encoding.Int(c.Signals), encoding.Int(c.Acts))
}

// UnmarshalBinary reads what MarshalBinary writes.
func (c *Counts) UnmarshalBinary(b []byte) error {
	d := encoding.NewDecoder(b)
	d.Expect(rowCounts)
	c.Party = api.PartyID(d.String())
	c.Signals, c.Acts = d.Int(), d.Int()
	return corrupt(d)
}

func (g Granted) fields() [][]byte {
	return [][]byte{g.Incarnation[:], encoding.Int(g.Others), g.Leaf[:], seconds(g.Time)}
}

// seconds are those since 1970.
func seconds(t time.Time) []byte { return binary.BigEndian.AppendUint64(nil, uint64(t.Unix())) }

func decodeSeconds(d *encoding.Decoder) time.Time {
	var b [8]byte
	d.Fixed(b[:])
	return time.Unix(int64(binary.BigEndian.Uint64(b[:])), 0).UTC()
}

func decodeGranted(d *encoding.Decoder) (g Granted) {
	d.Fixed(g.Incarnation[:])
	g.Others = d.Int()
	d.Fixed(g.Leaf[:])
	g.Time = decodeSeconds(d)
	return g
}

func (a Acts) fields() [][]byte {
	fields := [][]byte{encoding.Int(uint64(len(a)))}
	for _, t := range a {
		fields = append(append(fields, t.Act[:]), t.Granted.fields()...)
	}
	return fields
}

func decodeActs(d *encoding.Decoder) (a Acts) {
	decodeList(d, func() {
		var t Taken
		d.Fixed(t.Act[:])
		t.Granted = decodeGranted(d)
		a = append(a, t)
	})
	return a
}

func (m Member) fields() [][]byte { return [][]byte{[]byte(m.Party), m.SID[:]} }

func decodeMember(d *encoding.Decoder) (m Member) {
	m.Party = api.PartyID(d.String())
	d.Fixed(m.SID[:])
	return m
}

// decodeList reads a count, and as many of what one reads.
func decodeList(d *encoding.Decoder, one func()) {
	for n := d.Int(); n > 0; n-- {
		if !d.More() {
			d.Fail("a list is shorter than its count")
			return
		}
		one()
	}
}

func corrupt(d *encoding.Decoder) error {
	if err := d.Done(); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return nil
}
