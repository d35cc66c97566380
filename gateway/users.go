// SPDX-License-Identifier: EUPL-1.2

package gateway

// A User (gebruiker) is a professional of the party, as its administration knows him.
type User struct {
	ID     string `json:"id"` // the owner of signals
	Name   string `json:"name"`
	Email  string `json:"email,omitempty"`
	Deputy string `json:"deputy,omitempty"` // another user, who sees what this one owns
	Team   string `json:"team,omitempty"`
	Active bool   `json:"active"`
}
