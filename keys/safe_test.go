// SPDX-License-Identifier: EUPL-1.2

package keys

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seinhuis/seinhuis/crypto/atrest"
)

func newSafe(t testing.TB) (safe *Safe, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "sealing.key")
	if err := Clear.WriteSecret(file, atrest.RootSize); err != nil {
		t.Fatal(err)
	}
	return openSafe(t, file), file
}

func openSafe(t testing.TB, where string) *Safe {
	t.Helper()
	safe, err := OpenSafe(where)
	if err != nil {
		t.Fatal(err)
	}
	return safe
}

// fill makes a file of each kind in a folder, and gives for each how to read it.
func fill(t testing.TB, s *Safe, folder string) map[string]func(*Safe) error {
	t.Helper()
	in := func(name string) string { return filepath.Join(folder, name) }
	_, err1 := s.WriteSigning(in("receipt.pem"))
	_, err2 := s.WriteHPKE(in("box.pem"))
	_, err3 := s.WriteNote(in("note.key"), "evaluator-1")
	err := errors.Join(err1, err2, err3, s.WriteSecret(in("storage.key"), 32), s.WriteLine(in("token"), "a token"),
		s.WritePrivate(in("registry.keys"), []byte("{\"rowKey\": 1}\n")), s.WriteTLS(in("tls.crt"), in("tls.pem"), "name", nil))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]func(*Safe) error{
		"receipt.pem":   func(s *Safe) error { _, err := s.ReadSigning(in("receipt.pem")); return err },
		"box.pem":       func(s *Safe) error { _, err := s.ReadHPKE(in("box.pem")); return err },
		"note.key":      func(s *Safe) error { _, err := s.ReadNote(in("note.key")); return err },
		"storage.key":   func(s *Safe) error { _, err := s.Secret(in("storage.key")); return err },
		"token":         func(s *Safe) error { _, err := s.ReadLine(in("token")); return err },
		"registry.keys": func(s *Safe) error { _, err := s.ReadPrivate(in("registry.keys")); return err },
		"tls.pem":       func(s *Safe) error { _, err := s.ReadTLS(in("tls.crt"), in("tls.pem")); return err },
	}
}

func TestSealedFiles(t *testing.T) {
	safe, _ := newSafe(t)
	folder := t.TempDir()
	read := fill(t, safe, folder)
	other, _ := newSafe(t)
	for name, read := range read {
		t.Run(name, func(t *testing.T) {
			if err := read(safe); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(folder, name)
			plain, err := safe.ReadPrivate(path)
			if err != nil {
				t.Fatal(err)
			}
			raw, _ := os.ReadFile(path)
			info, err := os.Stat(path)
			if err != nil || info.Mode().Perm() != 0o600 || !IsSealed(raw) {
				t.Errorf("mode %v, %v, sealed %v", info.Mode(), err, IsSealed(raw))
			}
			for _, form := range spellings(plain) {
				if bytes.Contains(raw, form) {
					t.Error("the file shows what is sealed in it")
				}
			}
			for reason, try := range map[string]struct {
				safe *Safe
				want error
			}{"no_sealing_key": {nil, ErrSealed}, "another_machines_sealing_key": {other, ErrSealing}} {
				t.Run("rejects/"+reason, func(t *testing.T) {
					if err := read(try.safe); !errors.Is(err, try.want) || !strings.Contains(err.Error(), path) {
						t.Errorf("%v, want %v of %s", err, try.want, path)
					}
				})
			}
			t.Run("rejects/overwriting", func(t *testing.T) {
				if err := safe.WriteLine(path, "other"); !errors.Is(err, ErrExists) {
					t.Errorf("%v, want ErrExists", err)
				}
			})
		})
	}
	t.Run("rejects/another_file_in_its_place", func(t *testing.T) {
		text, _ := os.ReadFile(filepath.Join(folder, "tls.pem"))
		os.WriteFile(filepath.Join(folder, "registry.keys"), text, 0o600)
		if _, err := safe.ReadPrivate(filepath.Join(folder, "registry.keys")); !errors.Is(err, ErrMoved) || !strings.Contains(err.Error(), "tls.pem") {
			t.Errorf("%v, want ErrMoved", err)
		}
		// Whoever rewrites the name has not the key to seal under it.
		renamed := bytes.Replace(text, []byte("File: tls.pem"), []byte("File: registry.keys"), 1)
		os.WriteFile(filepath.Join(folder, "registry.keys"), renamed, 0o600)
		if _, err := safe.ReadPrivate(filepath.Join(folder, "registry.keys")); !errors.Is(err, ErrSealing) {
			t.Errorf("%v, want ErrSealing", err)
		}
	})
	t.Run("rejects/changed", func(t *testing.T) {
		path := filepath.Join(folder, "note.key")
		text, _ := os.ReadFile(path)
		for i := range text {
			changed := bytes.Clone(text)
			changed[i] ^= 1
			os.WriteFile(path, changed, 0o600)
			if _, err := safe.ReadNote(path); err == nil {
				t.Fatalf("byte %d changed, and it opens", i)
			}
		}
	})
	t.Run("rejects/readable_by_group", func(t *testing.T) {
		path := filepath.Join(folder, "box.pem")
		os.Chmod(path, 0o640)
		if _, err := safe.ReadHPKE(path); !errors.Is(err, ErrMode) {
			t.Errorf("%v, want ErrMode", err)
		}
	})
}

