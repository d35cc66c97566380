// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/cmd/internal/command"
	"github.com/seinhuis/seinhuis/gateway"
	"github.com/seinhuis/seinhuis/keys"
	"github.com/seinhuis/seinhuis/manifest"
)

// keygen makes a party's keys and prints its part of the directory, or makes a
// storage key.
func keygen(args []string, stdout io.Writer) error {
	fs := flags("keygen")
	out := fs.String("out", "", "")
	id := fs.String("id", "", "")
	name := fs.String("name", "", "")
	kind := fs.String("kind", "", "")
	region := fs.String("region", "", "")
	storage := fs.String("storage", "", "")
	sealing := command.Sealing(fs)
	if argument, err := parse(fs, args, usage, stdout); err != nil {
		return err
	} else if argument != "" {
		return usageError("keygen heeft alleen opties; gateway -h legt ze uit")
	}
	if *storage == "" && *out == "" {
		return usageError("keygen vraagt -storage, of -out met -id, -name, -kind en -region; gateway -h legt ze uit")
	}
	safe, err := sealing()
	if err != nil {
		return err
	}
	if *storage != "" {
		if err := os.MkdirAll(filepath.Dir(*storage), 0o700); err != nil {
			return err
		}
		if err := safe.WriteSecret(*storage, gateway.StorageKeySize); err != nil {
			return err
		}
	}
	if *out == "" {
		return nil
	}
	if *name == "" || *kind == "" || *region == "" {
		return usageError("keygen -out vraagt ook -id, -name, -kind en -region; gateway -h legt ze uit")
	}
	party, err := api.ParseParty(*id)
	if err != nil {
		return err
	}
	stanza, err := partyKeys(safe, *out, party)
	if err != nil {
		return err
	}
	stanza.Name, stanza.Kind, stanza.Region = *name, *kind, *region
	text, err := json.MarshalIndent(stanza, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s\n", text)
	return err
}

const tokenSize = 32 // bytes

// partyKeys makes the keys folder of a party.
func partyKeys(safe *keys.Safe, folder string, id api.PartyID) (manifest.Party, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return manifest.Party{}, err
	}
	in := func(name string) string { return filepath.Join(folder, name) }
	sign, err := safe.WriteSigning(in(gateway.FileSign))
	if err != nil {
		return manifest.Party{}, err
	}
	hpke, err := safe.WriteHPKE(in(gateway.FileHPKE))
	if err != nil {
		return manifest.Party{}, err
	}
	if err := errors.Join(
		safe.WriteTLS(in(gateway.FileTLSCert), in(gateway.FileTLSKey), string(id), nil),
		safe.WriteSecret(in(gateway.FileToken), tokenSize),
	); err != nil {
		return manifest.Party{}, err
	}
	cert, err := safe.ReadTLS(in(gateway.FileTLSCert), in(gateway.FileTLSKey))
	if err != nil {
		return manifest.Party{}, err
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return manifest.Party{}, err
	}
	pin := keys.SPKIHash(leaf)
	now := time.Now().UTC().Truncate(time.Second)
	return manifest.Party{ID: id, Keys: []manifest.Key{
		manifest.NewKey(manifest.UseSign, sign, now),
		manifest.NewKey(manifest.UseHPKE, hpke.Bytes(), now),
		manifest.NewKey(manifest.UseTLS, pin[:], now),
	}}, nil
}
