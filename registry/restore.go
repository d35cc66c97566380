// SPDX-License-Identifier: EUPL-1.2

package registry

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/crypto/encoding"
)

// An Ended is what the journal keeps of a signal that an act has ended, or a revision is
// to end earlier, so that a store which is restored to before that can do it again. It has no tag: like a
// tombstone it leads back to the child by no more than Shard.
type Ended struct {
	Member
	Shard     [2]byte // the first bytes of the idx under which it stood
	Tombstone Tombstone
	Match     api.MatchID // that it was in; zero for none
	Others    []Member    // who were told that it left

	// Expires is the day to which a revision has brought a signal forward, which has not
	// ended then; zero where an act has ended it. Tombstone has but the revision.
	Expires encoding.Date
}

// Sequenced are leaves that the log took up, from a number on, in their order.
type Sequenced struct {
	First  int64
	Leaves []api.Hash
}

// A Kept is what the journal keeps of one commit.
type Kept struct {
	Ended     []Ended
	Sequenced Sequenced
	Erased    []int64 // numbers of the log
}

// Empty tells whether there is nothing to keep.
func (k Kept) Empty() bool {
	return len(k.Ended) == 0 && len(k.Sequenced.Leaves) == 0 && len(k.Erased) == 0
}

// A Journaled is a place in a journal: behind how many groups, a Kept each.
type Journaled struct {
	ID     [16]byte // of the journal
	Groups uint64
}

// A Restore is what is known of a time that the store was put back to a backup. What
// the store was told from Backup on, it may lack since At.
type Restore struct {
	Incarnation [16]byte // that began then
	Backup      time.Time
	At          time.Time
}

// beforeBackup is how long before a backup something can have been dated that is not
// in it: what a [Clock] goes by can go back within a day, and an import takes minutes from
// the time on its receipts to its commit.
const beforeBackup = 25 * time.Hour

// Lacks is from when on a store may lack what it receipted before its last restore;
// zero when it lacks nothing.
func Lacks(restores []Restore) (since time.Time) {
	for _, r := range restores {
		if from := r.Backup.Add(-beforeBackup); since.IsZero() || from.Before(since) {
			since = from
		}
	}
	return since
}

// lacksFor is what the store may lack of what it receipted to whom it gave a cursor
// last. Of an incarnation that is not one of its own it knows nothing: that was of a
// backup that came after.
func lacksFor(store Store, cursor string) time.Time {
	restores := store.Restores()
	known := cursorIncarnation(cursor)
	i := slices.IndexFunc(restores, func(r Restore) bool { return len(known) > 0 && bytes.HasPrefix(r.Incarnation[:], known) })
	return Lacks(restores[i+1:])
}

// MayLack tells whether a statement that was issued then could have been taken and be
// missing: it was issued before some restore, and could still be sent after its backup.
func MayLack(restores []Restore, issued time.Time) bool {
	return slices.ContainsFunc(restores, func(r Restore) bool {
		return !issued.After(r.At) && !issued.Before(r.Backup.Add(-beforeBackup-MaxAge))
	})
}

const (
	rowEnded     = "ended"
	rowSequenced = "sequenced"
	rowErased    = "erased"
	rowRestores  = "restores"

	// maxKept bounds how many hashes or numbers one row of the journal has, which is a
	// field of 65,535 bytes at most.
	maxKept = 1024
)

// Rows encodes what one commit keeps, as rows that ReadRow reads.
func (k Kept) Rows() (rows [][]byte, err error) {
	add := func(row []byte, failed error) {
		rows, err = append(rows, row), errors.Join(err, failed)
	}
	for _, e := range k.Ended {
		add(e.MarshalBinary())
	}
	first := k.Sequenced.First
	for leaves := range slices.Chunk(k.Sequenced.Leaves, maxKept) {
		fields := [][]byte{encoding.Int(uint64(first))}
		for _, l := range leaves {
			fields = append(fields, l[:])
		}
		add(encoding.E(rowSequenced, fields...))
		first += int64(len(leaves))
	}
	for numbers := range slices.Chunk(k.Erased, maxKept) {
		var fields [][]byte
		for _, n := range numbers {
			fields = append(fields, encoding.Int(uint64(n)))
		}
		add(encoding.E(rowErased, fields...))
	}
	return rows, err
}

// ReadRow adds to what is kept what one of its rows says.
func (k *Kept) ReadRow(b []byte) error {
	d := encoding.NewDecoder(b)
	switch d.String() {
	case rowSequenced:
		if first := int64(d.Int()); len(k.Sequenced.Leaves) == 0 {
			k.Sequenced.First = first
		} else if first != k.Sequenced.First+int64(len(k.Sequenced.Leaves)) {
			return ErrCorrupt
		}
		for d.More() {
			var leaf api.Hash
			d.Fixed(leaf[:])
			k.Sequenced.Leaves = append(k.Sequenced.Leaves, leaf)
		}
		return corrupt(d)
	case rowErased:
		for d.More() {
			k.Erased = append(k.Erased, int64(d.Int()))
		}
		return corrupt(d)
	}
	var e Ended
	err := e.UnmarshalBinary(b)
	k.Ended = append(k.Ended, e)
	return err
}

// MarshalBinary encodes what the journal keeps as one row.
func (e Ended) MarshalBinary() ([]byte, error) {
	tomb, err := e.Tombstone.MarshalBinary()
	if err != nil {
		return nil, err
	}
	fields := append(e.Member.fields(), e.Shard[:], tomb, e.Match[:], e.Expires.Field())
	for _, o := range e.Others {
		fields = append(fields, o.fields()...)
	}
	return encoding.E(rowEnded, fields...)
}

// UnmarshalBinary reads what MarshalBinary writes.
func (e *Ended) UnmarshalBinary(b []byte) error {
	*e = Ended{}
	d := encoding.NewDecoder(b)
	d.Expect(rowEnded)
	e.Member = decodeMember(d)
	d.Fixed(e.Shard[:])
	tomb := d.Bytes()
	d.Fixed(e.Match[:])
	expires := d.Bytes()
	for d.More() {
		e.Others = append(e.Others, decodeMember(d))
	}
	if err := corrupt(d); err != nil {
		return err
	}
	if len(expires) > 0 {
		var err error
		if e.Expires, err = encoding.ParseDate(string(expires)); err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
	return e.Tombstone.UnmarshalBinary(tomb)
}

// MarshalRestores encodes the restores of a store as one row.
func MarshalRestores(list []Restore) ([]byte, error) {
	var fields [][]byte
	for _, r := range list {
		fields = append(fields, r.Incarnation[:], encoding.Time(r.Backup), encoding.Time(r.At))
	}
	return encoding.E(rowRestores, fields...)
}

// UnmarshalRestores reads what MarshalRestores writes.
func UnmarshalRestores(b []byte) (list []Restore, err error) {
	d := encoding.NewDecoder(b)
	d.Expect(rowRestores)
	for d.More() {
		var r Restore
		d.Fixed(r.Incarnation[:])
		r.Backup, r.At = d.Time(), d.Time()
		list = append(list, r)
	}
	return list, corrupt(d)
}

// cursorIncarnation is the start of the incarnation that a cursor is of; nil if it is
// none.
func cursorIncarnation(cursor string) []byte {
	raw, err := hex.DecodeString(cursor)
	if err != nil || len(raw) != 16 {
		return nil
	}
	return raw[:8]
}

// String tells a place in a journal.
func (j Journaled) String() string { return fmt.Sprintf("%x:%d", j.ID[:4], j.Groups) }
