// SPDX-License-Identifier: EUPL-1.2

package seinhuis_test

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/hpke"
	"github.com/cloudflare/circl/math/polynomial"
	"github.com/cloudflare/circl/zk/dleq"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/identity"
	"github.com/seinhuis/seinhuis/crypto/oprf"
	"github.com/seinhuis/seinhuis/crypto/seal"
	"github.com/seinhuis/seinhuis/crypto/token"
)

const vectorsFile = "testdata/vectors/seinhuis-1.json"

var update = flag.Bool("update", false, "rewrite "+vectorsFile+" from what is given in it")

// The file has one child's whole way, with every intermediate value. It is written
// and checked here with nothing of ours, so that our packages are held against a
// second implementation: E by hand, KDF, AES-GCM and Ed25519 from the standard
// library, group, proof and HPKE from circl. What stands under "given" is chosen;
// all else follows, except enc of the keybox, which HPKE draws.
type chain struct {
	Comment string `json:"comment"`
	Given   given  `json:"given"`

	Canonical hexes       `json:"canonical"` // x, the OPRF's input
	OPRF      chainOPRF   `json:"oprf"`
	Token     chainToken  `json:"token"`
	Card      chainCard   `json:"card"`
	Keybox    chainKeybox `json:"keybox"`
	Statement signedBytes `json:"statement"` // of a, with the card and keybox above
	Act       signedBytes `json:"act"`       // a withdraws
	Receipt   signedBytes `json:"receipt"`   // of the registry, for the statement
	Event     chainEvent  `json:"event"`     // b signals the child too and is told of a
	Code      chainCode   `json:"readOutCode"`
}

type given struct {
	Dep    string `json:"dep"`
	Epoch  uint64 `json:"epoch"`
	Type   string `json:"type"`
	Number string `json:"number"` // as typed
	Birth  string `json:"birthDate"`
	Today  string `json:"today"`

	Coefficients []hexes `json:"coefficients"` // f_0 = k, f_1, little-endian scalars
	Evaluators   []int   `json:"evaluators"`   // the two that answer
	Blind        hexes   `json:"blind"`
	ProofRandom  []hexes `json:"proofRandom"` // of each answer

	A            givenParty `json:"a"`
	B            givenParty `json:"b"`
	RegistrySeed hexes      `json:"registrySeed"` // Ed25519, signs receipts

	Rev         uint64 `json:"rev"`
	Issued      string `json:"issued"`
	Expires     string `json:"expires"`
	CardJSON    string `json:"cardJSON"`
	CardNonce   hexes  `json:"cardNonce"`
	Reference   string `json:"reference"`
	MatchID     hexes  `json:"matchID"`
	Incarnation hexes  `json:"incarnation"`
	Others      uint64 `json:"others"`
	LeafHash    hexes  `json:"leafHash"`
	ReceiptTime string `json:"receiptTime"`
}

type givenParty struct {
	ID          string `json:"id"`
	SID         hexes  `json:"sid"`
	SignSeed    hexes  `json:"signSeed"`    // Ed25519, RFC 8032
	HPKEPrivate hexes  `json:"hpkePrivate"` // X25519
}

type chainOPRF struct {
	Commitments []hexes       `json:"commitments"`
	Blinded     hexes         `json:"blinded"`
	Answers     []chainAnswer `json:"answers"`
	Combined    hexes         `json:"combined"`
	Unblinded   hexes         `json:"unblinded"`
	Y           hexes         `json:"y"`
}

type chainAnswer struct {
	Index     int   `json:"index"`
	Share     hexes `json:"share"`
	ShareKey  hexes `json:"shareKey"`
	Evaluated hexes `json:"evaluated"`
	Proof     hexes `json:"proof"`
	Lambda    hexes `json:"lambda"`
}

type chainToken struct {
	TagInfo  hexes `json:"tagInfo"`
	Tag      hexes `json:"tag"`
	SealInfo hexes `json:"sealInfo"`
	Seal     hexes `json:"seal"`
}

type chainCard struct {
	SignPublic hexes `json:"signPublic"`
	KeyID      hexes `json:"keyID"`
	Signed     hexes `json:"signed"` // E("seinhuis/1/card-sig", …)
	Signature  hexes `json:"signature"`
	Plaintext  hexes `json:"plaintext"`
	KeyInfo    hexes `json:"keyInfo"`
	Key        hexes `json:"key"`
	AAD        hexes `json:"aad"`
	Card       hexes `json:"card"`
	Hash       hexes `json:"hash"`
}

