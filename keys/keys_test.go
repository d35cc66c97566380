// SPDX-License-Identifier: EUPL-1.2

package keys

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// kinds are the files with something secret in them, each with its writer and
// its reader.
var kinds = map[string]struct {
	write func(path string) error
	read  func(path string) error
}{
	"signing": {
		func(p string) error { _, err := Clear.WriteSigning(p); return err },
		func(p string) error { _, err := Clear.ReadSigning(p); return err },
	},
	"hpke": {
		func(p string) error { _, err := Clear.WriteHPKE(p); return err },
		func(p string) error { _, err := Clear.ReadHPKE(p); return err },
	},
	"note": {
		func(p string) error { _, err := Clear.WriteNote(p, "evaluator-1"); return err },
		func(p string) error { _, err := Clear.ReadNote(p); return err },
	},
	"secret": {
		func(p string) error { return Clear.WriteSecret(p, 32) },
		func(p string) error { _, err := Clear.Secret(p); return err },
	},
	"tls": {
		func(p string) error { return Clear.WriteTLS(p+".crt", p, "name", nil) },
		func(p string) error { _, err := Clear.ReadTLS(p+".crt", p); return err },
	},
}

func TestFiles(t *testing.T) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			if err := kind.write(path); err != nil {
				t.Fatal(err)
			}
			if err := kind.read(path); err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(path)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
			}
			before, _ := os.ReadFile(path)

			t.Run("rejects/overwriting", func(t *testing.T) {
				if err := kind.write(path); !errors.Is(err, ErrExists) {
					t.Errorf("%v, want ErrExists", err)
				}
				if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
					t.Error("the key changed")
				}
			})
			t.Run("rejects/cut_short", func(t *testing.T) {
				short := path + ".short"
				os.WriteFile(short, before[:len(before)/2], 0o600)
				os.WriteFile(short+".crt", mustRead(path+".crt"), 0o600)
				if err := kind.read(short); !errors.Is(err, ErrMalformed) {
					t.Errorf("%v, want ErrMalformed", err)
				}
			})
			for other, o := range kinds {
				if other == name || other == "tls" || name == "tls" {
					continue
				}
				t.Run("rejects/key_of_another_kind/"+other, func(t *testing.T) {
					if err := o.read(path); !errors.Is(err, ErrMalformed) {
						t.Errorf("%v, want ErrMalformed", err)
					}
				})
			}
			for reason, mode := range map[string]os.FileMode{"readable_by_group": 0o640, "readable_by_others": 0o604} {
				t.Run("rejects/"+reason, func(t *testing.T) {
					os.Chmod(path, mode)
					if err := kind.read(path); !errors.Is(err, ErrMode) {
						t.Errorf("%v, want ErrMode", err)
					}
				})
			}
			t.Run("rejects/folder", func(t *testing.T) {
				if err := kind.read(t.TempDir()); err == nil {
					t.Error("accepted")
				}
			})
			t.Run("rejects/missing", func(t *testing.T) {
				if err := kind.read(path + ".none"); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%v, want not exist", err)
				}
			})
		})
	}
}

func mustRead(path string) []byte { b, _ := os.ReadFile(path); return b }

func TestPublicHalvesBelong(t *testing.T) {
	dir := t.TempDir()
	public, err := Clear.WriteSigning(filepath.Join(dir, "sign"))
	if err != nil {
		t.Fatal(err)
	}
	private, err := Clear.ReadSigning(filepath.Join(dir, "sign"))
	if err != nil || !public.Equal(private.Public().(ed25519.PublicKey)) {
		t.Errorf("signing: %v", err)
	}
	hpke, err := Clear.WriteHPKE(filepath.Join(dir, "hpke"))
	if err != nil {
		t.Fatal(err)
	}
	hpkePrivate, err := Clear.ReadHPKE(filepath.Join(dir, "hpke"))
	if err != nil || !hpke.Equal(hpkePrivate.PublicKey()) {
		t.Errorf("hpke: %v", err)
	}
	vkey, err := Clear.WriteNote(filepath.Join(dir, "note"), "governance")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := Clear.ReadNote(filepath.Join(dir, "note"))
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: "text\n"}, signer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := note.Open(signed, note.VerifierList(verifier)); err != nil {
		t.Error(err)
	}
}

