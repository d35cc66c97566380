// SPDX-License-Identifier: EUPL-1.2

package evaluator

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	cosign "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/disk"
	"github.com/seinhuis/seinhuis/logging"
)

// What a witness refuses, beside a *SizeError. What does not parse is audit.ErrAdd or
// audit.ErrCheckpoint.
var (
	// ErrLog says that a checkpoint is of another log than the manifest's.
	ErrLog = errors.New("evaluator: a checkpoint of another log")
	// ErrLogSignature says that the log has not signed a checkpoint.
	ErrLogSignature = errors.New("evaluator: the log has not signed the checkpoint")
	// ErrProof says that a checkpoint is not shown to go on from the one before.
	ErrProof = errors.New("evaluator: the proof of consistency fails")
)

// What keeps a witness from starting.
const (
	// ErrForgotten says that the store was put back, or lost: by it the key could cosign
	// another tree than it has.
	ErrForgotten = logging.Error("the witness key has cosigned more than this data folder knows of; put the newest folder back, or give this key up: make another one with keygen in an empty folder, and have governance put it in the manifest")
	// ErrSeen says that the file beside the key cannot be read.
	ErrSeen = logging.Error("the file beside the witness key that tells what it has cosigned is damaged; give this key up: make another one with keygen in an empty folder, and have governance put it in the manifest")
	// ErrWitnessKey says that a file does not hold a key to cosign with.
	ErrWitnessKey = logging.Error("witnessKey does not hold a note's key as keygen makes it")
)

// A SizeError says that a witness has cosigned last another size than it was told. When
// it is Forked the log has signed two trees of this size: that is the proof that somebody
// is shown another log than the rest.
type SizeError struct {
	Size   int64
	Forked bool
}

func (e *SizeError) Error() string {
	if e.Forked {
		return "evaluator: the log has signed two trees of one size"
	}
	return "evaluator: another size was cosigned last"
}

// A row of the store of budgets, beside theirs; its value is the checkpoint as a note,
// signed by the log and by the witness.
//
//	w origin    what was cosigned last
const prefixWitness = 'w'

// Files beside the key. Whoever puts the store back from a backup does not put them back.
const (
	suffixSeen   = ".seen"   // the key's name and hash, and the text of the last checkpoint
	suffixForked = ".forked" // the first two checkpoints, as notes, that prove a fork
)

// A Witness cosigns the checkpoints of the registry's log, each only if its tree goes on
// from the one it cosigned before (c2sp.org/tlog-witness). So whoever sees a cosignature
// knows that all others who see one see the same log.
//
// What it cosigns is on disk first, in the store of budgets and beside the key, and
// requests go one by one. Goroutines may share it.
type Witness struct {
	db     *pebble.DB
	fs     vfs.FS
	key    string // as a note has it: secret
	signer *cosign.Signer
	beside string

	mu     sync.Mutex
	latest map[string]cosigned // by origin
}

// cosigned is a checkpoint and its note.
type cosigned struct {
	audit.Checkpoint
	note []byte
}

// OpenWitness makes a witness of a key, a note's in its own form, that lies in a file.
// Beside that file it notes what it has cosigned, and refuses to start by a store that
// knows of less.
func OpenWitness(b *Budgets, key, file string) (*Witness, error) {
	signer, err := cosign.NewSignerForCosignatureV1(key)
	if err != nil {
		return nil, ErrWitnessKey
	}
	w := &Witness{db: b.db, fs: b.fs, key: key, signer: signer, beside: file, latest: map[string]cosigned{}}
	seen, err := w.readSeen()
	if err != nil {
		return nil, err
	}
	if seen.Origin == "" {
		return w, nil
	}
	last, err := w.last(seen.Origin)
	if err != nil {
		return nil, err
	}
	if last.Size < seen.Size || last.Size == seen.Size && last.Root != seen.Root {
		return nil, ErrForgotten
	}
	return w, nil
}

// Named tells whether a manifest's vkey is the witness's own.
func (w *Witness) Named(vkey string) bool {
	named, err := cosign.NewVerifierForCosignatureV1(vkey)
	return err == nil && named.Name() == w.signer.Name() && named.KeyHash() == w.signer.KeyHash()
}

// WitnessNamed tells the same of a key that is not opened.
func WitnessNamed(key, vkey string) (bool, error) {
	signer, err := cosign.NewSignerForCosignatureV1(key)
	if err != nil {
		return false, ErrWitnessKey
	}
	return (&Witness{signer: signer}).Named(vkey), nil
}

