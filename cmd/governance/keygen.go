// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/cmd/internal/command"
)

// keygen makes the two keys of governance.
func keygen(_ context.Context, args []string, stdout, stderr io.Writer) error {
	fs := program.Flags("keygen", stderr)
	dep := fs.String("dep", "", "")
	out := fs.String("out", "", "")
	sealing := command.Sealing(fs)
	if err := program.Parse(fs, args, "sealing"); err != nil {
		return err
	}
	safe, err := sealing()
	if err != nil {
		return err
	}
	if !api.ValidDeployment(*dep) {
		return errors.New("a deployment's name is 1 to 32 lower-case letters, digits and dashes")
	}
	if err := os.MkdirAll(*out, 0o700); err != nil {
		return err
	}
	governance, err := safe.WriteNote(filepath.Join(*out, "governance.key"), *dep+"-governance")
	if err != nil {
		return err
	}
	directory, err := safe.WriteNote(filepath.Join(*out, "directory.key"), *dep+"-directory")
	if err != nil {
		return err
	}
	stanza, err := json.MarshalIndent(struct {
		Governance      string `json:"governance"`
		DirectorySigner string `json:"directorySigner"`
	}{governance, directory}, "", "  ")
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s\n", stanza)
	return nil
}
