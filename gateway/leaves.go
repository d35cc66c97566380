// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/seinhuis/seinhuis/api"
	"github.com/seinhuis/seinhuis/audit"
	"github.com/seinhuis/seinhuis/crypto/encoding"
	"github.com/seinhuis/seinhuis/manifest"
)

// A receipt promises that its leaf is in the log within a minute. What is promised is
// listed in the batch that takes the receipt, and struck off when it is proven.
//
// One promise cannot be kept: the registry was lost before the leaf had its number, and
// the backup is older. It tells from when on that may be so. So what it dates from then on,
// under another incarnation, is listed as maybe lost: it is still asked for, a receipt that
// the resend brings takes its place, and what is left after ten minutes is given up and
// counted. Every party is told of the restore. A registry that restored nothing can tell it
// to one party alone, and leave its act out of the log: that party sees that an act was lost.

// An owedLeaf is a leaf that is still to be proven.
type owedLeaf struct {
	Received    time.Time       `json:"received"`
	Time        time.Time       `json:"time"` // of the receipt, by the registry's clock
	Incarnation encoding.Base64 `json:"incarnation"`
	Lost        time.Time       `json:"lost,omitzero"` // maybe, since we were told of a restore
}

// owe lists a receipt's leaf, in the batch that takes the receipt.
func (p *Party) owe(b *batch, r api.Receipt) {
	if m, _ := p.g.roots.known(); logged(m) {
		b.put(p.key.leaf(r.Leaf), owedLeaf{Received: p.g.now().UTC(), Time: r.Time, Incarnation: r.Incarnation[:]})
	}
}

// mayLack marks the leaves that the registry may have lost: of what it dates from a time
// on, under another incarnation than it has now. p.mu is held.
func (p *Party) mayLack(b *batch, since time.Time, incarnation []byte) error {
	now := p.g.now().UTC()
	return scan(p.g.store.view, p.key.table(tableLeaf), nil, false, func(key []byte, leaf owedLeaf) (bool, error) {
		if leaf.Lost.IsZero() && !leaf.Time.Before(since) && !bytes.Equal(leaf.Incarnation, incarnation) {
			leaf.Lost = now
			b.put(bytes.Clone(key), leaf)
		}
		return true, nil
	})
}

// replaced strikes off a leaf that may be lost, whose signal has another receipt now.
// p.mu is held.
func (p *Party) replaced(b *batch, before api.Signed, now api.Receipt) error {
	r, err := api.ParseReceipt(before.Signed)
	if err != nil || r.Leaf == now.Leaf {
		return nil // there was none, or it is the same
	}
	leaf, err := get[owedLeaf](p.g.store.view, p.key.leaf(r.Leaf))
	if errors.Is(err, errAbsent) || err == nil && leaf.Lost.IsZero() {
		return nil
	}
	b.delete(p.key.leaf(r.Leaf))
	return err
}

// proveLeaves has the listed leaves proven, and tells how many are left, and of them are
// overdue. unreachable is why not all could be asked for.
func (p *Party) proveLeaves(ctx context.Context, m *manifest.Manifest, c audit.Checkpoint) (left, overdue int, unreachable, err error) {
	v, release := p.g.store.snapshot()
	defer release()
	asked := map[api.Hash]owedLeaf{}
	ask := func() (bool, error) {
		var n, late int
		n, late, unreachable, err = p.proveSome(ctx, m, c, asked)
		left, overdue = left+n, overdue+late
		clear(asked)
		return unreachable == nil, err
	}
	err = scan(v, p.key.table(tableLeaf), nil, false, func(key []byte, leaf owedLeaf) (bool, error) {
		asked[api.Hash(key[len(key)-len(api.Hash{}):])] = leaf
		if len(asked) < api.MaxLogQuery {
			return true, nil
		}
		return ask()
	})
	if err == nil && unreachable == nil && len(asked) > 0 {
		_, err = ask()
	}
	return left, overdue, unreachable, err
}

func (p *Party) proveSome(ctx context.Context, m *manifest.Manifest, c audit.Checkpoint, asked map[api.Hash]owedLeaf) (left, overdue int, unreachable, err error) {
	leaves := make([]api.Hash, 0, len(asked))
	for leaf := range asked {
		leaves = append(leaves, leaf)
	}
	held, unreachable := p.proven(ctx, m, c, leaves)
	if unreachable != nil {
		return len(asked), 0, unreachable, nil
	}
	now, lost := p.g.now(), 0
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.g.store.batch()
	defer b.close()
	for leaf := range asked {
		key := p.key.leaf(leaf)
		is, err := get[owedLeaf](p.g.store.view, key) // as it is now
		switch {
		case errors.Is(err, errAbsent):
		case err != nil:
			return 0, 0, nil, err
		case held[leaf]:
			b.delete(key)
		case !is.Lost.IsZero() && now.Sub(is.Lost) >= logPatience:
			b.delete(key)
			lost++
		default:
			left++
			if is.Lost.IsZero() && now.Sub(is.Received) >= logPatience {
				overdue++
			}
		}
	}
	if b.b.Empty() {
		return left, overdue, nil, b.err
	}
	if err := p.commit(b); err != nil {
		return 0, 0, nil, err
	}
	if lost > 0 {
		p.g.metrics.leavesLost.Add(float64(lost))
		p.g.log.Warn("leaves lost in a restore", "party", string(p.id), "count", lost)
	}
	return left, overdue, nil, nil
}
