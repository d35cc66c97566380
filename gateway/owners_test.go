// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/seal"
	"github.com/seinhuis/seinhuis/crypto/token"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/keys"
)

// A colleague's signal is under way when the last owner withdraws: the signal
// stays, for the colleague.
func TestAColleagueJoinsBeforeTheWithdrawalIsSent(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h := w.Run(0, 1)
	a, b := h.Of(0), h.Of(1)
	signal(t, b, child(1), terms("bakker", "B-1"))
	first := signal(t, a, child(1), terms("jansen", "A-1"))
	var once sync.Once
	w.Registry.OnAsked(func(r *http.Request) {
		if r.URL.Path == "/v1/signals" {
			once.Do(func() {
				if _, err := a.Withdraw(first.ID, api.ReasonEnded); err != nil {
					t.Error(err)
				}
			})
		}
	})
	second := signal(t, a, child(1), terms("pieters", "A-2"))
	if s := settled(t, a, first.ID); s.State != gateway.StateWithdrawn {
		t.Errorf("the first owner's is %s", s.State)
	}
	if s, err := a.Registration(second.ID); err != nil || s.State != gateway.StateMerged || s.SID != first.SID || s.Owners != 1 {
		t.Errorf("the colleague's is %s with %d owners (%v)", s.State, s.Owners, err)
	}
	if n := len(inbox(t, b, 1)); n != 1 {
		t.Errorf("the other party was told %d things", n)
	}
}

