// SPDX-License-Identifier: EUPL-1.2

package gateway_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/crypto/oprf"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/gatewaytest"
	"github.com/seinhuis/seinhuis/soak"
)

// A liar stands between an evaluator and whoever asks it, and answers in one of many
// wrong ways.
type liar struct {
	index int
	mu    sync.Mutex
	asked [][]byte // the elements of the last request
	kept  []byte   // an answer that was right, to another request
}

func (l *liar) listen(r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var q api.Evaluate
	if json.Unmarshal(body, &q) != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = nil
	for _, e := range q.Elements {
		l.asked = append(l.asked, e)
	}
}

func (l *liar) keep(_ string, answer []byte) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = bytes.Clone(answer)
	return answer
}

// lies are the ways to answer wrongly. What they make of an answer is well-formed.
var lies = []struct {
	name string
	lie  func(l *liar, got *api.Evaluated)
}{
	{"wrong share", func(l *liar, got *api.Evaluated) {
		_, shares, err := oprf.Deal(2, gatewaytest.Evaluators)
		if err != nil {
			panic(err)
		}
		engine, err := oprf.NewEvaluator(shares[l.index-1])
		if err != nil {
			panic(err)
		}
		elements, proof, err := engine.Evaluate(l.asked)
		if err != nil {
			panic(err)
		}
		for i, e := range elements {
			got.Elements[i] = e
		}
		got.Proof = proof
	}},
	{"replayed", func(l *liar, got *api.Evaluated) {
		if err := json.Unmarshal(l.kept, got); err != nil {
			panic(err)
		}
	}},
	{"identity", func(_ *liar, got *api.Evaluated) { got.Elements[0] = make(encoding.Base64, oprf.ElementSize) }},
	{"unmultiplied", func(l *liar, got *api.Evaluated) { got.Elements[0] = l.asked[0] }},
	{"not canonical", func(_ *liar, got *api.Evaluated) { got.Elements[0] = bytes.Repeat([]byte{0xff}, oprf.ElementSize) }},
	{"element flipped", func(_ *liar, got *api.Evaluated) { got.Elements[0][7] ^= 1 }},
	{"proof flipped", func(_ *liar, got *api.Evaluated) { got.Proof[40] ^= 1 }},
	{"proof of zeros", func(_ *liar, got *api.Evaluated) { got.Proof = make(encoding.Base64, oprf.ProofSize) }},
	{"no elements", func(_ *liar, got *api.Evaluated) { got.Elements = nil }},
	{"an element more", func(_ *liar, got *api.Evaluated) { got.Elements = append(got.Elements, got.Elements[0]) }},
	{"another's index", func(l *liar, got *api.Evaluated) { got.Index = l.index%gatewaytest.Evaluators + 1 }},
	{"another sharing", func(_ *liar, got *api.Evaluated) { got.Sharing++ }},
}

// A court is a gateway of two parties before three evaluators, any two of which
// suffice. The first party signals while all work, so the second meets it if, and only
// if, its tag is right.
type court struct {
	w     *gatewaytest.World
	h     *gatewaytest.House
	liars [gatewaytest.Evaluators]*liar
	cases int
}

func newCourt(t *testing.T) *court {
	w := gatewaytest.New(t, 2)
	w.Manifest.Policy.DailyBudget, w.Manifest.Policy.MonthlyBudget = 1e6, 1e6
	w.Publish()
	c := &court{w: w, h: w.Run(0, 1)}
	for i := range c.liars {
		c.liars[i] = &liar{index: i + 1}
		w.Faults[i].OnAsked(c.liars[i].listen)
	}
	return c
}

func (c *court) allWork() {
	for i, f := range c.w.Faults {
		f.Set(gatewaytest.Works)
		f.Rewrite(c.liars[i].keep)
	}
}

// blamed is how often each evaluator was named in the metric.
func (c *court) blamed(t *testing.T) (by [gatewaytest.Evaluators]int) {
	t.Helper()
	families, err := c.h.Metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if !strings.HasSuffix(f.GetName(), "evaluator_faults_total") {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "evaluator" {
					i, err := strconv.Atoi(l.GetValue())
					if err != nil {
						t.Fatal(err)
					}
					by[i-1] += int(m.GetCounter().GetValue())
				}
			}
		}
	}
	return by
}