type chainKeybox struct {
	HPKEPublic hexes `json:"hpkePublic"`
	KeyID      hexes `json:"keyID"`
	Info       hexes `json:"info"`
	AAD        hexes `json:"aad"`
	Plaintext  hexes `json:"plaintext"`
	Box        hexes `json:"box"`
	Hash       hexes `json:"hash"`
}

type signedBytes struct {
	Signed    hexes `json:"signed"`
	Signature hexes `json:"signature"`
	Hash      hexes `json:"hash"`
}

type chainEvent struct {
	Hashed hexes `json:"hashed"`
	ID     hexes `json:"id"`
}

type chainCode struct {
	Info hexes  `json:"info"`
	Code string `json:"code"`
}

// hexes is binary in the file.
type hexes []byte

func (h hexes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

func (h *hexes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// e is E of the specification.
func e(fields ...any) (out hexes) {
	for _, f := range fields {
		var b []byte
		switch f := f.(type) {
		case string:
			b = []byte(f)
		case hexes:
			b = f
		case uint64:
			b = fmt.Append(nil, f)
		default:
			panic("e: a field of no known type")
		}
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(b))), b...)
	}
	return out
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func kdf(key, info hexes, n int) hexes {
	return must(hkdf.Expand(sha256.New, key, string(info), n))
}

func hash(b []byte) hexes { h := sha256.Sum256(b); return h[:] }

func sign(seed, b hexes) signedBytes {
	return signedBytes{b, ed25519.Sign(ed25519.NewKeyFromSeed(seed), b), hash(b)}
}

func public(seed hexes) hexes {
	return hexes(ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey))
}

var ristretto = group.Ristretto255

func scalar(b hexes) group.Scalar {
	s := ristretto.NewScalar()
	if err := s.UnmarshalBinary(b); err != nil {
		panic(err)
	}
	return s
}

func index(i int) group.Scalar { return ristretto.NewScalar().SetUint64(uint64(i)) }

func element(e group.Element) hexes { return must(e.MarshalBinaryCompress()) }

