// SPDX-License-Identifier: EUPL-1.2

//go:build unix

package disk

import (
	"errors"
	"syscall"
)

// Same tells whether two folders are on one disk of the system.
func Same(a, b string) (bool, error) {
	var at, other syscall.Stat_t
	err := errors.Join(syscall.Stat(a, &at), syscall.Stat(b, &other))
	return at.Dev == other.Dev, err
}
