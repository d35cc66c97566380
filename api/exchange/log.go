// SPDX-License-Identifier: EUPL-1.2

package exchange

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/api/edge"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/registry/sequencer"
)

const (
	// logEvery is how often leaves get their numbers: well within the minute that parties
	// are promised.
	logEvery = 5 * time.Second
	// logLate is after how long without a new checkpoint somebody has to look.
	logLate = 10 * time.Minute
)

// KeepLog keeps the log until ctx ends. What keeps a checkpoint from being published is
// logged when it begins, and does not keep the registry from taking signals.
func (s *Server) KeepLog(ctx context.Context) error {
	tick := time.NewTicker(logEvery)
	defer tick.Stop()
	told := ""
	for {
		err := s.Sequencer.Step(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, registry.ErrCorrupt):
			return err
		case err == nil && told != "":
			told = ""
			s.Log.Info("log goes on")
		case err != nil && err.Error() != told:
			told = err.Error()
			s.Log.Error("log stopped", "cause", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// logCollector measures the log.
type logCollector struct{ s *Server }

var (
	logLeaves = prometheus.NewDesc("seinhuis_registry_log_leaves",
		"Leaves in the log, whose hashes never go.", nil, nil)
	logPublished = prometheus.NewDesc("seinhuis_registry_log_published_leaves",
		"Leaves in the last checkpoint of the log that enough witnesses have cosigned.", nil, nil)
	logAt = prometheus.NewDesc("seinhuis_registry_log_published_timestamp_seconds",
		"When that was published; absent before the first.", nil, nil)
)

func (l logCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{logLeaves, logPublished, logAt} {
		to <- d
	}
}

func (l logCollector) Collect(to chan<- prometheus.Metric) {
	if l.s.Sequencer == nil {
		return
	}
	gauge := func(desc *prometheus.Desc, value float64) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value)
	}
	if size, err := l.s.Matcher.Store.Logged(context.Background()); err == nil {
		gauge(logLeaves, float64(size))
	}
	state := l.s.Sequencer.State()
	gauge(logPublished, float64(state.Size))
	if !state.At.IsZero() {
		gauge(logAt, float64(state.At.Unix()))
	}
}

// addLog adds how the log does to the health. Nothing of it keeps signals out: a child is
// not helped by that.
func (s *Server) addLog(h *edge.Health) {
	if s.Sequencer == nil {
		h.Add("log", edge.PartMissing, edge.HealthWarning)
		return
	}
	state := s.Sequencer.State()
	switch {
	case errors.Is(state.Fault, registry.ErrLogBehind), errors.Is(state.Fault, registry.ErrLogForked):
		h.Add("log", edge.PartOther, edge.HealthWarning)
	case state.At.IsZero() && state.Fault == nil: // at the start
		h.Add("log", edge.PartOK, edge.HealthOK)
	case s.Matcher.Now().Sub(state.At) > logLate:
		h.Add("log", edge.PartLate, edge.HealthWarning)
	default:
		h.Add("log", edge.PartOK, edge.HealthOK)
	}
}

var errUnpublished = errors.New("exchange: no checkpoint of the log is published yet")

// log is the sequencer, where there is one.
func (s *Server) log() (*sequencer.Sequencer, error) {
	if s.Sequencer == nil {
		return nil, api.Refuse(api.CodeUnavailable, errUnpublished)
	}
	return s.Sequencer, nil
}

// ReadCheckpoint gives the last checkpoint that enough witnesses have cosigned.
func (o operations) ReadCheckpoint(context.Context, ReadCheckpointRequestObject) (ReadCheckpointResponseObject, error) {
	log, err := o.log()
	if err != nil {
		return nil, err
	}
	text := log.Published()
	if text == nil {
		return nil, api.Refuse(api.CodeUnavailable, errUnpublished)
	}
	return ReadCheckpoint200TextplainCharsetUtf8Response{Body: bytes.NewReader(text), ContentLength: int64(len(text))}, nil
}

// ProveConsistency proves that nothing of the log has changed from one size to another.
func (o operations) ProveConsistency(ctx context.Context, r ProveConsistencyRequestObject) (ProveConsistencyResponseObject, error) {
	log, err := o.log()
	if err != nil {
		return nil, err
	}
	proof, err := log.Consistency(ctx, r.Params.From, r.Params.To)
	if err != nil {
		return nil, unpublished(err)
	}
	return ProveConsistency200JSONResponse{Body: api.LogConsistency{Hashes: hashes(proof)}}, nil
}

// ProveInclusion proves where leaves are in the log.
func (o operations) ProveInclusion(ctx context.Context, r ProveInclusionRequestObject) (ProveInclusionResponseObject, error) {
	log, err := o.log()
	if err != nil {
		return nil, err
	}
	proofs := api.LogProofs{Items: []api.LogProof{}}
	for _, leaf := range r.Body.Leaves {
		in, ok, err := log.Inclusion(ctx, r.Body.Size, leaf)
		if err != nil {
			return nil, unpublished(err)
		}
		if ok {
			proofs.Items = append(proofs.Items, api.LogProof{Leaf: leaf, Number: in.Number, Hashes: hashes(in.Proof)})
		}
	}
	return ProveInclusion200JSONResponse{Body: proofs}, nil
}

func unpublished(err error) error {
	if errors.Is(err, sequencer.ErrSize) {
		return api.Refuse(api.CodeMalformed, err)
	}
	return err
}

func hashes(proof []tlog.Hash) []api.Hash {
	list := make([]api.Hash, len(proof))
	for i, h := range proof {
		list[i] = api.Hash(h)
	}
	return list
}
