// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
)

const outReadme = `# A scripted run of the Seinhuis demonstration

Synthetic people and organisations; nobody here exists. All files are JSON. From
population.json and submissions.json alone follows what must be in inboxes.json:
join the submissions by child, and hold what should be known against what is.

## population.json
seed, today   from which all follows
parties       {id, name, kind, region}
children      {id, numberKind, number, birthDate, note, knownTo}: numbers as digits;
              knownTo lists the parties that signal the child at some time. Who is
              not here (adults, a child without a number, persons given wrongly)
              can match nobody; those submissions have no signal

## submissions.json
One object for each thing that a party sent in, in the order of asking:
case, story, step   cases are independent; a step begins when the one before it is
                    over: acts answered, and the events that follow received.
                    Acts of one step were sent at the same instant
asked, answered     when the request was sent, and when its final answer was there
                    (after the registry's receipt, if there is one)
party, professional who
do                  signal, report (one person of a report), withdraw or renew
child               id in the population; absent for who is not in it
report, reference   the report's reference, and the party's own for this person:
                    withdraw and renew have the reference of the signal they are on
numberKind, number, birthDate   as typed, separators and all
card                the contact card: as sent, or the party's own where none was; a
                    renewal without one keeps the card that was there
reason              of a withdrawal: ended or mistake
outcome             the gateway's word: geregistreerd, samengevoegd (the party
                    signalled this child already), ingetrokken, geweigerd,
                    nietGesignaleerd (no number)
registration, sid   the gateway's and the registry's name for it; a party has one
                    sid per child as long as that signal lasts
revision, others    at the receipt

A signal lasts from its first registration until the registration of its last
owner (professional and reference) is withdrawn.

## inboxes.json
For each party id its events, in the order in which its gateway tells them:
id, received
kind          joined, left, ended, card (a renewal)
match         the registry's name for the match
sid           the party's own signal; references are those of its owners
other         the other party
card          as opened by the gateway; in joined and card only
readOutCode   both sides have the same
problem       absent when everything verified

## result.json
The last line of the run; bin/demo -h describes it.
`

// writeOut writes what an outside script needs to judge the run by itself.
func writeOut(folder string, plan *Plan, records []Record, inboxes [][]Event, r Result) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	type party struct {
		ID     string `json:"id"`
		Name   string `json:"name"`
		Kind   string `json:"kind"`
		Region string `json:"region"`
	}
	type child struct {
		*Child
		KnownTo []string `json:"knownTo"`
	}
	population := struct {
		Seed     uint64  `json:"seed"`
		Today    string  `json:"today"`
		Parties  []party `json:"parties"`
		Children []child `json:"children"`
	}{Seed: r.Seed, Today: plan.Today.String()}
	known := plan.knownTo()
	for _, c := range plan.Children {
		population.Children = append(population.Children, child{c, known[c]})
	}
	opened := map[string][]Event{}
	for i, p := range parties {
		population.Parties = append(population.Parties, party{string(p.ID), p.Name, p.Kind, p.Region})
		opened[string(p.ID)] = append([]Event{}, inboxes[i]...)
	}
	slices.SortStableFunc(records, func(a, b Record) int { return a.Asked.Compare(b.Asked) })
	for name, v := range map[string]any{
		"population.json": population, "submissions.json": records, "inboxes.json": opened, "result.json": r,
	} {
		var text bytes.Buffer
		enc := json.NewEncoder(&text)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", " ")
		if err := enc.Encode(v); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, name), text.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(folder, "README.md"), []byte(outReadme), 0o644)
}
