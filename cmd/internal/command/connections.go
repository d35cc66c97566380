// SPDX-License-Identifier: EUPL-1.2

package command

import (
	"net"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seinhuis/seinhuis/api/edge"
)

// How many connections a listener has open. One costs up to some fifty kilobytes and a file
// descriptor; a gateway has one at a time with each server for each of its parties.
var (
	// Users is for a party's own users and systems, who may all come from one address.
	Users = edge.Connections{Most: 4096}
	// Few is for monitoring.
	Few = edge.Connections{Most: 64}

	parties = edge.Connections{Most: 8192, PerAddress: 1024}
	anybody = edge.Connections{Most: 1024, PerAddress: 64}
)

// Caps are how many connections a configuration wants for each listener, where it says so.
type Caps struct {
	Parties edge.Connections `json:"parties,omitzero"`
	Public  edge.Connections `json:"public,omitzero"`
}

// most is what the front has of connections. All that comes through a proxy comes from one
// address, and there it is the proxy that keeps clients apart, unless it is said otherwise.
func (f *Front) most(said, c edge.Connections) edge.Connections {
	if said != (edge.Connections{}) {
		return said
	}
	if f.Proxy.Local || len(f.Proxy.Keys) > 0 {
		c.PerAddress = 0
	}
	return c
}

var (
	connectionsOpen    = prometheus.NewDesc("seinhuis_connections_open", "Connections that are open, by listener.", []string{"listener"}, nil)
	connectionsRefused = prometheus.NewDesc("seinhuis_connections_refused_total",
		"Connections that were one too many, in all or of their address, by listener.", []string{"listener"}, nil)
)

// listeners are those of a service, by name. All are there before they are measured.
type listeners map[string]*edge.Limited

// Limit limits a listener that the service does not serve by itself; it is measured too.
func (s *Service) Limit(name string, ln net.Listener, most edge.Connections) net.Listener {
	return s.listeners.limit(name, ln, most)
}

func (l *listeners) limit(name string, ln net.Listener, most edge.Connections) net.Listener {
	if *l == nil {
		*l = listeners{}
	}
	limited := edge.Limit(ln, most)
	(*l)[name] = limited
	return limited
}

// MeasureConnections registers what there is of connections, when all listeners are there.
func (s *Service) MeasureConnections(metrics prometheus.Registerer) {
	metrics.MustRegister(s.listeners)
}

// Describe is of prometheus.Collector.
func (l listeners) Describe(to chan<- *prometheus.Desc) {
	to <- connectionsOpen
	to <- connectionsRefused
}

// Collect is of prometheus.Collector.
func (l listeners) Collect(to chan<- prometheus.Metric) {
	for name, ln := range l {
		to <- prometheus.MustNewConstMetric(connectionsOpen, prometheus.GaugeValue, float64(ln.Open()), name)
		to <- prometheus.MustNewConstMetric(connectionsRefused, prometheus.CounterValue, float64(ln.Refused()), name)
	}
}
