// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
)

// A forger signs what a registry is to show: with whatever keys he has.
type forger struct {
	*testing.T
	w    *gatewaytest.World
	his  *manifesttest.World // keys of his own, under the same names
	past [2][]byte           // notes of before

	house   *gatewaytest.House
	signals int
}

func (f *forger) all() []note.Signer { return append([]note.Signer{f.w.Governance}, f.w.Evaluators...) }

// manifest signs a manifest that follows the one in force, but for what change does.
func (f *forger) manifest(change func(*manifest.Manifest), signers ...note.Signer) []byte {
	f.Helper()
	was, _ := f.w.InForce()
	m := *was
	m.Version, m.Previous = was.Version+1, was.Hash()
	m.Evaluators, m.Sharings = slices.Clone(m.Evaluators), slices.Clone(m.Sharings)
	change(&m)
	text, err := m.Note()
	fatal(f, err)
	return manifesttest.Sign(f, text, signers...)
}

// directory is manifest, of a directory: one with a party more.
func (f *forger) directory(change func(*manifest.Directory), signers ...note.Signer) []byte {
	f.Helper()
	_, was := f.w.InForce()
	d := *was
	d.Version, d.Previous = was.Version+1, was.Hash()
	d.Parties = append(slices.Clone(d.Parties), f.party())
	change(&d)
	text, err := d.Note()
	fatal(f, err)
	return manifesttest.Sign(f, text, signers...)
}

// party is one that nobody knows, with a key of the forger's.
func (f *forger) party() manifest.Party {
	key := manifesttest.Random32()
	return manifest.Party{
		ID: "nl-kvk:99999999", Name: "Niemand", Kind: manifest.School, Region: "Utrecht",
		Keys: []manifest.Key{manifest.NewKey(manifest.UseTLS, key[:], f.w.Now().AddDate(-1, 0, 0))},
	}
}

// newForger has two versions published, and a gateway that has seen both.
func newForger(t *testing.T) *forger {
	t.Helper()
	w := gatewaytest.New(t, 1)
	f := &forger{T: t, w: w, his: manifesttest.New(t, gatewaytest.Threshold, gatewaytest.Evaluators)}
	f.past = [2][]byte{w.SignedManifest(t), w.SignedDirectory(t)}
	w.Publish()
	f.house = w.Run(0)
	fatal(t, f.victim().Refresh(t.Context()))
	return f
}

func (f *forger) victim() *gateway.Party { return f.house.Of(0) }

// shows has the registry answer with a note.
func (f *forger) shows(path string, signed []byte) {
	f.w.Registry.Rewrite(func(at string, answer []byte) []byte {
		if at == path {
			return signed
		}
		return answer
	})
}

// refused wants the gateway to go by what it had, to say so, and to go on.
func (f *forger) refused(t *testing.T, path string, signed []byte) {
	t.Helper()
	m, d := f.w.InForce()
	before := strings.Count(f.w.Log.String(), `"msg":"manifest or directory refused","path":"`+path+`"`)
	measured := counted(t, f.house, "seinhuis_gateway_roots_refused_total")
	f.shows(path, signed)
	if err := f.victim().Refresh(t.Context()); err == nil {
		t.Error("the gateway takes it")
	} else {
		t.Log(err)
	}
	about, err := f.victim().About(t.Context())
	if err != nil || about.Manifest != m.Version || about.Directory != d.Version {
		t.Errorf("the gateway goes by manifest %d and directory %d, want %d and %d (%v)", about.Manifest, about.Directory, m.Version, d.Version, err)
	}
	if strings.Count(f.w.Log.String(), `"msg":"manifest or directory refused","path":"`+path+`"`) == before {
		t.Error("the log does not tell")
	}
	if counted(t, f.house, "seinhuis_gateway_roots_refused_total") == measured {
		t.Error("it is not counted")
	}
	f.signals++
	if got := signal(t, f.victim(), child(f.signals), terms("jansen", "A")); got.State != gateway.StateRegistered {
		t.Errorf("a signal is %s", got.State)
	}
}

// counted is the value of a counter.
func counted(t *testing.T, h *gatewaytest.House, name string) float64 {
	t.Helper()
	families, err := h.Metrics.Gather()
	fatal(t, err)
	for _, f := range families {
		if f.GetName() == name {
			return f.Metric[0].Counter.GetValue()
		}
	}
	t.Fatalf("%s is not measured", name)
	return 0
}

