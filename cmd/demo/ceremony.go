// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/gateway"
)

// Policy of the demonstration. The budgets let a whole population through; a real
// deployment's are a hundredth of them.
const (
	termDays      = 365
	dailyBudget   = 100_000
	monthlyBudget = 1_000_000
)

// object is JSON that is put together from what the programs print.
type object map[string]any

// setUp makes a whole deployment in the network's folder as docs/deployment.md
// does: every key by the command that is for it, each part's files in its own
// folder. Only that one user does it all on one machine is not as it should be.
func (n *Network) setUp(ctx context.Context, today encoding.Date) error {
	return n.setUpFrom(ctx, today, today.Year-23) // who turns 23 this year
}

// setUpFrom does so with keys for birth years from the oldest to next year's.
func (n *Network) setUpFrom(ctx context.Context, today encoding.Date, oldest int) error {
	ports, err := freePorts(2*evaluatorCount + 2 + len(gateways))
	if err != nil {
		return err
	}
	port := func() string {
		p := ports[0]
		ports = ports[1:]
		return fmt.Sprintf("127.0.0.1:%d", p)
	}
	c := &ceremony{Network: n, ctx: ctx, governance: n.folder("governance"), oldest: oldest}
	c.do(func() error { return c.sealingKeys() })
	c.do(func() error { return c.partiesAndGovernance() })
	c.do(func() error { return c.evaluatorKeys(port) })
	c.do(func() error { return c.registryKeys(port) })
	c.do(func() error { return c.manifest(today) })
	c.do(func() error { return c.directory(today) })
	c.do(func() error { return c.handOut() })
	c.do(func() error { return c.configureGateways(port) })
	return c.err
}

// A ceremony keeps what the steps print for each other; the first error ends it.
type ceremony struct {
	*Network
	ctx        context.Context
	governance string // folder
	oldest     int    // cohort
	err        error

	signers    struct{ Governance, DirectorySigner string }
	evaluators []object
	registry   json.RawMessage
	parties    []json.RawMessage
	listen     [][2]string // evaluation and public address of each evaluator
}

func (c *ceremony) do(step func() error) {
	if c.err == nil {
		c.err = step()
	}
}

