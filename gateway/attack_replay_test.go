// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/seal"
	"github.com/seinhuis/seinhuis/crypto/token"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/keys"
)

// submitted makes a signal as a party's gateway does, for who has the party's keys.
func submitted(t *testing.T, w *gatewaytest.World, i int, tok token.Token, sid api.SID, card seal.Card) api.Submission {
	t.Helper()
	m, d := w.InForce()
	key, id := signingKey(t, w, i)
	at := seal.Context{Dep: m.Dep, Party: string(gatewaytest.Party(i)), SID: sid, Rev: 1, Epoch: 1}
	sealed, err := seal.SealCard(tok, at, card, id, key)
	fatal(t, err)
	public, _, _ := d.HPKEKey(gatewaytest.Party(i), w.Now())
	birthday := encoding.Date{Year: 2035, Month: 5, Day: 6}
	box, err := seal.SealKeybox(public, at, seal.Keybox{Token: tok, Birthday23: birthday})
	fatal(t, err)
	text, err := api.Statement{
		Dep: m.Dep, Party: gatewaytest.Party(i), KeyID: id, SID: sid, Rev: 1, Kind: api.KindChild,
		Expires: encoding.DateOf(w.Now().AddDate(0, 6, 0)), Issued: w.Now(),
		Faces: []api.Face{{Epoch: 1, Tag: api.Tag(tok.Tag), Card: sha256.Sum256(sealed), Keybox: sha256.Sum256(box)}},
	}.Encode()
	fatal(t, err)
	return api.Submission{Signed: api.Sign(key, text), Faces: []api.SealedFace{{Card: sealed, Keybox: box}}}
}

// TestAttackReplayedStatement: whoever overheard what parties sent to the registry sends it
// again: with a key that nobody knows, as another party, and with the party's own TLS key.
func TestAttackReplayedStatement(t *testing.T) {
	w := gatewaytest.NewLogged(t, 3)
	heard := overhear(w)
	h := w.Run(0, 1)
	a, b := h.Of(0), h.Of(1)
	m, _ := w.InForce()
	send := func(as int, path string, body any) (int, api.Code) {
		t.Helper()
		return ask(t, w, as, m.Registry.URL+path, m.Registry.TLS, body, nil)
	}
	refused := func(name string, want api.Code, as int, path string, body any) {
		t.Helper()
		if status, code := send(as, path, body); code != want {
			t.Errorf("%s: %d %s, want %s", name, status, code, want)
		}
	}
	same := func(name, path string, body any) {
		t.Helper()
		w.Sequence()
		before, err := w.Matcher.Store.Logged(t.Context())
		fatal(t, err)
		if status, code := send(0, path, body); status != http.StatusOK {
			t.Errorf("%s: %d %s", name, status, code)
		}
		w.Sequence()
		if after, err := w.Matcher.Store.Logged(t.Context()); err != nil || after != before {
			t.Errorf("%s: the log has %d leaves more (%v): it was taken as new", name, after-before, err)
		}
	}

	one := signal(t, a, child(1), terms("jansen", "A-1"))
	signal(t, b, child(1), terms("bakker", "B-1"))
	match := inbox(t, a, 1)[0]
	inbox(t, b, 1)
	_, first := heard.heard(t, one.SID, 1)

	// With a key that nobody knows there is no connection.
	in := t.TempDir()
	fatal(t, keys.Clear.WriteTLS(in+"/tls.crt", in+"/tls.pem", "nobody", nil))
	if status, err := strangerSends(t, in, m.Registry.URL+"/v1/signals", m.Registry.TLS, first); err == nil {
		t.Errorf("a stranger is answered: %d", status)
	}
	refused("another party", api.CodeForbidden, 2, "/v1/signals", first)
	refused("another party, which matches", api.CodeForbidden, 1, "/v1/signals", first)
	same("a signal", "/v1/signals", first)

	_, err := a.Renew(one.ID, gateway.Subject{}, gateway.Terms{Card: gateway.Card{Name: "Nieuw", Phone: "+31 20 5550102"}})
	fatal(t, err)
	settled(t, a, one.ID)
	inbox(t, b, 2)
	refused("an earlier revision", api.CodeRevision, 0, "/v1/signals", first)

	var told []gateway.Message
	for i, word := range []api.Answer{api.AnswerWillCall, api.AnswerNotInvolved} {
		_, err := a.Answer(match.Match, b.ID(), word, "")
		fatal(t, err)
		told = inbox(t, b, 3+i)
	}
	answers := heard.said(t, api.ActAnswer)
	if len(answers) != 2 || told[3].Answer != api.AnswerNotInvolved {
		t.Fatalf("%d answers were overheard; the last that was told is %s", len(answers), told[3].Answer)
	}
	same("an earlier answer", "/v1/acts", answers[0])
	refused("another party's answer", api.CodeForbidden, 1, "/v1/acts", answers[0])
	if got, err := b.Messages(4, 10); err != nil || len(got) > 0 {
		t.Errorf("the other party is told %d times more (%v)", len(got), err)
	}

	_, err = a.Withdraw(one.ID, api.ReasonEnded)
	fatal(t, err)
	settled(t, a, one.ID)
	_, second := heard.heard(t, one.SID, 2)
	withdrawal := heard.said(t, api.ActWithdraw)[0]
	refused("a signal that was withdrawn", api.CodeGone, 0, "/v1/signals", first)
	refused("its last revision", api.CodeGone, 0, "/v1/signals", second)
	refused("its answer", api.CodeGone, 0, "/v1/acts", answers[1])
	refused("another party's withdrawal", api.CodeForbidden, 1, "/v1/acts", withdrawal)

	anew := signal(t, a, child(1), terms("jansen", "A-2"))
	same("a withdrawal", "/v1/acts", withdrawal)
	refused("a signal that was withdrawn, beside another", api.CodeGone, 0, "/v1/signals", first)
	tok := guess(t, w, stolen(w, m.Threshold), child(1))
	stored, there, err := w.Matcher.Store.Signal(t.Context(), w.RegistryKeys().Idx(1, api.Tag(tok.Tag)), a.ID())
	if err != nil || !there || stored.SID != anew.SID {
		t.Errorf("after the withdrawal came again the later signal is not what stands (%v)", err)
	}

	w.Advance(40 * 24 * time.Hour)
	refused("after forty days", api.CodeIssued, 0, "/v1/signals", first)
}