// derive computes everything that follows from v.Given, with value as the digits
// of the number and cohort as the birth year.
func (v *chain) derive(value, cohort string) {
	g := v.Given
	v.Canonical = e("seinhuis/1/id", g.Dep, g.Type, g.Epoch, cohort, value)
	v.deriveOPRF()

	v.Token.TagInfo = e("seinhuis/1/tag", g.Dep, g.Epoch)
	v.Token.Tag = kdf(v.OPRF.Y, v.Token.TagInfo, 32)
	v.Token.SealInfo = e("seinhuis/1/seal", g.Dep, g.Epoch)
	v.Token.Seal = kdf(v.OPRF.Y, v.Token.SealInfo, 32)
	tag := v.Token.Tag

	c := &v.Card
	c.SignPublic = public(g.A.SignSeed)
	c.KeyID = hash(c.SignPublic)[:8]
	c.Signed = e("seinhuis/1/card-sig", g.Dep, g.A.ID, g.A.SID, g.Rev, g.Epoch, tag, g.CardJSON)
	c.Signature = sign(g.A.SignSeed, c.Signed).Signature
	c.Plaintext = slices.Concat(hexes{1}, c.KeyID, c.Signature, binary.BigEndian.AppendUint16(nil, uint16(len(g.CardJSON))), hexes(g.CardJSON))
	c.Plaintext = append(c.Plaintext, make([]byte, 640-len(c.Plaintext))...)
	c.KeyInfo = e("seinhuis/1/card-key", g.A.SID, g.A.ID, g.Rev)
	c.Key = kdf(v.Token.Seal, c.KeyInfo, 32)
	c.AAD = e("seinhuis/1/card-aad", g.Dep, g.A.ID, g.A.SID, g.Rev, g.Epoch, tag)
	c.Card = must(cipher.NewGCM(must(aes.NewCipher(c.Key)))).Seal(slices.Clone(g.CardNonce), g.CardNonce, c.Plaintext, c.AAD)
	c.Hash = hash(c.Card)

	k := &v.Keybox
	k.HPKEPublic = must(ecdh.X25519().NewPrivateKey(g.A.HPKEPrivate)).PublicKey().Bytes()
	k.KeyID = hash(k.HPKEPublic)[:8]
	k.Info = e("seinhuis/1/keybox", g.Dep, g.A.ID)
	k.AAD = e(g.Dep, g.A.ID, g.A.SID, g.Rev, g.Epoch)
	birthday := must(time.Parse("2006-01-02", g.Birth)).AddDate(23, 0, 0)
	k.Plaintext = slices.Concat(hexes{1}, tag, v.Token.Seal,
		binary.BigEndian.AppendUint32(nil, uint32(birthday.Year()*10_000+int(birthday.Month())*100+birthday.Day())),
		hexes{byte(len(g.Reference))}, hexes(g.Reference))
	k.Plaintext = append(k.Plaintext, make([]byte, 128-len(k.Plaintext))...)
	if !bytes.Equal(openHPKE(k.Box, g.A.HPKEPrivate, k.Info, k.AAD), k.Plaintext) {
		k.Box = sealHPKE(k.KeyID, k.HPKEPublic, k.Info, k.AAD, k.Plaintext)
	}
	k.Hash = hash(k.Box)

	v.Statement = sign(g.A.SignSeed, e("seinhuis/1/signal", g.Dep, g.A.ID, c.KeyID, g.A.SID, g.Rev, "child", "", g.Expires, "",
		g.Issued, uint64(1), g.Epoch, tag, c.Hash, k.Hash))
	v.Act = sign(g.A.SignSeed, e("seinhuis/1/act", g.Dep, g.A.ID, c.KeyID, "withdraw", g.A.SID, g.Rev, tag, g.MatchID, g.B.SID,
		g.Issued, "ended"))
	v.Receipt = sign(g.RegistrySeed, e("seinhuis/1/receipt", g.Dep, g.Incarnation, g.A.ID, g.A.SID, g.Rev, v.Statement.Hash,
		g.Others, g.LeafHash, g.ReceiptTime))

	v.Event.Hashed = e("seinhuis/1/event", g.B.ID, g.B.SID, g.A.ID, g.A.SID, "joined", g.Rev)
	v.Event.ID = hash(v.Event.Hashed)[:16]

	lower, higher := g.A.SID, g.B.SID
	if bytes.Compare(lower, higher) > 0 {
		lower, higher = higher, lower
	}
	v.Code.Info = e("seinhuis/1/code", lower, higher)
	v.Code.Code = fmt.Sprintf("%06d", binary.BigEndian.Uint32(kdf(v.Token.Seal, v.Code.Info, 4))%1_000_000)
}

func (v *chain) deriveOPRF() {
	const context = "OPRFV1-\x01-ristretto255-SHA512"
	g, o := v.Given, &v.OPRF
	*o = chainOPRF{}
	var f []group.Scalar
	for _, c := range g.Coefficients {
		f = append(f, scalar(c))
		o.Commitments = append(o.Commitments, element(ristretto.NewElement().MulGen(scalar(c))))
	}
	r := scalar(g.Blind)
	blinded := ristretto.NewElement().Mul(ristretto.HashToElement(v.Canonical, []byte("HashToGroup-"+context)), r)
	o.Blinded = element(blinded)

	var xs []group.Scalar
	for _, i := range g.Evaluators {
		xs = append(xs, index(i))
	}
	combined := ristretto.Identity()
	for n, i := range g.Evaluators {
		share := polynomial.New(f).Evaluate(index(i))
		key := ristretto.NewElement().MulGen(share)
		evaluated := ristretto.NewElement().Mul(blinded, share)
		proof := must(dleq.Prover{Params: dleq.Params{G: ristretto, H: crypto.SHA512, DST: []byte(context)}}.ProveBatchWithRandomnessRFC9497(
			share, key, []group.Element{blinded}, []group.Element{evaluated}, scalar(g.ProofRandom[n])))
		lambda := polynomial.LagrangeBase(uint(n), xs, ristretto.NewScalar())
		combined.Add(combined, ristretto.NewElement().Mul(evaluated, lambda))
		o.Answers = append(o.Answers, chainAnswer{i, must(share.MarshalBinary()), element(key), element(evaluated),
			must(proof.MarshalBinary()), must(lambda.MarshalBinary())})
	}
	o.Combined = element(combined)
	o.Unblinded = element(ristretto.NewElement().Mul(combined, ristretto.NewScalar().Inv(r)))
	y := sha512.Sum512(append(e(v.Canonical, o.Unblinded), "Finalize"...))
	o.Y = y[:]
}

