// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/seinhuis/seinhuis/cmd/internal/command"
	"github.com/seinhuis/seinhuis/logging"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/matcher"
)

// A task is done by the registry that serves, asked at its control socket, or where none
// does by the command itself. asked is JSON, and what it writes to out is printed.
type task func(ctx context.Context, h house, asked []byte, out io.Writer) error

// tasks are by their names, which are paths at the socket.
var tasks = map[string]task{"backup": backupTask, "log/verify": verifyTask, "log/show": showTask, "log/erase": eraseTask}

// A house is a registry that is open.
type house struct {
	*config
	m     *matcher.Matcher
	trust *manifest.Trust
}

// do has a task done, by whoever has the store.
func (c *config) do(ctx context.Context, name string, asked any, stdout, stderr io.Writer) error {
	text, err := json.Marshal(asked)
	if err != nil {
		return err
	}
	if serves, err := c.ask(ctx, name, text, stdout); serves || err != nil {
		return err
	}
	m, trust, err := c.open(logging.New(stderr, slog.LevelInfo))
	if err != nil {
		return fmt.Errorf("%w (does the registry run? then its configuration has no control)", err)
	}
	return errors.Join(tasks[name](ctx, house{c, m, trust}, text, stdout), m.Store.Close())
}

// maxAsked bounds what is asked at the socket, in bytes.
const maxAsked = 1 << 20

// controlTime is how long who asks may take to ask, and to read what is written at a time.
// Only tests set it.
var controlTime = time.Minute

// listenControl listens at the control socket, if there is one: for who may open it.
func (c *config) listenControl(ctx context.Context, s *command.Service, m *matcher.Matcher, trust *manifest.Trust) error {
	if c.Control == "" {
		return nil
	}
	if conn, err := net.Dial("unix", c.Control); err == nil {
		return errors.Join(fmt.Errorf("%s: somebody listens there", c.Control), conn.Close())
	} else if errors.Is(err, syscall.ECONNREFUSED) { // of a process that was killed
		if err := os.Remove(c.Control); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(c.Control), 0o700); err != nil {
		return err
	}
	ln, err := net.Listen("unix", c.Control)
	if err != nil {
		return err
	}
	if err := os.Chmod(c.Control, 0o600); err != nil {
		return errors.Join(err, ln.Close())
	}
	handler := http.NewServeMux()
	for name, t := range tasks {
		handler.HandleFunc("POST /"+name, func(w http.ResponseWriter, r *http.Request) {
			deadlines := http.NewResponseController(w)
			err := deadlines.SetReadDeadline(time.Now().Add(controlTime))
			var asked []byte
			if err == nil {
				asked, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxAsked))
			}
			out := &answer{w: w, deadlines: deadlines}
			if err == nil { // or it would end the task
				err = deadlines.SetReadDeadline(time.Time{})
			}
			if err == nil {
				err = t(r.Context(), house{c, m, trust}, asked, out)
			}
			switch {
			case err != nil && out.begun:
				panic(http.ErrAbortHandler) // so that nobody takes it for all
			case err != nil:
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		})
	}
	// A task takes what it takes: only who asks has to be quick, and who reads.
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: controlTime, IdleTimeout: controlTime, MaxHeaderBytes: maxAsked / 64,
	}
	limited := s.Limit("control", ln, command.Few)
	s.Go(func() error {
		if err := server.Serve(limited); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	s.Go(func() error { // ends when no task is under way: it uses the store
		<-ctx.Done()
		return server.Shutdown(context.WithoutCancel(ctx))
	})
	return nil
}

// An answer knows whether anything of it was sent.
type answer struct {
	w         io.Writer
	deadlines *http.ResponseController
	begun     bool
}

func (a *answer) Write(b []byte) (int, error) {
	a.begun = true
	if err := a.deadlines.SetWriteDeadline(time.Now().Add(controlTime)); err != nil {
		return 0, err
	}
	return a.w.Write(b)
}

// ask asks at the control socket; serves tells whether somebody listens there.
func (c *config) ask(ctx context.Context, name string, asked []byte, out io.Writer) (serves bool, err error) {
	if c.Control == "" {
		return false, nil
	}
	var dialer net.Dialer
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", c.Control)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://control/"+name, bytes.NewReader(asked))
	if err != nil {
		return false, err
	}
	resp, err := client.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		why, err := io.ReadAll(io.LimitReader(resp.Body, maxAsked))
		return true, errors.Join(fmt.Errorf("the registry that serves did not do it: %s", bytes.TrimSpace(why)), err)
	}
	_, err = io.Copy(out, resp.Body)
	return true, err
}
