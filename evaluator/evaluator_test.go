// SPDX-License-Identifier: EUPL-1.2

package evaluator

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/oprf"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/manifest/manifesttest"
)

const party, otherParty = "nl-kvk:12345678", "nl-brin:12AB"

// deployment has 2-of-3 evaluators with keys of two cohorts, all dealt for real.
type deployment struct {
	*manifesttest.World
	shares [][]Share // by evaluator, from 0
}

func newDeployment(t testing.TB) *deployment {
	t.Helper()
	d := &deployment{World: manifesttest.New(t, 2, 3), shares: make([][]Share, 3)}
	for _, cohort := range []int{2012, 2013} {
		d.deal(t, Key{1, cohort}, 1)
	}
	return d
}

func (d *deployment) deal(t testing.TB, key Key, sharing uint64) {
	t.Helper()
	commitments, shares, err := oprf.Deal(2, 3)
	if err != nil {
		t.Fatal(err)
	}
	s := manifest.Sharing{Epoch: key.Epoch, Cohort: key.Cohort, Number: sharing}
	for _, c := range commitments.Bytes() {
		s.Commitments = append(s.Commitments, encoding.Base64(c))
	}
	d.Manifest.Sharings = append(d.Manifest.Sharings, s)
	for i, share := range shares {
		d.shares[i] = append(d.shares[i], Share{key, sharing, share})
	}
}

