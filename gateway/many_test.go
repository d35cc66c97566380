// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
)

const pathImports = "/v1/imports"

// many hands over an import of these subjects and gives their registrations.
func many(t *testing.T, p *gateway.Party, subjects ...gateway.Subject) (ids []gateway.ID) {
	t.Helper()
	s, _, err := p.Import(gateway.Terms{Owner: "jansen", Reference: "import"}, len(subjects))
	if err != nil {
		t.Fatal(err)
	}
	rows := make([]gateway.Row, len(subjects))
	for i, subject := range subjects {
		rows[i].Subject, rows[i].Reference = subject, fmt.Sprint("I-", i%120)
	}
	for first := 0; first < len(rows); first += gateway.MaxRows {
		list, err := p.AddRows(s.ID, first+1, rows[first:min(first+gateway.MaxRows, len(rows))])
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range list {
			if row.Registration.IsZero() {
				t.Fatalf("row %d is not taken: %s", row.Number, row.Words())
			}
			ids = append(ids, row.Registration)
		}
	}
	return ids
}

// children are n subjects of two cohorts, from number first on.
func children(first, n int) (list []gateway.Subject) {
	for i := range n {
		c := child(first + i)
		if i%2 == 1 {
			c.BirthDate = "2015-05-06"
		}
		list = append(list, c)
	}
	return list
}

// registered waits for registrations that become signals of their own.
func registered(t *testing.T, p *gateway.Party, ids ...gateway.ID) {
	t.Helper()
	for _, id := range ids {
		if s := settled(t, p, id); s.State != gateway.StateRegistered || s.Owners != 1 || s.Signal.Rev != 1 {
			t.Fatalf("it is %s with %d owners", s.State, s.Owners)
		}
	}
}

// asked counts requests by their path.
type asked struct {
	mu sync.Mutex
	n  map[string]int
}

func (a *asked) on(r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n == nil {
		a.n = map[string]int{}
	}
	a.n[r.URL.Path]++
}

func (a *asked) of(path string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.n[path]
}

func TestAnImportGoesTogether(t *testing.T) {
	const n = 140 // more than one batch of each cohort
	w := gatewaytest.New(t, 2)
	var count asked
	w.Registry.OnAsked(count.on)
	for _, f := range w.Faults {
		f.OnAsked(count.on)
	}
	h := w.Run(0, 1)
	registered(t, h.Of(0), many(t, h.Of(0), children(0, n)...)...)
	if singly, together := count.of("/v1/signals"), count.of(pathImports); singly > 0 || together == 0 || together > n/8 {
		t.Errorf("%d requests of one and %d of many", singly, together)
	}
	if e := count.of("/v1/evaluations"); e > n/8 { // 4 batches for 2 evaluators, if none of them is slow
		t.Errorf("the evaluators were asked %d times", e)
	}
	// Colleagues elsewhere meet them all.
	registered(t, h.Of(1), many(t, h.Of(1), children(0, n)...)...)
	for _, i := range []int{0, 1} {
		met := map[api.SID]bool{}
		for _, m := range inbox(t, h.Of(i), n) {
			if met[m.SID] || m.Problem != "" {
				t.Fatalf("party %d was told twice of one, or with problem %q", i, m.Problem)
			}
			met[m.SID] = true
		}
	}
}

func TestManySignalsAtOnceGoTogether(t *testing.T) {
	const n = 100
	w := gatewaytest.New(t, 1)
	var count asked
	w.Registry.Set(gatewaytest.Away)
	h := w.Run(0)
	a := h.Of(0)
	var ids []gateway.ID
	for i, c := range children(0, n) {
		s, err := a.Signal(c, terms("jansen", fmt.Sprint("A-", i)))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, s.ID)
	}
	eventually(t, "prepared signals", prepared(t, a, n))
	w.Registry.OnAsked(count.on)
	w.Registry.Set(gatewaytest.Works)
	registered(t, a, ids...)
	if count.of(pathImports) == 0 || count.of("/v1/signals") >= n/2 {
		t.Errorf("%d requests of one and %d of many", count.of("/v1/signals"), count.of(pathImports))
	}
}

