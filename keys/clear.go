// SPDX-License-Identifier: EUPL-1.2

package keys

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/tls"

	"golang.org/x/mod/sumdb/note"
)

// unsealed is where there is no sealing key.
var unsealed *Safe

// WriteSigning is [Safe.WriteSigning] in clear.
func WriteSigning(path string) (ed25519.PublicKey, error) { return unsealed.WriteSigning(path) }

// ReadSigning is [Safe.ReadSigning] in clear.
func ReadSigning(path string) (ed25519.PrivateKey, error) { return unsealed.ReadSigning(path) }

// WriteHPKE is [Safe.WriteHPKE] in clear.
func WriteHPKE(path string) (*ecdh.PublicKey, error) { return unsealed.WriteHPKE(path) }

// ReadHPKE is [Safe.ReadHPKE] in clear.
func ReadHPKE(path string) (*ecdh.PrivateKey, error) { return unsealed.ReadHPKE(path) }

// WriteNote is [Safe.WriteNote] in clear.
func WriteNote(path, name string) (vkey string, err error) { return unsealed.WriteNote(path, name) }

// ReadNote is [Safe.ReadNote] in clear.
func ReadNote(path string) (note.Signer, error) { return unsealed.ReadNote(path) }

// WriteSecret is [Safe.WriteSecret] in clear.
func WriteSecret(path string, n int) error { return unsealed.WriteSecret(path, n) }

// Secret is [Safe.Secret] in clear.
func Secret(path string) ([]byte, error) { return unsealed.Secret(path) }

// WriteLine is [Safe.WriteLine] in clear.
func WriteLine(path, line string) error { return unsealed.WriteLine(path, line) }

// ReadLine is [Safe.ReadLine] in clear.
func ReadLine(path string) (string, error) { return unsealed.ReadLine(path) }

// WritePrivate is [Safe.WritePrivate] in clear.
func WritePrivate(path string, text []byte) error { return unsealed.WritePrivate(path, text) }

// ReadPrivate is [Safe.ReadPrivate] in clear.
func ReadPrivate(path string) ([]byte, error) { return unsealed.ReadPrivate(path) }

// WriteTLS is [Safe.WriteTLS] in clear.
func WriteTLS(certPath, keyPath, name string, hosts []string) error {
	return unsealed.WriteTLS(certPath, keyPath, name, hosts)
}

// ReadTLS is [Safe.ReadTLS] in clear.
func ReadTLS(certPath, keyPath string) (tls.Certificate, error) {
	return unsealed.ReadTLS(certPath, keyPath)
}

// ReplacePrivate is [Safe.ReplacePrivate] in clear.
func ReplacePrivate(path string, text []byte) error { return unsealed.ReplacePrivate(path, text) }
