// SPDX-License-Identifier: EUPL-1.2

package matcher

import (
	"context"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/audit"
)

// Certify takes an evaluator's certificate of a destroyed key into the log, where its
// leaf is the same each time. It goes on while nothing new is taken: what is destroyed
// is.
func (m *Matcher) Certify(ctx context.Context, note []byte) error {
	man, _ := m.Trust()
	_, hash, err := man.OpenDestruction(note, m.Time())
	if err != nil {
		return api.Refuse(api.CodeMalformed, err)
	}
	return m.Store.Enter(ctx, audit.Published(audit.Destruction, hash))
}