// Somebody waits for a single act; nobody for a row of an import.
func TestAnImportHoldsUpNobody(t *testing.T) {
	w := gatewaytest.New(t, 1)
	a := w.Run(0).Of(0)
	first := signal(t, a, child(1000), terms("bakker", "A-1"))
	held, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.Registry.OnAsked(func(r *http.Request) {
		if r.URL.Path == pathImports {
			once.Do(func() { close(held) })
			<-release
		}
	})
	ids := many(t, a, children(0, 100)...)
	// The evaluators of a cohort that is not there are waited for, and nobody else is.
	nobody := child(2000)
	nobody.BirthDate = "2011-05-06"
	waiting, err := a.Signal(nobody, terms("bakker", "A-2"))
	if err != nil {
		t.Fatal(err)
	}
	waitsFor(t, a, waiting.ID, gateway.WaitEvaluators)
	<-held
	registered(t, a, signal(t, a, child(1001), terms("bakker", "A-3")).ID)
	if _, err := a.Withdraw(first.ID, api.ReasonEnded); err != nil {
		t.Fatal(err)
	}
	if s := settled(t, a, first.ID); s.State != gateway.StateWithdrawn {
		t.Errorf("the withdrawal is %s", s.State)
	}
	close(release)
	registered(t, a, ids...)
}

