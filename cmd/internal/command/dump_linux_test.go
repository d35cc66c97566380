// SPDX-License-Identifier: EUPL-1.2

package command_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seinhuis/seinhuis/cmd/internal/command"
)

// asProgram has the test's binary be a program that says it is there, and waits.
const asProgram = "SEINHUIS_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "" {
		os.Exit(m.Run())
	}
	os.Args = []string{"waiter", "wait"}
	command.Program{Name: "waiter", Commands: map[string]command.Command{
		"wait": func(ctx context.Context, _ []string, stdout, _ io.Writer) error {
			dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
			io.WriteString(stdout, "dumpable "+strconv.Itoa(dumpable)+"\n")
			<-ctx.Done()
			return err
		},
	}}.Main()
}

// A program of ours that crashes leaves no memory behind, wherever it was started with
// leave to: the limit is set, and the process is undumpable.
func TestProgramsLeaveNoCore(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	child := exec.Command("sh", "-c", `ulimit -c "$(ulimit -H -c)"; exec "$0"`, self) // as much as may be
	child.Dir, child.Env = folder, append(os.Environ(), asProgram+"=1", "GOTRACEBACK=crash")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	said, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || said != "dumpable 0\n" {
		t.Errorf("it says %q, %v", said, err)
	}
	limits, err := os.ReadFile("/proc/" + strconv.Itoa(child.Process.Pid) + "/limits")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(limits) {
		if rest, is := bytes.CutPrefix(line, []byte("Max core file size")); is && strings.Join(strings.Fields(string(rest)), " ") != "0 0 bytes" {
			t.Errorf("the limit is %s", rest)
		}
	}
	if err := child.Process.Signal(syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	err = child.Wait()
	ended, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		t.Fatalf("it did not crash: %v", err)
	}
	if ended.Sys().(syscall.WaitStatus).CoreDump() {
		t.Error("it dumped core")
	}
	if left, _ := filepath.Glob(filepath.Join(folder, "*")); len(left) > 0 {
		t.Error("it left something behind")
	}
}
