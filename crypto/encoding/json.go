// SPDX-License-Identifier: EUPL-1.2

package encoding

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// UnmarshalJSON reads JSON strictly into v, a pointer: one value and nothing
// behind it, in UTF-8, no null, no key twice, and no key that v does not have in
// exactly that spelling (encoding/json by itself takes the last of two equal
// keys, and "Epoch" for "epoch"). Errors wrap ErrMalformed and name the line and
// the field; they never repeat what was read.
func UnmarshalJSON(data []byte, v any) error {
	if at := nullAt(data); at >= 0 {
		return jsonFault(data, at, "", "null stands for nothing here; leave the key out")
	}
	err := json.Unmarshal(data, v, json.RejectUnknownMembers(true))
	if err == nil {
		return nil
	}
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		what := "not JSON"
		if errors.Is(err, jsontext.ErrDuplicateName) {
			what = "a key stands twice"
		}
		return jsonFault(data, int(syntax.ByteOffset), "", what)
	}
	semantic, ok := errors.AsType[*json.SemanticError](err)
	switch {
	case !ok:
		return jsonFault(data, 0, "", "not what was expected")
	case errors.Is(err, json.ErrUnknownName): // the last name of the pointer is the sender's
		return jsonFault(data, int(semantic.ByteOffset), semantic.JSONPointer.Parent(), "a key that is not known here")
	case errors.Is(semantic.Err, ErrMalformed): // our own errors are known to hold no value
		return jsonFault(data, int(semantic.ByteOffset), semantic.JSONPointer, strings.TrimPrefix(semantic.Err.Error(), ErrMalformed.Error()+": "))
	}
	return jsonFault(data, int(semantic.ByteOffset), semantic.JSONPointer, "the value does not fit the field")
}

// nullAt finds the first null. Only the syntax up to there is looked at.
func nullAt(data []byte) int {
	d := jsontext.NewDecoder(bytes.NewReader(data))
	for {
		token, err := d.ReadToken()
		if err != nil {
			return -1
		}
		if token.Kind() == jsontext.KindNull {
			return int(d.InputOffset())
		}
	}
}

func jsonFault(data []byte, at int, field jsontext.Pointer, what string) error {
	line := 1 + bytes.Count(data[:min(at, len(data))], []byte("\n"))
	if field == "" {
		return fmt.Errorf("%w: JSON, line %d: %s", ErrMalformed, line, what)
	}
	return fmt.Errorf("%w: JSON, line %d, %s: %s", ErrMalformed, line, field, what)
}

// MarshalText writes 16 lower-case hexadecimal digits.
func (id KeyID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (id *KeyID) UnmarshalText(text []byte) error { return ParseHex(id[:], text) }

// ParseHex reads lower-case hexadecimal digits that fill dst exactly.
func ParseHex(dst, text []byte) error {
	raw, err := hex.DecodeString(string(text))
	if err != nil || len(raw) != len(dst) || hex.EncodeToString(raw) != string(text) {
		return fmt.Errorf("%w: %d lower-case hexadecimal digits were expected", ErrMalformed, 2*len(dst))
	}
	copy(dst, raw)
	return nil
}
