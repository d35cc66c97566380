// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"crypto/ed25519"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/seal"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
)

// TestAttackHandover: party 2, in a match with party 0, wants the signal of party 0 out of the
// way. Nobody gave it to party 2; it takes over what was given to party 1, or was given and is
// not any more, speaks for party 0, and gets the registry to say that it was taken.
func TestAttackHandover(t *testing.T) {
	w := gatewaytest.New(t, 3)
	heard := overhear(w)
	h := w.Run(0, 1)
	a, b := h.Of(0), h.Of(1)
	m, _ := w.InForce()
	own := signal(t, a, child(1), terms("jansen", "A-1"))
	tok := guess(t, w, stolen(w, m.Threshold), child(1))
	send := func(path string, body any) (int, api.Code) {
		t.Helper()
		return ask(t, w, 2, m.Registry.URL+path, m.Registry.TLS, body, nil)
	}
	stands := func() bool {
		t.Helper()
		stored, there, err := w.Matcher.Store.Signal(t.Context(), w.RegistryKeys().Idx(1, api.Tag(tok.Tag)), a.ID())
		fatal(t, err)
		return there && stored.SID == own.SID
	}
	refused := func(name string, want api.Code, path string, body any) {
		t.Helper()
		if status, code := send(path, body); code != want {
			t.Errorf("%s: %d %s, want %s", name, status, code, want)
		}
		if s, err := a.Registration(own.ID); err != nil || !s.State.Stands() || !stands() {
			t.Fatalf("%s: the signal of party 0 is gone: %s (%v)", name, s.State, err)
		}
	}
	takes := func() api.Submission {
		t.Helper()
		return resigned(t, w, 2, submitted(t, w, 2, tok, api.NewSID(), seal.Card{Name: "Dief", Phone: "+31 20 5550666"}), own.SID)
	}
	handover := func(signer int, party api.PartyID, to api.PartyID) api.ActRequest {
		t.Helper()
		key, id := signingKey(t, w, signer)
		given := api.Handover{To: to, Until: dayIn(w, 9)}
		if to == "" {
			given = api.Handover{}
		}
		text, err := api.Act{
			Dep: m.Dep, Party: party, KeyID: id, Act: api.ActHandover, SID: own.SID, Rev: 1, Tag: api.Tag(tok.Tag), Issued: w.Now(),
			Body: given.Body(),
		}.Encode()
		fatal(t, err)
		return api.ActRequest{Signed: api.Sign(key, text)}
	}
	thief := gatewaytest.Party(2)

	refused("nobody gave it", api.CodeHandover, "/v1/signals", takes())
	refused("in the name of the giver", api.CodeForbidden, "/v1/acts", handover(2, a.ID(), thief))
	refused("of another's signal in its own name", api.CodeUnknownSignal, "/v1/acts", handover(2, thief, b.ID()))

	gives(t, a, own.ID, 1, dayIn(w, 9))
	refused("it was given to another", api.CodeHandover, "/v1/signals", takes())
	gave := func() []api.ActRequest {
		return slices.DeleteFunc(heard.said(t, api.ActHandover), func(r api.ActRequest) bool {
			act, err := api.ParseAct(r.Signed.Signed)
			return err != nil || act.Party != a.ID() || !r.Signed.Verify(public(t, w, 0))
		})
	}
	if n := len(gave()); n != 1 {
		t.Fatalf("%d handovers were overheard", n)
	}
	refused("what was overheard", api.CodeForbidden, "/v1/acts", gave()[0])

	// Given to the thief by mistake, and taken back; then the act is played again, with the
	// giver's TLS key.
	gives(t, a, own.ID, 2, dayIn(w, 9))
	gives(t, a, own.ID, 1, dayIn(w, 1))
	for _, act := range gave()[:2] {
		if status, code := ask(t, w, 0, m.Registry.URL+"/v1/acts", m.Registry.TLS, act, nil); status != http.StatusOK {
			t.Errorf("an act that is played again is answered %d %s", status, code)
		}
	}
	refused("it was taken back", api.CodeHandover, "/v1/signals", takes())

	// With the giver's own sid the thief stands in the match, and gives that to itself.
	twin := submitted(t, w, 2, tok, own.SID, seal.Card{Name: "Dief", Phone: "+31 20 5550666"})
	if status, code := send("/v1/signals", twin); code != "" {
		t.Fatalf("the registry refuses a sid that is another's: %d %s", status, code)
	}
	refused("it gives itself the sid that it took", api.CodeMalformed, "/v1/acts", handover(2, thief, thief))
	offer := offered(t, b, 1)[0]
	for _, to := range []api.PartyID{b.ID(), ""} { // and to party 1, and takes it back
		if status, code := send("/v1/acts", handover(2, thief, to)); code != "" {
			t.Fatalf("it gives what it took: %d %s", status, code)
		}
	}
	signal(t, a, child(3), terms("jansen", "A-3"))
	signal(t, b, child(3), terms("bakker", "B-3"))
	match(t, b, func(m gateway.MatchStatus) bool { return true }) // told behind it
	if still := offered(t, b, 1)[0]; still.Party != a.ID() || still.Until != offer.Until {
		t.Errorf("what stands is an offer of %s until %v", still.Party, still.Until)
	}

	w.Advance(48 * time.Hour)
	if status, code := ask(t, w, 1, m.Registry.URL+"/v1/signals", m.Registry.TLS,
		resigned(t, w, 1, submitted(t, w, 1, tok, api.NewSID(), seal.Card{Name: "Te laat", Phone: "+31 20 5550102"}), own.SID), nil); code != api.CodeHandover {
		t.Errorf("after its last day: %d %s", status, code)
	}
	offered(t, b, 0)
	gives(t, a, own.ID, 1, dayIn(w, 1))
	offered(t, b, 1)

	// The registry says to party 0 that the thief has taken it.
	crooked(t, w, a, func(e *api.Events) {
		for i := range e.Items {
			e.Items[i].Kind, e.Items[i].Own, e.Items[i].Other.Party = api.EventHandover, api.EventOwn{SID: own.SID}, thief
		}
	})
	signal(t, b, child(2), terms("bakker", "B-2"))
	signal(t, a, child(2), terms("jansen", "A-2"))
	eventually(t, "a lie", func() bool {
		list, err := a.Messages(0, 100)
		return err == nil && slices.ContainsFunc(list, func(m gateway.Message) bool { return m.Problem == gateway.CodeNotGiven })
	})
	if s, err := a.Registration(own.ID); err != nil || !s.State.Stands() {
		t.Fatalf("the signal of party 0 is gone: %s (%v)", s.State, err)
	}
	w.Registry.Rewrite(nil)

	// And still party 1 takes over what was given to it.
	took := terms("bakker", "B-1")
	took.TakesOver = offer.SID
	signal(t, b, child(1), took)
	endsAs(t, a, own.ID, gateway.StateHandedOver)
}

// public is the signing key of a party, for all to see.
func public(t *testing.T, w *gatewaytest.World, i int) ed25519.PublicKey {
	t.Helper()
	key, _ := signingKey(t, w, i)
	return key.Public().(ed25519.PublicKey)
}

// resigned is a submission of a party that takes over a signal besides.
func resigned(t *testing.T, w *gatewaytest.World, i int, s api.Submission, takesOver api.SID) api.Submission {
	t.Helper()
	st, err := api.ParseStatement(s.Signed.Signed)
	fatal(t, err)
	st.TakesOver = takesOver
	text, err := st.Encode()
	fatal(t, err)
	key, _ := signingKey(t, w, i)
	s.Signed = api.Sign(key, text)
	return s
}
