// SPDX-License-Identifier: EUPL-1.2

package gateway

import "github.com/prometheus/client_golang/prometheus"

// metrics count; no label can hold anything of a child, a professional or a case.
type metrics struct {
	queue            *prometheus.GaugeVec   // kind
	accepted         *prometheus.CounterVec // kind: jobs taken on
	done             *prometheus.CounterVec // kind, outcome
	evaluatorFaults  *prometheus.CounterVec // evaluator (its index), reason
	evaluations      prometheus.Counter
	registryFaults   *prometheus.CounterVec // code
	receiptsRefused  prometheus.Counter
	events           *prometheus.CounterVec // kind
	eventProblems    *prometheus.CounterVec // problem
	feedFaults       *prometheus.CounterVec // code
	rootsRefused     prometheus.Counter
	leavesLost       prometheus.Counter
	storageBehind    prometheus.Gauge
	jobSeconds       *prometheus.HistogramVec // kind: from acceptance to receipt
	evaluatorSeconds *prometheus.HistogramVec // evaluator (its index)
	registrySeconds  *prometheus.HistogramVec // what
	deliveries       *prometheus.CounterVec   // kind of target, result
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "seinhuis", Subsystem: "gateway", Name: name, Help: help})
		reg.MustRegister(c)
		return c
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "seinhuis", Subsystem: "gateway", Name: name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	histograms := func(name, help string, from float64, n int, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "seinhuis", Subsystem: "gateway", Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(from, 2, n),
		}, labels)
		reg.MustRegister(h)
		return h
	}
	m := &metrics{
		// From 10 ms to twelve days: a job may wait for a budget or for the registry.
		jobSeconds:       histograms("job_seconds", "Time from taking a job on to its receipt, by kind; signals of an import apart.", 0.01, 28, "kind"),
		evaluatorSeconds: histograms("evaluator_seconds", "Time an evaluator took for an answer that was used, by its index.", 0.001, 14, "evaluator"),
		registrySeconds:  histograms("registry_seconds", "Time the registry took for an answer, by what was sent.", 0.001, 16, "what"),
		accepted:         counters("jobs_accepted_total", "Jobs taken on, by kind.", "kind"),
		done:             counters("jobs_done_total", "Jobs done, by kind and outcome.", "kind", "outcome"),
		evaluatorFaults:  counters("evaluator_faults_total", "Answers of an evaluator that were not used, by its index and the reason.", "evaluator", "reason"),
		evaluations:      counter("evaluations_total", "Identities evaluated, per epoch."),
		registryFaults:   counters("registry_faults_total", "Submissions that the registry did not take, by code.", "code"),
		receiptsRefused:  counter("receipts_refused_total", "Receipts that did not verify. Any is an alarm."),
		events:           counters("events_total", "Events kept in the inbox, by kind.", "kind"),
		eventProblems:    counters("event_problems_total", "Events that did not verify, by problem. Any is an alarm.", "problem"),
		feedFaults:       counters("feed_faults_total", "Polls of a feed that failed, by code.", "code"),
		deliveries:       counters("deliveries_total", "Attempts to send a message on, by kind of target and result.", "kind", "result"),
		rootsRefused:     counter("roots_refused_total", "Manifests and directories fetched and refused. Any is an alarm."),
		leavesLost:       counter("log_lost_leaves_total", "Leaves of receipts that were given up because the registry was restored."),
	}
	m.queue = prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "seinhuis", Subsystem: "gateway", Name: "queue_jobs",
		Help: "Jobs in the queue, by kind."}, []string{"kind"})
	m.storageBehind = prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "seinhuis", Subsystem: "gateway", Name: "storage_key_behind",
		Help: "1 while rows may lie under an older generation of the storage key, 0 when none does."})
	reg.MustRegister(m.queue, m.storageBehind)
	return m
}