// What the registry did and could not tell is asked again with the same bytes.
func TestALostAnswerToAnImport(t *testing.T) {
	const n = 60
	w := gatewaytest.New(t, 2)
	h := w.Run(0, 1)
	a, b := h.Of(0), h.Of(1)
	registered(t, b, many(t, b, children(0, n)...)...)
	var bodies sync.Map // those that were lost
	var lost atomic.Int32
	w.Registry.Set(gatewaytest.Loses)
	w.Registry.OnAsked(func(r *http.Request) {
		if r.URL.Path != pathImports {
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		for line := range bytes.Lines(body) {
			var sub api.Submission
			if err := json.Unmarshal(line, &sub); err != nil {
				t.Error(err)
			}
			st, err := api.ParseStatement(sub.Signed.Signed)
			if err != nil {
				t.Error(err)
			}
			if before, again := bodies.LoadOrStore(st.Faces[0].Tag, string(line)); again && before != string(line) {
				t.Error("other bytes were sent again")
			}
		}
		if lost.Add(1) == 2 {
			w.Registry.Set(gatewaytest.Works)
		}
	})
	registered(t, a, many(t, a, children(0, n)...)...)
	if lost.Load() < 3 {
		t.Errorf("the registry was asked %d times: nothing was lost", lost.Load())
	}
	if told := len(inbox(t, b, n)); told != n {
		t.Errorf("the other party was told %d things", told)
	}
}

func TestPowerCutDuringAnImport(t *testing.T) {
	for _, percent := range []int{0, 50} {
		for _, lost := range []bool{false, true} {
			t.Run(fmt.Sprintf("lost=%v/unsynced=%d", lost, percent), func(t *testing.T) {
				t.Parallel()
				n := 30
				if lost && percent > 0 {
					n = 150 // more than is evaluated, and settled, at once
				}
				w := gatewaytest.New(t, 2)
				b := w.Run(1).Of(1)
				registered(t, b, many(t, b, children(0, n)...)...)
				cut := newPowerCut(w, percent)
				h := w.RunOn(cut.fs, 0)
				at := 1
				if lost {
					w.Registry.Set(gatewaytest.Loses)
					at = 2
				}
				cut.at(pathImports, at)
				ids := many(t, h.Of(0), children(0, n)...)
				<-cut.cut
				h.Stop()

				still := w.OpenOn(cut.clone, 0)
				jobs, err := still.Of(0).Jobs()
				if err != nil || len(jobs) != n {
					t.Fatalf("after the cut there are %d jobs (%v)", len(jobs), err)
				}
				sids := map[gateway.ID]api.SID{}
				for _, job := range jobs {
					if job.Prepared != nil {
						sids[job.ID] = job.Prepared.SID
					}
				}
				if len(sids) == 0 {
					t.Fatal("nothing was sent that was stored")
				}
				if err := still.Close(); err != nil {
					t.Fatal(err)
				}
				cut.mend()
				a := w.RunOn(cut.clone, 0).Of(0)
				registered(t, a, ids...)
				for id, sid := range sids {
					if s, err := a.Registration(id); err != nil || s.SID != sid {
						t.Fatal("other bytes were sent than were stored")
					}
				}
				if told := len(inbox(t, b, n)); told != n {
					t.Errorf("the other party was told %d things", told)
				}
			})
		}
	}
}

// rewriteLines has fn change the lines of answers to imports, until it says that it
// is done.
func rewriteLines(t *testing.T, f *gatewaytest.Fault, fn func([]api.Imported) (done bool)) {
	done := false
	f.Rewrite(func(path string, body []byte) []byte {
		if path != pathImports || done {
			return body
		}
		var list []api.Imported
		for line := range bytes.Lines(body) {
			var a api.Imported
			if err := json.Unmarshal(line, &a); err != nil {
				t.Error(err)
			}
			list = append(list, a)
		}
		done = fn(list)
		var out bytes.Buffer
		for _, a := range list {
			if err := json.NewEncoder(&out).Encode(a); err != nil {
				t.Error(err)
			}
		}
		return out.Bytes()
	})
}

func TestOneLineOfAnImport(t *testing.T) {
	const n = 30
	for name, c := range map[string]struct {
		change func(list []api.Imported)
		want   gateway.State // of that line's registration
		fault  gateway.Code
	}{
		"gone":                             {func(l []api.Imported) { l[0] = api.Imported{Status: 410, Code: api.CodeGone} }, gateway.StateWithdrawn, gateway.CodeRegistryGone},
		"refused":                          {func(l []api.Imported) { l[0] = api.Imported{Status: 400, Code: api.CodeMalformed} }, gateway.StateRefused, gateway.CodeRegistryRefused},
		"rejects/unknown_code":             {func(l []api.Imported) { l[0] = api.Imported{Status: 400, Code: "no-such-code"} }, gateway.StateRegistered, ""},
		"rejects/other_status":             {func(l []api.Imported) { l[0] = api.Imported{Status: 400, Code: api.CodeGone} }, gateway.StateRegistered, ""},
		"rejects/no_receipt":               {func(l []api.Imported) { l[0].Receipt = nil }, gateway.StateRegistered, ""},
		"rejects/receipt_forged":           {func(l []api.Imported) { l[0].Receipt.Signature[0] ^= 1 }, gateway.StateRegistered, ""},
		"rejects/receipt_of_the_next_line": {func(l []api.Imported) { l[0], l[1] = l[1], l[0] }, gateway.StateRegistered, ""},
		"rejects/anothers_signal":          {func(l []api.Imported) { l[0] = l[1] }, gateway.StateRegistered, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := gatewaytest.New(t, 1)
			changed := false
			rewriteLines(t, w.Registry, func(list []api.Imported) bool {
				if changed = len(list) > 1; changed {
					c.change(list)
				}
				return changed
			})
			a := w.Run(0).Of(0)
			different := 0
			for _, id := range many(t, a, children(0, n)...) {
				s := settled(t, a, id)
				switch {
				case s.State == gateway.StateRegistered && s.Owners == 1 && len(s.Faults) == 0:
				case s.State == c.want && len(s.Faults) == 1 && s.Faults[0].Code == c.fault:
					different++
				default:
					t.Fatalf("one is %s with %d owners, %v", s.State, s.Owners, s.Faults)
				}
			}
			if !changed {
				t.Fatal("no answer was changed")
			}
			if alarm := strings.Contains(name, "receipt_") || strings.Contains(name, "anothers"); alarm != strings.Contains(w.Log.String(), "receipt refused") {
				t.Error("the log does not tell of a receipt, or of one that is good")
			}
			if (different == 1) != (c.fault != "") || different > 1 {
				t.Errorf("%d have another outcome", different)
			}
		})
	}
	for name, change := range map[string]func([]byte) []byte{
		"line_too_few":  func(b []byte) []byte { return b[:bytes.LastIndexByte(b[:len(b)-1], '\n')+1] },
		"line_too_many": func(b []byte) []byte { return append(b, b[bytes.LastIndexByte(b[:len(b)-1], '\n')+1:]...) },
		"cut_short":     func(b []byte) []byte { return b[:len(b)/2] },
		"not_json":      func([]byte) []byte { return []byte("<html>\n") },
	} {
		t.Run("rejects/"+name, func(t *testing.T) {
			t.Parallel()
			w := gatewaytest.New(t, 1)
			changed := false
			w.Registry.Rewrite(func(path string, body []byte) []byte {
				if path != pathImports || changed {
					return body
				}
				changed = true
				return change(body)
			})
			a := w.Run(0).Of(0)
			registered(t, a, many(t, a, children(0, n)...)...)
		})
	}
}

