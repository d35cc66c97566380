// SPDX-License-Identifier: EUPL-1.2

package command

import (
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/disk"
	"github.com/seinhuis/seinhuis/manifest"
)

// roots measures the root of trust at the moment that somebody asks.
type roots struct {
	now     func() time.Time
	current func() (*manifest.Manifest, *manifest.Directory)
}

var (
	manifestVersion  = prometheus.NewDesc("seinhuis_manifest_version", "Version of the manifest in use.", nil, nil)
	manifestEnds     = prometheus.NewDesc("seinhuis_manifest_not_after_seconds", "Until when the manifest is in force, in seconds since 1970.", nil, nil)
	directoryVersion = prometheus.NewDesc("seinhuis_directory_version", "Version of the directory in use.", nil, nil)
	directoryEnds    = prometheus.NewDesc("seinhuis_directory_not_after_seconds", "Until when the directory is in force, in seconds since 1970.", nil, nil)
	cohortMissing    = prometheus.NewDesc("seinhuis_next_cohort_missing",
		"1 from 1 November on while the manifest has no key for those born next year, in some open epoch; 0 otherwise.", nil, nil)
)

// Measure registers what every part measures alike: what it is, and the manifest and
// directory that it goes by; current may give nil for either.
func Measure(metrics prometheus.Registerer, part string, now func() time.Time, current func() (*manifest.Manifest, *manifest.Directory)) {
	metrics.MustRegister(roots{now, current}, newBuild(part))
}

// Describe is of prometheus.Collector.
func (r roots) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{manifestVersion, manifestEnds, directoryVersion, directoryEnds, cohortMissing} {
		to <- d
	}
}

// Collect is of prometheus.Collector.
func (r roots) Collect(to chan<- prometheus.Metric) {
	m, d := r.current()
	gauge := func(desc *prometheus.Desc, value float64) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value)
	}
	if m != nil {
		gauge(manifestVersion, float64(m.Version))
		gauge(manifestEnds, float64(m.NotAfter.Unix()))
		missing := 0.0
		if m.LacksNextCohort(r.now()) {
			missing = 1
		}
		gauge(cohortMissing, missing)
	}
	if d != nil {
		gauge(directoryVersion, float64(d.Version))
		gauge(directoryEnds, float64(d.NotAfter.Unix()))
	}
}

// remindEvery is how often the log tells again that the next cohort is missing.
const remindEvery = 24 * time.Hour

// RemindOfCohort logs, once a day, that from 1 January on newborns could not be signalled,
// as long as that is so.
func (s *Service) RemindOfCohort(now func() time.Time, current func() (*manifest.Manifest, *manifest.Directory)) {
	remind := func() {
		if m, _ := current(); m != nil && m.LacksNextCohort(now()) {
			s.log.Error("next cohort missing", "cohort", now().In(encoding.Amsterdam).Year()+1)
		}
	}
	s.Go(func() error {
		tick := time.NewTicker(remindEvery)
		defer tick.Stop()
		for remind(); ; remind() {
			select {
			case <-tick.C:
			case <-s.ctx.Done():
				return nil
			}
		}
	})
}

// MeasureDisk registers the room on the disk that something of a part is on.
func MeasureDisk(metrics prometheus.Registerer, part, what string, watch *disk.Watch) {
	metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "seinhuis_" + part + "_disk_free_bytes", Help: "The room on the disk of the " + what + ", besides the ballast.",
	}, func() float64 { return float64(watch.Free()) }))
}

func newBuild(part string) prometheus.Collector {
	version, revision, goversion := "unknown", "unknown", "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		version, goversion = info.Main.Version, info.GoVersion
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "seinhuis_build_info", Help: "1, with what runs in the labels.",
		ConstLabels: prometheus.Labels{"part": part, "version": version, "revision": revision, "goversion": goversion},
	})
	build.Set(1)
	return build
}
