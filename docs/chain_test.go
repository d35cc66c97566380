// SPDX-License-Identifier: EUPL-1.2

package docs_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/zk/dleq"
	"golang.org/x/mod/sumdb/note"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/identity"
	"github.com/seinhuis/seinhuis/crypto/oprf"
	"github.com/seinhuis/seinhuis/crypto/seal"
	"github.com/seinhuis/seinhuis/crypto/token"
	"github.com/seinhuis/seinhuis/manifest"
)

// A chain is one signal of each of two parties, from a number as typed to an opened
// card, with every intermediate value. Everything follows from the constants below,
// but for what is drawn at random: the blind, the proofs, the cards' nonces and what
// HPKE draws. These are taken from testdata/chain.json and verified.
type chain struct {
	Comment    string        `json:"comment"`
	Deployment string        `json:"deployment"`
	Epoch      uint64        `json:"epoch"`
	Key        keyOf         `json:"key"`
	Identity   identityOf    `json:"identity"`
	Evaluation evaluation    `json:"evaluation"`
	Token      tokenOf       `json:"token"`
	A          partyOf       `json:"a"`
	B          partyOf       `json:"b"`
	SignalA    signalOf      `json:"signalA"`
	SignalB    signalOf      `json:"signalB"`
	ReceiptB   SignedBy      `json:"receiptB"`
	EventID    eventOf       `json:"event"`
	ReadOut    readOut       `json:"readOut"`
	WithdrawB  SignedBy      `json:"withdrawB"`
	Notes      notes         `json:"notes"`
	Bodies     bodies        `json:"bodies"`
	More       []moreNumbers `json:"identities"`
}

type keyOf struct {
	Threshold    int       `json:"threshold"`
	Coefficients []hexes   `json:"coefficients"`
	Commitments  []hexes   `json:"commitments"`
	Shares       []shareOf `json:"shares"`
}

type shareOf struct {
	Index int   `json:"index"`
	Share hexes `json:"share"`
	Key   hexes `json:"shareKey"`
}

type identityOf struct {
	Type       string `json:"type"`
	Number     string `json:"number"`
	BirthDate  string `json:"birthDate"`
	Today      string `json:"today"`
	Cohort     string `json:"cohort"`
	Birthday23 string `json:"birthday23"`
	Canonical  hexes  `json:"canonical"`
}

type evaluation struct {
	Blind    hexes    `json:"blind"`
	Blinded  hexes    `json:"blinded"`
	Answers  []answer `json:"answers"`
	Combined hexes    `json:"combined"` // from answers 1 and 3
	Unblind  hexes    `json:"unblinded"`
	Output   hexes    `json:"output"`
}

type answer struct {
	Index     int   `json:"index"`
	Evaluated hexes `json:"evaluated"`
	Proof     hexes `json:"proof"`
}

type tokenOf struct {
	TagInfo  hexes `json:"tagInfo"`
	Tag      hexes `json:"tag"`
	SealInfo hexes `json:"sealInfo"`
	Seal     hexes `json:"seal"`
}

type partyOf struct {
	ID          string `json:"party"`
	SignSeed    hexes  `json:"signSeed"`
	SignPublic  hexes  `json:"signPublic"`
	SignKeyID   hexes  `json:"signKeyID"`
	HPKEPrivate hexes  `json:"hpkePrivate"`
	HPKEPublic  hexes  `json:"hpkePublic"`
	HPKEKeyID   hexes  `json:"hpkeKeyID"`
}

type signalOf struct {
	SID           hexes  `json:"sid"`
	Rev           uint64 `json:"rev"`
	CardJSON      string `json:"cardJSON"`
	CardSigned    hexes  `json:"cardSigned"`
	CardSignature hexes  `json:"cardSignature"`
	CardKey       hexes  `json:"cardKey"`
	CardAAD       hexes  `json:"cardAAD"`
	Card          hexes  `json:"card"`
	KeyboxInfo    hexes  `json:"keyboxInfo"`
	KeyboxAAD     hexes  `json:"keyboxAAD"`
	KeyboxPlain   hexes  `json:"keyboxPlaintext"`
	Keybox        hexes  `json:"keybox"`
	Issued        string `json:"issued"`
	Expires       string `json:"expires"`
	SignedBy
}

type SignedBy struct {
	Signed    hexes `json:"signed"`
	Signature hexes `json:"signature"`
	PublicKey hexes `json:"publicKey"`
}

