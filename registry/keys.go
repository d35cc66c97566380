// SPDX-License-Identifier: EUPL-1.2

package registry

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"slices"
	"sync"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/atrest"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/keys"
)

// Keys are the secrets that make a stored registry readable: the row key that
// seals rows and the pepper that hides what rows are found by. They live in a
// file outside database and backups. They print as [registry keys].
type Keys struct {
	Rows atrest.Key
	macs *sync.Pool // of hash.Hash: HMAC under the pepper, its two blocks of key done
}

// ErrKeys says that a key file is not one that `registry keygen` makes.
var ErrKeys = errors.New("registry: not a registry key file: make one with `registry keygen`")

// keyFile is the form of the file; 32 bytes each.
type keyFile struct {
	Generation byte            `json:"generation"`
	RowKey     encoding.Base64 `json:"rowKey"`
	Pepper     encoding.Base64 `json:"pepper"`
	Older      []olderKey      `json:"older,omitempty"` // newest first
}

// olderKey opens what was sealed before the row key that is now.
type olderKey struct {
	Generation byte            `json:"generation"`
	RowKey     encoding.Base64 `json:"rowKey"`
}

// roots are the generations of the row key.
func (f keyFile) roots() keys.Roots {
	roots := keys.Roots{{Generation: f.Generation, Value: f.RowKey}}
	for _, o := range f.Older {
		roots = append(roots, keys.Root{Generation: o.Generation, Value: o.RowKey})
	}
	return roots
}

// set puts the generations of the row key.
func (f *keyFile) set(roots keys.Roots) {
	f.Generation, f.RowKey, f.Older = roots[0].Generation, roots[0].Value, nil
	for _, r := range roots[1:] {
		f.Older = append(f.Older, olderKey{r.Generation, r.Value})
	}
}

func (f keyFile) text() []byte {
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		panic(err) // fixed types
	}
	return append(b, '\n')
}

func parseKeyFile(file []byte) (f keyFile, rows atrest.Key, err error) {
	if err := encoding.UnmarshalJSON(file, &f); err != nil || len(f.Pepper) != 32 {
		return f, rows, ErrKeys
	}
	if rows, err = f.roots().Key(); err != nil {
		return f, rows, ErrKeys
	}
	return f, rows, nil
}

// KeyFileForm is how the file holds the generations of the row key. The pepper stays:
// rows are found by it, in the database and in what parties were told.
var KeyFileForm = keys.Form{
	Renew: func(file []byte) ([]byte, error) {
		f, _, err := parseKeyFile(file)
		if err != nil {
			return nil, err
		}
		roots, err := f.roots().Renewed()
		if err != nil {
			return nil, err
		}
		f.set(roots)
		return f.text(), nil
	},
	Newest: func(file []byte) ([]byte, error) {
		f, _, err := parseKeyFile(file)
		if err != nil {
			return nil, err
		}
		f.set(f.roots()[:1])
		return f.text(), nil
	},
}

// NewKeyFile draws a row key of generation 1 and a pepper.
func NewKeyFile() []byte {
	f := keyFile{Generation: 1, RowKey: make([]byte, 32), Pepper: make([]byte, 32)}
	rand.Read(f.RowKey)
	rand.Read(f.Pepper)
	return f.text()
}

// ParseKeys reads what NewKeyFile writes.
func ParseKeys(file []byte) (Keys, error) {
	f, rows, err := parseKeyFile(file)
	if err != nil {
		return Keys{}, err
	}
	macs := &sync.Pool{New: func() any { return hmac.New(sha256.New, f.Pepper) }}
	return Keys{Rows: rows, macs: macs}, nil
}

// Idx is where signals with a tag are found in one epoch.
func (k Keys) Idx(epoch uint64, tag api.Tag) Idx {
	return Idx(k.mac(append(binary.BigEndian.AppendUint32(nil, uint32(epoch)), tag[:]...)))
}

// Place is where a signal matches as long as an epoch is the one in force: under the
// idx of its face there. A signal without such a face has no place.
func (k Keys) Place(s api.Statement, epoch uint64) (Idx, bool) {
	i := slices.IndexFunc(s.Faces, func(f api.Face) bool { return f.Epoch == epoch })
	if i < 0 {
		return Idx{}, false
	}
	return k.Idx(epoch, s.Faces[i].Tag), true
}

// EpochAt is the epoch of the face by which a signal stands under an idx; 0 if it
// does not belong there.
func (k Keys) EpochAt(idx Idx, s api.Statement) uint64 {
	for _, f := range s.Faces {
		if k.Idx(f.Epoch, f.Tag) == idx {
			return f.Epoch
		}
	}
	return 0
}

// Feed is where a party's feed is found: HMAC(pepper, party)[:16].
func (k Keys) Feed(party api.PartyID) [16]byte { return k.mac([]byte(party)) }

// Slot is where a party's signal is found under an idx. It is another one under
// every idx: whoever reads keys without the pepper must not see which children
// one party signals.
func (k Keys) Slot(idx Idx, party api.PartyID) [16]byte {
	return k.mac(slices.Concat([]byte("slot\x00"), idx[:], []byte(party)))
}

// Grave is where the tombstone of a signal is found. It does not depend on the
// tag: what is left of an ended signal must not lead back to the child.
func (k Keys) Grave(party api.PartyID, sid api.SID) [16]byte {
	return k.mac(slices.Concat([]byte("grave\x00"), sid[:], []byte(party)))
}

func (k Keys) mac(msg []byte) [16]byte {
	h := k.macs.Get().(hash.Hash)
	defer k.macs.Put(h)
	h.Reset()
	h.Write(msg)
	return [16]byte(h.Sum(make([]byte, 0, sha256.Size)))
}

// Format prints [registry keys], whatever the verb.
func (Keys) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[registry keys]") }

// LogValue logs [registry keys].
func (Keys) LogValue() slog.Value { return slog.StringValue("[registry keys]") }

// MarshalText writes [registry keys].
func (Keys) MarshalText() ([]byte, error) { return []byte("[registry keys]"), nil }