func strangerSends(t *testing.T, folder, url string, pin [32]byte, body any) (int, error) {
	t.Helper()
	text, err := json.Marshal(body)
	fatal(t, err)
	resp, err := gatewaytest.Stranger(t, folder+"/tls.crt", folder+"/tls.pem", pin).Post(url, "application/json", bytes.NewReader(text))
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// TestAttackReplayedAnswer: registry and evaluators give a gateway what they gave it, or
// another, before: a receipt for another signal, a message under another id, an evaluation
// of another child.
func TestAttackReplayedAnswer(t *testing.T) {
	t.Run("rejects/a_receipt_of_another_signal", func(t *testing.T) {
		w := gatewaytest.New(t, 2)
		h := w.Run(0, 1)
		a := h.Of(0)
		var kept []byte
		w.Registry.Rewrite(func(path string, answer []byte) []byte {
			switch {
			case path != "/v1/signals":
				return answer
			case kept == nil:
				kept = answer
			}
			return kept
		})
		signal(t, a, child(1), terms("jansen", "A-1"))
		s, err := a.Signal(child(2), terms("jansen", "A-2"))
		fatal(t, err)
		waitsFor(t, a, s.ID, gateway.WaitRegistry)
		if !strings.Contains(w.Log.String(), `"receipt refused"`) {
			t.Error("the log does not tell:", w.Log)
		}
		// Nor its receipt alone, in the answer to this one.
		w.Registry.Rewrite(func(path string, answer []byte) []byte {
			var got, earlier api.Accepted
			if path != "/v1/signals" || json.Unmarshal(answer, &got) != nil || json.Unmarshal(kept, &earlier) != nil {
				return answer
			}
			got.Receipt = earlier.Receipt
			text, err := json.Marshal(got)
			if err != nil {
				t.Error(err)
			}
			return text
		})
		before := waitsFor(t, a, s.ID, gateway.WaitRegistry).Job.Attempts
		for waitsFor(t, a, s.ID, gateway.WaitRegistry).Job.Attempts < before+1 {
			time.Sleep(5 * time.Millisecond)
		}
		w.Registry.Rewrite(nil)
		if got := settled(t, a, s.ID); got.State != gateway.StateRegistered {
			t.Errorf("in the end it is %s", got.State)
		}
	})

	t.Run("rejects/an_evaluation_of_another_child", func(t *testing.T) {
		w := gatewaytest.New(t, 2)
		h := w.Run(0, 1)
		a, b := h.Of(0), h.Of(1)
		kept := make([][]byte, gatewaytest.Evaluators)
		for i := range w.Faults {
			w.Faults[i].Rewrite(func(_ string, answer []byte) []byte {
				if kept[i] == nil {
					kept[i] = bytes.Clone(answer)
				}
				return kept[i]
			})
		}
		signal(t, a, child(1), terms("jansen", "A-1"))
		s, err := a.Signal(child(2), terms("jansen", "A-2"))
		fatal(t, err)
		waitsFor(t, a, s.ID, gateway.WaitEvaluators)
		named := 0
		for i := range gatewaytest.Evaluators {
			if strings.Contains(w.Log.String(), fmt.Sprintf(`"evaluator":%d,"reason":"bad-proof"`, i+1)) {
				named++
			}
		}
		if named == 0 {
			t.Error("no evaluator is named")
		}
		for i := range w.Faults {
			w.Faults[i].Rewrite(nil)
		}
		settled(t, a, s.ID)
		if got := signal(t, b, child(2), terms("bakker", "B-2")); got.Signal.Others != 1 {
			t.Error("the child has another tag than it has")
		}
		if got, err := b.Messages(0, 10); err == nil && len(got) > 0 && got[0].SID.IsZero() {
			t.Error("the other party met somebody else")
		}
	})

	t.Run("rejects/a_message_under_another_id", func(t *testing.T) {
		w := gatewaytest.New(t, 2)
		h := w.Run(0, 1)
		a, b := h.Of(0), h.Of(1)
		var seen []api.Event
		crooked(t, w, a, func(events *api.Events) {
			again := append([]api.Event(nil), seen...)
			for i := range again {
				again[i].ID[15] ^= byte(1 + len(seen))
			}
			seen = append(seen, events.Items...)
			events.Items = append(again, events.Items...)
		})
		for n := range 3 {
			signal(t, a, child(n), terms("jansen", "A"))
			signal(t, b, child(n), terms("bakker", "B"))
			inbox(t, a, n+1)
		}
		if got := inbox(t, a, 3); len(got) != 3 || got[0].SID == got[1].SID || got[1].SID == got[2].SID {
			t.Errorf("it is told %d times of three children", len(got))
		}
	})
}

// TestAttackTakenSID: party 2 learns the sid of party 1 from their match, and makes it that
// of its own signal, to stand in the place of party 1 in what party 0 sees.
func TestAttackTakenSID(t *testing.T) {
	w := gatewaytest.New(t, 3)
	h := w.Run(0, 1)
	a, b := h.Of(0), h.Of(1)
	m, _ := w.InForce()
	own := signal(t, a, child(1), terms("jansen", "A-1"))
	theirs := signal(t, b, child(1), terms("bakker", "B-1"))
	inbox(t, a, 1)
	tok := guess(t, w, stolen(w, m.Threshold), child(1))
	forged := submitted(t, w, 2, tok, theirs.SID, seal.Card{Name: "Dief", Phone: "+31 20 5550666"})
	if status, code := ask(t, w, 2, m.Registry.URL+"/v1/signals", m.Registry.TLS, forged, nil); code != "" {
		t.Fatalf("the registry refuses it: %d %s", status, code)
	}
	inbox(t, a, 2)
	shown := map[api.PartyID]bool{}
	for _, o := range contacts(t, a, own.SID) {
		shown[o.Party] = true
		if o.Party == b.ID() && o.Card.Desk != "Balie 1" {
			t.Error("party 1 is shown with another's card")
		}
	}
	if !shown[b.ID()] {
		t.Error("party 1 is shown no more")
	}
}
