// SPDX-License-Identifier: EUPL-1.2

package command

import (
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/logging"
)

// A Kept is a certificate that a service takes over when its files change.
type Kept struct {
	Use   string // what it is for, in log and metrics: exchange, api, client
	Party string // whose it is, at a gateway, for the log; or empty
	Pair  *keys.Pair
	// Load reads the files, as keys.Pair does.
	Load func() (changed bool, err error)
}

// lookEvery is how often files of certificates are looked at without a SIGHUP.
const lookEvery = 10 * time.Second

var (
	certificateEnds = prometheus.NewDesc("seinhuis_certificate_not_after_seconds",
		"When the first certificate of a use ends, in seconds since 1970.", []string{"use"}, nil)
	certificateRefused = prometheus.NewDesc("seinhuis_certificate_refused",
		"Certificates whose files hold something else than what is in use, which is refused.", []string{"use"}, nil)
)

// certificates are those that a service keeps, and what was last refused of each.
type certificates struct {
	kept []Kept

	mu      sync.Mutex
	refused map[int]string // by place in kept
}

// KeepCertificates takes over certificates when their files change, by itself and at
// every SIGHUP. What is half written, or does not fit, is refused once in the log and
// all the while in the metrics; meanwhile the certificate of before serves.
func (s *Service) KeepCertificates(metrics prometheus.Registerer, kept ...Kept) {
	s.certificates.kept, s.certificates.refused = kept, map[int]string{}
	metrics.MustRegister(&s.certificates)
	s.Go(func() error {
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.certificates.read(s.log)
			case <-s.ctx.Done():
				return nil
			}
		}
	})
}

func (c *certificates) read(log *slog.Logger) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, k := range c.kept {
		changed, err := k.Load()
		why := logging.Cause(err)
		if err != nil && why != c.refused[i] {
			log.Error("certificate refused", "use", k.Use, "party", k.Party, "cause", err)
		}
		c.refused[i] = why
		if changed {
			log.Info("certificate replaced", "use", k.Use, "party", k.Party)
		}
	}
}

// Describe is of prometheus.Collector.
func (c *certificates) Describe(to chan<- *prometheus.Desc) {
	to <- certificateEnds
	to <- certificateRefused
}

// Collect is of prometheus.Collector.
func (c *certificates) Collect(to chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ends, refused := map[string]int64{}, map[string]int{}
	for i, k := range c.kept {
		if end := k.Pair.Leaf().NotAfter.Unix(); ends[k.Use] == 0 || end < ends[k.Use] {
			ends[k.Use] = end
		}
		if c.refused[i] != "" {
			refused[k.Use]++
		}
	}
	for use, end := range ends {
		to <- prometheus.MustNewConstMetric(certificateEnds, prometheus.GaugeValue, float64(end), use)
		to <- prometheus.MustNewConstMetric(certificateRefused, prometheus.GaugeValue, float64(refused[use]), use)
	}
}
