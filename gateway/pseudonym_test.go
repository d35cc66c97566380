// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
)

// Whoever acts stands in what is sent under a pseudonym: the same each time, of each user
// another, and of one user another for each party. The party tells who it is.
func TestPseudonym(t *testing.T) {
	w := gatewaytest.New(t, 2)
	var mu sync.Mutex
	var users []string
	w.Registry.OnAsked(func(r *http.Request) {
		if r.Method != http.MethodPost {
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		var sent struct{ User string }
		if json.Unmarshal(body, &sent) == nil {
			mu.Lock()
			users = append(users, sent.User)
			mu.Unlock()
		}
	})
	h := w.Run(0, 1)
	p, other := h.Of(0), h.Of(1)
	one := signal(t, p, child(1), terms("w.een", "KENMERK-1"))
	signal(t, p, child(2), terms("w.twee", "KENMERK-2"))
	signal(t, other, child(3), terms("w.een", "KENMERK-3"))
	if _, err := p.Withdraw(one.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	settled(t, p, one.ID)
	mu.Lock()
	defer mu.Unlock()
	if len(users) != 4 || users[0] != users[3] || users[0] == users[1] || users[0] == users[2] {
		t.Fatalf("sent were %q", users)
	}
	form := regexp.MustCompile(`^[A-Za-z0-9_-]{22}$`)
	if slices.ContainsFunc(users, func(u string) bool { return !form.MatchString(u) }) {
		t.Fatalf("sent were %q", users)
	}
	officer := &gateway.Access{Party: p, Who: "sleutel:x", Roles: []gateway.Role{gateway.MayOversee}, Reach: gateway.ReachAll}
	if who, err := officer.UserOf(users[1]); who != "w.twee" || err != nil {
		t.Errorf("%q, %v", who, err)
	}
	if who, err := officer.UserOf(users[2]); !errors.Is(err, gateway.ErrNotFound) {
		t.Errorf("another party's is %q, %v", who, err)
	}
	if rows, _, err := officer.Log(gateway.LogQuery{}, gateway.ID{}, 10); err != nil || !slices.ContainsFunc(rows, func(r gateway.LogRow) bool {
		return r.Record.Event == string(gateway.LogResolved) && r.Record.ObjectID == "w.twee"
	}) {
		t.Errorf("that it was asked is not in the log of access: %v", err)
	}
	for _, u := range users {
		if strings.Contains(w.Log.String(), u) {
			t.Error("a pseudonym is logged")
		}
	}
}
