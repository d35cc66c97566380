// SPDX-License-Identifier: EUPL-1.2

package edge

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
)

const (
	mediaJSON  = "application/json"
	mediaLines = "application/x-ndjson"

	// How long a client may take to send a body, and one of lines.
	bodyTime  = 15 * time.Second
	linesTime = time.Minute
)

// limit bounds the body of a request in size and time.
func (s *Service) limit(w http.ResponseWriter, r *http.Request, op *Operation, media string) {
	within := s.BodyTime
	switch {
	case within > 0:
	case media == mediaLines:
		within = linesTime
	default:
		within = bodyTime
	}
	// A writer without deadlines is a test's recorder, and a test's body is there.
	deadlines := http.NewResponseController(w)
	r.Body = &limited{http.MaxBytesReader(w, r.Body, op.Limit), deadlines, within}
}

// A limited body has to arrive in time from when it is first read.
type limited struct {
	io.ReadCloser
	deadlines *http.ResponseController
	within    time.Duration // zero once it counts
}

func (l *limited) Read(p []byte) (int, error) {
	if l.within > 0 {
		_ = l.deadlines.SetReadDeadline(time.Now().Add(l.within))
		l.within = 0
	}
	n, err := l.ReadCloser.Read(p)
	if err != nil {
		_ = l.deadlines.SetReadDeadline(time.Time{})
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			err = api.Refuse(api.CodeTooLarge, nil)
		}
	}
	return n, err
}

// validated is a body of which value was validated: oapi-codegen's code takes that
// and does not parse the text again.
type validated struct{ value any }

func (v validated) ValidatedValue() any { return v.value }

// Read gives the end: whoever comes here could not use the value.
func (v validated) Read([]byte) (int, error) { return 0, io.EOF }
func (v validated) Close() error             { return nil }

// bytesPerValue is how much of the limit of a body each of its values takes: one that
// is wrong is an error of its own to kin-openapi, some kilobytes long.
const bytesPerValue = 128

// readAll reads a body behind its limits.
func readAll(body io.Reader) ([]byte, error) {
	text, err := io.ReadAll(body)
	if _, ok := errors.AsType[*api.Error](err); err != nil && !ok {
		err = api.Refuse(api.CodeMalformed, err)
	}
	return text, err
}

// parse takes JSON apart, strictly: one value and nothing behind it, in UTF-8, no
// null, no key twice. Numbers stay text. A fault names the place; an error says that
// there are too many values for the limit.
func (d *Description) parse(body []byte, limit int64) (value any, fault *api.Fault, err error) {
	p := parser{d: jsontext.NewDecoder(bytes.NewBuffer(body)), left: int(limit/bytesPerValue) + 100}
	value, err = p.value()
	if err == nil {
		if _, end := p.d.ReadToken(); end != io.EOF {
			err = errForm
		}
	}
	switch {
	case err == nil:
		return value, nil, nil
	case errors.Is(err, errMany):
		return nil, nil, api.Refuse(api.CodeTooLarge, nil)
	}
	pointer := p.d.StackPointer()
	return nil, &api.Fault{In: "body", Name: d.place(strings.Split(strings.TrimPrefix(string(pointer), "/"), "/")), Code: api.FaultForm}, nil
}

var (
	errForm = errors.New("edge: not the JSON that is asked for")
	errMany = errors.New("edge: too many values")
)

type parser struct {
	d    *jsontext.Decoder
	left int // values that are still allowed
}

func (p *parser) value() (any, error) {
	if p.left--; p.left < 0 {
		return nil, errMany
	}
	token, err := p.d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch token.Kind() {
	case jsontext.KindString:
		return token.String(), nil
	case jsontext.KindNumber:
		return json.Number(token.String()), nil
	case jsontext.KindTrue, jsontext.KindFalse:
		return token.Bool(), nil
	case jsontext.KindBeginArray:
		list := []any{}
		for p.d.PeekKind() != jsontext.KindEndArray {
			one, err := p.value()
			if err != nil {
				return nil, err
			}
			list = append(list, one)
		}
		_, err := p.d.ReadToken()
		return list, err
	case jsontext.KindBeginObject:
		object := map[string]any{}
		for p.d.PeekKind() != jsontext.KindEndObject {
			name, err := p.d.ReadToken()
			if err != nil {
				return nil, err
			}
			key := name.String()
			if object[key], err = p.value(); err != nil {
				return nil, err
			}
		}
		_, err := p.d.ReadToken()
		return object, err
	}
	return nil, errForm // null stands for nothing here
}

// A Line is one line of a body: its value, or why it has none.
type Line[T any] struct {
	Value T
	Fault error // *api.Error
}

// ReadLines reads a body of lines of JSON, at most most of them. A line that does
// not decode strictly is a fault of that line alone.
func ReadLines[T any](body io.Reader, most int) ([]Line[T], error) {
	text, err := readAll(body)
	if err != nil {
		return nil, err
	}
	var lines []Line[T]
	for one := range bytes.Lines(text) {
		if len(lines) == most {
			return nil, api.Refuse(api.CodeTooLarge, nil)
		}
		var line Line[T]
		if err := encoding.UnmarshalJSON(bytes.TrimSpace(one), &line.Value); err != nil {
			line.Fault = api.Refuse(api.CodeMalformed, err)
		}
		lines = append(lines, line)
	}
	return lines, nil
}
