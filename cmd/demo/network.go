// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/gateway/rest"
)

const (
	evaluatorCount = 3
	threshold      = 2
	deployment     = "demo"
)

// A Network is a whole Seinhuis: its processes, and the folder with all of their
// state.
type Network struct {
	bin, root  string
	evaluators []*process
	registry   *process
	gateways   []*process

	evaluatorURLs []string
	registryURL   string
	publicURL     string
	gatewayURLs   []string

	fatal func(error) // told when a process dies that nobody stopped
}

// folder is the state folder of a process or a party.
func (n *Network) folder(name string, more ...string) string {
	return filepath.Join(append([]string{n.root, name}, more...)...)
}

// run runs one of the programs to its end and gives what it prints.
func (n *Network) run(ctx context.Context, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(n.bin, program), args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%s %s: %w\n%s%s", program, args[0], err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.Bytes(), nil
}

// start starts a process, and tells fatal when it ends by itself.
func (n *Network) start(ctx context.Context, p *process) error { return p.start(ctx, n.fatal) }

// startAll starts everything: evaluators and registry first, as gateways turn to
// them at once.
func (n *Network) startAll(ctx context.Context) error {
	if err := atOnce(append([]*process{n.registry}, n.evaluators...), func(p *process) error { return n.start(ctx, p) }); err != nil {
		return err
	}
	return atOnce(n.gateways, func(p *process) error { return n.start(ctx, p) })
}

// stopAll asks everything to end and waits for it.
func (n *Network) stopAll() error {
	return atOnce(n.processes(), func(p *process) error { return p.end(syscall.SIGTERM) })
}

// processes are all that have been set up so far.
func (n *Network) processes() []*process {
	all := append(append([]*process(nil), n.evaluators...), n.gateways...)
	if n.registry != nil {
		all = append(all, n.registry)
	}
	return all
}

// atOnce does something with all processes at once.
func atOnce(all []*process, do func(*process) error) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, p := range all {
		wg.Go(func() { errs[i] = do(p) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// freePorts finds ports that nobody listens on, below those that systems give to
// outgoing connections: a process that is down for a while must find its own
// again.
func freePorts(count int) ([]int, error) {
	var found []int
	for range 1000 {
		if len(found) == count {
			return found, nil
		}
		port := 10_000 + rand.IntN(22_000)
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		defer ln.Close() // taken until all are found, so that they differ
		found = append(found, port)
	}
	return nil, errors.New("no free ports on 127.0.0.1")
}

const sealingKey = "sealing.key"

// sealing is the file of a machine's sealing key.
func (n *Network) sealing(machine string) string { return n.folder(machine, sealingKey) }

// tokenFile is what a party's case system has of its token.
func (n *Network) tokenFile(party int) string { return n.folder("case-systems", parties[party].Folder) }

// client talks to a party's gateway with the party's token, as a case system does.
func (n *Network) client(party int) (rest.ClientWithResponsesInterface, error) {
	token, err := gateway.ReadToken(n.tokenFile(party), nil)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 4 * concurrency
	return rest.NewClientWithResponses(n.gatewayURLs[parties[party].Gateway]+"/v1",
		rest.WithHTTPClient(&http.Client{Transport: transport, Timeout: 2 * time.Minute}),
		rest.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
			r.Header.Set("Authorization", "Bearer "+token)
			return nil
		}))
}

// openFolder makes the folder of a network: a temporary one that is removed in
// the end, or the one that was asked for, which is not.
func openFolder(asked string) (root string, remove func() error, err error) {
	if asked == "" {
		root, err = os.MkdirTemp("", "seinhuis-demo-")
		return root, func() error { return os.RemoveAll(root) }, err
	}
	if root, err = filepath.Abs(asked); err != nil {
		return "", nil, err
	}
	if left, err := os.ReadDir(root); err == nil && len(left) > 0 {
		return "", nil, fmt.Errorf("%s is not empty; the demonstration wants a folder of its own", root)
	}
	return root, func() error { return nil }, os.MkdirAll(root, 0o700)
}
