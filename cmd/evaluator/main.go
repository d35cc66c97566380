// SPDX-License-Identifier: EUPL-1.2

// Command evaluator holds one share of the registry's keys and evaluates blinded
// elements with it. See `evaluator -h`.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/seinhuis/seinhuis/cmd/internal/command"
	"github.com/seinhuis/seinhuis/evaluator"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/manifest"
)

var usage = `evaluator: holds one share of Seinhuis' keys and evaluates blinded elements

  evaluator keygen -out FOLDER -name NAME -url URL [-host NAME ...] [-sealing KEY]
      Makes this evaluator's keys in FOLDER and prints, as JSON, what governance
      puts under "evaluators" in the manifest, beside an "index". Files:
        tls.pem   the key of tls.crt, which the manifest pins
        witness.key  cosigns the registry's log; in no backup
        note.key  signs manifests and dealings; best kept off the machine that serves
        box.pem   opens what is dealt to this evaluator; kept where note.key is
` + fmt.Sprintf(command.KeysUsage, "evaluator", "a sealing key") + `  evaluator deal -config FILE -key note.key -draft NOTE -epoch N -cohorts A-B
                 -dealers I,J,... -out NOTE
      Makes this evaluator's part in a ceremony: for birth years that the manifest in
      force knows its share is shared anew, for others a key is made. -draft is the
      manifest that is to be, without sharings, signed by governance; -dealers are the
      indexes of all who deal. What it writes goes to every evaluator of the draft.
  evaluator gather -config FILE -box box.pem -draft NOTE -dealing NOTE ... -out FILE
      Holds all dealings against the draft and the manifest in force and adds up this
      evaluator's parts: its shares lie in the folder of shares from then on, and wait
      for the manifest. -out gets the commitments, the same for every evaluator, for
      governance to put in it.
  evaluator sign -config FILE -key note.key -in NOTE -out NOTE
      Shows what a manifest says, holds it against this evaluator's shares, pins
      and TLS key and against what it signed before, and signs it. -in is the
      text from governance, signed by others or not yet; -out may be the same.
  evaluator destroy -config FILE
      Ends a ceremony: destroys the shares that the manifest in force has replaced.
      Until then this evaluator answers under both. SIGHUP serve after it.
      It also destroys keys for good whose birth year has turned 23 or whose epoch is
      closed, as serve does by itself within a minute.
  evaluator certify -config FILE -key note.key
      Signs the certificates of keys that were destroyed, where serve does not have
      note.key; serve then gives them to the registry.
  evaluator serve -config FILE
      Serves until SIGTERM or SIGINT. SIGHUP reads manifest, directory, shares and
      certificate anew; a new certificate is also seen without it.

FILE is JSON; unknown fields are refused; paths are relative to its folder:
  {
    "data":       "data",                   folder: budgets, and the newest notes seen
    "shares":     "shares",                 folder: the share files, *.json
    "wrapping":   "wrapping",               folder: the keys that open them, one for each epoch
                                            and birth year; never in a backup with shares
    "tls":        {"cert": "keys/tls.crt", "key": "keys/tls.pem"},
    "sealing":    "/etc/seinhuis/sealing.key",  or "credential:NAME"; without it keys lie in clear
    "witnessKey": "keys/witness.key",       what it has cosigned is noted beside it; left out
                                            when the manifest names no witness key
    "pins":       "pins.json",              whose signatures count
    "manifest":   "manifest.txt",
    "directory":  "directory.txt",
    "evaluation": "127.0.0.1:8451",         for parties, with client certificates
    "public":     "127.0.0.1:8461",         for anybody: health
    "operations": "127.0.0.1:9091"          for you: metrics; 127.0.0.1:0 when left out
  }

With "noteKey": "keys/note.key" it signs certificates of destruction itself, as soon as it
has destroyed a key; without, "evaluator certify" does, from where note.key is kept.

Where a proxy ends TLS before evaluation, it passes the client's certificate on in the
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

Everything here can be read by its owner alone. Whoever holds as many share files
as the manifest needs evaluators can, with the registry's database, find out who is
in it: keep them apart from everybody else's.
`

