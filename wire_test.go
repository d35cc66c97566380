// SPDX-License-Identifier: EUPL-1.2

package seinhuis_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/seal"
	"github.com/seinhuis/seinhuis/crypto/token"
	"github.com/seinhuis/seinhuis/manifest"
)

const wireFile = "testdata/vectors/wire-1.json"

// wire is what travels in the chain of vectorsFile: bodies and signed notes. Party
// b's card and keybox are drawn; all else follows from the chain.
type wire struct {
	Comment  string          `json:"comment"`
	B        wireSignal      `json:"b"`
	Withdraw signedBytes     `json:"withdraw"`
	Reply    signedBytes     `json:"answer"`   // a's, to b
	Evaluate json.RawMessage `json:"evaluate"` // to evaluator 1
	Answer   json.RawMessage `json:"evaluated"`
	Submit   json.RawMessage `json:"submission"` // of a
	Accepted json.RawMessage `json:"accepted"`
	Events   json.RawMessage `json:"events"` // to b
	Act      json.RawMessage `json:"act"`    // the withdrawal
	Problem  json.RawMessage `json:"problem"`

	TLS       map[string]hexes `json:"tls"` // pins in the notes
	Pins      json.RawMessage  `json:"pins"`
	Manifest  string           `json:"manifest"`
	Hash      hexes            `json:"manifestHash"`
	Directory string           `json:"directory"`
}

type wireSignal struct {
	CardJSON   string      `json:"cardJSON"`
	Reference  string      `json:"reference"`
	SignPublic hexes       `json:"signPublic"`
	HPKEPublic hexes       `json:"hpkePublic"`
	Card       hexes       `json:"card"`
	Keybox     hexes       `json:"keybox"`
	Statement  signedBytes `json:"statement"`
}

func (s signedBytes) api() api.Signed {
	return api.Signed{Signed: encoding.Base64(s.Signed), Signature: encoding.Base64(s.Signature)}
}

