// SPDX-License-Identifier: EUPL-1.2

package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// plain is a tree as package tlog stores it: one hash after the other.
type plain []tlog.Hash

func (p plain) ReadHashes(indexes []int64) (hashes []tlog.Hash, err error) {
	for _, i := range indexes {
		hashes = append(hashes, p[i])
	}
	return hashes, nil
}

func (p *plain) add(t *testing.T, n int64, leaf tlog.Hash) {
	t.Helper()
	more, err := tlog.StoredHashesForRecordHash(n, leaf, *p)
	if err != nil {
		t.Fatal(err)
	}
	*p = append(*p, more...)
}

func leafHash(n int64) tlog.Hash {
	return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n)))
}

// tree is a tree in memory.
type tree struct {
	tiles map[Place][]byte
	size  int64
}

func (tr *tree) read(at Place) ([]byte, error) { return tr.tiles[at], nil }

func (tr *tree) grow(t *testing.T, leaves ...tlog.Hash) {
	t.Helper()
	changed, err := Grow(tr.size, leaves, tr.read)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(tr.tiles, changed)
	tr.size += int64(len(leaves))
}

// However many leaves come at a time, the tiles are those of the plain tree.
func TestGrowIsThePlainTree(t *testing.T) {
	const size = 70_000 // three levels
	rng := rand.New(rand.NewPCG(1, 2))
	var want plain
	got := tree{tiles: map[Place][]byte{}}
	for got.size < size {
		leaves := make([]tlog.Hash, min(size-got.size, 1+rng.Int64N(1<<rng.IntN(14))))
		for i := range leaves {
			leaves[i] = leafHash(got.size + int64(i))
			want.add(t, got.size+int64(i), leaves[i])
		}
		got.grow(t, leaves...)
		for _, at := range []int64{got.size, 1 + rng.Int64N(got.size)} {
			a, err := tlog.TreeHash(at, Tiles(got.read))
			if err != nil {
				t.Fatal(err)
			}
			b, err := tlog.TreeHash(at, want)
			if err != nil {
				t.Fatal(err)
			}
			if a != b {
				t.Fatalf("at %d of %d leaves the roots differ", at, got.size)
			}
		}
	}
	root, err := tlog.TreeHash(size, Tiles(got.read))
	if err != nil {
		t.Fatal(err)
	}
	now := Checkpoint{Size: size, Root: root}
	for range 200 {
		n := rng.Int64N(size)
		inclusion, err := tlog.ProveRecord(size, n, Tiles(got.read))
		if err != nil {
			t.Fatal(err)
		}
		if !now.Holds(leafHash(n), n, inclusion) || now.Holds(leafHash(n+1), n, inclusion) || now.Holds(leafHash(n), size, inclusion) {
			t.Fatalf("a proof of leaf %d proves another thing", n)
		}
		before := Checkpoint{Size: n + 1}
		if before.Root, err = tlog.TreeHash(n+1, want); err != nil {
			t.Fatal(err)
		}
		proof, err := tlog.ProveTree(size, n+1, Tiles(got.read))
		if err != nil {
			t.Fatal(err)
		}
		if !now.Follows(before, proof) {
			t.Fatalf("the tree does not go on from %d leaves", n+1)
		}
		before.Root[0] ^= 1
		if now.Follows(before, proof) {
			t.Fatal("the tree goes on from another one")
		}
	}
	if !now.Follows(Checkpoint{}, nil) || now.Follows(Checkpoint{Size: size + 1}, nil) || !now.Follows(now, nil) || now.Follows(Checkpoint{Size: size}, nil) {
		t.Error("what follows nothing, a larger tree, or one of the same size")
	}
}

func TestStoredTilesThatLack(t *testing.T) {
	whole := tree{tiles: map[Place][]byte{}}
	for n := range int64(300) {
		whole.grow(t, leafHash(n))
	}
	short := func(at Place) ([]byte, error) { return whole.tiles[at][:32], nil }
	if _, err := Grow(300, []tlog.Hash{{}}, short); err == nil {
		t.Error("grows from a tile that lacks hashes")
	}
	if _, err := tlog.TreeHash(300, Tiles(short)); err == nil {
		t.Error("has a root with a tile that lacks hashes")
	}
}