// TestAttackForeignManifest: a registry shows a gateway a manifest that it should not go
// by. Had the gateway taken one, evaluators, keys and budgets would be the forger's.
func TestAttackForeignManifest(t *testing.T) {
	f := newForger(t)
	nothing := func(*manifest.Manifest) {}
	governance := f.w.Governance
	for name, forge := range map[string]func() []byte{
		"other_keys": func() []byte {
			return f.manifest(nothing, append([]note.Signer{f.his.Governance}, f.his.Evaluators...)...)
		},
		"its_own_signers": func() []byte { // who sign for themselves
			return f.manifest(func(m *manifest.Manifest) {
				m.Governance = f.his.Manifest.Governance
				for i := range m.Evaluators {
					m.Evaluators[i].Note = f.his.Manifest.Evaluators[i].Note
				}
			}, append([]note.Signer{f.his.Governance}, f.his.Evaluators...)...)
		},
		"governance_alone":      func() []byte { return f.manifest(nothing, governance) },
		"too_few_evaluators":    func() []byte { return f.manifest(nothing, governance, f.w.Evaluators[0]) },
		"too_few_and_his_own":   func() []byte { return f.manifest(nothing, governance, f.w.Evaluators[0], f.his.Evaluators[1]) },
		"one_evaluator_twice":   func() []byte { return twice(f.manifest(nothing, governance, f.w.Evaluators[0])) },
		"no_governance":         func() []byte { return f.manifest(nothing, f.w.Evaluators...) },
		"of_another_deployment": func() []byte { return f.manifest(func(m *manifest.Manifest) { m.Dep = "ander" }, f.all()...) },
		"older":                 func() []byte { return f.past[0] },
		"the_same_version_by_the_same": func() []byte {
			return f.manifest(func(m *manifest.Manifest) { m.Version--; m.Policy.AnswerDays = 9 }, f.all()...)
		},
		"after_another": func() []byte {
			return f.manifest(func(m *manifest.Manifest) { m.Previous = api.Hash{1} }, f.all()...)
		},
		"expired": func() []byte {
			return f.manifest(func(m *manifest.Manifest) { m.NotAfter = f.w.Now().Add(-time.Hour) }, f.all()...)
		},
		"another_public_key": func() []byte {
			return f.manifest(func(m *manifest.Manifest) {
				s := m.Sharings[0]
				m.Sharings[0].Number++
				m.Sharings[0].Commitments = []encoding.Base64{s.Commitments[1], s.Commitments[0]}
			}, f.all()...)
		},
		"a_public_key_gone": func() []byte {
			return f.manifest(func(m *manifest.Manifest) { m.Sharings = m.Sharings[1:] }, f.all()...)
		},
		"changed_by_a_byte": func() []byte {
			return bytes.Replace(f.manifest(nothing, f.all()...), []byte(`"answerDays": 5`), []byte(`"answerDays": 6`), 1)
		},
		"a_directory": func() []byte { return f.directory(func(*manifest.Directory) {}, f.all()...) },
	} {
		t.Run("rejects/"+name, func(t *testing.T) { f.refused(t, "/v1/manifest", forge()) })
	}
	t.Run("accepts/what_follows", func(t *testing.T) { // so the forger's hand is a good one
		f.shows("/v1/manifest", f.manifest(nothing, governance, f.w.Evaluators[0], f.w.Evaluators[2]))
		fatal(t, f.victim().Refresh(t.Context()))
	})
}

// TestAttackForeignDirectory: the same of a directory, with a party in it of the forger's.
func TestAttackForeignDirectory(t *testing.T) {
	f := newForger(t)
	nothing := func(*manifest.Directory) {}
	signer := f.w.DirectorySigner
	for name, forge := range map[string]func() []byte{
		"other_keys":            func() []byte { return f.directory(nothing, f.his.DirectorySigner) },
		"governance":            func() []byte { return f.directory(nothing, f.w.Governance) },
		"all_evaluators":        func() []byte { return f.directory(nothing, f.w.Evaluators...) },
		"nobody_we_know":        func() []byte { return f.directory(nothing, f.his.Governance) },
		"of_another_deployment": func() []byte { return f.directory(func(d *manifest.Directory) { d.Dep = "ander" }, signer) },
		"older":                 func() []byte { return f.past[1] },
		"the_same_version":      func() []byte { return f.directory(func(d *manifest.Directory) { d.Version-- }, signer) },
		"after_another":         func() []byte { return f.directory(func(d *manifest.Directory) { d.Previous = api.Hash{1} }, signer) },
		"expired": func() []byte {
			return f.directory(func(d *manifest.Directory) { d.NotAfter = f.w.Now().Add(-time.Hour) }, signer)
		},
		"changed_by_a_byte": func() []byte {
			return bytes.Replace(f.directory(nothing, signer), []byte("Niemand"), []byte("Iemand "), 1)
		},
		"a_manifest": func() []byte { return f.manifest(func(*manifest.Manifest) {}, signer) },
	} {
		t.Run("rejects/"+name, func(t *testing.T) { f.refused(t, "/v1/directory", forge()) })
	}
	t.Run("accepts/what_follows", func(t *testing.T) {
		f.shows("/v1/directory", f.directory(nothing, signer))
		fatal(t, f.victim().Refresh(t.Context()))
	})
}

// TestAttackUnloggedDirectory: governance itself signs a directory with a false party, for
// one gateway's eyes. It is taken, for its signature is good, and an alarm within ten minutes:
// it is not in the log that evaluators witness.
func TestAttackUnloggedDirectory(t *testing.T) {
	x := newLogged(t)
	x.want("before", "")
	f := &forger{T: t, w: x.World}
	x.changing("/v1/directory", func([]byte) []byte { return f.directory(func(*manifest.Directory) {}, x.DirectorySigner) })
	fatal(t, x.h.Of(0).Refresh(t.Context()))
	x.Sequence()
	x.want("at once", "")
	x.Advance(10 * time.Minute)
	x.Sequence()
	x.want("ten minutes later", string(gateway.LogFaultDirectory))
}

// TestAttackUnloggedManifest: the same, of governance and all evaluators together.
func TestAttackUnloggedManifest(t *testing.T) {
	x := newLogged(t)
	x.want("before", "")
	f := &forger{T: t, w: x.World}
	x.changing("/v1/manifest", func([]byte) []byte { return f.manifest(func(*manifest.Manifest) {}, f.all()...) })
	fatal(t, x.h.Of(0).Refresh(t.Context()))
	x.Sequence()
	x.want("at once", "")
	x.Advance(10 * time.Minute)
	x.Sequence()
	x.want("ten minutes later", string(gateway.LogFaultManifest))
}

// twice repeats the last signature of a note, under the key's own name.
func twice(signed []byte) []byte {
	lines := bytes.SplitAfter(signed, []byte("\n"))
	return slices.Concat(append(lines, lines[len(lines)-2])...)
}
