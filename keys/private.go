// SPDX-License-Identifier: EUPL-1.2

package keys

// WritePrivate makes a file of mode 0600 for a text with secrets in it whose form
// is another package's, such as an evaluator's shares. It never replaces a file.
func WritePrivate(path string, text []byte) error { return write(path, text, 0o600) }

// ReadPrivate reads such a file, if only its owner can.
func ReadPrivate(path string) ([]byte, error) { return readPrivate(path) }
