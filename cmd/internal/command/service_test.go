// SPDX-License-Identifier: EUPL-1.2

package command

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/seinhuis/seinhuis/api/edge"
)

type closer struct{ closed bool }

func (c *closer) Close() error { c.closed = true; return errors.ErrUnsupported }

func TestNothingIsClosedUnderARequest(t *testing.T) {
	other := errors.New("another")
	for _, err := range []error{nil, other} {
		c := &closer{}
		if got := Close(err, c); !c.closed || !errors.Is(got, errors.ErrUnsupported) || !errors.Is(got, err) && err != nil {
			t.Errorf("after %v: closed %v, %v", err, c.closed, got)
		}
	}
	running := fmt.Errorf("exchange: %w", edge.ErrRunning)
	c := &closer{}
	if got := Close(running, c); c.closed || got != running {
		t.Errorf("under a running request: closed %v, %v", c.closed, got)
	}
}

// Requests that go on are told of, whatever else went wrong first.
func TestRunningRequestsAreToldOf(t *testing.T) {
	other := errors.New("another")
	s, _ := NewService(t.Context(), slog.New(slog.DiscardHandler))
	s.Go(func() error { return other })
	s.running.Store(true)
	if err := s.Run(); !errors.Is(err, edge.ErrRunning) || !errors.Is(err, other) {
		t.Error(err)
	}
}
