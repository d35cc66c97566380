// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/identity"
	"github.com/seinhuis/seinhuis/crypto/oprf"
	"github.com/seinhuis/seinhuis/crypto/seal"
	"github.com/seinhuis/seinhuis/crypto/token"
	"github.com/seinhuis/seinhuis/evaluator"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/registry"
)

// Attacks that must fail. Each is a program of the attacker, who has what its comment says
// and the source, against real parts; docs/threat-model.md names it. Where it is about what
// he lacks, it is tried with that as well, and succeeds then.

// guess computes what a gateway computes of a number, from shares.
func guess(t *testing.T, w *gatewaytest.World, shares []oprf.Share, s gateway.Subject) token.Token {
	t.Helper()
	m, _ := w.InForce()
	birth, err := encoding.ParseDate(s.BirthDate)
	fatal(t, err)
	id, err := identity.Parse(identity.BSN, s.Number, birth, identity.Today(w.Now()))
	fatal(t, err)
	input, err := id.Canonical(m.Dep, 1)
	fatal(t, err)
	sharing, _ := m.Sharing(1, id.Cohort())
	commitments, err := oprf.ParseCommitments(sharing.Points())
	fatal(t, err)
	blinding, err := oprf.Blind([][]byte{input})
	fatal(t, err)
	var partials []oprf.Partial
	for _, share := range shares {
		engine, err := oprf.NewEvaluator(share)
		fatal(t, err)
		elements, proof, err := engine.Evaluate(blinding.Elements())
		fatal(t, err)
		partial, err := blinding.Verify(commitments, share.Index(), elements, proof)
		fatal(t, err)
		partials = append(partials, partial)
	}
	y, err := blinding.Combine(m.Threshold, partials)
	fatal(t, err)
	tok, err := token.Derive(y[0], m.Dep, 1)
	fatal(t, err)
	return tok
}

func fatal(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// stolen are the shares of the first n evaluators for the birth year of child.
func stolen(w *gatewaytest.World, n int) (shares []oprf.Share) {
	for i := range n {
		all := w.Shares(i)
		at := slices.IndexFunc(all, func(s evaluator.Share) bool { return s.Key == evaluator.Key{Epoch: 1, Cohort: 2012} })
		shares = append(shares, all[at].Value)
	}
	return shares
}

// A middle is who hears all that is sent to the registry: whoever runs it, or stands
// before it where TLS ends.
type middle struct {
	mu          sync.Mutex
	submissions []api.Submission
	acts        []api.ActRequest
}

func overhear(w *gatewaytest.World) *middle {
	m := new(middle)
	w.Registry.OnAsked(func(r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		m.mu.Lock()
		defer m.mu.Unlock()
		var sub api.Submission
		var act api.ActRequest
		switch r.URL.Path {
		case "/v1/signals":
			if json.Unmarshal(body, &sub) == nil {
				m.submissions = append(m.submissions, sub)
			}
		case "/v1/acts":
			if json.Unmarshal(body, &act) == nil {
				m.acts = append(m.acts, act)
			}
		}
	})
	return m
}

// heard is what was submitted of a signal, by revision.
func (m *middle) heard(t *testing.T, sid api.SID, rev uint64) (api.Statement, api.Submission) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, sub := range m.submissions {
		if st, err := api.ParseStatement(sub.Signed.Signed); err == nil && st.SID == sid && st.Rev == rev {
			return st, sub
		}
	}
	t.Fatal("it was not overheard")
	return api.Statement{}, api.Submission{}
}

// said are the acts of a kind that were sent so far.
func (m *middle) said(t *testing.T, kind string) (list []api.ActRequest) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, act := range m.acts {
		if what, err := api.ParseAct(act.Signed.Signed); err == nil && string(what.Act) == kind {
			list = append(list, act)
		}
	}
	return list
}

// A loot is everything readable in a stolen registry, in pieces.
type loot [][]byte

// files are the bytes as they lie on the disk.
func (l *loot) files(t *testing.T, folder string) {
	t.Helper()
	fatal(t, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		*l = append(*l, []byte(path), text)
		return err
	}))
}

// rows are what Pebble reads in a store, keys and values, without the registry's program.
func rows(t *testing.T, folder string) (found [][2][]byte) {
	t.Helper()
	comparer := *pebble.DefaultComparer
	comparer.Name = "seinhuis.1"
	comparer.Split = func(key []byte) int {
		if len(key) >= 17 && key[0] == 's' {
			return 17
		}
		return len(key)
	}
	comparer.ComparePointSuffixes, comparer.CompareRangeSuffixes = bytes.Compare, bytes.Compare
	db, err := pebble.Open(folder, &pebble.Options{Comparer: &comparer, FormatMajorVersion: pebble.FormatTableFormatV6, Logger: silent{}})
	fatal(t, err)
	defer db.Close()
	it, err := db.NewIter(nil)
	fatal(t, err)
	defer it.Close()
	for it.First(); it.Valid(); it.Next() {
		value, err := it.ValueAndErr()
		fatal(t, err)
		found = append(found, [2][]byte{bytes.Clone(it.Key()), bytes.Clone(value)})
	}
	fatal(t, it.Error())
	return found
}