// TestRow8EvaluatorsThatMisbehave has any of the evaluators fail or lie, all of them at
// times. As long as enough do neither, a signal gets the right tag; else it waits, and
// gets it later. Who failed is named, and nobody else.
func TestRow8EvaluatorsThatMisbehave(all *testing.T) {
	const casesOfOne = 100
	var c *court
	soak.Row(all, 8, "evaluators fail and lie", soak.Short(60), func(t *testing.T, seed uint64) soak.Found {
		if c == nil || c.cases == casesOfOne {
			if c != nil {
				c.h.Stop()
			}
			c = newCourt(all)
		}
		c.cases++
		return c.try(t, rand.New(rand.NewPCG(seed, 8)))
	})
}

func (c *court) try(t *testing.T, r *rand.Rand) soak.Found {
	found := make(soak.Found)
	c.allWork()
	subject := child(c.cases)
	for i := range c.liars { // an answer of each to replay: whom the gateway asks is chance
		for c.liars[i].kept == nil {
			signal(t, c.h.Of(0), child(1000+r.IntN(1000)), terms("jansen", "A-0"))
		}
	}
	if s := signal(t, c.h.Of(0), subject, terms("jansen", fmt.Sprint("A-", c.cases))); s.State != gateway.StateRegistered {
		t.Fatalf("while all work it ended as %s", s.State)
	}

	wrong := 0
	var fails [gatewaytest.Evaluators]bool
	for i, f := range c.w.Faults {
		switch n := r.IntN(2 * (len(lies) + 1)); {
		case n < len(lies):
			fails[i] = true
			found[lies[n].name]++
			f.Rewrite(func(_ string, answer []byte) []byte { return c.liars[i].answer(answer, lies[n].lie) })
		case n == len(lies):
			fails[i] = true
			found["away"]++
			f.Set(gatewaytest.Away)
		}
		if fails[i] {
			wrong++
		}
	}
	slow := wrong == 0 && r.IntN(8) == 0
	if slow {
		c.w.Faults[r.IntN(len(c.w.Faults))].Set(gatewaytest.Hangs)
		found["slow"]++
	}

	before := c.blamed(t)
	s, err := c.h.Of(1).Signal(subject, terms("bakker", fmt.Sprint("B-", c.cases)))
	if err != nil {
		t.Fatal(err)
	}
	enough := gatewaytest.Evaluators-wrong >= 2
	if !enough {
		found["too few"]++
		waitsFor(t, c.h.Of(1), s.ID, gateway.WaitEvaluators)
	} else if s := settled(t, c.h.Of(1), s.ID); s.State != gateway.StateRegistered || s.Signal.Others != 1 {
		t.Errorf("with enough that work it ended as %s and met %d", s.State, s.Signal.Others)
	}
	for i, n := range c.blamed(t) {
		switch named := n > before[i]; {
		case named && !fails[i] && !slow:
			t.Errorf("evaluator %d is blamed, and did nothing wrong", i+1)
		case !named && fails[i] && !enough: // then everybody was asked
			t.Errorf("evaluator %d is not named", i+1)
		case named:
			found["named"]++
			if !strings.Contains(c.w.Log.String(), fmt.Sprintf(`"evaluator":%d`, i+1)) {
				t.Errorf("the log does not name evaluator %d", i+1)
			}
		}
	}
	c.allWork()
	if s := settled(t, c.h.Of(1), s.ID); s.State != gateway.StateRegistered || s.Signal.Others != 1 {
		t.Errorf("when all work again it ended as %s and met %d", s.State, s.Signal.Others)
	}
	return found
}

// answer lies in place of an answer that was right.
func (l *liar) answer(right []byte, lie func(*liar, *api.Evaluated)) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	var got api.Evaluated
	if err := json.Unmarshal(right, &got); err != nil || len(got.Elements) == 0 {
		return right // a refusal
	}
	lie(l, &got)
	wrong, err := json.Marshal(got)
	if err != nil {
		panic(err)
	}
	return wrong
}
