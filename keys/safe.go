// SPDX-License-Identifier: EUPL-1.2

package keys

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/seinhuis/seinhuis/crypto/atrest"
)

// A Safe reads and makes key files of one machine under its sealing key. Files in
// clear it reads too; what it makes is sealed. A nil Safe makes files in clear, and
// cannot read sealed ones. It prints as [sealing key].
//
// The file of a sealing key has [Roots]. A sealed file is text:
//
//	-----BEGIN SEINHUIS SEALED FILE-----
//	File: tls.pem
//
//	base64 of package atrest's row: table "file", key of the row the file's base name
//	-----END SEINHUIS SEALED FILE-----
//
// So a sealed file opens under the name that it was sealed with and under no other: what
// was put in the place of another key is refused before it is used.
type Safe struct {
	key  atrest.Key
	from string // where it was read
}

var (
	// ErrSealed says that a sealed file needs a sealing key.
	ErrSealed = errors.New("keys: the file is sealed, and no sealing key was given; name it under \"sealing\" in the configuration, or with -sealing")
	// ErrSealing says that a sealed file does not open.
	ErrSealing = errors.New("keys: the file does not open: it was sealed under another sealing key, or changed since; give the sealing key of the machine that sealed it, or put the file back from its copy")
	// ErrMoved says that a sealed file has another's name.
	ErrMoved = errors.New("keys: this file was sealed under another name, so it is another key; put each file back under its own name")
	// ErrCredential says that a credential is not there.
	ErrCredential = errors.New("keys: the service has no such credential; name it with LoadCredential= or LoadCredentialEncrypted= in its systemd unit")
)

const (
	pemSealed = "SEINHUIS SEALED FILE"
	tableFile = "file"

	// credential before a name stands for a file that systemd gives a service.
	credential = "credential:"
)

// OpenSafe reads a sealing key from a file, or, where it is named "credential:NAME",
// from the credential that systemd gives the service under that name. Of no name there
// is no Safe: it is nil.
func OpenSafe(where string) (*Safe, error) {
	if where == "" {
		return nil, nil
	}
	text, err := readSealingKey(where)
	if err != nil {
		return nil, err
	}
	roots, err := parseRoots(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, where)
	}
	key, err := roots.Key()
	if err != nil {
		return nil, err
	}
	return &Safe{key, where}, nil
}

func readSealingKey(where string) ([]byte, error) {
	name, is := strings.CutPrefix(where, credential)
	if !is {
		return readFile(where, 0o077)
	}
	folder := os.Getenv("CREDENTIALS_DIRECTORY")
	if folder == "" || name == "" || filepath.Base(name) != name || !filepath.IsLocal(name) {
		return nil, fmt.Errorf("%w: %s", ErrCredential, where)
	}
	// Who may read it systemd sees to, by access lists that look like a group's.
	text, err := readFile(filepath.Join(folder, name), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrCredential, where)
	}
	return text, err
}

// SealingFile is the file that a sealing key is named by, absolute where it is a path
// relative to a folder.
func SealingFile(where, folder string) string {
	if where == "" || strings.HasPrefix(where, credential) || filepath.IsAbs(where) {
		return where
	}
	return filepath.Join(folder, where)
}

// seal gives what stands in a file for a text.
func (s *Safe) seal(path string, text []byte) ([]byte, error) {
	if s == nil {
		return text, nil
	}
	name := filepath.Base(path)
	sealed, err := s.key.Seal(tableFile, []byte(name), text)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	return sealedText(name, sealed), nil
}

func sealedText(name string, sealed []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemSealed, Headers: map[string]string{"File": name}, Bytes: sealed})
}

// IsSealed tells whether a text is that of a sealed file.
func IsSealed(text []byte) bool { return bytes.HasPrefix(text, []byte("-----BEGIN "+pemSealed)) }

// parseSealed takes a sealed file apart, strictly.
func parseSealed(text []byte) (name string, sealed []byte, ok bool) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != pemSealed || len(rest) > 0 || len(block.Headers) != 1 || len(block.Bytes) < atrest.Overhead {
		return "", nil, false
	}
	name = block.Headers["File"]
	return name, block.Bytes, bytes.Equal(text, sealedText(name, block.Bytes))
}

// Open gives the text of which seal gave text, as it was read from a file.
func (s *Safe) Open(path string, text []byte) ([]byte, error) {
	if !IsSealed(text) {
		return text, nil
	}
	name, sealed, ok := parseSealed(text)
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrMalformed, path)
	}
	if name != filepath.Base(path) {
		return nil, fmt.Errorf("%w: %s, sealed as %q", ErrMoved, path, name)
	}
	if s == nil {
		return nil, fmt.Errorf("%w: %s", ErrSealed, path)
	}
	plain, err := s.key.Open(tableFile, []byte(name), sealed)
	if err != nil {
		return nil, fmt.Errorf("%w: %s, under %s", ErrSealing, path, s.from)
	}
	return plain, nil
}

// Seal seals a file that is in clear or under an older sealing key, in place. It tells
// whether there was anything to do. Killed at any moment it leaves a file that opens,
// sealed as before or anew; what was in clear is written over when the new file is there.
func (s *Safe) Seal(path string) (changed bool, err error) {
	text, err := readFile(path, 0o077)
	if err != nil {
		return false, err
	}
	if s == nil {
		return false, fmt.Errorf("%w: %s", ErrSealed, path)
	}
	plain, err := s.Open(path, text)
	if err != nil {
		return false, err
	}
	if _, sealed, ok := parseSealed(text); ok && sealed[0] == s.key.Generation() {
		// A crash may have left what was to come in its place.
		return false, removeNext(path)
	}
	return true, s.ReplacePrivate(path, plain)
}

// Format prints [sealing key], whatever the verb.
func (*Safe) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[sealing key]") }

// LogValue logs [sealing key].
func (*Safe) LogValue() slog.Value { return slog.StringValue("[sealing key]") }

// MarshalText writes [sealing key].
func (*Safe) MarshalText() ([]byte, error) { return []byte("[sealing key]"), nil }

// readFile asks the open file for its mode, so that the file that is checked is the
// file that is read. Who may read it other than forbidden says is not looked at.
func readFile(path string, forbidden fs.FileMode) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s", ErrMalformed, path)
	}
	if info.Mode().Perm()&forbidden != 0 {
		return nil, fmt.Errorf("%w: %s", ErrMode, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	return text, nil
}
