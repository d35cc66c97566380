// SPDX-License-Identifier: EUPL-1.2

package matcher

// SetRebuildBatch sets how much of a rebuild becomes durable at once, and gives what
// sets it back.
func SetRebuildBatch(idxs int) (restore func()) {
	was := rebuildBatch
	rebuildBatch = idxs
	return func() { rebuildBatch = was }
}
