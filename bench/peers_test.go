// SPDX-License-Identifier: EUPL-1.2

package bench

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
)

// peers is the program of bench/peers. It answers one request at a time: a line
// {"do": name, "with": arguments} gets a line {"result": …} or {"error": …}. Large
// inputs go through files, whose paths are arguments.
type peers struct {
	in  io.Writer
	out *bufio.Reader
}

// errMissing says that a peer cannot be had on this machine.
var errMissing = errors.New("the peer is missing")

// startPeers starts the program, if there is one.
func startPeers(t *testing.T) *peers {
	if *program == "" {
		fmt.Fprintln(os.Stderr, "no peers: the rows stand alone")
		return nil
	}
	cmd := exec.Command(*program)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close() // which ends it
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return &peers{in: in, out: bufio.NewReader(out)}
}

// ask has the peers do something. Where the peer cannot be had it says so, once,
// and the run goes on without peers.
func (r *run) ask(do string, with, result any) (there bool) {
	r.Helper()
	if r.peers == nil {
		return false
	}
	err := r.peers.call(do, with, result)
	if errors.Is(err, errMissing) {
		fmt.Fprintf(os.Stderr, "%s: %v; its rows stand alone\n", r.id, err)
		r.peers = nil
		return false
	}
	r.must(err)
	return true
}

func (p *peers) call(do string, with, result any) error {
	line, err := json.Marshal(map[string]any{"do": do, "with": with})
	if err != nil {
		return err
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return err
	}
	if line, err = p.out.ReadBytes('\n'); err != nil {
		return fmt.Errorf("the peers went away: %w", err)
	}
	var answer struct {
		Result  json.RawMessage `json:"result"`
		Error   string          `json:"error"`
		Missing bool            `json:"missing"`
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return err
	}
	switch {
	case answer.Missing:
		return fmt.Errorf("%w: %s", errMissing, answer.Error)
	case answer.Error != "":
		return fmt.Errorf("peers, %s: %s", do, answer.Error)
	case result == nil:
		return nil
	}
	return json.Unmarshal(answer.Result, result)
}
