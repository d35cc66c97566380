// SPDX-License-Identifier: EUPL-1.2

package edge

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/seinhuis/seinhuis/api"
)

// A Contact is who is told of weaknesses: what /.well-known/security.txt says (RFC
// 9116). It is what a configuration file says under security; its zero value serves
// no such file.
type Contact struct {
	Contact   []string `json:"contact,omitempty"` // mailto:, https: or tel:, the best first
	Languages string   `json:"languages"`         // such as "nl, en"; optional
	Policy    string   `json:"policy"`            // https: what the finder may expect; optional
	Canonical string   `json:"canonical"`         // https: where the file itself is; optional
	// Checked is the day on which somebody last saw that all of it is right. The file
	// expires a year after it, and a program does not start with one that has.
	Checked string `json:"checked"`
}

// SecurityPath is where the file is.
const SecurityPath = "/.well-known/security.txt"

var (
	errContact = errors.New(`edge: "security" needs "contact", a list of mailto:, https: or tel: addresses; "policy" and "canonical" are https: addresses, and "languages" is like "nl, en"`)
	errChecked = errors.New(`edge: "checked" under "security" is the day on which somebody last saw that it is right, like 2026-11-21, and less than a year ago`)
)

var languages = regexp.MustCompile(`^[a-zA-Z]{2,8}(-[a-zA-Z0-9]{1,8})*(, ?[a-zA-Z]{2,8}(-[a-zA-Z0-9]{1,8})*)*$`)

func (c Contact) absent() bool {
	return len(c.Contact) == 0 && c.Languages+c.Policy+c.Canonical+c.Checked == ""
}

// Check holds what RFC 9116 asks, and that the file has not expired.
func (c Contact) Check(now time.Time) error {
	if c.absent() {
		return nil
	}
	if len(c.Contact) == 0 || c.Languages != "" && !languages.MatchString(c.Languages) {
		return errContact
	}
	for _, address := range c.Contact {
		if !uri(address, "mailto", "https", "tel") {
			return errContact
		}
	}
	for _, address := range []string{c.Policy, c.Canonical} {
		if address != "" && !uri(address, "https") {
			return errContact
		}
	}
	if expires, err := c.expires(); err != nil || !now.Before(expires) || now.AddDate(1, 0, 1).Before(expires) {
		return errChecked
	}
	return nil
}

func uri(text string, schemes ...string) bool {
	u, err := url.Parse(text)
	if err != nil || strings.ContainsAny(text, " \r\n\t") {
		return false
	}
	for _, scheme := range schemes {
		if u.Scheme == scheme && (u.Opaque != "" || u.Host != "") {
			return true
		}
	}
	return false
}

func (c Contact) expires() (time.Time, error) {
	checked, err := time.Parse(time.DateOnly, c.Checked)
	return checked.AddDate(1, 0, 0), err
}

// text is the file; "" when there is none, or when it has expired while it was served.
func (c Contact) text(now time.Time) string {
	expires, err := c.expires()
	if c.absent() || err != nil || !now.Before(expires) {
		return ""
	}
	var b strings.Builder
	for _, address := range c.Contact {
		fmt.Fprintf(&b, "Contact: %s\n", address)
	}
	fmt.Fprintf(&b, "Expires: %s\n", expires.Format(time.RFC3339))
	for _, field := range []struct{ name, value string }{
		{"Preferred-Languages", c.Languages}, {"Policy", c.Policy}, {"Canonical", c.Canonical},
	} {
		if field.value != "" {
			fmt.Fprintf(&b, "%s: %s\n", field.name, field.value)
		}
	}
	return b.String()
}

// Handler serves the file, and everything else by next.
func (c Contact) Handler(now func() time.Time, next http.Handler) http.Handler {
	file := Headers(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := c.text(now())
		switch {
		case text == "":
			WriteProblem(w, api.CodeNotFound.Problem())
		case r.Method == http.MethodGet || r.Method == http.MethodHead:
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			io.WriteString(w, text) // who went away meanwhile asks again
		default:
			w.Header().Set("Allow", "GET, HEAD, OPTIONS")
			if r.Method == http.MethodOptions {
				w.WriteHeader(http.StatusNoContent)
				return
			}
			WriteProblem(w, api.CodeMethod.Problem())
		}
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == SecurityPath && !c.absent() {
			file.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}
