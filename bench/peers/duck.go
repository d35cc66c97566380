// SPDX-License-Identifier: EUPL-1.2

package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"os"
	"time"

	"github.com/duckdb/duckdb-go/v2"
)

// duck is a DuckDB in memory. Keys are UUIDs, which to DuckDB are 128-bit integers:
// of the types that hold 128 bits none joins faster, and they load three times as
// fast as HUGEINT.
type duck struct {
	db   *sql.DB
	conn *sql.Conn
}

func (d *duck) open(threads int) error {
	if d.conn != nil {
		return nil
	}
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		return err
	}
	d.db = sql.OpenDB(connector)
	if d.conn, err = d.db.Conn(context.Background()); err != nil {
		return err
	}
	// Without an order to keep, a join writes its result in parallel.
	return d.exec(fmt.Sprintf("SET threads=%d; SET preserve_insertion_order=false", threads))
}

func (d *duck) close() error {
	if d.db == nil {
		return nil
	}
	d.conn.Close()
	return d.db.Close()
}

func (d *duck) exec(query string) error {
	_, err := d.conn.ExecContext(context.Background(), query)
	return err
}

type loadKeys struct {
	Table   string
	Keys    string // file of 16 bytes a key
	Threads int
}

// load makes a table of keys and their row numbers from 0.
func (d *duck) load(l loadKeys) (nothing, error) {
	if err := d.open(l.Threads); err != nil {
		return nothing{}, err
	}
	raw, err := os.ReadFile(l.Keys)
	if err != nil {
		return nothing{}, err
	}
	if err := d.exec(fmt.Sprintf("CREATE OR REPLACE TABLE %s (key UUID, row UINTEGER)", l.Table)); err != nil {
		return nothing{}, err
	}
	return nothing{}, d.conn.Raw(func(c any) error {
		appender, err := duckdb.NewAppenderFromConn(c.(driver.Conn), "", l.Table)
		if err != nil {
			return err
		}
		for i := range len(raw) / 16 {
			if err := appender.AppendRow(duckdb.UUID(raw[16*i:16*i+16]), uint32(i)); err != nil {
				return err
			}
		}
		return appender.Close()
	})
}

type joinOf struct{ Build, Probe string }

type joined struct {
	Seconds float64
	Count   int
	Sum     uint64 // as the benchmark sums its own
}

// join times a join whose pairs are kept in a table.
func (d *duck) join(j joinOf) (joined, error) {
	if err := d.exec("DROP TABLE IF EXISTS pairs"); err != nil {
		return joined{}, err
	}
	start := time.Now()
	err := d.exec(fmt.Sprintf(
		"CREATE TEMP TABLE pairs AS SELECT b.row AS build, p.row AS probe FROM %s p JOIN %s b USING (key)", j.Probe, j.Build))
	out := joined{Seconds: time.Since(start).Seconds()}
	if err != nil {
		return out, err
	}
	return out, d.conn.QueryRowContext(context.Background(), `
		SELECT count(*), coalesce(sum((build::UBIGINT * 2654435761 + probe::UBIGINT * 40503) & 4294967295), 0)::UBIGINT
		FROM pairs`).Scan(&out.Count, &out.Sum)
}