// follow computes w from the chain; what is drawn is drawn where it is missing, and
// otherwise must open.
func (w *wire) follow(t *testing.T, v chain) {
	t.Helper()
	g := v.Given
	tok := token.Token{Tag: token.Tag(v.Token.Tag), Seal: token.Seal(v.Token.Seal)}
	issued := must(time.Parse(time.RFC3339, g.Issued))

	w.Comment = "What travels in the chain of seinhuis-1.json: b's own signal, a's answer and withdrawal, bodies, and signed notes of the day."
	b := &w.B
	b.CardJSON = `{"v":1,"name":"","role":"vertrouwensarts","desk":"Vertrouwenscentrum, permanentie","phone":"+32 2 555 01 99","email":"","reachable":"dag en nacht"}`
	b.Reference = "dossier 7"
	b.SignPublic = public(g.B.SignSeed)
	private := must(ecdh.X25519().NewPrivateKey(g.B.HPKEPrivate))
	b.HPKEPublic = private.PublicKey().Bytes()
	id := encoding.KeyIDOf(b.SignPublic)
	context := seal.Context{Dep: g.Dep, Party: g.B.ID, SID: [16]byte(g.B.SID), Rev: g.Rev, Epoch: g.Epoch}
	card := must(seal.ParseCard([]byte(b.CardJSON)))
	birthday := must(encoding.ParseDate(g.Birth)).AddDate(23, 0, 0)
	keybox := seal.Keybox{Token: tok, Birthday23: birthday, Reference: b.Reference}
	if b.Card == nil {
		b.Card = must(seal.SealCard(tok, context, card, id, ed25519.NewKeyFromSeed(g.B.SignSeed)))
		b.Keybox = must(seal.SealKeybox(b.HPKEPublic, context, keybox))
	}
	opened, err := seal.OpenCard(tok, context, b.Card, func(encoding.KeyID) (ed25519.PublicKey, bool) { return ed25519.PublicKey(b.SignPublic), true })
	if err != nil || opened != card {
		t.Errorf("b's card: %v", err)
	}
	found, err := seal.OpenKeybox(func(encoding.KeyID) (*ecdh.PrivateKey, bool) { return private, true }, context, b.Keybox)
	if err != nil || found != keybox {
		t.Errorf("b's keybox: %v", err)
	}
	b.Statement = sign(g.B.SignSeed, e("seinhuis/1/signal", g.Dep, g.B.ID, hexes(id[:]), g.B.SID, g.Rev, "child", "", g.Expires, "",
		g.Issued, uint64(1), g.Epoch, v.Token.Tag, hash(b.Card), hash(b.Keybox)))
	w.Withdraw = sign(g.A.SignSeed, e("seinhuis/1/act", g.Dep, g.A.ID, v.Card.KeyID, "withdraw", g.A.SID, g.Rev, v.Token.Tag, "", "",
		"2026-09-01T08:00:00Z", "ended"))
	w.Reply = sign(g.A.SignSeed, e("seinhuis/1/act", g.Dep, g.A.ID, v.Card.KeyID, "answer", g.A.SID, g.Rev, v.Token.Tag, g.MatchID, g.B.SID,
		"2026-07-02T07:15:00Z", "will-call"))
	told := must(api.EventIDOf(api.PartyID(g.B.ID), api.SID(g.B.SID), api.PartyID(g.A.ID), api.SID(g.A.SID), api.EventAnswer, 1))

	answer := v.OPRF.Answers[0]
	body := func(v any) json.RawMessage { return must(json.Marshal(v)) }
	w.Evaluate = body(api.Evaluate{Epoch: g.Epoch, Cohort: 2012, Sharing: 1, Elements: []encoding.Base64{encoding.Base64(v.OPRF.Blinded)}})
	w.Answer = body(api.Evaluated{Index: answer.Index, Sharing: 1, Elements: []encoding.Base64{encoding.Base64(answer.Evaluated)}, Proof: encoding.Base64(answer.Proof)})
	w.Submit = body(api.Submission{Signed: v.Statement.api(), Faces: []api.SealedFace{{Card: encoding.Base64(v.Card.Card), Keybox: encoding.Base64(v.Keybox.Box)}}})
	w.Accepted = body(api.Accepted{SID: api.SID(g.A.SID), Rev: g.Rev, Receipt: v.Receipt.api()})
	w.Act = body(api.ActRequest{Signed: w.Withdraw.api()})
	w.Problem = body(api.CodeRevision.Problem())
	own := api.EventOwn{SID: api.SID(g.B.SID), Signed: b.Statement.api(), Keybox: encoding.Base64(b.Keybox)}
	w.Events = body(api.Events{Next: "3ebcdb96d994b6f20000000000000002", Items: []api.Event{{
		ID: api.EventID(v.Event.ID), Kind: api.EventJoined, Match: api.MatchID(g.MatchID), Epoch: g.Epoch,
		Other: api.EventOther{Party: api.PartyID(g.A.ID), SID: api.SID(g.A.SID), Rev: g.Rev, Card: encoding.Base64(v.Card.Card)},
		Own:   own,
	}, {
		ID: told, Kind: api.EventAnswer, Match: api.MatchID(g.MatchID), Epoch: g.Epoch,
		Other: api.EventOther{Party: api.PartyID(g.A.ID), SID: api.SID(g.A.SID), Rev: 1},
		Own:   own, Answer: api.AnswerWillCall,
	}}})
	w.notes(t, v, issued)
}

// noteKey is a note's key whose seed is the hash of its name.
func noteKey(name string) (note.Signer, string) {
	seed := hash([]byte("seinhuis vector: " + name))
	typed := append([]byte{1}, public(seed)...)
	id := hash(append([]byte(name+"\n"), typed...))[:4]
	key := func(prefix string, raw []byte) string {
		return fmt.Sprintf("%s%s+%x+%s", prefix, name, []byte(id), base64.StdEncoding.EncodeToString(raw))
	}
	return must(note.NewSigner(key("PRIVATE+KEY+", append([]byte{1}, seed...)))), key("", typed)
}

