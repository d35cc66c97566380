// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"

	"github.com/seinhuis/seinhuis/logging"
	"github.com/seinhuis/seinhuis/matcher"
)

// errDiffers makes the exit status tell what the last line says.
var errDiffers = errors.New("the store is not as its signals imply; registry rebuild mends its matches")

// check holds a store that nobody serves against what its signals imply.
func check(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	return onStore("check", args, stderr, func(m *matcher.Matcher) error {
		done, err := m.Check(ctx, func(d matcher.Difference) { fmt.Fprintln(stdout, d) })
		if err != nil {
			return err
		}
		if err := json.NewEncoder(stdout).Encode(done); err != nil {
			return err
		}
		if done.Differences > 0 {
			return errDiffers
		}
		return nil
	})
}

// rebuild puts the signals of a store that nobody serves where they belong in the
// epoch in force, and makes their matches anew.
func rebuild(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	return onStore("rebuild", args, stderr, func(m *matcher.Matcher) error {
		done, err := m.Rebuild(ctx)
		return errors.Join(err, json.NewEncoder(stdout).Encode(done))
	})
}

func onStore(name string, args []string, stderr io.Writer, do func(*matcher.Matcher) error) error {
	return withFlags(program.Flags(name, stderr), args, stderr, do)
}

// withFlags is onStore for a command with flags of its own, that are optional.
func withFlags(fs *flag.FlagSet, args []string, stderr io.Writer, do func(*matcher.Matcher) error, optional ...string) error {
	path := fs.String("config", "", "")
	if err := program.Parse(fs, args, optional...); err != nil {
		return err
	}
	c, err := readConfig(*path)
	if err != nil {
		return err
	}
	m, _, err := c.open(logging.New(stderr, slog.LevelInfo))
	if err != nil {
		return fmt.Errorf("%w (is the registry still running?)", err)
	}
	return errors.Join(do(m), m.Store.Close())
}
