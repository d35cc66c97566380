// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/seinhuis/seinhuis/cmd/internal/command"
	"github.com/seinhuis/seinhuis/evaluator"
	"github.com/seinhuis/seinhuis/evaluator/ceremony"
	"github.com/seinhuis/seinhuis/logging"
	"github.com/seinhuis/seinhuis/manifest"
)

// deal makes this evaluator's dealing for a draft of governance.
func deal(_ context.Context, args []string, stdout, stderr io.Writer) error {
	fs := program.Flags("deal", stderr)
	configPath := fs.String("config", "", "")
	keyPath := fs.String("key", "", "")
	draftPath := fs.String("draft", "", "")
	epoch := fs.Uint64("epoch", 0, "")
	cohorts := fs.String("cohorts", "", "")
	dealers := fs.String("dealers", "", "")
	out := fs.String("out", "", "")
	if err := program.Parse(fs, args); err != nil {
		return err
	}
	c, err := readConfig(*configPath)
	if err != nil {
		return err
	}
	signer, err := c.safe.ReadNote(*keyPath)
	if err != nil {
		return err
	}
	r := ceremony.Round{Epoch: *epoch}
	if r.Draft, r.Current, err = c.round(*draftPath); err != nil {
		return err
	}
	if r.First, r.Last, err = parseCohorts(*cohorts); err != nil {
		return err
	}
	for index := range strings.SplitSeq(*dealers, ",") {
		n, err := strconv.Atoi(index)
		if err != nil {
			return errors.New("-dealers are the indexes of those who deal, such as 1,3")
		}
		r.Dealers = append(r.Dealers, n)
	}
	known, err := r.Known()
	if err != nil {
		return err
	}
	m, what := r.Draft, "Makes keys"
	if known {
		m, what = r.Current, "Shares the keys in force anew"
	}
	self, err := c.self(m)
	if err != nil {
		return err
	}
	held, err := c.vault().Read()
	if err != nil && (known || !errors.Is(err, os.ErrNotExist)) {
		return err
	}
	d, err := r.Deal(self.Index, held)
	if err != nil {
		return err
	}
	text, err := d.Note()
	if err != nil {
		return err
	}
	msg, err := manifest.AddSignature([]byte(text), signer)
	if err != nil {
		return err
	}
	if _, err := ceremony.OpenDealing(msg, r.Draft, r.Current); errors.Is(err, manifest.ErrSigner) {
		return logging.Error("the manifest names another note key for this evaluator; give governance the vkey that keygen printed")
	} else if err != nil {
		return err
	}
	if err := command.WriteNew(*out, msg); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s%s of epoch %d, birth years %d-%d, dealt by %v to the evaluators above, of whom %d suffice.\nFor each of them: %s\n",
		r.Draft.Summary(), what, r.Epoch, r.First, r.Last, r.Dealers, r.Draft.Threshold, *out)
	return nil
}

