// SPDX-License-Identifier: EUPL-1.2

package evaluator

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
)

func newVault(t testing.TB) Vault {
	t.Helper()
	folder := t.TempDir()
	if err := keys.Clear.WriteSecret(filepath.Join(folder, "sealing.key"), 32); err != nil {
		t.Fatal(err)
	}
	safe, err := keys.OpenSafe(filepath.Join(folder, "sealing.key"))
	if err != nil {
		t.Fatal(err)
	}
	v := Vault{Shares: filepath.Join(folder, "shares"), Wrapping: filepath.Join(folder, "wrapping"), Destroyed: filepath.Join(folder, "destroyed"), Safe: safe}
	if err := os.Mkdir(v.Shares, 0o700); err != nil {
		t.Fatal(err)
	}
	return v
}

// files are all files of the vault, by path.
func (v Vault) files(t testing.TB) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, folder := range []string{v.Shares, v.Wrapping, v.Destroyed} {
		maps.Copy(all, read(t, folder))
	}
	return all
}

func read(t testing.TB, folder string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	list, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, file := range list {
		path := filepath.Join(folder, file.Name())
		if all[path], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// put makes a folder what it was in a backup.
func put(t testing.TB, folder string, files map[string][]byte) {
	t.Helper()
	os.RemoveAll(folder)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for path, text := range files {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func (v Vault) mustRead(t testing.TB) []Share {
	t.Helper()
	shares, err := v.Read()
	if err != nil {
		t.Fatal(err)
	}
	return shares
}

func cohorts(shares []Share) (list []int) {
	for _, s := range shares {
		list = append(list, s.Cohort)
	}
	slices.Sort(list)
	return list
}

func TestVault(t *testing.T) {
	d, v := newDeployment(t), newVault(t)
	if err := v.Write("a.json", d.shares[1]); err != nil {
		t.Fatal(err)
	}
	if _, missing, err := Check(d.Manifest, 2, v.mustRead(t), manifesttest.Now); err != nil || len(missing) > 0 {
		t.Errorf("missing %v, %v", missing, err)
	}
	for path, text := range v.files(t) {
		for _, s := range d.shares[1] {
			value, _ := s.Value.MarshalBinary()
			if bytes.Contains(text, []byte(base64.StdEncoding.EncodeToString(value))) || bytes.Contains(text, value) {
				t.Errorf("%s shows a share", path)
			}
		}
	}
	t.Run("rejects/without_wrapping_key", func(t *testing.T) {
		kept := read(t, v.Wrapping)
		os.Remove(v.wrappingFile(Key{1, 2012}))
		if _, err := v.Read(); !errors.Is(err, ErrWrapping) || !strings.Contains(err.Error(), "cohort 2012") {
			t.Errorf("%v, want ErrWrapping", err)
		}
		put(t, v.Wrapping, kept)
	})
	t.Run("rejects/wrapping_key_of_another_cohort", func(t *testing.T) {
		kept := read(t, v.Wrapping)
		root, _ := v.Safe.ReadPrivate(v.wrappingFile(Key{1, 2013}))
		if err := v.Safe.ReplacePrivate(v.wrappingFile(Key{1, 2012}), root); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Read(); !errors.Is(err, ErrWrapped) {
			t.Errorf("%v, want ErrWrapped", err)
		}
		put(t, v.Wrapping, kept)
	})
	t.Run("rejects/share_of_another_sharing", func(t *testing.T) {
		kept := read(t, v.Shares)
		path := filepath.Join(v.Shares, "a.json")
		os.WriteFile(path, bytes.Replace(kept[path], []byte(`"sharing": 1`), []byte(`"sharing": 2`), 1), 0o600)
		if _, err := v.Read(); !errors.Is(err, ErrWrapped) {
			t.Errorf("%v, want ErrWrapped", err)
		}
		put(t, v.Shares, kept)
	})
	t.Run("rejects/without_sealing_key", func(t *testing.T) {
		open := v
		open.Safe = nil
		if _, err := open.Read(); !errors.Is(err, keys.ErrSealed) {
			t.Errorf("%v, want ErrSealed", err)
		}
	})
	t.Run("rejects/sealed_and_in_clear", func(t *testing.T) {
		if _, err := parseShareFile([]byte(`{"shares":[{"epoch":1,"cohort":2012,"sharing":1,"index":2,"value":"AA==","sealed":"AA=="}]}`)); !errors.Is(err, ErrValue) {
			t.Errorf("%v, want ErrValue", err)
		}
	})
}

// Shares of before wrapping keys lie in clear; they are read, and sealed where they lie.
func TestSharesInClearAreSealed(t *testing.T) {
	d, v := newDeployment(t), newVault(t)
	text, err := MarshalShares(d.shares[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Clear.WritePrivate(filepath.Join(v.Shares, "old.json"), text); err != nil {
		t.Fatal(err)
	}
	if got := cohorts(v.mustRead(t)); !slices.Equal(got, []int{2012, 2013}) {
		t.Errorf("read %v", got)
	}
	for _, want := range []int{2, 0} {
		if n, err := v.Wrap(); n != want || err != nil {
			t.Errorf("sealed %d, want %d (%v)", n, want, err)
		}
		if _, missing, err := Check(d.Manifest, 1, v.mustRead(t), manifesttest.Now); err != nil || len(missing) > 0 {
			t.Errorf("missing %v, %v", missing, err)
		}
	}
	if after := read(t, v.Shares)[filepath.Join(v.Shares, "old.json")]; bytes.Contains(after, []byte("value")) {
		t.Error("a share is still in clear")
	}
}

// grownUp is when the cohort of 2012 has turned 23, to the second.
var grownUp = time.Date(2035, 12, 31, 23, 0, 0, 0, time.UTC)

func newGrown(t testing.TB) (*deployment, Vault) {
	t.Helper()
	d, v := newDeployment(t), newVault(t)
	d.Manifest.NotAfter = grownUp.AddDate(0, 1, 0)
	if err := v.Write("a.json", d.shares[0]); err != nil {
		t.Fatal(err)
	}
	return d, v
}

func mustDestroy(t testing.TB, v Vault, m *manifest.Manifest, now time.Time) []Due {
	t.Helper()
	due, err := v.Due(m, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range due {
		if err := v.Destroy(d, m, 1, now); err != nil {
			t.Fatal(err)
		}
	}
	return due
}

func TestDue(t *testing.T) {
	d, v := newGrown(t)
	closed := *d.Manifest
	closed.Epochs = []manifest.Epoch{{Number: 1, State: manifest.EpochClosed}, {Number: 2, State: manifest.EpochOpen}}
	stolen := *d.Manifest
	stolen.Epochs = []manifest.Epoch{{Number: 1, State: manifest.EpochCompromised}, {Number: 2, State: manifest.EpochOpen}}
	for name, c := range map[string]struct {
		m    *manifest.Manifest
		now  time.Time
		want string
	}{
		"a second before":          {d.Manifest, grownUp.Add(-time.Second), "[]"},
		"on the day":               {d.Manifest, grownUp, "[epoch 1, cohort 2012 grown]"},
		"a clock that is far off":  {d.Manifest, d.Manifest.NotAfter.Add(time.Second), "[]"},
		"a closed epoch":           {&closed, manifesttest.Now, "[epoch 1, cohort 2012 closed epoch 1, cohort 2013 closed]"},
		"a compromised epoch":      {&stolen, manifesttest.Now, "[epoch 1, cohort 2012 closed epoch 1, cohort 2013 closed]"},
		"a closed epoch in a year": {&closed, grownUp, "[epoch 1, cohort 2012 closed epoch 1, cohort 2013 closed]"},
	} {
		due, err := v.Due(c.m, c.now)
		var got []string
		for _, d := range due {
			got = append(got, d.Key.String()+" "+string(d.Why))
		}
		if fmt.Sprint(got) != c.want || err != nil {
			t.Errorf("%s: %v, want %s (%v)", name, got, c.want, err)
		}
	}
}

func TestDestroyed(t *testing.T) {
	d, v := newGrown(t)
	was := read(t, v.Wrapping)
	root, err := v.Safe.Secret(v.wrappingFile(Key{1, 2012}))
	if err != nil {
		t.Fatal(err)
	}
	mustDestroy(t, v, d.Manifest, grownUp)
	if got := cohorts(v.mustRead(t)); !slices.Equal(got, []int{2013}) {
		t.Errorf("left are shares of %v", got)
	}
	if now := read(t, v.Wrapping); len(now) != len(was)-1 || now[v.wrappingFile(Key{1, 2012})] != nil {
		t.Errorf("%d wrapping keys are left of %d", len(now), len(was))
	}
	if due, err := v.Due(d.Manifest, grownUp.AddDate(0, 0, 1)); len(due) > 0 || err != nil {
		t.Errorf("due again: %v, %v", due, err)
	}

	signed, err := v.Sign(d.Evaluators[0])
	if err != nil || len(signed) != 1 {
		t.Fatalf("%d certificates, %v", len(signed), err)
	}
	c, hash, err := d.Manifest.OpenDestruction(signed[0].Note, grownUp)
	text, _ := manifest.TextOf(signed[0].Note)
	if err != nil || c.Evaluator != 1 || c.Epoch != 1 || c.Cohort != 2012 || c.Why != manifest.Grown || !c.Time.Equal(grownUp) ||
		!slices.Equal(c.Sharings, []uint64{1}) || c.WrappingKey != api.Hash(sha256.Sum256(root)) || hash != sha256.Sum256([]byte(text)) {
		t.Errorf("%+v, %v", c, err)
	}
	for reason, change := range map[string]func() ([]byte, time.Time){
		"before_its_time":    func() ([]byte, time.Time) { return signed[0].Note, grownUp.Add(-time.Hour) },
		"another_evaluators": func() ([]byte, time.Time) { return resigned(t, d, text, 1), grownUp },
		"cohort_not_grown_up": func() ([]byte, time.Time) {
			return resigned(t, d, strings.Replace(text, "2012", "2013", 1), 0), grownUp
		},
		"another_deployment": func() ([]byte, time.Time) {
			return resigned(t, d, strings.Replace(text, d.Manifest.Dep, "other", 1), 0), grownUp
		},
		"epoch_that_is_open": func() ([]byte, time.Time) {
			return resigned(t, d, strings.Replace(text, `"grown"`, `"closed"`, 1), 0), grownUp
		},
		"no_signature": func() ([]byte, time.Time) { return []byte(text), grownUp },
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			msg, now := change()
			if bytes.Equal(msg, signed[0].Note) && reason != "before_its_time" {
				t.Fatal("nothing was changed")
			}
			if _, _, err := d.Manifest.OpenDestruction(msg, now); err == nil {
				t.Error("accepted")
			}
		})
	}

	if untaken, err := v.Untaken(); len(untaken) != 1 || err != nil {
		t.Errorf("%d to deliver, %v", len(untaken), err)
	}
	if err := v.Taken(signed[0]); err != nil {
		t.Fatal(err)
	}
	if untaken, err := v.Untaken(); len(untaken) != 0 || err != nil {
		t.Errorf("%d to deliver, %v", len(untaken), err)
	}
}

func resigned(t testing.TB, d *deployment, text string, by int) []byte {
	t.Helper()
	msg, err := manifest.AddSignature([]byte(text), d.Evaluators[by])
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

// What was destroyed stays so: whichever folder comes back from a backup, and whatever
// the clock says then.
func TestDestroyedStaysDestroyed(t *testing.T) {
	for name, folders := range map[string]func(v Vault) []string{
		"shares":   func(v Vault) []string { return []string{v.Shares} },
		"wrapping": func(v Vault) []string { return []string{v.Wrapping} },
		"both":     func(v Vault) []string { return []string{v.Shares, v.Wrapping} },
	} {
		for _, certified := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " certified ", certified), func(t *testing.T) {
				d, v := newGrown(t)
				backup := v.files(t)
				mustDestroy(t, v, d.Manifest, grownUp)
				if certified {
					if _, err := v.Sign(d.Evaluators[0]); err != nil {
						t.Fatal(err)
					}
				}
				certificate := read(t, v.Destroyed)
				for _, folder := range folders(v) {
					put(t, folder, only(backup, folder))
				}
				if got := cohorts(v.mustRead(t)); !slices.Equal(got, []int{2013}) {
					t.Errorf("put back, shares of %v are used", got)
				}
				if _, err := v.Wrap(); err != nil {
					t.Error(err)
				}
				if err := v.Write("new.json", d.shares[0][:1]); !errors.Is(err, ErrDestroyed) {
					t.Errorf("a new share of it: %v, want ErrDestroyed", err)
				}
				// The clock is set back.
				due := mustDestroy(t, v, d.Manifest, grownUp.AddDate(-1, 0, 0))
				if len(due) != 1 || due[0].Key != (Key{1, 2012}) || due[0].Again != certified {
					t.Errorf("due: %+v", due)
				}
				if held, err := v.held(); err != nil || len(held) != 1 {
					t.Errorf("held: %v, %v", held, err)
				}
				if after := read(t, v.Destroyed); !maps.EqualFunc(after, certificate, bytes.Equal) {
					t.Error("the certificate is another one")
				}
			})
		}
	}
}

func only(files map[string][]byte, folder string) map[string][]byte {
	part := map[string][]byte{}
	for path, text := range files {
		if filepath.Dir(path) == folder {
			part[path] = text
		}
	}
	return part
}

// Killed after any step, the key is due again until nothing is left; it is certified
// once, and not before.
func TestDestroyingKilledAtEveryStep(t *testing.T) {
	for killed := range 4 {
		d, v := newGrown(t)
		due, err := v.Due(d.Manifest, grownUp)
		if err != nil || len(due) != 1 {
			t.Fatal(due, err)
		}
		text, err := v.text(due[0], d.Manifest, 1, grownUp)
		if err != nil {
			t.Fatal(err)
		}
		steps := v.destroying(due[0], text)
		if len(steps) != 3 {
			t.Fatalf("%d steps", len(steps))
		}
		for _, step := range steps[:killed] {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
		if unsigned, err := v.Unsigned(); err != nil || (len(unsigned) > 0) != (killed == len(steps)) {
			t.Errorf("after %d steps %d can be certified, %v", killed, len(unsigned), err)
		}
		again := mustDestroy(t, v, d.Manifest, grownUp.Add(time.Minute))
		if (len(again) == 0) != (killed == len(steps)) {
			t.Errorf("after %d steps due: %+v", killed, again)
		}
		signed, err := v.Sign(d.Evaluators[0])
		if err != nil || len(signed) != 1 || signed[0].WrappingKey == (api.Hash{}) {
			t.Errorf("after %d steps: %+v, %v", killed, signed, err)
		}
		if got := cohorts(v.mustRead(t)); !slices.Equal(got, []int{2013}) {
			t.Errorf("after %d steps left: %v", killed, got)
		}
	}
}

// A wrapping key that was lost before its day is no reason to keep the shares.
func TestDestroyWithoutWrappingKey(t *testing.T) {
	d, v := newGrown(t)
	os.RemoveAll(v.Wrapping)
	mustDestroy(t, v, d.Manifest, grownUp)
	signed, err := v.Sign(d.Evaluators[0])
	if err != nil || len(signed) != 1 || signed[0].WrappingKey != (api.Hash{}) {
		t.Errorf("%+v, %v", signed, err)
	}
}
