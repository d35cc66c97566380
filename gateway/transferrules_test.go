// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"errors"
	"testing"

	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
)

// Somebody who is no user, or no longer, can leave what he owns to a colleague, or get a
// new card on it; asked again it is the same transfer, although he owns nothing by then.
func TestATransferOfSomebodyWhoIsNoUser(t *testing.T) {
	w := gatewaytest.New(t, 1)
	h := w.Run(0)
	a := bootstrap(t, w, h, 0)
	hire(t, a, "bakker")
	one := signal(t, a.Party, child(1), terms("ooit", "A-1"))
	if _, made := transfer(t, a, "ooit", "ooit", newCard); !made {
		t.Error("his own card is no new transfer")
	}
	transferDone(t, a, "ooit")
	if s, made := transfer(t, a, "ooit", "bakker", newCard); !made || s.Total != 1 {
		t.Errorf("%+v", s)
	}
	transferDone(t, a, "ooit")
	if s, made := transfer(t, a, "ooit", "bakker", newCard); made || s.Total != 1 || s.Done != 1 {
		t.Errorf("once more: made is %v, %+v", made, s)
	}
	if s := settled(t, a.Party, one.ID); s.Owner != "bakker" {
		t.Errorf("it is of %s", s.Owner)
	}
	if _, _, err := a.MakeTransfer("niemand", "bakker", newCard); !errors.Is(err, gateway.ErrNotFound) {
		t.Errorf("of nobody: %v", err)
	}
}

// Who does not administer gives others no signals, and a new card to himself alone, or to
// anybody within his reach when that is everybody.
func TestWhoDoesNotAdministerAndTransfers(t *testing.T) {
	w := gatewaytest.New(t, 1)
	h := w.Run(0)
	a := bootstrap(t, w, h, 0)
	hire(t, a, "jansen", "bakker")
	signal(t, a.Party, child(1), terms("bakker", "A-1"))
	for name, c := range map[string]struct {
		reach    gateway.Reach
		from, to string
		may      bool
	}{
		"himself":                       {gateway.ReachOwn, "jansen", "jansen", true},
		"rejects/another":               {gateway.ReachOwn, "bakker", "bakker", false},
		"another_within_reach":          {gateway.ReachAll, "bakker", "bakker", true},
		"rejects/from_one_to_the_other": {gateway.ReachAll, "bakker", "jansen", false},
	} {
		t.Run(name, func(t *testing.T) {
			who := *a
			who.Roles, who.Reach, who.Person = []gateway.Role{gateway.MayRegister}, c.reach, "jansen"
			if _, _, err := who.MakeTransfer(c.from, c.to, newCard); c.may != (err == nil) || !c.may && !errors.Is(err, gateway.ErrNotFound) {
				t.Errorf("got %v", err)
			}
		})
	}
}
