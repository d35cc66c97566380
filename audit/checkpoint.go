// SPDX-License-Identifier: EUPL-1.2

package audit

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	cosign "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

var (
	// ErrCheckpoint says that a text is not a checkpoint in its one form.
	ErrCheckpoint = errors.New("audit: not a checkpoint")
	// ErrSigner says that a checkpoint is not signed by the log's key, or is of another log.
	ErrSigner = errors.New("audit: the checkpoint is not signed by the log that the manifest names")
	// ErrWitnesses says that too few witnesses have cosigned.
	ErrWitnesses = errors.New("audit: too few witnesses have cosigned the checkpoint")
	// ErrLogKey says that a log or a witness has no key that can be used.
	ErrLogKey = errors.New("audit: not the key of a log or a witness")
)

// Origin names the log of a deployment; the log's key has the same name.
func Origin(dep string) string { return "seinhuis/" + dep + "/log" }

// A Checkpoint is a log at one size (c2sp.org/tlog-checkpoint). Its text is three lines:
// origin, size, and root hash in base64. No lines follow.
type Checkpoint struct {
	Origin string
	Size   int64
	Root   tlog.Hash
}

// Text is what is signed.
func (c Checkpoint) Text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]))
}

// ParseCheckpoint reads what Text writes, and nothing else.
func ParseCheckpoint(text string) (c Checkpoint, err error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[0] == "" {
		return Checkpoint{}, ErrCheckpoint
	}
	c.Origin = lines[0]
	if c.Size, err = strconv.ParseInt(lines[1], 10, 64); err != nil || c.Size < 0 {
		return Checkpoint{}, ErrCheckpoint
	}
	root, err := encoding.ParseBase64(lines[2])
	if err != nil || len(root) != len(c.Root) {
		return Checkpoint{}, ErrCheckpoint
	}
	c.Root = tlog.Hash(root)
	if c.Text() != text {
		return Checkpoint{}, ErrCheckpoint
	}
	return c, nil
}

// Unverified reads the checkpoint in a signed note, whoever has signed it.
func Unverified(msg []byte) (Checkpoint, error) {
	text, _, ok := bytes.Cut(msg, []byte("\n\n"))
	if !ok {
		return Checkpoint{}, ErrCheckpoint
	}
	return ParseCheckpoint(string(text) + "\n")
}

// Sign signs a checkpoint as the log, whose key has the log's origin for its name.
func (c Checkpoint) Sign(log note.Signer) ([]byte, error) {
	if log.Name() != c.Origin {
		return nil, ErrLogKey
	}
	return note.Sign(&note.Note{Text: c.Text()}, log)
}

// Keys are whose signatures a checkpoint needs: the log's, and those of some witnesses.
type Keys struct {
	log       note.Verifier
	witnesses []note.Verifier
	threshold int
}

// ParseKeys reads the keys of a log and its witnesses, as the manifest names them, and
// how many witnesses it takes.
func ParseKeys(log string, witnesses []string, threshold int) (k Keys, err error) {
	if k.log, err = note.NewVerifier(log); err != nil {
		return Keys{}, ErrLogKey
	}
	for _, vkey := range witnesses {
		w, err := cosign.NewVerifierForCosignatureV1(vkey)
		if err != nil {
			return Keys{}, ErrLogKey
		}
		k.witnesses = append(k.witnesses, w)
	}
	if k.threshold = threshold; threshold < 1 || threshold > len(witnesses) {
		return Keys{}, ErrWitnesses
	}
	return k, nil
}

// Origin is the log's.
func (k Keys) Origin() string { return k.log.Name() }

// Open opens a checkpoint that the log has signed, whoever has cosigned it.
func (k Keys) Open(msg []byte) (Checkpoint, error) {
	n, err := note.Open(msg, note.VerifierList(k.log))
	if err != nil {
		return Checkpoint{}, ErrSigner
	}
	c, err := ParseCheckpoint(n.Text)
	if err == nil && c.Origin != k.Origin() {
		err = ErrSigner
	}
	return c, err
}

// OpenCosigned opens a checkpoint that the log has signed and enough witnesses have
// cosigned, and tells since when: the last time at which enough of them had.
func (k Keys) OpenCosigned(msg []byte) (c Checkpoint, at time.Time, err error) {
	if c, err = k.Open(msg); err != nil {
		return Checkpoint{}, time.Time{}, err
	}
	var times []time.Time
	for _, w := range k.witnesses {
		n, err := note.Open(msg, note.VerifierList(w))
		if err != nil {
			continue
		}
		t, err := cosign.CoSigV1Timestamp(n.Sigs[0])
		if err != nil {
			continue
		}
		times = append(times, t)
	}
	if len(times) < k.threshold {
		return Checkpoint{}, time.Time{}, ErrWitnesses
	}
	slices.SortFunc(times, func(a, b time.Time) int { return b.Compare(a) })
	return c, times[k.threshold-1].UTC(), nil
}

// Cosign is what a witness says of a checkpoint: one line (c2sp.org/tlog-cosignature).
// key is a note key in its own form; the time is the machine's.
func Cosign(c Checkpoint, key string) (line []byte, err error) {
	signer, err := cosign.NewSignerForCosignatureV1(key)
	if err != nil {
		return nil, ErrLogKey
	}
	text := c.Text()
	msg, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		return nil, err
	}
	return msg[len(text)+1:], nil // behind an empty line
}

// WitnessKey is the form of a note's verifier key under which its cosignatures verify.
func WitnessKey(vkey string) (string, error) {
	w, err := cosign.VKeyToCosignatureV1(vkey)
	if err != nil {
		return "", ErrLogKey
	}
	return w, nil
}
