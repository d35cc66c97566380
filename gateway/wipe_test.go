// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"bytes"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/crypto/oprf"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
)

// What was evaluated is wiped when a signal has been made of it.
func TestOutputsAreWiped(t *testing.T) {
	w := gatewaytest.New(t, 1)
	w.OpenEpoch(2)
	w.Publish()
	h := w.OpenOn(vfs.NewMem(), 0)
	defer h.Gateway.Close()
	_, err := h.Of(0).Signal(child(1), terms("jansen", "A-1"))
	fatal(t, err)
	jobs, err := h.Of(0).Jobs()
	fatal(t, err)
	were, are, err := h.Of(0).PrepareWatched(t.Context(), jobs[0])
	fatal(t, err)
	if len(were) != 2 {
		t.Fatalf("%d outputs, want one of each epoch", len(were))
	}
	for i := range were {
		if len(were[i]) != oprf.OutputSize || bytes.Equal(were[i], make([]byte, len(were[i]))) {
			t.Error("there was nothing to wipe")
		}
		if !bytes.Equal(are[i], make([]byte, len(were[i]))) {
			t.Error("an output is left")
		}
	}
	if jobs, err = h.Of(0).Jobs(); err != nil || len(jobs) != 1 || jobs[0].Prepared == nil {
		t.Errorf("no signal was made of it (%v)", err)
	}
}