type eventOf struct {
	Preimage hexes `json:"preimage"`
	ID       hexes `json:"id"`
}

type readOut struct {
	Info hexes  `json:"info"`
	Code string `json:"code"`
}

type notes struct {
	Pins         string `json:"pins"`
	Manifest     string `json:"manifest"`
	ManifestHash hexes  `json:"manifestHash"`
	Directory    string `json:"directory"`
}

type bodies struct {
	Evaluate   string `json:"evaluate"`
	Evaluated  string `json:"evaluated"`
	Submission string `json:"submission"`
	Accepted   string `json:"accepted"`
	Events     string `json:"events"`
	Act        string `json:"act"`
	Problem    string `json:"problem"`
}

// moreNumbers says what other numbers come to: canonical bytes, or a refusal.
type moreNumbers struct {
	Type       string `json:"type"`
	Number     string `json:"number"`
	BirthDate  string `json:"birthDate,omitempty"`
	Today      string `json:"today"`
	Birthday23 string `json:"birthday23,omitempty"`
	Canonical  hexes  `json:"canonical,omitempty"`
	Refused    string `json:"refused,omitempty"`
}

type hexes []byte

func (h hexes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

func (h *hexes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

const (
	dep   = "demo"
	epoch = 1
)

var (
	ristretto = group.Ristretto255
	// What the key of a test is made from stands in its name: nobody can take it
	// for a key in use.
	fixed = func(name string) []byte {
		h := sha256.Sum256([]byte("seinhuis test vector: " + name))
		return h[:]
	}
	contextString = []byte("OPRFV1-\x01-ristretto255-SHA512")
	now           = time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC)
)

// builder carries the test, the chain that was stored (for what is drawn), and the
// secrets between the steps.
type builder struct {
	t       *testing.T
	stored  *chain // nil: draw anew
	token   token.Token
	birth23 encoding.Date
	c       chain
}

func (b *builder) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *builder) e(first string, rest ...[]byte) []byte {
	b.t.Helper()
	out, err := encoding.E(first, rest...)
	b.must(err)
	return out
}

func (b *builder) scalar(raw []byte) group.Scalar {
	b.t.Helper()
	s := ristretto.NewScalar()
	b.must(s.UnmarshalBinary(raw))
	return s
}

func (b *builder) raw(v interface{ MarshalBinary() ([]byte, error) }) []byte {
	b.t.Helper()
	out, err := v.MarshalBinary()
	b.must(err)
	return out
}

func (b *builder) element(raw []byte) group.Element {
	b.t.Helper()
	e := ristretto.NewElement()
	b.must(e.UnmarshalBinary(raw))
	return e
}

func (b *builder) json(v any) string {
	b.t.Helper()
	text, err := json.Marshal(v)
	b.must(err)
	return string(text)
}

func build(t *testing.T, stored *chain) chain {
	b := &builder{t: t, stored: stored}
	b.c = chain{Comment: "One chain of protocol seinhuis/1; docs/spec.md explains each value. Binary is hexadecimal. Every secret here is made from public text.", Deployment: dep, Epoch: epoch}
	b.key()
	b.identity()
	b.evaluate()
	b.derive()
	b.c.A, b.c.B = b.party("nl-oin:00000001001234567000", "a"), b.party("nl-kvk:12345678/noord", "b")
	b.c.SignalA = b.signal(b.c.A, "a", seal.Card{Name: "Anna de Vries", Role: "intern begeleider", Desk: "Zorgteam De Linde", Phone: "+31 20 555 0100", Email: "a.devries@example.nl", Reachable: "ma-do 9-17 uur"}, "D-2026-0042")
	b.c.SignalB = b.signal(b.c.B, "b", seal.Card{Name: "", Role: "jeugdarts", Desk: "JGZ team Noord", Phone: "+31 20 555 0199", Email: "", Reachable: "werkdagen, vraag naar de dienst"}, "dossier 7")
	b.exchange()
	b.notes()
	b.more()
	return b.c
}

