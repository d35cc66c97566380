// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// callBulk takes what was copied in. All of it is of one party, so what others have
// signalled was there before.
const callBulk = `
WITH taken AS (
	INSERT INTO signals SELECT idx, party, sid, expires, sealed FROM incoming ORDER BY idx
	ON CONFLICT DO NOTHING
	RETURNING idx, party, sid
), met AS MATERIALIZED (
	SELECT t.idx, t.party, t.sid, o.party AS other_party, o.sid AS other_sid
	FROM taken t JOIN signals o USING (idx)
	WHERE o.party <> t.party AND o.expires > $1
), matched AS (
	INSERT INTO matches SELECT DISTINCT idx, $2::bytea FROM met
	ON CONFLICT (idx) DO UPDATE SET sealed = excluded.sealed
), told AS (
	INSERT INTO events (feed, id, own, other, sealed)
	SELECT other_party, md5(other_sid::text || sid::text)::uuid, other_sid, sid, $3::bytea FROM met
	UNION ALL
	SELECT party, md5(sid::text || other_sid::text)::uuid, sid, other_sid, $3::bytea FROM met
	ON CONFLICT DO NOTHING
)
INSERT INTO outbox SELECT gen_random_uuid(), $4::bytea FROM taken`

// connections of a bulk; each has a part of the idxs to itself.
const bulkParts = 2

type bulkAll struct {
	Rows  string
	Sizes sizesOf
}

// bulk copies rows in and joins them with what is there.
func (g *registry) bulk(b bulkAll) (took, error) {
	ctx := context.Background()
	rows, err := g.readAll(b.Rows)
	if err != nil {
		return took{}, err
	}
	parts := make([][][]any, bulkParts)
	for _, r := range rows {
		at := int(r.idx.Bytes[0]) * bulkParts / 256
		parts[at] = append(parts[at], r.values())
	}
	other := b.Sizes.blanks()
	conns, err := g.connectAll(bulkParts)
	if err != nil {
		return took{}, err
	}
	defer closeAll(conns)
	var work errgroup.Group
	start := time.Now()
	for i, conn := range conns {
		work.Go(func() error {
			return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, "CREATE TEMP TABLE incoming (LIKE signals) ON COMMIT DROP"); err != nil {
					return err
				}
				if _, err := tx.CopyFrom(ctx, pgx.Identifier{"incoming"}, columns, pgx.CopyFromRows(parts[i])); err != nil {
					return err
				}
				if _, err := tx.Exec(ctx, "ANALYZE incoming"); err != nil {
					return err
				}
				_, err := tx.Exec(ctx, callBulk, today, other.match, other.event, other.leaf)
				return err
			})
		})
	}
	err = work.Wait()
	return took{Seconds: time.Since(start).Seconds()}, err
}
