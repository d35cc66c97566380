// SPDX-License-Identifier: EUPL-1.2

// Package command is what our programs do alike: commands with one usage text, flags
// that are obligatory unless said otherwise, a strict configuration file, and
// listeners that serve until the program is told to end.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// A Program is a binary with commands. Usage explains them all.
type Program struct {
	Name     string
	Usage    string
	Commands map[string]Command
}

// A Command runs until it is done or ctx ends.
type Command func(ctx context.Context, args []string, stdout, stderr io.Writer) error

// Main runs the program and ends the process: 0 when all is well, 2 after a call
// for help that was not asked for, 1 with the error otherwise. SIGTERM and an
// interrupt end the context. If it crashes it dumps no core.
func (p Program) Main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := NeverDump()
	if err == nil {
		err = p.Run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	default:
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.Name, err)
		os.Exit(1)
	}
}

// Run runs the command that the first argument names.
func (p Program) Run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(stderr, p.Usage)
		return flag.ErrHelp
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		fmt.Fprint(stdout, p.Usage)
		return nil
	}
	do, ok := p.Commands[args[0]]
	if !ok {
		return fmt.Errorf("there is no command %q; %s -h lists them", args[0], p.Name)
	}
	return do(ctx, args[1:], stdout, stderr)
}

// Flags makes the flags of a command of this program.
func (p Program) Flags(name string, stderr io.Writer) *flag.FlagSet {
	fs := flag.NewFlagSet(p.Name+" "+name, flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, p.Usage) }
	return fs
}

// Parse reads the flags of a command. All are obligatory but the optional, and
// nothing but flags is taken.
func (p Program) Parse(fs *flag.FlagSet, args []string, optional ...string) error {
	if err := fs.Parse(args); err != nil {
		return err
	}
	var missing []string
	fs.VisitAll(func(f *flag.Flag) {
		if f.Value.String() == f.DefValue && !slices.Contains(optional, f.Name) {
			missing = append(missing, "-"+f.Name)
		}
	})
	switch {
	case len(missing) > 0:
		return fmt.Errorf("%s needs %s; %s -h shows how", fs.Name(), strings.Join(missing, ", "), p.Name)
	case fs.NArg() > 0:
		return fmt.Errorf("%s takes flags only; %s -h shows how", fs.Name(), p.Name)
	}
	return nil
}

// A Path is a field of a configuration that names a file or folder.
type Path struct {
	Field string
	Value *string
}

// ReadConfig reads a configuration file strictly into c. The paths are obligatory,
// and relative to the file's folder.
func (p Program) ReadConfig(file string, c any, paths ...Path) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := encoding.UnmarshalJSON(text, c); err != nil {
		return fmt.Errorf("%s: %w; %s -h shows what belongs in it", file, err, p.Name)
	}
	for _, path := range paths {
		if *path.Value == "" {
			return p.Missing(file, path.Field)
		}
		if !filepath.IsAbs(*path.Value) {
			*path.Value = filepath.Join(filepath.Dir(file), *path.Value)
		}
	}
	return nil
}

// Missing says that a field of a configuration file is not there.
func (p Program) Missing(file, field string) error {
	return fmt.Errorf("%s: %s is missing; %s -h shows what belongs in it", file, field, p.Name)
}

// Inside tells whether a path lies in a folder, or is it.
func Inside(folder, path string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && filepath.IsLocal(rel)
}

// WriteNew makes a public file that was not there.
func WriteNew(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s exists; nothing is overwritten, so choose another name or move it away", path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}