// A withdrawal may have been sent, and the registry still has the signal: whoever
// signals the child now waits, and gets a signal of his own.
func TestWhoSignalsDuringAWithdrawalGetsASignalOfHisOwn(t *testing.T) {
	w := gatewaytest.New(t, 1)
	a := w.Run(0).Of(0)
	first := signal(t, a, child(1), terms("jansen", "A-1"))
	var submitted atomic.Int32
	w.Registry.OnAsked(func(r *http.Request) {
		switch r.URL.Path {
		case "/v1/acts":
			panic(http.ErrAbortHandler)
		case "/v1/signals":
			submitted.Add(1)
		}
	})
	if _, err := a.Withdraw(first.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	waitsFor(t, a, first.ID, gateway.WaitRegistry)
	second, err := a.Signal(child(1), terms("pieters", "A-2"))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the colleague's signal at the registry", func() bool { return submitted.Load() > 0 })
	w.Registry.OnAsked(nil)
	if s := settled(t, a, first.ID); s.State != gateway.StateWithdrawn {
		t.Errorf("the first is %s", s.State)
	}
	if s := settled(t, a, second.ID); s.State != gateway.StateRegistered || s.SID == first.SID {
		t.Errorf("the second is %s", s.State)
	}
}

// The registry's own key on a receipt is not enough: it must be of this statement.
func TestAReceiptOfAnythingElseIsNotTaken(t *testing.T) {
	for name, change := range map[string]func(*api.Receipt){
		"statement":  func(r *api.Receipt) { r.Statement[0] ^= 1 },
		"party":      func(r *api.Receipt) { r.Party = gatewaytest.Party(1) },
		"deployment": func(r *api.Receipt) { r.Dep = "other" },
		"sid":        func(r *api.Receipt) { r.SID[0] ^= 1 },
		"revision":   func(r *api.Receipt) { r.Rev++ },
	} {
		t.Run("rejects/another_"+name, func(t *testing.T) {
			t.Parallel()
			w := gatewaytest.New(t, 1)
			a := w.Run(0).Of(0)
			w.Registry.Rewrite(func(path string, answer []byte) []byte {
				var accepted api.Accepted
				if path != "/v1/signals" || json.Unmarshal(answer, &accepted) != nil {
					return answer
				}
				receipt, err := api.ParseReceipt(accepted.Receipt.Signed)
				if err != nil {
					return answer
				}
				change(&receipt)
				signed, err := receipt.Encode()
				if err != nil {
					t.Error(err)
				}
				accepted.Receipt = api.Sign(w.Matcher.ReceiptKey, signed)
				changed, err := json.Marshal(accepted)
				if err != nil {
					t.Error(err)
				}
				return changed
			})
			s, err := a.Signal(child(1), terms("jansen", "A-1"))
			if err != nil {
				t.Fatal(err)
			}
			waitsFor(t, a, s.ID, gateway.WaitRegistry)
			w.Registry.Rewrite(nil)
			if s := settled(t, a, s.ID); s.State != gateway.StateRegistered {
				t.Errorf("it ended as %s", s.State)
			}
		})
	}
}

// Anybody can seal a keybox to a party's public key, with tokens of his own making
// in it. A registry and a party that conspire cannot pass it off as ours.
func TestAKeyboxThatWeDidNotSignIsNotOpened(t *testing.T) {
	w := gatewaytest.New(t, 2)
	h := w.Run(0, 1)
	a, b := h.Of(0), h.Of(1)
	sign, err := keys.Clear.ReadSigning(filepath.Join(w.KeysOf(1), gateway.FileSign))
	if err != nil {
		t.Fatal(err)
	}
	hpke, err := keys.Clear.ReadHPKE(filepath.Join(w.KeysOf(0), gateway.FileHPKE))
	if err != nil {
		t.Fatal(err)
	}
	invented := token.Token{Seal: sha256.Sum256([]byte("seal"))} // the tag is the child's: the registry knows it
	w.Registry.Rewrite(onEvents(t, func(events *api.Events) {
		e := &events.Items[0]
		st, err := api.ParseStatement(e.Own.Signed.Signed)
		if err != nil {
			t.Error(err)
			return
		}
		invented.Tag = token.Tag(st.Faces[0].Tag)
		own := seal.Context{Dep: st.Dep, Party: string(st.Party), SID: st.SID, Rev: st.Rev, Epoch: e.Epoch}
		e.Own.Keybox, err = seal.SealKeybox(hpke.PublicKey().Bytes(), own, seal.Keybox{
			Token: invented, Birthday23: encoding.Date{Year: 2035, Month: 5, Day: 6}, Reference: "A-1",
		})
		if err != nil {
			t.Error(err)
		}
		other := seal.Context{Dep: st.Dep, Party: string(e.Other.Party), SID: e.Other.SID, Rev: e.Other.Rev, Epoch: e.Epoch}
		e.Other.Card, err = seal.SealCard(invented, other, seal.Card{Name: "Bel mij", Phone: "1"},
			encoding.KeyIDOf(sign.Public().(ed25519.PublicKey)), sign)
		if err != nil {
			t.Error(err)
		}
	}))
	signal(t, a, child(1), terms("jansen", "A-1"))
	signal(t, b, child(1), terms("bakker", "B-1"))
	if m := inbox(t, a, 1)[0]; m.Problem != gateway.CodeOwnKeybox || !m.Other.Card.IsZero() {
		t.Errorf("the problem is %q", m.Problem)
	}
}

// The registry has a signal, and its answer was lost. A colleague signals the child
// too, is told of that signal, and withdraws: it stays, for the one who made it.
func TestAWithdrawalSparesWhomTheAnswerWasLost(t *testing.T) {
	for name, first := range map[string]func(t *testing.T, a *gateway.Party) gateway.ID{
		"alone": func(t *testing.T, a *gateway.Party) gateway.ID {
			s, err := a.Signal(child(1), terms("jansen", "A-1"))
			if err != nil {
				t.Fatal(err)
			}
			return s.ID
		},
		"import": func(t *testing.T, a *gateway.Party) gateway.ID { return many(t, a, child(1))[0] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := gatewaytest.New(t, 2)
			h := w.Run(0, 1)
			a := h.Of(0)
			w.Registry.Set(gatewaytest.Loses)
			lost := first(t, a)
			waitsFor(t, a, lost, gateway.WaitRegistry)
			w.Registry.Set(gatewaytest.Away)
			second, err := a.Signal(child(1), terms("bakker", "B-1"))
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "prepared signals", prepared(t, a, 2))
			if _, err := a.Withdraw(second.ID, api.ReasonMistake); err != nil {
				t.Fatal(err)
			}
			jobs, err := a.Jobs()
			if err != nil {
				t.Fatal(err)
			}
			its, err := json.Marshal(jobs[slices.IndexFunc(jobs, func(job gateway.Job) bool { return job.ID == lost })].Prepared.Signed)
			if err != nil {
				t.Fatal(err)
			}
			w.Registry.OnAsked(func(r *http.Request) { // the colleague is answered first
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				if r.Body = io.NopCloser(bytes.NewReader(body)); bytes.Contains(body, its) {
					panic(http.ErrAbortHandler)
				}
			})
			w.Registry.Set(gatewaytest.Works)
			eventually(t, "an attempt to withdraw", func() bool {
				s, err := a.Registration(second.ID)
				return err == nil && !s.SID.IsZero() && (s.Job == nil || a.Alone(s.Registration.Job))
			})
			w.Registry.OnAsked(nil)
			if s := settled(t, a, second.ID); s.State != gateway.StateWithdrawn {
				t.Errorf("the colleague's is %s", s.State)
			}
			if s := settled(t, a, lost); !s.State.Stands() || s.Owners != 1 {
				t.Errorf("who did not withdraw has one that is %s %v", s.State, s.Faults)
			}
			if s := signal(t, h.Of(1), child(1), terms("citroen", "C-1")); s.Signal.Others != 1 {
				t.Errorf("the other party meets %d", s.Signal.Others)
			}
		})
	}
}
