// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"bytes"
	"testing"
)

// What was evaluated is nowhere in a batch that is done with.
func TestBatchForgets(t *testing.T) {
	y := [][]byte{bytes.Repeat([]byte{1}, 64), bytes.Repeat([]byte{2}, 64)}
	b := &cohortBatch{evaluations: []*evaluation{{outputs: y[:1]}, {outputs: y[1:]}}}
	b.forget()
	for _, one := range y {
		if !bytes.Equal(one, make([]byte, 64)) {
			t.Error("an output is still there")
		}
	}
}
