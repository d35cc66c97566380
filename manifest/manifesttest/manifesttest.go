// SPDX-License-Identifier: EUPL-1.2

// Package manifesttest makes manifests and directories for tests, signed with
// real keys.
package manifesttest

import (
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/manifest"
)

// Now is an instant at which what New makes is in force.
var Now = time.Date(2027, 3, 4, 12, 0, 0, 0, time.UTC)

// A World is who signs, and a valid manifest and directory for a test to change
// before it signs them.
type World struct {
	Governance      note.Signer
	DirectorySigner note.Signer
	Evaluators      []note.Signer
	Witnesses       []string // the evaluators' keys to cosign with, as notes have them
	Log             note.Signer
	Manifest        *manifest.Manifest  // one open epoch, no sharings
	Directory       *manifest.Directory // no parties
}

// New makes a world in which threshold of n evaluators are needed.
func New(t testing.TB, threshold, n int) *World {
	t.Helper()
	w := new(World)
	m := &manifest.Manifest{
		Dep: "test", Version: 1, NotAfter: Now.AddDate(1, 0, 0), Threshold: threshold,
		Epochs: []manifest.Epoch{{Number: 1, State: manifest.EpochOpen, Opens: encoding.Date{Year: 2027, Month: 1, Day: 1}}},
		Registry: manifest.Registry{
			URL: "https://127.0.0.1:8443", PublicURL: "https://127.0.0.1:8444", TLS: Random32(),
			ReceiptKeys: []manifest.Key{manifest.NewKey("", random(32), Now.AddDate(-1, 0, 0))},
		},
		Policy: manifest.Policy{
			TermDays: 365, LegalBasisEnds: encoding.Date{Year: 2031, Month: 1, Day: 1}, TimeZone: "Europe/Amsterdam",
			Calendar: "nl", AnswerDays: 5, DailyBudget: 100, MonthlyBudget: 1000, ReportReserve: 10,
		},
	}
	w.Governance, m.Governance = Signer(t, "governance")
	w.DirectorySigner, m.DirectorySigner = Signer(t, "directory")
	for i := range n {
		name := fmt.Sprintf("evaluator-%d", i+1)
		signer, vkey := Signer(t, name)
		w.Evaluators = append(w.Evaluators, signer)
		witnessKey, witness := Witness(t, name)
		w.Witnesses = append(w.Witnesses, witnessKey)
		m.Evaluators = append(m.Evaluators, manifest.Evaluator{
			Index: i + 1, Name: name, URL: fmt.Sprintf("https://127.0.0.1:%d", 8451+i), TLS: Random32(), Note: vkey, Witness: witness,
		})
	}
	w.Log, m.Registry.Log = Signer(t, audit.Origin(m.Dep))
	w.Manifest = m
	w.Directory = &manifest.Directory{Dep: "test", Version: 1, NotAfter: Now.AddDate(1, 0, 0)}
	return w
}

// Pins pins the signers of the world's manifest.
func (w *World) Pins() manifest.Pins {
	p := manifest.Pins{Dep: w.Manifest.Dep, Governance: w.Manifest.Governance, Threshold: w.Manifest.Threshold}
	for _, e := range w.Manifest.Evaluators {
		p.Evaluators = append(p.Evaluators, e.Note)
	}
	return p
}

// SignedManifest is the manifest's note, signed by governance and all evaluators.
func (w *World) SignedManifest(t testing.TB) []byte {
	t.Helper()
	text, err := w.Manifest.Note()
	if err != nil {
		t.Fatal(err)
	}
	return Sign(t, text, append([]note.Signer{w.Governance}, w.Evaluators...)...)
}

// SignedDirectory is the directory's note.
func (w *World) SignedDirectory(t testing.TB) []byte {
	t.Helper()
	text, err := w.Directory.Note()
	if err != nil {
		t.Fatal(err)
	}
	return Sign(t, text, w.DirectorySigner)
}

// Sign signs a text, whatever it says.
func Sign(t testing.TB, text string, signers ...note.Signer) []byte {
	t.Helper()
	msg, err := note.Sign(&note.Note{Text: text}, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

// Signer makes a note key.
func Signer(t testing.TB, name string) (signer note.Signer, vkey string) {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	if signer, err = note.NewSigner(skey); err != nil {
		t.Fatal(err)
	}
	return signer, vkey
}

// Witness makes a key to cosign with.
func Witness(t testing.TB, name string) (key, vkey string) {
	t.Helper()
	key, vkey, err := note.GenerateKey(rand.Reader, name+"/witness")
	if err != nil {
		t.Fatal(err)
	}
	if vkey, err = audit.WitnessKey(vkey); err != nil {
		t.Fatal(err)
	}
	return key, vkey
}

// Random32 stands for a key or a hash that nothing looks into.
func Random32() [32]byte { return [32]byte(random(32)) }

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}
