// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/cmd/internal/command"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/manifest"
	"github.com/seinhuis/seinhuis/registry"
)

// keygen makes the registry's keys and prints its part of the manifest.
func keygen(_ context.Context, args []string, stdout, stderr io.Writer) error {
	fs := program.Flags("keygen", stderr)
	out := fs.String("out", "", "")
	dep := fs.String("dep", "", "")
	url := fs.String("url", "", "")
	publicURL := fs.String("public-url", "", "")
	hosts := []string{}
	fs.Func("host", "", func(h string) error { hosts = append(hosts, h); return nil })
	sealing := command.Sealing(fs)
	if err := program.Parse(fs, args, "host", "sealing"); err != nil {
		return err
	}
	safe, err := sealing()
	if err != nil {
		return err
	}
	for _, u := range []string{*url, *publicURL} {
		if !strings.HasPrefix(u, "https://") {
			return errors.New("-url and -public-url begin with https://; both listeners speak TLS")
		}
	}
	if err := os.MkdirAll(*out, 0o700); err != nil {
		return err
	}
	in := func(name string) string { return filepath.Join(*out, name) }
	if err := safe.WriteTLS(in("tls.crt"), in("tls.pem"), "registry", hosts); err != nil {
		return err
	}
	receipt, err := safe.WriteSigning(in("receipt.pem"))
	if err != nil {
		return err
	}
	log, err := safe.WriteNote(in("log.key"), audit.Origin(*dep))
	if err != nil {
		return err
	}
	if err := safe.WritePrivate(in("registry.keys"), registry.NewKeyFile()); err != nil {
		return err
	}
	cert, err := safe.ReadTLS(in("tls.crt"), in("tls.pem"))
	if err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return err
	}
	now := time.Now().UTC().Truncate(time.Second)
	stanza, err := json.MarshalIndent(manifest.Registry{
		URL: *url, PublicURL: *publicURL, TLS: keys.SPKIHash(leaf),
		ReceiptKeys: []manifest.Key{{
			ID: encoding.KeyIDOf(receipt), Key: encoding.Base64(receipt), From: now, Until: now.AddDate(2, 0, 0),
		}},
		Log: log,
	}, "", "  ")
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s\n", stanza)
	return nil
}
