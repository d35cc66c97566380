// SPDX-License-Identifier: EUPL-1.2

package command

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/seinhuis/seinhuis/api/edge"
)

// A Service is listeners and loops that run together: the first that fails, or the
// end of the context, ends all.
type Service struct {
	ctx       context.Context
	group     *errgroup.Group
	log       *slog.Logger
	addresses []any
	listeners listeners
	failed    error
	running   atomic.Bool // requests, after the end
	certificates
}

// NewService starts a service without anything in it. What it runs gets the
// returned context.
func NewService(ctx context.Context, log *slog.Logger) (*Service, context.Context) {
	group, ctx := errgroup.WithContext(ctx)
	return &Service{ctx: ctx, group: group, log: log}, ctx
}

// Listen serves a handler at an address, host:port or unix:PATH; with config set
// over TLS. Run reports what went wrong.
func (s *Service) Listen(name, address string, handler http.Handler, config *tls.Config, most edge.Connections) {
	if s.failed != nil {
		return
	}
	network := "tcp"
	if path, unix := strings.CutPrefix(address, edge.UnixPrefix); unix {
		network, address = "unix", path
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		s.failed = err
		return
	}
	if network == "tcp" {
		s.addresses = append(s.addresses, name, ln.Addr().String())
	}
	limited := s.listeners.limit(name, ln, most)
	s.Go(func() error {
		err := edge.Serve(s.ctx, &http.Server{Handler: handler, TLSConfig: config}, limited)
		if errors.Is(err, edge.ErrRunning) {
			s.running.Store(true)
		}
		return err
	})
}

// Go runs a loop, which returns nil when the context has ended.
func (s *Service) Go(loop func() error) { s.group.Go(loop) }

// OnHangup calls reload at every SIGHUP, and logs what came of it: the returned
// attributes, or the error.
func (s *Service) OnHangup(reload func() ([]any, error)) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	s.Go(func() error {
		defer signal.Stop(hangups)
		for {
			select {
			case <-hangups:
			case <-s.ctx.Done():
				return nil
			}
			attrs, err := reload()
			s.certificates.read(s.log) // after the manifest, which says whose keys are good
			if err != nil {
				s.log.Error("reload refused", "cause", err)
			} else {
				s.log.Info("reloaded", attrs...)
			}
		}
	})
}

// Run logs where the service listens, with more attributes behind, and waits until
// everything in it has ended.
func (s *Service) Run(attrs ...any) error {
	if s.failed != nil {
		s.Go(func() error { return s.failed }) // ends the listeners that did open
		return s.wait()
	}
	s.log.Info("listening", append(s.addresses, attrs...)...)
	if err := s.wait(); err != nil {
		return err
	}
	s.log.Info("stopped")
	return nil
}

// wait gives what went wrong first, and in any case that requests are still running.
func (s *Service) wait() error {
	err := s.group.Wait()
	if s.running.Load() && !errors.Is(err, edge.ErrRunning) {
		err = errors.Join(err, edge.ErrRunning)
	}
	return err
}

// Close closes what requests use after a service has ended with err. Where requests are
// still running it leaves it to the end of the process: what is durable is durable.
func Close(err error, of io.Closer) error {
	if errors.Is(err, edge.ErrRunning) {
		return err
	}
	return errors.Join(err, of.Close())
}

// PebbleLog passes on what pebble complains of. Its info lines name files and
// sizes all day long; they are dropped.
type PebbleLog struct{ *slog.Logger }

// Infof drops.
func (PebbleLog) Infof(string, ...any) {}

// Errorf logs the format, and errors of the arguments: others can be keys of rows.
func (l PebbleLog) Errorf(format string, args ...any) {
	var causes []error
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			causes = append(causes, err)
		}
	}
	l.Error("pebble", "what", format, "cause", errors.Join(causes...))
}

// Fatalf logs and ends the process: pebble calls it when a write or sync has failed,
// and after that nobody knows what is on disk.
func (l PebbleLog) Fatalf(format string, args ...any) {
	l.Errorf(format, args...)
	os.Exit(1)
}