var hpkeSuite = hpke.NewSuite(hpke.KEM_X25519_HKDF_SHA256, hpke.KDF_HKDF_SHA256, hpke.AEAD_AES256GCM)

func openHPKE(box, private, info, aad hexes) []byte {
	if len(box) != 185 {
		return nil
	}
	key := must(hpke.KEM_X25519_HKDF_SHA256.Scheme().UnmarshalBinaryPrivateKey(private))
	opener, err := must(hpkeSuite.NewReceiver(key, info)).Setup(box[9:41])
	if err != nil {
		return nil
	}
	plain, err := opener.Open(box[41:], aad)
	if err != nil {
		return nil
	}
	return plain
}

func sealHPKE(keyID, pub, info, aad, plain hexes) hexes {
	key := must(hpke.KEM_X25519_HKDF_SHA256.Scheme().UnmarshalBinaryPublicKey(pub))
	enc, sealer, err := must(hpkeSuite.NewSender(key, info)).Setup(nil)
	if err != nil {
		panic(err)
	}
	return slices.Concat(hexes{1}, keyID, hexes(enc), hexes(must(sealer.Seal(plain, aad))))
}

func readChain(t *testing.T) (v chain, text []byte) {
	t.Helper()
	text, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v, text
}

func TestVectorsFollowFromWhatIsGiven(t *testing.T) {
	v, want := readChain(t)
	v.derive("123456782", "2012")
	var got bytes.Buffer
	enc := json.NewEncoder(&got)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(vectorsFile, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("computed anew, the vectors are\n%s", &got)
	}
}

func expect(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s is %x, want %x", what, got, want)
	}
}

// TestVectorsHoldForOurPackages goes the same way with the packages that the
// binaries are made of.
func TestVectorsHoldForOurPackages(t *testing.T) {
	v, _ := readChain(t)
	g := v.Given

	id, err := identity.Parse(identity.Kind(g.Type), g.Number, must(encoding.ParseDate(g.Birth)), must(encoding.ParseDate(g.Today)))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "x", must(id.Canonical(g.Dep, g.Epoch)), v.Canonical)

	// The blind cannot be chosen here; y does not depend on it.
	b := must(oprf.Blind([][]byte{v.Canonical}))
	c := must(oprf.ParseCommitments([][]byte{v.OPRF.Commitments[0], v.OPRF.Commitments[1]}))
	var partials []oprf.Partial
	for _, a := range v.OPRF.Answers {
		share := must(oprf.ParseShare(a.Index, a.Share))
		expect(t, "share key", must(c.ShareKey(a.Index)), a.ShareKey)
		evaluator := must(oprf.NewEvaluator(share))
		evaluated, _, err := evaluator.Evaluate([][]byte{v.OPRF.Blinded})
		if err != nil {
			t.Fatal(err)
		}
		expect(t, "evaluated element", evaluated[0], a.Evaluated)
		elements, proof, err := evaluator.Evaluate(b.Elements())
		if err != nil {
			t.Fatal(err)
		}
		partials = append(partials, must(b.Verify(c, a.Index, elements, proof)))
	}
	y := must(b.Combine(c.Threshold(), partials))
	expect(t, "y", y[0], v.OPRF.Y)

	tok := must(token.Derive(y[0], g.Dep, g.Epoch))
	expect(t, "tag", tok.Tag[:], v.Token.Tag)
	expect(t, "seal", tok.Seal[:], v.Token.Seal)

	context := seal.Context{Dep: g.Dep, Party: g.A.ID, SID: [16]byte(g.A.SID), Rev: g.Rev, Epoch: g.Epoch}
	card := must(seal.ParseCard([]byte(g.CardJSON)))
	expect(t, "card JSON", must(card.JSON()), []byte(g.CardJSON))
	opened, err := seal.OpenCard(tok, context, v.Card.Card, func(id encoding.KeyID) (ed25519.PublicKey, bool) {
		return ed25519.PublicKey(v.Card.SignPublic), bytes.Equal(id[:], v.Card.KeyID)
	})
	if err != nil || opened != card {
		t.Errorf("another card comes out, %v", err)
	}

	private := must(ecdh.X25519().NewPrivateKey(g.A.HPKEPrivate))
	keybox, err := seal.OpenKeybox(func(id encoding.KeyID) (*ecdh.PrivateKey, bool) {
		return private, bytes.Equal(id[:], v.Keybox.KeyID)
	}, context, v.Keybox.Box)
	if want := (seal.Keybox{Token: tok, Birthday23: id.Birthday23(), Reference: g.Reference}); err != nil || keybox != want {
		t.Errorf("another keybox comes out, %v", err)
	}
	// And what we seal opens with the other HPKE.
	box := must(seal.SealKeybox(v.Keybox.HPKEPublic, context, keybox))
	expect(t, "keybox's plaintext", openHPKE(box, g.A.HPKEPrivate, v.Keybox.Info, v.Keybox.AAD), v.Keybox.Plaintext)

	code := must(seal.ReadOutCode(tok.Seal, [16]byte(g.B.SID), [16]byte(g.A.SID)))
	if code != v.Code.Code {
		t.Errorf("read-out code %s, want %s", code, v.Code.Code)
	}
	t.Run("statements", func(t *testing.T) { checkStatements(t, v) })
}

