// SPDX-License-Identifier: EUPL-1.2

package gateway

// Jobs lists what is still to be done for a party.
func (p *Party) Jobs() (jobs []Job, err error) {
	err = scan(p.g.store.view, p.key.table(tableJob), nil, false, func(_ []byte, job Job) (bool, error) {
		jobs = append(jobs, job)
		return true, nil
	})
	return jobs, err
}

// Sweep is what the gateway does every hour.
func (p *Party) Sweep() error { return p.sweep() }

// Expiry, Term and Backoff are tested by themselves.
var (
	Expiry  = expiry
	Term    = term
	Backoff = backoff
)
