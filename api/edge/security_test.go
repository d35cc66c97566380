// SPDX-License-Identifier: EUPL-1.2

package edge

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestSecurityText(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	good := Contact{
		Contact: []string{"mailto:veilig@example.org", "https://example.org/melden"}, Languages: "nl, en",
		Policy: "https://example.org/beleid", Canonical: "https://example.org/.well-known/security.txt", Checked: "2026-11-01",
	}
	if err := good.Check(now); err != nil {
		t.Fatal(err)
	}
	ask := func(c Contact, now time.Time, method, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		c.Handler(func() time.Time { return now }, Router()).ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return w
	}
	w := ask(good, now, http.MethodGet, SecurityPath)
	const want = `Contact: mailto:veilig@example.org
Contact: https://example.org/melden
Expires: 2027-11-01T00:00:00Z
Preferred-Languages: nl, en
Policy: https://example.org/beleid
Canonical: https://example.org/.well-known/security.txt
`
	if w.Code != http.StatusOK || w.Body.String() != want || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" || w.Header().Get("Api-Version") == "" {
		t.Errorf("%d %v\n%s", w.Code, w.Header(), w.Body)
	}
	if w := ask(good, now, http.MethodPost, SecurityPath); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD, OPTIONS" {
		t.Errorf("POST: %d, %v", w.Code, w.Header())
	}
	for name, w := range map[string]*httptest.ResponseRecorder{
		"trailing_slash":           ask(good, now, http.MethodGet, SecurityPath+"/"),
		"not_configured":           ask(Contact{}, now, http.MethodGet, SecurityPath),
		"expired_while_it_served":  ask(good, now.AddDate(1, 0, 0), http.MethodGet, SecurityPath),
		"everything_else_as_it_is": ask(good, now, http.MethodGet, "/"),
	} {
		if w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	if err := (Contact{}).Check(now); err != nil {
		t.Errorf("none at all: %v", err)
	}
	for reason, change := range map[string]func(*Contact){
		"no_contact":          func(c *Contact) { c.Contact = nil },
		"contact_not_a_uri":   func(c *Contact) { c.Contact[0] = "veilig@example.org" },
		"contact_in_http":     func(c *Contact) { c.Contact[0] = "http://example.org" },
		"contact_in_two":      func(c *Contact) { c.Contact[0] = "mailto:a@example.org\nExpires: 2999-01-01T00:00:00Z" },
		"contact_of_nothing":  func(c *Contact) { c.Contact[0] = "https:" },
		"policy_in_http":      func(c *Contact) { c.Policy = "http://example.org" },
		"canonical_in_http":   func(c *Contact) { c.Canonical = "http://example.org" },
		"languages":           func(c *Contact) { c.Languages = "Nederlands en Engels" },
		"never_checked":       func(c *Contact) { c.Checked = "" },
		"checked_not_a_day":   func(c *Contact) { c.Checked = "november" },
		"expired":             func(c *Contact) { c.Checked = "2025-11-22" },
		"checked_in_advance":  func(c *Contact) { c.Checked = "2026-11-24" },
		"nothing_but_checked": func(c *Contact) { *c = Contact{Checked: "2026-11-01"} },
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			c := good
			c.Contact = append([]string(nil), good.Contact...)
			change(&c)
			if c.Check(now) == nil {
				t.Error("it is taken")
			}
		})
	}
}
