// SPDX-License-Identifier: EUPL-1.2

package seal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Longest fields of a card, in bytes of UTF-8. All of them together fit a card
// when nothing in them needs escaping in JSON.
const (
	MaxName      = 80
	MaxRole      = 60
	MaxDesk      = 80
	MaxPhone     = 32
	MaxEmail     = 100
	MaxReachable = 120
)

// A Card is how a professional, or the desk for him, is reached. It prints as
// [contact card]; JSON gives what is in it.
type Card struct {
	Name      string // of the professional; empty when shielded
	Role      string
	Desk      string // the desk or team behind him
	Phone     string
	Email     string
	Reachable string // when, in words
}

// Format prints [contact card], whatever the verb.
func (Card) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[contact card]") }

// LogValue logs [contact card].
func (Card) LogValue() slog.Value { return slog.StringValue("[contact card]") }

// MarshalText writes [contact card].
func (Card) MarshalText() ([]byte, error) { return []byte("[contact card]"), nil }

// A FieldRule is what a field breaks.
type FieldRule string

// Rules of fields.
const (
	FieldMissing FieldRule = "missing"  // obligatory and not there, or no day that exists
	FieldTooLong FieldRule = "too-long" // over its maximum
	FieldText    FieldRule = "text"     // not UTF-8, or with control characters
)

// A FieldError says which field of a card or keybox breaks which rule: name,
// role, desk, phone, email, reachable, card for all together, birthday23 or
// reference. It never holds the value.
type FieldError struct {
	Field string
	Rule  FieldRule
	Max   int // bytes, with FieldTooLong
}

func (e *FieldError) Error() string {
	if e.Rule == FieldTooLong {
		return fmt.Sprintf("seal: %s: longer than %d bytes", e.Field, e.Max)
	}
	return fmt.Sprintf("seal: %s: %s", e.Field, e.Rule)
}

// cardField ties a key of the JSON to its place and maximum.
type cardField struct {
	key   string
	max   int
	value *string
}

// list has the fields in the order in which they are written.
func (c *Card) list() []cardField {
	return []cardField{
		{"name", MaxName, &c.Name},
		{"role", MaxRole, &c.Role},
		{"desk", MaxDesk, &c.Desk},
		{"phone", MaxPhone, &c.Phone},
		{"email", MaxEmail, &c.Email},
		{"reachable", MaxReachable, &c.Reachable},
	}
}

// Validate checks a card before it is sealed: it names somebody or a desk, by
// phone or e-mail, within the maximum of each field and of the whole. It gives a
// *FieldError.
func (c Card) Validate() error {
	_, err := c.JSON()
	return err
}

// JSON writes a valid card as it travels: {"v":1,"name":…}, every key, no spaces.
func (c Card) JSON() ([]byte, error) {
	if err := c.wellFormed(); err != nil {
		return nil, err
	}
	if c.Name == "" && c.Desk == "" {
		return nil, &FieldError{"name", FieldMissing, 0}
	}
	if c.Phone == "" && c.Email == "" {
		return nil, &FieldError{"phone", FieldMissing, 0}
	}
	var b bytes.Buffer
	b.WriteString(`{"v":1`)
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // six bytes for an ampersand would be a waste here
	for _, f := range c.list() {
		b.WriteString(`,"` + f.key + `":`)
		if err := enc.Encode(*f.value); err != nil {
			return nil, fmt.Errorf("seal: %w", err)
		}
		b.Truncate(b.Len() - 1) // Encode ends in a newline
	}
	b.WriteByte('}')
	if b.Len() > maxJSON {
		return nil, &FieldError{"card", FieldTooLong, maxJSON}
	}
	return b.Bytes(), nil
}

// wellFormed checks each field by itself, as sender and receiver both do.
func (c Card) wellFormed() error {
	for _, f := range c.list() {
		if err := checkText(f.key, *f.value, f.max); err != nil {
			return err
		}
	}
	return nil
}

// checkText refuses control characters: what they do to a screen or a mail is not
// the sender's to decide.
func checkText(field, value string, max int) error {
	switch {
	case len(value) > max:
		return &FieldError{field, FieldTooLong, max}
	case !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl):
		return &FieldError{field, FieldText, 0}
	}
	return nil
}

// ParseCard reads a card that is to be sent, and refuses what it does not know:
// an unknown key is a spelling mistake, and a contact detail less.
func ParseCard(text []byte) (Card, error) {
	c, err := readCard(text, false)
	if err != nil {
		return Card{}, err
	}
	if err := c.Validate(); err != nil {
		return Card{}, err
	}
	return c, nil
}

// readCard reads the JSON of a card. A receiver ignores unknown keys, which a
// newer sender may have. Nobody takes a key given twice, because two readers
// would take different ones.
func readCard(text []byte, ignoreUnknown bool) (Card, error) {
	malformed := func(what string) (Card, error) {
		return Card{}, fmt.Errorf("%w: the card's JSON: %s", ErrMalformed, what)
	}
	if !utf8.Valid(text) {
		return malformed("not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber() // a number that is ignored need not fit a float
	if err := uniqueKeys(dec); err != nil {
		return malformed("not a value with each key once")
	}
	// By way of a map, for encoding/json takes "Name" for a struct's "name".
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil || object == nil {
		return malformed("not one object")
	}
	if string(object["v"]) != "1" {
		return malformed("v is not 1")
	}
	delete(object, "v")
	var c Card
	for _, f := range c.list() {
		raw, ok := object[f.key]
		if !ok {
			continue
		}
		if raw[0] != '"' || json.Unmarshal(raw, f.value) != nil {
			return malformed("a field is not text")
		}
		delete(object, f.key)
	}
	if len(object) > 0 && !ignoreUnknown {
		return malformed("an unknown key")
	}
	if err := c.wellFormed(); err != nil {
		return Card{}, err
	}
	return c, nil
}

var errDuplicate = fmt.Errorf("%w: a key twice", ErrMalformed)

// uniqueKeys reads one value and wants every object in it to have each key once.
func uniqueKeys(dec *json.Decoder) error {
	t, err := dec.Token()
	if err != nil {
		return err
	}
	open, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	seen := make(map[string]bool)
	for dec.More() {
		if open == '{' {
			key, err := dec.Token()
			if err != nil {
				return err
			}
			name := key.(string) // the decoder takes nothing else here
			if seen[name] {
				return errDuplicate
			}
			seen[name] = true
		}
		if err := uniqueKeys(dec); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}
