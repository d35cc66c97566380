// SPDX-License-Identifier: EUPL-1.2

package matcher

// SetRebuildBatch sets how much of a rebuild becomes durable at once, and gives what
// sets it back.
func SetRebuildBatch(idxs int) (restore func()) {
	was := rebuildBatch
	rebuildBatch = idxs
	return func() { rebuildBatch = was }
}

// SetSweepBatch sets how many signals a sweep ends at once, and gives what sets it back.
func SetSweepBatch(signals int) (restore func()) {
	was := sweepBatch
	sweepBatch = signals
	return func() { sweepBatch = was }
}
