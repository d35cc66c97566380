// SPDX-License-Identifier: EUPL-1.2

package audit

import (
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// ErrTree says that stored tiles are not those of a tree of the size that is asked for.
var ErrTree = errors.New("audit: the stored tree is not whole")

const tileHeight = 8

// TileWidth is how many hashes a full tile has.
const TileWidth = 1 << tileHeight

// A Place is where a tile lies: on level 0 a tile holds the hashes of up to 256
// leaves, and on each level above those of up to 256 full tiles of the level below.
type Place struct {
	Level int
	N     int64 // from 0, from the left
}

// Tiles reads the tile at a place: the hashes in it so far, 32 bytes each. It reads
// hashes for package tlog, so tlog.TreeHash, ProveRecord and ProveTree take it.
type Tiles func(Place) ([]byte, error)

// ReadHashes implements tlog.HashReader.
func (t Tiles) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	read := make(map[Place][]byte)
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		tile := tlog.TileForIndex(tileHeight, index)
		at := Place{tile.L, tile.N}
		data, ok := read[at]
		if !ok {
			var err error
			if data, err = t(at); err != nil {
				return nil, err
			}
			read[at] = data
		}
		var err error
		if hashes[i], err = tlog.HashFromTile(tile, data, index); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrTree, err)
		}
	}
	return hashes, nil
}

// Grow adds leaf hashes to a tree of some size, and gives the tiles that change, whole.
func Grow(size int64, leaves []tlog.Hash, stored Tiles) (map[Place][]byte, error) {
	changed := make(map[Place][]byte)
	for level, n := 0, size; len(leaves) > 0; level, n = level+1, size>>((level+1)*tileHeight) {
		var full []tlog.Hash // tiles, which are the leaves of the next level
		for _, leaf := range leaves {
			at, has := Place{level, n / TileWidth}, int(n%TileWidth)
			tile := changed[at]
			if tile == nil && has > 0 {
				old, err := stored(at)
				if err != nil {
					return nil, err
				}
				if len(old) < has*tlog.HashSize {
					return nil, ErrTree
				}
				tile = append(tile, old[:has*tlog.HashSize]...)
			}
			tile = append(tile, leaf[:]...)
			changed[at] = tile
			if n++; n%TileWidth == 0 {
				full = append(full, rootOf(tile))
			}
		}
		leaves = full
	}
	return changed, nil
}

// rootOf is the root of a full tile.
func rootOf(tile []byte) tlog.Hash {
	if len(tile) == tlog.HashSize {
		return tlog.Hash(tile)
	}
	half := len(tile) / 2
	return tlog.NodeHash(rootOf(tile[:half]), rootOf(tile[half:]))
}
