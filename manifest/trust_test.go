// SPDX-License-Identifier: EUPL-1.2

package manifest_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
)

// trusting writes a world's files and gives their names.
func trusting(t *testing.T, w *manifesttest.World) manifest.Files {
	t.Helper()
	dir := t.TempDir()
	f := manifest.Files{
		Pins: filepath.Join(dir, "pins.json"), Manifest: filepath.Join(dir, "manifest.txt"),
		Directory: filepath.Join(dir, "directory.txt"), Kept: filepath.Join(dir, "kept"),
	}
	pins, err := json.Marshal(w.Pins())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(f.Kept, 0o700), os.WriteFile(f.Pins, pins, 0o600)); err != nil {
		t.Fatal(err)
	}
	publish(t, f, w)
	return f
}

func publish(t *testing.T, f manifest.Files, w *manifesttest.World) {
	t.Helper()
	err := errors.Join(manifest.WriteFile(f.Manifest, w.SignedManifest(t)), manifest.WriteFile(f.Directory, w.SignedDirectory(t)))
	if err != nil {
		t.Fatal(err)
	}
}

// age puts version 2 of both notes in the world.
func age(t *testing.T, w *manifesttest.World) {
	t.Helper()
	w.Manifest = next(t, w.Manifest)
	d := *w.Directory
	d.Version, d.Previous = 2, w.Directory.Hash()
	w.Directory = &d
}

func TestTrust(t *testing.T) {
	w := world(t)
	f := trusting(t, w)
	trust, err := manifest.Load(f, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := trust.Reload(now); err != nil {
		t.Errorf("the same notes again: %v", err)
	}
	first := *w
	age(t, w)
	publish(t, f, w)
	if err := trust.Reload(now); err != nil {
		t.Fatal(err)
	}
	version := func() [2]uint64 {
		m, d := trust.Current()
		return [2]uint64{m.Version, d.Version}
	}
	if version() != [2]uint64{2, 2} {
		t.Errorf("in force: %v", version())
	}
	publish(t, f, &first)
	for when, err := range map[string]error{"while_it_runs": trust.Reload(now), "after_a_restart": second(manifest.Load(f, now))} {
		t.Run("rejects/older_notes_"+when, func(t *testing.T) {
			if !errors.Is(err, manifest.ErrVersion) {
				t.Errorf("got %v, want ErrVersion", err)
			}
		})
	}
	if version() != [2]uint64{2, 2} {
		t.Errorf("in force after a refusal: %v", version())
	}
	if m, err := manifest.ReadKept(f.Kept); err != nil || m.Hash() != w.Manifest.Hash() {
		t.Errorf("kept: %v", err)
	}
	t.Run("rejects/older_directory_beside_the_manifest", func(t *testing.T) {
		mixed := *w
		mixed.Directory = first.Directory
		publish(t, f, &mixed)
		if err := trust.Reload(now); !errors.Is(err, manifest.ErrVersion) {
			t.Errorf("got %v, want ErrVersion", err)
		}
	})
	t.Run("rejects/kept_note_damaged", func(t *testing.T) {
		publish(t, f, w)
		if err := os.WriteFile(filepath.Join(f.Kept, "manifest.txt"), []byte("seinhuis/1/manifest\n{}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := manifest.Load(f, now); err == nil {
			t.Error("whoever damages what was kept gets a lower version in")
		}
	})
}

func TestWriteFileLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "folder")
	if err := os.MkdirAll(filepath.Join(path, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := manifest.WriteFile(path, []byte("note")); err == nil {
		t.Fatal("a folder was replaced")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestSummary(t *testing.T) {
	w := parties(t)
	w.Manifest = world(t).Manifest
	for _, want := range []string{`"test", version 1`, "2 of 3", "cohorts 2012-2013, sharing 1", "cohort 2012, sharing 1", w.Manifest.Evaluators[2].Note, w.Manifest.Hash().String()} {
		if !strings.Contains(w.Manifest.Summary(), want) {
			t.Errorf("%q is not in\n%s", want, w.Manifest.Summary())
		}
	}
	w.Directory.Parties[0].Keys[0].Revoked = true
	for _, want := range []string{string(school), "REVOKED", w.Directory.Parties[1].Keys[2].ID.String()} {
		if !strings.Contains(w.Directory.Summary(), want) {
			t.Errorf("%q is not in\n%s", want, w.Directory.Summary())
		}
	}
}