func checkStatements(t *testing.T, v chain) {
	g := v.Given
	issued := must(time.Parse(time.RFC3339, g.Issued))
	keyID := encoding.KeyIDOf(v.Card.SignPublic)
	expect(t, "key id", keyID[:], v.Card.KeyID)
	tag := api.Tag(v.Token.Tag)

	statement := api.Statement{
		Dep: g.Dep, Party: api.PartyID(g.A.ID), KeyID: keyID, SID: api.SID(g.A.SID), Rev: g.Rev, Kind: api.KindChild,
		Expires: must(encoding.ParseDate(g.Expires)), Issued: issued,
		Faces: []api.Face{{Epoch: g.Epoch, Tag: tag, Card: api.Hash(v.Card.Hash), Keybox: api.Hash(v.Keybox.Hash)}},
	}
	act := api.Act{
		Dep: g.Dep, Party: api.PartyID(g.A.ID), KeyID: keyID, Act: api.ActWithdraw, SID: api.SID(g.A.SID), Rev: g.Rev, Tag: tag,
		Match: api.MatchID(g.MatchID), OtherSID: api.SID(g.B.SID), Issued: issued, Body: api.ReasonEnded,
	}
	receipt := api.Receipt{
		Dep: g.Dep, Incarnation: [16]byte(g.Incarnation), Party: api.PartyID(g.A.ID), SID: api.SID(g.A.SID), Rev: g.Rev,
		Statement: api.Hash(v.Statement.Hash), Others: g.Others, Leaf: api.Hash(g.LeafHash), Time: must(time.Parse(time.RFC3339, g.ReceiptTime)),
	}
	for what, s := range map[string]struct {
		encode func() ([]byte, error)
		parse  func([]byte) (interface{ Encode() ([]byte, error) }, error)
		seed   hexes
		want   signedBytes
	}{
		"statement": {statement.Encode, func(b []byte) (interface{ Encode() ([]byte, error) }, error) { return api.ParseStatement(b) }, g.A.SignSeed, v.Statement},
		"act":       {act.Encode, func(b []byte) (interface{ Encode() ([]byte, error) }, error) { return api.ParseAct(b) }, g.A.SignSeed, v.Act},
		"receipt":   {receipt.Encode, func(b []byte) (interface{ Encode() ([]byte, error) }, error) { return api.ParseReceipt(b) }, g.RegistrySeed, v.Receipt},
	} {
		b := must(s.encode())
		expect(t, what, b, s.want.Signed)
		signed := api.Sign(ed25519.NewKeyFromSeed(s.seed), b)
		expect(t, what+"'s signature", signed.Signature, s.want.Signature)
		if !signed.Verify(ed25519.PublicKey(public(s.seed))) {
			t.Errorf("the %s's signature does not verify", what)
		}
		h := signed.Hash()
		expect(t, what+"'s hash", h[:], s.want.Hash)
		expect(t, what+" read and written", must(must(s.parse(s.want.Signed)).Encode()), s.want.Signed)
	}

	event := must(api.EventIDOf(api.PartyID(g.B.ID), api.SID(g.B.SID), api.PartyID(g.A.ID), api.SID(g.A.SID), api.EventJoined, g.Rev))
	expect(t, "event id", event[:], v.Event.ID)
}
