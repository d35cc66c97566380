// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/seinhuis/seinhuis/cmd/internal/command"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/evaluator/ceremony"
	"github.com/seinhuis/seinhuis/manifest"
)

func readJSON(path string, v any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := encoding.UnmarshalJSON(text, v); err != nil {
		return fmt.Errorf("%s: %w; governance -h shows what belongs in it", path, err)
	}
	return nil
}

// readText reads a note, signed or not, with the parser of its kind.
func readText[T any](path string, parse func(text string) (*T, error)) (*T, error) {
	msg, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	text, err := manifest.TextOf(msg)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	v, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}

// writeManifest makes the text of a manifest.
func writeManifest(_ context.Context, args []string, stdout, stderr io.Writer) error {
	fs := program.Flags("manifest", stderr)
	in := fs.String("in", "", "")
	previous := fs.String("previous", "", "")
	out := fs.String("out", "", "")
	draft := fs.Bool("draft", false, "")
	var dealt []string
	fs.Func("commitments", "", func(path string) error { dealt = append(dealt, path); return nil })
	if err := program.Parse(fs, args, "previous", "commitments", "draft"); err != nil {
		return err
	}
	m := new(manifest.Manifest)
	if err := readJSON(*in, m); err != nil {
		return err
	}
	if m.Version != 0 || !m.Previous.IsZero() || m.Sharings != nil {
		return fmt.Errorf("%s: leave version, previous and sharings out; they come from -previous and -commitments", *in)
	}
	m.Version = 1
	var prev *manifest.Manifest
	if *previous != "" {
		var err error
		if prev, err = readText(*previous, manifest.ParseManifest); err != nil {
			return err
		}
		m.Version, m.Previous, m.Sharings = prev.Version+1, prev.Hash(), prev.Sharings
	}
	for _, path := range dealt {
		var made ceremony.Outcome
		if err := readJSON(path, &made); err != nil {
			return err
		}
		if made.Threshold != m.Threshold {
			return fmt.Errorf("%s: dealt for another threshold than the manifest's", path)
		}
		for _, s := range made.Sharings {
			m.Sharings = slices.DeleteFunc(slices.Clone(m.Sharings), func(was manifest.Sharing) bool {
				return was.Epoch == s.Epoch && was.Cohort == s.Cohort && was.Number < s.Number
			})
			m.Sharings = append(m.Sharings, s)
		}
	}
	if *draft {
		m.Sharings = nil
	}
	slices.SortStableFunc(m.Sharings, func(a, b manifest.Sharing) int {
		return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Cohort, b.Cohort))
	})
	text, err := m.Note()
	if err != nil {
		return fmt.Errorf("%s: %w", *in, err)
	}
	if *draft {
		if err := command.WriteNew(*out, []byte(text)); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s\nNow sign it as governance, and have the evaluators deal for it: %s\n", m.Summary(), *out)
		return nil
	}
	if prev != nil {
		if err := m.Follows(prev); err != nil {
			return fmt.Errorf("%s: %w", *in, err)
		}
	}
	if err := command.WriteNew(*out, []byte(text)); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s\nNow have it signed by governance and by at least %d evaluators: %s\n", m.Summary(), m.Threshold, *out)
	return nil
}

// readDirectory reads a directory that was written by hand, as version 1.
func readDirectory(path string) (*manifest.Directory, error) {
	d := new(manifest.Directory)
	if err := readJSON(path, d); err != nil {
		return nil, err
	}
	if d.Version != 0 || !d.Previous.IsZero() {
		return nil, fmt.Errorf("%s: leave version and previous out; they come from -previous", path)
	}
	d.Version = 1
	for _, p := range d.Parties {
		for i, k := range p.Keys {
			if k.ID == (encoding.KeyID{}) {
				p.Keys[i].ID = encoding.KeyIDOf(k.Key)
			}
		}
	}
	slices.SortStableFunc(d.Parties, func(a, b manifest.Party) int { return cmp.Compare(a.ID, b.ID) })
	return d, nil
}

// writeDirectory makes the text of a directory.
func writeDirectory(_ context.Context, args []string, stdout, stderr io.Writer) error {
	fs := program.Flags("directory", stderr)
	in := fs.String("in", "", "")
	previous := fs.String("previous", "", "")
	out := fs.String("out", "", "")
	if err := program.Parse(fs, args, "previous"); err != nil {
		return err
	}
	d, err := readDirectory(*in)
	if err != nil {
		return err
	}
	var prev *manifest.Directory
	if *previous != "" {
		if prev, err = readText(*previous, manifest.ParseDirectory); err != nil {
			return err
		}
		d.Version, d.Previous = prev.Version+1, prev.Hash()
	}
	text, err := d.Note()
	if err != nil {
		return fmt.Errorf("%s: %w", *in, err)
	}
	if prev != nil {
		if err := d.Follows(prev); err != nil {
			return fmt.Errorf("%s: %w", *in, err)
		}
	}
	if err := command.WriteNew(*out, []byte(text)); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s\nNow sign it with the directory's key: %s\n", d.Summary(), *out)
	return nil
}

