// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/cmd/internal/command"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/rest"
	"github.com/seinhuis/seinhuis/logging"
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
	log := logging.New(stderr, slog.LevelInfo)
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	g, err := gateway.Open(config, gateway.Options{Log: log, Metrics: metrics})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()

	service, ctx := command.NewService(ctx, log)
	handler, err := rest.NewHandler(ctx, g, log)
	if err != nil {
		return err
	}
	operations := edge.Router()
	operations.Handle("/metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{})).Methods(http.MethodGet)
	service.Listen("api", config.Listen, handler, nil)
	service.Listen("metrics", config.Metrics, edge.Headers(operations), nil)
	service.Go(func() error { return g.Run(ctx) })
	service.OnHangup(func() ([]any, error) { return nil, g.Reload() })
	if config.Public() {
		log.Warn("the API listens beyond this machine, without TLS; put a proxy with TLS before it", "listen", config.Listen)
	}
	return service.Run()
}