type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

// has tells whether bytes are in the loot: as they are, or written in a usual way.
func (l loot) has(mark []byte) bool {
	digits := hex.EncodeToString(mark)
	forms := [][]byte{mark, []byte(digits), bytes.ToUpper([]byte(digits))}
	for before := range 3 {
		whole := base64.RawStdEncoding.EncodeToString(append(make([]byte, before), mark...))
		forms = append(forms, []byte(whole[(before*8+5)/6:(before+len(mark))*8/6]))
	}
	for _, piece := range l {
		for _, form := range forms {
			if bytes.Contains(piece, form) {
				return true
			}
		}
	}
	return false
}

// opens tries a child's seal on everything as long as a card, as the card of a signal.
func (l loot) opens(tok token.Token, c seal.Context, key ed25519.PublicKey) bool {
	for _, piece := range l {
		for at := 0; at+seal.CardSize <= len(piece); at++ {
			_, err := seal.OpenCard(tok, c, piece[at:at+seal.CardSize], func(encoding.KeyID) (ed25519.PublicKey, bool) { return key, true })
			if err == nil {
				return true
			}
		}
	}
	return false
}

// TestAttackStolenDatabase: a thief of the registry's disk, with its journal and a backup,
// and of t shares. He computes tag and seal of every number he cares to try, and knows of
// which signals he would find the cards. He has not the file with row key and pepper.
func TestAttackStolenDatabase(t *testing.T) {
	w := gatewaytest.NewOnDisk(t, 3)
	heard := overhear(w)
	h := w.Run(0, 1, 2)
	a, b := h.Of(0), h.Of(1)
	const tried = 12
	registered := map[int]*gateway.Party{2: a, 5: b, 7: a, 9: h.Of(2)}
	sids := map[int]api.SID{}
	for _, n := range []int{2, 5, 7, 9} {
		sids[n] = signal(t, registered[n], child(n), terms("jansen", fmt.Sprint("KENMERK-", n))).SID
	}
	signal(t, b, child(2), terms("bakker", "KENMERK-2"))
	match := inbox(t, a, 1)[0]
	_, err := a.Answer(match.Match, match.Other.Party, api.AnswerWillCall, "")
	fatal(t, err)
	inbox(t, b, 2)
	gone := signal(t, b, child(10), terms("bakker", "KENMERK-10"))
	_, err = b.Withdraw(gone.ID, api.ReasonEnded)
	fatal(t, err)
	settled(t, b, gone.ID)
	w.Sequence()
	w.Backup("backup")
	signal(t, b, child(9), terms("bakker", "KENMERK-9")) // and this is in no backup
	h.Stop()

	folder := t.TempDir()
	fatal(t, os.CopyFS(folder, os.DirFS(w.Disk())))
	m, d := w.InForce()
	shares := stolen(w, m.Threshold)

	var raw, sealed, opened loot
	raw.files(t, folder)
	var keyed [][]byte
	table := []string{"signal", "match", "tombstone", "event", "outbox", "record", "counts", "restores", "day"}
	for _, row := range append(rows(t, filepath.Join(folder, "db")), rows(t, filepath.Join(folder, "backup", "db"))...) {
		keyed, sealed = append(keyed, row[0]), append(sealed, row[0], row[1])
		for _, name := range table {
			if plain, err := w.RegistryKeys().Rows.Open(name, row[0], row[1]); err == nil {
				opened = append(opened, plain)
			}
		}
	}
	if len(keyed) < 50 || len(opened) < 10 {
		t.Fatalf("he has read %d rows, and with the row key %d: too little to prove anything", len(keyed), len(opened))
	}

	// What he can make of a tag without the pepper.
	unkeyed := func(tag token.Tag) (idxs [][]byte) {
		text := append(binary.BigEndian.AppendUint32(nil, 1), tag[:]...)
		for _, of := range [][]byte{text, tag[:]} {
			sum := sha256.Sum256(of)
			idxs = append(idxs, sum[:16])
			for _, key := range [][]byte{nil, make([]byte, 32), []byte(m.Dep), []byte("seinhuis"), shares0(t, shares)} {
				mac := hmac.New(sha256.New, key)
				mac.Write(of)
				idxs = append(idxs, mac.Sum(nil)[:16])
			}
		}
		return idxs
	}
	for n := range tried {
		tok := guess(t, w, shares, child(n))
		party, is := registered[n]
		idx := w.RegistryKeys().Idx(1, api.Tag(tok.Tag))
		finds := slices.ContainsFunc(keyed, func(key []byte) bool { return bytes.HasPrefix(key, append([]byte{'s'}, idx[:]...)) })
		if finds != is {
			t.Errorf("with row key and pepper he finds child %d: %t, want %t: the attack itself is none", n, finds, is)
		}
		marks := map[string][]byte{"tag": tok.Tag[:], "half of the tag": tok.Tag[:16], "seal": tok.Seal[:], "number": []byte(bsn(n))}
		for i, guessed := range unkeyed(tok.Tag) {
			marks[fmt.Sprint("idx without the pepper, in way ", i)] = guessed
		}
		for what, mark := range marks {
			if raw.has(mark) || sealed.has(mark) {
				t.Errorf("child %d: the %s stands in what was stolen", n, what)
			}
		}
		if !is {
			continue
		}
		if !opened.has(tok.Tag[:]) {
			t.Errorf("child %d: with the row key he does not see the tag: the attack itself is none", n)
		}
		st, _ := heard.heard(t, sids[n], 1)
		context := seal.Context{Dep: m.Dep, Party: string(party.ID()), SID: st.SID, Rev: 1, Epoch: 1}
		key, _ := d.VerifyKey(party.ID(), st.KeyID, w.Now())
		if !opened.opens(tok, context, key) {
			t.Errorf("child %d: with the row key he does not open the card: the attack itself is none", n)
		}
		if sealed.opens(tok, context, key) {
			t.Errorf("child %d: he opens the card", n)
		}
		if sid := st.SID; raw.has(sid[:]) || sealed.has(sid[:]) || raw.has([]byte(party.ID())) || sealed.has([]byte(party.ID())) {
			t.Errorf("child %d: the party or its sid stands in what was stolen", n)
		}
	}
	// The program itself does not show it to him either, under keys of his own.
	his, err := registry.ParseKeys(registry.NewKeyFile())
	fatal(t, err)
	for _, row := range rows(t, filepath.Join(folder, "db")) {
		for _, name := range table {
			if _, err := his.Rows.Open(name, row[0], row[1]); err == nil {
				t.Fatal("a row opens under another row key")
			}
		}
	}
}