func (b *builder) key() {
	k := keyOf{Threshold: 2}
	var f []group.Scalar
	for j := range 2 {
		s := ristretto.HashToScalar(fixed(fmt.Sprintf("coefficient %d", j)), []byte("test"))
		f = append(f, s)
		k.Coefficients = append(k.Coefficients, b.raw(s))
		k.Commitments = append(k.Commitments, b.raw(ristretto.NewElement().MulGen(s)))
	}
	commitments, err := oprf.ParseCommitments(asBytes(k.Commitments))
	b.must(err)
	for i := 1; i <= 3; i++ {
		s := ristretto.NewScalar().SetUint64(uint64(i))
		s.Mul(s, f[1])
		s.Add(s, f[0])
		share, err := oprf.ParseShare(i, b.raw(s))
		b.must(err)
		if !share.Verify(commitments) {
			b.t.Error("a share does not fit the commitments")
		}
		shareKey, err := commitments.ShareKey(i)
		b.must(err)
		k.Shares = append(k.Shares, shareOf{i, b.raw(s), shareKey})
	}
	b.c.Key = k
}

func (b *builder) identity() {
	v := identityOf{Type: "nl-bsn", Number: "1234.567.82", BirthDate: "2012-03-04", Today: "2026-07-01"}
	birth, err := encoding.ParseDate(v.BirthDate)
	b.must(err)
	id, err := identity.Parse(identity.BSN, v.Number, birth, identity.Today(now))
	b.must(err)
	v.Canonical, err = id.Canonical(dep, epoch)
	b.must(err)
	b.birth23 = id.Birthday23()
	v.Cohort, v.Birthday23 = fmt.Sprintf("%04d", id.Cohort()), b.birth23.String()
	b.c.Identity = v
}

// evaluate does the gateway's steps with the group itself, since package oprf shows
// neither blind nor combined element, and holds the outcome against package oprf.
func (b *builder) evaluate() {
	x := []byte(b.c.Identity.Canonical)
	var v evaluation
	r := ristretto.RandomNonZeroScalar(rand.Reader)
	if b.stored != nil {
		r = b.scalar(b.stored.Evaluation.Blind)
	}
	v.Blind = b.raw(r)
	blinded := ristretto.NewElement().Mul(ristretto.HashToElement(x, append([]byte("HashToGroup-"), contextString...)), r)
	v.Blinded = b.raw(blinded)
	for i, s := range b.c.Key.Shares {
		share, err := oprf.ParseShare(s.Index, s.Share)
		b.must(err)
		evaluator, err := oprf.NewEvaluator(share)
		b.must(err)
		elements, proof, err := evaluator.Evaluate([][]byte{v.Blinded})
		b.must(err)
		if b.stored != nil {
			proof = b.stored.Evaluation.Answers[i].Proof
		}
		p := new(dleq.Proof)
		b.must(p.UnmarshalBinary(ristretto, proof))
		verifier := dleq.Verifier{Params: dleq.Params{G: ristretto, H: crypto.SHA512, DST: contextString}}
		if !verifier.VerifyBatchRFC9497(b.element(s.Key), []group.Element{blinded}, []group.Element{b.element(elements[0])}, p) {
			b.t.Errorf("the proof of share %d does not hold", s.Index)
		}
		v.Answers = append(v.Answers, answer{s.Index, elements[0], proof})
	}
	// Evaluators 1 and 3: λ_1 = 3/(3-1), λ_3 = 1/(1-3).
	two := ristretto.NewScalar().SetUint64(2)
	half := ristretto.NewScalar().Inv(two)
	l1 := ristretto.NewScalar().Mul(ristretto.NewScalar().SetUint64(3), half)
	l3 := ristretto.NewScalar().Neg(half)
	combined := ristretto.NewElement().Mul(b.element(v.Answers[0].Evaluated), l1)
	combined.Add(combined, ristretto.NewElement().Mul(b.element(v.Answers[2].Evaluated), l3))
	v.Combined = b.raw(combined)
	v.Output = b.output(x)
	v.Unblind = b.raw(ristretto.NewElement().Mul(combined, ristretto.NewScalar().Inv(r)))
	if !bytes.Equal(v.Output, finalize(x, v.Unblind)) {
		b.t.Error("the output is not the RFC's")
	}
	b.c.Evaluation = v
}

// output evaluates x by package oprf, under another blind and with other shares.
func (b *builder) output(x []byte) []byte {
	commitments, err := oprf.ParseCommitments(asBytes(b.c.Key.Commitments))
	b.must(err)
	blinding, err := oprf.Blind([][]byte{x})
	b.must(err)
	var partials []oprf.Partial
	for _, s := range b.c.Key.Shares[1:] {
		share, err := oprf.ParseShare(s.Index, s.Share)
		b.must(err)
		evaluator, err := oprf.NewEvaluator(share)
		b.must(err)
		elements, proof, err := evaluator.Evaluate(blinding.Elements())
		b.must(err)
		partial, err := blinding.Verify(commitments, s.Index, elements, proof)
		b.must(err)
		partials = append(partials, partial)
	}
	outputs, err := blinding.Combine(2, partials)
	b.must(err)
	return outputs[0]
}