// Rows of children that the party signals already, and of one child more than once,
// become owners of one signal; the same row twice becomes one owner.
func TestMergedLinesOfAnImport(t *testing.T) {
	const n = 60
	w := gatewaytest.New(t, 1)
	a := w.Run(0).Of(0)
	stood := map[gateway.Subject]api.SID{}
	for _, c := range children(0, 3) {
		stood[c] = signal(t, a, c, terms("bakker", "A-"+c.Number[6:])).SID
	}
	// Thrice the same children; the last ones are the first ones again.
	ids := many(t, a, slices.Concat(children(0, n), children(0, n), children(0, n))...)
	merged := 0
	for i, id := range ids {
		s := settled(t, a, id)
		if s.State == gateway.StateMerged {
			merged++
		}
		c := children(0, n)[i%n]
		if stood[c].IsZero() {
			stood[c] = s.SID
		}
		want := 2
		if i%n < 3 {
			want = 3
		}
		if !s.State.Stands() || s.SID != stood[c] {
			t.Fatalf("row %d is %s, or one child has two signals", i+1, s.State)
		}
		if i >= 2*n && s.Owners != want {
			t.Errorf("the signal of row %d has %d owners", i+1, s.Owners)
		}
	}
	if merged != 2*n+3 {
		t.Errorf("%d rows were merged", merged)
	}
}

// The registry answers an import with a signal that stands, and that one is withdrawn
// before the answer comes: nobody may be left with a dead signal.
func TestAnImportJoinsNoSignalThatHasEnded(t *testing.T) {
	w := gatewaytest.New(t, 2)
	a := w.Run(0).Of(0)
	first := signal(t, a, child(0), terms("bakker", "A-1"))
	var once sync.Once
	w.Registry.OnAnswer(func(r *http.Request) {
		if r.URL.Path != pathImports {
			return
		}
		once.Do(func() {
			if _, err := a.Withdraw(first.ID, api.ReasonEnded); err != nil {
				t.Error(err)
			}
			for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
				if s, err := a.Registration(first.ID); err != nil || s.State == gateway.StateWithdrawn {
					return
				}
			}
			t.Error("the withdrawal waits for the import")
		})
	})
	registered(t, a, many(t, a, child(0))...)
	if s := signal(t, w.Run(1).Of(1), child(0), terms("citroen", "B-1")); s.Signal.Others != 1 {
		t.Errorf("the other party meets %d", s.Signal.Others)
	}
}

// A registry that takes no imports gets the signals one by one.
func TestARegistryWithoutImports(t *testing.T) {
	w := gatewaytest.New(t, 1)
	var count asked
	w.Registry.OnAsked(func(r *http.Request) {
		count.on(r)
		if r.URL.Path == pathImports {
			r.URL.Path = "/v1/nothing"
		}
	})
	a := w.Run(0).Of(0)
	registered(t, a, many(t, a, children(0, 80)...)...)
	if n := count.of(pathImports); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
}

// A registry that is busy with others' imports is asked again when it said, and
// meanwhile gets single signals.
func TestABusyRegistryIsLeftAlone(t *testing.T) {
	w := gatewaytest.New(t, 1)
	var mu sync.Mutex
	var times []time.Time
	w.Registry.OnAsked(func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path == pathImports {
			times = append(times, time.Now())
		}
	})
	asks := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(times)
	}
	w.Registry.Set(gatewaytest.Busy)
	a := w.Run(0).Of(0)
	ids := many(t, a, children(0, 80)...)
	eventually(t, "an import of ours", func() bool { return asks() > 0 })
	registered(t, a, signal(t, a, child(1001), terms("bakker", "A-1")).ID)
	eventually(t, "another attempt", func() bool { return asks() > 1 })
	w.Registry.Set(gatewaytest.Works)
	registered(t, a, ids...)
	if gap := times[1].Sub(times[0]); gap < 2*time.Second {
		t.Errorf("asked again after %v", gap)
	}
}
