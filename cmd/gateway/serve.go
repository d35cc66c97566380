// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/rest"
)

// serve runs a gateway until ctx ends.
func serve(ctx context.Context, args []string, stderr io.Writer) (err error) {
	fs := flags("serve")
	path := fs.String("config", "", "")
	if argument, err := parse(fs, args, usage, stderr); err != nil {
		return err
	} else if argument != "" || *path == "" {
		return usageError("serve vraagt -config BESTAND; gateway -h legt het uit")
	}
	config, err := gateway.LoadConfig(*path)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(stderr, nil))
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	g, err := gateway.Open(config, gateway.Options{Log: log, Metrics: metrics})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()

	apiListener, err := net.Listen("tcp", config.Listen)
	if err != nil {
		return err
	}
	metricsListener, err := net.Listen("tcp", config.Metrics)
	if err != nil {
		return errors.Join(err, apiListener.Close())
	}
	group, ctx := errgroup.WithContext(ctx)
	handler, err := rest.NewHandler(ctx, g, log)
	if err != nil {
		return errors.Join(err, apiListener.Close(), metricsListener.Close())
	}
	operations := edge.Router()
	operations.Handle("/metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{})).Methods(http.MethodGet)

	group.Go(func() error { return g.Run(ctx) })
	group.Go(func() error { return edge.Serve(ctx, &http.Server{Handler: handler}, apiListener) })
	group.Go(func() error { return edge.Serve(ctx, &http.Server{Handler: edge.Headers(operations)}, metricsListener) })
	group.Go(func() error { return reloadOnHangup(ctx, g, log) })
	if config.Public() {
		log.Warn("the API listens beyond this machine, without TLS; put a proxy with TLS before it", "listen", config.Listen)
	}
	log.Info("listening", "api", apiListener.Addr().String(), "metrics", metricsListener.Addr().String())
	err = group.Wait()
	log.Info("stopped")
	return err
}

func reloadOnHangup(ctx context.Context, g *gateway.Gateway, log *slog.Logger) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hangup:
			if err := g.Reload(); err != nil {
				log.Error("manifest and directory not reloaded", "cause", err.Error())
			} else {
				log.Info("reloaded")
			}
		}
	}
}