func TestReadHPKERejectsAnotherCurve(t *testing.T) {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "p256")
	if err := (*Safe)(nil).writePKCS8(path, key); err != nil {
		t.Fatal(err)
	}
	if _, err := Clear.ReadHPKE(path); !errors.Is(err, ErrMalformed) {
		t.Errorf("%v, want ErrMalformed", err)
	}
}

func TestSecretsDiffer(t *testing.T) {
	dir := t.TempDir()
	seen := map[string]bool{}
	for _, name := range []string{"a", "b"} {
		if err := Clear.WriteSecret(filepath.Join(dir, name), 32); err != nil {
			t.Fatal(err)
		}
		secret, err := Clear.Secret(filepath.Join(dir, name))
		if err != nil || len(secret) != 32 || seen[string(secret)] {
			t.Fatalf("%d bytes, %v", len(secret), err)
		}
		seen[string(secret)] = true
	}
}

func TestCertificate(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	if err := Clear.WriteTLS(cert, key, "evaluator-1", []string{"localhost", "127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	pair, err := Clear.ReadTLS(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf := pair.Leaf
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	for _, host := range []string{"localhost", "127.0.0.1"} {
		_, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		if err != nil {
			t.Error(err)
		}
	}
	if leaf.Subject.CommonName != "evaluator-1" || leaf.IsCA || leaf.NotAfter.Before(time.Now().AddDate(4, 11, 0)) {
		t.Errorf("%v, CA %v, until %v", leaf.Subject, leaf.IsCA, leaf.NotAfter)
	}

	t.Run("pin_is_of_the_key", func(t *testing.T) {
		again := filepath.Join(dir, "again")
		if err := Clear.WriteTLS(again+".crt", again+".key", "evaluator-1", nil); err != nil {
			t.Fatal(err)
		}
		other, err := Clear.ReadTLS(again+".crt", again+".key")
		if err != nil {
			t.Fatal(err)
		}
		if SPKIHash(other.Leaf) == SPKIHash(leaf) {
			t.Error("two keys have one pin")
		}
	})
	t.Run("rejects/key_of_another_certificate", func(t *testing.T) {
		if _, err := Clear.ReadTLS(cert, filepath.Join(dir, "again.key")); !errors.Is(err, ErrMalformed) {
			t.Errorf("%v, want ErrMalformed", err)
		}
	})
	t.Run("rejects/certificate_exists_and_leaves_no_key", func(t *testing.T) {
		orphan := filepath.Join(dir, "orphan.key")
		if err := Clear.WriteTLS(cert, orphan, "evaluator-1", nil); !errors.Is(err, ErrExists) {
			t.Errorf("%v, want ErrExists", err)
		}
		if _, err := os.Stat(orphan); !errors.Is(err, os.ErrNotExist) {
			t.Error("a key without a certificate is left")
		}
	})
}

func TestNoteNames(t *testing.T) {
	for reason, name := range map[string]string{"empty": "", "space": "a b", "plus": "a+b", "line": "a\nb"} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if _, err := Clear.WriteNote(filepath.Join(t.TempDir(), "note"), name); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestSecretFile(t *testing.T) {
	for reason, text := range map[string]string{
		"empty": "", "empty_line": "\n", "no_newline": "AAAA", "two_lines": "AAAA\nAAAA\n",
		"not_base64": "secret!\n", "base64_not_canonical": "AAB=\n",
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "secret")
			os.WriteFile(path, []byte(text), 0o600)
			if _, err := Clear.Secret(path); !errors.Is(err, ErrMalformed) {
				t.Errorf("%v, want ErrMalformed", err)
			}
		})
	}
}
