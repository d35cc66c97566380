// SPDX-License-Identifier: EUPL-1.2

// Command peers is what people would use instead of Seinhuis's parts, each set up
// as well as we know how: DuckDB for the join, PostgreSQL for the registry, circl
// for the OPRF. The benchmark in .. drives it over a pipe and times ours beside it.
//
// It is a module of its own so that nothing of the peers enters the product's.
//
// One request at a time comes as a line {"do": name, "with": arguments} on standard
// input, and is answered by a line {"result": …} or {"error": …}; "missing" says
// that the peer cannot be had on this machine. The end of the input ends it.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// errMissing says that a peer cannot be had on this machine.
var errMissing = errors.New("missing")

// A handler answers one kind of request.
type handler func(with json.RawMessage) (any, error)

// handle makes a handler of a function of typed arguments.
func handle[Req, Resp any](fn func(Req) (Resp, error)) handler {
	return func(with json.RawMessage) (any, error) {
		var req Req
		if err := json.Unmarshal(with, &req); err != nil {
			return nil, err
		}
		return fn(req)
	}
}

type nothing struct{}

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) (err error) {
	duck, registry, oracle := new(duck), new(registry), new(oracle)
	handlers := map[string]handler{
		"join.load":       handle(duck.load),
		"join.run":        handle(duck.join),
		"circl.key":       handle(oracle.take),
		"circl.evaluate":  handle(oracle.evaluate),
		"circl.blind":     handle(oracle.blind),
		"circl.finalise":  handle(oracle.finalise),
		"circl.time":      handle(oracle.time),
		"registry.load":   handle(registry.load),
		"registry.submit": handle(registry.submit),
		"registry.bulk":   handle(registry.bulk),
		"registry.serve":  handle(registry.serve),
		"registry.told":   handle(registry.told),
	}
	defer func() { err = errors.Join(err, duck.close(), registry.close()) }()
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		var request struct {
			Do   string
			With json.RawMessage
		}
		if err := json.Unmarshal(bytes.TrimSpace(line), &request); err != nil {
			return err
		}
		var answer struct {
			Result  any    `json:"result,omitempty"`
			Error   string `json:"error,omitempty"`
			Missing bool   `json:"missing,omitempty"`
		}
		if do, ok := handlers[request.Do]; ok {
			answer.Result, err = do(request.With)
		} else {
			err = fmt.Errorf("there is nothing called %q", request.Do)
		}
		if err != nil {
			answer.Result, answer.Error, answer.Missing = nil, err.Error(), errors.Is(err, errMissing)
		}
		text, err := json.Marshal(answer)
		if err != nil {
			return err
		}
		if _, err := out.Write(append(text, '\n')); err != nil {
			return err
		}
	}
}
