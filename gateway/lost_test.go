// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
	"github.com/seinhuis/seinhuis/registry"
)

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come: " + what)
		}
	}
}

// lostRenewal gives a gateway whose store is from before a renewal that the registry
// has: it was restored from a backup.
func lostRenewal(t *testing.T, w *gatewaytest.World) (*gateway.Party, gateway.Status) {
	t.Helper()
	fs := vfs.NewCrashableMem()
	h := w.RunOn(fs, 0)
	s := signal(t, h.Of(0), child(1), terms("jansen", "A-1"))
	backup := fs.CrashClone(vfs.CrashCloneCfg{})
	if _, err := h.Of(0).Renew(s.ID, gateway.Subject{}, gateway.Terms{}); err != nil {
		t.Fatal(err)
	}
	settled(t, h.Of(0), s.ID)
	h.Stop()
	a := w.RunOn(backup, 0).Of(0)
	if s = settled(t, a, s.ID); s.Signal.Rev != 1 {
		t.Fatalf("the renewal is not lost: rev %d", s.Signal.Rev)
	}
	return a, s
}

func TestAWithdrawalFindsALostRevision(t *testing.T) {
	w := gatewaytest.New(t, 2)
	a, s := lostRenewal(t, w)
	if _, err := a.Withdraw(s.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	if s := settled(t, a, s.ID); s.State != gateway.StateWithdrawn {
		t.Errorf("it is %s", s.State)
	}
	if s := signal(t, w.Run(1).Of(1), child(1), terms("bakker", "B-1")); s.Signal.Others != 0 {
		t.Error("the signal still stands at the registry")
	}
}

func TestColleaguesJoinALostRevision(t *testing.T) {
	a, _ := lostRenewal(t, gatewaytest.New(t, 1))
	for _, owner := range []string{"bakker", "citroen"} {
		if s := signal(t, a, child(1), terms(owner, "A-"+owner)); s.State != gateway.StateMerged || s.Signal.Rev != 2 {
			t.Errorf("%s: %s, rev %d", owner, s.State, s.Signal.Rev)
		}
	}
}

// What the registry stored, and whose answer was lost, it knows again by its bytes,
// also when it would not take them any more.
func TestALostAnswerIsFoundAlthoughTheEpochsChanged(t *testing.T) {
	w := gatewaytest.New(t, 1)
	a := w.Run(0).Of(0)
	w.Registry.Set(gatewaytest.Loses)
	s, err := a.Signal(child(1), terms("jansen", "A-1"))
	if err != nil {
		t.Fatal(err)
	}
	waitsFor(t, a, s.ID, gateway.WaitRegistry)
	w.OpenEpoch(2)
	w.Publish()
	w.Registry.Set(gatewaytest.Works)
	if s := settled(t, a, s.ID); s.State != gateway.StateRegistered {
		t.Errorf("it is %s", s.State)
	}
}

// A withdrawal that waited while an epoch was closed carries a tag that the registry
// does not match on any more. It is signed anew at once: a child is waiting for it.
func TestAWithdrawalOutlivesItsEpoch(t *testing.T) {
	w := gatewaytest.New(t, 1)
	w.OpenEpoch(2)
	w.Publish()
	a := w.Run(0).Of(0)
	s := signal(t, a, child(1), terms("jansen", "A-1"))
	w.Registry.Set(gatewaytest.Away)
	if _, err := a.Withdraw(s.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	waitsFor(t, a, s.ID, gateway.WaitRegistry)
	w.Manifest.Epochs[0].State = manifest.EpochClosed
	w.Publish()
	if done, err := w.Matcher.Rebuild(t.Context()); err != nil || done.Moved != 1 {
		t.Fatal(done, err)
	}
	w.Registry.Set(gatewaytest.Works)
	if s := settled(t, a, s.ID); s.State != gateway.StateWithdrawn || s.Ending != api.ReasonEnded {
		t.Errorf("it is %s (%s)", s.State, s.Ending)
	}
	err := w.Matcher.Store.Scan(t.Context(), registry.Idx{}, func(registry.Idx, []registry.Signal, registry.Match) error {
		return errors.New("the signal still stands at the registry")
	})
	if err != nil {
		t.Error(err)
	}
}

// A party that is new since a fetch during the long poll is looked up anew.
func TestTheDirectoryIsFetchedAfterTheEvent(t *testing.T) {
	w := gatewaytest.New(t, 2)
	later := w.Directory.Parties[1]
	w.Directory.Parties = w.Directory.Parties[:1]
	w.Publish()
	a := w.Run(0).Of(0)
	signal(t, a, child(1), terms("jansen", "A-1"))
	time.Sleep(300 * time.Millisecond) // the poll stands
	if err := a.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Directory.Parties = append(w.Directory.Parties, later)
	w.Publish()
	signal(t, w.RunOn(vfs.NewMem(), 1).Of(1), child(1), terms("bakker", "B-1"))
	if m := inbox(t, a, 1)[0]; m.Problem != "" || m.Other.Card.IsZero() {
		t.Errorf("told with problem %q", m.Problem)
	}
}

// A registry that answers with the receipt of another child's signal is not taken
// at its word.
func TestAReceiptOfAnotherChildIsNotTaken(t *testing.T) {
	w := gatewaytest.New(t, 1)
	a := w.Run(0).Of(0)
	var first []byte
	w.Registry.Rewrite(func(path string, body []byte) []byte {
		if path == "/v1/signals" && first == nil {
			first = append(first, body...)
		} else if path == "/v1/signals" {
			return first
		}
		return body
	})
	signal(t, a, child(1), terms("jansen", "A-1"))
	s, err := a.Signal(child(2), terms("bakker", "A-2"))
	if err != nil {
		t.Fatal(err)
	}
	waitsFor(t, a, s.ID, gateway.WaitRegistry)
	w.Registry.Rewrite(nil)
	if s := settled(t, a, s.ID); s.State != gateway.StateRegistered {
		t.Errorf("it is %s", s.State)
	}
}

func TestTheFilesOfTheFirstDayStayGoodWhenTheSignerChanges(t *testing.T) {
	w := gatewaytest.New(t, 1)
	h := w.OpenOn(vfs.NewMem(), 0)
	first := [2][]byte{read(t, h.Config.Manifest), read(t, h.Config.Directory)}
	w.DirectorySigner, w.Manifest.DirectorySigner = manifesttest.Signer(t, "directory")
	w.Publish()
	w.Configure(0)
	if err := errors.Join(h.Reload(), h.Close()); err != nil {
		t.Fatal(err)
	}
	for i, path := range []string{h.Config.Manifest, h.Config.Directory} {
		if err := os.WriteFile(path, first[i], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g, err := gateway.Open(h.Config, gateway.Options{Now: w.Now, FS: h.FS})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestAReferenceWithAnotherPersonsNumberIsRefused(t *testing.T) {
	w := gatewaytest.New(t, 1)
	r, err := w.OpenOn(vfs.NewMem(), 0).Of(0).Report([]gateway.Person{
		{Subject: child(1), Reference: "broer van " + bsn(2)}, {Subject: child(2), Reference: "B"},
		{Reference: "zus van " + bsn(2)},
	}, terms("jansen", "M-1"))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false, true} {
		person := r.Persons[i]
		if refused := len(person.Faults) > 0 && person.Registration.IsZero() && person.Reference == ""; refused != want {
			t.Errorf("person %d: refused %v", i+1, refused)
		}
	}
}

// A disk that fails ends the process, also when a request's handler finds out:
// others can read what is not on it.
func TestAFailingDiskEndsTheProcess(t *testing.T) {
	if os.Getenv("SEINHUIS_TEST_DISK") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), "SEINHUIS_TEST_DISK=fails", "TMPDIR="+t.TempDir()) // it ends without clearing up
		out, err := cmd.CombinedOutput()
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok || exit.ExitCode() != 1 || !strings.Contains(string(out), "the store stops") || strings.Contains(string(out), "went on") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	var failing atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if failing.Load() && strings.HasSuffix(op.Path, ".log") {
			return errorfs.ErrInjected
		}
		return nil
	}))
	w := gatewaytest.New(t, 1)
	a := w.OpenOn(fs, 0).Of(0)
	failing.Store(true)
	func() {
		defer func() { recover() }() // as a server does
		a.Signal(child(1), terms("jansen", "A-1"))
	}()
	os.Stdout.WriteString("went on\n")
}

// What lies in the data folder is sealed, and how much there is of it is nobody else's
// to see either.
func TestTheDataFolderIsTheOwnersAlone(t *testing.T) {
	w := gatewaytest.New(t, 1)
	c := w.Configure(0)
	c.Data = filepath.Join(t.TempDir(), "data")
	g, err := gateway.Open(c, gateway.Options{Now: w.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if info, err := os.Stat(c.Data); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}