func (b *builder) derive() {
	var err error
	b.token, err = token.Derive(b.c.Evaluation.Output, dep, epoch)
	b.must(err)
	b.c.Token = tokenOf{
		TagInfo: b.e("seinhuis/1/tag", []byte(dep), encoding.Int(epoch)), Tag: b.token.Tag[:],
		SealInfo: b.e("seinhuis/1/seal", []byte(dep), encoding.Int(epoch)), Seal: b.token.Seal[:],
	}
}

func (b *builder) party(id, name string) partyOf {
	sign := ed25519.NewKeyFromSeed(fixed("signing key of " + name))
	private, err := ecdh.X25519().NewPrivateKey(fixed("hpke key of " + name))
	b.must(err)
	p := partyOf{ID: id, SignSeed: sign.Seed(), SignPublic: hexes(sign.Public().(ed25519.PublicKey)), HPKEPrivate: private.Bytes(), HPKEPublic: private.PublicKey().Bytes()}
	p.SignKeyID, p.HPKEKeyID = keyID(p.SignPublic), keyID(p.HPKEPublic)
	return p
}

func keyID(public []byte) hexes {
	id := encoding.KeyIDOf(public)
	return id[:]
}

func (b *builder) signal(p partyOf, name string, card seal.Card, reference string) signalOf {
	sign := ed25519.NewKeyFromSeed(p.SignSeed)
	private, err := ecdh.X25519().NewPrivateKey(p.HPKEPrivate)
	b.must(err)
	s := signalOf{SID: fixed("sid of " + name)[:16], Rev: 1, Issued: now.Format(time.RFC3339), Expires: "2027-07-01"}
	c := seal.Context{Dep: dep, Party: p.ID, SID: [16]byte(s.SID), Rev: s.Rev, Epoch: epoch}
	key := seal.Keybox{Token: b.token, Birthday23: b.birth23, Reference: reference}
	if b.stored == nil {
		s.Card, err = seal.SealCard(b.token, c, card, encoding.KeyIDOf(p.SignPublic), sign)
		b.must(err)
		s.Keybox, err = seal.SealKeybox(p.HPKEPublic, c, key)
		b.must(err)
	} else if name == "a" {
		s.Card, s.Keybox = b.stored.SignalA.Card, b.stored.SignalA.Keybox
	} else {
		s.Card, s.Keybox = b.stored.SignalB.Card, b.stored.SignalB.Keybox
	}
	opened, err := seal.OpenCard(b.token, c, s.Card, func(encoding.KeyID) (ed25519.PublicKey, bool) { return ed25519.PublicKey(p.SignPublic), true })
	b.must(err)
	box, err := seal.OpenKeybox(func(encoding.KeyID) (*ecdh.PrivateKey, bool) { return private, true }, c, s.Keybox)
	b.must(err)
	if opened != card || box != key {
		b.t.Errorf("signal %s: card or keybox has other contents", name)
	}

	text, err := card.JSON()
	b.must(err)
	fields := [][]byte{[]byte(dep), []byte(p.ID), s.SID, encoding.Int(s.Rev), encoding.Int(epoch)}
	s.CardJSON = string(text)
	s.CardSigned = b.e("seinhuis/1/card-sig", append(fields, b.token.Tag[:], text)...)
	s.CardSignature = ed25519.Sign(sign, s.CardSigned)
	s.CardKey, err = token.KDF(b.token.Seal[:], b.e("seinhuis/1/card-key", s.SID, []byte(p.ID), encoding.Int(s.Rev)), 32)
	b.must(err)
	s.CardAAD = b.e("seinhuis/1/card-aad", append(fields, b.token.Tag[:])...)
	s.KeyboxInfo = b.e("seinhuis/1/keybox", []byte(dep), []byte(p.ID))
	s.KeyboxAAD = b.e(dep, fields[1:]...)
	s.KeyboxPlain = keyboxPlain(b.token, b.birth23, reference)

	expires, err := encoding.ParseDate(s.Expires)
	b.must(err)
	statement, err := api.Statement{
		Dep: dep, Party: api.PartyID(p.ID), KeyID: encoding.KeyID(p.SignKeyID), SID: api.SID(s.SID), Rev: s.Rev, Kind: api.KindChild,
		Expires: expires, Issued: now,
		Faces: []api.Face{{Epoch: epoch, Tag: api.Tag(b.token.Tag), Card: sha256.Sum256(s.Card), Keybox: sha256.Sum256(s.Keybox)}},
	}.Encode()
	b.must(err)
	s.SignedBy = signedBy(sign, statement)
	return s
}

