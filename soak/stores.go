// SPDX-License-Identifier: EUPL-1.2

package soak

import (
	"flag"
	"path/filepath"
	"testing"
)

var writeStore = flag.String("store", "", "write the store of this version, for later versions to open")

// Stores is row 13: it opens the database that each earlier version of a part left in
// testdata/stores/VERSION/PART, and adds up how many rows it finds in them. A package
// stands one folder under the repository's. A release adds its own store:
//
//	go test ./PACKAGE -run Row13 -store VERSION
func Stores(t *testing.T, part, fault string, write func(t *testing.T, folder string), open func(t *testing.T, folder string) (rows int)) {
	t.Helper()
	in := func(version string) string { return filepath.Join("..", "testdata", "stores", version, part) }
	if *writeStore != "" {
		write(t, in(*writeStore))
	}
	folders, err := filepath.Glob(in("*"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("no stores of an earlier %s: %v", part, err)
	}
	Row(t, 13, fault, 1, func(t *testing.T, _ uint64) Found {
		found := Found{"stores": len(folders)}
		for _, folder := range folders {
			found["rows"] += open(t, folder)
		}
		return found
	})
}