// sign signs either note, after it has shown what it says.
func sign(_ context.Context, args []string, stdout, stderr io.Writer) error {
	fs := program.Flags("sign", stderr)
	key := fs.String("key", "", "")
	in := fs.String("in", "", "")
	out := fs.String("out", "", "")
	sealing := command.Sealing(fs)
	if err := program.Parse(fs, args, "sealing"); err != nil {
		return err
	}
	safe, err := sealing()
	if err != nil {
		return err
	}
	signer, err := safe.ReadNote(*key)
	if err != nil {
		return err
	}
	msg, err := os.ReadFile(*in)
	if err != nil {
		return err
	}
	m, errManifest := readText(*in, manifest.ParseManifest)
	d, errDirectory := readText(*in, manifest.ParseDirectory)
	switch {
	case errManifest == nil:
		fmt.Fprint(stdout, m.Summary())
		own, err := note.NewVerifier(m.Governance)
		if err != nil {
			return manifest.ErrVKey
		}
		if own.Name() != signer.Name() || own.KeyHash() != signer.KeyHash() {
			return fmt.Errorf("%s is not signed: -key is not the governance key that it names", *in)
		}
	case errDirectory == nil:
		fmt.Fprint(stdout, d.Summary())
	case strings.HasPrefix(string(msg), "seinhuis/1/directory\n"):
		return errDirectory
	default:
		return errManifest
	}
	signed, err := manifest.AddSignature(msg, signer)
	if err != nil {
		return err
	}
	if err := manifest.WriteFile(*out, signed); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "Signed as %s: %s\n", signer.Name(), *out)
	return nil
}

// writePins writes the pins that a manifest's own signers make.
func writePins(_ context.Context, args []string, stdout, stderr io.Writer) error {
	fs := program.Flags("pins", stderr)
	path := fs.String("manifest", "", "")
	out := fs.String("out", "", "")
	if err := program.Parse(fs, args); err != nil {
		return err
	}
	m, err := readText(*path, manifest.ParseManifest)
	if err != nil {
		return err
	}
	pins := manifest.Pins{Dep: m.Dep, Governance: m.Governance, Threshold: m.Threshold}
	for _, e := range m.Evaluators {
		pins.Evaluators = append(pins.Evaluators, e.Note)
	}
	if err := pins.Check(); err != nil {
		return err
	}
	text, err := json.MarshalIndent(pins, "", "  ")
	if err != nil {
		return err
	}
	if err := command.WriteNew(*out, append(text, '\n')); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s\nThese keys are trusted from now on wherever %s is put: read them to each other first.\n", text, *out)
	return nil
}

// verify opens the notes as every part does.
func verify(_ context.Context, args []string, stdout, stderr io.Writer) error {
	fs := program.Flags("verify", stderr)
	pinsPath := fs.String("pins", "", "")
	manifestPath := fs.String("manifest", "", "")
	directoryPath := fs.String("directory", "", "")
	if err := program.Parse(fs, args, "directory"); err != nil {
		return err
	}
	pinsText, err := os.ReadFile(*pinsPath)
	if err != nil {
		return err
	}
	pins, err := manifest.ParsePins(pinsText)
	if err != nil {
		return fmt.Errorf("%s: %w", *pinsPath, err)
	}
	msg, err := os.ReadFile(*manifestPath)
	if err != nil {
		return err
	}
	m, err := manifest.OpenManifest(msg, pins, time.Now())
	if err != nil {
		return fmt.Errorf("%s: %w", *manifestPath, err)
	}
	fmt.Fprint(stdout, m.Summary())
	signers, err := signersOf(msg, append([]string{m.Governance}, pins.Evaluators...))
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "Verified: signed by %s.\n", strings.Join(signers, ", "))
	if *directoryPath == "" {
		return nil
	}
	if msg, err = os.ReadFile(*directoryPath); err != nil {
		return err
	}
	d, err := manifest.OpenDirectory(msg, m, time.Now())
	if err != nil {
		return fmt.Errorf("%s: %w", *directoryPath, err)
	}
	fmt.Fprint(stdout, d.Summary())
	fmt.Fprintf(stdout, "Verified: signed by the manifest's directory signer.\n")
	return nil
}

// signersOf names the keys whose signatures on a verified note hold.
func signersOf(msg []byte, vkeys []string) ([]string, error) {
	var list []note.Verifier
	for _, vkey := range vkeys {
		v, err := note.NewVerifier(vkey)
		if err != nil {
			return nil, errors.Join(manifest.ErrVKey, err)
		}
		list = append(list, v)
	}
	n, err := note.Open(msg, note.VerifierList(list...))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, sig := range n.Sigs {
		names = append(names, sig.Name)
	}
	return names, nil
}
