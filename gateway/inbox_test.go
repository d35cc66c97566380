// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
)

// crowd is a party of which everybody owns many signals that were met: more than are
// looked at one by one.
func crowd(t *testing.T) (*gatewaytest.World, *gatewaytest.House, *gateway.Party, []string) {
	t.Helper()
	w := gatewaytest.New(t, 1)
	h := w.OpenOn(vfs.NewMem(), 0)
	t.Cleanup(func() { h.Close() })
	p := h.Of(0)
	people := []string{"bakker", "jansen", "smit", "visser"}
	for _, u := range []gateway.User{
		{ID: "bakker", Name: "B", Active: true, Team: "oost"}, {ID: "jansen", Name: "J", Active: true, Team: "oost"},
		{ID: "smit", Name: "S", Active: true, Team: "west", Deputy: "bakker"}, {ID: "visser", Name: "V", Active: true},
	} {
		if err := p.MakeUser(admin(p), u); err != nil {
			t.Fatal(err)
		}
	}
	gateway.Meet(t, p, 3*gateway.LookThrough, people...)
	return w, h, p, people
}

func reaching(p *gateway.Party, reach gateway.Reach, person string) *gateway.Access {
	return &gateway.Access{Party: p, Who: "test", Roles: gateway.Roles, Reach: reach, Person: person}
}

// What is found by signals is what would be found by reading everything, from wherever
// somebody reads on, and also when signals change hands.
func TestMessagesAndMatchesWithinReach(t *testing.T) {
	_, _, p, people := crowd(t)
	all := admin(p)
	list, _, err := all.Registrations(gateway.ID{}, 1000, "")
	if err != nil {
		t.Fatal(err)
	}
	for i, reg := range list {
		switch colleague := people[(i+i/7)%len(people)]; {
		case colleague == reg.Owner:
		case i%7 == 0:
			_, err = all.HandOver(reg.ID, colleague, gateway.Card{})
		case i%7 == 1:
			_, err = all.AddOwner(reg.ID, colleague, "ANDER")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	messages, err := p.Messages(0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	matches, _, err := p.Matches(gateway.ID{}, 1000, gateway.MatchFilter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, person := range []string{"bakker", "jansen", "niemand"} { // a deputy, a colleague, nobody
		for _, reach := range gateway.Reaches {
			a := reaching(p, reach, person)
			for from := uint64(0); from < uint64(len(messages)); from += 2 * gateway.LookThrough / 3 {
				got, err := p.Within(a, from, 20)
				if err != nil {
					t.Fatal(err)
				}
				var want []string
				for _, m := range messages {
					if m.Owners = a.SeesOwners(m.Owners); m.Seq > from && len(want) < 20 && (reach == gateway.ReachAll || len(m.Owners) > 0) {
						want = append(want, told(m))
					}
				}
				if !slices.EqualFunc(got, want, func(m gateway.Message, want string) bool { return told(m) == want }) {
					t.Errorf("%s of %s behind %d: %d messages, want %q", reach, person, from, len(got), want)
				}
			}
			for from := 0; from < len(matches); from += 2 * gateway.LookThrough / 3 {
				got, more, err := a.Matches(matches[from].ID, 20, gateway.MatchFilter{Active: true})
				if err != nil {
					t.Fatal(err)
				}
				var want []gateway.ID
				for _, m := range matches[from+1:] {
					if reach == gateway.ReachAll || len(a.SeesOwners(m.Owners)) > 0 {
						want = append(want, m.ID)
					}
				}
				var ids []gateway.ID
				for _, m := range got {
					ids = append(ids, m.ID)
				}
				if !slices.Equal(ids, want[:min(20, len(want))]) || more != (len(want) > 20) {
					t.Errorf("%s of %s behind match %d: %d matches, more %t; want %d", reach, person, from, len(ids), more, len(want))
				}
			}
		}
	}
}

// told is a message and whose it is.
func told(m gateway.Message) string {
	text := fmt.Sprint(m.Seq)
	for _, o := range m.Owners {
		text += " " + o.Owner
	}
	return text
}

// Who sees little of a full inbox does not have it read for him: the others' messages
// and matches could as well not be there.
func TestOthersMessagesAreNotRead(t *testing.T) {
	_, _, p, _ := crowd(t)
	messages, err := p.Messages(0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if m.Owners[0].Owner != "visser" {
			gateway.Damage(t, p, m)
		}
	}
	if _, err := p.Messages(0, 1000); !errors.Is(err, gateway.ErrStore) {
		t.Fatalf("they are not damaged: %v", err)
	}
	a := reaching(p, gateway.ReachOwn, "visser")
	if list, err := p.Within(a, 0, 1000); err != nil || len(list) != len(messages)/4 {
		t.Errorf("%d messages: %v", len(list), err)
	}
	if list, _, err := a.Matches(gateway.ID{}, 1000, gateway.MatchFilter{}); err != nil || len(list) != len(messages)/4 {
		t.Errorf("%d matches: %v", len(list), err)
	}
	own, _, err := a.Registrations(gateway.ID{}, 1, "")
	if err != nil {
		t.Fatal(err)
	}
	if list, _, err := admin(p).Matches(gateway.ID{}, 1000, gateway.MatchFilter{Registration: own[0].ID}); err != nil || len(list) != 1 {
		t.Errorf("%d matches of one signal: %v", len(list), err)
	}
}

// A store from before messages were found by their signals gets the rows for it, once.
func TestMessagesOfAnEarlierStore(t *testing.T) {
	fs := vfs.NewMem()
	w := gatewaytest.New(t, 1)
	h := w.OpenOn(fs, 0)
	p := h.Of(0)
	gateway.Meet(t, p, 2*gateway.LookThrough, "bakker", "visser")
	gateway.ForgetMessagesOn(t, p)
	for i := range 2 {
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		h = w.OpenOn(fs, 0)
		p = h.Of(0)
		if list, err := p.Within(reaching(p, gateway.ReachOwn, "visser"), 0, 1000); err != nil || len(list) != gateway.LookThrough {
			t.Errorf("opened %d times: %d messages, %v", i+1, len(list), err)
		}
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkPoll is what one look at an inbox of 100,000 messages costs who sees little
// of it: one of a thousand professionals, and a team of ten.
func BenchmarkPoll(b *testing.B) {
	const people, messages = 1000, 100_000
	w := gatewaytest.New(b, 1)
	h := w.OpenOn(vfs.NewMem(), 0)
	b.Cleanup(func() { h.Close() })
	p := h.Of(0)
	var all []string
	for i := range people {
		id := fmt.Sprintf("w.%03d", i)
		if err := p.MakeUser(admin(p), gateway.User{ID: id, Name: id, Team: fmt.Sprint("team ", i/10), Active: true}); err != nil {
			b.Fatal(err)
		}
		all = append(all, id)
	}
	gateway.Meet(b, p, messages, all...)
	for _, reach := range []gateway.Reach{gateway.ReachOwn, gateway.ReachTeam, gateway.ReachAll} {
		a := &gateway.Access{Party: p, Roles: gateway.Roles, Reach: reach, Person: "w.500"}
		for _, c := range []struct {
			name string
			from uint64
			want bool
		}{{"begin", 0, true}, {"behind_the_own", messages - 400, false}, {"end", messages, false}} {
			b.Run(string(reach)+"/"+c.name, func(b *testing.B) {
				for b.Loop() {
					list, err := p.Within(a, c.from, 50)
					if err != nil || len(list) > 0 != c.want && reach == gateway.ReachOwn {
						b.Fatal(len(list), err)
					}
				}
			})
		}
	}
}
