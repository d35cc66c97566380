// SPDX-License-Identifier: EUPL-1.2

// Command evaluator holds one share of the registry's keys and evaluates blinded
// elements with it. See `evaluator -h`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

const usage = `evaluator: holds one share of Seinhuis' keys and evaluates blinded elements

  evaluator keygen -out FOLDER -name NAME -url URL [-host NAME ...]
      Makes this evaluator's keys in FOLDER and prints, as JSON, what governance
      puts under "evaluators" in the manifest, beside an "index". Files:
        tls.pem   the key of tls.crt, which the manifest pins
        note.key  signs manifests; best kept off the machine that serves
  evaluator sign -config FILE -key note.key -in NOTE -out NOTE
      Shows what a manifest says, holds it against this evaluator's shares, pins
      and TLS key and against what it signed before, and signs it. -in is the
      text from governance, signed by others or not yet; -out may be the same.
  evaluator serve -config FILE
      Serves until SIGTERM or SIGINT. SIGHUP reads manifest, directory, shares and
      certificate anew.

FILE is JSON; unknown fields are refused; paths are relative to its folder:
  {
    "data":       "data",                   folder: budgets, and the newest notes seen
    "shares":     "shares",                 folder: the share files from governance, *.json
    "tls":        {"cert": "keys/tls.crt", "key": "keys/tls.pem"},
    "pins":       "pins.json",              whose signatures count
    "manifest":   "manifest.txt",
    "directory":  "directory.txt",
    "evaluation": "127.0.0.1:8451",         for parties, with client certificates
    "public":     "127.0.0.1:8461",         for anybody: health
    "operations": "127.0.0.1:9091"          for you: metrics; 127.0.0.1:0 when left out
  }

Everything here can be read by its owner alone. Whoever holds as many share files
as the manifest needs evaluators can, with the registry's database, find out who is
in it: keep them apart from everybody else's.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "evaluator:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return flag.ErrHelp
	}
	switch args[0] {
	case "keygen":
		return keygen(args[1:], stdout, stderr)
	case "sign":
		return sign(args[1:], stdout, stderr)
	case "serve":
		return serve(ctx, args[1:], stderr)
	case "-h", "-help", "--help", "help":
		fmt.Fprint(stdout, usage)
		return nil
	}
	return fmt.Errorf("there is no command %q; evaluator -h lists them", args[0])
}

func flags(name string, stderr io.Writer) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, usage) }
	return fs
}

// parse reads the flags of a command, all of them obligatory but the optional.
func parse(fs *flag.FlagSet, args []string, optional ...string) error {
	if err := fs.Parse(args); err != nil {
		return err
	}
	var missing error
	fs.VisitAll(func(f *flag.Flag) {
		for _, name := range optional {
			if f.Name == name {
				return
			}
		}
		if f.Value.String() == "" {
			missing = fmt.Errorf("%s needs -%s; evaluator -h shows how", fs.Name(), f.Name)
		}
	})
	if missing == nil && fs.NArg() > 0 {
		return fmt.Errorf("%s takes flags only; evaluator -h shows how", fs.Name())
	}
	return missing
}

// config is the configuration file; usage describes it.
type config struct {
	Data       string   `json:"data"`
	Shares     string   `json:"shares"`
	TLS        tlsFiles `json:"tls"`
	Pins       string   `json:"pins"`
	Manifest   string   `json:"manifest"`
	Directory  string   `json:"directory"`
	Evaluation string   `json:"evaluation"`
	Public     string   `json:"public"`
	Operations string   `json:"operations"`
}

type tlsFiles struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

func readConfig(path string) (config, error) {
	var c config
	text, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	if err := encoding.UnmarshalJSON(text, &c); err != nil {
		return c, fmt.Errorf("%s: %w; evaluator -h shows what belongs in it", path, err)
	}
	folder := filepath.Dir(path)
	for _, file := range []struct {
		field string
		path  *string
	}{
		{"data", &c.Data}, {"shares", &c.Shares}, {"tls.cert", &c.TLS.Cert}, {"tls.key", &c.TLS.Key},
		{"pins", &c.Pins}, {"manifest", &c.Manifest}, {"directory", &c.Directory},
	} {
		if *file.path == "" {
			return c, fmt.Errorf("%s: %s is missing; evaluator -h shows what belongs in it", path, file.field)
		}
		if !filepath.IsAbs(*file.path) {
			*file.path = filepath.Join(folder, *file.path)
		}
	}
	if c.Evaluation == "" || c.Public == "" {
		return c, fmt.Errorf("%s: evaluation and public are missing; evaluator -h shows what belongs in it", path)
	}
	if c.Operations == "" {
		c.Operations = "127.0.0.1:0"
	}
	// The folder of budgets is copied to backups; shares must not come along.
	if inside, err := filepath.Rel(c.Data, c.Shares); err == nil && filepath.IsLocal(inside) {
		return c, fmt.Errorf("%s: shares lies inside data; put it beside it, so that a backup of data holds no shares", path)
	}
	return c, os.MkdirAll(c.Data, 0o700)
}
