// SPDX-License-Identifier: EUPL-1.2

package audit

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// What a witness answers at WitnessPath beside 200, with its line or lines
// (c2sp.org/tlog-witness): 400 what does not parse; 404 another log; 403 not signed by the
// log; 409 and its own size, as SizeType, where Old is not that; 422 a proof that fails.
const (
	WitnessPath = "/add-checkpoint"
	SizeType    = "text/x.tlog.size"
)

// ErrAdd says that bytes are not the request of a log to its witness.
var ErrAdd = errors.New("audit: not a request to a witness")

// maxProof is how many hashes a proof has at most (c2sp.org/tlog-witness).
const maxProof = 63

// An Add asks a witness to cosign a checkpoint.
type Add struct {
	Old        int64          // the size that the witness has cosigned last, 0 for none
	Proof      tlog.TreeProof // that the checkpoint's tree goes on from there
	Checkpoint []byte         // signed by the log
}

// Marshal gives the body of the request.
func (a Add) Marshal() []byte {
	var b bytes.Buffer
	b.WriteString("old " + strconv.FormatInt(a.Old, 10) + "\n")
	for _, h := range a.Proof {
		b.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
	}
	b.WriteByte('\n')
	b.Write(a.Checkpoint)
	return b.Bytes()
}

// ParseAdd reads what Marshal writes, and nothing else.
func ParseAdd(b []byte) (a Add, err error) {
	head, checkpoint, ok := bytes.Cut(b, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !ok || len(lines) > 1+maxProof {
		return Add{}, ErrAdd
	}
	a.Checkpoint = checkpoint
	size, ok := strings.CutPrefix(lines[0], "old ")
	if a.Old, err = strconv.ParseInt(size, 10, 64); !ok || err != nil || a.Old < 0 || strconv.FormatInt(a.Old, 10) != size {
		return Add{}, ErrAdd
	}
	for _, line := range lines[1:] {
		h, err := encoding.ParseBase64(line)
		if err != nil || len(h) != tlog.HashSize {
			return Add{}, ErrAdd
		}
		a.Proof = append(a.Proof, tlog.Hash(h))
	}
	return a, nil
}

// Follows tells whether the tree of c goes on from that of old: whether nothing of it was
// changed or taken out. A tree of nothing is followed by any, with no proof.
func (c Checkpoint) Follows(old Checkpoint, proof tlog.TreeProof) bool {
	switch {
	case old.Size > c.Size:
		return false
	case old.Size == c.Size:
		return len(proof) == 0 && old.Root == c.Root
	case old.Size == 0:
		return len(proof) == 0
	}
	return tlog.CheckTree(proof, c.Size, c.Root, old.Size, old.Root) == nil
}

// Holds tells whether a leaf has a number in the tree of c.
func (c Checkpoint) Holds(leaf [32]byte, number int64, proof tlog.RecordProof) bool {
	return number >= 0 && number < c.Size && tlog.CheckRecord(proof, c.Size, c.Root, number, leaf) == nil
}
