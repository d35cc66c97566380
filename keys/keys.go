// SPDX-License-Identifier: EUPL-1.2

// Package keys keeps keys in files: one key a file, made by a command of its own
// and never as a side effect.
//
//	key       file                             made by       read by
//	signing   PEM, PKCS#8, Ed25519             WriteSigning  ReadSigning
//	hpke      PEM, PKCS#8, X25519              WriteHPKE     ReadHPKE
//	tls       PEM, PKCS#8, ECDSA P-256, and    WriteTLS      ReadTLS
//	          a certificate beside it
//	note      one line, PRIVATE+KEY+… of       WriteNote     ReadNote
//	          golang.org/x/mod/sumdb/note
//	secret    one line of base64               WriteSecret   Secret
//
// A file with something secret in it is made with mode 0600, is on disk before
// its public half is told to anybody, and never replaces another. One that its
// group or others can read is refused, because such a key may have been copied.
//
// On a machine with a sealing key, files are sealed under it: a [Safe] does all of the
// above, and [Clear] does it for files in clear.
package keys

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

var (
	// ErrExists says that a file is there already; keys are never overwritten.
	ErrExists = errors.New("keys: the file exists; move it away first if the key in it may go")
	// ErrMode says that others than the owner can read a key.
	ErrMode = errors.New("keys: others than the owner can read the file; run chmod 600 on it, or replace the key if it may have been copied")
	// ErrMalformed says that a file does not hold one key of the expected kind.
	ErrMalformed = errors.New("keys: the file does not hold one key of this kind")
)

const pemPrivateKey = "PRIVATE KEY"

// maxFile is far over any key and bounds what is read of a file named by mistake;
// what is cut off there is no key.
const maxFile = 64 << 10

// WriteSigning makes an Ed25519 key and gives its public half.
func (s *Safe) WriteSigning(path string) (ed25519.PublicKey, error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	if err := s.writePKCS8(path, private); err != nil {
		return nil, err
	}
	return public, nil
}

// ReadSigning reads the key that WriteSigning made.
func (s *Safe) ReadSigning(path string) (ed25519.PrivateKey, error) {
	return readPKCS8[ed25519.PrivateKey](s, path)
}

// WriteHPKE makes an X25519 key for keyboxes and gives its public half; its
// Bytes are the 32 bytes that the directory lists.
func (s *Safe) WriteHPKE(path string) (*ecdh.PublicKey, error) {
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	if err := s.writePKCS8(path, private); err != nil {
		return nil, err
	}
	return private.PublicKey(), nil
}

// ReadHPKE reads the key that WriteHPKE made. Keys of other curves are of another
// type in PKCS#8.
func (s *Safe) ReadHPKE(path string) (*ecdh.PrivateKey, error) {
	return readPKCS8[*ecdh.PrivateKey](s, path)
}

// WriteNote makes a key for signed notes under a name, without spaces or plus
// signs, and gives the verifier key that others pin.
func (s *Safe) WriteNote(path, name string) (vkey string, err error) {
	if name == "" || strings.ContainsAny(name, "+ \t\r\n") {
		return "", fmt.Errorf("keys: the name of a note's key is not empty and has no spaces or plus signs")
	}
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return "", fmt.Errorf("keys: %w", err)
	}
	if err := s.WriteLine(path, skey); err != nil {
		return "", err
	}
	return vkey, nil
}

// ReadNote reads the key that WriteNote made.
func (s *Safe) ReadNote(path string) (note.Signer, error) {
	line, err := s.ReadLine(path)
	if err != nil {
		return nil, err
	}
	signer, err := note.NewSigner(line)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrMalformed, path)
	}
	return signer, nil
}

// WriteSecret makes a file with n random bytes.
func (s *Safe) WriteSecret(path string, n int) error {
	secret := make([]byte, n)
	rand.Read(secret)
	return s.WriteLine(path, base64.StdEncoding.EncodeToString(secret))
}

// Secret reads the bytes that WriteSecret made. Their number is the caller's to
// check.
func (s *Safe) Secret(path string) ([]byte, error) {
	line, err := s.ReadLine(path)
	if err != nil {
		return nil, err
	}
	secret, err := encoding.ParseBase64(line)
	if err != nil || len(secret) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrMalformed, path)
	}
	return secret, nil
}

// WriteLine makes a file with a secret that is one line of text, made by another.
func (s *Safe) WriteLine(path, line string) error { return s.WritePrivate(path, []byte(line+"\n")) }

// ReadLine reads what WriteLine made.
func (s *Safe) ReadLine(path string) (string, error) {
	text, err := s.ReadPrivate(path)
	if err != nil {
		return "", err
	}
	line, ok := strings.CutSuffix(string(text), "\n")
	if !ok || strings.ContainsAny(line, "\r\n") {
		return "", fmt.Errorf("%w: %s", ErrMalformed, path)
	}
	return line, nil
}

func (s *Safe) writePKCS8(path string, key any) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	return s.WritePrivate(path, pem.EncodeToMemory(&pem.Block{Type: pemPrivateKey, Bytes: der}))
}

func readPKCS8[K any](s *Safe, path string) (key K, err error) {
	text, err := s.ReadPrivate(path)
	if err != nil {
		return key, err
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != pemPrivateKey || len(bytes.TrimSpace(rest)) > 0 {
		return key, fmt.Errorf("%w: %s", ErrMalformed, path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		// The cause can quote bytes of the key; the path is enough to act on.
		return key, fmt.Errorf("%w: %s", ErrMalformed, path)
	}
	key, ok := parsed.(K)
	if !ok {
		return key, fmt.Errorf("%w: %s", ErrMalformed, path)
	}
	return key, nil
}

// write makes a file that was not there. When it returns nil, the file and its
// name are durable; when it fails, it leaves nothing behind.
func write(path string, text []byte, mode fs.FileMode) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %s", ErrExists, path)
	}
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	defer func() {
		if err != nil {
			os.Remove(path)
			err = fmt.Errorf("keys: %w", err)
		}
	}()
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return syncFolder(path)
}

// syncFolder makes the name of a file durable.
func syncFolder(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
