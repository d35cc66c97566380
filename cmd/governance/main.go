// SPDX-License-Identifier: EUPL-1.2

// Command governance writes, signs and verifies the root of trust of a
// deployment. See `governance -h`.
package main

import (
	"context"
	"fmt"
	"io"

	"github.com/seinhuis/seinhuis/cmd/internal/command"
	"github.com/seinhuis/seinhuis/keys"
)

var usage = `governance: who is who in a Seinhuis deployment, and under which keys

It is run by hand, on a machine that serves nothing. Nothing is overwritten but a
note that gets a signature more.

  governance keygen -dep NAME -out FOLDER [-sealing KEY]
      Makes governance.key and directory.key in FOLDER and prints, as JSON, their
      verifier keys for the manifest.
  governance manifest -in FILE [-commitments FILE ...] [-previous NOTE] [-draft] -out TEXT
      Makes the text of a manifest from JSON written by hand: the manifest without
      version, previous and sharings, which come from the other files. Commitments
      are what a ceremony of the evaluators ended in ("evaluator gather"); for it,
      -draft makes the manifest that is to be, without sharings.
  governance directory -in FILE [-previous NOTE] -out TEXT
      The same for a directory: without version and previous; a key's id may be
      left out.
  governance grant -in FILE -party ID -daily N -monthly N -from TIME -until TIME
                   -purpose TEXT -out FILE
      Adds a grant to a directory written by hand: between the times (days, from
      00:00 UTC, or 2027-03-01T08:00:00Z) the party may have N evaluations more a
      day and a month than the policy's budgets, to import what it has. -out is a
      new file, for "governance directory".
  governance sign -key KEY -in NOTE -out NOTE [-sealing KEY]
      Shows what a manifest or directory says and signs it. -in is the text, signed
      by others or not yet; -out may be the same.
  governance pins -manifest NOTE -out FILE
      Writes the pins of a manifest, which every gateway, evaluator and registry is
      given beforehand, over a way that can be trusted.
  governance verify -pins FILE -manifest NOTE [-directory NOTE]
      Opens them as every part does and shows what they say and who signed.
` + fmt.Sprintf(command.KeysUsage, "governance", "a sealing key") + `
FILE for manifest, with what the keygen of each part printed:
  {
    "dep": "demo", "notAfter": "2028-01-01T00:00:00Z", "threshold": 2,
    "epochs": [{"number": 1, "state": "open", "opens": "2027-01-01"}],
    "evaluators": [{"index": 1, "name": "…", "url": "https://…", "tls": "…", "note": "…", "box": "…"}, …],
    "registry": {"url": "https://…", "publicUrl": "https://…", "tls": "…", "receiptKeys": […]},
    "governance": "…", "directorySigner": "…",
    "policy": {"termDays": 365, "legalBasisEnds": "2030-01-01", "timeZone": "Europe/Amsterdam",
               "calendar": "nl", "answerDays": 5, "signalPerpetrators": false,
               "dailyBudget": 500, "monthlyBudget": 5000, "reportReserve": 50}
  }
FILE for directory:
  {
    "dep": "demo", "notAfter": "2028-01-01T00:00:00Z",
    "parties": [{"id": "nl-brin:12AB", "name": "…", "kind": "school", "region": "…",
                 "keys": [{"use": "sign", "key": "…", "from": "2027-01-01T00:00:00Z"}, …],
                 "grants": [{"from": "2027-03-01T00:00:00Z", "until": "2027-04-01T00:00:00Z",
                             "daily": 20000, "monthly": 100000, "purpose": "…"}]}, …]
  }
Left out, a policy's "dailySignals" and "dailyActs", which the registry takes of a
party a day, are ten times dailyBudget; a party without "grants" has none.
`

var program = command.Program{Name: "governance", Usage: usage}

func init() {
	program.Commands = map[string]command.Command{
		"keygen": keygen, "manifest": writeManifest, "directory": writeDirectory,
		"grant": grant, "sign": sign, "pins": writePins, "verify": verify,
		"keys": func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
			return program.Keys(ctx, args, stdout, stderr, keys.RootsForm)
		},
	}
}

func main() { program.Main() }
