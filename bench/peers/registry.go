// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"golang.org/x/sync/errgroup"

	"github.com/seinhuis/seinhuis/api"
	product "github.com/seinhuis/seinhuis/registry"
)

// The registry as one would build it on PostgreSQL: uuid for what has 16 bytes, a
// primary key that finds the signals of an idx, one round trip a submission.
//
// submit does in one transaction what the product's does: it takes a lock on the
// idx, so that of two parties who come at one instant both are told; looks for a
// tombstone; keeps (party, idx) unique; finds the live signals of others; stores the
// signal, the match, an event to each side, whose id a feed holds once, and the log's
// leaf. In one thing it does less: positions in a feed come from a sequence, so a
// reader can miss an event that is committed after a later one.
const schema = `
CREATE TABLE signals (
	idx uuid, party uuid, sid uuid NOT NULL, expires date NOT NULL, sealed bytea NOT NULL,
	PRIMARY KEY (idx, party));
CREATE INDEX ON signals (expires);
CREATE TABLE tombstones (party uuid, sid uuid, sealed bytea NOT NULL, PRIMARY KEY (party, sid));
CREATE TABLE matches (idx uuid PRIMARY KEY, sealed bytea NOT NULL);
CREATE TABLE events (
	feed uuid, position bigint GENERATED ALWAYS AS IDENTITY, id uuid NOT NULL, own uuid NOT NULL, other uuid NOT NULL,
	sealed bytea NOT NULL,
	PRIMARY KEY (feed, position), UNIQUE (feed, id));
CREATE TABLE outbox (leaf uuid PRIMARY KEY, sealed bytea NOT NULL);

CREATE FUNCTION submit(i uuid, p uuid, s uuid, e date, today date, row_ bytea, match_ bytea, event_ bytea, leaf_ uuid, log_ bytea)
RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	o record;
	others int := 0;
BEGIN
	PERFORM pg_advisory_xact_lock(uuid_hash_extended(i, 0));
	IF EXISTS (SELECT FROM tombstones t WHERE t.party = p AND t.sid = s) THEN
		RETURN -1;
	END IF;
	INSERT INTO signals VALUES (i, p, s, e, row_) ON CONFLICT DO NOTHING;
	IF NOT FOUND THEN
		RETURN -2;
	END IF;
	FOR o IN SELECT t.party, t.sid FROM signals t WHERE t.idx = i AND t.party <> p AND t.expires > today LOOP
		others := others + 1;
		INSERT INTO events (feed, id, own, other, sealed) VALUES
			(o.party, md5(o.sid::text || s::text)::uuid, o.sid, s, event_),
			(p, md5(s::text || o.sid::text)::uuid, s, o.sid, event_)
		ON CONFLICT DO NOTHING;
	END LOOP;
	IF others > 0 THEN
		INSERT INTO matches VALUES (i, match_) ON CONFLICT (idx) DO UPDATE SET sealed = excluded.sealed;
	END IF;
	INSERT INTO outbox VALUES (leaf_, log_);
	RETURN others;
END $$;
`

const callSubmit = `SELECT submit($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`

// today is the day on the product's clock in the benchmark.
var today = time.Date(2026, 3, 10, 0, 0, 0, 0, time.UTC)

// A registry is the registry on PostgreSQL.
type registry struct {
	postgres
	keys product.Keys // idx and feeds are found as in the product
}

// A row is one submission, as the benchmark writes them to a file: tag(32) sid(16)
// expires(4, yyyymmdd) and, each with its length in two bytes before it, party and
// row.
type row struct {
	idx, party, sid pgtype.UUID
	expires         time.Time
	sealed          []byte
}

// read reads rows one by one.
func (g *registry) read(path string, each func(row) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<20)
	var head [32 + 16 + 4]byte
	for {
		if _, err := io.ReadFull(in, head[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var fields [2][]byte
		for i := range fields {
			var n uint16
			if err := binary.Read(in, binary.BigEndian, &n); err != nil {
				return err
			}
			fields[i] = make([]byte, n)
			if _, err := io.ReadFull(in, fields[i]); err != nil {
				return err
			}
		}
		day := int(binary.BigEndian.Uint32(head[48:]))
		r := row{
			idx: id(g.keys.Idx(1, api.Tag(head[:32]))), party: id(g.keys.Feed(api.PartyID(fields[0]))), sid: id([16]byte(head[32:48])),
			expires: time.Date(day/10000, time.Month(day/100%100), day%100, 0, 0, 0, 0, time.UTC), sealed: fields[1],
		}
		if err := each(r); err != nil {
			return err
		}
	}
}

func (g *registry) readAll(path string) (rows []row, err error) {
	err = g.read(path, func(r row) error { rows = append(rows, r); return nil })
	return rows, err
}

func id(b [16]byte) pgtype.UUID { return pgtype.UUID{Bytes: b, Valid: true} }

// randomID is an id as PostgreSQL's clients make them.
func randomID() pgtype.UUID {
	u := pgtype.UUID{Valid: true}
	rand.Read(u.Bytes[:])
	return u
}

// ready starts the cluster when it is first needed.
func (g *registry) ready() error {
	if g.server != nil {
		return nil
	}
	var err error
	if g.keys, err = product.ParseKeys(product.NewKeyFile()); err != nil {
		return err
	}
	return g.start()
}

type fileOf struct{ Rows string }

// load empties the registry and copies signals into it that have met nobody.
func (g *registry) load(l fileOf) (nothing, error) {
	if err := g.ready(); err != nil {
		return nothing{}, err
	}
	ctx := context.Background()
	conn, err := g.connect()
	if err != nil {
		return nothing{}, err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "TRUNCATE signals, tombstones, matches, events, outbox"); err != nil {
		return nothing{}, err
	}
	rows, failed := make(chan row, 1000), make(chan error, 1)
	go func() {
		defer close(rows)
		failed <- g.read(l.Rows, func(r row) error { rows <- r; return nil })
	}()
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"signals"}, columns, pgx.CopyFromFunc(func() ([]any, error) {
		r, more := <-rows
		if !more {
			return nil, nil
		}
		return r.values(), nil
	}))
	for range rows { // after an error of the copy the reader is still to end
	}
	if err := errors.Join(err, <-failed); err != nil {
		return nothing{}, err
	}
	for _, tidy := range []string{"VACUUM ANALYZE signals", "CHECKPOINT"} {
		if _, err := conn.Exec(ctx, tidy); err != nil {
			return nothing{}, err
		}
	}
	return nothing{}, nil
}