// Add answers the request of a log whose vkey the manifest has: the line of a
// cosignature.
func (w *Witness) Add(log string, request []byte) (line []byte, err error) {
	add, err := audit.ParseAdd(request)
	if err != nil {
		return nil, err
	}
	c, msg, err := openCheckpoint(log, add.Checkpoint)
	if err != nil {
		return nil, err
	}
	if add.Old > c.Size {
		return nil, audit.ErrAdd
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	last, err := w.last(c.Origin)
	switch {
	case err != nil:
		return nil, err
	case c.Size == last.Size && c.Root != last.Root:
		return nil, errors.Join(&SizeError{Size: last.Size, Forked: true}, w.keepFork(last.note, msg))
	case add.Old != last.Size:
		return nil, &SizeError{Size: last.Size}
	case !c.Follows(last.Checkpoint, add.Proof):
		return nil, ErrProof
	}
	if line, err = audit.Cosign(c, w.key); err != nil {
		return nil, err
	}
	if err := w.db.Set(witnessKey(c.Origin), append(msg, line...), pebble.Sync); err != nil {
		return nil, fmt.Errorf("evaluator: %w", err)
	}
	w.latest[c.Origin] = cosigned{c, append(msg, line...)}
	if err := w.writeSeen(c); err != nil {
		return nil, fmt.Errorf("evaluator: %w", err)
	}
	return line, nil
}

// Latest gives what was cosigned last of a log, with the log's signature and the
// witness's; nil when nothing was.
func (w *Witness) Latest(log string) ([]byte, error) {
	key, err := note.NewVerifier(log)
	if err != nil {
		return nil, ErrLog
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	last, err := w.last(key.Name())
	return bytes.Clone(last.note), err
}

// openCheckpoint opens a checkpoint that the log has signed, and gives it as a note with
// no other signature.
func openCheckpoint(log string, msg []byte) (audit.Checkpoint, []byte, error) {
	c, err := audit.Unverified(msg)
	if err != nil {
		return c, nil, err
	}
	key, err := note.NewVerifier(log)
	if err != nil || c.Origin != key.Name() {
		return c, nil, ErrLog
	}
	n, err := note.Open(msg, note.VerifierList(key))
	if _, ok := errors.AsType[*note.UnverifiedNoteError](err); ok {
		return c, nil, ErrLogSignature
	}
	if _, ok := errors.AsType[*note.InvalidSignatureError](err); ok {
		return c, nil, ErrLogSignature
	}
	if err != nil {
		return c, nil, audit.ErrCheckpoint
	}
	msg, err = note.Sign(&note.Note{Text: n.Text, Sigs: n.Sigs})
	return c, msg, err
}

func witnessKey(origin string) []byte { return append([]byte{prefixWitness}, origin...) }

// last is what was cosigned last, and before that the tree of nothing. w.mu is held.
func (w *Witness) last(origin string) (cosigned, error) {
	if last, ok := w.latest[origin]; ok {
		return last, nil
	}
	value, closer, err := w.db.Get(witnessKey(origin))
	if errors.Is(err, pebble.ErrNotFound) {
		return cosigned{Checkpoint: audit.Checkpoint{Origin: origin, Root: tlog.Hash(sha256.Sum256(nil))}}, nil
	}
	if err != nil {
		return cosigned{}, fmt.Errorf("evaluator: %w", err)
	}
	defer closer.Close()
	last := cosigned{note: bytes.Clone(value)}
	if last.Checkpoint, err = audit.Unverified(value); err != nil || last.Origin != origin {
		return cosigned{}, ErrCorrupt
	}
	w.latest[origin] = last
	return last, nil
}

// own names the key in the file beside it.
func (w *Witness) own() string { return fmt.Sprintf("%s+%08x\n", w.signer.Name(), w.signer.KeyHash()) }

// readSeen reads the file beside the key. One of a key that was there before says
// nothing of this one.
func (w *Witness) readSeen() (c audit.Checkpoint, err error) {
	f, err := w.fs.Open(w.beside + suffixSeen)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("evaluator: %w", err)
	}
	text, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return c, fmt.Errorf("evaluator: %w", err)
	}
	key, checkpoint, ok := strings.Cut(string(text), "\n")
	if !ok {
		return c, ErrSeen
	}
	if key+"\n" != w.own() {
		return c, nil
	}
	if c, err = audit.ParseCheckpoint(checkpoint); err != nil {
		return c, ErrSeen
	}
	return c, nil
}

func (w *Witness) writeSeen(c audit.Checkpoint) error {
	return disk.Replace(w.fs, w.beside+suffixSeen, []byte(w.own()+c.Text()))
}

// keepFork keeps the proof of a fork. One is enough.
func (w *Witness) keepFork(one, other []byte) error {
	_, err := w.fs.Stat(w.beside + suffixForked)
	if errors.Is(err, fs.ErrNotExist) {
		err = disk.Replace(w.fs, w.beside+suffixForked, fmt.Appendf(nil, "%s\n%s", one, other))
	}
	if err != nil {
		return fmt.Errorf("evaluator: %w", err)
	}
	return nil
}