func signedBy(key ed25519.PrivateKey, statement []byte) SignedBy {
	return SignedBy{statement, ed25519.Sign(key, statement), hexes(key.Public().(ed25519.PublicKey))}
}

func (s SignedBy) api() api.Signed {
	return api.Signed{Signed: encoding.Base64(s.Signed), Signature: encoding.Base64(s.Signature)}
}

// exchange is what goes between party b and the registry, and what party a reads.
func (b *builder) exchange() {
	c := &b.c
	sidA, sidB := api.SID(c.SignalA.SID), api.SID(c.SignalB.SID)
	receiptKey := ed25519.NewKeyFromSeed(fixed("receipt key"))
	receipt, err := api.Receipt{
		Dep: dep, Incarnation: [16]byte(fixed("incarnation")[:16]), Party: api.PartyID(c.B.ID), SID: sidB, Rev: 1,
		Statement: c.SignalB.api().Hash(), Others: 1, Leaf: api.Hash(fixed("leaf")), Time: now,
	}.Encode()
	b.must(err)
	c.ReceiptB = signedBy(receiptKey, receipt)
	act, err := api.Act{
		Dep: dep, Party: api.PartyID(c.B.ID), KeyID: encoding.KeyID(c.B.SignKeyID), Act: api.ActWithdraw, SID: sidB, Rev: 1,
		Tag: api.Tag(b.token.Tag), Issued: now.Add(time.Hour), Body: api.ReasonEnded,
	}.Encode()
	b.must(err)
	c.WithdrawB = signedBy(ed25519.NewKeyFromSeed(c.B.SignSeed), act)

	c.EventID.Preimage = b.e("seinhuis/1/event", []byte(c.A.ID), sidA[:], []byte(c.B.ID), sidB[:], []byte("joined"), encoding.Int(1))
	id, err := api.EventIDOf(api.PartyID(c.A.ID), sidA, api.PartyID(c.B.ID), sidB, api.EventJoined, 1)
	b.must(err)
	c.EventID.ID = id[:]
	if h := sha256.Sum256(c.EventID.Preimage); !bytes.Equal(h[:16], id[:]) {
		b.t.Error("the event id is not the hash of its preimage")
	}
	lower, higher := sidA[:], sidB[:]
	if bytes.Compare(lower, higher) > 0 {
		lower, higher = higher, lower
	}
	c.ReadOut.Info = b.e("seinhuis/1/code", lower, higher)
	c.ReadOut.Code, err = seal.ReadOutCode(b.token.Seal, sidA, sidB)
	b.must(err)

	answer := c.Evaluation.Answers[1]
	c.Bodies = bodies{
		Evaluate:   b.json(api.Evaluate{Epoch: epoch, Cohort: 2012, Sharing: 1, Elements: []encoding.Base64{encoding.Base64(c.Evaluation.Blinded)}}),
		Evaluated:  b.json(api.Evaluated{Index: answer.Index, Sharing: 1, Elements: []encoding.Base64{encoding.Base64(answer.Evaluated)}, Proof: encoding.Base64(answer.Proof)}),
		Submission: b.json(api.Submission{Signed: c.SignalB.api(), Faces: []api.SealedFace{{Card: encoding.Base64(c.SignalB.Card), Keybox: encoding.Base64(c.SignalB.Keybox)}}}),
		Accepted:   b.json(api.Accepted{SID: sidB, Rev: 1, Receipt: c.ReceiptB.api()}),
		Act:        b.json(api.ActRequest{Signed: c.WithdrawB.api()}),
		Problem:    b.json(api.CodeRevision.Problem()),
		Events: b.json(api.Events{Next: "00112233445566770000000000000001", Items: []api.Event{{
			ID: id, Kind: api.EventJoined, Match: api.MatchID(fixed("match")[:16]), Epoch: epoch,
			Other: api.EventOther{Party: api.PartyID(c.B.ID), SID: sidB, Rev: 1, Card: encoding.Base64(c.SignalB.Card)},
			Own:   api.EventOwn{SID: sidA, Signed: c.SignalA.api(), Keybox: encoding.Base64(c.SignalA.Keybox)},
		}}}),
	}
}

