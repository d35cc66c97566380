// SPDX-License-Identifier: EUPL-1.2

package gateway

import (
	"context"
	"time"
)

// Jobs lists what is still to be done for a party.
func (p *Party) Jobs() (jobs []Job, err error) {
	err = scan(p.g.store.view, p.key.table(tableJob), nil, false, func(_ []byte, job Job) (bool, error) {
		jobs = append(jobs, job)
		return true, nil
	})
	return jobs, err
}

// Alone tells whether a job has been tried, and waits for itself alone.
func (p *Party) Alone(job ID) bool {
	p.trouble.mu.Lock()
	defer p.trouble.mu.Unlock()
	return p.trouble.jobs[job].Failures > 0
}

// Sweep is what the gateway does every hour.
func (p *Party) Sweep() error { return p.sweep() }

// Refresh fetches the manifest and directory.
func (p *Party) Refresh(ctx context.Context) error { return p.g.roots.refresh(ctx, p, time.Now()) }

// Expiry, Term and Backoff are tested by themselves.
var (
	Expiry  = expiry
	Term    = term
	Backoff = backoff
)

// Tables have letters of their own: a key that stands here twice does not compile.
var _ = map[byte]bool{
	tableFormat: true, tableManifest: true, tableDirectory: true, tableRegistration: true, tableSignal: true, tableOwner: true,
	tableJob: true, tableReport: true, tableReportKey: true, tableImport: true, tableImportKey: true, tableImportRows: true,
	tableReplay: true, tableMessage: true, tableEvent: true, tableFeed: true, tableOwned: true, tableUser: true, tableAPIKey: true,
	tableLog: true, tableLogIndex: true, tableTarget: true, tableDeadLetter: true,
}

// WakeOutbox has the outbox look at the clock.
func (p *Party) WakeOutbox() { p.outbox.wake() }

// RetryDelay and TypeName are tested by themselves.
var (
	RetryDelay = retryDelay
	TypeName   = typeName
)
