// SPDX-License-Identifier: EUPL-1.2

package manifest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
)

// granted is parties, of which the school has two grants: one of now and the two
// weeks after it, one that begins in a week.
func granted(t testing.TB) *manifesttest.World {
	w := parties(t)
	w.Directory.Parties[0].Grants = []manifest.Grant{
		{From: now, Until: now.AddDate(0, 0, 14), Daily: 1000, Monthly: 5000, Purpose: "import of the files of 2026"},
		{From: now.AddDate(0, 0, 7), Until: now.AddDate(0, 1, 0), Daily: 50, Monthly: 50, Purpose: "a pilot"},
	}
	return w
}

func TestGrantsInForce(t *testing.T) {
	w := granted(t)
	d, err := manifest.OpenDirectory(w.SignedDirectory(t), w.Manifest, now)
	if err != nil {
		t.Fatal(err)
	}
	if d.Hash() != w.Directory.Hash() {
		t.Error("the hash changed on the way")
	}
	p, _ := d.Party(school)
	for _, c := range []struct {
		at    time.Time
		daily []int
	}{
		{now.Add(-1), nil},
		{now, []int{1000}},
		{now.AddDate(0, 0, 7), []int{1000, 50}},
		{now.AddDate(0, 0, 14).Add(-1), []int{1000, 50}},
		{now.AddDate(0, 0, 14), []int{50}},
		{now.AddDate(0, 1, 0), nil},
	} {
		got := p.GrantsAt(c.at)
		if len(got) != len(c.daily) {
			t.Errorf("at %s: %v", c.at, got)
			continue
		}
		for i, g := range got {
			if g.Daily != c.daily[i] {
				t.Errorf("at %s: %v", c.at, got)
			}
		}
	}
	if summary := d.Summary(); !strings.Contains(summary, "grant 1000 a day, 5000 a month more, from 2027-03-04 12:00:00 UTC until 2027-03-18 12:00:00 UTC: import of the files of 2026") {
		t.Errorf("the summary does not tell of the grant:\n%s", summary)
	}
}

// A directory of before there were grants, and a policy of before there were
// quotas, have the texts and the hashes that they had.
func TestNotesWithoutGrantsStayTheSame(t *testing.T) {
	w := parties(t)
	text, err := w.Directory.Note()
	if err != nil {
		t.Fatal(err)
	}
	policy, err := w.Manifest.Note()
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"grants", "dailySignals", "dailyActs"} {
		if strings.Contains(text+policy, word) {
			t.Errorf("%q is in a note that says nothing of it", word)
		}
	}
	p := w.Manifest.Policy
	if p.SignalQuota() != 1000 || p.ActQuota() != 1000 {
		t.Errorf("quotas %d and %d without a word of them, want ten times the daily budget", p.SignalQuota(), p.ActQuota())
	}
	p.DailySignals, p.DailyActs = 7, 8
	if p.SignalQuota() != 7 || p.ActQuota() != 8 {
		t.Errorf("quotas %d and %d", p.SignalQuota(), p.ActQuota())
	}
}