func newBudgets(t testing.TB) *Budgets {
	t.Helper()
	b, err := OpenBudgets("", BudgetOptions{FS: vfs.NewMem(), Logger: quiet{t}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

type quiet struct{ testing.TB }

func (quiet) Infof(string, ...any)        {}
func (q quiet) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

func partyOf(id string) manifest.Party { return manifest.Party{ID: api.PartyID(id)} }

func request(epoch uint64, cohort int, sharing uint64, elements [][]byte) Request {
	return Request{Epoch: epoch, Cohort: cohort, Sharing: sharing, Elements: elements}
}

func at(now time.Time) func() time.Time { return func() time.Time { return now } }

func blind(t testing.TB, n int) *oprf.Blinding {
	t.Helper()
	inputs := make([][]byte, n)
	for i := range inputs {
		inputs[i] = fmt.Appendf(nil, "input %d", i)
	}
	b, err := oprf.Blind(inputs)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func start(t testing.TB, d *deployment, index int, now time.Time) *Evaluator {
	t.Helper()
	e, err := New(newBudgets(t), at(now), d.Manifest, index, d.shares[index-1])
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Any two of the three give the same outputs.
func TestAnyThreshold(t *testing.T) {
	d := newDeployment(t)
	blinding := blind(t, 5)
	sharing, _ := d.Manifest.Sharing(1, 2012)
	commitments, err := oprf.ParseCommitments(sharing.Points())
	if err != nil {
		t.Fatal(err)
	}
	var partials []oprf.Partial
	for index := 1; index <= 3; index++ {
		a, err := start(t, d, index, manifesttest.Now).Evaluate(partyOf(party), request(1, 2012, 1, blinding.Elements()))
		if err != nil {
			t.Fatal(err)
		}
		p, err := blinding.Verify(commitments, a.Index, a.Elements, a.Proof)
		if err != nil {
			t.Fatalf("evaluator %d: %v", index, err)
		}
		partials = append(partials, p)
	}
	var want [][]byte
	for _, pair := range [][]oprf.Partial{partials[:2], partials[1:], {partials[2], partials[0]}} {
		got, err := blinding.Combine(2, pair)
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = got
		}
		for i := range got {
			if !bytes.Equal(got[i], want[i]) {
				t.Errorf("output %d depends on who evaluated", i)
			}
		}
	}
}

func TestEvaluateRefuses(t *testing.T) {
	blinding := blind(t, 2)
	good := blinding.Elements()
	many := make([][]byte, 65)
	for i := range many {
		many[i] = good[0]
	}
	type M = manifest.Manifest
	now := manifesttest.Now
	for reason, c := range map[string]struct {
		change func(*M)
		now    time.Time
		q      Request
		want   error
	}{
		"another_sharing":   {nil, now, request(1, 2012, 2, good), ErrSharing},
		"sharing_0":         {nil, now, request(1, 2012, 0, good), ErrSharing},
		"unknown_epoch":     {nil, now, request(2, 2012, 1, good), ErrEpoch},
		"unknown_cohort":    {nil, now, request(1, 2011, 1, good), ErrEpoch},
		"closed_epoch":      {func(m *M) { m.Epochs[0].State = manifest.EpochClosed }, now, request(1, 2012, 1, good), ErrEpoch},
		"manifest_expired":  {nil, now.AddDate(1, 0, 1), request(1, 2012, 1, good), ErrEpoch},
		"legal_basis_ended": {func(m *M) { m.Policy.LegalBasisEnds = encoding.DateOf(now) }, now, request(1, 2012, 1, good), ErrEpoch},
		"cohort_of_adults": {func(m *M) { m.NotAfter = now.AddDate(20, 0, 0); m.Policy.LegalBasisEnds.Year = 2060 },
			time.Date(2035, 12, 31, 23, 0, 0, 0, time.UTC), request(1, 2012, 1, good), ErrEpoch}, // midnight in Amsterdam
		"no_elements":       {nil, now, request(1, 2012, 1, nil), ErrElement},
		"65_elements":       {nil, now, request(1, 2012, 1, many), ErrElement},
		"identity_element":  {nil, now, request(1, 2012, 1, [][]byte{good[0], make([]byte, 32)}), ErrElement},
		"element_too_short": {nil, now, request(1, 2012, 1, [][]byte{good[0][:31]}), ErrElement},
		"not_an_element":    {nil, now, request(1, 2012, 1, [][]byte{bytes.Repeat([]byte{0xff}, 32)}), ErrElement},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			d := newDeployment(t)
			if c.change != nil {
				c.change(d.Manifest)
			}
			e := start(t, d, 2, c.now)
			if _, err := e.Evaluate(partyOf(party), c.q); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			full := Limits{Day: d.Manifest.Policy.DailyBudget, Month: d.Manifest.Policy.MonthlyBudget}
			if err := e.budgets.Room(Debit{Party: party, N: full.Day}, full, c.now); err != nil {
				t.Error("what was refused has cost something")
			}
		})
	}
	// One second before, the last cohort case is served: the limit is sharp.
	d := newDeployment(t)
	d.Manifest.NotAfter, d.Manifest.Policy.LegalBasisEnds.Year = now.AddDate(20, 0, 0), 2060
	e := start(t, d, 2, time.Date(2035, 12, 31, 22, 59, 59, 0, time.UTC))
	if _, err := e.Evaluate(partyOf(party), request(1, 2012, 1, good)); err != nil {
		t.Error(err)
	}
}

func TestEvaluateDebits(t *testing.T) {
	d := newDeployment(t)
	d.Manifest.Policy.DailyBudget = 5
	e := start(t, d, 1, manifesttest.Now)
	ask := func(who string, cohort, n int) error {
		blinding := blind(t, n)
		a, err := e.Evaluate(partyOf(who), request(1, cohort, 1, blinding.Elements()))
		if err != nil && (a.Elements != nil || a.Proof != nil) {
			t.Error("an answer beside the refusal")
		}
		return err
	}
	if err := ask(party, 2012, 3); err != nil {
		t.Fatal(err)
	}
	over, ok := errors.AsType[*BudgetError](ask(party, 2013, 3))
	if !ok || over.Wait != 12*time.Hour {
		t.Errorf("over the budget: %v", over)
	}
	if err := ask(party, 2013, 2); err != nil {
		t.Errorf("the rest of the budget: %v", err)
	}
	if err := ask(otherParty, 2012, 5); err != nil {
		t.Errorf("another party pays for it: %v", err)
	}
}

func TestLoad(t *testing.T) {
	type D = deployment
	for reason, c := range map[string]struct {
		spoil func(*D)
		want  error
		names bool // epoch and cohort
	}{
		"share_of_another_key": {func(d *D) { d.shares[0][1].Value = d.shares[0][0].Value }, ErrForeign, true},
		"share_of_another_evaluator": {func(d *D) {
			d.shares[0][1] = d.shares[1][1]
		}, ErrIndex, true},
		"share_twice": {func(d *D) { d.shares[0] = append(d.shares[0], d.shares[0][1]) }, ErrTwice, true},
		"commitments_are_no_points": {func(d *D) {
			d.Manifest.Sharings[1].Commitments[1] = bytes.Repeat([]byte{0xff}, 32)
		}, oprf.ErrCommitments, true},
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			d := newDeployment(t)
			running := start(t, d, 1, manifesttest.Now)
			c.spoil(d)
			for what, err := range map[string]error{
				"New":  second(New(newBudgets(t), at(manifesttest.Now), d.Manifest, 1, d.shares[0])),
				"Load": running.Load(d.Manifest, 1, d.shares[0]),
			} {
				if !errors.Is(err, c.want) {
					t.Errorf("%s: got %v, want %v", what, err, c.want)
				}
				if e, ok := errors.AsType[*ShareError](err); !ok || e.Key != (Key{1, 2013}) {
					t.Errorf("%s: does not name the share: %v", what, err)
				}
			}
			blinding := blind(t, 1)
			if _, err := running.Evaluate(partyOf(party), request(1, 2013, 1, blinding.Elements())); err != nil {
				t.Errorf("a refused load changed what is served: %v", err)
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

// A resharing is dealt before the manifest puts it in force; from then on both answer,
// until the old shares are destroyed. A share that is not there is missing, and
// nothing else is.
func TestSharings(t *testing.T) {
	d := newDeployment(t)
	old := d.Manifest.Sharings[0]
	d.Manifest.Sharings = d.Manifest.Sharings[1:]
	d.deal(t, Key{1, 2012}, 2) // next to sharing 1
	next := d.Manifest.Sharings[1]
	d.Manifest.Sharings = []manifest.Sharing{old, d.Manifest.Sharings[0]}
	e := start(t, d, 1, manifesttest.Now)
	blinding := blind(t, 1)
	ask := func(sharing uint64) error {
		_, err := e.Evaluate(partyOf(party), request(1, 2012, sharing, blinding.Elements()))
		return err
	}
	if err := ask(1); err != nil {
		t.Fatal(err)
	}
	if err := ask(2); !errors.Is(err, ErrSharing) {
		t.Errorf("before it is in force: %v", err)
	}
	d.Manifest.Sharings = []manifest.Sharing{next, d.Manifest.Sharings[1]}
	if err := e.Load(d.Manifest, 1, d.shares[0]); err != nil {
		t.Fatal(err)
	}
	if err := ask(2); err != nil {
		t.Error(err)
	}
	if err := ask(1); err != nil || e.Replaced() != 1 {
		t.Errorf("after it was replaced, with %d such shares: %v", e.Replaced(), err)
	}

	vault := newVault(t)
	for name, shares := range map[string][]Share{"a.json": d.shares[0][:2], "b.json": d.shares[0][2:]} {
		if err := vault.Write(name, shares); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int{1, 0} { // the second time there is nothing left to do
		inForce, _, err := Check(d.Manifest, 1, d.shares[0], manifesttest.Now)
		if err != nil {
			t.Fatal(err)
		}
		gone, err := vault.DestroyReplaced(inForce)
		if err != nil || gone != want {
			t.Errorf("destroyed %d, want %d (%v)", gone, want, err)
		}
		if d.shares[0], err = vault.Read(); err != nil || len(d.shares[0]) != 2 {
			t.Fatalf("%d shares are left (%v)", len(d.shares[0]), err)
		}
	}
	if err := e.Load(d.Manifest, 1, d.shares[0]); err != nil {
		t.Fatal(err)
	}
	if err := ask(2); err != nil {
		t.Error(err)
	}
	if err := ask(1); !errors.Is(err, ErrSharing) {
		t.Errorf("after it was destroyed: %v", err)
	}
	if len(e.Missing()) != 0 {
		t.Errorf("missing: %v", e.Missing())
	}
	alone := slices.DeleteFunc(slices.Clone(d.shares[0]), func(s Share) bool { return s.Cohort == 2012 })
	if err := e.Load(d.Manifest, 1, alone); err != nil {
		t.Fatal(err)
	}
	if m := e.Missing(); len(m) != 1 || m[0] != (Key{1, 2012}) {
		t.Errorf("missing: %v", m)
	}
	if err := ask(2); !errors.Is(err, ErrEpoch) {
		t.Errorf("without a share: %v", err)
	}
}

// A share that was destroyed in its time is not missed; one that is due is.
func TestDestroyedShare(t *testing.T) {
	d := newDeployment(t)
	for now, want := range map[time.Time][]Key{
		time.Date(2035, 12, 31, 22, 59, 0, 0, time.UTC): {{1, 2012}, {1, 2013}},
		time.Date(2035, 12, 31, 23, 0, 0, 0, time.UTC):  {{1, 2013}}, // midnight in Amsterdam
		time.Date(2037, 1, 1, 0, 0, 0, 0, time.UTC):     nil,
	} {
		if e, err := New(newBudgets(t), at(now), d.Manifest, 1, nil); err != nil || !slices.Equal(e.Missing(), want) {
			t.Errorf("%v: missing %v, want %v (%v)", now, e.Missing(), want, err)
		}
	}
}

func TestShareFile(t *testing.T) {
	d := newDeployment(t)
	text, err := MarshalShares(d.shares[1])
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseShares(text)
	if err != nil {
		t.Fatal(err)
	}
	if _, missing, err := Check(d.Manifest, 2, got, manifesttest.Now); err != nil || len(missing) != 0 {
		t.Errorf("%v, %v", missing, err)
	}
	for reason, spoilt := range map[string][]byte{
		"zero_share":    bytes.Replace(text, valueOf(t, text), []byte(`"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="`), 1),
		"unknown_key":   bytes.Replace(text, []byte(`"epoch"`), []byte(`"era"`), 1),
		"index_0":       bytes.Replace(text, []byte(`"index": 2`), []byte(`"index": 0`), 1),
		"trailing_data": append(bytes.Clone(text), '1'),
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			if bytes.Equal(spoilt, text) {
				t.Fatal("nothing was spoilt")
			}
			if _, err := ParseShares(spoilt); err == nil || bytes.Contains([]byte(err.Error()), valueOf(t, text)[1:9]) {
				t.Errorf("got %v", err)
			}
		})
	}
	if s := fmt.Sprintf("%v %+v %#v", got, got[0], got[0]); bytes.Contains([]byte(s), valueOf(t, text)[1:9]) {
		t.Error("a share prints its value")
	}
}

func valueOf(t testing.TB, text []byte) []byte {
	t.Helper()
	_, rest, ok := bytes.Cut(text, []byte(`"value": `))
	if !ok {
		t.Fatal("no value in the file")
	}
	return rest[:46]
}

func FuzzParseShares(f *testing.F) {
	text, err := MarshalShares(newDeployment(f).shares[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		shares, err := ParseShares(text)
		if err != nil {
			return
		}
		written, err := MarshalShares(shares)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseShares(written)
		if err != nil {
			t.Fatal(err)
		}
		if rewritten, err := MarshalShares(again); err != nil || !bytes.Equal(written, rewritten) {
			t.Fatalf("not stable (%v)", err)
		}
	})
}

// Parties ask at once while shares and manifest are loaded anew.
func TestConcurrency(t *testing.T) {
	d := newDeployment(t)
	d.Manifest.Policy.DailyBudget = 10
	e := start(t, d, 1, manifesttest.Now)
	blinding := blind(t, 1)
	var wg sync.WaitGroup
	var lock sync.Mutex
	answered := map[string]int{}
	for i := range 40 {
		who := []string{party, otherParty}[i%2]
		wg.Go(func() {
			_, err := e.Evaluate(partyOf(who), request(1, 2012, 1, blinding.Elements()))
			if _, over := errors.AsType[*BudgetError](err); err != nil && !over {
				t.Error(err)
			}
			if err == nil {
				lock.Lock()
				answered[who]++
				lock.Unlock()
			}
		})
	}
	for range 5 {
		if err := e.Load(d.Manifest, 1, d.shares[0]); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	if answered[party] != 10 || answered[otherParty] != 10 {
		t.Errorf("answered %v, want 10 each", answered)
	}
}
