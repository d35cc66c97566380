// SPDX-License-Identifier: EUPL-1.2

// Package logging is the only way in which our programs write a log.
//
// What may be written stands in one table, [Events]: a row per event, with the
// fields that it may have and what each field's value may be. The handler behind
// [New] holds the table, whatever a caller gives it:
//
//	a message without a row    "unlisted", and none of its fields
//	a field without a place    left out; and so is a group with all that is in it
//	a value of another kind    "[refused]"
//	an error                   by the rule of [Cause]
//
// No kind has room for a person: a Word has no digits and no capital in front, a Number fewer
// digits than a national number, an ID fewer than a tag. A test over the source
// holds that every call of a logger gives a constant message and keys of its row.
//
// To log something new: add its row, then log it.
//
//	log := logging.New(os.Stderr, slog.LevelInfo)
//	log.Warn("share missing", "epoch", epoch, "cohort", cohort)
package logging

import (
	"context"
	"io"
	"log/slog"
	"math"
	"reflect"
	"regexp"
	"time"
)

// A Kind is what the value of a field may be.
type Kind int

// The kinds. Strings that do not fit their kind are refused, not shortened.
const (
	Word     Kind = iota + 1 // a code of ours: letters, dashes and dots, the first lower-case, at most 48
	Number                   // at most seven digits: a count, a version, an index
	Duration                 // a time.Duration
	PartyID                  // the id of an organisation, or empty
	ID                       // 16 or 32 hexadecimal digits: of a key, a job, an event, a subscription
	Address                  // where we listen: host:port
	Route                    // the template of a path, without values
	Format                   // the format of a library's message, without its arguments
	Failure                  // an error, told by the rule of Cause
)

var shapes = map[Kind]*regexp.Regexp{
	Word:    regexp.MustCompile(`^[a-z][a-zA-Z.-]{0,47}$`),
	PartyID: regexp.MustCompile(`^([a-z]{2}-[a-z]{3,4}:[0-9A-Z]{4,20}(/[a-z0-9-]{1,32})?)?$`),
	ID:      regexp.MustCompile(`^([0-9a-f]{16}|[0-9a-f]{32})$`),
	Address: regexp.MustCompile(`^([a-z0-9.-]{0,64}|\[[0-9a-f:.%a-z]{2,64}\]):[0-9]{1,5}$`),
	Route:   regexp.MustCompile(`^(/([a-z.-][a-z0-9.-]{0,31}|\{[a-zA-Z]{1,32}\})){0,8}$`),
	Format:  regexp.MustCompile(`^[A-Za-z%]([^0-9@]|L%){0,199}$`),
}

const (
	maxNumber = 1e7
	refused   = "[refused]"
	unlisted  = "unlisted"
)

// New makes a logger that writes a line of JSON per event, of level and above.
func New(w io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(&handler{next: slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})})
}

// Discard is a logger that writes nothing.
func Discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

type handler struct {
	next    slog.Handler
	attrs   []slog.Attr // of WithAttrs; which may be written depends on the message
	grouped bool        // whatever comes now is in a group, and no row has groups
}

func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if h.grouped {
		return h
	}
	with := *h
	with.attrs = append(h.attrs[:len(h.attrs):len(h.attrs)], attrs...)
	return &with
}

func (h *handler) WithGroup(name string) slog.Handler {
	with := *h
	with.grouped = h.grouped || name != ""
	return &with
}

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	row, ok := Events[r.Message]
	if !ok {
		return h.next.Handle(ctx, slog.NewRecord(r.Time, r.Level, unlisted, 0))
	}
	told := slog.NewRecord(r.Time, r.Level, r.Message, 0)
	add := func(a slog.Attr) bool {
		if kind, ok := row[a.Key]; ok && (kind != Failure || a.Value.Any() != nil) {
			told.AddAttrs(slog.Attr{Key: a.Key, Value: kind.value(a.Value)})
		}
		return true
	}
	for _, a := range h.attrs {
		add(a)
	}
	if !h.grouped {
		r.Attrs(add)
	}
	return h.next.Handle(ctx, told)
}

// value is what is written in the place of a value of this kind.
func (k Kind) value(v slog.Value) slog.Value {
	if err, ok := v.Any().(error); ok && k == Failure { // before it resolves to anything else
		return slog.StringValue(Cause(err))
	}
	v = v.Resolve()
	switch k {
	case Number:
		if n, ok := number(v); ok && math.Abs(n) < maxNumber {
			return v
		}
	case Duration:
		if v.Kind() == slog.KindDuration {
			return slog.StringValue(v.Duration().Round(time.Millisecond).String())
		}
	default:
		text, ok := text(v)
		if shape := shapes[k]; ok && shape != nil && shape.MatchString(text) {
			return slog.StringValue(text)
		}
	}
	return slog.StringValue(refused)
}

func number(v slog.Value) (float64, bool) {
	switch v.Kind() {
	case slog.KindInt64:
		return float64(v.Int64()), true
	case slog.KindUint64:
		return float64(v.Uint64()), true
	case slog.KindFloat64:
		return v.Float64(), true
	}
	return 0, false
}

// text takes strings, and named types of strings by what they are made of: their
// methods have no say in it.
func text(v slog.Value) (string, bool) {
	if v.Kind() == slog.KindString {
		return v.String(), true
	}
	if value := reflect.ValueOf(v.Any()); value.Kind() == reflect.String {
		return value.String(), true
	}
	return "", false
}
