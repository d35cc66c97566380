// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/rest"
)

// A key that token made works for as long as token does not revoke it; what was done
// with it is in the log.
func TestToken(t *testing.T) {
	c := serveWorld(t, 0)
	file := filepath.Join(t.TempDir(), "sleutel")
	with := func(args ...string) (stdout, stderr string, exitCode int) {
		var out, errs bytes.Buffer
		err := run(t.Context(), append(args, "-url", c.url, "-token", file), strings.NewReader(number+"\n"), &out, &errs)
		exitCode = code(err, &errs)
		return out.String(), errs.String(), exitCode
	}
	out, errs, exit := c.call(0, "", "token", "make", "-naam", "dossiersysteem", "-rollen", "aanmelden,privacy", "-uit", file)
	if exit != 0 || strings.Contains(out, gateway.KeyPrefix) {
		t.Fatalf("%d %s %s", exit, out, errs)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file with the key: %v %v", info, err)
	}
	if _, errs, exit := c.call(0, "", "token", "make", "-naam", "x", "-rollen", "aanmelden", "-uit", file); exit != exitFailed {
		t.Errorf("a file that is there is written over: %s", errs)
	}
	out, _, exit = c.call(0, "", "token", "make", "-naam", "x", "-rollen", "beheer", "-bereik", "eigen", "-verloopt", "2000-01-01")
	if exit != exitRefused {
		t.Errorf("a key that has ended already: %d %s", exit, out)
	}
	out, _, _ = c.call(0, "", "token", "list", "-json")
	var list []rest.Sleutel
	for line := range strings.Lines(out) {
		var k rest.Sleutel
		if err := json.Unmarshal([]byte(line), &k); err != nil {
			t.Fatal(err)
		}
		list = append(list, k)
	}
	if len(list) != 2 || list[0].Geldig || !list[1].Geldig || list[1].Naam != "dossiersysteem" { // the one that could not be written is revoked
		t.Fatalf("%s", out)
	}
	signal := []string{"signal", "-nummer", "-", "-geboortedatum", "2015-05-06", "-kenmerk", "K-1", "-hulpverlener", "jansen", "-wacht", "30"}
	if out, errs, exit := with(signal...); exit != 0 {
		t.Errorf("%d %s %s", exit, out, errs)
	}
	out, _, exit = with("log", "-namens", "jansen")
	var row rest.Inzage
	if err := json.Unmarshal([]byte(strings.SplitN(out, "\n", 3)[1]), &row); err != nil || exit != 0 ||
		row.Gebeurtenis != "signaalAangemeld" || row.Gebruiker != "sleutel:"+list[1].Id {
		t.Errorf("%v %s", err, out)
	}
	if _, errs, exit := with("token", "list"); exit != exitFailed || !strings.Contains(errs, "rollen") {
		t.Errorf("listing keys without the role: %d %s", exit, errs)
	}
	if out, _, exit := c.call(0, "", "token", "revoke", list[1].Id); exit != 0 {
		t.Errorf("%d %s", exit, out)
	}
	if _, errs, exit := with(signal...); exit != exitFailed || !strings.Contains(errs, "Geen geldige") {
		t.Errorf("with a key that is revoked: %d %s", exit, errs)
	}
}
