// SPDX-License-Identifier: EUPL-1.2

package manifest

import (
	"fmt"
	"strings"
	"time"

	"github.com/seinhuis/seinhuis/api"
)

// Summary tells people what a manifest says, before they sign it or after they
// have verified it.
func (m *Manifest) Summary() string {
	b := new(strings.Builder)
	head(b, "Manifest", m.Dep, m.Version, m.Previous, m.Hash(), m.NotAfter)
	fmt.Fprintf(b, "  needs             %d of %d evaluators\n", m.Threshold, len(m.Evaluators))
	for _, e := range m.Evaluators {
		fmt.Fprintf(b, "  evaluator %-2d      %s, %s\n", e.Index, e.Name, e.URL)
		fmt.Fprintf(b, "                    tls %s\n                    signs as %s\n", e.TLS, e.Note)
		if len(e.Box) > 0 {
			fmt.Fprintf(b, "                    box %x\n", []byte(e.Box))
		}
	}
	for _, e := range m.Epochs {
		since := e.State + " since"
		if e.State == EpochCompromised {
			since = "COMPROMISED, all that matches in it is destroyed; opened"
		}
		fmt.Fprintf(b, "  epoch %-2d          %s %s", e.Number, since, e.Opens)
		if !e.Closes.IsZero() {
			fmt.Fprintf(b, ", closes %s", e.Closes)
		}
		fmt.Fprintf(b, "\n")
		for _, run := range m.runs(e.Number) {
			cohorts := fmt.Sprintf("cohort %d", run[0].Cohort)
			if n := len(run); n > 1 {
				cohorts = fmt.Sprintf("cohorts %d-%d", run[0].Cohort, run[n-1].Cohort)
			}
			fmt.Fprintf(b, "                    %s, sharing %d\n", cohorts, run[0].Number)
		}
	}
	fmt.Fprintf(b, "  registry          %s, public %s\n                    tls %s\n", m.Registry.URL, m.Registry.PublicURL, m.Registry.TLS)
	for _, k := range m.Registry.ReceiptKeys {
		fmt.Fprintf(b, "  receipt key       %s\n", k.describe())
	}
	fmt.Fprintf(b, "  governance        %s\n  directory signer  %s\n", m.Governance, m.DirectorySigner)
	for _, w := range m.Witnesses() {
		fmt.Fprintf(b, "  witness           %s\n", w)
	}
	p := m.Policy
	fmt.Fprintf(b, "  policy            signals live %d days at most; legal basis ends %s; %d working days to answer (%s)\n",
		p.TermDays, p.LegalBasisEnds, p.AnswerDays, p.Calendar)
	fmt.Fprintf(b, "                    a party may ask %d times a day, %d a month, %d more for reports\n", p.DailyBudget, p.MonthlyBudget, p.ReportReserve)
	fmt.Fprintf(b, "                    the registry takes %d signals a day of a party, and %d acts\n", p.SignalQuota(), p.ActQuota())
	if p.SignalPerpetrators {
		fmt.Fprintf(b, "                    suspected perpetrators under 23 are signalled\n")
	}
	return b.String()
}

// Summary tells people what a directory says.
func (d *Directory) Summary() string {
	b := new(strings.Builder)
	head(b, "Directory", d.Dep, d.Version, d.Previous, d.Hash(), d.NotAfter)
	for _, p := range d.Parties {
		fmt.Fprintf(b, "  %s  %s (%s, %s)\n", p.ID, p.Name, p.Kind, p.Region)
		for _, k := range p.Keys {
			fmt.Fprintf(b, "    %-5s %s\n", k.Use, k.describe())
		}
		for _, g := range p.Grants {
			fmt.Fprintf(b, "    grant %d a day, %d a month more, from %s until %s: %s\n",
				g.Daily, g.Monthly, g.From.Format(timeText), g.Until.Format(timeText), g.Purpose)
		}
	}
	return b.String()
}

const timeText = "2006-01-02 15:04:05 UTC"

func head(b *strings.Builder, what, dep string, version uint64, previous, hash api.Hash, notAfter time.Time) {
	fmt.Fprintf(b, "%s of %q, version %d\n", what, dep, version)
	if !previous.IsZero() {
		fmt.Fprintf(b, "  follows           %s\n", previous)
	}
	fmt.Fprintf(b, "  hash              %s\n  in force until    %s\n", hash, notAfter.Format(timeText))
}

func (k Key) describe() string {
	s := fmt.Sprintf("%s from %s", k.ID, k.From.Format(timeText))
	if !k.Until.IsZero() {
		s += " until " + k.Until.Format(timeText)
	}
	if k.Revoked {
		s += ", REVOKED"
	}
	return s
}

// runs groups an epoch's sharings by cohorts in a row with one number.
func (m *Manifest) runs(epoch uint64) [][]Sharing {
	var runs [][]Sharing
	for _, s := range m.Sharings {
		if s.Epoch != epoch {
			continue
		}
		if n := len(runs); n > 0 {
			last := runs[n-1][len(runs[n-1])-1]
			if last.Cohort+1 == s.Cohort && last.Number == s.Number {
				runs[n-1] = append(runs[n-1], s)
				continue
			}
		}
		runs = append(runs, []Sharing{s})
	}
	return runs
}
