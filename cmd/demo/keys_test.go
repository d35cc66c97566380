// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestKeysLieSealed has every program make its keys under a sealing key: nothing of them
// is to be found in clear in any file of the folder, and without the right sealing key,
// or with one file in the place of another, they are refused in words that help.
func TestKeysLieSealed(t *testing.T) {
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	for program, made := range map[string]struct {
		keygen []string
		files  []string
	}{
		"evaluator": {[]string{"-name", "evaluator-1", "-url", "https://evaluator.example"}, []string{"tls.pem", "note.key", "box.pem", "witness.key"}},
		"registry": {[]string{"-dep", "try", "-url", "https://registry.example", "-public-url", "https://registry.example"},
			[]string{"tls.pem", "receipt.pem", "registry.keys", "log.key"}},
		"governance": {[]string{"-dep", "try"}, []string{"governance.key", "directory.key"}},
		"gateway": {[]string{"-id", "nl-brin:99ZZ", "-name", "De Wissel", "-kind", "school", "-region", "Utrecht"},
			[]string{"tls.pem", "sign.pem", "hpke.pem", "token", "storage.key"}},
	} {
		t.Run(program, func(t *testing.T) {
			folder, safe := t.TempDir(), t.TempDir()
			run := func(args ...string) (string, error) {
				out, err := exec.CommandContext(t.Context(), filepath.Join(bin, program), args...).CombinedOutput()
				return string(out), err
			}
			do := func(args ...string) string {
				t.Helper()
				out, err := run(args...)
				if err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				return out
			}
			sealing, other := filepath.Join(safe, "sealing.key"), filepath.Join(safe, "other.key")
			do("keys", "make", "-out", sealing)
			do("keys", "make", "-out", other)
			if out, err := run("keys", "make", "-out", sealing); err == nil {
				t.Errorf("a sealing key was replaced: %s", out)
			}
			do(append([]string{"keygen", "-out", folder, "-sealing", sealing}, made.keygen...)...)
			if program == "gateway" {
				do("keygen", "-storage", filepath.Join(folder, "storage.key"), "-sealing", sealing)
			}
			show := func(name string) string {
				return do("keys", "show", "-sealing", sealing, "-file", filepath.Join(folder, name))
			}
			var secrets [][]byte
			for _, name := range made.files {
				secrets = append(secrets, secretsOf(show(name))...)
			}
			if len(secrets) < 2*len(made.files) {
				t.Fatalf("%d secrets in %d files", len(secrets), len(made.files))
			}
			notIn := func() {
				t.Helper()
				files, err := os.ReadDir(folder)
				if err != nil || len(files) < len(made.files) {
					t.Fatalf("%d files, %v", len(files), err)
				}
				for _, file := range files {
					raw, err := os.ReadFile(filepath.Join(folder, file.Name()))
					if err != nil {
						t.Fatal(err)
					}
					for _, secret := range secrets {
						if bytes.Contains(raw, secret) {
							t.Errorf("%s shows a key", file.Name())
						}
					}
				}
			}
			notIn()

			name := made.files[len(made.files)-1]
			path := filepath.Join(folder, name)
			out, err := run("keys", "show", "-sealing", other, "-file", path)
			if err == nil || !strings.Contains(out, path) || !strings.Contains(out, "give the sealing key of the machine") {
				t.Errorf("under another sealing key: %s", out)
			}
			before, _ := os.ReadFile(path)
			swapped, _ := os.ReadFile(filepath.Join(folder, made.files[0]))
			os.WriteFile(path, swapped, 0o600)
			out, err = run("keys", "show", "-sealing", sealing, "-file", path)
			if err == nil || !strings.Contains(out, path) || !strings.Contains(out, "under another name") {
				t.Errorf("with %s in its place: %s", made.files[0], out)
			}
			os.WriteFile(path, before, 0o600)

			// The next generation: all are sealed anew, and open when the one before is gone.
			shown := map[string]string{}
			seal := []string{"keys", "seal", "-sealing", sealing}
			for _, name := range made.files {
				shown[name] = show(name)
				seal = append(seal, "-file", filepath.Join(folder, name))
			}
			do("keys", "renew", "-file", sealing)
			if out := do(seal...); strings.Count(out, "sealed "+folder) != len(made.files) {
				t.Errorf("sealed anew: %s", out)
			}
			do("keys", "newest", "-file", sealing)
			for _, name := range made.files {
				if show(name) != shown[name] {
					t.Errorf("%s is another key now", name)
				}
			}
			notIn()

			// What lies in clear is sealed where it lies.
			os.WriteFile(path, []byte(shown[name]), 0o600)
			do("keys", "seal", "-sealing", sealing, "-file", path)
			notIn()
		})
	}
}

// secretsOf are the forms in which a file would give away what is in it.
func secretsOf(text string) (forms [][]byte) {
	if block, _ := pem.Decode([]byte(text)); block != nil {
		line := strings.Split(text, "\n")[1]
		return [][]byte{[]byte(line), block.Bytes, block.Bytes[len(block.Bytes)-32:]}
	}
	if key, ok := strings.CutPrefix(text, "PRIVATE+KEY+"); ok { // its base64 has plus signs too
		text = strings.SplitN(key, "+", 3)[2]
	}
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune("\n \",", r) }) {
		if raw, err := base64.StdEncoding.DecodeString(word); err == nil && len(raw) >= 32 {
			forms = append(forms, []byte(word), raw)
		}
	}
	return forms
}
