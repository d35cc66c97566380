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
	manifestVersion  prometheus.Gauge
	manifestEnds     prometheus.Gauge
	directoryVersion prometheus.Gauge
	rootsRefused     prometheus.Counter
	deliveries       *prometheus.CounterVec // kind of target, result
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
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "seinhuis", Subsystem: "gateway", Name: name, Help: help})
		reg.MustRegister(g)
		return g
	}
	m := &metrics{
		accepted:         counters("jobs_accepted_total", "Jobs taken on, by kind.", "kind"),
		done:             counters("jobs_done_total", "Jobs done, by kind and outcome.", "kind", "outcome"),
		evaluatorFaults:  counters("evaluator_faults_total", "Answers of an evaluator that were not used, by its index and the reason.", "evaluator", "reason"),
		evaluations:      counter("evaluations_total", "Identities evaluated, per epoch."),
		registryFaults:   counters("registry_faults_total", "Submissions that the registry did not take, by code.", "code"),
		receiptsRefused:  counter("receipts_refused_total", "Receipts that did not verify. Any is an alarm."),
		events:           counters("events_total", "Events kept in the inbox, by kind.", "kind"),
		eventProblems:    counters("event_problems_total", "Events that did not verify, by problem. Any is an alarm.", "problem"),
		feedFaults:       counters("feed_faults_total", "Polls of a feed that failed, by code.", "code"),
		manifestVersion:  gauge("manifest_version", "Version of the manifest in use."),
		manifestEnds:     gauge("manifest_not_after_seconds", "Until when the manifest is in force, in Unix time."),
		directoryVersion: gauge("directory_version", "Version of the directory in use."),
		deliveries:       counters("deliveries_total", "Attempts to send a message on, by kind of target and result.", "kind", "result"),
		rootsRefused:     counter("roots_refused_total", "Manifests and directories fetched and refused. Any is an alarm."),
	}
	m.queue = prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "seinhuis", Subsystem: "gateway", Name: "queue_jobs",
		Help: "Jobs in the queue, by kind."}, []string{"kind"})
	reg.MustRegister(m.queue)
	return m
}
