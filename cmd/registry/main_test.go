// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
)

func TestKeygenMakesKeysOnceAndPrintsTheManifestsPart(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "keys")
	args := []string{"keygen", "-dep", "test", "-out", folder, "-url", "https://registry.example:8443", "-public-url", "https://registry.example", "-host", "registry.example"}
	var out bytes.Buffer
	if err := program.Run(t.Context(), args, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	var stanza manifest.Registry
	if err := json.Unmarshal(out.Bytes(), &stanza); err != nil {
		t.Fatal(err)
	}
	if stanza.URL != "https://registry.example:8443" || stanza.TLS == (manifest.Pin{}) || !strings.HasPrefix(stanza.Log, "seinhuis/test/log+") || len(stanza.ReceiptKeys) != 1 {
		t.Error("the printed part of the manifest is not whole")
	}
	for _, name := range []string{"registry.keys", "receipt.pem", "log.key", "tls.pem"} {
		info, err := os.Stat(filepath.Join(folder, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", name, err)
			continue
		}
		secret, err := keys.Clear.ReadPrivate(filepath.Join(folder, name))
		if err != nil || strings.Contains(out.String(), secretLine(secret)) {
			t.Errorf("%s is printed, or cannot be read (%v)", name, err)
		}
	}
	if err := program.Run(t.Context(), args, io.Discard, io.Discard); err == nil {
		t.Error("keygen replaced keys")
	}
}

// secretLine is a line with a secret: of one line, or of PEM.
func secretLine(secret []byte) string {
	lines := strings.Split(strings.TrimSpace(string(secret)), "\n")
	return lines[max(0, min(1, len(lines)-1))]
}

func TestConfig(t *testing.T) {
	const good = `{"data":"data","journal":"journal","keys":"keys/registry.keys","receiptKey":"r","tls":{"cert":"c","key":"k"},"pins":"p","manifest":"m",
"directory":"d","exchange":"127.0.0.1:0","public":"127.0.0.1:0","operations":"127.0.0.1:0","sweepSeconds":60}`
	folder := t.TempDir()
	path := filepath.Join(folder, "registry.json")
	read := func(text string) (*config, error) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return readConfig(path)
	}
	c, err := read(good)
	if err != nil || c.Data != filepath.Join(folder, "data") {
		t.Fatalf("a good configuration gave %v", err)
	}
	for reason, text := range map[string]string{
		"unknown_field":    strings.Replace(good, `"data"`, `"extra":1,"data"`, 1),
		"field_twice":      strings.Replace(good, `"data"`, `"data":"a","data"`, 1),
		"missing_file":     strings.Replace(good, `"pins":"p",`, "", 1),
		"missing_listener": strings.Replace(good, `"public":"127.0.0.1:0",`, "", 1),
		"no_sweep":         strings.Replace(good, `:60`, `:0`, 1),
		"keys_inside_data": strings.Replace(good, `keys/registry.keys`, `data/registry.keys`, 1),
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if _, err := read(text); err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want an error that names the file", err)
			}
		})
	}
}

// TestServesOnlyUnderTheManifestsKeys serves until a context that has ended.
func TestServesOnlyUnderTheManifestsKeys(t *testing.T) {
	folder := t.TempDir()
	in := func(name string) string { return filepath.Join(folder, name) }
	write := func(name string, text []byte) {
		t.Helper()
		if err := os.WriteFile(in(name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := manifesttest.New(t, 2, 3)
	for _, out := range []string{"keys", "other"} {
		var printed bytes.Buffer
		if err := program.Run(t.Context(), []string{"keygen", "-dep", "test", "-out", in(out), "-url", "https://127.0.0.1:1", "-public-url", "https://127.0.0.1:2"}, &printed, io.Discard); err != nil {
			t.Fatal(err)
		}
		if out == "keys" {
			if err := json.Unmarshal(printed.Bytes(), &w.Manifest.Registry); err != nil {
				t.Fatal(err)
			}
		}
	}
	year := time.Now().UTC().Truncate(time.Second).AddDate(1, 0, 0)
	w.Manifest.NotAfter, w.Directory.NotAfter = year, year
	pins, err := json.Marshal(w.Pins())
	if err != nil {
		t.Fatal(err)
	}
	write("pins.json", pins)
	write("manifest.txt", w.SignedManifest(t))
	write("directory.txt", w.SignedDirectory(t))
	log := `"logKey":"keys/log.key",`
	serve := func(receipt, tls string) error {
		write("registry.json", fmt.Appendf(nil, `{"data":"data","journal":"journal","keys":"keys/registry.keys","receiptKey":"%s/receipt.pem",`+log+`
"tls":{"cert":"%[2]s/tls.crt","key":"%[2]s/tls.pem"},"pins":"pins.json","manifest":"manifest.txt","directory":"directory.txt",
"exchange":"127.0.0.1:0","public":"127.0.0.1:0","operations":"127.0.0.1:0","sweepSeconds":60}`, receipt, tls))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		return program.Run(ctx, []string{"serve", "-config", in("registry.json")}, io.Discard, io.Discard)
	}
	if err := serve("keys", "keys"); err != nil {
		t.Errorf("under the manifest's keys: %v", err)
	}
	t.Run("rejects/tls_key_that_nobody_pins", func(t *testing.T) {
		if err := serve("keys", "other"); err == nil || !strings.Contains(err.Error(), "tls.cert") {
			t.Errorf("got %v", err)
		}
	})
	for reason, c := range map[string]struct{ log, want string }{
		"log_key_that_nobody_believes": {`"logKey":"other/log.key",`, "names another key of the log"},
		"no_log_key":                   {"", "say under logKey"},
		"log_key_that_is_none":         {`"logKey":"keys/receipt.pem",`, "receipt.pem"},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			before := log
			defer func() { log = before }()
			log = c.log
			if err := serve("keys", "keys"); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("rejects/receipt_key_that_nobody_believes", func(t *testing.T) {
		if err := serve("other", "keys"); err == nil || !strings.Contains(err.Error(), "receiptKey") {
			t.Errorf("got %v", err)
		}
	})
}

func TestHelpAndUnknownCommand(t *testing.T) {
	var out bytes.Buffer
	if err := program.Run(t.Context(), []string{"-h"}, &out, io.Discard); err != nil || !strings.Contains(out.String(), "registry serve") {
		t.Errorf("-h gave %v", err)
	}
	for _, args := range [][]string{nil, {"sing"}, {"serve"}, {"keygen"}, {"serve", "-config", "nowhere.json"}} {
		if err := program.Run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}
