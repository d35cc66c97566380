// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// How long a process may take to listen, and to end when asked.
const (
	startTime = 60 * time.Second
	stopTime  = 20 * time.Second
)

// A process is one of the real binaries, serving. Its log is a file in its state
// folder.
type process struct {
	name    string
	command []string
	log     string

	mu      sync.Mutex
	current *instance
}

// An instance is a process between a start and its end.
type instance struct {
	cmd      *exec.Cmd
	output   *output
	stopping bool          // its end is wanted; under process.mu
	ended    chan struct{} // closed when it has ended and err is set
	err      error
}

// launcher starts processes on a thread that lasts: the system ties a child that
// must not outlive us (see outliveNobody) to the thread that started it.
var launcher = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for fn := range work {
			fn()
		}
	}()
	return work
})

func newProcess(folder, name string, command ...string) *process {
	return &process{name: name, command: command, log: filepath.Join(folder, "log")}
}

// start starts the process and returns when it says that it listens. When it ends
// later without having been asked to, died is called.
func (p *process) start(ctx context.Context, died func(error)) error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	in := &instance{output: &output{file: log, listening: make(chan struct{})}, ended: make(chan struct{})}
	in.cmd = exec.Command(p.command[0], p.command[1:]...)
	in.cmd.Stdout, in.cmd.Stderr = in.output, in.output
	in.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us to pass on
	outliveNobody(in.cmd.SysProcAttr)

	started := make(chan error)
	launcher() <- func() { started <- in.cmd.Start() }
	if err := <-started; err != nil {
		return errors.Join(fmt.Errorf("%s: %w", p.name, err), log.Close())
	}
	p.mu.Lock()
	p.current = in
	p.mu.Unlock()
	go func() {
		in.err = errors.Join(in.cmd.Wait(), log.Close())
		p.mu.Lock()
		wanted := in.stopping
		p.mu.Unlock()
		close(in.ended)
		if !wanted {
			died(p.death(in))
		}
	}()

	ctx, cancel := context.WithTimeoutCause(ctx, startTime, fmt.Errorf("%s does not listen after %v:\n%s", p.name, startTime, tail(p.log)))
	defer cancel()
	select {
	case <-in.output.listening:
		return nil
	case <-in.ended:
		return p.death(in)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// pid is the number under which the system knows the running process.
func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == nil {
		return 0
	}
	return p.current.cmd.Process.Pid
}

func (p *process) death(in *instance) error {
	how := "with exit status 0"
	if in.err != nil {
		how = in.err.Error()
	}
	return fmt.Errorf("%s ended by itself (%s); the end of its log:\n%s", p.name, how, tail(p.log))
}

// end sends a signal and waits for the process to be gone.
func (p *process) end(sig syscall.Signal) error {
	p.mu.Lock()
	in := p.current
	p.current = nil
	if in != nil {
		in.stopping = true
	}
	p.mu.Unlock()
	if in == nil {
		return nil
	}
	select {
	case <-in.ended: // by itself, which has been told
		return nil
	default:
	}
	if err := in.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-in.ended:
	case <-time.After(stopTime):
		in.cmd.Process.Kill()
		<-in.ended
		return fmt.Errorf("%s did not end within %v of %v", p.name, stopTime, sig)
	}
	if in.err != nil && sig != syscall.SIGKILL {
		return fmt.Errorf("%s did not end cleanly (%w); the end of its log:\n%s", p.name, in.err, tail(p.log))
	}
	return nil
}

// output is where a process writes: to its log, and to whoever waits for the line
// that says it listens.
type output struct {
	file      *os.File
	line      []byte // unfinished
	heard     bool
	listening chan struct{}
}

func (o *output) Write(b []byte) (int, error) {
	if !o.heard {
		o.line = append(o.line, b...)
		for {
			line, rest, whole := bytes.Cut(o.line, []byte("\n"))
			if !whole {
				break
			}
			o.line = rest
			var entry struct{ Msg string }
			if json.Unmarshal(line, &entry) == nil && entry.Msg == "listening" {
				o.heard, o.line = true, nil
				close(o.listening)
				break
			}
		}
	}
	return o.file.Write(b)
}

// tail is the last lines of a file.
func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-20):], []byte("\n")))
}
