// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"fmt"
	"runtime"
	"syscall"
	"time"

	circl "github.com/cloudflare/circl/oprf"
	"github.com/cloudflare/circl/zk/dleq"
)

// oracle is circl's own server and client for the OPRF, both from bytes to bytes.
type oracle struct {
	key      *circl.PrivateKey
	server   circl.VerifiableServer
	client   circl.VerifiableClient
	data     *circl.FinalizeData
	elements [][]byte // last asked of the server
	answer   answer   // last given to the client
}

var suite = circl.SuiteRistretto255

type answer struct {
	Elements [][]byte
	Proof    []byte
}

type keyOf struct{ Key []byte }

func (o *oracle) take(k keyOf) (nothing, error) {
	o.key = new(circl.PrivateKey)
	if err := o.key.UnmarshalBinary(suite, k.Key); err != nil {
		return nothing{}, err
	}
	o.server = circl.NewVerifiableServer(suite, o.key)
	o.client = circl.NewVerifiableClient(suite, o.key.Public())
	return nothing{}, nil
}

func (o *oracle) evaluate(a answer) (answer, error) {
	o.elements = a.Elements
	return o.evaluateOnce()
}

func (o *oracle) evaluateOnce() (answer, error) {
	asked, err := decode(answer{Elements: o.elements})
	if err != nil {
		return answer{}, err
	}
	evaluation, err := o.server.Evaluate(&circl.EvaluationRequest{Elements: asked.Elements})
	if err != nil {
		return answer{}, err
	}
	return encode(evaluation)
}

type blindOf struct{ Inputs [][]byte }

func (o *oracle) blind(b blindOf) (answer, error) {
	data, request, err := o.client.Blind(b.Inputs)
	if err != nil {
		return answer{}, err
	}
	o.data = data
	return encode(&circl.Evaluation{Elements: request.Elements})
}

type outputs struct{ Outputs [][]byte }

func (o *oracle) finalise(a answer) (outputs, error) {
	o.answer = a
	return o.finaliseOnce()
}

func (o *oracle) finaliseOnce() (outputs, error) {
	evaluation, err := decode(o.answer)
	if err != nil {
		return outputs{}, err
	}
	list, err := o.client.Finalize(o.data, evaluation)
	return outputs{list}, err
}

type timeOf struct {
	What    string
	Seconds float64
}

type times struct{ Times, Seconds float64 }

// time does the last evaluation or finalisation over and over, on one core, for a
// while of CPU time.
func (o *oracle) time(t timeOf) (out times, err error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	do := map[string]func() error{
		"evaluate": func() error { _, err := o.evaluateOnce(); return err },
		"finalise": func() error { _, err := o.finaliseOnce(); return err },
	}[t.What]
	if do == nil {
		return out, fmt.Errorf("nothing called %q is timed", t.What)
	}
	for start := cpuTime(); out.Seconds < t.Seconds; out.Seconds = (cpuTime() - start).Seconds() {
		if err := do(); err != nil {
			return out, err
		}
		out.Times++
	}
	return out, nil
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it is asked of ourselves
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func decode(a answer) (*circl.Evaluation, error) {
	evaluation := new(circl.Evaluation)
	for _, b := range a.Elements {
		e := suite.Group().NewElement()
		if err := e.UnmarshalBinary(b); err != nil {
			return nil, err
		}
		evaluation.Elements = append(evaluation.Elements, e)
	}
	if a.Proof == nil {
		return evaluation, nil
	}
	evaluation.Proof = new(dleq.Proof)
	return evaluation, evaluation.Proof.UnmarshalBinary(suite.Group(), a.Proof)
}

func encode(e *circl.Evaluation) (a answer, err error) {
	for _, element := range e.Elements {
		b, err := element.MarshalBinaryCompress()
		if err != nil {
			return a, err
		}
		a.Elements = append(a.Elements, b)
	}
	if e.Proof != nil {
		a.Proof, err = e.Proof.MarshalBinary()
	}
	return a, err
}
