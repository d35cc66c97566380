// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/cmd/internal/command"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/evaluator"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/logging"
	"github.com/seinhuis/seinhuis/manifest"
)

// keygen makes the evaluator's keys and prints its part of the manifest.
func keygen(_ context.Context, args []string, stdout, stderr io.Writer) error {
	fs := program.Flags("keygen", stderr)
	out := fs.String("out", "", "")
	name := fs.String("name", "", "")
	url := fs.String("url", "", "")
	var hosts []string
	fs.Func("host", "", func(h string) error { hosts = append(hosts, h); return nil })
	sealing := command.Sealing(fs)
	if err := program.Parse(fs, args, "host", "sealing"); err != nil {
		return err
	}
	safe, err := sealing()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(*out, 0o700); err != nil {
		return err
	}
	in := func(file string) string { return filepath.Join(*out, file) }
	vkey, err := safe.WriteNote(in("note.key"), *name)
	if err != nil {
		return err
	}
	witness, err := safe.WriteNote(in("witness.key"), *name+"/witness")
	if err != nil {
		return err
	}
	if witness, err = audit.WitnessKey(witness); err != nil {
		return err
	}
	box, err := safe.WriteHPKE(in("box.pem"))
	if err != nil {
		return err
	}
	if err := safe.WriteTLS(in("tls.crt"), in("tls.pem"), *name, hosts); err != nil {
		return err
	}
	cert, err := safe.ReadTLS(in("tls.crt"), in("tls.pem"))
	if err != nil {
		return err
	}
	stanza, err := json.MarshalIndent(struct {
		Name    string          `json:"name"`
		URL     string          `json:"url"`
		TLS     manifest.Pin    `json:"tls"`
		Note    string          `json:"note"`
		Box     encoding.Base64 `json:"box"`
		Witness string          `json:"witness"`
	}{*name, *url, keys.SPKIHash(cert.Leaf), vkey, box.Bytes(), witness}, "", "  ")
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s\n", stanza)
	return nil
}

// signedNote is the last manifest that sign has signed, in the data folder.
const signedNote = "signed.txt"

// sign signs a manifest that this evaluator can stand for: one in which it is
// itself, with shares that verify, and that follows what it has signed or used
// before.
func sign(_ context.Context, args []string, stdout, stderr io.Writer) error {
	fs := program.Flags("sign", stderr)
	configPath := fs.String("config", "", "")
	keyPath := fs.String("key", "", "")
	in := fs.String("in", "", "")
	out := fs.String("out", "", "")
	if err := program.Parse(fs, args); err != nil {
		return err
	}
	c, err := readConfig(*configPath)
	if err != nil {
		return err
	}
	signer, err := c.safe.ReadNote(*keyPath)
	if err != nil {
		return err
	}
	msg, err := os.ReadFile(*in)
	if err != nil {
		return err
	}
	text, err := manifest.TextOf(msg)
	if err != nil {
		return fmt.Errorf("%s: %w", *in, err)
	}
	m, err := manifest.ParseManifest(text)
	if err != nil {
		return fmt.Errorf("%s: %w", *in, err)
	}
	fmt.Fprint(stdout, m.Summary())
	if err := c.approve(m, signer, stdout); err != nil {
		return fmt.Errorf("%s is not signed: %w", *in, err)
	}
	signed, err := manifest.AddSignature(msg, signer)
	if err != nil {
		return err
	}
	// What was signed is remembered before anybody gets it.
	if err := manifest.WriteFile(filepath.Join(c.Data, signedNote), []byte(text)); err != nil {
		return err
	}
	if err := manifest.WriteFile(*out, signed); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "Signed as %s: %s\n", signer.Name(), *out)
	return nil
}

func (c *config) approve(m *manifest.Manifest, signer note.Signer, stdout io.Writer) error {
	pins, err := c.pins()
	if err != nil {
		return err
	}
	if m.Dep != pins.Dep {
		return manifest.ErrDeployment
	}
	if m.Governance != pins.Governance {
		return manifest.ErrGovernance
	}
	self, err := c.self(m)
	if err != nil {
		return err
	}
	own, err := note.NewVerifier(self.Note)
	if err != nil {
		return manifest.ErrVKey
	}
	if own.Name() != signer.Name() || own.KeyHash() != signer.KeyHash() {
		return logging.Error("the manifest names another note key for this evaluator; give governance the vkey that keygen printed")
	}
	if c.WitnessKey != "" && self.Witness != "" {
		key, err := c.safe.ReadLine(c.WitnessKey)
		if err != nil {
			return err
		}
		if ours, err := evaluator.WitnessNamed(key, self.Witness); err != nil || !ours {
			return errors.Join(err, logging.Error("the manifest names another witness key for this evaluator; give governance what keygen printed with the key under witnessKey"))
		}
	}
	shares, err := c.vault().Read()
	if err != nil {
		return err
	}
	inForce, missing, err := evaluator.Check(m, self.Index, shares, time.Now())
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return fmt.Errorf("there is no share here of %s (and %d more); gather the dealings first, or put a share file back in %s", missing[0], len(missing)-1, c.Shares)
	}
	fmt.Fprintf(stdout, "This is evaluator %d; its %d shares verify.\n", self.Index, len(inForce))
	for _, read := range []func() (*manifest.Manifest, error){c.lastSigned, func() (*manifest.Manifest, error) { return manifest.ReadKept(c.Data) }} {
		seen, err := read()
		if err != nil {
			return err
		}
		if err := m.Replaces(seen); err != nil {
			return fmt.Errorf("it does not follow version %d, which this evaluator knows: %w", seen.Version, err)
		}
	}
	return nil
}

func (c *config) pins() (manifest.Pins, error) {
	text, err := os.ReadFile(c.Pins)
	if err != nil {
		return manifest.Pins{}, err
	}
	pins, err := manifest.ParsePins(text)
	if err != nil {
		err = fmt.Errorf("%s: %w", c.Pins, err)
	}
	return pins, err
}

// self finds this evaluator in the manifest, by its TLS key.
func (c *config) self(m *manifest.Manifest) (manifest.Evaluator, error) {
	if _, err := c.Load(func(pin [32]byte) error { _, err := byPin(m, pin); return err }); err != nil {
		return manifest.Evaluator{}, err
	}
	pin, err := c.Pin()
	if err != nil {
		return manifest.Evaluator{}, err
	}
	return byPin(m, pin)
}

func byPin(m *manifest.Manifest, pin [32]byte) (manifest.Evaluator, error) {
	i := slices.IndexFunc(m.Evaluators, func(e manifest.Evaluator) bool { return e.TLS == pin })
	if i < 0 {
		return manifest.Evaluator{}, logging.Error("the manifest has no evaluator with the key of tls.cert, or of the proxy's certificate; give governance what keygen printed")
	}
	return m.Evaluators[i], nil
}

func (c *config) lastSigned() (*manifest.Manifest, error) {
	text, err := os.ReadFile(filepath.Join(c.Data, signedNote))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return manifest.ParseManifest(string(text))
}
