// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/cmd/internal/command"
	"github.com/seinhuis/seinhuis/logging"
)

// Who opens the control socket and does not ask, or asks for ever, is let go.
func TestControlIsNotHeld(t *testing.T) {
	defer func(before time.Duration) { controlTime = before }(controlTime)
	controlTime = 50 * time.Millisecond
	folder, err := os.MkdirTemp("", "control") // a path short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	c := &config{Control: filepath.Join(folder, "sock")}
	ctx, cancel := context.WithCancel(t.Context())
	s, ctx := command.NewService(ctx, logging.Discard())
	if err := c.listenControl(ctx, s, nil, nil); err != nil {
		t.Fatal(err)
	}
	for name, said := range map[string]string{
		"header": "POST /backup HTTP/1.1\r\nHost: c\r\nX: ",
		"body":   "POST /backup HTTP/1.1\r\nHost: c\r\nContent-Length: 10\r\n\r\n{",
	} {
		conn, err := net.Dial("unix", c.Control)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(conn, said)
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a %s that does not end holds it", name)
		}
		conn.Close()
	}
	cancel()
	if err := s.Run(); err != nil {
		t.Error(err)
	}
}
