// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/seal"
	"github.com/seinhuis/seinhuis/crypto/token"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
)

// A crooked registry changes what the feed of party 0 gets, and only that.
func crooked(t *testing.T, w *gatewaytest.World, victim *gateway.Party, change func(*api.Events)) {
	w.Registry.Rewrite(func(path string, answer []byte) []byte {
		var events api.Events
		if path != "/v1/events" || json.Unmarshal(answer, &events) != nil || len(events.Items) == 0 {
			return answer
		}
		if !toWhom(t, events.Items[0], victim.ID()) {
			return answer
		}
		change(&events)
		changed, err := json.Marshal(events)
		if err != nil {
			t.Error(err)
		}
		return changed
	})
}

func toWhom(t *testing.T, e api.Event, party api.PartyID) bool {
	st, err := api.ParseStatement(e.Own.Signed.Signed)
	if err != nil {
		t.Error("an event without an own signal:", err)
	}
	return st.Party == party
}

// contacts are what the matches of a party show of others.
func contacts(t *testing.T, p *gateway.Party, sid api.SID) (list []gateway.Other) {
	t.Helper()
	all, _, err := p.Matches(gateway.ID{}, 100, gateway.MatchFilter{})
	fatal(t, err)
	for _, m := range all {
		for _, o := range m.Others {
			if m.SID == sid {
				list = append(list, o.Other)
			}
		}
	}
	return list
}

// A cardOf is a place that a card can be sealed for.
type cardOf struct {
	tok token.Token
	at  seal.Context
}

func (c cardOf) cipher(t *testing.T) (cipher.AEAD, []byte) {
	t.Helper()
	info, err := encoding.E("seinhuis/1/card-key", c.at.SID[:], []byte(c.at.Party), encoding.Int(c.at.Rev))
	fatal(t, err)
	key, err := token.KDF(c.tok.Seal[:], info, 32)
	fatal(t, err)
	block, err := aes.NewCipher(key)
	fatal(t, err)
	aead, err := cipher.NewGCM(block)
	fatal(t, err)
	aad, err := encoding.E("seinhuis/1/card-aad", []byte(c.at.Dep), []byte(c.at.Party), c.at.SID[:], encoding.Int(c.at.Rev), encoding.Int(c.at.Epoch), c.tok.Tag[:])
	fatal(t, err)
	return aead, aad
}

// moved opens a card and seals what is in it for another place, under another key's id if
// one is given, as whoever has the seals can. The signature within is what it was.
func (c cardOf) moved(t *testing.T, card []byte, to cardOf, id *encoding.KeyID) []byte {
	t.Helper()
	aead, aad := c.cipher(t)
	plain, err := aead.Open(nil, card[:12], card[12:], aad)
	fatal(t, err)
	if id != nil {
		copy(plain[1:9], id[:])
	}
	aead, aad = to.cipher(t)
	return aead.Seal(slices.Clone(card[:12]), card[:12], plain, aad)
}

