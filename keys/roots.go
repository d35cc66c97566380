// SPDX-License-Identifier: EUPL-1.2

package keys

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"github.com/seinhuis/seinhuis/crypto/atrest"
	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// Roots are the generations of a key that seals: the newest first, which seals; the
// others open what they have sealed. They print as [roots]. In a file each is a line,
// its generation before it; without one it is the first, as [WriteSecret] makes it:
//
//	2 base64 of 32 bytes
//	1 base64 of 32 bytes
type Roots []Root

// A Root is one generation's 32 bytes.
type Root struct {
	Generation byte // from 1
	Value      encoding.Base64
}

// ErrGenerations says that there are no more generations to be had.
var ErrGenerations = errors.New("keys: this key has had 255 generations; make another one")

// Key is what seals and opens rows under these roots.
func (r Roots) Key() (key atrest.Key, err error) {
	if len(r) == 0 {
		return key, atrest.ErrRoot
	}
	for i, root := range r {
		one, err := atrest.NewKey(root.Generation, root.Value)
		if err == nil && root.Generation == 0 {
			err = atrest.ErrRoot
		}
		if err == nil && i > 0 {
			one, err = key.After(one)
		}
		if err != nil {
			return atrest.Key{}, err
		}
		key = one
	}
	return key, nil
}

// Renewed are these roots after a new one.
func (r Roots) Renewed() (Roots, error) {
	next := Root{Generation: 1, Value: make([]byte, atrest.RootSize)}
	for _, root := range r {
		if root.Generation == 255 {
			return nil, ErrGenerations
		}
		next.Generation = max(next.Generation, root.Generation+1)
	}
	rand.Read(next.Value)
	return append(Roots{next}, r...), nil
}

// text is the form of a file with roots.
func (r Roots) text() []byte {
	var b strings.Builder
	for _, root := range r {
		fmt.Fprintf(&b, "%d %s\n", root.Generation, base64.StdEncoding.EncodeToString(root.Value))
	}
	return []byte(b.String())
}

func parseRoots(text []byte) (roots Roots, err error) {
	body, ok := strings.CutSuffix(string(text), "\n")
	if !ok {
		return nil, ErrMalformed
	}
	for line := range strings.SplitSeq(body, "\n") {
		number, value, numbered := strings.Cut(line, " ")
		if !numbered {
			number, value = "1", line
		}
		generation, err := strconv.ParseUint(number, 10, 8)
		root, err2 := encoding.ParseBase64(value)
		if err != nil || err2 != nil || strconv.FormatUint(generation, 10) != number {
			return nil, ErrMalformed
		}
		roots = append(roots, Root{byte(generation), root})
	}
	if _, err := roots.Key(); err != nil {
		return nil, ErrMalformed
	}
	return roots, nil
}

// Roots reads a file with roots.
func (s *Safe) Roots(path string) (Roots, error) {
	text, err := s.ReadPrivate(path)
	if err != nil {
		return nil, err
	}
	roots, err := parseRoots(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, path)
	}
	return roots, nil
}

// A Form is how a file holds the generations of a key.
type Form struct {
	// Renew gives the text with a new generation, which seals from then on.
	Renew func(text []byte) ([]byte, error)
	// Newest gives the text without the generations before it.
	Newest func(text []byte) ([]byte, error)
}

// RootsForm is the form of [Roots].
var RootsForm = Form{
	Renew: func(text []byte) ([]byte, error) {
		roots, err := parseRoots(text)
		if err == nil {
			roots, err = roots.Renewed()
		}
		return roots.text(), err
	},
	Newest: func(text []byte) ([]byte, error) {
		roots, err := parseRoots(text)
		if err != nil {
			return nil, err
		}
		return roots[:1].text(), nil
	},
}

// Change changes the generations in a file.
func (s *Safe) Change(path string, change func(text []byte) ([]byte, error)) error {
	text, err := s.ReadPrivate(path)
	if err != nil {
		return err
	}
	if text, err = change(text); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return s.ReplacePrivate(path, text)
}

// Format prints [roots], whatever the verb.
func (Roots) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[roots]") }

// LogValue logs [roots].
func (Roots) LogValue() slog.Value { return slog.StringValue("[roots]") }

// MarshalText writes [roots].
func (Roots) MarshalText() ([]byte, error) { return []byte("[roots]"), nil }
