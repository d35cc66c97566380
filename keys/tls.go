// SPDX-License-Identifier: EUPL-1.2

package keys

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"time"
)

// Between parts a certificate is only the container of a key: what is trusted is
// the key's pin in the signed manifest or directory. So it can sign itself and
// live long; replacing it means replacing the pin.
const certificateYears = 5

// WriteTLS makes an ECDSA P-256 key and a certificate, signed by that key itself,
// for servers and clients alike. The name is the subject's common name; hosts
// are DNS names and IP addresses under which a server is reached.
func (s *Safe) WriteTLS(certPath, keyPath, name string, hosts []string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	now := time.Now().UTC().Truncate(time.Second)
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name},
		// The other side's clock may be behind.
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.AddDate(certificateYears, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	if err := s.writePKCS8(keyPath, key); err != nil {
		return err
	}
	if err := write(certPath, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		os.Remove(keyPath) // made just now, and nobody knows its certificate
		return err
	}
	return nil
}

// ReadTLS reads a certificate, or a chain, and its key. They need not be of
// WriteTLS: PKIoverheid's certificate over the same key has the same pin.
func (s *Safe) ReadTLS(certPath, keyPath string) (tls.Certificate, error) {
	cert, err := os.ReadFile(certPath)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("keys: %w", err)
	}
	key, err := s.ReadPrivate(keyPath)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%w: %s and %s are not a certificate and its key", ErrMalformed, certPath, keyPath)
	}
	return pair, nil
}

// SPKIHash is a certificate's pin: the SHA-256 of its SubjectPublicKeyInfo (RFC
// 7469 section 2.4). As text it is 64 hexadecimal digits.
func SPKIHash(cert *x509.Certificate) [32]byte {
	return sha256.Sum256(cert.RawSubjectPublicKeyInfo)
}

// PinOf reads the pin of the first certificate in a PEM file, without its key.
func PinOf(certPath string) ([32]byte, error) {
	text, err := os.ReadFile(certPath)
	if err != nil {
		return [32]byte{}, fmt.Errorf("keys: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return [32]byte{}, fmt.Errorf("%w: %s", ErrMalformed, certPath)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return [32]byte{}, fmt.Errorf("%w: %s", ErrMalformed, certPath)
	}
	return SPKIHash(cert), nil
}
