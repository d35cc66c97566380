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

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seinhuis/seinhuis/cmd/internal/command"
	"github.com/seinhuis/seinhuis/logging"
)

func dialControl(t *testing.T, c *config, said string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", c.Control)
	if err == nil {
		_, err = io.WriteString(conn, said)
	}
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// Who opens the control socket and does not ask, asks for ever, or does not read is let go;
// and so many can come at a time.
func TestControlIsNotHeld(t *testing.T) {
	defer func(before time.Duration) { controlTime = before }(controlTime)
	controlTime = 50 * time.Millisecond
	folder, err := os.MkdirTemp("", "control") // a path short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	flooded := make(chan error, 1)
	tasks["flood"] = func(_ context.Context, _ house, _ []byte, out io.Writer) error {
		for {
			if _, err := out.Write(make([]byte, 1<<16)); err != nil {
				flooded <- err
				return err
			}
		}
	}
	defer delete(tasks, "flood")
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
	t.Run("who_does_not_read", func(t *testing.T) {
		conn := dialControl(t, c, "POST /flood HTTP/1.1\r\nHost: c\r\nContent-Length: 0\r\n\r\n")
		defer conn.Close()
		select {
		case err := <-flooded:
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the task ends with %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("an answer that nobody reads holds it")
		}
	})
	t.Run("one_too_many", func(t *testing.T) {
		controlTime = time.Minute
		var open []net.Conn
		for range command.Few.Most {
			open = append(open, dialControl(t, c, ""))
		}
		late := dialControl(t, c, "")
		late.SetDeadline(time.Now().Add(20 * time.Second))
		if n, err := late.Read(make([]byte, 1)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("it is not closed: %v", err)
		}
		metrics := prometheus.NewRegistry()
		s.MeasureConnections(metrics)
		families, err := metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if m := f.Metric[0]; f.GetName() == "seinhuis_connections_refused_total" && (m.Label[0].GetValue() != "control" || m.Counter.GetValue() == 0) {
				t.Errorf("it is measured as %v", m)
			}
		}
		if len(families) != 2 {
			t.Errorf("%d things are measured", len(families))
		}
		for _, conn := range append(open, late) {
			conn.Close()
		}
	})
	cancel()
	if err := s.Run(); err != nil {
		t.Error(err)
	}
}
