// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

var built string // the folder of the programs; empty as long as nobody wants them

// programs builds the real programs once and gives their folder.
var programs = sync.OnceValues(func() (folder string, err error) {
	if built, err = os.MkdirTemp("", "seinhuis-programs-"); err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-o", built+"/", "../...")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make build does
	out, err := build.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, out)
	}
	return built, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		os.RemoveAll(built)
	}
	os.Exit(code)
}

// A running is a demonstration that serves, and what its networkFile says.
type running struct {
	cmd    *exec.Cmd
	stderr strings.Builder
	ended  error // after done
	done   chan struct{}

	Parties   map[string]struct{ ID, URL, Token string }
	Registry  struct{ URL string }
	Processes map[string]int
}

func startDemo(t *testing.T) *running {
	t.Helper()
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "network")
	r := &running{cmd: exec.Command(filepath.Join(bin, "demo"), "-dir", dir), done: make(chan struct{})}
	r.cmd.Stderr = &r.stderr
	stdout, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	serves := false
	for lines := bufio.NewScanner(stdout); !serves && lines.Scan(); {
		serves = lines.Text() == lastLine
	}
	go func() {
		io.Copy(io.Discard, stdout)
		r.ended = r.cmd.Wait()
		close(r.done)
	}()
	t.Cleanup(func() { r.end(syscall.SIGTERM) })
	if !serves {
		r.end(syscall.SIGTERM)
		t.Fatalf("the demonstration does not serve: %s", r.stderr.String())
	}
	text, err := os.ReadFile(filepath.Join(dir, networkFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, r); err != nil {
		t.Fatal(err)
	}
	return r
}

// end sends a signal, once, and waits.
func (r *running) end(sig syscall.Signal) error {
	r.cmd.Process.Signal(sig)
	<-r.done
	return r.ended
}

// TestScripts drives the built programs through what a professional does.
func TestScripts(t *testing.T) {
	demo := startDemo(t)
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	t.Run("scripts", func(t *testing.T) {
		testscript.Run(t, testscript.Params{
			Dir:                 "testdata/script",
			RequireExplicitExec: true,
			Setup: func(env *testscript.Env) error {
				env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
				for folder, p := range demo.Parties {
					name := strings.ToUpper(strings.ReplaceAll(folder, "-", "_"))
					env.Setenv(name, "-url="+p.URL)
					env.Setenv(name+"_TOKEN", "-token="+p.Token)
				}
				return nil
			},
			Cmds: map[string]func(*testscript.TestScript, bool, []string){"grab": grab},
		})
	})
	if err := demo.end(syscall.SIGINT); err != nil {
		t.Errorf("Ctrl-C ends it with %v: %s", err, demo.stderr.String())
	}
}

// grab NAME REGEXP sets a variable to what the regexp's group finds in stdout.
func grab(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: grab NAME REGEXP")
	}
	found := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(found) != 2 {
		ts.Fatalf("%s is not in stdout", args[1])
	}
	ts.Setenv(args[0], found[1])
}

func TestNamesWhoDied(t *testing.T) {
	demo := startDemo(t)
	if err := syscall.Kill(demo.Processes["registry"], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-demo.done
	if exit, ok := errors.AsType[*exec.ExitError](demo.ended); !ok || exit.ExitCode() != 1 {
		t.Errorf("ends with %v", demo.ended)
	}
	if told := demo.stderr.String(); !strings.Contains(told, "registry ended by itself (signal: killed)") || !strings.Contains(told, `"msg":"listening"`) {
		t.Errorf("does not say who died, with the end of its log: %s", told)
	}
}

// TestLeavesNobodyBehind kills the demonstration itself. A connection to the
// registry ends with the registry.
func TestLeavesNobodyBehind(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ties the life of a child to its parent's")
	}
	demo := startDemo(t)
	at, err := url.Parse(demo.Registry.URL)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", at.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := demo.end(syscall.SIGKILL); err == nil {
		t.Error("it survived SIGKILL")
	}
	conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the registry outlives the demonstration")
	}
}

func TestRefusesItsFlags(t *testing.T) {
	for name, args := range map[string][]string{
		"unknown_flag":      {"-twice"},
		"no_children":       {"-once", "-children", "0"},
		"too_many_children": {"-once", "-children", "1000000"},
		"an_argument":       {"once"},
		"a_folder_in_use":   {"-dir", "testdata"},
	} {
		t.Run("rejects/"+name, func(t *testing.T) {
			if err := run(context.Background(), args, io.Discard, io.Discard); err == nil {
				t.Error("is taken")
			}
		})
	}
	var help strings.Builder
	if err := run(context.Background(), []string{"-h"}, &help, io.Discard); err != nil || !strings.Contains(help.String(), "-children") {
		t.Errorf("-h does not explain: %v", err)
	}
}
