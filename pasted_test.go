// SPDX-License-Identifier: EUPL-1.2

//go:build unix

package seinhuis_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A pasted is a shell block of a document, and the lines that the document shows of
// what it prints.
type pasted struct{ commands, shown string }

func blocksOf(t *testing.T, document string) (blocks []pasted) {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```\n(?:```text\n(.*?)^```\n)?").FindAllSubmatch(text, -1) {
		blocks = append(blocks, pasted{string(m[1]), string(m[2])})
	}
	if fences := bytes.Count(text, []byte("\n```sh\n")); fences == 0 || fences != len(blocks) {
		t.Fatalf("found %d blocks behind %d fences", len(blocks), fences)
	}
	return blocks
}

// TestDeployment does what docs/deployment.md says, from the build to the end.
func TestDeployment(t *testing.T) {
	dependOnAll(t)
	paste(t, deploymentFile, ".",
		"BIN="+filepath.Join(t.TempDir(), "bin"), "DIR="+filepath.Join(t.TempDir(), "seinhuis"), "PORTS="+freePorts(t))
}

// TestConnect does what docs/connect.md says, against the demonstration that it asks
// for.
func TestConnect(t *testing.T) {
	dependOnAll(t)
	bin, state := t.TempDir(), filepath.Join(t.TempDir(), "demo")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin+"/", "./cmd/...")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	demo := exec.CommandContext(t.Context(), filepath.Join(bin, "demo"), "-dir", state)
	demo.Cancel = func() error { return demo.Process.Signal(os.Interrupt) }
	demo.WaitDelay = time.Minute
	says, err := demo.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the test's context has ended
		io.Copy(io.Discard, says)
		demo.Wait()
	})
	lines := bufio.NewScanner(says)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "Ctrl-C") {
	}
	text, err := os.ReadFile(filepath.Join(state, "network.json"))
	if err != nil {
		t.Fatal(err)
	}
	var network struct {
		Parties map[string]struct{ URL, Token string }
	}
	if err := json.Unmarshal(text, &network); err != nil {
		t.Fatal(err)
	}
	school, health := network.Parties["school"], network.Parties["youth-health"]
	paste(t, connectFile, t.TempDir(), "PATH="+bin+":"+os.Getenv("PATH"),
		"POORT="+school.URL, "TOKEN="+school.Token, "ANDER="+health.URL, "ANDERTOKEN="+health.Token)
}

// paste pastes the blocks of a document into one shell in a folder, and looks for what
// they are said to print.
func paste(t *testing.T, document, folder string, env ...string) {
	t.Helper()
	for _, tool := range []string{"sh", "curl", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the document asks for %s, and it is not here", tool)
		}
	}
	const between = "=== pasted"
	blocks := blocksOf(t, document)
	var input strings.Builder
	for _, b := range blocks {
		fmt.Fprintf(&input, "%s\necho\necho '%s'\n", b.commands, between)
	}

	// What is under way for minutes waits for something that will not come.
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	shell := exec.CommandContext(ctx, "sh", "-eu")
	shell.Dir = folder
	shell.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...) // as make build does, so that it has been compiled
	shell.Stdin = strings.NewReader(input.String())
	var output bytes.Buffer
	shell.Stdout, shell.Stderr = &output, &output
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	shell.Cancel = func() error { return syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) }
	err := shell.Run()
	if shell.Process != nil {
		syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) // whom the document did not stop
	}

	printed := strings.Split(output.String(), between+"\n")
	if done := len(printed) - 1; err != nil || done != len(blocks) {
		t.Fatalf("%v after %d blocks of %d, in\n%s\nwhich printed\n%s", err, done, len(blocks), blocks[min(done, len(blocks)-1)].commands, printed[done])
	}
	for i, b := range blocks {
		rest := strings.Split(printed[i], "\n")
		for line := range strings.Lines(b.shown) {
			line = strings.TrimSuffix(line, "\n")
			parts := strings.Split(line, "…")
			for j := range parts {
				parts[j] = regexp.QuoteMeta(parts[j])
			}
			like := regexp.MustCompile("^" + strings.Join(parts, ".*") + "$")
			for len(rest) > 0 && !like.MatchString(rest[0]) {
				rest = rest[1:]
			}
			if len(rest) == 0 {
				t.Fatalf("%q is not among what the block prints, or not in this order:\n%s", line, printed[i])
			}
			rest = rest[1:]
		}
	}
}

// freePorts finds what the document calls PORTS: the digits before the last two of
// every port. It stays under the ports that systems hand out by themselves.
func freePorts(t *testing.T) string {
	t.Helper()
	for range 100 {
		prefix := 110 + rand.IntN(200)
		if portsAreFree(prefix) {
			return fmt.Sprint(prefix)
		}
	}
	t.Fatal("no free ports")
	return ""
}

func portsAreFree(prefix int) bool {
	for part := 1; part <= 7; part++ {
		for listener := 1; listener <= 3; listener++ {
			ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d%d%d", prefix, part, listener))
			if err != nil {
				return false
			}
			ln.Close()
		}
	}
	return true
}
