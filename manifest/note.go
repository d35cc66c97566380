// SPDX-License-Identifier: EUPL-1.2

package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/mod/sumdb/note"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
)

const (
	labelManifest  = "seinhuis/1/manifest"
	labelDirectory = "seinhuis/1/directory"
)

// WriteText writes the text of a note in its one form: the label's line, and v as
// indented JSON.
func WriteText(label string, v any) (string, error) {
	b := bytes.NewBufferString(label + "\n")
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ") // a note has no tabs
	err := enc.Encode(v)
	return b.String(), err
}

// ParseText reads what WriteText writes, and nothing else: ErrText.
func ParseText(label, text string, v any) error {
	body, ok := strings.CutPrefix(text, label+"\n")
	if !ok {
		return ErrText
	}
	if err := encoding.UnmarshalJSON([]byte(body), v); err != nil {
		return fmt.Errorf("%w: %w", ErrText, err)
	}
	if again, err := WriteText(label, v); err != nil || again != text {
		return ErrText
	}
	return nil
}

// hashText is the hash of nothing for what cannot be written; check refuses that
// before anybody signs it.
func hashText(label string, v any) api.Hash {
	text, err := WriteText(label, v)
	if err != nil {
		text = ""
	}
	return sha256.Sum256([]byte(text))
}

// Key types of c2sp.org/signed-note.
const (
	algEd25519     = 0x01
	algCosignature = 0x04 // of witnesses; note.NewVerifier does not know it
)

type vkey struct {
	name string
	hash uint32
	key  []byte // 32 bytes
}

// parseVKey reads name+hash+base64(algorithm ‖ key) in its one form.
func parseVKey(s string, algs ...byte) (vkey, error) {
	name, rest, _ := strings.Cut(s, "+")
	hash, key64, _ := strings.Cut(rest, "+")
	raw, err := encoding.ParseBase64(key64)
	if err != nil || !plainText(name) || strings.ContainsFunc(name, unicode.IsSpace) || len(raw) != 33 || !slices.Contains(algs, raw[0]) {
		return vkey{}, ErrVKey
	}
	sum := sha256.Sum256(append([]byte(name+"\n"), raw...))
	if hex.EncodeToString(sum[:4]) != hash {
		return vkey{}, ErrVKey
	}
	return vkey{name, uint32(sum[0])<<24 | uint32(sum[1])<<16 | uint32(sum[2])<<8 | uint32(sum[3]), raw[1:]}, nil
}

// Pins are what a reader of manifests knows beforehand and nobody can change
// from afar. Who sets up a part compares them with what governance published.
type Pins struct {
	Dep        string   `json:"dep"`
	Governance string   `json:"governance"` // vkey
	Evaluators []string `json:"evaluators"` // vkeys
	Threshold  int      `json:"threshold"`
}

// Check tells whether the pins can be used: all keys well-formed and different,
// also under different names, and enough of them.
func (p Pins) Check() error {
	_, _, err := p.verifiers()
	return err
}

func (p Pins) verifiers() (all note.Verifiers, governance vkey, err error) {
	if !api.ValidDeployment(p.Dep) || p.Threshold < 1 || p.Threshold > len(p.Evaluators) {
		return nil, vkey{}, ErrPins
	}
	seen := map[string]bool{}
	var list []note.Verifier
	for i, s := range append([]string{p.Governance}, p.Evaluators...) {
		k, err := parseVKey(s, algEd25519)
		if err != nil {
			return nil, vkey{}, err
		}
		v, err := note.NewVerifier(s)
		if err != nil {
			return nil, vkey{}, ErrVKey
		}
		if seen[string(k.key)] {
			return nil, vkey{}, ErrPins
		}
		seen[string(k.key)] = true
		list = append(list, v)
		if i == 0 {
			governance = k
		}
	}
	return note.VerifierList(list...), governance, nil
}

// open verifies the signatures of a manifest's note. The pinned keys all differ,
// and note.Open gives each verifier's signature once, so what is left to do is
// to count.
func (p Pins) open(msg []byte) (string, error) {
	verifiers, governance, err := p.verifiers()
	if err != nil {
		return "", err
	}
	n, err := openNote(msg, verifiers)
	if err != nil {
		return "", err
	}
	evaluators, governed := 0, false
	for _, sig := range n.Sigs {
		if sig.Name == governance.name && sig.Hash == governance.hash {
			governed = true
		} else {
			evaluators++
		}
	}
	switch {
	case !governed:
		return "", ErrGovernance
	case evaluators < p.Threshold:
		return "", ErrQuorum
	}
	return n.Text, nil
}

// openNote gives a note with no verified signature as well; a signature by a
// known key that does not verify spoils the note.
func openNote(msg []byte, verifiers note.Verifiers) (*note.Note, error) {
	n, err := note.Open(msg, verifiers)
	if unverified, ok := errors.AsType[*note.UnverifiedNoteError](err); ok {
		return unverified.Note, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNote, err)
	}
	return n, nil
}

// OpenDraft opens the draft of a manifest: without sharings, which are yet to be
// dealt, and signed by the pinned governance alone.
func (p Pins) OpenDraft(msg []byte) (*Manifest, error) {
	text, err := OpenSigned(msg, p.Governance)
	if err != nil {
		return nil, err
	}
	m, err := ParseManifest(text)
	switch {
	case err != nil:
		return nil, err
	case m.Dep != p.Dep:
		return nil, ErrDeployment
	case m.Governance != p.Governance:
		return nil, ErrGovernance
	case len(m.Sharings) > 0:
		return nil, ErrDraft
	}
	return m, nil
}

// OpenSigned gives the text of a note that the key has signed: ErrSigner if it has not.
func OpenSigned(msg []byte, vkey string) (string, error) {
	signer, err := note.NewVerifier(vkey)
	if err != nil {
		return "", ErrVKey
	}
	n, err := openNote(msg, note.VerifierList(signer))
	if err != nil {
		return "", err
	}
	if len(n.Sigs) == 0 {
		return "", ErrSigner
	}
	return n.Text, nil
}

// TextOf gives the text of a note, whoever signed it, or of a text that nobody
// has signed yet.
func TextOf(msg []byte) (string, error) {
	n, err := unverified(msg)
	if err != nil {
		return "", err
	}
	return n.Text, nil
}

// AddSignature signs a note, or a text that nobody has signed yet, beside the
// signatures that are there. What it says is for the caller to check first.
func AddSignature(msg []byte, signer note.Signer) ([]byte, error) {
	n, err := unverified(msg)
	if err != nil {
		return nil, err
	}
	signed, err := note.Sign(n, signer)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNote, err)
	}
	return signed, nil
}

func unverified(msg []byte) (*note.Note, error) {
	if !bytes.Contains(msg, []byte("\n\n")) { // the JSON has no empty lines
		return &note.Note{Text: string(msg)}, nil
	}
	return openNote(msg, note.VerifierList())
}
