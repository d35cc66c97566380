// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/registry"
)

// A registry that was off for ten days is held, until whoever runs it says that the
// clock is right.
func TestClockIsHeldUntilItIsAccepted(t *testing.T) {
	o := newOperator(t, 1)
	file := filepath.Join(o.folder, "registry.json")
	c, err := readConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := c.open(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	past := time.Now().AddDate(0, 0, -10)
	m.Now = func() time.Time { return past }
	_, err = m.Clock(t.Context())
	if err := errors.Join(err, m.Store.Close()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		day  time.Time
		held bool
	}{{nil, past, true}, {[]string{"-accept"}, time.Now(), false}, {nil, time.Now(), false}} {
		var out bytes.Buffer
		if err := program.Run(t.Context(), append([]string{"clock", "-config", file}, c.args...), &out, io.Discard); err != nil {
			t.Fatal(err)
		}
		var got clockState
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got.Held != c.held || got.Day != registry.Today(c.day) && got.Day != registry.Today(time.Now()) {
			t.Errorf("clock %v says %s", c.args, out.String())
		}
	}
}
