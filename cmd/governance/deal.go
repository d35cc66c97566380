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
	"strconv"
	"strings"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/oprf"
	"github.com/seinhuis/seinhuis/evaluator"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/manifest"
)

// keygen makes the two keys of governance.
func keygen(_ context.Context, args []string, stdout, stderr io.Writer) error {
	fs := program.Flags("keygen", stderr)
	dep := fs.String("dep", "", "")
	out := fs.String("out", "", "")
	if err := program.Parse(fs, args); err != nil {
		return err
	}
	if !api.ValidDeployment(*dep) {
		return errors.New("a deployment's name is 1 to 32 lower-case letters, digits and dashes")
	}
	if err := os.MkdirAll(*out, 0o700); err != nil {
		return err
	}
	governance, err := keys.WriteNote(filepath.Join(*out, "governance.key"), *dep+"-governance")
	if err != nil {
		return err
	}
	directory, err := keys.WriteNote(filepath.Join(*out, "directory.key"), *dep+"-directory")
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

// commitments is the public file of a dealing.
type commitments struct {
	Threshold int                `json:"threshold"`
	Sharings  []manifest.Sharing `json:"sharings"`
}

const dealerWarning = `
  ****************************************************************************
  *  This machine now knows every key that it dealt, and whoever was at it    *
  *  can find out which children are registered. Hand each share file to its  *
  *  evaluator, destroy the files here, and wipe the machine. The dealer is   *
  *  a stopgap: it must make way for a generation of keys in which the        *
  *  evaluators take part and nobody ever sees a whole one.                   *
  ****************************************************************************
`

// maxCohorts keeps a share file well under what package keys reads.
const maxCohorts = 100

// deal makes one new key per cohort and shares it among the evaluators.
func deal(_ context.Context, args []string, stdout, stderr io.Writer) error {
	fs := program.Flags("deal", stderr)
	epoch := fs.Uint64("epoch", 0, "")
	cohorts := fs.String("cohorts", "", "")
	threshold := fs.Int("threshold", 0, "")
	evaluators := fs.Int("evaluators", 0, "")
	out := fs.String("out", "", "")
	if err := program.Parse(fs, args); err != nil {
		return err
	}
	first, last, err := parseCohorts(*cohorts)
	if err != nil {
		return err
	}
	if *threshold < 1 || *threshold > *evaluators {
		return errors.New("-threshold lies between 1 and the number of evaluators; 2 of 3 is usual")
	}
	public := commitments{Threshold: *threshold}
	shares := make([][]evaluator.Share, *evaluators)
	for cohort := first; cohort <= last; cohort++ {
		c, dealt, err := oprf.Deal(*threshold, *evaluators)
		if err != nil {
			return err
		}
		sharing := manifest.Sharing{Epoch: *epoch, Cohort: cohort, Number: 1}
		for _, point := range c.Bytes() {
			sharing.Commitments = append(sharing.Commitments, encoding.Base64(point))
		}
		public.Sharings = append(public.Sharings, sharing)
		for i, share := range dealt {
			shares[i] = append(shares[i], evaluator.Share{
				Key: evaluator.Key{Epoch: *epoch, Cohort: cohort}, Sharing: 1, Value: share,
			})
		}
	}
	publicText, err := json.MarshalIndent(public, "", "  ")
	if err != nil {
		return err
	}

	if err := os.MkdirAll(*out, 0o700); err != nil {
		return err
	}
	what := fmt.Sprintf("epoch-%d-cohorts-%s", *epoch, *cohorts)
	publicPath := filepath.Join(*out, "commitments-"+what+".json")
	paths := make([]string, *evaluators)
	for i := range paths {
		paths[i] = filepath.Join(*out, fmt.Sprintf("evaluator-%d-%s.json", i+1, what))
	}
	// All or nothing: half of a dealing beside half of another would not fit.
	for _, path := range append(paths, publicPath) {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s exists; these keys were dealt before, and nothing is overwritten", path)
		}
	}
	for i, path := range paths {
		text, err := evaluator.MarshalShares(shares[i])
		if err != nil {
			return err
		}
		if err := keys.WritePrivate(path, text); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "secret, for evaluator %d alone: %s\n", i+1, path)
	}
	if err := writeNew(publicPath, append(publicText, '\n')); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "public, for the manifest: %s\n", publicPath)
	fmt.Fprint(stderr, dealerWarning)
	if *threshold == 1 {
		fmt.Fprintln(stderr, "  WITH THRESHOLD 1 EVERY EVALUATOR HOLDS EVERY KEY. This is for trying out only.")
	}
	return nil
}

func parseCohorts(s string) (first, last int, err error) {
	a, b, ok := strings.Cut(s, "-")
	first, err1 := strconv.Atoi(a)
	last, err2 := strconv.Atoi(b)
	if !ok || err1 != nil || err2 != nil || first < 1900 || last > 9999 || last < first || last-first >= maxCohorts {
		return 0, 0, fmt.Errorf("-cohorts is a range of birth years, such as 2005-2028, of at most %d years", maxCohorts)
	}
	return first, last, nil
}
