// SPDX-License-Identifier: EUPL-1.2

package seinhuis_test

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// A planted fault that no longer applies shows nothing, and make mutants runs seldom.
func TestPlantedFaultsApply(t *testing.T) {
	patches, err := filepath.Glob("mutants/*.patch")
	if err != nil || len(patches) == 0 {
		t.Fatalf("there are %d (%v)", len(patches), err)
	}
	for _, patch := range patches {
		if out, err := exec.Command("git", "apply", "--check", "-C1", patch).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", patch, err, out)
		}
	}
}