// spellings are the forms in which a file could give a secret away: its lines, and what
// their base64 stands for, raw and as hexadecimal digits.
func spellings(plain []byte) (forms [][]byte) {
	for line := range bytes.SplitSeq(plain, []byte("\n")) {
		if len(line) > 0 {
			forms = append(forms, line)
		}
		for field := range bytes.FieldsFuncSeq(line, func(r rune) bool { return r == ' ' || r == '+' }) {
			if raw, err := base64.StdEncoding.DecodeString(string(field)); err == nil && len(raw) >= 16 {
				forms = append(forms, raw, []byte(hex.EncodeToString(raw)))
			}
		}
	}
	if block, _ := pem.Decode(plain); block != nil {
		forms = append(forms, block.Bytes, block.Bytes[len(block.Bytes)-32:])
	}
	return forms
}

func TestFilesInClearAreReadWithASealingKey(t *testing.T) {
	safe, _ := newSafe(t)
	for name, read := range fill(t, nil, t.TempDir()) {
		if err := read(safe); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A file is sealed, and sealed anew under the next generation; each time what it was
// opens until the new one is there, whole, wherever the command is killed.
func TestSealingKilledAtEveryStep(t *testing.T) {
	first, file := newSafe(t)
	for _, from := range []string{"clear", "an older generation"} {
		t.Run(from, func(t *testing.T) {
			by, to := (*Safe)(nil), first
			if from != "clear" {
				if err := (*Safe)(nil).Change(file, RootsForm.Renew); err != nil {
					t.Fatal(err)
				}
				by, to = first, openSafe(t, file)
			}
			for killed := 0; ; killed++ {
				folder := t.TempDir()
				for name, read := range fill(t, by, folder) {
					path := filepath.Join(folder, name)
					plain, _ := to.ReadPrivate(path)
					text, _ := to.seal(path, plain)
					old, err := os.OpenFile(path, os.O_RDWR, 0)
					if err != nil {
						t.Fatal(err)
					}
					steps := replacing(path, text, old)
					if killed > len(steps) {
						return
					}
					for _, step := range steps[:killed] {
						if err := step(); err != nil {
							t.Fatal(err)
						}
					}
					if err := read(to); err != nil {
						t.Errorf("%s after %d steps: %v", name, killed, err)
					}
					if _, err := to.Seal(path); err != nil {
						t.Errorf("%s after %d steps, sealed again: %v", name, killed, err)
					}
					raw, _ := os.ReadFile(path)
					if again, _ := to.ReadPrivate(path); !bytes.Equal(again, plain) || !IsSealed(raw) {
						t.Errorf("%s after %d steps: sealed it is another", name, killed)
					}
					if changed, err := to.Seal(path); changed || err != nil {
						t.Errorf("%s is sealed once more: %v", name, err)
					}
					if killed == len(steps) {
						rest := make([]byte, len(plain)+100)
						n, _ := old.ReadAt(rest, 0)
						if len(bytes.Trim(rest[:n], "\x00")) > 0 {
							t.Errorf("%s is not written over", name)
						}
					}
					old.Close()
				}
				left, _ := filepath.Glob(filepath.Join(folder, "*"+nextSuffix))
				if len(left) > 0 {
					t.Errorf("after %d steps, and sealing again, there is still %v", killed, left)
				}
			}
		})
	}
}

func TestSealingKeyOfACredential(t *testing.T) {
	safe, file := newSafe(t)
	path := filepath.Join(t.TempDir(), "storage.key")
	if err := safe.WriteSecret(path, 32); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(file)
	folder := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", folder)
	os.WriteFile(filepath.Join(folder, "sealing"), text, 0o440) // as access lists of systemd look
	if _, err := openSafe(t, "credential:sealing").Secret(path); err != nil {
		t.Error(err)
	}
	os.WriteFile(filepath.Join(filepath.Dir(folder), "outside"), text, 0o600)
	for reason, name := range map[string]string{"missing": "credential:other", "no_name": "credential:", "outside_the_folder": "credential:../outside"} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if _, err := OpenSafe(name); !errors.Is(err, ErrCredential) {
				t.Errorf("%v, want ErrCredential", err)
			}
		})
	}
	t.Run("rejects/without_systemd", func(t *testing.T) {
		t.Setenv("CREDENTIALS_DIRECTORY", "")
		if _, err := OpenSafe("credential:sealing"); !errors.Is(err, ErrCredential) {
			t.Errorf("%v, want ErrCredential", err)
		}
	})
}

