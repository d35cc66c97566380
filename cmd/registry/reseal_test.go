// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/seinhuis/seinhuis/matcher"
)

// TestRowKeyIsRenewed is docs/operations.md's renewal by the program itself: a backup of
// before can be put back as long as the generation of before is there, and no longer.
func TestRowKeyIsRenewed(t *testing.T) {
	o := newOperator(t, 2)
	o.configure("journal")
	o.inside(func(m *matcher.Matcher) { o.signal(m, 0, 1); o.signal(m, 1, 1) })
	config, file := filepath.Join(o.folder, "registry.json"), filepath.Join(o.folder, "keys", "registry.keys")
	do := func(want string, args ...string) {
		t.Helper()
		if out, stderr, err := o.try(args...); err != nil || !strings.Contains(out, want) {
			t.Fatalf("%v: %v: %s%s", args, err, out, stderr)
		}
	}
	do(`"files":`, "backup", "-config", config, "-to", filepath.Join(o.folder, "before"))
	do("", "keys", "renew", "-file", file)
	do(`"differences":0`, "check", "-config", config)
	served := func() {
		t.Helper()
		s := o.serve()
		s.await("rows under the newest key")
		s.stop()
	}
	served()
	o.remove("data")
	do(`"incarnation":`, "restore", "-config", config, "-from", filepath.Join(o.folder, "before"))
	served()
	do(`"files":`, "backup", "-config", config, "-to", filepath.Join(o.folder, "after"))
	do("", "keys", "newest", "-file", file)
	o.remove("data")
	if out, stderr, err := o.try("restore", "-config", config, "-from", filepath.Join(o.folder, "before")); err == nil {
		t.Errorf("a backup of before is put back without its generation: %s%s", out, stderr)
	}
}
