// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/cmd/internal/command"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/manifest"
)

// grant adds a grant to a directory that was written by hand.
func grant(_ context.Context, args []string, stdout, stderr io.Writer) error {
	fs := program.Flags("grant", stderr)
	in := fs.String("in", "", "")
	party := fs.String("party", "", "")
	out := fs.String("out", "", "")
	var g manifest.Grant
	fs.IntVar(&g.Daily, "daily", 0, "")
	fs.IntVar(&g.Monthly, "monthly", 0, "")
	fs.StringVar(&g.Purpose, "purpose", "", "")
	from := fs.String("from", "", "")
	until := fs.String("until", "", "")
	if err := program.Parse(fs, args); err != nil {
		return err
	}
	var err error
	if g.From, err = instant(*from); err != nil {
		return fmt.Errorf("-from: %w", err)
	}
	if g.Until, err = instant(*until); err != nil {
		return fmt.Errorf("-until: %w", err)
	}
	d, err := readDirectory(*in)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(d.Parties, func(p manifest.Party) bool { return p.ID == api.PartyID(*party) })
	if i < 0 {
		return fmt.Errorf("%s has no party with the id of -party", *in)
	}
	p := &d.Parties[i]
	p.Grants = append(p.Grants, g)
	slices.SortStableFunc(p.Grants, func(a, b manifest.Grant) int { return a.From.Compare(b.From) })
	if _, err := d.Note(); err != nil { // the rules of a directory, before anybody waits for a signature
		return fmt.Errorf("%s: %w", *in, err)
	}
	text, err := json.MarshalIndent(struct { // what is written by hand: no version, no previous
		Dep      string           `json:"dep"`
		NotAfter time.Time        `json:"notAfter"`
		Parties  []manifest.Party `json:"parties"`
	}{d.Dep, d.NotAfter, d.Parties}, "", "  ")
	if err != nil {
		return err
	}
	if err := command.WriteNew(*out, append(text, '\n')); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s (%s) may have %d evaluations a day and %d a month more, from %s until %s: %s\nNow make the directory of it: governance directory -in %s\n",
		p.ID, p.Name, g.Daily, g.Monthly, g.From.Format(time.RFC3339), g.Until.Format(time.RFC3339), g.Purpose, *out)
	return nil
}

// instant reads a time, or a day that begins at 00:00 UTC.
func instant(s string) (time.Time, error) {
	if day, err := encoding.ParseDate(s); err == nil {
		return day.In(time.UTC), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("not a day like 2027-03-01 or a time like 2027-03-01T08:00:00Z")
	}
	return t.UTC(), nil
}
