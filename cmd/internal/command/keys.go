// SPDX-License-Identifier: EUPL-1.2

package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/seinhuis/seinhuis/crypto/atrest"
	"github.com/seinhuis/seinhuis/keys"
)

// KeysUsage explains what [Program.Keys] does, with the program's name for every %[1]s.
const KeysUsage = `  %[1]s keys make -out FILE
      Makes a sealing key: under it the key files of a machine are sealed, which are in
      clear otherwise. It is kept apart from them, as a file or as a systemd credential.
  %[1]s keys seal -sealing KEY -file FILE ...
      Seals key files that are in clear, or under an older generation of the sealing key.
  %[1]s keys show -sealing KEY -file FILE
      Prints a sealed file in clear, for another program.
  %[1]s keys renew -file FILE [-sealing KEY]
  %[1]s keys newest -file FILE [-sealing KEY]
      Gives the key in FILE a new generation, which seals from then on, or takes all but
      the newest out, when nothing is left that they have sealed. FILE has %[2]s.
      KEY is a file, or credential:NAME for a credential of systemd.
`

// OpenSafe opens the sealing key that a configuration file names, relative to its
// folder; none, if it names none.
func OpenSafe(file, where string) (*keys.Safe, error) {
	return keys.OpenSafe(keys.SealingFile(where, filepath.Dir(file)))
}

// WarnOpen logs that keys lie in clear, where they do.
func WarnOpen(log *slog.Logger, safe *keys.Safe) {
	if safe == nil {
		log.Warn("keys in clear")
	}
}

// Sealing is the flag that names a sealing key.
func Sealing(fs *flag.FlagSet) (open func() (*keys.Safe, error)) {
	where := fs.String("sealing", "", "")
	return func() (*keys.Safe, error) { return keys.OpenSafe(*where) }
}

// Keys is the command that takes care of key files. form is of the files with
// generations that the program has.
func (p Program) Keys(_ context.Context, args []string, stdout, stderr io.Writer, form keys.Form) error {
	if len(args) == 0 {
		return fmt.Errorf("%s keys needs make, seal, show, renew or newest; %s -h shows how", p.Name, p.Name)
	}
	fs := p.Flags("keys "+args[0], stderr)
	var files []string
	one := func() (string, error) {
		if len(files) != 1 {
			return "", fmt.Errorf("%s takes one -file", fs.Name())
		}
		return files[0], nil
	}
	parse := func(optional ...string) (*keys.Safe, error) {
		fs.Func("file", "", func(path string) error { files = append(files, path); return nil })
		open := Sealing(fs)
		if err := p.Parse(fs, args[1:], append(optional, "file")...); err != nil {
			return nil, err
		}
		return open()
	}
	switch args[0] {
	case "make":
		out := fs.String("out", "", "")
		if err := p.Parse(fs, args[1:]); err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(*out), 0o700); err != nil {
			return err
		}
		return keys.Clear.WriteSecret(*out, atrest.RootSize)
	case "seal":
		safe, err := parse()
		if err != nil {
			return err
		}
		if len(files) == 0 {
			return errors.New("keys seal needs a -file for each file")
		}
		for _, path := range files {
			changed, err := safe.Seal(path)
			switch {
			case err != nil:
				return err
			case changed:
				fmt.Fprintf(stdout, "sealed %s\n", path)
			default:
				fmt.Fprintf(stdout, "is sealed already: %s\n", path)
			}
		}
		return nil
	case "show":
		safe, err := parse()
		if err != nil {
			return err
		}
		path, err := one()
		if err != nil {
			return err
		}
		text, err := safe.ReadPrivate(path)
		if err != nil {
			return err
		}
		_, err = stdout.Write(text)
		return err
	case "renew", "newest":
		safe, err := parse("sealing")
		if err != nil {
			return err
		}
		path, err := one()
		if err != nil {
			return err
		}
		if args[0] == "newest" {
			return safe.Change(path, form.Newest)
		}
		return safe.Change(path, form.Renew)
	}
	return fmt.Errorf("there is no command \"keys %s\"; %s -h lists them", args[0], p.Name)
}