// noteKey is a note's key from a fixed seed, with its verifier key.
func (b *builder) noteKey(name string) (note.Signer, string) {
	seed := fixed("note key of " + name)
	public := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	typed := append([]byte{1}, public...)
	h := sha256.Sum256(append([]byte(name+"\n"), typed...))
	signer, err := note.NewSigner(fmt.Sprintf("PRIVATE+KEY+%s+%x+%s", name, h[:4], base64.StdEncoding.EncodeToString(append([]byte{1}, seed...))))
	b.must(err)
	return signer, fmt.Sprintf("%s+%x+%s", name, h[:4], base64.StdEncoding.EncodeToString(typed))
}

func (b *builder) notes() {
	c := &b.c
	governance, governanceKey := b.noteKey("governance")
	lister, listerKey := b.noteKey("directory")
	signers := []note.Signer{governance}
	m := manifest.Manifest{
		Dep: dep, Version: 1, NotAfter: now.AddDate(0, 6, 0), Threshold: 2,
		Epochs:     []manifest.Epoch{{Number: epoch, State: manifest.EpochOpen, Opens: encoding.Date{Year: 2026, Month: 1, Day: 1}}},
		Sharings:   []manifest.Sharing{{Epoch: epoch, Cohort: 2012, Number: 1}},
		Registry:   manifest.Registry{URL: "https://registry.example:8443", PublicURL: "https://registry.example", TLS: manifest.Pin(fixed("tls key of the registry"))},
		Governance: governanceKey, DirectorySigner: listerKey,
		Policy: manifest.Policy{TermDays: 365, LegalBasisEnds: encoding.Date{Year: 2030, Month: 1, Day: 1}, TimeZone: "Europe/Amsterdam", Calendar: "nl", AnswerDays: 5, DailyBudget: 200, MonthlyBudget: 2000, ReportReserve: 20},
	}
	pins := manifest.Pins{Dep: dep, Governance: governanceKey, Threshold: 2}
	for i := 1; i <= 3; i++ {
		name := fmt.Sprintf("evaluator-%d", i)
		signer, vkey := b.noteKey(name)
		if i != 2 { // two of three suffice
			signers = append(signers, signer)
		}
		pins.Evaluators = append(pins.Evaluators, vkey)
		m.Evaluators = append(m.Evaluators, manifest.Evaluator{Index: i, Name: name, URL: fmt.Sprintf("https://%s.example:8443", name), TLS: manifest.Pin(fixed("tls key of " + name)), Note: vkey})
	}
	for _, commitment := range c.Key.Commitments {
		m.Sharings[0].Commitments = append(m.Sharings[0].Commitments, encoding.Base64(commitment))
	}
	start := now.AddDate(0, -1, 0)
	m.Registry.ReceiptKeys = []manifest.Key{manifest.NewKey("", c.ReceiptB.PublicKey, start)}
	d := manifest.Directory{Dep: dep, Version: 1, NotAfter: now.AddDate(0, 1, 0)}
	for _, p := range []struct {
		of   partyOf
		name string
		kind string
	}{{c.B, "Jeugdgezondheidszorg Noord", manifest.YouthHealth}, {c.A, "Basisschool De Linde", manifest.School}} {
		d.Parties = append(d.Parties, manifest.Party{ID: api.PartyID(p.of.ID), Name: p.name, Kind: p.kind, Region: "Amsterdam", Keys: []manifest.Key{
			manifest.NewKey(manifest.UseSign, p.of.SignPublic, start),
			manifest.NewKey(manifest.UseHPKE, p.of.HPKEPublic, start),
			manifest.NewKey(manifest.UseTLS, fixed("tls key of "+p.of.ID), start),
		}})
	}
	sign := func(text string, err error, signers ...note.Signer) string {
		b.t.Helper()
		b.must(err)
		msg, err := note.Sign(&note.Note{Text: text}, signers...)
		b.must(err)
		return string(msg)
	}
	text, err := m.Note()
	hash := m.Hash()
	c.Notes = notes{Pins: b.json(pins), Manifest: sign(text, err, signers...), ManifestHash: hash[:]}
	text, err = d.Note()
	c.Notes.Directory = sign(text, err, lister)
	opened, err := manifest.OpenManifest([]byte(c.Notes.Manifest), pins, now)
	b.must(err)
	_, err = manifest.OpenDirectory([]byte(c.Notes.Directory), opened, now)
	b.must(err)
}
