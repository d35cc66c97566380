// SPDX-License-Identifier: EUPL-1.2

package matcher_test

import (
	"crypto/ed25519"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/matcher/matchertest"
	"github.com/seinhuis/seinhuis/registry"
	"github.com/seinhuis/seinhuis/soak"
)

// A storedRegistry is what stands beside a stored database: its keys and those of the
// parties, made for this and used for nothing else, and what is to be found in it.
type storedRegistry struct {
	Keys    json.RawMessage
	Receipt []byte
	Parties [][]byte
	Live    []api.Submission
	Ended   []api.Submission
	Lines   []string
	Leaves  []string
}

const storedParties = 4

// TestRow13RegistryStores opens the database of every earlier version, finds in it what
// that version wrote, and goes on with it.
func TestRow13RegistryStores(t *testing.T) {
	soak.Stores(t, "registry", "registries of earlier versions", storeRegistry, openRegistry)
}

func storeRegistry(t *testing.T, folder string) {
	w := matchertest.New(t, storedParties)
	s := storedRegistry{Keys: registry.NewKeyFile(), Receipt: w.ReceiptKey.Seed()}
	for p := range storedParties {
		s.Parties = append(s.Parties, w.Key(p).Seed())
	}
	disk := vfs.NewMem()
	reopen(t, w, s.Keys, disk)

	child := matchertest.Child
	first, second, third := w.Signal(0, child(1)), w.Signal(1, child(1)), w.Signal(2, child(1))
	gone := w.Signal(0, child(2))
	w.Signal(3, child(2))
	w.Withdraw(gone)
	send(t, w, w.Write(1, child(3), api.NewSID(), 1, func(s *api.Statement) { s.Expires = registry.Today(w.Now()).AddDate(0, 0, 1) }))
	revised := send(t, w, w.Write(1, child(1), second.Statement.SID, 2))
	answer(t, w, first, revised, api.AnswerWillCall)
	if _, err := w.Import(t.Context(), matchertest.Party(3), []api.Submission{
		w.Write(3, child(1), api.NewSID(), 1).Submission, w.Write(3, child(4), api.NewSID(), 1).Submission,
	}); err != nil {
		t.Fatal(err)
	}
	w.Reopen()    // what came until now goes into tables
	w.OpenEpoch() // from here on with two faces
	renewed := send(t, w, w.Write(2, child(1), third.Statement.SID, 2))
	w.Advance(24 * time.Hour)
	if _, err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Live = []api.Submission{revised.Submission, renewed.Submission}
	s.Ended = []api.Submission{gone.Submission}
	s.Lines, s.Leaves = written(t, w, storedParties), slices.Sorted(slices.Values(leaves(t, w)))
	if err := w.Store.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "holds.json"), append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	if ok, err := vfs.Clone(disk, vfs.Default, "db", filepath.Join(folder, "db")); err != nil || !ok {
		t.Fatal(ok, err)
	}
	w.Open(vfs.NewMem()) // for the cleanup to close
}

// reopen puts other keys and another disk under a world.
func reopen(t *testing.T, w *matchertest.World, keys []byte, disk vfs.FS) {
	t.Helper()
	var err error
	if w.Keys, err = registry.ParseKeys(keys); err != nil {
		t.Fatal(err)
	}
	if err := w.Store.Close(); err != nil {
		t.Fatal(err)
	}
	w.Open(disk)
}

func openRegistry(t *testing.T, folder string) (rows int) {
	text, err := os.ReadFile(filepath.Join(folder, "holds.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s storedRegistry
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	w := matchertest.New(t, len(s.Parties))
	w.ReceiptKey = ed25519.NewKeyFromSeed(s.Receipt)
	for p, seed := range s.Parties {
		w.SetKey(p, ed25519.NewKeyFromSeed(seed))
	}
	disk := vfs.NewMem() // the stored one is left as it is
	if ok, err := vfs.Clone(vfs.Default, disk, filepath.Join(folder, "db"), "db"); err != nil || !ok {
		t.Fatal(ok, err)
	}
	w.OpenEpoch()
	w.Advance(24 * time.Hour)
	reopen(t, w, s.Keys, disk)

	sameLines(t, folder, written(t, w, len(s.Parties)), s.Lines)
	sameLines(t, folder, leaves(t, w), s.Leaves)
	if done, found := checked(t, w); len(found) > 0 || done.Signals == 0 || done.Answers == 0 {
		t.Errorf("%s: %+v, %q", folder, done, found)
	}
	for _, sub := range s.Live { // known, and withdrawn: the others are told
		st, err := api.ParseStatement(sub.Signed.Signed)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := w.Submit(t.Context(), st.Party, sub); err != nil || out.Created {
			t.Errorf("%s: a stored statement again: %v, %v", folder, out.Created, err)
		}
		before := len(w.Feed(0))
		w.Withdraw(matchertest.Paper{Statement: st, Submission: sub})
		if told := w.Feed(0); len(told) != before+1 || told[before].Kind != api.EventLeft {
			t.Errorf("%s: %d events more of a withdrawal", folder, len(told)-before)
		}
	}
	for _, sub := range s.Ended {
		st, err := api.ParseStatement(sub.Signed.Signed)
		if err != nil {
			t.Fatal(err)
		}
		again := w.Write(0, st.Faces[0].Tag, st.SID, 1)
		if _, err := w.Send(again); api.CodeOf(err) != api.CodeGone {
			t.Errorf("%s: what was withdrawn: %v", folder, err)
		}
	}
	w.Signal(0, matchertest.Child(4)) // meets what was stored
	if _, found := checked(t, w); len(found) > 0 {
		t.Errorf("%s: at the end %q", folder, found)
	}
	if err := w.Store.Close(); err != nil {
		t.Fatal(err)
	}
	w.Open(disk)
	return len(s.Lines) + len(s.Leaves)
}
