// SPDX-License-Identifier: EUPL-1.2

package evaluation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/evaluator"
)

// What became of a checkpoint: cosigned, or the reason why not.
const (
	cosigned  = "cosigned"
	size      = "size" // another one was cosigned last: a registry that begins asks so
	forked    = "forked"
	proof     = "proof"
	signature = "signature"
	unknown   = "log"
	request   = "malformed"
	failed    = "fault"
)

func newAsked(reg prometheus.Registerer) *prometheus.CounterVec {
	asked := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "seinhuis_evaluator_checkpoints_total", Help: "Checkpoints of the registry's log that this evaluator was asked to cosign, by what became of them.",
	}, []string{"outcome"})
	for _, outcome := range []string{cosigned, size, forked, proof, signature, unknown, request, failed} {
		asked.WithLabelValues(outcome)
	}
	reg.MustRegister(asked)
	return asked
}

// witnesses tells whether this evaluator cosigns with the key that the manifest in force
// names, and whether it names any.
func (s *Server) witnesses() (is, named bool) {
	vkey := s.evaluator.Self().Witness
	return s.Witness != nil && s.Witness.Named(vkey), vkey != ""
}

// AddCheckpoint answers the registry as a witness.
func (o operations) AddCheckpoint(_ context.Context, r AddCheckpointRequestObject) (AddCheckpointResponseObject, error) {
	log := o.evaluator.Manifest().Registry.Log
	if o.Witness == nil || log == "" {
		o.asked.WithLabelValues(unknown).Inc()
		return nil, api.Refuse(api.CodeUnknownLog, nil)
	}
	line, err := o.Witness.Add(log, []byte(*r.Body))
	outcome, code := witnessed(err)
	o.asked.WithLabelValues(outcome).Inc()
	other, sized := errors.AsType[*evaluator.SizeError](err)
	switch {
	case outcome == forked:
		o.log.Error("log forked", "cause", err)
	case err != nil && outcome != size:
		o.log.Warn("checkpoint not cosigned", "reason", outcome, "cause", err)
	}
	switch {
	case sized:
		text := fmt.Sprintf("%d\n", other.Size)
		return AddCheckpoint409TextxTlogSizeResponse{Body: strings.NewReader(text), ContentLength: int64(len(text))}, nil
	case err != nil:
		return nil, api.Refuse(code, err)
	}
	return AddCheckpoint200TextplainCharsetUtf8Response{Body: bytes.NewReader(line), ContentLength: int64(len(line))}, nil
}

func witnessed(err error) (outcome string, code api.Code) {
	other, sized := errors.AsType[*evaluator.SizeError](err)
	switch {
	case err == nil:
		return cosigned, ""
	case sized && other.Forked:
		return forked, ""
	case sized:
		return size, ""
	case errors.Is(err, evaluator.ErrProof):
		return proof, api.CodeConsistency
	case errors.Is(err, evaluator.ErrLogSignature):
		return signature, api.CodeLogSignature
	case errors.Is(err, evaluator.ErrLog):
		return unknown, api.CodeUnknownLog
	case errors.Is(err, audit.ErrAdd), errors.Is(err, audit.ErrCheckpoint):
		return request, api.CodeMalformed
	}
	return failed, api.CodeInternal
}

// ReadCosigned tells what this evaluator has cosigned last.
func (o operations) ReadCosigned(context.Context, ReadCosignedRequestObject) (ReadCosignedResponseObject, error) {
	log := o.evaluator.Manifest().Registry.Log
	if o.Witness == nil || log == "" {
		return nil, api.Refuse(api.CodeUnknownLog, nil)
	}
	latest, err := o.Witness.Latest(log)
	switch {
	case err != nil:
		return nil, api.Refuse(api.CodeInternal, err)
	case latest == nil:
		return nil, api.Refuse(api.CodeUnknownLog, nil)
	}
	return ReadCosigned200TextplainCharsetUtf8Response{Body: bytes.NewReader(latest), ContentLength: int64(len(latest))}, nil
}
