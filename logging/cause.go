// SPDX-License-Identifier: EUPL-1.2

package logging

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// An Error is an error with a constant text, which logs tell in full. A test over
// the source holds that it is made of constants only. Packages whose errors begin
// with their name have no need of it.
type Error string

func (e Error) Error() string { return string(e) }

// Cause is the text of an error as a log may hold it. An error of somebody else can
// repeat what it was given: an address with a token in it, a mailbox, what was
// parsed. So
//
//   - an error of ours is told in full, with what it wraps told by this rule in its
//     place. Ours are Error, types of this module, and texts that begin with the name
//     of a package of ours; house rule is that none of them repeats a value;
//   - of the system's errors the operation, the path and the system's word are told,
//     and not the address;
//   - of anything else only the type is told, and what it wraps.
//
// Runs of seven digits and more are blotted out whatever they stand in.
func Cause(err error) string {
	if err == nil {
		return ""
	}
	text := digits.ReplaceAllString(cause(err, 0), "[digits]")
	if len(text) > maxCause {
		text = text[:maxCause] + "…"
	}
	return strings.ToValidUTF8(text, "?")
}

const (
	module   = "github.com/seinhuis/seinhuis"
	maxCause = 800
	maxDepth = 12
)

var digits = regexp.MustCompile(`[0-9]{7,}`)

// packages of ours whose name can begin an error's text. Left out are names that a
// library's errors begin with as well, such as mail.
var packages = []string{
	"api", "atrest", "audit", "calendar", "edge", "encoding", "evaluation", "evaluator", "exchange", "gateway",
	"governance", "identity", "keys", "logging", "manifest", "matcher", "oauth", "oprf", "pebblestore",
	"registry", "rest", "seal", "webhook",
}

// fixed are errors of the standard library whose text is always the same.
var fixed = []error{
	context.Canceled, context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
	os.ErrDeadlineExceeded, fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, fs.ErrClosed,
}

func cause(err error, depth int) string {
	wrapped := unwrap(err)
	inside := func() string {
		var texts []string
		for _, w := range wrapped {
			texts = append(texts, cause(w, depth+1))
		}
		return strings.Join(texts, "; ")
	}
	behind := func(name string) string {
		if len(wrapped) == 0 {
			return name
		}
		return name + ": " + inside()
	}
	kind := fmt.Sprintf("%T", err)
	if depth == maxDepth {
		return kind
	}
	if reflect.TypeOf(err).Comparable() && slices.Contains(fixed, err) {
		return err.Error()
	}
	switch e := err.(type) {
	case Error, syscall.Errno, tls.AlertError:
		return err.Error()
	case *fs.PathError:
		return behind(e.Op + " " + e.Path)
	case *os.LinkError:
		return behind(e.Op + " " + e.New)
	case *os.SyscallError:
		return behind(e.Syscall)
	case *net.OpError:
		return behind(e.Op + " " + e.Net)
	}
	switch {
	case kind == "tls.alert": // what the other side says of our handshake: one of a table
		return err.Error()
	case ours(err):
		text := err.Error()
		for _, w := range wrapped {
			text = strings.Replace(text, w.Error(), cause(w, depth+1), 1)
		}
		return text
	case kind == "*errors.joinError" || strings.HasPrefix(kind, "*fmt.wrapError"):
		return inside() // without the words around it, which may be values
	}
	return behind(kind)
}

func unwrap(err error) []error {
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if w := e.Unwrap(); w != nil {
			return []error{w}
		}
	case interface{ Unwrap() []error }:
		return e.Unwrap()
	}
	return nil
}

func ours(err error) bool {
	of := reflect.TypeOf(err)
	if of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	path := of.PkgPath()
	switch {
	case path == module || strings.HasPrefix(path, module+"/"):
		return true
	case path != "errors" && path != "fmt":
		return false
	}
	name, _, ok := strings.Cut(err.Error(), ": ")
	return ok && slices.Contains(packages, name)
}
