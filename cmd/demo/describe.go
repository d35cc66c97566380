// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// networkFile, in the network's folder, says for programs what describe prints.
const networkFile = "network.json"

// lastLine is printed when everything serves.
const lastLine = "Ctrl-C ends it and removes what it made."

// describe prints what runs where, and commands to paste.
func (n *Network) describe(w io.Writer, today encoding.Date) error {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }

	line("\nSeinhuis runs, in %s; each part has a folder there, with its log", n.root)
	file := object{
		"manifest": n.folder("governance", "manifest.txt"), "directory": n.folder("governance", "directory.txt"),
		"pins": n.folder("governance", "pins.json"), "deployment": deployment,
	}
	line("\nEvaluators (%d of %d are needed) and registry, each with its certificate", threshold, evaluatorCount)
	var evaluators []object
	for i, url := range n.evaluatorURLs {
		cert := n.folder(evaluatorName(i), "keys", "tls.crt")
		line("  %-22s %s  %s", evaluatorName(i), url, cert)
		evaluators = append(evaluators, object{"index": i + 1, "url": url, "certificate": cert})
	}
	cert := n.folder("registry", "keys", "tls.crt")
	line("  %-22s %s  %s", "registry, for parties", n.registryURL, cert)
	line("  %-22s %s  the same", "registry, for anybody", n.publicURL)
	file["evaluators"] = evaluators
	file["registry"] = object{"url": n.registryURL, "publicUrl": n.publicURL, "certificate": cert}

	line("\nGateways, each with its party and the file with its token")
	served := object{}
	for i, p := range parties {
		url := n.gatewayURLs[p.Gateway]
		line("  %-28s %-28s %s  %s", p.Name, p.ID, url, n.tokenFile(i))
		served[p.Folder] = object{"id": p.ID, "name": p.Name, "kind": p.Kind, "url": url, "token": n.tokenFile(i)}
	}
	file["parties"] = served

	line("\nFor a client of your own, in any language by docs/spec.md: party %s has its keys", guest.ID)
	line("in %s (sign.pem, hpke.pem, tls.pem and tls.crt), beside it", n.folder(guest.Folder))
	line("manifest.txt and directory.txt.")
	file["guest"] = object{"id": guest.ID, "keys": n.folder(guest.Folder)}

	pids := object{}
	for _, p := range n.processes() {
		pids[p.name] = p.pid()
	}
	file["processes"] = pids
	if err := writeJSON(n.folder(networkFile), file); err != nil {
		return err
	}

	child := newCensus(1, today).child(10)
	school, health := 0, 1
	gateway := filepath.Join(n.bin, "gateway")
	line("\nTo signal one made-up child at two parties and see both inboxes, paste these:\n")
	for _, party := range []int{school, health} {
		p := parties[party]
		line("  echo %s | %s signal -url %s -token %s \\\n    -nummer - -geboortedatum %s -kenmerk DOSSIER-1 -hulpverlener mijn.naam",
			child.Number, gateway, n.gatewayURLs[p.Gateway], n.tokenFile(party), child.Birth)
	}
	line("  %s inbox -url %s -token %s -wacht 10", gateway, n.gatewayURLs[parties[school].Gateway], n.tokenFile(school))
	line(`  curl -s -H "Authorization: Bearer $(cat %s)" '%s/v1/berichten?wacht=10'`, n.tokenFile(health), n.gatewayURLs[parties[health].Gateway])
	line("\nAfter that: gateway matches, answer, withdraw, renew and report; each explains itself with -h.")
	line("The API in full: %s/v1/openapi.json", n.gatewayURLs[0])
	line("All of the above for programs: %s", n.folder(networkFile))
	line("%s", banner)
	line(lastLine)
	_, err := io.WriteString(w, b.String())
	return err
}