// print runs a program and reads the JSON that it prints.
func (c *ceremony) print(v any, program string, args ...string) error {
	text, err := c.run(c.ctx, program, args...)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

// sealingKeys makes the sealing key of each machine.
func (c *ceremony) sealingKeys() error {
	machines := append([]string{"governance", "registry", guest.Folder}, gateways...)
	for i := range evaluatorCount {
		machines = append(machines, evaluatorName(i))
	}
	for _, machine := range machines {
		if _, err := c.run(c.ctx, "governance", "keys", "make", "-out", c.sealing(machine)); err != nil {
			return err
		}
	}
	return nil
}

// partiesAndGovernance makes the keys of governance and of each party, the guest
// among them, in the folder of its gateway or, for the guest, in one of its own.
func (c *ceremony) partiesAndGovernance() error {
	if err := c.print(&c.signers, "governance", "keygen", "-dep", deployment, "-out", c.governance, "-sealing", c.sealing("governance")); err != nil {
		return err
	}
	for _, p := range append(append([]Party(nil), parties...), guest) {
		out, machine := c.folder(p.Folder), p.Folder
		if p.Gateway >= 0 {
			out, machine = c.folder(gateways[p.Gateway], p.Folder), gateways[p.Gateway]
		}
		var stanza json.RawMessage
		if err := c.print(&stanza, "gateway", "keygen", "-out", out, "-id", string(p.ID), "-name", p.Name, "-kind", p.Kind, "-region", p.Region, "-sealing", c.sealing(machine)); err != nil {
			return err
		}
		c.parties = append(c.parties, stanza)
	}
	return nil
}

func evaluatorName(i int) string { return fmt.Sprintf("evaluator-%d", i+1) }

func (c *ceremony) evaluatorKeys(port func() string) error {
	for i := range evaluatorCount {
		address := [2]string{port(), port()}
		name, url := evaluatorName(i), "https://"+address[0]
		var stanza object
		if err := c.print(&stanza, "evaluator", "keygen", "-out", c.folder(name, "keys"), "-name", name, "-url", url, "-host", "127.0.0.1", "-sealing", c.sealing(name)); err != nil {
			return err
		}
		stanza["index"] = i + 1
		c.evaluators = append(c.evaluators, stanza)
		c.evaluatorURLs = append(c.evaluatorURLs, url)
		c.listen = append(c.listen, address)
		if err := writeJSON(c.folder(name, "config.json"), object{
			"data": "data", "shares": "shares", "witnessKey": "keys/witness.key", "tls": object{"cert": "keys/tls.crt", "key": "keys/tls.pem"}, "sealing": sealingKey,
			"pins": "pins.json", "manifest": "manifest.txt", "directory": "directory.txt",
			"evaluation": address[0], "public": address[1],
		}); err != nil {
			return err
		}
		c.Network.evaluators = append(c.Network.evaluators, c.serving("evaluator", name))
	}
	return nil
}

func (c *ceremony) registryKeys(port func() string) error {
	exchange, public := port(), port()
	c.registryURL, c.publicURL = "https://"+exchange, "https://"+public
	if err := c.print(&c.registry, "registry", "keygen", "-dep", deployment, "-out", c.folder("registry", "keys"),
		"-url", c.registryURL, "-public-url", c.publicURL, "-host", "127.0.0.1", "-sealing", c.sealing("registry")); err != nil {
		return err
	}
	c.Network.registry = c.serving("registry", "registry")
	return writeJSON(c.folder("registry", "config.json"), object{
		"data": "data", "journal": "journal", "keys": "keys/registry.keys", "receiptKey": "keys/receipt.pem", "logKey": "keys/log.key",
		"tls": object{"cert": "keys/tls.crt", "key": "keys/tls.pem"}, "sealing": sealingKey,
		"pins": "pins.json", "manifest": "manifest.txt", "directory": "directory.txt",
		"exchange": exchange, "public": public, "operations": "127.0.0.1:0", "sweepSeconds": 60,
	})
}

// manifest has the evaluators make the keys, writes the manifest, and has it signed by
// all who must.
func (c *ceremony) manifest(today encoding.Date) error {
	in, out, draft, made := filepath.Join(c.governance, "manifest.json"), filepath.Join(c.governance, "manifest.txt"),
		filepath.Join(c.governance, "draft.txt"), filepath.Join(c.governance, "commitments.json")
	if err := writeJSON(in, object{
		"dep": deployment, "notAfter": notAfter(today), "threshold": threshold,
		"epochs":     []object{{"number": 1, "state": "open", "opens": today}},
		"evaluators": c.evaluators, "registry": c.registry,
		"governance": c.signers.Governance, "directorySigner": c.signers.DirectorySigner,
		"policy": object{
			"termDays": termDays, "legalBasisEnds": today.AddDate(3, 0, 0), "timeZone": "Europe/Amsterdam",
			"calendar": "nl", "answerDays": 5, "signalPerpetrators": false,
			"dailyBudget": dailyBudget, "monthlyBudget": monthlyBudget, "reportReserve": 50,
		},
	}); err != nil {
		return err
	}
	sign := func(path string) error {
		_, err := c.run(c.ctx, "governance", "sign", "-key", filepath.Join(c.governance, "governance.key"), "-in", path, "-out", path,
			"-sealing", c.sealing("governance"))
		return err
	}
	if _, err := c.run(c.ctx, "governance", "manifest", "-in", in, "-draft", "-out", draft); err != nil {
		return err
	}
	if _, err := c.run(c.ctx, "governance", "pins", "-manifest", draft, "-out", filepath.Join(c.governance, "pins.json")); err != nil {
		return err
	}
	if err := sign(draft); err != nil {
		return err
	}
	if err := c.makeKeys(today, draft, made); err != nil {
		return err
	}
	if _, err := c.run(c.ctx, "governance", "manifest", "-in", in, "-commitments", made, "-out", out); err != nil {
		return err
	}
	if err := sign(out); err != nil {
		return err
	}
	return c.evaluatorsDo(func(i int) []string { return c.with(i, "sign", "-key", "note.key", "-in", out, "-out", out) })
}

// makeKeys is the ceremony: everybody deals, then everybody gathers.
func (c *ceremony) makeKeys(today encoding.Date, draft, made string) error {
	var indexes, dealings []string
	for i := range evaluatorCount {
		if err := copyFile(filepath.Join(c.governance, "pins.json"), c.folder(evaluatorName(i), "pins.json")); err != nil {
			return err
		}
		indexes = append(indexes, fmt.Sprint(i+1))
		dealings = append(dealings, "-dealing", c.dealing(i))
	}
	cohorts := fmt.Sprintf("%d-%d", c.oldest, today.Year+1)
	if err := c.evaluatorsDo(func(i int) []string {
		return c.with(i, "deal", "-key", "note.key", "-draft", draft, "-epoch", "1", "-cohorts", cohorts, "-dealers", strings.Join(indexes, ","), "-out", c.dealing(i))
	}); err != nil {
		return err
	}
	return c.evaluatorsDo(func(i int) []string {
		return append(c.with(i, "gather", "-box", "box.pem", "-draft", draft, "-out", made), dealings...)
	})
}

func (c *ceremony) dealing(i int) string {
	return filepath.Join(c.governance, fmt.Sprintf("dealing-%d.txt", i+1))
}

// with is a command of an evaluator that takes its configuration and one of its keys.
func (c *ceremony) with(i int, command, flag, key string, args ...string) []string {
	name := evaluatorName(i)
	return append([]string{command, "-config", c.folder(name, "config.json"), flag, c.folder(name, "keys", key)}, args...)
}

func (c *ceremony) evaluatorsDo(args func(i int) []string) error {
	for i := range evaluatorCount {
		if _, err := c.run(c.ctx, "evaluator", args(i)...); err != nil {
			return err
		}
	}
	return nil
}

func notAfter(today encoding.Date) time.Time { return today.AddDate(1, 0, 0).In(time.UTC) }

func (c *ceremony) directory(today encoding.Date) error {
	in, out := filepath.Join(c.governance, "directory.json"), filepath.Join(c.governance, "directory.txt")
	if err := writeJSON(in, object{"dep": deployment, "notAfter": notAfter(today), "parties": c.parties}); err != nil {
		return err
	}
	if _, err := c.run(c.ctx, "governance", "directory", "-in", in, "-out", out); err != nil {
		return err
	}
	if _, err := c.run(c.ctx, "governance", "sign", "-key", filepath.Join(c.governance, "directory.key"), "-in", out, "-out", out,
		"-sealing", c.sealing("governance")); err != nil {
		return err
	}
	_, err := c.run(c.ctx, "governance", "verify", "-pins", filepath.Join(c.governance, "pins.json"),
		"-manifest", filepath.Join(c.governance, "manifest.txt"), "-directory", out)
	return err
}

// handOut gives everybody the pins, the manifest and the directory.
func (c *ceremony) handOut() error {
	folders := []string{c.folder("registry"), c.folder(guest.Folder)}
	for i := range evaluatorCount {
		folders = append(folders, c.folder(evaluatorName(i)))
	}
	for _, name := range gateways {
		folders = append(folders, c.folder(name))
	}
	for _, folder := range folders {
		for _, file := range []string{"pins.json", "manifest.txt", "directory.txt"} {
			if err := copyFile(filepath.Join(c.governance, file), filepath.Join(folder, file)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *ceremony) configureGateways(port func() string) error {
	for i, name := range gateways {
		folder := c.folder(name)
		if _, err := c.run(c.ctx, "gateway", "keygen", "-storage", filepath.Join(folder, "storage.key"), "-sealing", c.sealing(name)); err != nil {
			return err
		}
		var served []object
		for place, p := range parties {
			if p.Gateway == i {
				served = append(served, object{"id": p.ID, "keys": p.Folder, "card": ownCard(place)})
				if err := c.giveToken(place); err != nil {
					return err
				}
			}
		}
		listen := port()
		if err := writeJSON(filepath.Join(folder, "config.json"), object{
			"listen": listen, "metrics": "127.0.0.1:0", "data": "data", "storageKey": "storage.key", "sealing": sealingKey,
			"pins": "pins.json", "manifest": "manifest.txt", "directory": "directory.txt", "parties": served,
		}); err != nil {
			return err
		}
		c.gatewayURLs = append(c.gatewayURLs, "http://"+listen)
		c.gateways = append(c.gateways, c.serving("gateway", name))
	}
	return nil
}

// giveToken gives a party's case system the token of its gateway.
func (c *ceremony) giveToken(party int) error {
	p, to := parties[party], c.tokenFile(party)
	machine := gateways[p.Gateway]
	token, err := c.run(c.ctx, "gateway", "keys", "show", "-sealing", c.sealing(machine), "-file", c.folder(machine, p.Folder, gateway.FileToken))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	return os.WriteFile(to, token, 0o600)
}

// serving is a program that serves by the configuration in its folder.
func (c *ceremony) serving(program, name string) *process {
	return newProcess(c.folder(name), name, filepath.Join(c.bin, program), "serve", "-config", c.folder(name, "config.json"))
}

func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o600)
}

// copyFile copies a public file.
func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o644)
}
