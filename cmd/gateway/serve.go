// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/cmd/internal/command"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/rest"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/logging"
)

// disk is what the store lies on; nil is the machine's. A test puts a bad one there.
var disk vfs.FS

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
	g, err := gateway.Open(config, gateway.Options{Log: log, Metrics: metrics, FS: disk})
	if err != nil {
		return err
	}
	defer func() { err = command.Close(err, g) }()

	service, ctx := command.NewService(ctx, log)
	handler, err := rest.NewHandler(ctx, g, log)
	if err != nil {
		return err
	}
	operations := edge.Router()
	operations.Handle("/metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{})).Methods(http.MethodGet)
	handler, secured, kept, err := front(config, g, handler)
	if err != nil {
		return err
	}
	service.Listen("api", config.Listen, handler, secured, cmp.Or(config.Connections, command.Users))
	service.Listen("metrics", config.Metrics, edge.Headers(operations), nil, command.Few)
	service.Go(func() error { return g.Run(ctx) })
	service.OnHangup(func() ([]any, error) { return nil, g.Reload() })
	command.Measure(metrics, "gateway", time.Now, g.Roots)
	service.MeasureConnections(metrics)
	service.RemindOfCohort(time.Now, g.Roots)
	service.KeepCertificates(metrics, kept...)
	return service.Run()
}

// front puts before the API what the configuration says: TLS here, or proxies in front.
func front(c gateway.Config, g *gateway.Gateway, api http.Handler) (http.Handler, *tls.Config, []command.Kept, error) {
	var kept []command.Kept
	for _, p := range g.Parties() {
		kept = append(kept, command.Kept{Use: "client", Party: string(p.ID()), Pair: p.Certificate(), Load: p.LoadCertificate})
	}
	proxies, err := edge.ParseProxies(c.Proxies)
	if err != nil {
		return nil, nil, nil, err
	}
	forwarding := edge.Forwarding{Proxies: proxies}
	var secured *tls.Config
	if c.TLS.Cert != "" {
		pair := &keys.Pair{Cert: c.TLS.Cert, Key: c.TLS.Key, Safe: g.Safe()}
		load := func() (bool, error) { return pair.Load(nil) }
		if _, err := load(); err != nil {
			return nil, nil, nil, err
		}
		secured = edge.PublicTLS(pair.Current)
		kept = append(kept, command.Kept{Use: "api", Pair: pair, Load: load})
	} else if c.Public() {
		forwarding.Demand, forwarding.Open = rest.DemandTLS, []string{"/health"}
	}
	return c.Security.Handler(time.Now, edge.Headers(forwarding.Handler(api))), secured, kept, nil
}
