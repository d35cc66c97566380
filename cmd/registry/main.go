// SPDX-License-Identifier: EUPL-1.2

// Command registry runs the blind signal registry: it takes signed statements,
// matches tags, and hands events to parties. See `registry -h`.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/seinhuis/seinhuis/cmd/internal/command"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/registry"
)

var usage = `registry: the blind signal registry of Seinhuis

  registry keygen -dep NAME -out FOLDER -url URL -public-url URL [-host NAME ...]
                  [-sealing KEY]
      Makes the registry's keys in FOLDER and prints, as JSON, what governance
      puts under "registry" in the manifest. Files, each readable by you alone:
        registry.keys  row key and pepper: without it the database is unreadable,
                       and with it not; keep a copy apart from all backups
        receipt.pem    signs receipts
        log.key        signs the checkpoints of the log of deployment NAME
        tls.pem        the key of tls.crt, which the manifest pins
` + fmt.Sprintf(command.KeysUsage, "registry", "a sealing key,\n      or is registry.keys, whose row key is renewed") + `  registry serve -config FILE
      Serves until SIGTERM or SIGINT. SIGHUP reads manifest, directory and
      certificate anew; a new certificate is also seen without it.
  registry check -config FILE
      Joins all signals of a stopped registry anew, and holds the stored matches
      and the events that were told against the result. Prints what differs, and
      last a line of JSON with counts; the exit status is 0 if nothing does. "tagged"
      is how many signals still have a tag of a compromised epoch in their statement,
      which their party's gateway revises.
  registry rebuild -config FILE
      Puts the signals of a stopped registry where they belong in the oldest open
      epoch of the manifest, makes their matches anew, and tells every party what it
      was not told: when the oldest epoch has been closed, and after a check that
      failed. It can be stopped and run again. Prints a line of JSON: idxs visited,
      signals moved, events readdressed. Where live signals of a party cannot move it
      changes nothing, prints under "behind" how many, and the exit status is not 0.
      So before governance closes an epoch, see that check prints "behind":0.
      When an epoch is compromised it destroys the signals that have no face in the
      oldest open one, and what the others have of it, and takes that off the disk; it
      prints how many under "destroyed" and "stripped".
  registry backup -config FILE -to FOLDER
      Copies the database of a registry that serves, or of one that is stopped, to a
      new folder: whole as it was at one moment, verifiable, and without its keys.
      Prints a line of JSON: when, files, bytes.
  registry restore -config FILE -from FOLDER
      Puts a backup back where data has no database, and ends again what was withdrawn
      since, which the journal knows. The registry is another incarnation then, and
      gateways send it what it lacks. Prints a line of JSON: the backup, the new
      incarnation, what was ended again. It can be stopped and run again; without it
      having ended well there is no database.
  registry journal -config FILE
      Begins a new journal in an empty folder, if the old one is lost and the database
      is not. Backups made before cannot be restored any more: make one at once.
  registry log verify -config FILE [-checkpoint FILE]…
      Proves the whole log: every record has the hash that was logged, the tree is that
      of all hashes, and it goes on from the last checkpoint that was signed, which
      enough witnesses have cosigned, and from others that somebody has kept.
  registry log show -config FILE -as NAME -purpose TEXT [-party ID] [-user PSEUDONYM]
                    [-signal ID] [-from DAY] [-to DAY]
      Prints records, a line of JSON each, and last how many. Whoever looks is in the
      log before anything is shown: -as is a pseudonym.
  registry log erase -config FILE -as NAME -purpose TEXT -party ID -signal ID
      Erases what the log says of a signal. Hashes stay, and prove everything else.
      Prints how many records that were, and how many wait for the log: run it again then.
      All three work while the registry serves, if its configuration has "control".
  registry clock -config FILE [-accept]
      Prints the registry's day, and whether the clock is held: the clock of a
      registry that was more than a day ahead of every day seen is not believed, so
      that it cannot end signals, until three parties have shown the same time. With
      -accept it is believed. For a stopped registry.

FILE is JSON; unknown fields are refused; paths are relative to its folder:
  {
    "data":       "data",                   the database, and the newest notes seen
    "journal":    "journal",                what was withdrawn; on another disk than data
    "keys":       "keys/registry.keys",     never inside the database's folder
    "receiptKey": "keys/receipt.pem",
    "logKey":     "keys/log.key",           left out when the manifest names no log
    "sealing":    "/etc/seinhuis/sealing.key",  or "credential:NAME"; without it keys lie in clear
    "tls":        {"cert": "keys/tls.crt", "key": "keys/tls.pem"},
    "pins":       "pins.json",              whose signatures count
    "manifest":   "manifest.txt",
    "directory":  "directory.txt",
    "exchange":   "127.0.0.1:8443",         for parties, with client certificates
    "public":     "127.0.0.1:8080",         for anybody: health, manifest, directory
    "operations": "127.0.0.1:9090",         for you: metrics
    "control":    "run/control.sock",       for backup while it serves; not obligatory.
                                            Who may open it may make backups
    "sweepSeconds": 60,                     how often the clock's work is done
    "disk":       {"lowMiB": 1024, "ballastMiB": 256},
    "journalDisk": {"lowMiB": 64, "ballastMiB": 16}
  }
With less room than "lowMiB" on the disk of "data" the registry takes withdrawals and
hands out events, but takes nothing new until there is more. "ballastMiB" is a file
there that goes when the disk is full. "journalDisk" says the same of the disk of
"journal", where that is another one. Without either it is as above; 0 is without.

Where a proxy ends TLS before exchange, it passes the client's certificate on in the
header Client-Cert (RFC 9440), and FILE says which proxies are believed:
    "proxy": {"keys": ["<SPKI hash of the key that the proxy has as a client>"],
              "cert": "proxy.crt"}      what it shows to parties; the manifest pins its key
or, for plain HTTP on this machine alone, over loopback or unix:PATH,
    "proxy": {"local": true, "cert": "proxy.crt"}
For /.well-known/security.txt, which expires a year after "checked":
    "security": {"contact": ["mailto:security@example.org"], "languages": "nl, en",
                 "policy": "https://…", "canonical": "https://…", "checked": "2026-11-22"}
For as many connections at a time as you say, of parties or of anybody, in all and of one
address; else it is these, and through a proxy no limit by address:
    "connections": {"parties": {"most": 8192, "perAddress": 1024}, "public": {"most": 1024, "perAddress": 64}}
`

var program = command.Program{Name: "registry", Usage: usage}

func init() {
	program.Commands = map[string]command.Command{
		"keygen": keygen, "serve": serve, "check": check, "rebuild": rebuild, "clock": clock,
		"backup": makeBackup, "restore": restore, "journal": newJournal, "log": logCommand,
		"keys": keysCommand,
	}
}

// of does one thing to registry.keys, which is JSON, and another to a sealing key.
func of(keyFile, roots func([]byte) ([]byte, error)) func([]byte) ([]byte, error) {
	return func(text []byte) ([]byte, error) {
		if bytes.HasPrefix(text, []byte("{")) {
			return keyFile(text)
		}
		return roots(text)
	}
}

func keysCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	return program.Keys(ctx, args, stdout, stderr, keys.Form{Renew: of(registry.KeyFileForm.Renew, keys.RootsForm.Renew), Newest: of(registry.KeyFileForm.Newest, keys.RootsForm.Newest)})
}

func main() { program.Main() }