func (w *wire) notes(t *testing.T, v chain, now time.Time) {
	t.Helper()
	g := v.Given
	w.TLS = map[string]hexes{}
	pin := func(of string) manifest.Pin {
		w.TLS[of] = hash([]byte("seinhuis vector: tls key of " + of))
		return manifest.Pin(w.TLS[of])
	}
	governance, governanceKey := noteKey("governance")
	lister, listerKey := noteKey("directory")
	signers := []note.Signer{governance}
	m := manifest.Manifest{
		Dep: g.Dep, Version: 1, NotAfter: now.AddDate(0, 6, 0), Threshold: len(v.OPRF.Commitments),
		Epochs:     []manifest.Epoch{{Number: g.Epoch, State: manifest.EpochOpen, Opens: encoding.Date{Year: 2026, Month: 1, Day: 1}}},
		Sharings:   []manifest.Sharing{{Epoch: g.Epoch, Cohort: 2012, Number: 1}},
		Governance: governanceKey, DirectorySigner: listerKey,
		Registry: manifest.Registry{URL: "https://registry.example:8443", PublicURL: "https://registry.example", TLS: pin("registry")},
		Policy: manifest.Policy{
			TermDays: 365, LegalBasisEnds: encoding.Date{Year: 2030, Month: 1, Day: 1}, TimeZone: "Europe/Amsterdam", Calendar: "nl",
			AnswerDays: 5, DailyBudget: 200, MonthlyBudget: 2000, ReportReserve: 20,
		},
	}
	for _, c := range v.OPRF.Commitments {
		m.Sharings[0].Commitments = append(m.Sharings[0].Commitments, encoding.Base64(c))
	}
	pins := manifest.Pins{Dep: g.Dep, Governance: governanceKey, Threshold: m.Threshold}
	for i := 1; i <= 3; i++ {
		name := fmt.Sprintf("evaluator-%d", i)
		signer, key := noteKey(name)
		if slices.Contains(g.Evaluators, i) { // two of three are enough
			signers = append(signers, signer)
		}
		pins.Evaluators = append(pins.Evaluators, key)
		m.Evaluators = append(m.Evaluators, manifest.Evaluator{Index: i, Name: name, URL: "https://" + name + ".example:8443", TLS: pin(name), Note: key})
	}
	start := now.AddDate(0, -1, 0)
	m.Registry.ReceiptKeys = []manifest.Key{manifest.NewKey("", public(g.RegistrySeed), start)}
	keys := func(sign, hpke hexes, of string) []manifest.Key {
		spki := pin(of)
		return []manifest.Key{manifest.NewKey(manifest.UseSign, sign, start), manifest.NewKey(manifest.UseHPKE, hpke, start), manifest.NewKey(manifest.UseTLS, spki[:], start)}
	}
	d := manifest.Directory{Dep: g.Dep, Version: 1, NotAfter: now.AddDate(0, 1, 0), Parties: []manifest.Party{
		{ID: api.PartyID(g.B.ID), Name: "Vertrouwenscentrum", Kind: manifest.Vertrouwenscentrum, Region: "Brussel", Keys: keys(w.B.SignPublic, w.B.HPKEPublic, "b")},
		{ID: api.PartyID(g.A.ID), Name: "Jeugdgezondheidszorg Noord", Kind: manifest.YouthHealth, Region: "Amsterdam", Keys: keys(v.Card.SignPublic, v.Keybox.HPKEPublic, "a")},
	}}
	w.Pins = must(json.Marshal(pins))
	w.Manifest = string(must(note.Sign(&note.Note{Text: must(m.Note())}, signers...)))
	w.Directory = string(must(note.Sign(&note.Note{Text: must(d.Note())}, lister)))
	h := m.Hash()
	w.Hash = h[:]
	opened, err := manifest.OpenManifest([]byte(w.Manifest), pins, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := manifest.OpenDirectory([]byte(w.Directory), opened, now); err != nil {
		t.Fatal(err)
	}
}

func TestWireVectorsFollowFromTheChain(t *testing.T) {
	v, _ := readChain(t)
	want, err := os.ReadFile(wireFile)
	if err != nil && !*update {
		t.Fatal(err)
	}
	var stored wire
	if err == nil {
		if err := json.Unmarshal(want, &stored); err != nil {
			t.Fatal(err)
		}
	}
	w := wire{B: wireSignal{Card: stored.B.Card, Keybox: stored.B.Keybox}}
	if *update {
		w.B = wireSignal{}
	}
	w.follow(t, v)
	var got bytes.Buffer
	enc := json.NewEncoder(&got)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(w); err != nil {
		t.Fatal(err)
	}
	switch {
	case *update:
		if err := os.WriteFile(wireFile, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	case !bytes.Equal(got.Bytes(), want):
		t.Errorf("computed anew, the vectors are\n%s", &got)
	}
}

// shortHex is 56 bytes a line.
func shortHex(b []byte) (lines []string) {
	for part := range slices.Chunk(b, 56) {
		lines = append(lines, "    "+hex.EncodeToString(part))
	}
	return lines
}