// gather adds up what was dealt to this evaluator, and keeps its shares for the
// manifest that is to have them.
func gather(_ context.Context, args []string, stdout, stderr io.Writer) error {
	flags := program.Flags("gather", stderr)
	configPath := flags.String("config", "", "")
	boxPath := flags.String("box", "", "")
	draftPath := flags.String("draft", "", "")
	out := flags.String("out", "", "")
	var paths []string
	flags.Func("dealing", "", func(path string) error { paths = append(paths, path); return nil })
	if err := program.Parse(flags, args, "dealing"); err != nil {
		return err
	}
	c, err := readConfig(*configPath)
	if err != nil {
		return err
	}
	box, err := c.safe.ReadHPKE(*boxPath)
	if err != nil {
		return err
	}
	draft, current, err := c.round(*draftPath)
	if err != nil {
		return err
	}
	self, err := c.self(draft)
	if err != nil {
		return err
	}
	var dealings []*ceremony.Dealing
	for _, path := range paths {
		msg, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		d, err := ceremony.OpenDealing(msg, draft, current)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		dealings = append(dealings, d)
	}
	shares, outcome, err := ceremony.Gather(draft, current, self.Index, box, dealings)
	if err != nil {
		return err
	}
	if err := c.unsigned(outcome.Sharings); err != nil {
		return err
	}
	if err := os.MkdirAll(c.Shares, 0o700); err != nil {
		return err
	}
	first, last := outcome.Sharings[0], outcome.Sharings[len(outcome.Sharings)-1]
	file := fmt.Sprintf("epoch-%d-cohorts-%d-%d-manifest-%d.json", first.Epoch, first.Cohort, last.Cohort, draft.Version)
	// What an attempt before this one has left for the same manifest goes: nobody has
	// signed for it, and nobody would know which of the two is meant.
	if err := c.vault().Write(file, shares); err != nil {
		return err
	}
	text, err := json.MarshalIndent(outcome, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	switch was, err := os.ReadFile(*out); {
	case err == nil && !bytes.Equal(was, text):
		return fmt.Errorf("%s holds other commitments: either it is of another ceremony, or a dealer did not give all receivers the same", *out)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return err
	case err != nil:
		if err := manifest.WriteFile(*out, text); err != nil {
			return err
		}
	}
	fmt.Fprintf(stdout, "This is evaluator %d; its %d shares verify and wait in %s.\nThe same for all, for governance: %s\n", self.Index, len(shares), filepath.Join(c.Shares, file), *out)
	return nil
}

// destroy ends a ceremony: the shares before those in force go.
func destroy(_ context.Context, args []string, stdout, stderr io.Writer) error {
	fs := program.Flags("destroy", stderr)
	path := fs.String("config", "", "")
	if err := program.Parse(fs, args); err != nil {
		return err
	}
	c, err := readConfig(*path)
	if err != nil {
		return err
	}
	trust, err := c.trust()
	if err != nil {
		return err
	}
	m, _ := trust.Current()
	self, err := c.self(m)
	if err != nil {
		return err
	}
	due, err := c.vault().Due(m, time.Now())
	if err != nil {
		return err
	}
	for _, d := range due {
		if err := c.vault().Destroy(d, m, self.Index, time.Now()); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "Destroyed for good: the key of %s.\n", d.Key)
	}
	shares, err := c.vault().Read()
	if err != nil {
		return err
	}
	inForce, _, err := evaluator.Check(m, self.Index, shares, time.Now())
	if err != nil {
		return err
	}
	gone, err := c.vault().DestroyReplaced(inForce)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "Destroyed %d shares that others have replaced; %d are in force.\n", gone, len(inForce))
	return nil
}

// certify signs the certificates of what was destroyed.
func certify(_ context.Context, args []string, stdout, stderr io.Writer) error {
	fs := program.Flags("certify", stderr)
	path := fs.String("config", "", "")
	keyPath := fs.String("key", "", "")
	if err := program.Parse(fs, args); err != nil {
		return err
	}
	c, err := readConfig(*path)
	if err != nil {
		return err
	}
	signer, err := c.safe.ReadNote(*keyPath)
	if err != nil {
		return err
	}
	signed, err := c.vault().Sign(signer)
	for _, s := range signed {
		fmt.Fprintf(stdout, "Signed: the key of %s was destroyed at %s.\n", s.Key(), s.Time.Format(time.RFC3339))
	}
	return err
}

// round reads what a ceremony is about: the draft, and the manifest in force, nil
// where there is none yet.
func (c *config) round(path string) (draft, current *manifest.Manifest, err error) {
	pins, err := c.pins()
	if err != nil {
		return nil, nil, err
	}
	msg, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	if draft, err = pins.OpenDraft(msg); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	msg, err = os.ReadFile(c.Manifest)
	if errors.Is(err, os.ErrNotExist) {
		return draft, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if current, err = manifest.OpenManifest(msg, pins, time.Now()); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", c.Manifest, err)
	}
	if draft.Version <= current.Version {
		return nil, nil, fmt.Errorf("%s: %w", path, manifest.ErrVersion)
	}
	return draft, current, nil
}

// unsigned holds that this evaluator has signed no manifest with these sharings yet:
// then the shares that verify against it must stay.
func (c *config) unsigned(sharings []manifest.Sharing) error {
	signed, err := c.lastSigned()
	if err != nil || signed == nil {
		return err
	}
	for _, s := range sharings {
		if was, ok := signed.Sharing(s.Epoch, s.Cohort); ok && was.Number >= s.Number {
			return logging.Error("this evaluator has signed a manifest that has these sharings already; deal again for a draft with a higher version")
		}
	}
	return nil
}

// maxCohorts keeps a share file well under what package keys reads.
const maxCohorts = 100

func parseCohorts(s string) (first, last int, err error) {
	a, b, ok := strings.Cut(s, "-")
	first, err1 := strconv.Atoi(a)
	last, err2 := strconv.Atoi(b)
	if !ok || err1 != nil || err2 != nil || first < 1900 || last > 9999 || last < first || last-first >= maxCohorts {
		return 0, 0, fmt.Errorf("-cohorts is a range of birth years, such as 2005-2028, of at most %d years", maxCohorts)
	}
	return first, last, nil
}
