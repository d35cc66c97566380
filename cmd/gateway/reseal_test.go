// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/gateway"
)

// TestStorageKeyIsRenewed is docs/operations.md's renewal by the program itself: the gateway
// moves its rows while it serves, and then needs the newest generation alone.
func TestStorageKeyIsRenewed(t *testing.T) {
	c := serveWorld(t, 0)
	var config gateway.Config
	text, err := os.ReadFile(c.config)
	if err == nil {
		err = json.Unmarshal(text, &config)
	}
	if err != nil {
		t.Fatal(err)
	}
	do := func(args ...string) {
		t.Helper()
		var out, errs bytes.Buffer
		if err := run(t.Context(), args, strings.NewReader(""), &out, &errs); err != nil {
			t.Fatalf("%v: %v: %s", args, err, errs.String())
		}
	}
	again := func() {
		t.Helper()
		if err := c.stop(); err != nil {
			t.Fatal(err)
		}
		c.log = &output{listening: make(chan map[string]string, 1)}
		c.serve(t)
	}
	signalled := func(want string) {
		t.Helper()
		if out, errs, exit := c.call(0, number+"\n", signalArgs()...); exit != 0 || !strings.Contains(out, want) {
			t.Fatalf("exit %d, want %q: %s%s", exit, want, out, errs)
		}
	}
	signalled("Geregistreerd")
	do("keys", "renew", "-file", config.StorageKey)
	again()
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(c.log.String(), `"rows under the newest key"`); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the rows are not sealed anew: %s", c.log)
		}
	}
	do("keys", "newest", "-file", config.StorageKey)
	again()
	signalled("Samengevoegd")
}