var program = command.Program{Name: "evaluator", Usage: usage}

func init() {
	program.Commands = map[string]command.Command{
		"keygen": keygen, "deal": deal, "gather": gather, "sign": sign, "destroy": destroy, "certify": certify, "serve": serve,
		"keys": func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
			return program.Keys(ctx, args, stdout, stderr, keys.RootsForm)
		},
	}
}

func main() { program.Main() }

// config is the configuration file; usage describes it.
type config struct {
	Data   string `json:"data"`
	Shares string `json:"shares"`
	command.Front
	Wrapping   string `json:"wrapping"`
	NoteKey    string `json:"noteKey"`
	Sealing    string `json:"sealing"`
	WitnessKey string `json:"witnessKey"`
	Pins       string `json:"pins"`
	Manifest   string `json:"manifest"`
	Directory  string `json:"directory"`
	Evaluation string `json:"evaluation"`
	Public     string `json:"public"`
	Operations string `json:"operations"`

	safe *keys.Safe // opens the key files
}

func readConfig(file string) (*config, error) {
	c := new(config)
	err := program.ReadConfig(file, c,
		command.Path{Field: "data", Value: &c.Data},
		command.Path{Field: "shares", Value: &c.Shares},
		command.Path{Field: "pins", Value: &c.Pins},
		command.Path{Field: "manifest", Value: &c.Manifest},
		command.Path{Field: "directory", Value: &c.Directory},
	)
	switch {
	case err != nil:
		return nil, err
	case c.Evaluation == "" || c.Public == "":
		return nil, program.Missing(file, "evaluation or public")
	case command.Inside(c.Data, c.Shares): // data is copied to backups; shares must not come along
		return nil, fmt.Errorf("%s: shares lies inside data; put it beside it, so that a backup of data holds no shares", file)
	}
	if c.Wrapping == "" {
		c.Wrapping = "wrapping"
	}
	for _, path := range []*string{&c.Wrapping, &c.NoteKey} {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(filepath.Dir(file), *path)
		}
	}
	if command.Inside(c.Data, c.Wrapping) || command.Inside(c.Shares, c.Wrapping) || command.Inside(c.Wrapping, c.Shares) {
		return nil, fmt.Errorf("%s: wrapping lies inside shares or data; put it beside them, so that no backup of shares opens them for ever", file)
	}
	if err := c.Front.Check(program, file, c.Evaluation); err != nil {
		return nil, err
	}
	if c.safe, err = command.OpenSafe(file, c.Sealing); err != nil {
		return nil, err
	}
	c.TLS.Safe = c.safe
	if c.WitnessKey != "" && !filepath.IsAbs(c.WitnessKey) {
		c.WitnessKey = filepath.Join(filepath.Dir(file), c.WitnessKey)
	}
	if c.WitnessKey != "" && command.Inside(c.Data, c.WitnessKey) {
		return nil, fmt.Errorf("%s: witnessKey lies inside data; put it beside it, so that a data folder that was put back is seen to be older than what the key has cosigned", file)
	}
	if c.Operations == "" {
		c.Operations = "127.0.0.1:0"
	}
	return c, os.MkdirAll(c.Data, 0o700)
}

// vault is where the shares lie.
func (c *config) vault() evaluator.Vault {
	return evaluator.Vault{Shares: c.Shares, Wrapping: c.Wrapping, Destroyed: filepath.Join(c.Data, "destroyed"), Safe: c.safe}
}

// trust opens the notes that are in force here.
func (c *config) trust() (*manifest.Trust, error) {
	return manifest.Load(manifest.Files{Pins: c.Pins, Manifest: c.Manifest, Directory: c.Directory, Kept: c.Data}, time.Now())
}