func TestOpenSafe(t *testing.T) {
	if safe, err := OpenSafe(""); safe != nil || err != nil {
		t.Errorf("%v, %v", safe, err)
	}
	_, file := newSafe(t)
	text, _ := os.ReadFile(file)
	root := strings.TrimSpace(string(text))
	for reason, bad := range map[string]string{
		"empty": "", "no_line": root, "cut_short": root[:40] + "\n", "generation_zero": "0 " + root + "\n",
		"generation_with_zeros": "01 " + root + "\n", "generation_twice": "1 " + root + "\n" + root + "\n",
		"generation_too_high": "256 " + root + "\n", "empty_line": root + "\n\n",
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "sealing.key")
			os.WriteFile(path, []byte(bad), 0o600)
			if _, err := OpenSafe(path); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v, want ErrMalformed", err)
			}
		})
	}
	t.Run("rejects/readable_by_group", func(t *testing.T) {
		os.Chmod(file, 0o640)
		if _, err := OpenSafe(file); !errors.Is(err, ErrMode) {
			t.Errorf("%v, want ErrMode", err)
		}
	})
	t.Run("rejects/missing", func(t *testing.T) {
		if _, err := OpenSafe(file + ".none"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%v, want not exist", err)
		}
	})
}

func TestRoots(t *testing.T) {
	safe, _ := newSafe(t)
	path := filepath.Join(t.TempDir(), "storage.key")
	if err := safe.WriteSecret(path, atrest.RootSize); err != nil {
		t.Fatal(err)
	}
	var rows [][]byte
	key := func() atrest.Key {
		roots, err := safe.Roots(path)
		if err != nil {
			t.Fatal(err)
		}
		key, err := roots.Key()
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	for generation := 1; generation <= 3; generation++ {
		k := key()
		row, err := k.Seal("table", []byte("row"), []byte("plain"))
		if err != nil || row[0] != byte(generation) {
			t.Fatalf("generation %d, %v, want %d", row[0], err, generation)
		}
		rows = append(rows, row)
		for _, row := range rows {
			if plain, err := k.Open("table", []byte("row"), row); err != nil || string(plain) != "plain" {
				t.Errorf("a row of generation %d under %d: %v", row[0], generation, err)
			}
		}
		if err := safe.Change(path, RootsForm.Renew); err != nil {
			t.Fatal(err)
		}
	}
	if err := safe.Change(path, RootsForm.Newest); err != nil {
		t.Fatal(err)
	}
	if k := key(); k.Generation() != 4 {
		t.Errorf("generation %d", k.Generation())
	} else if _, err := k.Open("table", []byte("row"), rows[2]); !errors.Is(err, atrest.ErrOpen) {
		t.Errorf("%v: an older generation is still there", err)
	}
	if _, err := (Roots{{Generation: 255}}).Renewed(); !errors.Is(err, ErrGenerations) {
		t.Errorf("%v, want ErrGenerations", err)
	}
}

func TestDestroy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "wrapping.key")
	if err := Clear.WriteSecret(path, 32); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 2 { // again after a crash
		if err := Destroy(path); err != nil {
			t.Fatal(err)
		}
	}
	text := make([]byte, 100)
	n, _ := f.ReadAt(text, 0)
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) || n == 0 || len(bytes.Trim(text[:n], "\x00")) > 0 {
		t.Errorf("%v; %d bytes are left of it", err, len(bytes.Trim(text[:n], "\x00")))
	}
}

func TestSafeRedactsItself(t *testing.T) {
	safe, _ := newSafe(t)
	roots := Roots{{1, bytes.Repeat([]byte{7}, 32)}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(verb, safe); got != "[sealing key]" {
			t.Errorf("%s prints %s", verb, got)
		}
		if got := fmt.Sprintf(verb, roots); got != "[roots]" {
			t.Errorf("%s prints %s", verb, got)
		}
	}
}

func FuzzSealed(f *testing.F) {
	safe, _ := newSafe(f)
	text, err := safe.seal("tls.pem", []byte("key"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("-----BEGIN " + pemSealed + "-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if name, sealed, ok := parseSealed(text); ok && !bytes.Equal(sealedText(name, sealed), text) {
			t.Error("it is not marshalled to the same bytes")
		}
	})
}

func FuzzRoots(f *testing.F) {
	f.Add([]byte("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"))
	f.Add([]byte("2 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		roots, err := parseRoots(text)
		if err != nil {
			return
		}
		again, err := parseRoots(roots.text())
		if err != nil || !bytes.Equal(again.text(), roots.text()) {
			t.Errorf("%v: other roots", err)
		}
	})
}