// TestAttackSwappedCard: the registry, and party 2, which shares the child and so has its
// seal, try to have party 0 take somebody for who signalled with it: party 1.
func TestAttackSwappedCard(t *testing.T) {
	w := gatewaytest.New(t, 3)
	w.OpenEpoch(2)
	w.Publish()
	heard := overhear(w)
	h := w.Run(0, 1, 2)
	a, b, c := h.Of(0), h.Of(1), h.Of(2)
	m, _ := w.InForce()
	shares := stolen(w, m.Threshold) // for party 2: what it would compute of children it signals
	other := child(90)
	tokenOfOther := guess(t, w, shares, other)
	otherSignal := signal(t, b, other, terms("bakker", "B-90"))
	bKey, bID := signingKey(t, w, 1)
	cKey, cID := signingKey(t, w, 2)
	fake := seal.Card{Name: "Niet B", Phone: "+31 20 5550666"}

	for i, x := range []struct {
		name string
		want gateway.Code
		// st is what party 1 has said of the child, and tok the child's.
		change func(e *api.Event, st api.Statement, sub api.Submission, tok token.Token)
	}{
		{"another_signals_card", gateway.CodeOtherCard, func(e *api.Event, _ api.Statement, _ api.Submission, _ token.Token) {
			_, sub := heard.heard(t, otherSignal.SID, 1)
			e.Other.Card = sub.Faces[0].Card
		}},
		{"another_signal_whole", gateway.CodeOtherCard, func(e *api.Event, _ api.Statement, _ api.Submission, _ token.Token) {
			_, sub := heard.heard(t, otherSignal.SID, 1)
			e.Other.Card, e.Other.SID = sub.Faces[0].Card, otherSignal.SID
		}},
		{"another_signals_signature", gateway.CodeOtherCard, func(e *api.Event, st api.Statement, _ api.Submission, tok token.Token) {
			_, sub := heard.heard(t, otherSignal.SID, 1)
			was := seal.Context{Dep: m.Dep, Party: string(b.ID()), SID: otherSignal.SID, Rev: 1, Epoch: 1}
			is := was
			is.SID = st.SID
			e.Other.Card = cardOf{tokenOfOther, was}.moved(t, sub.Faces[0].Card, cardOf{tok, is}, nil)
		}},
		{"another_revision", gateway.CodeOtherCard, func(e *api.Event, _ api.Statement, _ api.Submission, _ token.Token) { e.Other.Rev = 2 }},
		{"another_epochs_card", gateway.CodeOtherCard, func(e *api.Event, _ api.Statement, sub api.Submission, _ token.Token) {
			e.Other.Card = sub.Faces[1].Card
		}},
		{"another_epochs_name", gateway.CodeOwnKeybox, func(e *api.Event, _ api.Statement, _ api.Submission, _ token.Token) { e.Epoch = 2 }},
		{"another_epochs_keybox", gateway.CodeOtherCard, func(e *api.Event, _ api.Statement, _ api.Submission, _ token.Token) {
			_, own := heard.heard(t, e.Own.SID, 1)
			e.Epoch, e.Own.Keybox = 2, own.Faces[1].Keybox
		}},
		{"another_partys_name", gateway.CodeOtherCard, func(e *api.Event, _ api.Statement, _ api.Submission, _ token.Token) { e.Other.Party = c.ID() }},
		{"signed_by_another_member", gateway.CodeOtherCard, func(e *api.Event, st api.Statement, _ api.Submission, tok token.Token) {
			context := seal.Context{Dep: m.Dep, Party: string(b.ID()), SID: st.SID, Rev: 1, Epoch: 1}
			card, err := seal.SealCard(tok, context, fake, cID, cKey)
			fatal(t, err)
			e.Other.Card = card
		}},
		{"signed_by_another_member_under_the_partys_key_id", gateway.CodeOtherCard, func(e *api.Event, st api.Statement, _ api.Submission, tok token.Token) {
			context := seal.Context{Dep: m.Dep, Party: string(b.ID()), SID: st.SID, Rev: 1, Epoch: 1}
			card, err := seal.SealCard(tok, context, fake, cID, cKey)
			fatal(t, err)
			place := cardOf{tok, context}
			e.Other.Card = place.moved(t, card, place, &bID)
		}},
	} {
		t.Run("rejects/"+x.name, func(t *testing.T) {
			s := child(i)
			own := signal(t, a, s, terms("jansen", fmt.Sprint("A-", i)))
			tok := guess(t, w, shares, s)
			crooked(t, w, a, func(events *api.Events) {
				for j := range events.Items {
					if e := &events.Items[j]; e.Own.SID == own.SID && e.Other.Party == b.ID() {
						st, sub := heard.heard(t, e.Other.SID, 1)
						x.change(e, st, sub, tok)
					}
				}
			})
			signal(t, b, s, terms("bakker", fmt.Sprint("B-", i)))
			got := inbox(t, a, i+1)[i]
			if got.SID != own.SID || got.Problem != x.want || !got.Other.Card.IsZero() || got.Other.Code != "" {
				t.Errorf("problem %q, want %q", got.Problem, x.want)
			}
			if list := contacts(t, a, own.SID); len(list) > 0 {
				t.Errorf("the match shows %s", list[0].Party)
			}
			eventually(t, "that the log tells what failed", func() bool { // which is after it is kept
				return strings.Contains(w.Log.String(), `"event":"`+got.ID.String()+`","problem":"`+string(x.want)+`"`)
			})
		})
	}
	t.Run("accepts/the_partys_own", func(t *testing.T) { // made by the same hands, with the key that signs
		s := child(60)
		own := signal(t, a, s, terms("jansen", "A-60"))
		tok := guess(t, w, shares, s)
		crooked(t, w, a, func(events *api.Events) {
			for j := range events.Items {
				if e := &events.Items[j]; e.Own.SID == own.SID {
					context := seal.Context{Dep: m.Dep, Party: string(b.ID()), SID: e.Other.SID, Rev: 1, Epoch: 1}
					card, err := seal.SealCard(tok, context, fake, bID, bKey)
					fatal(t, err)
					e.Other.Card = card
				}
			}
		})
		signal(t, b, s, terms("bakker", "B-60"))
		all := inbox(t, a, 1)
		for len(all) == 0 || all[len(all)-1].SID != own.SID {
			all = inbox(t, a, len(all)+1)
		}
		if got := all[len(all)-1]; got.Problem != "" || got.Other.Card != gateway.Card(fake) {
			t.Errorf("problem %q: the forger's program is wrong, so what it forged proves nothing", got.Problem)
		}
	})
}