func shares0(t *testing.T, shares []oprf.Share) []byte {
	t.Helper()
	value, err := shares[0].MarshalBinary()
	fatal(t, err)
	return value
}

// signingKey is the key of a party, for who has stolen it or is it.
func signingKey(t *testing.T, w *gatewaytest.World, i int) (ed25519.PrivateKey, encoding.KeyID) {
	t.Helper()
	key, err := keys.Clear.ReadSigning(filepath.Join(w.KeysOf(i), gateway.FileSign))
	fatal(t, err)
	return key, encoding.KeyIDOf(key.Public().(ed25519.PublicKey))
}

// hpkeKey opens keyboxes of a party.
func hpkeKey(t *testing.T, w *gatewaytest.World, i int) func(encoding.KeyID) (*ecdh.PrivateKey, bool) {
	t.Helper()
	key, err := keys.Clear.ReadHPKE(filepath.Join(w.KeysOf(i), gateway.FileHPKE))
	fatal(t, err)
	return func(encoding.KeyID) (*ecdh.PrivateKey, bool) { return key, true }
}

// hpkeID is the id of the key that hpkeKey has.
func hpkeID(t *testing.T, w *gatewaytest.World, i int) []byte {
	t.Helper()
	key, err := keys.Clear.ReadHPKE(filepath.Join(w.KeysOf(i), gateway.FileHPKE))
	fatal(t, err)
	id := encoding.KeyIDOf(key.PublicKey().Bytes())
	return id[:]
}

// ask posts as party i, and gives the status and code of a refusal.
func ask(t *testing.T, w *gatewaytest.World, i int, url string, pin manifest.Pin, body, answer any) (int, api.Code) {
	t.Helper()
	return askOver(t, w.Client(i, pin), url, body, answer)
}

func askOver(t *testing.T, client *http.Client, url string, body, answer any) (int, api.Code) {
	t.Helper()
	text, err := json.Marshal(body)
	fatal(t, err)
	resp, err := client.Post(url, "application/json", bytes.NewReader(text))
	fatal(t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	fatal(t, err)
	if resp.StatusCode >= 400 {
		var problem api.Problem
		fatal(t, json.Unmarshal(got, &problem))
		return resp.StatusCode, api.Code(problem.Type[len(api.ProblemType("")):])
	}
	if answer != nil {
		fatal(t, json.Unmarshal(got, answer))
	}
	return resp.StatusCode, ""
}
