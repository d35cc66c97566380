// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/gateway/rest"
	"github.com/seinhuis/seinhuis/manifest"
)

func TestStatus(t *testing.T) {
	c := configureWorld(t, 0)
	now := time.Now().UTC().Truncate(time.Second)
	p := &c.Directory.Parties[0]
	p.Grants = []manifest.Grant{{From: now.Add(-time.Hour), Until: now.AddDate(0, 1, 0), Daily: 500, Monthly: 600, Purpose: "Overname van de dossiers"}}
	p.Keys[0].Until = now.AddDate(0, 0, 20)
	c.Publish()
	c.Faults[1].Set(gatewaytest.Away)
	c.serve(t)
	if _, stderr, exitCode := c.call(0, number, signalArgs()...); exitCode != 0 {
		t.Fatalf("exit %d\n%s", exitCode, stderr)
	}
	var o rest.Organisatie
	stdout, stderr, exitCode := c.call(0, "", "status", "--json")
	if err := json.Unmarshal([]byte(stdout), &o); err != nil || exitCode != 0 {
		t.Fatalf("exit %d (%v)\n%s%s", exitCode, err, stdout, stderr)
	}
	if list := o.Tegoeden.Sleutelhouders; len(list) != 3 || list[1].Bekend || list[1].Over != nil || !list[0].Bekend || *list[0].Over != 10_499 || list[0].Dag.Gebruikt != 1 {
		t.Errorf("%s", stdout)
	}
	stdout, stderr, exitCode = c.call(0, "", "status")
	if exitCode != 0 {
		t.Fatalf("exit %d\n%s", exitCode, stderr)
	}
	for _, want := range []string{
		`Wachtrij: 0`, `Sleutelhouder 1 \(evaluator-1\): nog 10499 evaluaties; vandaag 1 van 10500, deze maand 1 van 100600, reserve voor meldingen 0 van 10`,
		`Sleutelhouder 2 \(evaluator-2\): onbekend`, `Register: vandaag 1 van 100500 signalen, 0 van 100000 handelingen`,
		fmt.Sprintf("Toekenning: 500 per dag en 600 per maand meer, van %s tot %s: Overname van de dossiers", day(p.Grants[0].From), day(p.Grants[0].Until)),
		`Sleutel [0-9a-f]{16} voor ondertekenen, \d+ dagen oud, tot [0-9-]+\. LET OP: Deze sleutel verloopt binnen dertig dagen\.`,
		`Sleutel [0-9a-f]{16} voor verbindingen, \d+ dagen oud\n`,
	} {
		if !regexp.MustCompile(want).MatchString(stdout) {
			t.Errorf("no line %s in\n%s", want, stdout)
		}
	}
	if strings.Contains(stdout, number) {
		t.Error("the number is shown")
	}
	if _, _, exitCode := c.call(0, "", "status", "more"); exitCode != exitUsage {
		t.Errorf("with an argument: exit %d", exitCode)
	}
}
