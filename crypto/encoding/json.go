// SPDX-License-Identifier: EUPL-1.2

package encoding

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"
)

const maxJSONDepth = 32

// UnmarshalJSON reads JSON strictly into v, a pointer: one value and nothing
// behind it, in UTF-8, no null, no key twice, and no key that v does not have in
// exactly that spelling (encoding/json by itself takes the last of two equal
// keys, and "Epoch" for "epoch"). Errors wrap ErrMalformed and name the line and
// the field; they never repeat what was read.
func UnmarshalJSON(data []byte, v any) error {
	if !utf8.Valid(data) {
		return fmt.Errorf("%w: JSON that is not UTF-8", ErrMalformed)
	}
	s := strictJSON{data: data, dec: json.NewDecoder(bytes.NewReader(data))}
	if err := s.value(reflect.ValueOf(v).Elem(), ""); err != nil {
		return err
	}
	if _, err := s.dec.Token(); err != io.EOF {
		return s.fault("", "something follows the value")
	}
	return nil
}

type strictJSON struct {
	data  []byte
	dec   *json.Decoder
	depth int
}

func (s *strictJSON) fault(path, what string) error {
	line := 1 + bytes.Count(s.data[:s.dec.InputOffset()], []byte("\n"))
	if path == "" {
		return fmt.Errorf("%w: JSON, line %d: %s", ErrMalformed, line, what)
	}
	return fmt.Errorf("%w: JSON, line %d, %s: %s", ErrMalformed, line, path, what)
}

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[interface{ UnmarshalText([]byte) error }]()
)

// value descends into structs and slices of its own accord, for the sake of
// their keys; anything else is one leaf for encoding/json.
func (s *strictJSON) value(v reflect.Value, path string) error {
	if s.depth++; s.depth > maxJSONDepth {
		return s.fault(path, "nested too deeply")
	}
	defer func() { s.depth-- }()
	pointer := reflect.PointerTo(v.Type())
	own := pointer.Implements(jsonUnmarshaler) || pointer.Implements(textUnmarshaler)
	switch kind := v.Kind(); {
	case own:
		return s.leaf(v, path)
	case kind == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return s.value(v.Elem(), path)
	case kind == reflect.Struct:
		return s.object(v, path)
	case kind == reflect.Slice:
		return s.array(v, path)
	case kind == reflect.Map || kind == reflect.Interface || kind == reflect.Array:
		panic("encoding: UnmarshalJSON reads structs, slices and plain values only")
	}
	return s.leaf(v, path)
}

func (s *strictJSON) leaf(v reflect.Value, path string) error {
	var raw json.RawMessage
	if err := s.dec.Decode(&raw); err != nil {
		return s.fault(path, "not JSON")
	}
	if string(raw) == "null" {
		return s.fault(path, "null stands for nothing here; leave the key out")
	}
	if err := json.Unmarshal(raw, v.Addr().Interface()); err != nil {
		// Only our own errors are known to hold no value.
		if errors.Is(err, ErrMalformed) {
			return s.fault(path, strings.TrimPrefix(err.Error(), ErrMalformed.Error()+": "))
		}
		return s.fault(path, "the value does not fit the field")
	}
	return nil
}

func (s *strictJSON) open(delim json.Delim, path, want string) error {
	t, err := s.dec.Token()
	if err != nil {
		return s.fault(path, "not JSON")
	}
	if t != delim {
		return s.fault(path, want+" was expected")
	}
	return nil
}

func (s *strictJSON) array(v reflect.Value, path string) error {
	if err := s.open('[', path, "a list"); err != nil {
		return err
	}
	list := reflect.MakeSlice(v.Type(), 0, 0)
	for s.dec.More() {
		item := reflect.New(v.Type().Elem()).Elem()
		if err := s.value(item, path); err != nil {
			return err
		}
		list = reflect.Append(list, item)
	}
	v.Set(list)
	return s.open(']', path, "the end of the list")
}

func (s *strictJSON) object(v reflect.Value, path string) error {
	if err := s.open('{', path, "an object"); err != nil {
		return err
	}
	fields := map[string]reflect.Value{}
	jsonFields(v, fields)
	for s.dec.More() {
		t, err := s.dec.Token()
		if err != nil {
			return s.fault(path, "not JSON")
		}
		key, _ := t.(string)
		field, ok := fields[key]
		if !ok {
			return s.fault(path, "a key that is not known here")
		}
		if !field.IsValid() {
			return s.fault(join(path, key), "the key stands twice")
		}
		fields[key] = reflect.Value{}
		if err := s.value(field, join(path, key)); err != nil {
			return err
		}
	}
	return s.open('}', path, "the end of the object")
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// jsonFields collects the fields of a struct by their JSON names; those of an
// embedded struct without a name stand among the others, as in encoding/json.
func jsonFields(v reflect.Value, into map[string]reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct:
			jsonFields(v.Field(i), into)
		case !f.IsExported() || name == "-":
		case name == "":
			into[f.Name] = v.Field(i)
		default:
			into[name] = v.Field(i)
		}
	}
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
