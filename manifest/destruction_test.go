// SPDX-License-Identifier: EUPL-1.2

package manifest

import (
	"testing"
	"time"
)

func TestHasGrown(t *testing.T) {
	midnight := time.Date(2035, 12, 31, 23, 0, 0, 0, time.UTC) // in Amsterdam
	if HasGrown(2012, midnight.Add(-time.Second)) || !HasGrown(2012, midnight) || HasGrown(2013, midnight) {
		t.Error("a cohort has grown up on 1 January of its birth year + 24, in Amsterdam")
	}
}
