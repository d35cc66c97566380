// SPDX-License-Identifier: EUPL-1.2

package exchange

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/matcher"
)

// metrics of the registry. Labels are a fixed list of words: no party, no signal,
// nothing that grows with use.
type metrics struct {
	changes   *prometheus.CounterVec
	latency   *prometheus.HistogramVec
	requests  *prometheus.HistogramVec
	delivered prometheus.Counter
	polls     prometheus.Gauge
	swept     prometheus.Counter
	behind    prometheus.Gauge
}

func newMetrics(reg *prometheus.Registry) *metrics {
	m := &metrics{
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "seinhuis_registry_changes_total", Help: "Statements and acts, by what became of them.",
		}, []string{"what", "outcome"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "seinhuis_registry_change_seconds", Help: "Time from a decoded request to a durable answer.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}, []string{"what"}),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "seinhuis_registry_request_seconds", Help: "Time from an admitted request to its answer, by operation; reading events without the wait for them.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}, []string{"operation"}),
		delivered: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "seinhuis_registry_events_delivered_total", Help: "Events handed to parties, repeats included.",
		}),
		polls: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "seinhuis_registry_polls", Help: "Feeds being read at this moment.",
		}),
		behind: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "seinhuis_registry_row_key_behind",
			Help: "1 as long as rows may lie under an older generation of the row key, 0 when the store needs the newest alone.",
		}),
		swept: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "seinhuis_registry_swept_total", Help: "Children under whom the sweep ended signals.",
		}),
	}
	reg.MustRegister(m.changes, m.latency, m.requests, m.delivered, m.polls, m.swept, m.behind,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// registerReadOnly has a gauge for each reason to be read-only.
func registerReadOnly(reg *prometheus.Registry, r *matcher.ReadOnly) {
	for _, reason := range matcher.Reasons {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "seinhuis_registry_read_only", Help: "1 while the registry takes no signals and answers for a reason, but withdrawals.",
			ConstLabels: prometheus.Labels{"reason": string(reason)},
		}, func() float64 {
			if slices.Contains(r.Why(), reason) {
				return 1
			}
			return 0
		}))
	}
}

func (m *metrics) observe(what string, created bool, err error, took time.Duration) {
	outcome := "repeated"
	switch {
	case err != nil:
		outcome = string(api.CodeOf(err))
	case created:
		outcome = "done"
	}
	m.changes.WithLabelValues(what, outcome).Inc()
	m.latency.WithLabelValues(what).Observe(took.Seconds())
}

// Swept counts what the sweep has visited.
func (s *Server) Swept(n int) { s.metrics.swept.Add(float64(n)) }

// timed measures every operation but those that wait for something to happen.
func (m *metrics) timed(next StrictHandlerFunc, operation string) StrictHandlerFunc {
	return func(ctx context.Context, w http.ResponseWriter, r *http.Request, request any) (any, error) {
		if events, ok := request.(ReadEventsRequestObject); ok && events.Params.Wait > 0 {
			return next(ctx, w, r, request)
		}
		start := time.Now()
		defer func() { m.requests.WithLabelValues(operation).Observe(time.Since(start).Seconds()) }()
		return next(ctx, w, r, request)
	}
}

// RowsBehind says whether rows may lie under an older generation of the row key.
func (s *Server) RowsBehind(behind bool) {
	value := 0.0
	if behind {
		value = 1
	}
	s.metrics.behind.Set(value)
}