// TestAttackOlderRevision: the registry shows party 0 an earlier card of party 1 again,
// after the newer one: under the event's own id or another, as news, or as of somebody who
// has left and come back.
func TestAttackOlderRevision(t *testing.T) {
	for _, x := range []struct {
		name  string
		again func(joined api.Event) []api.Event
	}{
		{"the_same_event", func(e api.Event) []api.Event { return []api.Event{e} }},
		{"another_id", func(e api.Event) []api.Event { e.ID[0] ^= 1; return []api.Event{e} }},
		{"as_a_new_card", func(e api.Event) []api.Event { e.ID[0] ^= 2; e.Kind = api.EventCard; return []api.Event{e} }},
		{"in_another_match", func(e api.Event) []api.Event { e.ID[0] ^= 3; e.Match = api.NewMatchID(); return []api.Event{e} }},
		{"after_it_left", func(e api.Event) []api.Event {
			left := e
			left.ID[0], left.Kind, left.Other.Card = e.ID[0]^4, api.EventLeft, nil
			e.ID[0] ^= 5
			return []api.Event{left, e}
		}},
		{"after_the_match_had_ended", func(e api.Event) []api.Event {
			left, ended := e, e
			left.ID[0], left.Kind, left.Other.Card = e.ID[0]^6, api.EventLeft, nil
			ended.ID[0], ended.Kind, ended.Other.Card = e.ID[0]^7, api.EventEnded, nil
			e.ID[0], e.Match = e.ID[0]^8, api.NewMatchID()
			return []api.Event{left, ended, e}
		}},
	} {
		t.Run("rejects/"+x.name, func(t *testing.T) {
			t.Parallel()
			w := gatewaytest.New(t, 2)
			disk := vfs.NewMem()
			h, hb := w.RunOn(disk, 0), w.Run(1)
			a, b := h.Of(0), hb.Of(1)
			var mu sync.Mutex
			var first *api.Event
			var inject []api.Event
			crooked(t, w, a, func(events *api.Events) {
				mu.Lock()
				defer mu.Unlock()
				if first == nil {
					first = &events.Items[0]
				}
				events.Items = append(slices.Clone(inject), events.Items...)
				inject = nil
			})
			own := signal(t, a, child(1), terms("jansen", "A-1"))
			theirs := signal(t, b, child(1), gateway.Terms{Owner: "bakker", Reference: "B-1", Card: gateway.Card{Name: "Oud", Phone: "+31 20 5550101"}})
			inbox(t, a, 1)
			_, err := b.Renew(theirs.ID, gateway.Subject{}, gateway.Terms{Card: gateway.Card{Name: "Nieuw", Phone: "+31 20 5550102"}})
			fatal(t, err)
			settled(t, b, theirs.ID)
			inbox(t, a, 2)
			mu.Lock()
			inject = x.again(*first)
			mu.Unlock()
			signal(t, a, child(2), terms("jansen", "A-2")) // what the feed wakes for
			last := signal(t, b, child(2), terms("bakker", "B-2"))
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			from, done := uint64(2), false
			for !done {
				list, err := a.AwaitMessages(ctx, from, 100)
				fatal(t, err)
				if len(list) == 0 {
					t.Fatal("the feed stands still")
				}
				for _, msg := range list {
					from, done = msg.Seq, done || msg.Other.SID == last.SID
					if msg.Other.Card.Name == "Oud" {
						t.Errorf("the earlier card is told, as %s of revision %d", msg.Kind, msg.Rev)
					}
				}
			}
			shows := func() {
				t.Helper()
				list := contacts(t, a, own.SID)
				if len(list) == 0 || slices.ContainsFunc(list, func(o gateway.Other) bool { return o.Card.Name != "Nieuw" }) {
					t.Errorf("the matches show %d contacts, not all of them the newer card", len(list))
				}
			}
			shows()
			h.Stop()
			again := w.RunOn(disk, 0)
			a = again.Of(0)
			shows()
		})
	}
}