var columns = []string{"idx", "party", "sid", "expires", "sealed"}

func (r row) values() []any { return []any{r.idx, r.party, r.sid, r.expires, r.sealed} }

// sizesOf are the lengths of the other sealed rows. An event has its signals' ids in
// columns of its own, and so its row is that much shorter.
type sizesOf struct{ Match, Event, Leaf int }

// blanks are sealed rows of these lengths, which nobody opens.
type blanks struct{ match, event, leaf []byte }

func (s sizesOf) blanks() blanks {
	noise := func(n int) []byte {
		b := make([]byte, n)
		rand.Read(b)
		return b
	}
	return blanks{noise(s.Match), noise(s.Event - 2*16), noise(s.Leaf)}
}

type submitAll struct {
	Rows    string
	Clients int
	Sizes   sizesOf
}

type took struct {
	Seconds float64
	P99     float64 // of one submission, seconds
}

// submit sends rows one by one, each in a transaction of its own, from a number of
// connections with prepared statements.
func (g *registry) submit(s submitAll) (took, error) {
	ctx := context.Background()
	rows, err := g.readAll(s.Rows)
	if err != nil {
		return took{}, err
	}
	conns, err := g.connectAll(s.Clients)
	if err != nil {
		return took{}, err
	}
	defer closeAll(conns)
	other := s.Sizes.blanks()
	each := make([]time.Duration, len(rows))
	var next atomic.Int64
	var work errgroup.Group
	start := time.Now()
	for _, conn := range conns {
		work.Go(func() error {
			for i := int(next.Add(1)) - 1; i < len(rows); i = int(next.Add(1)) - 1 {
				began := time.Now()
				others, err := rows[i].submit(ctx, conn, other, randomID())
				if err != nil {
					return err
				}
				if others < 0 {
					return fmt.Errorf("a new signal was not taken: %d", others)
				}
				each[i] = time.Since(began)
			}
			return nil
		})
	}
	err = work.Wait()
	out := took{Seconds: time.Since(start).Seconds()}
	slices.Sort(each)
	out.P99 = each[len(each)*99/100].Seconds()
	return out, err
}

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// submit gives how many others were met, or less than none for a refusal.
func (r row) submit(ctx context.Context, in querier, other blanks, leaf pgtype.UUID) (others int, err error) {
	err = in.QueryRow(ctx, callSubmit, r.idx, r.party, r.sid, r.expires, today, r.sealed,
		other.match, other.event, leaf, other.leaf).Scan(&others)
	return others, err
}

// connectAll makes connections that have the statement prepared.
func (g *registry) connectAll(n int) ([]*pgx.Conn, error) {
	conns := make([]*pgx.Conn, 0, n)
	for range n {
		conn, err := g.connect()
		if err == nil {
			conns = append(conns, conn)
			_, err = conn.Prepare(context.Background(), callSubmit, callSubmit)
		}
		if err != nil {
			closeAll(conns)
			return nil, err
		}
	}
	return conns, nil
}

func closeAll(conns []*pgx.Conn) {
	for _, conn := range conns {
		conn.Close(context.Background())
	}
}

// told is what the feeds hold, summed as the benchmark sums its own.
type told struct {
	Events  int
	Matches int
	Sum     uint64
}

func (g *registry) told(nothing) (got told, err error) {
	ctx := context.Background()
	conn, err := g.connect()
	if err != nil {
		return got, err
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, "SELECT count(*) FROM matches").Scan(&got.Matches); err != nil {
		return got, err
	}
	rows, err := conn.Query(ctx, "SELECT own, other FROM events")
	if err != nil {
		return got, err
	}
	var own, other pgtype.UUID
	_, err = pgx.ForEachRow(rows, []any{&own, &other}, func() error {
		got.Events++
		got.Sum += binary.BigEndian.Uint64(own.Bytes[:])*31 + binary.BigEndian.Uint64(other.Bytes[:])
		return nil
	})
	return got, err
}
