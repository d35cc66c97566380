// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/matcher"
)

// clockState is what the command prints.
type clockState struct {
	Clock time.Time     `json:"clock"`
	Day   encoding.Date `json:"day"` // the registry's
	Held  bool          `json:"held"`
}

// clock prints how the clock stands, and has it believed if whoever asks says so.
func clock(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := program.Flags("clock", stderr)
	accept := fs.Bool("accept", false, "")
	return withFlags(fs, args, stderr, func(m *matcher.Matcher) error {
		read := m.Clock
		if *accept {
			read = m.AcceptClock
		}
		c, err := read(ctx)
		if err != nil {
			return err
		}
		return json.NewEncoder(stdout).Encode(clockState{c.Says.UTC().Truncate(time.Second), c.Day, c.Held})
	}, "accept")
}