// TestAttackForeignKeybox: party 0 gets, from the registry, the keybox in which party 1 has
// the child's seal; and it serves with its own key and, at one gateway, beside party 1's.
func TestAttackForeignKeybox(t *testing.T) {
	w := gatewaytest.New(t, 2)
	heard := overhear(w)
	h := w.Run(0, 1) // one gateway, which has both keys
	a, b := h.Of(0), h.Of(1)
	m, _ := w.InForce()
	theirs := signal(t, b, child(1), terms("bakker", "B-1"))
	st, sub := heard.heard(t, theirs.SID, 1)
	context := func(p *gateway.Party) seal.Context {
		return seal.Context{Dep: m.Dep, Party: string(p.ID()), SID: st.SID, Rev: 1, Epoch: 1}
	}
	box := sub.Faces[0].Keybox
	opened, err := seal.OpenKeybox(hpkeKey(t, w, 1), context(b), box)
	if err != nil || opened.Token != guess(t, w, stolen(w, 2), child(1)) {
		t.Fatalf("its owner does not open it: %v", err)
	}
	his := hpkeKey(t, w, 0)
	renamed := slices.Clone(box)
	copy(renamed[1:9], hpkeID(t, w, 0))
	for name, try := range map[string]struct {
		box []byte
		of  *gateway.Party
	}{"as_it_is": {box, b}, "in_his_own_name": {box, a}, "under_his_keys_id": {renamed, b}, "under_his_keys_id_and_name": {renamed, a}} {
		t.Run("rejects/"+name, func(t *testing.T) {
			if _, err := seal.OpenKeybox(his, context(try.of), try.box); err == nil {
				t.Error("it opens under the key of another party")
			}
		})
	}

	for i, x := range []struct {
		name   string
		want   gateway.Code
		change func(*api.EventOwn)
	}{
		{"with_his_own_statement", gateway.CodeOwnKeybox, func(own *api.EventOwn) { own.Keybox = box }},
		{"with_its_statement", gateway.CodeOwnStatement, func(own *api.EventOwn) { own.Signed, own.Keybox = sub.Signed, box }},
		{"whole", gateway.CodeOwnStatement, func(own *api.EventOwn) { *own = api.EventOwn{SID: st.SID, Signed: sub.Signed, Keybox: box} }},
	} {
		t.Run("rejects/told_"+x.name, func(t *testing.T) {
			signal(t, a, child(10+i), terms("jansen", "A"))
			crooked(t, w, a, func(events *api.Events) {
				if e := &events.Items[0]; e.Other.Party == b.ID() {
					x.change(&e.Own)
				}
			})
			signal(t, b, child(10+i), terms("bakker", "B"))
			if got := inbox(t, a, i+1)[i]; got.Problem != x.want || !got.Other.Card.IsZero() {
				t.Errorf("problem %q, want %q", got.Problem, x.want)
			}
			if all, _, err := a.Matches(gateway.ID{}, 10, gateway.MatchFilter{}); err != nil || len(all) > 0 {
				t.Errorf("party 0 is shown %d matches (%v)", len(all), err)
			}
		})
	}
}
